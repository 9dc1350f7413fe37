package blob

import (
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"iter"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/pavise/pavise/internal/bucketname"
)

// An s3Source reads a bucket of an S3-compatible store.
type s3Source struct {
	core    minio.Core
	bucket  string
	url     string
	patient patience
}

// newS3Source reads the address of one.
func newS3Source(o bucketname.Address) (Source, error) {
	creds := s3Credentials()
	if o.Anonymous {
		creds = credentials.NewStaticV4("", "", "")
	}
	transport, err := minio.DefaultTransport(!o.Insecure)
	if err != nil {
		return nil, bucketname.Refuse("the certificates of this machine cannot be read")
	}
	// Tries are counted here: the client's own would multiply them.
	core, err := minio.NewCore(cmp.Or(o.Endpoint, usualS3), &minio.Options{Creds: creds, Secure: !o.Insecure, Region: o.Region, MaxRetries: 1, Transport: &listener{transport, patient.stall}})
	if err != nil {
		return nil, bucketname.Refuse("its endpoint leads to no store")
	}
	return &s3Source{*core, o.Bucket, "s3://" + o.Bucket + "/", patient}, nil
}

// Objects is Source's.
func (s *s3Source) Objects(ctx context.Context, prefix string) iter.Seq2[Version, error] {
	return s.list(ctx, minio.ListObjectsOptions{Prefix: prefix, Recursive: true, FetchOwner: new(bool)})
}

// Versions is Historian's.
func (s *s3Source) Versions(ctx context.Context, prefix string) iter.Seq2[Version, error] {
	return s.list(ctx, minio.ListObjectsOptions{Prefix: prefix, Recursive: true, WithVersions: true})
}

// list yields what a list has. Where it broke off it goes on behind the last key that is
// done, and passes over the versions of the next that it has yielded.
func (s *s3Source) list(ctx context.Context, o minio.ListObjectsOptions) iter.Seq2[Version, error] {
	return func(yield func(Version, error) bool) {
		failures, done := 0, false
		key, seen := "", map[string]bool{}
		take := func(v Version) bool {
			failures = 0
			if v.Key != key {
				o.StartAfter, key = key, v.Key
				clear(seen)
			}
			if seen[v.ID] {
				return true
			}
			seen[v.ID] = true
			done = !yield(v, nil)
			return !done
		}
		for {
			err := s.once(ctx, o, take)
			if done || err == nil {
				return
			}
			if _, passes := errors.AsType[*passing](err); passes && failures+1 < s.patient.tries {
				if failures++; s.patient.wait(ctx, failures) {
					continue
				}
				err = stoppedBy(ctx)
			}
			yield(Version{}, err)
			return
		}
	}
}

// once lists from where the options begin.
func (s *s3Source) once(ctx context.Context, o minio.ListObjectsOptions, take func(Version) bool) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	for info := range s.core.Client.ListObjectsIter(ctx, s.bucket, o) {
		if info.Err != nil {
			return s.refused("list it", info.Err)
		}
		v := Version{Key: info.Key, Size: info.Size, ID: named(info.VersionID), ETag: info.ETag, Modified: info.LastModified, Newest: info.IsLatest || !o.WithVersions, Gone: info.IsDeleteMarker}
		if !take(v) {
			return nil
		}
	}
	if ctx.Err() != nil {
		return stoppedBy(ctx)
	}
	return nil
}

// named is the id of a version, or empty where the store keeps none.
func named(id string) string {
	if id == "null" {
		return ""
	}
	return id
}

// Read is Source's.
func (s *s3Source) Read(ctx context.Context, v Version, from int64) (io.ReadCloser, error) {
	o := minio.GetObjectOptions{VersionID: v.ID}
	if v.ETag != "" {
		if err := o.SetMatchETag(v.ETag); err != nil {
			return nil, bucketname.Refuse("a version has no ETag that can be asked for")
		}
	}
	if from > 0 {
		if err := o.SetRange(from, 0); err != nil {
			return nil, bucketname.Refuse("nothing is before the first byte")
		}
	}
	body, info, head, err := s.core.GetObject(ctx, s.bucket, v.Key, o)
	if err != nil {
		return nil, s.refused("read "+v.Key, err)
	}
	if !begins(head, from) || v.ETag != "" && info.ETag != "" && info.ETag != v.ETag {
		body.Close()
		return nil, refusal{store: s.url + v.Key, doing: "go on where it was read to", status: http.StatusPreconditionFailed}.explain()
	}
	return body, nil
}

// begins reports whether an answer begins at a byte: not every store knows ranges.
func begins(head http.Header, from int64) bool {
	said, ranged := strings.CutPrefix(head.Get("Content-Range"), "bytes ")
	if !ranged {
		return from == 0
	}
	first, _, _ := strings.Cut(said, "-")
	n, err := strconv.ParseInt(first, 10, 64)
	return err == nil && n == from
}

// brokeOff reports whether an error is one of the way, and not of what came.
func brokeOff(err error) bool {
	if syntax, ok := errors.AsType[*xml.SyntaxError](err); ok {
		return syntax.Msg == "unexpected EOF"
	}
	_, network := errors.AsType[net.Error](err) // url.Error is one
	return network || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, context.Canceled)
}

// refused is an error of the store's.
func (s *s3Source) refused(doing string, err error) error {
	said := minio.ToErrorResponse(err)
	r := refusal{store: s.url, doing: doing, status: said.StatusCode, code: said.Code, err: err}
	if _, answered := errors.AsType[minio.ErrorResponse](err); !answered {
		r.code = "" // the client made one up
		if !brokeOff(err) {
			r.status, r.code = http.StatusOK, "its answer cannot be read"
		}
	}
	switch said.Code {
	case minio.NoSuchKey, minio.NoSuchBucket, "NoSuchVersion":
		r.status = http.StatusNotFound
	case minio.PreconditionFailed:
		r.status = http.StatusPreconditionFailed
	case minio.AccessDenied, minio.InvalidAccessKeyID, minio.SignatureDoesNotMatch:
		r.status = http.StatusForbidden
	case "SlowDown":
		r.status = http.StatusServiceUnavailable
	}
	return r.explain()
}
