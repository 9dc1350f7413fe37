package issuer

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/seal"
	"github.com/pavise/pavise/internal/store"
)

// rootLife is how long a root lives.
const rootLife = 10 * 365 * 24 * time.Hour

// The states of a root. One signs; the others are believed.
const (
	rootSigns  = "signs"
	rootNext   = "next"   // made known before it signs
	rootFormer = "former" // until what it signed has ended
)

// A root is one root of the CA.
type root struct {
	n           int64 // of its key file, ca-N.key
	state       string
	certificate *x509.Certificate
	key         crypto.Signer // nil unless it signs
}

// caSteps are the migrations of the CA. They are only ever appended to.
var caSteps = []string{
	`CREATE TABLE issuer_ca_roots (
		tenant      TEXT NOT NULL,
		n           INTEGER NOT NULL, -- of its key file
		state       TEXT NOT NULL,
		certificate BLOB NOT NULL,
		PRIMARY KEY (tenant, n)
	 ) STRICT;
	 CREATE TABLE issuer_ca_holders (
		tenant  TEXT NOT NULL,
		kind    TEXT NOT NULL,
		id      TEXT NOT NULL,
		holder  TEXT NOT NULL, -- as JSON
		serial  TEXT NOT NULL, -- of the newest certificate
		before  TEXT NOT NULL, -- of the one before it; empty: none
		began   INTEGER NOT NULL, -- NotBefore of the newest, Unix seconds
		PRIMARY KEY (tenant, kind, id)
	 ) STRICT;
	 CREATE TABLE issuer_ca_invitations (
		tenant TEXT NOT NULL,
		id     TEXT NOT NULL, -- the part of the text that finds it
		hash   BLOB NOT NULL, -- SHA-256 of the part that proves it; empty: bound to a key
		holder TEXT NOT NULL, -- as JSON
		kind   TEXT NOT NULL,
		name   TEXT NOT NULL, -- the holder's id
		until  INTEGER NOT NULL, -- Unix seconds
		tries  INTEGER NOT NULL, -- that came to nothing
		PRIMARY KEY (tenant, id)
	 ) STRICT`,
}

// openRoots reads the roots, and makes the first one where there is none.
func (ca *CA) openRoots(ctx context.Context) error {
	if err := os.MkdirAll(ca.cfg.Dir, 0o700); err != nil {
		return &pavise.Error{Kind: pavise.Unavailable, Msg: ca.cfg.Dir + " cannot be made", Hint: "check that the directory above it belongs to this user and is writable", Err: err}
	}
	roots, err := ca.readRoots(ctx)
	if err != nil {
		return err
	}
	if len(roots) == 0 {
		return ca.addRoot(ctx, 1, rootSigns, func(*store.Tx) error { return nil })
	}
	return nil
}

// readRoots reads the roots from the table, the one that signs first.
func (ca *CA) readRoots(ctx context.Context) (roots []root, err error) {
	err = ca.cfg.Store.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query(`SELECT n, state, certificate FROM issuer_ca_roots WHERE tenant = ? ORDER BY state = 'signs' DESC, n DESC`, ca.cfg.Tenant)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var (
				r   root
				der []byte
			)
			if err := rows.Scan(&r.n, &r.state, &der); err != nil {
				return err
			}
			if r.certificate, err = x509.ParseCertificate(der); err != nil {
				return fmt.Errorf("read root %d of the CA: %w", r.n, err)
			}
			roots = append(roots, r)
		}
		return rows.Err()
	})
	if err != nil || len(roots) == 0 {
		return roots, err
	}
	key, err := ca.rootKey(roots[0].n)
	if err != nil {
		return nil, err
	}
	if !roots[0].certificate.PublicKey.(*ecdsa.PublicKey).Equal(key.Public()) {
		return nil, &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("the key file of root %d is not that of its certificate", roots[0].n), Hint: "restore the key files and the state database from the same backup"}
	}
	roots[0].key = key
	return roots, nil
}

// rootKey opens the key of a root, and makes it where there is none.
func (ca *CA) rootKey(n int64) (crypto.Signer, error) {
	path := filepath.Join(ca.cfg.Dir, fmt.Sprintf("ca-%d.key", n))
	der, err := ca.cfg.KEK.LoadOrCreate(path, seal.PurposeCA, func() ([]byte, error) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		return x509.MarshalPKCS8PrivateKey(key)
	})
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	signer, ok := key.(*ecdsa.PrivateKey)
	if err != nil || !ok {
		return nil, &pavise.Error{Kind: pavise.Unverified, Msg: path + " holds no ECDSA key", Hint: "restore it from a backup", Err: err}
	}
	return signer, nil
}

// addRoot makes a root and writes it down, with what belongs to the same step.
func (ca *CA) addRoot(ctx context.Context, n int64, state string, with func(*store.Tx) error) error {
	key, err := ca.rootKey(n)
	if err != nil {
		return err
	}
	serial, err := newSerial()
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{Organization: []string{"Pavise"}, CommonName: clipName(ca.cfg.TrustDomain), SerialNumber: fmt.Sprint(n)},
		NotBefore: ca.now().Add(-backdate), NotAfter: ca.now().Add(rootLife),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
		URIs:                []*url.URL{{Scheme: "spiffe", Host: ca.cfg.TrustDomain}},
		PermittedURIDomains: []string{ca.cfg.TrustDomain}, PermittedDNSDomainsCritical: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return fmt.Errorf("make root %d of the CA: %w", n, err)
	}
	return ca.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		if err := with(tx); err != nil {
			return err
		}
		_, err := tx.Exec(`INSERT INTO issuer_ca_roots (tenant, n, state, certificate) VALUES (?, ?, ?, ?)`, ca.cfg.Tenant, n, state, der)
		return err
	})
}

// clipName is a text as a common name may have it (RFC 5280, appendix A.1).
func clipName(text string) string { return text[:min(len(text), 64)] }

// A Root is a root of the CA, as people see it.
type Root struct {
	N           int64     `json:"n"`
	State       string    `json:"state"`       // signs, next or former
	Fingerprint string    `json:"fingerprint"` // hex SHA-256 of the certificate
	Certificate []byte    `json:"certificate"` // DER; base64 in JSON
	Expires     time.Time `json:"expires"`
}

// The steps of a rotation of roots, in their order.
const (
	StepPrepare  = "prepare"  // make the next root, which is made known and signs nothing yet
	StepActivate = "activate" // let it sign; the one before is believed still
	StepRetire   = "retire"   // believe the former one no more
)

// ListRoots returns the roots: the verb ca.list.
func (ca *CA) ListRoots(ctx context.Context, who pavise.Principal) (roots []Root, err error) {
	entry, err := ca.cfg.Guard.Enter(ctx, who, "ca.list", ca.name("ca", "roots"))
	if err != nil {
		return nil, err
	}
	defer entry.Exit(&err)
	for _, r := range *ca.roots.Load() {
		roots = append(roots, Root{N: r.n, State: r.state, Fingerprint: fingerprint(r.certificate.Raw), Certificate: r.certificate.Raw, Expires: r.certificate.NotAfter})
	}
	return roots, nil
}

// PlanRotate says whether a step of a rotation can be done now, and which roots it is
// about. It changes nothing.
func (ca *CA) PlanRotate(step string) (summary string, err error) {
	_, summary, err = planRotation(*ca.roots.Load(), step)
	return summary, err
}

// planRotation returns the state that each root will have had after a step; a root that
// is not there is made, one whose state is empty is forgotten.
func planRotation(roots []root, step string) (states map[int64]string, summary string, err error) {
	by := map[string]int64{}
	var last int64
	for _, r := range roots {
		by[r.state] = r.n
		last = max(last, r.n)
	}
	conflict := func(msg, hint string) (map[int64]string, string, error) {
		return nil, "", &pavise.Error{Kind: pavise.Conflict, Msg: msg, Hint: hint}
	}
	switch {
	case step == StepPrepare && by[rootNext] != 0:
		return conflict(fmt.Sprintf("root %d is the next one already", by[rootNext]), "activate it once everybody knows it: machines within seconds, people when they renew, a certificate's life later at the latest")
	case step == StepPrepare && by[rootFormer] != 0:
		return conflict(fmt.Sprintf("root %d is believed still", by[rootFormer]), "retire it first")
	case step == StepPrepare:
		return map[int64]string{last + 1: rootNext}, fmt.Sprintf("make root %d of the CA known, which will sign next", last+1), nil
	case step == StepActivate && by[rootNext] == 0:
		return conflict("no next root was made known", "prepare one first")
	case step == StepActivate:
		return map[int64]string{by[rootSigns]: rootFormer, by[rootNext]: rootSigns},
			fmt.Sprintf("let root %d of the CA sign in the place of root %d", by[rootNext], by[rootSigns]), nil
	case step == StepRetire && by[rootFormer] == 0:
		return conflict("no former root is believed any more", "nothing is to be done")
	case step == StepRetire:
		return map[int64]string{by[rootFormer]: ""}, fmt.Sprintf("believe root %d of the CA no more", by[rootFormer]), nil
	}
	return nil, "", invalid(fmt.Sprintf("%.40q is no step of a rotation", step), "take prepare, activate or retire, in this order")
}

// Rotate does a step of a rotation: the verb ca.rotate, which is done as a change. Mark
// is called in the transaction of its effect.
func (ca *CA) Rotate(ctx context.Context, who pavise.Principal, step string, mark func(*store.Tx) error) (err error) {
	entry, err := ca.cfg.Guard.Enter(ctx, who, "ca.rotate", ca.name("ca", "roots"))
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	ca.changing.Lock()
	err = ca.rotate(ctx, step, mark)
	ca.changing.Unlock()
	if err != nil {
		return err
	}
	err = ca.changed(ctx)
	entry.Detail(rotated{step, ca.fingerprints()})
	return err
}

// rotate does, in the table. The caller holds changing.
func (ca *CA) rotate(ctx context.Context, step string, mark func(*store.Tx) error) error {
	roots, err := ca.readRoots(ctx)
	if err != nil {
		return err
	}
	states, _, err := planRotation(roots, step)
	if err != nil {
		return err
	}
	for n, state := range states {
		if !slices.ContainsFunc(roots, func(r root) bool { return r.n == n }) {
			return ca.addRoot(ctx, n, state, mark)
		}
	}
	return ca.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		for n, state := range states {
			query, args := `UPDATE issuer_ca_roots SET state = ? WHERE tenant = ? AND n = ?`, []any{state, ca.cfg.Tenant, n}
			if state == "" {
				query, args = `DELETE FROM issuer_ca_roots WHERE tenant = ? AND n = ?`, args[1:]
			}
			if _, err := tx.Exec(query, args...); err != nil {
				return err
			}
		}
		return mark(tx)
	})
}

// rotated is the detail of a record of ca.rotate.
type rotated struct {
	Step  string   `json:"step"`
	Roots []string `json:"roots"` // fingerprints of all that are believed then, the one that signs first
}

func (ca *CA) fingerprints() (all []string) {
	for _, r := range ca.Roots() {
		all = append(all, fingerprint(r.Raw))
	}
	return all
}
