package witness

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/disk/disktest"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/record"
)

const logOrigin = "example.com/log"

// openLog opens a log on a disk, to be closed by the test's end.
func openLog(t testing.TB, d *disktest.Disk) *ledger.Log {
	t.Helper()
	l, err := ledger.Open(ledger.Options{Disk: d, Origin: logOrigin, Key: keyOf(logOrigin), SegmentSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// add appends records that tell one history from another, until so many are published.
func add(t testing.TB, l *ledger.Log, upTo uint64, history string) {
	t.Helper()
	for l.Size() < upTo {
		r := &record.Record{Kind: "model.infer", Phase: record.Act, Tenant: "acme", At: testTime, On: pavise.Name{Tenant: "acme", Kind: "model", ID: history}}
		if _, err := l.Append(context.Background(), r, ledger.Durable); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.AwaitPublished(context.Background(), upTo-1); err != nil {
		t.Fatal(err)
	}
}

// A member is a witness of a policy.
type member struct {
	key *proof.Key
	url string
}

// host serves a witness, and returns its member under its Ed25519 key.
func host(t testing.TB, w *bench) member {
	t.Helper()
	server := httptest.NewServer(w.Handler())
	t.Cleanup(server.Close)
	return member{w.Keys()[1], server.URL}
}

// honest is a witness over HTTP that watches the log.
func honest(t testing.TB, name string) (member, *bench) {
	t.Helper()
	w := open(t, name)
	if err := w.Trust(context.Background(), logKey(t, logOrigin, logOrigin)); err != nil {
		t.Fatal(err)
	}
	return host(t, w), w
}

// policy asks for so many of the members, which it calls w0, w1 and so on.
func policy(t testing.TB, need string, members ...member) *proof.Policy {
	t.Helper()
	var text, names strings.Builder
	for i, m := range members {
		fmt.Fprintf(&text, "witness w%d %s %s\n", i, m.key, m.url)
		fmt.Fprintf(&names, " w%d", i)
	}
	fmt.Fprintf(&text, "group g %s%s\nquorum g\n", need, &names)
	p, err := proof.ParsePolicy([]byte(text.String()))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func newQuorum(t testing.TB, l *ledger.Log, p *proof.Policy, client func(proof.Witness) Witness) *Quorum {
	t.Helper()
	q, err := NewQuorum(l, p, testNow, client)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// wantWitnessed holds what the quorum has seen, and what the log keeps of it, against a
// size, and opens the kept checkpoint as a stranger with the policy does.
func wantWitnessed(t testing.TB, q *Quorum, size uint64) {
	t.Helper()
	_, got, at := q.Status()
	kept := q.log.Witnessed()
	if got != size || kept.Size != size {
		t.Errorf("a quorum has seen %d records, and the log keeps %d of them; want %d", got, kept.Size, size)
	}
	if size == 0 {
		return
	}
	_, sigs, err := proof.Open(kept.Note, append(q.policy.Keys(), q.log.Keys()...)...)
	if err != nil {
		t.Fatalf("the kept checkpoint: %v", err)
	}
	if when, ok := q.policy.Satisfied(q.log.Keys(), sigs); !ok || !when.Equal(at) {
		t.Errorf("the kept checkpoint satisfies the policy: %v, as of %s; want %s", ok, when, at)
	}
}

// problems are those of the witnesses, in the policy's order.
func problems(q *Quorum) []string {
	var all []string
	statuses, _, _ := q.Status()
	for _, s := range statuses {
		all = append(all, s.Problem)
	}
	return all
}

// halted is why the log takes no more, or "".
func halted(l *ledger.Log) string { return l.Status().Problem }

// A memory is an honest witness in memory, for tests with a clock of their own. It is
// out of order as long as away is not nil.
type memory struct {
	signer *proof.Signer
	now    func() time.Time

	mu    sync.Mutex
	away  func(ctx context.Context) error
	last  proof.Checkpoint
	asked int
}

func newMemory(t testing.TB, name string) *memory {
	t.Helper()
	return &memory{signer: cosigners(t, name)[1], now: time.Now}
}

func (m *memory) member() member { return member{m.signer.Key(), "http://" + m.signer.Key().Name()} }

// set puts the witness out of order, or in order again.
func (m *memory) set(away func(ctx context.Context) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.away = away
}

// hang answers only when the caller gives up.
func hang(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

// down does not answer at all.
func down(context.Context) error {
	return &pavise.Error{Kind: pavise.Unavailable, Msg: "connection refused"}
}

// Cosign is Witness's.
func (m *memory) Cosign(ctx context.Context, old uint64, path tlog.TreeProof, signed []byte) ([]byte, error) {
	m.mu.Lock()
	m.asked++
	away := m.away
	m.mu.Unlock()
	if away != nil {
		if err := away(ctx); err != nil {
			return nil, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	cp, err := proof.Parse(signed)
	if err != nil {
		return nil, err
	}
	if old != m.last.Size {
		return nil, &Seen{m.last.Size}
	}
	if err := proof.Consistent(m.last, cp, path); err != nil {
		return nil, err
	}
	lines, err := proof.Cosign(signed, m.now(), m.signer)
	if m.last = cp; err == nil {
		m.last.Note = append(m.last.Note[:len(m.last.Note):len(m.last.Note)], lines...)
	}
	return lines, err
}

// Latest is Witness's.
func (m *memory) Latest(context.Context, string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.last.Size == 0 {
		return nil, errors.New("nothing was cosigned")
	}
	return m.last.Note, nil
}

// asks is how often the witness was asked.
func (m *memory) asks() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.asked
}

// among leads to witnesses in memory by their keys' names.
func among(all ...*memory) func(proof.Witness) Witness {
	return func(w proof.Witness) Witness {
		for _, m := range all {
			if m.signer.Key().Name() == w.Key.Name() {
				return m
			}
		}
		panic("no witness " + w.Key.Name())
	}
}

// A fake is a witness that says whatever a test has it say.
type fake struct {
	cosign func(ctx context.Context, old uint64, signed []byte) ([]byte, error)
	latest []byte                          // nil: it has none
	away   func(ctx context.Context) error // what it does before it shows that
}

// Cosign is Witness's.
func (f *fake) Cosign(ctx context.Context, old uint64, _ tlog.TreeProof, signed []byte) ([]byte, error) {
	return f.cosign(ctx, old, signed)
}

// Latest is Witness's.
func (f *fake) Latest(ctx context.Context, _ string) ([]byte, error) {
	if f.away != nil {
		if err := f.away(ctx); err != nil {
			return nil, err
		}
	}
	if f.latest == nil {
		return nil, &pavise.Error{Kind: pavise.NotFound, Msg: "none"}
	}
	return f.latest, nil
}
