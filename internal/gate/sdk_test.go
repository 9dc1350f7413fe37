package gate

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// exporter logs three lines with the SDK of OpenTelemetry for Python, twice in gzip.
const exporter = `
import logging, sys
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource

for source, compression in ("rows", Compression.NoCompression), ("rows", Compression.Gzip), ("nowhere", Compression.Gzip):
    provider = LoggerProvider(resource=Resource.create({"service.name": "checkout", "pavise.source": source}))
    provider.add_log_record_processor(SimpleLogRecordProcessor(OTLPLogExporter(
        endpoint=sys.argv[1] + "/v1/logs", headers={"Authorization": "Bearer pusher"}, compression=compression)))
    log = logging.getLogger(source + str(compression))
    log.addHandler(LoggingHandler(logger_provider=provider))
    log.error("user %d paid \u20ac %s", 7, "3.50", extra={"customer": "ana"})
    provider.shutdown()
`

// TestOpenTelemetrySDK lets the SDK of OpenTelemetry, which is none of our code, send its
// logs to the door. $PAVISE_OPENTELEMETRY names a Python that has it.
func TestOpenTelemetrySDK(t *testing.T) {
	python := os.Getenv("PAVISE_OPENTELEMETRY")
	if python == "" {
		t.Skip("PAVISE_OPENTELEMETRY names no Python with opentelemetry-sdk and its exporter")
	}
	w := newWorld(t)
	w.mu.Lock()
	w.now = time.Now()
	w.mu.Unlock()
	w.put(t, Spec{Form: FormOTLP})
	server := w.serve(t, time.Minute)
	out, err := exec.CommandContext(t.Context(), python, "-c", exporter, server.URL).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if !strings.Contains(string(out), "404") {
		t.Errorf("of a source that there is not the exporter says %s", out)
	}
	got := w.output(t)
	if len(got) != 2 {
		t.Fatalf("the output has %q, and the exporter says %s", got, out)
	}
	for _, line := range got {
		for _, part := range []string{`"severity":"ERROR"`, `"body":"user 7 paid € 3.50"`, `"customer":"ana"`, `"service":"checkout"`} {
			if !strings.Contains(line, part) {
				t.Errorf("%s has no %s", line, part)
			}
		}
	}
}
