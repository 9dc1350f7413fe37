package console

import (
	"net/http"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/verbs"
)

// maxCallers is how many callers the page shows, the most recent.
const maxCallers = 200

// A grantItem is a role that somebody has for a time.
type grantItem struct {
	guard.Grant
	Left string // for how long yet
}

// A callerItem is somebody who has asked.
type callerItem struct {
	guard.Caller
	Over bool // their last proof has ended
}

// A callerPage is the body of the page of callers.
type callerPage struct {
	Grants  []grantItem
	Unknown *refusal // why Grants are not known
	Refusal *refusal // what came of a revocation that was just sent, if nothing did
	Callers []callerItem
	More    int // callers that are not shown
}

// callers shows who has asked, and which roles people have for a time.
func (c *Console) callers(w http.ResponseWriter, r *http.Request, s *visitor) {
	c.showCallers(w, r, s, http.StatusOK, nil)
}

func (c *Console) showCallers(w http.ResponseWriter, r *http.Request, s *visitor, status int, refused *refusal) {
	var list verbs.CallerList
	if err := s.client.Call(r.Context(), "caller.list", api.Empty{}, &list); err != nil {
		c.refuse(w, s, err)
		return
	}
	body, now := callerPage{Refusal: refused, More: max(0, len(list.Callers)-maxCallers)}, c.cfg.Now()
	for _, one := range list.Callers[:min(len(list.Callers), maxCallers)] {
		body.Callers = append(body.Callers, callerItem{one, !one.Expires.IsZero() && !now.Before(one.Expires)})
	}
	var grants verbs.GrantList
	if err := s.client.Call(r.Context(), "grant.list", api.Empty{}, &grants); err != nil {
		body.Unknown = newRefusal(err)
	}
	for _, g := range grants.Grants {
		body.Grants = append(body.Grants, grantItem{g, left(g.Until.Sub(now))})
	}
	c.show(w, s, status, "callers", page{Title: "Callers", Here: "/access", Body: body})
}

// revoke takes a role back, at once. As with votes, only the form counts.
func (c *Console) revoke(w http.ResponseWriter, r *http.Request, s *visitor) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		c.fail(w, s, http.StatusBadRequest, "That cannot be read", "The form is too long, or it broke off. Nothing was revoked.", "open the page again: /callers")
		return
	}
	holder, err := pavise.ParseName(r.PostForm.Get("holder"))
	if err == nil {
		err = s.client.Call(r.Context(), "grant.revoke", verbs.GrantRef{Holder: holder, Role: r.PostForm.Get("role")}, nil)
	}
	if err != nil {
		c.showCallers(w, r, s, pavise.KindOf(err).HTTPStatus(), newRefusal(err))
		return
	}
	http.Redirect(w, r, "/callers", http.StatusSeeOther)
}

// toCallers leads from the address that a revocation was sent to, to the callers: people
// reload pages.
func (c *Console) toCallers(w http.ResponseWriter, r *http.Request, _ *visitor) {
	http.Redirect(w, r, "/callers", http.StatusSeeOther)
}
