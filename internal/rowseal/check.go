package rowseal

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/proof"
)

// A RowProof is the predicate of a statement about a row: what the seal's root is made of,
// and the ways to it.
type RowProof struct {
	Seal    Head          `json:"seal"`
	Member  bool          `json:"member"`            // what is claimed
	Place   *PlaceProof   `json:"place,omitempty"`   // that the row stands at its place
	Content *ContentProof `json:"content,omitempty"` // that a row of this content is, or is not, anywhere
}

// A Head is what a seal's root is made of.
type Head struct {
	Format    string    `json:"format"`
	Files     int       `json:"files"`
	FilesRoot Digest    `json:"files_root"`
	Contents  *Contents `json:"contents,omitempty"`
}

// A PlaceProof leads from a row to the root of its file, and from that to the root of files.
type PlaceProof struct {
	File     File     `json:"file"`
	Index    uint64   `json:"index"` // of the file among the files, from 0
	FilePath trail    `json:"file_path"`
	Row      uint64   `json:"row"`   // from 1
	Salt     Mark     `json:"salt"`  // of the row
	Group    []Digest `json:"group"` // the salted digests of the rows that share its entry
	Path     trail    `json:"path"`
}

// A ContentProof leads from the bucket of a content to the root of contents.
type ContentProof struct {
	Salt Mark   `json:"salt"` // of the bucket
	List []Mark `json:"list"` // of the rows in it, rising
	Path trail  `json:"path"`
}

// MarshalJSON writes Hashes as digests.
func (p trail) MarshalJSON() ([]byte, error) {
	list := make([]Digest, len(p))
	for i := range p {
		list[i] = Digest(p[i])
	}
	return json.Marshal(list)
}

// UnmarshalJSON reads Hashes from digests.
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

// No says that a proof does not hold.
func No(why string) error {
	return &pavise.Error{Kind: pavise.Unverified, Msg: "the proof does not hold: " + why, Hint: "it was changed, is of another seal, or of another row: ask for a new one"}
}

// Check holds the proof to a seal's root and a row's digest; nil: what the row is nobody
// says.
func (r *RowProof) Check(root Digest, digest *Hash) error {
	head := summit{uint64(r.Seal.Files), hash(r.Seal.FilesRoot), r.Seal.Contents}
	if r.Seal.Format != FormatSeal || r.Seal.Files < 1 || head.root() != root {
		return No("it does not lead to the root of the seal")
	}
	if c := r.Seal.Contents; c != nil && (c.Bits < 1 || c.Bits > maxBits) {
		return No("its tree of contents is none")
	}
	if r.Place == nil && r.Content == nil || !r.Member && r.Place != nil {
		return No("it does not say what it claims")
	}
	if r.Member && r.Place == nil {
		// A mark is 128 bits of which a part is the bucket: who chose both rows could have made
		// one that stands for two. The place has the whole digest.
		return No("it does not show where the row stands")
	}
	if r.Content != nil {
		if digest == nil {
			return &pavise.Error{Kind: pavise.Invalid, Msg: "the proof is of a content, and can be checked with it alone", Hint: "name the file of the row with --content", Err: ErrNoContent}
		}
		member, err := r.Content.check(r.Seal.Contents, *digest)
		if err != nil {
			return err
		}
		if member != r.Member {
			return No(fmt.Sprintf("it claims that the row is a member: %v, and shows that it is: %v", r.Member, member))
		}
	}
	if r.Place == nil {
		return nil
	}
	return r.Place.check(head, digest)
}

// check leads from the row to the root of files.
func (p *PlaceProof) check(head summit, digest *hash) error {
	f := &p.File
	if codes[f.Format] == 0 || !f.Format.HasRows() || f.Size < 0 || f.Rows > maxRows || !ValidPath(f.Path) {
		return No("its file is none")
	}
	if is, ok := p.FilePath.climb(p.Index, head.files, f.Leaf()); !ok || is != head.filesRoot {
		return No("its file is not in the seal")
	}
	if p.Row < 1 || p.Row > f.Rows {
		return No(fmt.Sprintf("its file has no row %d", p.Row))
	}
	row := p.Row - 1
	group := row / groupRows
	if uint64(len(p.Group)) != min(groupRows, f.Rows-group*groupRows) {
		return No("its group is not whole")
	}
	if digest != nil && hash(p.Group[row%groupRows]) != salted(p.Salt[:], digest[:]) {
		return No(fmt.Sprintf("what stands at row %d is another row", p.Row))
	}
	entry := []byte{tagLeaf}
	for i := range p.Group {
		entry = append(entry, p.Group[i][:]...)
	}
	if is, ok := p.Path.climb(group, groups(f.Rows), proof.LeafOf(entry)); !ok || Digest(is) != f.Root {
		return No("its row is not in the file")
	}
	return nil
}

// check leads from the bucket to the root of contents, and says whether the row is in it.
func (c *ContentProof) check(head *Contents, digest hash) (member bool, err error) {
	if head == nil {
		return false, No("the seal has no tree of contents")
	}
	if !sorted(c.List) {
		return false, No("its list does not rise")
	}
	leaf := sha256.Sum256(appendBucket(nil, c.Salt[:], c.List))
	if is, ok := c.Path.climb(bucketOf(digest[:], head.Bits), 1<<head.Bits, leaf); !ok || Digest(is) != head.Root {
		return false, No("it is of another content, or of another seal")
	}
	mark := []Mark{tailOf(digest[:]).under(&c.Salt)}
	marks(mark)
	return slices.Contains(c.List, mark[0]), nil
}
