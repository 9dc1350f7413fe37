package role

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/catalog"
	"github.com/pavise/pavise/internal/config"
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
