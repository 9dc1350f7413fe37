package tier

import (
	"cmp"
	"maps"
	"slices"
	"sync"

	"github.com/pavise/pavise"
)

// An Unseen is what detectors did not see of a model's callers.
type Unseen struct {
	Model    pavise.Name `json:"model,omitzero"`     // zero: models beyond those that are counted each
	Requests uint64      `json:"requests"`           // answered, and dropped: too many came at once, or too large
	Odd      uint64      `json:"odd,omitempty"`      // whose numbers do not lie as the calibration has them
	Findings uint64      `json:"findings,omitempty"` // that were dropped before anybody noted them
}

// mostUnseen bounds the models that are counted each by itself.
const mostUnseen = 1 << 12

// unseen are the sums since the start.
type unseen struct {
	mu  sync.Mutex
	all map[pavise.Name]Unseen // guarded by mu
}

// Missed adds to what was not seen of a model's callers since the start.
func (b *Book) Missed(u Unseen) {
	b.blind.mu.Lock()
	defer b.blind.mu.Unlock()
	sum, known := b.blind.all[u.Model]
	if !known && len(b.blind.all) >= mostUnseen {
		u.Model = pavise.Name{}
		sum = b.blind.all[u.Model]
	}
	sum.Model = u.Model
	sum.Requests, sum.Odd, sum.Findings = sum.Requests+u.Requests, sum.Odd+u.Odd, sum.Findings+u.Findings
	if b.blind.all == nil {
		b.blind.all = map[pavise.Name]Unseen{}
	}
	b.blind.all[u.Model] = sum
}

// Unseen returns what was not seen of the callers of a tenant's models since the start, up
// to the last minute, the most first.
func (b *Book) Unseen(tenant string) []Unseen {
	b.blind.mu.Lock()
	defer b.blind.mu.Unlock()
	list := slices.DeleteFunc(slices.Collect(maps.Values(b.blind.all)), func(u Unseen) bool { return u.Model.Tenant != tenant })
	slices.SortFunc(list, func(x, y Unseen) int {
		return cmp.Or(cmp.Compare(y.Requests+y.Odd, x.Requests+x.Odd), cmp.Compare(x.Model.String(), y.Model.String()))
	})
	return list
}
