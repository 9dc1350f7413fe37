package ticket

import (
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/cdevents"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/seal"
)

// The sorts of step.
const (
	stepOpened  = cdevents.Opened
	stepVoted   = cdevents.Voted
	stepRan     = cdevents.Ran
	stepBroken  = cdevents.Broken
	stepUnseen  = cdevents.Unseen
	stepEnded   = cdevents.Ended
	stepServed  = cdevents.Served // told as CDEvents alone
	stepTested  = cdevents.Tested
	stepReplied = "replied" // what was made of a word
)

// A step is one thing that happened to a change, as tools are told of it.
type step struct {
	Change   pavise.Name  `json:"change"`
	Key      string       `json:"key"`  // which step of the change: sort, and what tells it from others of it
	Sort     string       `json:"sort"` // one of the sorts of step
	At       time.Time    `json:"at"`
	Text     string       `json:"text"` // one sentence
	Verb     string       `json:"verb"`
	On       pavise.Name  `json:"on"`
	Summary  string       `json:"summary"`
	Reason   string       `json:"reason,omitempty"`
	Proposer pavise.Name  `json:"proposer"`
	Digest   string       `json:"digest"`
	Until    time.Time    `json:"until"`
	Have     int          `json:"have"`
	Need     int          `json:"need"`
	State    change.State `json:"state"`
	By       pavise.Name  `json:"by,omitzero"`        // who voted
	Decision string       `json:"decision,omitempty"` // what they said, or how it ended
	Here     string       `json:"here,omitempty"`     // why nobody votes on it from the tool; "": they may
	Trouble  bool         `json:"trouble,omitempty"`  // it was run before its approval, or nobody looked at it in half of its time
	Incident string       `json:"incident,omitempty"` // of stepBroken: the ticket that it was run for
	Service  string       `json:"service,omitempty"`  // of stepServed: deployed, upgraded, rolledback or removed
	Model    string       `json:"model,omitempty"`    // of stepServed: the digest of what answers, where that is known
}

// saidYes is what somebody said who approves.
const saidYes = "approves"

// stepsOf are the steps of a change so far. hears says why nobody votes on it from outside.
func stepsOf(ch *change.Change, hears string) []step {
	have, need := ch.Approvals()
	base := step{
		Change: ch.Name, Verb: ch.Verb, On: ch.On, Summary: clean(ch.Plan.Summary, 600), Reason: clean(ch.Reason, 600), Proposer: ch.Proposer.Name(),
		Digest: ch.Digest, Until: ch.Until, Have: have, Need: need, State: ch.State, Here: hears,
		Trouble: ch.Glass != nil || !ch.Unseen.IsZero(),
	}
	all := []step{}
	add := func(sort, key string, at time.Time, format string, args ...any) *step {
		s := base
		s.Sort, s.Key, s.At, s.Text = sort, key, at, clean(fmt.Sprintf(format, args...), 1200)
		all = append(all, s)
		return &all[len(all)-1]
	}
	add(stepOpened, stepOpened, ch.Proposed, "%s proposes: %s", ch.Proposer.Name(), ch.Plan.Summary)
	if ch.Glass != nil {
		add(stepBroken, stepBroken, ch.Glass.At, "it was run before anybody approved it, for ticket %s: %s", ch.Glass.Ticket, ch.Glass.Reason).Incident = clean(ch.Glass.Ticket, maxText)
	}
	for _, v := range ch.Votes {
		said := "denies"
		if v.Yes {
			said = saidYes
		}
		text := fmt.Sprintf("%s %s it", v.By, said)
		if v.Origin != nil {
			text += fmt.Sprintf(", on %s in %s", v.Origin.Ticket, v.Origin.Tool)
		}
		if v.Reason != "" {
			text += ": " + v.Reason
		}
		s := add(stepVoted, fmt.Sprintf("%s:%d", stepVoted, v.Record), v.At, "%s", text)
		s.By, s.Decision = v.By, said
	}
	if ch.State == change.Ran && ch.Glass == nil {
		add(stepRan, stepRan, ch.Proposed, "it was run first, as the safe direction is, and waits for approval afterwards")
	}
	if !ch.Unseen.IsZero() {
		add(stepUnseen, stepUnseen, ch.Unseen, "half of its time is over, and nobody has voted: it waits until %s", stamp(ch.Until))
	}
	if !ch.Ended.IsZero() {
		s := add(stepEnded, stepEnded, ch.Ended, "it is %s: %s", ch.State, ch.Outcome)
		s.Decision = string(ch.State)
	}
	return all
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// clean is a text in one line, without what could end the place where it stands, and not
// too long.
func clean(text string, most int) string {
	text = strings.Map(func(c rune) rune {
		switch {
		case c == '\n' || c == '\t' || c == '\r':
			return ' '
		case c < ' ' || c == 0x7f || c >= 0x80 && c < 0xa0 || c >= 0x202a && c <= 0x202e || c >= 0x2066 && c <= 0x2069 || c == 0xfffd:
			return -1
		}
		return c
	}, text)
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}

// title is that of a ticket.
func (s step) title() string {
	return clean(fmt.Sprintf("[pavise] %s: %s", s.Change.ID, s.Summary), 200)
}

// lines are what a ticket says of its change, before anybody has voted on it.
func (s step) lines() []string {
	all := []string{
		"Change:   " + s.Change.String(),
		"Act:      " + s.Verb + " on " + s.On.String(),
		"Does:     " + s.Summary,
		"Proposer: " + s.Proposer.String(),
	}
	if s.Reason != "" {
		all = append(all, "Reason:   "+s.Reason)
	}
	return append(all,
		fmt.Sprintf("Takes:    %d approval(s) until %s", s.Need, stamp(s.Until)),
		"Digest:   "+s.Digest)
}

// shownDigest is how many digits of its digest a vote on a ticket repeats.
const shownDigest = 12

// how says how people decide on it. comment: with a comment on the ticket.
func (s step) how(comment bool) string {
	switch {
	case s.Here != "":
		return fmt.Sprintf("Decide in Pavise, with pavise change show %s: %s.", s.Change.ID, s.Here)
	case comment:
		return fmt.Sprintf("To decide, comment with one line, %s or %s WHY. It counts if Pavise knows your account, and you did not propose it.",
			"pavise approve "+s.Digest[:shownDigest], "pavise deny "+s.Digest[:shownDigest])
	}
	return "To decide, approve or reject this change request. It counts if Pavise knows your account, and you did not propose it."
}

// said is the grammar of a vote: its comment's first line.
var said = regexp.MustCompile(`^pavise (approve|deny) ([0-9a-f]{12,64})(?: (.*))?$`)

// maxReason bounds the reason of a vote, in runes.
const maxReason = 120

// heard reads a comment. ok: it is meant as a vote.
func heard(text string) (w word, ok bool) {
	first, rest, more := strings.Cut(text, "\n")
	for more && strings.TrimSpace(first) == "" {
		first, rest, more = strings.Cut(rest, "\n")
	}
	if len(first) > 4096 || strings.HasPrefix(first, "    ") || strings.Contains(first, "\t") { // Markdown shows that as code: an example
		return w, false
	}
	m := said.FindStringSubmatch(strings.TrimSpace(first))
	if m == nil {
		return w, false
	}
	w.yes, w.digest, w.reason = m[1] == "approve", m[2], clean(m[3], maxReason)
	if !w.yes && w.reason == "" {
		w.spoiled = "a denial needs a reason on its line"
	}
	return w, true
}

// marks makes the marks of one tool's tickets.
type marks struct {
	key  *seal.Key
	tool place
}

func (m marks) of(kind, text string) string {
	return hex.EncodeToString(m.key.MAC(strings.Join([]string{kind, m.tool.tenant, m.tool.name, text}, "\n")))
}

// ticket is by which a change's ticket is known.
func (m marks) ticket(name pavise.Name) string {
	return "pavise-" + name.ID + "-" + m.of("ticket", name.ID)[:12]
}

// step is by which a step that was told is known.
func (m marks) step(s step) string {
	return "pavise:" + m.of("step", s.Change.ID+"\n"+s.Key)[:20]
}
