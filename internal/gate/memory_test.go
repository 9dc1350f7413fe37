package gate

import (
	"runtime"
	"runtime/metrics"
	"strings"
	"testing"

	"github.com/pavise/pavise/internal/contract"
	"time"
)

// most runs f, and returns how many bytes of the heap it had in use at most, beyond those
// before it.
func most(t *testing.T, f func()) uint64 {
	t.Helper()
	heap := func() uint64 {
		s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		metrics.Read(s)
		return s[0].Value.Uint64()
	}
	runtime.GC()
	before, peak := heap(), uint64(0)
	done, seen := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(seen)
		for {
			select {
			case <-done:
				return
			default:
				peak = max(peak, heap())
				time.Sleep(time.Millisecond)
			}
		}
	}()
	f()
	close(done)
	<-seen
	return peak - min(peak, before)
}

// TestSmallValues reads bodies of the smallest values that there are: however many there
// are, they take no more memory than a few times the body.
func TestSmallValues(t *testing.T) {
	fill := func(before, each, after string, size int) []byte {
		return []byte(before + strings.Repeat(each, (size-len(before)-len(after)-1)/len(each)) + "1" + after)
	}
	judged := func(form string) func([]byte) string {
		terms, err := Spec{Source: rows, Form: form}.read(contract.Parse)
		if err != nil {
			t.Fatal(err)
		}
		return func(body []byte) string {
			return strings.Join(terms.judge(Batch{Form: form, Body: body}, rowsTime).told(), "; ")
		}
	}
	read := func(how func(*logs, []byte) error) func([]byte) string {
		return func(body []byte) string {
			if err := how(&logs{}, body); err != nil {
				return err.Error()
			}
			return ""
		}
	}
	inRecords := func(s string) []byte {
		return []byte(field(1, field(2, s)))
	}
	for _, c := range []struct {
		name  string
		body  []byte
		read  func([]byte) string
		words string
	}{
		{"a row with a list", fill(`{"a":[`, "1,", "]}", 4<<20), judged(FormNDJSON), "row 1: it has more than 1048576 values"},
		{"a row with half a million", fill(`{"a":[`, "1,", "]}", 1<<20), judged(FormNDJSON), ""},
		{"a bundle", fill(`{"type":"bundle","objects":[`, "1,", "]}", 10<<20), judged(FormSTIX), "values in it"},
		{"a bundle with half a million", fill(`{"type":"bundle","objects":[`, "1,", "]}", 1<<20), judged(FormSTIX), ""},
		{"records that are none", fill(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[`, "1,", "]}]}]}", 4<<20), read((*logs).readJSON), "values in its lists"},
		{"attributes that are none", fill(`{"resourceLogs":[{"resource":{"attributes":[`, "null,", "]}}]}", 4<<20), read((*logs).readJSON), "values in its lists"},
		{"keys of nothing", fill(`{"resourceLogs":[],`, `"":1,`, `:1}`, 12<<20), read((*logs).readJSON), "more than 2097152 values"},
		{"attributes of two bytes", inRecords(field(2, strings.Repeat("\x32\x00", 2<<20))), read((*logs).readProtobuf), "more than 1048576 attributes"},
		{"values of two bytes", inRecords(field(2, field(5, field(5, strings.Repeat("\x0a\x00", 2<<20))))), read((*logs).readProtobuf), "more than 1048576 attributes"},
		{"records of two bytes", inRecords(strings.Repeat("\x12\x00", 2<<20)), read((*logs).readProtobuf), "more than 1048576 records"},
	} {
		var told string
		if n := most(t, func() { told = c.read(c.body) }); n > 256<<20 {
			t.Errorf("%s: %d MiB of memory for %d", c.name, n>>20, len(c.body)>>20)
		}
		if !strings.Contains(told, c.words) || c.words == "" && told != "" {
			t.Errorf("%s: %.200q does not say %q", c.name, told, c.words)
		}
	}
}
