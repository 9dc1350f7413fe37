package role

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/installation"
	"github.com/pavise/pavise/internal/premises"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/server"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/witness"
)

// WitnessConfig says what a witness that runs alone is to be.
type WitnessConfig struct {
	Data   installation.Data
	Listen string   // host:port
	Name   string   // in its keys: a domain and path; empty: made of its log key
	Logs   []string // verifier keys of logs to watch, beside those it knows already
	Now    func() time.Time
}

// A Witness is the role that cosigns other logs' checkpoints, and does nothing
// else. It has no log, so it records nothing but its state; what it says, it
// signs.
type Witness struct {
	name     string
	db       *store.DB
	server   *witness.Server
	listener net.Listener
}

// NewWitness opens a witness. What it opened is closed again when something fails.
func NewWitness(ctx context.Context, cfg WitnessConfig) (w *Witness, err error) {
	w = &Witness{name: cfg.Name}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Close())
		}
	}()
	keys, err := cfg.Data.Open()
	if err != nil {
		return w, err
	}
	if w.name == "" {
		w.name = "pavise.local/" + keys.Install + "/witness"
	}
	signers, err := premises.Cosigners(w.name, keys)
	if err != nil {
		return w, err
	}
	if w.db, err = store.Open(ctx, cfg.Data.Path("witness.db")); err != nil {
		return w, err
	}
	if w.server, err = witness.Open(ctx, witness.Config{Signers: signers, Store: w.db, Now: cfg.Now}); err != nil {
		return w, err
	}
	if err := w.trust(ctx, cfg.Logs); err != nil {
		return w, err
	}
	if w.listener, err = net.Listen("tcp", cfg.Listen); err != nil {
		return w, &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("the witness cannot listen on %s: %v", cfg.Listen, err), Hint: "choose another address with --listen", Err: err}
	}
	return w, nil
}

// trust watches the logs that were named.
func (w *Witness) trust(ctx context.Context, logs []string) error {
	for _, text := range logs {
		key, err := proof.ParseKey(text)
		if err != nil {
			return err
		}
		if err := w.server.Trust(ctx, key); err != nil {
			return err
		}
	}
	return nil
}

// Name is the witness's name in its keys.
func (w *Witness) Name() string { return w.name }

// URL is where it answers.
func (w *Witness) URL() string { return "http://" + w.listener.Addr().String() }

// Keys are its verifier keys, the one that lasts longest first.
func (w *Witness) Keys() []string {
	var texts []string
	for _, key := range w.server.Keys() {
		texts = append(texts, key.String())
	}
	return texts
}

// Logs are the logs that it watches.
func (w *Witness) Logs(ctx context.Context) ([]witness.Log, error) { return w.server.Logs(ctx) }

// Run serves until ctx is done, then stops accepting and lets requests under way
// end. Close comes after it.
func (w *Witness) Run(ctx context.Context) error {
	return server.Until(ctx, server.Plain(&http.Server{
		Handler: w.server.Handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
	}), w.listener)
}

// Close stops listening and closes the store. It may be called on a witness that
// was never finished.
func (w *Witness) Close() (err error) {
	if w.listener != nil {
		w.listener.Close()
	}
	if w.db != nil {
		err = w.db.Close()
	}
	return err
}
