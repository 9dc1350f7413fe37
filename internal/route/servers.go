package route

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/infer"
	"github.com/pavise/pavise/internal/tensor"
	"github.com/pavise/pavise/internal/upstream"
)

// A Replica is a further server of the same model, beside a route's first.
type Replica struct {
	URL    string `json:"url"`
	Weight int    `json:"weight"` // its share of the calls, 0 to upstream.MaxWeight; at 0 it gets none
}

// How a server is picked for a call, as a route says it. A route that says nothing takes
// turns.
const (
	balanceTurns  = "round-robin"
	balanceLeast  = "least-request"
	balanceCaller = "caller" // the calls of one caller meet on one server, whose cache stays warm
)

var balances = map[string]upstream.Balance{"": upstream.RoundRobin, balanceTurns: upstream.RoundRobin, balanceLeast: upstream.LeastRequest, balanceCaller: upstream.Hash}

// PerCaller reports whether the calls of one caller meet on one server.
func (r Route) PerCaller() bool { return r.Balance == balanceCaller }

// nothing takes away the replicas or the shadow of a route, in words.
const nothing = "none"

// endpoints are the servers of a route with an upstream, with their shares: the first
// server first.
func (r Route) endpoints() []upstream.Endpoint {
	first := upstream.Endpoint{URL: r.Upstream, Weight: 1}
	if r.Weight != nil {
		first.Weight = *r.Weight
	}
	all := []upstream.Endpoint{first}
	for _, s := range r.Replicas {
		all = append(all, upstream.Endpoint(s))
	}
	return all
}

// addresses are the servers of a route in one order, whatever their shares.
func (r Route) addresses() (all []string) {
	for _, e := range r.endpoints() {
		all = append(all, e.URL)
	}
	slices.Sort(all)
	return all
}

// sameShares reports whether two routes that lead to the same model ask the same servers
// and versions equally often, and pick them alike.
func (r Route) sameShares(other Route) bool {
	return r.Balance == other.Balance && slices.Equal(r.endpoints(), other.endpoints()) && slices.Equal(r.Versions, other.Versions)
}

// copied is where the shadow of a route is.
func (r Route) copied() infer.Place {
	return infer.Place{Address: r.Shadow, Model: cmp.Or(r.ShadowRemote, r.Remote, r.Model.ID), Protocol: r.Place().Protocol, TLS: r.TLS}
}

// answers says what answers on a route, as its records do: a digest, or an address, and
// how many more there are.
func (r Route) answers() string {
	if n := len(r.Replicas) + len(r.further()); n > 0 {
		return fmt.Sprintf("%s and %d more", cmp.Or(r.ONNX, r.Upstream), n)
	}
	return cmp.Or(r.ONNX, r.Upstream)
}

// listed spells the addresses of a route's servers for people: all of a few, and how many
// more there are.
func (r Route) listed() string {
	all := r.addresses()
	if most := 8; len(all) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(all[:most], ", "), len(all)-most)
	}
	return strings.Join(all, ", ")
}

// servers says which servers a route has, how often each is asked, and which shadow
// hears them. was are those that it had, before another first one was named. The error
// is of kind Invalid.
func (s Spec) servers(r *Route, was []upstream.Endpoint) error {
	urls := s.Replicas
	switch {
	case len(urls) == 1 && urls[0] == nothing:
		urls = nil
	case len(urls) > 0:
	case r.Upstream != was[0].URL && len(r.Replicas) > 0:
		return &pavise.Error{
			Kind: pavise.Invalid, Msg: fmt.Sprintf("%s has %d further servers beside %s, and it is not said whether they stay beside %s", r.Model, len(r.Replicas), was[0].URL, r.Upstream),
			Hint: "say which there are beside the new one: --replica URL for each, or --replica none",
		}
	default:
		for _, e := range r.Replicas {
			urls = append(urls, e.URL)
		}
	}
	if len(urls) >= upstream.MaxEndpoints {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%d replicas, and a route has %d servers at most", len(urls), upstream.MaxEndpoints)}
	}
	ofServers := slices.DeleteFunc(slices.Clone(s.Weights), ofVersion)
	shares, err := upstream.Shares(append([]string{r.Upstream}, urls...), was, ofServers)
	if err != nil {
		return err
	}
	r.Weight, r.Replicas = nil, nil
	if shares[r.Upstream] != 1 {
		r.Weight = new(shares[r.Upstream])
	}
	for _, url := range urls {
		r.Replicas = append(r.Replicas, Replica{url, shares[url]})
	}
	if s.Balance != "" {
		r.Balance = s.Balance
	}
	if r.Balance == balanceTurns { // which goes without saying
		r.Balance = ""
	}
	switch {
	case s.Shadow == nothing:
		r.Shadow, r.ShadowRemote = "", ""
	case s.Shadow != "":
		r.Shadow, r.ShadowRemote = s.Shadow, s.ShadowName
	case s.ShadowName != "":
		r.ShadowRemote = s.ShadowName
	}
	return r.checkServers()
}

// checkServers reports, as an error of kind Invalid, what is wrong with a route's
// servers and its shadow.
func (r Route) checkServers() error {
	refuse := func(hint, format string, args ...any) error {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf(format, args...), Hint: hint}
	}
	own := r.Upstream != "" && r.Upstream != infer.External
	if _, known := balances[r.Balance]; !known {
		return refuse("write "+balanceTurns+", "+balanceLeast+" or "+balanceCaller, "balance %.60q is none", r.Balance)
	}
	if !own && (len(r.Replicas) > 0 || r.Weight != nil || r.Balance != "" && r.ONNX == "" && r.Upstream != "") {
		return refuse("give --upstream URL, the first of them", "replicas, weights and a balance are of model servers that Pavise asks itself, and %s has none", r.Model)
	}
	if own {
		if err := upstream.Validate(r.endpoints()); err != nil {
			return err
		}
	}
	switch {
	case r.Shadow == "" && r.ShadowRemote != "":
		return refuse("give --shadow URL with it", "the name of a shadow on its server is given, and no shadow")
	case r.Shadow == "":
		return nil
	case r.Protocol == tensor.NameOpenAI:
		return refuse("put the candidate as a route of its own, and compare there", "a language model has no shadow: two texts cannot be compared row by row")
	case r.Shadow == infer.External:
		return refuse("give its address", "a shadow cannot be external: nobody carries a copy to it")
	}
	if err := upstream.Validate([]upstream.Endpoint{{URL: r.Shadow, Weight: 1}}); err != nil {
		return err
	}
	return r.copied().Validate()
}

// lease is the route's use of its servers; nil: its model runs here, or behind a proxy.
func (l *Live) lease() *infer.Lease {
	var lease *infer.Lease
	if up, ok := l.Predictor.(*infer.Upstream); ok {
		lease = up.Lease
	}
	if l.Chat != nil {
		lease = l.Chat.Lease
	}
	if lease == nil || lease.Cluster() == nil {
		return nil
	}
	return lease
}

// inherit lets a route go on with the model of the one before it, if it leads to the
// same: calls under way end there, and connections and what is known of servers stay.
func (l *Live) inherit(was *Live) bool {
	if was == nil || !was.sameModel(l.Route) || !reflect.DeepEqual(was.Signature, l.Signature) {
		return false
	}
	l.Predictor, l.Chat, l.Mirror, l.loaded = was.Predictor, was.Chat, was.Mirror, was.loaded
	l.turn()
	if reflect.DeepEqual(was.Prompts.Classifier, l.Prompts.Classifier) {
		l.Judge = was.Judge
	} else if was.Judge != nil {
		was.Judge.Close() // questions under way are answered
	}
	return true
}

// settle gives the servers of a route that inherited its model the shares of today.
func (l *Live) settle() error {
	if lease := l.lease(); lease != nil {
		return lease.Move(l.endpoints(), balances[l.Balance])
	}
	return nil
}

// A Server is how one server of a route does, at the gateway that is asked.
type Server struct {
	URL      string `json:"url"`
	Weight   int    `json:"weight"`
	Out      bool   `json:"out,omitempty"`     // it failed, and gets no calls for a while
	Leaving  bool   `json:"leaving,omitempty"` // it is no server of the route any more, and ends its last calls
	Active   int    `json:"active,omitempty"`  // calls under way
	Answers  uint64 `json:"answers,omitempty"`
	Failures uint64 `json:"failures,omitempty"`
}

// state is how the servers of a route do.
func (l *Live) state() (all []Server) {
	lease := l.lease()
	if lease == nil {
		return nil
	}
	for _, e := range lease.Cluster().Stats().Endpoints {
		all = append(all, Server{URL: e.URL, Weight: e.Weight, Out: e.Ejected, Leaving: e.Leaving, Active: e.Active, Answers: e.Answers, Failures: e.Failures})
	}
	return all
}
