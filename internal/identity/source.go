package identity

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/pavise/pavise"
)

// How old the fetched keys of an issuer may be, and how often they are fetched.
const (
	DefaultStale = 2 * time.Hour  // while the issuer is away
	MaxStale     = 24 * time.Hour // the most that a record may allow

	renewAfter   = 10 * time.Minute // Run fetches keys older than this
	overdue      = 20 * time.Minute // and where it does not, whoever needs them waits
	fetchPause   = 30 * time.Second // between two fetches, whoever asks: invented key ids make us fetch no more often
	firstPause   = 5 * time.Second  // while there are no keys at all
	fetchTime    = 5 * time.Second  // for the two documents
	maxWaiting   = 256              // callers of one issuer who wait for its keys
	maxDiscovery = 64 << 10         // bytes
	lookEvery    = 15 * time.Second // how often Run looks at the ages
)

// A source fetches one issuer's keys: from the jwks_uri of its OpenID configuration
// (OpenID Connect Discovery 1.0), over https.
type source struct {
	record *record
	client *http.Client
	now    func() time.Time
	stale  time.Duration

	mu      sync.Mutex    // guards what follows
	flight  chan struct{} // closed when the fetch under way ends; nil: none is
	last    time.Time     // when the last one began
	waiting int           // callers who wait for the one under way
}

// newSource returns the source of a record's keys. It fetches nothing yet.
func newSource(r *record, cfg Config) (*source, error) {
	if fault := urlFault(r.URL, true); fault != "" {
		return nil, r.fault("URL", fault, "an issuer whose keys are discovered has an https URL without query; http is for loopback addresses")
	}
	s := &source{record: r, now: cfg.Now, stale: r.Stale, client: &http.Client{}}
	if s.stale == 0 {
		s.stale = DefaultStale
	}
	if cfg.HTTP != nil {
		*s.client = *cfg.HTTP
	}
	if r.CA != "" {
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM([]byte(r.CA)) {
			return nil, r.fault("CA", "has no certificate", "write PEM, as in a ca.crt file")
		}
		s.client.Transport = &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true}
	}
	// A redirect would let the issuer's web server name another issuer.
	s.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return s, nil
}

// ringWith returns keys that may be used now, with the one that is asked for if the
// issuer has it, as far as is known: whoever asks for what nobody has makes us fetch
// once in fetchPause, and no more.
func (s *source) ringWith(ctx context.Context, id string) (*ring, error) {
	have, now := s.record.ring.Load(), s.now()
	if have == nil || now.Sub(have.fetched) > overdue || !have.has(id) {
		s.fetch(ctx)
		have = s.record.ring.Load()
	}
	if have == nil || now.UnixNano() >= have.until {
		return nil, refuse(KeysAway)
	}
	return have, nil
}

func (r *ring) has(id string) bool {
	_, ok := r.keys[id]
	return ok
}

// renew fetches the keys when they are not new.
func (s *source) renew(ctx context.Context) {
	have := s.record.ring.Load()
	if have == nil || s.now().Sub(have.fetched) > renewAfter {
		s.fetch(ctx)
	}
}

// fetch fetches the keys, once for all who ask meanwhile, unless that was tried just
// now. It returns when the fetch has ended, well or not, or the caller has gone.
func (s *source) fetch(ctx context.Context) {
	s.mu.Lock()
	if flight := s.flight; flight != nil {
		if s.waiting >= maxWaiting {
			s.mu.Unlock()
			return
		}
		s.waiting++
		s.mu.Unlock()
		select {
		case <-flight:
		case <-ctx.Done():
		}
		s.mu.Lock()
		s.waiting--
		s.mu.Unlock()
		return
	}
	pause := fetchPause
	if s.record.ring.Load() == nil {
		pause = firstPause
	}
	if age := s.now().Sub(s.last); !s.last.IsZero() && age >= 0 && age < pause {
		s.mu.Unlock()
		return
	}
	flight := make(chan struct{})
	s.flight, s.last = flight, s.now()
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.flight = nil
		s.mu.Unlock()
		close(flight)
	}()
	// Others wait for it, so it outlives the caller who began it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTime)
	defer cancel()
	began := s.now()
	keys, err := s.get(ctx)
	if err != nil {
		return // the last good ones stay until they are too old
	}
	s.put(keys, began)
}

// get reads the issuer's configuration, and the keys where that says they are.
func (s *source) get(ctx context.Context) (map[string]jose.JSONWebKey, error) {
	m, err := Discover(ctx, s.client, s.record.URL)
	if err != nil {
		return nil, err
	}
	body, err := fetchDocument(ctx, s.client, m.JWKS, maxKeySet)
	if err != nil {
		return nil, err
	}
	set, err := parseJWKS(body, true)
	if err != nil {
		return nil, err
	}
	keys := map[string]jose.JSONWebKey{}
	for _, key := range set.Keys {
		if s.record.signsWith(key) {
			keys[key.KeyID] = key
		}
	}
	if len(keys) == 0 {
		return nil, setFault("has no key for the algorithms of the record", "compare them with what the issuer signs with", nil)
	}
	return keys, nil
}

// put replaces the keys. What was verified with the same ones stays so.
func (s *source) put(keys map[string]jose.JSONWebKey, began time.Time) {
	next := &ring{keys: keys, fetched: began, until: math.MaxInt64, revision: 1}
	if end := began.Add(s.stale); end.Year() < 2200 {
		next.until = end.UnixNano()
	}
	if old := s.record.ring.Load(); old != nil {
		next.revision = old.revision
		if !sameKeys(old.keys, keys) {
			next.revision++
		}
	}
	s.record.ring.Store(next)
}

func sameKeys(a, b map[string]jose.JSONWebKey) bool {
	if len(a) != len(b) {
		return false
	}
	for id, key := range a {
		x, errX := json.Marshal(key)
		y, errY := json.Marshal(b[id])
		if errX != nil || errY != nil || !bytes.Equal(x, y) {
			return false
		}
	}
	return true
}

// Metadata is what is used of an issuer's OpenID configuration (OpenID Connect
// Discovery 1.0; RFC 8628, section 4). Only Issuer and JWKS are surely there.
type Metadata struct {
	Issuer        string // equal to what was asked for
	JWKS          string // jwks_uri
	Authorization string // authorization_endpoint
	Token         string // token_endpoint
	Device        string // device_authorization_endpoint
}

// Discover reads the OpenID configuration of an issuer. The client must not follow
// redirects. The error is of kind Unavailable when there is no answer in time, and
// Unverified when the answer is not that issuer's configuration.
func Discover(ctx context.Context, client *http.Client, issuer string) (Metadata, error) {
	if fault := urlFault(issuer, true); fault != "" {
		return Metadata{}, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("issuer %.200q: its URL %s", issuer, fault), Hint: "name it as its tokens do: an https URL without query; http is for loopback addresses"}
	}
	body, err := fetchDocument(ctx, client, strings.TrimSuffix(issuer, "/")+"/.well-known/openid-configuration", maxDiscovery)
	if err != nil {
		return Metadata{}, err
	}
	return parseMetadata(issuer, body)
}

// parseMetadata reads an OpenID configuration that was asked of the issuer.
func parseMetadata(issuer string, body []byte) (Metadata, error) {
	fault := func(why string) error {
		return &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("the OpenID configuration of %.200q %s", issuer, why), Hint: "compare the issuer's URL with the issuer that its configuration names, letter by letter"}
	}
	doc, ok := object(body)
	if !ok {
		return Metadata{}, fault("is not a JSON object, or has a member twice")
	}
	var m Metadata
	for name, to := range map[string]*string{
		"issuer": &m.Issuer, "jwks_uri": &m.JWKS, "authorization_endpoint": &m.Authorization,
		"token_endpoint": &m.Token, "device_authorization_endpoint": &m.Device,
	} {
		if !text(doc[name], to) {
			return Metadata{}, fault("has no text as " + name)
		}
	}
	if m.Issuer != issuer {
		return Metadata{}, fault("is another issuer's")
	}
	for name, at := range map[string]string{"jwks_uri": m.JWKS, "authorization_endpoint": m.Authorization, "token_endpoint": m.Token, "device_authorization_endpoint": m.Device} {
		if at == "" && name != "jwks_uri" {
			continue
		}
		if why := urlFault(at, false); why != "" {
			return Metadata{}, fault("has a " + name + " that " + why)
		}
		if !encrypted(at) && encrypted(issuer) {
			return Metadata{}, fault("has a " + name + " without https")
		}
	}
	return m, nil
}

// fetchDocument gets a document of at most limit bytes.
func fetchDocument(ctx context.Context, client *http.Client, at string, limit int64) ([]byte, error) {
	away := func(what string, err error) error {
		return &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("%.300q %s", at, what), Hint: "is it reachable from here, and known by its certificate?", Err: err}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, away("is no URL", err)
	}
	req.Header.Set("Accept", "application/json")
	answer, err := client.Do(req)
	if err != nil {
		return nil, away("does not answer", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, away(fmt.Sprintf("answers with status %d", answer.StatusCode), nil)
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, limit+1))
	if err != nil {
		return nil, away("breaks off", err)
	}
	if int64(len(body)) > limit {
		return nil, away(fmt.Sprintf("is longer than %d bytes", limit), nil)
	}
	return body, nil
}

// urlFault says why an URL is not one to fetch from, or "". Without https it must be
// on this machine. An issuer's own has no query.
func urlFault(s string, issuer bool) string {
	u, err := url.Parse(s)
	switch {
	case err != nil || len(s) > 2048 || u.Hostname() == "" || u.Opaque != "":
		return "is not absolute"
	case u.User != nil || u.Fragment != "" || strings.Contains(s, "#"):
		return "has a user or a fragment"
	case issuer && (u.RawQuery != "" || u.ForceQuery):
		return "has a query"
	case u.Scheme == "https":
		return ""
	case u.Scheme != "http" || !loopback(u.Hostname()):
		return "is not https"
	}
	return ""
}

// encrypted reports whether an URL is https, in whatever case it is spelled.
func encrypted(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme == "https"
}

// loopback reports whether a host is this machine.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
