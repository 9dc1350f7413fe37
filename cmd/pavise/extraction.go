package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/plainfile"
	"github.com/pavise/pavise/internal/screen"
	"github.com/pavise/pavise/internal/theft"
	"github.com/pavise/pavise/internal/traffic"
)

// trafficFlags say how recorded traffic is read.
type trafficFlags struct {
	traffic.Layout
	Alpha float64 `help:"The share of honest clients that may be taken for thieves." default:"0.005"`
	Seed  uint64  `help:"Of what is drawn by chance: the same seed gives the same calibration." default:"1"`
}

// calibrateCommand is pavise firewall calibrate: it reads files, needs no server, and
// records nothing.
type calibrateCommand struct {
	Traffic string `help:"Recorded traffic of honest clients: a file, or a directory with a file for each." required:"" placeholder:"PATH"`
	Out     string `short:"o" help:"Where the calibration goes." required:"" placeholder:"FILE"`
	trafficFlags
}

// Help is the text behind the command's flags.
func (*calibrateCommand) Help() string {
	return `Learns from the recorded traffic of honest clients what they are like, each as a
whole, and how unlike them a client may be before it is taken for one that copies
the model. It prints the share of honest clients that may be taken for such: with
so many clients, no less can be promised. 20 clients of 50 rows are the least; 0.5 %
takes 240.

CSV, JSONL, NPY and IDX are read, with the column "client" for who asked;
docs/formats/traffic.md says how columns are named.

For example:

  pavise firewall calibrate --traffic honest.csv -o calibration.json`
}

// replayCommand is pavise firewall replay: it reads files, needs no server, and records
// nothing.
type replayCommand struct {
	Calibration string `help:"A calibration, or the traffic of honest clients to make one of." required:"" placeholder:"PATH"`
	Traffic     string `help:"The recorded traffic to look at: a file, or a directory with a file for each client." required:"" placeholder:"PATH"`
	trafficFlags
}

// Help is the text behind the command's flags.
func (*replayCommand) Help() string {
	return `Plays recorded traffic to the detectors of model theft, row by row, and says of
each client whether it stays green or turns amber, after how many rows, and why.
It says what share of honest clients the calibration lets it take for thieves.

It exits with 0 when all clients stay green, with 1 when one does not, and with 2 when
it could not look.

For example:

  pavise firewall replay --calibration calibration.json --traffic today.csv`
}

// coverageCommand is pavise firewall coverage: it reads a file, needs no server, and records
// nothing.
type coverageCommand struct {
	Records string  `help:"Records as pavise ledger follow prints them, or pavise ledger list --json lists them." required:"" placeholder:"FILE"`
	Alpha   float64 `help:"The share of honest clients that may be given noise." default:"0.05"`
}

// Help is the text behind the command's flags.
func (*coverageCommand) Help() string {
	return `Reads from the records of honest clients how much of the space of a model's embeddings
each has covered, and says from where on noise would leave them alone. Records say it on
routes with noise in --embeddings: begin with "noise:99%..100%", which alters nobody's
vectors, and come back once honest clients have asked. 19 clients support 5 %, 99 support 1 %.

For example:

  pavise ledger list --kind model.infer --limit 1000 --json > records.json
  pavise firewall coverage --records records.json`
}

func (v *coverageCommand) run(_ context.Context, c *cli) error {
	if !(v.Alpha > 0 && v.Alpha < 1) {
		return &ending{couldNotLook, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("--alpha %g is no share", v.Alpha), Hint: "give a number between 0 and 1, such as 0.05"}}
	}
	file, err := os.Open(v.Records)
	if err != nil {
		return &ending{couldNotLook, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("read the records: %v", err), Err: err}}
	}
	defer file.Close()
	all, err := traffic.Coverage(file, v.Alpha)
	if err != nil {
		return &ending{couldNotLook, fmt.Errorf("read %s: %w", v.Records, err)}
	}
	if c.JSON {
		return c.printJSON(struct {
			Models   []traffic.Covered `json:"models"`
			Recorded bool              `json:"recorded"` // this command leaves no record
		}{all, false})
	}
	if len(all) == 0 {
		fmt.Fprintln(c.stdout, "no record says what a caller has covered: only routes with noise in --embeddings are looked at")
	}
	for _, m := range all {
		fmt.Fprintf(c.stdout, "%s: %d clients cover %.1f %% of the space at the middle, and %.1f %% at most\n%s\n", m.Model, m.Clients, 100*m.Median, 100*m.Most, m.Words)
	}
	fmt.Fprintln(c.stdout, "recorded: false")
	return nil
}

const maxCalibration = 64 << 20 // bytes of a calibration in a file

// A calibrated is what calibrate prints as JSON.
type calibrated struct {
	traffic.Bound
	File     string          `json:"file"`
	Read     traffic.Reading `json:"read"`
	Words    string          `json:"words"`
	Recorded bool            `json:"recorded"` // this command leaves no record
}

func (v *calibrateCommand) run(_ context.Context, c *cli) error {
	made, read, err := v.calibrate(c, v.Traffic)
	if err != nil {
		return &ending{couldNotLook, err}
	}
	text, err := made.Marshal()
	if err != nil {
		return &ending{couldNotLook, err}
	}
	if err := os.WriteFile(v.Out, text, 0o600); err != nil {
		return &ending{couldNotLook, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("write the calibration: %v", err), Err: err}}
	}
	result := calibrated{Bound: traffic.BoundOf(made), File: v.Out, Read: read}
	result.Words = result.Bound.Words()
	if c.JSON {
		return c.printJSON(result)
	}
	screen.WriteReading(c.stdout, read)
	fmt.Fprintf(c.stdout, "calibrated by %d clients with %d rows, looking after %s different rows of each\n", result.Clients, result.Rows, strings.ReplaceAll(strings.Trim(fmt.Sprint(result.Looks), "[]"), " ", ", "))
	fmt.Fprintf(c.stdout, "%s\n%s written; recorded: false\n", result.Words, v.Out)
	return nil
}

// calibrate makes a calibration of traffic.
func (v *trafficFlags) calibrate(c *cli, path string) (*theft.Calibration, traffic.Reading, error) {
	var read traffic.Reading
	if v.Alpha <= 0 || v.Alpha >= 1 {
		return nil, read, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("--alpha %g is no share", v.Alpha), Hint: "give a number between 0 and 1, such as 0.005"}
	}
	source, err := traffic.Open(path, v.Layout)
	if err != nil {
		return nil, read, err
	}
	made, err := theft.Calibrate(c.countingRows(source.Rows(&read)), v.Alpha, v.Seed)
	c.counted()
	if err != nil {
		return nil, read, read.Explain(err)
	}
	made.Columns = read.Named()
	return made, read, nil
}

// countRows counts rows on the terminal.
func (c *cli) countRows(n int) {
	if !c.JSON && n%4096 == 0 {
		fmt.Fprintf(c.stderr.Progress, "\r%d rows …", n)
		c.counts = true
	}
}

// countingRows counts rows that are ranged over.
func (c *cli) countingRows(rows theft.Traffic) theft.Traffic {
	return func(yield func(*theft.Asked, error) bool) {
		n := 0
		for a, err := range rows {
			n++
			c.countRows(n)
			if !yield(a, err) {
				return
			}
		}
	}
}

func (v *replayCommand) run(_ context.Context, c *cli) error {
	calibration, err := v.calibration(c)
	if err != nil {
		return &ending{couldNotLook, err}
	}
	source, err := traffic.Open(v.Traffic, v.Layout)
	if err != nil {
		return &ending{couldNotLook, err}
	}
	result, err := source.Replay(calibration, c.countRows)
	c.counted()
	if err != nil {
		return &ending{couldNotLook, err}
	}
	if c.JSON {
		err = c.printJSON(struct {
			*traffic.Replayed
			Recorded bool `json:"recorded"` // this command leaves no record
		}{result, false})
	} else {
		screen.WriteReplayed(c.stdout, result)
	}
	if err == nil && result.Amber > 0 {
		return &ending{code: foundSomething}
	}
	return err
}

// calibration reads a calibration, or makes one of traffic.
func (v *replayCommand) calibration(c *cli) (*theft.Calibration, error) {
	if info, err := os.Stat(v.Calibration); err == nil && info.Mode().IsRegular() {
		start, err := startOf(v.Calibration)
		if err != nil {
			return nil, err
		}
		if theft.IsCalibration(start) {
			text, err := plainfile.Read("calibration", v.Calibration, maxCalibration)
			if err != nil {
				return nil, err
			}
			return theft.ParseCalibration(text)
		}
	}
	made, _, err := v.calibrate(c, v.Calibration)
	return made, err
}

// startOf reads the first bytes of a file.
func startOf(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("read the calibration: %v", err), Err: err}
	}
	defer f.Close()
	start := make([]byte, 256)
	n, err := io.ReadFull(f, start)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && err != io.EOF {
		return nil, fmt.Errorf("read the calibration: %w", err)
	}
	return start[:n], nil
}
