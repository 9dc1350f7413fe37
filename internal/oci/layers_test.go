package oci

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/pavise/pavise"
)

// counted takes files and keeps none.
func counted(ctx context.Context, content io.Reader) (string, int64, error) {
	text, err := io.ReadAll(content)
	return digestOf(text), int64(len(text)), err
}

// unpackAs unpacks one layer.
func unpackAs(form string, text []byte) error {
	content := compressed(form, text)
	l := descriptor{Digest: digestOf(content), Size: int64(len(content))}
	return newTree(counted).unpack(context.Background(), l, form, digestOf(text), bytes.NewReader(content))
}

// special is an archive of one entry that is no plain file.
func special(h tar.Header) []byte {
	var out bytes.Buffer
	t := tar.NewWriter(&out)
	_ = t.WriteHeader(&h)
	_ = t.Close()
	return out.Bytes()
}

// TestHostileArchives refuses archives that would lay a file elsewhere, or that two readers
// read in two ways.
func TestHostileArchives(t *testing.T) {
	deep := strings.Repeat("d/", maxDepth) + "f"
	plain := archive("a", "x")
	cases := map[string][]byte{
		"out":                   archive("../a", "x"),
		"out of the middle":     archive("b/../../a", "x"),
		"in circles":            archive("b/../a", "x"),
		"from the root":         archive("/etc/passwd", "x"),
		"from a drive":          archive("c:/a", "x"),
		"a backslash":           archive(`..\a`, "x"),
		"no name":               archive(".", "x"),
		"a control character":   archive("a\nb", "x"),
		"a hidden character":    archive("a\u202eb", "x"),
		"no text":               archive("a\xffb", "x"),
		"ends with a dot":       archive("a.", "x"),
		"too deep":              archive(deep, "x"),
		"too long":              archive(strings.Repeat("a", maxPath+1), "x"),
		"twice":                 archive("a", "x", "a", "y"),
		"twice but for case":    archive("A", "x", "a", "y"),
		"twice but for form":    archive("\u00e9", "x", "e\u0301", "y"),
		"below a file":          archive("a", "x", "a/b", "y"),
		"a file above":          archive("a/b", "x", "a", "y"),
		"a directory of a file": archive("a", "x", "a/", ""),
		"empty":                 archive(),
		"cut off":               plain[:512],
		"no archive":            []byte(strings.Repeat("not a tar archive. ", 100)),
		"something behind":      append(bytes.Clone(plain), plain...),
		"a link":                special(tar.Header{Name: "a", Linkname: "/etc/passwd", Typeflag: tar.TypeSymlink}),
		"a hard link":           special(tar.Header{Name: "a", Linkname: "b", Typeflag: tar.TypeLink}),
		"a device":              special(tar.Header{Name: "a", Typeflag: tar.TypeChar}),
		"a pipe":                special(tar.Header{Name: "a", Typeflag: tar.TypeFifo}),
	}
	for name, text := range cases {
		for _, form := range []string{formTar, formGzip, formZstd} {
			if err := unpackAs(form, text); pavise.KindOf(err) != pavise.Invalid {
				t.Errorf("%s, %s: %v", name, form, err)
			}
		}
	}
	for _, form := range []string{formTar, formGzip, formZstd} {
		if err := unpackAs(form, archive("./", "", "b/", "", "./b/a", "x", "b/c", "")); err != nil {
			t.Errorf("%s: %v", form, err)
		}
	}
}

// TestBombs ends what unpacks without end, early.
func TestBombs(t *testing.T) {
	t.Parallel()
	const size = 96 << 20
	var out bytes.Buffer
	zeros := io.LimitReader(zero{}, size)
	header := func() []byte {
		var head bytes.Buffer
		_ = tar.NewWriter(&head).WriteHeader(&tar.Header{Name: "a", Size: size, Typeflag: tar.TypeReg})
		return head.Bytes()
	}()
	for _, form := range []string{formGzip, formZstd} {
		out.Reset()
		z := compressor(form, &out)
		_, _ = z.Write(header)
		_, _ = io.Copy(z, zeros)
		_ = z.Close()
		zeros = io.LimitReader(zero{}, size)
		if out.Len() > size/mostRatio {
			t.Fatalf("%s: %d bytes are no bomb", form, out.Len())
		}
		var kept int64
		tr := newTree(func(_ context.Context, content io.Reader) (string, int64, error) {
			n, err := io.Copy(io.Discard, content)
			kept += n
			return digestOf(nil), n, err
		})
		err := tr.unpack(t.Context(), descriptor{Digest: digestOf(out.Bytes()), Size: int64(out.Len())}, form, digestOf(nil), &out)
		if pavise.KindOf(err) != pavise.Invalid || !strings.Contains(err.Error(), "bomb") || kept > freeBytes {
			t.Errorf("%s: after %d bytes: %v", form, kept, err)
		}
	}
}

type zero struct{}

func (zero) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// TestSparse refuses files with holes, which grow from nothing.
func TestSparse(t *testing.T) {
	text := special(tar.Header{Name: "a", Typeflag: tar.TypeReg})
	sparse := bytes.Clone(text)
	sparse[156] = tar.TypeGNUSparse
	copy(sparse[257:], "ustar  \x00")
	fix(sparse)
	if err := unpackAs(formTar, sparse); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("old form: %v", err)
	}
	h := &tar.Header{Name: "a", Typeflag: tar.TypeReg, PAXRecords: map[string]string{"GNU.sparse.major": "1"}}
	if err := newTree(counted).entry(t.Context(), h, strings.NewReader(""), "layer"); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("PAX: %v", err)
	}
}

// fix writes the sum of a header.
func fix(block []byte) {
	copy(block[148:156], "        ")
	sum := 0
	for _, b := range block[:512] {
		sum += int(b)
	}
	copy(block[148:156], fmt.Sprintf("%06o\x00 ", sum))
}

// TestLayersThatLie refuses a layer that is not what it says.
func TestLayersThatLie(t *testing.T) {
	text := archive("a", "x")
	unpack := func(form, diff string, content []byte) error {
		return newTree(counted).unpack(t.Context(), descriptor{Digest: digestOf(content), Size: int64(len(content))}, form, diff, bytes.NewReader(content))
	}
	for name, err := range map[string]error{
		"another diffId":           unpack(formTar, digestOf(nil), text),
		"gzip that is none":        unpack(formGzip, digestOf(text), text),
		"gzip that is Zstandard":   unpack(formGzip, digestOf(text), compressed(formZstd, text)),
		"Zstandard that is gzip":   unpack(formZstd, digestOf(text), compressed(formGzip, text)),
		"tar that is gzip":         unpack(formTar, digestOf(text), compressed(formGzip, text)),
		"gzip that is cut off":     unpack(formGzip, digestOf(text), compressed(formGzip, text)[:30]),
		"gzip with a changed byte": unpack(formGzip, digestOf(text), changed(compressed(formGzip, text))),
	} {
		if pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := newTree(counted).raw(descriptor{Digest: digestOf(nil), Annotations: map[string]string{annotationPath: "a"}}, digestOf([]byte("x"))); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("a raw layer that unpacks to something else: %v", err)
	}
	away := errors.New("the bucket is away")
	err := newTree(func(context.Context, io.Reader) (string, int64, error) { return "", 0, away }).unpack(t.Context(), descriptor{}, formTar, digestOf(text), bytes.NewReader(text))
	if !errors.Is(err, away) || pavise.KindOf(err) == pavise.Invalid {
		t.Errorf("the client is told that it is at fault: %v", err)
	}
	err = newTree(counted).unpack(t.Context(), descriptor{}, formTar, digestOf(text), io.MultiReader(bytes.NewReader(text[:600]), iotest.ErrReader(&pavise.Error{Kind: pavise.Unverified, Msg: "changed on the disk"})))
	if pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("a blob that was changed on the disk: %v", err)
	}
}

func changed(b []byte) []byte {
	b[len(b)-6] ^= 1
	return b
}

// TestManyFiles bounds what a model has.
func TestManyFiles(t *testing.T) {
	tr := newTree(counted)
	var err error
	for i := 0; err == nil && i <= maxFiles; i++ {
		err = tr.add(File{Path: fmt.Sprintf("f%d", i), Digest: digestOf(nil)})
	}
	if pavise.KindOf(err) != pavise.Invalid || len(tr.files) != maxFiles {
		t.Errorf("%d files: %v", len(tr.files), err)
	}
	if err := newTree(counted).add(File{Path: "a", Size: maxUnpacked + 1}); pavise.KindOf(err) != pavise.Invalid {
		t.Error(err)
	}
}
