package lineage

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pavise/pavise"
)

// What an event may hold.
const (
	MaxEvent    = 1 << 20 // bytes
	maxDatasets = 10_000  // inputs and outputs together
	maxName     = 2048    // bytes of a namespace, a name or a version
)

// A Dataset is what OpenLineage calls one: a table, files below a path, a topic, a model.
type Dataset struct {
	Namespace string `json:"namespace"` // where it lies, for example s3://bucket
	Name      string `json:"name"`      // unique in the namespace
}

// String is the dataset as people write it: namespace, a space, name.
func (d Dataset) String() string { return d.Namespace + " " + d.Name }

// A Use is a dataset as one run read or wrote it.
type Use struct {
	Dataset
	Root    string `json:"root,omitempty"`    // of the seal that the pipeline names, 64 hex digits; empty: none
	Rows    int64  `json:"rows,omitempty"`    // that it says the seal has; 0: it says nothing
	Version string `json:"version,omitempty"` // as the dataset's own store counts
	Type    string `json:"type,omitempty"`    // TABLE, FILE, MODEL …, as the pipeline says
}

// An Event is one OpenLineage event (spec 2-0-2): of a run, of a job, or of a dataset.
type Event struct {
	At       time.Time // as its producer's clock had it
	Type     string    // START, RUNNING, COMPLETE, ABORT, FAIL or OTHER; empty: not said, or of no run
	Producer string    // the program that made it
	Run      string    // a UUID; empty: the event is of no run
	Parent   string    // the run that started this one; empty: not said
	Job      Dataset   // namespace and name of the job; empty: the event is of a dataset
	Inputs   []Use
	Outputs  []Use // of an event of a dataset: that one
}

// ParseEvent reads one event. Of facets it reads those that say which bytes are meant
// (pavise_seal, version), what kind of thing a dataset is (datasetType) and who started a
// run (parent); others may say what they like. Where the same key stands twice in what is
// read, where a name is none or a UUID is none, the event is refused.
func ParseEvent(text []byte) (Event, error) {
	if len(text) > MaxEvent {
		return Event{}, invalid("the event has %d bytes", "an event of at most 1 MiB is read", len(text))
	}
	if !utf8.Valid(text) {
		return Event{}, invalid("the event is not UTF-8", "send JSON in UTF-8")
	}
	all, err := object(text)
	if err != nil {
		return Event{}, invalid("the event is no JSON object: %v", "send an OpenLineage RunEvent, JobEvent or DatasetEvent", err)
	}
	e := Event{}
	r := &reader{of: all}
	e.At, e.Producer = r.time("eventTime"), r.text("producer", true)
	r.text("schemaURL", true)
	switch {
	case r.has("run"):
		e.Type = r.eventType()
		e.Run, e.Parent = r.run()
		e.Job = r.child("job").name()
	case r.has("dataset"):
		e.Outputs = []Use{r.child("dataset").use()}
	case r.has("job"):
		e.Job = r.child("job").name()
	default:
		return Event{}, invalid("the event is of no run, no job and no dataset", "an OpenLineage event has one of them")
	}
	if e.Run != "" || e.Job != (Dataset{}) {
		e.Inputs, e.Outputs = r.uses("inputs"), r.uses("outputs")
	}
	if r.err == nil && len(e.Inputs)+len(e.Outputs) > maxDatasets {
		r.fail("", "names %d datasets, and at most 10,000 are read", len(e.Inputs)+len(e.Outputs))
	}
	if r.err != nil {
		return Event{}, r.err
	}
	return e, nil
}

// A reader takes fields out of one object. Its first error stays, and what is read after
// it is empty.
type reader struct {
	of    map[string]json.RawMessage
	where string // path of the object inside the event, with a dot behind it
	err   error
	up    *reader
}

// fail keeps the first error, here and all the way up.
func (r *reader) fail(field, format string, args ...any) {
	where := "its " + r.where + field
	if field == "" {
		where = strings.TrimSuffix("its "+r.where, ".")
	}
	if r.where+field == "" {
		where = "it"
	}
	err := invalid("the event cannot be read: "+where+" "+format, "see OpenLineage's spec 2-0-2", args...)
	for at := r; at != nil; at = at.up {
		if at.err == nil {
			at.err = err
		}
	}
}

// text reads a string: a name, which is what people and policies see.
func (r *reader) text(field string, needed bool) string {
	raw := r.of[field]
	if r.err != nil || raw == nil || string(raw) == "null" {
		if needed && r.err == nil {
			r.fail(field, "is missing")
		}
		return ""
	}
	var s string
	switch err := json.Unmarshal(raw, &s); {
	case err != nil:
		r.fail(field, "is no text")
	case len(s) > maxName:
		r.fail(field, "has %d bytes, and 2,048 are read", len(s))
	case s == "" && needed:
		r.fail(field, "is empty")
	case strings.ContainsFunc(s, func(c rune) bool { return !unicode.IsGraphic(c) }):
		r.fail(field, "has a character that cannot be seen")
	default:
		return s
	}
	return ""
}

func (r *reader) time(field string) time.Time {
	s := r.text(field, true)
	if r.err != nil {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		r.fail(field, "is %.40q, and not a time with its zone as RFC 3339 writes it", s)
	}
	return t
}

func (r *reader) eventType() string {
	s := r.text("eventType", false)
	switch s {
	case "", "START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER":
		return s
	}
	r.fail("eventType", "is %.40q, and not START, RUNNING, COMPLETE, ABORT, FAIL or OTHER", s)
	return ""
}

// child reads the object in a field.
func (r *reader) child(field string) *reader {
	c := &reader{where: r.where + field + ".", up: r, err: r.err}
	if r.err != nil {
		return c
	}
	of, err := object(r.of[field])
	if err != nil {
		r.fail(field, "is no object: %v", err)
		c.err = r.err
	}
	c.of = of
	return c
}

// has reports whether the object has a field that says something.
func (r *reader) has(field string) bool {
	raw := r.of[field]
	return raw != nil && string(raw) != "null"
}

func (r *reader) name() Dataset {
	return Dataset{Namespace: r.text("namespace", true), Name: r.text("name", true)}
}

// run reads the run's id and that of its parent.
func (r *reader) run() (id, parent string) {
	run := r.child("run")
	id = run.uuid("runId")
	if run.has("facets") {
		if facets := run.child("facets"); facets.has("parent") {
			parent = facets.child("parent").child("run").uuid("runId")
		}
	}
	return id, parent
}

// uuid reads a UUID, which is one whatever case it is written in.
func (r *reader) uuid(field string) string {
	s := strings.ToLower(r.text(field, true))
	if r.err != nil {
		return ""
	}
	digits := strings.ReplaceAll(s, "-", "")
	if _, err := hex.DecodeString(digits); err != nil || len(digits) != 32 || len(s) != 36 ||
		s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		r.fail(field, "is %.40q, and no UUID", s)
		return ""
	}
	return s
}

func (r *reader) uses(field string) []Use {
	if !r.has(field) {
		return nil
	}
	var raws []json.RawMessage
	if err := json.Unmarshal(r.of[field], &raws); err != nil {
		r.fail(field, "is no list")
		return nil
	}
	if len(raws) > maxDatasets {
		r.fail(field, "names %d datasets, and at most 10,000 are read", len(raws))
		return nil
	}
	uses := make([]Use, 0, len(raws))
	for i, raw := range raws {
		in := &reader{where: fmt.Sprintf("%s%s[%d]", r.where, field, i), up: r}
		of, err := object(raw)
		if err != nil {
			in.fail("", "is no object: %v", err)
			return nil
		}
		in.of, in.where = of, in.where+"."
		uses = append(uses, in.use())
		if r.err != nil {
			return nil
		}
	}
	return uses
}

// use reads a dataset with those of its facets that say which bytes are meant. Producers
// put them among the facets of the dataset, or among those of this one use of it.
func (r *reader) use() Use {
	u := Use{Dataset: r.name()}
	for _, field := range []string{"facets", "inputFacets", "outputFacets"} {
		if r.has(field) {
			r.child(field).facets(&u)
		}
	}
	return u
}

// facets reads the facets of one use. What two places say of it must be the same.
func (r *reader) facets(u *Use) {
	if r.has("pavise_seal") {
		root, rows := r.child("pavise_seal").seal()
		if u.Root != "" && (u.Root != root || u.Rows != rows) {
			r.fail("pavise_seal", "is another seal than the dataset's other facets have")
		}
		u.Root, u.Rows = root, rows
	}
	if r.has("version") {
		u.Version = r.child("version").text("datasetVersion", true)
	}
	if r.has("datasetType") {
		u.Type = r.child("datasetType").text("datasetType", true)
	}
}

// seal reads our own facet, of which nothing is guessed.
func (r *reader) seal() (root string, rows int64) {
	root = r.text("root", true)
	if digest, err := hex.DecodeString(root); r.err == nil && (err != nil || len(digest) != 32 || strings.ToLower(root) != root) {
		r.fail("root", "is %.80q, and not 64 hex digits", root)
	}
	if algorithm := r.text("algorithm", false); algorithm != "" && algorithm != "sha256" {
		r.fail("algorithm", "is %.40q, and seals are of sha256", algorithm)
	}
	if r.has("rows") {
		if err := json.Unmarshal(r.of["rows"], &rows); err != nil || rows < 0 {
			r.fail("rows", "is no count")
		}
	}
	return root, rows
}

// object takes an object apart by its exact keys, and refuses one that has a key twice:
// others might have read the other.
func object(text []byte) (map[string]json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	if open, err := d.Token(); err != nil {
		return nil, reason(err)
	} else if open != json.Delim('{') {
		return nil, errors.New("it does not begin with {")
	}
	of := map[string]json.RawMessage{}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, reason(err)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, reason(err)
		}
		name, _ := key.(string)
		if _, twice := of[name]; twice {
			return nil, fmt.Errorf("key %.80q appears twice", name)
		}
		of[name] = value
	}
	if _, err := d.Token(); err != nil {
		return nil, reason(err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("something stands behind it")
	}
	return of, nil
}

// reason says of the JSON package's errors what callers can use.
func reason(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("it breaks off")
	}
	return err
}

func invalid(msg, hint string, args ...any) error {
	return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf(msg, args...), Hint: hint}
}
