package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/pavise/pavise"
)

// A Client calls the verbs of a server.
type Client struct {
	Base  string       // for example "http://127.0.0.1:8470"
	Token string       // bearer token
	HTTP  *http.Client // nil means a zero one; redirects are refused in any case
}

const (
	callTimeout = 30 * time.Second
	maxAnswer   = 64 << 20 // bytes
)

// unwritten is the error of a request that is no JSON, because a file that goes into it as it
// stands is none.
func unwritten(verb string, req any, err error) error {
	why := &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the request for %s cannot be written as JSON: %v", verb, err), Hint: "is one of its files not what it should be?"}
	v := reflect.Indirect(reflect.ValueOf(req))
	if v.Kind() != reflect.Struct {
		return why
	}
	for _, field := range reflect.VisibleFields(v.Type()) {
		value, err := v.FieldByIndexErr(field.Index)
		if err != nil || !value.CanInterface() {
			continue
		}
		if text, ok := value.Interface().(json.RawMessage); ok && text != nil && !json.Valid(text) {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			why.Msg = fmt.Sprintf("the file for %s of %s is not JSON", name, verb)
			if len(bytes.TrimSpace(text)) == 0 {
				why.Msg = fmt.Sprintf("the file for %s of %s is empty", name, verb)
			}
			why.Hint = fmt.Sprintf("pavise %s --help says what the file holds", strings.Replace(verb, ".", " ", 1))
			return why
		}
	}
	return why
}

// Call does a verb: req is its request, and resp, unless nil, receives its
// answer. A refusal is an *pavise.Error with the server's words.
func (c *Client) Call(ctx context.Context, verb string, req, resp any) error {
	body, err := json.Marshal(req)
	if err != nil {
		return unwritten(verb, req, err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	answer, err := c.do(ctx, http.MethodPost, verb, bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return c.away(err)
	}
	if resp == nil {
		return nil
	}
	if err := json.Unmarshal(text, resp); err != nil {
		return stranger(verb, err)
	}
	return nil
}

// Push sends a body as it is to a door that is no verb, below /v1, with headers of its own;
// resp receives the answer. A refusal is an *pavise.Error with the server's words.
func (c *Client) Push(ctx context.Context, path string, header http.Header, body []byte, resp any) error {
	answer, err := c.send(ctx, http.MethodPost, path, header, bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(io.LimitReader(answer.Body, maxAnswer)).Decode(resp); err != nil {
		return stranger(path, err)
	}
	return nil
}

// Ask sends one request to a path of the server, from its root, where others than its own
// protocol are spoken, and returns the answer, whatever its status; its body is to be closed.
// What is posted is JSON.
func (c *Client) Ask(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	header := http.Header{}
	if method == http.MethodPost {
		header.Set("Content-Type", "application/json")
	}
	return c.exchange(ctx, method, path, header, body)
}

// Stream yields the events of a verb that is a feed, as they come, until the context ends
// or the stream breaks; then it yields the error. query says what is wanted, as in an
// address.
func Stream[Event any](ctx context.Context, c *Client, verb, query string) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		var none Event
		answer, err := c.do(ctx, http.MethodGet, verb+"?"+query, nil)
		if err != nil {
			yield(none, err)
			return
		}
		defer answer.Body.Close()
		lines := bufio.NewReader(answer.Body)
		for {
			line, err := lines.ReadBytes('\n')
			if err != nil {
				yield(none, c.away(err))
				return
			}
			if len(bytes.TrimSpace(line)) == 0 {
				continue
			}
			var e Event
			if err := json.Unmarshal(line, &e); err != nil {
				yield(none, stranger(verb, err))
				return
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

// do sends one request of a verb and returns a good answer.
func (c *Client) do(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	header := http.Header{}
	if body != nil {
		header.Set("Content-Type", "application/json")
	}
	return c.send(ctx, method, path, header, body)
}

// send sends one request and returns a good answer.
func (c *Client) send(ctx context.Context, method, path string, header http.Header, body io.Reader) (*http.Response, error) {
	answer, err := c.exchange(ctx, method, "/v1/"+path, header, body)
	if err != nil || answer.StatusCode/100 == 2 {
		return answer, err
	}
	defer answer.Body.Close()
	return nil, refusal(answer)
}

// exchange sends one request and returns the answer.
func (c *Client) exchange(ctx context.Context, method, path string, header http.Header, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.Base, "/")+path, body)
	if err != nil {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%q is not the address of a server", c.Base), Err: err}
	}
	req.Header = header
	if c.Token != "" { // else the connection says who calls
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	var client http.Client
	if c.HTTP != nil {
		client = *c.HTTP
	}
	// Whoever answers with a redirect could have the token sent elsewhere.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	answer, err := client.Do(req)
	if err != nil {
		return nil, c.away(err)
	}
	return answer, nil
}

// refusal reads why the server said no.
func refusal(answer *http.Response) error {
	if answer.StatusCode/100 == 3 {
		return &pavise.Error{Kind: pavise.Unavailable, Msg: "the server answered with a redirect, and the token does not go elsewhere", Hint: "name the server itself, as a Pavise server never redirects"}
	}
	var p Problem
	text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil || json.Unmarshal(text, &p) != nil || p.Title != pavise.ParseKind(p.Title).String() {
		return &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("the server answered with status %d", answer.StatusCode), Hint: "is it a Pavise server?"}
	}
	return &pavise.Error{Kind: pavise.ParseKind(p.Title), Msg: p.Detail, Hint: p.Hint}
}

// stranger is the error of an answer that cannot be read.
func stranger(verb string, err error) error {
	return &pavise.Error{Kind: pavise.Internal, Msg: "the server's answer to " + verb + " is not what this client knows", Hint: "use the same version on both sides", Err: err}
}

func (c *Client) away(err error) error {
	return &pavise.Error{Kind: pavise.Unavailable, Msg: "no answer from " + c.Base, Hint: "is pavise running there? pavise up starts one on this machine", Err: err}
}
