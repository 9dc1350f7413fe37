package extproc

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"slices"
	"strings"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	kind "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	protobuf "google.golang.org/protobuf/proto"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/infer"
)

// maxBlind bounds a body that ext_authz shows, in bytes.
const maxBlind = maxMessage

// describing are the fields by which the model server reads the caller's body as we did.
var describing = []string{"content-type", "content-length", "inference-header-content-length"}

// Check decides about a request whose answer nobody shows us:
// envoy.service.auth.v3.Authorization. What the handler answers without asking a model,
// a refusal above all, is what the caller gets. Where it asks, the request may go on, as
// the caller sent it but without credentials, for this protocol changes no bodies.
//
// Unguarded: whoever asks enters in the handler.
func (s *Server) Check(ctx context.Context, m *auth.CheckRequest) (*auth.CheckResponse, error) {
	if !s.enter() {
		return nil, status.Error(codes.ResourceExhausted, "too many exchanges of proxies are under way")
	}
	defer s.leave()
	n := protobuf.Size(m)
	if !s.hold(n) {
		return nil, status.Error(codes.ResourceExhausted, "the bodies of the exchanges under way are too large together")
	}
	defer s.release(n)
	ctx, cancel := context.WithTimeout(ctx, maxLife)
	defer cancel()
	r, fields, err := s.checked(ctx, m)
	if err != nil {
		s.cfg.Refused(proxyOf(ctx), "a request that cannot be inspected")
		e, ok := err.(*pavise.Error)
		if !ok {
			return nil, status.Error(codes.InvalidArgument, err.Error())
		}
		return denied(refusal(e)), nil
	}
	asked := &blindRelay{path: r.RequestURI}
	w := &answerWriter{header: http.Header{}}
	s.cfg.Handler.ServeHTTP(w, r.WithContext(infer.WithRelay(ctx, infer.Relay{RoundTripper: asked, Blind: true})))
	if !asked.asked || w.status != http.StatusOK {
		return denied(w.status, w.header, w.body.Bytes()), nil
	}
	return &auth.CheckResponse{
		Status: status.New(codes.OK, "").Proto(),
		HttpResponse: &auth.CheckResponse_OkResponse{OkResponse: &auth.OkHttpResponse{
			HeadersToRemove:      strip(fields, append(slices.Clip(describing), passed...), nil).RemoveHeaders,
			ResponseHeadersToAdd: options(http.Header{recordHeader: w.header.Values(recordHeader)}),
		}},
		DynamicMetadata: told(w.header, "let through, unseen"),
	}, nil
}

// checked makes the request that the handler serves. The error is a violation, or of
// package pavise where the caller can be told.
func (s *Server) checked(ctx context.Context, m *auth.CheckRequest) (*http.Request, []field, error) {
	a := m.GetAttributes().GetRequest().GetHttp()
	if a == nil {
		return nil, nil, violation("a question without a request")
	}
	if len(a.ProtoReflect().GetUnknown()) > 0 {
		return nil, nil, violation("a field that this version does not know")
	}
	fields, err := fieldsOf(a.GetHeaderMap())
	if err == nil && len(a.GetHeaders()) > 0 {
		if len(fields) > 0 {
			return nil, nil, violation("two headers of one request")
		}
		fields, err = mergedFields(a.GetHeaders())
	}
	if err != nil {
		return nil, nil, err
	}
	fields = slices.DeleteFunc(fields, func(f field) bool { return f.name[0] == ':' || f.name == "host" })
	r, err := requestOf(append([]field{{":method", a.GetMethod()}, {":path", a.GetPath()}, {":authority", a.GetHost()}}, fields...))
	if err != nil {
		return nil, nil, err
	}
	body := a.GetRawBody()
	if text := a.GetBody(); text != "" {
		if len(body) > 0 {
			return nil, nil, violation("two bodies of one request")
		}
		if strings.Contains(text, "!") {
			return nil, nil, errText
		}
		body = []byte(text)
	}
	if err := wholeBody(r, a.GetSize(), body); err != nil {
		return nil, nil, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	said := m.GetAttributes().GetSource().GetAddress().GetSocketAddress().GetAddress()
	r.RemoteAddr = sourceOf(said, http.Header{}, proxyOf(ctx))
	if s.cfg.TrustCertificates {
		if r.TLS, err = callerOf(r.Header); err != nil {
			return nil, nil, err
		}
	}
	return r, fields, nil
}

// mergedFields reads a header whose fields of one name were put together. Of those that
// matter to us several make no sense in any case, and the handler refuses the sum. The
// error is that of fieldsOf.
func mergedFields(merged map[string]string) ([]field, error) {
	var fields []field
	size := 0
	for name, value := range merged {
		if !validName(name) || strings.ContainsAny(value, "\r\n\x00") {
			return nil, violation("a header field that is none")
		}
		size += len(name) + len(value)
		fields = append(fields, field{name, value})
	}
	if len(fields) > maxFields || size > maxHeader {
		return nil, errLarge
	}
	return fields, nil
}

// errText is why a body is refused that may be another than it seems: of what is no UTF-8
// Envoy makes exclamation marks where it shows text.
var errText = &pavise.Error{
	Kind: pavise.Invalid, Msg: "the proxy shows the body as text, and what it wrote anew looks like an exclamation mark there",
	Hint: "the proxy's operator sets with_request_body.pack_as_bytes",
}

// wholeBody refuses a request of whose body the proxy shows nothing, or a part. size is
// what it says of it; below zero: it does not know.
func wholeBody(r *http.Request, size int64, body []byte) error {
	hint := "the proxy's operator sets with_request_body, with max_request_bytes above the largest body and without allow_partial_message"
	switch {
	case len(body) > maxBlind:
		return &pavise.Error{Kind: pavise.Invalid, Msg: "the body is too large", Hint: "send fewer rows at once"}
	case len(body) == 0 && r.Method == http.MethodPost:
		return &pavise.Error{Kind: pavise.Invalid, Msg: "the proxy shows no body, and what nobody can read nobody can let through", Hint: hint}
	case saysPart(r.Header), max(r.ContentLength, size) > int64(len(body)) && len(body) > 0:
		return &pavise.Error{Kind: pavise.Invalid, Msg: "the proxy shows a part of the body only", Hint: hint}
	}
	return nil
}

// saysPart reports whether the proxy may have cut the body off. Its own field stands among
// those of the caller, who may have one of that name: each must say that it did not.
func saysPart(header http.Header) bool {
	said := header.Values("X-Envoy-Auth-Partial-Body")
	return slices.ContainsFunc(said, func(v string) bool { return v != "false" })
}

// denied is what the caller gets in the place of the model's answer.
func denied(code int, header http.Header, body []byte) *auth.CheckResponse {
	header = header.Clone()
	header.Del("Content-Length") // the proxy sets it
	return &auth.CheckResponse{
		Status: status.New(codes.PermissionDenied, "").Proto(),
		HttpResponse: &auth.CheckResponse_DeniedResponse{DeniedResponse: &auth.DeniedHttpResponse{
			Status: &kind.HttpStatus{Code: kind.StatusCode(code)}, Headers: options(header), Body: string(body),
		}},
		DynamicMetadata: told(header, "refused"),
	}
}

// A blindRelay lets the model be asked, and has nothing to show for it.
type blindRelay struct {
	path  string // as the caller wrote it, and as it goes on
	asked bool
}

func (b *blindRelay) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		r.Body.Close()
	}
	if r.URL.EscapedPath() != b.path {
		return nil, errOtherwise
	}
	b.asked = true
	return nil, infer.ErrUnseen
}

// An answerWriter keeps what a handler answers. What comes after WriteHeader is all of
// it: answers of this kind are errors and a few words of metadata.
type answerWriter struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *answerWriter) Header() http.Header { return w.header }

func (w *answerWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *answerWriter) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if w.body.Len()+len(b) > maxAnswer {
		return 0, io.ErrShortWrite
	}
	return w.body.Write(b)
}
