package gate

import (
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/contract"
	"github.com/pavise/pavise/internal/store"
)

// TestTermsThatWereTakenBefore refuses a contract that no row can keep, and opens with one that
// was taken when that was not yet refused: its rows are held, and everything else goes on.
func TestTermsThatWereTakenBefore(t *testing.T) {
	impossible := []byte("apiVersion: v3.1.0\nkind: DataContract\nid: x\nversion: 1.0.0\nstatus: active\nschema:\n- name: rows\n  properties:\n" +
		"  - {name: n, logicalType: integer, logicalTypeOptions: {minimum: 2, maximum: 1}}\n")
	w := newWorld(t)
	_, err := w.Put(t.Context(), operator, Spec{Source: rows, Contract: impossible})
	wantKind(t, err, pavise.Invalid)
	w.put(t, Spec{})
	was, err := Spec{Source: rows, Contract: impossible}.read(contract.Kept)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.cfg.Store.Update(t.Context(), func(tx *store.Tx) error { return save(tx, rows, was, operator.Name(), w.clock()) }); err != nil {
		t.Fatal(err)
	}
	w.open(t)
	wantVerdict(t, w.push(t, "a", "{\"n\":1}\n"), Held)
}
