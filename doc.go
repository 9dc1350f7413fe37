// Package pavise is the vocabulary of the shield between an organisation's AI
// models and everything that touches them, and the tour of the house.
//
// One sentence holds the whole: a caller, known by proof, asks to do a verb on
// a named thing; the guard decides and writes it down; rooms do the work;
// everything else reads what was written.
//
// # The vocabulary
//
// Every thing has a [Name], tenant/kind/id. Every caller is a [Principal],
// known by proof. Every check a request passes leaves a [Verdict]; what a
// person should look at is a [Finding]; what went wrong is an [Error] of one of
// eight kinds. This package owns those words and nothing else: it does no I/O,
// keeps no state and imports nothing of ours, so that every room may import it.
//
// # The tour, from the ground up
//
// Rooms live under internal, on the floors that docs/house.md draws; a package
// imports only from lower floors, and house_test.go fails the build otherwise.
//
//   - onnx reads, runs and writes models as ONNX; learn fits small ones.
//   - seal turns keys into envelopes; one suite, no choices.
//   - proof is what proves a record to somebody elsewhere: checkpoints,
//     cosignatures, witness policies, proof files. It is pure.
//   - record is what one entry of the evidence log says.
//   - disk is how such a log lies on a disk: segments, frames, indexes.
//   - config reads pavise.yaml, strictly.
//   - policy says what policies decide: the schema that they speak, the roles and
//     guardrails that are compiled in, and an index that decides as the full scan
//     does. It has no clock, no disk and no records.
//   - firewall holds the checks that a request and its answer pass, and the
//     strict codec of the protocols they arrive in. It is pure: no clock, no
//     disk, no network.
//   - extraction is attacks that copy a model query by query; redteam runs them on
//     models of our own.
//   - store is the SQL underneath what changes at run time.
//   - upstream is the connections to model servers: which one is asked, how much,
//     how long, and what is tried again.
//   - infer runs a model: natively, or on upstream servers.
//   - bundle carries what a control plane tells its gateways: signed, numbered, kept.
//   - identity turns a token, a proof of possession or a certificate into a Principal.
//     It gives nothing out.
//   - ledger is the evidence log: append, prove, search, prune.
//   - audit proves a log's directory, or one proof file, offline. It believes
//     nothing that the log's writer believes.
//   - guard is the door. Enter asks whether a principal may do a verb on a
//     name, and records the question with its answer; Exit records how it ended. It
//     keeps tenants' policies and grants.
//   - feed is who follows the log, and how far each has got; witness cosigns
//     other logs and has ours cosigned; subject keeps the keys of the people that
//     records are about, and shreds them; archive is where old segments go, and
//     how they come back.
//   - registry is the models that are known: their versions, how far each has come, and
//     what vouches for it.
//   - change is the road for acts with consequences: proposed, approved by
//     others, run once.
//   - gateway is the data plane: protocol in, firewall, model, firewall out.
//   - siem tells findings to the machines that people watch: a file, signed webhooks.
//   - issuer gives out short-lived tokens and certificates, and takes them back; login
//     gets a person's token from their organisation.
//   - api serves a table of verbs: one row yields the HTTP endpoint, the client
//     call, the command and the Cedar action. verbs is that table; evidence has its
//     rows on what was written down.
//   - demo plays an hour of a model's life against it, from outside.
//   - console shows it in a browser, and can do nothing the API cannot.
//   - fleet makes machines one: memberships, what gateways are told, what machines
//     say of themselves, who is a witness of whose log.
//   - premises is what every role with a log stands on; role wires the rooms into the
//     processes that Pavise runs as; cmd/pavise is what is typed and printed. Nobody
//     imports it.
//
// docs/walks.md follows a request, a change and a witness through them.
package pavise
