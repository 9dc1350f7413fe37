package edge

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/gateway"
	"github.com/pavise/pavise/internal/intake"
	"github.com/pavise/pavise/internal/tensor"
	"github.com/pavise/pavise/internal/tensor/oipgrpc"
)

// This file is the gRPC door: the calls of inference.GRPCInferenceService over HTTP/2,
// as gRPC's own "PROTOCOL-HTTP2.md" frames them. A message is read like any other body,
// once its caller is known and may ask, and by the byte against the room that all
// bodies share; a framework would have read it whole before anybody is asked.

// GRPCPath is below which the calls of gRPC are.
const GRPCPath = "/inference.GRPCInferenceService/"

const (
	mediaGRPC = "application/grpc"
	// framePrefix is a byte that says whether a message is compressed, and its
	// length in four.
	framePrefix = 5
	nameAhead   = 256 // bytes of a message that are read to find the model's name
	// streamIdle is how long a stream may wait for its next message, and sendTime how
	// long an answer may take to leave.
	streamIdle = 5 * time.Minute
	sendTime   = 30 * time.Second
	// streamCheck is how often the caller of a stream is looked at again: a token
	// that has run out or was revoked ends it.
	streamCheck = time.Minute
)

// isGRPC reports whether a request is a gRPC call.
func isGRPC(r *http.Request) bool {
	types := r.Header["Content-Type"]
	if r.ProtoMajor != 2 || len(types) != 1 {
		return false
	}
	media, _, _ := strings.Cut(types[0], ";")
	return media == mediaGRPC || media == mediaGRPC+"+proto"
}

// isCall reports whether a gRPC call is one that is served; the others are those of
// Profile, and refused as such.
func isCall(r *http.Request) bool {
	name, ours := strings.CutPrefix(r.URL.Path, GRPCPath)
	return ours && methods[name] != nil && r.Method == http.MethodPost && r.URL.Scheme == ""
}

// The status codes of gRPC that are answered here.
const (
	codeOK = iota
	_
	_
	codeInvalid
	codeDeadline
	codeNotFound
	_
	codeDenied
	codeThrottled
	_
	codeAborted
	_
	codeUnimplemented
	codeInternal
	codeUnavailable
	_
	codeUnauthenticated
)

var grpcCodes = map[pavise.Kind]int{
	pavise.Internal: codeInternal, pavise.Invalid: codeInvalid, pavise.Denied: codeDenied, pavise.NotFound: codeNotFound,
	pavise.Conflict: codeAborted, pavise.Throttled: codeThrottled, pavise.Unverified: codeUnauthenticated, pavise.Unavailable: codeUnavailable,
}

// A rpc is one call. One goroutine owns it.
type rpc struct {
	edge    *Edge
	w       http.ResponseWriter
	r       *http.Request
	conn    *http.ResponseController
	started bool             // the head of the answer is on its way
	who     pavise.Principal // who calls, once known is true
	known   bool
	until   time.Time // when its caller wants it ended; zero: they do not say
}

// afterwards is how much later than the call's own time reading ends, so that the call
// knows by then why.
const afterwards = 10 * time.Millisecond

// patience bounds the wait for what comes next of the call: d, or what is left of its own
// time.
func (c *rpc) patience(d time.Duration) {
	end := time.Now().Add(d)
	if late := c.until.Add(afterwards); !c.until.IsZero() && late.Before(end) {
		end = late
	}
	c.conn.SetReadDeadline(end)
}

// caller says who calls. It is asked once: a proof of possession counts once.
func (c *rpc) caller() (err error) {
	if !c.known {
		c.who, err = c.edge.caller(c.r)
		c.known = err == nil
	}
	return err
}

// refuse leaves a record of what is wrong with a call that never gets as far as a model,
// and returns it. That of a caller whom nobody can name is only counted, with all of its
// address.
func (c *rpc) refuse(wrong error) error {
	if _, left := errors.AsType[*leftError](wrong); left || c.caller() != nil {
		return wrong
	}
	_, err := c.edge.gateway.Aside(c.r.Context(), c.who, gateway.AsideCall{
		Verb: VerbOther, Server: unknown, Method: c.r.Method, Path: c.r.URL.EscapedPath(), Wrong: wrong,
	})
	code, msg := grpcCodes[pavise.KindOf(wrong)], explain(wrong)
	if e, ok := errors.AsType[*rpcError](wrong); ok {
		code, msg = e.code, e.msg
	}
	return &rpcError{code, msg, err}
}

// A rpcError is an error that gRPC has a code of its own for.
type rpcError struct {
	code int
	msg  string
	err  error // that knows the record; may be nil
}

// Error returns the text.
func (e *rpcError) Error() string { return e.msg }

// Unwrap returns the error that knows the record.
func (e *rpcError) Unwrap() error { return e.err }

// methods are the calls that are served. Whatever a server of the protocol has beside
// them, such as loading models, shared memory, traces and logs, is refused: see Profile.
var methods = map[string]func(*rpc, context.Context) error{
	"ServerLive":       func(c *rpc, _ context.Context) error { return c.tell(oipgrpc.AppendFlag(nil, true)) },
	"ServerReady":      func(c *rpc, _ context.Context) error { return c.tell(oipgrpc.AppendFlag(nil, true)) },
	"ServerMetadata":   func(c *rpc, _ context.Context) error { return c.tell(oipgrpc.AppendServer(nil, "pavise", "1", nil)) },
	"ModelReady":       (*rpc).ready,
	"ModelMetadata":    (*rpc).metadata,
	"ModelInfer":       (*rpc).infer,
	"ModelStreamInfer": (*rpc).stream,
}

// grpc answers a call.
func (e *Edge) grpc(w http.ResponseWriter, r *http.Request) {
	c := &rpc{edge: e, w: w, r: r, conn: http.NewResponseController(w)}
	w.Header().Set("Content-Type", mediaGRPC)
	c.end(c.serve())
}

func (c *rpc) serve() error {
	method := methods[strings.TrimPrefix(c.r.URL.Path, GRPCPath)]
	encodings := c.r.Header["Grpc-Encoding"]
	if len(encodings) > 1 || len(encodings) == 1 && encodings[0] != "identity" {
		c.w.Header().Set("Grpc-Accept-Encoding", "identity")
		return c.refuse(&rpcError{code: codeUnimplemented, msg: fmt.Sprintf("messages compressed with %.40q are not taken; send them as they are", strings.Join(encodings, ", "))})
	}
	c.r.Pattern = c.r.URL.Path // one of ours: it is counted by it
	ctx, cancel, err := c.deadline()
	if err != nil {
		return c.refuse(err)
	}
	defer cancel()
	if end, ends := ctx.Deadline(); ends {
		c.until = end
	}
	const late = "the call took longer than its caller gives it"
	if ctx.Err() == context.DeadlineExceeded {
		return c.refuse(&rpcError{code: codeDeadline, msg: late})
	}
	err = method(c, ctx)
	if ctx.Err() == context.DeadlineExceeded && err != nil {
		return &rpcError{codeDeadline, late, err}
	}
	return err
}

// deadline is the call's own, which grpc-timeout says: up to eight digits and a unit.
func (c *rpc) deadline() (context.Context, context.CancelFunc, error) {
	values := c.r.Header["Grpc-Timeout"]
	if len(values) == 0 {
		return c.r.Context(), func() {}, nil
	}
	units := map[byte]time.Duration{'H': time.Hour, 'M': time.Minute, 'S': time.Second, 'm': time.Millisecond, 'u': time.Microsecond, 'n': time.Nanosecond}
	v := values[0]
	if len(values) > 1 || len(v) < 2 || len(v) > 9 || strings.Trim(v[:len(v)-1], "0123456789") != "" || units[v[len(v)-1]] == 0 {
		return nil, nil, &rpcError{code: codeInvalid, msg: fmt.Sprintf("grpc-timeout is %.40q, which is no time", strings.Join(values, ", "))}
	}
	n, _ := strconv.Atoi(v[:len(v)-1])
	ctx, cancel := context.WithTimeout(c.r.Context(), min(time.Duration(n), time.Hour/units[v[len(v)-1]])*units[v[len(v)-1]])
	return ctx, cancel, nil
}

// next reads how long the next message is, or io.EOF when none follows.
func (c *rpc) next(limit int) (int, error) {
	var prefix [framePrefix]byte
	switch n, err := io.ReadFull(c.r.Body, prefix[:]); {
	case err == io.EOF:
		return 0, io.EOF
	case err != nil && n == 0:
		return 0, &leftError{err}
	case err != nil:
		return 0, brokenOff(err)
	}
	n := binary.BigEndian.Uint32(prefix[1:])
	switch {
	case prefix[0] == 1:
		return 0, &rpcError{code: codeUnimplemented, msg: "a compressed message is not taken; send it as it is"}
	case prefix[0] != 0:
		return 0, &rpcError{code: codeInvalid, msg: "a message begins with a byte other than 0 or 1"}
	case int64(n) > int64(limit):
		return 0, &rpcError{code: codeThrottled, msg: fmt.Sprintf("a message of %d bytes, more than the limit of %d; send fewer rows at once", n, limit)}
	}
	return int(n), nil
}

// A leftError is why nothing comes where a message could begin: nothing is wrong with
// what was asked until then.
type leftError struct{ err error }

// Error returns the text.
func (e *leftError) Error() string { return "no message comes: " + e.err.Error() }

// Unwrap returns an error of a kind.
func (e *leftError) Unwrap() error { return brokenOff(e.err) }

func brokenOff(err error) error {
	if _, said := errors.AsType[*pavise.Error](err); said {
		return err
	}
	return &pavise.Error{Kind: pavise.Invalid, Msg: "the call's message broke off", Hint: "send the whole message within " + intake.BodyTime.String(), Err: err}
}

// maxSmall bounds the messages that only name something, in bytes.
const maxSmall = 4 << 10

// small reads the one message of a call, which is small.
func (c *rpc) small() ([]byte, error) {
	c.patience(intake.BodyTime)
	n, err := c.next(maxSmall)
	if err == io.EOF {
		return nil, &rpcError{code: codeInvalid, msg: "a call without a message"}
	}
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(&message{body: c.r.Body, left: n, last: true})
	if err != nil {
		return nil, brokenOff(err)
	}
	return b, nil
}

// A message reads one message of a call, all of it or an error.
type message struct {
	body io.Reader
	left int
	last bool // nothing may follow it
}

// Read reads on.
func (m *message) Read(p []byte) (int, error) {
	if m.left == 0 {
		if m.last {
			m.last = false
			var more [1]byte
			if _, err := io.ReadFull(m.body, more[:]); err == nil {
				return 0, &pavise.Error{Kind: pavise.Invalid, Msg: "a second message in a call of one", Hint: "send one call for each, or a stream"}
			} else if err != io.EOF {
				return 0, err
			}
		}
		return 0, io.EOF
	}
	n, err := m.body.Read(p[:min(len(p), m.left)])
	m.left -= n
	if err == io.EOF {
		err = nil
		if m.left > 0 {
			err = io.ErrUnexpectedEOF
		}
	}
	return n, err
}

// tell answers a call that asks nothing.
func (c *rpc) tell(answer []byte) error {
	b, err := c.small()
	if err == nil && len(b) > 0 {
		err = &rpcError{code: codeInvalid, msg: "the message of this call has no fields"}
	}
	if err != nil {
		return c.refuse(err)
	}
	return c.send(answer)
}

// describe reads which model is meant, and returns what it takes and gives.
func (c *rpc) describe(ctx context.Context) (pavise.Name, tensor.Signature, error) {
	if err := c.caller(); err != nil {
		return pavise.Name{}, tensor.Signature{}, err
	}
	model, err := c.which()
	if err != nil {
		return pavise.Name{}, tensor.Signature{}, c.refuse(err)
	}
	name := pavise.Name{Tenant: c.who.Tenant, Kind: "model", ID: model}
	sig, err := c.edge.gateway.Describe(ctx, c.who, name)
	return name, sig, err
}

// which reads the model that the one message of a call names.
func (c *rpc) which() (string, error) {
	b, err := c.small()
	if err != nil {
		return "", err
	}
	model, version, err := oipgrpc.ParseModel(b, tensor.DefaultLimits())
	if err == nil && version != "" {
		err = &pavise.Error{Kind: pavise.Invalid, Msg: "a version of the model cannot be chosen here", Hint: "leave version empty"}
	}
	return model, err
}

func (c *rpc) ready(ctx context.Context) error {
	if _, _, err := c.describe(ctx); err != nil {
		return err
	}
	return c.send(oipgrpc.AppendFlag(nil, true))
}

func (c *rpc) metadata(ctx context.Context) error {
	name, sig, err := c.describe(ctx)
	if err != nil {
		return err
	}
	return c.send(oipgrpc.AppendMetadata(nil, name.ID, "pavise", sig))
}

// infer is the one question of a ModelInfer.
func (c *rpc) infer(ctx context.Context) error {
	if err := c.caller(); err != nil {
		return err
	}
	c.patience(intake.BodyTime)
	n, err := c.next(tensor.DefaultLimits().MaxBody)
	if err == io.EOF {
		err = &rpcError{code: codeInvalid, msg: "a call without a message"}
	}
	if err != nil {
		return c.refuse(err)
	}
	answer, err := c.ask(ctx, &message{body: c.r.Body, left: n, last: true})
	if err != nil {
		return err
	}
	setRecord(c.w, answer.Record())
	return c.send(answer.Body)
}

// ask asks what one message says.
func (c *rpc) ask(ctx context.Context, m *message) (*gateway.Answer, error) {
	call, err := c.begun(m)
	if err != nil {
		return nil, c.refuse(err)
	}
	return c.edge.gateway.Infer(ctx, c.who, call)
}

// begun reads as much of a message as says which model is asked: its name stands at the
// beginning. The rest is read only once the caller may ask it.
func (c *rpc) begun(m *message) (call gateway.Call, err error) {
	about, err := aboutWhom(c.r)
	if err != nil {
		return call, err
	}
	var start [nameAhead]byte
	n, err := io.ReadFull(m, start[:min(nameAhead, m.left)])
	if err != nil {
		return call, brokenOff(err)
	}
	model, err := oipgrpc.ModelOf(start[:n], tensor.DefaultLimits())
	if err != nil {
		return call, err
	}
	return gateway.Call{
		Model:   pavise.Name{Tenant: c.who.Tenant, Kind: "model", ID: model},
		Subject: about, Protocol: oipgrpc.Protocol, Body: io.MultiReader(bytes.NewReader(start[:n]), m),
	}, nil
}

// stream answers the messages of a ModelStreamInfer one after the other: the next one is
// read when the last was answered, so that a stream takes no more room than a call, and
// a caller who sends faster waits.
func (c *rpc) stream(ctx context.Context) error {
	if err := c.caller(); err != nil {
		return err
	}
	known := time.Now()
	for {
		c.patience(streamIdle)
		n, err := c.next(tensor.DefaultLimits().MaxBody)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return c.refuse(err)
		}
		if time.Since(known) > streamCheck {
			c.known, known = false, time.Now()
			if err := c.caller(); err != nil {
				return err
			}
		}
		c.patience(intake.BodyTime)
		m := &message{body: c.r.Body, left: n}
		answer, asked := c.ask(ctx, m)
		if _, err := io.Copy(io.Discard, m); err != nil { // what was not read of a refused one
			return brokenOff(err)
		}
		if ctx.Err() != nil {
			return asked
		}
		if err := c.send(streamed(answer, asked)); err != nil {
			return err
		}
	}
}

// streamed is what a stream says to one message: an answer, or why there is none.
func streamed(answer *gateway.Answer, err error) []byte {
	if err == nil {
		return oipgrpc.AppendStreamed(nil, answer.Body, answer.Record())
	}
	msg := explain(err)
	if index, ok := recordOf(err); ok {
		msg += fmt.Sprintf(" (record %d)", index)
	}
	return oipgrpc.AppendStreamError(nil, msg)
}

// send sends one message of the answer.
func (c *rpc) send(b []byte) error {
	c.conn.SetWriteDeadline(time.Now().Add(sendTime))
	c.started = true
	var prefix [framePrefix]byte
	binary.BigEndian.PutUint32(prefix[1:], uint32(len(b)))
	if _, err := c.w.Write(append(prefix[:], b...)); err != nil {
		return err
	}
	return c.conn.Flush()
}

// end ends the call with a status: behind the answer, or in the place of one.
func (c *rpc) end(err error) {
	set := c.w.Header().Set
	if c.started {
		set = func(key, value string) { c.w.Header().Set(http.TrailerPrefix+key, value) }
	}
	if err == nil {
		set("Grpc-Status", "0")
		return
	}
	code, msg := grpcCodes[pavise.KindOf(err)], explain(err)
	if e, ok := errors.AsType[*rpcError](err); ok {
		code, msg = e.code, e.msg
	}
	set("Grpc-Status", strconv.Itoa(code))
	set("Grpc-Message", percent(msg))
	if index, ok := recordOf(err); ok {
		set(RecordHeader, strconv.FormatUint(index, 10))
	}
	if kind := pavise.KindOf(err); kind == pavise.Throttled || kind == pavise.Unavailable {
		wait, _ := strconv.Atoi(retryAfter(err))
		set("Grpc-Status-Details-Bin", base64.RawStdEncoding.EncodeToString(oipgrpc.AppendStatus(nil, code, msg, wait)))
	}
	if !c.started {
		c.w.WriteHeader(http.StatusOK)
	}
}

// percent writes a message as grpc-message has it.
func percent(msg string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(msg) {
		if c := msg[i]; ' ' <= c && c <= '~' && c != '%' {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}
