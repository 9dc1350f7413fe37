package table

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/learn"
)

func packed(t *testing.T, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestGzip(t *testing.T) {
	csv := packed(t, []byte("a,b\n1,x\n"))
	more := append(bytes.Clone(csv), packed(t, []byte("2,y\n"))...)
	if _, rows, err := openAll(string(more), "t.csv.gz", Options{}); err != nil || !reflect.DeepEqual(rows, [][]string{{"1", "x"}, {"2", "y"}}) {
		t.Errorf("two members: %q, %v", rows, err)
	}
	damaged := bytes.Clone(csv)
	damaged[len(damaged)-6]++
	broken := bytes.Clone(csv)
	broken[10] = 0xff
	for _, c := range []struct{ name, in, want string }{
		{"cut off in its header", string(csv[:5]), "t: the compressed file is cut off"},
		{"cut off", string(csv[:len(csv)-9]), "the compressed file is cut off"},
		{"without its sum", string(csv[:len(csv)-8]), "the compressed file is cut off"},
		{"another sum", string(damaged), "the compressed file is damaged"},
		{"broken", string(broken), "the compressed file is damaged"},
		{"no deflate", "\x1f\x8b\x07\x00aaaaaaaa", "the compressed file is damaged"},
		{"something behind", string(csv) + "x,y\nx,y\nx,y\n", "something follows the end of the compressed file"},
		{"compressed twice", string(packed(t, csv)), "it is compressed twice"},
		{"nothing inside", string(packed(t, nil)), "it is empty"},
		{"cut off inside", string(packed(t, []byte("a,b\n1\n"))), "t, line 2: it has 1 cells"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := openAll(c.in, "t", Options{})
			refused(t, err, c.want)
		})
	}
}

func TestGzipBomb(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes more than 64 MiB")
	}
	const size = 1 << 16 // of a row
	bomb := packed(t, []byte(npy(1, dict("|S65536", "False", "(1280,)"), "")))
	bomb = append(bomb, bytes.Repeat(packed(t, make([]byte, 16*size)), 1280/16)...)
	f, err := NewReader(bytes.NewReader(bomb), "bomb.npy.gz", Options{})
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for _, err = range f.Rows() {
		rows++
	}
	refused(t, err, "bomb.npy.gz: it unpacks to more than 400 times its size")
	if rows < freeRatio/size-1 {
		t.Errorf("only %d rows were read before", rows)
	}
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.csv")
	if err := os.WriteFile(path, []byte("a\n1\n2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for range f.Rows() {
		break
	}
	for row, err := range f.Rows() { // goes on where it was left
		if text, _ := row.Text("a"); text != "2" || err != nil {
			t.Errorf("%q, %v", text, err)
		}
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if _, err := f.step(); err != fs.ErrClosed {
		t.Error(err)
	}
	if _, err := NewReader(strings.NewReader(""), "a\x1b[2J.csv", Options{}); err == nil || err.Error() != `"a\x1b[2J.csv": it is empty` {
		t.Error(err)
	}
	if _, err := Open(filepath.Join(dir, "b.csv"), Options{}); pavise.KindOf(err) != pavise.NotFound {
		t.Error(err)
	}
	_, err = Open(dir, Options{})
	refused(t, err, "is a directory")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Open(path, Options{})
	refused(t, err, "a.csv: it is empty")
}

// failing fails after what it has.
type failing struct{ io.Reader }

func (f failing) Read(p []byte) (int, error) {
	n, err := f.Reader.Read(p)
	if err == io.EOF {
		err = fs.ErrInvalid
	}
	return n, err
}

// TestDiskFails reads from a disk that fails: that is not the fault of the file.
func TestDiskFails(t *testing.T) {
	for name, in := range map[string]string{
		"t.csv": "a,b\n1,2\n", "t.jsonl": `{"a":1}`, "t.npy": npy(1, dict("|u1", "False", "(2,)"), "a"), "t": string(packed(t, []byte("a\n1\n")))[:12],
	} {
		f, err := NewReader(failing{strings.NewReader(in)}, name, Options{})
		for err == nil {
			_, err = f.step()
		}
		if pavise.KindOf(err) != pavise.Internal || !strings.Contains(err.Error(), "read "+name) {
			t.Errorf("%s: %v: %v", name, pavise.KindOf(err), err)
		}
	}
}

func read(t *testing.T, in string, s Selection) (*Set, error) {
	t.Helper()
	f, err := NewReader(strings.NewReader(in), "t", Options{})
	if err != nil {
		t.Fatal(err)
	}
	return Read(f, s)
}

const flows = "bytes,proto,port,rate,class,level\n10,udp,80,0.5,normal,3\n20,tcp,x80,1.5,dos,2\n30,udp,443,2.5,normal,1\n"

func TestRead(t *testing.T) {
	for _, c := range []struct {
		name string
		s    Selection
		want Set
	}{
		{"all but label and omitted", Selection{Label: "class", Omit: []string{"level"}, Codes: Codes{"port": {"443", "80", "x80"}}}, Set{
			X:        Matrix{3, 4, []float32{10, 1, 1, .5, 20, 0, 2, 1.5, 30, 1, 0, 2.5}},
			Features: []string{"bytes", "proto", "port", "rate"}, Columns: []string{"bytes", "proto", "port", "rate"}, Y: []int{1, 0, 1}, Classes: []string{"dos", "normal"},
			Codes: Codes{"proto": {"tcp", "udp"}, "port": {"443", "80", "x80"}},
		}},
		{"the first rows", Selection{Features: []string{"rate", "proto"}, Label: "class", Most: 2}, Set{
			X:        Matrix{2, 2, []float32{.5, 1, 1.5, 0}},
			Features: []string{"rate", "proto"}, Columns: []string{"rate", "proto"}, Y: []int{1, 0}, Classes: []string{"dos", "normal"}, Codes: Codes{"proto": {"tcp", "udp"}},
		}},
		{"fixed codes", Selection{Features: []string{"proto"}, Label: "class", Codes: Codes{"proto": {"icmp", "udp"}, "class": {"probe", "normal", "dos"}}, Unknown: true}, Set{
			X:        Matrix{3, 1, []float32{1, 2, 1}},
			Features: []string{"proto"}, Columns: []string{"proto"}, Y: []int{1, 2, 1}, Classes: []string{"probe", "normal", "dos"}, Codes: Codes{"proto": {"icmp", "udp"}},
		}},
		{"labels that are numbers", Selection{Features: []string{"bytes"}, Label: "level"}, Set{
			X: Matrix{3, 1, []float32{10, 20, 30}}, Features: []string{"bytes"}, Columns: []string{"bytes"}, Y: []int{3, 2, 1}, Classes: []string{"0", "1", "2", "3"}, Codes: Codes{},
		}},
		{"labels alone", Selection{Features: []string{}, Label: "class"}, Set{
			X: Matrix{Rows: 3}, Y: []int{1, 0, 1}, Classes: []string{"dos", "normal"}, Codes: Codes{},
		}},
	} {
		if got, err := read(t, flows, c.s); err != nil || !reflect.DeepEqual(*got, c.want) {
			t.Errorf("%s:\n%+v, %v\nwant\n%+v", c.name, got, err, c.want)
		}
	}
	got, err := read(t, `{"x":[[1,2],[3,4]],"y":1,"label":true}`+"\n"+`{"label":false,"y":2,"x":[5,6,7,8]}`, Selection{Label: "label"})
	want := Set{
		X: Matrix{2, 5, []float32{1, 2, 3, 4, 1, 5, 6, 7, 8, 2}}, Features: []string{"x.0", "x.1", "x.2", "x.3", "y"}, Columns: []string{"x", "y"},
		Y: []int{1, 0}, Classes: []string{"false", "true"}, Codes: Codes{},
	}
	if err != nil || !reflect.DeepEqual(*got, want) {
		t.Errorf("lists: %+v, %v", got, err)
	}
	if m := learn.Matrix(got.X); m.Row(1)[0] != 5 {
		t.Errorf("%v", m)
	}
}

func TestReadRefuses(t *testing.T) {
	for _, c := range []struct {
		name, in string
		s        Selection
		want     string
	}{
		{"no such feature", flows, Selection{Features: []string{"size"}}, `t: it has no column "size"`},
		{"no such label", flows, Selection{Label: "size"}, `t: it has no column "size"`},
		{"nothing of that name to leave out", flows, Selection{Omit: []string{"size"}}, `t: it has no column "size"`},
		{"a text among numbers", flows, Selection{Features: []string{"port"}}, `t, line 3, column "port": "x80" is no number`},
		{"a number among texts", "a,b\n1,?\n2,3.5\n", Selection{}, `t, line 3, column "b": "3.5" is a number, and the column begins with "?"`},
		{"decimal commas", "a;b\n1,5;2\n", Selection{}, `t, line 2, column "a": "1,5" is a number with a comma`},
		{"an unknown text", flows, Selection{Features: []string{"proto"}, Codes: Codes{"proto": {"udp"}}}, `t, line 3, column "proto": "tcp" is none of the 1 texts`},
		{"an unknown class", flows, Selection{Label: "class", Features: []string{"bytes"}, Codes: Codes{"class": {"normal"}}, Unknown: true}, `t, line 3, column "class": "dos" is none of the 1`},
		{"codes with a text twice", flows, Selection{Features: []string{"proto"}, Codes: Codes{"proto": {"tcp", "udp", "tcp"}}}, `the codes of column "proto" have "tcp" twice`},
		{"fractions for classes", flows, Selection{Features: []string{"bytes"}, Label: "rate"}, `t: column "rate": 0.5 is the name of no class`},
		{"numbers for classes", "a,y\n1,99999999\n", Selection{Label: "y"}, "99999999 is too large for the number of a class"},
		{"no label", "a,y\n1,x\n2,\n", Selection{Label: "y"}, `t, line 3, column "y": the row has no label`},
		{"a list for a label", `{"x":1,"y":[1]}`, Selection{Label: "y"}, `t, line 1, column "y": it has no text`},
		{"nothing to read", "a\n1\n", Selection{Omit: []string{"a"}}, "no columns are left to read"},
		{"beyond float32", "a\n1e39\n", Selection{}, `t, line 2, column "a": 1e+39 is beyond what a number of 32 bits can be`},
		{"lists of two lengths", "{\"x\":[1,2]}\n{\"x\":[1]}", Selection{}, `t, line 2, column "x": it has 1 numbers, and the first row has 2`},
		{"a key that is not there", "{\"x\":1}\n{\"y\":1}", Selection{}, `t, line 2, column "x": there is nothing`},
		{"an empty cell", "a,b\n1,\n", Selection{}, `t, line 2, column "b": "" is no number: it is empty`},
		{"a long text", "a,b\n1," + strings.Repeat("x", 1025) + "\n", Selection{}, `a text of 1025 bytes is longer than a code stands for`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := read(t, c.in, c.s)
			refused(t, err, c.want)
		})
	}
	f, err := NewReader(strings.NewReader("a\n1\n"), "t", Options{})
	if err != nil {
		t.Fatal(err)
	}
	for range f.Rows() {
	}
	_, err = Read(f, Selection{})
	refused(t, err, "no rows are left")
}

func TestManyTexts(t *testing.T) {
	var b strings.Builder
	b.WriteString("name\n")
	for i := range maxValues + 1 {
		fmt.Fprintf(&b, "n%d\n", i)
	}
	_, err := read(t, b.String(), Selection{})
	refused(t, err, "the column has more than 131072 different texts")
}

// TestNSLKDD reads the real thing, where it is: three columns of texts, no header, gzip.
func TestNSLKDD(t *testing.T) {
	dir := os.Getenv("PAVISE_DATA")
	if dir == "" {
		dir = "../../../shared/data"
	}
	path := filepath.Join(dir, "nsl-kdd", "KDDTest+.txt.gz")
	f, err := Open(path, Options{})
	if pavise.KindOf(err) == pavise.NotFound {
		t.Skipf("NSL-KDD is not here: %v; set PAVISE_DATA to the directory that holds nsl-kdd", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s, err := Read(f, Selection{Label: "41", Omit: []string{"42"}})
	if err != nil {
		t.Fatal(err)
	}
	if s.X.Rows != 22544 || s.X.Cols != 41 || len(s.Y) != 22544 || len(s.Classes) != 38 || len(s.Codes) != 3 || !reflect.DeepEqual(s.Codes["1"], []string{"icmp", "tcp", "udp"}) {
		t.Errorf("%d rows of %d, %d classes, codes %v", s.X.Rows, s.X.Cols, len(s.Classes), s.Codes)
	}
	if s.X.Data[1] != 1 || s.Classes[s.Y[0]] != "neptune" {
		t.Errorf("the first row: %v, %s", s.X.Data[:41], s.Classes[s.Y[0]])
	}
}

// TestStreaming reads 64 MiB of each format and takes no more memory than for the first
// megabyte of it. The short form reads 4 MiB.
func TestStreaming(t *testing.T) {
	size := int64(64 << 20)
	if testing.Short() {
		size = 4 << 20
	}
	line := strings.Repeat("0.25,", 63) + "tcp\n"
	object := `{"client":"a","input":[` + strings.Repeat("1.5,", 63) + `2],"output":[0.1,0.9]}` + "\n"
	rows := int(size / 1024)
	for _, c := range []struct{ name, head, row string }{
		{"t.csv", "", line},
		{"t.jsonl", "", object},
		{"t.npy", npy(1, dict("<f4", "False", fmt.Sprintf("(%d, 256)", rows)), ""), strings.Repeat("\x00\x00\x80\x3f", 256)},
	} {
		t.Run(c.name, func(t *testing.T) {
			end := size / int64(len(c.row)) * int64(len(c.row))
			in := io.MultiReader(strings.NewReader(c.head), io.LimitReader(&endless{text: c.row}, end))
			f, err := NewReader(in, c.name, Options{})
			if err != nil {
				t.Fatal(err)
			}
			var n int64
			var warm, after runtime.MemStats
			for _, err := range f.Rows() {
				if err != nil {
					t.Fatal(err)
				}
				if n++; n == 1<<20/int64(len(c.row)) {
					runtime.ReadMemStats(&warm)
				}
			}
			runtime.ReadMemStats(&after)
			if want := end / int64(len(c.row)); n != want {
				t.Errorf("%d rows, want %d", n, want)
			}
			if took := after.TotalAlloc - warm.TotalAlloc; took > 1<<20 {
				t.Errorf("%d rows took %d bytes of memory", n, took)
			}
		})
	}
}

func TestWriter(t *testing.T) {
	write := func(format Format) string {
		var b bytes.Buffer
		w, err := NewWriter(&b, format, "client", "n", "x")
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range [][]any{{"a", 1, 0.1}, {"ä\"\n,", float32(0.1), -2.5e-10}, {"", nil, 1e300}} {
			if err := w.Write(row...); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	csv := write(CSV)
	if want := "client,n,x\na,1,0.1\n\"ä\"\"\n,\",0.1,-2.5e-10\n,,1e+300\n"; csv != want {
		t.Errorf("CSV:\n%s\nwant:\n%s", csv, want)
	}
	jsonl := write(JSONL)
	if want := "{\"client\":\"a\",\"n\":1,\"x\":0.1}\n{\"client\":\"ä\\\"\\n,\",\"n\":0.1,\"x\":-2.5e-10}\n{\"client\":\"\",\"n\":null,\"x\":1e+300}\n"; jsonl != want {
		t.Errorf("JSONL:\n%s\nwant:\n%s", jsonl, want)
	}
	for _, c := range []struct{ name, in string }{{"t.csv", csv}, {"t.jsonl", jsonl}} {
		f, err := NewReader(strings.NewReader(c.in), c.name, Options{})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for row, err := range f.Rows() {
			client, _ := row.Text("client")
			x, _ := row.Append(nil, "x")
			got = append(got, fmt.Sprint(client, x, err))
		}
		if want := []string{"a[0.1] <nil>", "ä\"\n,[-2.5e-10] <nil>", "[1e+300] <nil>"}; !reflect.DeepEqual(got, want) {
			t.Errorf("%s comes back as %q", c.name, got)
		}
	}
}

// TestWriterOfOneColumn writes rows of nothing, which are no empty lines.
func TestWriterOfOneColumn(t *testing.T) {
	for _, format := range []Format{CSV, JSONL} {
		var b bytes.Buffer
		w, err := NewWriter(&b, format, "a")
		if err != nil {
			t.Fatal(err)
		}
		for _, err := range []error{w.Write(nil), w.Write(""), w.Write(7), w.Flush()} {
			if err != nil {
				t.Fatal(err)
			}
		}
		f, err := NewReader(&b, "t", Options{})
		if err != nil {
			t.Fatal(err)
		}
		var there []bool
		for row := range f.Rows() {
			there = append(there, has(row, "a"))
		}
		if !reflect.DeepEqual(there, []bool{false, false, true}) {
			t.Errorf("%s: %v", format, there)
		}
	}
}

func TestWriterLists(t *testing.T) {
	var b bytes.Buffer
	w, err := NewWriter(&b, JSONL, "input", "output")
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{w.Write([]float32{0.1, 2}, []float64{0.1}), w.Write([][]float64{{1}, {2}}, [][]float32{{3}}), w.Flush()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if want := "{\"input\":[0.1,2],\"output\":[0.1]}\n{\"input\":[[1],[2]],\"output\":[[3]]}\n"; b.String() != want {
		t.Errorf("%s", b.String())
	}
}

func TestWriterRefuses(t *testing.T) {
	for _, c := range []struct {
		format  Format
		columns []string
		want    string
	}{
		{NPY, []string{"a"}, "not as \"npy\""}, {CSV, nil, "a table needs columns"}, {CSV, []string{"a", "a"}, "or is there twice"},
		{CSV, []string{" a"}, "has spaces around it"}, {CSV, []string{""}, "is empty"}, {CSV, []string{"1"}, "may be taken for a row"},
	} {
		_, err := NewWriter(io.Discard, c.format, c.columns...)
		refused(t, err, c.want)
	}
	var b bytes.Buffer
	for _, c := range []struct {
		format Format
		cells  []any
		want   string
	}{
		{CSV, []any{1}, "row 1 has 1 cells, and there are 2 columns"}, {CSV, []any{1, math.NaN()}, `row 1, column "b": this float64 cannot be written`},
		{CSV, []any{1, "\xff"}, "this string"}, {CSV, []any{1, "\x00"}, "this string"}, {CSV, []any{1, []float32{1}}, "this []float32"},
		{JSONL, []any{1, []float32{}}, "this []float32"}, {JSONL, []any{1, float32(math.Inf(1))}, "this float32"}, {JSONL, []any{1, true}, "this bool"},
		{JSONL, []any{1, [][]float64{{math.NaN()}}}, "this [][]float64"},
	} {
		b.Reset()
		w, err := NewWriter(&b, c.format, "a", "b")
		if err != nil {
			t.Fatal(err)
		}
		refused(t, w.Write(c.cells...), c.want)
		if err := w.Flush(); err != nil || strings.Contains(b.String(), "1") {
			t.Errorf("written all the same: %q, %v", b.String(), err)
		}
	}
}

// has reports whether a row has something in a column.
func has(r Row, column string) bool {
	i, ok := r.f.column(column)
	if !ok {
		return false
	}
	c := r.f.now.get(i)
	return c.kind != absent && (c.kind != text || len(c.text) > 0)
}

// FuzzOpen reads anything in any format, in gzip too, as Open does.
func FuzzOpen(f *testing.F) {
	f.Add([]byte("a,b\n1,x\n"))
	f.Add([]byte(`{"a":[1,2]}`))
	f.Add([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff\x4a\xd4\xe1\x02\x04\x00\x00\xff\xff"))
	f.Add([]byte("\x00\x00\x08\x01\x00\x00\x00\x01\x01"))
	f.Add([]byte(npy(1, dict("<f4", "False", "(1, 1)"), "abcd")))
	f.Fuzz(func(t *testing.T, in []byte) {
		file, err := NewReader(bytes.NewReader(in), "t", Options{})
		if err == nil {
			_, err = Read(file, Selection{})
		}
		if err != nil && pavise.KindOf(err) != pavise.Invalid {
			t.Fatalf("%v: %v", pavise.KindOf(err), err)
		}
	})
}

// FuzzWriter writes texts as CSV and JSONL, and reads them back. Line ends in CSV come back
// as LF.
func FuzzWriter(f *testing.F) {
	f.Add("a", "b", "c")
	f.Add("", "\"", "x\r\ny")
	f.Add("1", ";", "\t")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		for _, format := range []Format{CSV, JSONL} {
			var out bytes.Buffer
			w, err := NewWriter(&out, format, "first", "second")
			if err != nil {
				t.Fatal(err)
			}
			if w.Write(a, b) != nil || w.Write(c, a) != nil {
				continue
			}
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
			_, rows, err := openAll(out.String(), "t", Options{Format: format})
			want := [][]string{{a, b}, {c, a}}
			if format == CSV {
				for _, row := range want {
					for i := range row {
						row[i] = strings.ReplaceAll(row[i], "\r\n", "\n")
					}
				}
			}
			if err != nil || !reflect.DeepEqual(rows, want) {
				t.Fatalf("%s comes back as %q, %v", out.String(), rows, err)
			}
		}
	})
}

func TestCountedColumns(t *testing.T) {
	f, err := NewReader(strings.NewReader("[5,6]"), "t", Options{})
	if err != nil {
		t.Fatal(err)
	}
	for row := range f.Rows() {
		if got, err := row.Append(nil); len(got) != 0 || err != nil {
			t.Errorf("no columns: %v, %v", got, err)
		}
		if got, err := row.Append(nil, "1", "0", "1"); !reflect.DeepEqual(got, []float64{6, 5, 6}) || err != nil {
			t.Errorf("%v, %v", got, err)
		}
		for _, name := range []string{"", "2", "-1", "+1", "01", "00", "1.0", "4294967296", "18446744073709551616"} {
			_, err := row.Append(nil, name)
			refused(t, err, "t: it has no column")
		}
	}
}

// TestTexts reads the texts of cells of every kind.
func TestTexts(t *testing.T) {
	columns, rows, err := openAll(npy(1, dict("<f8", "False", "(1, 2)"), "\x00\x00\x00\x00\x00\x00\xe0\x3f\x00\x00\x00\x00\x00\x00\xf8\x7f"), "t", Options{})
	if err != nil || !reflect.DeepEqual(columns, []string{"0", "1"}) || !reflect.DeepEqual(rows, [][]string{{"0.5", "NaN"}}) {
		t.Errorf("numbers: %q %q %v", columns, rows, err)
	}
	_, rows, err = openAll(npy(1, dict("|S2", "False", "(2,)"), "ab\x00\x00"), "t", Options{})
	if err != nil || !reflect.DeepEqual(rows, [][]string{{"ab"}, {""}}) {
		t.Errorf("texts: %q %v", rows, err)
	}
	f, err := NewReader(strings.NewReader(`{"a":[1],"b":null,"c":{},"d":true}`), "t", Options{})
	if err != nil {
		t.Fatal(err)
	}
	for row := range f.Rows() {
		for column, want := range map[string]string{"a": "it has no text", "b": "there is nothing", "c": "it has no text", "e": "it has no column"} {
			_, err := row.Text(column)
			refused(t, err, want)
			_, _, err = row.Batch(nil, column)
			if (err == nil) != (column == "a") {
				t.Errorf("numbers of %s: %v", column, err)
			}
		}
		if text, err := row.Text("d"); text != "true" || err != nil {
			t.Errorf("%q, %v", text, err)
		}
	}
}

// TestTooManyColumnsToName names a column that is not there among many.
func TestTooManyColumnsToName(t *testing.T) {
	_, err := read(t, "["+strings.Repeat("1,", 20)+"1]", Selection{Label: "label"})
	var told *pavise.Error
	if !errors.As(err, &told) || told.Hint != "its columns are 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 9 more" {
		t.Errorf("%+v", told)
	}
}
