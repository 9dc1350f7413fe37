// Package blobtest is for tests alone: a store in memory that speaks enough of S3, of Google
// Cloud Storage and of Azure Blob Storage to be read by each of their clients, keeps versions,
// and goes wrong where a test says. It owns nothing that outlives a test.
package blobtest

import (
	"bytes"
	"cmp"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Bucket is the name of the one bucket there is, and of the container, and of the account.
const Bucket = "training"

// A Store is one bucket. It believes every signature.
type Store struct {
	Page int // how many objects a list shows at a time

	// Compare is how a list that fits on a page is ordered, where it is not by bytes.
	Compare func(a, b string) int

	// Spoil may answer in the store's place: it returns true if it did.
	Spoil func(w http.ResponseWriter, r *http.Request) bool

	mu      sync.Mutex
	objects map[string][]version // oldest first
	clock   int64                // seconds since 1970; each put takes one
	asked   []string             // method and path of each request
	host    string
}

// A version is one content of an object, or that it was deleted.
type version struct {
	content []byte
	gone    bool
	at      int64 // seconds since 1970
	etag    string
}

func (v version) id() string { return strconv.FormatInt(v.at, 10) }

func (v version) time() time.Time { return time.Unix(v.at, 0).UTC() }

func etag(content string) string {
	sum := md5.Sum([]byte(content))
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

// New starts a store, with credentials in the environment.
func New(t testing.TB) *Store {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", "a-key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "a-secret")
	t.Setenv("AZURE_STORAGE_KEY", "YSBzZWNyZXQ=")
	s := &Store{Page: 3, objects: map[string][]version{}, clock: 1_800_000_000}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.host = strings.TrimPrefix(server.URL, "http://")
	return s
}

// Address is where what lies under a key is, in the scheme s3, gs or az.
func (s *Store) Address(scheme, key string) string {
	address := (&url.URL{Scheme: scheme, Host: Bucket, Path: "/" + key}).String() + "?insecure=true&endpoint=" + s.host
	switch scheme {
	case "s3":
		address += "&region=us-east-1"
	case "az":
		address += "&account=" + Bucket
	}
	return address
}

// Put puts an object.
func (s *Store) Put(key, content string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock++
	s.objects[key] = append(s.objects[key], version{[]byte(content), false, s.clock, etag(content)})
}

// Delete deletes an object, of which the store keeps the versions.
func (s *Store) Delete(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock++
	s.objects[key] = append(s.objects[key], version{gone: true, at: s.clock})
}

// Asked returns how many requests there were whose method and path begin so.
func (s *Store) Asked(prefix string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.asked {
		if strings.HasPrefix(r, prefix) {
			n++
		}
	}
	return n
}

// ServeHTTP is http.Handler's.
func (s *Store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.asked = append(s.asked, r.Method+" "+r.URL.Path)
	s.mu.Unlock()
	if s.Spoil != nil && s.Spoil(w, r) {
		return
	}
	q := r.URL.Query()
	path := r.URL.EscapedPath()
	if rest, ok := strings.CutPrefix(path, "/storage/v1/b/"+Bucket+"/o"); ok {
		if rest == "" {
			s.listGCS(w, q)
			return
		}
		key, _ := url.PathUnescape(rest[1:])
		s.get(w, r, key, cmp.Or(q.Get("generation"), q.Get("ifGenerationMatch")), q.Has("ifGenerationMatch"))
		return
	}
	if rest, ok := strings.CutPrefix(r.URL.Path, "/"+Bucket+"/"+Bucket); ok && r.Header.Get("x-ms-version") != "" {
		if q.Get("comp") == "list" {
			s.listAzure(w, q)
			return
		}
		if range1 := r.Header.Get("x-ms-range"); range1 != "" {
			r.Header.Set("Range", range1)
		}
		s.get(w, r, strings.TrimPrefix(rest, "/"), q.Get("versionid"), false)
		return
	}
	key := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/"+Bucket), "/")
	if key == "" {
		s.listS3(w, q)
		return
	}
	s.get(w, r, key, q.Get("versionId"), false)
}

// get answers with a version of an object: the newest if id is empty, which it has to be if
// newest is true.
func (s *Store) get(w http.ResponseWriter, r *http.Request, key, id string, newest bool) {
	s.mu.Lock()
	all := slices.Clone(s.objects[key])
	s.mu.Unlock()
	at := len(all) - 1
	if id != "" && !newest {
		at = slices.IndexFunc(all, func(v version) bool { return v.id() == id })
	}
	switch {
	case at < 0 || all[at].gone:
		Refuse(w, http.StatusNotFound, "NoSuchKey")
		return
	case newest && all[at].id() != id:
		Refuse(w, http.StatusPreconditionFailed, "PreconditionFailed")
		return
	}
	w.Header().Set("ETag", all[at].etag)
	w.Header().Set("X-Goog-Generation", all[at].id())
	http.ServeContent(w, r, "", all[at].time(), bytes.NewReader(all[at].content))
}

// Refuse answers with an error, as S3 and Azure spell it.
func Refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.Header().Set("x-ms-error-code", code)
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%s</Code><Message>because</Message></Error>", code)
}

// A listed version is one of a list.
type listed struct {
	version
	key    string
	newest bool
}

// list is a page of a list, of the newest versions or of all, behind a key, and where the next
// begins.
func (s *Store) list(prefix, after string, all bool) (page []listed, next string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []string
	for key := range s.objects {
		if strings.HasPrefix(key, prefix) && key > after {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	if s.Compare != nil {
		slices.SortFunc(keys, s.Compare)
	}
	n := 0
	for _, key := range keys {
		if n == s.Page {
			return page, next
		}
		versions := s.objects[key]
		last := len(versions) - 1
		for i := last; i >= 0; i-- {
			if all || i == last && !versions[i].gone {
				page = append(page, listed{versions[i], key, i == last})
			}
		}
		next = key
		n++
	}
	return page, ""
}

func (s *Store) listS3(w http.ResponseWriter, q url.Values) {
	type entry struct {
		XMLName      xml.Name
		Key          string
		Size         int
		ETag         string
		LastModified string
		VersionID    string `xml:"VersionId,omitempty"`
		IsLatest     bool
	}
	var answer struct {
		XMLName               xml.Name
		IsTruncated           bool
		NextContinuationToken string `xml:",omitempty"`
		NextKeyMarker         string `xml:",omitempty"`
		NextVersionIDMarker   string `xml:"NextVersionIdMarker,omitempty"`
		EncodingType          string
		Entries               []entry
	}
	versions := q.Has("versions")
	after := cmp.Or(q.Get("continuation-token"), q.Get("start-after"), q.Get("key-marker"))
	page, next := s.list(q.Get("prefix"), after, versions)
	answer.XMLName.Local, answer.EncodingType, answer.IsTruncated = "ListBucketResult", "url", next != ""
	if versions {
		answer.XMLName.Local, answer.NextKeyMarker = "ListVersionsResult", url.QueryEscape(next)
	} else {
		answer.NextContinuationToken = next
	}
	for _, v := range page {
		e := entry{XMLName: xml.Name{Local: "Contents"}, Key: url.QueryEscape(v.key), Size: len(v.content), ETag: v.etag, LastModified: v.time().Format(time.RFC3339)}
		if versions {
			e.XMLName.Local, e.VersionID, e.IsLatest = "Version", v.id(), v.newest
			if v.gone {
				e.XMLName.Local, e.ETag = "DeleteMarker", ""
			}
		}
		answer.Entries = append(answer.Entries, e)
	}
	xml.NewEncoder(w).Encode(answer)
}

func (s *Store) listGCS(w http.ResponseWriter, q url.Values) {
	page, next := s.list(q.Get("prefix"), q.Get("pageToken"), q.Get("versions") == "true")
	items := []map[string]any{}
	for _, v := range page {
		if v.gone {
			continue // this store has no sign of it but that no version is live
		}
		item := map[string]any{"name": v.key, "size": strconv.Itoa(len(v.content)), "generation": v.id(), "etag": v.etag, "timeCreated": v.time().Format(time.RFC3339)}
		if !v.newest {
			item["timeDeleted"] = v.time().Add(time.Second).Format(time.RFC3339)
		}
		items = append(items, item)
	}
	json.NewEncoder(w).Encode(map[string]any{"items": items, "nextPageToken": next})
}

func (s *Store) listAzure(w http.ResponseWriter, q url.Values) {
	type properties struct {
		ContentLength int    `xml:"Content-Length"`
		ETag          string `xml:"Etag"`
		LastModified  string `xml:"Last-Modified"`
	}
	type blob struct {
		Name             string
		VersionID        string `xml:"VersionId,omitempty"`
		IsCurrentVersion bool   `xml:",omitempty"`
		Properties       properties
	}
	var answer struct {
		XMLName    xml.Name `xml:"EnumerationResults"`
		Blobs      []blob   `xml:"Blobs>Blob"`
		NextMarker string
	}
	versions := strings.Contains(q.Get("include"), "versions")
	var page []listed
	page, answer.NextMarker = s.list(q.Get("prefix"), q.Get("marker"), versions)
	for _, v := range page {
		if v.gone {
			continue
		}
		b := blob{Name: v.key, Properties: properties{len(v.content), strings.Trim(v.etag, `"`), v.time().Format(http.TimeFormat)}}
		if versions {
			b.VersionID, b.IsCurrentVersion = v.id(), v.newest
		}
		answer.Blobs = append(answer.Blobs, b)
	}
	w.Header().Set("Content-Type", "application/xml")
	xml.NewEncoder(w).Encode(answer)
}
