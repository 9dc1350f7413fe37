package dataset

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/plainfile"
	"github.com/pavise/pavise/internal/progress"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/rowseal"
	"github.com/pavise/pavise/internal/table"
)

// Prove proves that a row was sealed, or that none like it was; or checks such a proof. Its
// fields are flags of the command line.
type Prove struct {
	Say func(text string) `kong:"-"` // gets a line of progress now and then; nil: nobody watches

	Seal    string `arg:"" optional:"" help:"The seal. To prove takes the index beside it; to check does not."`
	Row     uint64 `help:"The row that stands there: counted from 1, a header with it. With --check: the row that the proof must be of." placeholder:"N"`
	Content string `help:"The row that this file holds: one record, as it stands in the data, or Parquet with one row and the columns of the data." placeholder:"FILE"`
	File    string `help:"The file of the dataset that --row counts in; only needed where several have rows." placeholder:"PATH"`
	Key     string `help:"Sign the proof with this Ed25519 key (PEM)." placeholder:"FILE"`
	Out     string `short:"o" help:"Where the proof goes; nothing may be there." placeholder:"FILE"`
	Check   string `help:"Check this proof instead; --content has the row that it is of." placeholder:"FILE"`
	Root    string `help:"With --check, instead of the seal: its root, 64 hex digits." placeholder:"ROOT"`
	Signer  string `help:"With --check: the public Ed25519 key (PEM) of who must have signed the proof." placeholder:"FILE"`
}

// Help is the text behind the command's flags.
func (*Prove) Help() string {
	return `Proves that a row was in what was sealed, by its number or by its content, or that no
such row was. The proof is an in-toto statement, in a DSSE envelope with --key. It has no
other row; one by content lets guesses of a few others be tested, up to some sixteen.
Whoever has the seal checks it, without the index and the data:

  pavise dataset prove training.seal --content row.txt -o proof.json
  pavise dataset prove training.seal --check proof.json --content row.txt

With --of a server proves it of a dataset that it watches. It is told the digest of the row and
not the row, and its proof is checked before it is written:

  pavise dataset prove --of flows --content row.txt -o proof.json
  pavise dataset prove --root ROOT --check proof.json --content row.txt

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
	Seal     string         `json:"seal"`
	Root     rowseal.Digest `json:"root"`
	Member   bool           `json:"member"`           // the row is in what was sealed
	Places   []Place        `json:"places,omitempty"` // where it stands; at most 1,000
	Count    uint64         `json:"count"`            // how often; when checked, what is proved
	Proof    string         `json:"proof,omitempty"`  // the file of the proof
	Checked  bool           `json:"checked"`          // a proof was checked, and not made
	Holds    bool           `json:"holds"`            // and it holds
	Signed   string         `json:"signed_by,omitempty"`
	Note     string         `json:"note,omitempty"`
	Recorded bool           `json:"recorded"` // a server proved it; of itself the command leaves no record

	Statement json.RawMessage `json:"statement,omitempty"` // the proof, where it goes to no file
}

// Run proves, or checks. Errors are of kind Invalid, NotFound, Denied, Conflict, Unavailable,
// and Unverified for a seal, an index or a proof that does not hold; what was checked comes
// with that.
//
// Unguarded: whoever runs it reads their own files, as themselves; no principal of an
// installation acts.
func (p *Prove) Run(ctx context.Context) (*Proved, error) {
	if err := p.fits(); err != nil {
		return nil, err
	}
	if p.Check != "" {
		result, err := p.check()
		if pavise.KindOf(err) == pavise.Unverified {
			result = &Proved{Seal: p.Seal, Proof: p.Check, Checked: true, Note: message(err)}
		}
		return result, err
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
	x, err := rowseal.OpenIndex(p.Seal+rowseal.IndexSuffix, m)
	if err != nil {
		return nil, err
	}
	defer x.Close()
	result := &Proved{Seal: p.Seal, Root: m.Root}
	made := headOf(m)
	if p.Row > 0 {
		err = p.byPlace(ctx, x, m, &made, result)
	} else {
		var row Row
		if row, err = ReadRow(p.Content); err == nil {
			err = byContent(ctx, x, m, row, &made, result)
		}
	}
	if err == nil {
		err = result.state(signer, filepath.Base(p.Seal), made)
	}
	if err != nil {
		return nil, err
	}
	return result, result.Keep(p.Out)
}

// headOf begins a proof under a seal.
func headOf(m *rowseal.Manifest) rowseal.RowProof {
	return rowseal.RowProof{Seal: rowseal.Head{Format: m.Format, Files: len(m.Files), FilesRoot: m.FilesRoot(), Contents: m.Contents}}
}

// state makes a proof the statement of what was proved.
func (p *Proved) state(signer *signer, name string, made rowseal.RowProof) (err error) {
	if made.Member = p.Member; signer != nil {
		p.Signed = signer.id
	}
	p.Statement, err = signer.sign(stateOf(name, p.Root, predicateRow, made))
	return err
}

// Keep writes the proof to a file, where none may be; without a name it stays where it is.
func (p *Proved) Keep(name string) error {
	if p.Proof = name; name == "" {
		return nil
	}
	if err := writeNew(name, p.Statement, 0o644); err != nil {
		return writeFault(name, err)
	}
	p.Statement = nil
	return nil
}

// ProveRow proves that a row is in what was sealed, or that none like it is, to whom has its digest
// alone. seal has its index beside it. Errors are as those of [Prove.Run].
//
// Unguarded: a room of the house asks it, whose own caller was let in.
func ProveRow(ctx context.Context, seal string, row Row) (*Proved, error) {
	m, err := ReadManifest(seal)
	if err != nil {
		return nil, err
	}
	x, err := rowseal.OpenIndex(seal+rowseal.IndexSuffix, m)
	if err != nil {
		return nil, err
	}
	defer x.Close()
	result := &Proved{Seal: seal, Root: m.Root}
	made := headOf(m)
	if err = byContent(ctx, x, m, row, &made, result); err == nil {
		err = result.state(nil, filepath.Base(seal), made)
	}
	return result, err
}

// byPlace proves what stands at a row.
func (p *Prove) byPlace(ctx context.Context, x *rowseal.Index, m *rowseal.Manifest, made *rowseal.RowProof, result *Proved) error {
	at, err := p.file(m)
	if err != nil {
		return err
	}
	if made.Place, err = x.ProvePlace(ctx, m, at, p.Row-1, allWorkers()); err != nil {
		return err
	}
	result.Member, result.Count, result.Places = true, 1, []Place{{m.Files[at].Path, p.Row}}
	return nil
}

// file finds the file that --row counts in.
func (p *Prove) file(m *rowseal.Manifest) (int, error) {
	var with []int
	for i := range m.Files {
		if m.Files[i].Format.HasRows() && (p.File == "" || m.Files[i].Path == p.File) {
			with = append(with, i)
		}
	}
	switch {
	case len(with) == 0 && p.File != "":
		return 0, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("no file %s was sealed by its rows", rowseal.Shown(p.File)), Hint: "name it as the seal has it"}
	case len(with) == 0:
		return 0, &pavise.Error{Kind: pavise.NotFound, Msg: "no file was sealed by its rows", Hint: "CSV, JSONL and Parquet are"}
	case len(with) > 1:
		return 0, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%d files have rows", len(with)), Hint: "name one with --file, for example " + rowseal.Shown(m.Files[with[0]].Path)}
	}
	if rows := m.Files[with[0]].Rows; p.Row > rows {
		of := "what was sealed"
		if path := m.Files[with[0]].Path; path != "." {
			of = rowseal.Shown(path)
		}
		return 0, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("there is no row %d: %s has %d rows", p.Row, of, rows), Hint: "rows are counted from 1, a header with them"}
	}
	return with[0], nil
}

// byContent proves that a row is there, or that none like it is.
func byContent(ctx context.Context, x *rowseal.Index, m *rowseal.Manifest, of Row, made *rowseal.RowProof, result *Proved) (err error) {
	digest, parquet := of.Digest, of.Parquet
	if m.Contents == nil {
		return &pavise.Error{Kind: pavise.NotFound, Msg: "no file was sealed by its rows", Hint: "CSV, JSONL and Parquet are"}
	}
	for i := range x.Sections() {
		s := x.Section(i)
		if !s.Format.HasRows() {
			continue
		}
		switch {
		case s.Format == rowseal.Parquet && !parquet:
			result.Note = "rows of Parquet have another encoding than text (docs/formats/seal.md): to look for one, --content takes Parquet with that row alone"
		case s.Format != rowseal.Parquet && parquet:
			result.Note = "rows of text have another encoding than Parquet (docs/formats/seal.md): to look for one, --content takes its text"
		}
		if err := s.Check(ctx, allWorkers()); err != nil {
			return err
		}
		err := s.Find(ctx, digest, func(row uint64) {
			if result.Count++; len(result.Places) < maxNamed {
				result.Places = append(result.Places, Place{s.Path, row})
			}
		})
		if err != nil {
			return err
		}
	}
	if made.Content, err = x.ProveContent(ctx, m, digest, allWorkers(), openRoom); err != nil {
		return err
	}
	if result.Member = result.Count > 0; result.Member {
		for i := range m.Files {
			if m.Files[i].Path == result.Places[0].File {
				made.Place, err = x.ProvePlace(ctx, m, i, result.Places[0].Row-1, allWorkers())
			}
		}
	}
	return err
}

// RowDigest reads a file with one row, as it stands in the data, and returns the digest by
// which seals know it. The error is of kind Invalid for a file that holds no row, or several.
func RowDigest(name string) (rowseal.Hash, error) {
	row, err := ReadRow(name)
	return row.Digest, err
}

// A Row is what a seal knows of one.
type Row struct {
	Digest  rowseal.Hash
	Parquet bool // it was read from Parquet, whose rows have another encoding than text
}

// ReadRow reads a file with one row, as it stands in the data. The error is of kind Invalid for a
// file that holds no row, or several.
func ReadRow(name string) (row Row, err error) {
	text, err := plainfile.Read("row", name, rowseal.MaxRow+maxAround)
	if err != nil {
		return row, err
	}
	if row.Parquet = bytes.HasPrefix(text, []byte(parquetMagic)) && bytes.HasSuffix(text, []byte(parquetMagic)); row.Parquet {
		row.Digest, err = parquetRow(name, text)
	} else {
		row.Digest, err = textRow(name, text)
	}
	return row, err
}

const (
	maxAround    = 64 << 10 // bytes of a file around its one row
	parquetMagic = "PAR1"   // what Parquet begins and ends with
)

// parquetRow returns the digest of the one row of a Parquet file. What the row is depends on the
// schema, which has to be that of the data.
func parquetRow(name string, text []byte) (digest rowseal.Hash, err error) {
	n := 0
	err = table.ParquetRows(bytes.NewReader(text), int64(len(text)), rowseal.Shown(name), func(row []byte) error {
		digest = proof.Leaf(row)
		n++
		return nil
	})
	if err == nil && n != 1 {
		err = &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s holds %d rows", rowseal.Shown(name), n), Hint: "write the one row to it, with the columns of the data: in pandas, data.iloc[[41]].to_parquet(...)"}
	}
	return digest, err
}

// textRow returns the digest of one row of CSV or JSONL.
func textRow(name string, text []byte) (rowseal.Hash, error) {
	if len(text) > rowseal.MaxRow+2 {
		return rowseal.Hash{}, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s is longer than %s", rowseal.Shown(name), progress.Size(rowseal.MaxRow)), Hint: "it is no row"}
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff")) // it belongs to no row
	if len(text) == 0 {
		return rowseal.Hash{}, &pavise.Error{Kind: pavise.Invalid, Msg: rowseal.Shown(name) + " is empty", Hint: "write the one row to it; an empty row is a line end alone"}
	}
	row := bytes.TrimSuffix(text, []byte("\n"))
	if len(row) < len(text) {
		row = bytes.TrimSuffix(row, []byte("\r"))
	}
	if bytes.IndexByte(row, '\n') >= 0 {
		if !rowseal.OneRecord(row) {
			return rowseal.Hash{}, &pavise.Error{Kind: pavise.Invalid, Msg: rowseal.Shown(name) + " holds more than one row", Hint: "write the one row to it, as it stands in the data"}
		}
	}
	return proof.Leaf(row), nil
}

// Print prints it for people. A proof that goes to no file is all that is printed.
func (p *Proved) Print(w io.Writer) {
	if !p.Checked && p.Proof == "" {
		w.Write(p.Statement)
		return
	}
	said := "The row is in what was sealed"
	switch {
	case !p.Member:
		said = "No such row is in what was sealed"
	case len(p.Places) > 0:
		said += fmt.Sprintf(": row %d", p.Places[0].Row)
		if p.Places[0].File != "." {
			said += " of " + rowseal.Shown(p.Places[0].File)
		}
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
		fact(w, "proof", "%s", rowseal.Shown(p.Proof))
	}
	if p.Signed != "" {
		fact(w, "signed by", "%s", p.Signed)
	}
	if p.Note != "" {
		fact(w, "note", "%s", rowseal.Shown(p.Note)) // it may be a server's
	}
	if !p.Recorded {
		unrecorded(w)
	}
}

// asked refuses a proof of another place than the one that was asked for.
func (p *Prove) asked(claim *rowseal.RowProof) error {
	if p.Row == 0 && p.File == "" {
		return nil
	}
	at := claim.Place
	switch {
	case at == nil:
		return rowseal.No("it is of no place")
	case p.Row > 0 && at.Row != p.Row:
		return rowseal.No(fmt.Sprintf("it is of row %d", at.Row))
	case p.File != "" && at.File.Path != p.File:
		return rowseal.No("it is of a row of " + rowseal.Shown(at.File.Path))
	}
	return nil
}

// fits refuses flags that would do nothing: whoever gives them expects that they do.
func (p *Prove) fits() error {
	no := func(what, hint string) error { return &pavise.Error{Kind: pavise.Invalid, Msg: what, Hint: hint} }
	switch {
	case p.Root != "" && (p.Check == "" || p.Seal != ""):
		return no("--root is for a proof that is checked without the seal", "give --check FILE, and no seal")
	case p.Check != "" && (p.Key != "" || p.Out != ""):
		return no("--key and --out are for a proof that is made, and one is checked", "leave them out; --signer says who must have signed it")
	case p.Check == "" && p.Signer != "":
		return no("--signer is for a proof that is checked, and one is made", "give --check FILE, or sign with --key")
	case p.Check == "" && p.Content != "" && p.File != "":
		return no("--file is for --row, and a row by its content is looked for in all files", "leave it out")
	case p.Seal == "" && p.Root == "":
		return no("no seal is named for the proof", "name the file of the seal, or a dataset of the server: --of NAME; to check a proof, the root does: --root ROOT")
	}
	return nil
}

// check checks a proof against the seal.
func (p *Prove) check() (*Proved, error) {
	root, err := p.root()
	if err != nil {
		return nil, err
	}
	text, err := plainfile.Read("proof", p.Check, maxStatement)
	if err != nil {
		return nil, err
	}
	var key ed25519.PublicKey
	if p.Signer != "" {
		if key, err = readVerifier(p.Signer); err != nil {
			return nil, err
		}
	}
	var digest *rowseal.Hash
	if p.Content != "" {
		row, err := RowDigest(p.Content)
		if err != nil {
			return nil, err
		}
		digest = &row
	}
	claim, signed, err := openProof(text, key, root, digest)
	if err == nil {
		err = p.asked(claim)
	}
	if err != nil {
		return nil, err
	}
	result := &Proved{Seal: p.Seal, Root: root, Proof: p.Check, Checked: true, Holds: true, Signed: signed}
	if result.Member = claim.Member; claim.Place != nil {
		result.Count, result.Places = 1, []Place{{claim.Place.File.Path, claim.Place.Row}}
	}
	if digest == nil {
		result.Note = "what the row says was not looked at: with --content FILE it is"
	}
	return result, nil
}

// root is that of the seal that a proof has to be of.
func (p *Prove) root() (root rowseal.Digest, err error) {
	if p.Root == "" {
		m, err := ReadManifest(p.Seal)
		if err != nil {
			return root, err
		}
		return m.Root, nil
	}
	if err := root.UnmarshalText([]byte(p.Root)); err != nil {
		return root, &pavise.Error{Kind: pavise.Invalid, Msg: "--root " + err.Error(), Hint: "pavise dataset show NAME has the roots of its versions", Err: err}
	}
	return root, nil
}

// openProof reads a proof, and holds it to a root, and to the digest of a row; nil: what the row is
// nobody says.
func openProof(text []byte, key ed25519.PublicKey, root rowseal.Digest, digest *rowseal.Hash) (*rowseal.RowProof, string, error) {
	said, signed, err := openStatement[rowseal.RowProof](text, predicateRow, key)
	if err != nil {
		return nil, "", err
	}
	if is := said.Subject[0].Digest.SHA256; is != root {
		return nil, "", rowseal.No("it is of the seal with the root " + is.String())
	}
	return &said.Predicate, signed, said.Predicate.Check(root, digest)
}

// HoldTo checks what somebody else proved of a row: that the statement shows just that, under its
// root, and the first place where it is said to stand. Of further places, and of how many there
// are, it shows nothing. The error is of kind Unverified.
func (p *Proved) HoldTo(row Row) error {
	claim, _, err := openProof(p.Statement, nil, p.Root, &row.Digest)
	if err != nil {
		return err
	}
	at := claim.Place
	if claim.Member != p.Member || at == nil != (len(p.Places) == 0) || at != nil && p.Places[0] != (Place{at.File.Path, at.Row}) {
		return rowseal.No("it shows something else than was answered")
	}
	return nil
}
