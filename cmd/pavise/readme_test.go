package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise/internal/config"
	"github.com/pavise/pavise/internal/extraction"
	"github.com/pavise/pavise/internal/installation"
	"github.com/pavise/pavise/internal/policy"
	"github.com/pavise/pavise/internal/role"
)

// A typed is one command of the README and what it is said to print.
type typed struct {
	command string
	output  string
}

// consoles reads the blocks that are marked as console: a line with "$ " is a
// command, the lines behind it are its output, in which "..." stands for
// anything.
func consoles(readme string) []typed { return fenced(readme, "console") }

// fenced reads the blocks of a mark.
func fenced(readme, mark string) (list []typed) {
	inside := false
	for line := range strings.Lines(readme) {
		command, isCommand := strings.CutPrefix(line, "$ ")
		switch {
		case strings.HasPrefix(line, "```"):
			inside = strings.TrimSpace(line) == "```"+mark
		case inside && isCommand:
			list = append(list, typed{command: strings.TrimSpace(command)})
		case inside && len(list) > 0:
			list[len(list)-1].output += line
		}
	}
	return list
}

// TestREADME does what the README says, in its order, and holds what comes to
// what it says comes. Commands that are not of this program are left out.
func TestREADME(t *testing.T) {
	followed(t, "../../README.md")
}

// TestREADMEOwn puts Pavise before a model server of the reader's own, with the file that
// the README has, and asks it as the greeting says.
func TestREADMEOwn(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```yaml\n")
	file, _, ok := strings.Cut(rest, "```")
	if !ok || strings.Count(file, "\n") > 10 {
		t.Fatalf("the README has no file of at most ten lines: %s", file)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "GET" {
			fmt.Fprint(w, `{"name":"fraud","platform":"x","inputs":[{"name":"x","datatype":"FP32","shape":[-1,2]}],"outputs":[{"name":"p","datatype":"FP32","shape":[-1,2]}]}`)
			return
		}
		fmt.Fprint(w, `{"model_name":"fraud","outputs":[{"name":"p","datatype":"FP32","shape":[1,2],"data":[0.123456,0.876544]}]}`)
	}))
	defer server.Close()
	r := &reader{dir: t.TempDir()}
	file = strings.ReplaceAll(file, "http://127.0.0.1:8000", server.URL)
	if err := os.WriteFile(filepath.Join(r.dir, "own.yaml"), []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range fenced(string(text), "own") {
		args := strings.Fields(strings.TrimPrefix(c.command, "go run ./cmd/pavise"))
		got := strings.ReplaceAll(r.do(t, args), server.URL, "http://127.0.0.1:8000")
		want := "(?s)^" + strings.ReplaceAll(regexp.QuoteMeta(strings.TrimSuffix(c.output, "\n")), `\.\.\.`, ".*?")
		if !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("%s\nis not what the README says:\n%s", got, c.output)
		}
		_, curl, _ := strings.Cut(got, "with values of your own:\n\n")
		curl, _, _ = strings.Cut(curl, "\n\n")
		if a, err := paste(strings.ReplaceAll(curl, "127.0.0.1:8470", r.address)); err != nil || a.status != 200 || !strings.Contains(a.body, "0.1235") {
			t.Errorf("%+v, %v", a, err)
		}
	}
}

// blocks are the fenced blocks of a mark.
func blocks(readme, mark string) (list []string) {
	parts := strings.Split("\n"+readme, "\n```"+mark+"\n")
	for _, part := range parts[1:] {
		block, _, _ := strings.Cut(part, "```")
		list = append(list, block)
	}
	return list
}

// TestREADMEProtocols begins with the README's files for other protocols, and asks as its
// clients in Python do: the same path, the same body.
func TestREADMEProtocols(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v1/models":
			fmt.Fprint(w, `{"data":[{"id":"llama"}]}`)
		case "/v1/models/risk":
			fmt.Fprint(w, `{"name":"risk","ready":true}`)
		case "/v1/models/risk:predict":
			fmt.Fprint(w, `{"predictions":[0.5]}`)
		case "/v1/chat/completions":
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"id":"c","object":"chat.completion","created":1,"model":"llama","choices":[{"index":0,"message":{"role":"assistant","content":"Hello you"},"finish_reason":"stop"}]}`)
		}
	}))
	defer server.Close()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "risk.json"), []byte(blocks(string(text), "json")[0]), 0o600); err != nil {
		t.Fatal(err)
	}
	files, clients := blocks(string(text), "yaml"), blocks(string(text), "python")
	for i, ask := range []struct{ path, body, want string }{
		{"/v1/chat/completions", `{"model":"llama","messages":[{"role":"user","content":"Hello"}]}`, "Hello you"},
		{"/v1/models/risk:predict", `{"instances":[[5.1,3.5,1.4,0.2]]}`, `{"predictions":[0.5]}`},
	} {
		file, client := files[i+1], clients[i]
		if strings.Count(file, "\n") > 10 || strings.Count(client, "\n") > 2 {
			t.Errorf("too long for a newcomer:\n%s%s", file, client)
		}
		file = regexp.MustCompile(`http://[0-9.:]+`).ReplaceAllString(file, server.URL)
		file = strings.ReplaceAll(file, "risk.json", filepath.Join(dir, "risk.json"))
		parsed, err := config.Check("own.yaml", []byte(file), role.LookAt)
		if err != nil {
			t.Fatal(err)
		}
		r := runUp(t, role.UpConfig{Data: installation.Data(t.TempDir()), Routes: parsed.Up.Bootstrap.Routes, Say: func(word string, err error) { t.Errorf("%s: %v", word, err) }})
		base, _, _ := strings.Cut(strings.SplitN(client, "http://127.0.0.1:8470", 2)[1], `"`)
		if plain := regexp.MustCompile(`[\s"]`).ReplaceAllString(client, ""); !strings.HasPrefix(ask.path, base) || !strings.Contains(plain, parsed.Up.Bootstrap.Routes[0].Name) {
			t.Errorf("the client asks %s, and the test %s:\n%s", base, ask.path, client)
		}
		req, _ := http.NewRequest("POST", r.Server+ask.path, strings.NewReader(ask.body))
		req.Header.Set("Authorization", "Bearer "+r.Token)
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 200 || !strings.Contains(string(body), ask.want) {
			t.Errorf("%s: %d %s", ask.path, resp.StatusCode, body)
		}
		r.stop()
	}
}

// TestPoliciesDoc does what docs/policies.md says, and finds every role in it.
func TestPoliciesDoc(t *testing.T) {
	text := followed(t, "../../docs/policies.md")
	for id, one := range policy.Defaults() {
		role := regexp.MustCompile(`Role::"([^"]+)"`).FindStringSubmatch(one)
		if role != nil && !strings.Contains(text, "\n| `"+role[1]+"` | ") {
			t.Errorf("the document does not have the role %s of %s", role[1], id)
		}
	}
}

// TestRedteamDoc does what docs/redteam.md says, and finds every attack in it.
func TestRedteamDoc(t *testing.T) {
	if testing.Short() {
		t.Skip("its attacks take long under the race detector; their rooms are tested there")
	}
	text := followed(t, "../../docs/redteam.md")
	for _, name := range extraction.Names() {
		if !strings.Contains(text, "`"+name+"`") {
			t.Errorf("the document does not have the attack %s", name)
		}
	}
}

// followed types what a document says, and returns the document.
func followed(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r := &reader{dir: t.TempDir()}
	examples, err := filepath.Abs("../../examples")
	if err == nil {
		err = os.Symlink(examples, filepath.Join(r.dir, "examples"))
	}
	if err != nil {
		t.Fatal(err)
	}
	done := 0
	for _, c := range consoles(string(text)) {
		args, ours := strings.CutPrefix(c.command, "go run ./cmd/pavise")
		if !ours {
			args, ours = strings.CutPrefix(c.command, "pavise ")
		}
		if !ours {
			continue
		}
		done++
		got := r.do(t, strings.Fields(args))
		want := "(?s)^" + strings.ReplaceAll(regexp.QuoteMeta(strings.ReplaceAll(c.output, "go run ./cmd/pavise", "pavise")), `\.\.\.`, ".*?") + "$"
		if !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("$ %s\n%s\nis not what %s says:\n%s", c.command, got, path, c.output)
		}
	}
	if done == 0 {
		t.Errorf("%s has no command of pavise", path)
	}
	return string(text)
}

// A reader does what the README says, in a directory of their own.
type reader struct {
	dir         string
	address     string // where up listens, in place of 127.0.0.1:8470
	fingerprint string
}

// do runs a command and returns what it printed, as it would be on the README's
// own machine.
func (r *reader) do(t *testing.T, args []string) string {
	t.Helper()
	for i, arg := range args {
		if arg == "FINGERPRINT" {
			args[i] = r.fingerprint
		}
	}
	if len(args) > 0 && args[0] == "up" {
		return r.up(t, args)
	}
	cmd := exec.Command("pavise", args...)
	cmd.Dir = r.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("pavise %s: %v", strings.Join(args, " "), err)
	}
	return string(out)
}

// up starts pavise up on another port, and lets it run until the test ends.
func (r *reader) up(t *testing.T, args []string) string {
	t.Helper()
	name := filepath.Join(r.dir, "up.out")
	out, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command("pavise", append(args, "--listen", "127.0.0.1:0")...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = r.dir, out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	greeting := regexp.MustCompile(`(?s)http://(127\.0\.0\.1:\d+),.*--key ([0-9a-f]{64}).*Ctrl-C stops`)
	for range 300 {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if m := greeting.FindStringSubmatch(string(text)); m != nil {
			r.address, r.fingerprint = m[1], m[2]
			return strings.ReplaceAll(string(text), r.address, "127.0.0.1:8470")
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("pavise up does not greet")
	return ""
}
