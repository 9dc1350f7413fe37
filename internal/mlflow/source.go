package mlflow

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/depot"
	"github.com/pavise/pavise/internal/registry"
	"github.com/pavise/pavise/internal/tracked"
)

// signature is the file in which a signature over all others is, as OpenSSF Model Signing has
// it.
const signature = "model.sig"

// stopped is why the files of a version did not come that were on their way.
const stopped = "the server was stopped while its files were fetched: register it again"

// A spot is where a version's files are, below a directory that the installation has named.
type spot struct{ root, path string }

// A found is what was found at a source.
type found struct {
	all    []artifact
	run    string // of which they are; empty: of none
	logged string // the logged model of which they are; empty: of none
	spot   *spot  // they are to be fetched from there; nil: they are here
}

func badSource(source, why string) error {
	return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the source %.200q %s", source, why), Hint: "register runs:/RUN/PATH, models:/ID of a logged model, models:/NAME/VERSION, or file:// and a path below a directory that the server knows: pavise up --models DIR"}
}

// locate finds what a source means, for somebody who may have it.
func (s *Server) locate(ctx context.Context, who pavise.Principal, source string) (f found, err error) {
	if filepath.IsAbs(source) {
		return s.below(source, source)
	}
	u, err := url.Parse(source)
	if err != nil || u.Host != "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.ContainsRune(u.Path, 0) {
		return f, badSource(source, "is none that is known here")
	}
	at := strings.Trim(u.Path, "/")
	switch u.Scheme {
	case "file":
		return s.below(source, u.Path)
	case "runs":
		at = runsDir + "/" + at
	case "models":
		if tracked.IsLoggedID(at) {
			at = loggedDir + "/" + at
		} else {
			at = modelsDir + "/" + at
		}
	case "mlflow-artifacts":
	default:
		return f, badSource(source, "is none that is known here")
	}
	p, err := parsePlace(at)
	if err != nil {
		return f, badSource(source, "names no artifacts")
	}
	all, _, err := s.inside(ctx, who, p)
	if err != nil {
		return f, err
	}
	if len(all) == 0 {
		return f, badSource(source, "has no files")
	}
	for _, a := range all {
		if a.Path == p.path {
			a.Path = path.Base(a.Path)
		} else if p.path != "" {
			a.Path = a.Path[len(p.path)+1:]
		}
		f.all = append(f.all, a)
	}
	f.run = p.run
	if tracked.IsLoggedID(p.run) {
		f.logged = p.run
		f.run, err = s.finalized(ctx, who, p.run)
	}
	return f, err
}

// finalized returns the run of which a logged model is, and refuses one whose files may be on
// their way.
func (s *Server) finalized(ctx context.Context, who pavise.Principal, id string) (run string, err error) {
	m, err := s.seeLogged(ctx, who, id)
	if err == nil && m.Info.Status != tracked.Ready {
		err = &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("the logged model %s is %s", id, m.Info.Status), Hint: "register it once it is " + tracked.Ready + ": finalize_logged_model says so"}
	}
	return m.Info.Run, err
}

// below finds a path below one of the directories.
func (s *Server) below(source, name string) (f found, err error) {
	name = filepath.Clean(name)
	for _, root := range s.cfg.Roots {
		if rest, err := filepath.Rel(root, name); err == nil && filepath.IsLocal(rest) {
			return found{spot: &spot{root, rest}}, nil
		}
	}
	return f, &pavise.Error{Kind: pavise.Denied, Msg: fmt.Sprintf("the source %.200q is below no directory in which models are looked for", source), Hint: "start the server with pavise up --models DIR, or log the files to a run: mlflow.log_artifacts"}
}

func (s *Server) createVersion(ctx context.Context, who pavise.Principal, req createVersion) (any, error) {
	k, err := s.know(ctx, who, req.Name, 0)
	if err != nil {
		return nil, err
	}
	if req.Source == "" {
		return nil, missing("source")
	}
	f, err := s.locate(ctx, who, req.Source)
	if err != nil {
		return nil, err
	}
	if req.Run != "" && f.run != "" && req.Run != f.run {
		return nil, badSource(req.Source, "is of another run than run_id says")
	}
	if req.Logged != "" && req.Logged != f.logged {
		return nil, badSource(req.Source, "is not the logged model that model_id says")
	}
	if f.logged != "" { // the run is what the logged model says, whatever the client does
		req.Run = f.run
	}
	spec := registry.AddSpec{Model: k.Name, Run: req.Run, Source: req.Source, Description: req.About}
	if spec.Tags, err = untag(req.Tags); err != nil {
		return nil, err
	}
	for key, root := range spec.Tags {
		if id, is := strings.CutPrefix(key, tagDataset); is {
			spec.Datasets = append(spec.Datasets, registry.Seal{Name: pavise.Name{Tenant: who.Tenant, Kind: "dataset", ID: id}, Root: root})
		}
	}
	slices.SortFunc(spec.Datasets, func(a, b registry.Seal) int { return strings.Compare(a.Name.ID, b.Name.ID) })
	var v *registry.Version
	if f.spot != nil {
		v, err = s.cfg.Registry.Add(ctx, who, spec)
	} else {
		err = s.handed(ctx, who.Tenant, f.all, func(files registry.FileSpec) (err error) {
			spec.FileSpec = files
			v, err = s.cfg.Registry.Add(ctx, who, spec)
			return err
		})
	}
	if err != nil {
		return nil, err
	}
	if err := s.note(ctx, who.Tenant, v.Ref, extra{link: req.Link, coming: f.spot != nil}); err != nil {
		return nil, err
	}
	if f.spot != nil {
		s.fetch(who, v.Ref, *f.spot, req.Link)
	} else {
		s.files.Go(func() { s.look(who.Tenant, v.Ref) })
	}
	k.extras = map[int]extra{v.Ref.Version: {link: req.Link, coming: f.spot != nil}}
	return versionAnswer{k.show(v)}, nil
}

// hand makes the files of a version of artifacts that are in the depot, and holds them there.
func (s *Server) hand(ctx context.Context, tenant string, all []artifact) (spec registry.FileSpec, err error) {
	var digests []depot.Digest
	for _, a := range all {
		if a.Path == signature {
			if spec.Signature, err = s.small(ctx, tenant, a); err != nil {
				return spec, err
			}
			continue
		}
		spec.Files = append(spec.Files, registry.File{Path: a.Path, Size: a.Size, Digest: registry.Digest(a.Digest)})
		digests = append(digests, a.Digest)
	}
	if len(spec.Files) == 0 {
		return spec, &pavise.Error{Kind: pavise.Invalid, Msg: "the source has no files", Hint: "log some to a run: mlflow.log_artifacts"}
	}
	return spec, s.cfg.Depot.Hold(ctx, tenant, holder(registry.DigestOf(slices.Clone(spec.Files))), digests...)
}

// handed has a version be given files that are in the depot, and lets them go if it was not.
func (s *Server) handed(ctx context.Context, tenant string, all []artifact, give func(registry.FileSpec) error) error {
	s.holding.RLock()
	spec, err := s.hand(ctx, tenant, all)
	if err == nil {
		err = give(spec)
	}
	s.holding.RUnlock()
	if err == nil || len(spec.Files) == 0 {
		return err
	}
	if fault := s.release(context.WithoutCancel(ctx), tenant, registry.DigestOf(spec.Files)); fault != nil {
		s.cfg.Say("warning", fmt.Errorf("let go of the files of a version that is none: %w", fault))
	}
	return err
}

// small reads an artifact that is no longer than a signature.
func (s *Server) small(ctx context.Context, tenant string, a artifact) ([]byte, error) {
	if a.Size > registry.MaxBundle {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s has %d bytes: it is no signature", signature, a.Size), Hint: "pavise model sign makes one"}
	}
	content, err := s.cfg.Depot.Open(ctx, tenant, a.Digest)
	if err != nil {
		return nil, err
	}
	defer content.Close()
	var b bytes.Buffer
	_, err = io.Copy(&b, content)
	return b.Bytes(), err
}

// fetch brings the files of a version here, and says how that ended. Its caller need not wait.
func (s *Server) fetch(who pavise.Principal, ref registry.Ref, at spot, link string) {
	s.files.Go(func() {
		s.looks <- struct{}{}
		defer func() { <-s.looks }()
		err := s.bring(s.life, who, ref, at)
		e := extra{link: link}
		switch {
		case s.life.Err() != nil:
			e.problem = stopped
		case err != nil:
			_, said := explain(err)
			e.problem = said.Message
		}
		if err := s.note(context.WithoutCancel(s.life), who.Tenant, ref, e); err != nil {
			s.cfg.Say("warning", fmt.Errorf("say how the files of %s came: %w", ref, err))
		}
		if e.problem == "" {
			s.look(who.Tenant, ref)
		}
	})
}

// lookNow has the registry look at the files of a version now: a client waits. What it does not
// come to it does by itself.
func (s *Server) lookNow(tenant string, ref registry.Ref) {
	if _, err := s.cfg.Registry.Take(s.life, tenant, ref); err != nil && s.life.Err() == nil {
		s.cfg.Say("warning", fmt.Errorf("look at the files of %s: %w", ref, err))
	}
}

// bring puts the files at a spot into the depot, and gives them to a version.
func (s *Server) bring(ctx context.Context, who pavise.Principal, ref registry.Ref, at spot) error {
	root, err := os.OpenRoot(at.root)
	if err != nil {
		return unread(err)
	}
	defer root.Close()
	var all []artifact
	top := filepath.ToSlash(at.path)
	err = fs.WalkDir(root.FS(), top, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return unread(err)
		}
		if entry.IsDir() {
			return nil
		}
		if !entry.Type().IsRegular() {
			return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.200q is neither a file nor a directory", name), Hint: "put the file itself there, and no link"}
		}
		if len(all) == registry.MaxFiles {
			return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("there are more than %d files", registry.MaxFiles), Hint: "name the directory of the model alone"}
		}
		a := artifact{Path: path.Base(name)}
		if name != top {
			a.Path = strings.TrimPrefix(name, top+"/")
		}
		a.Digest, a.Size, err = s.take(ctx, who.Tenant, root, name)
		all = append(all, a)
		return err
	})
	if err != nil {
		return err
	}
	return s.handed(ctx, who.Tenant, all, func(spec registry.FileSpec) error {
		_, err := s.cfg.Registry.Fill(ctx, who, who.Tenant, ref, spec)
		return err
	})
}

// take puts one file into the depot.
func (s *Server) take(ctx context.Context, tenant string, root *os.Root, name string) (depot.Digest, int64, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0) // a pipe would make us wait
	if err != nil {
		return depot.Digest{}, 0, unread(err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return depot.Digest{}, 0, unread(errors.Join(err, fmt.Errorf("%s is no file", name)))
	}
	return s.cfg.Depot.Put(ctx, tenant, f)
}

func unread(err error) error {
	return &pavise.Error{Kind: pavise.Unavailable, Msg: "the files cannot be read: " + err.Error(), Hint: "look whether they are there, and whether the server may read them", Err: err}
}
