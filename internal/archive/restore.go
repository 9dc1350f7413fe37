package archive

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/audit"
	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/store/blob"
)

// Progress is told of long work: so many bytes done, of so many; it may be nil.
type Progress func(done, of int64)

// Restore makes a log's directory from the archive: every segment that is there,
// and the checkpoint at the end of the last. The directory must be empty or not
// there. What comes is proved as [audit.Verify] does, with what the options know;
// on an error what was written is taken away again. An archive of several logs needs
// the origin of the one that is meant.
func Restore(ctx context.Context, b blob.Bucket, origin, dir string, opts audit.Options, progress Progress) (audit.Report, error) {
	manifests, err := manifestsOf(ctx, b, origin)
	if err != nil {
		return audit.Report{}, err
	}
	d, err := emptyDirectory(dir)
	if err != nil {
		return audit.Report{}, err
	}
	report, err := restoreInto(ctx, b, d, manifests, opts, progress)
	return report, d.settle(err)
}

// restoreInto brings the segments of the manifests, and makes a log of them.
func restoreInto(ctx context.Context, b blob.Bucket, d disk.Directory, manifests []Manifest, opts audit.Options, progress Progress) (audit.Report, error) {
	var total, done int64
	for _, m := range manifests {
		total += m.Bytes
	}
	for _, m := range manifests {
		if err := fetch(ctx, b, d, m); err != nil {
			return audit.Report{}, err
		}
		if done += m.Bytes; progress != nil {
			progress(done, total)
		}
	}
	last := manifests[len(manifests)-1]
	note, err := read(ctx, b, last.checkpoint(), proof.MaxNote)
	if err != nil {
		return audit.Report{}, err
	}
	cp, err := proof.Parse(note)
	if err != nil {
		return audit.Report{}, err
	}
	if cp.Origin != last.Origin || cp.Size != last.First+last.Count {
		return audit.Report{}, &pavise.Error{
			Kind: pavise.Unverified, Msg: fmt.Sprintf("%s in the archive is a checkpoint of %d records of the log %.100q", last.checkpoint(), cp.Size, cp.Origin),
			Hint: "somebody put it there: look for an older version of the object",
		}
	}
	return finish(d, []byte(strings.Join(last.Keys, "\n")+"\n"), note, opts)
}

// finish completes a directory that holds segments, and proves it. The checkpoint
// comes last: without one a directory is no log.
func finish(d disk.Directory, origin, note []byte, opts audit.Options) (report audit.Report, err error) {
	if err := disk.Replace(d, "origin", origin); err != nil {
		return audit.Report{}, disk.Fault("write origin", err)
	}
	if err = disk.Replace(d, "checkpoint", note); err != nil {
		err = disk.Fault("write checkpoint", err)
	}
	if err == nil {
		if err = audit.Repair(d, opts); err != nil && pavise.KindOf(err) == pavise.Internal {
			err = disk.Fault("make the hash files", err)
		}
	}
	if err == nil {
		report, err = audit.VerifyOn(d, opts)
	}
	if err == nil {
		return report, nil
	}
	if removed := d.Remove("checkpoint"); removed != nil && !errors.Is(removed, os.ErrNotExist) {
		err = errors.Join(err, disk.Fault("take the checkpoint away again", removed))
	}
	return audit.Report{}, err
}

// manifestsOf returns the manifests of a log in the archive, in order and without
// a gap.
func manifestsOf(ctx context.Context, b blob.Bucket, origin string) ([]Manifest, error) {
	prefix := ""
	if origin != "" {
		prefix = folder(origin)
	}
	var manifests []Manifest
	for o, err := range b.List(ctx, prefix) {
		if err != nil {
			return nil, err
		}
		if !strings.HasSuffix(o.Name, ".seg.json") {
			continue
		}
		m, err := readManifest(ctx, b, o.Name)
		if err != nil {
			return nil, err
		}
		manifests = append(manifests, m)
	}
	slices.SortFunc(manifests, func(x, y Manifest) int { return cmp.Compare(x.First, y.First) })
	if len(manifests) == 0 {
		return nil, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("%s holds no segment of a log", b.Place().URL), Hint: "is it the right address, and the right origin?"}
	}
	next, want := uint64(0), cmp.Or(origin, manifests[0].Origin)
	for _, m := range manifests {
		if m.Origin != want {
			return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the archive holds several logs: %s and %s", want, m.Origin), Hint: "say which one with --origin"}
		}
		if m.First != next {
			return nil, &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("the archive lacks records %d to %d", next, m.First-1), Hint: "somebody removed them: look for older versions of the objects"}
		}
		next = m.First + m.Count
	}
	return manifests, nil
}

// fetch brings one segment from the archive.
func fetch(ctx context.Context, b blob.Bucket, d disk.Directory, m Manifest) error {
	r, err := b.Get(ctx, m.segment())
	if err != nil {
		return err
	}
	defer r.Close()
	name := disk.SegmentName(m.First)
	f, err := d.Open(name, true)
	if err != nil {
		return disk.Fault("make "+name, err)
	}
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(io.NewOffsetWriter(f, 0), io.TeeReader(io.LimitReader(awaited{ctx, r}, m.Bytes+1), sum))
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return disk.Fault("bring "+name, err)
	}
	if n != m.Bytes || hex.EncodeToString(sum.Sum(nil)) != m.SHA256 {
		return &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("%s in the archive is not the segment that its manifest describes", m.segment()), Hint: "look for an older version of the object"}
	}
	return nil
}

// Backup copies a log's directory, also one that is being written, up to its
// checkpoint, into a directory that is empty or not there, and proves the copy; on an error what
// was written is taken away again. The
// keys are not in a log's directory, and so not in the copy. Restoring a backup is
// the same, the other way.
func Backup(ctx context.Context, from, to string, opts audit.Options, progress Progress) (audit.Report, error) {
	src := disk.Dir{Path: from, ReadOnly: true}
	origin, err := disk.Read(src, "origin", proof.MaxNote)
	if errors.Is(err, os.ErrNotExist) {
		return audit.Report{}, &pavise.Error{Kind: pavise.NotFound, Msg: from + " holds no evidence log", Hint: "name the ledger directory itself, for example pavise-data/ledger", Err: err}
	}
	if err != nil {
		return audit.Report{}, disk.Fault("read origin", err)
	}
	// Before the checkpoint, which then covers at least as much.
	witnessed, err := disk.Read(src, "witnessed", proof.MaxNote)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return audit.Report{}, disk.Fault("read witnessed", err)
	}
	note, err := disk.Read(src, "checkpoint", proof.MaxNote)
	if err != nil {
		return audit.Report{}, disk.Fault("read checkpoint", err)
	}
	cp, err := proof.Parse(note)
	if err != nil {
		return audit.Report{}, err
	}
	d, err := emptyDirectory(to)
	if err != nil {
		return audit.Report{}, err
	}
	report, err := copyInto(ctx, src, d, head{origin, note, witnessed, cp.Size}, opts, progress)
	return report, d.settle(err)
}

// A head is what stands above a log's records.
type head struct {
	origin, note, witnessed []byte
	size                    uint64 // records under the note
}

// copyInto copies the records under a head, and makes a log of them.
func copyInto(ctx context.Context, src, dst disk.Directory, h head, opts audit.Options, progress Progress) (audit.Report, error) {
	if err := copySegments(ctx, src, dst, h.size, progress); err != nil {
		return audit.Report{}, err
	}
	if err := copyHashes(ctx, src, dst, h.size); err != nil {
		return audit.Report{}, err
	}
	if h.witnessed != nil {
		if err := disk.Replace(dst, "witnessed", h.witnessed); err != nil {
			return audit.Report{}, disk.Fault("write witnessed", err)
		}
	}
	return finish(dst, h.origin, h.note, opts)
}

// copySegments copies the first size records.
func copySegments(ctx context.Context, src, dst disk.Directory, size uint64, progress Progress) error {
	segments, err := disk.Segments(src)
	if err != nil {
		return err
	}
	var total, done int64
	for _, seg := range segments {
		total += seg.Size
	}
	for i, seg := range segments {
		if seg.First >= size {
			break
		}
		if i == len(segments)-1 || segments[i+1].First > size {
			if seg.Size, err = lengthOf(src, seg, size-seg.First); err != nil {
				return err
			}
		}
		if err := copyFile(ctx, src, dst, seg.Name(), seg.Size); err != nil {
			return err
		}
		if done += seg.Size; progress != nil {
			progress(done, total)
		}
	}
	return nil
}

// lengthOf returns how many bytes the first count entries of a segment take.
func lengthOf(d disk.Directory, seg disk.Segment, count uint64) (int64, error) {
	f, err := d.Open(seg.Name(), false)
	if err != nil {
		return 0, disk.Fault("open "+seg.Name(), err)
	}
	defer f.Close()
	frames := disk.NewFrames(io.NewSectionReader(f, 0, seg.Size))
	for range count {
		if _, err := frames.Next(); err != nil {
			return 0, &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("%s ends before the checkpoint does", seg.Name()), Hint: "run pavise ledger verify", Err: err}
		}
	}
	return frames.Offset, nil
}

// copyHashes copies the hash files as far as the first size records go. Of pruned
// records they are all there is; what of the rest is wrong or missing is made anew.
func copyHashes(ctx context.Context, src, dst disk.Directory, size uint64) error {
	for level := 0; size>>(proof.TileHeight*level) > 0; level++ {
		name := disk.LevelName(level)
		have, err := disk.Size(src, name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return disk.Fault("look at "+name, err)
		}
		want := int64(size>>(proof.TileHeight*level)) * 32
		if err := copyFile(ctx, src, dst, name, min(have, want)); err != nil {
			return err
		}
	}
	return nil
}

// copyFile copies the first size bytes of a file, durably.
func copyFile(ctx context.Context, src, dst disk.Directory, name string, size int64) error {
	from, err := src.Open(name, false)
	if err != nil {
		return disk.Fault("open "+name, err)
	}
	defer from.Close()
	to, err := dst.Open(name, true)
	if err != nil {
		return disk.Fault("make "+name, err)
	}
	defer to.Close()
	if _, err := io.Copy(io.NewOffsetWriter(to, 0), awaited{ctx, io.NewSectionReader(from, 0, size)}); err != nil {
		return disk.Fault("copy "+name, err)
	}
	if err := to.Sync(); err != nil {
		return disk.Fault("copy "+name, err)
	}
	return nil
}

// An awaited reader ends with its context.
type awaited struct {
	ctx context.Context
	io.Reader
}

func (r awaited) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}
