// Package tensortest is the conformance corpus of the firewall's codec: bodies
// that must be refused, each with a piece of the reason. The codec is tested with
// it, and so is every server that claims to stand behind the codec.
package tensortest

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"
)

// A Case is one hostile body of POST v2/models/{model}/infer.
type Case struct {
	Name string // unique, of letters, digits and dashes
	Want string // a piece of the error's message
	Body []byte
}

//go:embed hostile.txt
var hostile string

// Hostile returns every case of hostile.txt. The error names the line that
// cannot be read.
func Hostile() ([]Case, error) {
	var cases []Case
	n := 0
	for line := range strings.Lines(hostile) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, rest, _ := strings.Cut(line, " ")
		want, rest, err := literal(rest)
		if err != nil {
			return nil, fmt.Errorf("hostile.txt:%d: %w", n, err)
		}
		body, err := Join(rest)
		if err != nil {
			return nil, fmt.Errorf("hostile.txt:%d: %w", n, err)
		}
		cases = append(cases, Case{name, want, body})
	}
	return cases, nil
}

// Join joins terms, each a Go string literal that *N may follow to repeat it.
func Join(rest string) ([]byte, error) {
	var body []byte
	for rest != "" {
		term, tail, err := literal(rest)
		if err != nil {
			return nil, err
		}
		times := 1
		if repeat, ok := strings.CutPrefix(tail, "*"); ok {
			number, after, _ := strings.Cut(repeat, " ")
			if times, err = strconv.Atoi(number); err != nil {
				return nil, err
			}
			tail = after
		}
		body = append(body, strings.Repeat(term, times)...)
		rest = strings.TrimSpace(tail)
	}
	return body, nil
}

// literal reads the Go string literal that s begins with.
func literal(s string) (text, rest string, err error) {
	s = strings.TrimSpace(s)
	quoted, err := strconv.QuotedPrefix(s)
	if err != nil {
		return "", "", fmt.Errorf("no string literal at %.20q", s)
	}
	text, err = strconv.Unquote(quoted)
	return text, s[len(quoted):], err
}
