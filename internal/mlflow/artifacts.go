package mlflow

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/depot"
	"github.com/pavise/pavise/internal/oms"
	"github.com/pavise/pavise/internal/registry"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/tracked"
)

// Where artifacts are: mlflow-artifacts:/runs/RUN/PATH, /logged/ID/PATH and
// /models/NAME/N/PATH.
const (
	scheme    = "mlflow-artifacts:"
	runsDir   = "runs"
	loggedDir = "logged"
	modelsDir = "models"
)

// maxPath bounds the path of an artifact, in bytes.
const maxPath = 1024

// A place is where an artifact is, or a directory of them.
type place struct {
	run   string       // of a run or of a logged model, or
	model registry.Ref // of a version
	path  string       // below it; empty: all
}

// parsePlace reads a path below the proxy's. The error is of kind Invalid.
func parsePlace(path string) (p place, err error) {
	parts := strings.SplitN(path, "/", 4)
	bad := &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.200q is no path of an artifact", path), Hint: "artifacts are at runs/RUN/PATH, logged/ID/PATH and models/NAME/VERSION/PATH"}
	switch {
	case len(parts) >= 2 && parts[0] == runsDir && tracked.IsRunID(parts[1]), len(parts) >= 2 && parts[0] == loggedDir && tracked.IsLoggedID(parts[1]):
		p.run, p.path = parts[1], strings.Join(parts[2:], "/")
	case len(parts) >= 3 && parts[0] == modelsDir:
		if p.model, err = registry.ParseRef(parts[1] + "/" + parts[2]); err != nil {
			return p, bad
		}
		p.path = strings.Join(parts[3:], "/")
	default:
		return p, bad
	}
	if p.path != "" && (len(p.path) > maxPath || !oms.ValidPath(p.path)) {
		return p, bad
	}
	return p, nil
}

// artifact answers a request of the proxy of artifacts.
func (s *Server) artifact(w http.ResponseWriter, r *http.Request, who pavise.Principal, path string) {
	list := r.Method == http.MethodGet && path == ""
	if list {
		path = strings.Trim(r.URL.Query().Get("path"), "/")
	}
	p, err := parsePlace(path)
	var answer any = nothing{}
	switch {
	case err != nil:
	case list:
		answer, err = s.list(r.Context(), who, p)
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		if err = s.download(w, r, who, p); err == nil {
			return
		}
	case p.run == "":
		err = &pavise.Error{Kind: pavise.Denied, Msg: fmt.Sprintf("the files of %s stand", p.model), Hint: "log others to a run, and register them as another version"}
	case r.Method == http.MethodPut:
		err = s.upload(w, r, who, p)
	case r.Method == http.MethodDelete:
		err = s.remove(r.Context(), who, p)
	default:
		err = &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("nothing is done to an artifact with %.20s", r.Method), Hint: "get it, put it, or delete it"}
	}
	if err != nil {
		refuse(w, err)
		return
	}
	reply(w, http.StatusOK, answer)
}

// load counts an artifact that a caller sends or gets, until the function that it returns is
// called. The error is of kind Throttled.
func (s *Server) load(who pavise.Principal) (done func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := who.Name()
	if s.loads[name] >= maxLoads {
		return nil, &pavise.Error{Kind: pavise.Throttled, Msg: fmt.Sprintf("%s sends or gets %d artifacts at once", name, maxLoads), Hint: "wait until one is done"}
	}
	s.loads[name]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.loads[name]--; s.loads[name] == 0 {
			delete(s.loads, name)
		}
	}, nil
}

// A logged is the detail of the record of an artifact.
type logged struct {
	Path   string `json:"path"`
	Size   int64  `json:"size,omitempty"`
	Digest string `json:"digest,omitempty"`
	Files  int    `json:"files,omitempty"` // that were taken away
}

// upload keeps an artifact of a run.
func (s *Server) upload(w http.ResponseWriter, r *http.Request, who pavise.Principal, p place) (err error) {
	ctx := r.Context()
	entry, err := s.cfg.Guard.Enter(ctx, who, VerbLog, runName(who.Tenant, p.run))
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	if p.path == "" {
		return missing("path of an artifact")
	}
	if err := s.owned(ctx, who, p.run); err != nil {
		return err
	}
	done, err := s.load(who)
	if err != nil {
		return err
	}
	defer done()
	a := artifact{Path: p.path}
	if a.Digest, a.Size, err = s.cfg.Depot.Put(ctx, who.Tenant, &hastened{r.Body, http.NewResponseController(w)}); err != nil {
		if pavise.KindOf(err) == pavise.Internal {
			err = &pavise.Error{Kind: pavise.Invalid, Msg: "the artifact broke off", Hint: "send it again, whole", Err: err}
		}
		return err
	}
	entry.Detail(logged{Path: a.Path, Size: a.Size, Digest: a.Digest.String()})
	return s.replace(ctx, who.Tenant, p.run, a)
}

// owned refuses who has nothing to say of a run, or of a logged model.
func (s *Server) owned(ctx context.Context, who pavise.Principal, id string) error {
	return s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		if tracked.IsLoggedID(id) {
			m, err := tracked.ReadLogged(tx, who.Tenant, id)
			if err != nil {
				return err
			}
			return ownedBy(m.Owner, id, who)
		}
		r, err := tracked.ReadRun(tx, who.Tenant, id)
		if err != nil {
			return err
		}
		return ownedBy(r.Owner, id, who)
	})
}

// replace keeps an artifact whose content is in the depot, in the place of the one that was
// there.
func (s *Server) replace(ctx context.Context, tenant, run string, a artifact) error {
	s.placing.Lock() // else one lets go of what another just put there
	defer s.placing.Unlock()
	var before []artifact
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		before, err = artifacts(tx, tenant, run, a.Path)
		return err
	})
	if err == nil {
		err = s.cfg.Depot.Hold(ctx, tenant, a.holder(run), a.Digest)
	}
	if err != nil {
		return err
	}
	if err := s.keepArtifact(ctx, tenant, run, a); err != nil {
		return errors.Join(err, s.cfg.Depot.Release(context.WithoutCancel(ctx), tenant, a.holder(run)))
	}
	for _, b := range before {
		if b.Path == a.Path && b.Digest != a.Digest {
			return s.cfg.Depot.Release(ctx, tenant, b.holder(run))
		}
	}
	return nil
}

// holder is under whose name the content of an artifact is held.
func (a artifact) holder(run string) string {
	return "run/" + run + "/" + a.Path + " " + a.Digest.String()
}

// remove takes away an artifact of a run, or all below a directory.
func (s *Server) remove(ctx context.Context, who pavise.Principal, p place) (err error) {
	entry, err := s.cfg.Guard.Enter(ctx, who, VerbLog, runName(who.Tenant, p.run))
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	if err := s.owned(ctx, who, p.run); err != nil {
		return err
	}
	gone, err := s.takeAway(ctx, who.Tenant, p, func(*store.Tx) error { return nil })
	entry.Detail(logged{Path: p.path, Files: gone})
	if err == nil && gone == 0 {
		err = noArtifact(p.path)
	}
	return err
}

// takeAway takes away the artifacts at a place or below it, together with what else goes, and says
// how many those were.
func (s *Server) takeAway(ctx context.Context, tenant string, p place, with func(*store.Tx) error) (n int, err error) {
	s.placing.Lock()
	defer s.placing.Unlock()
	var gone []artifact
	err = s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		if gone, err = artifacts(tx, tenant, p.run, p.path); err != nil {
			return err
		}
		for _, a := range gone {
			if _, err := tx.Exec(`DELETE FROM mlflow_artifacts WHERE tenant = ? AND run = ? AND path = ?`, tenant, p.run, a.Path); err != nil {
				return err
			}
		}
		return with(tx)
	})
	if err != nil {
		return 0, err
	}
	ctx = context.WithoutCancel(ctx) // nobody could let go of them later
	for _, a := range gone {
		err = errors.Join(err, s.cfg.Depot.Release(ctx, tenant, a.holder(p.run)))
	}
	return len(gone), err
}

func noArtifact(path string) error {
	return &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("there is no artifact %.200q", path), Hint: "list_artifacts says which there are"}
}

// A fileInfo is an artifact, or a directory of them, as it is listed.
type fileInfo struct {
	Path string `json:"path"` // below what was listed
	Dir  bool   `json:"is_dir"`
	Size int64  `json:"file_size,omitempty"`
}

// A listAnswer is what is directly below a directory.
type listAnswer struct {
	Root  string     `json:"root_uri,omitempty"`
	Files []fileInfo `json:"files,omitempty"`
}

// list lists what is directly below a directory. A file has nothing below it.
func (s *Server) list(ctx context.Context, who pavise.Principal, p place) (any, error) {
	all, _, err := s.inside(ctx, who, p)
	if err != nil {
		return nil, err
	}
	return listAnswer{Files: directly(all, p.path)}, nil
}

// directly returns what is directly below a directory, of all that is below it, by path.
func directly(all []artifact, dir string) (list []fileInfo) {
	seen := map[string]bool{}
	for _, a := range all {
		rest := a.Path
		if dir != "" {
			below, is := strings.CutPrefix(a.Path, dir+"/")
			if !is {
				continue
			}
			rest = below
		}
		name, _, deeper := strings.Cut(rest, "/")
		switch {
		case !deeper:
			list = append(list, fileInfo{Path: name, Size: a.Size})
		case !seen[name]:
			seen[name] = true
			list = append(list, fileInfo{Path: name, Dir: true})
		}
	}
	return list
}

func (s *Server) listRun(ctx context.Context, who pavise.Principal, req listRun) (any, error) {
	return s.listAt(ctx, who, runsDir, req.id(), req.Path)
}

// listAt lists what is directly below a path of a run, or of a logged model.
func (s *Server) listAt(ctx context.Context, who pavise.Principal, dir, id, path string) (any, error) {
	p, err := parsePlace(strings.Trim(dir+"/"+id+"/"+path, "/"))
	if err != nil {
		return nil, err
	}
	all, _, err := s.inside(ctx, who, p)
	if err != nil {
		return nil, err
	}
	files := directly(all, p.path)
	for i := range files { // here paths are from the top
		files[i].Path = strings.TrimPrefix(p.path+"/"+files[i].Path, "/")
	}
	return listAnswer{scheme + "/" + dir + "/" + p.run, files}, nil
}

// inside returns the artifacts at a place or below it, for somebody who may get them. pulled
// is the version that they are of, or nil.
func (s *Server) inside(ctx context.Context, who pavise.Principal, p place) (all []artifact, pulled *registry.Version, err error) {
	if p.run != "" {
		if tracked.IsLoggedID(p.run) {
			_, err = s.seeLogged(ctx, who, p.run)
		} else {
			_, err = s.see(ctx, who, p.run)
		}
		if err != nil {
			return nil, nil, err
		}
		err = s.cfg.Store.View(ctx, func(tx *store.Tx) error {
			all, err = artifacts(tx, who.Tenant, p.run, p.path)
			return err
		})
		return all, nil, err
	}
	v, err := s.pull(ctx, who, p.model)
	if err != nil {
		return nil, nil, err
	}
	for _, f := range v.Files {
		if p.path == "" || f.Path == p.path || strings.HasPrefix(f.Path, p.path+"/") {
			all = append(all, artifact{f.Path, f.Size, depot.Digest(f.Digest)})
		}
	}
	return all, v, nil
}

// pull returns a version with its files, for somebody who may have them: those of one that is
// not ready, or in quarantine, nobody may.
func (s *Server) pull(ctx context.Context, who pavise.Principal, ref registry.Ref) (v *registry.Version, err error) {
	found, gone := s.cfg.Registry.Resolve(ctx, who.Tenant, ref)
	verb := VerbPull
	if gone == nil && !found.Barred() && found.State != registry.Published && !found.State.Serves() {
		verb = VerbInspect
	}
	entry, err := s.cfg.Guard.Enter(ctx, who, verb, ref.Name(who.Tenant))
	if err != nil {
		return nil, err
	}
	defer entry.Exit(&err)
	if gone != nil {
		return nil, gone
	}
	v = found
	extras, err := s.extras(ctx, who.Tenant, ref.Model)
	switch {
	case err != nil:
		return nil, err
	case extras[ref.Model][0].deleted || extras[ref.Model][ref.Version].deleted:
		return nil, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("%s was deleted", ref)}
	case v.Intake != registry.Ready:
		return nil, &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("the files of %s are %s: %s", ref, v.Intake, v.Problem), Hint: "nobody gets them before they were looked at"}
	case v.Barred():
		return nil, &pavise.Error{Kind: pavise.Denied, Msg: fmt.Sprintf("%s is in quarantine, or was retired out of it", ref), Hint: "pavise model show " + ref.String() + " says why"}
	}
	return v, nil
}

// download answers with an artifact. Each byte is proved before it leaves; where the depot was
// altered, the answer breaks off.
func (s *Server) download(w http.ResponseWriter, r *http.Request, who pavise.Principal, p place) error {
	all, _, err := s.inside(r.Context(), who, p)
	if err != nil {
		return err
	}
	if len(all) != 1 || all[0].Path != p.path {
		return noArtifact(p.path)
	}
	done, err := s.load(who)
	if err != nil {
		return err
	}
	defer done()
	content, err := s.cfg.Depot.Open(r.Context(), who.Tenant, all[0].Digest)
	if err != nil {
		return err
	}
	defer content.Close()
	if content.Size() != all[0].Size {
		return &pavise.Error{Kind: pavise.Internal, Msg: "an artifact has another size than it had"}
	}
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Disposition", "attachment")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.FormatInt(content.Size(), 10))
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return nil
	}
	if err := s.send(w, content); err != nil {
		s.cfg.Say("warning", fmt.Errorf("send an artifact to %s: %w", who.Name(), err))
		panic(http.ErrAbortHandler) // the headers have left: only a connection that breaks tells
	}
	return nil
}

// send sends a content, and gives each piece as long as a piece may take.
func (s *Server) send(w http.ResponseWriter, content io.Reader) error {
	wait := http.NewResponseController(w)
	piece := make([]byte, 64<<10)
	for {
		n, err := content.Read(piece)
		if n > 0 {
			_ = wait.SetWriteDeadline(time.Now().Add(pieceTime))
			if _, err := w.Write(piece[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
