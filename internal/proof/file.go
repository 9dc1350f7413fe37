package proof

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/pavise/pavise"
)

// Bounds of a proof file.
const (
	maxFile = 512 << 10 // bytes: an entry in base64, sixteen signatures, and 63 hashes
	maxPath = 63        // hashes: as many levels as a log can have
)

// header is the first line of a proof file.
const header = "c2sp.org/tlog-proof@v1"

// A File shows that an entry is in a log under a signed checkpoint, to who has
// the file and the log's key (C2SP tlog-proof).
type File struct {
	Extra      []byte // what the file holds besides, unproved; nil: nothing
	Index      uint64 // the entry's place in the log
	Path       tlog.RecordProof
	Checkpoint []byte // the signed note, with its cosignatures
}

// Marshal writes the file.
func (f File) Marshal() []byte {
	const perHash, lines = 45, 64 // bytes
	b := make([]byte, 0, base64.StdEncoding.EncodedLen(len(f.Extra))+perHash*len(f.Path)+len(f.Checkpoint)+lines)
	b = append(b, header+"\n"...)
	if f.Extra != nil {
		b = append(base64.StdEncoding.AppendEncode(append(b, "extra "...), f.Extra), '\n')
	}
	b = append(strconv.AppendUint(append(b, "index "...), f.Index, 10), '\n')
	b = append(AppendHashes(b, f.Path), '\n')
	return append(b, f.Checkpoint...)
}

// IsFile reports whether text begins as a proof file does.
func IsFile(text []byte) bool { return bytes.HasPrefix(text, []byte(header+"\n")) }

// noFile is the error of a text that ParseFile cannot read: one that begins as a proof
// file does is one that was damaged.
func noFile(text []byte, why string) error {
	behind, begins := bytes.CutPrefix(text, []byte(header))
	if !begins || len(behind) > 0 && behind[0] != '\n' && behind[0] != '\r' {
		return &pavise.Error{Kind: pavise.Invalid, Msg: "this is no proof file: " + why, Hint: "pavise ledger prove RECORD writes one; its first line is " + header}
	}
	e := &pavise.Error{Kind: pavise.Unverified, Msg: "the proof file is damaged: " + why, Hint: "compare it with where it came from, or ask for a new one"}
	if bytes.Contains(text, []byte("\r\n")) {
		e.Msg, e.Hint = "the proof file is damaged: its line ends were changed in transit, to those of another system", "have it sent as a binary file, or packed"
	}
	return e
}

// ParseFile reads a proof file. Nothing in it is checked yet. The error is of kind
// Invalid when it is none, and Unverified when it was one and is damaged.
func ParseFile(text []byte) (File, error) {
	bad := func(why string) (File, error) { return File{}, noFile(text, why) }
	if len(text) > maxFile {
		return bad(fmt.Sprintf("it is %d bytes long, more than %d", len(text), maxFile))
	}
	head, note, ok := strings.Cut(string(text), "\n\n")
	lines := strings.Split(head, "\n")
	if lines[0] != header {
		return bad("it does not begin as one")
	}
	if !ok || len(lines) < 2 {
		return bad("its end is missing")
	}
	f := File{Checkpoint: []byte(note)}
	lines = lines[1:]
	if encoded, is := strings.CutPrefix(lines[0], "extra "); is {
		var err error
		if f.Extra, err = decode64(encoded); err != nil {
			return bad("its extra line is no base64")
		}
		lines = lines[1:]
	}
	number, ok := "", false
	if len(lines) > 0 {
		number, ok = strings.CutPrefix(lines[0], "index ")
	}
	index, err := decimal(number)
	if !ok || err != nil {
		return bad("it has no index line")
	}
	if f.Path, err = ParseHashes(lines[1:]); err != nil {
		return bad(err.Error())
	}
	f.Index = index
	return f, nil
}

// Prove checks that the entry with this leaf hash is where the file says, in the
// tree that the checkpoint is the head of. Whose checkpoint it is was for [Open]
// to say. The error is of kind Unverified.
func (f File) Prove(leaf tlog.Hash, cp Checkpoint) error {
	if f.Index >= cp.Size || tlog.CheckRecord(f.Path, int64(cp.Size), cp.Root, int64(f.Index), leaf) != nil {
		return &pavise.Error{
			Kind: pavise.Unverified,
			Msg:  fmt.Sprintf("the proof does not hold: no entry of this content is record %d of the %d under the checkpoint", f.Index, cp.Size),
			Hint: "the file was changed, or belongs to another log: ask for a new one",
		}
	}
	return nil
}

// AppendHashes appends hashes in base64, one a line.
func AppendHashes(b []byte, hashes []tlog.Hash) []byte {
	for _, h := range hashes {
		b = append(base64.StdEncoding.AppendEncode(b, h[:]), '\n')
	}
	return b
}

// ParseHashes reads at most 63 lines of one base64 hash each.
func ParseHashes(lines []string) ([]tlog.Hash, error) {
	if len(lines) > maxPath {
		return nil, fmt.Errorf("it has %d hashes, more than %d", len(lines), maxPath)
	}
	var hashes []tlog.Hash
	for _, line := range lines {
		h, err := parseHash(line)
		if err != nil {
			return nil, err
		}
		hashes = append(hashes, h)
	}
	return hashes, nil
}

// Consistent checks that the tree of one checkpoint is a prefix of another's, by
// a consistency proof of RFC 6962. The error is of kind Unverified.
func Consistent(old, now Checkpoint, path tlog.TreeProof) error {
	refuse := func(why string) error {
		return &pavise.Error{
			Kind: pavise.Unverified,
			Msg:  fmt.Sprintf("the tree of %d records is not a continuation of that of %d: %s", now.Size, old.Size, why),
			Hint: "the log was rolled back, or shows different histories to different people: keep both checkpoints, they prove it",
		}
	}
	switch {
	case now.Size < old.Size:
		return refuse("it is shorter")
	case now.Size == 0 && now.Root != emptyRoot:
		return refuse("the root of no records is not that of the empty tree")
	case old.Size == 0 || old.Size == now.Size:
		if len(path) > 0 {
			return refuse("a proof is given where none can be")
		}
		if old.Size == now.Size && old.Size > 0 && old.Root != now.Root {
			return refuse("as many records have another root")
		}
		return nil
	}
	if tlog.CheckTree(path, int64(now.Size), now.Root, int64(old.Size), old.Root) != nil {
		return refuse("the consistency proof does not hold")
	}
	return nil
}

// A Record is the extra data of a proof file that Pavise writes: the entry itself,
// and the verifier keys of whoever signed the checkpoint. Neither is trusted: the
// entry is proved by its hash, and a key by the fingerprint that the verifier
// knows.
type Record struct {
	Keys  []string
	Entry []byte
}

// Marshal writes the keys, one a line, an empty line, and the entry.
func (r Record) Marshal() []byte {
	var b []byte
	for _, k := range r.Keys {
		b = append(append(b, k...), '\n')
	}
	return append(append(b, '\n'), r.Entry...)
}

// ParseRecord reads what Marshal writes. The error is of kind Invalid.
func ParseRecord(extra []byte) (Record, error) {
	head, entry, ok := bytes.Cut(extra, []byte("\n\n"))
	if !ok || len(head) == 0 {
		return Record{}, &pavise.Error{
			Kind: pavise.Invalid, Msg: "the proof file does not hold the record it is about",
			Hint: "pavise verifies the files that pavise ledger prove writes",
		}
	}
	return Record{Keys: strings.Split(string(head), "\n"), Entry: entry}, nil
}
