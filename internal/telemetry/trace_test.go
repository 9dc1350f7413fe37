package telemetry

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

const (
	goodTrace  = "4bf92f3577b34da6a3ce929d0e0e4736"
	goodSpan   = "00f067aa0ba902b7"
	goodParent = "00-" + goodTrace + "-" + goodSpan + "-01"
)

// hostileParents are headers that put nobody into a trace.
var hostileParents = map[string]string{
	"empty":                     "",
	"a word":                    "trace",
	"upper case":                strings.ToUpper(goodParent),
	"one letter of upper case":  strings.Replace(goodParent, "f", "F", 1),
	"version ff":                "ff" + goodParent[2:],
	"version of one digit":      goodParent[1:],
	"version of letters":        "zz" + goodParent[2:],
	"zeros for a trace":         "00-" + strings.Repeat("0", 32) + "-" + goodSpan + "-01",
	"zeros for a span":          "00-" + goodTrace + "-" + strings.Repeat("0", 16) + "-01",
	"short trace":               "00-" + goodTrace[1:] + "-" + goodSpan + "-01",
	"long trace":                "00-0" + goodTrace + "-" + goodSpan + "-01",
	"no flags":                  "00-" + goodTrace + "-" + goodSpan,
	"flags of one digit":        goodParent[:54],
	"flags that are none":       goodParent[:53] + "g1",
	"more behind version 00":    goodParent + "-00",
	"one more behind":           goodParent + "0",
	"space before":              " " + goodParent,
	"space behind":              goodParent + " ",
	"spaces within":             strings.ReplaceAll(goodParent, "-", " "),
	"underscores":               strings.ReplaceAll(goodParent, "-", "_"),
	"a line break":              goodParent + "\r\nX: y",
	"zero bytes":                strings.Repeat("\x00", 55),
	"wide digits":               "00-" + strings.Repeat("４", 11) + "-" + goodSpan + "-01",
	"a mark":                    "00-" + goodTrace[:31] + "\"-" + goodSpan + "-01",
	"two in one":                goodParent + "," + goodParent,
	"later without a separator": "01" + goodParent[2:] + "00",
	"later and endless":         "01" + goodParent[2:] + "-" + strings.Repeat("a", 300),
}

func TestHostileTraceparents(t *testing.T) {
	for name, text := range hostileParents {
		if p, ok := ParseTraceparent(text); ok {
			t.Errorf("%s: %q is taken for %+v", name, text, p)
		}
	}
	for _, text := range []string{goodParent, goodParent[:53] + "00", goodParent[:53] + "ff", "01" + goodParent[2:], "fe" + goodParent[2:] + "-more"} {
		if p, ok := ParseTraceparent(text); !ok || p.Trace.String() != goodTrace {
			t.Errorf("%q: %+v, %v", text, p, ok)
		}
	}
}

func FuzzParseTraceparent(f *testing.F) {
	f.Add(goodParent)
	for _, text := range hostileParents {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, ok := ParseTraceparent(text)
		if !ok {
			if p != (Parent{}) {
				t.Errorf("%q leaves %+v behind", text, p)
			}
			return
		}
		if text[3:35] != p.Trace.String() || p.Trace == (TraceID{}) || p.Span == (SpanID{}) || strings.ToLower(text[:55]) != text[:55] {
			t.Errorf("%q is taken for %+v", text, p)
		}
	})
}

// meter returns a meter, and one that nobody hears.
func meter(t testing.TB, cfg Config) *Meter {
	t.Helper()
	m, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// deaf is a collector that is never asked: nobody runs the meter.
const deaf = "http://192.0.2.1:4318"

// TestWhoseTrace says which header a model's server gets, of what a caller said and of
// how we are set.
func TestWhoseTrace(t *testing.T) {
	never := 1 << 30
	for name, tt := range map[string]struct {
		cfg     Config
		headers []string
		same    bool   // it is the caller's trace
		flags   string // of the header; empty: there is none
	}{
		"nothing is set":           {Config{}, []string{goodParent}, false, ""},
		"linked, not sampled":      {Config{OTLP: deaf, Sample: never}, []string{goodParent}, false, ""},
		"linked, sampled":          {Config{OTLP: deaf, Sample: 1}, []string{goodParent}, false, "01"},
		"no caller's, sampled":     {Config{OTLP: deaf, Sample: 1}, nil, false, "01"},
		"continued, sampled":       {Config{OTLP: deaf, Sample: 1, Continue: true}, []string{goodParent}, true, "01"},
		"continued, not sampled":   {Config{OTLP: deaf, Sample: never, Continue: true}, []string{goodParent}, true, "00"},
		"continued, no collector":  {Config{Continue: true}, []string{goodParent}, true, "00"},
		"continued, none to go on": {Config{OTLP: deaf, Sample: never, Continue: true}, nil, false, ""},
		"continued, a hostile one": {Config{OTLP: deaf, Sample: never, Continue: true}, []string{strings.ToUpper(goodParent)}, false, ""},
		"continued, two":           {Config{OTLP: deaf, Sample: never, Continue: true}, []string{goodParent, goodParent}, false, ""},
	} {
		ctx, _ := meter(t, tt.cfg).Trace(context.Background(), tt.headers)
		got := Traceparent(ctx)
		if tt.flags == "" {
			if got != "" {
				t.Errorf("%s: %q goes to the server", name, got)
			}
			continue
		}
		p, ok := ParseTraceparent(got)
		if !ok || (p.Trace.String() == goodTrace) != tt.same || got[53:] != tt.flags {
			t.Errorf("%s: %q goes to the server", name, got)
		}
		if tt.flags == "01" && got[36:52] == goodSpan {
			t.Errorf("%s: the server's parent is the caller's span, and not ours", name)
		}
	}
}

// TestSamplingIsOurs has a caller choose its trace, and say that it be sampled.
func TestSamplingIsOurs(t *testing.T) {
	m := meter(t, Config{OTLP: deaf, Sample: 1 << 30, Continue: true})
	for range 1000 {
		if _, trace := m.Trace(context.Background(), []string{"00-00000000000000000000000000000001-0000000000000001-01"}); trace.sampledNow() {
			t.Fatal("a caller had its trace sampled")
		}
	}
	all := meter(t, Config{OTLP: deaf, Sample: 1})
	kept := 0
	for range 20 * maxSampled {
		if _, trace := all.Trace(context.Background(), nil); trace.sampledNow() {
			kept++
		}
	}
	if kept < maxSampled || kept >= 20*maxSampled {
		t.Errorf("%d of %d requests were traced in a second or a few, which is not bounded by %d in each", kept, 20*maxSampled, maxSampled)
	}
}

// TestQueueIsBounded traces more than the collector that is away can take.
func TestQueueIsBounded(t *testing.T) {
	m := meter(t, Config{OTLP: deaf, Sample: 1})
	r := httptest.NewRequest("GET", "/", nil)
	for range maxQueued + 10 {
		m.traces.second.Store(0)
		_, trace := m.Trace(context.Background(), nil)
		m.traces.end(trace, r, http.StatusOK, m.began)
	}
	if n := m.traces.dropped.Load(); n != 10 || len(m.traces.queue) != maxQueued {
		t.Errorf("%d spans dropped, %d traces wait", n, len(m.traces.queue))
	}
}
