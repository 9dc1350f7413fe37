package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/pavise/pavise"
	threatdetector "github.com/pavise/pavise/examples/threat-detector"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/evidence"
	"github.com/pavise/pavise/internal/verbs"
)

// A hostileBody is a request that a parser or a model could choke on.
type hostileBody struct {
	did  string
	why  string
	body []byte
}

// hostileBodies are a handful of those that the firewall's own tests hold.
func hostileBodies(seed uint64) []hostileBody {
	row := threatdetector.Rows(rand.New(rand.NewPCG(seed, 3)), threatdetector.Normal, 1)
	good := string(request(1, row.Data))
	minus := slices.Clone(row.Data)
	minus[0] = -1
	tensor := func(shape, data string) string {
		return fmt.Sprintf(`{"inputs":[{"name":"%s","shape":%s,"datatype":"FP32","data":%s}]}`, threatdetector.Card().Input, shape, data)
	}
	return []hostileBody{
		{"sends a connection that lasted minus one second", "No connection can last that long. The bounds of each column came with the model, and the gate holds values against them.", request(1, minus)},
		{"sends the same key twice", "Two parsers may take two different values for it: one that checks, and one that acts. So it is refused, and a model never gets the caller's own bytes anyway.", []byte(strings.Replace(good, `{"inputs"`, `{"id":"a","id":"b","inputs"`, 1))},
		{"claims that two numbers are four thousand million of them", "What a tensor claims to be is held against limits, and against what came, before any memory is set aside for it.", []byte(tensor("[100000000,41]", "[1,2]"))},
		{"nests ten thousand lists", "Nesting has a bound, so no text makes the parser go deep.", []byte(`{"inputs":[{"data":` + strings.Repeat("[", 10000))},
		{"sends a number that no float can hold", "It would become infinite, and a model's answer to infinity is anybody's guess.", []byte(tensor("[1,41]", "["+strings.Repeat("0,", 40)+"1e999]"))},
		{"points the server at its shared memory", "Parameters that reach past the request are not taken: there is nothing in it but tensors.", []byte(strings.Replace(good, `"shape"`, `"parameters":{"shared_memory_region":"gpu0"},"shape"`, 1))},
	}
}

// malformed sends what could break a parser.
func (p *play) malformed(ctx context.Context) error {
	p.scene = "Somebody tries to break the parser"
	id := "fuzzer"
	token, err := p.mint(ctx, id+"-"+p.run, pavise.Workload, "caller")
	if err != nil {
		return err
	}
	for i, h := range hostileBodies(p.cfg.Seed) {
		if err := p.at(ctx, 6+1.8*float64(i)); err != nil {
			return err
		}
		a, err := p.ask(ctx, token, h.body)
		if err != nil {
			return err
		}
		p.expected(Act{Actor: id, Did: h.did, Decision: a.decision(), Record: a.record}, Denied, h.why+" It was told: "+a.said+".", a.said)
	}
	if err := p.at(ctx, 17); err != nil {
		return err
	}
	return p.meanwhile()
}

// scraper takes what it can, to copy the model.
func (p *play) scraper(ctx context.Context) error {
	p.scene = "Somebody copies the model, row by row"
	const id = "scraper"
	token, err := p.mint(ctx, id+"-"+p.run, pavise.Workload, "caller")
	if err != nil {
		return err
	}
	const bite = 250
	body := drawn(p.cfg.Seed+1).request(0, bite)
	var wait time.Duration
	for _, step := range []struct {
		at       float64
		did, why string
		ends     string
	}{
		{19, "asks about 250 connections at once", "That is within its terms. Whoever copies a model needs many answers, so rows are counted, and not requests.", Allowed},
		{20.5, "asks about 250 more, at once", "Only 300 rows go at once. Nothing reached the model, and the scraper learned nothing.", Denied},
		{0, "waits as long as it was told to, and asks about 250", "That is within its rate again. With it, its 500 rows of the day are used up.", Allowed},
	} {
		if err := p.at(ctx, step.at); err != nil {
			return err
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
		a, err := p.ask(ctx, token, body)
		if err != nil {
			return err
		}
		wait = a.after
		p.expected(Act{Actor: id, Did: step.did, Decision: a.decision(), Record: a.record}, step.ends, with(step.why, a), a.said)
	}
	return p.exhausted(ctx, id, token)
}

// with puts what was said behind a sentence.
func with(why string, a answer) string {
	if a.said == "" {
		return why
	}
	return why + " It was told: " + a.said + "."
}

// sleep waits, however fast the play is: it is the server who asked for it.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// exhausted asks on with nothing left, one by one and from everywhere at once.
func (p *play) exhausted(ctx context.Context, id, token string) error {
	one := drawn(p.cfg.Seed+2).request(0, 1)
	if err := sleep(ctx, 1100*time.Millisecond); err != nil { // its rate has room again
		return err
	}
	a, err := p.ask(ctx, token, one)
	if err != nil {
		return err
	}
	p.expected(Act{Actor: id, Did: "asks about a single one", Decision: a.decision(), Record: a.record}, Denied,
		with("Its budget of 500 rows in 24 hours is spent, also for one row; it gets more as the day goes on. A restart gives nothing back: the log remembers what it took.", a), a.said)
	type reply struct {
		answer
		err error
	}
	const many = 20
	replies := make(chan reply, many)
	for range many {
		go func() {
			a, err := p.ask(ctx, token, one)
			replies <- reply{a, err}
		}()
	}
	last := answer{status: http.StatusForbidden}
	for range many {
		r := <-replies
		if r.err != nil {
			err = r.err
		}
		if last.decision() != Allowed {
			last = r.answer
		}
	}
	if err != nil {
		return err
	}
	p.expected(Act{Actor: id, Did: fmt.Sprintf("asks from %d connections at once", many), Decision: last.decision(), Record: last.record}, Denied,
		"All of them were refused: the budget is the caller's, and not a connection's. Another name would take another token, and those are given out by people.", last.said)
	return p.meanwhile()
}

// ownChange has the operator approve what he proposed himself.
func (p *play) ownChange(ctx context.Context) error {
	p.scene = "An operator approves his own change"
	if err := p.at(ctx, 43); err != nil {
		return err
	}
	operator, err := p.operator()
	if err != nil {
		return err
	}
	mark, err := p.mark(ctx)
	if err != nil {
		return err
	}
	policy := "demo-" + p.run
	var ch api.ChangeView
	text := fmt.Sprintf("@doc(%q)\npermit (principal in Role::\"caller\", action == Action::\"route.list\", resource);", "The demo: callers may see which models there are ("+p.run+")")
	if err := operator.Call(ctx, "policy.put", verbs.PolicyPut{ID: policy, Text: text, Reason: "the demo"}, &ch); err != nil {
		return err
	}
	proposed, err := p.find(ctx, mark, evidence.Conditions{Kind: []string{"change.propose"}, On: ch.Name.String()}, nil)
	if err != nil {
		return err
	}
	p.tell(Act{
		Actor: p.me, Did: "proposes a policy: callers may see which models there are", Decision: Allowed, Record: &proposed.Index,
		Why: "What has consequences for others is proposed. Nothing is in force yet: it takes another person, who approves exactly this text.",
	})
	if err := p.ownVotes(ctx, operator, ch); err != nil {
		return err
	}
	return p.anotherVote(ctx, operator, ch, policy)
}

// ownVotes tries to approve as who proposed, under their own name and another.
func (p *play) ownVotes(ctx context.Context, operator *api.Client, ch api.ChangeView) error {
	second, err := p.mint(ctx, "second-"+p.run, pavise.Human, "operator")
	if err != nil {
		return err
	}
	for _, try := range []struct {
		at       float64
		who      *api.Client
		did, why string
	}{
		{45.5, operator, "approves it himself", "Nobody approves what they proposed. That holds for every role: no policy can allow it."},
		{48, p.person(second), "mints a token for a second person, and approves with that", "The token says who had it made. Two people take two who answer for themselves, and behind this one is the same."},
	} {
		if err := p.at(ctx, try.at); err != nil {
			return err
		}
		mark, err := p.mark(ctx)
		if err != nil {
			return err
		}
		said, decision := try.who.Call(ctx, "change.approve", verbs.VoteRequest{ID: ch.Name.ID, Digest: ch.Digest}, nil), Allowed
		if pavise.KindOf(said) == pavise.Unavailable {
			return said
		}
		if said != nil {
			decision = Denied
		}
		vote, err := p.find(ctx, mark, evidence.Conditions{Kind: []string{"change.approve"}, On: ch.Name.String()}, nil)
		if err != nil {
			return err
		}
		p.expected(Act{Actor: p.me, Did: try.did, Decision: decision, Record: &vote.Index}, Denied, try.why, fmt.Sprint(said))
	}
	return nil
}

// anotherVote has another person approve it, and take it back with the operator: what two
// can do, two can undo.
func (p *play) anotherVote(ctx context.Context, operator *api.Client, ch api.ChangeView, policy string) error {
	if err := p.at(ctx, 50.5); err != nil {
		return err
	}
	now := p.cfg.Now()
	maria := p.person(p.stage.Org.token("maria", pavise.Human, []string{"operator"}, now, now.Add(10*time.Minute), nil))
	const her = "human/maria"
	decide := func(who *api.Client, name string, a Act, change api.ChangeView, why string) error {
		mark, err := p.mark(ctx)
		if err != nil {
			return err
		}
		said := who.Call(ctx, "change.approve", verbs.VoteRequest{ID: change.Name.ID, Digest: change.Digest, Reason: "seen in the demo"}, nil)
		if a.Actor, a.Decision = name, Allowed; said != nil {
			a.Decision = Denied
		}
		vote, err := p.find(ctx, mark, evidence.Conditions{Kind: []string{"change.approve"}, On: change.Name.String()}, nil)
		if err != nil {
			return err
		}
		a.Record = &vote.Index
		p.expected(a, Allowed, why, fmt.Sprint(said))
		return nil
	}
	if err := decide(maria, her, Act{Did: "of another organisation's directory looks at it, and approves"}, ch,
		"Two people who answer for themselves: the policy was put in force, once, and its record names both."); err != nil {
		return err
	}
	if err := p.at(ctx, 53); err != nil {
		return err
	}
	var back api.ChangeView
	if err := maria.Call(ctx, "policy.delete", verbs.PolicyDelete{ID: policy, Reason: "the demo is over"}, &back); err != nil {
		return err
	}
	return decide(operator, p.me, Act{Did: "approves what maria proposes: to take the policy back"}, back,
		"What two can do, two can undo. The policies are as they were before, and the log holds both changes for good.")
}

// claimed is a token whose claims somebody changed after it was signed.
func claimed(token string, change func(map[string]any)) string {
	parts := strings.Split(token, ".")
	var claims map[string]any
	payload, err := decodeSegment(parts[1])
	if err != nil || json.Unmarshal(payload, &claims) != nil {
		return token
	}
	change(claims)
	parts[1] = encodeSegment(encode(claims))
	return strings.Join(parts, ".")
}
