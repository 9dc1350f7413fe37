package receiver

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/pavise/pavise/internal/plainjson"
)

// The bounds of a page of a feed.
const (
	maxPage       = 16 << 20 // bytes
	maxPageOf     = 10_000   // objects
	maxIndicator  = 1 << 20  // bytes of one object
	maxPattern    = 64 << 10 // bytes of an indicator's pattern
	maxStixNested = 32
	maxBundle     = 4 << 20 // bytes of the objects that are brought at a time, unless a single one has more
)

// An envelope is what a server of TAXII answers (TAXII 2.1, 3.7).
type envelope struct {
	More    bool              `json:"more"`
	Next    string            `json:"next"`
	Objects []json.RawMessage `json:"objects"`
}

// parseEnvelope reads a page strictly. Its objects are read later, each by itself: one that
// is bad must not keep the others from being read.
func parseEnvelope(text []byte) (e envelope, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return e, errors.New("it is no object")
	}
	into := map[string]any{"more": &e.More, "next": &e.Next, "objects": &e.Objects}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return e, err
		}
		name, _ := key.(string)
		if into[name] == nil {
			return e, fmt.Errorf("it has %.80q, which nobody knows, or twice", name)
		}
		if err := d.Decode(into[name]); err != nil {
			return e, err
		}
		delete(into, name)
	}
	if _, err := d.Token(); err != nil {
		return e, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return e, errors.New("something stands behind it")
	}
	if len(e.Objects) > maxPageOf {
		err = fmt.Errorf("it holds %d objects, more than %d", len(e.Objects), maxPageOf)
	}
	return e, err
}

// A stixObject is one of a feed.
type stixObject struct {
	id       string
	modified time.Time // zero: its type has no versions
	text     []byte    // written anew
}

// Types of STIX 2.1 that have no versions: what was observed (section 6), and markings.
var unversioned = []string{
	"artifact", "autonomous-system", "directory", "domain-name", "email-addr", "email-message", "file", "ipv4-addr", "ipv6-addr", "mac-addr", "mutex",
	"network-traffic", "process", "software", "url", "user-account", "windows-registry-key", "x509-certificate", "marking-definition",
}

var (
	stixType = regexp.MustCompile(`^[a-z0-9](-?[a-z0-9]){2,249}$`)
	stixUUID = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
)

// parseSTIX reads an object of STIX 2.1 strictly: what it has to say of itself, and of an
// indicator what it has to say at all.
func parseSTIX(raw []byte) (o stixObject, err error) {
	if len(raw) > maxIndicator || plainjson.ShapeOf(raw).Depth > maxStixNested {
		return o, fmt.Errorf("an object of %d bytes is longer than %d, or nested more than %d deep: %.80q", len(raw), maxIndicator, maxStixNested, raw)
	}
	var is struct {
		Type        string `json:"type"`
		ID          string `json:"id"`
		Spec        string `json:"spec_version"`
		Created     string `json:"created"`
		Modified    string `json:"modified"`
		Pattern     string `json:"pattern"`
		PatternType string `json:"pattern_type"`
		ValidFrom   string `json:"valid_from"`
		ValidUntil  string `json:"valid_until"`
	}
	if err := plainjson.Read(raw, &is); err != nil {
		return o, err
	}
	wrong := func(what string) error { return fmt.Errorf("%.100q: %s", is.ID, what) }
	uuid, typed := strings.CutPrefix(is.ID, is.Type+"--")
	free := slices.Contains(unversioned, is.Type)
	switch {
	case !stixType.MatchString(is.Type) || !typed || !stixUUID.MatchString(uuid):
		return o, wrong("its id is not that of its type")
	case is.Spec != "2.1" && (is.Spec != "" || !free || is.Type == "marking-definition"):
		return o, wrong("it is not STIX 2.1")
	}
	o.id = is.ID
	if !free {
		created, err := stixTime(is.Created)
		if err == nil {
			o.modified, err = stixTime(is.Modified)
		}
		if err != nil || o.modified.Before(created) {
			return o, wrong("it does not say when it was created, and later modified")
		}
	}
	if is.Type == "indicator" {
		from, err := stixTime(is.ValidFrom)
		until, late := stixTime(is.ValidUntil)
		switch {
		case is.Pattern == "" || is.PatternType == "" || err != nil:
			return o, wrong("an indicator has a pattern, what it is written in, and since when it is valid")
		case len(is.Pattern) > maxPattern:
			return o, wrong("its pattern is too long")
		case is.ValidUntil != "" && (late != nil || !until.After(from)):
			return o, wrong("it is valid until before it is")
		}
	}
	o.text, err = plainjson.Canonical(raw)
	return o, err
}

// stixTime reads a time of STIX 2.1: RFC 3339, in UTC.
func stixTime(text string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err == nil && !strings.HasSuffix(text, "Z") {
		err = errors.New("it is not in UTC")
	}
	return t.UTC(), err
}

// bundle puts objects into one bundle, whose id is made from them.
func bundle(objects []json.RawMessage) []byte {
	var all []byte
	for i, o := range objects {
		all = append(append(all, "[,"[min(i, 1)]), o...)
	}
	all = append(all, ']')
	sum := digest(all)
	text := fmt.Appendf(nil, `{"type":"bundle","id":"bundle--%s-%s-8%s-8%s-%s","objects":`, sum[:8], sum[8:12], sum[13:16], sum[17:20], sum[20:32])
	return append(append(text, all...), '}')
}
