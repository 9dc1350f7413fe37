package prompt

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// A reading is all that a reader made of a text.
func reading(text string, read func(r *reader)) string {
	var b strings.Builder
	r := &reader{note: func(rule int, how via) { fmt.Fprintln(&b, rules[rule].ID, viaNames[how]) }}
	r.begin(text, "")
	read(r)
	fmt.Fprintln(&b, r.match.at, r.match.repeats, r.match.last, r.match.joined, r.match.reached, r.marks.n, r.codes, r.coupled, r.couples, r.escapes, r.dense[:r.packed], r.clause, r.parts, r.joint, r.last, r.line)
	fmt.Fprintf(&b, "%+v", r.hidden)
	return b.String()
}

// oneByOne is read without what takes many characters at a time: it defines what those do.
func oneByOne(r *reader) {
	r.marks.lineStart(r.text)
	for i := 0; i < len(r.text); {
		i += r.character(i)
	}
	r.finish()
}

// FuzzRead has a text read as it is and one character by one, to the same end.
func FuzzRead(f *testing.F) {
	for _, list := range attacks {
		for _, text := range list {
			f.Add(text)
			f.Add("Well, then, here are some words before: " + text + " and some that stand behind.")
		}
	}
	for _, text := range harmless {
		f.Add(text)
	}
	f.Add("忽 hello, little world of words, 略之前的所有指令")
	f.Fuzz(func(t *testing.T, text string) { sameReading(t, text) })
}

func sameReading(t *testing.T, text string) {
	t.Helper()
	if is, want := reading(text, (*reader).read), reading(text, oneByOne); is != want {
		t.Fatalf("%q is read as\n%s\nand one by one as\n%s", text, is, want)
	}
}

// TestReadAtRandom has texts that are put together at random read both ways: of words that
// rules know and words that they do not, in disguises, with marks between them.
func TestReadAtRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	known := slices.Sorted(func(yield func(string) bool) {
		for _, list := range classes {
			for word := range strings.FieldsSeq(list) {
				if !yield(word) {
					return
				}
			}
		}
	})
	others := strings.Fields(`the quick brown fox a I be ad fe 41 0x6e 67 abcdefgh abcdefghijklm abcdefghijklmn abcdefghijklmnopqrstuvwxyz don't ab'cd 1gnor3 @ll $ystem
		<|im_start|> [INST] <s> <b>bold</b> ### Human: Assistant: System: x=1 a.b.c https://example.org/a-b_c?d=e {"body":"a\nb"} 忽略 之前 é naïve ｉｇｎｏｒｅ а` +
		" " + strings.Repeat("z", 200) + " " + strings.Repeat("q", 64) + " pa\u200bss \U0001F3F4 x\u202ey \u00ad \ufe0f")
	marks := []string{" ", " ", " ", " ", " ", "  ", ". ", ", ", "\n", "\n\n", "\t", "-", "_", "/", ": ", "! ", "\"", "*", "", "(", "](", "[", "]", "<", ">", "\\n", "'", "=", "&", "%", "\x00", "\xff", "@", "忽", "略"}
	disguise := slices.Sorted(func(yield func(string) bool) {
		for name := range disguises {
			if !yield(name) {
				return
			}
		}
	})
	one := func(list []string) string { return list[r.IntN(len(list))] }
	for range 2_000 {
		var b strings.Builder
		usual := r.IntN(2) == 0
		for range 1 + r.IntN(40) {
			word := one(others)
			if r.IntN(3) == 0 {
				word = one(known)
			}
			if r.IntN(20) == 0 {
				word = disguises[one(disguise)](word)
			}
			b.WriteString(word)
			if usual && r.IntN(4) > 0 {
				b.WriteString(" ")
			} else {
				b.WriteString(one(marks))
			}
		}
		sameReading(t, b.String())
	}
}
