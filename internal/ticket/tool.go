package ticket

import (
	"cmp"
	"context"
	"crypto/x509"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/cdevents"
	"github.com/pavise/pavise/internal/hook"
	"github.com/pavise/pavise/internal/outbound"
	"github.com/pavise/pavise/internal/pipeline"
)

// The kinds of tool.
const (
	jira       = "jira"
	serviceNow = "servicenow"
	gitHub     = "github"
	gitLab     = "gitlab"
	pagerDuty  = "pagerduty"
	cdEvents   = "cloudevents"
	webhooks   = "webhook"

	gitHubDeployments = "github-deployments"
	gitLabDeployments = "gitlab-deployments"
)

// kinds are those of tool, and whether words are read there.
var kinds = map[string]bool{jira: true, serviceNow: true, gitHub: true, gitLab: true, pagerDuty: false, cdEvents: false, webhooks: false, gitHubDeployments: false, gitLabDeployments: false}

// holds reports whether deployments wait in a kind of tool. One such is told of no changes.
func holds(kind string) bool { return kind == gitHubDeployments || kind == gitLabDeployments }

// A tool is one that people work with, asked in its own words. Errors that say what the
// tool answered are of type *outbound.Answer.
type tool interface {
	// open returns the ticket of a step's change, and makes it unless there is one that
	// carries its mark.
	open(ctx context.Context, s step) (ticket, error)
	// tell tells one more step of a ticket. again: it may have been told already.
	tell(ctx context.Context, t ticket, s step, again bool) error
	// words returns what people said on a ticket that could be votes, oldest first. Where the
	// ticket no longer shows what it was told with the step that opened it, they are spoiled. A
	// tool that is only told of changes has none.
	words(ctx context.Context, t ticket, opened step) ([]word, error)
}

// A prober asks whether a tool would take what it is sent.
type prober interface {
	Probe(ctx context.Context) error
}

// A ticket is one in a tool.
type ticket struct {
	ID     string    `json:"id"`              // by which the tool is asked
	Name   string    `json:"name"`            // as people call it
	URL    string    `json:"url,omitempty"`   // where they look at it
	Opened time.Time `json:"opened,omitzero"` // by the tool's clock
}

// A word is something that somebody said on a ticket, and that may be a vote.
type word struct {
	id      string // the tool's own
	account string // the tool's own id of who said it
	said    time.Time
	digest  string // of what they looked at, or its first digits
	yes     bool
	reason  string
	spoiled string // why it cannot count, as the tool itself says; "": it can
}

// reworded is why a word does not count that was said on a ticket which shows something else
// than it was told.
const reworded = "somebody changed what the ticket says: look here what it is about, and vote here"

// asTold spoils words on a ticket that shows something else than it was told, but for how lines
// are laid out: nobody knows what those looked at who said them.
func asTold(all []word, is, was string) []word {
	if !slices.Equal(strings.Fields(is), strings.Fields(was)) {
		for i := range all {
			all[i].spoiled = cmp.Or(all[i].spoiled, reworded)
		}
	}
	return all
}

// A target is what a tool's envelope holds.
type target struct {
	Kind    string     `json:"kind"`
	URL     string     `json:"url"`
	Project string     `json:"project,omitempty"`
	User    string     `json:"user,omitempty"`
	Secret  string     `json:"secret,omitempty"`
	Keys    []hook.Key `json:"keys"` // sign what it is sent, or verify what comes from it
}

// String tells nothing of the secrets.
func (t target) String() string { return t.Kind + " at " + t.where() }

// GoString is String.
func (t target) GoString() string { return t.String() }

// where is where the tool is and what in it is meant: accounts are mapped for that alone.
func (t target) where() string {
	u, err := url.Parse(t.URL)
	if err != nil {
		return t.Kind
	}
	where := u.Scheme + "://" + u.Host
	if kinds[t.Kind] || holds(t.Kind) {
		where += strings.TrimSuffix(u.Path, "/") // of one that takes messages, it may be a secret
	}
	if t.Project != "" {
		where += " " + t.Project
	}
	return where
}

// Bounds of what is put, in bytes.
const (
	maxName   = 64
	maxSecret = 8 << 10
	maxText   = 256
)

var (
	jiraProject   = regexp.MustCompile(`^[A-Z][A-Z0-9_]{1,63}$`)
	gitHubProject = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}/[A-Za-z0-9._-]{1,100}$`)
	gitLabProject = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,100}(/[A-Za-z0-9_.-]{1,100}){0,8}$`)
	foreign       = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$`) // an id that a tool gives
)

// check refuses a target that could never work. The error is of kind Invalid.
func (t target) check(reach outbound.Reach) error {
	invalid := func(hint, format string, args ...any) error {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf(format, args...), Hint: hint}
	}
	if _, ok := kinds[t.Kind]; !ok {
		return invalid("it is jira, servicenow, github, gitlab, pagerduty, cloudevents, webhook, github-deployments or gitlab-deployments", "there is no kind of tool %.40q", t.Kind)
	}
	u, err := reach.Address(t.URL)
	if err != nil {
		return err
	}
	wants := map[string]*regexp.Regexp{jira: jiraProject, gitHub: gitHubProject, gitLab: gitLabProject, gitHubDeployments: gitHubProject, gitLabDeployments: gitLabProject}[t.Kind]
	signs := t.Kind == cdEvents || t.Kind == webhooks
	switch {
	case (kinds[t.Kind] || holds(t.Kind)) && u.RawQuery != "":
		return invalid("give it without what follows ?", "the address of a %s has a query", t.Kind)
	case len(t.Secret) > maxSecret || len(t.User) > maxText || strings.ContainsFunc(t.Secret+t.User, func(c rune) bool { return (c < ' ' || c > '~') && !(t.Kind == gitHubDeployments && c == '\n') }):
		return invalid("put the token alone into the file", "the user or the secret of the tool is too long, or holds what no header can")
	case wants != nil && (!wants.MatchString(t.Project) || slices.Contains(strings.Split(t.Project, "/"), "..")):
		return invalid("--project: OPS for Jira, owner/name for GitHub and GitLab", "%.60q is no project of %s", t.Project, t.Kind)
	case wants == nil && t.Project != "":
		return invalid("leave out --project", "a %s has no project", t.Kind)
	case !signs && t.Secret == "":
		return invalid("--secret-file FILE, with a token, a password or a routing key", "%s is asked with a secret", t.Kind)
	case signs && (t.Secret != "" || t.User != ""):
		return invalid("leave out --user and --secret-file: messages are signed, with a secret that you are shown", "a %s is asked with no secret", t.Kind)
	case t.Kind == gitHubDeployments && !foreign.MatchString(t.User):
		return invalid("--user ID, the client ID of the app", "GitHub is answered by an app alone, and none is named")
	case t.User != "" && t.Kind != jira && t.Kind != serviceNow && t.Kind != gitHubDeployments:
		return invalid("leave out --user", "a %s is asked with a token alone", t.Kind)
	}
	if t.Kind == gitHubDeployments {
		_, err = pipeline.NewGitHub(nil, t.Project, t.User, t.Secret, nil)
	}
	return err
}

// dial returns the tool of a target: a tool, or a pipeline.Tool where deployments wait.
func (t target) dial(reach outbound.Reach, roots *x509.CertPool, m marks, now func() time.Time) (prober, error) {
	u, err := reach.Address(t.URL)
	if err != nil {
		return nil, err // it was put by an installation that allowed it
	}
	w := &wire{Wire: outbound.Wire{Client: reach.Client(u, roots), Base: u, User: t.User, Secret: t.Secret}, target: t, marks: m, now: now}
	if holds(t.Kind) {
		w.User = "" // headers say who asks
	}
	switch t.Kind {
	case gitHubDeployments:
		return pipeline.NewGitHub(&w.Wire, t.Project, t.User, t.Secret, now)
	case gitLabDeployments:
		return pipeline.NewGitLab(&w.Wire, t.Project, t.Secret), nil
	case jira:
		return &jiraTool{w}, nil
	case serviceNow:
		return &serviceNowTool{w}, nil
	case gitHub:
		return &gitHubTool{w}, nil
	case gitLab:
		return &gitLabTool{w}, nil
	case pagerDuty:
		return &pagerDutyTool{w}, nil
	case cdEvents:
		return &eventTool{wire: w, spell: spellEvents, media: cdevents.Media}, nil
	case webhooks:
		return &eventTool{wire: w, spell: plainEvent, media: "application/json"}, nil
	}
	return nil, fmt.Errorf("a tool of kind %.40q", t.Kind)
}
