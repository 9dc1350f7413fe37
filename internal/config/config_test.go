package config

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
)

const goodServe = `serve:
  data: /srv/pavise
  tenant: acme
  trust_domain: acme.example
  listen: 127.0.0.1:8470
  fleet: 127.0.0.1:8480
  names: [localhost, 127.0.0.1, "::1"]
`

// TestExamples parses the example of every role as it is, and with everything in it
// that may be left out.
func TestExamples(t *testing.T) {
	for _, role := range Roles() {
		text, err := Example(role)
		if err != nil {
			t.Fatal(err)
		}
		if os.Getenv("PAVISE_SHOW") != "" {
			fmt.Println(text)
		}
		if _, err := Parse(role, []byte(text)); err != nil {
			t.Errorf("%v\n%s", err, text)
		}
		whole := regexp.MustCompile(`(?m)^( *)#(\S)`).ReplaceAllString(text, "$1$2")
		file, err := Parse(role, []byte(whole))
		if err != nil {
			t.Errorf("with everything: %v\n%s", err, whole)
		}
		for i, line := range strings.Split(text, "\n") {
			if len(line) > 130 {
				t.Errorf("line %d of %s has %d characters", i+1, role, len(line))
			}
		}
		if role == "serve" && err == nil && (len(file.Serve.Bootstrap.People) != 1 || file.Serve.Bootstrap.Routes[0].Rate != "600/1m" || file.Serve.TLS.Key == "" || file.Serve.Bootstrap.Policies["night-shift"] == "") {
			t.Errorf("%+v", file.Serve.Bootstrap)
		}
	}
	if _, err := Example("down"); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("an example for down: %v", err)
	}
}

// TestDefaults fills in what a file leaves out.
func TestDefaults(t *testing.T) {
	file, err := Parse("x", []byte(goodServe+"  datasets: {roots: [/srv/lake], tenant_gib: 3}\n  findings: \"-\"\n  send_to: [127.0.0.1, 10.1.2.3/16, \"fd12::/48\"]\ngateway:\n  data: ./d\n  server: https://localhost:8480\n  listen: :8471\n  names: [gw.example]\n"))
	if err != nil {
		t.Fatal(err)
	}
	if s := file.Serve; s.Grace != time.Hour || s.Certificate != 24*time.Hour || s.Bootstrap != nil || s.TLS != nil || len(s.Names) != 3 || s.Datasets.Room() != (Room{Tenant: 3 << 30}) {
		t.Errorf("%+v", s)
	}
	if g := file.Gateway; g.Grace != time.Hour || g.Health != DefaultHealth || file.Agent != nil {
		t.Errorf("%+v", g)
	}
}

// TestFaults says of each fault where it is and what to do. The keys of the cases are
// what is said.
func TestFaults(t *testing.T) {
	with := func(lines string) string { return goodServe + lines }
	without := func(key string) string {
		return regexp.MustCompile(`(?m)^  `+key+`:.*\n`).ReplaceAllString(goodServe, "")
	}
	for want, text := range map[string]string{
		"p.yaml is empty": "",
		"p.yaml cannot be read as YAML: there is more than one document":                                                            goodServe + "---\nserve: {}\n",
		"p.yaml cannot be read as YAML: line 2":                                                                                     "serve:\n\tdata: x\n",
		"p.yaml:1: is a list, not a block of fields":                                                                                "- serve\n",
		"p.yaml:1: is \"hello\", not a block of fields":                                                                             "hello",
		"p.yaml:1: serve is empty, not a block of fields":                                                                           "serve:\n",
		"p.yaml:1: the file is for no role":                                                                                         "{}",
		"p.yaml:1: down is no field of pavise.yaml":                                                                                 "down:\n  listen: x\n",
		"p.yaml:2: up.listen is no field of pavise.yaml":                                                                            "up:\n  listen: x\n",
		"p.yaml:4: up.bootstrap.routes.0.name the id of name \"local/model/a b\"":                                                   "up:\n  bootstrap:\n    routes:\n    - {name: a b, onnx: /x}\n",
		"p.yaml:5: up.bootstrap.routes.1.name \"m\" stands here twice":                                                              "up:\n  bootstrap:\n    routes:\n    - {name: local/model/m, onnx: /x}\n    - {name: m, onnx: /x}\n",
		"p.yaml:3: up.ext_proc.listen is missing":                                                                                   "up:\n  bootstrap: {routes: [{name: m, onnx: /x}]}\n  ext_proc: {clients: /x}\n",
		"p.yaml:3: up.ext_proc.listen \"0.0.0.0:9002\" can be reached":                                                              "up:\n  bootstrap: {routes: [{name: m, onnx: /x}]}\n  ext_proc: {listen: \"0.0.0.0:9002\"}\n",
		"p.yaml:3: up.ext_proc.listen \"models:9002\" can be reached":                                                               "up:\n  bootstrap: {routes: [{name: m, onnx: /x}]}\n  ext_proc: {listen: \"models:9002\", tls: {certificate: /x, key: /y}}\n",
		"p.yaml:3: up.ext_proc.listen \"run/x\" is not where":                                                                       "up:\n  bootstrap: {routes: [{name: m, onnx: /x}]}\n  ext_proc: {listen: \"unix:run/x\"}\n",
		"p.yaml:3: up.ext_proc.clients needs tls":                                                                                   "up:\n  bootstrap: {routes: [{name: m, onnx: /x}]}\n  ext_proc: {listen: \"127.0.0.1:1\", clients: /x}\n",
		"p.yaml:3: up.ext_proc.origins \"models\" is not how":                                                                       "up:\n  bootstrap: {routes: [{name: m, onnx: /x}]}\n  ext_proc: {listen: \"unix:/run/x\", origins: [models]}\n",
		"p.yaml:8: serve.lisen is no field of pavise.yaml":                                                                          with("  lisen: x:1\n"),
		"p.yaml:3: up.detectors.near_duplicates is \"64\", not off or":                                                              "up:\n  bootstrap: {routes: [{name: m, onnx: /x}]}\n  detectors: {near_duplicates: 64}\n",
		"p.yaml:3: up.detectors.near_duplicates is \"042\", not off or":                                                             "up:\n  bootstrap: {routes: [{name: m, onnx: /x}]}\n  detectors: {near_duplicates: 042}\n",
		"p.yaml:3: up.drift.window is 2h0m0s, not 1s to 1h":                                                                         "up:\n  bootstrap: {routes: [{name: m, onnx: /x}]}\n  drift: {window: 2h}\n",
		"p.yaml:3: up.drift.learn is \"7\", not 500 to":                                                                             "up:\n  bootstrap: {routes: [{name: m, onnx: /x}]}\n  drift: {learn: 7}\n",
		"p.yaml:3: up.drift.few is \"9\", not none or":                                                                              "up:\n  bootstrap: {routes: [{name: m, onnx: /x}]}\n  drift: {few: 9}\n",
		"p.yaml:3: up.detectors.near_duplicates is missing":                                                                         "up:\n  bootstrap: {routes: [{name: m, onnx: /x}]}\n  detectors: {}\n",
		"p.yaml:8: serve.model_tls.0 has one of certificate and key":                                                                with("  model_tls: [{name: a, key: /x}]\n"),
		"p.yaml:8: serve.model_tls.1.name \"a\" stands here twice":                                                                  with("  model_tls: [{name: a, authorities: /x}, {name: a, authorities: /y}]\n"),
		"p.yaml:8: serve.model_tls.0.authorities \"x.pem\" is not where":                                                            with("  model_tls: [{name: a, authorities: x.pem}]\n"),
		"p.yaml:8: serve.Listen is no field of pavise.yaml":                                                                         with("  Listen: x:1\n"),
		"p.yaml:8: serve.data stands in line 2 already":                                                                             with("  data: /elsewhere\n"),
		"p.yaml:2: serve.tenant is missing":                                                                                         without("tenant"),
		"p.yaml:2: serve.data is missing":                                                                                           without("data"),
		"p.yaml:2: serve.names is missing":                                                                                          strings.Replace(goodServe, "[localhost, 127.0.0.1, \"::1\"]", "[]", 1),
		"p.yaml:3: serve.tenant is a list, not a text":                                                                              strings.Replace(goodServe, "acme\n", "[acme]\n", 1),
		"p.yaml:3: serve.tenant is empty, not a text":                                                                               strings.Replace(goodServe, "tenant: acme\n", "tenant:\n", 1),
		"p.yaml:3: serve.tenant \"a/b\" cannot be part of a name":                                                                   strings.Replace(goodServe, "tenant: acme\n", "tenant: a/b\n", 1),
		"p.yaml:4: serve.trust_domain \"Acme\" is no trust domain":                                                                  strings.Replace(goodServe, "acme.example", "Acme", 1),
		"p.yaml:5: serve.listen \"8470\" is no address to listen on":                                                                strings.Replace(goodServe, "127.0.0.1:8470", "8470", 1),
		"p.yaml:6: serve.fleet is the same as listen":                                                                               strings.Replace(goodServe, "8480", "8470", 1),
		"p.yaml:7: serve.names \"https://x\" is neither a host name nor":                                                            strings.Replace(goodServe, "localhost", "https://x", 1),
		"p.yaml:2: serve.data \"srv\" is not where a service finds it":                                                              strings.Replace(goodServe, "/srv/pavise", "srv", 1),
		"p.yaml:8: serve.grace is \"1\", not a duration":                                                                            with("  grace: 1\n"),
		"p.yaml:8: serve.grace is \"-1h\", not a duration":                                                                          with("  grace: -1h\n"),
		"p.yaml:8: serve.grace 720h0m0s is not between":                                                                             with("  grace: 720h\n"),
		"p.yaml:8: serve.certificate_life 1m0s is not between":                                                                      with("  certificate_life: 1m\n"),
		"p.yaml:8: serve.public_tiles is \"yes\", not true or false":                                                                with("  public_tiles: yes\n"),
		"p.yaml:8: serve.issuers is \"a\", not a list":                                                                              with("  issuers: a\n"),
		"p.yaml:9: serve.issuers.1 is a list, not a text":                                                                           with("  issuers: [a,\n    []]\n"),
		"p.yaml:9: serve.tls.key is missing":                                                                                        with("  tls:\n    certificate: /x\n"),
		"p.yaml:8: serve.archive uses an anchor or an alias":                                                                        with("  archive: &a x\n"),
		"p.yaml:8: serve.archive has the tag !!binary":                                                                              with("  archive: !!binary eA==\n"),
		"p.yaml:8: serve has a key that is no plain word":                                                                           with("  <<: {archive: x}\n"),
		"p.yaml:8: serve.archive is \"a\\x01\", not plain text":                                                                     with("  archive: \"a\\x01\"\n"),
		"p.yaml:11: serve.bootstrap.people.1.id \"ana\" stands here twi":                                                            with("  bootstrap:\n    people:\n    - {id: ana, roles: [operator]}\n    - {id: ana, roles: [operator]}\n"),
		"p.yaml:10: serve.bootstrap.people.0.roles is missing":                                                                      with("  bootstrap:\n    people:\n    - id: ana\n"),
		"p.yaml:10: serve.bootstrap.policies.a is empty":                                                                            with("  bootstrap:\n    policies:\n      a: ''\n"),
		"p.yaml:10: serve.bootstrap.routes.0.name \"b/model/x\" is no m":                                                            with("  bootstrap:\n    routes:\n    - {name: b/model/x, onnx: /x}\n"),
		"p.yaml:10: serve.bootstrap.routes.0 has to have either onnx or":                                                            with("  bootstrap:\n    routes:\n    - {name: acme/model/x}\n"),
		"p.yaml:9: gateway.server \"http://x:1\" is not the address of":                                                             with("gateway:\n  server: http://x:1\n  data: /x\n  listen: :1\n  names: [x]\n"),
		"p.yaml:12: gateway.health \"0.0.0.0:1\" can be reached from el":                                                            with("gateway:\n  server: https://x:1\n  data: /x\n  listen: :1\n  health: 0.0.0.0:1\n  names: [x]\n"),
		"p.yaml:8: serve.findings \"f.jsonl\" is not where a service f":                                                             with("  findings: f.jsonl\n"),
		"p.yaml:8: serve.send_to \"10.0.0.0/33\" is no network":                                                                     with("  send_to: [10.0.0.0/33]\n"),
		"p.yaml:8: serve.send_to \"::ffff:10.0.0.1\" is no network":                                                                 with("  send_to: [10.0.0.0/8, \"::ffff:10.0.0.1\"]\n"),
		"p.yaml:8: serve.datasets.roots has one that leads nowhere: this is no address of a bucket: its endpoint leads to no store": with("  datasets: {roots: [\"s3://lake?endpoint=a/hunter2\"]}\n"),
		"p.yaml:8: serve.receive.roots has one that leads nowhere: this is no address of a bucket: it names no bucket":              with("  receive: {roots: [/srv, \"s3://BAD_bucket\"]}\n"),
		"p.yaml:8: serve.datasets.gib \"0\" is no number of GiB":                                                                    with("  datasets: {roots: [/srv], gib: 0}\n"),
		"p.yaml:8: serve.datasets.tenant_gib \"2000000\" is no number of GiB":                                                       with("  datasets: {roots: [/srv], tenant_gib: 2000000}\n"),
		"p.yaml:8: serve.send_to \"fe80::1%eth0\" is no network":                                                                    with("  send_to: [fe80::1%eth0]\n"),
	} {
		file, err := Parse("p.yaml", []byte(text))
		if pavise.KindOf(err) != pavise.Invalid || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s\n is told as %v\n want        %s\n%+v", text, err, want, file)
		}
	}
	_, err := Parse("p.yaml", []byte(with("  lisen: a\n  grace: x\n")))
	if got := err.Error(); strings.Count(got, "\n") != 1 {
		t.Errorf("two faults are told as %q", got)
	}
}

// TestBombs refuses files that are larger inside than outside, or nested without end.
func TestBombs(t *testing.T) {
	laughs := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'k'; c++ {
		laughs += fmt.Sprintf("%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n", c, c, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1)
	}
	for name, text := range map[string]string{
		"laughs": laughs,
		"deep":   "serve:\n  data: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000),
		"wide":   "serve:\n" + strings.Repeat("  x: 1\n", 50_000),
		"long":   "serve:\n  data: " + strings.Repeat("x", MaxSize),
		"cycle":  "serve: &s\n  data: *s\n",
	} {
		_, err := Parse("p.yaml", []byte(text))
		if pavise.KindOf(err) != pavise.Invalid || len(err.Error()) > 8<<10 {
			t.Errorf("%s: %.300v", name, err)
		}
	}
}

// FuzzParse never panics, and what it accepts is whole.
func FuzzParse(f *testing.F) {
	f.Add([]byte(goodServe))
	for _, role := range Roles() {
		text, err := Example(role)
		if err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(text))
		f.Add([]byte(regexp.MustCompile(`(?m)^( *)#(\S)`).ReplaceAllString(text, "$1$2")))
	}
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("? {a: b}\n: c\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		file, err := Parse("f", text)
		if err != nil {
			if pavise.KindOf(err) != pavise.Invalid {
				t.Errorf("kind %v: %v", pavise.KindOf(err), err)
			}
			return
		}
		if s := file.Serve; s != nil && (s.Data == "" || s.Tenant == "" || len(s.Names) == 0 || s.Grace < time.Minute) {
			t.Errorf("it accepts %+v", s)
		}
		if g := file.Gateway; g != nil && (g.Server == "" || g.Health == "") {
			t.Errorf("it accepts %+v", g)
		}
	})
}

// TestDriftSaid: what nobody says is as usual, and none is another thing than nothing.
func TestDriftSaid(t *testing.T) {
	for d, want := range map[*Drift]int{nil: 0, {}: 0, {Few: "none"}: -1, {Few: "5"}: 5} {
		if n := d.Feared(); n != want {
			t.Errorf("%+v is %d, want %d", d, n, want)
		}
	}
	var none *Drift
	if none.Length() != 0 || none.Learnt() != 0 {
		t.Error("nothing says something")
	}
}

// TestDetectorsBound: off, a number, and nothing.
func TestDetectorsBound(t *testing.T) {
	for d, want := range map[*Detectors]int{nil: 0, {NearDuplicates: "off"}: -1, {NearDuplicates: "50"}: 50} {
		if n := d.Bound(); n != want {
			t.Errorf("%+v is %d, want %d", d, n, want)
		}
	}
}
