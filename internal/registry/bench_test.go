package registry

import (
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/policy"
	"github.com/pavise/pavise/internal/store"
)

// BenchmarkGetAndCreate is what a registry is asked for: nine in ten times a version, and once
// for another, durable in the log and in the store; and both alone. Log and store are on a
// disk; go test -bench GetAndCreate -cpu 8 ./internal/registry asks from eight sides.
func BenchmarkGetAndCreate(b *testing.B) {
	for _, mix := range []struct {
		name  string
		every int // one in so many creates; 0: none does
	}{{"90-10", 10}, {"get", 0}, {"create", 1}} {
		b.Run(mix.name, func(b *testing.B) {
			r := benchRegistry(b)
			b.ResetTimer()
			var n atomic.Int64
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					i := n.Add(1)
					var err error
					if mix.every > 0 && int(i)%mix.every == 0 {
						d := Digest(sha256.Sum256([]byte(fmt.Sprint(i))))
						_, err = r.Add(b.Context(), mia, AddSpec{Model: fraud, FileSpec: FileSpec{Files: []File{{"weights.bin", 1 << 20, d}}}})
					} else {
						_, err = r.Show(b.Context(), mia, "local", Ref{"fraud", 1})
					}
					if err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
		})
	}
}

// benchRegistry is a registry on a disk, with a model and a version.
func benchRegistry(b *testing.B) *Registry {
	b.Helper()
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	dir := b.TempDir()
	log, err := ledger.Open(ledger.Options{Dir: filepath.Join(dir, "ledger"), Origin: "example.test/log", Key: testKey, Tenant: "local"})
	must(err)
	b.Cleanup(func() { log.Close() })
	db, err := store.Open(b.Context(), filepath.Join(dir, "db"))
	must(err)
	b.Cleanup(func() { db.Close() })
	var r *Registry
	g, err := guard.New(guard.Config{Log: log, Actions: actions(), Facts: func(n pavise.Name) policy.Facts { return r.Facts(n) }})
	must(err)
	policies, err := guard.OpenPolicies(b.Context(), g, db)
	must(err)
	must(policies.Seed(b.Context(), "local", guard.Defaults()))
	r, err = Open(b.Context(), Config{Guard: g, Store: db, Now: time.Now})
	must(err)
	_, err = r.Create(b.Context(), mia, ModelSpec{Name: fraud, Risk: Low})
	must(err)
	_, err = r.Add(b.Context(), mia, AddSpec{Model: fraud})
	must(err)
	return r
}
