package traffic

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/pavise/pavise/internal/theft"
)

// recorded is the traffic of clients who ask in turns.
func recorded(t *testing.T, name string, clients, rows int) *Source {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, uint64(clients)))
	var b strings.Builder
	b.WriteString("client,a,b,p0,p1\n")
	for range rows {
		for i := range clients {
			x, y := rng.NormFloat64(), rng.NormFloat64()
			p := 1 / (1 + x*x)
			fmt.Fprintf(&b, "%s%d,%.3f,%.3f,%.4f,%.4f\n", name, i, x, y, p, 1-p)
		}
	}
	source, err := Open(files(t, "a.csv", b.String()), Layout{})
	if err != nil {
		t.Fatal(err)
	}
	return source
}

// TestReplayPassesOver counts clients who are green because nobody judged them.
func TestReplayPassesOver(t *testing.T) {
	c, err := theft.Calibrate(recorded(t, "c", 24, 60).Rows(nil), 0.05, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name                       string
		clients, rows, most        int
		looks, unjudged, forgotten int
		words                      string
	}{
		{"who asked enough", 3, 50, 100, 1, 0, 0, "0 of 3 clients left green; of honest clients"},
		{"who asked too little", 3, 49, 100, 0, 3, 0, "0 of 3 clients left green; 3 asked fewer than 50 different rows, too few to be judged by what they ask; of honest"},
		{"more in turns than are remembered", 3, 60, 2, 0, 0, 3, "0 of 3 clients left green; 3 were forgotten for want of room while others asked, and looked at anew; of honest"},
	} {
		got, err := recorded(t, "x", tt.clients, tt.rows).replay(c, tt.most, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got.Unjudged != tt.unjudged || got.Forgotten != tt.forgotten || got.Clients[0].Looks != tt.looks || !strings.HasPrefix(got.Words, tt.words) {
			t.Errorf("%s: %d unjudged, %d forgotten, %d looks, %q", tt.name, got.Unjudged, got.Forgotten, got.Clients[0].Looks, got.Words)
		}
	}
}
