package registries

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	peer "github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/opencontainers/go-digest"
	ispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/content/memory"
	orasremote "oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/pavise/pavise/internal/registry"
)

const (
	modelManifest = "application/vnd.cncf.model.manifest.v1+json"
	modelConfig   = "application/vnd.cncf.model.config.v1+json"
	rawWeights    = "application/vnd.cncf.model.weight.v1.raw"
)

// repository is the model as ORAS reaches it.
func (w *world) repository(t *testing.T) *orasremote.Repository {
	t.Helper()
	host := strings.TrimPrefix(w.server.URL, "http://")
	r, err := orasremote.NewRepository(host + "/fraud")
	if err != nil {
		t.Fatal(err)
	}
	r.PlainHTTP = true
	r.Client = &auth.Client{Client: http.DefaultClient, Cache: auth.NewCache(), Credential: auth.StaticCredential(host, auth.Credential{Username: "mia", Password: w.engineer})}
	return r
}

// packModel packs a model of one file in memory, under a tag.
func packModel(t *testing.T, weights []byte, tag string) (*memory.Store, ispec.Descriptor) {
	t.Helper()
	store := memory.New()
	push := func(media string, b []byte) ispec.Descriptor {
		t.Helper()
		d := content.NewDescriptorFromBytes(media, b)
		if err := store.Push(t.Context(), d, bytes.NewReader(b)); err != nil {
			t.Fatal(err)
		}
		return d
	}
	layer := push(rawWeights, weights)
	layer.Annotations = map[string]string{"org.cncf.model.filepath": "model.safetensors"}
	config, _ := json.Marshal(map[string]any{"descriptor": map[string]any{"name": "fraud"}, "config": map[string]any{"format": "safetensors"}, "modelfs": map[string]any{"type": "layers", "diffIds": []digest.Digest{layer.Digest}}})
	configAt := push(modelConfig, config)
	d, err := oras.PackManifest(t.Context(), store, oras.PackManifestVersion1_1, modelManifest, oras.PackManifestOptions{ConfigDescriptor: &configAt, Layers: []ispec.Descriptor{layer}})
	if err == nil {
		err = store.Tag(t.Context(), d, tag)
	}
	if err != nil {
		t.Fatal(err)
	}
	return store, d
}

// tensors is a safetensors file of one tensor.
func tensors(n int) []byte {
	head := fmt.Sprintf(`{"w":{"dtype":"U8","shape":[%d],"data_offsets":[0,%d]}}`, n, n)
	return append(append([]byte{byte(len(head)), 0, 0, 0, 0, 0, 0, 0}, head...), bytes.Repeat([]byte{7}, n)...)
}

// TestORAS pushes a model with ORAS, has it vouched for, and pulls both.
func TestORAS(t *testing.T) {
	w := newWorld(t)
	repo := w.repository(t)
	weights := tensors(300_000)
	local, d := packModel(t, weights, "1.0")
	if _, err := oras.Copy(t.Context(), local, "1.0", repo, "1.0", oras.DefaultCopyOptions); err != nil {
		t.Fatal(err)
	}
	v, err := w.Models.Resolve(t.Context(), "local", registry.Ref{Model: "fraud", Version: 1})
	if err != nil || v.State != registry.Draft || v.Intake != registry.Ready || len(v.Files) != 1 || v.Files[0].Path != "model.safetensors" || v.Scan.Verdict != "clean" {
		t.Fatalf("%+v, %v", v, err)
	}

	// A signature and a bill of materials refer to it.
	for _, kind := range []string{"application/vnd.dev.sigstore.bundle.v0.3+json", "application/vnd.cyclonedx+json"} {
		b := []byte(`{"of":"` + kind + `"}`)
		layer := content.NewDescriptorFromBytes(kind, b)
		if err := repo.Push(t.Context(), layer, bytes.NewReader(b)); err != nil {
			t.Fatal(err)
		}
		if _, err := oras.PackManifest(t.Context(), repo, oras.PackManifestVersion1_1, kind, oras.PackManifestOptions{Subject: &d, Layers: []ispec.Descriptor{layer}}); err != nil {
			t.Fatal(err)
		}
	}
	var kinds []string
	if err := repo.Referrers(t.Context(), d, "", func(all []ispec.Descriptor) error {
		for _, r := range all {
			kinds = append(kinds, r.ArtifactType)
		}
		return nil
	}); err != nil || len(kinds) != 2 {
		t.Fatalf("%q, %v", kinds, err)
	}

	// All of it comes back, with what refers to it.
	back := memory.New()
	if _, err := oras.ExtendedCopy(t.Context(), repo, "1.0", back, "1.0", oras.DefaultExtendedCopyOptions); err != nil {
		t.Fatal(err)
	}
	if before, err := back.Predecessors(t.Context(), d); err != nil || len(before) != 2 {
		t.Fatalf("%v, %v", before, err)
	}
	layer := content.NewDescriptorFromBytes(rawWeights, weights)
	got, err := content.FetchAll(t.Context(), back, layer)
	if err != nil || !bytes.Equal(got, weights) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	part, err := repo.Blobs().Fetch(t.Context(), layer) // a client that seeks asks for ranges
	if err != nil {
		t.Fatal(err)
	}
	defer part.Close()
	if _, err := part.(io.Seeker).Seek(200_000, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(part); err != nil || !bytes.Equal(rest, weights[200_000:]) {
		t.Fatalf("%d bytes, %v", len(rest), err)
	}
	var tags []string
	if err := repo.Tags(t.Context(), "", func(page []string) error { tags = append(tags, page...); return nil }); err != nil || !slices.Equal(tags, []string{"1.0", "v1"}) {
		t.Fatalf("%q, %v", tags, err)
	}
}

// TestORASRefused has ORAS push what is no model: it tells its user why.
func TestORASRefused(t *testing.T) {
	w := newWorld(t)
	repo := w.repository(t)
	local := memory.New()
	d, err := oras.PackManifest(t.Context(), local, oras.PackManifestVersion1_1, "application/vnd.acme.rocket", oras.PackManifestOptions{})
	if err == nil {
		err = local.Tag(t.Context(), d, "x")
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := oras.Copy(t.Context(), local, "x", repo, "x", oras.DefaultCopyOptions); err == nil || !strings.Contains(err.Error(), "this is no model") {
		t.Fatal(err)
	}
	one, _ := packModel(t, tensors(10), "1.0")
	two, _ := packModel(t, tensors(20), "1.0")
	if _, err := oras.Copy(t.Context(), one, "1.0", repo, "1.0", oras.DefaultCopyOptions); err != nil {
		t.Fatal(err)
	}
	if _, err := oras.Copy(t.Context(), two, "1.0", repo, "1.0", oras.DefaultCopyOptions); err == nil || !strings.Contains(err.Error(), "stays at version 1") {
		t.Fatal(err)
	}
	evil, _ := packModel(t, []byte("cos\nsystem\n(S'id'\ntR."), "evil") // a pickle that runs a command
	if _, err := oras.Copy(t.Context(), evil, "evil", repo, "evil", oras.DefaultCopyOptions); err == nil || !strings.Contains(err.Error(), "harm") {
		t.Fatal(err)
	}
	if _, err := oras.Copy(t.Context(), repo, "v3", memory.New(), "v3", oras.DefaultCopyOptions); err == nil {
		t.Fatal("what does harm was pulled")
	}
	if err := repo.Delete(t.Context(), content.NewDescriptorFromBytes(ispec.MediaTypeImageManifest, nil)); err == nil {
		t.Fatal("what is not there was deleted")
	}
}

// TestContainerRegistryClient pulls with the client of go-containerregistry, on which crane and
// cosign stand: by a token of the registry's own, which it asks for.
func TestContainerRegistryClient(t *testing.T) {
	w := newWorld(t)
	weights := tensors(1000)
	local, d := packModel(t, weights, "1.0")
	if _, err := oras.Copy(t.Context(), local, "1.0", w.repository(t), "1.0", oras.DefaultCopyOptions); err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(strings.TrimPrefix(w.server.URL, "http://")+"/fraud:1.0", name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	who := remote.WithAuth(&authn.Basic{Username: "mia", Password: w.engineer})
	got, err := remote.Get(ref, who)
	if err != nil || got.Digest.String() != d.Digest.String() {
		t.Fatalf("%v, %v", got, err)
	}
	layer, err := remote.Layer(ref.Context().Digest(content.NewDescriptorFromBytes(rawWeights, weights).Digest.String()), who)
	if err != nil {
		t.Fatal(err)
	}
	text, err := layer.Compressed()
	if err != nil {
		t.Fatal(err)
	}
	defer text.Close()
	if all, err := io.ReadAll(text); err != nil || !bytes.Equal(all, weights) {
		t.Fatalf("%d bytes, %v", len(all), err)
	}
	if _, err := remote.Get(ref, remote.WithAuth(&authn.Basic{Username: "mia", Password: "wrong"})); err == nil {
		t.Fatal("anybody pulls")
	}
}

// TestAnswersAsAnotherRegistry sends the same requests to the registry of go-containerregistry,
// and holds what matters of the answers against each other.
func TestAnswersAsAnotherRegistry(t *testing.T) {
	w := newWorld(t)
	theirs := httptest.NewServer(peer.New(peer.WithReferrersSupport(true), peer.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(theirs.Close)
	weights := tensors(5000)
	local, d := packModel(t, weights, "1.0")
	manifest, err := content.FetchAll(t.Context(), local, d)
	if err != nil {
		t.Fatal(err)
	}
	var m ispec.Manifest
	if err := json.Unmarshal(manifest, &m); err != nil {
		t.Fatal(err)
	}
	config, err := content.FetchAll(t.Context(), local, m.Config)
	if err != nil {
		t.Fatal(err)
	}
	at := map[string]string{} // where each registry said to go on
	send := func(base, method, path string, body []byte, headers map[string]string) *http.Response {
		t.Helper()
		if path == "LOCATION" || strings.HasPrefix(path, "LOCATION?") {
			path = at[base] + strings.TrimPrefix(path, "LOCATION")
		}
		if !strings.HasPrefix(path, "http") {
			path = base + path
		}
		r, err := http.NewRequestWithContext(context.Background(), method, path, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+w.engineer)
		for k, v := range headers {
			r.Header.Set(k, v)
		}
		got, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if to := got.Header.Get("Location"); to != "" {
			at[base] = to
		}
		return got
	}
	media := map[string]string{"Content-Type": ispec.MediaTypeImageManifest}
	layer := m.Layers[0].Digest.String()
	missing := "sha256:" + strings.Repeat("0", 64)
	for _, c := range []struct {
		method, path string
		body         []byte
		headers      map[string]string
		differs      string // why the answers may
	}{
		{"GET", "/v2/", nil, nil, ""},
		{"HEAD", "/v2/fraud/blobs/" + layer, nil, nil, ""},
		{"GET", "/v2/fraud/blobs/" + missing, nil, nil, ""},
		{"GET", "/v2/fraud/manifests/1.0", nil, nil, ""},
		{"GET", "/v2/fraud/manifests/" + missing, nil, nil, ""},
		{"POST", "/v2/fraud/blobs/uploads/", nil, nil, ""},
		{"PATCH", "LOCATION", weights[:2000], map[string]string{"Content-Range": "0-1999"}, ""},
		{"PATCH", "LOCATION", weights[3000:], map[string]string{"Content-Range": "3000-4999"}, ""},
		{"PATCH", "LOCATION", weights[2000:4000], map[string]string{"Content-Range": "2000-3999"}, ""},
		{"PUT", "LOCATION?digest=" + layer, weights[4000:], nil, ""},
		{"HEAD", "/v2/fraud/blobs/" + layer, nil, nil, ""},
		{"GET", "/v2/fraud/blobs/" + layer, nil, nil, ""},
		{"GET", "/v2/fraud/blobs/" + layer, nil, map[string]string{"Range": "bytes=10-19"}, ""},
		{"POST", "/v2/fraud/blobs/uploads/?digest=" + m.Config.Digest.String(), config, nil, ""},
		{"POST", "/v2/fraud/blobs/uploads/?digest=" + missing, config, nil, ""},
		{"PUT", "/v2/fraud/manifests/1.0", manifest, media, ""},
		{"HEAD", "/v2/fraud/manifests/1.0", nil, nil, ""},
		{"GET", "/v2/fraud/manifests/1.0", nil, nil, ""},
		{"GET", "/v2/fraud/manifests/" + d.Digest.String(), nil, nil, ""},
		{"GET", "/v2/fraud/referrers/" + d.Digest.String(), nil, nil, ""},
		{"GET", "/v2/fraud/tags/list?n=0", nil, nil, ""},
		{"GET", "/v2/unknown/tags/list", nil, nil, ""},
		{"DELETE", "/v2/fraud/manifests/" + d.Digest.String(), nil, nil, "versions are never deleted here"},
	} {
		ours, other := send(w.server.URL, c.method, c.path, c.body, c.headers), send(theirs.URL, c.method, c.path, c.body, c.headers)
		one, _ := io.ReadAll(ours.Body)
		two, _ := io.ReadAll(other.Body)
		ours.Body.Close()
		other.Body.Close()
		said := fmt.Sprintf("%s %s: %d %s, and the other %d %s", c.method, c.path, ours.StatusCode, one, other.StatusCode, two)
		if (ours.StatusCode != other.StatusCode) != (c.differs != "") {
			t.Error(said)
			continue
		}
		if ours.StatusCode >= 300 || c.differs != "" {
			continue
		}
		for _, h := range []string{"Docker-Content-Digest", "Range", "Content-Range"} {
			if a, b := ours.Header.Get(h), other.Header.Get(h); a != b && b != "" {
				t.Errorf("%s: %s is %q, and %q there", said, h, a, b)
			}
		}
		if c.method == "GET" && (strings.Contains(c.path, "/blobs/") || strings.Contains(c.path, "/manifests/")) && !bytes.Equal(one, two) {
			t.Errorf("%s %s: another content", c.method, c.path)
		}
	}
}
