package template_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pavise/pavise/internal/template"
)

// templates returns what a miner holds, by ID.
func templates(m *template.Miner) map[int]template.Cluster {
	all := map[int]template.Cluster{}
	for c := range m.Clusters() {
		all[c.ID] = c
	}
	return all
}

func TestMasks(t *testing.T) {
	for _, test := range []struct{ line, want string }{
		{"took 3.5 s", "took <*> s"},
		{"took 12ms at 17:41:44,747", "took 12ms at <*>"},
		{"from 10.250.19.102:54106 to /10.250.19.102:50010", "from <*> to /<*>"},
		{"rhost=218.188.2.4 uid=0", "rhost=<*> uid=<*>"},
		{"block blk_38865049064139660 size -1,234", "block blk_<*> size <*>"},
		{"[instance: b9000564-fe1a-409b-b8cc-1e88b294cd1d] up", "[instance: <*>] up"},
		{"id 54fadb412c4e40cdbaed9335e4c35a9e", "id <*>"},
		{"at 0x7fFf and 0xZZ", "at <*> and 0xZZ"},
		{"peer 2001:db8::7334: bye", "peer <*>: bye"},
		{"peer fe80:0:0:0:1:2:3:4 mac 00:1b:44:11:3a:b7", "peer <*> mac <*>"},
		{"no::number and face::beef", "no::number and face::beef"},
		{"x86-64 md5 ipv4 r2d2 deadbeef feedface", "x86-<*> md5 ipv4 r2d2 deadbeef feedface"},
		{"1.2.3.4. end-7", "<*>. end-<*>"},
		{"- + : -- 5", "- + : -- <*>"},
		{"٣ n7é 7é", "٣ n7é 7é"},
		{"<*> 5", "<*> <*>"},
		{"\tmany \x00 \r", "many \x00"},
	} {
		m := template.New(template.Options{})
		if got := templates(m)[m.Add([]byte(test.line))]; got.Template != "" {
			t.Fatal("a template before its line")
		}
		if got := templates(m)[1].Template; got != test.want {
			t.Errorf("%q: %q, want %q", test.line, got, test.want)
		}
	}
}

func TestLearns(t *testing.T) {
	m := template.New(template.Options{})
	for _, test := range []struct {
		line string
		id   int
		want string
	}{
		{"user ana logged in from 10.0.0.1", 1, "user ana logged in from <*>"},
		{"user bob logged in from 10.0.0.2", 1, "user <*> logged in from <*>"},
		{"user bob logged out", 2, "user bob logged out"},
		{"", 3, ""},
		{"disk full", 4, "disk full"},
		{"  ", 3, ""},
		{"user eve logged in from nowhere", 1, "user <*> logged in from <*>"},
		{"17", 5, "<*>"},
		{"18", 5, "<*>"},
	} {
		if id := m.Add([]byte(test.line)); id != test.id {
			t.Errorf("%q is of cluster %d, want %d", test.line, id, test.id)
		}
		if got := templates(m)[test.id].Template; got != test.want {
			t.Errorf("after %q template %d is %q, want %q", test.line, test.id, got, test.want)
		}
	}
	if c := templates(m)[1]; c.Lines != 3 || m.Made() != 5 || m.Held() != 5 {
		t.Errorf("%+v, %d made, %d held", c, m.Made(), m.Held())
	}
}

// TestStalestGiveWay mines more templates than are held: each that gives way is told, once.
func TestStalestGiveWay(t *testing.T) {
	gone := map[int]string{}
	m := template.New(template.Options{Clusters: 10, Gone: func(c template.Cluster) {
		if gone[c.ID] != "" {
			t.Errorf("cluster %d gave way twice", c.ID)
		}
		gone[c.ID] = c.Template
	}})
	keep := []byte("the one that goes on")
	for i := range 10_000 {
		m.Add(keep)
		m.Add(fmt.Appendf(nil, "w%s only once", strings.Repeat("x", i%700)))
	}
	if m.Held() > 10 || len(gone)+m.Held() != m.Made() {
		t.Errorf("%d held, %d gone of %d", m.Held(), len(gone), m.Made())
	}
	if c := templates(m)[1]; c.Lines != 10_000 {
		t.Errorf("the template that went on: %+v", c)
	}
}

// TestHostileLines has lines that would take much time or memory: many templates in one place
// of the tree, no end of words, one endless line.
func TestHostileLines(t *testing.T) {
	m := template.New(template.Options{})
	for i := range 50_000 { // as unlike as lines of one length and first word are
		m.Add(fmt.Appendf(nil, "same %c%x %c%x", 'g'+i%9, i*7919, 'h'+i%7, i*104729))
	}
	if held := m.Held(); held > 512*101 {
		t.Errorf("%d clusters in one place", held)
	}
	long := bytes.Repeat([]byte("a b "), 3<<20)
	id := m.Add(long)
	if again := m.Add(append(long, "and more"...)); again != id {
		t.Error("what is behind the bound of a line tells lines apart")
	}
	if got := templates(m)[id].Template; !strings.HasSuffix(got, "a b <*>") {
		t.Errorf("the template of an endless line ends with %q", got[len(got)-20:])
	}
	one := m.Add(bytes.Repeat([]byte{'x'}, 10<<20))
	if got := templates(m)[one].Template; len(got) != template.MaxLine+len(" <*>") {
		t.Errorf("the template of an endless word has %d bytes", len(got))
	}
}

// TestBytesAreBounded fills a miner with long templates.
func TestBytesAreBounded(t *testing.T) {
	m := template.New(template.Options{})
	line := bytes.Repeat([]byte{'z'}, template.MaxLine)
	for i := range 1500 {
		copy(line, fmt.Sprint(1e6+i))
		m.Add(line)
	}
	if most := 64<<20/template.MaxLine + 1; m.Held() > most || m.Held() < most/2 {
		t.Errorf("%d templates of %d bytes are held, at most %d may be", m.Held(), template.MaxLine, most)
	}
}

func TestAddAllocatesNothing(t *testing.T) {
	m := template.New(template.Options{})
	lines := [][]byte{
		[]byte("user ana logged in from 10.0.0.1 port 52113 ssh2"), []byte("user bob logged in from 10.0.0.2 port 613 ssh2"),
		[]byte("PacketResponder 1 for block blk_38865049064139660 terminating"),
	}
	add := func() {
		for _, line := range lines {
			m.Add(line)
		}
	}
	add()
	if n := testing.AllocsPerRun(100, add); n != 0 {
		t.Errorf("%.1f allocations", n)
	}
}

// FuzzAdd holds that every line fits the template it is counted to, and that it is counted
// there again.
func FuzzAdd(f *testing.F) {
	f.Add([]byte("a 1 b\na 2 b\n\n<*> <*>\nx"), true)
	f.Add([]byte("\xff\xfe \x00 \u3000 ٣:٣ 1::2 0x\n- + 00:00:00:00:00:00"), false)
	f.Fuzz(func(t *testing.T, text []byte, unmasked bool) {
		m := template.New(template.Options{Unmasked: unmasked})
		lines := bytes.Split(text, []byte{'\n'})
		ids := make([]int, len(lines))
		for i, line := range lines {
			ids[i] = m.Add(line)
		}
		held := templates(m)
		total := 0
		for _, c := range held {
			total += c.Lines
			if utf8.Valid(text) && !utf8.ValidString(c.Template) {
				t.Errorf("%q is no UTF-8, and the lines were", c.Template)
			}
		}
		if total != len(lines) {
			t.Errorf("%d lines in clusters of %d", total, len(lines))
		}
		for i, line := range lines {
			if !unmasked {
				continue
			}
			words, pattern := strings.Fields(spaces.Replace(string(line))), strings.Fields(held[ids[i]].Template)
			if len(words) != len(pattern) {
				t.Fatalf("%q has %d words and its template %q %d", line, len(words), held[ids[i]].Template, len(pattern))
			}
			for j := range words {
				if pattern[j] != "<*>" && pattern[j] != words[j] {
					t.Errorf("%q does not fit %q", line, held[ids[i]].Template)
				}
			}
		}
	})
}

// spaces makes the spaces that Python knows and Go does not those of both.
var spaces = strings.NewReplacer("\x1c", " ", "\x1d", " ", "\x1e", " ", "\x1f", " ")

func BenchmarkAdd(b *testing.B) {
	for _, c := range loghub(b) {
		lines := make([][]byte, len(c.lines))
		for i, line := range c.lines {
			lines[i] = []byte(line)
		}
		for _, unmasked := range []bool{true, false} {
			b.Run(fmt.Sprintf("%s/unmasked=%v", c.name, unmasked), func(b *testing.B) {
				m := template.New(template.Options{Unmasked: unmasked})
				for i := range b.N {
					m.Add(lines[i%len(lines)])
				}
			})
		}
	}
}

// TestLike says where lines would be counted to, and learns nothing of them.
func TestLike(t *testing.T) {
	m := template.New(template.Options{})
	id := m.Add([]byte("user 1 logged in from 10.0.0.1"))
	for range 3 {
		if got := m.Like([]byte("user 77 logged in from 10.9.9.9")); got != id {
			t.Errorf("it is like %d, and not %d", got, id)
		}
		if got := m.Like([]byte("the disk is full")); got != 0 {
			t.Errorf("a line that never was is like %d", got)
		}
	}
	if m.Made() != 1 || m.Held() != 1 {
		t.Errorf("%d clusters were made, %d are held", m.Made(), m.Held())
	}
	for c := range m.Clusters() {
		if c.Lines != 1 {
			t.Errorf("it has %d lines", c.Lines)
		}
	}
	if got := m.Add([]byte("the disk is full")); got != 2 {
		t.Errorf("it is counted to %d", got)
	}
}
