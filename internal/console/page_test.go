package console

import (
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/evidence"
	"github.com/pavise/pavise/internal/firewall"
	"github.com/pavise/pavise/internal/gateway"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/prompt"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/story"
	"github.com/pavise/pavise/internal/tensor"
	"github.com/pavise/pavise/internal/verbs"
)

// payload is what an attacker may get into a record. It ends with a mark
// by which the test knows that it was shown at all.
const payload = `"'><script>alert(1)</script><img src=x onerror=alert(1)>{{.}}</title></template>&lt;b&gt;` + "\u202e\u0000\x1b[2J" + `XMARK`

// raw matches a payload that broke out.
var raw = regexp.MustCompile(`<script>|<img src=x|</template>&lt;|\x{202e}|\x00|\x1b`)

// hostile is a record with a payload in every field that is text.
func hostile(phase string) record.Record {
	r := infer(began, "ci", 2, nil)
	detail, err := json.Marshal(gateway.Trail{
		ID: payload, Model: payload, Rows: 2, Input: payload, Output: payload, Truth: payload, Shape: payload, Altered: true,
		Answer: []gateway.Output{{Name: payload, Datatype: payload, Shape: []int64{-1}}},
	})
	if err != nil {
		panic(err)
	}
	r.Phase, r.Detail, r.Subject = phase, detail, payload
	r.Who = &pavise.Principal{Tenant: payload, Kind: payload, ID: payload, Issuer: payload, Roles: []string{payload}, Proof: payload}
	r.Policy = &record.Policy{Digest: payload, Reasons: []string{payload}, Errors: []string{payload}}
	r.Verdicts = []pavise.Verdict{
		{Check: payload, Outcome: payload, Reason: payload}, {Check: "gate", Outcome: pavise.Allow, Reason: payload},
		{Check: "gate", Outcome: pavise.Deny, Reason: payload, Observed: true}, {Check: "shape", Outcome: pavise.Alter, Reason: payload},
	}
	return r
}

// hostiles are hostile records in every state that is shown its own way.
func hostiles() []record.Record {
	note, err := json.Marshal(map[string]any{"source": payload, "reason": payload, "count": 7})
	if err != nil {
		panic(err)
	}
	finding, err := json.Marshal(struct {
		Finding pavise.Finding `json:"finding"`
	}{pavise.Finding{Summary: payload}})
	if err != nil {
		panic(err)
	}
	enter := uint64(0)
	denied, failed, verb, exit := hostile(record.Act), hostile(record.Act), hostile(record.Act), hostile(record.Exit)
	denied.Outcome, denied.Verdicts = pavise.Deny, []pavise.Verdict{{Check: "policy", Outcome: pavise.Deny, Reason: payload}}
	failed.Error = &record.Failure{Kind: payload, Msg: payload}
	verb.Kind = payload
	exit.Kind, exit.Enter = "route.put", &enter
	return []record.Record{
		hostile(record.Enter), hostile(record.Act), denied, failed, verb, exit, hostile(record.Interrupted),
		{Kind: "identity.refused", Phase: record.Note, Tenant: "local", At: began, Detail: note},
		{Kind: "guard.refused", Phase: record.Note, Tenant: "local", At: began, Detail: note},
		{Kind: "ledger.recovered", Phase: record.Note, Tenant: "local", At: began, Detail: finding},
		{Kind: payload, Phase: payload, Tenant: payload, At: began, Outcome: payload, Detail: note},
	}
}

func TestHostileText(t *testing.T) {
	s := newStand(t).signIn()
	s.api.add(hostiles()...)
	s.api.explain = guard.Explanation{
		Status: payload, Why: payload, Digest: payload, Recorded: payload, Errors: []string{payload}, Roles: []string{payload},
		Decided: []guard.Rule{{ID: payload, Layer: payload, Effect: payload, Text: payload}}, Permits: []guard.Rule{{ID: payload, Text: payload}},
	}
	s.api.status = evidence.LogStatus{Origin: payload, Key: payload, Fingerprint: payload, Problem: payload}
	s.api.policies = verbs.PolicyList{Digest: payload, Policies: []guard.TenantPolicy{{ID: payload, Text: "@doc(\"" + payload + "\")\npermit (" + payload}}}
	s.api.routes = []route.Standing{{Route: route.Route{
		Model: pavise.Name{Tenant: "local", Kind: "model", ID: "m"}, Upstream: payload, Remote: payload, Purpose: payload, Shape: firewall.Shape{Kind: payload},
		Signature: tensor.Signature{Inputs: []tensor.Port{{Name: payload, Datatype: payload}}, Outputs: []tensor.Port{{Name: payload, Datatype: payload}}},
	}}}
	paths := []string{"/?show=all", "/evidence", "/routes", "/policies"}
	for i := range hostiles() {
		paths = append(paths, fmt.Sprintf("/trail/%d", i))
	}
	for _, path := range paths {
		resp, body := s.get(path)
		if resp.StatusCode != http.StatusOK || !strings.Contains(body, "XMARK") {
			t.Errorf("%s: status %d; the record is not shown", path, resp.StatusCode)
		}
		if found := raw.FindString(body); found != "" {
			t.Errorf("%s: %q came through raw", path, found)
		}
	}
	s.api.problems["route.list"] = api.Problem{Status: 403, Title: "denied", Detail: payload, Hint: payload}
	if _, body := s.get("/routes"); raw.MatchString(body) || !strings.Contains(body, "XMARK") {
		t.Errorf("an error page let a payload through:\n%s", body)
	}
}

// text is what a page says, without its tags.
func text(body string) string {
	body = regexp.MustCompile(`<[^>]*>`).ReplaceAllString(body, " ")
	return html.UnescapeString(strings.Join(strings.Fields(body), " "))
}

func TestLiveViews(t *testing.T) {
	s := newStand(t).signIn()
	refusals, _ := json.Marshal(map[string]any{"source": "203.0.113.7", "reason": "no such key", "count": 12})
	enter := uint64(3)
	read := infer(began, "ana", 0, func(r *record.Record) { r.Kind = "ledger.read" })
	denied := infer(began, "thief", 9, func(r *record.Record) {
		r.Outcome = pavise.Deny
		r.Verdicts = []pavise.Verdict{{Check: "budget", Outcome: pavise.Deny, Reason: "300 rows are spent"}}
	})
	deniedRead := infer(began, "mole", 0, func(r *record.Record) {
		r.Kind, r.Outcome = "ledger.list", pavise.Deny
		r.Verdicts = []pavise.Verdict{{Check: "policy", Outcome: pavise.Deny, Reason: "local/workload/mole may not do ledger.list on local/model/threat-detector: no policy permits it"}}
	})
	observed := infer(began, "canary", 4, func(r *record.Record) {
		r.Verdicts[1] = pavise.Verdict{Check: "budget", Outcome: pavise.Deny, Observed: true, Reason: "over budget"}
	})
	s.api.add(
		infer(began, "ci", 3, nil), read, denied,
		record.Record{Kind: "route.put", Phase: record.Enter, Tenant: "local", At: began, Outcome: pavise.Allow, Who: &pavise.Principal{ID: "beginner", Kind: "human"}},
		record.Record{Kind: "route.put", Phase: record.Exit, Tenant: "local", At: began, Outcome: pavise.Allow, Enter: &enter, Who: &pavise.Principal{ID: "finisher", Kind: "human"}},
		record.Record{Kind: "identity.refused", Phase: record.Note, Tenant: "local", At: began, Detail: refusals},
		deniedRead, observed,
	)
	for view, want := range map[string]string{
		"":          "canary mole 203.0.113.7 finisher thief ci",
		"decisions": "canary mole 203.0.113.7 finisher thief ci",
		"denied":    "canary mole 203.0.113.7 thief",
		"control":   "finisher beginner",
		"reads":     "mole ana",
		"all":       "canary mole 203.0.113.7 finisher beginner thief ana ci",
		"nonsense":  "canary mole 203.0.113.7 finisher thief ci",
	} {
		_, body := s.get("/?show=" + view)
		var who []string
		for _, m := range regexp.MustCompile(`<td class="who"><bdi>([^<]+)</bdi>`).FindAllStringSubmatch(body, -1) {
			who = append(who, m[1])
		}
		if got := strings.Join(who, " "); got != want {
			t.Errorf("view %q shows %q, want %q", view, got, want)
		}
	}
	_, body := s.get("/")
	said := text(body)
	for _, want := range []string{
		"no such key (12 times in a second)", "mole workload ledger.list model/threat-detector no policy permits it",
		"300 rows are spent", "would be denied: over budget", "3 rows, rounded to 4 digits", "1.8 ms", "09:30:00.000",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("the live page does not say %q:\n%s", want, said)
		}
	}
	for id, want := range map[string]string{"n-allow": "2", "n-deny": "3", "n-observed": "1"} {
		if !strings.Contains(body, fmt.Sprintf(`id="%s">%s<`, id, want)) {
			t.Errorf("counter %s is not %s", id, want)
		}
	}
	if !strings.Contains(body, `data-follow="/events?show=decisions&amp;after=8"`) {
		t.Error("the feed does not begin behind the list")
	}
}

func TestLiveEmpty(t *testing.T) {
	s := newStand(t).signIn()
	const hint = "<code>curl it</code>"
	if _, body := s.get("/"); !strings.Contains(body, hint) {
		t.Error("a newcomer is not told what to paste")
	}
	s.api.add(
		record.Record{Kind: "policy.seeded", Phase: record.Note, Tenant: "local", At: began},
		infer(began, "reader", 0, func(r *record.Record) { r.Kind = "ledger.list" }),
	)
	if _, body := s.get("/"); !strings.Contains(body, hint) || !strings.Contains(body, "put in force with the new installation") {
		t.Error("what the house does by itself hides what to paste")
	}
	s.api.add(infer(began, "ci", 1, nil))
	if _, body := s.get("/"); strings.Contains(body, hint) {
		t.Error("who has asked is told how")
	}
}

// TestLiveGoesBack looks for a decision behind a page of reads, and through
// pages of decisions to the first.
func TestLiveGoesBack(t *testing.T) {
	s := newStand(t).signIn()
	for i := range 250 {
		s.api.add(infer(began, fmt.Sprintf("caller-%d", i), 1, nil))
	}
	for range window + 20 {
		s.api.add(infer(began, "reader", 0, func(r *record.Record) { r.Kind = "ledger.list" }))
	}
	older := regexp.MustCompile(`href="(/\?show=decisions&amp;before=\d+)">Older`)
	shown := map[string]int{}
	path, pages := "/", 0
	for ; path != "" && pages < 10; pages++ {
		_, body := s.get(path)
		for _, m := range regexp.MustCompile(`<bdi>(caller-\d+)</bdi>`).FindAllStringSubmatch(body, -1) {
			shown[m[1]]++
		}
		path = ""
		if m := older.FindStringSubmatch(body); m != nil {
			path = html.UnescapeString(m[1])
		}
	}
	if len(shown) != 250 || pages != 3 {
		t.Errorf("%d callers on %d pages, want 250 on 3", len(shown), pages)
	}
	for who, n := range shown {
		if n != 1 {
			t.Errorf("%s is shown %d times", who, n)
		}
	}
}

// TestLiveGoesOnBehindABound looks on where one answer of the API ended, although it
// held fewer records than were asked for.
func TestLiveGoesOnBehindABound(t *testing.T) {
	s := newStand(t).signIn()
	s.api.add(infer(began, "the-first", 1, nil))
	for range maxCalls - 1 {
		for range 10 {
			s.api.add(infer(began, "reader", 0, func(r *record.Record) { r.Kind = "ledger.list" }))
		}
	}
	s.api.most = 10
	if _, body := s.get("/"); !strings.Contains(body, "the-first") || strings.Contains(body, ">Older<") {
		t.Error("what lies behind the bound is not shown, nor the way to it")
	}
	s.api.most = 5
	_, body := s.get("/")
	m := regexp.MustCompile(`href="(/\?show=decisions&amp;before=\d+)">Older`).FindStringSubmatch(body)
	if m == nil {
		t.Fatal("no way leads to what lies behind the bounds of all calls")
	}
	if _, body := s.get(html.UnescapeString(m[1])); !strings.Contains(body, "the-first") {
		t.Error("the way does not lead on")
	}
}

// TestLiveOfAPrunedLog shows what is left on this machine, and offers no way to what
// is not.
func TestLiveOfAPrunedLog(t *testing.T) {
	s := newStand(t).signIn()
	for i := range 6 {
		s.api.add(infer(began, fmt.Sprintf("caller-%d", i), 1, nil))
	}
	s.api.first = 4
	if _, body := s.get("/"); !strings.Contains(body, "caller-4") || strings.Contains(body, "caller-3") || strings.Contains(body, ">Older<") {
		t.Error("a pruned log is not shown from its first record on")
	}
}

func TestSparkline(t *testing.T) {
	now := began.Add(time.Hour)
	at := func(ago time.Duration, state string) story.Row { return story.Row{At: now.Add(-ago), State: state} }
	fresh := newSparkline([]story.Row{at(time.Second, story.Deny), at(50*time.Second, story.Allow)}, false, now)
	if fresh.Span != time.Minute || fresh.Total != 2 || len(fresh.Bars) != buckets {
		t.Errorf("span %v, %d rows, %d bars", fresh.Span, fresh.Total, len(fresh.Bars))
	}
	if last := fresh.Bars[58]; last.DenyHeight == 0 || last.Height != last.DenyHeight || last.Y+last.Height != barHeight {
		t.Errorf("the denied row is drawn as %+v", last)
	}
	rows := []story.Row{at(-time.Minute, story.Allow), at(0, story.Allow), at(7*time.Minute, story.Allow)}
	if all := newSparkline(rows, false, now); all.Span != 15*time.Minute || all.Total != 2 {
		t.Errorf("all there is: span %v, %d rows", all.Span, all.Total)
	}
	if some := newSparkline(rows, true, now); some.Span != 5*time.Minute || some.Total != 1 {
		t.Errorf("a part of it: span %v, %d rows", some.Span, some.Total)
	}
	if none := newSparkline(nil, false, now); none.Total != 0 {
		t.Errorf("nothing is %d rows", none.Total)
	}
}

// A proposal that came to nothing left no change: nothing leads to one.
func TestTrailOfAFailedProposal(t *testing.T) {
	s := newStand(t).signIn()
	on := pavise.Name{Tenant: "local", Kind: "change", ID: "c-none"}
	s.api.add(
		record.Record{Kind: "change.propose", Phase: record.Act, Tenant: "local", At: began, On: on, Outcome: pavise.Allow, Error: &record.Failure{Kind: "denied", Msg: "nobody may"}},
		record.Record{Kind: "change.propose", Phase: record.Act, Tenant: "local", At: began, On: on, Outcome: pavise.Allow},
	)
	for path, leads := range map[string]bool{"/trail/0": false, "/trail/1": true} {
		if _, body := s.get(path); strings.Contains(body, `href="/changes/c-none"`) != leads {
			t.Errorf("%s leads to a change: %v", path, !leads)
		}
	}
}

func TestTrail(t *testing.T) {
	s := newStand(t).signIn()
	for i := range 6 {
		s.api.add(infer(began, "ci", i+1, nil))
	}
	s.api.explain = guard.Explanation{Status: guard.Recomputed, Why: "permitted by policy caller-uses-models", Decided: []guard.Rule{{ID: "caller-uses-models", Layer: "tenant", Effect: "permit", Text: "permit (principal, action, resource);"}}}
	_, body := s.get("/trail/4")
	said := text(body)
	for _, want := range []string{
		"Known by proof local/workload/ci, by bearer of urn:pavise:local:k3v9", "Policy permitted by caller-uses-models", "Request gate",
		"Model 5 rows answered by sha256:6b51d431", "Answer gate", "Answer shape rounded to 4 digits", "Done after 1.8 ms", "Written down record 4",
		"Signed under a checkpoint over 6 records", "recomputed", "probabilities FP32 5 × 2", "the path holds", "pavise ledger verify /var/lib/pavise/log --key 8f3a",
		"permit ( principal , action , resource );", `"kind": "model.infer"`,
	} {
		if !strings.Contains(said, want) {
			t.Errorf("the trail does not say %q:\n%s", want, said)
		}
	}
	order := []string{"Known by proof", "Request gate", "Rate and budget", "Model", "Answer gate", "Answer shape", "Done", "Written down", "Signed"}
	at := 0
	for _, station := range order {
		next := strings.Index(said[at:], station)
		if next < 0 {
			t.Fatalf("%s is not where it belongs", station)
		}
		at += next
	}
}

func TestTrailJoinsControl(t *testing.T) {
	s := newStand(t).signIn()
	enter := uint64(0)
	s.api.add(
		record.Record{Kind: "route.put", Phase: record.Enter, Tenant: "local", At: began, Outcome: pavise.Allow},
		infer(began, "ci", 1, nil),
		record.Record{Kind: "route.put", Phase: record.Exit, Tenant: "local", At: began, Outcome: pavise.Allow, Enter: &enter, Detail: json.RawMessage(`{"rows":3}`)},
	)
	if _, body := s.get("/trail/0"); !strings.Contains(body, `<a href="/trail/2">record 2</a>: how the act ended`) {
		t.Error("the question does not lead to the ending")
	}
	if _, body := s.get("/trail/2"); !strings.Contains(body, `<a href="/trail/0">record 0</a>: the question`) || !strings.Contains(text(body), `"rows": 3`) {
		t.Error("the ending does not lead to the question, or hides its detail")
	}
}

// A record leads on: to the change that was being run, to the change that it is about,
// to what else is kept of the same person, and to its proof as a file.
func TestTrailLeadsOn(t *testing.T) {
	s := newStand(t).signIn()
	s.api.add(
		infer(began, "bob", 1, func(r *record.Record) {
			r.Subject, r.Who.Change = "s-78ecf5de", pavise.Name{Tenant: "local", Kind: "change", ID: "c-k3v9xyz"}
		}),
		infer(began, "ana", 1, func(r *record.Record) {
			r.Kind, r.On = "change.approve", pavise.Name{Tenant: "local", Kind: "change", ID: "c-qqqqqqq"}
		}),
		infer(began, "ana", 1, func(r *record.Record) {
			r.Kind, r.On = "change.rule", pavise.Name{Tenant: "local", Kind: "change", ID: "policy.put"}
		}),
	)
	if _, body := s.get("/trail/0"); !strings.Contains(body, "once that is shredded, nobody can open it again") {
		t.Error("the trail does not say what the subject's key is for")
	}
	of := pavise.Name{Tenant: "local", Kind: "subject", ID: "s-78ecf5de"}
	for _, phase := range []string{record.Enter, record.Exit} {
		s.api.add(record.Record{Kind: "subject.shred", Phase: phase, Tenant: "local", At: began, On: of, Outcome: pavise.Allow})
	}
	_, body := s.get("/trail/0")
	for _, want := range []string{
		`Acting as</dt><dd>change <a href="/changes/c-k3v9xyz">c-k3v9xyz</a>`, `<code>s-78ecf5de</code> <a class="more" href="/search?subject=s-78ecf5de">`,
		`href="/search?who=local%2fworkload%2fbob"`, "<code>pavise ledger prove 0</code>",
		`2026-03-04 09:30 UTC</time>: nobody can open what the record keeps sealed. <a href="/trail/4">Record 4</a> is the receipt.`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the trail has no %s", want)
		}
	}
	if _, body := s.get("/trail/1"); !strings.Contains(body, `<a href="/changes/c-qqqqqqq">change c-qqqqqqq</a>`) || strings.Contains(body, "Acting as") || strings.Contains(body, "Whose data") {
		t.Error("a vote's record does not lead to its change, or says what it is not")
	}
	if _, body := s.get("/trail/2"); strings.Contains(body, "/changes/policy.put") {
		t.Error("a rule is taken for a change")
	}
}

func TestTrailWithoutProof(t *testing.T) {
	s := newStand(t).signIn()
	s.api.add(infer(began, "ci", 1, nil))
	s.api.signed = 0
	path := "/trail/0"
	for try := 1; try <= maxRefresh; try++ {
		_, body := s.get(path)
		next := fmt.Sprintf("/trail/0?try=%d", try)
		if !strings.Contains(text(body), "within 100 ms") || !strings.Contains(html.UnescapeString(body), `content="1; url=`+next+`"`) {
			t.Fatalf("%s does not look again at %s", path, next)
		}
		path = next
	}
	if _, body := s.get(path); strings.Contains(body, "http-equiv") || !strings.Contains(body, "Look again") {
		t.Error("the page looks again for ever")
	}
}

func TestTrailWithoutExplanation(t *testing.T) {
	s := newStand(t).signIn()
	s.api.add(infer(began, "ci", 1, nil))
	s.api.problems["policy.explain"] = api.Problem{Status: 403, Title: "denied", Detail: "no policy permits it"}
	if resp, body := s.get("/trail/0"); resp.StatusCode != http.StatusOK || !strings.Contains(text(body), "Policy no policy permits it") {
		t.Errorf("status %d; the record cannot be seen without its explanation", resp.StatusCode)
	}
}

func TestRoutesPage(t *testing.T) {
	s := newStand(t).signIn()
	if _, body := s.get("/routes"); !strings.Contains(body, "pavise route put") {
		t.Error("no word on how to put a route")
	}
	s.api.routes = []route.Standing{{Route: route.Route{
		Model: pavise.Name{Tenant: "local", Kind: "model", ID: "fraud"}, Upstream: "http://10.0.0.9:8000", Remote: "fraud_v7", MaxRows: 64, Observe: true, Durable: true, Purpose: "security",
		Terms:     firewall.Terms{Rate: firewall.Rate{Count: 1200, Per: time.Minute, Burst: 300}, Budget: firewall.PerWindow(100000, 24*time.Hour)},
		Shape:     firewall.Shape{Kind: firewall.Round, Digits: 4},
		Signature: tensor.Signature{Inputs: []tensor.Port{{Name: "x", Datatype: "FP64", Shape: []int64{-1, 30}}}},
		Protocol:  "v1", Calibration: "sha256:77777777777777777777777777777777", Amber: "budget", Drift: &firewall.Drift{Then: "deny", Baseline: firewall.Baseline{Input: "x", Features: make([]firewall.Spread, 30)}},
	}, Quarantined: true, Servers: []route.Server{{URL: "http://10.0.0.9:8000", Weight: 3, Out: true, Answers: 7, Failures: 2}}}, {Route: route.Route{
		Model: pavise.Name{Tenant: "local", Kind: "model", ID: "llama"}, Upstream: "http://10.0.0.8:8000", Protocol: "openai", Fields: firewall.Fields{Trusted: []string{"app"}},
		Prompts: prompt.Policy{
			Callers: prompt.Actions{"override": prompt.Refuse, "invisible": prompt.Alert}, Answers: prompt.Answers{Canaries: make([]prompt.Canary, 2)},
			Classifier: &prompt.Classifier{URL: "http://10.0.0.7:9000/judge", Closed: true},
		},
	}}, {Route: route.Route{
		Model: pavise.Name{Tenant: "local", Kind: "model", ID: "tiny"}, Upstream: "http://10.0.0.8:8000", Protocol: "openai", Prompts: prompt.Policy{Off: true},
	}}}
	_, body := s.get("/routes")
	said := text(body)
	for _, want := range []string{"in quarantine", "pavise route release", "pavise route quarantine", "observe only", "durable", "decides on security", "fraud_v7 by v1 at http://10.0.0.9:8000", "x FP64 n × 30", "1\u202f200 rows / 1m, 300 at once", "100\u202f000 rows / 24h", "rounded to 4 digits", "up to 64 rows",
		"Protocol v1", "http://10.0.0.9:8000, weight 3, out 7 answers, 2 failures", "Baseline 30 columns of x; on drift: deny", "Copying callers are held to the calibration sha256:777777777777 ; in amber they get budget", "See what was asked of it", "Protocol openai", "Fields app trusted everybody else untrusted", "Takes what its protocol says",
		"Prompts invisible: alert, override: refuse; all else as usual", "Answers looked at as usual", "Canaries 2, refused in answers unless said otherwise", "Classifier http://10.0.0.7:9000/judge, within 1000 ms; what it flags: observe; what it says nothing of is refused", "Prompts not looked at"} {
		if !strings.Contains(strings.ReplaceAll(said, "\u202f", " "), strings.ReplaceAll(want, "\u202f", " ")) {
			t.Errorf("the page does not say %q:\n%s", want, said)
		}
	}
}

func FuzzRow(f *testing.F) {
	for _, r := range hostiles() {
		b, err := json.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"phase":"note","kind":"identity.refused","detail":[1]}`))
	f.Add([]byte(`{"enter":0,"phase":"exit"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var e evidence.Event
		if json.Unmarshal(b, &e.Record) != nil {
			return
		}
		w := story.NewRow(e)
		if story.Words[w.State] == "" {
			t.Errorf("state %q", w.State)
		}
		for _, field := range []string{w.Who, w.Sort, w.Verb, w.Thing, w.Reason} {
			if len([]rune(field)) > 2*story.MaxName || strings.ContainsAny(field, "\n\r\t\u202e\x00") {
				t.Errorf("field %q", field)
			}
		}
		one := trail{ReadAnswer: evidence.ReadAnswer{Event: e}, Row: w}
		one.read()
		one.told()
	})
}

// spoke makes the record of an exchange with a language model.
func spoke(change func(*record.Record, *gateway.ChatTrail)) record.Record {
	return infer(began, "ci", 1, func(r *record.Record) {
		r.Outcome = pavise.Alter
		r.Verdicts = []pavise.Verdict{{Check: "budget", Outcome: pavise.Allow}, {Check: "fields", Outcome: pavise.Alter, Reason: "set=max_tokens=4096"}}
		said := gateway.ChatTrail{
			Trail: &gateway.Trail{ID: "9f", Model: "http://10.0.0.7:8000", Rows: 1, Charged: 1, Input: "d7", Output: "ef"},
			API:   "chat.completions", Tier: "untrusted", TokensIn: 3, TokensOut: 17, Events: 4,
		}
		if change != nil {
			change(r, &said)
		}
		r.Detail, _ = json.Marshal(said)
	})
}

// TestTrailOfChat tells an exchange with a language model: what was altered and why, who
// answered, and how much.
func TestTrailOfChat(t *testing.T) {
	s := newStand(t).signIn()
	s.api.add(
		spoke(nil),
		spoke(func(r *record.Record, said *gateway.ChatTrail) {
			r.Outcome, r.Verdicts[1] = pavise.Allow, pavise.Verdict{Check: "fields", Outcome: pavise.Allow}
			said.Events = 0
		}),
		spoke(func(r *record.Record, said *gateway.ChatTrail) {
			r.Outcome, r.Error = pavise.Deny, &record.Failure{Kind: "unavailable", Msg: "the model server broke off"}
			r.Verdicts[1] = pavise.Verdict{Check: "stream", Outcome: pavise.Deny, Reason: "interrupted after 0 events"}
			said.Events, said.TokensIn, said.TokensOut, said.Output = 0, 0, 0, ""
		}),
	)
	for path, wants := range map[string][]string{
		"/trail/0": {
			"Altered", "untrusted caller, fields set=max_tokens=4096", "Rate and budget", "Model http://10.0.0.7:8000 answered in 4 events, 3 tokens read, 17 written",
			"Fields of the exchange set=max_tokens=4096", "Asked by chat.completions", "Tier untrusted", "Tokens 3 read, 17 written", "Events 4",
		},
		"/trail/1": {"chat.completions 3 tokens read, 17 written", "Fields of the exchange as asked and as answered"},
		"/trail/2": {"Model http://10.0.0.7:8000 was asked, and nothing of an answer came", "Stream interrupted after 0 events", "Refused"},
		"/":        {"untrusted caller, fields set=max_tokens=4096"},
	} {
		_, body := s.get(path)
		for _, want := range wants {
			if said := text(body); !strings.Contains(said, want) {
				t.Errorf("%s does not say %q:\n%s", path, want, said)
			}
		}
	}
}

// Records and changes lead to the page of the thing that they are about.
func TestThingsHavePlaces(t *testing.T) {
	for name, want := range map[string]string{
		"acme/drift/m": "/drift/of?model=acme%2Fmodel%2Fm", "acme/drift/all": "/search?on=acme%2Fdrift%2Fall", "acme/route/m": "/routes#m", "acme/model/m@3": "/registry/of?model=acme%2Fmodel%2Fm%2F3", "acme/dataset/d": "/search?on=acme%2Fdataset%2Fd", "acme/model/m": "/search?on=acme%2Fmodel%2Fm", "acme/deployment/m": "/registry/of?model=acme%2Fmodel%2Fm", "acme/deployment/all": "/search?on=acme%2Fdeployment%2Fall",
	} {
		on, err := pavise.ParseName(name)
		if got := placeOf(on); err != nil || got != want {
			t.Errorf("%s is at %s, and not %s; %v", name, got, want, err)
		}
	}
	s := newStand(t).signIn()
	s.api.changes = []api.ChangeView{proposal("c-open", nil)}
	s.api.add(infer(began, "ci", 1, nil))
	for path, on := range map[string]pavise.Name{"/changes/c-open": s.api.changes[0].On, "/trail/0": s.api.events[0].Record.On} {
		if _, body := s.get(path); !strings.Contains(body, `href="`+placeOf(on)+`"`) {
			t.Errorf("%s does not lead to %s", path, on)
		}
	}
	shown := moved()
	shown.Verdict.Change = pavise.Name{Tenant: "local", Kind: "change", ID: "c-drift"}
	s.api.drift = shown
	if _, body := s.get(driftAddress(detector.String())); !strings.Contains(body, `href="/changes/c-drift"`) {
		t.Error("what moved does not lead to the change in which it is decided on")
	}
}
