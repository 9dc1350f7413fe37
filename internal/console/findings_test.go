package console

import (
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/siem"
)

// The page of findings says how bad each is, leads to its record, and asks for what is wanted.
func TestFindingsPage(t *testing.T) {
	s := newStand(t).signIn()
	if _, body := s.get("/findings"); !strings.Contains(text(body), "Nothing that a person should look at") || s.api.wanted.Least != "" || s.api.wanted.Before != nil {
		t.Errorf("there is none, and the page does not say so; asked for %+v", s.api.wanted)
	}
	thief := pavise.Name{Tenant: "local", Kind: pavise.Workload, ID: "thief"}
	s.api.found = siem.List{More: true, Before: 7, Findings: []siem.Finding{
		{Record: 12, Severity: siem.Critical, At: began, On: pavise.Name{Tenant: "local", Kind: "dataset", ID: "flows"}, Title: "What lies there is not the dataset", Summary: "row 3 changed", Count: 1},
		{Record: 9, Severity: siem.Low, At: began, Who: thief, Title: "A caller was refused", Summary: "it asked too much", Count: 1234},
		{Record: 8, Severity: siem.Medium, At: began, Source: "10.0.0.9", Title: "Callers without a good proof", Summary: "2 callers", Count: 2},
	}}
	resp, body := s.get("/findings?least=medium&before=40")
	checkHeaders(t, "/findings", resp, body)
	said := strings.ReplaceAll(text(body), "\u202f", " ")
	for _, want := range []string{"2026-03-04 09:30:00 UTC Critical What lies there is not the dataset Row 3 changed. dataset/flows", "Low A caller was refused 1 234 times thief workload", "Medium Callers without a good proof 2 times 10.0.0.9 2 callers.", "Newest Older"} {
		if !strings.Contains(said, want) {
			t.Errorf("the page does not say %q:\n%s", want, said)
		}
	}
	for _, want := range []string{`href="/trail/12"`, `class="row deny"`, `class="row alter"`, `class="row note"`, `href="/findings?before=7&amp;least=medium"`, `href="/findings?least=medium"`} {
		if !strings.Contains(body, want) {
			t.Errorf("the page has no %s", want)
		}
	}
	if s.api.wanted.Least != "medium" || s.api.wanted.Before == nil || *s.api.wanted.Before != 40 || s.api.wanted.Limit != maxFindings {
		t.Errorf("asked for %+v", s.api.wanted)
	}
	s.api.found = siem.List{Findings: []siem.Finding{{Source: payload, Title: payload, Summary: payload}}}
	if _, body := s.get("/findings"); raw.MatchString(body) || !strings.Contains(body, "XMARK") {
		t.Errorf("what records quote came through raw:\n%s", body)
	}
	if _, body := s.get("/"); !strings.Contains(body, `href="/findings"`) {
		t.Error("nothing leads to the findings")
	}
}
