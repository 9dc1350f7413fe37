package registry

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/oms"
)

// A Digest is a SHA-256. Its text is sha256: and 64 hexadecimal digits; that of the zero
// Digest, which is of nothing, is empty.
type Digest [sha256.Size]byte

const digestPrefix = "sha256:"

// ParseDigest reads a digest. The error is of kind Invalid.
func ParseDigest(text string) (d Digest, err error) {
	hexed, is := strings.CutPrefix(text, digestPrefix)
	raw, err := hex.DecodeString(hexed)
	if !is || err != nil || len(raw) != len(d) || strings.ToLower(hexed) != hexed {
		return d, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.100q is no digest", text), Hint: "write it as sha256: and 64 hexadecimal digits", Err: err}
	}
	return Digest(raw), nil
}

// String returns the text of the digest.
func (d Digest) String() string {
	if d == (Digest{}) {
		return ""
	}
	return digestPrefix + hex.EncodeToString(d[:])
}

// MarshalText writes the digest as String does.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (d *Digest) UnmarshalText(text []byte) (err error) {
	if *d = (Digest{}); len(text) > 0 {
		*d, err = ParseDigest(string(text))
	}
	return err
}

// A File is one file of a version.
type File struct {
	Path   string `json:"path" doc:"from the top of the model, with slashes; . of a model that is one file" maxLength:"4096"`
	Size   int64  `json:"size" doc:"in bytes" minimum:"0"`
	Digest Digest `json:"digest" doc:"sha256: and 64 hexadecimal digits"`
}

// The bounds of a version's files.
const (
	MaxFiles     = 20_000
	maxFileBytes = 1 << 50
)

// DigestOf is the digest of a version: over its files by path, in the order of bytes, as
// docs/formats/model.md has it. It sorts them.
func DigestOf(files []File) Digest {
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	h := sha256.New()
	h.Write([]byte("pavise.model/1\n"))
	var line []byte
	for _, f := range files {
		line = strconv.AppendInt(line[:0], f.Size, 10)
		line = append(line, ' ')
		line = hex.AppendEncode(line, f.Digest[:])
		line = append(line, ' ')
		line = strconv.AppendInt(line, int64(len(f.Path)), 10)
		line = append(line, ' ')
		line = append(line, f.Path...)
		line = append(line, '\n')
		h.Write(line)
	}
	return Digest(h.Sum(nil))
}

// checkFiles refuses what cannot be the files of a version, and returns the sum of their
// sizes.
func checkFiles(files []File) (bytes int64, err error) {
	bad := func(format string, args ...any) (int64, error) {
		return 0, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf(format, args...), Hint: "give each file once, as a path from the top of the model, with its size and digest"}
	}
	if len(files) == 0 || len(files) > MaxFiles {
		return bad("a version has 1 to %d files, not %d", MaxFiles, len(files))
	}
	seen, within := map[string]bool{}, map[string]bool{}
	for _, f := range files {
		if seen[f.Path] {
			return bad("%.100q stands there twice", f.Path)
		}
		seen[f.Path] = true
		for dir := path.Dir(f.Path); dir != "." && !within[dir]; dir = path.Dir(dir) {
			within[dir] = true
		}
	}
	for _, f := range files {
		switch {
		case !oms.ValidPath(f.Path) && !(f.Path == "." && len(files) == 1):
			return bad("%.100q is no path of a file in a model", f.Path)
		case within[f.Path]:
			return bad("%.100q is a file and a directory", f.Path)
		case f.Size < 0 || f.Size > maxFileBytes || f.Digest == Digest{}:
			return bad("%.100q has no size or no digest", f.Path)
		}
		if bytes += f.Size; bytes > maxFileBytes {
			return bad("the files have more than %d bytes", int64(maxFileBytes))
		}
	}
	return bytes, nil
}
