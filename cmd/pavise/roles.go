package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/config"
	"github.com/pavise/pavise/internal/fleet"
	"github.com/pavise/pavise/internal/installation"
	"github.com/pavise/pavise/internal/role"
	"github.com/pavise/pavise/internal/screen"
)

// A configured is a role that is started with a pavise.yaml.
type configured struct {
	Config string `help:"The configuration: pavise config example prints one." default:"pavise.yaml" placeholder:"FILE"`
}

// part returns the part of the file that is for a role, or says that there is none.
func part[T any](c configured, name string, of func(*config.File) *T) (*T, error) {
	file, err := readConfig(c.Config)
	if err != nil {
		return nil, err
	}
	if p := of(file); p != nil {
		return p, nil
	}
	return nil, &pavise.Error{
		Kind: pavise.Invalid, Msg: fmt.Sprintf("%s has no part for pavise %s", c.Config, name),
		Hint: "pavise config example " + name + " prints one",
	}
}

// serveCommand is pavise serve.
type serveCommand struct {
	configured
	AcceptClock  bool     `help:"Go on although the clock was set back; the step is recorded."`
	Reinvite     []string `help:"Invite this person anew, for this one start: they have joined before, and have no good certificate any more; may be repeated. A critical finding says so." placeholder:"NAME"`
	BundlesAbove uint64   `help:"After a restore: give bundles numbers above this one, the highest that a gateway shows as held." placeholder:"N"`
}

// Help says what a control plane is. It is kong's hook for a command's help.
func (*serveCommand) Help() string {
	return `Policies, routes, changes, the console, the built-in CA and the log of the fleet's logs. It answers no
caller of a model: gateways do, by what they are told from here. docs/fleet.md has the rest.`
}

func (s *serveCommand) run(ctx context.Context, c *cli) (err error) {
	cfg, err := part(s.configured, "serve", func(f *config.File) *config.Serve { return f.Serve })
	if err != nil {
		return err
	}
	house, err := role.NewServe(ctx, role.ServeConfig{Serve: *cfg, AcceptClock: s.AcceptClock, Above: s.BundlesAbove, Reinvite: s.Reinvite, Printer: c.stdout, Say: c.say, Now: time.Now})
	if err != nil {
		return stoppedEarly(ctx, err)
	}
	defer func() { err = errors.Join(err, house.Close()) }()
	if err := greetServe(c, house, cfg); err != nil {
		return err
	}
	return house.Run(ctx)
}

// greetServe says where the control plane is, and who may begin.
func greetServe(c *cli, s *role.Serve, cfg *config.Serve) error {
	if c.JSON {
		return c.printJSON(map[string]any{
			"url": s.URL(), "fleet": s.FleetURL(), "fingerprint": s.Fingerprint(), "ca": s.Authority(), "invitations": s.Invitations(), "bootstrap_ignored": s.Ignored(),
		})
	}
	fmt.Fprintf(c.stdout, `pavise serve answers

  console  %s
  fleet    %s (certificates of the built-in CA)
  log      %s
           fingerprint %s
  CA       %s
`, s.URL(), s.FleetURL(), installation.Data(cfg.Data).Ledger(), s.Fingerprint(), s.Authority())
	if s.Ignored() {
		fmt.Fprintln(c.stdout, "\nThe bootstrap block of the configuration was done before, and is ignored.")
	}
	for _, inv := range s.Invitations() {
		fmt.Fprintf(c.stdout, "\nFor %s, once, until %s:\n\n  %s join %s\n", inv.Name.ID, screen.At(inv.Expires), installation.Program(), inv.Text)
	}
	fmt.Fprint(c.stdout, "\nCtrl-C stops.\n")
	return nil
}

// gatewayCommand is pavise gateway.
type gatewayCommand struct {
	configured
	Join        string `help:"The invitation with which this machine joins, once: pavise node invite, at the control plane." env:"PAVISE_INVITATION" placeholder:"INVITATION"`
	AcceptClock bool   `help:"Go on although the clock was set back; the step is recorded."`
}

// Help says what a gateway is. It is kong's hook for a command's help.
func (*gatewayCommand) Help() string {
	return `It answers callers of models, by what the control plane says, and writes a log of its own. When it
hears nothing from the control plane it goes on for a while (grace), also after a restart, and then
refuses everything.`
}

func (g *gatewayCommand) run(ctx context.Context, c *cli) (err error) {
	cfg, err := part(g.configured, "gateway", func(f *config.File) *config.Gateway { return f.Gateway })
	if err != nil {
		return err
	}
	house, err := role.NewGateway(ctx, role.GatewayConfig{Gateway: *cfg, Invitation: g.Join, AcceptClock: g.AcceptClock, Printer: c.stdout, Say: c.say, Now: time.Now})
	if err != nil {
		return stoppedEarly(ctx, err)
	}
	defer func() { err = errors.Join(err, house.Close()) }()
	if c.JSON {
		err = c.printJSON(map[string]any{"url": house.URL(), "health": house.HealthURL(), "name": house.Name(), "fingerprint": house.Fingerprint()})
	} else {
		_, err = fmt.Fprintf(c.stdout, "pavise gateway is %s\n\n  callers  %s\n  health   %s\n  log      %s\n           fingerprint %s\n\nCtrl-C stops.\n",
			house.Name().ID, house.URL(), house.HealthURL(), installation.Data(cfg.Data).Ledger(), house.Fingerprint())
	}
	if err != nil {
		return err
	}
	return house.Run(ctx)
}

// agentCommand is pavise agent.
type agentCommand struct {
	configured
	Join string `help:"The invitation with which this machine joins, once: pavise node invite, at the control plane." env:"PAVISE_INVITATION" placeholder:"INVITATION"`
}

// Help says what an agent does. It is kong's hook for a command's help.
func (*agentCommand) Help() string {
	return `It makes a machine a member of the fleet, says that it is there, and is a witness for the logs of the
others. It claims nothing more of the machine.`
}

func (a *agentCommand) run(ctx context.Context, c *cli) (err error) {
	cfg, err := part(a.configured, "agent", func(f *config.File) *config.Agent { return f.Agent })
	if err != nil {
		return err
	}
	house, err := role.NewAgent(ctx, role.AgentConfig{Agent: *cfg, Invitation: a.Join, Say: c.say, Now: time.Now})
	if err != nil {
		return stoppedEarly(ctx, err)
	}
	defer func() { err = errors.Join(err, house.Close()) }()
	if c.JSON {
		err = c.printJSON(map[string]any{"url": house.URL(), "name": house.Name()})
	} else {
		_, err = fmt.Fprintf(c.stdout, "pavise agent is %s, and answers the fleet's logs on %s\n\nCtrl-C stops.\n", house.Name().ID, house.URL())
	}
	if err != nil {
		return err
	}
	return house.Run(ctx)
}

// joinCommand is pavise join: for people.
type joinCommand struct {
	Invitation string `arg:"" help:"The line that begins with pavise-invite."`
}

// Help says what comes of it. It is kong's hook for a command's help.
func (*joinCommand) Help() string {
	return `Your key is made here (--identity) and never leaves. Commands speak to that control plane with it from then on, and
have the certificate renewed while you use it; who does not for as long as it lives needs a new
invitation.`
}

func (j *joinCommand) run(ctx context.Context, c *cli) error {
	id, err := fleet.Join(ctx, cmp.Or(c.Identity, fleet.DefaultIdentity()), j.Invitation, time.Now)
	if err != nil {
		return err
	}
	if c.JSON {
		return c.printJSON(map[string]any{"name": id.Name(), "server": id.Server(), "expires": id.Expires()})
	}
	fmt.Fprintf(c.stdout, "you are %s at %s; the certificate is good until %s, and renewed as you use it\n", id.Name().ID, id.Server(), screen.At(id.Expires()))
	return nil
}

// certificateCommand is pavise certificate.
type certificateCommand struct {
	Dir string `arg:"" help:"Where tls.crt, tls.key and ca.crt are written."`
}

// Help says how long they are good. It is kong's hook for a command's help.
func (*certificateCommand) Help() string {
	return `For programs that read PEM: curl --cacert ca.crt --cert tls.crt --key tls.key. The certificate is
renewed on the way when half of its life is over; run it again, from cron for example, before it ends.`
}

func (k *certificateCommand) run(ctx context.Context, c *cli) error {
	id, err := fleet.OpenIdentity(ctx, cmp.Or(c.Identity, fleet.DefaultIdentity()), time.Now)
	if err != nil {
		return err
	}
	if err := id.Export(k.Dir); err != nil {
		return err
	}
	if c.JSON {
		return c.printJSON(map[string]any{"name": id.Name(), "expires": id.Expires(), "dir": k.Dir})
	}
	fmt.Fprintf(c.stdout, "tls.crt, tls.key and ca.crt of %s are in %s, good until %s\n", id.Name().ID, k.Dir, screen.At(id.Expires()))
	return nil
}

// personKeyCommand is pavise person key.
type personKeyCommand struct{}

// Help says what the fingerprint is for. It is kong's hook for a command's help.
func (*personKeyCommand) Help() string {
	return `Your key is made where your certificate will be (--identity), if it is not there yet. Tell the
fingerprint to whoever invites you: pavise person invite YOU --key FINGERPRINT.`
}

func (*personKeyCommand) run(_ context.Context, c *cli) error {
	fingerprint, err := fleet.PersonKey(cmp.Or(c.Identity, fleet.DefaultIdentity()))
	if err != nil {
		return err
	}
	if c.JSON {
		return c.printJSON(map[string]string{"key": fingerprint})
	}
	fmt.Fprintln(c.stdout, fingerprint)
	return nil
}
