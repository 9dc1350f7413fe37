package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
	"k8s.io/klog/v2"

	"github.com/pavise/pavise/internal/ledger"
)

const (
	maxProducers = 256
	origin       = "bench.pavise.example/log"
)

// logKey signs the evidence logs of this run.
var logKey = ed25519.NewKeyFromSeed([]byte("a seed of the bench, no secret!!"))

// An engine is something that keeps entries.
type engine struct {
	name      string
	producers int
	log       func(dir string) ledger.Options // its directory is this evidence log, checked afterwards; nil: it is none
	open      func(ctx context.Context, dir string, l *load) (session, error)
}

// A session is an engine that has been started on an empty directory.
type session interface {
	// Append returns when the producer's entry is durable. Producers call it
	// at the same time.
	Append(ctx context.Context, producer int) error
	Close() error
}

// The names by which results are compared.
const (
	paviseAll    = "pavise"
	paviseProof  = "pavise-proof"
	paviseFollow = "pavise-followed"
	paviseLog    = "pavise-log"
	pavise1      = "pavise-1"
	tesseraAdd   = "tessera"
	tesseraAwait = "tessera-await"
	postgresql   = "postgresql"
)

// engines returns those that this machine can run, and a line for each that it
// cannot.
func engines(ctx context.Context, work string) (all []engine, skipped []string, err error) {
	if err := quietKlog(); err != nil {
		return nil, nil, err
	}
	all = []engine{
		{paviseAll, maxProducers, signedTwice, openEverything},
		{paviseProof, maxProducers, signedTwice, openProofs},
		{paviseFollow, maxProducers, signedTwice, openFollowed},
		{paviseLog, maxProducers, options, openPavise},
		{tesseraAdd, maxProducers, nil, openTessera},
		{tesseraAwait, maxProducers, nil, openTesseraAwait},
		{pavise1, 1, options, openPavise},
	}
	cluster, err := newCluster(ctx, work)
	if missing, ok := errors.AsType[*missingError](err); ok {
		return all, []string{"PostgreSQL is skipped: " + missing.Error()}, nil
	}
	if err != nil {
		return nil, nil, err
	}
	return append(all, engine{postgresql, connections, nil, cluster.open}), nil, nil
}

// quietKlog keeps tessera's log lines out of the output.
func quietKlog() error {
	flags := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(flags)
	klog.SetOutput(io.Discard)
	return errors.Join(flags.Set("logtostderr", "false"), flags.Set("stderrthreshold", "FATAL"))
}

// A paviseSession is the evidence log.
type paviseSession struct {
	*ledger.Log
	load *load
}

// options are those of the log alone.
func options(dir string) ledger.Options {
	return ledger.Options{Dir: dir, Origin: origin, Key: logKey, Tenant: "bench"}
}

func openPavise(_ context.Context, dir string, l *load) (session, error) {
	log, err := ledger.Open(options(dir))
	if err != nil {
		return nil, err
	}
	return paviseSession{log, l}, nil
}

func (s paviseSession) Append(ctx context.Context, producer int) error {
	_, err := s.Log.Append(ctx, s.load.records[producer], ledger.Durable)
	return err
}

// A tesseraSession is tessera's POSIX driver. Its batches are as small and as
// young as suits 256 producers, and its checkpoints as frequent as it allows.
type tesseraSession struct {
	appender *tessera.Appender
	awaiter  *tessera.PublicationAwaiter // nil: an entry is done when sequenced
	load     *load
	stop     func() error
}

const (
	batchSize       = 256
	batchAge        = 10 * time.Millisecond
	checkpointEvery = 100 * time.Millisecond // the least that tessera's POSIX driver takes
	awaitPoll       = 5 * time.Millisecond
)

func openTessera(ctx context.Context, dir string, l *load) (session, error) {
	return newTesseraSession(ctx, dir, l, false)
}

func openTesseraAwait(ctx context.Context, dir string, l *load) (session, error) {
	return newTesseraSession(ctx, dir, l, true)
}

func newTesseraSession(ctx context.Context, dir string, l *load, await bool) (session, error) {
	secret, _, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		return nil, err
	}
	signer, err := note.NewSigner(secret)
	if err != nil {
		return nil, err
	}
	driver, err := posix.New(ctx, posix.Config{Path: dir})
	if err != nil {
		return nil, err
	}
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	appender, shutdown, reader, err := tessera.NewAppender(background, driver, tessera.NewAppendOptions().
		WithCheckpointSigner(signer).WithBatching(batchSize, batchAge).WithCheckpointInterval(checkpointEvery))
	if err != nil {
		cancel()
		return nil, fmt.Errorf("start tessera: %w", err)
	}
	s := &tesseraSession{appender: appender, load: l}
	s.stop = func() error {
		defer cancel()
		return shutdown(background)
	}
	if await {
		s.awaiter = tessera.NewPublicationAwaiter(background, reader.ReadCheckpoint, awaitPoll)
	}
	return s, nil
}

func (s *tesseraSession) Append(ctx context.Context, producer int) error {
	future := s.appender.Add(ctx, tessera.NewEntry(s.load.entries[producer]))
	if s.awaiter == nil {
		_, err := future()
		return err
	}
	_, _, err := s.awaiter.Await(ctx, future)
	return err
}

func (s *tesseraSession) Close() error { return s.stop() }
