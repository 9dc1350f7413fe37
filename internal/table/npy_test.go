package table

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

// npy puts a file together: the version, the header as it is, and the values.
func npy(major byte, header, values string) string {
	length := binary.LittleEndian.AppendUint16(nil, uint16(len(header)))
	if major > 1 {
		length = binary.LittleEndian.AppendUint32(nil, uint32(len(header)))
	}
	return npyMagic + string(rune(major)) + "\x00" + string(length) + header + values
}

// dict is a header as NumPy writes it.
func dict(descr, fortran, shape string) string {
	return fmt.Sprintf("{'descr': '%s', 'fortran_order': %s, 'shape': %s, }\n", descr, fortran, shape)
}

// numbers reads all rows of a file as numbers.
func numbers(content, name string, o Options) (rows [][]float64, err error) {
	f, err := NewReader(strings.NewReader(content), name, o)
	if err != nil {
		return nil, err
	}
	for row, err := range f.Rows() {
		if err != nil {
			return rows, err
		}
		r, err := row.Append(nil, row.f.Columns()...)
		if err != nil {
			return rows, err
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// TestNumPyBytes reads what numpy.save has written.
func TestNumPyBytes(t *testing.T) {
	pad := func(n int) string { return strings.Repeat(" ", n) + "\n" }
	for _, c := range []struct {
		name, in string
		want     [][]float64
	}{
		{"C order", "\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }" + pad(58) +
			"\x00\x00\xc0?\x00\x00\x00\xc0\x00\x00@@\x00\x00\x80@", [][]float64{{1.5, -2}, {3, 4}}},
		{"Fortran order", "\x93NUMPY\x01\x00v\x00{'descr': '>i2', 'fortran_order': True, 'shape': (2, 3), }" + pad(59) +
			"\x00\x00\x00\x03\x00\x01\x00\x04\x00\x02\x00\x05", [][]float64{{0, 1, 2}, {3, 4, 5}}},
	} {
		if got, err := numbers(c.in, "t.npy", Options{}); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, %v; want %v", c.name, got, err, c.want)
		}
	}
	columns, rows, err := openAll("\x93NUMPY\x01\x00v\x00{'descr': '<U2', 'fortran_order': False, 'shape': (2,), }"+pad(60)+
		"a\x00\x00\x00b\x00\x00\x00\xe4\x00\x00\x00\x00\x00\x00\x00", "t.npy", Options{})
	if err != nil || !reflect.DeepEqual(rows, [][]string{{"ab"}, {"ä"}}) || !reflect.DeepEqual(columns, []string{"0"}) {
		t.Errorf("texts: %q %q %v", columns, rows, err)
	}
}

func TestNPYTypes(t *testing.T) {
	for _, c := range []struct {
		descr, values string
		want          []float64
	}{
		{"|b1", "\x00\x01", []float64{0, 1}},
		{"|u1", "\x00\xff", []float64{0, 255}},
		{"|i1", "\x00\xff", []float64{0, -1}},
		{"<u2", "\x01\x00\xff\xff", []float64{1, 65535}},
		{">u2", "\x00\x01\xff\xff", []float64{1, 65535}},
		{"<i2", "\x01\x00\xff\xff", []float64{1, -1}},
		{"<u4", "\x01\x00\x00\x00\xff\xff\xff\xff", []float64{1, math.MaxUint32}},
		{">i4", "\x00\x00\x00\x01\xff\xff\xff\xff", []float64{1, -1}},
		{"<u8", "\x01\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff", []float64{1, math.MaxUint64}},
		{"<i8", "\x01\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff", []float64{1, -1}},
		{"<f2", "\x00\x3c\x01\x00", []float64{1, 5.960464477539063e-08}},
		{">f4", "\x3f\x80\x00\x00\xc0\x00\x00\x00", []float64{1, -2}},
		{">f8", "\x3f\xf0\x00\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00\x00", []float64{1, -2}},
	} {
		for _, major := range []byte{1, 2, 3} {
			got, err := numbers(npy(major, dict(c.descr, "False", "(1, 2)"), c.values), "t", Options{})
			if err != nil || !reflect.DeepEqual(got, [][]float64{c.want}) {
				t.Errorf("%s, version %d: %v, %v; want %v", c.descr, major, got, err, c.want)
			}
		}
	}
}

// TestFortran reads arrays of three and four dimensions in both orders.
func TestFortran(t *testing.T) {
	for _, shape := range [][]int{{1, 2, 3}, {3, 1, 2}, {2, 3, 4}, {4, 2, 1, 3}} {
		total := 1
		for _, n := range shape {
			total *= n
		}
		c, fortran := make([]byte, total), make([]byte, total)
		for i := range total { // i counts in C order
			c[i] = byte(i)
			place, stride, left := 0, total, i
			for k := len(shape) - 1; k >= 0; k-- {
				stride /= shape[k]
				place += left % shape[k] * stride
				left /= shape[k]
			}
			fortran[place] = byte(i)
		}
		text := strings.ReplaceAll(strings.Trim(fmt.Sprint(shape), "[]"), " ", ", ")
		want, err := numbers(npy(1, dict("|u1", "False", "("+text+")"), string(c)), "t", Options{})
		if err != nil || len(want) != shape[0] {
			t.Fatal(want, err)
		}
		got, err := numbers(npy(1, dict("|u1", "True", "("+text+")"), string(fortran)), "t", Options{})
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%v: %v, %v; want %v", shape, got, err, want)
		}
	}
}

func TestHostileNPY(t *testing.T) {
	good := dict("<f4", "False", "(2, 1)")
	for _, c := range []struct{ name, in, want string }{
		{"cut off in its magic", npyMagic, "it does not begin as NPY does"},
		{"version", npy(4, good, ""), "it is NPY of version 4"},
		{"cut off in its length", npyMagic + "\x01\x00\x10", "it ends in its header"},
		{"cut off in its header", npy(1, good, "")[:30], "it ends in its header"},
		{"a header of 4 GiB", npyMagic + "\x02\x00\xff\xff\xff\xff{", "its header has 4294967295 bytes, more than 10000"},
		{"no dictionary", npy(1, "import os\n", ""), `its header is not what NumPy writes: "{" is missing`},
		{"an expression", npy(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2**40, 1), }", ""), "its header is not what NumPy writes"},
		{"a negative size", npy(1, dict("<f4", "False", "(-1, 1)"), ""), "has a size that is none"},
		{"a key too many", npy(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'x': 1}", ""), `says "x", which no array has`},
		{"a key twice", npy(1, "{'descr': '<f4', 'descr': '<f8', 'fortran_order': False, 'shape': (1,)}", ""), `says "descr" twice`},
		{"a key missing", npy(1, "{'descr': '<f4', 'fortran_order': False}", ""), "says not all of"},
		{"behind the end", npy(1, good[:len(good)-1]+"x", ""), "goes on behind its end"},
		{"a text without end", npy(1, "{'descr", ""), "has a text that does not end"},
		{"objects", npy(1, dict("|O", "False", "(1,)"), "\x80\x04K\x01."), "it holds pickled objects, and a pickle is a program"},
		{"objects, with a size", npy(1, dict("|O8", "False", "(1,)"), "\x80\x04K\x01."), "a pickle is a program"},
		{"records", npy(1, "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", ""), "records of several types"},
		{"complex", npy(1, dict("<c8", "False", "(1,)"), ""), `type "<c8", which is not read`},
		{"dates", npy(1, dict("<M8[ns]", "False", "(1,)"), ""), "which is not read"},
		{"no order", npy(1, dict("|f4", "False", "(1,)"), ""), "whose byte order is not said"},
		{"no such size", npy(1, dict("<f3", "False", "(1,)"), ""), "which is not read"},
		{"texts of no bytes", npy(1, dict("|S0", "False", "(1,)"), ""), "which is not read"},
		{"huge texts", npy(1, dict("<U99999999999999999999", "False", "(1,)"), ""), "which is not read"},
		{"one value", npy(1, dict("<f4", "False", "()"), "\x00\x00\x00\x00"), "it is one value, and no table"},
		{"no rows", npy(1, dict("<f4", "False", "(0, 3)"), ""), "it holds no rows"},
		{"no columns", npy(1, dict("<f4", "False", "(3, 0)"), ""), "it holds no rows"},
		{"more columns than are read", npy(1, dict("<f4", "False", "(1, 1048577)"), ""), "more than 1048576 columns"},
		{"columns that overflow", npy(1, dict("<f4", "False", "(1, 4294967296, 4294967296)"), ""), "more than 1048576 columns"},
		{"rows that overflow", npy(1, dict("<f8", "False", "(9223372036854775807, 1048576)"), ""), "its header says that it has 9223372036854775807 rows"},
		{"more rows than there are", npy(1, dict("<f4", "False", "(4000000000, 1000)"), "abcd"), "t, row 1: the file ends in it, and its header says that there are 4000000000 rows"},
		{"Fortran, beyond what is held", npy(1, dict("<f8", "True", "(1000000, 1000)"), ""), "larger than 1024 MiB"},
		{"Fortran, cut off", npy(1, dict("|u1", "True", "(500000, 1000)"), "abcd"), "it has 4 bytes of values, and its header says 500000000"},
		{"cut off", npy(1, good, "\x00\x00\x00\x00\x00\x00"), "t, row 2: the file ends in it"},
		{"left over", npy(1, good, "\x00\x00\x00\x00\x00\x00\x00\x00\x00"), "something follows the 2 rows"},
		{"a truth value", npy(1, dict("|b1", "False", "(1, 2)"), "\x01\x02"), `t, row 1, column "1": the truth value is 2`},
		{"NaN", npy(1, dict("<f4", "False", "(2, 1)"), "\x00\x00\x00\x00\x00\x00\xc0\x7f"), `t, row 2, column "0": NaN is no number to reckon with`},
		{"no character", npy(1, dict("<U1", "False", "(1,)"), "\x00\xd8\x00\x00"), "what is no character"},
		{"NUL inside", npy(1, dict("|S3", "False", "(1,)"), "a\x00b"), "has NUL in it"},
		{"not UTF-8", npy(1, dict("|S1", "False", "(1,)"), "\xff"), "is not UTF-8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := numbers(c.in, "t", Options{Format: NPY})
			refused(t, err, c.want)
		})
	}
}

func TestIDX(t *testing.T) {
	images := "\x00\x00\x08\x03\x00\x00\x00\x02\x00\x00\x00\x01\x00\x00\x00\x02" + "\x00\x01\xfe\xff"
	if got, err := numbers(images, "t10k-images-idx3-ubyte", Options{}); err != nil || !reflect.DeepEqual(got, [][]float64{{0, 1}, {254, 255}}) {
		t.Errorf("images: %v, %v", got, err)
	}
	if f, err := NewReader(strings.NewReader(images), "t", Options{}); err != nil || f.Format() != IDX {
		t.Errorf("format %v, %v", f, err)
	}
	for _, c := range []struct {
		in   string
		want float64
	}{
		{"\x00\x00\x09\x01\x00\x00\x00\x01\xff", -1},
		{"\x00\x00\x0b\x01\x00\x00\x00\x01\xff\xfe", -2},
		{"\x00\x00\x0c\x01\x00\x00\x00\x01\x00\x00\x01\x00", 256},
		{"\x00\x00\x0d\x01\x00\x00\x00\x01\x3f\x80\x00\x00", 1},
		{"\x00\x00\x0e\x01\x00\x00\x00\x01\x3f\xf0\x00\x00\x00\x00\x00\x00", 1},
	} {
		if got, err := numbers(c.in, "t", Options{}); err != nil || !reflect.DeepEqual(got, [][]float64{{c.want}}) {
			t.Errorf("%q: %v, %v; want %v", c.in, got, err, c.want)
		}
	}
	for _, c := range []struct{ name, in, want string }{
		{"cut off in its header", images[:7], "it ends in its header"},
		{"three bytes", images[:3], "it ends in its header"},
		{"another beginning", "\x00\x01\x08\x01", "it does not begin as IDX does"},
		{"no type", "\x00\x00\x0a\x01", "it does not begin as IDX does"},
		{"no dimensions", "\x00\x00\x08\x00", "it has 0 dimensions"},
		{"many dimensions", "\x00\x00\x08\x09", "it has 9 dimensions"},
		{"no rows", "\x00\x00\x08\x01\x00\x00\x00\x00", "it holds no rows"},
		{"more than there are", "\x00\x00\x08\x01\xff\xff\xff\xff\x01", "row 2: the file ends in it, and its header says that there are 4294967295 rows"},
		{"wide", "\x00\x00\x08\x03\x00\x00\x00\x01\xff\xff\xff\xff\xff\xff\xff\xff", "more than 1048576 columns"},
		{"left over", images + "\x00", "something follows the 2 rows"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := numbers(c.in, "t", Options{Format: IDX})
			refused(t, err, c.want)
		})
	}
}

// TestMemoryFollowsBytes opens files whose headers say that they are huge.
func TestMemoryFollowsBytes(t *testing.T) {
	for name, in := range map[string]string{
		"rows":    npy(1, dict("<f8", "False", "(1000000000, 1)"), "abc"),
		"a row":   npy(1, dict("<f8", "False", "(1, 1048576)"), "abc"),
		"Fortran": npy(1, dict("|u1", "True", "(1048576, 1000)"), "abc"),
		"texts":   npy(1, dict("<U65536", "False", "(1, 200)"), "abc"),
		"IDX":     "\x00\x00\x0e\x02\xff\xff\xff\xff\x00\x10\x00\x00abc",
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := numbers(in, "t", Options{}); err == nil {
			t.Errorf("%s: not refused", name)
		}
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; took > 1<<20 {
			t.Errorf("%s: %d bytes of file took %d bytes of memory", name, len(in), took)
		}
	}
}

// TestNumPy reads what NumPy and pandas write, and lets pandas read what is written here.
// PAVISE_NUMPY names a Python that has both.
func TestNumPy(t *testing.T) {
	python := os.Getenv("PAVISE_NUMPY")
	if python == "" {
		t.Skip("PAVISE_NUMPY names no Python with the packages numpy and pandas")
	}
	dir := t.TempDir()
	const script = `
import sys, gzip, numpy as np, pandas as pd
a = np.random.default_rng(1).integers(0, 100, (4, 3, 2))
for kind in ['<i1', '>u2', '<i4', '>i8', '<u8', '<f2', '>f4', '<f8']:
    for order in 'CF':
        with open(f'{kind[0] == ">"}{kind[1:]}{order}.npy', 'wb') as f:
            np.lib.format.write_array(f, np.array(a, kind, order=order), version=(1 + (order == 'F'), 0))
flat = pd.DataFrame(a.reshape(4, 6))
flat.to_csv('counted.csv', index=False)
flat.add_prefix('c').to_csv('named.csv.gz', index=False)
flat.to_csv('bare.csv', index=False, header=False, float_format='%.3f')
flat.add_prefix('c').to_csv('tabs.tsv', index=False, sep='\t')
flat.to_json('rows.jsonl', orient='records', lines=True)
np.savetxt('text.csv', a.reshape(4, 6), delimiter=',')
c = pd.read_csv('ours.csv')
assert list(c.columns) == ['a', 'b,"'] and c['b,"'].tolist() == ['x\ny', '"'] and c['a'].tolist() == [0.1, 2], c
print(' '.join(map(str, a.reshape(-1))))
`
	var rows bytes.Buffer
	w, err := NewWriter(&rows, CSV, "a", `b,"`)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{w.Write(0.1, "x\ny"), w.Write(2, `"`), w.Flush(),
		os.WriteFile(filepath.Join(dir, "ours.csv"), rows.Bytes(), 0o600)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(python, "-c", script)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var want []float64
	for _, text := range strings.Fields(string(out)) {
		v, _ := parse([]byte(text))
		want = append(want, v)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, path := range files {
		if strings.HasPrefix(filepath.Base(path), "ours") {
			continue
		}
		f, err := Open(path, Options{})
		if err != nil {
			t.Error(err)
			continue
		}
		var got []float64
		for row, err := range f.Rows() {
			if err == nil {
				got, err = row.Append(got, f.Columns()...)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v; want %v", filepath.Base(path), got, want)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	if len(files) != 16+6+2 {
		t.Errorf("%d files", len(files))
	}
}

// FuzzArrays reads NPY and IDX: what is accepted holds as many values as there are bytes
// for.
func FuzzArrays(f *testing.F) {
	for _, s := range []string{
		npy(1, dict("<f4", "False", "(1, 2)"), "abcdefgh"), npy(2, dict("|u1", "True", "(2, 2, 2)"), "abcdefgh"),
		npy(3, dict("<U1", "False", "(2,)"), "a\x00\x00\x00b\x00\x00\x00"), npy(1, dict("|b1", "False", "(1,)"), "\x01"),
		npy(1, `{"shape":(1L,),"descr":"|S2","fortran_order":False}`, "ab"), npy(1, dict("|O", "False", "(1,)"), "\x80\x04K\x01."),
		"\x00\x00\x08\x02\x00\x00\x00\x01\x00\x00\x00\x02\x01\x02", "\x00\x00\x0e\x01\x00\x00\x00\x01\x3f\xf0\x00\x00\x00\x00\x00\x00",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, format := range []Format{NPY, IDX} {
			file, err := NewReader(bytes.NewReader(in), "t", Options{Format: format})
			if err != nil {
				continue
			}
			s := file.source.(*arraySource)
			rows := 0
			for row, err := range file.Rows() {
				if err != nil {
					return
				}
				if _, err := row.Append(nil, row.f.Columns()...); err != nil && s.el.number != nil && s.el.text == nil {
					t.Fatal(err)
				}
				rows++
			}
			if int64(rows) != s.rows || rows*s.cols*s.el.size > len(in) {
				t.Fatalf("%d rows of %d columns of %d bytes in %d bytes", rows, s.cols, s.el.size, len(in))
			}
		}
	})
}

// TestSpecifiedFormat reads what its content does not tell.
func TestSpecifiedFormat(t *testing.T) {
	if _, err := NewReader(strings.NewReader("a\n1\n"), "t", Options{Format: "parquet"}); err == nil || !strings.Contains(err.Error(), `"parquet" is no format of a table`) {
		t.Error(err)
	}
	if _, err := NewReader(io.MultiReader(), "t", Options{Format: NPY}); err == nil {
		t.Error("nothing is an array")
	}
	_, _, err := openAll("\x01\x02\x00\x03", "t", Options{})
	refused(t, err, "it is no table that Pavise reads")
}
