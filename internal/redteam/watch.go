package redteam

import (
	"fmt"
	"io"
	"slices"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/extraction"
	"github.com/pavise/pavise/internal/learn"
	"github.com/pavise/pavise/internal/table"
	"github.com/pavise/pavise/internal/theft"
)

// maxCalibration bounds, in bytes, a calibration in a file.
const maxCalibration = 64 << 20

// A Detection says when the detectors that honest clients' traffic has calibrated took the
// thief for one.
type Detection struct {
	Bound      float64         `json:"bound"` // the share of honest clients that may be taken for thieves
	Identities int             `json:"identities"`
	Detected   int             `json:"detected"`        // of them
	Rows       int             `json:"rows,omitempty"`  // asked by all identities until the first was
	First      *theft.Sighting `json:"first,omitempty"` // with the rows that this identity itself had asked
	Closest    *theft.Sighting `json:"closest,omitempty"`
	watch      *theft.Extraction
	classes    bool // alone are what the calibration knows of answers
}

// newDetection reads a calibration and begins to watch; without a file it is nil, and sees
// nothing.
func newDetection(path string, v *victim, identities int) (*Detection, error) {
	if path == "" {
		return nil, nil
	}
	text, err := readPlain("calibration", path, maxCalibration)
	if err != nil {
		return nil, err
	}
	if !theft.IsCalibration(text) {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: path + " is no calibration", Hint: "make one of honest clients' traffic with pavise firewall calibrate"}
	}
	c, err := theft.ParseCalibration(text)
	if err != nil {
		return nil, err
	}
	classes, scores := c.Scores == 0 && slices.ContainsFunc(c.Groups, func(class int) bool { return class >= 0 }), v.classes
	if classes {
		scores = 0 // callers are told the class alone: detectors learn no more
	}
	if at := slices.IndexFunc(c.Groups, func(class int) bool { return class >= v.classes }); classes && at >= 0 {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the calibration has a class %d, and the model tells %d classes apart: those of the traffic had names, it seems, which the model here does not give", c.Groups[at], v.classes), Hint: "calibrate with traffic whose answers are scores, or numbers of classes from 0"}
	}
	if err = c.Takes(nil, v.cols, scores); err != nil {
		return nil, err
	}
	return &Detection{Bound: c.Taken(), Identities: identities, watch: theft.NewExtraction(c), classes: classes}, nil
}

// see shows the detectors a row, after so many.
func (d *Detection) see(rows int, client string, input, scores []float64) {
	top := 0
	for k, s := range scores {
		if s > scores[top] {
			top = k
		}
	}
	if d.classes {
		scores = nil
	}
	s, found := d.watch.See(&theft.Asked{Client: client, Input: input, Scores: scores, Class: top})
	if !found {
		return
	}
	if d.Detected++; d.First == nil {
		d.Rows, d.First = rows+1, &s
	}
}

// rows shows the detectors answered rows, of which the first is so many in the run, with
// what the model said before any defence.
func (d *Detection) rows(a *extraction.Attack, first int, rows, said learn.Matrix, answered int) {
	if d == nil {
		return
	}
	for i := range answered {
		d.see(first+i, client(a.Ledger()[first+i].Identity), long(rows.Row(i)), long(said.Row(i)))
	}
}

// end looks at how near the first identity came, if none was found.
func (d *Detection) end() {
	if d == nil || d.First != nil {
		return
	}
	if s := d.watch.Closest(client(0)); s.Detector != "" {
		d.Closest = &s
	}
}

// again shows the detectors what an earlier run had asked, out of the file of its rows.
func (d *Detection) again(path string, rows int, defended bool) error {
	switch {
	case d == nil || rows == 0:
		return nil
	case defended:
		return &pavise.Error{Kind: pavise.Invalid, Msg: "what the model said before the defence is not kept", Hint: "leave --defence or --calibration out, or begin anew"}
	case path == "":
		return &pavise.Error{Kind: pavise.Invalid, Msg: "the state does not hold what the detectors saw", Hint: "give --queries in every run, from the first on"}
	}
	f, err := table.Open(path, table.Options{Format: table.JSONL})
	if err != nil {
		return err
	}
	defer f.Close()
	n := 0
	for row, err := range f.Rows() {
		if err != nil {
			return err
		}
		who, err := row.Text("client")
		if err != nil {
			return err
		}
		input, err := row.Append(nil, "input")
		if err != nil {
			return err
		}
		scores, err := row.Append(nil, "output")
		if err != nil {
			return err
		}
		d.see(n, who, input, scores)
		if n++; n == rows {
			return nil
		}
	}
	return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s holds %d of the %d rows that were asked", path, n, rows), Hint: "give the file that the earlier run wrote"}
}

func (d *Detection) print(w io.Writer) {
	if d == nil {
		return
	}
	bound := fmt.Sprintf("at most %.2g %% of honest clients are taken for thieves", 100*d.Bound)
	if d.First == nil {
		fact(w, "detected", "no (%s)", bound)
		if s := d.Closest; s != nil {
			fact(w, "", "nearest by %s: %.1f of %.1f", s.Detector, s.Score, s.Threshold)
		}
		return
	}
	fact(w, "detected", "after %d rows, by %s (%s)", d.Rows, d.First.Detector, bound)
	fact(w, "", "%s", d.First.Evidence)
	if d.Identities > 1 {
		fact(w, "", "%d of %d identities; the first had asked %d rows itself", d.Detected, d.Identities, d.First.Rows)
	}
}

// client is what an identity is called in recorded traffic.
func client(identity int) string { return fmt.Sprintf("thief-%d", identity+1) }

func long(row []float32) []float64 {
	out := make([]float64, len(row))
	for i, v := range row {
		out[i] = float64(v)
	}
	return out
}
