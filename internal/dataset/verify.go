package dataset

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/plainfile"
	"github.com/pavise/pavise/internal/progress"
	"github.com/pavise/pavise/internal/rowseal"
)

// Verify holds files to a seal. Its fields are flags of the command line.
type Verify struct {
	Say    func(text string) `kong:"-"` // gets a line of progress now and then; nil: nobody watches
	Within string            `kong:"-"` // the directory in which the files have to lie; empty: they may lie anywhere

	Path   string `arg:"" help:"The file or directory that was sealed, or where the same lies in a bucket: s3://BUCKET/PREFIX, gs://… or az://…"`
	Seal   string `help:"The seal." required:"" placeholder:"FILE"`
	Fast   bool   `help:"Believe that a file is the same whose size, times and inode are (of an object: size, time, ETag and version): it is not read. Takes the seal's index."`
	Signer string `help:"The public Ed25519 key (PEM) of who must have signed the seal, in FILE.dsse." placeholder:"FILE"`
}

// Help is the text behind the command's flags.
func (*Verify) Help() string {
	return `Holds a file or a directory to its seal and names what differs: files that were added,
removed, renamed or changed, and in those the rows, counted from 1 with a header, or the
blocks of 64 KiB. To name rows it needs the index that was written beside the seal.
A file that may not be read counts as changed, and that it may not be read is said.

--fast takes as long as there are files, not bytes, and finds accidents. Whoever can write
to the files and set the clock can hide from it; only reading everything proves anything.

It exits with 0 when all is as it was sealed, with 1 when something differs or the seal or
its signature is not what it says, and with 2 when it could not look.

For example:

  pavise dataset verify training/ --seal training.seal`
}

// Verified is what came of it.
type Verified struct {
	Path        string         `json:"path"`
	Seal        string         `json:"seal"`
	Root        rowseal.Digest `json:"root"` // of the seal
	Clean       bool           `json:"clean"`
	Files       int            `json:"files"` // that are there now
	Rows        uint64         `json:"rows"`
	Bytes       int64          `json:"bytes"`
	Trusted     int            `json:"hints_trusted"` // files that were not read, for nobody seemed to have written to them
	Signed      string         `json:"signed_by,omitempty"`
	Note        string         `json:"note,omitempty"`
	Differences []Difference   `json:"differences"`
	Recorded    bool           `json:"recorded"` // this command leaves no record
}

// Run verifies. Errors are of kind Invalid, Unverified, NotFound, Denied, Conflict for what
// changed meanwhile, and Unavailable for the disk.
//
// Unguarded: whoever runs it reads their own files, as themselves; no principal of an
// installation acts.
func (v *Verify) Run(ctx context.Context) (*Verified, error) {
	m, err := ReadManifest(v.Seal)
	if err != nil {
		return nil, err
	}
	result := &Verified{Path: v.Path, Seal: v.Seal, Root: m.Root, Differences: []Difference{}}
	if v.Signer != "" {
		if result.Signed, err = checkSignature(v.Seal, m, v.Signer); err != nil {
			return nil, err
		}
	}
	x, err := rowseal.OpenIndex(v.Seal+rowseal.IndexSuffix, m)
	switch {
	case err == nil:
		defer x.Close()
	case v.Fast:
		return nil, err
	default:
		x, result.Note = nil, "rows cannot be named: "+message(err)
	}
	p, err := openPlace(ctx, v.Path, v.Within)
	if err != nil {
		return nil, err
	}
	defer p.close()
	if one := m.Files[0].Path == "."; one != (p.one != "") {
		return nil, otherShape(v, one)
	}
	p.lenient = true
	p.leaveOut((&job{out: v.Seal}).names()...)
	room, err := openRoom()
	if err != nil {
		return nil, err
	}
	defer room.Close()
	sections, err := v.seal(ctx, p, m, x, room, result)
	if err != nil {
		return nil, err
	}
	err = v.compare(ctx, m, x, sections, p.odd, result)
	if p.more > 0 {
		result.Note = strings.TrimPrefix(result.Note+fmt.Sprintf("; %d more paths cannot be sealed, and are not listed", p.more), "; ")
	}
	for i := range result.Differences {
		if p.one != "" {
			result.Differences[i].File = p.one // a seal of one file has no name for it
		}
	}
	return result, err
}

// otherShape refuses to hold a file to the seal of a directory, and the other way round.
func otherShape(v *Verify, one bool) error {
	is, sealed := "a file", "a directory"
	if one {
		is, sealed = sealed, is
	}
	return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s is %s, and the seal is of %s", rowseal.Shown(v.Path), is, sealed), Hint: "name what was sealed"}
}

// openRoom opens a file for digests. It has no name, and goes with this process, however that
// ends.
func openRoom() (*os.File, error) {
	room, err := os.CreateTemp("", "pavise-verify-")
	if err != nil {
		return nil, writeFault(os.TempDir(), err)
	}
	if err := os.Remove(room.Name()); err != nil {
		room.Close()
		return nil, writeFault(room.Name(), err)
	}
	return room, nil
}

// seal seals what is there now, as it was sealed before; digests go to room.
func (v *Verify) seal(ctx context.Context, p *place, m *rowseal.Manifest, x *rowseal.Index, room *os.File, result *Verified) ([]rowseal.Section, error) {
	entries, err := p.entries(ctx)
	if err != nil {
		return nil, err
	}
	before := m.ByPath()
	s := &sealer{place: p, verify: true, workers: allWorkers(), meter: &progress.Meter{Say: v.Say}, spill: openRoom}
	s.format = func(name string) rowseal.Format {
		if f := before[name]; f != nil {
			return f.Format
		}
		return formatOf(name)
	}
	if v.Fast {
		s.prior = map[string]*rowseal.Section{}
		for i := range x.Sections() {
			s.prior[x.Section(i).Path] = x.Section(i)
		}
	}
	for i := range entries {
		s.meter.Total += entries[i].size()
	}
	sections, missed := make([]rowseal.Section, 0, len(entries)), 0
	err = s.all(ctx, entries, room, 0, func(made rowseal.Section) error {
		if v.Fast && s.prior[made.Path] != nil && made.Source == s.prior[made.Path].Source {
			result.Trusted++
		}
		if isUnread(&made) {
			missed++
		}
		result.Files, result.Rows, result.Bytes = result.Files+1, result.Rows+made.Rows, result.Bytes+made.Size
		sections = append(sections, made)
		return nil
	})
	if err == nil && missed > 0 && missed == len(entries) {
		err = &pavise.Error{Kind: pavise.Denied, Msg: "none of " + counted(uint64(missed), "file") + " may be read: " + sections[0].Why, Hint: "run as who may read all of the dataset"}
	}
	if err == nil {
		err = p.unchanged(ctx, entries)
	}
	if err != nil && ctx.Err() != nil {
		err = &pavise.Error{Kind: pavise.Unavailable, Msg: "stopped before everything was read", Hint: "nothing was found out"}
	}
	return sections, err
}

// compare says what differs.
func (v *Verify) compare(ctx context.Context, m *rowseal.Manifest, x *rowseal.Index, sections []rowseal.Section, odd []oddity, result *Verified) (err error) {
	if result.Differences, err = compareFiles(ctx, m, x, sections, allWorkers()); err != nil {
		return err
	}
	result.Differences = withOdd(result.Differences, odd)
	result.Clean = len(result.Differences) == 0
	if result.Differences == nil {
		result.Differences = []Difference{}
	}
	if !result.Clean || result.Trusted > 0 {
		return nil
	}
	again, err := rowseal.NewManifest(ctx, sections, allWorkers(), openRoom)
	if err == nil && again.Root != m.Root {
		err = &pavise.Error{
			Kind: pavise.Unverified, Msg: "the files are as they were sealed, and the seal's tree of contents is not theirs: it was made to prove what is not so",
			Hint: "believe no proof under this seal; seal the files anew",
		}
	}
	return err
}

// withOdd adds what could not be sealed: it stands in the place of a file, or was put in.
func withOdd(found []Difference, odd []oddity) []Difference {
	for _, o := range odd {
		stands := false
		for i := range found {
			if d := &found[i]; d.What == fileRemoved && (d.File == o.path || strings.HasPrefix(d.File, o.path+"/")) {
				d.What, d.Note, stands = fileChanged, o.why, true
			}
		}
		if !stands {
			found = append(found, Difference{File: o.path, What: fileAdded, Note: o.why})
		}
	}
	sortDifferences(found)
	return found
}

// ReadManifest reads the seal in a file. Errors are of kind Invalid, NotFound, Denied, and
// Unverified for one that was changed.
func ReadManifest(name string) (*rowseal.Manifest, error) {
	text, err := plainfile.Read("seal", name, rowseal.MaxManifest)
	if err != nil {
		return nil, err
	}
	m, err := rowseal.ParseManifest(text)
	if e, ok := err.(*pavise.Error); ok {
		e.Msg = rowseal.Shown(name) + ": " + e.Msg
		if bytes.HasPrefix(text, []byte(rowseal.IndexMagic)) {
			e.Hint = "this is the index; name the seal, " + rowseal.Shown(strings.TrimSuffix(name, rowseal.IndexSuffix))
		}
	}
	return m, err
}

// Print prints it for people.
func (v *Verified) Print(w io.Writer) {
	if v.Clean {
		fmt.Fprintf(w, "%s is as it was sealed: %s, %s, %s.\n", rowseal.Shown(v.Path), counted(uint64(v.Files), "file"), counted(v.Rows, "row"), progress.Size(v.Bytes))
	} else {
		fmt.Fprintf(w, "%s is not as it was sealed: %s.\n", rowseal.Shown(v.Path), counted(uint64(len(v.Differences)), "difference"))
	}
	printDifferences(w, v.Differences, "")
	fmt.Fprintln(w)
	fact(w, "root", "%s", v.Root)
	if v.Trusted > 0 {
		fact(w, "hints", "%s not read, only looked at: what is said of them is what was said when they were sealed", counted(uint64(v.Trusted), "file"))
	}
	if v.Signed != "" {
		fact(w, "signed by", "%s", v.Signed)
	}
	if v.Note != "" {
		fact(w, "note", "%s", v.Note)
	}
	unrecorded(w)
}
