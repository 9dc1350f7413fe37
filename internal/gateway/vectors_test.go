package gateway

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/chat"
	"github.com/pavise/pavise/internal/embedding"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/seal"
	"github.com/pavise/pavise/internal/tensor"
)

// embedder is a world with a model of embeddings, whose vector of a text is drawn from the
// text.
func embedder(t *testing.T, terms string) *world {
	t.Helper()
	w := newWorld(t, t.TempDir())
	key, err := seal.NewKey(bytes.Repeat([]byte{5}, 32))
	if err != nil {
		t.Fatal(err)
	}
	w.embeddings = key
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		var ask struct {
			Input      []string
			Dimensions int
		}
		json.NewDecoder(r.Body).Decode(&ask)
		rw.Header().Set("Content-Type", "application/json")
		var data []string
		for i, text := range ask.Input {
			vector, _ := json.Marshal(vectorOf(text, ask.Dimensions))
			data = append(data, fmt.Sprintf(`{"object":"embedding","index":%d,"embedding":%s}`, i, vector))
		}
		fmt.Fprintf(rw, `{"object":"list","model":"up","data":[%s]}`, strings.Join(data, ","))
	}))
	t.Cleanup(server.Close)
	w.put(t, func(s *route.Spec) {
		s.ONNX, s.Upstream, s.Remote, s.Protocol, s.MaxRows, s.Rate = nil, server.URL, "up", tensor.NameOpenAI, 2000, "1000000/1m"
		s.Alterable, s.Embeddings = new(true), terms
		s.Fields = []byte(`{"internal":["analyst"]}`)
	})
	return w
}

// vectorOf is the model.
func vectorOf(text string, dim int) []float64 {
	if dim == 0 {
		dim = 24
	}
	sum := uint64(len(text))
	for _, c := range text {
		sum = sum*1_000_003 + uint64(c)
	}
	rng := rand.New(rand.NewPCG(sum, 1))
	v := make([]float64, dim)
	for i := range v {
		v[i] = float64(float32(rng.NormFloat64()))
	}
	return v
}

// embed asks for the vectors of texts.
func (w *world) embed(t *testing.T, who pavise.Principal, more string, texts ...string) ([][]float64, *ChatAnswer, error) {
	t.Helper()
	input, _ := json.Marshal(texts)
	x, err := w.BeginChat(t.Context(), who, ChatCall{API: chat.Embeddings, Body: strings.NewReader(`{"model":"m","input":` + string(input) + more + `}`)})
	if err != nil {
		return nil, nil, err
	}
	answer, err := x.Answer(t.Context())
	if err != nil {
		return nil, nil, err
	}
	var said struct {
		Data []struct{ Embedding []float64 }
	}
	if err := json.Unmarshal(answer.Body, &said); err != nil {
		t.Fatal(err)
	}
	var all [][]float64
	for _, d := range said.Data {
		all = append(all, d.Embedding)
	}
	return all, answer, nil
}

func along(a, b []float64) (sum float64) {
	for i := range a {
		sum += a[i] * b[i]
	}
	return sum
}

// TestRotatedVectors are near to each other as the model's are, and none of the model's;
// the record has those, and the caller is told.
func TestRotatedVectors(t *testing.T) {
	w := embedder(t, "rotate:1")
	texts := []string{"a", "bb", "ccc"}
	got, answer, err := w.embed(t, somebody, "", texts...)
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range texts {
		for j, b := range texts {
			if want := along(vectorOf(a, 0), vectorOf(b, 0)); math.Abs(along(got[i], got[j])-want) > 1e-5 {
				t.Errorf("%s and %s: %f, want %f", a, b, along(got[i], got[j]), want)
			}
		}
		if away := along(got[i], vectorOf(a, 0)) / along(got[i], got[i]); away > 0.9 {
			t.Errorf("%s is as the model has it", a)
		}
	}
	if answer.Fields != "rotated=1" {
		t.Errorf("the caller is told %q", answer.Fields)
	}
	r, err := w.log.Read(answer.Record)
	if err != nil {
		t.Fatal(err)
	}
	var trail ChatTrail
	json.Unmarshal(r.Detail, &trail)
	plain, err := w.open(t, r)
	if err != nil {
		t.Fatal(err)
	}
	x := Exchange{}
	if err := json.Unmarshal(plain, &x.kept); err != nil {
		t.Fatal(err)
	}
	var own struct {
		Data []struct{ Embedding []float64 }
	}
	if err := json.Unmarshal(x.kept.Truth, &own); err != nil || len(own.Data) != 3 || own.Data[0].Embedding[5] != vectorOf("a", 0)[5] {
		t.Errorf("the record keeps %s (%v)", x.kept.Truth, err)
	}
	if !trail.Altered || trail.Truth != x.commit(x.kept.Truth) || trail.Output != x.commit(answer.Body) || r.Outcome != pavise.Alter {
		t.Errorf("the record says %s, %s", r.Detail, r.Outcome)
	}

	again, _, _ := w.embed(t, somebody, `,"encoding_format":"float"`, "a")
	if along(again[0], got[0])/along(got[0], got[0]) < 0.999999 {
		t.Error("the same text has another vector")
	}
	w.change(t, route.Spec{Name: theModel.String(), Embeddings: "rotate:2"})
	other, _, _ := w.embed(t, somebody, "", "a")
	if along(other[0], got[0])/along(got[0], got[0]) > 0.9 {
		t.Error("another epoch has the same vectors")
	}
	for dim := 1; dim < 40; dim++ {
		if v, _, err := w.embed(t, somebody, fmt.Sprintf(`,"dimensions":%d`, dim), "a"); err != nil || len(v[0]) != dim {
			t.Errorf("%d dimensions: %v", dim, err)
		}
	}
	if n := len(w.vectors[theModel].rotations); n > maxSizes {
		t.Errorf("%d rotations are kept", n)
	}
}

// TestNoisyVectors lets somebody cover the space: from some share on they get noise, the
// same for the same text, and others get none.
func TestNoisyVectors(t *testing.T) {
	w := embedder(t, "noise:5%..40%")
	clean := func(who pavise.Principal) bool {
		t.Helper()
		got, _, err := w.embed(t, who, "", "probe")
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(got[0]) == fmt.Sprint(vectorOf("probe", 0))
	}
	if !clean(somebody) {
		t.Error("the first answer has noise")
	}
	copier, indexer := somebody, somebody
	copier.ID, indexer.ID, indexer.Roles = "copier", "indexer", []string{"caller", "analyst"}
	for i := range 3 {
		var texts []string
		for j := range 1500 {
			texts = append(texts, fmt.Sprintf("%d-%d", i, j))
		}
		for _, who := range []pavise.Principal{copier, indexer} {
			if _, _, err := w.embed(t, who, "", texts...); err != nil {
				t.Fatal(err)
			}
		}
	}
	if clean(copier) || !clean(somebody) || !clean(indexer) {
		t.Errorf("clean: the copier %v, somebody %v, one of the house %v", clean(copier), clean(somebody), clean(indexer))
	}
	one, answer, _ := w.embed(t, copier, "", "same")
	two, _, _ := w.embed(t, copier, "", "same")
	if fmt.Sprint(one) != fmt.Sprint(two) {
		t.Error("the same text has two noises")
	}
	r, _ := w.log.Read(answer.Record)
	var trail ChatTrail
	json.Unmarshal(r.Detail, &trail)
	if trail.Coverage < 0.4 || !trail.Altered || r.Outcome != pavise.Alter || answer.Fields != "" {
		t.Errorf("the record says %s, and the caller is told %q", r.Detail, answer.Fields)
	}
	w.change(t, route.Spec{Name: theModel.String(), Embeddings: "noise:5%..40%,rotate:3"})
	if w.change(t, route.Spec{Name: theModel.String(), Embeddings: "noise:5%..40%"}); clean(copier) {
		t.Error("a put lets the copier begin anew")
	}
}

func TestVectorsThatAreRefused(t *testing.T) {
	w := embedder(t, "rotate:1")
	put := func(edit func(*route.Spec)) error {
		spec := route.Spec{Name: theModel.String()}
		edit(&spec)
		_, err := w.Routes.Put(t.Context(), operator, spec)
		return err
	}
	for name, c := range map[string]struct {
		edit func(*route.Spec)
		kind pavise.Kind
	}{
		"not alterable":   {func(s *route.Spec) { s.Alterable = new(false) }, pavise.Denied},
		"of a purpose":    {func(s *route.Spec) { s.Purpose = "health" }, pavise.Denied},
		"what is no word": {func(s *route.Spec) { s.Embeddings = "twist" }, pavise.Invalid},
	} {
		if err := put(c.edit); pavise.KindOf(err) != c.kind {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.embeddings = nil
	if _, _, err := w.embed(t, somebody, "", "a"); pavise.KindOf(err) != pavise.Unavailable || !strings.Contains(err.Error(), "no key") {
		t.Errorf("without a key it answers: %v", err)
	}
	if err := put(func(s *route.Spec) { s.Embeddings = "none"; s.Alterable = new(false) }); err != nil {
		t.Fatal(err)
	}
	if got, _, err := w.embed(t, somebody, "", "a"); err != nil || fmt.Sprint(got[0]) != fmt.Sprint(vectorOf("a", 0)) {
		t.Errorf("without terms: %v %v", got, err)
	}
	if (embedding.Terms{}) != w.current(theModel.String()).Embeddings {
		t.Error("the terms stay")
	}
}
