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

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/s3utils"

	"github.com/pavise/pavise"
)

// A bucket is one of an S3-compatible store.
type bucket struct {
	client *minio.Client
	name   string
	prefix string // "" or with a slash at its end
	place  Place
	lock   minio.RetentionMode // "" for none
}

// locks are the retention modes by what an address calls them.
var locks = map[string]minio.RetentionMode{"": "", "compliance": minio.Compliance, "governance": minio.Governance}

// parseS3 reads the address of a bucket.
func parseS3(u *url.URL) (place, error) {
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, invalid("its options cannot be read")
	}
	for key, values := range q {
		if !slices.Contains([]string{"endpoint", "region", "insecure", "lock"}, key) || len(values) != 1 {
			return nil, invalid(fmt.Sprintf("%.40q is no option of a bucket, or stands there twice", key))
		}
	}
	lock, known := locks[q.Get("lock")]
	insecure, err := strconv.ParseBool(cmp.Or(q.Get("insecure"), "false"))
	b := bucket{name: u.Host, lock: lock, prefix: strings.Trim(u.Path, "/")}
	switch {
	case !known:
		return nil, invalid("there is no such lock")
	case err != nil:
		return nil, invalid("insecure is true or false")
	case s3utils.CheckValidBucketNameStrict(b.name) != nil:
		return nil, invalid("it names no bucket")
	case b.prefix != "" && checkName(b.prefix) != nil:
		return nil, invalid("its prefix is none")
	}
	if b.prefix != "" {
		b.prefix += "/"
	}
	b.place = Place{URL: "s3://" + b.name + "/" + b.prefix, Lock: cmp.Or(strings.ToLower(string(lock)), "none")}
	b.client, err = minio.New(cmp.Or(q.Get("endpoint"), usualS3), &minio.Options{Creds: s3Credentials(), Secure: !insecure, Region: q.Get("region")})
	if err != nil {
		return nil, invalid("its endpoint leads to no store")
	}
	return b, nil
}

// usualS3 is where buckets are whose address says nothing else.
const usualS3 = "s3.amazonaws.com"

// s3Credentials are those of the environment, of the files that Amazon's tools write, or of
// the machine.
func s3Credentials() *credentials.Credentials {
	return credentials.NewChainCredentials([]credentials.Provider{
		&credentials.EnvAWS{}, &credentials.EnvMinio{}, &credentials.FileAWSCredentials{}, &credentials.IAM{},
	})
}

// there is reach: nobody makes a bucket.
func (b bucket) there(ctx context.Context) error { return b.reach(ctx) }

// reach makes sure that the bucket is there, and enforces what we are told it does.
func (b bucket) reach(ctx context.Context) error {
	there, err := b.client.BucketExists(ctx, b.name)
	if err != nil {
		return b.explain("look for the bucket", "", err)
	}
	if !there {
		return &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("there is no bucket %s", b.name), Hint: "make it first; for lock=… with object lock, which can only be turned on then"}
	}
	if b.lock == "" {
		return nil
	}
	enabled, _, _, _, err := b.client.GetObjectLockConfig(ctx, b.name)
	if err != nil || enabled != "Enabled" {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("bucket %s has no object lock, and lock=%s asks for it", b.name, b.place.Lock), Hint: "make the bucket with object lock, or leave lock out: then nothing keeps objects from being deleted", Err: err}
	}
	return nil
}

// Place is Bucket's.
func (b bucket) Place() Place { return b.place }

// Put is Bucket's.
func (b bucket) Put(ctx context.Context, o Object, content io.Reader) error {
	if err := checkName(o.Name); err != nil {
		return err
	}
	opts := minio.PutObjectOptions{ContentType: "application/octet-stream", SendContentMd5: true}
	if b.lock != "" && time.Until(o.Until) > 0 { // a store refuses a lock until yesterday
		opts.Mode, opts.RetainUntilDate = b.lock, whole(o.Until)
	}
	info, err := b.client.PutObject(ctx, b.name, b.prefix+o.Name, &exact{ctx, content, o.Size}, o.Size, opts)
	if err != nil {
		return b.explain("write", o.Name, err)
	}
	if info.Size != o.Size {
		return &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("%s kept %d bytes of %s, and %d were sent", b.place.URL, info.Size, o.Name, o.Size), Hint: "try again"}
	}
	return nil
}

// whole returns the first whole second that is not before a time: stores know no
// others, and would keep an object too short.
func whole(t time.Time) time.Time { return t.Add(time.Second - 1).UTC().Truncate(time.Second) }

// Hold is Holder's.
func (b bucket) Hold(ctx context.Context, name string, until time.Time) error {
	if err := checkName(name); err != nil {
		return err
	}
	if b.lock == "" || time.Until(until) <= 0 {
		return nil
	}
	err := b.client.PutObjectRetention(ctx, b.name, b.prefix+name, minio.PutObjectRetentionOptions{Mode: &b.lock, RetainUntilDate: new(whole(until))})
	if err != nil {
		return b.explain("hold", name, err)
	}
	return nil
}

// Remove is Remover's.
func (b bucket) Remove(ctx context.Context, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if err := b.client.RemoveObject(ctx, b.name, b.prefix+name, minio.RemoveObjectOptions{}); err != nil {
		return b.explain("remove", name, err)
	}
	return nil
}

// Get is Bucket's.
func (b bucket) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	o, err := b.client.GetObject(ctx, b.name, b.prefix+name, minio.GetObjectOptions{})
	if err == nil {
		_, err = o.Stat() // an error of the store's comes with the first read only
	}
	if err != nil {
		return nil, b.explain("read", name, err)
	}
	return content{o, b, name}, nil
}

// A content is what is read of an object. Its errors are those of the bucket.
type content struct {
	*minio.Object
	bucket bucket
	name   string
}

func (c content) Read(p []byte) (int, error) {
	n, err := c.Object.Read(p)
	if err != nil && err != io.EOF {
		err = c.bucket.explain("read", c.name, err)
	}
	return n, err
}

// List is Bucket's.
func (b bucket) List(ctx context.Context, prefix string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		for info := range b.client.ListObjectsIter(ctx, b.name, minio.ListObjectsOptions{Prefix: b.prefix + prefix, Recursive: true}) {
			if info.Err != nil {
				yield(Object{}, b.explain("list", prefix, info.Err))
				return
			}
			name := strings.TrimPrefix(info.Key, b.prefix)
			if checkName(name) == nil && !yield(Object{Name: name, Size: info.Size}, nil) {
				return
			}
		}
	}
}

// explain dresses an error of the store for people.
func (b bucket) explain(doing, name string, err error) error {
	code := minio.ToErrorResponse(err).Code
	switch code {
	case minio.NoSuchKey:
		return noObject(name, b.place, err)
	case minio.AccessDenied, minio.InvalidAccessKeyID, minio.SignatureDoesNotMatch:
		return &pavise.Error{Kind: pavise.Denied, Msg: fmt.Sprintf("%s refuses to %s %s", b.place.URL, doing, name), Hint: "check the credentials in the environment, and what they may do", Err: err}
	}
	return &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("%s cannot %s %s: %s", b.place.URL, doing, name, cmp.Or(code, "no answer")), Hint: "it is tried again by itself", Err: err}
}
