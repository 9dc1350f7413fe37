package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/pavise/pavise/internal/audit"
	"github.com/pavise/pavise/internal/screen"
)

// TestProgressNeedsATerminal counts on a pipe and into a file: nothing of it gets there.
func TestProgressNeedsATerminal(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var pipe bytes.Buffer
	for _, w := range []io.Writer{&pipe, file} {
		c := &cli{stderr: screen.NewTerminal(w)}
		c.progress()(longCopy, longCopy)
		c.counting(audit.Options{}).Progress(1)
		c.counted()
	}
	if written, err := os.ReadFile(file.Name()); err != nil || len(written) > 0 || pipe.Len() > 0 {
		t.Errorf("written %q and %q, %v", written, pipe.String(), err)
	}
}

// TestStrangeTerminal lets every command show what the maker of a ledger
// directory wrote, and what a server says that is none of ours.
func TestStrangeTerminal(t *testing.T) {
	const evil = "log\x1b]0;owned\a\u009b2J\u202e"
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "origin"), []byte(evil+"+00000000+AAAA\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	stranger := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text := strconv.QuoteToASCII(evil)
		text = strings.NewReplacer(`\x1b`, `\u001b`, `\a`, `\u0007`).Replace(text)
		switch r.URL.Path {
		case "/v1/ledger.status":
			fmt.Fprintf(w, `{"origin":%s,"key":%s,"fingerprint":%s,"problem":%s}`, text, text, text, text)
		case "/v1/policy.explain":
			fmt.Fprintf(w, `{"status":%s,"decision":%s,"why":%s,"errors":[%s],"roles":[%s],"decided":[{"id":%s,"text":%s}]}`, text, text, text, text, text, text, text)
		case "/v1/policy.list":
			fmt.Fprintf(w, `{"policies":[{"id":%s,"text":%s}],"digest":%s}`, text, text, text)
		case "/v1/route.list":
			fmt.Fprintf(w, `{"routes":[{"upstream":%s}]}`, text)
		case "/v1/console.link":
			fmt.Fprintf(w, `{"link":%s}`, text)
		case "/v1/ledger.read":
			fmt.Fprintf(w, `{"index":1,"record":{"kind":%s}}`, text)
		default:
			w.WriteHeader(403)
			fmt.Fprintf(w, `{"status":403,"title":"denied","detail":%s,"hint":%s}`, text, text)
		}
	}))
	defer stranger.Close()
	t.Setenv("PAVISE_SERVER", stranger.URL)
	t.Setenv("PAVISE_TOKEN", "x")
	for command, code := range map[string]int{
		"ledger verify " + dir: 7,
		"ledger verify " + dir + " --key " + strings.Repeat("0", 64): 7,
		"ledger verify " + dir + evil:                                4,
		"ledger status":                                              0,
		"ledger read 1":                                              0,
		"policy list":                                                0,
		"policy explain --record 1":                                  0,
		"route list":                                                 0,
		"console link":                                               0,
		"clock accept":                                               3,
		"ledger read " + evil:                                        2,
		evil:                                                         2,
	} {
		for _, args := range [][]string{strings.Fields(command), append([]string{"--json"}, strings.Fields(command)...)} {
			got, stdout, stderr := pavised(t, args...)
			if i := strings.IndexFunc(stdout+stderr, func(r rune) bool { return !unicode.IsGraphic(r) && r != '\n' }); got != code || i >= 0 {
				t.Errorf("%q: exit code %d, want %d, and at %d: %q", args, got, code, i, stdout+stderr)
			}
			if stdout+stderr == "" {
				t.Errorf("%q prints nothing", args)
			}
		}
	}
}

// TestJSONLosesNothing prints what a terminal must not see.
func TestJSONLosesNothing(t *testing.T) {
	const text = "a\x1b\u009b\u202e\U000e0001\u00a0\U0001f600 <&>\n\t\\u0007\u007f"
	var out bytes.Buffer
	var back map[string]string
	if err := screen.WriteJSON(&out, map[string]string{"text": text}, "  "); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out.Bytes(), &back); err != nil || back["text"] != text {
		t.Errorf("%s is %q, %v", out.Bytes(), back["text"], err)
	}
}
