package edge_test

import (
	"slices"
	"testing"

	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/edgetest"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/tier"
)

// TestTiersByGRPC: who is in amber gets another answer of the same top, and who is red is
// refused in gRPC's own words.
func TestTiersByGRPC(t *testing.T) {
	w := edgetest.New(t)
	w.Put(t, func(s *route.Spec) { s.Alterable = new(true) })
	conn, ctx := dial(t, w), as(t.Context(), w.Token)
	ask := func(tr tier.Tier) ([]float64, error) {
		t.Helper()
		word := tier.Word{Model: edgetest.Model, Who: pavise.Name{Tenant: edgetest.Tenant, Kind: "workload", ID: "app"}, Tier: tr, By: edgetest.Operator.Name(), Reason: "a test"}
		if tr != tier.Green {
			if _, err := w.Tiers.Hold(t.Context(), word); err != nil {
				t.Fatal(err)
			}
		}
		var out []byte
		if err := conn.Invoke(ctx, service+"ModelInfer", question(t, "m"), &out); err != nil {
			return nil, err
		}
		return understood(t, out).Outputs[0].Data.Floats, nil
	}
	green, err := ask(tier.Green)
	if err != nil {
		t.Fatal(err)
	}
	amber, err := ask(tier.Amber)
	if err != nil || slices.Equal(green, amber) || slices.Index(amber, slices.Max(amber)) != slices.Index(green, slices.Max(green)) {
		t.Errorf("%v became %v, %v", green, amber, err)
	}
	if _, err := ask(tier.Red); grpcstatus.Code(err) != codes.PermissionDenied {
		t.Errorf("red: %v", err)
	}
}
