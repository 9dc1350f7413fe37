package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/deploy"
	"github.com/pavise/pavise/internal/route"
)

// A Run is what a gateway asks behind a model's name.
type Run struct {
	Model      pavise.Name     `json:"model"`
	ONNX       string          `json:"onnx,omitempty"`
	Versions   []route.Version `json:"versions,omitempty"`
	Upstream   string          `json:"upstream,omitempty"`
	Weight     *int            `json:"weight,omitempty"`
	Replicas   []route.Replica `json:"replicas,omitempty"`
	Shadow     string          `json:"shadow,omitempty"`
	ShadowONNX string          `json:"shadow_onnx,omitempty"`
	Barred     bool            `json:"barred,omitempty"` // nobody may ask it there
}

// Bounds of what a gateway says of its models. Of those that are beyond them it says nothing.
const (
	maxRuns     = 1024
	maxRunsSize = 160 << 10 // bytes, as JSON
	maxRunText  = 2100      // of an address or a digest
)

// Runs says what a gateway asks behind each of its routes, as far as there is room in a report:
// of the first of them, as they are sorted. barred says of which models nobody may ask.
func Runs(all []route.Standing, barred func(model pavise.Name) bool) (runs []Run) {
	size := 0
	for _, s := range all {
		r := Run{
			Model: s.Model, ONNX: s.ONNX, Versions: s.Versions, Upstream: s.Upstream, Weight: s.Weight, Replicas: s.Replicas,
			Shadow: s.Shadow, ShadowONNX: s.ShadowONNX, Barred: s.Quarantined || barred(s.Model),
		}
		if r.check() != nil { // all of the report would be refused
			continue
		}
		text, err := json.Marshal(r)
		if size += len(text) + 1; err != nil || size > maxRunsSize || len(runs) == maxRuns {
			break
		}
		runs = append(runs, r)
	}
	return runs
}

// same reports whether two say the same.
func (r *Run) same(other *Run) bool {
	share := func(r *Run) int {
		if r.Weight == nil {
			return 1
		}
		return *r.Weight
	}
	return r.Model == other.Model && r.ONNX == other.ONNX && r.Upstream == other.Upstream && r.Shadow == other.Shadow && r.ShadowONNX == other.ShadowONNX && r.Barred == other.Barred &&
		share(r) == share(other) && slices.Equal(r.Replicas, other.Replicas) && slices.Equal(r.Versions, other.Versions)
}

// SameRuns reports whether two lists say the same.
func SameRuns(a, b []Run) bool {
	return slices.EqualFunc(a, b, func(x, y Run) bool { return x.same(&y) })
}

// check refuses what no gateway says.
func (r *Run) check() error {
	texts := []string{r.ONNX, r.Upstream, r.Shadow, r.ShadowONNX}
	for _, v := range r.Versions {
		texts = append(texts, v.ONNX)
	}
	for _, to := range r.Replicas {
		texts = append(texts, to.URL)
	}
	if slices.ContainsFunc(texts, func(text string) bool { return len(text) > maxRunText }) {
		return errors.New("it asks something at an address that is too long")
	}
	return checkModel(r.Model)
}

// checkModel refuses what is no name of a model.
func checkModel(name pavise.Name) error {
	if err := name.Validate(); err != nil {
		return err
	}
	if name.Kind != "model" {
		return fmt.Errorf("%s is no model", name)
	}
	return nil
}

// Words are what each gateway said last of the route to a model, by the machines' names. newest
// is the number of the bundle that they are to go by.
func (n *Nodes) Words(model pavise.Name, newest uint64) (words []deploy.Word) {
	for _, s := range n.States() {
		if s.Role != "gateway" {
			continue
		}
		w := deploy.Word{Gateway: s.ID, Heard: s.Seen, Away: s.Away, Refuses: s.Stale, Newest: s.Serial >= newest}
		for _, r := range n.runs(s.ID) {
			if r.Model == model {
				w.Barred = r.Barred
				w.Route = &route.Route{
					Model: model, ONNX: r.ONNX, Versions: r.Versions, Upstream: r.Upstream, Weight: r.Weight, Replicas: r.Replicas,
					Shadow: r.Shadow, ShadowONNX: r.ShadowONNX,
				}
			}
		}
		words = append(words, w)
	}
	return words
}

// runs are what a gateway said last that it asks.
func (n *Nodes) runs(id string) []Run {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.watch[id].Runs
}
