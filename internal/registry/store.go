package registry

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
)

// steps make the room's tables. due is when somebody is told that nothing came of a version,
// in nanoseconds since 1970, 0 for never; at is when a step was taken, likewise.
var steps = []string{
	`CREATE TABLE registry_models (
		tenant TEXT NOT NULL, id TEXT NOT NULL, doc TEXT NOT NULL,
		PRIMARY KEY (tenant, id)
	) STRICT, WITHOUT ROWID;
	CREATE TABLE registry_versions (
		tenant TEXT NOT NULL, id TEXT NOT NULL, number INTEGER NOT NULL, state TEXT NOT NULL, intake TEXT NOT NULL,
		digest TEXT NOT NULL, due INTEGER NOT NULL, doc TEXT NOT NULL, files TEXT NOT NULL, bundle BLOB NOT NULL,
		PRIMARY KEY (tenant, id, number)
	) STRICT;
	CREATE INDEX registry_by_digest ON registry_versions (tenant, digest);
	CREATE INDEX registry_by_due ON registry_versions (due) WHERE due > 0;
	CREATE INDEX registry_pending ON registry_versions (intake) WHERE intake = 'pending';
	CREATE TABLE registry_aliases (
		tenant TEXT NOT NULL, id TEXT NOT NULL, alias TEXT NOT NULL, number INTEGER NOT NULL,
		PRIMARY KEY (tenant, id, alias)
	) STRICT, WITHOUT ROWID;
	CREATE TABLE registry_steps (
		tenant TEXT NOT NULL, id TEXT NOT NULL, at INTEGER NOT NULL, doc TEXT NOT NULL
	) STRICT;
	CREATE INDEX registry_steps_by_model ON registry_steps (tenant, id, at)`,
	`ALTER TABLE registry_versions ADD COLUMN house BLOB NOT NULL DEFAULT x''`, // the house's signature
}

// The bounds of what is kept.
const (
	maxModels   = 10_000 // of a tenant
	maxVersions = 10_000 // of a model
	maxAliases  = 100    // of a model
)

// readModel returns a model. The error is of kind NotFound.
func readModel(tx *store.Tx, name pavise.Name) (*Model, error) {
	var doc string
	err := tx.QueryRow(`SELECT doc FROM registry_models WHERE tenant = ? AND id = ?`, name.Tenant, name.ID).Scan(&doc)
	if errors.Is(err, sql.ErrNoRows) || err == nil && name.Kind != Kind {
		return nil, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("there is no model %s", name), Hint: "pavise model list shows those that there are; pavise model create makes one"}
	}
	if err != nil {
		return nil, err
	}
	m := &Model{}
	if err := json.Unmarshal([]byte(doc), m); err != nil {
		return nil, fmt.Errorf("read the model %s: %w", name, err)
	}
	m.Aliases, err = aliases(tx, name)
	return m, err
}

// writeModel keeps a model.
func writeModel(tx *store.Tx, m *Model) error {
	kept := *m
	kept.Aliases = nil
	doc, err := json.Marshal(kept)
	if err != nil {
		return err
	}
	_, err = tx.Exec(`INSERT INTO registry_models (tenant, id, doc) VALUES (?, ?, ?) ON CONFLICT (tenant, id) DO UPDATE SET doc = excluded.doc`,
		m.Name.Tenant, m.Name.ID, string(doc))
	return err
}

// aliases returns those of a model.
func aliases(tx *store.Tx, name pavise.Name) (map[string]int, error) {
	rows, err := tx.Query(`SELECT alias, number FROM registry_aliases WHERE tenant = ? AND id = ?`, name.Tenant, name.ID)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := map[string]int{}
	for rows.Next() {
		var alias string
		var number int
		if err := rows.Scan(&alias, &number); err != nil {
			return nil, err
		}
		all[alias] = number
	}
	return all, rows.Err()
}

// versionColumns are what scanVersion reads.
const versionColumns = `tenant, doc, CASE WHEN ? THEN files ELSE '' END, CASE WHEN ? THEN bundle ELSE x'' END, CASE WHEN ? THEN house ELSE x'' END`

// scanVersion reads a version without its aliases, and with its files if they were asked for.
func scanVersion(scan func(...any) error) (*Version, error) {
	var tenant, doc, files string
	var bundle, house []byte
	if err := scan(&tenant, &doc, &files, &bundle, &house); err != nil {
		return nil, err
	}
	v := &Version{}
	if err := json.Unmarshal([]byte(doc), v); err != nil {
		return nil, fmt.Errorf("read a version: %w", err)
	}
	if files != "" {
		if err := json.Unmarshal([]byte(files), &v.Files); err != nil {
			return nil, fmt.Errorf("read the files of %s: %w", v.Ref, err)
		}
	}
	if len(bundle) > 0 {
		v.bundle = bundle
	}
	v.house = house
	for _, of := range [][]Evidence{v.Evaluations, v.Attacks} {
		for i := range of {
			of[i].Stale = of[i].Digest != v.Digest
		}
	}
	return v, nil
}

// readVersion returns a version, whole. The error is of kind NotFound.
func readVersion(tx *store.Tx, tenant string, r Ref) (*Version, error) {
	return readOne(tx, tenant, r, true)
}

// readOutline returns a version without its files and its signature. The error is of kind
// NotFound.
func readOutline(tx *store.Tx, tenant string, r Ref) (*Version, error) {
	return readOne(tx, tenant, r, false)
}

func readOne(tx *store.Tx, tenant string, r Ref, whole bool) (*Version, error) {
	v, err := scanVersion(tx.QueryRow(`SELECT `+versionColumns+` FROM registry_versions WHERE tenant = ? AND id = ? AND number = ?`, whole, whole, whole, tenant, r.Model, r.Version).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("there is no version %s of a model", r), Hint: "pavise model list shows the models, and pavise model show NAME the versions of one"}
	}
	if err != nil {
		return nil, err
	}
	return v, named(tx, v)
}

// named gives versions their aliases.
func named(tx *store.Tx, all ...*Version) error {
	known := map[string]map[string]int{}
	for _, v := range all {
		of, ok := known[v.Ref.Model]
		if !ok {
			var err error
			if of, err = aliases(tx, v.Ref.Of(v.Tenant)); err != nil {
				return err
			}
			known[v.Ref.Model] = of
		}
		v.Aliases = nil
		for _, alias := range slices.Sorted(maps.Keys(of)) {
			if of[alias] == v.Ref.Version {
				v.Aliases = append(v.Aliases, alias)
			}
		}
	}
	return nil
}

// writeVersion keeps a version.
func writeVersion(tx *store.Tx, v *Version) error {
	kept := *v
	kept.Files, kept.Aliases = nil, nil
	doc, err := json.Marshal(kept)
	if err != nil {
		return err
	}
	files, err := json.Marshal(v.Files)
	if err != nil {
		return err
	}
	var due int64
	if !v.Due.IsZero() {
		due = v.Due.UnixNano()
	}
	blob := func(b []byte) []byte { return append([]byte{}, b...) } // NULL is none
	_, err = tx.Exec(`INSERT INTO registry_versions (tenant, id, number, state, intake, digest, due, doc, files, bundle, house) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (tenant, id, number) DO UPDATE SET state = excluded.state, intake = excluded.intake, digest = excluded.digest, due = excluded.due,
		doc = excluded.doc, files = excluded.files, bundle = excluded.bundle, house = excluded.house`,
		v.Tenant, v.Ref.Model, v.Ref.Version, string(v.State), string(v.Intake), v.Digest.String(), due, string(doc), string(files), blob(v.bundle), blob(v.house))
	return err
}

// selected returns the versions that meet a condition, without their files.
func selected(tx *store.Tx, condition string, args ...any) (all []*Version, err error) {
	rows, err := tx.Query(`SELECT `+versionColumns+` FROM registry_versions WHERE `+condition, append([]any{false, false, false}, args...)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		v, err := scanVersion(rows.Scan)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	return all, named(tx, all...)
}

// writeStep keeps a step of a model.
func writeStep(tx *store.Tx, model pavise.Name, s Step) error {
	doc, err := json.Marshal(s)
	if err != nil {
		return err
	}
	_, err = tx.Exec(`INSERT INTO registry_steps (tenant, id, at, doc) VALUES (?, ?, ?, ?)`, model.Tenant, model.ID, s.At.UnixNano(), string(doc))
	return err
}

// stepsOf returns those of a model until a time, in their order.
func stepsOf(tx *store.Tx, model pavise.Name, until time.Time) ([]Step, error) {
	all, err := store.Docs[Step](tx, `SELECT doc FROM registry_steps WHERE tenant = ? AND id = ? AND at <= ? ORDER BY at, rowid`, model.Tenant, model.ID, until.UnixNano())
	if err != nil {
		return nil, fmt.Errorf("read the steps of %s: %w", model, err)
	}
	return all, nil
}

// counted is how many rows meet a condition.
func counted(tx *store.Tx, from string, args ...any) (n int, err error) {
	return n, tx.QueryRow(`SELECT count(*) FROM `+from, args...).Scan(&n)
}

// keep changes what is kept, and then what policies are told. Writers wait for each other, so
// that what is told last is what is kept.
func (r *Registry) keep(ctx context.Context, update func(context.Context, func(*store.Tx) error) error, change func(*store.Tx) ([]*Version, error)) error {
	r.writing.Lock()
	defer r.writing.Unlock()
	var changed []*Version
	err := update(ctx, func(tx *store.Tx) (err error) { changed, err = change(tx); return err })
	if err == nil {
		r.facts.tell(changed...)
		r.fresh.tell(changed...)
		r.soon()
	}
	return err
}

// clip cuts a text that is kept for people.
func clip(text string, most int) string {
	return strings.ToValidUTF8(text[:min(len(text), most)], "")
}
