package dataset

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/proof"
)

// Prove proves that a row was sealed, or that none like it was; or checks such a proof. Its
// fields are flags of the command line.
type Prove struct {
	Say func(text string) `kong:"-"` // gets a line of progress now and then; nil: nobody watches

	Seal    string `arg:"" help:"The seal. To prove takes the index beside it; to check does not."`
	Row     uint64 `help:"The row that stands there: counted from 1, a header with it." placeholder:"N"`
	Content string `help:"The row that this file holds: one record, as it stands in the data." placeholder:"FILE"`
	File    string `help:"The file of the dataset that --row counts in; only needed where several have rows." placeholder:"PATH"`
	Key     string `help:"Sign the proof with this Ed25519 key (PEM)." placeholder:"FILE"`
	Out     string `short:"o" help:"Where the proof goes; nothing may be there." placeholder:"FILE"`
	Check   string `help:"Check this proof instead; --content has the row that it is of." placeholder:"FILE"`
	Signer  string `help:"With --check: the public Ed25519 key (PEM) of who must have signed the proof." placeholder:"FILE"`
}

// Help is the text behind the command's flags.
func (*Prove) Help() string {
	return `Proves that a row was in what was sealed, by its number or by its content, or that no
such row was. The proof is an in-toto statement, in a DSSE envelope with --key; it tells
nothing of other rows. Whoever has the seal checks it, without the index and the data:

  pavise dataset prove training.seal --content row.txt -o proof.json
  pavise dataset prove training.seal --check proof.json --content row.txt

A proof is as good as the seal: who sealed could leave rows out of it. Whoever has the data
finds that out with pavise dataset verify.

It exits with 0 when the proof is made, or holds; with 1 when a proof that is checked does
not hold; and with 2 when it could not look.`
}

// A Place is where a row stands.
type Place struct {
	File string `json:"file"`
	Row  uint64 `json:"row"` // from 1
}

// Proved is what came of it.
type Proved struct {
	Seal     string  `json:"seal"`
	Root     Digest  `json:"root"`
	Member   bool    `json:"member"`           // the row is in what was sealed
	Places   []Place `json:"places,omitempty"` // where it stands; at most 1,000
	Count    uint64  `json:"count"`            // how often; when checked, what is proved
	Proof    string  `json:"proof,omitempty"`  // the file of the proof
	Checked  bool    `json:"checked"`          // a proof was checked, and not made
	Signed   string  `json:"signed_by,omitempty"`
	Note     string  `json:"note,omitempty"`
	Recorded bool    `json:"recorded"` // this command leaves no record

	text []byte // of the proof, where it goes to no file
}

// Run proves, or checks. Errors are of kind Invalid, NotFound, Denied, Conflict, Unavailable,
// and Unverified for a seal, an index or a proof that does not hold.
//
// Unguarded: whoever runs it reads their own files, as themselves; no principal of an
// installation acts.
func (p *Prove) Run(ctx context.Context) (*Proved, error) {
	if p.Check != "" {
		return p.check()
	}
	if (p.Row > 0) == (p.Content != "") {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "a proof is of one row", Hint: "name it with --row N, or by its content with --content FILE"}
	}
	signer, err := readSigner(p.Key)
	if err != nil {
		return nil, err
	}
	m, err := ReadManifest(p.Seal)
	if err != nil {
		return nil, err
	}
	x, err := openIndex(p.Seal+indexSuffix, m)
	if err != nil {
		return nil, err
	}
	defer x.close()
	result := &Proved{Seal: p.Seal, Root: m.Root, Proof: p.Out}
	made := rowProof{Seal: sealHead{m.Format, len(m.Files), m.filesRoot(), m.Contents}}
	if p.Row > 0 {
		err = p.byPlace(ctx, x, m, &made, result)
	} else {
		err = p.byContent(ctx, x, m, &made, result)
	}
	if err != nil {
		return nil, err
	}
	if made.Member = result.Member; signer != nil {
		result.Signed = signer.id
	}
	if result.text, err = signer.sign(stateOf(filepath.Base(p.Seal), m.Root, predicateRow, made)); err != nil {
		return nil, err
	}
	if p.Out != "" {
		if err := writeNew(p.Out, result.text, 0o644); err != nil {
			return nil, writeFault(p.Out, err)
		}
	}
	return result, nil
}

// byPlace proves what stands at a row.
func (p *Prove) byPlace(ctx context.Context, x *index, m *Manifest, made *rowProof, result *Proved) error {
	at, err := p.file(m)
	if err != nil {
		return err
	}
	if made.Place, err = x.prove(ctx, m, at, p.Row-1); err != nil {
		return err
	}
	result.Member, result.Count, result.Places = true, 1, []Place{{m.Files[at].Path, p.Row}}
	return nil
}

// file finds the file that --row counts in.
func (p *Prove) file(m *Manifest) (int, error) {
	var with []int
	for i := range m.Files {
		if m.Files[i].Format.rows() && (p.File == "" || m.Files[i].Path == p.File) {
			with = append(with, i)
		}
	}
	switch {
	case len(with) == 0 && p.File != "":
		return 0, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("no file %s was sealed by its rows", shown(p.File)), Hint: "name it as the seal has it"}
	case len(with) == 0:
		return 0, &pavise.Error{Kind: pavise.NotFound, Msg: "no file was sealed by its rows", Hint: "CSV, JSONL and Parquet are"}
	case len(with) > 1:
		return 0, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%d files have rows", len(with)), Hint: "name one with --file, for example " + shown(m.Files[with[0]].Path)}
	}
	if rows := m.Files[with[0]].Rows; p.Row > rows {
		return 0, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("there is no row %d: %s has %d", p.Row, shown(m.Files[with[0]].Path), rows)}
	}
	return with[0], nil
}

// byContent proves that a row is there, or that none like it is.
func (p *Prove) byContent(ctx context.Context, x *index, m *Manifest, made *rowProof, result *Proved) error {
	digest, err := readRow(p.Content)
	if err != nil {
		return err
	}
	if m.Contents == nil {
		return &pavise.Error{Kind: pavise.NotFound, Msg: "no file was sealed by its rows", Hint: "CSV, JSONL and Parquet are"}
	}
	for i := range x.table.Files {
		s := &x.table.Files[i]
		if !s.Format.rows() {
			continue
		}
		if s.Format == Parquet {
			result.Note = "rows of Parquet have another encoding than text (docs/formats/seal.md), and are not looked for"
		}
		if err := s.check(ctx, allWorkers()); err != nil {
			return err
		}
		if err := s.find(ctx, digest, result); err != nil {
			return err
		}
	}
	if made.Content, err = x.proveContent(ctx, m, digest); err != nil {
		return err
	}
	if result.Member = result.Count > 0; result.Member {
		for i := range m.Files {
			if m.Files[i].Path == result.Places[0].File {
				made.Place, err = x.prove(ctx, m, i, result.Places[0].Row-1)
			}
		}
	}
	return err
}

// find adds where rows of the digest stand.
func (s *section) find(ctx context.Context, digest hash, result *Proved) error {
	const part = 1 << 15
	for at := uint64(0); at < s.Rows; at += part {
		if err := ctx.Err(); err != nil {
			return err
		}
		digests, err := some(s.rowsAt(), at, s.Rows, part)
		if err != nil {
			return err
		}
		for i := 0; i < len(digests); i += sha256.Size {
			if !bytes.Equal(digests[i:i+sha256.Size], digest[:]) {
				continue
			}
			if result.Count++; len(result.Places) < maxNamed {
				result.Places = append(result.Places, Place{s.Path, at + uint64(i/sha256.Size) + 1})
			}
		}
	}
	return nil
}

// readRow reads a file with one row, and returns the row's digest.
func readRow(name string) (hash, error) {
	text, err := readPlain("row", name, maxRow+2)
	if err != nil {
		return hash{}, err
	}
	row := bytes.TrimSuffix(text, []byte("\n"))
	if len(row) < len(text) {
		row = bytes.TrimSuffix(row, []byte("\r"))
	}
	if bytes.IndexByte(row, '\n') >= 0 {
		length, _, why, _ := cutter{csv: true, separator: separatorOf(row)}.record(row)
		if why != "" || length < len(row) {
			return hash{}, &pavise.Error{Kind: pavise.Invalid, Msg: shown(name) + " holds more than one row", Hint: "write the one row to it, as it stands in the data"}
		}
	}
	return proof.Leaf(row), nil
}

// prove makes the proof of what stands at a row, counted from 0, of the i-th file.
func (x *index) prove(ctx context.Context, m *Manifest, i int, row uint64) (*placeProof, error) {
	s := &x.table.Files[i]
	if err := s.check(ctx, allWorkers()); err != nil {
		return nil, err
	}
	made := &placeProof{File: s.File, Index: uint64(i), Row: row + 1}
	leaves := make([]hash, len(m.Files))
	for j := range m.Files {
		leaves[j] = m.Files[j].leaf()
	}
	var err error
	if made.FilePath, err = auditPath(uint64(i), uint64(len(leaves)), func(lo, hi uint64) (hash, error) {
		var tree proof.Range
		for _, leaf := range leaves[lo:hi] {
			tree.Add(0, leaf, nil)
		}
		return tree.Root(), nil
	}); err != nil {
		return nil, err
	}
	tree := places{fileSalts(s.Digest), s.Rows, s.rowsAt()}
	group := row / groupRows
	if made.Path, err = auditPath(group, groups(s.Rows), tree.subtree); err != nil {
		return nil, err
	}
	first := group * groupRows
	digests, err := some(tree.digests, first, s.Rows, groupRows)
	if err != nil {
		return nil, err
	}
	for j := range uint64(len(digests) / sha256.Size) {
		salt := tree.salts.one(first + j)
		made.Group = append(made.Group, Digest(salted(tagPlace, salt[:], digests[j*sha256.Size:][:sha256.Size])))
		if first+j == row {
			made.Salt = Salt(salt)
		}
	}
	return made, nil
}

// proveContent makes the proof of which rows there are whose digests begin like this one.
func (x *index) proveContent(ctx context.Context, m *Manifest, digest hash) (*contentProof, error) {
	tree := contents{workers: allWorkers()}
	tree.of(x.table.Files, m.Rows())
	number := bucketOf(digest[:], tree.bits)
	made := &contentProof{Salt: Salt(tree.salts.one(number)), Path: make(trail, tree.bits), List: []Digest{}}
	tree.leaf = func(bucket uint64, leaf hash) {
		if bucket == number^1 {
			made.Path[0] = leaf
		}
	}
	tree.node = func(level int, n uint64, root hash) {
		if level < tree.bits && n == number>>level^1 {
			made.Path[level] = root
		}
	}
	root, err := tree.root(ctx)
	if err != nil {
		return nil, err
	}
	if Digest(root) != m.Contents.Root {
		return nil, damaged("its rows do not make the seal's tree of contents")
	}
	set := map[hash]bool{}
	err = tree.scan(ctx, func(digests []byte) {
		for ; len(digests) > 0; digests = digests[sha256.Size:] {
			if bucketOf(digests, tree.bits) == number {
				set[hash(digests[:sha256.Size])] = true
			}
		}
	})
	var rows []hash
	for d := range set {
		rows = append(rows, d)
	}
	var room bucket
	for _, h := range room.list(made.Salt[:], rows) {
		made.List = append(made.List, Digest(h))
	}
	return made, err
}

// Print prints it for people. A proof that goes to no file is all that is printed.
func (p *Proved) Print(w io.Writer) {
	if !p.Checked && p.Proof == "" {
		w.Write(p.text)
		return
	}
	said := "The row is in what was sealed"
	switch {
	case !p.Member:
		said = "No such row is in what was sealed"
	case len(p.Places) > 0:
		said += fmt.Sprintf(": row %d of %s", p.Places[0].Row, shown(p.Places[0].File))
		if p.Count > 1 {
			said += fmt.Sprintf(", and %d more", p.Count-1)
		}
	}
	if p.Checked {
		said = "The proof holds. " + said
	}
	fmt.Fprintf(w, "%s.\n\n", said)
	fact(w, "root", "%s", p.Root)
	if p.Proof != "" {
		fact(w, "proof", "%s", shown(p.Proof))
	}
	if p.Signed != "" {
		fact(w, "signed by", "%s", p.Signed)
	}
	if p.Note != "" {
		fact(w, "note", "%s", p.Note)
	}
	unrecorded(w)
}

// A Salt hides a row's digest, in hexadecimal.
type Salt [saltSize]byte

// MarshalText writes the digits.
func (s Salt) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, s[:]), nil }

// UnmarshalText reads the digits.
func (s *Salt) UnmarshalText(text []byte) error {
	n, err := hex.Decode(s[:], text[:min(len(text), 2*len(s))])
	if err != nil || n != len(s) || len(text) != 2*n {
		return fmt.Errorf("%.80q is no salt: %d digits of hexadecimal", text, 2*len(s))
	}
	return nil
}

// sorted reports whether a list of digests rises.
func sorted(list []Digest) bool {
	return slices.IsSortedFunc(list, func(a, b Digest) int {
		return cmp.Or(bytes.Compare(a[:], b[:]), -1) // none is there twice
	})
}
