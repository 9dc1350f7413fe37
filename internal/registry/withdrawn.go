package registry

import (
	"cmp"
	"context"
	"maps"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
)

// A Withdrawn is a version in quarantine, or retired out of it, as whoever asks models has to
// know it.
type Withdrawn struct {
	Name   pavise.Name // tenant/model/NAME@N
	Ref    Ref
	Digest Digest
	Since  time.Time // when it was put there
	Models []Digest  // of its files that may be asked alone: those that end in .onnx, or the only one
}

// withdrawn is what was last read of those versions.
type withdrawn struct {
	mu   sync.Mutex
	turn uint64 // of the facts that it was read at; guarded by mu
	all  []Withdrawn
}

// Withdrawn returns the versions of all tenants that are in quarantine, or were retired out of
// it, the newest first. What it returns is not to be changed. It is cheap to ask again while none goes
// there and none comes back.
//
// Unguarded: it is what gateways are told, and who may ask is their host's to say.
func (r *Registry) Withdrawn(ctx context.Context) ([]Withdrawn, error) {
	r.withdrawn.mu.Lock()
	defer r.withdrawn.mu.Unlock()
	r.facts.mu.RLock()
	turn, kept := r.facts.turn, maps.Clone(r.facts.kept)
	r.facts.mu.RUnlock()
	if turn == r.withdrawn.turn {
		return r.withdrawn.all, nil
	}
	var all []Withdrawn
	err := r.cfg.Store.View(ctx, func(tx *store.Tx) error {
		for name, ref := range kept {
			v, err := readVersion(tx, name.Tenant, ref)
			if err != nil {
				return err
			}
			if v.Barred() { // or it was let out meanwhile
				all = append(all, v.withdrawn())
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b Withdrawn) int {
		return cmp.Or(b.Since.Compare(a.Since), cmp.Compare(a.Name.String(), b.Name.String()))
	})
	r.withdrawn.turn, r.withdrawn.all = turn, all
	return all, nil
}

// withdrawn is a version as Withdrawn returns it.
func (v *Version) withdrawn() Withdrawn {
	w := Withdrawn{Name: v.Name(), Ref: v.Ref, Digest: v.Digest, Since: v.barredSince()}
	for _, f := range v.Files {
		if (path.Ext(f.Path) == ".onnx" || len(v.Files) == 1) && !slices.Contains(w.Models, f.Digest) {
			w.Models = append(w.Models, f.Digest)
		}
	}
	return w
}
