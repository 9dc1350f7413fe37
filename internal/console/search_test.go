package console

import (
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/evidence"
	"github.com/pavise/pavise/internal/record"
)

// indexes are those of the records on a page, in its order.
func indexes(body string) (all []string) {
	for _, m := range regexp.MustCompile(`<a href="/trail/(\d+)"`).FindAllStringSubmatch(body, -1) {
		all = append(all, m[1])
	}
	return all
}

// linkTo is the address that a page's link leads to, or "".
func linkTo(body, word string) string {
	m := regexp.MustCompile(`<a href="([^"]+)"[^>]*>(?:<bdi>)?` + word + `(?:</bdi>)?</a>`).FindStringSubmatch(body)
	if m == nil {
		return ""
	}
	return html.UnescapeString(m[1])
}

// A search that asks for nothing asks nobody: it shows the form, with a label on each
// field, and where people often begin.
func TestSearchForm(t *testing.T) {
	s := newStand(t).signIn()
	s.api.add(infer(began, "ci", 1, nil))
	_, body := s.get("/search")
	for _, one := range conditions {
		if !strings.Contains(body, `<label for="f-`+one.key+`">`+one.word+`</label>`) || !regexp.MustCompile(`<(input|select) id="f-`+one.key+`" name="`+one.key+`"`).MatchString(body) {
			t.Errorf("the field %s has no label", one.key)
		}
	}
	if strings.Contains(body, `<table class="rows`) || s.api.calls["ledger.list"] != 0 {
		t.Error("nothing was asked, and the API was")
	}
	begun := regexp.MustCompile(`<li><a href="(/search\?[^"]+)">`).FindAllStringSubmatch(body, -1)
	if len(begun) != len(beginnings) {
		t.Errorf("%d beginnings", len(begun))
	}
	if !strings.Contains(body, `<option value="policy.put"></option>`) {
		t.Error("the kinds that there are are not offered")
	}
}

// The conditions arrive at the API as they were written, and stand in the form again.
func TestSearchAsks(t *testing.T) {
	s := newStand(t).signIn()
	s.api.add(infer(began, "ci", 1, nil))
	for query, want := range map[string]evidence.Conditions{
		"kind=model.infer": {Kind: []string{"model.infer"}}, "kind=policy.put,+policy.delete++route": {Kind: []string{"policy.put", "policy.delete", "route"}},
		"who=local/workload/ci": {Who: "local/workload/ci"}, "on=+local/model/m+": {On: "local/model/m"}, "subject=s-1": {Subject: "s-1"}, "ending=deny": {Ending: "deny"},
		"since=2026-03-04T00:00:00Z&until=2026-03-05T00:00:00Z": {Since: "2026-03-04T00:00:00Z", Until: "2026-03-05T00:00:00Z"},
	} {
		s.api.listed = nil
		resp, body := s.get("/search?" + query)
		if resp.StatusCode != http.StatusOK || len(s.api.listed) != 1 {
			t.Fatalf("%s: status %d, asked %d times", query, resp.StatusCode, len(s.api.listed))
		}
		if got := s.api.listed[0]; fmt.Sprintf("%q", got.Conditions) != fmt.Sprintf("%q", want) || got.Limit != pageRows || got.Before != nil || got.After != nil {
			t.Errorf("%s arrives as %+v", query, got)
		}
		for _, value := range []string{want.Who, want.On, want.Subject, want.Since, want.Until} {
			if value != "" && !strings.Contains(body, `value="`+value+`"`) {
				t.Errorf("%s: %s is not in the form any more", query, value)
			}
		}
		if want.Ending != "" && !strings.Contains(body, `<option value="deny" selected>`) {
			t.Errorf("%s: the ending is not chosen any more", query)
		}
	}
}

// What a search finds is newest first, with its day, and counted.
func TestSearchFinds(t *testing.T) {
	s := newStand(t).signIn()
	s.api.add(
		infer(began.Add(-48*time.Hour), "ci", 1, nil), infer(began, "ana", 1, nil),
		infer(began, "ci", 2, func(r *record.Record) { r.Subject = "s-1" }),
	)
	_, body := s.get("/search?who=local/workload/ci")
	if got := indexes(body); !slices.Equal(got, []string{"2", "0"}) {
		t.Errorf("found %v", got)
	}
	for _, want := range []string{"2 records , newest first, down to the oldest there is, of a log of 3.", "2026-03-02 09:30:00", "2026-03-04 09:30:00"} {
		if !strings.Contains(text(body), want) {
			t.Errorf("the page does not say %q:\n%s", want, text(body))
		}
	}
	if _, body := s.get("/search?subject=s-1&kind=model"); !slices.Equal(indexes(body), []string{"2"}) || !strings.Contains(text(body), "1 record , newest") {
		t.Errorf("found %v", indexes(body))
	}
	s.api.first = 2
	if _, body := s.get("/search?kind=model"); !strings.Contains(text(body), "Those before record 2 are no longer on this machine.") {
		t.Error("a pruned log's search does not say where it begins")
	}
}

// Through its pages a search shows every record once, on the way back as on the way
// there, and says at each end that it is one.
func TestSearchPages(t *testing.T) {
	s := newStand(t).signIn()
	for i := range 3*pageRows - 10 {
		s.api.add(infer(began, "ci", 1, nil), infer(began, fmt.Sprint("other-", i), 1, nil))
	}
	turn := func(path, word string) (seen []string, last string) {
		for range 10 {
			_, body := s.get(path)
			page := indexes(body)
			if len(page) > pageRows {
				t.Errorf("%s shows %d records", path, len(page))
			}
			if word == "Newer" {
				slices.Reverse(page)
			}
			seen, last = append(seen, page...), path
			if path = linkTo(body, word); path == "" {
				ends := map[string]string{"Older": "down to the oldest there is", "Newer": "up to the newest there is"}
				if !strings.Contains(text(body), ends[word]) {
					t.Errorf("%s does not say that it is the end", last)
				}
				if opposite := map[string]string{"Older": "Newer", "Newer": "Older"}[word]; linkTo(body, opposite) == "" {
					t.Errorf("%s does not lead back to what is %s", last, opposite)
				}
				return seen, last
			}
			if !strings.HasPrefix(path, "/search?") || !strings.Contains(path, "who=local%2Fworkload%2Fci") {
				t.Fatalf("%s leads to %s", last, path)
			}
			if !strings.Contains(text(body), "and there are "+strings.ToLower(word)+" ones") && last != "/search?who=local%2Fworkload%2Fci" && word == "Older" {
				t.Errorf("%s does not say that there is more", last)
			}
		}
		t.Fatal("the pages do not end")
		return nil, ""
	}
	old, last := turn("/search?who=local%2Fworkload%2Fci", "Older")
	if len(old) != 3*pageRows-10 || len(slices.Compact(slices.Sorted(slices.Values(old)))) != len(old) || old[0] != "278" || old[len(old)-1] != "0" {
		t.Errorf("on the way there %d records, from %s to %s", len(old), old[0], old[len(old)-1])
	}
	back, _ := turn(last, "Newer")
	slices.Reverse(back)
	if !slices.Equal(back, old) {
		t.Errorf("on the way back %d records, not the same %d", len(back), len(old))
	}
	_, body := s.get(last)
	if got := linkTo(body, "Newest"); got != "/search?who=local%2Fworkload%2Fci" {
		t.Errorf("the newest are at %q", got)
	}
}

// What nothing meets says what to try: each condition can be taken away by itself.
func TestSearchFindsNothing(t *testing.T) {
	s := newStand(t).signIn()
	s.api.add(infer(began, "ci", 1, nil))
	_, body := s.get("/search?who=ci&kind=model&since=2026-03-04T00:00:00Z")
	if said := text(body); !strings.Contains(said, "No record meets all of that") || !strings.Contains(said, "local/workload/demo") {
		t.Errorf("the page does not say what to try:\n%s", said)
	}
	path := linkTo(body, "without who: ci")
	if path != "/search?kind=model&since=2026-03-04T00%3A00%3A00Z" {
		t.Fatalf("without who leads to %q", path)
	}
	if _, body := s.get(path); !slices.Equal(indexes(body), []string{"0"}) {
		t.Error("less was asked, and nothing found")
	}
	if _, body := s.get("/search?kind=model&after=7"); !strings.Contains(text(body), "No more records here") || linkTo(body, "Newest") != "/search?kind=model" {
		t.Error("a page behind the last leads nowhere")
	}
	if _, body := newStand(t).signIn().get("/search?before=9"); !strings.Contains(text(body), "No more records here") {
		t.Error("an empty log is searched without a word")
	}
}

// A form that was sent with empty fields leads to an address without them.
func TestSearchAddress(t *testing.T) {
	s := newStand(t).signIn()
	for query, want := range map[string]string{
		"kind=&who=&on=&subject=&ending=&since=&until=":      "/search",
		"kind=model&who=&on=+&subject=&ending=&since=1h":     "/search?kind=model&since=1h",
		"kind=&who=a%26b%3d%22&x=1&before=7":                 "/search?who=a%26b%3D%22",
		"kind=%0d%0aLocation:+http://evil.example&who=":      "/search?kind=Location%3A+http%3A%2F%2Fevil.example",
		"until=&kind=%2f%2fevil.example&kind=another&since=": "/search?kind=%2F%2Fevil.example",
	} {
		resp, _ := s.get("/search?" + query)
		if got := resp.Header.Get("Location"); resp.StatusCode != http.StatusSeeOther || got != want {
			t.Errorf("%s: status %d to %q, want %q", query, resp.StatusCode, got, want)
		}
	}
	if s.api.calls["ledger.list"] != 0 {
		t.Error("the API was asked on the way")
	}
}

// What cannot be asked is said in the API's words, over the form as it was filled in.
func TestSearchRefused(t *testing.T) {
	s := newStand(t).signIn()
	s.api.add(infer(began, "ci", 1, nil))
	for query, want := range map[string]string{
		"since=yesterday&who=ci":               `Since is "yesterday", no time. write 2026-11-26`,
		"before=-1&who=ci":                     `Before is "-1", no record's index. leave it out`,
		"after=1e3&who=ci":                     `After is "1e3", no record's index.`,
		"before=18446744073709551616&who=ci":   `Before is "18446744073709551616", no record's index.`,
		"after=" + strings.Repeat("9", 10<<10): `After is "9999999999999999999999999999999999999999", no record's index.`,
	} {
		resp, body := s.get("/search?" + query)
		checkHeaders(t, query[:10], resp, body)
		if resp.StatusCode != http.StatusBadRequest || !strings.Contains(text(body), want) || !strings.Contains(body, `role="alert"`) || len(indexes(body)) != 0 {
			t.Errorf("%.40s: status %d, and the page does not say %q:\n%s", query, resp.StatusCode, want, text(body))
		}
		if strings.Contains(query, "who=ci") && !strings.Contains(body, `value="ci"`) {
			t.Errorf("%.40s: the form is empty again", query)
		}
	}
	s.api.problems["ledger.list"] = api.Problem{Status: 403, Title: "denied", Detail: "no policy permits it", Hint: "ask for the role analyst"}
	if resp, body := s.get("/search?kind=model"); resp.StatusCode != http.StatusForbidden || !strings.Contains(text(body), "No policy permits it. ask for the role analyst") {
		t.Errorf("who may not: status %d", resp.StatusCode)
	}
	s.api.problems["ledger.list"] = api.Problem{Status: 401, Title: "unverified", Detail: "the token has ended"}
	if resp, _ := s.get("/search?kind=model"); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("whose token has ended: status %d", resp.StatusCode)
	}
	if resp, _ := s.get("/search"); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("their session: status %d", resp.StatusCode)
	}
}

// Indexes at the edges of what an index can be turn into no page that is not there.
func TestSearchAtTheEdges(t *testing.T) {
	s := newStand(t).signIn()
	s.api.add(infer(began, "ci", 1, nil), infer(began, "ci", 1, nil))
	for query, want := range map[string][]string{
		"after=0": {"1", "0"}, "before=18446744073709551615": {"1", "0"}, "after=18446744073709551615": nil, "before=0": nil, "before=1": {"0"}, "after=1": {"1"}, "after=1&before=1": nil, "after=0&before=1": {"0"},
	} {
		if resp, body := s.get("/search?" + query); resp.StatusCode != http.StatusOK || !slices.Equal(indexes(body), want) {
			t.Errorf("%s: status %d, records %v, want %v", query, resp.StatusCode, indexes(body), want)
		}
	}
}

// What stands in an address is text, in the form, in what to try, and in the links;
// and 10 kB of it are no more than that.
func TestHostileSearch(t *testing.T) {
	s := newStand(t).signIn()
	s.api.add(hostiles()...)
	for _, one := range conditions {
		for name, value := range map[string]string{"a payload": payload, "10 kB": strings.Repeat("x<", 5<<10), "another address": "javascript:alert(1)//"} {
			if one.key == "since" || one.key == "until" {
				value = "2026-03-04T00:00:00Z" + value
			}
			resp, body := s.get("/search?kind=model&" + url.Values{one.key: {value}}.Encode())
			if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusBadRequest || raw.MatchString(body) || strings.Contains(body, `href="javascript`) {
				t.Errorf("%s with %s: status %d; %q came through raw", one.key, name, resp.StatusCode, raw.FindString(body))
			}
		}
	}
	_, body := s.get("/search?" + url.Values{"who": {payload}}.Encode())
	if raw.MatchString(body) || !strings.Contains(body, "XMARK") {
		t.Errorf("%q came through raw, %d are shown", raw.FindString(body), strings.Count(body, "XMARK"))
	}
	if _, body := s.get("/search?kind=model"); raw.MatchString(body) || !strings.Contains(body, "XMARK") {
		t.Errorf("a record's %q came through raw", raw.FindString(body))
	}
	s.api.problems["ledger.list"] = api.Problem{Status: 400, Title: "invalid", Detail: payload, Hint: payload}
	if _, body := s.get("/search?kind=model"); raw.MatchString(body) || strings.Count(body, "XMARK") != 2 {
		t.Error("a refusal let a payload through, or hid it")
	}
}
