package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pavise/pavise/internal/audit"
	"github.com/pavise/pavise/internal/feed"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/witness"
)

// quantum is the seed of the ML-DSA-44 key that signs published checkpoints.
var quantum = bytes.Repeat([]byte{44}, 32)

// An everything is the evidence log with all that stands around it in an
// installation: a second, post-quantum signature, a witness that is asked over HTTP
// and writes down what it has seen, and a follower whose cursor is durable. They run
// in this process, on the same two cores: elsewhere the witness would cost nothing
// here.
type everything struct {
	paviseSession
	proofs  bool   // an entry is done when a file that proves it is in hand
	follows string // the room whose records are followed
	witness *httptest.Server
	quorum  *witness.Quorum
	stores  []*store.DB
	stop    context.CancelFunc
	running sync.WaitGroup

	followed atomic.Uint64          // records that the follower has seen
	last     atomic.Pointer[[]byte] // the newest proof file
}

// rare is a room of which there is one record, which is appended at the end.
const rare = "change"

func openEverything(ctx context.Context, dir string, l *load) (session, error) {
	return newEverything(ctx, dir, &everything{paviseSession: paviseSession{load: l}, follows: rare})
}

func openFollowed(ctx context.Context, dir string, l *load) (session, error) {
	return newEverything(ctx, dir, &everything{paviseSession: paviseSession{load: l}, follows: "model"})
}

func openProofs(ctx context.Context, dir string, l *load) (session, error) {
	return newEverything(ctx, dir, &everything{paviseSession: paviseSession{load: l}, follows: rare, proofs: true})
}

// signedTwice are the options of a log that signs with two keys.
func signedTwice(dir string) ledger.Options {
	o := options(dir)
	o.MLDSA = quantum
	return o
}

func newEverything(ctx context.Context, dir string, e *everything) (_ *everything, err error) {
	if e.Log, err = ledger.Open(signedTwice(dir)); err != nil {
		return nil, err
	}
	ctx, e.stop = context.WithCancel(context.WithoutCancel(ctx))
	for _, start := range []func(context.Context, string) error{e.watch, e.follow} {
		if err := start(ctx, dir); err != nil {
			return nil, errors.Join(err, e.Close())
		}
	}
	return e, nil
}

// watch has a witness cosign the log.
func (e *everything) watch(ctx context.Context, dir string) error {
	db, err := e.store(ctx, dir+".witness.db")
	if err != nil {
		return err
	}
	cosigner, err := proof.NewCosigner("bench.pavise.example/witness", ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32)))
	if err != nil {
		return err
	}
	server, err := witness.Open(ctx, witness.Config{Signers: []*proof.Signer{cosigner}, Store: db, Now: time.Now})
	if err != nil {
		return err
	}
	if err := server.Trust(ctx, e.Keys()[0]); err != nil {
		return err
	}
	e.witness = httptest.NewServer(server.Handler())
	policy, err := proof.ParsePolicy(fmt.Appendf(nil, "witness w %s %s\nquorum w\n", cosigner.Key(), e.witness.URL))
	if err != nil {
		return err
	}
	if e.quorum, err = witness.NewQuorum(e.Log, policy, time.Now, nil); err != nil {
		return err
	}
	e.running.Go(func() { e.quorum.Run(ctx) })
	return nil
}

// follow has somebody follow the log, under a name.
func (e *everything) follow(ctx context.Context, dir string) error {
	db, err := e.store(ctx, dir+".feed.db")
	if err != nil {
		return err
	}
	feeds, err := feed.Open(ctx, e.Log, db, time.Now)
	if err != nil {
		return err
	}
	filter := ledger.Filter{Tenant: "bench", Kinds: []string{e.follows}}
	e.running.Go(func() {
		feeds.Follow(ctx, "bench", "siem", filter, func(context.Context, *store.Tx, ledger.Found) error {
			e.followed.Add(1)
			return nil
		})
	})
	return nil
}

func (e *everything) store(ctx context.Context, path string) (*store.DB, error) {
	db, err := store.Open(ctx, path)
	if err == nil {
		e.stores = append(e.stores, db)
	}
	return db, err
}

func (e *everything) Append(ctx context.Context, producer int) error {
	receipt, err := e.Log.Append(ctx, e.load.records[producer], ledger.Durable)
	if err != nil || !e.proofs {
		return err
	}
	file, err := e.ProofFile(receipt.Index)
	e.last.Store(&file)
	return err
}

// Close stops all. What ran beside the log must have worked: a follower that saw
// nothing, a witness that cosigned nothing or a proof that proves nothing is an error.
func (e *everything) Close() error {
	var errs []error
	if e.proofs {
		report, err := audit.VerifyProof(*e.last.Load(), audit.Options{Key: e.Keys()[0].String()})
		if err == nil && !report.Known {
			err = fmt.Errorf("a proof file: %s", report.Conclusion)
		}
		errs = append(errs, err)
	}
	if e.quorum != nil {
		wait, cancel := context.WithTimeout(context.Background(), 15*time.Second)
		defer cancel()
		errs = append(errs, e.quorum.Await(wait, e.Size()-1))
	}
	errs = append(errs, e.awaitFollower())
	e.stop()
	e.running.Wait()
	if e.witness != nil {
		e.witness.Close()
	}
	errs = append(errs, e.Log.Close())
	for _, db := range e.stores {
		errs = append(errs, db.Close())
	}
	return errors.Join(errs...)
}

// awaitFollower makes sure that the follower works.
func (e *everything) awaitFollower() error {
	last := *e.load.records[0]
	last.Kind = rare + ".list"
	if _, err := e.Log.Append(context.Background(), &last, ledger.Durable); err != nil {
		return err
	}
	for range 100 {
		if e.followed.Load() > 0 {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return errors.New("the follower has seen nothing")
}

// around says what ran beside the log.
func around() string {
	return strings.TrimSpace(`
**pavise** is the log with everything on: the search index, an ML-DSA-44 signature
beside Ed25519, a witness asked over HTTP, and a follower with a durable cursor who
waits for a rare kind, all in the same process. In **pavise-followed** the follower
takes every record, as fast as they come. **pavise-log** is the log alone. **pavise-proof** is pavise, and
an entry is done when its proof file is in hand, which its log's key alone verifies.`)
}
