package bundle

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds of a bundle. A reader refuses what is beyond them before it has read it.
const (
	MaxBundle   = 16 << 20 // bytes of a bundle, signatures included
	MaxBlob     = 64 << 20 // bytes of a blob
	MaxBlobs    = 4096     // blobs of a bundle
	MaxAllBlobs = 1 << 30  // bytes of all blobs of a bundle
	MaxSections = 64       // sections of a bundle
	MaxKeys     = 16       // keys in a bundle's list, and signatures of a bundle
	MaxSerial   = 1<<53 - 1
	MaxLifetime = 30 * 24 * time.Hour // from Issued to Expires
)

// A Bundle is what a control plane tells its gateways. It is immutable.
type Bundle struct {
	Format   int                        // the format that it was read in, 1 and up
	Origin   string                     // which control plane speaks: 1 to 128 printable characters, no space
	Serial   uint64                     // 1 to MaxSerial; of two bundles the higher one counts
	Issued   time.Time                  // whole seconds, UTC
	Expires  time.Time                  // from then on it is stale; whole seconds, UTC
	Keys     []Key                      // who may sign the next ones
	Sections map[string]json.RawMessage // by name: lower-case words joined by - or .
	Blobs    map[string]int64           // digest, "sha256:" and 64 hex digits, to size in bytes
}

// A Format is one spelling of bundles. Of a pair of builds each knows some formats,
// and they speak the highest that both know.
type Format struct {
	Number int                           // 1 and up; it stands in the media type and is signed
	Encode func(*Bundle) ([]byte, error) // the body that is signed: the same bytes for the same bundle
	Decode func([]byte) (*Bundle, error) // strict; who signed the body has been verified
}

// Formats returns the formats that this build writes and reads, the newest first:
// the current one, and the one before where there was one.
func Formats() []Format { return []Format{{Number: 1, Encode: encode1, Decode: decode1}} }

// MediaType returns the media type of a format, application/vnd.pavise.bundle.vN.
func MediaType(format int) string { return mediaPrefix + strconv.Itoa(format) }

const mediaPrefix = "application/vnd.pavise.bundle.v"

// formatOf returns the format with the number.
func formatOf(formats []Format, number int) (Format, bool) {
	i := slices.IndexFunc(formats, func(f Format) bool { return f.Number == number })
	if i < 0 {
		return Format{}, false
	}
	return formats[i], true
}

// body1 is the body of format 1, in this order.
type body1 struct {
	Origin   string                     `json:"origin"`
	Serial   uint64                     `json:"serial"`
	Issued   string                     `json:"issued"`
	Expires  string                     `json:"expires"`
	Keys     []Key                      `json:"keys"`
	Sections map[string]json.RawMessage `json:"sections"`
	Blobs    map[string]int64           `json:"blobs"`
}

// timeLayout spells a time: RFC 3339, UTC, whole seconds.
const timeLayout = "2006-01-02T15:04:05Z"

func encode1(b *Bundle) ([]byte, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	err := e.Encode(body1{
		Origin: b.Origin, Serial: b.Serial, Issued: b.Issued.UTC().Format(timeLayout), Expires: b.Expires.UTC().Format(timeLayout),
		Keys: append([]Key{}, b.Keys...), Sections: orEmpty(b.Sections), Blobs: orEmpty(b.Blobs),
	})
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), err
}

// orEmpty spells a map that is not there as one with nothing in it.
func orEmpty[V any](m map[string]V) map[string]V {
	if m == nil {
		return map[string]V{}
	}
	return m
}

func decode1(body []byte) (*Bundle, error) {
	if err := unambiguous(body); err != nil {
		return nil, err
	}
	var (
		b               = &Bundle{}
		issued, expires string
		blobs           map[string]int64
	)
	err := fields(body, map[string]any{
		"origin": &b.Origin, "serial": &b.Serial, "issued": &issued, "expires": &expires,
		"keys": &b.Keys, "sections": &b.Sections, "blobs": &blobs,
	})
	if err != nil {
		return nil, err
	}
	b.Blobs = blobs
	var errs [2]error
	b.Issued, errs[0] = instant(issued)
	b.Expires, errs[1] = instant(expires)
	return b, errors.Join(errs[:]...)
}

// instant reads a time that is spelled as we spell it.
func instant(text string) (time.Time, error) {
	t, err := time.Parse(timeLayout, text)
	if err != nil || t.Format(timeLayout) != text {
		return time.Time{}, fmt.Errorf("%.40q is no time such as 2026-03-01T12:00:00Z", text)
	}
	return t, nil
}

// check holds a bundle to its bounds, whatever format it was read in.
func (b *Bundle) check() error {
	if err := checkOrigin(b.Origin); err != nil {
		return err
	}
	if err := checkKeys(b.Keys); err != nil {
		return err
	}
	switch life := b.Expires.Sub(b.Issued); {
	case b.Serial < 1 || b.Serial > MaxSerial:
		return fmt.Errorf("the serial %d is not between 1 and %d", b.Serial, uint64(MaxSerial))
	case life <= 0 || life > MaxLifetime:
		return fmt.Errorf("it lives from %s to %s, and at most 30 days are allowed", b.Issued.Format(timeLayout), b.Expires.Format(timeLayout))
	case len(b.Sections) > MaxSections:
		return fmt.Errorf("it has %d sections, more than %d", len(b.Sections), MaxSections)
	}
	for name, contents := range b.Sections {
		if !isSection(name) {
			return fmt.Errorf("%.80q is no name of a section", name)
		}
		if len(contents) == 0 {
			return fmt.Errorf("the section %s is empty", name)
		}
	}
	return checkBlobs(b.Blobs)
}

func checkOrigin(origin string) error {
	if origin == "" || len(origin) > 128 || strings.ContainsFunc(origin, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fmt.Errorf("%.140q is no origin: it takes 1 to 128 printable characters", origin)
	}
	return nil
}

func checkBlobs(blobs map[string]int64) error {
	if len(blobs) > MaxBlobs {
		return fmt.Errorf("it has %d blobs, more than %d", len(blobs), MaxBlobs)
	}
	var all int64
	for digest, size := range blobs {
		if !isDigest(digest) {
			return fmt.Errorf("%.80q is no digest: it takes sha256: and 64 lower-case hex digits", digest)
		}
		if size < 0 || size > MaxBlob {
			return fmt.Errorf("the blob %s has %d bytes; 0 to %d are allowed", digest, size, MaxBlob)
		}
		all += size
	}
	if all > MaxAllBlobs {
		return fmt.Errorf("its blobs have %d bytes together, more than %d", all, MaxAllBlobs)
	}
	return nil
}

// isSection reports whether a name is of lower-case words joined by - or .
func isSection(name string) bool { return len(name) <= 64 && section.MatchString(name) }

var section = regexp.MustCompile(`^[a-z0-9]+([.-][a-z0-9]+)*$`)

// isDigest reports whether text is "sha256:" and 64 lower-case hex digits.
func isDigest(text string) bool {
	digits, ok := strings.CutPrefix(text, "sha256:")
	raw, err := hex.DecodeString(digits)
	return ok && err == nil && len(raw) == 32 && hex.EncodeToString(raw) == digits
}
