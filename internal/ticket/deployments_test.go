package ticket

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/pipeline"
	"github.com/pavise/pavise/internal/store"
)

// theApp is the key of the app of the tests, made once.
var theApp = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func appKey() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(theApp())}))
}

// A held is a deployment that waits in a tool.
type held struct {
	number  int
	env     string
	sha     string
	attempt int
	account int
	over    bool     // it waits no more
	said    []string // the answers that it took: state and comment
}

const aCommit = "0123456789abcdef0123456789abcdef01234567"

// hold has a deployment wait.
func (e *emulator) hold(number int) *held {
	e.mu.Lock()
	defer e.mu.Unlock()
	h := &held{number: number, env: "production / eu", sha: aCommit, attempt: 1, account: 42}
	e.held = append(e.held, h)
	return h
}

// answers are those that a deployment took.
func (e *emulator) answers(h *held) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]string{}, h.said...)
}

func (e *emulator) findHeld(number string) *held {
	for _, h := range e.held {
		if strconv.Itoa(h.number) == number {
			return h
		}
	}
	return nil
}

func (e *emulator) gitHubRuns(mux *http.ServeMux) {
	asApp := func(w http.ResponseWriter, r *http.Request) bool {
		var claims jwt.Claims
		token, err := jwt.ParseSigned(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), []jose.SignatureAlgorithm{jose.RS256})
		if err == nil {
			err = token.Claims(&theApp().PublicKey, &claims)
		}
		if err == nil {
			err = claims.Validate(jwt.Expected{Issuer: "Iv1.app", Time: e.clock()})
		}
		if err != nil || claims.Expiry.Time().Sub(claims.IssuedAt.Time()) > 10*time.Minute {
			e.t.Errorf("no app asks: %v", err)
			w.WriteHeader(http.StatusUnauthorized)
			return false
		}
		return true
	}
	asInstalled := func(h http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer ghs_installed" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			h(w, r)
		}
	}
	mux.HandleFunc("GET /repos/org/repo/installation", func(w http.ResponseWriter, r *http.Request) {
		if asApp(w, r) {
			answers(w, 200, object{"id": 77})
		}
	})
	mux.HandleFunc("POST /app/installations/77/access_tokens", func(w http.ResponseWriter, r *http.Request) {
		if asApp(w, r) {
			answers(w, 201, object{"token": "ghs_installed", "expires_at": e.clock().Add(time.Hour)})
		}
	})
	mux.HandleFunc("GET /repos/org/repo/actions/runs/{run}", asInstalled(func(w http.ResponseWriter, r *http.Request) {
		h := e.findHeld(r.PathValue("run"))
		if h == nil {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		answers(w, 200, object{
			"id": h.number, "name": "deploy", "head_branch": "main", "head_sha": h.sha, "status": map[bool]string{true: "completed", false: "waiting"}[h.over],
			"run_attempt": h.attempt, "html_url": "https://github.com/org/repo/actions/runs/1", "triggering_actor": object{"id": h.account},
			"head_repository": object{"full_name": "org/repo"},
		})
	}))
	mux.HandleFunc("POST /repos/org/repo/actions/runs/{run}/deployment_protection_rule", asInstalled(func(w http.ResponseWriter, r *http.Request) {
		var q struct {
			Environment string `json:"environment_name"`
			State       string `json:"state"`
			Comment     string `json:"comment"`
		}
		into(r, &q)
		h := e.findHeld(r.PathValue("run"))
		if h == nil || h.over || h.env != q.Environment {
			w.WriteHeader(http.StatusUnprocessableEntity)
			return
		}
		h.over, h.said = true, append(h.said, q.State+": "+q.Comment)
		w.WriteHeader(http.StatusNoContent)
	}))
}

func (e *emulator) gitLabDeployments(mux *http.ServeMux) {
	shown := func(h *held) object {
		said := []object{}
		for _, s := range h.said {
			_, comment, _ := strings.Cut(s, ": ")
			said = append(said, object{"comment": comment})
		}
		return object{
			"id": h.number, "ref": "main", "sha": h.sha, "status": map[bool]string{true: "success", false: "blocked"}[h.over], "environment": object{"name": h.env},
			"user": object{"id": h.account}, "deployable": object{"name": "deploy", "web_url": "https://gitlab.example/jobs/1"}, "approvals": said,
		}
	}
	const at = "/api/v4/projects/{project}/deployments"
	mux.HandleFunc("GET "+at, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Private-Token") != "secret-token" || r.PathValue("project") != "group/sub/repo" || r.URL.Query().Get("status") != "blocked" {
			e.t.Errorf("asked for %s", r.URL)
		}
		all := []object{}
		for _, h := range e.held {
			if !h.over {
				all = append([]object{shown(h)}, all...)
			}
		}
		answers(w, 200, all)
	})
	mux.HandleFunc("GET "+at+"/{id}", func(w http.ResponseWriter, r *http.Request) { answers(w, 200, shown(e.findHeld(r.PathValue("id")))) })
	mux.HandleFunc("POST "+at+"/{id}/approval", func(w http.ResponseWriter, r *http.Request) {
		var q struct{ Status, Comment string }
		into(r, &q)
		h := e.findHeld(r.PathValue("id"))
		h.said = append(h.said, q.Status+": "+q.Comment) // it may take more than one
		answers(w, 201, object{"status": q.Status})
	})
}

// post brings a message to a tool's door.
func (w *world) post(t *testing.T, body string, header map[string]string) int {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle(PathDoor, w.Door(func(rw http.ResponseWriter, err error) { rw.WriteHeader(pavise.KindOf(err).HTTPStatus()) }))
	r := httptest.NewRequest(http.MethodPost, "/v1/tickets/local/work", strings.NewReader(body))
	for name, value := range header {
		r.Header.Set(name, value)
	}
	rec := httptest.NewRecorder()
	mux.ServeHTTP(rec, r)
	return rec.Code
}

// asksFor is GitHub's message that a deployment waits.
func asksFor(h *held, id int) string {
	return fmt.Sprintf(`{"action":"requested","environment":%q,"event":"push","sha":%q,"ref":"refs/heads/evil","deployment_callback_url":"https://api.github.com/repos/org/repo/actions/runs/%d/deployment_protection_rule","deployment":{"id":%d,"sha":%q},"sender":{"id":7}}`,
		h.env, strings.Repeat("f", 40), h.number, id, strings.Repeat("f", 40))
}

// tells has GitHub say that a deployment waits; GitLab is asked.
func (w *world) tells(t *testing.T, kind string, h *held) {
	t.Helper()
	if kind == gitLabDeployments {
		return
	}
	body := asksFor(h, 900+h.number)
	if got := w.post(t, body, map[string]string{"X-GitHub-Event": pipeline.EventGitHub, "X-Hub-Signature-256": hubSignature(w.row(t, "work").Keys[0].Told(), body)}); got != http.StatusAccepted {
		t.Fatalf("the door answers %d", got)
	}
}

// passes are the changes that let deployments go on.
func (w *world) passes(t *testing.T) (all []*change.Change) {
	t.Helper()
	names, _, err := w.changes.Proposed(t.Context(), "local", time.Time{}, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if ch := w.look(t, name); ch.Verb == VerbPass {
			all = append(all, ch)
		}
	}
	return all
}

// states are the states of a tool's deployments, by number.
func (w *world) states(t *testing.T) map[int64]string {
	t.Helper()
	s, err := w.Show(t.Context(), ann, "work")
	if err != nil {
		t.Fatal(err)
	}
	all := map[int64]string{}
	for _, d := range s.Deployments {
		all[d.Number] = d.State
	}
	return all
}

var heldIn = []string{gitHubDeployments, gitLabDeployments}

// TestDeploymentWaits: it waits while others have not decided, and is told what they did,
// once, however often is looked and whatever is replayed.
func TestDeploymentWaits(t *testing.T) {
	ends := map[string]func(*testing.T, *world, *change.Change){
		"approved": func(t *testing.T, w *world, ch *change.Change) {
			if _, err := w.changes.Approve(t.Context(), eve, ch.Name, ch.Digest, "seen"); err != nil {
				t.Error(err)
			}
		},
		"rejected": func(t *testing.T, w *world, ch *change.Change) {
			if _, err := w.changes.Deny(t.Context(), eve, ch.Name, ch.Digest, "not tonight"); err != nil {
				t.Error(err)
			}
		},
	}
	for verdict, end := range ends {
		each(t, heldIn, func(t *testing.T, w *world, e *emulator, c *clerk) {
			h := e.hold(5)
			w.tells(t, c.Kind, h)
			for range 3 {
				turn(t, c)
				w.tells(t, c.Kind, h)
				w.pass(time.Hour)
			}
			all := w.passes(t)
			if s, err := w.Show(t.Context(), ann, "work"); err != nil || s.Open != 1 || s.Behind != 0 {
				t.Errorf("%+v, %v", s.Tool, err)
			}
			if len(all) != 1 || all[0].State != change.Open || len(e.answers(h)) != 0 || w.states(t)[5] != proposed {
				t.Fatalf("%d changes, %q, %v", len(all), e.answers(h), w.states(t))
			}
			end(t, w, all[0])
			for range 3 {
				turn(t, w.clerk(t, "work"))
				w.tells(t, c.Kind, h)
				w.pass(time.Minute)
			}
			if got := e.answers(h); len(got) != 1 || !strings.HasPrefix(got[0], verdict+": Pavise: change "+all[0].Name.ID) || len(w.passes(t)) != 1 || w.states(t)[5] != answered {
				t.Errorf("%q, %v, %d changes", got, w.states(t), len(w.passes(t)))
			}
		})
	}
}

// TestForgedDeployment: what nobody signed, or somebody changed, opens nothing; and of what
// is signed only the run and the environment are read.
func TestForgedDeployment(t *testing.T) {
	each(t, []string{gitHubDeployments}, func(t *testing.T, w *world, e *emulator, c *clerk) {
		h := e.hold(5)
		body, secret := asksFor(h, 905), w.row(t, "work").Keys[0].Told()
		signed := func(body string) map[string]string {
			return map[string]string{"X-GitHub-Event": pipeline.EventGitHub, "X-Hub-Signature-256": hubSignature(secret, body)}
		}
		for name, one := range map[string]struct {
			body   string
			header map[string]string
			want   int
		}{
			"unsigned":        {body, map[string]string{"X-GitHub-Event": pipeline.EventGitHub}, 401},
			"another secret":  {body, map[string]string{"X-GitHub-Event": pipeline.EventGitHub, "X-Hub-Signature-256": hubSignature("whsec_AAAA", body)}, 401},
			"another body":    {strings.Replace(body, "runs/5", "runs/6", 1), signed(body), 401},
			"a token beside":  {body, map[string]string{"X-GitHub-Event": pipeline.EventGitHub, "X-Gitlab-Token": secret}, 401},
			"of another repo": {strings.Replace(body, "/org/repo/", "/org/other/", 1), signed(strings.Replace(body, "/org/repo/", "/org/other/", 1)), 400},
			"no JSON":         {"{", signed("{"), 400},
			"another event":   {body, map[string]string{"X-GitHub-Event": "push", "X-Hub-Signature-256": hubSignature(secret, body)}, 202},
		} {
			if got := w.post(t, one.body, one.header); got != one.want {
				t.Errorf("%s: answered %d", name, got)
			}
		}
		turn(t, c)
		if len(w.states(t)) != 0 || len(w.passes(t)) != 0 {
			t.Fatalf("%v, %d changes", w.states(t), len(w.passes(t)))
		}
		elsewhere := strings.Replace(body, "https://api.github.com", "http://169.254.169.254", 1) // its callback is read for what it is of, and never asked
		if got := w.post(t, elsewhere, signed(elsewhere)); got != 202 {
			t.Fatalf("answered %d", got)
		}
		turn(t, c)
		s, err := w.Show(t.Context(), ann, "work")
		if err != nil || len(s.Deployments) != 1 || s.Deployments[0].SHA != aCommit || s.Deployments[0].Ref != "main" || s.Deployments[0].Account != "42" {
			t.Errorf("%+v, %v", s.Deployments, err)
		}
	})
}

// TestReplayedDeployment: a message of a run that is over, or was answered, opens nothing
// again; one signed for a tool that was put anew is none.
func TestReplayedDeployment(t *testing.T) {
	each(t, []string{gitHubDeployments}, func(t *testing.T, w *world, e *emulator, c *clerk) {
		h := e.hold(5)
		h.over = true
		w.tells(t, c.Kind, h)
		turn(t, c)
		if len(w.passes(t)) != 0 || w.states(t)[5] != gone {
			t.Errorf("over: %v", w.states(t))
		}
		unknown := &held{number: 6, env: "production"}
		w.tells(t, c.Kind, unknown)
		turn(t, c)
		if len(w.passes(t)) != 0 || w.states(t)[6] != gone {
			t.Errorf("unknown: %v", w.states(t))
		}
		body := asksFor(h, 905)
		old := hubSignature(w.row(t, "work").Keys[0].Told(), body)
		if err := w.Remove(t.Context(), ann, "work"); err != nil {
			t.Fatal(err)
		}
		w.put(t, puts(gitHubDeployments, e.URL))
		if got := w.post(t, body, map[string]string{"X-GitHub-Event": pipeline.EventGitHub, "X-Hub-Signature-256": old}); got != 401 {
			t.Errorf("signed for the tool before: %d", got)
		}
	})
}

// TestAnotherAttemptIsNotAnswered: others approved one attempt, or one commit, and by then
// the tool has another: what they approved is told to nobody.
func TestAnotherAttemptIsNotAnswered(t *testing.T) {
	each(t, heldIn, func(t *testing.T, w *world, e *emulator, c *clerk) {
		h := e.hold(5)
		w.tells(t, c.Kind, h)
		turn(t, c)
		ch := w.passes(t)[0]
		if _, err := w.changes.Approve(t.Context(), eve, ch.Name, ch.Digest, ""); err != nil {
			t.Fatal(err)
		}
		e.mu.Lock()
		h.attempt, h.sha = 2, strings.Repeat("a", 40)
		e.mu.Unlock()
		for range 3 {
			turn(t, c)
			w.pass(time.Hour)
		}
		if len(e.answers(h)) != 0 || w.states(t)[5] != gone {
			t.Errorf("%q, %v", e.answers(h), w.states(t))
		}
	})
}

// TestWaitsNoMore: the change of a deployment that was cancelled in its tool is taken back, so that
// nobody fills the heap of changes by it; and where policies are older, it is nobody's to approve.
func TestWaitsNoMore(t *testing.T) {
	each(t, heldIn, func(t *testing.T, w *world, e *emulator, c *clerk) {
		for i, want := range []change.State{change.Withdrawn, change.Void} {
			if i == 1 {
				if err := w.cfg.Guard.Load("local", map[string]string{"usual": usual, "desk": strings.Replace(ofDesk, `Action::"change.withdraw", `, "", 1)}); err != nil {
					t.Fatal(err)
				}
			}
			h := e.hold(5 + i)
			w.tells(t, c.Kind, h)
			w.pass(time.Hour)
			turn(t, c)
			ch := w.passes(t)[i]
			e.mu.Lock()
			h.over = true
			e.mu.Unlock()
			w.pass(time.Hour)
			turn(t, c)
			if _, err := w.changes.Approve(t.Context(), eve, ch.Name, ch.Digest, ""); pavise.KindOf(err) != pavise.Conflict {
				t.Errorf("approved: %v", err)
			}
			if got := w.look(t, ch.Name); got.State != want || w.states(t)[int64(5+i)] != gone {
				t.Errorf("%s, and not %s: %v", got.State, want, w.states(t))
			}
		}
	})
}

// TestExpiredDeployment: nobody decides in time, and the tool is told that it was rejected.
func TestExpiredDeployment(t *testing.T) {
	each(t, heldIn, func(t *testing.T, w *world, e *emulator, c *clerk) {
		h := e.hold(5)
		w.tells(t, c.Kind, h)
		turn(t, c)
		w.pass(3*24*time.Hour - time.Second)
		w.sweeps(t)
		turn(t, c)
		if len(e.answers(h)) != 0 {
			t.Fatalf("too early: %q", e.answers(h))
		}
		w.pass(time.Second)
		w.sweeps(t)
		turn(t, c)
		turn(t, c)
		if got := e.answers(h); len(got) != 1 || !strings.HasPrefix(got[0], "rejected: ") || !strings.Contains(got[0], "expired") {
			t.Errorf("%q, %v", got, w.states(t))
		}
	})
}

// sweeps lets changes look at the clock, once: they remind of those whose half is over last.
func (w *world) sweeps(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- w.changes.Run(ctx) }()
	until(t, func() bool {
		ch := w.passes(t)[0]
		return !w.clock().Before(ch.Until) && ch.State == change.Expired || w.clock().Before(ch.Until) && !ch.Unseen.IsZero()
	})
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

// TestKilledBehindTheAnswer: the answer is taken and nobody says so, or the process dies
// behind the proposal: each is there once in the end.
func TestKilledBehindTheAnswer(t *testing.T) {
	each(t, heldIn, func(t *testing.T, w *world, e *emulator, c *clerk) {
		h := e.hold(5)
		w.tells(t, c.Kind, h)
		propose := w.cfg.Propose
		w.cfg.Propose = func(ctx context.Context, who pavise.Principal, p change.Proposal) (*change.Change, error) {
			if _, err := propose(ctx, who, p); err != nil {
				t.Error(err)
			}
			return nil, errors.New("killed")
		}
		w.open(t)
		if err := w.clerk(t, "work").round(t.Context()); err == nil {
			t.Fatal("it was not killed")
		}
		w.cfg.Propose = propose
		w.open(t)
		w.pass(time.Hour)
		turn(t, w.clerk(t, "work"))
		all := w.passes(t)
		if len(all) != 1 || w.states(t)[5] != proposed {
			t.Fatalf("%d changes, %v", len(all), w.states(t))
		}
		if _, err := w.changes.Approve(t.Context(), eve, all[0].Name, all[0].Digest, ""); err != nil {
			t.Fatal(err)
		}
		e.mu.Lock()
		e.drops = 1
		e.mu.Unlock()
		for range 4 {
			turn(t, w.clerk(t, "work"))
			w.pass(time.Hour)
		}
		if got := e.answers(h); len(got) != 1 || w.states(t)[5] != answered {
			t.Errorf("%q, %v", got, w.states(t))
		}
	})
}

// TestWhoBeganItDoesNotPassIt: whoever had it deployed is none of those who approve it, where
// their account is known; and neither is the desk, which proposes.
func TestWhoBeganItDoesNotPassIt(t *testing.T) {
	each(t, heldIn, func(t *testing.T, w *world, e *emulator, c *clerk) {
		issues := map[string]string{gitHubDeployments: gitHub, gitLabDeployments: gitLab}[c.Kind]
		other := puts(issues, e.URL)
		other.Name = "issues"
		w.put(t, other)
		w.maps(t, "issues", "42", ben.Name(), "operator")
		h := e.hold(5)
		w.tells(t, c.Kind, h)
		turn(t, c)
		ch := w.passes(t)[0]
		desk := deskOf("local")
		desk.Roles = append(desk.Roles, "operator")
		for _, who := range []pavise.Principal{ben, desk} {
			if _, err := w.changes.Approve(t.Context(), who, ch.Name, ch.Digest, ""); pavise.KindOf(err) != pavise.Denied {
				t.Errorf("%s: %v", who.ID, err)
			}
		}
		if got := w.look(t, ch.Name); got.State != change.Open || w.changes.Hears(got) == "" {
			t.Errorf("%+v", got)
		}
	})
}

// TestTheSameHost: a host is the same however it is spelt, and who began a deployment is found there.
func TestTheSameHost(t *testing.T) {
	w := newWorld(t)
	for at, want := range map[string]int{"https://API.example.org org/repo": 1, "https://other.example.org org/repo": 0} {
		text, err := json.Marshal(Mapping{Place: at, Person: ben.Name()})
		if err != nil {
			t.Fatal(err)
		}
		var found []pavise.Name
		err = w.cfg.Store.Update(t.Context(), func(tx *store.Tx) error {
			if _, err := tx.Exec(`INSERT INTO ticket_accounts VALUES ('local', 'issues', '42', ?) ON CONFLICT DO UPDATE SET mapping = excluded.mapping`, string(text)); err != nil {
				return err
			}
			found, err = w.began(tx, row{place: place{"local", "work"}, target: target{URL: "https://api.Example.org"}}, "42")
			return err
		})
		if err != nil || len(found) != want {
			t.Errorf("%s: %v, %v", at, found, err)
		}
	}
}

// TestMoreThanAreRemembered: who tells of ever more that are over fills no disk, and those that wait
// are not forgotten for it.
func TestMoreThanAreRemembered(t *testing.T) {
	w := newWorld(t)
	w.put(t, puts(gitHubDeployments, "https://api.example.org"))
	left := map[string]int{}
	if err := w.cfg.Store.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
			INSERT INTO ticket_deployments SELECT 'local', 'work', 'd' || i, '{}', iif(i = 1, ?, ?), '', '', 0, 0, ? + i FROM n`, maxOver+7, waits, gone, w.clock().UnixMicro())
		if err != nil {
			return err
		}
		if err := await(tx, place{"local", "work"}, pipeline.Deployment{ID: "new", Number: 1, Environment: "production"}, w.clock()); err != nil {
			return err
		}
		rows, err := tx.Query(`SELECT state, count(*) FROM ticket_deployments GROUP BY state`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			state, n := "", 0
			if err := rows.Scan(&state, &n); err != nil {
				return err
			}
			left[state] = n
		}
		return rows.Err()
	}); err != nil || left[waits] != 2 || left[gone] != maxOver {
		t.Errorf("%v, %v", left, err)
	}
}

// TestTooManyWait: those that are too many are refused at the door, and none is lost that was
// taken.
func TestTooManyWait(t *testing.T) {
	each(t, []string{gitHubDeployments}, func(t *testing.T, w *world, _ *emulator, _ *clerk) {
		secret := w.row(t, "work").Keys[0].Told()
		got := map[int]int{}
		for i := range maxWaiting + 3 {
			body := asksFor(&held{number: i + 1, env: "production"}, i+1)
			got[w.post(t, body, map[string]string{"X-GitHub-Event": pipeline.EventGitHub, "X-Hub-Signature-256": hubSignature(secret, body)})]++
		}
		if got[202] != maxWaiting || got[429] != 3 || len(w.states(t)) != maxWaiting {
			t.Errorf("%v, %d wait", got, len(w.states(t)))
		}
	})
}
