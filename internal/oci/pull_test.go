package oci

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/pavise/pavise"
)

// TestWhoPulls gives a version out in the states in which somebody may have it.
func TestWhoPulls(t *testing.T) {
	w := newWorld(t)
	digest := digestOf(w.push("1.0", "weights"))
	blob := "/v2/fraud/blobs/" + digestOf([]byte("weights"))
	ask := func(token string, status int) {
		t.Helper()
		code := codeDenied
		if status == 200 {
			code = ""
		}
		for _, ref := range []string{digest, "1.0", "v1"} {
			w.want(status, code, token, "GET", manifests+ref, nil)
		}
		w.want(status, code, token, "GET", blob, nil)
		w.want(status, code, token, "GET", "/v2/fraud/referrers/"+digest, nil)
	}
	for _, state := range []string{"draft", "reviewed", "retired"} {
		w.models.become(1, state)
		ask("deployer", 403)
		ask("engineer", 200)
	}
	if a := w.ask("deployer", "GET", manifests+digest, nil); !bytes.Contains(a.body, []byte("version 1 is retired")) {
		t.Fatalf("%s", a.body)
	}
	w.models.become(1, "published")
	ask("deployer", 200)
	w.models.become(1, "quarantined")
	ask("deployer", 403)
	ask("engineer", 403)
	for _, at := range []string{manifests + digest, manifests + "x", blob, "/v2/fraud/tags/list", "/v2/local/fraud/tags/list"} {
		w.want(403, codeDenied, "nobody", "GET", at, nil)
		w.want(403, codeDenied, "deployer@acme", "GET", strings.Replace(at, "/v2/fraud", "/v2/local/fraud", 1), nil)
	}
	// Who pushes sees that it is there, and not what it is.
	w.want(200, "", "pusher", "HEAD", manifests+digest, nil)
	w.want(200, "", "pusher", "HEAD", blob, nil)
	w.want(403, codeDenied, "pusher", "GET", manifests+digest, nil)
	w.want(403, codeDenied, "pusher", "GET", blob, nil)
	lone := w.blobOf("x", []byte("part of nothing yet"))
	w.want(200, "", "pusher", "GET", "/v2/fraud/blobs/"+lone.Digest, nil)
	w.want(404, codeBlobUnknown, "deployer", "GET", "/v2/fraud/blobs/"+lone.Digest, nil)

	kinds := map[string]bool{}
	for _, r := range w.log.Records(0, w.log.Size()) {
		kinds[r.Kind+" "+r.On.ID] = true
	}
	for _, want := range []string{"model.pull fraud@1", "model.inspect fraud@1", "model.push fraud"} {
		if !kinds[want] {
			t.Errorf("no record of %s in %v", want, kinds)
		}
	}
}

// TestSharedBlob gives out a blob that a published version has, whatever else has it.
func TestSharedBlob(t *testing.T) {
	w := newWorld(t)
	var one, two packing
	w.raw(&one, "model.bin", []byte("shared"))
	w.raw(&two, "model.bin", []byte("shared"))
	w.raw(&two, "more.bin", []byte("more"))
	for i, p := range []packing{one, two} {
		w.put(201, "", fmt.Sprintf("tag%d", i), w.manifestText(p))
	}
	at := "/v2/fraud/blobs/" + digestOf([]byte("shared"))
	w.want(403, codeDenied, "deployer", "GET", at, nil)
	w.models.become(1, "quarantined")
	w.models.become(2, "published")
	w.want(200, "", "deployer", "GET", at, nil)
	w.models.become(2, "draft")
	w.want(200, "", "engineer", "GET", at, nil)
	w.models.become(2, "quarantined")
	w.want(403, codeDenied, "engineer", "GET", at, nil)
}

// TestRanges gives parts of a blob out.
func TestRanges(t *testing.T) {
	w := newWorld(t)
	content := []byte(strings.Repeat("0123456789", 20_000)) // several frames of the depot
	w.push("1.0", string(content))
	at := "/v2/fraud/blobs/" + digestOf(content)
	for _, c := range []struct {
		header   string
		from, to int
	}{{"bytes=0-0", 0, 1}, {"bytes=5-9", 5, 10}, {"bytes=150000-", 150_000, 200_000}, {"bytes=-7", 199_993, 200_000}, {"bytes=199999-999999", 199_999, 200_000}, {"bytes=-999999", 0, 200_000}} {
		a := w.want(206, "", "engineer", "GET", at, nil, "Range", c.header)
		if want := fmt.Sprintf("bytes %d-%d/200000", c.from, c.to-1); a.header.Get("Content-Range") != want || !bytes.Equal(a.body, content[c.from:c.to]) {
			t.Errorf("%s: %s and %d bytes", c.header, a.header.Get("Content-Range"), len(a.body))
		}
	}
	for _, header := range []string{"bytes=200000-", "bytes=-0"} {
		if a := w.want(416, codeSize, "engineer", "GET", at, nil, "Range", header); a.header.Get("Content-Range") != "bytes */200000" {
			t.Errorf("%s: %v", header, a.header)
		}
	}
	for _, header := range []string{"bytes=0-1,3-4", "lines=1-2", "bytes=9-5", "bytes=-", "bytes=a-b"} {
		if a := w.want(200, "", "engineer", "GET", at, nil, "Range", header); !bytes.Equal(a.body, content) {
			t.Errorf("%s: %d bytes", header, len(a.body))
		}
	}
}

// TestFromElsewhere pulls a version that came by another road: as ModelPack, each time the
// same, also after a restart.
func TestFromElsewhere(t *testing.T) {
	w := newWorld(t)
	fraud := pavise.Name{Tenant: "local", Kind: KindModel, ID: "fraud"}
	var files []File
	for name, content := range map[string]string{"weights/model.onnx": "weights", "config.json": "{}", "README.md": "read me", "code/run.py": "print()", "again.onnx": "weights"} {
		digest, size, err := w.Registry.put(t.Context(), "local", strings.NewReader(content))
		w.must(err)
		files = append(files, File{Path: name, Size: size, Digest: digest})
	}
	_, err := w.models.Add(t.Context(), pavise.Principal{}, fraud, Draft{Files: files})
	w.must(err)
	w.models.become(1, "published")
	first := w.want(200, "", "deployer", "GET", manifests+"v1", nil)
	m, err := parseManifest(mediaManifest, first.body)
	w.must(err)
	if len(m.Layers) != 5 || m.Layers[0].Annotations[annotationPath] != "README.md" || m.Layers[0].MediaType != layerPrefix+"doc.v1.raw" || m.Layers[4].MediaType != layerPrefix+"weight.v1.raw" {
		t.Fatalf("%s", first.body)
	}
	for _, d := range m.blobs() {
		if a := w.want(200, "", "deployer", "GET", "/v2/fraud/blobs/"+d.Digest, nil); digestOf(a.body) != d.Digest {
			t.Fatalf("%s is %q", d.Digest, a.body)
		}
	}
	config := w.want(200, "", "deployer", "GET", "/v2/fraud/blobs/"+m.Config.Digest, nil).body
	if diffs, err := parseConfiguration(config, 5); err != nil || diffs[0] != m.Layers[0].Digest {
		t.Fatalf("%v, %v", diffs, err)
	}
	w.open()
	again := w.want(200, "", "deployer", "GET", manifests+digestOf(first.body), nil)
	text, _, err := manifestFor(fraud, Version{Number: 1, Created: w.models.of[fraud].versions[0].Created}, files)
	w.must(err)
	if !bytes.Equal(again.body, first.body) || !bytes.Equal(text, first.body) {
		t.Fatal("another manifest came")
	}

	// What is nowhere here cannot be given out.
	_, err = w.models.Add(t.Context(), pavise.Principal{}, fraud, Draft{Files: []File{{Path: "a", Size: 1, Digest: digestOf([]byte("away"))}}})
	w.must(err)
	w.models.become(2, "published")
	w.want(404, codeManifestUnknown, "deployer", "GET", manifests+"v2", nil)
}

// TestListIsReadOnce: whoever pulls the blobs of a version has its list of files read once, and
// once more when it was given others.
func TestListIsReadOnce(t *testing.T) {
	w := newWorld(t)
	w.push("one", "weights")
	w.models.become(1, "published")
	before := w.models.lists.Load()
	for range 5 {
		w.want(200, "", "deployer", "GET", "/v2/fraud/blobs/"+digestOf([]byte("weights")), nil)
		w.want(200, "", "deployer", "GET", manifests+"one", nil)
	}
	if n := w.models.lists.Load() - before; n > 1 {
		t.Errorf("the files were read %d times", n)
	}
	w.models.fill(1, File{Path: "model.bin", Size: 1, Digest: digestOf([]byte("x"))})
	w.want(404, codeBlobUnknown, "deployer", "GET", "/v2/fraud/blobs/"+digestOf([]byte("weights")), nil)
}

// TestPackedAgain pushes what was pulled into another model: the files are the same.
func TestPackedAgain(t *testing.T) {
	w := newWorld(t)
	fraud := pavise.Name{Tenant: "local", Kind: KindModel, ID: "fraud"}
	digest, size, err := w.Registry.put(t.Context(), "local", strings.NewReader("weights"))
	w.must(err)
	_, err = w.models.Add(t.Context(), pavise.Principal{}, fraud, Draft{Files: []File{{Path: "model.bin", Size: size, Digest: digest}}})
	w.must(err)
	text := w.want(200, "", "engineer", "GET", manifests+"v1", nil).body
	w.models.create("copy")
	var m manifest
	w.must(json.Unmarshal(text, &m))
	for _, d := range m.blobs() {
		w.want(201, "", "engineer", "POST", "/v2/copy/blobs/uploads/?mount="+d.Digest+"&from=fraud", nil)
	}
	w.want(201, "", "engineer", "PUT", "/v2/copy/manifests/1.0", bytes.NewReader(text), "Content-Type", mediaManifest)
	v, err := w.models.Version(t.Context(), pavise.Name{Tenant: "local", Kind: KindModel, ID: "copy"}, 1)
	w.must(err)
	if files, err := v.Files(t.Context()); err != nil || len(files) != 1 || files[0].Digest != digest {
		t.Fatalf("%+v, %v", files, err)
	}
}
