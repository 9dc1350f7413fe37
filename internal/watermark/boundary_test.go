package watermark

import (
	"bytes"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/pavise/pavise"
)

// A sheared model says whether a point of the plane lies above a curve.
func sheared(bend float64) func([]float64) int {
	return func(x []float64) int { return one(x[1] > bend*math.Sin(3*x[0])) }
}

func seek(t *testing.T, model func([]float64) int, points int) *Fingerprint {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	var rows [][]float64
	var labels []int
	for range 400 {
		row := []float64{4 * (rng.Float64() - 0.5), 4 * (rng.Float64() - 0.5)}
		rows, labels = append(rows, row), append(labels, model(row))
	}
	s, err := NewSeeker(rows, labels, points, 3)
	if err != nil {
		t.Fatal(err)
	}
	for inputs := s.Next(); len(inputs) > 0; inputs = s.Next() {
		labels := make([]int, len(inputs))
		for i, input := range inputs {
			labels[i] = model(input)
		}
		if err := s.Answer(labels); err != nil {
			t.Fatal(err)
		}
	}
	return s.Fingerprint("curve")
}

func agreement(f *Fingerprint, model func([]float64) int) float64 {
	place, answers := f.Place(), map[int]int{}
	for _, p := range f.Points {
		i, _ := place(p.Input)
		answers[i] = model(p.Input)
	}
	return f.Agreement(answers)
}

// TestFingerprint tells a copy, which is a little off, from models that are off by more.
func TestFingerprint(t *testing.T) {
	f := seek(t, sheared(0.5), 200)
	if len(f.Points) < 190 || len(f.Points) > 200 {
		t.Fatalf("%d points", len(f.Points))
	}
	for i, p := range f.Points {
		if d := math.Abs(p.Input[1] - 0.5*math.Sin(3*p.Input[0])); d > 0.6 {
			t.Errorf("point %d is %.2f from the boundary", i, d)
		}
	}
	if a := agreement(f, sheared(0.5)); a != 1 {
		t.Errorf("the model agrees with itself on %v", a)
	}
	var innocent []float64
	for i := range 20 {
		innocent = append(innocent, agreement(f, sheared(0.9+float64(i)/10)))
	}
	l := f.Compare(agreement(f, sheared(0.51)), innocent)
	if l.Verdict != VerdictMarked || math.Abs(l.P-1.0/21) > 1e-9 || l.Least != l.P {
		t.Errorf("a copy: %+v", l)
	}
	if l := f.Compare(agreement(f, sheared(1.5)), innocent); l.Verdict != VerdictNotShown {
		t.Errorf("an innocent one: %+v", l)
	}
	if l := f.Compare(1, innocent[:19]); l.Verdict != VerdictUnclear {
		t.Errorf("19 others: %+v", l)
	}
	if l := f.Compare(1, nil); l.Verdict != VerdictUnclear || l.P != 1 {
		t.Errorf("no others: %+v", l)
	}
	if a := f.Agreement(nil); a != 0 {
		t.Errorf("no answers agree on %v", a)
	}
}

// TestFingerprintFile reads what it wrote, and nothing that was changed.
func TestFingerprintFile(t *testing.T) {
	f := seek(t, sheared(0.5), 40)
	var file bytes.Buffer
	if err := f.Write(&file); err != nil {
		t.Fatal(err)
	}
	again, err := ReadFingerprint(bytes.NewReader(file.Bytes()))
	if err != nil || again.Digest != f.Digest || len(again.Points) != len(f.Points) || again.Hold(2) != nil || again.Hold(3) == nil {
		t.Fatalf("%+v, %v", again, err)
	}
	for i := 0; i < file.Len(); i += 3 {
		b := bytes.Clone(file.Bytes())
		b[i] ^= 1
		if _, err := ReadFingerprint(bytes.NewReader(b)); err == nil {
			t.Fatalf("byte %d is another, and it is read", i)
		}
	}
	if _, err := ReadFingerprint(strings.NewReader("{}\n")); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("an empty one: %v", err)
	}
}

// FuzzReadFingerprint reads files of points: what is taken is written again as it was, and can be
// held to a suspect.
func FuzzReadFingerprint(f *testing.F) {
	sheet := func(points ...Point) []byte {
		var file bytes.Buffer
		if err := (&Fingerprint{Model: "m", Points: points}).Write(&file); err != nil {
			f.Fatal(err)
		}
		return file.Bytes()
	}
	f.Add(sheet(Point{Input: []float64{1, -0.5}, Label: 1}, Point{Input: []float64{0, 1e-30}, Label: 0}))
	f.Add(sheet(Point{Input: []float64{1}, Label: 0}, Point{Input: []float64{1, 2}, Label: MaxClasses - 1}))
	f.Add(sheet(Point{Label: -1}))
	f.Add([]byte("{}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		read, err := ReadFingerprint(bytes.NewReader(text))
		if err != nil {
			return
		}
		var b bytes.Buffer
		if err := read.Write(&b); err != nil || !bytes.Equal(b.Bytes(), text) {
			t.Fatalf("read %q, written %q (%v)", text, b.Bytes(), err)
		}
		if read.Hold(len(read.Points[0].Input)) == nil {
			place := read.Place()
			for _, p := range read.Points {
				if _, ok := place(p.Input); !ok {
					t.Fatalf("%q has a point that is at no place", text)
				}
			}
		}
	})
}

// TestSeekersThatAreRefused has rows without a boundary between them.
func TestSeekersThatAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		rows   [][]float64
		labels []int
	}{
		"none":        {nil, nil},
		"no labels":   {[][]float64{{1}, {2}}, nil},
		"one class":   {[][]float64{{1}, {2}}, []int{1, 1}},
		"ragged":      {[][]float64{{1}, {2, 3}}, []int{1, 0}},
		"not numbers": {[][]float64{{1}, {math.NaN()}}, []int{1, 0}},
	} {
		if _, err := NewSeeker(c.rows, c.labels, 10, 1); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	s, err := NewSeeker([][]float64{{0}, {1}}, []int{0, 1}, 4, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Answer(nil); err == nil {
		t.Error("no answers are taken")
	}
}
