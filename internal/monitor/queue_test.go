package monitor

import (
	"testing"

	"github.com/pavise/pavise"
)

// TestRoomsOfLongOnes has exchanges of middling length come behind long ones: they count for about
// what they are, and not for the rooms that the long ones left.
func TestRoomsOfLongOnes(t *testing.T) {
	m := &Monitor{queue: newQueue(func(pavise.Name, string) [32]byte { return [32]byte{} })}
	long, middling := wide(380, 40), wide(16, 40)
	middling.Signature = long.Signature
	const n = 20
	for range n {
		m.Hear(long)
	}
	for range n {
		m.queue.free(<-m.queue.items)
	}
	m.Hear(middling)
	o := <-m.queue.items
	one := int64(len(o.numbers))
	m.queue.free(o)
	for range n {
		m.Hear(middling)
	}
	if held := m.queue.held.Load(); one == 0 || held > 4*n*one {
		t.Errorf("%d exchanges of %d numbers count for %d", n, one, held)
	}
}
