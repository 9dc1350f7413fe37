package edge

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/gateway"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/identity"
	"github.com/pavise/pavise/internal/tensor"
)

// refuse answers with the protocol's error object, the record that says why,
// and when to come back.
func refuse(w http.ResponseWriter, err error) {
	reply(w, pavise.KindOf(err).HTTPStatus(), tensor.AppendError(nil, tell(w, err)))
}

// tell says in the head what a refusal has to, and returns its text.
func tell(w http.ResponseWriter, err error) string {
	nameRecord(w, err)
	switch pavise.KindOf(err) {
	case pavise.Unverified:
		w.Header().Set("WWW-Authenticate", identity.Challenge(err))
	case pavise.Throttled, pavise.Unavailable:
		w.Header().Set("Retry-After", retryAfter(err))
	}
	return explain(err)
}

// explain is what a caller may be told about an error, with what to do.
func explain(err error) string {
	msg, hint := gateway.Message(err)
	if hint != "" {
		msg += "; " + hint
	}
	return strings.ToValidUTF8(msg, "\ufffd")
}

// setRecord names the record that proves an answer or a refusal.
func setRecord(w http.ResponseWriter, index uint64) {
	w.Header()[RecordHeader] = []string{strconv.FormatUint(index, 10)}
}

// nameRecord names the record that says why, if the refusal left one.
func nameRecord(w http.ResponseWriter, err error) {
	if index, ok := recordOf(err); ok {
		setRecord(w, index)
	}
}

// recordOf is the record that says why, if the refusal left one.
func recordOf(err error) (index uint64, ok bool) {
	if r, is := errors.AsType[*gateway.Refusal](err); is {
		return r.Record()
	}
	if d, is := errors.AsType[*guard.Denial](err); is {
		return d.Record, true
	}
	return 0, false
}

// retryAfter is the seconds a refused caller should wait, at least one.
func retryAfter(err error) string {
	wait := time.Second
	if r, ok := errors.AsType[*gateway.Refusal](err); ok {
		wait = max(wait, r.Retry)
	}
	return strconv.Itoa(int(math.Ceil(wait.Seconds())))
}

// replyRecorded answers with JSON that a record proves. It reports whether the server has
// taken all of the body: see replyAs.
func replyRecorded(w http.ResponseWriter, record uint64, body []byte) (taken bool) {
	r, ok := w.(interface {
		Reply(status int, lines string, number uint64, body []byte) bool
	})
	if ok && r.Reply(http.StatusOK, recordedJSON, record, body) {
		return true
	}
	setRecord(w, record)
	return replyAs(w, http.StatusOK, mediaJSON, body)
}

// recordedJSON are the fields that setRecord and reply set, as package http1 takes them at
// once: up to the record's number.
const recordedJSON = "Content-Type: " + mediaJSON + "\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n" + RecordHeader + ": "

func replyJSON(w http.ResponseWriter, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		refuse(w, err)
		return
	}
	reply(w, http.StatusOK, body)
}

func reply(w http.ResponseWriter, status int, body []byte) {
	replyAs(w, status, mediaJSON, body)
}

// replyText answers with text, as servers of metrics do.
func replyText(w http.ResponseWriter, body []byte) {
	replyAs(w, http.StatusOK, "text/plain; version=0.0.4; charset=utf-8", body)
}

// replyAs answers, and reports whether the server has taken all of the body. If not it may
// still read it: net/http's HTTP/2 gives up on a write whose stream ends meanwhile, and the
// frame may be under way. Then the memory must not be another answer's, or who resets a
// stream at the right moment reads that.
func replyAs(w http.ResponseWriter, status int, media string, body []byte) (taken bool) {
	h := w.Header() // its names are written as they are kept: Set would look at each
	if h["Content-Type"] = saysJSON; media != mediaJSON {
		h["Content-Type"] = []string{media}
	}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	h["Cache-Control"], h["X-Content-Type-Options"] = saysNoStore, saysNoSniff
	w.WriteHeader(status)
	n, err := w.Write(body)
	return n == len(body) && err == nil
}

// Fields that all answers have. Nobody changes them; what is added to one makes it another.
var (
	saysJSON, saysEvents     = []string{mediaJSON}, []string{"text/event-stream"}
	saysNoStore, saysNoSniff = []string{"no-store"}, []string{"nosniff"}
	saysNo                   = []string{"no"}
)
