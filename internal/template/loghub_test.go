package template_test

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pavise/pavise/internal/template"
)

// A corpus is real log lines, with the group that people put each into.
type corpus struct {
	name  string
	lines []string
	truth []string
}

// loghub reads the log corpora that are there.
func loghub(t testing.TB) []corpus {
	dir := os.Getenv("PAVISE_DATA")
	if dir == "" {
		dir = "../../../shared/data"
	}
	files, err := filepath.Glob(filepath.Join(dir, "loghub", "*_2k.log_structured.csv.gz"))
	if err != nil || len(files) == 0 {
		t.Skipf("no log corpora in %s: PAVISE_DATA names the directory", dir)
	}
	var all []corpus
	for _, file := range files {
		name, _, _ := strings.Cut(filepath.Base(file), "_")
		all = append(all, readCorpus(t, name, file))
	}
	return all
}

func readCorpus(t testing.TB, name, file string) corpus {
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	unpacked, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(unpacked).ReadAll()
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	content, event := slices.Index(rows[0], "Content"), slices.Index(rows[0], "EventId")
	c := corpus{name: name}
	for _, row := range rows[1:] {
		c.lines, c.truth = append(c.lines, row[content]), append(c.truth, row[event])
	}
	return c
}

// mine returns the cluster of each line.
func mine(lines []string, o template.Options) (ids []int, m *template.Miner) {
	m = template.New(o)
	for _, line := range lines {
		ids = append(ids, m.Add([]byte(line)))
	}
	return ids, m
}

// groupingAccuracy is the share of lines whose group has exactly the lines of one true group.
func groupingAccuracy(truth []string, found []int) float64 {
	type group struct {
		truth string
		n     int
		mixed bool
	}
	groups, sizes := map[int]*group{}, map[string]int{}
	for i, id := range found {
		sizes[truth[i]]++
		g := groups[id]
		if g == nil {
			g = &group{truth: truth[i]}
			groups[id] = g
		}
		g.n++
		g.mixed = g.mixed || g.truth != truth[i]
	}
	right := 0
	for _, g := range groups {
		if !g.mixed && g.n == sizes[g.truth] {
			right += g.n
		}
	}
	return float64(right) / float64(len(found))
}

// TestGroupingAccuracy holds what is found to the groups of people: without masking it is what
// Drain3 0.9.11 reaches, and masking makes it nowhere worse.
func TestGroupingAccuracy(t *testing.T) {
	drain3 := map[string]float64{ // the corpora that were known when this was written
		"Apache": 1, "BGL": 0.9685, "HDFS": 0.9975, "Linux": 0.684, "OpenSSH": 0.718, "OpenStack": 0.3095, "Spark": 0.9225, "Zookeeper": 0.9665,
	}
	for _, c := range loghub(t) {
		plain, _ := mine(c.lines, template.Options{Unmasked: true})
		masked, _ := mine(c.lines, template.Options{})
		was, is := groupingAccuracy(c.truth, plain), groupingAccuracy(c.truth, masked)
		t.Logf("%-10s unmasked %.4f, masked %.4f", c.name, was, is)
		if want, known := drain3[c.name]; known && was != want {
			t.Errorf("%s: %.4f without masking, and Drain3 has %.4f", c.name, was, want)
		}
		if is < was {
			t.Errorf("%s: %.4f with masking and %.4f without", c.name, is, was)
		}
	}
}

// TestDrain3 compares clusters with those of Drain3 itself, line by line, on real and on made-up
// lines.
func TestDrain3(t *testing.T) {
	python := os.Getenv("PAVISE_DRAIN3")
	if python == "" {
		t.Skip("PAVISE_DRAIN3 names no Python with drain3 in it")
	}
	all := []corpus{{name: "made up", lines: madeUp(4000)}}
	t.Run("with corpora", func(t *testing.T) { all = append(all, loghub(t)...) }) // the rest needs none
	for _, c := range all {
		ids, m := mine(c.lines, template.Options{Unmasked: true})
		templates := map[int]string{}
		for cluster := range m.Clusters() {
			templates[cluster.ID] = cluster.Template
		}
		for i, theirs := range drain3(t, python, c.lines) {
			if theirs.ID != ids[i] || theirs.Template != templates[ids[i]] {
				t.Fatalf("%s, line %d %q: cluster %d %q, and Drain3 says %d %q", c.name, i+1, c.lines[i], ids[i], templates[ids[i]], theirs.ID, theirs.Template)
			}
		}
	}
}

// askDrain3 prints the cluster of each line of a JSON list, and its template in the end.
const askDrain3 = `
import json, sys
from drain3.drain import Drain
drain = Drain()
found = [drain.add_log_message(line)[0] for line in json.load(sys.stdin)]
json.dump([{"id": c.cluster_id, "template": c.get_template()} for c in found], sys.stdout)
`

type theirCluster struct {
	ID       int    `json:"id"`
	Template string `json:"template"`
}

func drain3(t *testing.T, python string, lines []string) (all []theirCluster) {
	text, err := json.Marshal(lines)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python, "-c", askDrain3)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(text), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("Drain3: %v", err)
	}
	if err := json.Unmarshal(out, &all); err != nil || len(all) != len(lines) {
		t.Fatalf("Drain3 said %d clusters of %d lines: %v", len(all), len(lines), err)
	}
	return all
}

// madeUp makes lines that try the corners: many first words, empty lines, other spaces, digits
// beyond ASCII, wildcards that are there from the beginning.
func madeUp(n int) (lines []string) {
	seed := uint32(1)
	random := func(n int) int {
		seed = seed*1664525 + 1013904223
		return int(seed>>8) % n
	}
	words := []string{"user", "node7", "<*>", "٣", "naïve", "x=1", "failed", "at", "10.0.0.1", "done", "\u3000", "\x1c", ""}
	for range n {
		var line strings.Builder
		if random(2) == 0 {
			fmt.Fprintf(&line, "w%s ", strings.Repeat("q", random(150)))
		}
		for range random(7) {
			line.WriteString(words[random(len(words))] + " \t"[:1+random(2)])
		}
		lines = append(lines, line.String())
	}
	return lines
}
