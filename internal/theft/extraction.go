package theft

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/pavise/pavise/internal/anomaly"
)

const (
	// Extraction remembers so many clients, of some 15 KiB each. Beyond, one of those who
	// were not heard for long is forgotten: names that ask once push out each other, and
	// not who keeps asking.
	extractionClients = 8192
	studyRing         = 128   // rows of a client that later ones are compared with
	studyCells        = 4096  // cells of the coverage meter
	studySeen         = 512   // words of 64 bits in which the rows of a watch are marked
	studyBins         = 16    // of the distance to the nearest earlier row
	lineCosine        = 0.97  // of two steps that go the same way, or back, between rows of which a sketch is kept
	lineExact         = 0.995 // the same between rows that are kept as they are: three honest ones that differ in one column most come close to it
	profileLeast      = 0.5   // times the usual distance of a client: less is nothing
	sketchStep        = 16    // steps of a kept coordinate in the usual size of one
)

// An Asked is one answered row of a client.
type Asked struct {
	Client string
	Input  []float64 // by column
	Scores []float64 // by class, as the model said them; nil where only Class is known
	Class  int       // the class that the model answered; -1 where nobody said
}

// The measures that are taken of a client. Each is larger the less the client is like
// those of the calibration. The first are of the traits of its rows: of each trait two, how
// much of it all rows have, and how unlike they are in it, for what most rows are like; and
// then of each how much of it all rows have, whatever they are like.
const (
	measureLevel       = 2 * traits
	measureProfile     = 3*traits - 1 + iota // all traits together are spread otherwise (Mahalanobis distance)
	measureOdd                               // share with values of a kind that a column never had
	measureNear                              // share that nearly repeats an earlier row of the client
	measureCross                             // share that nearly repeats a row of somebody else
	measureLine                              // share on a line with earlier rows
	measureDistance                          // distances to earlier rows are spread otherwise (after PRADA)
	measureDiscrepancy                       // rows of a class are drawn otherwise (class-conditional MMD)
	measureCoverage                          // cells of the input space that were visited
	measures
)

// measureNames are what the measures are called, in their order.
var measureNames = [measures]string{
	"surprise", "surprise-apart", "made-up", "made-up-apart", "low-margin", "low-margin-apart", "off-manifold", "off-manifold-apart", "novelty", "novelty-apart",
	"surprise-level", "made-up-level", "low-margin-level", "off-manifold-level", "novelty-level",
	"profile", "odd-values", "near-duplicates", "cross-duplicates", "line-search", "distances", "discrepancy", "coverage",
}

// measureWords say for people what a measure found, given its value.
var measureWords = [measures]string{
	"for one who asks such rows the answers could be foretold too rarely (by %.1f deviations)",
	"the answers to some of its rows could be foretold far less than to the others (by %.1f deviations)",
	"too many of its rows look as if made of others (by %.1f deviations)",
	"some of its rows look far more than the others as if made of such (by %.1f deviations)",
	"for one who asks such rows too many are close to a border of the model (by %.1f deviations)",
	"some of its rows are far closer to a border of the model than the others (by %.1f deviations)",
	"its rows stick out of the directions in which known rows differ (by %.1f deviations)",
	"some of its rows stick out of the directions in which known rows differ, and the others do not (by %.1f deviations)",
	"its rows lie far from what is usually asked (by %.1f deviations)",
	"some of its rows lie far from what is usually asked, and the others do not (by %.1f deviations)",
	"its answers could be foretold too rarely (by %.1f deviations)",
	"its rows look as if made of others (by %.1f deviations)",
	"its rows are close to borders of the model (by %.1f deviations)",
	"all its rows stick out of the directions in which known rows differ (by %.1f deviations)",
	"all its rows lie far from what is usually asked (by %.1f deviations)",
	"its rows as a whole are %.1f times as unlike those of known clients as known clients are unlike each other",
	"%.0f%% of its rows hold values of a kind that their columns never had",
	"%.0f%% of its rows nearly repeat an earlier one of its own",
	"%.0f%% of its rows nearly repeat a row of another client",
	"%.0f%% of its rows lie on a line with earlier ones",
	"%.0f%% of its distances between rows are not where known clients have them",
	"rows of the same class are drawn otherwise than known ones (squared discrepancy %.4f)",
	"it has visited %.0f cells of the input space",
}

// measureShare marks the measures that are shares of rows, and are said in percent.
var measureShare = [measures]bool{
	measureOdd: true, measureNear: true, measureCross: true, measureLine: true, measureDistance: true,
}

// A Sighting says that a client is unlike those of the calibration.
type Sighting struct {
	Client    string  `json:"client"`
	Rows      int     `json:"rows"`      // that the client had asked, repetitions among them
	Detector  string  `json:"detector"`  // the measure that is furthest out
	Score     float64 `json:"score"`     // its standardised value
	Threshold float64 `json:"threshold"` // which the score is above
	Evidence  string  `json:"evidence"`  // for people
	// Scores are the client's at each look at what it asks, by its furthest measure; Looked of
	// them it has come to, the others are 0. Of the last look it is the latest.
	Scores [LookCount]float64 `json:"scores,omitzero"`
	Looked int                `json:"looked,omitempty"`
}

// Extraction tells which clients copy a model rather than use it, by a calibration. One
// goroutine uses it. What it remembers is bounded, whoever asks and however much.
type Extraction struct {
	// Most is how many clients are remembered at a time; 0: 8,192, of some 15 KiB each.
	Most int
	// Again has See return every sighting of a client, and not the first alone.
	Again bool
	// Lost, unless nil, is told of each client that is forgotten for want of room.
	Lost func(client string)
	// Crossed, unless nil, is told of each row of a client that nearly repeats one of another.
	Crossed func(client, other string)

	c       *Calibration
	key     [32]byte // of the hashes of rows, and of studies that are kept
	of      [32]byte // digest of the calibration's file, in studies that are kept
	clients map[string]*study
	oldest  []string          // clients, about in the order in which they were heard last
	cross   *crossing         // rows of all clients
	seen    uint32            // clients so far
	numbers map[uint32]string // of clients, by which Crossed names them; nil: it is not set
	scratch glance

	// took, if set, is told of the measures of a client at a look, those of its traits not
	// among them, and of how those are spread. Only a calibration sets it.
	took func(client string, look int, values *[measures]float64, told *[traits * traitTells]float64)
	// turned is the same of what a client repeats, at the looks that turns are.
	turned func(client string, look int, values *[repeats]float64)
	turns  []int
}

// NewExtraction begins to watch clients.
func NewExtraction(c *Calibration) *Extraction {
	e := &Extraction{c: c, key: rowKey, clients: map[string]*study{}, cross: newCrossing(c)}
	if c.Repetition != nil { // while a calibration is made, it is not known yet
		e.turns = c.Repetition.Looks
	}
	return e
}

// A glance is what is computed of one row.
type glance struct {
	scaled      []float32
	coordinates []float32 // in the subspace
	point       []float32 // the leading ones of them, in their unit, and how far it sticks out
	residual    float32   // how far it sticks out
	fold        [anomaly.SketchLen]float32
	sketch      [anomaly.SketchLen]int8
	exact       uint64 // hash of the row
	group       int    // of its class
	in          []float32
	room        guessRoom
}

// A study is what is known of one client.
type study struct {
	number   uint32 // of the client, for the crossing
	rows     int    // asked
	heard    bool   // again, since it was last passed over
	fresh    int    // different rows since the watch began
	sums     [measures]float64
	spread   spread                    // of the traits of fresh rows
	count    []float64                 // fresh rows by group of classes
	feature  [][]float32               // their features, summed
	ring     [][anomaly.SketchLen]int8 // rows that later ones are compared with
	next     int
	before   [2][anomaly.SketchLen]float32 // the last two fresh rows
	bins     [studyBins]float64
	again    bool    // the watch has begun anew
	near     float64 // rows that had an earlier one to compare with
	cells    [studyCells / 64]uint64
	seen     [studySeen]uint64 // a Bloom filter of the rows since the watch began
	repeated repeating
	told     bool
	pooled   bool     // it is many clients
	best     Sighting // the highest score so far, above the threshold or not; without Scores
	scores   [LookCount]float64
	looked   int
}

// See looks at a row. It returns a sighting the first time that its client is unlike the
// clients of the calibration; with Again, at every look that finds it so. A row with another number of inputs is counted and not looked
// at: Calibration.Takes tells beforehand.
func (e *Extraction) See(a *Asked) (Sighting, bool) {
	s := e.studyOf(a.Client)
	s.rows++
	if len(a.Input) != e.c.Scale.Width() {
		return Sighting{}, false
	}
	g := &e.scratch
	g.exact = exactHash(&e.key, a.Input)
	before := s.repeats(g.exact)
	repetition, repeating := e.repeated(s, a.Client, g.exact, before)
	if before {
		return repetition, repeating
	}
	s.fresh++
	e.measure(s, a, g)
	look, ok := slices.BinarySearch(e.c.Looks, s.fresh)
	if !ok || s.again && look < len(e.c.Looks)-1 {
		return repetition, repeating
	}
	sighting, found := e.judge(s, a.Client, look)
	if look == len(e.c.Looks)-1 {
		s.restart()
	}
	if !found {
		return repetition, repeating
	}
	return sighting, found
}

// Closest returns how near a client came to being unlike, or is when it was seen to be.
func (e *Extraction) Closest(client string) Sighting {
	if s := e.clients[client]; s != nil {
		return s.sighting()
	}
	return Sighting{}
}

// sighting is the furthest that a client was, with its scores at each look.
func (s *study) sighting() Sighting {
	best := s.best
	best.Scores, best.Looked = s.scores, s.looked
	return best
}

// studyOf returns what is known of a client.
func (e *Extraction) studyOf(client string) *study {
	if s := e.clients[client]; s != nil {
		s.heard = true
		return s
	}
	for most := cmp.Or(max(e.Most, 0), extractionClients); len(e.oldest) >= most; {
		name := e.oldest[0]
		e.oldest = e.oldest[1:]
		if s := e.clients[name]; s.heard {
			s.heard = false
			e.oldest = append(e.oldest, name)
			continue
		}
		delete(e.numbers, e.clients[name].number)
		delete(e.clients, name)
		if e.Lost != nil {
			e.Lost(name)
		}
	}
	s := e.newStudy()
	e.clients[client], e.oldest = s, append(e.oldest, client)
	return s
}

func (e *Extraction) newStudy() *study {
	e.seen++
	groups := len(e.c.Groups) + 1
	return &study{number: e.seen, count: make([]float64, groups), feature: make([][]float32, groups)}
}

// restart begins the watch of a client anew, after its last look: nobody earns the right not
// to be looked at. From then on only the last look counts, the surest of them: an honest
// client who asks for years must not be judged by fifty rows again and again. What it was
// told of, and the rows that later ones are compared with, stay.
func (s *study) restart() {
	s.again, s.fresh, s.near, s.sums, s.spread = true, 0, 0, [measures]float64{}, spread{}
	s.bins, s.cells = [studyBins]float64{}, [studyCells / 64]uint64{}
	s.seen = [studySeen]uint64{}
	clear(s.count)
	for _, sum := range s.feature {
		clear(sum)
	}
}

// repeats reports whether the client has asked the row since its watch began, and notes that
// it has. Of rows that it has not asked it takes two in a thousand for repetitions, at most:
// nobody knows which.
func (s *study) repeats(exact uint64) bool {
	again := true
	for k := range 4 {
		bit := exact >> (16 * k) % (64 * studySeen)
		again = again && s.seen[bit/64]>>(bit%64)&1 == 1
		s.seen[bit/64] |= 1 << (bit % 64)
	}
	return again
}

// measure takes the measures of a fresh row.
func (e *Extraction) measure(s *study, a *Asked, g *glance) {
	c := e.c
	c.place(g, a)
	var of [traits]float64
	c.traits(&of, g, a)
	s.spread.add(&of, &c.Traits[g.group])
	s.sums[measureOdd] += one(c.Scale.Odd(a.Input))
	s.compare(c, g)
	if !s.pooled {
		e.meet(s, a.Client, g)
	}
	s.keep(g)
	if s.feature[g.group] == nil {
		s.feature[g.group] = make([]float32, c.Fourier.Len())
	}
	c.Fourier.Add(s.feature[g.group], g.fold[:])
	s.count[g.group]++
	cell := g.cell()
	s.cells[cell/64] |= 1 << (cell % 64)
}

// meet holds a row against those of other clients.
func (e *Extraction) meet(s *study, client string, g *glance) {
	other := e.cross.see(s.number, g)
	s.sums[measureCross] += one(other != 0)
	if e.Crossed == nil {
		return
	}
	if e.numbers == nil {
		e.numbers = map[uint32]string{}
	}
	e.numbers[s.number] = client
	if name := e.numbers[other]; name != "" {
		e.Crossed(client, name)
	}
}

// compare holds the row against those of the ring, of which it looks for the two nearest.
func (s *study) compare(c *Calibration, g *glance) {
	nearest, second := -1, -1
	distance, next := int32(math.MaxInt32), int32(math.MaxInt32)
	for i := range s.ring {
		switch d := within(&s.ring[i], &g.sketch, next); {
		case d < distance:
			nearest, second, distance, next = i, nearest, d, distance
		case d < next:
			second, next = i, d
		}
	}
	if nearest < 0 {
		return
	}
	s.near++
	s.sums[measureNear] += one(distance <= c.NearOwn)
	bin, _ := slices.BinarySearch(c.DistanceBins, distance)
	s.bins[bin]++
	s.sums[measureLine] += one(s.onLine(g, nearest, second))
}

// onLine reports whether the row lies on a line with the two before it, or with the two
// nearest to it; second is -1 where there is none.
func (s *study) onLine(g *glance, nearest, second int) bool {
	if s.fresh > 2 && collinear(&s.before[0], &s.before[1], &g.fold, lineExact) {
		return true
	}
	if second < 0 {
		return false
	}
	var a, b, c [anomaly.SketchLen]float32
	for k := range a {
		a[k], b[k], c[k] = float32(s.ring[second][k]), float32(s.ring[nearest][k]), float32(g.sketch[k])
	}
	return collinear(&a, &b, &c, lineCosine)
}

// keep puts the row into the ring.
func (s *study) keep(g *glance) {
	s.before[0], s.before[1] = s.before[1], g.fold
	if len(s.ring) < studyRing {
		s.ring = append(s.ring, g.sketch)
		return
	}
	s.ring[s.next] = g.sketch
	s.next = (s.next + 1) % studyRing
}

// values sets dst to the measures of what was seen so far.
func (s *study) values(c *Calibration, dst *[measures]float64) {
	n := float64(s.fresh)
	for m := range dst {
		dst[m] = s.sums[m] / n // those of traits, and some others, are none yet
	}
	if s.near > 0 {
		var apart float64
		for i, k := range s.bins {
			apart += math.Abs(k/s.near - c.DistanceShare[i])
		}
		dst[measureDistance] = apart / 2
	}
	dst[measureDiscrepancy] = 0
	for i, k := range s.count {
		if k >= 2 && c.Means[i] != nil {
			dst[measureDiscrepancy] += k / n * max(0, anomaly.Discrepancy(s.feature[i], k, c.Means[i]))
		}
	}
	dst[measureCoverage] = 0
	for _, w := range s.cells {
		dst[measureCoverage] += float64(onesCount(w))
	}
}

// profiled sets the measures of traits, which are spread as told. Only who has more of them
// than is usual can be unlike: rows of clients that the calibration has learnt from are the
// most ordinary that there are.
func profiled(p *anomaly.Profile, told *[traits * traitTells]float64, dst *[measures]float64) {
	var more float64
	for k, at := range traitTold {
		dst[k] = p.Contrast(k, told[:])
		if mean := at - traitApart; at%traitTells == traitApart && told[mean] <= p.Mean[mean] {
			dst[k] = min(dst[k], 0) // whose rows are the better known can be unlike each other for that
		}
		more += told[at] - p.Mean[at]
	}
	for k := range traitMeans {
		dst[measureLevel+k] = p.Contrast(len(traitTold)+k, told[:])
	}
	dst[measureProfile] = 0
	if more > 0 {
		dst[measureProfile] = math.Log(max(p.Distance(told[:]), profileLeast) / profileLeast)
	}
	for m, knee := range measureKnee {
		if v := dst[m]; knee > 0 && v > 0 {
			dst[m] = knee * math.Log1p(v/knee)
		}
	}
}

// measureKnee is where a measure of traits begins to count by its logarithm; 0: nowhere. One
// honest client in two hundred is far further out than all others by these, such as one who
// asks darkened pictures alone, and the threshold of all measures would be its own: the rows
// of few are unlike each other, and so is what somebody asks all the time to others'.
var measureKnee = func() (knee [measures]float64) {
	for k, at := range traitTold {
		if at%traitTells != 0 {
			knee[k] = 2
		}
	}
	for k := range traitMeans {
		knee[measureLevel+k] = 2
	}
	knee[2*traitMargin], knee[2*traitResidual], knee[2*traitOutside] = 2, 1, 1
	knee[measureProfile] = 0.5
	return knee
}()

// judge holds a client's measures at a look against the calibration's.
func (e *Extraction) judge(s *study, client string, look int) (Sighting, bool) {
	var values [measures]float64
	var told [traits * traitTells]float64
	s.values(e.c, &values)
	s.spread.tell(&told, float64(s.fresh))
	if e.took != nil {
		e.took(client, look, &values, &told)
		return Sighting{}, false
	}
	profiled(e.c.Profiles[look], &told, &values)
	threshold := e.c.Threshold
	if s.pooled {
		e.c.pool(look, &values)
		threshold *= poolMargin
	}
	m, score := e.c.furthest(look, &values)
	s.scores[look], s.looked = score, max(s.looked, look+1)
	said := values[m]
	if knee := measureKnee[m]; knee > 0 && said > 0 {
		said = knee * math.Expm1(said/knee)
	}
	switch {
	case measureShare[m]:
		said *= 100
	case m == measureProfile:
		said = profileLeast * math.Exp(said)
	}
	return e.say(s, Sighting{
		Client: client, Rows: s.rows, Detector: measureNames[m], Score: score, Threshold: threshold,
		Evidence: fmt.Sprintf("%d rows: "+measureWords[m], s.rows, said),
	})
}

// say keeps what was found of a client at a look, if nothing was further out before, and
// returns the furthest if this is above the threshold.
func (e *Extraction) say(s *study, found Sighting) (Sighting, bool) {
	if found.Score > s.best.Score || s.best.Detector == "" {
		s.best = found
	}
	if s.told && !e.Again || found.Score <= found.Threshold {
		return Sighting{}, false
	}
	s.told = true
	return s.sighting(), true
}

func one(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// Forget forgets what is known of a client.
func (e *Extraction) Forget(client string) {
	if s := e.clients[client]; s != nil {
		delete(e.numbers, s.number)
	}
	delete(e.clients, client)
	if i := slices.Index(e.oldest, client); i >= 0 {
		e.oldest = slices.Delete(e.oldest, i, i+1)
	}
}
