package gate

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestLabelledEventsPass has audit events of clouds and of providers of models, as the tests of
// the panther-analysis project have them, pass the gate. One by one they are admitted byte for byte, but
// for three in which a key stands twice. Those of one product together are held only for that, or where they spell a
// column in two cases, as people do who write such events by hand.
func TestLabelledEventsPass(t *testing.T) {
	byProduct := labelledEvents(t)
	w := newWorld(t)
	w.put(t, Spec{Form: FormNDJSON})
	why := func(r Receipt) string { return strings.Join(r.Reasons, "; ") }
	bodies, twice := map[string]bool{}, 0
	for _, product := range []string{"GCP.AuditLog", "OpenAI.Audit", "Anthropic.Activity"} {
		for _, log := range byProduct[product] {
			switch r := w.push(t, "", log+"\n"); {
			case r.Verdict == Held && strings.Contains(why(r), `key "callerIp" appears twice`):
				twice++
			case r.Verdict == Held:
				t.Errorf("%s: %s is held: %s", product, log, why(r))
			default:
				bodies[log+"\n"] = true
			}
		}
	}
	for _, body := range w.output(t) {
		delete(bodies, body)
	}
	if len(bodies) > 0 || twice != 3 {
		t.Errorf("%d events did not come out as they went in; in %d a key stands twice", len(bodies), twice)
	}
	rows, apart := 0, 0
	for product, logs := range byProduct {
		rows += len(logs)
		if r := w.push(t, "", strings.Join(logs, "\n")); r.Verdict == Held {
			apart++
			for _, reason := range r.Reasons {
				if !strings.Contains(reason, "differ by case alone") && !strings.Contains(reason, "appears twice") {
					t.Errorf("%s together: %s", product, reason)
				}
			}
		}
	}
	if rows < 800 || len(byProduct) < 12 || apart != 5 {
		t.Errorf("%d events of %d products, of which %d are held together", rows, len(byProduct), apart)
	}
}

// labelledEvents are the events by product.
func labelledEvents(t *testing.T) map[string][]string {
	dir := os.Getenv("PAVISE_DATA")
	if dir == "" {
		dir = "../../../shared/data"
	}
	packed, err := os.Open(filepath.Join(dir, "panther", "cloud-audit-tests.jsonl.gz"))
	if err != nil {
		t.Skipf("no labelled events: %v; PAVISE_DATA names the directory", err)
	}
	defer packed.Close()
	unpacked, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(unpacked)
	if err != nil {
		t.Fatal(err)
	}
	events := map[string][]string{}
	for line := range bytes.Lines(text) {
		var e struct {
			Product string          `json:"log_type"`
			Log     json.RawMessage `json:"log"`
		}
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatal(err)
		}
		events[e.Product] = append(events[e.Product], string(e.Log))
	}
	return events
}
