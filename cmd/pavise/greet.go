package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime/debug"
	"strings"
	"time"

	"github.com/pavise/pavise"
	threatdetector "github.com/pavise/pavise/examples/threat-detector"
	"github.com/pavise/pavise/internal/issuer"
)

// A greeting is what up tells a newcomer to do first.
type greeting struct {
	Server  string    `json:"server"`
	Began   string    `json:"began"`   // whether the log is new
	Ledger  string    `json:"ledger"`  // the log's directory
	Console string    `json:"console"` // a link that opens the console, once
	Model   string    `json:"model"`   // the sample model's name
	Token   string    `json:"token"`   // a caller's
	Expires time.Time `json:"expires"`
	Ask     string    `json:"ask"`    // a curl that is answered
	Refused string    `json:"refuse"` // and one that is refused
	Verify  string    `json:"verify"` // the command that verifies the log

	Witnesses []string `json:"witnesses,omitempty"` // names of those who are asked to cosign the log
	Archive   string   `json:"archive,omitempty"`   // where whole segments go

	data dataDir // whose commands print names
}

// greet opens the operator's access and says what to do first.
func (u *up) greet(ctx context.Context) (greeting, error) {
	if err := u.grantAccess(ctx); err != nil {
		return greeting{}, err
	}
	began := "a new log begins"
	if !u.fresh {
		began = fmt.Sprintf("the log goes on at record %d", u.log.Size())
	}
	g := greeting{
		Server: u.url(), Began: began, Ledger: u.cfg.Data.ledger(), Console: u.operatorLink(),
		Model: pavise.Name{Tenant: tenant, Kind: "model", ID: sample}.String(), Token: u.caller.Value, Expires: u.caller.Expires,
		Ask: u.curl(sampleRow(0)), Refused: u.curl(sampleRow(-1)), Verify: u.verifyCommand(), data: u.cfg.Data,
	}
	if u.cfg.Witnesses != nil {
		for _, w := range u.cfg.Witnesses.Witnesses {
			g.Witnesses = append(g.Witnesses, w.Name)
		}
	}
	if u.archive.Bucket != nil {
		g.Archive = u.archive.Bucket.Place().URL
	}
	return g, nil
}

// around says what else keeps or vouches for the log, if anything does.
func (g greeting) around() (lines string) {
	if len(g.Witnesses) > 0 {
		lines += fmt.Sprintf("  witness  %s: asked to cosign the log\n", strings.Join(g.Witnesses, ", "))
	}
	if g.Archive != "" {
		lines += fmt.Sprintf("  archive  %s: gets whole segments of the log\n", g.Archive)
	}
	return lines
}

func (g greeting) print(w io.Writer) {
	card := threatdetector.Card()
	fmt.Fprintf(w, `pavise is up on %s, and %s in %s

  console  %s
           good once, for ten minutes; "%s" prints another
  model    %s: five classes, %.1f %% of KDDTest+ right (examples/threat-detector/CARD.md)
%s
Ask the model about a normal connection:

%s
Be refused: a connection cannot last minus one second.

%s
Prove offline what was decided, now or when pavise is stopped:

  %s

The token is good until %s. "%s" gives another. Ctrl-C stops.
`,
		g.Server, g.Began, g.Ledger, g.Console, g.data.command("console link"), g.Model, 100*card.Metrics.Accuracy,
		g.around(), g.Ask, g.Refused, g.Verify, g.Expires.Local().Format("15:04"), g.data.command("issuer mint --subject me --role caller"))
}

// mintCaller gives out the first token, which up prints and the console shows.
func (u *up) mintCaller(ctx context.Context) (err error) {
	u.caller, err = u.issuer.Mint(ctx, u.operator, issuer.MintRequest{
		Subject: "demo", Kind: pavise.Workload, Roles: []string{issuer.RoleCaller}, TTL: issuer.MaxTTL,
	})
	return err
}

// curl is a command that asks the sample model about one row, as the first
// caller.
func (u *up) curl(body []byte) string {
	return fmt.Sprintf("curl -s %s/v2/models/%s/infer -H 'Content-Type: application/json' \\\n  -H 'Authorization: Bearer %s' \\\n  -w '\\n' -d '%s'\n",
		u.url(), sample, u.caller.Value, body)
}

// sampleRow is a request about one normal connection, its duration shifted by
// so many seconds.
func sampleRow(shift float32) []byte {
	row := threatdetector.Rows(rand.New(rand.NewPCG(1, 1)), threatdetector.Normal, 1)
	row.Data[0] += shift
	return sampleRequest(row.Data, 1)
}

// sampleRequest is the body of a request about rows of 41 numbers each.
func sampleRequest(data []float32, rows int) []byte {
	input := map[string]any{
		"name": threatdetector.Card().Input, "datatype": "FP32",
		"shape": []int{rows, len(data) / max(rows, 1)}, "data": data,
	}
	body, _ := json.Marshal(map[string]any{"inputs": []any{input}}) // cannot fail: finite numbers
	return body
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
	fmt.Fprintf(c.stdout, "%s\n", sampleRequest(rows.Data, e.Rows))
	return nil
}

// version is the module's version, or that of the source it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || strings.TrimPrefix(info.Main.Version, "(devel)") == "" {
		return "unreleased"
	}
	return info.Main.Version
}
