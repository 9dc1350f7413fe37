package registry

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/dsse"
	"github.com/pavise/pavise/internal/oms"
	"github.com/pavise/pavise/internal/sigstore"
)

// overManifest is a signature over a manifest, as cosign makes it.
func overManifest(t *testing.T, key *ecdsa.PrivateKey, manifest Digest) []byte {
	t.Helper()
	statement := `{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"` + hex.EncodeToString(manifest[:]) + `"}}],"predicateType":"https://sigstore.dev/cosign/sign/v1","predicate":{}}`
	sum := sha256.Sum256(dsse.PAE(dsse.InToto, []byte(statement)))
	sig, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	id, err := oms.KeyID(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]any{
		"mediaType": sigstore.MediaType, "verificationMaterial": map[string]any{"publicKey": map[string]string{"hint": id}},
		"dsseEnvelope": map[string]any{"payloadType": dsse.InToto, "payload": []byte(statement), "signatures": []map[string]any{{"sig": sig}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// told counts the notes of a kind, and those of them with a finding.
func (w *world) told(t *testing.T, kind string) (n, findings int) {
	t.Helper()
	for _, r := range w.notes(t, kind) {
		n++
		if bytes.Contains(r.Detail, []byte(`"finding"`)) {
			findings++
		}
	}
	return n, findings
}

// TestSignedLater: a signature that comes by itself counts for a version when somebody who is
// believed made it, over exactly its files or the manifest in which they came; else it is a
// finding, and counts for nothing.
func TestSignedLater(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(c *Config) { c.Signers = []Signer{{"training", oms.Trust{Key: &key.PublicKey}}} })
	w.create(t, Low)
	manifest := Digest{7}
	for name, make := range map[string]func(v *Version) []byte{
		"over the files":    func(v *Version) []byte { return signedBy(t, key, v.Files...) },
		"over the manifest": func(*Version) []byte { return overManifest(t, key, manifest) },
	} {
		v := w.review(t, `{"of": "`+name+`"}`)
		v = w.now(t, v.Ref)
		old, err := w.PlanPublish(t.Context(), "local", v.Ref)
		if err != nil {
			t.Fatal(err)
		}
		sign := func(bundle []byte) (bool, string) {
			t.Helper()
			counts, why, err := w.Signed(t.Context(), red, "local", v.Ref, Signing{v.Digest, manifest, bundle})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			return counts, why
		}
		before, _ := w.told(t, KindUnsigned)
		for what, bundle := range map[string][]byte{
			"by a stranger": signedBy(t, stranger, v.Files...), "of other files": signedBy(t, key, File{"x", 1, Digest{1}}), "nothing": []byte("{}"),
			"by a stranger, of the manifest": overManifest(t, stranger, manifest), "of another manifest": overManifest(t, key, Digest{8}),
		} {
			if counts, why := sign(bundle); counts || why == "" || strings.Contains(why, "\n") {
				t.Errorf("%s %s: %v %q", name, what, counts, why)
			}
		}
		if n, findings := w.told(t, KindUnsigned); n-before != 5 || findings != n {
			t.Errorf("%s: %d notes, %d findings", name, n-before, findings)
		}
		if is := w.now(t, v.Ref); is.Signature != nil {
			t.Errorf("%s: what does not hold counts: %+v", name, is.Signature)
		}
		bundle := make(v)
		if counts, why := sign(bundle); !counts || why != "" {
			t.Errorf("%s: %v %q", name, counts, why)
		}
		is := w.now(t, v.Ref)
		if s := is.Signature; s == nil || s.Signer != "training" || s.Files != v.Digest || (s.Over == manifest) != (name == "over the manifest") || s.Digest != sha256.Sum256(bundle) {
			t.Fatalf("%s: %+v", name, s)
		}
		if !bytes.Equal(is.Bundle(), bundle) {
			t.Errorf("%s: the signature is not kept", name)
		}
		wantKind(t, w.Publish(t.Context(), "local", v.Ref, approved(pat, old, amy, abe)), pavise.Conflict) // who approved it saw another bill
		p, err := w.PlanPublish(t.Context(), "local", v.Ref)
		if err != nil {
			t.Fatal(err)
		}
		if counts, _ := sign(overManifest(t, key, manifest)); !counts { // another one holds, and changes nothing of what people judge
			t.Errorf("%s: a second signature", name)
		}
		if err := w.Publish(t.Context(), "local", v.Ref, approved(pat, p, amy, abe)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n, _ := w.told(t, KindSigned); n != 4 {
		t.Errorf("%d signatures were written down", n)
	}
}

// TestSignedInVain: no signature counts for files that a version has no more, for one that
// nobody gets, or where nobody is believed; the last is no finding.
func TestSignedInVain(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.create(t, Low)
	v := w.now(t, w.review(t, `{"a": 1}`).Ref)
	s := Signing{v.Digest, Digest{7}, signedBy(t, key, v.Files...)}
	if counts, why, err := w.Signed(t.Context(), red, "local", v.Ref, s); counts || why == "" || err != nil {
		t.Errorf("%v %q %v", counts, why, err)
	}
	if n, findings := w.told(t, KindUnsigned); n != 1 || findings != 0 {
		t.Errorf("%d notes, %d findings", n, findings)
	}
	_, _, err = w.Signed(t.Context(), red, "local", v.Ref, Signing{Digest{1}, s.Manifest, s.Bundle})
	wantKind(t, err, pavise.Conflict)
	_, _, err = w.Signed(t.Context(), red, "local", Ref{"fraud", 99}, s)
	wantKind(t, err, pavise.NotFound)
	if _, err := w.Quarantine(t.Context(), ray, "local", v.Ref, "odd"); err != nil {
		t.Fatal(err)
	}
	_, _, err = w.Signed(t.Context(), red, "local", v.Ref, s)
	wantKind(t, err, pavise.Conflict)
}
