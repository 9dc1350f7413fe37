package oci

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

const uploads = "/v2/fraud/blobs/uploads/"

func TestWhoCalls(t *testing.T) {
	w := newWorld(t)
	a := w.want(401, codeUnauthorized, "", "GET", "/v2/", nil)
	if all := a.header.Values("WWW-Authenticate"); len(all) != 2 || all[0] != `Bearer realm="http://registry.test/v2/token",service="pavise"` || !strings.HasPrefix(all[1], "Basic ") {
		t.Fatalf("challenges %q", all)
	}
	basic := func(pair string) []string {
		return []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(pair))}
	}
	w.want(200, "", "deployer", "GET", "/v2/", nil)
	w.want(200, "", "", "GET", "/v2/", nil, basic("anybody:deployer")...)
	for _, pair := range []string{"deployer", "deployer:", "deployer:wrong", ":nobody at all"} {
		w.want(401, codeUnauthorized, "", "GET", "/v2/", nil, basic(pair)...)
	}
	w.want(401, codeUnauthorized, "", "GET", "/v2/", nil, "Authorization", "Basic !")
	got := w.want(200, "", "", "GET", "/v2/token?service=pavise&scope=repository:fraud:pull", nil, basic("u:deployer")...)
	if !bytes.Contains(got.body, []byte(`"token":"deployer"`)) || got.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%s", got.body)
	}
	w.want(405, codeUnsupported, "deployer", "POST", "/v2/token", nil)
	w.want(404, codeName, "deployer", "GET", "/v2/_catalog", nil)
	w.want(404, codeName, "deployer", "GET", "/v2/Fraud/tags/list", nil)
	w.want(404, codeName, "deployer", "GET", "/v2/fr%2Faud/tags/list", nil)
	w.want(400, codeName, "deployer", "GET", "/v2/a/b/c/tags/list", nil)
	w.want(403, codeDenied, "nobody", "POST", uploads, nil)
	w.want(403, codeDenied, "deployer", "POST", uploads, nil)
	w.want(403, codeDenied, "engineer@acme", "POST", "/v2/local/fraud/blobs/uploads/", nil) // another tenant's
	w.want(404, codeNameUnknown, "engineer", "POST", "/v2/unknown/blobs/uploads/", nil)
}

// TestUploads takes a blob in every way in which clients send one.
func TestUploads(t *testing.T) {
	w := newWorld(t)
	content := []byte(strings.Repeat("0123456789", 1000))
	digest := digestOf(content)
	there := func(method string, status int) {
		t.Helper()
		a := w.ask("engineer", method, "/v2/fraud/blobs/"+digest, nil)
		if a.status != status || status == 200 && (a.header.Get("Content-Length") != "10000" || a.header.Get("Docker-Content-Digest") != digest) {
			t.Fatalf("%s: %d, %v", method, a.status, a.header)
		}
		if method == "GET" && status == 200 && !bytes.Equal(a.body, content) {
			t.Fatal("another content came back")
		}
	}
	begin := func() string {
		t.Helper()
		return w.want(202, "", "engineer", "POST", uploads, nil).header.Get("Location")
	}
	remove := func() {
		t.Helper()
		w.want(202, "", "engineer", "DELETE", "/v2/fraud/blobs/"+digest, nil)
		there("HEAD", 404)
	}
	there("HEAD", 404)
	ways := map[string]func(){
		"POST alone":   func() { w.want(201, "", "engineer", "POST", uploads+"?digest="+digest, bytes.NewReader(content)) },
		"POST and PUT": func() { w.want(201, "", "engineer", "PUT", begin()+"?digest="+digest, bytes.NewReader(content)) },
		"without a length": func() {
			w.want(201, "", "engineer", "PUT", begin()+"?digest="+digest, io.MultiReader(bytes.NewReader(content)))
		},
		"one PATCH, as Docker does": func() {
			at := begin()
			w.want(202, "", "engineer", "PATCH", at, io.MultiReader(bytes.NewReader(content)))
			w.want(201, "", "engineer", "PUT", at+"?digest="+digest, nil)
		},
		"in pieces, the last with PUT": func() {
			at := begin()
			for from := 0; from < 9000; from += 3000 {
				a := w.want(202, "", "engineer", "PATCH", at, bytes.NewReader(content[from:from+3000]), "Content-Range", fmt.Sprintf("%d-%d", from, from+2999))
				if got := a.header.Get("Range"); got != fmt.Sprintf("0-%d", from+2999) {
					t.Fatalf("Range %s", got)
				}
				at = a.header.Get("Location")
			}
			w.open() // the process was started anew, and lost nothing
			if got := w.want(204, "", "engineer", "GET", at, nil).header.Get("Range"); got != "0-8999" {
				t.Fatalf("Range %s", got)
			}
			w.want(201, "", "engineer", "PUT", at+"?digest="+digest, bytes.NewReader(content[9000:]), "Content-Range", "9000-9999")
			w.want(404, codeUploadUnknown, "engineer", "GET", at, nil)
		},
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			way()
			there("HEAD", 200)
			there("GET", 200)
			remove()
		})
	}
	said := 0
	for _, r := range w.records(VerbPush) {
		if bytes.Contains(r.Detail, []byte(`"digest":"`+digest)) {
			said++
		}
	}
	if said < len(ways) {
		t.Fatalf("%d records say what was pushed", said)
	}
}

// TestUploadsThatAreNone refuses what does not fit together.
func TestUploadsThatAreNone(t *testing.T) {
	w := newWorld(t)
	begin := func() string {
		t.Helper()
		return w.want(202, "", "engineer", "POST", uploads, nil).header.Get("Location")
	}
	content := strings.NewReader
	good := digestOf([]byte("abc"))
	at := begin()
	w.want(202, "", "engineer", "PATCH", at, content("ab"))
	if a := w.want(416, codeUpload, "engineer", "PATCH", at, content("c"), "Content-Range", "5-5"); a.header.Get("Range") != "0-1" || a.header.Get("Location") != at {
		t.Fatalf("%v", a.header)
	}
	w.want(416, codeUpload, "engineer", "PUT", at+"?digest="+good, content("c"), "Content-Range", "0-0")
	w.want(400, codeUpload, "engineer", "PATCH", at, content("c"), "Content-Range", "bytes 2-2/3")
	w.want(400, codeUpload, "engineer", "PATCH", at, content("c"), "Content-Range", "3-2")
	w.want(400, codeSize, "engineer", "PATCH", at, content("cd"), "Content-Range", "2-2")
	w.want(400, codeSize, "engineer", "PATCH", at, io.MultiReader(content("c")), "Content-Range", "2-9") // it ends early
	w.want(413, codeSize, "engineer", "PATCH", at, io.MultiReader(content("cdefg")), "Content-Range", "2-3")
	w.want(404, codeUploadUnknown, "engineer2", "PATCH", at, content("c")) // somebody else's
	w.want(404, codeUploadUnknown, "engineer", "GET", uploads+"nothing", nil)
	for _, digest := range []string{"", "sha256:", "abc", "sha512:" + strings.Repeat("a", 128), "sha256:" + strings.Repeat("A", 64), "sha256:../../" + strings.Repeat("a", 58)} {
		w.want(400, codeDigest, "engineer", "PUT", at+"?digest="+digest, content("c"))
	}
	w.want(400, codeUnsupported, "engineer", "PUT", at+"?digest="+good+"&digest="+good, content("c"))
	if got := w.want(204, "", "engineer", "GET", at, nil).header.Get("Range"); got != "0-1" {
		t.Fatalf("what was refused left something: %s", got)
	}
	w.want(400, codeDigest, "engineer", "PUT", at+"?digest="+good, content("x")) // it is "abx"
	w.want(404, codeUploadUnknown, "engineer", "GET", at, nil)
	w.want(400, codeDigest, "engineer", "POST", uploads+"?digest="+good, content("abd"))
	w.want(400, codeDigest, "engineer", "PUT", begin()+"?digest="+good, content("abcd"))
	w.want(400, codeDigest, "engineer", "PUT", begin()+"?digest="+good, io.MultiReader(content("abcd")))
	w.want(404, codeBlobUnknown, "engineer", "GET", "/v2/fraud/blobs/"+good, nil)

	at = begin()
	w.want(204, "", "engineer", "DELETE", at, nil)
	w.want(404, codeUploadUnknown, "engineer", "DELETE", at, nil)
	w.want(405, codeUnsupported, "engineer", "POST", at, nil)
}

// TestBrokenOff sends half of a blob: nothing of the piece is kept, and the rest goes on where
// it was.
func TestBrokenOff(t *testing.T) {
	w := newWorld(t)
	at := w.want(202, "", "engineer", "POST", uploads, nil).header.Get("Location")
	w.want(202, "", "engineer", "PATCH", at, strings.NewReader("ab"))
	for range 2 {
		r, _ := http.NewRequestWithContext(t.Context(), "PATCH", w.server.URL+at, io.MultiReader(strings.NewReader("half"), &failing{}))
		r.Header.Set("Authorization", "Bearer engineer")
		if got, err := w.server.Client().Do(r); err == nil {
			got.Body.Close()
			t.Fatal("half of a piece was taken")
		}
	}
	for { // the server has yet to see that it broke off
		a := w.ask("engineer", "PATCH", at, strings.NewReader("c"), "Content-Range", "2-2")
		if a.status == 202 {
			break
		}
		if a.status != 409 {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	w.want(201, "", "engineer", "PUT", at+"?digest="+digestOf([]byte("abc")), nil)
}

type failing struct{}

func (*failing) Read([]byte) (int, error) { return 0, errors.New("the cable") }

// TestTwoAtOnce has two requests send the same upload: one of them is told so, and nothing is
// mixed.
func TestTwoAtOnce(t *testing.T) {
	w := newWorld(t)
	at := w.want(202, "", "engineer", "POST", uploads, nil).header.Get("Location")
	slow, feed := io.Pipe()
	done := make(chan answer)
	go func() { done <- w.ask("engineer", "PATCH", at, slow) }()
	_, _ = feed.Write([]byte("abc"))
	for taken := false; !taken; {
		w.Registry.mu.Lock()
		_, taken = w.busy["upload "+at[len(uploads):]]
		w.Registry.mu.Unlock()
	}
	w.want(409, codeUpload, "engineer", "PATCH", at, strings.NewReader("x"))
	w.want(409, codeUpload, "engineer", "PUT", at+"?digest="+digestOf([]byte("x")), strings.NewReader("x"))
	feed.Close()
	if a := <-done; a.status != 202 || a.header.Get("Range") != "0-2" {
		t.Fatalf("%d %v", a.status, a.header)
	}
	w.want(201, "", "engineer", "PUT", at+"?digest="+digestOf([]byte("abc")), nil)
}

// TestLeft forgets what nobody goes on with.
func TestLeft(t *testing.T) {
	w := newWorld(t)
	at := w.want(202, "", "engineer", "POST", uploads, nil).header.Get("Location")
	w.want(202, "", "engineer", "PATCH", at, strings.NewReader("ab"))
	lone := w.blobOf("x", []byte("nobody needs it"))
	w.push("one", "model")
	w.wait(unheld + time.Minute)
	w.want(404, codeUploadUnknown, "engineer", "PATCH", at, strings.NewReader("c"))
	w.want(404, codeBlobUnknown, "engineer", "GET", "/v2/fraud/blobs/"+lone.Digest, nil)
	w.must(w.sweep(t.Context()))
	w.want(200, "", "engineer", "GET", "/v2/fraud/blobs/"+digestOf([]byte("model")), nil)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	w.must(w.Run(ctx))
}

func TestTooManyUploads(t *testing.T) {
	w := newWorld(t)
	for range maxUploads {
		w.want(202, "", "engineer", "POST", uploads, nil)
	}
	w.want(429, codeTooMany, "engineer", "POST", uploads, nil)
	w.want(202, "", "pusher", "POST", uploads, nil)
}

// TestMount takes over what the caller may read in another model of the tenant, and nothing
// else.
func TestMount(t *testing.T) {
	w := newWorld(t)
	w.models.create("other")
	w.push("one", "weights")
	weights := digestOf([]byte("weights"))
	to := "/v2/other/blobs/uploads/?mount=" + weights
	a := w.want(202, "", "pusher", "POST", to+"&from=fraud", nil) // who may not read a draft brings it
	if !strings.HasPrefix(a.header.Get("Location"), "/v2/other/blobs/uploads/") {
		t.Fatalf("%v", a.header)
	}
	w.want(202, "", "engineer", "POST", to, nil)
	w.want(202, "", "engineer", "POST", to+"&from=nowhere", nil)
	w.want(202, "", "engineer", "POST", to+"&from=acme/fraud", nil)
	w.want(404, codeBlobUnknown, "engineer", "GET", "/v2/other/blobs/"+weights, nil)
	a = w.want(201, "", "engineer", "POST", to+"&from=local/fraud", nil)
	if a.header.Get("Location") != "/v2/other/blobs/"+weights {
		t.Fatalf("%v", a.header)
	}
	w.want(200, "", "engineer", "GET", "/v2/other/blobs/"+weights, nil)
	w.want(400, codeDigest, "engineer", "POST", "/v2/other/blobs/uploads/?mount=x&from=fraud", nil)
}
