package archive

import (
	"errors"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
)

// TestClassesThatMeanNothing are refused, when they are planned and when they are made.
func TestClassesThatMeanNothing(t *testing.T) {
	k := newKeeper(t, setting{})
	k.retain(t, Class{Name: "short", Kinds: []string{"model.infer"}, Online: time.Hour})
	for what, test := range map[string]struct {
		class Class
		kind  pavise.Kind
	}{
		"no name":                {Class{Kinds: []string{"model"}}, pavise.Invalid},
		"a name that is none":    {Class{Name: "../x", Kinds: []string{"model"}}, pavise.Invalid},
		"no kind":                {Class{Name: "x"}, pavise.Invalid},
		"a default with kinds":   {Class{Name: Default, Kinds: []string{"model"}}, pavise.Invalid},
		"a kind that is none":    {Class{Name: "x", Kinds: []string{"model.infer "}}, pavise.Invalid},
		"an empty kind":          {Class{Name: "x", Kinds: []string{""}}, pavise.Invalid},
		"a negative time":        {Class{Name: "x", Kinds: []string{"model"}, Online: -1}, pavise.Invalid},
		"a negative time there":  {Class{Name: "x", Kinds: []string{"model"}, Keep: -1}, pavise.Invalid},
		"longer than a century":  {Class{Name: "x", Kinds: []string{"model"}, Keep: 100*year + 1}, pavise.Invalid},
		"longer here than there": {Class{Name: "x", Kinds: []string{"model"}, Online: 2, Keep: 1}, pavise.Invalid},
		"another's kind":         {Class{Name: "x", Kinds: []string{"policy", "model.infer"}}, pavise.Conflict},
	} {
		_, err := k.Plan(t.Context(), test.class)
		if pavise.KindOf(err) != test.kind || err == nil {
			t.Errorf("%s is planned: %v", what, err)
		}
		err = k.Retain(t.Context(), test.class, func(*store.Tx) error { return nil })
		if pavise.KindOf(err) != test.kind || err == nil {
			t.Errorf("%s is made: %v", what, err)
		}
	}
	if all, err := k.Classes(t.Context()); err != nil || len(all) != 1 {
		t.Errorf("%+v, %v", all, err)
	}
}

// TestAPlanSaysWhatWas shows the class that another takes the place of, by a digest that
// changes with it, and changes nothing.
func TestAPlanSaysWhatWas(t *testing.T) {
	k := newKeeper(t, setting{})
	c := Class{Name: "short", Kinds: []string{"model"}, Online: time.Hour}
	none, err := k.Plan(t.Context(), c)
	if err != nil || none.Class != nil {
		t.Fatalf("%+v, %v", none, err)
	}
	k.retain(t, c)
	first, err := k.Plan(t.Context(), c)
	if err != nil || first.Class == nil || first.Class.Online != time.Hour || first.Digest == none.Digest {
		t.Fatalf("%+v, %v", first, err)
	}
	c.Online = 2 * time.Hour
	if again, err := k.Plan(t.Context(), c); err != nil || again != first && again.Digest != first.Digest {
		t.Errorf("a plan changed something: %+v, %v", again, err)
	}
	k.retain(t, c)
	if second, err := k.Plan(t.Context(), c); err != nil || second.Digest == first.Digest || second.Digest == none.Digest {
		t.Errorf("%+v, %v", second, err)
	}
}

// TestAClassAndItsMarkAreOne keeps the class as it was when the mark of its change, or
// what follows, fails.
func TestAClassAndItsMarkAreOne(t *testing.T) {
	k := newKeeper(t, setting{})
	broken := errors.New("the change was run already")
	err := k.Retain(t.Context(), Class{Name: "short", Kinds: []string{"model"}}, func(*store.Tx) error { return broken })
	if !errors.Is(err, broken) {
		t.Error(err)
	}
	if all, err := k.Classes(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("%+v, %v", all, err)
	}
}

// TestTheClassOfAKind prefers the class that claims the kind to the one that claims its
// room, whatever they are called, and leaves the rest to the default one.
func TestTheClassOfAKind(t *testing.T) {
	for _, names := range [][2]string{{"aaa", "zzz"}, {"zzz", "aaa"}} {
		k := newKeeper(t, setting{})
		k.retain(t, Class{Name: names[0], Kinds: []string{"model"}})
		k.retain(t, Class{Name: names[1], Kinds: []string{"model.infer", "ledger"}})
		all, err := k.Classes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for kind, want := range map[string]string{
			"model.infer": names[1], "model.describe": names[0], "model": names[0], "models.x": Default, "ledger.pruned": names[1], "policy.put": Default, "": Default,
		} {
			if c := classes(all).of(kind); c.Name != want {
				t.Errorf("%s is of class %s, want %s", kind, c.Name, want)
			}
		}
	}
}

// TestTheLongestClassDecides keeps a segment here and in the archive as long as the
// longest of its records' classes says, and for ever if one of them says so.
func TestTheLongestClassDecides(t *testing.T) {
	at := func(n int) time.Time { return epoch.Add(time.Duration(n) * time.Hour) }
	m := Manifest{Kinds: map[string]Extent{"model.infer": {Records: 9, To: at(10)}, "policy.put": {Records: 1, To: at(2)}}}
	hours := func(online, keep int) Class {
		return Class{Online: time.Duration(online) * time.Hour, Keep: time.Duration(keep) * time.Hour}
	}
	for _, test := range []struct {
		what               string
		model, policy, def *Class
		here, there        int // hours; 0: for ever, or no lock
	}{
		{"no class at all", nil, nil, nil, 0, 0},
		{"the later record", new(hours(1, 2)), new(hours(1, 2)), nil, 11, 12},
		{"the longer class", new(hours(1, 2)), new(hours(20, 30)), nil, 22, 32},
		{"a class without an end", new(hours(1, 2)), new(hours(0, 0)), nil, 0, 12},
		{"one class, and no default", new(hours(1, 2)), nil, nil, 0, 12},
		{"one class, and a default", new(hours(1, 2)), nil, new(hours(50, 60)), 52, 62},
		{"a default alone", nil, nil, new(hours(3, 0)), 13, 0},
	} {
		var cs classes
		for name, c := range map[string]*Class{"m": test.model, "p": test.policy, Default: test.def} {
			if c == nil {
				continue
			}
			c.Name = name
			c.Kinds = map[string][]string{"m": {"model"}, "p": {"policy"}}[name]
			cs = append(cs, *c)
		}
		until, ends := m.wanted(cs)
		if ends != (test.here > 0) || ends && !until.Equal(at(test.here)) {
			t.Errorf("%s: here until %v, %t", test.what, until, ends)
		}
		if until := m.keepUntil(cs); until.IsZero() != (test.there == 0) || test.there > 0 && !until.Equal(at(test.there)) {
			t.Errorf("%s: there until %v", test.what, until)
		}
	}
	if _, ends := (Manifest{}).wanted(classes{{Name: Default, Online: 1}}); ends {
		t.Error("a segment of which nothing is known is not wanted")
	}
}
