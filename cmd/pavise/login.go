package main

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/login"
	"github.com/pavise/pavise/internal/screen"
	"github.com/pavise/pavise/internal/verbs"
)

// loginCommand is pavise login.
type loginCommand struct {
	Issuer    string   `help:"The OpenID provider of your organisation, by the URL that its tokens name." required:"" placeholder:"URL"`
	ClientID  string   `help:"What this program is called there: a public client." required:"" placeholder:"ID"`
	Device    bool     `help:"Confirm in a browser elsewhere, with a code."`
	Resource  string   `help:"Ask for an access token for this (RFC 8707)." placeholder:"NAME"`
	Scope     []string `help:"Ask for this scope, too; may be repeated." placeholder:"SCOPE"`
	IDToken   bool     `help:"Use the ID token, not the access token."`
	NoBrowser bool     `help:"Show the link, and open no browser."`
}

// loginWithin is how long a whole login may take.
const loginWithin = 45 * time.Minute

func (l *loginCommand) run(ctx context.Context, c *cli) error {
	server, err := loginServer(c.Server)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, loginWithin)
	defer cancel()
	flow := login.Browser
	if l.Device {
		flow = login.Device
	}
	grant, err := flow(ctx, login.Config{
		Issuer: l.Issuer, ClientID: l.ClientID, Scopes: l.Scope, Resource: l.Resource,
		Ask: func(r login.Request) { l.ask(c, r) },
	})
	if err != nil {
		return err
	}
	token, err := grant.Token(l.IDToken)
	if err != nil {
		return err
	}
	kept := login.Kept{Server: server, Token: token, Expires: grant.Expires}
	who, err := whoami(ctx, &api.Client{Base: server, Token: token})
	if err != nil {
		return err // what the server does not take is not kept
	}
	if kept.Expires.IsZero() || who.Expires.Before(kept.Expires) {
		kept.Expires = who.Expires
	}
	if err := login.Keep(kept); err != nil {
		return err
	}
	if c.JSON {
		return c.printJSON(who)
	}
	fmt.Fprintf(c.stdout, "logged in to %s as %s until %s\n", server, who.Name, screen.Second(kept.Expires))
	return nil
}

// ask shows a person what to do, and opens the browser for them.
func (l *loginCommand) ask(c *cli, r login.Request) {
	if c.JSON {
		screen.WriteJSON(c.stderr, map[string]string{"open": r.URL, "code": r.Code}, "")
	} else {
		fmt.Fprintf(c.stderr, "open %s\n", r.URL)
		if r.Code != "" {
			fmt.Fprintf(c.stderr, "and confirm the code %s\n", r.Code)
		}
	}
	if !l.NoBrowser && !l.Device {
		openBrowser(r.URL)
	}
}

// openBrowser opens a link as the desktop does. Where there is none, the link that was
// shown remains.
func openBrowser(link string) {
	name := "xdg-open"
	if runtime.GOOS == "darwin" {
		name = "open"
	}
	command := exec.Command(name, link)
	if command.Start() == nil {
		go command.Wait()
	}
}

// loginServer is the server to log in to. A token goes nowhere unencrypted but within
// this machine.
func loginServer(server string) (string, error) {
	server = strings.TrimSuffix(server, "/")
	u, err := url.Parse(server)
	if server == "" {
		return "", &pavise.Error{Kind: pavise.Invalid, Msg: "no server to log in to", Hint: "name it with --server or $PAVISE_SERVER"}
	}
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http" {
		return "", &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%q is not the address of a server", server), Hint: "write it as https://pavise.example"}
	}
	ip := net.ParseIP(u.Hostname())
	if u.Scheme == "http" && u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return "", &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s is not encrypted, and whoever sees a token has it", server), Hint: "use https; http is for this machine alone"}
	}
	return server, nil
}

// whoami asks a server whom it takes its caller for.
func whoami(ctx context.Context, client *api.Client) (who verbs.Whoami, err error) {
	return who, client.Call(ctx, "issuer.whoami", api.Empty{}, &who)
}

// whoamiCommand is pavise whoami.
type whoamiCommand struct{}

func (*whoamiCommand) run(ctx context.Context, c *cli) error {
	return c.call(ctx, "issuer.whoami", &api.Empty{})
}

// logoutCommand is pavise logout.
type logoutCommand struct{}

func (*logoutCommand) run(_ context.Context, c *cli) error {
	server, err := login.Forget(c.Server)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.stdout, "logged out of %s; the token is good until its end for whoever else has it\n", server)
	return nil
}
