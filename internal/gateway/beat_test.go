package gateway

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/chat"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/tensor"
)

// A line is something that a model server writes, after a time.
type line struct {
	after time.Duration
	text  string
}

// word is an event that says so many bytes.
func word(n int) string {
	return fmt.Sprintf(`data: {"id":"a","object":"chat.completion.chunk","created":1,"model":"up","choices":[{"index":0,"delta":{"content":%q},"finish_reason":null}]}`+"\n\n", strings.Repeat("w", n))
}

const ending = `data: {"id":"a","object":"chat.completion.chunk","created":1,"model":"up","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\ndata: [DONE]\n\n"

// A written is one write to a caller.
type written struct {
	at   time.Duration // since the request was whole
	text string
}

// A streamed is a stream through a route with a pace, as its caller sees it.
type streamed struct {
	w      *world
	ctx    context.Context
	leave  func()
	writes []written
	slow   time.Duration // what a write takes
	record time.Duration // what the record takes
	err    error
	index  uint64
}

// run lets a server write its lines. It belongs into a bubble of synctest.
func (s *streamed) run(t *testing.T, ladder, beat string, lines ...line) *streamed {
	t.Helper()
	s.w = newWorld(t, t.TempDir())
	s.w.takes = func(*record.Record) time.Duration { return s.record }
	s.w.put(t, func(r *route.Spec) {
		r.ONNX, r.Upstream, r.Remote, r.Protocol, r.Ladder, r.Pace = nil, "http://127.0.0.1:1", "up", tensor.NameOpenAI, ladder, beat
	})
	s.ctx, s.leave = context.WithCancel(t.Context())
	x, err := s.w.BeginChat(s.ctx, somebody, asking(strings.Replace(question, "{", `{"stream":true,`, 1)))
	if err != nil {
		t.Fatal(err)
	}
	s.index = s.w.log.Size()
	from, to := io.Pipe()
	go func() {
		for _, l := range lines {
			select {
			case <-time.After(l.after):
			case <-s.ctx.Done():
				return
			}
			if _, err := io.WriteString(to, l.text); err != nil {
				return
			}
		}
		to.Close()
	}()
	send := &streaming{x: x, sum: sha256.New(), send: func(b []byte) error {
		s.writes = append(s.writes, written{time.Since(x.whole), string(b)})
		time.Sleep(s.slow)
		return s.ctx.Err()
	}}
	send.sum.Write(x.kept.Salt)
	ctx, done := context.WithCancel(s.ctx)
	context.AfterFunc(ctx, func() { from.CloseWithError(context.Canceled) })
	defer s.leave()
	s.err = send.paced(ctx, done, chat.NewStream(x.ask, from, chat.DefaultLimits()))
	return s
}

// seen is when something came, and how much: what somebody on the way sees.
func (s *streamed) seen() (list []string) {
	for _, w := range s.writes {
		list = append(list, fmt.Sprintf("%v:%d", w.at, len(w.text)))
	}
	return list
}

// events is all that was written but comments.
func (s *streamed) events() string {
	var b strings.Builder
	for _, w := range s.writes {
		for part := range strings.SplitAfterSeq(w.text, "\n\n") {
			if part != "" && !strings.HasPrefix(part, ":") {
				b.WriteString(part)
			}
		}
	}
	return b.String()
}

const ms = time.Millisecond

// TestBeat holds the writes to their times and sizes, and the record to the events.
func TestBeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(streamed).run(t, "", "50ms", line{30 * ms, word(1)}, line{10 * ms, word(20)}, line{180 * ms, word(2000)}, line{10 * ms, ending})
		if s.err != nil {
			t.Fatal(s.err)
		}
		if want := []string{"50ms:2048", "100ms:2048", "150ms:2048", "200ms:2048", "250ms:2048", "300ms:2048"}; !slices.Equal(s.seen(), want) {
			t.Errorf("writes at %v, want %v", s.seen(), want)
		}
		if want := strings.ReplaceAll(word(1)+word(20)+word(2000)+ending, `"up"`, `"m"`); s.events() != want {
			t.Errorf("the events are %q, want %q", s.events(), want)
		}
		if last := s.writes[len(s.writes)-1].text; !strings.Contains(last, fmt.Sprintf("\n: pavise-record %d\n\n", s.index)) {
			t.Errorf("the last write names no record: %q", last)
		}
		s.w.opens(t, s.index, []byte(s.events()))
	})
}

// TestStreamsLookAlike is what ladder and beats are for: a long wait and short words, no
// wait and long ones, and a refusal in the middle look the same from outside.
func TestStreamsLookAlike(t *testing.T) {
	var first []string
	for i, lines := range [][]line{
		{{190 * ms, word(1)}, {1 * ms, word(1)}, {300 * ms, ending}},
		{{5 * ms, word(60)}, {100 * ms, word(50)}, {100 * ms, word(40)}, {10 * ms, ending}},
		{{5 * ms, word(1)}, {1 * ms, word(6000)}, {100 * ms, word(30)}, {1 * ms, ending}},
		{{70 * ms, word(10)}, {300 * ms, word(7)}, {1 * ms, "data: what\n\n"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := (&streamed{record: time.Duration(i) * 600 * time.Microsecond}).run(t, "200ms x3 to 6s", "50ms", lines...)
			if first == nil {
				first = s.seen()
			}
			if want := 9; len(first) != want || !slices.Equal(s.seen(), first) { // 200 to 600 ms
				t.Errorf("stream %d: writes at %v, and the first %v (%v)", i, s.seen(), first, s.err)
			}
		})
	}
}

func TestBeatOfRefusals(t *testing.T) {
	for _, c := range []struct {
		name   string
		lines  []line
		events string
	}{
		{"before anything", []line{{30 * ms, "data: what\n\n"}}, ""},
		{"a server that says nothing", []line{{30 * ms, ""}}, ""},
		{"behind an end that was held back", []line{{30 * ms, strings.TrimSuffix(ending, "data: [DONE]\n\n")}, {1 * ms, "data: what\n\n"}}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				from := time.Now()
				s := new(streamed).run(t, "200ms..2s", "50ms", c.lines...)
				if took := time.Since(from); s.err == nil || pavise.KindOf(s.err) != pavise.Unavailable || len(s.writes) > 0 || took != 200*ms {
					t.Errorf("%v after %v, with %d writes", s.err, took, len(s.writes))
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		s := new(streamed).run(t, "", "50ms", line{10 * ms, word(1)}, line{60 * ms, "data: what\n\n"})
		if s.err == nil || !strings.Contains(s.events(), `"error"`) || strings.Contains(s.events(), "DONE") {
			t.Errorf("%v: %s", s.err, s.events())
		}
	})
}

// TestBeatEndsWithItsCaller has callers leave while the server is silent, and while the
// end waits for its rung.
func TestBeatEndsWithItsCaller(t *testing.T) {
	for _, c := range []struct {
		name  string
		lines []line
	}{
		{"while the server is silent", []line{{10 * ms, word(1)}, {time.Hour, ending}}},
		{"while the end waits", []line{{1 * ms, word(1)}, {49 * ms, ending}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &streamed{}
				from := time.Now()
				time.AfterFunc(120*ms, func() { s.leave() })
				s.run(t, "20ms x50 to 10s", "20ms", c.lines...)
				if took := time.Since(from); took != 120*ms || s.err == nil && c.lines[1].after == time.Hour {
					t.Errorf("it ends after %v: %v", took, s.err)
				}
				if r := s.w.last(t); r.Kind != "model.infer" {
					t.Errorf("the record is %+v", r)
				}
			})
		})
	}
}

// TestBeatReadsNoFurther has a server say more than a slow caller takes: what waits is
// bounded, and nothing is lost.
func TestBeatReadsNoFurther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &streamed{slow: 300 * ms}
		var lines []line
		for range 40 {
			lines = append(lines, line{ms, word(30 << 10)})
		}
		s.run(t, "", "50ms", append(lines, line{0, ending})...)
		if s.err != nil {
			t.Fatal(s.err)
		}
		for _, w := range s.writes {
			if len(w.text) > 4*maxWaiting || len(w.text)&(len(w.text)-1) != 0 {
				t.Errorf("a write of %d bytes", len(w.text))
			}
		}
		if n := strings.Count(s.events(), "www"); n == 0 || len(s.events()) < 40*30<<10 {
			t.Errorf("%d bytes of events", len(s.events()))
		}
	})
}

// A broken flow panics, as a parser with a mistake would.
type broken struct{}

func (broken) Next() (*chat.Event, error) { panic("a mistake") }

func TestBeatHandsOnPanics(t *testing.T) {
	to := make(chan said)
	go read(t.Context(), broken{}, to)
	if next := <-to; next.panic != "a mistake" {
		t.Errorf("%+v", next)
	}
	if _, open := <-to; open {
		t.Error("it goes on behind a panic")
	}
}

// TestLadderOfStreams has the first event of a stream without a pace wait for its rung.
func TestLadderOfStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, t.TempDir())
		w.put(t, func(r *route.Spec) {
			r.ONNX, r.Upstream, r.Remote, r.Protocol, r.Ladder = nil, "http://127.0.0.1:1", "up", tensor.NameOpenAI, "200ms..2s"
		})
		x, err := w.BeginChat(t.Context(), somebody, asking(strings.Replace(question, "{", `{"stream":true,`, 1)))
		if err != nil {
			t.Fatal(err)
		}
		var at []time.Duration
		s := &streaming{x: x, sum: sha256.New(), send: func([]byte) error { at = append(at, time.Since(x.whole)); return nil }}
		events := chat.NewStream(x.ask, strings.NewReader(word(1)+word(2)+ending), chat.DefaultLimits())
		for {
			e, err := events.Next()
			if err == nil {
				err = s.event(t.Context(), e)
			}
			if err != nil {
				err = s.over(t.Context(), err)
				if err != nil {
					t.Fatal(err)
				}
				break
			}
			time.Sleep(10 * ms)
		}
		if want := []time.Duration{200 * ms, 210 * ms, 240 * ms}; !slices.Equal(at, want) {
			t.Errorf("events leave at %v, want %v", at, want)
		}
	})
}

// BenchmarkStrike makes the write of a beat.
func BenchmarkStrike(b *testing.B) {
	words := bytes.Repeat([]byte(word(4)), 3)
	beat := beating{random: rand.NewChaCha8([32]byte{1})}
	for b.Loop() {
		beat.waiting = append(beat.waiting, words...)
		beat.write(2048)
	}
}
