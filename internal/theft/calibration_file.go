package theft

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/anomaly"
	"github.com/pavise/pavise/internal/plainjson"
)

// fileMost is how many times as large as those made today a file's parts may be: each
// client's share of memory follows them.
const fileMost = 4

// calibrationFormat names the form of the file (docs/formats/calibration.md), and the looks and
// measures that its numbers are of: whatever changes them changes it. No other form is read,
// because numbers of other measures would judge clients by what they are not.
const calibrationFormat = "pavise.calibration/6"

// calibrationHead is how many bytes from its beginning name a calibration, at most.
const calibrationHead = 256

// A calibrationFile is what the file of a calibration holds.
type calibrationFile struct {
	Format string          `json:"format"`
	SHA256 string          `json:"sha256"` // of the bytes of Calibration, in hex
	Body   json.RawMessage `json:"calibration"`
}

// Marshal returns the calibration as a file, which ParseCalibration reads.
func (c *Calibration) Marshal() ([]byte, error) {
	body, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encode the calibration: %w", err)
	}
	sum := sha256.Sum256(body)
	return json.Marshal(calibrationFile{calibrationFormat, hex.EncodeToString(sum[:]), body})
}

// IsCalibration reports whether a file that begins so is one of a calibration, or was one before
// somebody laid it out otherwise: such a file is refused for what it is.
func IsCalibration(start []byte) bool {
	start = bytes.TrimPrefix(start, []byte("\ufeff"))
	head := strings.Join(strings.Fields(string(start[:min(len(start), calibrationHead)])), "")
	return strings.HasPrefix(head, "{") && strings.Contains(head, `"format":"`+calibrationFormat[:len("pavise.calibration/")])
}

// ParseCalibration reads the file of a calibration. One that was changed, or of which any
// part does not fit the others, is an error of kind Invalid. The digest keeps off accidents
// and clumsy hands only: whoever can write the file can write another.
func ParseCalibration(b []byte) (*Calibration, error) {
	bad := func(format string, args ...any) error {
		return &pavise.Error{Kind: pavise.Invalid, Msg: "this calibration cannot be used: " + fmt.Sprintf(format, args...), Hint: "calibrate anew with traffic of this model: pavise firewall calibrate"}
	}
	file, err := plainjson.ReadKnown[calibrationFile](bytes.TrimSpace(b))
	if err != nil {
		return nil, bad("%v", err)
	}
	if file.Format != calibrationFormat {
		return nil, bad("it was made by another version of Pavise: its format is %.40q, and this version reads %q alone", file.Format, calibrationFormat)
	}
	if sum := sha256.Sum256(file.Body); file.SHA256 != hex.EncodeToString(sum[:]) {
		return nil, bad("it was changed after it was made, or laid out otherwise: its bytes are not those that were written")
	}
	c, err := plainjson.ReadKnown[Calibration](file.Body)
	if err != nil {
		return nil, bad("%v", err)
	}
	if why := cmp.Or(misfitLists(file.Body), c.misfit()); why != "" {
		return nil, bad("%s", why)
	}
	return &c, nil
}

// misfit says what of the calibration does not fit the rest, or "".
func (c *Calibration) misfit() string {
	if c.Scale == nil || c.Space == nil || c.Fourier == nil || c.Sketch == nil || c.Guess == nil || c.Repetition == nil {
		return "a part is missing"
	}
	for _, misfit := range []func() string{c.misfitSpace, c.misfitNumbers, c.misfitLooks, c.misfitGroups, c.misfitProfiles} {
		if why := misfit(); why != "" {
			return why
		}
	}
	return c.Repetition.misfit()
}

// misfitSpace looks at what brings rows onto one scale and into one space.
func (c *Calibration) misfitSpace() string {
	width := c.Scale.Width()
	if c.Fourier.Len() > fileMost*2*calibrationFreq || len(c.Space.Axes) > fileMost*calibrationAxes {
		return "a part is larger than any is made"
	}
	if width == 0 || len(c.Columns) != 0 && len(c.Columns) != width {
		return "its columns do not fit"
	}
	for _, why := range []string{c.Scale.Misfit(), c.Space.Misfit(width), c.Sketch.Misfit(width), c.Fourier.Misfit(anomaly.SketchLen)} {
		if why != "" {
			return why
		}
	}
	return ""
}

// misfitNumbers looks at what is one number.
func (c *Calibration) misfitNumbers() string {
	switch {
	case !(c.Residual.Usual > 0 && c.Residual.Unit > 0 && c.Outside.Usual > 0):
		return "its levels are none"
	case c.Scores < 0 || c.Scores > maxScores || !(c.Threshold > 0) || !(c.Bound > 0 && c.Bound < 1) || !(c.Alpha > 0 && c.Alpha < 1):
		return "its threshold or its bound is none"
	case c.Near < 1 || c.NearOwn < 1:
		return "what is nearly one row is none"
	}
	return ""
}

// misfitGroups looks at what there is of each group of classes, and of distances.
func (c *Calibration) misfitGroups() string {
	groups := len(c.Groups) + 1
	switch {
	case len(c.Centers) != groups || slices.ContainsFunc(c.Centers, func(k *anomaly.Centers) bool { return k == nil || k.Misfit(c.point()) != "" }):
		return "its centres do not fit"
	case len(c.Groups) >= calibrationGroups || !slices.IsSorted(c.Groups) || len(c.Traits) != groups || len(c.Means) != groups:
		return "its classes do not fit"
	case slices.ContainsFunc(c.Traits, func(group [traits]Trait) bool {
		return slices.ContainsFunc(group[:], func(k Trait) bool { return !(k.Unit > 0) })
	}):
		return "a trait has no unit"
	case slices.ContainsFunc(c.Means, func(mean []float32) bool { return mean != nil && len(mean) != c.Fourier.Len() }):
		return "its mean features do not fit"
	case len(c.DistanceBins) != studyBins-1 || !slices.IsSorted(c.DistanceBins) || len(c.DistanceShare) != studyBins:
		return "its distances do not fit"
	}
	return c.Guess.misfit(c.guessed(), groups)
}

// misfitLooks looks at when clients are judged, and at what of each measure is far then.
func (c *Calibration) misfitLooks() string {
	n := len(c.Looks)
	if n == 0 || n > len(looks) || !slices.Equal(c.Looks, looks[:n]) || len(c.Middle) != n || len(c.Spread) != n || len(c.Tail) != n {
		return "its looks do not fit"
	}
	for look := range c.Spread {
		for m := range measures {
			if !(c.Spread[look][m] > 0 && c.Tail[look][m] > 0 && c.Tail[look][m] <= 1) {
				return "a spread is none"
			}
		}
	}
	return ""
}

// misfitProfiles looks at how traits are spread at each look.
func (c *Calibration) misfitProfiles() string {
	if len(c.Profiles) != len(c.Looks) {
		return "its profiles do not fit its looks"
	}
	for _, p := range c.Profiles {
		if p == nil {
			return "a profile is missing"
		}
		if why := p.Misfit(traits*traitTells, len(traitTold)+len(traitMeans)); why != "" {
			return why
		}
	}
	return ""
}

// misfitLists says which list of a body has another length than what it is read into, or "":
// a list of fixed length is filled up with zeros by encoding/json, and cut off.
func misfitLists(body []byte) string {
	type lists [][]json.RawMessage
	var of struct {
		Traits lists `json:"traits"`
		Middle lists `json:"middle"`
		Spread lists `json:"spread"`
		Tail   lists `json:"tail"`
	}
	if json.Unmarshal(body, &of) != nil {
		return "its lists are none"
	}
	for _, one := range []struct {
		name   string
		lists  lists
		length int
	}{{"traits", of.Traits, traits}, {"middle", of.Middle, measures}, {"spread", of.Spread, measures}, {"tail", of.Tail, measures}} {
		for _, list := range one.lists {
			if len(list) != one.length {
				return fmt.Sprintf("a list of %s has %d members, and this version has %d", one.name, len(list), one.length)
			}
		}
	}
	return ""
}

// guessed is how many inputs the guess has.
func (c *Calibration) guessed() int {
	if c.Scale.Width() <= guessColumns {
		return c.Scale.Width() + 1
	}
	return len(c.Space.Axes) + 1
}

// point is how many coordinates the points have by which rows are compared.
func (c *Calibration) point() int { return min(len(c.Space.Axes), calibrationPoint) + 1 }

// otherwise says where columns stop being those of the calibration: there may be hundreds.
func (c *Calibration) otherwise(columns []string) string {
	for i, was := range c.Columns[:min(len(c.Columns), len(columns))] {
		if columns[i] != was {
			return fmt.Sprintf("input %d is %.80q, and the calibration was made with %.80q there", i, columns[i], was)
		}
	}
	return fmt.Sprintf("%d inputs have names, and the calibration was made with %d", len(columns), len(c.Columns))
}

// Takes reports, as an error of kind Invalid, why traffic of these columns, each row with so
// many scores, cannot be held to the calibration. Columns without names are counted only.
func (c *Calibration) Takes(columns []string, width, scores int) error {
	switch {
	case width != c.Scale.Width():
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the rows have %d inputs, and the calibration was made with %d", width, c.Scale.Width()), Hint: "calibrate with traffic of this model"}
	case len(c.Columns) > 0 && len(columns) > 0 && !slices.Equal(c.Columns, columns):
		return &pavise.Error{Kind: pavise.Invalid, Msg: c.otherwise(columns), Hint: "calibrate with traffic of this model, with its columns in the same order"}
	case c.Scores != scores:
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the answers have %d scores, and the calibration was made with %d", scores, c.Scores), Hint: "give the answers as the calibration had them, or calibrate with these"}
	}
	return nil
}
