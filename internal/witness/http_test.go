package witness

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/proof"
)

// specRequest is the example of tlog-witness.
const specRequest = `old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=
`

// TestSpecExample reads the request that the specification gives as an example, and
// answers for its log what the specification says: 404 until the log is known, and 403
// as long as it is known under other keys.
func TestSpecExample(t *testing.T) {
	r, err := parseRequest(specRequest)
	if err != nil || r.old != 20852014 || len(r.path) != 4 || r.path[3].String() != "/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=" {
		t.Fatalf("read %d and %d hashes, error %v", r.old, len(r.path), err)
	}
	if cp, err := proof.Parse(r.note); err != nil || cp.Origin != "example.com/behind-the-sofa" || cp.Size != 20852163 {
		t.Errorf("the note is of %d records of %q, error %v", cp.Size, cp.Origin, err)
	}
	w := open(t, "witness.example/w")
	if got := post(t, w, []byte(specRequest)); got.Code != http.StatusNotFound {
		t.Errorf("of an unknown log: %d %s", got.Code, got.Body)
	}
	w.trust(t, newAuthor(t, "example.com/behind-the-sofa"))
	if got := post(t, w, []byte(specRequest)); got.Code != http.StatusForbidden {
		t.Errorf("under another key: %d %s", got.Code, got.Body)
	}
}

// post has the witness answer a request of add-checkpoint.
func post(t testing.TB, w *bench, request []byte) *httptest.ResponseRecorder {
	t.Helper()
	answer := httptest.NewRecorder()
	w.Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/add-checkpoint", bytes.NewReader(request)))
	return answer
}

// TestStatusCodes goes through every answer that the specification demands of
// add-checkpoint. The witness has seen 10 records before each, and still has after
// each that is not 200.
func TestStatusCodes(t *testing.T) {
	const origin = "example.com/log"
	a := newAuthor(t, origin).grow(t, 300, "true")
	fork := a.forkAt(4).grow(t, 100, "false")
	forger, err := proof.NewLogSigner(origin, keyOf("forger"))
	if err != nil {
		t.Fatal(err)
	}
	hashes := func(n int) tlog.TreeProof { return make(tlog.TreeProof, n) }
	foreign := mustCosign(t, a.checkpoint(t, 20), cosigners(t, "elsewhere.example/w")...)
	_, ofAnother, _ := bytes.Cut(a.checkpoint(t, 21), []byte("\n\n"))
	text, _, _ := bytes.Cut(a.checkpoint(t, 20), []byte("\n\n"))
	for _, tt := range []struct {
		name   string
		body   []byte
		status int
	}{
		{"the next", body(10, a.prove(t, 10, 20), a.checkpoint(t, 20)), 200},
		{"the same again", body(10, nil, a.checkpoint(t, 10)), 200},
		{"with signatures of strangers", body(10, a.prove(t, 10, 20), append(a.checkpoint(t, 20), foreign...)), 200},
		{"an unknown log", body(0, nil, newAuthor(t, "elsewhere.example/log").grow(t, 3, "").checkpoint(t, 3)), 404},
		{"signed by nobody that is known", body(10, a.prove(t, 10, 20), signed(t, origin, 20, a.root(t, 20), forger)), 403},
		{"signed by strangers only", body(10, a.prove(t, 10, 20), append(append(text, "\n\n"...), foreign...)), 403},
		{"with another checkpoint's signature", body(10, a.prove(t, 10, 20), append(append(text, "\n\n"...), ofAnother...)), 403},
		{"with a wrong signature besides", body(10, a.prove(t, 10, 20), append(append(append(text, "\n\n"...), ofAnother...), foreign...)), 403},
		{"an old size beyond the new", body(21, nil, a.checkpoint(t, 20)), 400},
		{"an old size of before", body(9, a.prove(t, 9, 20), a.checkpoint(t, 20)), 409},
		{"an old size of zero", body(0, nil, a.checkpoint(t, 20)), 409},
		{"an old size never seen", body(11, a.prove(t, 11, 20), a.checkpoint(t, 20)), 409},
		{"a smaller tree", body(5, nil, a.checkpoint(t, 5)), 409},
		{"a wrong old size and a fork", body(9, nil, fork.checkpoint(t, 20)), 409},
		{"no proof", body(10, nil, a.checkpoint(t, 20)), 422},
		{"a proof of something else", body(10, a.prove(t, 11, 20), a.checkpoint(t, 20)), 422},
		{"a proof in another order", body(10, reversed(a.prove(t, 10, 20)), a.checkpoint(t, 20)), 422},
		{"a proof too long by one", body(10, append(a.prove(t, 10, 20), tlog.Hash{}), a.checkpoint(t, 20)), 422},
		{"a proof of 63 hashes", body(10, hashes(63), a.checkpoint(t, 20)), 422},
		{"a proof of 64 hashes", body(10, hashes(64), a.checkpoint(t, 20)), 400},
		{"a proof where there is none", body(10, hashes(1), a.checkpoint(t, 10)), 422},
		{"another history", body(10, fork.prove(t, 10, 20), fork.checkpoint(t, 20)), 422},
		{"another root of the same size", body(10, nil, fork.checkpoint(t, 10)), 422},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := open(t, "witness.example/w")
			w.trust(t, a)
			w.must(t, a, 0, 10)
			got := post(t, w, tt.body)
			if got.Code != tt.status {
				t.Fatalf("status %d %s, want %d", got.Code, got.Body, tt.status)
			}
			checkAnswer(t, got, tt.body, append(w.Keys(), a.signer.Key()))
			if size := w.sizeSeen(t, a); tt.status != 200 && size != 10 {
				t.Errorf("the witness is at %d afterwards", size)
			}
		})
	}
}

func reversed(path tlog.TreeProof) tlog.TreeProof {
	var back tlog.TreeProof
	for i := range path {
		back = append(back, path[len(path)-1-i])
	}
	return back
}

// checkAnswer holds an answer's form against the specification: signature lines that
// verify, or the size alone under its media type, or a word for people.
func checkAnswer(t *testing.T, got *httptest.ResponseRecorder, request []byte, keys []*proof.Key) {
	t.Helper()
	text, kind := got.Body.String(), got.Header().Get("Content-Type")
	switch got.Code {
	case http.StatusOK:
		for line := range strings.Lines(text) {
			if !strings.HasPrefix(line, "— witness.example/w ") || !strings.HasSuffix(line, "\n") {
				t.Errorf("line %q", line)
			}
		}
		_, checkpoint, _ := bytes.Cut(request, []byte("\n\n"))
		if _, sigs, err := proof.Open(append(checkpoint, text...), keys...); err != nil || len(sigs) != 3 {
			t.Errorf("%d signatures, error %v", len(sigs), err)
		}
	case http.StatusConflict:
		if text != "10\n" || kind != "text/x.tlog.size" {
			t.Errorf("answered %q as %s", text, kind)
		}
	default:
		if text == "" || strings.Contains(text, "—") {
			t.Errorf("answered %q", text)
		}
	}
}

// TestEmptyTree cosigns a tree of no records if its root is that of nothing, and goes
// on from there without a proof.
func TestEmptyTree(t *testing.T) {
	w := open(t, "witness.example/w")
	a := newAuthor(t, "example.com/log").grow(t, 3, "true")
	w.trust(t, a)
	if got := post(t, w, body(0, nil, signed(t, "example.com/log", 0, tlog.Hash{}, a.signer))); got.Code != 422 {
		t.Errorf("with another root: %d %s", got.Code, got.Body)
	}
	if got := post(t, w, body(0, make(tlog.TreeProof, 1), a.checkpoint(t, 0))); got.Code != 422 {
		t.Errorf("with a proof: %d %s", got.Code, got.Body)
	}
	for range 2 {
		if got := post(t, w, body(0, nil, a.checkpoint(t, 0))); got.Code != 200 {
			t.Errorf("%d %s", got.Code, got.Body)
		}
	}
	if got := post(t, w, body(0, make(tlog.TreeProof, 1), a.checkpoint(t, 3))); got.Code != 422 {
		t.Errorf("from it with a proof: %d %s", got.Code, got.Body)
	}
	if got := post(t, w, body(0, nil, a.checkpoint(t, 3))); got.Code != 200 {
		t.Errorf("from it: %d %s", got.Code, got.Body)
	}
}

// TestMalformedRequests answers 400 to whatever is no request, whoever signed the note
// in it, and keeps nothing of it.
func TestMalformedRequests(t *testing.T) {
	w := open(t, "witness.example/w")
	a := newAuthor(t, "example.com/log").grow(t, 20, "true")
	w.trust(t, a)
	w.must(t, a, 0, 10)
	good := string(body(10, a.prove(t, 10, 20), a.checkpoint(t, 20)))
	hash := strings.Split(good, "\n")[1]
	for name, text := range map[string]string{
		"nothing":                    "",
		"a line end":                 "\n",
		"empty lines":                "\n\n\n",
		"no old line":                strings.TrimPrefix(good, "old 10\n"),
		"the note alone":             string(a.checkpoint(t, 20)),
		"no note":                    "old 10\n\n",
		"no empty line":              "old 10\n" + hash + "\n",
		"two spaces":                 strings.Replace(good, "old 10", "old  10", 1),
		"a tab":                      strings.Replace(good, "old 10", "old\t10", 1),
		"no space":                   strings.Replace(good, "old 10", "old10", 1),
		"a capital":                  strings.Replace(good, "old", "Old", 1),
		"a space before":             " " + good,
		"a byte order mark":          "\ufeff" + good,
		"a space behind":             strings.Replace(good, "old 10", "old 10 ", 1),
		"a leading zero":             strings.Replace(good, "old 10", "old 010", 1),
		"a sign":                     strings.Replace(good, "old 10", "old +10", 1),
		"less than nothing":          strings.Replace(good, "old 10", "old -10", 1),
		"hexadecimal":                strings.Replace(good, "old 10", "old 0xa", 1),
		"an underscore":              strings.Replace(good, "old 10", "old 1_0", 1),
		"other digits":               strings.Replace(good, "old 10", "old ١٠", 1),
		"no number":                  strings.Replace(good, "old 10", "old ", 1),
		"beyond 63 bits":             strings.Replace(good, "old 10", "old 9223372036854775808", 1),
		"beyond 64 bits":             strings.Replace(good, "old 10", "old 18446744073709551626", 1),
		"other line ends":            strings.ReplaceAll(good, "\n", "\r\n"),
		"a short hash":               strings.Replace(good, hash, hash[4:], 1),
		"a long hash":                strings.Replace(good, hash, "AAAA"+hash, 1),
		"a hash in hexadecimal":      strings.Replace(good, hash, strings.Repeat("0a", 32), 1),
		"a hash for addresses":       strings.Replace(good, hash, strings.Repeat("-_-_", 10)+"-_8=", 1),
		"a hash without its padding": strings.Replace(good, hash, strings.TrimSuffix(hash, "="), 1),
		"a hash with loose bits":     strings.Replace(good, hash, strings.Repeat("A", 42)+"B=", 1),
		"an empty hash":              strings.Replace(good, "old 10\n", "old 10\n\n", 1),
		"two old lines":              "old 10\n" + good,
		"a note of two lines":        "old 10\n\nexample.com/log\n20\n\n— x AAAAAAAA\n",
		"a size with a zero":         strings.Replace(good, "log\n20\n", "log\n020\n", 1),
		"a short root":               strings.Replace(good, a.root(t, 20).String(), "AAAA", 1),
		"an empty extension":         strings.Replace(good, a.root(t, 20).String()+"\n", a.root(t, 20).String()+"\n\n", 1),
		"no signatures":              good[:strings.LastIndex(good, "\n\n")+1],
		"a zero byte":                "\x00" + good,
	} {
		t.Run(name, func(t *testing.T) {
			if got := post(t, w, []byte(text)); got.Code != http.StatusBadRequest {
				t.Errorf("status %d %s", got.Code, got.Body)
			}
		})
	}
	if size := w.sizeSeen(t, a); size != 10 {
		t.Errorf("the witness is at %d", size)
	}
	if got := post(t, w, []byte(good)); got.Code != 200 {
		t.Errorf("the request itself: %d %s", got.Code, got.Body)
	}
}

// TestMethodsAndPaths serves the two calls of the protocol under their methods, and
// nothing else.
func TestMethodsAndPaths(t *testing.T) {
	w := open(t, "witness.example/w")
	a := newAuthor(t, "example.com/log").grow(t, 4, "true")
	w.trust(t, a)
	of := "/" + originHash("example.com/log") + "/checkpoint"
	get := func(method, path string) *httptest.ResponseRecorder {
		answer := httptest.NewRecorder()
		w.Handler().ServeHTTP(answer, httptest.NewRequest(method, path, bytes.NewReader(body(0, nil, a.checkpoint(t, 4)))))
		return answer
	}
	if got := get("GET", of); got.Code != 404 {
		t.Errorf("before anything was cosigned: %d %s", got.Code, got.Body)
	}
	for _, tt := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/add-checkpoint", 405}, {"PUT", "/add-checkpoint", 405}, {"HEAD", "/add-checkpoint", 405}, {"OPTIONS", "/add-checkpoint", 405},
		{"POST", of, 405}, {"DELETE", of, 405},
		{"POST", "/", 404}, {"POST", "/add-checkpoint/", 404}, {"POST", "/x/add-checkpoint", 404}, {"POST", "/sign-subtree", 404},
		{"POST", "/add-checkpoint", 200},
		{"GET", of, 200}, {"HEAD", of, 200},
		{"GET", strings.ToUpper(of), 404}, {"GET", "/" + originHash("elsewhere.example") + "/checkpoint", 404}, {"GET", "/example.com/checkpoint", 404}, {"GET", "//checkpoint", 404}, {"GET", of + "/", 404},
	} {
		if got := get(tt.method, tt.path); got.Code != tt.status && !(tt.status == 404 && got.Code/100 == 3) {
			t.Errorf("%s %s: %d, want %d", tt.method, tt.path, got.Code, tt.status)
		}
	}
	got := get("GET", of)
	if cp, sigs, err := proof.Open(got.Body.Bytes(), append(w.Keys(), a.signer.Key())...); err != nil || cp.Size != 4 || len(sigs) != 3 {
		t.Errorf("the checkpoint is of %d records, with %d signatures, error %v", cp.Size, len(sigs), err)
	}
}

// TestMediaTypeOfTheRequest is none of the witness's business.
func TestMediaTypeOfTheRequest(t *testing.T) {
	for i, kind := range []string{"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "\xff"} {
		w := open(t, "witness.example/w")
		a := newAuthor(t, "example.com/log").grow(t, 4, "true")
		w.trust(t, a)
		r := httptest.NewRequest("POST", "/add-checkpoint", bytes.NewReader(body(0, nil, a.checkpoint(t, 4))))
		r.Header["Content-Type"] = []string{kind}
		answer := httptest.NewRecorder()
		if w.Handler().ServeHTTP(answer, r); answer.Code != 200 {
			t.Errorf("%d: %q: %d %s", i, kind, answer.Code, answer.Body)
		}
	}
}

// TestBodyIsBounded reads no more of a body than the longest request has, whether its
// length is told or not.
func TestBodyIsBounded(t *testing.T) {
	w := open(t, "witness.example/w")
	endless := &counter{limit: 64 << 20}
	r := httptest.NewRequest("POST", "/add-checkpoint", endless)
	r.ContentLength = -1
	answer := httptest.NewRecorder()
	if w.Handler().ServeHTTP(answer, r); answer.Code != http.StatusBadRequest {
		t.Errorf("status %d %s", answer.Code, answer.Body)
	}
	if endless.read > maxRequest+64<<10 {
		t.Errorf("%d bytes were read, the longest request has %d", endless.read, maxRequest)
	}
}

// A counter is a body of lines that counts what is read of it.
type counter struct{ read, limit int }

func (c *counter) Read(p []byte) (int, error) {
	if c.read >= c.limit {
		return 0, io.EOF
	}
	for i := range p {
		p[i] = "old 0\n"[(c.read+i)%6]
	}
	c.read += len(p)
	return len(p), nil
}

// TestLongestRequest takes a request with all that it may have: a note of the greatest
// length, behind a proof of 63 hashes.
func TestLongestRequest(t *testing.T) {
	w := open(t, "witness.example/w")
	a := newAuthor(t, "example.com/log").grow(t, 4, "true")
	w.trust(t, a)
	note := stuff(a.checkpoint(t, 4), proof.MaxNote)
	if got := post(t, w, body(9223372036854775807, make(tlog.TreeProof, 63), note)); got.Code != 400 || !strings.Contains(got.Body.String(), "beyond the checkpoint") {
		t.Errorf("status %d %s of a request of %d bytes", got.Code, got.Body, len(note))
	}
}

// TestSlowBodyHoldsNobodyUp leaves a request half sent: others are answered meanwhile,
// and when its sender goes away nothing of it was taken.
func TestSlowBodyHoldsNobodyUp(t *testing.T) {
	w := open(t, "witness.example/w")
	a := newAuthor(t, "example.com/log").grow(t, 9, "true")
	w.trust(t, a)
	server := httptest.NewServer(w.Handler())
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	half := body(0, nil, a.checkpoint(t, 5))
	fmt.Fprintf(conn, "POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(half), half[:len(half)-1])
	if _, err := NewClient(server.URL).Cosign(t.Context(), 0, nil, a.checkpoint(t, 3)); err != nil {
		t.Errorf("another request: %v", err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil || !bytes.Contains(answer, []byte("400 Bad Request")) {
		t.Errorf("the half request was answered %q, error %v", answer, err)
	}
	if size := w.sizeSeen(t, a); size != 3 {
		t.Errorf("the witness is at %d, want 3", size)
	}
}

// TestErrorsTellStrangersLittle answers with its own words for an error that nobody
// meant for callers.
func TestErrorsTellStrangersLittle(t *testing.T) {
	w := open(t, "witness.example/w", func(c *Config) {
		c.Record = func(context.Context, proof.Checkpoint) error { return fmt.Errorf("open /secret/path: no such file") }
	})
	a := newAuthor(t, "example.com/log").grow(t, 9, "true")
	w.trust(t, a)
	if got := post(t, w, body(0, nil, a.checkpoint(t, 5))); got.Code != 500 || strings.Contains(got.Body.String(), "secret") {
		t.Errorf("status %d %s", got.Code, got.Body)
	}
}

// TestEveryKindHasAStatus maps each kind of error to a status of its own choosing.
func TestEveryKindHasAStatus(t *testing.T) {
	for kind := pavise.Internal; kind <= pavise.Unavailable; kind++ {
		if statuses[kind] < 400 {
			t.Errorf("%s has status %d", kind, statuses[kind])
		}
	}
}

// FuzzRequest reads what strangers post. What is taken for a request is spelled in one
// way only, and no longer than its parts.
func FuzzRequest(f *testing.F) {
	f.Add(specRequest)
	f.Add("old 0\n\nx\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n— x AAAAAAAA\n")
	f.Add("old 10\n\n\n\n")
	f.Add("old 01\n\n")
	f.Add("old 1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB=\n\n")
	f.Add("\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := parseRequest(text)
		if err != nil {
			return
		}
		if again := string(body(int64(r.old), r.path, r.note)); again != text {
			t.Errorf("read %q, which is spelled %q", text, again)
		}
		if len(r.path) > 63 || r.old > 1<<63-1 {
			t.Errorf("%d hashes from %d on", len(r.path), r.old)
		}
	})
}

// FuzzAddCheckpoint posts anything at all to a witness that watches a log. It never
// cosigns what that log has not signed, and never answers with an error of its own.
func FuzzAddCheckpoint(f *testing.F) {
	w := open(f, "witness.example/w")
	a := newAuthor(f, "example.com/log").grow(f, 20, "true")
	w.trust(f, a)
	w.must(f, a, 0, 10)
	f.Add(body(10, a.prove(f, 10, 20), a.checkpoint(f, 20)))
	f.Add(body(0, nil, a.checkpoint(f, 10)))
	f.Add([]byte(specRequest))
	f.Fuzz(func(t *testing.T, request []byte) {
		got := post(t, w, request)
		switch got.Code {
		case 400, 403, 404, 409, 422:
		case 200:
			_, checkpoint, _ := bytes.Cut(request, []byte("\n\n"))
			cp, err := proof.OpenSigned(checkpoint, a.signer.Key())
			if err != nil || cp.Root != a.root(t, int64(cp.Size)) {
				t.Errorf("cosigned %q: %v", request, err)
			}
		default:
			t.Errorf("status %d %s", got.Code, got.Body)
		}
	})
}
