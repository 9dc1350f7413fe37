package oci

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/intake"
	"github.com/pavise/pavise/internal/store"
)

// migrations are the steps of the tables.
var migrations = []string{`
CREATE TABLE oci_manifests (
	number  INTEGER PRIMARY KEY,
	tenant  TEXT NOT NULL,
	model   TEXT NOT NULL,
	digest  TEXT NOT NULL,
	kind    TEXT NOT NULL,    -- of artefact
	subject TEXT NOT NULL,    -- what it refers to; empty: it is a version's own
	version INTEGER NOT NULL, -- 0: it refers to one
	body    BLOB NOT NULL,
	at      INTEGER NOT NULL, -- in milliseconds
	by      TEXT NOT NULL,    -- who pushed it; empty: it was made from the version's files
	UNIQUE (tenant, model, digest)
);
CREATE INDEX oci_manifests_subject ON oci_manifests (tenant, model, subject);
CREATE INDEX oci_manifests_version ON oci_manifests (tenant, model, version);
CREATE TABLE oci_blobs (
	tenant TEXT NOT NULL,
	model  TEXT NOT NULL,
	digest TEXT NOT NULL,
	size   INTEGER NOT NULL,
	at     INTEGER NOT NULL,
	PRIMARY KEY (tenant, model, digest)
) WITHOUT ROWID;
CREATE TABLE oci_needs (
	tenant   TEXT NOT NULL,
	model    TEXT NOT NULL,
	blob     TEXT NOT NULL,
	manifest TEXT NOT NULL,
	PRIMARY KEY (tenant, model, blob, manifest)
) WITHOUT ROWID;
CREATE TABLE oci_tags ( -- what a tag was first pushed with, and so means unless it is an alias
	tenant   TEXT NOT NULL,
	model    TEXT NOT NULL,
	tag      TEXT NOT NULL,
	manifest TEXT NOT NULL,
	PRIMARY KEY (tenant, model, tag)
) WITHOUT ROWID;
CREATE TABLE oci_uploads (
	id     TEXT PRIMARY KEY,
	tenant TEXT NOT NULL,
	model  TEXT NOT NULL,
	by     TEXT NOT NULL,
	size   INTEGER NOT NULL,
	at     INTEGER NOT NULL -- when something last came of it
) WITHOUT ROWID;
CREATE INDEX oci_uploads_tenant ON oci_uploads (tenant, by);
CREATE TABLE oci_pieces (
	upload TEXT NOT NULL,
	number INTEGER NOT NULL,
	digest TEXT NOT NULL,
	size   INTEGER NOT NULL,
	PRIMARY KEY (upload, number)
) WITHOUT ROWID;
`, `
ALTER TABLE oci_manifests ADD COLUMN files TEXT NOT NULL DEFAULT ''; -- of the version's own: which files it has, by stampOf
`}

// unheld is how long a blob that no manifest needs, and an upload that nobody goes on with, is
// known. It is less than the day for which its bytes are kept.
const unheld = 20 * time.Hour

// A Registry serves models to clients of OCI registries.
type Registry struct {
	cfg     Config
	bodies  intake.Bodies // of manifests
	unpacks chan struct{} // each layer that is unpacked has one meanwhile

	mu   sync.Mutex               // guards what follows
	busy map[string]chan struct{} // repositories and uploads that somebody changes; closed when done

	stamps map[string]string // of the files of versions, by their sum
}

// Open brings the tables up to date.
//
// Unguarded: it is called by who starts the process.
func Open(ctx context.Context, cfg Config) (*Registry, error) {
	if err := cfg.Store.Migrate(ctx, "oci", migrations); err != nil {
		return nil, err
	}
	return &Registry{cfg: cfg, unpacks: make(chan struct{}, maxUnpacks), busy: map[string]chan struct{}{}, stamps: map[string]string{}}, nil
}

// Run forgets uploads that nobody went on with, and blobs that no manifest came to need, until
// ctx is done.
//
// Unguarded: the house does it, and nobody asks for it.
func (r *Registry) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		if err := r.sweep(ctx); err != nil && ctx.Err() == nil {
			r.cfg.Say("warning", fmt.Errorf("forget uploads that were left: %w", err))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (r *Registry) sweep(ctx context.Context) error {
	old := r.cfg.Now().Add(-unheld).UnixMilli()
	return r.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		for _, q := range []string{
			`DELETE FROM oci_pieces WHERE upload IN (SELECT id FROM oci_uploads WHERE at < ?)`,
			`DELETE FROM oci_uploads WHERE at < ?`,
			`DELETE FROM oci_blobs WHERE at < ? AND NOT EXISTS (SELECT 1 FROM oci_needs n WHERE n.tenant = oci_blobs.tenant AND n.model = oci_blobs.model AND n.blob = oci_blobs.digest)`,
		} {
			if _, err := tx.Exec(q, old); err != nil {
				return err
			}
		}
		return nil
	})
}

// lock has a caller be the only one who changes a thing, and waits for that, unless it is not
// to.
func (r *Registry) lock(ctx context.Context, thing string, wait bool) (unlock func(), err error) {
	for {
		r.mu.Lock()
		done, taken := r.busy[thing]
		if !taken {
			mine := make(chan struct{})
			r.busy[thing] = mine
			r.mu.Unlock()
			return func() {
				r.mu.Lock()
				defer r.mu.Unlock()
				delete(r.busy, thing)
				close(mine)
			}, nil
		}
		r.mu.Unlock()
		if !wait {
			return nil, withStatus(409, refuse(codeUpload, "another request sends a piece of this upload", "ask how far it is, and go on there"))
		}
		select {
		case <-done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// A kept is a manifest as it is kept.
type kept struct {
	digest, kind, subject string
	version               int
	body                  []byte
	at                    time.Time
	by                    string
	files                 string // those of the version, by stampOf, when it was its manifest
}

// of reports whether a manifest is that of a version as it is now: a draft may have been
// given other files since, and what was approved then is those.
func (r *Registry) of(ctx context.Context, k kept, v Version) (bool, error) {
	if k.version != v.Number {
		return false, nil
	}
	stamp, err := r.stamp(ctx, v)
	return k.files == stamp, err
}

const keptColumns = `digest, kind, subject, version, body, at, by, files`

func scanKept(row interface{ Scan(...any) error }) (k kept, err error) {
	var at int64
	err = row.Scan(&k.digest, &k.kind, &k.subject, &k.version, &k.body, &at, &k.by, &k.files)
	k.at = time.UnixMilli(at).UTC()
	return k, err
}

// manifest returns a manifest of a repository by its digest.
func (r *Registry) manifest(ctx context.Context, model pavise.Name, digest string) (k kept, ok bool, err error) {
	return r.oneManifest(ctx, `digest = ?`, model, digest)
}

// manifestOf returns the first manifest of a version, as it is now.
func (r *Registry) manifestOf(ctx context.Context, model pavise.Name, v Version) (k kept, ok bool, err error) {
	stamp, err := r.stamp(ctx, v)
	if err != nil {
		return k, false, err
	}
	return r.oneManifest(ctx, `version = ? AND files = ?`, model, v.Number, stamp)
}

func (r *Registry) oneManifest(ctx context.Context, where string, model pavise.Name, args ...any) (k kept, ok bool, err error) {
	err = r.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		k, err = scanKept(tx.QueryRow(`SELECT `+keptColumns+` FROM oci_manifests WHERE tenant = ? AND model = ? AND `+where+` ORDER BY number LIMIT 1`, append([]any{model.Tenant, model.ID}, args...)...))
		return err
	})
	if errors.Is(err, sql.ErrNoRows) {
		return k, false, nil
	}
	return k, err == nil, err
}

// listBytes bounds the annotations in one page of referrers, unless one has more.
const listBytes = 1 << 20

// referrers returns what refers to a manifest, the oldest first: of a type, or of all where it is
// empty; from behind a digest on, or from the first where that is empty. more: there are others.
func (r *Registry) referrers(ctx context.Context, model pavise.Name, subject, kind, behind string) (list []descriptor, more bool, err error) {
	list = []descriptor{}
	err = r.cfg.Store.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query(`SELECT digest, kind, body FROM oci_manifests WHERE tenant = ? AND model = ? AND subject = ? AND (? = '' OR kind = ?)
			AND number > coalesce((SELECT number FROM oci_manifests WHERE tenant = ? AND model = ? AND digest = ?), 0) ORDER BY number LIMIT ?`,
			model.Tenant, model.ID, subject, kind, kind, model.Tenant, model.ID, behind, maxReferrers)
		if err != nil {
			return err
		}
		defer rows.Close()
		said := 0
		for rows.Next() {
			d := descriptor{MediaType: mediaManifest}
			var body sql.RawBytes // of hundreds, some megabytes each
			if err := rows.Scan(&d.Digest, &d.ArtifactType, &body); err != nil {
				return err
			}
			var m struct {
				Annotations map[string]string `json:"annotations"`
			}
			if err := json.Unmarshal(body, &m); err != nil { // it was read when it came
				return err
			}
			for name, value := range m.Annotations {
				said += len(name) + len(value)
			}
			if more = said > listBytes && len(list) > 0; more {
				return nil
			}
			d.Size, d.Annotations = int64(len(body)), m.Annotations
			list = append(list, d)
		}
		return rows.Err()
	})
	return list, more, err
}

// blob returns the size of a blob that a repository has, and the manifests that need it. One
// that none does is there for as long as its bytes surely are.
func (r *Registry) blob(ctx context.Context, model pavise.Name, digest string) (size int64, needs []kept, ok bool, err error) {
	err = r.cfg.Store.View(ctx, func(tx *store.Tx) error {
		var at int64
		if err := tx.QueryRow(`SELECT size, at FROM oci_blobs WHERE tenant = ? AND model = ? AND digest = ?`, model.Tenant, model.ID, digest).Scan(&size, &at); err != nil {
			return err
		}
		rows, err := tx.Query(`SELECT m.digest, m.subject, m.version, m.files FROM oci_needs n JOIN oci_manifests m ON m.tenant = n.tenant AND m.model = n.model AND m.digest = n.manifest
			WHERE n.tenant = ? AND n.model = ? AND n.blob = ?`, model.Tenant, model.ID, digest)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var k kept
			if err := rows.Scan(&k.digest, &k.subject, &k.version, &k.files); err != nil {
				return err
			}
			needs = append(needs, k)
		}
		ok = len(needs) > 0 || time.UnixMilli(at).After(r.cfg.Now().Add(-unheld))
		return rows.Err()
	})
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil, false, nil
	}
	return size, needs, ok, err
}

// link says that a repository has a blob, from now on.
func (r *Registry) link(tx *store.Tx, model pavise.Name, digest string, size int64) error {
	_, err := tx.Exec(`INSERT INTO oci_blobs (tenant, model, digest, size, at) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET at = excluded.at`, model.Tenant, model.ID, digest, size, r.cfg.Now().UnixMilli())
	return err
}

// keepManifest writes down a manifest, with what it needs, and the files that the repository
// has from then on. One that is there, and was of a version that has other files by now, is of
// the new one.
func (r *Registry) keepManifest(ctx context.Context, model pavise.Name, k kept, needs []string, files ...File) error {
	return r.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		for _, f := range files {
			if err := r.link(tx, model, f.Digest, f.Size); err != nil {
				return err
			}
		}
		if k.version == 0 {
			var n int
			if err := tx.QueryRow(`SELECT count(*) FROM oci_manifests WHERE tenant = ? AND model = ? AND subject = ?`, model.Tenant, model.ID, k.subject).Scan(&n); err != nil {
				return err
			}
			if n >= maxReferrers {
				return refuse(codeDenied, fmt.Sprintf("%d manifests refer to the model already", n), "delete some of yours")
			}
		}
		_, err := tx.Exec(`INSERT INTO oci_manifests (tenant, model, `+keptColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (tenant, model, digest) DO UPDATE SET version = excluded.version, files = excluded.files, at = excluded.at, by = excluded.by`,
			model.Tenant, model.ID, k.digest, k.kind, k.subject, k.version, k.body, r.cfg.Now().UnixMilli(), k.by, k.files)
		for _, blob := range needs {
			if err == nil {
				_, err = tx.Exec(`INSERT INTO oci_needs (tenant, model, blob, manifest) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`, model.Tenant, model.ID, blob, k.digest)
			}
		}
		return err
	})
}

// tag gives a tag to a manifest, unless it has one, and returns the version that it means.
func (r *Registry) tag(ctx context.Context, model pavise.Name, tag, digest string) (number int, err error) {
	err = r.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		var n int
		if err := tx.QueryRow(`SELECT count(*) FROM oci_tags WHERE tenant = ? AND model = ?`, model.Tenant, model.ID).Scan(&n); err != nil {
			return err
		}
		if n < maxKeptTags {
			if _, err := tx.Exec(`INSERT INTO oci_tags (tenant, model, tag, manifest) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`, model.Tenant, model.ID, tag, digest); err != nil {
				return err
			}
		}
		return tx.QueryRow(`SELECT m.version FROM oci_tags t JOIN oci_manifests m ON m.tenant = t.tenant AND m.model = t.model AND m.digest = t.manifest WHERE t.tenant = ? AND t.model = ? AND t.tag = ?`,
			model.Tenant, model.ID, tag).Scan(&number)
	})
	if errors.Is(err, sql.ErrNoRows) {
		err = refuse(codeDenied, fmt.Sprintf("the model has %d tags", maxKeptTags), "push by digest: each version has the tag vN")
	}
	return number, err
}

// maxKeptTags bounds the tags of a model, beside its aliases.
const maxKeptTags = 10_000

// allTags are the tags that a model was pushed with.
func (r *Registry) allTags(ctx context.Context, model pavise.Name) (tags []string, err error) {
	err = r.cfg.Store.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query(`SELECT tag FROM oci_tags WHERE tenant = ? AND model = ?`, model.Tenant, model.ID)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var tag string
			if err := rows.Scan(&tag); err != nil {
				return err
			}
			tags = append(tags, tag)
		}
		return rows.Err()
	})
	return tags, err
}

// tagged returns the manifest with which a tag was pushed last, or nothing.
func (r *Registry) tagged(ctx context.Context, model pavise.Name, tag string) (digest string, err error) {
	err = r.cfg.Store.View(ctx, func(tx *store.Tx) error {
		return tx.QueryRow(`SELECT manifest FROM oci_tags WHERE tenant = ? AND model = ? AND tag = ?`, model.Tenant, model.ID, tag).Scan(&digest)
	})
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return digest, err
}

// modelOf is the model that a repository is, for a caller: MODEL, or TENANT/MODEL.
func modelOf(who pavise.Principal, repository string) (pavise.Name, error) {
	model := pavise.Name{Tenant: who.Tenant, Kind: KindModel, ID: repository}
	if tenant, id, two := strings.Cut(repository, "/"); two {
		model.Tenant, model.ID = tenant, id
	}
	if err := model.Validate(); err != nil {
		return model, refuseFor(codeName, fmt.Sprintf("%.100q is no repository here", repository), "write the name of a model, or its tenant, a slash and its name", err)
	}
	return model, nil
}

// sorted returns the tags of a model: those that it was pushed with, its aliases, and its
// versions by number.
func sorted(tags []string, aliases map[string]int, newest int) []string {
	for alias := range aliases {
		if tagName.MatchString(alias) {
			tags = append(tags, alias)
		}
	}
	for n := 1; n <= newest; n++ {
		tags = append(tags, fmt.Sprintf("v%d", n))
	}
	slices.Sort(tags)
	return slices.Compact(tags)
}
