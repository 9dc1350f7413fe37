package catalog

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/rowseal"
	"github.com/pavise/pavise/internal/store"
)

// A ProofSpec asks for a proof that a row is in a version of a dataset, or that none like it is.
type ProofSpec struct {
	Name    pavise.Name
	Version int // 0: the newest
	Digest  rowseal.Digest
	Parquet bool // the digest is of a row of Parquet, which has another encoding than text
}

// A Proof is what was proved of a row.
type Proof struct {
	Name      pavise.Name     `json:"name"`
	Version   int             `json:"version"`
	Root      rowseal.Digest  `json:"root"`
	Member    bool            `json:"member"` // the row is in that version
	Count     uint64          `json:"count"`  // how often
	Spots     []Spot          `json:"places"` // the first of them
	Note      string          `json:"note,omitempty"`
	Statement json.RawMessage `json:"statement"` // the proof: docs/formats/seal.md
	Record    uint64          `json:"record"`    // index of the record that says that it was asked
}

// maxProof bounds a proof, in bytes: it lists those who share a bucket with the row, which
// somebody may have filled.
const maxProof = 4 << 20

// Prove proves that a row is in a version of a dataset, or that none like it is, to whom has its
// digest, from the index that the catalog keeps. The record has what came of it and not the
// digest, by which a row can be guessed. Errors are of kind NotFound, for a version without an
// index, too; Throttled where others are looked for already; and Unverified for an index that is
// damaged.
func (c *Catalog) Prove(ctx context.Context, who pavise.Principal, spec ProofSpec) (p Proof, err error) {
	entry, err := c.cfg.Guard.Enter(ctx, who, "dataset.prove", spec.Name)
	if err != nil {
		return p, err
	}
	defer entry.Exit(&err)
	select {
	case c.compares <- struct{}{}:
		defer func() { <-c.compares }()
	default:
		return p, &pavise.Error{Kind: pavise.Throttled, Msg: fmt.Sprintf("%d datasets are being compared or searched, and no more are at a time", comparing), Hint: "ask again in a while"}
	}
	var v Version
	err = c.cfg.Store.View(ctx, func(tx *store.Tx) (err error) { v, err = numbered(tx, spec.Name, spec.Version); return err })
	if err != nil {
		return p, err
	}
	if !c.hasIndex(spec.Name, v.Root) {
		return p, unindexed(spec.Name, v)
	}
	if p, err = c.cfg.Prove(ctx, c.sealFile(spec.Name, v.Root), spec.Digest, spec.Parquet); err != nil {
		return Proof{}, err
	}
	if len(p.Statement) > maxProof {
		return Proof{}, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the proof has more than %d MiB: very many rows begin with the same bits as this one", maxProof>>20), Hint: "seal the data where they are, and prove it there: pavise dataset prove SEAL"}
	}
	p.Name, p.Version, p.Spots = spec.Name, v.Number, p.Spots[:min(len(p.Spots), MaxRows)]
	p.Record, _ = entry.Record()
	entry.Detail(struct {
		Version int            `json:"version"`
		Root    rowseal.Digest `json:"root"`
		Member  bool           `json:"member"`
	}{p.Version, p.Root, p.Member})
	return p, nil
}

// unindexed says why a version has no index here.
func unindexed(name pavise.Name, v Version) error {
	why := "its seal was handed over without one"
	if !v.Dropped.IsZero() {
		why = "it was dropped for want of room"
	}
	return &pavise.Error{
		Kind: pavise.NotFound, Msg: fmt.Sprintf("there is no index of %s, version %d: %s", name, v.Number, why),
		Hint: "prove it where the index is: pavise dataset prove SEAL; sealing the same content once more makes both",
	}
}

// numbered returns a version of a dataset; the newest where number is 0.
func numbered(tx *store.Tx, name pavise.Name, number int) (v Version, err error) {
	d, err := known(tx, name)
	if err != nil {
		return v, err
	}
	if d.Newest == nil {
		return v, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("%s has no version yet", name), Hint: "pavise dataset show " + name.ID + " says how it stands"}
	}
	if number == 0 {
		return *d.Newest, nil
	}
	all, err := versions(tx, name, maxVersions)
	for _, v := range all {
		if v.Number == number {
			return v, err
		}
	}
	if err == nil {
		err = &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("%s has no version %d", name, number), Hint: fmt.Sprintf("it has versions 1 to %d", d.Newest.Number)}
	}
	return v, err
}
