package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/catalog"
	"github.com/pavise/pavise/internal/dataset"
	"github.com/pavise/pavise/internal/screen"
)

// sealCommand is pavise dataset seal. It seals files where they are; with a name, it hands
// the seal to the server by the verb dataset.seal, which is no command of its own.
type sealCommand struct {
	dataset.Seal
	Name   pavise.Name `help:"Hand the seal to the server, as the newest version of this dataset: its id, or tenant/dataset/id." placeholder:"NAME"`
	Parent []string    `help:"With --name: what it was made of, a dataset of the server or the root of a seal; may be repeated." placeholder:"NAME|ROOT"`
	Called string      `help:"With --name: what OpenLineage events call it." placeholder:"NAMESPACE/NAME"`
}

// A handedOver is a seal that the server has taken.
type handedOver struct {
	*dataset.Sealed
	Name    pavise.Name     `json:"name"`
	Version catalog.Version `json:"version"`
	Same    bool            `json:"same"`
	Record  uint64          `json:"record"`
}

// Print prints it for people.
func (h *handedOver) Print(w io.Writer) {
	h.Sealed.Print(w)
	if h.Same {
		fmt.Fprintf(w, "\n%s is that already: version %d, since %s. Record %d says that it was looked at.\n", h.Name, h.Version.Number, screen.At(h.Version.At), h.Record)
		return
	}
	fmt.Fprintf(w, "\n%s is that from now on: version %d. Record %d says so.\n", h.Name, h.Version.Number, h.Record)
}

func (s *sealCommand) run(ctx context.Context, c *cli) error {
	s.Say = c.watched()
	c.warnOfKey(s.Key)
	if s.Name == (pavise.Name{}) {
		if len(s.Parent) > 0 || s.Called != "" {
			return &ending{couldNotLook, &pavise.Error{Kind: pavise.Invalid, Msg: "--parent and --called are for the server", Hint: "give --name, too"}}
		}
		made, err := s.Run(ctx)
		return c.show(made, err)
	}
	made, err := s.made(ctx)
	if err != nil {
		return c.show(made, err)
	}
	given, err := s.handOver(ctx, c, made)
	if err != nil {
		c.counted()
		return err
	}
	return c.show(given, nil)
}

// made seals, or finds the seal that an earlier call made and could not hand over. It holds
// the files to that.
func (s *sealCommand) made(ctx context.Context) (*dataset.Sealed, error) {
	made, err := s.Run(ctx)
	if pavise.KindOf(err) != pavise.Conflict {
		return made, err
	}
	out, fault := s.Into(ctx)
	if fault != nil {
		return nil, err
	}
	m, fault := dataset.ReadManifest(out)
	if fault != nil {
		return nil, err
	}
	held, fault := (&dataset.Verify{Path: s.Path, Seal: out, Say: s.Say}).Run(ctx)
	if fault != nil || !held.Clean {
		return nil, err
	}
	made = &dataset.Sealed{Path: s.Path, Seal: out, Index: out + ".rows", Root: m.Root, Files: held.Files, Rows: held.Rows, Bytes: held.Bytes}
	for i := range m.Files {
		if m.Files[i].Format.HasRows() {
			made.ByRow++
		}
	}
	if _, err := os.Stat(out + ".dsse"); err == nil {
		made.Signature = out + ".dsse"
	} else if s.Key != "" {
		return nil, &pavise.Error{Kind: pavise.Conflict, Msg: out + " is there already, and is not signed", Hint: "name a new file with -o to seal and sign, or leave out --key"}
	}
	return made, nil
}

// handOver gives the seal to the server.
func (s *sealCommand) handOver(ctx context.Context, c *cli, made *dataset.Sealed) (*handedOver, error) {
	spec := catalog.SealSpec{Name: s.Name, Parents: s.Parent, Called: s.Called}
	var err error
	if spec.Seal, err = readBounded(made.Seal, catalog.MaxSeal); err != nil {
		return nil, err
	}
	if made.Signature != "" {
		if spec.Signature, err = readBounded(made.Signature, 1<<16); err != nil {
			return nil, err
		}
	}
	client, err := c.client(ctx)
	if err == nil {
		err = c.completeNames(ctx, client, "dataset.seal", reflect.ValueOf(&spec).Elem())
	}
	given := &handedOver{Sealed: made}
	if err == nil {
		var taken catalog.Sealed
		err = client.Call(ctx, "dataset.seal", spec, &taken)
		given.Name, given.Version, given.Same, given.Record = taken.Name, taken.Version, taken.Same, taken.Record
		given.Recorded = true
	}
	if e, ok := errors.AsType[*pavise.Error](err); ok {
		said := *e
		said.Msg = fmt.Sprintf("%s is sealed, and was not handed over: %s", made.Path, e.Msg)
		said.Err = err
		return nil, &said
	}
	return given, err
}

// readBounded reads a file that is not longer than most.
func readBounded(name string, most int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, unread(name, err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(text)) > most {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s is longer than %d KiB, and the server takes no more", name, most>>10), Hint: "have the server seal it where it lies: pavise dataset watch"}
	}
	if err != nil {
		return nil, unread(name, err)
	}
	return text, nil
}

func unread(name string, err error) error {
	e := &pavise.Error{Kind: pavise.Unavailable, Msg: "read " + name, Hint: "give the command again: what is sealed is not sealed twice", Err: err}
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		e.Msg += ": " + p.Err.Error()
	}
	return e
}
