package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
	"golang.org/x/sys/unix"
)

const (
	readyWithin = 60 * time.Second
	stopWithin  = 20 * time.Second
	tick        = 10 * time.Millisecond // the kernel's unit of processor time in /proc
)

// A server is a running `pavise up`.
type server struct {
	cmd    *exec.Cmd
	out    *bytes.Buffer // both outputs; read only after the process has ended
	client *fasthttp.HostClient
	token  string // of an operator
}

// start builds pavise, unless binary names one, runs it below a directory and waits until it
// is ready.
func start(ctx context.Context, binary, work string) (*server, error) {
	if binary == "" {
		built, err := filepath.Abs(filepath.Join(work, "pavise"))
		if err != nil {
			return nil, err
		}
		cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", built, "./cmd/pavise")
		cmd.Dir = ".."
		if text, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("go build: %w\n%s", err, text)
		}
		binary = built
	}
	data := filepath.Join(work, "data")
	s := &server{out: &bytes.Buffer{}}
	s.cmd = exec.Command(binary, "up", "--data", data, "--listen", "127.0.0.1:0")
	s.cmd.Stdout, s.cmd.Stderr = s.out, s.out
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	for end := time.Now().Add(readyWithin); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(10 * time.Millisecond) {
		if s.ready(data) {
			return s, nil
		}
	}
	return nil, fmt.Errorf("pavise up was not ready within %v: %w", readyWithin, errors.Join(ctx.Err(), s.stop()))
}

// ready reports whether the server takes verbs.
func (s *server) ready(data string) bool {
	text, err := os.ReadFile(filepath.Join(data, "access.json"))
	var access struct{ Server, Token string }
	if err != nil || json.Unmarshal(text, &access) != nil {
		return false
	}
	s.client = &fasthttp.HostClient{Addr: strings.TrimPrefix(access.Server, "http://"), MaxConns: 1024, NoDefaultUserAgentHeader: true}
	s.token = access.Token
	_, err = s.call("model.list", s.token, []byte("{}"))
	return err == nil
}

// call asks for a verb.
func (s *server) call(verb, token string, body []byte) ([]byte, error) {
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	req.SetRequestURI("http://" + s.client.Addr + "/v1/" + verb)
	req.Header.SetMethod(fasthttp.MethodPost)
	req.Header.SetContentType("application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	req.SetBodyRaw(body)
	if err := s.client.Do(req, resp); err != nil {
		return nil, fmt.Errorf("%s: %w", verb, err)
	}
	if resp.StatusCode() != fasthttp.StatusOK {
		return nil, fmt.Errorf("%s answered %d: %.300s", verb, resp.StatusCode(), resp.Body())
	}
	return bytes.Clone(resp.Body()), nil
}

// cpu is the processor time of the server so far.
func (s *server) cpu() time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * tick
}

// stop stops the server.
func (s *server) stop() error {
	if err := s.cmd.Process.Signal(unix.SIGTERM); err != nil {
		return err
	}
	kill := time.AfterFunc(stopWithin, func() { _ = s.cmd.Process.Kill() })
	defer kill.Stop()
	if err := s.cmd.Wait(); err != nil {
		return fmt.Errorf("pavise up ended with %w:\n%s", err, s.out)
	}
	return nil
}

// A caller is somebody with a token and a model of their own.
type caller struct {
	s     *server
	token string
	model string
	asks  []byte // for the first version
	added int
}

// caller has somebody known, with a model of one version.
func (s *server) caller(_ context.Context, number int) (*caller, error) {
	answer, err := s.call("issuer.mint", s.token, encode(map[string]any{"subject": fmt.Sprintf("caller-%d", number), "role": []string{"operator"}}))
	var given minted
	if err == nil {
		err = json.Unmarshal(answer, &given)
	}
	if err != nil {
		return nil, err
	}
	id := fmt.Sprintf("bench-%d", number)
	c := &caller{s: s, token: given.Token, model: "local/model/" + id, asks: encode(map[string]string{"model": id + "/1"})}
	if _, err := s.call("model.create", c.token, encode(map[string]string{"name": c.model, "risk": "low"})); err != nil {
		return nil, err
	}
	return c, c.add()
}

// add adds a version with a file of its own.
func (c *caller) add() error {
	c.added++
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", c.model, c.added))
	_, err := c.s.call("model.add", c.token, encode(map[string]any{
		"name": c.model, "files": []map[string]any{{"path": "weights.bin", "size": 1 << 20, "digest": "sha256:" + hex.EncodeToString(sum[:])}},
	}))
	return err
}

// show asks for the first version.
func (c *caller) show() error {
	_, err := c.s.call("model.show", c.token, c.asks)
	return err
}
