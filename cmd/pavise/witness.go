package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/witness"
)

// witnessCommand is pavise witness serve: a role of its own. It has no log, so it
// records nothing but its state; what it says, it signs.
type witnessCommand struct {
	Listen string   `help:"Address to listen on." default:"127.0.0.1:8471" placeholder:"HOST:PORT"`
	Log    []string `help:"Watch the log with this verifier key; may be repeated, and is remembered." placeholder:"KEY"`
	Name   string   `help:"The witness's name in its keys: a domain and path of yours (default: made of its key)." placeholder:"NAME"`
}

// Help says how a log and its witness find each other. It is kong's hook for a
// command's help.
func (*witnessCommand) Help() string {
	return `Give it the keys that pavise ledger status prints on the other machine, and put the lines it prints
into a policy file there: pavise up --witnesses FILE. Where it has its own data directory and machine
it is independent of the logs it watches; there is no other way to be.`
}

func (w *witnessCommand) run(ctx context.Context, c *cli) (err error) {
	keys, err := c.Data.open()
	if err != nil {
		return err
	}
	if w.Name == "" {
		w.Name = "pavise.local/" + keys.install + "/witness"
	}
	signers, err := cosigners(w.Name, keys)
	if err != nil {
		return err
	}
	db, err := store.Open(ctx, c.Data.path("witness.db"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	server, err := witness.Open(ctx, witness.Config{Signers: signers, Store: db, Now: time.Now})
	if err != nil {
		return err
	}
	if err := w.trust(ctx, server); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", w.Listen)
	if err != nil {
		return &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("the witness cannot listen on %s: %v", w.Listen, err), Hint: "choose another address with --listen", Err: err}
	}
	if err := w.greet(ctx, c, server, listener.Addr()); err != nil {
		return errors.Join(err, listener.Close())
	}
	return serveUntil(ctx, &http.Server{
		Handler: server.Handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
	}, listener)
}

// trust watches the logs that were named.
func (w *witnessCommand) trust(ctx context.Context, server *witness.Server) error {
	for _, text := range w.Log {
		key, err := proof.ParseKey(text)
		if err != nil {
			return err
		}
		if err := server.Trust(ctx, key); err != nil {
			return err
		}
	}
	return nil
}

// greet says what to tell the logs.
func (w *witnessCommand) greet(ctx context.Context, c *cli, server *witness.Server, addr net.Addr) error {
	logs, err := server.Logs(ctx)
	if err != nil {
		return err
	}
	url := "http://" + addr.String()
	if c.JSON {
		return c.printJSON(map[string]any{"url": url, "keys": keyTexts(server), "logs": logs})
	}
	fmt.Fprintf(c.stdout, "the witness %s answers on %s and watches %s\n\nFor their policies:\n\n", w.Name, url, count(len(logs), "log"))
	printPolicy(c.stdout, keyTexts(server), url)
	fmt.Fprint(c.stdout, "\nCtrl-C stops.\n")
	return nil
}

func keyTexts(server *witness.Server) []string {
	var texts []string
	for _, key := range server.Keys() {
		texts = append(texts, key.String())
	}
	return texts
}

// serveUntil serves until ctx is done, then lets requests under way end.
func serveUntil(ctx context.Context, server *http.Server, listener net.Listener) error {
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainWithin)
		defer cancel()
		err := server.Shutdown(drain)
		if errors.Is(err, context.DeadlineExceeded) {
			err = server.Close()
		}
		return err
	}
}
