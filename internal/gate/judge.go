package gate

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/contract"
	"github.com/pavise/pavise/internal/plainjson"
	"github.com/pavise/pavise/internal/quote"
	"github.com/pavise/pavise/internal/table"
	"github.com/pavise/pavise/internal/template"
)

const (
	// maxReasons bounds what is said of one batch.
	maxReasons = 16
	// ahead is how far in the future a batch may say that it was written.
	ahead = 10 * time.Minute
	// maxRows is how many rows of a batch are looked at: what is remembered of each takes
	// memory, whatever it has in it.
	maxRows = 1 << 20
	// maxInside is how many objects and lists a value of JSON may have in it.
	maxInside = 100_000
	// maxValues is how many values a value of JSON may have in it, of any kind: a key or a 0
	// of two bytes takes as much memory as a long one.
	maxValues = 1 << 20
	// maxSTIX is how many values a bundle may have in it.
	maxSTIX = 4 * maxValues
	// maxDepth is how deep values of JSON may lie in each other.
	maxDepth = 64
	// shownRows is how many rows are named of those that break a promise.
	shownRows = 5
)

// A judgement is what is to be said of the bytes of a batch, whatever came before it.
type judgement struct {
	rows    int
	reasons []string
	more    int      // reasons beyond those
	lines   texts    // whose templates are to be known
	values  texts    // whose number is watched
	numbers []uint64 // of the sequence
}

// texts are many short texts in one piece of memory.
type texts struct {
	room []byte
	ends []int
	rows []int // which row each is of, counted from 1
}

func (t *texts) add(row int, text []byte) {
	t.room = append(t.room, text...)
	t.ends, t.rows = append(t.ends, len(t.room)), append(t.rows, row)
}

func (t *texts) len() int { return len(t.ends) }

func (t *texts) at(i int) []byte {
	if i == 0 {
		return t.room[:t.ends[0]]
	}
	return t.room[t.ends[i-1]:t.ends[i]]
}

// because adds a reason to hold the batch.
func (j *judgement) because(format string, args ...any) {
	if len(j.reasons) == maxReasons {
		j.more++
		return
	}
	j.reasons = append(j.reasons, clip(fmt.Sprintf(format, args...)))
}

// tooMany holds a batch that has more rows than are looked at.
func (j *judgement) tooMany() {
	j.because("it has more than %d rows, and nothing behind them was looked at: send it in parts", maxRows)
}

// told are the reasons, with how many others there were.
func (j *judgement) told() []string {
	if j.more > 0 {
		return append(j.reasons[:len(j.reasons):len(j.reasons)], fmt.Sprintf("and %d more", j.more))
	}
	return j.reasons
}

// clip shortens a reason, into which a sender may have written.
func clip(text string) string {
	const most = 400
	if len(text) > most {
		text = text[:most] + "…"
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

// judge holds a batch to the terms of its source.
func (t *terms) judge(b Batch, now time.Time) *judgement {
	j := &judgement{}
	t.judgeSender(j, b, now)
	if b.Doubt != "" && (len(b.Signature) == 0 || len(t.keys) == 0) { // else the signature decides
		j.because("%s", b.Doubt)
	}
	for _, doubt := range b.doubts {
		j.because("%s", doubt)
	}
	if bytes.HasPrefix(b.Body, []byte("\xef\xbb\xbf")) && b.Form != FormBlob {
		j.because("it begins with a byte order mark, which some readers take for text: send UTF-8 without one")
	}
	if bytes.HasPrefix(b.Body, []byte("\x1f\x8b")) && b.Form != FormBlob {
		j.because("it is compressed, and what is behind the gate expects %s: say so with Content-Encoding, and it is unpacked", b.Form)
		return j
	}
	switch {
	case tabular(b.Form):
		t.judgeTable(j, b)
	case b.Form == FormLines:
		t.judgeLines(j, b.Body)
	case b.Form == FormSTIX:
		judgeSTIX(j, b.Body)
	default:
		j.rows = 1
	}
	return j
}

// judgeSender holds to the terms who wrote the batch, and when.
func (t *terms) judgeSender(j *judgement, b Batch, now time.Time) {
	switch {
	case len(t.keys) == 0:
	case len(b.Signature) == 0 && t.spec.Signed == SignedRequired:
		j.because("it is not signed, and batches of this source must be")
	case len(b.Signature) > 0 && !t.signed(b):
		j.because("its signature is of none of the source's signers over these bytes")
	}
	switch {
	case t.writes(b.Writer):
	case b.Writer == "":
		j.because("nobody knows who wrote it, and the source has writers")
	default:
		j.because("%.200q wrote it, who is none of the source's writers", b.Writer)
	}
	if late := b.At.Sub(now); !b.At.IsZero() && late > ahead {
		j.because("it says that it was written at %s, which is %v from now", b.At.UTC().Format(time.RFC3339), late.Round(time.Minute))
	}
}

func (t *terms) signed(b Batch) bool {
	for _, key := range t.keys {
		if ed25519.Verify(key, b.Body, b.Signature) {
			return true
		}
	}
	return false
}

// A reading is a batch of rows while it is read.
type reading struct {
	*terms
	*judgement
	checker                    *contract.Checker
	folded                     map[string]string // columns, by what they are without case
	lineAt, valueAt, numberAt  int               // columns; -1: not there yet
	columns                    int               // that were looked at
	unnumbered, unnumberedRows int               // the first row without a number, and how many there are
}

// judgeTable holds the rows of a batch to the contract.
func (t *terms) judgeTable(j *judgement, b Batch) {
	format := table.JSONL
	if b.Form == FormCSV {
		format = table.CSV
	}
	if format == table.JSONL && j.tooWide(b.Body) {
		return
	}
	f, err := table.NewReader(bytes.NewReader(b.Body), t.spec.Source.ID, table.Options{Format: format})
	if err != nil {
		j.because("its rows cannot be read: %s", pavise.MsgOf(err))
		return
	}
	r := &reading{terms: t, judgement: j, folded: map[string]string{}, lineAt: -1, valueAt: -1, numberAt: -1}
	if t.schema != nil {
		if r.checker, err = contract.NewChecker(t.schema); err != nil {
			j.because("its contract cannot be held against it: %v", err)
			return
		}
		if format == table.JSONL {
			r.checker.Typed()
		}
	}
	r.head(f.Columns())
	for row, err := range f.Rows() {
		if err != nil {
			j.because("its rows cannot be read: %s; nothing behind it was looked at", pavise.MsgOf(err))
			break
		}
		if r.rows == maxRows {
			r.tooMany()
			break
		}
		if r.row(f, row); b.Form == FormNDJSON {
			r.nested(row.Raw())
		}
	}
	r.end()
}

// tooWide holds a batch with a row of more values than are looked at, before anything reads
// it. The rows before that one are not looked at either.
func (j *judgement) tooWide(body []byte) bool {
	for n := 0; len(body) > 0; {
		var line []byte
		if line, body, _ = bytes.Cut(body, []byte{'\n'}); len(bytes.TrimSpace(line)) > 0 {
			n++
		}
		if len(line) > maxValues && plainjson.ShapeOf(line).Values > maxValues {
			j.rows = n
			j.because("row %d: it has more than %d values in it, and no row was looked at", n, maxValues)
			return true
		}
	}
	return false
}

// head looks at columns that were not there before.
func (r *reading) head(names []string) {
	for ; r.columns < len(names); r.columns++ {
		name := names[r.columns]
		low := strings.ToLower(name)
		if other, is := r.folded[low]; is {
			r.because("row %d: the columns %.80q and %.80q differ by case alone, and some readers take them for one", r.rows+1, other, name)
		}
		r.folded[low] = name
		if name == r.spec.Templates {
			r.lineAt = r.columns
		}
		if name == r.spec.Distinct {
			r.valueAt = r.columns
		}
		if name == r.spec.Sequence {
			r.numberAt = r.columns
		}
	}
	if r.checker != nil {
		r.checker.Columns(names)
	}
}

// row looks at one row.
func (r *reading) row(f *table.File, row table.Row) {
	if r.columns < len(f.Columns()) {
		r.head(f.Columns())
	}
	r.rows++
	if r.checker != nil {
		r.checker.Row(row)
	}
	if r.lineAt >= 0 {
		if text := row.Cell(r.lineAt).Text; len(text) > 0 {
			r.lines.add(r.rows, text)
		}
	}
	if r.valueAt >= 0 {
		if cell := row.Cell(r.valueAt); cell.Kind != table.Absent {
			r.values.add(r.rows, cell.Text)
		}
	}
	if r.spec.Sequence == "" {
		return
	}
	if r.numberAt >= 0 {
		if n, err := strconv.ParseUint(string(row.Cell(r.numberAt).Text), 10, 63); err == nil {
			r.numbers = append(r.numbers, n)
			return
		}
	}
	if r.unnumberedRows++; r.unnumbered == 0 {
		r.unnumbered = r.rows
	}
}

// nested looks at what a row of JSON holds in objects of its own, which tables do not read:
// every reader behind the gate must read it alike.
func (r *reading) nested(line []byte) {
	switch s := plainjson.ShapeOf(line); {
	case line[0] == '[':
		r.because("row %d: it is a list, and rows are objects", r.rows)
	case s.Depth > maxDepth:
		r.because("row %d: its values lie more than %d deep in each other", r.rows, maxDepth)
	case s.Nests > maxInside:
		r.because("row %d: it has more than %d objects and lists in it", r.rows, maxInside)
	case s.Depth > 1:
		if err := plainjson.Read(line, new(plainjson.Any)); err != nil {
			r.because("row %d: it cannot be read: %v", r.rows, err)
		}
	}
}

// end says what the rows were like, all together.
func (r *reading) end() {
	if r.unnumberedRows > 0 {
		r.because("row %d: there is no whole number in %.80q, which counts records%s", r.unnumbered, r.spec.Sequence, others(r.unnumberedRows-1))
	}
	if r.checker == nil {
		return
	}
	for _, b := range r.checker.Report().Breaches {
		where := ""
		if len(b.First) > 0 {
			where = fmt.Sprintf("row %d: ", b.First[0])
		}
		if b.Property != "" {
			where += fmt.Sprintf("%.80q: ", b.Property)
		}
		r.because("%s%s (%s, of the contract %s)%s", where, b.Words, b.Rule, r.named, rowsToo(b))
	}
}

func others(n int) string {
	if n <= 0 {
		return ""
	}
	return fmt.Sprintf(", and so in %d more rows", n)
}

// rowsToo names the other rows that break a promise.
func rowsToo(b contract.Breach) string {
	if b.Rows <= 1 || len(b.First) == 0 {
		return ""
	}
	text := others(int(b.Rows) - 1)
	for i, row := range b.First[1:min(len(b.First), shownRows)] {
		text += map[bool]string{true: ": ", false: ", "}[i == 0] + strconv.FormatUint(row, 10)
	}
	if b.Rows > shownRows {
		text += " …"
	}
	return text
}

// judgeLines looks at lines of a log.
func (t *terms) judgeLines(j *judgement, body []byte) {
	for len(body) > 0 {
		line, rest, _ := bytes.Cut(body, []byte{'\n'})
		body = rest
		line = bytes.TrimSuffix(line, []byte{'\r'})
		if j.rows == maxRows {
			j.tooMany()
			return
		}
		j.rows++
		switch {
		case len(line) > template.MaxLine:
			j.because("line %d: it is %d bytes long, more than %d", j.rows, len(line), template.MaxLine)
			continue
		case bytes.IndexByte(line, 0) >= 0:
			j.because("line %d: byte %d is NUL", j.rows, bytes.IndexByte(line, 0)+1)
			continue
		case !utf8.Valid(line):
			j.because("line %d: byte %d is not UTF-8", j.rows, quote.Invalid(line)+1)
			continue
		}
		if t.spec.Templates != "" && len(line) > 0 {
			j.lines.add(j.rows, line)
		}
	}
}

// judgeSTIX looks at one value of JSON, and counts the objects of a bundle.
func judgeSTIX(j *judgement, body []byte) {
	j.rows = 1
	switch s := plainjson.ShapeOf(body); {
	case s.Depth > maxDepth:
		j.because("its values lie more than %d deep in each other", maxDepth)
		return
	case s.Nests > maxRows:
		j.because("it has more than %d objects and lists in it", maxRows)
		return
	case s.Values > maxSTIX:
		j.because("it has more than %d values in it: send it in parts", maxSTIX)
		return
	}
	var bundle struct {
		Type    string          `json:"type"`
		Objects []plainjson.Any `json:"objects"`
	}
	if err := plainjson.Read(body, &bundle); err != nil {
		j.because("it cannot be read: %v", err)
		return
	}
	if bundle.Type == "" {
		j.because("it is no STIX: it has no type")
	}
	if bundle.Type == "bundle" {
		j.rows = len(bundle.Objects)
	}
}
