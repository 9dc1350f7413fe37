package main

import (
	"fmt"
	"os"
	"runtime/pprof"
	"syscall"

	"github.com/pavise/pavise/internal/poison"
	"math"
	"math/rand/v2"
)

func cpu() float64 {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return float64(u.Utime.Sec+u.Stime.Sec) + float64(u.Utime.Usec+u.Stime.Usec)/1e6
}

func table(n, cols int) *poison.Table {
	rng := rand.New(rand.NewPCG(9, 77))
	t := &poison.Table{Classes: []string{"a", "b"}}
	for j := range cols {
		c := poison.Column{Name: fmt.Sprint("c", j)}
		if j%10 == 9 {
			for k := range 30 {
				c.Texts = append(c.Texts, fmt.Sprint("t", k))
			}
		}
		t.Columns = append(t.Columns, c)
	}
	for range n {
		y := rng.IntN(2)
		z := rng.NormFloat64()
		for j := range cols {
			x := 0.0
			switch {
			case j%10 == 9:
				x = math.Floor(30 * rng.Float64() * rng.Float64())
			case j%5 == 0:
				x = math.Round(100 * math.Exp(2+z*0.5+rng.NormFloat64()+float64(y)*0.3)) / 100
			case j%5 == 1:
				x = math.Floor(math.Abs(rng.NormFloat64() * 2))
			case j%5 == 2:
				x = math.Round(100*(rng.NormFloat64()+z+float64(y))) / 100
			case j%5 == 3:
				x = float64(rng.IntN(5))
			default:
				x = math.Round(1000*rng.Float64()) / 1000
			}
			t.Columns[j].Values = append(t.Columns[j].Values, x)
		}
		t.Labels = append(t.Labels, y)
	}
	return t
}

func main() {
	n := 100000
	fmt.Sscan(os.Args[1], &n)
	t := table(n, 50)
	f, _ := os.Create("/tmp/hp/cpu.prof")
	a := cpu()
	pprof.StartCPUProfile(f)
	v, err := poison.Prepare(t, nil, 1)
	if err != nil {
		panic(err)
	}
	b := cpu()
	fmt.Printf("prepare %.2f\n", b-a)
	start := a
	for _, j := range v.Jobs() {
		a = cpu()
		j.Run()
		fmt.Printf("%-12s %.2f\n", j.Screen, cpu()-a)
	}
	pprof.StopCPUProfile()
	fmt.Printf("total %.2f\n", cpu()-start)
}
