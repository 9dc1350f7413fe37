package kubernetes

import (
	"encoding/json"
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/google/cel-go/cel"

	"github.com/pavise/pavise/internal/kube"
)

// A rule is what a policy validates, and what it says of what it does not take.
type rule struct {
	cel.Program
	message string
}

// policies are those of Admission, by name, evaluated by the CEL library.
func policies(t testing.TB) map[string][]rule {
	env, err := cel.NewEnv(cel.Variable("object", cel.DynType))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]rule{}
	for _, doc := range documents(t, "admission.yaml") {
		for _, v := range kube.Object(doc).List("spec", "validations") {
			ast, issues := env.Compile(v.Text("expression"))
			if issues.Err() != nil || v.Text("message") == "" {
				t.Fatalf("%v: %v", v, issues.Err())
			}
			p, err := env.Program(ast)
			if err != nil {
				t.Fatal(err)
			}
			name := kube.Object(doc).Text("metadata", "name")
			all[name] = append(all[name], rule{p, v.Text("message")})
		}
	}
	return all
}

// denied is what the first rule says that does not take an object; empty: all do.
func denied(rules []rule, object fields) string {
	for _, r := range rules {
		if out, _, err := r.Eval(map[string]any{"object": object}); err != nil || out.Value() != true {
			return r.message
		}
	}
	return ""
}

// A candidate is an object, and whether a policy takes it.
type candidate struct {
	policy string
	object fields
	taken  bool
}

// admitted are objects that are pinned and such as are not.
func admitted(t testing.TB) map[string]candidate {
	pin, note := "r.example/x@"+digest(1), fields{"pavise.dev/digest": digest(2)}
	pods := func(annotations, with fields) fields {
		spec := fields{"containers": []any{fields{"name": "a", "image": pin}}}
		maps.Copy(spec, with)
		o := object(t, `{"spec":{"selector":{"matchLabels":{"app":"a"}},"template":{"metadata":{"labels":{"app":"a"}}}}}`, "apps/v1", "Deployment", "candidate")
		o["spec"] = merged(o["spec"].(fields), fields{"template": fields{"spec": spec}})
		if annotations != nil {
			o["spec"] = merged(o["spec"].(fields), fields{"template": fields{"metadata": fields{"annotations": annotations}}})
		}
		return o
	}
	model := func(uri string) fields {
		return fields{"annotations": note, "model": fields{"name": "kserve-container", "modelFormat": fields{"name": "sklearn"}, "storageUri": uri}}
	}
	service := func(predictor fields, canaries ...fields) fields {
		spec := fields{"predictor": predictor}
		for _, c := range canaries {
			list, _ := spec["canary"].([]any)
			spec["canary"] = append(list, fields{"predictor": c, "trafficPercent": 10})
		}
		return fields{"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "metadata": fields{"name": "candidate"}, "spec": spec}
	}
	containers := func(list ...any) fields { return fields{"containers": list} }
	const d, s = "pavise-deployments", "pavise-inferenceservices"
	return map[string]candidate{
		"a pinned image": {d, pods(note, nil), true},
		"all of it pinned": {d, pods(note, fields{
			"initContainers": []any{fields{"name": "i", "image": pin}},
			"volumes":        []any{fields{"name": "tmp"}, fields{"name": "v", "image": fields{"reference": pin}}},
		}), true},
		"a container by a tag":       {d, pods(note, containers(fields{"name": "a", "image": pin}, fields{"name": "b", "image": "r.example/x:latest"})), false},
		"a container of no image":    {d, pods(note, containers(fields{"name": "none"})), false},
		"an init container by a tag": {d, pods(note, fields{"initContainers": []any{fields{"name": "i", "image": "x"}}}), false},
		"a volume by a tag":          {d, pods(note, fields{"volumes": []any{fields{"name": "v", "image": fields{"reference": "x:latest"}}}}), false},
		"no annotations":             {d, pods(nil, nil), false},
		"an annotation of no digest": {d, pods(fields{"pavise.dev/digest": "yes"}, nil), false},
		"a pinned model":             {s, service(model("oci://" + pin)), true},
		"a pinned canary":            {s, service(model("oci+native://"+pin), model("oci://"+pin)), true},
		"a model of S3":              {s, service(model("s3://" + pin)), false},
		"a model by a tag":           {s, service(model("oci://r.example/x:1")), false},
		"a model without a note":     {s, service(fields{"model": model("oci://" + pin)["model"]}), false},
		"no model":                   {s, service(fields{"annotations": note}), false},
		"a canary by a tag":          {s, service(model("oci://"+pin), model("oci://r.example/x:1")), false},
	}
}

// TestAdmission evaluates the policy on what is pinned and what is not, and holds that to the
// verdicts that a real API server gave with it.
func TestAdmission(t *testing.T) {
	text, err := os.ReadFile("testdata/recorded/verdicts.json")
	if err != nil {
		t.Fatal(err)
	}
	var verdicts map[string]string
	if err := json.Unmarshal(text, &verdicts); err != nil {
		t.Fatal(err)
	}
	all, list := policies(t), admitted(t)
	for name, c := range list {
		why := denied(all[c.policy], c.object)
		if len(all[c.policy]) == 0 || (why == "") != c.taken {
			t.Errorf("%s: %q", name, why)
		}
		is, there := verdicts[name]
		if !there || (is == "") != c.taken || !strings.HasSuffix(is, why) && name != "a container of no image" {
			t.Errorf("%s: a real API server says %q, and the CEL library %q", name, is, why)
		}
	}
	if len(verdicts) != len(list) {
		t.Errorf("%d verdicts of %d", len(verdicts), len(list))
	}
	if (&target{}).Admission() != Admission {
		t.Error("a target gives another policy")
	}
}
