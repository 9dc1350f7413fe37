package console

import (
	"bytes"
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/figure"
	"github.com/pavise/pavise/internal/lineage"
)

// newLink is what leads on when there is no session.
const newLink = "run  pavise console link  in a terminal: it prints a new one"

// A page is what every template gets.
type page struct {
	Title   string
	Here    string // the navigation entry to mark: its path
	Refresh string // content of a refresh, or ""
	Ends    time.Time
	Holder  string // whose session it is, or ""
	Waiting string // how many changes wait for votes, or ""
	Demo    bool   // one is played
	Body    any
}

// A problem is the body of an error page.
type problem struct {
	Status int
	Text   string
	Hint   string
}

// parsePages reads the embedded templates: each page with the layout and the
// parts it shares with others.
func parsePages() (map[string]*template.Template, error) {
	shared, err := template.New("layout").Funcs(template.FuncMap{
		"brief": figure.Brief, "bytes": figure.Bytes, "cedar": figure.Cedar, "clock": figure.Clock, "count": figure.Thousands, "lasts": lasts, "long": func(s string) bool { return figure.Brief(s) != s }, "minute": figure.Minute, "place": placeOf, "plain": figure.Plain, "second": figure.Second, "sentence": figure.Sentence, "standings": lineage.Standings, "utc": figure.UTC,
	}).ParseFS(files, "page/layout.html", "page/parts.html")
	if err != nil {
		return nil, err
	}
	pages := map[string]*template.Template{}
	for _, name := range []string{"live", "findings", "search", "trail", "changes", "change", "log", "routes", "policies", "access", "ask", "callers", "tiers", "tier", "lineage", "datasets", "models", "model", "drift", "driftone", "demo", "problem", "welcome"} {
		t, err := shared.Clone()
		if err == nil {
			t, err = t.ParseFS(files, "page/"+name+".html")
		}
		if err != nil {
			return nil, err
		}
		pages[name] = t
	}
	return pages, nil
}

// show renders a page whole before the first byte leaves, so that a template
// that fails does not leave half a page behind.
func (c *Console) show(w http.ResponseWriter, s *visitor, status int, name string, p page) {
	p.Demo = c.cfg.Tale != nil
	if s != nil {
		p.Ends, p.Holder, p.Waiting = s.Expires, s.Holder.ID, s.waitingShown()
	}
	var body bytes.Buffer
	if err := c.pages[name].ExecuteTemplate(&body, "layout.html", p); err != nil {
		http.Error(w, "this page cannot be shown", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(body.Len()))
	w.WriteHeader(status)
	w.Write(body.Bytes())
}

// fail shows an error page.
func (c *Console) fail(w http.ResponseWriter, s *visitor, status int, title, text, hint string) {
	c.show(w, s, status, "problem", page{Title: title, Body: problem{status, text, hint}})
}

// titles are the headings of error pages, by the kind of error.
var titles = map[pavise.Kind]string{
	pavise.Invalid:     "That cannot be asked",
	pavise.Denied:      "Not allowed",
	pavise.NotFound:    "Not found",
	pavise.Conflict:    "It has changed meanwhile",
	pavise.Throttled:   "Too fast",
	pavise.Unverified:  "The session has ended",
	pavise.Unavailable: "Pavise does not answer",
}

// A refusal is an error of the API in its own words, for people.
type refusal struct {
	Title string
	Text  string
	Hint  string
}

func newRefusal(err error) *refusal {
	e, ok := errors.AsType[*pavise.Error](err)
	if !ok {
		e = &pavise.Error{Kind: pavise.Internal, Msg: "the console could not read the answer of the API", Hint: "use the same version on both sides"}
	}
	title, known := titles[e.Kind]
	if !known {
		title = "Something broke"
	}
	return &refusal{title, figure.Sentence(e.Msg), e.Hint}
}

// refuse shows the page of an error from the API. A token that the API no
// longer takes ends its session.
func (c *Console) refuse(w http.ResponseWriter, s *visitor, err error) {
	said, kind := newRefusal(err), pavise.KindOf(err)
	if kind == pavise.Unverified && s != nil {
		c.book.End(s.Session)
		s, said.Hint = nil, newLink
	}
	c.fail(w, s, kind.HTTPStatus(), said.Title, said.Text, said.Hint)
}

// nowhere answers for paths that are none.
func (c *Console) nowhere(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", "GET")
		c.fail(w, c.find(r), http.StatusMethodNotAllowed, "Method not allowed", "There is nothing to send here.", "")
		return
	}
	c.fail(w, c.find(r), http.StatusNotFound, "Not found", "There is no such page.", "the live view is at /")
}

// placeOf is the address of a thing's own page, or of the records about it.
func placeOf(on pavise.Name) string {
	model, version, isVersion := strings.Cut(on.ID, "@")
	switch {
	case on.Kind == "drift" && on.ID != "all":
		return driftAddress(on.Tenant + "/model/" + on.ID)
	case on.Kind == "route":
		return "/routes#" + on.ID
	case on.Kind == "model" && isVersion:
		return modelAddress(on.Tenant, model+"/"+version)
	case on.Kind == "deployment" && on.ID != "all": // where it runs, and what became of it
		return modelAddress(on.Tenant, on.ID)
	}
	return "/search?" + url.Values{"on": {on.String()}}.Encode()
}
