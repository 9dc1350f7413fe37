package oci

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/identity"
)

// stall is how long a connection may stand still while a content goes through it.
const stall = 30 * time.Second

// A Door serves the paths below /v2/ to callers whom admit knows.
type Door struct {
	*Registry
	admit func(*http.Request) (pavise.Principal, error)
}

// NewDoor returns a door.
func (r *Registry) NewDoor(admit func(*http.Request) (pavise.Principal, error)) *Door {
	return &Door{r, admit}
}

// An asked is one request, of somebody who is known.
type asked struct {
	target
	w     http.ResponseWriter
	r     *http.Request
	who   pavise.Principal
	model pavise.Name
}

// head reports whether only the head of an answer is wanted.
func (a *asked) head() bool { return a.r.Method == http.MethodHead }

// at is the address of something in the repository, without scheme and host.
func (a *asked) at(what, ref string) string { return Path + a.repository + "/" + what + "/" + ref }

// ServeHTTP serves one request.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	who, err := d.admit(withBearer(r))
	if err != nil {
		if pavise.KindOf(err) == pavise.Unverified {
			w.Header().Add("WWW-Authenticate", `Bearer realm="`+d.cfg.Base+PathToken+`",service="pavise"`)
			w.Header().Add("WWW-Authenticate", `Basic realm="pavise", charset="UTF-8"`)
		}
		answerError(w, err)
		return
	}
	a := &asked{w: w, r: r, who: who}
	var ok bool
	if a.target, ok = parsePath(r.URL.Path); !ok || r.URL.RawPath != "" {
		answerError(w, withStatus(http.StatusNotFound, refuse(codeName, "nothing here has such an address", "write /v2/MODEL/manifests/TAG, with small letters, digits and . _ - alone in the model's name")))
		return
	}
	if a.repository != "" {
		if a.model, err = modelOf(who, a.repository); err != nil {
			answerError(w, err)
			return
		}
	}
	err = d.serve(a)
	if _, begun := errors.AsType[*brokenOff](err); err != nil && !begun { // else the connection says so
		answerError(w, err)
	}
}

// serve does what is asked. An error is answered by who calls; where the answer has begun, the
// connection is cut instead.
func (d *Door) serve(a *asked) error {
	type does map[string]func(*asked) error
	by := map[string]does{
		"base":      {http.MethodGet: d.hello, http.MethodHead: d.hello},
		"token":     {http.MethodGet: d.token},
		"manifests": {http.MethodGet: d.getManifest, http.MethodHead: d.getManifest, http.MethodPut: d.putManifest, http.MethodDelete: d.deleteManifest},
		"blobs":     {http.MethodGet: d.getBlob, http.MethodHead: d.getBlob, http.MethodDelete: d.deleteBlob},
		"uploads":   {http.MethodGet: d.upload, http.MethodPatch: d.patch, http.MethodPut: d.finish, http.MethodDelete: d.abandon},
		"tags":      {http.MethodGet: d.tags},
		"referrers": {http.MethodGet: d.listReferrers},
	}[a.what]
	if a.what == "uploads" && a.ref == "" {
		by = does{http.MethodPost: d.begin}
	}
	if do := by[a.r.Method]; do != nil {
		return do(a)
	}
	var allowed []string
	for _, m := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPatch, http.MethodPut, http.MethodDelete} {
		if by[m] != nil {
			allowed = append(allowed, m)
		}
	}
	a.w.Header().Set("Allow", strings.Join(allowed, ", "))
	return withStatus(http.StatusMethodNotAllowed, refuse(codeUnsupported, "this cannot be done with "+a.r.Method, "use "+strings.Join(allowed, ", ")))
}

// hello says that this is a registry, to who is known.
func (d *Door) hello(a *asked) error {
	a.w.Header().Set("Content-Type", "application/json")
	_, err := io.WriteString(a.w, "{}")
	return lost(err)
}

// token gives a caller the token back with which they came: clients ask for one of the
// registry's own, and what scope it has is for policies to say.
func (d *Door) token(a *asked) error {
	token, err := identity.FromHeader(withBearer(a.r).Header.Values("Authorization"))
	if err != nil {
		return err
	}
	a.w.Header().Set("Content-Type", "application/json")
	a.w.Header().Set("Cache-Control", "no-store")
	return lost(json.NewEncoder(a.w).Encode(map[string]any{"token": token, "access_token": token, "expires_in": 60}))
}

// withBearer returns a request whose token stands where the others have it, if it came as the
// password of Basic, as clients that log in send it. Who logs in is in the token, and the
// user's name says nothing.
func withBearer(r *http.Request) *http.Request {
	values := r.Header.Values("Authorization")
	if len(values) != 1 {
		return r
	}
	scheme, rest, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Basic") {
		return r
	}
	pair, err := base64.StdEncoding.DecodeString(rest)
	_, password, ok := strings.Cut(string(pair), ":")
	if err != nil || !ok {
		return r // nobody knows it, and admit says so
	}
	with := r.Clone(r.Context())
	with.Header.Set("Authorization", "Bearer "+password)
	return with
}

// A brokenOff is why an answer that had begun did not come to its end.
type brokenOff struct{ error }

// Unwrap returns what the answer broke off for.
func (b *brokenOff) Unwrap() error { return b.error }

// lost is what comes of an answer that cannot be written, or not to its end: nobody is there
// to be told.
func lost(err error) error {
	if err != nil {
		return &brokenOff{&pavise.Error{Kind: pavise.Unavailable, Msg: "the answer broke off", Hint: "ask again", Err: err}}
	}
	return nil
}

// A body is what a caller sends, who may take as long as they like with it, as long as
// something comes.
type body struct {
	io.Reader
	to *http.ResponseController
}

// bodyOf is the body of a request, of at most so many bytes.
func (a *asked) bodyOf(most int64) *body {
	return &body{http.MaxBytesReader(a.w, a.r.Body, most), http.NewResponseController(a.w)}
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	now := time.Now()
	_ = b.to.SetReadDeadline(now.Add(stall)) // where it cannot be set, the server's own holds
	_ = b.to.SetWriteDeadline(now.Add(2 * stall))
	return b.Reader.Read(p)
}

// cut says what it means that a body could not be taken: it was too long, or it broke off.
// Errors of who keeps it stay what they are.
func cut(from *telling, err error) error {
	_, long := errors.AsType[*http.MaxBytesError](err)
	switch {
	case err == nil:
		return nil
	case long:
		return withStatus(http.StatusRequestEntityTooLarge, refuse(codeSize, "more is sent than may be kept in one piece", "a blob may have a tebibyte, and a manifest 4 MiB"))
	case from.failed != nil:
		return refuseFor(codeUpload, "what was sent broke off", "ask how far the upload is, and go on there", err)
	}
	return err
}
