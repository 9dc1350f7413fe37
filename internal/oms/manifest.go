package oms

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/zeebo/blake3"
	"golang.org/x/crypto/blake2b"

	"github.com/pavise/pavise/internal/plainjson"
	"github.com/pavise/pavise/internal/sigstore"
)

// Names of the formats.
const (
	statementType   = "https://in-toto.io/Statement/v1"
	predicateType   = "https://model_signing/signature/v1.0"
	predicateLegacy = "https://model_signing/Digests/v0.1" // of the tool's version 0.2
)

// Bounds of a manifest.
const (
	MaxFiles = 1 << 20 // files and shards
	MaxPath  = 4096    // bytes of a path
)

// DefaultIgnored is what is no part of a model, at the top of its directory.
var DefaultIgnored = []string{".git", ".gitattributes", ".github", ".gitignore"}

// A Hash is a hash function by its name in OMS: sha256, blake2b (512 bits) or blake3 (256
// bits).
type Hash string

// New begins a hash. It is nil for a function that OMS does not have.
func (h Hash) New() hash.Hash {
	switch h {
	case "sha256":
		return sha256.New()
	case "blake2b":
		long, _ := blake2b.New512(nil) // errs for a key alone
		return long
	case "blake3":
		return blake3.New()
	}
	return nil
}

// A Manifest is what a signature says of a model.
type Manifest struct {
	Name      string // of the model, as it was signed; nothing rests on it
	Root      [sha256.Size]byte
	Hash      Hash
	ShardSize int64    // bytes; 0: every file is hashed whole
	Symlinks  bool     // links were followed
	Ignored   []string // paths that were left out
	Legacy    bool     // of a form before 1.0
	Files     []File   // by path, in the order of bytes
}

// A File is one file of a model. The path of a model that is one file is ".".
type File struct {
	Path  string
	Parts []Part // one for a file that is hashed whole, else one a shard
}

// A Part is a digest of bytes of a file.
type Part struct {
	Start, End int64 // End is 0 for a file that is hashed whole
	Digest     []byte
}

// resource is a file, or a shard of one, in a statement.
type resource struct {
	Name      string `json:"name"`
	Digest    string `json:"digest"`
	Algorithm string `json:"algorithm"`
}

// serialization says how files were hashed.
type serialization struct {
	Method    string          `json:"method"`
	Hash      Hash            `json:"hash_type"`
	ShardSize json.RawMessage `json:"shard_size,omitempty"` // a number, which some tools write with a fraction of zero
	Symlinks  *bool           `json:"allow_symlinks"`
	Ignored   []string        `json:"ignore_paths,omitempty"`
}

type subject struct {
	Name        string            `json:"name"`
	Digest      map[string]string `json:"digest"`
	Annotations map[string]any    `json:"annotations,omitempty"`
}

type statement struct {
	Type          string          `json:"_type"`
	Subject       []subject       `json:"subject"`
	PredicateType string          `json:"predicateType"`
	Predicate     json.RawMessage `json:"predicate"`
}

type predicate struct {
	Resources     []resource      `json:"resources"`
	Serialization json.RawMessage `json:"serialization"`
}

func bad(format string, args ...any) error {
	return sigstore.Unverified("it is signed so: whoever signed it has to sign the model anew", "the signed statement is none of OMS: "+format, args...)
}

// ParseStatement reads a statement, which must have been verified. Errors are of kind
// Unverified.
func ParseStatement(payload []byte) (*Manifest, error) {
	if !utf8.Valid(payload) {
		return nil, bad("it is not UTF-8")
	}
	var s statement
	if err := plainjson.Read(payload, &s); err != nil {
		return nil, bad("%v", err)
	}
	if s.Type != statementType {
		return nil, bad("it is of type %.120q", s.Type)
	}
	switch s.PredicateType {
	case predicateType:
		return current(&s)
	case predicateLegacy:
		return legacy(&s)
	}
	return nil, bad("its predicate is of type %.120q", s.PredicateType)
}

// current reads a statement of version 1.0.
func current(s *statement) (*Manifest, error) {
	var p predicate
	if err := json.Unmarshal(s.Predicate, &p); err != nil {
		return nil, bad("%v", err)
	}
	how, err := plainjson.ReadKnown[serialization](p.Serialization)
	if err != nil {
		return nil, bad("how files were hashed: %v", err)
	}
	m := &Manifest{Hash: how.Hash, Ignored: how.Ignored}
	switch {
	case how.Hash.New() == nil:
		return nil, bad("its files are hashed with %.40q", string(how.Hash))
	case how.Symlinks == nil:
		return nil, bad("it does not say whether links are followed")
	case how.Method == "shards":
		if m.ShardSize, err = shardSize(how.ShardSize); err != nil {
			return nil, err
		}
	case how.Method != "files" || how.ShardSize != nil:
		return nil, bad("its files are hashed by the method %.40q", how.Method)
	}
	m.Symlinks = *how.Symlinks
	for _, name := range m.Ignored {
		if path.Clean(name) == "." {
			return nil, bad("it leaves out all of the model")
		}
	}
	if len(s.Subject) != 1 {
		return nil, bad("it is about %d things", len(s.Subject))
	}
	m.Name = s.Subject[0].Name
	if err := m.fill(p.Resources); err != nil {
		return nil, err
	}
	if hex.EncodeToString(m.Root[:]) != s.Subject[0].Digest["sha256"] {
		return nil, bad("its digests do not hash to the one of the model")
	}
	return m, nil
}

// legacy reads a statement of the tool's version 0.2: every file is a subject.
func legacy(s *statement) (*Manifest, error) {
	m := &Manifest{Hash: "sha256", Legacy: true}
	var list []resource
	for _, one := range s.Subject {
		if how, ok := one.Annotations["actual_hash_algorithm"]; ok && how != "file-sha256" && how != "sha256" {
			return nil, bad("a file is hashed with %.40v", how)
		}
		list = append(list, resource{one.Name, one.Digest["sha256"], "sha256"})
	}
	return m, m.fill(list)
}

func shardSize(text json.RawMessage) (int64, error) {
	n, err := strconv.ParseFloat(string(text), 64)
	if err != nil || n < 1 || n > 1<<53 || n != math.Trunc(n) {
		return 0, bad("its shards are of %.40q bytes", string(text))
	}
	return int64(n), nil
}

// fill takes the files of a statement in, and computes the root over them as they are listed.
func (m *Manifest) fill(list []resource) error {
	if len(list) == 0 || len(list) > MaxFiles {
		return bad("it lists %d files, and there can be 1 to %d", len(list), MaxFiles)
	}
	root, size := sha256.New(), m.Hash.New().Size()
	byPath := map[string]int{}
	for i := range list {
		r := &list[i]
		digest, err := hex.DecodeString(r.Digest)
		if err != nil || len(digest) != size || hex.EncodeToString(digest) != r.Digest {
			return bad("the digest of %.200q is none of %s", r.Name, m.Hash)
		}
		if r.Algorithm != string(m.Hash) && (m.ShardSize == 0 || r.Algorithm != fmt.Sprintf("%s-sharded-%d", m.Hash, m.ShardSize)) {
			return bad("%.200q is hashed with %.40q, and the model with %s", r.Name, r.Algorithm, m.Hash)
		}
		root.Write(digest)
		name, part := r.Name, Part{Digest: digest}
		if m.ShardSize > 0 {
			if name, part.Start, part.End, err = cutShard(r.Name); err != nil {
				return err
			}
		}
		if !ValidPath(name) && (name != "." || m.ShardSize == 0 && len(list) > 1) {
			return bad("%.200q is no path of a file in a model", name)
		}
		at, seen := byPath[name]
		if !seen {
			at = len(m.Files)
			byPath[name] = at
			m.Files = append(m.Files, File{Path: name})
		} else if m.ShardSize == 0 {
			return bad("it lists %.200q twice", name)
		}
		m.Files[at].Parts = append(m.Files[at].Parts, part)
	}
	root.Sum(m.Root[:0])
	slices.SortFunc(m.Files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	if _, one := byPath["."]; one && len(m.Files) > 1 {
		return bad("it is of one file, and lists %d", len(m.Files))
	}
	return m.wholeShards()
}

// wholeShards holds the shards of each file to their size: none is missing, and none twice.
func (m *Manifest) wholeShards() error {
	if m.ShardSize == 0 {
		return nil
	}
	for _, f := range m.Files {
		slices.SortFunc(f.Parts, func(a, b Part) int { return int(min(max(a.Start-b.Start, -1), 1)) })
		at := int64(0)
		for i, p := range f.Parts {
			size := p.End - p.Start
			if p.Start != at || size < 1 || size > m.ShardSize || size < m.ShardSize && i < len(f.Parts)-1 {
				return bad("the shards of %.200q do not follow each other by %d bytes", f.Path, m.ShardSize)
			}
			at = p.End
		}
	}
	return nil
}

// cutShard takes the name of a shard apart: path, where it begins, and where it ends.
func cutShard(name string) (file string, start, end int64, err error) {
	last := strings.LastIndexByte(name, ':')
	first := strings.LastIndexByte(name[:max(last, 0)], ':')
	if first < 0 {
		return "", 0, 0, bad("%.200q is no name of a shard", name)
	}
	for _, n := range []struct {
		text string
		to   *int64
	}{{name[first+1 : last], &start}, {name[last+1:], &end}} {
		*n.to, err = strconv.ParseInt(n.text, 10, 64)
		if err != nil || *n.to < 0 || strconv.FormatInt(*n.to, 10) != n.text {
			return "", 0, 0, bad("%.200q is no name of a shard", name)
		}
	}
	return name[:first], start, end, nil
}

// ValidPath reports whether a path is one of a file in a model, in its one spelling: from the
// top of the model, with slashes, without . and .. in it.
func ValidPath(name string) bool {
	return name != "" && len(name) <= MaxPath && utf8.ValidString(name) && !strings.ContainsRune(name, 0) &&
		path.Clean(name) == name && name != "." && name != ".." && name[0] != '/' && !strings.HasPrefix(name, "../")
}

// Statement writes the statement of a manifest, whose Root it computes.
func (m *Manifest) Statement() ([]byte, error) {
	how := serialization{Method: "files", Hash: m.Hash, Symlinks: &m.Symlinks, Ignored: m.Ignored}
	if m.ShardSize > 0 {
		how.Method, how.ShardSize = "shards", strconv.AppendInt(nil, m.ShardSize, 10)
	}
	var list []resource
	digests := map[string][]byte{}
	for _, f := range m.Files {
		for _, p := range f.Parts {
			name := f.Path
			if m.ShardSize > 0 {
				name = fmt.Sprintf("%s:%d:%d", f.Path, p.Start, p.End)
			}
			digests[name] = p.Digest
			list = append(list, resource{name, hex.EncodeToString(p.Digest), string(m.Hash)})
		}
	}
	slices.SortFunc(list, func(a, b resource) int { return strings.Compare(a.Name, b.Name) })
	root := sha256.New()
	for _, r := range list {
		root.Write(digests[r.Name])
	}
	root.Sum(m.Root[:0])
	text, err := json.Marshal(how)
	if err != nil {
		return nil, err
	}
	said, err := json.Marshal(predicate{list, text})
	if err != nil {
		return nil, err
	}
	return json.Marshal(statement{
		Type: statementType, Subject: []subject{{Name: m.Name, Digest: map[string]string{"sha256": hex.EncodeToString(m.Root[:])}}},
		PredicateType: predicateType, Predicate: said,
	})
}
