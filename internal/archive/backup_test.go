package archive

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/audit"
	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/proof"
)

// TestABackupOfALiveLog copies a log again and again while four write to it: each copy
// verifies, holds at least what was published before, and opens.
func TestABackupOfALiveLog(t *testing.T) {
	k := newKeeper(t, setting{})
	k.fill(t, 300)
	ctx, stop := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				r := mallory(epoch)
				r.On.ID = fmt.Sprintf("w%d-%d", w, i)
				if _, err := k.Log.Append(context.WithoutCancel(ctx), r, ledger.Durability(i%2)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	var sizes []uint64
	for range 5 {
		before := k.Log.Published()
		to := filepath.Join(inMemory(t), "backup")
		opts := k.known()
		opts.Checkpoint = before.Note
		report, err := Backup(t.Context(), k.dir, to, opts, nil)
		if err != nil || report.Signed < before.Size || report.Records != report.Signed || report.Conclusion != audit.Verified {
			t.Errorf("%+v, %v", report, err)
		}
		sizes = append(sizes, report.Signed)
		copied, err := ledger.Open(ledger.Options{Dir: to, Origin: origin, Key: testKey, Tenant: "acme", SegmentSize: 1})
		if err != nil {
			t.Fatal(err)
		}
		if copied.Size() != report.Signed {
			t.Errorf("the copy opens with %d records, and has %d", copied.Size(), report.Signed)
		}
		copied.Close()
		if err := k.Log.AwaitPublished(t.Context(), k.Log.Size()); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	writers.Wait()
	if !slices.IsSorted(sizes) || sizes[0] == sizes[len(sizes)-1] {
		t.Errorf("nobody wrote: %v", sizes)
	}
}

// TestABackupAndItsWayBack copies a log, also one of which records were pruned, and
// copies the copy: the same files, up to the checkpoint.
func TestABackupAndItsWayBack(t *testing.T) {
	for _, pruned := range []bool{false, true} {
		t.Run(fmt.Sprintf("pruned: %t", pruned), func(t *testing.T) {
			k := archived(t, setting{})
			if pruned {
				k.expire(t)
				if _, err := k.Prune(t.Context(), nil); err != nil {
					t.Fatal(err)
				}
			}
			if err := k.Log.Close(); err != nil {
				t.Fatal(err)
			}
			top := inMemory(t)
			var last int64
			first, err := Backup(t.Context(), k.dir, filepath.Join(top, "backup"), k.known(), func(done, _ int64) { last = done })
			if err != nil || last == 0 || (first.First > 0) != pruned {
				t.Fatalf("%+v, %v", first, err)
			}
			second, err := Backup(t.Context(), filepath.Join(top, "backup"), filepath.Join(top, "restored"), k.known(), nil)
			if err != nil || first.Root != second.Root || first.Signed != k.Log.Size() {
				t.Fatalf("%+v, %v", second, err)
			}
			for _, dir := range []string{"backup", "restored"} {
				d := disk.Dir{Path: filepath.Join(top, dir)}
				names, err := d.List()
				if err != nil {
					t.Fatal(err)
				}
				for _, name := range names {
					got, err := os.ReadFile(filepath.Join(d.Path, name))
					want, wantErr := os.ReadFile(filepath.Join(k.dir, name))
					if err != nil || wantErr != nil || string(got) != string(want) {
						t.Errorf("%s/%s is another: %v, %v", dir, name, err, wantErr)
					}
				}
			}
			again := newKeeper(t, setting{dir: filepath.Join(top, "restored")})
			again.fill(t, 900)
		})
	}
}

// TestABackupThatIsAskedForWitnesses proves a copy by a policy that wants a quorum: what
// witnesses have seen comes along, and a log that was rolled back is found to be.
func TestABackupThatIsAskedForWitnesses(t *testing.T) {
	k := newKeeper(t, setting{})
	k.fill(t, 300)
	cosigner, err := proof.NewCosigner("witness.example", ed25519.NewKeyFromSeed([]byte("archive test, a witness key, 32b")))
	if err != nil {
		t.Fatal(err)
	}
	policy, err := proof.ParsePolicy(fmt.Appendf(nil, "log %s\nwitness w %s\nquorum w\n", k.Log.Keys()[0], cosigner.Key()))
	if err != nil {
		t.Fatal(err)
	}
	opts := audit.Options{Policy: policy}
	top := inMemory(t)
	_, err = Backup(t.Context(), k.dir, filepath.Join(top, "unseen"), opts, nil)
	wantKind(t, err, pavise.Unverified)
	cp := k.Log.Published()
	lines, err := proof.Cosign(cp.Note, epoch, cosigner)
	if err != nil {
		t.Fatal(err)
	}
	cp.Note = append(slices.Clone(cp.Note), lines...)
	if err := k.Log.KeepWitnessed(cp); err != nil {
		t.Fatal(err)
	}
	report, err := Backup(t.Context(), k.dir, filepath.Join(top, "seen"), opts, nil)
	if err != nil || report.Witnessed == nil || report.Witnessed.Records != 300 {
		t.Errorf("%+v, %v", report, err)
	}
	again, err := Backup(t.Context(), filepath.Join(top, "seen"), filepath.Join(top, "back"), opts, nil)
	if err != nil || again.Witnessed == nil {
		t.Errorf("%+v, %v", again, err)
	}
}

// TestABackupOfADamagedLog copies what is there, says that it does not verify, and takes
// the copy away again.
func TestABackupOfADamagedLog(t *testing.T) {
	for what, damage := range map[string]func(dir string) error{
		"a byte":             func(dir string) error { return flip(filepath.Join(dir, disk.SegmentName(256)), 1000) },
		"a byte of the root": func(dir string) error { return flip(filepath.Join(dir, "checkpoint"), 20) },
		"the end":            func(dir string) error { return os.Truncate(filepath.Join(dir, disk.SegmentName(512)), 100) },
		"a segment":          func(dir string) error { return os.Remove(filepath.Join(dir, disk.SegmentName(256))) },
		"no checkpoint":      func(dir string) error { return os.Remove(filepath.Join(dir, "checkpoint")) },
	} {
		t.Run(what, func(t *testing.T) {
			k := newKeeper(t, setting{})
			k.fill(t, 600)
			if err := k.Log.Close(); err != nil {
				t.Fatal(err)
			}
			if err := damage(k.dir); err != nil {
				t.Fatal(err)
			}
			to := filepath.Join(inMemory(t), "backup")
			if report, err := Backup(t.Context(), k.dir, to, audit.Options{}, nil); err == nil {
				t.Errorf("%+v", report)
			}
			gone(t, what, to)
		})
	}
}

// flip changes a byte of a file.
func flip(path string, at int) error {
	text, err := os.ReadFile(path)
	if err == nil {
		text[at] ^= 1
		err = os.WriteFile(path, text, 0o600)
	}
	return err
}

// TestACallerWhoGoesAway ends a backup and a restore, and leaves nothing.
func TestACallerWhoGoesAway(t *testing.T) {
	k := archived(t, setting{})
	away, cancel := context.WithCancel(t.Context())
	cancel()
	for what, copied := range map[string]func(to string) error{
		"backup":  func(to string) error { _, err := Backup(away, k.dir, to, k.known(), nil); return err },
		"restore": func(to string) error { _, err := Restore(away, k.bucket, "", to, k.known(), nil); return err },
	} {
		to := filepath.Join(inMemory(t), what)
		wantKind(t, copied(to), pavise.Unavailable)
		gone(t, what, to)
	}
}
