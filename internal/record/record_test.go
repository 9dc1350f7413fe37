package record

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
)

// tagged returns an entry with a body, version and tag as given.
func tagged(version byte, body string) []byte {
	return append(append([]byte{version}, body...), make([]byte, TagSize)...)
}

// full returns a record in which every field is there.
func full() *Record {
	return &Record{
		Kind: "model.put", Phase: Exit, Tenant: "acme", At: time.Unix(1_800_000_000, 123_456_789).UTC(),
		Who: &pavise.Principal{
			Tenant: "acme", Kind: pavise.Human, ID: "kim", Issuer: "https://issuer.example", Roles: []string{"owner", "auditor"}, Proof: "bearer",
			Expires: time.Unix(1_800_003_600, 0).UTC(), Change: pavise.Name{Tenant: "acme", Kind: "change", ID: "7"},
			Environment: "prod", By: pavise.Name{Tenant: "acme", Kind: "human", ID: "lee"},
		},
		On: pavise.Name{Tenant: "acme", Kind: "model", ID: "fraud"}, Subject: "5e1f", Outcome: pavise.Deny,
		Policy:   &Policy{Digest: "ab12", Reasons: []string{"p1"}, Errors: []string{"e1"}, Observed: true},
		Verdicts: []pavise.Verdict{{Check: "gate", Outcome: pavise.Alter, Reason: "rounded", Observed: true}},
		Error:    &Failure{Kind: "denied", Msg: `no <"model"> für dich`},
		Enter:    new(uint64(41)), Settled: 40, Took: 1500 * time.Millisecond, Safe: true,
		Detail: json.RawMessage(`{"rows": 1}`), Sealed: []byte{1, 2, 3, 255},
	}
}

// fullText is how the entry of that record is spelled. It may change only with a new
// version of the format: an entry that was proved is proved in these bytes.
const fullText = `{"kind":"model.put","phase":"exit","tenant":"acme","at":"2027-01-15T08:00:00.123456789Z",` +
	`"who":{"tenant":"acme","kind":"human","id":"kim","issuer":"https://issuer.example","roles":["owner","auditor"],"proof":"bearer","expires":"2027-01-15T09:00:00Z","change":"acme/change/7","environment":"prod","by":"acme/human/lee"},` +
	`"on":"acme/model/fraud","subject":"5e1f","outcome":"deny","policy":{"digest":"ab12","reasons":["p1"],"errors":["e1"],"observed":true},` +
	`"verdicts":[{"check":"gate","outcome":"alter","reason":"rounded","observed":true}],"error":{"kind":"denied","msg":"no \u003c\"model\"\u003e für dich"},` +
	`"enter":41,"settled":40,"took_ns":1500000000,"safe":true,"detail":{"rows": 1},"sealed":"AQID/w=="}`

// TestEncodingIsStable spells a record with every field as the format has it, and
// reads each field back.
func TestEncodingIsStable(t *testing.T) {
	entry, err := full().Encode()
	if err != nil {
		t.Fatal(err)
	}
	if entry[0] != 1 || string(entry[1:]) != fullText {
		t.Errorf("version %d, spelled\n%s\nwant\n%s", entry[0], entry[1:], fullText)
	}
	got, err := Decode(append(entry, make([]byte, TagSize)...))
	if err != nil || !reflect.DeepEqual(&got, full()) {
		t.Errorf("read back as\n%+v, %v", got, err)
	}
	empty, err := (&Record{}).Encode()
	if err != nil || string(empty[1:]) != `{"kind":"","phase":"","tenant":"","at":"0001-01-01T00:00:00Z"}` {
		t.Errorf("the zero record is spelled %s, %v", empty, err)
	}
}

// TestPublishedEntriesReadAndSpellTheSame decodes the entries of the published vector
// and encodes them again.
func TestPublishedEntriesReadAndSpellTheSame(t *testing.T) {
	text, err := os.ReadFile("../ledger/testdata/record.txt")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(text)) {
		digits, ok := strings.CutPrefix(strings.TrimSpace(line), "entry ")
		if !ok {
			continue
		}
		n++
		entry, err := hex.DecodeString(digits)
		if err != nil {
			t.Fatal(err)
		}
		r, err := Decode(entry)
		if err != nil {
			t.Fatal(err)
		}
		again, err := r.Encode()
		if err != nil || !bytes.Equal(again, entry[:len(entry)-TagSize]) {
			t.Errorf("entry %d is spelled %s, %v", n, again, err)
		}
	}
	if n == 0 {
		t.Error("the vector has no entries")
	}
}

// TestTimesAreUTC: a record of a house in another zone is spelled in UTC all the
// same, to the nanosecond, even where the zone's offset has seconds.
func TestTimesAreUTC(t *testing.T) {
	at := time.Unix(1_800_000_000, 5).UTC()
	for _, offset := range []int{0, 3600, -9*3600 - 1800, 2*3600 + 17, 23*3600 + 3599, -26 * 3600} {
		zone := time.FixedZone("there", offset)
		r := Record{At: at.In(zone), Who: &pavise.Principal{Expires: at.In(zone)}}
		entry, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(entry), `"2027-01-15T08:00:00.000000005Z"`); n != 2 {
			t.Errorf("offset %d: %s", offset, entry[1:])
		}
		got, err := Decode(append(entry, make([]byte, TagSize)...))
		if err != nil || !got.At.Equal(at) || !got.Who.Expires.Equal(at) {
			t.Errorf("offset %d: read back as %v and %v, %v", offset, got.At, got.Who, err)
		}
	}
}

// TestEncodeRefusesWhatCannotBeReadBack: each of these would be written and lost.
func TestEncodeRefusesWhatCannotBeReadBack(t *testing.T) {
	for name, r := range map[string]*Record{
		"a thing without a kind":      {On: pavise.Name{Tenant: "acme", ID: "x"}},
		"a thing with a slash":        {On: pavise.Name{Tenant: "acme", Kind: "model", ID: "a/b"}},
		"a change with a slash":       {Who: &pavise.Principal{Change: pavise.Name{Tenant: "acme", Kind: "change", ID: "a/b"}}},
		"a change without a tenant":   {Who: &pavise.Principal{Change: pavise.Name{Kind: "change", ID: "b"}}},
		"a sender with a slash":       {Who: &pavise.Principal{By: pavise.Name{Tenant: "acme", Kind: "human", ID: "a/b"}}},
		"the year 10000":              {At: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)},
		"the year 10000, seen before": {At: time.Date(9999, 12, 31, 23, 30, 0, 0, time.FixedZone("", -3600))},
		"the year before 0":           {At: time.Date(-1, 12, 31, 0, 0, 0, 0, time.UTC)},
		"a proof beyond the years":    {Who: &pavise.Principal{Expires: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}},
	} {
		if entry, err := r.Encode(); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s: %s, %v", name, entry, err)
		}
	}
	for name, at := range map[string]time.Time{
		"the first year": time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC), "the last moment": time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC),
		"the last year, seen from behind": time.Date(10000, 1, 1, 0, 30, 0, 0, time.FixedZone("", 3600)),
	} {
		entry, err := (&Record{At: at}).Encode()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, err := Decode(append(entry, make([]byte, TagSize)...)); err != nil || !got.At.Equal(at) {
			t.Errorf("%s: read back as %v, %v", name, got.At, err)
		}
	}
}

// TestLongestEntry is as long as the bundle format allows with its tag, and one byte
// more is refused.
func TestLongestEntry(t *testing.T) {
	bare, err := (&Record{Detail: json.RawMessage(`""`)}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	room := MaxEntry - TagSize - len(bare)
	for more, want := range map[int]bool{-1: true, 0: true, 1: false, 1000: false} {
		r := Record{Detail: json.RawMessage(`"` + strings.Repeat("x", room+more) + `"`)}
		entry, err := r.Encode()
		if (err == nil) != want || err != nil && pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%d bytes more than fit: %v", more, err)
		}
		if err == nil && len(entry)+TagSize > math.MaxUint16 {
			t.Errorf("an entry of %d bytes", len(entry)+TagSize)
		}
	}
}

// TestEntryThatIsNone: what is too short, of another version or no record is told
// with kind Unverified, by Decode and, where it looks, by Glance.
func TestEntryThatIsNone(t *testing.T) {
	for name, entry := range map[string][]byte{
		"nothing":                    nil,
		"a version":                  {1},
		"a tag too short":            tagged(1, "")[:TagSize],
		"no body":                    tagged(1, ""),
		"version 0":                  tagged(0, "{}"),
		"version 2":                  tagged(2, "{}"),
		"no JSON":                    tagged(1, "{"),
		"two objects":                tagged(1, "{}{}"),
		"an array":                   tagged(1, "[]"),
		"a number for a kind":        tagged(1, `{"kind":1}`),
		"no time":                    tagged(1, `{"at":"yesterday"}`),
		"a name of two parts":        tagged(1, `{"on":"a/b"}`),
		"an enter below 0":           tagged(1, `{"enter":-1}`),
		"an enter of 64 bits more":   tagged(1, `{"enter":18446744073709551616}`),
		"an escape that is none":     tagged(1, `{"kind":"\x"}`),
		"a kind without its end":     tagged(1, `{"kind":"a`),
		"a principal that is a text": tagged(1, `{"who":"kim"}`),
	} {
		if r, err := Decode(entry); pavise.KindOf(err) != pavise.Unverified {
			t.Errorf("%s is decoded: %+v, %v", name, r, err)
		}
		if g, err := Glance(entry); name != "a name of two parts" && (pavise.KindOf(err) != pavise.Unverified || g != (Glimpse{})) {
			t.Errorf("%s is glanced at: %+v, %v", name, g, err)
		}
	}
}

// TestPrunedSaysBelowWhich: the note of a pruning says below which index records may
// be missing, and nothing else says that.
func TestPrunedSaysBelowWhich(t *testing.T) {
	pruning := Pruning{Below: 512, Segments: []PrunedSegment{{First: 256, Count: 256, SHA256: "ab", Kept: "s3://b/p"}}, Why: "age"}
	detail, err := json.Marshal(pruning)
	if err != nil {
		t.Fatal(err)
	}
	note := Record{Kind: KindPruned, Phase: Note, Tenant: "acme", Detail: detail}
	entry, err := note.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(append(entry, make([]byte, TagSize)...))
	if err != nil || got.Pruned() != 512 {
		t.Fatalf("below %d, %v", got.Pruned(), err)
	}
	var again Pruning
	if err := json.Unmarshal(got.Detail, &again); err != nil || !reflect.DeepEqual(again, pruning) {
		t.Errorf("read back as %+v, %v", again, err)
	}
	for name, r := range map[string]Record{
		"an act of that kind":    {Kind: KindPruned, Phase: Act, Detail: detail},
		"an enter of that kind":  {Kind: KindPruned, Phase: Enter, Detail: detail},
		"a note of another kind": {Kind: "ledger.recovered", Phase: Note, Detail: detail},
		"no detail":              {Kind: KindPruned, Phase: Note},
		"another detail":         {Kind: KindPruned, Phase: Note, Detail: json.RawMessage(`[512]`)},
		"a negative index":       {Kind: KindPruned, Phase: Note, Detail: json.RawMessage(`{"below":-1}`)},
	} {
		if below := r.Pruned(); below != 0 {
			t.Errorf("%s: below %d", name, below)
		}
	}
}

// TestRoomOfAKind is what stands before the first dot.
func TestRoomOfAKind(t *testing.T) {
	for kind, room := range map[string]string{"model.infer": "model", "a.b.c": "a", "model": "model", "": "", ".x": ""} {
		if got := Room(kind); got != room {
			t.Errorf("the room of %q is %q, want %q", kind, got, room)
		}
	}
}

// FuzzDecode: what decodes encodes, unless it got too long, and from then on both ways
// without change.
func FuzzDecode(f *testing.F) {
	entry, err := full().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(entry, make([]byte, TagSize)...))
	f.Add([]byte{})
	f.Add([]byte{1, '{', '}'})
	f.Add(tagged(1, `{"Kind":"a","kind":"\u0062","at":"2027-01-15T08:00:00+23:59","who":null,"detail":{"a":1}}`))
	f.Add(tagged(1, `{"who":{"change":"a/b/c","expires":"0000-01-01T00:00:00+01:00"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if body, err := Body(b); err == nil {
			sameAsJSON(t, body)
		}
		r, err := Decode(b)
		if err != nil {
			if pavise.KindOf(err) != pavise.Unverified {
				t.Error(err)
			}
			return
		}
		once, err := r.Encode()
		if err != nil {
			if len(b) < 10_000 && datable(r.At) && (r.Who == nil || datable(r.Who.Expires)) {
				t.Errorf("decoded and not encodable: %v", err)
			}
			return
		}
		r, err = Decode(append(once, make([]byte, TagSize)...))
		if err != nil {
			t.Fatalf("encoded and not decodable: %v", err)
		}
		twice, err := r.Encode()
		if err != nil || !bytes.Equal(once, twice) {
			t.Errorf("spelled %s, then %s, %v", once, twice, err)
		}
	})
}
