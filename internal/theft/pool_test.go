package theft

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// A pool is seen beside its clients and changes nothing of what is found of them: with it
// and without, each client comes as close to being found.
func TestPoolIsBeside(t *testing.T) {
	w, c := calibrated(t)
	if chance := c.Crossing(); chance < 0 || chance > 1 {
		t.Fatalf("a share of %v", chance)
	}
	closest := map[string]Sighting{}
	for _, withPool := range []bool{false, true} {
		e, crossed := NewExtraction(c), 0
		e.Crossed = func(client, other string) {
			if crossed++; client == other || client == "pool" || other == "pool" {
				t.Fatalf("%s met %s", client, other)
			}
		}
		rngs := map[string]func() []float64{}
		for i := range 6 {
			rngs[fmt.Sprint("c", i)] = thieves["jbda"](w, rand.New(rand.NewPCG(5, uint64(i/2)))) // two of a kind
		}
		for range 200 {
			for i := range 6 {
				name := fmt.Sprint("c", i)
				row := rngs[name]()
				row[0] += 1e-3 * float64(i)
				if young := e.Young(name); young != (e.clients[name] == nil || e.clients[name].fresh < c.Looks[0]) {
					t.Fatalf("%s is young: %t", name, young)
				}
				e.See(w.asked(name, row))
				if withPool {
					e.SeePool(w.asked("pool", row))
				}
			}
		}
		if crossed == 0 {
			t.Error("nobody met anybody")
		}
		for i := range 6 {
			name := fmt.Sprint("c", i)
			got := e.Closest(name)
			if was, ok := closest[name]; ok && was != got {
				t.Errorf("%s comes as close as %+v without a pool, and %+v with one", name, was, got)
			}
			closest[name] = got
		}
		if withPool && e.Closest("pool").Detector == measureNames[measureCross] {
			t.Error("a pool is judged by what its clients repeat of each other")
		}
	}
}
