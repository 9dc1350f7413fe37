package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/chat"
	"github.com/pavise/pavise/internal/embedding"
	"github.com/pavise/pavise/internal/firewall"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/infer"
	"github.com/pavise/pavise/internal/intake"
	"github.com/pavise/pavise/internal/prompt"
	"github.com/pavise/pavise/internal/telemetry"
	"github.com/pavise/pavise/internal/tensor"
)

// A ChatTrail is what the record of a language model's answer says, in addition to
// what a Trail says of any.
type ChatTrail struct {
	*Trail
	API       chat.API      `json:"api"`
	Tier      firewall.Tier `json:"tier,omitempty"`       // how far the route trusts the caller
	TokensIn  int64         `json:"tokens_in,omitempty"`  // as the model server counts
	TokensOut int64         `json:"tokens_out,omitempty"` // likewise
	Events    int           `json:"events,omitempty"`     // of a streamed answer, as the caller got them
	Coverage  float64       `json:"coverage,omitempty"`   // what share of a model's embeddings the caller has covered so far, where that counts
}

// A ChatCall is what somebody asks of a language model, as a transport brought it.
// Which model that is, the body says: one of the caller's own tenant.
type ChatCall struct {
	API     chat.API
	Subject string // whose data it holds, for the caller to say; empty: the caller's own
	Body    io.Reader
	Wrong   error // as in a Call
}

// A ChatAnswer is what a caller of a language model gets.
type ChatAnswer struct {
	Body   []byte // the protocol's JSON
	Fields string // what was done to the request and the answer, as firewall.Changes says it
	Record uint64 // that proves it, which was written before
	of     *ChatExchange
}

// A ChatExchange is one request to a language model on its way through. One goroutine
// owns it, and ends it with Answer or Stream.
type ChatExchange struct {
	Exchange
	said    ChatTrail
	ask     *chat.Request
	body    []byte     // as the model server gets it
	inputs  [][32]byte // digests of what is embedded, where its noise depends on it
	changes firewall.Changes
	answer  ChatAnswer
	prints  *prompt.Prints // of what the request tells the model, if answers are compared with that
}

// unnamed stands in records for the model of a request that names none that could be
// one.
const unnamed = "unnamed"

// BeginChat carries a request to where the model is asked. After the guard let the
// caller in, every error is a *Refusal, and the exchange has ended.
//
// Unguarded: it enters, as model.infer on tenant/model/id, as soon as it has read which
// model is asked. What it reads until then is bounded and held on the caller's account.
func (g *Gateway) BeginChat(ctx context.Context, who pavise.Principal, call ChatCall) (*ChatExchange, error) {
	x := chats.Get().(*ChatExchange)
	x.papers = intake.TakePapers()
	g.bodies.BeginIn(&x.holding, who.Name())
	x.hold = &x.holding
	request, wrong := x.readChat(call)
	x.whole = time.Now()
	model := pavise.Name{Tenant: who.Tenant, Kind: "model", ID: unnamed}
	if f, ok := errors.AsType[*chat.Fault](wrong); ok && f.Model != "" {
		model.ID = f.Model
	} else if request != nil {
		model.ID = request.Model()
	}
	if model.Validate() != nil {
		if wrong == nil {
			wrong = chat.NoName(model.ID)
		}
		model.ID = unnamed
	}
	model.ID = strings.Clone(model.ID) // else the record would hold on to the whole body
	var entry *guard.Entry
	var err error
	if model.ID == unnamed { // a policy on that name would not help
		entry, err = guard.Attempt{Check: "codec", Why: wrong}.Enter(ctx, g.guard, who, "model.infer", model)
	} else {
		entry, err = g.guard.Enter(ctx, who, "model.infer", model)
	}
	if err != nil {
		x.hold.Free()
		g.countRefusal(model, tensor.NameOpenAI, err)
		return nil, err
	}
	x.gateway, x.entry, x.call, x.ask = g, entry, Call{Model: model, Subject: call.Subject}, request
	x.said = ChatTrail{Trail: &x.trail, API: call.API}
	x.seen.Begin(ctx, g.watch, tensor.NameOpenAI, entry.Began())
	x.seen.Language(acts[call.API])
	x.seen.Enter(telemetry.Check)
	entry.Detail(&x.said)
	defer x.broken()
	if err := x.enter(ctx, wrong); err != nil {
		return nil, x.Abort(err)
	}
	x.seen.Enter(telemetry.Infer)
	return x, nil
}

// acts are what OpenTelemetry's conventions for generative models call the operations.
var acts = map[chat.API]string{chat.Chat: "chat", chat.Responses: "chat", chat.Completions: "text_completion", chat.Embeddings: "embeddings"}

// readChat reads a request, and what is made of it, on the caller's account.
func (x *ChatExchange) readChat(call ChatCall) (*chat.Request, error) {
	if call.Wrong != nil {
		return nil, call.Wrong
	}
	lim := chat.DefaultLimits()
	text, err := x.hold.ReadIn(x.papers.Text, call.Body, lim.MaxBody)
	if x.read = len(text); err != nil {
		return nil, err
	}
	intake.Room(&x.papers.Text, text)
	counted := chat.Count(text, lim)
	if err := x.hold.Set(counted.Weight()); err != nil {
		return nil, err
	}
	return counted.ParseRequest(call.API)
}

// enter puts the request through the checks before the model.
func (x *ChatExchange) enter(ctx context.Context, wrong error) error {
	if wrong != nil {
		return x.misread(wrong)
	}
	if err := x.begin(); err != nil {
		return err
	}
	if x.route.Chat == nil {
		return &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("%s is no language model", x.call.Model), Hint: "ask it in the Open Inference Protocol: POST /v2/models/{model}/infer"}
	}
	if err := x.blind(ctx); err != nil {
		return err
	}
	if err := x.admitted(); err != nil {
		return err
	}
	if err := x.charge(); err != nil {
		return err
	}
	if err := x.looked(ctx); err != nil {
		return err
	}
	x.readied()
	return nil
}

// misread is the error of a request that could not be read, with the check that says so.
func (x *ChatExchange) misread(wrong error) error {
	check := "codec"
	if kind := pavise.KindOf(wrong); kind != pavise.Invalid && kind != pavise.NotFound {
		check = "memory"
	}
	x.entry.Verdict(pavise.Verdict{Check: check, Outcome: pavise.Deny, Reason: wrong.Error()})
	return wrong
}

// admitted refuses a request that asks for too many answers, for fields that are not for its
// caller, or for more memory than there is.
func (x *ChatExchange) admitted() error {
	x.said.Tier = x.route.Fields.Tier(*x.entry.Who())
	x.trail.Rows = x.ask.Rows()
	if x.trail.Rows > x.route.MaxRows {
		why := fmt.Sprintf("%d answers in one request; the limit is %d", x.trail.Rows, x.route.MaxRows)
		if err := x.check(pavise.Verdict{Check: "gate", Outcome: pavise.Deny, Reason: why}, pavise.Invalid); err != nil {
			return err
		}
	}
	if err := x.allowed(); err != nil {
		return err
	}
	err := x.hold.Set(x.ask.Weight()) // with what will be written
	if err != nil {
		x.entry.Verdict(pavise.Verdict{Check: "memory", Outcome: pavise.Deny, Reason: err.Error()})
	}
	return err
}

// readied makes of the request what the model gets, and keeps no more of it than is needed.
func (x *ChatExchange) readied() {
	salt := "" // a MAC of its own, which most routes have no use for
	if x.route.Fields.CacheSalt {
		salt = firewall.CacheSalt(x.gateway.salt[:], x.call.Model.Tenant)
	}
	x.changes = x.route.Fields.Change(x.said.Tier, x.ask, salt)
	if x.ask.Stream() { // its body may be on its way yet when it is answered, and thousands wait for answers at once
		x.papers.Free()
		x.papers = nil
		x.body = x.route.Chat.Encode(x.ask, nil)
	} else {
		x.body = x.route.Chat.Encode(x.ask, x.papers.Own)
		intake.Room(&x.papers.Own, x.body)
	}
	x.trail.Input = x.commit(x.body)
	if x.said.API == chat.Embeddings && x.route.Embeddings.Noise != (embedding.Noise{}) {
		x.inputs = x.ask.InputDigests()
	}
	// From here on the model has the time, and it may take long: what is kept meanwhile is
	// the text for it and an outline, and no more is held against everybody's room.
	x.ask = x.ask.Outline()
	_ = x.hold.Set(min(x.hold.Held(), x.ask.Size()+len(x.body)+x.prints.Size())) // less is never refused
}

// allowed refuses fields that are not for callers of the tier. One that passes leaves
// its verdict at the end, when all changes are known.
func (x *ChatExchange) allowed() error {
	verdict, field := x.route.Fields.Check(x.said.Tier, x.ask)
	if verdict.Outcome != pavise.Deny {
		return nil
	}
	err := x.check(verdict, pavise.Invalid)
	if e, ok := errors.AsType[*pavise.Error](err); ok {
		e.Hint = "leave it out; the route's owner says who may use it, by role"
		return &chat.Fault{Param: field, Err: e}
	}
	return err
}

// Streams reports whether the caller asked for a stream.
func (x *ChatExchange) Streams() bool { return x.ask.Stream() }

// Fields says what was done to the request, as firewall.Changes says it.
func (x *ChatExchange) Fields() string { return x.changes.String() }

// Answer asks the model for a whole answer, and ends the exchange. Its error is a
// *Refusal.
//
// Unguarded: BeginChat has entered.
func (x *ChatExchange) Answer(ctx context.Context) (*ChatAnswer, error) {
	defer x.broken()
	answer, err := x.route.Chat.Ask(x.calling(ctx), x.ask, x.body)
	if err != nil {
		x.await(ctx)
		return nil, x.Abort(x.blame(ctx, err))
	}
	x.seen.Enter(telemetry.Shape)
	x.changes.Remove(x.route.Fields.Outbound(x.said.Tier, &answer.Document))
	x.entry.Verdict(x.changes.Verdict())
	x.took(&answer.Document)
	if err := x.clean(answer); err != nil {
		x.await(ctx)
		return nil, x.Abort(err)
	}
	if err := x.embed(answer); err != nil {
		x.await(ctx)
		return nil, x.Abort(err)
	}
	out := answer.AppendJSON(slices.Grow(x.papers.Said[:0], answer.Written()))
	intake.Room(&x.papers.Said, out)
	x.trail.Output, x.answered = x.commit(out), len(out)
	err = x.keep(ctx, nil, false)
	x.await(ctx)
	err = x.end(err)
	x.leave.Wait()
	if err != nil {
		return nil, &Refusal{entry: x.entry, err: err}
	}
	index, _ := x.entry.Record()
	x.answer = ChatAnswer{Body: out, Fields: x.fields(), Record: index, of: x}
	return &x.answer, nil
}

// chats are exchanges that nobody uses.
var chats = sync.Pool{New: func() any { return new(ChatExchange) }}

// Free gives the memory of the answer, and of its exchange, to the next one, as
// Answer.Free does.
func (a *ChatAnswer) Free() {
	x := a.of
	x.entry.Free()
	x.papers.Free()
	*x = ChatExchange{}
	chats.Put(x)
}

// fields says what was done, to the vectors of embeddings, too.
func (x *ChatExchange) fields() string {
	said := x.changes.String()
	if x.said.API != chat.Embeddings || x.route.Embeddings.Rotate == 0 {
		return said
	}
	if said != "" {
		said += "; "
	}
	return fmt.Sprintf("%srotated=%d", said, x.route.Embeddings.Rotate)
}

// took notes the tokens that an answer or event says it took, if it does.
func (x *ChatExchange) took(d *chat.Document) {
	if in, out := d.Tokens(); in+out > 0 {
		x.said.TokensIn, x.said.TokensOut = in, out
		x.seen.Tokens(int(in), int(out))
	}
}

// blame says whose fault it was that there is no answer: what a model server did wrong
// is for the record, and a caller who went away is to blame for what broke off then.
func (x *ChatExchange) blame(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return &pavise.Error{Kind: pavise.Unavailable, Msg: "the caller went away before the answer ended", Hint: "ask again, and wait for the answer", Err: err}
	}
	if _, ok := errors.AsType[*Withheld](err); ok {
		return err
	}
	if f, ok := errors.AsType[*chat.Fault](err); ok {
		x.entry.Verdict(pavise.Verdict{Check: "codec", Outcome: pavise.Deny, Reason: "the model server's answer: " + f.Err.Msg})
		return &pavise.Error{Kind: pavise.Unavailable, Msg: "the model server answered other than the protocol says", Hint: "the operator finds what is wrong in the record", Err: err}
	}
	if said, ok := errors.AsType[*infer.Unsaid](err); ok {
		x.entry.Verdict(pavise.Verdict{Check: "codec", Outcome: pavise.Deny, Reason: said.Error()})
	}
	return err
}

// Models returns the language models of the caller's tenant that they may ask, by
// name, and the index of the record: the verb model.describe on tenant/model/all.
func (g *Gateway) Models(ctx context.Context, who pavise.Principal) (names []string, index uint64, err error) {
	entry, err := g.guard.Enter(ctx, who, "model.describe", pavise.Name{Tenant: who.Tenant, Kind: "model", ID: "all"})
	if err != nil {
		return nil, 0, err
	}
	defer func() { index, _ = entry.Record() }() // behind Exit
	defer entry.Exit(&err)
	for l := range g.Routes.All() {
		if l.Model.Tenant == who.Tenant && l.Chat != nil && g.guard.May(who, "model.infer", l.Model) {
			names = append(names, l.Model.ID)
		}
	}
	slices.Sort(names)
	return names, 0, nil
}

// DescribeChat reports whether a language model is there: the verb model.describe on
// tenant/model/id. It returns the index of the record. After the guard let the caller in, every error is a *Refusal.
func (g *Gateway) DescribeChat(ctx context.Context, who pavise.Principal, model pavise.Name) (index uint64, err error) {
	entry, err := g.guard.Enter(ctx, who, "model.describe", model)
	if err != nil {
		return 0, err
	}
	err = func() (err error) {
		defer entry.Exit(&err)
		l, err := g.Routes.Find(model)
		if err == nil && l.Chat == nil {
			err = &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("%s is no language model", model)}
		}
		return err
	}()
	if err != nil {
		return 0, &Refusal{entry: entry, err: err}
	}
	index, _ = entry.Record()
	return index, nil
}
