package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/pavise/pavise/bench/result"
	"github.com/pavise/pavise/internal/contract"
	"github.com/pavise/pavise/internal/ingest"
	"github.com/pavise/pavise/internal/table"
	"github.com/pavise/pavise/internal/template"
)

const aboutRate = `## Log files under a contract, with templates

Made by ` + "`cd bench && go run ./ingest --only rate --write`" + `. Each corpus of loghub, again and again up to 100,000
lines, is written to a file: as it is, and as JSONL with a time, a host and the line. Speed is lines for a second of
processor time, from the file on: "templates" is what ` + "`pavise ingest templates`" + ` does, "contract" what
` + "`pavise ingest check`" + ` does with the contract that ` + "`pavise ingest draft`" + ` drafts of it, and "both" is one pass that
holds every row to the contract and finds its template.

`

const rateLines = 100_000

// rates measures how fast files of log lines are looked at.
func rates(ctx context.Context, corpora []corpus, rounds int) (string, error) {
	runtime.GOMAXPROCS(1)
	dir, err := os.MkdirTemp("", "rate")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	rows := result.NewTable("corpus", "templates, lines/s", "contract, lines/s", "both, lines/s")
	least := 0.0
	for _, c := range corpora {
		plain, objects := filepath.Join(dir, c.name+".log"), filepath.Join(dir, c.name+".jsonl")
		if err := writeLog(c, plain, objects); err != nil {
			return "", err
		}
		promised, err := draft(objects)
		if err != nil {
			return "", err
		}
		var speeds [3][]float64
		for range rounds {
			for i, batch := range []func() (int, error){
				func() (int, error) { return mined(ctx, plain) },
				func() (int, error) { return held(objects, promised, nil) },
				func() (int, error) { return held(objects, promised, template.New(template.Options{})) },
			} {
				cost, err := result.Measure(time.Nanosecond, batch)
				if err != nil {
					return "", fmt.Errorf("%s: %w", c.name, err)
				}
				speeds[i] = append(speeds[i], 1e9/cost.CPU)
			}
		}
		both := result.Median(speeds[2])
		if least == 0 || both < least {
			least = both
		}
		rows.Row(c.name, fmt.Sprintf("%.0f", result.Median(speeds[0])), fmt.Sprintf("%.0f", result.Median(speeds[1])), fmt.Sprintf("%.0f", both))
	}
	return aboutRate + rows.String() + fmt.Sprintf("\nWith both, the slowest corpus goes by at %.0f lines a second of one core.\n", least), nil
}

// writeLog writes the two files of a corpus.
func writeLog(c corpus, plain, objects string) error {
	for path, spell := range map[string]func(n int, line string) ([]byte, error){
		plain: func(_ int, line string) ([]byte, error) { return []byte(line), nil },
		objects: func(n int, line string) ([]byte, error) {
			return json.Marshal(map[string]any{"time": time.Unix(1_700_000_000+int64(n), 0).UTC().Format(time.RFC3339), "host": fmt.Sprintf("node-%d", n%40), "message": line})
		},
	} {
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		out := bufio.NewWriter(f)
		for n := range rateLines {
			row, err := spell(n, c.lines[n%len(c.lines)])
			if err != nil {
				return err
			}
			out.Write(append(row, '\n')) // the error stays until Flush
		}
		if err := out.Flush(); err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

// draft drafts the contract of a file.
func draft(path string) (*contract.Schema, error) {
	f, err := table.Open(path, table.Options{})
	if err != nil {
		return nil, err
	}
	defer f.Close()
	c, err := contract.Infer("rows", f)
	if err != nil {
		return nil, err
	}
	return &c.Schema[0], nil
}

// mined finds the templates of a file.
func mined(ctx context.Context, path string) (int, error) {
	m, err := (&ingest.Templates{File: path, Masking: "values", Clusters: 50_000}).Run(ctx)
	if err != nil {
		return 0, err
	}
	m.Close()
	return m.Lines, nil
}

// held holds the rows of a file to a contract, and finds the templates of their messages.
func held(path string, promised *contract.Schema, miner *template.Miner) (int, error) {
	checker, err := contract.NewChecker(promised)
	if err != nil {
		return 0, err
	}
	f, err := table.Open(path, table.Options{})
	if err != nil {
		return 0, err
	}
	defer f.Close()
	checker.Typed()
	checker.Columns(f.Columns())
	n, message := 0, -1
	for j, name := range f.Columns() {
		if name == "message" {
			message = j
		}
	}
	for row, err := range f.Rows() {
		if err != nil {
			return n, err
		}
		if n++; !checker.Row(row) {
			return n, fmt.Errorf("row %d breaks the contract that was drafted of it", n)
		}
		if miner != nil {
			miner.Add(row.Cell(message).Text)
		}
	}
	return n, nil
}
