package role

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/pavise/pavise"
	threatdetector "github.com/pavise/pavise/examples/threat-detector"
	"github.com/pavise/pavise/internal/installation"
	"github.com/pavise/pavise/internal/issuer"
)

// A Greeting is what up tells a newcomer to do first.
type Greeting struct {
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

	People    []string `json:"people,omitempty"`    // other people of this machine, operators all
	Witnesses []string `json:"witnesses,omitempty"` // names of those who are asked to cosign the log
	Archive   string   `json:"archive,omitempty"`   // where whole segments go

	Data installation.Data `json:"-"` // whose commands print names
}

// Greet opens the operator's access and says what to do first.
func (u *Up) Greet(ctx context.Context) (Greeting, error) {
	if err := u.grantAccess(ctx); err != nil {
		return Greeting{}, err
	}
	began := "a new log begins"
	if !u.fresh {
		began = fmt.Sprintf("the log goes on at record %d", u.log.Size())
	}
	g := Greeting{
		Server: u.url(), Began: began, Ledger: u.data.Ledger(), Console: u.operatorLink(),
		Model: pavise.Name{Tenant: Tenant, Kind: "model", ID: Sample}.String(), Token: u.caller.Value, Expires: u.caller.Expires,
		Ask: u.curl(SampleRow(0)), Refused: u.curl(SampleRow(-1)), Verify: u.verifyCommand(), People: u.cfg.People, Data: u.cfg.Data,
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

// mintCaller gives out the first token, which up prints and the console shows.
func (u *Up) mintCaller(ctx context.Context) (err error) {
	u.caller, err = u.issuer.Mint(ctx, u.operator, issuer.MintRequest{
		Subject: "demo", Kind: pavise.Workload, Roles: []string{issuer.RoleCaller}, TTL: issuer.MaxTTL,
	})
	return err
}

// curl is a command that asks the sample model about one row, as the first
// caller.
func (u *Up) curl(body []byte) string {
	return fmt.Sprintf("curl -s %s/v2/models/%s/infer -H 'Content-Type: application/json' \\\n  -H 'Authorization: Bearer %s' \\\n  -w '\\n' -d '%s'\n",
		u.url(), Sample, u.caller.Value, body)
}

// SampleRow is a request about one normal connection, its duration shifted by
// so many seconds.
func SampleRow(shift float32) []byte {
	row := threatdetector.Rows(rand.New(rand.NewPCG(1, 1)), threatdetector.Normal, 1)
	row.Data[0] += shift
	return SampleRequest(row.Data, 1)
}

// SampleRequest is the body of a request about rows of 41 numbers each.
func SampleRequest(data []float32, rows int) []byte {
	input := map[string]any{
		"name": threatdetector.Card().Input, "datatype": "FP32",
		"shape": []int{rows, len(data) / max(rows, 1)}, "data": data,
	}
	body, _ := json.Marshal(map[string]any{"inputs": []any{input}}) // cannot fail: finite numbers
	return body
}
