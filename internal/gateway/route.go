package gateway

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/firewall"
	"github.com/pavise/pavise/internal/tensor"
)

// A Route says what stands behind a model's name, and on what terms callers may
// ask it.
type Route struct {
	Model     pavise.Name      `json:"model"`
	ONNX      string           `json:"onnx,omitempty"`     // digest of the model that runs in this process
	Upstream  string           `json:"upstream,omitempty"` // or the address of the server it runs on
	Remote    string           `json:"remote,omitempty"`   // and its name there
	Signature tensor.Signature `json:"signature"`
	MaxRows   int              `json:"max_rows"` // rows in one request
	Terms     firewall.Terms   `json:"terms"`
	Shape     firewall.Shape   `json:"shape"`
	Purpose   string           `json:"purpose,omitempty"`   // what the answers decide: security, health, access …
	Alterable bool             `json:"alterable,omitempty"` // the owner lets answers be altered, and the callers' terms say so
	Observe   bool             `json:"observe,omitempty"`   // record what would be denied, and let it pass
	Durable   bool             `json:"durable,omitempty"`   // answers wait until their record survives power loss
}

// What a route has when nobody says otherwise: generous for a program that asks
// now and then, slow for one that copies.
const (
	defaultMaxRows     = 256
	defaultRate        = "1200/1m burst 300"
	defaultBudget      = "100000/24h"
	defaultModelBudget = "1000000/24h"
	defaultShape       = "round:4"
)

// A RouteSpec is what route.put is asked for: a Route in words. On a route that
// exists, what is left out stays as it is; a new one takes the defaults.
type RouteSpec struct {
	Name        string            `json:"name" arg:"" help:"the model's name, as tenant/model/id" doc:"the model's name, as tenant/model/id"`
	ONNX        []byte            `json:"onnx,omitzero" type:"filecontent" xor:"backend" placeholder:"FILE" help:"run this ONNX model in the gateway" doc:"an ONNX model to run in the gateway"`
	Upstream    string            `json:"upstream,omitempty" xor:"backend" placeholder:"URL" help:"ask the model server at this address (Open Inference Protocol v2), or external: a proxy that asks Pavise carries requests to it" doc:"address of a model server (Open Inference Protocol v2), or external: a proxy that asks Pavise carries requests to it"`
	Remote      string            `json:"remote,omitempty" placeholder:"NAME" help:"the model's name on the server, if it is another" doc:"the model's name on the server, if it is another"`
	Signature   *tensor.Signature `json:"signature,omitempty" type:"jsonfile" placeholder:"FILE" help:"what the model takes and gives, as JSON: {\"inputs\": [{\"name\": …, \"datatype\": …, \"shape\": …}, …], \"outputs\": …}. A new model is asked when it is absent; an external one cannot be" doc:"what the model takes and gives; asked of a new model when absent, which an external one cannot be"`
	Bounds      json.RawMessage   `json:"bounds,omitzero" type:"filecontent" placeholder:"FILE" help:"what each column of an input may hold, as JSON: {\"input\": NAME, \"features\": [{\"name\": …, \"min\": …, \"max\": …}, …]}. A new model of the same inputs keeps the bounds; for other inputs they end" doc:"what each column of an input may hold: {input, features: [{name, min, max}, …]}, where min and max may be absent. A new model of the same inputs keeps the bounds; for other inputs they end"`
	MaxRows     int               `json:"max_rows,omitempty" help:"rows in one request (a new route: 256)" doc:"rows in one request; 256 for a new route"`
	Rate        string            `json:"rate,omitempty" help:"rows of each caller, as COUNT/TIME with an optional burst (a new route: '1200/1m burst 300')" doc:"rows of each caller, as COUNT/TIME with an optional burst"`
	Budget      string            `json:"budget,omitempty" help:"rows of each caller in a longer window (a new route: '100000/24h')" doc:"rows of each caller in a longer window, as COUNT/TIME"`
	ModelRate   string            `json:"model_rate,omitempty" help:"rows of all callers together, or none for no such limit (a new route: none)" doc:"rows of all callers together, as COUNT/TIME with an optional burst, or none for no such limit"`
	ModelBudget string            `json:"model_budget,omitempty" help:"rows of all callers together in a longer window (a new route: '1000000/24h')" doc:"rows of all callers together in a longer window, as COUNT/TIME"`
	Shape       string            `json:"shape,omitempty" help:"how much of the scores an answer tells: full, round:DIGITS, topk:K or label (a new route: round:4)" doc:"how much of the scores an answer tells: full, round:DIGITS, topk:K or label"`
	Purpose     string            `json:"purpose,omitempty" help:"what the answers decide; security, health and access cannot be alterable" doc:"what the answers decide; security, health and access cannot be alterable"`
	Alterable   *bool             `json:"alterable,omitempty" negatable:"" help:"the owner lets answers be altered beyond rounding, and the callers' terms say so" doc:"the owner lets answers be altered beyond rounding, and the callers' terms say so"`
	Observe     *bool             `json:"observe,omitempty" negatable:"" help:"record what would be denied by policy, rates, budgets and limits, and let it pass; malformed requests are refused all the same" doc:"record what would be denied by policy, rates, budgets and limits, and let it pass; malformed requests are refused all the same"`
	Durable     *bool             `json:"durable,omitempty" negatable:"" help:"let answers wait until their record survives power loss" doc:"let answers wait until their record survives power loss"`
}

// Model returns the name of the model, which is the one thing to know before
// the guard is asked. The error is of kind Invalid.
func (s RouteSpec) Model() (pavise.Name, error) {
	name, err := pavise.ParseName(s.Name)
	if err == nil && name.Kind != "model" {
		err = &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s is a %s; a route leads to a model", name, name.Kind), Hint: "write it as tenant/model/id"}
	}
	return name, err
}

// route says in full what the words make of was, which is nil when there is no
// such route. What a model that the words name takes and gives is not filled in
// yet. The error is of kind Invalid, or Denied for a shape the purpose bars.
func (s RouteSpec) route(was *Route) (Route, error) {
	name, err := s.Model()
	if err != nil {
		return Route{}, err
	}
	r := Route{Model: name}
	if was != nil {
		r = *was
	} else {
		s.defaults()
	}
	if err := s.backend(&r); err != nil {
		return Route{}, err
	}
	r.MaxRows = cmp.Or(s.MaxRows, r.MaxRows)
	if r.MaxRows < 1 || r.MaxRows > tensor.DefaultLimits().MaxRows {
		return Route{}, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("max_rows is %d, not between 1 and %d", r.MaxRows, tensor.DefaultLimits().MaxRows)}
	}
	if err := s.terms(&r.Terms); err != nil {
		return Route{}, err
	}
	if s.Shape != "" {
		if r.Shape, err = parseShape(s.Shape); err != nil {
			return Route{}, err
		}
	}
	r.Purpose = cmp.Or(s.Purpose, r.Purpose)
	for _, flag := range []struct{ said, to *bool }{{s.Alterable, &r.Alterable}, {s.Observe, &r.Observe}, {s.Durable, &r.Durable}} {
		if flag.said != nil {
			*flag.to = *flag.said
		}
	}
	return r, r.Shape.Validate(r.Alterable, r.Purpose)
}

// defaults fills in what nobody said of a new route.
func (s *RouteSpec) defaults() {
	s.MaxRows = cmp.Or(s.MaxRows, defaultMaxRows)
	s.Rate = cmp.Or(s.Rate, defaultRate)
	s.Budget = cmp.Or(s.Budget, defaultBudget)
	s.ModelBudget = cmp.Or(s.ModelBudget, defaultModelBudget)
	s.Shape = cmp.Or(s.Shape, defaultShape)
}

// backend says where the model is. The digest of an ONNX model is not filled in
// yet.
func (s RouteSpec) backend(r *Route) error {
	switch {
	case s.ONNX != nil && s.Upstream != "":
		return &pavise.Error{Kind: pavise.Invalid, Msg: "a route has either an ONNX model or an upstream, not both", Hint: "give --onnx FILE or --upstream URL"}
	case s.ONNX != nil && s.Remote != "", s.Remote != "" && s.Upstream == "" && r.Upstream == "":
		return &pavise.Error{Kind: pavise.Invalid, Msg: "remote is the model's name on a server, and this route has none", Hint: "give --upstream URL with --remote NAME"}
	case s.ONNX != nil:
		r.Upstream, r.Remote = "", ""
	case s.Upstream != "":
		r.ONNX, r.Upstream, r.Remote = "", s.Upstream, cmp.Or(s.Remote, r.Remote, r.Model.ID)
	case s.Remote != "":
		r.Remote = s.Remote
	case r.ONNX == "" && r.Upstream == "":
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("no route leads to %s yet, and a new one needs an ONNX model or an upstream", r.Model), Hint: "give --onnx FILE or --upstream URL"}
	}
	return nil
}

// terms reads those of the four limits that were said.
func (s RouteSpec) terms(t *firewall.Terms) error {
	for _, limit := range []struct {
		field, text string
		to          *firewall.Rate
	}{
		{"rate", s.Rate, &t.Rate},
		{"budget", s.Budget, &t.Budget},
		{"model_rate", s.ModelRate, &t.ModelRate},
		{"model_budget", s.ModelBudget, &t.ModelBudget},
	} {
		if limit.text == "" {
			continue
		}
		if limit.text == "none" && limit.to == &t.ModelRate {
			*limit.to = firewall.Rate{}
			continue
		}
		rate, err := parseRate(limit.text)
		if err != nil {
			return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s %.60q is not COUNT/TIME", limit.field, limit.text), Hint: "write it as 600/1m, or 600/1m burst 100", Err: err}
		}
		*limit.to = rate
	}
	return nil
}

// keepColumns gives ports the columns of was, and with them the bounds, if they
// are the same ports otherwise.
func keepColumns(ports, was []tensor.Port) {
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

// bound gives an input the columns that text describes, as a model's card does;
// the card's other fields mean nothing here. The error is of kind Invalid.
func bound(inputs []tensor.Port, text []byte) error {
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

// parseRate reads "600/1m" or "600/1m burst 100". Without a burst the whole
// count may come at once.
func parseRate(text string) (firewall.Rate, error) {
	limit, burst, hasBurst := strings.Cut(text, " burst ")
	count, per, ok := strings.Cut(limit, "/")
	if !ok {
		return firewall.Rate{}, fmt.Errorf("no slash")
	}
	n, err := strconv.Atoi(count)
	if err != nil {
		return firewall.Rate{}, err
	}
	d, err := time.ParseDuration(per)
	if err != nil {
		return firewall.Rate{}, err
	}
	rate := firewall.Rate{Count: n, Per: d, Burst: n}
	if hasBurst {
		if rate.Burst, err = strconv.Atoi(burst); err != nil {
			return firewall.Rate{}, err
		}
	}
	return rate, rate.Validate()
}

// parseShape reads full, label, round:DIGITS or topk:K.
func parseShape(text string) (firewall.Shape, error) {
	kind, arg, hasArg := strings.Cut(text, ":")
	s := firewall.Shape{Kind: kind}
	n, err := strconv.Atoi(arg)
	switch {
	case kind == firewall.Round && err == nil:
		s.Digits = n
	case kind == firewall.TopK && err == nil:
		s.K = n
	case (kind == firewall.Full || kind == firewall.Label) && !hasArg:
	default:
		return s, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("shape %.60q is none", text), Hint: "shapes are full, round:DIGITS, topk:K and label"}
	}
	return s, nil
}
