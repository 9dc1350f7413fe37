package proof

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
)

// policyOf reads a policy in whose text L1…L3 stand for keys of logs, W1…W9 for
// those of cosigners, and P1 for an ML-DSA-44 key.
func policyOf(t testing.TB, text string) (*Policy, error) {
	t.Helper()
	var names []string
	for i := range byte(3) {
		names = append(names, fmt.Sprintf("L%d", i+1), testLog(t, fmt.Sprintf("log.example/%d", i+1), 100+i).Key().String())
	}
	for i := range byte(9) {
		names = append(names, fmt.Sprintf("W%d", i+1), testCosigner(t, fmt.Sprintf("w.example/%d", i+1), i+1).Key().String())
	}
	names = append(names, "P1", testMLDSA(t, "pq.example/1", 1).Key().String())
	return ParsePolicy([]byte(strings.NewReplacer(names...).Replace(text)))
}

// TestPolicyThatIsNone lists every error of tlog-policy, and bounds of our own. The
// error is of kind Invalid and names the line.
func TestPolicyThatIsNone(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		line int
	}{
		"nothing":                         {"", 0},
		"comments alone":                  {"# nothing\n\n", 2},
		"no quorum":                       {"log L1\nwitness a W1\n", 2},
		"two quorums":                     {"quorum none\nquorum none\n", 2},
		"two quorums, one of a name":      {"witness a W1\nquorum a\nquorum none\n", 3},
		"a quorum of nothing":             {"quorum\n", 1},
		"a quorum of two":                 {"witness a W1\nwitness b W2\nquorum a b\n", 3},
		"a quorum that is not defined":    {"witness a W1\nquorum b\n", 2},
		"a quorum that is defined below":  {"quorum a\nwitness a W1\n", 1},
		"a quorum by a key's name":        {"witness a W1\nquorum w.example/1\n", 2},
		"another word":                    {"logs L1\nquorum none\n", 1},
		"a word in capitals":              {"LOG L1\nquorum none\n", 1},
		"a log without a key":             {"log\nquorum none\n", 1},
		"a log with too much":             {"log L1 https://a.example/ more\nquorum none\n", 1},
		"a log whose key is none":         {"log log.example+00000000+AQ==\nquorum none\n", 1},
		"a log with a cosigner's key":     {"log W1\nquorum none\n", 1},
		"a log listed twice":              {"log L1\nlog L1\nquorum none\n", 2},
		"a witness without a name":        {"witness\nquorum none\n", 1},
		"a witness without a key":         {"witness a\nquorum none\n", 1},
		"a witness with too much":         {"witness a W1 https://a.example/ more\nquorum none\n", 1},
		"a witness with a log's key":      {"witness a L1\nquorum none\n", 1},
		"a witness called none":           {"witness none W1\nquorum none\n", 1},
		"two witnesses of one name":       {"witness a W1\nwitness a W2\nquorum a\n", 2},
		"two witnesses of one key":        {"witness a W1\nwitness b W1\nquorum a\n", 2},
		"a group called as a witness":     {"witness a W1\ngroup a any a\nquorum a\n", 2},
		"a group called none":             {"witness a W1\ngroup none any a\nquorum a\n", 2},
		"a group without a threshold":     {"witness a W1\ngroup g\nquorum g\n", 2},
		"a group without members":         {"witness a W1\ngroup g any\nquorum g\n", 2},
		"a group of itself":               {"group g any g\nquorum g\n", 1},
		"a group of none":                 {"witness a W1\ngroup g any none a\nquorum g\n", 2},
		"a member defined below":          {"group g any a\nwitness a W1\nquorum g\n", 1},
		"a member twice in a group":       {"witness a W1\ngroup g 1 a a\nquorum g\n", 2},
		"a member of two groups":          {"witness a W1\nwitness b W2\ngroup g any a\ngroup h any b a\nquorum h\n", 4},
		"a group that is a member of two": {"witness a W1\nwitness b W2\ngroup g any a\ngroup h any g\ngroup i any g b\nquorum i\n", 5},
		"a threshold of 0":                {"witness a W1\ngroup g 0 a\nquorum g\n", 2},
		"a threshold above the members":   {"witness a W1\ngroup g 2 a\nquorum g\n", 2},
		"a negative threshold":            {"witness a W1\ngroup g -1 a\nquorum g\n", 2},
		"a threshold with a sign":         {"witness a W1\ngroup g +1 a\nquorum g\n", 2},
		"a threshold with a zero":         {"witness a W1\ngroup g 01 a\nquorum g\n", 2},
		"a threshold in hex":              {"witness a W1\ngroup g 0x1 a\nquorum g\n", 2},
		"a threshold beyond 64 bits":      {"witness a W1\ngroup g 18446744073709551617 a\nquorum g\n", 2},
		"a threshold in words":            {"witness a W1\ngroup g ALL a\nquorum g\n", 2},
		"a return":                        {"quorum none\r\n", 1},
		"a NUL in a comment":              {"# \x00\nquorum none\n", 1},
		"a form feed between words":       {"quorum\fnone\n", 1},
		"a DEL":                           {"# \x7f\nquorum none\n", 1},
		"a no-break space between words":  {"quorum\u00a0none\n", 1},
		"a Kelvin sign for a K":           {"witness K W1\nquorum \u212a\n", 2},
		"a URL of another scheme":         {"witness a W1 ftp://a.example/\nquorum a\n", 1},
		"a URL without a host":            {"witness a W1 https:///a\nquorum a\n", 1},
		"a URL with a user":               {"witness a W1 https://me:secret@a.example/\nquorum a\n", 1},
		"a URL with a query":              {"witness a W1 https://a.example/?b\nquorum a\n", 1},
		"a URL with a fragment":           {"witness a W1 https://a.example/#b\nquorum a\n", 1},
		"a word for a URL":                {"log L1 a.example\nquorum none\n", 1},
		"too long":                        {strings.Repeat("#\n", maxPolicy/2) + "quorum none\n", 0},
	} {
		_, err := policyOf(t, tt.text)
		if pavise.KindOf(err) != pavise.Invalid || !strings.Contains(err.Error(), fmt.Sprintf("line %d:", tt.line)) {
			t.Errorf("%s: %v, want a fault of line %d", name, err, tt.line)
		}
	}
	// Two keys are duplicates if they wrap the same public key, whatever they are called.
	same := testCosigner(t, "another.example", 1).Key().String()
	if _, err := policyOf(t, "witness a W1\nwitness b "+same+"\nquorum a\n"); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("one key under two names: %v", err)
	}
	// Nor is a log its own witness, whichever of them is listed first.
	own := testCosigner(t, "another.example", 100).Key().String()
	for _, text := range []string{"log L1\nwitness a " + own + "\nquorum a\n", "witness a " + own + "\nlog L1\nquorum a\n"} {
		_, err := policyOf(t, text)
		if e, ok := errors.AsType[*pavise.Error](err); !ok || e.Kind != pavise.Invalid || !strings.Contains(e.Msg, "line 2") || !strings.Contains(e.Msg, "its own cause") || !strings.Contains(e.Hint, "elsewhere") {
			t.Errorf("a log's key as a witness's: %#v", err)
		}
	}
	again := testLog(t, "another.example", 100).Key().String()
	if _, err := policyOf(t, "log L1\nlog "+again+"\nquorum none\n"); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("one key of two logs: %v", err)
	}
}

// TestPolicyIsReadAsItsSpecificationSays: white space, comments, octets beyond ASCII,
// any order of what may be in any, and what is optional.
func TestPolicyIsReadAsItsSpecificationSays(t *testing.T) {
	p, err := policyOf(t, "\t # a comment \xff\xfe ünd so\n\n   \t\n"+
		" \twitness\tb \t W2   https://w.example/sub/ \t\n"+
		"witness none-of-them P1\n"+
		"log L2\n"+
		"group \xff 2 b none-of-them\n"+
		"witness \u212a W3\nwitness K W4\n"+
		"quorum \xff\n"+
		"log L1 http://log.example/\n"+
		"witness later W5") // no line end
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Logs) != 2 || p.Logs[1].URL != "http://log.example" || p.Logs[0].URL != "" {
		t.Errorf("logs %+v", p.Logs)
	}
	if len(p.Witnesses) != 5 || p.Witnesses[0].URL != "https://w.example/sub" || p.Witnesses[1].Key.Algorithm() != CosignatureMLDSA {
		t.Errorf("witnesses %+v", p.Witnesses)
	}
	if keys := p.Keys(); len(keys) != 7 || keys[0] != p.Logs[0].Key || keys[6] != p.Witnesses[4].Key {
		t.Errorf("keys %v", keys)
	}
	sigs := []Signature{{p.Witnesses[0].Key, testTime}, {p.Witnesses[1].Key, testTime}}
	if _, ok := p.Satisfied([]*Key{p.Logs[0].Key}, sigs); !ok {
		t.Error("both members of the group are not its quorum")
	}
	if _, ok := p.Satisfied([]*Key{p.Logs[0].Key}, sigs[:1]); ok {
		t.Error("one of two is a quorum")
	}
}

// TestPolicyOfNone asks for nothing: everything satisfies it, at no time.
func TestPolicyOfNone(t *testing.T) {
	p, err := policyOf(t, "log L1\nwitness a W1\nquorum none\n")
	if err != nil {
		t.Fatal(err)
	}
	at, ok := p.Satisfied([]*Key{p.Logs[0].Key}, nil)
	if p.Asks() || !ok || !at.IsZero() || p.Reachable([]*Key{p.Logs[0].Key}) != nil {
		t.Errorf("asks %v, satisfied %v at %v", p.Asks(), ok, at)
	}
}

// TestPolicyOfManyIsTaken: the 32 logs, witnesses and groups that the specification
// asks for, and more up to a bound.
func TestPolicyOfManyIsTaken(t *testing.T) {
	build := func(n int) string {
		var b strings.Builder
		for i := range n {
			switch i % 3 {
			case 0:
				fmt.Fprintf(&b, "log %s\n", manyKey(t, Ed25519, i))
			case 1:
				fmt.Fprintf(&b, "witness w%d %s\n", i, manyKey(t, CosignatureEd25519, i))
			case 2:
				fmt.Fprintf(&b, "group g%d any w%d\n", i, i-1)
			}
		}
		return b.String() + "quorum w1\n"
	}
	for n, want := range map[int]bool{3 * 32: true, maxMembers: true, maxMembers + 1: false, 2 * maxMembers: false} {
		if _, err := ParsePolicy([]byte(build(n))); (err == nil) != want {
			t.Errorf("%d logs, witnesses and groups: %v", n, err)
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "witness g0 %s\n", manyKey(t, CosignatureEd25519, 0))
	for i := range 1000 {
		fmt.Fprintf(&b, "group g%d all g%d\n", i+1, i)
	}
	p, err := ParsePolicy([]byte(b.String() + "quorum g1000\n"))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := p.Satisfied([]*Key{testLog(t, "log.example", 1).Key()}, []Signature{{p.Witnesses[0].Key, testTime}}); !ok {
		t.Error("a thousand groups, each in the next, do not hold")
	}
}

// manyKey returns the n-th of many keys. Its bytes are no point of the curve, which
// nobody looks at before there is a signature.
func manyKey(t testing.TB, algorithm Algorithm, n int) *Key {
	t.Helper()
	k, err := newKey(fmt.Sprintf("example.com/%d", n), algorithm, fmt.Appendf(nil, "%032d", n))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestWitnessInItsOwnCause: whose key or name is the log's own, or lies under it,
// does not vouch for it; whose name only looks alike does.
func TestWitnessInItsOwnCause(t *testing.T) {
	log := testLog(t, "example.com/log", 1).Key()
	for _, tt := range []struct {
		witness *Signer
		counts  bool
	}{
		{testCosigner(t, "example.com/log", 2), false},
		{testCosigner(t, "example.com/log/witness", 2), false},
		{testCosigner(t, "example.com/log/a/b", 2), false},
		{testCosigner(t, "example.com/log/", 2), false},
		{testCosigner(t, "elsewhere.example/w", 1), false}, // the log's own key as a cosigner's
		{testMLDSA(t, "example.com/log/witness", 2), false},
		{testCosigner(t, "example.com/log2", 2), true},
		{testCosigner(t, "example.com/log-witness", 2), true},
		{testCosigner(t, "example.com", 2), true},
		{testCosigner(t, "example.com/other", 2), true},
		{testCosigner(t, "w.example/example.com/log/", 2), true},
		{testMLDSA(t, "elsewhere.example/w", 1), true},
	} {
		if got := Independent([]*Key{log}, tt.witness.Key()); got != tt.counts {
			t.Errorf("%s vouches for %s: %v", tt.witness.Key(), log.Name(), got)
		}
		p, err := ParsePolicy([]byte("witness a " + tt.witness.Key().String() + "\nquorum a\n"))
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := p.Satisfied([]*Key{log}, []Signature{{tt.witness.Key(), testTime}}); ok != tt.counts {
			t.Errorf("a quorum of %s for %s: %v", tt.witness.Key().Name(), log.Name(), ok)
		}
		err = p.Reachable([]*Key{log})
		if (err == nil) != tt.counts {
			t.Errorf("a policy of %s for %s: %v", tt.witness.Key().Name(), log.Name(), err)
		}
		if err != nil && (pavise.KindOf(err) != pavise.Invalid || !strings.Contains(err.Error(), ": a would be")) {
			t.Errorf("the error does not name the witness: %v", err)
		}
	}
}

// TestQuorumWithoutOneself: the log's own witness neither makes a quorum nor keeps
// others from being one.
func TestQuorumWithoutOneself(t *testing.T) {
	own := testCosigner(t, "log.example/1/witness", 50).Key()
	for threshold, reachable := range map[string]bool{"any": true, "2": true, "all": false} {
		p, err := policyOf(t, "log L1\nwitness own "+own.String()+"\nwitness a W1\nwitness b W2\ngroup g "+threshold+" own a b\nquorum g\n")
		if err != nil {
			t.Fatal(err)
		}
		log := p.Logs[0].Key
		if err := p.Reachable([]*Key{log}); (err == nil) != reachable {
			t.Errorf("%s: reachable %v", threshold, err)
		}
		all := []Signature{{own, testTime}, {p.Witnesses[1].Key, testTime}, {p.Witnesses[2].Key, testTime}}
		if _, ok := p.Satisfied([]*Key{log}, all); ok != reachable {
			t.Errorf("%s, by all: %v", threshold, ok)
		}
		if _, ok := p.Satisfied([]*Key{log}, all[:2]); ok != (threshold == "any") {
			t.Errorf("%s, by one and the log's own: %v", threshold, ok)
		}
		if _, ok := p.Satisfied([]*Key{log}, all[:1]); ok {
			t.Errorf("%s, by the log's own alone", threshold)
		}
	}
}

// TestQuorumTakesWhatItShould: signatures without a time, of strangers, of a key that
// only shares its name with a witness, and of one witness many times make no quorum.
func TestQuorumTakesWhatItShould(t *testing.T) {
	p, err := policyOf(t, "log L1\nwitness a W1\nwitness b W2\ngroup g all a b\nquorum g\n")
	if err != nil {
		t.Fatal(err)
	}
	a, b := p.Witnesses[0].Key, p.Witnesses[1].Key
	twin := testCosigner(t, b.Name(), 77).Key()
	for name, tt := range map[string]struct {
		sigs []Signature
		want bool
	}{
		"both":                    {[]Signature{{a, testTime}, {b, testTime}}, true},
		"both, in other order":    {[]Signature{{b, testTime}, {a, testTime}}, true},
		"both, and a stranger":    {[]Signature{{twin, testTime}, {b, testTime}, {a, testTime}}, true},
		"one":                     {[]Signature{{a, testTime}}, false},
		"one twice":               {[]Signature{{a, testTime}, {a, testTime.Add(time.Hour)}}, false},
		"one, and one at no time": {[]Signature{{a, testTime}, {b, time.Time{}}}, false},
		"one, and one's twin":     {[]Signature{{a, testTime}, {twin, testTime}}, false},
		"one, and the log":        {[]Signature{{a, testTime}, {p.Logs[0].Key, testTime}}, false},
		"nobody":                  {nil, false},
	} {
		if at, ok := p.Satisfied([]*Key{p.Logs[0].Key}, tt.sigs); ok != tt.want || ok && !at.Equal(testTime) || !ok && !at.IsZero() {
			t.Errorf("%s: %v at %v", name, ok, at)
		}
	}
}

// TestCosignatureWithoutATimeIsNoWitness: a tree that its cosigner does not call the
// newest it has seen has not been witnessed, though the signature is right.
func TestCosignatureWithoutATimeIsNoWitness(t *testing.T) {
	for _, w := range []*Signer{testCosigner(t, "w.example", 1), testMLDSA(t, "w.example", 1)} {
		p, err := ParsePolicy([]byte("witness a " + w.Key().String() + "\nquorum a\n"))
		if err != nil {
			t.Fatal(err)
		}
		log := testLog(t, "example.com/log", 9)
		for at, want := range map[time.Time]bool{{}: false, testTime: true, time.Unix(0, 0): true} {
			cp, err := Sign("example.com/log", 3, testRoot(3), at, log, w)
			if err != nil {
				t.Fatal(err)
			}
			_, sigs, err := Open(cp.Note, append(p.Keys(), log.Key())...)
			if err != nil || len(sigs) != 2 {
				t.Fatalf("%+v, %v", sigs, err)
			}
			if _, ok := p.Satisfied([]*Key{log.Key()}, sigs); ok != want {
				t.Errorf("%s at %v: %v", w.Key().Algorithm(), at, ok)
			}
		}
	}
}

// A model is a policy as the test understands it.
type model struct {
	need    int
	members []model
	witness int // of a leaf; members is nil
}

func (m model) holds(have map[int]bool) bool {
	if m.members == nil {
		return have[m.witness]
	}
	n := 0
	for _, member := range m.members {
		if member.holds(have) {
			n++
		}
	}
	return n >= m.need
}

// TestQuorumAgainstAModel makes random policies of nested groups and random sets of
// cosigners at random times, and asks when they were a quorum: as soon as the model
// says so, and not before. More cosignatures never undo a quorum.
func TestQuorumAgainstAModel(t *testing.T) {
	log := testLog(t, "example.com/log", 1).Key()
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		text, m, n := randomPolicy(t, rng)
		p, err := ParsePolicy([]byte(text))
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, text)
		}
		if err := p.Reachable([]*Key{log}); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		var sigs []Signature
		for i := range n {
			if rng.IntN(3) > 0 {
				sigs = append(sigs, Signature{p.Witnesses[i].Key, testTime.Add(time.Duration(rng.IntN(5)) * time.Second)})
			}
		}
		rng.Shuffle(len(sigs), func(i, j int) { sigs[i], sigs[j] = sigs[j], sigs[i] })
		var want time.Time
		wantOK := false
		for second := range 5 {
			by := testTime.Add(time.Duration(second) * time.Second)
			have := map[int]bool{}
			for _, s := range sigs {
				i := slices.IndexFunc(p.Witnesses, func(w Witness) bool { return w.Key == s.Key })
				have[i] = have[i] || !s.At.After(by)
			}
			if m.holds(have) {
				want, wantOK = by, true
				break
			}
		}
		if at, ok := p.Satisfied([]*Key{log}, sigs); ok != wantOK || !at.Equal(want) {
			t.Fatalf("seed %d: %v at %v, want %v at %v\n%s", seed, ok, at, wantOK, want, text)
		}
		for i := range sigs {
			if _, ok := p.Satisfied([]*Key{log}, sigs[:i]); ok && !wantOK {
				t.Fatalf("seed %d: %d cosignatures are a quorum and %d are none", seed, i, len(sigs))
			}
		}
	}
}

// randomPolicy returns a policy of n witnesses, as text and as a model. Every name is
// the member of one group at most.
func randomPolicy(t *testing.T, rng *rand.Rand) (text string, m model, n int) {
	t.Helper()
	n = 1 + rng.IntN(9)
	type named struct {
		name string
		model
	}
	var b strings.Builder
	var free []named
	for i := range n {
		fmt.Fprintf(&b, "witness w%d %s\n", i, manyKey(t, CosignatureEd25519, i))
		free = append(free, named{fmt.Sprint("w", i), model{witness: i}})
	}
	for g := 0; len(free) > 1; g++ {
		rng.Shuffle(len(free), func(i, j int) { free[i], free[j] = free[j], free[i] })
		k := 1 + rng.IntN(len(free))
		grown := model{need: 1 + rng.IntN(k)}
		threshold := fmt.Sprint(grown.need)
		switch {
		case grown.need == k && rng.IntN(2) == 0:
			threshold = "all"
		case grown.need == 1 && rng.IntN(2) == 0:
			threshold = "any"
		}
		fmt.Fprintf(&b, "group g%d %s", g, threshold)
		for _, member := range free[:k] {
			fmt.Fprintf(&b, " %s", member.name)
			grown.members = append(grown.members, member.model)
		}
		b.WriteString("\n")
		free = append(free[k:], named{fmt.Sprint("g", g), grown})
	}
	fmt.Fprintf(&b, "quorum %s\n", free[0].name)
	return b.String(), free[0].model, n
}

// FuzzParsePolicy: a policy that is read can be met by all of its witnesses, by
// nobody only if it asks for nothing, and stays within its bounds.
func FuzzParsePolicy(f *testing.F) {
	w1, w2 := testCosigner(f, "w.example/1", 1).Key().String(), testCosigner(f, "w.example/2", 2).Key().String()
	f.Add([]byte("log " + testLog(f, "log.example", 9).Key().String() + " https://log.example\nwitness a " + w1 + "\nwitness b " + w2 + "\ngroup g all a b\nquorum g\n"))
	f.Add([]byte("witness a " + w1 + "\ngroup g any a\ngroup h 1 g\nquorum h"))
	f.Add([]byte("# \xff\n\tquorum none"))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := ParsePolicy(text)
		if err != nil {
			if pavise.KindOf(err) != pavise.Invalid || p != nil {
				t.Errorf("%+v, %v", p, err)
			}
			return
		}
		if len(p.Logs)+len(p.nodes) > maxMembers {
			t.Errorf("%d logs, witnesses and groups", len(p.Logs)+len(p.nodes))
		}
		stranger := testLog(t, "stranger.example", 200).Key()
		var all []Signature
		for _, w := range p.Witnesses {
			all = append(all, Signature{w.Key, testTime})
		}
		if _, ok := p.Satisfied([]*Key{stranger}, all); !ok && p.Reachable([]*Key{stranger}) == nil {
			t.Error("all witnesses together are no quorum of a policy that can be met")
		}
		if _, ok := p.Satisfied([]*Key{stranger}, nil); ok == p.Asks() {
			t.Errorf("nobody is a quorum: %v, and it asks for one: %v", ok, p.Asks())
		}
	})
}
