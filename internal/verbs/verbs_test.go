package verbs

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/evidence"
	"github.com/pavise/pavise/internal/gate"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/issuer"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/monitor"
	"github.com/pavise/pavise/internal/policy"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/ticket"
	"github.com/pavise/pavise/internal/witness"
)

// requests holds, for every verb that is a command, a request that an operator
// may make. They are made in the order of the table; where a request needs what an
// earlier one came to, it is made when its turn comes.
func (w *world) requests(t *testing.T) map[string]func() any {
	fraud := pavise.Name{Tenant: "local", Kind: "model", ID: "fraud"}
	const origin = "example.com/log"
	signer, err := proof.NewLogSigner(origin, ed25519.NewKeyFromSeed([]byte("api test, another log's, 32 byte")))
	if err != nil {
		t.Fatal(err)
	}
	always := func(req any) func() any { return func() any { return req } }
	return map[string]func() any{
		"ledger.status":      always(api.Empty{}),
		"ledger.list":        always(evidence.ListRequest{Limit: 3}),
		"ledger.read":        always(evidence.ReadRequest{Index: 0}),
		"ledger.prove":       always(evidence.ProveRequest{Index: 0}),
		"ledger.unseal":      func() any { return evidence.ReadRequest{Index: w.keep(t, "jane")} },
		"ledger.followers":   always(api.Empty{}),
		"ledger.acknowledge": func() any { w.follower(t, "siem"); return evidence.AcknowledgeRequest{Name: "siem", Next: 1} },
		"ledger.unfollow":    always(evidence.UnfollowRequest{Name: "siem"}),
		"witness.list":       always(api.Empty{}),
		"witness.trust":      always(evidence.TrustRequest{Key: signer.Key().String()}),
		"witness.forget":     always(evidence.OriginRequest{Origin: origin}),
		"witness.prove":      func() any { w.cosigned(t, signer); return evidence.FleetRequest{Origin: origin} },
		"archive.list":       always(api.Empty{}),
		"archive.keep":       always(api.Empty{}),
		"archive.prune":      always(api.Empty{}),
		"archive.retain":     always(evidence.RetainRequest{Class: "inference", Kind: []string{"model"}, Online: "720h"}),
		"subject.list":       always(api.Empty{}),
		"subject.find":       always(evidence.FindRequest{Subject: "jane"}),
		"subject.shred":      always(evidence.ShredRequest{Subject: "jane"}),
		"change.list":        always(ChangeListRequest{Waiting: true}),
		"change.show":        func() any { return ChangeRequest{ID: w.open(t, "somebody").Name.ID} },
		"change.propose":     always(ProposeRequest{Verb: "policy.put", On: pavise.Name{Tenant: "local", Kind: "policy", ID: "q"}, Request: `{"text":"permit (principal, action == Action::\"route.list\", resource);"}`}),
		"change.approve":     func() any { ch := w.open(t, "another"); return VoteRequest{ID: ch.Name.ID, Digest: ch.Digest} },
		"change.deny": func() any {
			ch := w.open(t, "another")
			return VoteRequest{ID: ch.Name.ID, Digest: ch.Digest, Reason: "no"}
		},
		"change.break": func() any {
			w.hold("responder")
			var ch api.ChangeView
			ask := GrantRequest{Holder: pavise.Name{Tenant: "local", Kind: "human", ID: "kim"}, Role: "deployer", For: "30m"}
			if err := w.client(t, "operator").Call(t.Context(), "grant.give", ask, &ch); err != nil {
				t.Fatal(err)
			}
			return BreakRequest{ID: ch.Name.ID, Digest: ch.Digest, Ticket: "INC-1", Reason: "now"}
		},
		"policy.who-can": always(WhoCanRequest{Verb: "model.infer", On: fraud}),
		"policy.diff":    always(DiffRequest{ID: "p", Text: permit}),
		"policy.matrix":  always(MatrixRequest{}),
		"policy.check": func() any {
			w.hold("ml-engineer")
			return CheckRequest{Verb: "model.train", On: fraud}
		},
		"grant.give": always(GrantRequest{Holder: pavise.Name{Tenant: "local", Kind: "human", ID: "ana"}, Role: "labeler", For: "8h"}),
		"grant.revoke": func() any {
			holder := pavise.Name{Tenant: "local", Kind: "human", ID: "ana"}
			w.done(t, "grant.give", GrantRequest{Holder: holder, Role: "publisher", For: "8h"})
			return GrantRef{Holder: holder, Role: "publisher"}
		},
		"grant.list":       always(api.Empty{}),
		"caller.list":      always(api.Empty{}),
		"tier.hold":        func() any { return w.holding(t, "amber") },
		"tier.list":        always(TierList{Tier: "amber"}),
		"tier.show":        always(TierRef{scored, scanner}),
		"tier.lift":        always(TierLift{TierRef{scored, scanner}, "our own test"}),
		"watermark.export": always(MarksRequest{Model: scored}),
		"dataset.watch": func() any {
			w.pour(t, "flows.csv", "a,b\n1,2\n")
			return DatasetWatch{DatasetRef: flows, From: "flows.csv", Every: "1h"}
		},
		"dataset.check": always(DatasetCheck{DatasetRef: flows}),
		"dataset.accept": func() any {
			w.pour(t, "flows.csv", "a,b\n1,3\n")
			return DatasetAccept{DatasetRef: flows, Root: w.found(t, flows)}
		},
		"dataset.report": func() any {
			if err := w.person(t, "looker", "operator").Call(t.Context(), "dataset.screen", DatasetScreen{DatasetRef: flows, Label: "b"}, nil); err != nil {
				t.Fatal(err)
			}
			return DatasetReport{DatasetRef: flows}
		},
		"dataset.list":    always(DatasetList{State: "changed"}),
		"dataset.show":    always(flows),
		"dataset.compare": always(DatasetCompare{flows, 1, 1}),
		"dataset.unwatch": always(DatasetUnwatch{flows, "it has ended"}),
		"drift.baseline": func() any {
			w.drift(t, monitor.Stable)
			return DriftBaseline{DriftRef: drifter, Learn: 500, Reason: "a new customer"}
		},
		"drift.list": always(DriftList{}),
		"drift.show": always(drifter),
		"drift.verdict": func() any {
			w.drift(t, monitor.Confirmed)
			return DriftVerdict{drifter, "traffic", "a new customer"}
		},
		"drift.dismiss": func() any {
			w.drift(t, monitor.Confirmed)
			return DriftDismiss{drifter, "a test of ours"}
		},
		"change.withdraw": func() any { return ChangeRequest{ID: w.open(t, "somebody").Name.ID} },
		"change.rules":    always(api.Empty{}),
		"change.rule":     always(RuleRequest{Verb: "policy.put", Need: new(2), Days: 1}),
		"policy.list":     always(api.Empty{}),
		"policy.put":      always(PolicyPut{ID: "p", Text: permit}),
		"policy.delete":   func() any { w.done(t, "policy.put", PolicyPut{ID: "p", Text: permit}); return PolicyDelete{ID: "p"} },
		"policy.schema":   always(api.Empty{}),
		"policy.explain":  always(ExplainRequest{Verb: "model.infer", On: fraud, Role: []string{"caller"}}),
		"route.list":      always(api.Empty{}),
		"route.put":       always(route.Spec{Name: fraud.String(), ONNX: networkOf(2, 3)}),
		"route.release":   always(ReleaseRequest{ReleaseSpec: route.ReleaseSpec{Name: fraud.String(), ONNX: networkOf(2, 2)}}),
		"route.rollback": func() any {
			w.done(t, "route.release", ReleaseRequest{ReleaseSpec: route.ReleaseSpec{Name: fraud.String(), ONNX: networkOf(2, 2)}})
			return RouteRequest{Name: fraud.String()}
		},
		"route.quarantine": always(RouteRequest{Name: fraud.String()}),
		"route.delete":     always(RouteDelete{Name: fraud}),
		"finding.list":     always(FindingRequest{Limit: 3, Least: "low"}),
		"siem.put":         always(ReceiverPut{Name: "soc", URL: "http://127.0.0.1:9/pavise"}),
		"siem.list":        always(api.Empty{}),
		"siem.test":        always(ReceiverName{Name: "soc"}),
		"siem.rotate":      always(ReceiverRotate{Name: "soc", Hours: new(1)}),
		"siem.delete":      always(ReceiverName{Name: "soc"}),
		"ticket.put":       always(TicketPut{Name: "work", Kind: "github", URL: "http://127.0.0.1:9", Project: "org/repo", Secret: []byte("token")}),
		"ticket.list":      always(api.Empty{}),
		"ticket.show":      always(ToolName{Name: "work"}),
		"ticket.test":      always(ToolName{Name: "work"}),
		"ticket.remove":    always(ToolName{Name: "work"}),
		"ticket.map":       func() any { w.tool(t); return mapped },
		"ticket.pass":      func() any { w.holds(t); return TicketPass{Name: "pipelines", Deployment: "4711"} },
		"ticket.unmap": func() any {
			w.done(t, "ticket.map", mapped)
			return TicketUnmap{Name: "work", Account: "4711"}
		},
		"issuer.mint":        always(MintRequest{Subject: "ci", Role: []string{"caller"}}),
		"issuer.revoke":      always(RevokeRequest{Principal: pavise.Name{Tenant: "local", Kind: "workload", ID: "ci"}, Reason: "lost"}),
		"issuer.revocations": always(api.Empty{}),
		"issuer.whoami":      always(api.Empty{}),
		"console.link":       always(api.Empty{}),
		"clock.accept":       always(api.Empty{}),
		"node.list":          always(api.Empty{}),
		"node.invite":        always(InviteRequest{ID: "gw-1", DNS: []string{"gw-1.acme.example"}}),
		"node.revoke":        always(HolderRequest{ID: "gw-1"}),
		"node.roles":         func() any { w.joined(t, "gw-2"); return RolesRequest{ID: "gw-2", Role: []string{"analyst"}} },
		"person.invite":      always(PersonRequest{ID: "ana", Key: "sha256:" + strings.Repeat("0a", 32), Role: []string{"operator"}}),
		"ca.list":            always(api.Empty{}),
		"ca.rotate":          always(RotateRequest{Step: "prepare"}),
		"ingest.put":         always(gate.Spec{Source: lines, Form: gate.FormLines}),
		"ingest.revise":      always(SourceRevision{Spec: gate.Spec{Source: lines, Form: gate.FormCSV}}),
		"ingest.list":        always(api.Empty{}),
		"ingest.show":        always(SourceRef{lines}),
		"ingest.held":        always(HeldRequest{}),
		"ingest.release":     func() any { return BatchRef{Source: lines, Batch: w.held(t, "one")} },
		"ingest.discard":     func() any { return BatchRef{Source: lines, Batch: w.held(t, "two"), Reason: "poison"} },
		"ingest.receive":     always(ReceiveRequest{Source: lines, From: "file://" + w.dir + "/app.log", Silence: 60}),
		"ingest.stop":        always(StopRequest{Source: lines, Forget: true}),
		"ingest.receivers":   always(api.Empty{}),
		"ingest.delete":      always(SourceRef{w.source(t, "other")}),
		"target.put":         always(TargetPut{TargetRef: TargetRef{place}, Kind: "gateway", Set: []string{"model=m"}}),
		"target.list":        always(api.Empty{}),
		"target.show":        func() any { w.placed(t, place); return TargetRef{place} },
		"target.remove":      func() any { w.placed(t, other); return TargetRemove{TargetRef{other}, "it was sold"} },
		"deploy.release":     always(DeployRelease{Version: "m/1", To: []string{"place"}}),
		"deploy.promote":     func() any { w.deployed(t, 1, 0); w.deployed(t, 2, 10); return DeployAct{DeployRef: onM} },
		"deploy.rollback":    always(DeployAct{DeployRef: onM, Reason: "it is bad"}),
		"deploy.list":        always(api.Empty{}),
		"deploy.show":        always(onM),
		"deploy.check":       always(onM),
		"bundle.list":        always(api.Empty{}),
		"bundle.rotate":      always(KeyRotate{}),
		"bundle.revoke":      always(KeyRevoke{Key: "ed25519:x"}),
	}
}

// lines is the source that verbs are done to.
var lines = pavise.Name{Tenant: "local", Kind: gate.KindSource, ID: "lines"}

// source declares another source.
func (w *world) source(t *testing.T, id string) pavise.Name {
	t.Helper()
	name := pavise.Name{Tenant: "local", Kind: gate.KindSource, ID: id}
	if err := w.client(t, "operator").Call(t.Context(), "ingest.put", gate.Spec{Source: name}, nil); err != nil {
		t.Fatal(err)
	}
	return name
}

// held brings a batch that is held, as the workload ci, and returns its digest.
func (w *world) held(t *testing.T, text string) string {
	t.Helper()
	who := pavise.Principal{Tenant: "local", Kind: pavise.Workload, ID: "ci", Roles: []string{"producer"}, Proof: "test", By: pavise.Name{Tenant: "local", Kind: pavise.Human, ID: "paula"}}
	r, err := w.Gate.Admit(t.Context(), who, lines, gate.Batch{Form: gate.FormLines, Body: []byte(text + "\x00\n")})
	if err != nil || r.Verdict != gate.Held {
		t.Fatalf("%+v %v", r, err)
	}
	return r.SHA256
}

// TestPusherDoesNotRelease holds who brought a batch, and whoever answers for them, to
// having no say in whether it is let in.
func TestPusherDoesNotRelease(t *testing.T) {
	w := newWorld(t)
	if err := w.client(t, "operator").Call(t.Context(), "ingest.put", gate.Spec{Source: lines, Form: gate.FormLines}, nil); err != nil {
		t.Fatal(err)
	}
	var ch api.ChangeView
	sum := w.held(t, "three")
	if err := w.person(t, "somebody", "operator").Call(t.Context(), "ingest.release", BatchRef{Source: lines, Batch: sum[:12]}, &ch); err != nil {
		t.Fatal(err)
	}
	if ch.Plan.Digests["batch"] != sum {
		t.Errorf("the plan depends on %v", ch.Plan.Digests)
	}
	vote := VoteRequest{ID: ch.Name.ID, Digest: ch.Digest}
	err := w.person(t, "paula", "operator").Call(t.Context(), "change.approve", vote, &ch)
	if pavise.KindOf(err) != pavise.Denied || !strings.Contains(err.Error(), "gains by") {
		t.Errorf("who answers for who brought it approves: %v", err)
	}
	if err := w.person(t, "another", "operator").Call(t.Context(), "change.approve", vote, &ch); err != nil || ch.State != change.Done {
		t.Fatalf("%s: %s, %v", ch.State, ch.Outcome, err)
	}
}

// keep leaves a record that keeps data of a subject.
func (w *world) keep(t *testing.T, subject string) uint64 {
	t.Helper()
	s, err := w.Subjects.Of(t.Context(), "local", subject)
	if err != nil {
		t.Fatal(err)
	}
	r := &record.Record{
		Kind: "model.infer", Phase: record.Note, Tenant: "local", At: time.Now().UTC(), Subject: s.ID,
		Detail: json.RawMessage(`{"id":"1"}`), Sealed: s.Key.Seal([]byte("1"), []byte(`{"kept":true}`)),
	}
	receipt, err := w.Log.Append(t.Context(), r, ledger.Durable)
	if err != nil {
		t.Fatal(err)
	}
	return receipt.Index
}

// follower begins to follow the log under a name.
func (w *world) follower(t *testing.T, name string) {
	t.Helper()
	if _, err := w.Feeds.Begin(t.Context(), "local", name, ledger.Filter{Tenant: "local"}, 0); err != nil {
		t.Fatal(err)
	}
}

// cosigned leaves the record of a checkpoint of another log.
func (w *world) cosigned(t *testing.T, log *proof.Signer) {
	t.Helper()
	cp, err := proof.Sign(log.Key().Name(), 7, tlog.Hash{7}, time.Now(), log)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Guard.Note(t.Context(), witness.KindCosigned, nil, witness.Name("local", cp.Origin), witness.NewCosigning(cp)); err != nil {
		t.Fatal(err)
	}
}

// mapped is an account of a tool that may vote.
var mapped = TicketMap{Name: "work", Account: "4711", Person: pavise.Name{Tenant: "local", Kind: pavise.Human, ID: "ann"}, Role: []string{"operator"}, Days: 7}

// tool makes a tool known.
func (w *world) tool(t *testing.T) {
	t.Helper()
	if err := w.person(t, "somebody", "operator").Call(t.Context(), "ticket.put", TicketPut{Name: "work", Kind: "github", URL: "http://127.0.0.1:9", Project: "org/repo", Secret: []byte("token")}, nil); err != nil {
		t.Fatal(err)
	}
}

// holds has a deployment wait in a tool, and waits until that is known.
func (w *world) holds(t *testing.T) {
	t.Helper()
	tool := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		one := `{"id":4711,"ref":"main","sha":"` + strings.Repeat("ab", 20) + `","status":"blocked","environment":{"name":"production"}}`
		if !strings.HasSuffix(r.URL.Path, "/4711") {
			one = "[" + one + "]"
		}
		fmt.Fprint(rw, one)
	}))
	t.Cleanup(tool.Close)
	somebody := w.person(t, "somebody", "operator")
	if err := somebody.Call(t.Context(), "ticket.put", TicketPut{Name: "pipelines", Kind: "gitlab-deployments", URL: tool.URL, Project: "org/repo", Secret: []byte("token")}, nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Tickets.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	for range 1000 {
		var s ticket.Shown
		if err := somebody.Call(t.Context(), "ticket.show", ToolName{Name: "pipelines"}, &s); err != nil {
			t.Fatal(err)
		}
		if len(s.Deployments) == 1 && s.Deployments[0].State == "proposed" {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("nobody looks at it")
}

// open proposes a policy, as somebody.
func (w *world) open(t *testing.T, who string) (ch api.ChangeView) {
	t.Helper()
	if err := w.person(t, who, "operator").Call(t.Context(), "policy.put", PolicyPut{ID: "open", Text: permit}, &ch); err != nil {
		t.Fatal(err)
	}
	return ch
}

// TestEveryVerb does every verb as who may, is refused as who may not, and finds
// a record of both.
func TestEveryVerb(t *testing.T) {
	w := newWorld(t)
	operator := w.client(t, "operator")
	requests := w.requests(t)
	maps.Copy(requests, w.modelRequests(t))
	for _, v := range Table() {
		if v.NewRequest() == nil {
			continue
		}
		prepare, ok := requests[v.Name]
		if !ok {
			t.Errorf("no request for %s", v.Name)
			continue
		}
		request := prepare()
		before := w.Log.Size()
		var answer json.RawMessage
		if err := operator.Call(t.Context(), v.Name, request, &answer); err != nil {
			t.Errorf("%s as operator: %v", v.Name, err)
		} else if len(answer) < 2 || answer[0] != '{' {
			t.Errorf("%s answers %s", v.Name, answer)
		}
		asked := v.Name
		if v.Name == "policy.check" {
			asked = "model.train" // the verb that was asked about is what is recorded
		}
		if v.Consequential {
			asked = map[bool]string{true: "change.emergency", false: "change.propose"}[v.Safe]
		}
		if got, want := phases(w, before, asked), map[guard.Class]string{guard.Control: "enter exit", guard.Pooled: "act"}[v.Class]; got != want {
			t.Errorf("%s as operator left %q, want %q", v.Name, got, want)
		}
		if got, want := phases(w, before, v.Name), "enter exit"; v.Consequential && v.Safe != (got == want) {
			t.Errorf("%s as operator was run: %q; in the safe direction: %t", v.Name, got, v.Safe)
		}
		if v.Name == "issuer.whoami" {
			continue // everybody may
		}
		body, err := json.Marshal(request)
		if err != nil {
			t.Fatal(err)
		}
		caller := w.person(t, "caller-of-"+v.Name, "caller") // whose first refusals have a record each
		resp, p := post(t, caller, v.Name, string(body))
		if resp.StatusCode != 403 || p.Title != "denied" || p.Record == nil || !strings.Contains(p.Hint, "policy explain "+asked) {
			t.Errorf("%s as caller: %d %+v", v.Name, resp.StatusCode, p)
			continue
		}
		r, err := w.Log.Read(*p.Record)
		if err != nil || r.Kind != asked || r.Outcome != pavise.Deny || r.Who.Roles[0] != "caller" {
			t.Errorf("%s as caller: record %d is %+v, %v", v.Name, *p.Record, r, err)
		}
		if v.Class == guard.Control && !strings.Contains(p.Detail, "policy guardrail/") {
			t.Errorf("%s as caller: %q does not name the policy", v.Name, p.Detail)
		}
	}
}

// phases are those of the records of a verb behind an index.
func phases(w *world, from uint64, verb string) string {
	var found []string
	for _, r := range w.Log.Records(from, w.Log.Size()) {
		if r.Kind == verb {
			found = append(found, r.Phase)
		}
	}
	return strings.Join(found, " ")
}

// TestTableIsWhole holds each row to what a newcomer needs of it.
func TestTableIsWhole(t *testing.T) {
	seen := map[string]bool{}
	for _, v := range Table() {
		room, _, ok := strings.Cut(v.Name, ".")
		if !ok || seen[v.Name] || len(v.On) == 0 {
			t.Errorf("%q is no verb, or is there twice, or applies to nothing", v.Name)
		}
		seen[v.Name] = true
		if v.Help == "" || v.About == "" || strings.HasSuffix(v.Help, ".") || !strings.HasSuffix(v.About, ".") {
			t.Errorf("%s: Help %q, About %q", v.Name, v.Help, v.About)
		}
		command := v.NewRequest() != nil
		if command != strings.HasPrefix(v.Example, "pavise "+room+" "+strings.TrimPrefix(v.Name, room+".")) {
			t.Errorf("%s: Example %q", v.Name, v.Example)
		}
	}
	for _, a := range policy.Named() {
		if !slices.ContainsFunc(Actions(), func(b guard.Action) bool { return a.Verb == b.Verb && a.Class == b.Class }) {
			t.Errorf("the guard enters %s, which the table does not have so", a.Verb)
		}
	}
}

// TestRouteNameIsReadFirst refuses what is no name as what it is: no policy has
// anything to say about it.
func TestRouteNameIsReadFirst(t *testing.T) {
	w := newWorld(t)
	operator := w.client(t, "operator")
	for name, want := range map[string]string{
		"fraud": "has 1 parts, not 3", "local/fraud": "has 2 parts, not 3", "": "has 1 parts", "local/model/": "is empty", "local/route/fraud": "leads to a model",
	} {
		err := operator.Call(t.Context(), "route.put", route.Spec{Name: name, ONNX: networkOf(2, 3)}, nil)
		if pavise.KindOf(err) != pavise.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", name, err, want)
		}
	}
}

// TestRouteWords sends words as a program writes them, and as a command does.
func TestRouteWords(t *testing.T) {
	w := newWorld(t)
	operator := w.client(t, "operator")
	fraud := route.Spec{Name: "local/model/fraud", ONNX: networkOf(1, 3), Observe: new(true)}
	if err := operator.Call(t.Context(), "route.put", fraud, nil); err != nil {
		t.Fatal(err)
	}
	var put route.Route
	err := operator.Call(t.Context(), "route.put", json.RawMessage(`{"name":"local/model/fraud","bounds":{"input":"x","features":[{"name":"age","min":0,"more":1}]}}`), &put)
	if err != nil || !put.Observe || put.ONNX == "" || len(put.Signature.Inputs[0].Columns) != 1 || *put.Signature.Inputs[0].Columns[0].Min != 0 {
		t.Errorf("%v, route %+v", err, put)
	}
	for name, spec := range map[string]route.Spec{
		"bounds that are no JSON": {Name: fraud.Name, Bounds: json.RawMessage("age,0,99")},
		"an empty file of bounds": {Name: fraud.Name, Bounds: json.RawMessage{}},
		"an empty model":          {Name: fraud.Name, ONNX: []byte{}},
	} {
		if err := operator.Call(t.Context(), "route.put", spec, nil); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestExplainRecord explains a record under the policies that decided, also when others
// are in force; and says that it cannot when the log knows of none with that digest.
func TestExplainRecord(t *testing.T) {
	w := newWorld(t)
	operator := w.client(t, "operator")
	_, denied := post(t, w.client(t, "caller"), "route.list", "{}")
	explain := func() (x guard.Explanation) {
		t.Helper()
		if err := operator.Call(t.Context(), "policy.explain", ExplainRequest{Record: denied.Record}, &x); err != nil {
			t.Fatal(err)
		}
		return x
	}
	was := explain()
	if was.Status != guard.Recomputed || was.Decision != pavise.Deny || was.Digest != was.Recorded || !slices.Contains(was.Roles, "operator") {
		t.Errorf("the same policies: %+v", was)
	}
	w.done(t, "policy.put", PolicyPut{ID: "p", Text: permit})
	w.done(t, "policy.put", PolicyPut{ID: "route-list", Text: `permit (principal in Role::"caller", action == Action::"route.list", resource);`})
	w.done(t, "policy.delete", PolicyDelete{ID: "p"})
	is := explain()
	if is.Status != guard.Recomputed || is.Decision != pavise.Deny || is.Recorded != was.Digest || is.Digest == was.Digest {
		t.Errorf("other policies: %+v", is)
	}
	for _, p := range is.Permits {
		if p.ID == "route-list" {
			t.Error("it was explained under what is in force now")
		}
	}
	r, err := w.Log.Read(*denied.Record)
	if err != nil {
		t.Fatal(err)
	}
	r.Policy.Digest = strings.Repeat("ab", 32)
	if x := w.Guard.ExplainRecord(t.Context(), r, w.Log); x.Status != guard.Unverified || !strings.Contains(x.Why, "abababababab") || !strings.Contains(x.Why, x.Digest[:12]) {
		t.Errorf("policies that never were: %+v", x)
	}
	r.Policy.Digest, r.Verdicts, r.Outcome = was.Digest, nil, pavise.Allow
	if x := w.Guard.ExplainRecord(t.Context(), r, w.Log); x.Status != guard.Differs {
		t.Errorf("a forged record, under former policies: %+v", x)
	}
}

// TestPolicyThatIsNone is refused with the place of the mistake, and changes
// nothing.
func TestPolicyThatIsNone(t *testing.T) {
	w := newWorld(t)
	operator := w.client(t, "operator")
	before := w.Guard.Digest("local")
	for text, want := range map[string]string{
		"permit (\n  principal,\n  action == Action::\"ledger.burn\",\n  resource\n);": "line 3, column 13",
		"permit (principal, action, resource)":                                         "line 1, column",
		"permit (principal, action, resource) when { resource.colour == \"red\" };":    "colour",
		"":                               "a policy has a text",
		"// nothing but a remark, today": "0 statements",
	} {
		err := operator.Call(t.Context(), "policy.put", PolicyPut{ID: "p", Text: text}, nil)
		if pavise.KindOf(err) != pavise.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	err := operator.Call(t.Context(), "policy.delete", PolicyDelete{ID: "operator-runs"}, nil)
	if pavise.KindOf(err) != pavise.Conflict {
		t.Errorf("deleting the last policy that permits changes: %v", err)
	}
	if w.Guard.Digest("local") != before {
		t.Error("a refused change changed the policies")
	}
}

// TestTokenIsShownOnce mints a token and looks for it, and for the one it was
// minted with, in everything else that the API says and the log holds.
func TestTokenIsShownOnce(t *testing.T) {
	w := newWorld(t)
	operator := w.client(t, "operator")
	var minted issuer.Token
	if err := operator.Call(t.Context(), "issuer.mint", MintRequest{Subject: "ci", Role: []string{"analyst"}}, &minted); err != nil {
		t.Fatal(err)
	}
	analyst := &api.Client{Base: operator.Base, Token: minted.Value}
	if err := analyst.Call(t.Context(), "ledger.status", api.Empty{}, nil); err != nil {
		t.Errorf("the minted token: %v", err)
	}
	post(t, analyst, "issuer.mint", `{"subject":"x","role":["operator"],"kind":"human"}`)
	post(t, &api.Client{Base: operator.Base, Token: minted.Value + "x"}, "ledger.status", `{}`)
	var said []string
	requests := w.requests(t)
	for _, v := range Table() {
		if prepare := requests[v.Name]; prepare != nil && v.Name != "issuer.mint" {
			var answer json.RawMessage
			operator.Call(t.Context(), v.Name, prepare(), &answer)
			said = append(said, string(answer))
		}
	}
	var all evidence.ListAnswer
	if err := operator.Call(t.Context(), "ledger.list", evidence.ListRequest{Limit: 1000}, &all); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(all)
	if err != nil || !strings.Contains(string(text), minted.ID) {
		t.Fatalf("the log does not hold the id of the token: %v", err)
	}
	for _, token := range []string{minted.Value, operator.Token} {
		signature := token[strings.LastIndexByte(token, '.')+1:]
		for _, s := range append(said, string(text)) {
			if strings.Contains(s, signature) || strings.Contains(s, token[:60]) {
				t.Errorf("a token is told: %.300s", s)
			}
		}
	}
}

// TestMintRefuses asks for tokens that the local issuer does not give.
func TestMintRefuses(t *testing.T) {
	w := newWorld(t)
	operator := w.client(t, "operator")
	for body, field := range map[string]string{
		`{"role":["caller"]}`:                              "subject",
		`{"subject":"ci"}`:                                 "role",
		`{"subject":"ci","role":[]}`:                       "role",
		`{"subject":"ci","role":["root"]}`:                 "root",
		`{"subject":"ci","role":["caller"],"minutes":61}`:  "minutes",
		`{"subject":"ci","role":["caller"],"minutes":0}`:   "minutes",
		`{"subject":"ci","role":["caller"],"kind":"node"}`: "kind",
		`{"subject":"../ci","role":["caller"]}`:            "../ci",
	} {
		if resp, p := post(t, operator, "issuer.mint", body); p.Title != "invalid" || !strings.Contains(p.Detail, field) {
			t.Errorf("%s: %d %+v", body, resp.StatusCode, p)
		}
	}
	for _, r := range w.Log.Records(0, w.Log.Size()) {
		if r.Kind == "issuer.mint" && r.Phase == record.Exit && r.Error == nil {
			t.Errorf("a token was given out: %+v", r)
		}
	}
}
