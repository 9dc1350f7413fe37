// Package jinja knows what templates of conversations do that has nothing to do with
// conversations. It reads their tags and runs nothing; it owns no state.
package jinja

import (
	"regexp"
	"strings"
)

// attacks are what templates of conversations have no use for: the ways from a value to
// Python's inner parts, which run code where the template is not rendered in a sandbox
// (CVE-2024-34359).
var attacks = regexp.MustCompile(`__\w+__|\\x5f|\\u005f|\|\s*attr\s*\(|\b(?:lipsum|cycler|joiner|self\._|request\.application|popen|getattr|subprocess|os\.system|import os|config\.from_)\b|\{%-?\s*(?:include|import|extends|from)\b|\[\s*['"]_+['"]\s*[~+]|['"]__`)

// Attack finds the first tag of a template that reaches for Python's inner parts: where it begins,
// the tag, and by what it does. Without one by is empty. What stands between tags is text.
func Attack(text string) (at int, tag, by string) {
	for {
		from, to := nextTag(text, at)
		if from < 0 {
			return 0, "", ""
		}
		if by = attacks.FindString(text[from:to]); by != "" {
			return from, text[from:to], by
		}
		at = to
	}
}

// nextTag finds the next tag of a template. As for Jinja, what closes it does not count in a
// text in quotes; a tag that never closes goes on to the end.
func nextTag(text string, at int) (from, to int) {
	for from = at; ; from++ {
		i := strings.IndexByte(text[from:], '{')
		if i < 0 || from+i+1 >= len(text) {
			return -1, -1
		}
		if from += i; text[from+1] == '{' || text[from+1] == '%' {
			break
		}
	}
	closing := "}}"
	if text[from+1] == '%' {
		closing = "%}"
	}
	quote := byte(0)
	for to = from + 2; to < len(text); to++ {
		switch c := text[to]; {
		case quote != 0 && c == '\\':
			to++
		case c == quote:
			quote = 0
		case quote == 0 && (c == '\'' || c == '"'):
			quote = c
		case quote == 0 && strings.HasPrefix(text[to:], closing):
			return from, to + 2
		}
	}
	return from, len(text)
}
