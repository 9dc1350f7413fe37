package oms

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"reflect"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/dsse"
	"github.com/pavise/pavise/internal/sigstore"
)

func newKey(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sum(text string) []byte { d := sha256.Sum256([]byte(text)); return d[:] }

func sample() *Manifest {
	return &Manifest{Name: "m", Hash: "sha256", Ignored: []string{".git"}, Files: []File{
		{"a-b/x", []Part{{Digest: sum("1")}}}, {"a/x", []Part{{Digest: sum("2")}}}, {"b", []Part{{Digest: sum("3")}}},
	}}
}

func refused(t *testing.T, err error, words string) {
	t.Helper()
	if pavise.KindOf(err) != pavise.Unverified || !strings.Contains(fmt.Sprint(err), words) {
		t.Errorf("%v, and not %q", err, words)
	}
}

func signed(t testing.TB, key *ecdsa.PrivateKey, m *Manifest) []byte {
	t.Helper()
	text, err := (&Signer{key: key}).Sign(m)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestStatementsComeBack(t *testing.T) {
	long := strings.Repeat("ab", 64)
	wide, err := hex.DecodeString(long)
	if err != nil {
		t.Fatal(err)
	}
	for name, m := range map[string]*Manifest{
		"files":    sample(),
		"links":    {Name: "é <&>", Hash: "blake3", Symlinks: true, Files: []File{{"ä\n\"/x:1:2", []Part{{Digest: sum("1")}}}}},
		"one file": {Name: "w", Hash: "blake2b", Files: []File{{".", []Part{{Digest: wide}}}}},
		"shards": {Name: "s", Hash: "sha256", ShardSize: 10, Files: []File{
			{"a:b", []Part{{0, 10, sum("1")}, {10, 20, sum("2")}, {20, 21, sum("3")}}}, {"c", []Part{{0, 10, sum("4")}}},
		}},
		"one file in shards": {Name: "s", Hash: "sha256", ShardSize: 10, Files: []File{{".", []Part{{0, 10, sum("1")}, {10, 12, sum("2")}}}}},
	} {
		text, err := m.Statement()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ParseStatement(text); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%s: %+v, %v\n%s", name, got, err, text)
		}
	}
}

// TestShardsFollowBytesAndRootsTheList: the root is over the digests as they are listed, by
// names in the order of bytes, in which the shards of a file do not follow each other.
func TestRootIsOverTheListInItsOrder(t *testing.T) {
	m := &Manifest{Hash: "sha256", ShardSize: 5, Files: []File{{"f", []Part{{0, 5, sum("1")}, {5, 10, sum("2")}, {10, 12, sum("3")}}}}}
	text, err := m.Statement()
	if err != nil {
		t.Fatal(err)
	}
	if at := strings.Index(string(text), "f:10:12"); at < 0 || at > strings.Index(string(text), "f:5:10") {
		t.Errorf("%s", text)
	}
	if want := sha256.Sum256(bytes.Join([][]byte{sum("1"), sum("3"), sum("2")}, nil)); m.Root != want {
		t.Errorf("%x", m.Root)
	}
}

func TestStatementsThatAreNone(t *testing.T) {
	good, err := sample().Statement()
	if err != nil {
		t.Fatal(err)
	}
	shards, err := (&Manifest{Hash: "sha256", ShardSize: 10, Files: []File{{"a", []Part{{0, 10, sum("1")}, {10, 12, sum("2")}}}}}).Statement()
	if err != nil {
		t.Fatal(err)
	}
	one := hex.EncodeToString(sum("1"))
	for name, of := range map[string]struct {
		text     []byte
		old, new string
		words    string
	}{
		"nothing":                  {good, string(good), "", "end of JSON"},
		"another statement":        {good, "Statement/v1", "Statement/v0.1", "it is of type"},
		"another predicate":        {good, "signature/v1.0", "signature/v2.0", "its predicate is of type"},
		"a key twice":              {good, `"resources"`, `"resources":[],"Resources"`, "twice"},
		"a key twice, deep":        {good, `"digest":"`, `"digest":"","digest":"`, "twice"},
		"not UTF-8":                {good, `"a/x"`, "\"a/\xff\"", "not UTF-8"},
		"two subjects":             {good, `"subject":[`, `"subject":[{"name":"x"},`, "about 2 things"},
		"another root":             {good, `"sha256":"`, `"sha256":"00`, "do not hash to the one"},
		"no root":                  {good, `"digest":{"sha256"`, `"digest":{"sha512"`, "do not hash to the one"},
		"another digest":           {good, one, hex.EncodeToString(sum("x")), "do not hash to the one"},
		"a short digest":           {good, one, one[2:], "is none of sha256"},
		"a digest in capitals":     {good, one, strings.ToUpper(one), "is none of sha256"},
		"another hash of one":      {good, `"algorithm":"sha256"`, `"algorithm":"sha1"`, "is hashed with"},
		"a hash that is none":      {good, `"hash_type":"sha256"`, `"hash_type":"md5"`, "are hashed with"},
		"another hash":             {good, `"hash_type":"sha256"`, `"hash_type":"blake3"`, "is hashed with"},
		"another method":           {good, `"method":"files"`, `"method":"tensors"`, "by the method"},
		"files by shards":          {good, `"method":"files"`, `"method":"files","shard_size":7`, "by the method"},
		"an option nobody knows":   {good, `"method":"files"`, `"method":"files","only":["a"]`, "unknown field"},
		"nothing about links":      {good, `"allow_symlinks":false,`, ``, "whether links are followed"},
		"links perhaps":            {good, `"allow_symlinks":false,`, `"allow_symlinks":"false",`, "how files were hashed"},
		"all left out":             {good, `[".git"]`, `["./"]`, "leaves out all"},
		"nothing left out":         {good, `[".git"]`, `[""]`, "leaves out all"},
		"a file twice":             {good, `"a/x"`, `"b"`, "twice"},
		"out of the model":         {good, `"a/x"`, `"../x"`, "no path of a file"},
		"out of the model, deep":   {good, `"a/x"`, `"a/../../x"`, "no path of a file"},
		"from the top of the disk": {good, `"a/x"`, `"/etc/x"`, "no path of a file"},
		"another spelling":         {good, `"a/x"`, `"a//x"`, "no path of a file"},
		"with a dot":               {good, `"a/x"`, `"./x"`, "no path of a file"},
		"a directory":              {good, `"a/x"`, `"a/"`, "no path of a file"},
		"a zero":                   {good, `"a/x"`, `"a\u0000x"`, "no path of a file"},
		"no name":                  {good, `"a/x"`, `""`, "no path of a file"},
		"a long name":              {good, `"a/x"`, `"` + strings.Repeat("a", MaxPath+1) + `"`, "no path of a file"},
		"the model beside a file":  {good, `"a/x"`, `"."`, "no path of a file"},
		"no files":                 {good, `"resources":[`, `"resources":[],"others":[`, "lists 0 files"},
		"resources that are none":  {good, `"resources":[`, `"resources":[7,`, "cannot unmarshal"},
		"no shard size":            {shards, `"shard_size":10,`, ``, "its shards are of"},
		"shards of half a byte":    {shards, `"shard_size":10,`, `"shard_size":10.5,`, "its shards are of"},
		"shards of nothing":        {shards, `"shard_size":10,`, `"shard_size":0,`, "its shards are of"},
		"shards of other sizes":    {shards, `"shard_size":10,`, `"shard_size":20,`, "do not follow"},
		"no first shard":           {shards, `"a:0:10"`, `"a:1:10"`, "do not follow"},
		"a hole":                   {shards, `"a:10:12"`, `"a:11:12"`, "do not follow"},
		"an empty shard":           {shards, `"a:10:12"`, `"a:10:10"`, "do not follow"},
		"a long shard":             {shards, `"a:10:12"`, `"a:10:21"`, "do not follow"},
		"a shard twice":            {shards, `"a:10:12"`, `"a:0:10"`, "do not follow"},
		"a number with a zero":     {shards, `"a:10:12"`, `"a:010:12"`, "no name of a shard"},
		"a negative number":        {shards, `"a:10:12"`, `"a:-10:12"`, "no name of a shard"},
		"a shard of no bytes":      {shards, `"a:10:12"`, `"a"`, "no name of a shard"},
		"a shard of half a name":   {shards, `"a:10:12"`, `":12"`, "no name of a shard"},
		"a shard of no file":       {shards, `"a:10:12"`, `":10:12"`, "no path of a file"},
		"another shard size":       {shards, `"algorithm":"sha256"`, `"algorithm":"sha256-sharded-11"`, "is hashed with"},
	} {
		t.Run(name, func(t *testing.T) {
			text := bytes.Replace(of.text, []byte(of.old), []byte(of.new), 1)
			if bytes.Equal(text, of.text) {
				t.Fatal("nothing was changed")
			}
			_, err := ParseStatement(text)
			refused(t, err, of.words)
		})
	}
	// What the first tool writes and the specification does not: passed.
	for old, new := range map[string]string{`"shard_size":10,`: `"shard_size":10.0,`, `"algorithm":"sha256"`: `"algorithm":"sha256-sharded-10"`, `"resources"`: `"other":1,"resources"`} {
		if _, err := ParseStatement(bytes.ReplaceAll(shards, []byte(old), []byte(new))); err != nil {
			t.Errorf("%s: %v", new, err)
		}
	}
}

func TestLegacyStatement(t *testing.T) {
	text := fmt.Sprintf(`{"_type":"%s","predicateType":"%s","predicate":{"unused":""},"subject":[{"name":"b","digest":{"sha256":"%x"},"annotations":{"actual_hash_algorithm":"file-sha256"}},{"name":"a/c","digest":{"sha256":"%x"}}]}`,
		statementType, predicateLegacy, sum("1"), sum("2"))
	m, err := ParseStatement([]byte(text))
	want := []File{{"a/c", []Part{{Digest: sum("2")}}}, {"b", []Part{{Digest: sum("1")}}}}
	if err != nil || !m.Legacy || m.Hash != "sha256" || !reflect.DeepEqual(m.Files, want) {
		t.Errorf("%+v, %v", m, err)
	}
	_, err = ParseStatement([]byte(strings.Replace(text, "file-sha256", "file-sha256-sharded-7", 1)))
	refused(t, err, "a file is hashed with")
	_, err = ParseStatement([]byte(strings.Replace(text, `"a/c"`, `"../c"`, 1)))
	refused(t, err, "no path")
}

func TestKeys(t *testing.T) {
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		key := newKey(t, curve)
		text := signed(t, key, sample())
		if again := signed(t, key, sample()); !bytes.Equal(again, text) {
			t.Error("the same model has two signatures")
		}
		m, s, err := Open(text, Trust{Key: &key.PublicKey})
		id, _ := KeyID(&key.PublicKey)
		if err != nil || s != (Signed{Mode: ByKey, By: id}) || m.Legacy || len(m.Files) != 3 {
			t.Errorf("%+v %+v, %v", m, s, err)
		}
		_, _, err = Open(text, Trust{Key: &newKey(t, curve).PublicKey})
		refused(t, err, fmt.Sprintf("the signature is of the key %q, and not of ", id))
		_, _, err = Open(text, Trust{Key: &newKey(t, elliptic.P224()).PublicKey})
		refused(t, err, "the signature is of the key")
		_, _, err = Open(text, Trust{CA: &Authorities{}})
		refused(t, err, "signed by a key, and not by a certificate")
		_, _, err = Open(text, Trust{Root: &sigstore.TrustedRoot{}})
		refused(t, err, "signed by a key, and not with Sigstore")
	}
}

// resigned signs a statement that is no product of Sign, or an envelope of another type.
func resigned(t testing.TB, key *ecdsa.PrivateKey, payloadType string, message, payload []byte, material map[string]any) []byte {
	t.Helper()
	digest, hash := digestOf(&key.PublicKey, message)
	sig, err := key.Sign(rand.Reader, digest, hash)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]any{
		"mediaType": sigstore.MediaType, "verificationMaterial": material,
		"dsseEnvelope": map[string]any{"payload": payload, "payloadType": payloadType, "signatures": []any{map[string]any{"sig": sig, "keyid": nil}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestHintsOfKeys(t *testing.T) {
	key, other := newKey(t, elliptic.P384()), newKey(t, elliptic.P384())
	payload, err := sample().Statement()
	if err != nil {
		t.Fatal(err)
	}
	ours, err := spelled(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := spelled(&other.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, of := range map[string]struct {
		hint  map[string]any
		words string
	}{
		"the key itself":      {map[string]any{"rawBytes": ours, "keyDetails": "PKIX_ECDSA_P384_SHA_384"}, ""},
		"another key":         {map[string]any{"rawBytes": theirs}, "of another key"},
		"no key":              {map[string]any{"rawBytes": []byte("x")}, "of another key"},
		"a key of other sort": {map[string]any{"rawBytes": ours, "keyDetails": "PKIX_ECDSA_P256_SHA_256"}, "of the kind"},
		"nothing":             {map[string]any{}, "does not say which key"},
		"another hint":        {map[string]any{"hint": "00"}, "of the key"},
		"a hint and a key":    {map[string]any{"hint": "00", "rawBytes": ours}, "of the key"},
	} {
		text := resigned(t, key, dsse.InToto, dsse.PAE(dsse.InToto, payload), payload, map[string]any{"publicKey": of.hint})
		m, _, err := Open(text, Trust{Key: &key.PublicKey})
		if of.words != "" {
			refused(t, err, of.words)
		} else if err != nil || !m.Legacy {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOtherPayloads(t *testing.T) {
	key := newKey(t, elliptic.P256())
	id, err := KeyID(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := sample().Statement()
	if err != nil {
		t.Fatal(err)
	}
	material, trust := map[string]any{"publicKey": map[string]any{"hint": id}}, Trust{Key: &key.PublicKey}
	_, _, err = Open(resigned(t, key, "text/plain", dsse.PAE("text/plain", payload), payload, material), trust)
	refused(t, err, `the payload is of type "text/plain"`)
	// Signed as one type, and said to be another.
	_, _, err = Open(resigned(t, key, dsse.InToto, dsse.PAE("text/plain", payload), payload, material), trust)
	refused(t, err, "not by this key")
	// Signed without the envelope's rule, and by the rule of version 0.2.
	_, _, err = Open(resigned(t, key, dsse.InToto, payload, payload, material), trust)
	refused(t, err, "not by this key")
	m, _, err := Open(resigned(t, key, dsse.InToto, legacyPAE(dsse.InToto, payload), payload, material), trust)
	if err != nil || !m.Legacy {
		t.Error(err)
	}
	other := []byte(`{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://slsa.dev/provenance/v1"}`)
	_, _, err = Open(resigned(t, key, dsse.InToto, dsse.PAE(dsse.InToto, other), other, material), trust)
	refused(t, err, "its predicate is of type")
}

// TestLegacyHash: version 0.2 hashed with SHA-256 whatever the key, and only what it signed so
// passes.
func TestLegacyHash(t *testing.T) {
	key := newKey(t, elliptic.P384())
	b, err := sigstore.ParseBundle(signed(t, key, sample()))
	if err != nil {
		t.Fatal(err)
	}
	for _, of := range []struct {
		message []byte
		holds   bool
	}{{legacyPAE(b.PayloadType, b.Payload), true}, {dsse.PAE(b.PayloadType, b.Payload), false}} {
		digest := sha256.Sum256(of.message)
		if b.Signature, err = ecdsa.SignASN1(rand.Reader, key, digest[:]); err != nil {
			t.Fatal(err)
		}
		if _, old, err := (&Trust{Key: &key.PublicKey}).check(b); (err == nil) != of.holds || old != of.holds {
			t.Errorf("%v, %v", old, err)
		}
	}
}

func TestLegacyPAEIsPythonsLiteral(t *testing.T) {
	for payload, want := range map[string]string{
		`{"a": 1}`:         `DSSEV1 1 t 8 b'{"a": 1}'`,
		"it's":             `DSSEV1 1 t 4 b"it's"`,
		"it's \"\\\"":      `DSSEV1 1 t 8 b'it\'s "\\"'`,
		"\n\r\t\x00é~\x7f": `DSSEV1 1 t 8 b'\n\r\t\x00\xc3\xa9~\x7f'`,
	} {
		if got := string(legacyPAE("t", []byte(payload))); got != want {
			t.Errorf("%s, and not %s", got, want)
		}
	}
}

// TestSpellingsOfASignature: with (r, s) an elliptic key also signed (r, n-s); tools write
// both, so both pass, and nothing rests on the bytes of a signature. Other spellings of the
// same numbers do not pass.
func TestSpellingsOfASignature(t *testing.T) {
	key := newKey(t, elliptic.P256())
	trust := Trust{Key: &key.PublicKey}
	b, err := sigstore.ParseBundle(signed(t, key, sample()))
	if err != nil {
		t.Fatal(err)
	}
	good := b.Signature
	var sig struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(good, &sig); err != nil {
		t.Fatal(err)
	}
	sig.S.Sub(key.Params().N, sig.S)
	if b.Signature, err = asn1.Marshal(sig); err != nil {
		t.Fatal(err)
	}
	if _, _, err := trust.check(b); err != nil {
		t.Error(err)
	}
	long := append([]byte{0x30, 0x81, good[1]}, good[2:]...)
	sig.S.Add(sig.S, key.Params().N)
	beyond, err := asn1.Marshal(sig)
	if err != nil {
		t.Fatal(err)
	}
	raw := append(sig.R.FillBytes(make([]byte, 32)), sum("")...)
	for name, spelling := range map[string][]byte{"behind": append(bytes.Clone(good), 0), "a long length": long, "beyond the order": beyond, "zeroes": {0x30, 6, 2, 1, 0, 2, 1, 0}, "raw": raw} {
		b.Signature = spelling
		if _, _, err := trust.check(b); err == nil {
			t.Errorf("%s passes", name)
		}
	}
}

func TestKeyFiles(t *testing.T) {
	encode := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	pkcs8 := func(key any) string {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return encode("PRIVATE KEY", der)
	}
	public := func(key any) string {
		der, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return encode("PUBLIC KEY", der)
	}
	key, small := newKey(t, elliptic.P256()), newKey(t, elliptic.P224())
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, of := range map[string]struct{ text, words string }{
		"PKCS #8": {pkcs8(key), ""}, "SEC 1": {encode("EC PRIVATE KEY", sec1), ""}, "with parameters": {encode("EC PARAMETERS", []byte{1}) + encode("EC PRIVATE KEY", sec1), ""},
		"nothing": {"", "no private key"}, "a public key": {public(&key.PublicKey), "no elliptic key"}, "Edwards": {pkcs8(edwards), "no elliptic key"},
		"another curve": {pkcs8(small), "P-224"}, "encrypted": {encode("ENCRYPTED PRIVATE KEY", sec1), "encrypted"}, "torn": {encode("EC PRIVATE KEY", sec1[1:]), "cannot be read"},
	} {
		got, err := ParsePrivateKey([]byte(of.text))
		if of.words == "" && (err != nil || !got.Equal(key)) || of.words != "" && (pavise.KindOf(err) != pavise.Invalid || !strings.Contains(err.Error(), of.words)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, of := range map[string]struct{ text, words string }{
		"a public key": {public(&key.PublicKey), ""}, "nothing": {"x", "no public key"}, "a private key": {pkcs8(key), "no public key"},
		"Edwards": {public(edwards.Public()), "no elliptic key"}, "another curve": {public(&small.PublicKey), "P-224"},
	} {
		got, err := ParsePublicKey([]byte(of.text))
		if of.words == "" && (err != nil || !got.Equal(&key.PublicKey)) || of.words != "" && (pavise.KindOf(err) != pavise.Invalid || !strings.Contains(err.Error(), of.words)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
