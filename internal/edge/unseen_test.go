package edge_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/pavise/pavise/internal/edgetest"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/tensor"
	"github.com/pavise/pavise/internal/tensor/oipgrpc"
	"github.com/pavise/pavise/internal/tier"
)

// TestNoDoorTellsATier asks through each door, in green and in amber, a model whose route has a
// ladder, guarded answers and marks: status, headers and length are the same, and both leave on a
// rung. What differs is what the record says.
func TestNoDoorTellsATier(t *testing.T) {
	w := edgetest.New(t) // without a calibration: callers who ask the same rows would be amber together
	w.Put(t, func(s *route.Spec) {
		s.ONNX, s.Rate, s.Budget = tableModel(), "100000/1s burst 100000", "1000000/24h"
		s.Alterable, s.Mark, s.Ladder = new(true), "0.05", "60ms..10m"
	})
	green, amber := visit(t, w, "green"), visit(t, w, "eve")
	word := tier.Word{Model: edgetest.Model, Who: amber.name, Tier: tier.Amber, By: edgetest.Operator.Name(), Reason: "a test"}
	if _, err := w.Tiers.Hold(t.Context(), word); err != nil {
		t.Fatal(err)
	}
	next := honest(5)
	for _, rows := range []int{1, 16} {
		var batch [][]float64
		for range rows {
			batch = append(batch, next())
		}
		lines, _ := json.Marshal(batch)
		flat := strings.NewReplacer("],[", ",", "[[", "[", "]]", "]").Replace(string(lines))
		tensors := fmt.Sprintf(`{"name":"x","shape":[%d,%d],"datatype":"FP32","data":%s}`, rows, tableColumns, flat)
		for name, c := range map[string][2]string{
			"v2":         {"/v2/models/m/infer", `{"inputs":[` + tensors + `]}`},
			"v2, binary": {"/v2/models/m/infer", `{"inputs":[` + tensors + `],"outputs":[{"name":"scores","parameters":{"binary_data":true}}]}`},
			"v1":         {"/v1/models/m:predict", `{"instances":` + string(lines) + `}`},
			"torchserve": {"/predictions/m", string(lines)},
			"mlflow":     {"/models/m/invocations", `{"inputs":` + string(lines) + `}`},
			"refused":    {"/v2/models/m/infer", `{"inputs":[]}`},
		} {
			one, a := door(t, green, c[0], c[1])
			two, b := door(t, amber, c[0], c[1])
			if one != two || name != "refused" && (!strings.HasPrefix(one, "200") || a == b) {
				t.Errorf("%s, %d rows: green gets %s, and amber %s", name, rows, one, two)
			}
		}
		r, err := tensor.ParseRequest([]byte(`{"inputs":[`+tensors+`]}`), tensor.DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		m, err := oipgrpc.Protocol.AppendRequest(oipgrpc.AppendModel(nil, "m", ""), r)
		if err != nil {
			t.Fatal(err)
		}
		one, a := rpc(t, green, m.Body)
		if two, b := rpc(t, amber, m.Body); one != two || a == b {
			t.Errorf("gRPC, %d rows: green gets %s, and amber %s", rows, one, two)
		}
	}
}

// door posts as a visitor, and returns what is to be seen of the answer beside its numbers:
// status, headers, length, and that it left on a rung.
func door(t *testing.T, v visitor, path, body string) (seen, text string) {
	t.Helper()
	resp, text := v.Post(t, path, body, func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+v.token) })
	rung := ""
	if resp.StatusCode == http.StatusOK {
		if _, trail := (wrapped{v.World}).detail(t, resp); trail.Late || trail.Rung == "" {
			rung = ", on no rung"
		}
	}
	for _, name := range []string{"Date", "Pavise-Record"} { // these tell one request from the next
		resp.Header.Del(name)
	}
	if resp.StatusCode != http.StatusOK {
		text = "" // which names the record
	}
	return fmt.Sprintf("%d %v, %d letters%s", resp.StatusCode, resp.Header, len(text), rung), text
}

// rpc is door for gRPC.
func rpc(t *testing.T, v visitor, body []byte) (seen, text string) {
	t.Helper()
	var out []byte
	var head, end metadata.MD
	if err := dial(t, v.World).Invoke(as(t.Context(), v.token), service+"ModelInfer", body, &out, grpc.Header(&head), grpc.Trailer(&end)); err != nil {
		t.Fatal(err)
	}
	_, trail := wrapped{v.World}.detail(t, &http.Response{Header: http.Header{"Pavise-Record": head.Get("pavise-record")}})
	for _, name := range []string{"date", "pavise-record"} {
		head.Delete(name)
	}
	return fmt.Sprintf("%v %v, %d letters, on a rung: %v", head, end, len(out), trail.Rung != "" && !trail.Late), string(out)
}
