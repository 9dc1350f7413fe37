package dataset

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/progress"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/rowseal"
)

// write makes files below a new directory.
func write(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	for name, text := range files {
		put(t, filepath.Join(dir, name), text)
	}
	return dir
}

func put(t testing.TB, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// sealOf seals a path beside it.
func sealOf(t testing.TB, path string) (string, *Sealed) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "s.seal")
	made, err := (&Seal{Path: path, Out: out}).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return out, made
}

func verify(t testing.TB, v Verify) *Verified {
	t.Helper()
	got, err := v.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// lines makes rows of JSONL.
func lines(n int) []string {
	rows := make([]string, n)
	for i := range rows {
		rows[i] = fmt.Sprintf(`{"id":%d,"text":"row %d of a file"}`, i, i*i)
	}
	return rows
}

func joined(rows []string) string { return strings.Join(rows, "\n") + "\n" }

// records makes a CSV whose cells have quotes, separators and line ends in them.
func records(n int) []string {
	rows := []string{"id,name,note"}
	for i := range n {
		rows = append(rows, fmt.Sprintf("%d,\"name, %d\",\"said \"\"%d\"\"\nand left\"", i, i, i*7))
	}
	return rows
}

type item struct {
	ID   int64  `parquet:"id"`
	Name string `parquet:"name"`
}

func parquetOf(t testing.TB, items []item, options ...parquet.WriterOption) string {
	t.Helper()
	var b bytes.Buffer
	w := parquet.NewGenericWriter[item](&b, options...)
	if _, err := w.Write(items); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func items(n int) []item {
	list := make([]item, n)
	for i := range list {
		list[i] = item{int64(i), fmt.Sprint("item ", i)}
	}
	return list
}

// TestSealIsOfTheContent seals the same content in two places: the same seal comes out, and
// another one for everything that differs.
func TestSealIsOfTheContent(t *testing.T) {
	files := map[string]string{
		"cr.csv": "a,b\r\n\"1\r2\",\"\r\"\r\n", "a.csv": joined(records(700)), "b/c.jsonl": joined(lines(3000)), "b/d.parquet": parquetOf(t, items(900)), "b.bin": strings.Repeat("x", 200_000), "empty.csv": "", "empty.bin": "",
	}
	one, first := sealOf(t, write(t, files))
	two, second := sealOf(t, write(t, files))
	a, _ := os.ReadFile(one)
	b, _ := os.ReadFile(two)
	if first.Root != second.Root || !bytes.Equal(a, b) {
		t.Fatalf("%s and %s", first.Root, second.Root)
	}
	if first.Files != 7 || first.ByRow != 5 || first.Rows != 701+3000+900+2 {
		t.Errorf("%+v", first)
	}
	for name := range files {
		other := map[string]string{}
		for n, text := range files {
			other[n] = text
		}
		other[name] += "y"
		if name == "b/d.parquet" {
			other[name] = parquetOf(t, items(901))
		}
		if name == "a.csv" || name == "cr.csv" {
			other[name] = strings.TrimSuffix(other[name], "y") + strings.Repeat(",", strings.Count(strings.SplitN(files[name], "\n", 2)[0], ",")) + "\n"
		}
		if _, made := sealOf(t, write(t, other)); made.Root == first.Root {
			t.Errorf("%s changed, and the root did not", name)
		}
		delete(other, name)
		other["z"+name] = files[name]
		if _, made := sealOf(t, write(t, other)); made.Root == first.Root {
			t.Errorf("%s was renamed, and the root did not change", name)
		}
	}
}

// TestEmptyParquetIsBound changes a Parquet file without rows, which no salt of a row binds.
func TestEmptyParquetIsBound(t *testing.T) {
	type label struct {
		Label int64 `parquet:"label"`
	}
	var b bytes.Buffer
	if err := parquet.NewGenericWriter[label](&b).Close(); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	other := strings.ReplaceAll(text, "label", "lebal")
	if len(text) != len(other) || text == other {
		t.Fatal("the test changes nothing")
	}
	dir := write(t, map[string]string{"e.parquet": text, "a.csv": "x,y\n1,2\n"})
	seal, made := sealOf(t, dir)
	if !verify(t, Verify{Path: dir, Seal: seal}).Clean {
		t.Fatal("it is not as it was sealed")
	}
	put(t, filepath.Join(dir, "e.parquet"), other)
	if got := verify(t, Verify{Path: dir, Seal: seal}); got.Clean || got.Differences[0].File != "e.parquet" || !slices.Equal(got.Differences[0].Blocks, []uint64{1}) {
		t.Errorf("%+v", got)
	}
	if _, now := sealOf(t, dir); now.Root == made.Root {
		t.Error("the root is the same")
	}
}

// TestManyEmptyRows seals small files with far more digests than bytes, where a batch has
// memory for some of them: they have the same seal, and no more is held.
func TestManyEmptyRows(t *testing.T) {
	dir := write(t, map[string]string{"a.jsonl": "{}\n", "b.csv": strings.Repeat("\n", 40_000), "c.csv": strings.Repeat("\n", 90_000), "d.csv": "x\n1\n2,3\n", "e.csv": strings.Repeat("\n", 50_000)})
	roots := map[rowseal.Digest]bool{}
	for _, room := range []int64{0, 2 << 20, 100} {
		p, err := openPlace(t.Context(), dir, "")
		if err != nil {
			t.Fatal(err)
		}
		entries, err := p.entries(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		out, err := os.Create(filepath.Join(t.TempDir(), "out"))
		if err != nil {
			t.Fatal(err)
		}
		s := &sealer{place: p, format: formatOf, workers: 2, meter: &progress.Meter{}, room: room, verify: true, spill: openRoom}
		var sections []rowseal.Section
		if err := s.all(t.Context(), entries, out, 0, func(made rowseal.Section) error { sections = append(sections, made); return nil }); err != nil {
			t.Fatal(err)
		}
		m, err := rowseal.NewManifest(t.Context(), sections, 2, openRoom)
		if err != nil {
			t.Fatal(err)
		}
		roots[m.Root] = true
		if info, err := out.Stat(); err != nil || info.Size() < 32*180_000 {
			t.Errorf("the digests take %d bytes, %v", info.Size(), err)
		}
		p.close()
		out.Close()
	}
	if len(roots) != 1 {
		t.Errorf("%d roots of the same content", len(roots))
	}
	var memory atomic.Int64
	memory.Store(100)
	a, b := &spool{left: &memory}, &spool{left: &memory}
	for _, c := range []struct {
		of   *spool
		n    int
		want error
	}{{a, 60, nil}, {b, 60, errFull}, {b, 40, nil}, {a, 1, errFull}} {
		if _, err := c.of.Write(make([]byte, c.n)); err != c.want {
			t.Errorf("%d bytes: %v, want %v", c.n, err, c.want)
		}
	}
	if a.again(); memory.Load() != 60 || a.held != nil {
		t.Errorf("%d bytes are left", memory.Load())
	}
}

// TestWorkersDoNotMatter seals a large file by several workers and by one.
func TestWorkersDoNotMatter(t *testing.T) {
	rows := 120_000
	if testing.Short() {
		rows = 60_000
	}
	dir := write(t, map[string]string{"big.csv": joined(records(rows)), "big.jsonl": joined(lines(rows)), "big.bin": joined(lines(rows))})
	roots := map[rowseal.Digest]bool{}
	for _, workers := range []int{1, 2, 5} {
		p, err := openPlace(t.Context(), dir, "")
		if err != nil {
			t.Fatal(err)
		}
		entries, err := p.entries(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		room, err := os.Create(filepath.Join(t.TempDir(), "room"))
		if err != nil {
			t.Fatal(err)
		}
		s := &sealer{place: p, format: formatOf, workers: workers, meter: &progress.Meter{}, spill: openRoom}
		var sections []rowseal.Section
		if err := s.all(t.Context(), entries, room, 0, func(made rowseal.Section) error { sections = append(sections, made); return nil }); err != nil {
			t.Fatal(err)
		}
		m, err := rowseal.NewManifest(t.Context(), sections, workers, openRoom)
		if err != nil {
			t.Fatal(err)
		}
		roots[m.Root] = true
		p.close()
		room.Close()
	}
	if len(roots) != 1 {
		t.Errorf("%d roots of the same content", len(roots))
	}
}

// TestEveryChangeIsNamed changes files in many ways, and wants the very rows back.
func TestEveryChangeIsNamed(t *testing.T) {
	rows, csv := lines(5000), records(2000)
	files := map[string]string{
		"a.jsonl": joined(rows), "b.csv": joined(csv), "c.bin": strings.Repeat("0123456789abcdef", 20_000), "d.parquet": parquetOf(t, items(500)), "e.jsonl": "{}\n{}\n{}\n",
	}
	edit := func(list []string, at int, to ...string) string {
		return joined(slices.Concat(list[:at], to, list[at+1:]))
	}
	changed := items(500)
	changed[321].Name = "poison"
	for _, tt := range []struct {
		name, file, to string
		want           Difference
	}{
		{"a byte", "a.jsonl", edit(rows, 3141, strings.Replace(rows[3141], "row", "rov", 1)), Difference{Changed: []uint64{3142}}},
		{"the first row", "a.jsonl", edit(rows, 0, "x"), Difference{Changed: []uint64{1}}},
		{"the last row", "a.jsonl", edit(rows, 4999, "x"), Difference{Changed: []uint64{5000}}},
		{"a row put in", "a.jsonl", edit(rows, 100, rows[100], "new"), Difference{Added: []uint64{102}}},
		{"a row taken out", "a.jsonl", edit(rows, 2000), Difference{Removed: []uint64{2001}}},
		{"the same row once more", "e.jsonl", "{}\n{}\n{}\n{}\n", Difference{Added: []uint64{4}}},
		{"no line end", "a.jsonl", strings.TrimSuffix(joined(rows), "\n"), Difference{Note: "its rows are the same; how lines end, or a byte order mark, is not"}},
		{"CRLF", "a.jsonl", strings.ReplaceAll(joined(rows), "\n", "\r\n"), Difference{Note: "its rows are the same; how lines end, or a byte order mark, is not"}},
		{"a byte order mark", "b.csv", "\ufeff" + joined(csv), Difference{Note: "its rows are the same; how lines end, or a byte order mark, is not"}},
		{"a cell", "b.csv", edit(csv, 1500, "1500,x,y"), Difference{Changed: []uint64{1501}}},
		{"a ragged row", "b.csv", edit(csv, 1500, "1500,x"), Difference{Changed: []uint64{1501}}},
		{"a quote too many", "b.csv", edit(csv, 1500, "1500,x\",y"), Difference{}},
		{"a block", "c.bin", files["c.bin"][:100_000] + "!" + files["c.bin"][100_001:], Difference{Blocks: []uint64{2}}},
		{"a Parquet row", "d.parquet", parquetOf(t, changed), Difference{Changed: []uint64{322}}},
		{"Parquet packed anew", "d.parquet", parquetOf(t, items(500), parquet.Compression(&parquet.Zstd)), Difference{Note: "its rows are the same; the bytes that say them are not", Blocks: []uint64{1}}},
		{"a broken footer", "d.parquet", files["d.parquet"][:len(files["d.parquet"])-1] + "?", Difference{Blocks: []uint64{1}}},
		{"UTF-16 without a mark", "a.jsonl", "{\x00}\x00\n\x00" + joined(rows), Difference{Changed: []uint64{1}, Added: []uint64{2}}},
		{"NULs", "a.jsonl", edit(rows, 7, "\x00\x00"), Difference{Changed: []uint64{8}}},
		{"no UTF-8", "a.jsonl", edit(rows, 8, "\xff\xfe"), Difference{Changed: []uint64{9}}},
		{"UTF-16", "a.jsonl", "\xff\xfe{\x00}\x00", Difference{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := write(t, files)
			seal, _ := sealOf(t, dir)
			put(t, filepath.Join(dir, tt.file), tt.to)
			got := verify(t, Verify{Path: dir, Seal: seal})
			if got.Clean || len(got.Differences) != 1 {
				t.Fatalf("%+v", got)
			}
			d := got.Differences[0]
			if d.File != tt.file || d.What != fileChanged {
				t.Errorf("%+v", d)
			}
			if tt.want.Changed == nil && tt.want.Added == nil && tt.want.Removed == nil && tt.want.Blocks == nil && tt.want.Note == "" {
				if d.Note == "" && d.Counts == nil {
					t.Errorf("nothing is said: %+v", d)
				}
				return
			}
			if !slices.Equal(d.Changed, tt.want.Changed) || !slices.Equal(d.Added, tt.want.Added) || !slices.Equal(d.Removed, tt.want.Removed) ||
				!slices.Equal(d.Blocks, tt.want.Blocks) || tt.want.Note != "" && d.Note != tt.want.Note {
				t.Errorf("%+v", d)
			}
		})
	}
}

// TestFilesComeAndGo adds, removes and renames files.
func TestFilesComeAndGo(t *testing.T) {
	dir := write(t, map[string]string{"a.csv": "x,y\n1,2\n", "b.csv": "x,y\n3,4\n", "c.csv": "x,y\n5,6\n"})
	seal, _ := sealOf(t, dir)
	if got := verify(t, Verify{Path: dir, Seal: seal}); !got.Clean {
		t.Fatalf("%+v", got)
	}
	os.Remove(filepath.Join(dir, "a.csv"))
	os.Rename(filepath.Join(dir, "b.csv"), filepath.Join(dir, "z.csv"))
	put(t, filepath.Join(dir, "new.txt"), "new")
	for _, fast := range []bool{false, true} {
		got := verify(t, Verify{Path: dir, Seal: seal, Fast: fast})
		var said []string
		for _, d := range got.Differences {
			said = append(said, strings.TrimSpace(d.What+" "+d.File+" "+d.To))
		}
		if !slices.Equal(said, []string{"removed a.csv", "renamed b.csv z.csv", "added new.txt"}) {
			t.Errorf("%q", said)
		}
	}
}

// TestFastBelievesHints changes a byte and puts the times back: all but --fast see it, and
// that says that it did not look.
func TestFastBelievesHints(t *testing.T) {
	dir := write(t, map[string]string{"a.jsonl": joined(lines(100)), "b.jsonl": joined(lines(50))})
	time.Sleep(2100 * time.Millisecond) // of younger files no hint is believed
	seal, _ := sealOf(t, dir)
	got := verify(t, Verify{Path: dir, Seal: seal, Fast: true})
	if !got.Clean || got.Trusted != 2 {
		t.Errorf("%+v", got)
	}
	put(t, filepath.Join(dir, "a.jsonl"), joined(append(lines(99), "x")))
	got = verify(t, Verify{Path: dir, Seal: seal, Fast: true})
	if got.Clean || got.Trusted != 1 || !slices.Equal(got.Differences[0].Changed, []uint64{100}) {
		t.Errorf("%+v", got)
	}
}

// TestDiffNamesRows compares seals at random: what it says, done to one content, makes the
// other.
func TestDiffNamesRows(t *testing.T) {
	chance := rand.New(rand.NewPCG(1, 2))
	for range 12 {
		before := lines(chance.IntN(3000) + 1)
		if chance.IntN(2) == 0 {
			for i := range before {
				before[i] = fmt.Sprint(chance.IntN(5)) // few different rows
			}
		}
		now := slices.Clone(before)
		for range chance.IntN(12) {
			at := chance.IntN(len(now) + 1)
			switch chance.IntN(3) {
			case 0:
				now = slices.Insert(now, at, fmt.Sprint("new ", chance.IntN(9)))
			case 1:
				if at < len(now) && len(now) > 1 {
					now = slices.Delete(now, at, at+1)
				}
			default:
				if at < len(now) {
					now[at] = fmt.Sprint("changed ", at)
				}
			}
		}
		a, _ := sealOf(t, filepath.Join(write(t, map[string]string{"x.jsonl": joined(before)}), "x.jsonl"))
		b, _ := sealOf(t, filepath.Join(write(t, map[string]string{"y.jsonl": joined(now)}), "y.jsonl"))
		got, err := (&Compare{Old: a, New: b}).Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got.Same != slices.Equal(before, now) {
			t.Fatalf("same: %v", got.Same)
		}
		if got.Same {
			continue
		}
		if made := follow(before, now, got.Differences[0]); !slices.Equal(made, now) {
			t.Fatalf("what the difference says makes another content: %+v", got.Differences[0])
		}
	}
}

// follow does to rows what a difference says.
func follow(before, now []string, d Difference) []string {
	change := map[uint64]bool{}
	for _, row := range d.Changed {
		change[row] = true
	}
	gone := map[uint64]bool{}
	for _, row := range d.Removed {
		gone[row] = true
	}
	changedNow := d.ChangedNow
	if changedNow == nil {
		changedNow = d.Changed
	}
	fresh := map[uint64]bool{}
	for _, row := range slices.Concat(d.Added, changedNow) {
		fresh[row] = true
	}
	var kept, made []string
	for i, row := range before {
		if n := uint64(i + 1); !change[n] && !gone[n] {
			kept = append(kept, row)
		}
	}
	for i := range now {
		if fresh[uint64(i+1)] {
			made = append(made, now[i])
		} else if len(kept) > 0 {
			made, kept = append(made, kept[0]), kept[1:]
		}
	}
	return append(made, kept...)
}

// TestOneRowOnTopOfMany puts a row on top of more rows than are held, of so few kinds that no
// block of them ends by itself, and changes one near the end.
func TestOneRowOnTopOfMany(t *testing.T) {
	if testing.Short() {
		t.Skip("it seals millions of rows")
	}
	kinds := slices.DeleteFunc([]string{"a", "b", "c", "d", "e"}, func(row string) bool { return proof.Leaf([]byte(row))[31] == 0 })
	chance := rand.New(rand.NewPCG(7, 8))
	rows := make([]string, maxGap+5000)
	for i := range rows {
		rows[i] = kinds[chance.IntN(len(kinds))]
	}
	dir := write(t, map[string]string{"a.jsonl": joined(rows)})
	seal, _ := sealOf(t, dir)
	put(t, filepath.Join(dir, "a.jsonl"), "new\n"+joined(rows))
	d := verify(t, Verify{Path: dir, Seal: seal}).Differences[0]
	if *d.Counts != (Counts{Added: 1}) || !slices.Equal(d.Added, []uint64{1}) || d.Note != "" {
		t.Errorf("%+v, %s, %v", *d.Counts, d.Note, d.Added)
	}
	last := slices.Clone(rows)
	last[len(last)-1] = "another"
	put(t, filepath.Join(dir, "a.jsonl"), "new\n"+joined(last))
	d = verify(t, Verify{Path: dir, Seal: seal}).Differences[0]
	if !strings.Contains(d.Note, "too many, and too different") || !strings.Contains(d.Note, "not all that only moved") {
		t.Errorf("%+v, %s", *d.Counts, d.Note)
	}
}

// TestShuffledRowsOnlyMoved shuffles a file: every row is there still, and that is said.
func TestShuffledRowsOnlyMoved(t *testing.T) {
	rows := lines(2000)
	dir := write(t, map[string]string{"a.jsonl": joined(rows)})
	seal, _ := sealOf(t, dir)
	rand.New(rand.NewPCG(3, 4)).Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	put(t, filepath.Join(dir, "a.jsonl"), joined(rows))
	c := verify(t, Verify{Path: dir, Seal: seal}).Differences[0].Counts
	if c.Moved != c.Changed+c.Removed || c.Moved == 0 {
		t.Errorf("%+v", *c)
	}
}

// TestWhatIsNotSealed tries what cannot be sealed: each is refused by its name.
func TestWhatIsNotSealed(t *testing.T) {
	for _, tt := range []struct {
		name string
		make func(dir string) error
		kind pavise.Kind
		want string
	}{
		{"a link out", func(d string) error { return os.Symlink("/etc/passwd", d+"/out") }, pavise.Invalid, "out is a link that leads out of the dataset"},
		{"a link by way of outside", func(d string) error {
			hop := filepath.Join(filepath.Dir(d), "hop")
			return errors.Join(os.Symlink(filepath.Join(d, "ok.csv"), hop), os.Symlink("../hop", d+"/by"))
		}, pavise.Invalid, "by is a link that leads out of the dataset on its way"},
		{"an absolute link", func(d string) error { return os.Symlink(filepath.Join(d, "ok.csv"), d+"/l") }, pavise.Invalid, "or by an absolute path"},
		{"a link to nothing", func(d string) error { return os.Symlink("nowhere", d+"/l") }, pavise.Invalid, "l is a link to nothing"},
		{"a loop", func(d string) error { return os.Symlink("loop", d+"/loop") }, pavise.Invalid, "loop is a link that leads round in a circle"},
		{"a directory in itself", func(d string) error { return os.Symlink("..", d+"/sub/up") }, pavise.Invalid, "sub/up is a link that leads round in a circle"},
		{"a chain", func(d string) error {
			for i := range 60 {
				if err := os.Symlink(fmt.Sprint("l", i+1), fmt.Sprint(d, "/l", i)); err != nil {
					return err
				}
			}
			return os.Symlink("ok.csv", d+"/l60")
		}, pavise.Invalid, "is a link over more others than systems follow"},
		{"a pipe", func(d string) error { return syscall.Mkfifo(d+"/pipe", 0o644) }, pavise.Invalid, "pipe is a named pipe"},
		{"a name of no encoding", func(d string) error { return os.WriteFile(d+"/\xff", nil, 0o644) }, pavise.Invalid, `"\xff" cannot stand in a seal`},
		{"ragged CSV", func(d string) error { return os.WriteFile(d+"/r.csv", []byte("a,b\n1,2\n3\n"), 0o644) }, pavise.Invalid, "r.csv, row 3: it has 1 cells, and the first row has 2"},
		{"an open quote", func(d string) error { return os.WriteFile(d+"/q.csv", []byte("a,b\n1,2\n\"3,4\n5,6\n"), 0o644) }, pavise.Invalid, "q.csv, row 3: a quote is opened and never closed"},
		{"a quote within", func(d string) error { return os.WriteFile(d+"/q.csv", []byte("a,b\n1,2\n3\",4\n"), 0o644) }, pavise.Invalid, "q.csv, row 3: cell 1 has a quote in it and is not quoted"},
		{"lines that end with CR", func(d string) error { return os.WriteFile(d+"/r.csv", []byte("a,b\r1,2\r"), 0o644) }, pavise.Invalid, "r.csv, row 1: it has a carriage return that no line feed follows"},
		{"CR behind quotes", func(d string) error { return os.WriteFile(d+"/r.csv", []byte("a,b\n\"1\r\n\",2\r3\n"), 0o644) }, pavise.Invalid, "r.csv, row 2: it has a carriage return that no line feed follows"},
		{"UTF-16", func(d string) error { return os.WriteFile(d+"/u.csv", []byte("\xff\xfea\x00"), 0o644) }, pavise.Invalid, "u.csv, it is UTF-16"},
		{"UTF-16 without a mark", func(d string) error { return os.WriteFile(d+"/u.jsonl", []byte("{\x00}\x00\n\x00"), 0o644) }, pavise.Invalid, "u.jsonl, it is UTF-16"},
		{"UTF-16 without a mark, the other way round", func(d string) error { return os.WriteFile(d+"/u.csv", []byte("\x00a\x00\n\x001"), 0o644) }, pavise.Invalid, "u.csv, it is UTF-16"},
		{"UTF-32", func(d string) error {
			return os.WriteFile(d+"/u.csv", []byte("\x00\x00\xfe\xff\x00\x00\x00a"), 0o644)
		}, pavise.Invalid, "UTF-32"},
		{"UTF-32 without a mark", func(d string) error { return os.WriteFile(d+"/u.csv", []byte("a\x00\x00\x00"), 0o644) }, pavise.Invalid, "UTF-32"},
		{"no Parquet", func(d string) error { return os.WriteFile(d+"/p.parquet", []byte("PAR1 and nothing more"), 0o644) }, pavise.Invalid, "p.parquet, it does not begin and end as Parquet does"},
		{"a huge row", func(d string) error { return os.WriteFile(d+"/h.jsonl", bytes.Repeat([]byte{'x'}, 65<<20), 0o644) }, pavise.Invalid, "h.jsonl, row 1: it is longer than 64 MiB"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := write(t, map[string]string{"ok.csv": "a,b\n1,2\n", "sub/ok.txt": "x"})
			if err := tt.make(dir); err != nil {
				t.Skip("the file system does not have it: ", err)
			}
			out := filepath.Join(t.TempDir(), "s")
			_, err := (&Seal{Path: dir, Out: out}).Run(t.Context())
			if pavise.KindOf(err) != tt.kind || !strings.Contains(message(err), tt.want) {
				t.Errorf("%v", err)
			}
			if _, err := os.Stat(out); err == nil {
				t.Error("there is a seal all the same")
			}
		})
	}
}

// TestWhatCannotBeSealedIsFound puts such things into a dataset that was sealed: each is named,
// and so is the row that was changed with it.
func TestWhatCannotBeSealedIsFound(t *testing.T) {
	dir := write(t, map[string]string{"a.jsonl": joined(lines(30)), "b.jsonl": joined(lines(5))})
	seal, _ := sealOf(t, dir)
	put(t, filepath.Join(dir, "a.jsonl"), joined(append(lines(29), "x")))
	os.Remove(filepath.Join(dir, "b.jsonl"))
	for _, err := range []error{
		syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o644), syscall.Mkfifo(filepath.Join(dir, "b.jsonl"), 0o644),
		os.Symlink("/etc/passwd", filepath.Join(dir, "out")), os.WriteFile(filepath.Join(dir, "z\xff"), nil, 0o644),
		os.Mkdir(filepath.Join(dir, "y\xff"), 0o755), os.WriteFile(filepath.Join(dir, "y\xff", "f"), nil, 0o644),
	} {
		if err != nil {
			t.Skip("the file system does not have it: ", err)
		}
	}
	got := verify(t, Verify{Path: dir, Seal: seal})
	var said []string
	for _, d := range got.Differences {
		said = append(said, d.What+" "+d.File)
	}
	if got.Clean || !slices.Equal(said, []string{"changed a.jsonl", "changed b.jsonl", "added out", "added pipe", "added y\ufffd", "added z\ufffd"}) || !slices.Equal(got.Differences[0].Changed, []uint64{30}) {
		t.Errorf("%q, %+v", said, got)
	}
	for _, d := range got.Differences[1:] {
		if d.Note == "" {
			t.Errorf("nothing is said of %s", d.File)
		}
	}
}

// TestLinksWithin seals links to other files of the dataset: where they lead.
func TestLinksWithin(t *testing.T) {
	dir := write(t, map[string]string{"a.csv": "x,y\n1,2\n", "b.csv": "x,y\n1,2\n", "sub/c.txt": "c"})
	if err := os.Symlink("a.csv", filepath.Join(dir, "latest")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("sub", filepath.Join(dir, "dir")); err != nil {
		t.Fatal(err)
	}
	seal, made := sealOf(t, dir)
	if made.Files != 5 || !verify(t, Verify{Path: dir, Seal: seal}).Clean || !verify(t, Verify{Path: dir, Seal: seal, Fast: true}).Clean {
		t.Fatalf("%+v", made)
	}
	os.Remove(filepath.Join(dir, "latest"))
	os.Symlink("b.csv", filepath.Join(dir, "latest"))
	got := verify(t, Verify{Path: dir, Seal: seal})
	if len(got.Differences) != 1 || got.Differences[0].File != "latest" {
		t.Errorf("%+v", got.Differences)
	}
}

// TestByBlock seals files by their bytes that would be refused by their rows.
func TestByBlock(t *testing.T) {
	dir := write(t, map[string]string{"bad.csv": "a,b\n1\n", "good.csv": "a,b\n1,2\n"})
	made, err := (&Seal{Path: dir, Out: filepath.Join(t.TempDir(), "s"), ByBlock: []string{"bad.*"}}).Run(t.Context())
	if err != nil || made.ByRow != 1 || made.Rows != 2 {
		t.Errorf("%+v, %v", made, err)
	}
	made, err = (&Seal{Path: filepath.Join(dir, "bad.csv"), Out: filepath.Join(t.TempDir(), "s"), Format: "jsonl"}).Run(t.Context())
	if err != nil || made.Rows != 2 {
		t.Errorf("%+v, %v", made, err)
	}
}

// A slow reader of progress changes a file while it is sealed.
func TestChangingFilesAreNotSealed(t *testing.T) {
	for _, what := range []string{"grown", "growing", "rewritten", "another put in", "one more"} {
		dir := write(t, map[string]string{"a.bin": strings.Repeat("x", 9<<20), "b.bin": "b"})
		once := false
		change := func() {
			if once && what != "growing" {
				return
			}
			once = true
			switch a := filepath.Join(dir, "a.bin"); what {
			case "grown":
				f, _ := os.OpenFile(a, os.O_APPEND|os.O_WRONLY, 0)
				f.WriteString("y")
				f.Close()
			case "growing": // as fast as it is read
				f, _ := os.OpenFile(a, os.O_APPEND|os.O_WRONLY, 0)
				if info, _ := f.Stat(); info.Size() > 90<<20 {
					t.Error("a file is read far beyond what it was when it was found")
				} else {
					f.Write(make([]byte, 9<<20))
				}
				f.Close()
			case "rewritten":
				f, _ := os.OpenFile(a, os.O_WRONLY, 0)
				f.WriteAt([]byte("y"), 5)
				f.Close()
			case "another put in":
				os.Rename(filepath.Join(dir, "b.bin"), a)
			case "one more":
				os.WriteFile(filepath.Join(dir, "c.bin"), nil, 0o644)
			}
		}
		out := filepath.Join(t.TempDir(), "s")
		p, err := openPlace(t.Context(), dir, "")
		if err != nil {
			t.Fatal(err)
		}
		entries, err := p.entries(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond) // clocks of file systems are coarse
		room, _ := os.Create(out + ".room")
		s := &sealer{place: p, format: formatOf, workers: 2, meter: &progress.Meter{Say: func(string) { change() }, Total: 9 << 20}, spill: openRoom}
		err = s.all(t.Context(), entries, room, 0, func(rowseal.Section) error { return nil })
		if err == nil {
			err = p.unchanged(t.Context(), entries)
		}
		if pavise.KindOf(err) != pavise.Conflict || !strings.Contains(message(err), "changed while it was read") {
			t.Errorf("%s: %v", what, err)
		}
		room.Close()
		p.close()
	}
}

// TestResume stops a seal in the middle, spoils what it left in several ways, and goes on:
// the same seal comes out.
func TestResume(t *testing.T) {
	files := map[string]string{}
	for i := range 6 {
		files[fmt.Sprintf("%d.jsonl", i)] = joined(lines(1000 + i))
	}
	files["2.csv"] = joined(records(120_000)) // large enough to be sealed alone
	dir := write(t, files)
	time.Sleep(2100 * time.Millisecond) // of younger files no hint is believed
	want, _ := sealOf(t, dir)
	wantSeal, _ := os.ReadFile(want)
	wantIndex, _ := os.ReadFile(want + ".rows")
	for name, spoil := range map[string]func(out string){
		"as it was":      func(string) {},
		"a torn line":    func(out string) { cutEnd(t, out+".journal", 7) },
		"torn digests":   func(out string) { cutEnd(t, out+".rows.part", 4000) },
		"other digests":  func(out string) { flip(t, out+".rows.part", 40_000) },
		"no digests":     func(out string) { os.Remove(out + ".rows.part") },
		"another seal's": func(out string) { put(t, out+".journal", "{}\n") },
	} {
		out := filepath.Join(t.TempDir(), "s")
		ctx, stop := context.WithCancel(t.Context())
		job, err := openJob(out)
		if err != nil {
			t.Fatal(err)
		}
		p, _ := openPlace(t.Context(), dir, "")
		entries, _ := p.entries(ctx)
		s := &sealer{place: p, format: formatOf, workers: 2, meter: &progress.Meter{}, spill: openRoom}
		if _, err := job.resume(ctx, s, entries); err != nil {
			t.Fatal(err)
		}
		n := 0
		err = s.all(ctx, entries, job.part, job.at, func(made rowseal.Section) error {
			if n++; n == 5 {
				stop()
				return context.Canceled
			}
			return job.take(made)
		})
		if err == nil {
			t.Fatal("it was not stopped")
		}
		job.close()
		p.close()
		spoil(out)
		made, err := (&Seal{Path: dir, Out: out}).Run(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		gotSeal, _ := os.ReadFile(out)
		gotIndex, _ := os.ReadFile(out + ".rows")
		if !bytes.Equal(gotSeal, wantSeal) || !bytes.Equal(gotIndex, wantIndex) {
			t.Errorf("%s: another seal came out", name)
		}
		if name == "as it was" && made.Resumed != 4 {
			t.Errorf("%d files were resumed", made.Resumed)
		}
		left, _ := filepath.Glob(out + ".*")
		if len(left) != 1 {
			t.Errorf("%s: %q is left", name, left)
		}
	}
}

func cutEnd(t testing.TB, name string, n int64) {
	t.Helper()
	info, err := os.Stat(name)
	if err == nil {
		err = os.Truncate(name, info.Size()-n)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func flip(t testing.TB, name string, at int64) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[at] ^= 1
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestOneAtATime begins a seal that another process is writing, and one that is there.
func TestOneAtATime(t *testing.T) {
	dir := write(t, map[string]string{"a": "x"})
	out := filepath.Join(t.TempDir(), "s")
	job, err := openJob(out)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (&Seal{Path: dir, Out: out}).Run(t.Context()); pavise.KindOf(err) != pavise.Conflict {
		t.Error(err)
	}
	job.close()
	if _, err := (&Seal{Path: dir, Out: out}).Run(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := (&Seal{Path: dir, Out: out}).Run(t.Context()); pavise.KindOf(err) != pavise.Conflict {
		t.Error(err)
	}
}

// TestSealWithinItsData writes the seal into the directory that it is of.
func TestSealWithinItsData(t *testing.T) {
	dir := write(t, map[string]string{"a.csv": "x,y\n1,2\n"})
	out := filepath.Join(dir, "s.seal")
	made, err := (&Seal{Path: dir, Out: out}).Run(t.Context())
	if err != nil || made.Files != 1 || !verify(t, Verify{Path: dir, Seal: out}).Clean {
		t.Errorf("%+v, %v", made, err)
	}
}
