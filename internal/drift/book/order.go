package book

import (
	"crypto/hmac"
	"fmt"

	"github.com/pavise/pavise"
)

// An Order has a baseline be learnt from traffic.
type Order struct {
	Rows  int    `json:"rows"`
	Anew  bool   `json:"anew,omitempty"`
	Proof []byte `json:"proof"` // that others approved it: see In
}

// In is an order for a model while a book with a digest is in force, as it is kept; mac is under a
// key of the house's. Nobody who writes to the store makes one, or puts one back that was learnt
// from: then a later book is in force.
func (o *Order) In(mac func(text string) []byte, model pavise.Name, digest string) *Order {
	if o == nil {
		return nil
	}
	return &Order{o.Rows, o.Anew, mac(fmt.Sprintf("order of a drift baseline\n%s\n%d %t\n%s", model, o.Rows, o.Anew, digest))}
}

// Proven reports whether an order is as In made it; no order is.
func (o *Order) Proven(mac func(text string) []byte, model pavise.Name, digest string) bool {
	return o == nil || hmac.Equal(o.Proof, o.In(mac, model, digest).Proof)
}
