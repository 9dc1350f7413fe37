package ticket

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/hook"
	"github.com/pavise/pavise/internal/pipeline"
	"github.com/pavise/pavise/internal/store"
)

// PathDoor is where tools say that something happened to a ticket.
const PathDoor = "POST /v1/tickets/{tenant}/{tool}"

// maxMessage bounds what a tool says there, in bytes. What is longer is heard a few seconds
// later.
const maxMessage = 1 << 20

// Door takes messages of tools: that of Standard Webhooks, of GitHub and Jira (a signature
// in X-Hub-Signature-256 or X-Hub-Signature), or of GitLab (X-Gitlab-Token), each made with
// the secret that ticket.put showed. All that comes of one is that the tool is asked sooner
// what people said, or about the deployment that it names: nothing else that a message says is
// believed. refuse answers one that is not signed so.
//
// It needs no guard: nobody acts, and who is not believed is told nothing.
func (d *Desk) Door(refuse func(http.ResponseWriter, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		at := place{r.PathValue("tenant"), r.PathValue("tool")}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxMessage))
		if err == nil {
			err = d.admit(r, at, body)
		} else {
			err = &pavise.Error{Kind: pavise.Invalid, Msg: "the message broke off, or is too long", Err: err}
		}
		if err != nil {
			refuse(w, err)
			return
		}
		d.mu.Lock()
		c := d.running[at]
		d.mu.Unlock()
		if c != nil {
			select {
			case c.nudged <- struct{}{}:
			default: // it was told already
			}
		}
		w.WriteHeader(http.StatusAccepted)
	})
}

// admit refuses what is not signed by the tool. The error is of kind Unverified, and the
// same for a tool that there is not.
func (d *Desk) admit(r *http.Request, at place, body []byte) error {
	strange := &pavise.Error{Kind: pavise.Unverified, Msg: "the message is not signed with the secret of such a tool", Hint: "pavise ticket put shows the secret, once"}
	var known row
	err := d.cfg.Store.View(r.Context(), func(tx *store.Tx) (err error) {
		known, err = d.find(tx, at)
		return err
	})
	if pavise.KindOf(err) == pavise.NotFound && err != nil {
		return strange
	}
	if err != nil {
		return err
	}
	if !d.signed(known, r, body) {
		return strange
	}
	if known.Kind != gitHubDeployments || r.Header.Get("X-GitHub-Event") != pipeline.EventGitHub {
		return nil
	}
	waits, err := pipeline.ReadRequest(body, known.Project)
	if err != nil {
		return err
	}
	// Durable before it is taken: GitHub does not tell it again.
	return d.cfg.Store.Update(r.Context(), func(tx *store.Tx) error { return await(tx, at, waits, d.cfg.Now()) })
}

// signed reports whether a message was signed with one of a tool's secrets. What a message of
// GitHub's says of a deployment is read, so that a word which is beside the body is not enough.
func (d *Desk) signed(known row, r *http.Request, body []byte) bool {
	if hook.Verify(known.Keys, r.Header.Get, d.cfg.Now(), body) {
		return true
	}
	for _, k := range known.Keys {
		secret := []byte(k.Told())
		mac := hmac.New(sha256.New, secret)
		mac.Write(body)
		want := []byte("sha256=" + hex.EncodeToString(mac.Sum(nil)))
		if hmac.Equal([]byte(strings.ToLower(r.Header.Get("X-Hub-Signature-256"))), want) || hmac.Equal([]byte(strings.ToLower(r.Header.Get("X-Hub-Signature"))), want) ||
			known.Kind != gitHubDeployments && hmac.Equal([]byte(r.Header.Get("X-Gitlab-Token")), secret) {
			return true
		}
	}
	return false
}
