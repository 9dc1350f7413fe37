package role

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
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

// TestVoteFromAnIssue goes the whole way in one process: a release is proposed, an issue is
// opened for it, somebody who is known comments on it, the tool's message comes to the door,
// and the change is run with a record that says where the vote was read; then the issue is
// closed. A message that nobody signed changes nothing.
func TestVoteFromAnIssue(t *testing.T) {
	var issues page // what the tool is asked
	comments := make(chan string, 1)
	var mu sync.Mutex     // guards what follows
	said, shown := "", "" // what somebody wrote under the issue, and the issue's own text
	tool := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		now := time.Now().UTC().Format(time.RFC3339)
		switch {
		case r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/comments"):
			select {
			case said = <-comments:
			default:
			}
			if said == "" {
				fmt.Fprint(w, `[]`)
				return
			}
			fmt.Fprintf(w, `[{"id":9,"user":{"id":42,"type":"User"},"body":%q,"created_at":%q,"updated_at":%q}]`, said, now, now)
		case r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/issues/7"):
			fmt.Fprint(w, shown)
		case r.Method == http.MethodGet:
			fmt.Fprint(w, `[]`)
		default:
			var body struct{ Title, Body, State string }
			if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
				t.Error(err)
			}
			fmt.Fprintln(&issues, r.Method, r.URL.Path, body.Title, body.Body, body.State)
			if strings.HasSuffix(r.URL.Path, "/issues") && strings.Contains(body.Title, "let nobody ask") {
				text, _ := json.Marshal(map[string]any{"number": 7, "title": body.Title, "body": body.Body})
				shown = string(text)
			}
			fmt.Fprintf(w, `{"number":7,"created_at":%q}`, time.Now().Add(-time.Hour).UTC().Format(time.RFC3339))
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
	call := func(c *api.Client, verb string, req, resp any) {
		t.Helper()
		if err := c.Call(t.Context(), verb, req, resp); err != nil {
			t.Fatal(err)
		}
	}
	var given ticket.Given
	call(me, "ticket.put", verbs.TicketPut{Name: "work", Kind: "github", URL: tool.URL, Project: "org/repo", Secret: []byte("token\n")}, &given)
	var ch api.ChangeView
	gus := pavise.Name{Tenant: Tenant, Kind: pavise.Human, ID: "gus"}
	call(me, "ticket.map", verbs.TicketMap{Name: "work", Account: "42", Person: gus, Role: []string{"operator"}, Days: 7}, &ch)
	call(bob, "change.approve", verbs.VoteRequest{ID: ch.Name.ID, Digest: ch.Digest}, &ch)
	call(me, "route.quarantine", verbs.RouteRequest{Name: Tenant + "/model/" + Sample}, &ch)
	await(t, issues.String, "POST /repos/org/repo/issues ", ch.Name.ID, ch.Digest, "pavise approve "+ch.Digest[:12])
	comments <- "pavise approve " + ch.Digest[:12]
	for secret, want := range map[string]int{"whsec_wrong": http.StatusUnauthorized, given.Secret: http.StatusAccepted} {
		req, err := http.NewRequest(http.MethodPost, u.Server+"/v1/tickets/"+Tenant+"/work", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Gitlab-Token", secret)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("the door answers %d, not %d: %s", resp.StatusCode, want, text)
		}
	}
	await(t, issues.String, "local/human/gus approves it, on #7 in work", "PATCH /repos/org/repo/issues/7", "closed")
	call(me, "change.show", verbs.ChangeRequest{ID: ch.Name.ID}, &ch)
	if o := ch.Votes[0].Origin; ch.State != change.Done || o == nil || o.Account != "42" || o.Ticket != "#7" {
		t.Errorf("%+v", ch)
	}
}
