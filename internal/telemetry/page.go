package telemetry

import (
	"math"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
)

// openMetrics is the media type of OpenMetrics 1.0, which has exemplars; plainText is
// what Prometheus had before, which has none.
const (
	openMetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8"
	plainText   = "text/plain; version=0.0.4; charset=utf-8"
)

// Handler serves /metrics: OpenMetrics to whoever asks for it, and Prometheus' older
// text to others. It answers only who reached it by a name or address of this machine:
// a page in a browser that points a name of its own here reads nothing.
func (m *Meter) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !ownHost(r.Host) {
			http.Error(w, "ask for it by a loopback address, as 127.0.0.1", http.StatusMisdirectedRequest)
			return
		}
		open := strings.Contains(r.Header.Get("Accept"), "application/openmetrics-text")
		media := plainText
		if open {
			media = openMetrics
		}
		w.Header().Set("Content-Type", media)
		w.Header().Set("Cache-Control", "no-store")
		w.Write(AppendText(nil, m.Families(), open)) // whoever went away reads nothing
	})
}

// ownHost reports whether a Host header names this machine's loopback.
func ownHost(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// AppendText appends families as text: OpenMetrics 1.0 (open), or Prometheus' 0.0.4.
func AppendText(dst []byte, families []Family, open bool) []byte {
	for i := range families {
		f := &families[i]
		w := writing{dst: dst, open: open, family: f, name: f.Prometheus()}
		w.head()
		for j := range f.Series {
			w.series(&f.Series[j])
		}
		dst = w.dst
	}
	if open {
		dst = append(dst, "# EOF\n"...)
	}
	return dst
}

// A writing is a family on its way to text.
type writing struct {
	dst    []byte
	open   bool
	family *Family
	name   string
}

// head writes what the family is. In the older text a counter's family has the name of
// its samples.
func (w *writing) head() {
	name := w.name
	if !w.open && w.family.Sort == Counter {
		name += "_total"
	}
	w.line("# HELP ", name, " ", w.family.Help, ".\n")
	w.line("# TYPE ", name, " ", w.family.Sort.String(), "\n")
	for _, unit := range []string{"seconds", "bytes"} {
		if w.open && strings.HasSuffix(w.name, "_"+unit) {
			w.line("# UNIT ", name, " ", unit, "\n")
		}
	}
}

func (w *writing) line(parts ...string) {
	for _, p := range parts {
		w.dst = append(w.dst, p...)
	}
}

// series writes the samples of one series.
func (w *writing) series(s *Series) {
	switch w.family.Sort {
	case Counter:
		w.sample("_total", s, "", s.Value, s.Exemplar)
	case Gauge, UpDown:
		w.sample("", s, "", s.Value, nil)
	case Histogram:
		sum := uint64(0)
		for _, b := range s.Buckets {
			sum += b.Count
			w.sample("_bucket", s, float(b.Bound), float64(sum), b.Exemplar)
		}
		w.sample("_count", s, "", float64(sum), nil)
		w.sample("_sum", s, "", s.Sum, nil)
	}
}

// sample writes one line. le is the bound of a bucket, or empty.
func (w *writing) sample(suffix string, s *Series, le string, value float64, e *Exemplar) {
	w.line(w.name, suffix)
	before := "{"
	pair := func(name, value string) {
		w.line(before, plainName(name), `="`, escape.Replace(value), `"`)
		before = ","
	}
	w.family.pairs(s, pair)
	if le != "" {
		pair("le", le)
	}
	if before == "," {
		w.line("}")
	}
	w.line(" ", plain(value))
	if w.open && e != nil {
		w.exemplar(e)
	}
	w.line("\n")
}

// exemplar writes what names the evidence. All of it is far below the 128 characters
// that OpenMetrics allows.
func (w *writing) exemplar(e *Exemplar) {
	w.line(` # {record="`, strconv.FormatUint(e.Record, 10), `"`)
	if e.Trace != (TraceID{}) {
		w.line(`,trace_id="`, e.Trace.String(), `"`)
	}
	w.line("} ", plain(e.Value), " ", strconv.FormatFloat(float64(e.At.UnixMilli())/1e3, 'f', 3, 64))
}

// escape is how values of labels are spelled.
var escape = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// float spells a bound as OpenMetrics does: always with a point.
func float(v float64) string {
	if math.IsInf(v, 1) {
		return "+Inf"
	}
	if s := strconv.FormatFloat(v, 'g', -1, 64); strings.ContainsAny(s, ".e") {
		return s
	}
	return strconv.FormatFloat(v, 'f', 1, 64)
}

// plain spells a number.
func plain(v float64) string {
	if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
		return strconv.FormatInt(int64(v), 10)
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}
