package blob

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"iter"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pavise/pavise"
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
func IsAddress(text string) bool {
	for _, scheme := range []string{"s3://", "gs://", "az://"} {
		if strings.HasPrefix(text, scheme) {
			return true
		}
	}
	return false
}

// Look returns the source at an address, without asking whether it is there:
//
//	s3://BUCKET[/KEY][?endpoint=HOST:PORT&region=REGION&insecure=true&anonymous=true]
//	gs://BUCKET[/KEY][?endpoint=HOST:PORT&insecure=true&anonymous=true]
//	az://CONTAINER[/KEY][?account=ACCOUNT&endpoint=HOST:PORT&insecure=true&anonymous=true]
//
// with the credentials of the environment: AWS_ACCESS_KEY_ID and the like; Google's
// application default credentials; AZURE_STORAGE_KEY, AZURE_STORAGE_SAS_TOKEN, or Azure's
// default credential. Errors are of kind Invalid, and Denied where there are no credentials.
func Look(ctx context.Context, address string) (Source, At, error) {
	u, err := url.Parse(address)
	if err != nil || !IsAddress(address) {
		return nil, At{}, noSource("it cannot be read")
	}
	switch {
	case u.User != nil:
		return nil, At{}, noSource("it has credentials in it, which belong into the environment")
	case u.Fragment != "" || strings.HasSuffix(address, "#"):
		return nil, At{}, noSource("it has a # in it; write it as %23")
	case u.Host == "" || u.Port() != "" || strings.ContainsAny(u.Host, ":%"):
		return nil, At{}, noSource("it names no bucket")
	}
	at := At{URL: u.Scheme + "://" + u.Host + "/", Key: strings.TrimPrefix(u.Path, "/")}
	var s Source
	switch u.Scheme {
	case "s3":
		s, err = newS3Source(u)
	case "gs":
		s, err = newGCS(ctx, u)
	default:
		s, err = newAzure(u)
	}
	if err != nil {
		return nil, At{}, err
	}
	return s, at, nil
}

// noSource refuses an address, of which nothing is repeated: it may hold a password.
func noSource(why string) error {
	return &pavise.Error{Kind: pavise.Invalid, Msg: "this is no address of a bucket: " + why, Hint: "name s3://BUCKET[/KEY], gs://BUCKET[/KEY] or az://CONTAINER[/KEY], with ?endpoint=HOST:PORT for a store of your own"}
}

// options are what stands behind the question mark of an address.
type options struct {
	endpoint, region, account string
	insecure, anonymous       bool
}

// readOptions reads those that are known.
func readOptions(u *url.URL, known ...string) (o options, err error) {
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return o, noSource("its options cannot be read")
	}
	for key, values := range q {
		if !slices.Contains(known, key) || len(values) != 1 {
			return o, noSource(fmt.Sprintf("%.40q is no option of a bucket, or stands there twice", key))
		}
	}
	o = options{endpoint: q.Get("endpoint"), region: q.Get("region"), account: q.Get("account")}
	for key, to := range map[string]*bool{"insecure": &o.insecure, "anonymous": &o.anonymous} {
		if *to, err = strconv.ParseBool(cmp.Or(q.Get(key), "false")); err != nil {
			return o, noSource(key + " is true or false")
		}
	}
	if strings.ContainsAny(o.endpoint, "/@?#\\ ") {
		return o, noSource("its endpoint leads to no store")
	}
	return o, nil
}

// base is the URL of the store: of the endpoint, or the usual one.
func (o options) base(usual string) string {
	scheme := "https://"
	if o.insecure {
		scheme = "http://"
	}
	return scheme + cmp.Or(o.endpoint, usual)
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
