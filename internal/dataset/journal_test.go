package dataset

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/progress"
	"github.com/pavise/pavise/internal/rowseal"
)

// TestLeftByOthers begins a seal where somebody else may have put a journal or digests: they
// are not believed.
func TestLeftByOthers(t *testing.T) {
	dir := write(t, map[string]string{"a": "x"})
	for _, suffix := range []string{partSuffix, journalSuffix} {
		for name, leave := range map[string]func(file string) error{
			"for all to read": func(file string) error { return errors.Join(os.WriteFile(file, nil, 0o600), os.Chmod(file, 0o644)) },
			"of two names":    func(file string) error { return errors.Join(os.WriteFile(file, nil, 0o600), os.Link(file, file+"2")) },
		} {
			out := filepath.Join(t.TempDir(), "s")
			if err := leave(out + suffix); err != nil {
				t.Fatal(err)
			}
			if _, err := (&Seal{Path: dir, Out: out}).Run(t.Context()); pavise.KindOf(err) != pavise.Denied || !strings.Contains(message(err), suffix) {
				t.Errorf("%s, %s: %v", suffix, name, err)
			}
		}
	}
	out := filepath.Join(t.TempDir(), "s")
	put(t, out+".new", "left")
	if err := os.Chmod(out+".new", 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := (&Seal{Path: dir, Out: out}).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(out); err != nil || info.Mode().Perm()&0o022 != 0 {
		t.Errorf("the seal is written into a file of others: %v, %v", info, err)
	}
}

// TestJournalOfLinks has a journal say that a link leads elsewhere, and a file is of another
// size: both are looked at again.
func TestJournalOfLinks(t *testing.T) {
	t.Parallel() // it waits
	dir := write(t, map[string]string{"a.csv": "x,y\n1,2\n", "b.bin": "bbb"})
	if err := os.Symlink("a.csv", filepath.Join(dir, "c")); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2100 * time.Millisecond) // of younger files no hint is believed
	want, _ := sealOf(t, dir)
	wantSeal, _ := os.ReadFile(want)
	for name, lie := range map[string]func(made *rowseal.Section){
		"a link": func(made *rowseal.Section) {
			if made.Format == rowseal.Link {
				made.Root = rowseal.LinkRoot("b.csv")
			}
		},
		"a size": func(made *rowseal.Section) {
			if made.Format == rowseal.Blocks {
				made.Size++
			}
		},
	} {
		out := filepath.Join(t.TempDir(), "s")
		job, err := openJob(out)
		if err != nil {
			t.Fatal(err)
		}
		p, err := openPlace(t.Context(), dir, "")
		if err != nil {
			t.Fatal(err)
		}
		entries, err := p.entries(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s := &sealer{place: p, format: formatOf, workers: 1, meter: &progress.Meter{}, spill: openRoom}
		if _, err := job.resume(t.Context(), s, entries); err != nil {
			t.Fatal(err)
		}
		err = s.all(t.Context(), entries, job.part, job.at, func(made rowseal.Section) error { lie(&made); return job.take(made) })
		if err != nil {
			t.Fatal(err)
		}
		job.close()
		p.close()
		if _, err := (&Seal{Path: dir, Out: out}).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, _ := os.ReadFile(out); !bytes.Equal(got, wantSeal) {
			t.Errorf("%s: the journal is believed", name)
		}
	}
}

// TestSignatureLeft seals where a run was killed behind its signature.
func TestSignatureLeft(t *testing.T) {
	private, public := keys(t)
	dir := write(t, map[string]string{"a.csv": "x,y\n1,2\n"})
	out := filepath.Join(t.TempDir(), "s")
	put(t, out+signatureSuffix, "of an earlier run")
	if _, err := (&Seal{Path: dir, Out: out, Key: private}).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := verify(t, Verify{Path: dir, Seal: out, Signer: public}); !got.Clean || got.Signed == "" {
		t.Errorf("%+v", got)
	}
}

// TestStoppedAtTheEnd stops a seal between any two of its last steps: the next run goes on from
// what was sealed, or finds the whole seal. A signature of an earlier run does not stay beside
// a seal that nobody signed.
func TestStoppedAtTheEnd(t *testing.T) {
	t.Parallel() // it waits
	private, public := keys(t)
	dir := write(t, map[string]string{"a.csv": "x,y\n1,2\n", "b.bin": "bbb"})
	time.Sleep(2100 * time.Millisecond) // of younger files no hint is believed
	want, _ := sealOf(t, dir)
	wantSeal, _ := os.ReadFile(want)
	for _, key := range []string{"", private} {
		signer, err := readSigner(key)
		if err != nil {
			t.Fatal(err)
		}
		for stop, all := 0, 1; stop <= all; stop++ {
			out := filepath.Join(t.TempDir(), "s")
			put(t, out+signatureSuffix, "of an earlier run")
			job, err := openJob(out)
			if err != nil {
				t.Fatal(err)
			}
			p, err := openPlace(t.Context(), dir, "")
			if err != nil {
				t.Fatal(err)
			}
			entries, err := p.entries(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			s := &sealer{place: p, format: formatOf, workers: 1, meter: &progress.Meter{}, spill: openRoom}
			if _, err := job.resume(t.Context(), s, entries); err != nil {
				t.Fatal(err)
			}
			if err = s.all(t.Context(), entries, job.part, job.at, job.take); err != nil {
				t.Fatal(err)
			}
			m, err := rowseal.NewManifest(t.Context(), job.sections, 1, openRoom)
			if err != nil {
				t.Fatal(err)
			}
			steps := job.steps(m, signer)
			all = len(steps)
			for _, step := range steps[:stop] {
				if err := step(); err != nil {
					t.Fatal(err)
				}
			}
			job.close()
			p.close()
			_, missing := os.Stat(out)
			made, err := (&Seal{Path: dir, Out: out, Key: key}).Run(t.Context())
			if missing != nil && (err != nil || made.Resumed != 2) || missing == nil && pavise.KindOf(err) != pavise.Conflict {
				t.Errorf("stopped before step %d: %+v, %v", stop, made, err)
			}
			if got, _ := os.ReadFile(out); !bytes.Equal(got, wantSeal) {
				t.Errorf("stopped before step %d: another seal", stop)
			}
			v := Verify{Path: dir, Seal: out, Fast: true}
			if _, err := os.Stat(out + signatureSuffix); key != "" {
				v.Signer = public
			} else if err == nil {
				t.Errorf("stopped before step %d: an old signature stays", stop)
			}
			if got := verify(t, v); !got.Clean {
				t.Errorf("stopped before step %d: %+v", stop, got)
			}
		}
	}
}

// TestWhereASealGoes says where a seal goes before it is made.
func TestWhereASealGoes(t *testing.T) {
	s := fill(t, map[string]string{"a.csv": "x\n1\n"})
	dir := write(t, map[string]string{"sub/a.csv": "x\n1\n"})
	t.Chdir(filepath.Join(dir, "sub"))
	for _, path := range []string{".", "..", "a.csv", s.Address("s3", "data/")} {
		seal := &Seal{Path: path}
		want, err := seal.Into(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		made, err := seal.Run(t.Context())
		if err != nil || made.Seal != want {
			t.Errorf("%s goes to %+v, and it said to %s: %v", path, made, want, err)
		}
		if _, err := os.Stat(want); err != nil {
			t.Error(err)
		}
	}
}
