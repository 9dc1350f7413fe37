package record

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
)

// TestPlain holds isPlain to encoding/json, with each character at each place of eight,
// in the whole and in the rest.
func TestPlain(t *testing.T) {
	for c := range 256 {
		for at := range 11 {
			s := []byte(strings.Repeat("~", 11))
			s[at] = byte(c)
			for n := at + 1; n <= len(s); n++ {
				text := string(s[:n])
				written, err := json.Marshal(text)
				if err != nil {
					t.Fatal(err)
				}
				want := string(written) == `"`+text+`"` && c < 0x80 && c != 0x7f
				if got := isPlain(text); got != want {
					t.Fatalf("isPlain(%q) = %v, want %v", text, got, want)
				}
			}
		}
	}
	if !isPlain("") {
		t.Error("an empty string is not plain")
	}
}

// TestDatable holds the bounds of times to the years that they stand for.
func TestDatable(t *testing.T) {
	for _, c := range []struct {
		at   time.Time
		want bool
	}{
		{time.Date(-1, 12, 31, 23, 59, 59, 999, time.UTC), false},
		{time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC), true},
		{time.Date(9999, 12, 31, 23, 59, 59, 999, time.UTC), true},
		{time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), false},
		{time.Date(10000, 1, 1, 0, 0, 0, 0, time.FixedZone("east", 3600)), true},
	} {
		if got := datable(c.at); got != c.want {
			t.Errorf("%v: datable is %v", c.at, got)
		}
	}
}

// TestTimes holds the spelling of times to that of package time.
func TestTimes(t *testing.T) {
	for _, unix := range []int64{-62167219200, -1, 0, 951782400, 1709210096, 1_800_000_000, 253402300799} {
		for _, nano := range []int64{0, 1, 10, 120, 999_999_999, 100_000_000, 500_000, 123_456_789, 7_000, 90_000_001} {
			for _, zone := range []*time.Location{time.UTC, time.FixedZone("", 0)} {
				at := time.Unix(unix, nano).In(zone)
				want := `"` + at.UTC().Format(time.RFC3339Nano) + `"`
				if got := string(appendTime(nil, at)); got != want {
					t.Errorf("%s, want %s", got, want)
				}
			}
		}
	}
}

// BenchmarkEncode encodes a record such as an inference leaves.
func BenchmarkEncode(b *testing.B) {
	r := &Record{
		Kind: "model.infer", Phase: Act, Tenant: "local", At: time.Now(),
		Who: &pavise.Principal{Tenant: "local", Kind: pavise.Workload, ID: "app", Issuer: "pavise-local", Roles: []string{"caller"}, Proof: "bearer", Expires: time.Now()},
		On:  pavise.Name{Tenant: "local", Kind: "model", ID: "threat-detector"}, Subject: "s-0123456789abcdef0123456789abcdef", Outcome: pavise.Allow,
		Policy:   &Policy{Digest: strings.Repeat("0f", 32), Reasons: []string{"caller-infers"}},
		Verdicts: []pavise.Verdict{{Check: "gate", Outcome: pavise.Allow}, {Check: "rate", Outcome: pavise.Allow}, {Check: "budget", Outcome: pavise.Allow}, {Check: "shape", Outcome: pavise.Alter, Reason: "rounded to 4 digits"}},
		Settled:  123456, Took: 123456, Detail: json.RawMessage(`{"digest":"` + strings.Repeat("0123456789abcdef", 16) + `"}`), Sealed: make([]byte, 110),
	}
	buf, err := r.Encode()
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		if buf, err = r.EncodeIn(buf); err != nil {
			b.Fatal(err)
		}
	}
}
