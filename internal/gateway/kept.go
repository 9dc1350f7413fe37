package gateway

import (
	"context"
	"fmt"
	"slices"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/intake"
	"github.com/pavise/pavise/internal/parts"
	"github.com/pavise/pavise/internal/tensor"
)

const (
	// maxKept is how many bytes of a true answer a record keeps, sealed, where only the
	// route's own shape made the caller's another. A longer one is kept as its commitment.
	maxKept = 16 << 10
	// maxWhole is how long the truth of an answer is at most that is altered because of how
	// its caller stands: of such an answer all is kept.
	maxWhole = 8 << 20
	// maxInline is how much a record keeps itself, before it is sealed; the rest of its
	// 64 KiB is for what the checks said. What is longer is kept in parts.
	maxInline = 28 << 10
)

// No answer has more parts than are put together again.
const _ = uint(parts.Most - (maxWhole+maxMarks)*3/2/parts.Size - 1)

// keep seals the salt, and what else is to be kept, under the key of whose data it is. Only
// who has paid and been answered can make it a new one. truth is the model's own answer, nil
// where there is none; altered says that the caller got another. What is too long for the
// record is sealed in parts, which keepParts writes down.
func (x *Exchange) keep(ctx context.Context, truth *tensor.Response, altered bool) error {
	whole := 0
	if truth != nil && (altered || x.twofold()) {
		var err error
		if whole, err = x.keepTruth(truth, altered); err != nil {
			return err
		}
	}
	about, err := x.gateway.subjects.OfCaller(ctx, x.call.Model.Tenant, x.call.Subject, x.entry.Who().Name())
	if err != nil {
		return err
	}
	x.entry.Subject(about.ID)
	room, envelope := new([]byte), new([]byte)
	if x.papers != nil {
		room, envelope = &x.papers.Plain, &x.papers.Sealed
	}
	plain := x.kept.appendJSON((*room)[:0])
	if whole > maxInline { // of whom less is kept fills as many parts: their number shows in that of the record
		plain = pad(plain, whole)
	}
	intake.Room(room, plain)
	if len(plain) > maxInline {
		if x.parts, err = parts.Seal(about.Key, x.trail.ID, plain); err != nil {
			return err
		}
		x.about = about.ID
		x.kept = kept{Salt: x.kept.Salt}
		plain = x.kept.appendJSON((*room)[:0])
	}
	*envelope = about.Key.SealIn(*envelope, []byte(x.trail.ID), plain) // not longer than what is kept
	x.entry.Seal(*envelope)
	return nil
}

// pad makes the JSON of what is kept so many bytes long, if it is shorter, by a member that
// means nothing.
func pad(plain []byte, size int) []byte {
	const member, end = `,"pad":"`, `"}`
	fill := size - len(plain) - len(member) - len(end) + 1 // the brace stands already
	if fill < 0 {
		return plain
	}
	plain = slices.Grow(plain, size-len(plain))
	plain = append(plain[:len(plain)-1], member...)
	for range fill {
		plain = append(plain, '0')
	}
	return append(plain, end...)
}

// keepTruth keeps the model's own answer, as JSON where that can carry it. On a route where
// callers in amber get other answers than those in green it is spelled and committed to for
// all, so that it takes as long, and one that is too long to be kept reaches nobody; and
// whole is how many bytes are kept there of a caller in amber, 0 on other routes.
func (x *Exchange) keepTruth(truth *tensor.Response, altered bool) (whole int, err error) {
	own, err := truth.AppendJSON(x.papers.Own[:0])
	intake.Room(&x.papers.Own, own)
	k := kept{Truth: own}
	if pavise.KindOf(err) == pavise.Invalid { // JSON cannot carry it
		var m tensor.Message
		m, err = tensor.OIP.AppendResponse(nil, &tensor.Request{Raw: tensor.Raw{All: true}}, truth)
		own = m.Body
		k = kept{Binary: own, Header: m.Header}
	}
	if err != nil {
		return 0, err
	}
	if x.twofold() {
		if len(own) > maxWhole {
			return 0, &pavise.Error{
				Kind: pavise.Invalid, Msg: fmt.Sprintf("the answer takes %d bytes, and %s gives none of more than %d", len(own), x.call.Model, maxWhole),
				Hint: "ask for fewer rows at once",
			}
		}
		k.Salt, k.Marks = x.kept.Salt, x.marks
		whole = k.size()
	}
	sum := x.commit(own)
	if !altered {
		return whole, nil
	}
	x.trail.Altered, x.trail.Truth = true, sum
	if x.alters() || x.trail.Marks != "" || len(own) <= maxKept {
		x.kept.Truth, x.kept.Binary, x.kept.Header = k.Truth, k.Binary, k.Header
	}
	return whole, nil
}

// keepParts writes down the parts, in the notes before the record. It comes when the answer
// may leave, as the record does: the numbers of others' records would tell when it was. What
// is written of an exchange that fails afterwards belongs to no record.
func (x *Exchange) keepParts(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	for _, p := range x.parts {
		index, err := x.gateway.guard.Keep(ctx, parts.Kind, x.call.Model, p.Detail, x.about, p.Envelope)
		if err != nil {
			return err
		}
		x.trail.Parts = append(x.trail.Parts, index)
	}
	x.parts = nil
	return nil
}

// partBytes is how much memory the parts take until they are written.
func (x *Exchange) partBytes() (n int) {
	for _, p := range x.parts {
		n += cap(p.Envelope)
	}
	return n
}
