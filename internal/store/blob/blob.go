// Package blob keeps files and buckets behind one seam: objects that are written
// once, whole, and read back. It quarantines the client of S3-compatible stores.
//
// A directory is for one machine and for tests; it keeps what it is told and
// enforces nothing. A bucket with object lock enforces how long an object stays,
// also against whoever holds our credentials.
package blob

import (
	"context"
	"fmt"
	"io"
	"iter"
	"net/url"
	"strings"
	"time"

	"github.com/pavise/pavise"
)

// A Bucket keeps objects under names of printable ASCII with slashes. It may be
// used from any goroutine.
type Bucket interface {
	// Put writes an object, whole or not at all; it is durable when Put returns. An
	// object of the same name is replaced, or, under a lock, hidden by a newer
	// version.
	Put(ctx context.Context, o Object, content io.Reader) error
	// Get opens an object. The error is of kind NotFound if there is none.
	Get(ctx context.Context, name string) (io.ReadCloser, error)
	// List yields the objects whose names begin with prefix, by name.
	List(ctx context.Context, prefix string) iter.Seq2[Object, error]
	// Place says in words where objects are kept and what keeps them there.
	Place() Place
}

// An Object is what is said of one.
type Object struct {
	Name  string
	Size  int64
	Until time.Time // it must not go before; zero: no matter. Only Put looks at it
}

// A Place is where a bucket is.
type Place struct {
	URL  string // without credentials
	Lock string // what enforces Until: compliance, governance or none
}

// Open returns the bucket at an address: a directory, or
//
//	s3://BUCKET[/PREFIX][?endpoint=HOST:PORT&region=REGION&insecure=true&lock=compliance|governance]
//
// with the credentials of the environment (AWS_ACCESS_KEY_ID and the like).
func Open(ctx context.Context, address string) (Bucket, error) {
	if !strings.Contains(address, "://") {
		return openDir(address)
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.200q is no address of a bucket", address), Hint: hint, Err: err}
	}
	switch u.Scheme {
	case "file":
		return openDir(u.Path)
	case "s3":
		return openS3(ctx, u)
	}
	return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("nothing is known of %.40s:// addresses", u.Scheme), Hint: hint}
}

const hint = "name a directory, or s3://BUCKET/PREFIX?endpoint=HOST"

// noObject is the error of an object that is not there.
func noObject(name string, p Place, err error) error {
	return &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("%s holds no %s", p.URL, name), Err: err}
}

// checkName refuses names that could lead elsewhere.
func checkName(name string) error {
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part == "." || part == ".." || strings.ContainsFunc(part, func(r rune) bool { return r <= ' ' || r > '~' || r == '\\' }) {
			return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.100q is no name of an object", name)}
		}
	}
	return nil
}
