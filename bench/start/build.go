package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

// module is the product's root, seen from the bench directory.
const module = ".."

// A built is the program under test.
type built struct {
	binary   string // stripped
	stripped int64  // its size in bytes
	whole    int64  // size with symbols and debug information
	packages int    // in the build, the standard library's included
	cold     time.Duration
}

// build compiles pavise into dir: stripped, then whole, then once more with an
// empty build cache if cold. Modules are never fetched within the time measured.
func build(ctx context.Context, dir string, cold bool) (built, error) {
	b := built{binary: filepath.Join(dir, "pavise")}
	whole := filepath.Join(dir, "pavise-whole")
	if err := goBuild(ctx, nil, b.binary, "-trimpath", "-ldflags=-s -w"); err != nil {
		return b, err
	}
	if err := goBuild(ctx, nil, whole); err != nil {
		return b, err
	}
	var err error
	if b.stripped, err = fileSize(b.binary); err != nil {
		return b, err
	}
	if b.whole, err = fileSize(whole); err != nil {
		return b, err
	}
	if b.packages, err = countPackages(ctx); err != nil || !cold {
		return b, err
	}
	began := time.Now()
	err = goBuild(ctx, []string{"GOCACHE=" + filepath.Join(dir, "cache")}, filepath.Join(dir, "pavise-cold"))
	b.cold = time.Since(began)
	return b, err
}

func goBuild(ctx context.Context, env []string, out string, flags ...string) error {
	args := slices.Concat([]string{"build", "-o", out}, flags, []string{"./cmd/pavise"})
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = module
	cmd.Env = append(os.Environ(), env...)
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, text)
	}
	return nil
}

func countPackages(ctx context.Context) (int, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-deps", "./cmd/pavise")
	cmd.Dir = module
	text, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("go list: %w", err)
	}
	return bytes.Count(text, []byte("\n")), nil
}

func fileSize(name string) (int64, error) {
	info, err := os.Stat(name)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func sorted(times []time.Duration) []time.Duration { return slices.Sorted(slices.Values(times)) }
