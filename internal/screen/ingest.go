package screen

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/gate"
	"github.com/pavise/pavise/internal/verbs"
)

func printSources(w io.Writer, l verbs.SourceList) {
	if len(l.Sources) == 0 {
		fmt.Fprintln(w, "no sources; pavise ingest put declares one")
		return
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row(tw, "SOURCE", "FORM", "CONTRACT", "SIGNED", "ADMITTED", "HELD", "LAST")
	for _, s := range l.Sources {
		row(tw, s.Source.ID, s.Form, cmp.Or(s.Promise, "none"), cmp.Or(s.Signed, "no"), s.Admitted, s.Held, At(s.Last))
	}
	tw.Flush()
}

func printSource(w io.Writer, s gate.Source) {
	fmt.Fprintf(w, "%s takes %s", s.Source, s.Form)
	if s.Promise != "" {
		fmt.Fprintf(w, ", by the contract %s", strings.Map(shown, s.Promise))
	}
	fmt.Fprintf(w, ": %s admitted, %d in quarantine", batches(s.Admitted), s.Held)
	if !s.Last.IsZero() {
		fmt.Fprintf(w, ", the last came %s", At(s.Last))
	}
	fmt.Fprintln(w)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row(tw, "terms", fmt.Sprintf("of %s, by %s, sha256 %.12s…", At(s.Made), s.By, s.Digest))
	row(tw, "signatures", cmp.Or(s.Signed, "none"))
	row(tw, "writers", cmp.Or(strings.Join(s.Writer, ", "), "anybody who may push"))
	if len(s.Writers) > 0 {
		row(tw, "wrote so far", strings.Join(s.Writers, ", "))
	}
	if s.Templates != "" {
		learnt := fmt.Sprintf("of %s: %d known, from %d lines; a share of %g may be new", s.Templates, s.Known, s.Learnt, s.NewShare)
		if s.Learnt < s.Learn {
			learnt = fmt.Sprintf("of %s: learning, %d of %d lines; nothing is new meanwhile", s.Templates, s.Learnt, s.Learn)
		}
		row(tw, "templates", learnt)
	}
	if s.QuotaMB > 0 {
		row(tw, "quota", fmt.Sprintf("%d MB an hour", s.QuotaMB))
	}
	for _, watch := range s.Watches {
		row(tw, "watched", watch.What+": told "+watch.Delay)
	}
	if s.Sequence != "" {
		row(tw, "sequence", fmt.Sprintf("%d missing and %d that came again since the start", s.Missing, s.Replayed))
	}
	tw.Flush()
}

func batches(n int) string {
	if n == 1 {
		return "1 batch"
	}
	return fmt.Sprintf("%d batches", n)
}

// writeHeld shows what is in quarantine, and writes the bytes of one batch to a file.
func writeHeld(w io.Writer, req *verbs.HeldRequest, l gate.HeldList) error {
	if len(l.Held) == 0 {
		_, err := fmt.Fprintln(w, "nothing is in quarantine")
		return err
	}
	for _, h := range l.Held {
		printBatch(w, h)
	}
	if req.Out == "" {
		return nil
	}
	if req.Batch == "" {
		return &pavise.Error{Kind: pavise.Invalid, Msg: "--out is for one batch", Hint: "name it by its SHA-256"}
	}
	f, err := os.OpenFile(req.Out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		_, err = f.Write(l.Body)
		err = cmp.Or(err, f.Close())
	}
	if err != nil {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("write the batch: %v", err), Hint: "name a file with --out that is not there yet", Err: err}
	}
	_, err = fmt.Fprintf(w, "its bytes are in %s\n", req.Out)
	return err
}

// printBatch shows a batch with all that it is held for.
func printBatch(w io.Writer, h gate.HeldBatch) {
	fmt.Fprintf(w, "%s  %s of %s, %d bytes of %s, by %s, came %s, is gone %s\n", h.SHA256[:min(16, len(h.SHA256))], Count(h.Rows, "row"), h.Source.ID, h.Bytes, h.Form, h.Who, At(h.Came), At(h.Until))
	for _, reason := range h.Reasons {
		fmt.Fprintf(w, "  %s\n", strings.Map(shown, reason))
	}
}

func printDiscarded(w io.Writer, h gate.HeldBatch) {
	fmt.Fprintf(w, "the batch of %s of %s is gone, sha256 %s\n", Count(h.Rows, "row"), h.Source.ID, h.SHA256)
}

// Receipt shows what became of a batch that was pushed.
func Receipt(w io.Writer, source string, r gate.Receipt) {
	switch r.Verdict {
	case gate.Admitted:
		fmt.Fprintf(w, "admitted: %s of %s, sha256 %s\n", Count(r.Rows, "row"), source, r.SHA256)
	case gate.Held:
		fmt.Fprintf(w, "held: %s of %s, in quarantine, sha256 %s\n", Count(r.Rows, "row"), source, r.SHA256)
	default:
		fmt.Fprintf(w, "repeated: the same bytes came before, sha256 %s\n", r.SHA256)
	}
	for _, reason := range r.Reasons {
		fmt.Fprintf(w, "  %s\n", strings.Map(shown, reason))
	}
}
