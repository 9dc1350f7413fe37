package drift

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/pavise/pavise"
)

// sample is a baseline of one feature of numbers and one of categories.
func sample() *Baseline {
	rng := rand.New(rand.NewPCG(3, 4))
	b := &Baseline{Format: BaselineFormat, Rows: 1000}
	values := make([]float64, b.Rows)
	for i := range values {
		values[i] = rng.NormFloat64()
	}
	number := Feature{Numbers: NewReference(append([]float64(nil), values...)), Base: &Histogram{}}
	number.Numbers.CountAll(number.Base, values)
	words := Feature{Categories: NewCategories(map[string]int{"tcp": 700, "udp": 300}, true), Base: &Histogram{}}
	for i := range 1000 {
		words.Categories.Count(words.Base, []byte([]string{"tcp", "udp"}[min(i/700, 1)]))
	}
	b.Features = []Profile{ProfileOf("bytes", "input", number), ProfileOf("protocol", "input", words)}
	return b
}

// TestBaselineRoundTrip: a baseline that is kept says the same when it is read.
func TestBaselineRoundTrip(t *testing.T) {
	was := sample()
	is, err := ParseBaseline(was.Text())
	if err != nil {
		t.Fatal(err)
	}
	if is.Digest() != was.Digest() {
		t.Errorf("digest %s, and was %s", is.Digest(), was.Digest())
	}
	f, err := is.Features[0].Feature()
	if err != nil {
		t.Fatal(err)
	}
	var now Histogram
	for i := range 1000 {
		f.Numbers.Count(&now, float64(i)/200)
	}
	if o := Hold(Number, f.Numbers.Bins(), f.Base, &now); !o.Moved() {
		t.Errorf("five standard deviations are no drift: %+v", o)
	}
}

// TestBaselinesThatAreRefused: what was written by hand, or cut, is told.
func TestBaselinesThatAreRefused(t *testing.T) {
	good := string(sample().Text())
	for name, text := range map[string]string{
		"cut":            good[:len(good)/2],
		"another format": strings.Replace(good, "baseline/1", "baseline/9", 1),
		"unknown key":    strings.Replace(good, `{"format"`, `{"more":1,"format"`, 1),
		"key twice":      strings.Replace(good, `{"format"`, `{"rows":1,"format"`, 1),
		"other kind":     strings.Replace(good, `"kind":"number"`, `"kind":"category"`, 1),
		"no features":    `{"format":"` + BaselineFormat + `","rows":100,"features":[]}`,
		"few rows":       strings.Replace(good, `"rows":1000`, `"rows":10`, 1),
		"name twice":     strings.Replace(good, `"protocol"`, `"bytes"`, 1),
		"no name":        strings.Replace(good, `"protocol"`, `""`, 1),
	} {
		if _, err := ParseBaseline([]byte(text)); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzParseBaseline: no text makes a baseline that cannot be used, or that reads otherwise
// when it is kept and read again.
func FuzzParseBaseline(f *testing.F) {
	f.Add(sample().Text())
	f.Add([]byte(`{"format":"pavise-drift-baseline/1","rows":40,"features":[{"name":"x","kind":"number","edges":[1],"counts":[20,20]}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		b, err := ParseBaseline(text)
		if err != nil {
			return
		}
		again, err := ParseBaseline(b.Text())
		if err != nil || again.Digest() != b.Digest() {
			t.Fatalf("kept and read again: %v", err)
		}
		for i := range b.Features {
			feature, err := b.Features[i].Feature()
			if err != nil {
				t.Fatal(err)
			}
			kind, bins := feature.kind()
			Hold(kind, bins, feature.Base, feature.Base)
		}
	})
}
