package ticket

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/pavise/pavise/internal/outbound"
)

// maxAnswer bounds the body of a tool's answer, in bytes.
const maxAnswer = 2 << 20

// A wire asks one tool over HTTP. It is used by one goroutine at a time.
type wire struct {
	client *http.Client
	base   *url.URL
	target target
	marks  marks
	now    func() time.Time
}

// An answer is why a question to a tool came to nothing.
type answer struct {
	why    string        // for people; never an address or a secret
	status int           // 0: none came
	after  time.Duration // when the tool wants to be asked again; 0: it does not say
	sure   bool          // the tool did nothing: it said so, or was never reached
}

// Error says why.
func (a *answer) Error() string { return a.why }

// lies is the answer of a tool that says what cannot be.
func lies(format string, args ...any) error {
	return &answer{why: fmt.Sprintf(format, args...), status: http.StatusOK}
}

// A question is one request to a tool.
type question struct {
	method string
	path   []string // segments below the address, not escaped
	query  url.Values
	header map[string]string
	body   any // sent as JSON; nil: none
	raw    []byte
	into   any // what the answer's JSON is read into; nil: it is not
}

// ask asks a question. The error is of type *answer, or the context's.
func (w *wire) ask(ctx context.Context, q question) error {
	body := q.raw
	if q.body != nil {
		var err error
		if body, err = json.Marshal(q.body); err != nil {
			return fmt.Errorf("encode what a tool is asked: %w", err)
		}
	}
	at := w.base
	if len(q.path) > 0 {
		at = w.base.JoinPath(escaped(q.path)...)
	}
	if q.query != nil {
		at.RawQuery = q.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, q.method, at.String(), bytes.NewReader(body))
	if err != nil {
		return &answer{why: "its address is none", sure: true}
	}
	req.Header.Set("User-Agent", "pavise")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if w.target.User != "" {
		req.SetBasicAuth(w.target.User, w.target.Secret)
	}
	for name, value := range q.header {
		req.Header.Set(name, value)
	}
	resp, err := w.client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return &answer{why: outbound.Unreached(err)}
	}
	defer resp.Body.Close()
	return read(resp, q.into)
}

// read reads an answer.
func read(resp *http.Response, into any) error {
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	a := &answer{status: resp.StatusCode, after: outbound.After(resp.Header), sure: resp.StatusCode/100 == 4}
	switch a.status {
	case http.StatusUnauthorized:
		a.why = "it does not know the secret that it is asked with"
	case http.StatusForbidden:
		a.why = "it does not let the account do that"
	case http.StatusNotFound:
		a.why = "it has no such thing, or does not show it to the account"
	case http.StatusTooManyRequests:
		a.why = "it is asked too often"
	default:
		a.why = fmt.Sprintf("it answered %d", a.status)
	}
	switch {
	case a.status/100 != 2:
		return a
	case err != nil:
		a.why = "its answer broke off"
		return a
	case len(text) > maxAnswer:
		a.why = fmt.Sprintf("its answer is longer than %d bytes", maxAnswer)
		return a
	case into == nil:
		return nil
	}
	if err := json.Unmarshal(text, into); err != nil {
		a.why = "its answer is not what its API says"
		return a
	}
	return nil
}

// escaped are path segments as they stand in a URL.
func escaped(path []string) []string {
	all := make([]string, len(path))
	for i, segment := range path {
		all[i] = url.PathEscape(segment)
	}
	return all
}

// bearer is the header of a token.
func (w *wire) bearer() map[string]string {
	if w.target.User != "" {
		return nil
	}
	return map[string]string{"Authorization": "Bearer " + w.target.Secret}
}

// known returns an id that a tool gave, if it is one: it becomes part of addresses.
func known(id string) (string, error) {
	if !foreign.MatchString(id) || strings.Contains(id, "..") {
		return "", lies("it gives an id that is none")
	}
	return id, nil
}

// maxPages bounds the pages of words that are read, and maxWords a page.
const (
	maxPages = 5
	maxWords = 100
)

// shownAt is an address for people, if it is one of the tool's own scheme.
func shownAt(text string) string {
	u, err := url.Parse(text)
	if err != nil || len(text) > outbound.MaxURL || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil {
		return ""
	}
	return u.String()
}
