package receiver

import (
	"strings"
	"testing"

	"github.com/pavise/pavise"
)

// servers are those of the tests of addresses.
var testConfig = Config{
	Roots:   []string{"/var/log/app", "s3://lake/logs?endpoint=127.0.0.1:9000&insecure=true", "s3://whole", "gs://other/x/"},
	Servers: []Server{{Name: "cti", Address: "https://cti.example.org"}, {Name: "bus", Address: "tls://bus.example.org:4222"}},
}

// TestResolve takes what is below a root or on a server of pavise.yaml, and nothing else.
func TestResolve(t *testing.T) {
	for from, want := range map[string]target{
		"file:///var/log/app/a.log":       {carrier: carrierFile, root: "/var/log/app", path: "a.log"},
		"file:///var/log/app/deep/a.log":  {carrier: carrierFile, root: "/var/log/app", path: "deep/a.log"},
		"file:///var/log/app/":            {carrier: carrierBucket, root: "/var/log/app"},
		"file:///var/log/app/drop/":       {carrier: carrierBucket, root: "/var/log/app", path: "drop/"},
		"s3://lake/logs/":                 {carrier: carrierBucket, root: testConfig.Roots[1]},
		"s3://lake/logs/today/":           {carrier: carrierBucket, root: testConfig.Roots[1], path: "today/"},
		"s3://whole/x/":                   {carrier: carrierBucket, root: "s3://whole", path: "x/"},
		"gs://other/x/y":                  {carrier: carrierBucket, root: "gs://other/x/", path: "y/"},
		"taxii://cti/api1/collections/1/": {carrier: carrierTAXII, path: "api1/collections/1", server: testConfig.Servers[0]},
		"nats://bus/EVENTS":               {carrier: carrierNATS, path: "EVENTS", server: testConfig.Servers[1]},
		"nats://bus/EVENTS/app.>":         {carrier: carrierNATS, path: "EVENTS/app.>", server: testConfig.Servers[1]},
	} {
		if got, err := testConfig.resolve(from); err != nil || got != want {
			t.Errorf("%s is %+v, %v", from, got, err)
		}
	}
	for _, from := range refusedAddresses {
		_, err := testConfig.resolve(from)
		if pavise.KindOf(err) != pavise.Invalid || err == nil {
			t.Errorf("%.80q: %v", from, err)
		}
	}
}

var refusedAddresses = []string{
	"", "/var/log/app/a.log", "file:", "file:///", "file:///etc/passwd", "file:///var/log/app", "file:///var/log/apparent/a.log", "file:///var/log/app/../../../etc/passwd", "file:///var/log/app/./a",
	"file:///var/log/app//a", "file:///var/log/app/%2e%2e/secret", "file://host/var/log/app/a", "file:///var/log/app/a?x", "file:///var/log/app/a#x", "file:///var/log/app/a b",
	"s3://lake/", "s3://lake/logsandmore/", "s3://other/logs/", "s3://lake/logs/?endpoint=169.254.169.254", "s3://user:pw@lake/logs/", "az://lake/logs/",
	"taxii://nobody/api1/collections/1", "taxii://cti/api1/", "taxii://cti/collections", "taxii://bus/api1/collections/1", "nats://cti/EVENTS", "nats://bus", "nats://bus/", "nats://bus/a.b", "nats://bus/A/b/c", "nats://bus:4222/A",
	"http://169.254.169.254/latest/meta-data/", "https://cti.example.org/api1/collections/1", "file:///var/log/app/" + strings.Repeat("x", maxFrom), "\x00", "://",
}

// FuzzResolve leads nowhere but below a root or to a server of pavise.yaml.
func FuzzResolve(f *testing.F) {
	f.Add("file:///var/log/app/a.log")
	f.Add("s3://lake/logs/today/")
	f.Add("nats://bus/EVENTS/app.>")
	for _, from := range refusedAddresses {
		f.Add(from)
	}
	f.Fuzz(func(t *testing.T, from string) {
		got, err := testConfig.resolve(from)
		if err != nil {
			if pavise.KindOf(err) != pavise.Invalid || len(err.Error()) > 1000 {
				t.Errorf("%q: %v", from, err)
			}
			return
		}
		for part := range strings.SplitSeq(got.path, "/") {
			if part == ".." || part == "." {
				t.Errorf("%q is %+v", from, got)
			}
		}
		if (got.root == "") == (got.server.Address == "") {
			t.Errorf("%q is %+v", from, got)
		}
	})
}
