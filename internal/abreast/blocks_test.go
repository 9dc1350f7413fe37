package abreast

import (
	"bytes"
	"crypto/sha256"
	"go/build"
	"slices"
	"testing"
)

// TestAssemblyIsLeftOut builds none where it cannot run, or nobody wants it.
func TestAssemblyIsLeftOut(t *testing.T) {
	for _, of := range []struct {
		arch string
		tags []string
		want []string
	}{
		{"amd64", nil, []string{"aes_amd64.s", "blocks_amd64.s"}},
		{"amd64", []string{"purego"}, nil},
		{"arm64", nil, nil},
	} {
		with := build.Default
		with.GOOS, with.GOARCH, with.BuildTags = "linux", of.arch, of.tags
		p, err := with.ImportDir(".", 0)
		if err != nil || !slices.Equal(p.SFiles, of.want) || slices.Contains(p.GoFiles, "blocks_other.go") != (of.want == nil) {
			t.Errorf("%s %q: %q and %q, %v", of.arch, of.tags, p.SFiles, p.GoFiles, err)
		}
	}
}

// TestSumAnywhere has messages that begin at any byte, lie over each other and are the same one,
// each in either lane.
func TestSumAnywhere(t *testing.T) {
	text := bytes.Repeat([]byte("a row, not aligned."), 80)
	for from := range 17 {
		for _, n := range []int{0, 1, 55, 56, 63, 64, 119, shortest, shortest + 1, shortest + 65} {
			a, b := text[from:from+n], text[2*from:2*from+128]
			isA, isB := sha256.Sum256(a), sha256.Sum256(b)
			got := Sum(nil, a, a, a, b, b, a)
			if want := slices.Concat(isA[:], isA[:], isA[:], isB[:], isB[:], isA[:]); !bytes.Equal(got, want) {
				t.Fatalf("%d bytes from byte %d have another digest", n, from)
			}
		}
	}
}
