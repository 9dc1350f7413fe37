package screening

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/catalog"
	"github.com/pavise/pavise/internal/dataset"
)

const flowsHeader = "proto,a,b,c,d,e,f,g,h,class\n"

// sealedAt seals a dataset, and returns the file of the seal and what a server asks of it.
func sealedAt(t *testing.T, path string, byBlock ...string) (string, catalog.ToScreen) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "a.seal")
	made, err := (&dataset.Seal{Path: path, Out: out, ByBlock: byBlock}).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return out, catalog.ToScreen{Place: catalog.Place{ByBlock: byBlock}, Root: made.Root, Terms: catalog.Terms{Label: "class"}, Dir: t.TempDir(), Say: func(string) {}}
}

// TestJudgeTellsRowsAndNotWhatTheyAre: a server says which rows look poisoned, by their file and
// number in the seal; and digests that nobody can test guesses with who has no other rows.
func TestJudgeTellsRowsAndNotWhatTheyAre(t *testing.T) {
	lines, bad := flows(2400)
	dir := t.TempDir()
	half := len(lines) / 2
	for name, text := range map[string]string{
		"a.csv":     flowsHeader + strings.Join(lines[:half], "\n") + "\n",
		"sub/b.csv": flowsHeader + strings.Join(lines[half:], "\n") + "\n",
		"README":    "no rows",
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("a.csv", filepath.Join(dir, "link.csv")); err != nil {
		t.Fatal(err)
	}
	_, ask := sealedAt(t, dir)
	judged, report, err := NewJudge(UsualBounds, 1).Judge(t.Context(), Place{dir, dir}, ask)
	if err != nil {
		t.Fatal(err)
	}
	if judged.Rows != len(lines) || judged.Quarantine < len(bad) || len(report.Quarantine) != judged.Quarantine || judged.Apart != 1 || !strings.Contains(report.Notes[0], "1 files that are sealed by their bytes alone") {
		t.Errorf("%+v, notes %q", judged, report.Notes)
	}
	file, err := (&Screen{File: filepath.Join(dir, "a.csv"), Label: "class", Seed: 1}).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	told := map[uint64]bool{}
	for i, row := range report.Rows {
		if row.File == "a.csv" {
			told[row.Row] = true
		}
		if row.Digest != report.Quarantine[i] || slices.Contains(file.Quarantine, row.Digest) {
			t.Fatalf("row %d of %s has the digest %s", row.Row, row.File, row.Digest)
		}
	}
	for _, i := range bad {
		if !told[uint64(i+2)] { // counted from 1, with the header
			t.Errorf("row %d is not told", i+2)
		}
	}
}

// TestJudgeIsBoundToBytes: what is not what was asked for, or more than is held, is not screened.
func TestJudgeIsBoundToBytes(t *testing.T) {
	lines, _ := flows(400)
	text := flowsHeader + strings.Join(lines, "\n") + "\n"
	for name, c := range map[string]struct {
		edit func(path string, ask *catalog.ToScreen, b *Bounds)
		kind pavise.Kind
		says string
	}{
		"changed since it was looked at": {func(path string, _ *catalog.ToScreen, _ *Bounds) {
			if err := os.WriteFile(path, []byte(strings.Replace(text, "benign", "attack", 1)), 0o600); err != nil {
				t.Fatal(err)
			}
		}, pavise.Conflict, "which was to be screened"},
		"gone":                           {func(path string, _ *catalog.ToScreen, _ *Bounds) { _ = os.Remove(path) }, pavise.NotFound, "there is no"},
		"no such label":                  {func(_ string, ask *catalog.ToScreen, _ *Bounds) { ask.Terms.Label = "klass" }, pavise.Invalid, `flows.csv: it has no column "klass"`},
		"no such source":                 {func(_ string, ask *catalog.ToScreen, _ *Bounds) { ask.Terms.Source = "who" }, pavise.Invalid, `it has no column "who"`},
		"a class of its own in each row": {func(_ string, ask *catalog.ToScreen, _ *Bounds) { ask.Terms.Label = "a" }, pavise.Invalid, "is no class"},
		"too many bytes":                 {func(_ string, _ *catalog.ToScreen, b *Bounds) { b.Bytes = int64(len(text)) - 1 }, pavise.Invalid, "no more are copied"},
		"too many columns": {func(path string, ask *catalog.ToScreen, b *Bounds) {
			ask.Terms.Omit, b.Cells = []string{"a", "b", "c", "d", "e", "f", "g"}, 9
		}, pavise.Invalid, "more than 9 columns"},
		"too many cells": {func(_ string, _ *catalog.ToScreen, b *Bounds) { b.Cells = 400*11 - 1 }, pavise.Invalid, "more than 399 rows of 9 columns"},
		"nothing but ends of lines": {func(path string, ask *catalog.ToScreen, b *Bounds) {
			b.Bytes, b.Rows, b.Files = 1<<20, 1000, 1
			if err := os.WriteFile(path, bytes.Repeat([]byte("\n"), 1<<17), 0o600); err != nil {
				t.Fatal(err)
			}
			_, now := sealedAt(t, path)
			ask.Root = now.Root
		}, pavise.Invalid, "more than 1000 rows, empty lines counted"},
		"too many rows":                 {func(_ string, _ *catalog.ToScreen, b *Bounds) { b.Rows = 399 }, pavise.Invalid, "more than 399 rows"},
		"a baseline that is not there":  {func(_ string, ask *catalog.ToScreen, _ *Bounds) { ask.Baseline = "/absent.seal" }, pavise.NotFound, "absent.seal"},
		"a baseline with too many rows": {func(path string, ask *catalog.ToScreen, b *Bounds) { ask.Baseline, _ = sealedAt(t, path); b.Rows = 400 }, pavise.Invalid, "the baseline has 401 rows"},
		"all is well":                   {func(string, *catalog.ToScreen, *Bounds) {}, 0, ""},
	} {
		path := written(t, "flows.csv", text)
		_, ask := sealedAt(t, path)
		bounds := Bounds{Bytes: int64(len(text)), Cells: 400 * 11, Rows: 400}
		c.edit(path, &ask, &bounds)
		_, _, err := NewJudge(bounds, 1).Judge(t.Context(), Place{path, filepath.Dir(path)}, ask)
		if c.says == "" && err != nil || c.says != "" && (pavise.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	path := written(t, "flows.csv", text)
	_, ask := sealedAt(t, path, "*.csv")
	if _, _, err := NewJudge(UsualBounds, 1).Judge(t.Context(), Place{path, filepath.Dir(path)}, ask); pavise.KindOf(err) != pavise.Invalid || !strings.Contains(err.Error(), "none of its files is sealed by row") {
		t.Errorf("what is sealed by its bytes: %v", err)
	}
}

// TestJudgeTrustsRowsOfAVersion: rows that stand in the baseline are not judged, as often as they
// do, and what was put in beside them is found against them.
func TestJudgeTrustsRowsOfAVersion(t *testing.T) {
	lines, _ := flows(1500)
	good := lines[240:] // without a trigger
	path := written(t, "flows.csv", flowsHeader+strings.Join(good, "\n")+"\n")
	baseline, ask := sealedAt(t, path)
	ask.Baseline = baseline
	j, at := NewJudge(UsualBounds, 1), Place{path, filepath.Dir(path)}
	judged, report, err := j.Judge(t.Context(), at, ask)
	if err != nil || judged.Rows != 0 || judged.Trusted != len(good) || judged.Quarantine != 0 || !strings.Contains(strings.Join(report.Notes, " "), "every row is one that is trusted") {
		t.Errorf("nothing is new: %+v, %v", judged, err)
	}
	added := append(slices.Repeat(good[:1], 40), "icmp,90,90,90,90,90,90,90,90,benign")
	if err := os.WriteFile(path, []byte(flowsHeader+strings.Join(append(slices.Clone(good), added...), "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, ask = sealedAt(t, path)
	ask.Baseline = baseline
	judged, report, err = j.Judge(t.Context(), at, ask)
	if err != nil || judged.Rows != len(added) || judged.Trusted != len(good) {
		t.Fatalf("copies of good rows are trusted, too: %+v, %v", judged, err)
	}
	if last := uint64(len(good) + len(added) + 1); !slices.ContainsFunc(report.Rows, func(s catalog.Suspect) bool { return s.Row == last }) {
		t.Errorf("row %d is like none that is trusted, and is not told: %+v", last, report.Rows)
	}
	other := written(t, "other.csv", flowsHeader+"tcp,1,2,3,4,5,6,7,8,benign\n")
	ask.Baseline, _ = sealedAt(t, other)
	ask.Dir = t.TempDir()
	judged, report, err = j.Judge(t.Context(), at, ask)
	if err != nil || judged.Trusted != 0 || judged.Rows != len(good)+len(added) || !strings.Contains(strings.Join(report.Notes, " "), "without a baseline") {
		t.Errorf("a baseline of which nothing is left but its header: %+v, %v", judged, err)
	}
}

// TestJudgeReadsParquet screens Parquet as it does text.
func TestJudgeReadsParquet(t *testing.T) {
	type flow struct {
		A     float64 `parquet:"a"`
		Class string  `parquet:"class"`
	}
	rows := make([]flow, 600)
	for i := range rows {
		rows[i] = flow{float64(i % 37), []string{"benign", "attack"}[i%2]}
	}
	rows[100].A = 1e9
	path := filepath.Join(t.TempDir(), "flows.parquet")
	if err := parquet.WriteFile(path, rows); err != nil {
		t.Fatal(err)
	}
	_, ask := sealedAt(t, path)
	judged, report, err := NewJudge(UsualBounds, 1).Judge(t.Context(), Place{path, filepath.Dir(path)}, ask)
	if err != nil || judged.Rows != len(rows) || len(report.Rows) == 0 || report.Rows[0].Row != 101 {
		t.Errorf("%+v, %+v, %v", judged, report, err)
	}
}

// TestJudgeStops returns at once when it is stopped, and what it began keeps its turn until it ends.
func TestJudgeStops(t *testing.T) {
	path := written(t, "flows.csv", flowsHeader+"tcp,1,2,3,4,5,6,7,8,benign\n")
	_, ask := sealedAt(t, path)
	began, goOn := make(chan struct{}), make(chan struct{})
	ask.Say = func(string) {
		select {
		case <-began:
		default:
			close(began)
		}
		<-goOn
	}
	j := NewJudge(UsualBounds, 1)
	ctx, stop := context.WithCancel(t.Context())
	go func() { <-began; stop() }()
	if _, _, err := j.Judge(ctx, Place{path, filepath.Dir(path)}, ask); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
	brief, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, _, err := j.Judge(brief, Place{path, filepath.Dir(path)}, ask); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while the first takes memory still: %v", err)
	}
	close(goOn)
	ask.Dir = t.TempDir()
	if _, _, err := j.Judge(t.Context(), Place{path, filepath.Dir(path)}, ask); err != nil {
		t.Errorf("once it has ended: %v", err)
	}
}

// TestJudgeTimesWhatIsUnderWay: the time that one may take begins when it has its turn, and a screen
// of very many columns looks at the clock within a row.
func TestJudgeTimesWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := written(t, "flows.csv", flowsHeader+"tcp,1,2,3,4,5,6,7,8,benign\n")
		_, ask := sealedAt(t, path)
		at, j := Place{path, filepath.Dir(path)}, NewJudge(UsualBounds, 1)
		j.slots <- struct{}{} // somebody else's
		go func() {
			time.Sleep(time.Hour)
			<-j.slots
		}()
		ask.Time = time.Minute
		if _, _, err := j.Judge(t.Context(), at, ask); err != nil {
			t.Errorf("after an hour's wait: %v", err)
		}
		ask.Dir, ask.Say = t.TempDir(), func(string) { time.Sleep(2 * time.Minute) }
		if _, _, err := j.Judge(t.Context(), at, ask); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("longer than it may take: %v", err)
		}
		j.slots <- struct{}{} // once it has ended by itself
	})
}

// TestManyColumns reads a table with as many columns as there may be in little time, and stops within it.
func TestManyColumns(t *testing.T) {
	const many = 1 << 17
	var text strings.Builder
	for i := range many {
		fmt.Fprintf(&text, "c%d,", i)
	}
	text.WriteString("class\n" + strings.Repeat("1,", many) + "a\n" + strings.Repeat("2,", many) + "b\n")
	path := written(t, "wide.csv", text.String())
	s := &Screen{File: path, Label: "class"}
	names, err := s.kinds(t.Context(), s.files(), true, map[string]held{}, map[string]held{})
	if err != nil || len(names) != many+1 {
		t.Errorf("%d columns: %v", len(names), err)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	path = written(t, "wide.csv", text.String()+strings.Repeat(strings.Repeat("1,", many)+"a\n", 8))
	s.File = path
	if _, err := s.kinds(stopped, s.files(), true, map[string]held{}, map[string]held{}); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
}
