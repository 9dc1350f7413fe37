package route

import (
	"cmp"
	"encoding/json"
	"fmt"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/embedding"
	"github.com/pavise/pavise/internal/firewall"
	"github.com/pavise/pavise/internal/infer"
	"github.com/pavise/pavise/internal/pace"
	"github.com/pavise/pavise/internal/prompt"
	"github.com/pavise/pavise/internal/tensor"
)

// A Route says what stands behind a model's name, and on what terms callers may
// ask it.
type Route struct {
	Model      pavise.Name      `json:"model"`
	ONNX       string           `json:"onnx,omitempty"`     // digest of the model that runs in this process
	Upstream   string           `json:"upstream,omitempty"` // or the address of the server it runs on
	Remote     string           `json:"remote,omitempty"`   // and its name there
	Protocol   string           `json:"protocol,omitempty"` // and what the server speaks, as tensor.Named has it; empty: oip
	TLS        string           `json:"tls,omitempty"`      // and by which options of TLS it is asked, as the gateway's configuration names them; empty: by none of their own
	Version    string           `json:"version,omitempty"`  // the one version of the model that is asked; empty: the server's choice
	Weight     *int             `json:"weight,omitempty"`   // the server's share of the calls, beside replicas; nil: 1
	Replicas   []Replica        `json:"replicas,omitempty"` // further servers of the same model
	Balance    string           `json:"balance,omitempty"`  // how one is picked: least-request, caller; empty: they take turns
	Versions   []Version        `json:"versions,omitempty"` // ONNX models that answer in shares, the first of them ONNX; none: that one answers all
	Signature  tensor.Signature `json:"signature"`
	MaxRows    int              `json:"max_rows"` // rows in one request
	Terms      firewall.Terms   `json:"terms"`
	Shape      firewall.Shape   `json:"shape"`
	Fields     firewall.Fields  `json:"fields,omitzero"`     // of a language model: who may use which fields
	Prompts    prompt.Policy    `json:"prompts,omitzero"`    // of a language model: what requests and answers are looked at for
	Drift      *firewall.Drift  `json:"drift,omitempty"`     // what the rows of many requests are held to; nil: nothing is
	Ladder     pace.Ladder      `json:"ladder,omitzero"`     // when answers leave; the zero one: when they are ready
	Pace       pace.Beat        `json:"pace,omitempty"`      // of a language model: how often a stream is written to; 0: with each event
	Embeddings embedding.Terms  `json:"embeddings,omitzero"` // of a language model: what is done to the vectors it gives
	// Calibration is the digest of what the callers are held to by the detectors of those
	// who copy models; empty: nobody looks. Amber is what those get whom they find, as
	// tier.ParseMeasure reads it; empty: guard where the route is alterable, else budget.
	// Mark is the share of inputs on which their answers are marked; 0: none is.
	Calibration string  `json:"calibration,omitempty"`
	Amber       string  `json:"amber,omitempty"`
	Mark        float64 `json:"mark,omitempty"`

	Purpose   string `json:"purpose,omitempty"`   // what the answers decide: security, health, access …
	Alterable bool   `json:"alterable,omitempty"` // the owner lets answers be altered, and the callers' terms say so
	Observe   bool   `json:"observe,omitempty"`   // record what would be denied, and let it pass
	Durable   bool   `json:"durable,omitempty"`   // answers wait until their record survives power loss
	// Shadow is the address of a server whose model gets a copy of every request, and
	// whose answers reach nobody; empty: there is none. ShadowRemote is its name there;
	// empty: as the route's.
	Shadow       string `json:"shadow,omitempty"`
	ShadowRemote string `json:"shadow_remote,omitempty"`
	ShadowONNX   string `json:"shadow_onnx,omitempty"` // or the digest of a model that hears them in this process
}

// What a route has when nobody says otherwise: generous for a program that asks
// now and then, slow for one that copies.
const (
	defaultMaxRows     = 256
	defaultRate        = "1200/1m burst 300"
	defaultBudget      = "100000/24h"
	defaultModelBudget = "1000000/24h"
	DefaultShape       = "round:4"
)

// A Spec is what route.put is asked for: a Route in words. On a route that
// exists, what is left out stays as it is; a new one takes the defaults.
type Spec struct {
	Name          string          `json:"name" arg:"" help:"the model's name: its id, or tenant/model/id" doc:"the model's name, as tenant/model/id"`
	ONNX          []byte          `json:"onnx,omitzero" type:"filecontent" xor:"backend" placeholder:"FILE" help:"run this ONNX model in the gateway" doc:"an ONNX model to run in the gateway"`
	Upstream      string          `json:"upstream,omitempty" xor:"backend" placeholder:"URL" help:"ask the model server at this address, or external: a proxy that asks Pavise carries requests to it" doc:"address of a model server, or external: a proxy that asks Pavise carries requests to it"`
	Remote        string          `json:"remote,omitempty" placeholder:"NAME" help:"the model's name on the server, if it is another" doc:"the model's name on the server, if it is another"`
	Protocol      string          `json:"protocol,omitempty" placeholder:"NAME" help:"what the model server speaks: oip, oip-binary, oip-grpc, v1 (KServe), tfserving, torchserve, mlflow or openai (a new server: oip)" doc:"what the model server speaks: oip, oip-binary, oip-grpc, v1 (KServe), tfserving, torchserve, mlflow or openai; oip for a new server"`
	Version       string          `json:"version,omitempty" name:"model-version" placeholder:"VERSION" help:"the one version of the model that is asked, and that callers may name (a new server: its own choice)" doc:"the one version of the model that is asked, and that callers may name; the server chooses when absent"`
	TLS           string          `json:"tls,omitempty" placeholder:"NAME" help:"the options of TLS by which the servers and the shadow are asked, as model_tls in pavise.yaml of the gateway's machine names them: authorities, a client certificate, a server name. none takes them away" doc:"the options of TLS by which the servers and the shadow are asked, as model_tls in pavise.yaml of the gateway's machine names them; none takes them away"`
	Replicas      []string        `json:"replicas,omitempty" name:"replica" sep:"none" placeholder:"URL" help:"a further server of the same model; may be repeated, and the list is whole each time. none takes all away" doc:"further servers of the same model, the whole list; none, alone, takes all away"`
	Beside        []byte          `json:"beside,omitzero" type:"filecontent" placeholder:"FILE" help:"a further ONNX model that answers beside the one that runs in the gateway, in the share that --weight gives it (a new one: 0)" doc:"a further ONNX model that answers beside the one that runs in the gateway, in the share that weights give it; 0 for a new one"`
	Keep          []string        `json:"keep,omitempty" sep:"none" placeholder:"DIGEST" help:"which of the further ONNX models stay; may be repeated, and the list is whole each time. none takes all away" doc:"which of the further ONNX models stay, the whole list, by digest; none, alone, takes all away"`
	Weights       []string        `json:"weights,omitempty" name:"weight" sep:"none" placeholder:"URL=SHARE" help:"how often a server is asked beside the others, 0 to 10000: 0 is never (a new server: 1); may be repeated. Of an ONNX model beside others write DIGEST=SHARE" doc:"how often servers are asked beside the others, as URL=SHARE: 0 to 10000, 0 is never, 1 for a new server; of ONNX models beside others, DIGEST=SHARE"`
	Balance       string          `json:"balance,omitempty" placeholder:"NAME" help:"how a server, or one of several ONNX models, is picked: round-robin, least-request, or caller, which keeps each caller on one (a new route: round-robin)" doc:"how a server, or one of several ONNX models, is picked: round-robin, least-request (of servers alone), or caller, which keeps each caller on one"`
	Shadow        string          `json:"shadow,omitempty" placeholder:"URL" help:"a server whose model gets a copy of every request, and whose answers are compared and go to nobody; none takes it away" doc:"a server whose model gets a copy of every request, and whose answers are compared and go to nobody; none takes it away"`
	ShadowONNX    []byte          `json:"shadow_onnx,omitzero" name:"shadow-onnx" type:"filecontent" placeholder:"FILE" help:"an ONNX model that runs in the gateway, gets a copy of every request, and whose answers are compared and go to nobody" doc:"an ONNX model that runs in the gateway, gets a copy of every request, and whose answers are compared and go to nobody"`
	ShadowName    string          `json:"shadow_remote,omitempty" name:"shadow-remote" placeholder:"NAME" help:"the shadow's name on its server, if it is another" doc:"the shadow's name on its server, if it is another"`
	Signature     json.RawMessage `json:"signature,omitzero" type:"filecontent" placeholder:"FILE" help:"what the model takes and gives, as JSON, where its server cannot say: {\"inputs\": [{\"name\": \"x\", \"datatype\": \"FP32\", \"shape\": [-1, 4]}], \"outputs\": […]}. -1 takes any size, and dimension 0 counts rows" doc:"what the model takes and gives; asked of a new model when absent"`
	Bounds        json.RawMessage `json:"bounds,omitzero" type:"filecontent" placeholder:"FILE" help:"what each column of an input may hold, as JSON: {\"input\": NAME, \"features\": [{\"name\": …, \"min\": …, \"max\": …}, …]}. A new model of the same inputs keeps the bounds; for other inputs they end" doc:"what each column of an input may hold: {input, features: [{name, min, max}, …]}, where min and max may be absent. A new model of the same inputs keeps the bounds; for other inputs they end"`
	Baseline      json.RawMessage `json:"baseline,omitzero" type:"filecontent" placeholder:"FILE" help:"how the values of each column are spread in the rows that the model was made for, as JSON: {\"input\": NAME, \"features\": [{\"name\": …, \"edges\": [1, …], \"shares\": [0.5, …]}, …]}, or with quantiles for edges and shares. Requests that drift from it are told (--drift)" doc:"how the values of each column are spread in the rows that the model was made for: {input, features: [{name, edges, shares, quantiles, min, max}, …]}, where the shares between edges are one more than those, and quantiles are evenly spaced. A new model of the same inputs keeps the baseline; for other inputs it ends"`
	Drift         string          `json:"drift,omitempty" placeholder:"WHAT" help:"what follows when the inputs have drifted from the baseline: alarm, deny (refuse requests until a whole window of rows is like the baseline again), or off, which ends the baseline (a new baseline: alarm)" doc:"what follows when the inputs have drifted from the baseline: alarm, deny, or off, which ends the baseline; alarm with a new baseline"`
	Calibration   json.RawMessage `json:"calibration,omitzero" type:"filecontent" placeholder:"FILE" help:"what honest callers are like, as pavise firewall calibrate writes it: who is unlike them is in amber for a day after each sighting. Another model ends it" doc:"what honest callers are like, as pavise firewall calibrate writes it: who is unlike them is in amber for a day after each sighting. none takes it away, and another model ends it"`
	Amber         string          `json:"amber,omitempty" placeholder:"WHAT" help:"what callers in amber get: guard (probabilities that mislead whoever trains on them, and keep their top), round:DIGITS, topk:K or label, all of them for alterable routes only; budget (answers as before, on a quarter of the rate and the budget); or off, which takes the calibration away (a new calibration: guard if the route is alterable, else budget)" doc:"what callers in amber get: guard, round:DIGITS, topk:K or label, for alterable routes only; budget, which is a quarter of the rate and the budget; or off, which takes the calibration away. guard if the route is alterable, else budget"`
	Mark          string          `json:"mark,omitempty" placeholder:"SHARE" help:"on which share of inputs callers in amber are given another class, by a secret key, so that a copy can be known (0.005 is usual); for alterable routes only. none takes it away" doc:"on which share of inputs callers in amber are given another class, by a secret key, so that a copy can be known: 0.005 is usual; for alterable routes only. none takes it away"`
	MaxRows       int             `json:"max_rows,omitempty" minimum:"1" help:"rows in one request (a new route: 256)" doc:"rows in one request; 256 for a new route"`
	Rate          string          `json:"rate,omitempty" help:"rows of each caller, as COUNT/TIME with an optional burst (a new route: '1200/1m burst 300')" doc:"rows of each caller, as COUNT/TIME with an optional burst"`
	Budget        string          `json:"budget,omitempty" help:"rows of each caller in a longer window, or bits that their answers disclose, as '2000000 bits/24h' (a new route: '100000/24h')" doc:"rows of each caller in a longer window, as COUNT/TIME, or bits that their answers disclose, as COUNT bits/TIME"`
	ModelRate     string          `json:"model_rate,omitempty" help:"rows of all callers together, or none for no such limit (a new route: none)" doc:"rows of all callers together, as COUNT/TIME with an optional burst, or none for no such limit"`
	ModelBudget   string          `json:"model_budget,omitempty" help:"rows or bits of all callers together in a longer window (a new route: '1000000/24h')" doc:"rows of all callers together in a longer window, as COUNT/TIME, or bits, as COUNT bits/TIME"`
	ClusterBudget string          `json:"cluster_budget,omitempty" placeholder:"BUDGET" help:"rows or bits, in a longer window, of callers together whom something links: the same maker, network or rows (docs/theft.md). It takes a calibration, without which nobody is linked. none takes it away (a new route: none)" doc:"rows or bits, in a longer window, of callers together whom something links: the same maker, network or rows. It takes a calibration, without which nobody is linked. none takes it away"`
	Shape         string          `json:"shape,omitempty" help:"how much of the scores an answer tells: full, round:DIGITS, topk:K or label (a new route: round:4)" doc:"how much of the scores an answer tells: full, round:DIGITS, topk:K or label"`
	Fields        json.RawMessage `json:"fields,omitzero" type:"filecontent" placeholder:"FILE" help:"of a language model, who may use which fields of its protocol, as JSON: {\"trusted\": [ROLE, …], \"internal\": [ROLE, …], \"max_tokens\": 4096, \"drop\": false, \"links\": false, \"allow\": [FIELD, …], \"cache_salt\": false}. What is left out is nobody, or false" doc:"of a language model, who may use which fields of its protocol: {trusted, internal, max_tokens, drop, links, allow, cache_salt}; what is left out is nobody, or false"`
	Prompts       json.RawMessage `json:"prompts,omitzero" type:"filecontent" placeholder:"FILE" help:"of a language model, what requests and answers are looked at for, as JSON: {\"callers\": {RULE: ACTION, …}, \"trusted\": {…}, \"sources\": {…}, \"answers\": {…}, \"canaries\": [TEXT, …], \"classifier\": {\"url\": URL, \"timeout_ms\": 1000, \"closed\": false, \"action\": ACTION}, \"off\": false}. Actions are off, observe, alert and refuse; rules and their defaults are in docs/prompts.md. What is left out takes its default" doc:"of a language model, what requests and answers are looked at for: {callers, trusted, sources, answers, canaries, classifier, off}, where the first four say off, observe, alert or refuse for rules or families; what is left out takes its default"`
	Classifier    string          `json:"classifier,omitempty" placeholder:"URL" help:"of a language model, somebody outside who is asked what they make of each request (docs/formats/classifier.md); none takes them away" doc:"of a language model, somebody outside who is asked what they make of each request; none takes them away"`
	Ladder        string          `json:"ladder,omitempty" placeholder:"TIMES" help:"the times since a request was read at which its answer may leave: FIRST..TOP, each 1.25 times the one before, FIRST xFACTOR to TOP, or one time. Put FIRST above what the model usually takes: answers on one rung look alike. none takes it away" doc:"the times since a request was read at which its answer may leave: FIRST..TOP, each 1.25 times the one before, FIRST xFACTOR to TOP, or one time; none takes it away"`
	Pace          string          `json:"pace,omitempty" placeholder:"TIME" help:"of a language model, the time between two writes to a stream, such as 50ms: events leave together, with padding that clients read past. none takes it away" doc:"of a language model, the time between two writes to a stream: events leave together, with padding that clients read past; none takes it away"`
	Embeddings    string          `json:"embeddings,omitempty" placeholder:"WHAT" help:"of a language model that is alterable, what is done to its vectors: rotate:EPOCH, by the tenant's key, so that they are near to each other and to no other tenant's, noise:QUIET%..FULL%, for who covers so much of the space, or both with a comma in between. Another epoch is another rotation: indexes are made anew. none takes it away" doc:"of a language model that is alterable, what is done to its vectors: rotate:EPOCH, noise:QUIET%..FULL%, or both with a comma in between; none takes it away"`
	Purpose       string          `json:"purpose,omitempty" help:"what the answers decide; security, health and access cannot be alterable" doc:"what the answers decide; security, health and access cannot be alterable"`
	Alterable     *bool           `json:"alterable,omitempty" negatable:"" help:"the owner lets answers be altered beyond rounding, and the callers' terms say so" doc:"the owner lets answers be altered beyond rounding, and the callers' terms say so"`
	Observe       *bool           `json:"observe,omitempty" negatable:"" help:"record what would be denied by policy, rates, budgets and limits, and let it pass; malformed requests are refused all the same" doc:"record what would be denied by policy, rates, budgets and limits, and let it pass; malformed requests are refused all the same"`
	Durable       *bool           `json:"durable,omitempty" negatable:"" help:"let answers wait until their record survives power loss" doc:"let answers wait until their record survives power loss"`
}

// Limits are the terms as callers are held to them: those in bits as so many rows as answers
// of the route disclose no more in. The error is of kind Invalid.
func (r Route) Limits() (firewall.Terms, error) {
	if !r.Terms.Bits() {
		return r.Terms, nil
	}
	if r.Language() {
		return r.Terms, &pavise.Error{Kind: pavise.Invalid, Msg: "a limit in bits is for scores, and a language model answers with texts", Hint: "give it in rows, as 1000/24h"}
	}
	bits, err := r.Shape.Disclosed(r.Signature.Outputs)
	if err != nil {
		return r.Terms, err
	}
	return r.Terms.InRows(bits)
}

// Model returns the name of the model, which is the one thing to know before
// the guard is asked. The error is of kind Invalid.
func (s Spec) Model() (pavise.Name, error) {
	name, err := pavise.ParseName(s.Name)
	if err == nil && name.Kind != "model" {
		err = &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s is a %s; a route leads to a model", name, name.Kind), Hint: "write it as tenant/model/id"}
	}
	return name, err
}

// route says in full what the words make of was, which is nil when there is no
// such route. What a model that the words name takes and gives is not filled in
// yet. The error is of kind Invalid, or Denied for a shape the purpose bars.
func (s Spec) route(was *Route) (Route, error) {
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
	servers := r.endpoints()
	if err := s.backend(&r); err != nil {
		return Route{}, err
	}
	if err := s.servers(&r, servers); err != nil {
		return Route{}, err
	}
	r.MaxRows = cmp.Or(s.MaxRows, r.MaxRows)
	if r.MaxRows < 1 || r.MaxRows > tensor.DefaultLimits().MaxRows {
		return Route{}, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("max_rows is %d, not between 1 and %d", r.MaxRows, tensor.DefaultLimits().MaxRows)}
	}
	if err := r.Terms.Change(s.Rate, s.Budget, s.ModelRate, s.ModelBudget, s.ClusterBudget); err != nil {
		return Route{}, err
	}
	if s.Shape != "" {
		if r.Shape, err = firewall.ParseShape(s.Shape); err != nil {
			return Route{}, err
		}
	}
	if err := s.language(&r); err != nil {
		return Route{}, err
	}
	if err := s.timing(&r); err != nil {
		return Route{}, err
	}
	r.Purpose = cmp.Or(s.Purpose, r.Purpose)
	for _, flag := range []struct{ said, to *bool }{{s.Alterable, &r.Alterable}, {s.Observe, &r.Observe}, {s.Durable, &r.Durable}} {
		if flag.said != nil {
			*flag.to = *flag.said
		}
	}
	if err := s.vectors(&r); err != nil {
		return Route{}, err
	}
	return r, r.Shape.Validate(r.Alterable, r.Purpose)
}

// defaults fills in what nobody said of a new route.
func (s *Spec) defaults() {
	s.MaxRows = cmp.Or(s.MaxRows, defaultMaxRows)
	s.Rate = cmp.Or(s.Rate, defaultRate)
	s.Budget = cmp.Or(s.Budget, defaultBudget)
	s.ModelBudget = cmp.Or(s.ModelBudget, defaultModelBudget)
	s.Shape = cmp.Or(s.Shape, DefaultShape)
}

// backend says where the model is. The digest of an ONNX model is not filled in
// yet.
func (s Spec) backend(r *Route) error {
	switch {
	case s.ONNX != nil && s.Upstream != "":
		return &pavise.Error{Kind: pavise.Invalid, Msg: "a route has either an ONNX model or an upstream, not both", Hint: "give --onnx FILE or --upstream URL"}
	case s.ofServer() && (s.ONNX != nil || s.Upstream == "" && r.Upstream == ""):
		return &pavise.Error{Kind: pavise.Invalid, Msg: "remote, protocol, version and tls are how a model is asked for by its name on a server, and this route has none", Hint: "give --upstream URL with --remote NAME, --protocol NAME, --model-version VERSION or --tls NAME"}
	case s.ONNX != nil:
		if r.Upstream != "" {
			r.Balance = ""
		}
		r.Upstream, r.Remote, r.Protocol, r.Version, r.TLS = "", "", "", "", ""
		r.Weight, r.Replicas = nil, nil
	case s.Upstream != "" || s.ofServer():
		r.ONNX, r.Upstream, r.Remote = "", cmp.Or(s.Upstream, r.Upstream), cmp.Or(s.Remote, r.Remote, r.Model.ID)
		r.Protocol, r.Version = cmp.Or(s.Protocol, r.Protocol), cmp.Or(s.Version, r.Version)
		if r.TLS = cmp.Or(s.TLS, r.TLS); s.TLS == nothing {
			r.TLS = ""
		}
		if r.Upstream == infer.External {
			r.Weight, r.Replicas, r.Balance = nil, nil, ""
		}
		if r.Protocol == tensor.NameOIP { // what routes spoke before there was a choice
			r.Protocol = ""
		}
		return r.Place().Validate()
	case r.ONNX == "" && r.Upstream == "":
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("no route leads to %s yet, and a new one needs an ONNX model or an upstream", r.Model), Hint: "give --onnx FILE or --upstream URL"}
	}
	return nil
}

// ofServer reports whether the words say how a server is asked.
func (s Spec) ofServer() bool {
	return s.Remote != "" || s.Protocol != "" || s.Version != "" || s.TLS != ""
}

// namesModel reports whether the words say what is to answer.
func (s Spec) namesModel() bool { return s.ONNX != nil || s.Upstream != "" || s.ofServer() }

// place is where the model of a route with an upstream is.
func (r Route) Place() infer.Place {
	return infer.Place{Address: r.Upstream, Model: r.Remote, Version: r.Version, Protocol: cmp.Or(r.Protocol, tensor.NameOIP), TLS: r.TLS}
}
