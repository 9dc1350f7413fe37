package receiver

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/porttest"
)

// A bus is a nats-server with JetStream.
type bus struct {
	t    testing.TB
	dir  string
	args []string
	cmd  *exec.Cmd
	url  string
}

// newBus starts the server that PAVISE_NATS names; without one the test is skipped.
func newBus(t testing.TB, args ...string) *bus {
	t.Helper()
	if os.Getenv("PAVISE_NATS") == "" {
		t.Skip("PAVISE_NATS names no nats-server")
	}
	b := &bus{t: t, dir: t.TempDir(), args: args}
	b.start("0")
	t.Cleanup(b.kill)
	return b
}

func (b *bus) start(port string) {
	b.t.Helper()
	if port == "0" {
		port = "-1"
	}
	b.cmd = exec.Command(os.Getenv("PAVISE_NATS"), append([]string{"-a", "127.0.0.1", "-p", port, "-js", "-sd", b.dir, "--ports_file_dir", b.dir}, b.args...)...)
	if err := b.cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	until(b.t, func() bool {
		names, _ := filepath.Glob(filepath.Join(b.dir, "*.ports"))
		var ports struct{ Nats []string }
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err == nil && strings.Contains(name, fmt.Sprintf("_%d.ports", b.cmd.Process.Pid)) && json.Unmarshal(text, &ports) == nil && len(ports.Nats) > 0 {
				b.url = ports.Nats[0]
			}
		}
		return len(ports.Nats) > 0
	})
}

func (b *bus) kill() {
	_ = b.cmd.Process.Kill()
	_ = b.cmd.Wait()
}

// js is a client of it, as a producer has.
func (b *bus) js(opts ...nats.Option) jetstream.JetStream {
	b.t.Helper()
	conn, err := nats.Connect(b.url, opts...)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		b.t.Fatal(err)
	}
	return js
}

// stream makes a stream of the subjects app.*.
func makeStream(t testing.TB, js jetstream.JetStream, most int64) {
	t.Helper()
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"app.*"}, MaxMsgs: most}); err != nil {
		t.Fatal(err)
	}
}

func publish(t testing.TB, js jetstream.JetStream, subject string, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		m := &nats.Msg{Subject: subject, Data: fmt.Appendf(nil, "line %d\n", i), Header: nats.Header{signatureHeader: {base64.StdEncoding.EncodeToString([]byte("sig"))}}}
		if _, err := js.PublishMsg(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
}

// listen orders that the subject app.a is read.
func (b *bus) listen(change ...func(*Server)) *world {
	server := Server{Name: "bus", Address: b.url}
	for _, c := range change {
		c(&server)
	}
	w := newWorld(b.t, formLines, func(c *Config) { c.Servers = []Server{server} })
	w.order(Order{From: "nats://bus/EVENTS/app.a"})
	return w
}

// TestNATSLargeMessages fetches no more at a time than may lie in memory, and all in the end.
func TestNATSLargeMessages(t *testing.T) {
	conf := filepath.Join(t.TempDir(), "conf")
	if err := os.WriteFile(conf, []byte("max_payload: 8MB\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := newBus(t, "-c", conf)
	js := b.js()
	makeStream(t, js, -1)
	text := bytes.Repeat([]byte("x"), 8<<20-1<<10)
	for range 12 {
		if _, err := js.Publish(t.Context(), "app.a", text); err != nil {
			t.Fatal(err)
		}
	}
	w := b.listen()
	h := w.by("app")
	if _, err := h.pass(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(w.gate.took); n == 0 || n*len(text) > fetchBytes {
		t.Errorf("%d messages at a time", n)
	}
	h.must()
	if n := len(w.gate.took); n != 12 || w.gate.again != 0 {
		t.Errorf("%d messages, and %d again", n, w.gate.again)
	}
}

// TestNATS reads a subject of a real server: each message once, over kills of ours and of
// the server, and finds that messages were thrown away and that the stream was made anew.
func TestNATS(t *testing.T) {
	b := newBus(t)
	js := b.js()
	makeStream(t, js, 100)
	w := b.listen()
	publish(t, js, "app.a", 0, 10)
	publish(t, js, "app.b", 0, 10)
	killed := &pavise.Error{Kind: pavise.Unavailable, Msg: "killed"}
	w.gate.after = func(batch Batch) error {
		if string(batch.Body) == "line 3\n" {
			return killed
		}
		return nil
	}
	h := w.by("app")
	if err := h.passes(); err == nil {
		t.Fatal("the gate answers")
	}
	h.close()
	w.gate.after = nil
	h = w.by("app")
	read := func(want string) {
		t.Helper()
		until(t, func() bool {
			_, err := h.pass(context.Background())
			return err == nil && len(w.gate.text()) >= len(want)
		})
		if got := w.gate.text(); strings.Count(got, "\n") != strings.Count(want, "\n") {
			t.Errorf("the gate has %q, want %q", got, want)
		}
	}
	read(numbered(0, 10))
	if string(w.gate.took[0].Signature) != "sig" || w.gate.took[0].At.IsZero() || w.gate.again != 1 {
		t.Errorf("%+v, %d again", w.gate.took[0], w.gate.again)
	}
	port := b.url[strings.LastIndexByte(b.url, ':')+1:]
	b.kill()
	b.start(port)
	publish(t, b.js(), "app.a", 10, 12)
	read(numbered(0, 12))
	w.wantFound("")

	h.close()
	publish(t, b.js(), "app.a", 12, 200) // and the stream keeps a hundred
	h = w.by("app")
	read(numbered(0, 12) + numbered(100, 200))
	w.wantFound("lost")
	h.close()
	if err := b.js().DeleteStream(t.Context(), "EVENTS"); err != nil {
		t.Fatal(err)
	}
	makeStream(t, b.js(), 100)
	publish(t, b.js(), "app.a", 200, 210)
	h = w.by("app")
	read(numbered(0, 12) + numbered(100, 210))
	w.wantFound("lost replaced")
}

// TestNATSLogin speaks TLS with a real server that asks for a login, and believes it by its
// pin alone.
func TestNATSLogin(t *testing.T) {
	cert := httptest.NewUnstartedServer(nil)
	cert.StartTLS()
	defer cert.Close()
	dir := t.TempDir()
	key, err := x509.MarshalPKCS8PrivateKey(cert.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: cert.Certificate().Raw}, "key.pem": {Type: "PRIVATE KEY", Bytes: key}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	login := filepath.Join(dir, "login")
	if err := os.WriteFile(login, []byte("olga:hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := newBus(t, "--tls", "--tlscert", filepath.Join(dir, "cert.pem"), "--tlskey", filepath.Join(dir, "key.pem"), "--user", "olga", "--pass", "hunter2")
	js := b.js(nats.RootCAs(filepath.Join(dir, "cert.pem")), nats.UserInfo("olga", "hunter2"))
	makeStream(t, js, 100)
	publish(t, js, "app.a", 0, 3)
	sum := sha256.Sum256(cert.Certificate().RawSubjectPublicKeyInfo)
	pin := "sha256:" + hex.EncodeToString(sum[:])
	secure := func(pin, login string) func(*Server) {
		return func(s *Server) {
			s.Address, s.Pin, s.Credentials = "tls://"+b.url[strings.Index(b.url, "127"):], pin, login
		}
	}
	w := b.listen(secure(pin, login))
	w.by("app").must()
	w.wantText(numbered(0, 3))
	if w.gate.took[0].Writer != pin {
		t.Errorf("%+v", w.gate.took[0])
	}
	for name, c := range map[string]func(*Server){"another pin": secure("sha256:"+strings.Repeat("0", 64), login), "no pin": secure("", login), "no login": secure(pin, "")} {
		w := b.listen(c)
		all, err := w.rows(t.Context(), "local")
		if err != nil {
			t.Fatal(err)
		}
		l := &line{room: w.Receivers, row: all[0], told: map[string]*telling{}}
		if c, err := l.open(t.Context()); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
			c.close()
		}
	}
}

// TestNATSAway says what is wrong with a server that is none.
func TestNATSAway(t *testing.T) {
	w := newWorld(t, formLines, func(c *Config) { c.Servers = []Server{{Name: "bus", Address: "nats://127.0.0.1:1"}} })
	w.order(Order{From: "nats://bus/EVENTS"})
	all, err := w.rows(t.Context(), "local")
	if err != nil {
		t.Fatal(err)
	}
	l := &line{room: w.Receivers, row: all[0], told: map[string]*telling{}}
	if _, err := l.open(t.Context()); pavise.KindOf(err) != pavise.Unavailable || !strings.Contains(err.Error(), "server bus") {
		t.Errorf("%v", err)
	}
}

// TestMedallion reads a collection of the TAXII server of OASIS, which is none of our code.
func TestMedallion(t *testing.T) {
	program := os.Getenv("PAVISE_MEDALLION")
	if program == "" {
		t.Skip("PAVISE_MEDALLION names no medallion")
	}
	dir := t.TempDir()
	file := func(name string, v any) string {
		text, err := json.Marshal(v)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		return filepath.Join(dir, name)
	}
	type m = map[string]any
	var objects []any
	var manifest []any
	for n := 1; n <= 25; n++ {
		var o m
		if err := json.Unmarshal([]byte(indicator(n, modified1, "x")), &o); err != nil {
			t.Fatal(err)
		}
		objects = append(objects, o)
		manifest = append(manifest, m{"id": o["id"], "date_added": fmt.Sprintf("2026-02-01T00:00:%02d.000000Z", n/4), "version": modified1, "media_type": "application/stix+json;version=2.1"})
	}
	const collection = "91a7b528-80eb-42ed-a74d-c6fbd5a26116"
	data := file("data.json", m{
		"/discovery": m{"title": "test", "description": "", "contact": "", "default": "http://127.0.0.1/api1/", "api_roots": []string{"http://127.0.0.1/api1/"}},
		"api1": m{
			"information": m{"title": "api1", "description": "", "versions": []string{"application/taxii+json;version=2.1"}, "max_content_length": 9765625},
			"status":      []any{},
			"collections": []any{m{"id": collection, "title": "c", "description": "", "can_read": true, "can_write": true, "media_types": []string{"application/stix+json;version=2.1"}, "objects": objects, "manifest": manifest}},
		},
	})
	config := file("config.json", m{"backend": m{"module": "medallion.backends.memory_backend", "module_class": "MemoryBackend", "filename": data}, "users": m{"olga": "hunter2"}, "taxii": m{"max_page_size": 10, "interop_requirements": false}})
	_, port, _ := net.SplitHostPort(porttest.Address())
	cmd := exec.Command(program, "--host", "127.0.0.1", "--port", port, config)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	login := filepath.Join(dir, "login")
	if err := os.WriteFile(login, []byte("olga:hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, formSTIX, func(c *Config) {
		c.Servers = []Server{{Name: "cti", Address: "http://127.0.0.1:" + port, Credentials: login}}
	})
	w.order(Order{From: "taxii://cti/api1/collections/" + collection + "/"})
	h := w.by("app")
	end := time.Now().Add(20 * time.Second)
	var err error
	for err = h.passes(); err != nil && time.Now().Before(end); err = h.passes() {
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, said.Bytes())
	}
	h = w.by("app")
	h.must()
	if got := w.ids(); len(got) != 25 || len(w.gate.took) < 3 {
		t.Errorf("the gate has %v in %d batches\n%s", got, len(w.gate.took), said.Bytes())
	}
	w.wantFound("")
}
