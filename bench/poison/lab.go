package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/pavise/pavise/internal/poison"
)

func auc(score []float64, bad []bool) float64 {
	idx := make([]int, len(score))
	for i := range idx {
		idx[i] = i
	}
	slices.SortFunc(idx, func(a, b int) int {
		if score[a] < score[b] {
			return -1
		} else if score[a] > score[b] {
			return 1
		}
		return 0
	})
	var sum, n, m float64
	for i := 0; i < len(idx); {
		j := i
		p := 0.0
		for ; j < len(idx) && score[idx[j]] == score[idx[i]]; j++ {
			if bad[idx[j]] {
				p++
			}
		}
		sum += p * float64(i+j+1) / 2
		n += p
		m += float64(j-i) - p
		i = j
	}
	return (sum - n*(n+1)/2) / (n * m)
}

func recall(score []float64, bad []bool, fpr float64) float64 {
	var good, hits []float64
	for i, s := range score {
		if bad[i] {
			hits = append(hits, s)
		} else {
			good = append(good, s)
		}
	}
	slices.Sort(good)
	limit := good[len(good)-1-int(fpr*float64(len(good)))]
	k := 0
	for _, s := range hits {
		if s > limit {
			k++
		}
	}
	return float64(k) / float64(len(hits))
}

func main() {
	which := os.Args[1]
	seeds, _ := strconv.Atoi(os.Args[2])
	based := len(os.Args) > 3 && os.Args[3] == "base"
	var w *world
	var err error
	if which == "kdd" {
		w, err = flows()
	} else {
		w = orders(10000, 30, 5)
	}
	if err != nil {
		panic(err)
	}
	list := append([]attack{{name: "clean", act: func(w *world, t *poison.Table, rng *rand.Rand) []bool { return make([]bool, t.Rows()) }}}, attacks()...)
	for _, a := range list {
		if len(os.Args) > 4 && !contains(a.name, os.Args[4]) {
			continue
		}
		sums, mins := map[string]float64{}, map[string]float64{}
		for s := range seeds {
			rng := rand.New(rand.NewPCG(uint64(s), 3))
			file, base := w.draw(4500, rng)
			bad := a.act(w, file, rng)
			if !based {
				base = nil
			}
			v, err := poison.Prepare(file, base, 1)
			if err != nil {
				panic(err)
			}
			quiet := os.Getenv("V") == "" && a.name != "clean"
			if !quiet {
				fmt.Printf("%-45s", a.name)
			}
			note := func(k string, x float64) {
				sums[k] += x / float64(seeds)
				if m, ok := mins[k]; !ok || x < m {
					mins[k] = x
				}
			}
			var fs []poison.Finding
			for _, j := range v.Jobs() {
				began := time.Now()
				f := j.Run()
				fs = append(fs, f)
				if f.Evidence == nil || len(fs) == 0 {
					continue
				}
				sc := make([]float64, file.Rows())
				over := 0
				for i := range sc {
					sc[i] = float64(f.Evidence[i])
					if sc[i] >= f.Limit {
						over++
					}
				}
				if a.name == "clean" {
					slices.Sort(sc)
					fmt.Printf(" | %.4s over %d q99 %.2f max %.2f (%dms)", j.Screen, over, sc[len(sc)*99/100], sc[len(sc)-1], time.Since(began).Milliseconds())
					continue
				}
				note(j.Screen, auc(sc, bad))
				if !quiet {
					fmt.Printf(" | %.4s %.3f %.2f", j.Screen, auc(sc, bad), recall(sc, bad, 0.01))
				}
			}
			r := v.Combine(fs)
			sc := make([]float64, file.Rows())
			over, tp := 0, 0
			for i := range sc {
				sc[i] = r.Rows[i].Score
				if sc[i] >= 1 {
					over++
					if bad[i] {
						tp++
					}
				}
			}
			if a.name == "clean" {
				fmt.Printf(" || quarantined %d", over)
			} else if note("ALL", auc(sc, bad)); quiet {
				note("r1", recall(sc, bad, 0.01))
				note("qtp", float64(tp)/float64(count(bad)))
				note("qfp", float64(over-tp))
			} else {
				fmt.Printf(" || ALL %.3f r1 %.2f; quarantined %d, %d bad of %d", auc(sc, bad), recall(sc, bad, 0.01), over, tp, count(bad))
			}
			if !quiet {
				fmt.Println()
			}
			if os.Getenv("V") != "" {
				for _, f := range fs {
					for k, p := range f.Pattern {
						if k < 6 {
							fmt.Printf("      %.2f %s\n", p.Strength, p.Text)
						}
					}
				}
			}
		}
		if len(sums) > 0 {
			fmt.Printf("%-42s", a.name)
			for _, k := range []string{"labels", "neighbours", "outliers", "triggers", "clusters", "gradients", "duplicates", "novelty", "ALL", "r1", "qtp", "qfp"} {
				if x, ok := sums[k]; ok {
					fmt.Printf(" %.4s %.3g/%.3g", k, x, mins[k])
				}
			}
			fmt.Println()
		}
	}
}

func count(b []bool) int {
	n := 0
	for _, x := range b {
		if x {
			n++
		}
	}
	return n
}

func contains(s, sub string) bool {
	for i := 0; i+len(sub) <= len(s); i++ {
		if s[i:i+len(sub)] == sub {
			return true
		}
	}
	return false
}
