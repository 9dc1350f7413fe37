package lineage

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/figure"
)

// A Question is about a dataset: what is behind it, and what came after it.
type Question struct {
	Dataset string  `json:"dataset,omitempty" maxLength:"4100" doc:"the dataset or model, as events name it: NAMESPACE/NAME, or NAME where one namespace has it; absent: all that are named are listed"`
	Depth   int     `json:"depth,omitempty" minimum:"0" doc:"so many runs away at most, on either side; absent: as far as it goes"`
	Seals   []Named `json:"seals,omitempty" maxItems:"64" doc:"seals that claims are held to, beside those that the server keeps"`
}

// A Search is for what saw a row.
type Search struct {
	Roots []string `json:"roots,omitempty" maxItems:"64" doc:"the roots of the seals that have the row: 64 hex digits each"`
	Row   string   `json:"row,omitempty" maxLength:"64" doc:"instead of roots, the digest by which seals know the row (docs/formats/seal.md), in 64 hex digits; the server looks for it in the seals that it keeps, and records none of it"`
	Seals []Named  `json:"seals,omitempty" maxItems:"64" doc:"seals that claims are held to, beside those that the server keeps"`
}

// A Named is a seal with the name of the dataset that it is of.
type Named struct {
	Dataset string `json:"dataset,omitempty" maxLength:"4100" doc:"as events name it; absent: nobody says of which dataset it is"`
	Root    string `json:"root" doc:"64 hex digits"`
	Rows    int64  `json:"rows,omitempty" minimum:"0" doc:"how many rows it is of; absent: not said"`
}

// A Reading is what was read of events.
type Reading struct {
	Events  int      `json:"events"`            // that were read
	Refused int      `json:"refused,omitempty"` // that could not be
	Unread  []Unread `json:"unread,omitempty"`  // the first of those
}

// maxUnread is how many events that cannot be read are told of.
const maxUnread = 20

// An Unread is an event that cannot be read.
type Unread struct {
	File string `json:"file"`
	At   int    `json:"at"` // its line, or its place in the list, from 1
	Why  string `json:"why"`
}

// Refuse notes an event that cannot be read.
func (r *Reading) Refuse(file string, at int, why error) {
	if r.Refused++; r.Refused <= maxUnread {
		r.Unread = append(r.Unread, Unread{file, at, why.Error()})
	}
}

// A Traced is what was told of a dataset; or, without one, of all.
type Traced struct {
	*Picture
	Datasets []Dataset `json:"datasets,omitempty"` // all that are named, where none was asked for
	Unlisted int       `json:"unlisted,omitempty"` // so many more are named
	Reading
	Refuted  int    `json:"refuted"`        // claims in the picture that the seals refute
	Note     string `json:"note,omitempty"` // what is to be known of the events and the seals
	Recorded bool   `json:"recorded"`       // a record says who asked this

	DOT bool `json:"-"` // it is printed as a picture for Graphviz
}

// Trace answers what is behind a dataset and what came after it, at most depth runs away on
// either side; without a dataset, which there are. The error is of kind NotFound where no
// event names the dataset, and Invalid where several are called so.
func (g *Graph) Trace(named string, depth int) (*Traced, error) {
	traced := &Traced{}
	if named == "" {
		traced.Datasets = g.Datasets()
		return traced, nil
	}
	of, err := g.Find(named)
	if err != nil {
		return nil, err
	}
	if len(of) > 1 {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%d datasets are written %.200q", len(of), named), Hint: fmt.Sprintf("write it as NAMESPACE NAME, with a space: %q or %q", of[0], of[1])}
	}
	picture := g.Around(of[0], depth)
	for _, e := range picture.Edges {
		if e.Standing == Refuted {
			traced.Refuted++
		}
	}
	traced.Picture = &picture
	return traced, nil
}

// Find finds the datasets of the events by a name: NAMESPACE/NAME, NAMESPACE NAME, or the
// name alone where only one namespace has it. Two may be written alike, where the slash
// stands elsewhere: then both are meant. The error is of kind NotFound or Invalid.
func (g *Graph) Find(named string) ([]Dataset, error) {
	var whole, part []Dataset
	for d := range g.byData {
		switch {
		case len(d.Namespace)+1+len(d.Name) == len(named) && (d.Namespace+"/"+d.Name == named || d.String() == named):
			whole = append(whole, d)
		case d.Name == named:
			part = append(part, d)
		}
	}
	slices.SortFunc(whole, byName)
	switch {
	case len(whole) > 0:
		return whole, nil
	case len(part) == 1:
		return part, nil
	case len(part) == 0:
		return nil, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("no event names the dataset %.200q", named), Hint: "write it as NAMESPACE/NAME; pavise dataset lineage without a dataset lists those that are named"}
	}
	one := slices.MinFunc(part, byName)
	return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%d namespaces have a dataset %.200q", len(part), named), Hint: "write it as NAMESPACE/NAME, for example " + one.Namespace + "/" + one.Name}
}

// Name finds of which datasets seals are. The errors are those of Find, and of kind Invalid
// for a root that is none.
func (g *Graph) Name(named []Named) (seals []Seal, err error) {
	for _, n := range named {
		if err := CheckRoot(n.Root); err != nil {
			return nil, err
		}
		of := []Dataset{{}}
		if n.Dataset != "" {
			if of, err = g.Find(n.Dataset); err != nil {
				return nil, err
			}
		}
		for _, d := range of {
			seals = append(seals, Seal{Dataset: d, Root: n.Root, Rows: n.Rows})
		}
	}
	return seals, nil
}

// CheckRoot refuses, with kind Invalid, what is no root of a seal.
func CheckRoot(root string) error {
	if digest, err := hex.DecodeString(root); err != nil || len(digest) != 32 || strings.ToLower(root) != root {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.80q is no root of a seal", root), Hint: "a root has 64 hex digits; a seal has it as root"}
	}
	return nil
}

// A Holding says where in a seal a row stands.
type Holding struct {
	Seal   string  `json:"seal"`             // its file, or the name it has where it is kept
	Root   string  `json:"root,omitempty"`   // 64 hex digits; empty: of contents that are not kept
	Count  uint64  `json:"count"`            // how often; 0: it is not in it, as far as can be known
	Places []Place `json:"places,omitempty"` // at most 1,000
	Note   string  `json:"note,omitempty"`   // what was not looked at
	Unsure string  `json:"-"`                // why something may have seen the row by it all the same
	Of     Dataset `json:"-"`                // the dataset, as events call it, at whose place those bytes lay; zero: nobody says
}

// A Place is where a row stands.
type Place struct {
	File string `json:"file"`
	Row  uint64 `json:"row"` // from 1
}

// Sightings are who saw a row.
type Sightings struct {
	Holdings []Holding `json:"seals,omitempty"` // where the row was looked for
	Exposure
	Reading
	Unsure   []string `json:"unsure,omitempty"` // why something may have seen the row all the same
	Note     string   `json:"note,omitempty"`   // what is to be known of the events and the seals
	Recorded bool     `json:"recorded"`         // a record says who asked this
}

// Found reports whether anything saw the row, or may have.
func (s *Sightings) Found() bool { return len(s.Runs) > 0 }

// Hold takes where the row was looked for, with the doubts that this leaves.
func (s *Sightings) Hold(holdings []Holding) {
	for _, h := range holdings {
		if h.Unsure != "" {
			s.Unsure = append(s.Unsure, h.Unsure)
		}
	}
	s.Holdings = append(s.Holdings, holdings...)
}

// Look finds what came after the roots, and after those of the holdings that have the row.
func (s *Sightings) Look(g *Graph, roots []string) {
	s.Exposure = g.Exposed(roots, s.Holdings...)
	if s.Refused > 0 {
		s.Unsure = append(s.Unsure, fmt.Sprintf("%d events could not be read, and may be of runs that saw it", s.Refused))
	}
	if s.More {
		s.Unsure = append(s.Unsure, "there are more claims than one answer looks at")
	}
	if runs := g.readUnheld(); len(s.Runs) == 0 && runs > 0 {
		s.Unsure = append(s.Unsure, fmt.Sprintf("%s read contents of datasets by seals that nobody has here, and the row may be in those", figure.Count(runs, "run")))
	}
}

// readUnheld counts the runs that name a seal which is none of a dataset of which some are
// known, nor of any other: what a row was looked for in is not what they read.
func (g *Graph) readUnheld() int {
	runs := map[string]bool{}
	for d := range g.seals {
		for _, k := range g.byData[d] {
			if !k.writes && k.use.Root != "" && len(g.sealedAs[k.use.Root]) == 0 {
				runs[k.run] = true
			}
		}
	}
	return len(runs)
}

// Settle returns an error of kind Unverified where nothing is known to have seen the row,
// and this is not sure.
func (s *Sightings) Settle() error {
	if s.Found() || len(s.Unsure) == 0 {
		return nil
	}
	return &pavise.Error{Kind: pavise.Unverified, Msg: "nothing is known to have seen the row, and that is not sure: " + strings.Join(s.Unsure, "; "), Hint: "mend that, and ask again; pavise dataset lineage tells which events there are, and with --events FILE which cannot be read"}
}
