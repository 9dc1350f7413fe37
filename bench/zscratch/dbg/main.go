package main

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pavise/pavise/internal/poison"
)

func auc(score []float64, bad []bool) float64 {
	order := make([]int, len(score))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(score[a], score[b]) })
	sum, n := 0.0, 0.0
	for from := 0; from < len(order); {
		to, here := from, 0.0
		for ; to < len(order) && score[order[to]] == score[order[from]]; to++ {
			if bad[order[to]] {
				here++
			}
		}
		sum += here * float64(from+to+1) / 2
		n += here
		from = to
	}
	return (sum - n*(n+1)/2) / (n * (float64(len(score)) - n))
}

func main() {
	only := flag.String("only", "trigger", "")
	jobsOnly := flag.String("jobs", "triggers", "")
	seeds := flag.Int("seeds", 2, "")
	from := flag.Int("from", 100, "")
	show := flag.Bool("show", false, "")
	based := flag.Bool("based", false, "")
	which := flag.String("world", "", "")
	rows := flag.Int("rows", 4500, "")
	flag.Parse()
	var worlds []*world
	kdd, _ := flows()
	worlds = append(worlds, kdd, orders(10000, 30, 5))
	list := append([]attack{{name: "none trigger flips cluster", act: func(s *scene) []bool { return make([]bool, s.file.Rows()) }}}, append(append(study(), adaptive()...), rates()...)...)
	var mu sync.Mutex
	var wg sync.WaitGroup
	slots := make(chan bool, 2)
	for _, w := range worlds {
		if !strings.Contains(w.name, *which) {
			continue
		}
		for _, a := range list {
			if !strings.Contains(a.name, *only) {
				continue
			}
			for s := range *seeds {
				wg.Add(1)
				slots <- true
				go func() {
					defer func() { <-slots; wg.Done() }()
					rng := rand.New(rand.NewPCG(uint64(*from+s), 3))
					file, base := w.draw(*rows, rng)
					if !*based {
						base = nil
					}
					clean := make([][]float64, len(file.Columns))
					for j := range clean {
						clean[j] = slices.Clone(file.Columns[j].Values)
					}
					bad := a.act(&scene{world: w, file: file, baseline: base, rng: rng})
					began := time.Now()
					v, err := poison.Prepare(file, base, 1)
					if err != nil {
						panic(err)
					}
					var found []poison.Finding
					for _, j := range v.Jobs() {
						if *jobsOnly == "all" || strings.Contains(*jobsOnly, j.Screen) {
							found = append(found, j.Run())
						}
					}
					r := v.Combine(found)
					n, caught, fp := 0, 0, 0
					score := make([]float64, len(bad))
					by := map[string]int{}
					for i := range bad {
						score[i] = r.Rows[i].Score
						if bad[i] {
							n++
						}
						if score[i] >= 1 {
							if bad[i] {
								caught++
							} else {
								fp++
								for _, x := range r.Rows[i].Reasons {
									if x.Score >= 1 {
										by[x.Screen]++
									}
								}
							}
						}
					}
					mu.Lock()
					defer mu.Unlock()
					desc := ""
					for j := range clean {
						for i := range bad {
							if bad[i] && clean[j][i] != file.Columns[j].Values[i] {
								if strings.Contains(a.name, "trigger") {
									x := file.Columns[j].Values[i]
									same := 0
									for _, y := range clean[j] {
										if y == x {
											same++
										}
									}
									desc += fmt.Sprintf(" %s=%g(%.0f%%)", file.Columns[j].Name, x, 100*float64(same)/float64(len(bad)))
								}
								break
							}
						}
					}
					fmt.Printf("%-8s %-45s s%d auc %.3f caught %d/%d fp %d %v  %.1fs%s\n", w.name, a.name, *from+s, auc(score, bad), caught, n, fp, by, time.Since(began).Seconds(), desc)
					if *show {
						for _, p := range r.Pattern[:min(6, len(r.Pattern))] {
							fmt.Printf("      %.2f %d/%d %s: %s\n", p.Strength, p.Rows, p.Known, p.Class, p.Text)
						}
					}
				}()
			}
		}
	}
	wg.Wait()
}
