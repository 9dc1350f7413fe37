package kubetest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"iter"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// sorted goes through an object by its keys in their order.
func sorted(v map[string]any) iter.Seq2[string, any] {
	keys := slices.Sorted(maps.Keys(v))
	return func(yield func(string, any) bool) {
		for _, key := range keys {
			if !yield(key, v[key]) {
				return
			}
		}
	}
}

// query cleans a query.
func (c cleaner) query(text string) string {
	q, err := url.ParseQuery(text)
	if err != nil || q.Get("continue") == "" {
		return text
	}
	q.Set("continue", c.number(counted["continue"], q.Get("continue")))
	return q.Encode()
}

// Read returns the exchanges of a file.
func Read(t testing.TB, path string) (list []Exchange) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e Exchange
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if e.Same > 0 && e.Same <= len(list) {
			e.Answer, e.Same = list[e.Same-1].Answer, 0
		}
		list = append(list, e)
	}
	if len(list) == 0 || lines.Err() != nil {
		t.Fatalf("%s has %d exchanges: %v", path, len(list), lines.Err())
	}
	return list
}

// Write keeps exchanges in a file, one a line. An answer that was given before is not written
// twice.
func Write(t testing.TB, path string, list []Exchange) {
	t.Helper()
	var text bytes.Buffer
	to := json.NewEncoder(&text)
	to.SetEscapeHTML(false)
	lines := map[string]int{}
	for i, e := range list {
		if at := lines[string(e.Answer)]; at > 0 {
			e.Answer, e.Same = nil, at
		} else {
			lines[string(e.Answer)] = i + 1
		}
		if err := to.Encode(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}
