package telemetry

import (
	"context"
	"time"

	"github.com/pavise/pavise"
)

// A Part is one leg of a request's way.
type Part int

// The parts, in the order in which a request passes them.
const (
	Guard  Part = iota // may they?
	Read               // until the body is there
	Parse              // into the exchange
	Check              // the gate, and the budget
	Infer              // the model, or its server
	Shape              // what the caller gets
	Hold               // until its rung on the route's ladder
	Record             // until it is written down
	partCount
)

// partNames are the parts as labels. Index: Part.
var partNames = [partCount]string{"guard", "read", "parse", "check", "model", "shape", "hold", "record"}

// An Exchange measures one request on its way through the pipeline. Its zero value does
// nothing; Begin starts it and End counts it. One goroutine owns it.
type Exchange struct {
	meter    *Meter
	model    *Model // nil: none yet
	protocol int
	trace    *Trace // nil: it has none
	began    time.Time
	at       time.Duration // since then: where the part under way began
	part     Part
	took     [partCount]time.Duration

	rows, charged int
	in, out       int
	operation     int           // of a language model; -1: it is none
	first         time.Duration // until the first token; 0: it is not told
	tokens        [2]int        // in, out
	calls         bool          // the model was called
	late          bool          // it ended above the top of its route's ladder
}

// Begin starts to measure a request that began at a time, in a protocol by the name
// that routes give it. The first part is Guard.
func (x *Exchange) Begin(ctx context.Context, m *Meter, protocol string, began time.Time) {
	if m == nil {
		return
	}
	m.active.Add(1)
	*x = Exchange{meter: m, protocol: place(protocols[:], protocol), began: began, operation: -1, trace: traceOf(ctx)}
}

// Enter ends the part under way, and begins another.
func (x *Exchange) Enter(p Part) {
	if x.meter == nil {
		return
	}
	now := time.Since(x.began)
	x.took[x.part] += now - x.at
	x.at, x.part = now, p
	x.calls = x.calls || p == Infer
}

// Model says which model is asked: the one of a route that was found.
func (x *Exchange) Model(m *Model) { x.model = m }

// Rows says how many rows were asked, and how many of them charged.
func (x *Exchange) Rows(asked, charged int) { x.rows, x.charged = asked, charged }

// Bytes says how many bytes were read from the caller and how many are answered.
func (x *Exchange) Bytes(in, out int) { x.in, x.out = in, out }

// Language says that a language model is asked, and for what: chat, text_completion or
// embeddings.
func (x *Exchange) Language(operation string) { x.operation = place(operations[:], operation) }

// Late says that the request ends above the top of its route's ladder.
func (x *Exchange) Late() { x.late = true }

// First says that the first token is there.
func (x *Exchange) First() {
	if x.meter != nil && x.first == 0 {
		x.first = max(time.Since(x.began), 1)
	}
}

// Tokens says how many tokens the server counted, in and out.
func (x *Exchange) Tokens(in, out int) { x.tokens = [2]int{in, out} }

// End counts the request, as it ended, with what the checks said and the record that
// proves it. written is false where there is none. It comes after the record, once.
func (x *Exchange) End(err error, verdicts []pavise.Verdict, record uint64, written bool) {
	m := x.meter
	if m == nil {
		return
	}
	x.Enter(x.part)
	m.active.Add(-1)
	e := Evidence{Record: record, Written: written}
	if x.trace.sampledNow() {
		e.Trace = x.trace.ID
	}
	// The wall clock is read once for all exemplars, by the monotonic one.
	now := x.began.UnixNano() + int64(x.at)
	outcome := outcomeOf(err)
	m.durations[x.protocol].observe(int64(x.at), e, now)
	for p, took := range x.took {
		if took > 0 {
			m.parts[p].observe(int64(took), e, now)
		}
	}
	for _, v := range verdicts {
		m.verdict(v, e, now)
	}
	model := x.model
	if model == nil {
		model = m.none
	}
	model.requests[x.protocol][outcome].add(1, e, now)
	model.asked.n.Add(uint64(max(x.rows, 0)))
	model.charged.add(uint64(max(x.charged, 0)), e, now)
	if x.late {
		model.late.add(1, e, now)
	}
	model.in.n.Add(uint64(max(x.in, 0)))
	model.out.n.Add(uint64(max(x.out, 0)))
	if x.operation >= 0 {
		x.endLanguage(model, outcome, e, now)
	}
	x.span(model, err, verdicts, e)
	x.meter = nil
}

// endLanguage counts what is said of language models only.
func (x *Exchange) endLanguage(model *Model, outcome int, e Evidence, now int64) {
	l := model.language(x.operation)
	l.server[outcome].observe(int64(x.at), e, now)
	if x.calls {
		l.client[outcome].observe(int64(x.took[Infer]), e, now)
	}
	for i, n := range x.tokens {
		if n > 0 {
			l.tokens[i].observe(int64(n), e, now)
		}
	}
	if outcome != 0 || x.first == 0 {
		return
	}
	l.first.observe(int64(x.first), e, now)
	if rest := x.tokens[1] - 1; rest > 0 {
		l.next.observe(int64(x.at-x.first)/int64(rest), e, now)
	}
}

// Refused counts a request that the guard did not let in. model is nil where none was
// found.
func (m *Meter) Refused(model *Model, protocol string, err error, record uint64, written bool) {
	if m == nil {
		return
	}
	if model == nil {
		model = m.none
	}
	e, now := Evidence{Record: record, Written: written}, time.Now().UnixNano()
	model.requests[place(protocols[:], protocol)][outcomeOf(err)].add(1, e, now)
	m.verdict(pavise.Verdict{Check: "guard", Outcome: pavise.Deny}, e, now)
}

// verdict counts what a check said.
func (m *Meter) verdict(v pavise.Verdict, e Evidence, now int64) {
	word := string(v.Outcome)
	if v.Observed {
		word = "observed"
	}
	m.verdicts[place(checks[:], v.Check)][place(words[:], word)].add(1, e, now)
}
