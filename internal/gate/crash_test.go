package gate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/store/blob"
)

// A cut is a bucket whose Puts fail, before or after the object is there, and whose Gets
// fail while it is away.
type cut struct {
	blob.Bucket
	before, after, away bool
}

// Get is Bucket's.
func (c *cut) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	if c.away {
		return nil, &pavise.Error{Kind: pavise.Unavailable, Msg: "the disk is away"}
	}
	return c.Bucket.Get(ctx, name)
}

// Put is Bucket's.
func (c *cut) Put(ctx context.Context, o blob.Object, content io.Reader) error {
	if c.before {
		return errors.New("the disk is full")
	}
	err := c.Bucket.Put(ctx, o, content)
	if c.after {
		return errors.New("the connection broke off")
	}
	return err
}

// TestOutputThatFails has a batch count once, whether it reached the output or not when
// that failed, and whether it comes again or not.
func TestOutputThatFails(t *testing.T) {
	for _, c := range []struct {
		name          string
		before, after bool
		again, reopen bool
		want          string // the verdict when it comes again
		lie           int    // batches in the output at the end
	}{
		{"before, comes again", true, false, true, false, Admitted, 1},
		{"after, comes again", false, true, true, false, Repeated, 1},
		{"before, start, comes again", true, false, true, true, Admitted, 1},
		{"after, start, comes again", false, true, true, true, Repeated, 1},
		{"before, start", true, false, false, true, "", 0},
		{"after, start", false, true, false, true, "", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			out := &cut{before: c.before, after: c.after}
			w := newWorld(t, func(cfg *Config) { out.Bucket, cfg.Output = cfg.Output, out })
			w.put(t, Spec{})
			_, err := w.Admit(t.Context(), pusher, rows, Batch{ID: "a", Form: FormNDJSON, Body: []byte(good(1, 3))})
			wantKind(t, err, pavise.Unavailable)
			out.before, out.after = false, false
			if c.reopen {
				w.open(t)
			}
			if c.again {
				wantVerdict(t, w.push(t, "a", good(1, 3)), c.want)
			}
			if got := w.output(t); len(got) != c.lie {
				t.Errorf("the output has %q", got)
			}
			s, err := w.Show(t.Context(), operator, rows)
			if err != nil || s.Admitted != c.lie {
				t.Errorf("%d batches count, %v", s.Admitted, err)
			}
			var hours int
			if err := w.cfg.Store.View(t.Context(), func(tx *store.Tx) error {
				return tx.QueryRow(`SELECT coalesce(sum(records), 0) FROM gate_hours`).Scan(&hours)
			}); err != nil || hours != 3*c.lie {
				t.Errorf("%d records count, %v", hours, err)
			}
		})
	}
}

// TestReleaseCutOff goes on with a release that was cut off, once: what reached the output
// counts, with no mark of its release yet, and what did not is in quarantine again.
func TestReleaseCutOff(t *testing.T) {
	for _, after := range []bool{false, true} {
		out := &cut{}
		w := newWorld(t, func(cfg *Config) { out.Bucket, cfg.Output = cfg.Output, out })
		w.put(t, Spec{Contract: []byte(promise)})
		bad := `{"id":1,"amount":5000}` + "\n"
		sum := w.push(t, "a", bad).SHA256
		out.before, out.after = !after, after
		wantKind(t, w.Release(t.Context(), approved(operator), rows, sum, nil), pavise.Unavailable)
		out.before, out.after = false, false
		w.open(t)
		if s, err := w.Show(t.Context(), operator, rows); err != nil || (s.Held == 0) != after {
			t.Errorf("after: %v: %d held, %v", after, s.Held, err)
		}
		wantVerdict(t, w.push(t, "b", good(2, 1)), Admitted)
		marked := 0
		mark := func(*store.Tx) error { marked++; return nil }
		if err := w.Release(t.Context(), approved(operator), rows, sum, mark); err != nil || marked != 1 {
			t.Fatal(marked, err)
		}
		wantKind(t, w.Release(t.Context(), approved(operator), rows, sum, mark), pavise.NotFound)
		want := []string{good(2, 1), bad}
		if after {
			want = []string{bad, good(2, 1)}
		}
		if got := w.output(t); !slices.Equal(got, want) {
			t.Errorf("the output has %q", got)
		}
		if s, err := w.Show(t.Context(), operator, rows); err != nil || s.Admitted != 2 || s.Held != 0 {
			t.Errorf("%+v %v", s, err)
		}
	}
}

// TestDiscardWhileReleased refuses to say that a batch is gone which may lie in the output,
// until it is known whether it does.
func TestDiscardWhileReleased(t *testing.T) {
	for _, after := range []bool{false, true} {
		out := &cut{}
		w := newWorld(t, func(cfg *Config) { out.Bucket, cfg.Output = cfg.Output, out })
		w.put(t, Spec{Contract: []byte(promise)})
		sum := w.push(t, "a", `{"id":1,"amount":5000}`).SHA256
		out.before, out.after, out.away = !after, after, true
		wantKind(t, w.Release(t.Context(), approved(operator), rows, sum, nil), pavise.Unavailable)
		_, err := w.Discard(t.Context(), operator, rows, sum, "poison")
		wantKind(t, err, pavise.Conflict, "being released")
		out.before, out.after, out.away = false, false, false
		if _, err = w.Discard(t.Context(), operator, rows, sum, "poison"); after {
			wantKind(t, err, pavise.NotFound)
		} else if err != nil {
			t.Fatal(err)
		}
		if got := w.output(t); (len(got) == 1) != after {
			t.Errorf("the output has %q", got)
		}
	}
}

// TestNothingIsHeldUntold has the finding of a batch there before the batch is: cut off in
// between, it comes again and is told again.
func TestNothingIsHeldUntold(t *testing.T) {
	w := newWorld(t)
	w.put(t, Spec{Contract: []byte(promise)})
	alter := func(sql string) {
		if err := w.cfg.Store.Update(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Exec(sql)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	alter(`CREATE TRIGGER cut BEFORE INSERT ON gate_batches WHEN new.state = 'held' BEGIN SELECT raise(ABORT, 'cut off'); END`)
	bad := Batch{Form: FormNDJSON, Body: []byte(`{"id":1,"amount":5000}`)}
	if _, err := w.Admit(t.Context(), pusher, rows, bad); err == nil {
		t.Fatal("it is held")
	}
	if f := w.findings(t, KindHeld); len(f) != 1 {
		t.Errorf("findings %q", f)
	}
	alter(`DROP TRIGGER cut`)
	w.open(t)
	r, err := w.Admit(t.Context(), pusher, rows, bad)
	if err != nil {
		t.Fatal(err)
	}
	wantVerdict(t, r, Held)
	if f := w.findings(t, KindHeld); len(f) != 2 {
		t.Errorf("findings %q", f)
	}
}

// TestOrphans removes from quarantine what no batch is of, at the start.
func TestOrphans(t *testing.T) {
	w := newWorld(t)
	w.put(t, Spec{Contract: []byte(promise)})
	sum := w.push(t, "a", `{"id":1,"amount":5000}`).SHA256
	orphan := filepath.Join(w.cfg.Dir, "local", "rows", strings.Repeat("0", 64))
	if err := os.WriteFile(orphan, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.open(t)
	if _, err := os.Stat(orphan); !os.IsNotExist(err) {
		t.Errorf("it is there: %v", err)
	}
	if held, err := w.Held(t.Context(), operator, rows, sum); err != nil || len(held.Body) == 0 {
		t.Errorf("what belongs there is gone: %v", err)
	}
}

// keptIn is the variable that tells the process of TestKill9 where it works.
const keptIn = "PAVISE_TEST_GATE"

// TestKill9 kills a process that brings batches again and again, and holds the output to
// what it was told: everything that was acknowledged is there, and nothing is there twice.
func TestKill9(t *testing.T) {
	if dir := os.Getenv(keptIn); dir != "" {
		bring(t, dir)
		return
	}
	dir := t.TempDir()
	rounds := 6
	for round := range rounds {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKill9$")
		cmd.Env = append(os.Environ(), keptIn+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		buffer := make([]byte, 1)
		if _, err := out.Read(buffer); err != nil { // it has begun
			t.Fatalf("round %d: %v", round, err)
		}
		go io.Copy(io.Discard, out)
		time.Sleep(time.Duration(20+37*round) * time.Millisecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed
	}
	acknowledged, err := os.ReadFile(filepath.Join(dir, "acknowledged"))
	if err != nil {
		t.Fatal(err)
	}
	w := keptWorld(t, dir)
	times := map[string]int{}
	for _, body := range w.output(t) {
		times[strings.TrimSpace(body)]++
	}
	lines := strings.Fields(string(acknowledged))
	if len(lines) < rounds {
		t.Fatalf("%d batches were acknowledged", len(lines))
	}
	for _, line := range lines {
		if times[line] != 1 {
			t.Errorf("%s was acknowledged, and is there %d times", line, times[line])
		}
	}
	for body, n := range times {
		if n != 1 {
			t.Errorf("%s is there %d times", body, n)
		}
	}
	s, err := w.Show(t.Context(), operator, rows)
	if err != nil || s.Admitted != len(times) {
		t.Errorf("%d batches count, and %d are there: %v", s.Admitted, len(times), err)
	}
	var records int
	if err := w.cfg.Store.View(t.Context(), func(tx *store.Tx) error {
		return tx.QueryRow(`SELECT sum(records) FROM gate_hours`).Scan(&records)
	}); err != nil || records != len(times) {
		t.Errorf("%d records count, and %d are there: %v", records, len(times), err)
	}
}

// keptWorld is a world whose gate works in a directory that outlives it.
func keptWorld(t *testing.T, dir string) *world {
	return newWorld(t, func(c *Config) {
		var err error
		if c.Store, err = store.Open(t.Context(), filepath.Join(dir, "db")); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Store.Close() })
		if c.Output, err = blob.Open(t.Context(), filepath.Join(dir, "out")); err != nil {
			t.Fatal(err)
		}
		c.Dir = filepath.Join(dir, "held")
	})
}

// bring brings batches until it is killed, each again until it is acknowledged, and writes
// down which were.
func bring(t *testing.T, dir string) {
	w := keptWorld(t, dir)
	w.put(t, Spec{})
	done, err := os.OpenFile(filepath.Join(dir, "acknowledged"), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(done)
	if err != nil {
		t.Fatal(err)
	}
	for i := len(strings.Fields(string(text))); ; i++ { // the one before may have been let in, and was not told
		body := fmt.Sprintf(`{"id":%d}`, i)
		if r := w.push(t, fmt.Sprint(i), body+"\n"); r.Verdict == Held {
			t.Fatal(r.Reasons)
		}
		fmt.Fprintln(done, body)
		fmt.Println(i)
	}
}
