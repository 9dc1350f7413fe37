package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
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
	"github.com/pavise/pavise/internal/gateway"
)

// TestMain lets this binary be the program, too: as a command of the scripts,
// and as the process that tests kill.
func TestMain(m *testing.M) {
	syscall.Umask(0o022) // up refuses a directory that others may write in
	testscript.Main(m, map[string]func(){"pavise": main})
}

// A process is a pavise up that runs apart from the test.
type process struct {
	greeting
	data dataDir
	cmd  *exec.Cmd
	errs *bytes.Buffer // its stderr; read it once the process has ended
}

// launch starts pavise up and does not wait for it.
func launch(data string, args ...string) (*process, io.Reader, error) {
	p := &process{data: dataDir(data), errs: &bytes.Buffer{}}
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
	err = json.NewDecoder(out).Decode(&p.greeting)
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
	a, err := p.data.readAccess()
	if err != nil {
		t.Fatal(err)
	}
	return &api.Client{Base: a.Server, Token: a.Token}
}

// An answer is what the data plane said.
type answer struct {
	status int
	body   string
	record uint64 // the record it names
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
	a = answer{status: resp.StatusCode, body: string(text)}
	if a.status == http.StatusOK {
		a.record, err = strconv.ParseUint(resp.Header.Get(gateway.RecordHeader), 10, 64)
	}
	return a, err
}

// curlLine takes apart a curl that up printed.
var curlLine = regexp.MustCompile(`(?s)curl -s (http://[^/]+)/v2/models/([^/]+)/infer .*?Bearer ([^']+)'.*?-d '([^']+)'`)

// paste does what a curl that up printed does.
func paste(curl string) (answer, error) {
	m := curlLine.FindStringSubmatch(curl)
	if m == nil {
		return answer{}, fmt.Errorf("%q is not the curl that it was", curl)
	}
	return ask(m[1], m[3], m[2], m[4])
}

// The commands of the scripts, beside those that testscript has.
var scriptCommands = map[string]func(*testscript.TestScript, bool, []string){
	// up DIR [FLAG...] runs pavise up until it greets; its words are in up.out,
	// and $ADDRESS and $KEY are what it prints.
	"up": func(ts *testscript.TestScript, _ bool, args []string) {
		out, err := os.Create(ts.MkAbs("up.out"))
		ts.Check(err)
		defer out.Close()
		cmd := exec.Command("pavise", append([]string{"up", "--listen", "127.0.0.1:0", "--data"}, args...)...)
		cmd.Stdout, cmd.Stderr, cmd.Dir = out, out, ts.MkAbs(".")
		ts.Check(cmd.Start())
		*ts.Value(upKey{}).(**exec.Cmd) = cmd
		ts.Defer(func() { cmd.Process.Kill(); cmd.Wait() })
		greeting := regexp.MustCompile(`(?s)^pavise is up on http://(\S+),.*--key ([0-9a-f]{64}).*Ctrl-C stops`)
		for range 300 {
			if m := greeting.FindStringSubmatch(ts.ReadFile("up.out")); m != nil {
				ts.Setenv("ADDRESS", m[1])
				ts.Setenv("KEY", m[2])
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
		ts.Fatalf("pavise up does not greet: %s", ts.ReadFile("up.out"))
	},
	// interrupt is Ctrl-C.
	"interrupt": func(ts *testscript.TestScript, _ bool, _ []string) {
		cmd := *ts.Value(upKey{}).(**exec.Cmd)
		ts.Check(cmd.Process.Signal(os.Interrupt))
		ts.Check(cmd.Wait())
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
	// paste N does the nth curl in up.out and prints the answer.
	"paste": func(ts *testscript.TestScript, _ bool, args []string) {
		curls := strings.Split(ts.ReadFile("up.out"), "\ncurl ")[1:]
		n, err := strconv.Atoi(args[0])
		ts.Check(err)
		a, err := paste("curl " + curls[n-1])
		ts.Check(err)
		fmt.Fprintf(ts.Stdout(), "%d %s\n", a.status, a.body)
	},
	// json fails unless what the last command printed is JSON.
	"json": func(ts *testscript.TestScript, _ bool, args []string) {
		if text := ts.ReadFile(args[0]); !json.Valid([]byte(text)) {
			ts.Fatalf("%s is no JSON: %q", args[0], text)
		}
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

// upKey is where a script keeps its running pavise up.
type upKey struct{}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", Cmds: scriptCommands,
		Setup: func(env *testscript.Env) error {
			env.Values[upKey{}] = new(*exec.Cmd)
			fraud, err := filepath.Abs("testdata/fraud.onnx")
			env.Setenv("FRAUD", fraud)
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
