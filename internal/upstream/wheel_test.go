package upstream

import (
	"fmt"
	"testing"
)

// TestWheelPicksAsClusters has a wheel take the turns that a cluster takes, and send each
// key where a cluster with the same names and weights sends it.
func TestWheelPicksAsClusters(t *testing.T) {
	names, weights := make([]string, 4), []int{5, 0, 1, 3}
	for i := range names {
		names[i] = fmt.Sprintf("http://host-%d:80", i)
	}
	wheel, turns, keys := NewWheel(names, weights), weighted(t, RoundRobin, weights...), weighted(t, Hash, weights...)
	for i := range 90 {
		e, _ := peek(turns, "", &tried{})
		if at := wheel.Next(""); names[at] != e.url {
			t.Fatalf("turn %d is that of %s, not of %s", i, names[at], e.url)
		}
	}
	count := map[int]int{}
	for i := range 5000 {
		key := fmt.Sprint("tenant-", i)
		e, _ := peek(keys, key, &tried{})
		at := wheel.Next(key)
		if names[at] != e.url || wheel.Next(key) != at {
			t.Fatalf("%s goes to %s, not to %s", key, names[at], e.url)
		}
		count[at]++
	}
	for i, weight := range weights {
		if got, want := count[i], 5000*weight/9; got < want-150 || got > want+150 || weight == 0 && got > 0 {
			t.Errorf("%d of 5000 keys go to one of weight %d of 9", got, weight)
		}
	}
}

// TestWheelMovesFewKeys has a weight that grows take keys from the other, and give none
// back: a canary that is stepped up keeps the callers that it had.
func TestWheelMovesFewKeys(t *testing.T) {
	names := []string{"sha256:a", "sha256:b"}
	small, large := NewWheel(names, []int{90, 10}), NewWheel(names, []int{50, 50})
	moved := 0
	for i := range 2000 {
		key := fmt.Sprint("caller-", i)
		before, after := small.Next(key), large.Next(key)
		if before == 1 && after == 0 {
			t.Fatalf("%s leaves the version whose share grew", key)
		}
		if before != after {
			moved++
		}
	}
	if moved < 700 || moved > 900 {
		t.Errorf("%d of 2000 keys moved, of which 800 should", moved)
	}
}
