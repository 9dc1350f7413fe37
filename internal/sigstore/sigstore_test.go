package sigstore

import (
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"flag"
	"fmt"
	"math/big"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/dsse"
)

var (
	update     = flag.Bool("update", false, "make testdata anew")
	exhaustive = flag.Bool("exhaustive", false, "change every byte of the real bundles, and not one in some")
)

var them = Identity{Subject: testSubject, Issuer: testIssuer}

func verify(root *TrustedRoot, text []byte, want Identity) error {
	b, err := ParseBundle(text)
	if err == nil {
		_, err = root.Verify(b, want)
	}
	return err
}

func parseRoot(t testing.TB, text []byte) *TrustedRoot {
	t.Helper()
	root, err := ParseTrustedRoot(text)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// refused holds an error to be one of a signature, with these words.
func refused(t *testing.T, err error, words string) {
	t.Helper()
	if pavise.KindOf(err) != pavise.Unverified || !strings.Contains(fmt.Sprint(err), words) {
		t.Errorf("%v, and not %q", err, words)
	}
}

func otherName(t *testing.T, name string) []byte {
	t.Helper()
	must := func(v any, params string) []byte {
		b, err := asn1.MarshalWithParams(v, params)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	value := must(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: must(name, "utf8")}, "")
	inner := append(must(oidUserName, ""), value...)
	return must([]asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: inner}}, "")
}

func TestVerify(t *testing.T) {
	in := newInstance(t)
	root := parseRoot(t, in.trustedRoot())
	b, err := ParseBundle(in.bundle(making{payload: []byte(`{"a":1}`)}))
	if err != nil {
		t.Fatal(err)
	}
	logged, err := root.Verify(b, them)
	if err != nil || !logged.At.Equal(in.at) || logged.Index != 1003 || string(b.Payload) != `{"a":1}` {
		t.Fatalf("%+v, %v", logged, err)
	}
	forms := map[string]struct {
		how  making
		want Identity
	}{
		"an address": {making{certificate: func(c *x509.Certificate) { c.URIs, c.EmailAddresses = nil, []string{"a@example.com"} }}, Identity{"a@example.com", testIssuer}},
		"a user's name, in a critical extension": {making{certificate: func(c *x509.Certificate) {
			c.URIs = nil
			c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: oidAltName, Critical: true, Value: otherName(t, "user!host")})
		}}, Identity{"user!host", testIssuer}},
		"the old issuer alone": {making{certificate: func(c *x509.Certificate) { c.ExtraExtensions = c.ExtraExtensions[:1] }}, them},
		"the new issuer alone": {making{certificate: func(c *x509.Certificate) { c.ExtraExtensions = c.ExtraExtensions[1:] }}, them},
		"the other media type": {making{sealed: func(m map[string]any) { m["mediaType"] = otherMediaType }}, them},
	}
	for name, form := range forms {
		if err := verify(root, in.bundle(form.how), form.want); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	refused(t, verify(root, in.bundle(making{}), Identity{testSubject + "/", testIssuer}), "signed by")
	refused(t, verify(root, in.bundle(making{}), Identity{"", testIssuer}), "signed by")
	refused(t, verify(root, in.bundle(making{}), Identity{testSubject, testIssuer + "/"}), "proved who they are")
	refused(t, verify(root, in.bundle(making{certificate: func(c *x509.Certificate) { c.ExtraExtensions = nil }}), Identity{testSubject, ""}), "proved who they are")
	refused(t, verify(root, in.bundle(making{certificate: func(c *x509.Certificate) { c.ExtraExtensions[0].Value = []byte("https://evil.example") }}), them), "two issuers")
}

func entryOf(m map[string]any) map[string]any {
	return m["verificationMaterial"].(map[string]any)["tlogEntries"].([]any)[0].(map[string]any)
}

func TestRefused(t *testing.T) {
	in, other := newInstance(t), newInstance(t)
	root := parseRoot(t, in.trustedRoot())
	cert := func(change func(*x509.Certificate)) making { return making{certificate: change} }
	sealed := func(change func(m map[string]any)) making { return making{sealed: change} }
	proof := func(change func(p map[string]any)) making {
		return sealed(func(m map[string]any) { change(entryOf(m)["inclusionProof"].(map[string]any)) })
	}
	for name, of := range map[string]struct {
		how   making
		words string
	}{
		"for TLS":                     {cert(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }), "none to sign code with"},
		"for no signatures":           {cert(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement }), "none to sign code with"},
		"an authority's":              {cert(func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }), "none to sign code with"},
		"expired when it signed":      {cert(func(c *x509.Certificate) { c.NotAfter = in.at.Add(-time.Second) }), "nobody who is trusted gave"},
		"not yet good when it signed": {cert(func(c *x509.Certificate) { c.NotBefore = in.at.Add(time.Second) }), "nobody who is trusted gave"},
		"a critical extension": {cert(func(c *x509.Certificate) {
			c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true})
		}), "nobody who is trusted gave"},
		"signed by another key":      {making{signer: other.ca}, "not by the certificate's key"},
		"without a promise":          {making{unpromised: true}, "none of the 0 timestamps"},
		"promised by another log":    {making{promisedBy: other.ct}, "none of the 1 timestamps"},
		"promised in the log's name": {making{promisedBy: other.ct, promisedAs: in.ct}, "none of the 1 timestamps"},
		"of another payload":         {making{body: func(s string) string { return strings.Replace(s, hexOf([]byte("{}")), hexOf(nil), -1) }}, "its payload is another"},
		"of another signature":       {making{body: func(s string) string { return strings.Replace(s, `"signature":"`, `"signature":"AAAA`, 1) }}, "its signature is another"},
		"of another certificate":     {making{body: func(s string) string { return strings.Replace(s, `"verifier":"`, `"verifier":"AAAA`, 1) }}, "its certificate is another"},
		"of another kind":            {making{body: func(s string) string { return strings.Replace(s, `"kind":"dsse"`, `"kind":"rekord"`, 1) }}, "a dsse of version 0.0.1"},
		"of the kind of another":     {making{entry: func(e *Entry) { e.Kind.Version = "0.0.2" }}, "a dsse of version 0.0.1"},
		"a key twice in the body":    {making{body: func(s string) string { return strings.Replace(s, `"kind"`, `"kind":"x","kind"`, 1) }}, "twice"},
		"before the log was trusted": {making{entry: func(e *Entry) { e.IntegratedTime -= 86400 * 300 }}, "no log of signatures"},
		"no time":                    {making{entry: func(e *Entry) { e.IntegratedTime = 0 }}, "no time that the log signed"},
		"another tree's checkpoint":  {making{checkpoint: func(s string) string { return strings.Replace(s, "\n6\n", "\n7\n", 1) }}, "of another tree"},
		"another root's checkpoint":  {making{checkpoint: func(s string) string { return s[:strings.Index(s, "6\n")] + "6\n" + strings.Repeat("A", 43) + "=\n" }}, "of another tree"},
		"a checkpoint of two lines":  {making{checkpoint: func(string) string { return "log.example\n6\n" }}, "of another tree"},
		"another's checkpoint":       {making{checkpoint: func(s string) string { return "x" + s }}, "signed by"},
		"no promise of the log":      {sealed(func(m map[string]any) { delete(entryOf(m), "inclusionPromise") }), "no time that the log signed"},
		"another time":               {sealed(func(m map[string]any) { entryOf(m)["integratedTime"] = fmt.Sprint(in.at.Unix() + 1) }), "did not sign its promise"},
		"another number":             {sealed(func(m map[string]any) { entryOf(m)["logIndex"] = "1004" }), "did not sign its promise"},
		"no proof":                   {sealed(func(m map[string]any) { delete(entryOf(m), "inclusionProof") }), "no inclusion proof"},
		"a proof of another place":   {proof(func(p map[string]any) { p["logIndex"] = "2" }), "do not lead"},
		"a place behind the tree":    {proof(func(p map[string]any) { p["logIndex"] = "6" }), "number 6"},
		"a root that is none":        {proof(func(p map[string]any) { p["rootHash"] = "AAAA" }), "its root is no hash"},
		"a short proof":              {proof(func(p map[string]any) { p["hashes"] = p["hashes"].([][]byte)[1:] }), "do not lead"},
		"no checkpoint":              {proof(func(p map[string]any) { delete(p, "checkpoint") }), "not signed by the log"},
		"no entry":                   {sealed(func(m map[string]any) { m["verificationMaterial"].(map[string]any)["tlogEntries"] = []any{} }), "0 log entries"},
		"two entries": {sealed(func(m map[string]any) {
			m["verificationMaterial"].(map[string]any)["tlogEntries"] = []any{entryOf(m), entryOf(m)}
		}), "2 log entries"},
	} {
		t.Run(name, func(t *testing.T) { refused(t, verify(root, in.bundle(of.how), them), of.words) })
	}
	refused(t, verify(parseRoot(t, other.trustedRoot()), in.bundle(making{}), them), "no log of signatures")
	stranger := *in
	stranger.ca, stranger.between, stranger.root, stranger.intermediate = other.ca, other.between, other.root, other.intermediate
	refused(t, verify(root, stranger.bundle(making{}), them), "nobody who is trusted gave")
	late := strings.Replace(string(in.trustedRoot()), `"certChain"`, `"validFor":{"end":"2000-01-01T00:00:00Z"},"certChain"`, 1)
	late = late[:strings.LastIndex(late[:strings.Index(late, `"ctlogs"`)], `"validFor"`)] + `"uri2":0}],` + late[strings.Index(late, `"ctlogs"`):]
	refused(t, verify(parseRoot(t, []byte(late)), in.bundle(making{}), them), "no certificate authority was believed then")
}

func TestBundlesThatAreNone(t *testing.T) {
	in := newInstance(t)
	good := string(in.bundle(making{}))
	if _, err := ParseBundle([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for name, of := range map[string]struct{ old, new, words string }{
		"nothing":               {good, "", "end of JSON"},
		"another media type":    {MediaType, "application/vnd.dev.sigstore.bundle+json;version=0.2", "media type"},
		"a key twice":           {`"mediaType"`, `"mediatype":"","mediaType"`, "twice"},
		"a key twice inside":    {`"rawBytes"`, `"rawBytes":"","rawBytes"`, "twice"},
		"another content":       {`"dsseEnvelope"`, `"messageSignature":{},"dsseEnvelope"`, "unknown field"},
		"a key beside it":       {`"certificate"`, `"publicKey":{"hint":"x"},"certificate"`, "it has 2 of"},
		"no material":           {`"certificate"`, `"other"`, "it has 0 of"},
		"two signatures":        {`"signatures": [`, `"signatures": [{"sig":"AAAA"},`, "2 signatures"},
		"a torn base64":         {`"rawBytes": "`, `"rawBytes": "\n`, "base64"},
		"a number that is none": {`"logIndex": "1003"`, `"logIndex": "01003"`, "no number"},
		"text behind it":        {"\n}\n", "\n}\n{}", "after top-level value"},
		"an empty chain":        {`"certificate": {`, `"x509CertificateChain": {`, "0 certificates"},
		"a deep nesting":        {`"signatures": [`, `"signatures": [` + strings.Repeat("[", 20000), "depth"},
		"a long proof":          {`"hashes": [`, `"hashes": [` + strings.Repeat(`"",`, 64), "more than 64"},
		"many entries":          {`"tlogEntries": [`, `"tlogEntries": [` + strings.Repeat(`{},`, 64), "more than 64"},
		"much around it":        {`"tlogEntries": [`, `"tlogEntries": [` + strings.Repeat(`{},`, 1<<19), "around its payload"},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(good, of.old, of.new, 1)
			if text == good {
				t.Fatal("nothing was changed")
			}
			_, err := ParseBundle([]byte(text))
			refused(t, err, of.words)
		})
	}
	_, err := ParseBundle(make([]byte, MaxBundle+1))
	refused(t, err, "longer than")
}

// TestMemoryOfBundles reads bundles of empty objects, which take no more than their text says.
func TestMemoryOfBundles(t *testing.T) {
	good := string(newInstance(t).bundle(making{}))
	for _, list := range []string{`"tlogEntries": [`, `"hashes": [`, `"signatures": [`} {
		text := strings.Replace(good, list, list+strings.Repeat(`{},`, 1<<18), 1)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := ParseBundle([]byte(text))
		runtime.ReadMemStats(&after)
		if taken := after.TotalAlloc - before.TotalAlloc; err == nil || taken > 16<<20 {
			t.Errorf("%s: %d bytes were taken, %v", list, taken, err)
		}
	}
}

func TestRootsThatAreNone(t *testing.T) {
	good := string(newInstance(t).trustedRoot())
	for name, of := range map[string]struct{ old, new string }{
		"nothing": {good, ""}, "a bundle": {"trustedroot", "bundle"}, "a key twice": {`"tlogs"`, `"tlogs":[],"tlogs"`},
		"no log": {`"tlogs"`, `"other"`}, "no log of certificates": {`"ctlogs"`, `"other"`}, "no authority": {`"certificateAuthorities"`, `"other"`},
		"a torn certificate": {`"certificates": [`, `"certificates": [{"rawBytes":"AAAA"},`}, "a key of no kind": {"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE", "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAF"},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(good, of.old, of.new, -1)
			if of.old == `"tlogs"` || of.old == `"certificates": [` {
				text = strings.Replace(good, of.old, of.new, 1)
			}
			if _, err := ParseTrustedRoot([]byte(text)); text == good || pavise.KindOf(err) != pavise.Invalid {
				t.Error(err)
			}
		})
	}
}

// mutate changes every byte of what a bundle's base64 decodes to, and of its other strings, or
// one in step, and holds that none of it is verified any more.
func mutate(t *testing.T, root *TrustedRoot, text []byte, want Identity, step int, masks ...byte) {
	t.Helper()
	if err := verify(root, text, want); err != nil {
		t.Fatal(err)
	}
	b, err := ParseBundle(text)
	if err != nil {
		t.Fatal(err)
	}
	e := &b.Entries[0]
	checkpoint := []byte(e.Proof.Checkpoint.Envelope)
	parts := map[string][]byte{
		"payload": b.Payload, "signature": b.Signature, "certificate": b.Certificate, "body": e.Body, "promise": e.Promise.Signed, "log id": e.LogID.KeyID,
		"root": e.Proof.Root, "checkpoint": checkpoint,
	}
	for i, h := range e.Proof.Hashes {
		parts[fmt.Sprint("hash ", i)] = h
	}
	for name, part := range parts {
		for i := rand.IntN(step); i < len(part); i += step {
			for _, mask := range masks {
				part[i] ^= mask
				e.Proof.Checkpoint.Envelope = string(checkpoint)
				if _, err := root.Verify(b, want); err == nil {
					t.Errorf("byte %d of the %s was changed by %#x, and all is verified", i, name, mask)
				}
				part[i] ^= mask
			}
		}
	}
	for name, n := range map[string]*number{"number": &e.LogIndex, "time": &e.IntegratedTime, "place": &e.Proof.LogIndex, "size": &e.Proof.Size} {
		for bit := range 63 {
			*n ^= 1 << bit
			if _, err := root.Verify(b, want); err == nil {
				t.Errorf("bit %d of the %s was changed, and all is verified", bit, name)
			}
			*n ^= 1 << bit
		}
	}
	e.Proof.Checkpoint.Envelope = string(checkpoint)
	if _, err := root.Verify(b, want); err != nil {
		t.Fatal("it was not put back: ", err)
	}
}

func TestNoByteCanBeChanged(t *testing.T) {
	for range 3 { // signatures are of three lengths, of which two leave bits of base64 to spare
		in := newInstance(t)
		mutate(t, parseRoot(t, in.trustedRoot()), in.bundle(making{}), them, 1, 0x01)
	}
}

// TestSpellingsOfASignature: with (r, s) an elliptic key also signed (r, n-s). The log has one of
// them, and no other passes.
func TestSpellingsOfASignature(t *testing.T) {
	in := newInstance(t)
	b, err := ParseBundle(in.bundle(making{}))
	if err != nil {
		t.Fatal(err)
	}
	var sig struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(b.Signature, &sig); err != nil {
		t.Fatal(err)
	}
	sig.S.Sub(elliptic.P256().Params().N, sig.S)
	if b.Signature, err = asn1.Marshal(sig); err != nil {
		t.Fatal(err)
	}
	_, err = parseRoot(t, in.trustedRoot()).Verify(b, them)
	refused(t, err, "its signature is another")
}

// data is where real data lies, if it does.
func data(t *testing.T, name string) []byte {
	t.Helper()
	dir := os.Getenv("PAVISE_DATA")
	if dir == "" {
		dir = "../../../shared/data"
	}
	text, err := os.ReadFile(filepath.Join(dir, "oms", name))
	if err != nil {
		t.Skipf("no real signatures: %v (PAVISE_DATA names their directory)", err)
	}
	return text
}

func TestRealBundles(t *testing.T) {
	root := parseRoot(t, data(t, "keys/trusted-root-public-good.json"))
	want := Identity{"stefanb@us.ibm.com", "https://sigstore.verify.ibm.com/oauth2"}
	step := 8
	if *exhaustive {
		step = 1
	}
	for _, name := range []string{"models/v1.0.0-sigstore/model.sig", "spec/test-vectors/v1.0/valid/sigstore.bundle.json"} {
		text := data(t, name)
		mutate(t, root, text, want, step, 0x01)
		refused(t, verify(root, text, Identity{"somebody@us.ibm.com", want.Issuer}), "signed by")
		refused(t, verify(root, text, Identity{want.Subject, "https://accounts.google.com"}), "proved who they are")
	}
	refused(t, verify(root, data(t, "spec/test-vectors/v1.0/invalid/missing-tlog-entries.bundle.json"), want), "0 log entries")
}

// TestVector verifies a bundle that was made once: what holds today holds in years.
func TestVector(t *testing.T) {
	const bundle, trusted = "testdata/model.sig", "testdata/trusted_root.json"
	if *update {
		in := newInstance(t)
		a, b := []byte("{\"layers\": 2}\n"), []byte("weights\n")
		payload := fmt.Sprintf(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"model","digest":{"sha256":"%s"}}],"predicateType":"https://model_signing/signature/v1.0","predicate":{"serialization":{"method":"files","hash_type":"sha256","allow_symlinks":false,"ignore_paths":["model.sig"]},"resources":[{"name":"config.json","algorithm":"sha256","digest":"%s"},{"name":"weights.bin","algorithm":"sha256","digest":"%s"}]}}`,
			hexOf(append(digest(a), digest(b)...)), hexOf(a), hexOf(b))
		for name, text := range map[string][]byte{bundle: in.bundle(making{payload: []byte(payload)}), trusted: in.trustedRoot()} {
			if err := os.WriteFile(name, text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	text, err := os.ReadFile(bundle)
	if err != nil {
		t.Fatal(err)
	}
	root, err := os.ReadFile(trusted)
	if err != nil {
		t.Fatal(err)
	}
	if err := verify(parseRoot(t, root), text, them); err != nil {
		t.Error(err)
	}
}

func FuzzParseBundle(f *testing.F) {
	text, err := os.ReadFile("testdata/model.sig")
	if err != nil {
		f.Fatal(err)
	}
	trusted, err := os.ReadFile("testdata/trusted_root.json")
	if err != nil {
		f.Fatal(err)
	}
	root := parseRoot(f, trusted)
	good, err := ParseBundle(text)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"mediaType":"` + MediaType + `","verificationMaterial":{"publicKey":{"hint":"a"}},"dsseEnvelope":{"payload":"e30=","payloadType":"` + dsse.InToto + `","signatures":[{"sig":"AA==","keyid":null}]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		b, err := ParseBundle(text)
		if err != nil {
			if pavise.KindOf(err) != pavise.Unverified {
				t.Fatalf("%v is of kind %v", err, pavise.KindOf(err))
			}
			return
		}
		if _, err := root.Verify(b, them); err == nil && string(b.Payload) != string(good.Payload) {
			t.Fatal("something else was verified")
		}
	})
}

// FuzzCertificate has what is inside a certificate read that anybody may have made.
func FuzzCertificate(f *testing.F) {
	text, err := os.ReadFile("testdata/model.sig")
	if err != nil {
		f.Fatal(err)
	}
	b, err := ParseBundle(text)
	if err != nil {
		f.Fatal(err)
	}
	c, err := x509.ParseCertificate(b.Certificate)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(c.RawTBSCertificate, c.Extensions[len(c.Extensions)-1].Value)
	f.Fuzz(func(t *testing.T, tbs, value []byte) {
		if out, err := withoutTimestamps(tbs); err == nil && len(out) > len(tbs)+16 {
			t.Fatal("it grew")
		}
		for _, id := range []asn1.ObjectIdentifier{oidTimestamps, oidAltName, oidIssuer} {
			c := &x509.Certificate{Extensions: []pkix.Extension{{Id: id, Value: value}}}
			promises(c)
			names(c)
			issuerOf(c)
		}
	})
}
