package bundle

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pavise/pavise"
)

const (
	pathBundle = "/v1/bundle"
	pathBlob   = "/v1/bundle/blob/"

	// headerSerial says which serial is served, also where there is nothing new.
	headerSerial = "Pavise-Bundle-Serial"

	waitAtMost = 25 * time.Second // of a long poll
	sendWithin = time.Minute      // for a bundle to go out
	blobWithin = 10 * time.Minute // and a blob
	maxWaiters = 4096             // long polls at one time
)

// Handler serves GET /v1/bundle?after=SERIAL, which waits up to 25 seconds for a bundle
// above that serial and answers 204 when there is none. Who says with If-None-Match what
// it holds under that serial, and holds something else, gets ours at once: one of the two
// was put back, and the reader must see it. And it serves GET
// /v1/bundle/blob/sha256:HEX for the blobs of the last two bundles. The format is
// negotiated by Accept. Whoever mounts it sees to who may ask.
func (p *Publisher) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+pathBundle, p.serveBundle)
	mux.HandleFunc("GET "+pathBlob+"{digest}", p.serveBlob)
	return mux
}

func (p *Publisher) serveBundle(w http.ResponseWriter, r *http.Request) {
	after, err := parseAfter(r.URL.RawQuery)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	format, ok := negotiate(r.Header.Values("Accept"), p.cfg.Formats)
	if !ok {
		http.Error(w, "this control plane offers "+strings.Join(mediaTypes(p.cfg.Formats), ", "), http.StatusNotAcceptable)
		return
	}
	held := r.Header.Values("If-None-Match")
	e := p.await(r, after, held)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Vary", "Accept")
	if e == nil {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "nothing is published yet", http.StatusServiceUnavailable)
		return
	}
	signed, offered := e.frames[format]
	w.Header().Set(headerSerial, strconv.FormatUint(e.bundle.Serial, 10))
	switch {
	case after > e.bundle.Serial:
		http.Error(w, fmt.Sprintf("this control plane is at serial %d", e.bundle.Serial), http.StatusConflict)
	case after == e.bundle.Serial && e.known(held):
		w.WriteHeader(http.StatusNoContent)
	case !offered: // after an upgrade, until the first look at the sections
		w.Header().Set("Retry-After", "1")
		http.Error(w, "the bundle is about to be published in this format", http.StatusServiceUnavailable)
	default:
		sendBundle(w, r, format, signed)
	}
}

func sendBundle(w http.ResponseWriter, r *http.Request, format int, signed []byte) {
	etag := strconv.Quote(digestOf(signed))
	w.Header().Set("ETag", etag)
	if slices.Contains(r.Header.Values("If-None-Match"), etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Header().Set("Content-Type", MediaType(format))
	w.Header().Set("Content-Length", strconv.Itoa(len(signed)))
	// A reader that takes nothing must not hold a connection for ever. Where no deadline
	// can be set, the server's own holds.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(sendWithin))
	w.Write(signed)
}

// parseAfter reads the query: nothing, or after=SERIAL.
func parseAfter(query string) (uint64, error) {
	values, err := url.ParseQuery(query)
	if err != nil || len(values) > 1 || len(values["after"]) != len(values) {
		return 0, fmt.Errorf("the query is after=SERIAL and nothing else")
	}
	if len(values) == 0 {
		return 0, nil
	}
	text := values.Get("after")
	after, err := strconv.ParseUint(text, 10, 64)
	if err != nil || after > MaxSerial || strconv.FormatUint(after, 10) != text {
		return 0, fmt.Errorf("%.40q is no serial", text)
	}
	return after, nil
}

// known reports whether what a reader holds is this edition, in one of its formats. Who
// does not say is believed.
func (e *edition) known(held []string) bool {
	if len(held) == 0 {
		return true
	}
	for _, signed := range e.frames {
		if slices.Contains(held, strconv.Quote(digestOf(signed))) {
			return true
		}
	}
	return false
}

// await returns the edition that is served, once it is another than what the reader
// holds or the time to wait is over. Too many who wait are not made to.
func (p *Publisher) await(r *http.Request, after uint64, held []string) *edition {
	defer p.waiters.Add(-1)
	crowded := p.waiters.Add(1) > maxWaiters
	timer := time.NewTimer(waitAtMost)
	defer timer.Stop()
	for {
		p.mu.Lock()
		e, changed, stopped := p.served, p.changed, p.stopped
		p.mu.Unlock()
		if e == nil || e.bundle.Serial != after || crowded || stopped || !e.known(held) {
			return e
		}
		select {
		case <-changed:
		case <-timer.C:
			return e
		case <-r.Context().Done():
			return e
		}
	}
}

// negotiate returns the newest format that both sides know. Who does not say what they
// read gets the newest.
func negotiate(accept []string, formats []Format) (int, bool) {
	var wanted []string
	for _, part := range strings.Split(strings.Join(accept, ","), ",") {
		kind, parameters, _ := strings.Cut(part, ";")
		if strings.ReplaceAll(parameters, " ", "") != "q=0" {
			wanted = append(wanted, strings.ToLower(strings.TrimSpace(kind)))
		}
	}
	for _, f := range newestFirst(formats) {
		if len(accept) == 0 || slices.ContainsFunc(wanted, func(kind string) bool {
			return kind == MediaType(f.Number) || kind == "*/*" || kind == "application/*"
		}) {
			return f.Number, true
		}
	}
	return 0, false
}

func newestFirst(formats []Format) []Format {
	return slices.SortedFunc(slices.Values(formats), func(a, b Format) int { return b.Number - a.Number })
}

func mediaTypes(formats []Format) (types []string) {
	for _, f := range newestFirst(formats) {
		types = append(types, MediaType(f.Number))
	}
	return types
}

func (p *Publisher) serveBlob(w http.ResponseWriter, r *http.Request) {
	digest := r.PathValue("digest")
	size, named := p.blob(digest)
	if !named || p.cfg.Blob == nil {
		http.Error(w, "no bundle of now names such a blob", http.StatusNotFound)
		return
	}
	content, err := p.cfg.Blob(r.Context(), digest)
	if err != nil {
		http.Error(w, "the blob cannot be read now", pavise.Unavailable.HTTPStatus())
		return
	}
	defer content.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(blobWithin)) // as with a bundle
	// What is shorter or longer than it was said to be breaks the answer off, and its
	// reader hashes it in any case.
	io.CopyN(w, content, size)
}

// blob returns the size of a blob that the bundle served now, or the one before, names.
func (p *Publisher) blob(digest string) (int64, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range []*edition{p.served, p.before} {
		if e == nil {
			continue
		}
		if size, named := e.bundle.Blobs[digest]; named {
			return size, true
		}
	}
	return 0, false
}
