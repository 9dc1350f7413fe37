package gateway

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/tensor"
)

// maxKept is how many bytes of a true answer a record keeps, sealed, when the
// caller's was altered. A longer one is kept as its commitment only.
const maxKept = 16 << 10

// A Trail is what an inference's record says beyond who, what and the verdicts:
// enough to show afterwards that this request got this answer, and nothing of
// what either said.
type Trail struct {
	ID      string   `json:"id"`                // 16 random bytes, hex; binds the sealed part to this record
	Model   string   `json:"model"`             // what answered: a digest, or an upstream's address
	Rows    int      `json:"rows,omitempty"`    // rows asked
	Charged int      `json:"charged,omitempty"` // rows charged to the caller
	Input   string   `json:"input,omitempty"`   // hex SHA-256 of salt ‖ the request as it went to the model
	Output  string   `json:"output,omitempty"`  // hex SHA-256 of salt ‖ the answer as it went to the caller
	Truth   string   `json:"truth,omitempty"`   // the same of the model's own answer, when altered
	Shape   string   `json:"shape,omitempty"`   // how the answer was shaped
	Altered bool     `json:"altered,omitempty"` // the answer is not the model's own
	Answer  []Output `json:"answer,omitempty"`  // the form of the answer
}

// An Output is the form of one tensor of an answer.
type Output struct {
	Name     string          `json:"name"`
	Datatype tensor.Datatype `json:"datatype"`
	Shape    []int64         `json:"shape"`
}

// A kept is the sealed part of an inference's record.
type kept struct {
	Salt  []byte          `json:"salt"`            // of the trail's commitments
	Truth json.RawMessage `json:"truth,omitempty"` // the model's own answer, when altered and not too long
}

// An Answer is what a caller gets.
type Answer struct {
	Body  []byte // the protocol's JSON
	entry *guard.Entry
}

// Record returns the index of the record that proves the answer, which was
// written before Infer returned it.
func (a *Answer) Record() uint64 {
	index, _ := a.entry.Record()
	return index
}

// A Refusal is an error that knows the record of its request and when to retry.
type Refusal struct {
	Retry time.Duration // 0: waiting will not help
	entry *guard.Entry
	err   error
}

// Error returns the cause's text.
func (r *Refusal) Error() string { return r.err.Error() }

// Unwrap returns the cause.
func (r *Refusal) Unwrap() error { return r.err }

// Infer asks a model on a caller's behalf: the verb model.infer on
// tenant/model/id. The body is read only once the caller may ask. After the
// guard let the caller in, every error is a *Refusal.
//
// subject names whose data the request holds, for the caller to say: the record
// keeps what it keeps under that person's key. Empty: the caller's own.
func (g *Gateway) Infer(ctx context.Context, who pavise.Principal, model pavise.Name, subject string, body io.Reader) (answer *Answer, err error) {
	entry, err := g.guard.Enter(ctx, who, "model.infer", model)
	if err != nil {
		return nil, err
	}
	defer entry.Exit(&err)
	x := &exchange{gateway: g, entry: entry, who: who, model: model, about: subject}
	entry.Detail(&x.trail)
	out, err := x.run(ctx, body)
	if err != nil {
		return nil, &Refusal{Retry: x.retry, entry: entry, err: err}
	}
	return &Answer{Body: out, entry: entry}, nil
}

// An exchange is one request on its way through. One goroutine owns it.
type exchange struct {
	gateway *Gateway
	entry   *guard.Entry
	who     pavise.Principal
	model   pavise.Name
	about   string // whose data the request holds, says the caller
	route   *live
	hold    *hold
	trail   Trail
	kept    kept
	retry   time.Duration
}

// run carries the request from the caller's bytes to the answer's.
func (x *exchange) run(ctx context.Context, body io.Reader) ([]byte, error) {
	if err := x.begin(); err != nil {
		return nil, err
	}
	x.hold = x.gateway.bodies.begin(x.who.Name())
	defer x.hold.free()
	request, err := x.inbound(body)
	if err != nil {
		return nil, err
	}
	response, err := x.route.model.Infer(ctx, request)
	if err != nil {
		return nil, err
	}
	return x.outbound(ctx, request, response)
}

// begin finds the route and draws what the record needs.
func (x *exchange) begin() (err error) {
	if x.route, err = x.gateway.Routes.find(x.model); err != nil {
		return err
	}
	if x.gateway.Routes.barredNow(x.model) { // it was put, or barred, since the guard let them in
		return &pavise.Error{Kind: pavise.Denied, Msg: fmt.Sprintf("%s is in quarantine", x.model), Hint: "pavise change list says who put it there, and why"}
	}
	if x.route.Durable {
		x.entry.Durable()
	}
	var random [48]byte
	rand.Read(random[:])
	x.trail.ID, x.kept.Salt = hex.EncodeToString(random[:16]), random[16:]
	x.trail.Model = x.route.ONNX
	if x.trail.Model == "" {
		x.trail.Model = x.route.Upstream
	}
	return nil
}

// inbound reads the request and puts it through the checks before the model.
func (x *exchange) inbound(body io.Reader) (*tensor.Request, error) {
	request, err := x.parse(body)
	if err != nil {
		check := "codec"
		if pavise.KindOf(err) != pavise.Invalid {
			check = "memory"
		}
		x.entry.Verdict(pavise.Verdict{Check: check, Outcome: pavise.Deny, Reason: err.Error()})
		return nil, err
	}
	x.trail.Rows = request.Rows()
	if err := x.check(x.route.gate.Check(request), pavise.Invalid); err != nil {
		return nil, err
	}
	verdict, retry := x.gateway.meter.Charge(x.gateway.now(), x.who.Name(), x.model, x.trail.Rows)
	if verdict.Outcome != pavise.Deny {
		x.trail.Charged = x.trail.Rows
	}
	if err := x.check(verdict, pavise.Throttled); err != nil {
		x.retry = retry
		return nil, err
	}
	encoded, err := request.AppendJSON(nil)
	if err != nil {
		return nil, err
	}
	x.trail.Input = x.commit(encoded)
	return request, nil
}

// parse reads at most what a request that passes can need, and no more than
// there is room for. What is read, and what is made of it, takes that room until
// the exchange is over.
func (x *exchange) parse(body io.Reader) (*tensor.Request, error) {
	lim := x.gateway.limits
	if !x.route.Observe { // the gate is to be seen refusing what it then lets pass
		lim = x.route.gate.Limits(lim)
	}
	text, err := x.hold.read(body, lim.MaxBody)
	if err != nil {
		return nil, err
	}
	if err := x.hold.set(lim.Weight(text) + cap(text) - len(text)); err != nil {
		return nil, err
	}
	return tensor.ParseRequest(text, lim)
}

// check notes a verdict and turns a denial into an error, unless the route only
// observes.
func (x *exchange) check(v pavise.Verdict, kind pavise.Kind) error {
	v.Observed = v.Outcome == pavise.Deny && x.route.Observe
	x.entry.Verdict(v)
	if !v.Stops() {
		return nil
	}
	return &pavise.Error{Kind: kind, Msg: v.Reason}
}

// outbound puts the model's answer through the checks behind the model, shapes
// it and commits to it.
func (x *exchange) outbound(ctx context.Context, request *tensor.Request, truth *tensor.Response) ([]byte, error) {
	truth.Model, truth.Version, truth.ID = x.model.ID, "", request.ID
	if err := x.check(x.route.gate.CheckAnswer(request, truth), pavise.Unavailable); err != nil {
		// What the model said is for the record, not for the caller.
		return nil, &pavise.Error{Kind: pavise.Unavailable, Msg: "the model answered other than its signature promises", Hint: "the operator finds what is wrong in the record", Err: err}
	}
	shaped, verdict := x.route.Shape.Apply(truth)
	x.entry.Verdict(verdict)
	if verdict.Outcome == pavise.Deny {
		return nil, &pavise.Error{Kind: pavise.Unavailable, Msg: verdict.Reason}
	}
	body, err := shaped.AppendJSON(nil)
	if err != nil {
		return nil, err
	}
	x.trail.Shape, x.trail.Output = x.route.Shape.String(), x.commit(body)
	for _, t := range shaped.Outputs {
		x.trail.Answer = append(x.trail.Answer, Output{t.Name, t.Datatype, t.Shape})
	}
	return body, x.keep(ctx, truth, verdict.Outcome == pavise.Alter)
}

// keep seals the salt, and the true answer when the caller got another, under the
// key of whose data it is. Only who has paid and been answered can make it a new one.
func (x *exchange) keep(ctx context.Context, truth *tensor.Response, altered bool) error {
	if altered {
		own, err := truth.AppendJSON(nil)
		if err != nil {
			return err
		}
		x.trail.Altered, x.trail.Truth = true, x.commit(own)
		if len(own) <= maxKept {
			x.kept.Truth = own
		}
	}
	plain, err := json.Marshal(x.kept)
	if err != nil {
		return fmt.Errorf("encode what the record keeps: %w", err)
	}
	about, err := x.gateway.subjects.Of(context.WithoutCancel(ctx), x.model.Tenant, cmp.Or(x.about, x.who.Name().String()))
	if err != nil {
		return err
	}
	x.entry.Subject(about.ID)
	x.entry.Seal(about.Key.Seal([]byte(x.trail.ID), plain))
	return nil
}

// commit returns the hex SHA-256 of salt ‖ b: whoever is shown the salt and b
// can check it, and whoever is not learns nothing.
func (x *exchange) commit(b []byte) string {
	h := sha256.New()
	h.Write(x.kept.Salt)
	h.Write(b)
	return hex.EncodeToString(h.Sum(nil))
}

// Describe returns what a model takes and gives: the verb model.describe on
// tenant/model/id.
func (g *Gateway) Describe(ctx context.Context, who pavise.Principal, model pavise.Name) (s tensor.Signature, err error) {
	entry, err := g.guard.Enter(ctx, who, "model.describe", model)
	if err != nil {
		return s, err
	}
	defer entry.Exit(&err)
	l, err := g.Routes.find(model)
	if err != nil {
		return s, err
	}
	return l.Signature, nil
}
