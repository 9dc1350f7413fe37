package theft

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/anomaly"
)

const (
	calibrationLeast  = 20      // clients, below which nothing can be said
	calibrationSample = 160     // rows of a client that the reference is made of
	calibrationRows   = 16384   // of all clients of the reference
	calibrationEach   = 8       // rows of a client, at least
	calibrationWidth  = 1 << 16 // inputs of a row, at most
	calibrationNumber = 1 << 25 // inputs of all rows of the reference, about
	calibrationAxes   = 48      // directions in which rows may differ, and no more than half the columns
	calibrationPoint  = 16      // of them, those by which rows are compared
	calibrationCenter = 128     // places that stand for the rows of all classes
	calibrationFreq   = 32
	calibrationGroups = 16      // classes that are looked at one by one; the others are one group
	maxScores         = 1 << 20 // of one row
)

// LookCount is how many looks at a client there are at most.
const LookCount = 11

// looks are the numbers of rows after which a client is judged. They are close together,
// because what a client is held to is the worst of all of them: one more look hardly moves
// the threshold, and finds who was missed by a little.
var looks = []int{50, 100, 150, 250, 350, 500, 750, 900, 1000, 1500, 2000}

// Looks are the numbers of different rows after which a client is judged, as far as a
// calibration supports them.
func Looks() [LookCount]int { return [LookCount]int(looks) }

// ErrTooFew is in the error of [Calibrate] where too few clients asked enough.
var ErrTooFew = errors.New("too few clients")

// A Level is how large a measure of known rows is.
type Level struct {
	Usual float32 `json:"usual"` // half of them are below it; above 0
	Unit  float32 `json:"unit"`  // so much further is one in ten; above 0
}

func levelOf(values []float32) Level {
	slices.Sort(values)
	usual := max(values[len(values)/2], values[len(values)-1]/1000, 1e-6)
	return Level{Usual: usual, Unit: max(usual/100, values[len(values)*9/10]-usual)}
}

// doublings is how large a value is, as the logarithm of one and so many times the usual.
// It has no upper end: clients who differ much from each other must not hide what differs
// more.
func (l Level) doublings(v float32) float64 { return math.Log2(1 + float64(v/l.Usual)) }

// A Calibration is what whole clients, known to be honest, look like, and how unlike them a
// client may be. One part of them makes the reference; the others, which it has not seen,
// set the threshold: of clients exchangeable with those, at most a share of Bound is ever
// taken for a thief (split-conformal prediction over clients).
type Calibration struct {
	Clients   int      `json:"clients"` // whose traffic it was made of
	Judged    int      `json:"judged"`  // of them, those that set the threshold
	Rows      int      `json:"rows"`
	Alpha     float64  `json:"alpha"` // the share that was asked for
	Bound     float64  `json:"bound"` // the share that so many clients support
	Threshold float64  `json:"threshold"`
	Looks     []int    `json:"looks"`             // numbers of different rows after which a client is judged
	Scores    int      `json:"scores"`            // that each answer had; 0: none
	Columns   []string `json:"columns,omitempty"` // of the inputs, where they have names

	Scale         *anomaly.Columns   `json:"scale"`
	Space         *anomaly.Subspace  `json:"space"`
	Fourier       *anomaly.Fourier   `json:"fourier"`
	Centers       []*anomaly.Centers `json:"centers"` // by group: where its rows lie
	Sketch        *anomaly.Sketch    `json:"sketch"`
	Residual      Level              `json:"residual"`
	Outside       Level              `json:"outside"`
	Groups        []int              `json:"groups"` // classes that are looked at one by one
	Guess         *Guess             `json:"guess"`
	Traits        [][traits]Trait    `json:"traits"`   // by group
	Means         [][]float32        `json:"means"`    // by group: mean features; null where no row was seen
	Near          int32              `json:"near"`     // squared distance of sketches up to which rows of two clients are nearly one
	NearOwn       int32              `json:"near_own"` // the same of two rows of one client
	DistanceBins  []int32            `json:"distance_bins"`
	DistanceShare []float64          `json:"distance_share"`

	Profiles []*anomaly.Profile `json:"profiles"` // by look: how the traits of honest clients' rows are spread

	Middle [][measures]float64 `json:"middle"` // by look: the median of honest clients
	Spread [][measures]float64 `json:"spread"` // by look: how far above it one in fifty is
	Tail   [][measures]float64 `json:"tail"`   // by look: the power that gives all measures like tails

	Repetition *Repetition `json:"repetition"`
}

// Traffic gives recorded rows, the same ones each time it is ranged over.
type Traffic = iter.Seq2[*Asked, error]

// Calibrate learns from the traffic of honest clients. alpha is the share of such clients
// that may be taken for thieves, usually 0.005. Everything is decided by the traffic and
// seed. The error is of kind Invalid when the traffic is too little or not of one form, or
// whatever ranging over it gave.
func Calibrate(traffic Traffic, alpha float64, seed uint64) (*Calibration, error) {
	count := map[string]int{}
	width, scores, rows := -1, 0, 0
	for a, err := range traffic {
		if err != nil {
			return nil, err
		}
		if width < 0 {
			width, scores = len(a.Input), len(a.Scores)
		}
		if len(a.Input) != width || len(a.Scores) != scores {
			return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("row %d of the traffic has %d inputs and %d scores, and the first has %d and %d", rows+1, len(a.Input), len(a.Scores), width, scores)}
		}
		if width == 0 || width > calibrationWidth {
			return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the rows of the traffic have %d inputs; 1 to %d can be looked at", width, calibrationWidth)}
		}
		rows++
		count[a.Client]++
	}
	t := &trainer{traffic: traffic, rng: rand.New(rand.NewPCG(seed, 1)), seed: seed}
	t.c = &Calibration{Clients: len(count), Rows: rows, Alpha: alpha, Looks: looks, Scores: scores}
	if err := t.part(count); err != nil {
		return nil, err
	}
	if err := t.sample(); err != nil {
		return nil, err
	}
	if err := t.fit(); err != nil {
		return nil, err
	}
	if err := t.measure(); err != nil {
		return nil, err
	}
	return t.c, nil
}

// A trainer makes a calibration.
type trainer struct {
	c         *Calibration
	traffic   Traffic
	rng       *rand.Rand
	seed      uint64
	reference map[string]*sampled // clients that make the reference
	judged    map[string]bool     // clients that set the threshold
	turns     []int               // looks at what they repeat
	turned    []turn              // by those looks: what they repeated
	order     []string            // of the reference
}

// A sampled client is one of the reference.
type sampled struct {
	seen int
	rows []sampledRow
}

// A sampledRow is a row and what its scores say: the scores of models of many classes would
// fill the memory.
type sampledRow struct {
	Asked
	margin float64
}

// part parts the clients by a hash of their names: one in six or more make the reference,
// the others set the threshold.
func (t *trainer) part(count map[string]int) error {
	names := make([]string, 0, len(count))
	for name, n := range count {
		if n >= looks[0] {
			names = append(names, name)
		}
	}
	if len(names) < calibrationLeast {
		return &pavise.Error{
			Kind: pavise.Invalid,
			Msg:  fmt.Sprintf("of the %d clients of the traffic %d have asked %d rows or more, and a calibration needs %d of them", len(count), len(names), looks[0], calibrationLeast),
			Hint: "record more honest clients; to bound false alarms by 0.5% it takes 240",
			Err:  ErrTooFew,
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(t.nameHash(a), t.nameHash(b)), cmp.Compare(a, b))
	})
	// A third makes the reference, unless that leaves too few for the bound that is asked for.
	n := max(len(names)/6, min(len(names)/3, len(names)-int(math.Ceil(1/t.c.Alpha))+1), 4)
	n = min(n, calibrationRows/calibrationEach)
	t.reference, t.judged = map[string]*sampled{}, map[string]bool{}
	t.order = names[:n]
	for _, name := range t.order {
		t.reference[name] = &sampled{}
	}
	for _, name := range names[n:] {
		t.judged[name] = true
	}
	return nil
}

func (t *trainer) nameHash(name string) uint64 {
	sum := sha256.Sum256(append(binary.BigEndian.AppendUint64(nil, t.seed), name...))
	return binary.BigEndian.Uint64(sum[:])
}

// sample takes rows of every client of the reference, each equally likely.
func (t *trainer) sample() error {
	most := 0
	for a, err := range t.traffic {
		if err != nil {
			return err
		}
		s := t.reference[a.Client]
		if s == nil {
			continue
		}
		if most == 0 {
			rows := min(calibrationRows, calibrationNumber/len(a.Input))
			most = max(calibrationEach, min(calibrationSample, rows/len(t.order)))
		}
		s.seen++
		own := sampledRow{Asked{Client: a.Client, Input: slices.Clone(a.Input), Class: classOf(a)}, marginOf(a.Scores)}
		if len(s.rows) < most {
			s.rows = append(s.rows, own)
		} else if k := t.rng.IntN(s.seen); k < most {
			s.rows[k] = own
		}
	}
	return nil
}

// fit makes the reference of the sampled rows.
func (t *trainer) fit() error {
	var raw [][]float64
	var list []*sampledRow
	for _, name := range t.order {
		for i := range t.reference[name].rows {
			a := &t.reference[name].rows[i]
			raw, list = append(raw, a.Input), append(list, a)
		}
	}
	c := t.c
	c.Scale = anomaly.FitColumns(raw)
	scaled := make([][]float32, len(raw))
	for i, row := range raw {
		scaled[i] = c.Scale.Apply(nil, row)
	}
	c.Space = anomaly.FitSubspace(scaled[:min(len(scaled), 4096)], calibrationAxes, t.rng)
	c.Sketch = anomaly.FitSketch(scaled, t.rng)
	c.Groups = commonClasses(list)
	residuals := make([]float32, len(list))
	for i := range list {
		_, residuals[i] = c.Space.Project(nil, scaled[i])
	}
	c.Residual = levelOf(residuals)
	points, folds, groups := make([][]float32, len(list)), make([][]float32, len(list)), make([]int, len(list))
	var g glance
	for i, a := range list {
		c.place(&g, &a.Asked)
		points[i], folds[i], groups[i] = slices.Clone(g.point), slices.Clone(g.fold[:]), g.group
	}
	t.fitCenters(points, groups)
	outside := make([]float32, len(points))
	for i, p := range points {
		outside[i] = c.Centers[groups[i]].Outside(p)
	}
	c.Outside = levelOf(outside)
	c.Fourier = anomaly.FitFourier(folds, calibrationFreq, t.rng)
	t.fitMeans(folds, groups)
	t.fitDistances()
	if err := t.fitGuess(list, groups); err != nil {
		return err
	}
	t.fitTraits(list, groups)
	return nil
}

// commonClasses are the classes that most rows have, in order.
func commonClasses(list []*sampledRow) []int {
	count := map[int]int{}
	for _, a := range list {
		count[a.Class]++
	}
	classes := make([]int, 0, len(count))
	for k := range count {
		classes = append(classes, k)
	}
	slices.SortFunc(classes, func(a, b int) int { return cmp.Or(cmp.Compare(count[b], count[a]), cmp.Compare(a, b)) })
	classes = classes[:min(len(classes), calibrationGroups-1)]
	slices.Sort(classes)
	return classes
}

// groupOf is the place of the row's class among Groups, or the one after them.
func (c *Calibration) groupOf(a *Asked) int {
	if i, ok := slices.BinarySearch(c.Groups, classOf(a)); ok {
		return i
	}
	return len(c.Groups)
}

// fitCenters places centres among the rows of each class: a row that lies well among those
// of another class than the model takes it for is as unlike as one that lies nowhere. A
// class of few rows has the centres of all.
func (t *trainer) fitCenters(points [][]float32, groups []int) {
	byGroup := make([][][]float32, len(t.c.Groups)+1)
	for i, p := range points {
		byGroup[groups[i]] = append(byGroup[groups[i]], p)
	}
	var all *anomaly.Centers
	for _, own := range byGroup {
		if len(own) >= calibrationSample/2 {
			t.c.Centers = append(t.c.Centers, anomaly.FitCenters(own, max(8, calibrationCenter/len(byGroup)), t.rng))
			continue
		}
		if all == nil {
			all = anomaly.FitCenters(points, calibrationCenter/2, t.rng)
		}
		t.c.Centers = append(t.c.Centers, all)
	}
}

// fitMeans takes the mean features of each client's rows by class, and the mean of those:
// a client counts once, however much it asks.
func (t *trainer) fitMeans(points [][]float32, groups []int) {
	c := t.c
	c.Means = make([][]float32, len(c.Groups)+1)
	clients, at := make([]float32, len(c.Means)), 0
	for _, name := range t.order {
		own, count := make([][]float32, len(c.Means)), make([]float32, len(c.Means))
		for range t.reference[name].rows {
			k := groups[at]
			if own[k] == nil {
				own[k] = make([]float32, c.Fourier.Len())
			}
			c.Fourier.Add(own[k], points[at])
			count[k]++
			at++
		}
		for k, sum := range own {
			if sum == nil {
				continue
			}
			if c.Means[k] == nil {
				c.Means[k] = make([]float32, c.Fourier.Len())
			}
			clients[k]++
			for j, v := range sum {
				c.Means[k][j] += v / count[k]
			}
		}
	}
	for k, mean := range c.Means {
		for j := range mean {
			mean[j] /= clients[k]
		}
	}
}

// fitDistances learns how far a client's row is from the nearest of its others, and within
// what distance one row in fifty has one: of all rows, and of those of the one client in a
// hundred whose rows are closest to each other, as of one who asks about one kind of thing.
// Such a client is honest, and searches move by less.
func (t *trainer) fitDistances() {
	var all, closest []int32
	for _, name := range t.order {
		own := t.distances(t.reference[name].rows)
		if len(own) > 0 {
			slices.Sort(own)
			all, closest = append(all, own...), append(closest, own[len(own)/50])
		}
	}
	if len(all) == 0 {
		all, closest = []int32{0}, []int32{0}
	}
	slices.Sort(all)
	slices.Sort(closest)
	t.c.Near, t.c.NearOwn = max(1, all[len(all)/50]), max(1, closest[len(closest)/100])
	for i := 1; i < studyBins; i++ {
		t.c.DistanceBins = append(t.c.DistanceBins, all[len(all)*i/studyBins])
	}
	t.c.DistanceShare = make([]float64, studyBins)
	for _, d := range all {
		bin, _ := slices.BinarySearch(t.c.DistanceBins, d)
		t.c.DistanceShare[bin] += 1 / float64(len(all))
	}
}

// distances are those of each row of a client to the nearest of its others that is not the
// same to the last bit.
func (t *trainer) distances(rows []sampledRow) (list []int32) {
	var g glance
	sketches, exact := make([][anomaly.SketchLen]int8, len(rows)), make([]uint64, len(rows))
	for i := range rows {
		t.c.place(&g, &rows[i].Asked)
		sketches[i], exact[i] = g.sketch, exactHash(&rowKey, rows[i].Input)
	}
	for i := range rows {
		nearest := int32(-1)
		for j := range rows {
			if exact[i] == exact[j] {
				continue
			}
			if d := apart(&sketches[i], &sketches[j]); nearest < 0 || d < nearest {
				nearest = d
			}
		}
		if nearest >= 0 {
			list = append(list, nearest)
		}
	}
	return list
}
