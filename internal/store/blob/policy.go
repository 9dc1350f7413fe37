package blob

import (
	"context"

	"github.com/minio/minio-go/v7"

	"github.com/pavise/pavise/internal/plainjson"
)

// A Termed is a Source that tells who may do what with its bucket.
type Termed interface {
	// Policy returns what the store has written down of that, in one spelling; empty: it has
	// nothing. The error is of kind Denied where that is not for us to see.
	Policy(ctx context.Context) (string, error)
}

// Policy is Termed's: the bucket's policy. What users, lists of access and organisations add to
// it a bucket does not tell.
func (s *s3Source) Policy(ctx context.Context) (string, error) {
	text, err := s.core.GetBucketPolicy(ctx, s.bucket)
	switch code := minio.ToErrorResponse(err).Code; {
	case err != nil && (code == minio.NoSuchBucketPolicy || code == minio.NotImplemented || code == minio.MethodNotAllowed):
		return "", nil // it has none, or the store knows none
	case err != nil:
		return "", s.refused("show its policy", err)
	}
	if one, err := plainjson.Canonical([]byte(text)); err == nil {
		return string(one), nil
	}
	return text, nil
}
