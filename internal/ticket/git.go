package ticket

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/pavise/pavise/internal/outbound"
)

// markdown is a ticket's text, or a comment's, where texts are Markdown: what others wrote
// stands in a block of code, where it names nobody and links nowhere.
func markdown(first string, block ...string) string {
	return first + "\n\n    " + strings.Join(strings.Split(strings.Join(block, "\n"), "\n"), "\n    ") + "\n"
}

// A gitHubTool is the issues of a repository of GitHub, asked by its REST API of
// 2022-11-28.
type gitHubTool struct{ *wire }

// A gitHubIssue is what is read of an issue.
type gitHubIssue struct {
	Number int       `json:"number"`
	URL    string    `json:"html_url"`
	Body   string    `json:"body"`
	Made   time.Time `json:"created_at"`
	Labels []struct {
		Name string `json:"name"`
	} `json:"labels"`
	Pull *struct{} `json:"pull_request"`
}

func (g *gitHubTool) rest(method string, path []string, query url.Values, body, into any) outbound.Question {
	header := g.bearer()
	header["Accept"], header["X-GitHub-Api-Version"] = "application/vnd.github+json", "2022-11-28"
	owner, name, _ := strings.Cut(g.target.Project, "/")
	return outbound.Question{Method: method, Path: append([]string{"repos", owner, name}, path...), Query: query, Header: header, Body: body, Into: into}
}

func (i gitHubIssue) ticket() (ticket, error) {
	if i.Number <= 0 {
		return ticket{}, outbound.Lies("it gives an issue no number")
	}
	return ticket{ID: fmt.Sprint(i.Number), Name: fmt.Sprintf("#%d", i.Number), URL: outbound.Shown(i.URL), Opened: i.Made.UTC()}, nil
}

func (g *gitHubTool) open(ctx context.Context, s step) (ticket, error) {
	mark := g.marks.ticket(s.Change)
	var found []gitHubIssue
	if err := g.Ask(ctx, g.rest(http.MethodGet, []string{"issues"}, url.Values{"labels": {mark}, "state": {"all"}, "per_page": {"2"}, "direction": {"asc"}}, nil, &found)); err != nil {
		return ticket{}, err
	}
	for _, i := range found {
		if i.Pull == nil && slices.ContainsFunc(i.Labels, func(l struct {
			Name string `json:"name"`
		}) bool {
			return l.Name == mark
		}) {
			return i.ticket()
		}
	}
	var made gitHubIssue
	err := g.Ask(ctx, g.rest(http.MethodPost, []string{"issues"}, nil, map[string]any{
		"title": s.title(), "body": markdown(s.how(true), s.lines()...), "labels": []string{mark},
	}, &made))
	if err != nil {
		return ticket{}, err
	}
	return made.ticket()
}

func (g *gitHubTool) tell(ctx context.Context, t ticket, s step, again bool) error {
	sign := g.marks.step(s)
	told := false
	if again {
		comments, err := g.comments(ctx, t)
		if err != nil {
			return err
		}
		told = slices.ContainsFunc(comments, func(c gitHubComment) bool { return strings.Contains(c.Body, sign) })
	}
	if !told {
		body := map[string]string{"body": markdown("Pavise:", s.Text, sign)}
		if err := g.Ask(ctx, g.rest(http.MethodPost, []string{"issues", t.ID, "comments"}, nil, body, nil)); err != nil {
			return err
		}
	}
	if s.Sort != stepEnded {
		return nil
	}
	return g.Ask(ctx, g.rest(http.MethodPatch, []string{"issues", t.ID}, nil, map[string]string{"state": "closed"}, nil))
}

// A gitHubComment is what is read of a comment.
type gitHubComment struct {
	ID   int64 `json:"id"`
	User struct {
		ID   int64  `json:"id"`
		Type string `json:"type"`
	} `json:"user"`
	Body   string    `json:"body"`
	Made   time.Time `json:"created_at"`
	Edited time.Time `json:"updated_at"`
	App    *struct{} `json:"performed_via_github_app"`
}

func (g *gitHubTool) comments(ctx context.Context, t ticket) (all []gitHubComment, err error) {
	for page := range maxPages {
		var got []gitHubComment
		if err := g.Ask(ctx, g.rest(http.MethodGet, []string{"issues", t.ID, "comments"}, pageOf(page), nil, &got)); err != nil {
			return nil, err
		}
		all = append(all, got[:min(len(got), maxWords)]...)
		if len(got) < maxWords {
			break
		}
	}
	return all, nil
}

// pageOf asks for a page of words.
func pageOf(page int) url.Values {
	return url.Values{"per_page": {fmt.Sprint(maxWords)}, "page": {fmt.Sprint(page + 1)}}
}

func (g *gitHubTool) words(ctx context.Context, t ticket, opened step) (all []word, err error) {
	comments, err := g.comments(ctx, t)
	if err != nil {
		return nil, err
	}
	for _, c := range comments {
		w, ok := heard(c.Body)
		if !ok {
			continue
		}
		w.id, w.account, w.said = fmt.Sprint(c.ID), fmt.Sprint(c.User.ID), c.Made.UTC()
		switch {
		case !c.Edited.Equal(c.Made):
			w.spoiled = cmp.Or(w.spoiled, edited)
		case c.User.Type != "User" || c.App != nil:
			w.spoiled = cmp.Or(w.spoiled, "a program said it")
		}
		all = append(all, w)
	}
	if len(all) == 0 {
		return nil, nil
	}
	var issue gitHubIssue
	if err := g.Ask(ctx, g.rest(http.MethodGet, []string{"issues", t.ID}, nil, nil, &issue)); err != nil {
		return nil, err
	}
	return asTold(all, issue.Body, markdown(opened.how(true), opened.lines()...)), nil
}

// Probe implements prober.
func (g *gitHubTool) Probe(ctx context.Context) error {
	return g.Ask(ctx, g.rest(http.MethodGet, nil, nil, nil, nil))
}

// A gitLabTool is the issues of a project of GitLab, asked by its REST API v4.
type gitLabTool struct{ *wire }

// A gitLabIssue is what is read of an issue.
type gitLabIssue struct {
	Number int       `json:"iid"`
	URL    string    `json:"web_url"`
	Body   string    `json:"description"`
	Made   time.Time `json:"created_at"`
	Labels []string  `json:"labels"`
	State  string    `json:"state"`
}

func (g *gitLabTool) rest(method string, path []string, query url.Values, body, into any) outbound.Question {
	header := map[string]string{"PRIVATE-TOKEN": g.target.Secret}
	return outbound.Question{Method: method, Path: append([]string{"api", "v4", "projects", g.target.Project}, path...), Query: query, Header: header, Body: body, Into: into}
}

func (i gitLabIssue) ticket() (ticket, error) {
	if i.Number <= 0 {
		return ticket{}, outbound.Lies("it gives an issue no number")
	}
	return ticket{ID: fmt.Sprint(i.Number), Name: fmt.Sprintf("#%d", i.Number), URL: outbound.Shown(i.URL), Opened: i.Made.UTC()}, nil
}

func (g *gitLabTool) open(ctx context.Context, s step) (ticket, error) {
	mark := g.marks.ticket(s.Change)
	var found []gitLabIssue
	if err := g.Ask(ctx, g.rest(http.MethodGet, []string{"issues"}, url.Values{"labels": {mark}, "scope": {"all"}, "per_page": {"2"}, "sort": {"asc"}}, nil, &found)); err != nil {
		return ticket{}, err
	}
	for _, i := range found {
		if slices.Contains(i.Labels, mark) {
			return i.ticket()
		}
	}
	var made gitLabIssue
	err := g.Ask(ctx, g.rest(http.MethodPost, []string{"issues"}, nil, map[string]any{
		"title": s.title(), "description": markdown(s.how(true), s.lines()...), "labels": mark,
	}, &made))
	if err != nil {
		return ticket{}, err
	}
	return made.ticket()
}

func (g *gitLabTool) tell(ctx context.Context, t ticket, s step, again bool) error {
	sign := g.marks.step(s)
	told := false
	if again {
		notes, err := g.notes(ctx, t)
		if err != nil {
			return err
		}
		told = slices.ContainsFunc(notes, func(n gitLabNote) bool { return strings.Contains(n.Body, sign) })
	}
	if !told {
		body := map[string]string{"body": markdown("Pavise:", s.Text, sign)}
		if err := g.Ask(ctx, g.rest(http.MethodPost, []string{"issues", t.ID, "notes"}, nil, body, nil)); err != nil {
			return err
		}
	}
	if s.Sort != stepEnded {
		return nil
	}
	return g.Ask(ctx, g.rest(http.MethodPut, []string{"issues", t.ID}, nil, map[string]string{"state_event": "close"}, nil))
}

// A gitLabNote is what is read of a note.
type gitLabNote struct {
	ID     int64 `json:"id"`
	Author struct {
		ID int64 `json:"id"`
	} `json:"author"`
	Body   string    `json:"body"`
	Made   time.Time `json:"created_at"`
	Edited time.Time `json:"updated_at"`
	System bool      `json:"system"`
}

func (g *gitLabTool) notes(ctx context.Context, t ticket) (all []gitLabNote, err error) {
	for page := range maxPages {
		var got []gitLabNote
		query := pageOf(page)
		query.Set("sort", "asc")
		if err := g.Ask(ctx, g.rest(http.MethodGet, []string{"issues", t.ID, "notes"}, query, nil, &got)); err != nil {
			return nil, err
		}
		all = append(all, got[:min(len(got), maxWords)]...)
		if len(got) < maxWords {
			break
		}
	}
	return all, nil
}

func (g *gitLabTool) words(ctx context.Context, t ticket, opened step) (all []word, err error) {
	notes, err := g.notes(ctx, t)
	if err != nil {
		return nil, err
	}
	for _, n := range notes {
		w, ok := heard(n.Body)
		if !ok || n.System {
			continue
		}
		w.id, w.account, w.said = fmt.Sprint(n.ID), fmt.Sprint(n.Author.ID), n.Made.UTC()
		if !n.Edited.Equal(n.Made) {
			w.spoiled = cmp.Or(w.spoiled, edited)
		}
		all = append(all, w)
	}
	if len(all) == 0 {
		return nil, nil
	}
	var issue gitLabIssue
	if err := g.Ask(ctx, g.rest(http.MethodGet, []string{"issues", t.ID}, nil, nil, &issue)); err != nil {
		return nil, err
	}
	return asTold(all, issue.Body, markdown(opened.how(true), opened.lines()...)), nil
}

// Probe implements prober.
func (g *gitLabTool) Probe(ctx context.Context) error {
	return g.Ask(ctx, g.rest(http.MethodGet, nil, nil, nil, nil))
}
