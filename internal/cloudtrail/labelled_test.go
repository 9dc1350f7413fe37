package cloudtrail_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/pavise/pavise/internal/cloudtrail"
)

// A labelled event is one of those by which rules of the panther-analysis project are tested.
type labelled struct {
	Type   string          `json:"log_type"`
	Rule   string          `json:"rule"`
	Expect bool            `json:"expect"` // the rule is to find it
	Log    json.RawMessage `json:"log"`
	at     time.Time
}

// TestLabelledEvents has a log file of real forms of events in a made-up trail. Whole it is verified.
// Whoever hides what a rule would find, by taking it away or by writing the harmless event of the
// same rule in its place, is found each time.
func TestLabelledEvents(t *testing.T) {
	dir := os.Getenv("PAVISE_DATA")
	if dir == "" {
		dir = "../../../shared/data"
	}
	packed, err := os.ReadFile(filepath.Join(dir, "panther", "cloud-audit-tests.jsonl.gz"))
	if err != nil {
		t.Skipf("no labelled events: %v; PAVISE_DATA names the directory", err)
	}
	var events []labelled
	lines := bufio.NewScanner(bytes.NewReader(unpack(t, packed)))
	for lines.Buffer(nil, 1<<20); lines.Scan(); {
		var e labelled
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		var when struct{ EventTime time.Time }
		if e.Type != "AWS.CloudTrail" || json.Unmarshal(e.Log, &when) != nil || when.EventTime.IsZero() {
			continue // of another product, or with a time that is blacked out
		}
		e.at = when.EventTime
		events = append(events, e)
	}
	if err := lines.Err(); err != nil || len(events) < 150 {
		t.Fatalf("%d events: %v", len(events), err)
	}
	slices.SortStableFunc(events, func(a, b labelled) int { return a.at.Compare(b.at) })
	file := func(events []labelled) []byte {
		var records []json.RawMessage
		for _, e := range events {
			records = append(records, e.Log)
		}
		text, err := json.Marshal(map[string]any{"Records": records})
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	whole := file(events)
	sum := sha256.Sum256(whole)
	a := newTrail(func(i int, d digestJSON) {
		if i == 1 {
			entry := d["logFiles"].([]any)[0].(map[string]any)
			entry["hashValue"] = hex.EncodeToString(sum[:])
			entry["oldestEventTime"], entry["newestEventTime"] = stamp(events[0].at.UTC()), stamp(events[len(events)-1].at.UTC().Add(time.Second))
		}
	}).keep()
	with := func(text []byte) *cloudtrail.Report {
		a.objects[logName(1, 0)] = pack(text)
		return verify(t, a.files("", ""), cloudtrail.Options{Keys: keys(t)})
	}
	if r := with(whole); r.Verdict != cloudtrail.Verified || len(r.Findings) != 0 {
		t.Fatalf("as they are: %+v", r)
	}
	hidden := 0
	for i, e := range events {
		if !e.Expect || i%3 != 0 { // a third of them, to be quick
			continue
		}
		changed := [][]labelled{slices.Delete(slices.Clone(events), i, i+1)}
		if k := slices.IndexFunc(events, func(o labelled) bool { return o.Rule == e.Rule && !o.Expect && !bytes.Equal(o.Log, e.Log) }); k >= 0 {
			instead := slices.Clone(events)
			instead[i] = events[k]
			changed = append(changed, instead)
		}
		for _, list := range changed {
			hidden++
			if r := with(file(list)); r.Verdict != cloudtrail.Broken || len(r.Findings) != 1 || r.Findings[0].Kind != cloudtrail.AlteredLog {
				t.Fatalf("%s is hidden: %+v", e.Rule, r)
			}
		}
	}
	t.Logf("%d events, of which %d were hidden in one way or the other", len(events), hidden)
	if hidden < 25 {
		t.Errorf("only %d were hidden", hidden)
	}
}
