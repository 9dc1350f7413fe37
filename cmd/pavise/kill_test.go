package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/gateway"
	"github.com/pavise/pavise/internal/installation"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/role"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/seal"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/subject"
	"github.com/pavise/pavise/internal/verbs"
)

// A storm remembers what was acknowledged while pavise was killed again and
// again. What was not acknowledged may have happened, or not.
type storm struct {
	mu       sync.Mutex         // guards what follows
	answers  []answer           // inferences answered with 200
	callers  [stormCallers]bool // which were answered
	policies map[string]int     // policy → the newest version whose put was answered
	puts     int
	faults   []string // answers that no kill explains
}

const (
	stormModel   = "storm"
	stormServed  = "storm-served"
	stormChat    = "storm-chat"
	stormCallers = 4
	stormIDs     = 40 // policies put in turn; a tenant has at most 256
)

// TestKillStorm kills a working pavise with SIGKILL at random moments, as often
// as PAVISE_KILLS says, on one data directory. Nothing acknowledged may be
// missing afterwards: each answer, whole or in events, has its record, which opens to
// that very answer; a stream that was cut shows it; each change that was answered is in force and has its question and its
// ending; no change was run twice, or unapproved, and none is stuck; whatever was
// interrupted is closed; and the log verifies.
func TestKillStorm(t *testing.T) {
	kills := 3
	if s := os.Getenv("PAVISE_KILLS"); s != "" {
		var err error
		if kills, err = strconv.Atoi(s); err != nil {
			t.Fatalf("PAVISE_KILLS: %v", err)
		}
	}
	dir := installation.Data(t.TempDir() + "/data")
	s := &storm{policies: map[string]int{}}
	random := rand.New(rand.NewPCG(8, 70))
	early(t, dir, random) // the very first start, too
	for i := range kills {
		if i%4 == 3 {
			early(t, dir, random)
		}
		p := start(t, string(dir), "--person", "another")
		if i == 0 {
			s.begin(t, p)
		}
		s.rage(t, p, 50*time.Millisecond+time.Duration(random.IntN(300))*time.Millisecond)
	}
	p := start(t, string(dir), "--person", "another")
	s.checkPolicies(t, p.operator(t))
	checkSettled(t, p.operator(t))
	p.interrupt(t)
	if len(s.faults) > 0 {
		t.Errorf("%d answers that no kill explains: %.500q", len(s.faults), s.faults)
	}
	report := verify(t, dir)
	if len(report.Open) > 0 || report.Records != report.Signed {
		t.Errorf("report %+v", report)
	}
	s.checkLog(t, dir)
	t.Logf("%d kills: %d answers, %d changes, %d records", kills, len(s.answers), s.puts, report.Records)
}

// early kills a pavise that is starting.
func early(t *testing.T, dir installation.Data, random *rand.Rand) {
	t.Helper()
	p, out, err := launch(string(dir), "--person", "another")
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Duration(random.IntN(60)) * time.Millisecond)
	p.cmd.Process.Kill()
	io.Copy(io.Discard, out)
	p.cmd.Wait()
}

// begin puts three models behind the firewall that can be asked without end: one that
// runs in the gateway, one on a server, and a language model.
func (s *storm) begin(t *testing.T, p *process) {
	t.Helper()
	model, err := os.ReadFile("testdata/fraud.onnx")
	if err != nil {
		t.Fatal(err)
	}
	plenty := "100000000/24h"
	err = p.operator(t).Call(t.Context(), "route.put", route.Spec{
		Name: "local/model/" + stormModel, ONNX: model, Rate: "10000000/1m", Budget: plenty, ModelBudget: plenty,
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	newModelServer(t).behind(t, p, stormServed)
	chatBehind(t, p, stormChat, newChatServer(t, "echo", time.Millisecond).URL)
}

// rage has callers ask and an operator change things, until the kill.
func (s *storm) rage(t *testing.T, p *process, life time.Duration) {
	t.Helper()
	operator := p.operator(t)
	another, err := another(p)
	if err != nil {
		t.Fatal(err)
	}
	var callers sync.WaitGroup
	for n := range stormCallers {
		callers.Go(func() {
			for i := 0; s.infer(p, n, i); i++ {
			}
		})
	}
	callers.Go(func() {
		for s.change(t.Context(), operator, another) {
		}
	})
	open, err := chat(t.Context(), p.Server, p.Token, stormChat, holds, true)
	if err != nil || open.StatusCode != 200 {
		t.Fatalf("a stream does not begin: %+v, %v", open, err)
	}
	time.Sleep(life)
	for deadline := time.Now().Add(30 * time.Second); !s.blows() && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond) // on a busy machine a life may be too short for any answer
	}
	p.kill()
	callers.Wait()
	// hear's error is of the connection: a stream that ended well, but for its last words,
	// would pass for a whole one with a client that does not look for them.
	if cut, err := hear(open, stormChat, true); !brokenOff(err) || !strings.Contains(cut.body, "echo") || cut.whole() {
		t.Errorf("the kill cut a stream, and its caller sees %+v, %v", cut, err)
	}
}

// blows reports whether every caller and some change were answered: before, there is
// nothing to lose.
func (s *storm) blows() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !slices.Contains(s.callers[:], false) && len(s.policies) > 0
}

// infer asks once and reports whether to go on.
func (s *storm) infer(p *process, caller, i int) bool {
	var a answer
	var err error
	switch caller % 4 {
	case 0, 1:
		body := fmt.Sprintf(`{"inputs":[{"name":"payment","shape":[1,3],"datatype":"FP32","data":[%d,%d,1]}]}`, caller, i%1000)
		a, err = ask(p.Server, p.Token, []string{stormModel, stormServed}[caller%2], body)
	case 2, 3:
		a, err = talk(context.Background(), p.Server, p.Token, stormChat, fmt.Sprint("number ", i), caller%4 == 3)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case brokenOff(err):
		return false // killed
	case err != nil || a.status != 200:
		s.faults = append(s.faults, fmt.Sprintf("%+v, %v", a, err))
		return false
	}
	s.answers, s.callers[caller] = append(s.answers, a), true
	return true
}

// brokenOff reports whether an error is of a connection, and not of what came over it.
func brokenOff(err error) bool {
	_, asking := errors.AsType[*url.Error](err)
	_, reading := errors.AsType[*net.OpError](err)
	return asking || reading || errors.Is(err, io.ErrUnexpectedEOF)
}

// another is a second operator, whose approval counts.
func another(p *process) (*api.Client, error) {
	a, err := p.data.ReadAccess("another")
	return &api.Client{Base: a.Server, Token: a.Token}, err
}

// change proposes one policy, approves it, and reports whether to go on.
func (s *storm) change(ctx context.Context, operator, another *api.Client) bool {
	s.mu.Lock()
	s.puts++
	version := s.puts
	s.mu.Unlock()
	id := fmt.Sprintf("storm-%d", version%stormIDs)
	text := fmt.Sprintf("@doc(\"%d\")\nforbid (principal in Role::\"nobody\", action, resource);", version)
	var ch api.ChangeView
	if operator.Call(ctx, "policy.put", verbs.PolicyPut{ID: id, Text: text}, &ch) != nil {
		return false
	}
	if another.Call(ctx, "change.approve", verbs.VoteRequest{ID: ch.Name.ID, Digest: ch.Digest}, &ch) != nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if ch.State != change.Done {
		s.faults = append(s.faults, fmt.Sprintf("change %s is %s: %s", ch.Name.ID, ch.State, ch.Outcome))
	}
	s.policies[id] = version
	return true
}

// checkSettled finds no change that is stuck on its way.
func checkSettled(t *testing.T, operator *api.Client) {
	t.Helper()
	var list verbs.ChangeList
	if err := operator.Call(t.Context(), "change.list", verbs.ChangeListRequest{}, &list); err != nil {
		t.Fatal(err)
	}
	for _, ch := range list.Changes {
		if ch.State == change.Approved || ch.State == change.Running {
			t.Errorf("change %s is %s, and nothing runs", ch.Name.ID, ch.State)
		}
	}
}

// checkPolicies finds every change that was answered, or a newer one that was
// not, in force.
func (s *storm) checkPolicies(t *testing.T, operator *api.Client) {
	t.Helper()
	var list verbs.PolicyList
	if err := operator.Call(t.Context(), "policy.list", api.Empty{}, &list); err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	for _, p := range list.Policies {
		var version int
		if _, err := fmt.Sscanf(p.Text, "@doc(\"%d\")", &version); err == nil {
			found[p.ID] = version
		}
	}
	for id, version := range s.policies {
		if found[id] < version {
			t.Errorf("policy %s: version %d was answered, version %d is in force", id, version, found[id])
		}
	}
	if len(s.policies) == 0 {
		t.Error("no change was answered: the storm is none")
	}
}

// checkLog finds the record of everything that was answered.
func (s *storm) checkLog(t *testing.T, dir installation.Data) {
	t.Helper()
	log, subjects := evidenceOf(t, dir)
	s.checkAnswers(t, log, subjects)
	s.checkChanges(t, log)
}

// evidenceOf opens the log that a pavise has left, and the keys of what it keeps.
func evidenceOf(t *testing.T, dir installation.Data) (*ledger.Log, *subject.Keys) {
	t.Helper()
	k, err := dir.Open()
	if err != nil {
		t.Fatal(err)
	}
	log, err := ledger.Open(ledger.Options{Dir: dir.Ledger(), Origin: "pavise.local/" + k.Install, Key: k.Log, MLDSA: k.MLDSA, Tenant: role.Tenant})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	db, err := store.Open(t.Context(), dir.Path("pavise.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	subjects, err := subject.Open(t.Context(), db, k.KEK, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return log, subjects
}

// checkAnswers finds a record of its own for each answer, which opens to that answer.
func (s *storm) checkAnswers(t *testing.T, log *ledger.Log, subjects *subject.Keys) {
	t.Helper()
	named := map[uint64]bool{}
	for _, a := range s.answers {
		if named[a.record] {
			t.Fatalf("two answers name record %d", a.record)
		}
		named[a.record] = true
		model := pavise.Name{Tenant: role.Tenant, Kind: "model", ID: a.model}
		r, err := log.Read(a.record)
		if err != nil || r.Kind != "model.infer" || r.On != model || r.Outcome == pavise.Deny || r.Error != nil {
			t.Fatalf("record %d of an answer is %+v, %v", a.record, r, err)
		}
		key, err := subjects.Key(t.Context(), role.Tenant, r.Subject)
		if err == nil {
			err = opensTo(key, r, a.body)
		}
		if err != nil {
			t.Fatalf("record %d: %v", a.record, err)
		}
	}
	if len(s.answers) == 0 {
		t.Error("nothing was answered: the storm is none")
	}
}

// opensTo checks that a record's commitment is to the answer.
func opensTo(key *seal.Key, r record.Record, body string) error {
	var trail gateway.Trail
	if err := json.Unmarshal(r.Detail, &trail); err != nil {
		return err
	}
	plain, err := key.Open([]byte(trail.ID), r.Sealed)
	if err != nil {
		return err
	}
	var kept struct{ Salt []byte }
	if err := json.Unmarshal(plain, &kept); err != nil {
		return err
	}
	if sum := sha256.Sum256(append(kept.Salt, body...)); hex.EncodeToString(sum[:]) != trail.Output {
		return fmt.Errorf("it commits to another answer than %s", body)
	}
	return nil
}

// checkChanges finds question and ending of every change that was answered, and
// an ending of every question at all.
func (s *storm) checkChanges(t *testing.T, log *ledger.Log) {
	t.Helper()
	open, ended, approved, ran := map[uint64]bool{}, map[int]bool{}, map[pavise.Name]bool{}, map[pavise.Name]int{}
	interrupted := 0
	for i, r := range log.Records(0, log.Size()) {
		switch r.Phase {
		case record.Enter:
			open[i] = true
		case record.Exit, record.Interrupted:
			if !open[*r.Enter] {
				t.Errorf("record %d ends record %d, which is no open question", i, *r.Enter)
			}
			delete(open, *r.Enter)
		}
		if r.Phase == record.Interrupted {
			interrupted++
		}
		switch {
		case r.Kind == "change.approve" && r.Phase == record.Exit && r.Error == nil:
			approved[r.On] = true
		case r.Kind == "policy.put" && r.Phase == record.Enter && !approved[r.Who.Change]:
			t.Errorf("record %d: the act of change %s, which nobody had approved", i, r.Who.Change)
		case r.Kind == "policy.put" && r.Phase == record.Exit && r.Error == nil:
			if ran[r.Who.Change]++; ran[r.Who.Change] > 1 {
				t.Errorf("record %d: change %s was run again", i, r.Who.Change)
			}
		}
		var detail struct{ Text string }
		if r.Kind == "policy.put" && r.Phase == record.Exit && r.Error == nil && json.Unmarshal(r.Detail, &detail) == nil {
			text, _, _ := strings.Cut(strings.TrimPrefix(detail.Text, `@doc("`), `"`)
			version, _ := strconv.Atoi(text)
			ended[version] = true
		}
	}
	if len(open) > 0 {
		t.Errorf("questions without an ending: %v", open)
	}
	for id, version := range s.policies {
		if !ended[version] {
			t.Errorf("policy %s, version %d, was answered and has no ending", id, version)
		}
	}
	t.Logf("%d acts were interrupted", interrupted)
}
