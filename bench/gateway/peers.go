package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/pavise/pavise/internal/porttest"
)

// A place is what everybody who is measured is put into: a directory, a model server
// behind, a certificate, and tools that were fetched.
type place struct {
	dir, tools  string
	upstream    string // host:port
	cert, key   string // PEM files
	both        string // both in one
	connections int    // how many a proxy may hold, both sides together
	fetch       bool   // what is not there is fetched
	unread      bool   // nobody looks at prompts and answers
}

// A proxy is one that runs.
type proxy struct {
	name    string
	version string
	process *process
	addr    string // of HTTP; "" if it has none
	tls     string // of HTTPS
	chat    bool   // knows nothing but language models
	measure bool   // a measure of the machine and no peer: takes nothing but tensors
	headers string // beside those of everybody, each with its line's end
	token   string // Pavise's
	also    func() error
}

func (p *proxy) stop() error {
	err := p.process.stop()
	if p.also != nil {
		err = errors.Join(err, p.also())
	}
	return err
}

// takes reports where the proxy takes what a scenario asks, or that it does not.
func (p *proxy) takes(s scenario) (addr string, ok bool) {
	if p.chat && !s.chat || p.measure && s.chat {
		return "", false
	}
	if addr = p.addr; s.tls {
		addr = p.tls
	}
	return addr, addr != ""
}

// request is all bytes of what a scenario asks of the proxy.
func (p *proxy) request(path string, body []byte) []byte { return p.as(p.token, path, body) }

// as is request in somebody's name.
func (p *proxy) as(token, path string, body []byte) []byte {
	if token == "" {
		token = "a-token-that-nobody-looks-at." + strings.Repeat("x", 300) // as long as one is
	}
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%s\r\n%s", path, token, len(body), p.headers, body)
}

// certificate makes one for localhost that lasts a day.
func (pl *place) certificate() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	pl.cert, pl.key, pl.both = filepath.Join(pl.dir, "tls.crt"), filepath.Join(pl.dir, "tls.key"), filepath.Join(pl.dir, "tls.pem")
	return errors.Join(os.WriteFile(pl.cert, certPEM, 0o600), os.WriteFile(pl.key, keyPEM, 0o600), os.WriteFile(pl.both, append(certPEM, keyPEM...), 0o600))
}

// ports returns two free ones and their addresses.
func ports() (plain, secure int, addr, tls string, err error) {
	if plain, err = porttest.Free(); err != nil {
		return
	}
	if secure, err = porttest.Free(); err != nil {
		return
	}
	return plain, secure, fmt.Sprintf("127.0.0.1:%d", plain), fmt.Sprintf("127.0.0.1:%d", secure), nil
}

// errNotHere is a peer that this machine does not have.
var errNotHere = errors.New("not here")

// found returns the path of a program, which may stand where only root looks.
func found(name string) (string, error) {
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/usr/local/sbin") {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%w: there is no %s; Debian has it", errNotHere, name)
}

// run starts a peer and waits until it listens.
func (pl *place) run(p *proxy, name string, args ...string) (*proxy, error) {
	cmd := command(proxyCore, name, args...)
	cmd.Dir = pl.dir
	cmd.Env = append(os.Environ(), "HOME="+pl.dir, "XDG_DATA_HOME="+pl.dir, "XDG_CONFIG_HOME="+pl.dir)
	var err error
	if p.process, err = start(cmd); err != nil {
		return nil, err
	}
	for _, addr := range []string{p.addr, p.tls} {
		if addr == "" {
			continue
		}
		if err := listening(p.process, addr); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (pl *place) nginx(context.Context) (*proxy, error) {
	bin, err := found("nginx")
	if err != nil {
		return nil, err
	}
	version, err := exec.Command(bin, "-v").CombinedOutput()
	if err != nil {
		return nil, err
	}
	plain, secure, addr, tls, err := ports()
	if err != nil {
		return nil, err
	}
	conf := filepath.Join(pl.dir, "nginx.conf")
	// Of its connections nginx keeps a sixteenth free: it closes those whose request has not
	// come yet. So it is told of more than there are files for.
	text := fmt.Sprintf(`daemon off;
worker_processes 1;
worker_rlimit_nofile %[1]d;
pid %[2]s/nginx.pid;
error_log stderr crit;
events { worker_connections %[8]d; }
http {
	access_log off;
	client_body_temp_path %[2]s/nginx-body;
	proxy_temp_path %[2]s/nginx-proxy;
	fastcgi_temp_path %[2]s/nginx-fastcgi;
	uwsgi_temp_path %[2]s/nginx-uwsgi;
	scgi_temp_path %[2]s/nginx-scgi;
	upstream models {
		server %[3]s;
		keepalive 64;
		keepalive_requests 1000000000;
	}
	keepalive_requests 1000000000;
	proxy_http_version 1.1;
	proxy_set_header Connection "";
	proxy_set_header Host $host;
	server {
		listen 127.0.0.1:%[4]d backlog=4096;
		location / { proxy_pass http://models; }
		location /v1/ { proxy_pass http://models; proxy_buffering off; proxy_read_timeout 10m; }
	}
	server {
		listen 127.0.0.1:%[5]d ssl http2;
		ssl_certificate %[6]s;
		ssl_certificate_key %[7]s;
		ssl_protocols TLSv1.3;
		location / { proxy_pass http://models; }
		location /v1/ { proxy_pass http://models; proxy_buffering off; proxy_read_timeout 10m; }
	}
}
`, pl.connections, pl.dir, pl.upstream, plain, secure, pl.cert, pl.key, pl.connections*9/8)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return nil, err
	}
	_, number, _ := strings.Cut(strings.TrimSpace(string(version)), "nginx/")
	return pl.run(&proxy{name: "nginx", version: number, addr: addr, tls: tls}, bin, "-p", pl.dir, "-c", conf)
}

func (pl *place) haproxy(context.Context) (*proxy, error) {
	bin, err := found("haproxy")
	if err != nil {
		return nil, err
	}
	version, err := exec.Command(bin, "-v").Output()
	if err != nil {
		return nil, err
	}
	plain, secure, addr, tls, err := ports()
	if err != nil {
		return nil, err
	}
	conf := filepath.Join(pl.dir, "haproxy.cfg")
	// Of a stream it would hold each event back for 200 ms, in the hope of more; and it would
	// not see that its caller went away before the server says something more, so that the
	// streams of one scenario took the connections of the next one: abortonclose.
	text := fmt.Sprintf(`global
	nbthread 1
	maxconn %d
	tune.h2.max-concurrent-streams 128
	ssl-default-bind-options ssl-min-ver TLSv1.3
defaults
	mode http
	timeout connect 5s
	timeout client 10m
	timeout server 10m
	option abortonclose
	http-reuse always
frontend plain
	bind 127.0.0.1:%d backlog 4096
	use_backend talkers if { path_beg /v1/ }
	default_backend models
frontend secure
	bind 127.0.0.1:%d ssl crt %s alpn h2,http/1.1
	use_backend talkers if { path_beg /v1/ }
	default_backend models
backend models
	server one %s
backend talkers
	option http-no-delay
	server one %s
`, pl.connections/2-100, plain, secure, pl.both, pl.upstream, pl.upstream)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return nil, err
	}
	words := strings.Fields(string(version))
	return pl.run(&proxy{name: "haproxy", version: words[2], addr: addr, tls: tls}, bin, "-f", conf)
}

// caddyVersion is what is built; the first measurement that finds none does it.
const caddyVersion = "v2.11.9"

func (pl *place) caddy(ctx context.Context) (*proxy, error) {
	bin := filepath.Join(pl.tools, "caddy-"+caddyVersion, "caddy")
	if _, err := os.Stat(bin); err != nil {
		if !pl.fetch {
			return nil, fmt.Errorf("%w: Caddy, which is not built", errNotHere)
		}
		fmt.Fprintln(os.Stderr, "building Caddy", caddyVersion, "once, which takes minutes")
		cmd := exec.CommandContext(ctx, "go", "install", "github.com/caddyserver/caddy/v2/cmd/caddy@"+caddyVersion)
		cmd.Env = append(os.Environ(), "GOBIN="+filepath.Dir(bin), "GOFLAGS=")
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%w: Caddy does not build: %.300s", errNotHere, out)
		}
	}
	plain, secure, addr, tls, err := ports()
	if err != nil {
		return nil, err
	}
	conf := filepath.Join(pl.dir, "Caddyfile")
	backend := fmt.Sprintf("reverse_proxy %s {\n\t\ttransport http {\n\t\t\tkeepalive_idle_conns_per_host 64\n\t\t}\n\t}\n", pl.upstream)
	text := fmt.Sprintf("{\n\tadmin off\n\tauto_https off\n\tpersist_config off\n\tlog {\n\t\tlevel ERROR\n\t}\n}\nhttp://localhost:%d {\n\tbind 127.0.0.1\n\t%s}\nhttps://localhost:%d {\n\tbind 127.0.0.1\n\ttls %s %s\n\t%s}\n", plain, backend, secure, pl.cert, pl.key, backend)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return pl.run(&proxy{name: "Caddy", version: strings.TrimPrefix(caddyVersion, "v"), addr: addr, tls: tls}, bin, "run", "--adapter", "caddyfile", "--config", conf)
}

// portkeyVersion is what is installed; the first measurement that finds none does it.
const portkeyVersion = "1.15.2"

func (pl *place) portkey(ctx context.Context) (*proxy, error) {
	dir := filepath.Join(pl.tools, "portkey-"+portkeyVersion)
	node, err := found("node")
	if err != nil {
		return nil, err
	}
	script := filepath.Join(dir, "node_modules", "@portkey-ai", "gateway", "build", "start-server.js")
	if _, err := os.Stat(script); err != nil {
		if !pl.fetch {
			return nil, fmt.Errorf("%w: Portkey, which is not installed", errNotHere)
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
		cmd := exec.CommandContext(ctx, "npm", "install", "--prefix", dir, "--ignore-scripts", "--no-audit", "--no-fund", "@portkey-ai/gateway@"+portkeyVersion)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%w: Portkey cannot be installed: %v %.300s", errNotHere, err, out)
		}
	}
	port, err := porttest.Free()
	if err != nil {
		return nil, err
	}
	p := &proxy{
		name: "Portkey", version: portkeyVersion, addr: fmt.Sprintf("127.0.0.1:%d", port), chat: true,
		headers: fmt.Sprintf("x-portkey-provider: openai\r\nx-portkey-custom-host: http://%s/v1\r\n", pl.upstream),
	}
	return pl.run(p, node, script, "--headless", "--port="+strconv.Itoa(port))
}

// plain starts our own proxy over fasthttp, which does next to nothing, and checked the
// same one with the cheap half of a firewall's work: what is the best to be hoped for of a
// proxy in Go on this machine.
func (pl *place) plain(ctx context.Context) (*proxy, error) { return pl.fasthttp(ctx, "fasthttp") }

func (pl *place) checked(ctx context.Context) (*proxy, error) {
	return pl.fasthttp(ctx, "fasthttp, checks", "-checks")
}

func (pl *place) fasthttp(ctx context.Context, name string, args ...string) (*proxy, error) {
	bin := filepath.Join(pl.dir, "plain")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", bin, "./gateway/plain").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build: %w\n%s", err, out)
	}
	_, _, addr, tls, err := ports()
	if err != nil {
		return nil, err
	}
	args = append(args, "-plain", addr, "-secure", tls, "-upstream", pl.upstream, "-cert", pl.cert, "-key", pl.key)
	return pl.run(&proxy{name: name, addr: addr, tls: tls, measure: true}, bin, args...)
}
