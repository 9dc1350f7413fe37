package deploy

import (
	"encoding/json"
	"fmt"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
)

// steps make the room's tables. kept is what a driver keeps of a target.
var steps = []string{
	`CREATE TABLE deploy_targets (tenant TEXT NOT NULL, id TEXT NOT NULL, doc TEXT NOT NULL, PRIMARY KEY (tenant, id)) STRICT, WITHOUT ROWID;
	CREATE TABLE deploy_deployments (tenant TEXT NOT NULL, id TEXT NOT NULL, doc TEXT NOT NULL, PRIMARY KEY (tenant, id)) STRICT, WITHOUT ROWID;
	CREATE TABLE deploy_kept (tenant TEXT NOT NULL, id TEXT NOT NULL, doc TEXT NOT NULL, PRIMARY KEY (tenant, id)) STRICT, WITHOUT ROWID`,
}

// The bounds of what is kept.
const (
	maxTargets = 256 // of a tenant
	maxBefore  = 8   // versions before, of a target
	MaxBarred  = 64  // digests that were taken back, of a deployment
)

// get reads one document of a table into v, and reports whether there is one.
func get(tx *store.Tx, table string, name pavise.Name, v any) (bool, error) {
	found, err := store.Doc(tx, v, `SELECT doc FROM `+table+` WHERE tenant = ? AND id = ?`, name.Tenant, name.ID)
	if err != nil {
		return false, fmt.Errorf("read %s: %w", name, err)
	}
	return found, nil
}

// put keeps one document of a table.
func put(tx *store.Tx, table string, name pavise.Name, v any) error {
	doc, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = tx.Exec(`INSERT INTO `+table+` (tenant, id, doc) VALUES (?, ?, ?) ON CONFLICT (tenant, id) DO UPDATE SET doc = excluded.doc`, name.Tenant, name.ID, string(doc))
	return err
}

// all reads the documents of a table, of one tenant or, where it is empty, of all.
func all[T any](tx *store.Tx, table, tenant string) ([]T, error) {
	return store.Docs[T](tx, `SELECT doc FROM `+table+` WHERE ?1 = '' OR tenant = ?1 ORDER BY tenant, id`, tenant)
}

// Recall reads what the driver of a target keeps of it into v, and reports whether it keeps
// anything.
func Recall(tx *store.Tx, target pavise.Name, v any) (bool, error) {
	return get(tx, "deploy_kept", target, v)
}

// Remember keeps something of a target for its driver, until the target is removed.
func Remember(tx *store.Tx, target pavise.Name, v any) error {
	return put(tx, "deploy_kept", target, v)
}

// PlaceOf reads a target. The error is of kind NotFound when there is none.
func PlaceOf(tx *store.Tx, name pavise.Name) (*Place, error) {
	p := &Place{}
	found, err := get(tx, "deploy_targets", name, p)
	if err == nil && !found {
		err = &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("there is no target %s", name), Hint: "pavise target list shows those that there are; pavise target put proposes one"}
	}
	return p, err
}

// deployment reads a deployment; nil: there is none.
func deployment(tx *store.Tx, name pavise.Name) (*Deployment, error) {
	d := &Deployment{}
	found, err := get(tx, "deploy_deployments", name, d)
	if err != nil || !found {
		return nil, err
	}
	return d, nil
}

// known reads a deployment. The error is of kind NotFound when there is none.
func known(tx *store.Tx, name pavise.Name) (*Deployment, error) {
	d, err := deployment(tx, name)
	if err == nil && d == nil {
		err = &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("no version of %s was deployed", name.ID), Hint: "pavise deploy list shows what was; pavise deploy release " + name.ID + "/VERSION --to TARGET proposes it"}
	}
	return d, err
}
