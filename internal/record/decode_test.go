package record

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

// TestReadIsUnmarshal reads what the writer writes by hand and by encoding/json, which
// must come to the same; what has nothing to escape is read by hand.
func TestReadIsUnmarshal(t *testing.T) {
	byHand, seeds := 0, 5000
	for seed := range seeds {
		r := randomRecord(rand.New(rand.NewPCG(uint64(seed), 2)))
		if seed == 0 {
			r = full()
		}
		entry, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if sameAsJSON(t, entry[1:]) {
			byHand++
		}
	}
	if byHand == 0 { // few have nothing to escape
		t.Error("no record was read by hand")
	}
	plain := full()
	plain.Error.Msg = "no"
	entry, err := plain.Encode()
	if err != nil || !sameAsJSON(t, entry[1:]) {
		t.Errorf("a record with every field is not read by hand: %v", err)
	}
}

// sameAsJSON reports whether a body was read by hand, and holds what came of it to
// encoding/json.
func sameAsJSON(t *testing.T, body []byte) bool {
	t.Helper()
	var got, want Record
	if got.read(body) != nil {
		return false
	}
	if err := json.Unmarshal(body, &want); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%q is read as\n%+v, and is\n%+v, %v", body, got, want, err)
	}
	return true
}

// TestReadIsStrict leaves every text that encoding/json refuses, or may read otherwise,
// to it.
func TestReadIsStrict(t *testing.T) {
	const whole = `{"kind":"k","phase":"act","tenant":"t","at":"2027-01-15T08:00:00Z","who":{"tenant":"t","kind":"human","id":"a","roles":["x","y"]},"enter":1,"took_ns":5,"safe":true,"detail":{"a":1},"sealed":"AQID"}`
	if !sameAsJSON(t, []byte(whole)) {
		t.Fatal("the text itself is not read")
	}
	for _, change := range [][2]string{
		{`"kind":"k"`, `"kind":"\u006b"`}, {`"kind":"k"`, "\"kind\":\"k\n\""}, {`"kind":"k"`, "\"kind\":\"\xff\""}, {`"kind":"k"`, `"kind":null`}, {`"kind":"k"`, `"Kind":"k"`},
		{`"phase":"act",`, ``}, {`"tenant":"t","at"`, `"tenant":"t","tenant":"u","at"`}, {`"phase":"act"`, `"phase":"act","x":1`},
		{`"who":{`, `"who":{"id":"b",`}, {`["x","y"]`, `["x","y",]`}, {`["x","y"]`, `[]`}, {`["x","y"]`, `["x" "y"]`}, {`["x","y"]`, `{"x":"y"}`}, {`["x","y"]`, `["x",null]`}, {`["x","y"]`, `["x","y"}`},
		{`"enter":1`, `"enter":01`}, {`"enter":1`, `"enter":-1`}, {`"enter":1`, `"enter":1.0`}, {`"enter":1`, `"enter":99999999999999999999`}, {`"enter":1`, `"enter":"1"`},
		{`"took_ns":5`, `"took_ns":9999999999999999999`}, {`"safe":true`, `"safe":false`}, {`"safe":true`, `"safe":tru`},
		{`{"a":1}`, `{"a":1`}, {`{"a":1}`, `{"a":01}`}, {`{"a":1}`, `{'a':1}`}, {`{"a":1}`, `null`}, {`{"a":1}`, `[1}`}, {`{"a":1}`, ``},
		{`"AQID"`, `"AQI"`}, {`"AQID"`, "\"AQ\nID\""}, {`"AQID"`, `""`}, {`"AQID"`, `AQID`}, {`"AQID"}`, `"AQID"}}`}, {`"AQID"}`, `"AQID",}`}, {`2027-01-15T08:00:00Z`, `2027-01-15`},
	} {
		text := strings.Replace(whole, change[0], change[1], 1)
		if text == whole {
			t.Fatalf("%q is not there", change[0])
		}
		sameAsJSON(t, []byte(text))
		var byHand, byJSON Record
		if json.Unmarshal([]byte(text), &byJSON) != nil && byHand.read([]byte(text)) == nil {
			t.Errorf("%s is no JSON of a record, and was read", text)
		}
	}
}

// BenchmarkDecode reads the record of an inference, of about a kilobyte, as a follower
// of the log does.
func BenchmarkDecode(b *testing.B) {
	r := full()
	r.Error, r.Detail = nil, json.RawMessage(`{"digest":"`+strings.Repeat("0123456789abcdef", 32)+`"}`)
	entry, err := r.Encode()
	if err != nil {
		b.Fatal(err)
	}
	entry = append(entry, make([]byte, TagSize)...)
	b.SetBytes(int64(len(entry)))
	for b.Loop() {
		if _, err := Decode(entry); err != nil {
			b.Fatal(err)
		}
	}
}
