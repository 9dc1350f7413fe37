package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/edge"
	"github.com/pavise/pavise/internal/evidence"
)

// An answer is what the model's door said.
type answer struct {
	status int
	record *uint64       // the record that it names, if it does
	said   string        // why it was refused
	after  time.Duration // when to come back, if it says so
	scores [][]float64   // by row: the probability of each class
}

// decision is how it ended, as an act tells it.
func (a answer) decision() string {
	if a.status == http.StatusOK {
		return Allowed
	}
	return Denied
}

// door is where the model is asked.
func (p *play) door() string { return p.cfg.Server + "/v2/models/" + model + "/infer" }

// ask asks the model with a token.
func (p *play) ask(ctx context.Context, token string, body []byte) (answer, error) {
	return p.askWith(ctx, http.Header{"Authorization": {"Bearer " + token}}, body)
}

// askWith asks the model with a header. The error says that no answer came.
func (p *play) askWith(ctx context.Context, header http.Header, body []byte) (a answer, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.door(), bytes.NewReader(body))
	if err != nil {
		return a, fmt.Errorf("ask the model: %w", err)
	}
	req.Header = header.Clone()
	req.Header.Set("Content-Type", "application/json")
	resp, err := p.http.Do(req)
	if err != nil {
		return a, &pavise.Error{Kind: pavise.Unavailable, Msg: "the server does not answer", Hint: "is pavise still up?", Err: err}
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return a, &pavise.Error{Kind: pavise.Unavailable, Msg: "the server's answer broke off", Hint: "is pavise still up?", Err: err}
	}
	return read(resp, text), nil
}

// read reads an answer.
func read(resp *http.Response, text []byte) (a answer) {
	a.status = resp.StatusCode
	if n, err := strconv.ParseUint(resp.Header.Get(edge.RecordHeader), 10, 64); err == nil {
		a.record = &n
	}
	if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil {
		a.after = time.Duration(n) * time.Second
	}
	var body struct {
		Error   string `json:"error"`
		Outputs []struct {
			Shape []int     `json:"shape"`
			Data  []float64 `json:"data"`
		} `json:"outputs"`
	}
	if json.Unmarshal(text, &body) != nil {
		return a
	}
	a.said, _, _ = strings.Cut(body.Error, "; ") // what follows is what to do next
	if len(body.Outputs) == 1 && len(body.Outputs[0].Shape) == 2 && body.Outputs[0].Shape[1] > 0 {
		for data, n := body.Outputs[0].Data, body.Outputs[0].Shape[1]; len(data) >= n; data = data[n:] {
			a.scores = append(a.scores, data[:n])
		}
	}
	return a
}

// best is the class that a row's scores speak for.
func best(scores []float64) (class int) {
	for i, s := range scores {
		if s > scores[class] {
			class = i
		}
	}
	return class
}

// An event is a record of the log, as the server shows it to the operator.
type event struct{ evidence.Event }

// who is who it was, kind/id.
func (e event) who() string {
	if e.Record.Who == nil {
		return "pavise"
	}
	return e.Record.Who.Kind + "/" + e.Record.Who.ID
}

// mark is where the log ends now.
func (p *play) mark(ctx context.Context) (uint64, error) {
	operator, err := p.operator()
	if err != nil {
		return 0, err
	}
	var list evidence.ListAnswer
	err = operator.Call(ctx, "ledger.list", evidence.ListRequest{Limit: 1}, &list)
	return list.Size, err
}

// find returns the newest record from an index on that meets the conditions and, if
// there is one, a test. It waits a moment for one that is not written yet.
func (p *play) find(ctx context.Context, from uint64, c evidence.Conditions, test func(evidence.Event) bool) (event, error) {
	operator, err := p.operator()
	if err != nil {
		return event{}, err
	}
	for until := time.Now().Add(settleWithin); ; {
		var list evidence.ListAnswer
		if err := operator.Call(ctx, "ledger.list", evidence.ListRequest{After: &from, Limit: 1000, Conditions: c}, &list); err != nil {
			return event{}, err
		}
		for i := len(list.Events) - 1; i >= 0; i-- {
			if test == nil || test(list.Events[i]) {
				return event{list.Events[i]}, nil
			}
		}
		if time.Now().After(until) {
			return event{}, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("the log holds no record of %s from %d on, and should", strings.Join(c.Kind, " or "), from), Hint: "pavise ledger list shows what it holds"}
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return event{}, ctx.Err()
		}
	}
}

// stranger returns the note that counts the refusal of somebody whom nobody could name.
func (p *play) stranger(ctx context.Context, from uint64, reason string) (event, error) {
	return p.find(ctx, from, evidence.Conditions{Kind: []string{"identity.refused"}}, func(e evidence.Event) bool {
		var note struct {
			Reason string `json:"reason"`
		}
		return json.Unmarshal(e.Record.Detail, &note) == nil && note.Reason == reason
	})
}
