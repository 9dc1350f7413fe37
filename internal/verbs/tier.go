package verbs

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/archive"
	"github.com/pavise/pavise/internal/detect"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/tier"
)

// kindTier is the kind of thing that these verbs are on: the tiers of a model's callers,
// under the model's id.
const kindTier = "tier"

func (rooms *Rooms) tierVerbs() []api.Verb {
	onTier := []string{kindTier}
	return []api.Verb{
		api.Do(api.Verb{
			Name: "tier.hold", On: onTier, Safe: true,
			Help:    "Hold a caller of a model to a tier, at once",
			About:   "Amber: it is answered less exactly where the owner lets answers be altered, and elsewhere on a tighter budget. Red: it is refused, and told so; only people say that. The word lasts for --for, and counts more than what detectors see meanwhile. Nobody need approve it: holding is the safe direction. Lifting takes an operator. In a fleet every gateway holds the caller, with the next bundle.",
			Example: "pavise tier hold threat-detector workload/scanner --tier amber --reason looks-like-copying",
		}, rooms.tierHold),
		api.Do(api.Verb{
			Name: "tier.list", On: onTier, Class: guard.Pooled,
			Help:    "List the callers that are amber or red at a model, and why",
			About:   "The strictest first. Whoever is not listed is green. Amber are those whom a detector finds unlike the clients that a calibration was made of, and those whom somebody held to it; red are those alone whom a person held to it. In a fleet detectors look where callers are answered: a control plane lists what people said, and each gateway's findings are in its own log.",
			Example: "pavise tier list",
		}, rooms.tierList),
		api.Do(api.Verb{
			Name: "tier.show", On: onTier, Class: guard.Pooled,
			Help:    "Show how a caller stands at a model, and the records that this stands on",
			About:   "With the evidence in words, and the newest records of what was found and said of the caller there. What it asked is in the log: pavise ledger list --who CALLER --on MODEL.",
			Example: "pavise tier show threat-detector workload/scanner",
		}, rooms.tierShow),
		api.Do(api.Verb{
			Name: "tier.lift", On: onTier,
			Help:    "Let a caller be green again at a model, with a reason",
			About:   "Whoever said otherwise, a detector or a person. What detectors remember of the caller there is forgotten, and they look anew. The record keeps how the caller stood, and the reason. Only people lift, and nobody lifts what holds themselves, under any name of theirs; what holds a program of theirs they may lift. In a fleet every gateway lifts it, with the next bundle.",
			Example: "pavise tier lift threat-detector workload/scanner --reason it-was-our-own-test",
		}, rooms.tierLift),
	}
}

// TierHold holds a caller to a tier.
type TierHold struct {
	Model  pavise.Name `json:"model" arg:"" help:"the model's name: its id, or tenant/model/id" doc:"the model's name, as tenant/model/id"`
	Caller pavise.Name `json:"caller" arg:"" help:"who asks it: human/id, workload/id or node/id" doc:"who asks it, as tenant/kind/id"`
	Tier   string      `json:"tier" required:"true" enum:"amber,red" help:"amber or red" doc:"amber or red"`
	Reason string      `json:"reason" required:"true" minLength:"1" maxLength:"1000" help:"why" doc:"why, for people"`
	For    string      `json:"for,omitempty" default:"24h" help:"how long, at most 90d" doc:"how long, at most 90 days; 24h when absent"`
}

// TierList asks who is held to a tier.
type TierList struct {
	Model  pavise.Name `json:"model,omitzero" placeholder:"NAME" help:"only at this model: its id, or tenant/model/id" doc:"only at this model, as tenant/model/id"`
	Caller pavise.Name `json:"caller,omitzero" placeholder:"NAME" help:"only this caller: kind/id, or tenant/kind/id" doc:"only this caller, as tenant/kind/id"`
	Tier   string      `json:"tier,omitempty" enum:"amber,red," default:"" placeholder:"TIER" help:"only those who are amber, or red" doc:"only those who are amber, or red"`
}

// TierRef names a caller of a model.
type TierRef struct {
	Model  pavise.Name `json:"model" arg:"" help:"the model's name: its id, or tenant/model/id" doc:"the model's name, as tenant/model/id"`
	Caller pavise.Name `json:"caller" arg:"" help:"who asks it: human/id, workload/id or node/id" doc:"who asks it, as tenant/kind/id"`
}

// TierLift lets a caller be green again.
type TierLift struct {
	TierRef
	Reason string `json:"reason" required:"true" minLength:"1" maxLength:"1000" help:"why" doc:"why, for people"`
}

// A TierView is how a caller stands at a model, as it is shown.
type TierView struct {
	tier.Standing
	Words string `json:"words"` // who says so and why, in a sentence
}

// TierViews holds standings, the strictest first.
type TierViews struct {
	Tiers  []TierView `json:"tiers"`
	More   int        `json:"more,omitempty"`   // so many others are not listed
	Pushed uint64     `json:"pushed,omitempty"` // so many were let go since the start, because there was no room for more
	// Unseen is what detectors did not see since the start, by model, to the last minute.
	Unseen []tier.Unseen `json:"unseen,omitempty"`
}

// TierShown is all that is known of a caller at a model.
type TierShown struct {
	TierView
	Records []TierRecord `json:"records"` // the newest first
}

// A TierRecord is a record that says something of a caller at a model.
type TierRecord struct {
	Index uint64    `json:"index"`
	Kind  string    `json:"kind"`
	At    time.Time `json:"at"`
	Words string    `json:"words"`
}

// TierHeld says to what a caller is held.
type TierHeld struct {
	TierView
	Seen bool `json:"seen"` // somebody of that name has asked for something since the start
}

// TierLifted says what was lifted.
type TierLifted struct {
	Was TierView `json:"was"`
}

const (
	maxTierHold  = 90 * 24 * time.Hour
	tiersListed  = 1000 // standings in one answer
	tierRecords  = 20   // records that one answer tells of
	tierSearched = 2000 // records of a kind that are looked through for them
)

// A tierDetail is the detail of the records of these verbs.
type tierDetail struct {
	Model  pavise.Name    `json:"model"`
	Caller pavise.Name    `json:"caller"`
	Tier   tier.Tier      `json:"tier"`
	Until  time.Time      `json:"until,omitzero"`
	Reason string         `json:"reason"`
	Was    *tier.Standing `json:"was,omitempty"` // as it was lifted
}

// tiersOf names the tiers of a model's callers; of no model, those of all.
func tiersOf(who pavise.Principal, model pavise.Name) pavise.Name {
	return pavise.Name{Tenant: cmp.Or(model.Tenant, who.Tenant), Kind: kindTier, ID: cmp.Or(model.ID, "all")}
}

// book returns the tiers, where models are answered.
func (rooms *Rooms) book() (*tier.Book, error) {
	if rooms.Tiers == nil {
		return nil, &pavise.Error{Kind: pavise.Unavailable, Msg: "nothing here knows how far callers are trusted", Hint: "pavise up and pavise serve do"}
	}
	return rooms.Tiers, nil
}

// valid refuses what names no model, or no caller of its tenant.
func (r TierRef) valid() error {
	for _, n := range []pavise.Name{r.Model, r.Caller} {
		if err := n.Validate(); err != nil {
			return err
		}
	}
	switch {
	case r.Model.Kind != "model":
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s is a %s, and callers stand at models", r.Model, r.Model.Kind), Hint: "write the model as tenant/model/id"}
	case r.Caller.Tenant != r.Model.Tenant || !slices.Contains([]string{pavise.Human, pavise.Workload, pavise.Node}, r.Caller.Kind):
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s is nobody who could ask %s", r.Caller, r.Model), Hint: "write who asks as " + r.Model.Tenant + "/workload/id, or human, or node; pavise caller list shows them"}
	}
	return nil
}

func (rooms *Rooms) tierHold(ctx context.Context, who pavise.Principal, req TierHold) (held TierHeld, err error) {
	ref := TierRef{req.Model, req.Caller}
	if err := ref.valid(); err != nil {
		return held, err // no name to ask the guard about
	}
	entry, err := rooms.Guard.Enter(ctx, who, "tier.hold", tiersOf(who, req.Model))
	if err != nil {
		return held, err
	}
	defer entry.Exit(&err)
	word, err := req.word(who, time.Now())
	if err != nil {
		return held, err
	}
	entry.Detail(tierDetail{Model: req.Model, Caller: req.Caller, Tier: word.Tier, Until: word.Until, Reason: req.Reason})
	book, err := rooms.book()
	if err != nil {
		return held, err
	}
	if rooms.Routes != nil && !rooms.Routes.Has(req.Model) {
		return held, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("no route leads to %s", req.Model), Hint: "pavise route list shows those that exist"}
	}
	standing, err := book.Hold(ctx, word)
	if err != nil {
		return held, err
	}
	seen := slices.ContainsFunc(rooms.Guard.Callers(req.Caller.Tenant), func(c guard.Caller) bool { return c.Name == req.Caller })
	return TierHeld{viewTier(standing), seen}, nil
}

// word is what the request has an operator say.
func (r TierHold) word(who pavise.Principal, now time.Time) (tier.Word, error) {
	to, err := tier.Parse(r.Tier)
	if err == nil && to == tier.Green {
		err = &pavise.Error{Kind: pavise.Invalid, Msg: "nobody is held to green", Hint: "pavise tier lift lets somebody be green again"}
	}
	if err != nil {
		return tier.Word{}, err
	}
	lasts, err := archive.ParseSpan(cmp.Or(r.For, "24h"))
	lasts = lasts.Truncate(time.Minute) // in which ends are told to gateways
	if err != nil || lasts < time.Minute || lasts > maxTierHold {
		return tier.Word{}, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("a hold for %.40q", r.For), Hint: "say how long, from 1m to 90d: --for 24h"}
	}
	if to == tier.Red && who.Kind != pavise.Human {
		return tier.Word{}, &pavise.Error{Kind: pavise.Denied, Msg: fmt.Sprintf("%s is no person, and only people say that somebody is refused", who.Name()), Hint: "hold to amber, which a program may, and have a person look"}
	}
	return tier.Word{Model: r.Model, Who: r.Caller, Tier: to, Until: now.Add(lasts), By: who.Name(), Reason: r.Reason}, nil
}

func (rooms *Rooms) tierList(ctx context.Context, who pavise.Principal, req TierList) (list TierViews, err error) {
	entry, err := rooms.Guard.Enter(ctx, who, "tier.list", tiersOf(who, req.Model))
	if err != nil {
		return list, err
	}
	defer entry.Exit(&err)
	book, err := rooms.book()
	if err != nil {
		return list, err
	}
	list.Tiers = []TierView{}
	for _, s := range book.List(tier.Filter{Tenant: who.Tenant, Model: req.Model, Who: req.Caller}) {
		switch {
		case s.Tier == tier.Green || req.Tier != "" && s.Tier.String() != req.Tier:
		case len(list.Tiers) == tiersListed:
			list.More++
		default:
			list.Tiers = append(list.Tiers, viewTier(s))
		}
	}
	list.Pushed, list.Unseen = book.Pushed(), book.Unseen(who.Tenant)
	return list, nil
}

func (rooms *Rooms) tierShow(ctx context.Context, who pavise.Principal, req TierRef) (shown TierShown, err error) {
	if err := req.valid(); err != nil {
		return shown, err // no name to ask the guard about
	}
	entry, err := rooms.Guard.Enter(ctx, who, "tier.show", tiersOf(who, req.Model))
	if err != nil {
		return shown, err
	}
	defer entry.Exit(&err)
	book, err := rooms.book()
	if err != nil {
		return shown, err
	}
	standing, _ := book.Get(req.Model, req.Caller)
	shown.TierView = viewTier(standing)
	shown.Records, err = tierEvidence(ctx, rooms.Log, req)
	return shown, err
}

func (rooms *Rooms) tierLift(ctx context.Context, who pavise.Principal, req TierLift) (lifted TierLifted, err error) {
	if err := req.valid(); err != nil {
		return lifted, err // no name to ask the guard about
	}
	entry, err := rooms.Guard.Enter(ctx, who, "tier.lift", tiersOf(who, req.Model))
	if err != nil {
		return lifted, err
	}
	defer entry.Exit(&err)
	detail := tierDetail{Model: req.Model, Caller: req.Caller, Reason: req.Reason}
	entry.Detail(detail)
	if err := rooms.mayLift(ctx, who, req.Caller); err != nil {
		return lifted, err
	}
	book, err := rooms.book()
	if err != nil {
		return lifted, err
	}
	was, err := rooms.lift(ctx, book, tier.Word{Model: req.Model, Who: req.Caller, By: who.Name(), Reason: req.Reason})
	if err != nil {
		return lifted, err
	}
	detail.Was = &was
	entry.Detail(detail)
	return TierLifted{viewTier(was)}, nil
}

// lift lifts what is known of a caller here. In a fleet gateways know more: there the word
// is kept for as long as a gateway's detector would hold somebody, and each lifts by it
// what held the caller before it was given.
func (rooms *Rooms) lift(ctx context.Context, book *tier.Book, w tier.Word) (was tier.Standing, err error) {
	if rooms.Nodes == nil {
		return book.Lift(ctx, w)
	}
	was, _ = book.Get(w.Model, w.Who)
	w.Until = time.Now().Add(tier.AmberTime)
	_, err = book.Obey(ctx, w) // who may lift may say so whatever holds
	return was, err
}

// mayLift refuses to have somebody lift what holds themselves: their own name, that of who
// answers for them, and any name of a person that either had made, as that one's last
// request says. A program that they had made is no name of theirs: whoever can make one can
// make another, which is green.
func (rooms *Rooms) mayLift(ctx context.Context, who pavise.Principal, caller pavise.Name) error {
	makers := []pavise.Name{caller}
	if caller.Kind == pavise.Human {
		by, err := rooms.maker(ctx, caller)
		if err != nil {
			return err
		}
		makers = append(makers, by)
	}
	if slices.Contains(makers, who.Name()) || slices.Contains(makers, who.Root()) {
		return &pavise.Error{Kind: pavise.Denied, Msg: fmt.Sprintf("%s answers for %s, and nobody lifts what holds themselves", who.Root(), caller), Hint: "ask another operator to look at it"}
	}
	return nil
}

// maker is who had a caller's identity made, as its last request says; the zero name if
// nobody did, or it never asked.
func (rooms *Rooms) maker(ctx context.Context, caller pavise.Name) (by pavise.Name, err error) {
	for found, err := range rooms.Log.SelectBack(ctx, ledger.Filter{Tenant: caller.Tenant, Who: caller.String()}, rooms.Log.First(), rooms.Log.Size()) {
		if err != nil {
			return by, err
		}
		return found.Record.Who.By, nil
	}
	return by, nil
}

// viewTier says a standing in words.
func viewTier(s tier.Standing) TierView {
	return TierView{s, tierWords(s)}
}

func tierWords(s tier.Standing) string {
	var evidence string
	if e := s.Evidence; e != nil {
		seen := strings.TrimPrefix(e.Evidence, fmt.Sprintf("%d rows: ", e.Rows)) // it stands before it here
		evidence = fmt.Sprintf("after %d rows, %s: %.2f by the measure %s, where %.2f is the most of honest clients", e.Rows, seen, e.Score, e.Detector, e.Threshold)
	}
	switch {
	case s.By != (pavise.Name{}) && s.Tier == tier.Green:
		return fmt.Sprintf("%s lifted it: %s", s.By, s.Reason)
	case s.By != (pavise.Name{}) && evidence != "":
		return fmt.Sprintf("%s said so: %s. A detector saw it, too: %s", s.By, strings.TrimSuffix(s.Reason, "."), evidence)
	case s.By != (pavise.Name{}):
		return fmt.Sprintf("%s said so: %s", s.By, s.Reason)
	case evidence != "" && s.Tier != tier.Green:
		return "a detector found it unlike honest clients: " + evidence
	}
	return "nothing is known against it"
}

// tierEvidence finds the newest records that say something of a caller at a model: what
// detectors found, and what people said.
func tierEvidence(ctx context.Context, log *ledger.Log, ref TierRef) ([]TierRecord, error) {
	found := []TierRecord{}
	for _, f := range []ledger.Filter{
		{Kinds: []string{detect.KindSuspected}, On: ref.Model.String(), Phase: record.Note},
		{Kinds: []string{"tier.hold", "tier.lift"}, On: tiersOf(pavise.Principal{}, ref.Model).String(), Phase: record.Exit},
	} {
		f.Tenant = ref.Model.Tenant
		searched, kept := 0, 0
		for r, err := range log.SelectBack(ctx, f, log.First(), log.Size()) {
			if err != nil {
				return nil, err
			}
			if words := saysOf(&r.Record, ref.Caller); words != "" {
				found = append(found, TierRecord{r.Index, r.Record.Kind, r.Record.At, words})
				kept++
			}
			if searched++; searched == tierSearched || kept == tierRecords {
				break
			}
		}
	}
	slices.SortFunc(found, func(a, b TierRecord) int { return cmp.Compare(b.Index, a.Index) })
	return found[:min(len(found), tierRecords)], nil
}

// saysOf is what a record says of a caller; "" if it is about somebody else.
func saysOf(r *record.Record, caller pavise.Name) string {
	var d struct {
		Finding pavise.Finding `json:"finding"`
		tierDetail
	}
	if json.Unmarshal(r.Detail, &d) != nil {
		return ""
	}
	switch {
	case d.Finding.Who == caller:
		return d.Finding.Summary
	case d.Caller != caller || r.Who == nil:
		return ""
	case r.Error != nil:
		return fmt.Sprintf("%s tried to, and was refused: %s", r.Who.Name(), r.Error.Msg)
	case r.Kind == "tier.lift":
		return fmt.Sprintf("%s lifted it: %s", r.Who.Name(), d.Reason)
	}
	return fmt.Sprintf("%s held it to %s: %s", r.Who.Name(), d.Tier, d.Reason)
}
