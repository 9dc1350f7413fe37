package verbs

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/issuer"
)

// TestProgramGetsNoConsoleLink asks for one with a program's token, operator
// though it is.
func TestProgramGetsNoConsoleLink(t *testing.T) {
	w := newWorld(t)
	token, err := w.Issuer.Bootstrap(issuer.MintRequest{Subject: "ci", Kind: pavise.Workload, Roles: []string{issuer.RoleOperator}})
	if err != nil {
		t.Fatal(err)
	}
	before := w.Log.Size()
	var link ConsoleLink
	err = (&api.Client{Base: w.server.URL, Token: token.Value}).Call(t.Context(), "console.link", api.Empty{}, &link)
	if pavise.KindOf(err) != pavise.Denied || !strings.Contains(err.Error(), "workload/ci is no person") || link.Link != "" {
		t.Errorf("link %q, %v", link.Link, err)
	}
	if got := phases(w, before, "console.link"); got != "enter exit" {
		t.Errorf("it left %q", got)
	}
	if len(w.linked) != 0 {
		t.Errorf("a link was made for %q", w.linked)
	}
}

// TestConsoleLinkIsOfWhoAsks has links made by two people: each is for the token
// that asked, until it ends, so that nobody gets more than they have.
func TestConsoleLinkIsOfWhoAsks(t *testing.T) {
	w := newWorld(t)
	var want []string
	for _, id := range []string{"bob", "carol"} {
		token, err := w.Issuer.Bootstrap(issuer.MintRequest{Subject: id, Kind: pavise.Human, Roles: []string{issuer.RoleOperator}, TTL: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		var link ConsoleLink
		if err := (&api.Client{Base: w.server.URL, Token: token.Value}).Call(t.Context(), "console.link", api.Empty{}, &link); err != nil || link.Link == "" {
			t.Errorf("%s: link %q, %v", id, link.Link, err)
		}
		want = append(want, fmt.Sprint(token.Value, " until ", token.Expires.Unix()))
	}
	if !slices.Equal(w.linked, want) {
		t.Errorf("links were made for %q", w.linked)
	}
}
