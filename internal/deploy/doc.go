// Package deploy is where a model runs, and the way back. It brings one version of the
// registry to many targets, a share of the calls first if somebody says so, looks again
// and again whether what runs there is what was approved, and takes it back.
//
// It owns the targets, what is to run on each, and what was last seen there. What a target
// is, is behind a [Target]: the gateway's own routes, functions in the manner of AWS Lambda,
// machines at the edge. What a version is, the registry knows ([Versions]).
//
// # What is wanted, and what is
//
// An act writes down what is to run where, in one transaction with the mark of its change,
// and no more. [Deployments.Run] then makes it so: it looks at each target, compares by
// digest, and does what is missing, gateways before everything else, and each target again
// and again, ever more seldom, until it is so. A process that is killed halfway, a target
// that is down and a gateway that cannot be reached are all the same case: what is wanted
// stands in the store, and deploy show says which targets do not have it yet.
//
// Every act gives its deployment a higher revision. What is done to a target is done under
// a lock, for the revision that is wanted then, so that a slow step never undoes a faster
// one behind it. Another controller, of another installation, is told from this one by what
// a target remembers of who steers it.
//
// # The way back
//
// A rollback is in the safe direction: it runs first, on gateways before it answers. It
// goes to the newest version before that the registry does not bar. What the house does by
// itself it does once in half an hour for a deployment: after that it pages somebody.
//
// # What runs and was not approved
//
// A digest that no approved act brought to a target is a critical finding, and what was
// approved is put back. A version that is quarantined is rolled back wherever it runs. A
// version of which nobody can say what it was trained on is a finding.
package deploy
