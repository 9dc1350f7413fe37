// Package extproc lets Pavise work inside a proxy that has callers and models
// already: Envoy, Istio, agentgateway. It speaks two of Envoy's protocols.
//
// In envoy.service.ext_proc.v3 the proxy shows every part of a request and of its
// answer, and does what it is told with it. An exchange goes the way that it would go
// at our own door: the very handler of package edge serves it, on a request that is
// made of what the proxy shows. Where the pipeline would ask the model server, the
// proxy does (infer.Relay), with the bytes that we encoded; what the handler answers
// is what the caller gets. So a proxied exchange passes every check that a direct one
// passes, and there is nothing here that could forget one.
//
// In envoy.service.auth.v3 the proxy shows the request alone. Then nobody looks at the
// answer, and a route whose answers are to be shaped refuses to be asked that way.
//
// # Fail closed
//
// An Envoy whose processor ends a stream without an error goes on alone. So a stream
// that has not come to its end is ended with an error, always, and what cannot be
// inspected is refused: a body that comes in parts where it should be whole, a mode
// that nobody told us of, trailers where no body may follow them, a field that this
// build does not know.
//
// It owns the open exchanges: their number, their time, and what of their bodies is in
// memory. It quarantines gRPC and Envoy's generated messages.
package extproc
