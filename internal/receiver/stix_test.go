package receiver

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// uuid is one of version 4, made from a number.
func uuid(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }

// indicator is one of STIX 2.1.
func indicator(n int, modified, pattern string) string {
	return fmt.Sprintf(`{"type":"indicator","spec_version":"2.1","id":"indicator--%s","created":"2026-01-01T00:00:00.000Z","modified":"%s","pattern":"%s","pattern_type":"stix","valid_from":"2026-01-01T00:00:00Z"}`, uuid(n), modified, pattern)
}

var goodObjects = []string{
	indicator(1, "2026-01-01T00:00:00.000Z", "[ipv4-addr:value = '198.51.100.7']"),
	`{"type":"ipv4-addr","spec_version":"2.1","id":"ipv4-addr--` + uuid(2) + `","value":"198.51.100.7"}`,
	`{"type":"ipv4-addr","id":"ipv4-addr--` + uuid(2) + `","value":"198.51.100.7"}`,
	`{"type":"marking-definition","spec_version":"2.1","id":"marking-definition--` + uuid(3) + `","created":"2026-01-01T00:00:00Z","definition_type":"tlp","definition":{"tlp":"red"}}`,
	`{"type":"x-our-own","spec_version":"2.1","id":"x-our-own--` + uuid(4) + `","created":"2026-01-01T00:00:00Z","modified":"2026-01-01T00:00:00Z","x":[1,{"y":1e3}]}`,
}

var badObjects = map[string]string{
	"no object":                 `[]`,
	"no type":                   `{"id":"indicator--` + uuid(1) + `"}`,
	"another's id":              strings.Replace(goodObjects[0], "indicator--", "malware--", 1),
	"no UUID":                   strings.Replace(goodObjects[0], uuid(1), "1", 1),
	"a UUID in capitals":        strings.Replace(goodObjects[0], uuid(1), "ABCDEFAB-0000-4000-8000-000000000001", 1),
	"STIX 2.0":                  strings.Replace(goodObjects[0], `"spec_version":"2.1",`, "", 1),
	"STIX 3":                    strings.Replace(goodObjects[0], "2.1", "3.0", 1),
	"never modified":            strings.Replace(goodObjects[0], `"modified":"2026-01-01T00:00:00.000Z",`, "", 1),
	"modified before created":   indicator(1, "2025-01-01T00:00:00Z", "x"),
	"no UTC":                    indicator(1, "2026-01-01T00:00:00+02:00", "x"),
	"no time":                   indicator(1, "yesterday", "x"),
	"no pattern":                indicator(1, "2026-01-01T00:00:00Z", ""),
	"a long pattern":            indicator(1, "2026-01-01T00:00:00Z", strings.Repeat("x", maxPattern+1)),
	"valid until before it is":  strings.Replace(goodObjects[0], `"pattern_type"`, `"valid_until":"2026-01-01T00:00:00Z","pattern_type"`, 1),
	"a key twice":               strings.Replace(goodObjects[0], `"pattern_type"`, `"pattern":"[x:y = 1]","pattern_type"`, 1),
	"a key twice, in capitals":  strings.Replace(goodObjects[0], `"pattern_type"`, `"Pattern":"[x:y = 1]","pattern_type"`, 1),
	"a pattern that is no text": strings.Replace(goodObjects[0], `"pattern":"[`, `"pattern":["`, 1),
	"nested deeply":             strings.Replace(goodObjects[0], `"pattern_type"`, `"x_y":`+strings.Repeat("[", 90)+strings.Repeat("]", 90)+`,"pattern_type"`, 1),
	"too long":                  `{"x":"` + strings.Repeat("x", maxIndicator) + `"}`,
}

// TestSTIX reads objects strictly.
func TestSTIX(t *testing.T) {
	for _, text := range goodObjects {
		if _, err := parseSTIX([]byte(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	for name, text := range badObjects {
		if o, err := parseSTIX([]byte(text)); err == nil {
			t.Errorf("%s: %+v", name, o)
		}
	}
}

// TestBundle makes the same bundle, under the same id, of the same objects.
func TestBundle(t *testing.T) {
	o, err := parseSTIX([]byte(goodObjects[0]))
	if err != nil {
		t.Fatal(err)
	}
	text := bundle([]json.RawMessage{o.text})
	var b struct {
		Type, ID string
		Objects  []json.RawMessage
	}
	if err := json.Unmarshal(text, &b); err != nil || b.Type != "bundle" || !stixUUID.MatchString(strings.TrimPrefix(b.ID, "bundle--")) || len(b.Objects) != 1 {
		t.Errorf("%s, %v", text, err)
	}
	if string(bundle([]json.RawMessage{o.text})) != string(text) {
		t.Error("it is another the second time")
	}
}

// FuzzEnvelope reads pages: what is taken of one is the same once it was written anew.
func FuzzEnvelope(f *testing.F) {
	for _, text := range goodObjects {
		f.Add([]byte(`{"more":true,"next":"x","objects":[` + text + `]}`))
	}
	for _, text := range badObjects {
		if len(text) < 4096 {
			f.Add([]byte(`{"objects":[` + text + `]}`))
		}
	}
	f.Add([]byte(`{}`))
	f.Add([]byte(strings.Repeat(`{"objects":[`, 40)))
	f.Fuzz(func(t *testing.T, text []byte) {
		e, err := parseEnvelope(text)
		if err != nil {
			return
		}
		for _, raw := range e.Objects {
			o, err := parseSTIX(raw)
			if err != nil {
				continue
			}
			again, err := parseSTIX(o.text)
			if err != nil || again.id != o.id || !again.modified.Equal(o.modified) || string(again.text) != string(o.text) {
				t.Errorf("%s is %s, and then %s, %v", raw, o.text, again.text, err)
			}
		}
	})
}
