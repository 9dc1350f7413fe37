package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pavise/pavise/bench/result"
)

// ours is Pavise's name in every table.
const ours = "Pavise"

// report writes everything as Markdown.
func (b *bench) report(conditions string) string {
	var s strings.Builder
	s.WriteString("## The gateway beside proxies\n\n")
	fmt.Fprintf(&s, "Made by `cd bench && go run ./gateway --rounds %d --seconds %d --write`.\n\n%s\n", b.setting.rounds, b.seconds, b.goals())
	for _, sc := range scenarios() {
		if of := b.found[sc.id]; len(of) > 0 {
			fmt.Fprintf(&s, "**%s** (`%s`), %d connections:\n\n%s\n", sc.title, sc.id, b.connections, b.table(of))
		}
	}
	if of := b.found["open"]; len(of) > 0 {
		fmt.Fprintf(&s, "**%d requests a second, whether answered or not** (`open`), of the first scenario:\n\n%s\n", b.rate, b.added(of))
	}
	s.WriteString(b.crowdTables())
	s.WriteString(b.allocationTable())
	s.WriteString(b.words())
	fmt.Fprintf(&s, "\nConditions:\n\n%s", conditions)
	return s.String()
}

// words say what was measured.
func (b *bench) words() string {
	var s strings.Builder
	pin := "nothing was pinned"
	if pinned() {
		pin = fmt.Sprintf("the proxy on core %d; the model server and the load on core %d", proxyCore, loadCore)
	}
	fmt.Fprintf(&s, `Medians of %d rounds, in which all take turns; ratios are medians of the rounds' ratios. %s.
Every answer was compared byte for byte with one that had been checked before; one that was missing, refused or other would have ended the measurement.
**Pavise** is the shipped binary: token of an issuer of its own (verified once and remembered until it ends), Cedar, rates and budgets (%s, so that they are counted and never reached), bounds for each column, answers rounded to four digits, and a record of each exchange written before its answer. By HTTP it is `+"`pavise up`, by TLS `pavise gateway`"+` under a control plane. Its peers are plain: they pass on.
**direct** is the model server without a proxy, and its processor time is the model server's. `, b.setting.rounds, pin, plenty)
	var versions []string
	for _, p := range b.proxies {
		if p.version != "" {
			versions = append(versions, p.name+" "+p.version)
		}
	}
	fmt.Fprintf(&s, "Peers: %s, one worker or core each.\n", strings.Join(versions, ", "))
	s.WriteString("**fasthttp** is no peer but a measure of the machine: a proxy of our own that passes on over fasthttp and does nothing else (bench/gateway/plain). With **checks** it reads the body's JSON strictly, every number of it, makes an HMAC over it, takes from one bucket, and rounds the answer; it knows no caller and writes no record.\n")
	for _, why := range b.absent {
		fmt.Fprintf(&s, "\nNot measured: %s.\n", why)
	}
	return s.String()
}

// rate is requests answered a second.
func (w *window) rate() float64 { return float64(w.Done) / w.Took.Seconds() }

// of returns the median over rounds of one number.
func of(rounds []window, part func(*window) float64) float64 {
	var all []float64
	for i := range rounds {
		all = append(all, part(&rounds[i]))
	}
	return result.Median(all)
}

// against is the median over rounds of one proxy's rate over another's; false when
// either was not measured.
func against(found map[string][]window, one, other string) (float64, bool) {
	a, b := found[one], found[other]
	if len(a) == 0 || len(a) != len(b) {
		return 0, false
	}
	var ratios []float64
	for i := range a {
		ratios = append(ratios, a[i].rate()/b[i].rate())
	}
	return result.Median(ratios), true
}

// order is that of a table's rows.
var order = []string{"direct", "nginx", "haproxy", "fasthttp", "fasthttp, checks", ours, "Caddy", "Portkey"}

func names[T any](of map[string]T) []string {
	var list []string
	for _, name := range order {
		if _, ok := of[name]; ok {
			list = append(list, name)
		}
	}
	return list
}

func ms(d float64) string { return fmt.Sprintf("%.2f", d/float64(time.Millisecond)) }

func times(ratio float64, ok bool) string {
	if !ok {
		return ""
	}
	return fmt.Sprintf("%.2f ×", ratio)
}

// table is one closed-loop scenario's.
func (b *bench) table(found map[string][]window) string {
	t := result.NewTable("proxy", "requests/s", "by round", "p50 ms", "p99 ms", "CPU µs a request", "RSS MB", "to nginx", "to Caddy")
	for _, name := range names(found) {
		rounds := found[name]
		var by []string
		for i := range rounds {
			by = append(by, fmt.Sprintf("%.0f", rounds[i].rate()))
		}
		shown := name
		if name == ours {
			shown = "**" + name + "**"
		}
		t.Row(shown, fmt.Sprintf("%.0f", of(rounds, (*window).rate)), strings.Join(by, ", "),
			ms(of(rounds, func(w *window) float64 { return float64(w.P50) })), ms(of(rounds, func(w *window) float64 { return float64(w.P99) })),
			fmt.Sprintf("%.0f", of(rounds, func(w *window) float64 { return float64(w.cpu.Microseconds()) / float64(w.Done) })),
			mb(int64(of(rounds, func(w *window) float64 { return float64(w.rss) }))),
			times(against(found, name, "nginx")), times(against(found, name, "Caddy")))
	}
	return t.String()
}

// overDirect is the median over rounds of what a proxy adds to the p50 of the model
// server.
func overDirect(found map[string][]window, name string) (time.Duration, bool) {
	mine, direct := found[name], found["direct"]
	if len(mine) == 0 || len(mine) != len(direct) {
		return 0, false
	}
	var added []time.Duration
	for i := range mine {
		added = append(added, mine[i].P50-direct[i].P50)
	}
	return result.Median(added), true
}

// added is the open loop's table.
func (b *bench) added(found map[string][]window) string {
	t := result.NewTable("proxy", "p50 ms", "added to p50, µs", "p99 ms", "CPU µs a request")
	for _, name := range names(found) {
		rounds := found[name]
		more := ""
		if d, ok := overDirect(found, name); ok {
			more = fmt.Sprint(d.Microseconds())
		}
		t.Row(name, ms(of(rounds, func(w *window) float64 { return float64(w.P50) })), more, ms(of(rounds, func(w *window) float64 { return float64(w.P99) })),
			fmt.Sprintf("%.0f", of(rounds, func(w *window) float64 { return float64(w.cpu.Microseconds()) / float64(w.Done) })))
	}
	return t.String()
}

// crowdTables are those of connections that come in great number.
func (b *bench) crowdTables() string {
	var s strings.Builder
	for _, kind := range []struct{ id, title string }{
		{"idle", "connections that have been answered once and stay"},
		{"streams", "answers that stream, held after their first event"},
		{overH2, fmt.Sprintf("of them by TLS and HTTP/2, %d on a connection", eachCaller)},
		{"storm", "connections at once, each for one request"},
	} {
		if len(b.crowds[kind.id]) == 0 {
			continue
		}
		t := result.NewTable("proxy", "answered", "refused", "broken", "all done after", "RSS MB before", "with them", "p50 ms", "p99 ms")
		for _, name := range names(b.crowds[kind.id]) {
			c := b.crowds[kind.id][name]
			var refused []string
			for status, n := range c.Refused {
				refused = append(refused, fmt.Sprintf("%d with %s", n, status))
			}
			slices.Sort(refused)
			t.Row(name, fmt.Sprint(c.Done), strings.Join(refused, ", "), fmt.Sprint(c.Broken), c.Took.Round(time.Millisecond).String(), mb(c.before), mb(c.during), ms(float64(c.P50)), ms(float64(c.P99)))
		}
		fmt.Fprintf(&s, "**%d %s** (`%s`), in %d callers' names:\n\n%s\n", b.size(kind.id), kind.title, kind.id, asCallers, t)
	}
	return s.String()
}

// allocationTable is what one exchange allocates.
func (b *bench) allocationTable() string {
	if len(b.allocs) == 0 {
		return ""
	}
	t := result.NewTable("one exchange in Pavise, without a network", "ns", "bytes", "allocations")
	for _, row := range b.allocs {
		t.Row(row...)
	}
	return t.String() + "\n"
}

// goals are those that were set, and how it stands with each.
func (b *bench) goals() string {
	t := result.NewTable("goal", "measured", "")
	judge := func(goal string, measured string, met bool) {
		word := "met"
		if !met {
			word = "**not met**"
		}
		t.Row(goal, measured, word)
	}
	least := func(id, peer string, want float64) {
		if ratio, ok := against(b.found[id], ours, peer); ok {
			judge(fmt.Sprintf("`%s`: ≥ %.2g × %s", id, want, peer), times(ratio, true), ratio >= want)
		}
	}
	for _, id := range []string{"small", "large", "small-tls", "large-tls"} {
		least(id, "Caddy", 2.5)
		least(id, "nginx", 0.55)
	}
	least("least", "nginx", 0.65)
	least("chat", "Portkey", 15)
	mine, one := overDirect(b.found["open"], ours)
	theirs, other := overDirect(b.found["open"], "haproxy")
	if one && other {
		judge("`open`: added p50 ≤ 2 × haproxy's", fmt.Sprintf("%d µs, haproxy's %d µs", mine.Microseconds(), theirs.Microseconds()), mine <= 2*theirs)
	}
	for _, kind := range []string{"streams", overH2} {
		if c := b.crowds[kind][ours]; c != nil {
			judge(fmt.Sprintf("`%s`: %d idle ones in ≤ 300 MB", kind, b.size(kind)), fmt.Sprintf("%d held in %s MB", c.Done, mb(c.during)), c.during <= 300e6 && c.Done == b.size(kind))
		}
	}
	return t.String()
}

func mb(bytes int64) string { return fmt.Sprintf("%.0f", float64(bytes)/1e6) }
