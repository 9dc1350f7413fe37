package gate

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/contract"
	"github.com/pavise/pavise/internal/store"
)

// KindSource is the kind of thing that a source is.
const KindSource = "source"

// Whether batches must be signed, where a source has signers.
const (
	SignedRequired = "required"
	SignedOptional = "optional"
)

// What a source may be.
const (
	maxSources   = 256 // of one tenant
	maxTemplated = 64  // sources whose templates are known, of all tenants: each takes up to some megabytes
	maxSigners   = 16
	maxWriters   = 256
	maxSpec      = 2 << 20 // bytes of a spec as JSON
	wholeLine    = "line"  // what Templates says of lines

	defaultShare = 0.01
	defaultLearn = 20_000
)

// A Spec says what a source promises, and what it is held to: the request of ingest.put and
// of ingest.revise.
type Spec struct {
	Source    pavise.Name `json:"source" arg:"" help:"the source's name: its id, or tenant/source/id" doc:"the source's name, as tenant/source/id"`
	Form      string      `json:"form,omitempty" enum:"ndjson,csv,lines,otlp,stix,blob," default:"" placeholder:"FORM" help:"what its batches are: ndjson, the default, csv, lines, otlp, stix or blob" doc:"what its batches are: ndjson, which is meant when absent, csv, lines, otlp, stix or blob"`
	Contract  []byte      `json:"contract,omitempty" type:"filecontent" placeholder:"FILE" help:"the contract that its rows keep: YAML, Open Data Contract Standard" doc:"the contract that its rows keep: YAML, Open Data Contract Standard 3.0 or 3.1"`
	Schema    string      `json:"schema,omitempty" placeholder:"NAME" help:"which schema of the contract, where it has several" doc:"which schema of the contract, where it has several"`
	Signers   []byte      `json:"signers,omitempty" type:"filecontent" placeholder:"FILE" help:"public keys of those who sign its batches: Ed25519, as PEM" doc:"public keys of those who sign its batches: Ed25519, as PEM, 16 at most"`
	Signed    string      `json:"signed,omitempty" enum:"required,optional," default:"" placeholder:"WHETHER" help:"whether each batch must be signed, where there are signers: required, the default, or optional" doc:"whether each batch must be signed, where there are signers: required, which is meant when absent, or optional: then a signature that is there must hold"`
	Writer    []string    `json:"writer,omitempty" placeholder:"WHO" help:"who writes it; may be repeated, and end with *: batches of others are held (default: anybody who may push)" doc:"who writes it, as carriers say it; a * at the end stands for any rest. Batches of others are held. None: anybody who may push"`
	Templates string      `json:"templates,omitempty" placeholder:"COLUMN" help:"know the templates of this column, or of lines with line, and hold batches with too many new ones" doc:"the column whose templates are known, or line for a source of lines: batches with too many new ones are held"`
	NewShare  float64     `json:"new_share,omitempty" minimum:"0" maximum:"1" placeholder:"SHARE" help:"the share of lines that may have a new template (default 0.01)" doc:"the share of lines that may have a new template; 0.01 when absent"`
	Learn     int         `json:"learn,omitempty" minimum:"0" maximum:"10000000" placeholder:"LINES" help:"lines from which templates are learnt before any is new (default 20,000)" doc:"lines from which templates are learnt before any is new; 20,000 when absent"`
	Distinct  string      `json:"distinct,omitempty" placeholder:"COLUMN" help:"watch how many different values this column has each hour" doc:"the column of which is watched how many different values it has each hour"`
	Sequence  string      `json:"sequence,omitempty" placeholder:"COLUMN" help:"watch the numbers that this column counts records by: gaps, and what comes again" doc:"the column that counts records, 1 more each, for each writer: gaps and what comes again are told"`
	QuotaMB   int         `json:"quota_mb,omitempty" minimum:"0" maximum:"1048576" placeholder:"MB" help:"megabytes that it may bring in an hour (default: any)" doc:"megabytes that it may bring in an hour; any when absent"`
}

// A terms is a spec that was checked, ready to be held against batches. It never changes.
type terms struct {
	spec   Spec
	digest string // of the spec
	schema *contract.Schema
	keys   []ed25519.PublicKey
	named  string // the contract, as reasons name it
}

// tabular reports whether batches of a form have rows with columns.
func tabular(form string) bool {
	return form == FormNDJSON || form == FormCSV || form == FormOTLP
}

// read checks a spec, and fills in what is meant where nothing is said. Errors are of kind
// Invalid. Its contract is read by contract.Parse, or contract.Kept if it was taken before.
func (s Spec) read(parse func(string, []byte) (*contract.Contract, error)) (*terms, error) {
	wrong := func(hint, format string, args ...any) (*terms, error) {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s: ", s.Source) + fmt.Sprintf(format, args...), Hint: hint}
	}
	if err := s.Source.Validate(); err != nil {
		return nil, err
	}
	if s.Source.Kind != KindSource {
		return wrong("write it as tenant/source/id", "it is a %s, and no source", s.Source.Kind)
	}
	if s.Form == "" {
		s.Form = FormNDJSON
	}
	columns := s.Distinct != "" || s.Sequence != "" || len(s.Contract) > 0
	switch {
	case !slices.Contains([]string{FormNDJSON, FormCSV, FormLines, FormOTLP, FormSTIX, FormBlob}, s.Form):
		return wrong("it is ndjson, csv, lines, otlp, stix or blob", "there is no form %.40q", s.Form)
	case columns && !tabular(s.Form):
		return wrong("contracts and watched columns are of ndjson, csv and otlp", "%s has no columns", s.Form)
	case s.Templates != "" && s.Form == FormLines && s.Templates != wholeLine:
		return wrong("say --templates line", "lines have no column %.80q", s.Templates)
	case s.Templates != "" && (s.Form == FormSTIX || s.Form == FormBlob):
		return wrong("templates are of lines, or of a column of ndjson, csv and otlp", "%s has no lines", s.Form)
	case s.NewShare < 0 || s.NewShare > 1 || s.NewShare != s.NewShare:
		return wrong("it is from 0 to 1", "the share of new templates is %v", s.NewShare)
	case s.Learn < 0 || s.QuotaMB < 0:
		return wrong("leave it out to have the usual", "a number is below 0")
	case s.Signed != "" && s.Signed != SignedRequired && s.Signed != SignedOptional:
		return wrong("it is required or optional", "signed is %.40q", s.Signed)
	case s.Signed != "" && len(s.Signers) == 0:
		return wrong("name their keys with --signers FILE", "it says that batches are signed, and has no signers")
	case len(s.Writer) > maxWriters || slices.ContainsFunc(s.Writer, func(w string) bool { return w == "" || len(w) > 512 }):
		return wrong("", "it has %d writers, or one without a name; at most %d are read, of 512 bytes each", len(s.Writer), maxWriters)
	}
	if len(s.Signers) > 0 && s.Signed == "" {
		s.Signed = SignedRequired
	}
	if s.Templates != "" && s.NewShare == 0 {
		s.NewShare = defaultShare
	}
	if s.Templates != "" && s.Learn == 0 {
		s.Learn = defaultLearn
	}
	return s.compile(parse)
}

// compile reads the contract and the keys of a spec.
func (s Spec) compile(parse func(string, []byte) (*contract.Contract, error)) (t *terms, err error) {
	t = &terms{spec: s}
	if t.keys, err = publicKeys(s.Signers); err != nil {
		return nil, err
	}
	if len(s.Contract) > 0 {
		c, err := parse("the contract", s.Contract)
		if err != nil {
			return nil, err
		}
		at := slices.IndexFunc(c.Schema, func(one contract.Schema) bool {
			return one.Name == s.Schema || s.Schema == "" && len(c.Schema) == 1
		})
		if at < 0 {
			return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the contract %.80s has %d schemas, and %q is none of them", c.ID, len(c.Schema), s.Schema), Hint: "name one with --schema"}
		}
		t.schema, t.named = &c.Schema[at], fmt.Sprintf("%.80s %.40s", c.ID, c.Version)
		if _, err := contract.NewChecker(t.schema); err != nil {
			return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "the contract: " + err.Error(), Err: err}
		}
	}
	text, err := json.Marshal(s)
	if err == nil && len(text) > maxSpec {
		err = &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("what is said of %s takes %d bytes, more than %d", s.Source, len(text), maxSpec)}
	}
	sum := sha256.Sum256(text)
	t.digest = hex.EncodeToString(sum[:])
	return t, err
}

// publicKeys reads Ed25519 keys from PEM.
func publicKeys(text []byte) (keys []ed25519.PublicKey, err error) {
	bad := func(words string, err error) ([]ed25519.PublicKey, error) {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "the signers' keys: " + words, Hint: "openssl pkey -in key.pem -pubout writes one; several may follow each other", Err: err}
	}
	for rest := text; len(rest) > 0; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			if len(strings.TrimSpace(string(rest))) == 0 && len(keys) > 0 {
				break
			}
			return bad("what stands there is no PEM", nil)
		}
		if block.Type != "PUBLIC KEY" {
			return bad(fmt.Sprintf("there is a %.40q, and no PUBLIC KEY", block.Type), nil)
		}
		key, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return bad("one cannot be read", err)
		}
		ed, is := key.(ed25519.PublicKey)
		if !is {
			return bad("one is not of Ed25519", nil)
		}
		if keys = append(keys, ed); len(keys) > maxSigners {
			return bad(fmt.Sprintf("there are more than %d", maxSigners), nil)
		}
	}
	return keys, nil
}

// writes reports whether somebody is one of those who write a source.
func (t *terms) writes(writer string) bool {
	return len(t.spec.Writer) == 0 || slices.ContainsFunc(t.spec.Writer, func(w string) bool {
		if start, any := strings.CutSuffix(w, "*"); any {
			return writer != "" && strings.HasPrefix(writer, start)
		}
		return w == writer
	})
}

// steps are the room's migrations. They are only ever appended to.
var steps = []string{
	`CREATE TABLE gate_sources (
		tenant   TEXT NOT NULL,
		id       TEXT NOT NULL,
		spec     TEXT NOT NULL,    -- JSON
		made     INTEGER NOT NULL, -- Unix seconds, of these terms
		by       TEXT NOT NULL,    -- who had them made
		gone     INTEGER NOT NULL, -- when it was deleted; 0: it was not
		position INTEGER NOT NULL, -- the last one that was given to a batch
		learnt   INTEGER NOT NULL, -- lines that templates were learnt from; 0: they are not learnt
		PRIMARY KEY (tenant, id)
	) STRICT, WITHOUT ROWID;
	CREATE TABLE gate_batches (
		tenant   TEXT NOT NULL,
		source   TEXT NOT NULL,
		batch    TEXT NOT NULL,    -- the sender's name for it
		sha256   TEXT NOT NULL,    -- of its bytes
		state    TEXT NOT NULL,    -- placing, admitted, held, releasing, discarded, expired
		position INTEGER NOT NULL, -- in the output; 0: none
		rows     INTEGER NOT NULL,
		bytes    INTEGER NOT NULL,
		form     TEXT NOT NULL,
		writer   TEXT NOT NULL,
		at       INTEGER NOT NULL, -- Unix seconds, when the carrier says it was written; 0: it does not
		came     INTEGER NOT NULL, -- Unix seconds
		who      TEXT NOT NULL,    -- who brought it
		root     TEXT NOT NULL,    -- who answers for them
		reasons  TEXT NOT NULL,    -- why it is or was held: JSON
		ended    INTEGER NOT NULL, -- when it left the quarantine; 0: it did not, or was never there
		PRIMARY KEY (tenant, source, batch, sha256)
	) STRICT, WITHOUT ROWID;
	CREATE INDEX gate_by_bytes ON gate_batches (tenant, source, sha256);
	CREATE INDEX gate_by_state ON gate_batches (state, came);
	CREATE TABLE gate_templates (
		tenant   TEXT NOT NULL,
		source   TEXT NOT NULL,
		template BLOB NOT NULL,
		PRIMARY KEY (tenant, source, template)
	) STRICT, WITHOUT ROWID;
	CREATE TABLE gate_hours (
		tenant    TEXT NOT NULL,
		source    TEXT NOT NULL,
		hour      INTEGER NOT NULL, -- since 1970
		records   INTEGER NOT NULL,
		bytes     INTEGER NOT NULL,
		different REAL NOT NULL,    -- values of the column that is watched
		PRIMARY KEY (tenant, source, hour)
	) STRICT, WITHOUT ROWID`,
	// seen counts templates in the order in which they were last learnt from; 0: before that was kept.
	`ALTER TABLE gate_templates ADD COLUMN seen INTEGER NOT NULL DEFAULT 0`,
}

// A Source is a source as people may see it.
type Source struct {
	Spec
	Digest   string      `json:"digest"`             // of the spec
	Promise  string      `json:"promise,omitempty"`  // id and version of the contract
	Made     time.Time   `json:"made"`               // when these terms were
	By       pavise.Name `json:"by,omitzero"`        // who had them made
	Position uint64      `json:"position"`           // of the last batch in the output
	Admitted int         `json:"admitted"`           // batches, of those that are remembered
	Held     int         `json:"held"`               // batches in quarantine now
	Last     time.Time   `json:"last,omitzero"`      // when the last batch came
	Learnt   int         `json:"learnt,omitempty"`   // lines that templates were learnt from
	Known    int         `json:"known,omitempty"`    // templates
	Writers  []string    `json:"writers,omitempty"`  // who wrote what was admitted, 32 at most
	Watches  []Watch     `json:"watches,omitempty"`  // what is watched, and when it is told
	Missing  uint64      `json:"missing,omitempty"`  // numbers of the sequence that never came, since the start
	Replayed uint64      `json:"replayed,omitempty"` // numbers that came again, since the start
}

// A Watch is what is watched of a source beside what each batch must keep.
type Watch struct {
	What  string `json:"what"`
	Delay string `json:"delay"` // from when on it is told
}

// watches says what is watched under the terms.
func (t *terms) watches() []Watch {
	const volume = "when the hour ends: bursts and silence at once, a rise or fall that stays within three hours, what creeps by 2 % a day within two weeks; nothing in the first two weeks"
	all := []Watch{{"records an hour", volume}}
	if c := t.spec.Distinct; c != "" {
		all = append(all, Watch{fmt.Sprintf("different values of %s an hour", c), volume})
	}
	if c := t.spec.Sequence; c != "" {
		all = append(all, Watch{fmt.Sprintf("the sequence of %s, for each writer", c), "when the hour ends; a number is missing once 1,024 later ones came"})
	}
	return all
}

// save keeps the terms of a source.
func save(tx *store.Tx, name pavise.Name, t *terms, by pavise.Name, now time.Time) error {
	text, err := json.Marshal(t.spec)
	if err != nil {
		return fmt.Errorf("write the terms of %s: %w", name, err)
	}
	_, err = tx.Exec(`INSERT INTO gate_sources (tenant, id, spec, made, by, gone, position, learnt) VALUES (?, ?, ?, ?, ?, 0, 0, 0)
		ON CONFLICT (tenant, id) DO UPDATE SET spec = excluded.spec, made = excluded.made, by = excluded.by, gone = 0`,
		name.Tenant, name.ID, string(text), now.Unix(), by.String())
	return err
}
