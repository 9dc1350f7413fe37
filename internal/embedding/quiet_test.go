package embedding

import (
	"math/rand/v2"
	"testing"
)

func TestQuiet(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	above, all := 0, 0
	for range 2000 {
		clients := make([]float64, 99)
		for i := range clients {
			clients[i] = rng.ExpFloat64() / 20
		}
		quiet, bound := Quiet(clients, 0.05)
		if bound > 0.05+1e-9 || bound < 0.049 {
			t.Fatalf("99 clients bound it by %v", bound)
		}
		all++
		if rng.ExpFloat64()/20 > quiet {
			above++
		}
	}
	if share := float64(above) / float64(all); share > 0.065 || share < 0.035 {
		t.Errorf("%.3f of honest clients are above", share)
	}
	for n, want := range map[int][2]float64{0: {1, 1}, 1: {0.5, 0.5}, 9: {0.5, 0.1}} {
		clients := make([]float64, n)
		for i := range clients {
			clients[i] = 0.5
		}
		if quiet, bound := Quiet(clients, 0.01); quiet != want[0] || bound < want[1]-1e-9 || bound > want[1]+1e-9 {
			t.Errorf("of %d clients: %v, %v", n, quiet, bound)
		}
	}
	if quiet, _ := Quiet([]float64{0.4, 0.1, 0.3, 0.2}, 0.4); quiet != 0.3 {
		t.Errorf("the third of four is %v", quiet)
	}
}
