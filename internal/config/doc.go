// Package config reads pavise.yaml: one file, and in it one documented struct for
// each role that the machine runs. It is decoded strictly and checked whole before
// anything starts: an unknown key, a key that stands twice, a value of another
// type, an alias or a tag is a fault, and every fault is told at once, with its
// line, its field and what to do.
//
// A file of cases for pavise policy test is read in the same way.
//
// It owns the shape of these files and nothing that they speak of: it opens no
// file that is named there, and no port. What changes while Pavise runs (policies,
// routes, budgets, who may do what) is not configuration; it is changed by verbs.
// The one exception is bootstrap, which seeds an empty store.
package config
