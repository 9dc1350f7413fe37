package ticket

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/hook"
	"github.com/pavise/pavise/internal/outbound"
)

// A pagerDutyTool is a service of PagerDuty, told by its Events API v2. It is paged for
// what somebody should look at now: an act that was run before anybody approved it, a
// change that nobody looks at, one that is contested. Every event of a change has its mark
// as the key by which PagerDuty knows it again.
type pagerDutyTool struct{ *wire }

// pages says how bad a step is, and whether somebody is paged for it.
func pages(s step) (severity string, yes bool) {
	switch {
	case s.Sort == stepBroken, s.Sort == stepEnded && s.State == change.Contested:
		return "critical", true
	case s.Sort == stepRan, s.Sort == stepUnseen:
		return "warning", true
	}
	return "", false
}

func (p *pagerDutyTool) open(_ context.Context, s step) (ticket, error) {
	mark := p.marks.ticket(s.Change)
	return ticket{ID: mark, Name: mark}, nil
}

func (p *pagerDutyTool) tell(ctx context.Context, t ticket, s step, _ bool) error {
	severity, yes := pages(s)
	switch {
	case yes:
		return p.send(ctx, "trigger", t.ID, severity, s)
	case s.Sort == stepEnded:
		return p.send(ctx, "resolve", t.ID, "info", s)
	}
	return nil
}

func (p *pagerDutyTool) words(context.Context, ticket, step) ([]word, error) { return nil, nil }

func (p *pagerDutyTool) send(ctx context.Context, action, key, severity string, s step) error {
	body := map[string]any{"routing_key": p.target.Secret, "event_action": action, "dedup_key": key}
	if action == "trigger" {
		body["client"] = "Pavise"
		body["payload"] = map[string]any{
			"summary": clean(s.Change.ID+": "+s.Text, 1000), "source": "pavise/" + s.Change.Tenant, "severity": severity, "timestamp": s.At.Format(time.RFC3339),
			"component": s.On.String(), "class": s.Verb, "custom_details": map[string]string{"change": s.Change.String(), "digest": s.Digest, "state": string(s.State)},
		}
	}
	return p.Ask(ctx, outbound.Question{Method: http.MethodPost, Path: []string{"v2", "enqueue"}, Body: body})
}

// Probe implements prober.
func (p *pagerDutyTool) Probe(ctx context.Context) error {
	test := step{Change: pavise.Name{ID: "test"}, Text: "this is a test: somebody asked whether changes arrive here", At: p.now().UTC()}
	key := "pavise-test-" + p.marks.of("test", p.marks.tool.name)[:12]
	if err := p.send(ctx, "trigger", key, "info", test); err != nil {
		return err
	}
	return p.send(ctx, "resolve", key, "info", test)
}

// An eventTool takes each step as one message, signed in the manner of Standard Webhooks.
// Who gets a message twice can tell by its id.
type eventTool struct {
	*wire
	spell func(source, id string, s step) []message
	media string // of messages
}

// A message is one that an eventTool sends. Its id is the same whenever it is sent.
type message struct {
	id   string
	body any
}

func (e *eventTool) open(ctx context.Context, s step) (ticket, error) {
	mark := e.marks.ticket(s.Change)
	return ticket{ID: mark, Name: mark}, e.send(ctx, s)
}

func (e *eventTool) tell(ctx context.Context, _ ticket, s step, _ bool) error { return e.send(ctx, s) }

func (e *eventTool) words(context.Context, ticket, step) ([]word, error) { return nil, nil }

// send sends all messages of a step, in order: where one is not taken, all come again.
func (e *eventTool) send(ctx context.Context, s step) error {
	id := strings.TrimPrefix(e.marks.step(s), "pavise:")
	for _, m := range e.spell("/pavise/"+s.Change.Tenant, id, s) {
		body, err := json.Marshal(m.body)
		if err != nil {
			return fmt.Errorf("encode a step of %s: %w", s.Change, err)
		}
		at, signed := hook.Headers(e.target.Keys, m.id, e.now(), body)
		err = e.Ask(ctx, outbound.Question{Method: http.MethodPost, Raw: body, Header: map[string]string{
			"Content-Type": e.media, "Webhook-Id": m.id, "Webhook-Timestamp": at, "Webhook-Signature": signed,
		}})
		if err != nil {
			return err
		}
	}
	return nil
}

// Probe implements prober.
func (e *eventTool) Probe(ctx context.Context) error {
	return e.send(ctx, step{
		Change: pavise.Name{Tenant: e.marks.tool.tenant, Kind: "change", ID: "test"}, Key: "test:" + e.now().UTC().Format(time.RFC3339Nano), Sort: stepTested, At: e.now().UTC(),
		Text: "this is a test: somebody asked whether changes arrive here",
	})
}

// plainEvent is a step as the data of a Standard Webhook.
func plainEvent(_, id string, s step) []message {
	return []message{{id, map[string]any{"type": "change." + s.Sort, "timestamp": s.At.UTC().Format(time.RFC3339), "data": s}}}
}
