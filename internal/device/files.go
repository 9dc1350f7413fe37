package device

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/deploy/machine"
)

// single is the name of the file of a version that is one file.
const single = "model"

// nameOf is where a file of a version lies below its directory.
func nameOf(f machine.OrderedFile) string {
	if f.Path == "." {
		return single
	}
	return filepath.FromSlash(f.Path)
}

// partFile is where a part is kept.
func (d *Device) partFile(digest string) string {
	return filepath.Join(d.cfg.Dir, dirKept, strings.TrimPrefix(digest, "sha256:"))
}

// partContext binds a sealed part to its digest.
func partContext(digest string) []byte { return []byte("pavise edge part\n" + digest) }

// keep seals the parts of a version that are not kept yet. from returns them in the clear.
func (d *Device) keep(v *version, from func(digest string) ([]byte, error)) error {
	for _, f := range v.Files {
		for _, digest := range f.Parts {
			if _, err := os.Lstat(d.partFile(digest)); err == nil {
				continue
			}
			text, err := from(digest)
			if err != nil {
				return err
			}
			if sum := sha256.Sum256(text); "sha256:"+hex.EncodeToString(sum[:]) != digest {
				return &pavise.Error{Kind: pavise.Unverified, Msg: "a part of " + f.Path + " is not what was ordered", Hint: "it is fetched again"}
			}
			if err := writeFile(d.partFile(digest), d.key.Seal(partContext(digest), text)); err != nil {
				return err
			}
		}
	}
	return nil
}

// layOut writes a version in the clear, into a directory of its own, out of what is kept.
// Each file is held to its digest on its way.
func (d *Device) layOut(v *version) (err error) {
	var random [4]byte
	rand.Read(random[:])
	name := strings.TrimPrefix(v.Digest, "sha256:")[:16] + "-" + hex.EncodeToString(random[:])
	dir := filepath.Join(d.cfg.Dir, dirVersions, name)
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return unwritten(err)
	}
	for _, f := range v.Files {
		if err := d.layOutFile(dir, f); err != nil {
			return err
		}
	}
	if err := syncDir(filepath.Dir(dir)); err != nil {
		return err
	}
	v.Dir = name
	return nil
}

func (d *Device) layOutFile(dir string, f machine.OrderedFile) (err error) {
	name := filepath.Join(dir, nameOf(f))
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return unwritten(err)
	}
	out, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return unwritten(err)
	}
	defer func() {
		if err2 := out.Close(); err == nil && err2 != nil {
			err = unwritten(err2)
		}
	}()
	whole := sha256.New()
	for _, digest := range f.Parts {
		envelope, err := os.ReadFile(d.partFile(digest))
		if err != nil {
			return unwritten(err)
		}
		text, err := d.key.Open(partContext(digest), envelope)
		if err != nil {
			return fmt.Errorf("open a part of %s: %w", f.Path, err)
		}
		whole.Write(text)
		if _, err := out.Write(text); err != nil {
			return unwritten(err)
		}
	}
	if sumOf(whole) != f.Digest {
		return &pavise.Error{Kind: pavise.Unverified, Msg: f.Path + " is not what was ordered", Hint: "it is fetched again"}
	}
	if err := out.Sync(); err != nil {
		return unwritten(err)
	}
	return nil
}

func sumOf(h hash.Hash) string { return "sha256:" + hex.EncodeToString(h.Sum(nil)) }

// differs says what is otherwise in the directory of a version than in the version; "":
// nothing. Every byte is read.
func (d *Device) differs(v *version) string {
	if got := points(d.cfg.Dir); got != v.Dir {
		return "the link current leads to " + got
	}
	dir := filepath.Join(d.cfg.Dir, dirVersions, v.Dir)
	want := map[string]machine.OrderedFile{}
	for _, f := range v.Files {
		want[nameOf(f)] = f
	}
	problem := ""
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		f, ok := want[name]
		switch {
		case !ok:
			problem = name + " is no file of it"
		case !e.Type().IsRegular():
			problem = name + " is no file any more"
		default:
			delete(want, name)
			if same, err := holds(path, f); err != nil || !same {
				problem = name + " was changed"
			}
		}
		if problem != "" {
			return fs.SkipAll
		}
		return nil
	})
	switch {
	case err != nil:
		return err.Error()
	case problem == "" && len(want) > 0:
		var gone []string
		for name := range want {
			gone = append(gone, name)
		}
		return slices.Min(gone) + " is gone"
	}
	return problem
}

// holds reports whether a file has the bytes that it should.
func holds(path string, f machine.OrderedFile) (bool, error) {
	r, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer r.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, io.LimitReader(r, f.Size+1))
	return n == f.Size && sumOf(sum) == f.Digest, err
}

// tidy removes what belongs to no version of the state: directories in the clear but that of
// the current one, and parts of neither.
func (d *Device) tidy(s *state) error {
	dirs, parts := map[string]bool{}, map[string]bool{}
	for _, v := range []*version{s.Current, s.Before, s.Next} {
		if v == nil {
			continue
		}
		if v != s.Before {
			dirs[v.Dir] = true
		}
		for _, f := range v.Files {
			for _, p := range f.Parts {
				parts[filepath.Base(d.partFile(p))] = true
			}
		}
	}
	for _, one := range []struct {
		dir  string
		keep map[string]bool
	}{{dirVersions, dirs}, {dirKept, parts}} {
		list, err := os.ReadDir(filepath.Join(d.cfg.Dir, one.dir))
		if err != nil {
			return unwritten(err)
		}
		for _, e := range list {
			if one.keep[e.Name()] {
				continue
			}
			if err := os.RemoveAll(filepath.Join(d.cfg.Dir, one.dir, e.Name())); err != nil {
				return unwritten(err)
			}
		}
	}
	return nil
}
