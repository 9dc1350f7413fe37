// Package parts keeps, sealed, what is too long for one entry of the evidence log: in notes
// before the record that it belongs to, each bound to it and to its place by its name in the
// seal. It owns how such notes are named and sealed, and how they are put together again;
// who writes and reads the log is its callers' own.
package parts

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/seal"
)

// Kind is the kind of the notes, whose detail says which part of what they are.
const Kind = "model.kept"

const (
	// Size is as many bytes as a note has room for, before they are sealed.
	Size = 40 << 10
	// Most is how many parts a record has at most: more than any answer has.
	Most = 480
)

// A detail is that of a note that keeps a part.
type detail struct {
	ID string `json:"id"` // of what it belongs to, and a number from 1 on
}

// nameOf binds a part to its record, and to its place in it.
func nameOf(id string, n int) string { return id + "/" + strconv.Itoa(n) }

// A Part is sealed, and ready to be written.
type Part struct {
	Detail   []byte // of its note, as JSON
	Envelope []byte
}

// Seal parts what a record of this id keeps, and seals each part with the key.
func Seal(key *seal.Key, id string, plain []byte) (list []Part, err error) {
	for part := range slices.Chunk(plain, Size) {
		name := nameOf(id, len(list)+1)
		text, err := json.Marshal(detail{name})
		if err != nil {
			return nil, err
		}
		list = append(list, Part{text, key.Seal([]byte(name), part)})
	}
	return list, nil
}

// Unseal opens what the record of an answer keeps, with the key of whom it is about. Parts
// that lie in notes of their own are read with read. The error is of kind Unverified when
// they are not those that the record had.
func Unseal(key *seal.Key, r *record.Record, read func(index uint64) (record.Record, error)) ([]byte, error) {
	var bound struct {
		ID    string   `json:"id"`
		Parts []uint64 `json:"parts"`
	}
	if err := json.Unmarshal(r.Detail, &bound); err != nil {
		return nil, fmt.Errorf("read the detail of the record: %w", err)
	}
	if r.Kind == Kind {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "it is a part of what a record behind it keeps", Hint: "unseal the record of the answer: its detail names this one among its parts"}
	}
	if len(bound.Parts) == 0 {
		return key.Open([]byte(bound.ID), r.Sealed)
	}
	if len(bound.Parts) > Most {
		return nil, &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("the record names %d parts, and none has more than %d", len(bound.Parts), Most)}
	}
	var all []byte
	for n, index := range bound.Parts {
		part, err := read(index)
		if err != nil {
			return nil, fmt.Errorf("read part %d of %d: %w", n+1, len(bound.Parts), err)
		}
		if part.Kind != Kind || part.Tenant != r.Tenant || part.Subject != r.Subject {
			return nil, &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("record %d is no part of what this one keeps", index)}
		}
		plain, err := key.Open([]byte(nameOf(bound.ID, n+1)), part.Sealed)
		if err != nil {
			return nil, fmt.Errorf("open part %d of %d: %w", n+1, len(bound.Parts), err)
		}
		all = append(all, plain...)
	}
	return all, nil
}
