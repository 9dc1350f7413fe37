package witness

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/disk/disktest"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/proof"
)

// TestQuorumOverHTTP has two of three witnesses cosign, while the third is dead: the
// log keeps a checkpoint that satisfies the policy, and the dead one is named.
func TestQuorumOverHTTP(t *testing.T) {
	l := openLog(t, disktest.New())
	add(t, l, 5, "true")
	one, _ := honest(t, "witness.example/1")
	two, w := honest(t, "witness.example/2")
	dead := httptest.NewServer(nil)
	dead.Close()
	q := newQuorum(t, l, policy(t, "2", one, two, member{cosigners(t, "witness.example/3")[1].Key(), dead.URL}), nil)
	q.round(t.Context())
	wantWitnessed(t, q, 5)
	got := problems(q)
	if got[0] != "" || got[1] != "" || !strings.Contains(got[2], "no answer from the witness at "+dead.URL) {
		t.Errorf("problems %q", got)
	}
	statuses, _, at := q.Status()
	if s := statuses[1]; s.Size != 5 || !s.At.Equal(testTime) || !s.Counts || s.URL != two.url || s.Key != w.Keys()[1].String() || s.Algorithm != "Ed25519 cosignature" || s.Skew != 0 {
		t.Errorf("the second fares %+v", s)
	}
	if !at.Equal(testTime) || statuses[2].Size != 0 {
		t.Errorf("as of %s, the third has seen %d", at, statuses[2].Size)
	}
}

// TestQuorumIsNotReached keeps nothing while one witness too few has cosigned.
func TestQuorumIsNotReached(t *testing.T) {
	l := openLog(t, disktest.New())
	add(t, l, 5, "true")
	one, two := newMemory(t, "witness.example/1"), newMemory(t, "witness.example/2")
	two.set(down)
	q := newQuorum(t, l, policy(t, "all", one.member(), two.member()), among(one, two))
	q.round(t.Context())
	wantWitnessed(t, q, 0)
	two.set(nil)
	q.round(t.Context())
	wantWitnessed(t, q, 5)
}

// TestBothKeysOfOneWitness asks a witness with two keys once, and keeps both of its
// signatures.
func TestBothKeysOfOneWitness(t *testing.T) {
	l := openLog(t, disktest.New())
	add(t, l, 5, "true")
	asked := 0
	w := open(t, "witness.example/1")
	if err := w.Trust(t.Context(), l.Keys()[0]); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		asked++
		w.Handler().ServeHTTP(rw, r)
	}))
	defer server.Close()
	q := newQuorum(t, l, policy(t, "all", member{w.Keys()[0], server.URL}, member{w.Keys()[1], server.URL}), nil)
	q.round(t.Context())
	wantWitnessed(t, q, 5)
	if asked != 1 {
		t.Errorf("it was asked %d times", asked)
	}
}

// TestAKeyThatDoesNotSign says so of one key of a witness whose other key signs.
func TestAKeyThatDoesNotSign(t *testing.T) {
	l := openLog(t, disktest.New())
	add(t, l, 5, "true")
	one, _ := honest(t, "witness.example/1")
	q := newQuorum(t, l, policy(t, "any", one, member{cosigners(t, "witness.example/old")[1].Key(), one.url}), nil)
	q.round(t.Context())
	wantWitnessed(t, q, 5)
	if got := problems(q); got[0] != "" || got[1] != "it did not sign with this key" {
		t.Errorf("problems %q", got)
	}
}

// TestRightProofAfter409 asks a witness that has seen more than this process knows, and
// one that has seen less: each says its size, and gets the proof from there.
func TestRightProofAfter409(t *testing.T) {
	l := openLog(t, disktest.New())
	one, w := honest(t, "witness.example/1")
	add(t, l, 3, "true")
	newQuorum(t, l, policy(t, "1", one), nil).round(t.Context())
	add(t, l, 300, "true")
	q := newQuorum(t, l, policy(t, "1", one), nil) // knows of nothing that it has seen
	q.round(t.Context())
	wantWitnessed(t, q, 300)
	if err := w.Forget(t.Context(), logOrigin); err != nil {
		t.Fatal(err)
	}
	if err := w.Trust(t.Context(), l.Keys()[0]); err != nil {
		t.Fatal(err)
	}
	add(t, l, 301, "true")
	q.round(t.Context())
	wantWitnessed(t, q, 301)
}

// TestNewQuorumRefuses what could never come together, or could not be asked.
func TestNewQuorumRefuses(t *testing.T) {
	l := openLog(t, disktest.New())
	far := newMemory(t, "witness.example/1").member()
	own := newMemory(t, logOrigin+"/witness").member()
	same := proofCosigner(t, "elsewhere.example/w", logOrigin)
	log := newMemory(t, logOrigin).member()
	none, err := proof.ParsePolicy([]byte("quorum none\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		policy *proof.Policy
		msg    string
	}{
		{"no quorum", none, "asks for no cosignature"},
		{"our own witness", policy(t, "1", own), "would be a witness in its own cause"},
		{"the log under its own name", policy(t, "1", log), "would be a witness in its own cause"},
		{"our own key under another name", policy(t, "1", same), "would be a witness in its own cause"},
		{"one other is too few", policy(t, "2", far, own, same), "w1, w2 would be"},
		{"no address", policy(t, "1", member{far.key, ""}), "gives witness w0 no address"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := NewQuorum(l, tt.policy, testNow, nil)
			if e, ok := errors.AsType[*pavise.Error](err); !ok || e.Kind != pavise.Invalid || !strings.Contains(e.Msg, tt.msg) || e.Hint == "" {
				t.Errorf("error %v, want %q and a hint", err, tt.msg)
			}
		})
	}
}

// proofCosigner is the member of a witness under a name with another's key.
func proofCosigner(t testing.TB, name, of string) member {
	t.Helper()
	signer, err := proof.NewCosigner(name, keyOf(of))
	if err != nil {
		t.Fatal(err)
	}
	return member{signer.Key(), "http://" + name}
}

// TestOwnWitnessDoesNotCount has the log's own witness cosign, and nobody else: it says
// so in its status, and there is no quorum.
func TestOwnWitnessDoesNotCount(t *testing.T) {
	l := openLog(t, disktest.New())
	add(t, l, 5, "true")
	own, far := newMemory(t, logOrigin+"/witness"), newMemory(t, "witness.example/1")
	far.set(down)
	q := newQuorum(t, l, policy(t, "any", own.member(), far.member()), among(own, far))
	q.round(t.Context())
	wantWitnessed(t, q, 0)
	if statuses, _, _ := q.Status(); statuses[0].Counts || statuses[0].Size != 5 || !statuses[1].Counts {
		t.Errorf("statuses %+v", statuses)
	}
}

// TestHangingWitnessHoldsNobodyUp has one witness of three never answer. A record
// counts as witnessed as soon as the others have cosigned it, and so does the next: no
// round hangs on whom it does not need.
func TestHangingWitnessHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := openLog(t, disktest.New())
		defer l.Close()
		one, two, slow := newMemory(t, "witness.example/1"), newMemory(t, "witness.example/2"), newMemory(t, "witness.example/3")
		slow.set(hang)
		q := newQuorum(t, l, policy(t, "2", one.member(), two.member(), slow.member()), among(one, two, slow))
		defer run(t, q)()
		for i := range uint64(3) {
			add(t, l, i+1, "true")
			began := time.Now()
			if err := q.Await(t.Context(), i); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took > lateBy+2*lookEvery {
				t.Errorf("record %d was witnessed after %s", i, took)
			}
		}
		time.Sleep(lateBy)
		synctest.Wait()
		if got := problems(q); got[0] != "" || got[1] != "" || got[2] == "" {
			t.Errorf("problems %q", got)
		}
	})
}

// run has the quorum ask until the returned function is called.
func run(t testing.TB, q *Quorum) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- q.Run(ctx) }()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

// alone returns a log of so many records, the only witness that it asks, and its quorum.
func alone(t *testing.T, records uint64) (*ledger.Log, *memory, *Quorum) {
	t.Helper()
	l := openLog(t, disktest.New())
	if records > 0 {
		add(t, l, records, "true")
	}
	one := newMemory(t, "witness.example/1")
	return l, one, newQuorum(t, l, policy(t, "1", one.member()), among(one))
}

// TestAfterAnOutage has all witnesses away for an hour, and the log not grow: it is
// witnessed soon after they are back, although nobody waits for it.
func TestAfterAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, one, q := alone(t, 4)
		defer l.Close()
		one.set(down)
		defer run(t, q)()
		time.Sleep(time.Hour)
		if got := one.asks(); got < 10 || got > 721 {
			t.Errorf("it was asked %d times in an hour", got)
		}
		if got := problems(q); !strings.Contains(got[0], "connection refused") {
			t.Errorf("problems %q", got)
		}
		wantWitnessed(t, q, 0)
		one.set(nil)
		time.Sleep(askEvery)
		synctest.Wait()
		wantWitnessed(t, q, 4)
		if got := problems(q); got[0] != "" {
			t.Errorf("problems %q", got)
		}
	})
}

// TestRhythm asks about a log that grows at most every five seconds, and about one that
// does not every ten minutes.
func TestRhythm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, one, q := alone(t, 0)
		defer l.Close()
		defer run(t, q)()
		time.Sleep(time.Hour)
		if got := one.asks(); got != 0 {
			t.Errorf("a witness was asked %d times about an empty log", got)
		}
		for range 60 {
			add(t, l, l.Size()+1, "true")
			time.Sleep(time.Second)
		}
		time.Sleep(askEvery)
		synctest.Wait()
		if got := one.asks(); got < 12 || got > 14 {
			t.Errorf("it was asked %d times in a minute of growth", got)
		}
		wantWitnessed(t, q, 60)
		before := one.asks()
		time.Sleep(time.Hour)
		if got := one.asks() - before; got < 5 || got > 7 {
			t.Errorf("it was asked %d times in an hour of silence", got)
		}
	})
}

// TestTheSignatureThatWeHadIsNotBehind asks again and gets the same signature, as a
// witness gives it for some seconds: its clock is no further behind than before.
func TestTheSignatureThatWeHadIsNotBehind(t *testing.T) {
	_, one, q := alone(t, 4)
	one.now = func() time.Time { return testTime }
	for _, later := range []time.Duration{0, 9 * time.Second} {
		q.now = func() time.Time { return testTime.Add(later) }
		q.round(t.Context())
		if statuses, _, _ := q.Status(); statuses[0].Skew != 0 || statuses[0].Problem != "" || one.asks() == 0 {
			t.Errorf("%s later: %+v", later, statuses[0])
		}
	}
	if one.asks() != 2 {
		t.Errorf("it was asked %d times", one.asks())
	}
}

// TestAwait returns when a quorum has seen the record, however many wait, and gives up
// with the caller when there is none.
func TestAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, one, q := alone(t, 4)
		defer l.Close()
		one.set(down)
		defer run(t, q)()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		err := q.Await(ctx, 3)
		if e, ok := errors.AsType[*pavise.Error](err); !ok || e.Kind != pavise.Unavailable || !errors.Is(err, context.DeadlineExceeded) || e.Hint == "" {
			t.Errorf("without witnesses: %v", err)
		}
		one.set(nil)
		var wg sync.WaitGroup
		for i := range uint64(20) {
			wg.Go(func() {
				if err := q.Await(t.Context(), i/2); err != nil {
					t.Error(err)
				}
			})
		}
		began := time.Now()
		add(t, l, 10, "true")
		wg.Wait()
		if took := time.Since(began); took > time.Second {
			t.Errorf("they waited %s", took)
		}
		wantWitnessed(t, q, 10)
		if err := q.Await(ctx, 9); err != nil { // although ctx is done: it has been seen
			t.Error(err)
		}
	})
}

// TestAwaitWhatIsNotThere waits for a record that the log does not hold yet: nobody is
// asked about what they have seen, until it comes.
func TestAwaitWhatIsNotThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, one, q := alone(t, 4)
		defer l.Close()
		defer run(t, q)()
		ended := make(chan error)
		go func() { ended <- q.Await(t.Context(), 4) }()
		time.Sleep(time.Minute)
		if got := one.asks(); got != 1 {
			t.Errorf("the witness was asked %d times", got)
		}
		add(t, l, 5, "true")
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// TestClocks has witnesses whose clocks are years off. They count, and their skew is
// told; that a quorum had come together is as of the earliest time that suffices.
func TestClocks(t *testing.T) {
	l := openLog(t, disktest.New())
	add(t, l, 4, "true")
	at := func(name string, when time.Time) *memory {
		m := newMemory(t, name)
		m.now = func() time.Time { return when }
		return m
	}
	past, now := at("witness.example/past", testTime.AddDate(-20, 0, 0)), at("witness.example/now", testTime.Add(1500*time.Millisecond))
	future := at("witness.example/future", time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC))
	never := at("witness.example/never", time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC))
	q := newQuorum(t, l, policy(t, "2", past.member(), now.member(), future.member(), never.member()), among(past, now, future, never))
	q.round(t.Context())
	wantWitnessed(t, q, 4)
	statuses, _, when := q.Status()
	if !when.Equal(testTime.Add(time.Second)) {
		t.Errorf("a quorum as of %s", when)
	}
	for i, want := range []time.Duration{testTime.AddDate(-20, 0, 0).Sub(testTime), time.Second, 1<<63 - 1} {
		if got := statuses[i].Skew; got.Truncate(time.Second) != want.Truncate(time.Second) {
			t.Errorf("witness %d is %s ahead, want %s", i, got, want)
		}
	}
	if statuses[3].Problem == "" {
		t.Error("a time that nobody can write was taken")
	}
	if _, err := json.Marshal(statuses); err != nil {
		t.Errorf("the status cannot be told: %v", err)
	}
}

// TestUntimedCosignature does not count: a witness has to say when.
func TestUntimedCosignature(t *testing.T) {
	l := openLog(t, disktest.New())
	add(t, l, 4, "true")
	quantum := cosigners(t, "witness.example/1")[0]
	liar := &fake{cosign: func(_ context.Context, _ uint64, signed []byte) ([]byte, error) {
		cp, err := proof.Parse(signed)
		if err != nil {
			return nil, err
		}
		untimed, err := proof.Sign(cp.Origin, cp.Size, cp.Root, time.Time{}, quantum)
		_, lines, _ := strings.Cut(string(untimed.Note), "\n\n")
		return []byte(lines), err
	}}
	q := newQuorum(t, l, policy(t, "1", member{quantum.Key(), "http://x"}), func(proof.Witness) Witness { return liar })
	q.round(t.Context())
	wantWitnessed(t, q, 0)
	if got := problems(q); !strings.Contains(got[0], "as of no time") {
		t.Errorf("problems %q", got)
	}
}

// TestTheNextProcessGoesOn takes up what the last one kept, unless the policy is
// another.
func TestTheNextProcessGoesOn(t *testing.T) {
	d := disktest.New()
	l := openLog(t, d)
	add(t, l, 4, "true")
	one, two := newMemory(t, "witness.example/1"), newMemory(t, "witness.example/2")
	one.now = testNow
	newQuorum(t, l, policy(t, "1", one.member()), among(one)).round(t.Context())
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openLog(t, d)
	wantWitnessed(t, newQuorum(t, l, policy(t, "1", one.member()), among(one)), 4)
	q := newQuorum(t, l, policy(t, "1", two.member()), among(two))
	if _, size, at := q.Status(); size != 0 || !at.IsZero() {
		t.Errorf("under another policy, %d records are witnessed as of %s", size, at)
	}
}

// TestWitnessedThatCannotBeWritten holds nobody up: the log has it in memory.
func TestWitnessedThatCannotBeWritten(t *testing.T) {
	d := disktest.New()
	l := openLog(t, d)
	add(t, l, 4, "true")
	d.Fail(func(op, name string) error {
		if strings.HasPrefix(name, "witnessed") {
			return os.ErrPermission
		}
		return nil
	})
	one := newMemory(t, "witness.example/1")
	q := newQuorum(t, l, policy(t, "1", one.member()), among(one))
	q.round(t.Context())
	wantWitnessed(t, q, 4)
}

// TestRolledBackLog puts an older state of a log's directory back, in all the ways in
// which it can go on from there. The witness that has seen more finds it: the log
// stops, says why, and takes nothing any more.
func TestRolledBackLog(t *testing.T) {
	for _, tt := range []struct {
		name string
		upTo uint64 // records of the log that was put back, when the witness is asked
		want string
	}{
		{"and shown at once", 5, "this log was rolled back: witness w0 holds its signed checkpoint of 300 records, and 5 are here"},
		{"and grown again, not as far", 299, "this log was rolled back"},
		{"and grown again, as far", 300, "this log has two histories: witness w0 holds its signed checkpoint of 300 records with another root"},
		{"and grown further", 301, "this log has two histories"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, w := honest(t, "witness.example/1")
			d := disktest.New()
			l := openLog(t, d)
			add(t, l, 5, "true")
			newQuorum(t, l, policy(t, "1", m), nil).round(t.Context())
			older := d.Frozen()
			add(t, l, 300, "true")
			newQuorum(t, l, policy(t, "1", m), nil).round(t.Context())
			if got := halted(l); got != "" {
				t.Fatalf("the true log stopped: %s", got)
			}
			l.Close()
			l = openLog(t, older)
			add(t, l, tt.upTo, "false")
			q := newQuorum(t, l, policy(t, "1", m), nil)
			q.round(t.Context())
			wantHalted(t, l, q, tt.want)
			if logs, err := w.Logs(t.Context()); err != nil || logs[0].Size != 300 || logs[0].Forked != (tt.upTo == 300) {
				t.Errorf("the witness holds %+v, error %v", logs, err)
			}
		})
	}
}

// wantHalted holds that the log stopped for a reason, says so and takes nothing.
func wantHalted(t testing.TB, l *ledger.Log, q *Quorum, why string) {
	t.Helper()
	if got := halted(l); !strings.Contains(got, why) {
		t.Errorf("the log says %q, want %q", got, why)
	}
	if got := problems(q); !strings.Contains(got[0], why) {
		t.Errorf("the witness's problem is %q, want %q", got, why)
	}
	r, _ := l.Last()
	_, err := l.Append(context.Background(), &r, ledger.Written)
	if e, ok := errors.AsType[*pavise.Error](err); !ok || e.Kind != pavise.Unavailable || !strings.Contains(e.Msg, why) {
		t.Errorf("append: %v", err)
	}
}

// TestRolledBackDirectory is TestRolledBackLog on a real disk: a copy of the directory
// is put back, with the file in which the log keeps what witnesses have seen.
func TestRolledBackDirectory(t *testing.T) {
	m, _ := honest(t, "witness.example/1")
	dir, backup := t.TempDir(), t.TempDir()
	start := func() *ledger.Log {
		l, err := ledger.Open(ledger.Options{Dir: dir, Origin: logOrigin, Key: keyOf(logOrigin)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return l
	}
	l := start()
	add(t, l, 5, "true")
	newQuorum(t, l, policy(t, "1", m), nil).round(t.Context())
	l.Close()
	if err := os.CopyFS(filepath.Join(backup, "log"), os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	l = start()
	add(t, l, 9, "true")
	newQuorum(t, l, policy(t, "1", m), nil).round(t.Context())
	l.Close()
	if err := errors.Join(os.RemoveAll(dir), os.CopyFS(dir, os.DirFS(filepath.Join(backup, "log")))); err != nil {
		t.Fatal(err)
	}
	l = start()
	q := newQuorum(t, l, policy(t, "1", m), nil)
	q.round(t.Context())
	wantHalted(t, l, q, "this log was rolled back")
}

// TestConfront asks all witnesses before a log that was put back to an older state takes
// a record. One that answers and has seen more is enough: the log stops at once, whether
// the others are dead, new, or know as little as the log does.
func TestConfront(t *testing.T) {
	one, _ := honest(t, "witness.example/1")
	knowsLess, _ := honest(t, "witness.example/2")
	knowsNothing, _ := honest(t, "witness.example/3")
	dead := member{cosigners(t, "witness.example/4")[1].Key(), "http://127.0.0.1:1"}
	d := disktest.New()
	l := openLog(t, d)
	add(t, l, 5, "true")
	newQuorum(t, l, policy(t, "2", one, knowsLess), nil).round(t.Context())
	older := d.Frozen()
	add(t, l, 9, "true")
	newQuorum(t, l, policy(t, "1", one), nil).round(t.Context())
	q := newQuorum(t, l, policy(t, "1", one, knowsLess, knowsNothing, dead), nil)
	if err := q.Confront(t.Context()); err != nil || halted(l) != "" {
		t.Errorf("the true log: %v, %s", err, halted(l))
	}
	l.Close()
	l = openLog(t, older)
	q = newQuorum(t, l, policy(t, "1", knowsLess, knowsNothing, dead), nil)
	if err := q.Confront(t.Context()); err != nil || halted(l) != "" {
		t.Errorf("before those who have not seen more: %v, %s", err, halted(l))
	}
	q = newQuorum(t, l, policy(t, "1", dead, knowsNothing, knowsLess, one), nil)
	err := q.Confront(t.Context())
	if e, ok := errors.AsType[*pavise.Error](err); !ok || e.Kind != pavise.Unverified || !strings.Contains(e.Msg, "this log was rolled back: witness w3 holds") || e.Hint == "" {
		t.Errorf("before one who has: %v", err)
	}
	r, _ := l.Last()
	if _, err := l.Append(t.Context(), &r, ledger.Written); err == nil {
		t.Error("the log still takes records")
	}
}

// TestConfrontDoesNotWaitForever passes over a witness that does not answer in time.
func TestConfrontDoesNotWaitForever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := openLog(t, disktest.New())
		defer l.Close()
		add(t, l, 2, "true")
		slow := &fake{latest: l.Published().Note, away: hang}
		q := newQuorum(t, l, policy(t, "1", newMemory(t, "witness.example/1").member()), func(proof.Witness) Witness { return slow })
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := q.Confront(ctx); err != nil {
			t.Error(err)
		}
	})
}

// TestSplitLog has somebody with the log's key show one witness another history. The
// log finds out when it asks that witness, while the others go on cosigning.
func TestSplitLog(t *testing.T) {
	one, _ := honest(t, "witness.example/1")
	two, split := honest(t, "witness.example/2")
	twin := newAuthor(t, logOrigin).grow(t, 7, "false")
	split.must(t, twin, 0, 7)
	l := openLog(t, disktest.New())
	add(t, l, 20, "true")
	q := newQuorum(t, l, policy(t, "1", two, one), nil)
	q.round(t.Context())
	wantHalted(t, l, q, "this log has two histories: witness w0 holds its signed checkpoint of 7 records with another root")
	if got := problems(q); got[1] != "" {
		t.Errorf("the other witness's problem is %q", got[1])
	}
}

// TestUnprovenClaimsDoNotHalt has a witness claim that the log was rolled back or has
// two histories, without the log's own signature to show for it, or with one that shows
// nothing. That is told, and the log goes on.
func TestUnprovenClaimsDoNotHalt(t *testing.T) {
	a := newAuthor(t, logOrigin)
	forger, err := proof.NewLogSigner(logOrigin, keyOf("forger"))
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := newAuthor(t, "elsewhere.example/log").grow(t, 50, "true")
	d := disktest.New()
	l := openLog(t, d)
	add(t, l, 2, "true")
	ours := l.Published().Note
	add(t, l, 5, "true")
	refused := &pavise.Error{Kind: pavise.Unverified, Msg: "refused"}
	for name, latest := range map[string][]byte{
		"nothing to show":               nil,
		"garbage":                       []byte("\x00\xff\n\n—"),
		"a forged checkpoint":           signed(t, logOrigin, 50, elsewhere.root(t, 50), forger),
		"another log's":                 elsewhere.checkpoint(t, 50),
		"another log's under our key":   signed(t, "elsewhere.example/log", 50, elsewhere.root(t, 50), a.signer),
		"our own of before":             ours,
		"ours with a changed size":      []byte(strings.Replace(string(ours), "\n2\n", "\n9\n", 1)),
		"our newest":                    l.Published().Note,
		"more than a note can be":       stuff(slices.Clone(ours), proof.MaxNote+1500),
		"our own with a foreign origin": []byte(strings.Replace(string(ours), logOrigin+"\n", logOrigin+"/x\n", 1)),
	} {
		for _, claim := range []error{&Seen{50}, refused} {
			liar := &fake{cosign: func(context.Context, uint64, []byte) ([]byte, error) { return nil, claim }, latest: latest}
			q := newQuorum(t, l, policy(t, "1", newMemory(t, "witness.example/1").member()), func(proof.Witness) Witness { return liar })
			q.round(t.Context())
			if got := halted(l); got != "" {
				t.Fatalf("%s, %v: the log stopped: %s", name, claim, got)
			}
			if got := problems(q); !strings.Contains(got[0], claim.Error()) {
				t.Errorf("%s, %v: its problem is %q", name, claim, got)
			}
		}
	}
}
