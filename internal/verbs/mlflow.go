package verbs

import (
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/mlflow"
	"github.com/pavise/pavise/internal/registry"
)

// mlflowVerbs are no commands: clients of MLflow call them as they call its server.
func mlflowVerbs() []api.Verb {
	onRun, onModel := []string{mlflow.KindRun}, []string{registry.Kind}
	return []api.Verb{
		{
			Name: mlflow.VerbLog, On: onRun,
			Help:  "Log a run, and put its artifacts",
			About: "At /api/2.0/mlflow/runs and /api/2.0/mlflow-artifacts, where clients of MLflow send to: make a run, say something of it, put artifacts and take them away. Whoever made a run logs to it.",
		},
		{
			Name: mlflow.VerbShow, On: onRun, Class: guard.Pooled,
			Help:  "Read a run and its artifacts",
			About: "At /api/2.0/mlflow/runs/get and /api/2.0/mlflow-artifacts, as clients of MLflow do.",
		},
		{
			Name: mlflow.VerbPull, On: onModel, Class: guard.Pooled,
			Help:  "Get the files of a published version of a model",
			About: "As clients of MLflow get models:/NAME/VERSION. Nobody gets those of a version that is not ready, or in quarantine.",
		},
		{
			Name: mlflow.VerbInspect, On: onModel, Class: guard.Pooled,
			Help:  "Get the files of a version of a model that is not published",
			About: "For those who made it and those who review it.",
		},
	}
}
