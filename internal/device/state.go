package device

import (
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
	"github.com/pavise/pavise/internal/deploy/machine"
	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/seal"
)

// A version is one that the machine has.
type version struct {
	Revision  uint64                `json:"revision"` // of the orders that brought it
	Model     pavise.Name           `json:"model"`
	Number    int                   `json:"version"`
	Digest    string                `json:"digest"`
	Files     []machine.OrderedFile `json:"files"`
	Dir       string                `json:"dir,omitempty"` // below versions/, where it lies in the clear; empty: nowhere
	Since     time.Time             `json:"since"`
	Signature []byte                `json:"signature,omitempty"`
}

// A state is what the machine knows.
type state struct {
	Target   pavise.Name `json:"target"`
	Revision uint64      `json:"revision"` // of the newest orders that were acted on
	Current  *version    `json:"current,omitempty"`
	Before   *version    `json:"before,omitempty"`
	Next     *version    `json:"next,omitempty"` // it is being swapped in
	Held     string      `json:"held,omitempty"` // why it does not run what was ordered last
	Barred   []string    `json:"barred,omitempty"`
}

// The files of the machine's directory.
const (
	linkCurrent = "current"
	dirVersions = "versions"
	dirKept     = "kept"
	fileState   = "state"
	fileLock    = "lock"
)

var stateContext = []byte("pavise edge state\n1")

// lock keeps other processes from the directory until it is released: a rollback by hand
// comes beside the agent.
func lock(dir string) (release func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, fileLock), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, unwritten(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, unwritten(err)
	}
	return func() { f.Close() }, nil
}

// readState reads what the machine knows; of a new one, nothing.
func readState(dir string, key *seal.Key) (s state, err error) {
	envelope, err := os.ReadFile(filepath.Join(dir, fileState))
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, unwritten(err)
	}
	text, err := key.Open(stateContext, envelope)
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil {
		return s, &pavise.Error{Kind: pavise.Unverified, Msg: "what this machine runs cannot be told any more: " + filepath.Join(dir, fileState) + " was changed", Hint: "look at who can write there; a new directory begins anew", Err: err}
	}
	return s, nil
}

// write keeps what the machine knows.
func (s *state) write(dir string, key *seal.Key) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, fileState), key.Seal(stateContext, text))
}

// writeFile writes a file that is whole or not there at all.
func writeFile(name string, text []byte) error {
	if err := disk.Replace(disk.Dir{Path: filepath.Dir(name)}, filepath.Base(name), text); err != nil {
		return unwritten(err)
	}
	return nil
}

// syncDir makes the names in a directory durable.
func syncDir(name string) error {
	if err := (disk.Dir{Path: name}).Sync(); err != nil {
		return unwritten(err)
	}
	return nil
}

func unwritten(err error) error {
	return &pavise.Error{Kind: pavise.Unavailable, Msg: "the directory of the machine cannot be used: " + err.Error(), Hint: "is there room, and may this user write there?", Err: err}
}

// points says to which version the link current leads; "": to none.
func points(dir string) string {
	to, err := os.Readlink(filepath.Join(dir, linkCurrent))
	if err != nil {
		return ""
	}
	name, ok := strings.CutPrefix(to, dirVersions+"/")
	if !ok {
		return "?" + to
	}
	return name
}

// point has the link current lead to a version, in one step.
func point(dir, name string) error {
	link := filepath.Join(dir, linkCurrent)
	if err := os.Remove(link + ".new"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return unwritten(err)
	}
	if err := os.Symlink(dirVersions+"/"+name, link+".new"); err != nil {
		return unwritten(err)
	}
	if err := os.Rename(link+".new", link); err != nil {
		return unwritten(fmt.Errorf("swap the link: %w", err))
	}
	return syncDir(dir)
}
