package artefact

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pavise/pavise"
)

// A Scan is a look at the files of a model. Its fields are what is asked for on a command line.
type Scan struct {
	Path string `arg:"" help:"A file, or a directory with all that is below it."`

	Say func(text string) `kong:"-" json:"-"` // told how far it is; nil: nobody watches
}

// Help says what is looked for. It is kong's hook for a command's help.
func (*Scan) Help() string {
	return `Says what the files of a model would do if they were loaded. Nothing is run: the opcodes of pickles
are followed on a stack of their own. What a file is its content says, and not its name: pickles (PyTorch, joblib,
scikit-learn), archives and compressed files with what is in them, ONNX, SavedModel, Keras, safetensors, NumPy, GGUF.

  pavise model scan downloads/model/
  pavise model scan pytorch_model.bin --json

Exit code 0: clean. 1: suspicious or malicious. 2: not everything could be looked at.`
}

// A scan is one under way.
type scan struct {
	ctx    context.Context
	report *Report
	told   map[string]bool  // what was told of this file already
	said   map[Severity]int // how much of it

	parts            int   // of this file
	packed, unpacked int64 // bytes of this file, and of what came out of it
	free, ratio      int64 // what unpacks to more than free must not be more than ratio times its size
	work             int64 // bytes that were looked through, some of them again and again
	bombed           bool
}

// The bounds of what a file may unpack to: deflate grows to 1032 times its size at most, and
// tensors of nothing but zeros come near.
const (
	freeBytes = 256 << 20
	mostRatio = 500
	maxFiles  = 1 << 20

	freeWork = 512 << 20 // bytes that are looked through, and
	mostWork = 32        // times the size of a file beyond that: headers, ends and gaps are looked at more than once
)

// Run looks. Its error is that there was nothing to look at; what is wrong with files is in
// the report.
func (c *Scan) Run(ctx context.Context) (*Report, error) {
	info, err := os.Stat(c.Path)
	if err != nil {
		return nil, openFault(c.Path, err)
	}
	s := &scan{ctx: ctx, report: &Report{Path: c.Path, Verdict: Clean}, free: freeBytes, ratio: mostRatio}
	if info.IsDir() {
		root, err2 := filepath.EvalSymlinks(c.Path) // a root that is a link would not be walked
		if err2 != nil {
			return nil, openFault(c.Path, err2)
		}
		err = s.walk(&Scan{Path: root, Say: c.Say})
	} else {
		s.file(c.Path, filepath.Base(c.Path))
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	s.report.settle()
	return s.report, nil
}

func openFault(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &pavise.Error{Kind: pavise.NotFound, Msg: "no file " + path, Hint: "name a file or a directory", Err: err}
	case errors.Is(err, fs.ErrPermission):
		return &pavise.Error{Kind: pavise.Denied, Msg: path + " may not be read", Err: err}
	}
	return fmt.Errorf("open %s: %w", path, err)
}

// walk looks at all files of a directory. It follows no links out of it.
func (s *scan) walk(c *Scan) error {
	err := filepath.WalkDir(c.Path, func(path string, d fs.DirEntry, err error) error {
		name, _ := filepath.Rel(c.Path, path)
		switch {
		case s.ctx.Err() != nil:
			return s.ctx.Err()
		case s.report.Files >= maxFiles:
			s.fresh()
			s.tell(part{file: name}, Finding{Severity: Unreadable, Rule: "size", Why: "there are more files than are looked at", Next: "scan its directories one by one"})
			return filepath.SkipAll
		case err != nil:
			s.fresh()
			s.tell(part{file: name}, Finding{Severity: Unreadable, Rule: "file", Why: "it cannot be read: " + openFault(name, err).Error(), Next: "let yourself read it, and scan again"})
			return nil
		case d.IsDir():
			return nil
		case d.Type()&fs.ModeSymlink != 0:
			s.link(c.Path, path, name)
			return nil
		case !d.Type().IsRegular():
			s.fresh()
			s.tell(part{file: name}, Finding{Severity: Suspicious, Rule: "file", Why: "it is a device, a pipe or a socket: a model has none", Next: nextVet})
			return nil
		}
		if c.Say != nil {
			c.Say(fmt.Sprintf("%d files, %s", s.report.Files, name))
		}
		s.file(path, filepath.ToSlash(name))
		return nil
	})
	if err == nil && s.report.Files == 0 && len(s.report.Findings) == 0 {
		return &pavise.Error{Kind: pavise.Invalid, Msg: c.Path + " holds no files", Hint: "name the directory of a model"}
	}
	return err
}

// link tells of a link that leads out of the directory. Those that stay inside are what model
// hubs lay down in their caches, and lead to files that are looked at themselves.
func (s *scan) link(root, path, name string) {
	s.fresh()
	inside, err := filepath.EvalSymlinks(root)
	to, err2 := filepath.EvalSymlinks(path)
	if err != nil || err2 != nil {
		s.tell(part{file: name}, Finding{Severity: Unreadable, Rule: "link", Why: "it is a link that leads nowhere", Next: nextAgain})
		return
	}
	if filepath.Dir(to) == filepath.Join(filepath.Dir(filepath.Dir(inside)), "blobs") { // as Hugging Face's cache is laid out
		s.file(to, filepath.ToSlash(name))
		return
	}
	if rel, err := filepath.Rel(inside, to); err != nil || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		s.tell(part{file: name}, Finding{Severity: Suspicious, Rule: "link", Why: "it is a link that leads out of the directory, to " + clip(to), Next: "scan what it leads to, and put that in its place"})
		return
	}
	if to, err := os.Stat(to); err == nil && to.Mode().IsRegular() && filepath.Ext(path) != filepath.Ext(to.Name()) {
		s.file(path, filepath.ToSlash(name)) // a loader that goes by its name takes it for something else
	}
}

// file looks at one file.
func (s *scan) file(path, name string) {
	s.parts, s.packed, s.unpacked, s.work, s.bombed = 0, 0, 0, 0, false
	s.fresh()
	s.report.Files++
	w := part{file: name, dir: filepath.Dir(path)}
	f, err := os.Open(path)
	if err != nil {
		s.tell(w, Finding{Severity: Unreadable, Rule: "file", Why: openFault(name, err).Error(), Next: "let yourself read it, and scan again"})
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		s.tell(w, Finding{Severity: Unreadable, Rule: "file", Why: "it is no file that can be read", Next: nextVet})
		return
	}
	w.at, w.size, w.in, s.packed = f, info.Size(), bufio.NewReaderSize(f, 1<<16), info.Size()
	s.look(w)
}

// spend counts what is looked through beside what is unpacked, and ends a file whose members
// lie on top of each other so often that it would go on without end.
func (s *scan) spend(w part, n int64) {
	if s.work += n; s.work > freeWork && s.work/mostWork > s.packed+s.unpacked && !s.bombed {
		s.bombed = true
		s.tell(w, Finding{Severity: Suspicious, Rule: "archive.bomb", Why: "the same bytes would be looked at again and again, as in a bomb", Next: nextUnpack})
	}
}

// fresh begins with another file, of which nothing was told.
func (s *scan) fresh() { s.told, s.said = map[string]bool{}, map[Severity]int{} }

// tell adds a finding, once. The verdict is of all that is found, and not of what is listed: of
// each severity so many are, so that harmless ones hide none that is not.
func (s *scan) tell(w part, f Finding) {
	s.report.raise(f.Severity)
	f.File, f.Member = w.file, w.member
	key := string(f.Severity) + "\x00" + f.Rule + "\x00" + f.Member + "\x00" + f.Why
	if s.told[key] {
		return
	}
	if s.said[f.Severity]++; s.said[f.Severity] > maxFindings {
		s.report.Untold++
		return
	}
	s.told[key] = true
	s.report.Findings = append(s.report.Findings, f)
}
