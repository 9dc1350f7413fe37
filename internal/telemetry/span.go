package telemetry

import (
	"net/http"
	"strings"
	"time"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/pavise/pavise"
)

// A span is one that has ended, before it is told.
type span struct {
	id, parent SpanID
	name       string
	kind       tracepb.Span_SpanKind
	began      time.Time
	took       time.Duration
	bad        string // the kind of the error that it ended with; empty: none
	attributes []*commonpb.KeyValue
	events     []*tracepb.Span_Event
}

// span adds what an exchange was to its trace: one span for the whole, with the checks'
// words as its events, and one for each part.
func (x *Exchange) span(model *Model, err error, verdicts []pavise.Verdict, e Evidence) {
	if !x.trace.sampledNow() {
		return
	}
	act := "infer"
	whole := span{id: newSpanID(), parent: x.trace.own, kind: tracepb.Span_SPAN_KIND_INTERNAL, began: x.began, took: x.at, attributes: []*commonpb.KeyValue{
		text(labelProtocol, protocols[x.protocol]), text(labelOutcome, outcomeName(outcomeOf(err))),
		number("pavise.rows", x.rows), number("pavise.charged", x.charged),
	}}
	if e.Written {
		whole.attributes = append(whole.attributes, number("pavise.record", int(e.Record)))
	}
	if x.operation >= 0 {
		act = operations[x.operation]
		whole.attributes = append(whole.attributes, text(labelAct, act), text(labelProvider, provider), text(labelAsked, model.id),
			number("gen_ai.usage.input_tokens", x.tokens[0]), number("gen_ai.usage.output_tokens", x.tokens[1]))
	} else {
		whole.attributes = append(whole.attributes, text(labelModel, model.id))
	}
	whole.name = act + " " + model.id
	if err != nil {
		whole.bad = pavise.KindOf(err).String()
	}
	for _, v := range verdicts {
		word := string(v.Outcome)
		if v.Observed {
			word = "observed"
		}
		whole.events = append(whole.events, &tracepb.Span_Event{
			TimeUnixNano: nanos(x.began.Add(x.at)), Name: "verdict",
			Attributes: []*commonpb.KeyValue{text(labelCheck, checks[place(checks[:], v.Check)]), text(labelVerdict, words[place(words[:], word)])},
		})
	}
	x.trace.spans = append(x.trace.spans, whole)
	x.partSpans(whole.id)
}

// partSpans adds the parts, one behind the other as they ran.
func (x *Exchange) partSpans(parent SpanID) {
	at := x.began
	for p, took := range x.took {
		if took == 0 {
			continue
		}
		part := span{id: newSpanID(), parent: parent, name: partNames[p], kind: tracepb.Span_SPAN_KIND_INTERNAL, began: at, took: took}
		if Part(p) == Infer {
			part.id, part.kind = x.trace.call, tracepb.Span_SPAN_KIND_CLIENT
		}
		x.trace.spans = append(x.trace.spans, part)
		at = at.Add(took)
	}
}

// end adds the door's own span and hands the trace to whoever sends it.
func (t *traces) end(trace *Trace, r *http.Request, status int, began time.Time) {
	if t == nil || !trace.sampledNow() {
		return
	}
	_, route, found := strings.Cut(r.Pattern, " ")
	if !found {
		route = r.Pattern
	}
	method := methods[place(methods[:], r.Method)]
	whole := span{
		id: trace.own, name: strings.TrimSpace(method + " " + route), kind: tracepb.Span_SPAN_KIND_SERVER, began: began, took: time.Since(began),
		attributes: []*commonpb.KeyValue{text(labelMethod, method), number(labelStatus, status)},
	}
	if route != "" {
		whole.attributes = append(whole.attributes, text(labelRoute, route))
	}
	if status >= 500 {
		whole.bad = "5xx"
	}
	if !trace.linked {
		whole.parent = trace.caller.Span
	}
	trace.spans = append(trace.spans, whole)
	t.enqueue(trace)
}

// proto spells the spans of a trace as OTLP does.
func (t *Trace) proto() (all []*tracepb.Span) {
	for i, s := range t.spans {
		p := &tracepb.Span{
			TraceId: t.ID[:], SpanId: s.id[:], Name: s.name, Kind: s.kind, Flags: 1,
			StartTimeUnixNano: nanos(s.began), EndTimeUnixNano: nanos(s.began.Add(s.took)),
			Attributes: s.attributes, Events: s.events,
		}
		if s.parent != (SpanID{}) {
			p.ParentSpanId = t.spans[i].parent[:]
		}
		if s.bad != "" {
			p.Status = &tracepb.Status{Code: tracepb.Status_STATUS_CODE_ERROR}
			p.Attributes = append(p.Attributes, text(labelError, s.bad))
		}
		if s.id == t.own && t.linked && t.caller != (Parent{}) {
			p.Links = []*tracepb.Span_Link{{TraceId: t.caller.Trace[:], SpanId: t.caller.Span[:]}}
		}
		all = append(all, p)
	}
	return all
}

func nanos(t time.Time) uint64 { return uint64(max(t.UnixNano(), 0)) }

func text(key, value string) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: key, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: value}}}
}

func number(key string, value int) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: key, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: int64(value)}}}
}
