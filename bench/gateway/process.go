package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The cores that are measured on: one for the proxy, one for all else. With fewer than
// two, nothing is pinned.
const (
	loadCore  = 0
	proxyCore = 1
)

// pinned reports whether processes are pinned to cores.
func pinned() bool {
	_, err := exec.LookPath("taskset")
	return err == nil && runtime.NumCPU() >= 2
}

// command is a program on a core. It ends with us, whatever happens to us.
func command(core int, name string, args ...string) *exec.Cmd {
	if pinned() {
		name, args = "taskset", append([]string{"-c", strconv.Itoa(core), name}, args...)
	}
	cmd := exec.Command(name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// A process is one that we have started.
type process struct {
	cmd *exec.Cmd
	out *bytes.Buffer // both outputs; read only after it has ended
}

func start(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, out: &bytes.Buffer{}}
	if cmd.Stdout == nil {
		cmd.Stdout = p.out
	}
	cmd.Stderr = p.out
	// Pdeathsig follows the thread that started the child, so it must stay.
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		started <- cmd.Start()
		select {}
	}()
	return p, <-started
}

// stop interrupts the process, and kills it if that is not enough.
func (p *process) stop() error {
	p.cmd.Process.Signal(os.Interrupt)
	kill := time.AfterFunc(20*time.Second, func() { p.cmd.Process.Kill() })
	defer kill.Stop()
	err := p.cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && (exit.Exited() && exit.ExitCode() == 130 || !exit.Exited()) {
		return nil // ended by the interrupt
	}
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(p.cmd.Path), err, p.out)
	}
	return nil
}

// family are the process and all that it has started, nginx's worker for example.
func (p *process) family() []int {
	children := map[int][]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if f := stat(pid); len(f) > 1 {
			parent, _ := strconv.Atoi(f[1])
			children[parent] = append(children[parent], pid)
		}
	}
	all := []int{p.cmd.Process.Pid}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all
}

// stat returns the fields of /proc/PID/stat behind the program's name, of which the
// first is the state.
func stat(pid int) []string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	return strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
}

// tick is the kernel's unit of processor time in /proc, on every Linux that Go knows.
const tick = 10 * time.Millisecond

// cpu is the processor time of the family so far.
func (p *process) cpu() (total time.Duration) {
	for _, pid := range p.family() {
		if f := stat(pid); len(f) > 12 {
			user, _ := strconv.Atoi(f[11])
			system, _ := strconv.Atoi(f[12])
			total += time.Duration(user+system) * tick
		}
	}
	return total
}

// rss is what the family holds in memory, in bytes.
func (p *process) rss() (total int64) {
	for _, pid := range p.family() {
		if f := stat(pid); len(f) > 21 {
			pages, _ := strconv.ParseInt(f[21], 10, 64)
			total += pages * int64(os.Getpagesize())
		}
	}
	return total
}

// startUpstream starts the model server and returns where it listens.
func startUpstream() (p *process, addr string, stop func() error, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, "", nil, err
	}
	cmd := command(loadCore, self, "-be", "upstream")
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, "", nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, "", nil, err
	}
	if p, err = start(cmd); err != nil {
		return nil, "", nil, err
	}
	addr, err = bufio.NewReader(out).ReadString('\n')
	return p, strings.TrimSpace(addr), func() error { in.Close(); return cmd.Wait() }, err
}

// A window is what a generator saw of a proxy, and the proxy itself meanwhile.
type window struct {
	tally
	cpu time.Duration // of the proxy, within the time measured
	rss int64         // of the proxy, at its end
}

// under has a generator do a job while a proxy is watched. At each word that the
// generator says, between may look closer.
func under(ctx context.Context, p *process, j job, between func(word string)) (w window, err error) {
	self, err := os.Executable()
	if err != nil {
		return w, err
	}
	cmd := command(loadCore, self, "-be", "load")
	in, err := cmd.StdinPipe()
	if err != nil {
		return w, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return w, err
	}
	child, err := start(cmd)
	if err != nil {
		return w, err
	}
	defer context.AfterFunc(ctx, func() { cmd.Process.Kill() })()
	if err := json.NewEncoder(in).Encode(j); err != nil {
		return w, err
	}
	lines := bufio.NewReader(out)
	var before time.Duration
	for word := ""; word != "end"; {
		line, err := lines.ReadString('\n')
		if err != nil {
			return w, fmt.Errorf("the load broke off: %w\n%s", errors.Join(err, cmd.Wait()), child.out)
		}
		switch word = strings.TrimSpace(line); word {
		case "begin":
			before = p.cpu()
		case "held":
			if between != nil {
				between(word)
			}
			io.WriteString(in, ".")
		case "end":
			w.cpu, w.rss = p.cpu()-before, p.rss()
		}
	}
	if err := json.NewDecoder(lines).Decode(&w.tally); err != nil {
		return w, err
	}
	return w, cmd.Wait()
}

// listening waits until somebody listens on an address.
func listening(p *process, addr string) error {
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("tcp", addr); err == nil {
			return c.Close()
		}
		if syscall.Kill(p.cmd.Process.Pid, 0) != nil {
			break
		}
	}
	return fmt.Errorf("%s does not listen on %s: %w", filepath.Base(p.cmd.Path), addr, p.stop())
}

// files is how many files a process may hold open here, at most.
func files() int {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return 1024
	}
	limit.Cur = limit.Max
	unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	return int(min(limit.Max, 1<<20))
}
