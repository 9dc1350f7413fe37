package figure

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
)

// A hash is a node of the log's Merkle tree.
type hash = [sha256.Size]byte

// A rung is one step of the climb from a leaf to the root.
type rung struct {
	sibling hash
	left    bool // the sibling is the left child
	parent  hash
}

// climb recomputes the nodes from a leaf to the root along its audit path (RFC
// 9162 section 2.1.3.2). It reports false when the path cannot be one for that
// index and size.
func climb(index, size uint64, leaf hash, path []hash) ([]rung, bool) {
	if index >= size {
		return nil, false
	}
	node, last := index, size-1
	var rungs []rung
	for _, sibling := range path {
		if last == 0 {
			return rungs, false
		}
		r := rung{sibling: sibling, left: node&1 == 1 || node == last}
		if r.left {
			r.parent = interior(sibling, leaf)
			for node&1 == 0 && node != 0 {
				node, last = node>>1, last>>1
			}
		} else {
			r.parent = interior(leaf, sibling)
		}
		leaf, node, last = r.parent, node>>1, last>>1
		rungs = append(rungs, r)
	}
	return rungs, last == 0
}

// interior is the hash of two children (RFC 6962 section 2.1).
func interior(left, right hash) hash {
	return sha256.Sum256(append(append([]byte{1}, left[:]...), right[:]...))
}

// The measures of a picture, in its own units.
const (
	pictureWidth = 320
	pictureMid   = pictureWidth / 2
	pictureStep  = 38
	pictureEdge  = 32
	tipGap       = 13
	siblingReach = 58
	labelGap     = 11
	boxHalf      = 4
)

// A Tree is an audit path as it is drawn: root above, leaf below.
type Tree struct {
	Width, Height int
	Mid           int // where the nodes of the path stand
	Top, Bottom   int // of the root and the leaf
	RootY, LeafY  int // of their labels
	Levels        []Level
	Leaf, Root    string // hex
	Holds         bool   // the path leads from the leaf to the root
}

// A Level is one node of the path, the sibling beside it and their parent
// above.
type Level struct {
	Y, ParentY    int
	SiblingX      int
	BoxX, BoxY    int // the sibling's square: its upper left corner
	LabelX, TextY int
	Anchor        string // of the label: "start" or "end"
	Sibling, Full string // hex, the first digits and all
}

// NewTree draws the proof that a leaf is in a tree of a size, after checking it: leaf,
// root and the siblings on the way up are base64 of SHA-256. It checks no signature:
// whoever would believe a page about that needs no proof.
func NewTree(index, size uint64, leafText, rootText string, siblings []string) *Tree {
	pic := &Tree{Width: pictureWidth, Mid: pictureMid, Top: pictureEdge}
	leaf, leafOK := parseHash(leafText)
	root, rootOK := parseHash(rootText)
	path, pathOK := make([]hash, len(siblings)), true
	for i, text := range siblings {
		var ok bool
		path[i], ok = parseHash(text)
		pathOK = pathOK && ok
	}
	rungs, climbed := climb(index, size, leaf, path)
	top := leaf
	if len(rungs) > 0 {
		top = rungs[len(rungs)-1].parent
	}
	pic.Holds = leafOK && rootOK && pathOK && climbed && top == root
	pic.Leaf, pic.Root = hex.EncodeToString(leaf[:]), hex.EncodeToString(root[:])
	pic.Bottom = pictureEdge + pictureStep*len(rungs)
	pic.Height = pic.Bottom + pictureEdge
	pic.RootY, pic.LeafY = pic.Top-tipGap, pic.Bottom+2*tipGap-boxHalf
	for i, r := range rungs {
		y := pic.Bottom - i*pictureStep
		full := hex.EncodeToString(r.sibling[:])
		l := Level{
			Y: y, ParentY: y - pictureStep, Sibling: full[:8], Full: full,
			SiblingX: pictureMid + siblingReach, LabelX: pictureMid + siblingReach + labelGap, Anchor: "start",
		}
		if r.left {
			l.SiblingX, l.LabelX, l.Anchor = pictureMid-siblingReach, pictureMid-siblingReach-labelGap, "end"
		}
		l.BoxX, l.BoxY, l.TextY = l.SiblingX-boxHalf, y-boxHalf, y+boxHalf
		pic.Levels = append(pic.Levels, l)
	}
	return pic
}

func parseHash(text string) (h hash, ok bool) {
	b, err := base64.StdEncoding.DecodeString(text)
	return hash(append(b, h[:]...)[:len(h)]), err == nil && len(b) == len(h)
}
