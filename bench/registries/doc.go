// Package registries has clients of OCI registries that are none of ours push models to an
// installation and pull them, and another registry say what it would have answered. It owns
// nothing: all is in its tests.
package registries
