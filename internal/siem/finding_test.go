package siem

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/record"
)

var testTime = time.Date(2027, 1, 2, 3, 4, 5, 678e6, time.UTC)

// records are of every sort that gives a finding, by what it is.
func records() map[string]*record.Record {
	olga := operator
	exit := func(kind string, d any) *record.Record {
		r := &record.Record{Kind: kind, Phase: record.Exit, Tenant: "local", At: testTime, Who: &olga, On: pavise.Name{Tenant: "local", Kind: record.Room(kind), ID: "x"}, Outcome: pavise.Allow}
		if d != nil {
			r.Detail = detail(d)
		}
		return r
	}
	note := func(kind string, d any) *record.Record {
		return &record.Record{Kind: kind, Phase: record.Note, Tenant: "local", At: testTime, Detail: detail(d)}
	}
	policy := refusal("local", "ci", "policy", "no policy permits it", testTime)
	barred := refusal("local", "ci", "policy", "denied by policy guardrail/quarantine", testTime)
	barred.Policy = &record.Policy{Digest: "d", Reasons: []string{"guardrail/quarantine"}}
	own := exit("change.approve", nil)
	own.Error = &record.Failure{Kind: "denied", Msg: "olga proposed it, and nobody approves their own"}
	faulty := func(check, why, model string) *record.Record {
		r := refusal("local", "ci", check, why, testTime)
		r.Error, r.Detail = &record.Failure{Kind: "unavailable", Msg: "the model server answered other than the protocol says"}, detail(map[string]any{"model": model})
		return r
	}
	away := faulty("codec", "", "http://10.0.0.7:8000")
	away.Outcome, away.Verdicts, away.Error.Msg = pavise.Allow, nil, "the model server does not answer"
	cut := exit("route.put", nil)
	cut.Phase, cut.Error = record.Interrupted, &record.Failure{Kind: "internal", Msg: "the process stopped"}
	return map[string]*record.Record{
		"a finding":            note("witness.forked", map[string]any{"finding": pavise.Finding{Kind: "witness.forked", Severity: pavise.Critical, Summary: "two histories", On: pavise.Name{Tenant: "local", Kind: "witness", ID: "w"}}}),
		"strangers":            note("identity.refused", map[string]any{"source": "192.0.2.7", "reason": "expired", "count": 12}),
		"strangers on IPv6":    note("identity.refused", map[string]any{"source": "2001:db8::7", "reason": "expired", "count": 1}),
		"other strangers":      note("identity.refused", map[string]any{"source": "others", "reason": "other", "count": 2}),
		"fast refusals":        note("guard.refused", map[string]any{"source": "local/workload/ci", "reason": "all slots taken", "count": 99}),
		"the clock":            note("guard.clock", map[string]any{}),
		"no policy":            policy,
		"a guardrail":          barred,
		"a malformed request":  refusal("local", "ci", "codec", "duplicate key", testTime),
		"a budget":             refusal("local", "ci", "budget", "rows are used up", testTime),
		"an unknown check":     refusal("local", "ci", "tarot", "the cards say no", testTime),
		"one's own change":     own,
		"an act cut off":       cut,
		"an emergency":         exit("change.emergency", map[string]any{"verb": "route.quarantine", "on": "local/route/m", "summary": "let nobody ask m"}),
		"a changed wire":       exit("siem.delete", nil),
		"a hold":               exit("tier.hold", map[string]any{"model": "local/model/m", "caller": "local/workload/eve", "tier": "red", "reason": "a\ntheft"}),
		"a weaker watch":       exit("dataset.watch", map[string]any{"every": 1, "loosened": []string{"it looks elsewhere", "and less often"}}),
		"a lift":               exit("tier.lift", map[string]any{"model": "local/model/m", "caller": "local/workload/eve", "tier": "green", "reason": "our own test"}),
		"a dismissal":          exit("drift.dismiss", map[string]any{"model": "local/model/m", "reason": "our own test"}),
		"a prompt":             refusal("local", "ci", "prompts", "refuse: template.token in messages[0]", testTime),
		"an answer withheld":   refusal("local", "ci", "answers", "refuse: canary.found", testTime),
		"an alert":             note("firewall.alerted", map[string]any{"finding": pavise.Finding{Kind: "firewall.alerted", Severity: pavise.Warning, Summary: "a request met override.ignore", On: pavise.Name{Tenant: "local", Kind: "model", ID: "m"}, Who: pavise.Name{Tenant: "local", Kind: pavise.Workload, ID: "ci"}}}),
		"a hostile text":       refusal("local", "ci", "gate", "\x1b[2J\u202e<script>\n\n"+strings.Repeat("é", 2000), testTime),
		"a faulty server":      faulty("codec", "the model server's answer: no JSON", "http://10.0.0.7:8000"),
		"a server away":        away,
		"a torn stream":        faulty("stream", "interrupted after 3 events: it broke off", "http://10.0.0.7:8000"),
		"a faulty model":       faulty("gate", "output \"p\" has another shape", "sha256:0123456789abcdef"),
		"a finding unheard of": note("soc.weird", map[string]any{"finding": pavise.Finding{Kind: "soc.weird", Severity: "odd", Summary: "?"}}),
	}
}

// someFindings are the findings of those records, in a fixed order.
func someFindings(t *testing.T) (all []Finding) {
	t.Helper()
	have := records()
	var names []string
	for name := range have {
		names = append(names, name)
	}
	slices.Sort(names)
	for i, name := range names {
		f, ok := Worth(uint64(i), have[name])
		if !ok {
			t.Errorf("%s gives no finding", name)
		}
		all = append(all, f)
	}
	return all
}

// TestWorth says what of a record is told, for those where it matters.
func TestWorth(t *testing.T) {
	want := map[string]string{
		"a finding":           "witness.forked 5 false who= on=local/witness/w: two histories",
		"strangers":           "identity.refused 2 true who= on=: 12 callers from 192.0.2.7: expired",
		"a faulty server":     "model.infer 3 true who= on=local/model/m: the model server of local/model/m failed (http://10.0.0.7:8000): the model server's answer: no JSON",
		"a server away":       "model.infer 2 false who= on=local/model/m: the model server of local/model/m failed (http://10.0.0.7:8000): does not answer",
		"a torn stream":       "model.infer 3 true who= on=local/model/m: the model server of local/model/m failed (http://10.0.0.7:8000): interrupted after 3 events: it broke off",
		"a faulty model":      "model.infer 3 true who= on=local/model/m: the model of local/model/m failed (ONNX 0123456789ab): output \"p\" has another shape",
		"fast refusals":       "guard.refused 2 true who=local/workload/ci on=: local/workload/ci: all slots taken, 99 times within a second",
		"a guardrail":         "model.infer 3 true who=local/workload/ci on=local/model/m: denied by policy guardrail/quarantine",
		"a budget":            "model.infer 3 true who=local/workload/ci on=local/model/m: rows are used up",
		"a malformed request": "model.infer 2 true who=local/workload/ci on=local/model/m: duplicate key",
		"one's own change":    "change.approve 3 true who=local/human/olga on=local/change/x: olga proposed it, and nobody approves their own",
		"an emergency":        "change.emergency 3 false who=local/human/olga on=local/change/x: local/human/olga ordered route.quarantine on local/route/m, to be done before anybody approves it: let nobody ask m",
		"a changed wire":      "siem.delete 3 false who=local/human/olga on=local/siem/x: local/human/olga did siem.delete on local/siem/x",
		"a hold":              "tier.hold 3 false who=local/human/olga on=local/model/m: local/human/olga holds local/workload/eve to red at local/model/m: a theft",
		"a weaker watch":      "dataset.watch 3 false who=local/human/olga on=local/dataset/x: local/human/olga set another watch on local/dataset/x: it looks elsewhere; and less often",
		"a lift":              "tier.lift 3 false who=local/human/olga on=local/model/m: local/human/olga lifted what held local/workload/eve at local/model/m: our own test",
		"a dismissal":         "drift.dismiss 3 false who=local/human/olga on=local/model/m: local/human/olga says that local/model/m does not drift: our own test",
		"a prompt":            "model.infer 3 true who=local/workload/ci on=local/model/m: refuse: template.token in messages[0]",
		"an answer withheld":  "model.infer 3 true who=local/workload/ci on=local/model/m: refuse: canary.found",
		"an alert":            "firewall.alerted 3 false who=local/workload/ci on=local/model/m: a request met override.ignore",
	}
	have := records()
	for name, want := range want {
		f, _ := Worth(3, have[name])
		if got := fmt.Sprintf("%s %d %v who=%s on=%s: %s", f.Kind, f.Severity, f.Blocked, f.Who, f.On, f.Summary); got != want || f.Record != 3 {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, want)
		}
	}
	hostile, _ := Worth(0, have["a hostile text"])
	if strings.ContainsAny(hostile.Summary, "\x1b\n\u202e") || len([]rune(hostile.Summary)) > maxSummary {
		t.Errorf("%q", hostile.Summary)
	}
}

// TestNotWorth leaves alone what nobody need look at.
// TestFindingsOfTheGateHaveTitles looks at what a console and a mail begin with.
func TestFindingsOfTheGateHaveTitles(t *testing.T) {
	for _, kind := range []string{"ingest.quarantined", "ingest.odd", "ingest.expired", "ingest.replaced", "dataset.changed"} {
		if title := titleOf(kind); strings.HasPrefix(title, "A finding of") {
			t.Errorf("%s: %s", kind, title)
		}
	}
}

func TestNotWorth(t *testing.T) {
	olga := operator
	for name, r := range map[string]*record.Record{
		"an answer":           {Kind: "model.infer", Phase: record.Act, Tenant: "local", Who: &olga, Outcome: pavise.Allow},
		"a question":          {Kind: "siem.put", Phase: record.Enter, Tenant: "local", Who: &olga, Outcome: pavise.Allow},
		"what was not found":  {Kind: "route.delete", Phase: record.Exit, Tenant: "local", Who: &olga, Outcome: pavise.Allow, Error: &record.Failure{Kind: "notfound", Msg: "no"}},
		"a wire that was not": {Kind: "siem.put", Phase: record.Exit, Tenant: "local", Who: &olga, Outcome: pavise.Allow, Error: &record.Failure{Kind: "invalid", Msg: "no"}},
		"a hang-up": {
			Kind: "model.infer", Phase: record.Act, Tenant: "local", Who: &olga, Outcome: pavise.Deny,
			Verdicts: []pavise.Verdict{{Check: "stream", Outcome: pavise.Deny, Reason: "interrupted after 1 events"}},
			Error:    &record.Failure{Kind: "unavailable", Msg: "the caller went away before the answer ended"},
		},
		"a watch":        {Kind: "dataset.watch", Phase: record.Exit, Tenant: "local", Who: &olga, Outcome: pavise.Allow, Detail: json.RawMessage(`{"every":1}`)},
		"a common note":  {Kind: "policy.seeded", Phase: record.Note, Tenant: "local", Detail: json.RawMessage(`{"text":"permit"}`)},
		"an odd hold":    {Kind: "tier.hold", Phase: record.Exit, Tenant: "local", Who: &olga, Outcome: pavise.Allow, Detail: json.RawMessage(`{"model":1}`)},
		"an odd detail":  {Kind: "identity.refused", Phase: record.Note, Tenant: "local", Detail: json.RawMessage(`{"count":"many"}`)},
		"an odd finding": {Kind: "x.y", Phase: record.Note, Tenant: "local", Detail: json.RawMessage(`{"finding":{"on":"///"}}`)},
		"observed":       {Kind: "model.infer", Phase: record.Act, Tenant: "local", Who: &olga, Outcome: pavise.Allow, Verdicts: []pavise.Verdict{{Check: "gate", Outcome: pavise.Deny, Observed: true}}},
	} {
		if f, ok := Worth(0, r); ok {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

// A schema is what OCSF says of the classes and objects that events have: for each
// attribute its type, whether it is a list, must be there, and which numbers it takes.
type schema struct {
	Version string
	Classes map[string]struct {
		Attributes map[string]struct {
			Type     string
			Array    bool
			Required bool
			Profile  string
			Enum     map[string]string
		}
		AtLeastOne []string `json:"at_least_one"`
	}
}

// fits says what is wrong with an object of a class, if anything is.
func (s *schema) fits(class string, object map[string]any) (faults []string) {
	c, known := s.Classes[class]
	if !known {
		return nil
	}
	for name, value := range object {
		a, ok := c.Attributes[name]
		if !ok {
			faults = append(faults, class+" has no "+name)
			continue
		}
		list, isList := value.([]any)
		if isList != a.Array {
			faults = append(faults, fmt.Sprintf("%s.%s is a list: %v", class, name, isList))
		}
		if !isList {
			list = []any{value}
		}
		for _, v := range list {
			faults = append(faults, s.valued(class+"."+name, a.Type, a.Enum, v)...)
		}
	}
	for name, a := range c.Attributes {
		if _, there := object[name]; a.Required && a.Profile == "" && !there {
			faults = append(faults, class+" lacks "+name)
		}
	}
	has := func(name string) bool { _, there := object[name]; return there }
	if len(c.AtLeastOne) > 0 && !slices.ContainsFunc(c.AtLeastOne, has) {
		faults = append(faults, fmt.Sprintf("%s has none of %v", class, c.AtLeastOne))
	}
	return faults
}

// valued checks one value of an attribute.
func (s *schema) valued(name, typ string, enum map[string]string, v any) []string {
	number, isNumber := v.(float64)
	text, isText := v.(string)
	object, isObject := v.(map[string]any)
	_, isBool := v.(bool)
	if len(enum) > 0 && enum[fmt.Sprint(int64(number))] == "" {
		return []string{fmt.Sprintf("%s is %v", name, v)}
	}
	good := isObject
	switch typ {
	case "integer_t", "long_t", "timestamp_t":
		good = isNumber && number == float64(int64(number))
	case "string_t":
		good = isText && text != ""
	case "ip_t":
		good = isText && strings.ContainsAny(text, ".:")
	case "boolean_t":
		good = isBool
	case "json_t":
		good = true
	default:
		if isObject {
			return s.fits(typ, object)
		}
	}
	if !good {
		return []string{fmt.Sprintf("%s is %v, no %s", name, v, typ)}
	}
	return nil
}

// siblings says where the caption beside a number is not the schema's.
func (s *schema) siblings(event map[string]any) (faults []string) {
	attributes := s.Classes["detection_finding"].Attributes
	for id, caption := range map[string]string{"activity_id": "activity_name", "severity_id": "severity", "status_id": "status", "action_id": "action", "disposition_id": "disposition", "category_uid": "category_name", "class_uid": "class_name"} {
		number, there := event[id]
		if !there {
			continue
		}
		if want := attributes[id].Enum[fmt.Sprint(number)]; want != event[caption] {
			faults = append(faults, fmt.Sprintf("%s is %v, and %s %v", id, number, caption, event[caption]))
		}
	}
	return faults
}

// TestEventsFitTheSchema holds events of every sort against what OCSF 1.8.0 says: the
// facts of the schema, taken from its release, are in testdata.
func TestEventsFitTheSchema(t *testing.T) {
	text, err := os.ReadFile("testdata/ocsf-" + Schema + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var s schema
	if err := json.Unmarshal(text, &s); err != nil || s.Version != Schema || len(s.Classes) < 10 {
		t.Fatalf("schema %s with %d classes, %v", s.Version, len(s.Classes), err)
	}
	spell := speller{"example.test/log", "1.2.3"}
	for _, f := range someFindings(t) {
		for _, more := range []bool{false, true} {
			var event map[string]any
			if err := json.Unmarshal(spell.line(telling{f, more}), &event); err != nil {
				t.Fatal(err)
			}
			faults := append(s.fits("detection_finding", event), s.siblings(event)...)
			uid, activity := event["type_uid"].(float64), event["activity_id"].(float64)
			if uid != 2004*100+activity {
				faults = append(faults, fmt.Sprint("type_uid ", uid))
			}
			if len(faults) > 0 {
				t.Errorf("%s, more %v:\n%s\n%s", f.Title, more, strings.Join(faults, "\n"), spell.line(telling{f, more}))
			}
		}
	}
	if faults := s.fits("detection_finding", map[string]any{"nonsense": 1.0, "severity_id": 7.0}); len(faults) < 7 {
		t.Errorf("an event that is none has %d faults: %v", len(faults), faults)
	}
}

// TestEventIDs are the same for the same, and for nothing else.
func TestEventIDs(t *testing.T) {
	spell := speller{"example.test/log", "1"}
	seen := map[string]string{}
	for _, f := range someFindings(t) {
		for _, more := range []bool{false, true} {
			id := spell.id(telling{f, more})
			if id != spell.id(telling{f, more}) || seen[id] != "" || strings.Contains(id, ".") {
				t.Errorf("%s: %s", f.Title, id)
			}
			seen[id] = f.Title
			if other := (speller{"example.test/other", "1"}).id(telling{f, more}); other == id {
				t.Error("another log's has the same id")
			}
		}
	}
}

// TestFold tells the first refusal of a sort, and the others of its minute as one.
func TestFold(t *testing.T) {
	var d fold
	var told []telling
	minute := testTime.Truncate(time.Minute)
	add := func(index uint64, who, check string, at time.Duration) {
		f, ok := Worth(index, refusal("local", who, check, fmt.Sprint("why ", index), minute.Add(at)))
		if !ok {
			t.Fatal(index)
		}
		told = append(told, d.add(f)...)
	}
	add(1, "a", "gate", 0)
	if d.kept(2) != 2 {
		t.Errorf("everything was told, and it would begin at %d", d.kept(2))
	}
	add(2, "b", "gate", time.Second)
	add(3, "a", "gate", 2*time.Second)
	add(4, "a", "rate", 3*time.Second)
	add(5, "a", "gate", 59*time.Second)
	if d.kept(6) != 3 {
		t.Errorf("it would begin at %d, and 3 was not told", d.kept(6))
	}
	note, _ := Worth(6, records()["a finding"])
	told = append(told, d.add(note)...)
	told = append(told, d.end(minute.Add(59*time.Second))...)
	told = append(told, d.end(minute.Add(time.Minute))...)
	add(7, "a", "gate", 61*time.Second)
	var got []string
	for _, t := range told {
		got = append(got, fmt.Sprintf("%d%t%d", t.Record, t.more, t.Count))
	}
	want := []string{"1false1", "2false1", "4false1", "6false1", "1true2", "7false1"}
	if !slices.Equal(got, want) || d.kept(8) != 8 {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestFaultsAreCountedByServer makes one finding of what a faulty model server did to
// several callers, with how often, and another of what another server did.
func TestFaultsAreCountedByServer(t *testing.T) {
	var d fold
	var told []telling
	for i, server := range []string{"http://10.0.0.7:8000", "http://10.0.0.7:8000", "http://10.0.0.8:8000", "http://10.0.0.7:8000"} {
		r := refusal("local", fmt.Sprint("caller-", i), "codec", "the model server's answer: no JSON", testTime)
		r.Error, r.Detail = &record.Failure{Kind: "unavailable", Msg: "x"}, detail(map[string]any{"model": server})
		f, _ := Worth(uint64(i), r)
		told = append(told, d.add(f)...)
	}
	told = append(told, d.end(testTime.Add(time.Hour))...)
	var got []string
	for _, t := range told {
		got = append(got, fmt.Sprintf("%d %t %d %s", t.Record, t.more, t.Count, t.Who))
	}
	if want := []string{"0 false 1 ", "2 false 1 ", "0 true 2 "}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestFoldIsBounded has more sorts than it tells apart: the others are one.
func TestFoldIsBounded(t *testing.T) {
	var d fold
	told := 0
	for i := range 3 * maxSorts {
		f, _ := Worth(uint64(i), refusal("local", fmt.Sprint("caller-", i), "gate", "why", testTime))
		told += len(d.add(f))
	}
	if told != maxSorts+1 || len(d.open) != maxSorts+1 {
		t.Errorf("%d told, %d open", told, len(d.open))
	}
	rest := d.end(testTime.Add(time.Hour))
	if len(rest) != 1 || rest[0].Count != 2*maxSorts-1 || rest[0].Who != nobody {
		t.Errorf("the rest: %+v", rest)
	}
}

// FuzzWorth makes findings of whatever a record's detail may be, and events of them.
func FuzzWorth(f *testing.F) {
	for _, r := range records() {
		f.Add(r.Kind, r.Phase, string(r.Detail), "gate", "why")
	}
	f.Fuzz(func(t *testing.T, kind, phase, text, check, why string) {
		r := &record.Record{Kind: kind, Phase: phase, Tenant: "local", At: testTime, Outcome: pavise.Deny, Verdicts: []pavise.Verdict{{Check: check, Outcome: pavise.Deny, Reason: why}}}
		if json.Valid([]byte(text)) {
			r.Detail = json.RawMessage(text)
		}
		found, ok := Worth(1, r)
		if !ok {
			return
		}
		line := speller{"example.test/log", "1"}.line(telling{Finding: found})
		if !json.Valid(line) || strings.Count(string(line), "\n") != 1 || len(line) > 32<<10 {
			t.Errorf("%d bytes: %q", len(line), line)
		}
	})
}
