package receiver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/plainjson"
	"github.com/pavise/pavise/internal/store"
)

const (
	// taxiiType is the media type of TAXII 2.1 (section 1.6.8).
	taxiiType = "application/taxii+json;version=2.1"
	// pageOf is how many objects are asked for at a time.
	pageOf = 500
	// maxPages bounds how many pages follow on each other by tokens.
	maxPages = 10_000
	// breath is how long a server is not asked between them.
	breath = 250 * time.Millisecond
	// maxEmpty bounds how many of them have no objects, one after the other.
	maxEmpty = 3
	// askWithin is how long a page may take.
	askWithin = time.Minute
	// maxLater bounds how long a server can make us wait.
	maxLater = time.Hour
	// maxAhead is how far a server's clock may be before ours: nothing was added later.
	maxAhead = 10 * time.Minute
)

// A feedPosition is how far a feed was read.
type feedPosition struct {
	Added time.Time // when the newest object that was read was added, as the server says
}

// A page is what was read of a feed and is on its way to the gate.
type page struct {
	ID      string
	Body    []byte
	Entries []entry // for the journal
	Added   time.Time
}

// An entry is an object of the journal.
type entry struct {
	Name, Version, State, SHA256, Other string

	text json.RawMessage // of one that is new; it comes with the page's body
}

// A feed reads a collection of a server of TAXII 2.1.
type feed struct {
	line   *line
	server Server
	url    string
	client *http.Client

	pos    feedPosition
	next   string    // the token of the page that follows; "": there is none
	from   time.Time // what the pages that follow on each other were added after
	back   time.Time // the time before pos, or to come, that was told last
	pages  int       // that followed on each other
	empty  int       // of them, the last that had no objects
	halved int       // how often a page is half as long as usual, because it had too many bytes
}

func openFeed(l *line, t target) (carrier, error) {
	cfg, err := t.server.tlsConfig()
	if err != nil {
		return nil, err
	}
	f := &feed{line: l, server: t.server, url: strings.TrimSuffix(t.server.Address, "/") + "/" + t.path + "/objects/"}
	f.client = &http.Client{
		Timeout:       askWithin,
		Transport:     &http.Transport{TLSClientConfig: cfg, TLSHandshakeTimeout: 10 * time.Second, MaxResponseHeaderBytes: 64 << 10, MaxConnsPerHost: 1, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return f, l.restore(&f.pos)
}

func (f *feed) where() string {
	if f.pos.Added.IsZero() {
		return "at the beginning"
	}
	return "all that was added until " + f.pos.Added.Format(time.RFC3339)
}

func (f *feed) close() { f.client.CloseIdleConnections() }

// pass is carrier's: one page.
func (f *feed) pass(ctx context.Context) (more bool, err error) {
	if err := f.line.prune(ctx); err != nil {
		return false, err
	}
	if f.line.row.pending != nil {
		if err := f.deliver(ctx); err != nil {
			return false, err
		}
	}
	if f.next != "" {
		select {
		case <-time.After(f.line.room.breath):
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	text, added, err := f.ask(ctx)
	if err != nil {
		f.next, f.pages, f.empty = "", 0, 0 // a token may be good no longer
		return false, err
	}
	e, err := parseEnvelope(text)
	if err != nil {
		return false, f.wrong(fmt.Sprintf("answers with what is no page of TAXII 2.1: %v", err))
	}
	before := f.pos.Added
	if err := f.read(ctx, e.Objects, added); err != nil {
		return false, err
	}
	return f.turn(e, f.pos.Added.After(before))
}

// wrong is the error of a server that does not keep to the protocol.
func (f *feed) wrong(what string) error {
	return &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("server %s %s", f.server.Name, what), Hint: "look at the server; it is asked again by itself"}
}

// ask asks for a page, and returns it with when its newest object was added.
func (f *feed) ask(ctx context.Context) (text []byte, added time.Time, err error) {
	q := url.Values{"limit": {strconv.Itoa(max(pageOf>>f.halved, 1))}}
	if f.next != "" {
		q.Set("next", f.next)
	} else {
		f.from = f.pos.Added
	}
	if !f.from.IsZero() {
		// What was added at the same moment may be on either side of the end of a page.
		q.Set("added_after", f.from.Add(-time.Microsecond).Format("2006-01-02T15:04:05.000000Z"))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.url+"?"+q.Encode(), nil)
	if err != nil {
		return nil, added, err
	}
	req.Header.Set("Accept", taxiiType)
	req.Header.Set("User-Agent", "pavise")
	login, err := f.server.credentials()
	if err != nil {
		return nil, added, err
	}
	user, password, basic := strings.Cut(login, ":")
	switch {
	case strings.HasPrefix(login, "Bearer "):
		req.Header.Set("Authorization", login)
	case basic:
		req.SetBasicAuth(user, password)
	}
	answer, err := f.client.Do(req)
	if err != nil {
		return nil, added, f.wrong("cannot be asked: " + clip(errors.Unwrap(err).Error())) // without the address, of which a part may be a token
	}
	defer answer.Body.Close()
	if err := f.status(answer); err != nil {
		return nil, added, err
	}
	text, err = io.ReadAll(io.LimitReader(answer.Body, maxPage+1))
	if err != nil {
		return nil, added, f.wrong("breaks off: " + clip(err.Error()))
	}
	if len(text) > maxPage {
		f.halved++ // a few long objects must not keep all others from being read
		return nil, added, f.wrong(fmt.Sprintf("answers with more than %d bytes at once", maxPage))
	}
	if last := answer.Header.Get("X-TAXII-Date-Added-Last"); last != "" {
		if added, err = stixTime(last); err != nil {
			return nil, added, f.wrong(fmt.Sprintf("says that something was added at %.40q, which is no time", last))
		}
	}
	return text, added, nil
}

// status looks at the beginning of an answer.
func (f *feed) status(answer *http.Response) error {
	switch answer.StatusCode {
	case http.StatusOK:
	case http.StatusUnauthorized, http.StatusForbidden:
		return &pavise.Error{Kind: pavise.Denied, Msg: fmt.Sprintf("server %s refuses to show the collection: %s", f.server.Name, answer.Status), Hint: "check the file that credentials names in pavise.yaml"}
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		seconds, _ := strconv.Atoi(answer.Header.Get("Retry-After")) // none, or a date: our own pause
		after := min(time.Duration(min(max(seconds, 0), 86400))*time.Second, maxLater)
		return &laterError{after, f.wrong("wants to be asked less: " + answer.Status)}
	default:
		return f.wrong("answers " + clip(answer.Status))
	}
	kind, with, err := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	if version := with["version"]; err != nil || kind != "application/taxii+json" || version != "" && version != "2.1" {
		return f.wrong(fmt.Sprintf("answers as %.80q, which is not TAXII 2.1", answer.Header.Get("Content-Type")))
	}
	return nil
}

// read brings what is new of a page.
func (f *feed) read(ctx context.Context, raw []json.RawMessage, added time.Time) error {
	if len(raw) == 0 {
		return nil // when nothing was added is no time to go on from
	}
	if added.IsZero() {
		return f.wrong("does not say when what it sends was added (X-TAXII-Date-Added-Last)")
	}
	added, odd := f.plausible(added)
	var all []stixObject
	for _, text := range raw {
		o, err := parseSTIX(text)
		if err == nil {
			all = append(all, o)
			continue
		}
		if err := f.line.refused(ctx, err.Error()); err != nil {
			return err
		}
		f.line.set(func() { f.line.row.passed++ })
	}
	entries, contrary, err := f.compare(ctx, all)
	if err != nil {
		return err
	}
	if odd = append(odd, contrary...); len(odd) > 0 {
		if err := f.line.rarely(ctx, KindContradicted, len(odd), strings.Join(odd[:min(len(odd), maxNamed)], "; ")); err != nil {
			return err
		}
	}
	for len(entries) > 0 || added.After(f.pos.Added) {
		p := page{Added: f.pos.Added} // not further before all of the page is there
		n := p.fill(entries)
		if entries = entries[n:]; len(entries) == 0 {
			p.Added = added
		}
		if err := f.start(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// fill has a page hold as many entries as may be brought at a time, and returns how many.
func (p *page) fill(entries []entry) (n int) {
	var fresh []json.RawMessage
	size := 0
	for _, e := range entries {
		if size += len(e.text); size > maxBundle && len(fresh) > 0 {
			break
		}
		if n++; e.text != nil {
			fresh = append(fresh, e.text)
		}
	}
	p.Entries = entries[:n]
	if fresh != nil {
		p.Body = bundle(fresh)
		p.ID = "stix/" + digest(p.Body)
	}
	return n
}

// start writes down what is under way, and brings it.
func (f *feed) start(ctx context.Context, p page) error {
	text, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("encode a page: %w", err)
	}
	f.line.set(func() { f.line.row.pending = text })
	if p.Body != nil { // else nothing is brought, and there is nothing to bring again
		if err := f.line.save(ctx, nil); err != nil {
			return err
		}
	}
	return f.deliver(ctx)
}

// plausible returns what is believed of when the newest of a page was added, and what cannot
// be true of it. Who could move us on to a time to come would have nothing read until then.
func (f *feed) plausible(added time.Time) (believed time.Time, odd []string) {
	now, told := f.line.room.cfg.Now(), added.Equal(f.back)
	switch {
	case added.Before(f.pos.Added):
		odd = append(odd, fmt.Sprintf("the newest of what was added after %s was added at %s", f.pos.Added.Format(time.RFC3339Nano), added.Format(time.RFC3339Nano)))
	case added.After(now.Add(maxAhead)):
		odd = append(odd, fmt.Sprintf("something was added at %s, and it is %s", added.Format(time.RFC3339Nano), now.UTC().Format(time.RFC3339)))
	default:
		return added, nil
	}
	if f.back = added; told {
		odd = nil
	}
	return f.pos.Added, odd
}

// compare parts what is new from what was read before, and says what cannot be true.
func (f *feed) compare(ctx context.Context, all []stixObject) (entries []entry, contrary []string, err error) {
	known := map[string]entry{}
	err = f.line.room.cfg.Store.View(ctx, func(tx *store.Tx) error {
		for _, o := range all {
			before, err := one(tx, f.line.row.place, o.id)
			if err != nil {
				return err
			}
			known[o.id] = entry{Name: before.name, Version: before.version, State: before.state, SHA256: before.sha256, Other: before.etag}
		}
		return nil
	})
	for _, o := range all {
		before, sum, version := known[o.id], digest(o.text), ""
		before.text = nil
		if !o.modified.IsZero() {
			version = o.modified.Format(time.RFC3339Nano)
		}
		at, _ := time.Parse(time.RFC3339Nano, before.Version)
		switch {
		case before.SHA256 == sum, before.Other == sum:
			continue
		case before.Name != "" && before.Version == version:
			contrary = append(contrary, fmt.Sprintf("%s says other things than before, and that it was not modified", o.id))
			before.Other = sum
		case before.Name != "" && o.modified.Before(at):
			contrary = append(contrary, fmt.Sprintf("%s is of %s, and was of %s", o.id, version, before.Version))
			before.Other = sum
		default:
			before = entry{Name: o.id, Version: version, State: stateTaken, SHA256: sum, text: plainjson.Spare(o.text)}
		}
		known[o.id] = before
		entries = append(entries, before)
	}
	return entries, contrary, err
}

// deliver brings the page that is under way.
func (f *feed) deliver(ctx context.Context) error {
	var p page
	if err := json.Unmarshal(f.line.row.pending, &p); err != nil {
		return fmt.Errorf("read the page that was under way: %w", err)
	}
	if p.Body != nil {
		verdict, err := f.bring(ctx, p.ID, p.Body)
		if err == nil && verdict == refused {
			err = f.apart(ctx, p)
		}
		if err != nil {
			return err
		}
	}
	f.pos.Added = p.Added
	position, err := json.Marshal(f.pos)
	if err != nil {
		return err
	}
	pending := f.line.row.pending
	f.line.set(func() { f.line.row.position, f.line.row.pending = position, nil })
	err = f.line.save(ctx, func(tx *store.Tx) error {
		for _, e := range p.Entries {
			o := object{seen: seen{name: e.Name, version: e.Version, etag: e.Other}, state: e.State, sha256: e.SHA256, checked: f.line.room.cfg.Now().UTC()}
			if err := note(tx, f.line.row.place, o); err != nil {
				return err
			}
		}
		if len(p.Entries) > 0 {
			return f.line.hasRoom(tx, 0)
		}
		return nil
	})
	if err != nil {
		f.line.set(func() { f.line.row.pending = pending })
	}
	return err
}

// bring gives the gate a bundle.
func (f *feed) bring(ctx context.Context, id string, body []byte) (verdict string, err error) {
	b := Batch{ID: id, Body: body}
	if f.server.pinned() {
		b.Writer = f.server.Pin
	} else {
		b.Doubt = "it is of a feed whose server has no pin, and nobody signed it"
	}
	return f.line.bring(ctx, b)
}

// apart brings the objects of a page that the gate refused one by one: it may be for one of
// them. Those that are refused by themselves are noted as that.
func (f *feed) apart(ctx context.Context, p page) error {
	var of struct{ Objects []json.RawMessage }
	if err := json.Unmarshal(p.Body, &of); err != nil {
		return fmt.Errorf("read the page that was under way: %w", err)
	}
	for _, text := range of.Objects {
		var is struct{ ID string }
		if err := json.Unmarshal(text, &is); err != nil {
			return fmt.Errorf("read the page that was under way: %w", err)
		}
		body := bundle([]json.RawMessage{text})
		verdict, err := f.bring(ctx, "stix/"+digest(body), body)
		if err != nil {
			return err
		}
		for i := range p.Entries {
			if verdict == refused && p.Entries[i].Name == is.ID {
				p.Entries[i].State = stateRefused
			}
		}
	}
	return nil
}

// turn goes on to the page that follows, if there is one. further says that this one had
// something that was added later than all before.
func (f *feed) turn(e envelope, further bool) (more bool, err error) {
	before := f.next
	f.next = ""
	if !e.More {
		f.pages, f.empty, f.halved = 0, 0, 0
		return false, nil
	}
	if f.empty++; len(e.Objects) > 0 {
		f.empty = 0
	}
	if f.pages++; f.pages > maxPages || f.empty > maxEmpty || e.Next != "" && e.Next == before || e.Next == "" && !further || len(e.Next) > maxFrom {
		f.pages, f.empty = 0, 0
		return false, f.wrong("says again and again that there is more, and has nothing more")
	}
	f.next = e.Next
	return true, nil
}
