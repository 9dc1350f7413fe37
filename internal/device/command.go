package device

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/deploy/machine"
	"github.com/pavise/pavise/internal/plainfile"
	"github.com/pavise/pavise/internal/plainjson"
)

// Place is the machine's directory, as every command on it takes it.
type Place struct {
	Dir string `help:"The machine's directory. Programs read the version that runs at DIR/current." default:"pavise-edge" placeholder:"DIR"`
}

// Run says how the machine stands.
//
// Unguarded: whoever is at the machine may look.
func (p *Place) Run(context.Context) (*Status, error) {
	d, err := p.open()
	if err != nil {
		return nil, err
	}
	st, err := d.Status()
	st.dir = p.Dir
	return &st, err
}

// Back goes back to the version before. Its fields are flags of the command line.
type Back struct {
	Place
	Reason string `help:"Why: the control plane is told." default:"nobody said why" placeholder:"TEXT"`
}

// Run goes back.
//
// Unguarded: whoever is at the machine may, and it is recorded where the machine reports.
func (b *Back) Run(ctx context.Context) (*Status, error) {
	d, err := b.open()
	if err != nil {
		return nil, err
	}
	st, err := d.Rollback(ctx, b.Reason)
	st.dir = b.Dir
	return &st, err
}

// Wrong reports whether the files that run are not what was ordered.
func (st *Status) Wrong() bool { return st.Problem != "" }

// Print prints how the machine stands.
func (st *Status) Print(w io.Writer) {
	switch {
	case st.Running == nil:
		fmt.Fprintf(w, "nothing runs at %s/current\n", st.dir)
	default:
		fmt.Fprintf(w, "%s version %d runs at %s/current, since %s\n  %s\n", st.Running.Model, st.Running.Version, st.dir, st.Running.Since.Local().Format("2006-01-02 15:04:05 MST"), st.Running.Digest)
	}
	if st.Problem != "" {
		fmt.Fprintf(w, "  it is not what was ordered: %s\n", st.Problem)
	}
	if st.Held != "" {
		fmt.Fprintf(w, "  %s\n", st.Held)
	}
	if st.Before != nil {
		fmt.Fprintf(w, "  before it ran version %d, which is kept: pavise edge rollback\n", st.Before.Version)
	}
}

// open opens a machine that is there. The error is of kind NotFound when there is none.
func (p Place) open() (*Device, error) {
	if _, err := os.Stat(p.Dir); err != nil {
		return nil, &pavise.Error{Kind: pavise.NotFound, Msg: p.Dir + " is no directory of a machine at the edge", Hint: "--dir says where it is", Err: err}
	}
	return Open(Config{Dir: p.Dir})
}

// A Connection is how the machine speaks to its control plane for now.
type Connection struct {
	Server string
	Token  string       // a bearer token; empty: the transport proves who asks
	HTTP   *http.Client // whose transport proves it; nil: that of http.DefaultTransport does nothing
}

// Serve runs the machine. Its fields are flags of the command line.
type Serve struct {
	// Connect says how to speak to the control plane. It is asked again now and then: proofs
	// end, and are renewed.
	Connect func(ctx context.Context) (Connection, error) `kong:"-"`
	Say     func(word string, err error)                  `kong:"-"`
	Out     io.Writer                                     `kong:"-"` // is told what runs, once; nil: nobody is

	Place
	Trust    string        `help:"Whose word to take, and for which target: the trust of pavise target show --json." required:"" placeholder:"FILE"`
	Health   string        `help:"A command of the shell that ends with 0 when the model at $PAVISE_MODEL is well; else the version before comes back." placeholder:"COMMAND"`
	Patience time.Duration `help:"How long the health command is tried again." default:"30s" placeholder:"TIME"`
	SignedBy string        `help:"Run only versions that are signed by this key (PEM)." placeholder:"FILE"`
	Every    time.Duration `help:"How often every file that runs is read, and reported." default:"30s" placeholder:"TIME"`
}

// Help is the text behind the command's flags.
func (*Serve) Help() string {
	return `Fetches what a target at the edge is to run, and runs it: programs read DIR/current, a link that is
swapped in one step. The version before is kept sealed, and comes back when the health command fails, or by
pavise edge rollback, without the control plane. docs/deploy.md has the rest.

For example:

  pavise edge run --dir /var/lib/pavise-edge --trust trust.json --health 'test -s $PAVISE_MODEL/model.onnx'`
}

// Run runs the machine until ctx is done.
//
// Unguarded: the control plane asks who it is, and records what it says.
func (s *Serve) Run(ctx context.Context) error {
	text, err := plainfile.Read("trust", s.Trust, 64<<10)
	if err != nil {
		return err
	}
	trust, err := plainjson.ReadKnown[machine.Trust](text)
	if err == nil {
		err = trust.Validate()
	}
	if err != nil {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s does not say whose word to take: %v", s.Trust, err), Hint: "pavise target show TARGET --json has it as trust", Err: err}
	}
	at, err := s.Connect(ctx)
	if err != nil {
		return err
	}
	cfg := Config{
		Dir: s.Dir, Server: at.Server, HTTP: &http.Client{Transport: &caller{fresh: s.Connect, at: at, since: time.Now()}},
		Trust: trust, Every: max(s.Every, 100*time.Millisecond), Patience: s.Patience, Key: s.SignedBy, Say: s.Say,
	}
	if s.Health != "" {
		cfg.Health = []string{"sh", "-c", s.Health}
	}
	d, err := Open(cfg)
	if err != nil {
		return err
	}
	if s.Out != nil {
		fmt.Fprintf(s.Out, "%s runs what %s orders, at %s/current\n\nCtrl-C stops.\n", trust.Target.ID, at.Server, s.Dir)
	}
	return d.Run(ctx)
}

// A caller sends requests with a proof of who sends them, which is renewed meanwhile.
type caller struct {
	fresh func(context.Context) (Connection, error)

	mu    sync.Mutex // guards what follows
	at    Connection
	since time.Time
}

// renewed is how long a proof is believed to be the newest.
const renewed = 10 * time.Minute

// RoundTrip implements http.RoundTripper.
func (c *caller) RoundTrip(r *http.Request) (*http.Response, error) {
	c.mu.Lock()
	if time.Since(c.since) > renewed {
		if next, err := c.fresh(r.Context()); err == nil { // or the old one may do a while
			c.at = next
		}
		c.since = time.Now()
	}
	at := c.at
	c.mu.Unlock()
	r = r.Clone(r.Context())
	if at.Token != "" {
		r.Header.Set("Authorization", "Bearer "+at.Token)
	}
	if at.HTTP != nil && at.HTTP.Transport != nil {
		return at.HTTP.Transport.RoundTrip(r)
	}
	return http.DefaultTransport.RoundTrip(r)
}
