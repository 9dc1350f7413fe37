package function

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/deploy"
)

// A lambda is AWS Lambda as its API reference has it, as far as it is asked here: one
// function, whose newest package takes a moment to be taken in.
type lambda struct {
	t  *testing.T
	mu sync.Mutex // guards what follows

	code     []byte // of $LATEST
	revision int
	pending  int // looks until the package is taken in
	failed   string
	versions []configuration
	aliases  map[string]alias
	calls    []string
	fail     map[string]int // "METHOD path" without a query → status, once
	unsigned int
}

func newLambda(t *testing.T) (*lambda, string) {
	l := &lambda{t: t, aliases: map[string]alias{}, fail: map[string]int{}, code: []byte("the first")}
	s := httptest.NewServer(l)
	t.Cleanup(s.Close)
	return l, s.URL
}

func sha(text []byte) string {
	sum := sha256.Sum256(text)
	return base64.StdEncoding.EncodeToString(sum[:])
}

func (l *lambda) latest() configuration {
	c := configuration{CodeSha256: sha(l.code), Version: "$LATEST", State: "Active", LastUpdateStatus: "Successful", RevisionID: fmt.Sprint("rev-", l.revision)}
	if l.pending > 0 {
		l.pending--
		c.LastUpdateStatus = "InProgress"
	}
	if l.failed != "" {
		c.LastUpdateStatus, c.LastUpdateStatusReason = "Failed", l.failed
	}
	return c
}

func (l *lambda) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	if !signed(r, body) {
		l.unsigned++
		l.answer(w, http.StatusForbidden, map[string]string{"Message": "The request signature we calculated does not match"})
		return
	}
	path := strings.TrimPrefix(r.URL.Path, "/2015-03-31/functions/")
	call := r.Method + " " + path
	l.calls = append(l.calls, call)
	if status := l.fail[call]; status != 0 {
		delete(l.fail, call)
		l.answer(w, status, map[string]string{"Message": "as the test wants it"})
		return
	}
	name, rest, _ := strings.Cut(path, "/")
	if name != "fraud" {
		l.answer(w, http.StatusNotFound, map[string]string{"Message": "Function not found"})
		return
	}
	status, answer := l.act(r, rest, body)
	l.answer(w, status, answer)
}

func (l *lambda) answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

// act does a call whose signature holds.
func (l *lambda) act(r *http.Request, rest string, body []byte) (int, any) {
	no := func(status int, why string) (int, any) { return status, map[string]string{"Message": why} }
	switch name, isAlias := strings.CutPrefix(rest, "aliases/"); {
	case r.Method == "GET" && rest == "configuration":
		q := r.URL.Query().Get("Qualifier")
		if q == "$LATEST" {
			return 200, l.latest()
		}
		for _, v := range l.versions {
			if v.Version == q {
				return 200, v
			}
		}
		return no(404, "no such version")
	case r.Method == "GET" && rest == "versions": // two on a page
		from, _ := strconv.Atoi(r.URL.Query().Get("Marker"))
		all := append([]configuration{l.latest()}, l.versions...)
		page := map[string]any{"Versions": all[from:min(from+2, len(all))]}
		if from+2 < len(all) {
			page["NextMarker"] = strconv.Itoa(from + 2)
		}
		return 200, page
	case r.Method == "PUT" && rest == "code":
		var ask struct {
			ZipFile    []byte
			RevisionID string `json:"RevisionId"`
		}
		if json.Unmarshal(body, &ask) != nil || ask.RevisionID != fmt.Sprint("rev-", l.revision) {
			return no(412, "the RevisionId is of another time")
		}
		l.code, l.pending = ask.ZipFile, 2
		l.revision++
		return 200, l.latest()
	case r.Method == "POST" && rest == "versions":
		var ask struct{ CodeSha256, Description string }
		if json.Unmarshal(body, &ask) != nil || l.pending > 0 {
			return no(409, "an update is in progress")
		}
		if ask.CodeSha256 != sha(l.code) {
			return no(400, "CodeSHA256 is different from current CodeSHA256 in $LATEST")
		}
		v := configuration{CodeSha256: ask.CodeSha256, Version: strconv.Itoa(len(l.versions) + 1), State: "Active"}
		l.versions = append(l.versions, v)
		return 201, v
	case isAlias && r.Method == "GET":
		if a, ok := l.aliases[name]; ok {
			return 200, a
		}
		return no(404, "Cannot find alias arn")
	case r.Method == "POST" && rest == "aliases" || isAlias && r.Method == "PUT":
		if !isAlias {
			name = ""
		}
		return l.move(name, body)
	}
	return no(400, "nothing is known of "+r.Method+" "+rest)
}

// move makes an alias, or has it lead elsewhere.
func (l *lambda) move(name string, body []byte) (int, any) {
	var a alias
	if json.Unmarshal(body, &a) != nil {
		return 400, nil
	}
	was, there := l.aliases[name]
	switch {
	case name != "" && !there:
		return 404, map[string]string{"Message": "Cannot find alias arn"}
	case name != "" && a.RevisionID != was.RevisionID:
		return 412, map[string]string{"Message": "The RevisionId provided does not match the latest RevisionId"}
	}
	if name != "" {
		a.Name = name
	}
	l.revision++
	a.RevisionID = fmt.Sprint("alias-", l.revision)
	l.aliases[a.Name] = a
	return 200, a
}

// signed verifies a request as AWS Signature Version 4 has it, by the secret "secret" of
// AKID in eu-west-1.
func signed(r *http.Request, body []byte) bool {
	auth, ok := strings.CutPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ")
	if !ok {
		return false
	}
	parts := map[string]string{}
	for _, p := range strings.Split(auth, ",") {
		k, v, _ := strings.Cut(strings.TrimSpace(p), "=")
		parts[k] = v
	}
	date := r.Header.Get("X-Amz-Date")
	sum := sha256.Sum256(body)
	if len(date) != 16 || r.Header.Get("X-Amz-Content-Sha256") != hex.EncodeToString(sum[:]) {
		return false
	}
	scope := date[:8] + "/eu-west-1/lambda/aws4_request"
	if parts["Credential"] != "AKID/"+scope {
		return false
	}
	var headers strings.Builder
	for _, h := range strings.Split(parts["SignedHeaders"], ";") {
		value := r.Header.Get(h)
		if h == "host" {
			value = r.Host
		}
		headers.WriteString(h + ":" + strings.TrimSpace(value) + "\n")
	}
	query := strings.Split(strings.ReplaceAll(r.URL.RawQuery, "+", "%20"), "&")
	slices.Sort(query)
	canonical := sha256.Sum256([]byte(strings.Join([]string{
		r.Method, r.URL.EscapedPath(), strings.Join(query, "&"), headers.String(), parts["SignedHeaders"], r.Header.Get("X-Amz-Content-Sha256"),
	}, "\n")))
	key := []byte("AWS4secret")
	for _, step := range []string{date[:8], "eu-west-1", "lambda", "aws4_request", "AWS4-HMAC-SHA256\n" + date + "\n" + scope + "\n" + hex.EncodeToString(canonical[:])} {
		m := hmac.New(sha256.New, key)
		m.Write([]byte(step))
		key = m.Sum(nil)
	}
	return parts["Signature"] == hex.EncodeToString(key)
}

var place = pavise.Name{Tenant: "local", Kind: deploy.KindTarget, ID: "fn"}

// A shop has the packages of versions.
type shop map[string][]byte

func (s shop) read(_ context.Context, _ string, f deploy.File) ([]byte, error) {
	if text, ok := s[f.Digest]; ok {
		return text, nil
	}
	return nil, &pavise.Error{Kind: pavise.Unverified, Msg: "it is no longer the file that was approved"}
}

// version makes a version whose package has a text.
func (s shop) version(n int, text string) deploy.Version {
	sum := sha256.Sum256([]byte(text))
	digest := "sha256:" + hex.EncodeToString(sum[:])
	s[digest] = []byte(text)
	return deploy.Version{
		Model: pavise.Name{Tenant: "local", Kind: "model", ID: "fraud"}, Number: n, Digest: "sha256:whole",
		Files: []deploy.File{{Path: "README.md"}, {Path: "function.zip", Size: int64(len(text)), Digest: digest}},
	}
}

func open(t *testing.T, s shop, url, origin, secret string) deploy.Target {
	t.Helper()
	d := Driver(Config{Read: s.read, Origin: origin, Poll: time.Millisecond, Sign: func(r *http.Request, region string) (*http.Request, error) {
		return Sign(r, "AKID", secret, "", region), nil
	}})
	f, err := d.Open(place, map[string]string{"function": "fraud", "alias": "live", "region": "eu-west-1", "endpoint": url})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// apply applies, and fails unless then so much is seen.
func apply(t *testing.T, f deploy.Target, d deploy.Desired) {
	t.Helper()
	if err := f.Apply(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	want := deploy.State{Weight: d.Weight}
	want.Main, _ = f.Takes(*d.Main)
	if d.Beside != nil {
		want.Beside, _ = f.Takes(*d.Beside)
	}
	s, err := f.Observe(t.Context())
	if err != nil || s.Main != want.Main || s.Beside != want.Beside || s.Weight != want.Weight || !s.Healthy {
		t.Fatalf("%+v %v, want %+v", s, err, want)
	}
}

// TestFunction publishes versions, gives one a share, promotes it, and goes back.
func TestFunction(t *testing.T) {
	l, url := newLambda(t)
	s := shop{}
	f := open(t, s, url, "here", "secret")
	if state, err := f.Observe(t.Context()); err != nil || state.Main != "" || !state.Healthy {
		t.Errorf("nothing is there yet: %+v %v", state, err)
	}
	one, two, three := s.version(1, "one"), s.version(2, "two"), s.version(3, "three")
	apply(t, f, deploy.Desired{Revision: 1, Main: &one})
	apply(t, f, deploy.Desired{Revision: 2, Main: &one, Beside: &two, Weight: 10})
	apply(t, f, deploy.Desired{Revision: 3, Main: &two})
	apply(t, f, deploy.Desired{Revision: 4, Main: &three})
	l.calls = nil
	apply(t, f, deploy.Desired{Revision: 5, Main: &one, Safe: true})
	if slices.ContainsFunc(l.calls, func(c string) bool { return strings.HasSuffix(c, "/code") || c == "POST fraud/versions" }) {
		t.Errorf("the way back sends packages: %q", l.calls)
	}
	if len(l.versions) != 3 || l.unsigned != 0 || l.aliases["live"].Description != "pavise here local/target/fn r5" {
		t.Errorf("%d versions, %d unsigned, %+v", len(l.versions), l.unsigned, l.aliases)
	}
}

// TestFunctionKilledHalfway begins anew after each step of a release, as a process does that
// was killed: no version is published twice.
func TestFunctionKilledHalfway(t *testing.T) {
	for _, step := range []string{"PUT fraud/code", "POST fraud/versions", "POST fraud/aliases"} {
		l, url := newLambda(t)
		s := shop{}
		one := s.version(1, "one")
		l.fail[step] = 503
		if err := open(t, s, url, "here", "secret").Apply(t.Context(), deploy.Desired{Revision: 1, Main: &one}); pavise.KindOf(err) != pavise.Unavailable {
			t.Errorf("%s: %v", step, err)
		}
		apply(t, open(t, s, url, "here", "secret"), deploy.Desired{Revision: 1, Main: &one})
		if len(l.versions) != 1 {
			t.Errorf("%s: %d versions", step, len(l.versions))
		}
	}
}

// TestTwoControllers has another installation steer the same alias, and this one at a lower
// revision, and somebody move the alias between the look and the act.
func TestTwoControllers(t *testing.T) {
	l, url := newLambda(t)
	s := shop{}
	one, two := s.version(1, "one"), s.version(2, "two")
	here := open(t, s, url, "here", "secret")
	apply(t, here, deploy.Desired{Revision: 7, Main: &one})
	for what, other := range map[string]struct {
		f        deploy.Target
		revision uint64
	}{"another": {open(t, s, url, "there", "secret"), 9}, "a lower revision": {here, 6}} {
		if err := other.f.Apply(t.Context(), deploy.Desired{Revision: other.revision, Main: &two}); pavise.KindOf(err) != pavise.Conflict {
			t.Errorf("%s: %v", what, err)
		}
	}
	l.fail["PUT fraud/aliases/live"] = 412
	if err := here.Apply(t.Context(), deploy.Desired{Revision: 8, Main: &two}); pavise.KindOf(err) != pavise.Conflict {
		t.Errorf("%v", err)
	}
	if got := l.aliases["live"]; got.FunctionVersion != "1" || got.Description != "pavise here local/target/fn r7" {
		t.Errorf("%+v", got)
	}
}

// TestFunctionIsWatched shows what somebody else brings behind the alias.
func TestFunctionIsWatched(t *testing.T) {
	l, url := newLambda(t)
	s := shop{}
	one := s.version(1, "one")
	f := open(t, s, url, "here", "secret")
	apply(t, f, deploy.Desired{Revision: 1, Main: &one})
	edit := func(with func(*alias)) {
		a := l.aliases["live"]
		with(&a)
		l.aliases["live"] = a
	}
	l.versions = append(l.versions, configuration{Version: "2", CodeSha256: sha([]byte("evil")), State: "Active"}, configuration{Version: "3", CodeSha256: "?"}, configuration{Version: "4", CodeSha256: sha([]byte("one")), State: "Failed", StateReason: "no memory"})
	edit(func(a *alias) { a.FunctionVersion = "2" })
	want, _ := digestOf(sha([]byte("evil")))
	if state, err := f.Observe(t.Context()); err != nil || state.Main != want {
		t.Errorf("%+v %v", state, err)
	}
	edit(func(a *alias) { a.FunctionVersion = "$LATEST" })
	if state, err := f.Observe(t.Context()); err != nil || state.Main != "unpublished:$LATEST" {
		t.Errorf("%+v %v", state, err)
	}
	edit(func(a *alias) { a.FunctionVersion = "3" })
	if _, err := f.Observe(t.Context()); pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("%v", err)
	}
	edit(func(a *alias) { a.FunctionVersion = "4" })
	if state, err := f.Observe(t.Context()); err != nil || state.Healthy || !strings.Contains(state.Problem, "no memory") {
		t.Errorf("%+v %v", state, err)
	}
	edit(func(a *alias) {
		a.FunctionVersion, a.RoutingConfig.AdditionalVersionWeights = "1", map[string]float64{"2": 0.1, "4": 0.1}
	})
	if state, err := f.Observe(t.Context()); err != nil || !strings.Contains(state.Beside, "and others") {
		t.Errorf("%+v %v", state, err)
	}
}

// TestFunctionRefuses asks for what cannot be, of an API that refuses.
func TestFunctionRefuses(t *testing.T) {
	l, url := newLambda(t)
	s := shop{}
	one := s.version(1, "one")
	if err := open(t, s, url, "here", "wrong").Apply(t.Context(), deploy.Desired{Revision: 1, Main: &one}); pavise.KindOf(err) != pavise.Denied || l.unsigned == 0 {
		t.Errorf("a wrong signature: %v", err)
	}
	f := open(t, s, url, "here", "secret")
	changed := one
	changed.Files = []deploy.File{{Path: "function.zip", Digest: "sha256:" + strings.Repeat("00", 32)}}
	if err := f.Apply(t.Context(), deploy.Desired{Revision: 1, Main: &changed}); pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("a package that was changed: %v", err)
	}
	l.failed = "the image is broken"
	if err := f.Apply(t.Context(), deploy.Desired{Revision: 1, Main: &one}); pavise.KindOf(err) != pavise.Unavailable || !strings.Contains(err.Error(), "broken") {
		t.Errorf("%v", err)
	}
	for _, d := range []deploy.Desired{{}, {Main: &one, Shadow: true}} {
		if err := f.Apply(t.Context(), d); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%+v: %v", d, err)
		}
	}
	for what, v := range map[string]deploy.Version{
		"none": {}, "two": {Files: []deploy.File{{Path: "a.zip"}, {Path: "b.zip"}}}, "a long one": {Files: []deploy.File{{Path: "a.zip", Size: maxPackage + 1}}},
	} {
		if _, err := f.Takes(v); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s: %v", what, err)
		}
	}
	for status, kind := range map[int]pavise.Kind{429: pavise.Throttled, 500: pavise.Unavailable, 302: pavise.Unavailable, 404: pavise.NotFound} {
		l.fail["GET fraud/aliases/live"] = status
		if status == 404 {
			l.fail["GET fraud/configuration"] = 404
		}
		if _, err := f.Observe(t.Context()); pavise.KindOf(err) != kind {
			t.Errorf("%d: %v", status, err)
		}
	}
	d := Driver(Config{})
	for _, set := range []map[string]string{
		{"function": "a/b", "alias": "live", "region": "r"}, {"function": "f", "alias": "", "region": "r"}, {"function": "f", "alias": "a", "region": "evil.example/"},
		{"function": "f", "alias": "a", "region": "r", "endpoint": "http://elsewhere.example"}, {"function": "f", "alias": "a", "region": "r", "endpoint": "https://u:p@h"},
	} {
		if _, err := d.Open(place, set); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%v: %v", set, err)
		}
	}
}

// FuzzAnswer has the API answer anything.
func FuzzAnswer(f *testing.F) {
	for _, text := range []string{`{}`, `{"FunctionVersion":"1","CodeSha256":"AAAA"}`, `{"FunctionVersion":"1","RoutingConfig":{"AdditionalVersionWeights":{"2":1e300}}}`, `[`, `null`, `{"Versions":[{}],"NextMarker":"x"}`} {
		f.Add(text, 200)
	}
	f.Fuzz(func(t *testing.T, text string, status int) {
		if status < 200 || status > 599 {
			return
		}
		target, err := Driver(Config{Poll: time.Nanosecond, Sign: func(r *http.Request, _ string) (*http.Request, error) { return r, nil }}).Open(place, map[string]string{"function": "fraud", "alias": "live", "region": "r"})
		if err != nil {
			t.Fatal(err)
		}
		fn := target.(*function)
		fn.api.client.Transport = said{text, status}
		s := shop{}
		one := s.version(1, "one")
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, _ = fn.Observe(ctx)
		fn.cfg.Read = s.read
		_ = fn.Apply(ctx, deploy.Desired{Revision: 1, Main: &one})
	})
}

// said answers every request alike.
type said struct {
	text   string
	status int
}

func (s said) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: s.status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(s.text))}, nil
}
