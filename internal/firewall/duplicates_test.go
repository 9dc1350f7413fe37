package firewall

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	threatdetector "github.com/pavise/pavise/examples/threat-detector"
)

var (
	asker  = pavise.Name{Tenant: "local", Kind: "workload", ID: "app"}
	target = pavise.Name{Tenant: "local", Kind: "model", ID: "m"}
)

// said counts what is told of a stream of rows that one caller asks, one a second.
func said(d *Duplicates, rows [][]float64) (n int, last string) {
	at := time.Unix(1e9, 0)
	for _, row := range rows {
		if s := d.See(at, asker, target, 1, row); s != "" {
			n, last = n+1, s
		}
		at = at.Add(time.Second)
	}
	return n, last
}

// around are rows near one: so many columns of it are moved in each.
func around(rng *rand.Rand, row []float64, n, columns int) (rows [][]float64) {
	for range n {
		near := slices.Clone(row)
		for range columns {
			near[rng.IntN(len(near))] += rng.NormFloat64()
		}
		rows = append(rows, near)
	}
	return rows
}

// TestNearDuplicates tells a search around one row from traffic, under several keys.
func TestNearDuplicates(t *testing.T) {
	for key := range byte(5) {
		rng := rand.New(rand.NewPCG(uint64(key), 1))
		fresh := func() *Duplicates { return NewDuplicates([32]byte{key + 1}) }
		start := flows(rng, 1, threatdetector.Normal)[0]
		image := make([]float64, 784)
		for i := range image {
			image[i] = rng.Float64()
		}
		noisy := func(n int) (rows [][]float64) {
			for range n {
				row := slices.Clone(image)
				for i := range row {
					row[i] += 0.002 * rng.NormFloat64()
				}
				rows = append(rows, row)
			}
			return rows
		}
		for name, tt := range map[string]struct {
			rows [][]float64
			told bool
		}{
			"a column at a time": {around(rng, start, 100, 1), true},
			"three at a time":    {around(rng, start, 200, 3), true},
			"a noisy image":      {noisy(100), true},
			"traffic":            {flows(rng, 500, threatdetector.Normal, threatdetector.DoS, threatdetector.Probe, threatdetector.R2L, threatdetector.U2R), false},
			"everyday traffic":   {flows(rng, 500, threatdetector.Normal), false},
			"one row repeated":   {slices.Repeat([][]float64{start}, 500), false},
			"a few rows":         {around(rng, start, dupWindow/2, 1), false},
		} {
			if n, last := said(fresh(), tt.rows); (n > 0) != tt.told || n > 1 {
				t.Errorf("key %d, %s: told %d times: %s", key, name, n, last)
			}
		}
	}
}

// TestNearDuplicatesInBatches finds the search in batches, hears callers apart, and says
// it again only after a while.
func TestNearDuplicatesInBatches(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	d, at := NewDuplicates([32]byte{1}), time.Unix(1e9, 0)
	start := flows(rng, 1, threatdetector.Normal)[0]
	batch := func(who string, at time.Time) string {
		return d.See(at, pavise.Name{Tenant: "local", Kind: "workload", ID: who}, target, 40, slices.Concat(around(rng, start, 40, 1)...))
	}
	var told []string
	for range 8 {
		told = append(told, batch("app", at))
	}
	if text := strings.Join(told, ""); !strings.Contains(text, "of the last 64 rows that local/workload/app asked of local/model/m are near to most") || strings.Count(text, "asked of") != 1 {
		t.Errorf("%q", told)
	}
	if s := batch("other", at); s != "" {
		t.Errorf("the other one is told of: %s", s)
	}
	told = nil
	for range 8 {
		told = append(told, batch("app", at.Add(dupQuiet)))
	}
	if strings.Join(told, "") == "" {
		t.Error("not told again")
	}
}

// TestDuplicatesAreBounded lets many callers ask rows of many widths.
func TestDuplicatesAreBounded(t *testing.T) {
	d, at := NewDuplicates([32]byte{1}), time.Unix(1e9, 0)
	for i := range 3 * dupCallers {
		who := pavise.Name{Tenant: "local", Kind: "workload", ID: fmt.Sprint("w", i)}
		d.See(at, who, target, 1, make([]float64, dupColumns+i%100))
	}
	if len(d.callers) != dupCallers || d.recent.Len() != dupCallers || len(d.layouts) > dupLayouts {
		t.Errorf("%d callers, %d in the list, %d layouts", len(d.callers), d.recent.Len(), len(d.layouts))
	}
	for _, rows := range []int{-1, 0, 3} {
		if s := d.See(at, asker, target, rows, make([]float64, 40)); s != "" {
			t.Error(s)
		}
	}
}

func BenchmarkDuplicates(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	d, rows := NewDuplicates([32]byte{1}), flows(rng, 64, threatdetector.Normal)
	for i := 0; b.Loop(); i++ {
		d.See(time.Unix(1e9, 0), asker, target, 1, rows[i%64])
	}
}
