package mlflow

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
)

// maxExperiments bounds the experiments of a tenant.
const maxExperiments = 10_000

// An experiment is what runs are of.
type experiment struct {
	ID       string `json:"experiment_id"`
	Name     string `json:"name"`
	Location string `json:"artifact_location"`
	Stage    string `json:"lifecycle_stage"`
	Updated  int64  `json:"last_update_time"`
	Created  int64  `json:"creation_time"`
}

// experiment returns the one that a condition is of. The one of number 0 is always there. The
// error is of kind NotFound.
func (s *Server) experiment(ctx context.Context, tenant, condition, is string) (e experiment, err error) {
	e = experiment{ID: "0", Name: "Default", Location: scheme + "/" + runsDir, Stage: "active"}
	if is == e.ID && condition == `number = ?` || is == e.Name && condition == `name = ?` {
		return e, nil
	}
	err = s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		return tx.QueryRow(`SELECT number, name, created FROM mlflow_experiments WHERE tenant = ? AND `+condition, tenant, is).Scan(&e.ID, &e.Name, &e.Created)
	})
	if errors.Is(err, sql.ErrNoRows) {
		err = &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("there is no experiment %.80q", is), Hint: "mlflow.set_experiment makes one"}
	}
	e.Updated = e.Created
	return e, err
}

// experiments is the name of all of them.
func experiments(tenant string) pavise.Name { return runName(tenant, "experiments") }

// An experimentAnswer holds one.
type experimentAnswer struct {
	Experiment experiment `json:"experiment"`
}

func (s *Server) getExperiment(ctx context.Context, who pavise.Principal, req ofExperiment) (any, error) {
	return s.seeExperiment(ctx, who, `number = ?`, string(req.ID))
}

func (s *Server) experimentByName(ctx context.Context, who pavise.Principal, req experimentByName) (any, error) {
	return s.seeExperiment(ctx, who, `name = ?`, req.Name)
}

func (s *Server) seeExperiment(ctx context.Context, who pavise.Principal, condition, is string) (_ any, err error) {
	entry, err := s.cfg.Guard.Enter(ctx, who, VerbShow, experiments(who.Tenant))
	if err != nil {
		return nil, err
	}
	defer entry.Exit(&err)
	e, err := s.experiment(ctx, who.Tenant, condition, is)
	if err != nil {
		return nil, err
	}
	return experimentAnswer{e}, nil
}

func (s *Server) createExperiment(ctx context.Context, who pavise.Principal, req createExperiment) (_ any, err error) {
	entry, err := s.cfg.Guard.Enter(ctx, who, VerbLog, experiments(who.Tenant))
	if err != nil {
		return nil, err
	}
	defer entry.Exit(&err)
	if req.Name == "" || len(req.Name) > 500 {
		return nil, missing("name of 1 to 500 bytes")
	}
	if req.Location != "" {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "artifacts lie in the depot, and nowhere else", Hint: "leave artifact_location out"}
	}
	if _, err := s.experiment(ctx, who.Tenant, `name = ?`, req.Name); pavise.KindOf(err) != pavise.NotFound {
		if err == nil {
			err = &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("there is an experiment %.80q already", req.Name), Err: errExists}
		}
		return nil, err
	}
	var number int
	err = s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		if err := tx.QueryRow(`SELECT coalesce(max(number), 0) + 1 FROM mlflow_experiments WHERE tenant = ?`, who.Tenant).Scan(&number); err != nil {
			return err
		}
		if number > maxExperiments {
			return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("there are %d experiments, and no more are kept", number-1), Hint: "use one of them"}
		}
		_, err := tx.Exec(`INSERT INTO mlflow_experiments (tenant, number, name, created) VALUES (?, ?, ?, ?)`, who.Tenant, number, req.Name, s.now())
		return err
	})
	if err != nil {
		return nil, err
	}
	return ofExperiment{text(strconv.Itoa(number))}, nil
}
