package theft

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/pavise/pavise"
)

// small is a calibration of few clients, and its file.
func small(t testing.TB) (*world, *Calibration, []byte) {
	t.Helper()
	w := newWorld(2)
	c, err := Calibrate(recorded(w.honest(0, 24, 60)), 0.05, 3)
	if err != nil {
		t.Fatal(err)
	}
	c.Columns = strings.Split("abcdefghij", "")
	text, err := c.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return w, c, text
}

// TestCalibrationFile writes a calibration, reads it, and sees the same with it. The same
// traffic and the same seed make the same bytes; another seed makes others.
func TestCalibrationFile(t *testing.T) {
	w, c, text := small(t)
	_, _, again := small(t)
	if !bytes.Equal(text, again) {
		t.Error("the same seed gives another file")
	}
	other, err := Calibrate(recorded(w.honest(0, 24, 60)), 0.05, 4)
	if err != nil {
		t.Fatal(err)
	}
	other.Columns = c.Columns
	if b, err := other.Marshal(); err != nil || bytes.Equal(b, text) {
		t.Errorf("another seed gives the same file, or %v", err)
	}
	if !IsCalibration(text[:64]) || IsCalibration([]byte("client,x\n")) || IsCalibration(nil) {
		t.Error("it is not told from traffic")
	}
	var laid bytes.Buffer
	if err := json.Indent(&laid, text, "", "  "); err != nil {
		t.Fatal(err)
	}
	for name, other := range map[string][]byte{
		"with a mark of its encoding": append([]byte("\ufeff"), text...),
		"laid out in lines":           laid.Bytes(),
		"in another order":            slices.Concat([]byte(`{"sha256":"`), bytes.Repeat([]byte("0"), 64), []byte(`", `), text[1:]),
	} {
		if _, err := ParseCalibration(other); !IsCalibration(other) || pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("a calibration %s: told %v, %v", name, IsCalibration(other), err)
		}
	}
	read, err := ParseCalibration(append(slices.Clone(text), '\n'))
	if err != nil {
		t.Fatal(err)
	}
	for name, next := range map[string]func() []float64{
		"thief":  thieves["noise"](w, clientRand(1, 1)),
		"honest": w.habit(clientRand(1, 2)),
	} {
		a, b := NewExtraction(c), NewExtraction(read)
		for range 150 {
			row := w.asked(name, next())
			one, ok := a.See(row)
			two, ok2 := b.See(row)
			if one != two || ok != ok2 {
				t.Fatalf("%+v and %+v", one, two)
			}
		}
		if a.Closest(name) != b.Closest(name) || a.Closest(name).Detector == "" {
			t.Errorf("%+v and %+v", a.Closest(name), b.Closest(name))
		}
	}
}

// TestTamperedCalibration flips bytes of a file.
func TestTamperedCalibration(t *testing.T) {
	_, _, text := small(t)
	for i := 0; i < len(text); i += 1 + i/10 {
		changed := slices.Clone(text)
		changed[i] ^= 1
		if _, err := ParseCalibration(changed); pavise.KindOf(err) != pavise.Invalid || !strings.HasPrefix(err.Error(), "this calibration cannot be used: ") {
			t.Fatalf("byte %d of %d: %v", i, len(text), err)
		}
	}
	for _, n := range []int{0, 1, 20, 100, len(text) / 2, len(text) - 1} {
		if _, err := ParseCalibration(text[:n]); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("cut off after %d bytes: %v", n, err)
		}
	}
	older := bytes.Replace(text, []byte(calibrationFormat), []byte("pavise.calibration/0"), 1)
	if _, err := ParseCalibration(older); err == nil || !strings.Contains(err.Error(), `its format is "pavise.calibration/0"`) {
		t.Error(err)
	}
}

// signed is a body with the digest that it needs.
func signed(body []byte) []byte {
	sum := sha256.Sum256(body)
	return fmt.Appendf(nil, `{"format":%q,"sha256":%q,"calibration":%s}`, calibrationFormat, hex.EncodeToString(sum[:]), body)
}

// doesNoHarm fails when a body that is taken makes the detectors stumble.
func doesNoHarm(t *testing.T, body []byte) {
	t.Helper()
	c, err := ParseCalibration(signed(body))
	if err != nil {
		if pavise.KindOf(err) != pavise.Invalid {
			t.Fatalf("%v: %v", pavise.KindOf(err), err)
		}
		return
	}
	e, width := NewExtraction(c), c.Scale.Width()
	rng := clientRand(1, 3)
	for i := range 54 {
		row := make([]float64, width)
		for j := range row {
			row[j] = 100 * rng.NormFloat64()
		}
		if i%10 == 0 {
			row[0] = math.NaN()
		}
		e.See(&Asked{Client: fmt.Sprint(i % 11 / 10), Input: row, Scores: []float64{rng.Float64(), rng.Float64(), rng.Float64()}, Class: i})
		e.See(&Asked{Client: "1", Input: row[:width-1], Class: -1})
	}
	e.Closest("0")
	if err := c.Takes(nil, width, c.Scores); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Marshal(); err != nil {
		t.Fatal(err)
	}
}

// body is the calibration in a file, as JSON.
func body(t testing.TB, file []byte) []byte {
	t.Helper()
	var f calibrationFile
	if err := json.Unmarshal(file, &f); err != nil {
		t.Fatal(err)
	}
	return f.Body
}

// lean is a body that is as small as can be: of each long list it has the beginning.
func lean(t testing.TB) []byte {
	t.Helper()
	_, _, text := small(t)
	var v map[string]any
	if err := json.Unmarshal(body(t, text), &v); err != nil {
		t.Fatal(err)
	}
	fourier := v["fourier"].(map[string]any)
	fourier["frequencies"] = fourier["frequencies"].([]any)[:2]
	for i, mean := range v["means"].([]any) {
		if mean != nil {
			v["means"].([]any)[i] = mean.([]any)[:4]
		}
	}
	for _, k := range v["centers"].([]any) {
		k := k.(map[string]any)
		k["points"], k["radius"] = k["points"].([]any)[:2], k["radius"].([]any)[:2]
	}
	short, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return short
}

// mutations calls each with a body of which one value, at whatever depth, is another one:
// lists are emptied, cut and lengthened, objects and numbers are replaced. Of long lists the
// first element is gone into.
func mutations(v any, put func(any), each func()) {
	try := func(others ...any) {
		for _, other := range others {
			put(other)
			each()
		}
		put(v)
	}
	switch x := v.(type) {
	case map[string]any:
		try(nil, map[string]any{}, []any{})
		for _, key := range slices.Sorted(maps.Keys(x)) {
			old := x[key]
			delete(x, key)
			each()
			x[key] = old
			mutations(old, func(v any) { x[key] = v }, each)
		}
	case []any:
		try(nil, []any{}, x[:len(x)/2], append(slices.Clone(x), x...), "x")
		for i := range min(1, len(x)) {
			mutations(x[i], func(v any) { x[i] = v }, each)
		}
	case float64:
		try(nil, -1, 1e-40, 1e300, 4294967296)
	default:
		try(nil, true, 1, "x", []any{1})
	}
}

// TestForgedCalibration changes each part of a calibration and makes the digest right again:
// what comes is refused, or does no harm.
func TestForgedCalibration(t *testing.T) {
	small := lean(t)
	var v map[string]any
	if err := json.Unmarshal(small, &v); err != nil {
		t.Fatal(err)
	}
	if _, err := ParseCalibration(signed(small)); err != nil {
		t.Fatal(err)
	}
	n := 0
	mutations(v, func(any) {}, func() {
		forged, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		doesNoHarm(t, forged)
		n++
	})
	if n < 200 {
		t.Errorf("only %d forgeries", n)
	}
	space := v["space"].(map[string]any)
	space["axes"] = slices.Repeat(space["axes"].([]any), 100)
	forged, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseCalibration(signed(forged)); err == nil || !strings.Contains(err.Error(), "larger than any is made") {
		t.Error(err)
	}
}

// FuzzCalibration reads forged calibrations with the right digest and watches by them.
func FuzzCalibration(f *testing.F) {
	f.Add(lean(f))
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"scale":{"center":[1],"scale":[1],"step":[0],"few":[null]},"looks":[50]}`))
	f.Fuzz(func(t *testing.T, body []byte) { doesNoHarm(t, body) })
}

func TestTakes(t *testing.T) {
	_, c, _ := small(t)
	for _, tt := range []struct {
		columns       []string
		width, scores int
		want          string
	}{
		{c.Columns, 10, 3, ""},
		{nil, 10, 3, ""},
		{c.Columns, 9, 3, "the rows have 9 inputs, and the calibration was made with 10"},
		{strings.Split("abcdefghji", ""), 10, 3, `input 8 is "j", and the calibration was made with "i" there`},
		{nil, 10, 2, "the answers have 2 scores, and the calibration was made with 3"},
		{nil, 10, 0, "the answers have 0 scores, and the calibration was made with 3"},
	} {
		err := c.Takes(tt.columns, tt.width, tt.scores)
		if tt.want == "" && err != nil || tt.want != "" && (pavise.KindOf(err) != pavise.Invalid || !strings.HasPrefix(err.Error(), tt.want)) {
			t.Errorf("%v: %v", tt, err)
		}
	}
}

// TestCalibrateRefuses calibrates by what cannot do.
func TestCalibrateRefuses(t *testing.T) {
	wide := make([]float64, 1<<16+1)
	w, broken := newWorld(2), errors.New("the disk is gone")
	each := func(n, rows int, change func(i, row int, a *Asked) error) Traffic {
		return func(yield func(*Asked, error) bool) {
			for i := range n {
				next := w.habit(clientRand(9, i))
				for k := range rows {
					a := w.asked(fmt.Sprint(i), next())
					if err := change(i, k, a); !yield(a, err) {
						return
					}
				}
			}
		}
	}
	same := func(int, int, *Asked) error { return nil }
	for _, tt := range []struct {
		name    string
		traffic Traffic
		want    string
	}{
		{"nobody", each(0, 0, same), "of the 0 clients of the traffic 0 have asked 50 rows or more, and a calibration needs 20 of them"},
		{"too few", each(19, 60, same), "of the 19 clients of the traffic 19 have asked 50 rows or more"},
		{"too short", each(30, 49, same), "of the 30 clients of the traffic 0 have asked 50 rows or more"},
		{"only repetitions", each(24, 60, func(_, _ int, a *Asked) error { a.Input = make([]float64, 10); return nil }), "0 of the 19 clients that would set the threshold have asked 50 different rows, and it takes 12"},
		{"ragged", each(24, 60, func(i, k int, a *Asked) error { a.Input = a.Input[:10-i/23*k/59]; return nil }), "row 1440 of the traffic has 9 inputs and 3 scores, and the first has 10 and 3"},
		{"other scores", each(24, 60, func(i, k int, a *Asked) error { a.Scores = a.Scores[:3-i/23*k/59]; return nil }), "row 1440 of the traffic has 10 inputs and 2 scores"},
		{"nothing in a row", each(24, 60, func(_, _ int, a *Asked) error { a.Input = nil; return nil }), "the rows of the traffic have 0 inputs; 1 to 65536 can be looked at"},
		{"too wide", each(24, 60, func(_, _ int, a *Asked) error { a.Input = wide; return nil }), "the rows of the traffic have 65537 inputs"},
		{"a disk that fails", each(24, 60, func(i, _ int, _ *Asked) error { return map[bool]error{true: broken}[i == 23] }), "the disk is gone"},
	} {
		if _, err := Calibrate(tt.traffic, 0.05, 1); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		} else if !errors.Is(err, broken) && pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s: %v", tt.name, pavise.KindOf(err))
		}
	}
}

// TestOddTraffic calibrates by what is odd and still traffic: the file can be written and
// read, and rows can be held to it.
func TestOddTraffic(t *testing.T) {
	for name, row := range map[string]func(i, k int) *Asked{
		"one column":          func(i, k int) *Asked { return &Asked{Input: []float64{float64(i*1000 + k)}, Scores: []float64{0.5}} },
		"two columns, no one": func(_, k int) *Asked { return &Asked{Input: []float64{float64(k), 7}, Class: -1} },
		"NaN and infinities": func(_, k int) *Asked {
			return &Asked{Input: []float64{math.NaN(), math.Inf(k%2*2 - 1), float64(k), []float64{1, math.NaN()}[k%2]}, Scores: []float64{math.NaN(), 1}}
		},
		"numbers beyond 32 bits": func(i, k int) *Asked {
			return &Asked{Input: []float64{1e300 * float64(k), -1e39, 3e38 * float64(k%2*2-1), float64(k)}, Scores: []float64{math.Inf(1), 1}}
		},
		"a class for each row": func(i, k int) *Asked {
			return &Asked{Input: []float64{float64(k), float64(i)}, Class: 1<<31 - i*60 - k}
		},
		"columns that never change": func(i, k int) *Asked {
			return &Asked{Input: []float64{1, 2, 3, float64(60*i + k)}, Scores: []float64{0, 0}}
		},
		"a thousand classes": func(i, k int) *Asked {
			return &Asked{Input: []float64{float64(k), float64(i)}, Scores: many[k%7 : 1000+k%7]}
		},
	} {
		traffic := func(yield func(*Asked, error) bool) {
			for i := range 24 {
				for k := range 60 {
					a := row(i, k)
					if a.Client = fmt.Sprint(i); !yield(a, nil) {
						return
					}
				}
			}
		}
		c, err := Calibrate(traffic, 0.05, 1)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		text, err := c.Marshal()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		read, err := ParseCalibration(text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		e, amber := NewExtraction(read), 0
		for a := range traffic {
			if _, ok := e.See(a); ok {
				amber++
			}
		}
		if amber > 1 {
			t.Errorf("%s: %d of the clients left green", name, amber)
		}
	}
}

// many are scores of which there are many.
var many = func() []float64 {
	scores := make([]float64, 1010)
	for i := range scores {
		scores[i] = float64(i*7919%1009) / 1e6
	}
	return scores
}()

// TestBoundHolds holds the bound that few clients support to what comes of it.
func TestBoundHolds(t *testing.T) {
	w, amber, clients := newWorld(3), 0, 0
	others := recorded(w.honest(10_000, 10_060, 50))
	var bound float64
	for i := range 3 {
		c, err := Calibrate(recorded(w.honest(100*i, 100*i+24, 50)), 0.05, uint64(i))
		if err != nil {
			t.Fatal(err)
		}
		e := NewExtraction(c)
		for a := range others {
			if _, ok := e.See(a); ok {
				amber++
			}
		}
		bound, clients = c.Bound, clients+60
	}
	if share := float64(amber) / float64(clients); share > bound || math.Abs(bound-1.0/20) > 1e-9 {
		t.Errorf("%.3f of honest clients left green, and the bound is %.3f", share, bound)
	}
}

// TestListsOfAnotherLength: a list that is too short or too long is refused, wherever it stands:
// none is filled up with zeros, which would be a middle that nobody has.
func TestListsOfAnotherLength(t *testing.T) {
	body := lean(t)
	for _, path := range [][]any{
		{"middle", 0}, {"spread", 0}, {"tail", 0}, {"traits", 0}, {"middle"}, {"spread"}, {"tail"}, {"traits"}, {"means"}, {"centers"},
		{"distance_bins"}, {"distance_share"}, {"profiles"}, {"profiles", 0, "mean"}, {"profiles", 0, "inverse"}, {"profiles", 0, "inverse", 0},
		{"profiles", 0, "contrasts"}, {"profiles", 0, "contrasts", 0}, {"scale", "center"}, {"scale", "scale"}, {"scale", "step"}, {"scale", "few"},
		{"space", "mean"}, {"space", "axes", 0}, {"sketch", "sign"}, {"fourier", "frequencies", 0}, {"centers", 0, "radius"},
		{"centers", 0, "points", 0}, {"guess", "mean"}, {"guess", "deviation"}, {"guess", "hidden"}, {"guess", "hidden", 0}, {"guess", "out"}, {"guess", "out", 0},
		{"repetition", "furthest"}, {"repetition", "furthest", 0}, {"repetition", "looks"}, {"columns"},
	} {
		for _, change := range []string{"shorter", "longer", "null"} {
			var v map[string]any
			if err := json.Unmarshal(body, &v); err != nil {
				t.Fatal(err)
			}
			if change == "null" && (path[0] == "means" || path[0] == "columns") {
				continue // where nothing is known
			}
			putAt(v, path, func(list any) any {
				l := list.([]any)
				switch change {
				case "shorter":
					return l[:len(l)-1]
				case "longer":
					return append(slices.Clone(l), l[0])
				}
				return nil
			})
			changed, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := ParseCalibration(signed(changed)); pavise.KindOf(err) != pavise.Invalid {
				t.Errorf("%v, %s: %v", path, change, err)
			}
		}
	}
}

// putAt changes what stands at a path.
func putAt(v any, path []any, change func(any) any) {
	last := path[len(path)-1]
	for _, at := range path[:len(path)-1] {
		switch at := at.(type) {
		case string:
			v = v.(map[string]any)[at]
		case int:
			v = v.([]any)[at]
		}
	}
	switch at := last.(type) {
	case string:
		m := v.(map[string]any)
		m[at] = change(m[at])
	case int:
		l := v.([]any)
		l[at] = change(l[at])
	}
}

// TestThousandsInTurns measures a client between whose rows more others ask than detectors
// remember elsewhere: none that sets the threshold is forgotten.
func TestThousandsInTurns(t *testing.T) {
	w, c, _ := small(t)
	next := w.habit(clientRand(1, 2))
	judged := map[string]bool{"one": true}
	for i := range 2*extractionClients + 2 {
		judged[fmt.Sprint(i)] = true
	}
	tr := &trainer{c: c, judged: judged, turns: looks[:1], traffic: func(yield func(*Asked, error) bool) {
		for k := range looks[0] {
			for i := range len(judged) - 1 {
				if k == looks[0]-1 && !yield(&Asked{Client: fmt.Sprint(i), Input: []float64{0}}, nil) { // of another width: counted, and not looked at
					return
				}
			}
			row := next()
			if !yield(&Asked{Client: "one", Input: row, Scores: w.scores(row)}, nil) {
				return
			}
		}
	}}
	if all, err := tr.take(); err != nil || len(all) != 1 || all[0].client != "one" {
		t.Errorf("%d looks, %v", len(all), err)
	}
}
