package embedding

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/pavise/pavise"
)

// Terms are what a route does with the vectors of its model. The zero Terms do nothing.
type Terms struct {
	Rotate uint32 // the epoch of the rotation; 0: there is none
	Noise  Noise  // the zero one: none
}

// IsZero reports whether the terms do nothing.
func (t Terms) IsZero() bool { return t == Terms{} }

// ParseTerms reads terms in words: "rotate:1", "noise:20%..60%", or both with a comma in
// between. The error is of kind Invalid.
func ParseTerms(text string) (t Terms, err error) {
	for part := range strings.SplitSeq(text, ",") {
		word, value, _ := strings.Cut(strings.TrimSpace(part), ":")
		switch {
		case word == "rotate" && t.Rotate == 0:
			epoch, err := strconv.ParseUint(value, 10, 31)
			if err != nil || epoch == 0 {
				return Terms{}, badTerms(text, fmt.Sprintf("the epoch %.20q is no number from 1", value))
			}
			t.Rotate = uint32(epoch)
		case word == "noise" && t.Noise == Noise{}:
			quiet, full, _ := strings.Cut(value, "..")
			if t.Noise.Quiet, err = percent(quiet); err == nil {
				t.Noise.Full, err = percent(full)
			}
			if err != nil {
				return Terms{}, badTerms(text, fmt.Sprintf("the noise %.30q is not like 20%%..60%%", value))
			}
		default:
			return Terms{}, badTerms(text, fmt.Sprintf("%.30q is unknown, or there twice", part))
		}
	}
	return t, t.Validate()
}

func percent(text string) (float64, error) {
	digits, ok := strings.CutSuffix(text, "%")
	n, err := strconv.ParseUint(digits, 10, 7)
	if err != nil || !ok || n > 100 {
		return 0, fmt.Errorf("%q is no share in whole percent", text)
	}
	return float64(n) / 100, nil
}

func badTerms(text, why string) error {
	return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("embeddings %.60q: %s", text, why), Hint: "write rotate:EPOCH, noise:QUIET%..FULL%, both with a comma in between, or none"}
}

// Validate reports, as an error of kind Invalid, terms that cannot be meant.
func (t Terms) Validate() error {
	if n := t.Noise; n != (Noise{}) && !(n.Quiet >= 0 && n.Quiet < n.Full && n.Full <= 1) { // NaN, too
		return badTerms(t.String(), "the noise begins below where it is full, both between 0% and 100%")
	}
	return nil
}

// String says the terms in the words that ParseTerms reads; "none" for the zero ones.
func (t Terms) String() string {
	var parts []string
	if t.Rotate != 0 {
		parts = append(parts, fmt.Sprintf("rotate:%d", t.Rotate))
	}
	if t.Noise != (Noise{}) {
		parts = append(parts, fmt.Sprintf("noise:%.0f%%..%.0f%%", 100*t.Noise.Quiet, 100*t.Noise.Full))
	}
	if parts == nil {
		return "none"
	}
	return strings.Join(parts, ",")
}

// MarshalText says the terms as String does.
func (t Terms) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads what MarshalText wrote. The error is of kind Invalid.
func (t *Terms) UnmarshalText(text []byte) (err error) {
	if string(text) == "none" {
		*t = Terms{}
		return nil
	}
	*t, err = ParseTerms(string(text))
	return err
}
