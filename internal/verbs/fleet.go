package verbs

import "time"

// A NodeState is how a machine of the fleet stands, as it said last.
type NodeState struct {
	ID      string    `json:"id"`
	Role    string    `json:"role"`              // gateway or agent
	Version string    `json:"version"`           // of its build
	Serial  uint64    `json:"serial"`            // of the bundle that it uses; 0: none
	Records uint64    `json:"records"`           // in its evidence log
	Seen    time.Time `json:"seen"`              // when it last said so
	Away    bool      `json:"away,omitempty"`    // it has said nothing for a while
	Stale   bool      `json:"stale,omitempty"`   // it refuses everything, for what it was told is too old
	Trouble string    `json:"trouble,omitempty"` // what is wrong, in its own words
}
