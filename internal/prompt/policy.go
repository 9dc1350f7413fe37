package prompt

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pavise/pavise"
)

// An Action is what follows when a rule is met.
type Action string

// The actions, from the mildest.
const (
	Off     Action = "off"     // it is not looked for
	Observe Action = "observe" // the record says so
	Alert   Action = "alert"   // the record says that it would have been refused
	Refuse  Action = "refuse"  // the request is refused, the answer is not given
)

var actions = []Action{Off, Observe, Alert, Refuse}

// worse is the graver of two actions.
func worse(a, b Action) Action {
	if slices.Index(actions, b) > slices.Index(actions, a) {
		return b
	}
	return a
}

// Actions say what follows when rules are met, by id or by family; an id goes before its
// family, and what is not named is as its table says.
type Actions map[string]Action

// of looks a rule up.
func (a Actions) of(id string, usual Action) Action {
	if is, ok := a[id]; ok {
		return is
	}
	family, _, _ := strings.Cut(id, ".")
	if is, ok := a[family]; ok {
		return is
	}
	return usual
}

// A Policy says what is looked for in the requests to a language model and in its
// answers, and what follows. The zero value takes every rule's default.
type Policy struct {
	Off     bool    `json:"off,omitempty"`     // nothing is looked at
	Callers Actions `json:"callers,omitempty"` // when an untrusted caller says it
	Trusted Actions `json:"trusted,omitempty"` // when a trusted one does: by default nothing of theirs is refused, and what would be is an alert
	Sources Actions `json:"sources,omitempty"` // when the result of a tool says it, whoever the caller is
	Answers
	Classifier *Classifier `json:"classifier,omitempty"` // who else is asked; nil: nobody
}

// Answers say what is looked for in answers.
type Answers struct {
	Actions  Actions  `json:"answers,omitempty"`
	Canaries []Canary `json:"canaries,omitempty"`
}

// A Classifier is somebody outside who is asked what they make of a request: see
// docs/formats/classifier.md.
type Classifier struct {
	URL     string `json:"url"`
	Timeout int    `json:"timeout_ms,omitempty"` // 0: 1000
	Closed  bool   `json:"closed,omitempty"`     // a request is refused when no verdict comes
	Action  Action `json:"action,omitempty"`     // when it flags a request; empty: observe
}

const (
	maxCanaries    = 16
	maxTimeout     = 10_000 // milliseconds
	DefaultTimeout = 1000   // milliseconds that a classifier has when nobody says otherwise
)

// Words are a Policy as its owner writes it: with canaries in plain text.
type Words struct {
	Off        bool        `json:"off"`
	Callers    Actions     `json:"callers"`
	Trusted    Actions     `json:"trusted"`
	Sources    Actions     `json:"sources"`
	Answers    Actions     `json:"answers"`
	Canaries   []string    `json:"canaries"`
	Classifier *Classifier `json:"classifier"`
}

// Policy digests the canaries of a route, named of, and validates the rest. The same words
// make the same policy. The errors are of kind Invalid.
func (w Words) Policy(of string) (Policy, error) {
	p := Policy{Off: w.Off, Callers: w.Callers, Trusted: w.Trusted, Sources: w.Sources, Answers: Answers{Actions: w.Answers}, Classifier: w.Classifier}
	for i, text := range w.Canaries {
		c, err := NewCanary(text, saltOf(of, text))
		if err != nil {
			return Policy{}, fmt.Errorf("canaries[%d]: %w", i, err)
		}
		p.Canaries = append(p.Canaries, c)
	}
	return p, p.Validate()
}

// Validate reports, as an error of kind Invalid, what cannot be meant.
func (p Policy) Validate() error {
	refuse := func(hint, format string, args ...any) error {
		return &pavise.Error{Kind: pavise.Invalid, Msg: "prompts: " + fmt.Sprintf(format, args...), Hint: hint}
	}
	for _, part := range []struct {
		name  string
		list  Actions
		known func(string) bool
	}{{"callers", p.Callers, isRule}, {"trusted", p.Trusted, isRule}, {"sources", p.Sources, isRule}, {"answers", p.Actions, isSecret}} {
		for id, action := range part.list {
			if !part.known(id) {
				return refuse("docs/prompts.md lists rules and families", "%s names %.80q, which is no rule", part.name, id)
			}
			if !slices.Contains(actions, action) {
				return refuse("actions are off, observe, alert and refuse", "%s: %s is %.80q", part.name, id, action)
			}
		}
	}
	if len(p.Canaries) > maxCanaries {
		return refuse("keep those that are in use", "%d canaries are more than %d", len(p.Canaries), maxCanaries)
	}
	for _, c := range p.Canaries {
		if err := c.Validate(); err != nil {
			return err
		}
	}
	if c := p.Classifier; c != nil {
		switch {
		case !strings.HasPrefix(c.URL, "http://") && !strings.HasPrefix(c.URL, "https://") || len(c.URL) > 512:
			return refuse("write it as http://HOST:PORT/PATH", "classifier: %.80q is no address", c.URL)
		case c.Timeout < 0 || c.Timeout > maxTimeout:
			return refuse("", "classifier: timeout_ms is %d, not between 0 and %d", c.Timeout, maxTimeout)
		case c.Action != "" && !slices.Contains(actions, c.Action):
			return refuse("actions are off, observe, alert and refuse", "classifier: action is %.80q", c.Action)
		}
	}
	return nil
}

func isRule(id string) bool {
	return slices.ContainsFunc(rules, func(r Rule) bool { return r.ID == id || r.Family() == id })
}

func isSecret(id string) bool {
	return slices.ContainsFunc(secrets, func(s Secret) bool { family, _, _ := strings.Cut(s.ID, "."); return s.ID == id || family == id })
}

// action is what follows a secret in an answer.
func (a *Answers) action(secret int) Action {
	return a.Actions.of(secrets[secret].ID, secrets[secret].Action)
}

// Compares reports whether answers are compared with what the request tells the model.
func (a *Answers) Compares() bool { return a.action(aLeak) != Off }

// Wanted reports whether answers need to be looked at.
func (a *Answers) Wanted() bool {
	for i := range secrets {
		if a.action(i) != Off {
			return true
		}
	}
	return false
}

// A Voice is who says a text of a request.
type Voice int

// The voices.
const (
	Owner   Voice = iota // the system or developer message: whoever built what asks
	Caller               // the one who asks, or an earlier answer that they send along
	Context              // the result of a tool: anybody
)

// A Told is a finding with who said it, where, and what follows.
type Told struct {
	Finding
	Where  string // the path of the text, such as messages[2]; empty in answers
	Action Action
}

// Judge says what follows a finding in what a voice said.
func (p *Policy) Judge(f Finding, who Voice, trusted bool, where string) Told {
	r := rules[ruleAt(f.Rule)]
	t := Told{Finding: f, Where: where}
	switch {
	case who == Context:
		t.Action = p.Sources.of(r.ID, r.Source)
	case who == Owner && r.Family() != "invisible" && r.ID != "template.token":
		t.Action = Off // who builds an application may order its model about, and forbid it things
	case trusted:
		usual := r.Caller
		if usual == Refuse {
			usual = Alert
		}
		t.Action = p.Trusted.of(r.ID, usual)
	default:
		t.Action = p.Callers.of(r.ID, r.Caller)
	}
	return t
}

// JudgeAnswer says what follows a finding in an answer.
func (p *Policy) JudgeAnswer(f Finding) Told {
	return Told{Finding: f, Action: p.action(at(f.Rule))}
}

// Add adds t to a list that names each rule once for each disguise, with the gravest of
// what follows and where that was first.
func Add(list []Told, t Told) []Told {
	if t.Action == Off {
		return list
	}
	for i := range list {
		if is := &list[i]; is.Finding == t.Finding {
			if worse(is.Action, t.Action) != is.Action {
				*is = t
			}
			return list
		}
	}
	return append(list, t)
}

// Worst is the gravest action of a list; Off when it is empty.
func Worst(list []Told) Action {
	worst := Off
	for _, t := range list {
		worst = worse(worst, t.Action)
	}
	return worst
}

// Say names the rules of a list with the given action, each with where it was met and in
// which disguise: for records. It holds nothing of the text.
func Say(list []Told, action Action) string {
	var parts []string
	for _, t := range list {
		if t.Action != action {
			continue
		}
		part := t.Rule
		if t.Via != "" {
			part += " (" + t.Via + ")"
		}
		if t.Where != "" {
			part += " in " + t.Where
		}
		if !slices.Contains(parts, part) {
			parts = append(parts, part)
		}
	}
	if more := len(parts) - maxSaid; more > 0 {
		parts = append(parts[:maxSaid], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(parts, ", ")
}

// maxSaid bounds the rules that a record names one by one.
const maxSaid = 16

// Verdict is a list as a check's word. An alert is what would have been refused, and was
// let pass.
func Verdict(check string, list []Told) pavise.Verdict {
	v := pavise.Verdict{Check: check, Outcome: pavise.Allow}
	switch Worst(list) {
	case Refuse:
		v.Outcome = pavise.Deny
	case Alert:
		v.Outcome, v.Observed = pavise.Deny, true
	}
	var parts []string
	for _, action := range []Action{Refuse, Alert, Observe} {
		if said := Say(list, action); said != "" {
			parts = append(parts, string(action)+": "+said)
		}
	}
	v.Reason = strings.Join(parts, "; ")
	return v
}
