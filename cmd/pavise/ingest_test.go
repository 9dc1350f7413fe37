package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// writeLogs is "logs DIR PODS LINES [ODD]" of a script: the logs of so many pods with so many
// lines each, of which the one with number ODD wraps its lines.
func writeLogs(ts *testscript.TestScript, _ bool, args []string) {
	pods, err := strconv.Atoi(args[1])
	ts.Check(err)
	lines, err := strconv.Atoi(args[2])
	ts.Check(err)
	odd := strings.Join(args[3:], "")
	ts.Check(os.MkdirAll(ts.MkAbs(args[0]), 0o755))
	for pod := range pods {
		var log strings.Builder
		for i := range lines {
			line := fmt.Sprintf("request %d was answered in %d ms", i*7919%1000, (i+pod)*31%90)
			if i%3 == 0 {
				line = fmt.Sprintf("cache miss for key %d", i)
			}
			if strconv.Itoa(pod) == odd {
				line = fmt.Sprintf(`{"log":%q,"stream":"stdout"}`, line)
			}
			log.WriteString(line + "\n")
		}
		ts.Check(os.WriteFile(filepath.Join(ts.MkAbs(args[0]), fmt.Sprintf("pod-%d.log", pod)), []byte(log.String()), 0o644))
	}
}
