package disk_test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/disk"
)

// TestLockIsForOne: a directory that is locked is locked for others in this process
// too, and free once the lock is closed. It leaves nothing behind.
func TestLockIsForOne(t *testing.T) {
	dir := t.TempDir()
	if disk.Locked(dir) {
		t.Fatal("it is locked before anybody locked it")
	}
	for range 3 {
		lock, err := disk.Lock(dir)
		if err != nil {
			t.Fatal(err)
		}
		if other, err := disk.Lock(dir); pavise.KindOf(err) != pavise.Conflict || other != nil {
			t.Errorf("locked twice: %v", err)
		}
		if !disk.Locked(dir) {
			t.Error("it does not look locked")
		}
		// Whatever is done to the files in it, the lock is the directory's own.
		if err := os.WriteFile(filepath.Join(dir, "LOCK"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(dir, "LOCK")); err != nil {
			t.Fatal(err)
		}
		if !disk.Locked(dir) {
			t.Error("it does not look locked any more")
		}
		if err := lock.Close(); err != nil || disk.Locked(dir) {
			t.Errorf("closed: %v, locked %v", err, disk.Locked(dir))
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	nowhere := filepath.Join(dir, "nowhere")
	if _, err := disk.Lock(nowhere); pavise.KindOf(err) != pavise.Unavailable || disk.Locked(nowhere) {
		t.Errorf("a directory that is not there: %v", err)
	}
}

// lockedDir names the directory that a process of this test is to lock.
const lockedDir = "PAVISE_TEST_LOCKED_DIR"

// TestLockDiesWithItsProcess has another process lock a directory and be killed, as by
// kill -9: until then it is locked here, and from then on free.
func TestLockDiesWithItsProcess(t *testing.T) {
	if dir := os.Getenv(lockedDir); dir != "" {
		holdLock(dir)
	}
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestLockDiesWithItsProcess$")
	cmd.Env = append(os.Environ(), lockedDir+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if line != "locked\n" {
		t.Fatalf("the other process says %q, %v", line, err)
	}
	if _, err := disk.Lock(dir); pavise.KindOf(err) != pavise.Conflict || !disk.Locked(dir) {
		t.Errorf("while the other process lives: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	lock, err := disk.Lock(dir)
	if err != nil {
		t.Fatalf("after it was killed: %v", err)
	}
	lock.Close()
}

// holdLock is the other process: it locks and waits to be killed.
func holdLock(dir string) {
	if _, err := disk.Lock(dir); err != nil {
		os.Exit(3)
	}
	os.Stdout.WriteString("locked\n")
	select {}
}
