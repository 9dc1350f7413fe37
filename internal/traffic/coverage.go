package traffic

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/embedding"
)

const (
	maxCovered = 1 << 20 // callers at models that are told apart
	// coverTop is where noise is full unless somebody knows better: as far above what honest
	// clients cover as three times that, or half of the space.
	coverTop = 3
)

// A Covered is how much of a model's embeddings its callers cover, as records say.
type Covered struct {
	Model   string  `json:"model"`
	Clients int     `json:"clients"`
	Median  float64 `json:"median"` // of the most that each client covers, 0 to 1
	Most    float64 `json:"most"`
	Quiet   float64 `json:"quiet"` // up to which clients like these may be left alone
	Bound   float64 `json:"bound"` // share of clients like these that covers more
	Words   string  `json:"words"`
}

// A coverEvent is what is read of a line of ledger.follow, or of what ledger.list lists.
type coverEvent struct {
	Record struct {
		Kind string          `json:"kind"`
		Who  json.RawMessage `json:"who"`
		On   string          `json:"on"`
		Tell struct {
			Coverage float64 `json:"coverage"`
		} `json:"detail"`
	} `json:"record"`
}

// Coverage reads records, as pavise ledger follow prints them or pavise ledger list --json
// lists them, and says for each model of embeddings what its callers cover and which QUIET
// leaves all but the share alpha of clients like them alone. Errors are of kind Invalid.
func Coverage(r io.Reader, alpha float64) ([]Covered, error) {
	most := map[string]map[string]float64{} // by model and caller
	callers := 0
	d := json.NewDecoder(bufio.NewReader(r))
	for n := 1; ; n++ {
		var v struct {
			coverEvent
			Events []coverEvent `json:"events"`
		}
		if err := d.Decode(&v); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("value %d is no record: %v", n, err), Hint: "give what pavise ledger follow printed, or pavise ledger list --json", Err: err}
		}
		for _, e := range append(v.Events, v.coverEvent) {
			c := e.Record.Tell.Coverage
			if e.Record.Kind != "model.infer" || !(c > 0 && c <= 1) {
				continue
			}
			of := most[e.Record.On]
			if of == nil {
				of = map[string]float64{}
				most[e.Record.On] = of
			}
			if _, known := of[string(e.Record.Who)]; !known {
				if callers++; callers > maxCovered {
					return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("records of more than %d callers", maxCovered), Hint: "give fewer records"}
				}
			}
			of[string(e.Record.Who)] = max(of[string(e.Record.Who)], c)
		}
	}
	var all []Covered
	for _, model := range slices.Sorted(maps.Keys(most)) {
		all = append(all, coveredOf(model, slices.Sorted(maps.Values(most[model])), alpha))
	}
	return all, nil
}

// coveredOf says what is to be known of the sorted coverages of a model's callers.
func coveredOf(model string, list []float64, alpha float64) Covered {
	c := Covered{Model: model, Clients: len(list), Median: list[len(list)/2], Most: list[len(list)-1]}
	c.Quiet, c.Bound = embedding.Quiet(list, alpha)
	quiet := min(math.Ceil(100*c.Quiet), 99)
	full := min(max(coverTop*quiet, 50), 100)
	c.Words = fmt.Sprintf(`of clients like these %d, at most %.1f %% cover more than %.1f %% of the space: --embeddings "noise:%g%%..%g%%"`, c.Clients, 100*c.Bound, 100*c.Quiet, quiet, full)
	if c.Bound > alpha+1e-9 {
		c.Words += fmt.Sprintf("; for the %.1f %% that was asked for it takes %d clients", 100*alpha, int(math.Ceil(1/alpha-1-1e-9)))
	}
	return c
}
