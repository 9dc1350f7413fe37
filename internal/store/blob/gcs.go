package blob

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/bucketname"
)

// A gcs reads a bucket of Google Cloud Storage by its JSON API, of which two calls are enough:
// https://cloud.google.com/storage/docs/json_api/v1/objects
type gcs struct {
	client  *http.Client
	objects string // the URL of the bucket's objects
	url     string
	patient patience
}

// gcsScope is all that the tokens may be used for.
const gcsScope = "https://www.googleapis.com/auth/devstorage.read_only"

// maxPage bounds a page of a list, in bytes: a thousand objects with keys of 1,024 bytes.
const maxPage = 16 << 20

// newGCS reads the address of one.
func newGCS(ctx context.Context, o bucketname.Address) (Source, error) {
	if emulator := os.Getenv("STORAGE_EMULATOR_HOST"); emulator != "" && o.Endpoint == "" {
		host, plain := strings.CutPrefix(emulator, "http://")
		o.Endpoint, o.Insecure = strings.TrimPrefix(host, "https://"), plain || !strings.Contains(emulator, "://")
	}
	s := &gcs{client: &http.Client{Transport: asStored()}, url: "gs://" + o.Bucket + "/", patient: patient}
	s.objects = o.Base("storage.googleapis.com") + "/storage/v1/b/" + url.PathEscape(o.Bucket) + "/o"
	if o.Anonymous || o.Insecure { // a token belongs on no wire that others read
		return s, nil
	}
	ctx = context.WithValue(context.WithoutCancel(ctx), oauth2.HTTPClient, &http.Client{Transport: http.DefaultTransport, Timeout: time.Minute})
	found, err := google.FindDefaultCredentials(ctx, gcsScope)
	if err != nil {
		return nil, &pavise.Error{Kind: pavise.Denied, Msg: "there are no application default credentials for " + s.url, Hint: "run gcloud auth application-default login, set GOOGLE_APPLICATION_CREDENTIALS to a key file, or add ?anonymous=true for a bucket that everybody may read", Err: err}
	}
	s.client.Transport = &oauth2.Transport{Source: found.TokenSource, Base: s.client.Transport}
	return s, nil
}

// asStored is a transport that unpacks nothing: what is sealed is what is kept. It does not wait
// for what does not come.
func asStored() http.RoundTripper {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DisableCompression = true
	t.MaxIdleConnsPerHost = 32
	t.ResponseHeaderTimeout = time.Minute
	return &listener{t, patient.stall}
}

// A gcsPage is what is read of one page of a list.
type gcsPage struct {
	NextPageToken string `json:"nextPageToken"`
	Items         []struct {
		Name        string    `json:"name"`
		Size        int64     `json:"size,string"`
		Generation  int64     `json:"generation,string"`
		ETag        string    `json:"etag"`
		Updated     time.Time `json:"timeCreated"` // of the content: updated is of what is said of it, too
		TimeDeleted time.Time `json:"timeDeleted"`
	} `json:"items"`
}

// parseGCSPage reads a page. Every object has a name, a size and a generation.
func parseGCSPage(text []byte) (versions []Version, next string, err error) {
	var page gcsPage
	if err := json.Unmarshal(text, &page); err != nil {
		return nil, "", fmt.Errorf("a page of the list is no JSON of objects: %w", err)
	}
	for _, o := range page.Items {
		if o.Name == "" || o.Size < 0 || o.Generation <= 0 {
			return nil, "", errors.New("a page of the list has an object without a name, a size or a generation")
		}
		versions = append(versions, Version{Key: o.Name, Size: o.Size, ID: strconv.FormatInt(o.Generation, 10), ETag: o.ETag, Modified: o.Updated, Newest: o.TimeDeleted.IsZero()})
	}
	return versions, page.NextPageToken, nil
}

// Objects is Source's.
func (s *gcs) Objects(ctx context.Context, prefix string) iter.Seq2[Version, error] {
	return s.list(ctx, url.Values{"prefix": {prefix}})
}

// Versions is Historian's. Where no live one is among those of a key, it was deleted: this
// store has no other sign of it.
func (s *gcs) Versions(ctx context.Context, prefix string) iter.Seq2[Version, error] {
	return s.list(ctx, url.Values{"prefix": {prefix}, "versions": {"true"}})
}

// list yields what a list has, page by page.
func (s *gcs) list(ctx context.Context, q url.Values) iter.Seq2[Version, error] {
	q.Set("fields", "nextPageToken,items(name,size,generation,etag,timeCreated,timeDeleted)")
	return func(yield func(Version, error) bool) {
		for {
			var found []Version
			var next string
			err := s.patient.try(ctx, func() (err error) {
				found, next, err = s.page(ctx, q)
				return err
			})
			if err != nil {
				yield(Version{}, err)
				return
			}
			for _, v := range found {
				if !yield(v, nil) {
					return
				}
			}
			if next == "" {
				return
			}
			q.Set("pageToken", next)
		}
	}
}

// page gets one page.
func (s *gcs) page(ctx context.Context, q url.Values) ([]Version, string, error) {
	answer, err := s.ask(ctx, "list it", s.objects+"?"+q.Encode(), nil)
	if err != nil {
		return nil, "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxPage+1))
	if err != nil {
		return nil, "", refusal{store: s.url, doing: "list it", code: "its answer breaks off", err: err}.explain()
	}
	found, next, err := parseGCSPage(text)
	if err != nil || len(text) > maxPage {
		return nil, "", refusal{store: s.url, doing: "list it", status: answer.StatusCode, code: "its answer is no list", err: err}.explain()
	}
	return found, next, nil
}

// Read is Source's.
func (s *gcs) Read(ctx context.Context, v Version, from int64) (io.ReadCloser, error) {
	q := url.Values{"alt": {"media"}}
	switch {
	case v.ID == "": // whatever is there
	case v.Newest:
		q.Set("ifGenerationMatch", v.ID)
	default:
		q.Set("generation", v.ID)
	}
	head := http.Header{"Accept-Encoding": {"gzip"}} // as it is kept: the store unpacks for who does not ask
	if from > 0 {
		head.Set("Range", fmt.Sprintf("bytes=%d-", from))
	}
	answer, err := s.ask(ctx, "read "+v.Key, s.objects+"/"+url.PathEscape(v.Key)+"?"+q.Encode(), head)
	if err != nil {
		return nil, err
	}
	if is := answer.Header.Get("X-Goog-Generation"); !begins(answer.Header, from) || is != "" && v.ID != "" && is != v.ID {
		answer.Body.Close()
		return nil, refusal{store: s.url + v.Key, doing: "go on where it was read to", status: http.StatusPreconditionFailed}.explain()
	}
	return answer.Body, nil
}

// ask sends a request, and returns an answer that is not an error.
func (s *gcs) ask(ctx context.Context, doing, address string, head http.Header) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, bucketname.Refuse("it leads to no store")
	}
	for key, values := range head {
		r.Header[key] = values
	}
	answer, err := s.client.Do(r)
	if failed, ok := errors.AsType[*oauth2.RetrieveError](err); ok && failed.Response != nil && failed.Response.StatusCode < 500 {
		return nil, refusal{store: s.url, doing: doing, status: http.StatusUnauthorized, code: cmp.Or(failed.ErrorCode, "no token was given"), err: err}.explain()
	}
	if err != nil {
		return nil, refusal{store: s.url, doing: doing, err: err}.explain()
	}
	if answer.StatusCode == http.StatusOK || answer.StatusCode == http.StatusPartialContent {
		return answer, nil
	}
	defer answer.Body.Close()
	var said struct {
		Error struct {
			Errors []struct {
				Reason string `json:"reason"`
			} `json:"errors"`
		} `json:"error"`
	}
	refused := refusal{store: s.url, doing: doing, status: answer.StatusCode}
	if json.NewDecoder(io.LimitReader(answer.Body, 1<<16)).Decode(&said) == nil && len(said.Error.Errors) > 0 {
		refused.code = fmt.Sprintf("%.40q", said.Error.Errors[0].Reason)
	}
	return nil, refused.explain()
}
