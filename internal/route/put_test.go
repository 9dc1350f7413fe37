package route

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/pavise/pavise"
)

// TestPutsDoNotLoseEachOther has two people change two things at the same time.
func TestPutsDoNotLoseEachOther(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.put(t, nil)
	var people sync.WaitGroup
	for _, words := range []func(int) Spec{
		func(i int) Spec { return Spec{MaxRows: i} },
		func(i int) Spec { return Spec{Purpose: fmt.Sprint(i)} },
		func(i int) Spec { return Spec{Rate: fmt.Sprintf("%d/1m", i)} },
	} {
		people.Go(func() {
			for i := range 20 {
				spec := words(i + 1)
				spec.Name = theModel.String()
				if _, err := w.Put(t.Context(), operator, spec); err != nil {
					t.Error(err)
				}
			}
		})
	}
	people.Wait()
	if got := w.change(t, Spec{}); got.MaxRows != 20 || got.Purpose != "20" || got.Terms.Rate.Count != 20 {
		t.Errorf("a change was lost: %+v", got)
	}
}

func TestPutRefuses(t *testing.T) {
	w := newWorld(t, t.TempDir())
	if _, err := w.Put(t.Context(), operator, Spec{Name: theModel.String(), MaxRows: 3}); pavise.KindOf(err) != pavise.Invalid || !strings.Contains(err.Error(), "no route leads to") {
		t.Errorf("a new route without a model: %v", err)
	}
	w.put(t, func(s *Spec) { s.Alterable = new(true) })
	before := w.change(t, Spec{})
	for want, spec := range map[string]Spec{
		"not both":                  {ONNX: softmaxModel(), Upstream: "http://127.0.0.1:1"},
		"name on a server":          {Remote: "other"},
		"not an ONNX model":         {ONNX: []byte{}},
		"not an ONNX model that":    {ONNX: []byte("PK\x03\x04 a zip")},
		"between 1 and":             {MaxRows: -1},
		"rate \"none\"":             {Rate: "none"},
		"top 3 are all":             {Shape: "topk:3"},
		"bounds: unexpected end":    {Bounds: json.RawMessage{}},
		"bounds: invalid character": {Bounds: json.RawMessage("name,min,max\n")},
		"no input or no features":   {Bounds: json.RawMessage(`{"input":"x"}`)},
		`no input "y"`:              {Bounds: json.RawMessage(strings.Replace(bounds, `"x"`, `"y"`, 1))},
		"3 features for input":      {Bounds: json.RawMessage(strings.Replace(bounds, `[{`, `[{"name":"c"},{`, 1))},
		"feature 1 has no name":     {Bounds: json.RawMessage(strings.Replace(bounds, `"name":"b",`, ``, 1))},
		"from 2 to 1":               {Bounds: json.RawMessage(strings.Replace(bounds, `"min":0`, `"min":2`, 1))},
	} {
		spec.Name = theModel.String()
		if _, err := w.Put(t.Context(), operator, spec); pavise.KindOf(err) != pavise.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
	}
	if got := w.change(t, Spec{}); !reflect.DeepEqual(got, before) {
		t.Errorf("a refused change changed %+v into %+v", before, got)
	}
}

// TestUpstreamIsAskedWhenNamed changes terms while the server is away, and names
// another model on the server, which is asked what it takes.
func TestUpstreamIsAskedWhenNamed(t *testing.T) {
	var mu sync.Mutex
	var asked []string // under mu
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked = append(asked, r.URL.Path)
		mu.Unlock()
		io.WriteString(w, `{"inputs":[{"name":"x","datatype":"FP32","shape":[-1,2]}],"outputs":[{"name":"s","datatype":"FP32","shape":[-1,2]}]}`)
	}))
	w := newWorld(t, t.TempDir())
	w.change(t, Spec{Upstream: upstream.URL, Bounds: json.RawMessage(bounds)})
	put := w.change(t, Spec{Remote: "n"})
	mu.Lock()
	defer mu.Unlock()
	if got := strings.Join(asked, " "); got != "/v2/models/m /v2/models/n" || put.Upstream != upstream.URL || len(put.Signature.Inputs[0].Columns) != 2 {
		t.Errorf("asked %s, route %+v", got, put)
	}
	upstream.Close()
	if put := w.change(t, Spec{Rate: "1/1m"}); put.Remote != "n" || put.Terms.Budget.Count != 100000 {
		t.Errorf("route %+v", put)
	}
	if put := w.change(t, Spec{ONNX: softmaxModel()}); put.Upstream != "" || put.Remote != "" || put.ONNX == "" {
		t.Errorf("route %+v", put)
	}
}

// TestPutOfWhatNoRecordHolds refuses a route of which more is said than its record has room
// for. It was put, and the record of it said nothing.
func TestPutOfWhatNoRecordHolds(t *testing.T) {
	w := newWorld(t, t.TempDir())
	signature := func(columns int) json.RawMessage {
		var list []string
		for i := range columns {
			list = append(list, fmt.Sprintf(`{"name":"column_%05d","min":0,"max":255}`, i))
		}
		return json.RawMessage(fmt.Sprintf(`{"inputs":[{"name":"x","datatype":"FP32","shape":[-1,%d],"columns":[%s]}],"outputs":[{"name":"y","datatype":"FP32","shape":[-1]}]}`, columns, strings.Join(list, ",")))
	}
	name := "local/model/wide"
	put := func(columns int) error {
		_, err := w.Put(t.Context(), operator, Spec{Name: name, Upstream: "http://127.0.0.1:1", Protocol: "v1", Shape: "full", Signature: signature(columns)})
		return err
	}
	if err := put(3000); pavise.KindOf(err) != pavise.Invalid || !strings.Contains(err.Error(), "its record has to hold it") || w.current(name) != nil {
		t.Errorf("3000 columns: %v, and the route is %v", err, w.current(name))
	}
	if err := put(1000); err != nil {
		t.Errorf("1000 columns: %v", err)
	}
}
