package gate

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/identity"
	"github.com/pavise/pavise/internal/packed"
)

const (
	// HeaderID is the sender's name for a batch.
	HeaderID = "Idempotency-Key"
	// HeaderSignature has the detached Ed25519 signature over the unpacked body, in base64.
	HeaderSignature = "Pavise-Signature"
	// HeaderAt says when the batch was written, as RFC 3339 has it.
	HeaderAt = "Pavise-Written-At"
)

// The bounds of bodies that are unpacked.
const (
	maxRatio  = 1_000
	freeBytes = 1 << 20
)

// A Door is how the push doors know who calls, and tell them why not.
type Door struct {
	Admit  func(*http.Request) (pavise.Principal, error)
	Refuse func(http.ResponseWriter, error)
}

// known says who calls, or answers that nobody knows, and how to mend it.
func (d Door) known(w http.ResponseWriter, r *http.Request) (who pavise.Principal, known bool) {
	who, err := d.Admit(r)
	if err == nil {
		return who, true
	}
	if pavise.KindOf(err) == pavise.Unverified {
		w.Header().Set("WWW-Authenticate", identity.Challenge(err))
	}
	d.Refuse(w, err)
	return who, false
}

// mediaTypes are the forms by the types that bodies may have.
var mediaTypes = map[string]string{
	"application/x-ndjson": FormNDJSON, "application/ndjson": FormNDJSON, "application/jsonl": FormNDJSON, "application/x-jsonlines": FormNDJSON,
	"text/csv": FormCSV, "text/plain": FormLines, "application/stix+json": FormSTIX, "application/taxii+json": FormSTIX, "application/octet-stream": FormBlob,
}

// PushDoor serves POST /v1/ingest/{source}: one batch, whose answer is its Receipt, with
// status 200, or 202 for one that is held, or was when it came before. The source is of the caller's tenant, and the
// caller is who wrote it.
func (g *Gate) PushDoor(d Door) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, known := d.known(w, r)
		if !known {
			return
		}
		name := pavise.Name{Tenant: who.Tenant, Kind: KindSource, ID: r.PathValue("source")}
		hold := g.bodies.Begin(who.Name())
		defer hold.Free()
		receipt, err := g.receive(r.Context(), who, name, func(*terms) (b Batch, err error) {
			if b, err = headed(r); err != nil {
				return b, err
			}
			b.Writer = who.Name().String()
			b.Body, err = unpacked(r, MaxBatch, hold.Read)
			return b, err
		})
		if err != nil {
			d.Refuse(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if receipt.Barred() {
			w.WriteHeader(http.StatusAccepted)
		}
		_ = json.NewEncoder(w).Encode(receipt) // who is gone asks again, and is told Repeated
	})
}

// headed reads what a request says of its batch aside from the body.
func headed(r *http.Request) (b Batch, err error) {
	kind, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	form, known := mediaTypes[kind]
	if err != nil || !known {
		return b, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the body has the type %.80q, which no source takes", r.Header.Get("Content-Type")), Hint: "Content-Type is application/x-ndjson, text/csv, text/plain, application/stix+json or application/octet-stream; OTLP goes to /v1/logs"}
	}
	if set := strings.ToLower(parameters["charset"]); set != "" && set != "utf-8" && set != "us-ascii" {
		return b, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the body is in %.40q", set), Hint: "send UTF-8"}
	}
	b.Form = form
	if b.ID, err = single(r, HeaderID); err != nil {
		return b, err
	}
	signature, err := single(r, HeaderSignature)
	if err != nil {
		return b, err
	}
	if signature != "" {
		if b.Signature, err = base64.StdEncoding.DecodeString(signature); err != nil {
			return b, &pavise.Error{Kind: pavise.Invalid, Msg: HeaderSignature + " is no base64", Hint: "it is the Ed25519 signature over the unpacked body, 64 bytes in base64", Err: err}
		}
	}
	at, err := single(r, HeaderAt)
	if err == nil && at != "" {
		if b.At, err = time.Parse(time.RFC3339Nano, at); err != nil {
			err = &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s is %.60q, which is no instant", HeaderAt, at), Hint: "write it as 2026-11-27T13:00:00Z", Err: err}
		}
	}
	return b, err
}

// single is a header that stands once at most.
func single(r *http.Request, name string) (string, error) {
	switch values := r.Header.Values(name); len(values) {
	case 0:
		return "", nil
	case 1:
		return values[0], nil
	default:
		return "", &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s stands there %d times", name, len(values)), Hint: "send it once"}
	}
}

// unpacked reads a body, in gzip or as it is, into memory that take counts: at most so many
// bytes.
func unpacked(r *http.Request, most int, take func(io.Reader, int) ([]byte, error)) ([]byte, error) {
	var body io.Reader = r.Body
	var zip *packed.Reader
	switch coding := strings.ToLower(strings.Join(r.Header.Values("Content-Encoding"), ",")); coding {
	case "", "identity":
	case "gzip":
		var err error
		if zip, err = packed.NewReader(r.Body, "the body", packed.Bounds{Bytes: int64(most), Ratio: maxRatio, Free: freeBytes}); err != nil {
			return nil, broken(err)
		}
		body = zip
	default:
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the body is packed with %.40q", coding), Hint: "send it in gzip, or as it is"}
	}
	text, err := take(body, most)
	switch {
	case err == nil && len(text) > most:
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the body is longer than %d bytes", most), Hint: "send it in parts"}
	case err == nil && zip != nil && len(text) > 0 && !zip.Compressed():
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "the body is said to be in gzip, and is not", Hint: "leave Content-Encoding out"}
	}
	return text, broken(err)
}

// broken is an error of reading a body in words of ours.
func broken(err error) error {
	if _, ours := errors.AsType[*pavise.Error](err); err == nil || ours {
		return err
	}
	return &pavise.Error{Kind: pavise.Invalid, Msg: "the body broke off", Hint: "send it again, whole: what comes twice counts once", Err: err}
}
