// Command dataset measures what it costs to seal a dataset, by row and by block, beside what
// openssl takes to hash it, and what it costs to hold it to its seal. Each round runs all of
// them in turn, as processes of their own; what is compared is the processor time that they
// spent in user mode, which other load disturbs less than the time that passes.
//
// Run it from the bench directory:
//
//	go run ./dataset [--rows 1500000] [--rounds 5] [--write]
//	go run ./dataset --gigabytes 10 [--write]
package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pavise/pavise/bench/result"
)

func main() { result.Main("dataset", run) }

// seed is of the rows.
const seed = 20261127

func run(ctx context.Context) error {
	rows := flag.Int("rows", 1_500_000, "rows of each file, of some 300 bytes, and half of those of the one with rows of 131")
	rounds := flag.Int("rounds", 5, "how often each is measured; the medians count")
	gigabytes := flag.Int("gigabytes", 0, "instead of all that, one file of so many, and the memory that it takes")
	write := flag.Bool("write", false, "put the result into "+result.File)
	flag.Parse()
	work, err := os.MkdirTemp("", "bench-dataset-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	conditions := result.Observe(work)
	b := &bench{work: work, pavise: filepath.Join(work, "pavise"), took: map[string][]cost{}}
	if *gigabytes > 0 {
		text, err := b.large(ctx, *gigabytes)
		if err != nil {
			return err
		}
		return keep("dataset-large", text+conditions.String(), *write)
	}
	if err := b.prepare(ctx, *rows); err != nil {
		return err
	}
	for round := range *rounds {
		fmt.Fprintf(os.Stderr, "round %d of %d\n", round+1, *rounds)
		if err := b.round(ctx); err != nil {
			return err
		}
	}
	text := fmt.Sprintf("## Sealing a dataset\n\nMade by `cd bench && go run ./dataset --rows %d --rounds %d --write`: %.0f MB in %d rows, and %.0f MB in %d short ones, of %d bytes each.\n\n%s\n%s",
		*rows, *rounds, float64(b.size)/1e6, *rows, float64(2**rows*shortRow)/1e6, 2**rows, shortRow, b, conditions)
	return keep("dataset", text, *write)
}

// keep prints a section, and writes it where results are kept if it is to.
func keep(section, text string, write bool) error {
	fmt.Println(text)
	if !write {
		return nil
	}
	return result.Write(result.File, section, text)
}

// A cost is what one process took.
type cost struct {
	user, system, wall float64 // seconds
	memory             float64 // MiB at most
}

// A bench measures.
type bench struct {
	work, pavise string
	size         int64 // of the JSONL
	took         map[string][]cost
}

// acts are what is measured, in the order of a round: a name, a command line, and by its name
// what openssl takes for the same file.
var acts = []struct{ name, command, peer string }{
	{long, "openssl dgst -sha256 rows.jsonl", long},
	{"by block", "pavise dataset seal rows.jsonl --format blocks -o blocks.seal", long},
	{"JSONL by row", "pavise dataset seal rows.jsonl -o jsonl.seal", long},
	{"CSV by row", "pavise dataset seal rows.csv -o csv.seal", long},
	{"verify, by row", "pavise dataset verify rows.jsonl --seal jsonl.seal", long},
	{"verify --fast", "pavise dataset verify rows.jsonl --seal jsonl.seal --fast", long},
	{"prove a row absent", "pavise dataset prove jsonl.seal --content absent -o proof", long},
	{short, "openssl dgst -sha256 short.csv", short},
	{"CSV of short rows", "pavise dataset seal short.csv -o short.seal", short},
	{"verify, of short rows", "pavise dataset verify short.csv --seal short.seal", short},
}

// What openssl takes for a file.
const (
	long  = "openssl dgst -sha256"
	short = "openssl dgst -sha256, of short rows"
)

// prepare builds the program and draws the rows.
func (b *bench) prepare(ctx context.Context, rows int) error {
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", b.pavise, "./cmd/pavise")
	build.Dir = ".."
	if text, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, text)
	}
	if err := os.WriteFile(filepath.Join(b.work, "absent"), []byte("nobody wrote this\n"), 0o644); err != nil {
		return err
	}
	lines, err := os.Create(filepath.Join(b.work, "rows.jsonl"))
	if err != nil {
		return err
	}
	records, err := os.Create(filepath.Join(b.work, "rows.csv"))
	if err != nil {
		return err
	}
	few, err := os.Create(filepath.Join(b.work, "short.csv"))
	if err != nil {
		return err
	}
	err = errors.Join(draw(lines, records, rows), drawShort(few, 2*rows), few.Close())
	if info, fault := lines.Stat(); fault == nil {
		b.size = info.Size()
	}
	return errors.Join(err, lines.Close(), records.Close())
}

// letters are what rows say.
var letters = strings.Repeat("the quick brown fox jumps over the lazy dog while somebody counts rows of a table, ", 5)

// draw writes the same rows in both forms.
func draw(lines, records io.Writer, rows int) error {
	jsonl, csv := bufio.NewWriterSize(lines, 1<<20), bufio.NewWriterSize(records, 1<<20)
	random := rand.New(rand.NewPCG(seed, 1))
	text := letters
	fmt.Fprintln(csv, "id,user,score,text")
	for i := range rows {
		user, score, said := random.IntN(1_000_000), random.Float64(), text[random.IntN(80):]
		said = said[:170+random.IntN(120)]
		fmt.Fprintf(jsonl, `{"id":%d,"user":"user-%d","score":%.6f,"text":"%s"}`+"\n", i, user, score, said)
		fmt.Fprintf(csv, "%d,user-%d,%.6f,\"%s\"\n", i, user, score, said)
	}
	return errors.Join(jsonl.Flush(), csv.Flush())
}

// drawShort writes so many rows of 131 bytes, most of them numbers, as of a table of connections.
func drawShort(to io.Writer, rows int) error {
	out := bufio.NewWriterSize(to, 1<<20)
	random := rand.New(rand.NewPCG(seed, 2))
	for i := range rows {
		row := fmt.Appendf(nil, "%d,tcp,http,SF,%d,%d", i, random.IntN(10_000), random.IntN(100_000))
		for range 20 {
			row = fmt.Appendf(row, ",%.2f", random.Float64())
		}
		for len(row) < shortRow-len("\n") {
			row = append(row, '0')
		}
		if _, err := out.Write(append(row, '\n')); err != nil {
			return err
		}
	}
	return out.Flush()
}

// shortRow is how many bytes a short row has, with its end.
const shortRow = 131

// round measures each act once. The seals of the round before are taken away.
func (b *bench) round(ctx context.Context) error {
	for _, old := range []string{"*.seal", "*.seal.rows", "proof"} {
		names, err := filepath.Glob(filepath.Join(b.work, old))
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := os.Remove(name); err != nil {
				return err
			}
		}
	}
	for _, act := range acts {
		took, err := b.act(ctx, act.command, strings.Fields(act.command))
		if err != nil {
			return err
		}
		b.took[act.name] = append(b.took[act.name], took)
	}
	return nil
}

// act runs one command, and says what it took.
func (b *bench) act(ctx context.Context, name string, words []string) (took cost, err error) {
	if words[0] == "pavise" {
		words[0] = b.pavise
	}
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Dir = b.work
	began := time.Now()
	if text, err := cmd.CombinedOutput(); err != nil {
		return took, fmt.Errorf("%s: %w\n%s", name, err, text)
	}
	took = cost{user: cmd.ProcessState.UserTime().Seconds(), system: cmd.ProcessState.SystemTime().Seconds(), wall: time.Since(began).Seconds()}
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		took.memory = float64(usage.Maxrss) / 1024 // Linux says KiB
	}
	return took, nil
}

// String is the table of medians.
func (b *bench) String() string {
	of := func(name string, part func(cost) float64) float64 {
		var values []float64
		for _, c := range b.took[name] {
			values = append(values, part(c))
		}
		slices.SortFunc(values, cmp.Compare[float64])
		return result.Quantile(values, 0.5)
	}
	user := func(c cost) float64 { return c.user }
	var t strings.Builder
	t.WriteString("| | user CPU, s | of openssl | system CPU, s | time passed, s | memory, MiB |\n|---|---|---|---|---|---|\n")
	for _, act := range acts {
		u, peer := of(act.name, user), of(act.peer, user)
		fmt.Fprintf(&t, "| %s | %.2f | %.2f× | %.2f | %.1f | %.0f |\n", act.name, u, u/peer,
			of(act.name, func(c cost) float64 { return c.system }), of(act.name, func(c cost) float64 { return c.wall }), of(act.name, func(c cost) float64 { return c.memory }))
	}
	t.WriteString("\nGoals: by block ≤ 1.1×, by row ≤ 3×. The program's own start, some 0.04 s, is in all of them.\n")
	return t.String()
}
