package embedding

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/pavise/pavise"
)

// learnt is a meter that knows where its planes stand.
func learnt(rng *rand.Rand, dim int) *Meter {
	m := NewMeter(key(1))
	for _, v := range cloud(rng, settled, dim) {
		m.See("first", v)
	}
	return m
}

func TestCoverageTellsCopiersFromUsers(t *testing.T) {
	const dim = 64
	rng := rand.New(rand.NewPCG(1, 1))
	m := learnt(rng, dim)
	topics := cloud(rng, 3, dim)
	near := func(topic []float64) []float64 {
		v := slices.Clone(topic)
		for j := range v {
			v[j] += 0.02 * rng.NormFloat64()
		}
		return v
	}
	var user, copier float64
	for i := range 5000 {
		user = m.See("user", near(topics[i%3]))
		copier = m.See("copier", cloud(rng, 1, dim)[0])
	}
	if user > 0.10 || copier < 0.60 {
		t.Errorf("somebody with three topics covers %.3f, and who asks about everything %.3f", user, copier)
	}
	before := m.See("copier", cloud(rng, 1, dim)[0])
	if after := m.See("copier", cloud(rng, 1, dim)[0]); after < before {
		t.Errorf("coverage falls from %f to %f", before, after)
	}
}

func TestMeterStandsWhatItIsGiven(t *testing.T) {
	const dim = 16
	rng := rand.New(rand.NewPCG(2, 2))
	m := NewMeter(key(1))
	bad := make([]float64, dim)
	bad[3] = math.NaN()
	for range 2 * settled {
		m.See("a", bad)
		m.See("a", nil)
	}
	if m.cut != nil || len(m.first) > 0 {
		t.Error("it has learnt from what is no vector")
	}
	m = learnt(rng, dim)
	for range 2000 {
		m.See("copier", cloud(rng, 1, dim)[0])
	}
	was := m.See("copier", bad)
	for i := range 2 * maxCallers {
		m.See(fmt.Sprint(i), cloud(rng, 1, dim)[0])
	}
	if n := len(m.callers); n > maxCallers {
		t.Errorf("it remembers %d callers", n)
	}
	if now := m.See("copier", bad); now < was || was == 0 {
		t.Errorf("behind many others the copier covers %f, and before %f", now, was)
	}
}

func TestNoise(t *testing.T) {
	n := Noise{Quiet: 0.2, Full: 0.6}
	rng := rand.New(rand.NewPCG(3, 3))
	own := cloud(rng, 1, 768)[0]
	last := 0.0
	for coverage := 0.0; coverage <= 1; coverage += 0.01 {
		v := slices.Clone(own)
		noisy := n.Add(v, key(1), key(9), coverage)
		s := n.Strength(coverage)
		if noisy != (coverage > n.Quiet) || !noisy && !slices.Equal(v, own) {
			t.Fatalf("at %.2f: noise %v of strength %g", coverage, noisy, s)
		}
		if s < last || s > strongest+1e-9 {
			t.Fatalf("at %.2f the strength is %g behind %g", coverage, s, last)
		}
		last = s
		if away := math.Abs(norm(v) - norm(own)); away > 1e-9 {
			t.Fatalf("at %.2f the length changes by %g", coverage, away)
		}
	}
	if math.Abs(last-strongest) > 1e-5 {
		t.Errorf("the strongest is %g", last)
	}
	for _, odd := range []float64{math.NaN(), -1} {
		if n.Add(slices.Clone(own), key(1), key(9), odd) {
			t.Errorf("a coverage of %v brings noise", odd)
		}
	}
}

// TestAveragingGainsNothing asks for the same input a thousand times at each of many
// coverages: there are as many different answers as strengths.
func TestAveragingGainsNothing(t *testing.T) {
	n := Noise{Quiet: 0, Full: 1}
	own := cloud(rand.New(rand.NewPCG(4, 4)), 1, 32)[0]
	seen := map[string]bool{}
	for i := range 1000 {
		v := slices.Clone(own)
		n.Add(v, key(1), key(9), float64(i+1)/1000)
		seen[fmt.Sprint(v)] = true
	}
	if len(seen) != levels {
		t.Errorf("%d answers to one input", len(seen))
	}
	a, b := slices.Clone(own), slices.Clone(own)
	n.Add(a, key(1), key(9), 1)
	n.Add(b, key(1), key(8), 1)
	if slices.Equal(a, b) {
		t.Error("two inputs have one noise")
	}
}

func TestTerms(t *testing.T) {
	for text, want := range map[string]string{
		"rotate:1": "rotate:1", "noise:20%..60%": "noise:20%..60%", "noise:0%..100%, rotate:7": "rotate:7,noise:0%..100%",
	} {
		terms, err := ParseTerms(text)
		if err != nil || terms.String() != want {
			t.Errorf("%q is %q (%v)", text, terms, err)
		}
	}
	for _, text := range []string{
		"", "none", "rotate", "rotate:0", "rotate:-1", "rotate:x", "rotate:1,rotate:2", "rotate:4294967296", "noise:", "noise:20%", "noise:60%..20%", "noise:20%..20%",
		"noise:20..60", "noise:20%..101%", "noise:2.5%..60%", "noise:NaN%..60%", "spin:1", "rotate:1;noise:20%..60%",
	} {
		if terms, err := ParseTerms(text); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%q is %q (%v)", text, terms, err)
		}
	}
}

func FuzzParseTerms(f *testing.F) {
	f.Add("rotate:1,noise:20%..60%")
	f.Fuzz(func(t *testing.T, text string) {
		terms, err := ParseTerms(text)
		if err != nil {
			return
		}
		var again Terms
		if err := again.UnmarshalText([]byte(terms.String())); err != nil || again != terms {
			t.Fatalf("%q is %q, which reads as %q (%v)", text, terms, again, err)
		}
	})
}

func BenchmarkMeter(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	m := learnt(rng, 1536)
	v := cloud(rng, 1, 1536)[0]
	for b.Loop() {
		m.See("a", v)
	}
}

// TestNoiseOfAnotherLength: the noise of one text at two lengths has nothing in common, or it
// would cancel out.
func TestNoiseOfAnotherLength(t *testing.T) {
	n := Noise{Quiet: 0.2, Full: 0.6}
	own := cloud(rand.New(rand.NewPCG(3, 3)), 1, 768)[0]
	whole, half := slices.Clone(own), slices.Clone(own[:384])
	n.Add(whole, key(1), key(9), 1)
	n.Add(half, key(1), key(9), 1)
	var dot, a, b float64
	for i := range half {
		x, y := whole[i]-own[i], half[i]-own[i]
		dot, a, b = dot+x*y, a+x*x, b+y*y
	}
	if cos := math.Abs(dot) / math.Sqrt(a*b); cos > 0.3 {
		t.Errorf("what was added has a cosine of %.2f", cos)
	}
}
