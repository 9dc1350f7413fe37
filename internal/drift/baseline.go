package drift

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/plainjson"
)

// BaselineFormat is what the first key of a baseline says that is kept in a file.
const BaselineFormat = "pavise-drift-baseline/1"

// The bounds of a baseline that is kept.
const (
	MaxFeatures = 1024
	MaxBaseline = 4 << 20 // bytes of its text
	maxTitle    = 256     // bytes of a feature's name
)

// A Baseline is what was counted of each feature of rows that were as they should be: bins, and
// how many values lay in each. It holds no row. docs/formats/drift-baseline.md has its text.
type Baseline struct {
	Format   string    `json:"format"` // BaselineFormat
	Rows     uint64    `json:"rows"`
	Features []Profile `json:"features"`
}

// A Profile is one feature of a Baseline: the edges of its bins, or the names that have one.
type Profile struct {
	Name   string    `json:"name"`
	Side   string    `json:"side,omitempty"` // which of two features of one name; empty: there is one, or it does not matter
	Kind   Kind      `json:"kind"`
	Edges  []float64 `json:"edges,omitempty"`
	Names  []string  `json:"names,omitempty"`
	Seen   []byte    `json:"seen,omitempty"` // the filter of names without a bin: words of eight bytes, little end first
	Open   bool      `json:"open,omitempty"`
	Counts []uint32  `json:"counts"` // by bin; of categories the last two are of rare names, and of new ones
	Nulls  uint32    `json:"nulls,omitempty"`
	Odd    uint32    `json:"odd,omitempty"`

	made *Feature // what Feature returns, if it is made; never changed
}

// ProfileOf is a feature as it is kept.
func ProfileOf(name, side string, f Feature) Profile {
	p := Profile{Name: name, Side: side, Nulls: f.Base.Nulls, Odd: f.Base.Odd}
	p.Kind, _ = f.kind()
	if c := f.Categories; c != nil {
		p.Names, p.Open = c.Names, c.Open
		for _, word := range c.Seen() {
			p.Seen = binary.LittleEndian.AppendUint64(p.Seen, word)
		}
		p.Counts = append(append(p.Counts, f.Base.Bins[:len(c.Names)]...), f.Base.Bins[restBin], f.Base.Bins[newBin])
		return p
	}
	p.share(f)
	return p
}

// share has a profile of numbers be kept in the memory of its bins, which a server has thousands
// of. What is shared never changes.
func (p *Profile) share(f Feature) {
	n := f.Numbers.n
	p.made, p.Edges, p.Counts = &f, f.Numbers.edges[:n:n], f.Base.Bins[:n+1:n+1]
}

// Feature makes the bins again, unless they are: they belong to all who ask for them, and are not
// changed. The error says what is wrong with them.
func (p *Profile) Feature() (f Feature, err error) {
	if p.made != nil {
		return *p.made, nil
	}
	f.Base = &Histogram{Nulls: p.Nulls, Odd: p.Odd}
	switch p.Kind {
	case Number:
		if f.Numbers, err = ReferenceOf(p.Edges); err != nil {
			return f, err
		}
		if len(p.Counts) != f.Numbers.Bins() || len(p.Names)+len(p.Seen) > 0 || p.Open {
			return f, fmt.Errorf("%d counts for %d bins of numbers, or names", len(p.Counts), f.Numbers.Bins())
		}
		copy(f.Base.Bins[:], p.Counts)
	case Category:
		if len(p.Seen)%8 != 0 || len(p.Edges) > 0 {
			return f, errSeen
		}
		seen := make([]uint64, 0, len(p.Seen)/8)
		for at := 0; at < len(p.Seen); at += 8 {
			seen = append(seen, binary.LittleEndian.Uint64(p.Seen[at:]))
		}
		if f.Categories, err = CategoriesOf(p.Names, seen, p.Open); err != nil {
			return f, err
		}
		n := len(p.Names)
		if len(p.Counts) != n+2 {
			return f, fmt.Errorf("%d counts for %d names and the two bins behind them", len(p.Counts), n)
		}
		copy(f.Base.Bins[:], p.Counts[:n])
		f.Base.Bins[restBin], f.Base.Bins[newBin] = p.Counts[n], p.Counts[n+1]
	default:
		return f, fmt.Errorf("the kind %.40q, where number and category are", p.Kind)
	}
	return f, nil
}

// ParseBaseline reads a baseline that was kept, strictly. The error is of kind Invalid.
func ParseBaseline(text []byte) (*Baseline, error) {
	no := func(why string, err error) error {
		return &pavise.Error{Kind: pavise.Invalid, Msg: "the baseline cannot be read: " + why, Hint: "pavise drift profile ROWS --out FILE makes one of rows", Err: err}
	}
	if len(text) > MaxBaseline {
		return nil, no(fmt.Sprintf("it is longer than %d MiB", MaxBaseline>>20), nil)
	}
	b, err := plainjson.ReadKnown[Baseline](text)
	switch {
	case err != nil:
		return nil, no(err.Error(), err)
	case b.Format != BaselineFormat:
		return nil, no(fmt.Sprintf("its format is %.60q, not %s", b.Format, BaselineFormat), nil)
	case len(b.Features) == 0 || len(b.Features) > MaxFeatures:
		return nil, no(fmt.Sprintf("it has %d features, not 1 to %d", len(b.Features), MaxFeatures), nil)
	}
	known := map[[2]string]bool{}
	for i := range b.Features {
		p := &b.Features[i]
		f, err := p.Feature()
		if err != nil {
			return nil, no(fmt.Sprintf("feature %.80q: %v", p.Name, err), err)
		}
		if f.Numbers != nil && !slices.ContainsFunc(p.Edges, isNegativeZero) {
			p.share(f)
		}
		if p.Name == "" || len(p.Name) > maxTitle || known[[2]string{p.Side, p.Name}] {
			return nil, no(fmt.Sprintf("feature %d has no name, a long one, or that of another: %.80q", i+1, p.Name), nil)
		}
		if f.Base.Rows() < LeastRows || f.Base.Rows() > b.Rows {
			return nil, no(fmt.Sprintf("feature %.80q has %d values of %d rows, and takes %d at least", p.Name, f.Base.Rows(), b.Rows, LeastRows), nil)
		}
		known[[2]string{p.Side, p.Name}] = true
	}
	return &b, nil
}

// isNegativeZero finds the one number that is spelled otherwise in bins, which have one zero.
func isNegativeZero(x float64) bool { return x == 0 && math.Signbit(x) }

// Text is the baseline as it is kept, the same each time.
func (b *Baseline) Text() []byte {
	text, err := json.Marshal(b)
	if err != nil { // it has nothing that JSON has not: edges are finite
		panic(err)
	}
	return text
}

// Digest is the SHA-256 of its text, as sha256:HEX.
func (b *Baseline) Digest() string {
	sum := sha256.Sum256(b.Text())
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Overlaid is a baseline with the features that another one names in the place of its own; where
// there is none, the other one.
func Overlaid(under, over *Baseline) *Baseline {
	if under == nil {
		return over
	}
	type title struct {
		name, side string
		text       bool
	}
	b := &Baseline{Format: BaselineFormat, Rows: max(under.Rows, over.Rows)}
	named := map[title]bool{}
	for _, p := range over.Features {
		named[title{p.Name, p.Side, p.Kind == Category}] = true
	}
	for _, p := range under.Features {
		if !named[title{p.Name, p.Side, p.Kind == Category}] {
			b.Features = append(b.Features, p)
		}
	}
	b.Features = append(b.Features, over.Features...)
	return b
}
