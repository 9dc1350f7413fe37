// Package plainjson reads JSON that every parser reads alike: no object has the same key
// twice, in whatever case, and where it is asked for none has a key that nobody knows. What
// one parser checks need not be what another acts on otherwise. It also says what a text costs
// to read, and writes what was read anew. It owns no state.
package plainjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Read is json.Unmarshal that refuses an object with the same key twice, as encoding/json
// matches keys to fields: in whatever case. It refuses what is not UTF-8, too, which
// encoding/json would read as another text than the one that is passed on.
func Read(b []byte, v any) error {
	if !utf8.Valid(b) {
		return errors.New("not valid UTF-8")
	}
	if err := json.Unmarshal(b, v); err != nil { // bounds the nesting, too
		return err
	}
	return uniqueKeys(json.NewDecoder(bytes.NewReader(b)))
}

// ReadKnown is Read that refuses keys which are no field, too: what they were to say would
// be lost in silence.
func ReadKnown[T any](b []byte) (v T, err error) {
	if err := Read(b, &v); err != nil {
		return v, err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	return v, d.Decode(new(T))
}

// Canonical reads one JSON value strictly and writes it anew, with its numbers as they
// are: who gets it reads what was read here.
func Canonical(b []byte) ([]byte, error) {
	var v any
	if err := Read(b, &v); err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(b)) // again, for the numbers
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	return json.Marshal(v)
}

// Spare writes a text that encoding/json wrote anew, without the escapes that make six bytes
// of one where it would stand in a page of HTML. Of another text it returns what it got.
func Spare(text []byte) []byte {
	var v any
	var short bytes.Buffer
	d, e := json.NewDecoder(bytes.NewReader(text)), json.NewEncoder(&short)
	d.UseNumber()
	e.SetEscapeHTML(false)
	if d.Decode(&v) != nil || e.Encode(v) != nil {
		return text
	}
	return bytes.TrimSuffix(short.Bytes(), []byte{'\n'})
}

// uniqueKeys reads one value.
func uniqueKeys(d *json.Decoder) error {
	token, err := d.Token()
	open, nested := token.(json.Delim)
	if err != nil || !nested {
		return err
	}
	seen := map[string]bool{}
	for d.More() {
		if open == '{' {
			token, err := d.Token()
			if err != nil {
				return err
			}
			key, _ := token.(string)
			folded := strings.ToLower(strings.ToUpper(key)) // as encoding/json matches fields
			if seen[folded] {
				return fmt.Errorf("key %.80q appears twice", key)
			}
			seen[folded] = true
		}
		if err := uniqueKeys(d); err != nil {
			return err
		}
	}
	_, err = d.Token() // the closing bracket
	return err
}
