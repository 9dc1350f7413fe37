package device

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/bundle"
	"github.com/pavise/pavise/internal/deploy/machine"
	"github.com/pavise/pavise/internal/model"
	"github.com/pavise/pavise/internal/seal"
)

// Config is what a machine is made of. Dir is required; the rest is for one that runs.
type Config struct {
	Dir string // the machine's own; made, 0755, when there is none: programs read below it

	Server string       // the control plane, https://HOST:PORT
	HTTP   *http.Client // whose transport proves who asks
	Trust  machine.Trust
	Every  time.Duration // how often it looks at its files and reports; 30 seconds if 0

	// Health is a command with its arguments that ends with 0 when what current leads to is
	// well; empty: nobody looks. It is tried again until Patience is over, 30 seconds if 0.
	Health   []string
	Patience time.Duration
	Key      string // a file with the key (PEM) by which versions must be signed; empty: signatures are not looked at

	Say func(word string, err error) // tells the operator what goes wrong; nil: nobody
	Now func() time.Time             // time.Now if nil
}

// A Device is the machine. It is safe for concurrent use, also by several processes.
type Device struct {
	cfg   Config
	key   *seal.Key
	kek   *seal.KEK
	store *bundle.Store // of the orders; nil: it only looks, or goes back

	mu      sync.Mutex // guards what follows
	problem string     // why what was ordered was not done
}

// Open opens the machine in a directory. Errors are of kind Invalid, Unavailable, and
// Unverified where what it knows was changed.
func Open(cfg Config) (*Device, error) {
	cfg.Now, cfg.Every, cfg.Patience = cmpFunc(cfg.Now), cmp.Or(cfg.Every, 30*time.Second), cmp.Or(cfg.Patience, 30*time.Second)
	if cfg.Say == nil {
		cfg.Say = func(string, error) {}
	}
	for _, dir := range []string{"", dirVersions} {
		if err := os.MkdirAll(filepath.Join(cfg.Dir, dir), 0o755); err != nil {
			return nil, unwritten(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(cfg.Dir, dirKept), 0o700); err != nil {
		return nil, unwritten(err)
	}
	kek, err := seal.OpenFileKEK(filepath.Join(cfg.Dir, "kek"))
	if err != nil {
		return nil, err
	}
	d := &Device{cfg: cfg, kek: kek, key: kek.Edge()}
	_, err = readState(cfg.Dir, d.key)
	return d, err
}

func cmpFunc(now func() time.Time) func() time.Time {
	if now == nil {
		return time.Now
	}
	return now
}

// with does something with what the machine knows, alone.
func (d *Device) with(do func(*state) error) error {
	release, err := lock(d.cfg.Dir)
	if err != nil {
		return err
	}
	defer release()
	s, err := readState(d.cfg.Dir, d.key)
	if err != nil {
		return err
	}
	return do(&s)
}

// obey does what is ordered. from returns parts of files in the clear.
func (d *Device) obey(ctx context.Context, o *machine.Orders, from func(digest string) ([]byte, error)) error {
	return d.with(func(s *state) error {
		if err := d.finish(ctx, s); err != nil {
			return err
		}
		if s.Target != (pavise.Name{}) && s.Target != o.Target {
			return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("this directory is of %s, and the orders are for %s", s.Target, o.Target), Hint: "a target has a directory of its own: --dir"}
		}
		switch {
		case o.Revision < s.Revision:
			return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("revision %d is ordered, and %d was done already", o.Revision, s.Revision), Hint: "was the control plane put back from a backup?"}
		case o.Revision == s.Revision:
			return nil
		}
		s.Target, s.Barred = o.Target, o.Barred
		if o.Digest == "" {
			return d.stop(s, o.Revision)
		}
		if s.Current != nil && s.Current.Digest == o.Digest {
			s.Revision, s.Held = o.Revision, ""
			return s.write(d.cfg.Dir, d.key)
		}
		next := &version{Revision: o.Revision, Model: o.Model, Number: o.Version, Digest: o.Digest, Files: o.Files, Since: d.cfg.Now().UTC(), Signature: o.Signature}
		if err := d.keep(next, from); err != nil {
			return err
		}
		if err := d.layOut(next); err != nil {
			return err
		}
		if err := d.signed(ctx, next); err != nil {
			return errors.Join(err, os.RemoveAll(filepath.Join(d.cfg.Dir, dirVersions, next.Dir)))
		}
		s.Next = next
		if err := s.write(d.cfg.Dir, d.key); err != nil {
			return err
		}
		if err := point(d.cfg.Dir, next.Dir); err != nil {
			return err
		}
		return d.finish(ctx, s)
	})
}

// stop has nothing run, as is ordered where the first version was taken back elsewhere before it
// was seen here.
func (d *Device) stop(s *state, revision uint64) error {
	if err := os.Remove(filepath.Join(d.cfg.Dir, linkCurrent)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	s.Revision, s.Held, s.Current, s.Before = revision, "", nil, nil
	return errors.Join(s.write(d.cfg.Dir, d.key), d.tidy(s))
}

// signed holds a version to its signature, if somebody said by whom it must be signed.
func (d *Device) signed(ctx context.Context, v *version) error {
	if d.cfg.Key == "" {
		return nil
	}
	if len(v.Signature) == 0 {
		return &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("version %d of %s is not signed, and must be by the key %s", v.Number, v.Model.ID, d.cfg.Key), Hint: "pavise model sign, before it is added to the registry"}
	}
	file := filepath.Join(d.cfg.Dir, "signature")
	if err := writeFile(file, v.Signature); err != nil {
		return err
	}
	path := filepath.Join(d.cfg.Dir, dirVersions, v.Dir)
	if len(v.Files) == 1 && v.Files[0].Path == "." {
		path = filepath.Join(path, single)
	}
	held, err := (&model.Verify{Path: path, Signature: file, Key: d.cfg.Key, Now: d.cfg.Now}).Run(ctx)
	if err == nil && (!held.Holds || len(held.Differences) > 0) {
		err = &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("version %d of %s is not what was signed", v.Number, v.Model.ID)}
	}
	return errors.Join(err, os.Remove(file))
}

// finish ends a swap that was begun, also by a process that was killed: the version that the
// link leads to stays if it is well, and else the one before comes back.
func (d *Device) finish(ctx context.Context, s *state) error {
	next := s.Next
	if next == nil {
		return nil
	}
	if points(d.cfg.Dir) != next.Dir { // it was killed before the swap: the orders come again
		s.Next = nil
		return errors.Join(s.write(d.cfg.Dir, d.key), d.tidy(s))
	}
	why := d.healthy(ctx)
	if err := ctx.Err(); why != nil && err != nil {
		return err // nobody knows yet
	}
	s.Revision, s.Next = next.Revision, nil
	if why == nil {
		s.Held = ""
		if s.Current != nil && s.Current.Digest != next.Digest {
			s.Before = s.Current
		}
		s.Current = next
		return errors.Join(s.write(d.cfg.Dir, d.key), d.tidy(s))
	}
	s.Held = fmt.Sprintf("version %d was taken back: %s", next.Number, pavise.MsgOf(why))
	if s.Current == nil {
		err := os.Remove(filepath.Join(d.cfg.Dir, linkCurrent))
		return errors.Join(err, s.write(d.cfg.Dir, d.key), d.tidy(s))
	}
	if err := point(d.cfg.Dir, s.Current.Dir); err != nil {
		return err
	}
	return errors.Join(s.write(d.cfg.Dir, d.key), d.tidy(s))
}

// healthy asks the health command, until it says that all is well or its time is over.
func (d *Device) healthy(ctx context.Context) error {
	if len(d.cfg.Health) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Patience)
	defer cancel()
	var why error // of the last try that was not cut off
	for {
		var said bytes.Buffer
		cmd := exec.CommandContext(ctx, d.cfg.Health[0], d.cfg.Health[1:]...)
		cmd.Env = append(os.Environ(), "PAVISE_MODEL="+filepath.Join(d.cfg.Dir, linkCurrent))
		cmd.Stdout, cmd.Stderr, cmd.WaitDelay = limited{&said}, limited{&said}, time.Second
		err := cmd.Run()
		if err == nil {
			return nil
		}
		if ctx.Err() == nil || why == nil {
			why = &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("its health command: %v: %s", err, strings.TrimSpace(said.String())), Err: err}
		}
		select {
		case <-time.After(d.cfg.Patience / 10):
		case <-ctx.Done():
			return why
		}
	}
}

// limited keeps the beginning of what a command says.
type limited struct{ to *bytes.Buffer }

// Write keeps what there is room for.
func (l limited) Write(p []byte) (int, error) {
	l.to.Write(p[:min(len(p), max(0, 300-l.to.Len()))])
	return len(p), nil
}

// Rollback goes back to the version before, without the control plane, and stays there until
// another revision is ordered. Errors are of kind Conflict when there is none, Denied for
// one that the control plane barred, and Unverified where what was kept was changed.
//
// Unguarded: whoever is at the machine may, and it is recorded where the machine reports.
func (d *Device) Rollback(ctx context.Context, why string) (Status, error) {
	err := d.with(func(s *state) error {
		if err := d.finish(ctx, s); err != nil {
			return err
		}
		back := s.Before
		switch {
		case back == nil:
			return &pavise.Error{Kind: pavise.Conflict, Msg: "no version is kept that ran here before", Hint: "the control plane can order one: pavise deploy release"}
		case slices.Contains(s.Barred, back.Digest):
			return &pavise.Error{Kind: pavise.Denied, Msg: fmt.Sprintf("version %d was taken back by the control plane, and does not run again", back.Number), Hint: "the control plane can order another: pavise deploy release"}
		}
		if err := d.layOut(back); err != nil {
			return err
		}
		if err := point(d.cfg.Dir, back.Dir); err != nil {
			return err
		}
		s.Held = fmt.Sprintf("version %d was taken back by hand: %.200s", s.Current.Number, why)
		s.Current, s.Before = back, nil
		return errors.Join(s.write(d.cfg.Dir, d.key), d.tidy(s))
	})
	if err != nil {
		return Status{}, err
	}
	return d.Status()
}

// A Status is how the machine stands.
type Status struct {
	Target   pavise.Name `json:"target,omitzero"`
	Revision uint64      `json:"revision"`
	Running  *Running    `json:"running,omitempty"`
	Before   *Running    `json:"before,omitempty"`
	Held     string      `json:"held,omitempty"`    // why it does not run what was ordered last
	Problem  string      `json:"problem,omitempty"` // what is otherwise in the files that run

	dir string
}

// Running is a version that the machine has.
type Running struct {
	Model   string    `json:"model"`
	Version int       `json:"version"`
	Digest  string    `json:"digest"`
	Since   time.Time `json:"since"`
}

func running(v *version) *Running {
	if v == nil {
		return nil
	}
	return &Running{v.Model.ID, v.Number, v.Digest, v.Since}
}

// Status says how the machine stands. It reads every file that runs.
func (d *Device) Status() (st Status, err error) {
	err = d.with(func(s *state) error {
		st = Status{Target: s.Target, Revision: s.Revision, Running: running(s.Current), Before: running(s.Before), Held: s.Held}
		if s.Current != nil && s.Next == nil {
			st.Problem = d.differs(s.Current)
		}
		return nil
	})
	return st, err
}
