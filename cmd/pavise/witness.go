package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pavise/pavise/internal/role"
	"github.com/pavise/pavise/internal/screen"
)

// witnessCommand is pavise witness serve.
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
	house, err := role.NewWitness(ctx, role.WitnessConfig{Data: c.Data, Listen: w.Listen, Name: w.Name, Logs: w.Log, Now: time.Now})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, house.Close()) }()
	if err := greetWitness(ctx, c, house); err != nil {
		return err
	}
	return house.Run(ctx)
}

// greetWitness says what to tell the logs.
func greetWitness(ctx context.Context, c *cli, w *role.Witness) error {
	logs, err := w.Logs(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return c.printJSON(map[string]any{"url": w.URL(), "keys": w.Keys(), "logs": logs})
	}
	fmt.Fprintf(c.stdout, "the witness %s answers on %s and watches %s\n\nFor their policies:\n\n", w.Name(), w.URL(), screen.Count(len(logs), "log"))
	screen.Policy(c.stdout, w.Keys(), w.URL())
	fmt.Fprint(c.stdout, "\nCtrl-C stops.\n")
	return nil
}
