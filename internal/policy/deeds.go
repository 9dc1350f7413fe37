package policy

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/pavise/pavise"
)

// A Deed is a verb on a kind of thing, as people look at it: the rows of the matrix that
// differ only in the state of the thing.
type Deed struct {
	Row          // the first of them, for what they share
	States []Row // all of them
}

// Deeds groups the rows of a matrix, in their order.
func Deeds(rows []Row) (deeds []Deed) {
	for _, row := range rows {
		if last := len(deeds) - 1; last < 0 || deeds[last].Verb != row.Verb || deeds[last].On != row.On {
			deeds = append(deeds, Deed{Row: row})
		}
		last := &deeds[len(deeds)-1]
		last.States = append(last.States, row)
	}
	return deeds
}

// Room is the first half of the verb.
func (r Row) Room() string { room, _, _ := strings.Cut(r.Verb, "."); return room }

// What is the verb without its room.
func (r Row) What() string { return strings.TrimPrefix(r.Verb, r.Room()+".") }

// Anybody reports whether it takes no role, in any state.
func (d Deed) Anybody() bool { return len(d.When("")) == len(d.States) }

// People reports whether people alone may.
func (d Deed) People() bool {
	kinds := map[string]bool{}
	for _, row := range d.States {
		for kind := range row.Who {
			kinds[kind] = true
		}
	}
	return len(kinds) == 1 && kinds[pavise.Human]
}

// When returns the states in which somebody with the role may, in words.
func (d Deed) When(role string) (states []string) {
	for _, row := range d.States {
		if row.Has(role) {
			states = append(states, row.state())
		}
	}
	return states
}

// state says the facts of a row in words.
func (r Row) state() string { return cmp.Or(Words(r.Facts), "nothing is known") }

// A Case is states of a thing in which the same roles may.
type Case struct {
	When string // the states, in words
	Who  []Holders
}

// Holders are roles that may, of kinds of principal that are alike.
type Holders struct {
	Kinds string // "" of all
	Roles []string
}

// Cases returns the states of the thing, neighbours together in which the same roles may.
func (d Deed) Cases() (cases []Case) {
	for i := 0; i < len(d.States); {
		from := i
		var states []string
		for ; i < len(d.States) && maps.EqualFunc(d.States[i].Who, d.States[from].Who, slices.Equal); i++ {
			states = append(states, d.States[i].state())
		}
		cases = append(cases, Case{Phrase(states), holdersOf(d.States[from].Who)})
	}
	if len(cases) == 1 {
		cases[0].When = "in any state"
	}
	return cases
}

// holdersOf joins kinds of principal that are alike.
func holdersOf(who map[string][]string) (list []Holders) {
	for _, kind := range slices.Sorted(maps.Keys(who)) {
		if i := slices.IndexFunc(list, func(h Holders) bool { return slices.Equal(h.Roles, who[kind]) }); i >= 0 {
			list[i].Kinds += " or " + kind
			continue
		}
		list = append(list, Holders{kind, who[kind]})
	}
	if len(list) == 1 && len(who) == len(kinds) {
		list[0].Kinds = ""
	}
	return list
}

// A Place says whether holders of a role may do a deed.
type Place struct {
	Role string
	Mark string // "all" states, "some" or none ""
	When string // the states, if not all
	Said string // the same in words
}

// Of returns the place of a role.
func (d Deed) Of(role string) Place {
	p, states := Place{Role: role}, d.When(role)
	switch {
	case len(states) == 0:
		return p
	case len(states) == len(d.States):
		p.Mark, p.Said = "all", "may"
	default:
		p.Mark, p.When = "some", Phrase(states)
		p.Said = "may when " + p.When
	}
	if d.Change {
		p.Said += ", as an approved change"
	}
	return p
}

// A Grid is deeds down, by room, and roles across.
type Grid struct {
	Roles []string
	Rooms []Room
}

// A Room is the deeds of one room, in a grid.
type Room struct {
	Name  string
	Lines []Line
}

// A Line is one deed, with a place for each of the grid's roles.
type Line struct {
	Deed
	Places []Place
}

// NewGrid draws deeds, with the roles that may do something that not anybody may.
func NewGrid(deeds []Deed) Grid {
	var g Grid
	for _, d := range deeds {
		for _, row := range d.States {
			for _, roles := range row.Who {
				if !d.Anybody() {
					g.Roles = append(g.Roles, roles...)
				}
			}
		}
	}
	slices.Sort(g.Roles)
	g.Roles = slices.DeleteFunc(slices.Compact(g.Roles), func(role string) bool { return role == "" })
	g.Rooms = RoomsOf(deeds, g.Roles)
	return g
}

// RoomsOf groups deeds by room, in their order, with the places of some roles.
func RoomsOf(deeds []Deed, roles []string) (rooms []Room) {
	for _, d := range deeds {
		line := Line{Deed: d}
		for _, role := range roles {
			line.Places = append(line.Places, d.Of(role))
		}
		if last := len(rooms) - 1; last < 0 || rooms[last].Name != d.Room() {
			rooms = append(rooms, Room{Name: d.Room()})
		}
		last := &rooms[len(rooms)-1]
		last.Lines = append(last.Lines, line)
	}
	return rooms
}

// Phrase joins states: "state live, canary or draft".
func Phrase(states []string) string {
	var words []string
	stated := false
	for _, state := range states {
		if value, ok := strings.CutPrefix(state, "state "); ok {
			if stated {
				state = value
			}
			stated = true
		}
		words = append(words, state)
	}
	if last := len(words) - 1; last > 0 {
		return strings.Join(words[:last], ", ") + " or " + words[last]
	}
	return strings.Join(words, "")
}

// A Turn is flips that differ in the kind of principal alone.
type Turn struct {
	Flip  // without the kind
	Kinds []string
}

// Turns joins the flips that are listed, in their order.
func (d Difference) Turns() (turns []Turn) {
	for _, f := range d.Flips {
		kind := f.Kind
		f.Kind = ""
		if i := slices.IndexFunc(turns, func(t Turn) bool { return t.same(f) }); i >= 0 {
			turns[i].Kinds = append(turns[i].Kinds, kind)
			continue
		}
		turns = append(turns, Turn{f, []string{kind}})
	}
	return turns
}

func (f Flip) same(g Flip) bool {
	return f.Role == g.Role && f.Name == g.Name && f.Environment == g.Environment && f.Verb == g.Verb && f.On == g.On &&
		slices.Equal(f.When, g.When) && f.Was == g.Was && f.Will == g.Will && f.Policy == g.Policy
}

// A Group is holders that differ in the kind of principal alone, or one by name.
type Group struct {
	Holder
	Kinds []string
}

// Groups joins those who may, in their order.
func Groups(holders []Holder) (groups []Group) {
	for _, h := range holders {
		i := slices.IndexFunc(groups, func(g Group) bool {
			return h.Name == pavise.Name{} && g.Name == h.Name && g.Role == h.Role && g.Policy == h.Policy && g.Change == h.Change
		})
		if i >= 0 {
			groups[i].Kinds = append(groups[i].Kinds, h.Kind)
			continue
		}
		groups = append(groups, Group{h, []string{h.Kind}})
	}
	return groups
}

// Whom says who is meant, without their role.
func (g Group) Whom() string { return anyOf(g.Kinds) }

// anyOf says anybody of some kinds of principal.
func anyOf(some []string) string {
	if len(some) == len(kinds) {
		return "anybody"
	}
	return "any " + strings.Join(some, " or ")
}

// Whom says whose decisions turn, without their role.
func (t Turn) Whom() string {
	if t.Name != "" {
		return strings.Join(t.Kinds, " or ") + " " + t.Name
	}
	return anyOf(t.Kinds)
}
