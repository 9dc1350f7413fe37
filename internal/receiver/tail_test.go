package receiver

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
)

// A logfile is what a program writes.
type logfile struct {
	t    testing.TB
	path string
}

func (f logfile) add(text string) {
	f.t.Helper()
	to, err := os.OpenFile(f.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = to.WriteString(text)
		err = errors.Join(err, to.Close())
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// put replaces the content in place, and says that it was done now.
func (f logfile) put(text string) {
	f.t.Helper()
	if err := os.WriteFile(f.path, []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
	later := time.Now().Add(time.Second)
	if err := os.Chtimes(f.path, later, later); err != nil {
		f.t.Fatal(err)
	}
}

func (f logfile) rename(to string) {
	f.t.Helper()
	if err := os.Rename(f.path, f.path+to); err != nil {
		f.t.Fatal(err)
	}
}

func (f logfile) copyTo(suffix string) {
	f.t.Helper()
	text, err := os.ReadFile(f.path)
	if err == nil {
		err = os.WriteFile(f.path+suffix, text, 0o600)
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// pack stands for a packer, which has begun with what was put aside, or has also removed it.
func (f logfile) pack(removed bool) {
	f.t.Helper()
	logfile{f.t, f.path + ".1.gz"}.put("packed")
	if removed {
		f.remove(".1")
	}
}

func (f logfile) remove(suffix string) {
	f.t.Helper()
	if err := os.Remove(f.path + suffix); err != nil {
		f.t.Fatal(err)
	}
}

// TestTail plays what becomes of log files. Each step is what a program does; "pass" has
// the file looked at, and "restart" does so in another process.
func TestTail(t *testing.T) {
	old, fresh := numbered(0, 300), numbered(300, 320)
	type steps = []func(f logfile) string
	do := func(act func(f logfile)) func(logfile) string {
		return func(f logfile) string { act(f); return "pass" }
	}
	unseen := func(act func(f logfile)) func(logfile) string { return func(f logfile) string { act(f); return "" } }
	restart := func(logfile) string { return "restart" }
	add := func(text string) func(logfile) string { return do(func(f logfile) { f.add(text) }) }
	for name, c := range map[string]struct {
		steps       steps
		want, found string
	}{
		"lines that come":                     {steps{add(old), add(fresh)}, old + fresh, ""},
		"half lines wait":                     {steps{add(old + "half"), add(" and half\n"), add("rest")}, old + "half and half\n", ""},
		"half lines over a restart":           {steps{add(old + "half"), restart, add(" and half\n")}, old + "half and half\n", ""},
		"put aside by name":                   {steps{add(old), unseen(func(f logfile) { f.add("last\n"); f.rename(".1") }), add(fresh)}, old + "last\n" + fresh, ""},
		"put aside by name, half a line left": {steps{add(old + "end"), unseen(func(f logfile) { f.rename(".1") }), add(fresh)}, old + "end" + fresh, ""},
		"put aside while nobody looked":       {steps{add(old), unseen(func(f logfile) { f.add("last\n"); f.rename("-2026-11-27") }), unseen(func(f logfile) { f.add(fresh) }), restart}, old + "last\n" + fresh, ""},
		"put aside and deleted, held open":    {steps{add(old), unseen(func(f logfile) { f.add("last\n"); f.rename(".1"); f.remove(".1") }), add(fresh)}, old + "last\n" + fresh, ""},
		"put aside, and packed":               {steps{add(old), unseen(func(f logfile) { f.add("last\n"); f.rename(".1"); f.pack(true) }), add(fresh)}, old + "last\n" + fresh, ""},
		"put aside, and being packed":         {steps{add(old), unseen(func(f logfile) { f.add("last\n"); f.rename(".1"); f.pack(false) }), add(fresh)}, old + "last\n" + fresh, ""},
		"deleted while nobody looked":         {steps{add(old), unseen(func(f logfile) { f.add("lost\n"); f.remove("") }), unseen(func(f logfile) { f.add(fresh) }), restart}, old + fresh, "truncated"},
		"copied and truncated":                {steps{add(old), unseen(func(f logfile) { f.add("last\n"); f.copyTo(".1"); f.put("") }), add(fresh)}, old + "last\n" + fresh, ""},
		"copied and truncated, long since":    {steps{add(old), unseen(func(f logfile) { f.add("last\n"); f.copyTo(".1"); f.put(fresh + strings.Repeat(old, 2)) }), restart}, old + "last\n" + fresh + old + old, ""},
		"truncated":                           {steps{add(old), do(func(f logfile) { f.put("") }), add(fresh)}, old + fresh, "truncated"},
		"truncated and grown beyond":          {steps{add(old), do(func(f logfile) { f.put(fresh + old + old) })}, old + fresh + old + old, "replaced"},
		"truncated while nobody looked":       {steps{add(old), unseen(func(f logfile) { f.put(fresh) }), restart}, old + fresh, "truncated"},
		"written over in place":               {steps{add(old), do(func(f logfile) { f.put(strings.Replace(old, "line 7", "LINE 7", 1) + fresh) })}, old + strings.Replace(old, "line 7", "LINE 7", 1) + fresh, "replaced"},
		"another file in its place":           {steps{add(old), unseen(func(f logfile) { f.remove(""); f.add(fresh + old) }), restart}, old + fresh + old, "truncated"},
		"empty, then put aside":               {steps{add(""), unseen(func(f logfile) { f.rename(".1") }), add(fresh)}, fresh, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, formLines)
			f := logfile{t, filepath.Join(w.root, "app.log")}
			f.add("")
			w.order(Order{From: "file://" + f.path})
			h := w.by("app")
			for _, step := range c.steps {
				switch step(f) {
				case "pass":
					h.must()
				case "restart":
					h.close()
					h = w.by("app")
					h.must()
				}
			}
			w.wantText(c.want)
			w.wantFound(c.found)
		})
	}
}

// TestTailThatIsBehind has files rotated through before they are looked at: those between are
// read in their order, and one that is packed by then is told. What was read before, and
// what only begins with the name, is not read.
func TestTailThatIsBehind(t *testing.T) {
	for name, c := range map[string]struct {
		packed      bool
		want, found string
	}{
		"all can be read": {false, "b\nc\nd\ne\n", ""},
		"one is packed":   {true, "b\nd\ne\n", "truncated"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, formLines)
			f := logfile{t, filepath.Join(w.root, "app.log")}
			start := time.Now().Add(-time.Hour)
			write := func(suffix, text string, minute int) {
				logfile{t, f.path + suffix}.add(text)
				at := start.Add(time.Duration(minute) * time.Minute)
				if err := os.Chtimes(f.path+suffix, at, at); err != nil {
					t.Fatal(err)
				}
			}
			write(".9", "a\n", 0)
			write("", "b\n", 1)
			w.order(Order{From: "file://" + f.path})
			h := w.by("app")
			h.must()
			third := ".2"
			if c.packed {
				third = ".2.gz"
			}
			f.rename(".3")
			write(third, "c\n", 2)
			write(".1", "d\n", 3)
			write("", "e\n", 4)
			write(".lock", "x\n", 2)
			write("-errors", "x\n", 2)
			h.must()
			w.by("app").must()
			w.wantText(c.want)
			w.wantFound(c.found)
		})
	}
}

// TestTailThatIsRotatedFast waits for those who still write to a file that was put aside once,
// and not for each file: or a log that is rotated each second would be read ever later, and
// lost. A file that is quiet is waited for.
func TestTailThatIsRotatedFast(t *testing.T) {
	start := time.Now().Add(-time.Hour).Truncate(time.Second)
	now := start
	w := newWorld(t, formLines, func(c *Config) { c.Now = func() time.Time { return now } })
	f := logfile{t, filepath.Join(w.root, "app.log")}
	write := func(suffix, text string, second int) {
		logfile{t, f.path + suffix}.add(text)
		at := start.Add(time.Duration(second) * time.Second)
		if err := os.Chtimes(f.path+suffix, at, at); err != nil {
			t.Fatal(err)
		}
	}
	write("", "0\n", 0)
	w.order(Order{From: "file://" + f.path})
	h := w.by("app")
	h.room.grace = 5 * time.Second
	h.must()
	for i := range 6 {
		f.rename(fmt.Sprintf(".%d", i))
		write("", fmt.Sprintf("%d\n", i+1), i+1)
	}
	now = start.Add(7 * time.Second)
	h.must()
	w.wantText("0\n")
	now = start.Add(12 * time.Second)
	h.must()
	w.wantText("0\n1\n2\n3\n4\n5\n6\n")

	now = start.Add(1000 * time.Second)
	h.must()
	f.rename(".6")
	write("", "8\n", 1000)
	h.must()
	write(".6", "7\n", 1001)
	now = start.Add(1002 * time.Second)
	h.must()
	now = start.Add(1008 * time.Second)
	for range 2 {
		h.must()
	}
	w.wantText("0\n1\n2\n3\n4\n5\n6\n7\n8\n")
	w.wantFound("")
}

// TestTailOfCSV has every batch begin with the header, and cuts no quoted row.
func TestTailOfCSV(t *testing.T) {
	w := newWorld(t, formCSV)
	f := logfile{t, filepath.Join(w.root, "rows.csv")}
	f.add("a,b\n")
	w.order(Order{From: "file://" + f.path})
	h := w.by("app")
	h.must()
	f.add("1,\"two\n")
	h.must()
	f.add("lines\"\n2,x\n")
	h.must()
	f.add("3,y\n")
	h.must()
	h = w.by("app")
	f.add("4,z\n")
	h.must()
	w.wantText("a,b\n1,\"two\nlines\"\n2,x\n" + "a,b\n3,y\n" + "a,b\n4,z\n")
}

// TestTailCutsLongLines brings a line that is longer than a batch in pieces.
func TestTailCutsLongLines(t *testing.T) {
	w := newWorld(t, formLines)
	f := logfile{t, filepath.Join(w.root, "app.log")}
	long := strings.Repeat("x", 2*maxPart+10) + "\n"
	f.add("a\n" + long + "b\n")
	w.order(Order{From: "file://" + f.path})
	w.by("app").must()
	w.wantText("a\n" + long + "b\n")
}

// TestTailKilledAnywhere kills the process before, between and after the gate's keeping of
// each batch: all lines come, in order, once.
func TestTailKilledAnywhere(t *testing.T) {
	want := strings.Repeat(numbered(10000, 40000), 8) // some batches
	for _, when := range []string{"before", "after"} {
		w := newWorld(t, formLines)
		f := logfile{t, filepath.Join(w.root, "app.log")}
		piece := len(want) / 8
		f.add(want[:piece])
		w.order(Order{From: "file://" + f.path})
		killed := &pavise.Error{Kind: pavise.Unavailable, Msg: "killed"}
		calls := 0
		kill := func(Batch) error {
			if calls++; calls%2 == 0 || calls > 7 {
				return nil
			}
			return killed
		}
		if when == "before" {
			w.gate.fail = kill
		} else {
			w.gate.after = kill
		}
		h := w.by("app")
		for i := 1; ; i++ {
			if err := h.passes(); err == nil && i >= 8 {
				break
			} else if err != nil && !errors.Is(err, killed) {
				t.Fatal(err)
			}
			if i < 8 { // more has come, and what is brought next would be longer
				f.add(want[i*piece : (i+1)*piece])
			}
			h = w.by("app") // with nothing but what the store has
		}
		w.wantText(want)
		if when == "after" && w.gate.again == 0 {
			t.Error("nothing was brought again")
		}
		w.wantFound("")
	}
}

// TestTailChangedUnderWay changes what was being brought when the process was killed.
func TestTailChangedUnderWay(t *testing.T) {
	w := newWorld(t, formLines)
	f := logfile{t, filepath.Join(w.root, "app.log")}
	f.add(numbered(0, 5))
	w.order(Order{From: "file://" + f.path})
	w.gate.after = func(Batch) error { return &pavise.Error{Kind: pavise.Unavailable, Msg: "killed"} }
	if err := w.by("app").passes(); err == nil {
		t.Fatal("the gate answers")
	}
	w.gate.after = nil
	f.put(numbered(5, 10))
	w.by("app").must()
	w.wantFound("replaced")
	w.wantText(numbered(0, 10))
}

// TestTailPassesOverWhatIsRefused goes on behind a batch that the gate cannot take at all.
func TestTailPassesOverWhatIsRefused(t *testing.T) {
	w := newWorld(t, formLines)
	f := logfile{t, filepath.Join(w.root, "app.log")}
	f.add("bad\n")
	w.order(Order{From: "file://" + f.path})
	w.gate.fail = func(b Batch) error {
		if strings.HasPrefix(string(b.Body), "bad") {
			return &pavise.Error{Kind: pavise.Invalid, Msg: "it is bad"}
		}
		return nil
	}
	h := w.by("app")
	for range 5 {
		h.must()
		f.add("bad\n")
	}
	f.add("good\n")
	h.must()
	f.add("good\n")
	h.must()
	w.wantText("good\n")
	w.wantFound("refused") // of the others it is told later, with their count
	if h.told[KindRefused].count == 0 {
		t.Error("the others are not counted")
	}
}

// A badFolder fails to read, now and then.
type badFolder struct {
	folder
	bad *bool
}

type badFile struct {
	file
	bad *bool
}

func (d badFolder) open(root, name string) (file, error) {
	f, err := d.folder.open(root, name)
	if err != nil || *d.bad {
		if err == nil {
			f.Close()
		}
		return nil, errors.Join(err, &fs.PathError{Op: "open", Path: name, Err: errors.New("input/output error")})
	}
	return badFile{f, d.bad}, nil
}

func (f badFile) ReadAt(p []byte, at int64) (int, error) {
	if *f.bad {
		return 0, errors.New("input/output error")
	}
	return f.file.ReadAt(p, at)
}

// TestTailOfABadDisk goes on once the disk can be read again, and takes its errors for no
// end, no truncation and no other file.
func TestTailOfABadDisk(t *testing.T) {
	w := newWorld(t, formLines)
	f := logfile{t, filepath.Join(w.root, "app.log")}
	f.add(numbered(0, 10))
	w.order(Order{From: "file://" + f.path})
	h := w.by("app")
	bad := false
	w.files = badFolder{disks{}, &bad}
	h.must()
	bad = true
	f.add(numbered(10, 20))
	if err := h.passes(); pavise.KindOf(err) != pavise.Unavailable {
		t.Errorf("a disk that cannot be read: %v", err)
	}
	bad = false
	h.must()
	w.wantText(numbered(0, 20))
	w.wantFound("")
}

// TestFilesOutside follows no link out of the root, and opens no pipe.
func TestFilesOutside(t *testing.T) {
	w := newWorld(t, formLines)
	outside := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(outside, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(w.root, "app.log")); err != nil {
		t.Fatal(err)
	}
	w.order(Order{From: "file://" + w.root + "/app.log"})
	h := w.by("app")
	err := h.passes()
	if pavise.KindOf(err) != pavise.Unavailable {
		t.Errorf("a link out of the root: %v", err)
	}
	w.wantText("")
	if h.failing(t.Context(), err); strings.Count(h.problem, "escapes") != 1 {
		t.Errorf("what is wrong is said as %q", h.problem)
	}
}
