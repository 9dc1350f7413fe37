package upstream

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// echoFast is a server that costs little beside what is measured: it looks for the
// end of a request of a known size and answers with bytes made before.
func echoFast(size int, body string) func(*server, *peer, int64) {
	answer := []byte(ok(body))
	return func(s *server, c *peer, n int64) {
		buf, have := make([]byte, 64<<10), 0
		for {
			n, err := c.Read(buf[have:])
			if err != nil {
				return
			}
			have += n
			if end := bytes.Index(buf[:have], []byte("\r\n\r\n")); end >= 0 && have >= end+4+size {
				have = 0
				if _, err := c.Write(answer); err != nil {
					return
				}
			}
		}
	}
}

// BenchmarkPOST compares a call of 300 bytes with the same over net/http's Transport:
// wall clock of one caller after another, allocations of the client (the server makes
// none), and calls for each second of processor time of the whole process, in which
// the server's share is the same on both sides.
//
// What was learned: two thirds of what is left are the reads and writes of the kernel.
// What net/http pays beside them is handing over between goroutines and making some
// sixty things anew. A Fault made before anything went wrong, and a leg that somebody
// kept a pointer to, were all that was made anew here. A watch on the caller's context
// (context.AfterFunc) for each call would be three more, so it begins after patience.
func BenchmarkPOST(b *testing.B) {
	request, answer := strings.Repeat("r", 300), strings.Repeat("a", 300)
	s := serve(b, echoFast(len(request), answer))
	for _, parallel := range []int{1, 16} {
		b.Run(fmt.Sprintf("ours-%d", parallel), func(b *testing.B) {
			c := cluster(b, Options{}, s.url())
			measure(b, parallel, func(ctx context.Context) func() error {
				r, a := post(request), &Answer{}
				return func() error { return c.Do(ctx, r, a) }
			})
		})
		b.Run(fmt.Sprintf("nethttp-%d", parallel), func(b *testing.B) {
			t := &http.Transport{MaxIdleConnsPerHost: 64, MaxConnsPerHost: 256, DisableCompression: true}
			defer t.CloseIdleConnections()
			client := &http.Client{Transport: t}
			measure(b, parallel, func(ctx context.Context) func() error {
				buf := make([]byte, 0, 512)
				return func() error { return plain(ctx, client, s.url()+"/infer", request, buf) }
			})
		})
	}
}

func plain(ctx context.Context, client *http.Client, url, body string, buf []byte) error {
	r, err := http.NewRequestWithContext(ctx, "POST", url, strings.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, resp.Body, buf[:cap(buf)])
	return err
}

func measure(b *testing.B, parallel int, caller func(context.Context) func() error) {
	b.ReportAllocs()
	b.SetParallelism(parallel)
	before := processor()
	b.RunParallel(func(pb *testing.PB) {
		ctx, cancel := context.WithCancel(b.Context())
		defer cancel()
		call := caller(ctx)
		for pb.Next() {
			if err := call(); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/(processor()-before).Seconds(), "calls/cpu-s")
}

// processor is the time that the process was given.
func processor() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
