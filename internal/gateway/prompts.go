package gateway

import (
	"context"
	"iter"
	"slices"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/chat"
	"github.com/pavise/pavise/internal/classifier"
	"github.com/pavise/pavise/internal/firewall"
	"github.com/pavise/pavise/internal/prompt"
)

// ContentFilter is the code by which the protocol says that a request or an answer was
// withheld for what it says.
const ContentFilter = "content_filter"

// A Withheld is why a request did not go to the model, or an answer not to the caller:
// for what it says. Param is the part of the request, if it was one.
type Withheld struct {
	Param string
	Err   *pavise.Error
}

// Error says what was withheld, and nothing of what it said.
func (w *Withheld) Error() string { return w.Err.Error() }

// Unwrap returns the error that the caller sees.
func (w *Withheld) Unwrap() error { return w.Err }

// The checks on what is said, as verdicts name them.
const (
	checkPrompts    = "prompts"
	checkAnswers    = "answers"
	checkClassifier = "classifier"
)

// looked reads what the request says, and asks the route's classifier of it. What leads
// to nothing leaves no verdict.
func (x *ChatExchange) looked(ctx context.Context) error {
	p := &x.route.Prompts
	if p.Off {
		return nil
	}
	told, system := x.heard(p)
	if len(told) > 0 {
		if err := x.check(prompt.Verdict(checkPrompts, told), pavise.Invalid); err != nil {
			at := slices.IndexFunc(told, func(t prompt.Told) bool { return t.Action == prompt.Refuse })
			return &Withheld{Param: told[at].Where, Err: &pavise.Error{
				Kind: pavise.Invalid, Msg: "the request is not passed on for what it says: " + prompt.Say(told, prompt.Refuse),
				Hint: "leave that out; the route's owner says what is refused, and the record holds why",
			}}
		}
	}
	x.alert("a request", told)
	if len(system) > 0 && p.Answers.Compares() {
		x.prints = prompt.NewPrints(system...)
	}
	if p.Classifier != nil {
		return x.judged(ctx, p.Classifier)
	}
	return nil
}

// heard is what the rules say of the request, and the texts of its owner.
func (x *ChatExchange) heard(p *prompt.Policy) (told []prompt.Told, system []string) {
	trusted := x.said.Tier != firewall.Untrusted
	note := func(f prompt.Finding, who prompt.Voice, where string) {
		told = prompt.Add(told, p.Judge(f, who, trusted, where))
	}
	for s := range x.ask.Said() {
		who := prompt.Caller
		switch s.Role {
		case chat.RoleSystem:
			if who = prompt.Owner; s.Instructs {
				system = append(system, s.Text)
			}
		case chat.RoleTool:
			who = prompt.Context
		}
		for _, f := range prompt.Look(s.Text) {
			note(f, who, s.At())
		}
	}
	if x.ask.Coded() {
		note(prompt.Finding{Rule: prompt.Tokens}, prompt.Caller, "")
	}
	return told, system
}

// judged asks the classifier. Whether a request goes on without an opinion is the
// route's choice.
func (x *ChatExchange) judged(ctx context.Context, c *prompt.Classifier) error {
	if err := x.hold.Set(x.ask.Weight() + 2*x.ask.Written()); err != nil { // with the question, which grows to its size
		x.entry.Verdict(pavise.Verdict{Check: "memory", Outcome: pavise.Deny, Reason: err.Error()})
		return err
	}
	var texts []classifier.Text
	for s := range x.ask.Said() {
		texts = append(texts, classifier.Text{Role: s.Role, Text: s.Text})
	}
	opinion, err := classifier.Opinion{}, error(&pavise.Error{Kind: pavise.Unavailable, Msg: "the classifier cannot be asked"})
	if x.route.Judge != nil {
		opinion, err = x.route.Judge.Ask(ctx, x.call.Model.String(), texts)
	}
	v := pavise.Verdict{Check: checkClassifier, Outcome: pavise.Allow, Reason: opinion.String()}
	switch {
	case err != nil:
		v.Reason = "no opinion: " + err.Error()
		if c.Closed {
			v.Outcome = pavise.Deny
			if err := x.check(v, pavise.Unavailable); err != nil {
				return &pavise.Error{Kind: pavise.Unavailable, Msg: "nobody could say whether the request may go on", Hint: "retry; if it stays so, the operator should look at the route's classifier"}
			}
			return nil
		}
	case opinion.Flagged && c.Action == prompt.Refuse:
		v.Outcome = pavise.Deny
	case opinion.Flagged && c.Action == prompt.Alert:
		v.Outcome, v.Observed = pavise.Deny, true
		x.alert("a request", []prompt.Told{{Finding: prompt.Finding{Rule: checkClassifier}, Action: prompt.Alert}})
	}
	if err := x.check(v, pavise.Invalid); err != nil {
		return &Withheld{Err: &pavise.Error{Kind: pavise.Invalid, Msg: "the request is not passed on: the route's classifier holds it for an attack", Hint: "the route's owner says what follows its word, and the record holds it"}}
	}
	return nil
}

// withheldAnswer is what a caller is told of an answer that they do not get. What it held
// is for the record: to know would help whoever asked for it.
func withheldAnswer() error {
	return &Withheld{Err: &pavise.Error{Kind: pavise.Denied, Msg: "the answer held something that must not leave, and is withheld", Hint: "the record says what; the route's owner says what is withheld"}}
}

// clean reads a whole answer, and refuses it if it holds what must not leave.
func (x *ChatExchange) clean(a *chat.Answer) error {
	o := x.overseer()
	if o == nil {
		return nil
	}
	err := o.texts(a.Pieces())
	o.tell()
	return err
}

// An overseer reads the texts of an answer, whole or event by event, and keeps the events
// that cannot leave yet: in their order, each until all of its texts are clear. A nil one
// reads nothing. One goroutine owns it. Thousands wait at the same time, so it is small, and
// keeps of an event that left nothing but what its texts may end with.
type overseer struct {
	x        *ChatExchange
	channels []channel // in the order in which they began
	told     []prompt.Told
	waiting  []held // nil when nothing waits
	size     int    // bytes of waiting
	needs    []need // of the event at hand
}

// A channel is one text that comes in pieces.
type channel struct {
	chat.Channel
	scanner     *prompt.Scanner
	read, clear int64 // bytes
}

// A held is an event that waits.
type held struct {
	event []byte
	needs []need
}

// A need is up to where the text of a channel, by its place, must be clear.
type need struct {
	of   int
	upTo int64
}

const (
	maxChannels = 256       // texts that come in pieces at the same time; pieces of others are read one by one
	maxHeld     = 256 << 10 // bytes of events that wait; then what was read is taken for the texts' end
)

// overseer returns who reads the answer; nil when there is nothing to look for.
func (x *ChatExchange) overseer() *overseer {
	if x.route.Prompts.Off || !x.route.Prompts.Wanted() || x.ask.API == chat.Embeddings {
		return nil
	}
	return &overseer{x: x}
}

// policy is the route's, as the exchange began with it.
func (o *overseer) policy() *prompt.Policy { return &o.x.route.Prompts }

// read reads an event's texts. The error says that the answer must not go on.
func (o *overseer) read(e *chat.Event) error {
	o.needs = o.needs[:0]
	return o.texts(e.Pieces())
}

func (o *overseer) texts(pieces iter.Seq[chat.Piece]) error {
	for p := range pieces {
		at := -1
		if !p.Whole {
			at = o.channel(p.Channel)
		}
		if at < 0 {
			o.note(o.policy().Whole(p.Text, o.x.prints))
			continue
		}
		c := &o.channels[at]
		found, clear := c.scanner.Add(p.Text)
		c.read, c.clear = c.read+int64(len(p.Text)), clear
		o.needs = append(o.needs, need{at, c.read})
		o.note(found)
	}
	return o.verdict()
}

// channel is the place of a channel, which may begin here; -1 when there are too many.
func (o *overseer) channel(is chat.Channel) int {
	for i := range o.channels {
		if o.channels[i].Channel == is {
			return i
		}
	}
	if len(o.channels) == maxChannels {
		return -1
	}
	is.Kind = strings.Clone(is.Kind) // it may be a part of the event
	o.channels = append(o.channels, channel{Channel: is, scanner: o.policy().NewScanner(o.x.prints)})
	return len(o.channels) - 1
}

func (o *overseer) note(found []prompt.Finding) {
	for _, f := range found {
		o.told = prompt.Add(o.told, o.policy().JudgeAnswer(f))
	}
}

// verdict stops the answer if something in it is refused, unless the route observes.
func (o *overseer) verdict() error {
	if prompt.Worst(o.told) != prompt.Refuse || o.x.route.Observe {
		return nil
	}
	return withheldAnswer()
}

// passes reports whether the event that was read need not wait: nothing before it does, and
// its texts are clear.
func (o *overseer) passes() bool { return len(o.waiting) == 0 && o.clears(o.needs) }

// clears reports whether texts are clear so far.
func (o *overseer) clears(needs []need) bool {
	return !slices.ContainsFunc(needs, func(n need) bool { return o.channels[n.of].clear < n.upTo })
}

// hold has the event that was read wait for its texts.
func (o *overseer) hold(event []byte) {
	o.waiting = append(o.waiting, held{event, slices.Clone(o.needs)})
	o.size += len(event)
}

// free takes the events that need not wait any longer, in their order.
func (o *overseer) free() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		if o.size > maxHeld {
			o.release()
		}
		for len(o.waiting) > 0 && o.clears(o.waiting[0].needs) {
			event := o.waiting[0].event
			o.waiting[0] = held{}
			if o.waiting = o.waiting[1:]; len(o.waiting) == 0 {
				o.waiting = nil // what it stood in would keep the events that were there
			}
			if o.size -= len(event); !yield(event) {
				return
			}
		}
	}
}

// release calls clear all that was read.
func (o *overseer) release() {
	for i := range o.channels {
		o.channels[i].clear = o.channels[i].read
	}
}

// end reads the texts to their end.
func (o *overseer) end() error {
	for i := range o.channels {
		o.note(o.channels[i].scanner.End())
	}
	if err := o.verdict(); err != nil {
		return err
	}
	o.release()
	return nil
}

// unsent is how many events wait.
func (o *overseer) unsent() int {
	if o == nil {
		return 0
	}
	return len(o.waiting)
}

// tell puts into the record what was found.
func (o *overseer) tell() {
	if o == nil || len(o.told) == 0 {
		return
	}
	v := prompt.Verdict(checkAnswers, o.told)
	v.Observed = v.Observed || v.Outcome == pavise.Deny && o.x.route.Observe
	o.x.entry.Verdict(v)
	o.x.alert("an answer", o.told)
	o.told = nil
}
