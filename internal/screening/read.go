package screening

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/poison"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/table"
)

// Bounds on what is held of a file.
const (
	maxCells = 1 << 27 // features times rows
	maxTexts = 1 << 17 // different texts of a column; what has more names rows
	someWork = 1 << 20 // cells that are gone through before somebody asks whether to go on
	maxShown = 64      // bytes of a text that are kept; longer ones are told apart by their hash
)

// rows are what is kept of a file.
type rows struct {
	table poison.Table
	hash  [][32]byte // by row
	file  []int32    // by row: an index of the files that were read
	line  []int64
	seal  []int64 // by row: its number in a seal, which counts a header and empty lines
	notes []string

	strange map[int]string // rows with a cell that is not of its column's kind: what is wrong
	dropped []string       // columns of the baseline that are not looked at
}

// A layout says what the columns of a file are. It is found in a first pass: a column is what
// most of its cells are, of the baseline if that has any, and else of the file. A few cells that
// somebody put in do not change it.
type layout struct {
	names  []string       // features, in the order of the file
	text   []bool         // by feature
	alone  []bool         // by feature: no trusted cell is a word, so that one is strange
	column map[string]int // of the file that was read last: where a feature lies
	label  int
	source int // -1: none
	notes  []string

	dropped []string // columns that the baseline has, and that are not looked at
}

// A File is one of several whose rows are screened as one table.
type File struct {
	Path   string
	Name   string // for people
	Format table.Format

	path    string // in a seal
	heading heading
}

// files are what is screened.
func (s *Screen) files() []File {
	if s.Files != nil {
		return s.Files
	}
	return []File{{Path: s.File, Name: filepath.Base(s.File)}}
}

// open opens a file of rows.
func (f File) open() (*table.File, error) {
	t, err := table.Open(f.Path, table.Options{Format: f.Format, RowNumbers: true})
	if err != nil {
		return nil, err
	}
	if format := t.Format(); format != table.CSV && format != table.JSONL && format != table.Parquet {
		t.Close()
		return nil, invalid("write it as CSV, JSONL or Parquet", "%s is %s, and rows are screened in CSV, JSONL and Parquet", f.Name, format)
	}
	return t, nil
}

// splits says which rows are trusted, for one pass over them.
func (s *Screen) splits() func(file int, row [32]byte) bool {
	if s.Trusted == nil {
		return nil
	}
	return s.Trusted()
}

// read reads the rows, and those that are trusted if there are any. All are gone through twice.
func (s *Screen) read(ctx context.Context) (file, baseline *rows, err error) {
	mine, theirs := map[string]held{}, map[string]held{}
	names, err := s.kinds(ctx, s.files(), true, mine, theirs)
	if err != nil {
		return nil, nil, err
	}
	var trusted []string
	if s.Baseline != "" {
		if trusted, err = s.kinds(ctx, []File{s.trustedFile()}, false, theirs, nil); err != nil {
			return nil, nil, err
		}
		has := setOf(trusted)
		for _, name := range names {
			if !has[name] && name != s.Source && name != table.Unnamed && !slices.Contains(s.Omit, name) {
				return nil, nil, invalid("a baseline has the columns of the file", "%s: it has no column %.80q", filepath.Base(s.Baseline), name)
			}
		}
	}
	l := s.layout(names, mine, theirs)
	has := setOf(names)
	for _, name := range trusted {
		if !has[name] && theirs[name] != (held{}) && name != table.Unnamed && name != s.Source && !slices.Contains(s.Omit, name) {
			l.drop(name, "the file has it not")
		}
	}
	most := s.rows
	if s.Baseline != "" || s.Trusted != nil {
		most = 0 // whether a column names the rows of the baseline, too, is known at the end alone
	}
	values := newDictionary(l, most)
	c := &collector{screen: s, source: s.Source, trusts: s.splits(), layout: l, values: values, mine: l.rows()}
	if c.trusts != nil {
		c.theirs = l.rows()
	}
	if err := c.collect(ctx, s.files()); err != nil {
		return nil, nil, err
	}
	file, baseline = c.mine, c.theirs
	if s.Baseline != "" {
		c = &collector{screen: s, layout: l, values: values, mine: l.rows()}
		if err := c.collect(ctx, []File{s.trustedFile()}); err != nil {
			return nil, nil, err
		}
		baseline = c.mine
	}
	return file, baseline, values.finish(s, l, file, baseline)
}

// setOf has names found in one step: there may be a million.
func setOf(names []string) map[string]bool {
	set := make(map[string]bool, len(names))
	for _, name := range names {
		set[name] = true
	}
	return set
}

func (s *Screen) trustedFile() File { return File{Path: s.Baseline, Name: filepath.Base(s.Baseline)} }

// held is how many cells of a column hold what.
type held struct{ numbers, words, others int }

// lists reports whether a column is of lists and objects.
func (h held) lists() bool { return h.others > h.numbers+h.words }

// texts reports whether a column is of texts. Words among numbers are marks for what is
// missing, such as a question mark.
func (h held) texts() bool { return h.words > h.numbers }

// drop leaves out a column that the baseline has, and says so.
func (l *layout) drop(name, why string) {
	l.dropped = append(l.dropped, name)
	l.notes = append(l.notes, fmt.Sprintf("NOT LOOKED AT: column %.80q, which the baseline has: %s", name, why))
}

// add adds what the cells of columns hold to what those of each name do.
func (seen counts) add(names []string, to map[string]held) {
	for j, name := range names {
		if j < len(seen) {
			h := to[name]
			to[name] = held{h.numbers + seen[j].numbers, h.words + seen[j].words, h.others + seen[j].others}
		}
	}
}

// counts are what the cells of each column of a file hold.
type counts []held

// take counts the cells of a row.
func (seen counts) take(row table.Row, width int) counts {
	for len(seen) < width {
		seen = append(seen, held{})
	}
	for j := range width {
		kind, _, _ := row.Value(j)
		switch kind {
		case table.HeldNumber:
			seen[j].numbers++
		case table.HeldWords:
			seen[j].words++
		case table.HeldOther:
			seen[j].others++
		}
	}
	return seen
}

// kinds goes through files and counts what the cells of each column hold, apart for the rows
// that are trusted; screened says that the files are not the baseline's.
func (s *Screen) kinds(ctx context.Context, files []File, screened bool, mine, theirs map[string]held) (all []string, err error) {
	var trusts func(int, [32]byte) bool
	if screened {
		trusts = s.splits()
	}
	have := map[string]bool{}
	for k, file := range files {
		var of func([32]byte) bool
		if trusts != nil {
			of = func(row [32]byte) bool { return trusts(k, row) }
		}
		names, err := s.kindsOf(ctx, file, of, mine, theirs)
		if err != nil {
			return nil, err
		}
		if k == 0 && screened {
			s.resolve(names)
		}
		for _, name := range append([]string{s.Label, s.Source}, s.Omit...) {
			if name != "" && !slices.Contains(names, name) && (screened || name == s.Label) {
				return nil, invalid("its columns are "+inWords(names), "%s: it has no column %.80q", file.Name, name)
			}
		}
		for _, name := range names {
			if !have[name] {
				have[name], all = true, append(all, name)
			}
		}
		if len(all) > s.most() {
			return nil, invalid("screen a part at a time", "%s: there are more than %d columns, and no more cells are held at once", file.Name, s.most())
		}
	}
	return all, nil
}

func (s *Screen) kindsOf(ctx context.Context, file File, trusts func([32]byte) bool, mine, theirs map[string]held) ([]string, error) {
	f, err := file.open()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var seen, trusted counts
	n, work := 0, 0
	for row, err := range f.Rows() {
		if err != nil {
			return nil, err
		}
		if n++; n%4096 == 0 {
			s.say("%s: %d rows …", file.Name, n)
		}
		if work += f.Width() + 256; work >= someWork {
			if work = 0; ctx.Err() != nil {
				return nil, ctx.Err()
			}
		}
		if f.Width() > s.most() {
			return nil, invalid("screen a part at a time", "%s: there are more than %d columns, and no more cells are held at once", file.Name, s.most())
		}
		if trusts != nil && trusts([32]byte(proof.Leaf(row.Raw()))) {
			trusted = trusted.take(row, f.Width())
		} else {
			seen = seen.take(row, f.Width())
		}
	}
	s.rows += n
	names := f.Columns()
	seen.add(names, mine)
	trusted.add(names, theirs)
	return names, nil
}

// resolve makes names of columns that were given by their position: a number that names no
// column counts them from 0, as those of a file without a header are called.
func (s *Screen) resolve(names []string) {
	named := func(name string) string {
		at, err := strconv.Atoi(name)
		if err != nil || at < 0 || at >= len(names) || slices.Contains(names, name) {
			return name
		}
		return names[at]
	}
	s.Label, s.Source, s.Omit = named(s.Label), named(s.Source), slices.Clone(s.Omit)
	for k, name := range s.Omit {
		s.Omit[k] = named(name)
	}
}

// layout decides what becomes of each column.
func (s *Screen) layout(names []string, mine, theirs map[string]held) *layout {
	l := &layout{}
	var lists, empty []string
	if len(names) > 0 && names[0] == table.Unnamed && !slices.Contains([]string{s.Label, s.Source}, table.Unnamed) {
		l.notes = append(l.notes, "the first column has no name, as the numbers of rows that pandas writes, and is not looked at")
		names = names[1:]
	}
	for _, name := range names {
		switch {
		case name == s.Label || name == s.Source || slices.Contains(s.Omit, name):
		case mine[name] == held{} && theirs[name] == held{}:
			empty = append(empty, name)
		default:
			h, trusted := mine[name], theirs[name] != held{}
			kind := h
			if trusted {
				kind = theirs[name]
			}
			if kind.lists() {
				lists = append(lists, name)
				continue
			}
			l.names, l.text, l.alone = append(l.names, name), append(l.text, kind.texts()), append(l.alone, trusted && kind.words == 0)
			odd := h.others
			if !kind.texts() {
				odd += h.words
			}
			if odd > 0 {
				l.notes = append(l.notes, fmt.Sprintf("column %.80q is of %s but for %d cells, which count as missing", name, l.kind(len(l.names)-1), odd))
			}
		}
	}
	if len(lists) > 0 {
		l.notes = append(l.notes, "columns of lists and objects are not looked at: "+inWords(lists))
	}
	if len(empty) > 0 {
		l.notes = append(l.notes, "columns without any value are not looked at: "+inWords(empty))
	}
	return l
}

// kind is what a feature holds, in words.
func (l *layout) kind(j int) string {
	if l.text[j] {
		return "texts"
	}
	return "numbers"
}

// find looks where the columns lie in a file.
func (l *layout) find(names []string, label, source string) {
	l.column = make(map[string]int, len(names))
	for j, name := range names {
		l.column[name] = j
	}
	l.label, l.source = l.column[label], -1
	if source != "" {
		l.source = l.column[source]
	}
}

// A dictionary numbers texts, by column, in the order in which they appear.
type dictionary struct {
	texts   []numbering // by feature
	classes numbering
	sources numbering
}

// A numbering gives texts numbers. Of long ones it keeps the beginning.
type numbering struct {
	index map[string]int
	list  []string
	rows  int  // where there are more texts than half as many, it is given up; 0: it never is
	gone  bool // it was: the column names rows
}

// newDictionary is a dictionary for so many rows, of which texts of their own are not kept; 0: they
// are.
func newDictionary(l *layout, rows int) *dictionary {
	d := &dictionary{texts: make([]numbering, len(l.names))}
	for j := range d.texts {
		if l.text[j] {
			d.texts[j].index, d.texts[j].rows = map[string]int{}, rows
		}
	}
	d.classes.index, d.sources.index = map[string]int{}, map[string]int{}
	return d
}

// number returns the number of a text, a new one where it has none; when there are too many
// already, that of the last.
func (n *numbering) number(text []byte) int {
	if n.gone {
		return 0
	}
	if k, ok := n.index[string(text)]; ok && len(text) <= maxShown {
		return k
	}
	key := string(text[:min(len(text), maxShown)])
	shown := key // the same memory, but for long ones
	if len(text) > maxShown {
		sum := sha256.Sum256(text)
		key = string(sum[:])
		if k, ok := n.index[key]; ok {
			return k
		}
	}
	if len(n.list) == maxTexts {
		return maxTexts - 1
	}
	n.index[key] = len(n.list)
	if n.list = append(n.list, shown); n.rows > 0 && namesRows(len(n.list), n.rows) {
		n.index, n.list, n.gone = nil, nil, true
		return 0
	}
	return len(n.list) - 1
}

// most is how many cells are held at most.
func (s *Screen) most() int { return cmp.Or(s.Most, maxCells) }

// rows are none yet.
func (l *layout) rows() *rows {
	r := &rows{}
	for _, name := range l.names {
		r.table.Columns = append(r.table.Columns, poison.Column{Name: name})
	}
	return r
}

// A collector reads the rows of files.
type collector struct {
	screen *Screen
	source string // the column that says who sent a row; empty: none
	trusts func(file int, row [32]byte) bool
	layout *layout
	values *dictionary
	mine   *rows
	theirs *rows // those that are trusted; nil where nobody says which are
	held   int
}

// collect reads the rows of files.
func (c *collector) collect(ctx context.Context, files []File) error {
	for k, file := range files {
		if err := c.from(ctx, int32(k), file); err != nil {
			return err
		}
	}
	return nil
}

// from reads the rows of the k-th file.
func (c *collector) from(ctx context.Context, k int32, file File) error {
	f, err := file.open()
	if err != nil {
		return err
	}
	defer f.Close()
	s, l := c.screen, c.layout
	width, n, work := -1, int64(0), 0
	for row, err := range f.Rows() {
		if err != nil {
			return err
		}
		if w := f.Width(); w != width {
			width, work = w, work+w // which a row of JSONL may do once for each of very many
			l.find(f.Columns(), s.Label, c.source)
		}
		if n%4096 == 0 {
			s.say("%s: %d rows read …", file.Name, n)
		}
		if work += len(l.names) + 256; work >= someWork {
			if work = 0; ctx.Err() != nil {
				return ctx.Err()
			}
		}
		n++
		if c.held++; c.held*(len(l.names)+2) > s.most() || s.MostRows > 0 && c.held > s.MostRows {
			return invalid("screen a part at a time", "%s: there are more than %d rows of %d columns, and no more are held at once", file.Name, c.held-1, len(l.names))
		}
		seal := row.Line()
		if f.Format() == table.CSV { // whose rows may go on over lines
			if seal = n; f.Headed() {
				seal++
			}
		}
		hash, r := [32]byte(proof.Leaf(row.Raw())), c.mine
		if c.trusts != nil && c.trusts(int(k), hash) {
			r = c.theirs
		}
		r.hash, r.file, r.line, r.seal = append(r.hash, hash), append(r.file, k), append(r.line, row.Line()), append(r.seal, seal)
		if err := r.add(row, l, c.values, s.Label); err != nil {
			return err
		}
	}
	return nil
}

// add adds the cells of the row that is the last.
func (r *rows) add(row table.Row, l *layout, d *dictionary, label string) error {
	for j, name := range l.names {
		x := math.NaN()
		if at, ok := l.column[name]; ok {
			held, number, _ := row.Value(at)
			switch {
			case held == table.HeldOther:
				r.oddity(fmt.Sprintf("column %.80q holds a list or an object, and elsewhere %s", name, l.kind(j)))
			case held == table.HeldWords && l.alone[j]:
				r.oddity(fmt.Sprintf("column %.80q holds a word, and only numbers in the baseline", name))
			}
			switch {
			case l.text[j]:
				text, _ := row.Text(name) // of a list there is none
				x = float64(d.texts[j].number([]byte(text)))
			case held == table.HeldNumber:
				x = number
			}
		}
		r.table.Columns[j].Values = append(r.table.Columns[j].Values, x)
	}
	text, err := row.Text(label)
	if err != nil || text == "" {
		return &pavise.Error{Kind: pavise.Invalid, Msg: row.Place(label) + ": the row has no label", Hint: "take out the rows without one, or give them a class of their own"}
	}
	r.table.Labels = append(r.table.Labels, d.classes.number([]byte(text)))
	if l.source >= 0 {
		text, _ := row.Text(l.sourceName())
		r.table.Sources = append(r.table.Sources, d.sources.number([]byte(text)))
	}
	return nil
}

// oddity notes what is wrong with the row that was read last.
func (r *rows) oddity(what string) {
	if i := len(r.hash) - 1; r.strange[i] == "" {
		if r.strange == nil {
			r.strange = map[int]string{}
		}
		r.strange[i] = what
	}
}

// sourceName is the name of the column of sources.
func (l *layout) sourceName() string {
	for name, at := range l.column {
		if at == l.source {
			return name
		}
	}
	return ""
}

// finish gives the tables the texts that their numbers stand for, and leaves out columns
// that name rows.
func (d *dictionary) finish(s *Screen, l *layout, file, baseline *rows) error {
	n := len(file.hash)
	if baseline != nil {
		n += len(baseline.hash) // texts and classes are numbered in both
	}
	if classes := len(d.classes.list); classes == maxTexts || classes > 100 && 2*classes > n {
		return invalid("name the column with the class", "%s: column %.80q has %d different values in %d rows, and is no class", s.files()[0].Name, s.Label, classes, n)
	}
	var kept []int
	for j, name := range l.names {
		switch k := len(d.texts[j].list); {
		case !d.texts[j].gone && k != maxTexts && !namesRows(k, n):
			kept = append(kept, j)
		case baseline != nil && l.text[j] && !namesRows(distinct(baseline.table.Columns[j].Values), len(baseline.hash)):
			l.drop(name, "it has a text of its own in nearly every row of the file, and not of the baseline")
		default:
			l.notes = append(l.notes, fmt.Sprintf("column %.80q has a text of its own in nearly every row: it names rows, and is not looked at", name))
		}
	}
	file.notes, file.dropped = l.notes, l.dropped
	for _, r := range []*rows{file, baseline} {
		if r == nil {
			continue
		}
		var columns []poison.Column
		for _, j := range kept {
			c := r.table.Columns[j]
			if l.text[j] {
				c.Texts = d.texts[j].list
			}
			columns = append(columns, c)
		}
		r.table.Columns, r.table.Classes = columns, d.classes.list
		if r.table.Sources != nil {
			r.table.Names = d.sources.list
		}
	}
	return nil
}

// namesRows reports whether a column with so many texts has one of its own for nearly each of n rows.
func namesRows(texts, n int) bool { return texts > 1000 && 2*texts > n }

// distinct counts different values.
func distinct(values []float64) int {
	seen := map[float64]bool{}
	for _, x := range values {
		seen[x] = true
	}
	return len(seen)
}
