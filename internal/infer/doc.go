// Package infer runs a model: natively in this process, or on upstream
// servers that speak the Open Inference Protocol v2.
//
// Both take the exchange that the firewall checked, not the bytes that arrived:
// what was checked is what the model gets. An upstream's answer is parsed as
// strictly as a caller's request, because a model server is as foreign as a
// caller. The package owns which models share the connections to a server (package
// upstream has those), and keeps no other state.
package infer
