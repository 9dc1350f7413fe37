package openlineage

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/disk/disktest"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/lineage"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/store"
)

// testKey is a log key that guards nothing.
var testKey = ed25519.NewKeyFromSeed([]byte("pavise lineage test key, of 32 b"))

// A world is a log with a guard before it, and the claims behind that.
type world struct {
	*Claims
	log   *ledger.Log
	fails *failing
	cfg   Config

	mu  sync.Mutex // guards what follows
	now time.Time
}

// failing is a log that does not write the next endings.
type failing struct {
	*ledger.Log
	mu   sync.Mutex // guards what follows
	fail int        // so many endings
}

func (f *failing) Append(ctx context.Context, r *record.Record, how ledger.Durability) (ledger.Receipt, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail > 0 && r.Phase == record.Exit {
		f.fail--
		return ledger.Receipt{}, errors.New("the disk went away")
	}
	return f.Log.Append(ctx, r, how)
}

func newWorld(t *testing.T, change ...func(*Config)) *world {
	t.Helper()
	w := &world{now: time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	w.log, err = ledger.Open(ledger.Options{Disk: disktest.New(), Origin: "example.test/log", Key: testKey, Tenant: "local"})
	must(err)
	t.Cleanup(func() { w.log.Close() })
	db, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "db"))
	must(err)
	t.Cleanup(func() { db.Close() })
	w.fails = &failing{Log: w.log}
	all := []guard.Action{{Verb: VerbEmit, On: []string{KindLineage}}}
	for _, verb := range []string{VerbLineage, VerbExposed} {
		all = append(all, guard.Action{Verb: verb, On: []string{KindLineage}, Class: guard.Pooled})
	}
	g, err := guard.New(guard.Config{Actions: all, Log: w.fails})
	must(err)
	for _, tenant := range []string{"local", "acme"} {
		must(g.Load(tenant, map[string]string{
			"tell": `permit (principal in Role::"teller", action == Action::"lineage.emit", resource is Lineage);`,
			"ask":  `permit (principal in Role::"analyst", action in [Action::"dataset.lineage", Action::"dataset.exposed"], resource is Lineage);`,
		}))
	}
	w.cfg = Config{Guard: g, Store: db, Now: w.clock}
	for _, c := range change {
		c(&w.cfg)
	}
	w.open(t)
	return w
}

// open opens the claims anew, as the next process does.
func (w *world) open(t *testing.T) {
	t.Helper()
	var err error
	if w.Claims, err = Open(t.Context(), w.cfg); err != nil {
		t.Fatal(err)
	}
}

// clock moves on by a millisecond with each look.
func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(time.Millisecond)
	return w.now
}

func (w *world) wait(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func teller(id string) pavise.Principal {
	return pavise.Principal{Tenant: "local", Kind: pavise.Workload, ID: id, Roles: []string{"teller"}, Proof: "test"}
}

var (
	airflow = teller("airflow")
	analyst = pavise.Principal{Tenant: "local", Kind: pavise.Human, ID: "ann", Roles: []string{"analyst"}, Proof: "test"}
)

var aRoot, bRoot = strings.Repeat("a", 64), strings.Repeat("b", 64)

// ran is an event of run n. A dataset is its name, or its name and a root.
func ran(n int, kind string, reads, writes []string) json.RawMessage {
	return ranAt(n, kind, "2026-11-27T10:00:00Z", reads, writes)
}

func ranAt(n int, kind, at string, reads, writes []string) json.RawMessage {
	of := func(names []string) string {
		var all []string
		for _, name := range names {
			name, root, sealed := strings.Cut(name, " ")
			facets := ""
			if sealed {
				facets = fmt.Sprintf(`,"facets":{"pavise_seal":{"_producer":"p","_schemaURL":"s","root":%q}}`, root)
			}
			all = append(all, fmt.Sprintf(`{"namespace":"lake","name":%q%s}`, name, facets))
		}
		return "[" + strings.Join(all, ",") + "]"
	}
	return json.RawMessage(fmt.Sprintf(`{"eventType":%q,"eventTime":%q,"producer":"p","schemaURL":"s","run":{"runId":%q},"job":{"namespace":"jobs","name":"job%d"},"inputs":%s,"outputs":%s}`,
		kind, at, runID(n), n, of(reads), of(writes)))
}

func runID(n int) string { return fmt.Sprintf("6f1c0000-0000-4000-8000-%012d", n) }

// emit tells of events, all of which are to be taken.
func (w *world) emit(t *testing.T, who pavise.Principal, events ...json.RawMessage) Emitted {
	t.Helper()
	done, err := w.Emit(t.Context(), who, events)
	if err != nil || len(done.Failed) > 0 {
		t.Fatalf("%+v, %v", done, err)
	}
	return done
}

func (w *world) lineage(t *testing.T, named string, seals ...lineage.Named) *lineage.Traced {
	t.Helper()
	traced, err := w.Lineage(t.Context(), analyst, lineage.Question{Dataset: named, Seals: seals})
	if err != nil {
		t.Fatal(err)
	}
	return traced
}

// room is how much is counted as kept.
func (w *world) room(t *testing.T) (events, bytes, uses int64) {
	t.Helper()
	err := w.cfg.Store.View(t.Context(), func(tx *store.Tx) error {
		return tx.QueryRow(`SELECT sum(events), sum(bytes), sum(uses) FROM openlineage_tellers`).Scan(&events, &bytes, &uses)
	})
	if err != nil {
		t.Fatal(err)
	}
	return events, bytes, uses
}

// notes are the notes of a kind in the log.
func (w *world) notes(kind string) (all []record.Record) {
	for _, r := range w.log.Records(0, w.log.Size()) {
		if r.Kind == kind && r.Phase == record.Note {
			all = append(all, r)
		}
	}
	return all
}

// kept are the seals of a test.
type kept struct {
	seals    []lineage.Seal
	holdings []lineage.Holding
	err      error
}

func (k *kept) Seals(context.Context, string) ([]lineage.Seal, error) { return k.seals, k.err }

func (k *kept) Holdings(context.Context, string, [32]byte) ([]lineage.Holding, error) {
	return k.holdings, k.err
}

func with(k *kept) func(*Config) { return func(c *Config) { c.Seals = k } }
