// Command ingest measures what looks at logs: how fast templates are found, beside Drain3 on
// the same lines, and how well they group them; and which misconfigured pods are found among
// their siblings, and how many healthy ones are taken for such; and what it costs to bring
// lines through the gate, which takes no corpora.
//
// Run it from the bench directory; log corpora are looked for in $PAVISE_DATA or
// ../../shared/data. $PAVISE_DRAIN3 names a Python that has drain3, without which the peer is
// left out:
//
//	go run ./ingest [--only templates] [--trials 20] [--lines 1000000] [--batch 5000] [--write]
package main

import (
	"compress/gzip"
	"context"
	"encoding/csv"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pavise/pavise/bench/result"
)

func main() { result.Main("ingest", run) }

func run(ctx context.Context) error {
	only := flag.String("only", "", "templates, cohort or gate")
	write := flag.Bool("write", false, "put the results into "+result.File)
	trials := flag.Int("trials", 20, "trials of each service and fault")
	rounds := flag.Int("rounds", 5, "rounds of the speed of templates and of the gate")
	lines := flag.Int("lines", 1_000_000, "lines of each round through the gate")
	batch := flag.Int("batch", 5_000, "lines of one batch")
	flag.Parse()
	var corpora []corpus
	if *only != "gate" {
		var err error
		if corpora, err = loghub(); err != nil {
			return err
		}
	}
	for _, part := range []struct {
		name    string
		measure func() (string, error)
	}{
		{"templates", func() (string, error) { return templates(ctx, corpora, *rounds) }},
		{"cohort", func() (string, error) { return cohorts(corpora, *trials) }},
		{"gate", func() (string, error) { return gates(ctx, *lines, *batch, *rounds) }},
	} {
		if *only != "" && *only != part.name {
			continue
		}
		conditions := result.Observe(".")
		text, err := part.measure()
		if err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
		text += "\n" + conditions.String()
		fmt.Println(text)
		if *write {
			if err := result.Write(result.File, "ingest-"+part.name, text); err != nil {
				return err
			}
		}
	}
	return nil
}

// A corpus is real log lines, with the group that people put each into.
type corpus struct {
	name  string
	lines []string
	truth []string
}

// loghub reads the log corpora that are there.
func loghub() (all []corpus, err error) {
	dir := os.Getenv("PAVISE_DATA")
	if dir == "" {
		dir = "../../shared/data"
	}
	files, err := filepath.Glob(filepath.Join(dir, "loghub", "*_2k.log_structured.csv.gz"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("no log corpora in %s/loghub: PAVISE_DATA names the directory", dir)
	}
	for _, file := range files {
		c, err := readCorpus(file)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		all = append(all, c)
	}
	return all, nil
}

func readCorpus(file string) (c corpus, err error) {
	f, err := os.Open(file)
	if err != nil {
		return c, err
	}
	defer f.Close()
	unpacked, err := gzip.NewReader(f)
	if err != nil {
		return c, err
	}
	rows, err := csv.NewReader(unpacked).ReadAll()
	if err != nil {
		return c, err
	}
	c.name, _, _ = strings.Cut(filepath.Base(file), "_")
	content, event := slices.Index(rows[0], "Content"), slices.Index(rows[0], "EventId")
	for _, row := range rows[1:] {
		c.lines, c.truth = append(c.lines, row[content]), append(c.truth, row[event])
	}
	return c, nil
}
