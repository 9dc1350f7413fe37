package main

import (
	"fmt"
	"slices"
	"testing"

	"github.com/pavise/pavise/internal/policy"
)

// TestAgree asks every engine everything, over every corpus. Those that give reasons
// must give the same.
func TestAgree(t *testing.T) {
	for _, size := range []int{50, 810} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			schema, err := policy.NewSchema(nil)
			if err != nil {
				t.Fatal(err)
			}
			asks := append(questions(schema, 800, 1), questions(schema, 400, 5)...)
			sources := corpus(size)
			policies, err := everything(sources)
			if err != nil {
				t.Fatal(err)
			}
			keeping, fresh, err := newIndexed(schema, sources, asks)
			if err != nil {
				t.Fatal(err)
			}
			full := newScan(policies, asks)
			var peers []*opa
			for _, s := range styles {
				peer, err := newOPA(t.Context(), s, schema.Actions(), policies, asks)
				if err != nil {
					t.Fatal(err)
				}
				peers = append(peers, peer)
			}
			var allowed int
			for i, q := range asks {
				want, reasons := full.reasons(i)
				if want {
					allowed++
				}
				for _, ours := range []*indexed{fresh, keeping, keeping} { // the second time from what it kept
					if got, because := ours.reasons(i); got != want || !slices.Equal(because, reasons) {
						t.Errorf("%+v: %s says %t for %q, the full scan %t for %q", q, ours.Name(), got, because, want, reasons)
					}
				}
				if got, because, err := peers[0].reasons(i); err != nil || got != want || !slices.Equal(because, reasons) {
					t.Errorf("%+v: OPA says %t for %q, error %v, the full scan %t for %q", q, got, because, err, want, reasons)
				}
				for _, peer := range peers {
					if got, err := peer.Decide(i); err != nil || got != want {
						t.Errorf("%+v: %s says %t, error %v, the full scan %t", q, peer.Name(), got, err, want)
					}
				}
			}
			if share := float64(allowed) / float64(len(asks)); share < 0.4 || share > 0.8 {
				t.Errorf("%.2f of the questions are allowed, too one-sided to tell engines apart", share)
			}
		})
	}
}
