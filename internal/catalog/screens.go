package catalog

import (
	"encoding/json"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/poison"
	"github.com/pavise/pavise/internal/rowseal"
	"github.com/pavise/pavise/internal/store"
)

// Terms are how the rows of a dataset are screened.
type Terms struct {
	Label  string   `json:"label"`            // the column with the class
	Source string   `json:"source,omitempty"` // the column that says who sent a row
	Omit   []string `json:"omit,omitempty"`   // columns that are no features
}

// A ScreenState is how far a screening has come.
type ScreenState string

// The states.
const (
	ScreenWaiting    ScreenState = "waiting"    // for its turn
	ScreenUnderWay   ScreenState = "screening"  // it is under way
	ScreenClean      ScreenState = "clean"      // no row is to be quarantined
	ScreenSuspect    ScreenState = "suspect"    // some are, or something was not looked at as it is trusted
	ScreenUnscreened ScreenState = "unscreened" // it could not be done
)

// A Screening is one look for poison in the rows of one content of a dataset. What it says is
// of the bytes that have this root, and of no others.
type Screening struct {
	Root     rowseal.Digest `json:"root"`
	Version  int            `json:"version,omitempty"` // the content's, when it was asked for; 0: it was found, and was none
	Terms                   // as they were asked for
	Baseline int            `json:"baseline,omitempty"` // the version whose rows are trusted; 0: none is
	Trust    rowseal.Digest `json:"baseline_root,omitzero"`

	By        pavise.Name `json:"by"`
	Scheduled bool        `json:"scheduled"` // by the watch: by is who set it
	Asked     time.Time   `json:"asked"`
	Begun     time.Time   `json:"begun,omitzero"`
	Begins    int         `json:"begins,omitempty"`  // how often it was begun: each time anew
	Stopped   int         `json:"stopped,omitempty"` // how often the server stopped meanwhile, in order
	Ended     time.Time   `json:"ended,omitzero"`
	State     ScreenState `json:"state"`
	Problem   string      `json:"problem,omitempty"` // why it could not be done
	Passing   bool        `json:"passing,omitempty"` // that may be over soon
	Tries     int         `json:"tries,omitempty"`   // how often it was tried before, for such a problem

	Judged Judged `json:"judged,omitzero"`
	Report string `json:"report,omitempty"` // SHA-256 of the report that is kept
}

// over reports whether it has ended.
func (s *Screening) over() bool {
	return s.State != ScreenWaiting && s.State != ScreenUnderWay
}

// again reports whether the watch is to ask for it once more.
func (s *Screening) again() bool {
	return s != nil && s.State == ScreenUnscreened && s.Passing && s.Tries < maxTries
}

// same reports whether another was asked for in the same way.
func (s *Screening) same(o *Screening) bool {
	a, _ := json.Marshal(s.Terms) // of strings
	b, _ := json.Marshal(o.Terms)
	return string(a) == string(b) && s.Trust == o.Trust
}

// Judged are the counts of a screening.
type Judged struct {
	Rows       int              `json:"rows"`                      // that were judged
	Trusted    int              `json:"trusted"`                   // that are in the baseline, too, and were not judged
	Apart      int              `json:"files_apart,omitempty"`     // that were not looked at: they have no rows
	Untrusted  int              `json:"files_untrusted,omitempty"` // whose columns are not known to be those of the baseline
	Columns    int              `json:"columns"`
	Quarantine int              `json:"quarantine"` // rows that are bad enough
	Dropped    []string         `json:"columns_dropped,omitempty"`
	Screens    []poison.Outcome `json:"screens,omitempty"`
}

// clean reports whether nothing speaks against any row, as far as was looked.
func (j Judged) clean() bool { return j.Quarantine+len(j.Dropped)+j.Apart+j.Untrusted == 0 }

// A Report is what a person reads of a screening. Of rows it has where they stand and what speaks
// against them.
type Report struct {
	Rows       []Suspect        `json:"rows"`           // the worst first, at most MaxSuspects
	Quarantine []string         `json:"quarantine"`     // keyed digests of rows, the worst first, at most MaxQuarantine
	More       int              `json:"more,omitempty"` // so many others are not listed
	Patterns   []poison.Pattern `json:"patterns"`
	Shifts     []poison.Shift   `json:"shifts,omitempty"`
	Sources    []poison.Harm    `json:"sources,omitempty"`
	Notes      []string         `json:"notes,omitempty"`
	Blind      []string         `json:"cannot_see"`
}

// The bounds of a report.
const (
	MaxSuspects   = 1000
	MaxQuarantine = 10_000
)

// A Suspect is a row that is bad enough for quarantine.
type Suspect struct {
	File    string          `json:"file"`
	Row     uint64          `json:"row"` // as in a seal: from 1, a header with them
	Score   float64         `json:"score"`
	Digest  string          `json:"digest"` // keyed
	Reasons []poison.Reason `json:"reasons"`
}

// A ToScreen is what is to be screened: what lies at a place, if it has the root.
type ToScreen struct {
	Place    Place
	Root     rowseal.Digest
	Terms    Terms
	Baseline string                // the seal whose rows are trusted, with its index beside it; empty: none are
	Dir      string                // for what is needed meanwhile; whoever asks removes it
	Time     time.Duration         // that it may take once it has its turn: then the error is context.DeadlineExceeded
	Say      func(progress string) // gets a line now and then
}

// readScreening returns the screening of a content, or nil.
func readScreening(tx *store.Tx, name pavise.Name, root rowseal.Digest) (*Screening, error) {
	return screeningOf(tx, `root = ?3`, name, root.String())
}

// lastScreening returns the screening of a dataset that was asked for last, or nil.
func lastScreening(tx *store.Tx, name pavise.Name) (*Screening, error) {
	return screeningOf(tx, `?3 = '' ORDER BY asked DESC LIMIT 1`, name, "")
}

func screeningOf(tx *store.Tx, where string, name pavise.Name, root string) (*Screening, error) {
	rows, err := tx.Query(`SELECT doc FROM catalog_screenings WHERE tenant = ?1 AND id = ?2 AND `+where, name.Tenant, name.ID, root)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	if !rows.Next() {
		return nil, rows.Err()
	}
	var doc string
	s := &Screening{}
	if err = rows.Scan(&doc); err == nil {
		err = json.Unmarshal([]byte(doc), s)
	}
	return s, err
}

// writeScreening keeps a screening, instead of an earlier one of the same content.
func writeScreening(tx *store.Tx, name pavise.Name, s *Screening) error {
	doc, err := json.Marshal(s)
	if err != nil {
		return err
	}
	_, err = tx.Exec(`INSERT INTO catalog_screenings (tenant, id, root, pending, asked, doc) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (tenant, id, root) DO UPDATE SET pending = excluded.pending, asked = excluded.asked, doc = excluded.doc`,
		name.Tenant, name.ID, s.Root.String(), !s.over(), s.Asked.UnixNano(), string(doc))
	return err
}

// dropScreenings forgets those of contents that are kept no longer.
func dropScreenings(tx *store.Tx, name pavise.Name, kept []string) error {
	list, _ := json.Marshal(append([]string{}, kept...)) // of strings
	_, err := tx.Exec(`DELETE FROM catalog_screenings WHERE tenant = ? AND id = ? AND root NOT IN (SELECT value FROM json_each(?))`, name.Tenant, name.ID, string(list))
	return err
}

// A pending is a content that is to be screened.
type pending struct {
	name pavise.Name
	root string
}

// pendingScreenings are those to do, of each tenant the one that waits longest.
func pendingScreenings(tx *store.Tx) (list []pending, err error) {
	rows, err := tx.Query(`SELECT tenant, id, root, min(asked) FROM catalog_screenings WHERE pending GROUP BY tenant ORDER BY 4`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		p := pending{name: pavise.Name{Kind: Kind}}
		var asked int64
		if err := rows.Scan(&p.name.Tenant, &p.name.ID, &p.root, &asked); err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, rows.Err()
}

// waitingScreenings is how many of a tenant are to be done.
func waitingScreenings(tx *store.Tx, tenant string) (n int, err error) {
	err = tx.QueryRow(`SELECT count(*) FROM catalog_screenings WHERE tenant = ? AND pending`, tenant).Scan(&n)
	return n, err
}
