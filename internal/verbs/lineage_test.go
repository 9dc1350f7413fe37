package verbs

import (
	"net/http"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/lineage"
	"github.com/pavise/pavise/internal/openlineage"
)

// TestLineageByTokens tells of a run with a plain token, and with one that is bound to a key,
// as verbs are asked: a proof counts once and for one address.
func TestLineageByTokens(t *testing.T) {
	w, k, thief := newWorld(t), newKeeper(t), newKeeper(t)
	olga := w.person(t, "olga", "operator")
	_, got := w.exchange(t, k, asking(olga.Token, "scope", "operator"))
	bound, at := got["access_token"].(string), w.base+openlineage.PathEvent
	event := `{"eventType":"COMPLETE","eventTime":"2026-11-27T10:00:00Z","producer":"p","schemaURL":"s","run":{"runId":"6f1c0000-0000-4000-8000-000000000001"},"job":{"namespace":"j","name":"train"},"outputs":[{"namespace":"mlflow","name":"fraud"}]}`
	tell := func(authorization string, proofs ...string) int {
		t.Helper()
		req, err := http.NewRequest("POST", at, strings.NewReader(event))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		if authorization != "" {
			req.Header.Set("Authorization", authorization)
		}
		for _, p := range proofs {
			req.Header.Add("DPoP", p)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode == 401 && resp.Header.Get("WWW-Authenticate") == "" {
			t.Error("refused without a word on how to be known")
		}
		return resp.StatusCode
	}
	once := k.proof(t, at, bound)
	for _, c := range []struct {
		name      string
		got, want int
	}{
		{"nobody", tell(""), 401},
		{"a token", tell("Bearer " + olga.Token), 200},
		{"no token", tell("Bearer x"), 401},
		{"an analyst", tell("Bearer " + w.person(t, "ann", "analyst").Token), 403},
		{"a caller of models", tell("Bearer " + w.person(t, "cal", "caller").Token), 403},
		{"the holder", tell("DPoP "+bound, once), 200},
		{"the same proof", tell("DPoP "+bound, once), 401},
		{"a thief", tell("DPoP "+bound, thief.proof(t, at, bound)), 401},
		{"a thief, as bearer", tell("Bearer " + bound), 401},
		{"a proof for another path", tell("DPoP "+bound, k.proof(t, at+"/batch", bound)), 401},
	} {
		if c.got != c.want {
			t.Errorf("%s: %d, want %d", c.name, c.got, c.want)
		}
	}
	var traced lineage.Traced
	if err := w.person(t, "ann", "analyst").Call(t.Context(), "dataset.lineage", lineage.Question{Dataset: "mlflow/fraud"}, &traced); err != nil || traced.Events != 1 {
		t.Errorf("%+v, %v", traced, err) // the token of the exchange names the same person
	}
	w.Lineage = nil
	if err := olga.Call(t.Context(), "dataset.exposed", lineage.Search{Roots: []string{strings.Repeat("a", 64)}}, nil); pavise.KindOf(err) != pavise.Unavailable {
		t.Errorf("where nobody tells: %v", err)
	}
	if err := olga.Call(t.Context(), "dataset.lineage", api.Empty{}, nil); pavise.KindOf(err) != pavise.Unavailable {
		t.Errorf("where nobody tells: %v", err)
	}
}
