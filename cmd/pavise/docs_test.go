package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// said are the commands of a text: in backticks, or alone on a line after a prompt or
// spaces.
var said = regexp.MustCompile("`(?:\\$ )?(?:go run \\./cmd/)?pavise ([^`]+)`|(?m:^(?:    |\\$ )(?:go run \\./cmd/)?pavise ([^\n]*)$)")

// flagged is a flag in a command.
var flagged = regexp.MustCompile(`(?:^|[\s\[(])--([a-z][a-z0-9-]*)`)

// TestDocsNameCommandsThatExist looks for every command in the README and the docs, and
// for each of its flags, among those that the program takes.
func TestDocsNameCommandsThatExist(t *testing.T) {
	c := &cli{}
	parser, err := c.parser(func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	commands := 0
	for _, file := range append(files, "../../README.md", "../../LIMITATIONS.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range said.FindAllStringSubmatch(string(text), -1) {
			line := strings.Join(strings.Fields(m[1]+m[2]), " ")
			commands++
			if wrong := misnamed(parser.Model.Node, line); wrong != "" {
				t.Errorf("%s: pavise %s: there is no %s", filepath.Base(file), line, wrong)
			}
		}
	}
	if commands < 50 {
		t.Errorf("%d commands were found", commands)
	}
}

// misnamed returns the command or flag of a line that the program does not have, or "".
func misnamed(node *kong.Node, line string) string {
	flags := slices.Clone(node.Flags)
	words := strings.Fields(line)
	for len(words) > 0 && len(node.Children) > 0 && !strings.HasPrefix(words[0], "-") {
		at := slices.IndexFunc(node.Children, func(n *kong.Node) bool { return n.Name == strings.Trim(words[0], ".,;:") })
		if at < 0 {
			return "command " + words[0]
		}
		node, words = node.Children[at], words[1:]
		flags = append(flags, node.Flags...)
	}
	for _, m := range flagged.FindAllStringSubmatch(line, -1) {
		if !slices.ContainsFunc(flags, func(f *kong.Flag) bool { return f.Name == m[1] || m[1] == "no-"+f.Name }) {
			return "flag --" + m[1]
		}
	}
	return ""
}
