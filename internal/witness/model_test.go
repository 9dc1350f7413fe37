package witness

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/proof"
)

// TestNeverCosignsTwoHistories submits at random, honestly and not, 1,000 seeds: what
// a small model of the specification says is what the witness does. Over all that it
// cosigns of one log, no size has two roots and the size never goes back.
func TestNeverCosignsTwoHistories(t *testing.T) {
	t.Parallel() // it waits for the disk, mostly
	seeds := 1000
	if testing.Short() {
		seeds = 100
	}
	classic := func(c *Config) { c.Signers = c.Signers[1:] }
	w := open(t, "witness.example/w", classic)
	for seed := range seeds {
		if seed%20 == 19 { // the next process goes on
			w.db.Close()
			w = openAt(t, w.path, "witness.example/w", classic)
		}
		run := newModel(t, w, uint64(seed))
		for range 8 {
			run.submit(t)
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// A model is what a witness knows of one log, said in a few lines: the tree it has
// seen last.
type model struct {
	rng      *rand.Rand
	witness  *bench
	branches []*author // histories of the log, true and false
	forger   *proof.Signer

	size   int64
	root   tlog.Hash // of the last tree that was cosigned
	forked bool
	given  map[int64]tlog.Hash // size → root that was ever cosigned
}

func newModel(t *testing.T, w *bench, seed uint64) *model {
	t.Helper()
	origin := fmt.Sprintf("example.com/log/%d", seed)
	m := &model{rng: rand.New(rand.NewPCG(seed, 7)), witness: w, given: map[int64]tlog.Hash{}}
	truth := newAuthor(t, origin).grow(t, 24, "true")
	m.branches = []*author{truth, truth, truth, truth.forkAt(m.rng.Int64N(20)).grow(t, 12, "false")}
	var err error
	if m.forger, err = proof.NewLogSigner(origin, keyOf("forger")); err != nil {
		t.Fatal(err)
	}
	w.trust(t, truth)
	return m
}

// submit shows the witness something, and holds its answer against the model's.
func (m *model) submit(t *testing.T) {
	t.Helper()
	a := m.branches[m.rng.IntN(len(m.branches))]
	size := m.rng.Int64N(a.size + 1)
	old := []int64{m.size, m.size, m.size, size, 0, m.rng.Int64N(26)}[m.rng.IntN(6)]
	path := m.path(t, a, old, size)
	note, signs := a.checkpoint(t, size), true
	switch m.rng.IntN(10) {
	case 0:
		note, signs = signed(t, a.signer.Key().Name(), uint64(size), a.root(t, size), m.forger), false
	case 1:
		note = append(note, mustCosign(t, note, m.forger)...)
	}
	want := m.judge(t, a, old, size, path, signs)
	_, err := m.witness.Cosign(t.Context(), uint64(old), path, note)
	switch seen, is := errors.AsType[*Seen](err); {
	case err == nil && want != nil, err != nil && want == nil:
		t.Errorf("from %d to %d with %d hashes: %v, want %v", old, size, len(path), err, want)
	case want != nil && (!errors.Is(err, want) && pavise.KindOf(err) != pavise.KindOf(want) || is != errors.Is(want, errSeen)):
		t.Errorf("from %d to %d with %d hashes: %v, want %v", old, size, len(path), err, want)
	case is && seen.Size != uint64(m.size):
		t.Errorf("from %d to %d: has seen %d, want %d", old, size, seen.Size, m.size)
	}
	if err == nil {
		m.cosigned(t, size, a.root(t, size))
	}
}

// path is the right proof, mostly.
func (m *model) path(t *testing.T, a *author, old, size int64) tlog.TreeProof {
	t.Helper()
	path := append(tlog.TreeProof{}, a.prove(t, old, size)...)
	switch m.rng.IntN(8) {
	case 0:
		return append(path, tlog.Hash{1})
	case 1:
		return nil
	case 2:
		if len(path) > 0 {
			path[m.rng.IntN(len(path))][0] ^= 1
		}
	}
	return path
}

// errSeen stands for a Seen of any size.
var errSeen = errors.New("another size was seen")

func sort(kind pavise.Kind) error { return &pavise.Error{Kind: kind, Msg: kind.String()} }

// judge says what the specification does, in its order.
func (m *model) judge(t *testing.T, a *author, old, size int64, path tlog.TreeProof, signs bool) error {
	t.Helper()
	root := a.root(t, size)
	fork := signs && size > 0 && size == m.size && root != m.root
	defer func() { m.forked = m.forked || fork }()
	right := a.prove(t, old, size)
	switch {
	case !signs:
		return sort(pavise.Denied)
	case old > size:
		return sort(pavise.Invalid)
	case old != m.size:
		return &pavise.Error{Kind: pavise.Conflict, Err: errSeen}
	case m.forked, fork, len(path) != len(right):
		return sort(pavise.Unverified)
	case old > 0 && a.root(t, old) != m.root:
		return sort(pavise.Unverified)
	}
	for i := range right {
		if path[i] != right[i] {
			return sort(pavise.Unverified)
		}
	}
	return nil
}

// cosigned notes what left the witness, and holds it against all that ever did.
func (m *model) cosigned(t *testing.T, size int64, root tlog.Hash) {
	t.Helper()
	if before, ok := m.given[size]; ok && before != root {
		t.Errorf("two roots of %d records were cosigned", size)
	}
	if size < m.size {
		t.Errorf("%d records were cosigned after %d", size, m.size)
	}
	m.size, m.root, m.given[size] = size, root, root
	latest, err := m.witness.Latest(t.Context(), m.branches[0].signer.Key().Name())
	cp, _ := proof.Parse(latest)
	if err != nil || cp.Size != uint64(size) || cp.Root != root {
		t.Errorf("cosigned were %d records, kept are %d, error %v", size, cp.Size, err)
	}
}
