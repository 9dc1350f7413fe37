package catalog

import (
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/lineage"
	"github.com/pavise/pavise/internal/rowseal"
)

// A State is how a dataset stands.
type State string

// The states.
const (
	StateSealed      State = "sealed"      // what was seen last is the newest version
	StateChanged     State = "changed"     // another content lies at its place
	StateUnreachable State = "unreachable" // it could not be looked at
	StateChecking    State = "checking"    // it is looked at for the first time
)

// A Version is a content that the dataset was, from when somebody made it so.
type Version struct {
	Number  int            `json:"version,omitzero"` // from 1; 0: of what is none yet, which nobody made so
	Root    rowseal.Digest `json:"root"`
	Files   int            `json:"files"`
	Rows    uint64         `json:"rows"`
	Bytes   int64          `json:"bytes"`
	Format  string         `json:"format"` // of its files; "mixed"
	At      time.Time      `json:"at,omitzero"`
	By      pavise.Name    `json:"by,omitzero"`
	How     string         `json:"how,omitempty"`       // sealed: handed over; watched: found first; accepted
	Change  pavise.Name    `json:"change,omitzero"`     // in which it was accepted
	Parents []Parent       `json:"parents,omitempty"`   // what it was made of, says who handed it over
	Keys    []string       `json:"signed_by,omitempty"` // ids of keys, as the signature says, which is kept and not checked
	Indexed bool           `json:"indexed"`             // its rows can be asked about here
	Dropped time.Time      `json:"dropped,omitzero"`    // when its index was dropped for want of room; there may be one again
}

// A Parent is what a version was made of.
type Parent struct {
	Root    rowseal.Digest `json:"root"`
	Dataset pavise.Name    `json:"dataset,omitzero"` // whose version it is, if it is known here
}

// A Watch says where a dataset lies and how often it is looked at.
type Watch struct {
	Place
	Every time.Duration `json:"every"` // nanoseconds
	Full  int           `json:"full"`  // every so many looks, one reads everything
	By    pavise.Name   `json:"by"`
	Root  pavise.Name   `json:"root,omitzero"` // the person behind who set it; zero: it was set before this was kept
	Since time.Time     `json:"since"`

	Screen *Terms `json:"screen,omitempty"` // each new content is screened so
}

// A Look is what came of looking at a dataset.
type Look struct {
	Began   time.Time `json:"began"`
	Ended   time.Time `json:"ended"`
	Full    bool      `json:"full"`              // everything was read, but for those that a look that was cut off had read
	Why     string    `json:"why"`               // it was a full one, or a fast one
	Trusted int       `json:"trusted,omitempty"` // files that were not read
	Resumed int       `json:"resumed,omitempty"` // files that a look that was cut off had read
	Outcome State     `json:"outcome"`
	Problem string    `json:"problem,omitempty"` // why it could not be looked at
}

// A Finding is the content that was found in the place of the dataset.
type Finding struct {
	Root   rowseal.Digest `json:"root,omitzero"`     // zero: it cannot be sealed
	Why    string         `json:"why,omitempty"`     // it cannot be sealed
	Since  time.Time      `json:"since"`             // when it was found
	Differ Differences    `json:"differ"`            // from the newest version
	Sum    string         `json:"content,omitempty"` // of one that cannot be sealed, what tells it from others
	Would  *Version       `json:"would,omitempty"`   // the version that it would be, if it can be sealed
}

// A Silence is how long a dataset could not be looked at.
type Silence struct {
	Since time.Time `json:"since"`
	Why   string    `json:"why"`
	Told  bool      `json:"told"`  // the log has it; not yet of one that changes while it is read, which is tried again first
	Tries int       `json:"tries"` // looks that came to nothing
}

// A Dataset is one that the installation knows.
type Dataset struct {
	Name     pavise.Name     `json:"name"`
	Called   lineage.Dataset `json:"called,omitzero"` // by OpenLineage
	Watch    *Watch          `json:"watch,omitempty"`
	Watchers []pavise.Name   `json:"watchers,omitempty"` // who set the watch since the last version
	Newest   *Version        `json:"newest,omitempty"`
	Found    *Finding        `json:"found,omitempty"`
	Gone     int             `json:"gone,omitempty"`     // so many contents were found at its place and are not kept: no row is looked for in them
	LastGone time.Time       `json:"last_gone,omitzero"` // when the last of them was still there, or might have been
	Silent   *Silence        `json:"silent,omitempty"`
	Last     *Look           `json:"last,omitempty"`
	Next     time.Time       `json:"next,omitzero"` // when it is looked at again
	Passes   int             `json:"passes"`        // fast looks since the last full one
}

// state is how the dataset stands.
func (d *Dataset) state() State {
	switch {
	case d.Silent != nil && d.Silent.Told:
		return StateUnreachable
	case d.Found != nil:
		return StateChanged
	case d.Newest != nil:
		return StateSealed
	}
	return StateChecking
}

// A View is a dataset as it is shown.
type View struct {
	Dataset
	State   State `json:"state"`
	Looking bool  `json:"looking"` // it is being looked at now
}

// A List holds datasets by name.
type List struct {
	Datasets []View `json:"datasets"`
	More     int    `json:"more,omitempty"` // so many others are not listed
}

// A Shown is a dataset with its versions, the newest first.
type Shown struct {
	View
	Versions []Version `json:"versions"`
	Older    int       `json:"older,omitempty"` // so many older ones are not listed
	Kept     Kept      `json:"kept"`

	Screening *Screening `json:"screening,omitempty"` // that was asked for last
	Said      string     `json:"screening_progress,omitempty"`
}
