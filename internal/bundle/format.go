package bundle

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Bounds of a bundle. A reader refuses what is beyond them before it has read it.
const (
	MaxBundle   = 16 << 20 // bytes of a bundle, signatures included
	MaxBlob     = 64 << 20 // bytes of a blob
	MaxBlobs    = 256      // blobs of a bundle
	MaxSections = 64       // sections of a bundle
	MaxKeys     = 16       // keys in a bundle's list, and signatures of a bundle
)

// A Bundle is what a control plane tells its gateways. It is immutable.
type Bundle struct {
	Format   int                        // the format that it was read in, 1 and up
	Origin   string                     // which control plane speaks, 1 to 128 printable characters
	Serial   uint64                     // 1 and up; of two bundles the higher one counts
	Issued   time.Time                  // whole seconds, UTC
	Expires  time.Time                  // after which it is stale; whole seconds, UTC
	Keys     []Key                      // who may sign the next ones
	Sections map[string]json.RawMessage // by name: lower-case words joined by - or .
	Blobs    map[string]int64           // digest, "sha256:" and 64 hex digits, to size in bytes
}

// A Format is one spelling of bundles. Of a pair of builds each knows some formats,
// and they speak the highest that both know.
type Format struct {
	Number int                           // 1 and up; it stands in the media type and is signed
	Encode func(*Bundle) ([]byte, error) // the signed body; the same bytes for the same bundle
	Decode func([]byte) (*Bundle, error) // strict; nothing in the body has been verified but its signature
}

// Formats returns the formats that this build writes and reads, the newest first:
// the current one, and the one before where there was one.
func Formats() []Format { return []Format{{Number: 1, Encode: encode1, Decode: decode1}} }

// MediaType returns the media type of a format, application/vnd.pavise.bundle.vN.
func MediaType(format int) string { return fmt.Sprintf("application/vnd.pavise.bundle.v%d", format) }

// find returns the format with the number.
func find(formats []Format, number int) (Format, bool) {
	i := slices.IndexFunc(formats, func(f Format) bool { return f.Number == number })
	if i < 0 {
		return Format{}, false
	}
	return formats[i], true
}

func encode1(*Bundle) ([]byte, error) { return nil, nil }
func decode1([]byte) (*Bundle, error) { return nil, nil }
