// Package telemetry counts and times what the house does, and tells it to those
// who watch: a page that Prometheus reads, and OpenTelemetry's protocol OTLP.
//
// It has one table of metrics, All, which the page docs/telemetry.md repeats. The
// names are OpenTelemetry's where its semantic conventions have one (HTTP servers,
// GenAI, the Go runtime), and pavise.* elsewhere. Every value of a label comes from
// a closed set that the code or the operator made: a protocol, a kind of error, a
// check, the id of one of the first routes. Nothing that a caller says becomes one,
// nor who they are.
//
// What is counted with the record of an act carries an exemplar: the index of that
// record, and the trace if there is one. So a spike in a graph leads to the evidence,
// which pavise ledger shows and proves.
//
// Counting is a few atomic additions, allocates nothing and waits for nobody: the
// instruments are our own, since those of the libraries allocate for exemplars or
// labels, and both ways out read the same ones. Sending is OpenTelemetry's own.
//
// A nil *Meter, and all that a nil one gives, does nothing.
//
// It owns the instruments, the sampling of traces and the queue before the exporter.
package telemetry
