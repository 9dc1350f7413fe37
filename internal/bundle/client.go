package bundle

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pavise/pavise"
)

const (
	pollWithin  = waitAtMost + sendWithin + 5*time.Second // for one long poll, its answer included
	pauseLeast  = time.Second                             // between polls that brought nothing, from a server that does not wait
	backoffMost = 30 * time.Second
	backoffUnit = 250 * time.Millisecond
)

// ClientConfig is what a client is made of. URL, Store and Use are required.
type ClientConfig struct {
	URL   string       // of the control plane, https://HOST:PORT, without /v1/bundle
	HTTP  *http.Client // whose transport proves who asks; a zero one if nil. Redirects are not followed
	Store *Store
	// Use is called with every new bundle as soon as it is verified and kept, and once
	// more when blobs that were missing then have come: what revokes must not wait for a
	// large model. Store.Blob says which are there. It is called by one goroutine at a
	// time. When it returns an error, the bundle before stays in use, and Use is asked
	// again after a while, or with the next bundle.
	Use func(ctx context.Context, b *Bundle) error
	// Report is told what is wrong whenever that changes, and nil when all is well again.
	// errors.Is tells ErrRollback, ErrEquivocation, ErrRevokedKey and the others, which
	// are findings. nil: nobody is told.
	Report func(error)
	Now    func() time.Time // time.Now if nil
}

// A Client follows a publisher. Its methods may be called at the same time.
type Client struct {
	cfg     ClientConfig
	http    http.Client
	accept  string
	fetches chan struct{} // of room for one: blobs may be missing
	wakes   chan struct{} // of room for one: the control plane answers again

	using   sync.Mutex // held while Use runs
	telling sync.Mutex // held while Report runs

	mu        sync.Mutex // guards what follows
	inUse     *Bundle
	whole     bool      // Use has seen all blobs of inUse
	heard     time.Time // when the control plane last said that it has nothing newer than what is held
	confirmed time.Time // the same, of what is in use
	troubles  [troubleKinds]error
	told      string // what Report was told last
}

// What may be wrong, in the order in which it is told.
const (
	troublePoll = iota
	troubleKeep
	troubleUse
	troubleBlobs
	troubleKinds
)

// NewClient returns a client. The error is of kind Invalid.
func NewClient(cfg ClientConfig) (*Client, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.RawQuery != "" || u.User != nil {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.200q is no address of a control plane", cfg.URL), Hint: "it is https://HOST:PORT", Err: err}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	c := &Client{cfg: cfg, heard: cfg.Store.Heard(), fetches: make(chan struct{}, 1), wakes: make(chan struct{}, 1), accept: strings.Join(mediaTypes(cfg.Store.cfg.Formats), ", ")}
	c.cfg.URL = strings.TrimSuffix(cfg.URL, "/")
	if cfg.HTTP != nil {
		c.http = *cfg.HTTP
	}
	c.http.Timeout = 0 // each request has a deadline of its own
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c, nil
}

// Run polls until ctx is done, and returns nil then. It first uses the bundle that the
// store holds.
func (c *Client) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	wg.Go(func() { c.fetch(ctx) })
	c.use(ctx)
	tries := 0
	for ctx.Err() == nil {
		began := time.Now()
		news, err := c.poll(ctx)
		if ctx.Err() != nil {
			break
		}
		c.trouble(troublePoll, err)
		c.trouble(troubleKeep, c.cfg.Store.Keep())
		c.use(ctx)
		switch {
		case err != nil:
			tries++
			c.rest(ctx, backoff(tries))
		case !news && time.Since(began) < pauseLeast:
			tries = 0
			pause(ctx, jitter(2*pauseLeast))
		default:
			tries = 0
		}
	}
	return nil
}

// Wake has Run ask again at once, if it waits because the control plane did not answer. Whoever calls it
// has just been answered.
func (c *Client) Wake() {
	select {
	case c.wakes <- struct{}{}:
	default: // it was not heard yet
	}
}

// rest waits, or until it is woken.
func (c *Client) rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.wakes:
	case <-ctx.Done():
	}
}

// backoff is how long to wait after so many failures in a row: longer and longer, and
// never the same for two readers, who would all come at once otherwise.
func backoff(tries int) time.Duration {
	return jitter(min(backoffUnit<<min(tries, 10), backoffMost))
}

// jitter returns a random duration between half of d and d.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2) }

// pause waits, or until ctx is done.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// poll asks once, and reports whether there was something new.
func (c *Client) poll(ctx context.Context) (news bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, pollWithin)
	defer cancel()
	after, held := c.cfg.Store.held()
	answer, err := c.get(ctx, pathBundle+"?after="+strconv.FormatUint(after, 10), held)
	if err != nil {
		return false, err
	}
	defer answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusOK:
		return c.take(answer)
	case http.StatusNoContent:
		c.confirm()
		return false, nil
	}
	return false, c.refused(answer, after)
}

// get sends one request.
func (c *Client) get(ctx context.Context, path, held string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.cfg.URL+path, nil)
	if err != nil {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.200q is no address of a control plane", c.cfg.URL), Err: err}
	}
	req.Header.Set("Accept", c.accept)
	if held != "" {
		req.Header.Set("If-None-Match", strconv.Quote(held))
	}
	req.Header.Set("Accept-Encoding", "identity") // what is packed could be larger than it looks
	answer, err := c.http.Do(req)
	if err != nil {
		return nil, c.away(err)
	}
	return answer, nil
}

func (c *Client) away(err error) error {
	return Unanswered(c.cfg.URL, "is it running, and to be reached from here? What is held stays in force until it ends", err)
}

// Unanswered says that a control plane does not answer, with a hint; or, where its certificate is
// not good at the time that the clock here shows, that.
func Unanswered(url, hint string, err error) error {
	e := &pavise.Error{Kind: pavise.Unavailable, Msg: "the control plane at " + url + " does not answer", Hint: hint, Err: err}
	if bad, ok := errors.AsType[x509.CertificateInvalidError](err); ok && bad.Reason == x509.Expired {
		e.Msg = "the certificate of the control plane at " + url + " is not good now: " + bad.Detail
		e.Hint = "set the clock of this machine, or that of the control plane, right"
	}
	return e
}

// refused says what an answer other than a bundle means.
func (c *Client) refused(answer *http.Response, after uint64) error {
	switch answer.StatusCode {
	case http.StatusConflict:
		return refuse(pavise.Conflict, ErrRollback, "was it restored from a backup? Then it must go on above what was seen",
			"the control plane at %s is behind: serial %d was seen here, and it is at %.20s", c.cfg.URL, after, answer.Header.Get(headerSerial))
	case http.StatusNotAcceptable:
		return refuse(pavise.Unavailable, ErrFormat, "upgrade the older of the two: they may be one format apart",
			"the control plane at %s offers no bundle that this build reads", c.cfg.URL)
	case http.StatusUnauthorized, http.StatusForbidden:
		return &pavise.Error{Kind: pavise.Denied, Msg: fmt.Sprintf("the control plane at %s answers %d: it does not give bundles to this reader", c.cfg.URL, answer.StatusCode), Hint: "was its certificate revoked, or has it ended? Enrol it anew"}
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		return &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("the control plane at %s answers %d: it has no bundle for us now", c.cfg.URL, answer.StatusCode), Hint: "it is asked again"}
	}
	return &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("the server at %s answers %d, as no control plane does", c.cfg.URL, answer.StatusCode), Hint: "check the address"}
}

// take reads an answer that should be a bundle, and has the store judge it.
func (c *Client) take(answer *http.Response) (news bool, err error) {
	kind, packed := answer.Header.Get("Content-Type"), answer.Header.Get("Content-Encoding")
	if !strings.HasPrefix(kind, mediaPrefix) || packed != "" && packed != "identity" {
		return false, malformed("it came as %.60q, packed as %.20q", kind, packed)
	}
	if answer.ContentLength > MaxBundle {
		return false, malformed("it is said to have %d bytes, more than %d", answer.ContentLength, MaxBundle)
	}
	signed, err := io.ReadAll(io.LimitReader(answer.Body, MaxBundle+1))
	if err != nil {
		return false, c.away(fmt.Errorf("the bundle broke off after %d bytes: %w", len(signed), err))
	}
	before := c.cfg.Store.Current()
	b, err := c.cfg.Store.Put(signed)
	if b == nil {
		return false, err
	}
	c.trouble(troubleKeep, err)
	c.confirm()
	return b != before, nil
}

// confirm notes that the control plane has nothing newer than what is held.
func (c *Client) confirm() {
	now := c.cfg.Now()
	c.cfg.Store.confirm(now)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard = now
}

// inForce notes that a bundle is in use, and says whether it was already as far as it
// can be now.
func (c *Client) inForce(b *Bundle, whole bool) (already bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inUse != b || !c.whole && whole {
		return false
	}
	c.confirmed = c.heard
	return true
}

// use has the current bundle used, unless it is in use with all its blobs. What is missing
// is fetched beside that, and what could not be used is used again there: a poll may wait
// for long. It reports whether nothing went wrong.
func (c *Client) use(ctx context.Context) bool {
	c.using.Lock()
	defer c.using.Unlock()
	b := c.cfg.Store.Current()
	if b == nil {
		return true
	}
	whole := len(c.cfg.Store.missing(b)) == 0
	if !whole {
		c.again()
	}
	if c.inForce(b, whole) {
		return true
	}
	if err := c.cfg.Use(ctx, b); err != nil {
		c.trouble(troubleUse, fmt.Errorf("use bundle %d: %w", b.Serial, err))
		c.again()
		return false
	}
	c.mu.Lock()
	c.inUse, c.whole, c.confirmed = b, whole, c.heard
	c.mu.Unlock()
	c.trouble(troubleUse, nil)
	if whole {
		c.trouble(troubleBlobs, c.cfg.Store.sweep(b))
	}
	return true
}

// again has fetch do once more what it can.
func (c *Client) again() {
	select {
	case c.fetches <- struct{}{}:
	default: // it knows already
	}
}

// fetch fetches blobs that are missing, beside the polling, which waits for none, and has
// used what could not be.
func (c *Client) fetch(ctx context.Context) {
	for tries := 0; ; {
		select {
		case <-c.fetches:
		case <-ctx.Done():
			return
		}
		err := c.fetchAll(ctx)
		if ctx.Err() != nil {
			return
		}
		c.trouble(troubleBlobs, err)
		used := c.use(ctx) // which nudges again when some are still missing
		if tries++; err == nil && used {
			tries = 0
		} else {
			pause(ctx, backoff(tries))
		}
	}
}

// fetchAll fetches what the current bundle lacks, and stops when there is another.
func (c *Client) fetchAll(ctx context.Context) error {
	b := c.cfg.Store.Current()
	var errs []error
	for _, digest := range c.cfg.Store.missing(b) {
		if c.cfg.Store.Current() != b {
			return nil
		}
		if err := c.fetchBlob(ctx, digest, b.Blobs[digest]); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (c *Client) fetchBlob(ctx context.Context, digest string, size int64) error {
	ctx, cancel := context.WithTimeout(ctx, blobWithin)
	defer cancel()
	answer, err := c.get(ctx, pathBlob+digest, "")
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("the control plane at %s answers %d for the blob %s", c.cfg.URL, answer.StatusCode, digest), Hint: "it is asked again"}
	}
	if packed := answer.Header.Get("Content-Encoding"); packed != "" && packed != "identity" || answer.ContentLength >= 0 && answer.ContentLength != size {
		return refuse(pavise.Unverified, ErrMalformed, "it is asked again", "the blob %s should have %d bytes, and comes with %d, packed as %.20q", digest, size, answer.ContentLength, packed)
	}
	return c.cfg.Store.putBlob(digest, size, answer.Body)
}

// trouble notes what is wrong in one respect, or that nothing is, and tells when that
// is new.
func (c *Client) trouble(kind int, err error) {
	c.telling.Lock()
	defer c.telling.Unlock()
	c.mu.Lock()
	c.troubles[kind] = err
	now := errors.Join(c.troubles[:]...)
	text := words(now)
	news := text != c.told
	c.told = text
	c.mu.Unlock()
	if news && c.cfg.Report != nil {
		c.cfg.Report(now)
	}
}

// words are what people are told of an error: not its cause, which changes with every
// port number.
func words(err error) string {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []string
		for _, e := range joined.Unwrap() {
			all = append(all, words(e))
		}
		return strings.Join(all, "; ")
	}
	if e, ok := errors.AsType[*pavise.Error](err); ok {
		return e.Msg
	}
	if err == nil {
		return ""
	}
	return err.Error()
}

// State says how the client stands.
func (c *Client) State() State {
	held := c.cfg.Store.Current()
	c.mu.Lock()
	defer c.mu.Unlock()
	s := State{Trouble: c.told, Confirmed: c.confirmed}
	if held != nil {
		s.Held = held.Serial
	}
	if c.inUse != nil {
		s.Serial, s.Issued, s.Expires = c.inUse.Serial, c.inUse.Issued, c.inUse.Expires
		if s.Confirmed.Before(s.Issued) {
			s.Confirmed = s.Issued
		}
	}
	return s
}

// A State is how far a client is, and how stale.
type State struct {
	Serial    uint64    `json:"serial"` // in use; 0: none
	Held      uint64    `json:"held"`   // in the store: above Serial while Use refuses it
	Issued    time.Time `json:"issued,omitzero"`
	Expires   time.Time `json:"expires,omitzero"`
	Confirmed time.Time `json:"confirmed,omitzero"` // when the control plane last said that there is nothing newer; at least Issued
	Trouble   string    `json:"trouble,omitempty"`  // what is wrong now, for people
}

// Stale returns how long ago the control plane last confirmed what is in use. Of no
// bundle it is as long as can be.
func (s State) Stale(now time.Time) time.Duration {
	if s.Serial == 0 {
		return 1<<63 - 1
	}
	return max(now.Sub(s.Confirmed), 0)
}
