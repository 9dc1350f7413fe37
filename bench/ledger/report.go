package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/pavise/pavise/bench/result"
)

// report puts a run into words.
func report(b *benchmark, skipped, conditions string) string {
	var s strings.Builder
	fmt.Fprintf(&s, "## Evidence log: durable appends of %d-byte entries\n\n", entrySize)
	fmt.Fprintf(&s, "Made by `cd bench && go run ./ledger --rounds %d --seconds %g --write`.\n\n", b.rounds, b.window.Seconds())
	fmt.Fprintf(&s, "%s\n", roundsTable(b))
	fmt.Fprintf(&s, "%s\n", ratiosTable(b))
	fmt.Fprintf(&s, "%s\n", proofLine(b))
	fmt.Fprintf(&s, "%s\n", meaning())
	if skipped != "" {
		fmt.Fprintf(&s, "%s\n\n", skipped)
	}
	fmt.Fprintf(&s, "%s\n\nConditions:\n\n%s", b.checked(), conditions)
	return s.String()
}

// roundsTable has a row for each engine and round, and one for the medians.
func roundsTable(b *benchmark) string {
	t := result.NewTable("engine", "producers", "round", "entries/s", "p50 ms", "p99 ms")
	for _, e := range b.engines {
		var rates []float64
		var p50s, p99s []time.Duration
		for i, s := range b.samples[e.name] {
			t.Row(e.name, fmt.Sprint(e.producers), fmt.Sprint(i+1), fmt.Sprintf("%.0f", s.perSecond), ms(s.p50), ms(s.p99))
			rates, p50s, p99s = append(rates, s.perSecond), append(p50s, s.p50), append(p99s, s.p99)
		}
		t.Row("**"+e.name+"**", fmt.Sprint(e.producers), "median",
			fmt.Sprintf("**%.0f**", result.Median(rates)), ms(result.Median(p50s)), ms(result.Median(p99s)))
	}
	return t.String()
}

// ratiosTable compares pavise with each peer, round by round.
func ratiosTable(b *benchmark) string {
	t := result.NewTable("pavise against", "entries/s, by round", "median", "p50, by round", "p99, by round")
	ours := b.samples[paviseAll]
	for _, e := range b.engines {
		if strings.HasPrefix(e.name, paviseAll) {
			continue
		}
		var rates []float64
		var each, p50s, p99s []string
		for i, s := range b.samples[e.name] {
			rate := ours[i].perSecond / s.perSecond
			rates = append(rates, rate)
			each = append(each, fmt.Sprintf("%.1f", rate))
			p50s = append(p50s, fmt.Sprintf("1/%.1f", float64(s.p50)/float64(ours[i].p50)))
			p99s = append(p99s, fmt.Sprintf("1/%.1f", float64(s.p99)/float64(ours[i].p99)))
		}
		t.Row(e.name, strings.Join(each, ", "), fmt.Sprintf("**%.1f ×**", result.Median(rates)), strings.Join(p50s, ", "), strings.Join(p99s, ", "))
	}
	return t.String()
}

// proofLine compares how long it takes until an entry can be verified: with us until
// its proof file is in hand, with tessera until a checkpoint covers it, from which a
// proof is yet to be made.
func proofLine(b *benchmark) string {
	var each []string
	var ratios []float64
	for i, s := range b.samples[paviseProof] {
		ratio := float64(b.samples[tesseraAwait][i].p50) / float64(s.p50)
		ratios = append(ratios, ratio)
		each = append(each, fmt.Sprintf("1/%.1f", ratio))
	}
	return fmt.Sprintf("Append to verifiable proof, p50 of pavise-proof against tessera-await's, which makes no proof yet: %s; median **1/%.1f**.\n",
		strings.Join(each, ", "), result.Median(ratios))
}

// meaning says what each engine had done when it answered.
func meaning() string {
	return around() + "\n\n" + fmt.Sprintf(`What an answer means: **pavise**, durable and under a signed tree head;
**tessera**, sequenced, which is durable, batches of %d or %v; **tessera-await**,
also integrated and under a published checkpoint, every %v, the least its POSIX
driver takes; **postgresql**, committed with synchronous_commit=on, one INSERT a
transaction, %d connections. **pavise-1** is the same log with one producer.
`, batchSize, batchAge, checkpointEvery, connections)
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()*1000) }
