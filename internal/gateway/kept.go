package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/seal"
	"github.com/pavise/pavise/internal/subject"
	"github.com/pavise/pavise/internal/tensor"
)

// KindKept is the kind of the notes that keep, sealed, what is too long for the record of an
// answer: they stand before it in the log, and its detail says which they are.
const KindKept = "model.kept"

const (
	// maxKept is how many bytes of a true answer a record keeps, sealed, where only the
	// route's own shape made the caller's another. A longer one is kept as its commitment.
	maxKept = 16 << 10
	// maxWhole is how long the truth of an answer is at most that is altered because of how
	// its caller stands: of such an answer all is kept.
	maxWhole = 8 << 20
	// maxInline is how much a record keeps itself, before it is sealed; the rest of its
	// 64 KiB is for what the checks said. partSize is as much as a note has room for.
	maxInline = 28 << 10
	partSize  = 40 << 10
	// maxParts is more than any answer has.
	maxParts = (maxWhole+maxMarks)*3/2/partSize + 1
)

// A partOf is the detail of a note that keeps a part.
type partOf struct {
	ID string `json:"id"` // of the trail that it belongs to, and a number from 1 on
}

// partID binds a part to its record, and to its place in it.
func partID(id string, n int) string { return id + "/" + strconv.Itoa(n) }

// keep seals the salt, and what else is to be kept, under the key of whose data it is. Only
// who has paid and been answered can make it a new one. truth is the model's own answer, nil
// where there is none; altered says that the caller got another.
func (x *Exchange) keep(ctx context.Context, truth *tensor.Response, altered bool) error {
	if truth != nil && (altered || x.twofold()) {
		if err := x.keepTruth(truth, altered); err != nil {
			return err
		}
	}
	about, err := x.gateway.subjects.OfCaller(ctx, x.call.Model.Tenant, x.call.Subject, x.who.Name())
	if err != nil {
		return err
	}
	x.entry.Subject(about.ID)
	room, envelope := new([]byte), new([]byte)
	if x.desk != nil {
		room, envelope = &x.desk.plain, &x.desk.sealed
	}
	plain := x.kept.appendJSON((*room)[:0])
	keepRoom(room, plain)
	if len(plain) > maxInline {
		if err := x.keepParts(ctx, about, plain); err != nil {
			return err
		}
		x.kept = kept{Salt: x.kept.Salt}
		plain = x.kept.appendJSON((*room)[:0])
	}
	*envelope = about.Key.SealIn(*envelope, []byte(x.trail.ID), plain) // not longer than what is kept
	x.entry.Seal(*envelope)
	return nil
}

// keepTruth keeps the model's own answer, as JSON where that can carry it. On a route where
// callers in amber get other answers than those in green it is spelled and committed to for
// all, so that it takes as long, and one that is too long to be kept reaches nobody.
func (x *Exchange) keepTruth(truth *tensor.Response, altered bool) error {
	own, err := truth.AppendJSON(x.desk.own[:0])
	keepRoom(&x.desk.own, own)
	k := kept{Truth: own}
	if pavise.KindOf(err) == pavise.Invalid { // JSON cannot carry it
		var m tensor.Message
		m, err = tensor.OIP.AppendResponse(nil, &tensor.Request{Raw: tensor.Raw{All: true}}, truth)
		own = m.Body
		k = kept{Binary: own, Header: m.Header}
	}
	if err != nil {
		return err
	}
	if x.twofold() && len(own) > maxWhole {
		return &pavise.Error{
			Kind: pavise.Invalid, Msg: fmt.Sprintf("the answer takes %d bytes, and %s gives none of more than %d", len(own), x.call.Model, maxWhole),
			Hint: "ask for fewer rows at once",
		}
	}
	sum := x.commit(own)
	if !altered {
		return nil
	}
	x.trail.Altered, x.trail.Truth = true, sum
	if x.alters() || x.trail.Marks != "" || len(own) <= maxKept {
		x.kept.Truth, x.kept.Binary, x.kept.Header = k.Truth, k.Binary, k.Header
	}
	return nil
}

// keepParts writes down what is too long for the record itself, in the notes before it. What
// is written of an exchange that fails afterwards belongs to no record.
func (x *Exchange) keepParts(ctx context.Context, about subject.Subject, plain []byte) error {
	ctx = context.WithoutCancel(ctx)
	for part := range slices.Chunk(plain, partSize) {
		id := partID(x.trail.ID, len(x.trail.Parts)+1)
		detail, err := json.Marshal(partOf{id})
		if err != nil {
			return err
		}
		index, err := x.gateway.guard.Keep(ctx, KindKept, x.call.Model, detail, about.ID, about.Key.Seal([]byte(id), part))
		if err != nil {
			return err
		}
		x.trail.Parts = append(x.trail.Parts, index)
	}
	return nil
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
	if r.Kind == KindKept {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "it is a part of what a record behind it keeps", Hint: "unseal the record of the answer: its detail names this one among its parts"}
	}
	if len(bound.Parts) == 0 {
		return key.Open([]byte(bound.ID), r.Sealed)
	}
	if len(bound.Parts) > maxParts {
		return nil, &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("the record names %d parts, and none has more than %d", len(bound.Parts), maxParts)}
	}
	var all []byte
	for n, index := range bound.Parts {
		part, err := read(index)
		if err != nil {
			return nil, fmt.Errorf("read part %d of %d: %w", n+1, len(bound.Parts), err)
		}
		if part.Kind != KindKept || part.Tenant != r.Tenant || part.Subject != r.Subject {
			return nil, &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("record %d is no part of what this one keeps", index)}
		}
		plain, err := key.Open([]byte(partID(bound.ID, n+1)), part.Sealed)
		if err != nil {
			return nil, fmt.Errorf("open part %d of %d: %w", n+1, len(bound.Parts), err)
		}
		all = append(all, plain...)
	}
	return all, nil
}
