// Package infer runs a model: natively in this process, or on an upstream
// server that speaks the Open Inference Protocol v2.
//
// Both take the exchange that the firewall checked, not the bytes that arrived:
// what was checked is what the model gets. An upstream's answer is parsed as
// strictly as a caller's request, because a model server is as foreign as a
// caller. The package owns the connections to upstreams and keeps no other state.
package infer
