package console

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/detect"
	"github.com/pavise/pavise/internal/theft"
	"github.com/pavise/pavise/internal/tier"
	"github.com/pavise/pavise/internal/verbs"
)

var (
	detector = pavise.Name{Tenant: "local", Kind: "model", ID: "threat-detector"}
	scanner  = pavise.Name{Tenant: "local", Kind: pavise.Workload, ID: "scanner"}
)

// twoTiers are a caller whom a person holds, and one whom a detector found.
func twoTiers() verbs.TierViews {
	return verbs.TierViews{Tiers: []verbs.TierView{
		{Standing: tier.Standing{Model: detector, Who: pavise.Name{Tenant: "local", Kind: pavise.Human, ID: "eve"}, Tier: tier.Red, Since: began.Add(-time.Hour), Until: began.Add(5 * time.Hour), By: pavise.Name{Tenant: "local", Kind: pavise.Human, ID: "ana"}, Reason: "a theft"}, Words: "local/human/ana said so: a theft"},
		{Standing: tier.Standing{Model: detector, Who: scanner, Tier: tier.Amber, Since: began.Add(-time.Minute), Until: began.Add(24 * time.Hour), Evidence: &theft.Sighting{Rows: 250, Detector: "low-margin", Score: 3.5, Threshold: 2, Evidence: "40% of its rows lie close to a border of the model", Scores: [theft.LookCount]float64{0.4, 1.1, 1.2, 3.5}, Looked: 4}}, Words: "a detector found it unlike honest clients: after 250 rows, 40% of its rows lie close to a border of the model"},
	}}
}

// The page of tiers says who stands how, since when, why and by how much, and leads to
// each one's own.
func TestTiersPage(t *testing.T) {
	s := newStand(t).signIn()
	if _, body := s.get("/tiers"); !strings.Contains(text(body), "Everybody is green") {
		t.Error("nobody is held, and the page does not say so")
	}
	s.api.tiers = twoTiers()
	resp, body := s.get("/tiers")
	checkHeaders(t, "/tiers", resp, body)
	said := text(body)
	for _, want := range []string{
		"Red eve human threat-detector 2026-03-04 08:30 UTC for another 5 hours local/human/ana said so: a theft",
		"Amber scanner workload threat-detector 2026-03-04 09:29 UTC for another 24 hours A detector found it unlike honest clients: after 250 rows, 40% of its rows lie close to a border of the model",
		"at most 2.00 score 3.50 by low-margin",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("the page does not say %q:\n%s", want, said)
		}
	}
	if strings.Count(body, `class="gauge"`) != 1 || strings.Contains(body, `class="gauge looks"`) {
		t.Error("a gauge is drawn of what nobody measured, or the looks of everybody")
	}
	if !strings.Contains(body, `href="/tiers/of?caller=local%2Fworkload%2Fscanner&amp;model=local%2Fmodel%2Fthreat-detector"`) {
		t.Errorf("nothing leads to the caller:\n%s", body)
	}
	if _, body := s.get("/callers"); !strings.Contains(body, `href="/tiers"`) {
		t.Error("the callers' page does not lead here")
	}
	s.api.tiers.Tiers, s.api.tiers.More, s.api.tiers.Pushed = nil, 7, 12345
	s.api.tiers.Unseen = []tier.Unseen{{Model: detector, Requests: 4321, Odd: 7, Findings: 2}}
	for i := range maxTiers + 3 {
		s.api.tiers.Tiers = append(s.api.tiers.Tiers, verbs.TierView{Standing: tier.Standing{Model: detector, Who: pavise.Name{Tenant: "local", Kind: pavise.Human, ID: fmt.Sprint("h", i)}, Tier: tier.Amber}})
	}
	_, body = s.get("/tiers")
	if strings.Count(body, `class="row alter"`) != maxTiers || !strings.Contains(text(body), "and 10 more") || !strings.Contains(text(body), "12 345 others were let go") {
		t.Error("the page does not end, or does not say that it did")
	}
	if want := "Of threat-detector detectors did not look at 4 321 answered requests since the start, could make nothing of 7, and lost 2 findings."; !strings.Contains(text(body), want) {
		t.Errorf("the page does not say %q:\n%s", want, text(body))
	}
}

// One caller's page has the evidence, its records, and the forms that fit how it stands.
func TestTierPage(t *testing.T) {
	s := newStand(t).signIn()
	s.api.tiers = twoTiers()
	s.api.records = []verbs.TierRecord{{Index: 17, Kind: detect.KindSuspected, At: began, Words: "it nearly repeats itself"}}
	resp, body := s.get(tierAddress(detector.String(), scanner.String()))
	checkHeaders(t, "/tiers/of", resp, body)
	if !strings.Contains(body, `aria-label="scores: 0.40 after 50 rows, 1.10 after 100 rows, 1.20 after 150 rows, 3.50 after 250 rows; the most of honest clients is 2.00"`) || strings.Count(body, `class="bar over" x=`) != 2 {
		t.Errorf("its looks are not drawn:\n%s", body)
	}
	said := text(body)
	for _, want := range []string{"Amber scanner at threat-detector", "Says a detector", "250, when it was found", "it nearly repeats itself", "score 3.50 by low-margin", "Lift it", "Hold it otherwise", "Operators may, and nobody for themselves"} {
		if !strings.Contains(said, want) {
			t.Errorf("the page does not say %q:\n%s", want, said)
		}
	}
	if !strings.Contains(body, `href="/trail/17"`) || strings.Count(body, "<textarea") != 2 || strings.Count(body, `maxlength="1000" required`) != 2 {
		t.Error("the record is not led to, or a reason is not asked for")
	}
	_, body = s.get(tierAddress(detector.String(), "local/human/nobody"))
	if said := text(body); !strings.Contains(said, "Green nobody at threat-detector") || strings.Contains(said, "Lift it") || !strings.Contains(said, "Hold it") {
		t.Errorf("one who is green: %s", said)
	}
	for _, path := range []string{"/tiers/of", "/tiers/of?model=x&caller=y"} {
		if resp, _ := s.get(path); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: status %d", path, resp.StatusCode)
		}
	}
	for _, path := range []string{"/tiers/lift", "/tiers/hold?tier=red"} {
		if resp, _ := s.get(path); resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/tiers" {
			t.Errorf("%s by GET: status %d", path, resp.StatusCode)
		}
	}
}

// A caller is lifted and held by the API's verbs, with what the form says and nothing
// else; what the API answers is shown beside what was typed.
func TestTierForms(t *testing.T) {
	s := newStand(t).signIn()
	s.api.tiers = twoTiers()
	lift := url.Values{"model": {detector.String()}, "caller": {scanner.String()}, "reason": {" our own\r\ntest "}}
	hold := url.Values{"model": {detector.String()}, "caller": {scanner.String()}, "reason": {"a theft"}, "tier": {"red"}, "for": {"8h"}}
	for path, form := range map[string]url.Values{"/tiers/lift": lift, "/tiers/hold": hold} {
		resp, body := s.post(path+"?reason=another&tier=amber", form)
		checkHeaders(t, path, resp, body)
		if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != tierAddress(detector.String(), scanner.String()) {
			t.Fatalf("%s: status %d to %q", path, resp.StatusCode, resp.Header.Get("Location"))
		}
	}
	if want := (verbs.TierLift{TierRef: verbs.TierRef{Model: detector, Caller: scanner}, Reason: "our own\ntest"}); len(s.api.lifts) != 1 || s.api.lifts[0] != want {
		t.Errorf("the lift arrived as %+v", s.api.lifts)
	}
	if want := (verbs.TierHold{Model: detector, Caller: scanner, Tier: "red", Reason: "a theft", For: "8h"}); len(s.api.holds) != 1 || s.api.holds[0] != want {
		t.Errorf("the hold arrived as %+v", s.api.holds)
	}
	for name, c := range map[string]struct {
		form    url.Values
		headers []string
		status  int
	}{
		"another site": {lift, []string{"Origin", "https://evil.example"}, http.StatusForbidden},
		"another port": {lift, []string{"Sec-Fetch-Site", "same-site"}, http.StatusForbidden},
		"nobody":       {lift, []string{"Cookie", "pavise_session=guess"}, http.StatusUnauthorized},
		"no caller":    {url.Values{"model": {detector.String()}, "reason": {"x"}}, nil, http.StatusBadRequest},
		"a long form":  {url.Values{"reason": {strings.Repeat("a", maxForm)}}, nil, http.StatusBadRequest},
	} {
		for _, path := range []string{"/tiers/lift", "/tiers/hold"} {
			if resp, _ := s.post(path, c.form, c.headers...); resp.StatusCode != c.status {
				t.Errorf("%s to %s: status %d, want %d", name, path, resp.StatusCode, c.status)
			}
		}
	}
	if len(s.api.lifts) != 1 || len(s.api.holds) != 1 {
		t.Errorf("%d were lifted, %d held", len(s.api.lifts), len(s.api.holds))
	}
	s.api.problems["tier.lift"] = api.Problem{Status: 403, Title: "denied", Detail: "local/human/ana answers for it, and nobody lifts what holds themselves", Hint: "ask another operator"}
	resp, body := s.post("/tiers/lift", lift)
	if resp.StatusCode != http.StatusForbidden || !strings.Contains(text(body), "Pavise answers: local/human/ana answers for it, and nobody lifts what holds themselves ask another operator") || !strings.Contains(body, "our own\ntest</textarea>") {
		t.Errorf("what is refused: status %d\n%s", resp.StatusCode, text(body))
	}
}

// Whatever stands in names and reasons, the page shows as text.
func TestTiersAreText(t *testing.T) {
	s := newStand(t).signIn()
	s.api.tiers = twoTiers()
	for i := range s.api.tiers.Tiers {
		v := &s.api.tiers.Tiers[i]
		v.Words, v.Reason = payload, payload
		if v.Evidence != nil {
			v.Evidence.Detector, v.Evidence.Evidence = payload, payload
		}
	}
	s.api.records = []verbs.TierRecord{{Index: 1, Kind: payload, Words: payload}}
	for _, path := range []string{"/tiers", "/tiers?model=" + url.QueryEscape(payload), tierAddress(detector.String(), scanner.String())} {
		_, body := s.get(path)
		if raw.MatchString(body) || !strings.Contains(body, "XMARK") {
			t.Errorf("%s: %q came through raw", path, raw.FindString(body))
		}
	}
}
