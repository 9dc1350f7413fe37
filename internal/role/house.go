package role

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/archive"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/config"
	"github.com/pavise/pavise/internal/detect"
	"github.com/pavise/pavise/internal/feed"
	"github.com/pavise/pavise/internal/gateway"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/identity"
	"github.com/pavise/pavise/internal/installation"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/policy"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/seal"
	"github.com/pavise/pavise/internal/siem"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/subject"
	"github.com/pavise/pavise/internal/telemetry"
	"github.com/pavise/pavise/internal/upstream"
	"github.com/pavise/pavise/internal/witness"
)

// underWay is how many requests to models may be under way: streams, above all, that
// wait for minutes and take some twenty kilobytes each. One caller may have an eighth of
// them, 2,048. It is less than the connections of callers, so that a caller too many is
// told so.
const underWay = 1 << 14

// A house is what every role with an evidence log of its own stands on. Its first
// fields say what it is to be; the others are opened from the ground up, in the
// order in which they stand.
type house struct {
	data        installation.Data
	tenant      string
	origin      string                       // of its log
	command     func(words string) string    // the command that starts it, with more words
	acceptClock bool                         // take the clock as it is, although it was set back
	witnesses   *proof.Policy                // who is asked to cosign the log's checkpoints; nil: nobody
	archiveAt   string                       // where whole segments go; empty: nowhere
	say         func(word string, err error) // tells whoever started it what goes wrong meanwhile, and how bad it is
	now         func() time.Time

	health    net.Listener     // for /healthz and /metrics; nil: nobody asked for them
	telemetry *telemetry.Meter // counts what is done

	log      *ledger.Log
	quorum   *witness.Quorum // nil: nobody is asked to cosign
	db       *store.DB
	guard    *guard.Guard
	feeds    *feed.Feeds
	subjects *subject.Keys
	kek      *seal.KEK // under which it keeps what is secret
	archive  *archive.Archive
	gateway  *gateway.Gateway
	wires    *siem.Wires
	changes  *change.Changes // nil: it is a gateway
}

// openLog opens the evidence log, and takes no record yet.
func (h *house) openLog(k installation.Keys) (err error) {
	if err := h.data.WithLog(); err != nil {
		return err
	}
	h.log, err = ledger.Open(ledger.Options{
		Dir: h.data.Ledger(), Origin: h.origin, Key: k.Log, MLDSA: k.MLDSA, Tenant: h.tenant, Now: h.now, Synced: h.telemetry.Synced,
	})
	return err
}

// face refuses a clock that is behind the log, and asks the witnesses whether the log
// is the one that they know.
func (h *house) face(ctx context.Context) error {
	if err := h.checkClock(); err != nil {
		return err
	}
	return h.confront(ctx)
}

// checkClock refuses to start behind the log, where the guard would admit
// nothing, unless the operator says that the clock is right.
func (h *house) checkClock() error {
	last, ok := h.log.Last()
	behind := last.At.Sub(h.now())
	if !ok || h.acceptClock || behind <= tolerance {
		return nil
	}
	return &pavise.Error{
		Kind: pavise.Unavailable, Msg: fmt.Sprintf("the clock is %v behind the last record of the log", behind.Round(time.Second)),
		Hint: "correct the clock, or, if it is right now, start with " + h.command("--accept-clock") + ": the step is recorded",
	}
}

// openStore opens the state database.
func (h *house) openStore(ctx context.Context) (err error) {
	h.db, err = store.Open(ctx, h.data.Path("pavise.db"))
	return err
}

// openEvidence opens what stands around the log: those who follow it, the keys of
// those whose data it keeps, and the archive.
func (h *house) openEvidence(ctx context.Context, k installation.Keys) (err error) {
	if h.feeds, err = feed.Open(ctx, h.log, h.db, h.now); err != nil {
		return err
	}
	h.kek = k.KEK
	if h.subjects, err = subject.Open(ctx, h.db, k.KEK, h.now); err != nil {
		return err
	}
	h.tellLog()
	if err := h.heldAgainstDatabase(ctx); err != nil {
		return err
	}
	return h.openArchive(ctx)
}

// A plane is what the data plane of a machine has of its own.
type plane struct {
	keys      []config.ModelKey // of servers of language models
	tls       []config.ModelTLS
	detectors *config.Detectors
	vectors   *seal.Key // alters vectors of embeddings; nil: there is none
}

// options are those of TLS, by name.
func (p plane) options() map[string]upstream.TLS {
	named := map[string]upstream.TLS{}
	for _, t := range p.tls {
		named[t.Name] = upstream.TLS{CAFile: t.Authorities, CertFile: t.Certificate, KeyFile: t.Key, ServerName: t.ServerName}
	}
	return named
}

// openGateway opens the data plane.
func (h *house) openGateway(ctx context.Context, verifier *identity.Verifier, own plane) (err error) {
	h.gateway, err = gateway.New(ctx, gateway.Config{
		KeyFiles: config.KeyFiles(own.keys), TLS: own.options(), Detectors: detect.House(own.detectors.Bound()), Guard: h.guard, Verifier: verifier, Store: h.db, Log: h.log, Subjects: h.subjects, Now: h.now, Embeddings: own.vectors, Watch: h.telemetry, KEK: h.kek,
	})
	return err
}

// openWires opens where findings go, as the rest of cfg says.
func (h *house) openWires(ctx context.Context, k installation.Keys, cfg siem.Config) (err error) {
	cfg.Guard, cfg.Log, cfg.Feeds, cfg.Store, cfg.KEK, cfg.Now, cfg.Say = h.guard, h.log, h.feeds, h.db, k.KEK, h.now, h.say
	cfg.Version, cfg.Tenant = installation.Version(), h.tenant
	h.wires, err = siem.Open(ctx, cfg)
	return err
}

// told parts a file of findings from the standard output, which is printer.
func told(findings string, printer io.Writer) siem.Config {
	if findings == config.Print {
		return siem.Config{Printer: printer}
	}
	return siem.Config{File: findings}
}

// facts are what the rooms know of a thing and a policy may ask.
func (h *house) facts(name pavise.Name) policy.Facts {
	return policy.Facts{Quarantined: h.gateway != nil && h.gateway.Routes.Quarantined(name)}
}

// run keeps what every house has going, until ctx is done.
func (h *house) run(ctx context.Context, all *errgroup.Group) {
	all.Go(func() error { return h.guard.Run(ctx) })
	all.Go(func() error { return h.gateway.Run(ctx) })
	all.Go(func() error { return h.archive.Run(ctx) })
	all.Go(func() error { return h.wires.Run(ctx) })
	all.Go(func() error { h.followShreddings(ctx); return nil })
	all.Go(func() error { h.patrol(ctx); return nil })
	all.Go(func() error { h.watchLog(ctx); return nil })
	all.Go(func() error { h.telemetry.Run(ctx); return nil })
	if h.quorum != nil {
		all.Go(func() error { return h.quorum.Run(ctx) })
	}
}

// watchLog says why the log stopped, as soon as it does: from then on nothing is
// answered, and whoever sits before it would learn that from the callers.
func (h *house) watchLog(ctx context.Context) {
	_ = h.log.AwaitSigned(ctx, math.MaxUint64) // no log gets there: it stops, or ctx is done
	if err := h.log.Stopped(); err != nil {
		h.say("error", err)
	}
}

// close flushes the log and closes the store, in that order. The house may be one
// that was never finished.
func (h *house) close() error {
	var errs []error
	if h.health != nil {
		h.health.Close()
	}
	if h.log != nil {
		errs = append(errs, h.log.Close())
	}
	if h.db != nil {
		errs = append(errs, h.db.Close())
	}
	return errors.Join(errs...)
}

// stranger counts what a proxy asked that nobody could look at.
func (h *house) stranger(source, reason string) { h.guard.Refuse(source, reason) }

// firstRoute puts one of the models that an empty store begins with.
func (h *house) firstRoute(ctx context.Context, who pavise.Principal, r config.Route) error {
	name, err := r.Model(h.tenant)
	if err != nil || h.gateway.Routes.Has(name) {
		return err // or an earlier start came further than this
	}
	spec := route.Spec{
		Name: name.String(), Upstream: r.Upstream, Replicas: r.Replicas, Remote: r.Remote, Protocol: r.Protocol, TLS: r.TLS, Rate: r.Rate, Budget: r.Budget, Shape: r.Shape, Purpose: r.Purpose,
	}
	for _, file := range []struct {
		name string
		to   func([]byte)
	}{
		{r.ONNX, func(text []byte) { spec.ONNX = text }},
		{r.Signature, func(text []byte) { spec.Signature = text }},
	} {
		if file.name == "" {
			continue
		}
		text, err := os.ReadFile(file.name)
		if err != nil {
			return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("read %s, of %s: %v", file.name, name, err), Hint: "bootstrap.routes in pavise.yaml names it", Err: err}
		}
		file.to(text)
	}
	placed, err := h.gateway.Routes.Put(ctx, who, spec)
	if placed.Warning != "" && err == nil {
		h.say("warning", fmt.Errorf("%s: %s", name, placed.Warning))
	}
	if pavise.KindOf(err) == pavise.Unavailable && r.Upstream != "" {
		return &pavise.Error{
			Kind: pavise.Unavailable, Msg: fmt.Sprintf("the model server of %s at %s cannot be asked what the model takes: %v", r.Name, r.Upstream, err),
			Hint: "start it first, or correct upstream or remote under bootstrap.routes in pavise.yaml", Err: err,
		}
	}
	if e, ok := errors.AsType[*pavise.Error](err); ok && e.Kind == pavise.Invalid {
		return &pavise.Error{Kind: e.Kind, Msg: fmt.Sprintf("bootstrap.routes, %s: %s", r.Name, e.Msg), Hint: e.Hint + "; in pavise.yaml flags are fields: signature: FILE", Err: err}
	}
	return err
}

// refuse answers with what somebody may be told about an error.
func refuse(w http.ResponseWriter, err error) {
	msg, hint := gateway.Message(err)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(pavise.KindOf(err).HTTPStatus())
	_ = json.NewEncoder(w).Encode(map[string]string{"error": msg, "hint": hint}) // whoever went away reads nothing
}
