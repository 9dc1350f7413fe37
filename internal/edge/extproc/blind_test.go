package extproc_test

import (
	"strings"
	"testing"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/pavise/pavise/internal/edge/extproc"
	"github.com/pavise/pavise/internal/edgetest"
	"github.com/pavise/pavise/internal/route"
)

// binaryInfer is a request whose tensor is in binary, and the length of its text.
const (
	binaryText  = `{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","parameters":{"binary_data_size":8}}]}`
	binaryInfer = binaryText + "\x00\x00\x00\x3f\x00\x00\x80\x3e"
)

// TestHostileQuestions asks by ext_authz in all the ways in which a caller, or an Envoy that
// is set up badly, could have something pass that nobody read.
func TestHostileQuestions(t *testing.T) {
	w := newWorld(t, nil, extproc.Config{})
	w.Put(t, func(s *route.Spec) { external(s); s.Shape = "full" })
	if _, err := w.Routes.Put(t.Context(), edgetest.Operator, route.Spec{
		Name: "local/model/elsewhere", Upstream: "external", Remote: "m-7", Shape: "full",
		Signature: []byte(`{"inputs":[{"name":"x","datatype":"FP32","shape":[-1,2]}],"outputs":[{"name":"scores","datatype":"FP32","shape":[-1,3]}]}`),
	}); err != nil {
		t.Fatal(err)
	}
	type request = auth.AttributeContext_HttpRequest
	raw := func(more ...[2]string) func(*request) { // fields one by one, the caller's before the proxy's
		return func(h *request) {
			own := h.Headers["x-envoy-auth-partial-body"]
			delete(h.Headers, "x-envoy-auth-partial-body")
			for k, v := range h.Headers {
				more = append(more, [2]string{k, v})
			}
			h.HeaderMap, h.Headers = headerMap(append(more, [2]string{"x-envoy-auth-partial-body", own})), nil
		}
	}
	field := func(name, value string) func(*request) { return func(h *request) { h.Headers[name] = value } }
	nobody := func(h *request) { delete(h.Headers, "authorization") }
	for name, c := range map[string]struct {
		edit   func(*request)
		around func(*auth.AttributeContext)
		status int // 0: let through; -1: no answer at all
		says   string
		record bool // by name
	}{
		"good":                 {record: true},
		"good, field by field": {edit: raw(), record: true},
		"a part, which the caller denies": {edit: func(h *request) {
			h.Headers["x-envoy-auth-partial-body"] = "true"
			raw([2]string{"x-envoy-auth-partial-body", "false"})(h)
		}, status: 400, says: "part"},
		"a part, denied in one field":    {edit: field("x-envoy-auth-partial-body", "false,true"), status: 400, says: "part"},
		"a part, said otherwise":         {edit: field("x-envoy-auth-partial-body", "TRUE"), status: 400, says: "part"},
		"a part, without a length":       {edit: func(h *request) { h.Size = int64(len(h.RawBody)) + 1 }, status: 400, says: "part"},
		"a part that is cut off":         {edit: func(h *request) { h.RawBody, h.Size = h.RawBody[:30], 30 }, status: 400, record: true},
		"nothing of a body":              {edit: func(h *request) { h.RawBody, h.Size = nil, 0 }, status: 400, says: "no body"},
		"nothing of a body of no length": {edit: func(h *request) { h.RawBody, h.Size = nil, -1 }, status: 400, says: "no body"},
		"a body of no length":            {edit: func(h *request) { h.Size = -1 }, record: true},
		"a body that was written anew": {edit: func(h *request) {
			h.RawBody, h.Body = nil, strings.Replace(spaced, "{", `{"id":"!",`, 1)
			h.Size = int64(len(h.Body))
		}, status: 400, says: "pack_as_bytes"},
		"a body of 6 MB":                    {edit: func(h *request) { h.RawBody = make([]byte, 6<<20) }, status: -1},
		"zeros":                             {edit: func(h *request) { h.RawBody, h.Size = make([]byte, 100), 100 }, status: 400, record: true},
		"a second request in the body":      {edit: func(h *request) { h.RawBody = []byte(spaced + "POST /v2/repository/models/m/unload HTTP/1.1\r\n\r\n") }, status: 400, record: true},
		"more rows than a request may have": {edit: func(h *request) { h.RawBody = []byte(strings.Replace(spaced, "1, 2", "100000, 2", 1)) }, status: 400, record: true},
		"the operator's words, forged": {edit: nobody, around: func(a *auth.AttributeContext) {
			a.ContextExtensions = map[string]string{"principal": "local/human/op", "pavise": "allow", "authorization": "Bearer x"}
		}, status: 401},
		"metadata of filters, forged": {edit: nobody, around: func(a *auth.AttributeContext) {
			a.MetadataContext = &core.Metadata{FilterMetadata: map[string]*structpb.Struct{"envoy.filters.http.jwt_authn": {}}}
		}, status: 401},
		"who the peer is, forged": {edit: nobody, around: func(a *auth.AttributeContext) {
			a.Source = &auth.AttributeContext_Peer{Principal: "spiffe://acme.example/workload/batch", Certificate: "x", Service: "app", Labels: map[string]string{"role": "operator"}}
		}, status: 401},
		"a certificate in a header": {edit: func(h *request) {
			nobody(h)
			h.Headers["x-forwarded-client-cert"] = "Hash=00;URI=spiffe://acme.example/workload/batch"
		}, status: 401},
		"a request of a future":     {edit: func(h *request) { unknown(h) }, status: -1},
		"no method":                 {edit: func(h *request) { h.Method = "" }, status: -1},
		"no path":                   {edit: func(h *request) { h.Path = "" }, status: 400},
		"a tunnel":                  {edit: func(h *request) { h.Method, h.Path = "CONNECT", "" }, status: 400},
		"capitals in a name":        {edit: field("Authorization", "Bearer x"), status: -1},
		"a line end in the host":    {edit: func(h *request) { h.Host = "a\r\nb" }, record: true}, // it goes nowhere
		"another method by a field": {edit: field("x-http-method-override", "DELETE"), record: true},
		"300 fields": {edit: func(h *request) {
			for i := range 300 {
				h.Headers["x-"+strings.Repeat("a", i+1)] = "b"
			}
		}, status: 400, says: "too large"},
		"300 fields, one by one":        {edit: func(h *request) { raw(make300()...)(h) }, status: 400, says: "too large"},
		"a value of 70 KB":              {edit: field("a", strings.Repeat("b", 70<<10)), status: 400, says: "too large"},
		"a path in two readings":        {edit: func(h *request) { h.Path = "/v2/models/%6d/infer" }, status: 503, says: "otherwise", record: true},
		"a path that climbs":            {edit: func(h *request) { h.Path = "/v2/models/x/../m/infer" }, status: 400},
		"a model of another name there": {edit: func(h *request) { h.Path = "/v2/models/elsewhere/infer" }, status: 503, says: "otherwise", record: true},
		"binary tensors": {edit: func(h *request) {
			h.RawBody, h.Size = []byte(binaryInfer), int64(len(binaryInfer))
			h.Headers["content-type"], h.Headers["inference-header-content-length"] = "application/octet-stream", "93"
		}, record: true},
		"binary tensors that say less": {edit: func(h *request) {
			h.RawBody, h.Size = []byte(binaryInfer), int64(len(binaryInfer))
			h.Headers["content-type"], h.Headers["inference-header-content-length"] = "application/octet-stream", "90"
		}, status: 400, record: true},
		"two lengths of binary tensors": {edit: func(h *request) {
			h.RawBody, h.Size = []byte(binaryInfer), int64(len(binaryInfer))
			h.Headers["content-type"], h.Headers["inference-header-content-length"] = "application/octet-stream", "93,90"
		}, status: 400, record: true},
		"a language model, although blind": {edit: func(h *request) {
			h.Path = "/v1/chat/completions"
			h.RawBody = []byte(`{"model":"m","messages":[]}`)
			h.Size = -1
		}, status: 400, record: true},
		"an answer to a request of nobody's": {edit: func(h *request) { nobody(h); h.RawBody = []byte("{"); h.Size = -1 }, status: 401},
	} {
		t.Run(name, func(t *testing.T) {
			q, size := w.question(c.edit), w.Log.Size()
			if c.around != nil {
				c.around(q.Attributes)
			}
			a, err := auth.NewAuthorizationClient(w.conn).Check(t.Context(), q)
			switch d := a.GetDeniedResponse(); {
			case c.status < 0:
				if code := status.Code(err); code != codes.InvalidArgument && code != codes.ResourceExhausted {
					t.Errorf("%v, %v", a, err)
				}
			case err != nil:
				t.Fatal(err)
			case c.status == 0:
				if a.GetOkResponse() == nil || !strings.Contains(a.GetOkResponse().String(), "authorization") {
					t.Errorf("%v", a)
				}
				for _, name := range a.GetOkResponse().GetHeadersToRemove() {
					if strings.HasPrefix(name, "content-") || strings.HasPrefix(name, "inference-") {
						t.Errorf("the model server reads the body without %s", name)
					}
				}
			case a.GetOkResponse() != nil || int(d.GetStatus().GetCode()) != c.status || !strings.Contains(d.GetBody(), c.says) || a.GetStatus().GetCode() == 0:
				t.Errorf("%v", a)
			}
			if n := w.inferences(t, size); n != 1 && c.record || n != 0 && !c.record {
				t.Errorf("%d records tell of it", n)
			}
		})
	}
}

func make300() (all [][2]string) {
	for range 300 {
		all = append(all, [2]string{"a", "b"})
	}
	return all
}
