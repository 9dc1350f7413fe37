package console

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/figure"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/policy"
	"github.com/pavise/pavise/internal/story"
	"github.com/pavise/pavise/internal/verbs"
)

// A half is one half of the matrix, as a grid.
type half struct {
	ID, Title, About string
	policy.Grid
}

// narrowGrid is how many roles leave room for two halves of a grid side by side.
const narrowGrid = 9

// Columns are the rooms as they stand side by side.
func (h half) Columns() [][]policy.Room {
	total, first, cut := 0, 0, 0
	for _, r := range h.Rooms {
		total += len(r.Lines) + 1
	}
	for ; cut < len(h.Rooms) && 2*first < total; cut++ {
		first += len(h.Rooms[cut].Lines) + 1
	}
	if len(h.Roles) > narrowGrid || cut == len(h.Rooms) {
		return [][]policy.Room{h.Rooms}
	}
	return [][]policy.Room{h.Rooms[:cut], h.Rooms[cut:]}
}

// halvesOf draws the matrix: what is done to an organisation's models and data, and what
// is done in the house. A half has the roles that may do something in it.
func halvesOf(deeds []policy.Deed) []half {
	elsewhere := map[string]bool{} // rooms with something that Pavise itself does not do
	for _, d := range deeds {
		elsewhere[d.Room()] = elsewhere[d.Room()] || d.Declared
	}
	var estate, house []policy.Deed
	for _, d := range deeds {
		if elsewhere[d.Room()] {
			estate = append(estate, d)
		} else {
			house = append(house, d)
		}
	}
	return slices.DeleteFunc([]half{
		{"estate", "Models, data and machines", "What an organisation does with its AI estate.", policy.NewGrid(estate)},
		{"house", "The house", "What runs Pavise itself, and what proves it.", policy.NewGrid(house)},
	}, func(h half) bool { return len(h.Rooms) == 0 })
}

// An access is the body of the page of who may what.
type access struct {
	Filters   []field
	Filtered  bool
	Narrowed  bool // by more than the role
	Halves    []half
	Ask       asking
	Conflicts [][2]string
	Digest    string
	Role      *roleCard // the role that was chosen
}

// A roleCard is one role: what it may do, and who has it for a time.
type roleCard struct {
	Name    string
	Rooms   []policy.Room // with the one place of the role
	Against []string      // roles that nobody holds beside it
	Grants  []grantItem
	Refusal *refusal // why Grants are not known
}

// access shows who may what.
func (c *Console) access(w http.ResponseWriter, r *http.Request, s *visitor) {
	var m verbs.Matrix
	if err := s.client.Call(r.Context(), "policy.matrix", verbs.MatrixRequest{}, &m); err != nil {
		c.refuse(w, s, err)
		return
	}
	asked := r.URL.Query()
	body := access{Ask: newAsking(url.Values{}), Conflicts: m.Conflicts, Digest: m.Digest, Filters: filtersOf(m, asked)}
	for _, f := range body.Filters {
		body.Filtered = body.Filtered || f.Value != ""
		body.Narrowed = body.Narrowed || f.Value != "" && f.Key != "role"
	}
	deeds := policy.Deeds(slices.DeleteFunc(m.Rows, func(row policy.Row) bool {
		state := asked.Get("state")
		return asked.Get("room") != "" && row.Room() != asked.Get("room") || state != "" && row.Facts != state
	}))
	role := asked.Get("role")
	if role == "" {
		body.Halves = halvesOf(deeds)
		c.show(w, s, http.StatusOK, "access", page{Title: "Who may what", Here: "/access", Body: body})
		return
	}
	if !slices.Contains(m.Roles, role) {
		c.fail(w, s, http.StatusNotFound, "Not found", fmt.Sprintf("No policy speaks of the role %.80q.", role), "/access shows those there are")
		return
	}
	body.Role = newRoleCard(role, deeds, m.Conflicts)
	c.granted(r, s, body.Role)
	c.show(w, s, http.StatusOK, "access", page{Title: "The role " + figure.OneLine(role, story.MaxName), Here: "/access", Body: body})
}

// granted finds who has a role for a time.
func (c *Console) granted(r *http.Request, s *visitor, card *roleCard) {
	var list verbs.GrantList
	if err := s.client.Call(r.Context(), "grant.list", api.Empty{}, &list); err != nil {
		card.Refusal = newRefusal(err)
		return
	}
	for _, g := range list.Grants {
		if g.Role == card.Name {
			card.Grants = append(card.Grants, grantItem{g, left(g.Until.Sub(c.cfg.Now()))})
		}
	}
}

// newRoleCard says what a role may do.
func newRoleCard(role string, deeds []policy.Deed, conflicts [][2]string) *roleCard {
	deeds = slices.DeleteFunc(deeds, func(d policy.Deed) bool { return len(d.When(role)) == 0 })
	card := &roleCard{Name: role, Rooms: policy.RoomsOf(deeds, []string{role})}
	for _, pair := range conflicts {
		if i := slices.Index(pair[:], role); i >= 0 {
			card.Against = append(card.Against, pair[1-i])
		}
	}
	return card
}

// filtersOf are the choices by which the matrix is narrowed.
func filtersOf(m verbs.Matrix, asked url.Values) []field {
	choices := func(key, all string, values []string, word func(string) string) field {
		f := field{Key: key, Word: strings.ToUpper(key[:1]) + key[1:], Value: asked.Get(key), Choices: []choice{{"", all, asked.Get(key) == ""}}}
		slices.Sort(values)
		for _, v := range slices.Compact(values) {
			f.Choices = append(f.Choices, choice{v, word(v), v == f.Value})
		}
		return f
	}
	same := func(s string) string { return s }
	var rooms, states []string
	for _, row := range m.Rows {
		rooms = append(rooms, row.Room())
		if row.Facts != "" {
			states = append(states, row.Facts)
		}
	}
	return []field{
		choices("role", "All roles", slices.Clone(m.Roles), same), choices("room", "All rooms", rooms, same),
		choices("state", "In any state", states, policy.Words),
	}
}

// An asking is the body of the page that says who may do one thing, and why.
type asking struct {
	Fields  []field // verb and thing
	Who     []field // of whom it asks why
	Verbs   []string
	Deeds   []policy.Deed // the verb in general
	Verb    string
	Refusal *refusal
	Answer  []policy.Group
	Known   bool // there is an answer
	Facts   string
	Explain *guard.Explanation
	Asked   string // about whom, in words
}

// ask shows who may do a verb, on a thing if one is named; and if somebody is named,
// why they may or may not.
func (c *Console) ask(w http.ResponseWriter, r *http.Request, s *visitor) {
	asked, status := r.URL.Query(), http.StatusOK
	body := newAsking(asked)
	fail := func(err error) { body.Refusal, status = newRefusal(err), pavise.KindOf(err).HTTPStatus() }
	verb := strings.TrimSpace(asked.Get("verb"))
	if body.Verb = verb; verb != "" {
		var m verbs.Matrix
		if err := s.client.Call(r.Context(), "policy.matrix", verbs.MatrixRequest{Verb: verb}, &m); err != nil {
			c.refuse(w, s, err)
			return
		}
		body.Deeds = slices.DeleteFunc(policy.Deeds(m.Rows), func(d policy.Deed) bool { return d.Verb != verb })
	}
	if on := strings.TrimSpace(asked.Get("on")); verb != "" && on != "" {
		name, err := pavise.ParseName(on)
		if err == nil {
			var can verbs.WhoCan
			err = s.client.Call(r.Context(), "policy.who-can", verbs.WhoCanRequest{Verb: verb, On: name}, &can)
			body.Known, body.Answer, body.Facts = true, policy.Groups(can.Holders), policy.Words(can.Facts)
		}
		if who := strings.TrimSpace(asked.Get("kind")); err == nil && who != "" {
			req := verbs.ExplainRequest{Verb: verb, On: name, Kind: who, ID: cmp.Or(strings.TrimSpace(asked.Get("id")), "somebody"), Role: strings.FieldsFunc(asked.Get("role"), func(r rune) bool { return r == ' ' || r == ',' })}
			body.Asked, body.Explain = whom(req), &guard.Explanation{}
			err = s.client.Call(r.Context(), "policy.explain", req, body.Explain)
		}
		if err != nil {
			body.Known, body.Explain = false, nil
			fail(err)
		}
	}
	c.show(w, s, status, "ask", page{Title: "Who may do it", Here: "/access", Body: body})
}

// whom says about whom an explanation is.
func whom(req verbs.ExplainRequest) string {
	who := "any " + req.Kind
	if req.ID != "somebody" {
		who = req.Kind + " " + req.ID
	}
	if len(req.Role) > 0 {
		who += " with " + strings.Join(req.Role, " and ")
	}
	return figure.OneLine(who, story.MaxReason)
}

// newAsking is the form as it was filled in.
func newAsking(asked url.Values) asking {
	text := func(key, word, example, about string) field {
		return field{Key: key, Word: word, Example: example, About: about, Value: strings.TrimSpace(asked.Get(key))}
	}
	kind := field{Key: "kind", Word: "And why may a", Value: asked.Get("kind"), Choices: []choice{{"", "nobody", asked.Get("kind") == ""}}}
	for _, k := range []string{pavise.Human, pavise.Workload, pavise.Node} {
		kind.Choices = append(kind.Choices, choice{k, k, k == kind.Value})
	}
	body := asking{
		Fields: []field{text("verb", "Verb", "model.infer", "room.what"), text("on", "Thing", "local/model/threat-detector", "tenant/kind/id")},
		Who:    []field{kind, text("id", "Who", "somebody", "their id, if a policy names them"), text("role", "Roles", "caller", "several with spaces")},
	}
	for _, a := range slices.Concat(verbs.Actions(), policy.Catalogue()) {
		body.Verbs = append(body.Verbs, a.Verb)
	}
	slices.Sort(body.Verbs)
	body.Verbs = slices.Compact(body.Verbs)
	return body
}
