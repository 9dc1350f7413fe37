package catalog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/progress"
	"github.com/pavise/pavise/internal/rowseal"
	"github.com/pavise/pavise/internal/store"
)

// Bounds are how many bytes of seals and indexes are kept.
type Bounds struct {
	Tenant int64 // of each tenant; 0: 16 GiB
	All    int64 // of all together; 0: 64 GiB
}

// The usual bounds: an index takes 32 bytes a row.
const (
	usualTenant = 16 << 30
	usualAll    = 64 << 30
)

// A shelf counts the bytes that are kept of datasets. It is safe for concurrent use.
type shelf struct {
	bounds Bounds

	mu     sync.Mutex            // guards what follows
	of     map[pavise.Name]int64 // by dataset
	tenant map[string]int64
	all    int64
}

func newShelf(b Bounds) *shelf {
	b.Tenant, b.All = cmp.Or(b.Tenant, usualTenant), cmp.Or(b.All, usualAll)
	return &shelf{bounds: b, of: map[pavise.Name]int64{}, tenant: map[string]int64{}}
}

// set says how many bytes are kept of a dataset.
func (s *shelf) set(name pavise.Name, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add(name, n-s.of[name])
}

func (s *shelf) add(name pavise.Name, n int64) {
	s.of[name] += n
	s.tenant[name.Tenant] += n
	s.all += n
}

// take counts so many bytes more, if there is room for them; otherwise it says whose is full.
func (s *shelf) take(name pavise.Name, n int64) (full string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.tenant[name.Tenant]+n > s.bounds.Tenant:
		return fmt.Sprintf("of the datasets of %s %s are kept, and %s at most", name.Tenant, progress.Size(s.tenant[name.Tenant]), progress.Size(s.bounds.Tenant))
	case s.all+n > s.bounds.All:
		return fmt.Sprintf("of all datasets %s are kept, and %s at most", progress.Size(s.all), progress.Size(s.bounds.All))
	}
	s.add(name, n)
	return ""
}

// A Kept is how many bytes of seals and indexes are kept, of a dataset and beside it.
type Kept struct {
	Dataset     int64 `json:"dataset"`
	Tenant      int64 `json:"tenant"` // of its tenant
	TenantBound int64 `json:"tenant_bound"`
	All         int64 `json:"all"`
	AllBound    int64 `json:"all_bound"`
}

func (s *shelf) kept(name pavise.Name) Kept {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Kept{s.of[name], s.tenant[name.Tenant], s.bounds.Tenant, s.all, s.bounds.All}
}

// count counts what is kept of every dataset.
func (c *Catalog) count(ctx context.Context) error {
	var names []pavise.Name
	err := c.cfg.Store.View(ctx, func(tx *store.Tx) (err error) { names, err = all(tx); return err })
	for i := 0; i < len(names) && err == nil; i++ {
		err = c.recount(names[i])
	}
	return err
}

// recount counts what is kept of a dataset.
func (c *Catalog) recount(name pavise.Name) error {
	files, err := os.ReadDir(c.dir(name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return unwritten(err)
	}
	size := int64(0)
	for _, f := range files {
		if info, err := f.Info(); err == nil { // or it is gone
			size += info.Size()
		}
	}
	c.shelf.set(name, size)
	return nil
}

// errFull is why a look was given up, or a seal refused.
var errFull = errors.New("there is no room for another index")

// grow has so many bytes more be kept of a dataset, for which old indexes of its tenant are
// dropped where there is no room. The error, of kind Unavailable, wraps errFull where none is left
// that could be.
func (c *Catalog) grow(ctx context.Context, name pavise.Name, n int64) error {
	for {
		full := c.shelf.take(name, n)
		if full == "" {
			return nil
		}
		dropped, err := c.dropOldest(ctx, name.Tenant, full)
		if err != nil {
			return err
		}
		if !dropped {
			return &pavise.Error{
				Kind: pavise.Unavailable, Msg: "there is no room for its index: " + full,
				Hint: "raise gib and tenant_gib below datasets in pavise.yaml, if the disk has room; no index is left that nobody needs", Err: errFull,
			}
		}
	}
}

// An old is a version whose index may be dropped.
type old struct {
	name   pavise.Name
	number int
	root   rowseal.Digest
	at     time.Time
}

// dropOldest drops the index of the oldest version of a tenant that nobody needs, and notes it
// first. It reports whether there was one.
func (c *Catalog) dropOldest(ctx context.Context, tenant, full string) (bool, error) {
	c.dropping.Lock()
	defer c.dropping.Unlock()
	var olds []old
	err := c.cfg.Store.View(ctx, func(tx *store.Tx) (err error) { olds, err = unneeded(tx, tenant); return err })
	if err != nil {
		return false, err
	}
	for _, o := range olds {
		if !c.hasIndex(o.name, o.root) {
			continue
		}
		now := c.cfg.Now().UTC()
		finding := &pavise.Finding{
			Kind: KindUnindexed, Severity: pavise.Warning, On: o.name, At: now,
			Summary: fmt.Sprintf("the rows of %s, version %d, can be asked about no more: its index was dropped, for %s", o.name.ID, o.number, full),
		}
		if err := c.cfg.Guard.Note(ctx, KindUnindexed, nil, o.name, Noted{Finding: finding, Root: o.root, Version: o.number, Why: full}); err != nil {
			return false, err
		}
		err := c.cfg.Store.Update(ctx, func(tx *store.Tx) error { return unindex(tx, o, now) })
		if err == nil {
			err = os.Remove(c.sealFile(o.name, o.root) + rowseal.IndexSuffix)
		}
		if err != nil {
			return false, unwritten(err)
		}
		return true, c.recount(o.name)
	}
	return false, nil
}

// unneeded are the versions of a tenant whose index nobody needs, the oldest first. The index of
// a newest version is what looks go by, and so is that of what was found; a version that another
// was made of is asked about as long as that one is.
func unneeded(tx *store.Tx, tenant string) (olds []old, err error) {
	needed := map[string]bool{} // id and root, or a root alone
	err = each(tx, tenant, func(d *Dataset) (bool, error) {
		if d.Newest != nil {
			needed[d.Name.ID+" "+d.Newest.Root.String()] = true
		}
		if d.Found != nil {
			needed[d.Name.ID+" "+d.Found.Root.String()] = true
		}
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	err = eachVersion(tx, tenant, func(id string, v Version) {
		for _, p := range v.Parents {
			needed[p.Root.String()] = true
		}
		olds = append(olds, old{pavise.Name{Tenant: tenant, Kind: Kind, ID: id}, v.Number, v.Root, v.At})
	})
	olds = slices.DeleteFunc(olds, func(o old) bool {
		return needed[o.root.String()] || needed[o.name.ID+" "+o.root.String()]
	})
	slices.SortFunc(olds, func(a, b old) int {
		return cmp.Or(a.at.Compare(b.at), strings.Compare(a.name.ID, b.name.ID), a.number-b.number)
	})
	return olds, err
}
