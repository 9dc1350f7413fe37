package extproc_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	bootstrap "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	authz "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"

	ext "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/pavise/pavise/internal/config"
)

// TestDocumentedConfiguration reads what docs/envoy.md shows: what is for Envoy by Envoy's
// own definitions, which know no field that is not there, and what is for Pavise as Pavise
// does. Every filter in it is closed when it fails.
func TestDocumentedConfiguration(t *testing.T) {
	text, err := os.ReadFile("../../../docs/envoy.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, block := range strings.Split(string(text), "```yaml\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		title, body, _ := strings.Cut(strings.TrimPrefix(block, "# "), "\n")
		seen[title]++
		var tree any
		if err := yaml.Unmarshal([]byte(body), &tree); err != nil {
			t.Fatalf("%s: %v", title, err)
		}
		var into interface {
			proto.Message
			ValidateAll() error
		}
		switch title {
		case "envoy.yaml":
			into = &bootstrap.Bootstrap{}
		case "cluster":
			into = &cluster.Cluster{}
		case "ext_proc":
			into = &ext.ExternalProcessor{}
		case "ext_authz":
			into = &authz.ExtAuthz{}
		case "http_connection_manager":
			into = &hcm.HttpConnectionManager{}
		case "pavise.yaml":
			if _, err := config.Parse("pavise.yaml", []byte(body)); err != nil {
				t.Error(err)
			}
			continue
		case "Istio":
			patch := tree.(map[string]any)["spec"].(map[string]any)["configPatches"].([]any)[0].(map[string]any)["patch"].(map[string]any)
			tree, into = patch["value"].(map[string]any)["typed_config"], &ext.ExternalProcessor{}
		case "agentgateway":
			continue
		default:
			t.Fatalf("nothing knows how %q is read", title)
		}
		if m := tree.(map[string]any); title != "envoy.yaml" {
			delete(m, "@type")
		}
		asJSON, err := json.Marshal(tree)
		if err != nil {
			t.Fatal(err)
		}
		if err := protojson.Unmarshal(asJSON, into); err != nil {
			t.Errorf("%s: %v", title, err)
			continue
		}
		if title == "http_connection_manager" {
			continue // a part of one
		}
		if err := into.ValidateAll(); err != nil {
			t.Errorf("%s: %v", title, err)
		}
		if strings.Contains(body, "processing_mode") && !strings.Contains(body, "failure_mode_allow: false") {
			t.Errorf("%s is open when it fails", title)
		}
	}
	for _, title := range []string{"envoy.yaml", "cluster", "ext_proc", "ext_authz", "pavise.yaml", "Istio", "agentgateway"} {
		if seen[title] != 1 {
			t.Errorf("%d blocks of %s", seen[title], title)
		}
	}
}
