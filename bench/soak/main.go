// Command soak puts an hour of load into the results: it runs the test that `make soak`
// runs, or reads what it has printed before, and keeps what the process took meanwhile.
//
// Run it from the bench directory:
//
//	go run ./soak [--length 1h | --from LOG] [--write]
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"github.com/pavise/pavise/bench/result"
)

func main() { result.Main("soak", run) }

func run(ctx context.Context) error {
	length := flag.Duration("length", time.Hour, "for how long")
	from := flag.String("from", "", "read this log of make soak, and run nothing")
	write := flag.Bool("write", false, "put the result into "+result.File)
	flag.Parse()
	conditions := result.Observe(".")
	command, ended := fmt.Sprintf("cd bench && go run ./soak --length %v --write", *length), ""
	log, err := os.ReadFile(*from)
	if *from == "" {
		log, err = soak(ctx, *length)
		ended = "\nConditions:\n\n" + conditions.String()
	} else {
		command = "make soak >LOG`, and `cd bench && go run ./soak --from LOG --write"
	}
	if err != nil {
		return err
	}
	text, err := report(string(log), command)
	if err != nil {
		return err
	}
	fmt.Print(text + ended)
	if *write {
		return result.Write(result.File, "soak", text+ended)
	}
	return nil
}

// soak runs the test and returns what it prints.
func soak(ctx context.Context, length time.Duration) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-count=1", "-timeout", "0", "-v", "-run", "^TestSoak$", "./cmd/pavise")
	cmd.Dir, cmd.Env = "..", append(os.Environ(), "PAVISE_SOAK="+length.String())
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&out, os.Stderr), os.Stderr
	err := cmd.Run()
	return out.Bytes(), err
}

// What the test prints.
var (
	look   = regexp.MustCompile(`(?m)^ +soak_test.go:\d+: +(\S+) +(\d+) +([\d.]+) +([\d.]+) +(\d+) +(\d+)$`)
	asked  = regexp.MustCompile(`(?m)(\d+) requests in (\S+)$`)
	median = regexp.MustCompile(`(?m)^ +soak_test.go:\d+: (.+), medians of the quarters: ([\d.]+) ([\d.]+) ([\d.]+) ([\d.]+)$`)
)

// every is how many of the moments printed are kept, one in so many.
const every = 5

// report writes the section. The error is of a log of a test that has not passed.
func report(log, command string) (string, error) {
	total := asked.FindStringSubmatch(log)
	if total == nil || !strings.Contains(log, "--- PASS: TestSoak") {
		return "", errors.New("this is no log of a soak that passed: it says neither how many requests there were nor --- PASS")
	}
	var s strings.Builder
	fmt.Fprintf(&s, "## An hour of load\n\nMade by `%s`.\n\n", command)
	fmt.Fprintf(&s, "%s requests in %s, of which none was answered otherwise than it should be: OIP as JSON, binary and gRPC, predict, TorchServe and MLflow, chat, streams and streams that their callers left, one in ten refused; and every two seconds a change of a route's terms, its server, or a policy.\n\n", total[1], total[2])
	t := result.NewTable("median of each quarter of the time", "first", "second", "third", "last")
	for _, m := range median.FindAllStringSubmatch(log, -1) {
		t.Row(m[1:]...)
	}
	fmt.Fprintf(&s, "%s\nThe last may be above the second by a tenth and a little. The heap is the one at which the runtime collects next.\n\n", t)
	t = result.NewTable("after", "requests", "resident MB", "heap MB", "goroutines", "open files")
	for i, m := range look.FindAllStringSubmatch(log, -1) {
		if i%every == 0 {
			t.Row(m[1:]...)
		}
	}
	return s.String() + t.String(), nil
}
