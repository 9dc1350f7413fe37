package lineage

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
)

// A Node is a dataset or a run in a picture.
type Node struct {
	ID      string   `json:"id"` // unique in the picture
	Dataset *Dataset `json:"dataset,omitempty"`
	Type    string   `json:"type,omitempty"` // of a dataset, as somebody said
	Seals   int      `json:"seals"`          // that are known of a dataset
	Run     *Run     `json:"run,omitempty"`
}

// An Edge is a claim in a picture: a run that reads or writes a dataset.
type Edge struct {
	From     string   `json:"from"` // a node's id: bytes go from there …
	To       string   `json:"to"`   // … to there
	Claim    Claim    `json:"claim"`
	Standing Standing `json:"standing"`
	Why      string   `json:"why"` // in words
}

// A Picture is a part of a graph: what is behind a dataset, and what came after it.
type Picture struct {
	Of    Dataset `json:"of"`
	Nodes []Node  `json:"nodes"`
	Edges []Edge  `json:"edges"`
	More  bool    `json:"more,omitempty"` // there is more than a picture holds
}

// What a picture holds.
const (
	maxNodes = 1000
	maxEdges = 4000
)

// Around returns what is behind a dataset and what came after it, at most depth runs away
// on either side; 0 means as far as it goes.
func (g *Graph) Around(of Dataset, depth int) Picture {
	p := &painter{g: g, seen: map[string]bool{}, edges: map[claimKey]bool{}, picture: Picture{Of: of, Nodes: []Node{}, Edges: []Edge{}}}
	p.dataset(of)
	for _, back := range []bool{true, false} {
		p.far(of, back, depth)
	}
	slices.SortFunc(p.picture.Nodes, func(a, b Node) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(p.picture.Edges, func(a, b Edge) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), cmp.Compare(a.Claim.Use.Root, b.Claim.Use.Root),
			cmp.Compare(a.Claim.Use.Version, b.Claim.Use.Version), cmp.Compare(a.Claim.By.String(), b.Claim.By.String()))
	})
	return p.picture
}

// A painter gathers a picture.
type painter struct {
	g       *Graph
	seen    map[string]bool // nodes that are in the picture
	edges   map[claimKey]bool
	picture Picture
}

// far goes from a dataset in one direction, a ring of runs and datasets at a time.
func (p *painter) far(of Dataset, back bool, depth int) {
	ring, gone, through := []Dataset{of}, map[Dataset]bool{of: true}, map[string]bool{}
	for step := 0; len(ring) > 0 && (depth == 0 || step < depth); step++ {
		var next []Dataset
		for _, d := range ring {
			for _, near := range p.g.claimsOf(p.g.byData[d]) {
				if near.Writes != back || !p.run(near.Run) {
					continue
				}
				p.edge(near)
				if !through[near.Run] { // a run of ten thousand datasets is gone through once, not once from each
					through[near.Run] = true
					next = append(next, p.beyond(near.Run, back, gone)...)
				}
			}
		}
		ring = next
	}
}

// beyond draws the datasets on the other side of a run, and returns those that are new.
func (p *painter) beyond(run string, back bool, gone map[Dataset]bool) (found []Dataset) {
	for _, c := range p.g.claimsOf(p.g.byRun[run]) {
		if c.Writes == back || !p.dataset(c.Use.Dataset) {
			continue
		}
		p.edge(c)
		if !gone[c.Use.Dataset] {
			gone[c.Use.Dataset] = true
			found = append(found, c.Use.Dataset)
		}
	}
	return found
}

// dataset puts a dataset into the picture, and reports whether it is there.
func (p *painter) dataset(d Dataset) bool {
	return p.node("dataset "+d.String(), func() Node {
		return Node{Dataset: &d, Type: p.g.types[d], Seals: len(p.g.seals[d])}
	})
}

func (p *painter) run(id string) bool {
	return p.node("run "+id, func() Node {
		run := *p.g.runs[id]
		return Node{Run: &run}
	})
}

func (p *painter) node(id string, draw func() Node) bool {
	if p.seen[id] {
		return true
	}
	if len(p.picture.Nodes) == maxNodes {
		p.picture.More = true
		return false
	}
	n := draw()
	n.ID, p.seen[id] = id, true
	p.picture.Nodes = append(p.picture.Nodes, n)
	return true
}

func (p *painter) edge(c Claim) {
	key := claimKey{c.Run, c.Writes, c.Use, c.By}
	if p.edges[key] {
		return
	}
	if len(p.picture.Edges) == maxEdges {
		p.picture.More = true
		return
	}
	p.edges[key] = true
	e := Edge{From: "dataset " + c.Use.Dataset.String(), To: "run " + c.Run, Claim: c}
	if c.Writes {
		e.From, e.To = e.To, e.From
	}
	e.Standing, e.Why = p.g.Judge(c.Use)
	p.picture.Edges = append(p.picture.Edges, e)
}

// WriteDOT writes a picture in the language of Graphviz: datasets are boxes, models
// double ones, runs are ovals, and a claim that is refuted is a red, dashed arrow.
func (p Picture) WriteDOT(out io.Writer) error {
	var b strings.Builder
	b.WriteString("digraph lineage {\n\trankdir=LR;\n\tnode [fontname=\"sans-serif\", fontsize=11];\n\tedge [fontname=\"sans-serif\", fontsize=9];\n")
	for _, n := range p.Nodes {
		fmt.Fprintf(&b, "\t%s [%s];\n", quoted(n.ID), n.dot(p.Of))
	}
	for _, e := range p.Edges {
		fmt.Fprintf(&b, "\t%s -> %s [%s];\n", quoted(e.From), quoted(e.To), e.dot())
	}
	b.WriteString("}\n")
	_, err := io.WriteString(out, b.String())
	return err
}

func (n Node) dot(of Dataset) string {
	if n.Run != nil {
		return fmt.Sprintf("shape=oval, label=%s, tooltip=%s", quoted(n.Run.Job.Name+"\n"+n.Run.State), quoted("run "+n.Run.ID+" as told by "+n.Run.By.String()))
	}
	looks := "shape=box"
	if n.Type == "MODEL" {
		looks += ", peripheries=2"
	}
	if *n.Dataset == of {
		looks += ", style=bold"
	}
	return fmt.Sprintf("%s, label=%s", looks, quoted(n.Dataset.Namespace+"\n"+n.Dataset.Name))
}

func (e Edge) dot() string {
	looks := map[Standing]string{
		Sealed: "color=darkgreen", Unsealed: "color=gray40", Unknown: "color=goldenrod", Refuted: "color=red, style=dashed",
	}[e.Standing]
	label := string(e.Standing)
	if e.Claim.Use.Root != "" {
		label += " " + e.Claim.Use.Root[:8]
	}
	return fmt.Sprintf("%s, label=%s, tooltip=%s", looks, quoted(label), quoted(e.Why))
}

// quoted is a text as Graphviz has it: nothing in a dataset's name ends it.
func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}
