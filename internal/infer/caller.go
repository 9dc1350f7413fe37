package infer

import "context"

type callerKey struct{}

// WithCaller returns a context whose calls go, on servers with the balance
// [upstream.Hash], to those that other calls of the same caller go to. The server is not
// told the name.
func WithCaller(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, callerKey{}, name)
}

// callerOf is what WithCaller said, or "".
func callerOf(ctx context.Context) string {
	name, _ := ctx.Value(callerKey{}).(string)
	return name
}
