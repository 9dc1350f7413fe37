package catalog

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/lineage"
	"github.com/pavise/pavise/internal/rowseal"
	"github.com/pavise/pavise/internal/store"
)

// steps make the room's tables. next is when a dataset is looked at again, in nanoseconds
// since 1970, 0 for never; every is how often. A screening is pending until it has ended.
var steps = []string{
	`CREATE TABLE catalog_datasets (
		tenant TEXT NOT NULL, id TEXT NOT NULL, next INTEGER NOT NULL, every INTEGER NOT NULL, doc TEXT NOT NULL,
		PRIMARY KEY (tenant, id)
	) STRICT, WITHOUT ROWID;
	CREATE INDEX catalog_due ON catalog_datasets (next) WHERE next > 0;
	CREATE TABLE catalog_versions (
		tenant TEXT NOT NULL, id TEXT NOT NULL, number INTEGER NOT NULL, root TEXT NOT NULL, doc TEXT NOT NULL,
		PRIMARY KEY (tenant, id, number)
	) STRICT, WITHOUT ROWID`,
	`CREATE TABLE catalog_screenings (
		tenant TEXT NOT NULL, id TEXT NOT NULL, root TEXT NOT NULL, pending INTEGER NOT NULL, asked INTEGER NOT NULL, doc TEXT NOT NULL,
		PRIMARY KEY (tenant, id, root)
	) STRICT, WITHOUT ROWID;
	CREATE INDEX catalog_screen ON catalog_screenings (tenant, asked) WHERE pending`,
}

// The bounds of what is kept, by tenant and by dataset.
const (
	maxDatasets = 10_000
	maxVersions = 10_000
)

// read returns a dataset, or nil.
func read(tx *store.Tx, name pavise.Name) (*Dataset, error) {
	d := &Dataset{}
	found, err := store.Doc(tx, d, `SELECT doc FROM catalog_datasets WHERE tenant = ? AND id = ?`, name.Tenant, name.ID)
	if err != nil {
		return nil, fmt.Errorf("read the dataset %s: %w", name, err)
	}
	if !found {
		return nil, nil
	}
	return d, nil
}

// write keeps a dataset.
func write(tx *store.Tx, d *Dataset) error {
	doc, err := json.Marshal(d)
	if err != nil {
		return err
	}
	var next, every int64
	if d.Watch != nil {
		next, every = d.Next.UnixNano(), int64(d.Watch.Every)
	}
	_, err = tx.Exec(`INSERT INTO catalog_datasets (tenant, id, next, every, doc) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (tenant, id) DO UPDATE SET next = excluded.next, every = excluded.every, doc = excluded.doc`,
		d.Name.Tenant, d.Name.ID, next, every, string(doc))
	return err
}

// call sets what OpenLineage calls a dataset, if that was said. A name is one dataset's: seals
// of two under it would be taken for seals of one, and either's owner could make the other's
// claims hold.
func (d *Dataset) call(tx *store.Tx, called lineage.Dataset) error {
	if called == (lineage.Dataset{}) || called == d.Called {
		return nil
	}
	var other string
	err := tx.QueryRow(`SELECT id FROM catalog_datasets WHERE tenant = ? AND id <> ? AND json_extract(doc, '$.called.namespace') = ? AND json_extract(doc, '$.called.name') = ?`,
		d.Name.Tenant, d.Name.ID, called.Namespace, called.Name).Scan(&other)
	switch {
	case err == nil:
		return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("OpenLineage's %s is the dataset %s", called, other), Hint: "call that one otherwise first, or seal this one as its next version"}
	case !errors.Is(err, sql.ErrNoRows):
		return err
	}
	d.Called = called
	return nil
}

// add makes a version the dataset's newest. The caller writes the dataset.
func (d *Dataset) add(tx *store.Tx, v Version) error {
	v.Number = 1
	if d.Newest != nil {
		v.Number = d.Newest.Number + 1
	}
	if v.Number > maxVersions {
		return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("%s has %d versions, and no more are kept", d.Name, maxVersions), Hint: "seal under another name"}
	}
	doc, err := json.Marshal(v)
	if err != nil {
		return err
	}
	d.Newest, d.Found = &v, nil
	_, err = tx.Exec(`INSERT INTO catalog_versions (tenant, id, number, root, doc) VALUES (?, ?, ?, ?, ?)`, d.Name.Tenant, d.Name.ID, v.Number, v.Root.String(), string(doc))
	return err
}

// room refuses one dataset more than are kept.
func room(tx *store.Tx, tenant string) error {
	var n int
	if err := tx.QueryRow(`SELECT count(*) FROM catalog_datasets WHERE tenant = ?`, tenant).Scan(&n); err != nil {
		return err
	}
	if n >= maxDatasets {
		return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("there are %d datasets, and no more are kept", n), Hint: "give new content as versions of those that there are"}
	}
	return nil
}

// each calls with every dataset of a tenant, by name, until it says stop.
func each(tx *store.Tx, tenant string, with func(*Dataset) (bool, error)) error {
	rows, err := tx.Query(`SELECT doc FROM catalog_datasets WHERE tenant = ? ORDER BY id`, tenant)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var doc string
		if err := rows.Scan(&doc); err != nil {
			return err
		}
		d := &Dataset{}
		if err := json.Unmarshal([]byte(doc), d); err != nil {
			return err
		}
		if more, err := with(d); err != nil || !more {
			return err
		}
	}
	return rows.Err()
}

// versions returns those of a dataset, the newest first, at most so many.
func versions(tx *store.Tx, name pavise.Name, most int) ([]Version, error) {
	return store.Docs[Version](tx, `SELECT doc FROM catalog_versions WHERE tenant = ? AND id = ? ORDER BY number DESC LIMIT ?`, name.Tenant, name.ID, most)
}

// owner returns the dataset that has, or had, a version with a root: the first by name.
func owner(tx *store.Tx, tenant string, root rowseal.Digest) (name pavise.Name, err error) {
	var id string
	err = tx.QueryRow(`SELECT id FROM catalog_versions WHERE tenant = ? AND root = ? ORDER BY id LIMIT 1`, tenant, root.String()).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return pavise.Name{}, nil
	}
	return pavise.Name{Tenant: tenant, Kind: Kind, ID: id}, err
}

// eachVersion calls with every version of a tenant's datasets.
func eachVersion(tx *store.Tx, tenant string, with func(id string, v Version)) error {
	rows, err := tx.Query(`SELECT id, doc FROM catalog_versions WHERE tenant = ?`, tenant)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id, doc string
		var v Version
		if err := rows.Scan(&id, &doc); err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(doc), &v); err != nil {
			return err
		}
		with(id, v)
	}
	return rows.Err()
}

// unindex says of every version with a root that its index was dropped.
func unindex(tx *store.Tx, o old, now time.Time) error {
	_, err := tx.Exec(`UPDATE catalog_versions SET doc = json_set(doc, '$.dropped', ?) WHERE tenant = ? AND id = ? AND root = ?`,
		now.Format(time.RFC3339Nano), o.name.Tenant, o.name.ID, o.root.String())
	return err
}

// due returns datasets whose time has come, those that wait longest first. One that is to be
// looked at later than it ever could be was put off by a clock that has been set back since.
func due(tx *store.Tx, now time.Time, most int) ([]pavise.Name, error) {
	return namesOf(tx, `SELECT tenant, id FROM catalog_datasets WHERE next > 0 AND (next <= ?1 OR next > ?1 + every + every / 4) ORDER BY next LIMIT ?2`, now.UnixNano(), most)
}

// all are the names of the datasets of all tenants.
func all(tx *store.Tx) ([]pavise.Name, error) {
	return namesOf(tx, `SELECT tenant, id FROM catalog_datasets`)
}

// namesOf are the datasets whose tenant and id a query returns.
func namesOf(tx *store.Tx, query string, args ...any) (list []pavise.Name, err error) {
	rows, err := tx.Query(query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		name := pavise.Name{Kind: Kind}
		if err := rows.Scan(&name.Tenant, &name.ID); err != nil {
			return nil, err
		}
		list = append(list, name)
	}
	return list, rows.Err()
}

// soonest is when the next dataset will be due; the zero time when none will.
func soonest(tx *store.Tx, now time.Time) (time.Time, error) {
	var next sql.NullInt64
	if err := tx.QueryRow(`SELECT min(next) FROM catalog_datasets WHERE next > ?`, now.UnixNano()).Scan(&next); err != nil || !next.Valid {
		return time.Time{}, err
	}
	return time.Unix(0, next.Int64), nil
}

// dir is where the seals of a dataset lie: under a name that every file system takes.
func (c *Catalog) dir(name pavise.Name) string {
	sum := sha256.Sum256([]byte(name.String()))
	return filepath.Join(c.cfg.Dir, hex.EncodeToString(sum[:16]))
}

// sealFile is the file of a seal of a dataset. Its index, if there is one, lies beside it.
func (c *Catalog) sealFile(name pavise.Name, root rowseal.Digest) string {
	return filepath.Join(c.dir(name), root.String()+".seal")
}

// lookFile is the file of the seal that a look makes.
func (c *Catalog) lookFile(name pavise.Name) string { return filepath.Join(c.dir(name), "look.seal") }

// signatureSuffix is behind the name of a seal's signature.
const signatureSuffix = ".dsse"

// hasIndex reports whether the index of a version is here.
func (c *Catalog) hasIndex(name pavise.Name, root rowseal.Digest) bool {
	_, err := os.Stat(c.sealFile(name, root) + rowseal.IndexSuffix)
	return err == nil
}

// keep writes a file that is whole or not there at all.
func keep(file string, text []byte) error {
	err := os.MkdirAll(filepath.Dir(file), 0o700)
	if err == nil {
		err = disk.Replace(disk.Dir{Path: filepath.Dir(file)}, filepath.Base(file), text)
	}
	if err != nil {
		return unwritten(err)
	}
	return nil
}

// unwritten is an error of writing what the catalog keeps.
func unwritten(err error) error {
	return &pavise.Error{Kind: pavise.Unavailable, Msg: "a seal cannot be kept: " + err.Error(), Hint: "make room on the disk of the data directory: an index takes 32 bytes a row", Err: err}
}

// adopt gives the seal that a look made its place, with its index; of a version that is there
// already, the index is the newer one, whose hints are of now.
func (c *Catalog) adopt(name pavise.Name, root rowseal.Digest) error {
	from, to := c.lookFile(name), c.sealFile(name, root)
	for _, suffix := range []string{rowseal.IndexSuffix, ""} { // the seal last: with it, all is there
		if err := os.Rename(from+suffix, to+suffix); err != nil {
			return unwritten(err)
		}
	}
	if err := (disk.Dir{Path: c.dir(name)}).Sync(); err != nil {
		return unwritten(err)
	}
	return nil
}

// tidy removes what a dataset keeps no longer: contents that were found and are neither a
// version nor what lies there now.
func (c *Catalog) tidy(ctx context.Context, name pavise.Name) error {
	c.keeping.Lock()
	defer c.keeping.Unlock()
	var used []string
	err := c.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		d, err := read(tx, name)
		if err != nil || d == nil {
			return err
		}
		if d.Found != nil {
			used = append(used, d.Found.Root.String())
		}
		all, err := versions(tx, name, maxVersions)
		for _, v := range all {
			used = append(used, v.Root.String())
		}
		if err == nil {
			err = dropScreenings(tx, name, used)
		}
		return err
	})
	if err != nil {
		return err
	}
	keep := map[string]bool{"look": true}
	for _, root := range used {
		keep[root] = true
	}
	files, err := os.ReadDir(c.dir(name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return unwritten(err)
	}
	for _, f := range files {
		if root, _, is := strings.Cut(f.Name(), ".seal"); is && !keep[root] {
			_ = os.Remove(filepath.Join(c.dir(name), f.Name())) // or the next time
		}
	}
	return nil
}
