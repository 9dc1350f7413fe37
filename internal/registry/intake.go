package registry

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/artefact"
	"github.com/pavise/pavise/internal/examine"
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

// unseen reports whether the files of a version are to be looked at once they are here: of a draft,
// or what was one until its quarantine. Of no other state anything is signed that has changed.
func (v *Version) unseen() bool {
	return v.Intake == Pending && (v.State == Draft || v.Was == Draft) || v.Intake == Ready && v.State == Draft && v.Scan != nil && v.Scan.By != (pavise.Name{})
}

// Take hashes and looks at the files of a pending draft where they are here, all of them, and
// at those of one of which somebody else says that they looked, and returns it as it is then. Files that are not what was said, or that do harm, are a
// finding. The error is of kind NotFound, or Unavailable for files that cannot be read now.
//
// Unguarded: a room of the house asks, that files have come; what is found is noted.
func (r *Registry) Take(ctx context.Context, tenant string, ref Ref) (v *Version, err error) {
	r.looks.Lock()
	defer r.looks.Unlock()
	if v, err = r.Resolve(ctx, tenant, ref); err != nil || !v.unseen() || !r.here(ctx, v) {
		return v, err
	}
	defer func() { r.stall(ctx, ref.Name(tenant), err) }()
	scan, problem, err := r.examine(ctx, v)
	if err != nil {
		return v, err
	}
	seen := *v
	seen.Change = pavise.Name{} // nothing is published that is not ready: whoever wrote one there wants it signed
	if seen.Scan, seen.Intake, seen.Problem = scan, Failed, problem; problem == "" {
		seen.Intake, seen.Problem = judge(scan)
	}
	if err := r.vouch(&seen); err != nil {
		return v, err
	}
	if err := r.taken(ctx, &seen); err != nil { // a finding may come twice, and is never lost
		return v, err
	}
	is, err := r.change(ctx, tenant, ref, func(_ *store.Tx, v *Version) error {
		if v.Digest != seen.Digest || !v.unseen() { // it was given others meanwhile
			return nil
		}
		v.Scan, v.Intake, v.Problem, v.Change = seen.Scan, seen.Intake, seen.Problem, seen.Change
		return r.vouch(v) // which is the same signature, unless somebody else's came
	})
	if err != nil {
		return v, err
	}
	return is, nil
}

// stall notes in memory why a version stays pending, for the disk may be what is full. The next
// look, which comes by itself, takes it back.
func (r *Registry) stall(ctx context.Context, v pavise.Name, err error) {
	if err != nil && ctx.Err() == nil {
		r.stalled.Store(v, "its files are here, and cannot be taken in yet: "+clip(pavise.MsgOf(err), maxWords/4))
	} else {
		r.stalled.Delete(v)
	}
}

// taken notes what came of looking at the files of a version.
func (r *Registry) taken(ctx context.Context, v *Version) error {
	detail := Noted{Version: v.Ref, Digest: v.Digest, State: v.State, Scan: v.Scan, House: v.House, Why: v.Problem}
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
	var files []examine.File
	for _, f := range v.Files {
		files = append(files, examine.File{Path: f.Path, Size: f.Size, Digest: f.Digest})
	}
	place := examine.Place{Dir: r.cfg.Dir, Open: func(ctx context.Context, digest [sha256.Size]byte) (io.ReadCloser, error) {
		return r.cfg.Files.Open(ctx, digest)
	}}
	report, problem, err := place.Look(ctx, files)
	if err != nil || problem != "" {
		return nil, problem, err
	}
	return Scanned(report, r.now()), "", nil
}

// Scanned is a report on files, as it is kept.
func Scanned(report *artefact.Report, now time.Time) *Scan {
	found, more := examine.Findings(report, maxScanned)
	for i := range found {
		found[i] = clip(found[i], maxWords/4)
	}
	return &Scan{Verdict: string(report.Verdict), At: now, Findings: found, More: more}
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
