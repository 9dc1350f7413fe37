package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/pavise/pavise/bench/result"
	"github.com/pavise/pavise/internal/extraction"
)

// luck measures the goals of MNIST anew for each of so many seeds, each with a victim, rows
// asked and copies of its own: what one seed says may be that seed's.
func (b *bench) luck(ctx context.Context, seeds int) (string, error) {
	type pair struct{ plain, naive float64 }
	found := make([]pair, seeds)
	group, ctx := errgroup.WithContext(ctx)
	for i := range found {
		group.Go(func() error {
			return b.do(ctx, func() error {
				seed := b.seed + uint64(i)
				w, err := mnist(seed)
				if err != nil {
					return err
				}
				held := extraction.Held{X: w.held.X, Victim: w.model(w.held.X).ArgMax(), Labels: w.held.Y}
				for _, to := range []struct {
					defence string
					share   *float64
				}{{"none", &found[i].plain}, {guarded, &found[i].naive}} {
					l := line{attack: "in-distribution", defence: to.defence, answers: extraction.Scores, last: true}
					if err := w.steal(&l, seed, held); err != nil {
						return err
					}
					*to.share = l.points[0].Agreement.Share
				}
				return nil
			})
		})
	}
	if err := group.Wait(); err != nil {
		return "", err
	}
	t := result.NewTable("seed", "undefended", "ModelGuard-W, ε = 1, a thief who believes the scores", "at most 0.60")
	var naive []float64
	for i, p := range found {
		t.Row(fmt.Sprint(b.seed+uint64(i)), fmt.Sprintf("%.3f", p.plain), fmt.Sprintf("%.3f", p.naive), result.Met(p.naive <= 0.6))
		naive = append(naive, p.naive)
	}
	slices.Sort(naive)
	var text strings.Builder
	fmt.Fprintf(&text, "## Model theft: whether fidelity is the luck of a seed\n\nMade by `cd bench && go run ./theft/fidelity --seed %d --seeds %d --write`.\n\n", b.seed, seeds)
	fmt.Fprintf(&text, "MNIST, 10,000 rows of the model's own kind. Each seed has another victim, other rows and another copy.\n\n%s\n", t)
	fmt.Fprintf(&text, "Of %d seeds the least is %.3f, the median %.3f and the most %.3f.\n", seeds, naive[0], result.Median(naive), naive[len(naive)-1])
	return text.String(), nil
}
