package telemetry

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pavise/pavise"
)

const (
	// maxModels bounds the models that have numbers of their own: the first ones that
	// got a route. Later ones are counted together.
	maxModels = 64
	// maxDoors bounds the series of HTTP requests: routes, methods and statuses.
	maxDoors = 512
	// other stands for what has no label of its own.
	other = "other"
	// none stands for a request that reached no model.
	none = "none"
)

// The closed sets of labels. What is in none of them is other, their last.
var (
	protocols  = [...]string{"oip", "oip-grpc", "v1", "tfserving", "torchserve", "mlflow", "openai", "ext-proc", other}
	checks     = [...]string{"guard", "policy", "quarantine", "facts", "change", "grant", "codec", "memory", "gate", "rate", "budget", "fields", "drift", "stream", "prompts", "answers", "classifier", "embeddings", "shape", "rounding", other}
	words      = [...]string{"allow", "alter", "deny", "observed", other}
	operations = [...]string{"chat", "text_completion", "embeddings", other}
	methods    = [...]string{"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "_OTHER"}
)

// kinds is how many kinds of error there are.
const kinds = int(pavise.Unavailable) + 1

// outcomeName is a request's outcome as its label: ok, or the kind of its error.
func outcomeName(i int) string {
	if i == 0 {
		return "ok"
	}
	return pavise.Kind(i - 1).String()
}

// outcomeOf is the index of how a request ended.
func outcomeOf(err error) int {
	if err == nil {
		return 0
	}
	return int(pavise.KindOf(err)) + 1
}

// place returns the index of a word in a closed set, and that of its last if it is not
// in there.
func place(set []string, word string) int {
	for i, known := range set {
		if known == word {
			return i
		}
	}
	return len(set) - 1
}

// Config says what a meter is to be.
type Config struct {
	Role    string // serve, gateway or up
	Version string // of the program
	Node    string // the machine's name in its fleet; empty: none
	// OTLP is the base address of an OpenTelemetry collector, as http://host:4318;
	// empty: nothing is sent, and no trace is made.
	OTLP string
	// Sample is the share of requests that are traced: one in so many. 0: DefaultSample.
	Sample int
	// Continue goes on with the traces of callers, where they have one; else theirs is
	// linked from one of our own. Whether it is sampled is ours to say in either case.
	Continue bool
	// Say tells whoever started the process that the collector takes nothing; nil: nobody.
	Say func(word string, err error)
}

// DefaultSample is one request in so many, which is traced.
const DefaultSample = 100

// A Meter counts what one process does. It is safe for concurrent use; a nil one does
// nothing.
type Meter struct {
	cfg    Config
	began  time.Time
	active atomic.Int64 // exchanges under way
	doors  atomic.Int64 // HTTP requests under way

	durations [len(protocols)]*histogram
	parts     [partCount]*histogram
	verdicts  [len(checks)][len(words)]counter
	in, out   *histogram
	sync      *histogram

	ask      [len(readings)]atomic.Pointer[func() float64]
	versions atomic.Pointer[EachVersion]

	mu     sync.Mutex        // guards changes of what follows
	models map[string]*Model // by id, the first maxModels; guarded by mu
	none   *Model            // of requests that reached no model
	other  *Model            // of all models beyond

	http   atomic.Pointer[map[door]*histogram] // replaced whole, under mu
	passed [16]atomic.Pointer[passage]         // of them, those that were asked for last

	traces *traces // nil: none are made
}

// New returns a meter. Run sends what it gathers, if there is where to; the page of
// Handler needs no Run. The error is of kind Invalid.
func New(cfg Config) (*Meter, error) {
	m := &Meter{cfg: cfg, began: time.Now(), models: map[string]*Model{}}
	m.none, m.other = &Model{id: none}, &Model{id: other}
	for i := range m.durations {
		m.durations[i] = newHistogram(duration)
	}
	for i := range m.parts {
		m.parts[i] = newHistogram(partDuration)
	}
	m.in, m.out, m.sync = newHistogram(httpIn), newHistogram(httpOut), newHistogram(logSync)
	m.http.Store(&map[door]*histogram{})
	var err error
	if cfg.OTLP != "" {
		m.traces, err = newTraces(cfg)
	}
	return m, err
}

// Ask has a reading told from now on: how is called whenever it is, from any
// goroutine, and must not wait for long.
func (m *Meter) Ask(r Reading, how func() float64) {
	if m != nil {
		m.ask[r].Store(&how)
	}
}

// An EachVersion tells how many requests each of the models has answered that share the calls of
// a route, under the route's id and as much of the model's digest as people compare.
type EachVersion func(tell func(model, version string, answers uint64))

// maxVersions bounds how many of them are told.
const maxVersions = 256

// AskVersions has the models told that share the calls of routes, as Ask has a reading.
func (m *Meter) AskVersions(how EachVersion) {
	if m != nil {
		m.versions.Store(&how)
	}
}

// Synced counts that a batch of records was made durable, and how long that took.
func (m *Meter) Synced(took time.Duration) {
	if m != nil {
		m.sync.observe(int64(took), Evidence{}, 0)
	}
}

// A Model counts what is asked of one model. Its fields are as safe as those of a Meter.
type Model struct {
	id       string
	requests [len(protocols)][kinds + 1]counter
	asked    counter // rows
	charged  counter // rows
	in, out  counter // bytes
	late     counter // answers above the top of a ladder
	genai    [len(operations)]atomic.Pointer[language]
}

// Model returns what counts for a model, by the id of a route that there is: never by
// what a caller asked for. Beyond the first maxModels ids they share one.
func (m *Meter) Model(id string) *Model {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if known, ok := m.models[id]; ok {
		return known
	}
	if len(m.models) >= maxModels || id == none || id == other {
		return m.other
	}
	made := &Model{id: strings.Clone(id)}
	m.models[id] = made
	return made
}

// allModels are the models that count, in the order of their ids.
func (m *Meter) allModels() []*Model {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := []*Model{m.none, m.other}
	for _, model := range m.models {
		all = append(all, model)
	}
	slices.SortFunc(all, func(a, b *Model) int { return strings.Compare(a.id, b.id) })
	return all
}

// language counts one operation of a language model.
type language struct {
	server [kinds + 1]*histogram // by outcome
	client [kinds + 1]*histogram
	first  *histogram
	next   *histogram
	tokens [2]*histogram // in, out
}

func newLanguage() *language {
	l := &language{first: newHistogram(genaiFirst), next: newHistogram(genaiNext)}
	for i := range l.server {
		l.server[i], l.client[i] = newHistogram(genaiServer), newHistogram(genaiClient)
	}
	for i := range l.tokens {
		l.tokens[i] = newHistogram(genaiTokens)
	}
	return l
}

// language returns what counts for an operation. Two who ask for the first time at once
// get the same.
func (m *Model) language(operation int) *language {
	if l := m.genai[operation].Load(); l != nil {
		return l
	}
	m.genai[operation].CompareAndSwap(nil, newLanguage())
	return m.genai[operation].Load()
}
