package cloudtrail

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pavise/pavise/internal/plainjson"
)

// A digest is what a digest file says. Pointers are null in one that begins a chain, or that
// covers an hour without events.
type digest struct {
	Account            string     `json:"awsAccountId"`
	Start              string     `json:"digestStartTime"`
	End                string     `json:"digestEndTime"`
	Bucket             string     `json:"digestS3Bucket"`
	Object             string     `json:"digestS3Object"`
	Fingerprint        string     `json:"digestPublicKeyFingerprint"`
	Algorithm          string     `json:"digestSignatureAlgorithm"`
	PreviousBucket     *string    `json:"previousDigestS3Bucket"`
	PreviousObject     *string    `json:"previousDigestS3Object"`
	PreviousHash       *string    `json:"previousDigestHashValue"`
	PreviousHashMethod *string    `json:"previousDigestHashAlgorithm"`
	PreviousSignature  *string    `json:"previousDigestSignature"`
	Logs               []logEntry `json:"logFiles"`
}

// A logEntry vouches for one log file.
type logEntry struct {
	Bucket     string  `json:"s3Bucket"`
	Object     string  `json:"s3Object"`
	Hash       string  `json:"hashValue"`
	HashMethod string  `json:"hashAlgorithm"`
	Newest     *string `json:"newestEventTime"`
	Oldest     *string `json:"oldestEventTime"`
}

// The algorithms that AWS uses; there are no others.
const (
	signatureMethod = "SHA256withRSA"
	hashMethod      = "SHA-256"
)

// parseDigest reads a digest file, unpacked.
func parseDigest(text []byte) (*digest, error) {
	if !utf8.Valid(text) {
		return nil, fmt.Errorf("it is no UTF-8")
	}
	d := &digest{}
	if err := plainjson.Read(text, d); err != nil {
		return nil, fmt.Errorf("it is no digest file: %w", err)
	}
	for _, field := range []struct{ name, value string }{
		{"digestS3Bucket", d.Bucket}, {"digestS3Object", d.Object}, {"digestEndTime", d.End}, {"digestStartTime", d.Start}, {"awsAccountId", d.Account},
	} {
		if field.value == "" {
			return nil, fmt.Errorf("it has no %s", field.name)
		}
	}
	return d, nil
}

// toSign returns the hash of what is signed of a digest whose content has this hash.
func (d *digest) toSign(content [sha256.Size]byte) []byte {
	previous := "null"
	if d.PreviousSignature != nil {
		previous = *d.PreviousSignature
	}
	text := strings.Join([]string{d.End, d.Bucket + "/" + d.Object, hex.EncodeToString(content[:]), previous}, "\n")
	hash := sha256.Sum256([]byte(text))
	return hash[:]
}

// begins says whether the digest says that none was before it.
func (d *digest) begins() bool {
	return d.PreviousBucket == nil && d.PreviousObject == nil && d.PreviousHash == nil && d.PreviousSignature == nil
}

// instant reads a time as digests have it.
func instant(text string) (time.Time, error) {
	t, err := time.Parse("2006-01-02T15:04:05Z", text)
	if err != nil {
		return t, fmt.Errorf("%.40q is no time such as 2026-03-01T14:01:31Z", text)
	}
	return t, nil
}

// value is what a pointer points to, or "".
func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
