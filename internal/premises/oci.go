package premises

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/oci"
	"github.com/pavise/pavise/internal/registry"
	"github.com/pavise/pavise/internal/runner"
)

// OpenOCI opens the door for clients of OCI registries, which is reached at base. The models
// and the depot are open.
func (h *House) OpenOCI(ctx context.Context, base string) (err error) {
	h.OCI, err = oci.Open(ctx, oci.Config{
		Guard: h.Guard, Store: h.DB, Depot: h.Depot, Versions: pushed{h.Models}, Signatures: pushed{h.Models}, Aliases: renamed{h, base}, Base: base, Now: h.Now, Say: h.Say,
	})
	return err
}

// pushed are the versions of models as a client of a registry sees them. It implements
// oci.Versions and oci.Signatures.
type pushed struct{ models *registry.Registry }

// Add implements oci.Versions. What was pushed in another packing is the same draft; the files
// of a version that came further are another draft, for what is around them was never looked
// at.
func (p pushed) Add(ctx context.Context, who pavise.Principal, model pavise.Name, d oci.Draft) (number int, err error) {
	files := make([]registry.File, len(d.Files))
	for i, f := range d.Files {
		digest, err := registry.ParseDigest(f.Digest)
		if err != nil {
			return 0, err
		}
		files[i] = registry.File{Path: f.Path, Size: f.Size, Digest: digest}
	}
	same, err := p.models.ByDigest(ctx, model.Tenant, registry.DigestOf(files))
	if err != nil {
		return 0, err
	}
	var v *registry.Version
	for _, s := range same {
		if s.Barred() {
			return 0, &pavise.Error{Kind: pavise.Denied, Msg: fmt.Sprintf("these files are in quarantine, as %s", s.Ref), Hint: "pavise model show " + s.Ref.String() + " says why"}
		}
		if v == nil && s.Ref.Model == model.ID && s.State == registry.Draft {
			v = s
		}
	}
	if v == nil {
		v, err = p.models.Add(ctx, who, registry.AddSpec{Model: model, FileSpec: registry.FileSpec{Files: files}, Source: "oci:" + model.ID + "@" + d.Manifest})
		if err != nil {
			return 0, err
		}
	}
	number = v.Ref.Version
	if v, err = p.models.Take(ctx, model.Tenant, v.Ref); err != nil {
		return number, err
	}
	if v.Intake != registry.Ready {
		return number, &pavise.Error{Kind: pavise.Denied, Msg: fmt.Sprintf("the files of %s are %s: %s", v.Ref, v.Intake, v.Problem), Hint: "pavise model show " + v.Ref.String() + " says what was found"}
	}
	return number, nil
}

// Version implements oci.Versions.
func (p pushed) Version(ctx context.Context, model pavise.Name, number int) (oci.Version, error) {
	v, err := p.models.Outline(ctx, model.Tenant, registry.Ref{Model: model.ID, Version: number})
	if err != nil {
		return oci.Version{}, err
	}
	is := oci.Version{Number: number, State: string(v.State), Created: v.Created, Sum: v.Digest.String(), Files: p.files(v), Published: v.State.Serves() || v.State == registry.Published}
	switch {
	case v.Barred():
		is.Barred = "it is in quarantine, or was retired out of it"
	case v.Intake != registry.Ready:
		is.Barred = fmt.Sprintf("its files are %s: %s", v.Intake, v.Problem)
	}
	return is, nil
}

// files reads those of a version, unless it was given others meanwhile.
func (p pushed) files(was *registry.Version) func(context.Context) ([]oci.File, error) {
	return func(ctx context.Context) (all []oci.File, err error) {
		v, err := p.models.Resolve(ctx, was.Tenant, was.Ref)
		if err != nil {
			return nil, err
		}
		if v.Digest != was.Digest {
			return nil, &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("%s was given other files just now", v.Ref), Hint: "ask again"}
		}
		for _, f := range v.Files {
			all = append(all, oci.File{Path: f.Path, Size: f.Size, Digest: f.Digest.String()})
		}
		return all, nil
	}
}

// Signed implements oci.Signatures.
func (p pushed) Signed(ctx context.Context, who pavise.Principal, model pavise.Name, s oci.Signing) (counts bool, why string, err error) {
	is := registry.Signing{Bundle: s.Bundle}
	if is.Files, err = registry.ParseDigest(s.Sum); err == nil {
		is.Manifest, err = registry.ParseDigest(s.Manifest)
	}
	if err != nil {
		return false, "", err
	}
	return p.models.Signed(ctx, who, model.Tenant, registry.Ref{Model: model.ID, Version: s.Number}, is)
}

// Names implements oci.Versions.
func (p pushed) Names(ctx context.Context, model pavise.Name) (aliases map[string]int, newest int, err error) {
	m, err := p.models.Known(ctx, model)
	if err != nil {
		return nil, 0, err
	}
	return m.Aliases, m.Newest, nil
}

// renamed proposes what aliases are to mean. It implements oci.Aliases.
type renamed struct {
	*House
	base string
}

// Propose implements oci.Aliases.
func (r renamed) Propose(ctx context.Context, who pavise.Principal, model pavise.Name, alias string, number int) (id, address string, err error) {
	verb, request := "model.alias", any(runner.AliasTo{Alias: alias, Version: number})
	if number == 0 {
		verb, request = "model.unalias", runner.AliasOff{Alias: alias}
	}
	text, err := json.Marshal(request)
	if err != nil {
		return "", "", err
	}
	ch, err := r.Changes.Propose(ctx, who, change.Proposal{Verb: verb, On: model, Request: text, Reason: "pushed to the registry under this tag"})
	if err != nil {
		return "", "", err
	}
	return ch.Name.ID, "others decide at " + r.base + "/changes, or with pavise change show " + ch.Name.ID, nil
}
