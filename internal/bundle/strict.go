package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"
)

// maxDepth bounds how deep objects and arrays of a bundle nest, sections included.
const maxDepth = 64

// unambiguous refuses JSON that two readers could read differently: invalid UTF-8,
// anything behind the value, and at any depth an object with the same name twice.
func unambiguous(b []byte) error {
	if !utf8.Valid(b) || !json.Valid(b) {
		return errors.New("it is no JSON in UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	return value(d, maxDepth)
}

// value consumes one value.
func value(d *json.Decoder, depth int) error {
	token, err := d.Token()
	if err != nil {
		return err
	}
	delim, ok := token.(json.Delim)
	if !ok {
		return nil
	}
	if depth == 0 {
		return fmt.Errorf("it nests deeper than %d", maxDepth)
	}
	seen := map[string]bool{}
	for d.More() {
		if delim == '{' {
			name, err := d.Token()
			if err != nil {
				return err
			}
			if seen[name.(string)] {
				return fmt.Errorf("it says %.80q twice", name)
			}
			seen[name.(string)] = true
		}
		if err := value(d, depth-1); err != nil {
			return err
		}
	}
	_, err = d.Token() // the closing delimiter
	return err
}

// fields reads an object that has exactly these members, by exactly these names. Only
// null is missing, too.
func fields(b []byte, into map[string]any) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(b, &members); err != nil || members == nil {
		return fmt.Errorf("it is no object that has %v", slices.Sorted(maps.Keys(into)))
	}
	for name := range members {
		if _, known := into[name]; !known {
			return fmt.Errorf("nobody knows its member %.80q", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(into)) {
		member, there := members[name]
		if !there || string(member) == "null" {
			return fmt.Errorf("it lacks its member %q", name)
		}
		if err := json.Unmarshal(member, into[name]); err != nil {
			return fmt.Errorf("its member %q cannot be read: %w", name, err)
		}
	}
	return nil
}
