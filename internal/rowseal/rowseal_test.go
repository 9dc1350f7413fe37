package rowseal

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/proof"
)

// sealText seals text in memory.
func sealText(t testing.TB, in io.Reader, f File, cut Cut, workers int) (Section, []byte) {
	t.Helper()
	var out bytes.Buffer
	s := Section{File: f}
	var blocks bytes.Buffer
	rows, size, err := Sink{&out, &blocks, workers, func(int) {}}.Text(t.Context(), in, cut)
	if err != nil {
		t.Fatal(err)
	}
	s.Size = size
	digests := bytes.Clone(out.Bytes())
	if err := s.Finish(t.Context(), rows, bytes.NewReader(digests), workers); err != nil {
		t.Fatal(err)
	}
	all := append(digests, blocks.Bytes()...)
	s.Length, s.Source = int64(len(all)), bytes.NewReader(all)
	return s, all
}

// TestTrailsAreRFC6962 holds audit paths to those of another implementation.
func TestTrailsAreRFC6962(t *testing.T) {
	for n := uint64(1); n < 40; n++ {
		var leaves []tlog.Hash
		var stored []tlog.Hash
		for i := range n {
			entry := fmt.Appendf(nil, "entry %d", i)
			leaves = append(leaves, tlog.RecordHash(entry))
			more, err := tlog.StoredHashes(int64(i), entry, tlog.HashReaderFunc(func(at []int64) (list []tlog.Hash, err error) {
				for _, j := range at {
					list = append(list, stored[j])
				}
				return list, nil
			}))
			if err != nil {
				t.Fatal(err)
			}
			stored = append(stored, more...)
		}
		reader := tlog.HashReaderFunc(func(at []int64) (list []tlog.Hash, err error) {
			for _, j := range at {
				list = append(list, stored[j])
			}
			return list, nil
		})
		root, err := tlog.TreeHash(int64(n), reader)
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			got, err := auditPath(i, n, func(lo, hi uint64) (hash, error) {
				var tree proof.Range
				for _, leaf := range leaves[lo:hi] {
					tree.Add(0, leaf, nil)
				}
				return tree.Root(), nil
			})
			want, err2 := tlog.ProveRecord(int64(n), int64(i), reader)
			if err != nil || err2 != nil || len(got) != len(want) {
				t.Fatalf("%d of %d: %v, %v", i, n, err, err2)
			}
			for j := range got {
				if tlog.Hash(got[j]) != want[j] {
					t.Fatalf("%d of %d: hash %d differs", i, n, j)
				}
			}
			if is, ok := got.climb(i, n, leaves[i]); !ok || tlog.Hash(is) != root {
				t.Fatalf("%d of %d does not lead to the root", i, n)
			}
			for _, bad := range []trail{append(slices.Clone(got), hash{}), got[:max(0, len(got)-1)]} {
				if is, ok := bad.climb(i, n, leaves[i]); ok && tlog.Hash(is) == root && len(bad) != len(got) {
					t.Fatalf("%d of %d: a path of %d hashes leads to the root", i, n, len(bad))
				}
			}
		}
	}
}

// TestReadersDoNotMatter hands the same text in pieces of all sizes.
func TestReadersDoNotMatter(t *testing.T) {
	var text strings.Builder
	text.WriteString("\ufeffa,b\r\n")
	for i := range 60_000 {
		fmt.Fprintf(&text, "%d,\"x\n%s\"\n", i, strings.Repeat("y", i%90))
	}
	want, _ := sealText(t, strings.NewReader(text.String()), File{Path: ".", Format: CSV}, Cut{CSV: true}, 1)
	if want.Rows != 60_001 || !want.BOM {
		t.Fatalf("%+v", want)
	}
	for name, in := range map[string]io.Reader{
		"one byte": iotest.OneByteReader(strings.NewReader(text.String())), "half": iotest.HalfReader(strings.NewReader(text.String())), "with its end": iotest.DataErrReader(strings.NewReader(text.String())),
	} {
		for _, workers := range []int{1, 3} {
			if got, _ := sealText(t, in, File{Path: ".", Format: CSV}, Cut{CSV: true}, workers); got.Root != want.Root && got.Rows > 0 {
				t.Errorf("%s, %d workers: another root", name, workers)
			}
			in = strings.NewReader(text.String())
		}
	}
	_, _, err := Sink{io.Discard, io.Discard, 3, func(int) {}}.Text(t.Context(), io.MultiReader(strings.NewReader(text.String()), iotest.ErrReader(os.ErrPermission)), Cut{CSV: true})
	if err != os.ErrPermission {
		t.Errorf("an error of reading became %v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, _, err := (Sink{io.Discard, io.Discard, 3, func(int) {}}).Text(ctx, strings.NewReader(text.String()), Cut{}); err != context.Canceled {
		t.Errorf("stopped: %v", err)
	}
}

// TestLongRowsWhereverTheyStand has rows of the greatest length, and of one byte more, behind
// rows of other lengths: what is before them, and how many work, do not matter.
func TestLongRowsWhereverTheyStand(t *testing.T) {
	if testing.Short() {
		t.Skip("it reads half a gigabyte")
	}
	long := bytes.Repeat([]byte{'x'}, MaxRow+1)
	for _, before := range []string{"", strings.Repeat("b", 1<<19) + "\n"} {
		for _, ending := range []string{"", "\r\nrow\n"} {
			for _, more := range []int{0, 1} {
				in := io.MultiReader(strings.NewReader(before), bytes.NewReader(long[:MaxRow+more]), strings.NewReader(ending))
				_, _, err := Sink{io.Discard, io.Discard, 1 + more, func(int) {}}.Text(t.Context(), in, Cut{})
				if fault, ok := err.(*RowFault); ok != (more == 1) || ok && fault.Row != uint64(1+strings.Count(before, "\n")) {
					t.Errorf("%d bytes more, behind %d, before %q: %v", more, len(before), ending, err)
				}
			}
		}
	}
}

// TestEmptyFirstLine begins a CSV with lines that have no cells.
func TestEmptyFirstLine(t *testing.T) {
	for text, want := range map[string]bool{"\na,b\n1,2\n": true, "\r\n\na,b\r\n1,2\n": true, "\n\n": true, "\na,b\n1\n": false, "\na;b\n\"1\";2\n": true, strings.Repeat("\n", 3<<20) + "a,b\n1\n": false} {
		_, _, err := Sink{io.Discard, io.Discard, 1, func(int) {}}.Text(t.Context(), strings.NewReader(text), Cut{CSV: true})
		if (err == nil) != want {
			t.Errorf("%.20q: %v", text, err)
		}
	}
}

// TestRowsDoNotWrapAround has a manifest say so many rows that their sum would be few.
func TestRowsDoNotWrapAround(t *testing.T) {
	m := &Manifest{Format: FormatSeal}
	for i := range 1 << 16 {
		m.Files = append(m.Files, File{Path: fmt.Sprintf("%06d", i), Format: CSV, Rows: maxRows})
	}
	m.SetRoot()
	text, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseManifest(text); pavise.KindOf(err) != pavise.Invalid || !strings.Contains(err.Error(), "more rows") {
		t.Error(err)
	}
}

// TestYoungHints has files be read shortly after they were written, and long after.
func TestYoungHints(t *testing.T) {
	at := time.Unix(1000, 0)
	for _, tt := range []struct {
		modified, changed time.Duration // before the file is read
		young             bool
	}{{3 * time.Second, 2 * time.Second, false}, {3 * time.Second, time.Second, true}, {time.Second, 3 * time.Second, true}, {-time.Hour, 3 * time.Second, true}} {
		h := Hint{Modified: at.Add(-tt.modified).UnixNano(), Changed: at.Add(-tt.changed).UnixNano()}
		if got := h.ReadAt(at); got.Young != tt.young || (got == h) == tt.young {
			t.Errorf("%+v: %+v", tt, got)
		}
	}
}

// TestLongRowsAreFewAtATime has rows fill many chunks: of these no more are lent than there is
// room for, and the rows come out as one worker cuts them.
func TestLongRowsAreFewAtATime(t *testing.T) {
	free := make(chan *chunk, 3)
	pool := roomy{free: free, spare: []*chunk{{}, {}, {}}}
	for range 2 {
		c, err := pool.get(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		c.room = make([]byte, maxLent)
		pool.lend(c)
		free <- c
	}
	c, err := pool.get(t.Context())
	if err != nil || pool.lent > maxLent || c.room != nil || len(pool.spare)+pool.out != 2 {
		t.Errorf("%d bytes are lent, %d chunks, %v", pool.lent, pool.out, err)
	}
	pool = roomy{free: make(chan *chunk)}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := pool.get(ctx); err != context.Canceled {
		t.Error(err)
	}
	text := strings.Repeat(strings.Repeat("x", 9<<20)+"\n", 6)
	var roots []Digest
	for _, workers := range []int{1, 6} {
		s, _ := sealText(t, strings.NewReader(text), File{Path: ".", Format: JSONL}, Cut{}, workers)
		roots = append(roots, s.Digest)
	}
	if roots[0] != roots[1] {
		t.Error("how many work makes another file")
	}
}

// FuzzAlign compares lists: what is outside of the regions is the same in both.
func FuzzAlign(f *testing.F) {
	f.Add([]byte("abcdefg"), []byte("abxdefg"))
	f.Add([]byte("aaaaaaa"), []byte("aaaa"))
	f.Add([]byte("abcabcabc"), []byte("cbacbacba"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		list := func(b []byte) (l []hash) {
			for _, c := range b {
				l = append(l, hash{c})
			}
			return l
		}
		i, j := 0, 0
		for _, r := range append(Align(list(a), list(b)), Region{len(a), len(a), len(b), len(b)}) {
			if r.A0 < i || r.B0 < j || r.A1 < r.A0 || r.B1 < r.B0 || !bytes.Equal(a[i:r.A0], b[j:r.B0]) {
				t.Fatalf("%q and %q: %+v behind %d, %d", a, b, r, i, j)
			}
			i, j = r.A1, r.B1
		}
	})
}

// TestAlignRandom does so with longer lists, which random bytes seldom make.
func TestAlignRandom(t *testing.T) {
	chance := rand.New(rand.NewPCG(5, 6))
	for range 300 {
		a := make([]hash, chance.IntN(300))
		for i := range a {
			a[i] = hash{byte(chance.IntN(1 + chance.IntN(255)))}
		}
		b := slices.Clone(a)
		edits := chance.IntN(20)
		for range edits {
			if at := chance.IntN(len(b) + 1); at < len(b) && chance.IntN(2) == 0 {
				b = slices.Delete(b, at, at+1)
			} else {
				b = slices.Insert(b, at, hash{byte(chance.IntN(256))})
			}
		}
		i, j, said := 0, 0, 0
		for _, r := range append(Align(a, b), Region{len(a), len(a), len(b), len(b)}) {
			if r.A0 < i || r.B0 < j || !slices.Equal(a[i:r.A0], b[j:r.B0]) {
				t.Fatalf("%+v", r)
			}
			said += r.A1 - r.A0 + r.B1 - r.B0
			i, j = r.A1, r.B1
		}
		if said > 4*edits+8 && edits < 5 {
			t.Errorf("%d edits, and %d rows are named", edits, said)
		}
	}
}

// FuzzCSV cuts text into records, and holds those that it takes to encoding/csv.
func FuzzCSV(f *testing.F) {
	for _, text := range []string{"a,b\n1,2\n", "\"a\nb\",c\r\n1,\"2\"\"\"\n", "a;b\n\"1;\";2", "\ufeffa\n\n\"\"\n", "a,\"b\n", "\"a\"b,c\n", "a\tb\n1\t2\n", "\r\n\r", "\"\n\n\",\"\"\n"} {
		f.Add(text, uint16(7))
	}
	f.Fuzz(func(t *testing.T, text string, piece uint16) {
		var out bytes.Buffer
		rows, size, err := Sink{&out, io.Discard, 1, func(int) {}}.Text(t.Context(), strings.NewReader(text), Cut{CSV: true})
		var again bytes.Buffer
		_, _, err2 := Sink{&again, io.Discard, 3, func(int) {}}.Text(t.Context(), iotest.OneByteReader(strings.NewReader(text)), Cut{CSV: true})
		if fmt.Sprint(err) != fmt.Sprint(err2) || err == nil && !bytes.Equal(out.Bytes(), again.Bytes()) {
			t.Fatalf("%v and %v", err, err2)
		}
		if err != nil {
			return
		}
		if size != int64(len(text)) || int(rows.rows) != out.Len()/32 {
			t.Fatalf("%d rows in %d bytes", rows.rows, size)
		}
		body := strings.TrimPrefix(text, "\ufeff")
		other := csv.NewReader(strings.NewReader(body))
		other.Comma, other.FieldsPerRecord = rune(separatorOf([]byte(body))), -1
		records, err := other.ReadAll()
		if err != nil || strings.Contains(strings.ReplaceAll(body, "\r\n", ""), "\r") {
			return // a carriage return alone ends no record here, and is odd there
		}
		full := 0
		for _, line := range emptyLines(body) {
			if !line {
				full++
			}
		}
		if len(records) > int(rows.rows) {
			t.Fatalf("%d rows, and %d records", rows.rows, len(records))
		}
	})
}

// emptyLines says of each line whether it is empty.
func emptyLines(text string) (list []bool) {
	for line := range strings.Lines(text) {
		list = append(list, strings.TrimRight(line, "\r\n") == "")
	}
	return list
}

// FuzzManifest reads anything: what is accepted has one spelling.
func FuzzManifest(f *testing.F) {
	for _, v := range readVectors(f) {
		f.Add([]byte(v.Manifest))
	}
	f.Add([]byte(`{"format":"pavise.seal/1","files":[]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := ParseManifest(text)
		if err != nil {
			if k := pavise.KindOf(err); k != pavise.Invalid && k != pavise.Unverified {
				t.Fatal(err)
			}
			return
		}
		again, err := m.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if second, err := ParseManifest(again); err != nil || second.Root != m.Root {
			t.Fatal(err)
		}
	})
}

// FuzzIndex opens anything as an index, and checks all that is in it.
func FuzzIndex(f *testing.F) {
	m, whole := smallIndex(f)
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Fuzz(func(t *testing.T, b []byte) {
		name := filepath.Join(t.TempDir(), "x.rows")
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		x, err := OpenIndex(name, m)
		if err != nil {
			return
		}
		defer x.Close()
		good := true
		for i := range x.Sections() {
			good = x.Section(i).Check(t.Context(), 1) == nil && good
		}
		if good && x.Sections()[0].Digest != mustDigest(t, whole, m) {
			t.Fatal("another index of the same seal is believed")
		}
	})
}

// smallIndex makes a seal of one file in memory.
func smallIndex(t testing.TB) (*Manifest, []byte) {
	s, all := sealText(t, strings.NewReader("{}\n[]\n\"x\"\r\n"), File{Path: "a.jsonl", Format: JSONL}, Cut{}, 1)
	m, err := NewManifest(t.Context(), []Section{s}, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.Offset = int64(len(IndexMagic))
	b := bytes.NewBufferString(IndexMagic)
	b.Write(all)
	if err := WriteTable(b, int64(b.Len()), m.Root, []Section{s}); err != nil {
		t.Fatal(err)
	}
	return m, b.Bytes()
}

func mustDigest(t testing.TB, whole []byte, m *Manifest) Digest {
	name := filepath.Join(t.TempDir(), "good.rows")
	if err := os.WriteFile(name, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	x, err := OpenIndex(name, m)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	return x.Sections()[0].Digest
}

// A vector is one published example of docs/formats/seal.md: content, and what comes of it.
type vector struct {
	Name     string            `json:"name"`
	Files    map[string]string `json:"files"` // path to content; .csv and .jsonl by row, .parquet as one without rows, others by block
	Rows     map[string]string `json:"rows"`  // some rows, and their digests
	Digests  map[string]string `json:"file_digests"`
	Manifest string            `json:"manifest"`
	Proof    json.RawMessage   `json:"proof,omitempty"` // that a row is there
	Row      string            `json:"row,omitempty"`   // that row
}

var update = flag.Bool("update", false, "write the vectors anew")

func readVectors(t testing.TB) (list []vector) {
	t.Helper()
	text, err := os.ReadFile("testdata/vectors.json")
	if err == nil {
		err = json.Unmarshal(text, &list)
	}
	if err != nil && !*update {
		t.Fatal(err)
	}
	return list
}

// TestVectors makes the published examples again.
func TestVectors(t *testing.T) {
	var long strings.Builder
	for i := range 700 {
		fmt.Fprintf(&long, `{"id":%d}`+"\n", i)
	}
	list := []vector{
		{Name: "one file by lines", Files: map[string]string{".": "{\"id\":1}\n{\"id\":2}\n"}, Row: `{"id":2}`},
		{Name: "records with line ends, CRLF and a byte order mark", Files: map[string]string{"a.csv": "\ufeffid,note\r\n1,\"two\nlines\"\r\n2,x"}, Row: "1,\"two\nlines\""},
		{Name: "a directory", Files: map[string]string{"a/b.jsonl": long.String(), "a.csv": "x,y\n1,2\n", "c.bin": strings.Repeat("c", 66_000), "empty.csv": ""}, Row: `{"id":500}`},
		{Name: "no rows", Files: map[string]string{"x": ""}},
		{Name: "Parquet without a row (its form is not looked at here)", Files: map[string]string{"e.parquet": "PAR1 label PAR1"}},
	}
	for i := range list {
		list[i].make(t)
	}
	made, err := json.MarshalIndent(list, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	made = append(made, '\n')
	if *update {
		if err := os.WriteFile("testdata/vectors.json", made, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile("testdata/vectors.json"); err != nil || !bytes.Equal(made, want) {
		t.Errorf("the vectors of testdata/vectors.json do not come out any more (%v)", err)
	}
}

// make seals the vector's files.
func (v *vector) make(t *testing.T) {
	v.Rows, v.Digests = map[string]string{}, map[string]string{}
	var sections []Section
	for path, text := range v.Files {
		format := Blocks
		switch {
		case strings.HasSuffix(path, ".csv"):
			format = CSV
		case strings.HasSuffix(path, ".jsonl") || path == ".":
			format = JSONL
		}
		if format == Blocks {
			s := Section{File: File{Path: path, Format: format}}
			var out bytes.Buffer
			var err error
			if s.Bottom, s.Bytes, s.Size, err = (Sink{&out, io.Discard, 1, func(int) {}}).Bytes(t.Context(), strings.NewReader(text)); err != nil {
				t.Fatal(err)
			}
			s.Root, s.Source, s.Length = s.Bottom, bytes.NewReader(out.Bytes()), int64(out.Len())
			if strings.HasSuffix(path, ".parquet") {
				s.Format = Parquet
				if err := s.Finish(t.Context(), NewRows(io.Discard), s.Source, 1); err != nil {
					t.Fatal(err)
				}
				v.Digests[path] = s.Digest.String()
			}
			sections = append(sections, s)
			continue
		}
		s, _ := sealText(t, strings.NewReader(text), File{Path: path, Format: format}, Cut{CSV: format == CSV}, 1)
		v.Digests[path] = s.Digest.String()
		sections = append(sections, s)
	}
	slices.SortFunc(sections, func(a, b Section) int { return strings.Compare(a.Path, b.Path) })
	m, err := NewManifest(t.Context(), sections, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	v.Manifest = string(text)
	if v.Row == "" {
		return
	}
	digest := hash(proof.Leaf([]byte(v.Row)))
	v.Rows[v.Row] = Digest(digest).String()
	x := &Index{table: table{Files: sections}}
	said := RowProof{Seal: Head{m.Format, len(m.Files), m.FilesRoot(), m.Contents}, Member: true}
	if said.Content, err = x.ProveContent(t.Context(), m, digest, 1, nil); err != nil {
		t.Fatal(err)
	}
	for i := range sections {
		err := sections[i].Find(t.Context(), digest, func(row uint64) {
			if said.Place, err = x.ProvePlace(t.Context(), m, i, row-1, 1); err != nil {
				t.Fatal(err)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := said.Check(m.Root, &digest); err != nil || said.Place == nil {
		t.Fatalf("%s: %v", v.Name, err)
	}
	if v.Proof, err = json.MarshalIndent(said, "  ", " "); err != nil {
		t.Fatal(err)
	}
}
