package pipeline

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/pavise/pavise/internal/outbound"
)

// A GitLab asks one project of GitLab's by its REST API v4, as somebody whose approval its
// protected environments take. It is used by one goroutine at a time.
type GitLab struct {
	wire           *outbound.Wire
	project, token string
}

// NewGitLab returns the project group/name at a wire, asked with a token.
func NewGitLab(wire *outbound.Wire, project, token string) *GitLab {
	return &GitLab{wire, project, token}
}

// A gitLabDeployment is what is read of a deployment.
type gitLabDeployment struct {
	ID          int64  `json:"id"`
	Ref         string `json:"ref"`
	SHA         string `json:"sha"`
	Status      string `json:"status"`
	Environment struct {
		Name string `json:"name"`
	} `json:"environment"`
	User struct {
		ID int64 `json:"id"`
	} `json:"user"`
	Job struct {
		Name string `json:"name"`
		URL  string `json:"web_url"`
	} `json:"deployable"`
	Approvals []struct {
		Comment string `json:"comment"`
	} `json:"approvals"`
}

// blocked is the state of a deployment that waits for approvals.
const blocked = "blocked"

// deployment is it as ours.
func (g gitLabDeployment) deployment() (Deployment, error) {
	d := Deployment{
		ID: strconv.FormatInt(g.ID, 10), Number: g.ID, Environment: g.Environment.Name, Ref: branch(g.Ref), SHA: g.SHA, Job: clip(g.Job.Name), URL: outbound.Shown(g.Job.URL),
	}
	if g.User.ID > 0 {
		d.Account = strconv.FormatInt(g.User.ID, 10)
	}
	return d, d.valid()
}

// Waiting implements Tool: the newest hundred.
func (g *GitLab) Waiting(ctx context.Context) ([]Deployment, error) {
	var found []gitLabDeployment
	err := g.ask(ctx, http.MethodGet, nil, url.Values{"status": {blocked}, "per_page": {strconv.Itoa(maxPage)}, "order_by": {"id"}, "sort": {"desc"}}, nil, &found)
	if err != nil {
		return nil, err
	}
	all := []Deployment{}
	for _, one := range found[:min(len(found), maxPage)] {
		d, err := one.deployment()
		if err != nil {
			return nil, err
		}
		if one.Status == blocked {
			all = append(all, d)
		}
	}
	slices.Reverse(all) // the oldest first
	return all, nil
}

// Look implements Tool.
func (g *GitLab) Look(ctx context.Context, d Deployment) (Deployment, error) {
	_, is, err := g.look(ctx, d)
	return is, err
}

func (g *GitLab) look(ctx context.Context, d Deployment) (one gitLabDeployment, is Deployment, err error) {
	if err := g.ask(ctx, http.MethodGet, []string{strconv.FormatInt(d.Number, 10)}, nil, nil, &one); err != nil {
		return one, d, gone(err)
	}
	if is, err = one.deployment(); err != nil {
		return one, d, err
	}
	if one.Status != blocked || !is.same(d) {
		return one, d, ErrGone
	}
	return one, is, nil
}

// Answer implements Tool.
func (g *GitLab) Answer(ctx context.Context, d Deployment, yes bool, comment string, again bool) error {
	one, _, err := g.look(ctx, d)
	if err != nil {
		return err
	}
	for _, said := range one.Approvals {
		if again && said.Comment == comment {
			return nil
		}
	}
	return g.ask(ctx, http.MethodPost, []string{strconv.FormatInt(d.Number, 10), "approval"}, nil, map[string]string{"status": verdict(yes), "comment": comment}, nil)
}

// Probe asks whether the project lets itself be asked.
func (g *GitLab) Probe(ctx context.Context) error {
	_, err := g.Waiting(ctx)
	return err
}

func (g *GitLab) ask(ctx context.Context, method string, path []string, query url.Values, body, into any) error {
	return g.wire.Ask(ctx, outbound.Question{
		Method: method, Path: append([]string{"api", "v4", "projects", g.project, "deployments"}, path...), Query: query,
		Header: map[string]string{"PRIVATE-TOKEN": g.token}, Body: body, Into: into,
	})
}
