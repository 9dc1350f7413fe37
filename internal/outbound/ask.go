package outbound

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// MaxAnswer bounds the body of an answer, in bytes.
const MaxAnswer = 2 << 20

// A Wire asks one API over HTTP. It is used by one goroutine at a time.
type Wire struct {
	Client *http.Client
	Base   *url.URL
	User   string // asks with Secret as a password; empty: headers say who asks
	Secret string
}

// An Answer is why a question came to nothing.
type Answer struct {
	Why    string        // for people; never an address or a secret
	Status int           // 0: none came
	After  time.Duration // when the API wants to be asked again; 0: it does not say
	Sure   bool          // nothing was done there: it said so, or was never reached
}

// Error says why.
func (a *Answer) Error() string { return a.Why }

// Lies is the answer of an API that says what cannot be.
func Lies(format string, args ...any) error {
	return &Answer{Why: fmt.Sprintf(format, args...), Status: http.StatusOK}
}

// A Question is one request to an API.
type Question struct {
	Method string
	Path   []string // segments below the address, not escaped
	Query  url.Values
	Header map[string]string
	Body   any // sent as JSON; nil: none
	Raw    []byte
	Into   any // what the answer's JSON is read into; nil: it is not
}

// Ask asks a question. The error is of type *Answer, or the context's.
func (w *Wire) Ask(ctx context.Context, q Question) error {
	body := q.Raw
	if q.Body != nil {
		var err error
		if body, err = json.Marshal(q.Body); err != nil {
			return fmt.Errorf("encode what a tool is asked: %w", err)
		}
	}
	at := w.Base
	if len(q.Path) > 0 {
		at = w.Base.JoinPath(escaped(q.Path)...)
	}
	if q.Query != nil {
		at.RawQuery = q.Query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, q.Method, at.String(), bytes.NewReader(body))
	if err != nil {
		return &Answer{Why: "its address is none", Sure: true}
	}
	req.Header.Set("User-Agent", "pavise")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if w.User != "" {
		req.SetBasicAuth(w.User, w.Secret)
	}
	for name, value := range q.Header {
		req.Header.Set(name, value)
	}
	resp, err := w.Client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return &Answer{Why: Unreached(err)}
	}
	defer resp.Body.Close()
	return read(resp, q.Into)
}

// read reads an answer.
func read(resp *http.Response, into any) error {
	text, err := io.ReadAll(io.LimitReader(resp.Body, MaxAnswer+1))
	a := &Answer{Status: resp.StatusCode, After: After(resp.Header), Sure: resp.StatusCode/100 == 4}
	switch a.Status {
	case http.StatusUnauthorized:
		a.Why = "it does not know the secret that it is asked with"
	case http.StatusForbidden:
		a.Why = "it does not let the account do that"
	case http.StatusNotFound:
		a.Why = "it has no such thing, or does not show it to the account"
	case http.StatusTooManyRequests:
		a.Why = "it is asked too often"
	default:
		a.Why = fmt.Sprintf("it answered %d", a.Status)
	}
	switch {
	case a.Status/100 != 2:
		return a
	case err != nil:
		a.Why = "its answer broke off"
		return a
	case len(text) > MaxAnswer:
		a.Why = fmt.Sprintf("its answer is longer than %d bytes", MaxAnswer)
		return a
	case into == nil:
		return nil
	}
	if err := json.Unmarshal(text, into); err != nil {
		a.Why = "its answer is not what its API says"
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

// Shown is an address for people, as an API gives it, or "" if it is none that a browser
// may follow.
func Shown(text string) string {
	u, err := url.Parse(text)
	if err != nil || len(text) > MaxURL || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil {
		return ""
	}
	return u.String()
}
