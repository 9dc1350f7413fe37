package tracked

import (
	"encoding/json"
	"math"
	"path/filepath"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
)

// points opens a store with the table of values, as package mlflow makes it.
func points(t *testing.T) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	err = db.Migrate(t.Context(), "points", []string{`CREATE TABLE mlflow_points (tenant TEXT NOT NULL, run TEXT NOT NULL, number INTEGER NOT NULL, key TEXT NOT NULL,
		step INTEGER NOT NULL, time INTEGER NOT NULL, value TEXT NOT NULL, PRIMARY KEY (tenant, run, number), UNIQUE (tenant, run, key, step, time, value)) STRICT, WITHOUT ROWID`})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// TestPoints keeps values of metrics in their order, what is none included, each once, and
// gives them out by pages.
func TestPoints(t *testing.T) {
	db := points(t)
	err := db.Update(t.Context(), func(tx *store.Tx) error {
		all := []Metric{{Key: "auc", Value: 0.5, Step: 2}, {Key: "loss", Value: 9}, {Key: "auc", Value: Real(math.NaN()), Step: 1}, {Key: "auc", Value: Real(math.Inf(-1)), Step: 1}}
		again := []Metric{{Key: "auc", Value: 0.5, Step: 2, Model: "m-1"}, {Key: "auc", Value: 0.5, Step: 2, Time: 7}}
		for _, some := range [][]Metric{all, nil, again} {
			if err := KeepPoints(tx, "a", "r", some); err != nil {
				return err
			}
		}
		for _, other := range []string{"b r", "a s"} {
			if err := KeepPoints(tx, other[:1], other[2:], []Metric{{Key: "auc", Value: 7}}); err != nil {
				return err
			}
		}
		for _, bad := range [][]Metric{{{Value: 1}}, {{Key: string(make([]byte, MaxKey+1))}}, {{Key: "a", Set: string(make([]byte, MaxValue+1))}}, make([]Metric, MaxSaid+1)} {
			if err := KeepPoints(tx, "a", "t", bad); pavise.KindOf(err) != pavise.Invalid {
				t.Errorf("%d values were kept: %v", len(bad), err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []Metric
	err = db.View(t.Context(), func(tx *store.Tx) error {
		for behind, more := int64(0), true; more; {
			page, last, err := Points(tx, "a", "r", "auc", behind, 3)
			if err != nil {
				return err
			}
			got, behind, more = append(got, page...), last, last > 0
		}
		if _, _, err := Points(tx, "a", "r", "auc", -1, 3); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("a page of nothing: %v", err)
		}
		return nil
	})
	text, _ := json.Marshal(got)
	want := `[{"key":"auc","value":0.5,"timestamp":0,"step":2},{"key":"auc","value":"NaN","timestamp":0,"step":1},{"key":"auc","value":"-Infinity","timestamp":0,"step":1},{"key":"auc","value":0.5,"timestamp":7,"step":2}]`
	if err != nil || string(text) != want {
		t.Errorf("%s, %v", text, err)
	}
}

// TestPointsEnd keeps the newest values of a run that logs without end.
func TestPointsEnd(t *testing.T) {
	db := points(t)
	err := db.Update(t.Context(), func(tx *store.Tx) error {
		if _, err := tx.Exec(`INSERT INTO mlflow_points VALUES ('a', 'r', 1, 'auc', 1, 1, '1'), ('a', 'r', ?, 'auc', 2, 1, '2')`, maxPoints); err != nil {
			return err
		}
		return KeepPoints(tx, "a", "r", []Metric{{Key: "auc", Value: 3, Step: 3}})
	})
	if err == nil {
		err = db.View(t.Context(), func(tx *store.Tx) error {
			all, _, err := Points(tx, "a", "r", "auc", 0, 10)
			if len(all) != 2 || all[0].Step != 2 || all[1].Step != 3 {
				t.Errorf("%+v", all)
			}
			return err
		})
	}
	if err != nil {
		t.Fatal(err)
	}
}
