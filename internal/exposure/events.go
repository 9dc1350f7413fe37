package exposure

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/dataset"
	"github.com/pavise/pavise/internal/lineage"
	"github.com/pavise/pavise/internal/rowseal"
)

// Told says what pipelines told and which seals there are. Its fields are flags of the
// command line.
type Told struct {
	Events []string `help:"OpenLineage events: a file with one in each line, or a JSON list of them; may be repeated. Without it, those that the server was told of." sep:"none" placeholder:"FILE"`
	Seal   []string `help:"A seal, as DATASET=FILE with the dataset as events name it (NAMESPACE/NAME), or FILE alone; may be repeated." sep:"none" placeholder:"[DATASET=]FILE"`
}

// nobody is who told what stands in a file: the file does not say.
var nobody = pavise.Name{Tenant: "file", Kind: "workload", ID: "unknown"}

// maxEvents bounds one file of events, in bytes.
const maxEvents = 1 << 30

// A sealed dataset is a seal with the dataset that it is of, where somebody said which.
type sealedDataset struct {
	file    string
	dataset string // as events name it; "": nobody said
	of      *rowseal.Manifest
}

// A reading counts what is read of events.
type reading struct{ lineage.Reading }

// graph is what the events and seals say together. Events that cannot be read are left
// out, and told of.
func (t *Told) graph() (g *lineage.Graph, seals []sealedDataset, told lineage.Reading, err error) {
	g = &lineage.Graph{}
	var r reading
	for _, path := range t.Events {
		if err := r.add(g, path); err != nil {
			return nil, nil, told, err
		}
	}
	if r.Events == 0 {
		err := &pavise.Error{Kind: pavise.Invalid, Msg: "there is no event in what was given", Hint: "give OpenLineage events, one a line"}
		if r.Refused > 0 {
			err.Msg += fmt.Sprintf(": %s, %d: %s", r.Unread[0].File, r.Unread[0].At, r.Unread[0].Why)
		}
		return nil, nil, told, err
	}
	seals, named, err := t.named()
	if err != nil {
		return nil, nil, told, err
	}
	held, err := g.Name(named)
	if err != nil {
		return nil, nil, told, err
	}
	for _, s := range held {
		g.AddSeal(s)
	}
	return g, seals, r.Reading, nil
}

// named reads the seals, and says of which datasets they are. A dataset is one that events
// name; where nobody says which, it is whatever dataset a claim has that seal of, and one
// without a name.
func (t *Told) named() (seals []sealedDataset, named []lineage.Named, err error) {
	for _, text := range t.Seal {
		s := sealedDataset{file: text}
		if name, file, is := cutLast(text, "="); is {
			s.file, s.dataset = file, name
			if name == "" {
				return nil, nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("--seal %.200q names no dataset", text), Hint: "write --seal DATASET=FILE, or --seal FILE"}
			}
		}
		if s.of, err = dataset.ReadManifest(s.file); err != nil {
			return nil, nil, err
		}
		seals = append(seals, s)
		named = append(named, lineage.Named{Dataset: s.dataset, Root: s.of.Root.String(), Rows: int64(s.of.Rows())})
	}
	return seals, named, nil
}

// cutLast cuts at the last sep: names of datasets may have some, and paths seldom do.
func cutLast(text, sep string) (before, after string, found bool) {
	i := strings.LastIndex(text, sep)
	if i < 0 {
		return text, "", false
	}
	return text[:i], text[i+len(sep):], true
}

// add reads a file of events: JSON lists, or lines.
func (r *reading) add(g *lineage.Graph, path string) error {
	f, err := os.Open(path)
	if err != nil {
		kind := pavise.Invalid
		if errors.Is(err, fs.ErrNotExist) {
			kind = pavise.NotFound
		}
		return &pavise.Error{Kind: kind, Msg: fmt.Sprintf("read the events: %v", err), Hint: "name a file that is there and that you may read", Err: err}
	}
	defer f.Close()
	each := func(at int, text []byte) {
		e, err := lineage.ParseEvent(text)
		if err != nil {
			r.Refuse(path, at, err)
			return
		}
		g.Add(e, nobody, e.At)
		r.Events++
	}
	bounded := &io.LimitedReader{R: f, N: maxEvents + 1}
	in := bufio.NewReaderSize(bounded, 1<<16)
	if isList(in) {
		err = eachOfLists(in, each)
	} else {
		err = eachLine(in, each)
	}
	if err == nil && bounded.N == 0 {
		err = errors.New("it is longer than 1 GiB: part it")
	}
	if err != nil {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("read the events in %s: %v", path, err), Hint: "write one event a line, or a JSON list of them", Err: err}
	}
	return nil
}

// isList reports whether the first thing that stands there begins a list.
func isList(in *bufio.Reader) bool {
	for n := 1; n <= 512; n++ {
		b, err := in.Peek(n)
		if err != nil {
			return false
		}
		if c := b[n-1]; c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return c == '['
		}
	}
	return false
}

// eachLine hands over the lines that are not empty. One that is longer than an event may
// be is handed over cut, and so refused.
func eachLine(in *bufio.Reader, add func(int, []byte)) error {
	for at := 1; ; at++ {
		line, err := in.ReadSlice('\n')
		whole := bytes.Clone(line)
		for errors.Is(err, bufio.ErrBufferFull) {
			if line, err = in.ReadSlice('\n'); len(whole) <= lineage.MaxEvent {
				whole = append(whole, line...)
			}
		}
		if whole = bytes.TrimSpace(whole); len(whole) > 0 {
			add(at, whole)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// eachOfLists hands over the items of JSON lists, one behind the other.
func eachOfLists(in *bufio.Reader, add func(int, []byte)) error {
	d := json.NewDecoder(in)
	for at := 1; ; {
		open, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil && open != json.Delim('[') {
			err = errors.New("something else than a list stands behind a list")
		}
		if err != nil {
			return err
		}
		for ; d.More(); at++ {
			var item json.RawMessage
			if err := d.Decode(&item); err != nil {
				return err
			}
			add(at, item)
		}
		if _, err := d.Token(); err != nil {
			return err
		}
	}
}
