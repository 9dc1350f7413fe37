// Package machine is machines at the edge as targets of deployments: each fetches what it is
// ordered to run, in signed and numbered bundles, and reports what it runs. It owns their orders,
// the door where they fetch and report, and what each last said.
package machine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/bundle"
	"github.com/pavise/pavise/internal/deploy"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/oms"
	"github.com/pavise/pavise/internal/seal"
	"github.com/pavise/pavise/internal/store"
)

// silent is how long a machine at the edge may say nothing until that is a problem.
const silent = 3 * time.Minute

// Config is what targets at the edge are made of. All is required.
type Config struct {
	Guard  *guard.Guard
	Store  *store.DB
	Files  deploy.Files
	KEK    *seal.KEK
	Dir    string // where the keys that sign orders are kept, and the newest orders; its own
	Origin string // which installation speaks
	Now    func() time.Time
}

// Machines are the targets that fetch what they are to run, and report what they run. They are
// safe for concurrent use.
type Machines struct {
	cfg Config

	mu         sync.Mutex // guards what follows
	publishers map[pavise.Name]*bundle.Publisher
	heard      map[pavise.Name]time.Time // since the start
}

// New returns the targets at the edge. Drivers of kind edge are theirs.
func New(cfg Config) *Machines {
	return &Machines{cfg: cfg, publishers: map[pavise.Name]*bundle.Publisher{}, heard: map[pavise.Name]time.Time{}}
}

// Driver makes targets of machines at the edge.
func (e *Machines) Driver() deploy.Driver {
	return deploy.Driver{
		Empties: true,
		Keys:    []deploy.Setting{{Key: "agent", Required: true, About: "who fetches there and reports, as KIND/ID of a principal: workload/edge-1"}},
		Open: func(name pavise.Name, set map[string]string) (deploy.Target, error) {
			kind, id, _ := strings.Cut(set["agent"], "/")
			agent := pavise.Name{Tenant: name.Tenant, Kind: kind, ID: id}
			if kind != pavise.Workload && kind != pavise.Node || agent.Validate() != nil {
				return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.100q is no agent of a machine", set["agent"]), Hint: "write workload/ID or node/ID, as pavise issuer whoami says it there"}
			}
			return &machine{e, name, agent}, nil
		},
	}
}

// A machine is one that fetches what it is to run.
type machine struct {
	*Machines
	name  pavise.Name
	agent pavise.Name
}

// A kept is what is kept of one.
type kept struct {
	Orders Orders    `json:"orders"`
	Report *Report   `json:"report,omitempty"`
	At     time.Time `json:"at,omitzero"` // when it last said something else than before
}

// Takes implements Target.
func (e *machine) Takes(v deploy.Version) (string, error) {
	parts, size := int64(0), int64(0)
	for _, f := range v.Files {
		if !oms.ValidPath(f.Path) && f.Path != "." {
			return "", &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.200q is no path that is the same on every machine", f.Path)}
		}
		parts += (f.Size + PartSize - 1) / PartSize
		size += f.Size
	}
	if len(v.Files) == 0 || parts > bundle.MaxBlobs || size > bundle.MaxAllBlobs {
		return "", &pavise.Error{
			Kind: pavise.Invalid, Msg: fmt.Sprintf("version %d of %s has %d files, and %d bytes in %d parts", v.Number, v.Model.ID, len(v.Files), size, parts),
			Hint: fmt.Sprintf("a machine at the edge takes 1 GiB at most, in %d parts of 16 MiB", bundle.MaxBlobs),
		}
	}
	return v.Digest, nil
}

// read reads what is kept of the target.
func (e *machine) read(ctx context.Context) (k kept, err error) {
	err = e.cfg.Store.View(ctx, func(tx *store.Tx) error { _, err := deploy.Recall(tx, e.name, &k); return err })
	k.Orders.Target = e.name
	return k, err
}

// Observe implements Target: what runs there is what the machine said last, whose word is
// bound to the one agent that may say it.
func (e *machine) Observe(ctx context.Context) (s deploy.State, err error) {
	k, err := e.read(ctx)
	if err != nil {
		return s, err
	}
	if p, err := e.publisher(); err != nil {
		return s, err
	} else if _, err := p.Publish(ctx); err != nil { // or its word would end
		return s, err
	}
	s.Unproven = "the machine says so itself"
	if k.Report == nil {
		s.Problem = "it was not heard of yet: pavise edge run, on the machine"
		return s, nil
	}
	s.Main, s.Healthy, s.Problem = k.Report.Running, k.Report.Healthy, k.Report.Problem
	s.Alone = k.Report.Alone && k.Report.Revision == k.Orders.Revision
	e.mu.Lock()
	now, last := e.cfg.Now(), e.heard[e.name]
	e.mu.Unlock()
	if last.IsZero() || k.At.After(last) && !k.At.After(now) {
		last = k.At
	}
	if now.Sub(last).Abs() > silent { // also of a clock that was ahead: nobody knows when that was
		s.Healthy, s.Problem = false, "it was not heard of since "+last.UTC().Format("2006-01-02 15:04:05 UTC")
	}
	return s, nil
}

// Apply implements Target: it orders, and the machine fetches.
func (e *machine) Apply(ctx context.Context, d deploy.Desired) error {
	if d.Beside != nil {
		return &pavise.Error{Kind: pavise.Invalid, Msg: "a machine at the edge runs one version whole"}
	}
	k, err := e.read(ctx)
	if err != nil {
		return err
	}
	if k.Orders.Revision > d.Revision {
		return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("%s was ordered revision %d already, and this is %d", e.name.ID, k.Orders.Revision, d.Revision), Hint: "was this installation put back from a backup?"}
	}
	if k.Orders.Revision < d.Revision {
		next, err := e.order(ctx, d, k.Orders)
		if err != nil {
			return err
		}
		err = e.cfg.Store.UpdateSafe(ctx, func(tx *store.Tx) error {
			var now kept
			if _, err := deploy.Recall(tx, e.name, &now); err != nil {
				return err
			}
			now.Orders = next
			return deploy.Remember(tx, e.name, now)
		})
		if err != nil {
			return err
		}
	}
	p, err := e.publisher()
	if err == nil {
		_, err = p.Publish(ctx)
	}
	return err
}

// order makes the orders of what is wanted, after those before.
func (e *machine) order(ctx context.Context, d deploy.Desired, before Orders) (next Orders, err error) {
	next = Orders{Target: e.name, Revision: d.Revision, Barred: d.Barred}
	if d.Main == nil {
		return next, next.check(e.name)
	}
	next.Model, next.Version, next.Digest, next.Signature = d.Main.Model, d.Main.Number, d.Main.Digest, d.Main.Signature
	if next.Files = before.Files; before.Digest != next.Digest {
		if next.Files, err = e.cut(ctx, d.Main); err != nil {
			return next, err
		}
	}
	if err := next.check(e.name); err != nil {
		return next, &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("version %d of %s cannot be ordered: %v", d.Main.Number, d.Main.Model.ID, err), Err: err}
	}
	return next, nil
}

// cut cuts the files of a version into parts, and holds them to their digests.
func (e *machine) cut(ctx context.Context, v *deploy.Version) (files []OrderedFile, err error) {
	for _, f := range v.Files {
		o := OrderedFile{File: f}
		if o.Parts, err = e.parts(ctx, f); err != nil {
			return nil, err
		}
		files = append(files, o)
	}
	return files, nil
}

func (e *machine) parts(ctx context.Context, f deploy.File) (parts []string, err error) {
	r, err := e.cfg.Files.Open(ctx, e.name.Tenant, f.Digest)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	whole := sha256.New()
	for left := f.Size; left > 0; {
		part := sha256.New()
		n, err := io.CopyN(io.MultiWriter(whole, part), r, min(left, PartSize))
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", f.Path, err)
		}
		left -= n
		parts = append(parts, "sha256:"+hex.EncodeToString(part.Sum(nil)))
	}
	if n, _ := r.Read(make([]byte, 1)); n > 0 || "sha256:"+hex.EncodeToString(whole.Sum(nil)) != f.Digest {
		return nil, &pavise.Error{
			Kind: pavise.Unverified, Msg: fmt.Sprintf("%s is no longer the file that was approved: %s, %d bytes", f.Path, f.Digest, f.Size),
			Hint: "somebody changed where the files of models lie: nothing of it is deployed",
		}
	}
	return parts, nil
}

// Trust is whose word the machine is to take, and under which name it is a target: the file
// that pavise edge run wants.
func (e *machine) Trust() (any, error) {
	p, err := e.publisher()
	if err != nil {
		return nil, err
	}
	return Trust{Target: e.name, Trust: p.Trust()}, nil
}

// Trust is what a machine at the edge is given before it fetches anything.
type Trust struct {
	Target pavise.Name `json:"target"`
	bundle.Trust
}

// publisher is what signs and serves the orders of the target.
func (e *machine) publisher() (*bundle.Publisher, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if p := e.publishers[e.name]; p != nil {
		return p, nil
	}
	sum := sha256.Sum256([]byte(e.name.String()))
	dir := filepath.Join(e.cfg.Dir, hex.EncodeToString(sum[:8]))
	signer, err := bundle.OpenSigner(e.cfg.KEK, dir)
	if err != nil {
		return nil, err
	}
	p, err := bundle.OpenPublisher(bundle.PublisherConfig{
		Origin: e.cfg.Origin + "/edge/" + e.name.ID, Dir: dir, Signer: signer, Now: e.cfg.Now, Blob: e.part,
		Sections: map[string]bundle.Section{Section: func(ctx context.Context) (json.RawMessage, map[string]int64, error) {
			k, err := e.read(ctx)
			if err != nil {
				return nil, nil, err
			}
			text, err := json.Marshal(k.Orders)
			return text, k.Orders.blobs(), err
		}},
	})
	if err != nil {
		return nil, err
	}
	e.publishers[e.name] = p
	return p, nil
}

// part opens a part of what is ordered.
func (e *machine) part(ctx context.Context, digest string) (io.ReadCloser, error) {
	k, err := e.read(ctx)
	if err != nil {
		return nil, err
	}
	for _, f := range k.Orders.Files {
		for i, p := range f.Parts {
			if p != digest {
				continue
			}
			r, err := e.cfg.Files.Open(ctx, e.name.Tenant, f.Digest)
			if err != nil {
				return nil, err
			}
			if _, err := io.CopyN(io.Discard, r, int64(i)*PartSize); err != nil {
				r.Close()
				return nil, fmt.Errorf("read %s: %w", f.Path, err)
			}
			return struct {
				io.Reader
				io.Closer
			}{io.LimitReader(r, PartSize), r}, nil
		}
	}
	return nil, &pavise.Error{Kind: pavise.NotFound, Msg: "nothing that is ordered has the part " + digest}
}
