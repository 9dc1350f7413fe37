package plainjson

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
)

// Text is a text as a string of JSON. What is no UTF-8 is written as U+FFFD.
func Text(text []byte) []byte {
	if plain(text) {
		return append(append(append(make([]byte, 0, len(text)+2), '"'), text...), '"')
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(string(bytes.ToValidUTF8(text, []byte("\uFFFD")))) // a string can always be written
	return bytes.TrimSuffix(b.Bytes(), []byte{'\n'})
}

// plain reports whether a text stands in JSON as it is.
func plain(text []byte) bool {
	for _, c := range text {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// Number is a number as JSON, which has no word for what is none: that is a string.
func Number(f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return strconv.AppendQuote(nil, strconv.FormatFloat(f, 'g', -1, 64))
	}
	return strconv.AppendFloat(nil, f, 'g', -1, 64)
}
