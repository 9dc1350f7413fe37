// Package edge is the doors of the data plane: it turns what a transport brings
// into a call of package gateway, and the answer or the refusal back into the
// protocol's own words.
//
// It owns which paths exist: whatever a protocol's table does not name is refused.
// Nothing is passed through. It decides nothing else; who may what, what a request
// may hold and what an answer may tell is the gateway's to say.
package edge
