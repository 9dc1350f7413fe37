package blob

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/bucketname"
)

// A Source is a bucket in which others keep objects, read as they stand: under any key, and
// each in one version. It may be used from any goroutine. What a store answers to trouble
// that passes (throttling, a connection that breaks) is tried again before it is an error.
type Source interface {
	// Objects yields the newest version of each object whose key begins with prefix. What was
	// deleted, and what was not uploaded to its end, is none.
	Objects(ctx context.Context, prefix string) iter.Seq2[Version, error]
	// Read opens this very version from a byte on, or whatever is there of a version that has
	// neither an ID nor an ETag. The error is of kind Conflict when the object has another content
	// meanwhile, and NotFound when it is gone. The content may break off: see NewContent.
	Read(ctx context.Context, v Version, from int64) (io.ReadCloser, error)
}

// A Historian is a Source that tells what objects were before, where the store keeps it.
type Historian interface {
	// Versions yields all versions of the objects whose keys begin with prefix, those that hide
	// or end an object among them; of one key they come together.
	Versions(ctx context.Context, prefix string) iter.Seq2[Version, error]
}

// A Version is one content of an object, or that there is none any more.
type Version struct {
	Key      string // as the store has it: any bytes
	Size     int64
	ID       string    // what the store calls the version; empty: it keeps none, or did not say
	ETag     string    // changes with the content: a hint, and no digest
	Modified time.Time // when it was put there, as the store has it
	Newest   bool      // it is what a reader without a version gets
	Gone     bool      // it has no content: it says that the object was deleted
}

// An At is where an address leads.
type At struct {
	URL string // of the bucket, without options and credentials, with a slash at its end
	Key string // an object in it, or what keys begin with; may be empty
}

// IsAddress reports whether a text is the address of a bucket and not the name of a file.
func IsAddress(text string) bool { return bucketname.Is(text) }

// Look returns the source at an address (bucketname.Address), without asking whether it is there,
// with the credentials of the environment: AWS_ACCESS_KEY_ID and the like; Google's
// application default credentials; AZURE_STORAGE_KEY, AZURE_STORAGE_SAS_TOKEN, or Azure's
// default credential. Errors are of kind Invalid, and Denied where there are no credentials.
func Look(ctx context.Context, address string) (Source, At, error) {
	a, err := bucketname.Parse(address)
	if err != nil {
		return nil, At{}, err
	}
	var s Source
	switch a.Scheme {
	case "s3":
		s, err = newS3Source(a)
	case "gs":
		s, err = newGCS(ctx, a)
	default:
		s, err = newAzure(a)
	}
	if err != nil {
		return nil, At{}, err
	}
	return s, At{URL: a.Scheme + "://" + a.Bucket + "/", Key: a.Key}, nil
}

// A refusal is what a store said no with, as all stores say it.
type refusal struct {
	store  string // its URL
	doing  string // what was asked of it, in words
	status int    // of HTTP; 0: there was no answer
	code   string // what the store calls it; may be empty
	err    error
}

// explain dresses it for people.
func (r refusal) explain() error {
	e := &pavise.Error{Kind: pavise.Unavailable, Err: r.err}
	said := cmp.Or(r.code, "no answer")
	if r.code == "" && r.status != 0 {
		said = fmt.Sprintf("status %d", r.status)
	}
	switch {
	case r.status == 404:
		e.Kind, e.Msg, e.Hint = pavise.NotFound, fmt.Sprintf("%s has nothing to %s: %s", r.store, r.doing, said), "check the names of the bucket and of what is in it"
	case r.status == 401 || r.status == 403:
		e.Kind, e.Msg, e.Hint = pavise.Denied, fmt.Sprintf("%s refuses to %s: %s", r.store, r.doing, said), "check the credentials in the environment, and what they may do"
	case r.status == 412 || r.status == 416:
		e.Kind, e.Msg, e.Hint = pavise.Conflict, fmt.Sprintf("%s has another content than it had, and does not %s", r.store, r.doing), "look again when nobody writes there"
	default:
		e.Msg, e.Hint = fmt.Sprintf("%s does not %s: %s", r.store, r.doing, said), "try again later"
		if r.status == 0 || r.status == 408 || r.status == 429 || r.status >= 500 {
			e.Err = &passing{r.err}
		}
	}
	return e
}
