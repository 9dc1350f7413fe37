package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pavise/pavise"
)

// FuzzManifest reads manifests: what is taken is a model or refers to one, and reads the same
// when it is written anew.
func FuzzManifest(f *testing.F) {
	text, _, err := manifestFor(pavise.Name{Tenant: "local", Kind: KindModel, ID: "m"}, Version{Number: 1}, []File{{Path: "a", Size: 1, Digest: digestOf([]byte("a"))}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"schemaVersion":2,"config":{"mediaType":"` + mediaEmpty + `","digest":"` + digestOf([]byte("{}")) + `","size":2},"layers":[],"artifactType":"application/vnd.cyclonedx+json","subject":{"mediaType":"` + mediaManifest + `","digest":"` + digestOf(nil) + `","size":1}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := parseManifest(mediaManifest, text)
		if err != nil {
			if pavise.KindOf(err) != pavise.Invalid {
				t.Fatalf("kind %v: %v", pavise.KindOf(err), err)
			}
			return
		}
		if m.isModel() == (m.Subject != nil) {
			t.Fatal("it is neither a model nor refers to one")
		}
		for _, d := range m.blobs() {
			if parseDigest(d.Digest) != nil || d.Size < 0 {
				t.Fatalf("%+v", d)
			}
		}
		anew, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseManifest(mediaManifest, anew); err != nil {
			t.Fatalf("%v: %s", err, anew)
		}
	})
}

// FuzzPath reads paths: what is asked for is in a repository that has a name, and no registry
// takes what is asked of a model server.
func FuzzPath(f *testing.F) {
	for _, path := range []string{"/v2/", "/v2/token", "/v2/a/b/manifests/x", "/v2/a/blobs/uploads/", "/v2/a/blobs/uploads/x", "/v2/a/tags/list", "/v2/a/referrers/sha256:x", "/v2/models/m/infer", "/v2/models/manifests/x", "/v2/../manifests/x"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		target, ok := parsePath(path)
		if !ok {
			return
		}
		if target.repository != "" && (!repositoryName.MatchString(target.repository) || strings.Contains(target.repository, "..")) || target.repository == "" && target.what != "base" && target.what != "token" {
			t.Fatalf("%q: %+v", path, target)
		}
		if strings.HasPrefix(path, "/v2/models/") && Knows(path) {
			t.Fatalf("%q is a model server's", path)
		}
	})
}

// FuzzRange reads ranges: whatever is said, what is sent lies in the blob.
func FuzzRange(f *testing.F) {
	for _, header := range []string{"", "bytes=0-", "bytes=-1", "bytes=1-2", "bytes=9-1", "0-1"} {
		f.Add(header, int64(10))
	}
	f.Fuzz(func(t *testing.T, header string, size int64) {
		size &= 1<<40 - 1
		s, whole, ok := parseRange(header, size)
		if ok && (s.from < 0 || s.length < 0 || s.from+s.length > size || whole && s.length != size || !whole && s.length == 0) {
			t.Fatalf("%q of %d: %+v", header, size, s)
		}
		if first, length, said, err := parseChunk(header); err == nil && said && (first < 0 || length < 1) {
			t.Fatalf("%q: %d, %d", header, first, length)
		}
	})
}

// FuzzArchive unpacks archives: what is taken lies below the model's directory.
func FuzzArchive(f *testing.F) {
	f.Add(archive("a", "x", "b/c", "y"))
	f.Add(archive("../a", "x"))
	f.Fuzz(func(t *testing.T, text []byte) {
		tr := newTree(counted)
		err := tr.unpack(context.Background(), descriptor{}, formTar, digestOf(text), bytes.NewReader(text))
		if err != nil && pavise.KindOf(err) != pavise.Invalid {
			t.Fatalf("kind %v: %v", pavise.KindOf(err), err)
		}
		for _, file := range tr.files {
			if !filepath.IsLocal(file.Path) {
				t.Fatalf("%q", file.Path)
			}
		}
	})
}
