package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/pavise/pavise/bench/result"
)

// large seals one file of so many GB, by row and by block, and holds it to its seals: what counts is
// how much memory that takes.
func (b *bench) large(ctx context.Context, gigabytes int) (string, error) {
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", b.pavise, "./cmd/pavise")
	build.Dir = ".."
	if text, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, text)
	}
	rows, err := b.pour(int64(gigabytes) * 1e9)
	if err != nil {
		return "", err
	}
	t := result.NewTable("", "user CPU, s", "system CPU, s", "time passed, s", "memory, MiB")
	most := 0.0
	for _, act := range []struct{ name, command string }{
		{"by block", "pavise dataset seal rows.jsonl --format blocks -o blocks.seal"},
		{"verify, by block", "pavise dataset verify rows.jsonl --seal blocks.seal"},
		{"JSONL by row", "pavise dataset seal rows.jsonl -o jsonl.seal"},
		{"verify, by row", "pavise dataset verify rows.jsonl --seal jsonl.seal"},
		{"prove a row absent", "pavise dataset prove jsonl.seal --content absent -o proof"},
	} {
		took, err := b.act(ctx, act.name, strings.Fields(act.command))
		if err != nil {
			return "", err
		}
		most = max(most, took.memory)
		t.Row(act.name, fmt.Sprintf("%.1f", took.user), fmt.Sprintf("%.1f", took.system), fmt.Sprintf("%.1f", took.wall), fmt.Sprintf("%.0f", took.memory))
	}
	text := fmt.Sprintf("## Sealing a large file\n\nMade by `cd bench && go run ./dataset --gigabytes %d --write`: one file of %.1f GB in %d rows.\n\n%s\n", gigabytes, float64(b.size)/1e9, rows, t)
	return text + fmt.Sprintf("The goal is memory that does not grow with the file: the most is %.0f MiB.\n\n", most), nil
}

// pour writes a file of so many bytes at least, in rows like those of draw, and returns how many.
func (b *bench) pour(size int64) (rows int, err error) {
	if err := os.WriteFile(filepath.Join(b.work, "absent"), []byte("nobody wrote this\n"), 0o644); err != nil {
		return 0, err
	}
	file, err := os.Create(filepath.Join(b.work, "rows.jsonl"))
	if err != nil {
		return 0, err
	}
	defer file.Close()
	out := bufio.NewWriterSize(file, 1<<20)
	for ; b.size < size; rows++ {
		n, err := fmt.Fprintf(out, `{"id":%d,"user":"user-%d","text":"%s"}`+"\n", rows, rows*7919%1_000_003, letters[:200+rows%100])
		if err != nil {
			return 0, err
		}
		b.size += int64(n)
	}
	if err := out.Flush(); err != nil {
		return 0, err
	}
	return rows, file.Close()
}
