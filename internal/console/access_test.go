package console

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/policy"
	"github.com/pavise/pavise/internal/verbs"
)

// everyone is a row's Who for roles that every kind of caller may have.
func everyone(roles ...string) map[string][]string {
	return map[string][]string{pavise.Human: roles, pavise.Workload: roles, pavise.Node: roles}
}

// smallMatrix is a matrix with one row of every sort.
func smallMatrix() verbs.Matrix {
	return verbs.Matrix{
		Roles: []string{"caller", "operator", "publisher", "retrainer"}, Conflicts: [][2]string{{"model-approver", "publisher"}}, Digest: "d1d1",
		Rows: []policy.Row{
			{Verb: "grant.give", On: "grant", Change: true, Who: map[string][]string{pavise.Human: {"operator"}}},
			{Verb: "issuer.exchange", On: "issuer", Who: everyone("", "caller", "operator", "publisher", "retrainer")},
			{Verb: "model.infer", On: "model", Who: everyone("caller")},
			{Verb: "model.infer", On: "model", Facts: "quarantined=true", Who: map[string][]string{}},
			{Verb: "model.infer", On: "model", Facts: "state=live", Who: everyone("caller")},
			{Verb: "model.publish", On: "model", Change: true, Declared: true, Who: map[string][]string{}},
			{Verb: "model.publish", On: "model", Facts: "quarantined=true", Change: true, Declared: true, Who: map[string][]string{}},
			{Verb: "model.publish", On: "model", Facts: "state=live", Change: true, Declared: true, Who: everyone("publisher")},
			{Verb: "node.list", On: "holder", Who: everyone("operator")},
		},
	}
}

// gridLines returns the lines of the page's grids: the act, and what is in each place.
func gridLines(body string) (all []string) {
	for _, m := range regexp.MustCompile(`(?s)<tr(?: class="change")?><th scope="row">.*?</tr>`).FindAllString(body, -1) {
		m = regexp.MustCompile(`<td></td>`).ReplaceAllString(m, "-")
		m = regexp.MustCompile(`<span class="plus".*?</span>`).ReplaceAllString(m, "")
		all = append(all, text(m))
	}
	return all
}

// The matrix is a grid of acts and roles. What may be done in some states only, as a
// change only, by people only, by anybody, or not here at all is said in words, too.
func TestAccessGrid(t *testing.T) {
	s := newStand(t).signIn()
	s.api.matrix = smallMatrix()
	resp, body := s.get("/access")
	checkHeaders(t, "/access", resp, body)
	want := []string{
		"infer may when nothing is known or state live -",
		"publish (done elsewhere) - may when state live, as an approved change",
		"give (people only) may, as an approved change",
		"exchange anybody",
		"list on holder may",
	}
	if got := gridLines(body); !slices.Equal(got, want) {
		t.Errorf("the grid is\n%q, want\n%q", got, want)
	}
	said := text(body)
	for _, want := range []string{"Models, data and machines", "The house", "Roles that check each other", "model-approver × publisher", "guardrails included d1d1"} {
		if !strings.Contains(said, want) {
			t.Errorf("the page does not say %q:\n%s", want, said)
		}
	}
	for query, want := range map[string][]string{
		"room=node":                     {"list on holder may"},
		"state=state%3Dlive":            {"infer may -", "publish (done elsewhere) - may, as an approved change"},
		"room=model&state=quarantined=": nil,
		"room=none":                     nil,
	} {
		if _, body := s.get("/access?" + query); !slices.Equal(gridLines(body), want) || want == nil && !strings.Contains(body, "Nothing is like that") {
			t.Errorf("%s shows %q, want %q", query, gridLines(body), want)
		}
	}
}

// A role's page says all that it may do, beside which roles nobody holds it, and who has
// it for a time.
func TestAccessRole(t *testing.T) {
	s := newStand(t).signIn()
	s.api.matrix = smallMatrix()
	s.api.grants = []guard.Grant{grantTo("ana", "publisher"), grantTo("bob", "operator")}
	_, body := s.get("/access?role=publisher")
	said := text(body)
	for _, want := range []string{
		"The role publisher never beside model-approver", "may when state live, as an approved change publish",
		"exchange so may anybody", "ana human publisher until 2026-03-04 12:30 UTC , for another 3 hours proposed by bob , given by change c-9 : release of May",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("the page does not say %q:\n%s", want, said)
		}
	}
	if strings.Contains(said, "infer") || strings.Contains(body, `role=operator">operator</a><span class="fine">until`) {
		t.Error("the page shows what other roles may, or have")
	}
	if resp, _ := s.get("/access?role=nobody"); resp.StatusCode != http.StatusNotFound {
		t.Errorf("a role that there is not: status %d", resp.StatusCode)
	}
	s.api.problems["grant.list"] = api.Problem{Status: 403, Title: "denied", Detail: "no policy permits grant.list", Hint: "ask for the role analyst"}
	if resp, body := s.get("/access?role=publisher"); resp.StatusCode != http.StatusOK || !strings.Contains(text(body), "No policy permits grant.list. ask for the role analyst") {
		t.Errorf("who may not see grants: status %d", resp.StatusCode)
	}
}

func grantTo(id, role string) guard.Grant {
	holder := pavise.Name{Tenant: "local", Kind: pavise.Human, ID: id}
	name, err := guard.GrantName(holder, role)
	if err != nil {
		panic(err)
	}
	return guard.Grant{
		Name: name, Holder: holder, Role: role, Given: began, Until: began.Add(3 * time.Hour), Reason: "release of May",
		By: pavise.Name{Tenant: "local", Kind: pavise.Human, ID: "bob"}, Change: pavise.Name{Tenant: "local", Kind: "change", ID: "c-9"},
	}
}

// Who may do one thing is asked of the API as it was typed, and its answer is shown:
// kinds of caller that are alike on one line, and why with the policies' own text.
func TestAsk(t *testing.T) {
	s := newStand(t).signIn()
	s.api.matrix = smallMatrix()
	var holders []policy.Holder
	for _, kind := range []string{pavise.Human, pavise.Workload, pavise.Node} {
		holders = append(holders, policy.Holder{Kind: kind, Role: "publisher", Policy: "publishes", Change: true})
	}
	ana := pavise.Name{Tenant: "local", Kind: pavise.Human, ID: "ana"}
	s.api.whoCan = verbs.WhoCan{Facts: "state=live", Holders: append(holders,
		policy.Holder{Kind: pavise.Human, Role: "operator", Policy: "runs"}, policy.Holder{Kind: pavise.Human, Name: ana, Granted: []string{"publisher"}, Policy: "publishes", Change: true})}
	s.api.explain = guard.Explanation{
		Status: guard.Current, Decision: pavise.Deny, Why: "denied by policy guardrail/through-change", Roles: []string{"publisher"},
		Decided: []guard.Rule{{ID: "guardrail/through-change", Layer: "guardrail", Effect: "forbid", Text: "forbid (principal, action, resource);"}},
	}
	_, body := s.get("/access/ask?verb=model.publish&on=local/model/m")
	said := text(body)
	for _, want := range []string{
		"It is known: state live.", "anybody with publisher as an approved change publishes any human with operator at once runs",
		"ana human granted publisher as an approved change", "model.publish on any model as an approved change done elsewhere",
		"nothing is known or quarantined nobody state live publisher",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("the page does not say %q:\n%s", want, said)
		}
	}
	if len(s.api.asked) != 0 {
		t.Error("why was asked of nobody in particular")
	}
	_, body = s.get("/access/ask?verb=model.publish&on=local/model/m&kind=human&id=+ana&role=analyst,caller+x")
	for _, want := range []string{"human ana with analyst and caller and x may not", "denied by policy guardrail/through-change", "forbid ( principal , action , resource );", "Would allow publisher"} {
		if !strings.Contains(text(body), want) {
			t.Errorf("the page does not say %q:\n%s", want, text(body))
		}
	}
	if len(s.api.asked) != 1 || s.api.asked[0].ID != "ana" || s.api.asked[0].On.ID != "m" || !slices.Equal(s.api.asked[0].Role, []string{"analyst", "caller", "x"}) {
		t.Errorf("it was asked %+v", s.api.asked)
	}
	if _, body := s.get("/access/ask?verb=model.nothing"); !strings.Contains(text(body), "There is no verb model.nothing") {
		t.Error("a verb that there is not")
	}
	s.api.problems["policy.who-can"] = api.Problem{Status: 400, Title: "invalid", Detail: "model.publish does not apply to a gpu", Hint: "it applies to: model"}
	if resp, body := s.get("/access/ask?verb=model.publish&on=local/gpu/m&kind=human"); resp.StatusCode != http.StatusBadRequest || !strings.Contains(body, "it applies to: model") || strings.Contains(body, `id="h-why"`) {
		t.Errorf("a thing of another kind: status %d", resp.StatusCode)
	}
}

// The callers' page says of each how they are known, who answers for them, and how often
// they were let in, and leads to their records.
func TestCallersPage(t *testing.T) {
	s := newStand(t).signIn()
	s.api.grants = []guard.Grant{grantTo("ana", "data-steward")}
	s.api.callers = []guard.Caller{
		{Name: pavise.Name{Tenant: "local", Kind: pavise.Workload, ID: "ci"}, Issuer: "urn:pavise:local:k3v9", Proof: "bearer dpop", Roles: []string{"caller"}, Environment: "prod",
			By: pavise.Name{Tenant: "local", Kind: pavise.Human, ID: "root"}, Expires: began.Add(-time.Minute), First: began, Last: began.Add(-time.Second), Allowed: 12345, Refused: 3},
		{Name: pavise.Name{Tenant: "local", Kind: pavise.Human, ID: "ana"}, Roles: []string{}, Granted: []string{"data-steward"}, Last: began.Add(-time.Hour), Allowed: 1},
	}
	resp, body := s.get("/callers")
	checkHeaders(t, "/callers", resp, body)
	said := text(body)
	for _, want := range []string{
		"2026-03-04 09:29 UTC ci workload made by root , who answers for it bearer dpop prod ended 2026-03-04 09:29 UTC urn:pavise:local:k3v9 caller allowed 12 345 refused 3",
		"2026-03-04 08:30 UTC ana human not said granted data-steward allowed 1 refused 0",
		"ana human data-steward until 2026-03-04 12:30 UTC , for another 3 hours", "Take the role back now",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("the page does not say %q:\n%s", want, said)
		}
	}
	if !strings.Contains(body, `href="/search?who=local%2fworkload%2fci"`) {
		t.Error("nothing leads to the records of a caller")
	}
	for i := range maxCallers {
		s.api.callers = append(s.api.callers, guard.Caller{Name: pavise.Name{Tenant: "local", Kind: pavise.Human, ID: fmt.Sprint("h", i)}})
	}
	if _, body := s.get("/callers"); strings.Count(body, `class="row"`) != maxCallers || !strings.Contains(text(body), "and 2 more") {
		t.Error("the page does not end, or does not say that it did")
	}
}

// A role is taken back by the API's verb, with what the form says and nothing else.
func TestRevoke(t *testing.T) {
	s := newStand(t).signIn()
	form := url.Values{"holder": {"local/human/ana"}, "role": {"data-steward"}}
	resp, body := s.post("/callers/revoke?role=operator", form)
	checkHeaders(t, "/callers/revoke", resp, body)
	if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/callers" {
		t.Fatalf("status %d to %q", resp.StatusCode, resp.Header.Get("Location"))
	}
	if want := (verbs.GrantRef{Holder: pavise.Name{Tenant: "local", Kind: pavise.Human, ID: "ana"}, Role: "data-steward"}); len(s.api.revoked) != 1 || s.api.revoked[0] != want {
		t.Errorf("it arrived as %+v", s.api.revoked)
	}
	for name, c := range map[string]struct {
		form    url.Values
		headers []string
		status  int
	}{
		"another site":     {form, []string{"Origin", "https://evil.example"}, http.StatusForbidden},
		"no origin":        {form, []string{"Origin", ""}, http.StatusForbidden},
		"another port":     {form, []string{"Sec-Fetch-Site", "same-site"}, http.StatusForbidden},
		"nobody":           {form, []string{"Cookie", "pavise_session=guess"}, http.StatusUnauthorized},
		"no holder":        {url.Values{"role": {"x"}}, nil, http.StatusBadRequest},
		"a long form":      {url.Values{"holder": {strings.Repeat("a", maxForm)}}, nil, http.StatusBadRequest},
		"only the address": {url.Values{}, nil, http.StatusBadRequest},
	} {
		path := "/callers/revoke"
		if name == "only the address" {
			path += "?" + form.Encode()
		}
		if resp, _ := s.post(path, c.form, c.headers...); resp.StatusCode != c.status {
			t.Errorf("%s: status %d, want %d", name, resp.StatusCode, c.status)
		}
	}
	if len(s.api.revoked) != 1 {
		t.Errorf("it was taken back %d times", len(s.api.revoked))
	}
	s.api.problems["grant.revoke"] = api.Problem{Status: 404, Title: "notfound", Detail: "no grant is in force", Hint: "pavise grant list shows those that are"}
	if resp, body := s.post("/callers/revoke", form); resp.StatusCode != http.StatusNotFound || !strings.Contains(text(body), "Pavise answers: No grant is in force. pavise grant list shows") {
		t.Errorf("one that is gone: status %d", resp.StatusCode)
	}
}

// A change of policies shows which decisions turn, before its text; a grant shows what
// it lets somebody do; and what was run through the glass says so first.
func TestChangesOfAccess(t *testing.T) {
	s := newStand(t).signIn()
	var flips []policy.Flip
	for _, kind := range []string{pavise.Human, pavise.Workload, pavise.Node} {
		flips = append(flips, policy.Flip{Kind: kind, Role: "analyst", Verb: "issuer.mint", On: "issuer", Was: pavise.Deny, Will: pavise.Allow, Policy: "night-shift"})
	}
	flips = append(flips, policy.Flip{Kind: pavise.Workload, Environment: "prod", Verb: "model.infer", On: "model/m", When: []string{"state=live", "state=canary"}, Was: pavise.Allow, Will: pavise.Deny})
	plan := guard.Preview{Before: "1", After: "2", Was: "x\nold", Text: "x\nnew", Difference: policy.Difference{Flips: flips, Total: 600}}
	show := func(v api.ChangeView) string {
		s.api.changes = []api.ChangeView{v}
		_, body := s.get("/changes/c-open")
		return text(body)
	}
	said := show(proposal("c-open", func(v *api.ChangeView) { v.Plan.Detail = plan }))
	for _, want := range []string{
		"Decisions that it turns 600", "May anybody with analyst issuer.mint on issuer night-shift May no longer any workload in prod model.infer on model/m, when state live or canary none permits it",
		"These are not all: pavise policy diff", "The text, line by line",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("a change of policies does not say %q:\n%s", want, said)
		}
	}
	if strings.Index(said, "Decisions that it turns") > strings.Index(said, "− old") {
		t.Error("the text stands before the decisions")
	}
	plan.Difference = policy.Difference{Flips: []policy.Flip{}}
	if said := show(proposal("c-open", func(v *api.ChangeView) { v.Plan.Detail = plan })); !strings.Contains(said, "None, of any role in any state") {
		t.Error("a change that turns nothing does not say so")
	}
	plan.Flips = nil
	for i := range maxFlips + 1 {
		plan.Flips = append(plan.Flips, policy.Flip{Kind: pavise.Human, Verb: fmt.Sprintf("a.v%d", i), On: "a", Was: pavise.Deny, Will: pavise.Allow})
	}
	plan.Total = len(plan.Flips)
	if said := show(proposal("c-open", func(v *api.ChangeView) { v.Plan.Detail = plan })); strings.Contains(said, fmt.Sprintf("a.v%d ", maxFlips)) || !strings.Contains(said, "These are not all") {
		t.Error("the list does not end, or does not say that it did")
	}

	grant := guard.GrantPlan{Holder: pavise.Name{Tenant: "local", Kind: pavise.Human, ID: "ana"}, Role: "data-steward", For: "8h0m0s", Other: []string{"labeler"}, Gains: []string{"dataset.seal", "dataset.release"}}
	said = show(proposal("c-open", func(v *api.ChangeView) { v.Verb, v.Plan.Detail = "grant.give", grant }))
	for _, want := range []string{"Holder local/human/ana Role data-steward For 8h, from when it is given Beside labeler", "What it lets them do, beyond those 2 dataset.seal dataset.release"} {
		if !strings.Contains(said, want) {
			t.Errorf("a grant does not say %q:\n%s", want, said)
		}
	}

	said = show(proposal("c-open", func(v *api.ChangeView) {
		v.State, v.Glass = change.Ran, &change.Glass{Ticket: "INC-4711", Reason: "wrong scores", At: began, Record: 77}
	}))
	for _, want := range []string{"The glass was broken: this was run before anybody approved it, for ticket INC-4711 , on 2026-03-04 09:30 UTC . Record 77", "Run through the glass"} {
		if !strings.Contains(said, want) {
			t.Errorf("a broken glass does not say %q:\n%s", want, said)
		}
	}
	if strings.Contains(said, "leads only to more safety") {
		t.Error("a broken glass is shown as a step to safety")
	}
	if _, body := s.get("/changes"); !strings.Contains(text(body), "through the glass, ticket INC-4711") {
		t.Error("the inbox does not say that the glass was broken")
	}
}

// What policies, callers, grants and plans say is text wherever it is shown.
func TestHostileAccess(t *testing.T) {
	s := newStand(t).signIn()
	s.api.matrix = verbs.Matrix{
		Roles: []string{payload}, Digest: payload, Conflicts: [][2]string{{payload, payload}},
		Rows: []policy.Row{{Verb: payload, On: payload, Facts: payload, Who: everyone(payload)}, {Verb: payload, On: payload, Facts: "a", Declared: true, Change: true, Who: everyone("")}},
	}
	s.api.whoCan = verbs.WhoCan{Facts: payload, Holders: []policy.Holder{{Kind: payload, Role: payload, Policy: payload, Granted: []string{payload}}}}
	s.api.explain = guard.Explanation{Status: payload, Why: payload, Roles: []string{payload}, Errors: []string{payload}, Decided: []guard.Rule{{ID: payload, Text: payload}}}
	g := grantTo("ana", "x")
	g.Role, g.Reason = payload, payload
	s.api.grants = []guard.Grant{g}
	s.api.callers = []guard.Caller{{Name: g.Holder, Issuer: payload, Proof: payload, Roles: []string{payload}, Granted: []string{payload}, Environment: payload}}
	flips := hostileChange("c-flips", change.Ran, guard.Preview{Was: payload, Difference: policy.Difference{Flips: []policy.Flip{{
		Kind: payload, Role: payload, Name: payload, Environment: payload, Verb: payload, On: payload, When: []string{payload}, Was: payload, Will: payload, Policy: payload,
	}}}})
	flips.Verb, flips.Glass = "policy.put", &change.Glass{Ticket: payload, Reason: payload}
	give := hostileChange("c-give", change.Open, guard.GrantPlan{Holder: g.Holder, Role: payload, For: payload, Was: &g, Other: []string{payload}, Gains: []string{payload}})
	give.Verb = "grant.give"
	s.api.changes = []api.ChangeView{flips, give}
	hostile := url.QueryEscape(payload)
	for _, path := range []string{
		"/access", "/access?role=" + hostile, "/access/ask?verb=" + hostile, "/access/ask?verb=" + hostile + "&on=local/model/m&kind=" + hostile + "&id=" + hostile + "&role=" + hostile,
		"/callers", "/changes", "/changes/c-flips", "/changes/c-give",
	} {
		resp, body := s.get(path)
		if resp.StatusCode != http.StatusOK || !strings.Contains(body, "XMARK") || raw.MatchString(body) {
			t.Errorf("%s: status %d; %q came through raw", path, resp.StatusCode, raw.FindString(body))
		}
	}
	for _, query := range []string{"role=" + hostile + "x", "room=" + hostile, "state=" + hostile} {
		if _, body := s.get("/access?" + query); raw.MatchString(body) {
			t.Errorf("%s came through raw", query)
		}
	}
}
