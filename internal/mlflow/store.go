package mlflow

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/depot"
	"github.com/pavise/pavise/internal/registry"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/tracked"
)

// steps are the room's migrations. They are only ever appended to. Times are Unix
// milliseconds.
var steps = []string{
	`CREATE TABLE mlflow_experiments (
		tenant TEXT NOT NULL, number INTEGER NOT NULL, name TEXT NOT NULL, created INTEGER NOT NULL,
		PRIMARY KEY (tenant, number), UNIQUE (tenant, name)
	) STRICT, WITHOUT ROWID;
	CREATE TABLE mlflow_runs (
		tenant TEXT NOT NULL, id TEXT NOT NULL, owner TEXT NOT NULL, created INTEGER NOT NULL,
		doc TEXT NOT NULL, -- the run, as JSON
		PRIMARY KEY (tenant, id)
	) STRICT, WITHOUT ROWID;
	CREATE TABLE mlflow_artifacts (
		tenant TEXT NOT NULL, run TEXT NOT NULL,
		path   TEXT NOT NULL, -- below the run
		size   INTEGER NOT NULL, digest BLOB NOT NULL,
		PRIMARY KEY (tenant, run, path)
	) STRICT, WITHOUT ROWID;
	CREATE TABLE mlflow_versions (
		tenant TEXT NOT NULL, model TEXT NOT NULL, number INTEGER NOT NULL,
		link    TEXT NOT NULL, -- of the run, for people
		problem TEXT NOT NULL, -- why its files did not come; empty: they are here, or on their way
		coming  INTEGER NOT NULL, -- 1: they are on their way
		PRIMARY KEY (tenant, model, number)
	) STRICT, WITHOUT ROWID;
	CREATE TABLE mlflow_deleted (
		tenant TEXT NOT NULL, model TEXT NOT NULL,
		number INTEGER NOT NULL, -- of a version; 0: the model
		PRIMARY KEY (tenant, model, number)
	) STRICT, WITHOUT ROWID;
	CREATE TABLE mlflow_changes (
		tenant TEXT NOT NULL, asked TEXT NOT NULL, -- the verb, the thing and the request
		change TEXT NOT NULL,
		PRIMARY KEY (tenant, asked)
	) STRICT, WITHOUT ROWID`,
	`ALTER TABLE mlflow_runs ADD COLUMN experiment TEXT NOT NULL DEFAULT '';
	UPDATE mlflow_runs SET experiment = json_extract(doc, '$.info.experiment_id');
	CREATE INDEX mlflow_runs_of ON mlflow_runs (tenant, experiment, created);
	CREATE TABLE mlflow_logged (
		tenant TEXT NOT NULL, id TEXT NOT NULL, owner TEXT NOT NULL, experiment TEXT NOT NULL, created INTEGER NOT NULL,
		doc TEXT NOT NULL, -- the logged model, as JSON
		PRIMARY KEY (tenant, id)
	) STRICT, WITHOUT ROWID;
	CREATE INDEX mlflow_logged_of ON mlflow_logged (tenant, experiment, created);
	CREATE TABLE mlflow_points (
		tenant TEXT NOT NULL, run TEXT NOT NULL,
		number INTEGER NOT NULL, -- in the order in which they came
		key TEXT NOT NULL, step INTEGER NOT NULL, time INTEGER NOT NULL,
		value TEXT NOT NULL, -- as JSON has it
		PRIMARY KEY (tenant, run, number), UNIQUE (tenant, run, key, step, time, value)
	) STRICT, WITHOUT ROWID`,
}

// An extra is what the room knows of a version, beside the registry.
type extra struct {
	link, problem string
	coming        bool
	deleted       bool
}

// extras returns what the room knows of the versions of a model, or of all of a tenant where
// the model is empty, by model and number; 0 is the model itself.
func (s *Server) extras(ctx context.Context, tenant, model string) (map[string]map[int]extra, error) {
	all := map[string]map[int]extra{}
	keep := func(model string, number int, change func(*extra)) {
		if all[model] == nil {
			all[model] = map[int]extra{}
		}
		e := all[model][number]
		change(&e)
		all[model][number] = e
	}
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		err := each(tx, func(scan func(...any) error) error {
			var name string
			var number int
			var e extra
			err := scan(&name, &number, &e.link, &e.problem, &e.coming)
			keep(name, number, func(is *extra) { *is = e })
			return err
		}, `SELECT model, number, link, problem, coming FROM mlflow_versions WHERE tenant = ? AND (model = ? OR ? = '')`, tenant, model, model)
		if err != nil {
			return err
		}
		return each(tx, func(scan func(...any) error) error {
			var name string
			var number int
			err := scan(&name, &number)
			keep(name, number, func(is *extra) { is.deleted = true })
			return err
		}, `SELECT model, number FROM mlflow_deleted WHERE tenant = ? AND (model = ? OR ? = '')`, tenant, model, model)
	})
	return all, err
}

// each has every row of a query read.
func each(tx *store.Tx, read func(scan func(...any) error) error, query string, args ...any) error {
	rows, err := tx.Query(query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := read(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// exec runs one statement in a transaction of its own.
func (s *Server) exec(ctx context.Context, query string, args ...any) error {
	return s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(query, args...)
		return err
	})
}

// delete has a version, or with number 0 a model, be shown no more.
func (s *Server) delete(ctx context.Context, model pavise.Name, number int) error {
	return s.exec(ctx, `INSERT INTO mlflow_deleted (tenant, model, number) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`, model.Tenant, model.ID, number)
}

// undelete shows a model again.
func (s *Server) undelete(ctx context.Context, model pavise.Name) error {
	return s.exec(ctx, `DELETE FROM mlflow_deleted WHERE tenant = ? AND model = ? AND number = 0`, model.Tenant, model.ID)
}

// note keeps what the room knows of a version.
func (s *Server) note(ctx context.Context, tenant string, ref registry.Ref, e extra) error {
	return s.exec(ctx, `INSERT INTO mlflow_versions (tenant, model, number, link, problem, coming) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (tenant, model, number) DO UPDATE SET link = excluded.link, problem = excluded.problem, coming = excluded.coming`,
		tenant, ref.Model, ref.Version, e.link, e.problem, e.coming)
}

// interrupted says of versions whose files were on their way that they did not come.
func (s *Server) interrupted(ctx context.Context) error {
	return s.exec(ctx, `UPDATE mlflow_versions SET coming = 0, problem = ? WHERE coming = 1`, stopped)
}

// asked returns the change that a request was proposed as, or the zero name.
func (s *Server) asked(ctx context.Context, tenant, what string) (name pavise.Name, err error) {
	var text string
	err = s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		return tx.QueryRow(`SELECT change FROM mlflow_changes WHERE tenant = ? AND asked = ?`, tenant, what).Scan(&text)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return name, nil
	}
	if err == nil {
		name, err = pavise.ParseName(text)
	}
	return name, err
}

// proposed keeps which change that is.
func (s *Server) proposed(ctx context.Context, tenant, what string, change pavise.Name) error {
	return s.exec(ctx, `INSERT INTO mlflow_changes (tenant, asked, change) VALUES (?, ?, ?) ON CONFLICT (tenant, asked) DO UPDATE SET change = excluded.change`, tenant, what, change.String())
}

// An artifact is a file of a run, or of a logged model.
type artifact struct {
	Path   string
	Size   int64
	Digest depot.Digest
}

// artifacts returns the files of a run below a path, or the one that is there.
func artifacts(tx *store.Tx, tenant, run, path string) (all []artifact, err error) {
	query, args := `SELECT path, size, digest FROM mlflow_artifacts WHERE tenant = ? AND run = ?`, []any{tenant, run}
	if path != "" {
		query, args = query+` AND (path = ? OR path > ? AND path < ?)`, append(args, path, path+"/", path+"0") // 0 comes behind /
	}
	err = each(tx, func(scan func(...any) error) error {
		var a artifact
		var digest []byte
		if err := scan(&a.Path, &a.Size, &digest); err != nil {
			return err
		}
		a.Digest = depot.Digest(digest)
		all = append(all, a)
		return nil
	}, query+` ORDER BY path`, args...)
	return all, err
}

// keepArtifact keeps a file of a run, in the place of the one of its path. Errors are of kind
// Conflict where a file would be a directory, and Invalid for too many.
func (s *Server) keepArtifact(ctx context.Context, tenant, run string, a artifact) error {
	return s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		if tracked.IsLoggedID(run) { // it may have been deleted meanwhile
			if _, err := tracked.ReadLogged(tx, tenant, run); err != nil {
				return err
			}
		}
		var n int
		if err := tx.QueryRow(`SELECT count(*) FROM mlflow_artifacts WHERE tenant = ? AND run = ?`, tenant, run).Scan(&n); err != nil {
			return err
		}
		if n >= registry.MaxFiles {
			return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the run has %d artifacts, and no more are kept", n), Hint: "log further ones to another run"}
		}
		var above []any
		for at, b := range []byte(a.Path) {
			if b == '/' {
				above = append(above, a.Path[:at])
			}
		}
		taken := `SELECT EXISTS (SELECT 1 FROM mlflow_artifacts WHERE tenant = ? AND run = ? AND (path > ? AND path < ?`
		if len(above) > 0 {
			taken += ` OR path IN (?` + strings.Repeat(`, ?`, len(above)-1) + `)`
		}
		var is bool
		if err := tx.QueryRow(taken+`))`, append([]any{tenant, run, a.Path + "/", a.Path + "0"}, above...)...).Scan(&is); err != nil {
			return err
		}
		if is {
			return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("%.100q would be a file and a directory", a.Path), Hint: "log it under another path"}
		}
		_, err := tx.Exec(`INSERT INTO mlflow_artifacts (tenant, run, path, size, digest) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (tenant, run, path) DO UPDATE SET size = excluded.size, digest = excluded.digest`, tenant, run, a.Path, a.Size, a.Digest[:])
		return err
	})
}
