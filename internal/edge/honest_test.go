package edge_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise/internal/edgetest"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/tier"
)

// A sdkCaller is one who asks by somebody else's client.
type sdkCaller struct {
	by    visitor
	Token string      `json:"token"`
	Rows  [][]float64 `json:"rows"`
}

// TestHonestCallersBySDK has held-out honest callers, and one thief, ask by Triton's own
// client, over HTTP and gRPC, on a route that alters and marks what callers in amber get:
// each honest caller is told what the model says, to the last digit, and stays in green.
// PAVISE_TRITON names a Python that has the package tritonclient.
func TestHonestCallersBySDK(t *testing.T) {
	python := os.Getenv("PAVISE_TRITON")
	if python == "" {
		t.Skip("PAVISE_TRITON names no Python with the package tritonclient[http,grpc]")
	}
	w := watchedWorld(t, func(s *route.Spec) { s.Alterable, s.Mark = new(true), "0.005" })
	const honestOnes, rows = 24, 260
	var callers []sdkCaller
	for i := range honestOnes + 1 {
		c, next := sdkCaller{by: visit(t, w, fmt.Sprint("app-", i))}, honest(uint64(5000+i))
		if i == honestOnes {
			next = noise(5000)
		}
		c.Token = c.by.token
		for range rows {
			c.Rows = append(c.Rows, next())
		}
		callers = append(callers, c)
	}
	answers := askBySDK(t, python, w, callers)
	thief := callers[honestOnes]
	for deadline := time.Now().Add(20 * time.Second); w.Tiers.Of(edgetest.Model, thief.by.name) == tier.Green; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the thief among them is not found, so nothing was looked at")
		}
	}
	for i, c := range callers[:honestOnes] {
		if s, ok := w.Tiers.Get(edgetest.Model, c.by.name); ok {
			t.Errorf("honest caller %d is in %s: %s", i, s.Tier, s.Evidence.Evidence)
		}
		if len(answers[i]) != rows {
			t.Fatalf("honest caller %d got %d answers", i, len(answers[i]))
		}
		for n, got := range answers[i] {
			for k, want := range tableScores(c.Rows[n]) {
				if math.Abs(got[k]-want) > 0.00006 {
					t.Fatalf("honest caller %d, row %d: %v, and the model says %v", i, n, got, tableScores(c.Rows[n]))
				}
			}
		}
	}
}

// askBySDK has the callers ask, and returns what each was told, row by row.
func askBySDK(t *testing.T, python string, w *edgetest.World, callers []sdkCaller) map[int][][]float64 {
	t.Helper()
	text, err := json.Marshal(callers)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "callers.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python, "testdata/honest.py", w.Server.Listener.Addr().String(), path)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || !bytes.HasSuffix(out, []byte("done\n")) {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	answers := map[int][][]float64{}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan() && lines.Text() != "done"; {
		var line []json.RawMessage
		var i, from int
		var scores [][]float64
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil || len(line) != 3 {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		for n, into := range []any{&i, &from, &scores} {
			if err := json.Unmarshal(line[n], into); err != nil {
				t.Fatalf("%s: %v", lines.Text(), err)
			}
		}
		if from != len(answers[i]) {
			t.Fatalf("caller %d: an answer to row %d after %d rows", i, from, len(answers[i]))
		}
		answers[i] = append(answers[i], scores...)
	}
	return answers
}
