package deploy

import (
	"context"
	"io"
	"time"

	"github.com/pavise/pavise"
)

// The kinds of thing that the room has, in names.
const (
	Kind       = "deployment" // under the id of the model that it is of
	KindTarget = "target"
)

// A File is one of a version.
type File struct {
	Path   string `json:"path"` // with slashes, from the top of the version
	Size   int64  `json:"size"`
	Digest string `json:"digest"` // sha256:HEX
}

// A Version is one of a model, as the registry has it.
type Version struct {
	Model     pavise.Name `json:"model"`
	Number    int         `json:"version"` // from 1
	State     string      `json:"state"`   // how far it has come in its life
	Risk      string      `json:"risk"`    // low, medium or high
	Digest    string      `json:"digest"`  // sha256:HEX, of all its files
	Files     []File      `json:"files,omitempty"`
	Untraced  string      `json:"untraced,omitempty"` // why nobody can say what it was trained on; empty: that is recorded
	Altered   string      `json:"altered,omitempty"`  // why it is not what was published, as the registry signed it then; empty: it is
	Unsigned  string      `json:"unsigned,omitempty"` // why it lacks a signature that is asked for; empty: it has it, or none is
	Signature []byte      `json:"-"`                  // by OpenSSF Model Signing, of its producer or else of the registry; nil: there is none
}

// Versions is the registry, as far as it is asked here.
type Versions interface {
	// Resolve returns a version. The error is of kind NotFound when there is none.
	Resolve(ctx context.Context, model pavise.Name, number int) (Version, error)
	// Moved tells how far a version has come: canary, live or rolled_back. To be told the
	// same twice changes nothing.
	Moved(ctx context.Context, model pavise.Name, number int, state, why string) error
}

// Files are where the files of versions lie.
type Files interface {
	// Open opens a file by its digest. What it reads need not have that digest: whoever
	// reads it looks.
	Open(ctx context.Context, tenant, digest string) (io.ReadCloser, error)
}

// A Target is one place where a version of one model runs. Each method has a time within
// which to answer, and may be called again after any failure: what it did halfway, it
// finishes. One is called by one goroutine at a time.
type Target interface {
	// Takes says by which digest a version is known there once it runs, or, with kind
	// Invalid, why it cannot run there. It asks nobody.
	Takes(v Version) (artefact string, err error)
	// Observe says what runs there now.
	Observe(ctx context.Context) (State, error)
	// Apply makes it so. What is wanted of a lower revision than the target has seen it
	// refuses with kind Conflict, and so it does when somebody else steers the target. To
	// go back is to apply what was before.
	Apply(ctx context.Context, d Desired) error
}

// A Driver makes the target that some settings describe. The error is of kind Invalid.
type Driver struct {
	Keys []Setting // what it takes
	Open func(name pavise.Name, settings map[string]string) (Target, error)
	// First: it is where calls are sent, and so moves before what is behind it.
	First bool
	// Parts: it can give a version a share of the calls. Shadows: it can let one hear them.
	Parts, Shadows bool
	// Empties: it can be told to run nothing.
	Empties bool
}

// Undivided is a Target that may give no version a share of its calls, by its settings,
// although others of its kind may.
type Undivided interface{ Whole() bool }

// Sole is a Target of which there is one for what it steers. Thing names that, for people.
type Sole interface{ Thing() string }

// Spread is a Target that is asked at many gateways.
type Spread interface {
	// Parts says of each gateway what it last said. It asks nobody.
	Parts() []Part
}

// A Part is what one gateway of a fleet last said that it asks behind a route. Main, Beside,
// Weight and Shadow are as those of a State; all are empty where it did not say.
type Part struct {
	Target  pavise.Name `json:"target,omitzero"` // whose part it is
	Gateway string      `json:"gateway"`
	Main    string      `json:"main,omitempty"`
	Beside  string      `json:"beside,omitempty"`
	Weight  int         `json:"weight,omitempty"`
	Shadow  bool        `json:"shadow,omitempty"`
	Words   string      `json:"words"`             // which versions these are
	Heard   time.Time   `json:"heard"`             // when it said so
	Has     bool        `json:"has"`               // it is heard of, answers, and asks what is wanted
	Barred  bool        `json:"barred,omitempty"`  // nobody may ask the model there
	Away    bool        `json:"away,omitempty"`    // it is not heard of: it may go on by what it had
	Refuses bool        `json:"refuses,omitempty"` // it refuses everything, for what it was told is too old
}

// A Setting is one thing that a driver wants to be told of a target.
type Setting struct {
	Key      string
	Required bool
	About    string
}

// A State is what runs at a target.
type State struct {
	Main   string `json:"main"`             // the artefact that answers; empty: nothing does
	Beside string `json:"beside,omitempty"` // the artefact that answers Weight in a hundred calls, or hears them
	Weight int    `json:"weight,omitempty"`
	Shadow bool   `json:"shadow,omitempty"`

	Healthy bool   `json:"healthy"`
	Problem string `json:"problem,omitempty"` // why it is not
	Reached int    `json:"reached,omitempty"` // of so many parts of the target, such as gateways, so many have it
	Of      int    `json:"of,omitempty"`
	// Alone: it went back by itself, to what runs now, for the reason in Problem.
	Alone bool `json:"alone,omitempty"`
	// Unproven says why the digests are somebody's word and nobody looked; empty: they were
	// looked at.
	Unproven string    `json:"unproven,omitempty"`
	At       time.Time `json:"at"`
}

// A Desired is what is to run at a target.
type Desired struct {
	Revision uint64
	Main     *Version // nil: nothing is to run
	Beside   *Version // nil: none
	Weight   int      // calls in a hundred that Beside answers; 0 with Shadow
	Shadow   bool     // Beside hears the calls, and answers none
	Barred   []string // digests of versions that the target must not go back to
	Safe     bool     // it is the way back
}
