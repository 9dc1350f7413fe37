package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/firewall"
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

const maxCalibration = 64 << 20 // bytes of a calibration in a file

// A calibrated is what calibrate prints as JSON.
type calibrated struct {
	bound
	File     string          `json:"file"`
	Read     traffic.Reading `json:"read"`
	Words    string          `json:"words"`
	Recorded bool            `json:"recorded"` // this command leaves no record
}

// A bound is what a calibration promises.
type bound struct {
	Clients   int     `json:"clients"` // it was made of
	Judged    int     `json:"judged"`  // of them, those that set the threshold
	Rows      int     `json:"rows"`
	Alpha     float64 `json:"alpha"`
	Bound     float64 `json:"bound"` // the share of honest clients that may be taken for thieves
	Threshold float64 `json:"threshold"`
	Looks     []int   `json:"looks"`
}

func boundOf(c *firewall.Calibration) bound {
	return bound{c.Clients, c.Judged, c.Rows, c.Alpha, c.Bound, c.Threshold, c.Looks}
}

// words say what the bound means.
func (b bound) words() string {
	s := fmt.Sprintf("of honest clients like the %d of the calibration, at most %.2g%% are taken for thieves", b.Clients, 100*b.Bound)
	if b.Bound > b.Alpha {
		s += fmt.Sprintf("; for the %.2g%% that was asked for it takes %d clients", 100*b.Alpha, clientsFor(b.Alpha))
	}
	return s
}

// clientsFor is how many clients a calibration takes for a bound: one in six makes the
// reference.
func clientsFor(alpha float64) int { return int((1/alpha-1)*6/5) + 2 }

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
	result := calibrated{bound: boundOf(made), File: v.Out, Read: read}
	result.Words = result.words()
	if c.JSON {
		return c.printJSON(result)
	}
	printReading(c.stdout, read)
	fmt.Fprintf(c.stdout, "calibrated by %d clients with %d rows, looking after %s different rows of each\n", result.Clients, result.Rows, list(result.Looks))
	fmt.Fprintf(c.stdout, "%s\n%s written; recorded: false\n", result.Words, v.Out)
	return nil
}

// calibrate makes a calibration of traffic.
func (v *trafficFlags) calibrate(c *cli, path string) (*firewall.Calibration, traffic.Reading, error) {
	var read traffic.Reading
	if v.Alpha <= 0 || v.Alpha >= 1 {
		return nil, read, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("--alpha %g is no share", v.Alpha), Hint: "give a number between 0 and 1, such as 0.005"}
	}
	source, err := traffic.Open(path, v.Layout)
	if err != nil {
		return nil, read, err
	}
	made, err := firewall.Calibrate(c.countingRows(source.Rows(&read)), v.Alpha, v.Seed)
	c.counted()
	if err != nil {
		return nil, read, err
	}
	made.Columns = read.Named()
	return made, read, nil
}

// countingRows counts rows on the terminal.
func (c *cli) countingRows(rows firewall.Traffic) firewall.Traffic {
	if c.JSON {
		return rows
	}
	return func(yield func(*firewall.Asked, error) bool) {
		n := 0
		for a, err := range rows {
			if n++; n%4096 == 0 {
				fmt.Fprintf(c.stderr.Progress, "\r%d rows …", n)
				c.counts = true
			}
			if !yield(a, err) {
				return
			}
		}
	}
}

// A replayed is what replay prints as JSON.
type replayed struct {
	Clients     []replayedClient `json:"clients"`
	Green       int              `json:"green"`
	Amber       int              `json:"amber"`
	Rows        int              `json:"rows"`
	Calibration bound            `json:"calibration"`
	Read        traffic.Reading  `json:"read"`
	Words       string           `json:"words"`
	Recorded    bool             `json:"recorded"` // this command leaves no record
}

// A replayedClient is how a client was found.
type replayedClient struct {
	Client    string  `json:"client"`
	Tier      string  `json:"tier"` // green or amber
	Rows      int     `json:"rows"`
	At        int     `json:"rows_to_detection,omitempty"` // rows after which it left green
	Detector  string  `json:"detector,omitempty"`          // whose measure was, or is, furthest out
	Score     float64 `json:"score"`                       // at that moment; of a green client the highest
	Threshold float64 `json:"threshold"`
	Evidence  string  `json:"evidence,omitempty"`
}

func (v *replayCommand) run(_ context.Context, c *cli) error {
	calibration, err := v.calibration(c)
	if err != nil {
		return &ending{couldNotLook, err}
	}
	result, err := v.replay(c, calibration)
	c.counted()
	if err != nil {
		return &ending{couldNotLook, err}
	}
	if c.JSON {
		err = c.printJSON(result)
	} else {
		printReplayed(c.stdout, result)
	}
	if err == nil && result.Amber > 0 {
		return &ending{code: foundSomething}
	}
	return err
}

// calibration reads a calibration, or makes one of traffic.
func (v *replayCommand) calibration(c *cli) (*firewall.Calibration, error) {
	if info, err := os.Stat(v.Calibration); err == nil && info.Mode().IsRegular() {
		start, err := startOf(v.Calibration)
		if err != nil {
			return nil, err
		}
		if firewall.IsCalibration(start) {
			text, err := readPlain("calibration", v.Calibration, maxCalibration)
			if err != nil {
				return nil, err
			}
			return firewall.ParseCalibration(text)
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
	start := make([]byte, 64)
	n, err := io.ReadFull(f, start)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && err != io.EOF {
		return nil, fmt.Errorf("read the calibration: %w", err)
	}
	return start[:n], nil
}

// replay plays the traffic to the detectors.
func (v *replayCommand) replay(c *cli, calibration *firewall.Calibration) (*replayed, error) {
	source, err := traffic.Open(v.Traffic, v.Layout)
	if err != nil {
		return nil, err
	}
	result := &replayed{Calibration: boundOf(calibration)}
	detectors, at, order := firewall.NewExtraction(calibration), map[string]*replayedClient{}, []string{}
	for a, err := range c.countingRows(source.Rows(&result.Read)) {
		if err != nil {
			return nil, err
		}
		if result.Rows++; result.Rows == 1 {
			if err := calibration.Takes(result.Read.Named(), len(a.Input), len(a.Scores)); err != nil {
				return nil, err
			}
		}
		client := at[a.Client]
		if client == nil {
			client = &replayedClient{Client: a.Client, Tier: "green", Threshold: calibration.Threshold}
			at[a.Client], order = client, append(order, a.Client)
		}
		client.Rows++
		if s, ok := detectors.See(a); ok {
			client.Tier, client.At, client.Detector, client.Score, client.Evidence = "amber", s.Rows, s.Detector, s.Score, s.Evidence
		}
	}
	for _, name := range order {
		client := at[name]
		if s := detectors.Closest(name); client.Tier == "green" {
			client.Detector, client.Score = s.Detector, s.Score
			result.Green++
		} else {
			result.Amber++
		}
		result.Clients = append(result.Clients, *client)
	}
	result.Words = fmt.Sprintf("%d of %d clients left green; %s", result.Amber, len(order), result.Calibration.words())
	return result, nil
}

func printReading(w io.Writer, r traffic.Reading) {
	row := func(what string, said string) { fmt.Fprintf(w, "  %-9s %s\n", what, said) }
	fmt.Fprintln(w, "read as:")
	row("client", cmp.Or(r.Client, "each file is one"))
	if r.Group != "" {
		row("group", r.Group)
	}
	row("inputs", some(r.Inputs))
	switch {
	case r.Asked:
		row("answers", "the model's, asked anew")
	case len(r.Scores) > 0:
		row("answers", some(r.Scores)+" (scores)")
	case r.Answer != "":
		row("answers", r.Answer+" (a class: how near a row is to a border is not known)")
	default:
		row("answers", "none: classes and margins are not known")
	}
	if len(r.Ignored) > 0 {
		row("ignored", some(r.Ignored))
	}
}

// some says a list of names, or the ends of a long one.
func some(names []string) string {
	if len(names) > 8 {
		return fmt.Sprintf("%s … %s (%d)", strings.Join(names[:3], ", "), names[len(names)-1], len(names))
	}
	return strings.Join(names, ", ")
}

func list(numbers []int) string {
	texts := make([]string, len(numbers))
	for i, n := range numbers {
		texts[i] = fmt.Sprint(n)
	}
	return strings.Join(texts, ", ")
}

// printReplayed prints the amber clients, and the green ones nearest to it.
func printReplayed(w io.Writer, r *replayed) {
	printReading(w, r.Read)
	clients := slices.Clone(r.Clients)
	slices.SortStableFunc(clients, func(a, b replayedClient) int {
		return cmp.Or(cmp.Compare(a.Tier, b.Tier), cmp.Compare(b.Score, a.Score))
	})
	const greens = 5
	shown := 0
	fmt.Fprintln(w)
	for _, client := range clients {
		if client.Tier == "amber" {
			fmt.Fprintf(w, "amber  %s after %d of %d rows, by %s: %.1f, and the threshold is %.1f\n       %s\n", client.Client, client.At, client.Rows, client.Detector, client.Score, client.Threshold, client.Evidence)
			continue
		}
		if shown++; shown <= greens {
			fmt.Fprintf(w, "green  %s, %d rows; nearest to amber by %s: %.1f of %.1f\n", client.Client, client.Rows, cmp.Or(client.Detector, "nothing yet"), client.Score, client.Threshold)
		}
	}
	if shown > greens {
		fmt.Fprintf(w, "green  %d more\n", shown-greens)
	}
	fmt.Fprintf(w, "\n%s; recorded: false\n", r.Words)
}
