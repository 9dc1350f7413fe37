package table

import (
	"bytes"
	"encoding/csv"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/pavise/pavise"
)

// texts reads all rows of a file as texts.
func texts(f *File) (rows [][]string, err error) {
	for row, err := range f.Rows() {
		if err != nil {
			return rows, err
		}
		var cells []string
		for _, name := range f.Columns() {
			t, err := row.Text(name)
			if err != nil {
				return rows, err
			}
			cells = append(cells, t)
		}
		rows = append(rows, cells)
	}
	return rows, nil
}

// openAll opens a file of the given content and reads all of it as texts.
func openAll(content, name string, o Options) (columns []string, rows [][]string, err error) {
	f, err := NewReader(strings.NewReader(content), name, o)
	if err != nil {
		return nil, nil, err
	}
	rows, err = texts(f)
	return f.Columns(), rows, err
}

func TestCSV(t *testing.T) {
	for _, c := range []struct {
		name, in string
		columns  string // with | between them
		rows     string // with / between the rows
	}{
		{"plain", "a,b\n1,x\n2,y\n", "a|b", "1|x/2|y"},
		{"no line end", "a,b\n1,x", "a|b", "1|x"},
		{"CRLF", "a,b\r\n1,x\r\n", "a|b", "1|x"},
		{"BOM", "\ufeffa,b\n1,x\n", "a|b", "1|x"},
		{"spaces around names", " a , b\n1, x\n", "a|b", "1| x"},
		{"quotes", "a,b\n\"1\",\"x, \"\"y\"\"\"\n", "a|b", `1|x, "y"`},
		{"quoted line ends", "a,b\n1,\"x\r\ny\nz\"\n2,w\n", "a|b", "1|x\ny\nz/2|w"},
		{"quoted header", "\"a,b\",c\n1,2\n", "a,b|c", "1|2"},
		{"semicolons", "a;b\n1;x,y\n", "a|b", "1|x,y"},
		{"tabs", "a\tb\n1\tx\n", "a|b", "1|x"},
		{"empty lines at the end", "a,b\n1,x\n\n\r\n", "a|b", "1|x"},
		{"empty cells", "a,b\n,\n", "a|b", "|"},
		{"one column", "a\n1\n2\n", "a", "1/2"},
		{"numbers alone", "1,2\n3,4\n", "0|1", "1|2/3|4"},
		{"one row", "1,x\n", "0|1", "1|x"},
		{"text among numbers, no header", "0,tcp,SF\n1,udp,SF\n", "0|1|2", "0|tcp|SF/1|udp|SF"},
		{"counted header", "0,1,2\n5,6,7\n", "0|1|2", "5|6|7"},
		{"label and counted header", "label,0,1\n5,6,7\n", "label|0|1", "5|6|7"},
		{"spaces", "1.5e+00 -2\n3 4\n", "0|1", "1.5e+00|-2/3|4"},
		{"no spaces between numbers", "a b\nc d\n", "a b", "c d"},
		{"a gap in the first row", "?,4.5\n3,2.5\n", "0|1", "?|4.5/3|2.5"},
		{"no counting", "5,-1,0,1\n2,2,2,2\n", "0|1|2|3", "5|-1|0|1/2|2|2|2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			columns, rows, err := openAll(c.in, "t.csv", Options{})
			if err != nil {
				t.Fatal(err)
			}
			var lines []string
			for _, r := range rows {
				lines = append(lines, strings.Join(r, "|"))
			}
			if got := strings.Join(columns, "|"); got != c.columns {
				t.Errorf("columns %q, want %q", got, c.columns)
			}
			if got := strings.Join(lines, "/"); got != c.rows {
				t.Errorf("rows %q, want %q", got, c.rows)
			}
		})
	}
}

// refused checks that err is Invalid and says what is wrong.
func refused(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil {
		t.Fatalf("not refused; want %q", want)
	}
	if pavise.KindOf(err) != pavise.Invalid || !strings.Contains(err.Error(), want) {
		t.Errorf("refused with %v: %v; want invalid: %q", pavise.KindOf(err), err, want)
	}
}

func TestHostileCSV(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"empty", "", "t.csv: it is empty"},
		{"only a BOM", "\ufeff", "t.csv: it holds no rows"},
		{"only line ends", "\n\n\n", "t.csv: it holds no rows"},
		{"only a header", "a,b\n", "t.csv: it holds no rows"},
		{"ragged", "a,b\n1,2\n3\n", "t.csv, line 3: it has 1 cells, and the first line has 2"},
		{"ragged the other way", "a,b\n1,2\n3,4,5\n", "t.csv, line 3: it has 3 cells"},
		{"one name twice", "a,b,a\n1,2,3\n", `t.csv, line 1: columns 1 and 3 are both called "a"`},
		{"a name twice but for spaces", "a, a\n1,2\n", `are both called "a"`},
		{"no name", ",a\n1,2\n", "t.csv, line 1: column 1 has no name"},
		{"a name that does not print", "a\u200b,b\n1,2\n", "U+200B, which does not print"},
		{"a long name", strings.Repeat("a", 257) + ",b\n1,2\n", "more than 256 bytes"},
		{"NUL", "a,b\n1,\x00\n", "t.csv, line 2: byte 3 is NUL"},
		{"not UTF-8", "a,b\n1,\xe9\n", "t.csv, line 2: byte 3 is not UTF-8"},
		{"UTF-16", "\xff\xfea\x00,\x00b\x00\n\x00", "t.csv: it is UTF-16"},
		{"an empty line between rows", "a,b\n1,2\n\n3,4\n", "t.csv, line 3: the line is empty, and rows follow"},
		{"an open quote", "a,b\n1,\"x\n2,y\n", "t.csv, line 2: a quote is opened and never closed"},
		{"a quote inside", "a,b\n1,x\"y\n", "t.csv, line 2: cell 2 has a quote"},
		{"behind a closing quote", "a,b\n1,\"x\"y\n", "t.csv, line 2: cell 2 goes on behind its closing quote"},
		{"old line ends", "a,b\r1,2\r", "carriage return inside of the line"},
		{"header or row", "id,2019\n1,5\n", "t.csv, line 1: the line may be a header or a row"},
		{"ZIP", "PK\x03\x04....", "t.csv: it is a ZIP archive"},
		{"pickle", "\x80\x04\x95....", "t.csv: it is a pickle, which is a program"},
		{"Parquet", "PAR1....", "t.csv: it is Parquet"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := openAll(c.in, "t.csv", Options{})
			refused(t, err, c.want)
		})
	}
}

// endless repeats a text without end.
type endless struct {
	text string
	at   int
}

func (e *endless) Read(p []byte) (n int, err error) {
	for n < len(p) {
		k := copy(p[n:], e.text[e.at:])
		n, e.at = n+k, (e.at+k)%len(e.text)
	}
	return n, nil
}

// TestEndlessLine reads lines and rows that do not end, of every text format.
func TestEndlessLine(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes more than 64 MiB")
	}
	for _, c := range []struct {
		name   string
		in     string
		repeat string
		format Format
		want   string
	}{
		{"a cell", "", strings.Repeat("x", 1<<16), CSV, "t, line 1: the line is longer than 64 MiB"},
		{"a quoted cell of many lines", "a\n\"", strings.Repeat("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n", 1<<11), CSV, "t, line 2: the row is longer than 64 MiB"},
		{"cells", "a\n", strings.Repeat(",", 1<<16), CSV, "t, line 2: the line is longer than 64 MiB"},
		{"an object", `{"a":[`, strings.Repeat("1,", 1<<16), JSONL, "t, line 1: the line is longer than 64 MiB"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := io.MultiReader(strings.NewReader(c.in), &endless{text: c.repeat})
			_, err := NewReader(in, "t", Options{Format: c.format})
			refused(t, err, c.want)
		})
	}
}

// FuzzCSV holds what is read against encoding/csv, which takes more and never reads what
// both take otherwise.
func FuzzCSV(f *testing.F) {
	for _, s := range []string{
		"a,b\n1,x\n", "a,b\r\n1,\"x\r\n\"\"y\"\"\"", "\ufeffa;b\n1;2\n\n", "0,tcp\n1,udp\n", "a\n\"\"\n", "\"a\"\t\"b\"\n1\t2",
		"0,1,2\n3,4,5\n", "a,b\n\"1\n", "a,b\n1\n", "id,2019\n1,5\n", "\n\na\n", "nan,inf\n-1e400,+.5\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		file, err := NewReader(bytes.NewReader(in), "t", Options{Format: CSV})
		if err != nil {
			return
		}
		rows, err := texts(file)
		theirs := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(in, bom)))
		theirs.Comma = rune(file.source.(*csvSource).comma)
		if f := file.names; f != nil {
			rows = slices.Insert(rows, 0, f)
		}
		for i, row := range rows {
			want, oops := theirs.Read()
			if oops != nil || !slices.Equal(row, want) {
				t.Fatalf("row %d is %q; encoding/csv has %q, %v", i+1, row, want, oops)
			}
		}
		if _, oops := theirs.Read(); err == nil && oops != io.EOF {
			t.Fatalf("after %d rows encoding/csv goes on: %v", len(rows), oops)
		}
		if file, err := NewReader(bytes.NewReader(in), "t", Options{Format: CSV}); err == nil {
			_, _ = Read(file, Selection{})
		}
	})
}

// TestManyColumns reads a row of more cells than are held.
func TestManyColumns(t *testing.T) {
	if testing.Short() {
		t.Skip("it is a million cells")
	}
	for _, in := range []string{strings.Repeat(",", maxColumns), `"a"` + strings.Repeat(",", maxColumns)} {
		_, _, err := openAll(in, "t.csv", Options{})
		refused(t, err, "t.csv, line 1: it has 1048577 cells, more than 1048576")
	}
	_, _, err := openAll("["+strings.Repeat("1,", maxColumns)+"1]", "t.jsonl", Options{})
	refused(t, err, "t.jsonl, line 1: it has more than 1048576 values")
}
