package edge_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/pavise/pavise/internal/edgetest"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/tensor"
	"github.com/pavise/pavise/internal/tensor/oipgrpc"
)

// manyAnswers is a server of a language model that answers as often as it is asked to, and
// gives three embeddings.
func manyAnswers(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("Content-Type", "application/json")
	var ask struct{ N int }
	json.Unmarshal(body, &ask)
	var list []string
	if strings.HasSuffix(r.URL.Path, "/embeddings") {
		for i := range 3 {
			list = append(list, fmt.Sprintf(`{"object":"embedding","index":%d,"embedding":[0.5,0.25]}`, i))
		}
		fmt.Fprintf(w, `{"object":"list","model":"up","data":[%s],"usage":{"prompt_tokens":3,"total_tokens":3}}`, strings.Join(list, ","))
		return
	}
	for i := range max(ask.N, 1) {
		list = append(list, fmt.Sprintf(`{"index":%d,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}`, i))
	}
	fmt.Fprintf(w, `{"id":"a","object":"chat.completion","created":1,"model":"up","choices":[%s]}`, strings.Join(list, ","))
}

// TestBatchesAreChargedByTheRow asks for three rows in every protocol: each takes three
// off a budget of eight, so that two fit and the third is refused, uncharged.
func TestBatchesAreChargedByTheRow(t *testing.T) {
	language := httptest.NewServer(http.HandlerFunc(manyAnswers))
	t.Cleanup(language.Close)
	const oip = `{"inputs":[{"name":"x","shape":[3,2],"datatype":"FP32","data":[0.5,0.25,0.5,0.25,0.5,0.25]}]}`
	var raw []byte
	for range 3 {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(0.5))
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(0.25))
	}
	head := `{"inputs":[{"name":"x","shape":[3,2],"datatype":"FP32","parameters":{"binary_data_size":24}}]}`
	trusted := json.RawMessage(`{"trusted":["caller"]}`)
	for _, tt := range []struct {
		name, path, body string
		edit             func(*http.Request)
		language         bool
	}{
		{"OIP, JSON", "/v2/models/m/infer", oip, nil, false},
		{"OIP, binary", "/v2/models/m/infer", head + string(raw), octets(fmt.Sprint(len(head))), false},
		{"OIP, raw alone", "/v2/models/m/infer", string(raw), octets("0"), false},
		{"v1, instances", "/v1/models/m:predict", `{"instances":[[0.5,0.25],[0.5,0.25],[0.5,0.25]]}`, nil, false},
		{"v1, inputs", "/v1/models/m:predict", `{"inputs":{"x":[[0.5,0.25],[0.5,0.25],[0.5,0.25]]}}`, nil, false},
		{"TorchServe", "/predictions/m", `[[0.5,0.25],[0.5,0.25],[0.5,0.25]]`, nil, false},
		{"TorchServe, instances", "/predictions/m", `{"instances":[{"x":[0.5,0.25]},{"x":[0.5,0.25]},{"x":[0.5,0.25]}]}`, nil, false},
		{"MLflow, inputs", "/models/m/invocations", `{"inputs":[[0.5,0.25],[0.5,0.25],[0.5,0.25]]}`, nil, false},
		{"MLflow, split", "/models/m/invocations", `{"dataframe_split":{"data":[[0.5,0.25],[0.5,0.25],[0.5,0.25]]}}`, nil, false},
		{"chat, n", "/v1/chat/completions", `{"model":"m","n":3,"messages":[{"role":"user","content":"hi"}]}`, nil, true},
		{"embeddings", "/v1/embeddings", `{"model":"m","input":["a","b","c"]}`, nil, true},
		{"gRPC", "", oip, nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := edgetest.New(t)
			w.Put(t, func(s *route.Spec) {
				s.Budget, s.Rate = "8/24h", "1000/1m"
				if tt.language {
					s.ONNX, s.Upstream, s.Remote, s.Protocol, s.Fields = nil, language.URL, "up", "openai", trusted
				}
			})
			for i, want := range []int{3, 3, 0} {
				status, resp := http.StatusOK, (*http.Response)(nil)
				if tt.path == "" {
					resp = throughGRPC(t, w, tt.body)
				} else {
					var body string
					resp, body = w.Post(t, tt.path, tt.body, tt.edit)
					if status = http.StatusOK; want == 0 {
						status = http.StatusTooManyRequests
					}
					if resp.StatusCode != status {
						t.Fatalf("request %d: %d %s", i, resp.StatusCode, body)
					}
				}
				var trail struct{ Rows, Charged int }
				if err := json.Unmarshal(w.Record(t, resp).Detail, &trail); err != nil || trail.Rows != 3 || trail.Charged != want {
					t.Errorf("request %d: %+v, want 3 rows, %d charged; %v", i, trail, want, err)
				}
			}
		})
	}
}

// throughGRPC asks over gRPC what the JSON says, and returns the record's name as HTTP
// would.
func throughGRPC(t *testing.T, w *edgetest.World, body string) *http.Response {
	t.Helper()
	r, err := tensor.ParseRequest([]byte(body), tensor.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	m, err := oipgrpc.Protocol.AppendRequest(oipgrpc.AppendModel(nil, "m", ""), r)
	if err != nil {
		t.Fatal(err)
	}
	var out []byte
	var head, tail metadata.MD
	err = dial(t, w).Invoke(as(t.Context(), w.Token), service+"ModelInfer", m.Body, &out, grpc.Header(&head), grpc.Trailer(&tail))
	named := append(head.Get("pavise-record"), tail.Get("pavise-record")...)
	if len(named) == 0 {
		t.Fatalf("no record is named: %v", err)
	}
	return &http.Response{Header: http.Header{"Pavise-Record": named[:1]}}
}
