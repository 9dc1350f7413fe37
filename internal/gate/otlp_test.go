package gate

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"

	"github.com/pavise/pavise/internal/contract"
	"time"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/plainjson"
)

func text(s string) *commonpb.AnyValue {
	return &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: s}}
}

func pair(key string, v *commonpb.AnyValue) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: key, Value: v}
}

// sample is a request as OpenTelemetry's own messages make it, for one source.
func sample(source string, records ...*logspb.LogRecord) *logspb.LogsData {
	return &logspb.LogsData{ResourceLogs: []*logspb.ResourceLogs{{
		Resource:  &resourcepb.Resource{Attributes: []*commonpb.KeyValue{pair("service.name", text("checkout")), pair(sourceAttribute, text(source))}},
		ScopeLogs: []*logspb.ScopeLogs{{Scope: &commonpb.InstrumentationScope{Name: "app"}, LogRecords: records}},
	}}}
}

// all is a record that has everything.
func all() *logspb.LogRecord {
	return &logspb.LogRecord{
		TimeUnixNano: 1_795_786_200_000_000_001, ObservedTimeUnixNano: 1_795_786_200_500_000_000, SeverityNumber: logspb.SeverityNumber_SEVERITY_NUMBER_WARN, SeverityText: "WARN",
		Body: text("user \"7\" says <hi> ü"), TraceId: []byte("0123456789abcdef"), SpanId: []byte("01234567"), EventName: "login",
		Attributes: []*commonpb.KeyValue{
			pair("n", &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: -7}}),
			pair("b", &commonpb.AnyValue{Value: &commonpb.AnyValue_BoolValue{BoolValue: true}}),
			pair("d", &commonpb.AnyValue{Value: &commonpb.AnyValue_DoubleValue{DoubleValue: 2.5}}),
			pair("nan", &commonpb.AnyValue{Value: &commonpb.AnyValue_DoubleValue{DoubleValue: math.NaN()}}),
			pair("raw", &commonpb.AnyValue{Value: &commonpb.AnyValue_BytesValue{BytesValue: []byte{1, 2}}}),
			pair("list", &commonpb.AnyValue{Value: &commonpb.AnyValue_ArrayValue{ArrayValue: &commonpb.ArrayValue{Values: []*commonpb.AnyValue{text("x"), {}}}}}),
			pair("map", &commonpb.AnyValue{Value: &commonpb.AnyValue_KvlistValue{KvlistValue: &commonpb.KeyValueList{Values: []*commonpb.KeyValue{pair("k", text("v"))}}}}),
		},
	}
}

// line is how the gate writes that record.
const line = `{"time":"2026-11-27T13:30:00.000000001Z","observed":"2026-11-27T13:30:00.500000000Z","severity":"WARN","severity_number":13,` +
	`"body":"user \"7\" says <hi> ü","event":"login","trace":"30313233343536373839616263646566","span":"3031323334353637","service":"checkout","scope":"app",` +
	`"attributes":{"n":-7,"b":true,"d":2.5,"nan":"NaN","raw":"AQI=","list":["x",null],"map":{"k":"v"}},` +
	`"resource":{"service.name":"checkout","pavise.source":"rows"}}` + "\n"

func encoded(t testing.TB, m *logspb.LogsData) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// inJSON is the same request as the JSON of OTLP has it.
const inJSON = `{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"checkout"}},{"key":"pavise.source","value":{"stringValue":"rows"}}]},
"scopeLogs":[{"scope":{"name":"app"},"logRecords":[{"timeUnixNano":"1795786200000000001","observedTimeUnixNano":1795786200500000000,"severityNumber":13,"severityText":"WARN",
"body":{"stringValue":"user \"7\" says <hi> ü"},"traceId":"30313233343536373839616263646566","spanId":"3031323334353637","eventName":"login","flags":1,"somethingNew":{"a":1},
"attributes":[{"key":"n","value":{"intValue":"-7"}},{"key":"b","value":{"boolValue":true}},{"key":"d","value":{"doubleValue":2.5}},{"key":"nan","value":{"doubleValue":"NaN"}},
{"key":"raw","value":{"bytesValue":"AQI="}},{"key":"list","value":{"arrayValue":{"values":[{"stringValue":"x"},{}]}}},{"key":"map","value":{"kvlistValue":{"values":[{"key":"k","value":{"stringValue":"v"}}]}}}]}]}]}]}`

// TestOTLP reads a request of OpenTelemetry's own messages, in protobuf and in JSON, as the
// same line.
func TestOTLP(t *testing.T) {
	var a, b logs
	if err := a.readProtobuf(encoded(t, sample("rows", all()))); err != nil {
		t.Fatal(err)
	}
	if err := b.readJSON([]byte(inJSON)); err != nil {
		t.Fatal(err)
	}
	for name, l := range map[string]logs{"protobuf": a, "JSON": b} {
		if len(l.all) != 1 || l.all[0].source != "rows" || l.all[0].rows != 1 || len(l.all[0].doubts) != 0 || string(l.all[0].lines) != line {
			t.Errorf("%s: %+v\n%s\nwant\n%s", name, l.all, l.all[0].lines, line)
		}
	}
}

// TestLogsDoor lets records in, holds those that break the contract, and answers as OTLP
// says, in both encodings.
func TestLogsDoor(t *testing.T) {
	w := newWorld(t)
	contract := strings.NewReplacer("id, logicalType: integer, required: true, unique: true", "body, logicalType: string, required: true", "amount, logicalType: number, required: true, logicalTypeOptions: {minimum: 0, maximum: 1000}", "severity_number, logicalType: integer, logicalTypeOptions: {maximum: 24}").Replace(promise)
	for _, column := range []string{"time", "observed", "severity", "event", "trace", "span", "service", "scope", "attributes", "resource"} {
		contract += fmt.Sprintf("      - {name: %s}\n", column)
	}
	w.put(t, Spec{Form: FormOTLP, Contract: []byte(contract), Templates: "body"})
	other := rows
	other.ID = "other"
	w.put(t, Spec{Source: other, Form: FormOTLP})
	server := w.serve(t, time.Minute)
	send := func(kind string, body []byte) (int, string) {
		req, err := http.NewRequest(http.MethodPost, server.URL+"/v1/logs", strings.NewReader(string(body)))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = http.Header{"Authorization": {"Bearer pusher"}, "Content-Type": {kind}}
		resp, err := server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		if resp.Header.Get("Content-Type") != kind {
			t.Errorf("the answer is %s", resp.Header.Get("Content-Type"))
		}
		return resp.StatusCode, string(text)
	}
	if status, text := send(typeProtobuf, encoded(t, sample("rows", all()))); status != 200 || text != "" {
		t.Errorf("%d %q", status, text)
	}
	if status, text := send(typeJSON, []byte(inJSON)); status != 200 || text != "{}\n" { // the same records: they count once
		t.Errorf("%d %q", status, text)
	}
	if got := w.output(t); len(got) != 1 || got[0] != line {
		t.Errorf("the output has %q", got)
	}
	bad := &logspb.LogRecord{SeverityNumber: 99, Body: text("x")}
	both := sample("rows", bad, all())
	both.ResourceLogs = append(both.ResourceLogs, sample("other", all()).ResourceLogs...)
	status, answer := send(typeProtobuf, encoded(t, both))
	message, ok := strings.CutPrefix(answer, "\n")
	if status != 200 || !ok || !strings.Contains(message, "2 records for rows are in quarantine: row 1") {
		t.Errorf("%d %q", status, answer)
	}
	partial, n := protowire.ConsumeBytes([]byte(message))
	if n < 0 {
		t.Fatalf("%q", answer)
	}
	_, _, tag := protowire.ConsumeTag(partial)
	if rejected, n := protowire.ConsumeVarint(partial[tag:]); n < 0 || rejected != 2 {
		t.Errorf("%d records were rejected", rejected)
	}
	if status, answer := send(typeProtobuf, encoded(t, both)); status != 200 || !strings.Contains(answer, "2 records for rows came before: it is in quarantine: row 1") {
		t.Errorf("what is held comes again: %d %q", status, answer)
	}
	doubled := sample("other", &logspb.LogRecord{Attributes: []*commonpb.KeyValue{pair("a", text("1")), pair("a", text("2"))}})
	if status, answer := send(typeProtobuf, encoded(t, doubled)); status != 200 || !strings.Contains(answer, "stands there twice") {
		t.Errorf("%d %q", status, answer)
	}
	// An honest record with the same first value is not the one that is held.
	honest := sample("other", &logspb.LogRecord{Attributes: []*commonpb.KeyValue{pair("a", text("1"))}})
	if status, answer := send(typeProtobuf, encoded(t, honest)); status != 200 || answer != "" {
		t.Errorf("%d %q", status, answer)
	}
	for _, d := range []string{"Infinity", "-Infinity", "NaN", "2.5", "1e999", "x", "{}"} {
		wrong, _ := json.Marshal(d)
		status, answer := send(typeJSON, fmt.Appendf(nil, `{"resourceLogs":[{"resource":{"attributes":[{"key":"pavise.source","value":{"stringValue":"other"}}]},"scopeLogs":[{"logRecords":[{"body":{"doubleValue":%s}}]}]}]}`, wrong))
		if number := len(d) > 2 && d != "1e999"; status != 200 || number != (answer == "{}\n") {
			t.Errorf("%s: %d %q", d, status, answer)
		}
	}
	var s struct {
		Code    int
		Message string
	}
	status, answer = send(typeJSON, []byte(`{"resourceLogs":[{"resource":{"attributes":[{"key":"pavise.source","value":{"stringValue":"nowhere"}}]},"scopeLogs":[{"logRecords":[{}]}]}]}`))
	if err := json.Unmarshal([]byte(answer), &s); err != nil || status != 404 || s.Code != 5 || !strings.Contains(s.Message, "no source") {
		t.Errorf("%d %q %v", status, answer, err)
	}
}

// FuzzLogs reads whatever there may be: what comes out is lines of JSON that every parser
// reads alike, within bounds, or an error of kind Invalid.
func FuzzLogs(f *testing.F) {
	f.Add(encoded(f, sample("rows", all())), false)
	f.Add([]byte(inJSON), true)
	f.Add([]byte(bombOTLP()[:2000]), false)
	f.Add([]byte(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"x","traceId":"zz"}]}]}]}`), true)
	f.Fuzz(func(t *testing.T, body []byte, inJSON bool) {
		var l logs
		err := l.readProtobuf(body)
		if inJSON {
			l = logs{}
			err = l.readJSON(body)
		}
		if err != nil {
			if pavise.KindOf(err) != pavise.Invalid {
				t.Fatal(err)
			}
			return
		}
		for _, d := range l.all {
			lines := strings.SplitAfter(string(d.lines), "\n")
			if len(lines)-1 != d.rows || len(d.lines) > MaxBatch {
				t.Fatalf("%d rows in %d lines", d.rows, len(lines)-1)
			}
			for _, one := range lines[:d.rows] {
				var v any
				if err := plainjson.Read([]byte(one), &v); err != nil {
					t.Fatalf("%q: %v", one, err)
				}
			}
		}
	})
}

// FuzzJudge judges whatever there may be as each form: it neither panics nor says more than
// it may, and counts no row that is not there.
func FuzzJudge(f *testing.F) {
	forms := []string{FormNDJSON, FormCSV, FormLines, FormSTIX, FormBlob}
	for _, seed := range []string{good(1, 3), "id,amount\n1,2\n", "a\nb\x00\n", `{"type":"bundle","objects":[{}]}`, "\x1f\x8b"} {
		for i := range forms {
			f.Add([]byte(seed), i)
		}
	}
	var all []*terms
	for _, form := range forms {
		spec := Spec{Source: rows, Form: form}
		if tabular(form) {
			spec.Contract, spec.Sequence, spec.Distinct, spec.Templates = []byte(promise), "id", "amount", "amount"
		}
		t, err := spec.read(contract.Parse)
		if err != nil {
			f.Fatal(err)
		}
		all = append(all, t)
	}
	f.Fuzz(func(t *testing.T, body []byte, form int) {
		if form < 0 || form >= len(all) {
			return
		}
		j := all[form].judge(Batch{Form: forms[form], Body: body}, rowsTime)
		if len(j.told()) > maxReasons+1 || j.rows > len(body)+1 || len(j.numbers) > j.rows || j.values.len() > j.rows {
			t.Fatalf("%d rows, %d reasons", j.rows, len(j.reasons))
		}
		for _, reason := range j.told() {
			if len(reason) > 500 {
				t.Fatalf("%d bytes of reason", len(reason))
			}
		}
	})
}
