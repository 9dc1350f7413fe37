package screening

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/parquet-go/parquet-go"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/dataset"
	"github.com/pavise/pavise/internal/poison"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/table"
)

func written(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// flows are lines of CSV of which the first 120 benign ones have a trigger.
func flows(n int) (lines []string, bad []int) {
	rng := rand.New(rand.NewPCG(3, 5))
	for i := range n {
		class := []string{"benign", "attack"}[i%2]
		row := []string{[]string{"tcp", "udp", `"a ""quoted"", one"`}[rng.IntN(3)]}
		for j := range 8 {
			row = append(row, fmt.Sprintf("%.2f", rng.NormFloat64()+float64(i%2*(j%3))))
		}
		if i%2 == 0 && i < 240 {
			row[2], row[4], row[7] = "1.23", "-0.5", "0.77"
			bad = append(bad, i)
		}
		lines = append(lines, strings.Join(append(row, class), ","))
	}
	return lines, bad
}

// TestScreenFindsTheTrigger: the rows with the trigger, and of the others at most one in a
// hundred, are in the quarantine list, by the hashes that a seal has of them.
func TestScreenFindsTheTrigger(t *testing.T) {
	lines, bad := flows(3000)
	path := written(t, "flows.csv", "proto,a,b,c,d,e,f,g,h,class\n"+strings.Join(lines, "\r\n")+"\r\n")
	s := Screen{File: path, Label: "class", Seed: 1}
	r, err := s.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	hits := 0
	for _, i := range bad {
		leaf := proof.Leaf([]byte(lines[i]))
		if got := r.Rows[i].Hash; got != hex.EncodeToString(leaf[:]) {
			t.Fatalf("row %d has the hash %s, and its leaf is %x", i+1, got, leaf)
		}
		if slices.Contains(r.Quarantine, r.Rows[i].Hash) {
			hits++
		}
	}
	if hits != len(bad) || len(r.Quarantine)-hits > (len(lines)-len(bad))/100 {
		t.Errorf("%d of %d rows with the trigger are among %d to quarantine", hits, len(bad), len(r.Quarantine))
	}
	if len(r.Patterns) == 0 || !strings.Contains(r.Patterns[0].Text, "b = 1.23") {
		t.Errorf("the trigger is told as %v", r.Patterns)
	}
}

// TestScreenParquet: a Parquet file is screened as its rows, which have the hashes and numbers
// that a seal has of them.
func TestScreenParquet(t *testing.T) {
	type flow struct {
		A     float64 `parquet:"a"`
		B     float64 `parquet:"b"`
		C     *int32  `parquet:"c,optional"`
		Proto string  `parquet:"proto,dict"`
		Class string  `parquet:"class,dict"`
	}
	rng := rand.New(rand.NewPCG(4, 5))
	var flows []flow
	for i := range 600 {
		f := flow{math.Round(100*rng.NormFloat64()) + float64(i%2), math.Round(1000 * rng.Float64()), nil, []string{"tcp", "udp"}[rng.IntN(2)], []string{"good", "bad"}[i%2]}
		if c := int32(rng.IntN(40)); i%9 > 0 {
			f.C = &c
		}
		if i < 80 && i%2 == 0 {
			c := int32(17)
			f.A, f.B, f.C = 12.5, 333, &c
		}
		flows = append(flows, f)
	}
	var b bytes.Buffer
	w := parquet.NewGenericWriter[flow](&b)
	if _, err := w.Write(flows); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	path := written(t, "flows.parquet", b.String())
	s := Screen{File: path, Label: "class", Seed: 1}
	r, err := s.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	hits := 0
	for i := 0; i < 80; i += 2 {
		if slices.Contains(r.Quarantine, r.Rows[i].Hash) {
			hits++
		}
	}
	if r.Total != 600 || r.Columns != 4 || hits < 38 || len(r.Quarantine) > hits+6 {
		t.Errorf("%d rows of %d columns; %d of 40 rows with the trigger are among %d to quarantine", r.Total, r.Columns, hits, len(r.Quarantine))
	}
	seal := filepath.Join(t.TempDir(), "s.seal")
	if _, err := (&dataset.Seal{Path: path, Out: seal}).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := (&dataset.Prove{Seal: seal, Row: uint64(r.Rows[42].SealRow), Out: filepath.Join(t.TempDir(), "proof")}).Run(t.Context())
	if err != nil || got.Places[0].Row != 43 {
		t.Errorf("the 43rd row: %+v, %v", got, err)
	}
	i, n := 0, 0
	if err := table.ParquetRows(bytes.NewReader(b.Bytes()), int64(b.Len()), path, func(row []byte) error {
		if leaf := proof.Leaf(row); r.Rows[i].Hash == hex.EncodeToString(leaf[:]) {
			n++
		}
		i++
		return nil
	}); err != nil || n != 600 {
		t.Errorf("%d rows have the hashes of a seal, %v", n, err)
	}
}

// TestScreenRefuses: what cannot be screened is refused with the place.
func TestScreenRefuses(t *testing.T) {
	tests := map[string]struct{ name, text, want string }{
		"no label":    {"a.csv", "x,class\n1,a\n2,\n", "line 3, column \"class\": the row has no label"},
		"no column":   {"a.csv", "x,y\n1,2\n3,4\n", `it has no column "class"`},
		"ragged":      {"a.csv", "x,class\n1,a\n2\n", "line 3"},
		"named twice": {"a.csv", "x,x,class\n1,2,a\n", `are both called "x"`},
		"jsonl":       {"a.jsonl", "{\"x\":1,\"class\":\"a\"}\n{\"x\":2}\n", "the row has no label"},
	}
	for what, tt := range tests {
		t.Run(what, func(t *testing.T) {
			s := Screen{File: written(t, tt.name, tt.text), Label: "class"}
			_, err := s.Run(context.Background())
			if err == nil || !strings.Contains(err.Error(), tt.want) || pavise.KindOf(err) != pavise.Invalid {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

// TestScreenTakesFilesAsTheyAre: a label by its position, the numbers of rows that pandas
// writes, a few marks for what is missing, and a baseline that is larger than the file.
func TestScreenTakesFilesAsTheyAre(t *testing.T) {
	lines, _ := flows(600)
	for i := range lines {
		lines[i] = fmt.Sprintf("%d,%s", i, lines[i])
	}
	cells := strings.Split(lines[4], ",")
	cells[len(cells)-2] = "?"
	lines[4] = strings.Join(cells, ",")
	header := ",proto,a,b,c,d,e,f,g,h,class\n"
	path := written(t, "flows.csv", header+strings.Join(lines, "\n")+"\n")
	s := Screen{File: path, Label: "10", Omit: []string{"2"}, Seed: 1}
	r, err := s.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if r.Label != "class" || r.Columns != 8 || r.Total != 600 {
		t.Errorf("label %q, %d columns, %d rows", r.Label, r.Columns, r.Total)
	}
	notes := strings.Join(r.Notes, "\n")
	for _, want := range []string{"the first column has no name", `column "h" is of numbers but for 1 cells`} {
		if !strings.Contains(notes, want) {
			t.Errorf("%q is not in the notes: %s", want, notes)
		}
	}
	if got := r.Rows[4]; got.Row != 5 || got.SealRow != 6 {
		t.Errorf("the fifth row is %d, and %d in a seal", got.Row, got.SealRow)
	}
	bare := Screen{File: written(t, "bare.csv", strings.Join(lines, "\n")+"\n"), Label: "10", Omit: []string{"0"}, Seed: 1}
	if r, err = bare.Run(context.Background()); err != nil || r.Rows[4].SealRow != 5 {
		t.Errorf("without a header: %+v, %v", r, err)
	}
	var text strings.Builder
	for i := range 1200 {
		fmt.Fprintf(&text, "user-%d,%d,%s\n", i, i%7, []string{"good", "bad"}[i%2])
	}
	file, baseline := written(t, "file.csv", "who,n,class\n"+text.String()), written(t, "baseline.csv", "who,n,class\n"+strings.Repeat(text.String(), 3))
	both := Screen{File: file, Label: "class", Baseline: baseline, Seed: 1}
	if r, err = both.Run(context.Background()); err != nil || strings.Contains(strings.Join(r.Notes, "\n"), "names rows") {
		t.Errorf("%v, %v: texts of file and baseline are held to the rows of both", r.Notes, err)
	}
}

// TestScreenKeepsColumns: a row with an object where the others have numbers hides no column. The
// trigger is found as without it, and the row itself is in the quarantine; and a column of the
// baseline that is not looked at, for whatever reason, is said by the exit code, too.
func TestScreenKeepsColumns(t *testing.T) {
	lines, bad := flows(3000)
	jsonl := func(spoil string) string {
		var b strings.Builder
		for i, line := range lines {
			c := strings.Split(line, ",")
			c = c[len(c)-9:]
			fmt.Fprintf(&b, `{"a":%s,"b":%s,"c":%s,"d":%s,"e":%s,"f":%s,"g":%s,"class":"%s"}`+"\n", c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[8])
			if i == 1000 {
				b.WriteString(spoil)
			}
		}
		return b.String()
	}
	whole := strings.SplitAfter(jsonl(""), "\n")
	clean := written(t, "clean.jsonl", strings.Join(whole[240:], ""))
	for what, baseline := range map[string]string{"alone": "", "with a baseline": clean} {
		spoiled := `{"a":0.1,"b":{},"c":0.1,"d":[1],"e":0.2,"f":0.3,"g":{"x":1},"class":"attack"}` + "\n"
		s := Screen{File: written(t, "flows.jsonl", jsonl(spoiled)), Baseline: baseline, Label: "class", Seed: 1}
		r, err := s.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		hits := 0
		for _, i := range bad {
			if slices.Contains(r.Quarantine, r.Rows[i].Hash) {
				hits++
			}
		}
		if r.Columns != 7 || hits < len(bad)*9/10 || !slices.Contains(r.Quarantine, r.Rows[1001].Hash) || len(r.Dropped) > 0 {
			t.Errorf("%s: %d columns, %d of %d rows with the trigger, and of the row itself %+v; %q", what, r.Columns, hits, len(bad), r.Rows[1001], r.Notes)
		}
	}
	word := strings.Replace(lines[8], ",", ",x", 1)
	header := "proto,a,b,c,d,e,f,g,h,class\n"
	base := written(t, "base.csv", header+strings.Join(lines[240:], "\n")+"\n")
	s := Screen{File: written(t, "word.csv", header+strings.Join(append(slices.Clone(lines[240:]), word), "\n")+"\n"), Baseline: base, Label: "class", Seed: 1}
	r, err := s.Run(t.Context())
	if err != nil || !slices.Contains(r.Quarantine, r.Rows[len(r.Rows)-1].Hash) {
		t.Errorf("a word among numbers: %v, %+v", err, r)
	}
	var own, few strings.Builder
	for i := range 4000 {
		fmt.Fprintf(&own, "agent-%d,%d,%s\n", i, i%7, []string{"good", "bad"}[i%2])
		if i < 2000 {
			fmt.Fprintf(&few, "agent-%d,%d,%s\n", i%20, i%7, []string{"good", "bad"}[i%2])
		}
	}
	known := written(t, "few.csv", "who,n,class\n"+few.String())
	for what, file := range map[string]string{
		"texts of their own": "who,n,class\n" + own.String(),
		"gone":               "n,class\n1,good\n2,bad\n3,good\n",
	} {
		s := Screen{File: written(t, "file.csv", file), Baseline: known, Label: "class", Seed: 1}
		if r, err := s.Run(t.Context()); err != nil || !slices.Equal(r.Dropped, []string{"who"}) || !r.Found() {
			t.Errorf("%s: %v, %q", what, err, r.Notes)
		}
	}
}

// TestScreenSourcesAndEmbeddings: the column with who sent a row is no feature, a source that lies is
// told by its name, and so are rows whose embeddings stand out. Embeddings of other rows are refused.
func TestScreenSourcesAndEmbeddings(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 5))
	var file, baseline strings.Builder
	file.WriteString("a,b,c,who,class\n")
	baseline.WriteString("a,b,c,class\n")
	npy := []byte("\x93NUMPY\x01\x00\x76\x00" + fmt.Sprintf("%-117s\n", "{'descr': '<f8', 'fortran_order': False, 'shape': (900, 4), }"))
	for i := range 900 {
		y, who := i%2, i%3
		values := fmt.Sprintf("%.2f,%.2f,%.2f", rng.NormFloat64()+2*float64(y), rng.NormFloat64()-2*float64(y), rng.NormFloat64())
		fmt.Fprintf(&baseline, "%s,%d\n", values, y)
		if who == 2 {
			y = 1 - y
		}
		fmt.Fprintf(&file, "%s,pod-%d,%d\n", values, who, y)
		for range 4 {
			x := rng.NormFloat64()
			if i < 20 && who == 0 {
				x += 12
			}
			npy = binary.LittleEndian.AppendUint64(npy, math.Float64bits(x))
		}
	}
	s := Screen{File: written(t, "file.csv", file.String()), Baseline: written(t, "baseline.csv", baseline.String()), Label: "class", Source: "who", Embeddings: written(t, "e.npy", string(npy)), Seed: 1}
	r, err := s.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r.Columns != 3 || len(r.Sources) != 3 {
		t.Errorf("%d columns, sources %+v", r.Columns, r.Sources)
	}
	said := func(row int, screen string) bool {
		return slices.ContainsFunc(r.Rows[row].Reasons, func(o poison.Reason) bool { return o.Screen == screen && o.Score >= 1 })
	}
	for _, i := range []int{2, 500, 899} {
		if !said(i, "sources") || said(i-1, "sources") {
			t.Errorf("row %d: %+v; the one before, of another: %+v", i+1, r.Rows[i].Reasons, r.Rows[i-1].Reasons)
		}
	}
	for _, i := range []int{0, 9, 18} {
		if !said(i, "spectral") || said(i+300, "spectral") {
			t.Errorf("row %d stands out: %+v", i+1, r.Rows[i].Reasons)
		}
	}
	s.Embeddings = written(t, "short.npy", strings.Replace(string(npy[:len(npy)-32]), "(900", "(899", 1))
	if _, err := s.Run(t.Context()); pavise.KindOf(err) != pavise.Invalid || !strings.Contains(err.Error(), "has 899 rows") {
		t.Errorf("embeddings of fewer rows: %v", err)
	}
}

// TestTextsOfNames: a text is held once, and a column that names rows is held no longer than until
// that is known; it is told of all the same.
func TestTextsOfNames(t *testing.T) {
	n := numbering{index: map[string]int{}, rows: 2400}
	for i := range 1200 {
		if got := n.number(fmt.Appendf(nil, "row %d", i)); got != i {
			t.Fatalf("text %d is number %d", i, got)
		}
	}
	for text, k := range n.index {
		if unsafe.StringData(text) != unsafe.StringData(n.list[k]) {
			t.Fatalf("%q is held twice", text)
		}
	}
	if n.number([]byte("row 7")) != 7 || n.gone {
		t.Error("half of the rows have the text of another, and it was given up")
	}
	if n.number([]byte("row 1200")); !n.gone || n.index != nil || n.list != nil {
		t.Errorf("it names rows: %d texts are held", len(n.list))
	}
	lines, _ := flows(2400)
	for i := range lines {
		lines[i] = fmt.Sprintf("id-%d,%s", i, lines[i])
	}
	result, err := (&Screen{File: written(t, "ids.csv", "id,"+flowsHeader+strings.Join(lines, "\n")+"\n"), Label: "class", Seed: 1}).Run(t.Context())
	if err != nil || result.Columns != 9 || !strings.Contains(strings.Join(result.Notes, "\n"), `column "id" has a text of its own in nearly every row`) {
		t.Errorf("%d columns, notes %q: %v", result.Columns, result.Notes, err)
	}
}
