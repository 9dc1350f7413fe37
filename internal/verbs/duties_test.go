package verbs

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/issuer"
	"github.com/pavise/pavise/internal/policy"
)

// What a verb may bring those who act together nearer to: the proof below fails on a
// verb that is not in this table, so that nobody adds one without asked.
const (
	harmless = iota // reads, or takes nothing that others must agree to
	makes           // makes an identity
	safe            // consequential, and in the safe direction: runs first by design
	rights          // consequential, and gives whoever does it more to do
	act             // consequential otherwise: what must not be done by too few
	glass           // the listed exception
)

// duties says it of every verb that is served. Those of the catalogue have no room: the
// consequential ones among them are tried all the same.
var duties = map[string]int{
	"ledger": harmless, "feed": harmless, "tile": harmless, "witness": harmless, "archive": harmless, "archive.retain": act,
	"subject": harmless, "subject.shred": act, "change": harmless, "change.rule": rights, "change.break": glass,
	"policy": harmless, "policy.put": rights, "policy.delete": rights, "grant": harmless, "grant.give": rights, "caller": harmless,
	"route": harmless, "route.release": act, "route.rollback": safe, "route.quarantine": safe,
	"issuer": harmless, "issuer.mint": makes, "console": harmless, "clock": harmless, "model": harmless, "finding": harmless, "siem": harmless, "ticket": harmless, "ticket.map": rights, "ticket.pass": act,
	"lineage": harmless, "tier": harmless, "watermark": harmless, "node": harmless, "node.invite": makes, "node.roles": rights, "person.invite": rights, "ca": harmless, "ca.rotate": act,
	"ingest": harmless, "ingest.revise": act, "ingest.release": act,
	"bundle": harmless, "bundle.rotate": act, "bundle.revoke": act,
	"dataset": harmless, "dataset.accept": act, "drift": harmless, "drift.baseline": act, "run": harmless,
	"target": harmless, "target.put": act, "deploy": harmless, "deploy.release": act, "deploy.promote": act, "deploy.rollback": safe,
	"model.publish": act, "model.alias": act, "model.unalias": act, "model.release": act, "model.retire": act,
}

// dutyOf finds a verb's row, or its room's if the verb takes no approval.
func dutyOf(v api.Verb) (duty int, listed bool) {
	if duty, listed = duties[v.Name]; listed {
		return duty, true
	}
	room, _, _ := strings.Cut(v.Name, ".")
	duty, listed = duties[room]
	return duty, listed && !v.Consequential
}

// A mask is an identity that those who act together can use.
type mask struct {
	kind  string
	id    string
	roles string // of its proof, sorted, joined by a space
	root  string // the person who answers for it
}

// A standing is how far those who act together have come: what they can use, what they
// were granted, what they had others' policies and rules become.
type standing struct {
	identities []mask
	grants     []string // "root role", sorted: grants count for those whom the issuer knows
	open       bool     // a policy that permits everything is in force
	lowered    []string // verbs whose rule takes nobody's approval any more
}

func (s standing) key() string {
	var b strings.Builder
	for _, i := range slices.SortedFunc(slices.Values(s.identities), func(a, b mask) int { return strings.Compare(a.id, b.id) }) {
		b.WriteString(i.id + "|")
	}
	return b.String() + strings.Join(s.grants, "|") + strings.Join(s.lowered, "/") + strconv.FormatBool(s.open)
}

// An asked question is all that a decision depends on here: no policy names anybody.
type asked struct {
	kind, roles, verb string
	open, approved    bool
}

// A search looks for acts that too few people can do. Its decisions are those of the
// real policies; its rule of who counts is held to the real one by TestDutiesAreReal.
type search struct {
	t       *testing.T
	schema  *policy.Schema
	sets    map[bool]*policy.Set // by whether everything is permitted
	need    map[string]int       // how many approvals a verb takes, where not one
	limit   int                  // identities that are made, at most
	decided map[asked]bool       // what was asked before
	actions []guard.Action
	verbs   []api.Verb

	acts   map[string]string // what can be done: verb → how
	broken map[string]bool   // what can be done through the glass
	steps  int
}

func newSearch(t *testing.T, need map[string]int) *search {
	t.Helper()
	if shared != nil { // its policies and what they decided are those of every search
		s := *shared
		s.t, s.need, s.steps, s.acts, s.broken = t, need, 0, map[string]string{}, map[string]bool{}
		return &s
	}
	s := &search{t: t, need: need, limit: 2, sets: map[bool]*policy.Set{}, decided: map[asked]bool{}, acts: map[string]string{}, broken: map[string]bool{}}
	var err error
	if s.schema, err = policy.NewSchema(Actions()); err != nil {
		t.Fatal(err)
	}
	s.actions, s.verbs = s.schema.Actions(), Table() // made once: the search asks a million times
	texts := policy.Defaults()
	for _, open := range []bool{false, true} {
		if open {
			texts["open"] = "permit (principal, action, resource);"
		}
		if s.sets[open], err = s.schema.Compile("local", texts, nil); err != nil {
			t.Fatal(err)
		}
	}
	shared = s
	return s
}

// shared is the first search.
var shared *search

// may reports whether an identity may do a verb with some of its roles: whoever has
// several chooses which to show, so that roles that bar each other are no help.
func (s *search) may(at standing, i mask, verb string, approved bool) bool {
	var roles []string
	if i.roles != "" {
		roles = strings.Split(i.roles, " ")
	}
	if i.kind == pavise.Human && i.root == i.id {
		for _, g := range at.grants {
			if root, role, _ := strings.Cut(g, " "); root == i.root {
				roles = append(roles, role)
			}
		}
	}
	key := asked{i.kind, strings.Join(roles, " "), verb, at.open, approved}
	if known, ok := s.decided[key]; ok {
		return known
	}
	found := s.try(at, i, verb, approved, nil)
	for n, one := range roles {
		found = found || s.try(at, i, verb, approved, []string{one})
		for _, two := range roles[n+1:] {
			found = found || s.try(at, i, verb, approved, []string{one, two})
		}
	}
	s.decided[key] = found
	return found
}

func (s *search) try(at standing, i mask, verb string, approved bool, roles []string) bool {
	a, _ := s.schema.Act(verb)
	who := pavise.Principal{Tenant: "local", Kind: i.kind, ID: i.id, Roles: roles}
	on := s.schema.Thing(pavise.Name{Tenant: "local", Kind: a.On[0], ID: "any"}, policy.Facts{State: "reviewed", Scrubbed: true})
	return s.sets[at.open].Fresh(&policy.Question{Who: policy.NewSubject(who, nil, false), Act: a, On: on, At: time.Now(), Approved: approved}).Allow
}

// run searches breadth first from where some people begin, with the verbs they may do.
func (s *search) run(begin standing) {
	seen := map[string]bool{begin.key(): true}
	for queue := []standing{begin}; len(queue) > 0; queue = queue[1:] {
		for _, next := range s.next(queue[0]) {
			if s.steps++; !seen[next.key()] {
				seen[next.key()] = true
				queue = append(queue, next)
			}
		}
	}
}

// next tries every verb as every identity, and returns where that leads.
func (s *search) next(at standing) (all []standing) {
	for _, a := range s.actions {
		for _, i := range at.identities {
			if a.Consequential && !a.Safe && s.may(at, i, a.Verb, false) {
				s.acts[a.Verb] = fmt.Sprintf("%v at once, with %+v", i, at)
			}
		}
	}
	for _, v := range s.verbs {
		duty, listed := dutyOf(v)
		switch {
		case !listed:
			s.t.Fatalf("%s is in no row of duties: what may it bring those who act together nearer to?", v.Name)
		case duty == makes:
			all = append(all, s.made(at, v.Name)...)
		case duty == act, duty == rights:
			all = append(all, s.changes(at, v.Name, duty)...)
		}
	}
	return all
}

// made returns the standings with one identity more. Whoever mints may name anybody, of
// any kind, with any of the demo roles; whoever invites, a program or a machine.
func (s *search) made(at standing, verb string) (all []standing) {
	if len(at.identities) >= s.limit+1 {
		return nil
	}
	for _, i := range at.identities {
		if !s.may(at, i, verb, false) {
			continue
		}
		for _, kind := range map[string][]string{"issuer.mint": {pavise.Human, pavise.Workload}, "node.invite": {pavise.Node}}[verb] {
			next := at
			made := mask{kind, kind + " of " + i.root, issuer.RoleOperator, i.root}
			if slices.Contains(at.identities, made) {
				continue // a second one of the sort is no more use
			}
			next.identities = append(slices.Clone(at.identities), made)
			all = append(all, next)
		}
	}
	return all
}

// changes returns where a verb leads that is done as a change, if those who act together
// can propose it and give it all the approvals that it takes. A proposal and its
// approvals are one step: they give nobody anything until the act is run.
func (s *search) changes(at standing, verb string, duty int) (all []standing) {
	for _, proposer := range at.identities {
		if !s.may(at, proposer, policy.VerbPropose, false) || !s.may(at, proposer, verb, true) {
			continue
		}
		if s.may(at, proposer, policy.VerbBreak, false) && proposer.id == proposer.root && breakables[verb] {
			s.broken[verb] = true // the listed exception: it pages, and nothing is built on it here
		}
		for _, what := range s.effects(at, verb) {
			if len(s.approvers(at, proposer, verb, what.party)) >= what.need {
				if duty == act {
					s.acts[verb] = fmt.Sprintf("proposed by %v, with %+v", proposer, at)
				}
				all = append(all, what.then)
			}
		}
	}
	return all
}

// voting are the verbs whose changes are decided on by those who may do another verb:
// TestDutiesAreReal holds the list to the runners.
var voting = map[string]string{"model.publish": policy.VerbAgree}

// breakables are the verbs that are run before others approve them, in an emergency:
// TestDutiesAreReal holds the list to the runners.
var breakables = map[string]bool{"grant.give": true, "route.release": true}

// An effect is what a change would come to: for whom, with how many approvals, and where
// those who act together stand then.
type effect struct {
	party string
	need  int
	then  standing
}

func (s *search) effects(at standing, verb string) (all []effect) {
	needs := func(verb string) int {
		if slices.Contains(at.lowered, verb) {
			return 0
		}
		return max(s.need[verb], 1)
	}
	switch verb {
	case "policy.put":
		then := at
		then.open = true
		return []effect{{"", needs(verb), then}}
	case "change.rule":
		for _, of := range []string{"policy.put", "grant.give", "route.release", "subject.shred"} {
			if !slices.Contains(at.lowered, of) {
				then := at
				then.lowered = slices.Sorted(slices.Values(append(slices.Clone(at.lowered), of)))
				all = append(all, effect{"", max(1, needs(verb), needs(of)), then})
			}
		}
		return all
	case "person.invite", "ticket.map": // somebody new, whom those who act together invented: it takes as many as any verb
		if len(at.identities) > s.limit {
			return nil
		}
		most := needs(verb)
		for of := range s.need {
			most = max(most, needs(of))
		}
		then, made := at, fmt.Sprint("invented", len(at.identities))
		then.identities = append(slices.Clone(at.identities), mask{pavise.Human, made, issuer.RoleOperator, made})
		return []effect{{made, most, then}}
	case "grant.give", "node.roles":
		for _, i := range at.identities {
			if i.id != i.root {
				continue // its grants would not count
			}
			for _, role := range []string{"operator", "tenant-admin", "responder"} {
				if grant := i.root + " " + role; !slices.Contains(at.grants, grant) {
					then := at
					then.grants = slices.Sorted(slices.Values(append(slices.Clone(at.grants), grant)))
					all = append(all, effect{i.root, needs(verb), then})
				}
			}
		}
		return all
	}
	return []effect{{"", needs(verb), at}}
}

// approvers returns the people among those who act together whose approval counts.
func (s *search) approvers(at standing, proposer mask, verb, party string) (roots []string) {
	for _, i := range at.identities {
		if i.root != proposer.root && i.root != party && i.id != party && !slices.Contains(roots, i.root) &&
			s.may(at, i, policy.VerbApprove, false) && s.may(at, i, cmp.Or(voting[verb], verb), true) {
			roots = append(roots, i.root)
		}
	}
	return roots
}

// alone is one principal with some roles.
func alone(kind, id string, roles ...string) mask {
	return mask{kind, id, strings.Join(roles, " "), id}
}

// TestNoPrincipalAlone searches, for a person, a program and a machine with every role
// there is, alone and beside that of an operator, conflicting ones included, whether it can
// do a whole consequential act: by minting identities, through grants, policies and rules,
// in any order. Only the broken glass can, and that pages somebody. TestNobodyDrivesAlone
// has all roles at once.
func TestNoPrincipalAlone(t *testing.T) {
	roles := newSearch(t, nil).sets[false].Roles()
	total, broken := 0, map[string]bool{}
	for _, kind := range []string{pavise.Human, pavise.Workload, pavise.Node} {
		for _, one := range roles {
			for _, two := range []string{one, "operator"} {
				s := newSearch(t, nil)
				s.run(standing{identities: []mask{alone(kind, "eve", one, two)}})
				for verb, how := range s.acts {
					t.Errorf("%s with %s and %s can do %s: %s", kind, one, two, verb, how)
				}
				for verb := range s.broken {
					broken[verb] = true
					if kind != pavise.Human || one != "responder" && two != "responder" {
						t.Errorf("%s with %s and %s can break the glass of %s", kind, one, two, verb)
					}
				}
				total += s.steps
			}
		}
	}
	if len(broken) != len(breakables) || total < 100 {
		t.Errorf("%d steps, and the glass of %v: the search does not search", total, broken)
	}
	t.Logf("%d steps from %d beginnings", total, 3*2*len(roles))
}

// TestDutiesAreReal holds the search's rules to the house: who may mint, propose and
// whose approval counts, tried over the wire by people and by identities that they had
// made; and which verbs are run before others approve them.
func TestDutiesAreReal(t *testing.T) {
	w := newWorld(t)
	for verb, runner := range w.Runners() {
		if (runner.Breakable != nil) != breakables[verb] {
			t.Errorf("%s: can be run before others approve it: %t", verb, runner.Breakable != nil)
		}
		if runner.Votes != voting[verb] {
			t.Errorf("%s is decided on by those who may do %q", verb, runner.Votes)
		}
		if i := slices.IndexFunc(Table(), func(v api.Verb) bool { return v.Name == verb }); runner.Safe != Table()[i].Safe {
			t.Errorf("%s is in the safe direction for its runner alone, or for the table alone", verb)
		}
	}
	type known struct {
		mask
		client *api.Client
	}
	people := []known{}
	for _, id := range []string{"ana", "ben"} {
		people = append(people, known{alone(pavise.Human, id, "operator"), w.person(t, id, "operator")})
		for _, kind := range []string{pavise.Human, pavise.Workload} {
			var token issuer.Token
			name := id + "s-" + kind
			if err := people[len(people)-1].client.Call(t.Context(), "issuer.mint", MintRequest{Subject: name, Kind: kind, Role: []string{"operator"}}, &token); err != nil {
				if kind == pavise.Human || people[len(people)-1].kind == pavise.Human {
					t.Fatal(err)
				}
				continue
			}
			people = append(people, known{mask{kind, name, "operator", id}, &api.Client{Base: w.server.URL, Token: token.Value}})
		}
	}
	people = append(people, known{alone(pavise.Human, "ann", "analyst"), w.person(t, "ann", "analyst")}, known{alone(pavise.Human, "kim", "operator"), w.person(t, "kim", "operator")})
	s := newSearch(t, nil)
	rng := rand.New(rand.NewPCG(4, 4))
	for n := range 60 {
		proposer, voter, holder := people[rng.IntN(len(people))], people[rng.IntN(len(people))], people[rng.IntN(len(people))]
		ask := GrantRequest{Holder: pavise.Name{Tenant: "local", Kind: holder.kind, ID: holder.id}, Role: "labeler", For: fmt.Sprintf("%dm", n+1)}
		var ch api.ChangeView
		err := proposer.client.Call(t.Context(), "grant.give", ask, &ch)
		can := s.may(standing{}, proposer.mask, policy.VerbPropose, false) && s.may(standing{}, proposer.mask, "grant.give", true)
		if (err == nil) != can {
			t.Fatalf("%v proposes: %v, and the search says %t", proposer.mask, err, can)
		}
		if err != nil {
			continue
		}
		err = voter.client.Call(t.Context(), "change.approve", VoteRequest{ID: ch.Name.ID, Digest: ch.Digest}, &ch)
		counts := slices.Contains(s.approvers(standing{identities: []mask{voter.mask}}, proposer.mask, "grant.give", holder.id), voter.root)
		if (err == nil) != counts {
			t.Fatalf("%v approves what %v proposed for %v: %v, and the search says %t", voter.mask, proposer.mask, holder.mask, err, counts)
		}
	}
	var held []guard.Grant = w.Guard.Held("local")
	if len(held) == 0 {
		t.Error("nothing was ever approved: the comparison compares nothing")
	}
}
