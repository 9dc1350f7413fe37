package role

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/installation"
	"github.com/pavise/pavise/internal/issuer"
	"github.com/pavise/pavise/internal/ticket"
	"github.com/pavise/pavise/internal/verbs"
)

// TestARunWaitsForAChange goes the whole way in one process: GitHub says that a deployment
// waits, a change is proposed for it, GitHub hears nothing until somebody approves it, and then
// that it may go on.
func TestARunWaitsForAChange(t *testing.T) {
	var answers page // what GitHub is told
	tool := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/installation"):
			fmt.Fprint(w, `{"id":77}`)
		case strings.HasSuffix(r.URL.Path, "/access_tokens"):
			fmt.Fprintf(w, `{"token":"ghs_x","expires_at":%q}`, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
		case r.Method == http.MethodGet:
			fmt.Fprintf(w, `{"id":5,"name":"deploy","head_branch":"main","head_sha":%q,"status":"waiting","run_attempt":1,"triggering_actor":{"id":42},"head_repository":{"full_name":"org/repo"}}`, strings.Repeat("ab", 20))
		default:
			text, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			fmt.Fprintln(&answers, r.URL.Path, string(text))
			w.WriteHeader(http.StatusNoContent)
		}
	}))
	t.Cleanup(tool.Close)
	u := runUp(t, UpConfig{Say: func(w string, err error) { t.Log(w, err) }, Data: installation.Data(t.TempDir()), People: []string{"bob"}})
	client := func(id string) *api.Client {
		token, err := u.issuer.Bootstrap(issuer.MintRequest{Subject: id, Kind: pavise.Human, Roles: []string{"operator"}})
		if err != nil {
			t.Fatal(err)
		}
		return &api.Client{Base: u.Server, Token: token.Value}
	}
	me, bob := client(u.operator.ID), client("bob")
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	secret := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	var given ticket.Given
	put := verbs.TicketPut{Name: "runs", Kind: "github-deployments", URL: tool.URL, Project: "org/repo", User: "Iv1.app", Secret: secret}
	if err := me.Call(t.Context(), "ticket.put", put, &given); err != nil {
		t.Fatal(err)
	}
	const message = `{"action":"requested","environment":"production","deployment_callback_url":"https://api.github.com/repos/org/repo/actions/runs/5/deployment_protection_rule","deployment":{"id":9}}`
	for sealed, want := range map[string]int{"whsec_wrong": http.StatusUnauthorized, given.Secret: http.StatusAccepted} {
		mac := hmac.New(sha256.New, []byte(sealed))
		mac.Write([]byte(message))
		req, err := http.NewRequest(http.MethodPost, u.Server+"/v1/tickets/"+Tenant+"/runs", strings.NewReader(message))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-GitHub-Event", "deployment_protection_rule")
		req.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("the door answers %d, not %d", resp.StatusCode, want)
		}
	}
	var waits ticket.Waiting
	for end := time.Now().Add(20 * time.Second); waits.State != "proposed" && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		var s ticket.Shown
		if err := me.Call(t.Context(), "ticket.show", verbs.ToolName{Name: "runs"}, &s); err != nil {
			t.Fatal(err)
		}
		if len(s.Deployments) == 1 {
			waits = s.Deployments[0]
		}
	}
	var ch api.ChangeView
	if err := bob.Call(t.Context(), "change.show", verbs.ChangeRequest{ID: waits.Change.ID}, &ch); err != nil {
		t.Fatalf("%+v, %v", waits, err)
	}
	if ch.State != change.Open || ch.Verb != ticket.VerbPass || !strings.Contains(ch.Plan.Summary, "abababababab of main be deployed to production") || answers.String() != "" {
		t.Fatalf("%+v; GitHub was told %q", ch, answers.String())
	}
	if err := bob.Call(t.Context(), "change.approve", verbs.VoteRequest{ID: ch.Name.ID, Digest: ch.Digest}, &ch); err != nil || ch.State != change.Done {
		t.Fatalf("%+v, %v", ch, err)
	}
	await(t, answers.String, "/repos/org/repo/actions/runs/5/deployment_protection_rule", `"state":"approved"`, `"environment_name":"production"`, ch.Name.ID)
	if text, err := json.Marshal(ch); err != nil || strings.Contains(string(text), "PRIVATE KEY") {
		t.Errorf("%s, %v", text, err)
	}
}
