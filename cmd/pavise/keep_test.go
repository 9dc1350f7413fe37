package main

import (
	"strings"
	"testing"

	"github.com/pavise/pavise/internal/audit"
	"github.com/pavise/pavise/internal/installation"
	"github.com/pavise/pavise/internal/screen"
)

// TestCommandsArePasted names the data directory when it is not the usual one.
func TestCommandsArePasted(t *testing.T) {
	t.Setenv(installation.DataVariable, "")
	for dir, want := range map[installation.Data]string{
		installation.DefaultData: " console link",
		"my data":                " console link --data 'my data'",
		"/srv/p":                 " console link --data /srv/p",
	} {
		if got := dir.Command("console link"); got != installation.Program()+want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	t.Setenv(installation.DataVariable, "elsewhere")
	if got := installation.Data(installation.DefaultData).Command("up"); got != installation.Program()+" up --data "+installation.DefaultData {
		t.Errorf("beside the environment: %s", got)
	}
}

// TestACopyOfAPrunedLog says how many records the copy holds, and not how many there
// ever were.
func TestACopyOfAPrunedLog(t *testing.T) {
	for _, tt := range []struct {
		report audit.Report
		want   string
	}{
		{audit.Report{Signed: 600, Conclusion: audit.Verified}, "backed up to x: 600 records, verified: "},
		{audit.Report{First: 512, Signed: 600, Conclusion: audit.Verified}, "backed up to x: 88 records from 512 on (those before it were pruned), verified: "},
	} {
		var out strings.Builder
		c := &cli{stdout: screen.NewTerminal(&out)}
		if err := c.kept("backed up to x", tt.report, nil); err != nil || !strings.HasPrefix(out.String(), tt.want) {
			t.Errorf("%q, want %q, %v", out.String(), tt.want, err)
		}
	}
}
