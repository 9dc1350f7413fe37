package issuer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/plainjson"
)

// MaxJoin bounds a request to join, in bytes.
const MaxJoin = 32 << 10

const (
	joinTime   = 10 * time.Second // for all of it to arrive
	joinsAtOne = 64               // requests under way
)

// A joinDoor serves node.join to callers whom nobody knows.
type joinDoor struct {
	ca     *CA
	refuse func(http.ResponseWriter, error)
	under  chan struct{} // holds one element for each request under way
}

// JoinDoor serves requests to join (POST, a JoinRequest) to callers whom nobody knows.
// refuse writes why one came to nothing.
func (ca *CA) JoinDoor(refuse func(http.ResponseWriter, error)) http.Handler {
	return &joinDoor{ca: ca, refuse: refuse, under: make(chan struct{}, joinsAtOne)}
}

// ServeHTTP takes one request to join.
func (d *joinDoor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case d.under <- struct{}{}:
		defer func() { <-d.under }()
	default:
		d.refuse(w, &pavise.Error{Kind: pavise.Throttled, Msg: "too many machines are joining at this moment", Hint: "try again in a few seconds"})
		return
	}
	out, err := d.join(w, r)
	if err != nil {
		d.refuse(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(out) // who went away asks for another invitation
}

func (d *joinDoor) join(w http.ResponseWriter, r *http.Request) (Issued, error) {
	// Where no deadline can be set, the server's own holds.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(joinTime))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxJoin))
	if err != nil {
		msg := "the request's body broke off"
		if _, long := errors.AsType[*http.MaxBytesError](err); long {
			msg = fmt.Sprintf("the body is longer than %d bytes", MaxJoin)
		}
		return Issued{}, &pavise.Error{Kind: pavise.Invalid, Msg: msg, Hint: `send {"word":…,"csr":…}`, Err: err}
	}
	req, err := plainjson.ReadKnown[JoinRequest](body)
	if err != nil {
		return Issued{}, &pavise.Error{Kind: pavise.Invalid, Msg: "the request to join cannot be read", Hint: `send {"word":…,"csr":…}`, Err: err}
	}
	return d.ca.Join(r.Context(), source(r.RemoteAddr), req.Word, req.CSR)
}
