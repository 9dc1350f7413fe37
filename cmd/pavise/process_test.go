package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"html"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/edge"
	"github.com/pavise/pavise/internal/installation"
	"github.com/pavise/pavise/internal/role"
)

// TestMain lets this binary be the program, too: as a command of the scripts,
// and as the process that tests kill.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "4"); err != nil { // they wait for processes more than they work
		panic(err)
	}
	syscall.Umask(0o022) // up refuses a directory that others may write in
	testscript.Main(m, map[string]func(){"pavise": main})
}

// A process is a pavise up that runs apart from the test.
type process struct {
	role.Greeting
	data installation.Data
	cmd  *exec.Cmd
	errs *bytes.Buffer // its stderr; read it once the process has ended
}

// launch starts pavise up and does not wait for it.
func launch(data string, args ...string) (*process, io.Reader, error) {
	p := &process{data: installation.Data(data), errs: &bytes.Buffer{}}
	p.cmd = exec.Command("pavise", append([]string{"up", "--json", "--data", data, "--listen", "127.0.0.1:0"}, args...)...)
	p.cmd.Stderr = p.errs
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	return p, out, p.cmd.Start()
}

// start runs pavise up until it greets. The test ends it, if nobody did before.
func start(t *testing.T, data string, args ...string) *process {
	t.Helper()
	p, out, err := launch(data, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	stuck := time.AfterFunc(30*time.Second, func() { p.cmd.Process.Kill() })
	err = json.NewDecoder(out).Decode(&p.Greeting)
	stuck.Stop()
	if err != nil {
		t.Fatalf("pavise up did not greet: %v, %v\n%s", err, p.cmd.Wait(), p.errs)
	}
	return p
}

// kill is kill -9.
func (p *process) kill() {
	if p.cmd.ProcessState == nil {
		p.cmd.Process.Kill()
		p.cmd.Wait()
	}
}

// interrupt is Ctrl-C.
func (p *process) interrupt(t *testing.T) {
	t.Helper()
	p.cmd.Process.Signal(os.Interrupt)
	if err := p.cmd.Wait(); err != nil {
		t.Fatalf("pavise up ended with %v\n%s", err, p.errs)
	}
}

// operator is a client with the token of access.json.
func (p *process) operator(t *testing.T) *api.Client {
	t.Helper()
	a, err := p.data.ReadAccess("")
	if err != nil {
		t.Fatal(err)
	}
	return &api.Client{Base: a.Server, Token: a.Token}
}

// An answer is what the data plane said.
type answer struct {
	model  string
	status int
	body   string
	record uint64 // the record it names
	said   string // of a language model, what it said
}

// ask asks a model.
func ask(server, token, model, body string) (a answer, err error) {
	req, err := http.NewRequest("POST", server+"/v2/models/"+model+"/infer", strings.NewReader(body))
	if err != nil {
		return a, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return a, err
	}
	a = answer{model: model, status: resp.StatusCode, body: string(text)}
	if a.status == http.StatusOK || resp.Header.Get(edge.RecordHeader) != "" {
		a.record, err = strconv.ParseUint(resp.Header.Get(edge.RecordHeader), 10, 64)
	}
	return a, err
}

// curlLine takes apart a curl that up printed.
var curlLine = regexp.MustCompile(`(?s)curl -s (http://[^/]+)/v2/models/([^/]+)/infer .*?Bearer ([^']+)'.*?-d '([^']+)'`)

// paste does what a curl that up printed does, or the same with another model and
// body.
func paste(curl string, other ...string) (answer, error) {
	m := curlLine.FindStringSubmatch(curl)
	if m == nil {
		return answer{}, fmt.Errorf("%q is not the curl that it was", curl)
	}
	if len(other) == 2 {
		m[2], m[4] = other[0], other[1]
	}
	return ask(m[1], m[3], m[2], m[4])
}

// browse opens a page with a cookie, or sends a form there if there are fields.
func browse(page, cookie string, fields []string) (text, set string, err error) {
	req, err := http.NewRequest("GET", page, nil)
	if len(fields) > 0 {
		req, err = http.NewRequest("POST", page, strings.NewReader(strings.Join(fields, "&")))
	}
	if err != nil {
		return "", "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", req.URL.Scheme+"://"+req.URL.Host)
	req.Header.Set("Cookie", cookie)
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return "", "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	set, _, _ = strings.Cut(resp.Header.Get("Set-Cookie"), ";")
	return fmt.Sprintf("%d\n%s", resp.StatusCode, html.UnescapeString(string(body))), set, err
}

// The commands of the scripts, beside those that testscript has.
var scriptCommands = map[string]func(*testscript.TestScript, bool, []string){
	// up DIR [FLAG...] runs pavise up until it greets; its words are in up.out,
	// and $ADDRESS, $KEY and $CONSOLE are what it prints.
	"up": func(ts *testscript.TestScript, _ bool, args []string) {
		m := greeted(ts, args[0], "up.out", `(?s)^pavise is up on http://(\S+),.*console +(\S+)\n.*--key ([0-9a-f]{64}).*Ctrl-C stops`,
			append([]string{"up", "--listen", "127.0.0.1:0", "--data"}, args...))
		ts.Setenv("ADDRESS", m[1])
		ts.Setenv("CONSOLE", m[2])
		ts.Setenv("KEY", m[3])
	},
	// witness DIR [FLAG...] runs pavise witness serve until it greets; its words
	// are in witness.out.
	"witness": func(ts *testscript.TestScript, _ bool, args []string) {
		greeted(ts, args[0], "witness.out", `(?s)^the witness .*Ctrl-C stops`,
			append([]string{"witness", "serve", "--listen", "127.0.0.1:0", "--data"}, args...))
	},
	// interrupt DIR is Ctrl-C, for what was started there; without DIR, for what
	// was started last.
	"interrupt": func(ts *testscript.TestScript, _ bool, args []string) {
		started := ts.Value(startedKey{}).(*commands)
		dir := append(args, started.last)[0]
		cmd := started.by[dir]
		ts.Check(cmd.Process.Signal(os.Interrupt))
		ts.Check(cmd.Wait())
	},
	// crash is kill -9, for what was started last.
	"crash": func(ts *testscript.TestScript, _ bool, _ []string) {
		started := ts.Value(startedKey{}).(*commands)
		cmd := started.by[started.last]
		ts.Check(cmd.Process.Kill())
		_ = cmd.Wait()
	},
	// poke is Ctrl-C for what was started last, which may go on.
	"poke": func(ts *testscript.TestScript, _ bool, _ []string) {
		started := ts.Value(startedKey{}).(*commands)
		ts.Check(started.by[started.last].Process.Signal(os.Interrupt))
	},
	// code N COMMAND... fails unless the command exits with N.
	"code": func(ts *testscript.TestScript, _ bool, args []string) {
		code := 0
		if exit, ok := errors.AsType[*exec.ExitError](ts.Exec(args[1], args[2:]...)); ok {
			code = exit.ExitCode()
		}
		if strconv.Itoa(code) != args[0] {
			ts.Fatalf("exit code %d, want %s", code, args[0])
		}
	},
	// paste N [MODEL BODY] does the nth curl in up.out, or one like it, and prints the
	// answer.
	"paste": func(ts *testscript.TestScript, _ bool, args []string) {
		curls := strings.Split(ts.ReadFile("up.out"), "\ncurl ")[1:]
		n, err := strconv.Atoi(args[0])
		ts.Check(err)
		a, err := paste("curl "+curls[n-1], args[1:]...)
		ts.Check(err)
		fmt.Fprintf(ts.Stdout(), "%d %s\n", a.status, a.body)
	},
	// browse NAME PAGE [FIELD=VALUE...] opens a page in the browser of that name, whose
	// cookie is $NAME, or sends a form there, and prints the status and the page.
	"browse": func(ts *testscript.TestScript, _ bool, args []string) {
		url := args[1]
		if strings.HasPrefix(url, "/") {
			url = "http://" + ts.Getenv("ADDRESS") + url
		}
		text, cookie, err := browse(url, ts.Getenv(args[0]), args[2:])
		ts.Check(err)
		if cookie != "" {
			ts.Setenv(args[0], cookie)
		}
		fmt.Fprintln(ts.Stdout(), text)
	},
	"traffic": writeTraffic,
	"logs":    writeLogs,
	// json fails unless what the last command printed is JSON.
	"json": func(ts *testscript.TestScript, _ bool, args []string) {
		if text := ts.ReadFile(args[0]); !json.Valid([]byte(text)) {
			ts.Fatalf("%s is no JSON: %q", args[0], text)
		}
	},
	// keep NAME FIELD keeps a field of the JSON that the last command printed as
	// $NAME; of the field name, which is tenant/change/id, the id. A field of a field is
	// written with a dot.
	"keep": func(ts *testscript.TestScript, _ bool, args []string) {
		var answer map[string]any
		ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &answer))
		var field any = answer
		for key := range strings.SplitSeq(args[1], ".") {
			inner, _ := field.(map[string]any)
			if field = inner[key]; field == nil {
				ts.Fatalf("there is no %s", args[1])
			}
		}
		text := fmt.Sprint(field)
		if args[1] == "name" {
			text = text[strings.LastIndexByte(text, '/')+1:]
		}
		ts.Setenv(args[0], text)
	},
	// soon PATTERN COMMAND... fails unless the command, tried again and again,
	// prints what matches within twenty seconds.
	"soon": func(ts *testscript.TestScript, _ bool, args []string) {
		want := regexp.MustCompile("(?m)" + args[0])
		for range 200 {
			_ = ts.Exec(args[1], args[2:]...) // what it prints tells
			if want.MatchString(ts.ReadFile("stdout")) {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
		ts.Fatalf("it does not come to that: %s", ts.ReadFile("stdout"))
	},
	// policy FILE NEW keeps the lines of FILE that belong into a witness policy.
	"policy": func(ts *testscript.TestScript, _ bool, args []string) {
		lines := regexp.MustCompile(`(?m)^(witness|quorum) .*\n`).FindAllString(ts.ReadFile(args[0]), -1)
		ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(strings.Join(lines, "")), 0o600))
	},
	// copy DIR NEW copies a directory, for its owner alone.
	"copy": func(ts *testscript.TestScript, _ bool, args []string) {
		to := ts.MkAbs(args[1])
		ts.Check(os.CopyFS(to, os.DirFS(ts.MkAbs(args[0]))))
		ts.Check(filepath.WalkDir(to, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			return os.Chmod(path, 0o600)
		}))
	},
	// change FILE OLD NEW changes the first OLD in a file in its place.
	"change": func(ts *testscript.TestScript, _ bool, args []string) {
		text := ts.ReadFile(args[0])
		changed := strings.Replace(text, args[1], args[2], 1)
		if changed == text {
			ts.Fatalf("%s does not hold %q", args[0], args[1])
		}
		ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(changed), 0o600))
	},
	// cut FILE takes the last 100 bytes away.
	"cut": func(ts *testscript.TestScript, _ bool, args []string) {
		text := ts.ReadFile(args[0])
		ts.Check(os.Truncate(ts.MkAbs(args[0]), int64(len(text)-100)))
	},
}

// commands are what a script has running.
type commands struct {
	by   map[string]*exec.Cmd // data directory → command
	last string               // the data directory of the newest
}

// startedKey is where a script keeps its commands.
type startedKey struct{}

// greeted starts one, and waits until its output, which goes into a file, matches.
func greeted(ts *testscript.TestScript, dir, output, greeting string, args []string) []string {
	out, err := os.Create(ts.MkAbs(output))
	ts.Check(err)
	defer out.Close()
	cmd := exec.Command("pavise", args...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = out, out, ts.MkAbs(".")
	ts.Check(cmd.Start())
	started := ts.Value(startedKey{}).(*commands)
	started.by[dir], started.last = cmd, dir
	ts.Defer(func() { cmd.Process.Kill(); cmd.Wait() })
	want := regexp.MustCompile(greeting)
	for range 300 {
		if m := want.FindStringSubmatch(ts.ReadFile(output)); m != nil {
			return m
		}
		time.Sleep(50 * time.Millisecond)
	}
	ts.Fatalf("pavise %s does not greet: %s", strings.Join(args, " "), ts.ReadFile(output))
	return nil
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", Cmds: scriptCommands,
		Setup: func(env *testscript.Env) error {
			env.Values[startedKey{}] = &commands{by: map[string]*exec.Cmd{}}
			env.Setenv("GOGC", "400") // hundreds of short lives: a quarter of each is the collector at the start
			dir, err := filepath.Abs("testdata")
			env.Setenv("FRAUD", filepath.Join(dir, "fraud.onnx"))
			env.Setenv("FRAUD2", filepath.Join(dir, "fraud2.onnx"))
			env.Setenv("TREES", filepath.Join(dir, "trees.onnx"))
			return err
		},
		Condition: func(name string) (bool, error) {
			if name == "root" {
				return os.Getuid() == 0, nil
			}
			return false, fmt.Errorf("no condition %s", name)
		},
	})
}
