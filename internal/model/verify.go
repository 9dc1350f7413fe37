package model

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/oms"
	"github.com/pavise/pavise/internal/plainfile"
	"github.com/pavise/pavise/internal/progress"
	"github.com/pavise/pavise/internal/rowseal"
	"github.com/pavise/pavise/internal/sigstore"
)

// Verify holds a model to its signature. Its fields are flags of the command line.
type Verify struct {
	Say func(text string) `kong:"-"` // gets a line of progress now and then; nil: nobody watches
	Now func() time.Time  `kong:"-"` // by which certificates must be good; nil: time.Now

	Path      string   `arg:"" help:"The directory, or the file, of the model."`
	Signature string   `help:"The signature (a Sigstore bundle)." required:"" placeholder:"FILE"`
	Key       string   `help:"The public key (PEM) by which it must be signed." placeholder:"FILE"`
	Chain     string   `name:"certificate-chain" help:"The certificates (PEM) of who is believed to say who signers are." placeholder:"FILE"`
	Root      string   `name:"trusted-root" help:"The trusted root (trusted_root.json) of the Sigstore instance that is believed." placeholder:"FILE"`
	Identity  string   `kong:"-"` // who must have signed, with Root: an address or a URI
	Issuer    string   `help:"Who must have vouched for who signed, with --trusted-root (OpenID Connect). Who that is says --identity." placeholder:"URL"`
	Ignore    []string `help:"Do not mind what the signature does not list at this path, from the top of the model, and below it; may be repeated. What it lists is looked at all the same." placeholder:"PATH" sep:"none"`
}

// Help is the text behind the command's flags.
func (*Verify) Help() string {
	return `Verifies a model by its signature, as OpenSSF Model Signing 1.0 has it: who signed, and
that every file is there as it was signed, and none besides. It reads what the Python
package model-signing writes, from version 0.2 on. Nothing is asked over the network.

By what the signature must hold is one of three: a key (--key), who gives certificates
(--certificate-chain), or an instance of Sigstore with who must have signed
(--trusted-root, --identity, --issuer).

It exits with 0 when all holds, with 1 when it does not, and says what, and with 2 when
it could not look.

For example:

  pavise model verify fraud-v3/ --signature fraud-v3.sig --key signing.pub`
}

// What became of a file.
const (
	fileChanged = "changed"
	fileMissing = "missing"
	fileExtra   = "extra" // not signed
)

// A Difference is what is not as it was signed.
type Difference struct {
	File string `json:"file"`
	What string `json:"what"` // changed, missing or extra
	Note string `json:"note,omitempty"`
}

// Verified is what came of it.
type Verified struct {
	Path        string       `json:"path"`
	Signature   string       `json:"signature"`
	Holds       bool         `json:"holds"`
	Wrong       string       `json:"wrong,omitempty"` // what of the signature does not hold
	Hint        string       `json:"hint,omitempty"`
	Signed      *oms.Signed  `json:"signed,omitempty"` // where the signature holds
	Root        string       `json:"root,omitempty"`   // of the digests, SHA-256 in hexadecimal
	Legacy      bool         `json:"legacy,omitempty"` // signed as before version 1.0
	Links       bool         `json:"links_followed,omitempty"`
	Ignored     []string     `json:"ignored,omitempty"` // paths that the signature itself leaves out: what lies there is not signed
	Files       int          `json:"files"`             // that were signed
	Bytes       int64        `json:"bytes"`             // that were read
	Differences []Difference `json:"differences"`
	Recorded    bool         `json:"recorded"` // this command leaves no record
}

// Run verifies. That something does not hold is no error. Errors are of kind Invalid,
// NotFound, Denied, Conflict for what changed meanwhile, and Unavailable for the disk.
//
// Unguarded: whoever runs it reads their own files, as themselves; no principal of an
// installation acts.
func (v *Verify) Run(ctx context.Context) (*Verified, error) {
	trust, err := v.Trust()
	if err != nil {
		return nil, err
	}
	text, err := plainfile.Read("signature", v.Signature, sigstore.MaxBundle)
	if err != nil {
		return nil, err
	}
	p, err := openPlace(v.Path)
	if err != nil {
		return nil, err
	}
	defer p.close()
	result := &Verified{Path: v.Path, Signature: v.Signature, Differences: []Difference{}}
	m, signed, err := oms.Open(text, trust)
	if e, ok := errors.AsType[*pavise.Error](err); ok && e.Kind == pavise.Unverified {
		result.Wrong, result.Hint = e.Msg, e.Hint
		return result, nil
	}
	if err != nil {
		return nil, err
	}
	result.Signed, result.Root, result.Legacy, result.Links, result.Files = &signed, hex.EncodeToString(m.Root[:]), m.Legacy, m.Symlinks, len(m.Files)
	for _, name := range m.Ignored {
		if !slices.Contains(oms.DefaultIgnored, name) {
			result.Ignored = append(result.Ignored, name)
		}
	}
	if err := v.prepare(p, m); err != nil {
		return nil, err
	}
	if err := v.compare(ctx, p, m, result); err != nil {
		return nil, err
	}
	slices.SortStableFunc(result.Differences, func(a, b Difference) int { return strings.Compare(a.File, b.File) })
	result.Holds = len(result.Differences) == 0
	return result, nil
}

// Trust reads by what the signature must hold: of Key, Chain and Root one, with Identity and
// Issuer where it is Root. Errors are of kind Invalid, and as files have them.
func (v *Verify) Trust() (t oms.Trust, err error) {
	given := 0
	for _, name := range []string{v.Key, v.Chain, v.Root} {
		if name != "" {
			given++
		}
	}
	switch {
	case given != 1:
		return t, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("by what the signature must hold is one of three, and %d are given", given), Hint: "give --key, or --certificate-chain, or --trusted-root with --identity and --issuer"}
	case v.Root != "" && (v.Identity == "" || v.Issuer == ""):
		return t, &pavise.Error{Kind: pavise.Invalid, Msg: "anybody can sign with Sigstore: who must have signed is not said", Hint: "give --identity and --issuer"}
	case v.Root == "" && (v.Identity != "" || v.Issuer != ""):
		return t, &pavise.Error{Kind: pavise.Invalid, Msg: "an identity is one of Sigstore", Hint: "give --identity and --issuer with --trusted-root alone"}
	}
	t.Now, t.By = time.Now(), sigstore.Identity{Subject: v.Identity, Issuer: v.Issuer}
	if v.Now != nil {
		t.Now = v.Now()
	}
	var text []byte
	switch {
	case v.Key != "":
		if text, err = plainfile.Read("public key", v.Key, maxKeys); err == nil {
			t.Key, err = oms.ParsePublicKey(text)
		}
	case v.Chain != "":
		if text, err = plainfile.Read("certificate chain", v.Chain, maxKeys); err == nil {
			t.CA, err = oms.ParseAuthorities(text)
		}
	default:
		if text, err = plainfile.Read("trusted root", v.Root, sigstore.MaxTrustedRoot); err == nil {
			t.Root, err = sigstore.ParseTrustedRoot(text)
		}
	}
	return t, err
}

// prepare says what of the place is part of the model.
func (v *Verify) prepare(p *place, m *oms.Manifest) error {
	if one := m.Files[0].Path == "."; one || p.one != "" && len(m.Files) == 1 && m.Files[0].Path == p.one {
		if p.one == "" {
			return &pavise.Error{Kind: pavise.Invalid, Msg: rowseal.Shown(v.Path) + " is a directory, and the signature is of one file", Hint: "name the file, which was called " + rowseal.Shown(m.Name) + " when it was signed"}
		}
		m.Files[0].Path = "." // the specification has the name there, and the first tool this
		return nil
	}
	if p.one != "" {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s is a file, and the signature is of a directory with %s", rowseal.Shown(v.Path), counted(len(m.Files), "file")), Hint: "name the directory"}
	}
	for _, f := range m.Files {
		p.list(f.Path)
	}
	p.ignore(oms.DefaultIgnored...)
	p.ignore(m.Ignored...)
	for _, name := range v.Ignore {
		if name = filepath.ToSlash(filepath.Clean(name)); !oms.ValidPath(name) {
			return &pavise.Error{Kind: pavise.Invalid, Msg: rowseal.Shown(name) + " is no path in the model", Hint: "name it from the top of the model, as sub/file"}
		}
		p.ignore(name)
	}
	if below, ok := p.below(v.Signature); ok {
		p.ignore(below)
	}
	p.follow = m.Symlinks
	return nil
}

// compare holds the files to the signature.
func (v *Verify) compare(ctx context.Context, p *place, m *oms.Manifest, result *Verified) error {
	found, err := p.entries(ctx)
	if err != nil {
		return err
	}
	there := make(map[string]*entry, len(found.files))
	for i := range found.files {
		there[found.files[i].path] = &found.files[i]
	}
	odd := map[string]string{}
	for _, o := range found.odd {
		odd[o.path] = o.why
	}
	var pieces []piece
	first := make([]int, len(m.Files)) // of a file's pieces; -1: it is not read
	for i, f := range m.Files {
		e := there[f.Path]
		delete(there, f.Path)
		first[i] = -1
		if e == nil {
			d := Difference{File: f.Path, What: fileMissing}
			if why, ok := odd[f.Path]; ok {
				d.What, d.Note = fileChanged, why
				delete(odd, f.Path)
			}
			result.Differences = append(result.Differences, d)
			continue
		}
		if was := f.Parts[len(f.Parts)-1].End; m.ShardSize > 0 && was != e.info.Size() {
			result.Differences = append(result.Differences, Difference{f.Path, fileChanged, fmt.Sprintf("it has %d bytes, and had %d", e.info.Size(), was)})
			continue
		}
		first[i] = len(pieces)
		pieces = append(pieces, cut(e, m.ShardSize)...)
	}
	extra(result, m, there, odd)
	if err := p.sums(ctx, pieces, m.Hash, v.Say); err != nil {
		return err
	}
	for _, one := range pieces {
		result.Bytes += one.size
	}
	for i, f := range m.Files {
		if first[i] >= 0 {
			differ(result, m, f, pieces[first[i]:])
		}
	}
	if p.one != "" {
		for i := range result.Differences {
			result.Differences[i].File = p.one
		}
	}
	return p.settled(ctx, found)
}

// extra notes what is there and was not signed. Signatures by shards have nothing to say of an
// empty file.
func extra(result *Verified, m *oms.Manifest, there map[string]*entry, odd map[string]string) {
	for name, e := range there {
		if m.ShardSize == 0 || e.info.Size() > 0 {
			result.Differences = append(result.Differences, Difference{File: name, What: fileExtra})
		}
	}
	for name, why := range odd {
		result.Differences = append(result.Differences, Difference{name, fileExtra, why})
	}
}

// differ notes which bytes of a file are not as they were signed.
func differ(result *Verified, m *oms.Manifest, f oms.File, pieces []piece) {
	const most = 8
	var where []string
	more := 0
	for i, part := range f.Parts {
		if bytes.Equal(part.Digest, pieces[i].sum) {
			continue
		}
		if more++; more <= most {
			where = append(where, fmt.Sprintf("%d to %d", part.Start, part.End-1))
		}
	}
	if more == 0 {
		return
	}
	d := Difference{File: f.Path, What: fileChanged}
	if m.ShardSize > 0 {
		d.Note = "in bytes " + strings.Join(where, ", ")
		if more > most {
			d.Note += fmt.Sprintf(" and more, in %d shards", more)
		}
	}
	result.Differences = append(result.Differences, d)
}

// Print prints it for people.
func (v *Verified) Print(w io.Writer) {
	switch {
	case v.Holds:
		fmt.Fprintf(w, "%s is as it was signed: %s, %s.\n\n", rowseal.Shown(v.Path), counted(v.Files, "file"), progress.Size(v.Bytes))
	case v.Wrong != "":
		fmt.Fprintf(w, "The signature of %s does not hold: %s.\n", rowseal.Shown(v.Path), rowseal.Shown(v.Wrong))
		if v.Hint != "" {
			fmt.Fprintf(w, "Hint: %s.\n", v.Hint)
		}
		fmt.Fprintln(w)
	default:
		fmt.Fprintf(w, "%s is not as it was signed: %s.\n", rowseal.Shown(v.Path), counted(len(v.Differences), "difference"))
		v.printDifferences(w)
		fmt.Fprintln(w)
	}
	fact(w, "signature", "%s", rowseal.Shown(v.Signature))
	if s := v.Signed; s != nil {
		fact(w, "signed by", "%s %s", s.Mode, rowseal.Shown(s.By))
		if s.Issuer != "" {
			fact(w, "issuer", "%s", rowseal.Shown(s.Issuer))
		}
		if s.At != nil {
			fact(w, "signed at", "%s (entry %d of the log)", s.At.Format(time.RFC3339), *s.Index)
		}
		fact(w, "root", "%s", v.Root)
	}
	if v.Legacy {
		fact(w, "note", "the signature is of a form before version 1.0: have the model signed anew")
	}
	if v.Links {
		fact(w, "note", "the signature follows links, wherever they lead")
	}
	if n := len(v.Ignored); n > 0 {
		shown := v.Ignored[:min(n, 8)]
		for _, name := range shown {
			fact(w, "left out", "%s, by the signature: what lies there is not signed, and can be anything", rowseal.Shown(name))
		}
		if n > len(shown) {
			fact(w, "left out", "and %d more (--json prints all)", n-len(shown))
		}
	}
	unrecorded(w)
}

func (v *Verified) printDifferences(w io.Writer) {
	const most = 200
	for i, d := range v.Differences {
		if i == most {
			fmt.Fprintf(w, "  and %d more (--json prints all)\n", len(v.Differences)-most)
			return
		}
		fmt.Fprintf(w, "  %-8s %s\n", d.What, rowseal.Shown(d.File))
		if d.Note != "" {
			fmt.Fprintf(w, "           %s\n", d.Note)
		}
	}
}
