package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/intake"
	"github.com/pavise/pavise/internal/store"
)

// maxReferrers bounds what refers to one manifest.
const maxReferrers = 500

// unpacking is how long the archives of a model may take to be unpacked before a client is
// answered.
const unpacking = time.Hour

// A made says in a record what became of a manifest.
type made struct {
	Manifest string `json:"manifest"`
	Version  int    `json:"version,omitempty"`
	Subject  string `json:"subject,omitempty"`
	Tag      string `json:"tag,omitempty"`
}

// putManifest takes a manifest: of a model, which becomes a version, or of what refers to one.
func (d *Door) putManifest(a *asked) (err error) {
	ctx := a.r.Context()
	entry, err := d.cfg.Guard.Enter(ctx, a.who, VerbPush, a.model)
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	hold := d.bodies.Begin(a.who.Name())
	defer hold.Free()
	text, m, err := a.readManifest(hold)
	if err != nil {
		return err
	}
	k := kept{digest: digestOf(text), kind: m.kindOf(), body: text, by: a.who.Name().String()}
	tag := ""
	switch {
	case !isDigest(a.ref):
		tag = a.ref
		if err := pushable(tag); err != nil {
			return err
		}
		if !m.isModel() {
			return refuse(codeUnsupported, "what refers to a model has no tag", "push it by digest")
		}
	case a.ref != k.digest:
		if err := parseDigest(a.ref); err != nil {
			return err
		}
		return refuse(codeDigest, fmt.Sprintf("what came is %s, and not %s", k.digest, a.ref), "send the manifest as it was when its digest was taken")
	}
	_ = http.NewResponseController(a.w).SetWriteDeadline(time.Now().Add(unpacking)) // where it cannot be set, the server's own holds
	number, err := d.takeManifest(ctx, a, m, k)
	entry.Detail(made{Manifest: k.digest, Version: number, Subject: subjectOf(m), Tag: tag})
	if err != nil {
		return err
	}
	if tag != "" {
		if err := d.moveTag(ctx, a, tag, k.digest, number); err != nil {
			return err
		}
	}
	if m.Subject != nil {
		a.w.Header().Set("OCI-Subject", m.Subject.Digest)
	}
	a.created("manifests", k.digest)
	return nil
}

func subjectOf(m *manifest) string {
	if m.Subject == nil {
		return ""
	}
	return m.Subject.Digest
}

// parsed is how many times as much as it has bytes a manifest takes while it is read.
const parsed = 3

// readManifest reads the manifest that a request brings, in memory that is bounded for all.
func (a *asked) readManifest(hold *intake.Hold) (text []byte, m *manifest, err error) {
	from := &telling{Reader: a.bodyOf(maxManifest + 1)}
	text, err = hold.Read(from, maxManifest)
	if len(text) > maxManifest {
		return nil, nil, withStatus(http.StatusRequestEntityTooLarge, refuse(codeManifestInvalid, fmt.Sprintf("the manifest has more than %d bytes", maxManifest), "pack files together in archives"))
	}
	if err != nil && from.failed != nil {
		return nil, nil, refuseFor(codeManifestInvalid, "the manifest broke off", "send it again", err)
	}
	if err == nil {
		err = hold.Set(parsed * len(text))
	}
	if err != nil {
		return nil, nil, err
	}
	media := a.r.Header.Get("Content-Type")
	if media, _, _ = strings.Cut(media, ";"); media == "" {
		return nil, nil, refuse(codeManifestInvalid, "the manifest came without a media type", "send Content-Type: "+mediaManifest)
	}
	m, err = parseManifest(strings.TrimSpace(media), text)
	return text, m, err
}

// takeManifest keeps a manifest, once, and returns the number of the version that it is.
func (d *Door) takeManifest(ctx context.Context, a *asked, m *manifest, k kept) (number int, err error) {
	unlock, err := d.lock(ctx, "model "+a.model.String(), true) // the same by two at once is one version
	if err != nil {
		return 0, err
	}
	defer unlock()
	if was, v, ok, err := d.standing(ctx, a.model, k.digest); err != nil || ok {
		if err == nil && was.version == 0 { // whose signatures are believed may be others by now
			err = d.countSignature(ctx, a, m, v)
		}
		if err == nil && v.Barred != "" && was.version != 0 { // pushed again it is no better
			err = refuse(codeDenied, fmt.Sprintf("the model is here as version %d, and nobody gets it: %s", v.Number, v.Barred), "pavise model show says what is known of it")
		}
		return was.version, err
	}
	needs, err := d.needs(ctx, a.model, m)
	if err != nil {
		return 0, err
	}
	if !m.isModel() {
		return 0, d.takeReferrer(ctx, a, m, k, needs)
	}
	files, err := d.unpackModel(ctx, a.model.Tenant, m)
	if err != nil {
		return 0, err
	}
	holding := slices.Clone(needs)
	for _, f := range files {
		holding = append(holding, f.Digest)
	}
	slices.Sort(holding)
	if err := d.hold(ctx, a.model, k.digest, slices.Compact(holding)); err != nil {
		return 0, gone("of the manifest", err)
	}
	var unfit error
	k.files = stampOf(files)
	if k.version, unfit = d.cfg.Versions.Add(ctx, a.who, a.model, Draft{Files: files, Manifest: k.digest}); k.version == 0 {
		d.letGo(ctx, a.model, k.digest)
		return 0, noModel(unfit)
	}
	if err := d.keepManifest(ctx, a.model, k, needs); err != nil { // what is held stays: the version has these files
		return 0, err
	}
	return k.version, unfit
}

// takeReferrer keeps what refers to a model that is here.
func (d *Door) takeReferrer(ctx context.Context, a *asked, m *manifest, k kept, needs []string) error {
	subject, v, ok, err := d.standing(ctx, a.model, m.Subject.Digest)
	switch {
	case err != nil:
		return err
	case !ok || subject.version == 0:
		return refuse(codeManifestUnknown, fmt.Sprintf("%s is no model here, and this refers to it", m.Subject.Digest), "push the model first")
	case m.Subject.Size != int64(len(subject.body)):
		return refuse(codeSize, fmt.Sprintf("the subject has %d bytes, and is said to have %d", len(subject.body), m.Subject.Size), "refer to the model with its size")
	}
	k.subject = m.Subject.Digest
	if err := d.hold(ctx, a.model, k.digest, needs); err != nil {
		return gone("of the manifest", err)
	}
	if err := d.keepManifest(ctx, a.model, k, needs); err != nil {
		d.letGo(ctx, a.model, k.digest)
		return err
	}
	return d.countSignature(ctx, a, m, v)
}

// countSignature has the signature that a manifest brings count for the version that it refers
// to, if it is one of a form that is understood and holds. It is kept in any case, and its
// client told.
func (d *Door) countSignature(ctx context.Context, a *asked, m *manifest, v Version) error {
	if !strings.HasPrefix(m.kindOf(), bundleType) && !strings.HasPrefix(m.kindOf(), modelSignature) || v.Barred != "" {
		return nil
	}
	if len(m.Layers) != 1 {
		a.warn(fmt.Sprintf("the signature is kept, and counts for nothing: it has %d layers, and one is asked for", len(m.Layers)))
		return nil
	}
	bundle, err := d.read(ctx, a.model.Tenant, m.Layers[0]) // within the bound of what refers to a model
	if err != nil {
		return err
	}
	counts, why, err := d.cfg.Signatures.Signed(ctx, a.who, a.model, Signing{v.Number, v.Sum, m.Subject.Digest, bundle})
	switch {
	case pavise.KindOf(err) == pavise.Conflict:
		why = err.Error() // there is no use for it any more
	case err != nil:
		return err
	}
	if !counts {
		a.warn("the signature is kept, and counts for nothing: " + why)
	}
	return nil
}

// warn tells a client something beside the answer, as OCI distribution 1.1 has it.
func (a *asked) warn(text string) {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			return '\''
		}
		return r
	}, text)
	a.w.Header().Add("Warning", `299 - "`+text[:min(len(text), maxWarning)]+`"`)
}

// maxWarning bounds what a warning says, in bytes.
const maxWarning = 512

// needs returns the blobs of a manifest, all of which are here.
func (d *Door) needs(ctx context.Context, model pavise.Name, m *manifest) (digests []string, err error) {
	for _, b := range m.blobs() {
		size, _, ok, err := d.blob(ctx, model, b.Digest)
		if err == nil && !ok && len(b.Data) > 0 { // it came with the manifest
			size, ok, err = b.Size, true, d.putSmall(ctx, model, b.Data)
		}
		switch {
		case err != nil:
			return nil, err
		case !ok:
			return nil, refuse(codeManifestBlob, fmt.Sprintf("the blob %s is not here", b.Digest), "upload all blobs, and then the manifest")
		case size != b.Size:
			return nil, refuse(codeSize, fmt.Sprintf("the blob %s has %d bytes, and the manifest says %d", b.Digest, size, b.Size), "write how many bytes it has")
		}
		digests = append(digests, b.Digest)
	}
	return digests, nil
}

// putSmall keeps a content that is in memory as a blob of a repository.
func (d *Door) putSmall(ctx context.Context, model pavise.Name, content []byte) error {
	digest, size, err := d.put(ctx, model.Tenant, strings.NewReader(string(content)))
	if err != nil {
		return err
	}
	return d.cfg.Store.Update(ctx, func(tx *store.Tx) error { return d.link(tx, model, digest, size) })
}

// unpackModel returns the files of a model, by path, each kept for itself.
func (d *Door) unpackModel(ctx context.Context, tenant string, m *manifest) ([]File, error) {
	text, err := d.read(ctx, tenant, m.Config)
	if err != nil {
		return nil, err
	}
	diffs, err := parseConfiguration(text, len(m.Layers))
	if err != nil {
		return nil, err
	}
	t := newTree(func(ctx context.Context, content io.Reader) (string, int64, error) {
		return d.put(ctx, tenant, content)
	})
	for i, l := range m.Layers {
		_, form, _ := layerOf(l.MediaType) // the manifest was checked
		if form == formRaw {
			err = t.raw(l, diffs[i])
		} else {
			err = d.unpackLayer(ctx, tenant, t, l, form, diffs[i])
		}
		if err != nil {
			return nil, err
		}
	}
	if len(t.files) == 0 {
		return nil, refuse(codeManifestInvalid, "the model has no files", "pack some")
	}
	slices.SortFunc(t.files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return t.files, nil
}

func (d *Door) unpackLayer(ctx context.Context, tenant string, t *tree, l descriptor, form, diff string) error {
	select {
	case d.unpacks <- struct{}{}:
		defer func() { <-d.unpacks }()
	case <-ctx.Done():
		return ctx.Err()
	}
	content, err := d.open(ctx, tenant, l.Digest)
	if err != nil {
		return gone(l.Digest, err)
	}
	defer content.Close()
	return t.unpack(ctx, l, form, diff, content)
}

// read reads a blob of a few bytes.
func (d *Door) read(ctx context.Context, tenant string, b descriptor) ([]byte, error) {
	content, err := d.open(ctx, tenant, b.Digest)
	if err != nil {
		return nil, gone(b.Digest, err)
	}
	defer content.Close()
	return io.ReadAll(content) // as long as the manifest says, within its bound
}

// gone says that a blob is not there, of which it was written down that it is.
func gone(digest string, err error) error {
	if pavise.KindOf(err) == pavise.NotFound {
		return refuseFor(codeManifestBlob, fmt.Sprintf("the blob %s is not here any more", digest), "upload it again, and then the manifest", err)
	}
	return err
}

// moveTag has a tag mean the version that was pushed with it. A tag that is new is a name of
// this version for ever; one that means something already is moved by those who decide that.
func (d *Door) moveTag(ctx context.Context, a *asked, tag, digest string, number int) error {
	aliases, _, err := d.cfg.Versions.Names(ctx, a.model)
	if err != nil {
		return err
	}
	means, is := aliases[tag]
	if !is {
		if means, err = d.tag(ctx, a.model, tag, digest); err != nil {
			return err
		}
	}
	if means == number {
		return nil
	}
	change, address, err := d.cfg.Aliases.Propose(ctx, a.who, a.model, tag, number)
	if err != nil {
		e, _ := errors.AsType[*pavise.Error](err)
		if e == nil {
			return err
		}
		return refuseFor(codeDenied, fmt.Sprintf("the model is here as version %d, and the tag %s stays at version %d: %s", number, tag, means, e.Msg), e.Hint, err)
	}
	return refuse(codeDenied, fmt.Sprintf("the model is here as version %d, and the tag %s stays at version %d until change %s is approved", number, tag, means, change), address)
}

// deleteManifest takes a tag away, or what refers to a model. Versions stay.
func (d *Door) deleteManifest(a *asked) (err error) {
	ctx := a.r.Context()
	entry, err := d.cfg.Guard.Enter(ctx, a.who, VerbPush, a.model)
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	if !isDigest(a.ref) {
		entry.Detail(made{Tag: a.ref})
		return d.dropTag(ctx, a)
	}
	if err := parseDigest(a.ref); err != nil {
		return err
	}
	k, ok, err := d.manifest(ctx, a.model, a.ref)
	switch {
	case err != nil:
		return err
	case !ok:
		return unknownManifest(a.ref)
	case k.version != 0:
		return withStatus(http.StatusMethodNotAllowed, refuse(codeUnsupported, fmt.Sprintf("version %d is a record, and no version is deleted", k.version), "reject it, or retire it: pavise model reject, pavise model retire"))
	case k.by != a.who.Name().String():
		return refuse(codeDenied, "somebody else pushed what refers to the model here", "ask "+k.by)
	}
	entry.Detail(made{Manifest: k.digest, Subject: k.subject})
	err = d.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(`DELETE FROM oci_needs WHERE tenant = ? AND model = ? AND manifest = ?`, a.model.Tenant, a.model.ID, k.digest)
		if err == nil {
			_, err = tx.Exec(`DELETE FROM oci_manifests WHERE tenant = ? AND model = ? AND digest = ?`, a.model.Tenant, a.model.ID, k.digest)
		}
		return err
	})
	if err != nil {
		return err
	}
	d.letGo(ctx, a.model, k.digest)
	a.w.WriteHeader(http.StatusAccepted)
	return nil
}

func (d *Door) dropTag(ctx context.Context, a *asked) error {
	aliases, _, err := d.cfg.Versions.Names(ctx, a.model)
	if err != nil {
		return noModel(err)
	}
	if _, ok := aliases[a.ref]; !ok {
		if digest, err := d.tagged(ctx, a.model, a.ref); err != nil || digest == "" {
			return errors.Join(err, unknownManifest(a.ref))
		}
		return withStatus(http.StatusMethodNotAllowed, refuse(codeUnsupported, "the tag "+a.ref+" is the name of one version for ever", "what nobody is to use any more is retired: pavise model retire"))
	}
	change, address, err := d.cfg.Aliases.Propose(ctx, a.who, a.model, a.ref, 0)
	if err != nil {
		return err
	}
	return refuse(codeDenied, fmt.Sprintf("the tag %s stays until change %s is approved", a.ref, change), address)
}

// deleteBlob takes a blob out of the repository that no manifest needs.
func (d *Door) deleteBlob(a *asked) (err error) {
	ctx := a.r.Context()
	entry, err := d.cfg.Guard.Enter(ctx, a.who, VerbPush, a.model)
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	if err := parseDigest(a.ref); err != nil {
		return err
	}
	entry.Detail(pushed{Digest: a.ref})
	_, needs, ok, err := d.blob(ctx, a.model, a.ref)
	switch {
	case err != nil:
		return err
	case !ok:
		return unknownBlob(a.ref)
	case len(needs) > 0:
		return withStatus(http.StatusMethodNotAllowed, refuse(codeUnsupported, fmt.Sprintf("%d manifests need the blob", len(needs)), "blobs go with what needs them"))
	}
	err = d.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(`DELETE FROM oci_blobs WHERE tenant = ? AND model = ? AND digest = ?`, a.model.Tenant, a.model.ID, a.ref)
		return err
	})
	if err == nil {
		a.w.WriteHeader(http.StatusAccepted)
	}
	return err
}
