package dataset

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/proof"
)

// A rowProof is the predicate of a statement about a row: what the seal's root is made of,
// and the ways to it.
type rowProof struct {
	Seal    sealHead      `json:"seal"`
	Member  bool          `json:"member"`            // what is claimed
	Place   *placeProof   `json:"place,omitempty"`   // that the row stands at its place
	Content *contentProof `json:"content,omitempty"` // that a row of this content is, or is not, anywhere
}

// A sealHead is what a seal's root is made of.
type sealHead struct {
	Format    string    `json:"format"`
	Files     int       `json:"files"`
	FilesRoot Digest    `json:"files_root"`
	Contents  *Contents `json:"contents,omitempty"`
}

// A placeProof leads from a row to the root of its file, and from that to the root of files.
type placeProof struct {
	File     File     `json:"file"`
	Index    uint64   `json:"index"` // of the file among the files, from 0
	FilePath trail    `json:"file_path"`
	Row      uint64   `json:"row"`   // from 1
	Salt     Salt     `json:"salt"`  // of the row
	Group    []Digest `json:"group"` // the salted digests of the rows that share its entry
	Path     trail    `json:"path"`
}

// A contentProof leads from the bucket of a content to the root of contents.
type contentProof struct {
	Salt Salt     `json:"salt"` // of the bucket
	List []Digest `json:"list"` // the salted digests of the rows in it, rising
	Path trail    `json:"path"`
}

// MarshalJSON writes hashes as digests.
func (p trail) MarshalJSON() ([]byte, error) {
	list := make([]Digest, len(p))
	for i := range p {
		list[i] = Digest(p[i])
	}
	return json.Marshal(list)
}

// UnmarshalJSON reads hashes from digests.
func (p *trail) UnmarshalJSON(text []byte) error {
	var list []Digest
	if err := json.Unmarshal(text, &list); err != nil {
		return err
	}
	*p = make(trail, len(list))
	for i := range list {
		(*p)[i] = hash(list[i])
	}
	return nil
}

// no says that a proof does not hold.
func no(why string) error {
	return &pavise.Error{Kind: pavise.Unverified, Msg: "the proof does not hold: " + why, Hint: "it was changed, is of another seal, or of another row: ask for a new one"}
}

// check checks a proof against the seal.
func (p *Prove) check() (*Proved, error) {
	m, err := ReadManifest(p.Seal)
	if err != nil {
		return nil, err
	}
	text, err := readPlain("proof", p.Check, maxStatement)
	if err != nil {
		return nil, err
	}
	var key ed25519.PublicKey
	if p.Signer != "" {
		if key, err = readVerifier(p.Signer); err != nil {
			return nil, err
		}
	}
	said, signed, err := openStatement[rowProof](text, predicateRow, key)
	if err != nil {
		return nil, err
	}
	var digest *hash
	if p.Content != "" {
		row, err := readRow(p.Content)
		if err != nil {
			return nil, err
		}
		digest = &row
	}
	if is := said.Subject[0].Digest.SHA256; is != m.Root {
		return nil, no("it is of the seal with the root " + is.String())
	}
	result := &Proved{Seal: p.Seal, Root: m.Root, Proof: p.Check, Checked: true, Signed: signed}
	return result, said.Predicate.check(m.Root, digest, result)
}

// check holds the proof to a seal's root and a row's digest; nil: what the row is nobody
// says.
func (r *rowProof) check(root Digest, digest *hash, result *Proved) error {
	head := summit{uint64(r.Seal.Files), hash(r.Seal.FilesRoot), r.Seal.Contents}
	if r.Seal.Format != formatSeal || r.Seal.Files < 1 || head.root() != root {
		return no("it does not lead to the root of the seal")
	}
	if c := r.Seal.Contents; c != nil && (c.Bits < 1 || c.Bits > maxBits) {
		return no("its tree of contents is none")
	}
	if r.Place == nil && r.Content == nil || !r.Member && r.Place != nil {
		return no("it does not say what it claims")
	}
	if r.Content != nil {
		if digest == nil {
			return &pavise.Error{Kind: pavise.Invalid, Msg: "the proof is of a content, and can be checked with it alone", Hint: "name the file of the row with --content", Err: errNoContent}
		}
		member, err := r.Content.check(r.Seal.Contents, *digest)
		if err != nil {
			return err
		}
		if member != r.Member {
			return no(fmt.Sprintf("it claims that the row is a member: %v, and shows that it is: %v", r.Member, member))
		}
	}
	if result.Member = r.Member; r.Place == nil {
		return nil
	}
	result.Count, result.Places = 1, []Place{{r.Place.File.Path, r.Place.Row}}
	if digest == nil {
		result.Note = "what the row says was not looked at: with --content FILE it is"
	}
	return r.Place.check(head, digest)
}

// check leads from the row to the root of files.
func (p *placeProof) check(head summit, digest *hash) error {
	f := &p.File
	if codes[f.Format] == 0 || !f.Format.rows() || f.Size < 0 || f.Rows > maxRows || !validPath(f.Path) {
		return no("its file is none")
	}
	if is, ok := p.FilePath.climb(p.Index, head.files, f.leaf()); !ok || is != head.filesRoot {
		return no("its file is not in the seal")
	}
	if p.Row < 1 || p.Row > f.Rows {
		return no(fmt.Sprintf("its file has no row %d", p.Row))
	}
	row := p.Row - 1
	group := row / groupRows
	if uint64(len(p.Group)) != min(groupRows, f.Rows-group*groupRows) {
		return no("its group is not whole")
	}
	if digest != nil && hash(p.Group[row%groupRows]) != salted(tagPlace, p.Salt[:], digest[:]) {
		return no(fmt.Sprintf("what stands at row %d of %s is another row", p.Row, shown(f.Path)))
	}
	entry := []byte{tagLeaf}
	for i := range p.Group {
		entry = append(entry, p.Group[i][:]...)
	}
	if is, ok := p.Path.climb(group, groups(f.Rows), proof.LeafOf(entry)); !ok || Digest(is) != f.Root {
		return no("its row is not in the file")
	}
	return nil
}

// check leads from the bucket to the root of contents, and says whether the row is in it.
func (c *contentProof) check(head *Contents, digest hash) (member bool, err error) {
	if head == nil {
		return false, no("the seal has no tree of contents")
	}
	if !sorted(c.List) {
		return false, no("its list does not rise")
	}
	list := make([]hash, len(c.List))
	for i := range list {
		list[i] = hash(c.List[i])
	}
	var room []byte
	leaf := bucketLeaf(&room, c.Salt[:], list)
	if is, ok := c.Path.climb(bucketOf(digest[:], head.Bits), 1<<head.Bits, leaf); !ok || Digest(is) != head.Root {
		return false, no("it is of another content, or of another seal")
	}
	return slices.Contains(list, salted(tagContent, c.Salt[:], digest[:])), nil
}
