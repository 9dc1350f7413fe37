package verbs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/evidence"
	"github.com/pavise/pavise/internal/issuer"
)

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// word is the part of an invitation that is sent.
func word(t *testing.T, text string) string {
	t.Helper()
	rest, ok := strings.CutPrefix(text, "pavise-invite:v1.")
	word, _, ok2 := strings.Cut(rest, ".")
	if !ok || !ok2 {
		t.Fatalf("%q is no invitation", text)
	}
	return word
}

// invite invites a machine, as somebody.
func (w *world) invite(t *testing.T, id string) issuer.Invitation {
	t.Helper()
	var inv issuer.Invitation
	if err := w.client(t, "operator").Call(t.Context(), "node.invite", InviteRequest{ID: id}, &inv); err != nil {
		t.Fatal(err)
	}
	return inv
}

// join knocks at the door for those whom nobody knows.
func (w *world) join(t *testing.T, body string) (int, issuer.Issued, api.Problem) {
	t.Helper()
	resp, err := http.Post(w.server.URL+"/v1/node.join", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var (
		out issuer.Issued
		p   api.Problem
	)
	if resp.StatusCode == http.StatusOK {
		err = json.Unmarshal(text, &out)
	} else {
		err = json.Unmarshal(text, &p)
	}
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return resp.StatusCode, out, p
}

func joinBody(t *testing.T, word string, key *ecdsa.PrivateKey) string {
	t.Helper()
	csr, err := issuer.Request(key)
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(issuer.JoinRequest{Word: word, CSR: csr})
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// joined has a machine join.
func (w *world) joined(t *testing.T, id string) issuer.Issued {
	t.Helper()
	status, out, p := w.join(t, joinBody(t, word(t, w.invite(t, id).Text), newKey(t)))
	if status != http.StatusOK {
		t.Fatalf("%s does not join: %+v", id, p)
	}
	return out
}

// TestJoinDoor lets a machine in once, by the invitation alone, and tells its word to
// nobody.
func TestJoinDoor(t *testing.T) {
	w := newWorld(t)
	inv := w.invite(t, "gw-1")
	body := joinBody(t, word(t, inv.Text), newKey(t))
	status, out, p := w.join(t, body)
	if status != http.StatusOK || out.ID != "spiffe://test.example/node/gw-1" || len(out.Chain) != 1 || len(out.Roots) != 1 {
		t.Fatalf("%d %+v %+v", status, out, p)
	}
	if status, _, p = w.join(t, body); status != http.StatusUnauthorized || p.Title != "unverified" {
		t.Errorf("the same invitation again: %d %+v", status, p)
	}
	for name, bad := range map[string]string{
		"no JSON":        "word",
		"an array":       "[]",
		"an unknown key": `{"word":"x","csr":"","more":1}`,
		"a key twice":    `{"word":"x","word":"y","csr":""}`,
		"too long":       `{"word":"` + strings.Repeat("x", issuer.MaxJoin) + `"}`,
	} {
		if status, _, p := w.join(t, bad); status != http.StatusBadRequest || p.Hint == "" {
			t.Errorf("%s: %d %+v", name, status, p)
		}
	}
	var all evidence.ListAnswer
	operator := w.client(t, "operator")
	if err := operator.Call(t.Context(), "ledger.list", evidence.ListRequest{Limit: 1000}, &all); err != nil {
		t.Fatal(err)
	}
	var holders json.RawMessage
	if err := operator.Call(t.Context(), "node.list", api.Empty{}, &holders); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(all)
	if err != nil || !bytes.Contains(text, []byte("node.join")) || bytes.Contains(append(text, holders...), []byte(word(t, inv.Text))) {
		t.Errorf("the records lack the joining, or tell the word of the invitation: %v", err)
	}
}

// TestJoinDoorIsOnce has many come with one invitation.
func TestJoinDoorIsOnce(t *testing.T) {
	w := newWorld(t)
	invitation := word(t, w.invite(t, "gw-1").Text)
	var (
		wg sync.WaitGroup
		mu sync.Mutex
		in int
	)
	for range 20 {
		body := joinBody(t, invitation, newKey(t))
		wg.Go(func() {
			if status, _, _ := w.join(t, body); status == http.StatusOK {
				mu.Lock()
				in++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if in != 1 {
		t.Errorf("%d joined with one invitation", in)
	}
}

// TestJoinDoorIsKnockedAt tries words from one address until that is throttled, and one
// that is good is let in all the same.
func TestJoinDoorIsKnockedAt(t *testing.T) {
	w := newWorld(t)
	good := joinBody(t, word(t, w.invite(t, "gw-1").Text), newKey(t))
	bad := joinBody(t, strings.Repeat("A", 43), newKey(t))
	throttled := false
	for range 60 {
		status, _, _ := w.join(t, bad)
		throttled = throttled || status == http.StatusTooManyRequests
		if status != http.StatusTooManyRequests && status != http.StatusUnauthorized {
			t.Fatalf("a word that is none: %d", status)
		}
	}
	if !throttled {
		t.Error("nobody is throttled")
	}
	if status, _, p := w.join(t, good); status != http.StatusOK {
		t.Errorf("a good word: %d %+v", status, p)
	}
}

// TestRenewIsForHolders refuses whoever comes with a token and no certificate.
func TestRenewIsForHolders(t *testing.T) {
	w := newWorld(t)
	csr, err := issuer.Request(newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.client(t, "operator").Call(t.Context(), "node.renew", RenewRequest{CSR: csr}, nil); pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("with a token: %v", err)
	}
}

// TestOnePersonMakesNoSecondOne walks the ways in which one operator could make somebody
// who then approves: each ends with the same root, or takes another person.
func TestOnePersonMakesNoSecondOne(t *testing.T) {
	w := newWorld(t)
	ana := w.client(t, "operator")
	body := `{"id":"eve","kind":"human"}`
	if resp, p := post(t, ana, "node.invite", body); resp.StatusCode != http.StatusBadRequest && resp.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("a person by node.invite: %d %+v", resp.StatusCode, p)
	}
	if resp, p := post(t, ana, "node.invite", `{"id":"bot","kind":"workload","role":["operator"]}`); resp.StatusCode != http.StatusForbidden {
		t.Errorf("an operator by node.invite: %d %+v", resp.StatusCode, p)
	}
	w.joined(t, "gw-1")
	if h, ok := w.CA.Holders().Lookup(pavise.Node, "gw-1", leafTime(t, w, "gw-1")); !ok || h.By.String() != "local/human/somebody" {
		t.Errorf("a machine answers for itself: %+v", h)
	}
	key := newKey(t)
	fingerprint, err := issuer.KeyFingerprint(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	w.done(t, "person.invite", PersonRequest{ID: "eve", Key: fingerprint, Role: []string{"operator"}})
	var list HolderList
	if err := ana.Call(t.Context(), "node.list", api.Empty{}, &list); err != nil {
		t.Fatal(err)
	}
	text := ""
	for _, h := range list.Holders {
		if h.ID == "eve" {
			text = h.Invitation
		}
	}
	if status, _, p := w.join(t, joinBody(t, word(t, text), newKey(t))); status != http.StatusForbidden {
		t.Errorf("with another key than the approved one: %d %+v", status, p)
	}
	status, out, p := w.join(t, joinBody(t, word(t, text), key))
	if status != http.StatusOK {
		t.Fatalf("eve: %+v", p)
	}
	leaf, err := x509.ParseCertificate(out.Chain[0])
	if err != nil {
		t.Fatal(err)
	}
	if h, ok := w.CA.Holders().Lookup(pavise.Human, "eve", leaf.NotBefore); !ok || h.By != (pavise.Name{}) || h.Roles[0] != "operator" {
		t.Errorf("a person whom others approved: %+v", h)
	}
	// Where a rule asks for nobody, who proposes answers for the person.
	w.done(t, "change.rule", RuleRequest{Verb: "person.invite", Need: new(0), Days: 1})
	var ch api.ChangeView
	if err := ana.Call(t.Context(), "person.invite", PersonRequest{ID: "mallory", Key: fingerprint, Role: []string{"operator"}}, &ch); err != nil {
		t.Fatal(err)
	}
	if err := ana.Call(t.Context(), "node.list", api.Empty{}, &list); err != nil {
		t.Fatal(err)
	}
	for _, h := range list.Holders {
		if h.ID == "mallory" && h.By.String() != "local/human/somebody" {
			t.Errorf("a person whom nobody else approved: %+v", h)
		}
	}
}

// leafTime is a time within the current membership of a holder.
func leafTime(t *testing.T, w *world, id string) (at time.Time) {
	t.Helper()
	b, err := json.Marshal(w.CA.Holders())
	if err != nil {
		t.Fatal(err)
	}
	var list []issuer.Holder
	if err := json.Unmarshal(b, &list); err != nil {
		t.Fatal(err)
	}
	for _, h := range list {
		if h.ID == id {
			return h.Since
		}
	}
	t.Fatalf("%s has not joined", id)
	return at
}

// TestRolesAreOfWhoHeldThem: what was proposed for one machine gives nothing to another
// that comes under its name, and who answers for a machine does not approve what it gains.
func TestRolesAreOfWhoHeldThem(t *testing.T) {
	w := newWorld(t)
	w.joined(t, "gw-1") // somebody's
	ana, ben := w.person(t, "ana", "operator"), w.person(t, "ben", "operator")
	var ch api.ChangeView
	if err := ana.Call(t.Context(), "node.roles", RolesRequest{ID: "gw-1", Role: []string{"operator"}}, &ch); err != nil {
		t.Fatal(err)
	}
	vote := VoteRequest{ID: ch.Name.ID, Digest: ch.Digest}
	if err := w.client(t, "operator").Call(t.Context(), "change.approve", vote, nil); pavise.KindOf(err) != pavise.Denied {
		t.Errorf("who answers for the machine approves its roles: %v", err)
	}
	var inv issuer.Invitation
	if err := ben.Call(t.Context(), "node.revoke", HolderRequest{ID: "gw-1"}, nil); err != nil {
		t.Fatal(err)
	}
	if err := ben.Call(t.Context(), "node.invite", InviteRequest{ID: "gw-1"}, &inv); err != nil {
		t.Fatal(err)
	}
	if status, _, p := w.join(t, joinBody(t, word(t, inv.Text), newKey(t))); status != http.StatusOK {
		t.Fatalf("ben's machine does not join: %+v", p)
	}
	if err := w.person(t, "kim", "operator").Call(t.Context(), "change.approve", vote, nil); pavise.KindOf(err) != pavise.Conflict {
		t.Errorf("ben's machine gets the roles of another: %v", err)
	}
}
