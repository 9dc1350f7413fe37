//go:build !race

// The race detector takes memory of its own with every short string, and this test
// counts what the parser takes.

package chat

import (
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// TestHeavyBodies reads bodies that are as large as they may be and take as much memory as
// they can: all small values, short keys, and numbers and strings that are not written as
// they were. None takes more than was counted before it was read, nor more than 64 MiB.
func TestHeavyBodies(t *testing.T) {
	const most = 64 << 20
	lim := DefaultLimits()
	fill := func(piece string) string {
		values := take("["+piece+"]", lim, nil).values - 1
		return strings.Repeat(piece+",", min((lim.MaxBody-200)/(len(piece)+1), (lim.MaxValues-100)/values)-1) + piece
	}
	keys := func(key func(i int) string, value string) string {
		var b strings.Builder
		for i := 0; b.Len() < lim.MaxBody-200 && i < lim.MaxValues-100; i++ {
			b.WriteString(`"` + key(i) + `":` + value + ",")
		}
		return strings.TrimSuffix(b.String(), ",")
	}
	asked := func(more string) string {
		return `{"model":"m","messages":[{"role":"user","content":"a"}],"x":` + more + `}`
	}
	for name, body := range map[string]string{
		"numbers":        asked("[" + fill("0") + "]"),
		"large numbers":  asked("[" + fill("1e20") + "]"),
		"small numbers":  asked("[" + fill("1e-6") + "]"),
		"zeros":          asked("[" + fill("-0") + "]"),
		"empty arrays":   asked("[" + fill("[]") + "]"),
		"empty objects":  asked("[" + fill("{}") + "]"),
		"pairs":          asked("[" + fill("[0,0]") + "]"),
		"single":         asked("[" + fill("[0]") + "]"),
		"nested":         asked("[" + fill("[[[[0]]]]") + "]"),
		"literals":       asked("[" + fill("null") + "]"),
		"empty strings":  asked("[" + fill(`""`) + "]"),
		"escapes":        asked("[" + fill(`"\b"`) + "]"),
		"long escapes":   asked("[" + fill(`"\u00e9"`) + "]"),
		"one string":     asked(`"` + strings.Repeat(`\b`, lim.MaxBody/2-100) + `"`),
		"a plain string": asked(`"` + strings.Repeat(`a`, lim.MaxBody-200) + `"`),
		"keys":           asked("{" + keys(func(i int) string { return strconv.FormatInt(int64(i), 36) }, "0") + "}"),
		"escaped keys":   asked("{" + keys(func(i int) string { return "\\n" + strconv.FormatInt(int64(i), 36) }, "0") + "}"),
		"large keys":     asked("{" + keys(func(i int) string { return "\u0130" + strconv.FormatInt(int64(i), 36) }, "1e9") + "}"),
		"tokens":         `{"model":"m","input":[` + fill("[1,2,3,4]") + "]}",
	} {
		api := Chat
		if name == "tokens" {
			api = Embeddings
		}
		if len(body) > lim.MaxBody {
			t.Fatalf("%s: %d bytes", name, len(body))
		}
		text := []byte(body)
		c := Count(text, lim)
		counted := c.Weight()
		var before, read, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		r, err := c.ParseRequest(api)
		runtime.ReadMemStats(&read)
		if name == "tokens" { // more inputs than there may be
			if err == nil {
				t.Errorf("%s are taken", name)
			}
		} else if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if took := int(read.TotalAlloc - before.TotalAlloc); took+cap(text) > counted+(64<<10) || counted > most {
			t.Errorf("%s: reading %d bytes takes %d more, and %d were counted", name, len(text), took, counted)
		}
		if err != nil {
			continue
		}
		r.Admit([]string{"x"})
		weight := r.Weight()
		written := r.AppendJSON(make([]byte, 0, r.Written()))
		runtime.GC() // what reading let go of
		runtime.ReadMemStats(&after)
		if took := int(after.HeapAlloc) - int(before.HeapAlloc); took > weight+(256<<10) || weight > most {
			t.Errorf("%s: what was read and written takes %d, and %d were counted", name, took, weight)
		}
		runtime.KeepAlive(r)
		runtime.KeepAlive(text)
		if len(written) != cap(written) {
			t.Errorf("%s: %d bytes in room for %d", name, len(written), cap(written))
		}
	}
}
