package telemetry

import (
	"math"
	"slices"
	"strings"
)

// A Sort is what sort of instrument a metric is.
type Sort int

// The sorts.
const (
	Counter   Sort = iota // only grows
	Gauge                 // as it is now
	UpDown                // the same, and sums of it over machines say something
	Histogram             // counted by size
)

// String returns the sort as OpenMetrics has it.
func (s Sort) String() string { return [...]string{"counter", "gauge", "gauge", "histogram"}[s] }

// A Metric is one row of the table of all that is told.
type Metric struct {
	Name   string   // OpenTelemetry's, as in pavise.requests
	Sort   Sort     // of instrument
	Unit   string   // UCUM: s, By, or what is counted in braces; empty: a yes or no
	Labels []string // OpenTelemetry's names of its attributes
	Help   string   // one sentence, without a period

	bounds []float64 // upper, inclusive, of a histogram's buckets, in Unit
	limits []int64   // the same as its values are given
	scale  float64   // values in one Unit
	// first is the bucket from which on a value is looked for, by its length in bits: a
	// request makes a dozen of such searches, through some twenty bounds each.
	first [65]uint8
}

// Prometheus returns the metric's name there, without the _total of a counter, by
// OpenTelemetry's rules (specification, "Prometheus and OpenMetrics compatibility").
func (m *Metric) Prometheus() string {
	name := plainName(m.Name)
	unit := map[string]string{"s": "seconds", "By": "bytes"}[m.Unit]
	if unit == "" || strings.HasSuffix(name, "_"+unit) {
		return name
	}
	return name + "_" + unit
}

// plainName spells a name with the characters that Prometheus takes everywhere.
func plainName(name string) string { return strings.ReplaceAll(name, ".", "_") }

// The bounds of buckets, in seconds, bytes or tokens. Those of the conventions are
// kept for their metrics, and reach lower for HTTP: here a whole request takes less
// than their first bucket.
var (
	fine   = []float64{1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30}
	web    = []float64{1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}
	sizes  = []float64{256, 1024, 4096, 16384, 65536, 262144, 1 << 20, 4 << 20, 16 << 20, 64 << 20}
	genai  = []float64{0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92}
	first  = []float64{0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}
	next   = []float64{0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5}
	tokens = []float64{1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864}
)

// The names of labels.
const (
	labelModel    = "pavise.model"
	labelProtocol = "pavise.protocol"
	labelOutcome  = "pavise.outcome"
	labelCheck    = "pavise.check"
	labelVerdict  = "pavise.verdict"
	labelPart     = "pavise.part"
	labelMethod   = "http.request.method"
	labelRoute    = "http.route"
	labelStatus   = "http.response.status_code"
	labelError    = "error.type"
	labelAct      = "gen_ai.operation.name"
	labelProvider = "gen_ai.provider.name"
	labelAsked    = "gen_ai.request.model"
	labelToken    = "gen_ai.token.type"
	labelVersion  = "pavise.version"
)

// The metrics, in the order in which they are told.
var (
	requests     = metric("pavise.requests", Counter, "{request}", "Requests that ended, by how", labelModel, labelProtocol, labelOutcome)
	active       = metric("pavise.requests.active", UpDown, "{request}", "Requests on their way through the pipeline now")
	duration     = metric("pavise.request.duration", Histogram, "s", "From the guard's question until the record is written", labelProtocol).buckets(fine)
	partDuration = metric("pavise.request.part.duration", Histogram, "s", "The same, part by part: where the time goes", labelPart).buckets(fine)
	verdicts     = metric("pavise.verdicts", Counter, "{verdict}", "What the checks said", labelCheck, labelVerdict)
	rowsAsked    = metric("pavise.rows.asked", Counter, "{row}", "Rows of requests that could be read", labelModel)
	rowsCharged  = metric("pavise.rows.charged", Counter, "{row}", "Rows taken off callers' budgets", labelModel)
	bytesIn      = metric("pavise.request.bytes", Counter, "By", "Bytes of bodies read from callers", labelModel)
	bytesOut     = metric("pavise.response.bytes", Counter, "By", "Bytes of bodies answered to callers", labelModel)
	late         = metric("pavise.answers.late", Counter, "{request}", "Requests that ended above the top of their route's ladder, so that their time tells what they took", labelModel)
	versions     = metric("pavise.version.answers", Counter, "{request}", "Requests that each of several ONNX models of a route answered since it was loaded", labelModel, labelVersion)

	httpDuration = metric("http.server.request.duration", Histogram, "s", "Requests of the data plane's HTTP doors", labelMethod, labelRoute, labelStatus).buckets(web)
	httpActive   = metric("http.server.active_requests", UpDown, "{request}", "HTTP requests under way now")
	httpIn       = metric("http.server.request.body.size", Histogram, "By", "Bodies as they were announced").buckets(sizes)
	httpOut      = metric("http.server.response.body.size", Histogram, "By", "Bodies as they were written").buckets(sizes)

	genaiServer = metric("gen_ai.server.request.duration", Histogram, "s", "Requests for language models, to the last byte", labelAct, labelProvider, labelAsked, labelError).buckets(genai)
	genaiFirst  = metric("gen_ai.server.time_to_first_token", Histogram, "s", "Until the first part of an answer left", labelAct, labelProvider, labelAsked).buckets(first)
	genaiNext   = metric("gen_ai.server.time_per_output_token", Histogram, "s", "For each token after the first", labelAct, labelProvider, labelAsked).buckets(next)
	genaiClient = metric("gen_ai.client.operation.duration", Histogram, "s", "Our own calls of the servers of language models", labelAct, labelProvider, labelAsked, labelError).buckets(genai)
	genaiTokens = metric("gen_ai.client.token.usage", Histogram, "{token}", "Tokens, as the model's server counts them", labelAct, labelProvider, labelAsked, labelToken).buckets(tokens)

	logSync = metric("pavise.log.sync.duration", Histogram, "s", "Until a batch of records was on the disk").buckets(fine)

	spansSent    = metric("pavise.spans.sent", Counter, "{span}", "Spans that the collector took")
	spansDropped = metric("pavise.spans.dropped", Counter, "{span}", "Spans that it did not, or for which there was no room")
	told         = metric("pavise.otlp.failures", Counter, "{export}", "Exports that the collector did not take")
)

// A Reading names a gauge or a counter that somebody else keeps, and that is asked for
// when it is told.
type Reading int

// The readings.
const (
	LogSize         Reading = iota // records in the log
	LogUnsigned                    // of them not yet under a signed head
	LogQueue                       // records that wait for the writer
	LogUnwritten                   // records that it did not take
	LogStopped                     // 1: it takes no more
	Accounts                       // callers at models that the meter counts
	RoutesHeld                     // routes that answer
	Overlooked                     // answered requests that no detector saw
	Servers                        // model servers behind them
	ServersEjected                 // of them, out of rotation
	ServersActive                  // calls under way
	ServersQueue                   // calls that wait for a connection
	ServersOpen                    // connections
	ServersIdle                    // of them, unused
	ServerEjections                // times that a model server was taken out
	ServerRetries                  // further tries of calls to them
	BundleSerial
	BundleAge   // seconds
	BundleStale // 1: everything is refused
	Feeds
	FeedLag // records that the slowest has not had
)

// readings are the metrics of readings. Index: Reading.
var readings = [...]*Metric{
	LogSize:        metric("pavise.log.records", Counter, "{record}", "Records in the evidence log"),
	LogUnsigned:    metric("pavise.log.unsigned", UpDown, "{record}", "Records that no signed head covers yet"),
	LogQueue:       metric("pavise.log.queue", UpDown, "{record}", "Records that wait to be written"),
	LogUnwritten:   metric("pavise.log.unwritten", Counter, "{record}", "Records that the log did not take: no room in memory or on the disk"),
	LogStopped:     metric("pavise.log.stopped", Gauge, "", "1 when the evidence log takes no more, and nothing is answered"),
	Accounts:       metric("pavise.meter.accounts", UpDown, "{account}", "Callers at models whose rows are being counted"),
	RoutesHeld:     metric("pavise.routes", Gauge, "{route}", "Routes that answer"),
	Overlooked:     metric("pavise.detectors.overlooked", Counter, "{request}", "Answered requests that no detector looked at: too many came at once, or too large"),
	Servers:        metric("pavise.upstream.servers", UpDown, "{server}", "Model servers behind the routes"),
	ServersEjected: metric("pavise.upstream.ejected", UpDown, "{server}", "Of them, those that get no calls, after too many failures"),
	ServersActive:  metric("pavise.upstream.calls", UpDown, "{call}", "Calls and streams under way to them"),
	ServersQueue:   metric("pavise.upstream.queue", UpDown, "{call}", "Calls that wait for a connection"),
	ServersOpen:    metric("pavise.upstream.connections", UpDown, "{connection}", "HTTP/1.1 connections to them"),
	ServersIdle:    metric("pavise.upstream.connections.idle", UpDown, "{connection}", "Of them, those that nobody uses now"),

	ServerEjections: metric("pavise.upstream.ejections", Counter, "{ejection}", "Times that a model server was taken out for its failures"),
	ServerRetries:   metric("pavise.upstream.retries", Counter, "{try}", "Further tries of calls to model servers"),
	BundleSerial:    metric("pavise.bundle.serial", Gauge, "{bundle}", "The bundle in force"),
	BundleAge:       metric("pavise.bundle.age", Gauge, "s", "Since the control plane was last heard"),
	BundleStale:     metric("pavise.bundle.stale", Gauge, "", "1 when that is too long ago, and everything is refused"),
	Feeds:           metric("pavise.feeds", Gauge, "{feed}", "Who follows the log"),
	FeedLag:         metric("pavise.feed.lag", Gauge, "{record}", "Records that the slowest of them has not had"),
}

// build says what runs; its value is always 1.
var build = metric("pavise.build", Gauge, "{build}", "What runs; always 1", "service.version", "pavise.role", "process.runtime.version")

// All returns the table: every metric that may be told, in order.
func All() (all []*Metric) {
	all = append(all, requests, active, duration, partDuration, verdicts, rowsAsked, rowsCharged, bytesIn, bytesOut, late, versions)
	all = append(all, httpDuration, httpActive, httpIn, httpOut)
	all = append(all, genaiServer, genaiFirst, genaiNext, genaiClient, genaiTokens)
	all = append(all, logSync)
	all = append(all, readings[:]...)
	all = append(all, spansSent, spansDropped, told, build)
	for _, r := range runtimeReadings {
		all = append(all, r.metric)
	}
	return all
}

func metric(name string, sort Sort, unit, help string, labels ...string) *Metric {
	return &Metric{Name: name, Sort: sort, Unit: unit, Help: help, Labels: labels, scale: 1}
}

// buckets gives a histogram its bounds.
func (m *Metric) buckets(bounds []float64) *Metric {
	if m.Unit == "s" {
		m.scale = 1e9
	}
	m.bounds = bounds
	for _, b := range bounds {
		m.limits = append(m.limits, int64(math.Round(b*m.scale)))
	}
	for length := range m.first {
		least := uint64(1) << length >> 1 // of the values of that length
		m.first[length] = uint8(slices.IndexFunc(append(m.limits, math.MaxInt64), func(limit int64) bool { return least <= uint64(limit) }))
	}
	return m
}
