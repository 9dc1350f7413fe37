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
	Events []string `help:"OpenLineage events: a file with one in each line, or a JSON list of them; may be repeated." required:"" sep:"none" placeholder:"FILE"`
	Seal   []string `help:"A seal, as DATASET=FILE with the dataset as events name it (NAMESPACE/NAME), or FILE alone; may be repeated." sep:"none" placeholder:"[DATASET=]FILE"`
}

// nobody is who told what stands in a file: the file does not say.
var nobody = pavise.Name{Tenant: "file", Kind: "workload", ID: "unknown"}

const (
	maxEvents  = 1 << 30 // bytes of one file of events
	maxRefused = 20      // events of a file that cannot be read and are told of
)

// A Refused is an event that cannot be read.
type Refused struct {
	File string `json:"file"`
	At   int    `json:"at"` // its line, or its place in the list, from 1
	Why  string `json:"why"`
}

// A sealed dataset is a seal with the dataset that it is of, where somebody said which.
type sealedDataset struct {
	file  string
	named bool // somebody said of which dataset
	of    *rowseal.Manifest
}

// A Reading is what was read of events.
type Reading struct {
	Events  int       `json:"events"`            // that were read
	Refused int       `json:"refused,omitempty"` // that could not be
	Unread  []Refused `json:"unread,omitempty"`  // the first of those
}

// refuse notes an event that cannot be read.
func (r *Reading) refuse(file string, at int, why error) {
	if r.Refused++; r.Refused <= maxRefused {
		r.Unread = append(r.Unread, Refused{file, at, why.Error()})
	}
}

// graph is what the events and seals say together. Events that cannot be read are left
// out, and told of.
func (t *Told) graph() (g *lineage.Graph, seals []sealedDataset, r Reading, err error) {
	g = &lineage.Graph{}
	for _, path := range t.Events {
		if err := r.add(g, path); err != nil {
			return nil, nil, r, err
		}
	}
	if r.Events == 0 {
		err := &pavise.Error{Kind: pavise.Invalid, Msg: "there is no event in what was given", Hint: "give OpenLineage events, one a line"}
		if r.Refused > 0 {
			err.Msg += fmt.Sprintf(": %s, %d: %s", r.Unread[0].File, r.Unread[0].At, r.Unread[0].Why)
		}
		return nil, nil, r, err
	}
	for _, named := range t.Seal {
		s, of, err := openSeal(g, named)
		if err != nil {
			return nil, nil, r, err
		}
		seals = append(seals, s)
		for _, d := range of {
			g.AddSeal(lineage.Seal{Dataset: d, Root: s.of.Root.String(), Rows: int64(s.of.Rows())})
		}
	}
	return g, seals, r, nil
}

// openSeal reads [DATASET=]FILE. A dataset is one that the events name; where nobody says
// which, it is whatever dataset a claim has that seal of, and one without a name.
func openSeal(g *lineage.Graph, named string) (s sealedDataset, of []lineage.Dataset, err error) {
	s.file, of = named, []lineage.Dataset{{}}
	if name, file, is := cutLast(named, "="); is {
		if of, err = findDataset(g, name); err != nil {
			return s, nil, err
		}
		s.file, s.named = file, true
	}
	s.of, err = dataset.ReadManifest(s.file)
	return s, of, err
}

// cutLast cuts at the last sep: names of datasets may have some, and paths seldom do.
func cutLast(text, sep string) (before, after string, found bool) {
	i := strings.LastIndex(text, sep)
	if i < 0 {
		return text, "", false
	}
	return text[:i], text[i+len(sep):], true
}

// findDataset finds the datasets of the events by a name: NAMESPACE/NAME, NAMESPACE NAME, or
// the name alone where only one namespace has it. Two may be written alike, where the slash
// stands elsewhere: then both are meant.
func findDataset(g *lineage.Graph, named string) ([]lineage.Dataset, error) {
	var whole, part []lineage.Dataset
	for _, d := range g.Datasets() {
		switch {
		case d.Namespace+"/"+d.Name == named || d.String() == named:
			whole = append(whole, d)
		case d.Name == named:
			part = append(part, d)
		}
	}
	switch {
	case len(whole) > 0:
		return whole, nil
	case len(part) == 1:
		return part, nil
	case len(part) == 0:
		return nil, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("no event names the dataset %.200q", named), Hint: "write it as NAMESPACE/NAME; pavise dataset lineage --events FILE lists those that are named"}
	}
	return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%d namespaces have a dataset %.200q", len(part), named), Hint: "write it as NAMESPACE/NAME, for example " + part[0].Namespace + "/" + part[0].Name}
}

// add reads a file of events: JSON lists, or lines.
func (r *Reading) add(g *lineage.Graph, path string) error {
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
			r.refuse(path, at, err)
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
