package fleet

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
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

func openIdentity(dir string, now func() time.Time) (*Membership, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, &pavise.Error{Kind: pavise.Unavailable, Msg: "make the directory of your certificate: " + err.Error(), Hint: "name another with --identity", Err: err}
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
		return nil, &pavise.Error{Kind: pavise.Unverified, Msg: "your certificate ended " + j.Expires.Local().Format("Mon 2 Jan 15:04"), Hint: "ask for a new invitation, and join again"}
	}
	if m.due() {
		if err := m.renewNow(ctx); err != nil && pavise.KindOf(err) != pavise.Unavailable {
			return nil, err
		}
	}
	return &Identity{m}, nil
}

// Client speaks to the control plane in the person's name.
func (i *Identity) Client() *api.Client {
	return &api.Client{Base: i.member.server, HTTP: i.member.Client()}
}

// Dial speaks in the holder's name to any member of the fleet, such as a gateway.
func (i *Identity) Dial() *http.Client { return i.member.ClientFor("") }

// Name is the person's own, tenant/kind/id.
func (i *Identity) Name() pavise.Name { return i.member.Is().Name }

// Server is the control plane's fleet address.
func (i *Identity) Server() string { return i.member.server }

// Expires is when the certificate ends.
func (i *Identity) Expires() time.Time { return i.member.Is().Expires }
