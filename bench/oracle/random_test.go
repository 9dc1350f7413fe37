package oracle

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"
)

// A writer writes random policies in the vocabulary of a schema. A wild one also writes
// what is no policy to a validator, and what cannot be evaluated.
type writer struct {
	*rand.Rand
	words *vocabulary
	wild  bool
}

// A vocabulary is what policies can speak of, each list sorted.
type vocabulary struct {
	verbs, groups     []string
	principals, kinds []string // entity types
	roles, ids        []string
	schema            *resolved.Schema
}

func pick[T any](w *writer, list []T) T { return list[w.IntN(len(list))] }

// one is true once in n times.
func (w *writer) one(n int) bool { return w.IntN(n) == 0 }

// policy writes one.
func (w *writer) policy() string {
	effect := "permit"
	if w.one(4) {
		effect = "forbid"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s, %s, %s)", effect, w.principal(), w.action(), w.resource())
	for range w.IntN(3) {
		clause := "when"
		if w.one(3) {
			clause = "unless"
		}
		fmt.Fprintf(&b, " %s { %s }", clause, w.truth(3))
	}
	return b.String() + ";"
}

func (w *writer) principal() string {
	switch w.IntN(8) {
	case 0, 1:
		return "principal"
	case 2:
		return "principal == " + w.somebody()
	case 3:
		return "principal is " + pick(w, w.words.principals)
	case 4:
		return "principal is " + pick(w, w.words.principals) + " in " + w.role()
	}
	return "principal in " + w.role()
}

func (w *writer) action() string {
	switch w.IntN(6) {
	case 0:
		return "action"
	case 1:
		return "action in " + w.group()
	case 2:
		list := []string{w.verb()}
		for range w.IntN(4) {
			list = append(list, pick(w, []string{w.verb(), w.group()}))
		}
		return "action in [" + strings.Join(list, ", ") + "]"
	}
	return "action == " + w.verb()
}

func (w *writer) resource() string {
	switch w.IntN(5) {
	case 0:
		return "resource == " + w.thing()
	case 1, 2:
		return "resource is " + pick(w, w.words.kinds)
	}
	return "resource"
}

func (w *writer) verb() string  { return fmt.Sprintf("Action::%q", pick(w, w.words.verbs)) }
func (w *writer) group() string { return fmt.Sprintf("Action::%q", pick(w, w.words.groups)) }
func (w *writer) role() string  { return fmt.Sprintf("Role::%q", pick(w, w.words.roles)) }
func (w *writer) thing() string {
	return fmt.Sprintf("%s::%q", pick(w, w.words.kinds), pick(w, w.words.ids))
}
func (w *writer) somebody() string {
	return fmt.Sprintf("%s::%q", pick(w, w.words.principals), pick(w, w.words.ids))
}

// truth writes an expression of type Bool, nested no deeper than depth.
func (w *writer) truth(depth int) string {
	if depth > 0 && w.one(2) {
		a, b := w.truth(depth-1), w.truth(depth-1)
		switch w.IntN(5) {
		case 0:
			return "!(" + a + ")"
		case 1, 2:
			return "(" + a + " && " + b + ")"
		case 3:
			return "(" + a + " || " + b + ")"
		}
		return "(if " + a + " then " + b + " else " + w.truth(depth-1) + ")"
	}
	if w.wild && w.one(4) {
		return w.nonsense()
	}
	forms := []func() string{w.membership, w.typeTest, w.texts, w.texts, w.sets, w.sets, w.times, w.times, w.numbers, w.flags, w.presence, w.extensions}
	return pick(w, forms)()
}

// membership asks what is in what, and what is the same.
func (w *writer) membership() string {
	return pick(w, []string{
		"principal in " + w.role(),
		"principal in [" + w.role() + ", " + w.role() + "]",
		"principal == " + w.somebody(),
		"principal != " + w.somebody(),
		"resource == " + w.thing(),
		"action == " + w.verb(),
		"action in " + w.group(),
		"action in [" + w.verb() + ", " + w.group() + "]",
		"[" + w.somebody() + ", " + w.somebody() + "].contains(principal)",
	})
}

func (w *writer) typeTest() string {
	return pick(w, []string{
		"principal is " + pick(w, w.words.principals),
		"principal is " + pick(w, w.words.principals) + " in " + w.role(),
		"resource is " + pick(w, w.words.kinds),
	})
}

// texts compares strings.
func (w *writer) texts() string {
	a := pick(w, w.paths("String"))
	switch w.IntN(4) {
	case 0:
		return a + " == " + pick(w, w.paths("String"))
	case 1:
		return a + " like " + fmt.Sprintf("%q", pick(w, []string{"*", "", "a*", "*a", "*a*e*", "https://*", "?", "te*t", "**", "pr*d", "*ä*"}))
	case 2:
		return fmt.Sprintf("[%q, %q].contains(%s)", w.word(), w.word(), a)
	}
	return a + pick(w, []string{" == ", " != "}) + fmt.Sprintf("%q", w.word())
}

// word is a string that some attribute of some entity may well have.
func (w *writer) word() string { return pick(w, texts) }

var texts = []string{"test", "https://issuer.example", "", "proposed", "approved", "published", "live", "retired", "low", "high", "prod", "dev", "täst", "a\"b", "*"}

// sets asks about sets of strings.
func (w *writer) sets() string {
	list := func() string {
		all := make([]string, 1+w.IntN(3))
		for i := range all {
			all[i] = fmt.Sprintf("%q", pick(w, slices.Concat(w.words.roles, texts)))
		}
		return "[" + strings.Join(all, ", ") + "]"
	}
	of := pick(w, append(w.paths("Set<String>"), list()))
	return pick(w, []string{
		fmt.Sprintf("%s.contains(%q)", of, pick(w, w.words.roles)),
		of + ".containsAll(" + list() + ")",
		list() + ".containsAll(" + of + ")",
		of + ".containsAny(" + list() + ")",
		of + ".isEmpty()",
		of + " == " + list(),
	})
}

var (
	dates = []string{"2026-11-26", "2026-11-26T12:00:00Z", "2026-11-26T12:00:00.001Z", "2026-11-26T13:00:00+0100", "1970-01-01", "9999-12-31",
		"2024-02-29", "2027-06-01T00:00:00-0800"}
	ancient = []string{"1969-12-31T23:59:59.999Z", "0000-01-01", "1582-10-15T00:00:00+2359"} // see TestKnownDifferences
	spans   = []string{"1h", "-1h", "0ms", "1d2h3m4s5ms", "-1d", "106751991167d", "9223372036854775807ms", "-9223372036854775807ms", "24h"}
)

// times compares points in time and spans of it.
func (w *writer) times() string {
	less := pick(w, []string{" < ", " <= ", " > ", " >= ", " == ", " != "})
	date := func(list []string) string { return fmt.Sprintf("datetime(%q)", pick(w, list)) }
	span := func() string { return fmt.Sprintf("duration(%q)", pick(w, spans)) }
	late := func() string { return pick(w, append(w.paths("datetime"), date(dates))) }
	when := func() string {
		d := date(slices.Concat(ancient, dates))
		return pick(w, []string{d, d, late() + ".toDate()", d + ".offset(" + span() + ")"})
	}
	now := pick(w, append(w.paths("datetime"), when()))
	return pick(w, []string{
		now + less + when(),
		late() + ".toDate()" + less + when(),
		late() + ".toTime()" + less + span(),
		now + ".durationSince(" + when() + ")" + less + span(),
		now + ".offset(" + span() + ")" + less + when(),
		span() + pick(w, []string{".toDays()", ".toHours()", ".toMinutes()", ".toSeconds()", ".toMilliseconds()"}) + less + w.number(1),
	})
}

// numbers compares numbers, some of them too large.
func (w *writer) numbers() string {
	return w.number(2) + pick(w, []string{" < ", " <= ", " > ", " >= ", " == ", " != "}) + w.number(2)
}

func (w *writer) number(depth int) string {
	if depth > 0 && w.one(3) {
		return "(" + w.number(depth-1) + pick(w, []string{" + ", " - ", " * "}) + w.number(depth-1) + ")"
	}
	if longs := w.paths("Long"); len(longs) > 0 && w.one(2) {
		return pick(w, longs)
	}
	return pick(w, []string{"0", "1", "-1", "42", "9223372036854775807", "(-9223372036854775807 - 1)", "-(7)", "3000000000"})
}

// flags asks what is true or false by itself.
func (w *writer) flags() string {
	return pick(w, append(w.paths("Bool"), "true", "false", "!"+pick(w, w.paths("Bool")), pick(w, w.paths("Bool"))+" == "+pick(w, w.paths("Bool"))))
}

// presence asks whether there is an attribute, and for one that may be missing looks at
// it only then.
func (w *writer) presence() string {
	if optional := w.optional(); len(optional) > 0 && w.one(2) {
		return pick(w, optional)
	}
	return pick(w, []string{"principal has tenant", "resource has quarantined", "context has now", "principal has issuer && principal.issuer == principal.tenant"})
}

func (w *writer) extensions() string {
	ip := func() string {
		return fmt.Sprintf("ip(%q)", pick(w, []string{"10.0.0.1", "10.0.0.0/8", "::1", "ffee::/16", "224.0.0.1", "127.0.0.1/8", "0.0.0.0/0", "::ffff:10.0.0.1"}))
	}
	dec := func() string {
		return fmt.Sprintf("decimal(%q)", pick(w, []string{"0.0", "1.5", "-1.5", "922337203685477.5807", "-922337203685477.5808", "1.5000"}))
	}
	return pick(w, []string{
		ip() + ".isInRange(" + ip() + ")", ip() + pick(w, []string{".isIpv4()", ".isIpv6()", ".isLoopback()", ".isMulticast()"}), ip() + " == " + ip(),
		dec() + pick(w, []string{".lessThan(", ".lessThanOrEqual(", ".greaterThan(", ".greaterThanOrEqual("}) + dec() + ")", dec() + " == " + dec(),
	})
}

// paths are the attributes of a type that every question has: of every principal, of
// every thing that a policy may be about, and of the context.
func (w *writer) paths(typ string) []string {
	var all []string
	w.words.attributes(func(of, name, t string, optional bool) {
		if t == typ && !optional {
			all = append(all, of+"."+name)
		}
	})
	return all
}

// optional writes tests of attributes that may be missing, each after its presence was
// asked for.
func (w *writer) optional() []string {
	var all []string
	w.words.attributes(func(of, name, t string, optional bool) {
		if !optional {
			return
		}
		at := of + "." + name
		test := map[string]string{
			"String": fmt.Sprintf("%s == %q", at, w.word()), "Bool": at, "Long": at + " > " + w.number(0),
			"Set<String>": fmt.Sprintf("%s.contains(%q)", at, w.word()), "datetime": fmt.Sprintf("%s < datetime(%q)", at, pick(w, dates)),
		}[t]
		if test != "" {
			all = append(all, "("+of+" has "+name+" && "+test+")")
		}
	})
	return all
}

// nonsense is what a validator refuses and an evaluator has to fail at, or not: it may
// stand behind something that decides before it is reached.
func (w *writer) nonsense() string {
	return pick(w, []string{
		"principal.nope", "resource.nope == 1", "context.nope < 3", `"a" < "b"`, `1 < "b"`, `1 == "b"`, `"a" + 1 == 2`, "principal < resource",
		`principal.contains("x")`, `"x".contains("x")`, `["x", 1].contains(1)`, `[[1], [2, 1]].contains([1, 2])`, `{a: 1, b: [2]} == {b: [2], a: 1}`,
		`{a: 1}.b == 1`, `{a: 1} has b`, `{a: {b: 1}} has a.b`, `principal has nope`, "principal.tenant.nope", `Role::"nobody".x == 1`, `Role::"nobody" has x`,
		`principal in resource`, `principal in "role"`, `principal in [1]`, `action in principal`, `Role::"a" in Role::"a"`, `1 && true`, `true && 1`, `false && 1`, `true || 1`, `false || 1`,
		`!1`, `-"a" == 1`, `if 1 then true else false`, `if true then 1 else false`, `principal.tenant like "*" == true`, `1 like "*"`, `[].isEmpty()`, `"x".isEmpty()`,
		`principal.hasTag("x")`, `principal.getTag("x") == 1`, `[1, 1, 2].containsAll([2, 1])`, `[].containsAll([])`, `[].containsAny([])`, `1.containsAny([1])`,
		`datetime("2026-13-01") == datetime("2026-01-01")`, `duration("1x") == duration("1h")`, `datetime("2026-01-01") == 1`, `datetime("2026-01-01") < duration("1h")`,
		`ip("300.0.0.1").isIpv4()`, `ip("10.0.0.1") < ip("10.0.0.2")`, `decimal("1") == decimal("1.0")`, `decimal("1.0") < decimal("2.0")`, `decimal("1.00000").lessThan(decimal("2.0"))`,
		`datetime(principal.tenant) == context.now`, `ip(principal.issuer).isIpv4()`, `datetime("2016-12-31T23:59:60Z") == context.now`, `datetime("2026-02-29") == context.now`,
		`duration("") == duration("0s")`, `duration("1h1h") == duration("2h")`, `duration("9223372036854775808ms") == duration("1s")`,
		`context == {now: context.now}`, `context.now == context.now`, `principal is Nothing`, `principal is Nothing in Role::"x"`, `resource.tenant == principal`, `[principal, resource].containsAny([action])`,
	})
}

// attributes calls found for every attribute that all principals have in common, that
// all things have, or that the context has.
func (v *vocabulary) attributes(found func(of, name, typ string, optional bool)) {
	shared := func(of string, types []string) {
		first := v.schema.Entities[cedar.EntityType(types[0])].Shape
		for _, name := range sortedKeys(first) {
			optional, everywhere := first[name].Optional, true
			for _, t := range types[1:] {
				a, ok := v.schema.Entities[cedar.EntityType(t)].Shape[name]
				everywhere, optional = everywhere && ok, optional || a.Optional
			}
			if everywhere {
				found(of, string(name), typeName(first[name].Type), optional)
			}
		}
	}
	shared("principal", v.principals)
	shared("resource", v.kinds)
	context := v.schema.Actions[cedar.NewEntityUID("Action", cedar.String(v.verbs[0]))].AppliesTo.Context
	for _, name := range sortedKeys(context) {
		found("context", string(name), typeName(context[name].Type), context[name].Optional)
	}
}
