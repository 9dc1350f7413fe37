package verbs

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/issuer"
	"github.com/pavise/pavise/internal/runner"
)

func (rooms *Rooms) nodeVerbs() []api.Verb {
	onHolder, onCA := []string{issuer.KindHolder}, []string{"ca"}
	renew := api.Do(api.Verb{
		Name: "node.renew", On: onHolder, Class: guard.Pooled, WireOnly: true,
		Help:  "Get another certificate before the one at hand ends",
		About: "For holders of a certificate, who call with it by mutual TLS; the machines of a fleet do it by themselves. A certificate that was renewed before is a copy: it is refused, and a finding.",
	}, func(ctx context.Context, who pavise.Principal, req RenewRequest) (issuer.Issued, error) {
		var leaf *x509.Certificate
		if chain := api.ChainOf(ctx); len(chain) > 0 {
			leaf = chain[0]
		}
		return runner.WithCA(rooms.CA, func(ca *issuer.CA) (issuer.Issued, error) { return ca.Renew(ctx, who, leaf, req.CSR) })
	})
	return []api.Verb{
		api.Do(api.Verb{
			Name: "node.list", On: onHolder, Class: guard.Pooled,
			Help:    "List who holds a certificate, and who is invited to",
			About:   "Machines, programs and people, with their roles, who answers for them, and when their certificate ends. An invitation that is bound to a key is shown, for nobody else can use it.",
			Example: "pavise node list",
		}, func(ctx context.Context, who pavise.Principal, _ api.Empty) (HolderList, error) {
			return runner.WithCA(rooms.CA, func(ca *issuer.CA) (HolderList, error) {
				holders, err := ca.List(ctx, who)
				list := HolderList{Holders: holders}
				if rooms.Nodes != nil {
					list.Nodes = rooms.Nodes()
				}
				return list, err
			})
		}),
		api.Do(api.Verb{
			Name: "node.invite", On: onHolder,
			Help:    "Let a machine or a program join, once",
			About:   "Prints a line that whoever has it may join with, within 15 minutes unless told otherwise. Who joins acts in your name when it comes to approvals. People are invited with pavise person invite.",
			Example: "pavise node invite gw-1 --dns gw-1.acme.example",
		}, func(ctx context.Context, who pavise.Principal, req InviteRequest) (issuer.Invitation, error) {
			ips, err := addresses(req.IP)
			if err != nil {
				return issuer.Invitation{}, err
			}
			return runner.WithCA(rooms.CA, func(ca *issuer.CA) (issuer.Invitation, error) {
				return ca.Invite(ctx, who, issuer.Invite{
					Kind: kindOr(req.Kind), ID: req.ID, Roles: req.Role, DNS: req.DNS, IPs: ips, Environment: req.Environment,
					TTL: time.Duration(req.Minutes) * time.Minute, Key: req.Key,
				})
			})
		}),
		{
			Name: "node.join", On: onHolder,
			Help:  "Join with an invitation",
			About: "POST /v1/node.join, by whoever has an invitation: nobody proves who they are before. The word of the invitation is good once.",
		},
		renew,
		api.Do(api.Verb{
			Name: "node.revoke", On: onHolder, Safe: true,
			Help:    "End somebody's certificate, or take an invitation back, at once",
			About:   "From the next request on, everywhere as soon as the gateways have the bundle. To come back it has to be invited anew.",
			Example: "pavise node revoke gw-1",
		}, func(ctx context.Context, who pavise.Principal, req HolderRequest) (api.Empty, error) {
			return runner.WithCA(rooms.CA, func(ca *issuer.CA) (api.Empty, error) {
				return api.Empty{}, ca.Revoke(ctx, who, kindOr(req.Kind), req.ID)
			})
		}),
		api.Proposing(api.Verb{
			Name: "node.roles", On: onHolder,
			Help:    "Propose other roles for somebody who holds a certificate",
			About:   "They hold from the next request on, with the certificate that is there. Somebody else approves it.",
			Example: "pavise node roles gw-1 analyst",
		}, func(_ context.Context, who pavise.Principal, req RolesRequest) (pavise.Name, error) {
			return holderOf(who, kindOr(req.Kind), req.ID)
		}, func(req RolesRequest) (any, error) {
			return runner.HolderRoles{Roles: append([]string{}, req.Role...)}, nil
		}),
		api.Proposing(api.Verb{
			Name: "person.invite", On: onHolder,
			Help:    "Propose that a person may join, with the fingerprint of their key",
			About:   "Somebody else approves it, who has compared the fingerprint with the person: with it, nobody else can join in their place. Afterwards pavise node list shows the invitation, which is no secret.",
			Example: "pavise person invite ana --key sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 --role operator",
		}, func(_ context.Context, who pavise.Principal, req PersonRequest) (pavise.Name, error) {
			return holderOf(who, pavise.Human, req.ID)
		}, func(req PersonRequest) (any, error) {
			return runner.InvitedPerson{Roles: append([]string{}, req.Role...), Key: req.Key}, nil
		}),
		api.Do(api.Verb{
			Name: "ca.list", On: onCA, Class: guard.Pooled,
			Help:    "List the roots of the built-in CA",
			About:   "One signs; the others are believed: the next one before it signs, the former one until what it signed has ended.",
			Example: "pavise ca list",
		}, func(ctx context.Context, who pavise.Principal, _ api.Empty) (RootList, error) {
			return runner.WithCA(rooms.CA, func(ca *issuer.CA) (RootList, error) {
				roots, err := ca.ListRoots(ctx, who)
				return RootList{roots}, err
			})
		}),
		api.Proposing(api.Verb{
			Name: "ca.rotate", On: onCA,
			Help:    "Propose a step of the rotation of the CA's root",
			About:   "First prepare: the next root is made, and made known to everybody. Machines hear of it within seconds, people when their certificate is renewed. Then activate: it signs, and who does not know it yet believes the control plane no more and has to be invited anew. Then, when what the former one signed has ended, retire: that one is believed no more. Somebody else approves each step.",
			Example: "pavise ca rotate prepare",
		}, func(_ context.Context, who pavise.Principal, _ RotateRequest) (pavise.Name, error) {
			return pavise.Name{Tenant: who.Tenant, Kind: "ca", ID: "roots"}, nil
		}, func(req RotateRequest) (any, error) { return runner.Rotation{Step: req.Step}, nil }),
	}
}

// HolderList holds holders of certificates, and how those that are machines stand.
type HolderList struct {
	Holders []issuer.Holder `json:"holders"`
	Nodes   []NodeState     `json:"nodes,omitempty"` // how machines stand, as they said last
}

// RootList holds roots of the CA.
type RootList struct {
	Roots []issuer.Root `json:"roots"`
}

// InviteRequest asks for an invitation.
type InviteRequest struct {
	ID          string   `json:"id" arg:"" help:"its id: letters, digits and . _ -" doc:"its id: letters, digits and . _ -"`
	Kind        string   `json:"kind,omitempty" enum:"node,workload" default:"node" help:"node or workload" doc:"node or workload"`
	Role        []string `json:"role,omitempty" help:"a role of machines that it has; may be repeated" doc:"the roles of machines that it has"`
	DNS         []string `json:"dns,omitempty" help:"a name that it serves under; may be repeated" doc:"the names that it serves under"`
	IP          []string `json:"ip,omitempty" help:"an address that it serves at; may be repeated" doc:"the addresses that it serves at"`
	Environment string   `json:"environment,omitempty" help:"where it runs, for example prod" doc:"where it runs, for example prod"`
	Minutes     int      `json:"minutes,omitempty" default:"15" help:"how long the invitation is open, at most 1440" doc:"how long the invitation is open" minimum:"1" maximum:"1440"`
	Key         string   `json:"key,omitempty" help:"fingerprint of the key that it will hold: then the invitation is no secret" doc:"fingerprint of the key that it will hold, sha256: and 64 hex digits"`
}

// PersonRequest proposes to invite a person.
type PersonRequest struct {
	ID     string   `json:"id" arg:"" help:"the person's id: letters, digits and . _ -" doc:"the person's id: letters, digits and . _ -"`
	Key    string   `json:"key" required:"true" help:"fingerprint of the person's public key: sha256: and 64 hex digits" doc:"fingerprint of the person's public key: sha256: and 64 hex digits"`
	Role   []string `json:"role,omitempty" help:"a role that they have; may be repeated" doc:"the roles that they have"`
	Reason string   `json:"reason,omitempty" help:"why" doc:"why"`
}

// HolderRequest names a holder.
type HolderRequest struct {
	ID   string `json:"id" arg:"" help:"its id" doc:"its id"`
	Kind string `json:"kind,omitempty" enum:"node,workload,human" default:"node" help:"node, workload or human" doc:"node, workload or human"`
}

// RolesRequest proposes other roles.
type RolesRequest struct {
	ID     string   `json:"id" arg:"" help:"the holder's id" doc:"the holder's id"`
	Role   []string `json:"role" arg:"" optional:"" help:"the roles that it has then; none: none" doc:"the roles that it has then"`
	Kind   string   `json:"kind,omitempty" enum:"node,workload,human" default:"node" help:"node, workload or human" doc:"node, workload or human"`
	Reason string   `json:"reason,omitempty" help:"why" doc:"why"`
}

// RotateRequest proposes a step of a rotation.
type RotateRequest struct {
	Step   string `json:"step" arg:"" enum:"prepare,activate,retire" help:"prepare, activate or retire" doc:"prepare, activate or retire"`
	Reason string `json:"reason,omitempty" help:"why" doc:"why"`
}

// RenewRequest asks for another certificate.
type RenewRequest struct {
	CSR []byte `json:"csr" doc:"certificate request, PKCS #10 in DER, as base64"`
}

// Why is the reason that goes with it.
func (r PersonRequest) Why() string { return r.Reason }

// Why is the reason that goes with it.
func (r RolesRequest) Why() string { return r.Reason }

// Why is the reason that goes with it.
func (r RotateRequest) Why() string { return r.Reason }

func kindOr(kind string) string {
	if kind == "" {
		return pavise.Node
	}
	return kind
}

// addresses reads IP addresses.
func addresses(texts []string) (ips []net.IP, err error) {
	for _, text := range texts {
		ip := net.ParseIP(text)
		if ip == nil {
			return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.80q is no IP address", text), Hint: "write it as 192.0.2.1 or 2001:db8::1; names go behind --dns"}
		}
		ips = append(ips, ip)
	}
	return ips, nil
}

// holderOf returns the name of a holder.
func holderOf(who pavise.Principal, kind, id string) (pavise.Name, error) {
	name := pavise.Name{Tenant: who.Tenant, Kind: issuer.KindHolder, ID: kind + ":" + id}
	return name, name.Validate()
}
