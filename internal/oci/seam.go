package oci

import (
	"context"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/depot"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/store"
)

// A Draft is what a push makes a version of.
type Draft struct {
	Files    []File // by path
	Manifest string // its digest
}

// A Version is what is known of one version of a model.
type Version struct {
	Number    int
	State     string // as the life of models has it: draft, published …
	Published bool   // who may pull the model may have it
	Barred    string // why nobody may have it: it is in quarantine, its files do harm; empty: they may
	Created   time.Time
	// Sum tells its files from all others, and Files reads them: there may be many, and whoever
	// pulls a blob of some needs to know no more than which they are.
	Sum   string
	Files func(ctx context.Context) ([]File, error)
}

// Versions are the versions of models.
type Versions interface {
	// Add makes a draft of a model for a caller, under the registry's own verb, and looks at its
	// files. A version with the same files that is there is it already. Where there is a number
	// and an error, the version is there, and not fit to be proposed.
	Add(ctx context.Context, who pavise.Principal, model pavise.Name, d Draft) (number int, err error)
	// Version returns one. The error is of kind NotFound where there is none.
	Version(ctx context.Context, model pavise.Name, number int) (Version, error)
	// Names returns the aliases of a model, and the number of its newest version. The error is
	// of kind NotFound where there is no such model.
	Names(ctx context.Context, model pavise.Name) (aliases map[string]int, newest int, err error)
}

// Aliases propose what names of versions are to mean.
type Aliases interface {
	// Propose asks that an alias means a version, or none for 0, as a change that others decide,
	// and returns its id and where it is decided.
	Propose(ctx context.Context, who pavise.Principal, model pavise.Name, alias string, number int) (change, address string, err error)
}

// A Signing is a signature that was pushed, for a version.
type Signing struct {
	Number   int    // of the version
	Sum      string // of its files, when the signature came
	Manifest string // the digest of the manifest that it refers to, in which they came
	Bundle   []byte // of Sigstore: over the files, or over the manifest
}

// Signatures hold signatures to those whose are believed.
type Signatures interface {
	// Signed has one that holds count for its version; why says what is wrong with one that does
	// not, which is written down. The error is of neither: the signature could not be looked at.
	Signed(ctx context.Context, who pavise.Principal, model pavise.Name, s Signing) (counts bool, why string, err error)
}

// The verbs of the door. Making a version and moving an alias are verbs of the registry of
// models.
const (
	VerbPush    = "model.push"    // bytes are taken in
	VerbPull    = "model.pull"    // what is published is given out
	VerbInspect = "model.inspect" // what is not published is
)

// KindModel is the kind of thing that a repository is.
const KindModel = "model"

// A Config is what a registry is made of. All is required.
type Config struct {
	Guard      *guard.Guard
	Store      *store.DB
	Depot      *depot.Depot
	Versions   Versions
	Aliases    Aliases
	Signatures Signatures
	Base       string // the scheme and host at which clients reach it
	Now        func() time.Time
	Say        func(word string, err error) // tells the operator what goes wrong meanwhile
}
