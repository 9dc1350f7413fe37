package console

import (
	"encoding/base64"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/story"
	"github.com/pavise/pavise/internal/verbs"
)

const fakeDigest = "c56873bb0f1e4a7d9c2b5e8a1d4f7c0b3e6a9d2c5f8b1e4a7d0c3f6b9e2a5d81"

// proposal returns an open change that bob proposed.
func proposal(id string, edit func(*api.ChangeView)) api.ChangeView {
	v := api.ChangeView{Change: change.Change{
		Name: pavise.Name{Tenant: "local", Kind: "change", ID: id}, Verb: "policy.put", On: pavise.Name{Tenant: "local", Kind: "policy", ID: "night-shift"},
		Reason: "the night has no operator", Proposer: pavise.Principal{Tenant: "local", Kind: pavise.Human, ID: "bob"},
		Proposed: began.Add(-time.Hour), Until: began.Add(71 * time.Hour), Rule: change.Rule{Need: 2, Days: 3},
		Plan: change.Plan{
			Summary: "replace the policy night-shift", Digests: map[string]string{"policies before": "aaaa1111", "policies after": "bbbb2222"},
			Detail: map[string]any{"before": "aaaa1111", "after": "bbbb2222", "was": "@id(\"n\")\npermit (principal, action, resource);\n", "text": "@id(\"n\")\nforbid (principal, action, resource);\n"},
		},
		Digest: fakeDigest, State: change.Open, Record: 41,
		Votes: []change.Vote{{By: pavise.Name{Tenant: "local", Kind: pavise.Human, ID: "cleo"}, Yes: true, Reason: "looks right", At: began.Add(-time.Minute), Record: 57}},
	}, Have: 1, Need: 2}
	if edit != nil {
		edit(&v)
	}
	return v
}

// closed returns a change that came to a state.
func closed(id string, state change.State) api.ChangeView {
	return proposal(id, func(v *api.ChangeView) { v.State, v.Outcome, v.Ended = state, "it is over", began })
}

// tokenOf is a token for somebody, without a signature that means anything.
func tokenOf(claims string) string {
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".sig"
}

// signInAs signs somebody in.
func (s *stand) signInAs(id string) *stand {
	s.Helper()
	s.api.token = tokenOf(fmt.Sprintf(`{"sub":%q,"pavise_kind":"human"}`, id))
	return s.signIn()
}

// The inbox shows what waits before what has ended, in the order of the API, and says
// of each all that people need to choose which to open.
func TestChangesPage(t *testing.T) {
	s := newStand(t).signIn()
	if _, body := s.get("/changes"); !strings.Contains(text(body), "Nothing waits for anybody's approval") || strings.Contains(body, `class="badge"`) {
		t.Error("an empty inbox does not say that it is empty")
	}
	s.api.changes = []api.ChangeView{
		closed("c-newest", change.Denied), proposal("c-open", nil),
		proposal("c-ran", func(v *api.ChangeView) {
			v.State, v.Verb, v.Plan.Summary = change.Ran, "route.rollback", "let local/model/m be answered by sha256:1 again"
		}),
		closed("c-done", change.Done),
	}
	resp, body := s.get("/changes")
	checkHeaders(t, "/changes", resp, body)
	var order []string
	for _, m := range regexp.MustCompile(`<h3><a href="/changes/(c-[a-z]+)">`).FindAllStringSubmatch(body, -1) {
		order = append(order, m[1])
	}
	if got := strings.Join(order, " "); got != "c-open c-ran c-newest c-done" {
		t.Errorf("the order is %s", got)
	}
	said := text(body)
	for _, want := range []string{
		"Waits for approval votes count until 2026-03-07 08:30 UTC , for another 3 days Replace the policy night-shift policy.put on policy/night-shift the night has no operator",
		"proposed by bob , human, 2026-03-04 08:30 UTC 1 of 2 approvals: cleo approved",
		"Ran first, waits for approval", "Let local/model/m be answered by sha256:1 again", "Denied 2026-03-04 09:30 UTC", "it is over", "Done",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("the page does not say %q:\n%s", want, said)
		}
	}
}

// Of ended changes the page shows the newest, and says that there are others.
func TestChangesPageEnds(t *testing.T) {
	s := newStand(t).signIn()
	for i := range maxEnded {
		s.api.changes = append(s.api.changes, closed(fmt.Sprintf("c-%d", i), change.Done))
	}
	if _, body := s.get("/changes"); strings.Count(body, "<h3>") != maxEnded || strings.Contains(body, "pavise change list") {
		t.Error("all that have ended are not all that is shown")
	}
	s.api.changes = append(s.api.changes, closed("c-last", change.Void))
	if _, body := s.get("/changes"); strings.Count(body, "<h3>") != maxEnded || strings.Contains(body, "c-last") || !strings.Contains(body, "pavise change list") {
		t.Error("the page does not end, or does not say that it did")
	}
}

// Every state that a change can have is an icon, which the page has, and a word.
func TestChangeStatesAreWordsAndIcons(t *testing.T) {
	s := newStand(t).signIn()
	words := map[string]bool{}
	for _, state := range []change.State{
		change.Open, change.Approved, change.Running, change.Ran, change.Done, change.Failed,
		change.Denied, change.Withdrawn, change.Expired, change.Void, change.Contested, "a state of tomorrow",
	} {
		s.api.changes = []api.ChangeView{closed("c-one", state)}
		_, body := s.get("/changes")
		m := regexp.MustCompile(`<span class="state ([a-z]+)"><svg class="icon" aria-hidden="true"><use href="#i-([a-z]+)"></use></svg><span>([^<]+)</span>`).FindStringSubmatch(body)
		if m == nil || m[1] != m[2] || !strings.Contains(body, `<symbol id="i-`+m[2]+`"`) || words[m[3]] {
			t.Errorf("state %s is shown as %q", state, m)
			continue
		}
		words[m[3]] = true
		if _, body := s.get("/changes/c-one"); !strings.Contains(body, m[0]) {
			t.Errorf("state %s is shown otherwise on the change's own page", state)
		}
	}
}

// A change's page holds all that its approval approves, what it would come to, who
// voted, and the records that prove it.
func TestChangePage(t *testing.T) {
	s := newStand(t).signIn()
	s.api.changes = []api.ChangeView{proposal("c-open", func(v *api.ChangeView) { v.Rule.Of = []string{"cleo", "dan", "eve"} })}
	resp, body := s.get("/changes/c-open")
	checkHeaders(t, "/changes/c-open", resp, body)
	said := text(body)
	for _, want := range []string{
		"Waits for approval Replace the policy night-shift", "proposed by bob , human · 2026-03-04 08:30 UTC · the night has no operator",
		`@id("n") − permit (principal, action, resource); + forbid (principal, action, resource);`,
		"1 of 2 approvals: cleo approved", "Votes count until 2026-03-07 08:30 UTC, for another 3 days. Those of cleo , dan , eve count.",
		"Proposed 2026-03-04 08:30 UTC by local/human/bob: the night has no operator Record 41", "Approved 2026-03-04 09:29 UTC by local/human/cleo: looks right Record 57",
		"Waits for one more approval votes count until 2026-03-07 08:30 UTC",
		"Digest " + fakeDigest, "policies before aaaa1111 policies after bbbb2222", "pavise change approve c-open " + fakeDigest,
	} {
		if !strings.Contains(said, want) {
			t.Errorf("the page does not say %q:\n%s", want, said)
		}
	}
	for _, want := range []string{
		`href="/trail/41"`, `href="/trail/57"`, `<form method="post" action="/changes/c-open/approve">`, `<form method="post" action="/changes/c-open/deny">`,
		`<input type="hidden" name="digest" value="` + fakeDigest + `">`, `<label for="f-reason">`, `<textarea id="f-reason" name="reason" rows="2" maxlength="500" required`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the page has no %s", want)
		}
	}
}

// What people look at is made for what they decide on: texts as their difference,
// all else as JSON, and nothing as a sentence.
func TestPreview(t *testing.T) {
	s := newStand(t).signIn()
	for name, c := range map[string]struct {
		verb   string
		detail any
		want   string
	}{
		"a new policy":     {"policy.put", map[string]any{"text": "permit (a);\n", "before": "1", "after": "2"}, "added, − is taken away + permit (a); What an"},
		"a policy that is": {"policy.put", map[string]any{"was": "x\nold", "text": "x\nnew", "before": "1"}, "x − old + new The whole policy as it would be x new"},
		"one that goes":    {"policy.delete", map[string]any{"was": "permit (a);\n"}, "− permit (a); What an"},
		"a rule":           {"change.rule", map[string]any{"before": map[string]any{"need": 1}, "after": map[string]any{"need": 2}}, `{ − "need": 1 + "need": 2 } The plan as it is, in JSON { "after": {`},
		"a release":        {"route.release", map[string]any{"was": map[string]any{"onnx": "a<b"}, "will": map[string]any{"onnx": "c&d"}, "before": "1"}, `− "onnx": "a<b" + "onnx": "c&d"`},
		"a first release":  {"route.release", map[string]any{"was": map[string]any{"new": true, "max_rows": 0}, "will": map[string]any{"onnx": "c&d"}, "before": "1"}, `added, − is taken away + { + "onnx": "c&d" + }`},
		"something else":   {"archive.forget", map[string]any{"n": 1, "was": "a text"}, `{ "n": 1, "was": "a text" }`},
		"a list":           {"archive.forget", []any{"<a>", 2592000000000000}, `[ "<a>", 2592000000000000 ]`},
		"no policy at all": {"policy.put", map[string]any{"text": 7}, `{ "text": 7 }`},
		"nothing":          {"route.quarantine", nil, "Replace the policy night-shift. There is no more to look at."},
	} {
		s.api.changes = []api.ChangeView{proposal("c-open", func(v *api.ChangeView) { v.Verb, v.Plan.Detail = c.verb, c.detail })}
		if _, body := s.get("/changes/c-open"); !strings.Contains(text(body), c.want) {
			t.Errorf("%s does not say %q:\n%s", name, c.want, text(body))
		}
	}
}

// A vote is the API's verb, with the digest and the reason of the form, and leads back
// to the change, which shows what happened.
func TestVote(t *testing.T) {
	for _, c := range []struct {
		verb string
		form url.Values
		want verbs.VoteRequest
		then string
	}{
		{"approve", url.Values{"digest": {fakeDigest}}, verbs.VoteRequest{ID: "c-open", Digest: fakeDigest}, "Done"},
		{"deny", url.Values{"digest": {fakeDigest}, "reason": {" too wide,\r\nand too long \r\n"}}, verbs.VoteRequest{ID: "c-open", Digest: fakeDigest, Reason: "too wide,\nand too long"}, "Denied"},
		{"withdraw", url.Values{"digest": {fakeDigest}, "reason": {"never mind"}}, verbs.VoteRequest{ID: "c-open"}, "Withdrawn"},
	} {
		s := newStand(t).signIn()
		s.api.changes = []api.ChangeView{proposal("c-open", nil)}
		resp, body := s.post("/changes/c-open/"+c.verb, c.form)
		checkHeaders(t, c.verb, resp, body)
		if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/changes/c-open" {
			t.Fatalf("%s: status %d to %q", c.verb, resp.StatusCode, resp.Header.Get("Location"))
		}
		if len(s.api.votes) != 1 || s.api.votes[0] != (cast{"change." + c.verb, c.want}) {
			t.Errorf("%s arrived as %+v", c.verb, s.api.votes)
		}
		_, body = s.get(resp.Header.Get("Location"))
		if !strings.Contains(text(body), c.then+" Replace the policy night-shift") || strings.Contains(body, "<h2 id=\"h-decide\">") {
			t.Errorf("%s: the page does not show what happened", c.verb)
		}
		if resp, _ := s.get("/changes/c-open/" + c.verb); resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/changes/c-open" {
			t.Errorf("%s: who opens the address again is not led back: status %d", c.verb, resp.StatusCode)
		}
		if len(s.api.votes) != 1 {
			t.Errorf("%s: opening a page voted", c.verb)
		}
	}
}

// A vote that is refused leaves its reader on the change's page, with the API's own
// words and what they had written.
func TestVoteRefused(t *testing.T) {
	for name, p := range map[string]api.Problem{
		"approve":  {Status: 403, Title: "denied", Detail: "local/human/bob proposed change c-open, and nobody approves their own", Hint: "let somebody else look at it"},
		"deny":     {Status: 409, Title: "conflict", Detail: "the digest is not that of change c-open: what was looked at is not what it is", Hint: "look at it: pavise change show c-open, and give the digest that it shows"},
		"withdraw": {Status: 401, Title: "unverified", Detail: "change c-open: the evidence log does not hold the proposal of exactly this change", Hint: "somebody may have changed the database"},
	} {
		s := newStand(t).signIn()
		s.api.changes = []api.ChangeView{proposal("c-open", nil)}
		s.api.problems["change."+name] = p
		resp, body := s.post("/changes/c-open/"+name, url.Values{"digest": {"00000000"}, "reason": {"because <b>I</b> say so"}})
		checkHeaders(t, name, resp, body)
		said := strings.ToLower(text(body))
		if resp.StatusCode != p.Status || !strings.Contains(said, strings.ToLower(p.Detail)) || !strings.Contains(said, strings.ToLower(p.Hint)) {
			t.Errorf("%s: status %d, and the page does not say why:\n%s", name, resp.StatusCode, said)
		}
		if !strings.Contains(body, `role="alert"`) || !strings.Contains(body, "/changes/c-open/approve") || !strings.Contains(html.UnescapeString(body), ">because <b>I</b> say so</textarea>") {
			t.Errorf("%s: the change is not shown with what was written", name)
		}
		if strings.Contains(body, "<b>I</b>") {
			t.Errorf("%s: what was written is markup", name)
		}
		if resp, _ := s.get("/changes"); resp.StatusCode != http.StatusOK {
			t.Errorf("%s: the session ended", name)
		}
	}
}

// A token that is taken no more ends the session, whatever was asked with it, and a
// change that is gone is said to be.
func TestVoteWithoutChangeOrToken(t *testing.T) {
	s := newStand(t).signIn()
	form := url.Values{"digest": {fakeDigest}, "reason": {"no"}}
	if resp, body := s.post("/changes/c-gone/deny", form); resp.StatusCode != http.StatusNotFound || !strings.Contains(body, "here is no change c-gone") {
		t.Errorf("a change that is gone: status %d", resp.StatusCode)
	}
	s.api.changes = []api.ChangeView{proposal("c-open", nil)}
	s.api.token = "another"
	if resp, body := s.post("/changes/c-open/approve", form); resp.StatusCode != http.StatusUnauthorized || !strings.Contains(body, "pavise console link") {
		t.Errorf("a token that is taken no more: status %d", resp.StatusCode)
	}
	s.api.token = fakeToken
	if resp, _ := s.get("/changes/c-open"); resp.StatusCode != http.StatusUnauthorized || len(s.api.votes) != 0 {
		t.Errorf("the session outlived its token: status %d, votes %v", resp.StatusCode, s.api.votes)
	}
}

// Nothing but a form that our own page sent votes: not another origin's, none of an
// unknown origin, no link, and nobody without a session.
func TestVoteFromElsewhere(t *testing.T) {
	s := newStand(t).signIn()
	s.api.changes = []api.ChangeView{proposal("c-open", nil)}
	own, form := s.server.URL, url.Values{"digest": {fakeDigest}, "reason": {"no"}}
	port := own[strings.LastIndex(own, ":"):]
	for _, verb := range []string{"approve", "deny", "withdraw"} {
		path := "/changes/c-open/" + verb
		for _, headers := range [][]string{
			{"Origin", ""}, {"Origin", "null"}, {"Origin", "http://evil.example"}, {"Origin", "http://127.0.0.1:1"}, {"Origin", "http://localhost" + port},
			{"Origin", own + ".evil.example"}, {"Origin", "http://evil.example" + port}, {"Origin", "file://"}, {"Origin", "127.0.0.1" + port},
			{"Origin", "", "Sec-Fetch-Site", "same-origin"}, {"Origin", "", "Sec-Fetch-Site", "none"}, {"Origin", "null", "Sec-Fetch-Site", "cross-site"}, {"Origin", "null", "Sec-Fetch-Site", "same-site"},
			{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Sec-Fetch-Site", "none"},
			{"Origin", "http://127.0.0.1:1", "Sec-Fetch-Site", "same-origin"},
		} {
			if resp, _ := s.post(path, form, headers...); resp.StatusCode != http.StatusForbidden {
				t.Errorf("%s with %v: status %d", verb, headers, resp.StatusCode)
			}
		}
		if resp, _ := s.post(path, form, "Host", "evil.example"); resp.StatusCode != http.StatusMisdirectedRequest {
			t.Errorf("%s for another host: status %d", verb, resp.StatusCode)
		}
		if resp, _ := s.get(path + "?" + form.Encode()); resp.StatusCode != http.StatusSeeOther {
			t.Errorf("%s by a link: status %d", verb, resp.StatusCode)
		}
		signedIn := s.cookie
		s.cookie = nil
		if resp, body := s.post(path, form); resp.StatusCode != http.StatusUnauthorized || strings.Contains(body, "night-shift") {
			t.Errorf("%s without a session: status %d", verb, resp.StatusCode)
		}
		s.cookie = &http.Cookie{Name: "pavise_session", Value: strings.Repeat("A", 43)}
		if resp, _ := s.post(path, form); resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s with a guessed session: status %d", verb, resp.StatusCode)
		}
		s.cookie = signedIn
	}
	if len(s.api.votes) != 0 || s.api.calls["change.approve"]+s.api.calls["change.deny"]+s.api.calls["change.withdraw"] != 0 {
		t.Errorf("the API was asked: %v", s.api.calls)
	}
	if resp, _ := s.post("/changes/c-open/approve", form, "Origin", "null", "Sec-Fetch-Site", "same-origin"); resp.StatusCode != http.StatusSeeOther {
		t.Errorf("a browser's own form on a page without referrer: status %d", resp.StatusCode)
	}
}

// Only the body of a form says something, and only so much of it.
func TestVoteForms(t *testing.T) {
	s := newStand(t).signIn()
	s.api.changes = []api.ChangeView{proposal("c-open", nil)}
	s.post("/changes/c-open/approve?digest="+fakeDigest+"&reason=link", nil)
	if want := (cast{"change.approve", verbs.VoteRequest{ID: "c-open"}}); len(s.api.votes) != 1 || s.api.votes[0] != want {
		t.Errorf("the address said something: %+v", s.api.votes)
	}
	s.post("/changes/c-open/deny", nil, "Content-Type", "application/json", "body", `{"digest":"`+fakeDigest+`","reason":"x"}`)
	if want := (cast{"change.deny", verbs.VoteRequest{ID: "c-open"}}); len(s.api.votes) != 2 || s.api.votes[1] != want {
		t.Errorf("what is no form said something: %+v", s.api.votes)
	}
	for name, body := range map[string]string{"too long": "reason=" + strings.Repeat("x", maxForm), "broken": "reason=%zz"} {
		if resp, body := s.post("/changes/c-open/deny", nil, "body", body); resp.StatusCode != http.StatusBadRequest || !strings.Contains(body, "Nothing was decided") {
			t.Errorf("a form that is %s: status %d", name, resp.StatusCode)
		}
	}
	s.api.problems["change.deny"] = api.Problem{Status: 400, Title: "invalid", Detail: "the reason is 10240 bytes long, more than 512"}
	if resp, body := s.post("/changes/c-open/deny", url.Values{"reason": {strings.Repeat("long ", 2048)}}); resp.StatusCode != http.StatusBadRequest || !strings.Contains(body, "more than 512") {
		t.Errorf("a reason of 10 kB: status %d", resp.StatusCode)
	}
	if len(s.api.votes) != 2 {
		t.Errorf("votes %+v", s.api.votes)
	}
}

// People are offered what they may do, as far as their token says who they are.
func TestOffers(t *testing.T) {
	open, ran := proposal("c-open", nil), proposal("c-ran", func(v *api.ChangeView) { v.State = change.Ran })
	for _, c := range []struct {
		who, id string
		want    string
	}{
		{"ana", "c-open", "approve deny"}, {"ana", "c-ran", "approve deny"},
		{"bob", "c-open", "withdraw"}, {"bob", "c-ran", "deny"},
		{"cleo", "c-open", ""}, {"cleo", "c-ran", ""},
		{"", "c-open", "approve deny withdraw"}, {"", "c-ran", "approve deny"},
		{"ana", "c-done", ""}, {"bob", "c-done", ""}, {"", "c-done", ""},
	} {
		s := newStand(t).signInAs(c.who)
		s.api.changes = []api.ChangeView{open, ran, closed("c-done", change.Done)}
		_, body := s.get("/changes/" + c.id)
		var offered []string
		for _, m := range regexp.MustCompile(`<form method="post" action="/changes/[^/]+/([a-z]+)">`).FindAllStringSubmatch(body, -1) {
			offered = append(offered, m[1])
		}
		if got := strings.Join(offered, " "); got != c.want {
			t.Errorf("%q is offered %q of %s, want %q", c.who, got, c.id, c.want)
		}
		if (c.who == "bob" || c.who == "cleo") && c.id != "c-done" && !strings.Contains(body, `class="hold"`) {
			t.Errorf("%q is not told why not more is offered of %s", c.who, c.id)
		}
	}
}

// An id that can be none is not carried to the API, and leads nowhere.
func TestAbsurdChangeIDs(t *testing.T) {
	s := newStand(t).signIn()
	for _, id := range []string{
		strings.Repeat("a", 129), strings.Repeat("a", 10<<10), "%00", "%0d%0aLocation:%20http:%2f%2fevil.example", "-x", "%2e%2e", "a%2fb", "%3cscript%3e", "c%20d", "%c3%a9", "%2f%2fevil.example",
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			path := "/changes/" + id
			if method == http.MethodPost {
				path += "/approve"
			}
			resp, body := s.do(method, path, "Origin", s.server.URL)
			if resp.StatusCode != http.StatusNotFound && resp.StatusCode != http.StatusMethodNotAllowed || raw.MatchString(body) || resp.Header.Get("Location") != "" {
				t.Errorf("%s %.60s: status %d to %q", method, path, resp.StatusCode, resp.Header.Get("Location"))
			}
		}
	}
	if s.api.calls["change.show"]+s.api.calls["change.approve"] != 0 {
		t.Errorf("the API was asked: %v", s.api.calls)
	}
	if resp, body := s.get("/changes/c-nobody"); resp.StatusCode != http.StatusNotFound || !strings.Contains(body, "here is no change c-nobody") {
		t.Errorf("an id of none: status %d", resp.StatusCode)
	}
}

// Every page says how many changes wait, from an answer of the last seconds, and does
// without when it gets none.
func TestBadge(t *testing.T) {
	badge := regexp.MustCompile(`>Changes <span class="badge">([^<]+)<`)
	shown := func(s *stand, path string) string {
		_, body := s.get(path)
		if m := badge.FindStringSubmatch(body); m != nil {
			return html.UnescapeString(m[1])
		}
		return ""
	}
	s := newStand(t).signIn()
	s.api.changes = []api.ChangeView{proposal("c-a", nil)}
	if got := shown(s, "/changes"); got != "1" {
		t.Errorf("the inbox, opened first, says %q", got)
	}
	s.clock.add(countEvery)
	s.api.changes = []api.ChangeView{proposal("c-a", nil), proposal("c-b", func(v *api.ChangeView) { v.State = change.Ran }), closed("c-c", change.Done)}
	for _, path := range []string{"/", "/search", "/routes", "/policies", "/evidence", "/trail/x", "/changes/c-a", "/changes", "/nowhere"} {
		if got := shown(s, path); got != "2" {
			t.Errorf("%s says %q", path, got)
		}
	}
	asked := s.api.calls["change.list"]
	s.api.changes = s.api.changes[1:]
	if got := shown(s, "/"); got != "2" || s.api.calls["change.list"] != asked {
		t.Errorf("a page asked again at once, and says %q", got)
	}
	s.clock.add(countEvery)
	if got := shown(s, "/"); got != "1" {
		t.Errorf("after a while: %q", got)
	}
	s.post("/changes/c-b/approve", url.Values{"digest": {fakeDigest}})
	if got := shown(s, "/changes/c-b"); got != "" {
		t.Errorf("after the last vote: %q", got)
	}
	for i := range 150 {
		s.api.changes = append(s.api.changes, proposal(fmt.Sprintf("c-%d", i), nil))
	}
	s.clock.add(countEvery)
	if got := shown(s, "/routes"); got != "99+" {
		t.Errorf("of 150: %q", got)
	}
	s.api.problems["change.list"] = api.Problem{Status: 403, Title: "denied", Detail: "no policy permits it", Hint: "ask for the role analyst"}
	s.clock.add(countEvery)
	if resp, body := s.get("/"); resp.StatusCode != http.StatusOK || badge.MatchString(body) {
		t.Errorf("who may not see changes: status %d", resp.StatusCode)
	}
	if resp, body := s.get("/changes"); resp.StatusCode != http.StatusForbidden || !strings.Contains(body, "ask for the role analyst") {
		t.Errorf("their inbox: status %d", resp.StatusCode)
	}
}

// How long votes count is said as people do, and never as less than there is by half.
func TestLeft(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "", -time.Hour: "", time.Second: "for less than two minutes", 59*time.Minute + 40*time.Second: "for another 60 minutes",
		119 * time.Minute: "for another 119 minutes", 5 * time.Hour: "for another 5 hours", 47*time.Hour + 50*time.Minute: "for another 48 hours",
		71 * time.Hour: "for another 3 days", 90 * 24 * time.Hour: "for another 90 days",
	} {
		if got := left(d); got != want {
			t.Errorf("left(%v) = %q, want %q", d, got, want)
		}
	}
}

// The votes of a change that nobody may vote on any more no longer count, and it says
// so before it is swept away.
func TestChangeOverdue(t *testing.T) {
	s := newStand(t).signIn()
	s.api.changes = []api.ChangeView{proposal("c-open", func(v *api.ChangeView) { v.Until = began })}
	if _, body := s.get("/changes"); !strings.Contains(text(body), "votes no longer count") {
		t.Error("the inbox says that votes count")
	}
	if _, body := s.get("/changes/c-open"); !strings.Contains(text(body), "Votes counted until 2026-03-04 09:30 UTC.") {
		t.Error("the page says that votes count")
	}
}

// hostileChange has a payload wherever a change holds free text.
func hostileChange(id string, state change.State, detail any) api.ChangeView {
	return proposal(id, func(v *api.ChangeView) {
		v.State, v.Verb, v.Reason, v.Digest, v.Outcome, v.Ended = state, payload, payload, payload, payload, began
		v.Proposer = pavise.Principal{Tenant: payload, Kind: payload, ID: payload}
		v.Rule.Of = []string{payload}
		v.Plan = change.Plan{Summary: payload, Digests: map[string]string{payload: payload}, Detail: detail}
		v.Votes[0].Reason = payload
	})
}

// What a proposer wrote is text wherever a change is shown: in its parts, in its
// preview, and in what the API says of it.
func TestHostileChanges(t *testing.T) {
	s := newStand(t).signIn()
	policy := hostileChange("c-policy", change.Open, map[string]any{"was": payload + "\n1", "text": payload + "\n2"})
	policy.Verb = "policy.put"
	pair := map[string]any{"was": map[string]any{payload: payload}, "will": map[string]any{payload: 1}, payload: payload}
	s.api.changes = []api.ChangeView{
		policy, hostileChange("c-json", change.Ran, []any{payload}), hostileChange("c-pair", change.Void, pair),
		hostileChange("c-done", change.Done, payload), hostileChange("c-strange", payload, nil),
	}
	paths := []string{"/changes"}
	for _, v := range s.api.changes {
		paths = append(paths, "/changes/"+v.Name.ID)
	}
	for _, path := range paths {
		resp, body := s.get(path)
		if resp.StatusCode != http.StatusOK || !strings.Contains(body, "XMARK") || raw.MatchString(body) {
			t.Errorf("%s: status %d; %q came through raw", path, resp.StatusCode, raw.FindString(body))
		}
	}
	s.api.problems["change.deny"] = api.Problem{Status: 409, Title: "conflict", Detail: payload, Hint: payload}
	if resp, body := s.post("/changes/c-policy/deny", url.Values{"digest": {payload}, "reason": {payload}}); resp.StatusCode != http.StatusConflict || raw.MatchString(body) || strings.Count(body, "XMARK") < 10 {
		t.Errorf("a refused vote: status %d; %q came through raw", resp.StatusCode, raw.FindString(body))
	}
}

// Every state has its own colours in the style sheet, beside its icon and its word.
func TestStatesHaveColours(t *testing.T) {
	css, err := os.ReadFile("asset/console.css")
	if err != nil {
		t.Fatal(err)
	}
	plainly := []string{story.Begun, story.Note, stateWithdrawn, stateExpired, stateVoid} // gray, as all are without a rule
	for _, shown := range changeStates {
		if !slices.Contains(plainly, shown.state) && !strings.Contains(string(css), ".state."+shown.state) {
			t.Errorf("state %s has no colour", shown.state)
		}
	}
}
