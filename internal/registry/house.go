package registry

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/notary"
	"github.com/pavise/pavise/internal/store"
)

// A House is that this installation itself signed the files of a version, as it had hashed and
// looked at them.
type House struct {
	Key    string    `json:"key"`    // the id of the key
	Digest Digest    `json:"digest"` // of the signature, which is kept
	Says   string    `json:"says"`   // what is signed, beside the files
	At     time.Time `json:"at"`
}

// TagSigned is the tag of a model whose versions are published and deployed only with a signature
// by somebody who is believed. It is not taken back.
const TagSigned = "pavise.signed"

// claim is what the house vouches for of a version that has its files.
func (v *Version) claim() notary.Claim {
	c := notary.Claim{Version: v.Name(), Digest: DigestOf(v.Files).String(), Risk: string(v.Risk)}
	if v.Scan != nil {
		c.Found, c.Said = v.Scan.Verdict, v.Scan.By
	}
	if v.Signature != nil {
		c.Producer = v.Signature.Digest.String()
	}
	if v.Change != (pavise.Name{}) {
		c.Change = v.Change.String()
	}
	for _, f := range v.Files {
		c.Files = append(c.Files, notary.File(f.Path, f.Digest[:]))
	}
	return c
}

// vouch has the house sign a version whose files are ready; of another nothing is signed.
func (r *Registry) vouch(v *Version) error {
	v.House, v.house = nil, nil
	if r.cfg.House == nil || v.Intake != Ready {
		return nil
	}
	c := v.claim()
	bundle, key, err := r.cfg.House.Sign(c)
	if err != nil {
		return err
	}
	v.House, v.house = &House{Key: key.ID, Digest: sha256.Sum256(bundle), Says: c.Says(), At: r.now()}, bundle
	return nil
}

// held holds a version to what the house signed of it. The error is of kind Unverified.
func (r *Registry) held(v *Version) error {
	if r.cfg.House == nil {
		return nil
	}
	no := func(why, hint string, err error) error {
		return &pavise.Error{Kind: pavise.Unverified, Msg: v.Ref.String() + " is not as this installation signed it: " + why, Hint: hint, Err: err}
	}
	if v.House == nil || len(v.house) == 0 {
		return no("it did not sign it", "restore the state database, or add the files anew", nil)
	}
	if v.Digest != DigestOf(v.Files) {
		return no("its digest is not that of its files", "restore the state database, or add the files anew", nil)
	}
	err := r.cfg.House.Check(v.house, v.House.Key, v.claim())
	if e, is := errors.AsType[*pavise.Error](err); is {
		return no(e.Msg, e.Hint, err)
	}
	return err
}

// Unsigned says why a version does not have the signature by somebody who is believed that its
// model, or the installation, asks for; empty: it has, or none is asked for.
func (r *Registry) Unsigned(m *Model, v *Version) string {
	if !r.cfg.Producers && m.Tags[TagSigned] != "true" || v.Signature != nil && v.Signature.Files == v.Digest {
		return ""
	}
	return "it waits for a signature over its files by somebody whom this installation believes: hand it in with them, as model.sig or --signature"
}

// fit refuses a version that is not as the house signed it, or without the signature of a
// producer where one is asked for, which must hold now.
func (r *Registry) fit(tx *store.Tx, v *Version) error {
	if err := r.held(v); err != nil {
		return err
	}
	m, err := readModel(tx, v.Ref.Of(v.Tenant))
	if err != nil {
		return err
	}
	if why := r.Unsigned(m, v); why != "" {
		return &pavise.Error{Kind: pavise.Conflict, Msg: v.Ref.String() + " is not signed: " + why, Hint: "pavise model show " + v.Ref.String()}
	}
	if v.Signature == nil || !r.cfg.Producers && m.Tags[TagSigned] != "true" {
		return nil
	}
	_, err = r.attested(v, Signing{Files: v.Digest, Manifest: v.Signature.Over, Bundle: v.bundle})
	return err
}

// Altered says why a version that is published is not what was: not as the house signed it then,
// or published by no change; empty: it is, or its state is one in which it is brought nowhere.
// What it finds is a finding, once. That it cannot be written down keeps nothing from being
// refused, and no way back from being taken.
//
// Unguarded: a room of the house asks, before it brings the version anywhere.
func (r *Registry) Altered(ctx context.Context, v *Version) (why string) {
	if r.cfg.House == nil || !slices.Contains(aliased, v.State) {
		return ""
	}
	fault := r.held(v)
	if fault == nil && v.Change != (pavise.Name{}) {
		return ""
	}
	if fault == nil {
		fault = &pavise.Error{Kind: pavise.Unverified, Msg: v.Ref.String() + " is " + string(v.State) + ", and no change published it"}
	}
	r.alarm(ctx, v, fault)
	return pavise.MsgOf(fault)
}

// alarm tells once of a version that is not as the house signed it.
func (r *Registry) alarm(ctx context.Context, v *Version, fault error) {
	if pavise.KindOf(fault) != pavise.Unverified {
		return
	}
	if _, told := r.told.LoadOrStore(v.Name(), true); told {
		return
	}
	why := clip(pavise.MsgOf(fault), maxWords)
	detail := Noted{Version: v.Ref, Digest: v.Digest, State: v.State, House: v.House, Why: why}
	detail.Finding = &pavise.Finding{Kind: KindAltered, Severity: pavise.Critical, On: v.Name(), At: r.now(), Summary: why}
	if err := r.cfg.Guard.Note(ctx, KindAltered, nil, v.Name(), detail); err != nil {
		r.told.Delete(v.Name())
		r.cfg.Say("warning", fmt.Errorf("what was changed of %s cannot be told: %w", v.Ref, err))
	}
}

// begin signs what was ready before the house ever signed, as it is found. Killed meanwhile, it
// goes on at the next start.
func (r *Registry) begin(ctx context.Context, all []*Version) error {
	if r.cfg.House == nil || !r.cfg.House.Fresh() {
		return nil
	}
	for _, v := range all {
		if v.Intake != Ready || v.House != nil {
			continue
		}
		v, err := r.change(ctx, v.Tenant, v.Ref, func(_ *store.Tx, v *Version) error { return r.vouch(v) })
		if err != nil {
			return err
		}
		if err := r.cfg.Guard.Note(ctx, KindVouched, nil, v.Name(), Noted{Version: v.Ref, Digest: v.Digest, State: v.State, House: v.House, Why: "it was ready before this installation signed any"}); err != nil {
			return err
		}
	}
	return r.cfg.House.Begin()
}

// The parts of what is shown of a version that are files of their own.
const (
	PartSignature = "signature" // the house's
	PartProducer  = "producer"  // that of somebody who is believed
	PartKey       = "key"       // the public key of the house's
)

// part is one of them.
func (r *Registry) part(v *Version, what string) (text []byte, err error) {
	switch what {
	case "":
		return nil, nil
	case PartSignature:
		text = v.house
	case PartProducer:
		text = v.bundle
	case PartKey:
		if v.House != nil && r.cfg.House != nil {
			key, err := r.cfg.House.Key(v.House.Key)
			return key.PEM, err
		}
	}
	if len(text) == 0 {
		return nil, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("%s has no %s", v.Ref, strings.ReplaceAll(what, PartProducer, "signature of a producer")), Hint: "pavise model show " + v.Ref.String() + " says what it has"}
	}
	return text, nil
}

// why says of versions that stay pending why they do.
func (r *Registry) why(all []*Version) {
	for _, v := range all {
		if v != nil && v.Intake == Pending {
			if text, is := r.stalled.Load(v.Name()); is {
				v.Problem, v.Stalled = text.(string)
			}
		}
	}
}
