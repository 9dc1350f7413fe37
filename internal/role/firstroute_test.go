package role

import (
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/examples/threat-detector"
	"github.com/pavise/pavise/internal/installation"
	"github.com/pavise/pavise/internal/registry"
	"github.com/pavise/pavise/internal/route"
)

// TestFirstRouteOfARegisteredModel has one person put what they like behind the names of models:
// behind that of a registered one there comes nothing but a file of a published version of it,
// unless others approve it.
func TestFirstRouteOfARegisteredModel(t *testing.T) {
	r := runUp(t, UpConfig{Data: installation.Data(t.TempDir())})
	fraud, credit := pavise.Name{Tenant: Tenant, Kind: "model", ID: "fraud"}, pavise.Name{Tenant: Tenant, Kind: "model", ID: "credit"}
	for _, name := range []pavise.Name{fraud, credit} {
		if _, err := r.Models.Create(t.Context(), r.person("dora"), registry.ModelSpec{Name: name, Risk: registry.High}); err != nil {
			t.Fatal(err)
		}
	}
	published, other := threatdetector.Model(), threatdetector.Model()
	other = append(other, 6<<3|2, 1, 'x') // a field of the text format that says nothing
	r.publish(t, fraud, published)
	const upstream, external = "http://127.0.0.1:9", "external"
	takes := []byte(`{"inputs": [{"name": "x", "datatype": "FP64", "shape": [-1, 3]}], "outputs": [{"name": "y", "datatype": "FP64", "shape": [-1, 2]}]}`)
	put := func(s route.Spec) error {
		_, err := r.Gateway.Routes.Put(t.Context(), r.person("dora"), s)
		return err
	}
	for what, s := range map[string]route.Spec{
		"a server":                       {Name: fraud.String(), Upstream: upstream, Signature: takes},
		"a server that proxies ask":      {Name: fraud.String(), Upstream: external, Signature: takes},
		"a file of nobody":               {Name: fraud.String(), ONNX: other},
		"a version beside one of ours":   {Name: fraud.String(), ONNX: published, Beside: other},
		"a shadow beside one of ours":    {Name: fraud.String(), ONNX: published, Shadow: upstream},
		"a shadow of nobody":             {Name: fraud.String(), ONNX: published, ShadowONNX: other},
		"a version of another, approved": {Name: credit.String(), ONNX: published},
	} {
		if err := put(s); pavise.KindOf(err) != pavise.Denied || !strings.Contains(err.Error(), "which is a registered model") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := put(route.Spec{Name: fraud.String(), ONNX: published}); err != nil {
		t.Errorf("a file of a published version: %v", err)
	}
	if err := put(route.Spec{Name: Tenant + "/model/unknown", ONNX: other}); err != nil {
		t.Errorf("behind a name that is in no registry: %v", err)
	}
	r.do(t, "route.release", pavise.Name{Tenant: Tenant, Kind: "route", ID: credit.ID}, `{"name":"`+credit.String()+`","upstream":"`+upstream+`","signature":`+string(takes)+`}`)
	if l, err := r.Gateway.Routes.Find(credit); err != nil || l.Upstream != upstream {
		t.Errorf("what others approved: %+v %v", l, err)
	}
}
