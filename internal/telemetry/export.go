package telemetry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/pavise/pavise"
)

const (
	// maxQueued is how many traces may wait for the collector. More are dropped, and
	// counted: no request waits for it.
	maxQueued = 512
	// maxBatch is how many traces go at once.
	maxBatch = 64
	// maxSampled bounds the traces of one second, whatever the share says.
	maxSampled = 200
	// metricsEvery is how often the numbers are sent.
	metricsEvery = 15 * time.Second
	// batchWithin is how long a trace waits for others.
	batchWithin = time.Second
	// sendWithin is how long the collector may take for one export.
	sendWithin = 10 * time.Second
	// tries is how often a batch of traces is sent before it is dropped; longestWait is
	// the most that the collector may have us wait in between.
	tries       = 3
	longestWait = 5 * time.Second
	// maxAnswer is how much of a collector's answer is read.
	maxAnswer = 64 << 10
	// complainEvery is how often a collector that takes nothing is told of.
	complainEvery = 10 * time.Minute
)

// traces sends what the meter gathers to a collector, by OTLP over HTTP in protobuf
// (OpenTelemetry protocol specification, "OTLP/HTTP"). A nil one makes no traces.
type traces struct {
	base     string
	every    uint64 // one request in so many is traced
	client   *http.Client
	resource *resourcepb.Resource
	say      func(word string, err error)

	second  atomic.Int64 // in which sampled counts, since 1970
	sampled atomic.Int64
	queue   chan *Trace

	sent, dropped, failures atomic.Uint64
	complained              time.Time // owned by Run
}

// newTraces checks the collector's address.
func newTraces(cfg Config) (*traces, error) {
	u, err := url.Parse(cfg.OTLP)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.80q is not the address of a collector", cfg.OTLP), Hint: "write http://HOST:4318, without /v1/traces"}
	}
	every := cfg.Sample
	if every == 0 {
		every = DefaultSample
	}
	if every < 0 {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("one request in %d cannot be traced", every), Hint: "write 1 for all of them, 100 for one in a hundred"}
	}
	say := cfg.Say
	if say == nil {
		say = func(string, error) {}
	}
	t := &traces{
		base: strings.TrimSuffix(cfg.OTLP, "/"), every: uint64(every), say: say, queue: make(chan *Trace, maxQueued),
		client:   &http.Client{Timeout: sendWithin, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		resource: &resourcepb.Resource{Attributes: []*commonpb.KeyValue{text("service.name", "pavise"), text("service.version", cfg.Version), text("pavise.role", cfg.Role)}},
	}
	if cfg.Node != "" {
		t.resource.Attributes = append(t.resource.Attributes, text("service.instance.id", cfg.Node))
	}
	return t, nil
}

// sample throws the dice, which are ours: a caller may choose its trace's id, and would
// so choose whether it is kept.
func (t *traces) sample() bool {
	if t == nil || t.every > 1 && rand.Uint64N(t.every) != 0 {
		return false
	}
	now := time.Now().Unix()
	if was := t.second.Load(); was != now && t.second.CompareAndSwap(was, now) {
		t.sampled.Store(0)
	}
	return t.sampled.Add(1) <= maxSampled
}

// enqueue hands a trace over, or drops it.
func (t *traces) enqueue(trace *Trace) {
	select {
	case t.queue <- trace:
	default:
		t.dropped.Add(uint64(len(trace.spans)))
	}
}

// families tells how the exports fare.
func (t *traces) families() []Family {
	if t == nil {
		return nil
	}
	count := func(m *Metric, n *atomic.Uint64) Family {
		return Family{m, []Series{{Value: float64(n.Load())}}}
	}
	return []Family{count(spansSent, &t.sent), count(spansDropped, &t.dropped), count(told, &t.failures)}
}

// Run sends what is gathered until ctx is done, and what is left then, within a few
// seconds. Without a collector it only waits.
func (m *Meter) Run(ctx context.Context) {
	if m == nil || m.traces == nil {
		<-ctx.Done()
		return
	}
	t := m.traces
	// What is on its way when ctx is done may still arrive.
	last, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(longestWait, cancel) })()
	tick := time.NewTicker(metricsEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case trace := <-t.queue:
			t.sendTraces(last, t.gather(ctx, trace))
		case <-tick.C:
			t.sendMetrics(last, m)
		case <-ctx.Done():
		}
	}
	for len(t.queue) > 0 && last.Err() == nil {
		t.sendTraces(last, t.gather(ctx, <-t.queue))
	}
	t.sendMetrics(last, m)
}

// gather adds to a trace those that come soon after.
func (t *traces) gather(ctx context.Context, first *Trace) []*Trace {
	batch := []*Trace{first}
	timer := time.NewTimer(batchWithin)
	defer timer.Stop()
	for len(batch) < maxBatch {
		select {
		case trace := <-t.queue:
			batch = append(batch, trace)
		case <-timer.C:
			return batch
		case <-ctx.Done():
			return batch
		}
	}
	return batch
}

// sendTraces sends a batch. What the collector does not take in a few tries is dropped.
func (t *traces) sendTraces(ctx context.Context, batch []*Trace) {
	var spans []*tracepb.Span
	for _, trace := range batch {
		spans = append(spans, trace.proto()...)
	}
	// It is spelled as ExportTraceServiceRequest is, whose package needs all of gRPC.
	body, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: []*tracepb.ResourceSpans{{
		Resource: t.resource, ScopeSpans: []*tracepb.ScopeSpans{{Scope: scope(), Spans: spans}},
	}}})
	rejected := uint64(0)
	for try := 1; err == nil && try <= tries; try++ {
		var wait time.Duration
		if rejected, wait, err = t.post(ctx, "/v1/traces", body); err == nil || wait == 0 || try == tries {
			break
		}
		select {
		case <-time.After(wait):
			err = nil
		case <-ctx.Done():
		}
	}
	all := uint64(len(spans))
	if err != nil {
		rejected = all
	}
	t.sent.Add(all - min(rejected, all))
	t.dropped.Add(min(rejected, all))
	t.fared(err)
}

// sendMetrics sends the numbers. They are sums since the beginning: what the collector
// does not take now is in what it gets next.
func (t *traces) sendMetrics(ctx context.Context, m *Meter) {
	body, err := proto.Marshal(&metricspb.MetricsData{ResourceMetrics: []*metricspb.ResourceMetrics{{
		Resource: t.resource, ScopeMetrics: []*metricspb.ScopeMetrics{{Scope: scope(), Metrics: protoMetrics(m.Families(), m.began, time.Now())}},
	}}})
	if err == nil {
		_, _, err = t.post(ctx, "/v1/metrics", body)
	}
	t.fared(err)
}

func scope() *commonpb.InstrumentationScope {
	return &commonpb.InstrumentationScope{Name: "github.com/pavise/pavise"}
}

// fared counts an export that failed, and tells whoever started the process, now and
// then.
func (t *traces) fared(err error) {
	if err == nil {
		return
	}
	t.failures.Add(1)
	if now := time.Now(); now.Sub(t.complained) >= complainEvery {
		t.complained = now
		t.say("warning", err)
	}
}

// post sends one message. wait is how long to wait before another try, 0 where that is
// no use. rejected is how much of what it took the collector threw away.
func (t *traces) post(ctx context.Context, path string, body []byte) (rejected uint64, wait time.Duration, err error) {
	away := func(why string, cause error) error {
		return &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("the collector %s does not take telemetry: %s", t.base, why), Hint: "is it running, and is telemetry.otlp in pavise.yaml its OTLP/HTTP address? requests are answered all the same", Err: cause}
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, t.base+path, bytes.NewReader(body))
	if err != nil {
		return 0, 0, away("its address is none", err)
	}
	r.Header.Set("Content-Type", "application/x-protobuf")
	r.Header.Set("User-Agent", "pavise")
	answer, err := t.client.Do(r)
	if err != nil {
		if cause := errors.Unwrap(err); cause != nil { // without the words of net/http around it
			return 0, time.Second, away(cause.Error(), err)
		}
		return 0, time.Second, away(err.Error(), err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	switch code := answer.StatusCode; {
	case code/100 == 2:
		return rejectedBy(text), 0, nil // it took it, whatever became of its answer
	case code == http.StatusTooManyRequests || code == http.StatusBadGateway || code == http.StatusServiceUnavailable || code == http.StatusGatewayTimeout:
		return 0, retryAfter(answer.Header.Get("Retry-After")), away(answer.Status, err)
	default:
		return 0, 0, away(answer.Status, err)
	}
}

// retryAfter is how long the collector asks to wait, within our bounds.
func retryAfter(text string) time.Duration {
	seconds, err := strconv.Atoi(text)
	if err != nil || seconds < 0 {
		return time.Second
	}
	return min(max(time.Duration(seconds)*time.Second, time.Second), longestWait)
}

// rejectedBy reads how many spans or points a collector threw away, from field 1 of
// partial_success, which is field 1 of its answer. Of an answer that is none: 0.
func rejectedBy(answer []byte) uint64 {
	partial, ok := fieldOne(answer, protowire.BytesType)
	if !ok {
		return 0
	}
	inner, _ := protowire.ConsumeBytes(partial)
	number, ok := fieldOne(inner, protowire.VarintType)
	if !ok {
		return 0
	}
	n, _ := protowire.ConsumeVarint(number)
	return n
}

// fieldOne finds the value of field 1 of a message.
func fieldOne(message []byte, as protowire.Type) ([]byte, bool) {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return nil, false
		}
		message = message[n:]
		size := protowire.ConsumeFieldValue(number, kind, message)
		if size < 0 {
			return nil, false
		}
		if number == 1 && kind == as {
			return message[:size], true
		}
		message = message[size:]
	}
	return nil, false
}
