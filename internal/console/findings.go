package console

import (
	"net/http"
	"net/url"
	"strconv"

	"github.com/pavise/pavise/internal/siem"
	"github.com/pavise/pavise/internal/story"
	"github.com/pavise/pavise/internal/verbs"
)

// maxFindings is how many findings one page shows.
const maxFindings = 100

// leasts are the severities that the page can begin with.
var leasts = []tab{{Key: "", Word: "All"}, {Key: "medium", Word: "Medium and worse"}, {Key: "high", Word: "High and worse"}, {Key: "critical", Word: "Critical"}}

// A findingItem is what a person should look at, as the page shows it.
type findingItem struct {
	siem.Finding
	State string // its colour and icon
	Word  string // how bad it is
}

// A findingPage is the body of the page of findings.
type findingPage struct {
	Items []findingItem // newest first
	Tabs  []tab
	Least string // "" or a severity
	Older string // the address of those before, or ""
	Newer bool   // these are not the newest
}

// findings shows what a person should look at, out of the log.
func (c *Console) findings(w http.ResponseWriter, r *http.Request, s *visitor) {
	body, ask := findingPage{}, verbs.FindingRequest{Limit: maxFindings}
	for _, t := range leasts {
		if t.Here = t.Key == r.URL.Query().Get("least"); t.Here {
			ask.Least, body.Least = t.Key, t.Key
		}
		body.Tabs = append(body.Tabs, t)
	}
	if before, err := strconv.ParseUint(r.URL.Query().Get("before"), 10, 64); err == nil {
		ask.Before, body.Newer = &before, true
	}
	var list siem.List
	if err := s.client.Call(r.Context(), "finding.list", ask, &list); err != nil {
		c.refuse(w, s, err)
		return
	}
	for _, f := range list.Findings {
		item := findingItem{f, story.Note, f.Severity.String()}
		switch {
		case f.Severity >= siem.High:
			item.State = story.Deny
		case f.Severity == siem.Medium:
			item.State = story.Alter
		}
		body.Items = append(body.Items, item)
	}
	if list.More {
		body.Older = "/findings?" + url.Values{"least": {ask.Least}, "before": {strconv.FormatUint(list.Before, 10)}}.Encode()
	}
	c.show(w, s, http.StatusOK, "findings", page{Title: "Findings", Here: "/", Body: body})
}
