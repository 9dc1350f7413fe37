package firewall

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/tensor"
)

// ParseRate reads "600/1m" or "600/1m burst 100", and "2000000 bits/24h". Without a burst the whole
// count may come at once.
func ParseRate(text string) (Rate, error) {
	limit, burst, hasBurst := strings.Cut(text, " burst ")
	count, per, ok := strings.Cut(limit, "/")
	if !ok {
		return Rate{}, fmt.Errorf("no slash")
	}
	count, bits := strings.CutSuffix(count, " bits")
	n, err := strconv.Atoi(count)
	if err != nil {
		return Rate{}, err
	}
	d, err := time.ParseDuration(per)
	if err != nil {
		return Rate{}, err
	}
	rate := Rate{Count: n, Per: d, Burst: n, Bits: bits}
	if hasBurst {
		if rate.Burst, err = strconv.Atoi(burst); err != nil {
			return Rate{}, err
		}
	}
	return rate, rate.Validate()
}

// ParseShape reads full, label, round:DIGITS or topk:K. The error is of kind Invalid.
func ParseShape(text string) (Shape, error) {
	kind, arg, hasArg := strings.Cut(text, ":")
	s := Shape{Kind: kind}
	n, err := strconv.Atoi(arg)
	switch {
	case kind == Round && err == nil:
		s.Digits = n
	case kind == TopK && err == nil:
		s.K = n
	case (kind == Full || kind == Label) && !hasArg:
	default:
		return s, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("shape %.60q is none", text), Hint: "shapes are full, round:DIGITS, topk:K and label"}
	}
	return s, nil
}

// KeepColumns gives ports the columns of was, and with them the bounds, if they
// are the same ports otherwise.
func KeepColumns(ports, was []tensor.Port) {
	columns := make([][]tensor.Column, len(ports))
	for i, p := range ports {
		at := slices.IndexFunc(was, func(q tensor.Port) bool {
			return q.Name == p.Name && q.Datatype == p.Datatype && slices.Equal(q.Shape, p.Shape)
		})
		if at < 0 || len(ports) != len(was) {
			return
		}
		columns[i] = was[at].Columns
	}
	for i, c := range columns {
		if len(c) > 0 {
			ports[i].Columns = c
		}
	}
}

// Bound gives an input the columns that text describes, as a model's card does;
// the card's other fields mean nothing here. The error is of kind Invalid.
func Bound(inputs []tensor.Port, text []byte) error {
	var card struct {
		Input    string          `json:"input"`
		Features []tensor.Column `json:"features"`
	}
	refuse := func(hint, format string, args ...any) error {
		return &pavise.Error{Kind: pavise.Invalid, Msg: "bounds: " + fmt.Sprintf(format, args...), Hint: hint}
	}
	const form = `write them as {"input": NAME, "features": [{"name": …, "min": …, "max": …}, …]}`
	if err := json.Unmarshal(text, &card); err != nil {
		return refuse(form, "%v", err)
	}
	if card.Input == "" || len(card.Features) == 0 {
		return refuse(form, "no input or no features")
	}
	at := slices.IndexFunc(inputs, func(p tensor.Port) bool { return p.Name == card.Input })
	if at < 0 {
		var names []string
		for _, p := range inputs {
			names = append(names, strconv.Quote(p.Name))
		}
		return refuse("it has "+strings.Join(names, ", "), "the model has no input %.80q", card.Input)
	}
	p := &inputs[at]
	if len(p.Shape) != 2 || p.Shape[1] != int64(len(card.Features)) {
		return refuse("give one feature for each column", "%d features for input %q of shape %d", len(card.Features), p.Name, p.Shape)
	}
	for i, c := range card.Features {
		switch {
		case c.Name == "":
			return refuse(form, "feature %d has no name", i)
		case c.Min != nil && c.Max != nil && *c.Min > *c.Max:
			return refuse("min is at most max", "feature %d (%.80s) goes from %v to %v, which leaves nothing", i, c.Name, *c.Min, *c.Max)
		}
	}
	p.Columns = card.Features
	return nil
}
