package screening

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/pavise/pavise/internal/catalog"
)

// judgeAfter writes files, seals them for a baseline, has them changed, and judges what is there then.
func judgeAfter(t *testing.T, before, after map[string]string) (catalog.Judged, *catalog.Report) {
	t.Helper()
	dir := t.TempDir()
	put := func(files map[string]string) {
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(before)
	baseline, _ := sealedAt(t, dir)
	put(after)
	_, ask := sealedAt(t, dir)
	ask.Baseline = baseline
	judged, report, err := NewJudge(UsualBounds, 1).Judge(t.Context(), Place{dir, dir}, ask)
	if err != nil {
		t.Fatal(err)
	}
	return judged, report
}

// TestJudgeTrustsRowsUnderTheirColumns: bytes of trusted rows under a header that is another say
// something else, and are not trusted.
func TestJudgeTrustsRowsUnderTheirColumns(t *testing.T) {
	lines, _ := flows(600)
	half := len(lines) / 2
	a, b := strings.Join(lines[:half], "\n")+"\n", strings.Join(lines[half:], "\n")+"\n"
	swapped := strings.Replace(flowsHeader, "a,b,", "b,a,", 1)
	before := map[string]string{"a.csv": flowsHeader + a, "b.csv": swapped + b}
	for name, c := range map[string]struct {
		after              map[string]string
		trusted, untrusted int
		file               string
	}{
		"nothing":                       {nil, len(lines), 0, ""},
		"the order of rows":             {map[string]string{"a.csv": flowsHeader + lines[half-1] + "\n" + a}, len(lines), 0, ""},
		"a new header":                  {map[string]string{"a.csv": strings.Replace(flowsHeader, "c,d", "d,c", 1) + a}, len(lines) - half, 1, "a.csv"},
		"the header of the other":       {map[string]string{"a.csv": swapped + a}, len(lines) - half, 1, "a.csv"},
		"rows that moved":               {map[string]string{"a.csv": flowsHeader + lines[0] + "\n", "c.csv": flowsHeader + a}, len(lines), 0, ""},
		"rows that moved, and a header": {map[string]string{"a.csv": flowsHeader + lines[0] + "\n", "c.csv": strings.Replace(flowsHeader, "c,d", "d,c", 1) + a}, len(lines) - half + 1, 1, "c.csv"},
		"new rows below another header": {map[string]string{"c.csv": strings.Replace(flowsHeader, "c,d", "d,c", 1) + "tcp,1,2,3,4,5,6,7,8.125,benign\n"}, len(lines), 0, ""},
	} {
		judged, report := judgeAfter(t, before, c.after)
		if judged.Trusted != c.trusted || judged.Untrusted != c.untrusted {
			t.Errorf("%s: %d rows are trusted, and %d files are not; want %d, %d", name, judged.Trusted, judged.Untrusted, c.trusted, c.untrusted)
		}
		if told := strings.Contains(strings.Join(report.Notes, "\n"), c.file+" is NOT TRUSTED"); told != (c.untrusted > 0) {
			t.Errorf("%s: notes %q", name, report.Notes)
		}
	}
}

// TestJudgeTrustsWholeParquet: a seal does not have the names of columns of Parquet.
func TestJudgeTrustsWholeParquet(t *testing.T) {
	type flow struct {
		A     float64 `parquet:"a"`
		B     float64 `parquet:"b"`
		Class string  `parquet:"class"`
	}
	type swapped struct {
		B     float64 `parquet:"b"`
		A     float64 `parquet:"a"`
		Class string  `parquet:"class"`
	}
	var good []flow
	var bad []swapped
	for i := range 300 {
		x, y, class := float64(i%37), float64(i%11), []string{"benign", "attack"}[i%2]
		good, bad = append(good, flow{x, y, class}), append(bad, swapped{x, y, class})
	}
	var was, is, more strings.Builder
	for _, err := range []error{parquet.Write(&was, good), parquet.Write(&is, bad), parquet.Write(&more, good[:299])} {
		if err != nil {
			t.Fatal(err)
		}
	}
	before := map[string]string{"a.parquet": was.String()}
	for name, c := range map[string]struct {
		after     string
		untrusted int
	}{"as it was": {was.String(), 0}, "other names": {is.String(), 1}, "other bytes": {more.String(), 1}} {
		judged, report := judgeAfter(t, before, map[string]string{"a.parquet": c.after})
		if judged.Untrusted != c.untrusted || (judged.Trusted == 0) != (c.untrusted > 0) || c.untrusted > 0 && !strings.Contains(report.Notes[0], "a.parquet is NOT TRUSTED") {
			t.Errorf("%s: %+v, notes %q", name, judged, report.Notes)
		}
	}
}

// TestFilesWithoutRowsAreTrustedAsTheyWere: a file that nobody screens leaves the verdict open, until
// a version that has it byte for byte, at its place, is the baseline.
func TestFilesWithoutRowsAreTrustedAsTheyWere(t *testing.T) {
	lines, _ := flows(400)
	dir := t.TempDir()
	put := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("flows.csv", flowsHeader+strings.Join(lines[240:], "\n")+"\n")
	put("README", "no rows")
	baseline, ask := sealedAt(t, dir)
	judge := func() catalog.Judged {
		t.Helper()
		judged, _, err := NewJudge(UsualBounds, 1).Judge(t.Context(), Place{dir, dir}, ask)
		if err != nil {
			t.Fatal(err)
		}
		return judged
	}
	if got := judge(); got.Apart != 1 {
		t.Errorf("without a baseline: %+v", got)
	}
	for name, c := range map[string]struct {
		edit  func()
		apart int
	}{
		"as it was":  {func() {}, 0},
		"one more":   {func() { put("rows.dat", "tcp,1") }, 1},
		"one moved":  {func() { put("rows.dat", "no rows") }, 1},
		"one edited": {func() { put("README", "no rowz"); os.Remove(filepath.Join(dir, "rows.dat")) }, 1},
	} {
		put("README", "no rows")
		os.Remove(filepath.Join(dir, "rows.dat"))
		c.edit()
		_, ask = sealedAt(t, dir)
		ask.Baseline = baseline
		if got := judge(); got.Apart != c.apart {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
