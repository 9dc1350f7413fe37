package redteam

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/learn"
	"github.com/pavise/pavise/internal/plainjson"
	"github.com/pavise/pavise/internal/tensor"
)

func isURL(target string) bool { return strings.Contains(target, "://") }

// askServer makes a server of this machine the victim.
func askServer(ctx context.Context, target, output string, tokens []string, batch int) (*victim, error) {
	server, err := ownServer(target)
	if err != nil {
		return nil, err
	}
	v := &victim{server: server, batch: batch, tokens: tokens, client: &http.Client{
		Timeout:       60 * time.Second,
		Transport:     &http.Transport{Proxy: nil, DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext, MaxIdleConnsPerHost: 4},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	body, status, _, err := v.send(ctx, http.MethodGet, server, tokens[0], nil)
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, &pavise.Error{
			Kind: pavise.Unavailable, Msg: fmt.Sprintf("%s does not say what the model takes: status %d: %s", server, status, errorIn(body)),
			Hint: "name a model as it is called there, and give --token or $PAVISE_TOKEN if the server wants one",
		}
	}
	var signature tensor.Signature
	if err := plainjson.Read(body, &signature); err != nil {
		return nil, &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("%s does not say what the model takes as the Open Inference Protocol does", server), Hint: "name a server that speaks it, such as pavise up", Err: err}
	}
	return v, v.understand(signature, output)
}

// ownServer is the address of a model on this machine. Attacks are on models of ours: a
// server elsewhere may be anybody's.
func ownServer(target string) (string, error) {
	refuse := func(format string, args ...any) error {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf(format, args...), Hint: "name it as http://127.0.0.1:PORT/v2/models/NAME, or give the model as an ONNX file"}
	}
	u, err := url.Parse(target)
	if err != nil || u.Scheme != "http" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", refuse("%.200q is not the address of a model on this machine", target)
	}
	if u.Hostname() == "localhost" { // whatever a resolver takes it for
		u.Host = "127.0.0.1:" + cmp.Or(u.Port(), "80")
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err != nil || !ip.IsLoopback() {
		return "", refuse("%.200q is not on this machine: only loopback addresses are attacked", u.Host)
	}
	u.Path = strings.TrimSuffix(strings.TrimSuffix(u.Path, "/"), "/infer")
	if name, is := strings.CutPrefix(u.Path, "/v2/models/"); !is || name == "" {
		return "", refuse("%.200q names no model", target)
	}
	u.RawPath = ""
	return u.String(), nil
}

// post has a server answer, waiting as long as it says, within bounds.
func (v *victim) post(ctx context.Context, token string, rows learn.Matrix) (learn.Matrix, *refusal, error) {
	none := learn.Matrix{Cols: v.classes}
	question, err := v.request(rows).AppendJSON(nil)
	if err != nil {
		return none, nil, err
	}
	for {
		body, status, wait, err := v.send(ctx, http.MethodPost, v.server+"/infer", token, question)
		switch {
		case err != nil:
			return none, nil, err
		case status == http.StatusOK:
			said, err := tensor.ParseResponse(body, tensor.DefaultLimits())
			if err != nil {
				return none, nil, &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("%s answers otherwise than the Open Inference Protocol does: %v", v.server, err), Err: err}
			}
			answers, err := v.scores(said, rows.Rows)
			return answers, nil, err
		case status == http.StatusTooManyRequests && wait > 0 && wait <= maxPause:
			select {
			case <-ctx.Done():
				return none, nil, ctx.Err()
			case <-time.After(wait):
				v.paused += wait
			}
		case status >= 400 && status < 500:
			return none, &refusal{Status: status, Message: errorIn(body)}, nil
		default:
			return none, nil, &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("%s answers with status %d: %s", v.server, status, errorIn(body)), Hint: "see what is wrong there; with --state the same command goes on"}
		}
	}
}

// send asks the server once, and returns how long it says to wait.
func (v *victim) send(ctx context.Context, method, address, token string, question []byte) (body []byte, status int, wait time.Duration, err error) {
	fault := func(err error) error {
		return &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("%s cannot be asked: %v", v.server, err), Hint: "start the server first; with --state the same command goes on", Err: err}
	}
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(question))
	if err != nil {
		return nil, 0, 0, fault(err)
	}
	if question != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := v.client.Do(req)
	if err != nil {
		return nil, 0, 0, fault(err)
	}
	defer resp.Body.Close()
	most := tensor.DefaultLimits().MaxBody
	if body, err = io.ReadAll(io.LimitReader(resp.Body, int64(most)+1)); err == nil && len(body) > most {
		err = fmt.Errorf("its answer is longer than %d bytes", most)
	}
	if err != nil {
		return nil, 0, 0, fault(err)
	}
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 && seconds < 1<<20 {
		wait = time.Duration(seconds) * time.Second
	}
	return body, resp.StatusCode, wait, nil
}

// errorIn is the message of an error's body, shortened.
func errorIn(body []byte) string {
	var e struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(body, &e) != nil || e.Error == "" {
		e.Error = string(body)
	}
	return fmt.Sprintf("%.200s", strings.Join(strings.Fields(e.Error), " "))
}
