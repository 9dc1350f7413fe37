package bundle

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"time"
)

// A Section says what stands in one section now: its JSON, and the blobs that it
// names, digest to size. The JSON must be the same bytes for as long as it says the
// same, or every look at it makes a new bundle.
type Section func(ctx context.Context) (contents json.RawMessage, blobs map[string]int64, err error)

// PublisherConfig is what a publisher is made of. Origin, Dir, Signer and Sections are
// required.
type PublisherConfig struct {
	Origin   string
	Dir      string // where the newest bundle is kept, 0700
	Signer   *Signer
	Sections map[string]Section
	// Blob opens a blob that a section named. nil: there are none.
	Blob     func(ctx context.Context, digest string) (io.ReadCloser, error)
	Lifetime time.Duration    // how long a bundle is fresh, 1 minute to 30 days; 24 h if 0
	After    uint64           // no serial up to this one is used: for a control plane that was restored
	Formats  []Format         // Formats() if nil
	Now      func() time.Time // time.Now if nil
	Trouble  func(error)      // told why Run could not publish; nil: nobody is
}

// A Publisher assembles, numbers, signs, keeps and serves bundles. It is safe for
// concurrent use.
type Publisher struct{}

// OpenPublisher opens the publisher whose newest bundle lies in the directory. It
// serves that one until Publish has made another. The error is of kind Conflict when
// the directory has a key and no bundle: numbers that were used already might be used
// again, unless After says where to go on.
func OpenPublisher(cfg PublisherConfig) (*Publisher, error) { panic("to come") }

// Publish asks every section, and makes a new bundle when anything of it changed, when
// the list of keys did, or when half of the lifetime of the last one is over. It
// returns the serial that is served now. When a section fails, the last bundle stays.
func (p *Publisher) Publish(ctx context.Context) (serial uint64, err error) { panic("to come") }

// Nudge has Run publish at once. It never blocks; nudges that come together are one.
func (p *Publisher) Nudge() {}

// Run publishes at every nudge, and every few seconds for what nobody nudged about,
// until ctx is done.
func (p *Publisher) Run(ctx context.Context) error { panic("to come") }

// Trust returns where a reader begins who enrols now.
func (p *Publisher) Trust() Trust { panic("to come") }

// Serial returns the serial that is served now; 0: none yet.
func (p *Publisher) Serial() uint64 { panic("to come") }

// Rotate makes a new key, with which the next bundles are signed, too. The keys before
// stay active until Revoke. Publish follows.
func (p *Publisher) Rotate(ctx context.Context) (Key, error) { panic("to come") }

// Revoke has every reader refuse what that key alone has signed. The last active key
// cannot be revoked. Publish follows.
func (p *Publisher) Revoke(ctx context.Context, key Key) error { panic("to come") }

// Handler serves GET /v1/bundle?after=SERIAL, which waits up to 25 seconds for a bundle
// above that serial and answers 204 when there is none, and GET
// /v1/bundle/blob/sha256:HEX for the blobs of the last bundles. Whoever mounts it sees
// to who may ask.
func (p *Publisher) Handler() http.Handler { panic("to come") }
