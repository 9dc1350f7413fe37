package extproc_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/edge/extproc"
	"github.com/pavise/pavise/internal/edgetest"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/tier"
)

// TestTiersBehindAProxy: who is in amber gets another answer than the model server's
// through the proxy, too, and who is red is refused before the model server hears of it.
func TestTiersBehindAProxy(t *testing.T) {
	w := newWorld(t, nil, extproc.Config{})
	w.Put(t, func(s *route.Spec) { external(s); s.Alterable = new(true) })
	as := func(tr tier.Tier) {
		t.Helper()
		word := tier.Word{Model: edgetest.Model, Who: pavise.Name{Tenant: edgetest.Tenant, Kind: "workload", ID: "app"}, Tier: tr, By: edgetest.Operator.Name(), Reason: "a test"}
		if _, err := w.Tiers.Hold(t.Context(), word); err != nil {
			t.Fatal(err)
		}
	}
	as(tier.Amber)
	e := envoy{request: buffered, response: buffered, override: true, model: answering(200, scores)}
	got := e.do(t, w.conn, w.asking(nil))
	if got.err != nil || got.status != 200 || string(got.body) == edgetest.Answer || !strings.HasPrefix(string(got.body), edgetest.Answer[:80]) {
		t.Errorf("amber: %d %s", got.status, got.body)
	}
	index, err := strconv.ParseUint(got.metadata["record"].(string), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	r, err := w.Log.Read(index)
	if err != nil {
		t.Fatal(err)
	}
	if trail := trailOf(t, r); trail.Standing != "amber" || !trail.Altered || trail.Charged != 1 {
		t.Errorf("%s", r.Detail)
	}
	as(tier.Red)
	if got := e.do(t, w.conn, w.asking(nil)); got.status != 403 || !got.immediate || got.sent != nil || !strings.Contains(string(got.body), "does not answer you for now") {
		t.Errorf("red: %d %s, and the model server got %v", got.status, got.body, got.sent)
	}
}
