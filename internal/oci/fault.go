package oci

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/pavise/pavise"
)

// A code is what the specification calls a failure.
type code string

// The codes of OCI distribution 1.1.
const (
	codeBlobUnknown     code = "BLOB_UNKNOWN"
	codeUpload          code = "BLOB_UPLOAD_INVALID"
	codeUploadUnknown   code = "BLOB_UPLOAD_UNKNOWN"
	codeDigest          code = "DIGEST_INVALID"
	codeManifestBlob    code = "MANIFEST_BLOB_UNKNOWN"
	codeManifestInvalid code = "MANIFEST_INVALID"
	codeManifestUnknown code = "MANIFEST_UNKNOWN"
	codeName            code = "NAME_INVALID"
	codeNameUnknown     code = "NAME_UNKNOWN"
	codeSize            code = "SIZE_INVALID"
	codeUnauthorized    code = "UNAUTHORIZED"
	codeDenied          code = "DENIED"
	codeUnsupported     code = "UNSUPPORTED"
	codeTooMany         code = "TOOMANYREQUESTS"
	codeUnavailable     code = "UNAVAILABLE" // what the specification has no word for
	codeUnknown         code = "UNKNOWN"
)

// statuses are the answers of the codes that say more than their kind does.
var statuses = map[code]int{
	codeBlobUnknown: http.StatusNotFound, codeUploadUnknown: http.StatusNotFound, codeManifestUnknown: http.StatusNotFound, codeNameUnknown: http.StatusNotFound,
	codeUpload: http.StatusBadRequest, codeDigest: http.StatusBadRequest, codeManifestBlob: http.StatusBadRequest,
	codeManifestInvalid: http.StatusBadRequest, codeName: http.StatusBadRequest, codeSize: http.StatusBadRequest,
	codeUnsupported: http.StatusBadRequest, codeDenied: http.StatusForbidden,
}

// A fault is an error that has a code. Its status is that of the code unless it has one.
type fault struct {
	code   code
	status int
	err    *pavise.Error
}

// Error implements error.
func (f *fault) Error() string { return f.err.Error() }

// Unwrap returns the error of ours.
func (f *fault) Unwrap() error { return f.err }

// refuse says no with a code. Its kind is what the code means elsewhere in the house.
func refuse(c code, msg, hint string) error { return refuseFor(c, msg, hint, nil) }

func refuseFor(c code, msg, hint string, cause error) error {
	kind := pavise.Invalid
	switch c {
	case codeBlobUnknown, codeUploadUnknown, codeManifestUnknown, codeNameUnknown:
		kind = pavise.NotFound
	case codeDenied:
		kind = pavise.Denied
	}
	return &fault{code: c, err: &pavise.Error{Kind: kind, Msg: msg, Hint: hint, Err: cause}}
}

// withStatus is a fault with another status than its code has.
func withStatus(status int, err error) error {
	if f, ok := errors.AsType[*fault](err); ok {
		with := *f
		with.status = status
		return &with
	}
	return err
}

// kindCodes are the codes of errors that the house's other rooms made.
var kindCodes = map[pavise.Kind]code{
	pavise.Invalid: codeManifestInvalid, pavise.Denied: codeDenied, pavise.NotFound: codeNameUnknown, pavise.Conflict: codeDenied,
	pavise.Throttled: codeTooMany, pavise.Unverified: codeUnauthorized, pavise.Unavailable: codeUnavailable, pavise.Internal: codeUnknown,
}

// answerError writes why a request came to nothing, as clients of registries read it.
func answerError(w http.ResponseWriter, err error) {
	kind := pavise.KindOf(err)
	c, status := kindCodes[kind], kind.HTTPStatus()
	if f, ok := errors.AsType[*fault](err); ok {
		if c = f.code; statuses[c] != 0 {
			status = statuses[c]
		}
		if f.status != 0 {
			status = f.status
		}
	}
	said := struct {
		Code    code   `json:"code"`
		Message string `json:"message"`
		Detail  any    `json:"detail,omitempty"`
	}{Code: c, Message: "internal error"}
	if e, ok := errors.AsType[*pavise.Error](err); ok {
		if said.Message = e.Msg; e.Hint != "" {
			said.Message += ": " + e.Hint
			said.Detail = map[string]string{"hint": e.Hint}
		}
	}
	body, _ := json.Marshal(map[string]any{"errors": []any{said}}) // texts alone
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // who went away has no use for it
}
