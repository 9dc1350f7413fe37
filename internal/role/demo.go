package role

import (
	"context"

	"github.com/pavise/pavise/internal/console"
	"github.com/pavise/pavise/internal/demo"
	"github.com/pavise/pavise/internal/identity"
)

// castIssuer is the record by which the organisation of a demo's cast is known, for as
// long as the process lives.
func castIssuer(s *demo.Stage) (identity.Issuer, error) {
	keys, err := identity.ParseJWKS(s.Org.JWKS())
	return identity.Issuer{
		URL: demo.OrgURL, Audience: demo.OrgAudience, Keys: keys, Algorithms: []identity.Algorithm{"EdDSA"}, Tenant: Tenant,
		MaxTTL: demo.OrgTTL, Roles: demo.OrgRoles(),
	}, err
}

// tale is what the console shows of a demo; nil when there is none.
func (u *Up) tale() func(context.Context, int) ([]console.Step, bool) {
	if u.cfg.Stage == nil {
		return nil
	}
	return func(ctx context.Context, from int) ([]console.Step, bool) {
		acts, over := u.cfg.Stage.Acts(ctx, from)
		steps := make([]console.Step, len(acts))
		for i, a := range acts {
			steps[i] = console.Step{
				Number: from + i, Minute: a.Minute, At: a.At, Scene: a.Scene, Actor: a.Actor, Did: a.Did, Decision: a.Decision, Why: a.Why,
				Record: a.Record, Prove: a.Prove, Odd: a.Odd,
			}
		}
		return steps, over
	}
}

// Demo gives a play to whoever may see this installation: its operator. It returns when
// the play is over or ctx is done.
func (u *Up) Demo(ctx context.Context, rows *demo.Rows, speed float64, tell func(demo.Act)) error {
	return u.cfg.Stage.Play(ctx, demo.Config{
		Server: u.url(), Ledger: u.cfg.Data.Ledger(), Key: u.Log.Keys()[0].Fingerprint(), Command: u.cfg.Data.Command, Verify: u.verifyCommand(),
		Now: u.cfg.Now, Rows: rows, Speed: speed, Seed: 1, Tell: tell,
		Operator: func() (string, error) {
			a, err := u.cfg.Data.ReadAccess("")
			return a.Token, err
		},
	})
}
