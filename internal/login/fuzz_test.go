package login

import (
	"encoding/base64"
	"encoding/json"
	"testing"
	"time"

	"github.com/pavise/pavise"
)

// FuzzGrant reads what a token endpoint answers. What is taken has a token of a bounded length
// and a time within a year; an ID token for somebody else is never among it.
func FuzzGrant(f *testing.F) {
	id := func(claims string) string { return "h." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".s" }
	f.Add([]byte(`{"access_token":"a","token_type":"Bearer","expires_in":3600}`), "")
	f.Add([]byte(`{"token_type":"bearer","expires_in":1e300}`), id(`{"iss":"https://i.example","aud":["c"],"nonce":"n"}`))
	f.Add([]byte(`{"access_token":7,"token_type":"Bearer","expires_in":"1"}`), id(`{"iss":"https://i.example","aud":"d","nonce":"n"}`))
	f.Add([]byte(`{"access_token":"a","token_type":"Bearer","expires_in":1e-300}`), "..")
	f.Fuzz(func(t *testing.T, body []byte, token string) {
		var m map[string]json.RawMessage
		if json.Unmarshal(body, &m) != nil || m == nil {
			return
		}
		if token != "" {
			m["id_token"], _ = json.Marshal(token)
		}
		s := &session{Config: Config{Issuer: "https://i.example", ClientID: "c"}}
		g, err := s.grant(m, "n")
		switch {
		case err != nil && pavise.KindOf(err) != pavise.Unverified:
			t.Fatalf("%s: %v", body, err)
		case err != nil:
		case g.Access == "" && g.ID == "", len(g.Access) > maxToken, len(g.ID) > maxToken:
			t.Fatalf("%s gives %+v", body, g)
		case !g.Expires.IsZero() && (time.Until(g.Expires) < 0 || time.Until(g.Expires) > 366*24*time.Hour):
			t.Fatalf("%s is good until %v", body, g.Expires)
		case g.ID != "" && s.checkID(g.ID, "other") == nil:
			t.Fatalf("%s is taken for any question", g.ID)
		}
	})
}
