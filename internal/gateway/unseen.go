package gateway

import (
	"context"
	"fmt"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/tier"
)

// KindOverlooked is the kind of the note that says how much of what a model was asked its
// detectors did not see.
const KindOverlooked = "firewall.overlooked"

// tellUnseen notes what detectors did not see since that was last noted: of each model at
// most once a minute, and nothing when they saw all.
func (g *Gateway) tellUnseen(ctx context.Context) {
	all := map[pavise.Name]tier.Unseen{}
	for model, m := range g.suspects.Missed() {
		all[model] = tier.Unseen{Model: model, Requests: m.Requests, Findings: m.Findings}
	}
	for model, odd := range g.Tiers.Odd() {
		u := all[model]
		u.Model, u.Odd = model, odd
		all[model] = u
	}
	for model, u := range all {
		g.Tiers.Missed(u)
		f := pavise.Finding{Kind: KindOverlooked, Severity: pavise.Info, On: model, Summary: overlooked(u), At: g.now().UTC()}
		_ = g.guard.Note(ctx, KindOverlooked, nil, model, struct {
			Finding pavise.Finding `json:"finding"`
			tier.Unseen
		}{f, u})
	}
}

// overlooked says it in a sentence.
func overlooked(u tier.Unseen) string {
	var parts []string
	for _, p := range []struct {
		n    uint64
		what string
	}{
		{u.Requests, "did not look at %d answered requests, which came too fast or were too large"},
		{u.Odd, "could make nothing of %d, whose numbers do not lie as the calibration has them"},
		{u.Findings, "lost %d findings before they were noted"},
	} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf(p.what, p.n))
		}
	}
	return "detectors " + strings.Join(parts, ", ")
}
