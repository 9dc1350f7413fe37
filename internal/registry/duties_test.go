package registry

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/policy"
)

// A duties searches what a few people can bring a version to: who may what is asked of the
// real policies, and whose word counts of the code that decides in the transaction.
type duties struct {
	schema  *policy.Schema
	set     *policy.Set
	people  []pavise.Principal // the identities that they can use
	decided map[string]bool    // by role, verb and state
	seen    map[string]bool
	queue   []*Version
	far     map[State]bool
}

func newDuties(t *testing.T) *duties {
	t.Helper()
	schema, err := policy.NewSchema(actions())
	if err != nil {
		t.Fatal(err)
	}
	set, err := schema.Compile("local", policy.Defaults(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return &duties{schema: schema, set: set, decided: map[string]bool{}}
}

// may asks the policies, as the guard does.
func (d *duties) may(who pavise.Principal, verb string, v *Version) bool {
	key := strings.Join(who.Roles, " ") + verb + string(v.State) + string(v.Risk)
	if known, ok := d.decided[key]; ok {
		return known
	}
	a, ok := d.schema.Act(verb)
	if !ok {
		panic(verb + " is no verb")
	}
	on := d.schema.Thing(pavise.Name{Tenant: "local", Kind: a.On[0], ID: "fraud@1"}, policy.Facts{State: string(v.State), Risk: string(v.Risk), Quarantined: v.State == Quarantined})
	q := &policy.Question{Who: policy.NewSubject(who, nil, false), Act: a, On: on, At: time.Now(), Approved: a.Consequential}
	d.decided[key] = d.set.Fresh(q).Allow
	return d.decided[key]
}

// reach is how far some people bring a version of a risk, whoever of them takes which step,
// in whatever order, and however often.
func (d *duties) reach(risk Risk, people ...pavise.Principal) map[State]bool {
	d.people, d.seen, d.queue, d.far = people, map[string]bool{}, nil, map[State]bool{}
	for _, who := range people {
		if d.may(who, "model.add", &Version{}) {
			v := &Version{Ref: Ref{"fraud", 1}, Tenant: "local", State: Draft, Risk: risk, Intake: Ready, Digest: Digest{1}}
			v.Hand(who)
			d.see(v)
		}
	}
	for len(d.queue) > 0 {
		v := d.queue[0]
		d.queue = d.queue[1:]
		for _, who := range people {
			d.steps(v, who)
		}
	}
	return d.far
}

// see takes in a version that they can bring about.
func (d *duties) see(v *Version) {
	d.far[v.State] = true
	slices.SortFunc(v.Hands, func(a, b pavise.Name) int { return strings.Compare(a.String(), b.String()) })
	key := fmt.Sprint(v.State, v.Was, v.Digest[0], v.Hands, v.Reviewers, v.newest(v.Evaluations) != nil)
	if !d.seen[key] {
		d.seen[key] = true
		d.queue = append(d.queue, v)
	}
}

// steps tries every step that one of them can take.
func (d *duties) steps(v *Version, who pavise.Principal) {
	try := func(verb string, with func(*Version) error) {
		n := *v
		n.Hands, n.Reviewers, n.Evaluations, n.Attacks = slices.Clone(v.Hands), slices.Clone(v.Reviewers), slices.Clone(v.Evaluations), slices.Clone(v.Attacks)
		if d.may(who, verb, v) && with(&n) == nil {
			d.see(&n)
		}
	}
	to := func(n *Version, state State) error {
		if !n.State.Leads(state) {
			return conflict(n, "")
		}
		n.State = state
		return nil
	}
	try("model.add", func(n *Version) error { // other files
		if n.Digest[0] > 1 || n.State != Draft && to(n, Draft) != nil {
			return conflict(n, "")
		}
		n.Digest[0]++
		n.Reviewers = nil
		n.Hand(who)
		return nil
	})
	try("model.evidence", func(n *Version) error {
		n.Evaluations = []Evidence{{Digest: n.Digest, Result: Pass, Root: who.Root()}}
		n.Attacks = n.Evaluations
		return nil
	})
	try("model.propose", func(n *Version) error { n.Hand(who); return to(n, Proposed) })
	try("model.review", func(n *Version) error {
		if err := MayReview(n, who, n.Digest.String()); err != nil {
			return err
		}
		n.Reviewers = append(n.Reviewers, who.Root())
		return to(n, Reviewed)
	})
	try("model.quarantine", func(n *Version) error { n.Was = n.State; return to(n, Quarantined) })
	change := func(verb, votes string, plan func(*Version) (Plan, error)) {
		try(verb, func(n *Version) error {
			p, err := plan(n)
			if err != nil || !d.may(who, "change.propose", n) {
				return conflict(n, "")
			}
			var by []pavise.Name // all whose approval a change counts
			for _, o := range d.people {
				if o.Kind == pavise.Human && o.Root() != who.Root() && d.may(o, "change.approve", n) && d.may(o, votes, n) {
					by = append(by, o.Root())
				}
			}
			if err := p.Counts(by); err != nil {
				return err
			}
			n.State, n.Was = p.To, ""
			return nil
		})
	}
	change("model.publish", policy.VerbAgree, DuePublish)
	change("model.release", "model.release", DueRelease)
}

// lifeRoles are the roles that may do something to a version.
var lifeRoles = []string{"ml-engineer", "model-reviewer", "model-approver", "publisher", "red-teamer", "deployer", "operator", "responder", "soc-lead"}

// with is somebody with two roles, and what they had made with these.
func with(id, one, two string) []pavise.Principal {
	who := person(id, one, two)
	minted := who
	minted.ID, minted.By = id+"-minted", who.Name()
	return slices.CompactFunc([]pavise.Principal{person(id, one), person(id, two), minted}, func(a, b pavise.Principal) bool { return a.ID == b.ID && one == two })
}

// TestNobodyAlone: no single person drives a version from draft to published, with any two
// roles, both at once or either, and identities that they had made; nor, where the risk is
// high, do any two people. More people do, so that the search finds what there is.
func TestNobodyAlone(t *testing.T) {
	d := newDuties(t)
	for _, risk := range Risks {
		for i, one := range lifeRoles {
			for _, two := range lifeRoles[i:] {
				if far := d.reach(risk, with("eve", one, two)...); far[Published] || far[Live] || far[Reviewed] {
					t.Errorf("of %s risk: %s and %s, alone: %v", risk, one, two, far)
				}
			}
		}
	}
	pairs := 0
	for i, one := range lifeRoles {
		for _, two := range lifeRoles[i:] {
			for _, roles := range [][4]string{{one, two, one, two}, {one, "operator", two, "operator"}} {
				if pairs++; d.reach(High, slices.Concat(with("eve", roles[0], roles[1]), with("mal", roles[2], roles[3]))...)[Published] {
					t.Errorf("of high risk: two people with %v", roles)
				}
			}
		}
	}
	if far := d.reach(Low, person("ana", "operator"), person("ben", "operator")); !far[Published] {
		t.Errorf("of low risk, two people with all rights do not publish: the search does not search: %v", far)
	}
	if far := d.reach(High, mia, ray, amy, pat); far[Published] {
		t.Error("of high risk, one approver is enough")
	}
	if far := d.reach(High, mia, ray, amy, abe, pat); !far[Published] {
		t.Errorf("of high risk, with everybody that it takes: %v", far)
	}
	if far := d.reach(High, person("ana", "operator"), person("ben", "operator"), person("cid", "operator")); far[Published] {
		t.Error("of high risk, three people are enough, of whom one had a hand in it and one reviewed it")
	}
	t.Logf("%d pairs", pairs)
}

// TestDutiesAreReal holds the search to the registry: who is refused by it is refused there.
func TestDutiesAreReal(t *testing.T) {
	w := newWorld(t)
	w.create(t, High)
	v := w.add(t, `{"a": 1}`)
	w.prove(t, v)
	if _, err := w.Propose(t.Context(), oda, "local", v.Ref, ""); err != nil {
		t.Fatal(err)
	}
	minted := person("odas", "model-reviewer")
	minted.By = oda.Name()
	for _, who := range []pavise.Principal{oda, minted} {
		_, err := w.Review(t.Context(), who, "local", v.Ref, v.Digest.String(), "")
		wantKind(t, err, pavise.Denied)
	}
	_, err := w.Review(t.Context(), amy, "local", v.Ref, v.Digest.String(), "")
	wantKind(t, err, pavise.Denied) // by policy
	if _, err := w.Review(t.Context(), ray, "local", v.Ref, v.Digest.String(), ""); err != nil {
		t.Fatal(err)
	}
	p, err := w.PlanPublish(t.Context(), "local", v.Ref)
	if err != nil || p.Need != 2 {
		t.Fatal(p, err)
	}
	for _, by := range [][]pavise.Principal{{}, {amy}, {amy, amy}, {amy, ray}, {amy, mia}, {amy, oda}, {amy, minted}} {
		err := w.Publish(t.Context(), "local", v.Ref, approved(pat, p, by...))
		wantKind(t, err, pavise.Denied)
		w.want(t, v.Ref, Reviewed)
	}
	direct := approved(pat, p, amy, abe)
	direct.Who.Change = pavise.Name{}
	wantKind(t, w.Publish(t.Context(), "local", v.Ref, direct), pavise.Denied)
	if err := w.Publish(t.Context(), "local", v.Ref, approved(pat, p, amy, abe)); err != nil {
		t.Fatal(err)
	}
	w.want(t, v.Ref, Published)
}
