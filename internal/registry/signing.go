package registry

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/oms"
	"github.com/pavise/pavise/internal/store"
)

// A Signing is a signature that came by itself, of files that a version has already.
type Signing struct {
	Files    Digest // of the version, when the signature came
	Manifest Digest // of the manifest in an OCI registry in which the files came
	Bundle   []byte // over the files, or over the manifest
}

// Signed holds a signature to whom the installation believes, and has it count for a version
// that has none. One that does not hold is a finding, unless the installation believes nobody;
// why says what is wrong with it. The error is of kind NotFound, or Conflict for a version that
// was given other files, or is in quarantine or at its end.
//
// Unguarded: a room of the house asks, which let in who brought it; who signed is what counts,
// and not who brings it.
func (r *Registry) Signed(ctx context.Context, who pavise.Principal, tenant string, ref Ref, s Signing) (counts bool, why string, err error) {
	v, err := r.Resolve(ctx, tenant, ref)
	if err == nil {
		err = signable(v, s)
	}
	if err != nil {
		return false, "", err
	}
	by, err := r.attested(v, s)
	if err != nil {
		if kind := pavise.KindOf(err); kind != pavise.Unverified && kind != pavise.Invalid {
			return false, "", err
		}
		why = clip(reasons(err), maxWords/4)
		return false, why, r.unsigned(ctx, who, v, why)
	}
	if err := r.cfg.Guard.Note(ctx, KindSigned, nil, v.Name(), Noted{Version: v.Ref, Digest: v.Digest, State: v.State, Signed: by}); err != nil {
		return false, "", err
	}
	_, err = r.change(ctx, tenant, ref, func(_ *store.Tx, v *Version) error {
		if err := signable(v, s); err != nil {
			return err
		}
		if v.Signature == nil || v.Signature.Files != v.Digest { // else those who approve it would judge another bill for each
			if v.Intake == Ready { // and so the house signed it, which is signed anew, and as it is
				if err := r.held(v); err != nil {
					return err
				}
			}
			v.Signature, v.bundle = by, s.Bundle
			return r.vouch(v)
		}
		return nil
	})
	return err == nil, "", err
}

// signable refuses a signature for what is not the version any more, or nothing comes of.
func signable(v *Version, s Signing) error {
	if v.Digest != s.Files {
		return conflict(v, "and was given other files since")
	}
	if v.Barred() || v.State.Ends() {
		return conflict(v, "and no signature counts for it")
	}
	return nil
}

// attested says who signed the files of a version, or the manifest in which they came.
func (r *Registry) attested(v *Version, s Signing) (*Signature, error) {
	if !oms.IsOfImage(s.Bundle) {
		return r.signed(v, s.Bundle)
	}
	return r.believed(v, s.Bundle, func(trust oms.Trust) (oms.Signed, error) {
		return oms.OpenImage(s.Bundle, trust, s.Manifest)
	}, s.Manifest)
}

// unsigned tells of a signature that does not hold. Where nobody is believed none can, and that
// says nothing of who made it.
func (r *Registry) unsigned(ctx context.Context, who pavise.Principal, v *Version, why string) error {
	detail := Noted{Version: v.Ref, Digest: v.Digest, State: v.State, Why: why}
	if len(r.cfg.Signers) > 0 {
		detail.Finding = &pavise.Finding{
			Kind: KindUnsigned, Severity: pavise.Warning, On: v.Name(), Who: who.Name(), At: r.now(),
			Summary: fmt.Sprintf("a signature for %s, which %s pushed, does not hold: %s", v.Ref, who.Name(), why),
		}
	}
	return r.cfg.Guard.Note(ctx, KindUnsigned, nil, v.Name(), detail)
}

// reasons are why a signature does not hold by any who are believed.
func reasons(err error) string {
	e, known := errors.AsType[*pavise.Error](err)
	if !known {
		return err.Error()
	}
	if e.Err != nil {
		return e.Msg + ": " + strings.ReplaceAll(e.Err.Error(), "\n", "; ")
	}
	return e.Msg
}
