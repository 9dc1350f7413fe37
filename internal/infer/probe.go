package infer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/chat"
	"github.com/pavise/pavise/internal/tensor"
	"github.com/pavise/pavise/internal/upstream"
)

// probeTime bounds one look at a server.
const probeTime = 3 * time.Second

// chatModels is where servers of the OpenAI protocol list their models.
const chatModels = "/v1/models"

// Probe looks whether a server is at a place and speaks its protocol there, as far as a
// harmless GET of the protocol shows it, within three seconds. It says in a sentence
// what is amiss, for whoever names the place; empty: nothing that it could see.
func (s *Servers) Probe(ctx context.Context, at Place) string {
	if at.Address == External {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	err := s.probe(ctx, at)
	if err == nil {
		return ""
	}
	why := err.Error()
	if e, ok := errors.AsType[*pavise.Error](err); ok {
		why = e.Msg
	}
	if f := upstream.FaultOf(err); f != nil {
		why = told(f)
	}
	return fmt.Sprintf("%s, asked by %s: %s", at.Address, at.Protocol, why)
}

func (s *Servers) probe(ctx context.Context, at Place) error {
	endpoints := []upstream.Endpoint{{URL: at.Address, Weight: 1}}
	alone := NewServers() // no failure of a look counts against those who ask
	alone.keys, alone.tls = s.keys, s.tls
	if at.Protocol == tensor.NameOpenAI {
		server, err := alone.Chat(endpoints, upstream.Options{}, at, chat.DefaultLimits())
		if err != nil {
			return err
		}
		defer server.Close()
		answer, err := server.Pass(ctx, http.MethodGet, chatModels, nil)
		if err == nil {
			err = listed(answer, at)
		}
		return err
	}
	server, err := alone.Upstream(endpoints, upstream.Options{}, at, tensor.Signature{}, tensor.DefaultLimits())
	if err != nil {
		return err
	}
	defer server.Close()
	if server.dialect.alive == nil {
		_, err := server.Describe(ctx)
		return err
	}
	path := server.dialect.alive(at)
	answer, err := server.Pass(ctx, http.MethodGet, path, nil)
	if err == nil {
		err = fine(answer, at, path)
	}
	return err
}

// fine says what is wrong with an answer that is not of status 200.
func fine(a *Aside, at Place, path string) error {
	if err := secured(a.Status, a.Body); err != nil {
		return err
	}
	switch {
	case a.Status == http.StatusOK:
		return nil
	case a.Status == http.StatusUnauthorized, a.Status == http.StatusForbidden:
		return fmt.Errorf("it does not let the gateway in (GET %s: status %d)", path, a.Status)
	}
	return fmt.Errorf("it does not look like such a server with the model %q (GET %s: status %d)", at.Model, path, a.Status)
}

// maxShown is how many models of a server are named to whoever named another.
const maxShown = 5

// listed says what is wrong with a server's list of its models: that it is none, or the
// model is not in it. Ollama's names may go without the tag that is there.
func listed(a *Aside, at Place) error {
	if err := fine(a, at, chatModels); err != nil {
		return err
	}
	var list struct {
		Data []struct {
			ID string `json:"id"`
		} `json:"data"`
	}
	if err := json.Unmarshal(a.Body, &list); err != nil || list.Data == nil {
		return fmt.Errorf("it does not list its models as such a server does (GET %s)", chatModels)
	}
	var names []string
	for _, m := range list.Data {
		if m.ID == at.Model || strings.HasPrefix(m.ID, at.Model+":") {
			return nil
		}
		names = append(names, fmt.Sprintf("%.80q", m.ID))
	}
	if n := len(names); n > maxShown {
		names = append(slices.Clip(names[:maxShown]), fmt.Sprintf("%d more", n-maxShown))
	}
	return fmt.Errorf("it has no model %q, but %s; --remote says how it is called there", at.Model, strings.Join(append(names, "none")[:max(len(names), 1)], ", "))
}

// Unreached says to whoever names a place where its server was looked for, and what came
// of it: callers are told neither.
func Unreached(at Place, err error) error {
	f := upstream.FaultOf(err)
	if f == nil {
		return err
	}
	return &pavise.Error{
		Kind: pavise.Unavailable, Msg: fmt.Sprintf("the model server at %s cannot be asked what the model takes, by %s: it %s", at.Address, at.Protocol, told(f)),
		Hint: "start it first, or correct --upstream and --protocol; a server that cannot say needs --signature FILE", Err: err,
	}
}

// told is what came of a look at a server, for whoever chose it.
func told(f *upstream.Fault) string {
	if said, hint := mistaken(f); said != "" {
		return said + "; " + hint
	}
	if f.Err == nil {
		return f.What()
	}
	return f.What() + ": " + f.Err.Error()
}

// mistaken says, where it can be seen, that a server speaks otherwise than it is asked:
// what was expected and what came, and which field of the route to change. It tells
// nothing of where the server is.
func mistaken(f *upstream.Fault) (said, hint string) {
	if f == nil || f.Err == nil {
		return "", ""
	}
	for _, sign := range []struct{ in, said, hint string }{
		{
			"frame too large", "was asked in HTTP/2, as gRPC is, and answered in something else, most likely HTTP/1.1",
			"the operator names the port of gRPC in the route's upstream, or oip in its protocol",
		},
		{
			"http2: client conn could not be established", "was asked in HTTP/2, as gRPC is, and answered in something else",
			"the operator names the port of gRPC in the route's upstream, or oip in its protocol",
		},
		{
			clearText, "was asked without TLS and takes TLS alone",
			"the operator writes https:// in the route's upstream, or names the port without TLS",
		},
		{
			"does not look like a TLS handshake", "was asked by TLS and answered without",
			"the operator writes http:// in the route's upstream, or names the port of TLS",
		},
		{
			"no application protocol", "was asked for HTTP/2, as gRPC is, and has no TLS with it",
			"the operator names the port of gRPC in the route's upstream, or oip in its protocol",
		},
		{
			"its head broke off", "was asked in HTTP/1.1 and ended the connection without an answer in it",
			"if it speaks gRPC alone, the operator names oip-grpc in the route's protocol; if it takes TLS alone, https:// in its upstream",
		},
	} {
		if strings.Contains(f.Err.Error(), sign.in) {
			return sign.said, sign.hint
		}
	}
	return "", ""
}

// clearText is how a fault spells that a server of TLS got a request without.
const clearText = "the request came in clear text"

// maxWords bounds, in bytes, what is read of why a server refuses.
const maxWords = 1 << 10

// secured is the error of a server of TLS that got a request in clear text and says so,
// as those of Go, nginx, Apache and Tomcat do; nil: it says something else, which may
// quote the request.
func secured(status int, body []byte) error {
	if status != http.StatusBadRequest {
		return nil
	}
	body = bytes.TrimSpace(body[:min(len(body), maxWords)])
	says := func(words string) bool { return bytes.Contains(body, []byte(words)) }
	page := bytes.HasPrefix(body, []byte("<"))
	if string(body) == "Client sent an HTTP request to an HTTPS server." || string(body) == "This combination of host and port requires TLS." ||
		page && (says("The plain HTTP request was sent to HTTPS port") || says("speaking plain HTTP to an SSL-enabled server port") || says("This combination of host and port requires TLS")) {
		return reword(&upstream.Fault{Reason: upstream.Malformed, Err: errors.New(clearText)}, 0)
	}
	return nil
}
