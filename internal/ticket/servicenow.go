package ticket

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/outbound"
)

// A serviceNowTool is the change requests of a ServiceNow, made and updated by its Change
// Management API; approvals and notes are read by its Table API.
type serviceNowTool struct{ *wire }

// serviceNowTime is how the Table API writes times, in UTC.
const serviceNowTime = "2006-01-02 15:04:05"

// A serviceNowField is a field as the Change Management API has it.
type serviceNowField struct {
	Value string `json:"value"`
}

// A serviceNowChange is what is read of a change request.
type serviceNowChange struct {
	ID     serviceNowField `json:"sys_id"`
	Number serviceNowField `json:"number"`
	Mark   serviceNowField `json:"correlation_id"`
	Made   serviceNowField `json:"sys_created_on"`
}

func (n *serviceNowTool) rest(method string, path []string, query url.Values, body, into any) outbound.Question {
	header := n.bearer()
	if header == nil {
		header = map[string]string{}
	}
	header["Accept"] = "application/json"
	return outbound.Question{Method: method, Path: append([]string{"api"}, path...), Query: query, Header: header, Body: body, Into: into}
}

func (n *serviceNowTool) ticketOf(c serviceNowChange) (t ticket, err error) {
	if t.ID, err = known(c.ID.Value); err != nil {
		return t, err
	}
	if t.Name, err = known(c.Number.Value); err != nil {
		return t, err
	}
	t.Opened, _ = time.Parse(serviceNowTime, c.Made.Value)
	at := n.Base.JoinPath("nav_to.do")
	at.RawQuery = url.Values{"uri": {"change_request.do?sys_id=" + t.ID}}.Encode()
	t.URL = outbound.Shown(at.String())
	return t, nil
}

func (n *serviceNowTool) open(ctx context.Context, s step) (ticket, error) {
	mark := n.marks.ticket(s.Change)
	var found struct {
		Result []serviceNowChange `json:"result"`
	}
	query := url.Values{"sysparm_query": {"correlation_id=" + mark + "^ORDERBYsys_created_on"}, "sysparm_limit": {"2"}}
	if err := n.Ask(ctx, n.rest(http.MethodGet, []string{"sn_chg_rest", "change"}, query, nil, &found)); err != nil {
		return ticket{}, err
	}
	for _, c := range found.Result {
		if c.Mark.Value == mark {
			return n.ticketOf(c)
		}
	}
	var made struct {
		Result serviceNowChange `json:"result"`
	}
	err := n.Ask(ctx, n.rest(http.MethodPost, []string{"sn_chg_rest", "change", n.sort(s)}, nil, map[string]string{
		"short_description": s.title(), "description": n.description(s),
		"correlation_id": mark, "correlation_display": "Pavise",
	}, &made))
	if err != nil {
		return ticket{}, err
	}
	return n.ticketOf(made.Result)
}

// description is what a change request says of its change.
func (n *serviceNowTool) description(s step) string {
	return s.how(false) + "\n\n" + strings.Join(s.lines(), "\n")
}

// rendered is how a work note says that what follows is HTML. What others wrote is none.
var rendered = regexp.MustCompile(`(?i)\[(/?code)\]`)

// sort is the type of change request: what was run first is an emergency.
func (n *serviceNowTool) sort(s step) string {
	if s.State == change.Ran {
		return "emergency"
	}
	return "normal"
}

func (n *serviceNowTool) tell(ctx context.Context, t ticket, s step, again bool) error {
	sign := n.marks.step(s)
	told := false
	if again {
		var notes struct {
			Result []struct {
				Value string `json:"value"`
			} `json:"result"`
		}
		query := url.Values{"sysparm_query": {"element_id=" + t.ID + "^element=work_notes^valueLIKE" + sign}, "sysparm_fields": {"value"}, "sysparm_limit": {"1"}}
		if err := n.Ask(ctx, n.rest(http.MethodGet, []string{"now", "table", "sys_journal_field"}, query, nil, &notes)); err != nil {
			return err
		}
		told = len(notes.Result) > 0 && strings.Contains(notes.Result[0].Value, sign)
	}
	path := []string{"now", "table", "change_request", t.ID}
	if !told {
		if err := n.Ask(ctx, n.rest(http.MethodPatch, path, nil, map[string]string{"work_notes": "Pavise: " + rendered.ReplaceAllString(s.Text, "($1)") + "\n" + sign}, nil)); err != nil {
			return err
		}
	}
	if s.Sort != stepEnded {
		return nil
	}
	body := map[string]string{"state": "4", "close_code": "unsuccessful", "close_notes": s.Text} // canceled
	if s.State == change.Done {
		body["state"], body["close_code"] = "3", "successful" // closed
	}
	err := n.Ask(ctx, n.rest(http.MethodPatch, path, nil, body, nil))
	if a, ok := err.(*outbound.Answer); ok && (a.Status == http.StatusBadRequest || a.Status == http.StatusForbidden) {
		return nil // its own flow of states has no way there: people close it, and the note says why
	}
	return err
}

// digests is how a description shows a digest.
var digests = regexp.MustCompile(`(?m)^Digest: +([0-9a-f]{64})\r?$`)

// words are approvals of the change request, if it still shows a digest.
func (n *serviceNowTool) words(ctx context.Context, t ticket, opened step) (all []word, err error) {
	var request struct {
		Result struct {
			Description string `json:"description"`
		} `json:"result"`
	}
	path := []string{"now", "table", "change_request", t.ID}
	if err := n.Ask(ctx, n.rest(http.MethodGet, path, url.Values{"sysparm_fields": {"description"}}, nil, &request)); err != nil {
		return nil, err
	}
	var got struct {
		Result []struct {
			ID       string `json:"sys_id"`
			State    string `json:"state"`
			Approver string `json:"approver"`
			User     string `json:"approver.user_name"`
			By       string `json:"sys_updated_by"`
			At       string `json:"sys_updated_on"`
			Comments string `json:"comments"`
		} `json:"result"`
	}
	query := url.Values{
		"sysparm_query": {"sysapproval=" + t.ID + "^stateINapproved,rejected^ORDERBYsys_updated_on"}, "sysparm_limit": {fmt.Sprint(maxWords)},
		"sysparm_fields": {"sys_id,state,approver,approver.user_name,sys_updated_by,sys_updated_on,comments"}, "sysparm_exclude_reference_link": {"true"},
	}
	if err := n.Ask(ctx, n.rest(http.MethodGet, []string{"now", "table", "sysapproval_approver"}, query, nil, &got)); err != nil {
		return nil, err
	}
	shown := digests.FindStringSubmatch(request.Result.Description)
	for _, a := range got.Result[:min(len(got.Result), maxWords)] {
		if a.State != "approved" && a.State != "rejected" {
			continue
		}
		w := word{id: a.ID + "@" + a.At, account: a.Approver, yes: a.State == "approved", reason: clean(a.Comments, maxReason)}
		w.said, err = time.Parse(serviceNowTime, a.At)
		switch {
		case err != nil:
			w.spoiled = "it says no time"
		case a.User == "" || a.User != a.By:
			w.spoiled = "somebody else than the approver set it"
		case shown == nil:
			w.spoiled = "the change request shows no digest any more"
		default:
			w.digest = shown[1]
		}
		if !w.yes {
			w.reason = cmp.Or(w.reason, "rejected there")
		}
		all = append(all, w)
	}
	return asTold(all, request.Result.Description, n.description(opened)), nil
}

// Probe implements prober.
func (n *serviceNowTool) Probe(ctx context.Context) error {
	return n.Ask(ctx, n.rest(http.MethodGet, []string{"now", "table", "change_request"}, url.Values{"sysparm_limit": {"1"}, "sysparm_fields": {"sys_id"}}, nil, nil))
}
