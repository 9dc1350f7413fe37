package parts

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/seal"
)

func keyOf(t *testing.T, first byte) *seal.Key {
	t.Helper()
	raw := make([]byte, seal.KeySize)
	raw[0] = first
	k, err := seal.NewKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestPartsComeTogether parts texts of many lengths, and puts them together; and what was
// sealed by another key, lies elsewhere, is another's or is missing is refused.
func TestPartsComeTogether(t *testing.T) {
	key := keyOf(t, 1)
	for _, size := range []int{1, Size, Size + 1, 3*Size - 1} {
		plain := bytes.Repeat([]byte("abcdefg"), size/7+1)[:size]
		list, err := Seal(key, "one", plain)
		if err != nil || len(list) != (size+Size-1)/Size {
			t.Fatalf("%d bytes: %d parts, %v", size, len(list), err)
		}
		var log []record.Record
		var indexes []uint64
		for i, p := range list {
			log = append(log, record.Record{Kind: Kind, Tenant: "local", Subject: "s-1", Detail: p.Detail, Sealed: p.Envelope})
			indexes = append(indexes, uint64(i))
		}
		read := func(i uint64) (record.Record, error) {
			if i >= uint64(len(log)) {
				return record.Record{}, fmt.Errorf("there is no record %d", i)
			}
			return log[i], nil
		}
		of := func(id, subject string, indexes ...uint64) *record.Record {
			text, _ := json.Marshal(map[string]any{"id": id, "parts": indexes})
			return &record.Record{Kind: "model.infer", Tenant: "local", Subject: subject, Detail: text}
		}
		if got, err := Unseal(key, of("one", "s-1", indexes...), read); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%d bytes: %d come back, %v", size, len(got), err)
		}
		for name, try := range map[string]func() error{
			"another key":     func() error { _, err := Unseal(keyOf(t, 2), of("one", "s-1", indexes...), read); return err },
			"another record":  func() error { _, err := Unseal(key, of("two", "s-1", indexes...), read); return err },
			"another subject": func() error { _, err := Unseal(key, of("one", "s-2", indexes...), read); return err },
			"another place": func() error {
				_, err := Unseal(key, of("one", "s-1", append([]uint64{0}, indexes...)...), read)
				return err
			},
			"none there":   func() error { _, err := Unseal(key, of("one", "s-1", 1<<40), read); return err },
			"too many":     func() error { _, err := Unseal(key, of("one", "s-1", make([]uint64, Most+1)...), read); return err },
			"a part alone": func() error { _, err := Unseal(key, &log[0], read); return err },
		} {
			if err := try(); err == nil {
				t.Errorf("%d bytes, %s: opened", size, name)
			}
		}
		if _, err := Unseal(key, &log[0], read); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("a part alone: %v", err)
		}
	}
}
