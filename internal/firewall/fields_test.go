package firewall

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/chat"
)

// asking is a request of an operation with more fields.
func asking(t testing.TB, api chat.API, more string) *chat.Request {
	t.Helper()
	body := map[chat.API]string{
		chat.Chat:        `{"model":"m","messages":[{"role":"user","content":"hi"}]`,
		chat.Completions: `{"model":"m","prompt":"hi"`,
		chat.Responses:   `{"model":"m","input":"hi"`,
		chat.Embeddings:  `{"model":"m","input":"hi"`,
	}[api]
	if more != "" {
		more = "," + more
	}
	r, err := chat.ParseRequest(api, []byte(body+more+"}"), chat.DefaultLimits())
	if err != nil {
		t.Fatalf("%s with %s: %v", api, more, err)
	}
	return r
}

var tiers = []Tier{Untrusted, Trusted, Internal}

// TestFieldsIn is what becomes of each field, for each tier and operation. A word
// stands for each tier, untrusted first: pass, drop, deny, or set, and then the value
// follows.
func TestFieldsIn(t *testing.T) {
	const (
		cc, cp, re, em = chat.Chat, chat.Completions, chat.Responses, chat.Embeddings
	)
	tests := []struct {
		api   chat.API
		field string // as JSON
		want  string
	}{
		{cc, `"logit_bias":{"1":-100}`, "deny pass pass"},
		{cp, `"logit_bias":{"1":-100}`, "deny pass pass"},
		{cc, `"logit_bias":{}`, "pass pass pass"},
		{cc, `"logprobs":true`, "deny pass pass"},
		{cc, `"logprobs":false`, "pass pass pass"},
		{cp, `"logprobs":1`, "deny pass pass"},
		{cp, `"logprobs":0`, "deny pass pass"},
		{re, `"top_logprobs":2`, "deny pass pass"},
		{re, `"top_logprobs":0`, "pass pass pass"},
		{cc, `"prompt_logprobs":0`, "deny pass pass"},
		{cp, `"prompt_logprobs":0`, "deny pass pass"},
		{cp, `"echo":true`, "deny pass pass"},
		{cp, `"echo":false`, "pass pass pass"},
		{cc, `"n":2`, "deny pass pass"},
		{cp, `"n":2`, "deny pass pass"},
		{cc, `"n":1`, "pass pass pass"},
		{cp, `"best_of":2`, "deny pass pass"},
		{cp, `"best_of":1`, "pass pass pass"},
		{cc, `"seed":1`, "drop pass pass"},
		{cp, `"seed":1`, "drop pass pass"},
		{cc, `"user":"u"`, "drop pass pass"},
		{cp, `"user":"u"`, "drop pass pass"},
		{re, `"user":"u"`, "drop pass pass"},
		{em, `"user":"u"`, "drop pass pass"},
		{cc, `"service_tier":"priority"`, "drop pass pass"},
		{re, `"service_tier":"priority"`, "drop pass pass"},
		{cc, `"prompt_cache_key":"k"`, "drop pass pass"},
		{cc, `"prompt_cache_retention":"24h"`, "drop pass pass"},
		{re, `"prompt_cache_key":"k"`, "drop pass pass"},
		{re, `"prompt_cache_retention":"in_memory"`, "drop pass pass"},
		{cc, `"safety_identifier":"k"`, "drop pass pass"},
		{cc, `"reasoning_effort":"max"`, "pass pass pass"},
		{cc, `"max_tokens":5000`, "set=4096 pass pass"},
		{cc, `"max_tokens":10`, "pass pass pass"},
		{cc, `"max_completion_tokens":5000`, "set=4096 pass pass"},
		{cp, `"max_tokens":5000`, "set=4096 pass pass"},
		{re, `"max_output_tokens":5000`, "set=4096 pass pass"},
		{cc, `"store":true`, "set=false set=false pass"},
		{cc, `"store":false`, "pass pass pass"},
		{re, `"store":true`, "set=false set=false pass"},
		{re, `"previous_response_id":"r"`, "deny deny pass"},
		{re, `"conversation":"c"`, "deny deny pass"},
		{re, `"background":true`, "deny deny pass"},
		{re, `"background":false`, "pass pass pass"},
		{re, `"include":["reasoning.encrypted_content"]`, "drop pass pass"},
		{re, `"reasoning":{"summary":"auto"}`, "set={} pass pass"},
		{cc, `"reasoning_effort":"low"`, "pass pass pass"},
		{cc, `"temperature":1`, "pass pass pass"},
		{cc, `"stop":"x"`, "pass pass pass"},
		{cc, `"metadata":{"a":"b"}`, "pass pass pass"},
		{em, `"dimensions":5`, "pass pass pass"},
		{cc, `"top_k":1`, "deny drop drop"},
		{cp, `"guided_regex":"x"`, "deny drop drop"},
		{re, `"cache_salt":"x"`, "deny drop drop"},
		{em, `"prompt_name":"x"`, "deny drop drop"},
		{cc, `"allowed":1`, "deny pass pass"},
		{em, `"allowed":1`, "deny pass pass"},
	}
	f := Fields{Allow: []string{"allowed"}}
	for _, tt := range tests {
		name, value, _ := strings.Cut(tt.field, ":")
		name = strings.Trim(name, `"`)
		for i, want := range strings.Fields(tt.want) {
			r := asking(t, tt.api, tt.field)
			before := string(r.AppendJSON(nil))
			verdict, first := f.Check(tiers[i], r)
			var changes Changes
			if verdict.Outcome == pavise.Allow {
				changes = f.Change(tiers[i], r, "")
			}
			after := string(r.AppendJSON(nil))
			what := fmt.Sprintf("%s of %s for %s", tt.field, tt.api, tiers[i])
			is, mark := "drop", fmt.Sprintf("%q:", name)
			switch {
			case verdict.Outcome == pavise.Deny:
				is = "deny"
				if after != before || !strings.Contains(verdict.Reason, name) || first != name {
					t.Errorf("%s: changed, or not named: %s, %s", what, after, verdict.Reason)
				}
			case strings.Contains(after, mark+value):
				is = "pass"
			case strings.Contains(after, mark):
				_, rest, _ := strings.Cut(after, mark)
				is = "set=" + rest[:strings.IndexAny(rest+",", ",")]
				is = strings.TrimSuffix(is, "}")
				if strings.HasPrefix(rest, "{}") {
					is = "set={}"
				}
			}
			if is != want {
				t.Errorf("%s: %s, want %s: %s", what, is, want, after)
			}
			if told := regexp.MustCompile(`[=,]` + name + `\b`).MatchString(changes.String()); told != (want != "pass" && want != "deny") {
				t.Errorf("%s: told %v: %s", what, told, changes)
			}
		}
	}
}

// TestDropInstead takes out what it would refuse, and says so.
func TestDropInstead(t *testing.T) {
	f := Fields{Drop: true, MaxTokens: 7}
	r := asking(t, chat.Chat, `"n":3,"logprobs":true,"top_logprobs":1,"logit_bias":{"1":5}`)
	if verdict, _ := f.Check(Untrusted, r); verdict.Outcome != pavise.Allow {
		t.Fatalf("%+v", verdict)
	}
	changes := f.Change(Untrusted, r, "")
	if got, want := string(r.AppendJSON(nil)), `{"model":"m","messages":[{"role":"user","content":"hi"}],"max_completion_tokens":7}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if want := "dropped=logit_bias,logprobs,top_logprobs,n; set=max_completion_tokens=7"; changes.String() != want || changes.Verdict().Outcome != pavise.Alter {
		t.Errorf("%s, want %s", changes, want)
	}
	if verdict, _ := f.Check(Untrusted, asking(t, chat.Chat, `"top_k":1`)); verdict.Outcome != pavise.Deny {
		t.Errorf("an unknown field: %+v", verdict)
	}
}

// TestFieldsOut is what each tier gets of an answer.
func TestFieldsOut(t *testing.T) {
	full := map[chat.API]string{
		chat.Chat: `{"id":"a","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi","reasoning_content":"hm"},"finish_reason":"stop","logprobs":{"content":[{"token":"hi","logprob":-1}]}}],` +
			`"usage":{"prompt_tokens":1,"prompt_tokens_details":{"cached_tokens":1}},"system_fingerprint":"fp","prompt_logprobs":[null]}`,
		chat.Completions: `{"id":"a","object":"text_completion","created":1,"model":"m","choices":[{"index":0,"text":"hi","finish_reason":"stop","logprobs":{"tokens":["hi"],"token_logprobs":[-1]},"prompt_logprobs":[null]}],"system_fingerprint":"fp","usage":{"prompt_tokens_details":{"cached_tokens":1}}}`,
		chat.Responses: `{"id":"r","object":"response","created_at":1,"model":"m","status":"completed","output":[{"type":"reasoning","id":"t","summary":[{"type":"summary_text","text":"hm"}]},` +
			`{"type":"message","id":"i","status":"completed","role":"assistant","content":[{"type":"output_text","text":"hi","annotations":[],"logprobs":[{"token":"hi","logprob":-1}]}]}],"usage":{"input_tokens":1,"input_tokens_details":{"cached_tokens":1}}}`,
	}
	wants := map[chat.API]string{
		chat.Chat:        "cached_tokens logprobs prompt_logprobs reasoning system_fingerprint",
		chat.Completions: "cached_tokens logprobs prompt_logprobs system_fingerprint",
		chat.Responses:   "cached_tokens logprobs reasoning",
	}
	for api, body := range full {
		for _, tier := range tiers {
			a, err := chat.ParseAnswer(asking(t, api, ""), []byte(body), chat.DefaultLimits())
			if err != nil {
				t.Fatal(err)
			}
			before := string(a.AppendJSON(nil))
			got := strings.Join(Fields{}.Outbound(tier, &a.Document), " ")
			after := string(a.AppendJSON(nil))
			if tier != Untrusted {
				if got != "" || after != before {
					t.Errorf("%s for %s: %s", api, tier, got)
				}
				continue
			}
			if got != wants[api] {
				t.Errorf("%s for %s: removed %s, want %s", api, tier, got, wants[api])
			}
			for _, leak := range []string{"logprob", "hm", "fp", "cached"} {
				if strings.Contains(after, leak) {
					t.Errorf("%s for %s holds %s: %s", api, tier, leak, after)
				}
			}
			if !strings.Contains(after, "hi") {
				t.Errorf("%s for %s: %s", api, tier, after)
			}
		}
	}
}

// TestLinksAreForTheTrusted has a model server fetch for nobody else.
func TestLinksAreForTheTrusted(t *testing.T) {
	body := `{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://example.com/a.png"}}]}]}`
	for tier, want := range map[Tier]pavise.Outcome{Untrusted: pavise.Deny, Trusted: pavise.Allow, Internal: pavise.Allow} {
		r, err := chat.ParseRequest(chat.Chat, []byte(body), chat.DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		if verdict, _ := (Fields{}).Check(tier, r); verdict.Outcome != want {
			t.Errorf("%s: %+v", tier, verdict)
		}
		if verdict, _ := (Fields{Links: true}).Check(tier, r); verdict.Outcome == pavise.Deny {
			t.Errorf("%s, with links: %+v", tier, verdict)
		}
	}
}

// TestCacheSalt parts tenants, and no caller chooses it.
func TestCacheSalt(t *testing.T) {
	key := []byte("a key")
	a, b := CacheSalt(key, "a"), CacheSalt(key, "b")
	if a == b || len(a) != 32 || a != CacheSalt(key, "a") || a == CacheSalt([]byte("another"), "a") {
		t.Errorf("%s, %s", a, b)
	}
	f := Fields{CacheSalt: true, Allow: []string{"cache_salt"}}
	for _, tier := range []Tier{Trusted, Internal} {
		r := asking(t, chat.Chat, `"cache_salt":"mine"`)
		f.Change(tier, r, a)
		if got := string(r.AppendJSON(nil)); strings.Count(got, "cache_salt") != 1 || !strings.Contains(got, a) || strings.Contains(got, "mine") {
			t.Errorf("%s: %s", tier, got)
		}
	}
}

// TestChangesFitAHeader whatever a caller names a field.
func TestChangesFitAHeader(t *testing.T) {
	r := asking(t, chat.Chat, `"a\r\nX: y\"é\u202e":1`)
	if got := (Fields{}).Change(Trusted, r, "").String(); strings.ContainsAny(got, "\r\n\"\\é") || !strings.HasPrefix(got, "dropped=a") {
		t.Errorf("%q", got)
	}
}

// TestTiers are by role, the highest that a caller has.
func TestTiers(t *testing.T) {
	f := Fields{Trusted: []string{"analyst"}, Internal: []string{"evaluator"}}
	for roles, want := range map[string]Tier{"": Untrusted, "caller": Untrusted, "caller analyst": Trusted, "analyst evaluator": Internal, "Analyst": Untrusted} {
		if got := f.Tier(pavise.Principal{Roles: strings.Fields(roles)}); got != want {
			t.Errorf("%q: %s, want %s", roles, got, want)
		}
	}
	for _, bad := range []Fields{{Trusted: []string{""}}, {Allow: []string{"logit_bias"}}, {Allow: []string{"model"}}, {Allow: []string{"a,b"}}, {MaxTokens: -1}, {Internal: make([]string, 33)}} {
		if err := bad.Validate(); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	if err := f.Validate(); err != nil {
		t.Error(err)
	}
}

// TestBarredOnce: a field that leaks and is none of the operation's is named once.
func TestBarredOnce(t *testing.T) {
	r := asking(t, chat.Chat, `"best_of":2,"prompt_logprobs":1,"x":1`)
	if verdict, first := (Fields{}).Check(Untrusted, r); verdict.Reason != "prompt_logprobs, best_of, x: not for untrusted callers of this model" || first != "prompt_logprobs" {
		t.Errorf("%q, %q", verdict.Reason, first)
	}
	if changes := (Fields{Drop: true}).Change(Untrusted, r, ""); strings.Count(changes.String(), "best_of") != 1 {
		t.Errorf("%s", changes)
	}
}
