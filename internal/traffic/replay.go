package traffic

import (
	"fmt"

	"github.com/pavise/pavise/internal/theft"
)

// A Replayed is how the clients of a traffic were found.
type Replayed struct {
	Clients     []ReplayedClient `json:"clients"`
	Green       int              `json:"green"`
	Amber       int              `json:"amber"`
	Unjudged    int              `json:"unjudged"`            // of the green: those who asked too few different rows for the first look
	Forgotten   int              `json:"forgotten,omitempty"` // those who were forgotten for want of room, and looked at anew
	Rows        int              `json:"rows"`
	Calibration Bound            `json:"calibration"`
	Read        Reading          `json:"read"`
	Words       string           `json:"words"`
}

// A ReplayedClient is how a client was found.
type ReplayedClient struct {
	Client    string  `json:"client"`
	Tier      string  `json:"tier"` // green or amber
	Rows      int     `json:"rows"`
	At        int     `json:"rows_to_detection,omitempty"` // rows after which it left green
	Detector  string  `json:"detector,omitempty"`          // whose measure was, or is, furthest out
	Looks     int     `json:"looks"`                       // at what it asks, that it has come to
	Score     float64 `json:"score"`                       // at that moment; of a green client the highest
	Threshold float64 `json:"threshold"`
	Evidence  string  `json:"evidence,omitempty"`
}

// Replay plays the traffic to the detectors, row by row. seen, if not nil, is told how many
// rows there were so far. Traffic that does not fit the calibration, or of which a row cannot
// be read, is an error.
func (t *Source) Replay(calibration *theft.Calibration, seen func(rows int)) (*Replayed, error) {
	return t.replay(calibration, replayClients, seen)
}

// replayClients are remembered at a time: more than a gateway does, for thousands who ask in
// turns would push each other out, and nobody would be judged. They take some 15 KiB each.
const replayClients = 1 << 15

func (t *Source) replay(calibration *theft.Calibration, most int, seen func(rows int)) (*Replayed, error) {
	result := &Replayed{Calibration: BoundOf(calibration)}
	detectors, at, order := theft.NewExtraction(calibration), map[string]*ReplayedClient{}, []string{}
	forgotten := map[string]bool{}
	detectors.Most, detectors.Lost = most, func(client string) { forgotten[client] = true }
	for a, err := range t.Rows(&result.Read) {
		if err != nil {
			return nil, err
		}
		if result.Rows++; result.Rows == 1 {
			if err := calibration.Takes(result.Read.Named(), len(a.Input), len(a.Scores)); err != nil {
				return nil, err
			}
		}
		if seen != nil {
			seen(result.Rows)
		}
		client := at[a.Client]
		if client == nil {
			client = &ReplayedClient{Client: a.Client, Tier: "green", Threshold: calibration.Threshold}
			at[a.Client], order = client, append(order, a.Client)
		}
		client.Rows++
		if s, ok := detectors.See(a); ok && client.Tier == "green" {
			client.Tier, client.At, client.Detector, client.Score, client.Evidence = "amber", s.Rows, s.Detector, s.Score, s.Evidence
		}
	}
	for _, name := range order {
		client := at[name]
		s := detectors.Closest(name)
		if client.Looks = s.Looked; client.Tier == "green" {
			client.Detector, client.Score = s.Detector, s.Score
			if result.Green++; s.Looked == 0 && !forgotten[name] {
				result.Unjudged++
			}
		} else {
			result.Amber++
		}
		result.Clients = append(result.Clients, *client)
	}
	result.Forgotten = len(forgotten)
	result.Words = fmt.Sprintf("%d of %d clients left green%s; %s", result.Amber, len(order), result.passedOver(), result.Calibration.Words())
	return result, nil
}

// passedOver says how many clients are green because they were not looked at.
func (r *Replayed) passedOver() (s string) {
	if r.Unjudged > 0 {
		s = fmt.Sprintf("; %d asked fewer than %d different rows, too few to be judged by what they ask", r.Unjudged, r.Calibration.Looks[0])
	}
	if r.Forgotten > 0 {
		s += fmt.Sprintf("; %d were forgotten for want of room while others asked, and looked at anew", r.Forgotten)
	}
	return s
}

// A Bound is what a calibration promises.
type Bound struct {
	Clients   int     `json:"clients"` // it was made of
	Judged    int     `json:"judged"`  // of them, those that set the threshold
	Rows      int     `json:"rows"`
	Alpha     float64 `json:"alpha"`
	Bound     float64 `json:"bound"`                     // the share of honest clients that may be taken for thieves by what they ask
	Repeating float64 `json:"repeating_bound,omitempty"` // and by how they repeat it; 0: a calibration of before, by which nobody is
	Threshold float64 `json:"threshold"`
	Looks     []int   `json:"looks"`
}

// BoundOf is what a calibration promises.
func BoundOf(c *theft.Calibration) Bound {
	return Bound{c.Clients, c.Judged, c.Rows, c.Alpha, c.Bound, c.Taken() - c.Bound, c.Threshold, c.Looks}
}

// Words say what the bound means.
func (b Bound) Words() string {
	s := fmt.Sprintf("of honest clients like the %d of the calibration, at most %.2g%% are taken for thieves", b.Clients, 100*b.Bound)
	if b.Repeating > 0 {
		s += fmt.Sprintf(" by what they ask and %.2g%% by how they repeat it", 100*b.Repeating)
	}
	if b.Bound > b.Alpha {
		s += fmt.Sprintf("; for the %.2g%% that was asked for it takes %d clients", 100*b.Alpha, clientsFor(b.Alpha))
	}
	return s
}

// clientsFor is how many clients a calibration takes for a bound: one in six makes the
// reference.
func clientsFor(alpha float64) int { return int((1/alpha-1)*6/5) + 2 }
