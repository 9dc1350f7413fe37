package rowseal

import (
	"crypto/sha256"
	"io"
	"testing"
)

// TestPanicsAreTheCallers has every part of the work beside each other panic: who asked for it can
// recover, and a server goes on.
func TestPanicsAreTheCallers(t *testing.T) {
	idle := func(*chunk) {}
	three := func() func(*chunk) error {
		n := 0
		return func(c *chunk) error {
			if n++; n > 3 {
				return io.EOF
			}
			return nil
		}
	}
	take := func(*chunk) error { return nil }
	for what, do := range map[string]func(workers int) error{
		"next": func(workers int) error {
			return pump(t.Context(), workers, func(*chunk) error { panic("odd") }, idle, take)
		},
		"hash": func(workers int) error {
			return pump(t.Context(), workers, three(), func(*chunk) { panic("odd") }, take)
		},
		"take": func(workers int) error {
			return pump(t.Context(), workers, three(), idle, func(*chunk) error { panic("odd") })
		},
		"each": func(workers int) error {
			return Each(t.Context(), workers, 50, func(int) error { panic("odd") })
		},
	} {
		for workers := 1; workers <= 3; workers++ {
			func() {
				defer func() {
					if p := recover(); p != "odd" {
						t.Errorf("%s by %d workers: %v", what, workers, p)
					}
				}()
				t.Errorf("%s by %d workers: no panic, %v", what, workers, do(workers))
			}()
		}
	}
}

// TestChunksBeginAnew has a chunk whose work ended in the middle be used again: what waited is of
// no other file.
func TestChunksBeginAnew(t *testing.T) {
	for what, hash := range map[string]func(*chunk){"rows": (*chunk).hash, "blocks": (*chunk).hashBlocks} {
		c := &chunk{room: []byte("\x00a\n"), leaves: [][]byte{[]byte("\x00of another file")}}
		c.text = c.room[1:]
		if hash(c); len(c.digests) != sha256.Size {
			t.Errorf("%s: %d digests of one", what, len(c.digests)/sha256.Size)
		}
	}
}
