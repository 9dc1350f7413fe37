package witness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/disk/disktest"
	"github.com/pavise/pavise/internal/proof"
)

// TestLyingWitnessesDoNotCount has a witness over HTTP lie in every way that the
// protocol leaves, beside two honest ones of which the policy needs both or the liar.
// It is not counted, its problem is told, and neither the log nor what it keeps suffers.
func TestLyingWitnessesDoNotCount(t *testing.T) {
	const name = "witness.example/liar"
	honestly := cosigners(t, name)[1]
	other, err := proof.NewCosigner(name, keyOf("another key"))
	if err != nil {
		t.Fatal(err)
	}
	led := make(chan struct{}, 8)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		led <- struct{}{}
		_, note, _ := strings.Cut(readBody(r), "\n\n")
		w.Write(mustCosign(t, []byte(note), honestly))
	}))
	defer elsewhere.Close()
	lines := func(of func(note []byte) []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			_, note, _ := strings.Cut(readBody(r), "\n\n")
			w.Write(of([]byte(note)))
		}
	}
	says := func(status int, kind, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(status)
			io.WriteString(w, text)
		}
	}
	another := newAuthor(t, logOrigin).grow(t, 6, "false")
	for _, tt := range []struct {
		name    string
		answers http.HandlerFunc
	}{
		{"signs with another key", lines(func(note []byte) []byte { return mustCosign(t, note, other) })},
		{"cosigns another size", lines(func([]byte) []byte { return mustCosign(t, another.checkpoint(t, 6), honestly) })},
		{"cosigns another root", lines(func([]byte) []byte { return mustCosign(t, another.checkpoint(t, 5), honestly) })},
		{"changes a byte", lines(func(note []byte) []byte {
			text := mustCosign(t, note, honestly)
			text[len(text)-20] ^= 1
			return text
		})},
		{"adds a line that is none", lines(func(note []byte) []byte { return append(mustCosign(t, note, honestly), "nonsense\n"...) })},
		{"leaves the line end away", lines(func(note []byte) []byte { return bytes.TrimSuffix(mustCosign(t, note, honestly), []byte("\n")) })},
		{"begins another text", lines(func(note []byte) []byte { return append([]byte("\n"), mustCosign(t, note, honestly)...) })},
		{"answers with a note of its own", lines(func(note []byte) []byte { return append(note, mustCosign(t, note, honestly)...) })},
		{"adds a hundred lines", lines(func(note []byte) []byte {
			return append(mustCosign(t, note, honestly), bytes.Repeat([]byte("— x AAAAAAAA\n"), 100)...)
		})},
		{"answers nothing", says(200, "text/plain", "")},
		{"answers garbage", says(200, "text/plain", "\x00\xff\xfe garbage")},
		{"answers a page", says(200, "text/html", "<html>— w</html>\n")},
		{"answers more than there can be", says(200, "text/plain", strings.Repeat("— x AAAAAAAA\n", 1<<17))},
		{"leads elsewhere", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		}},
		{"has always seen one more", func(w http.ResponseWriter, r *http.Request) {
			var old int
			fmt.Sscanf(readBody(r), "old %d\n", &old)
			says(409, "text/x.tlog.size", fmt.Sprintf("%d\n", (old+1)%6))(w, r)
		}},
		{"has seen more than there is", says(409, "text/x.tlog.size", "9223372036854775807\n")},
		{"has seen what is no size", says(409, "text/x.tlog.size", "-1\n")},
		{"has seen more than can be", says(409, "text/x.tlog.size", "9223372036854775808\n")},
		{"tells its size as something else", says(409, "text/plain", "3\n")},
		{"tells no size", says(409, "text/x.tlog.size", "")},
		{"refuses the proof", says(422, "text/plain", "no\n")},
		{"does not know the log", says(404, "text/plain", "no\n")},
		{"does not know the key", says(403, "text/plain", "no\n")},
		{"does not understand", says(400, "text/plain", "no\n")},
		{"breaks", says(500, "text/plain", "no\n")},
		{"is a teapot", says(418, "text/plain", "no\n")},
		{"has nothing to say", says(204, "text/plain", "")},
		{"hangs up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
		{"promises more than it sends", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1000")
			io.WriteString(w, "— ")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := httptest.NewServer(tt.answers)
			defer server.Close()
			liar := member{honestly.Key(), server.URL}
			l := openLog(t, disktest.New())
			add(t, l, 5, "true")
			one, two := newMemory(t, "witness.example/1"), newMemory(t, "witness.example/2")
			two.set(down)
			q := newQuorum(t, l, policy(t, "2", liar, one.member(), two.member()), func(w proof.Witness) Witness {
				if w.Name == "w0" {
					return nil
				}
				return among(one, two)(w)
			})
			q.peers[0].Witness = NewClient(server.URL)
			q.round(t.Context())
			wantWitnessed(t, q, 0)
			if got := problems(q); got[0] == "" {
				t.Error("it has no problem")
			}
			two.set(nil)
			q.round(t.Context())
			wantWitnessed(t, q, 5)
			if got := halted(l); got != "" {
				t.Errorf("the log stopped: %s", got)
			}
		})
	}
	if len(led) > 0 {
		t.Errorf("%d requests were led elsewhere", len(led))
	}
}

func readBody(r *http.Request) string {
	b, _ := io.ReadAll(r.Body)
	return string(b)
}

// TestWitnessCannotSpoilWhatIsKept has a witness that cosigns rightly add lines: in the
// names of the log and of the other witness, who answers after it, and in names that
// nobody knows. What the log keeps is what was checked, and opens for everybody; and
// the log opens again with it.
func TestWitnessCannotSpoilWhatIsKept(t *testing.T) {
	d := disktest.New()
	l := openLog(t, d)
	add(t, l, 5, "true")
	bad, good := cosigners(t, "witness.example/bad")[1], newMemory(t, "witness.example/good")
	answered := make(chan struct{})
	spoiler := &fake{cosign: func(_ context.Context, _ uint64, note []byte) ([]byte, error) {
		defer close(answered)
		lines := mustCosign(t, note, bad)
		lines = append(lines, mustCosign(t, newAuthor(t, logOrigin).checkpoint(t, 0), good.signer, newAuthor(t, logOrigin).signer)...)
		return stuff(lines, proof.MaxNote-len(note)), nil
	}}
	good.set(func(context.Context) error { <-answered; time.Sleep(time.Millisecond); return nil })
	p := policy(t, "all", member{bad.Key(), "http://bad"}, good.member())
	q := newQuorum(t, l, p, func(w proof.Witness) Witness {
		if w.Name == "w0" {
			return spoiler
		}
		return good
	})
	q.round(t.Context())
	wantWitnessed(t, q, 5)
	if kept := l.Witnessed().Note; len(kept) > 1000 {
		t.Errorf("the kept checkpoint is %d bytes long", len(kept))
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if l = openLog(t, d); l.Witnessed().Size != 5 {
		t.Errorf("the next process knows of %d witnessed records", l.Witnessed().Size)
	}
}

// TestClientSendsTheProtocolsBytes writes a request as the specification spells it.
func TestClientSendsTheProtocolsBytes(t *testing.T) {
	a := newAuthor(t, logOrigin).grow(t, 20, "true")
	var got atomic.Pointer[string]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text := r.Method + " " + r.URL.Path + "\n" + readBody(r)
		got.Store(&text)
	}))
	defer server.Close()
	for _, old := range []int64{0, 3, 20} {
		for _, url := range []string{server.URL + "/prefix", server.URL + "/prefix/"} {
			if _, err := NewClient(url).Cosign(t.Context(), uint64(old), a.prove(t, old, 20), a.checkpoint(t, 20)); err != nil {
				t.Fatal(err)
			}
			want := "POST /prefix/add-checkpoint\n" + string(body(old, a.prove(t, old, 20), a.checkpoint(t, 20)))
			if *got.Load() != want {
				t.Errorf("sent\n%s\nwant\n%s", *got.Load(), want)
			}
		}
	}
	if _, err := NewClient(server.URL).Latest(t.Context(), logOrigin); err != nil {
		t.Fatal(err)
	}
	if want := "GET /" + originHash(logOrigin) + "/checkpoint\n"; *got.Load() != want {
		t.Errorf("asked %q, want %q", *got.Load(), want)
	}
}

// TestClientReadsAnswers turns what a witness answers into errors that a quorum knows.
func TestClientReadsAnswers(t *testing.T) {
	a := newAuthor(t, logOrigin).grow(t, 20, "true")
	m, w := honest(t, "witness.example/1")
	c := NewClient(m.url)
	if _, err := c.Latest(t.Context(), logOrigin); pavise.KindOf(err) != pavise.NotFound {
		t.Errorf("before any: %v", err)
	}
	w.must(t, a, 0, 10)
	for name, tt := range map[string]struct {
		a        *author
		old, new int64
		kind     pavise.Kind
	}{
		"a log that it does not watch": {newAuthor(t, "elsewhere.example/log").grow(t, 3, ""), 0, 3, pavise.NotFound},
		"a tree that continues none":   {a.forkAt(5).grow(t, 15, "false"), 10, 20, pavise.Unverified},
		"an old size beyond the new":   {a, 12, 11, pavise.Unavailable},
	} {
		_, err := c.Cosign(t.Context(), uint64(tt.old), tt.a.prove(t, tt.old, tt.new), tt.a.checkpoint(t, tt.new))
		if e, ok := errors.AsType[*pavise.Error](err); !ok || e.Kind != tt.kind {
			t.Errorf("%s: %v, want %s", name, err, tt.kind)
		}
	}
	forged := slices.Clone(a.checkpoint(t, 20))
	forged[len(forged)-20] ^= 1
	if _, err := c.Cosign(t.Context(), 10, a.prove(t, 10, 20), forged); pavise.KindOf(err) != pavise.Denied {
		t.Errorf("forged: %v", err)
	}
	_, err := c.Cosign(t.Context(), 3, a.prove(t, 3, 20), a.checkpoint(t, 20))
	if seen, ok := errors.AsType[*Seen](err); !ok || seen.Size != 10 {
		t.Errorf("from an old size: %v", err)
	}
	lines, err := c.Cosign(t.Context(), 10, a.prove(t, 10, 20), a.checkpoint(t, 20))
	if err != nil {
		t.Fatal(err)
	}
	latest, err := c.Latest(t.Context(), logOrigin)
	if want := append(a.checkpoint(t, 20), lines...); err != nil || !bytes.Equal(latest, want) {
		t.Errorf("latest is\n%s, want\n%s, error %v", latest, want, err)
	}
}

// TestClientWithoutAnAddress says what is wrong with an address that is none.
func TestClientWithoutAnAddress(t *testing.T) {
	for url, kind := range map[string]pavise.Kind{"http://\x7f": pavise.Invalid, "nowhere": pavise.Unavailable, "ftp://x": pavise.Unavailable} {
		_, err := NewClient(url).Cosign(t.Context(), 0, nil, nil)
		if e, ok := errors.AsType[*pavise.Error](err); !ok || e.Kind != kind || e.Hint == "" {
			t.Errorf("%q: %v", url, err)
		}
	}
}

// TestClientTakesNoOtherSize takes for the size that a witness has seen only what comes
// as such, under its media type.
func TestClientTakesNoOtherSize(t *testing.T) {
	for _, answer := range [][2]string{{"text/plain", "3\n"}, {"text/x.tlog.size", "three\n"}, {"text/x.tlog.size", "3\n3\n"}, {"text/x.tlog.size", " 3"}} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", answer[0])
			w.WriteHeader(http.StatusConflict)
			io.WriteString(w, answer[1])
		}))
		_, err := NewClient(server.URL).Cosign(t.Context(), 0, nil, nil)
		server.Close()
		if seen, ok := errors.AsType[*Seen](err); ok || pavise.KindOf(err) != pavise.Unavailable {
			t.Errorf("%q is taken for the size %v, error %v", answer, seen, err)
		}
	}
}
