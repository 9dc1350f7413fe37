package oci

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pavise/pavise"
)

const manifests = "/v2/fraud/manifests/"

func (w *world) put(status int, code code, ref string, text []byte) answer {
	w.t.Helper()
	return w.want(status, code, "engineer", "PUT", manifests+ref, bytes.NewReader(text), "Content-Type", mediaManifest)
}

// TestPush makes a version of a manifest with a layer in every form, and gives back the same
// bytes.
func TestPush(t *testing.T) {
	w := newWorld(t)
	var p packing
	w.raw(&p, "weights/model.safetensors", []byte("weights"))
	w.packedAs(&p, formTar, archive("./", "", "./config/", "", "config/config.json", "{}"))
	w.packedAs(&p, formGzip, archive("README.md", "read me"))
	w.packedAs(&p, formZstd, archive("code/run.py", "print()", "code/empty", ""))
	text := w.manifestText(p)
	a := w.put(201, "", "1.0.0", text)
	digest := digestOf(text)
	if a.header.Get("Docker-Content-Digest") != digest || a.header.Get("Location") != manifests+digest {
		t.Fatalf("%v", a.header)
	}
	v, err := w.models.Version(t.Context(), pavise.Name{Tenant: "local", Kind: KindModel, ID: "fraud"}, 1)
	w.must(err)
	var paths []string
	files, err := v.Files(t.Context())
	w.must(err)
	for _, f := range files {
		paths = append(paths, f.Path)
	}
	if want := []string{"README.md", "code/empty", "code/run.py", "config/config.json", "weights/model.safetensors"}; !slices.Equal(paths, want) {
		t.Fatalf("files %q", paths)
	}
	if f := files[2]; f.Digest != digestOf([]byte("print()")) || f.Size != 7 {
		t.Fatalf("%+v", f)
	}
	for _, ref := range []string{digest, "1.0.0", "v1"} {
		for _, method := range []string{"GET", "HEAD"} {
			a := w.want(200, "", "engineer", method, manifests+ref, nil)
			if a.header.Get("Docker-Content-Digest") != digest || a.header.Get("Content-Type") != mediaManifest || method == "GET" && !bytes.Equal(a.body, text) {
				t.Fatalf("%s %s: %v", method, ref, a.header)
			}
		}
	}
	w.put(201, "", digest, text) // the same again is the same
	w.put(201, "", "1.0.0", text)
	if w.models.added != 1 {
		t.Fatalf("%d versions", w.models.added)
	}
	w.want(405, codeUnsupported, "engineer", "DELETE", manifests+digest, nil)
	w.want(405, codeUnsupported, "engineer", "DELETE", "/v2/fraud/blobs/"+digestOf([]byte("weights")), nil)
}

// TestOneVersion has several clients push the same at once.
func TestOneVersion(t *testing.T) {
	w := newWorld(t)
	var p packing
	w.packedAs(&p, formGzip, archive("a", strings.Repeat("a", 1<<16)))
	text := w.manifestText(p)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if a := w.ask("engineer", "PUT", manifests+"same", bytes.NewReader(text), "Content-Type", mediaManifest); a.status != 201 {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
	all.Wait()
	if w.models.added != 1 {
		t.Fatalf("%d versions", w.models.added)
	}
}

// TestManifestsThatAreNone refuses what is no model, and says why.
func TestManifestsThatAreNone(t *testing.T) {
	w := newWorld(t)
	var p packing
	w.raw(&p, "model.bin", []byte("weights"))
	good := string(w.manifestText(p))
	with := func(was, is string) string {
		t.Helper()
		if !strings.Contains(good, was) {
			t.Fatalf("%s is not in %s", was, good)
		}
		return strings.Replace(good, was, is, 1)
	}
	missing := "sha256:" + strings.Repeat("0", 64)
	cases := map[string]struct {
		text string
		code code
	}{
		"no JSON":                     {"x", codeManifestInvalid},
		"something behind":            {good + "{}", codeManifestInvalid},
		"a key twice":                 {with(`"schemaVersion":2`, `"schemaVersion":2,"schemaVersion":2`), codeManifestInvalid},
		"a key in another case":       {with(`"schemaVersion":2`, `"schemaVersion":2,"SchemaVersion":2`), codeManifestInvalid},
		"a key that is none":          {with(`"schemaVersion":2`, `"schemaVersion":2,"history":[]`), codeManifestInvalid},
		"schema 1":                    {with(`"schemaVersion":2`, `"schemaVersion":1`), codeManifestInvalid},
		"another media type":          {with(mediaManifest, mediaIndex), codeManifestInvalid},
		"an artefact":                 {with(modelManifest, "application/vnd.unknown.artifact.v1"), codeUnsupported},
		"an image":                    {with(`"artifactType":"`+modelManifest+`",`, ""), codeUnsupported},
		"an image's layer":            {with(layerPrefix+"weight.v1.raw", "application/vnd.oci.image.layer.v1.tar+gzip"), codeManifestInvalid},
		"a layer of no kind":          {with("weight.v1.raw", "virus.v1.raw"), codeManifestInvalid},
		"a form of no kind":           {with("weight.v1.raw", "weight.v1.zip"), codeManifestInvalid},
		"another configuration":       {with(modelConfig, mediaEmpty), codeManifestInvalid},
		"a blob that is not here":     {with(digestOf([]byte("weights")), missing), codeManifestBlob},
		"another size":                {with(`"size":7`, `"size":8`), codeSize},
		"no size":                     {with(`"size":7`, `"size":-1`), codeSize},
		"a digest that is none":       {with(digestOf([]byte("weights")), "sha256:zz"), codeDigest},
		"another algorithm":           {with(digestOf([]byte("weights")), "md5:d41d8cd98f00b204e9800998ecf8427e"), codeDigest},
		"an address elsewhere":        {with(`"size":7`, `"size":7,"urls":["https://elsewhere.test"]`), codeUnsupported},
		"data of another size":        {with(`"size":7`, `"size":7,"data":"YQ=="`), codeSize},
		"data of another digest":      {with(`"size":7`, `"size":7,"data":"d2VpZ2h0cyE="`), codeSize},
		"a subject":                   {with(`"schemaVersion":2`, `"subject":{"mediaType":"`+mediaManifest+`","digest":"`+missing+`","size":1},"schemaVersion":2`), codeUnsupported},
		"no layers":                   {`{"schemaVersion":2,"mediaType":"` + mediaManifest + `","artifactType":"` + modelManifest + `","config":{"mediaType":"` + modelConfig + `","digest":"` + missing + `","size":1},"layers":[]}`, codeManifestInvalid},
		"a name out of the directory": {with(`"model.bin"`, `"../model.bin"`), codeManifestInvalid},
		"no name":                     {with(annotationPath, "title"), codeManifestInvalid},
		"two names":                   {with(`"model.bin"`, `"model.bin","`+annotationTitle+`":"other.bin"`), codeManifestInvalid},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w.put(400, c.code, digestOf([]byte(c.text)), []byte(c.text))
		})
	}
	for media, code := range map[string]code{"": codeManifestInvalid, "text/plain": codeManifestInvalid, mediaIndex: codeUnsupported, "application/vnd.docker.distribution.manifest.v2+json": codeUnsupported} {
		w.want(400, code, "engineer", "PUT", manifests+"x", strings.NewReader(good), "Content-Type", media)
	}
	w.put(400, codeDigest, missing, []byte(good))
	w.put(400, codeDigest, "sha256:x", []byte(good))
	if w.models.added != 0 {
		t.Fatal("one of them became a version")
	}
}

// TestHugeManifest reads no more of a manifest than may be.
func TestHugeManifest(t *testing.T) {
	w := newWorld(t)
	sent := &counting{of: io.LimitReader(spaces{}, 100<<20)}
	a := w.ask("engineer", "PUT", manifests+"x", sent, "Content-Type", mediaManifest)
	if a.status != 413 || sent.n.Load() > 32<<20 {
		t.Fatalf("%d after %d bytes", a.status, sent.n.Load())
	}
}

type spaces struct{}

func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

type counting struct {
	of io.Reader
	n  atomic.Int64
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.of.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// TestConfigurations refuses a configuration that does not say what the layers are.
func TestConfigurations(t *testing.T) {
	good := `{"descriptor":{},"config":{},"modelfs":{"type":"layers","diffIds":["` + digestOf(nil) + `"]}}`
	if diffs, err := parseConfiguration([]byte(good), 1); err != nil || len(diffs) != 1 {
		t.Fatal(diffs, err)
	}
	for _, c := range []struct{ was, is string }{
		{`"descriptor":{},`, ""}, {`"config":{}`, `"config":[]`}, {`"layers"`, `"diff"`}, {"sha256:", "sha512:"},
		{`"type":"layers",`, `"type":"layers","type":"layers",`}, {`"descriptor":{}`, `"descriptor":null`}, {`{"type"`, `{"kind":1,"type"`},
	} {
		if _, err := parseConfiguration([]byte(strings.Replace(good, c.was, c.is, 1)), 1); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s for %s: %v", c.is, c.was, err)
		}
	}
	if _, err := parseConfiguration([]byte(good), 2); err == nil {
		t.Error("a layer has no diffId")
	}
}

// TestHarmful keeps what does harm as a version that goes nowhere, and tells who pushed it.
func TestHarmful(t *testing.T) {
	w := newWorld(t)
	w.models.unfit = &pavise.Error{Kind: pavise.Denied, Msg: "the files do harm", Hint: "do not load them"}
	var p packing
	w.raw(&p, "model.bin", []byte("weights"))
	text := w.manifestText(p)
	if a := w.put(403, codeDenied, "1.0", text); !strings.Contains(string(a.body), "do harm") {
		t.Fatalf("%s", a.body)
	}
	w.want(200, "", "engineer", "HEAD", manifests+digestOf(text), nil)
	w.want(403, codeDenied, "engineer", "GET", manifests+digestOf(text), nil)
	w.want(403, codeDenied, "engineer", "GET", "/v2/fraud/blobs/"+digestOf([]byte("weights")), nil)
	w.models.unfit = nil
	if a := w.put(403, codeDenied, "1.0", text); !strings.Contains(string(a.body), "do harm") { // it is no better for that
		t.Fatalf("%s", a.body)
	}
	w.want(404, codeManifestUnknown, "engineer", "GET", manifests+"1.0", nil)
}

// TestTags says what a tag means, and what it takes to have it mean something else.
func TestTags(t *testing.T) {
	w := newWorld(t)
	first, second := w.push("1.0", "one"), w.push("2.0", "two")
	a := w.put(403, codeDenied, "1.0", second)
	if !strings.Contains(string(a.body), "CHG1") || !strings.Contains(string(a.body), "https://registry.test/changes/CHG1") {
		t.Fatalf("%s", a.body)
	}
	get := func(ref string) []byte {
		t.Helper()
		return w.want(200, "", "engineer", "GET", manifests+ref, nil).body
	}
	if !bytes.Equal(get("1.0"), first) || !bytes.Equal(get("v2"), second) {
		t.Fatal("a tag moved by itself")
	}
	w.models.of[pavise.Name{Tenant: "local", Kind: KindModel, ID: "fraud"}].aliases["1.0"] = 2 // the change was approved
	w.models.of[pavise.Name{Tenant: "local", Kind: KindModel, ID: "fraud"}].aliases["champion"] = 1
	if !bytes.Equal(get("1.0"), second) || !bytes.Equal(get("champion"), first) {
		t.Fatal("an alias is not what it means")
	}
	w.put(201, "", "1.0", second)
	w.put(403, codeDenied, "champion", second)
	w.want(403, codeDenied, "engineer", "DELETE", manifests+"champion", nil)
	w.want(405, codeUnsupported, "engineer", "DELETE", manifests+"2.0", nil)
	w.want(404, codeManifestUnknown, "engineer", "DELETE", manifests+"3.0", nil)

	for _, tag := range []string{"latest", "LATEST", "7", "v7", "007", "sha256-" + strings.Repeat("a", 64), "sha256-" + strings.Repeat("a", 64) + ".sig", strings.Repeat("f", 64)} {
		w.put(400, codeUnsupported, tag, first)
	}
	w.put(400, codeManifestInvalid, ".tag", first)
	w.want(404, codeManifestUnknown, "engineer", "GET", manifests+"latest", nil)
	w.want(404, codeManifestUnknown, "engineer", "GET", manifests+"v3", nil)
	w.want(404, codeManifestUnknown, "engineer", "GET", manifests+"v0", nil)

	list := func(query string, want ...string) answer {
		t.Helper()
		a := w.want(200, "", "deployer", "GET", "/v2/fraud/tags/list"+query, nil)
		var got struct {
			Name string
			Tags []string
		}
		w.must(json.Unmarshal(a.body, &got))
		if got.Name != "fraud" || got.Tags == nil || !slices.Equal(got.Tags, want) {
			t.Fatalf("%s: %s", query, a.body)
		}
		return a
	}
	list("", "1.0", "2.0", "champion", "v1", "v2")
	if a := list("?n=2", "1.0", "2.0"); a.header.Get("Link") != `</v2/fraud/tags/list?last=2.0&n=2>; rel="next"` {
		t.Fatalf("%v", a.header)
	}
	list("?n=2&last=2.0", "champion", "v1")
	list("?last=champ", "champion", "v1", "v2")
	list("?last=zz")
	list("?n=0")
	w.want(400, codeUnsupported, "deployer", "GET", "/v2/fraud/tags/list?n=x", nil)
	w.want(404, codeNameUnknown, "deployer", "GET", "/v2/nothing/tags/list", nil)
}

// TestReferrers takes what vouches for a model that is here, lists it, and takes nothing else.
func TestReferrers(t *testing.T) {
	w := newWorld(t)
	text := w.push("1.0", "one")
	subject := descriptor{MediaType: mediaManifest, Digest: digestOf(text), Size: int64(len(text))}
	make := func(change func(*manifest)) []byte {
		t.Helper()
		m := manifest{
			SchemaVersion: 2, MediaType: mediaManifest, ArtifactType: "application/vnd.dev.sigstore.bundle.v0.3+json", Subject: &subject,
			Config:      descriptor{MediaType: mediaEmpty, Digest: digestOf([]byte("{}")), Size: 2, Data: []byte("{}")},
			Layers:      []descriptor{w.blobOf("application/vnd.dev.sigstore.bundle.v0.3+json", []byte("bundle"))},
			Annotations: map[string]string{"of": "a test"},
		}
		change(&m)
		text, err := json.Marshal(m)
		w.must(err)
		return text
	}
	good := make(func(*manifest) {})
	at := manifests + digestOf(good)
	if a := w.put(201, "", digestOf(good), good); a.header.Get("OCI-Subject") != subject.Digest {
		t.Fatalf("%v", a.header)
	}
	bom := make(func(m *manifest) { m.ArtifactType = "application/vnd.cyclonedx+json" })
	w.put(201, "", digestOf(bom), bom)
	list := func(token, query string, want int) answer {
		t.Helper()
		a := w.want(200, "", token, "GET", "/v2/fraud/referrers/"+subject.Digest+query, nil)
		var got struct{ Manifests []descriptor }
		w.must(json.Unmarshal(a.body, &got))
		if len(got.Manifests) != want || a.header.Get("Content-Type") != mediaIndex {
			t.Fatalf("%s: %s", query, a.body)
		}
		return a
	}
	a := list("engineer", "", 2)
	if !bytes.Contains(a.body, []byte(digestOf(good))) || !bytes.Contains(a.body, []byte(`"of":"a test"`)) {
		t.Fatalf("%s", a.body)
	}
	if a := list("engineer", "?artifactType=application/vnd.cyclonedx%2Bjson", 1); a.header.Get("OCI-Filters-Applied") != "artifactType" {
		t.Fatalf("%v", a.header)
	}
	if a := w.want(200, "", "engineer", "GET", "/v2/fraud/referrers/"+digestOf(nil), nil); !bytes.Contains(a.body, []byte(`"manifests":[]`)) {
		t.Fatalf("%s", a.body)
	}
	w.want(403, codeDenied, "deployer", "GET", "/v2/fraud/referrers/"+subject.Digest, nil) // of a draft
	w.models.become(1, "published")
	list("deployer", "", 2)
	w.want(200, "", "deployer", "GET", at, nil)
	w.want(200, "", "deployer", "GET", "/v2/fraud/blobs/"+digestOf([]byte("bundle")), nil)
	w.want(400, codeDigest, "engineer", "GET", "/v2/fraud/referrers/x", nil)

	no := map[string]struct {
		status int
		code   code
		change func(*manifest)
	}{
		"of nothing here": {404, codeManifestUnknown, func(m *manifest) { m.Subject = &descriptor{MediaType: mediaManifest, Digest: digestOf(nil), Size: 1} }},
		"of a referrer": {404, codeManifestUnknown, func(m *manifest) {
			m.Subject = &descriptor{MediaType: mediaManifest, Digest: digestOf(good), Size: int64(len(good))}
		}},
		"of another size":    {400, codeSize, func(m *manifest) { m.Subject = &descriptor{MediaType: mediaManifest, Digest: subject.Digest, Size: 1} }},
		"of an index":        {400, codeManifestInvalid, func(m *manifest) { m.Subject = &descriptor{MediaType: mediaIndex, Digest: subject.Digest, Size: 1} }},
		"an unknown type":    {400, codeUnsupported, func(m *manifest) { m.ArtifactType, m.Layers = "application/x-anything", nil }},
		"layers of an image": {400, codeUnsupported, func(m *manifest) { m.Layers[0].MediaType = "application/vnd.oci.image.layer.v1.tar" }},
		"too large":          {400, codeSize, func(m *manifest) { m.Layers[0].Size = maxReferrer }},
	}
	for name, c := range no {
		t.Run(name, func(t *testing.T) {
			text := make(c.change)
			w.put(c.status, c.code, digestOf(text), text)
		})
	}
	w.put(400, codeUnsupported, "tagged", good)
	w.want(403, codeDenied, "pusher", "DELETE", at, nil) // somebody else's
	w.want(202, "", "engineer", "DELETE", at, nil)
	list("engineer", "", 1)
	w.want(404, codeManifestUnknown, "engineer", "DELETE", at, nil)
}

// TestFaultsHaveAnswers gives every kind of error of other rooms a status and a code.
func TestFaultsHaveAnswers(t *testing.T) {
	for kind := pavise.Internal; kind <= pavise.Unavailable; kind++ {
		if kindCodes[kind] == "" {
			t.Errorf("%v has no code", kind)
		}
	}
	f := refuse(codeDenied, "no", "ask")
	if got := withStatus(418, fmt.Errorf("deep: %w", f)); pavise.KindOf(got) != pavise.Denied {
		t.Error(got)
	}
	if plain := errors.New("x"); withStatus(418, plain) != plain {
		t.Error("another error was changed")
	}
}
