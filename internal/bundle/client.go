package bundle

import (
	"context"
	"net/http"
	"time"
)

// ClientConfig is what a client is made of. URL, Store and Use are required.
type ClientConfig struct {
	URL   string       // of the control plane, without /v1/bundle
	HTTP  *http.Client // whose transport proves who asks; http.DefaultClient's if nil. Redirects are not followed
	Store *Store
	// Use is called with every new bundle once it is verified, kept, and all its blobs
	// are in the store. It is called by one goroutine at a time. When it returns an
	// error, the bundle before stays in use, and it is asked again with the same one
	// after a while, or with the next.
	Use func(ctx context.Context, b *Bundle) error
	// Report is told of what went wrong, whenever that changes: errors.Is tells
	// ErrRollback, ErrEquivocation and the others, which are findings. nil: nobody is.
	Report func(error)
	Now    func() time.Time // time.Now if nil
}

// A Client follows a publisher. Its methods may be called at the same time.
type Client struct{}

// NewClient returns a client. The error is of kind Invalid.
func NewClient(cfg ClientConfig) (*Client, error) { panic("to come") }

// Run polls until ctx is done, and returns nil then. It first uses the bundle that the
// store holds, if that is whole.
func (c *Client) Run(ctx context.Context) error { panic("to come") }

// State says how the client stands.
func (c *Client) State() State { panic("to come") }

// A State is how far a client is, and how stale.
type State struct {
	Serial    uint64    `json:"serial"` // in use; 0: none
	Held      uint64    `json:"held"`   // in the store: above Serial when Use refused it
	Issued    time.Time `json:"issued,omitzero"`
	Expires   time.Time `json:"expires,omitzero"`
	Confirmed time.Time `json:"confirmed,omitzero"` // when the control plane last said that there is nothing newer; at least Issued
	Trouble   string    `json:"trouble,omitempty"`  // what is wrong now, for people
}

// Stale returns how long ago the control plane last confirmed what is in use.
func (s State) Stale(now time.Time) time.Duration { return max(now.Sub(s.Confirmed), 0) }
