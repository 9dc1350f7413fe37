package artefact

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
)

// maxTensorHeader is what the readers of safetensors allow (safetensors, README: 100 MB).
const maxTensorHeader = 100_000_000

// isSafetensors goes by a length that can be and the brace behind it.
func isSafetensors(head []byte) bool {
	return len(head) > 9 && binary.LittleEndian.Uint64(head) <= maxTensorHeader && head[8] == '{' && (head[9] == '"' || head[9] == '}')
}

// tensorBits are the sizes of the dtypes.
var tensorBits = map[string]int64{
	"BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
	"I32": 32, "U32": 32, "F32": 32, "F64": 64, "I64": 64, "U64": 64, "C64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}

// A tensor is one entry of the header.
type tensor struct {
	DType   string  `json:"dtype"`
	Shape   []int64 `json:"shape"`
	Offsets []int64 `json:"data_offsets"`
	name    string
}

// safetensors holds the header to the bytes: it can run nothing, but a header that means two
// things to two readers is what an attack on a reader looks like.
func (s *scan) safetensors(w part) {
	var b [8]byte
	if _, err := io.ReadFull(w.in, b[:]); err != nil {
		s.cut(w, err)
		return
	}
	n := binary.LittleEndian.Uint64(b[:])
	bad := func(sev Severity, at int64, format string, args ...any) {
		s.tell(w, Finding{Severity: sev, Rule: "safetensors.header", Offset: at, Why: fmt.Sprintf(format, args...), Next: nextAgain})
	}
	if n > maxTensorHeader || w.at != nil && int64(n) > w.size-8 {
		bad(Suspicious, 0, "its header is said to have %d bytes, which it has not", n)
		s.pickles(w, w.in, true)
		return
	}
	header, err := io.ReadAll(io.LimitReader(w.in, int64(n)))
	if err != nil || uint64(len(header)) < n {
		bad(Unreadable, 0, "its header is cut off")
		return
	}
	tensors, why := readTensors(header)
	if why != "" {
		bad(Suspicious, 8, "%s", why)
		return
	}
	data := w.size - 8 - int64(n)
	if w.at == nil {
		if data, err = io.Copy(io.Discard, w.in); err != nil {
			s.cut(w, err)
			return
		}
	}
	slices.SortFunc(tensors, func(a, b tensor) int { return int(min(max(a.Offsets[0]-b.Offsets[0], -1), 1)) })
	at := int64(0)
	for _, t := range tensors {
		switch {
		case t.Offsets[0] < at:
			bad(Suspicious, 8, "tensor %s lies on top of another one", clip(t.name))
			return
		case t.Offsets[0] > at:
			bad(Suspicious, 8, "%d bytes before tensor %s belong to none, where anything can be hidden", t.Offsets[0]-at, clip(t.name))
			return
		}
		at = t.Offsets[1]
	}
	switch {
	case at > data:
		bad(Unreadable, 8, "its tensors are said to have %d bytes, and it has %d", at, data)
	case at < data:
		bad(Suspicious, 8+int64(n)+at, "%d bytes behind the last tensor belong to none, where anything can be hidden", data-at)
	}
}

// readTensors reads a header, and says what is wrong with it.
func readTensors(header []byte) (all []tensor, why string) {
	d := json.NewDecoder(bytes.NewReader(header))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, "its header is no JSON object"
	}
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, "its header is damaged JSON"
		}
		if seen[name] {
			return nil, "its header has " + clip(name) + " twice, and readers differ in which they take"
		}
		seen[name] = true
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return nil, "its header is damaged JSON"
		}
		if name == "__metadata__" {
			var texts map[string]string
			if json.Unmarshal(raw, &texts) != nil {
				return nil, "its metadata are not texts"
			}
			continue
		}
		one := tensor{name: name}
		if why := one.read(raw); why != "" {
			return nil, "tensor " + clip(name) + " " + why
		}
		all = append(all, one)
	}
	if _, err := d.Token(); err != nil {
		return nil, "its header is damaged JSON"
	}
	if rest, _ := io.ReadAll(d.Buffered()); len(bytes.TrimRight(rest, " ")) > 0 || len(bytes.TrimSpace(header[d.InputOffset():])) > 0 {
		return nil, "something follows the JSON of its header"
	}
	return all, ""
}

// read reads an entry, and says what is wrong with it.
func (t *tensor) read(raw []byte) string {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(t); err != nil {
		return "is no entry of a tensor"
	}
	bits, ok := tensorBits[t.DType]
	if !ok {
		return "has the type " + clip(t.DType) + ", which there is not"
	}
	if len(t.Offsets) != 2 || t.Offsets[0] < 0 || t.Offsets[1] < t.Offsets[0] {
		return "lies nowhere"
	}
	size := bits
	for _, n := range t.Shape {
		if n < 0 || n > 0 && size > math.MaxInt64/n {
			return "has a shape that cannot be"
		}
		size *= n
	}
	if size%8 != 0 || size/8 != t.Offsets[1]-t.Offsets[0] {
		return fmt.Sprintf("has a type and shape of %d bytes, and lies on %d", size/8, t.Offsets[1]-t.Offsets[0])
	}
	return ""
}
