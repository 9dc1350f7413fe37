package bundle

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/pavise/pavise"
)

// blobFile returns the name of a blob's file. The digest is checked.
func blobFile(digest string) string { return strings.TrimPrefix(digest, "sha256:") }

// Blob returns the content of a blob that is kept, hashed again. The error is of kind
// NotFound when it is not there, and Unverified when it was edited.
func (s *Store) Blob(digest string) ([]byte, error) {
	if !isDigest(digest) {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.80q is no digest of a blob", digest), Hint: "it is sha256: and 64 lower-case hex digits"}
	}
	b, err := s.blobs.read(blobFile(digest), MaxBlob)
	if isMissing(err) {
		return nil, &pavise.Error{Kind: pavise.NotFound, Msg: "the blob " + digest + " is not here yet", Hint: "the client fetches it; it says what keeps it", Err: err}
	}
	if err != nil {
		return nil, err
	}
	if digestOf(b) != digest {
		return nil, badFile(s.blobs.file(blobFile(digest)), "is not what its name says", "remove it: it is fetched again")
	}
	return b, nil
}

// missing returns the blobs of a bundle that are not kept, in no order. What was edited
// is missing, too, and its file is removed. Each is read once, at start; later it is
// known to be there.
func (s *Store) missing(b *Bundle) (digests []string) {
	for digest, size := range b.Blobs {
		info, err := os.Lstat(s.blobs.file(blobFile(digest)))
		if err == nil && info.Mode().IsRegular() && info.Size() == size && s.verified(digest) {
			continue
		}
		digests = append(digests, digest)
	}
	return digests
}

// verified reports whether a blob has the content that its digest says, as of when this
// process looked first.
func (s *Store) verified(digest string) bool {
	s.mu.Lock()
	known := s.whole[digest]
	s.mu.Unlock()
	if known {
		return true
	}
	if _, err := s.Blob(digest); err != nil {
		return false
	}
	s.sound(digest)
	return true
}

// sound notes that a blob is whole.
func (s *Store) sound(digest string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.whole[digest] = true
}

// putBlob keeps a blob. It reads size bytes and the end behind them, hashes while it
// writes, and keeps nothing that is not what the digest says.
func (s *Store) putBlob(digest string, size int64, from io.Reader) error {
	hash := sha256.New()
	source := &sourceReader{from: io.LimitReader(from, size+1)}
	var n int64
	temp, err := s.blobs.write(blobFile(digest), func(w io.Writer) (err error) {
		n, err = io.Copy(io.MultiWriter(w, hash), source)
		return err
	})
	if source.err != nil {
		return refuse(pavise.Unavailable, source.err, "it is tried again", "the blob %s broke off after %d of %d bytes", digest, n, size)
	}
	if err != nil {
		return err
	}
	if got := fmt.Sprintf("sha256:%x", hash.Sum(nil)); n != size || got != digest {
		err := refuse(pavise.Unverified, ErrForged, "somebody changed it on its way, or where it is kept",
			"the blob %s of %d bytes came as other content", digest, size)
		return errors.Join(err, os.Remove(s.blobs.file(temp)))
	}
	if err := s.blobs.rename(temp, blobFile(digest)); err != nil {
		return err
	}
	s.sound(digest)
	return nil
}

// A sourceReader remembers that its source failed, which io.Copy does not tell from a
// disk that did.
type sourceReader struct {
	from io.Reader
	err  error
}

// Read reads from the source.
func (r *sourceReader) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

// sweep removes the blobs that none of the bundles names.
func (s *Store) sweep(bundles ...*Bundle) error {
	entries, err := os.ReadDir(s.blobs.path)
	if err != nil {
		return diskFault(s.blobs.path, err)
	}
	wanted := map[string]bool{}
	for _, b := range bundles {
		for digest := range blobsOf(b) {
			wanted[blobFile(digest)] = true
		}
	}
	for _, e := range entries {
		if wanted[e.Name()] || strings.HasSuffix(e.Name(), tempSuffix) {
			continue
		}
		if err := os.Remove(s.blobs.file(e.Name())); err != nil {
			return diskFault(s.blobs.file(e.Name()), err)
		}
		s.mu.Lock()
		delete(s.whole, "sha256:"+e.Name())
		s.mu.Unlock()
	}
	return nil
}

// blobsOf are the blobs of a bundle that may not be there.
func blobsOf(b *Bundle) map[string]int64 {
	if b == nil {
		return nil
	}
	return b.Blobs
}
