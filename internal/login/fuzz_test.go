package login

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode"

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

// FuzzCallback takes the browser back with any query. Whoever does not know the state gets
// nothing; one answer is taken and no second one; what the provider says reaches the page
// never, and the terminal only in plain words of a bounded length.
func FuzzCallback(f *testing.F) {
	for _, query := range []string{
		"state=right&code=abc", "state=right&code=abc&iss=https%3A%2F%2Fi.example", "state=right&code=abc&iss=https%3A%2F%2Fother.example", "state=wrong&code=abc", "code=abc",
		"state=right&state=wrong&code=abc", "state=wrong&state=right&code=abc", "state=right&error=access_denied&error_description=%3Cscript%3E", "state=right&error=%1b%5b31m%0d%0a", "state=right&code=a%0d%0ab", "state=right&code=%00", "state=right&code=",
		"state=right;code=abc", "state=right&code=%zz", "st%61te=r%69ght&code=a", "state=right&code=a&code=b", "state=right&error=" + strings.Repeat("x", 5000), "state=right&code=" + strings.Repeat("x", 1<<15), "&&&=&state=right&code=a",
	} {
		f.Add(query)
	}
	s := &session{Config: Config{Issuer: "https://i.example", ClientID: "c"}}
	f.Fuzz(func(t *testing.T, query string) {
		arrived := make(chan outcome, 1)
		door := s.callback("right", arrived)
		ask := func() *httptest.ResponseRecorder {
			w := httptest.NewRecorder()
			door.ServeHTTP(w, &http.Request{Method: http.MethodGet, URL: &url.URL{Path: callbackPath, RawQuery: query}})
			return w
		}
		first, second := ask(), ask()
		values, _ := url.ParseQuery(query)
		knows := values.Get("state") == "right"
		if knows != (first.Code == http.StatusOK) || knows != (second.Code == http.StatusConflict) || knows != (len(arrived) == 1) {
			t.Fatalf("%q is answered with %d and %d", query, first.Code, second.Code)
		}
		if page := first.Body.String(); len(page) > 200 || strings.Count(page, "<") > 5 {
			t.Fatalf("%q is answered with %q", query, page)
		}
		if !knows {
			return
		}
		switch got := <-arrived; {
		case (got.code == "") == (got.err == nil), len(got.code) > maxToken:
			t.Fatalf("%q is %q, %v", query, got.code, got.err)
		case got.err == nil && (got.code != values.Get("code") || strings.ContainsAny(got.code, "\r\n")):
			t.Fatalf("%q is the code %q", query, got.code)
		case got.err == nil && values.Get("iss") != "" && values.Get("iss") != s.Issuer:
			t.Fatalf("%q is taken from another provider", query)
		case got.err != nil && (len(got.err.Error()) > 1000 || strings.ContainsFunc(got.err.Error(), func(r rune) bool { return !unicode.IsPrint(r) })):
			t.Fatalf("%q is told as %q", query, got.err)
		}
	})
}
