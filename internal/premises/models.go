package premises

import (
	"bytes"
	"context"
	"fmt"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/config"
	"github.com/pavise/pavise/internal/installation"
	"github.com/pavise/pavise/internal/model"
	"github.com/pavise/pavise/internal/notary"
	"github.com/pavise/pavise/internal/oms"
	"github.com/pavise/pavise/internal/plainfile"
	"github.com/pavise/pavise/internal/registry"
	"github.com/pavise/pavise/internal/sigstore"
)

// OpenModels opens the models that the house knows. Datasets that they were trained on are
// held to the catalog, which is open. What is ready the house signs, with a key in its directory;
// models says whether somebody who is believed has to, too. files are those of models that are
// kept here; nil: none are.
func (h *House) OpenModels(ctx context.Context, k installation.Keys, signers []config.Signer, models *config.Models, files registry.Files) (err error) {
	cfg := registry.Config{
		Guard: h.Guard, Store: h.DB, Now: h.Now, Say: h.Say, Files: files, Dir: h.Data.Path("models"), Sealed: h.Catalog.Had,
	}
	if cfg.House, err = notary.Open(k.KEK, string(h.Data)); err != nil {
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
	if h.Models, err = registry.Open(ctx, cfg); err == nil {
		h.Unfit = h.Models.Unfit
	}
	return err
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
