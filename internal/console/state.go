package console

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/figure"
	"github.com/pavise/pavise/internal/firewall"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/prompt"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/tensor"
	"github.com/pavise/pavise/internal/verbs"
)

// A routeCard is one route as it is shown.
type routeCard struct {
	route.Standing
	Backend string // where it runs
	Place   string // the digest or the address
	Terms   []term
	Prompt  []term // of a language model: what requests and answers are looked at for
	Inputs  []port
	Outputs []port
}

// Spoken reports whether the route leads to a language model.
func (r routeCard) Spoken() bool { return r.Protocol == tensor.NameOpenAI }

// A term is one limit in words.
type term struct{ Name, Text string }

// A port is one input or output of a model, in words.
type port struct {
	Name, Type string
	Columns    int
}

// routes shows what stands behind the models' names.
func (c *Console) routes(w http.ResponseWriter, r *http.Request, s *visitor) {
	var list verbs.RouteList
	if err := s.client.Call(r.Context(), "route.list", api.Empty{}, &list); err != nil {
		c.refuse(w, s, err)
		return
	}
	var cards []routeCard
	for _, route := range list.Routes {
		cards = append(cards, newRouteCard(route))
	}
	c.show(w, s, http.StatusOK, "routes", page{Title: "Routes", Here: "/registry", Body: cards})
}

func newRouteCard(r route.Standing) routeCard {
	card := routeCard{Standing: r, Backend: "ONNX, in the gateway", Place: r.ONNX, Inputs: ports(r.Signature.Inputs), Outputs: ports(r.Signature.Outputs)}
	if r.Upstream != "" {
		card.Backend, card.Place = "upstream server", r.At()
	}
	card.Place += r.Aside() + r.Heard()
	if card.Spoken() {
		card.Prompt = promptTerms(r.Prompts)
	}
	for _, t := range []struct {
		name string
		rate firewall.Rate
	}{{"rate of a caller", r.Terms.Rate}, {"budget of a caller", r.Terms.Budget}, {"rate of the model", r.Terms.ModelRate}, {"budget of the model", r.Terms.ModelBudget}, {"budget of linked callers", r.Terms.ClusterBudget}} {
		if t.rate != (firewall.Rate{}) {
			card.Terms = append(card.Terms, term{t.name, rateText(t.rate)})
		}
	}
	return card
}

// promptTerms say in words what requests to a language model and its answers are looked at
// for, as far as it is not the usual.
func promptTerms(p prompt.Policy) (all []term) {
	if p.Off {
		return []term{{"Prompts", "not looked at"}}
	}
	for _, part := range []struct {
		name string
		list prompt.Actions
	}{{"Prompts", p.Callers}, {"Prompts of trusted callers", p.Trusted}, {"Results of tools", p.Sources}, {"Answers", p.Actions}} {
		var said []string
		for _, rule := range slices.Sorted(maps.Keys(part.list)) {
			said = append(said, rule+": "+string(part.list[rule]))
		}
		switch {
		case len(said) > 0:
			all = append(all, term{part.name, strings.Join(said, ", ") + "; all else as usual"})
		case part.name == "Prompts" || part.name == "Answers":
			all = append(all, term{part.name, "looked at as usual"})
		}
	}
	if n := len(p.Canaries); n == 1 {
		all = append(all, term{"Canaries", "1, refused in answers unless said otherwise"})
	} else if n > 1 {
		all = append(all, term{"Canaries", fmt.Sprintf("%d, refused in answers unless said otherwise", n)})
	}
	if c := p.Classifier; c != nil {
		without := "passes"
		if c.Closed {
			without = "is refused"
		}
		all = append(all, term{"Classifier", fmt.Sprintf("%s, within %d ms; what it flags: %s; what it says nothing of %s", c.URL, cmp.Or(c.Timeout, classifierTime), cmp.Or(c.Action, prompt.Observe), without)})
	}
	return all
}

// classifierTime is how long a classifier has unless told otherwise, in milliseconds.
const classifierTime = 1000

// rateText says a limit as people do.
func rateText(r firewall.Rate) string {
	text := figure.Thousands(uint64(max(r.Count, 0))) + " " + r.Unit() + " / " + figure.Span(r.Per)
	if r.Burst != r.Count {
		text += ", " + figure.Thousands(uint64(max(r.Burst, 0))) + " at once"
	}
	return text
}

func ports(list []tensor.Port) []port {
	var all []port
	for _, p := range list {
		all = append(all, port{p.Name, fmt.Sprintf("%s %s", p.Datatype, dims(p.Shape)), len(p.Columns)})
	}
	return all
}

// policies shows the tenant's policies.
func (c *Console) policies(w http.ResponseWriter, r *http.Request, s *visitor) {
	var list verbs.PolicyList
	if err := s.client.Call(r.Context(), "policy.list", api.Empty{}, &list); err != nil {
		c.refuse(w, s, err)
		return
	}
	c.show(w, s, http.StatusOK, "policies", page{Title: "Policies", Here: "/access", Body: policyCards(list)})
}

// A policyPage is the body of the policies' page.
type policyPage struct {
	Digest string
	Cards  []policyCard
}

// A policyCard is one policy as it is shown.
type policyCard struct {
	guard.TenantPolicy
	Effect string // permit, forbid, or "" when the text does not say
	About  string // its @doc
}

var (
	effectOf = regexp.MustCompile(`(?m)^\s*(permit|forbid)\b`)
	aboutOf  = regexp.MustCompile(`@doc\("((?:[^"\\]|\\.)*)"\)`)
)

func policyCards(list verbs.PolicyList) policyPage {
	p := policyPage{Digest: list.Digest}
	for _, one := range list.Policies {
		card := policyCard{TenantPolicy: one}
		if m := effectOf.FindStringSubmatch(one.Text); m != nil {
			card.Effect = m[1]
		}
		if m := aboutOf.FindStringSubmatch(one.Text); m != nil {
			card.About = m[1]
		}
		p.Cards = append(p.Cards, card)
	}
	return p
}
