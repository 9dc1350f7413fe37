package bundle

import (
	"errors"
	"fmt"

	"github.com/pavise/pavise"
)

// Why a bundle is refused. Each is in the chain of the *pavise.Error that says so to
// people. The first group is of kind Unverified, the second of kind Conflict and a
// finding, the third of kind Unavailable.
var (
	ErrMalformed  = errors.New("bundle is malformed")
	ErrUnknownKey = errors.New("bundle is signed by no key that is known")
	ErrRevokedKey = errors.New("bundle is signed by a revoked key")
	ErrForged     = errors.New("bundle has a signature that is not authentic")
	ErrOrigin     = errors.New("bundle is of another origin")

	ErrRollback     = errors.New("bundle is older than one that was seen")
	ErrEquivocation = errors.New("two bundles have one serial")

	ErrStale  = errors.New("bundle is past its end")
	ErrClock  = errors.New("clock is behind the bundle")
	ErrFormat = errors.New("bundle has a format that this build does not read")
)

func refuse(kind pavise.Kind, why error, hint, format string, args ...any) error {
	return &pavise.Error{Kind: kind, Msg: fmt.Sprintf(format, args...), Hint: hint, Err: why}
}

// malformed refuses what no publisher of ours writes.
func malformed(format string, args ...any) error {
	return refuse(pavise.Unverified, ErrMalformed, "it was damaged or made by something else: fetch it again from the control plane", "the bundle cannot be read: "+format, args...)
}
