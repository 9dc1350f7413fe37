package catalog

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/lineage"
	"github.com/pavise/pavise/internal/rowseal"
	"github.com/pavise/pavise/internal/store"
)

// Seals returns the seals of a tenant's datasets that have a name in OpenLineage, one for
// each version.
//
// Unguarded: a room of the house asks it, whose own caller was let in.
func (c *Catalog) Seals(ctx context.Context, tenant string) (seals []lineage.Seal, err error) {
	err = c.cfg.Store.View(ctx, func(tx *store.Tx) error {
		var named []*Dataset
		err := each(tx, tenant, func(d *Dataset) (bool, error) {
			if d.Called != (lineage.Dataset{}) {
				named = append(named, d)
			}
			return true, nil
		})
		if err != nil {
			return err
		}
		for _, d := range named {
			all, err := versions(tx, d.Name, maxVersions)
			if err != nil {
				return err
			}
			for _, v := range slices.Backward(all) {
				seals = append(seals, lineage.Seal{Dataset: d.Called, Root: v.Root.String(), Rows: int64(v.Rows), At: v.At})
			}
		}
		return nil
	})
	return seals, err
}

// Had says whether a dataset is known, and whether one of its versions has the root.
//
// Unguarded: a room of the house asks it, whose own caller was let in.
func (c *Catalog) Had(ctx context.Context, name pavise.Name, root string) (known, had bool, err error) {
	err = c.cfg.Store.View(ctx, func(tx *store.Tx) error {
		d, err := read(tx, name)
		if err != nil || d == nil {
			return err
		}
		known = true
		var n int
		err = tx.QueryRow(`SELECT count(*) FROM catalog_versions WHERE tenant = ? AND id = ? AND root = ?`, name.Tenant, name.ID, root).Scan(&n)
		had = n > 0
		return err
	})
	return known, had, err
}

// A Holding is where a row stands in one content of a dataset, or why nobody can say.
type Holding struct {
	Dataset pavise.Name     `json:"dataset"`
	Called  lineage.Dataset `json:"called,omitzero"`
	Version int             `json:"version,omitempty"` // 0: it was found at the dataset's place, and is no version
	Root    rowseal.Digest  `json:"root,omitzero"`     // zero: of contents that are not kept
	Count   uint64          `json:"count"`             // how often the row is in it
	Spots   []Spot          `json:"spots"`             // the first of them
	Unsure  string          `json:"unsure,omitempty"`
}

// A Spot is one place of a row.
type Spot struct {
	File string `json:"file"`
	Row  uint64 `json:"row"` // from 1
}

// Holding looks for a row, by its digest, in every version of a tenant's datasets and in what
// was found at their places, and returns those that have it and those of which it cannot
// tell: a seal that was handed over has no index here, and what was found there and is gone
// is not kept. It reads the digests of all rows.
//
// Unguarded: a room of the house asks it, whose own caller was let in.
func (c *Catalog) Holding(ctx context.Context, tenant string, digest rowseal.Hash) (list []Holding, err error) {
	var contents []Holding
	err = c.cfg.Store.View(ctx, func(tx *store.Tx) error {
		var all []*Dataset
		err := each(tx, tenant, func(d *Dataset) (bool, error) { all = append(all, d); return true, nil })
		for i := 0; i < len(all) && err == nil; i++ {
			d := all[i]
			var had []Version
			had, err = versions(tx, d.Name, maxVersions)
			for _, v := range slices.Backward(had) {
				h := Holding{Dataset: d.Name, Called: d.Called, Version: v.Number, Root: v.Root}
				if !v.Dropped.IsZero() {
					h.Unsure = "its index was dropped for want of room: whoever has the rows can seal them again and look"
				}
				contents = append(contents, h)
			}
			if d.Found != nil && d.Found.Would != nil {
				contents = append(contents, Holding{Dataset: d.Name, Called: d.Called, Root: d.Found.Root})
			}
			if why := d.unseenRows(); why != "" {
				list = append(list, Holding{Dataset: d.Name, Called: d.Called, Unsure: why})
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	type content struct {
		name pavise.Name
		root rowseal.Digest
	}
	known := map[content]Holding{} // a content that comes again is read once
	for _, h := range contents {
		of := content{h.Dataset, h.Root}
		seen, ok := known[of]
		if !ok {
			if seen, err = c.find(ctx, h, digest); err != nil {
				return nil, err
			}
			known[of] = seen
		}
		if h.Count, h.Spots, h.Unsure = seen.Count, seen.Spots, seen.Unsure; h.Count > 0 || h.Unsure != "" {
			list = append(list, h)
		}
	}
	return list, nil
}

// unseenRows says why a row may have been at the dataset's place that nobody can look for.
func (d *Dataset) unseenRows() string {
	var why []string
	if d.Found != nil && d.Found.Would == nil {
		why = append(why, d.Name.ID+" cannot be sealed as it lies there now")
	}
	if d.Gone > 0 {
		why = append(why, fmt.Sprintf("of the contents that were found in the place of %s, so many are not kept: %d, the last until %s", d.Name.ID, d.Gone, d.LastGone.UTC().Format(time.DateTime)))
	}
	return strings.Join(why, "; ")
}

// find looks for a row in one content.
func (c *Catalog) find(ctx context.Context, h Holding, digest rowseal.Hash) (Holding, error) {
	file := c.sealFile(h.Dataset, h.Root)
	if _, err := os.Stat(file + rowseal.IndexSuffix); err != nil {
		h.Unsure = cmp.Or(h.Unsure, "its seal was handed over without the index: who sealed it can look")
		return h, nil
	}
	h.Unsure = ""
	m, err := readManifest(file)
	if err != nil {
		return h, err
	}
	x, err := rowseal.OpenIndex(file+rowseal.IndexSuffix, m)
	if err != nil {
		return h, err
	}
	defer x.Close()
	unread := 0
	for i := range x.Sections() {
		s := x.Section(i)
		if !s.Format.HasRows() || s.Format == rowseal.Parquet { // whose rows have another encoding than text
			if s.Format != rowseal.Link && s.Size > 0 {
				unread++
			}
			continue
		}
		if err := s.Check(ctx, runtime.GOMAXPROCS(0)); err != nil {
			return h, err
		}
		err := s.Find(ctx, digest, func(row uint64) {
			if h.Count++; len(h.Spots) < MaxRows {
				h.Spots = append(h.Spots, Spot{s.Path, row})
			}
		})
		if err != nil {
			return h, err
		}
	}
	if unread > 0 {
		h.Unsure = fmt.Sprintf("%d of its files are sealed by their bytes, or are Parquet, in which no row is looked for", unread)
	}
	return h, nil
}
