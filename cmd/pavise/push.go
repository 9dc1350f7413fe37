package main

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/gate"
	"github.com/pavise/pavise/internal/plainfile"
	"github.com/pavise/pavise/internal/screen"
	"github.com/pavise/pavise/internal/verbs"
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

func (p *pushCommand) run(ctx context.Context, c *cli) error {
	body, err := plainfile.Stream("batch", p.File, gate.MaxBatch)
	if err != nil {
		return err
	}
	form := cmp.Or(p.Form, verbs.FormOf(p.File))
	header := http.Header{"Content-Type": {verbs.MediaType(form)}}
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
