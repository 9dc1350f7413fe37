package premises

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/config"
	"github.com/pavise/pavise/internal/installation"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/model"
	"github.com/pavise/pavise/internal/notary"
	"github.com/pavise/pavise/internal/oms"
	"github.com/pavise/pavise/internal/plainfile"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/registry"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/sigstore"
)

// signsBy is the detail of notary.KindKey.
type signsBy struct {
	Finding *pavise.Finding `json:"finding,omitempty"`
	Key     string          `json:"key"`
}

// notary opens the keys by which models are signed. An installation without any signs what it
// finds, once; the log says whether that was before: else whoever takes the key away would have
// everything signed that they wrote into the database.
func (h *House) notary(ctx context.Context, k installation.Keys) (*notary.Notary, error) {
	n, err := notary.Open(k.KEK, string(h.Data))
	if err != nil || !n.Fresh() {
		return n, err
	}
	key, err := n.Key("")
	if err != nil {
		return nil, err
	}
	on, is := pavise.Name{Tenant: h.Tenant, Kind: registry.Kind, ID: "any"}, signsBy{Key: key.ID}
	filter := ledger.Filter{Tenant: h.Tenant, Kinds: []string{notary.KindKey}, Phase: record.Note}
	for last, err := range h.Log.SelectBack(ctx, filter, h.Log.First(), h.Log.Size()) {
		var was signsBy
		if err == nil {
			err = json.Unmarshal(last.Detail, &was)
		}
		if err != nil {
			return nil, err
		}
		if was.Key == key.ID { // that start was killed, and signs the rest now
			return n, nil
		}
		is.Finding = &pavise.Finding{
			Kind: notary.KindKey, Severity: pavise.Critical, On: on, At: h.Now(),
			Summary: "the key by which this installation signs models is gone (" + was.Key + "), and there is a new one: what the old one signed is neither published nor deployed until it is back, as model-former-NAME.key, or the files are added anew",
		}
		break
	}
	if err := h.Guard.Note(ctx, notary.KindKey, nil, on, is); err != nil {
		return nil, err
	}
	if is.Finding != nil {
		return n, n.Begin() // and signs nothing that is there
	}
	return n, nil
}

// OpenModels opens the models that the house knows. Datasets that they were trained on are
// held to the catalog, which is open. What is ready the house signs, with a key in its directory;
// models says whether somebody who is believed has to, too. files are those of models that are
// kept here; nil: none are.
func (h *House) OpenModels(ctx context.Context, k installation.Keys, signers []config.Signer, models *config.Models, files registry.Files) (err error) {
	cfg := registry.Config{
		Guard: h.Guard, Store: h.DB, Now: h.Now, Say: h.Say, Files: files, Dir: h.Data.Path("models"), Sealed: h.Catalog.Had,
	}
	if cfg.House, err = h.notary(ctx, k); err != nil {
		return err
	}
	cfg.Producers = models != nil && models.Signed
	for _, s := range signers {
		trust, err := trusted(s)
		if err != nil {
			return &pavise.Error{Kind: pavise.KindOf(err), Msg: fmt.Sprintf("nobody can be held to what %s signs: %v", s.Name, err), Hint: "see model_signers in pavise.yaml, or --models-signed-by", Err: err}
		}
		cfg.Signers = append(cfg.Signers, registry.Signer{Name: s.Name, Trust: trust})
	}
	if h.Models, err = registry.Open(ctx, cfg); err != nil {
		return err
	}
	h.Unfit = h.Models.Unfit
	if h.Gateway != nil {
		h.Gateway.Routes.HoldFirst(h.published)
	}
	return nil
}

// published refuses, with kind Denied, a first route by which a file of registered versions would
// answer of which none has been published: whoever may put routes would have it answer, and nobody
// approved it. Behind the name of a registered model nothing else answers by one person's word, for
// callers would take it for that model.
func (h *House) published(ctx context.Context, first route.Route) error {
	_, err := h.Models.Known(ctx, first.Model)
	known := err == nil
	if err != nil && pavise.KindOf(err) != pavise.NotFound {
		return err
	}
	if known && first.ONNX == "" {
		return unapproved(first.Model, "what answers "+first.At()+" is")
	}
	if known && first.Shadow != "" {
		return unapproved(first.Model, "a shadow at "+first.Shadow+" is")
	}
	for _, file := range first.Models() {
		if err := h.publishedFile(ctx, first.Model, file, known); err != nil {
			return err
		}
	}
	return nil
}

// publishedFile is published for one file, which is to answer behind the name of a model; known: a
// registered one.
func (h *House) publishedFile(ctx context.Context, name pavise.Name, file string, known bool) error {
	if err := h.Models.Unfit(ctx, name.Tenant, file); err != nil {
		return err
	}
	all, err := h.Models.Having(ctx, name.Tenant, file)
	if err != nil || len(all) == 0 && !known {
		return err
	}
	if slices.ContainsFunc(all, func(v *registry.Version) bool {
		return (v.State == registry.Published || v.State.Serves()) && (!known || v.Ref.Model == name.ID)
	}) {
		return nil
	}
	if known && !slices.ContainsFunc(all, func(v *registry.Version) bool { return v.Ref.Model == name.ID }) {
		return unapproved(name, file+" is a file")
	}
	return &pavise.Error{
		Kind: pavise.Denied, Msg: fmt.Sprintf("it is a file of version %s, which is %s and was not published: nobody may have it answer alone", all[0].Ref, all[0].State),
		Hint: "pavise model show says what it takes; once it is published, put it, or deploy it: pavise deploy release",
	}
}

// unapproved is the error of what nobody approved behind the name of a registered model.
func unapproved(name pavise.Name, what string) error {
	return &pavise.Error{
		Kind: pavise.Denied, Msg: fmt.Sprintf("%s of no version of %s, which is a registered model: nobody may have it answer alone", what, name.ID),
		Hint: "put the file of a published version, or have others approve this: pavise route release " + name.ID + " with the same model, servers and shadow",
	}
}

// trusted reads by what somebody's signatures hold. What is in the file says which way it is.
func trusted(s config.Signer) (oms.Trust, error) {
	text, err := plainfile.Read("signer's file", s.File, sigstore.MaxTrustedRoot)
	if err != nil {
		return oms.Trust{}, err
	}
	by := model.Verify{Identity: s.Identity, Issuer: s.Issuer}
	switch {
	case bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")):
		by.Root = s.File
	case bytes.Contains(text, []byte("BEGIN CERTIFICATE")):
		by.Chain = s.File
	default:
		by.Key = s.File
	}
	return by.Trust()
}
