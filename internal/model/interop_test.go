package model

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// certify gives the key of the bench a certificate: ca.pem gave between.pem, which gave
// leaf.pem; chain.pem has the last two, the key's first.
func (b *bench) certify() {
	b.Helper()
	block := func(name string) []byte {
		text, err := os.ReadFile(b.path(name))
		b.must(err)
		p, _ := pem.Decode(text)
		return p.Bytes
	}
	key, err := x509.ParsePKCS8PrivateKey(block("key.pem"))
	b.must(err)
	own := key.(*ecdsa.PrivateKey)
	parent, by := (*x509.Certificate)(nil), (*ecdsa.PrivateKey)(nil)
	chain := ""
	for i, name := range []string{"ca", "between", "leaf"} {
		c := &x509.Certificate{
			SerialNumber: big.NewInt(int64(i + 1)), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign,
		}
		key := own
		if name == "leaf" {
			c.IsCA, c.KeyUsage, c.ExtKeyUsage = false, x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
		} else {
			key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
			b.must(err)
		}
		if parent == nil {
			parent, by = c, key
		}
		der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, by)
		b.must(err)
		parent, err = x509.ParseCertificate(der)
		b.must(err)
		by = key
		text := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
		b.write(name+".pem", text)
		if i > 0 {
			chain = text + chain
		}
	}
	b.write("chain.pem", chain)
}

func TestCertificatesOfFiles(t *testing.T) {
	b := newBench(t)
	b.certify()
	if made := b.mustSign(Sign{Chain: b.path("chain.pem")}); !strings.HasPrefix(made.Signed.By, "CN=leaf ") {
		t.Errorf("%+v", made)
	}
	v := Verify{Path: b.path("model"), Signature: b.path("model.sig"), Chain: b.path("ca.pem")}
	if got, err := v.Run(t.Context()); err != nil || !got.Holds || !strings.HasPrefix(got.Signed.By, "CN=leaf ") {
		t.Errorf("%+v, %v", got, err)
	}
	v.Now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	if got, err := v.Run(t.Context()); err != nil || got.Holds || !strings.Contains(got.Wrong, "expired") {
		t.Errorf("%+v, %v", got, err)
	}
}

// api signs with what the tool of the format's makers has no command for.
const api = `
import sys, model_signing
key, model, out = sys.argv[1:]
def sign(config, name):
    model_signing.signing.Config().use_elliptic_key_signer(private_key=key).set_hashing_config(config).sign(model, out + name)
hashing = model_signing.hashing.Config
sign(hashing().use_shard_serialization(shard_size=1000), "shards.sig")
sign(hashing().use_file_serialization(hashing_algorithm="blake3"), "blake3.sig")
sign(hashing().use_file_serialization(hashing_algorithm="blake2"), "blake2.sig")
sign(hashing().use_shard_serialization(hashing_algorithm="blake2", shard_size=999), "blake2shards.sig")
sign(hashing().set_allow_symlinks(True), "links.sig")
`

// TestModelSigning holds what we sign to the Python package model-signing, and what it signs
// to us. PAVISE_MODEL_SIGNING is a Python that has it.
func TestModelSigning(t *testing.T) {
	python := os.Getenv("PAVISE_MODEL_SIGNING")
	if python == "" {
		t.Skip("PAVISE_MODEL_SIGNING names no Python with the package model-signing")
	}
	b := newBench(t)
	b.certify()
	b.write("model/a-b/x", "1")
	b.write("model/a/x ä", "2")
	model := b.path("model")
	run := func(holds bool, args ...string) {
		t.Helper()
		out, err := exec.Command(python, args...).CombinedOutput()
		if (err == nil) != holds {
			t.Errorf("%q: %v\n%s", args, err, out)
		}
	}
	key := []string{"--public_key", b.path("key.pub")}
	chain := []string{"--certificate_chain", b.path("ca.pem")}
	theirs := func(holds bool, mode, model, signature string, trust []string) {
		t.Helper()
		run(holds, append([]string{"-m", "model_signing", "verify", mode, model, "--signature", signature}, trust...)...)
	}
	ours := func(holds bool, v Verify) {
		t.Helper()
		if got, err := v.Run(t.Context()); err != nil || got.Holds != holds {
			t.Errorf("%+v: %+v, %v", v, got, err)
		}
	}

	b.mustSign(Sign{Out: b.path("key.sig"), Ignore: []string{"logs"}})
	b.mustSign(Sign{Out: b.path("chain.sig"), Chain: b.path("chain.pem")})
	one := Sign{Path: b.path("model/config.json"), Key: b.path("key.pem"), Hash: "sha256", Out: b.path("one.sig")}
	if _, err := one.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	theirs(true, "key", model, b.path("key.sig"), key)
	theirs(true, "certificate", model, b.path("chain.sig"), chain)
	theirs(true, "key", one.Path, b.path("one.sig"), key)

	run(true, "-m", "model_signing", "sign", "key", model, "--signature", b.path("their-key.sig"), "--private_key", b.path("key.pem"))
	run(true, "-m", "model_signing", "sign", "key", one.Path, "--signature", b.path("their-one.sig"), "--private_key", b.path("key.pem"))
	run(true, "-m", "model_signing", "sign", "certificate", model, "--signature", b.path("model/their-chain.sig"), "--private_key", b.path("key.pem"),
		"--signing_certificate", b.path("leaf.pem"), "--certificate_chain", b.path("between.pem"))
	all := func(holds bool) {
		ours(holds, Verify{Path: model, Signature: b.path("their-key.sig"), Key: b.path("key.pub"), Ignore: []string{"their-chain.sig"}})
		ours(holds, Verify{Path: one.Path, Signature: b.path("their-one.sig"), Key: b.path("key.pub")})
		ours(holds, Verify{Path: model, Signature: b.path("model/their-chain.sig"), Chain: b.path("ca.pem")})
	}
	all(true)
	b.must(os.Remove(b.path("chain.sig")))
	b.must(os.Rename(b.path("model/their-chain.sig"), b.path("chain.sig")))
	run(true, "-c", api, b.path("key.pem"), model, b.path("api-"))
	for _, name := range []string{"shards", "blake3", "blake2", "blake2shards", "links"} {
		ours(true, Verify{Path: model, Signature: b.path("api-" + name + ".sig"), Key: b.path("key.pub")})
	}

	b.write("model/config.json", "{]")
	theirs(false, "key", model, b.path("key.sig"), key)
	theirs(false, "key", one.Path, b.path("one.sig"), key)
	for _, name := range []string{"shards", "blake3", "blake2", "blake2shards", "links"} {
		ours(false, Verify{Path: model, Signature: b.path("api-" + name + ".sig"), Key: b.path("key.pub")})
	}
	b.must(os.Rename(b.path("chain.sig"), b.path("model/their-chain.sig")))
	all(false)
}
