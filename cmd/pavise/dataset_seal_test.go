package main

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/dataset"
)

// TestSealThatIsThere hands over a seal that an earlier call made: it is found where the seal
// of a working directory goes, and it is not taken for one that is signed.
func TestSealThatIsThere(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "rows")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	if err := os.WriteFile("a.csv", []byte("x\n1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := sealCommand{Seal: dataset.Seal{Path: "."}}
	first, err := s.made(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	again, err := s.made(t.Context())
	if err != nil || again.Seal != first.Seal || again.Root != first.Root || again.Signature != "" {
		t.Errorf("%+v, and then %+v, %v", first, again, err)
	}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	s.Key = filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(s.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	if made, err := s.made(t.Context()); pavise.KindOf(err) != pavise.Conflict {
		t.Errorf("a seal without a signature is taken for one of %s: %+v, %v", s.Key, made, err)
	}
}

// TestKilledWhileItSeals kills the command that seals, again and again, wherever it is: the same
// command makes the same seal in the end.
func TestKilledWhileItSeals(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "rows")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for k := range 3 {
		var text []byte
		for i := range 150_000 {
			text = append(strconv.AppendInt(append(strconv.AppendInt(text, int64(i), 10), `,tcp,http,SF,`...), int64(i*k), 10), '\n')
		}
		if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(k)+".csv"), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(2100 * time.Millisecond) // of younger files nothing is taken from an earlier run
	began := time.Now()
	want := filepath.Join(t.TempDir(), "want.seal")
	if code, _, errs := pavised(t, "dataset", "seal", dir, "-o", want); code != 0 {
		t.Fatal(errs)
	}
	whole, killed := time.Since(began), 0
	out := filepath.Join(t.TempDir(), "killed.seal")
	for n := range 4 {
		cmd := exec.Command("pavise", "dataset", "seal", dir, "-o", out)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(whole*time.Duration(n+1)/5, func() { cmd.Process.Kill() })
		err := cmd.Wait()
		timer.Stop()
		if err == nil {
			break
		}
		killed++
	}
	if _, err := os.Stat(out); err != nil {
		if code, _, errs := pavised(t, "dataset", "seal", dir, "-o", out); code != 0 {
			t.Fatal(errs)
		}
	}
	for _, suffix := range []string{"", ".rows"} {
		got, err := os.ReadFile(out + suffix)
		same, fault := os.ReadFile(want + suffix)
		if err != nil || fault != nil || suffix == "" && !bytes.Equal(got, same) {
			t.Errorf("killed %d times, %q is another: %v, %v", killed, suffix, err, fault)
		}
	}
	if code, _, errs := pavised(t, "dataset", "verify", dir, "--seal", out); code != 0 || killed == 0 {
		t.Errorf("killed %d times, the seal does not hold: %s", killed, errs)
	}
}

// TestSealTakesLittleMemory seals a large file as a process of its own, by block and by row: it takes
// little more memory than a small one does, and far less than the file has bytes.
func TestSealTakesLittleMemory(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, write func(f *os.File) error) string {
		f, err := os.Create(filepath.Join(dir, name))
		if err == nil {
			err = errors.Join(write(f), f.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
		return f.Name()
	}
	rows := func(n int) func(f *os.File) error {
		return func(f *os.File) error {
			out := bufio.NewWriter(f)
			for i := range n {
				fmt.Fprintf(out, `{"id":%d,"text":"%0500d"}`+"\n", i, i)
			}
			return out.Flush()
		}
	}
	const size, most = 256 << 20, 64 << 10 // bytes of the sparse file; KiB more than for a small one
	for _, c := range []struct{ small, large string }{
		{file("small.bin", func(f *os.File) error { return f.Truncate(1 << 16) }), file("large.bin", func(f *os.File) error { return f.Truncate(size) })},
		{file("small.jsonl", rows(100)), file("large.jsonl", rows(150_000))},
	} {
		var took [2]int64
		for i, name := range []string{c.small, c.large} {
			cmd := exec.Command("pavise", "dataset", "seal", name, "-o", name+".seal")
			if text, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, text)
			}
			took[i] = cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss
			if runtime.GOOS == "darwin" {
				took[i] >>= 10 // which counts in bytes
			}
		}
		if took[1]-took[0] > most {
			t.Errorf("%s takes %d KiB, and %s %d", c.small, took[0], c.large, took[1])
		}
		t.Logf("%s takes %d KiB, and %s %d", filepath.Base(c.small), took[0], filepath.Base(c.large), took[1])
	}
}
