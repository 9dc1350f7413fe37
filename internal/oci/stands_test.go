package oci

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/pavise/pavise"
)

// fill gives a version of the model fraud other files, as a draft may be given.
func (m *models) fill(number int, files ...File) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v := &m.of[pavise.Name{Tenant: "local", Kind: KindModel, ID: "fraud"}].versions[number-1]
	v.Sum, v.Files = "other "+stampOf(files), m.list(files)
}

// TestOtherFilesSince: the manifest of a draft that was given other files is not that of what
// was approved then, under no name.
func TestOtherFilesSince(t *testing.T) {
	w := newWorld(t)
	text := w.push("candidate", "bad")
	old, bad := manifests+digestOf(text), "/v2/fraud/blobs/"+digestOf([]byte("bad"))
	w.want(200, "", "engineer", "GET", old, nil)
	referrer, _ := json.Marshal(manifest{
		SchemaVersion: 2, MediaType: mediaManifest, ArtifactType: "application/vnd.cyclonedx+json",
		Subject: &descriptor{MediaType: mediaManifest, Digest: digestOf(text), Size: int64(len(text))},
		Config:  descriptor{MediaType: mediaEmpty, Digest: digestOf([]byte("{}")), Size: 2, Data: []byte("{}")},
		Layers:  []descriptor{w.blobOf("application/vnd.cyclonedx+json", []byte("bill"))},
	})
	w.put(201, "", digestOf(referrer), referrer)

	digest, size, err := w.Registry.put(t.Context(), "local", strings.NewReader("good"))
	w.must(err)
	w.models.fill(1, File{Path: "model.bin", Size: size, Digest: digest})
	w.models.become(1, "published")
	for _, token := range []string{"deployer", "engineer"} {
		w.want(404, codeManifestUnknown, token, "GET", old, nil)
		w.want(404, codeManifestUnknown, token, "GET", manifests+"candidate", nil)
		w.want(404, codeManifestUnknown, token, "GET", manifests+digestOf(referrer), nil)
		w.want(404, codeBlobUnknown, token, "GET", bad, nil)
		w.want(404, codeBlobUnknown, token, "GET", "/v2/fraud/blobs/"+digestOf([]byte("bill")), nil)
		if a := w.want(200, "", token, "GET", "/v2/fraud/referrers/"+digestOf(text), nil); !bytes.Contains(a.body, []byte(`"manifests":[]`)) {
			t.Errorf("%s", a.body)
		}
		m, err := parseManifest(mediaManifest, w.want(200, "", token, "GET", manifests+"v1", nil).body)
		if err != nil || len(m.Layers) != 1 || m.Layers[0].Digest != digest {
			t.Errorf("what was approved is not what is given out: %+v, %v", m, err)
		}
	}
	w.want(404, codeManifestUnknown, "engineer", "PUT", manifests+digestOf(referrer), bytes.NewReader(referrer), "Content-Type", mediaManifest)
	w.models.create("copy")
	w.want(202, "", "engineer", "POST", "/v2/copy/blobs/uploads/?mount="+digestOf([]byte("bad"))+"&from=fraud", nil)

	// Pushed again it is another draft, which nobody approved.
	w.put(201, "", digestOf(text), text)
	if w.models.added != 2 {
		t.Fatalf("%d versions", w.models.added)
	}
	for _, at := range []string{old, manifests + "candidate", manifests + "v2", bad} {
		w.want(403, codeDenied, "deployer", "GET", at, nil)
		w.want(200, "", "engineer", "GET", at, nil)
	}
	w.want(201, "", "engineer", "PUT", manifests+digestOf(text), bytes.NewReader(text), "Content-Type", mediaManifest)
	if w.models.added != 2 {
		t.Fatalf("%d versions", w.models.added)
	}
}

// TestOtherFilesSincePacked: nor is one that was made here, of the files that a draft had.
func TestOtherFilesSincePacked(t *testing.T) {
	w := newWorld(t)
	var files []File
	for _, content := range []string{"bad", "good"} {
		digest, size, err := w.Registry.put(t.Context(), "local", strings.NewReader(content))
		w.must(err)
		files = append(files, File{Path: "model.bin", Size: size, Digest: digest})
	}
	_, err := w.models.Add(t.Context(), pavise.Principal{}, pavise.Name{Tenant: "local", Kind: KindModel, ID: "fraud"}, Draft{Files: files[:1]})
	w.must(err)
	first := w.want(200, "", "engineer", "GET", manifests+"v1", nil)
	w.models.fill(1, files[1])
	w.models.become(1, "published")
	second := w.want(200, "", "deployer", "GET", manifests+"v1", nil)
	if bytes.Contains(second.body, []byte(files[0].Digest)) || !bytes.Contains(second.body, []byte(files[1].Digest)) {
		t.Errorf("%s", second.body)
	}
	w.want(404, codeManifestUnknown, "deployer", "GET", manifests+digestOf(first.body), nil)
	w.models.fill(1, files[0])
	if again := w.want(200, "", "deployer", "GET", manifests+"v1", nil); !bytes.Equal(again.body, first.body) {
		t.Errorf("another manifest for the same files: %s", again.body)
	}
}

// TestManyReferrers: however much refers to a model, it is listed in pages of some megabytes.
func TestManyReferrers(t *testing.T) {
	w := newWorld(t)
	text := w.push("1.0", "one")
	subject := descriptor{MediaType: mediaManifest, Digest: digestOf(text), Size: int64(len(text))}
	layer := w.blobOf("application/vnd.cyclonedx+json", []byte("bill"))
	want := map[string]bool{}
	for i := range 7 {
		text, err := json.Marshal(manifest{
			SchemaVersion: 2, MediaType: mediaManifest, ArtifactType: "application/vnd.cyclonedx+json", Subject: &subject,
			Config:      descriptor{MediaType: mediaEmpty, Digest: digestOf([]byte("{}")), Size: 2, Data: []byte("{}")},
			Layers:      []descriptor{layer},
			Annotations: map[string]string{"n": fmt.Sprint(i), "long": strings.Repeat("x", listBytes/2-1000)},
		})
		w.must(err)
		w.put(201, "", digestOf(text), text)
		want[digestOf(text)] = true
	}
	at, pages := "/v2/fraud/referrers/"+subject.Digest+"?artifactType="+url.QueryEscape("application/vnd.cyclonedx+json"), 0
	for ; at != ""; pages++ {
		a := w.want(200, "", "engineer", "GET", at, nil)
		if len(a.body) > 2*listBytes {
			t.Errorf("a page of %d bytes", len(a.body))
		}
		var got struct{ Manifests []descriptor }
		w.must(json.Unmarshal(a.body, &got))
		for _, d := range got.Manifests {
			if !want[d.Digest] || len(d.Annotations) != 2 {
				t.Fatalf("%s comes twice, or is none", d.Digest)
			}
			delete(want, d.Digest)
		}
		at, _, _ = strings.Cut(strings.TrimPrefix(a.header.Get("Link"), "<"), ">")
	}
	if len(want) > 0 || pages != 4 {
		t.Errorf("%d are missing after %d pages", len(want), pages)
	}
}
