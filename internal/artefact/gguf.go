package artefact

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// Bounds of GGUF metadata.
const (
	maxPairs    = 1 << 16
	maxTemplate = 1 << 20
	maxGGUFKey  = 1 << 16
)

var errGGUF = errors.New("its metadata is damaged")

// ggufWidths are the sizes of the types of values (GGUF's specification, ggml docs/gguf.md).
var ggufWidths = map[uint32]int64{0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}

// gguf looks at the metadata of a file, of which chat templates are programs.
func (s *scan) gguf(w part) {
	var head [24]byte
	if _, err := io.ReadFull(w.in, head[:]); err != nil {
		s.cut(w, err)
		return
	}
	pairs := binary.LittleEndian.Uint64(head[16:])
	if v := binary.LittleEndian.Uint32(head[4:]); v < 2 || v > 3 || pairs > maxPairs {
		s.tell(w, Finding{Severity: Unreadable, Rule: "gguf.header", Why: fmt.Sprintf("its version is %d, with %d entries of metadata: such are not read", v, pairs), Next: nextAgain})
		return
	}
	g := ggufReader{w.in}
	for range pairs {
		key, err := g.text(maxGGUFKey)
		if err == nil {
			err = g.value(func(text string) {
				if strings.Contains(key, "chat_template") {
					if len(text) == maxTemplate {
						s.tell(w, Finding{Severity: Unreadable, Rule: "template", Why: "the template " + clip(key) + " is longer than is looked at", Next: nextVet})
					}
					s.template(w, key, text)
				}
			})
		}
		if err != nil {
			s.tell(w, Finding{Severity: Unreadable, Rule: "gguf.header", Why: errGGUF.Error(), Next: nextAgain})
			return
		}
	}
}

type ggufReader struct{ r io.Reader }

func (g ggufReader) number(n int) (uint64, error) {
	var b [8]byte
	_, err := io.ReadFull(g.r, b[:n])
	return binary.LittleEndian.Uint64(b[:]), err
}

func (g ggufReader) skip(n int64) error {
	_, err := io.CopyN(io.Discard, g.r, n)
	return err
}

// text reads a text; what is beyond the bound is passed over.
func (g ggufReader) text(most uint64) (string, error) {
	n, err := g.number(8)
	if err != nil || n > 1<<32 {
		return "", errors.Join(err, errGGUF)
	}
	var b strings.Builder
	if _, err := io.CopyN(&b, g.r, int64(min(n, most))); err != nil {
		return "", err
	}
	return b.String(), g.skip(int64(n) - int64(b.Len()))
}

// value reads a value, and gives its texts away.
func (g ggufReader) value(text func(string)) error {
	kind, err := g.number(4)
	if err != nil {
		return err
	}
	if kind != 9 {
		return g.one(uint32(kind), text)
	}
	of, err := g.number(4)
	if err != nil {
		return err
	}
	n, err := g.number(8)
	if err != nil || n > 1<<32 {
		return errors.Join(err, errGGUF)
	}
	if width, ok := ggufWidths[uint32(of)]; ok {
		return g.skip(width * int64(n))
	}
	for range n {
		if err := g.one(uint32(of), text); err != nil {
			return err
		}
	}
	return nil
}

func (g ggufReader) one(kind uint32, text func(string)) error {
	if width, ok := ggufWidths[kind]; ok {
		return g.skip(width)
	}
	if kind != 8 {
		return errGGUF // a list of lists, which nothing writes
	}
	t, err := g.text(maxTemplate)
	if err == nil {
		text(t)
	}
	return err
}

// jinjaAttacks are what templates of conversations have no use for: the ways from a value to
// Python's inner parts, which run code where the template is not rendered in a sandbox
// (CVE-2024-34359).
var jinjaAttacks = regexp.MustCompile(`__\w+__|\\x5f|\\u005f|\|\s*attr\s*\(|\b(?:lipsum|cycler|joiner|self\._|request\.application|popen|getattr|subprocess|os\.system|import os|config\.from_)\b|\{%-?\s*(?:include|import|extends|from)\b|\[\s*['"]_+['"]\s*[~+]|['"]__`)

// template looks at a template of conversations: at its tags, for what stands between them is
// text.
func (s *scan) template(w part, where, text string) {
	for at := 0; ; {
		from, to := nextTag(text, at)
		if from < 0 {
			return
		}
		if hit := jinjaAttacks.FindString(text[from:to]); hit != "" {
			s.tell(w, Finding{Severity: Malicious, Rule: "template", Offset: int64(from), Why: "the template " + clip(where) + " reaches for Python's inner parts by " + clip(hit) + " in " + clip(text[from:to]), Next: nextNever})
			return
		}
		at = to
	}
}

// nextTag finds the next tag of a template. As for Jinja, what closes it does not count in a
// text in quotes; a tag that never closes goes on to the end.
func nextTag(text string, at int) (from, to int) {
	for from = at; ; from++ {
		i := strings.IndexByte(text[from:], '{')
		if i < 0 || from+i+1 >= len(text) {
			return -1, -1
		}
		if from += i; text[from+1] == '{' || text[from+1] == '%' {
			break
		}
	}
	closing := "}}"
	if text[from+1] == '%' {
		closing = "%}"
	}
	quote := byte(0)
	for to = from + 2; to < len(text); to++ {
		switch c := text[to]; {
		case quote != 0 && c == '\\':
			to++
		case c == quote:
			quote = 0
		case quote == 0 && (c == '\'' || c == '"'):
			quote = c
		case quote == 0 && strings.HasPrefix(text[to:], closing):
			return from, to + 2
		}
	}
	return from, len(text)
}
