package console

import (
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/catalog"
	"github.com/pavise/pavise/internal/lineage"
	"github.com/pavise/pavise/internal/rowseal"
)

// The page of datasets says how each stands, what was found in its place, and leads on.
func TestDatasetsPage(t *testing.T) {
	s := newStand(t).signIn()
	if _, body := s.get("/datasets"); !strings.Contains(text(body), "No dataset is known") {
		t.Error("there is none, and the page does not say so")
	}
	named := func(id string) pavise.Name { return pavise.Name{Tenant: "local", Kind: "dataset", ID: id} }
	place := catalog.Place{URL: "file:///lake/" + payload}
	s.api.datasets = catalog.List{More: 2, Datasets: []catalog.View{
		{State: catalog.StateChanged, Dataset: catalog.Dataset{
			Name: named("flows"), Called: lineage.Dataset{Namespace: "s3://lake", Name: "flows"}, Watch: &catalog.Watch{Place: place}, Next: began,
			Newest: &catalog.Version{Number: 3, Rows: 1234, Files: 1, Root: rowseal.Digest{0xab}, At: began, By: ana, Change: pavise.Name{Tenant: "local", Kind: "change", ID: "c-acc"}},
			Found:  &catalog.Finding{Root: rowseal.Digest{0xcd}, Since: began, Would: &catalog.Version{Rows: 1}}, Last: &catalog.Look{Ended: began, Full: true},
		}},
		{State: catalog.StateUnreachable, Dataset: catalog.Dataset{Name: named("gone"), Silent: &catalog.Silence{Since: began, Why: payload}}},
	}}
	_, body := s.get("/datasets")
	said := strings.ReplaceAll(text(body), "\u202f", " ")
	for _, want := range []string{"Changed flows local/dataset/flows Version 3, 1 234 rows in 1 file, since 2026-03-04 09:30 UTC by ana , in change c-acc", "Found there 1 row, cd00", "Looked at 2026-03-04 09:30 UTC, all of it was read", "Unreachable gone", "its seal was handed over Not seen since 2026-03-04 09:30 UTC:", "pavise dataset show flows", "and 2 more"} {
		if !strings.Contains(said, want) {
			t.Errorf("the page does not say %q:\n%s", want, said)
		}
	}
	for _, want := range []string{`href="/changes/c-acc"`, `href="/search?on=local%2Fdataset%2Fflows"`, `href="/lineage?of=s3%3A%2F%2Flake&#43;flows"`} {
		if !strings.Contains(body, want) {
			t.Errorf("the page has no %s", want)
		}
	}
	if raw.MatchString(body) || strings.Count(body, "XMARK") < 2 {
		t.Error("what people typed came through raw, or not at all")
	}
	if _, body := s.get("/lineage"); !strings.Contains(body, `href="/datasets"`) {
		t.Error("nothing leads to the datasets")
	}
}
