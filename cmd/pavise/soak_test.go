package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	// soakRate is how often a second pavise is asked meanwhile.
	soakRate = 400
	// soakGrowth is what its memory may grow by from the first quarter of the time to the
	// end, by the straight line through what was seen, as a share of it. A segment's index
	// grows and is let go again, so that it is never quite flat.
	soakGrowth = 0.15
)

// TestSoak has callers ask for as long as PAVISE_SOAK says, of a model in the gateway
// and of one on a server, well and badly, while a route changes. Everything is answered
// as it should be, and memory stays flat.
func TestSoak(t *testing.T) {
	text := os.Getenv("PAVISE_SOAK")
	if text == "" {
		t.Skip("PAVISE_SOAK says for how long: make soak")
	}
	length, err := time.ParseDuration(text)
	if err != nil || length < 10*time.Second {
		t.Fatalf("PAVISE_SOAK is %q, and not a time of 10s or more", text)
	}
	p := start(t, t.TempDir()+"/data", "--person", "another")
	s := &storm{policies: map[string]int{}}
	s.begin(t, p)
	var asked, wrong atomic.Int64
	var callers sync.WaitGroup
	ends := time.Now().Add(length)
	for n := range stormCallers {
		callers.Go(func() {
			pace := time.NewTicker(stormCallers * time.Second / soakRate)
			defer pace.Stop()
			for i := 0; time.Now().Before(ends); i++ {
				<-pace.C
				if asked.Add(1); !soaked(p, n, i) {
					wrong.Add(1)
				}
			}
		})
	}
	seen := watchMemory(t, p, length)
	callers.Wait()
	grown, mean := slope(seen)
	t.Logf("%d requests in %v; resident memory %.1f MB on average, %+.1f MB from the first quarter to the end", asked.Load(), length, mean/1e6, grown/1e6)
	if grown > soakGrowth*mean {
		t.Errorf("resident memory grows: %v", seen)
	}
	if wrong.Load() > 0 {
		t.Errorf("%d of %d requests were not answered as they should be", wrong.Load(), asked.Load())
	}
	p.interrupt(t)
	if report := verify(t, p.data); len(report.Open) > 0 {
		t.Errorf("report %+v", report)
	}
}

// soaked asks once, one time in ten what is to be refused, and reports whether the answer
// was as it should be.
func soaked(p *process, caller, i int) bool {
	model := []string{stormModel, stormServed}[caller%2]
	body, want := asking(i%1000), 200
	if i%10 == 9 {
		body, want = strings.Replace(body, "[1,3]", "[1,4]", 1), 400
	}
	a, err := ask(p.Server, p.Token, model, body)
	return err == nil && a.status == want && (want != 200 || model != stormServed || a.answers(i%1000))
}

// watchMemory returns the resident memory of a process at two hundred moments of the
// time behind its first quarter, in bytes.
func watchMemory(t *testing.T, p *process, length time.Duration) (seen []float64) {
	t.Helper()
	time.Sleep(length / 4)
	const looks = 200
	for range looks {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := bytes.Cut(status, []byte("VmRSS:"))
		kb, err := strconv.Atoi(strings.Fields(string(rest))[0])
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, float64(kb)*1024)
		time.Sleep(length * 3 / 4 / looks)
	}
	return seen
}

// slope returns how much a series grows from its begin to its end by the straight line
// that fits it best (least squares), and its mean.
func slope(series []float64) (grown, mean float64) {
	n := float64(len(series))
	var x, y, xx, xy float64
	for i, v := range series {
		x, y, xx, xy = x+float64(i), y+v, xx+float64(i*i), xy+float64(i)*v
	}
	return (n*xy - x*y) / (n*xx - x*x) * (n - 1), y / n
}

// TestSlope fits lines that are known.
func TestSlope(t *testing.T) {
	for _, tt := range []struct {
		series      []float64
		grown, mean float64
	}{{[]float64{5, 5, 5, 5}, 0, 5}, {[]float64{1, 2, 3}, 2, 2}, {[]float64{4, 3, 2, 1, 0}, -4, 2}} {
		if grown, mean := slope(tt.series); grown != tt.grown || mean != tt.mean {
			t.Errorf("%v grows by %v around %v, want %v around %v", tt.series, grown, mean, tt.grown, tt.mean)
		}
	}
}
