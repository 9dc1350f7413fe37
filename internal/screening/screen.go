package screening

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/poison"
	"github.com/pavise/pavise/internal/table"
)

// A Screen says which rows of a file look poisoned. Its fields are arguments and flags of
// the command line.
type Screen struct {
	Say func(text string) `kong:"-"` // gets a line of progress now and then; nil: nobody watches

	// Files are screened instead of File, as one table.
	Files []File `kong:"-"`
	// Trusted begins a pass over the rows, and says of each, by its file and the hash that a seal
	// has of it, whether it is trusted: then it is of the baseline, and is not judged. Nil: no row
	// of the files is.
	Trusted  func() func(file int, row [32]byte) bool `kong:"-"`
	Most     int                                      `kong:"-"` // cells that are held at most; 0: 134 million
	MostRows int                                      `kong:"-"` // rows; 0: as many as cells allow
	rows     int                                      // that the first pass saw

	File       string   `arg:"" optional:"" help:"The rows: CSV, JSONL or Parquet." placeholder:"FILE"`
	Label      string   `help:"The column with the class: its name, or its position from 0." required:"" placeholder:"COLUMN"`
	Source     string   `help:"The column that says who sent the row." placeholder:"COLUMN"`
	Omit       []string `help:"Columns that are no features, such as numbers of rows." placeholder:"COLUMN"`
	Baseline   string   `help:"Rows that are trusted, with the same columns: what is like them is not poison." type:"existingfile" placeholder:"FILE"`
	Embeddings string   `help:"What a model made of each row: NPY, with as many rows." type:"existingfile" placeholder:"FILE"`
	Seed       uint64   `help:"Of what is drawn by chance: the same seed and files give the same report." default:"1"`
}

// Help is the text behind the command's flags.
func (*Screen) Help() string {
	return `Ranks the rows of training data by how poisoned they look: labels that the other rows
contradict, triggers of a backdoor, clusters that vouch for each other, rows that are
unlike their class, duplicates, and sources that differ or do harm. Each row gets a
score; from 1 on it is in the quarantine list, by the hash that a seal has of it. The
file stays as it is: what becomes of the list is for people to decide.

With a baseline the screens are calibrated on rows that are trusted, and see more. No
screen is proof: the report ends with what it cannot see.

It exits with 0 when nothing is to be quarantined, with 1 when something is, or when a
column of the baseline could not be looked at, and with 2 when it could not look.

For example:

  pavise dataset screen flows.csv --label class --baseline trusted.csv --json

With --of the server screens what lies at the place of a dataset that it watches, in the
background, and keeps the report: pavise dataset report shows it again.

  pavise dataset screen --of flows --label class --baseline-version 1`
}

// A Screened is what came of screening a file.
type Screened struct {
	File       string           `json:"file"`
	Baseline   string           `json:"baseline,omitempty"`
	Label      string           `json:"label"`
	Seed       uint64           `json:"seed"`
	Columns    int              `json:"columns"` // features
	Total      int              `json:"total"`   // rows
	Trusted    int              `json:"baseline_rows,omitempty"`
	Rows       []ScreenedRow    `json:"rows"`       // in the order of the file
	Quarantine []string         `json:"quarantine"` // hashes, the worst first
	Patterns   []poison.Pattern `json:"patterns"`   // triggers, the strongest first
	Shifts     []poison.Shift   `json:"shifts,omitempty"`
	Sources    []poison.Harm    `json:"sources,omitempty"`
	Screens    []poison.Outcome `json:"screens"`
	Notes      []string         `json:"notes,omitempty"`
	Dropped    []string         `json:"columns_dropped,omitempty"` // of the baseline, and not looked at
	Blind      []string         `json:"cannot_see"`
	Recorded   bool             `json:"recorded"` // this command leaves no record
}

// A ScreenedRow is what speaks against one row.
type ScreenedRow struct {
	File    string          `json:"file,omitempty"` // where there are several
	Row     int             `json:"row"`            // counted from 1; a header is none
	SealRow int64           `json:"seal_row"`       // as dataset seal and prove --row count: a header is the first
	Line    int64           `json:"line"`           // of the file, where it begins
	Score   float64         `json:"score"`
	Rank    int             `json:"rank"`
	Reasons []poison.Reason `json:"reasons"`
	Hash    string          `json:"hash"` // the leaf of RFC 6962 over its bytes, without the end of its line; of Parquet as in a seal
}

// Found reports whether any row is to be quarantined, or a column of the baseline was not
// looked at.
func (s *Screened) Found() bool { return len(s.Quarantine)+len(s.Dropped) > 0 }

// Run screens the file. What is wrong with a file is of kind Invalid or NotFound.
//
// Unguarded: it works on files that the caller can read anyway, and records nothing.
func (s *Screen) Run(ctx context.Context) (*Screened, error) {
	one := *s // in which columns have their names
	s = &one
	file, baseline, err := s.read(ctx)
	if err != nil {
		return nil, err
	}
	if s.Trusted != nil && len(baseline.hash) == 0 {
		baseline, file.notes = nil, append(file.notes, "none of the rows that are trusted is there: what was found is without a baseline")
	}
	embeddings, err := s.embeddings(file)
	if err != nil {
		return nil, err
	}
	var trusted *poison.Table
	result := &Screened{File: s.files()[0].Name, Label: s.Label, Seed: s.Seed, Total: len(file.hash), Columns: len(file.table.Columns), Blind: poison.Blind()}
	if baseline != nil {
		trusted, result.Trusted = &baseline.table, len(baseline.hash)
		if s.Baseline != "" {
			result.Baseline = filepath.Base(s.Baseline)
		}
	}
	if baseline != nil && len(file.hash) == 0 && s.Trusted != nil {
		result.Rows, result.Quarantine, result.Patterns, result.Screens = []ScreenedRow{}, []string{}, []poison.Pattern{}, []poison.Outcome{}
		result.Notes = append(file.notes, "every row is one that is trusted: there is none to judge")
		return result, nil
	}
	s.say("%d rows read; making them comparable …", len(file.hash))
	view, err := poison.Prepare(&file.table, trusted, s.Seed)
	if err != nil {
		return nil, err
	}
	jobs := view.Jobs()
	if embeddings != nil {
		jobs = append(jobs, view.Spectral(embeddings))
	}
	found, err := s.look(ctx, jobs)
	if err != nil {
		return nil, err
	}
	result.fill(view.Combine(append(found, file.kinds())), file)
	if s.Files != nil {
		for i := range result.Rows {
			result.Rows[i].File = s.Files[file.file[i]].Name
		}
	}
	return result, nil
}

// say tells whoever watches how far it is.
func (s *Screen) say(format string, args ...any) {
	if s.Say != nil {
		s.Say(fmt.Sprintf(format, args...))
	}
}

// look runs the screens, as many at once as there are processors.
func (s *Screen) look(ctx context.Context, jobs []poison.Job) ([]poison.Finding, error) {
	found := make([]poison.Finding, len(jobs))
	next := make(chan int)
	var workers sync.WaitGroup
	var mu sync.Mutex // guards what follows
	var faults error
	done := 0
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for k := range next {
				one, fault := run(jobs[k])
				mu.Lock()
				found[k], faults = one, errors.Join(faults, fault)
				done++
				s.say("%d of %d screens done …", done, len(jobs))
				mu.Unlock()
			}
		})
	}
	var err error
	for k := range jobs {
		if err = ctx.Err(); err != nil {
			break
		}
		next <- k
	}
	close(next)
	workers.Wait()
	return found, errors.Join(err, faults)
}

// run runs a screen. One that goes wrong over a hostile table ends this look, and not the process.
func run(job poison.Job) (f poison.Finding, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &pavise.Error{Kind: pavise.Internal, Msg: fmt.Sprintf("the screen %s went wrong: %v", job.Screen, p), Hint: "report this"}
		}
	}()
	return job.Run(), nil
}

// kinds holds cells against a row that are not of their column's kind.
func (r *rows) kinds() poison.Finding {
	f := poison.Finding{Screen: "kinds", Untold: true, Limit: 1, Evidence: make([]float32, len(r.hash)), Reason: func(row int) string { return r.strange[row] }}
	for i := range r.strange {
		f.Evidence[i] = 1
	}
	return f
}

// maxPatterns is how many triggers are told, the strongest.
const maxPatterns = 50

// fill puts a report into what is printed.
func (s *Screened) fill(r *poison.Report, file *rows) {
	s.Rows = make([]ScreenedRow, len(r.Rows))
	worst := make([]int, len(r.Rows))
	for i, row := range r.Rows {
		reasons := row.Reasons
		if reasons == nil {
			reasons = []poison.Reason{}
		}
		s.Rows[i] = ScreenedRow{Row: i + 1, SealRow: file.seal[i], Line: file.line[i], Score: row.Score, Rank: row.Rank, Reasons: reasons, Hash: hex.EncodeToString(file.hash[i][:])}
		worst[row.Rank-1] = i
	}
	s.Quarantine = []string{}
	for _, i := range worst {
		if s.Rows[i].Score >= 1 {
			s.Quarantine = append(s.Quarantine, s.Rows[i].Hash)
		}
	}
	s.Patterns = append([]poison.Pattern{}, r.Pattern[:min(len(r.Pattern), maxPatterns)]...)
	s.Shifts, s.Sources, s.Screens = r.Shifts, r.Sources, r.Screens
	s.Notes, s.Dropped = append(file.notes, r.Notes...), file.dropped
}

// embeddings reads what a model made of each row; nil where none are given.
func (s *Screen) embeddings(file *rows) ([][]float32, error) {
	if s.Embeddings == "" {
		return nil, nil
	}
	f, err := table.Open(s.Embeddings, table.Options{Format: table.NPY})
	if err != nil {
		return nil, err
	}
	defer f.Close()
	columns := f.Columns()
	var out [][]float32
	var room []float64
	for row, err := range f.Rows() {
		if err != nil {
			return nil, err
		}
		if room, err = row.Append(room[:0], columns...); err != nil {
			return nil, err
		}
		if len(out)*len(room) > maxCells {
			return nil, invalid("reduce them first", "%s: its embeddings are more than %d numbers", filepath.Base(s.Embeddings), maxCells)
		}
		one := make([]float32, len(room))
		for k, x := range room {
			if one[k] = float32(x); math.IsNaN(x) || math.IsInf(float64(one[k]), 0) {
				return nil, invalid("an embedding is finite numbers", "%s, row %d: number %d is %g", filepath.Base(s.Embeddings), len(out)+1, k+1, x)
			}
		}
		out = append(out, one)
	}
	if len(out) != len(file.hash) {
		return nil, invalid("there is one embedding to a row, in the same order", "%s has %d rows, and %s %d", filepath.Base(s.Embeddings), len(out), filepath.Base(s.File), len(file.hash))
	}
	return out, nil
}

func invalid(hint, format string, args ...any) error {
	return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf(format, args...), Hint: hint}
}

// inWords is names as people read them, the first few of them.
func inWords(names []string) string {
	const show = 8
	if len(names) > show {
		return strings.Join(slices.Clone(names[:show]), ", ") + fmt.Sprintf(" and %d more", len(names)-show)
	}
	return strings.Join(names, ", ")
}
