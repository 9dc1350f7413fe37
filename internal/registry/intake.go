package registry

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/artefact"
	"github.com/pavise/pavise/internal/oms"
	"github.com/pavise/pavise/internal/store"
)

// A Signer is somebody whose signatures of models are believed.
type Signer struct {
	Name  string    // what the installation calls them
	Trust oms.Trust // its Now is of no account
}

// Why files are not ready.
const (
	noFiles   = "nobody said yet what its files are"
	notHere   = "its files are not here yet, and nobody whom this installation believes signed them"
	notYet    = "its files are here, and are looked at"
	notLooked = "they were signed, and nobody looked at them yet: they are not here, and who added them does not say what a look at them found"
)

// MaxBundle bounds a signature, in bytes.
const MaxBundle = 16 << 20

// maxScanned is how many findings of a look at files are kept.
const maxScanned = 50

// fill gives a version its files, and says how far they are by the word of who hands them in.
func (r *Registry) fill(ctx context.Context, v *Version, who pavise.Principal, spec FileSpec) (err error) {
	if v.Bytes, err = checkFiles(spec.Files); err != nil {
		return err
	}
	v.Files, v.Count, v.Digest = spec.Files, len(spec.Files), DigestOf(spec.Files)
	v.Intake, v.Problem = Pending, notHere
	if spec.Scan != nil {
		if v.Scan, err = said(*spec.Scan, who); err != nil {
			return err
		}
		v.Scan.At = r.now()
	}
	if len(spec.Signature) > 0 {
		if v.Signature, err = r.signed(v, spec.Signature); err != nil {
			return err
		}
		v.bundle, v.Problem = spec.Signature, notLooked
		if v.Scan != nil {
			v.Intake, v.Problem = judge(v.Scan)
		}
		if v.Intake == Ready && r.here(ctx, v) { // nobody's word is taken on what can be looked at
			v.Intake, v.Problem = Pending, notYet
		}
	}
	return ctx.Err()
}

// said is what somebody says that their own look at files found.
func said(s Scan, who pavise.Principal) (*Scan, error) {
	switch artefact.Severity(s.Verdict) {
	case artefact.Clean, artefact.Unreadable, artefact.Suspicious, artefact.Malicious:
	default:
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.40q is no verdict of a look at files", s.Verdict), Hint: "it is clean, unreadable, suspicious or malicious: pavise model scan says which"}
	}
	more := max(len(s.Findings)-maxScanned, 0)
	s.Findings, s.More = s.Findings[:len(s.Findings)-more], s.More+more
	for i, f := range s.Findings {
		s.Findings[i] = clip(f, maxWords/4)
	}
	s.By = who.Name()
	return &s, nil
}

// judge says what a look at files makes of them.
func judge(s *Scan) (Intake, string) {
	if s.Verdict == string(artefact.Malicious) {
		return Failed, "they do harm to whoever loads them"
	}
	return Ready, ""
}

// signed holds a signature to the files of a version, and says who signed them. The error is
// of kind Unverified.
func (r *Registry) signed(v *Version, bundle []byte) (*Signature, error) {
	return r.believed(v, bundle, func(trust oms.Trust) (oms.Signed, error) {
		m, by, err := oms.Open(bundle, trust)
		if err == nil {
			if fault := holds(m, v.Files); fault != nil {
				err = &otherFiles{fault}
			}
		}
		return by, err
	}, Digest{})
}

// otherFiles is why a signature of somebody who is believed does not hold.
type otherFiles struct{ error }

// believed has a signature opened by what each signer's must hold, and says whose it is. over is
// what it is over, where that is not the files themselves.
func (r *Registry) believed(v *Version, bundle []byte, open func(oms.Trust) (oms.Signed, error), over Digest) (*Signature, error) {
	if len(bundle) > MaxBundle {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the signature has more than %d MiB", MaxBundle>>20), Hint: "sign fewer files, or have the files themselves here"}
	}
	var why error
	for _, signer := range r.cfg.Signers {
		trust := signer.Trust
		trust.Now = r.now()
		by, err := open(trust)
		if fault, is := errors.AsType[*otherFiles](err); is {
			return nil, fault.error
		}
		if err != nil {
			why = errors.Join(why, fmt.Errorf("by %s: %w", signer.Name, err))
			continue
		}
		return &Signature{Digest: sha256.Sum256(bundle), Mode: by.Mode, By: by.By, Issuer: by.Issuer, Signer: signer.Name, Files: v.Digest, Over: over, At: r.now()}, nil
	}
	hint := "this installation believes nobody: models in pavise.yaml names signers, and so does pavise up --models-signed-by FILE"
	if len(r.cfg.Signers) > 0 {
		hint = "pavise model verify says what does not hold; models in pavise.yaml names whom this installation believes"
	}
	return nil, &pavise.Error{Kind: pavise.Unverified, Msg: "nobody whom this installation believes signed these files", Hint: hint, Err: why}
}

// holds refuses a signature that is of other files.
func holds(m *oms.Manifest, files []File) error {
	no := func(format string, args ...any) error {
		return &pavise.Error{Kind: pavise.Unverified, Msg: "the signature is not of these files: " + fmt.Sprintf(format, args...), Hint: "sign them as they are: pavise model sign"}
	}
	if m.Hash != "sha256" || m.ShardSize != 0 {
		return &pavise.Error{Kind: pavise.Invalid, Msg: "the signature is over shards, or over another hash than SHA-256", Hint: "sign with --hash sha256 and without --shard-size"}
	}
	if len(m.Files) != len(files) {
		return no("it lists %d, and there are %d", len(m.Files), len(files))
	}
	for i, f := range m.Files { // both are by path
		if len(f.Parts) != 1 || f.Path != files[i].Path || !bytes.Equal(f.Parts[0].Digest, files[i].Digest[:]) {
			return no("%.100q has another digest, or is not in both", files[i].Path)
		}
	}
	return nil
}

// unseen reports whether the files of a version are to be looked at once they are here: they are
// pending, or it is a draft of which somebody says that they looked.
func (v *Version) unseen() bool {
	return v.Intake == Pending || v.Intake == Ready && v.State == Draft && v.Scan != nil && v.Scan.By != (pavise.Name{})
}

// Take hashes and looks at the files of a pending version where they are here, all of them, and
// at those of a draft of which somebody else says that they looked, and returns it as it is then. Files that are not what was said, or that do harm, are a
// finding. The error is of kind NotFound, or Unavailable for files that cannot be read now.
//
// Unguarded: a room of the house asks, that files have come; what is found is noted.
func (r *Registry) Take(ctx context.Context, tenant string, ref Ref) (v *Version, err error) {
	r.looks.Lock()
	defer r.looks.Unlock()
	if v, err = r.Resolve(ctx, tenant, ref); err != nil || !v.unseen() || !r.here(ctx, v) {
		return v, err
	}
	scan, problem, err := r.examine(ctx, v)
	if err != nil {
		return v, err
	}
	seen := *v
	if seen.Scan, seen.Intake, seen.Problem = scan, Failed, problem; problem == "" {
		seen.Intake, seen.Problem = judge(scan)
	}
	if err := r.taken(ctx, &seen); err != nil { // a finding may come twice, and is never lost
		return v, err
	}
	return r.change(ctx, tenant, ref, func(_ *store.Tx, v *Version) error {
		if v.Digest == seen.Digest && v.unseen() { // else it was given others meanwhile
			v.Scan, v.Intake, v.Problem = seen.Scan, seen.Intake, seen.Problem
		}
		return nil
	})
}

// taken notes what came of looking at the files of a version.
func (r *Registry) taken(ctx context.Context, v *Version) error {
	detail := Noted{Version: v.Ref, Digest: v.Digest, State: v.State, Scan: v.Scan, Why: v.Problem}
	kind := KindTaken
	if v.Intake == Failed {
		kind = KindHarmful
		detail.Finding = &pavise.Finding{Kind: kind, Severity: pavise.Critical, On: v.Name(), Who: v.Creator, At: r.now(), Summary: fmt.Sprintf("the files of %s, which %s added, are not taken: %s", v.Ref, v.Creator, v.Problem)}
	}
	return r.cfg.Guard.Note(ctx, kind, nil, v.Name(), detail)
}

// here reports whether all files of a version are here.
func (r *Registry) here(ctx context.Context, v *Version) bool {
	if r.cfg.Files == nil || len(v.Files) == 0 {
		return false
	}
	for _, f := range v.Files {
		if _, ok := r.cfg.Files.Has(ctx, f.Digest); !ok {
			return false
		}
	}
	return true
}

// examine lays the files of a version out, holds them to their digests, and looks at them.
// problem says what is wrong with them, beside what the look finds.
func (r *Registry) examine(ctx context.Context, v *Version) (scan *Scan, problem string, err error) {
	if problem := tooOften(v.Files); problem != "" {
		return nil, problem, nil
	}
	dir, err := os.MkdirTemp(r.cfg.Dir, laidOut)
	if err != nil {
		return nil, "", noRoom(err)
	}
	defer os.RemoveAll(dir)
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, "", noRoom(err)
	}
	defer root.Close()
	laid := map[Digest]File{}
	for _, f := range v.Files {
		if was, again := laid[f.Digest]; again {
			problem, err = linkAgain(root, was, f)
		} else {
			problem, err = r.lay(ctx, root, f)
		}
		if err != nil || problem != "" {
			return nil, problem, err
		}
		laid[f.Digest] = f
	}
	report, err := (&artefact.Scan{Path: dir}).Run(ctx)
	if err != nil {
		return nil, "", err
	}
	return Scanned(report, r.now()), "", nil
}

// Scanned is a report on files, as it is kept.
func Scanned(report *artefact.Report, now time.Time) *Scan {
	scan := &Scan{Verdict: string(report.Verdict), At: now, More: report.Untold}
	for _, f := range report.Findings {
		if f.Severity == artefact.Note {
			continue
		}
		if len(scan.Findings) == maxScanned {
			scan.More++
			continue
		}
		name := f.File
		if f.Member != "" {
			name += "!" + f.Member
		}
		scan.Findings = append(scan.Findings, clip(fmt.Sprintf("%s: %s: %s", f.Severity, name, f.Why), maxWords/4))
	}
	return scan
}

// laidOut begins the names of the directories in which files are looked at.
const laidOut = "look-"

// tidy makes the directory in which files are laid out, and takes away what a process left
// there that was killed while it looked.
func tidy(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	all, err := os.ReadDir(dir)
	for _, e := range all {
		if strings.HasPrefix(e.Name(), laidOut) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return err
}

// maxRepeated is how many bytes a version may have in files that are others of it again: they
// take no room, and as long to be looked at.
const maxRepeated = 16 << 30

// tooOften says what is wrong with a version that has the same content again and again.
func tooOften(files []File) string {
	seen, again := map[Digest]bool{}, int64(0)
	for _, f := range files {
		if seen[f.Digest] {
			again += f.Size // their sum was looked at
		}
		seen[f.Digest] = true
	}
	if again > maxRepeated {
		return fmt.Sprintf("files of it are the same, again and again: %d bytes of them", again)
	}
	return ""
}

// linkAgain lays a file out whose content is laid out already: it takes no room.
func linkAgain(root *os.Root, was, f File) (problem string, err error) {
	if was.Size != f.Size {
		return notSaid(f), nil
	}
	name, err := makeWay(root, f)
	if err != nil {
		return "", err
	}
	if err := root.Link(filepath.FromSlash(was.Path), name); err != nil {
		return "", noRoom(err)
	}
	return "", nil
}

// makeWay makes the directory of a file that is to be laid out, and returns its name there.
func makeWay(root *os.Root, f File) (name string, err error) {
	if f.Path == "." {
		return "model", nil
	}
	if err := root.MkdirAll(filepath.FromSlash(path.Dir(f.Path)), 0o700); err != nil {
		return "", noRoom(err)
	}
	return filepath.FromSlash(f.Path), nil
}

func notSaid(f File) string {
	return fmt.Sprintf("%.100q is not of the size or digest that was said", f.Path)
}

// lay writes one file where it is looked at.
func (r *Registry) lay(ctx context.Context, root *os.Root, f File) (problem string, err error) {
	name, err := makeWay(root, f)
	if err != nil {
		return "", err
	}
	from, err := r.cfg.Files.Open(ctx, f.Digest)
	if err != nil {
		return "", err
	}
	defer from.Close()
	to, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return "", noRoom(err)
	}
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(to, h), io.LimitReader(from, f.Size+1))
	if err := errors.Join(err, to.Close(), ctx.Err()); err != nil {
		return "", noRoom(err)
	}
	if n != f.Size || Digest(h.Sum(nil)) != f.Digest {
		return notSaid(f), nil
	}
	return "", nil
}

func noRoom(err error) error {
	return &pavise.Error{Kind: pavise.Unavailable, Msg: "the files of a model cannot be laid out: " + err.Error(), Hint: "make room on the disk of the data directory: as much as the largest model takes", Err: err}
}

// Bundle returns the signature of a version, as it was handed in; nil where there is none.
// The error is of kind NotFound.
//
// Unguarded: a room of the house asks, whose own caller was let in.
func (r *Registry) Bundle(ctx context.Context, tenant string, ref Ref) (bundle []byte, err error) {
	v, err := r.Resolve(ctx, tenant, ref)
	if err != nil {
		return nil, err
	}
	return v.bundle, nil
}

// sealed holds datasets to what the catalog knows of them. Errors are of kind Invalid, and
// Unverified for a root that a dataset never had.
func (r *Registry) sealed(ctx context.Context, tenant string, all []Seal) ([]Seal, error) {
	if len(all) > maxDatasets {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%d datasets, more than %d", len(all), maxDatasets), Hint: "name what they are parts of"}
	}
	var held []Seal
	for _, s := range all {
		if err := s.Name.Validate(); err != nil {
			return nil, err
		}
		if s.Name.Tenant != tenant || s.Name.Kind != "dataset" || len(s.Root) != 64 {
			return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s with the root %.64q is no dataset of %s", s.Name, s.Root, tenant), Hint: "name it as " + tenant + "/dataset/ID=ROOT, with the 64 digits of its seal"}
		}
		s.Known = false
		if r.cfg.Sealed != nil {
			known, has, err := r.cfg.Sealed(ctx, s.Name, s.Root)
			if err != nil {
				return nil, err
			}
			if known && !has {
				return nil, &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("no version of %s has the root %s", s.Name, s.Root), Hint: "pavise dataset show " + s.Name.ID + " shows the versions that it has"}
			}
			s.Known = known
		}
		held = append(held, s)
	}
	return held, nil
}
