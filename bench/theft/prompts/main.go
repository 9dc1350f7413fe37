// Command prompts measures the rules on what language models are asked: how much of what
// means no harm they hold for an attack, how much of attacks they find, plain and in
// disguises, and what it costs.
//
// Sentences that sound like attacks and are none (benign.txt) and attacks (attacks.txt) are
// our own. Each is halved by a hash of its lines: rules were changed for what the first half
// showed, and for nothing that the second did. Who wrote the sentences knew the rules. Beside them stand texts that nobody wrote for it: all
// documents and sources in the modules that the bench module depends on.
//
// Run it from the bench directory:
//
//	go run ./theft/prompts [--half first|second] [--misses] [--write]
package main

import (
	"bufio"
	"context"
	_ "embed"
	"flag"
	"fmt"
	"hash/fnv"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/pavise/pavise/bench/result"
	"github.com/pavise/pavise/internal/anomaly"
	"github.com/pavise/pavise/internal/prompt"
)

//go:embed benign.txt
var benignText string

//go:embed attacks.txt
var attackText string

const (
	seed    = 1
	drawn   = 4         // disguises of each attack
	mostDoc = 256 << 20 // bytes of documents that are read
)

func main() { result.Main("theft/prompts", run) }

var (
	half   = flag.String("half", "", "first or second: only that one; nothing is written")
	misses = flag.Bool("misses", false, "show what was wrong of the first half")
	write  = flag.Bool("write", false, "put the result into "+result.File)
)

func run(ctx context.Context) error {
	flag.Parse()
	conditions := result.Observe(".")
	var b strings.Builder
	b.WriteString("## Prompts: what the rules hold for an attack\n\nMade by `cd bench && go run ./theft/prompts --write`.\n\n")
	overDefence(&b)
	if err := documents(ctx, &b); err != nil {
		return err
	}
	recall(&b)
	cost(&b)
	text := b.String() + "\n" + fmt.Sprint(conditions)
	fmt.Println(text)
	if *write && *half == "" {
		return result.Write(result.File, "prompts", text)
	}
	return nil
}

// A counted is how many texts met a rule, as a caller's and as a source's.
type counted struct{ all, met, alerted, refused, sourceAlerted, sourceRefused int }

var policy prompt.Policy

func (c *counted) look(text string) (worst prompt.Action, rules string) {
	worst, source := prompt.Off, prompt.Off
	var list []prompt.Told
	var anyhow []prompt.Told
	for _, f := range prompt.Look(text) {
		list = prompt.Add(list, policy.Judge(f, prompt.Caller, false, ""))
		anyhow = prompt.Add(anyhow, policy.Judge(f, prompt.Context, false, ""))
		rules += " " + f.Rule
		if f.Via != "" {
			rules += "(" + f.Via + ")"
		}
	}
	worst, source = prompt.Worst(list), prompt.Worst(anyhow)
	c.all++
	for _, n := range []struct {
		to *int
		is bool
	}{
		{&c.met, worst != prompt.Off}, {&c.alerted, worst == prompt.Alert || worst == prompt.Refuse}, {&c.refused, worst == prompt.Refuse},
		{&c.sourceAlerted, source == prompt.Alert || source == prompt.Refuse}, {&c.sourceRefused, source == prompt.Refuse},
	} {
		if n.is {
			*n.to++
		}
	}
	return worst, rules
}

// share is a part of a whole in hundredths, with its interval.
func share(n, of int) string {
	low, high := anomaly.ClopperPearson(n, of, 0.95)
	return fmt.Sprintf("%d (%.1f %%, %.1f–%.1f)", n, 100*float64(n)/float64(max(of, 1)), 100*low, 100*high)
}

func (c counted) cells() []string {
	return []string{strconv.Itoa(c.all), share(c.met, c.all), share(c.alerted, c.all), share(c.refused, c.all), share(c.sourceAlerted, c.all), share(c.sourceRefused, c.all)}
}

var heads = []string{"texts", "any rule", "alerted or refused", "refused", "of a tool: alerted or refused", "of a tool: refused"}

// halves are the two halves of a corpus, if both are wanted.
func halves() []string {
	if *half != "" {
		return []string{*half}
	}
	return []string{"first", "second"}
}

func halfOf(line string) string {
	h := fnv.New64a()
	h.Write([]byte(line))
	return []string{"first", "second"}[h.Sum64()>>20&1]
}

func overDefence(b *strings.Builder) {
	table := result.NewTable(append([]string{"half"}, heads...)...)
	for _, which := range halves() {
		var c counted
		for line := range lines(benignText) {
			if halfOf(line) != which {
				continue
			}
			worst, rules := c.look(plain(line))
			if *misses && which == "first" && worst != prompt.Off {
				fmt.Println("benign:", worst, rules, "|", line)
			}
		}
		table.Row(append([]string{which}, c.cells()...)...)
	}
	b.WriteString("Over-defence: sentences that sound like attacks and are none (`benign.txt`), each as a caller's message and as the result of a tool, with the defaults. In brackets the share and its interval of 95 % (Clopper-Pearson). Rules were changed for what the first half showed, and for nothing that the second did; who wrote both knew the rules.\n\n" + table.String() + "\n")
}

// documents are what nobody wrote to be looked at here.
func documents(ctx context.Context, b *strings.Builder) error {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "all").Output()
	if err != nil {
		return fmt.Errorf("list modules: %w", err)
	}
	kinds := map[string]*counted{".md": {}, ".go": {}, ".txt": {}, ".json": {}, ".yaml": {}}
	rules, read := map[string]int{}, 0
	scan := bufio.NewScanner(strings.NewReader(string(out)))
	for scan.Scan() && scan.Text() != "" {
		if strings.Contains(scan.Text(), "/bench") || !strings.Contains(scan.Text(), "@") {
			continue
		}
		err := filepath.WalkDir(scan.Text(), func(path string, d fs.DirEntry, err error) error {
			c := kinds[filepath.Ext(path)]
			if err != nil || c == nil || d.IsDir() || read > mostDoc {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil || len(text) > 256<<10 || !utf8.Valid(text) {
				return err
			}
			read += len(text)
			worst, found := c.look(string(text))
			if worst == prompt.Refuse || worst == prompt.Alert {
				for rule := range strings.FieldsSeq(found) {
					rules[rule]++
				}
				if *misses {
					fmt.Println("document:", worst, found, path)
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("read documents: %w", err)
		}
	}
	table := result.NewTable(append([]string{"files"}, heads...)...)
	for _, kind := range []string{".md", ".txt", ".go", ".json", ".yaml"} {
		table.Row(append([]string{"`" + kind + "`"}, kinds[kind].cells()...)...)
	}
	fmt.Fprintf(b, "Documents and sources of the modules that the bench module depends on, as prompts, each file one (%d MB):\n\n%s\n", read>>20, table)
	var names []string
	for rule, n := range rules {
		names = append(names, fmt.Sprintf("%s %d", rule, n))
	}
	slices.Sort(names)
	fmt.Fprintf(b, "Rules that those met which a caller's alert or refusal names: %s.\n\n", strings.Join(names, ", "))
	return nil
}

// recall looks at attacks, plain and in disguises.
func recall(b *strings.Builder) {
	for _, which := range halves() {
		families, disguised := map[string]*counted{}, map[string]*counted{}
		var order []string
		all, allDisguised := counted{}, counted{}
		for line := range lines(attackText) {
			if halfOf(line) != which {
				continue
			}
			family, text, _ := strings.Cut(line, "\t")
			if families[family] == nil {
				families[family] = &counted{}
				order = append(order, family)
			}
			text = plain(text)
			worst, rules := families[family].look(text)
			all.look(text)
			if *misses && which == "first" && worst != prompt.Refuse && worst != prompt.Alert {
				fmt.Println("attack:", worst, rules, "|", line)
			}
			if family == "template" || family == "encoded" || family == "invisible" || family == "manyshot" || strings.HasPrefix(text, "book book") {
				continue // they are their own disguise
			}
			rng := rand.New(rand.NewPCG(seed, uint64(len(text))))
			for _, i := range rng.Perm(len(disguises))[:drawn] {
				d := disguises[i]
				if disguised[d.name] == nil {
					disguised[d.name] = &counted{}
				}
				hidden := d.of(rng, text)
				worst, rules := disguised[d.name].look(hidden)
				allDisguised.look(hidden)
				if plainly, _ := (&counted{}).look(text); *misses && which == "first" && plainly == prompt.Alert && worst != prompt.Refuse && worst != prompt.Alert {
					fmt.Println("disguise:", d.name, worst, rules, "|", hidden[:min(len(hidden), 200)])
				}
			}
		}
		table := result.NewTable(append([]string{"family"}, heads...)...)
		for _, family := range order {
			table.Row(append([]string{family}, families[family].cells()...)...)
		}
		table.Row(append([]string{"all"}, all.cells()...)...)
		fmt.Fprintf(b, "Attacks of the %s half, plain:\n\n%s\n", which, table)
		table = result.NewTable(append([]string{"disguise"}, heads...)...)
		for _, d := range disguises {
			if c := disguised[d.name]; c != nil {
				table.Row(append([]string{d.name}, c.cells()...)...)
			}
		}
		table.Row(append([]string{"all"}, allDisguised.cells()...)...)
		fmt.Fprintf(b, "Attacks in words of the %s half, each in %d disguises that are drawn:\n\n%s\n", which, drawn, table)
	}
}

// cost is the processor time that looking takes.
func cost(b *strings.Builder) {
	var prose strings.Builder
	for line := range lines(benignText) {
		prose.WriteString(plain(line) + "\n")
	}
	table := result.NewTable("text", "processor time for each KiB")
	for _, t := range []struct{ name, text string }{
		{"the benign sentences", prose.String()}, {"their first 2 KiB", prose.String()[:2048]}, {"letters that stand alone", strings.Repeat("a b ", 16<<10)}, {"words of rules that run together", strings.Repeat("inst", 16<<10)},
		{"percent signs", strings.Repeat("%41", 20<<10)}, {"marks", strings.Repeat("e\u0301", 20<<10)},
	} {
		best := int64(1 << 62)
		for range 5 {
			n := max(1, 1<<20/len(t.text))
			began := processor()
			for range n {
				prompt.Look(t.text)
			}
			best = min(best, (processor()-began)/int64(n))
		}
		table.Row(t.name, fmt.Sprintf("%.1f µs", float64(best)/1000/(float64(len(t.text))/1024)))
	}
	b.WriteString("What looking costs, the best of five:\n\n" + table.String())
}

func processor() int64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return u.Utime.Nano() + u.Stime.Nano()
}

func lines(text string) func(func(string) bool) {
	return strings.SplitSeq(strings.TrimSpace(text), "\n")
}

// plain is a line with its escapes as what they stand for: \n, \uXXXX, \UXXXXXXXX and \\.
func plain(line string) string {
	var b strings.Builder
	for i := 0; i < len(line); i++ {
		if line[i] != '\\' || i+1 == len(line) {
			b.WriteByte(line[i])
			continue
		}
		size := map[byte]int{'u': 4, 'U': 8}[line[i+1]]
		switch {
		case line[i+1] == 'n':
			b.WriteByte('\n')
		case size > 0 && i+2+size <= len(line):
			r, err := strconv.ParseUint(line[i+2:i+2+size], 16, 32)
			if err == nil {
				b.WriteRune(rune(r))
			}
			i += size
		default:
			b.WriteByte(line[i+1])
		}
		i++
	}
	return b.String()
}
