package record

import "encoding/json"

// KindPruned is the kind of the note that pruning a log leaves.
const KindPruned = "ledger.pruned"

// A Pruning is the detail of that note.
type Pruning struct {
	Below    uint64          `json:"below"`    // records below this index are no longer kept here
	Segments []PrunedSegment `json:"segments"` // that held them
	Why      string          `json:"why"`
}

// A PrunedSegment says where a segment that was pruned is kept.
type PrunedSegment struct {
	First  uint64 `json:"first"`
	Count  uint64 `json:"count"`
	SHA256 string `json:"sha256"` // hex, of its bytes
	Kept   string `json:"kept"`   // where
}

// Pruned returns below which index records may be missing from the log, says the
// record; 0 if it says nothing of that.
func (r *Record) Pruned() uint64 {
	var p Pruning
	if r.Kind != KindPruned || r.Phase != Note || json.Unmarshal(r.Detail, &p) != nil {
		return 0
	}
	return p.Below
}
