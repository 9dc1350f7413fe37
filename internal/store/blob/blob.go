// Package blob keeps files and buckets behind one seam: objects that are written
// once, whole, and read back. It quarantines the clients of S3-compatible stores, of Google
// Cloud Storage and of Azure Blob Storage.
//
// A Bucket is where we keep objects of ours, under names that we choose. A Source is where
// others keep theirs, under any key: it is read by version, and on through what breaks.
//
// A directory is for one machine and for tests; it keeps what it is told and
// enforces nothing. A bucket with object lock enforces how long an object stays,
// also against whoever holds our credentials.
package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/pavise/pavise"
)

// A Bucket keeps objects under names of printable ASCII with slashes. It may be
// used from any goroutine.
type Bucket interface {
	// Put writes an object, whole or not at all; it is durable when Put returns. An
	// object of the same name is replaced, or, under a lock, hidden by a newer
	// version. Content that is shorter or longer than the object's size is refused.
	Put(ctx context.Context, o Object, content io.Reader) error
	// Get opens an object. The error is of kind NotFound if there is none.
	Get(ctx context.Context, name string) (io.ReadCloser, error)
	// List yields the objects whose names begin with prefix, by name. What lies there
	// under other names than an object's is passed over.
	List(ctx context.Context, prefix string) iter.Seq2[Object, error]
	// Place says in words where objects are kept and what keeps them there.
	Place() Place
}

// A Holder is a bucket that can keep an object longer than its Put asked for.
type Holder interface {
	// Hold sees to it that an object does not go before then. It never shortens what
	// was asked for before: that is for the store to refuse.
	Hold(ctx context.Context, name string, until time.Time) error
}

// A Remover is a bucket whose objects can be taken away. A lock still holds them, and a bucket
// that keeps versions keeps what was taken away.
type Remover interface {
	// Remove takes an object away. That there is none is no error.
	Remove(ctx context.Context, name string) error
}

// An Object is what is said of one.
type Object struct {
	Name  string
	Size  int64
	Until time.Time // it must not go before; zero, or past: no matter. Only Put looks at it
}

// A Place is where a bucket is.
type Place struct {
	URL  string // without credentials
	Lock string // what enforces Until: compliance, governance or none
}

// Find is Open for who wants to read what is there: it makes no directory. The error
// is of kind NotFound if there is none.
func Find(ctx context.Context, address string) (Bucket, error) {
	b, err := parse(address)
	if err != nil {
		return nil, err
	}
	if err := b.there(ctx); err != nil {
		return nil, err
	}
	return b, nil
}

// Open returns the bucket at an address: a directory, which it makes, or
//
//	s3://BUCKET[/PREFIX][?endpoint=HOST:PORT&region=REGION&insecure=true&lock=compliance|governance]
//
// with the credentials of the environment (AWS_ACCESS_KEY_ID and the like).
func Open(ctx context.Context, address string) (Bucket, error) {
	b, err := parse(address)
	if err != nil {
		return nil, err
	}
	if err := b.reach(ctx); err != nil {
		return nil, err
	}
	return b, nil
}

// A place is a bucket that nobody has looked for yet.
type place interface {
	Bucket
	// reach makes sure that the bucket is there, and enforces what we are told it does.
	reach(ctx context.Context) error
	// there makes sure that it is there to be read, and makes nothing.
	there(ctx context.Context) error
}

// parse reads an address, and looks at nothing else. An address that it refuses may
// hold a password, and so is in no error.
func parse(address string) (place, error) {
	if !strings.Contains(address, "://") {
		return parseDir(address)
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, invalid("it cannot be read")
	}
	switch {
	case u.User != nil:
		return nil, invalid("it has credentials in it, which belong into the environment")
	case u.Fragment != "":
		return nil, invalid("it has a # in it")
	case u.Scheme == "s3":
		return parseS3(u)
	case u.Scheme != "file":
		return nil, invalid(fmt.Sprintf("nothing is known of %.40q addresses", u.Scheme))
	case u.Host != "" || u.RawQuery != "":
		return nil, invalid("a file address has three slashes and then the path, and nothing else")
	}
	return parseDir(u.Path)
}

func parseDir(path string) (place, error) {
	if path == "" || strings.ContainsRune(path, 0) {
		return nil, invalid("it names no directory")
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("find the directory: %w", err)
	}
	return dir{abs}, nil
}

// invalid refuses an address.
func invalid(why string) error {
	return &pavise.Error{Kind: pavise.Invalid, Msg: "this is no address of a bucket: " + why, Hint: "name a directory, or s3://BUCKET[/PREFIX][?endpoint=HOST:PORT&region=REGION&insecure=true&lock=compliance|governance]"}
}

// noObject is the error of an object that is not there.
func noObject(name string, p Place, err error) error {
	return &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("%s holds no %s", p.URL, name), Err: err}
}

// partial begins the names of what is no object in a directory: unfinished is where files
// lie that are not whole yet, and abandoned is how old one is that nobody writes any more.
const (
	partial    = ".part-"
	unfinished = partial + "new"
	abandoned  = time.Hour
)

// checkName refuses names that could lead elsewhere.
func checkName(name string) error {
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part == "." || part == ".." || strings.HasPrefix(part, partial) || len(part) > 255 || len(name) > 900 ||
			strings.ContainsFunc(part, func(r rune) bool { return r <= ' ' || r > '~' || r == '\\' }) {
			return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.100q is no name of an object", name)}
		}
	}
	return nil
}

// An exact reader reads just as many bytes as were announced, and fails before the
// last of them if there are fewer, or more.
type exact struct {
	ctx  context.Context
	from io.Reader
	left int64
}

func (r *exact) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	if r.left == 0 {
		return 0, r.atEnd()
	}
	n, err := r.from.Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(n)
	switch {
	case err == io.EOF && r.left > 0:
		return n, fmt.Errorf("the content ends %d bytes early", r.left)
	case r.left == 0 && (err == nil || err == io.EOF):
		if err := r.atEnd(); err != io.EOF {
			return 0, err
		}
		return n, nil
	}
	return n, err
}

// atEnd returns io.EOF if nothing follows.
func (r *exact) atEnd() error {
	_, err := io.ReadFull(r.from, make([]byte, 1))
	if err == nil {
		return errors.New("the content is longer than announced")
	}
	return err
}
