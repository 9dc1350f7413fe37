package role

import (
	"context"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/fleet"
)

// bad are the versions that it finds to be bad, as far as it can say so: its own log has all.
func (g *Gateway) bad() (all []fleet.Bad) {
	for _, b := range g.Monitor.BadVersions() {
		all = append(all, fleet.Bad(b))
	}
	return fleet.Bads(all)
}

// openVerdicts opens what gateways find of versions. What follows is what follows from the house's
// own verdicts.
func (s *Serve) openVerdicts() *fleet.Verdicts {
	return fleet.OpenVerdicts(fleet.VerdictConfig{
		Store: s.DB, Tenant: s.Tenant, Agree: s.cfg.Votes(), Now: s.Now, Say: s.Say, Back: s.Verdicts().Rollback,
		Answers: func(model pavise.Name) string {
			live, err := s.Gateway.Routes.Find(model)
			if err != nil {
				return ""
			}
			return live.Is
		},
		Note: func(ctx context.Context, kind string, on pavise.Name, detail any) error {
			return s.Guard.Note(ctx, kind, nil, on, detail)
		},
	})
}
