package gateway

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/firewall"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/infer"
	"github.com/pavise/pavise/internal/intake"
	"github.com/pavise/pavise/internal/monitor"
	"github.com/pavise/pavise/internal/ontime"
	"github.com/pavise/pavise/internal/parts"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/telemetry"
	"github.com/pavise/pavise/internal/tensor"
	"github.com/pavise/pavise/internal/tier"
	"github.com/pavise/pavise/internal/upstream"
)

// An Answer is what a caller gets.
type Answer struct {
	tensor.Message // in the caller's protocol
	record         uint64
	desk           *desk // that it lies on; nil: on none
}

// Record returns the index of the record that proves the answer, which was
// written before Infer returned it.
func (a *Answer) Record() uint64 { return a.record }

// Free gives the memory of the answer, and of its exchange, to the next one. Neither may
// be used any more. Who does not call it leaves both to the garbage collector.
func (a *Answer) Free() {
	if a.desk != nil {
		a.desk.free()
	}
}

// A Refusal is an error that knows the record of its request and when to retry.
type Refusal struct {
	Retry time.Duration // 0: waiting will not help
	entry *guard.Entry
	err   error
}

// Record returns the index of the record that says why, if it could be written.
func (r *Refusal) Record() (index uint64, written bool) { return r.entry.Record() }

// Error returns the cause's text.
func (r *Refusal) Error() string { return r.err.Error() }

// Unwrap returns the cause.
func (r *Refusal) Unwrap() error { return r.err }

// A Call is what somebody asks of a model, as a transport brought it.
type Call struct {
	Model    pavise.Name
	Version  string          // of the model, as the path names it; empty: none is named
	Subject  string          // whose data it holds, for the caller to say; empty: the caller's own
	Protocol tensor.Protocol // how the caller spells requests and answers
	Header   int             // of the message that the body is; tensor.NoHeader without binary tensors
	Body     io.Reader
	// Wrong is what the transport found amiss around the body, which is refused with it
	// and never read; nil: nothing.
	Wrong error
}

// Infer asks a model on a caller's behalf: the verb model.infer on
// tenant/model/id. The body is read only once the caller may ask. After the
// guard let the caller in, every error is a *Refusal.
//
// Unguarded: Begin enters.
func (g *Gateway) Infer(ctx context.Context, who pavise.Principal, call Call) (*Answer, error) {
	x, err := g.Begin(ctx, who, call)
	if err != nil {
		return nil, err
	}
	defer x.broken()
	model, is := x.route.Pick(x.entry.Who().Name())
	x.trail.Model = is
	truth, err := model.Infer(x.calling(ctx), x.request)
	if errors.Is(err, infer.ErrUnseen) {
		return x.unseen(ctx)
	}
	if err != nil {
		x.await(ctx)
		return nil, x.Abort(err)
	}
	return x.Finish(ctx, truth)
}

// An Exchange is one request on its way through. One goroutine owns it, and ends it
// with Finish or Abort.
type Exchange struct {
	gateway *Gateway
	entry   *guard.Entry
	call    Call
	route   *route.Live
	request *tensor.Request
	hold    *intake.Hold
	holding intake.Hold  // what hold is, of tensors
	room    *tensor.Room // of what was read; the exchange's until it ends
	desk    *desk        // that it lies on; nil: on none
	papers  *intake.Papers
	trail   Trail
	kept    kept
	marks   []byte       // of the answer, if the caller were in amber; kept says if they are
	parts   []parts.Part // of what is kept, to be written before the record
	about   string       // the pseudonym of whom they are about
	retry   time.Duration
	tier    tier.Tier // how the caller stands
	past    bool      // the answer goes past us
	seen    telemetry.Exchange
	ended   bool
	random  [48]byte     // the trail's id and the salt are made of it
	whole   time.Time    // when all of the request had been read; zero: it has not been
	leave   ontime.Leave // when it leaves, on a route with a ladder

	read, answered int // bytes of bodies
}

// Begin carries a request to where the model is asked. Its record keeps what it
// keeps under the key of the call's subject. After the guard let the caller in,
// every error is a *Refusal, and the exchange has ended.
func (g *Gateway) Begin(ctx context.Context, who pavise.Principal, call Call) (*Exchange, error) {
	entry, err := g.guard.Enter(ctx, who, "model.infer", call.Model)
	if err != nil {
		g.countRefusal(call.Model, infer.NameOf(call.Protocol), err)
		return nil, err
	}
	x := takeDesk()
	x.gateway, x.entry, x.call = g, entry, call
	x.seen.Begin(ctx, g.watch, infer.NameOf(call.Protocol), entry.Began())
	entry.Detail(&x.trail)
	defer x.broken()
	err = x.begin()
	if err == nil && x.route.Predictor == nil {
		err = &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("%s is a language model", call.Model), Hint: "ask it in the OpenAI protocol: POST /v1/chat/completions"}
	}
	if err == nil {
		err = x.blind(ctx)
	}
	if err == nil {
		err = x.inbound()
	}
	if err != nil {
		return nil, x.Abort(err)
	}
	x.seen.Enter(telemetry.Infer)
	return x, nil
}

// Request is what the model is to be asked: checked, charged, and to be encoded anew.
func (x *Exchange) Request() *tensor.Request { return x.request }

// Finish carries the model's answer back to the caller, and ends the exchange. Its
// error is a *Refusal.
//
// Unguarded: Begin has entered.
func (x *Exchange) Finish(ctx context.Context, truth *tensor.Response) (*Answer, error) {
	defer x.broken()
	x.seen.Enter(telemetry.Shape)
	m, err := x.outbound(ctx, truth)
	x.answered = len(m.Body)
	heard := x.forShadow(truth, err)
	if err == nil {
		x.heard(truth)
	}
	x.await(ctx)
	if err == nil {
		err = x.keepParts(ctx)
	}
	if err = x.end(err); err == nil {
		x.route.Mirror.Hear(heard)
	}
	x.leave.Wait()
	if err != nil {
		return nil, &Refusal{entry: x.entry, err: err}
	}
	return x.answer(m), nil
}

// heard has the exchange counted by the monitor, and the detectors look at it, if there are any
// for it.
func (x *Exchange) heard(truth *tensor.Response) {
	x.gateway.monitor.Hear(monitor.Exchange{
		At: x.gateway.now(), Who: x.entry.Who().Name(), Model: x.call.Model, Version: x.route.Is, By: x.route.Which(x.trail.Model), Signature: &x.route.Signature, Asked: x.request, Said: truth,
	})
	if x.gateway.hears || x.route.Calibration != "" {
		asked, said := x.route.Ordered(x.request, truth)
		said = x.route.Filled(said, x.request.Rows())
		x.gateway.suspects.Hear(x.gateway.now(), x.entry.Who().Name(), x.call.Model, &asked, &said)
	}
}

// answer is what the caller gets, once the record is written.
func (x *Exchange) answer(m tensor.Message) *Answer {
	index, _ := x.entry.Record()
	x.desk.answer = Answer{Message: m, record: index, desk: x.desk}
	return &x.desk.answer
}

// calling is the context in which the model is asked: where the route keeps callers on
// one server each, it says whose call it is.
func (x *Exchange) calling(ctx context.Context) context.Context {
	if !x.route.PerCaller() || x.route.ONNX != "" {
		return ctx
	}
	return infer.WithCaller(ctx, x.entry.Who().Name().String())
}

// Abort ends the exchange without an answer, for the reason given, and returns the
// refusal that its caller gets.
//
// What a model server said that is none of its protocol is for the record alone.
func (x *Exchange) Abort(reason error) *Refusal {
	if said, ok := errors.AsType[*infer.Unsaid](reason); ok && !x.ended {
		x.entry.Verdict(pavise.Verdict{Check: "codec", Outcome: pavise.Deny, Reason: said.Error()})
	}
	if f := upstream.FaultOf(reason); f != nil {
		x.retry = max(x.retry, f.Wait)
	}
	refusal := &Refusal{Retry: x.retry, entry: x.entry, err: x.end(reason)}
	x.leave.Wait()
	return refusal
}

// end writes the record, once, and gives back what the exchange held. It returns why
// the exchange ended otherwise than with an answer.
func (x *Exchange) end(err error) error {
	if x.ended {
		return err
	}
	x.ended = true
	x.seen.Enter(telemetry.Record)
	x.entry.Exit(&err)
	x.count(err)
	x.hold.Free()
	x.room.Free()
	x.room, x.request = nil, nil
	return err
}

// broken, deferred, ends an exchange in which something panicked.
func (x *Exchange) broken() {
	if p := recover(); p != nil {
		x.end(fmt.Errorf("panic: %v", p))
		panic(p)
	}
}

// begin finds the route and draws what the record needs.
func (x *Exchange) begin() (err error) {
	if x.route, err = x.gateway.Routes.Find(x.call.Model); err != nil {
		return err
	}
	if x.gateway.Routes.Barred(x.call.Model) { // it was put, or barred, since the guard let them in
		return &pavise.Error{Kind: pavise.Denied, Msg: fmt.Sprintf("%s is in quarantine", x.call.Model), Hint: "pavise change list says who put it there, and why"}
	}
	if v := x.call.Version; v != "" && v != x.route.Version {
		return noVersion(x.call.Model, v)
	}
	if x.route.Durable {
		x.entry.Durable()
	}
	rand.Read(x.random[:])
	x.trail.ID, x.kept.Salt = hexOf(x.random[:16]), x.random[16:]
	x.trail.Model = x.route.Said
	return x.stand()
}

// inbound reads the request and puts it through the checks before the model.
func (x *Exchange) inbound() (err error) {
	if wrong := x.call.Wrong; wrong != nil {
		x.entry.Verdict(pavise.Verdict{Check: "codec", Outcome: pavise.Deny, Reason: wrong.Error()})
		return wrong
	}
	x.hold, x.room = &x.holding, tensor.TakeRoom()
	x.gateway.bodies.BeginIn(x.hold, x.entry.Who().Name())
	x.seen.Enter(telemetry.Read)
	if x.request, err = x.parse(); err != nil {
		check := "codec"
		if pavise.KindOf(err) != pavise.Invalid {
			check = "memory"
		}
		x.entry.Verdict(pavise.Verdict{Check: check, Outcome: pavise.Deny, Reason: err.Error()})
		return err
	}
	x.seen.Enter(telemetry.Check)
	x.trail.Rows = x.request.Rows()
	if err := x.check(x.route.Gate.Check(x.request), pavise.Invalid); err != nil {
		return err
	}
	if err := x.charge(); err != nil {
		return err
	}
	if err := x.drift(); err != nil {
		return err
	}
	sent, err := x.request.Encode(x.route.Spoken())
	if err != nil {
		return err
	}
	x.trail.Input = x.commit(sent.Body)
	return nil
}

// parse reads at most what a request that passes can need, and no more than
// there is room for. What is read, and what is made of it, takes that room until
// the exchange is over.
func (x *Exchange) parse() (*tensor.Request, error) {
	lim := x.gateway.limits
	lim.Room = x.room
	if !x.route.Observe { // the gate is to be seen refusing what it then lets pass
		lim = x.route.Gate.Limits(lim)
	}
	text, err := x.hold.ReadIn(x.papers.Text, x.call.Body, lim.MaxBody)
	if err != nil {
		return nil, err
	}
	intake.Room(&x.papers.Text, text)
	if x.read = len(text); !x.route.Ladder.IsZero() {
		x.whole = time.Now()
	}
	x.seen.Enter(telemetry.Parse)
	m := tensor.Message{Body: text, Header: x.call.Header}
	weight := lim.Weight(m)
	if x.route.Signature.Texts() { // which a body need not say
		weight *= 3
	}
	if err := x.hold.Set(weight + cap(text) - len(text)); err != nil {
		return nil, err
	}
	request, err := x.call.Protocol.ParseRequest(m, x.route.Signature, lim)
	if err == nil && request.Model != "" && request.Model != x.call.Model.ID {
		return nil, &pavise.Error{
			Kind: pavise.Invalid, Msg: fmt.Sprintf("the body names the model %.128q, and %s was asked", request.Model, x.call.Model),
			Hint: "ask under one name, or leave it out of the body",
		}
	}
	return request, err
}

// check notes a verdict and turns a denial into an error, unless the route only
// observes.
func (x *Exchange) check(v pavise.Verdict, kind pavise.Kind) error {
	v.Observed = v.Observed || v.Outcome == pavise.Deny && x.route.Observe
	x.entry.Verdict(v)
	if !v.Stops() {
		return nil
	}
	return &pavise.Error{Kind: kind, Msg: v.Reason}
}

// outbound puts the model's answer through the checks behind the model, shapes
// it and commits to it.
func (x *Exchange) outbound(ctx context.Context, truth *tensor.Response) (m tensor.Message, err error) {
	truth.Model, truth.Version, truth.ID = x.call.Model.ID, "", x.request.ID
	if err := x.check(x.route.Gate.CheckAnswer(x.request, truth), pavise.Unavailable); err != nil {
		// What the model said is for the record, not for the caller.
		return m, &pavise.Error{Kind: pavise.Unavailable, Msg: "the model answered other than its signature promises", Hint: "the operator finds what is wrong in the record", Err: err}
	}
	shaped, altered, err := x.shape(ctx, truth)
	if err != nil {
		return m, err
	}
	if m, err = x.call.Protocol.AppendResponse(x.papers.Said[:0], x.request, shaped); err != nil {
		return m, err
	}
	if x.twofold() {
		if m, err = x.level(m, shaped); err != nil {
			return m, err
		}
	}
	intake.Room(&x.papers.Said, m.Body)
	x.trail.Shape, x.trail.Output = x.route.Shaped, x.commit(m.Body)
	x.trail.Answer = x.desk.outputs[:0]
	for _, t := range shaped.Outputs {
		x.trail.Answer = append(x.trail.Answer, Output{t.Name, t.Datatype, t.Shape})
	}
	return m, x.keep(ctx, truth, altered)
}

// commit returns the hex SHA-256 of salt ‖ b: whoever is shown the salt and b
// can check it, and whoever is not learns nothing.
func (x *Exchange) commit(b []byte) string {
	h := sha256.New()
	h.Write(x.kept.Salt)
	h.Write(b)
	var sum [sha256.Size]byte
	return hexOf(h.Sum(sum[:0]))
}

// Describe is DescribeVersion of a model whose version nobody names.
//
// Unguarded: DescribeVersion enters.
func (g *Gateway) Describe(ctx context.Context, who pavise.Principal, model pavise.Name) (tensor.Signature, error) {
	d, err := g.DescribeVersion(ctx, who, model, "")
	return d.Signature, err
}

// A Description is what a model takes and gives, and the index of the record that it
// was told.
type Description struct {
	tensor.Signature
	Version string // the one that the route names; empty: the server's choice
	Record  uint64
}

// DescribeVersion returns what a model takes and gives: the verb model.describe on
// tenant/model/id. A version that the route does not name is of kind NotFound. After the
// guard let the caller in, every error is a *Refusal.
func (g *Gateway) DescribeVersion(ctx context.Context, who pavise.Principal, model pavise.Name, version string) (Description, error) {
	entry, err := g.guard.Enter(ctx, who, "model.describe", model)
	if err != nil {
		return Description{}, err
	}
	d, err := func() (d Description, err error) {
		defer entry.Exit(&err)
		l, err := g.Routes.Find(model)
		if err != nil {
			return d, err
		}
		if version != "" && version != l.Version {
			return d, noVersion(model, version)
		}
		return Description{Signature: l.Signature, Version: l.Version}, nil
	}()
	if err != nil {
		return Description{}, &Refusal{entry: entry, err: err}
	}
	d.Record, _ = entry.Record()
	return d, nil
}

// A desk is what one exchange of tensors lies on, with the answer that it ends in and
// room for the texts on the way. It serves one exchange after another: made anew for each
// they were half of what an exchange allocated, and collecting them a twentieth of its
// time. What an exchange leaves is cleared, but for its papers.
type desk struct {
	Exchange
	answer  Answer
	outputs [2]Output // of the trail, as most models have no more
	shaped  firewall.Shaped
	amber   firewall.Shaped // the same, of the answer to a caller in amber
	blank   []byte          // an answer without its numbers
	papers  intake.Papers
}

var desks = sync.Pool{New: func() any { return &desk{papers: *intake.NewPapers()} }}

// takeDesk returns an exchange on a clear desk.
func takeDesk() *Exchange {
	d := desks.Get().(*desk)
	d.Exchange.desk, d.Exchange.papers = d, &d.papers
	return &d.Exchange
}

// free clears the desk for the next exchange. Nothing on it is used any more.
func (d *desk) free() {
	d.entry.Free()
	d.shaped.Clear()
	d.amber.Clear()
	d.Exchange, d.answer, d.outputs = Exchange{}, Answer{}, [2]Output{}
	desks.Put(d)
}
