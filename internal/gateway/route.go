package gateway

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/firewall"
)

// A Route says what stands behind a model's name, and on what terms callers may
// ask it.
type Route struct {
	Model     pavise.Name        `json:"model"`
	ONNX      string             `json:"onnx,omitempty"`     // digest of the model that runs in this process
	Upstream  string             `json:"upstream,omitempty"` // or the address of the server it runs on
	Remote    string             `json:"remote,omitempty"`   // and its name there
	Signature firewall.Signature `json:"signature"`
	MaxRows   int                `json:"max_rows"` // rows in one request
	Terms     firewall.Terms     `json:"terms"`
	Shape     firewall.Shape     `json:"shape"`
	Purpose   string             `json:"purpose,omitempty"`   // what the answers decide: security, health, access …
	Alterable bool               `json:"alterable,omitempty"` // the owner lets answers be altered, and the callers' terms say so
	Observe   bool               `json:"observe,omitempty"`   // record what would be denied, and let it pass
	Durable   bool               `json:"durable,omitempty"`   // answers wait until their record survives power loss
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

// A RouteSpec is what route.put is asked for: a Route in words.
type RouteSpec struct {
	Name        string              `json:"name" arg:"" help:"the model's name, as tenant/model/id" doc:"the model's name, as tenant/model/id"`
	ONNX        []byte              `json:"onnx,omitempty" type:"filecontent" xor:"backend" placeholder:"FILE" help:"run this ONNX model in the gateway" doc:"an ONNX model to run in the gateway"`
	Upstream    string              `json:"upstream,omitempty" xor:"backend" placeholder:"URL" help:"ask the model server at this address (Open Inference Protocol v2)" doc:"address of a model server (Open Inference Protocol v2)"`
	Remote      string              `json:"remote,omitempty" help:"the model's name on the server, if it is another" doc:"the model's name on the server, if it is another"`
	Signature   *firewall.Signature `json:"signature,omitempty" kong:"-" doc:"what the model takes and gives; asked of the model when absent"`
	MaxRows     int                 `json:"max_rows,omitempty" help:"rows in one request (default 256)" doc:"rows in one request; 256 when absent"`
	Rate        string              `json:"rate,omitempty" help:"rows of each caller, as COUNT/TIME with an optional burst (default '1200/1m burst 300')" doc:"rows of each caller, as COUNT/TIME with an optional burst"`
	Budget      string              `json:"budget,omitempty" help:"rows of each caller in a longer window (default '100000/24h')" doc:"rows of each caller in a longer window, as COUNT/TIME"`
	ModelRate   string              `json:"model_rate,omitempty" help:"rows of all callers together (default: none)" doc:"rows of all callers together, as COUNT/TIME with an optional burst"`
	ModelBudget string              `json:"model_budget,omitempty" help:"rows of all callers together in a longer window (default '1000000/24h')" doc:"rows of all callers together in a longer window, as COUNT/TIME"`
	Shape       string              `json:"shape,omitempty" help:"how much of the scores an answer tells: full, round:DIGITS, topk:K or label (default round:4)" doc:"how much of the scores an answer tells: full, round:DIGITS, topk:K or label"`
	Purpose     string              `json:"purpose,omitempty" help:"what the answers decide; security, health and access cannot be alterable" doc:"what the answers decide; security, health and access cannot be alterable"`
	Alterable   bool                `json:"alterable,omitempty" help:"the owner lets answers be altered beyond rounding, and the callers' terms say so" doc:"the owner lets answers be altered beyond rounding, and the callers' terms say so"`
	Observe     bool                `json:"observe,omitempty" help:"record what would be denied, and let it pass" doc:"record what would be denied, and let it pass"`
	Durable     bool                `json:"durable,omitempty" help:"let answers wait until their record survives power loss" doc:"let answers wait until their record survives power loss"`
}

// route reads the words. What the model takes and where it is are not filled in
// yet. The error is of kind Invalid, or Denied for a shape the purpose bars.
func (s RouteSpec) route() (Route, error) {
	name, err := pavise.ParseName(s.Name)
	if err != nil {
		return Route{}, err
	}
	if name.Kind != "model" {
		return Route{}, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s is a %s; a route leads to a model", name, name.Kind), Hint: "write it as tenant/model/id"}
	}
	if (len(s.ONNX) > 0) == (s.Upstream != "") {
		return Route{}, &pavise.Error{Kind: pavise.Invalid, Msg: "a route has either an ONNX model or an upstream, and exactly one of them", Hint: "give --onnx FILE or --upstream URL"}
	}
	r := Route{
		Model: name, Upstream: s.Upstream, Remote: cmp.Or(s.Remote, name.ID), MaxRows: s.MaxRows,
		Purpose: s.Purpose, Alterable: s.Alterable, Observe: s.Observe, Durable: s.Durable,
	}
	if s.Upstream == "" {
		r.Remote = ""
	}
	if r.MaxRows == 0 {
		r.MaxRows = defaultMaxRows
	}
	if r.MaxRows < 0 || r.MaxRows > firewall.DefaultLimits().MaxRows {
		return Route{}, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("max_rows is %d, not between 1 and %d", r.MaxRows, firewall.DefaultLimits().MaxRows)}
	}
	if err := s.terms(&r.Terms); err != nil {
		return Route{}, err
	}
	if r.Shape, err = parseShape(cmp.Or(s.Shape, defaultShape)); err != nil {
		return Route{}, err
	}
	return r, r.Shape.Validate(r.Alterable, r.Purpose)
}

// terms reads the four limits.
func (s RouteSpec) terms(t *firewall.Terms) error {
	for _, limit := range []struct {
		field, text string
		to          *firewall.Rate
	}{
		{"rate", cmp.Or(s.Rate, defaultRate), &t.Rate},
		{"budget", cmp.Or(s.Budget, defaultBudget), &t.Budget},
		{"model_rate", s.ModelRate, &t.ModelRate},
		{"model_budget", cmp.Or(s.ModelBudget, defaultModelBudget), &t.ModelBudget},
	} {
		if limit.text == "" {
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
