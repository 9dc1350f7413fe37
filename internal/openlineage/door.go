package openlineage

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/identity"
	"github.com/pavise/pavise/internal/intake"
	"github.com/pavise/pavise/internal/lineage"
	"github.com/pavise/pavise/internal/packed"
)

// Where clients of OpenLineage send to.
const (
	PathEvent = "/api/v1/lineage"
	PathBatch = "/api/v1/lineage/batch"
)

// The bounds of what is sent.
const (
	maxBatch  = 8 << 20 // bytes of a batch
	maxEvents = 500     // in a batch: one record has the digest of each
	parsed    = 3       // so many times as much as it has bytes does a body take while it is read
)

// A Door serves POST /api/v1/lineage and /api/v1/lineage/batch as OpenLineage's API has
// them, to callers whom admit knows.
type Door struct {
	claims *Claims
	admit  func(*http.Request) (pavise.Principal, error)
	refuse func(http.ResponseWriter, error)
	bodies intake.Bodies
}

// NewDoor returns a door. refuse writes why a request came to nothing.
func (c *Claims) NewDoor(admit func(*http.Request) (pavise.Principal, error), refuse func(http.ResponseWriter, error)) *Door {
	return &Door{claims: c, admit: admit, refuse: refuse}
}

// ServeHTTP takes one request.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	who, err := d.admit(r)
	if err != nil {
		if pavise.KindOf(err) == pavise.Unverified {
			w.Header().Set("WWW-Authenticate", identity.Challenge(err))
		}
		d.refuse(w, err)
		return
	}
	batch := r.URL.Path == PathBatch
	done, err := d.take(w, r, who, batch)
	if err == nil && !batch && len(done.Failed) > 0 {
		kind := pavise.Invalid
		if done.Failed[0].Retriable {
			kind = pavise.Throttled
		}
		err = &pavise.Error{Kind: kind, Msg: done.Failed[0].Reason}
	}
	if err != nil {
		d.refuse(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(done) // who went away asks again, and it counts once
}

// take reads what is sent, and has it kept.
func (d *Door) take(w http.ResponseWriter, r *http.Request, who pavise.Principal, batch bool) (Emitted, error) {
	if !d.claims.cfg.Guard.May(who, VerbEmit, thing(who.Tenant)) {
		return d.claims.Emit(r.Context(), who, nil) // refused, and recorded, and nothing of it is read
	}
	hold := d.bodies.Begin(who.Name())
	defer hold.Free()
	// Where no deadline can be set, the server's own holds.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(intake.BodyTime))
	most := lineage.MaxEvent
	if batch {
		most = maxBatch
	}
	body, err := readBody(r, http.MaxBytesReader(w, r.Body, int64(most)), hold, most)
	if err == nil {
		err = hold.Set(parsed * len(body))
	}
	if err != nil {
		return Emitted{}, err
	}
	texts := []json.RawMessage{body}
	if batch {
		if texts, err = splitBatch(body); err != nil {
			return Emitted{}, err
		}
	}
	return d.claims.Emit(r.Context(), who, texts)
}

// readBody reads a body of at most so many bytes, compressed or not.
func readBody(r *http.Request, body io.Reader, hold *intake.Hold, most int) ([]byte, error) {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return nil, invalid("the request is no JSON", "send Content-Type: application/json")
	}
	zipped := false
	switch coding := r.Header.Values("Content-Encoding"); {
	case len(coding) == 1 && coding[0] == "gzip":
		zipped = true
	case len(coding) > 1 || len(coding) == 1 && coding[0] != "" && coding[0] != "identity":
		return nil, invalid("the request is compressed otherwise than by gzip", "send Content-Encoding: gzip, or none")
	}
	unpacked, err := packed.NewReader(body, "the request", packed.Bounds{Bytes: int64(most)})
	if err == nil && unpacked.Compressed() != zipped {
		return nil, invalid("the request's Content-Encoding is not what its body is", "say gzip of what is gzip, and nothing of JSON")
	}
	var text []byte
	if err == nil {
		text, err = hold.Read(unpacked, most)
	}
	switch _, long := errors.AsType[*http.MaxBytesError](err); {
	case long:
		return nil, invalid(fmt.Sprintf("the request has more than %d bytes", most), "send fewer events at once")
	case err != nil && pavise.KindOf(err) != pavise.Internal:
		return nil, err
	case err != nil:
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "the request's body broke off", Hint: "send the whole body within 10 seconds", Err: err}
	}
	return text, nil
}

// splitBatch takes a list of events apart.
func splitBatch(body []byte) (texts []json.RawMessage, err error) {
	list := json.NewDecoder(bytes.NewReader(body))
	if open, err := list.Token(); err != nil || open != json.Delim('[') {
		return nil, invalid("the batch is no JSON list", "send a list of OpenLineage events")
	}
	for list.More() {
		if len(texts) == maxEvents {
			return nil, invalid("the batch has more than 500 events", "send fewer at once")
		}
		var text json.RawMessage
		if err := list.Decode(&text); err != nil {
			return nil, invalid("the batch cannot be read: "+err.Error(), "send a list of OpenLineage events")
		}
		texts = append(texts, text)
	}
	if _, err := list.Token(); err != nil {
		return nil, invalid("the batch breaks off", "send a list of OpenLineage events")
	}
	if _, err := list.Token(); err != io.EOF {
		return nil, invalid("something stands behind the batch", "send one list of OpenLineage events")
	}
	return texts, nil
}

func invalid(msg, hint string) error {
	return &pavise.Error{Kind: pavise.Invalid, Msg: msg, Hint: hint}
}
