package siem

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/hook"
	"github.com/pavise/pavise/internal/outbound"
	"github.com/pavise/pavise/internal/store"
)

// maxAnswer is how much of an answer's body is read and thrown away, in bytes.
const maxAnswer = 64 << 10

// A delivery is how one attempt ended.
type delivery struct {
	status int           // of the answer; 0: none came
	why    string        // what was wrong, for people; never the address, which may be a secret
	gone   bool          // the receiver wants nothing any more
	after  time.Duration // when the receiver wants to be asked again; 0: it does not say
}

func (d delivery) ok() bool { return d.why == "" }

// send makes one attempt.
func send(ctx context.Context, client *http.Client, e *target, id string, now time.Time, body []byte) delivery {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.URL, bytes.NewReader(body))
	if err != nil {
		return delivery{why: "the address is none"}
	}
	stamp, signed := hook.Headers(e.Keys, id, now, body)
	req.Header = http.Header{
		"Content-Type": {"application/json"}, "User-Agent": {"pavise"},
		// In small letters, as the standard writes them; to HTTP they are the same.
		"Webhook-Id": {id}, "Webhook-Timestamp": {stamp}, "Webhook-Signature": {signed},
	}
	answer, err := client.Do(req)
	if err != nil {
		return delivery{why: outbound.Unreached(err)}
	}
	defer answer.Body.Close()
	io.Copy(io.Discard, io.LimitReader(answer.Body, maxAnswer)) // so that the connection can be used again
	d := delivery{status: answer.StatusCode}
	switch {
	case d.status/100 == 2:
	case d.status == http.StatusGone:
		d.gone, d.why = true, "it answered 410: it wants no findings any more"
	case d.status/100 == 3:
		d.why = fmt.Sprintf("it answered %d: redirects are not followed", d.status)
	default:
		d.why = fmt.Sprintf("it answered %d", d.status)
	}
	d.after = outbound.After(answer.Header)
	return d
}

// A webhook is the sink of one endpoint. Its owner is one goroutine.
type webhook struct {
	wires  *Wires
	row    row
	client *http.Client // nil: not made yet
}

// attempt sends a telling, once.
func (h *webhook) attempt(ctx context.Context, t telling) delivery {
	if h.client == nil {
		u, err := h.wires.reach.Address(h.row.URL)
		if err != nil {
			return delivery{why: err.Error()} // it was put by an installation that allowed it
		}
		h.client = h.wires.reach.Client(u, h.wires.cfg.Roots)
	}
	return send(ctx, h.client, &h.row.target, h.wires.spell.id(t), h.wires.cfg.Now(), h.wires.spell.body(t))
}

func (h *webhook) close() {
	if h.client != nil {
		h.client.CloseIdleConnections()
	}
}

// tell sends a batch in order, each as often as it takes. The error is the context's, or
// errGone when the receiver wants nothing any more.
func (h *webhook) tell(ctx context.Context, s *state, batch []telling) error {
	for _, t := range batch {
		for {
			d := h.attempt(ctx, t)
			if d.ok() {
				s.worked(1)
				break
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if d.gone {
				return h.gone(ctx)
			}
			if err := h.wait(ctx, s, d); err != nil {
				return err
			}
		}
	}
	return nil
}

// wait waits before the next attempt. A receiver that has taken nothing for long is a
// finding, once.
func (h *webhook) wait(ctx context.Context, s *state, d delivery) error {
	now := h.wires.cfg.Now()
	failed, since := s.failing(d.why, now)
	if s.silent(now) {
		h.note(ctx, KindUnreachable, fmt.Sprintf("the receiver %s has taken no finding since %s: %s", h.row.name, since.UTC().Format(time.RFC3339), d.why))
	}
	select {
	case <-time.After(h.wires.pause(failed, d.after)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// gone notes that the receiver wants nothing any more. Where it was is kept: once it is
// put again, it is told what came in between.
func (h *webhook) gone(ctx context.Context) error {
	h.note(ctx, KindDisabled, fmt.Sprintf("the receiver %s answered 410 and is sent no more findings", h.row.name))
	h.row.gone = h.wires.cfg.Now().UTC()
	err := h.wires.cfg.Store.Update(context.WithoutCancel(ctx), func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE siem_endpoints SET gone = ? WHERE tenant = ? AND name = ?`, h.row.gone.Unix(), h.row.tenant, h.row.name)
		return err
	})
	if err != nil {
		return err
	}
	return errGone
}

// note leaves a finding about the endpoint, which others are told of. What cannot be
// recorded is said to the operator all the same.
func (h *webhook) note(ctx context.Context, kind, summary string) {
	on := thing(h.row.tenant, h.row.name)
	detail := struct {
		Finding pavise.Finding `json:"finding"`
	}{pavise.Finding{Kind: kind, Severity: pavise.Warning, On: on, Summary: summary, At: h.wires.cfg.Now().UTC()}}
	err := h.wires.cfg.Guard.Note(context.WithoutCancel(ctx), kind, nil, on, detail)
	h.wires.cfg.Say("warning", &pavise.Error{Kind: pavise.Unavailable, Msg: summary, Hint: "pavise siem list says how each receiver fares", Err: err})
}
