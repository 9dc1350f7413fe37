package tracked

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// A Whole is an int64 as JSON of protocol buffers has it: a number, or a number in a string.
type Whole int64

// UnmarshalJSON implements json.Unmarshaler.
func (w *Whole) UnmarshalJSON(b []byte) error {
	text := string(b)
	if text == "null" {
		return nil
	}
	if b[0] == '"' {
		if err := json.Unmarshal(b, &text); err != nil {
			return err
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		// Clients write whole numbers as 5.0, too.
		f, floatErr := strconv.ParseFloat(text, 64)
		if floatErr != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
			return fmt.Errorf("%.40s is no whole number", text)
		}
		n = int64(f)
	}
	*w = Whole(n)
	return nil
}

// A Real is a float64 as JSON of protocol buffers has it: infinite ones are strings.
type Real float64

var unreal = map[string]float64{`"NaN"`: math.NaN(), `"Infinity"`: math.Inf(1), `"-Infinity"`: math.Inf(-1)}

// UnmarshalJSON implements json.Unmarshaler. encoding/json hands over neither NaN nor
// Infinity without quotes, which some clients write: those are refused.
func (r *Real) UnmarshalJSON(b []byte) error {
	if f, is := unreal[string(b)]; is {
		*r = Real(f)
		return nil
	}
	return json.Unmarshal(b, (*float64)(r))
}

// MarshalJSON implements json.Marshaler.
func (r Real) MarshalJSON() ([]byte, error) {
	switch f := float64(r); {
	case math.IsNaN(f):
		return []byte(`"NaN"`), nil
	case math.IsInf(f, 1):
		return []byte(`"Infinity"`), nil
	case math.IsInf(f, -1):
		return []byte(`"-Infinity"`), nil
	default:
		return json.Marshal(f)
	}
}

// A Tag is a key with a value.
type Tag struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// TagsOf are tags by key.
func TagsOf(all map[string]string) (list []Tag) {
	for key, value := range all {
		list = append(list, Tag{key, value})
	}
	slices.SortFunc(list, func(a, b Tag) int { return strings.Compare(a.Key, b.Key) })
	return list
}
