// Package submission is a version of a model as it is handed to a server: its files hashed and
// looked at where they are, its signature, and what else is said of it. [Submission] is a
// command; it reads files, and its caller hands over what it returns. Where the files themselves are to
// come to the server, it sends them by the requests of MLflow's REST API, which the server speaks anyway.
//
// It owns no state.
package submission

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/artefact"
	"github.com/pavise/pavise/internal/model"
	"github.com/pavise/pavise/internal/plainfile"
	"github.com/pavise/pavise/internal/registry"
)

// A Submission is a version that is handed to a server. Its fields are flags of the command
// line.
type Submission struct {
	Say func(text string) `kong:"-"` // gets a line of progress now and then; nil: nobody watches

	Name        pavise.Name       `arg:"" help:"The model's name: its id, or tenant/model/id."`
	Path        string            `arg:"" optional:"" help:"The directory, or the file, of the model. Without it the version gets its files later."`
	To          int               `name:"to" help:"Give the files to this version, which is then a draft again, and add none." placeholder:"NUMBER"`
	Upload      bool              `help:"Send the files themselves, too: the server looks at them and keeps them. What a broken-off upload sent is not sent again."`
	Signature   string            `help:"Their signature, as pavise model sign writes it." placeholder:"FILE"`
	Ignore      []string          `help:"Leave this path, from the top of the model, out; may be repeated." placeholder:"PATH" sep:"none"`
	Risk        string            `help:"Its risk, if that is more than the model's: low, medium or high." enum:"low,medium,high," default:"" placeholder:"RISK"`
	Dataset     []string          `help:"A dataset that it was trained on, with the root of its seal; may be repeated." placeholder:"NAME=ROOT" sep:"none"`
	Run         string            `help:"The training run that it came of." placeholder:"ID"`
	Source      string            `help:"Where it lies, for people." placeholder:"URL"`
	Description string            `help:"What it is." placeholder:"TEXT"`
	Tag         map[string]string `help:"A tag; may be repeated." placeholder:"KEY=VALUE"`
}

// Help is the text behind the command's flags.
func (*Submission) Help() string {
	return `The files are hashed and looked at here, and not sent unless --upload says so: the server gets their digests,
what the look found, and the signature. They count once somebody whom the server believes signed exactly them
(model_signers in its pavise.yaml, or pavise up --models-signed-by FILE), or once the files themselves are at the
server.

For example:

  pavise model add fraud model/ --upload
  pavise model sign model/ --key training.pem -o model.sig
  pavise model add fraud model/ --signature model.sig --dataset flows=ROOT --run run-42`
}

// Files hashes and looks at the files, and returns what a look at them found; nil without
// files. Errors are of kind Invalid, Conflict for what changed meanwhile, NotFound, Denied,
// and Unavailable.
//
// Unguarded: whoever runs it reads their own files, as themselves; no principal of an
// installation acts.
func (s *Submission) Files(ctx context.Context) (spec registry.FileSpec, report *artefact.Report, err error) {
	if s.Path == "" {
		if s.Signature != "" || s.To != 0 {
			err = &pavise.Error{Kind: pavise.Invalid, Msg: "a signature, and a version that is given files, go with the files", Hint: "name their directory"}
		}
		return spec, nil, err
	}
	files, err := (&model.List{Say: s.Say, Path: s.Path, Ignore: s.Ignore, Signature: s.Signature}).Run(ctx)
	if err != nil {
		return spec, nil, err
	}
	if len(files) == 0 || len(files) > registry.MaxFiles {
		return spec, nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("there are %d files in %s, and a version has 1 to %d", len(files), s.Path, registry.MaxFiles), Hint: "pack those that belong together, or leave some out: --ignore"}
	}
	for _, f := range files {
		spec.Files = append(spec.Files, registry.File{Path: f.Path, Size: f.Size, Digest: f.SHA256})
	}
	if s.Signature != "" {
		if spec.Signature, err = plainfile.Read("signature", s.Signature, registry.MaxBundle); err != nil {
			return spec, nil, err
		}
	}
	if report, err = (&artefact.Scan{Path: s.Path, Say: s.Say}).Run(ctx); err != nil {
		return spec, nil, err
	}
	spec.Scan = registry.Scanned(report, time.Now().UTC())
	return spec, report, nil
}

// Datasets are those that the version was trained on, of a tenant. The error is of kind
// Invalid.
func (s *Submission) Datasets(tenant string) (all []registry.Seal, err error) {
	for _, text := range s.Dataset {
		id, root, is := strings.Cut(text, "=")
		name := pavise.Name{Tenant: tenant, Kind: "dataset", ID: id}
		if strings.Contains(id, "/") {
			if name, err = pavise.ParseName(id); err != nil {
				return nil, err
			}
		}
		if !is {
			return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("--dataset %.100q has no root", text), Hint: "write NAME=ROOT: pavise dataset show NAME has the root"}
		}
		all = append(all, registry.Seal{Name: name, Root: root})
	}
	return all, nil
}
