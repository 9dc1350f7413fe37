package verbs

import (
	"context"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/runner"
	"github.com/pavise/pavise/internal/ticket"
)

func (rooms *Rooms) ticketVerbs() []api.Verb {
	onTool := []string{ticket.KindTool}
	return []api.Verb{
		api.Do(api.Verb{
			Name: "ticket.put", On: onTool,
			Help:    "Tell changes to a tool that people have, or give one another address or secret",
			About:   "Each change that waits for others gets a ticket there, which is kept up to date and closed. Kinds are jira, servicenow, github, gitlab, pagerduty, cloudevents (CDEvents) and webhook (Standard Webhooks). Of github-deployments and gitlab-deployments it is the other way round: deployments wait there until a change here is approved. The secret that is shown once signs what the last two are sent, and lets any of them say that there is something to hear. The address is https, except on this machine. In another place it is another tool: accounts that were known there are forgotten.",
			Example: "pavise ticket put events --kind cloudevents --url http://127.0.0.1:9/events",
		}, func(ctx context.Context, who pavise.Principal, req TicketPut) (ticket.Given, error) {
			desk, err := rooms.desk()
			if err != nil {
				return ticket.Given{}, err
			}
			return desk.Put(ctx, who, ticket.Put{Name: req.Name, Kind: req.Kind, URL: req.URL, Project: req.Project, User: req.User, Secret: strings.TrimSpace(string(req.Secret))})
		}),
		api.Do(api.Verb{
			Name: "ticket.list", On: onTool, Class: guard.Pooled,
			Help:    "Show which tools changes are told to, and how each fares",
			About:   "With what each has not taken yet. Of an address that may be a secret only the host is shown.",
			Example: "pavise ticket list",
		}, func(ctx context.Context, who pavise.Principal, _ api.Empty) (ToolList, error) {
			desk, err := rooms.desk()
			if err != nil {
				return ToolList{}, err
			}
			all, err := desk.List(ctx, who)
			return ToolList{all}, err
		}),
		api.Do(api.Verb{
			Name: "ticket.show", On: onTool, Class: guard.Pooled,
			Help:    "Show a tool: its tickets, what was said on them, and whose accounts are known",
			About:   "With each word what came of it: counted, or why it is no vote.",
			Example: "pavise ticket show events",
		}, func(ctx context.Context, who pavise.Principal, req ToolName) (ticket.Shown, error) {
			desk, err := rooms.desk()
			if err != nil {
				return ticket.Shown{}, err
			}
			return desk.Show(ctx, who, req.Name)
		}),
		api.Do(api.Verb{
			Name: "ticket.test", On: onTool,
			Help:    "Ask a tool whether it would take what it is told",
			About:   "Once. One that is sent messages gets one that says it is a test.",
			Example: "pavise ticket test events",
		}, func(ctx context.Context, who pavise.Principal, req ToolName) (ticket.Tried, error) {
			desk, err := rooms.desk()
			if err != nil {
				return ticket.Tried{}, err
			}
			return desk.Test(ctx, who, req.Name)
		}),
		api.Do(api.Verb{
			Name: "ticket.remove", On: onTool,
			Help:    "Tell a tool of no more changes, and forget its secret and its accounts",
			About:   "Tickets stay where they are.",
			Example: "pavise ticket remove events",
		}, func(ctx context.Context, who pavise.Principal, req ToolName) (api.Empty, error) {
			desk, err := rooms.desk()
			if err != nil {
				return api.Empty{}, err
			}
			return api.Empty{}, desk.Remove(ctx, who, req.Name)
		}),
		api.Proposing(api.Verb{
			Name: "ticket.map", On: onTool,
			Help:    "Propose that what an account of a tool says on tickets is a person's vote",
			About:   "Give the tool's own id of the account, which no renaming takes over. What it says counts as that person's, in the roles that you name and no others, for --days at most, and never on what is of high risk. Others approve it, and the person is none of them.",
			Example: "pavise ticket map work 4711 local/human/ann --role operator",
		}, func(_ context.Context, who pavise.Principal, req TicketMap) (pavise.Name, error) {
			return pavise.Name{Tenant: who.Tenant, Kind: ticket.KindTool, ID: req.Name}, nil
		}, func(req TicketMap) (any, error) {
			return ticket.MapSpec{Account: req.Account, Person: req.Person, Roles: req.Role, Days: req.Days}, nil
		}),
		api.Proposing(api.Verb{
			Name: "ticket.pass", On: onTool,
			Help:    "Propose that a deployment goes on that waits in a tool",
			About:   "The desk proposes it itself as soon as one waits, so that this is seldom needed. Where it is approved the tool is told so; where it is not, that it was rejected. Who began the deployment there is none of those who approve it, if their account is known.",
			Example: "pavise ticket pass pipelines 4711",
		}, func(_ context.Context, who pavise.Principal, req TicketPass) (pavise.Name, error) {
			return pavise.Name{Tenant: who.Tenant, Kind: ticket.KindTool, ID: req.Name}, nil
		}, func(req TicketPass) (any, error) { return ticket.PassSpec{Deployment: req.Deployment}, nil }),
		api.Do(api.Verb{
			Name: "ticket.unmap", On: onTool, Safe: true,
			Help:    "Let what an account of a tool says be nobody's vote any more, at once",
			About:   "What it said before stays. A revocation of the person, pavise issuer revoke, does the same for all their accounts.",
			Example: "pavise ticket unmap work 4711",
		}, func(ctx context.Context, who pavise.Principal, req TicketUnmap) (api.Empty, error) {
			desk, err := rooms.desk()
			if err != nil {
				return api.Empty{}, err
			}
			return api.Empty{}, desk.Unmap(ctx, who, req.Name, req.Account)
		}),
	}
}

// desk is that of the house, if it has one.
func (rooms *Rooms) desk() (*ticket.Desk, error) {
	if rooms.Tickets == nil {
		return nil, runner.ErrNoTickets
	}
	return rooms.Tickets, nil
}

// TicketPut makes a tool known.
type TicketPut struct {
	Name    string `json:"name" arg:"" help:"the tool's name" doc:"the tool's name"`
	Kind    string `json:"kind" required:"true" enum:"jira,servicenow,github,gitlab,pagerduty,cloudevents,webhook,github-deployments,gitlab-deployments" help:"what it is: jira, servicenow, github, gitlab, pagerduty, cloudevents, webhook, github-deployments or gitlab-deployments" doc:"what it is"`
	URL     string `json:"url" required:"true" help:"where it is: https://…" doc:"where it is: https, except on this machine"`
	Project string `json:"project,omitempty" help:"Jira's key of the project, or owner/name in GitHub and GitLab" doc:"Jira's key of the project, or owner/name in GitHub and GitLab"`
	User    string `json:"user,omitempty" help:"who asks, in Jira and ServiceNow, where the secret is a password or an API token; the client ID of the app, for github-deployments" doc:"who asks, in Jira and ServiceNow, where the secret is a password or an API token; the client ID of the app, for github-deployments"`
	Secret  []byte `json:"secret,omitempty" name:"secret-file" type:"filecontent" placeholder:"FILE" help:"a token, a password, PagerDuty's routing key or the private key of an app of GitHub, in a file; left out, it is as it was" doc:"a token, a password, a routing key or the private key of an app; absent: as it was"`
}

// ToolName names a tool.
type ToolName struct {
	Name string `json:"name" arg:"" help:"the tool's name" doc:"the tool's name"`
}

// TicketMap proposes a mapping.
type TicketMap struct {
	Name    string      `json:"name" arg:"" help:"the tool's name" doc:"the tool's name"`
	Account string      `json:"account" arg:"" help:"the tool's own id of the account" doc:"the tool's own id of the account: accountId in Jira, the number in GitHub and GitLab, sys_id in ServiceNow"`
	Person  pavise.Name `json:"person" arg:"" help:"who it is: tenant/human/id" doc:"who it is, as tenant/human/id"`
	Role    []string    `json:"role" required:"true" minItems:"1" help:"as what they vote from there; may be repeated" doc:"the roles as which they vote from there"`
	Days    int         `json:"days,omitempty" default:"90" minimum:"1" maximum:"90" help:"for how many days" doc:"for how many days; 90 when absent"`
	Reason  string      `json:"reason,omitempty" help:"why" doc:"why"`
}

// TicketPass proposes that a deployment goes on.
type TicketPass struct {
	Name       string `json:"name" arg:"" help:"the tool's name" doc:"the tool's name"`
	Deployment string `json:"deployment" arg:"" help:"the deployment, as pavise ticket show lists it" doc:"the deployment, by the id that ticket.show lists"`
	Reason     string `json:"reason,omitempty" help:"why" doc:"why"`
}

// TicketUnmap names an account.
type TicketUnmap struct {
	Name    string `json:"name" arg:"" help:"the tool's name" doc:"the tool's name"`
	Account string `json:"account" arg:"" help:"the tool's own id of the account" doc:"the tool's own id of the account"`
}

// ToolList holds tools.
type ToolList struct {
	Tools []ticket.Tool `json:"tools"`
}

// Why is the reason that goes with it.
func (r TicketPass) Why() string { return r.Reason }

// Why is the reason that goes with it.
func (r TicketMap) Why() string { return r.Reason }
