// Package mlflow speaks MLflow's REST API of the model registry, and as much of the APIs of
// tracking and artifacts as mlflow.register_model needs, over the registry of the
// installation and the depot: clients of MLflow go on as they are.
//
// It translates. A registered model is a model of package registry, a version a version; a
// stage is how far a version is in its life, and an alias an alias. What the registry does as
// a change that others approve is proposed here, and answered with PERMISSION_DENIED and where
// the change is looked at; asked again once it was approved, the same call succeeds.
//
// A version is PENDING_REGISTRATION until its files are here, hashed, and looked at, and, where
// its model asks for it, signed. docs/models.md says what differs from MLflow's own server.
//
// # What it owns
//
// The tables of experiments, of runs and logged models, of the values of their metrics, and of
// their artifacts, whose contents are in the depot; of how a version came by its files; of what clients deleted, which the registry
// keeps; and of the changes that it proposed.
package mlflow
