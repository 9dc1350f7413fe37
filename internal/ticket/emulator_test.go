package ticket

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// An emulator is the tickets of a tool, as its API tells of them: what a handler below has
// of each tool's own.
type emulator struct {
	*httptest.Server
	clock func() time.Time
	t     testing.TB

	mu       sync.Mutex // guards what follows
	tickets  []*theirs
	held     []*held // deployments that wait
	ids      int
	requests []string                                          // method, path and body of each, in order
	breaks   func(w http.ResponseWriter, r *http.Request) bool // answers in the tool's place
	drops    int                                               // so many answers of POST are cut off, after the effect
	check    func(header func(string) string, body []byte)     // looks at each request
}

// theirs is a ticket as its tool has it.
type theirs struct {
	id     int
	title  string
	body   string
	mark   string
	closed bool
	said   []*saying
}

// A saying is a comment, or an approval.
type saying struct {
	id      int
	account string
	text    string
	at      time.Time
	edited  bool
	program bool
	state   string   // of an approval
	doc     *adfNode // in Jira, instead of text
	by      string   // who set it, by name
}

// newEmulator serves a tool by its kind.
func newEmulator(t testing.TB, kind string, clock func() time.Time) *emulator {
	t.Helper()
	e := &emulator{clock: clock, t: t}
	serve := map[string]func(*http.ServeMux){jira: e.jira, serviceNow: e.serviceNow, gitHub: e.gitHub, gitLab: e.gitLab, gitHubDeployments: e.gitHubRuns, gitLabDeployments: e.gitLabDeployments}[kind]
	mux := http.NewServeMux()
	if serve != nil {
		serve(mux)
	} else {
		mux.HandleFunc("POST /", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusAccepted) })
	}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		e.mu.Lock()
		defer e.mu.Unlock()
		e.requests = append(e.requests, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+"\n"+headers(r)+string(body)))
		if e.check != nil {
			e.check(r.Header.Get, body)
		}
		if e.breaks != nil && e.breaks(w, r) {
			return
		}
		if e.drops > 0 && r.Method == http.MethodPost && !strings.Contains(r.URL.Path, "search") && !strings.HasSuffix(r.URL.Path, "/access_tokens") {
			e.drops--
			mux.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler) // the effect is there, and nobody is told
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(e.Close)
	return e
}

// headers are those that a tool looks at.
func headers(r *http.Request) (text string) {
	for _, name := range []string{"Authorization", "Private-Token", "Accept", "Content-Type", "X-Github-Api-Version", "Webhook-Id"} {
		if v := r.Header.Get(name); v != "" {
			text += name + ": " + v + "\n"
		}
	}
	return text
}

func (e *emulator) next() int { e.ids++; return e.ids }

// made makes a ticket. The caller holds mu.
func (e *emulator) made(title, body, mark string) *theirs {
	t := &theirs{id: e.next(), title: title, body: body, mark: mark}
	e.tickets = append(e.tickets, t)
	return t
}

// find returns a ticket by its id. The caller holds mu.
func (e *emulator) find(id string) *theirs {
	for _, t := range e.tickets {
		if strconv.Itoa(t.id) == id {
			return t
		}
	}
	return &theirs{}
}

// say has somebody say something on the newest ticket, a second later.
func (e *emulator) say(s saying) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	s.id = e.next() + 1000
	if s.at.IsZero() {
		s.at = e.clock().Add(time.Second)
	}
	t := e.tickets[len(e.tickets)-1]
	t.said = append(t.said, &s)
	return strconv.Itoa(s.id)
}

// newest is the newest ticket, as it stands.
func (e *emulator) newest() theirs {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.tickets) == 0 {
		return theirs{}
	}
	return *e.tickets[len(e.tickets)-1]
}

func (e *emulator) count() int { e.mu.Lock(); defer e.mu.Unlock(); return len(e.tickets) }

// texts are what is said on the newest ticket.
func (e *emulator) texts() (all []string) {
	for _, s := range e.newest().said {
		all = append(all, s.text)
	}
	return all
}

// asked forgets the requests, and returns them.
func (e *emulator) asked() (all []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	all, e.requests = e.requests, nil
	return all
}

func into(r *http.Request, v any) {
	if err := json.NewDecoder(r.Body).Decode(v); err != nil {
		panic(err)
	}
}

func answers(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if v != nil {
		if err := json.NewEncoder(w).Encode(v); err != nil {
			panic(err)
		}
	}
}

type object = map[string]any

// own is the account as which a tool is asked.
const own = "1"

func (e *emulator) jira(mux *http.ServeMux) {
	document := func(text string) (d adfNode) {
		for line := range strings.SplitSeq(text, "\n") {
			d.Content = append(d.Content, adfNode{Type: "paragraph", Content: []adfNode{{Type: "text", Text: line}}})
		}
		return d
	}
	issue := func(t *theirs) object {
		category := "new"
		if t.closed {
			category = "done"
		}
		return object{"id": strconv.Itoa(t.id), "key": fmt.Sprintf("OPS-%d", t.id), "fields": object{
			"labels": []string{t.mark}, "created": e.clock().Format(jiraTime), "description": document(t.body), "status": object{"statusCategory": object{"key": category}},
		}}
	}
	mux.HandleFunc("POST /rest/api/3/search/jql", func(w http.ResponseWriter, r *http.Request) {
		var q struct{ JQL string }
		into(r, &q)
		found := []object{}
		for _, t := range e.tickets {
			if strings.Contains(q.JQL, `"`+t.mark+`"`) {
				found = append(found, issue(t))
			}
		}
		answers(w, 200, object{"issues": found})
	})
	mux.HandleFunc("POST /rest/api/3/issue", func(w http.ResponseWriter, r *http.Request) {
		var q struct {
			Fields struct {
				Summary     string
				Labels      []string
				Description adfNode
			}
		}
		into(r, &q)
		t := e.made(q.Fields.Summary, q.Fields.Description.text(), q.Fields.Labels[0])
		answers(w, 201, object{"id": strconv.Itoa(t.id), "key": fmt.Sprintf("OPS-%d", t.id)})
	})
	mux.HandleFunc("GET /rest/api/3/issue/{id}", func(w http.ResponseWriter, r *http.Request) {
		answers(w, 200, issue(e.find(r.PathValue("id"))))
	})
	mux.HandleFunc("GET /rest/api/3/issue/{id}/transitions", func(w http.ResponseWriter, r *http.Request) {
		answers(w, 200, object{"transitions": []object{{"id": "11", "to": object{"statusCategory": object{"key": "indeterminate"}}}, {"id": "31", "to": object{"statusCategory": object{"key": "done"}}}}})
	})
	mux.HandleFunc("POST /rest/api/3/issue/{id}/transitions", func(w http.ResponseWriter, r *http.Request) {
		var q struct{ Transition struct{ ID string } }
		into(r, &q)
		e.find(r.PathValue("id")).closed = q.Transition.ID == "31"
		w.WriteHeader(204)
	})
	mux.HandleFunc("POST /rest/api/3/issue/{id}/comment", func(w http.ResponseWriter, r *http.Request) {
		var q struct{ Body adfNode }
		into(r, &q)
		t := e.find(r.PathValue("id"))
		t.said = append(t.said, &saying{id: e.next(), account: own, text: q.Body.text(), at: e.clock()})
		answers(w, 201, object{"id": "1"})
	})
	mux.HandleFunc("GET /rest/api/3/issue/{id}/comment", func(w http.ResponseWriter, r *http.Request) {
		all := []object{}
		for _, s := range e.find(r.PathValue("id")).said {
			edited, by := s.at, s.account
			if s.edited {
				edited, by = s.at.Add(time.Minute), "admin"
			}
			body := document(s.text)
			if s.doc != nil {
				body = *s.doc
			}
			all = append(all, object{"id": strconv.Itoa(s.id), "author": object{"accountId": s.account}, "updateAuthor": object{"accountId": by}, "body": body, "created": s.at.Format(jiraTime), "updated": edited.Format(jiraTime)})
		}
		slices.Reverse(all)
		from, _ := strconv.Atoi(r.URL.Query().Get("startAt"))
		answers(w, 200, object{"comments": all[min(from, len(all)):min(from+100, len(all))]})
	})
	mux.HandleFunc("GET /rest/api/3/project/OPS", func(w http.ResponseWriter, _ *http.Request) { answers(w, 200, object{"key": "OPS"}) })
}

func (e *emulator) gitHub(mux *http.ServeMux) {
	issue := func(t *theirs) object {
		return object{"number": t.id, "html_url": fmt.Sprintf("https://github.com/org/repo/issues/%d", t.id), "created_at": e.clock(), "labels": []object{{"name": t.mark}}, "body": t.body}
	}
	mux.HandleFunc("GET /repos/org/repo", func(w http.ResponseWriter, _ *http.Request) { answers(w, 200, object{}) })
	mux.HandleFunc("GET /repos/org/repo/issues", func(w http.ResponseWriter, r *http.Request) {
		found := []object{}
		for _, t := range e.tickets {
			if t.mark == r.URL.Query().Get("labels") {
				found = append(found, issue(t))
			}
		}
		answers(w, 200, found)
	})
	mux.HandleFunc("POST /repos/org/repo/issues", func(w http.ResponseWriter, r *http.Request) {
		var q struct {
			Title, Body string
			Labels      []string
		}
		into(r, &q)
		answers(w, 201, issue(e.made(q.Title, q.Body, q.Labels[0])))
	})
	mux.HandleFunc("GET /repos/org/repo/issues/{id}", func(w http.ResponseWriter, r *http.Request) { answers(w, 200, issue(e.find(r.PathValue("id")))) })
	mux.HandleFunc("PATCH /repos/org/repo/issues/{id}", func(w http.ResponseWriter, r *http.Request) {
		var q struct{ State string }
		into(r, &q)
		t := e.find(r.PathValue("id"))
		t.closed = q.State == "closed"
		answers(w, 200, issue(t))
	})
	mux.HandleFunc("POST /repos/org/repo/issues/{id}/comments", func(w http.ResponseWriter, r *http.Request) {
		var q struct{ Body string }
		into(r, &q)
		t := e.find(r.PathValue("id"))
		t.said = append(t.said, &saying{id: e.next(), account: own, text: q.Body, at: e.clock()})
		answers(w, 201, object{})
	})
	mux.HandleFunc("GET /repos/org/repo/issues/{id}/comments", func(w http.ResponseWriter, r *http.Request) {
		all := []object{}
		for _, s := range e.find(r.PathValue("id")).said {
			account, _ := strconv.Atoi(s.account)
			one := object{"id": s.id, "user": object{"id": account, "type": "User"}, "body": s.text, "created_at": s.at, "updated_at": s.at}
			if s.edited {
				one["updated_at"] = s.at.Add(time.Minute)
			}
			if s.program {
				one["performed_via_github_app"] = object{"id": 1}
			}
			all = append(all, one)
		}
		answers(w, 200, paged(r, all))
	})
}

// paged is the page of a list that is asked for.
func paged(r *http.Request, all []object) []object {
	page, _ := strconv.Atoi(r.URL.Query().Get("page"))
	from := min((page-1)*100, len(all))
	return all[from:min(from+100, len(all))]
}

func (e *emulator) gitLab(mux *http.ServeMux) {
	issue := func(t *theirs) object {
		return object{"iid": t.id, "web_url": fmt.Sprintf("https://gitlab.example/issues/%d", t.id), "created_at": e.clock(), "labels": []string{t.mark}, "description": t.body, "state": map[bool]string{true: "closed", false: "opened"}[t.closed]}
	}
	const at = "/api/v4/projects/{project}"
	mux.HandleFunc("GET "+at, func(w http.ResponseWriter, _ *http.Request) { answers(w, 200, object{}) })
	mux.HandleFunc("GET "+at+"/issues", func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("project") != "group/sub/repo" {
			e.t.Errorf("project %q", r.PathValue("project"))
		}
		found := []object{}
		for _, t := range e.tickets {
			if t.mark == r.URL.Query().Get("labels") {
				found = append(found, issue(t))
			}
		}
		answers(w, 200, found)
	})
	mux.HandleFunc("POST "+at+"/issues", func(w http.ResponseWriter, r *http.Request) {
		var q struct{ Title, Description, Labels string }
		into(r, &q)
		answers(w, 201, issue(e.made(q.Title, q.Description, q.Labels)))
	})
	mux.HandleFunc("GET "+at+"/issues/{id}", func(w http.ResponseWriter, r *http.Request) { answers(w, 200, issue(e.find(r.PathValue("id")))) })
	mux.HandleFunc("PUT "+at+"/issues/{id}", func(w http.ResponseWriter, r *http.Request) {
		var q struct {
			Event string `json:"state_event"`
		}
		into(r, &q)
		t := e.find(r.PathValue("id"))
		t.closed = q.Event == "close"
		answers(w, 200, issue(t))
	})
	mux.HandleFunc("POST "+at+"/issues/{id}/notes", func(w http.ResponseWriter, r *http.Request) {
		var q struct{ Body string }
		into(r, &q)
		t := e.find(r.PathValue("id"))
		t.said = append(t.said, &saying{id: e.next(), account: own, text: q.Body, at: e.clock()})
		answers(w, 201, object{})
	})
	mux.HandleFunc("GET "+at+"/issues/{id}/notes", func(w http.ResponseWriter, r *http.Request) {
		all := []object{}
		for _, s := range e.find(r.PathValue("id")).said {
			account, _ := strconv.Atoi(s.account)
			one := object{"id": s.id, "author": object{"id": account}, "body": s.text, "created_at": s.at, "updated_at": s.at, "system": s.program}
			if s.edited {
				one["updated_at"] = s.at.Add(time.Minute)
			}
			all = append(all, one)
		}
		answers(w, 200, paged(r, all))
	})
}

func (e *emulator) serviceNow(mux *http.ServeMux) {
	request := func(t *theirs) object {
		field := func(v string) object { return object{"value": v, "display_value": v} }
		return object{"sys_id": field(strconv.Itoa(t.id)), "number": field(fmt.Sprintf("CHG%07d", t.id)), "correlation_id": field(t.mark), "sys_created_on": field(e.clock().Format(serviceNowTime))}
	}
	mux.HandleFunc("GET /api/sn_chg_rest/change", func(w http.ResponseWriter, r *http.Request) {
		found := []object{}
		for _, t := range e.tickets {
			if strings.HasPrefix(r.URL.Query().Get("sysparm_query"), "correlation_id="+t.mark+"^") {
				found = append(found, request(t))
			}
		}
		answers(w, 200, object{"result": found})
	})
	mux.HandleFunc("POST /api/sn_chg_rest/change/{sort}", func(w http.ResponseWriter, r *http.Request) {
		var q struct {
			Title string `json:"short_description"`
			Body  string `json:"description"`
			Mark  string `json:"correlation_id"`
		}
		into(r, &q)
		answers(w, 200, object{"result": request(e.made(q.Title, q.Body, q.Mark))})
	})
	mux.HandleFunc("GET /api/now/table/change_request", func(w http.ResponseWriter, _ *http.Request) { answers(w, 200, object{"result": []object{}}) })
	mux.HandleFunc("GET /api/now/table/change_request/{id}", func(w http.ResponseWriter, r *http.Request) {
		answers(w, 200, object{"result": object{"description": e.find(r.PathValue("id")).body}})
	})
	mux.HandleFunc("PATCH /api/now/table/change_request/{id}", func(w http.ResponseWriter, r *http.Request) {
		var q struct {
			Note  string `json:"work_notes"`
			State string `json:"state"`
		}
		into(r, &q)
		t := e.find(r.PathValue("id"))
		if q.Note != "" {
			t.said = append(t.said, &saying{id: e.next(), account: own, text: q.Note, at: e.clock()})
		}
		t.closed = t.closed || q.State == "3" || q.State == "4"
		answers(w, 200, object{"result": object{}})
	})
	mux.HandleFunc("GET /api/now/table/sys_journal_field", func(w http.ResponseWriter, r *http.Request) {
		found := []object{}
		for _, t := range e.tickets {
			for _, s := range t.said {
				_, sign, _ := strings.Cut(r.URL.Query().Get("sysparm_query"), "valueLIKE")
				if s.state == "" && strings.Contains(s.text, sign) {
					found = append(found, object{"value": s.text})
				}
			}
		}
		answers(w, 200, object{"result": found})
	})
	mux.HandleFunc("GET /api/now/table/sysapproval_approver", func(w http.ResponseWriter, r *http.Request) {
		id, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Query().Get("sysparm_query"), "sysapproval="), "^")
		all := []object{}
		for _, s := range e.find(id).said {
			if s.state != "" {
				all = append(all, object{"sys_id": strconv.Itoa(s.id), "state": s.state, "approver": s.account, "approver.user_name": "user" + s.account, "sys_updated_by": s.by, "sys_updated_on": s.at.Format(serviceNowTime), "comments": s.text})
			}
		}
		answers(w, 200, object{"result": all})
	})
}
