package chat

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// TestLines reads as bufio.Reader does, however the bytes come, and holds no buffer while
// nothing is there.
func TestLines(t *testing.T) {
	text := "a\n\nbc\r\n" + strings.Repeat("x", 31) + "\n" + strings.Repeat("y", 32) + "\n" + strings.Repeat("long ", 2*roomSize) + "\n" + strings.Repeat("z", roomSize-1) + "\nrest"
	var want []string
	for from := bufio.NewReader(strings.NewReader(text)); ; {
		line, err := from.ReadString('\n')
		want = append(want, line)
		if err != nil {
			break
		}
	}
	for name, from := range map[string]io.Reader{
		"at once": strings.NewReader(text), "by bytes": iotest.OneByteReader(strings.NewReader(text)), "by halves": iotest.HalfReader(strings.NewReader(text)),
		"with the end": iotest.DataErrReader(strings.NewReader(text)),
	} {
		l := lines{from: from}
		var got []string
		var line []byte
		for {
			part, err := l.next()
			line = append(line, part...)
			if len(part) > roomSize {
				t.Fatalf("%s: %d bytes at once", name, len(part))
			}
			if err == nil && !bytes.HasSuffix(part, []byte("\n")) {
				continue
			}
			got, line = append(got, string(line)), line[:0]
			if err != nil {
				if err != io.EOF {
					t.Errorf("%s ends with %v", name, err)
				}
				break
			}
		}
		if strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("%s: %d lines, not %d as they are", name, len(got), len(want))
		}
	}
	if _, err := (&lines{from: stuck{}}).next(); err != io.ErrNoProgress {
		t.Errorf("a reader that gives nothing: %v", err)
	}
	idle := lines{from: &waiting{text: "data: 1\n", see: func(l *lines) bool { return l.room != nil }}}
	idle.from.(*waiting).of = &idle
	idle.next()
	if idle.next(); idle.from.(*waiting).held {
		t.Error("who waits for the next line holds a buffer")
	}
}

// stuck gives nothing.
type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }

// waiting gives a text, and then looks at who waits for more.
type waiting struct {
	text string
	of   *lines
	see  func(*lines) bool
	held bool
}

func (w *waiting) Read(p []byte) (int, error) {
	if w.text == "" {
		w.held = w.see(w.of)
		return 0, io.EOF
	}
	n := copy(p, w.text)
	w.text = w.text[n:]
	return n, nil
}
