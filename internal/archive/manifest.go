package archive

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/store/blob"
)

// A Manifest says what an archived segment is. It lies beside the segment.
type Manifest struct {
	Origin  string            `json:"origin"` // of the log
	Keys    []string          `json:"keys"`   // its verifier keys
	First   uint64            `json:"first"`  // index of the segment's first record
	Count   uint64            `json:"count"`
	Bytes   int64             `json:"bytes"`
	SHA256  string            `json:"sha256"` // hex, of its bytes
	From    time.Time         `json:"from"`   // the earliest and the latest time of its records
	To      time.Time         `json:"to"`
	Classes map[string]Extent `json:"classes"`        // of retention, that its records belong to
	Until   time.Time         `json:"until,omitzero"` // the archive keeps it until then at least, if it can
}

// An Extent is what a segment holds of one class.
type Extent struct {
	Records uint64    `json:"records"`
	To      time.Time `json:"to"` // the latest time
}

// maxManifest bounds a manifest, in bytes.
const maxManifest = 1 << 20

// The names of objects. The slashes of an origin become colons.
func folder(origin string) string { return strings.ReplaceAll(origin, "/", ":") + "/" }

func (m Manifest) segment() string {
	return folder(m.Origin) + disk.SegmentName(m.First)
}

func (m Manifest) object() string { return m.segment() + ".json" }

// checkpoint is the name of the checkpoint at the segment's end.
func (m Manifest) checkpoint() string {
	return fmt.Sprintf("%scheckpoint-%015d", folder(m.Origin), m.First+m.Count)
}

// describe reads a segment and says what it is.
func describe(log *ledger.Log, seg ledger.Sealed, r io.Reader, cs classes) (Manifest, error) {
	m := Manifest{Origin: log.Origin(), First: seg.First, Bytes: seg.Size, Classes: map[string]Extent{}}
	for _, key := range log.Keys() {
		m.Keys = append(m.Keys, key.String())
	}
	sum := sha256.New()
	frames := disk.NewFrames(io.TeeReader(r, sum))
	for {
		entry, err := frames.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return m, disk.Fault("read "+seg.Name(), err)
		}
		g, err := record.Glance(entry)
		if err != nil {
			return m, fmt.Errorf("record %d: %w", m.First+m.Count, err)
		}
		m.take(g, cs)
	}
	m.SHA256 = hex.EncodeToString(sum.Sum(nil))
	if m.Count != seg.Count || frames.Offset != seg.Size {
		return m, &pavise.Error{
			Kind: pavise.Unverified, Msg: fmt.Sprintf("%s holds %d records in %d bytes, not %d in %d", seg.Name(), m.Count, frames.Offset, seg.Count, seg.Size),
			Hint: "run pavise ledger verify",
		}
	}
	return m, nil
}

// take notes one record.
func (m *Manifest) take(g record.Glimpse, cs classes) {
	if m.Count == 0 || g.At.Before(m.From) {
		m.From = g.At
	}
	if g.At.After(m.To) {
		m.To = g.At
	}
	m.Count++
	c := cs.of(g.Kind)
	extent := m.Classes[c.Name]
	extent.Records++
	if g.At.After(extent.To) {
		extent.To = g.At
	}
	m.Classes[c.Name] = extent
	if until := g.At.Add(c.Keep); c.Keep > 0 && until.After(m.Until) {
		m.Until = until
	}
}

// named returns the class of that name.
func (cs classes) named(name string) (Class, bool) {
	for _, c := range cs {
		if c.Name == name {
			return c, true
		}
	}
	return Class{Name: Default}, name == Default
}

// wanted returns until when the segment's records are wanted on this machine; ok
// is false if that is for ever. A class that is no more keeps for ever.
func (m Manifest) wanted(cs classes) (until time.Time, ok bool) {
	for name, extent := range m.Classes {
		c, known := cs.named(name)
		if !known || c.Online == 0 {
			return time.Time{}, false
		}
		if end := extent.To.Add(c.Online); end.After(until) {
			until = end
		}
	}
	return until, true
}

// readManifest reads the manifest of an object's name from a bucket.
func readManifest(ctx context.Context, b blob.Bucket, name string) (m Manifest, err error) {
	text, err := read(ctx, b, name, maxManifest)
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(text, &m); err != nil || m.object() != name || m.Count == 0 || m.Bytes <= 0 {
		return m, &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("%s in the archive is no manifest of a segment", name), Hint: "somebody wrote there: restore it from a copy, or archive anew elsewhere", Err: err}
	}
	return m, nil
}

// read returns an object whole.
func read(ctx context.Context, b blob.Bucket, name string, limit int64) ([]byte, error) {
	r, err := b.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	text, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("%s in the archive is longer than %d bytes", name, limit)}
	}
	return text, err
}
