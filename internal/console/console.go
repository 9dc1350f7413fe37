package console

import (
	"context"
	"embed"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/session"
	"github.com/pavise/pavise/internal/verbs"
)

// Config says what a console shows and to whom. Hint, Verify, Command and HTTP may
// be left out.
type Config struct {
	API  string   // base URL of the API server, for example "http://127.0.0.1:8470"
	Host []string // the Host headers it answers to, with their ports

	Hint   string           // what a newcomer may paste into a terminal to see a first decision
	Verify string           // the command that verifies this log offline
	Now    func() time.Time // the clock

	// Command makes of words, such as "ledger prove 8", the command that people paste
	// where Pavise was started.
	Command func(words string) string

	// Tale returns the steps of a demo from a number on, once there are any, and whether
	// it is over; none when the context ends before. nil: no demo is played.
	Tale func(ctx context.Context, from int) (steps []Step, over bool)

	HTTP *http.Client // reaches the API; without a timeout of its own, or the live feed ends with it
}

// A Console serves the pages. It is safe for concurrent use.
type Console struct {
	cfg     Config
	hosts   []string // lower case
	pages   map[string]*template.Template
	control map[string]bool // verbs whose question is durable before the act

	book *session.Book
}

//go:embed page asset
var files embed.FS

// New returns a console. The error is of kind Invalid.
func New(cfg Config) (*Console, error) {
	base, err := url.Parse(cfg.API)
	switch {
	case err != nil || base.Host == "":
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "the console has no address of an API server", Hint: "for example http://127.0.0.1:8470", Err: err}
	case len(cfg.Host) == 0:
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "the console answers to no host name", Hint: "for example 127.0.0.1:8471"}
	case cfg.Now == nil:
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "the console needs a clock"}
	}
	if cfg.Command == nil {
		cfg.Command = func(words string) string { return "pavise " + words }
	}
	c := &Console{cfg: cfg, control: map[string]bool{}, book: session.NewBook(cfg.Now)}
	for _, host := range cfg.Host {
		c.hosts = append(c.hosts, strings.ToLower(host))
	}
	for _, v := range verbs.Table() {
		c.control[v.Name] = v.Class == guard.Control
	}
	c.pages, err = parsePages()
	return c, err
}

// Handler serves the console below /.
func (c *Console) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /asset/{name}", c.asset)
	mux.HandleFunc("GET /login", c.login)
	mux.HandleFunc("POST /logout", c.logout)
	for path, show := range map[string]func(http.ResponseWriter, *http.Request, *visitor){
		"/{$}": c.live, "/findings": c.findings, "/search": c.search, "/trail/{index}": c.trail, "/changes/{id}": c.change,
		"/evidence": c.log, "/demo": c.demo, "/routes": c.routes, "/policies": c.policies,
		"/access": c.access, "/access/ask": c.ask, "/callers": c.callers, "/callers/revoke": c.toCallers,
		"/registry": c.models, "/registry/of": c.model, "/drift": c.drift, "/drift/of": c.driftOf, "/drift/verdict": c.toDrift, "/drift/dismiss": c.toDrift, "/lineage": c.lineage, "/datasets": c.datasets, "/tiers": c.tiers, "/tiers/of": c.tierOf, "/tiers/lift": c.toTiers, "/tiers/hold": c.toTiers,
	} {
		mux.Handle("GET "+path, c.signedIn(c.counting(show)))
	}
	mux.Handle("GET /events", c.signedIn(c.events))
	mux.Handle("GET /demo/events", c.signedIn(c.taleEvents))
	mux.Handle("GET /changes", c.signedIn(c.changes))
	for _, verb := range []string{"approve", "deny", "withdraw"} {
		mux.Handle("POST /changes/{id}/"+verb, c.signedIn(c.vote("change."+verb)))
		mux.Handle("GET /changes/{id}/"+verb, c.signedIn(c.back))
	}
	mux.Handle("POST /callers/revoke", c.signedIn(c.revoke))
	mux.Handle("POST /tiers/lift", c.signedIn(c.setTier("tier.lift")))
	mux.Handle("POST /tiers/hold", c.signedIn(c.setTier("tier.hold")))
	mux.Handle("POST /drift/verdict", c.signedIn(c.judge("drift.verdict")))
	mux.Handle("POST /drift/dismiss", c.signedIn(c.judge("drift.dismiss")))
	mux.HandleFunc("/", c.nowhere)
	return c.protect(mux)
}

// asset serves an embedded file. Whoever is not signed in sees pages too.
func (c *Console) asset(w http.ResponseWriter, r *http.Request) {
	body, err := files.ReadFile("asset/" + r.PathValue("name"))
	if err != nil {
		c.nowhere(w, r)
		return
	}
	types := map[string]string{"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
	_, ext, _ := strings.Cut(r.PathValue("name"), ".")
	w.Header().Set("Content-Type", types[ext])
	w.Write(body)
}

// contentPolicy is the content security policy of every answer.
const contentPolicy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// protect sets every answer's headers and turns away what a browser was tricked
// into sending.
func (c *Console) protect(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		switch {
		case !slices.Contains(c.hosts, strings.ToLower(r.Host)):
			c.fail(w, nil, http.StatusMisdirectedRequest, "This is not the console's address",
				"The request came for a host name that this console does not answer to.", "open it at "+c.cfg.Host[0])
		case r.Method != http.MethodGet && r.Method != http.MethodPost:
			h.Set("Allow", "GET, POST")
			c.fail(w, nil, http.StatusMethodNotAllowed, "Method not allowed", "The console takes GET and POST.", "")
		case session.Foreign(r):
			c.fail(w, nil, http.StatusForbidden, "That came from another site",
				"Another site made your browser send this request, so nothing was done.", "open the console in its own tab and try there")
		default:
			next.ServeHTTP(w, r)
		}
	})
}
