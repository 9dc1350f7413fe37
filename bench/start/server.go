package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	readyWithin = 30 * time.Second
	stopWithin  = 20 * time.Second
	pollEvery   = 2 * time.Millisecond
)

// A server is a running `pavise up`.
type server struct {
	cmd    *exec.Cmd
	out    *bytes.Buffer // both outputs; read only after the process has ended
	access access
	ready  time.Duration // from exec until it said so
}

// An access is what access.json in the data directory says.
type access struct {
	Server string `json:"server"`
	Token  string `json:"token"`
}

// start runs pavise and waits until it is ready.
func start(ctx context.Context, binary, data string) (*server, error) {
	s := &server{out: &bytes.Buffer{}}
	s.cmd = exec.Command(binary, "up", "--data", data, "--listen", "127.0.0.1:0")
	s.cmd.Stdout, s.cmd.Stderr = s.out, s.out
	began := time.Now()
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	for !s.isReady(ctx, data) {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("pavise up was not ready within %v: %w", readyWithin, errors.Join(ctx.Err(), s.stop()))
		case <-time.After(pollEvery):
		}
	}
	s.ready = time.Since(began)
	return s, nil
}

func (s *server) isReady(ctx context.Context, data string) bool {
	text, err := os.ReadFile(filepath.Join(data, "access.json"))
	if err != nil || json.Unmarshal(text, &s.access) != nil {
		return false
	}
	status, _, err := s.send(ctx, http.MethodGet, "/v2/health/ready", "", nil)
	return err == nil && status == http.StatusOK
}

// send asks the server, with a bearer token unless it is empty.
func (s *server) send(ctx context.Context, method, path, token string, body []byte) (status int, answer []byte, err error) {
	r, err := http.NewRequestWithContext(ctx, method, s.access.Server+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

// eachCaller is how many inferences one caller asks for, which is less than the
// burst that a route admits when nobody says otherwise.
const eachCaller = 200

// model is the sample that up puts behind the firewall.
const model = "/v2/models/threat-detector"

// infer asks the sample model n times, as so many callers that none of them
// meets a limit, and counts what was answered and what was refused.
func (s *server) infer(ctx context.Context, n int) (answered, refused int, err error) {
	var token string
	var question []byte
	for i := range n {
		if i%eachCaller == 0 {
			if token, err = s.mint(ctx, fmt.Sprintf("bench-%d", i/eachCaller)); err != nil {
				return answered, refused, err
			}
			if question, err = s.question(ctx, token); err != nil {
				return answered, refused, err
			}
		}
		status, answer, err := s.send(ctx, http.MethodPost, model+"/infer", token, question)
		switch {
		case err != nil:
			return answered, refused, err
		case status == http.StatusOK:
			answered++
		case status == http.StatusTooManyRequests:
			refused++
		default:
			return answered, refused, fmt.Errorf("an inference got %d: %s", status, answer)
		}
	}
	return answered, refused, nil
}

// question returns an inference request of one row of zeros, shaped as the
// model's own description says.
func (s *server) question(ctx context.Context, token string) ([]byte, error) {
	status, answer, err := s.send(ctx, http.MethodGet, model, token, nil)
	if err != nil {
		return nil, err
	}
	type tensor struct {
		Name     string    `json:"name"`
		Datatype string    `json:"datatype"`
		Shape    []int     `json:"shape"`
		Data     []float32 `json:"data"`
	}
	var described struct {
		Inputs []tensor `json:"inputs"`
	}
	if status != http.StatusOK || json.Unmarshal(answer, &described) != nil || len(described.Inputs) != 1 || len(described.Inputs[0].Shape) != 2 {
		return nil, fmt.Errorf("GET %s answered %d: %s", model, status, answer)
	}
	in := &described.Inputs[0]
	in.Shape[0] = 1
	in.Data = make([]float32, in.Shape[1])
	return json.Marshal(described)
}

// mint asks for a caller's token.
func (s *server) mint(ctx context.Context, subject string) (string, error) {
	body, err := json.Marshal(map[string]any{"subject": subject, "role": []string{"caller"}})
	if err != nil {
		return "", err
	}
	status, answer, err := s.send(ctx, http.MethodPost, "/v1/issuer.mint", s.access.Token, body)
	if err != nil {
		return "", err
	}
	var minted struct {
		Token string `json:"token"`
	}
	if status != http.StatusOK || json.Unmarshal(answer, &minted) != nil || minted.Token == "" {
		return "", fmt.Errorf("issuer.mint answered %d: %s", status, answer)
	}
	return minted.Token, nil
}

// A memory is what a process holds, in bytes.
type memory struct{ now, peak int64 }

// memory reads VmRSS and VmHWM of /proc/PID/status, which counts in kB of 1024.
func (s *server) memory() (memory, error) {
	var m memory
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return m, err
	}
	for line := range strings.Lines(string(text)) {
		for name, to := range map[string]*int64{"VmRSS:": &m.now, "VmHWM:": &m.peak} {
			if value, ok := strings.CutPrefix(line, name); ok {
				if _, err := fmt.Sscanf(value, "%d kB", to); err != nil {
					return m, fmt.Errorf("read %q: %w", line, err)
				}
				*to *= 1024
			}
		}
	}
	return m, nil
}

// stop interrupts pavise as Ctrl-C does, and kills it if that is not enough.
func (s *server) stop() error {
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		return errors.Join(err, s.ended())
	}
	kill := time.AfterFunc(stopWithin, func() { s.cmd.Process.Kill() })
	defer kill.Stop()
	return s.ended()
}

// ended waits for the process, and shows what it said when it ended badly.
func (s *server) ended() error {
	if err := s.cmd.Wait(); err != nil {
		return fmt.Errorf("pavise up: %w\n%s", err, s.out)
	}
	return nil
}
