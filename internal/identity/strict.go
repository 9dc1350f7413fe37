package identity

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// maxDepth bounds how deep objects and arrays nest.
const maxDepth = 16

// object reads a JSON object strictly: valid UTF-8, nothing before or after it,
// and at no depth two members whose names are equal or differ only in case. What
// two readers of one token could take differently is refused.
func object(b []byte) (map[string]json.RawMessage, bool) {
	b = bytes.TrimSpace(b)
	if !utf8.Valid(b) || !json.Valid(b) || b[0] != '{' {
		return nil, false
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if !unambiguous(d, maxDepth) {
		return nil, false
	}
	m := map[string]json.RawMessage{}
	return m, json.Unmarshal(b, &m) == nil
}

// unambiguous consumes one value.
func unambiguous(d *json.Decoder, depth int) bool {
	token, err := d.Token()
	if err != nil || depth == 0 {
		return false
	}
	delim, ok := token.(json.Delim)
	if !ok {
		return true
	}
	seen := map[string]bool{}
	for d.More() {
		if delim == '{' {
			name, err := d.Token()
			if err != nil {
				return false
			}
			folded := strings.ToLower(name.(string))
			if seen[folded] {
				return false
			}
			seen[folded] = true
		}
		if !unambiguous(d, depth-1) {
			return false
		}
	}
	_, err = d.Token() // the closing delimiter
	return err == nil
}
