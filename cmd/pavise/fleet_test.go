package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/config"
	"github.com/pavise/pavise/internal/fleet"
	"github.com/pavise/pavise/internal/porttest"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/role"
	"github.com/pavise/pavise/internal/screen"
	"github.com/pavise/pavise/internal/verbs"
)

// needsFleet reports whether a verb is about a fleet, which up has none of.
func needsFleet(verb string) bool {
	return slices.Contains([]string{"node", "person", "ca", "bundle"}, record.Room(verb))
}

// TestFleetExamples types the examples of the verbs that up cannot show, as ana, at a
// control plane; bob approves.
func TestFleetExamples(t *testing.T) {
	s, err := role.NewServe(t.Context(), role.ServeConfig{Now: time.Now, Serve: config.Serve{
		Data: t.TempDir(), Tenant: "acme", TrustDomain: "acme.example", Listen: "127.0.0.1:0", Fleet: "127.0.0.1:0", Names: []string{"localhost"}, Grace: time.Hour,
		Bootstrap: &config.Bootstrap{People: []config.Person{{ID: "ann", Roles: []string{"operator"}}, {ID: "bob", Roles: []string{"operator"}}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	started := make(chan error, 1)
	go func() { started <- s.Run(t.Context()) }()
	t.Cleanup(func() {
		if err := <-started; err != nil {
			t.Error(err)
		}
		s.Close()
	})
	dir, bobs := t.TempDir(), t.TempDir()
	for i, where := range []string{dir, bobs} {
		if code, _, stderr := pavised(t, "--identity", where, "join", s.Invitations()[i].Text); code != 0 {
			t.Fatalf("join: %d %s", code, stderr)
		}
	}
	bob, err := fleet.OpenIdentity(t.Context(), bobs, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PAVISE_IDENTITY", dir)
	var oldest string // of the keys that sign bundles
	for _, v := range verbs.Table() {
		if v.NewRequest() == nil || !needsFleet(v.Name) {
			continue
		}
		if v.Name == "node.roles" { // of a machine that has joined
			code, invitation, stderr := pavised(t, "node", "invite", "gw-1")
			if code != 0 {
				t.Fatalf("%d %s", code, stderr)
			}
			if code, _, stderr := pavised(t, "--identity", t.TempDir(), "join", strings.TrimSpace(invitation)); code != 0 {
				t.Fatalf("%d %s", code, stderr)
			}
		}
		words := strings.Fields(strings.ReplaceAll(v.Example, "KEY", oldest))
		code, stdout, stderr := pavised(t, words[1:]...)
		if code != 0 || stdout == "" || (stderr != "") != screen.HasAside(v.Name) {
			t.Errorf("%s: exit code %d\n%s%s", v.Example, code, stdout, stderr)
		}
		if v.Name == "bundle.list" {
			oldest = regexp.MustCompile(`ed25519:\S+`).FindString(stdout)
		}
		approveAll(t, bob.Client())
		found := false
		for _, done := range s.Rooms().Log.Records(0, s.Rooms().Log.Size()) {
			found = found || done.Kind == v.Name && done.Phase != record.Enter && done.Error == nil
		}
		if !found {
			t.Errorf("%s left no record of %s", v.Example, v.Name)
		}
	}
}

// approveAll approves whatever waits.
func approveAll(t *testing.T, client *api.Client) {
	t.Helper()
	var list verbs.ChangeList
	if err := client.Call(t.Context(), "change.list", verbs.ChangeListRequest{}, &list); err != nil {
		t.Fatal(err)
	}
	for _, ch := range list.Changes {
		if ch.State != change.Open {
			continue
		}
		if err := client.Call(t.Context(), "change.approve", verbs.VoteRequest{ID: ch.Name.ID, Digest: ch.Digest}, nil); err != nil {
			t.Errorf("approve %s: %v", ch.Plan.Summary, err)
		}
	}
}

// A fleetReader does what the README says of a fleet, on ports of their own.
type fleetReader struct {
	dir         string
	ports       map[string]string // as the README has them → as they are here
	invitations []string          // that were printed and not used yet
	last        string            // what the last curl printed
	change      []string          // id and digest of the last change
}

// TestREADMEFleet builds the README's fleet: each command as it stands there, with the
// words in capitals filled in as a reader would.
func TestREADMEFleet(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "## Run it as a fleet")
	section, _, _ = strings.Cut(section, "\n## ")
	if !ok {
		t.Fatal("the README has no fleet")
	}
	r := &fleetReader{dir: t.TempDir(), ports: map[string]string{}}
	r.prepare(t)
	began := time.Now()
	for _, c := range fenced(section, "fleet") {
		got := r.do(t, c.command)
		want := "(?s)^" + strings.ReplaceAll(regexp.QuoteMeta(c.output), `\.\.\.`, ".*?") + "$"
		if !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("$ %s\n%s\nis not what the README says:\n%s", c.command, got, c.output)
		}
	}
	t.Logf("the fleet was up after %v", time.Since(began).Round(time.Millisecond))
}

// prepare lays out a directory as the source's root is, with free ports.
func (r *fleetReader) prepare(t *testing.T) {
	t.Helper()
	examples, err := filepath.Abs("../../examples")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(r.dir, "examples", "fleet"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(examples, "threat-detector"), filepath.Join(r.dir, "examples", "threat-detector")); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(examples, "fleet", "*.yaml"))
	if err != nil || len(files) != 4 {
		t.Fatal(files, err)
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text = regexp.MustCompile(`:84\d\d`).ReplaceAllFunc(text, func(b []byte) []byte { return []byte(r.here(t, string(b))) })
		if err := os.WriteFile(filepath.Join(r.dir, "examples", "fleet", filepath.Base(path)), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// here is a free port that stands for one of the README's.
func (r *fleetReader) here(t *testing.T, port string) string {
	if r.ports[port] == "" {
		free, err := porttest.Free()
		if err != nil {
			t.Fatal(err)
		}
		r.ports[port] = fmt.Sprintf(":%d", free)
	}
	return r.ports[port]
}

// translate writes ports as they are here, or back as the README has them.
func (r *fleetReader) translate(text string, back bool) string {
	for theirs, ours := range r.ports {
		if back {
			theirs, ours = ours, theirs
		}
		text = strings.ReplaceAll(text, theirs, ours)
	}
	return text
}

// do does one command.
func (r *fleetReader) do(t *testing.T, command string) string {
	t.Helper()
	if strings.HasPrefix(command, "curl ") {
		return r.curl(t, command)
	}
	words := strings.Fields(strings.TrimPrefix(command, "pavise "))
	for i, word := range words {
		switch {
		case word == "INVITATION" && len(r.invitations) > 0:
			words[i], r.invitations = r.invitations[0], r.invitations[1:]
		case word == "CHANGE" && len(r.change) == 2:
			words[i] = r.change[0]
		case word == "DIGEST" && len(r.change) == 2:
			words[i] = r.change[1]
		}
	}
	if words[0] == "serve" || words[0] == "gateway" || words[0] == "agent" {
		return r.translate(r.start(t, words), true)
	}
	cmd := exec.Command("pavise", words...)
	cmd.Dir = r.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("pavise %s: %v\n%s", strings.Join(words, " "), err, out)
	}
	r.learn(string(out))
	return r.translate(string(out), true)
}

// learn keeps what a reader would copy from the output.
func (r *fleetReader) learn(out string) {
	r.invitations = append(r.invitations, regexp.MustCompile(`pavise-invite:\S+`).FindAllString(out, -1)...)
	if m := regexp.MustCompile(`change approve (\S+) (\S+)`).FindStringSubmatch(out); m != nil {
		r.change = m[1:]
	}
}

// start starts a role, and lets it run until the test ends.
func (r *fleetReader) start(t *testing.T, words []string) string {
	t.Helper()
	name := filepath.Join(r.dir, strings.ReplaceAll(strings.Join(words[:3], "-"), "/", "-")+".out")
	out, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command("pavise", words...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = r.dir, out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	for range 400 {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "Ctrl-C stops") {
			r.learn(string(text))
			return string(text)
		}
		time.Sleep(50 * time.Millisecond)
	}
	text, _ := os.ReadFile(name)
	t.Fatalf("pavise %s does not greet: %s", strings.Join(words, " "), text)
	return ""
}

// curl does what the README's curl does: with the certificate in the directory app, until
// the gateway has heard of it.
func (r *fleetReader) curl(t *testing.T, command string) string {
	t.Helper()
	url := r.translate(regexp.MustCompile(`https://\S+`).FindString(command), false)
	cert, err := tls.LoadX509KeyPair(filepath.Join(r.dir, "app", "tls.crt"), filepath.Join(r.dir, "app", "tls.key"))
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(filepath.Join(r.dir, "app", "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{cert}}}}
	for range 200 {
		resp, err := client.Post(url, "application/json", strings.NewReader(string(role.SampleRow(0))))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if r.last = string(text) + "\n"; resp.StatusCode == 200 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	return r.last
}
