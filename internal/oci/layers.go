package oci

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/text/unicode/norm"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/packed"
)

// The bounds of what layers unpack to.
const (
	maxFiles    = 1 << 14  // of a model
	maxEntries  = 1 << 16  // of an archive, directories among them
	maxUnpacked = 1 << 40  // bytes of a model
	freeBytes   = 64 << 20 // bytes of a layer before the ratio counts
	mostRatio   = 500      // of what a layer unpacks to, to its size
	maxPath     = 512
	maxDepth    = 32
	zstdWindow  = 128 << 20 // memory that a layer may ask for
	maxUnpacks  = 4         // layers at once
)

// A File is one file of a model.
type File struct {
	Path   string // below the model's directory, with slashes
	Size   int64
	Digest string // sha256: and 64 hexadecimal digits
}

// digestOf is the digest of a content.
func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// stampOf tells the files of a version from all others.
func stampOf(files []File) string {
	h := sha256.New()
	for _, f := range slices.SortedFunc(slices.Values(files), func(a, b File) int { return strings.Compare(a.Path, b.Path) }) {
		fmt.Fprintf(h, "%q %d %s\n", f.Path, f.Size, f.Digest)
	}
	return sumOf(h)
}

// maxStamps bounds how many stamps are remembered.
const maxStamps = 10_000

// stamp is that of the files of a version. They are read once for a sum.
func (r *Registry) stamp(ctx context.Context, v Version) (string, error) {
	r.mu.Lock()
	stamp, known := r.stamps[v.Sum]
	r.mu.Unlock()
	if known {
		return stamp, nil
	}
	files, err := v.Files(ctx)
	if err != nil {
		return "", err
	}
	stamp = stampOf(files)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.stamps) >= maxStamps {
		clear(r.stamps)
	}
	r.stamps[v.Sum] = stamp
	return stamp, nil
}

func sumOf(h hash.Hash) string { return "sha256:" + hex.EncodeToString(h.Sum(nil)) }

// A tree is the files of a model as they are unpacked.
type tree struct {
	keep  func(ctx context.Context, content io.Reader) (digest string, size int64, err error)
	files []File
	total int64
	seen  map[string]bool // what stands in the way of what: paths as a file system takes them, and whether each is a file
}

func newTree(keep func(context.Context, io.Reader) (string, int64, error)) *tree {
	return &tree{keep: keep, seen: map[string]bool{}}
}

// add takes one file, whose content is kept already.
func (t *tree) add(f File) error {
	if err := t.claim(f.Path, true); err != nil {
		return err
	}
	if len(t.files) == maxFiles {
		return refuse(codeManifestInvalid, fmt.Sprintf("the model has more than %d files", maxFiles), "a dataset has a registry of its own: pavise dataset")
	}
	if t.total += f.Size; t.total > maxUnpacked {
		return refuse(codeSize, fmt.Sprintf("the model unpacks to more than %d bytes", int64(maxUnpacked)), "split it")
	}
	t.files = append(t.files, f)
	return nil
}

// claim takes a place in the tree, and refuses one that a file system that knows no case, or
// writes letters in another form, would take for another's.
func (t *tree) claim(name string, file bool) error {
	if err := checkPath(name); err != nil {
		return err
	}
	key := strings.ToLower(norm.NFKC.String(name))
	if len(t.seen) > 2*maxEntries {
		return refuse(codeManifestInvalid, fmt.Sprintf("the model has more than %d files and directories", 2*maxEntries), "lay files flatter")
	}
	was, there := t.seen[key]
	if there && (was || file) {
		return refuse(codeManifestInvalid, fmt.Sprintf("%.200q stands in the model twice, as somebody reads it", name), "give each file a name that differs in more than case")
	}
	t.seen[key] = file
	for dir := path.Dir(key); dir != "."; dir = path.Dir(dir) {
		if was, there := t.seen[dir]; there && was {
			return refuse(codeManifestInvalid, fmt.Sprintf("%.200q is below what is a file", name), "give each file a name of its own")
		} else if there {
			break
		}
		t.seen[dir] = false
	}
	return nil
}

// checkPath refuses a path that leads out of the model's directory, or that two systems would
// read in two ways.
func checkPath(name string) error {
	odd := func(r rune) bool { return r == '\\' || r == ':' || !unicode.IsGraphic(r) || unicode.Is(unicode.Cf, r) }
	switch {
	case name == "" || name == ".":
		return refuse(codeManifestInvalid, "a file of the model has no name", "name each file: the annotation "+annotationPath+" of a raw layer, or its name in an archive")
	case len(name) > maxPath || !utf8.ValidString(name) || strings.ContainsFunc(name, odd):
		return refuse(codeManifestInvalid, fmt.Sprintf("%.200q is no name of a file that every system reads alike", name), fmt.Sprintf("write at most %d bytes of plain letters, with slashes", maxPath))
	case path.IsAbs(name) || path.Clean(name) != name || strings.HasPrefix(name, "../") || name == "..":
		return refuse(codeManifestInvalid, fmt.Sprintf("%.200q leads out of the model's directory, or in circles", name), "name files below it: weights/model.safetensors")
	case strings.Count(name, "/") >= maxDepth:
		return refuse(codeManifestInvalid, fmt.Sprintf("%.200q lies more than %d directories deep", name, maxDepth), "lay files flatter")
	}
	for part := range strings.SplitSeq(name, "/") {
		if strings.HasSuffix(part, " ") || strings.HasSuffix(part, ".") {
			return refuse(codeManifestInvalid, fmt.Sprintf("%.200q ends in a way that some systems cut off", name), "end names with a letter or digit")
		}
	}
	return nil
}

// layerPath is the file that a raw layer is.
func layerPath(l descriptor) (string, error) {
	name, title := l.Annotations[annotationPath], l.Annotations[annotationTitle]
	if name != "" && title != "" && path.Base(name) != path.Base(title) {
		return "", refuse(codeManifestInvalid, fmt.Sprintf("the layer %s has two names: %.100q and %.100q", l.Digest, name, title), "give it one, in "+annotationPath)
	}
	if name == "" {
		name = title
	}
	return strings.TrimPrefix(name, "./"), nil
}

// raw takes a layer that is one file, and needs no unpacking.
func (t *tree) raw(l descriptor, diff string) error {
	name, err := layerPath(l)
	if err != nil {
		return err
	}
	if diff != l.Digest {
		return refuse(codeManifestInvalid, fmt.Sprintf("the configuration says that %s unpacks to %s, and it is not packed", l.Digest, diff), "write the digest of the file")
	}
	return t.add(File{Path: name, Size: l.Size, Digest: l.Digest})
}

// unpack takes the files of an archive, which is what the layer says and unpacks to what the
// configuration says.
func (t *tree) unpack(ctx context.Context, l descriptor, form, diff string, content io.Reader) error {
	name := "layer " + l.Digest
	text, done, err := unpacker(content, form, name, l.Size)
	if err != nil {
		return err
	}
	defer done()
	sum := sha256.New()
	plain := io.TeeReader(text, sum)
	if err := t.entries(ctx, tar.NewReader(plain), name); err != nil {
		return err
	}
	if err := onlyZeros(plain); err != nil {
		return broken(name, err)
	}
	if got := sumOf(sum); got != diff {
		return refuse(codeManifestInvalid, fmt.Sprintf("%s unpacks to %s, and the configuration says %s", name, got, diff), "pack the model again")
	}
	return nil
}

// unpacker reads what a layer unpacks to, within bounds.
func unpacker(content io.Reader, form, name string, size int64) (text io.Reader, done func(), err error) {
	bounds := packed.Bounds{Bytes: maxUnpacked, Ratio: mostRatio, Free: freeBytes}
	switch form {
	case formGzip:
		u, err := packed.NewReader(content, name, bounds)
		if err == nil && !u.Compressed() {
			err = refuse(codeManifestInvalid, name+" is not compressed with gzip, as its media type says", "give it the media type of what it is")
		}
		return u, func() {}, err
	case formZstd:
		d, err := zstd.NewReader(content, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(zstdWindow), zstd.WithDecoderMaxMemory(zstdWindow))
		if err != nil {
			return nil, nil, broken(name, err)
		}
		most := min(int64(maxUnpacked), max(freeBytes, size*mostRatio))
		return &bounded{d, most, name}, d.Close, nil
	}
	return content, func() {}, nil
}

// bounded reads what must not grow without end.
type bounded struct {
	io.Reader
	left int64
	name string
}

// Read implements io.Reader.
func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, refuse(codeManifestInvalid, fmt.Sprintf("%s unpacks to more than %d times its size, as a bomb does", b.name, mostRatio), "push it as it is, without compression")
	}
	return n, err
}

// entries takes the files of an archive: regular ones alone, and directories.
func (t *tree) entries(ctx context.Context, archive *tar.Reader, name string) error {
	for n := 0; ; n++ {
		h, err := archive.Next()
		if err == io.EOF {
			if n == 0 {
				return refuse(codeManifestInvalid, name+" is an empty archive", "leave the layer out")
			}
			return nil
		}
		if err != nil {
			return broken(name, err)
		}
		if n == maxEntries {
			return refuse(codeManifestInvalid, fmt.Sprintf("%s has more than %d entries", name, maxEntries), "split it")
		}
		if err := t.entry(ctx, h, archive, name); err != nil {
			return err
		}
	}
}

// entry takes one entry of an archive.
func (t *tree) entry(ctx context.Context, h *tar.Header, content io.Reader, name string) error {
	at := strings.TrimPrefix(h.Name, "./")
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return refuse(codeManifestInvalid, fmt.Sprintf("%.200q in %s is a file with holes", h.Name, name), "pack it whole")
		}
	}
	switch h.Typeflag {
	case tar.TypeDir:
		if at = strings.TrimSuffix(at, "/"); at == "" || at == "." {
			return nil // the directory of the model itself
		}
		return t.claim(at, false)
	case tar.TypeReg:
	case tar.TypeXGlobalHeader:
		return nil
	default:
		return refuse(codeManifestInvalid, fmt.Sprintf("%.200q in %s is a link, a device or another thing that is no file", h.Name, name), "pack files and directories alone")
	}
	if err := checkPath(at); err != nil { // before anything of it is kept
		return err
	}
	from := &telling{Reader: content}
	digest, size, err := t.keep(ctx, from)
	if err != nil && from.failed != nil {
		return broken(name, from.failed)
	}
	if err != nil {
		return err
	}
	if size != h.Size {
		return broken(name, io.ErrUnexpectedEOF)
	}
	return t.add(File{Path: at, Size: size, Digest: digest})
}

// telling remembers why a content broke off, which who keeps it may say in words of its own.
type telling struct {
	io.Reader
	failed error
}

// Read implements io.Reader.
func (t *telling) Read(p []byte) (int, error) {
	n, err := t.Reader.Read(p)
	if err != nil && err != io.EOF {
		t.failed = err
	}
	return n, err
}

// onlyZeros reads an archive to its end: behind the mark of its end some readers go on.
func onlyZeros(r io.Reader) error {
	var room [32 << 10]byte
	for {
		n, err := r.Read(room[:])
		for _, b := range room[:n] {
			if b != 0 {
				return fmt.Errorf("something stands behind the end of the archive")
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// broken says that a layer cannot be unpacked. Errors of who keeps files stay what they are.
func broken(name string, err error) error {
	if pavise.KindOf(err) != pavise.Internal {
		return err
	}
	return refuseFor(codeManifestInvalid, fmt.Sprintf("%s cannot be unpacked: %.200v", name, err), "pack the model again", err)
}
