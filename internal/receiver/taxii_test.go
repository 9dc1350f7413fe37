package receiver

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
)

// An added is an object of a collection, and when it was added.
type added struct {
	at   time.Time
	text string
}

// A taxii is a server of one collection that keeps to TAXII 2.1, but for what a test has it
// do in its place.
type taxii struct {
	*httptest.Server
	mu      sync.Mutex
	objects []added
	limit   int // of a page; 0: what is asked for
	instead func(w http.ResponseWriter, r *http.Request) bool
	asked   []string
	login   string
}

func newTAXII(t testing.TB, secure bool) *taxii {
	s := &taxii{}
	if secure {
		s.Server = httptest.NewTLSServer(s)
	} else {
		s.Server = httptest.NewServer(s)
	}
	t.Cleanup(s.Close)
	return s
}

func (s *taxii) add(at int, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects = append(s.objects, added{time.Date(2026, 2, 1, 0, 0, at, 0, time.UTC), text})
}

func (s *taxii) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, r.URL.RawQuery)
	s.login = r.Header.Get("Authorization")
	if s.instead != nil && s.instead(w, r) {
		return
	}
	if r.URL.Path != "/api1/collections/c1/objects/" || r.Header.Get("Accept") != taxiiType {
		http.Error(w, "not here", http.StatusNotFound)
		return
	}
	q := r.URL.Query()
	after, _ := time.Parse(time.RFC3339Nano, q.Get("added_after"))
	skip, _ := strconv.Atoi(q.Get("next"))
	limit, _ := strconv.Atoi(q.Get("limit"))
	if s.limit > 0 {
		limit = s.limit
	}
	e := envelope{Objects: []json.RawMessage{}}
	var first, last time.Time
	n := 0
	for _, o := range s.objects {
		if !o.at.After(after) {
			continue
		}
		if n++; n <= skip {
			continue
		}
		if len(e.Objects) == limit {
			e.More, e.Next = true, strconv.Itoa(n-1)
			break
		}
		if e.Objects = append(e.Objects, json.RawMessage(o.text)); first.IsZero() {
			first = o.at
		}
		last = o.at
	}
	if !last.IsZero() {
		w.Header().Set("X-TAXII-Date-Added-First", first.Format("2006-01-02T15:04:05.000000Z"))
		w.Header().Set("X-TAXII-Date-Added-Last", last.Format("2006-01-02T15:04:05.000000Z"))
	}
	w.Header().Set("Content-Type", taxiiType)
	to := json.NewEncoder(w)
	to.SetEscapeHTML(false)
	_ = to.Encode(e)
}

// subscribe orders that a collection is read.
func subscribe(t testing.TB, s *taxii, change ...func(*Server)) *world {
	server := Server{Name: "cti", Address: s.URL}
	for _, c := range change {
		c(&server)
	}
	w := newWorld(t, formSTIX, func(c *Config) { c.Servers = []Server{server} })
	w.order(Order{From: "taxii://cti/api1/collections/c1/"})
	return w
}

// ids are those of the indicators that the gate has, in order.
func (w *world) ids() (all []string) {
	w.t.Helper()
	for _, b := range w.gate.took {
		var is struct{ Objects []struct{ ID string } }
		if err := json.Unmarshal(b.Body, &is); err != nil {
			w.t.Fatal(err)
		}
		for _, o := range is.Objects {
			all = append(all, strings.TrimLeft(o.ID[len(o.ID)-12:], "0"))
		}
	}
	return all
}

const modified1, modified2 = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"

// TestFeed reads a collection page by page, each object once, also when many were added at
// the same moment, over restarts, and newer versions of what it has.
func TestFeed(t *testing.T) {
	s := newTAXII(t, false)
	s.limit = 3
	w := subscribe(t, s)
	for n := 1; n <= 8; n++ {
		s.add(n/5, indicator(n, modified1, "x")) // 1 to 4 at once, and 5 to 8
	}
	h := w.by("app")
	h.must()
	s.add(1, indicator(9, modified1, "x")) // at the same moment as the last
	h = w.by("app")
	h.must()
	s.add(3, indicator(2, modified2, "y"))
	h.must()
	if got := strings.Join(w.ids(), " "); got != "1 2 3 4 5 6 7 8 9 2" {
		t.Errorf("the gate has %s", got)
	}
	w.wantFound("")
	if b := w.gate.took[0]; b.Doubt == "" || b.Writer != "" {
		t.Errorf("a feed without a pin: %+v", b)
	}
	if s.asked[0] != "limit=500" || !strings.Contains(s.asked[len(s.asked)-1], "added_after=2026-02-01T00%3A00%3A02.999999Z") {
		t.Errorf("it was asked %q", s.asked)
	}
}

// TestFeedIsAskedSlowly asks for no page that follows another before a while.
func TestFeedIsAskedSlowly(t *testing.T) {
	s := newTAXII(t, false)
	s.limit = 1
	w := subscribe(t, s)
	for n := 1; n <= 3; n++ {
		s.add(n, indicator(n, modified1, "x"))
	}
	h := w.by("app")
	h.room.breath = 20 * time.Millisecond
	begun := time.Now()
	h.must()
	if took := time.Since(begun); took < 2*h.room.breath { // it can only take longer
		t.Errorf("three pages within %v", took)
	}
}

// TestFeedKilledAnywhere kills the process when the gate has a page, and has the feed say
// more by then.
func TestFeedKilledAnywhere(t *testing.T) {
	s := newTAXII(t, false)
	s.limit = 2
	w := subscribe(t, s)
	killed := &pavise.Error{Kind: pavise.Unavailable, Msg: "killed"}
	w.gate.after = func(Batch) error { s.add(9, indicator(len(s.objects)+1, modified1, "x")); return killed }
	for n := 1; n <= 5; n++ {
		s.add(n, indicator(n, modified1, "x"))
	}
	for range 4 {
		if err := w.by("app").passes(); !errors.Is(err, killed) {
			t.Fatal(err)
		}
	}
	w.gate.after = nil
	w.by("app").must()
	if got := strings.Join(w.ids(), " "); got != "1 2 3 4 5 6 7 8 9" || w.gate.again != 4 {
		t.Errorf("the gate has %s, and was brought %d again", got, w.gate.again)
	}
}

// TestFeedThatContradictsItself finds each contradiction, once, and takes none of it.
func TestFeedThatContradictsItself(t *testing.T) {
	for name, c := range map[string]struct {
		then []added
		want string
	}{
		"the same again":               {[]added{{text: indicator(1, modified2, "x")}}, ""},
		"the same in another spelling": {[]added{{text: strings.Replace(indicator(1, modified2, "x"), `{"type"`, `{ "type"`, 1)}}, ""},
		"other things, not modified":   {[]added{{text: indicator(1, modified2, "evil")}}, "contradicted"},
		"an older version":             {[]added{{text: indicator(1, modified1, "x")}}, "contradicted"},
		"two things on one page":       {[]added{{text: indicator(2, modified1, "x")}, {text: indicator(2, modified1, "y")}}, "contradicted"},
	} {
		s := newTAXII(t, false)
		w := subscribe(t, s)
		s.add(1, indicator(1, modified2, "x"))
		h := w.by("app")
		h.must()
		for _, o := range c.then {
			s.add(2, o.text)
		}
		h.must()
		w.by("app").must()
		if w.found() != c.want || strings.Contains(w.gate.text(), "evil") {
			t.Errorf("%s: found %q, the gate has %s", name, w.found(), w.gate.text())
		}
	}
}

// TestFeedThatGoesBack finds that what is newest was added before what was newest.
func TestFeedThatGoesBack(t *testing.T) {
	s := newTAXII(t, false)
	w := subscribe(t, s)
	s.add(30, indicator(1, modified1, "x"))
	h := w.by("app")
	h.must()
	s.instead = func(w http.ResponseWriter, r *http.Request) bool { r.URL.RawQuery = ""; return false } // it shows all it has
	s.objects = nil
	s.add(10, indicator(2, modified1, "x"))
	s.instead = func(w http.ResponseWriter, r *http.Request) bool { r.URL.RawQuery = "limit=500"; return false }
	h.must()
	w.wantFound("contradicted")
	if h.carrier.(*feed).pos.Added.Second() != 30 {
		t.Error("it goes back with it")
	}
	for n := 11; n < 20; n++ { // and again and again: that is told once a minute
		s.add(n, indicator(2, modified1, strconv.Itoa(n)))
		h.must()
	}
	w.wantFound("contradicted")
	h.told[KindContradicted].last = time.Time{}
	h.due(t.Context())
	w.wantFound("contradicted contradicted")
	if f := w.findings()[1]; !strings.Contains(f.Summary, "000000000002 says other things") || strings.Contains(f.Summary, "(1 times)") || f.Severity != pavise.Critical {
		t.Errorf("%+v", f)
	}
}

// TestFeedOfTheFuture does not go on to a time to come, nor to one that stands over nothing:
// what is added until then is read all the same.
func TestFeedOfTheFuture(t *testing.T) {
	s := newTAXII(t, false)
	w := subscribe(t, s)
	now := time.Date(2026, 2, 1, 0, 1, 0, 0, time.UTC)
	w.cfg.Now = func() time.Time { return now }
	s.add(1, indicator(1, modified1, "x"))
	h := w.by("app")
	h.must()
	s.instead = func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Content-Type", taxiiType)
		w.Header().Set("X-TAXII-Date-Added-Last", "2026-02-01T00:00:50Z")
		fmt.Fprint(w, `{}`)
		return true
	}
	h.must()
	s.instead = nil
	s.add(2, indicator(2, modified1, "x"))
	h.must()
	s.add(365*86400, indicator(3, modified1, "x"))
	h.must()
	w.wantFound("contradicted")
	s.objects = s.objects[:2]
	s.add(30, indicator(4, modified1, "x"))
	h.must()
	w.by("app").must()
	if got := strings.Join(w.ids(), " "); got != "1 2 3 4" {
		t.Errorf("the gate has %s", got)
	}
	w.wantFound("contradicted")
}

// TestFeedOfLargeObjects brings a page in bundles of some MiB, however much of it has to be
// escaped, each object once over kills, and what contradicts it in its order.
func TestFeedOfLargeObjects(t *testing.T) {
	s := newTAXII(t, false)
	w := subscribe(t, s)
	large := func(n int) string {
		return strings.Replace(indicator(n, modified1, "x"), `{"type"`, `{"x":"`+strings.Repeat("<", 200<<10)+strings.Repeat("x", 700<<10)+`","type"`, 1)
	}
	for n := 1; n <= 5; n++ {
		s.add(n, large(n))
	}
	s.add(6, indicator(1, modified1, "contrary"))
	killed := &pavise.Error{Kind: pavise.Unavailable, Msg: "killed"}
	w.gate.after = func(Batch) error { return killed }
	for range 2 {
		if err := w.by("app").passes(); !errors.Is(err, killed) {
			t.Fatal(err)
		}
	}
	w.gate.after = nil
	w.by("app").must()
	for _, b := range w.gate.took {
		if len(b.Body) > maxBundle+1<<10 {
			t.Errorf("a bundle of %d bytes", len(b.Body))
		}
	}
	if got := strings.Join(w.ids(), " "); got != "1 2 3 4 5" || len(w.gate.took) != 2 {
		t.Errorf("the gate has %s in %d bundles", got, len(w.gate.took))
	}
	w.wantFound("contradicted contradicted") // the kill was before the first was noted
}

// TestFeedOfLongPages asks for shorter pages where one is too long, until all has come.
func TestFeedOfLongPages(t *testing.T) {
	s := newTAXII(t, false)
	w := subscribe(t, s)
	for n := 1; n <= 20; n++ {
		s.add(n, strings.Replace(indicator(n, modified1, "x"), `{"type"`, `{"x":"`+strings.Repeat("x", 1000<<10)+`","type"`, 1))
	}
	h := w.by("app")
	for range 8 {
		if err := h.passes(); err != nil && !strings.Contains(err.Error(), "more than") {
			t.Fatal(err)
		}
	}
	if got := len(w.ids()); got != 20 {
		t.Errorf("the gate has %d of 20", got)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if last := s.asked[len(s.asked)-1]; !strings.Contains(last, fmt.Sprintf("limit=%d", pageOf)) {
		t.Errorf("when all has come %s is asked", last)
	}
}

// TestFeedThatIsRefused brings the objects of a page that the gate refuses one by one, so that
// one of them does not keep the others away.
func TestFeedThatIsRefused(t *testing.T) {
	s := newTAXII(t, false)
	w := subscribe(t, s)
	for n := 1; n <= 4; n++ {
		s.add(1, indicator(n, modified1, "x"))
	}
	s.add(1, indicator(5, modified1, "bad"))
	w.gate.fail = func(b Batch) error {
		if strings.Contains(string(b.Body), "bad") {
			return &pavise.Error{Kind: pavise.Invalid, Msg: "it is bad"}
		}
		return nil
	}
	h := w.by("app")
	h.must()
	w.by("app").must()
	if got := strings.Join(w.ids(), " "); got != "1 2 3 4" || w.gate.again != 0 {
		t.Errorf("the gate has %s, and %d again", got, w.gate.again)
	}
	w.wantFound("refused")
	all := []object{}
	err := w.db.View(t.Context(), func(tx *store.Tx) (err error) { all, err = objects(tx, h.row.place, "", 10); return err })
	for i, o := range all {
		if want := map[bool]string{false: stateTaken, true: stateRefused}[i == 4]; o.state != want {
			t.Errorf("%s is %s", o.name, o.state)
		}
	}
	if err != nil || len(all) != 5 {
		t.Errorf("%+v, %v", all, err)
	}
}

// TestHostileFeeds asks servers that do all sorts of things: nothing of it is taken, nothing
// is waited for beyond a bound, and the error says what is wrong.
func TestHostileFeeds(t *testing.T) {
	say := func(text string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Type", taxiiType)
			w.Header().Set("X-TAXII-Date-Added-Last", "2026-02-01T00:00:00Z")
			fmt.Fprint(w, text)
			return true
		}
	}
	status := func(code int, header ...string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(code)
			return true
		}
	}
	one := indicator(1, modified1, "x")
	for name, c := range map[string]struct {
		do   func(http.ResponseWriter, *http.Request) bool
		says string
		kind pavise.Kind
	}{
		"no JSON":                 {say(`<html>`), "no page of TAXII", pavise.Unavailable},
		"cut off":                 {say(`{"objects":[` + one), "no page of TAXII", pavise.Unavailable},
		"two values":              {say(`{"objects":[]}{"objects":[]}`), "no page of TAXII", pavise.Unavailable},
		"a key twice":             {say(`{"objects":[],"objects":[` + one + `]}`), "no page of TAXII", pavise.Unavailable},
		"a key that nobody knows": {say(`{"objects":[],"redirect":"http://127.0.0.1"}`), "no page of TAXII", pavise.Unavailable},
		"a bundle, no page":       {say(`{"type":"bundle","id":"bundle--` + uuid(1) + `","objects":[` + one + `]}`), "no page of TAXII", pavise.Unavailable},
		"deeply nested":           {say(`{"objects":` + strings.Repeat("[", 100_000)), "no page of TAXII", pavise.Unavailable},
		"too many objects":        {say(`{"objects":[0` + strings.Repeat(",0", maxPageOf) + `]}`), "no page of TAXII", pavise.Unavailable},
		"too long": {func(w http.ResponseWriter, r *http.Request) bool {
			say("")(w, r)
			for range maxPage>>20 + 1 {
				fmt.Fprint(w, strings.Repeat(" ", 1<<20))
			}
			return true
		}, "more than", pavise.Unavailable},
		"always more": {say(`{"more":true,"next":"x","objects":[]}`), "again and again", pavise.Unavailable},
		"always more, elsewhere": {func(w http.ResponseWriter, r *http.Request) bool {
			return say(`{"more":true,"next":"x`+r.URL.Query().Get("next")+`","objects":[]}`)(w, r)
		}, "again and again", pavise.Unavailable},
		"more, and not where": {say(`{"more":true,"objects":[]}`), "again and again", pavise.Unavailable},
		"a token without end": {say(`{"more":true,"next":"` + strings.Repeat("x", maxFrom+1) + `","objects":[]}`), "again and again", pavise.Unavailable},
		"another type": {func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, `{}`)
			return true
		}, "not TAXII 2.1", pavise.Unavailable},
		"TAXII 2.0": {func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Type", "application/taxii+json;version=2.0")
			fmt.Fprint(w, `{}`)
			return true
		}, "not TAXII 2.1", pavise.Unavailable},
		"a redirect":          {status(http.StatusFound, "Location", "http://169.254.169.254/"), "302", pavise.Unavailable},
		"a login":             {status(http.StatusUnauthorized), "refuses", pavise.Denied},
		"an error":            {status(http.StatusInternalServerError), "500", pavise.Unavailable},
		"slower, please":      {status(http.StatusTooManyRequests, "Retry-After", "120"), "asked less", pavise.Unavailable},
		"much slower, please": {status(http.StatusServiceUnavailable, "Retry-After", "99999999999999"), "asked less", pavise.Unavailable},
		"no time of adding": {func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Type", taxiiType)
			fmt.Fprintf(w, `{"objects":[%s]}`, one)
			return true
		}, "does not say when", pavise.Unavailable},
		"a bad time of adding": {func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("X-TAXII-Date-Added-Last", "soon")
			w.Header().Set("Content-Type", taxiiType)
			fmt.Fprint(w, `{}`)
			return true
		}, "no time", pavise.Unavailable},
		"hanging up": {func(w http.ResponseWriter, r *http.Request) bool { panic(http.ErrAbortHandler) }, "cannot be asked", pavise.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			s := newTAXII(t, false)
			w := subscribe(t, s)
			s.instead = c.do
			err := w.by("app").passes()
			if err == nil || pavise.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %v", pavise.KindOf(err), err)
			}
			if later, is := errors.AsType[*laterError](err); strings.Contains(name, "slower") != is || is && (later.after < time.Minute || later.after > maxLater) {
				t.Errorf("it is asked again after %+v", later)
			}
			s.mu.Lock() // a server that hangs up may be at work still
			defer s.mu.Unlock()
			if len(s.asked) > maxEmpty+1 || len(w.gate.took) > 0 {
				t.Errorf("asked %d times, %d batches", len(s.asked), len(w.gate.took))
			}
		})
	}
}

// TestFeedPassesOverWhatIsNoSTIX takes what is good of a page, and finds the rest.
func TestFeedPassesOverWhatIsNoSTIX(t *testing.T) {
	s := newTAXII(t, false)
	w := subscribe(t, s)
	for _, text := range badObjects {
		if json.Valid([]byte(text)) {
			s.add(1, text)
		}
	}
	s.add(2, indicator(7, modified1, "x"))
	w.by("app").must()
	if got := strings.Join(w.ids(), " "); got != "7" || w.found() != "refused" {
		t.Errorf("the gate has %s; %s", got, w.found())
	}
}

// TestPins believes a server by its key, and whatever it says otherwise by none: its
// indicators are held where it has no pin.
func TestPins(t *testing.T) {
	s := newTAXII(t, true)
	s.add(1, indicator(1, modified1, "x"))
	sum := sha256.Sum256(s.Certificate().RawSubjectPublicKeyInfo)
	pin := "sha256:" + hex.EncodeToString(sum[:])
	authorities := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(authorities, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		server             Server
		reached, doubtless bool
	}{
		"nothing known":         {Server{}, false, false},
		"its authority":         {Server{Authorities: authorities}, true, false},
		"its pin":               {Server{Pin: pin}, true, true},
		"both":                  {Server{Pin: pin, Authorities: authorities}, true, true},
		"another pin":           {Server{Pin: "sha256:" + strings.Repeat("0", 64)}, false, false},
		"another pin, and both": {Server{Pin: "sha256:" + strings.Repeat("0", 64), Authorities: authorities}, false, false},
	} {
		w := subscribe(t, s, func(to *Server) { to.Pin, to.Authorities = c.server.Pin, c.server.Authorities })
		err := w.by("app").passes()
		if reached := err == nil; reached != c.reached {
			t.Errorf("%s: %v", name, err)
		}
		if len(w.gate.took) == 1 && ((w.gate.took[0].Doubt == "") != c.doubtless || (w.gate.took[0].Writer == pin) != c.doubtless) {
			t.Errorf("%s: %+v", name, w.gate.took[0])
		}
	}
}

// TestCredentials shows a server what its file holds, read anew each time, and says in no
// error what that is.
func TestCredentials(t *testing.T) {
	path := filepath.Join(t.TempDir(), "login")
	s := newTAXII(t, false)
	w := subscribe(t, s, func(to *Server) { to.Credentials = path })
	h := w.by("app")
	if err := h.passes(); pavise.KindOf(err) != pavise.Unavailable || !strings.Contains(err.Error(), path) {
		t.Errorf("a file that is not there: %v", err)
	}
	for text, want := range map[string]string{"Bearer hunter2\n": "Bearer hunter2", "olga:hunter2\n": "Basic b2xnYTpodW50ZXIy"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if h.must(); s.login != want {
			t.Errorf("%q is %q", text, s.login)
		}
	}
	s.instead = func(w http.ResponseWriter, r *http.Request) bool { w.WriteHeader(http.StatusForbidden); return true }
	if err := h.passes(); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v", err)
	}
}
