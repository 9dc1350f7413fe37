package cloudtrail_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/cloudtrail"
)

func TestWhole(t *testing.T) {
	r := verify(t, newTrail(nil).keep().files("", ""), cloudtrail.Options{Keys: keys(t), Bucket: bucket})
	if r.Verdict != cloudtrail.Verified || r.Digests != hours || r.Verified != hours || r.Logs != (hours-1)*perHour || r.LogsProved != r.Logs || len(r.Findings) != 0 || r.PendingAll != 0 {
		t.Errorf("%+v", r)
	}
	c := r.Chains[0]
	if len(r.Chains) != 1 || c.Account != account || c.Region != region || !c.From.Equal(began) || c.Digests != hours || c.Verified != hours || c.Begins != "the trail's first digest is here" {
		t.Errorf("%+v", c)
	}
}

// TestWhatIsNotHere has what people copy: without the newest signature, without keys, a part
// of the bucket, unpacked.
func TestWhatIsNotHere(t *testing.T) {
	whole := newTrail(nil)
	r := verify(t, whole.files("", ""), cloudtrail.Options{Keys: keys(t)})
	if r.Verdict != cloudtrail.Unverified || r.Verified != hours-1 || !strings.Contains(r.Words, "1 of 6 digests is not proved") || !strings.Contains(r.Chains[0].Ends, "was not kept") {
		t.Errorf("without the newest signature: %+v", r)
	}
	r = verify(t, whole.files("", ""), cloudtrail.Options{})
	if r.Verdict != cloudtrail.Unverified || r.Verified != 0 || !strings.Contains(r.Words, "no public keys") {
		t.Errorf("without keys: %+v", r)
	}
	for name, fsys := range map[string]fstest.MapFS{
		"below a directory":    newTrail(nil).keep().files("copy/of/bucket", ""),
		"without AWSLogs":      newTrail(nil).keep().files("", "AWSLogs/"),
		"another prefix":       newTrail(nil).keep().files("eu", "AWSLogs/"),
		"a signatures.json":    signaturesJSON(t),
		"answer of the CLI":    headObject(t),
		"unpacked":             unpacked(t),
		"no first two digests": part(t, 2),
	} {
		if r := verify(t, fsys, cloudtrail.Options{Keys: keys(t)}); r.Verdict != cloudtrail.Verified {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if r := verify(t, part(t, 2), cloudtrail.Options{Keys: keys(t)}); !strings.Contains(r.Chains[0].Begins, "not copied, or are gone") || r.PendingAll != 2*perHour {
		t.Errorf("%+v", r)
	}
}

func signaturesJSON(t *testing.T) fstest.MapFS {
	a := newTrail(nil)
	a.objects["signatures.json"], _ = json.Marshal(map[string]string{digestName(hours - 1): a.signatures[hours-1]})
	return a.files("", "")
}

func headObject(t *testing.T) fstest.MapFS {
	a := newTrail(nil)
	a.objects[digestName(hours-1)+".sig"], _ = json.Marshal(map[string]any{"ContentLength": 1, "Metadata": map[string]string{"signature": a.signatures[hours-1], "signature-algorithm": "SHA256withRSA"}})
	return a.files("", "")
}

func unpacked(t *testing.T) fstest.MapFS {
	a := newTrail(nil).keep()
	for name, text := range a.objects {
		if strings.HasSuffix(name, ".gz") {
			a.objects[name] = unpack(t, text)
		}
	}
	return a.files("", "")
}

func part(t *testing.T, from int) fstest.MapFS {
	a := newTrail(nil).keep()
	for i := range from {
		delete(a.objects, digestName(i))
	}
	return a.files("", "")
}

// TestAttacks has every way to change an account that the digests are to show. Each names a
// finding that must come of it, with the keys and without where it needs none.
func TestAttacks(t *testing.T) {
	for _, attack := range []struct {
		name  string
		do    func(t *testing.T, a *madeTrail)
		kind  string
		file  string
		plain bool // found without keys, too
	}{
		{"a log file is gone", func(_ *testing.T, a *madeTrail) { delete(a.objects, logName(1, 1)) }, cloudtrail.MissingLog, logName(1, 1), true},
		{"an event is changed", func(t *testing.T, a *madeTrail) { a.edit(t, logName(1, 1), "GetObject", "PutObject") }, cloudtrail.AlteredLog, logName(1, 1), true},
		{"an event is gone", func(t *testing.T, a *madeTrail) { a.edit(t, logName(2, 0), `"eventID":"2-0-3",`, "") }, cloudtrail.AlteredLog, logName(2, 0), true},
		{"two log files are swapped", func(_ *testing.T, a *madeTrail) {
			a.objects[logName(1, 1)], a.objects[logName(1, 2)] = a.objects[logName(1, 2)], a.objects[logName(1, 1)]
		}, cloudtrail.AlteredLog, logName(1, 2), true},
		{"a log file is cut off", func(_ *testing.T, a *madeTrail) {
			a.objects[logName(4, 0)] = a.objects[logName(4, 0)][:60]
		}, cloudtrail.AlteredLog, logName(4, 0), true},
		{"a log file is a bomb", func(_ *testing.T, a *madeTrail) { a.objects[logName(4, 1)] = pack(make([]byte, 80<<20)) }, cloudtrail.AlteredLog, logName(4, 1), true},
		{"a log file is empty", func(_ *testing.T, a *madeTrail) { a.objects[logName(4, 1)] = nil }, cloudtrail.AlteredLog, logName(4, 1), true},
		{"a log file is planted", func(_ *testing.T, a *madeTrail) {
			a.objects[strings.Replace(logName(2, 1), "nYN7", "evil", 1)] = a.objects[logName(2, 1)]
		}, cloudtrail.UnlistedLog, strings.Replace(logName(2, 1), "nYN7", "evil", 1), true},
		{"a log file is planted in another region", func(_ *testing.T, a *madeTrail) {
			a.objects[strings.ReplaceAll(logName(2, 1), region, "us-east-1")] = a.objects[logName(2, 1)]
		}, cloudtrail.UnlistedLog, strings.ReplaceAll(logName(2, 1), region, "us-east-1"), true},
		{"a digest is gone", func(_ *testing.T, a *madeTrail) { delete(a.objects, digestName(2)) }, cloudtrail.MissingDigest, digestName(2), true},
		{"the newest digests are gone", func(_ *testing.T, a *madeTrail) {
			for i := 1; i < hours; i++ {
				delete(a.objects, digestName(i))
			}
		}, cloudtrail.Gap, logName(5, 2), true},
		{"a log file leaves its digest", func(_ *testing.T, a *madeTrail) {
			a.forge(2, func(d digestJSON) { d["logFiles"] = d["logFiles"].([]any)[1:] })
		}, cloudtrail.AlteredDigest, digestName(2), true},
		{"it leaves the newest digest", func(_ *testing.T, a *madeTrail) {
			a.forge(hours-1, func(d digestJSON) { d["logFiles"] = d["logFiles"].([]any)[1:] })
		}, cloudtrail.BadSignature, digestName(hours - 1), false},
		{"a digest's hash of a log file", func(_ *testing.T, a *madeTrail) {
			a.forge(1, func(d digestJSON) { d["logFiles"].([]any)[0].(map[string]any)["hashValue"] = strings.Repeat("ab", 32) })
		}, cloudtrail.AlteredLog, logName(1, 0), true},
		{"an old digest is played again", func(_ *testing.T, a *madeTrail) { a.objects[digestName(4)] = a.objects[digestName(1)] }, cloudtrail.Moved, digestName(4), true},
		{"two digests are swapped", func(_ *testing.T, a *madeTrail) {
			a.objects[digestName(4)], a.objects[digestName(1)] = a.objects[digestName(1)], a.objects[digestName(4)]
		}, cloudtrail.Moved, digestName(1), true},
		{"a digest is cut off", func(_ *testing.T, a *madeTrail) { a.objects[digestName(2)] = a.objects[digestName(2)][:90] }, cloudtrail.Unreadable, digestName(2), true},
		{"a digest is a bomb", func(_ *testing.T, a *madeTrail) { a.objects[digestName(2)] = pack(make([]byte, 8<<20)) }, cloudtrail.Unreadable, digestName(2), true},
		{"a digest is no JSON", func(_ *testing.T, a *madeTrail) { a.objects[digestName(2)] = pack([]byte("{]")) }, cloudtrail.Unreadable, digestName(2), true},
		{"a digest says two things", func(t *testing.T, a *madeTrail) {
			a.edit(t, digestName(2), `"awsAccountId"`, `"logFiles":[],"awsAccountId"`)
		}, cloudtrail.Unreadable, digestName(2), true},
		{"a digest of another bucket", func(_ *testing.T, a *madeTrail) { a.forge(2, func(d digestJSON) { d["digestS3Bucket"] = "attackers" }) }, cloudtrail.OtherBucket, digestName(2), true},
		{"a digest of another account", func(_ *testing.T, a *madeTrail) {
			a.forge(2, func(d digestJSON) { d["awsAccountId"] = "999999999999" })
		}, cloudtrail.Contradiction, digestName(2), true},
		{"a weaker algorithm", func(_ *testing.T, a *madeTrail) {
			a.forge(2, func(d digestJSON) { d["digestSignatureAlgorithm"] = "SHA1withRSA" })
		}, cloudtrail.Contradiction, digestName(2), true},
		{"no algorithm for a log file", func(_ *testing.T, a *madeTrail) {
			a.forge(2, func(d digestJSON) { d["logFiles"].([]any)[0].(map[string]any)["hashAlgorithm"] = "none" })
		}, cloudtrail.Contradiction, digestName(2), true},
		{"a digest that ends earlier", func(_ *testing.T, a *madeTrail) {
			a.forge(2, func(d digestJSON) { d["digestEndTime"] = stamp(began) })
		}, cloudtrail.Contradiction, digestName(2), true},
		{"a chain that begins in the middle", func(_ *testing.T, a *madeTrail) {
			a.forge(3, func(d digestJSON) {
				for name := range d {
					if strings.HasPrefix(name, "previous") {
						d[name] = nil
					}
				}
			})
		}, cloudtrail.Gap, digestName(3), true},
		{"the signature of the one before", func(_ *testing.T, a *madeTrail) {
			a.forge(3, func(d digestJSON) { d["previousDigestSignature"] = a.signatures[0] })
		}, cloudtrail.BadSignature, digestName(2), false},
		{"a signature that is none", func(_ *testing.T, a *madeTrail) {
			a.forge(3, func(d digestJSON) { d["previousDigestSignature"] = "zz" })
		}, cloudtrail.BadSignature, digestName(2), false},
		{"another key is named", func(_ *testing.T, a *madeTrail) {
			a.forge(2, func(d digestJSON) { d["digestPublicKeyFingerprint"] = fingerprint(otherKey()) })
		}, cloudtrail.UnknownKey, digestName(2), false},
		{"a signature is kept that differs", func(_ *testing.T, a *madeTrail) { a.objects[digestName(2)+".sig"] = []byte(a.signatures[3]) }, cloudtrail.Contradiction, digestName(2), true},
		{"a signature file is something else", func(_ *testing.T, a *madeTrail) { a.objects[digestName(5)+".sig"] = []byte("{}") }, cloudtrail.Unreadable, digestName(5), true},
		{"a digest lists a digest", func(_ *testing.T, a *madeTrail) {
			a.forge(2, func(d digestJSON) { d["logFiles"].([]any)[0].(map[string]any)["s3Object"] = digestName(1) })
		}, cloudtrail.Contradiction, digestName(2), true},
		{"a digest lists a file elsewhere", func(_ *testing.T, a *madeTrail) {
			a.forge(2, func(d digestJSON) { d["logFiles"].([]any)[0].(map[string]any)["s3Object"] = "../../etc/passwd" })
		}, cloudtrail.MissingLog, "../../etc/passwd", true},
	} {
		a := newTrail(nil).keep()
		attack.do(t, a)
		for _, with := range []bool{true, false} {
			if !with && !attack.plain {
				continue
			}
			o := cloudtrail.Options{}
			if with {
				o.Keys = keys(t)
			}
			r := verify(t, a.files("", ""), o)
			if r.Verdict != cloudtrail.Broken || !slices.ContainsFunc(r.Findings, func(f cloudtrail.Finding) bool { return f.Kind == attack.kind && f.File == attack.file }) {
				t.Errorf("%s (keys %v): %s, %+v", attack.name, with, r.Verdict, r.Findings)
			}
		}
	}
}

// edit replaces text in an object.
func (a *madeTrail) edit(t *testing.T, name, old, new string) {
	text := unpack(t, a.objects[name])
	if !bytes.Contains(text, []byte(old)) {
		t.Fatalf("%s has no %s", name, old)
	}
	a.objects[name] = pack(bytes.Replace(text, []byte(old), []byte(new), 1))
}

// forge changes a digest in the bucket, without a key to sign it with.
func (a *madeTrail) forge(i int, change func(d digestJSON)) {
	var d digestJSON
	if err := json.Unmarshal(content(a.digests[i]), &d); err != nil {
		panic(err)
	}
	change(d)
	a.objects[digestName(i)] = pack(content(d))
}

// TestSignedFaults has digests that AWS itself signed and that leave something open.
func TestSignedFaults(t *testing.T) {
	for _, fault := range []struct {
		name   string
		change func(i int, d digestJSON)
		kind   string
	}{
		{"an hour that is missing", func(i int, d digestJSON) {
			if i == 3 {
				d["digestStartTime"] = stamp(began.Add(3*60*60e9 + 60e9))
			}
		}, cloudtrail.Gap},
		{"an hour twice", func(i int, d digestJSON) {
			if i == 3 {
				d["digestStartTime"] = stamp(began.Add(2 * 60 * 60e9))
			}
		}, cloudtrail.Contradiction},
		{"events outside", func(i int, d digestJSON) {
			if i == 2 {
				d["logFiles"].([]any)[1].(map[string]any)["newestEventTime"] = d["logFiles"].([]any)[1].(map[string]any)["oldestEventTime"]
			}
		}, cloudtrail.OtherTimes},
		{"half a reference", func(i int, d digestJSON) {
			if i == 2 {
				d["previousDigestHashAlgorithm"] = "MD5"
			}
		}, cloudtrail.Contradiction},
	} {
		r := verify(t, newTrail(fault.change).keep().files("", ""), cloudtrail.Options{Keys: keys(t)})
		if r.Verified != hours || len(r.Findings) == 0 || r.Findings[0].Kind != fault.kind {
			t.Errorf("%s: %+v", fault.name, r)
		}
	}
}

// TestForgedAccount has an attacker write all digests anew, with a key of their own: under the
// name of AWS's key, or under its own. With the keys it is found, without it is not, and the
// verdict does not say more than it knows.
func TestForgedAccount(t *testing.T) {
	for _, name := range []string{fingerprint(awsKey()), fingerprint(otherKey())} {
		a := &madeTrail{objects: map[string][]byte{}, key: otherKey()}
		for i := range hours {
			a.log(i, 0)
		}
		honest := newTrail(nil)
		for i, d := range honest.digests {
			d["digestPublicKeyFingerprint"] = name
			d["logFiles"] = []any{a.log(i, 0)}
			if i > 0 {
				a.follow(d, i-1)
			}
			a.write(d)
		}
		if r := verify(t, a.files("", ""), cloudtrail.Options{}); r.Verdict != cloudtrail.Unverified {
			t.Errorf("without keys: %+v", r)
		}
		if r := verify(t, a.files("", ""), cloudtrail.Options{Keys: keys(t)}); r.Verdict != cloudtrail.Broken || r.Verified != 0 {
			t.Errorf("with keys: %+v", r)
		}
		for i := range hours - 1 {
			delete(a.objects, digestName(i))
		}
		if r := verify(t, a.files("", ""), cloudtrail.Options{Keys: keys(t)}); r.Verdict != cloudtrail.Broken {
			t.Errorf("one forged digest alone: %+v", r)
		}
	}
	if r := verify(t, newTrail(nil).files("", ""), cloudtrail.Options{Bucket: "another"}); r.Verdict != cloudtrail.Broken || r.Findings[0].Kind != cloudtrail.OtherBucket {
		t.Errorf("another bucket: %+v", r)
	}
}

// TestBackfill has a digest of files that came late: it is signed by itself, and leaves no gap.
func TestBackfill(t *testing.T) {
	a := newTrail(nil).keep()
	var d digestJSON
	if err := json.Unmarshal(content(a.digests[2]), &d); err != nil {
		t.Fatal(err)
	}
	for name := range d {
		if strings.HasPrefix(name, "previous") {
			d[name] = nil
		}
	}
	late := a.log(2, 7)
	name := strings.Replace(digestName(2), ".json", "_backfill.json", 1)
	d["digestS3Object"], d["logFiles"] = name, []any{late}
	a.write(d)
	if r := verify(t, a.files("", ""), cloudtrail.Options{Keys: keys(t)}); r.Verdict != cloudtrail.Broken || r.Findings[0].Kind != cloudtrail.Unsigned || r.Findings[0].File != name {
		t.Errorf("a backfill that nobody signed: %+v", r)
	}
	a.objects[name+".sig"] = []byte(a.signatures[hours])
	if r := verify(t, a.files("", ""), cloudtrail.Options{Keys: keys(t)}); r.Verdict != cloudtrail.Verified || len(r.Chains) != 2 {
		t.Errorf("%+v", r)
	}
}

func TestKeys(t *testing.T) {
	spki, err := x509.MarshalPKIXPublicKey(&awsKey().PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	both := append(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki}), pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&otherKey().PublicKey)})...)
	k, err := cloudtrail.ParseKeys(both)
	if err != nil || k.Len() != 2 {
		t.Fatalf("%v, %d keys", err, k.Len())
	}
	if r := verify(t, newTrail(nil).keep().files("", ""), cloudtrail.Options{Keys: k}); r.Verdict != cloudtrail.Verified {
		t.Errorf("keys as PEM: %+v", r)
	}
	for _, text := range []string{
		"", "{}", `{"PublicKeyList":[]}`, `{"PublicKeyList":[{"Value":"!"}]}`, `{"PublicKeyList":[{"Value":"AAAA"}]}`, "-----BEGIN", string(both[:100]),
		string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")})),
	} {
		if _, err := cloudtrail.ParseKeys([]byte(text)); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestNothingToLookAt(t *testing.T) {
	a := newTrail(nil)
	for i := range hours {
		delete(a.objects, digestName(i))
	}
	for _, fsys := range []fstest.MapFS{{}, a.files("", ""), {"AWSLogs/1/CloudTrail-Digest/x/y.txt": {}}} {
		if _, err := cloudtrail.Verify(t.Context(), fsys, cloudtrail.Options{}); pavise.KindOf(err) != pavise.NotFound {
			t.Errorf("%v", err)
		}
	}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := cloudtrail.Verify(stopped, newTrail(nil).files("", ""), cloudtrail.Options{}); pavise.KindOf(err) != pavise.Unavailable {
		t.Errorf("%v", err)
	}
	bad := newTrail(nil)
	bad.objects["signatures.json"] = []byte("[]")
	if _, err := cloudtrail.Verify(t.Context(), bad.files("", ""), cloudtrail.Options{}); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("%v", err)
	}
}

// TestFlippedBytes flips bytes all over a digest's content, other ones in every run, and of its
// signature: with the keys none goes unseen.
func TestFlippedBytes(t *testing.T) {
	whole := newTrail(nil).keep()
	k := keys(t)
	text := content(whole.digests[hours-1])
	for i := rand.IntN(13); i < len(text); i += 13 {
		fsys := whole.files("", "")
		changed := bytes.Clone(text)
		changed[i] ^= 1
		fsys[digestName(hours-1)] = &fstest.MapFile{Data: pack(changed)}
		if r := verify(t, fsys, cloudtrail.Options{Keys: k}); r.Verdict != cloudtrail.Broken {
			t.Errorf("byte %d of the digest (%q): %+v", i, text[max(0, i-10):i+1], r)
		}
	}
	signature, _ := hex.DecodeString(whole.signatures[hours-1])
	for i := 0; i < len(signature); i += 37 {
		fsys := whole.files("", "")
		changed := bytes.Clone(signature)
		changed[i] ^= 1
		fsys[digestName(hours-1)+".sig"] = &fstest.MapFile{Data: []byte(hex.EncodeToString(changed))}
		if r := verify(t, fsys, cloudtrail.Options{Keys: k}); r.Verdict != cloudtrail.Broken {
			t.Errorf("byte %d of the signature: %+v", i, r)
		}
	}
}

func FuzzVerify(f *testing.F) {
	whole := newTrail(nil).keep()
	f.Add(content(whole.digests[2]), []byte(`{"Records":[{"eventTime":"2026-03-01T22:01:31Z"}]}`), []byte("ab"))
	f.Add([]byte(`{"digestS3Object":"/","digestS3Bucket":"b"}`), []byte("\x1f\x8b"), []byte("{}"))
	f.Fuzz(func(t *testing.T, digest, log, signature []byte) {
		fsys := whole.files("", "")
		fsys[digestName(2)] = &fstest.MapFile{Data: digest}
		fsys[logName(2, 1)] = &fstest.MapFile{Data: log}
		fsys[digestName(5)+".sig"] = &fstest.MapFile{Data: signature}
		r, err := cloudtrail.Verify(t.Context(), fsys, cloudtrail.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if r.Verdict == cloudtrail.Verified {
			t.Errorf("verified without keys: %+v", r)
		}
	})
}

// FuzzParseKeys reads lists of public keys, as JSON and as PEM.
func FuzzParseKeys(f *testing.F) {
	f.Add(keyList(awsKey()))
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&awsKey().PublicKey)}))
	f.Add([]byte(`{"PublicKeyList":[{"Value":"AAAA","Fingerprint":"a"},{"Value":"","Fingerprint":"A"}]}`))
	f.Add([]byte("-----BEGIN PUBLIC KEY-----\n\n-----END PUBLIC KEY-----\nrest"))
	f.Fuzz(func(t *testing.T, text []byte) {
		k, err := cloudtrail.ParseKeys(text)
		if (err == nil) != (k.Len() > 0) || err != nil && pavise.KindOf(err) != pavise.Invalid {
			t.Fatalf("%q: %d keys, %v", text, k.Len(), err)
		}
	})
}

// TestRealEvents has a log file of events that AWS wrote, in a made-up trail: as they are, and
// with one of them gone.
func TestRealEvents(t *testing.T) {
	dir := os.Getenv("PAVISE_DATA")
	if dir == "" {
		dir = "../../../shared/data"
	}
	packed, err := os.ReadFile(filepath.Join(dir, "invictus", "cloudtrail-first-40pct.jsonl.gz"))
	if err != nil {
		t.Skipf("no events of AWS: %v; PAVISE_DATA names the directory", err)
	}
	events := strings.Split(strings.TrimSpace(string(unpack(t, packed))), "\n")
	text := []byte(`{"Records":[` + strings.Join(events, ",") + `]}`)
	sum := sha256.Sum256(text)
	a := newTrail(func(i int, d digestJSON) {
		if i == 1 {
			entry := d["logFiles"].([]any)[0].(map[string]any)
			entry["hashValue"], entry["oldestEventTime"], entry["newestEventTime"] = hex.EncodeToString(sum[:]), "2023-07-10T00:00:00Z", "2023-07-11T00:00:00Z"
		}
	}).keep()
	a.objects[logName(1, 0)] = pack(text)
	if r := verify(t, a.files("", ""), cloudtrail.Options{Keys: keys(t)}); r.Verdict != cloudtrail.Verified {
		t.Errorf("%+v", r)
	}
	a.objects[logName(1, 0)] = pack([]byte(`{"Records":[` + strings.Join(events[1:], ",") + `]}`))
	if r := verify(t, a.files("", ""), cloudtrail.Options{Keys: keys(t)}); len(r.Findings) != 1 || r.Findings[0].Kind != cloudtrail.AlteredLog {
		t.Errorf("one event less: %+v", r.Findings)
	}
}
