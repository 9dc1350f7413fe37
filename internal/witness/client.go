package witness

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/proof"
)

// A Client speaks to one witness over HTTP.
type Client struct {
	url  string // the submission prefix, which is the monitoring prefix too
	http *http.Client
}

// NewClient returns a client of the witness with this submission prefix.
func NewClient(url string) *Client {
	return &Client{url: strings.TrimSuffix(url, "/"), http: &http.Client{
		Timeout: askWithin,
		// A checkpoint is for the witness that was named, and no other.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// NewClientOver returns a client of the witness with this submission prefix, reached
// over a transport that knows whom it speaks to.
func NewClientOver(url string, transport http.RoundTripper) *Client {
	c := NewClient(url)
	c.http.Transport = transport
	return c
}

// sizeType is the media type of the size in a 409 answer.
const sizeType = "text/x.tlog.size"

// Cosign is Witness's.
func (c *Client) Cosign(ctx context.Context, old uint64, path tlog.TreeProof, checkpoint []byte) ([]byte, error) {
	body := append(proof.AppendHashes(fmt.Appendf(nil, "old %d\n", old), path), '\n')
	body = append(body, checkpoint...)
	status, kind, text, err := c.do(ctx, http.MethodPost, "/add-checkpoint", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	switch status {
	case http.StatusOK:
		return text, nil
	case http.StatusConflict:
		size, err := strconv.ParseUint(strings.TrimSuffix(string(text), "\n"), 10, 63)
		if err != nil || kind != sizeType {
			return nil, c.odd(status)
		}
		return nil, &Seen{size}
	case http.StatusNotFound:
		return nil, &pavise.Error{Kind: pavise.NotFound, Msg: "it does not watch this log", Hint: "have its operator trust the log's key: pavise witness trust KEY"}
	case http.StatusForbidden:
		return nil, &pavise.Error{Kind: pavise.Denied, Msg: "it knows this log under another key", Hint: "have its operator trust the log's key: pavise witness trust KEY"}
	case http.StatusUnprocessableEntity:
		return nil, &pavise.Error{Kind: pavise.Unverified, Msg: "it does not take our tree for a continuation of the one it has seen"}
	}
	return nil, c.odd(status)
}

// Latest is Witness's.
func (c *Client) Latest(ctx context.Context, origin string) ([]byte, error) {
	status, _, text, err := c.do(ctx, http.MethodGet, "/"+originHash(origin)+"/checkpoint", nil)
	switch {
	case err != nil:
		return nil, err
	case status == http.StatusNotFound:
		return nil, &pavise.Error{Kind: pavise.NotFound, Msg: "it shows no checkpoint of this log"}
	case status != http.StatusOK:
		return nil, c.odd(status)
	}
	return text, nil
}

// originHash is what a log is called below a monitoring prefix.
func originHash(origin string) string {
	sum := sha256.Sum256([]byte(origin))
	return hex.EncodeToString(sum[:])
}

// do sends a request and reads the answer, as much of it as a note may be long.
func (c *Client) do(ctx context.Context, method, path string, body io.Reader) (status int, kind string, text []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, body)
	if err != nil {
		return 0, "", nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.100q is no address of a witness", c.url), Hint: "it is a submission prefix: https://HOST/PATH", Err: err}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, "", nil, c.away(err)
	}
	defer resp.Body.Close()
	text, err = io.ReadAll(io.LimitReader(resp.Body, proof.MaxNote+1))
	if err != nil {
		return 0, "", nil, c.away(err)
	}
	if len(text) > proof.MaxNote {
		return 0, "", nil, c.odd(resp.StatusCode)
	}
	return resp.StatusCode, resp.Header.Get("Content-Type"), text, nil
}

func (c *Client) away(err error) error {
	return &pavise.Error{Kind: pavise.Unavailable, Msg: "no answer from the witness at " + c.url, Hint: "is it running, and to be reached from here?", Err: err}
}

func (c *Client) odd(status int) error {
	return &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("the witness at %s answered %d in a way that the protocol does not know", c.url, status), Hint: "is the address the submission prefix of a C2SP witness?"}
}

var _ Witness = (*Client)(nil)
