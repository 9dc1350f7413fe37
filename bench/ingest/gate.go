package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	"google.golang.org/protobuf/proto"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/gate"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/seal"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/store/blob"
	"github.com/pavise/pavise/internal/verbs"
)

// gates measures what it costs to bring log lines through the gate: judged by contract and
// templates, recorded, and durable in the output before they are acknowledged. What counts
// is the processor time of the whole process, in user and system mode, client and HTTP
// included, which other load disturbs less than the time that passes.
func gates(ctx context.Context, lines, batch, rounds int) (string, error) {
	work, err := os.MkdirTemp("", "bench-gate-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	b := &bench{work: work, batch: batch}
	var table strings.Builder
	for _, c := range ways() {
		var per, took []float64
		for round := range rounds {
			fmt.Fprintf(os.Stderr, "%s, round %d of %d\n", c.name, round+1, rounds)
			cpu, wall, err := b.measure(ctx, c, lines, round)
			if err != nil {
				return "", fmt.Errorf("%s: %w", c.name, err)
			}
			per, took = append(per, float64(lines)/cpu.Seconds()), append(took, float64(lines)/wall.Seconds())
		}
		slices.Sort(per)
		slices.Sort(took)
		fmt.Fprintf(&table, "| %s | %.0f | %.0f–%.0f | %.0f |\n", c.name, per[len(per)/2], per[0], per[len(per)-1], took[len(took)/2])
	}
	return fmt.Sprintf("## Log lines through the gate\n\nMade by `cd bench && go run ./ingest --only gate --lines %d --batch %d --rounds %d --write`: lines of some 160 bytes, in batches of %d over HTTP, from one client. Each batch is acknowledged when it is durable in the output, in the database and in the evidence log.\n\n| | lines a second of processor time, median | least–most | lines a second, median |\n|---|---|---|---|\n%s", lines, batch, rounds, batch, table.String()), nil
}

// A way is one way in that is measured.
type way struct {
	name string
	kind string // Content-Type
	path string
	spec gate.Spec
	body func(from, n int) []byte
}

func ways() []way {
	source := func(id string) pavise.Name { return pavise.Name{Tenant: "local", Kind: gate.KindSource, ID: id} }
	return []way{
		{"lines, templates", "text/plain", "/v1/ingest/lines", gate.Spec{Source: source("lines"), Form: gate.FormLines, Templates: "line"}, plain},
		{"NDJSON, contract", "application/x-ndjson", "/v1/ingest/contract", gate.Spec{Source: source("contract"), Contract: []byte(promise)}, ndjson},
		{"NDJSON, contract and templates", "application/x-ndjson", "/v1/ingest/both", gate.Spec{Source: source("both"), Contract: []byte(promise), Templates: "body"}, ndjson},
		{"OTLP in protobuf, contract and templates", "application/x-protobuf", "/v1/logs", gate.Spec{Source: source("otlp"), Form: gate.FormOTLP, Contract: []byte(promise), Templates: "body"}, otlp},
	}
}

// promise is what the lines keep.
const promise = `apiVersion: v3.1.0
kind: DataContract
id: logs
version: 1.0.0
status: active
schema:
  - name: logs
    properties:
      - {name: time, logicalType: timestamp, required: true}
      - {name: severity, logicalType: string, required: true}
      - {name: service, logicalType: string, required: true}
      - {name: body, logicalType: string, required: true, logicalTypeOptions: {maxLength: 4096}}
      - {name: trace, logicalType: string, logicalTypeOptions: {pattern: "^[0-9a-f]{32}$"}}
      - {name: resource}
`

// message is what a program logs: one of some templates.
func message(i int) string {
	switch i % 5 {
	case 0:
		return fmt.Sprintf("user %d logged in from 10.0.%d.%d after %d ms", i, i%256, i*7%256, i%5000)
	case 1:
		return fmt.Sprintf("GET /api/v1/orders/%d took %d ms, status 200", i, i%900)
	case 2:
		return fmt.Sprintf("connection to shard-%d closed after %d requests", i%64, i%10_000)
	case 3:
		return fmt.Sprintf("cache miss for key order:%d, loaded %d rows from replica", i, i%50)
	}
	return fmt.Sprintf("payment %d of customer %d accepted by provider in %d ms", i, i*13%100_000, i%700)
}

func at(i int) time.Time { return time.Unix(1_795_786_200, int64(i)*1000).UTC() }

func plain(from, n int) []byte {
	var b bytes.Buffer
	for i := from; i < from+n; i++ {
		fmt.Fprintf(&b, "%s INFO checkout [%032x] %s\n", at(i).Format("2006-01-02T15:04:05.000000Z"), i, message(i))
	}
	return b.Bytes()
}

func ndjson(from, n int) []byte {
	var b bytes.Buffer
	for i := from; i < from+n; i++ {
		fmt.Fprintf(&b, `{"time":"%s","severity":"INFO","service":"checkout","trace":"%032x","body":"%s"}`+"\n", at(i).Format("2006-01-02T15:04:05.000000Z"), i, message(i))
	}
	return b.Bytes()
}

func otlp(from, n int) []byte {
	text := func(s string) *commonpb.AnyValue {
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: s}}
	}
	scope := &logspb.ScopeLogs{}
	for i := from; i < from+n; i++ {
		trace := []byte(fmt.Sprintf("%016d", i))
		scope.LogRecords = append(scope.LogRecords, &logspb.LogRecord{TimeUnixNano: uint64(at(i).UnixNano()), SeverityText: "INFO", Body: text(message(i)), TraceId: trace})
	}
	b, err := proto.Marshal(&logspb.LogsData{ResourceLogs: []*logspb.ResourceLogs{{
		Resource:  &resourcepb.Resource{Attributes: []*commonpb.KeyValue{{Key: "service.name", Value: text("checkout")}, {Key: "pavise.source", Value: text("otlp")}}},
		ScopeLogs: []*logspb.ScopeLogs{scope},
	}}})
	if err != nil {
		panic(err) // the messages are ours
	}
	return b
}

type bench struct {
	work  string
	batch int
}

// measure brings lines through a gate of its own, once its templates are learnt.
func (b *bench) measure(ctx context.Context, c way, lines, round int) (cpu, wall time.Duration, err error) {
	dir := filepath.Join(b.work, fmt.Sprintf("%s-%d", c.spec.Source.ID, round))
	server, done, err := open(ctx, dir, c.spec)
	if err != nil {
		return 0, 0, err
	}
	defer os.RemoveAll(dir)
	defer done()
	var bodies [][]byte
	for from := 0; from < lines; from += b.batch {
		bodies = append(bodies, c.body(25_000+from, min(b.batch, lines-from)))
	}
	if err := push(server, c, c.body(0, 25_000)); err != nil {
		return 0, 0, err
	}
	before, began := used(), time.Now()
	for _, body := range bodies {
		if err := push(server, c, body); err != nil {
			return 0, 0, err
		}
	}
	return used() - before, time.Since(began), nil
}

// push sends one batch, which must be admitted.
func push(server *httptest.Server, c way, body []byte) error {
	resp, err := server.Client().Post(server.URL+c.path, c.kind, bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode != http.StatusOK || c.spec.Form == gate.FormOTLP && len(text) > 0) {
		err = fmt.Errorf("the gate answers %d: %.300s", resp.StatusCode, text)
	}
	return err
}

// used is the processor time of this process so far.
func used() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // of oneself it can be had
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// open opens a gate behind its door, with all that stands under it, on a disk.
func open(ctx context.Context, dir string, spec gate.Spec) (*httptest.Server, func(), error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, err
	}
	key := ed25519.NewKeyFromSeed([]byte("pavise bench ingest, of 32 bytes"))
	log, err := ledger.Open(ledger.Options{Dir: filepath.Join(dir, "ledger"), Origin: "bench/ingest", Key: key, Tenant: "local"})
	if err != nil {
		return nil, nil, err
	}
	db, err := store.Open(ctx, filepath.Join(dir, "db"))
	if err != nil {
		return nil, nil, err
	}
	stop := func() { db.Close(); log.Close() }
	g, err := guard.New(guard.Config{Actions: verbs.Actions(), Log: log})
	if err != nil {
		return nil, nil, err
	}
	policies, err := guard.OpenPolicies(ctx, g, db)
	if err == nil {
		err = policies.Seed(ctx, "local", guard.Defaults())
	}
	if err != nil {
		return nil, nil, err
	}
	kek, err := seal.OpenFileKEK(filepath.Join(dir, "kek"))
	if err != nil {
		return nil, nil, err
	}
	output, err := blob.Open(ctx, filepath.Join(dir, "admitted"))
	if err != nil {
		return nil, nil, err
	}
	in, err := gate.Open(ctx, gate.Config{Guard: g, Store: db, KEK: kek, Dir: filepath.Join(dir, "quarantine"), Output: output})
	if err != nil {
		return nil, nil, err
	}
	who := pavise.Principal{Tenant: "local", Kind: pavise.Human, ID: "bench", Roles: []string{"operator"}, Proof: "bench"}
	if _, err := in.Put(ctx, who, spec); err != nil {
		return nil, nil, err
	}
	door := gate.Door{
		Admit:  func(*http.Request) (pavise.Principal, error) { return who, nil },
		Refuse: func(w http.ResponseWriter, err error) { http.Error(w, err.Error(), pavise.KindOf(err).HTTPStatus()) },
	}
	mux := http.NewServeMux()
	mux.Handle("POST /v1/ingest/{source}", in.PushDoor(door))
	mux.Handle("POST /v1/logs", in.LogsDoor(door))
	server := httptest.NewServer(mux)
	return server, func() { server.Close(); stop() }, nil
}
