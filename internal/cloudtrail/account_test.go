package cloudtrail_test

import (
	"bytes"
	"compress/gzip"
	"crypto"
	"crypto/md5"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/pavise/pavise/internal/cloudtrail"
)

// The keys of AWS and of somebody else, made once: it takes a while.
var awsKey, otherKey = sync.OnceValue(newKey), sync.OnceValue(newKey)

func newKey() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
}

// fingerprint is AWS's: MD5 of the key.
func fingerprint(key *rsa.PrivateKey) string {
	sum := md5.Sum(x509.MarshalPKCS1PublicKey(&key.PublicKey))
	return hex.EncodeToString(sum[:])
}

// keyList is what the AWS CLI prints.
func keyList(keys ...*rsa.PrivateKey) []byte {
	var list []map[string]string
	for _, key := range keys {
		list = append(list, map[string]string{
			"Value": base64.StdEncoding.EncodeToString(x509.MarshalPKCS1PublicKey(&key.PublicKey)), "Fingerprint": fingerprint(key),
			"ValidityStartTime": "2026-01-01T00:00:00+00:00", "ValidityEndTime": "2026-12-31T00:00:00+00:00",
		})
	}
	text, _ := json.Marshal(map[string]any{"PublicKeyList": list})
	return text
}

func keys(t testing.TB) cloudtrail.Keys {
	k, err := cloudtrail.ParseKeys(keyList(awsKey()))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

const (
	bucket  = "trails-example"
	account = "111122223333"
	region  = "eu-central-1"
	hours   = 6
	perHour = 3 // log files
)

var began = time.Date(2026, 3, 1, 22, 1, 31, 0, time.UTC) // over midnight

// A digestJSON is a digest as a map, so that tests can change any of its fields.
type digestJSON = map[string]any

// An account is a bucket as AWS fills it.
type madeTrail struct {
	objects    map[string][]byte // as they lie there
	digests    []digestJSON      // from the oldest on
	signatures []string
	key        *rsa.PrivateKey
}

// newTrail makes an account of six hours. Each digest is changed before it is signed.
func newTrail(change func(i int, d digestJSON)) *madeTrail {
	a := &madeTrail{objects: map[string][]byte{}, key: awsKey()}
	for i := range hours {
		start := began.Add(time.Duration(i) * time.Hour)
		d := digestJSON{
			"awsAccountId": account, "digestStartTime": stamp(start), "digestEndTime": stamp(start.Add(time.Hour)),
			"digestS3Bucket": bucket, "digestS3Object": digestName(i), "digestPublicKeyFingerprint": fingerprint(a.key), "digestSignatureAlgorithm": "SHA256withRSA",
			"newestEventTime": nil, "oldestEventTime": nil,
			"previousDigestS3Bucket": nil, "previousDigestS3Object": nil, "previousDigestHashValue": nil, "previousDigestHashAlgorithm": nil, "previousDigestSignature": nil,
		}
		logs := []any{}
		for j := range perHour {
			if i != 3 { // an hour without events
				logs = append(logs, a.log(i, j))
			}
		}
		d["logFiles"] = logs
		if i > 0 {
			a.follow(d, i-1)
		}
		if change != nil {
			change(i, d)
		}
		a.write(d)
	}
	return a
}

// follow has a digest name another as the one before it.
func (a *madeTrail) follow(d digestJSON, before int) {
	sum := sha256.Sum256(content(a.digests[before]))
	d["previousDigestS3Bucket"], d["previousDigestS3Object"] = bucket, a.digests[before]["digestS3Object"]
	d["previousDigestHashValue"], d["previousDigestHashAlgorithm"] = hex.EncodeToString(sum[:]), "SHA-256"
	d["previousDigestSignature"] = a.signatures[before]
}

// write signs a digest and puts it into the bucket, where its object's name says.
func (a *madeTrail) write(d digestJSON) {
	a.digests, a.signatures = append(a.digests, d), append(a.signatures, a.sign(d))
	a.objects[d["digestS3Object"].(string)] = pack(content(d))
}

func (a *madeTrail) sign(d digestJSON) string {
	sum := sha256.Sum256(content(d))
	before := "null"
	if text, ok := d["previousDigestSignature"].(string); ok {
		before = text
	}
	hash := sha256.Sum256(fmt.Appendf(nil, "%s\n%s/%s\n%x\n%s", d["digestEndTime"], d["digestS3Bucket"], d["digestS3Object"], sum, before))
	signature, err := rsa.SignPKCS1v15(nil, a.key, crypto.SHA256, hash[:])
	if err != nil {
		panic(err)
	}
	return hex.EncodeToString(signature)
}

// log writes a log file and returns its entry.
func (a *madeTrail) log(hour, n int) map[string]any {
	first := began.Add(time.Duration(hour)*time.Hour + time.Duration(n)*10*time.Minute)
	var records []any
	for k := range 5 {
		records = append(records, map[string]any{
			"eventVersion": "1.08", "eventTime": stamp(first.Add(time.Duration(k) * time.Minute)), "eventName": "GetObject", "eventID": fmt.Sprintf("%d-%d-%d", hour, n, k),
		})
	}
	text, _ := json.Marshal(map[string]any{"Records": records})
	sum := sha256.Sum256(text)
	a.objects[logName(hour, n)] = pack(text)
	return map[string]any{
		"s3Bucket": bucket, "s3Object": logName(hour, n), "hashValue": hex.EncodeToString(sum[:]), "hashAlgorithm": "SHA-256",
		"oldestEventTime": stamp(first), "newestEventTime": stamp(first.Add(4 * time.Minute)),
	}
}

func stamp(t time.Time) string { return t.Format("2006-01-02T15:04:05Z") }

func digestName(i int) string {
	end := began.Add(time.Duration(i+1) * time.Hour)
	return fmt.Sprintf("AWSLogs/%s/CloudTrail-Digest/%s/%s/%s_CloudTrail-Digest_%s_main_eu-west-1_%s.json.gz", account, region, end.Format("2006/01/02"), account, region, end.Format("20060102T150405Z"))
}

func logName(hour, n int) string {
	at := began.Add(time.Duration(hour)*time.Hour + time.Duration(n)*10*time.Minute)
	return fmt.Sprintf("AWSLogs/%s/CloudTrail/%s/%s/%s_CloudTrail_%s_%s_%dnYN7gp2eWAJHIfT.json.gz", account, region, at.Format("2006/01/02"), account, region, at.Format("20060102T1504Z"), n)
}

func content(d digestJSON) []byte {
	text, err := json.Marshal(d)
	if err != nil {
		panic(err)
	}
	return text
}

func pack(text []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(text)
	w.Close()
	return b.Bytes()
}

func unpack(t testing.TB, packed []byte) []byte {
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := b.ReadFrom(r); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// keep keeps the signature of the newest digest beside it.
func (a *madeTrail) keep() *madeTrail {
	a.objects[digestName(hours-1)+".sig"] = []byte(a.signatures[hours-1] + "\n")
	return a
}

// files lays the bucket out in a directory.
func (a *madeTrail) files(add, strip string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for name, text := range a.objects {
		fsys[path.Join(add, strings.TrimPrefix(name, strip))] = &fstest.MapFile{Data: text}
	}
	return fsys
}

func verify(t testing.TB, fsys fstest.MapFS, o cloudtrail.Options) *cloudtrail.Report {
	t.Helper()
	r, err := cloudtrail.Verify(t.Context(), fsys, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
