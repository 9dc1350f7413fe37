package ledger

import (
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/audit"
	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/proof"
)

// writtenLog returns the directory of a closed log of n records.
func writtenLog(t *testing.T, n int) (dir, key string, checkpoint []byte) {
	t.Helper()
	dir = t.TempDir()
	l := openTest(t, dir)
	for i := range n {
		how := Written
		if i == n-1 {
			how = Durable
		}
		if _, err := l.Append(context.Background(), testRecord(i), how); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, l.signer.Key().String(), l.Head().Note
}

func edit(t *testing.T, path string, change func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, change(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

// frameAt returns where entry i begins and ends in a segment's bytes.
func frameAt(b []byte, i int) (start, end int) {
	for ; ; i-- {
		end = start + 2 + int(binary.BigEndian.Uint16(b[start:]))
		if i == 0 {
			return start, end
		}
		start = end
	}
}

func TestTampering(t *testing.T) {
	seg := disk.SegmentName(0)
	tests := []struct {
		name   string
		file   string
		change func([]byte) []byte
		want   string // in the error
	}{
		{"one digit of a record", seg, func(b []byte) []byte {
			start, end := frameAt(b, 123)
			i := start + strings.Index(string(b[start:end]), `"rows":1`) + len(`"rows":`)
			b[i] = '9'
			return b
		}, "record 123 was changed"},
		{"a record removed", seg, func(b []byte) []byte {
			start, end := frameAt(b, 200)
			return append(b[:start:start], b[end:]...)
		}, "end was removed"},
		{"two records swapped", seg, func(b []byte) []byte {
			s1, e1 := frameAt(b, 10)
			_, e2 := frameAt(b, 11)
			swapped := append(append([]byte{}, b[e1:e2]...), b[s1:e1]...)
			copy(b[s1:], swapped)
			return b
		}, "record 10 was changed"},
		{"the end cut off", seg, func(b []byte) []byte {
			start, _ := frameAt(b, 299)
			return b[:start]
		}, "end was removed"},
		{"cut inside a record", seg, func(b []byte) []byte { return b[:len(b)-5] }, "middle of an entry"},
		{"a hash file", "hash.0", func(b []byte) []byte { b[40] ^= 1; return b }, "derived file hash.0"},
		{"the checkpoint's size", "checkpoint", func(b []byte) []byte {
			return []byte(strings.Replace(string(b), "\n300\n", "\n299\n", 1))
		}, "not signed"},
		{"the origin", "origin", func(b []byte) []byte { return []byte("evil.test/log+12345678+AAAA\n") }, "does not hold a log's keys"},
		{"the checkpoint removed", "checkpoint", nil, "no checkpoint"},
		{"the origin removed", "origin", nil, "no evidence log"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir, key, _ := writtenLog(t, 300)
			path := filepath.Join(dir, tt.file)
			if tt.change == nil {
				os.Remove(path)
			} else {
				edit(t, path, tt.change)
			}
			_, err := audit.Verify(dir, audit.Options{Key: key})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("verify: %v, want %q", err, tt.want)
			}
		})
	}
}

// TestEveryBitCounts flips single bits all over a small log: each flip is found.
func TestEveryBitCounts(t *testing.T) {
	dir, key, _ := writtenLog(t, 3)
	for _, name := range []string{disk.SegmentName(0), "hash.0", "checkpoint", "origin"} {
		path := filepath.Join(dir, name)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := range whole {
			edit(t, path, func(b []byte) []byte { b[i] ^= 1 << (i % 8); return b })
			if report, err := audit.Verify(dir, audit.Options{Key: key}); err == nil {
				t.Errorf("%s byte %d: flipped bit not found: %+v", name, i, report)
			}
			if err := os.WriteFile(path, whole, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestRewrittenHistory has somebody who holds the directory make the log anew
// with a key of their own: consistent in itself, and found by whoever knows the
// key or keeps a checkpoint.
func TestRewrittenHistory(t *testing.T) {
	_, key, kept := writtenLog(t, 30)
	forged := t.TempDir()
	l, err := Open(Options{Dir: forged, Origin: testOrigin, Key: otherKey})
	if err != nil {
		t.Fatal(err)
	}
	appendN(t, l, 30, Written)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	report, err := audit.Verify(forged, audit.Options{})
	if err != nil || report.Conclusion != audit.Consistent {
		t.Errorf("without knowledge: %+v, %v", report, err)
	}
	for name, opts := range map[string]audit.Options{"key": {Key: key}, "fingerprint": {Key: proof.Fingerprint(key)}, "checkpoint": {Checkpoint: kept}} {
		if _, err := audit.Verify(forged, opts); pavise.KindOf(err) != pavise.Unverified {
			t.Errorf("with the %s: %v", name, err)
		}
	}
}

// TestRollback puts an older state of the whole directory back. Only somebody
// who keeps a later checkpoint can know.
func TestRollback(t *testing.T) {
	dir := t.TempDir()
	l := openTest(t, dir)
	appendN(t, l, 10, Durable)
	l.Close()
	old := t.TempDir()
	if err := os.CopyFS(old, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	l = openTest(t, dir)
	appendN(t, l, 10, Durable)
	l.Close()
	_, err := audit.Verify(old, audit.Options{Checkpoint: l.Head().Note})
	if err == nil || !strings.Contains(err.Error(), "rolled back") {
		t.Errorf("verify: %v", err)
	}
	if report, err := audit.Verify(dir, audit.Options{Checkpoint: l.Head().Note}); err != nil || report.Conclusion != audit.Verified {
		t.Errorf("verify the right one: %+v, %v", report, err)
	}
}

// TestForgedTail appends an entry behind the signed head, as somebody with the
// directory but without the key would. It must not be adopted and signed.
func TestForgedTail(t *testing.T) {
	dir, _, _ := writtenLog(t, 5)
	path := filepath.Join(dir, disk.SegmentName(0))
	edit(t, path, func(b []byte) []byte {
		start, end := frameAt(b, 2) // a genuine entry, replayed
		return append(b, b[start:end]...)
	})
	l := openTest(t, dir)
	r, err := l.Read(5)
	if err != nil || r.Kind != "ledger.recovered" {
		t.Errorf("record 5: %+v, %v", r, err)
	}
	if l.Size() != 6 {
		t.Errorf("size %d, want 6", l.Size())
	}
}

// TestOpenRefuses has the log itself notice what was done to it while it was away.
func TestOpenRefuses(t *testing.T) {
	tests := map[string]func(t *testing.T, dir string){
		"cut": func(t *testing.T, dir string) {
			edit(t, filepath.Join(dir, disk.SegmentName(0)), func(b []byte) []byte { s, _ := frameAt(b, 250); return b[:s] })
		},
		"segment removed": func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, disk.SegmentName(0))) },
		"changed, hashes removed": func(t *testing.T, dir string) {
			edit(t, filepath.Join(dir, disk.SegmentName(0)), func(b []byte) []byte { b[30] ^= 1; return b })
			os.Remove(filepath.Join(dir, "hash.0"))
		},
		"a record changed": func(t *testing.T, dir string) {
			edit(t, filepath.Join(dir, disk.SegmentName(0)), changeRecord(123))
		},
		"a record and its leaf changed": func(t *testing.T, dir string) {
			seg := filepath.Join(dir, disk.SegmentName(0))
			edit(t, seg, changeRecord(123))
			b, _ := os.ReadFile(seg)
			start, end := frameAt(b, 123)
			leaf := tlog.RecordHash(b[start+2 : end])
			edit(t, filepath.Join(dir, "hash.0"), func(h []byte) []byte { copy(h[123*32:], leaf[:]); return h })
		},
		"checkpoint removed and the end cut": func(t *testing.T, dir string) {
			os.Remove(filepath.Join(dir, "checkpoint"))
			edit(t, filepath.Join(dir, disk.SegmentName(0)), func(b []byte) []byte { s, _ := frameAt(b, 50); return b[:s] })
		},
		"a fifo for a segment": func(t *testing.T, dir string) {
			if err := syscall.Mkfifo(filepath.Join(dir, disk.SegmentName(512)), 0o600); err != nil {
				t.Skip("no fifos here")
			}
			os.Remove(filepath.Join(dir, disk.SegmentName(0)))
		},
		"foreign checkpoint": func(t *testing.T, dir string) {
			signer, err := proof.NewLogSigner(testOrigin, otherKey)
			if err != nil {
				t.Fatal(err)
			}
			cp, err := proof.Sign(testOrigin, 3, [32]byte{1}, time.Now(), signer)
			if err != nil {
				t.Fatal(err)
			}
			os.WriteFile(filepath.Join(dir, "checkpoint"), cp.Note, 0o600)
		},
	}
	for name, harm := range tests {
		t.Run(name, func(t *testing.T) {
			dir, _, _ := writtenLog(t, 300)
			harm(t, dir)
			_, err := Open(Options{Dir: dir, Origin: testOrigin, Key: testKey})
			if kind := pavise.KindOf(err); kind != pavise.Unverified && kind != pavise.Unavailable {
				t.Errorf("open: %v", err)
			}
			if _, err := audit.Verify(dir, audit.Options{}); err == nil {
				t.Error("verify says that all is well")
			}
		})
	}
}

func TestHashFilesAreRebuilt(t *testing.T) {
	dir, key, _ := writtenLog(t, 600)
	for _, name := range []string{"hash.0", "hash.1"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	l := openTest(t, dir)
	if _, err := l.Prove(17); err != nil {
		t.Error(err)
	}
	l.Close()
	if _, err := audit.Verify(dir, audit.Options{Key: key}); err != nil {
		t.Error(err)
	}
}

// changeRecord returns an edit of one digit of a record.
func changeRecord(i int) func([]byte) []byte {
	return func(b []byte) []byte {
		start, end := frameAt(b, i)
		b[start+strings.Index(string(b[start:end]), `"rows":1`)+len(`"rows":`)] = '9'
		return b
	}
}

// TestDamagedHashFileIsRepaired loses a piece of a derived file.
func TestDamagedHashFileIsRepaired(t *testing.T) {
	dir, key, _ := writtenLog(t, 600)
	edit(t, filepath.Join(dir, "hash.0"), func(b []byte) []byte { clear(b[:4096]); return b })
	l := openTest(t, dir)
	n := 0
	for range l.Records(0, 600) {
		n++
	}
	if n != 600 {
		t.Errorf("%d records can be read, not 600", n)
	}
	l.Close()
	if _, err := audit.Verify(dir, audit.Options{Key: key}); err != nil {
		t.Error(err)
	}
}

// TestOldCheckpointOverForgedRecords puts a genuine, older checkpoint under
// records that nobody signed. With the key known, that is not "verified".
func TestOldCheckpointOverForgedRecords(t *testing.T) {
	dir := t.TempDir()
	l := openTest(t, dir)
	key, old := l.signer.Key().String(), l.Head().Note // of no records
	appendN(t, l, 5, Durable)
	l.Close()
	if err := os.WriteFile(filepath.Join(dir, "checkpoint"), old, 0o600); err != nil {
		t.Fatal(err)
	}
	report, err := audit.Verify(dir, audit.Options{Key: key})
	if err != nil || report.Conclusion != audit.Consistent || !report.From.IsZero() {
		t.Errorf("%+v, %v", report, err)
	}
}

// TestJunkBehindTheLog is told of, and does not pass for a log that is whole.
func TestJunkBehindTheLog(t *testing.T) {
	dir, key, _ := writtenLog(t, 5)
	edit(t, filepath.Join(dir, disk.SegmentName(0)), func(b []byte) []byte { return append(b, "hello world"...) })
	report, err := audit.Verify(dir, audit.Options{Key: key})
	if err != nil || report.Conclusion != audit.Partly || report.Trailing != 11 || report.Records != 5 {
		t.Errorf("%+v, %v", report, err)
	}
}

// TestAbandonedTail brings records of a tail that was lost back behind those
// that were written in their stead.
func TestAbandonedTail(t *testing.T) {
	dir := t.TempDir()
	seg := filepath.Join(dir, disk.SegmentName(0))
	l := openTest(t, dir)
	appendN(t, l, 2, Durable)
	early := t.TempDir()
	l.Close()
	if err := os.CopyFS(early, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	l = openTest(t, dir)
	appendN(t, l, 3, Durable)
	l.Close()
	old, err := os.ReadFile(seg)
	if err != nil {
		t.Fatal(err)
	}
	l, err = Open(Options{Dir: early, Origin: testOrigin, Key: testKey})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(context.Background(), testRecord(99), Durable); err != nil {
		t.Fatal(err)
	}
	l.Close()
	start, _ := frameAt(old, 3)
	edit(t, filepath.Join(early, disk.SegmentName(0)), func(b []byte) []byte { return append(b, old[start:]...) })
	l, err = Open(Options{Dir: early, Origin: testOrigin, Key: testKey})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if r, err := l.Read(3); err != nil || r.Kind != "ledger.recovered" {
		t.Errorf("record 3 is %s, %v: the abandoned tail was adopted", r.Kind, err)
	}
}

// TestCutUnderARunningLog shortens the file while the log is open: reading a
// range ends.
func TestCutUnderARunningLog(t *testing.T) {
	dir, _, _ := writtenLog(t, 600)
	l := openTest(t, dir)
	edit(t, filepath.Join(dir, disk.SegmentName(0)), func(b []byte) []byte { s, _ := frameAt(b, 280); return b[:s] })
	n := 0
	for range l.Records(270, 300) {
		n++
	}
	if n != 10 {
		t.Errorf("%d records, want the 10 that are left", n)
	}
}

func TestReadNoticesChange(t *testing.T) {
	dir, _, _ := writtenLog(t, 10)
	l := openTest(t, dir)
	edit(t, filepath.Join(dir, disk.SegmentName(0)), func(b []byte) []byte {
		start, _ := frameAt(b, 4)
		b[start+20] ^= 1
		return b
	})
	if _, err := l.Read(4); pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("read a changed record: %v", err)
	}
}
