// Package tracked is what MLflow's clients say while they train: runs with their params, tags and
// metrics, logged models, and what searches find of them. It keeps and reads, within bounds;
// who may say or see something the room above asks, and the names in its JSON are MLflow's.
//
// It owns how runs, logged models and the values of metrics are spelled and what bounds them.
// Their tables are made by package mlflow, of whose migrations they have been part from the
// beginning.
package tracked
