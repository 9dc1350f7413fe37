package main

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/installation"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/role"
)

// TestStoppedLogIsTold stops the log under a working up: whoever started it is told
// why at once and once, and so is everybody who asks.
func TestStoppedLogIsTold(t *testing.T) {
	dir := installation.Data(t.TempDir())
	told := make(chan string, 8)
	u := openUp(t, role.UpConfig{Data: dir, Say: func(word string, err error) { told <- word + ": " + err.Error() }})
	if _, err := u.Greet(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- u.Run(ctx) }()
	u.Rooms().Log.Halt(&pavise.Error{Kind: pavise.Unverified, Msg: "it has two histories", Hint: "restore the newest backup"})
	if got := <-told; !strings.HasPrefix(got, "error: the evidence log has stopped: it has two histories") {
		t.Errorf("told %q", got)
	}
	t.Setenv("PAVISE_DATA_DIR", string(dir))
	code, _, stderr := pavised(t, "ledger", "status")
	want := "pavise: error: ledger.status cannot be recorded: the evidence log has stopped: it has two histories\npavise: hint: restore the newest backup\n"
	if code != 8 || stderr != want {
		t.Errorf("exit code %d, %q", code, stderr)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if pavise.KindOf(u.Close()) != pavise.Unavailable || len(told) > 0 {
		t.Errorf("%d more are told", len(told))
	}
}

// TestGreetingNamesWitnesses starts with a witness that is away, and an archive: both
// are in the greeting, and that there is no word from the witness is said.
func TestGreetingNamesWitnesses(t *testing.T) {
	key, err := proof.NewCosigner("witness.example/1", ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	policy := filepath.Join(t.TempDir(), "policy")
	text := fmt.Sprintf("witness away %s http://127.0.0.1:1\nquorum away\n", key.Key())
	if err := os.WriteFile(policy, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	archive := t.TempDir()
	p := start(t, t.TempDir(), "--witnesses", policy, "--archive", archive)
	if len(p.Witnesses) != 1 || p.Witnesses[0] != "away" || !strings.HasSuffix(p.Archive, archive) {
		t.Errorf("witnesses %q, archive %q", p.Witnesses, p.Archive)
	}
	if got := around(p.Greeting); !strings.Contains(got, "  witness  away: ") || !strings.Contains(got, "  archive  ") {
		t.Errorf("greeting %q", got)
	}
	p.interrupt(t)
	if got := p.errs.String(); strings.Count(got, `"message":"no word from away (no answer from the witness at http://127.0.0.1:1`) != 1 || !strings.HasPrefix(got, `{"hint":`) {
		t.Errorf("stderr %q", got)
	}
}
