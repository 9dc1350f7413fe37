package sigstore

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/pavise/pavise/internal/dsse"
)

// An instance is a Sigstore of our own: a certificate authority with one below it, a log of
// certificates and a log of signatures.
type instance struct {
	t                     testing.TB
	ca, between, ct, logs *ecdsa.PrivateKey
	root, intermediate    *x509.Certificate
	at                    time.Time // of the signature
}

const (
	testIssuer  = "https://issuer.example"
	testSubject = "https://example.com/ci/build@main"
)

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newInstance(t testing.TB) *instance {
	in := &instance{t: t, ca: newKey(t), between: newKey(t), ct: newKey(t), logs: newKey(t), at: time.Unix(1_700_000_000, 0)}
	ca := x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"}, NotBefore: in.at.AddDate(-1, 0, 0), NotAfter: in.at.AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	in.root = in.certify(&ca, &ca, &in.ca.PublicKey, in.ca)
	ca.Subject.CommonName = "between"
	ca.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
	in.intermediate = in.certify(&ca, in.root, &in.between.PublicKey, in.ca)
	return in
}

func (in *instance) certify(template, parent *x509.Certificate, public *ecdsa.PublicKey, by *ecdsa.PrivateKey) *x509.Certificate {
	in.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, by)
	if err != nil {
		in.t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		in.t.Fatal(err)
	}
	return c
}

func (in *instance) sign(key *ecdsa.PrivateKey, message []byte) []byte {
	in.t.Helper()
	sum := sha256.Sum256(message)
	sig, err := key.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		in.t.Fatal(err)
	}
	return sig
}

func (in *instance) public(key *ecdsa.PrivateKey) []byte {
	in.t.Helper()
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		in.t.Fatal(err)
	}
	return der
}

// trustedRoot writes the trusted root of the instance.
func (in *instance) trustedRoot() []byte {
	type m = map[string]any
	valid := m{"start": in.at.AddDate(0, -6, 0).UTC().Format(time.RFC3339)}
	log := func(key *ecdsa.PrivateKey) []m {
		der := in.public(key)
		id := sha256.Sum256(der)
		return []m{{"baseUrl": "https://log.example", "hashAlgorithm": "SHA2_256", "publicKey": m{"rawBytes": der, "keyDetails": "PKIX_ECDSA_P256_SHA_256", "validFor": valid}, "logId": m{"keyId": id[:]}}}
	}
	text, err := json.MarshalIndent(m{
		"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1", "tlogs": log(in.logs), "ctlogs": log(in.ct),
		"certificateAuthorities": []m{{"uri": "https://ca.example", "certChain": m{"certificates": []m{{"rawBytes": in.intermediate.Raw}, {"rawBytes": in.root.Raw}}}, "validFor": valid}},
	}, "", " ")
	if err != nil {
		in.t.Fatal(err)
	}
	return append(text, '\n')
}

// A making is how a bundle is made; tests change parts of it.
type making struct {
	payload     []byte
	signer      *ecdsa.PrivateKey // nil: the certificate's key
	certificate func(*x509.Certificate)
	promisedBy  *ecdsa.PrivateKey // nil: the log of certificates
	promisedAs  *ecdsa.PrivateKey // in whose name; nil: in that log's own
	unpromised  bool
	body        func(string) string
	entry       func(*Entry)
	checkpoint  func(string) string
	sealed      func(m map[string]any) // the bundle, when all is signed
}

// bundle signs a payload, as Fulcio, its log, a client and Rekor do it.
func (in *instance) bundle(how making) []byte {
	in.t.Helper()
	key := newKey(in.t)
	c := in.leaf(key, how)
	if how.payload == nil {
		how.payload = []byte("{}")
	}
	if how.signer == nil {
		how.signer = key
	}
	sig := in.sign(how.signer, dsse.PAE(dsse.InToto, how.payload))
	entry := in.log(how, c, sig)
	bundle := map[string]any{
		"mediaType": MediaType,
		"verificationMaterial": map[string]any{
			"certificate": map[string]any{"rawBytes": c.Raw}, "tlogEntries": []any{entry}, "timestampVerificationData": map[string]any{},
		},
		"dsseEnvelope": map[string]any{"payload": how.payload, "payloadType": dsse.InToto, "signatures": []any{map[string]any{"sig": sig}}},
	}
	if how.sealed != nil {
		how.sealed(bundle)
	}
	text, err := json.MarshalIndent(bundle, "", " ")
	if err != nil {
		in.t.Fatal(err)
	}
	return append(text, '\n')
}

// leaf gives a certificate, with the promise of the log of certificates in it.
func (in *instance) leaf(key *ecdsa.PrivateKey, how making) *x509.Certificate {
	in.t.Helper()
	issuer, err := asn1.MarshalWithParams(testIssuer, "utf8")
	if err != nil {
		in.t.Fatal(err)
	}
	uri, err := url.Parse(testSubject)
	if err != nil {
		in.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7), NotBefore: in.at.Add(-time.Minute), NotAfter: in.at.Add(9 * time.Minute), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}, URIs: []*url.URL{uri},
		ExtraExtensions: []pkix.Extension{{Id: oidIssuerPlain, Value: []byte(testIssuer)}, {Id: oidIssuer, Value: issuer}},
	}
	if how.certificate != nil {
		how.certificate(template)
	}
	bare := in.certify(template, in.intermediate, &key.PublicKey, in.between)
	if how.unpromised {
		return bare
	}
	by := how.promisedBy
	if by == nil {
		by = in.ct
	}
	as := how.promisedAs
	if as == nil {
		as = by
	}
	p := promise{log: sha256.Sum256(in.public(as)), at: uint64(in.at.UnixMilli()), hash: 4, algorithm: 3}
	p.sig = in.sign(by, p.message(sha256.Sum256(in.intermediate.RawSubjectPublicKeyInfo), bare.RawTBSCertificate))
	text := append([]byte{0}, p.log[:]...)
	text = binary.BigEndian.AppendUint64(text, p.at)
	text = append(text, 0, 0, p.hash, p.algorithm)
	text = append(binary.BigEndian.AppendUint16(text, uint16(len(p.sig))), p.sig...)
	list := append(binary.BigEndian.AppendUint16(nil, uint16(len(text))), text...)
	value, err := asn1.Marshal(append(binary.BigEndian.AppendUint16(nil, uint16(len(list))), list...))
	if err != nil {
		in.t.Fatal(err)
	}
	template.ExtraExtensions = append(template.ExtraExtensions, pkix.Extension{Id: oidTimestamps, Value: value})
	return in.certify(template, in.intermediate, &key.PublicKey, in.between)
}

// log takes a signature into the log, as number 3 of 6.
func (in *instance) log(how making, c *x509.Certificate, sig []byte) map[string]any {
	in.t.Helper()
	sum := sha256.Sum256(how.payload)
	body := fmt.Sprintf(`{"apiVersion":"0.0.1","kind":"dsse","spec":{"envelopeHash":{"algorithm":"sha256","value":"%x"},"payloadHash":{"algorithm":"sha256","value":"%x"},"signatures":[{"signature":"%s","verifier":"%s"}]}}`,
		sum, sum, base64.StdEncoding.EncodeToString(sig), base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})))
	if how.body != nil {
		body = how.body(body)
	}
	id := sha256.Sum256(in.public(in.logs))
	e := &Entry{LogIndex: 1003, IntegratedTime: number(in.at.Unix()), Body: []byte(body)}
	e.LogID.KeyID, e.Kind.Kind, e.Kind.Version = id[:], "dsse", "0.0.1"
	if how.entry != nil {
		how.entry(e)
	}
	e.Promise.Signed = in.sign(in.logs, e.promise())
	proof, root := in.prove(e.Body)
	text := fmt.Sprintf("log.example - 42\n6\n%s\n", base64.StdEncoding.EncodeToString(root[:]))
	if how.checkpoint != nil {
		text = how.checkpoint(text)
	}
	signed, err := note.Sign(&note.Note{Text: text}, noteSigner{in})
	if err != nil {
		in.t.Fatal(err)
	}
	var hashes [][]byte
	for _, h := range proof {
		hashes = append(hashes, h[:])
	}
	return map[string]any{
		"logIndex": fmt.Sprint(e.LogIndex), "logId": map[string]any{"keyId": []byte(e.LogID.KeyID)}, "kindVersion": map[string]any{"kind": e.Kind.Kind, "version": e.Kind.Version},
		"integratedTime": fmt.Sprint(e.IntegratedTime), "inclusionPromise": map[string]any{"signedEntryTimestamp": []byte(e.Promise.Signed)},
		"inclusionProof":    map[string]any{"logIndex": "3", "rootHash": root[:], "treeSize": "6", "hashes": hashes, "checkpoint": map[string]any{"envelope": string(signed)}},
		"canonicalizedBody": []byte(e.Body),
	}
}

// prove puts a body into a tree of six, and proves it there.
func (in *instance) prove(body []byte) (tlog.RecordProof, tlog.Hash) {
	in.t.Helper()
	var stored []tlog.Hash
	read := tlog.HashReaderFunc(func(at []int64) (list []tlog.Hash, err error) {
		for _, i := range at {
			list = append(list, stored[i])
		}
		return list, nil
	})
	for i := range int64(6) {
		text := fmt.Appendf(nil, "other %d", i)
		if i == 3 {
			text = body
		}
		more, err := tlog.StoredHashes(i, text, read)
		if err != nil {
			in.t.Fatal(err)
		}
		stored = append(stored, more...)
	}
	root, err := tlog.TreeHash(6, read)
	if err != nil {
		in.t.Fatal(err)
	}
	proof, err := tlog.ProveRecord(6, 3, read)
	if err != nil {
		in.t.Fatal(err)
	}
	return proof, root
}

// A noteSigner signs checkpoints as Rekor does.
type noteSigner struct{ in *instance }

func (noteSigner) Name() string { return "log.example" }

func (s noteSigner) KeyHash() uint32 {
	id := sha256.Sum256(s.in.public(s.in.logs))
	return binary.BigEndian.Uint32(id[:])
}

func (s noteSigner) Sign(message []byte) ([]byte, error) { return s.in.sign(s.in.logs, message), nil }

// hexOf shows a digest.
func hexOf(b []byte) string { sum := sha256.Sum256(b); return hex.EncodeToString(sum[:]) }

func digest(b []byte) []byte { sum := sha256.Sum256(b); return sum[:] }
