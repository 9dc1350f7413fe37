package role

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/catalog"
	"github.com/pavise/pavise/internal/config"
	"github.com/pavise/pavise/internal/store/blob/blobtest"
	"github.com/pavise/pavise/internal/verbs"
)

// TestServeWatchesDatasets has a control plane look where its configuration says and nowhere
// else.
func TestServeWatchesDatasets(t *testing.T) {
	p := begin(t)
	lake := t.TempDir()
	if err := os.WriteFile(filepath.Join(lake, "rows.csv"), []byte("a,b\n1,2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	rows := verbs.DatasetRef{Name: pavise.Name{Tenant: "acme", Kind: catalog.Kind, ID: "rows"}}
	watch := verbs.DatasetWatch{DatasetRef: rows, From: "file://" + filepath.Join(lake, "rows.csv")}
	if err := p.ana.Call(t.Context(), "dataset.watch", watch, nil); pavise.KindOf(err) != pavise.Denied {
		t.Errorf("without roots: %v", err)
	}
	p.running.stop()
	p.cfg.Datasets = &config.Datasets{Roots: []string{lake}}
	p.serve(t)
	if err := p.ana.Call(t.Context(), "dataset.watch", watch, nil); err != nil {
		t.Fatal(err)
	}
	var v catalog.View
	if err := p.bob.Call(t.Context(), "dataset.check", verbs.DatasetCheck{DatasetRef: rows}, &v); err != nil || v.State != catalog.StateSealed || v.Newest.Rows != 2 {
		t.Errorf("%+v, %v", v, err)
	}
}

// TestServeWatchesBuckets has a control plane look into a bucket that its configuration names: a row
// that somebody changes there is named, and another bucket is nobody's to name.
func TestServeWatchesBuckets(t *testing.T) {
	store := blobtest.New(t)
	store.Put("rows/a.csv", "a,b\n1,2\n3,4\n")
	p := begin(t)
	p.running.stop()
	p.cfg.Datasets = &config.Datasets{Roots: []string{store.Address("s3", "rows")}}
	p.serve(t)
	rows := verbs.DatasetRef{Name: pavise.Name{Tenant: "acme", Kind: catalog.Kind, ID: "rows"}}
	watch := verbs.DatasetWatch{DatasetRef: rows, From: "s3://elsewhere/rows"}
	if err := p.ana.Call(t.Context(), "dataset.watch", watch, nil); pavise.KindOf(err) != pavise.Denied {
		t.Errorf("another bucket: %v", err)
	}
	watch.From = "s3://" + blobtest.Bucket + "/rows/"
	if err := p.ana.Call(t.Context(), "dataset.watch", watch, nil); err != nil {
		t.Fatal(err)
	}
	var v catalog.View
	if err := p.bob.Call(t.Context(), "dataset.check", verbs.DatasetCheck{DatasetRef: rows}, &v); err != nil || v.State != catalog.StateSealed || v.Newest.Rows != 3 {
		t.Fatalf("%+v, %v", v, err)
	}
	store.Put("rows/a.csv", "a,b\n1,2\n3,5\n")
	if err := p.bob.Call(t.Context(), "dataset.check", verbs.DatasetCheck{DatasetRef: rows}, &v); err != nil || v.State != catalog.StateChanged || len(v.Found.Differ.Files) != 1 || v.Found.Differ.Files[0].Changed[0] != 3 {
		t.Errorf("%+v, %v", v, err)
	}
}
