package premises

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/archive"
	"github.com/pavise/pavise/internal/catalog"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/config"
	"github.com/pavise/pavise/internal/deploy"
	"github.com/pavise/pavise/internal/deploy/machine"
	"github.com/pavise/pavise/internal/depot"
	"github.com/pavise/pavise/internal/detect"
	"github.com/pavise/pavise/internal/feed"
	"github.com/pavise/pavise/internal/gate"
	"github.com/pavise/pavise/internal/gateway"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/identity"
	"github.com/pavise/pavise/internal/installation"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/mlflow"
	"github.com/pavise/pavise/internal/monitor"
	"github.com/pavise/pavise/internal/oci"
	"github.com/pavise/pavise/internal/openlineage"
	"github.com/pavise/pavise/internal/outbound"
	"github.com/pavise/pavise/internal/policy"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/receiver"
	"github.com/pavise/pavise/internal/registry"
	"github.com/pavise/pavise/internal/seal"
	"github.com/pavise/pavise/internal/siem"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/store/blob"
	"github.com/pavise/pavise/internal/subject"
	"github.com/pavise/pavise/internal/telemetry"
	"github.com/pavise/pavise/internal/ticket"
	"github.com/pavise/pavise/internal/upstream"
	"github.com/pavise/pavise/internal/witness"
)

// UnderWay is how many requests to models may be under way: streams, above all, that
// wait for minutes and take some twenty kilobytes each. One caller may have an eighth of
// them, 2,048. It is less than the connections of callers, so that a caller too many is
// told so.
const UnderWay = 1 << 14

// Tolerance is how far the clock may be behind, as the guard sees it.
const Tolerance = 2 * time.Second

// A House is what every role with an evidence log of its own stands on. Its first
// fields say what it is to be; the others are opened from the ground up, in the
// order in which they stand.
type House struct {
	Data        installation.Data
	Tenant      string
	Origin      string                       // of its log
	Command     func(words string) string    // the command that starts it, with more words
	AcceptClock bool                         // take the clock as it is, although it was set back
	Witnesses   *proof.Policy                // who is asked to cosign the log's checkpoints; nil: nobody
	ArchiveAt   string                       // where whole segments go; empty: nowhere
	Say         func(word string, err error) // tells whoever started it what goes wrong meanwhile, and how bad it is
	Now         func() time.Time

	Beside    net.Listener     // for /healthz and /metrics; nil: nobody asked for them
	Telemetry *telemetry.Meter // counts what is done

	Log       *ledger.Log
	Quorum    *witness.Quorum // nil: nobody is asked to cosign
	DB        *store.DB
	Guard     *guard.Guard
	Feeds     *feed.Feeds
	Subjects  *subject.Keys
	kek       *seal.KEK // under which it keeps what is secret
	Archive   *archive.Archive
	Gateway   *gateway.Gateway
	Wires     *siem.Wires
	Changes   *change.Changes     // nil: it is a gateway
	Tickets   *ticket.Desk        // tells tools of them; nil: it is a gateway
	Gate      *gate.Gate          // lets records in; nil: it is a gateway
	Catalog   *catalog.Catalog    // nil: it knows no datasets
	Depot     *depot.Depot        // keeps the files of models; nil: none are kept here
	Models    *registry.Registry  // nil: it knows no models
	MLflow    *mlflow.Server      // nil: clients of MLflow are not served
	OCI       *oci.Registry       // nil: clients of OCI registries are not served
	Lineage   *openlineage.Claims // nil: nobody tells of runs here
	Receivers *receiver.Receivers // fetch records for it; nil: it is a gateway
	Monitor   *monitor.Monitor    // whether models still answer what they answered; nil: none answers here
	Edges     *machine.Machines   // machines that fetch what they are to run; nil: none may
	// Deployments are what runs where; nil: nothing is deployed from here.
	Deployments *deploy.Deployments
	// Unfit says why a version, in the words of a release's plan, may not answer again; nil:
	// nobody knows more of versions than the routes do.
	Unfit func(ctx context.Context, tenant, version string) error
}

// OpenLog opens the evidence log, and takes no record yet.
func (h *House) OpenLog(k installation.Keys) (err error) {
	if err := h.Data.WithLog(); err != nil {
		return err
	}
	h.Log, err = ledger.Open(ledger.Options{
		Dir: h.Data.Ledger(), Origin: h.Origin, Key: k.Log, MLDSA: k.MLDSA, Tenant: h.Tenant, Now: h.Now, Synced: h.Telemetry.Synced,
	})
	return err
}

// Face refuses a clock that is behind the log, and asks the witnesses whether the log
// is the one that they know.
func (h *House) Face(ctx context.Context) error {
	if err := h.checkClock(); err != nil {
		return err
	}
	return h.confront(ctx)
}

// checkClock refuses to start behind the log, where the guard would admit
// nothing, unless the operator says that the clock is right.
func (h *House) checkClock() error {
	last, ok := h.Log.Last()
	behind := last.At.Sub(h.Now())
	if !ok || h.AcceptClock || behind <= Tolerance {
		return nil
	}
	return &pavise.Error{
		Kind: pavise.Unavailable, Msg: fmt.Sprintf("the clock is %v behind the last record of the log", behind.Round(time.Second)),
		Hint: "correct the clock, or, if it is right now, start with " + h.Command("--accept-clock") + ": the step is recorded",
	}
}

// OpenStore opens the state database.
func (h *House) OpenStore(ctx context.Context) (err error) {
	h.DB, err = store.Open(ctx, h.Data.Path("pavise.db"))
	return err
}

// OpenEvidence opens what stands around the log: those who follow it, the keys of
// those whose data it keeps, and the archive.
func (h *House) OpenEvidence(ctx context.Context, k installation.Keys) (err error) {
	if h.Feeds, err = feed.Open(ctx, h.Log, h.DB, h.Now); err != nil {
		return err
	}
	h.kek = k.KEK
	if h.Subjects, err = subject.Open(ctx, h.DB, k.KEK, h.Now); err != nil {
		return err
	}
	h.tellLog()
	if err := h.heldAgainstDatabase(ctx); err != nil {
		return err
	}
	return h.openArchive(ctx)
}

// A Plane is what the data plane of a machine has of its own.
type Plane struct {
	Keys      []config.ModelKey // of servers of language models
	TLS       []config.ModelTLS // options of TLS for model servers
	Detectors *config.Detectors
	Vectors   *seal.Key // alters vectors of embeddings; nil: there is none
}

// options are those of TLS, by name.
func (p Plane) options() map[string]upstream.TLS {
	named := map[string]upstream.TLS{}
	for _, t := range p.TLS {
		named[t.Name] = upstream.TLS{CAFile: t.Authorities, CertFile: t.Certificate, KeyFile: t.Key, ServerName: t.ServerName}
	}
	return named
}

// OpenGateway opens the data plane.
func (h *House) OpenGateway(ctx context.Context, verifier *identity.Verifier, own Plane) (err error) {
	h.Gateway, err = gateway.New(ctx, gateway.Config{
		KeyFiles: config.KeyFiles(own.Keys), TLS: own.options(), Detectors: detect.House(own.Detectors.Bound()), Guard: h.Guard, Verifier: verifier, Store: h.DB, Log: h.Log, Subjects: h.Subjects, Now: h.Now, Embeddings: own.Vectors, Watch: h.Telemetry, KEK: h.kek, Monitor: h.Monitor,
	})
	return err
}

// OpenWires opens where findings go, as the rest of cfg says.
func (h *House) OpenWires(ctx context.Context, k installation.Keys, cfg siem.Config) (err error) {
	cfg.Guard, cfg.Log, cfg.Feeds, cfg.Store, cfg.KEK, cfg.Now, cfg.Say = h.Guard, h.Log, h.Feeds, h.DB, k.KEK, h.Now, h.Say
	cfg.Version, cfg.Tenant = installation.Version(), h.Tenant
	h.Wires, err = siem.Open(ctx, cfg)
	return err
}

// OpenTickets opens the desk that tells tools of changes, which may be where findings may
// go. Who is refused by now, revoked says.
func (h *House) OpenTickets(ctx context.Context, k installation.Keys, to siem.Config, revoked func(pavise.Principal, time.Time) bool) (err error) {
	h.Tickets, err = ticket.Open(ctx, ticket.Config{
		Guard: h.Guard, Store: h.DB, KEK: k.KEK, Changes: h.Changes, Propose: h.Changes.Propose, Withdraw: h.Changes.Withdraw, Hears: h.Changes.Hears, Revoked: revoked,
		Reach: outbound.Reach{Loopback: to.Local, Allow: to.Allow}, Roots: to.Roots, Now: h.Now, Say: h.Say,
	})
	return err
}

// OpenGate opens the gate that records pass on their way in. What it admits goes to a
// directory or bucket, below the data directory unless somebody says where.
func (h *House) OpenGate(ctx context.Context, k installation.Keys, admitted string) error {
	output, err := blob.Open(ctx, cmp.Or(admitted, h.Data.Path("admitted")))
	if err != nil {
		return err
	}
	h.Gate, err = gate.Open(ctx, gate.Config{
		Guard: h.Guard, Store: h.DB, KEK: k.KEK, Dir: h.Data.Path("quarantine"), Output: output, Now: h.Now,
	})
	return err
}

// OpenLineage opens what pipelines tell of their runs. Claims are held to the seals of the
// catalog, which is open.
func (h *House) OpenLineage(ctx context.Context) (err error) {
	h.Lineage, err = openlineage.Open(ctx, openlineage.Config{Guard: h.Guard, Store: h.DB, Seals: kept{h.Catalog}, Now: h.Now, Say: h.Say})
	return err
}

// Told parts a file of findings from the standard output, which is printer.
func Told(findings string, printer io.Writer) siem.Config {
	if findings == config.Print {
		return siem.Config{Printer: printer}
	}
	return siem.Config{File: findings}
}

// Facts are what the rooms know of a thing and a policy may ask.
func (h *House) Facts(name pavise.Name) policy.Facts {
	var facts policy.Facts
	if h.Models != nil {
		facts = h.Models.Facts(name)
	}
	facts.Quarantined = facts.Quarantined || h.Gateway != nil && h.Gateway.Routes.Quarantined(name)
	return facts
}

// Keep has all run that every house has running, until ctx is done.
func (h *House) Keep(ctx context.Context, all *errgroup.Group) {
	all.Go(func() error { return h.Guard.Run(ctx) })
	all.Go(func() error { return h.Gateway.Run(ctx) })
	all.Go(func() error { return h.Archive.Run(ctx) })
	all.Go(func() error { return h.Wires.Run(ctx) })
	if h.Tickets != nil {
		all.Go(func() error { return h.Tickets.Run(ctx) })
	}
	if h.Gate != nil {
		all.Go(func() error { return h.Gate.Run(ctx) })
	}
	if h.Receivers != nil {
		all.Go(func() error { return h.Receivers.Run(ctx) })
	}
	all.Go(func() error { h.followShreddings(ctx); return nil })
	all.Go(func() error { h.patrol(ctx); return nil })
	all.Go(func() error { h.watchLog(ctx); return nil })
	all.Go(func() error { h.Telemetry.Run(ctx); return nil })
	if h.Lineage != nil {
		all.Go(func() error { return h.Lineage.Run(ctx) })
	}
	if h.OCI != nil {
		all.Go(func() error { return h.OCI.Run(ctx) })
	}
	if h.Quorum != nil {
		all.Go(func() error { return h.Quorum.Run(ctx) })
	}
	if h.Catalog != nil {
		all.Go(func() error { return h.Catalog.Run(ctx) })
	}
	if h.Deployments != nil {
		all.Go(func() error { return h.Deployments.Run(ctx) })
		all.Go(func() error { h.heed(ctx); return nil })
	}
	if h.Depot != nil {
		all.Go(func() error { return h.Depot.Run(ctx) })
	}
	if h.Models != nil {
		all.Go(func() error { return h.Models.Run(ctx) })
	}
	if h.Monitor != nil {
		all.Go(func() error { return h.Monitor.Run(ctx) })
	}
}

// watchLog says why the log stopped, as soon as it does: from then on nothing is
// answered, and whoever sits before it would learn that from the callers.
func (h *House) watchLog(ctx context.Context) {
	_ = h.Log.AwaitSigned(ctx, math.MaxUint64) // no log gets there: it stops, or ctx is done
	if err := h.Log.Stopped(); err != nil {
		h.Say("error", err)
	}
}

// Close flushes the log and closes the store, in that order. The house may be one
// that was never finished.
func (h *House) Close() error {
	var errs []error
	if h.Beside != nil {
		h.Beside.Close()
	}
	if h.MLflow != nil {
		errs = append(errs, h.MLflow.Close())
	}
	if h.Log != nil {
		errs = append(errs, h.Log.Close())
	}
	if h.DB != nil {
		errs = append(errs, h.DB.Close())
	}
	return errors.Join(errs...)
}

// Stranger counts what a proxy asked that nobody could look at.
func (h *House) Stranger(source, reason string) { h.Guard.Refuse(source, reason) }
