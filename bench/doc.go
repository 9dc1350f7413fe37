// Package bench is the module of measurements: what Pavise costs, beside what
// its peers cost, each by one command of the Makefile.
//
//   - ledger appends the same records to the evidence log, to tessera and to
//     PostgreSQL, and lets tessera's own tools check our log.
//   - growth fills one log up to ten million records, and measures what it costs at
//     each power of ten.
//   - follow measures how far followers are behind at a steady rate.
//   - spiffe lets go-spiffe verify the certificates of the built-in CA.
//   - policy decides the same questions with Pavise, cedar-go and OPA.
//   - identity measures how long it takes to know who calls.
//   - fleet measures how long it takes until a change of policy holds at every gateway.
//   - oracle has the Rust Cedar check Pavise's decisions; it has tests only.
//   - asked spells questions of authorization for these two.
//   - soak keeps what a process took in an hour of load.
//   - gateway puts Pavise and other proxies before one model server, and loads them; its
//     plain is one that does next to nothing, a measure of the machine.
//   - poison plants poisons into training data and screens it.
//   - registry asks the registry of models over HTTP, from many sides.
//   - cdevents holds what tools are told to the schemas of CDEvents; it has tests only.
//   - start builds the binary and waits for it to be ready.
//   - result holds what they share: conditions, tables and RESULTS.md.
//
// It is a module of its own so that peers are no dependencies of the product.
package bench
