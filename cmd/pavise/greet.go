package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/pavise/pavise"
	threatdetector "github.com/pavise/pavise/examples/threat-detector"
	"github.com/pavise/pavise/internal/role"
	"github.com/pavise/pavise/internal/screen"
)

// around says what else keeps or vouches for the log, if anything does.
func around(g role.Greeting) (lines string) {
	if len(g.People) > 0 {
		lines += fmt.Sprintf("  people   %s: for whom --as speaks, as an operator too\n", strings.Join(g.People, ", "))
	}
	if len(g.Witnesses) > 0 {
		lines += fmt.Sprintf("  witness  %s: asked to cosign the log\n", strings.Join(g.Witnesses, ", "))
	}
	if g.Archive != "" {
		lines += fmt.Sprintf("  archive  %s: gets whole segments of the log\n", g.Archive)
	}
	return lines
}

func printGreeting(w io.Writer, g role.Greeting) {
	card := threatdetector.Card()
	own := ""
	for _, o := range g.Own {
		if o.Ask == "" && !o.Proxy {
			own += fmt.Sprintf("Ask %s, at %s, with a client of yours, such as tritonclient: its request is too long to type, or cannot be written as JSON.\n\n", o.Model, o.At)
			continue
		}
		if o.Ask == "" {
			own += fmt.Sprintf("Ask %s at your proxy's address, which asks Pavise about it: docs/envoy.md says how.\n\n", o.Model)
			continue
		}
		own += fmt.Sprintf("Ask %s, at %s, with values of your own:\n\n%s\n", o.Model, o.At, o.Ask)
	}
	if g.Ignored {
		own += "This installation began before: the models of the file were not looked at. pavise route put changes them.\n\n"
	}
	fmt.Fprintf(w, `pavise is up on %s, and %s in %s

  console  %s
           good once, for ten minutes; "%s" prints another
  model    %s: five classes, %.1f %% of KDDTest+ right (examples/threat-detector/CARD.md)
%s
%sAsk the sample model about a normal connection:

%s
Be refused: a connection cannot last minus one second.

%s
Prove offline what was decided, now or when pavise is stopped:

  %s

The token is good until %s. "%s" gives another. Ctrl-C stops.
`,
		g.Server, g.Began, g.Ledger, g.Console, g.Data.Command("console link"), g.Model, 100*card.Metrics.Accuracy,
		around(g), own, g.Ask, g.Refused, g.Verify, screen.At(g.Expires), g.Data.Command("issuer mint --subject me --role caller"))
}

// exampleCommand is pavise example.
type exampleCommand struct {
	Class string `default:"normal" enum:"normal,dos,probe,r2l,u2r" help:"What the connections should look like: normal, dos, probe, r2l or u2r."`
	Rows  int    `default:"1" help:"How many connections."`
	Seed  uint64 `help:"Draw the same connections again (default: by the clock)."`
}

// Help says what the rows are. It is kong's hook for a command's help.
func (*exampleCommand) Help() string {
	return `The connections are drawn by a generator of Pavise's own, in the likeness of the class. For example:

  pavise example --class dos --rows 3 | curl -s URL/v2/models/threat-detector/infer \
    -H 'Content-Type: application/json' -H "Authorization: Bearer $TOKEN" -d @-`
}

func (e *exampleCommand) run(_ context.Context, c *cli) error {
	if e.Rows < 1 || e.Rows > 4096 {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%d rows cannot be drawn", e.Rows), Hint: "ask for 1 to 4096"}
	}
	if e.Seed == 0 {
		e.Seed = uint64(time.Now().UnixNano())
	}
	class := threatdetector.Normal
	for i, name := range threatdetector.Classes() {
		if name == e.Class {
			class = threatdetector.Class(i)
		}
	}
	rows := threatdetector.Rows(rand.New(rand.NewPCG(e.Seed, 1)), class, e.Rows)
	fmt.Fprintf(c.stdout, "%s\n", role.SampleRequest(rows.Data, e.Rows))
	return nil
}
