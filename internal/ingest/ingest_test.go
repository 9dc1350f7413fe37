package ingest_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/cohort"
	"github.com/pavise/pavise/internal/ingest"
)

// write writes a file below a directory, and returns its path.
func write(t testing.TB, dir, name string, text []byte) string {
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func pack(text string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write([]byte(text))
	w.Close()
	return b.Bytes()
}

// templates mines a log and returns the template of each line.
func templates(t testing.TB, f ingest.Templates) ([]string, *ingest.Mined) {
	t.Helper()
	f.Each = true
	if f.Clusters == 0 {
		f.Clusters = 1000
	}
	mined, err := f.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer mined.Close()
	var out bytes.Buffer
	if err := mined.WriteLines(&out); err != nil {
		t.Fatal(err)
	}
	var all []string
	for d := json.NewDecoder(&out); d.More(); {
		var line struct {
			Line     int
			Template string
		}
		if err := d.Decode(&line); err != nil || line.Line != len(all)+1 {
			t.Fatalf("line %d: %+v, %v", len(all)+1, line, err)
		}
		all = append(all, line.Template)
	}
	if len(all) != mined.Lines {
		t.Errorf("%d lines were written of %d", len(all), mined.Lines)
	}
	return all, mined
}

func TestTemplatesOfEachLine(t *testing.T) {
	log := "user ana logged in from 10.0.0.1\r\nuser bob logged in from 10.0.0.2\n\nnul \x00 here\n\xffbad utf8\nunix\u2028line \u202e\U000e0001\nlast line without an end"
	want := []string{"user <*> logged in from <*>", "user <*> logged in from <*>", "", "nul \x00 here", "\ufffdbad utf8", "unix line \u202e\U000e0001", "last line without an end"}
	for name, text := range map[string][]byte{"app.log": []byte(log), "app.log.gz": pack(log), "bom.log": append([]byte("\ufeff"), log...)} {
		got, _ := templates(t, ingest.Templates{File: write(t, t.TempDir(), name, text)})
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got, mined := templates(t, ingest.Templates{File: write(t, t.TempDir(), "empty.log", nil)}); len(got) != 0 || mined.Lines != 0 {
		t.Errorf("an empty log: %q", got)
	}
}

// TestTemplatesThatGiveWay mines more templates than are held: each line still gets its own.
func TestTemplatesThatGiveWay(t *testing.T) {
	var log strings.Builder
	word := func(i int) string {
		return strings.Map(func(r rune) rune { return 'g' + r - '0' }, fmt.Sprint(i)) // no digits, no hexadecimal
	}
	const n = 5000
	for i := range n {
		fmt.Fprintf(&log, "%s %s %s\n", word(i), word(i*7), word(i*13))
	}
	got, mined := templates(t, ingest.Templates{File: write(t, t.TempDir(), "app.log", []byte(log.String())), Clusters: 10})
	for i, text := range got {
		if want := fmt.Sprintf("%s %s %s", word(i), word(i*7), word(i*13)); text != want && !strings.Contains(text, "<*>") {
			t.Fatalf("line %d: %q, want %q", i+1, text, want)
		}
	}
	if mined.Gone == 0 || len(mined.Templates) > 10 || !strings.Contains(mined.Note(), "templates gave way") {
		t.Errorf("%d gone, %d held, %q", mined.Gone, len(mined.Templates), mined.Note())
	}
	var out bytes.Buffer
	if mined.Print(&out); !strings.Contains(out.String(), "templates gave way") {
		t.Errorf("%s", out.String())
	}
}

func TestLongLines(t *testing.T) {
	long := strings.Repeat("x", 10<<20)
	got, _ := templates(t, ingest.Templates{File: write(t, t.TempDir(), "app.log", []byte("a\n"+long+"\n"+long+"y\nb\n"))})
	if len(got) != 4 || got[0] != "a" || len(got[1]) != 64<<10+len(" <*>") || got[2] != got[1] || got[3] != "b" {
		t.Errorf("%d lines: %.20q", len(got), got)
	}
}

func TestLogsThatAreRefused(t *testing.T) {
	dir := t.TempDir()
	whole := pack(strings.Repeat("a line of a log\n", 100))
	for _, test := range []struct {
		path string
		kind pavise.Kind
		want string
	}{
		{filepath.Join(dir, "absent.log"), pavise.NotFound, "no file"},
		{dir, pavise.Invalid, "is a directory"},
		{write(t, dir, "utf16.log", []byte("\xff\xfea\x00")), pavise.Invalid, "UTF-16"},
		{write(t, dir, "cut.log.gz", whole[:20]), pavise.Invalid, "cut.log.gz: the compressed file is cut off"},
		{write(t, dir, "log.zst", []byte("\x28\xb5\x2f\xfd1234")), pavise.Invalid, "Zstandard"},
	} {
		_, err := (&ingest.Templates{File: test.path, Clusters: 10}).Run(t.Context())
		if pavise.KindOf(err) != test.kind || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", test.path, err)
		}
	}
	if _, err := (&ingest.Templates{File: dir}).Run(t.Context()); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("no clusters: %v", err)
	}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	long := write(t, dir, "long.log", bytes.Repeat([]byte("a\n"), 1<<17))
	if _, err := (&ingest.Templates{File: long, Clusters: 10}).Run(stopped); pavise.KindOf(err) != pavise.Unavailable {
		t.Errorf("%v", err)
	}
}

// pods writes the logs of pods, one of which wraps its lines; lay says where.
func pods(t testing.TB, lay func(service, pod int) string) string {
	dir := t.TempDir()
	for service := range 2 {
		for pod := range 5 {
			var log strings.Builder
			for i := range 100 {
				line := fmt.Sprintf("service %c handled request %d in %d ms", 'a'+service, i*7919%1000, i*31%90)
				if i%3 == 0 {
					line = fmt.Sprintf("cache miss for key %d", i)
				}
				if service == 1 && pod == 3 {
					line = fmt.Sprintf(`{"log":%q}`, line)
				}
				log.WriteString(line + "\n")
			}
			name := lay(service, pod)
			if name == "" {
				continue
			}
			text := []byte(log.String())
			if strings.HasSuffix(name, ".gz") {
				text = pack(log.String())
			}
			write(t, dir, name, text)
		}
	}
	return dir
}

func TestCohortLayouts(t *testing.T) {
	for _, test := range []struct {
		name, layout string
		lay          func(service, pod int) string
		pods         int
		odd          string
	}{
		{"files", "auto", func(s, p int) string { return only(s, fmt.Sprintf("pod-%d.log", p)) }, 5, "/pod-3.log"},
		{"directories with a file each", "auto", func(s, p int) string { return only(s, fmt.Sprintf("pod-%d/0.log.gz", p)) }, 5, "/pod-3"},
		{"services", "auto", func(s, p int) string { return fmt.Sprintf("service-%d/pod-%d.log", s, p) }, 10, "service-1/pod-3.log"},
		{"services with directories", "services", func(s, p int) string { return fmt.Sprintf("service-%d/pod-%d/app.log", s, p) }, 10, "service-1/pod-3"},
		{"services with directories, told", "auto", func(s, p int) string { return fmt.Sprintf("service-%d/pod-%d/app.log", s, p) }, 10, "service-1/pod-3"},
		{"pods of a cluster", "auto", func(s, p int) string { return fmt.Sprintf("shop_pod-%d_0af1/app/%d.log", p, s) }, 5, "/shop_pod-3_0af1"},
		{"pods of two containers", "auto", func(s, p int) string { return fmt.Sprintf("shop_pod-%d_0af1/app-%d/0.log", p, s) }, 5, "/shop_pod-3_0af1"},
		{"logs that were rotated", "auto", func(s, p int) string { return fmt.Sprintf("pod-%d/app.log%s", p, []string{".1", ""}[s]) }, 5, "/pod-3"},
		{"directories of many files", "directories", func(s, p int) string { return fmt.Sprintf("pod-%d/app-%d.log", p, s) }, 5, "/pod-3"},
	} {
		got, err := (&ingest.Cohort{Dir: pods(t, test.lay), Layout: test.layout}).Run(t.Context())
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		var odd []string
		for _, p := range got.Pods {
			if p.Verdict == cohort.Odd {
				odd = append(odd, p.Service+"/"+p.Pod)
			}
		}
		if len(got.Pods) != test.pods || !slices.Equal(odd, []string{test.odd}) || got.Odd != 1 {
			t.Errorf("%s: %d pods, odd %q: %+v", test.name, len(got.Pods), odd, got)
		}
	}
}

// only is the name for the service with the odd pod, alone.
func only(service int, name string) string {
	if service == 0 {
		return ""
	}
	return name
}

func TestCohortRefuses(t *testing.T) {
	mixed := t.TempDir()
	write(t, mixed, "pod.log", nil)
	write(t, mixed, "service/pod.log", nil)
	files := t.TempDir()
	write(t, files, "pod.log", nil)
	for _, test := range []struct {
		dir, layout string
		kind        pavise.Kind
		want        string
	}{
		{filepath.Join(mixed, "absent"), "auto", pavise.NotFound, "no such file"},
		{t.TempDir(), "auto", pavise.Invalid, "has 0 logs"},
		{mixed, "auto", pavise.Invalid, "side by side"},
		{files, "directories", pavise.Invalid, "no pods as --layout has it"},
		{filepath.Join(files, "pod.log"), "auto", pavise.Invalid, "list the logs"},
	} {
		_, err := (&ingest.Cohort{Dir: test.dir, Layout: test.layout}).Run(t.Context())
		if pavise.KindOf(err) != test.kind || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s %s: %v", test.dir, test.layout, err)
		}
	}
	got, err := (&ingest.Cohort{Dir: files}).Run(t.Context())
	if err != nil || got.TooLittle != 1 || got.Odd != 0 || !got.Blind() {
		t.Errorf("%+v, %v", got, err)
	}
	if err := os.Symlink("/etc", filepath.Join(files, "link")); err == nil {
		if got, err := (&ingest.Cohort{Dir: files}).Run(t.Context()); err != nil || len(got.Pods) != 1 {
			t.Errorf("a link to a directory: %+v, %v", got, err)
		}
	}
}
