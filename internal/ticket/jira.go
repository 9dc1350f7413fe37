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

// A jiraTool is a project of Jira Cloud, asked by REST API v3: issues, comments,
// transitions.
type jiraTool struct{ *wire }

// jiraTime is how Jira writes times.
const jiraTime = "2006-01-02T15:04:05.000-0700"

// A jiraIssue is what is read of an issue.
type jiraIssue struct {
	ID     string `json:"id"`
	Key    string `json:"key"`
	Fields struct {
		Labels  []string `json:"labels"`
		Created string   `json:"created"`
		Status  struct {
			Category jiraCategory `json:"statusCategory"`
		} `json:"status"`
	} `json:"fields"`
}

type jiraCategory struct {
	Key string `json:"key"` // new, indeterminate or done
}

func (j *jiraTool) rest(method string, path []string, query url.Values, body, into any) outbound.Question {
	return outbound.Question{Method: method, Path: append([]string{"rest", "api", "3"}, path...), Query: query, Header: j.bearer(), Body: body, Into: into}
}

// find returns the issue that carries a mark, if there is one.
func (j *jiraTool) find(ctx context.Context, mark string) (ticket, bool, error) {
	var found struct {
		Issues []jiraIssue `json:"issues"`
	}
	err := j.Ask(ctx, j.rest(http.MethodPost, []string{"search", "jql"}, nil, map[string]any{
		"jql": fmt.Sprintf(`project = "%s" AND labels = "%s" ORDER BY created ASC`, j.target.Project, mark), "fields": []string{"labels", "created"}, "maxResults": 2,
	}, &found))
	if err != nil {
		return ticket{}, false, err
	}
	for _, issue := range found.Issues {
		if slices.Contains(issue.Fields.Labels, mark) {
			t, err := j.ticketOf(issue)
			return t, err == nil, err
		}
	}
	return ticket{}, false, nil
}

// ticketOf is an issue as it is kept.
func (j *jiraTool) ticketOf(issue jiraIssue) (t ticket, err error) {
	if t.ID, err = known(issue.ID); err != nil {
		return t, err
	}
	if t.Name, err = known(issue.Key); err != nil {
		return t, err
	}
	t.Opened, _ = time.Parse(jiraTime, issue.Fields.Created)
	t.URL = outbound.Shown(j.Base.JoinPath("browse", t.Name).String())
	return t, nil
}

func (j *jiraTool) open(ctx context.Context, s step) (ticket, error) {
	mark := j.marks.ticket(s.Change)
	if t, ok, err := j.find(ctx, mark); ok || err != nil {
		return t, err
	}
	var made jiraIssue
	err := j.Ask(ctx, j.rest(http.MethodPost, []string{"issue"}, nil, map[string]any{"fields": map[string]any{
		"project": map[string]string{"key": j.target.Project}, "issuetype": map[string]string{"name": "Task"},
		"summary": s.title(), "labels": []string{mark}, "description": adf(s.how(true), strings.Join(s.lines(), "\n")),
	}}, &made))
	if err != nil {
		return ticket{}, err
	}
	return j.ticketOf(made)
}

func (j *jiraTool) tell(ctx context.Context, t ticket, s step, again bool) error {
	sign := j.marks.step(s)
	told := false
	if again {
		comments, err := j.comments(ctx, t)
		if err != nil {
			return err
		}
		told = slices.ContainsFunc(comments, func(c jiraComment) bool { return strings.Contains(c.Body.text(), sign) })
	}
	if !told {
		body := map[string]any{"body": adf("Pavise: "+s.Text, sign)}
		if err := j.Ask(ctx, j.rest(http.MethodPost, []string{"issue", t.ID, "comment"}, nil, body, nil)); err != nil {
			return err
		}
	}
	if s.Sort == stepEnded {
		return j.close(ctx, t)
	}
	return nil
}

// close moves an issue to a status that is done, if its workflow has a way there.
func (j *jiraTool) close(ctx context.Context, t ticket) error {
	var issue jiraIssue
	if err := j.Ask(ctx, j.rest(http.MethodGet, []string{"issue", t.ID}, url.Values{"fields": {"status"}}, nil, &issue)); err != nil {
		return err
	}
	if issue.Fields.Status.Category.Key == "done" {
		return nil
	}
	var ways struct {
		Transitions []struct {
			ID string `json:"id"`
			To struct {
				Category jiraCategory `json:"statusCategory"`
			} `json:"to"`
		} `json:"transitions"`
	}
	if err := j.Ask(ctx, j.rest(http.MethodGet, []string{"issue", t.ID, "transitions"}, nil, nil, &ways)); err != nil {
		return err
	}
	for _, way := range ways.Transitions {
		if way.To.Category.Key == "done" {
			return j.Ask(ctx, j.rest(http.MethodPost, []string{"issue", t.ID, "transitions"}, nil, map[string]any{"transition": map[string]string{"id": way.ID}}, nil))
		}
	}
	return nil // people close it
}

// A jiraComment is what is read of a comment.
type jiraComment struct {
	ID     string      `json:"id"`
	Author jiraAccount `json:"author"`
	Update jiraAccount `json:"updateAuthor"`
	Body   adfNode     `json:"body"`
	Made   string      `json:"created"`
	Edited string      `json:"updated"`
}

type jiraAccount struct {
	ID string `json:"accountId"`
}

// comments are the newest of an issue, oldest first.
func (j *jiraTool) comments(ctx context.Context, t ticket) (all []jiraComment, err error) {
	for page := range maxPages {
		var got struct {
			Comments []jiraComment `json:"comments"`
		}
		query := url.Values{"startAt": {fmt.Sprint(page * maxWords)}, "maxResults": {fmt.Sprint(maxWords)}, "orderBy": {"-created"}}
		if err := j.Ask(ctx, j.rest(http.MethodGet, []string{"issue", t.ID, "comment"}, query, nil, &got)); err != nil {
			return nil, err
		}
		all = append(all, got.Comments[:min(len(got.Comments), maxWords)]...)
		if len(got.Comments) < maxWords {
			break
		}
	}
	slices.Reverse(all)
	return all, nil
}

func (j *jiraTool) words(ctx context.Context, t ticket, opened step) (all []word, err error) {
	comments, err := j.comments(ctx, t)
	if err != nil {
		return nil, err
	}
	for _, c := range comments {
		w, ok := heard(c.Body.begins())
		if !ok {
			continue
		}
		w.id, w.account = c.ID, c.Author.ID
		w.said, err = time.Parse(jiraTime, c.Made)
		if err != nil || c.Edited != c.Made || c.Update.ID != c.Author.ID {
			w.spoiled = cmp.Or(w.spoiled, edited)
		}
		all = append(all, w)
	}
	if len(all) == 0 {
		return nil, nil
	}
	var issue struct {
		Fields struct {
			Description adfNode `json:"description"`
		} `json:"fields"`
	}
	if err := j.Ask(ctx, j.rest(http.MethodGet, []string{"issue", t.ID}, url.Values{"fields": {"description"}}, nil, &issue)); err != nil {
		return nil, err
	}
	return asTold(all, issue.Fields.Description.text(), opened.how(true)+"\n"+strings.Join(opened.lines(), "\n")), nil
}

// Probe implements prober.
func (j *jiraTool) Probe(ctx context.Context) error {
	return j.Ask(ctx, j.rest(http.MethodGet, []string{"project", j.target.Project}, nil, nil, nil))
}

// edited is why a word does not count that is not as it was said.
const edited = "it was edited: say it anew, in a comment of its own"

// An adfNode is a node of the Atlassian Document Format, in which Jira writes texts.
type adfNode struct {
	Type    string    `json:"type"`
	Text    string    `json:"text"`
	Content []adfNode `json:"content"`
	Marks   []adfMark `json:"marks,omitempty"`
}

type adfMark struct {
	Type string `json:"type"`
}

// adf is a document of a paragraph and a block of code.
func adf(paragraph, code string) map[string]any {
	text := func(t string) []any { return []any{map[string]string{"type": "text", "text": t}} }
	return map[string]any{"type": "doc", "version": 1, "content": []any{
		map[string]any{"type": "paragraph", "content": text(paragraph)},
		map[string]any{"type": "codeBlock", "content": text(code)},
	}}
}

// maxDepth bounds how deep a document is read.
const maxDepth = 32

// begins is what the first block of a document says that says anything, if it is a paragraph:
// what stands in a quote, in a block of code, in a list or struck out is another's word, an
// example, or taken back.
func (n adfNode) begins() string {
	for _, block := range n.Content {
		text := block.text()
		if strings.TrimSpace(text) == "" {
			continue
		}
		struck := slices.ContainsFunc(block.Content, func(c adfNode) bool {
			return slices.ContainsFunc(c.Marks, func(m adfMark) bool { return m.Type == "strike" })
		})
		if block.Type != "paragraph" || struck {
			return ""
		}
		return text
	}
	return ""
}

// text is what a document says, a line for each block.
func (n adfNode) text() string {
	var b strings.Builder
	n.write(&b, maxDepth)
	return b.String()
}

func (n adfNode) write(b *strings.Builder, depth int) {
	if depth == 0 {
		return
	}
	b.WriteString(n.Text)
	if n.Type == "hardBreak" {
		b.WriteByte('\n')
	}
	for _, c := range n.Content {
		c.write(b, depth-1)
	}
	if n.Type == "paragraph" || n.Type == "codeBlock" || n.Type == "heading" {
		b.WriteByte('\n')
	}
}
