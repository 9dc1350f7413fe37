package answers

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/pavise/pavise"
)

// TestEndpoint asks models on servers by both protocols: more rows than go at once, and a
// token where one is wanted.
func TestEndpoint(t *testing.T) {
	asked := &Set{Columns: 2}
	for i := range 150 {
		asked.Inputs = append(asked.Inputs, float64(i), 75)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		var body struct {
			Inputs []struct {
				Name, Datatype string
				Shape          []int
				Data           []float64
			}
			Instances [][]float64
		}
		if r.Method == http.MethodPost {
			if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
				t.Error(err)
			}
		}
		var scores []float64
		said := func(x []float64) {
			if x[0] > x[1] {
				scores = append(scores, 0.25, 0.75)
			} else {
				scores = append(scores, 1, 0)
			}
		}
		switch r.Method + " " + r.URL.Path {
		case "GET /v2/models/m":
			fmt.Fprint(w, `{"name":"m","inputs":[{"name":"x","datatype":"FP64","shape":[-1,2]}]}`)
		case "POST /v2/models/m/infer":
			in := body.Inputs[0]
			if in.Name != "x" || in.Datatype != "FP64" || !slices.Equal(in.Shape, []int{len(in.Data) / 2, 2}) {
				t.Errorf("%+v", in)
			}
			for row := range slices.Chunk(in.Data, 2) {
				said(row)
			}
			json.NewEncoder(w).Encode(map[string]any{"outputs": []any{
				map[string]any{"name": "name", "datatype": "BYTES", "data": []string{"a", "b"}},
				map[string]any{"name": "label", "datatype": "INT64", "data": make([]int, len(scores)/2)},
				map[string]any{"name": "scores", "datatype": "FP32", "data": scores},
			}})
		case "POST /v1/models/m:predict":
			for _, row := range body.Instances {
				said(row)
			}
			json.NewEncoder(w).Encode(map[string]any{"predictions": slices.Collect(slices.Chunk(scores, 2))})
		default:
			t.Errorf("%s %s", r.Method, r.URL.Path)
		}
	}))
	defer server.Close()
	for _, path := range []string{"/v2/models/m", "/v2/models/m/infer", "/v1/models/m", "/v1/models/m:predict"} {
		e, err := NewEndpoint(server.URL+path, "secret\n")
		if err != nil {
			t.Fatal(err)
		}
		a, err := e.Answer(t.Context(), asked)
		if err != nil {
			t.Fatal(err)
		}
		var ones int
		err = a.Each(2, func(_ []float64, class int) error { ones += class; return nil })
		if err != nil || a.Rows() != 150 || a.Width != 2 || ones != 74 {
			t.Errorf("%s: %d rows of %d, %d of the second class, %v", path, a.Rows(), a.Width, ones, err)
		}
	}
	e, err := NewEndpoint(server.URL+"/v1/models/m", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Answer(t.Context(), asked); pavise.KindOf(err) != pavise.Unavailable || !strings.Contains(err.Error(), "401") {
		t.Errorf("without a token: %v", err)
	}
}

// TestEndpointsThatAreRefused has URLs that would send rows where they must not go.
func TestEndpointsThatAreRefused(t *testing.T) {
	for _, address := range []string{
		"", "m.onnx", "http://example.com/v2/models/m", "http://10.0.0.1/v2/models/m", "ftp://127.0.0.1/v2/models/m",
		"http://localhost.example.com/v2/models/m", "https://user:pass@example.com/v2/models/m", "https://example.com/v2/models/m?x=1",
		"https://example.com/", "https:///v2/models/m", "http://127.0.0.1/models/m", "https://example.com/v2/models/m#x",
	} {
		if _, err := NewEndpoint(address, ""); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%q: %v", address, err)
		}
	}
	for _, address := range []string{"https://example.com/v2/models/m", "http://localhost:8000/v1/models/m", "http://[::1]:1/v2/models/m"} {
		if _, err := NewEndpoint(address, ""); err != nil {
			t.Errorf("%q: %v", address, err)
		}
	}
}

// TestLyingEndpoints has servers that say something else than an answer, redirect, or
// break off.
func TestLyingEndpoints(t *testing.T) {
	for name, c := range map[string]struct {
		say  string
		kind pavise.Kind
	}{
		"nothing":           {"", pavise.Invalid},
		"no JSON":           {"<html>", pavise.Invalid},
		"nothing of use":    {"{}", pavise.Invalid},
		"texts":             {`{"predictions":["a","b"]}`, pavise.Invalid},
		"too few":           {`{"predictions":[1,0,1]}`, pavise.Invalid},
		"several lengths":   {`{"predictions":[[1,0],[1]]}`, pavise.Invalid},
		"a number too much": {`{"predictions":[1e999,0]}`, pavise.Invalid},
		"elsewhere":         {"redirect", pavise.Unavailable},
		"broken off":        {"hangup", pavise.Unavailable},
		"deep":              {`{"predictions":` + strings.Repeat("[", 100_000), pavise.Invalid},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch c.say {
			case "redirect":
				http.Redirect(w, r, "http://127.0.0.1:1/v1/models/m:predict", http.StatusTemporaryRedirect)
			case "hangup":
				panic(http.ErrAbortHandler)
			default:
				fmt.Fprint(w, c.say)
			}
		}))
		e, err := NewEndpoint(server.URL+"/v1/models/m", "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Answer(t.Context(), Asked([][]float64{{1}, {2}})); pavise.KindOf(err) != c.kind {
			t.Errorf("%s: %v", name, err)
		}
		server.Close()
	}
}

// FuzzFlat reads numbers as a suspect's server writes them: none is made up, and none is lost.
func FuzzFlat(f *testing.F) {
	for _, text := range []string{`[1,2]`, `[[1,2],[3,4]]`, `[[1],[2,3]]`, `[[],[]]`, `null`, `[null,[1]]`, `[1e999]`, `[[[1]]]`, ``} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		list, err := flat(text)
		if err == nil && len(list) > len(text) || slices.ContainsFunc(list, func(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) }) {
			t.Fatalf("%q holds %v", text, list)
		}
	})
}
