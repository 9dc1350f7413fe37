package catalog

import (
	"context"
	"fmt"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
)

// comparing bounds the comparisons and proofs under way: each reads the digests of all rows of a version, or of two.
const comparing = 2

// A Compared is what lies between two versions of a dataset.
type Compared struct {
	Name   pavise.Name `json:"name"`
	From   Version     `json:"from"`
	To     Version     `json:"to"`
	Differ Differences `json:"differ"`
}

// Diff says what lies between two versions of a dataset, by their seals, with the first rows where
// both have their indexes here. to is the newest where it is 0, and from the one before to. Errors
// are of kind NotFound and Invalid, and Throttled where others are compared already.
func (c *Catalog) Diff(ctx context.Context, who pavise.Principal, name pavise.Name, from, to int) (d Compared, err error) {
	entry, err := c.cfg.Guard.Enter(ctx, who, "dataset.compare", name)
	if err != nil {
		return d, err
	}
	defer entry.Exit(&err)
	select {
	case c.compares <- struct{}{}:
		defer func() { <-c.compares }()
	default:
		return d, &pavise.Error{Kind: pavise.Throttled, Msg: fmt.Sprintf("%d datasets are being compared or searched, and no more are at a time", comparing), Hint: "ask again in a while"}
	}
	d.Name = name
	err = c.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		d.From, d.To, err = pair(tx, name, from, to)
		return err
	})
	if err != nil {
		return d, err
	}
	for _, v := range []*Version{&d.From, &d.To} {
		v.Indexed = c.hasIndex(name, v.Root)
	}
	if d.From.Root == d.To.Root {
		d.Differ.Files = []Difference{}
		return d, nil
	}
	differ, err := c.cfg.Compare(ctx, c.sealFile(name, d.From.Root), c.sealFile(name, d.To.Root))
	if err != nil {
		return d, err
	}
	d.Differ = differ.fit()
	return d, nil
}

// pair returns two versions of a dataset, by their numbers.
func pair(tx *store.Tx, name pavise.Name, from, to int) (a, b Version, err error) {
	newest, err := numbered(tx, name, 0)
	if err != nil {
		return a, b, err
	}
	if to == 0 {
		to = newest.Number
	}
	if from == 0 {
		from = to - 1
	}
	if from == 0 && to == 1 {
		return a, b, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("before version 1 of %s there is none", name), Hint: "a second version comes with pavise dataset accept"}
	}
	if a, err = numbered(tx, name, from); err == nil {
		b, err = numbered(tx, name, to)
	}
	return a, b, err
}
