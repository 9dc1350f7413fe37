package route

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/tensor"
	"github.com/pavise/pavise/internal/theft"
	"github.com/pavise/pavise/internal/tier"
	"github.com/pavise/pavise/internal/watermark"
)

// KindForgot is the kind of the note that says that what a detector remembered of some
// callers cannot be used.
const KindForgot = "firewall.forgot"

// KindUnwatched is the kind of the note that says that the callers of a route are not looked at,
// because its calibration cannot be used.
const KindUnwatched = "firewall.unwatched"

// A calibrated is a calibration that was read for a route.
type calibrated struct {
	text   []byte // of its file
	digest string // as models have theirs
	watch  tier.Watch
}

// A parsed is the calibration that was read last: routes that share one read it once.
type parsed struct {
	digest      [sha256.Size]byte
	calibration *theft.Calibration
}

// calibrate reads a calibration for a model that takes and gives so. The error is of kind
// Invalid.
func (t *Table) calibrate(text []byte, sig tensor.Signature) (*calibrated, error) {
	sum := sha256.Sum256(text)
	last := t.parsed.Load()
	if last == nil || last.digest != sum {
		c, err := theft.ParseCalibration(text)
		if err != nil {
			return nil, err
		}
		last = &parsed{sum, c}
		t.parsed.Store(last)
	}
	own := &calibrated{text: text, watch: tier.Watch{Digest: sum, Size: len(text), Calibration: last.calibration}}
	own.digest = "sha256:" + hex.EncodeToString(sum[:])
	var err error
	own.watch.Lay, err = layOf(sig, last.calibration)
	return own, err
}

// layOf says how rows of a model lie before a detector with a calibration, or, as an error
// of kind Invalid, why they are not those that it was made of.
func layOf(sig tensor.Signature, c *theft.Calibration) (l tier.Lay, err error) {
	refuse := func(hint, format string, args ...any) (tier.Lay, error) {
		return tier.Lay{}, &pavise.Error{Kind: pavise.Invalid, Msg: "calibration: " + fmt.Sprintf(format, args...), Hint: hint}
	}
	var columns []string
	for _, p := range sig.Inputs {
		n := numbers(p)
		if n < 0 {
			return refuse("only rows of as many numbers each can be looked at", "input %q has the shape %d, and rows of no fixed length", p.Name, p.Shape)
		}
		l.Inputs += n
		for _, col := range p.Columns {
			columns = append(columns, col.Name)
		}
	}
	if len(columns) != l.Inputs {
		columns = nil // some have no names
	}
	found := false
	for _, p := range sig.Outputs {
		n := numbers(p)
		fits := p.Datatype.IsFloat() && n == c.Scores && c.Scores > 0 || c.Scores == 0 && n == 1
		if fits && !found {
			l.First, l.Scores, found = l.Said, c.Scores, true
		}
		if n < 0 {
			if len(sig.Outputs) > 1 || !p.Datatype.IsFloat() || c.Scores == 0 {
				return refuse("only answers of as many numbers each can be looked at", "output %q has the shape %d, and rows of no fixed length", p.Name, p.Shape)
			}
			l.Scores, found, n = c.Scores, true, c.Scores // as the model will be seen to answer
		}
		l.Said += n
	}
	if !found && c.Scores > 0 {
		return refuse("calibrate with traffic of this model", "no output of the model has the %d scores that it was made with", c.Scores)
	}
	return l, c.Takes(columns, l.Inputs, l.Scores)
}

// numbers is how many numbers a row of a port has; -1: any number. Texts are none.
func numbers(p tensor.Port) int {
	if f := p.Datatype.Family(); f == tensor.Octets || f == tensor.Boolean {
		return 0
	}
	n := int64(1)
	for _, dim := range p.Shape[min(1, len(p.Shape)):] {
		if dim < 0 || n*dim > 1<<24 {
			return -1
		}
		n *= dim
	}
	return int(n)
}

// off takes a calibration away.
const off = "off"

// watched fills in by what the callers of a route are looked at, and what those in amber
// get: as the words say, else as it was. A calibration of another model, or of one that
// takes or gives otherwise, ends; warning says so. own is a new one, whose bytes are to be
// kept.
func (t *Table) watched(ctx context.Context, r, was *Route, spec Spec) (own *calibrated, warning string, err error) {
	text := bytes.TrimSpace(spec.Calibration)
	switch given := len(text) > 0; {
	case string(text) == nothing || string(text) == strconv.Quote(nothing) || !given && spec.Amber == off:
		r.Calibration, r.Amber, r.Mark = "", "", 0
		if spec.Amber != "" && spec.Amber != off || spec.Mark != "" && spec.Mark != nothing {
			return nil, "", &pavise.Error{Kind: pavise.Invalid, Msg: "the calibration is taken away, and something is said of callers in amber", Hint: "leave --amber and --mark out"}
		}
		return nil, "", nil
	case given && spec.Amber == off:
		return nil, "", &pavise.Error{Kind: pavise.Invalid, Msg: "a calibration is given, and amber is off", Hint: "leave one of them out"}
	case given && r.Language():
		return nil, "", &pavise.Error{Kind: pavise.Invalid, Msg: "a calibration is for models of tensors, and this is a language model"}
	case given:
		if own, err = t.calibrate(spec.Calibration, r.Signature); err != nil {
			return nil, "", err
		}
		r.Calibration = own.digest
	case r.Calibration != "" && (was == nil || was.ONNX != r.ONNX || was.Place() != r.Place()):
		r.Calibration = ""
		warning = "the calibration was made with answers of another model, and ended with it: nobody looks for those who copy this one until you give it its own, with pavise route put --calibration"
	case r.Calibration != "":
		if _, err := t.calibrationOf(ctx, *r); pavise.KindOf(err) == pavise.Invalid {
			r.Calibration = ""
			warning = fmt.Sprintf("the calibration ended, because it does not fit any more: %v", err)
		} else if err != nil {
			return nil, "", err
		}
	}
	if err := spec.amber(r); err != nil {
		return nil, "", err
	}
	if r.Calibration != "" {
		if err := t.roomBeside(ctx, *r, len(text)); err != nil {
			return nil, "", err
		}
	}
	ended, err := spec.undone(r)
	if err != nil {
		return nil, "", err
	}
	return own, strings.TrimPrefix(strings.TrimSuffix(warning+"; "+ended, "; "), "; "), r.checkAmber()
}

// undone refuses what callers in amber are to get where the route's shape leaves nothing of
// it, if the words say it. What was said before, of another shape or to a version that took
// it, ends, and warning says so.
func (s Spec) undone(r *Route) (warning string, err error) {
	m, err := tier.ParseMeasure(r.Amber)
	if err != nil {
		return "", nil // nothing is said, or what checkAmber refuses
	}
	if err := m.Undone(r.Shape); err == nil || s.Amber != "" {
		return "", err
	}
	r.Amber = ""
	return fmt.Sprintf("%v, which callers in amber got, ended: the route's answers tell the top class alone (%v), and it would tell them the same. They have a part of their rate and budget now", m, r.Shape), nil
}

// roomBeside reports, as an error of kind Invalid, that beside those of all other routes there
// is no room for the calibration of one, which has so many bytes; 0 where it is in the store.
func (t *Table) roomBeside(ctx context.Context, r Route, size int) error {
	models, sizes := 1, map[string]int{r.Calibration: size}
	for l := range t.All() {
		if l.Calibration != "" && l.Model != r.Model {
			models++
			sizes[l.Calibration] = max(sizes[l.Calibration], 0)
		}
	}
	err := t.db.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query(`SELECT digest, length(onnx) FROM gateway_models`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var digest string
			var n int
			if err := rows.Scan(&digest, &n); err != nil {
				return err
			}
			if _, is := sizes[digest]; is {
				sizes[digest] = n
			}
		}
		return rows.Err()
	})
	if err != nil {
		return err
	}
	return tier.Room(models, sizes)
}

// amber says what callers in amber get, as the words have it.
func (s Spec) amber(r *Route) error {
	r.Amber = cmp.Or(s.Amber, r.Amber)
	switch s.Mark {
	case "":
	case nothing:
		r.Mark = 0
	default:
		rate, err := strconv.ParseFloat(s.Mark, 64)
		if err != nil {
			return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("mark %.40q is no share of inputs", s.Mark), Hint: fmt.Sprintf("use 0.000001 to %v, %v is usual; or none", watermark.MaxRate, watermark.DefaultRate)}
		}
		r.Mark = rate
	}
	return nil
}

// Measure is what callers in amber get.
func (r Route) Measure() tier.Measure {
	if m, err := tier.ParseMeasure(r.Amber); err == nil && m.Undone(r.Shape) == nil {
		return m
	}
	if usual := tier.Usual(r.Alterable, r.Shape); !r.Language() && usual.Validate(r.Alterable, r.Shape, r.Signature) == nil {
		return usual
	}
	return tier.Usual(false, r.Shape)
}

// checkAmber reports whether callers in amber may get what the route says. The error is of
// kind Invalid or Denied.
func (r Route) checkAmber() error {
	if r.Amber != "" {
		m, err := tier.ParseMeasure(r.Amber)
		if err != nil {
			return err
		}
		if m.Alters() && r.Language() {
			return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%v is for models of tensors, and this is a language model", m), Hint: "use --amber budget"}
		}
		if err := m.Validate(r.Alterable, r.Shape, r.Signature); err != nil {
			return err
		}
	}
	switch {
	case r.Mark == 0:
		return nil
	case r.Language():
		return &pavise.Error{Kind: pavise.Invalid, Msg: "marks are for models of tensors, and this is a language model", Hint: "leave --mark out"}
	case !r.Alterable:
		return &pavise.Error{Kind: pavise.Denied, Msg: "marks alter answers, and the route is not declared alterable", Hint: "leave --mark out; or, if you own the route, declare it --alterable, and tell its callers"}
	case !(r.Mark >= 1e-6 && r.Mark <= watermark.MaxRate):
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("a share of %v of the inputs is to be marked", r.Mark), Hint: fmt.Sprintf("use 0.000001 to %v, %v is usual; or none", watermark.MaxRate, watermark.DefaultRate)}
	}
	return tier.CanMark(r.Signature)
}

// calibrationOf reads the calibration of a route from the store. What does not fit the
// route is an error of kind Invalid.
func (t *Table) calibrationOf(ctx context.Context, r Route) (*calibrated, error) {
	text, err := t.Model(ctx, r.Calibration)
	if err != nil {
		return nil, fmt.Errorf("read the calibration of %s: %w", r.Model, err)
	}
	if sum := sha256.Sum256(text); "sha256:"+hex.EncodeToString(sum[:]) != r.Calibration {
		return nil, &pavise.Error{
			Kind: pavise.Unverified, Msg: fmt.Sprintf("the stored calibration of %s is not the one that its route names", r.Model),
			Hint: "the store was changed: put the route again with the calibration you trust",
		}
	}
	return t.calibrate(text, r.Signature)
}

// look has the callers of a route looked at by its calibration, or by none. It waits for
// the store.
func (t *Table) look(ctx context.Context, l *Live) error {
	if t.tiers == nil {
		return nil
	}
	var watch *tier.Watch
	if l.Calibration != "" {
		own, err := t.calibrationOf(ctx, l.Route)
		if err != nil {
			return err
		}
		watch = &own.watch
	}
	refused, err := t.tiers.Calibrate(ctx, l.Model, watch)
	if refused > 0 {
		_ = t.guard.Note(context.WithoutCancel(ctx), KindForgot, nil, l.Model, map[string]int{"callers": refused})
	}
	return err
}

// lookOrSay is look at a start, and at what a control plane says: a calibration that this
// version does not read, or one more than can be used, is said and keeps no gateway from
// answering, nor from what else it is told. Nobody is looked at by the one before it. One that
// was changed is an error.
func (t *Table) lookOrSay(ctx context.Context, l *Live) error {
	err := t.look(ctx, l)
	if pavise.KindOf(err) != pavise.Invalid {
		return err
	}
	if _, err := t.tiers.Calibrate(ctx, l.Model, nil); err != nil {
		return err
	}
	return t.guard.Note(ctx, KindUnwatched, nil, l.Model, struct {
		Finding pavise.Finding `json:"finding"`
	}{pavise.Finding{
		Kind: KindUnwatched, Severity: pavise.Warning, On: l.Model, At: time.Now().UTC(),
		Summary: fmt.Sprintf("nobody looks for those who copy %s, for its calibration cannot be used: %v", l.Model, err),
	}})
}

// keepBytes keeps the bytes of a model, or of a calibration, under their digest.
func keepBytes(tx *store.Tx, digest string, b []byte) error {
	_, err := tx.Exec(`INSERT INTO gateway_models VALUES (?, ?) ON CONFLICT DO NOTHING`, digest, b)
	return err
}

// fetchBytes gets those from a control plane, unless they are here.
func (t *Table) fetchBytes(ctx context.Context, digest string, from func(string) ([]byte, error)) error {
	if is, err := t.Holds(ctx, digest); err != nil || is {
		return err
	}
	b, err := from(digest)
	if err != nil {
		return err
	}
	return t.db.Update(ctx, func(tx *store.Tx) error { return keepBytes(tx, digest, b) })
}

// fetchCalibration gets the calibration of a route that is to be adopted, and sees that it is
// the one that the route names. One that cannot be used keeps no other route, no quarantine
// and no word on callers from holding here: lookOrSay says so.
func (t *Table) fetchCalibration(ctx context.Context, r Route, from func(string) ([]byte, error)) error {
	if r.Calibration == "" || sameWatch((*t.live.Load())[r.Model], r) {
		return nil
	}
	if err := t.fetchBytes(ctx, r.Calibration, from); err != nil {
		return err
	}
	if _, err := t.calibrationOf(ctx, r); pavise.KindOf(err) != pavise.Invalid {
		return err
	}
	return nil
}

// lookAnew has the callers of adopted routes looked at as those say, and of those that
// went not any more.
func (t *Table) lookAnew(ctx context.Context, was, next map[pavise.Name]*Live) error {
	var errs []error
	for name := range was {
		if next[name] == nil && t.tiers != nil {
			_, err := t.tiers.Calibrate(ctx, name, nil)
			errs = append(errs, err)
		}
	}
	var anew []*Live
	for name, l := range next {
		if !sameWatch(was[name], l.Route) {
			anew = append(anew, l)
		}
	}
	slices.SortFunc(anew, func(a, b *Live) int { // what makes room first, and then by name: every gateway has room for the same
		return cmp.Or(cmp.Compare(min(len(a.Calibration), 1), min(len(b.Calibration), 1)), strings.Compare(a.Model.String(), b.Model.String()))
	})
	for _, l := range anew {
		errs = append(errs, t.lookOrSay(ctx, l))
	}
	return errors.Join(errs...)
}

// sameWatch reports whether the callers of a route were looked at in the same way on the
// one before it; there may be none.
func sameWatch(was *Live, r Route) bool {
	return was != nil && was.Calibration == r.Calibration && reflect.DeepEqual(was.Signature, r.Signature)
}

// Blobs are the digests of what the route needs beside its words: its models, its
// calibration.
func (r Route) Blobs() []string {
	return slices.DeleteFunc(append(r.Models(), r.Calibration), func(d string) bool { return d == "" })
}

// inOrder returns tensors in the order of the ports, those that are there.
func inOrder(list []tensor.Tensor, ports []tensor.Port) []tensor.Tensor {
	same := len(list) == len(ports)
	for i := 0; same && i < len(list); i++ {
		same = list[i].Name == ports[i].Name
	}
	if same {
		return list
	}
	var next []tensor.Tensor
	for i := range ports {
		if at := slices.IndexFunc(list, func(t tensor.Tensor) bool { return t.Name == ports[i].Name }); at >= 0 {
			next = append(next, list[at])
		}
	}
	return next
}

// Ordered returns a request and an answer with their tensors in the order of the
// signature, as detectors and marks look at them: callers may have another.
func (r *Route) Ordered(asked *tensor.Request, said *tensor.Response) (tensor.Request, tensor.Response) {
	a, s := *asked, *said
	a.Inputs, s.Outputs = inOrder(asked.Inputs, r.Signature.Inputs), inOrder(said.Outputs, r.Signature.Outputs)
	return a, s
}

// Filled is an answer as Ordered has it, with no numbers (NaN) where an output is that the
// caller did not ask for: who leaves outputs out is looked at like everybody.
func (r *Route) Filled(said tensor.Response, rows int) tensor.Response {
	if len(said.Outputs) == len(r.Signature.Outputs) {
		return said
	}
	var all []tensor.Tensor
	for _, p := range r.Signature.Outputs {
		at := slices.IndexFunc(said.Outputs, func(t tensor.Tensor) bool { return t.Name == p.Name })
		if n := numbers(p); at >= 0 {
			all = append(all, said.Outputs[at])
		} else if n > 0 && n*rows <= 1<<20 {
			all = append(all, tensor.Tensor{
				Name: p.Name, Datatype: tensor.FP64, Shape: []int64{int64(rows), int64(n)},
				Data: tensor.Data{Floats: slices.Repeat([]float64{math.NaN()}, rows*n)},
			})
		}
	}
	said.Outputs = all
	return said
}
