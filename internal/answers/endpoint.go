package answers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/pavise/pavise"
)

const (
	askedAtOnce  = 64       // rows of one request to a server
	maxSaid      = 64 << 20 // bytes of one answer
	askedForTime = 30 * time.Second
)

// An Endpoint is a model on a server that is not trusted: it is asked for what it says, by
// the Open Inference Protocol (…/v2/models/NAME) or TensorFlow Serving's
// (…/v1/models/NAME).
type Endpoint struct {
	url    string // of the model
	v1     bool
	token  string
	client *http.Client
}

// NewEndpoint takes the URL of a model: by https, or on this machine. token, if not empty,
// is sent with each request. The error is of kind Invalid.
func NewEndpoint(address, token string) (*Endpoint, error) {
	refuse := func(why string) error {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the suspect's URL %.200q %s", address, why), Hint: "write it as https://HOST/v2/models/NAME or https://HOST/v1/models/NAME; http is for this machine alone"}
	}
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "":
		return nil, refuse("is none")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, refuse("has more than a place")
	case u.Scheme != "https" && (u.Scheme != "http" || !onThisMachine(u.Hostname())):
		return nil, refuse("is neither https nor on this machine")
	}
	u.Path = strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(u.Path, "/"), "/infer"), ":predict")
	e := &Endpoint{url: u.String(), v1: strings.Contains(u.Path, "/v1/models/"), token: strings.TrimSpace(token)}
	if !e.v1 && !strings.Contains(u.Path, "/v2/models/") {
		return nil, refuse("leads to no model")
	}
	e.client = &http.Client{
		Timeout:       askedForTime,
		Transport:     &http.Transport{TLSHandshakeTimeout: 10 * time.Second, MaxResponseHeaderBytes: 64 << 10}, // no proxy
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return e, nil
}

// onThisMachine reports whether a host is a loopback address by its writing: no name is
// looked up, for its address may be another when it is dialled.
func onThisMachine(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Answer asks the model with the inputs of others. Errors are of kind Unavailable, or
// Invalid when what it says is no answer.
func (e *Endpoint) Answer(ctx context.Context, asked *Set) (*Set, error) {
	defer e.client.CloseIdleConnections()
	a := &Set{Name: e.url, Columns: asked.Columns, Inputs: asked.Inputs}
	input, datatype := "", "FP32"
	if !e.v1 {
		var err error
		if input, datatype, err = e.inputOf(ctx); err != nil {
			return nil, err
		}
	}
	for at := 0; at < asked.Rows(); at += askedAtOnce {
		n := min(askedAtOnce, asked.Rows()-at)
		numbers := asked.Inputs[at*asked.Columns:][:n*asked.Columns]
		var said []float64
		var err error
		if e.v1 {
			said, err = e.predict(ctx, numbers, n)
		} else {
			said, err = e.infer(ctx, input, datatype, numbers, n)
		}
		if err != nil {
			return nil, err
		}
		width := len(said) / n
		if len(said) == 0 || len(said)%n != 0 || a.Width != 0 && a.Width != width {
			return nil, e.lie("%d numbers for %d rows", len(said), n)
		}
		a.Width = width
		a.Outputs = append(a.Outputs, said...)
	}
	return a, nil
}

// inputOf asks what the model's only input is.
func (e *Endpoint) inputOf(ctx context.Context) (name, datatype string, err error) {
	var about struct {
		Inputs []struct{ Name, Datatype string }
	}
	if err := e.do(ctx, http.MethodGet, e.url, nil, &about); err != nil {
		return "", "", err
	}
	if len(about.Inputs) != 1 {
		return "", "", e.lie("%d inputs, and not one", len(about.Inputs))
	}
	if name, datatype = about.Inputs[0].Name, about.Inputs[0].Datatype; datatype != "FP64" && datatype != "FP32" {
		return "", "", e.lie("the input %.40q of %.20q, and float numbers are asked here", name, datatype)
	}
	return name, datatype, nil
}

// infer asks rows by the Open Inference Protocol. Of several outputs the widest is taken,
// which are the scores.
func (e *Endpoint) infer(ctx context.Context, input, datatype string, numbers []float64, rows int) ([]float64, error) {
	var said struct {
		Outputs []struct {
			Datatype string
			Data     json.RawMessage
		}
	}
	body := map[string]any{"inputs": []any{map[string]any{"name": input, "datatype": datatype, "shape": []int{rows, len(numbers) / rows}, "data": numbers}}}
	if err := e.do(ctx, http.MethodPost, e.url+"/infer", body, &said); err != nil {
		return nil, err
	}
	var widest []float64
	for _, output := range said.Outputs {
		if output.Datatype == "BYTES" || output.Datatype == "BOOL" {
			continue
		}
		list, err := flat(output.Data)
		if err != nil {
			return nil, e.lie("data that are no numbers")
		}
		if len(list) > len(widest) {
			widest = list
		}
	}
	return widest, nil
}

// predict asks rows by TensorFlow Serving's protocol.
func (e *Endpoint) predict(ctx context.Context, numbers []float64, rows int) ([]float64, error) {
	var said struct{ Predictions json.RawMessage }
	columns, instances := len(numbers)/rows, make([][]float64, rows)
	for i := range instances {
		instances[i] = numbers[i*columns:][:columns]
	}
	if err := e.do(ctx, http.MethodPost, e.url+":predict", map[string]any{"instances": instances}, &said); err != nil {
		return nil, err
	}
	list, err := flat(said.Predictions)
	if err != nil {
		return nil, e.lie("predictions that are no numbers")
	}
	return list, nil
}

// flat reads a list of numbers, or of lists of them of one length.
func flat(text json.RawMessage) ([]float64, error) {
	var plain, list []float64
	if json.Unmarshal(text, &plain) == nil {
		return plain, nil
	}
	var rows [][]float64
	if err := json.Unmarshal(text, &rows); err != nil {
		return nil, err
	}
	for _, row := range rows {
		if len(row) != len(rows[0]) {
			return nil, errors.New("rows of several lengths")
		}
		list = append(list, row...)
	}
	return list, nil
}

// do sends one request and reads its answer.
func (e *Endpoint) do(ctx context.Context, method, address string, body, into any) error {
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		content = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, address, content)
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	if e.token != "" {
		r.Header.Set("Authorization", "Bearer "+e.token)
	}
	answer, err := e.client.Do(r)
	if err != nil {
		return &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("ask the suspect: %v", err), Hint: "nothing was found out; try again", Err: err}
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("%s answered with the status %d", address, answer.StatusCode), Hint: "nothing was found out; see whether it wants a token, and whether the URL is that of a model"}
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxSaid+1))
	switch {
	case err != nil:
		return &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("read what the suspect says: %v", err), Err: err}
	case len(text) > maxSaid:
		return e.lie("more than %d bytes at once", maxSaid)
	case json.Unmarshal(text, into) != nil:
		return e.lie("what is no JSON of the protocol")
	}
	return nil
}

// lie says what the server says that is no answer.
func (e *Endpoint) lie(format string, args ...any) error {
	return &pavise.Error{Kind: pavise.Invalid, Msg: e.url + " says " + fmt.Sprintf(format, args...), Hint: "record its answers in a file, and give that"}
}
