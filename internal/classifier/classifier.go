// Package classifier asks somebody outside what they make of a request to a language
// model: a guard model, or a service, behind one address, in the form that
// docs/formats/classifier.md describes. It owns the connections to them.
//
// Their word is taken for no more than it is: one of the verdicts in a record, of which
// the route says what follows. They may lie, hang, fail or say too much; none of that takes
// longer than the route's timeout, and what they say is read strictly.
package classifier

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/plainjson"
	"github.com/pavise/pavise/internal/prompt"
	"github.com/pavise/pavise/internal/upstream"
)

// A Text is one text of a request, and who says it.
type Text struct {
	Role string `json:"role"`
	Text string `json:"text"`
}

// An Opinion is what a classifier makes of a request.
type Opinion struct {
	Flagged bool
	Score   float64 // how sure it is, 0 to 1; NaN when it does not say
	Label   string  // a word of its own for what it found; may be empty
}

// String says the opinion in a few words, for records.
func (o Opinion) String() string {
	said := "passed"
	if o.Flagged {
		said = "flagged"
	}
	if o.Label != "" {
		said += " as " + o.Label
	}
	if !math.IsNaN(o.Score) {
		said += fmt.Sprintf(", score %.3f", o.Score)
	}
	return said
}

// maxAnswer bounds what a classifier says, in bytes.
const maxAnswer = 4 << 10

// A Classifier is one of them, with the connections to it. It is safe for concurrent
// use.
type Classifier struct {
	cluster *upstream.Cluster
	path    string
	timeout time.Duration
}

// New returns a classifier. Nothing is dialled before it is asked. The error is of kind
// Invalid.
func New(c prompt.Classifier) (*Classifier, error) {
	u, err := url.Parse(c.URL)
	if err != nil || u.User != nil || u.Host == "" || u.Fragment != "" {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("classifier: %.80q is no address", c.URL), Hint: "write it as http://HOST:PORT/PATH"}
	}
	timeout := time.Duration(cmp.Or(c.Timeout, prompt.DefaultTimeout)) * time.Millisecond
	cluster, err := upstream.New([]upstream.Endpoint{{URL: u.Scheme + "://" + u.Host, Weight: 1}}, upstream.Options{
		Name:     "the classifier",
		Timeouts: upstream.Timeouts{Connect: timeout, Wait: timeout, FirstByte: timeout, Gap: timeout, Total: timeout},
	})
	if err != nil {
		return nil, err
	}
	return &Classifier{cluster: cluster, path: cmp.Or(u.RequestURI(), "/"), timeout: timeout}, nil
}

// Close ends the connections, those in use with their call.
func (c *Classifier) Close() { c.cluster.Close() }

// Ask asks for an opinion on the texts of a request to a model. The error is of kind
// Unavailable: none came in time, or one that is not in the form. It holds nothing of the
// texts, and nothing of what the classifier said.
func (c *Classifier) Ask(ctx context.Context, model string, texts []Text) (Opinion, error) {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false) // it would make six bytes of one
	err := enc.Encode(struct {
		Version int    `json:"version"`
		Model   string `json:"model"`
		Texts   []Text `json:"texts"`
	}{1, model, texts})
	if err != nil {
		return Opinion{}, fmt.Errorf("write what a classifier is asked: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	answer := upstream.Answer{Limit: maxAnswer}
	ask := upstream.Request{Method: "POST", Path: c.path, Fields: []upstream.Field{{Name: "Content-Type", Value: "application/json"}}, Body: bytes.TrimSpace(body.Bytes()), Repeatable: true}
	if err := c.cluster.Do(ctx, &ask, &answer); err != nil {
		return Opinion{}, unavailable("gave no opinion", err)
	}
	if answer.Status != 200 {
		return Opinion{}, unavailable(fmt.Sprintf("answered with status %d", answer.Status), nil)
	}
	return read(answer.Body)
}

func unavailable(what string, err error) error {
	return &pavise.Error{Kind: pavise.Unavailable, Msg: "the classifier " + what, Hint: "the operator should look at what is behind its address", Err: err}
}

// read reads an opinion. What is said beside it means nothing.
func read(body []byte) (Opinion, error) {
	var said struct {
		Flagged *bool    `json:"flagged"`
		Score   *float64 `json:"score"`
		Label   string   `json:"label"`
	}
	if err := plainjson.Read(body, &said); err != nil {
		return Opinion{}, unavailable("said something that is not in the form of an opinion", nil)
	}
	o := Opinion{Score: math.NaN(), Label: said.Label}
	if said.Score != nil {
		o.Score = *said.Score
	}
	if said.Flagged == nil || o.Score < 0 || o.Score > 1 || !isLabel(o.Label) {
		return Opinion{}, unavailable("said something that is not in the form of an opinion", nil)
	}
	o.Flagged = *said.Flagged
	return o, nil
}

// isLabel reports whether a word is one that records can hold: nothing of a prompt comes
// back in it.
func isLabel(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' && c != '.' {
			return false
		}
	}
	return len(s) <= 32
}
