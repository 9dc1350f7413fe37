package ticket

import (
	"strings"
	"time"

	"github.com/pavise/pavise/internal/outbound"
)

// A wire asks one tool over HTTP. It is used by one goroutine at a time.
type wire struct {
	outbound.Wire
	target target
	marks  marks
	now    func() time.Time
}

// bearer is the header of a token.
func (w *wire) bearer() map[string]string {
	if w.target.User != "" {
		return nil
	}
	return map[string]string{"Authorization": "Bearer " + w.target.Secret}
}

// known returns an id that a tool gave, if it is one: it becomes part of addresses.
func known(id string) (string, error) {
	if !foreign.MatchString(id) || strings.Contains(id, "..") {
		return "", outbound.Lies("it gives an id that is none")
	}
	return id, nil
}

// maxPages bounds the pages of words that are read, and maxWords a page.
const (
	maxPages = 5
	maxWords = 100
)
