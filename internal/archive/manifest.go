package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/store/blob"
)

// A Manifest says what an archived segment is. It lies beside the segment.
type Manifest struct {
	Origin string            `json:"origin"` // of the log
	Keys   []string          `json:"keys"`   // its verifier keys
	First  uint64            `json:"first"`  // index of the segment's first record
	Count  uint64            `json:"count"`
	Bytes  int64             `json:"bytes"`
	SHA256 string            `json:"sha256"` // hex, of its bytes
	From   time.Time         `json:"from"`   // the earliest and the latest time of its records
	To     time.Time         `json:"to"`
	Kinds  map[string]Extent `json:"kinds"`          // of record
	Until  time.Time         `json:"until,omitzero"` // the archive keeps it until then at least, if it can
}

// An Extent is what a segment holds of one kind.
type Extent struct {
	Records uint64    `json:"records"`
	To      time.Time `json:"to"` // the latest time
}

// maxManifest bounds a manifest, in bytes.
const maxManifest = 1 << 20

// The names of objects. The slashes of an origin become colons.
func folder(origin string) string { return strings.ReplaceAll(origin, "/", ":") + "/" }

func (m Manifest) segment() string {
	return folder(m.Origin) + disk.SegmentName(m.First)
}

func (m Manifest) object() string { return m.segment() + ".json" }

// checkpoint is the name of the checkpoint at the segment's end.
func (m Manifest) checkpoint() string {
	return fmt.Sprintf("%scheckpoint-%015d", folder(m.Origin), m.First+m.Count)
}

// same reports whether two manifests describe the same bytes of the same log.
func (m Manifest) same(other Manifest) bool {
	return m.Origin == other.Origin && m.First == other.First && m.Count == other.Count && m.Bytes == other.Bytes && m.SHA256 == other.SHA256
}

// describe reads a segment and says what it is, and the root of the log's tree at its
// end. The error is of kind Unverified when the bytes are not those that were appended:
// nobody archives what is damaged, and lets the rest go.
func describe(log *ledger.Log, seg ledger.Sealed) (m Manifest, root [32]byte, err error) {
	r, err := log.OpenSegment(seg.Segment)
	if err != nil {
		return m, root, err
	}
	defer r.Close()
	m = Manifest{Origin: log.Origin(), First: seg.First, Bytes: seg.Size, Kinds: map[string]Extent{}}
	for _, key := range log.Keys() {
		m.Keys = append(m.Keys, key.String())
	}
	tree, err := treeBefore(log, seg.First)
	if err != nil {
		return m, root, err
	}
	sum := sha256.New()
	frames := disk.NewFrames(io.TeeReader(r, sum))
	for {
		entry, err := frames.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return m, root, disk.Fault("read "+seg.Name(), err)
		}
		tree.Add(0, proof.Leaf(entry), nil)
		g, err := record.Glance(entry)
		if err != nil {
			return m, root, fmt.Errorf("record %d: %w", m.First+m.Count, err)
		}
		m.take(g)
	}
	m.SHA256 = hex.EncodeToString(sum.Sum(nil))
	if m.Count != seg.Count || frames.Offset != seg.Size || checkTree(log, tree) != nil {
		return m, root, &pavise.Error{
			Kind: pavise.Unverified, Msg: fmt.Sprintf("%s does not hold the records that were appended", seg.Name()),
			Hint: "run pavise ledger verify, and compare with a backup",
		}
	}
	return m, tree.Root(), nil
}

// treeBefore returns the tree of the log's first records, as its tiles have it.
func treeBefore(log *ledger.Log, size uint64) (*proof.Range, error) {
	tree := &proof.Range{}
	for k := 63; k >= 0; k-- {
		if size>>k&1 == 0 {
			continue
		}
		root, err := node(log, k, size>>k-1)
		if err != nil {
			return nil, err
		}
		tree.Add(k, root, nil)
	}
	return tree, nil
}

// node returns the root of the n-th complete subtree of 2^k records.
func node(log *ledger.Log, k int, n uint64) (root [32]byte, err error) {
	width := 1 << (k % proof.TileHeight)
	at := n * uint64(width)
	within := int(at % proof.TileWidth)
	tile, err := log.Tile(proof.Tile{Level: k / proof.TileHeight, N: at / proof.TileWidth, Width: within + width})
	if err != nil {
		return root, err
	}
	hashes := make([][32]byte, width)
	for i := range hashes {
		copy(hashes[i][:], tile[(within+i)*len(root):])
	}
	for ; width > 1; width /= 2 {
		for i := range width / 2 {
			hashes[i] = proof.Node(hashes[2*i], hashes[2*i+1])
		}
	}
	return hashes[0], nil
}

// checkTree holds a tree of the log's first records against the log's signed head,
// which is in memory: what lies on the disk is not its own witness.
func checkTree(log *ledger.Log, tree *proof.Range) error {
	head := log.Head()
	path, err := log.Consistency(tree.Size(), head.Size)
	if err != nil {
		return err
	}
	return proof.Consistent(proof.Checkpoint{Origin: head.Origin, Size: tree.Size(), Root: tree.Root()}, head, path)
}

// take notes one record.
func (m *Manifest) take(g record.Glimpse) {
	if m.Count == 0 || g.At.Before(m.From) {
		m.From = g.At
	}
	if g.At.After(m.To) {
		m.To = g.At
	}
	m.Count++
	extent := m.Kinds[g.Kind]
	extent.Records++
	if g.At.After(extent.To) {
		extent.To = g.At
	}
	m.Kinds[g.Kind] = extent
}

// keepUntil returns until when the archive is to keep the segment; zero if no class
// says so.
func (m Manifest) keepUntil(cs classes) (until time.Time) {
	for kind, extent := range m.Kinds {
		c := cs.of(kind)
		if end := extent.To.Add(c.Keep); c.Keep > 0 && end.After(until) {
			until = end
		}
	}
	return until
}

// wanted returns until when the segment's records are wanted on this machine; ok
// is false if that is for ever.
func (m Manifest) wanted(cs classes) (until time.Time, ok bool) {
	for kind, extent := range m.Kinds {
		c := cs.of(kind)
		if c.Online == 0 {
			return time.Time{}, false
		}
		if end := extent.To.Add(c.Online); end.After(until) {
			until = end
		}
	}
	return until, len(m.Kinds) > 0
}

// readManifest reads the manifest of an object's name from a bucket.
func readManifest(ctx context.Context, b blob.Bucket, name string) (m Manifest, err error) {
	text, err := read(ctx, b, name, maxManifest)
	if err != nil {
		return m, err
	}
	if m, err = parseManifest(text); err == nil && m.object() != name {
		err = fmt.Errorf("it describes %s", m.segment())
	}
	if err != nil {
		return m, &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("%s in the archive is no manifest of a segment: %v", name, err), Hint: "somebody wrote there: restore it from a copy, or archive anew elsewhere"}
	}
	return m, nil
}

// parseManifest reads a manifest as it is written, and no other spelling of it.
func parseManifest(text []byte) (m Manifest, err error) {
	if err := json.Unmarshal(text, &m); err != nil {
		return m, err
	}
	again, err := json.Marshal(m)
	switch {
	case err != nil:
		return m, err
	case !bytes.Equal(again, text):
		return m, errors.New("it is not spelled as one, or a newer pavise wrote it")
	case m.Origin == "" || len(m.Keys) == 0 || m.Count == 0 || m.First+m.Count < m.First || m.Bytes <= 0:
		return m, errors.New("it describes nothing")
	}
	return m, nil
}

// read returns an object whole.
func read(ctx context.Context, b blob.Bucket, name string, limit int64) ([]byte, error) {
	r, err := b.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	text, err := io.ReadAll(io.LimitReader(r, limit+1))
	switch {
	case err != nil:
		return nil, unread(name, err)
	case int64(len(text)) > limit:
		return nil, &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("%s in the archive is longer than %d bytes", name, limit), Hint: "somebody wrote there: restore it from a copy, or archive anew elsewhere"}
	}
	return text, nil
}

// unread is the error of an object that could not be read to its end.
func unread(name string, err error) error {
	return &pavise.Error{Kind: pavise.Unavailable, Msg: "read " + name + " from the archive: " + err.Error(), Hint: "try again", Err: err}
}
