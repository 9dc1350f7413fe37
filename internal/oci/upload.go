package oci

import (
	"bufio"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/depot"
	"github.com/pavise/pavise/internal/store"
)

// The bounds of uploads under way.
const (
	maxUploads  = 256     // of one caller
	maxTogether = 2048    // of a tenant
	maxPieces   = 1 << 14 // of one upload
)

// An upload is a blob that comes in pieces. Each piece is kept as a content of its own until
// all are there, so that nothing of an upload that breaks off has to be sent again, whoever
// restarts meanwhile.
type upload struct {
	id     string
	size   int64
	pieces []piece
}

type piece struct {
	digest string
	size   int64
}

// A pushed says in a record what came in.
type pushed struct {
	Upload string `json:"upload,omitempty"`
	Digest string `json:"digest,omitempty"`
	Size   int64  `json:"size,omitempty"`
	From   string `json:"from,omitempty"` // the model from which it was taken over
}

// begin begins an upload, or takes a whole blob, or one that is in another repository.
func (d *Door) begin(a *asked) (err error) {
	ctx := a.r.Context()
	entry, err := d.cfg.Guard.Enter(ctx, a.who, VerbPush, a.model)
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	q, err := parseQuery(a.r.URL.RawQuery)
	if err != nil {
		return err
	}
	if _, _, err := d.cfg.Versions.Names(ctx, a.model); err != nil { // before all of its bytes come
		return noModel(err)
	}
	if digest := q.Get("digest"); digest != "" {
		if err := parseDigest(digest); err != nil {
			return err
		}
		entry.Detail(pushed{Digest: digest, Size: a.r.ContentLength})
		return d.whole(a, digest, "")
	}
	if digest := q.Get("mount"); digest != "" {
		done, err := d.mount(ctx, a, digest, q.Get("from"))
		if done || err != nil {
			entry.Detail(pushed{Digest: digest, From: q.Get("from")})
			return err
		}
	}
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails
	id := hex.EncodeToString(random[:])
	entry.Detail(pushed{Upload: id})
	err = d.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		var mine, all int
		if err := tx.QueryRow(`SELECT count(*), count(CASE WHEN by = ? THEN 1 END) FROM oci_uploads WHERE tenant = ?`, a.who.Name().String(), a.model.Tenant).Scan(&all, &mine); err != nil {
			return err
		}
		if mine >= maxUploads || all >= maxTogether {
			return &pavise.Error{Kind: pavise.Throttled, Msg: "too many uploads are under way", Hint: "finish some, or delete them: they end by themselves after 20 hours"}
		}
		_, err := tx.Exec(`INSERT INTO oci_uploads (id, tenant, model, by, size, at) VALUES (?, ?, ?, ?, 0, ?)`, id, a.model.Tenant, a.model.ID, a.who.Name().String(), d.cfg.Now().UnixMilli())
		return err
	})
	if err != nil {
		return err
	}
	a.told(upload{id: id}, http.StatusAccepted)
	return nil
}

// told answers how far an upload is.
func (a *asked) told(u upload, status int) {
	a.w.Header().Set("Location", a.at("blobs/uploads", u.id))
	a.w.Header().Set("Docker-Upload-UUID", u.id)
	a.w.Header().Set("Range", fmt.Sprintf("0-%d", max(0, u.size-1)))
	a.w.Header().Set("Content-Length", "0")
	a.w.WriteHeader(status)
}

// mount takes over a blob that the caller may read in another model of the tenant. Where that
// cannot be, they upload it.
func (d *Door) mount(ctx context.Context, a *asked, digest, from string) (done bool, err error) {
	if err := parseDigest(digest); err != nil {
		return false, err
	}
	other, err := modelOf(a.who, from)
	if from == "" || err != nil || other.Tenant != a.model.Tenant {
		return false, nil
	}
	size, needs, ok, err := d.blob(ctx, other, digest)
	if err != nil || !ok || len(needs) == 0 {
		return false, err
	}
	entry, err := d.enterBlob(ctx, a.who, other, needs)
	if err != nil {
		return false, nil // refused there, and recorded: they have to bring it
	}
	defer entry.Exit(&err)
	entry.Detail(pushed{Digest: digest, Size: size})
	err = d.cfg.Store.Update(ctx, func(tx *store.Tx) error { return d.link(tx, a.model, digest, size) })
	if err != nil {
		return false, err
	}
	a.created("blobs", digest)
	return true, nil
}

// created answers that something is there, and where.
func (a *asked) created(what, digest string) {
	a.w.Header().Set("Location", a.at(what, digest))
	a.w.Header().Set("Docker-Content-Digest", digest)
	a.w.Header().Set("Content-Length", "0")
	a.w.WriteHeader(http.StatusCreated)
}

// whole takes a blob in one piece, and ends the upload that it is the end of, if any.
func (d *Door) whole(a *asked, digest, id string) error {
	ctx := a.r.Context()
	from := &telling{Reader: a.bodyOf(maxBlob)}
	if size := a.r.ContentLength; size >= 0 { // it goes to its place at once
		want, err := depot.ParseDigest(digest)
		if err != nil {
			return err
		}
		err = d.cfg.Depot.PutAs(ctx, a.model.Tenant, want, size, from)
		if pavise.KindOf(err) == pavise.Invalid && err != nil && from.failed == nil {
			return d.end(ctx, a, id, digest, "another content", 0)
		}
		if err := cut(from, err); err != nil {
			return err
		}
		return d.end(ctx, a, id, digest, digest, size)
	}
	got, size, err := d.put(ctx, a.model.Tenant, from)
	if err := cut(from, err); err != nil {
		return err
	}
	return d.end(ctx, a, id, digest, got, size)
}

// end makes what came in a blob of the repository, if it is what was said.
func (d *Door) end(ctx context.Context, a *asked, id, digest, got string, size int64) error {
	err := d.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		if got == digest {
			if err := d.link(tx, a.model, digest, size); err != nil {
				return err
			}
		}
		return forget(tx, id) // what is something else will never be this
	})
	if err != nil {
		return err
	}
	if got != digest {
		return refuse(codeDigest, fmt.Sprintf("what came is %s, and not %s", got, digest), "upload it again from its beginning")
	}
	a.created("blobs", digest)
	return nil
}

// forget ends an upload.
func forget(tx *store.Tx, id string) error {
	_, err := tx.Exec(`DELETE FROM oci_pieces WHERE upload = ?`, id)
	if err == nil {
		_, err = tx.Exec(`DELETE FROM oci_uploads WHERE id = ?`, id)
	}
	return err
}

// underWay returns an upload of the caller's own.
func (d *Door) underWay(a *asked) (u upload, err error) {
	unknown := refuse(codeUploadUnknown, "no upload of yours has this address", "begin one: POST "+a.at("blobs/uploads", ""))
	if !uploadID.MatchString(a.ref) {
		return u, unknown
	}
	err = d.cfg.Store.View(a.r.Context(), func(tx *store.Tx) error {
		err := tx.QueryRow(`SELECT id, size FROM oci_uploads WHERE id = ? AND tenant = ? AND model = ? AND by = ? AND at >= ?`,
			a.ref, a.model.Tenant, a.model.ID, a.who.Name().String(), d.cfg.Now().Add(-unheld).UnixMilli()).Scan(&u.id, &u.size)
		if err != nil {
			return err
		}
		rows, err := tx.Query(`SELECT digest, size FROM oci_pieces WHERE upload = ? ORDER BY number`, u.id)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var p piece
			if err := rows.Scan(&p.digest, &p.size); err != nil {
				return err
			}
			u.pieces = append(u.pieces, p)
		}
		return rows.Err()
	})
	if errors.Is(err, sql.ErrNoRows) {
		err = unknown
	}
	return u, err
}

// upload says how far an upload is.
func (d *Door) upload(a *asked) (err error) {
	entry, err := d.cfg.Guard.Enter(a.r.Context(), a.who, VerbPush, a.model)
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	u, err := d.underWay(a)
	if err == nil {
		a.told(u, http.StatusNoContent)
	}
	return err
}

// abandon ends an upload.
func (d *Door) abandon(a *asked) (err error) {
	entry, err := d.cfg.Guard.Enter(a.r.Context(), a.who, VerbPush, a.model)
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	unlock, err := d.lock(a.r.Context(), "upload "+a.ref, false)
	if err != nil {
		return err
	}
	defer unlock()
	u, err := d.underWay(a)
	if err != nil {
		return err
	}
	entry.Detail(pushed{Upload: u.id, Size: u.size})
	if err := d.cfg.Store.Update(a.r.Context(), func(tx *store.Tx) error { return forget(tx, u.id) }); err != nil {
		return err
	}
	a.w.WriteHeader(http.StatusNoContent)
	return nil
}

// patch takes the next piece of an upload.
func (d *Door) patch(a *asked) (err error) {
	entry, err := d.cfg.Guard.Enter(a.r.Context(), a.who, VerbPush, a.model)
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	unlock, err := d.lock(a.r.Context(), "upload "+a.ref, false)
	if err != nil {
		return err
	}
	defer unlock()
	u, err := d.underWay(a)
	if err == nil {
		err = d.take(a, &u)
	}
	if err != nil {
		return err
	}
	entry.Detail(pushed{Upload: u.id, Size: u.size})
	a.told(u, http.StatusAccepted)
	return nil
}

// take takes one piece of an upload, where it belongs and as long as it is said to be. None of
// a piece that breaks off is kept.
func (d *Door) take(a *asked, u *upload) error {
	first, length, said, err := parseChunk(a.r.Header.Get("Content-Range"))
	switch {
	case err != nil:
		return err
	case said && first != u.size:
		a.w.Header().Set("Location", a.at("blobs/uploads", u.id))
		a.w.Header().Set("Range", fmt.Sprintf("0-%d", max(0, u.size-1)))
		return withStatus(http.StatusRequestedRangeNotSatisfiable, refuse(codeUpload, fmt.Sprintf("the upload has %d bytes, and this piece begins at %d", u.size, first), "go on where it is"))
	case said && a.r.ContentLength >= 0 && a.r.ContentLength != length:
		return refuse(codeSize, "Content-Range and Content-Length do not say the same", "send as many bytes as you say")
	case len(u.pieces) == maxPieces:
		return refuse(codeUpload, fmt.Sprintf("the upload has %d pieces", maxPieces), "send larger ones")
	}
	most := maxBlob - u.size
	if said {
		most = min(most, length)
	}
	from := &telling{Reader: a.bodyOf(most)}
	content := bufio.NewReaderSize(from, 64<<10)
	if _, err := content.Peek(1); err == io.EOF && !said {
		return nil // nothing came, and nothing was to come
	}
	digest, size, err := d.put(a.r.Context(), a.model.Tenant, content)
	if err == nil && said && size != length {
		return refuse(codeSize, fmt.Sprintf("%d bytes came of a piece of %d", size, length), "send the piece again")
	}
	if err := cut(from, err); err != nil {
		return err
	}
	number := len(u.pieces)
	u.pieces, u.size = append(u.pieces, piece{digest, size}), u.size+size
	return d.cfg.Store.Update(a.r.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO oci_pieces (upload, number, digest, size) VALUES (?, ?, ?, ?)`, u.id, number, digest, size)
		if err == nil {
			_, err = tx.Exec(`UPDATE oci_uploads SET size = ? WHERE id = ?`, u.size, u.id)
		}
		return err
	})
}

// finish ends an upload, with its last piece or with all of it if one comes.
func (d *Door) finish(a *asked) (err error) {
	ctx := a.r.Context()
	entry, err := d.cfg.Guard.Enter(ctx, a.who, VerbPush, a.model)
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	q, err := parseQuery(a.r.URL.RawQuery)
	if err != nil {
		return err
	}
	digest := q.Get("digest")
	if err := parseDigest(digest); err != nil {
		return err
	}
	unlock, err := d.lock(ctx, "upload "+a.ref, false)
	if err != nil {
		return err
	}
	defer unlock()
	u, err := d.underWay(a)
	if err != nil {
		return err
	}
	if len(u.pieces) == 0 && a.r.Header.Get("Content-Range") == "" {
		entry.Detail(pushed{Upload: u.id, Digest: digest, Size: a.r.ContentLength})
		return d.whole(a, digest, u.id)
	}
	if err := d.take(a, &u); err != nil {
		return err
	}
	entry.Detail(pushed{Upload: u.id, Digest: digest, Size: u.size})
	if len(u.pieces) == 1 { // it is the whole already
		return d.end(ctx, a, u.id, digest, u.pieces[0].digest, u.size)
	}
	all := &joined{open: func(p piece) (io.ReadCloser, error) { return d.open(ctx, a.model.Tenant, p.digest) }, rest: u.pieces}
	defer all.Close()
	got, size, err := d.put(ctx, a.model.Tenant, all)
	if err != nil {
		return err
	}
	return d.end(ctx, a, u.id, digest, got, size)
}

// joined reads pieces one behind the other.
type joined struct {
	open func(piece) (io.ReadCloser, error)
	rest []piece
	at   io.ReadCloser
}

// Read implements io.Reader.
func (j *joined) Read(p []byte) (int, error) {
	for {
		if j.at == nil {
			if len(j.rest) == 0 {
				return 0, io.EOF
			}
			next, err := j.open(j.rest[0])
			if err != nil {
				return 0, err
			}
			j.at, j.rest = next, j.rest[1:]
		}
		n, err := j.at.Read(p)
		if err != io.EOF {
			return n, err
		}
		j.Close()
		if n > 0 {
			return n, nil
		}
	}
}

// Close ends it.
func (j *joined) Close() {
	if j.at != nil {
		j.at.Close()
		j.at = nil
	}
}
