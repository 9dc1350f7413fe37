package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/crypto/ssh/agent"

	"github.com/pavise/pavise/internal/audit"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/porttest"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/witness"
)

// TestLitewitness has a witness that is none of our code cosign our log, and again
// once it has grown. PAVISE_LITEWITNESS names the directory of the programs
// litewitness and witnessctl (filippo.io/torchwood).
func TestLitewitness(t *testing.T) {
	bin := os.Getenv("PAVISE_LITEWITNESS")
	if bin == "" {
		t.Skip("PAVISE_LITEWITNESS names no directory with litewitness and witnessctl")
	}
	log, err := ledger.Open(signedTwice(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	policy, err := proof.ParsePolicy(litewitness(t, bin, log.Keys()[0]))
	if err != nil {
		t.Fatal(err)
	}
	quorum, err := witness.NewQuorum(log, policy, time.Now, nil)
	if err != nil {
		t.Fatal(err)
	}
	go quorum.Run(t.Context())
	l := newLoad(16)
	for _, size := range []uint64{1, 700} {
		for i := log.Size(); i < size; i++ {
			if _, err := log.Append(t.Context(), l.records[i%16], ledger.Durable); err != nil {
				t.Fatal(err)
			}
		}
		wait, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if err := quorum.Await(wait, size-1); err != nil {
			statuses, _, _ := quorum.Status()
			t.Fatalf("%v: %+v", err, statuses)
		}
	}
	file, err := log.ProofFile(500)
	if err != nil {
		t.Fatal(err)
	}
	report, err := audit.VerifyProof(file, audit.Options{Key: log.Keys()[0].String(), Policy: policy})
	if err != nil || report.Conclusion != audit.ProvedWitnessed {
		t.Errorf("%+v, %v", report, err)
	}
}

// litewitness runs the witness until the test ends, and returns a policy that asks for
// its word.
func litewitness(t *testing.T, bin string, logKey *proof.Key) []byte {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	const name = "lite.example/witness"
	cosigner, err := proof.NewCosigner(name, private) // for the spelling of its key alone
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	fingerprint := sshAgent(t, filepath.Join(dir, "agent"), private)
	db, address := filepath.Join(dir, "db"), porttest.Address()
	for _, args := range [][]string{
		{"add-log", "-db", db, "-origin", logKey.Name()},
		{"add-key", "-db", db, "-origin", logKey.Name(), "-key", logKey.String()},
	} {
		if out, err := exec.Command(filepath.Join(bin, "witnessctl"), args...).CombinedOutput(); err != nil {
			t.Fatalf("witnessctl %v: %v: %s", args, err, out)
		}
	}
	cmd := exec.Command(filepath.Join(bin, "litewitness"), "-db", db, "-name", name,
		"-ssh-agent", filepath.Join(dir, "agent"), "-key", fingerprint, "-listen", address)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return fmt.Appendf(nil, "witness lite %s http://%s\nquorum lite\n", cosigner.Key(), address)
}

// sshAgent serves an agent with one key, which is how litewitness gets its own, and
// returns the key's fingerprint.
func sshAgent(t *testing.T, path string, private ed25519.PrivateKey) string {
	t.Helper()
	keys := agent.NewKeyring()
	if err := keys.Add(agent.AddedKey{PrivateKey: private}); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go agent.ServeAgent(keys, conn)
		}
	}()
	sum := sha256.Sum256(private.Public().(ed25519.PublicKey))
	return hex.EncodeToString(sum[:])
}
