package gate

import (
	"time"

	"github.com/pavise/pavise"
)

// The forms that a batch may have.
const (
	FormNDJSON = "ndjson" // a JSON object a line
	FormCSV    = "csv"    // RFC 4180, with a header
	FormLines  = "lines"  // lines of a log, in UTF-8
	FormOTLP   = "otlp"   // log records of OpenTelemetry, as the gate writes them: a JSON object a line
	FormSTIX   = "stix"   // one JSON value, such as a STIX 2.1 bundle
	FormBlob   = "blob"   // bytes that nobody looks into
)

// The verdicts on a batch.
const (
	Admitted = "admitted" // it went on to the output
	Held     = "held"     // it is in quarantine
	Repeated = "repeated" // it came before, and counts once; Reasons say what became of it, unless it was admitted
)

// MaxBatch is how many bytes a batch has at most.
const MaxBatch = 64 << 20

// A Batch is what one delivery holds.
type Batch struct {
	ID        string    // the sender's name for it, 1 to 256 bytes: the same id with the same bytes counts once, with other bytes it is a conflict; "": its SHA-256
	Form      string    // one of the Forms: that of the source
	Body      []byte    // at most MaxBatch; it must not change after
	Writer    string    // who wrote it as far as the carrier knows: owner, key id, principal; "" unknown
	At        time.Time // when the carrier says it was written; zero: it does not
	Signature []byte    // detached Ed25519, over Body; nil: none
	Placed    bool      // ID says where the bytes lie: the same bytes elsewhere are other records, and count, too
	Doubt     string    // why its carrier would have it held, whatever its source says, unless it is signed; "": it would not

	doubts []string // why it is to be held, whatever its source says: of bodies that the gate wrote anew
}

// A Receipt says what became of a batch.
type Receipt struct {
	Verdict  string   `json:"verdict"` // Admitted, Held or Repeated
	SHA256   string   `json:"sha256"`  // of Body, in hexadecimal digits
	Rows     int      `json:"rows"`
	Reasons  []string `json:"reasons,omitempty"`  // why it is held, or was
	Standing string   `json:"standing,omitempty"` // of what came before and was not let in: held, discarded or expired
}

// Barred reports whether the batch was not let in, now or when it came before.
func (r Receipt) Barred() bool { return r.Verdict == Held || r.Standing != "" }

// Form is the form that batches of a source have, for who fetches them. The error is of kind
// NotFound if there is no such source.
func (g *Gate) Form(source pavise.Name) (string, error) {
	s, err := g.find(source)
	if err != nil {
		return "", err
	}
	return s.terms.Load().spec.Form, nil
}
