package openlineage

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/lineage"
)

// maxListed is how much of one kind an answer lists.
const maxListed = 10_000

// noSeals is said where the installation keeps no seals.
const noSeals = "this installation keeps no seals itself: claims are held to those that you gave with the question"

// Lineage answers what is behind a dataset and what came after it: the verb dataset.lineage.
// The errors are those of [lineage.Graph.Trace] and [lineage.Graph.Name].
func (c *Claims) Lineage(ctx context.Context, who pavise.Principal, q lineage.Question) (traced *lineage.Traced, err error) {
	entry, err := c.cfg.Guard.Enter(ctx, who, VerbLineage, thing(who.Tenant))
	if err != nil {
		return nil, err
	}
	defer entry.Exit(&err)
	entry.Detail(map[string]any{"dataset": clip(q.Dataset)})
	told, err := c.corpus(ctx, who.Tenant)
	if err != nil {
		return nil, err
	}
	defer told.mu.Unlock()
	graph, err := c.sealed(ctx, who.Tenant, told.graph, q.Seals)
	if err != nil {
		return nil, err
	}
	if traced, err = graph.Trace(q.Dataset, q.Depth); err != nil {
		return nil, err
	}
	traced.Reading, traced.Recorded = told.reading, true
	if more := len(traced.Datasets) - maxListed; more > 0 {
		traced.Datasets, traced.Unlisted = traced.Datasets[:maxListed], more
	}
	traced.Note = c.note(told)
	return traced, nil
}

// Exposed answers what saw a row: the verb dataset.exposed. The errors are of kind Invalid,
// NotFound for a dataset that no event names, and Unavailable for a row that is asked after
// where no seals are kept.
func (c *Claims) Exposed(ctx context.Context, who pavise.Principal, s lineage.Search) (seen *lineage.Sightings, err error) {
	entry, err := c.cfg.Guard.Enter(ctx, who, VerbExposed, thing(who.Tenant))
	if err != nil {
		return nil, err
	}
	defer entry.Exit(&err)
	entry.Detail(map[string]any{"roots": s.Roots, "row": s.Row != ""}) // and not the digest, by which a row can be guessed
	if len(s.Roots) == 0 && s.Row == "" && len(s.Seals) == 0 || len(s.Roots) > 0 && s.Row != "" {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "what saw a row is asked by the roots of seals that have it, or by its digest", Hint: "give roots, or row"}
	}
	for _, root := range s.Roots {
		if err := lineage.CheckRoot(root); err != nil {
			return nil, err
		}
	}
	seen = &lineage.Sightings{Recorded: true}
	roots, err := c.holding(ctx, who.Tenant, s, seen)
	if err != nil {
		return nil, err
	}
	told, err := c.corpus(ctx, who.Tenant)
	if err != nil {
		return nil, err
	}
	defer told.mu.Unlock()
	graph, err := c.sealed(ctx, who.Tenant, told.graph, s.Seals)
	if err != nil {
		return nil, err
	}
	seen.Reading = told.reading
	seen.Look(graph, roots)
	told.doubt(seen)
	shorten(seen)
	seen.Note = c.note(told)
	return seen, nil
}

// holding returns the roots that are asked after: those of the search, or those of the seals
// kept here that have the row.
func (c *Claims) holding(ctx context.Context, tenant string, s lineage.Search, seen *lineage.Sightings) (roots []string, err error) {
	if s.Row == "" {
		return s.Roots, nil
	}
	row, err := hex.DecodeString(s.Row)
	if err != nil || len(row) != 32 {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "row is no digest of a row", Hint: "it is SHA-256 of a zero byte and the row, in 64 hex digits"}
	}
	if c.cfg.Seals == nil {
		return nil, &pavise.Error{Kind: pavise.Unavailable, Msg: "this installation keeps no seals to look for the row in", Hint: "look for it where the seals are: --seal DATASET=FILE; only roots come here then"}
	}
	holdings, err := c.cfg.Seals.Holdings(ctx, tenant, [32]byte(row))
	if err != nil {
		return nil, err
	}
	if len(holdings) == 0 {
		seals, err := c.cfg.Seals.Seals(ctx, tenant)
		if err != nil {
			return nil, err
		}
		if len(seals) == 0 {
			seen.Unsure = append(seen.Unsure, "no seal is kept here that the row could be looked for in")
		}
	}
	for _, h := range holdings {
		if h.Count > 0 {
			roots = append(roots, h.Root)
		}
	}
	seen.Hold(holdings)
	return roots, nil
}

// sealed is a graph with the seals that the installation keeps, and those of the question.
func (c *Claims) sealed(ctx context.Context, tenant string, g *lineage.Graph, named []lineage.Named) (*lineage.Graph, error) {
	seals, err := g.Name(named)
	if err != nil {
		return nil, err
	}
	if c.cfg.Seals != nil {
		kept, err := c.cfg.Seals.Seals(ctx, tenant)
		if err != nil {
			return nil, err
		}
		seals = append(seals, kept...)
	}
	return g.Sealed(seals), nil
}

// doubt says why nobody can know that nothing else saw the row.
func (told *corpus) doubt(seen *lineage.Sightings) {
	if told.reading.Events == 0 {
		seen.Unsure = append(seen.Unsure, "nobody has told of any run here")
	}
	if told.retired > 0 {
		seen.Unsure = append(seen.Unsure, fmt.Sprintf("%d events were too old to be kept, and may be of runs that saw it", told.retired))
	}
	if told.turned > 0 {
		seen.Unsure = append(seen.Unsure, fmt.Sprintf("%d events were turned away, for there was no room, and may be of runs that saw it", told.turned))
	}
}

// shorten bounds an answer, the surest first.
func shorten(seen *lineage.Sightings) {
	for _, list := range []*[]lineage.Exposed{&seen.Runs, &seen.Models, &seen.Datasets} {
		if len(*list) > maxListed {
			*list, seen.More = (*list)[:maxListed], true
		}
	}
}

// note says what is to be known of the events and the seals.
func (c *Claims) note(told *corpus) string {
	var words []string
	if c.cfg.Seals == nil {
		words = append(words, noSeals)
	}
	if told.reading.Events > 0 {
		words = append(words, fmt.Sprintf("events are kept for %d days, the first of these since %s", int(c.cfg.Bounds.Age.Hours()/24), told.since.Format("2006-01-02")))
	}
	if told.retired > 0 {
		words = append(words, fmt.Sprintf("%d older ones ended", told.retired))
	}
	if told.turned > 0 {
		words = append(words, fmt.Sprintf("%d were turned away, for there was no room", told.turned))
	}
	return strings.Join(words, "; ")
}

// clip shortens what a record says in words that somebody else chose.
func clip(s string) string {
	if len(s) > maxWords {
		return strings.ToValidUTF8(s[:maxWords], "") + "…"
	}
	return s
}
