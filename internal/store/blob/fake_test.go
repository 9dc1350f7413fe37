package blob

import (
	"bufio"
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
)

// A fakeStore is an S3 store in memory with one bucket: objects in versions, uploads in
// parts, lists in pages, and object lock. It believes every signature.
type fakeStore struct {
	bucket string
	lock   bool // the bucket was made with object lock

	mu       sync.Mutex // guards what follows
	objects  map[string][]version
	uploads  map[string]*upload
	requests []string // method and path of each

	// spoil may answer in the store's place: it returns true if it did.
	spoil func(w http.ResponseWriter, r *http.Request) bool
}

// A version is one content that an object had.
type version struct {
	content []byte
	mode    string
	until   time.Time
}

// An upload is an object of which parts came.
type upload struct {
	version
	key   string
	parts map[int][]byte
}

// page is how many objects a list shows at a time.
const page = 3

// newStore starts a store, whose address it returns, with options to it.
func newStore(t testing.TB, lock bool) (*fakeStore, func(options string) string) {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", "fake-access-key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", secret)
	retries := minio.MaxRetry
	minio.MaxRetry = 1
	t.Cleanup(func() { minio.MaxRetry = retries })
	s := &fakeStore{bucket: "evidence", lock: lock, objects: map[string][]version{}, uploads: map[string]*upload{}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return s, func(options string) string {
		return "s3://evidence/some/where?insecure=true&endpoint=" + strings.TrimPrefix(server.URL, "http://") + options
	}
}

// secret must be in no error.
const secret = "fake-secret-key-that-nobody-may-see"

// ServeHTTP is http.Handler's.
func (s *fakeStore) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, r.Method+" "+r.URL.Path)
	spoil := s.spoil
	s.mu.Unlock()
	if spoil != nil && spoil(w, r) {
		return
	}
	body, err := payload(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, "IncompleteBody")
		return
	}
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case bucket != s.bucket:
		refuse(w, http.StatusNotFound, "NoSuchBucket")
	case key == "":
		s.onBucket(w, r.URL.Query())
	default:
		s.onObject(w, r, key, body)
	}
}

// refuse answers with an error as S3 spells it.
func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%s</Code><Message>because</Message></Error>", code)
}

// payload reads a body, also one that was cut into signed chunks.
func payload(r *http.Request) ([]byte, error) {
	if !strings.HasPrefix(r.Header.Get("X-Amz-Content-Sha256"), "STREAMING-") {
		body, err := io.ReadAll(r.Body)
		if sum := md5.Sum(body); err == nil && r.Header.Get("Content-Md5") != "" && r.Header.Get("Content-Md5") != base64.StdEncoding.EncodeToString(sum[:]) {
			err = io.ErrUnexpectedEOF
		}
		return body, err
	}
	var body []byte
	for in := bufio.NewReader(r.Body); ; {
		head, err := in.ReadString('\n')
		if err != nil {
			return nil, err
		}
		digits, _, _ := strings.Cut(strings.TrimSpace(head), ";")
		size, err := strconv.ParseInt(digits, 16, 32)
		if err != nil || size == 0 {
			if want := r.Header.Get("X-Amz-Decoded-Content-Length"); want != strconv.Itoa(len(body)) {
				return nil, io.ErrUnexpectedEOF
			}
			return body, err
		}
		chunk := make([]byte, size+2)
		if _, err := io.ReadFull(in, chunk); err != nil {
			return nil, err
		}
		body = append(body, chunk[:size]...)
	}
}

// onBucket answers what is asked of the bucket itself.
func (s *fakeStore) onBucket(w http.ResponseWriter, q url.Values) {
	switch {
	case q.Has("location"):
		io.WriteString(w, "<LocationConstraint/>")
	case q.Has("object-lock") && s.lock:
		io.WriteString(w, "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>")
	case q.Has("object-lock"):
		refuse(w, http.StatusNotFound, "ObjectLockConfigurationNotFoundError")
	case q.Has("list-type"):
		s.list(w, q)
	}
}

// list answers with one page of a list.
func (s *fakeStore) list(w http.ResponseWriter, q url.Values) {
	type entry struct {
		Key  string
		Size int
		ETag string
	}
	var answer struct {
		XMLName               xml.Name `xml:"ListBucketResult"`
		IsTruncated           bool
		NextContinuationToken string
		EncodingType          string
		Contents              []entry
	}
	var keys []string
	for key := range s.objects {
		if strings.HasPrefix(key, q.Get("prefix")) && key > q.Get("continuation-token") {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for i, key := range keys {
		if i == page {
			answer.IsTruncated, answer.NextContinuationToken = true, keys[i-1]
			break
		}
		if q.Get("encoding-type") == "url" {
			answer.EncodingType = "url"
		}
		content := s.newest(key).content
		answer.Contents = append(answer.Contents, entry{url.QueryEscape(key), len(content), etag(content)})
	}
	xml.NewEncoder(w).Encode(answer)
}

func (s *fakeStore) newest(key string) version {
	all := s.objects[key]
	return all[len(all)-1]
}

func etag(content []byte) string {
	sum := md5.Sum(content)
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

// onObject answers what is asked of one object.
func (s *fakeStore) onObject(w http.ResponseWriter, r *http.Request, key string, body []byte) {
	q := r.URL.Query()
	id := q.Get("uploadId")
	switch {
	case r.Method == "POST" && q.Has("uploads"):
		v, ok := s.locked(w, r)
		if ok {
			id = fmt.Sprintf("upload%d", len(s.requests))
			s.uploads[id] = &upload{version: v, key: key, parts: map[int][]byte{}}
			fmt.Fprintf(w, "<InitiateMultipartUploadResult><Bucket>%s</Bucket><Key>%s</Key><UploadId>%s</UploadId></InitiateMultipartUploadResult>", s.bucket, key, id)
		}
	case id != "" && s.uploads[id] == nil:
		refuse(w, http.StatusNotFound, "NoSuchUpload")
	case r.Method == "PUT" && id != "":
		n, _ := strconv.Atoi(q.Get("partNumber"))
		s.uploads[id].parts[n] = body
		w.Header().Set("ETag", etag(body))
	case r.Method == "POST" && id != "":
		up := s.uploads[id]
		for n := 1; n <= len(up.parts); n++ {
			up.content = append(up.content, up.parts[n]...)
		}
		s.objects[key] = append(s.objects[key], up.version)
		delete(s.uploads, id)
		fmt.Fprintf(w, "<CompleteMultipartUploadResult><Bucket>%s</Bucket><Key>%s</Key><ETag>%s</ETag></CompleteMultipartUploadResult>", s.bucket, key, etag(up.content))
	case r.Method == "DELETE" && id != "":
		delete(s.uploads, id)
		w.WriteHeader(http.StatusNoContent)
	case r.Method == "DELETE": // also of none, and of one under a lock, which is only hidden
		delete(s.objects, key)
		w.WriteHeader(http.StatusNoContent)
	case r.Method == "PUT" && q.Has("retention"):
		s.hold(w, key, body)
	case r.Method == "PUT":
		if v, ok := s.locked(w, r); ok {
			v.content = body
			s.objects[key] = append(s.objects[key], v)
			w.Header().Set("ETag", etag(body))
		}
	case s.objects[key] == nil:
		refuse(w, http.StatusNotFound, "NoSuchKey")
	default:
		content := s.newest(key).content
		w.Header().Set("ETag", etag(content))
		http.ServeContent(w, r, "", time.Unix(1_800_000_000, 0), bytes.NewReader(content))
	}
}

// locked reads under which lock an object is put, and refuses one that means nothing.
func (s *fakeStore) locked(w http.ResponseWriter, r *http.Request) (v version, ok bool) {
	until := r.Header.Get("X-Amz-Object-Lock-Retain-Until-Date")
	v.mode = r.Header.Get("X-Amz-Object-Lock-Mode")
	if until == "" && v.mode == "" {
		return v, true
	}
	var err error
	if v.until, err = time.Parse(time.RFC3339, until); err != nil || !s.lock || v.until.Before(time.Now()) {
		refuse(w, http.StatusBadRequest, "InvalidRequest")
		return v, false
	}
	return v, true
}

// hold makes the lock of an object's newest version longer, and never shorter.
func (s *fakeStore) hold(w http.ResponseWriter, key string, body []byte) {
	var asked struct {
		Mode            string
		RetainUntilDate time.Time
	}
	all := s.objects[key]
	switch err := xml.Unmarshal(body, &asked); {
	case all == nil:
		refuse(w, http.StatusNotFound, "NoSuchKey")
	case err != nil || !s.lock:
		refuse(w, http.StatusBadRequest, "InvalidRequest")
	case asked.RetainUntilDate.Before(s.newest(key).until):
		refuse(w, http.StatusForbidden, "AccessDenied")
	default:
		all[len(all)-1].mode, all[len(all)-1].until = asked.Mode, asked.RetainUntilDate
	}
}
