package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pavise/pavise/bench/result"
)

// A sample is what one engine did in one round.
type sample struct {
	perSecond float64
	p50, p99  time.Duration
}

// String returns the sample for a line of progress.
func (s sample) String() string {
	return fmt.Sprintf("%8.0f entries/s  p50 %-8v p99 %v", s.perSecond, s.p50.Round(10*time.Microsecond), s.p99.Round(10*time.Microsecond))
}

// produce lets producers append, each one entry after another, first for the
// warm-up and then for the window that counts. An append counts when it both
// began and ended within the window.
func produce(ctx context.Context, producers int, warm, window time.Duration, appendOne func(ctx context.Context, producer int) error) (sample, error) {
	group, ctx := errgroup.WithContext(ctx)
	from := time.Now().Add(warm)
	until := from.Add(window)
	took := make([][]time.Duration, producers)
	for p := range producers {
		group.Go(func() error {
			for {
				began := time.Now()
				if !began.Before(until) || ctx.Err() != nil {
					return ctx.Err()
				}
				if err := appendOne(ctx, p); err != nil {
					return err
				}
				if ended := time.Now(); !began.Before(from) && !ended.After(until) {
					took[p] = append(took[p], ended.Sub(began))
				}
			}
		})
	}
	if err := group.Wait(); err != nil {
		return sample{}, err
	}
	all := slices.Concat(took...)
	slices.Sort(all)
	return sample{
		perSecond: float64(len(all)) / window.Seconds(),
		p50:       result.Quantile(all, 0.5),
		p99:       result.Quantile(all, 0.99),
	}, nil
}
