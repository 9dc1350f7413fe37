package blob

import (
	"context"
	"errors"
	"io"
	"iter"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	azblob "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/bucketname"
)

// An azure reads a container of Azure Blob Storage.
type azure struct {
	client  *container.Client
	url     string
	patient patience
}

// newAzure reads the address of one.
func newAzure(o bucketname.Address) (Source, error) {
	if o.Account == "" {
		o.Account = os.Getenv("AZURE_STORAGE_ACCOUNT")
	}
	if o.Account == "" || strings.Trim(o.Account, "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
		return nil, bucketname.Refuse("it says no storage account: add ?account=ACCOUNT, or set AZURE_STORAGE_ACCOUNT")
	}
	at := o.Base(o.Account + ".blob.core.windows.net")
	if o.Endpoint != "" && !strings.HasPrefix(o.Endpoint, o.Account+".") {
		at += "/" + o.Account // as emulators have it
	}
	at += "/" + url.PathEscape(o.Bucket)
	client, err := azureClient(o, at)
	if err != nil {
		return nil, err
	}
	return &azure{client, "az://" + o.Bucket + "/", patient}, nil
}

// azureClient opens a container with the credentials of the environment.
func azureClient(o bucketname.Address, at string) (*container.Client, error) {
	denied := func(why string, err error) error {
		return &pavise.Error{Kind: pavise.Denied, Msg: why, Hint: "set AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN, run az login, or add ?anonymous=true for a container that everybody may read", Err: err}
	}
	// Tries are counted here: the client's own would multiply them.
	with := &container.ClientOptions{ClientOptions: policy.ClientOptions{Retry: policy.RetryOptions{MaxRetries: -1}, Transport: &http.Client{Transport: asStored()}}}
	key, sas := os.Getenv("AZURE_STORAGE_KEY"), os.Getenv("AZURE_STORAGE_SAS_TOKEN")
	var client *container.Client
	var err error
	switch {
	case o.Anonymous:
		client, err = container.NewClientWithNoCredential(at, with)
	case key != "":
		var shared *azblob.SharedKeyCredential
		if shared, err = azblob.NewSharedKeyCredential(o.Account, key); err == nil {
			client, err = container.NewClientWithSharedKeyCredential(at, shared, with)
		}
	case o.Insecure:
		return nil, denied("without TLS only a key may be used: a token would be read on the way", nil)
	case sas != "":
		client, err = container.NewClientWithNoCredential(at+"?"+strings.TrimPrefix(sas, "?"), with)
	default:
		var found *azidentity.DefaultAzureCredential
		if found, err = azidentity.NewDefaultAzureCredential(nil); err == nil {
			client, err = container.NewClient(at, found, with)
		}
	}
	if err != nil {
		return nil, denied("there are no credentials for the storage account "+o.Account, err)
	}
	return client, nil
}

// Objects is Source's.
func (s *azure) Objects(ctx context.Context, prefix string) iter.Seq2[Version, error] {
	return s.list(ctx, prefix, container.ListBlobsInclude{Metadata: true})
}

// Versions is Historian's. Where versions are not kept, the newest is all there is; where no
// newest one is among those of a key, it was deleted.
func (s *azure) Versions(ctx context.Context, prefix string) iter.Seq2[Version, error] {
	return s.list(ctx, prefix, container.ListBlobsInclude{Metadata: true, Versions: true})
}

// list yields what a list has, page by page.
func (s *azure) list(ctx context.Context, prefix string, include container.ListBlobsInclude) iter.Seq2[Version, error] {
	return func(yield func(Version, error) bool) {
		for next := (*string)(nil); ; {
			var page container.ListBlobsFlatResponse
			err := s.patient.try(ctx, func() (err error) {
				// A pager that failed once is at its end: each page has its own.
				page, err = s.client.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Prefix: &prefix, Include: include, Marker: next}).NextPage(ctx)
				if err != nil {
					err = s.refused("list it", err)
				}
				return err
			})
			if err != nil {
				yield(Version{}, err)
				return
			}
			if page.Segment != nil && !s.yieldAll(page.Segment.BlobItems, include.Versions, yield) {
				return
			}
			if next = page.NextMarker; next == nil || *next == "" {
				return
			}
		}
	}
}

// yieldAll yields what a page has, and reports whether more is wanted.
func (s *azure) yieldAll(page []*container.BlobItem, versions bool, yield func(Version, error) bool) bool {
	for _, b := range page {
		if isFolder(b) {
			continue
		}
		v, whole := azureVersion(b, versions)
		if !whole {
			yield(Version{}, refusal{store: s.url, doing: "list it", status: http.StatusOK, code: "its answer is no list"}.explain())
			return false
		}
		if !yield(v, nil) {
			return false
		}
	}
	return true
}

// isFolder reports whether a blob only stands for a directory: accounts with a hierarchical
// namespace list them like others.
func isFolder(b *container.BlobItem) bool {
	if b == nil || b.Properties == nil || b.Properties.ContentLength == nil || *b.Properties.ContentLength > 0 {
		return false
	}
	for key, value := range b.Metadata {
		if strings.EqualFold(key, "hdi_isfolder") && value != nil && strings.EqualFold(*value, "true") {
			return true
		}
	}
	return false
}

// azureVersion is what a list says of a blob, or false where it says too little.
func azureVersion(b *container.BlobItem, versions bool) (v Version, whole bool) {
	if b == nil || b.Name == nil || b.Properties == nil || b.Properties.ContentLength == nil || *b.Properties.ContentLength < 0 || b.Properties.ETag == nil {
		return v, false
	}
	v = Version{Key: *b.Name, Size: *b.Properties.ContentLength, ETag: bare(*b.Properties.ETag), Newest: true}
	if b.Properties.LastModified != nil {
		v.Modified = b.Properties.LastModified.UTC()
	}
	if versions && b.VersionID != nil {
		v.ID, v.Newest = *b.VersionID, b.IsCurrentVersion != nil && *b.IsCurrentVersion
	}
	return v, true
}

// bare is an ETag without quotes: lists have none, and answers have them.
func bare(e azcore.ETag) string { return strings.Trim(string(e), `"`) }

// Read is Source's.
func (s *azure) Read(ctx context.Context, v Version, from int64) (io.ReadCloser, error) {
	client := s.client.NewBlobClient(v.Key)
	if v.ID != "" {
		var err error
		if client, err = client.WithVersionID(v.ID); err != nil {
			return nil, bucketname.Refuse("a version has no id that can be asked for")
		}
	}
	o := &azblob.DownloadStreamOptions{Range: azblob.HTTPRange{Offset: from}}
	if v.ETag != "" { // else it is whatever is there
		same := azcore.ETag(`"` + v.ETag + `"`)
		o.AccessConditions = &azblob.AccessConditions{ModifiedAccessConditions: &azblob.ModifiedAccessConditions{IfMatch: &same}}
	}
	var raw *http.Response
	answer, err := client.DownloadStream(policy.WithCaptureResponse(ctx, &raw), o)
	if err != nil {
		return nil, s.refused("read "+v.Key, err)
	}
	if raw == nil || !begins(raw.Header, from) || answer.ETag != nil && v.ETag != "" && bare(*answer.ETag) != v.ETag {
		answer.Body.Close()
		return nil, refusal{store: s.url + v.Key, doing: "go on where it was read to", status: http.StatusPreconditionFailed}.explain()
	}
	return answer.Body, nil
}

// refused is an error of the store's.
func (s *azure) refused(doing string, err error) error {
	r := refusal{store: s.url, doing: doing, err: err}
	if said, ok := errors.AsType[*azcore.ResponseError](err); ok {
		r.status, r.code = said.StatusCode, said.ErrorCode
	} else if _, ok := errors.AsType[*azidentity.AuthenticationFailedError](err); ok {
		r.status, r.code = http.StatusUnauthorized, "no token was given"
	}
	return r.explain()
}
