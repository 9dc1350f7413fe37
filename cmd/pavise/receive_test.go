package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/gate"
	"github.com/pavise/pavise/internal/verbs"
)

// TestReceiveKilled kills pavise with SIGKILL while it fetches a log that grows and is put
// aside, as often as PAVISE_KILLS says: each line is admitted once, in order.
func TestReceiveKilled(t *testing.T) {
	kills := 2
	if s := os.Getenv("PAVISE_KILLS"); s != "" {
		kills, _ = strconv.Atoi(s)
	}
	dir, logs := filepath.Join(t.TempDir(), "data"), t.TempDir()
	settings, log := filepath.Join(logs, "pavise.yaml"), filepath.Join(logs, "app.log")
	if err := os.WriteFile(settings, []byte("up:\n  receive:\n    roots: ["+logs+"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var written strings.Builder
	add := func(lines int) {
		f, err := os.OpenFile(log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for i := range lines {
			line := fmt.Sprintf("line %d, of which there are some alike\n", i%7)
			written.WriteString(line)
			if _, err := io.WriteString(f, line); err != nil {
				t.Fatal(err)
			}
		}
	}
	add(10)
	p := start(t, dir, "--config", settings)
	app := pavise.Name{Tenant: "local", Kind: gate.KindSource, ID: "app"}
	if err := p.operator(t).Call(t.Context(), "ingest.put", gate.Spec{Source: app, Form: gate.FormLines}, nil); err != nil {
		t.Fatal(err)
	}
	if err := p.operator(t).Call(t.Context(), "ingest.receive", verbs.ReceiveRequest{Source: app, From: "file://" + log}, nil); err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(7, 70))
	for i := range kills {
		end := time.Now().Add(time.Duration(900+random.IntN(500)) * time.Millisecond)
		for time.Now().Before(end) {
			add(200)
			time.Sleep(time.Duration(random.IntN(60)) * time.Millisecond)
		}
		p.cmd.Process.Kill()
		p.cmd.Wait()
		if i%2 == 1 {
			if err := os.Rename(log, fmt.Sprintf("%s.%d", log, i)); err != nil {
				t.Fatal(err)
			}
			add(10)
		}
		p = start(t, dir, "--config", settings)
	}
	admitted := func() string {
		names, err := filepath.Glob(filepath.Join(dir, "admitted/local/app/*"))
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(names) // by position
		var all strings.Builder
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			all.Write(text)
		}
		return all.String()
	}
	for end := time.Now().Add(time.Minute); len(admitted()) < written.Len() && time.Now().Before(end); {
		time.Sleep(50 * time.Millisecond)
	}
	p.interrupt(t)
	if got := admitted(); got != written.String() {
		t.Errorf("%d bytes were admitted, and %d written", len(got), written.Len())
	}
}
