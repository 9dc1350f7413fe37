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
	maxRefused = 20      // events that cannot be read and are told of
)

// A Refused is an event that cannot be read.
type Refused struct {
	File string `json:"file"`
	At   int    `json:"at"` // its line, or its place in the list, from 1
	Why  string `json:"why"`
}

// A sealed dataset is a seal with the dataset that it is of, where somebody said which.
type sealedDataset struct {
	file string
	of   *rowseal.Manifest
}

// graph is what the events and seals say together. Events that cannot be read are left
// out, and told of.
func (t *Told) graph() (g *lineage.Graph, seals []sealedDataset, refused []Refused, events int, err error) {
	g = &lineage.Graph{}
	for _, path := range t.Events {
		n, wrong, err := addEvents(g, path)
		if err != nil {
			return nil, nil, nil, 0, err
		}
		events += n
		refused = append(refused, wrong...)
	}
	if events == 0 {
		err := &pavise.Error{Kind: pavise.Invalid, Msg: "there is no event in what was given", Hint: "give OpenLineage events, one a line"}
		if len(refused) > 0 {
			err.Msg += fmt.Sprintf(": %s, %d: %s", refused[0].File, refused[0].At, refused[0].Why)
		}
		return nil, nil, nil, 0, err
	}
	for _, named := range t.Seal {
		s, of, err := openSeal(g, named)
		if err != nil {
			return nil, nil, nil, 0, err
		}
		seals = append(seals, s)
		g.AddSeal(lineage.Seal{Dataset: of, Root: s.of.Root.String(), Rows: int64(s.of.Rows())})
	}
	return g, seals, refused, events, nil
}

// openSeal reads [DATASET=]FILE. A dataset is one that the events name.
func openSeal(g *lineage.Graph, named string) (s sealedDataset, of lineage.Dataset, err error) {
	s.file = named
	if dataset, file, is := cutLast(named, "="); is {
		if of, err = findDataset(g, dataset); err != nil {
			return s, of, err
		}
		s.file = file
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

// findDataset finds a dataset of the events by its name: NAMESPACE/NAME, NAMESPACE NAME, or
// the name alone where only one namespace has it.
func findDataset(g *lineage.Graph, named string) (lineage.Dataset, error) {
	var found []lineage.Dataset
	for _, d := range g.Datasets() {
		switch {
		case d.Namespace+"/"+d.Name == named || d.String() == named:
			return d, nil
		case d.Name == named:
			found = append(found, d)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return lineage.Dataset{}, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("no event names the dataset %.200q", named), Hint: "write it as NAMESPACE/NAME; pavise dataset lineage --events FILE lists those that are named"}
	}
	return lineage.Dataset{}, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%d namespaces have a dataset %.200q", len(found), named), Hint: "write it as NAMESPACE/NAME, for example " + found[0].Namespace + "/" + found[0].Name}
}

// addEvents reads a file of events: a JSON list, or lines.
func addEvents(g *lineage.Graph, path string) (n int, refused []Refused, err error) {
	f, err := os.Open(path)
	if err != nil {
		kind := pavise.Invalid
		if errors.Is(err, fs.ErrNotExist) {
			kind = pavise.NotFound
		}
		return 0, nil, &pavise.Error{Kind: kind, Msg: fmt.Sprintf("read the events: %v", err), Hint: "name a file that is there and that you may read", Err: err}
	}
	defer f.Close()
	add := func(at int, text []byte) {
		e, err := lineage.ParseEvent(text)
		if err == nil {
			g.Add(e, nobody, e.At)
			n++
		} else if len(refused) < maxRefused {
			refused = append(refused, Refused{path, at, err.Error()})
		}
	}
	in := bufio.NewReaderSize(&io.LimitedReader{R: f, N: maxEvents}, 1<<16)
	if isList(in) {
		err = eachOfList(in, add)
	} else {
		err = eachLine(in, add)
	}
	if err != nil {
		return n, refused, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("read the events in %s: %v", path, err), Hint: "write one event a line, or a JSON list of them", Err: err}
	}
	return n, refused, nil
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

// eachOfList hands over the items of a JSON list.
func eachOfList(in *bufio.Reader, add func(int, []byte)) error {
	d := json.NewDecoder(in)
	if _, err := d.Token(); err != nil {
		return err
	}
	for at := 1; d.More(); at++ {
		var item json.RawMessage
		if err := d.Decode(&item); err != nil {
			return err
		}
		add(at, item)
	}
	_, err := d.Token()
	return err
}
