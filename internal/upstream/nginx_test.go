package upstream

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pavise/pavise/internal/porttest"
)

// nginxConfig is a server that misbehaves as nginx can be told to. %[1]s is a
// directory, %[2]s the address to listen on.
const nginxConfig = `
daemon off; master_process off; pid %[1]s/pid; error_log %[1]s/error.log;
events { worker_connections 512; }
http {
  access_log off;
  client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c; uwsgi_temp_path %[1]s/d; scgi_temp_path %[1]s/e;
  default_type application/json;
  server {
    listen %[2]s;
    root %[1]s;
    location = /good { return 200 "{}"; }
    location = /once { keepalive_requests 1; return 200 "{}"; }
    location = /brief { keepalive_timeout 1ms; return 200 "{}"; }
    location = /close { return 444; }
    location = /bad { return 502; }
    location = /late { return 504; }
    location = /away { return 307 http://127.0.0.1:1/; }
    location = /trickle { limit_rate 10; try_files /large.json =404; }
    location = /lies { add_header Content-Length 999 always; return 200 "{}"; }
    location = /types { add_header Content-Type text/plain always; return 200 "{}"; }
    location = /packed { add_header Content-Encoding gzip always; return 200 "{}"; }
    location = /head { add_header A "%[3]s" always; return 200 "{}"; }
  }
}
`

// nginx starts one with the binary that PAVISE_NGINX names, or that is on the PATH.
func nginx(t *testing.T) (url string) {
	t.Helper()
	binary := os.Getenv("PAVISE_NGINX")
	if binary == "" {
		binary = "nginx"
	}
	path, err := exec.LookPath(binary)
	if err != nil {
		t.Skip("there is no nginx: name one in PAVISE_NGINX")
	}
	at := porttest.Address()
	dir := t.TempDir()
	config := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf(nginxConfig, dir, at, strings.Repeat("a", 3000)+`" always; add_header B "`+strings.Repeat("b", 3000))
	for name, text := range map[string]string{config: text, filepath.Join(dir, "large.json"): strings.Repeat("x", 100_000)} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(path, "-c", config, "-p", dir, "-e", filepath.Join(dir, "error.log"))
	out := new(strings.Builder)
	cmd.Stderr = out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
	})
	for {
		if nc, err := net.Dial("tcp", at); err == nil {
			nc.Close()
			return "http://" + at
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("nginx ended: %v\n%s", err, out)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// TestNginxUpstream asks a server that is not ours, and that misbehaves.
func TestNginxUpstream(t *testing.T) {
	url := nginx(t)
	for path, want := range map[string]string{
		"/good": "200", "/once": "200", "/brief": "200", "/bad": "502", "/late": "504", "/away": "307", "/none": "404",
		"/close": "broken", "/trickle": "slow", "/lies": "malformed", "/types": "malformed", "/packed": "malformed", "/head": "malformed",
	} {
		c := cluster(t, Options{Timeouts: timeouts(want)}, url)
		for range 3 {
			a := Answer{Limit: 1 << 20, Want: []string{"content-type"}}
			r := post("{}")
			r.Path = path
			if path == "/trickle" {
				r.Method, r.Body = "GET", nil
			}
			err := c.Do(t.Context(), r, &a)
			got := reason(err)
			if err == nil {
				got = fmt.Sprint(a.Status)
			}
			if got != want {
				t.Errorf("%s: %s, want %s: %v", path, got, want, err)
			}
			polite(t, err)
		}
	}
}

// TestNginxThatCloses loses no repeatable call to a server that ends each connection
// after its first answer, or a moment later.
func TestNginxThatCloses(t *testing.T) {
	url := nginx(t)
	c := cluster(t, Options{Breaker: Breaker{RetryShare: 100}}, url)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			r := post("{}")
			r.Path, r.Repeatable = []string{"/once", "/brief"}[w%2], true
			for range 200 {
				a := Answer{}
				if err := c.Do(t.Context(), r, &a); err != nil || string(a.Body) != "{}" {
					t.Errorf("%s: %q %v", r.Path, a.Body, err)
				}
			}
		})
	}
	wg.Wait()
}
