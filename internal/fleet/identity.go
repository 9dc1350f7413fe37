package fleet

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/issuer"
	"github.com/pavise/pavise/internal/seal"
)

// IdentityVariable is the environment variable that may say where a person's
// certificate is.
const IdentityVariable = "PAVISE_IDENTITY"

// DefaultIdentity is where it is when nobody says otherwise.
func DefaultIdentity() string {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "pavise-identity"
	}
	return filepath.Join(dir, "pavise", "identity")
}

// An Identity is a person's certificate at a control plane, and its key.
type Identity struct{ member *Membership }

// Join makes a key in the directory and turns an invitation into a certificate for it.
func Join(ctx context.Context, dir string, invitation string, now func() time.Time) (*Identity, error) {
	server, err := issuer.InvitedTo(strings.TrimSpace(invitation))
	if err != nil {
		return nil, err
	}
	m, err := openIdentity(dir, now)
	if err != nil {
		return nil, err
	}
	m.server = server
	if err := m.Join(ctx, invitation); err != nil {
		return nil, err
	}
	return &Identity{m}, nil
}

// PersonKey returns the fingerprint of the key with which a person will join in the
// directory, and makes the key if there is none.
func PersonKey(dir string) (string, error) {
	m, err := openIdentity(dir, time.Now)
	if err != nil {
		return "", err
	}
	return issuer.KeyFingerprint(m.key.Public())
}

func openIdentity(dir string, now func() time.Time) (*Membership, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, &pavise.Error{Kind: pavise.Unavailable, Msg: "make the directory of your certificate: " + err.Error(), Hint: "name another with --identity", Err: err}
	}
	if err := CheckOwn(dir, "directory of your certificate", "--identity"); err != nil {
		return nil, err
	}
	kek, err := seal.OpenFileKEK(filepath.Join(dir, "kek"))
	if err != nil {
		return nil, err
	}
	return OpenMembership(dir, "", kek, now)
}

// OpenIdentity opens what Join made, and has the certificate renewed when half of its
// life is over. The error is of kind NotFound when nobody joined there.
func OpenIdentity(ctx context.Context, dir string, now func() time.Time) (*Identity, error) {
	if _, err := os.Lstat(filepath.Join(dir, memberFile)); errors.Is(err, os.ErrNotExist) {
		return nil, &pavise.Error{Kind: pavise.NotFound, Msg: "nobody has joined in " + dir, Hint: "pavise join INVITATION"}
	}
	m, err := openIdentity(dir, now)
	if err != nil {
		return nil, err
	}
	j := m.Is()
	if j == nil {
		return nil, &pavise.Error{Kind: pavise.NotFound, Msg: "nobody has joined in " + dir, Hint: "pavise join INVITATION"}
	}
	m.server = j.Server
	if now().After(j.Expires) {
		return nil, &pavise.Error{Kind: pavise.Unverified, Msg: "your certificate ended " + j.Expires.UTC().Format("2006-01-02 15:04 UTC"), Hint: "ask for a new invitation, and join again"}
	}
	if m.due() {
		if err := m.renewAlone(ctx); err != nil {
			return nil, err
		}
	}
	return &Identity{m}, nil
}

// renewAlone renews while no other command does: of two that renew at once one would
// keep a certificate that is neither the newest nor the one before. When another is at
// it, or nobody answers, the certificate is good for a while still.
func (m *Membership) renewAlone(ctx context.Context) error {
	lock, err := disk.Lock(m.dir)
	if err != nil {
		return nil
	}
	defer lock.Close()
	if err := m.read(); err != nil {
		return err
	}
	if !m.due() {
		return nil
	}
	if err := m.RenewNow(ctx); err != nil && pavise.KindOf(err) != pavise.Unavailable {
		return err
	}
	return nil
}

// Client speaks to the control plane in the person's name.
func (i *Identity) Client() *api.Client {
	return &api.Client{Base: i.member.server, HTTP: i.member.Client()}
}

// Dial speaks in the holder's name to any member of the fleet, such as a gateway, under a
// name that the member's certificate carries.
func (i *Identity) Dial() *http.Client { return i.member.ClientFor("") }

// Name is the person's own, tenant/kind/id.
func (i *Identity) Name() pavise.Name { return i.member.Is().Name }

// Server is the control plane's fleet address.
func (i *Identity) Server() string { return i.member.server }

// Expires is when the certificate ends.
func (i *Identity) Expires() time.Time { return i.member.Is().Expires }

// Export writes the certificate, its key and the roots into a directory, as tls.crt,
// tls.key and ca.crt, for programs that read PEM. From then on the key is as safe as
// that directory.
func (i *Identity) Export(dir string) error {
	key, err := x509.MarshalPKCS8PrivateKey(i.member.key)
	if err != nil {
		return fmt.Errorf("encode the key: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return &pavise.Error{Kind: pavise.Unavailable, Msg: "make the directory for the certificate: " + err.Error(), Hint: "name another one", Err: err}
	}
	j := i.member.Is()
	for _, file := range []struct {
		name, label string
		ders        [][]byte
	}{{"tls.key", "PRIVATE KEY", [][]byte{key}}, {"tls.crt", "CERTIFICATE", j.Chain}, {"ca.crt", "CERTIFICATE", j.Roots}} {
		var text bytes.Buffer
		for _, der := range file.ders {
			if err := pem.Encode(&text, &pem.Block{Type: file.label, Bytes: der}); err != nil {
				return fmt.Errorf("encode %s: %w", file.name, err)
			}
		}
		if err := Replace(dir, file.name, text.Bytes()); err != nil {
			return err
		}
	}
	return nil
}
