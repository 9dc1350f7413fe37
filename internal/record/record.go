package record

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pavise/pavise"
)

// The phases of a Record.
const (
	Act         = "act"         // question, answer and ending in one record
	Enter       = "enter"       // a control verb was allowed and is about to act
	Exit        = "exit"        // how the act entered at Record.Enter ended
	Interrupted = "interrupted" // an Enter found without its Exit at restart
	Note        = "note"        // something the house itself says
)

// A Record is the body of one entry. docs/formats/record.md is its
// specification.
type Record struct {
	Kind     string            `json:"kind"`   // the verb, or room.what for a Note
	Phase    string            `json:"phase"`  // Act, Enter, Exit, Interrupted or Note
	Tenant   string            `json:"tenant"` // whose record it is
	At       time.Time         `json:"at"`     // when, by the writer's clock, UTC
	Who      *pavise.Principal `json:"who,omitempty"`
	On       pavise.Name       `json:"on,omitzero"`
	Subject  string            `json:"subject,omitempty"` // whose data the record keeps: a pseudonym of package subject
	Outcome  pavise.Outcome    `json:"outcome,omitempty"`
	Policy   *Policy           `json:"policy,omitempty"`
	Verdicts []pavise.Verdict  `json:"verdicts,omitempty"`
	Error    *Failure          `json:"error,omitempty"`   // how it ended, if not well
	Enter    *uint64           `json:"enter,omitempty"`   // the Enter that an Exit or Interrupted closes
	Settled  uint64            `json:"settled,omitempty"` // every Enter below this index has been closed
	Took     time.Duration     `json:"took_ns,omitempty"`
	Safe     bool              `json:"safe,omitempty"` // may use the reserve of a full disk
	// Detail is the room's own facts about the act, as json.Marshal wrote them:
	// they are kept byte for byte.
	Detail json.RawMessage `json:"detail,omitempty"`
	Sealed []byte          `json:"sealed,omitempty"` // an envelope of package seal: salts and kept payloads
}

// A Policy says under which policies a decision was made, and which decided.
type Policy struct {
	Digest   string   `json:"digest"` // hex SHA-256 of the guardrails and tenant policies in force
	Reasons  []string `json:"reasons,omitempty"`
	Errors   []string `json:"errors,omitempty"`
	Observed bool     `json:"observed,omitempty"` // denied, but in observe mode
}

// A Failure says how an act ended that did not end well.
type Failure struct {
	Kind string `json:"kind"` // a pavise.Kind label
	Msg  string `json:"msg"`
}

// An entry is version ‖ JSON ‖ tag. The tag is a MAC that only the log's writer
// can make, over the entry's index and everything before the tag, so that
// recovery adopts no torn and no planted entry behind the signed tree head. To
// everybody else it is 16 opaque bytes: their proof is the Merkle tree.
const (
	entryVersion = 1
	// TagSize is the length of the tag, in bytes.
	TagSize = 16
	// MaxEntry is the length of the longest entry, tag included: the bundle
	// format's uint16.
	MaxEntry = 1<<16 - 1
)

// Encode returns the entry without its tag. The error is of kind Invalid when the
// record cannot be an entry.
func (r *Record) Encode() ([]byte, error) { return r.EncodeIn(nil) }

// EncodeIn is Encode into a buffer, if the entry has room there: what it held is written
// over.
func (r *Record) EncodeIn(buf []byte) ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	const fields = 1024 // about what a record holds beside its payloads
	entry := slices.Grow(buf[:0], fields+len(r.Detail)+base64.StdEncoding.EncodedLen(len(r.Sealed)))
	entry = append(entry, entryVersion)
	if entry = r.append(entry); len(entry)+TagSize > MaxEntry {
		return nil, &pavise.Error{
			Kind: pavise.Invalid,
			Msg:  fmt.Sprintf("record %s is %d bytes long, more than %d", r.Kind, len(entry)-1, MaxEntry-TagSize-1),
			Hint: "keep the payload elsewhere and its digest in the record",
		}
	}
	return entry, nil
}

// check refuses what would be written and could not be read back.
func (r *Record) check() error {
	if r.On != (pavise.Name{}) {
		if err := r.On.Validate(); err != nil {
			return err
		}
	}
	if r.Who != nil {
		for _, name := range [...]pavise.Name{r.Who.Change, r.Who.By} {
			if name == (pavise.Name{}) { // asked first: to say what is wrong with a name takes its time
				continue
			}
			if err := name.Validate(); err != nil {
				return err
			}
		}
	}
	if !datable(r.At) || r.Who != nil && !datable(r.Who.Expires) {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("record %s has a time that no year from 0 to 9999 holds", r.Kind)}
	}
	return nil
}

// datable reports whether RFC 3339 can say a time.
func datable(t time.Time) bool {
	const first, last = -62167219200, 253402300799 // Unix seconds: to find the year itself takes its time
	return first <= t.Unix() && t.Unix() <= last
}

// Decode reads the record an entry holds. It checks the version and the JSON;
// whether the entry belongs to the log is for the tree to say.
func Decode(entry []byte) (Record, error) {
	var r Record
	body, err := Body(entry)
	if err != nil {
		return r, err
	}
	if r.read(body) == nil {
		return r, nil
	}
	r = Record{}
	if err := json.Unmarshal(body, &r); err != nil {
		return r, &pavise.Error{Kind: pavise.Unverified, Msg: "entry body is not a record", Err: err}
	}
	return r, nil
}

// Body returns the JSON of an entry, tag and version left off.
func Body(entry []byte) ([]byte, error) {
	if len(entry) < 1+TagSize {
		return nil, &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("entry of %d bytes is too short", len(entry))}
	}
	if entry[0] != entryVersion {
		return nil, &pavise.Error{
			Kind: pavise.Unverified,
			Msg:  fmt.Sprintf("entry has version %d; this build reads version %d", entry[0], entryVersion),
			Hint: "use a newer pavise",
		}
	}
	return entry[1 : len(entry)-TagSize], nil
}

// Room returns the part of a kind before its first dot: which room's it is.
func Room(kind string) string {
	room, _, _ := strings.Cut(kind, ".")
	return room
}
