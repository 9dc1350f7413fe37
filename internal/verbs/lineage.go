package verbs

import (
	"context"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/lineage"
	"github.com/pavise/pavise/internal/openlineage"
)

// lineageVerbs are no commands themselves: those of the same names read the seals of
// whoever types them, and ask these where they are given no events.
func (rooms *Rooms) lineageVerbs() []api.Verb {
	onLineage := []string{openlineage.KindLineage}
	return []api.Verb{
		{
			Name: openlineage.VerbEmit, On: onLineage,
			Help:  "Tell of runs, in OpenLineage events",
			About: "At POST /api/v1/lineage and /api/v1/lineage/batch, where clients of OpenLineage (2-0-2) send to. Each event is kept as the claim of who sent it; the same again counts once.",
		},
		api.Do(api.Verb{
			Name: openlineage.VerbLineage, On: onLineage, Class: guard.Pooled, WireOnly: true,
			Help:  "Say what is behind a dataset or model, and what came after it",
			About: "As pipelines told it in OpenLineage events. Each claim is held to the seals that the server keeps and to those of the question.",
		}, func(ctx context.Context, who pavise.Principal, q lineage.Question) (*lineage.Traced, error) {
			claims, err := rooms.claims()
			if err != nil {
				return nil, err
			}
			return claims.Lineage(ctx, who, q)
		}),
		api.Do(api.Verb{
			Name: openlineage.VerbExposed, On: onLineage, Class: guard.Pooled, WireOnly: true,
			Help:  "Say which runs and models saw a row",
			About: "By the roots of seals that have the row; or by its digest, which is looked for in the seals that the server keeps.",
		}, func(ctx context.Context, who pavise.Principal, s lineage.Search) (*lineage.Sightings, error) {
			claims, err := rooms.claims()
			if err != nil {
				return nil, err
			}
			return claims.Exposed(ctx, who, s)
		}),
	}
}

// claims are what pipelines told, where they may.
func (rooms *Rooms) claims() (*openlineage.Claims, error) {
	if rooms.Lineage == nil {
		return nil, &pavise.Error{Kind: pavise.Unavailable, Msg: "nobody tells of runs here", Hint: "ask the control plane: pavise up and pavise serve take OpenLineage events"}
	}
	return rooms.Lineage, nil
}
