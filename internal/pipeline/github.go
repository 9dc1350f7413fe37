package pipeline

import (
	"cmp"
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/outbound"
)

// EventGitHub is the event of GitHub's that says that a deployment waits.
const EventGitHub = "deployment_protection_rule"

// A GitHub asks one repository of GitHub's as an app (its REST API of 2022-11-28): nobody
// else may answer for a custom deployment protection rule. It is used by one goroutine at
// a time.
type GitHub struct {
	wire        *outbound.Wire
	owner, name string
	app         string
	signer      jose.Signer
	now         func() time.Time

	token string // of the installation
	until time.Time
}

// NewGitHub returns the repository owner/name at a wire, asked as the app with an id, whose
// private key is PEM. The error is of kind Invalid.
func NewGitHub(wire *outbound.Wire, project, app, key string, now func() time.Time) (*GitHub, error) {
	private, err := readKey(key)
	if err != nil {
		return nil, err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: private}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return nil, fmt.Errorf("sign as an app of GitHub: %w", err)
	}
	owner, name, _ := strings.Cut(project, "/")
	return &GitHub{wire: wire, owner: owner, name: name, app: app, signer: signer, now: now}, nil
}

// readKey reads the private key of an app.
func readKey(text string) (*rsa.PrivateKey, error) {
	invalid := &pavise.Error{Kind: pavise.Invalid, Msg: "the secret is no private key of an app of GitHub", Hint: "--secret-file FILE, with the key that GitHub gave for the app: PEM, RSA"}
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, invalid
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	private, ok := key.(*rsa.PrivateKey)
	if err != nil || !ok {
		return nil, invalid
	}
	return private, nil
}

// callback is where an answer goes, as GitHub names it: only what it is of is read.
var callback = regexp.MustCompile(`/repos/([^/?#]+/[^/?#]+)/actions/runs/([0-9]{1,18})/deployment_protection_rule$`)

// ReadRequest reads a message of GitHub's that says that a deployment of a project waits.
// Nothing of it is believed but which run and environment to look at. The error is of kind
// Invalid for what is no such message, or is of another project.
func ReadRequest(body []byte, project string) (Deployment, error) {
	invalid := func(why string) error {
		return &pavise.Error{Kind: pavise.Invalid, Msg: "the message of GitHub " + why, Hint: "the app's webhook sends " + EventGitHub + " of the repository that the tool is of"}
	}
	var m struct {
		Action      string `json:"action"`
		Environment string `json:"environment"`
		Callback    string `json:"deployment_callback_url"`
		Deployment  struct {
			ID int64 `json:"id"`
		} `json:"deployment"`
	}
	if err := json.Unmarshal(body, &m); err != nil {
		return Deployment{}, invalid("is no JSON of its kind")
	}
	at := callback.FindStringSubmatch(m.Callback)
	switch {
	case m.Action != "requested":
		return Deployment{}, invalid("asks for nothing that is known")
	case at == nil || !plain(m.Environment) || m.Deployment.ID < 0:
		return Deployment{}, invalid("names no deployment")
	case !strings.EqualFold(at[1], project):
		return Deployment{}, invalid("is of another repository")
	}
	number, err := strconv.ParseInt(at[2], 10, 64)
	if err != nil || number <= 0 {
		return Deployment{}, invalid("names no run")
	}
	id := fmt.Sprintf("%d-%d", number, m.Deployment.ID)
	if m.Deployment.ID == 0 {
		sum := sha256.Sum256([]byte(m.Environment))
		id = fmt.Sprintf("%d-%s", number, hex.EncodeToString(sum[:6]))
	}
	return Deployment{ID: id, Number: number, Environment: m.Environment}, nil
}

// Waiting implements Tool: GitHub tells of them by messages, and has no list.
func (g *GitHub) Waiting(context.Context) ([]Deployment, error) { return nil, nil }

// Look implements Tool.
func (g *GitHub) Look(ctx context.Context, d Deployment) (Deployment, error) {
	var run struct {
		ID      int64  `json:"id"`
		Name    string `json:"name"`
		Branch  string `json:"head_branch"`
		SHA     string `json:"head_sha"`
		Status  string `json:"status"`
		Attempt int    `json:"run_attempt"`
		URL     string `json:"html_url"`
		Actor   struct {
			ID int64 `json:"id"`
		} `json:"triggering_actor"`
		From struct {
			Name string `json:"full_name"`
		} `json:"head_repository"`
	}
	if err := g.ask(ctx, http.MethodGet, []string{"actions", "runs", strconv.FormatInt(d.Number, 10)}, nil, &run); err != nil {
		return d, gone(err)
	}
	is := d
	is.Attempt, is.Ref, is.SHA, is.Job, is.URL = run.Attempt, branch(run.Branch), run.SHA, clip(run.Name), outbound.Shown(run.URL)
	if from := run.From.Name; !strings.EqualFold(from, g.owner+"/"+g.name) { // anybody has a main in a fork of theirs
		is.Ref = branch(cmp.Or(from, "a repository that is gone") + ":" + run.Branch)
	}
	if run.Actor.ID > 0 {
		is.Account = strconv.FormatInt(run.Actor.ID, 10)
	}
	if err := is.valid(); err != nil || run.ID != d.Number {
		return d, outbound.Lies("it tells of a run that is none")
	}
	if run.Status == "completed" || d.Attempt != 0 && !is.same(d) {
		return d, ErrGone
	}
	return is, nil
}

// Answer implements Tool.
func (g *GitHub) Answer(ctx context.Context, d Deployment, yes bool, comment string, _ bool) error {
	if _, err := g.Look(ctx, d); err != nil {
		return err
	}
	return g.ask(ctx, http.MethodPost, []string{"actions", "runs", strconv.FormatInt(d.Number, 10), "deployment_protection_rule"},
		map[string]string{"environment_name": d.Environment, "state": verdict(yes), "comment": comment}, nil)
}

// Probe asks whether the app may do what it is to do.
func (g *GitHub) Probe(ctx context.Context) error {
	g.token = ""
	return g.authorize(ctx)
}

// ask asks about the repository, as the app's installation.
func (g *GitHub) ask(ctx context.Context, method string, path []string, body, into any) error {
	if err := g.authorize(ctx); err != nil {
		return err
	}
	err := g.wire.Ask(ctx, outbound.Question{
		Method: method, Path: append([]string{"repos", g.owner, g.name}, path...), Header: as(g.token), Body: body, Into: into,
	})
	if a, ok := err.(*outbound.Answer); ok && a.Status == http.StatusUnauthorized {
		g.token = "" // it was taken back: the next question gets another
	}
	return err
}

// as says who asks.
func as(token string) map[string]string {
	return map[string]string{"Authorization": "Bearer " + token, "Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
}

// authorize gets a token of the app's installation in the repository, for that alone and
// for no more than is asked, unless there is one that lasts.
func (g *GitHub) authorize(ctx context.Context) error {
	now := g.now()
	if g.token != "" && now.Before(g.until) {
		return nil
	}
	claims := jwt.Claims{Issuer: g.app, IssuedAt: jwt.NewNumericDate(now.Add(-time.Minute)), Expiry: jwt.NewNumericDate(now.Add(8 * time.Minute))}
	app, err := jwt.Signed(g.signer).Claims(claims).Serialize()
	if err != nil {
		return fmt.Errorf("sign as an app of GitHub: %w", err)
	}
	var installed struct {
		ID int64 `json:"id"`
	}
	err = g.wire.Ask(ctx, outbound.Question{Method: http.MethodGet, Path: []string{"repos", g.owner, g.name, "installation"}, Header: as(app), Into: &installed})
	if a, ok := err.(*outbound.Answer); ok && a.Status == http.StatusNotFound {
		return &outbound.Answer{Why: "the app is not installed in the repository", Status: http.StatusForbidden, Sure: true}
	}
	if err != nil {
		return err
	}
	var given struct {
		Token string    `json:"token"`
		Until time.Time `json:"expires_at"`
	}
	err = g.wire.Ask(ctx, outbound.Question{
		Method: http.MethodPost, Path: []string{"app", "installations", strconv.FormatInt(installed.ID, 10), "access_tokens"}, Header: as(app),
		Body: map[string]any{"repositories": []string{g.name}, "permissions": map[string]string{"actions": "read", "deployments": "write"}}, Into: &given,
	})
	if err != nil {
		return err
	}
	if given.Token == "" || strings.ContainsFunc(given.Token, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return outbound.Lies("it gives a token that is none")
	}
	g.token, g.until = given.Token, now.Add(min(given.Until.Sub(now)-5*time.Minute, 50*time.Minute))
	return nil
}
