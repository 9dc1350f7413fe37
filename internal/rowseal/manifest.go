package rowseal

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/bits"
	"unicode/utf8"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/plainjson"
	"github.com/pavise/pavise/internal/proof"
)

// FormatSeal is the format of seals, the only one there is.
const FormatSeal = "pavise.seal/1" // the only format there is

// Bounds of a manifest.
const (
	MaxManifest = 512 << 20 // bytes
	MaxFiles    = 1 << 20
	MaxPath     = 4096    // bytes, as long as a system lets a path be
	maxBits     = 40      // of the tree of contents
	maxRows     = 1 << 48 // of a file
	maxAllRows  = 1 << 52
)

// A Format says how a file is sealed.
type Format string

// The formats.
const (
	CSV     Format = "csv"     // by record (RFC 4180)
	JSONL   Format = "jsonl"   // by line
	Parquet Format = "parquet" // by row, and by block of bytes
	Blocks  Format = "blocks"  // by block of 64 KiB
	Link    Format = "link"    // a symbolic link to another file of the dataset: its target
)

// codes are what formats are in Hashes.
var codes = map[Format]byte{CSV: 1, JSONL: 2, Parquet: 3, Blocks: 4, Link: 5}

// HasRows reports whether the format has rows.
func (f Format) HasRows() bool { return f == CSV || f == JSONL || f == Parquet }

// A File is one file of a sealed dataset.
type File struct {
	Path   string `json:"path"` // with slashes, below what was sealed; "." when that is a file
	Format Format `json:"format"`
	Size   int64  `json:"size"` // bytes
	Rows   uint64 `json:"rows"` // 0 where there are none
	Root   Digest `json:"root"` // of the tree of its rows, or of its blocks
}

// Leaf is the file's entry in the tree of files.
func (f *File) Leaf() hash {
	b := []byte{tagLeaf, codes[f.Format]}
	b = binary.BigEndian.AppendUint64(b, uint64(f.Size))
	b = binary.BigEndian.AppendUint64(b, f.Rows)
	b = append(b, f.Root[:]...)
	return sha256.Sum256(append(b, f.Path...))
}

// Contents are the tree of rows by what they say: the rows whose digests begin with the same
// bits share an entry.
type Contents struct {
	Bits int    `json:"bits"` // the tree has 2^Bits entries
	Root Digest `json:"root"`
}

// A Manifest is what of a seal may be shown. It says nothing of when, where and by whom the
// content was sealed: the same content has the same bytes.
type Manifest struct {
	Format   string    `json:"format"`             // pavise.seal/1
	Root     Digest    `json:"root"`               // of all of it
	Contents *Contents `json:"contents,omitempty"` // where there are rows
	Files    []File    `json:"files"`              // by path, in the order of bytes
}

// bucketBits is how many bits of a digest name a bucket among so many rows: sixteen share
// one at most, on average, and there are never so few that a proof would show much.
func bucketBits(rows uint64) int {
	return max(16, bits.Len64((max(rows, 1)-1)/16))
}

// Rows is how many rows the files have.
func (m *Manifest) Rows() (n uint64) {
	for i := range m.Files {
		n += m.Files[i].Rows
	}
	return n
}

// FilesRoot is the root of the tree of files.
func (m *Manifest) FilesRoot() hash {
	var tree proof.Range
	for i := range m.Files {
		tree.Add(0, m.Files[i].Leaf(), nil)
	}
	return tree.Root()
}

// summit is what a seal's root is made of.
type summit struct {
	files     uint64
	filesRoot hash
	contents  *Contents
}

func (m *Manifest) summit() summit {
	return summit{uint64(len(m.Files)), m.FilesRoot(), m.Contents}
}

func (s summit) root() Digest {
	b := append([]byte{tagManifest}, FormatSeal...)
	b = binary.BigEndian.AppendUint64(b, s.files)
	b = append(b, s.filesRoot[:]...)
	if s.contents == nil {
		return sha256.Sum256(append(b, make([]byte, 1+sha256.Size)...))
	}
	return sha256.Sum256(append(append(b, byte(s.contents.Bits)), s.contents.Root[:]...))
}

// Marshal writes the manifest, in one spelling.
func (m *Manifest) Marshal() ([]byte, error) {
	text, err := json.MarshalIndent(m, "", " ")
	return append(text, '\n'), err
}

// ParseManifest reads a manifest, and holds its root to what it says. Errors are of kind
// Invalid for what is none, and Unverified for one that was changed.
func ParseManifest(text []byte) (*Manifest, error) {
	if len(text) > MaxManifest {
		return nil, noSeal(fmt.Sprintf("it is %d bytes long, more than %d", len(text), MaxManifest), nil)
	}
	if !utf8.Valid(text) {
		return nil, noSeal("it is not UTF-8", nil)
	}
	m, err := plainjson.ReadKnown[Manifest](text)
	switch {
	case err != nil:
		return nil, noSeal("", err)
	case m.Format != FormatSeal:
		return nil, noSeal(fmt.Sprintf("its format is %.40q, and this build reads %s", m.Format, FormatSeal), nil)
	}
	if why := m.fault(); why != "" {
		return nil, noSeal(why, nil)
	}
	if is := m.summit().root(); is != m.Root {
		return nil, &pavise.Error{
			Kind: pavise.Unverified, Msg: fmt.Sprintf("the seal was changed: its root is %s, and what it says has the root %s", m.Root, is),
			Hint: "get the seal again from where it is kept; believe nothing that this one says",
		}
	}
	return &m, nil
}

func noSeal(why string, err error) error {
	msg := "this is no seal of a dataset"
	if why != "" {
		msg += ": " + why
	} else if err != nil {
		msg += ": " + err.Error()
	}
	return &pavise.Error{Kind: pavise.Invalid, Msg: msg, Hint: "pavise dataset seal writes one", Err: err}
}

// fault says what in the manifest no seal says.
func (m *Manifest) fault() string {
	switch {
	case len(m.Files) == 0:
		return "it has no files"
	case len(m.Files) > MaxFiles:
		return fmt.Sprintf("it has more than %d files", MaxFiles)
	}
	for i := range m.Files {
		f := &m.Files[i]
		switch {
		case !ValidPath(f.Path) || f.Path == "." && len(m.Files) > 1:
			return fmt.Sprintf("%.100q is no path of a file", f.Path)
		case i > 0 && f.Path <= m.Files[i-1].Path:
			return fmt.Sprintf("%.100q stands twice or not in its order", f.Path)
		case codes[f.Format] == 0:
			return fmt.Sprintf("%.100q has the format %.40q, which this build does not know", f.Path, f.Format)
		case f.Size < 0 || f.Rows > maxRows || f.Rows > 0 && !f.Format.HasRows():
			return fmt.Sprintf("%.100q has %d bytes and %d rows", f.Path, f.Size, f.Rows)
		}
	}
	rows := uint64(0)
	for i := range m.Files {
		if rows += m.Files[i].Rows; rows > maxAllRows { // which no sum of two of them wraps around
			return "it has more rows than there can be"
		}
	}
	if (rows > 0) != (m.Contents != nil) || rows > 0 && (m.Contents.Bits != bucketBits(rows) || m.Contents.Bits > maxBits) {
		return fmt.Sprintf("its tree of contents is none of %d rows", rows)
	}
	return ""
}

// ValidPath reports whether a path can stand in a seal: below what was sealed, in one
// spelling.
func ValidPath(p string) bool {
	return fs.ValidPath(p) && len(p) <= MaxPath && utf8.ValidString(p)
}

// ByPath is the manifest's files by their paths.
func (m *Manifest) ByPath() map[string]*File {
	files := make(map[string]*File, len(m.Files))
	for i := range m.Files {
		files[m.Files[i].Path] = &m.Files[i]
	}
	return files
}
