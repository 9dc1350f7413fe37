// Package pipeline asks about deployments that wait in tools of others for somebody to say
// yes: those of GitHub Actions, which custom deployment protection rules hold back, and
// those of GitLab to protected environments. It reads what the tools say of them, and gives
// them their answer. It decides nothing.
//
// It owns the tokens that it is given for an app of GitHub, while they last.
package pipeline

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/pavise/pavise/internal/outbound"
)

// A Deployment is one that waits, as its tool tells of it.
type Deployment struct {
	ID          string `json:"id"`                // never that of another one of the same project
	Number      int64  `json:"number"`            // by which the tool is asked: of GitHub's workflow run, of GitLab's deployment
	Attempt     int    `json:"attempt,omitempty"` // of GitHub's run
	Environment string `json:"environment"`
	Ref         string `json:"ref"`
	SHA         string `json:"sha"`
	Job         string `json:"job,omitempty"`     // the workflow, or the job
	Account     string `json:"account,omitempty"` // the tool's own id of who began it
	URL         string `json:"url,omitempty"`     // where people look at it
}

// ErrGone is what becomes of a deployment that waits no more: it went on, was cancelled, or
// is another attempt by now.
var ErrGone = errors.New("the deployment waits no more")

// A Tool is one where deployments wait.
type Tool interface {
	// Waiting returns those that wait now, where the tool has a list of them.
	Waiting(ctx context.Context) ([]Deployment, error)
	// Look returns a deployment as it stands. The error is ErrGone if it waits no more.
	Look(ctx context.Context, d Deployment) (Deployment, error)
	// Answer says yes or no to it, with a comment that no other answer has. again: it may
	// have been said already. The error is ErrGone if it waits no more, or is not what it was.
	Answer(ctx context.Context, d Deployment, yes bool, comment string, again bool) error
}

// Bounds of what a tool says, in bytes.
const (
	maxText = 255
	maxPage = 100
)

var commit = regexp.MustCompile(`^[0-9a-f]{40}([0-9a-f]{24})?$`)

// plain reports whether a text of a tool's is fit to be shown, and to be given back.
func plain(text string) bool {
	return text != "" && len(text) <= maxText && utf8.ValidString(text) && !strings.ContainsFunc(text, func(c rune) bool { return unicode.IsControl(c) || unicode.Is(unicode.Cf, c) })
}

// valid refuses what no tool would say.
func (d Deployment) valid() error {
	if d.Number <= 0 || !plain(d.Environment) || !plain(d.Ref) || !commit.MatchString(d.SHA) {
		return outbound.Lies("it tells of a deployment that is none")
	}
	return nil
}

// same reports whether two looks saw the same deployment, of the same content.
func (d Deployment) same(o Deployment) bool {
	return d.Number == o.Number && d.Attempt == o.Attempt && d.Environment == o.Environment && d.SHA == o.SHA
}

// gone is ErrGone for what a tool does not have any more.
func gone(err error) error {
	if a, ok := errors.AsType[*outbound.Answer](err); ok && a.Status == http.StatusNotFound {
		return ErrGone
	}
	return err
}

// clip is a text of a tool's that people read, if it is fit to be.
func clip(text string) string {
	if !plain(text) {
		return ""
	}
	return text
}

// branch is what a tool calls a branch, as people can read it. Whoever may push names it: one that
// hides how it reads, or is long, keeps no other deployment from being decided on.
func branch(text string) string {
	if plain(text) {
		return text
	}
	text = strconv.QuoteToASCII(text)
	return text[:min(len(text), maxText)]
}

// verdict is an answer as both tools spell it.
func verdict(yes bool) string {
	if yes {
		return "approved"
	}
	return "rejected"
}
