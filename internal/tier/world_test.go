package tier

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/detect"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/theft"
)

const (
	columns  = 6
	clusters = 8
)

var (
	model = pavise.Name{Tenant: "acme", Kind: "model", ID: "m"}
	ann   = pavise.Name{Tenant: "acme", Kind: "human", ID: "ann"}
	lay   = Lay{Inputs: columns, Said: 3, First: 1, Scores: 2}
)

func caller(id any) pavise.Name {
	return pavise.Name{Tenant: "acme", Kind: "workload", ID: fmt.Sprint(id)}
}

// at is where the clusters of the made-up table lie.
var at = func() (list [clusters][columns]float64) {
	rng := rand.New(rand.NewPCG(1, 1))
	for k := range list {
		for j := range list[k] {
			list[k][j] = 2 * rng.NormFloat64()
		}
	}
	return list
}()

// scores are the model's: how near a row is to clusters of either class.
func scores(row []float64) []float64 {
	var p [2]float64
	for k := range at {
		var d float64
		for j, v := range row {
			d += (v - at[k][j]) * (v - at[k][j])
		}
		p[k%2] += math.Exp(-d/4) + 1e-12
	}
	return []float64{p[0] / (p[0] + p[1]), p[1] / (p[0] + p[1])}
}

// honest gives the rows of a client who asks for some clusters more than for others.
func honest(seed uint64) func() []float64 {
	rng := rand.New(rand.NewPCG(seed, 2))
	own := 1 + rng.IntN(clusters)
	return func() []float64 {
		k, row := rng.IntN(own), make([]float64, columns)
		for j := range row {
			row[j] = at[k][j] + 0.5*rng.NormFloat64()
		}
		return row
	}
}

// noise gives rows that are of the size of others.
func noise(seed uint64) func() []float64 {
	rng := rand.New(rand.NewPCG(seed, 3))
	return func() []float64 {
		row := make([]float64, columns)
		for j := range row {
			row[j] = 8*rng.Float64() - 4
		}
		return row
	}
}

// mixed gives a share of rows of a thief among those of a client.
func mixed(seed uint64, share float64, steal func() []float64) func() []float64 {
	rng, use := rand.New(rand.NewPCG(seed, 4)), honest(seed)
	return func() []float64 {
		if rng.Float64() < share {
			return steal()
		}
		return use()
	}
}

// calibration is made of honest clients, once.
var calibration = sync.OnceValues(func() (*theft.Calibration, error) {
	return theft.Calibrate(func(yield func(*theft.Asked, error) bool) {
		for i := range 40 {
			next := honest(uint64(i))
			for range 300 {
				row := next()
				if !yield(&theft.Asked{Client: fmt.Sprint(i), Input: row, Scores: scores(row), Class: -1}, nil) {
					return
				}
			}
		}
	}, 0.05, 1)
})

func watchOf(t testing.TB) *Watch {
	t.Helper()
	c, err := calibration()
	if err != nil {
		t.Fatal(err)
	}
	return &Watch{Digest: [32]byte{7}, Calibration: c, Lay: lay}
}

// A shelf is where a book is kept from one opening to the next.
type shelf struct {
	path string
	db   *store.DB
	cfg  Config
}

func newShelf(t testing.TB) *shelf {
	s := &shelf{path: filepath.Join(t.TempDir(), "state.db")}
	t.Cleanup(s.close)
	return s
}

func (s *shelf) close() {
	if s.db != nil {
		s.db.Close()
		s.db = nil
	}
}

// open opens the book as after a start; a book that was open is left as a kill leaves it.
func (s *shelf) open(t testing.TB) *Book {
	t.Helper()
	s.close()
	var err error
	if s.db, err = store.Open(context.Background(), s.path); err != nil {
		t.Fatal(err)
	}
	s.cfg.Store = s.db
	b, err := Open(context.Background(), s.cfg)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// watched is open with the model's callers looked at.
func (s *shelf) watched(t testing.TB) *Book {
	t.Helper()
	b := s.open(t)
	if refused, err := b.Calibrate(context.Background(), model, watchOf(t)); err != nil || refused > 0 {
		t.Fatal(refused, err)
	}
	return b
}

// ask has a caller ask one row, and returns what the detector says.
func ask(b *Book, who pavise.Name, row []float64) string {
	return b.See(&detect.Observation{At: time.Now(), Who: who, Model: model, Rows: 1, Values: row, Scores: append([]float64{1}, scores(row)...)})
}

// steal asks rows until the caller is amber, and returns how many that took, or 0.
func steal(b *Book, who pavise.Name, next func() []float64, most int) int {
	for i := 1; i <= most; i++ {
		if ask(b, who, next()) != "" {
			return i
		}
	}
	return 0
}

func save(t testing.TB, b *Book) {
	t.Helper()
	if err := b.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
}
