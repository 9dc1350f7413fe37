package role

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/config"
	"github.com/pavise/pavise/internal/issuer"
)

// reinvite invites people anew whom the configuration of this start names: when nobody has
// a good certificate any more, whoever holds the host is all that is left. Each is a
// critical finding, on disk before the invitation is made.
func (s *Serve) reinvite(ctx context.Context) error {
	for i, id := range s.cfg.Reinvite {
		if slices.Contains(s.cfg.Reinvite[:i], id) {
			continue
		}
		if err := s.inviteAgain(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

func (s *Serve) inviteAgain(ctx context.Context, id string) error {
	was, err := s.ca.Holder(pavise.Human, id)
	roles := was.Roles
	invite := func() (issuer.Invitation, error) { return s.ca.Again(ctx, id) }
	if err != nil {
		first, began := s.beganWith(id)
		if !began {
			return &pavise.Error{
				Kind: pavise.NotFound, Msg: fmt.Sprintf("%.80q has never been a member here, and this installation did not begin with them", id),
				Hint: "--reinvite is for those who were; others are invited as a change: pavise person invite",
			}
		}
		roles = first.Roles
		invite = func() (issuer.Invitation, error) {
			return s.ca.First(ctx, issuer.Invite{ID: first.ID, Roles: first.Roles, Key: first.Key})
		}
	}
	summary := fmt.Sprintf("whoever started the control plane, as %s on its host, invited %s anew, in the roles %s; what they had before is good no more", userName(), id, strings.Join(roles, ", "))
	if err := s.Finding(ctx, issuer.KindReinvited, pavise.Name{Tenant: s.Tenant, Kind: pavise.Human, ID: id}, summary, map[string]any{"roles": roles}); err != nil {
		return err
	}
	inv, err := invite()
	if err == nil {
		s.invitations = append(s.invitations, inv)
	}
	return err
}

// beganWith finds somebody among those with whom the installation began: they may have
// let their first invitation lapse. What the log says counts, and not what the file says now.
func (s *Serve) beganWith(id string) (config.Person, bool) {
	for _, r := range s.Log.Records(0, beginning) {
		var began struct {
			People []config.Person `json:"people"`
		}
		if r.Kind != noteBegan || json.Unmarshal(r.Detail, &began) != nil {
			continue
		}
		if i := slices.IndexFunc(began.People, func(p config.Person) bool { return p.ID == id }); i >= 0 {
			return began.People[i], true
		}
	}
	return config.Person{}, false
}
