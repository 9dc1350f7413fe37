package login

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/disk"
)

// A Kept token is a person's for one server. It prints as nothing of it.
type Kept struct {
	Server  string    `json:"server"`  // its address, without a slash at the end
	Token   string    `json:"token"`   // a bearer token
	Expires time.Time `json:"expires"` // zero: not known
}

// String returns the server alone.
func (k Kept) String() string { return "a token for " + k.Server }

// GoString is String: %#v tells nothing either.
func (k Kept) GoString() string { return k.String() }

// maxKept is more than a file of a token takes.
const maxKept = 128 << 10

// dir is where the tokens lie:
//
//	current         the address of the server that was logged in to last
//	<digest>.json   a Kept, mode 0600
func dir() (string, error) {
	base, err := os.UserConfigDir()
	if err != nil {
		return "", &pavise.Error{Kind: pavise.Unavailable, Msg: "there is no directory for your configuration", Hint: "set HOME or XDG_CONFIG_HOME", Err: err}
	}
	return filepath.Join(base, "pavise", "logins"), nil
}

// file is the file of a server, whose address could be no file's name.
func file(dir, server string) string {
	sum := sha256.Sum256([]byte(server))
	return filepath.Join(dir, hex.EncodeToString(sum[:16])+".json")
}

// Keep keeps a token, and makes its server the current one. The error is of kind Denied
// when others may look into the directory.
func Keep(k Kept) error {
	d, err := dir()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(d, 0o700); err != nil {
		return &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("the token cannot be kept: %v", err), Hint: "make the directory yours", Err: err}
	}
	if err := private(d); err != nil {
		return err
	}
	k.Server = strings.TrimSuffix(k.Server, "/")
	text, err := json.Marshal(k)
	if err != nil {
		return fmt.Errorf("encode the token: %w", err)
	}
	if err := replace(d, file(d, k.Server), text); err != nil {
		return err
	}
	return replace(d, filepath.Join(d, "current"), []byte(k.Server))
}

// private refuses a directory where somebody else may look or put files.
func private(d string) error {
	info, err := os.Lstat(d)
	if err != nil {
		return err
	}
	owner, known := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || info.Mode().Perm()&0o077 != 0 || known && int(owner.Uid) != os.Geteuid() {
		return &pavise.Error{Kind: pavise.Denied, Msg: fmt.Sprintf("%s, where tokens are kept, is not yours alone", d), Hint: "take it away from others: chmod 700"}
	}
	return nil
}

// replace replaces a file whole, with mode 0600.
func replace(d, path string, text []byte) error {
	f, err := os.CreateTemp(d, ".new-") // 0600
	if err != nil {
		return fmt.Errorf("keep the token: %w", err)
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("keep the token: %w", err)
	}
	return nil
}

// Find returns the token for a server, or, of no address, for the current one. ok is
// false when there is none. The error is of kind Unverified when the login has ended,
// Denied when others may look into the directory, and Invalid when the file is not what
// Keep wrote.
func Find(server string) (k Kept, ok bool, err error) {
	d, err := dir()
	if err != nil {
		return Kept{}, false, nil // without a configuration nobody is logged in
	}
	if err := private(d); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return Kept{}, false, nil
		}
		return Kept{}, false, err
	}
	server = strings.TrimSuffix(server, "/")
	if server == "" {
		name, err := disk.ReadPlain(filepath.Join(d, "current"), maxKept)
		if err != nil {
			return Kept{}, false, nil
		}
		server = string(name)
	}
	text, err := disk.ReadPlain(file(d, server), maxKept)
	if errors.Is(err, fs.ErrNotExist) {
		return Kept{}, false, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &k)
	}
	if err != nil || k.Server != server {
		return Kept{}, false, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the kept token for %.200s cannot be read", server), Hint: "log in again: pavise login", Err: err}
	}
	if !k.Expires.IsZero() && !time.Now().Before(k.Expires) {
		return Kept{}, false, &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("your login to %.200s ended at %s", server, k.Expires.UTC().Format("2006-01-02 15:04 UTC")), Hint: "log in again: pavise login"}
	}
	return k, true, nil
}

// Forget removes the token for a server, or, of no address, for the current one, and
// returns the server. The error is of kind NotFound when there is none.
func Forget(server string) (string, error) {
	d, err := dir()
	if err != nil {
		return "", err
	}
	none := &pavise.Error{Kind: pavise.NotFound, Msg: "you are not logged in", Hint: "pavise login does that"}
	now, err := disk.ReadPlain(filepath.Join(d, "current"), maxKept)
	server = strings.TrimSuffix(server, "/")
	if server == "" {
		if err != nil {
			return "", none
		}
		server = string(now)
	}
	if err := os.Remove(file(d, server)); errors.Is(err, fs.ErrNotExist) {
		return "", none
	} else if err != nil {
		return "", fmt.Errorf("remove the token: %w", err)
	}
	if string(now) == server {
		return server, os.Remove(filepath.Join(d, "current"))
	}
	return server, nil
}
