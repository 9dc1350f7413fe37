package firewall

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/chat"
)

// A Tier is how far a route trusts a caller with what a language model tells beside
// its answers.
type Tier string

// The tiers.
const (
	Untrusted Tier = "untrusted" // everybody whom the route does not name
	Trusted   Tier = "trusted"   // may ask for probabilities, several answers, reasoning
	Internal  Tier = "internal"  // may also use what the model server keeps
)

// Fields say which fields of the protocol of language models a caller may use, and
// which an answer may hold. The zero value trusts nobody.
//
// Probabilities and a bias on them give a model's last layer away for the price of
// some thousand calls (Carlini et al., "Stealing Part of a Production Language
// Model", 2024; Finlayson et al., "Logits of API-Protected LLMs Leak Proprietary
// Information", 2024): the bias alone is enough. Several answers and a fixed seed
// make the same attacks cheaper; counts of cached tokens tell what others asked.
type Fields struct {
	Trusted   []string `json:"trusted,omitempty"`    // roles whose holders are trusted
	Internal  []string `json:"internal,omitempty"`   // roles whose holders are of the house
	MaxTokens int      `json:"max_tokens,omitempty"` // of one answer to an untrusted caller; 0: defaultTokens
	Drop      bool     `json:"drop,omitempty"`       // take out what an untrusted caller may not ask for, instead of refusing it
	Links     bool     `json:"links,omitempty"`      // untrusted callers, too, may have the model server fetch images
	Allow     []string `json:"allow,omitempty"`      // fields beyond the protocol that trusted and internal callers may use
	CacheSalt bool     `json:"cache_salt,omitempty"` // the server is a vLLM: part its prefix cache by tenant
}

// defaultTokens is what an answer to an untrusted caller is cut at when nobody says
// otherwise.
const defaultTokens = 4096

// Validate reports, as an error of kind Invalid, what cannot be meant.
func (f Fields) Validate() error {
	refuse := func(format string, args ...any) error {
		return &pavise.Error{Kind: pavise.Invalid, Msg: "fields: " + fmt.Sprintf(format, args...), Hint: "roles and fields are names of 1 to 64 bytes, at most 32 of each"}
	}
	for what, list := range map[string][]string{"trusted": f.Trusted, "internal": f.Internal, "allow": f.Allow} {
		if len(list) > 32 {
			return refuse("%s lists %d names", what, len(list))
		}
		for _, name := range list {
			if name == "" || len(name) > 64 || strings.ContainsAny(name, " ,;=\"\r\n") {
				return refuse("%s lists %.80q", what, name)
			}
		}
	}
	if f.MaxTokens < 0 || f.MaxTokens > 1<<24 {
		return refuse("max_tokens is %d", f.MaxTokens)
	}
	for _, name := range f.Allow {
		if slices.ContainsFunc(leaks, func(l leak) bool { return l.field == name }) || name == "model" {
			return refuse("%s is a field of the protocol", name)
		}
	}
	return nil
}

// Tier returns how far the route trusts a caller: by the roles of their proof.
func (f Fields) Tier(who pavise.Principal) Tier {
	switch {
	case slices.ContainsFunc(f.Internal, who.HasRole):
		return Internal
	case slices.ContainsFunc(f.Trusted, who.HasRole):
		return Trusted
	}
	return Untrusted
}

// Changes are what was done to a request and its answer. Nothing is changed in
// silence: the record and the caller are told.
type Changes struct {
	Dropped []string // fields of the request that did not go on
	Set     []string // fields of the request that went on with another value, as name=value
	Removed []string // fields of the answer that the caller did not get
}

// String says the changes in the words of a header: "dropped=seed,user; set=n=1".
func (c Changes) String() string {
	said := make([]byte, 0, 128) // as much as nearly all need
	for _, p := range [...]struct {
		what string
		list []string
	}{{"dropped", c.Dropped}, {"set", c.Set}, {"removed", c.Removed}} {
		for i, name := range p.list {
			switch {
			case i > 0:
				said = append(said, ',')
			case len(said) > 0:
				said = append(append(append(said, "; "...), p.what...), '=')
			default:
				said = append(append(said, p.what...), '=')
			}
			said = append(said, name...)
		}
	}
	return strings.Map(harmless, string(said))
}

// harmless keeps what a header can hold: names of fields may be a caller's.
func harmless(r rune) rune {
	if r < ' ' || r > '~' || r == '"' || r == '\\' {
		return '?'
	}
	return r
}

// Remove notes fields of an answer that were taken out, each once.
func (c *Changes) Remove(list []string) {
	for _, name := range list {
		if !slices.Contains(c.Removed, name) {
			c.Removed = append(c.Removed, name)
		}
	}
}

// Verdict is the changes as a check's word.
func (c Changes) Verdict() pavise.Verdict {
	if said := c.String(); said != "" {
		return pavise.Verdict{Check: checkFields, Outcome: pavise.Alter, Reason: said}
	}
	return pavise.Verdict{Check: checkFields, Outcome: pavise.Allow}
}

const checkFields = "fields"

// A leak is a field that tells a thief more than an answer does.
type leak struct {
	field    string
	harmless func(*chat.Request) bool // it asks for nothing; nil: it always does
}

// leaks are what an untrusted caller may not ask for.
var leaks = []leak{
	{"logit_bias", func(r *chat.Request) bool { return r.Len("logit_bias") == 0 }},
	{"logprobs", func(r *chat.Request) bool { _, number := r.Int("logprobs"); return !number && !r.Flag("logprobs") }},
	{"top_logprobs", func(r *chat.Request) bool { n, _ := r.Int("top_logprobs"); return n == 0 }},
	{"prompt_logprobs", nil},
	{"echo", func(r *chat.Request) bool { return !r.Flag("echo") }},
	{"n", func(r *chat.Request) bool { n, _ := r.Int("n"); return n == 1 }},
	{"best_of", func(r *chat.Request) bool { n, _ := r.Int("best_of"); return n == 1 }},
}

// state are fields that reach what the model server keeps of others: who is not of the
// house would reach it with the gateway's own credentials.
var state = []leak{
	{"previous_response_id", nil},
	{"conversation", nil},
	{"background", func(r *chat.Request) bool { return !r.Flag("background") }},
}

// hints are fields of an untrusted caller that go nowhere: an answer is as good
// without them.
var hints = []string{"seed", "user", "safety_identifier", "service_tier", "prompt_cache_key", "prompt_cache_retention", "reasoning.summary", "reasoning.generate_summary"}

// Check says whether a caller of the tier may ask what the request asks. A Deny names
// the fields that they may not use; first is the first of them.
func (f Fields) Check(tier Tier, r *chat.Request) (v pavise.Verdict, first string) {
	barred := f.barred(tier, r)
	if len(barred) == 0 {
		return pavise.Verdict{Check: checkFields, Outcome: pavise.Allow}, ""
	}
	why := fmt.Sprintf("%s: not for %s callers of this model", strings.Join(few(barred), ", "), tier)
	return pavise.Verdict{Check: checkFields, Outcome: pavise.Deny, Reason: why}, barred[0]
}

// barred are the fields of the request that a caller of the tier may not use.
func (f Fields) barred(tier Tier, r *chat.Request) []string {
	if tier == Internal {
		return nil
	}
	barred := asked(state, r)
	if tier == Trusted {
		return barred
	}
	if !f.Drop {
		barred = append(barred, asked(leaks, r)...)
	}
	barred = append(barred, r.Unknown...)
	if !f.Links {
		barred = append(barred, r.Links()...)
	}
	return once(barred)
}

// once is a list without what it has already said: a field may leak and be none of the
// operation's.
func once(list []string) (names []string) {
	if len(list) < 2 {
		return list
	}
	seen := map[string]bool{}
	for _, name := range list {
		if !seen[name] {
			names = append(names, name)
		}
		seen[name] = true
	}
	return names
}

// few are the first names of a list, and how many more there are.
func few(list []string) []string {
	const named = 8
	if more := len(list) - named; more > 0 {
		return append(list[:named:named], fmt.Sprintf("and %d more", more))
	}
	return list
}

// asked are the fields of a list that the request uses.
func asked(list []leak, r *chat.Request) (names []string) {
	for _, l := range list {
		if r.Has(l.field) && (l.harmless == nil || !l.harmless(r)) {
			names = append(names, l.field)
		}
	}
	return names
}

// Change makes the request what it may be for a caller of the tier. It assumes that
// Check let it pass, or that the route only observes. salt is what parts the caches of
// tenants: see CacheSalt.
func (f Fields) Change(tier Tier, r *chat.Request, salt string) (c Changes) {
	if tier != Untrusted {
		r.Admit(f.Allow)
	}
	c.Dropped = append(c.Dropped, few(r.Unknown)...) // they do not go on for anybody
	if tier == Untrusted {
		if f.Drop {
			c.Dropped = append(c.Dropped, asked(leaks, r)...)
			for _, l := range leaks {
				r.Drop(l.field)
			}
		}
		for _, name := range hints {
			if r.Drop(name) {
				c.Dropped = append(c.Dropped, name)
			}
		}
		if r.Without("include", "reasoning.encrypted_content", "message.output_text.logprobs") {
			c.Dropped = append(c.Dropped, "include")
		}
		c.Dropped = once(c.Dropped)
		c.Set = append(c.Set, f.clamp(r)...)
	}
	if tier != Internal {
		c.Set = append(c.Set, forget(r)...)
	}
	if f.CacheSalt && r.API != chat.Embeddings {
		r.SetText("cache_salt", salt)
	}
	return c
}

// caps are the fields that bound an answer, by operation; the first is set when none
// is there.
var caps = map[chat.API][]string{
	chat.Chat:        {"max_completion_tokens", "max_tokens"},
	chat.Completions: {"max_tokens"},
	chat.Responses:   {"max_output_tokens"},
}

// clamp bounds the answer's tokens. An answer that nobody bounds is the longest.
func (f Fields) clamp(r *chat.Request) (set []string) {
	most := int64(f.MaxTokens)
	if most == 0 {
		most = defaultTokens
	}
	bounded := false
	for _, name := range caps[r.API] {
		n, ok := r.Int(name)
		bounded = bounded || ok
		if n > most {
			r.SetInt(name, most)
			set = append(set, name+"="+strconv.FormatInt(most, 10))
		}
	}
	if list := caps[r.API]; !bounded && len(list) > 0 {
		r.SetInt(list[0], most)
		set = append(set, list[0]+"="+strconv.FormatInt(most, 10))
	}
	return set
}

// forget has the model server keep nothing of the exchange. A response is kept when
// nobody says otherwise.
func forget(r *chat.Request) []string {
	if r.API != chat.Responses && !r.Flag("store") || r.Has("store") && !r.Flag("store") {
		return nil
	}
	r.SetFlag("store", false)
	return []string{"store=false"}
}

// tales are what an untrusted caller does not get of an answer, or of an event of one.
var tales = func() (list []string) {
	for _, at := range []string{"", "response."} {
		list = append(list, at+"service_tier", at+"output.*.content.*.logprobs")
	}
	return append(list, "choices.*.logprobs", "choices.*.prompt_logprobs", "prompt_logprobs", "system_fingerprint", "item.content.*.logprobs", "part.logprobs", "logprobs")
}()

// Outbound takes out of an answer, or an event of one, what a caller of the tier does
// not get, and returns the names of it.
func (f Fields) Outbound(tier Tier, d *chat.Document) (removed []string) {
	if tier != Untrusted {
		return nil
	}
	for _, path := range tales {
		if d.Drop(path) {
			removed = append(removed, path[strings.LastIndexByte(path, '.')+1:])
		}
	}
	if d.HideCaching() { // said of all that count tokens: whether it was there would tell
		removed = append(removed, "cached_tokens")
	}
	if d.HideReasoning() {
		removed = append(removed, "reasoning")
	}
	slices.Sort(removed)
	return slices.Compact(removed)
}

// CacheSalt returns what parts a tenant's share of a model server's prefix cache from
// that of others: how fast an answer comes would tell what they asked. Nobody without
// the key can guess it. It is 32 characters long.
func CacheSalt(key []byte, tenant string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("cache_salt\x00" + tenant))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:24])
}
