package ingest

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/figure"
	"github.com/pavise/pavise/internal/template"
)

// Templates finds the templates of one log. Its fields are flags of the command line.
type Templates struct {
	Say  func(text string) `kong:"-"` // gets a line of progress now and then; nil: nobody watches
	Each bool              `kong:"-"` // keep which template each line has, for WriteLines

	File     string `arg:"" help:"The log: a file of lines, plain or in gzip; - is standard input."`
	Masking  string `help:"values: addresses, numbers and identifiers are <*> before lines are compared; none: as they are, as Drain3 has it." default:"values" enum:"values,none"`
	Clusters int    `help:"Templates that are held in memory, at most; those not seen for longest give way." default:"50000"`
	Top      int    `help:"Templates that are shown, the most frequent first." default:"30"`
}

// Help is the text behind the command's flags.
func (*Templates) Help() string {
	return `Says what a log is made of: the templates of its lines, which is the text that a
program prints again and again, with <*> where it varies (Drain, He et al. 2017).

With --json it prints one object for each line of the log, in order, with the fields
"line", its number from 1, and "template". Lines of one group have the same template:
the one it has come to when the whole log was read.

A line counts with its first 64 KiB. Bytes that are no UTF-8 are U+FFFD in what is
printed.

For example:

  pavise ingest templates app.log`
}

// A Mined is what a log is made of.
type Mined struct {
	File      string          `json:"file"`
	Lines     int             `json:"lines"`
	Templates []TemplateCount `json:"templates"` // that are held, the most frequent first
	Gone      int             `json:"gone"`      // templates that gave way, as there were too many
	GoneLines int             `json:"gone_lines"`
	Recorded  bool            `json:"recorded"` // this command leaves no record

	top   int
	held  map[int]string // of the clusters that are held
	spool *spool         // nil unless each line is asked for
}

// A TemplateCount is a template with how many lines have it.
type TemplateCount struct {
	Template string `json:"template"`
	Lines    int    `json:"lines"`
}

// Run reads the log. The caller closes what it returns. Errors are of kind Invalid, NotFound or
// Denied for the file, and Unavailable for the disk or when it was stopped.
//
// Unguarded: whoever runs it reads their own file, as themselves; no principal of an
// installation acts.
func (t *Templates) Run(ctx context.Context) (*Mined, error) {
	if t.Clusters < 1 || t.Clusters > maxClusters || t.Top < 0 {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("--clusters %d --top %d", t.Clusters, t.Top), Hint: fmt.Sprintf("use 1 to %d templates, and show 0 or more", maxClusters)}
	}
	mined := &Mined{File: t.File, top: t.Top, held: map[int]string{}}
	if t.Each {
		var err error
		if mined.spool, err = newSpool(); err != nil {
			return nil, err
		}
	}
	miner := template.New(template.Options{Unmasked: t.Masking == "none", Clusters: t.Clusters, Gone: mined.gone})
	err := eachLine(ctx, t.File, t.say, func(n int, line []byte) error {
		id := miner.Add(line)
		mined.Lines = n
		if mined.spool == nil {
			return nil
		}
		return mined.spool.line(id)
	})
	if err != nil {
		mined.Close()
		return nil, err
	}
	mined.take(miner)
	return mined, nil
}

// maxClusters bounds what --clusters may ask for; the bytes that they take are bounded anyway.
const maxClusters = 1_000_000

func (t *Templates) say(lines int) {
	if t.Say != nil {
		t.Say(fmt.Sprintf("%d lines …", lines))
	}
}

// gone keeps a template that gives way.
func (m *Mined) gone(c template.Cluster) {
	m.Gone++
	m.GoneLines += c.Lines
	if m.spool != nil {
		m.spool.text(c.ID, c.Template)
	}
}

// take takes the templates of the clusters that are held. Clusters that came to the same one
// are one.
func (m *Mined) take(miner *template.Miner) {
	at := map[string]int{}
	m.Templates = []TemplateCount{}
	for c := range miner.Clusters() {
		m.held[c.ID] = c.Template
		i, there := at[c.Template]
		if !there {
			i = len(m.Templates)
			at[c.Template], m.Templates = i, append(m.Templates, TemplateCount{Template: c.Template})
		}
		m.Templates[i].Lines += c.Lines
	}
	slices.SortFunc(m.Templates, func(a, b TemplateCount) int {
		return cmp.Or(b.Lines-a.Lines, strings.Compare(a.Template, b.Template))
	})
}

// WriteLines writes, for each line of the log, a JSON object with its number and its template.
// It can be called once, if each line was asked for.
func (m *Mined) WriteLines(w io.Writer) error {
	const chunk = 1 << 16
	n, out := 0, make([]byte, 0, chunk)
	quoted := make(map[int][]byte, len(m.held)) // each template is quoted once, and not for each line
	err := m.spool.each(func(id int) (err error) {
		text, is := quoted[id]
		if !is {
			held, there := m.held[id]
			if !there {
				if held, err = m.spool.gone(id); err != nil {
					return err
				}
			}
			if text = appendQuoted(nil, held); there {
				quoted[id] = text
			}
		}
		n++
		out = appendTemplated(out, n, text)
		if len(out) > chunk/2 {
			_, err = w.Write(out)
			out = out[:0]
		}
		return err
	})
	if err == nil {
		_, err = w.Write(out)
	}
	return err
}

// Note says what a reader of the lines should know, or nothing.
func (m *Mined) Note() string {
	if m.Gone == 0 {
		return ""
	}
	return fmt.Sprintf("%s templates gave way, with %s lines: there were more at a time than are held (--clusters). A template that came again later counts anew",
		figure.Thousands(uint64(m.Gone)), figure.Thousands(uint64(m.GoneLines)))
}

// Print prints the templates for people.
func (m *Mined) Print(w io.Writer) {
	fmt.Fprintf(w, "%s: %s lines, %s templates\n\n", shownName(m.File), figure.Thousands(uint64(m.Lines)), figure.Thousands(uint64(len(m.Templates)+m.Gone)))
	shown := m.Templates[:min(m.top, len(m.Templates))]
	rest := 0
	for _, t := range m.Templates[len(shown):] {
		rest += t.Lines
	}
	for _, t := range shown {
		fmt.Fprintf(w, "  %9s  %s  %s\n", figure.Thousands(uint64(t.Lines)), bar(t.Lines, m.Lines), figure.OneLine(t.Template, 200))
	}
	if more := len(m.Templates) - len(shown); more > 0 && len(shown) > 0 {
		fmt.Fprintf(w, "  %9s  %s  in %s more\n", figure.Thousands(uint64(rest)), bar(rest, m.Lines), figure.Thousands(uint64(more)))
	}
	if note := m.Note(); note != "" {
		fmt.Fprintf(w, "\n%s.\n", note)
	}
	fmt.Fprintf(w, "\nrecorded: false\n")
}

// Close lets go of what was kept.
func (m *Mined) Close() { m.spool.Close() }

// bar is a share as a bar of ten blocks, in eighths.
func bar(part, whole int) string {
	const blocks = 10
	eighths := 0
	if whole > 0 {
		eighths = (part*blocks*8 + whole - 1) / whole
	}
	full := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		full += string([]rune("▏▎▍▌▋▊▉")[rest-1])
	}
	return full + strings.Repeat(" ", blocks-len([]rune(full)))
}
