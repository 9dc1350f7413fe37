package console

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/pavise/pavise/internal/figure"
	"github.com/pavise/pavise/internal/lineage"
	"github.com/pavise/pavise/internal/story"
)

// The lengths of what the page lists; the rest is for the command.
const (
	maxClaims   = 200
	maxDatasets = 200
)

// standings are how claims are shown: the state has the icon and the colour.
var standings = map[lineage.Standing]struct{ state, word string }{
	lineage.Sealed: {story.Allow, "Sealed"}, lineage.Unsealed: {story.Note, "Unsealed"}, lineage.Unknown: {"open", "Unknown"}, lineage.Refuted: {story.Deny, "Refuted"},
}

// A lineagePage is the body of the page of what was made of what.
type lineagePage struct {
	Of       string
	Told     lineage.Traced
	Flow     *figure.Flow // nil: no dataset was asked for
	Datasets []datasetLink
	Claims   []claimItem
	More     int // datasets, or claims, that are not shown
	Command  string
	Refusal  *refusal
}

// A datasetLink leads to the page of a dataset.
type datasetLink struct{ Namespace, Name, Address string }

func newDatasetLink(d lineage.Dataset) datasetLink {
	return datasetLink{d.Namespace, d.Name, "/lineage?" + url.Values{"of": {d.String()}}.Encode()}
}

// A claimItem is a claim in the list.
type claimItem struct {
	lineage.Edge
	State, Word string
	Job         string
	Dataset     datasetLink
}

// plainWord is a name that means nothing to a shell: pipelines name datasets as they like, and
// the command is there to be pasted.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.:/@-]{0,199}$`)

// lineage shows what is behind a dataset, and what came of it; without one, which there are.
func (c *Console) lineage(w http.ResponseWriter, r *http.Request, s *visitor) {
	body := lineagePage{Of: strings.TrimSpace(r.URL.Query().Get("of"))}
	body.Command = c.cfg.Command("dataset lineage")
	err := s.client.Call(r.Context(), "dataset.lineage", lineage.Question{Dataset: body.Of}, &body.Told)
	if err != nil && body.Of != "" { // the list helps on
		body.Refusal = newRefusal(err)
		body.Told, body.Of = lineage.Traced{}, ""
		err = s.client.Call(r.Context(), "dataset.lineage", lineage.Question{}, &body.Told)
	}
	if err != nil {
		c.refuse(w, s, err)
		return
	}
	title := "Lineage"
	if body.Told.Picture == nil {
		body.list()
	} else {
		body.draw()
		if name := body.Told.Of.Namespace + "/" + body.Told.Of.Name; plainWord.MatchString(name) {
			body.Command = c.cfg.Command("dataset lineage " + name)
		}
		title = figure.OneLine(body.Told.Of.Name, story.MaxReason) + " · lineage"
	}
	c.show(w, s, http.StatusOK, "lineage", page{Title: title, Here: "/lineage", Body: body})
}

func (p *lineagePage) list() {
	shown := p.Told.Datasets[:min(len(p.Told.Datasets), maxDatasets)]
	p.More = p.Told.Unlisted + len(p.Told.Datasets) - len(shown)
	for _, d := range shown {
		p.Datasets = append(p.Datasets, newDatasetLink(d))
	}
}

func (p *lineagePage) draw() {
	at, jobs, middle := map[string]int{}, map[string]string{}, -1
	var nodes []figure.FlowNode
	for i, n := range p.Told.Nodes {
		at[n.ID] = i
		if n.Run != nil {
			jobs[n.Run.ID] = n.Run.Job.Name
			nodes = append(nodes, figure.FlowNode{Shape: "run", Title: n.Run.Job.Name, Under: strings.ToLower(n.Run.State) + " " + n.Run.ID[:8],
				Words: fmt.Sprintf("run %s of %s, %s, told by %s", n.Run.ID, n.Run.Job, n.Run.State, n.Run.By)})
			continue
		}
		shape := "dataset"
		if n.Type == "MODEL" {
			shape = "model"
		}
		if *n.Dataset == p.Told.Of {
			middle = i
		}
		nodes = append(nodes, figure.FlowNode{Shape: shape, Title: n.Dataset.Name, Under: n.Dataset.Namespace, Words: shape + " " + n.Dataset.String(), Link: newDatasetLink(*n.Dataset).Address})
	}
	var edges []figure.FlowEdge
	for _, e := range p.Told.Edges {
		edges = append(edges, figure.FlowEdge{From: at[e.From], To: at[e.To], Kind: string(e.Standing), MarkEnd: e.Claim.Writes, Words: string(e.Standing) + ": " + e.Why})
		look := standings[e.Standing]
		p.Claims = append(p.Claims, claimItem{e, look.state, look.word, jobs[e.Claim.Run], newDatasetLink(e.Claim.Use.Dataset)})
	}
	p.Flow = figure.NewFlow(nodes, edges, middle)
	slices.SortStableFunc(p.Claims, func(a, b claimItem) int { return b.Standing.Grave() - a.Standing.Grave() }) // the worst first
	p.More = max(0, len(p.Claims)-maxClaims)
	p.Claims = p.Claims[:len(p.Claims)-p.More]
}
