package oms

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/dsse"
	"github.com/pavise/pavise/internal/sigstore"
)

// imageStatement is what cosign says of a manifest.
func imageStatement(digest string) string {
	return `{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"` + digest + `"},"annotations":{}}],"predicateType":"https://sigstore.dev/cosign/sign/v1","predicate":{}}`
}

// imageBundle signs a statement as cosign does with a key.
func imageBundle(t testing.TB, key *ecdsa.PrivateKey, hint, payloadType, statement string) []byte {
	t.Helper()
	sum := sha256.Sum256(dsse.PAE(payloadType, []byte(statement)))
	sig, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]any{
		"mediaType":            sigstore.MediaType,
		"verificationMaterial": map[string]any{"publicKey": map[string]string{"hint": hint}},
		"dsseEnvelope":         map[string]any{"payloadType": payloadType, "payload": []byte(statement), "signatures": []map[string]any{{"sig": sig}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestOpenImage holds signatures over manifests to a key, and to the manifest.
func TestOpenImage(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(der)
	hint := base64.StdEncoding.EncodeToString(sum[:])
	manifest := sha256.Sum256([]byte("manifest"))
	digest := hex.EncodeToString(manifest[:])
	id, err := KeyID(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	good := imageStatement(digest)
	trust := Trust{Key: &key.PublicKey}
	for name, text := range map[string][]byte{
		"by its name of Sigstore": imageBundle(t, key, hint, dsse.InToto, good),
		"by its name of models":   imageBundle(t, key, id, dsse.InToto, good),
		"of version 0.1":          imageBundle(t, key, hint, dsse.InToto, strings.Replace(good, "Statement/v1", "Statement/v0.1", 1)),
	} {
		if by, err := OpenImage(text, trust, manifest); err != nil || by.Mode != ByKey || by.By != id || !IsOfImage(text) {
			t.Errorf("%s: %+v, %v", name, by, err)
		}
	}
	legacy := func() []byte {
		was := legacyPAE(dsse.InToto, []byte(good))
		h := sha256.Sum256(was)
		sig, err := ecdsa.SignASN1(rand.Reader, key, h[:])
		if err != nil {
			t.Fatal(err)
		}
		var b map[string]any
		if err := json.Unmarshal(imageBundle(t, key, hint, dsse.InToto, good), &b); err != nil {
			t.Fatal(err)
		}
		b["dsseEnvelope"].(map[string]any)["signatures"] = []map[string]any{{"sig": sig}}
		text, _ := json.Marshal(b)
		return text
	}
	for name, text := range map[string][]byte{
		"by a stranger":          imageBundle(t, stranger, hint, dsse.InToto, good),
		"with a stranger's name": imageBundle(t, key, "c29tZWJvZHk=", dsse.InToto, good),
		"without a name":         imageBundle(t, key, "", dsse.InToto, good),
		"of another manifest":    imageBundle(t, key, hint, dsse.InToto, imageStatement(strings.Repeat("0", 64))),
		"of none":                imageBundle(t, key, hint, dsse.InToto, strings.Replace(good, digest, "", 1)),
		"by another hash too":    imageBundle(t, key, hint, dsse.InToto, strings.Replace(good, `"sha256"`, `"sha512":"00","sha256"`, 1)),
		"of two":                 imageBundle(t, key, hint, dsse.InToto, strings.Replace(good, `"subject":[`, fmt.Sprintf(`"subject":[{"digest":{"sha256":%q}},`, digest), 1)),
		"with a key twice":       imageBundle(t, key, hint, dsse.InToto, strings.Replace(good, `"predicate":`, `"subject":[],"predicate":`, 1)),
		"an attestation":         imageBundle(t, key, hint, dsse.InToto, strings.Replace(good, "sigstore.dev/cosign/sign/v1", "slsa.dev/provenance/v1", 1)),
		"a model's":              imageBundle(t, key, hint, dsse.InToto, strings.Replace(good, "https://sigstore.dev/cosign/sign/v1", predicateType, 1)),
		"of another type":        imageBundle(t, key, hint, dsse.InToto, strings.Replace(good, "Statement/v1", "Statement/v9", 1)),
		"no statement":           imageBundle(t, key, hint, "text/plain", good),
		"by the rule before":     legacy(),
		"no bundle":              []byte(`{}`),
		"not UTF-8":              imageBundle(t, key, hint, dsse.InToto, strings.Replace(good, `"predicate":{}`, "\"predicate\":{\"a\":\"\xff\"}", 1)),
	} {
		if by, err := OpenImage(text, trust, manifest); pavise.KindOf(err) != pavise.Unverified {
			t.Errorf("%s: %+v, %v", name, by, err)
		}
	}
	for _, text := range []string{"", "{}", string(imageBundle(t, key, hint, "text/plain", good)), string(imageBundle(t, key, hint, dsse.InToto, "{}"))} {
		if IsOfImage([]byte(text)) {
			t.Errorf("%s is of a manifest", text)
		}
	}
}

// TestOpenImageOfPeer opens what sigstore-go 1.3.0 made, the library on which cosign stands, with a key
// that nobody has any more, over a manifest of these bytes.
func TestOpenImageOfPeer(t *testing.T) {
	text, err := os.ReadFile("testdata/image-sigstore-go-1.3.0.json")
	if err != nil {
		t.Fatal(err)
	}
	pub, err := os.ReadFile("testdata/image-sigstore-go-1.3.0.pem")
	if err != nil {
		t.Fatal(err)
	}
	key, err := ParsePublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	if by, err := OpenImage(text, Trust{Key: key}, sha256.Sum256([]byte("manifest"))); err != nil || by.Mode != ByKey {
		t.Errorf("%+v, %v", by, err)
	}
	if _, err := OpenImage(text, Trust{Key: key}, sha256.Sum256([]byte("another"))); pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("of another manifest: %v", err)
	}
}

// FuzzOpenImage opens what anybody may push: nothing holds but what the key signed.
func FuzzOpenImage(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(imageBundle(f, stranger, hintOf(&key.PublicKey), dsse.InToto, imageStatement(strings.Repeat("0", 64))))
	f.Add([]byte(`{"mediaType":"` + sigstore.MediaType + `","verificationMaterial":{"certificate":{"rawBytes":"MA=="}},"dsseEnvelope":{"payload":"e30=","payloadType":"` + dsse.InToto + `","signatures":[{"sig":"MA=="}]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		IsOfImage(text)
		if by, err := OpenImage(text, Trust{Key: &key.PublicKey}, [32]byte{}); pavise.KindOf(err) != pavise.Unverified {
			t.Fatalf("%+v, %v", by, err)
		}
	})
}
