package dataset

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/progress"
	"github.com/pavise/pavise/internal/rowseal"
)

// A denied is a store some of whose files may not be read.
type denied struct {
	store
	names map[string]bool
	dir   string // may not be listed
}

func (d denied) open(ctx context.Context, e *entry) (content, error) {
	if d.names[e.name] {
		return nil, rowseal.FileFault(e.shown(), fs.ErrPermission)
	}
	return d.store.open(ctx, e)
}

func (d denied) each(ctx context.Context, found func(entry) error, refuse func(name string, why error) error) error {
	if d.dir != "" {
		info, err := d.store.(*disk).root.Stat(d.dir)
		if err != nil {
			return err
		}
		if err := unlisted(d.dir, fs.FileInfoToDirEntry(info), fs.ErrPermission, refuse); err != fs.SkipDir {
			return err
		}
	}
	return d.store.each(ctx, func(e entry) error {
		if strings.HasPrefix(e.path, d.dir+"/") {
			return nil
		}
		return found(e)
	}, refuse)
}

// TestWhatMayNotBeRead verifies where a file, large or small, or a directory may not be read: that
// is said of it, and what differs elsewhere is named. Who may read nothing could not look.
func TestWhatMayNotBeRead(t *testing.T) {
	dir := write(t, map[string]string{"a.csv": "x\n1\n", "b.csv": "x\n1\n", "large.bin": strings.Repeat("x", smallFile+1), "z.csv": "x\n1\n", "sub/c": "c", "sub/d": "d"})
	seal, _ := sealOf(t, dir)
	put(t, filepath.Join(dir, "z.csv"), "x\n2\n")
	m, err := ReadManifest(seal)
	if err != nil {
		t.Fatal(err)
	}
	x, err := rowseal.OpenIndex(seal+rowseal.IndexSuffix, m)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	look := func(d denied) (*Verified, error) {
		p, err := openPlace(t.Context(), dir, "")
		if err != nil {
			t.Fatal(err)
		}
		defer p.close()
		d.store = p.store
		p.store, p.lenient = d, true
		room, err := openRoom()
		if err != nil {
			t.Fatal(err)
		}
		defer room.Close()
		if _, err := os.Stat(room.Name()); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the room of digests has a name: %v", err)
		}
		v, got := &Verify{Path: dir, Seal: seal}, &Verified{}
		sections, err := v.seal(t.Context(), p, m, x, room, got)
		if err != nil {
			return nil, err
		}
		return got, v.compare(t.Context(), m, x, sections, p.odd, got)
	}
	got, err := look(denied{names: map[string]bool{"a.csv": true, "large.bin": true}, dir: "sub"})
	if err != nil {
		t.Fatal(err)
	}
	said := ""
	for _, d := range got.Differences {
		said += d.What + " " + d.File + ": " + d.Note + "\n"
	}
	if want := "changed a.csv: a.csv may not be read\nchanged large.bin: large.bin may not be read\nchanged sub/c: sub may not be read\nchanged sub/d: sub may not be read\nchanged z.csv: \n"; said != want {
		t.Errorf("it says\n%sand not\n%s", said, want)
	}
	all := denied{names: map[string]bool{"a.csv": true, "b.csv": true, "large.bin": true, "z.csv": true, "sub/c": true, "sub/d": true}}
	if _, err := look(all); pavise.KindOf(err) != pavise.Denied {
		t.Errorf("nothing may be read: %v", err)
	}
}

// TestOurDiskIsFull seals onto a disk without room: that is not a fault of the data.
func TestOurDiskIsFull(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Skip("there is no /dev/full")
	}
	defer full.Close()
	for name, text := range map[string]string{"a few rows": joined(lines(10)), "blocks": strings.Repeat("x", 2*smallFile), "many rows": joined(lines(300_000))} {
		dir := write(t, map[string]string{"a.jsonl": text})
		p, err := openPlace(t.Context(), dir, "")
		if err != nil {
			t.Fatal(err)
		}
		defer p.close()
		entries, err := p.entries(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s := &sealer{place: p, format: formatOf, workers: 2, meter: &progress.Meter{}, spill: openRoom}
		err = s.all(t.Context(), entries, full, 0, func(rowseal.Section) error { return nil })
		if pavise.KindOf(err) != pavise.Unavailable || !strings.Contains(message(err), "write /dev/full: no space left on device") {
			t.Errorf("%s of %d bytes: %v", name, len(text), err)
		}
	}
}

// TestFlagsThatWouldDoNothing gives flags of proving to a check, and the other way round.
func TestFlagsThatWouldDoNothing(t *testing.T) {
	for _, p := range []Prove{{Check: "p", Key: "k"}, {Check: "p", Out: "o"}, {Row: 1, Signer: "s"}, {Content: "c", File: "f"}, {Content: "c", Root: "r"}, {Seal: "s", Check: "p", Root: "r"}, {Content: "c"}, {Check: "p"}} {
		if _, err := p.Run(t.Context()); pavise.KindOf(err) != pavise.Invalid || !strings.Contains(message(err), " for ") {
			t.Errorf("%+v: %v", p, err)
		}
	}
}

// TestManyOddPaths puts in more links to nothing than are listed: how many more is said.
func TestManyOddPaths(t *testing.T) {
	dir := write(t, map[string]string{"a.csv": "x\n1\n"})
	seal, _ := sealOf(t, dir)
	for i := range maxNamed + 3 {
		if err := os.Symlink("nowhere", filepath.Join(dir, fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	if got := verify(t, Verify{Path: dir, Seal: seal}); len(got.Differences) != maxNamed || !strings.Contains(got.Note, "3 more paths") {
		t.Errorf("%d differences, and %q", len(got.Differences), got.Note)
	}
}

// TestNamesThatAct seals files whose names would do something to a terminal, and a link that leads
// to itself: what is said of them is plain, and what to do with it.
func TestNamesThatAct(t *testing.T) {
	dir := write(t, map[string]string{"a\nb\x1b[31m.csv": "a,b\n1\n"})
	_, err := (&Seal{Path: dir, Out: filepath.Join(t.TempDir(), "s")}).Run(t.Context())
	e, ok := errors.AsType[*pavise.Error](err)
	if !ok || strings.ContainsAny(e.Msg+e.Hint, "\n\x1b") || !strings.Contains(e.Hint, `\x1b[31m.csv`) {
		t.Errorf("%q", e)
	}
	loop := filepath.Join(dir, "loop")
	if err := os.Symlink("loop", loop); err != nil {
		t.Skip(err)
	}
	if _, err = (&Seal{Path: loop}).Run(t.Context()); pavise.KindOf(err) != pavise.Conflict || !strings.Contains(message(err), "is a link, or leads through one in a circle") {
		t.Error(err)
	}
}

// TestGoneMeanwhile takes a file away between its being found and its being read.
func TestGoneMeanwhile(t *testing.T) {
	dir := write(t, map[string]string{"a.csv": "x\n1\n"})
	p, err := openPlace(t.Context(), dir, "")
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	entries, err := p.entries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "a.csv")); err != nil {
		t.Fatal(err)
	}
	if _, err = p.open(t.Context(), &entries[0]); pavise.KindOf(err) != pavise.Conflict || !strings.Contains(message(err), "a.csv changed while it was read") {
		t.Error(err)
	}
}
