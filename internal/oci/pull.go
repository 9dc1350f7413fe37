package oci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/guard"
)

func unknownManifest(ref string) error {
	return refuse(codeManifestUnknown, fmt.Sprintf("the model has no manifest %.140s", ref), "GET tags/list says what there is")
}

func unknownBlob(digest string) error {
	return refuse(codeBlobUnknown, fmt.Sprintf("the model has no blob %s", digest), "its manifests say what there is")
}

// noModel says that there is no such model in the words of registries.
func noModel(err error) error {
	if pavise.KindOf(err) == pavise.NotFound {
		e, _ := errors.AsType[*pavise.Error](err)
		return refuseFor(codeNameUnknown, e.Msg, e.Hint, err)
	}
	return err
}

// A pulled says in a record what was given out.
type pulled struct {
	Version  int    `json:"version,omitempty"`
	State    string `json:"state,omitempty"`
	Manifest string `json:"manifest,omitempty"`
	Blob     string `json:"blob,omitempty"`
	Bytes    int64  `json:"bytes,omitempty"`
}

// enter asks the guard for what is to be given out of a version, and refuses what nobody may
// have. Nothing is said of a version to who may not have it, but its state.
func (d *Door) enter(ctx context.Context, who pavise.Principal, model pavise.Name, v *Version) (entry *guard.Entry, err error) {
	verb, on := VerbPull, model
	if v != nil {
		on.ID += "@" + strconv.Itoa(v.Number) // as policies and the log call a version
		if !v.Published && v.Barred == "" {
			verb = VerbInspect
		}
	}
	entry, err = d.cfg.Guard.Enter(ctx, who, verb, on)
	if err != nil {
		if e, ok := errors.AsType[*pavise.Error](err); ok && verb == VerbInspect && e.Kind == pavise.Denied {
			err = refuseFor(codeDenied, fmt.Sprintf("version %d is %s, and not published: %s", v.Number, v.State, e.Msg), e.Hint, err)
		}
		return nil, err
	}
	if v != nil && v.Barred != "" {
		entry.Detail(pulled{Version: v.Number, State: v.State})
		err = refuse(codeDenied, fmt.Sprintf("nobody gets version %d: %s", v.Number, v.Barred), "pavise model show says what is known of it")
		entry.Exit(&err)
		return nil, err
	}
	return entry, nil
}

// enterBlob asks the guard for a blob: as part of whichever version that needs it the caller
// may most easily have.
func (d *Door) enterBlob(ctx context.Context, who pavise.Principal, model pavise.Name, needs []kept) (*guard.Entry, error) {
	var best *Version
	seen := map[string]bool{}
	for _, k := range needs {
		if of := fmt.Sprint(k.version, " ", k.files, k.subject); seen[of] {
			continue // a version may have many manifests, and is long to read
		} else {
			seen[of] = true
		}
		v, err := d.version(ctx, model, k)
		if pavise.KindOf(err) == pavise.NotFound {
			continue // it was of a version that has other files by now
		}
		if err != nil {
			return nil, err
		}
		if best == nil || best.Barred != "" || v.Published && v.Barred == "" {
			best = &v
		}
		if best.Published && best.Barred == "" {
			break
		}
	}
	entry, err := d.enter(ctx, who, model, best)
	if err == nil && best == nil {
		err = refuse(codeBlobUnknown, "no version of the model has this blob any more", "its manifests say what there is")
		entry.Exit(&err)
		return nil, err
	}
	return entry, err
}

// version is the version that a manifest is, or refers to. The error is of kind NotFound where
// that has other files by now.
func (d *Door) version(ctx context.Context, model pavise.Name, k kept) (v Version, err error) {
	subject := k
	if k.version == 0 {
		var ok bool
		if subject, ok, err = d.manifest(ctx, model, k.subject); err == nil && !ok {
			err = unknownManifest(k.subject)
		}
	}
	if err == nil {
		v, err = d.cfg.Versions.Version(ctx, model, subject.version)
	}
	if err != nil {
		return v, err
	}
	of, err := d.of(ctx, subject, v)
	if err == nil && !of {
		err = refuse(codeManifestUnknown, fmt.Sprintf("the manifest %s was of version %d, which was given other files since", subject.digest, v.Number), fmt.Sprintf("the tag v%d is what it is now", v.Number))
	}
	return v, err
}

// standing returns a manifest that is of a version as it is now, or refers to one, and the
// version.
func (d *Door) standing(ctx context.Context, model pavise.Name, digest string) (k kept, v Version, ok bool, err error) {
	if k, ok, err = d.manifest(ctx, model, digest); err != nil || !ok {
		return k, v, false, err
	}
	if v, err = d.version(ctx, model, k); pavise.KindOf(err) == pavise.NotFound {
		return kept{}, Version{}, false, nil
	}
	return k, v, err == nil, err
}

// getManifest gives a manifest out, or its head.
func (d *Door) getManifest(a *asked) (err error) {
	ctx := a.r.Context()
	k, v, found := d.resolve(ctx, a)
	var entry *guard.Entry
	if a.head() && d.cfg.Guard.May(a.who, VerbPush, a.model) { // who pushes looks whether it is there
		entry, err = d.cfg.Guard.Enter(ctx, a.who, VerbPush, a.model)
	} else {
		entry, err = d.enter(ctx, a.who, a.model, v)
	}
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	if found != nil {
		return found
	}
	if k.digest == "" {
		if k, err = d.pack(ctx, a.model, *v); err != nil {
			return err
		}
	}
	entry.Detail(pulled{Version: v.Number, State: v.State, Manifest: k.digest, Bytes: int64(len(k.body))})
	a.w.Header().Set("Content-Type", mediaManifest)
	a.w.Header().Set("Docker-Content-Digest", k.digest)
	a.w.Header().Set("ETag", `"`+k.digest+`"`)
	a.w.Header().Set("Content-Length", strconv.Itoa(len(k.body)))
	if !a.head() {
		_, err = a.w.Write(k.body)
	}
	return lost(err)
}

// resolve finds the manifest that a reference means, and its version. A version without a
// manifest has none yet. found is why there is no such thing; it is not told to who may not
// know.
func (d *Door) resolve(ctx context.Context, a *asked) (k kept, v *Version, found error) {
	if isDigest(a.ref) {
		if err := parseDigest(a.ref); err != nil {
			return k, nil, err
		}
		k, ok, err := d.manifest(ctx, a.model, a.ref)
		if err == nil && !ok {
			err = unknownManifest(a.ref)
		}
		if err != nil {
			return k, nil, err
		}
		version, err := d.version(ctx, a.model, k)
		if version.Number == 0 {
			return k, nil, err
		}
		return k, &version, err
	}
	if !tagName.MatchString(a.ref) {
		return k, nil, unknownManifest(a.ref)
	}
	number, err := d.tagNumber(ctx, a.model, a.ref)
	if err != nil {
		return k, nil, err
	}
	version, err := d.cfg.Versions.Version(ctx, a.model, number)
	if err != nil {
		return k, nil, err
	}
	if digest, err := d.tagged(ctx, a.model, a.ref); err != nil {
		return k, nil, err
	} else if digest != "" {
		k, ok, err := d.manifest(ctx, a.model, digest)
		if err == nil && ok {
			ok, err = d.of(ctx, k, version)
		}
		if err != nil || ok {
			return k, &version, err
		}
	}
	k, _, err = d.manifestOf(ctx, a.model, version)
	return k, &version, err
}

// tagNumber is the version that a tag means.
func (d *Door) tagNumber(ctx context.Context, model pavise.Name, tag string) (int, error) {
	aliases, newest, err := d.cfg.Versions.Names(ctx, model)
	if err != nil {
		return 0, noModel(err)
	}
	if number, ok := versionOf(tag); ok {
		if number > newest {
			return 0, unknownManifest(tag)
		}
		return number, nil
	}
	if number, ok := aliases[tag]; ok {
		return number, nil
	}
	if digest, err := d.tagged(ctx, model, tag); err != nil {
		return 0, err
	} else if digest != "" {
		k, _, err := d.manifest(ctx, model, digest)
		if err == nil {
			_, err = d.version(ctx, model, k) // what was pushed under the tag, or nothing
		}
		return k.version, err
	}
	if strings.EqualFold(tag, "latest") {
		return 0, refuse(codeManifestUnknown, `no model has the tag "latest": nobody would have decided what it is`, "name an alias, such as production, or a version: v3")
	}
	return 0, unknownManifest(tag)
}

// getBlob gives a blob out, or a part of it, or its head.
func (d *Door) getBlob(a *asked) (err error) {
	ctx := a.r.Context()
	if err := parseDigest(a.ref); err != nil {
		return err
	}
	size, needs, ok, err := d.blob(ctx, a.model, a.ref)
	if err != nil {
		return err
	}
	var entry *guard.Entry
	switch {
	case d.cfg.Guard.May(a.who, VerbPush, a.model) && (a.head() || len(needs) == 0):
		entry, err = d.cfg.Guard.Enter(ctx, a.who, VerbPush, a.model)
	case len(needs) == 0:
		ok = false // what no manifest needs is there for who pushes alone
		entry, err = d.enter(ctx, a.who, a.model, nil)
	default:
		entry, err = d.enterBlob(ctx, a.who, a.model, needs)
	}
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	if !ok {
		return unknownBlob(a.ref)
	}
	sent, err := d.sendBlob(a, size)
	entry.Detail(pulled{Blob: a.ref, Bytes: sent})
	return err
}

// sendBlob sends as much of a blob as is asked for, and says how much that was.
func (d *Door) sendBlob(a *asked, size int64) (sent int64, err error) {
	h := a.w.Header()
	h.Set("Accept-Ranges", "bytes")
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Docker-Content-Digest", a.ref)
	h.Set("ETag", `"`+a.ref+`"`)
	if a.head() {
		h.Set("Content-Length", strconv.FormatInt(size, 10))
		return 0, nil
	}
	part, whole, ok := parseRange(a.r.Header.Get("Range"), size)
	if !ok {
		h.Set("Content-Range", fmt.Sprintf("bytes */%d", size))
		return 0, withStatus(http.StatusRequestedRangeNotSatisfiable, refuse(codeSize, fmt.Sprintf("the blob has %d bytes", size), "ask for some of these"))
	}
	content, err := d.open(a.r.Context(), a.model.Tenant, a.ref)
	if err != nil {
		if pavise.KindOf(err) == pavise.NotFound {
			err = unknownBlob(a.ref)
		}
		return 0, err
	}
	defer content.Close()
	if err := skip(content, part.from); err != nil {
		return 0, err
	}
	h.Set("Content-Length", strconv.FormatInt(part.length, 10))
	if !whole {
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", part.from, part.from+part.length-1, size))
		a.w.WriteHeader(http.StatusPartialContent)
	}
	sent, err = io.CopyN(&patient{a.w, http.NewResponseController(a.w)}, content, part.length)
	return sent, lost(err)
}

// skip passes over the beginning of a content.
func skip(content io.Reader, n int64) error {
	if s, ok := content.(io.Seeker); ok {
		_, err := s.Seek(n, io.SeekStart)
		return err
	}
	_, err := io.CopyN(io.Discard, content, n)
	return err
}

// patient writes to who may take as long as they like, as long as they take something.
type patient struct {
	io.Writer
	to *http.ResponseController
}

// Write implements io.Writer.
func (p *patient) Write(b []byte) (int, error) {
	_ = p.to.SetWriteDeadline(time.Now().Add(stall)) // where it cannot be set, the server's own holds
	return p.Writer.Write(b)
}

// tags lists the tags of a model, a page at a time.
func (d *Door) tags(a *asked) (err error) {
	ctx := a.r.Context()
	entry, err := d.enter(ctx, a.who, a.model, nil)
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	q, err := parseQuery(a.r.URL.RawQuery)
	if err != nil {
		return err
	}
	aliases, newest, err := d.cfg.Versions.Names(ctx, a.model)
	if err != nil {
		return noModel(err)
	}
	names, err := d.allTags(ctx, a.model)
	if err != nil {
		return err
	}
	tags := sorted(names, aliases, newest)
	if last := q.Get("last"); last != "" {
		at, there := slices.BinarySearch(tags, last)
		if there {
			at++
		}
		tags = tags[at:]
	}
	most := maxTags
	if text := q.Get("n"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return refuse(codeUnsupported, fmt.Sprintf("n is %.40q", text), "say how many tags you want")
		}
		most = min(n, most)
	}
	if len(tags) > most {
		if tags = tags[:most]; most > 0 {
			next := url.Values{"n": {strconv.Itoa(most)}, "last": {tags[most-1]}}
			a.w.Header().Set("Link", "<"+a.at("tags", "list")+"?"+next.Encode()+`>; rel="next"`)
		}
	}
	return a.json("application/json", map[string]any{"name": a.repository, "tags": append([]string{}, tags...)})
}

// maxTags bounds a page.
const maxTags = 1000

// json answers with a value.
func (a *asked) json(media string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	a.w.Header().Set("Content-Type", media)
	a.w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	_, err = a.w.Write(text)
	return lost(err)
}

// listReferrers lists what refers to a manifest.
func (d *Door) listReferrers(a *asked) (err error) {
	ctx := a.r.Context()
	if err := parseDigest(a.ref); err != nil {
		return err
	}
	var v *Version
	_, version, ok, err := d.standing(ctx, a.model, a.ref)
	if err != nil {
		return err
	}
	if ok {
		v = &version
	}
	entry, err := d.enter(ctx, a.who, a.model, v)
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	q, err := parseQuery(a.r.URL.RawQuery)
	if err != nil {
		return err
	}
	list := struct {
		SchemaVersion int          `json:"schemaVersion"`
		MediaType     string       `json:"mediaType"`
		Manifests     []descriptor `json:"manifests"`
	}{2, mediaIndex, []descriptor{}}
	want := q.Get("artifactType")
	if ok {
		more := false
		if list.Manifests, more, err = d.referrers(ctx, a.model, a.ref, want, q.Get("last")); err != nil {
			return err
		}
		if more {
			next := url.Values{"last": {list.Manifests[len(list.Manifests)-1].Digest}}
			if want != "" {
				next.Set("artifactType", want)
			}
			a.w.Header().Set("Link", "<"+a.at("referrers", a.ref)+"?"+next.Encode()+`>; rel="next"`)
		}
	}
	if want != "" {
		a.w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	return a.json(mediaIndex, list)
}
