package main

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/record"
)

// entrySize is the length of every entry, in bytes, in every engine.
const entrySize = 1024

// frame is what an entry of the evidence log has around its JSON: a version
// byte and a tag of 16 bytes (docs/formats/record.md).
const frame = 1 + 16

// A load is what each producer appends, again and again: a record, and an entry
// of the same length for engines that take bytes.
type load struct {
	records []*record.Record
	entries [][]byte
}

func newLoad(producers int) *load {
	l := &load{}
	for p := range producers {
		r := newRecord(p)
		body, err := json.Marshal(r)
		if err != nil {
			panic(err) // a record of strings and times always encodes
		}
		l.records = append(l.records, r)
		l.entries = append(l.entries, append(body, make([]byte, frame)...))
	}
	return l
}

// newRecord returns the record of an inference, padded to the size of an entry
// with what does not compress.
func newRecord(producer int) *record.Record {
	r := &record.Record{
		Kind: "model.infer", Phase: record.Act, Tenant: "bench", At: time.Unix(1700000000, 0).UTC(),
		Who:     &pavise.Principal{Tenant: "bench", Kind: pavise.Workload, ID: fmt.Sprintf("caller-%03d", producer)},
		On:      pavise.Name{Tenant: "bench", Kind: "model", ID: "threat-detector"},
		Outcome: pavise.Allow, Took: 150 * time.Microsecond, Detail: json.RawMessage(`""`),
	}
	bare, err := json.Marshal(r)
	if err != nil {
		panic(err) // as in newLoad
	}
	pad := make([]byte, entrySize)
	rand.Read(pad)
	r.Detail = fmt.Appendf(nil, "%q", hex.EncodeToString(pad)[:entrySize-frame-len(bare)])
	return r
}
