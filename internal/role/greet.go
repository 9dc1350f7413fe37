package role

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/pavise/pavise"
	threatdetector "github.com/pavise/pavise/examples/threat-detector"
	"github.com/pavise/pavise/internal/infer"
	"github.com/pavise/pavise/internal/installation"
	"github.com/pavise/pavise/internal/issuer"
	"github.com/pavise/pavise/internal/tensor"
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
	Ask     string    `json:"ask"`               // a curl that is answered
	Refused string    `json:"refuse"`            // and one that is refused
	Verify  string    `json:"verify"`            // the command that verifies the log
	Own     []Own     `json:"own,omitempty"`     // the models that it was told to begin with
	Ignored bool      `json:"ignored,omitempty"` // it began before, and they were not looked at

	People    []string `json:"people,omitempty"`    // other people of this machine, operators all
	Witnesses []string `json:"witnesses,omitempty"` // names of those who are asked to cosign the log
	Archive   string   `json:"archive,omitempty"`   // where whole segments go

	Data installation.Data `json:"-"` // whose commands print names
}

// An Own is a model that somebody began with.
type Own struct {
	Model string `json:"model"`
	At    string `json:"at"`  // where it runs
	Ask   string `json:"ask"` // a curl with a request of its form; empty: there is none in JSON, or it is asked through a proxy
	Proxy bool   `json:"proxy,omitzero"`
}

// own says how the models that it was told to begin with are asked.
func (u *Up) own() (list []Own) {
	for _, r := range u.cfg.Routes {
		name, _ := r.Model(Tenant) // it has been checked
		route, ok := u.Gateway.Routes.Get(name)
		if !ok {
			continue // it was deleted since
		}
		o := Own{Model: name.String(), At: cmp.Or(route.Upstream, r.ONNX)}
		if route.Upstream == infer.External {
			o.At, o.Proxy = "a server behind a proxy", true
		} else if route.Protocol == tensor.NameOpenAI {
			o.Ask = u.post("/v1/chat/completions", fmt.Appendf(nil, `{"model":%q,"messages":[{"role":"user","content":"Hello"}]}`, name.ID))
		} else if body, err := exampleRequest(route.Signature).AppendJSON(nil); err == nil {
			o.Ask = u.curl(name.ID, body)
		}
		list = append(list, o)
	}
	return list
}

// exampleRequest is a request of the form that a signature asks for: one row of zeros.
func exampleRequest(s tensor.Signature) *tensor.Request {
	r := &tensor.Request{}
	for _, p := range s.Inputs {
		t := tensor.Tensor{Name: p.Name, Datatype: p.Datatype}
		n := 1
		for _, dim := range p.Shape {
			dim = max(dim, 1)
			t.Shape, n = append(t.Shape, dim), n*int(dim)
		}
		if n > maxExample {
			n, t.Shape = 0, nil // nobody types so much
		}
		switch p.Datatype.Family() {
		case tensor.Boolean:
			t.Data.Bools = make([]bool, n)
		case tensor.Unsigned:
			t.Data.Uints = make([]uint64, n)
		case tensor.Signed:
			t.Data.Ints = make([]int64, n)
		case tensor.Floating:
			t.Data.Floats = make([]float64, n)
		case tensor.Octets:
			t.Data.Bytes = slices.Repeat([][]byte{[]byte("text")}, n)
		}
		r.Inputs = append(r.Inputs, t)
	}
	return r
}

// maxExample bounds the elements of a request that is printed to be pasted.
const maxExample = 4096

// Greet opens the operator's access and says what to do first.
func (u *Up) Greet(ctx context.Context) (Greeting, error) {
	if err := u.grantAccess(ctx); err != nil {
		return Greeting{}, err
	}
	began := "a new log begins"
	if !u.fresh {
		began = fmt.Sprintf("the log goes on at record %d", u.Log.Size())
	}
	g := Greeting{
		Server: u.url(), Began: began, Ledger: u.Data.Ledger(), Console: u.operatorLink(),
		Model: pavise.Name{Tenant: Tenant, Kind: "model", ID: Sample}.String(), Token: u.caller.Value, Expires: u.caller.Expires,
		Ask: u.curl(Sample, SampleRow(0)), Refused: u.curl(Sample, SampleRow(-1)), Verify: u.verifyCommand(), People: u.cfg.People, Data: u.cfg.Data,
		Own: u.own(), Ignored: len(u.cfg.Routes) > 0 && !u.fresh,
	}
	if u.cfg.Witnesses != nil {
		for _, w := range u.cfg.Witnesses.Witnesses {
			g.Witnesses = append(g.Witnesses, w.Name)
		}
	}
	if u.Archive.Bucket != nil {
		g.Archive = u.Archive.Bucket.Place().URL
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

// curl is a command that asks a model of tensors, as the first caller.
func (u *Up) curl(model string, body []byte) string {
	return u.post("/v2/models/"+model+"/infer", body)
}

// post is a curl that posts JSON as the first caller.
func (u *Up) post(path string, body []byte) string {
	return fmt.Sprintf("curl -s %s%s -H 'Content-Type: application/json' \\\n  -H 'Authorization: Bearer %s' \\\n  -w '\\n' -d '%s'\n",
		u.url(), path, u.caller.Value, body)
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
