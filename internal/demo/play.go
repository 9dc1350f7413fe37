package demo

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/pavise/pavise"
	threatdetector "github.com/pavise/pavise/examples/threat-detector"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/evidence"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/verbs"
)

// Config says where a play is given, and how. Rows, Speed, Seed and Tell may be left
// out.
type Config struct {
	Server   string                    // the base URL
	Operator func() (string, error)    // a good token of the person who started the server
	Ledger   string                    // the log's directory
	Key      string                    // the fingerprint of its key, as an auditor knows it
	Command  func(words string) string // makes a command that can be pasted
	Verify   string                    // the command that verifies the log
	Now      func() time.Time          // the clock
	Rows     *Rows                     // what clients ask about; nil: drawn by the sample generator
	Speed    float64                   // how many times faster than a minute; 0: 1
	Seed     uint64                    // of what is drawn
	Tell     func(Act)                 // is told each act as it happens
}

const (
	// callWithin is how long a request of the cast may take.
	callWithin = 15 * time.Second
	// settleWithin is how long a record is waited for that is written a moment later.
	settleWithin = 6 * time.Second
)

// The model that the cast asks, and the terms on which it may.
const (
	model  = "demo-detector"
	rate   = "6000/1m burst 300"
	budget = "500/24h"
)

// A play is being given. Its goroutine owns it; the clients have one each.
type play struct {
	cfg    Config
	stage  *Stage
	http   *http.Client
	began  time.Time
	run    string // tells the cast of this play from that of an earlier one
	scene  string
	odd    int // acts that went otherwise than they should have
	shown  []uint64
	crowd  *crowd
	tenant string
	me     string // the operator's name, kind/id
}

// Play gives the play on a stage: it returns when it is over, or with the context's error
// when that ends before. The error says that the server is away, or how many acts went
// otherwise than they should have.
func (s *Stage) Play(ctx context.Context, cfg Config) error {
	defer s.close()
	if cfg.Speed <= 0 {
		cfg.Speed = 1
	}
	if cfg.Rows == nil {
		cfg.Rows = drawn(cfg.Seed)
	}
	if cfg.Tell == nil {
		cfg.Tell = func(Act) {}
	}
	p := &play{cfg: cfg, stage: s, began: cfg.Now(), tenant: "local", http: &http.Client{
		Timeout: callWithin, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	defer p.http.CloseIdleConnections()
	for _, scene := range []func(context.Context) error{p.opening, p.malformed, p.scraper, p.thief, p.ownChange, p.ending} {
		if err := scene(ctx); err != nil {
			p.leave()
			return err
		}
	}
	if p.odd > 0 {
		return &pavise.Error{Kind: pavise.Internal, Msg: fmt.Sprintf("%d acts of the demo went otherwise than they should have", p.odd), Hint: "each says so; its record says more"}
	}
	return nil
}

// leave sends the clients home.
func (p *play) leave() {
	if p.crowd != nil {
		p.crowd.stop()
	}
}

// at waits until so many seconds of the play are over; if they are already, it goes on.
func (p *play) at(ctx context.Context, seconds float64) error {
	due := p.began.Add(time.Duration(seconds * float64(time.Second) / p.cfg.Speed))
	select {
	case <-time.After(due.Sub(p.cfg.Now())):
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// tell tells an act. Without a record it stands for itself.
func (p *play) tell(a Act) {
	a.At, a.Scene = p.cfg.Now(), cmp.Or(a.Scene, p.scene)
	a.Minute = min(int(a.At.Sub(p.began).Seconds()*p.cfg.Speed), 60)
	if a.Record != nil {
		a.Prove = p.cfg.Command(fmt.Sprintf("ledger prove %d", *a.Record))
		p.shown = append(p.shown, *a.Record)
	}
	if a.Odd {
		p.odd++
	}
	p.stage.add(a)
	p.cfg.Tell(a)
}

// expected tells an act that should have ended in a certain way. If it did not, the
// sentence that was prepared is not true, and another says so.
func (p *play) expected(a Act, as string, why, said string) {
	a.Why = why
	if a.Odd = a.Decision != as; a.Odd {
		a.Why = "That should have ended otherwise. It ended so: " + cmp.Or(said, "it was let through")
	}
	p.tell(a)
}

// operator speaks to the server as the person who started it.
func (p *play) operator() (*api.Client, error) {
	token, err := p.cfg.Operator()
	return p.person(token), err
}

// person speaks to the server with a token.
func (p *play) person(token string) *api.Client {
	return &api.Client{Base: p.cfg.Server, Token: token, HTTP: p.http}
}

// mint has the server's own issuer make a token.
func (p *play) mint(ctx context.Context, subject, kind, role string) (string, error) {
	operator, err := p.operator()
	if err != nil {
		return "", err
	}
	var token struct {
		Token string `json:"token"`
	}
	err = operator.Call(ctx, "issuer.mint", verbs.MintRequest{Subject: subject, Kind: kind, Role: []string{role}, Minutes: 15}, &token)
	return token.Token, err
}

// opening puts the model behind the firewall on the play's terms, and lets the clients
// in.
func (p *play) opening(ctx context.Context) error {
	p.scene = "An ordinary hour"
	operator, err := p.operator()
	if err != nil {
		return err
	}
	mark, err := p.mark(ctx)
	if err != nil {
		return err
	}
	p.run = fmt.Sprint("r", mark)
	if err := p.put(ctx, operator); err != nil {
		return err
	}
	put, err := p.find(ctx, mark, evidence.Conditions{Kind: []string{"route.put"}}, nil)
	if err != nil {
		return err
	}
	p.me = put.who()
	p.tell(Act{
		Actor: p.me, Did: "put the threat detector behind the firewall as " + model, Decision: Allowed, Record: &put.Index,
		Why: "Every caller gets 6000 rows a minute, 300 of them at once, and 500 in 24 hours. A row is one connection that the model judges.",
	})
	p.crowd = newCrowd(p)
	for _, id := range []string{"edge-berlin", "edge-oslo", "edge-porto"} {
		token, err := p.mint(ctx, id+"-"+p.run, pavise.Workload, "caller")
		if err != nil {
			return err
		}
		p.crowd.join(ctx, id, token)
	}
	return p.arrivals(ctx)
}

// put puts the model behind the firewall, bounds and all.
func (p *play) put(ctx context.Context, operator *api.Client) error {
	on, yes := p.tenant+"/model/"+model, false
	spec := route.Spec{Name: on, ONNX: threatdetector.Model(), Bounds: bounds(), Purpose: "security", Rate: rate, Budget: budget, Observe: &yes}
	return operator.Call(ctx, "route.put", spec, nil)
}

// bounds are what a connection can look like, as route.put takes it.
func bounds() []byte {
	type column struct {
		Name string  `json:"name"`
		Min  float64 `json:"min"`
		Max  float64 `json:"max"`
	}
	var columns []column
	for _, f := range threatdetector.Card().Features {
		columns = append(columns, column{f.Name, f.Min, f.Max})
	}
	return encode(map[string]any{"input": threatdetector.Card().Input, "features": columns})
}
