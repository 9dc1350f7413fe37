package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/gate"
	"github.com/pavise/pavise/internal/screen"
)

// pushCommand is pavise ingest push: it sends a file to the server's gate.
type pushCommand struct {
	Source    string `arg:"" help:"The source's id." placeholder:"SOURCE"`
	File      string `arg:"" help:"The batch; - is standard input." placeholder:"FILE"`
	Form      string `help:"ndjson, csv, lines, stix or blob (default: by the file's name, else ndjson)." enum:"ndjson,csv,lines,stix,blob," default:"" placeholder:"FORM"`
	ID        string `name:"id" help:"The batch's name: the same one with the same bytes counts once (default: its SHA-256)." placeholder:"ID"`
	Signature string `help:"A file with the Ed25519 signature over the batch, 64 bytes." placeholder:"FILE"`
}

// Help is the text behind the command's flags.
func (*pushCommand) Help() string {
	return `Brings a file to the gate, as one batch of a source: POST /v1/ingest/SOURCE. The exit code
is 0 if it was admitted, now or before, 1 if it is in quarantine, or was and was discarded.

For example:

  pavise ingest push payments today.ndjson --id 2026-11-27`
}

// forms are the forms by the ends of files' names, and the types of the forms.
var (
	forms = map[string]string{".csv": gate.FormCSV, ".log": gate.FormLines, ".txt": gate.FormLines, ".stix": gate.FormSTIX}
	types = map[string]string{gate.FormNDJSON: "application/x-ndjson", gate.FormCSV: "text/csv", gate.FormLines: "text/plain", gate.FormSTIX: "application/stix+json", gate.FormBlob: "application/octet-stream"}
)

func (p *pushCommand) run(ctx context.Context, c *cli) error {
	body, err := p.read()
	if err != nil {
		return err
	}
	form := p.Form
	if form == "" {
		if form = forms[strings.ToLower(filepath.Ext(p.File))]; form == "" {
			form = gate.FormNDJSON
		}
	}
	header := http.Header{"Content-Type": {types[form]}}
	if p.ID != "" {
		header.Set(gate.HeaderID, p.ID)
	}
	if p.Signature != "" {
		signature, err := os.ReadFile(p.Signature)
		if err != nil {
			return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("read the signature: %v", err), Hint: "openssl pkeyutl -sign -rawin -inkey key.pem -in FILE makes one", Err: err}
		}
		header.Set(gate.HeaderSignature, base64.StdEncoding.EncodeToString(signature))
	}
	name := pavise.Name{Tenant: "x", Kind: gate.KindSource, ID: p.Source}
	if err := name.Validate(); err != nil {
		return err
	}
	client, err := c.client(ctx)
	if err != nil {
		return err
	}
	var receipt gate.Receipt
	if err := client.Push(ctx, "ingest/"+p.Source, header, body, &receipt); err != nil {
		return err
	}
	if c.JSON {
		err = c.printJSON(receipt)
	} else {
		screen.Receipt(c.stdout, p.Source, receipt)
	}
	if err == nil && receipt.Barred() {
		err = &ending{code: foundSomething}
	}
	return err
}

// read reads the batch.
func (p *pushCommand) read() (body []byte, err error) {
	from := io.Reader(os.Stdin)
	if p.File != "-" {
		f, err := os.Open(p.File)
		if err != nil {
			return nil, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("read the batch: %v", err), Hint: "name a file that is there and that you may read", Err: err}
		}
		defer f.Close()
		from = f
	}
	body, err = io.ReadAll(io.LimitReader(from, gate.MaxBatch+1))
	if err == nil && len(body) > gate.MaxBatch {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s has more than %d bytes", p.File, gate.MaxBatch), Hint: "send it in parts"}
	}
	if err != nil {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("read the batch: %v", err), Hint: "name a file", Err: err}
	}
	return body, nil
}
