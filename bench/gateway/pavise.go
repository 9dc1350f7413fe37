package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/config"
	"github.com/pavise/pavise/internal/fleet"
	"github.com/pavise/pavise/internal/installation"
	"github.com/pavise/pavise/internal/porttest"
	"github.com/pavise/pavise/internal/role"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/verbs"
)

// plenty are terms that no load here reaches; they are counted all the same.
const plenty = "50000000/1m"

// spec is how a model comes behind the firewall: its columns bounded, callers limited,
// answers rounded.
func (pl *place) spec(tenant string, m model) route.Spec {
	return route.Spec{
		Name: tenant + "/model/" + m.name, Upstream: "http://" + pl.upstream, Bounds: m.bounds(),
		Rate: plenty, Budget: plenty, ModelRate: plenty, ModelBudget: plenty, Shape: "round:4",
	}
}

// An issuer signs callers' tokens.
type issuer struct {
	key    *ecdsa.PrivateKey
	record string // the file by which it is trusted
}

func (pl *place) issuer() (*issuer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(map[string]any{
		"url": "https://issuer.example", "audience": "pavise", "algorithms": []string{"ES256"}, "roles": []string{"caller"}, "max_ttl": "1h",
		"jwks": jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "1", Algorithm: "ES256", Use: "sig"}}},
	})
	if err != nil {
		return nil, err
	}
	i := &issuer{key, filepath.Join(pl.dir, "issuer.json")}
	return i, os.WriteFile(i.record, text, 0o600)
}

// token is a caller's, for an hour.
func (i *issuer) token(subject string) (string, error) {
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: i.key}, (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", "1"))
	if err != nil {
		return "", err
	}
	now := time.Now().Unix()
	claims, err := json.Marshal(map[string]any{
		"iss": "https://issuer.example", "aud": "pavise", "sub": subject, "iat": now, "exp": now + 3600, "pavise_roles": []string{"caller"},
	})
	if err != nil {
		return "", err
	}
	signed, err := s.Sign(claims)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

// buildPavise builds the binary as it is shipped.
func (pl *place) buildPavise(ctx context.Context) (string, error) {
	binary := filepath.Join(pl.dir, "pavise")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, "./cmd/pavise")
	cmd.Dir = ".."
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return binary, nil
}

// up starts pavise up, with the models behind its firewall.
func (pl *place) up(ctx context.Context, binary string, by *issuer) (*proxy, error) {
	port, err := porttest.Free()
	if err != nil {
		return nil, err
	}
	p := &proxy{name: "Pavise", addr: fmt.Sprintf("127.0.0.1:%d", port)}
	if p.token, err = by.token("app"); err != nil {
		return nil, err
	}
	data := installation.Data(filepath.Join(pl.dir, "up"))
	if _, err := pl.run(p, binary, "up", "--data", string(data), "--listen", p.addr, "--issuer", by.record); err != nil {
		return nil, err
	}
	access, err := await(func() (installation.Access, error) { return data.ReadAccess("") })
	if err != nil {
		return p, err
	}
	operator := &api.Client{Base: access.Server, Token: access.Token}
	for _, m := range models {
		if err := operator.Call(ctx, "route.put", pl.spec(role.Tenant, m), nil); err != nil {
			return p, err
		}
	}
	return p, operator.Call(ctx, "route.put", pl.chatSpec(role.Tenant), nil)
}

// chatSpec is how a language model comes behind the firewall.
func (pl *place) chatSpec(tenant string) map[string]any {
	return map[string]any{
		"name": tenant + "/model/" + chatModel, "upstream": "http://" + pl.upstream, "protocol": "openai", "prompts": map[string]bool{"off": pl.unread},
		"rate": plenty, "budget": plenty, "model_rate": plenty, "model_budget": plenty,
	}
}

// fleet starts a control plane in this process, which does nothing while nothing
// changes, and pavise gateway, which takes callers by TLS.
func (pl *place) fleet(ctx context.Context, binary string, by *issuer) (p *proxy, err error) {
	ctx, stop := context.WithCancel(ctx)
	s, err := role.NewServe(ctx, role.ServeConfig{Now: time.Now, Say: func(string, error) {}, Serve: config.Serve{
		Data: filepath.Join(pl.dir, "serve"), Tenant: "bench", TrustDomain: "bench.example", Listen: "127.0.0.1:0", Fleet: "127.0.0.1:0", Names: []string{"localhost"}, Grace: time.Hour,
		Issuers:   []string{by.record},
		Bootstrap: &config.Bootstrap{People: []config.Person{{ID: "ana", Roles: []string{"operator"}}}},
	}})
	if err != nil {
		stop()
		return nil, err
	}
	ran := make(chan error, 1)
	go func() { ran <- s.Run(ctx) }()
	p = &proxy{name: "Pavise", also: func() error { stop(); return errors.Join(<-ran, s.Close()) }}
	ana, err := fleet.Join(ctx, filepath.Join(pl.dir, "ana"), s.Invitations()[0].Text, time.Now)
	if err != nil {
		return p, err
	}
	for _, m := range models {
		if err := ana.Client().Call(ctx, "route.put", pl.spec("bench", m), nil); err != nil {
			return p, err
		}
	}
	if err := ana.Client().Call(ctx, "route.put", pl.chatSpec("bench"), nil); err != nil {
		return p, err
	}
	var invited struct {
		Text string `json:"invitation"`
	}
	if err := ana.Client().Call(ctx, "node.invite", verbs.InviteRequest{ID: "gw", DNS: []string{"localhost"}}, &invited); err != nil {
		return p, err
	}
	if p.token, err = by.token("app"); err != nil {
		return p, err
	}
	return p, pl.gateway(ctx, p, binary, s.FleetURL(), invited.Text)
}

// gateway starts pavise gateway, and waits until it answers.
func (pl *place) gateway(ctx context.Context, p *proxy, binary, server, invitation string) error {
	_, port, _, secure, err := ports()
	if err != nil {
		return err
	}
	health, err := porttest.Free()
	if err != nil {
		return err
	}
	p.tls = secure
	text := fmt.Sprintf("gateway:\n  data: %s\n  server: %s\n  listen: 127.0.0.1:%d\n  health: 127.0.0.1:%d\n  names: [localhost]\n  tls:\n    certificate: %s\n    key: %s\n",
		filepath.Join(pl.dir, "gw"), server, port, health, pl.cert, pl.key)
	conf := filepath.Join(pl.dir, "gateway.yaml")
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return err
	}
	if _, err := pl.run(p, binary, "gateway", "--config", conf, "--join", invitation); err != nil {
		return err
	}
	_, err = await(func() (struct{}, error) {
		_, err := answer(ctx, p, scenario{path: "/v2/models/small/infer", body: models[1].question(), tls: true, check: func([]byte) error { return nil }})
		return struct{}{}, err
	})
	return err
}

// await tries until it works, for half a minute.
func await[T any](try func() (T, error)) (v T, err error) {
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if v, err = try(); err == nil {
			return v, nil
		}
	}
	return v, err
}

// anyServer is a client that takes the certificate made for this run.
var anyServer = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}

// answer asks a proxy once, with a client that is not the generator of load, and returns
// the answer, which it has checked.
func answer(ctx context.Context, p *proxy, s scenario) ([]byte, error) {
	addr, _ := p.takes(s)
	scheme := "http"
	if s.tls {
		scheme = "https"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, scheme+"://"+addr+s.path, bytes.NewReader(s.body))
	if err != nil {
		return nil, err
	}
	req.Host = "localhost"
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+p.token)
	for line := range strings.SplitSeq(strings.TrimSpace(p.headers), "\r\n") {
		if name, value, ok := strings.Cut(line, ": "); ok {
			req.Header.Set(name, value)
		}
	}
	resp, err := anyServer.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s with %d: %.300s", p.name, s.path, resp.StatusCode, body)
	}
	return body, s.check(body)
}
