package drift

import (
	"bytes"
	"testing"
)

// TestWord writes every word as the text that it is of, and tells texts apart that differ in a byte,
// or in how long they are.
func TestWord(t *testing.T) {
	for n := range 3 * WordBytes {
		text := make([]byte, n)
		for i := range text {
			text[i] = byte(200 + 7*i)
		}
		w := WordOf(text)
		if w.Size != n {
			t.Fatalf("%d bytes, and it says %d", n, w.Size)
		}
		if n > WordBytes {
			continue
		}
		if got := w.Append([]byte("x")); !bytes.Equal(got[1:], text) {
			t.Fatalf("%d bytes: %x, and not %x", n, got[1:], text)
		}
		for i := range text {
			text[i]++
			if WordOf(text) == w {
				t.Errorf("%d bytes: byte %d may be any", n, i)
			}
			text[i]--
		}
		if WordOf(append(text, 0)) == w || n > 0 && WordOf(text[:n-1]) == w {
			t.Errorf("%d bytes are those of another length", n)
		}
	}
}

// TestPlaceOfWords finds every name by its word as by its text, and what is no name nowhere.
func TestPlaceOfWords(t *testing.T) {
	counts := map[string]int{}
	for n := range WordBytes + 1 {
		counts[string(bytes.Repeat([]byte{'a'}, n))] = 9
		counts[string(append(bytes.Repeat([]byte{'a'}, n), 'b'))] = 9
	}
	for range 20 { // salts are drawn
		c := NewCategories(counts, true)
		for text := range counts {
			if w := WordOf([]byte(text)); w.Size <= WordBytes && (c.PlaceWord(&w) != c.Place([]byte(text)) || c.Place([]byte(text)) >= restBin) {
				t.Fatalf("%q is at %d, and by its word at %d", text, c.Place([]byte(text)), c.PlaceWord(&w))
			}
		}
		for _, text := range []string{"c", "ab ", "aaaaaaaaac", "caaaaaaaaaaaaaaa"} {
			if w := WordOf([]byte(text)); c.PlaceWord(&w) != newBin || c.Place([]byte(text)) != newBin {
				t.Errorf("%q is at %d, and by its word at %d", text, c.Place([]byte(text)), c.PlaceWord(&w))
			}
		}
	}
}
