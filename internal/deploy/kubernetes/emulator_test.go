package kubernetes

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/pavise/pavise/internal/kube"
	"github.com/pavise/pavise/internal/kube/kubetest"
)

// TestEmulator plays the scenes in the cluster of these tests: it is sent the requests that a
// real API server was sent, and answers each in the form of the real one.
func TestEmulator(t *testing.T) {
	for name, scene := range scenes {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			c.space, c.stuck = space, true
			p := &stage{t: t, s: kubetest.New(t, c), do: c.hand, settle: c.settle}
			p.policy = func(on bool) {
				c.mu.Lock()
				defer c.mu.Unlock()
				if c.policies = nil; on {
					c.policies = policies(t)
				}
			}
			scene(p)
			was, is := kubetest.Read(t, recording(name)), kubetest.Clean(t, p.s.Exchanges())
			if len(is) != len(was) {
				t.Fatalf("%d requests, and there were %d", len(is), len(was))
			}
			told := map[string]bool{} // steps in which an object was changed
			for i := range was {
				a, b := unversioned(was[i]), unversioned(is[i])
				if why := b.Differs(a); why != "" {
					t.Fatalf("%s: %s", a.Step, why)
				}
				if a.Method == "PATCH" && a.Status < 300 && !strings.Contains(a.Path, "leases") {
					told[a.Step] = true
				} else if told[a.Step] && a.Status == http.StatusOK {
					a.Answer, b.Answer = kindOf(a.Answer), kindOf(b.Answer) // the controllers may have been at it, or not
				}
				if have, want := read(b), read(a); !reflect.DeepEqual(have, want) {
					t.Errorf("%s: %s %s is answered\n%s\nand was\n%s", a.Step, a.Method, a.Path, text(have), text(want))
				}
			}
		})
	}
}

// unversioned is a request without the version that it says: servers count in their own way.
func unversioned(e kubetest.Exchange) kubetest.Exchange {
	var body kube.Object
	if json.Unmarshal(e.Body, &body) == nil && body.Has("metadata", "resourceVersion") {
		body.At("metadata")["resourceVersion"] = "some"
		e.Body, _ = json.Marshal(body)
	}
	return e
}

func kindOf(answer []byte) []byte {
	var o kube.Object
	_ = json.Unmarshal(answer, &o)
	b, _ := json.Marshal(fields{"kind": o["kind"], "apiVersion": o["apiVersion"]})
	return b
}

func text(v any) string {
	b, _ := json.MarshalIndent(v, "", " ")
	return string(b)
}

// read is what Pavise reads of an answer.
func read(e kubetest.Exchange) fields {
	var o kube.Object
	if err := json.Unmarshal(e.Answer, &o); err != nil {
		return fields{"text": string(e.Answer)}
	}
	is := fields{"status code": e.Status, "content type": e.AnswerType, "kind": o["kind"], "apiVersion": o["apiVersion"]}
	switch o.Text("kind") {
	case "":
		for _, key := range []string{"gitVersion", "gitCommit", "platform"} {
			is[key] = o.Text(key) != ""
		}
	case "Status":
		for _, key := range []string{"status", "reason", "code", "message"} {
			is[key] = o[key]
		}
	case "ReplicaSetList":
		var list []string
		for _, set := range o.List("items") {
			list = append(list, text(fields{"owned": len(set.List("metadata", "ownerReferences")), "owner": set.List("metadata", "ownerReferences")[0].Text("uid") != "", "replicas": set.Int("status", "replicas"), "template": template(set), "kind": set["kind"]}))
		}
		slices.Sort(list)
		is["items"] = list
	default:
		maps.Copy(is, thing(o))
	}
	return is
}

// thing is what Pavise reads of an object.
func thing(o kube.Object) fields {
	is := fields{"name": o.Text("metadata", "name"), "namespace": o.Text("metadata", "namespace"), "uid": o.Text("metadata", "uid") != "", "version": o.Text("metadata", "resourceVersion") != ""}
	notes := fields{}
	for key, v := range o.At("metadata", "annotations") {
		if !strings.HasPrefix(key, "deployment.kubernetes.io/") {
			notes[key] = v
		}
	}
	is["annotations"] = notes
	switch o.Text("kind") {
	case "Deployment":
		conditions := fields{}
		for _, c := range o.List("status", "conditions") {
			conditions[c.Text("type")] = c.Text("status")
		}
		is["conditions"], is["template"], is["selector"] = conditions, template(o), o.At("spec", "selector", "matchLabels")
		is["replicas"], is["generation"] = o.Int("spec", "replicas"), o.Int("metadata", "generation")
		for _, key := range []string{"observedGeneration", "replicas", "updatedReplicas", "availableReplicas"} {
			is["status "+key] = o.Int("status", key)
		}
	case "Lease":
		is["holder"] = o.Text("spec", "holderIdentity")
	case "InferenceService":
		is["generation"], is["spec"], is["status"] = o.Int("metadata", "generation"), o["spec"], o["status"]
	}
	return is
}

// template is what Pavise reads of a pod template.
func template(o kube.Object) fields {
	is := fields{"annotations": maps.Clone(o.At("spec", "template", "metadata", "annotations"))}
	for _, list := range []string{"containers", "volumes"} {
		for _, one := range o.List("spec", "template", "spec", list) {
			is[list+" "+one.Text("name")] = one.Text("image") + one.Text("image", "reference")
		}
	}
	return is
}

// hand does what somebody does who is not Pavise: it makes an object, changes it by a merge
// patch, or takes it away with what it owns.
func (c *cluster) hand(method, path string, body any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	path, query, _ := strings.Cut(path, "?")
	part := strings.Split(path, "/") // "" apis group version namespaces NAMESPACE plural name status
	encoded, _ := json.Marshal(body)
	var with fields
	_ = json.Unmarshal(encoded, &with)
	switch method {
	case "POST":
		with["metadata"] = merged(with["metadata"].(fields), fields{"namespace": part[5]})
		with["manager"] = strings.TrimPrefix(query, "fieldManager=")
		c.put(part[6]+"/"+kube.Object(with).Text("metadata", "name"), with)
	case "PATCH":
		key := part[6] + "/" + part[7]
		c.put(key, patched(c.objects[key], with))
	case "DELETE":
		key := part[6] + "/" + part[7]
		for k, o := range c.objects {
			if kube.Find(kube.Object(o).List("metadata", "ownerReferences"), "uid", "uid-"+key) != nil {
				delete(c.objects, k)
			}
		}
		delete(c.objects, key)
	default:
		c.t.Fatal(fmt.Sprint(method, " ", path))
	}
}

// settle has each Deployment get what it was told.
func (c *cluster) settle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(c.objects)) {
		if strings.HasPrefix(key, "deployments/") {
			c.roll(key)
			c.roll(key)
		}
	}
}

// patched is an object after a JSON merge patch.
func patched(under, over fields) fields {
	all := maps.Clone(under)
	if all == nil {
		all = fields{}
	}
	for key, v := range over {
		switch v := v.(type) {
		case nil:
			delete(all, key)
		case fields:
			was, _ := all[key].(fields)
			all[key] = patched(was, v)
		default:
			all[key] = v
		}
	}
	return all
}
