package screen

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// A Terminal is what the program prints to. Much of what it prints somebody else
// wrote, a caller, a server or the maker of a ledger directory, so it lets
// through nothing that a terminal obeys: whatever has no glyph, but for ends of
// lines and tabs, becomes U+FFFD. Each Write is whole characters.
type Terminal struct {
	Progress io.Writer // gets our own lines of progress, which write over each other; nowhere, unless somebody watches
	Columns  int       // how many characters a line has; 0: it is not known, or nobody watches
	text     io.Writer // gets what may be shown
}

// NewTerminal prints to a terminal, or to a pipe or file, where progress is no news.
func NewTerminal(w io.Writer) Terminal {
	f, ok := w.(*os.File)
	if ok {
		info, err := f.Stat()
		ok = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	if !ok {
		return Terminal{text: w, Progress: io.Discard}
	}
	return Terminal{text: w, Progress: w, Columns: windowColumns(f)}
}

// columnsOf is how many characters a line of a terminal has; 0: nobody knows.
func columnsOf(w io.Writer) int {
	t, _ := w.(Terminal)
	return t.Columns
}

// Write prints the text as it may be shown.
func (t Terminal) Write(text []byte) (int, error) {
	clean := text
	if slices.ContainsFunc(text, unplain) { // a million lines of JSON have nothing to look at twice
		clean = bytes.Map(func(r rune) rune {
			if r == '\n' || r == '\t' {
				return r
			}
			return shown(r)
		}, text)
	}
	if _, err := t.text.Write(clean); err != nil {
		return 0, err
	}
	return len(text), nil
}

// unplain reports whether a byte is anything but a character of ASCII that may be shown.
func unplain(b byte) bool { return (b < ' ' || b > '~') && b != '\n' && b != '\t' }

// shown is what stands for a character within a line.
func shown(r rune) rune {
	if glyph(r) {
		return r
	}
	return unicode.ReplacementChar
}

// glyph reports whether a character is something to see, or a space. Marks of
// direction are not: they turn a line around.
func glyph(r rune) bool { return unicode.IsGraphic(r) }

// WriteJSON writes a value for programs, with every character that has no glyph
// as an escape, so that nothing is lost and a terminal has nothing to obey.
func WriteJSON(w io.Writer, v any, indent string) error {
	var text bytes.Buffer
	out := json.NewEncoder(&text)
	out.SetIndent("", indent)
	out.SetEscapeHTML(false)
	if err := out.Encode(v); err != nil {
		return err
	}
	var safe []byte
	for _, r := range text.String() {
		switch {
		case glyph(r) || r == '\n':
			safe = utf8.AppendRune(safe, r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			safe = fmt.Appendf(safe, `\u%04x\u%04x`, high, low)
		default:
			safe = fmt.Appendf(safe, `\u%04x`, r)
		}
	}
	_, err := w.Write(safe)
	return err
}
