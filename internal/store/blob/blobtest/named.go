package blobtest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// Named returns the addresses of stores that are none of ours, which PAVISE_TEST_SOURCES names
// with spaces between, and skips the test where it names none. Each has an endpoint, and takes
// the credentials of the environment.
func Named(t testing.TB) []*url.URL {
	t.Helper()
	named := strings.Fields(os.Getenv("PAVISE_TEST_SOURCES"))
	if len(named) == 0 {
		t.Skip("PAVISE_TEST_SOURCES names no stores, for example s3://bucket/x?endpoint=127.0.0.1:9000&insecure=true")
	}
	var found []*url.URL
	for _, address := range named {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, u)
	}
	return found
}

// Fill puts objects into the store at an address, below its key, and makes the bucket if there
// is none.
func Fill(t testing.TB, at *url.URL, objects map[string]string) {
	t.Helper()
	for name, text := range objects {
		key := strings.TrimPrefix(at.Path, "/") + "/" + name
		var err error
		switch at.Scheme {
		case "s3":
			err = putS3(t, at, key, text)
		case "gs":
			err = putGCS(t, at, key, text)
		default:
			err = putAzure(t, at, key, text)
		}
		if err != nil {
			t.Fatalf("put %s into %s: %v", key, at, err)
		}
	}
}

func putS3(t testing.TB, at *url.URL, key, text string) error {
	c, err := minio.New(at.Query().Get("endpoint"), &minio.Options{Creds: credentials.NewEnvAWS(), Region: at.Query().Get("region")})
	if err != nil {
		return err
	}
	c.MakeBucket(t.Context(), at.Host, minio.MakeBucketOptions{}) // it may be there
	_, err = c.PutObject(t.Context(), at.Host, key, strings.NewReader(text), int64(len(text)), minio.PutObjectOptions{})
	return err
}

func putGCS(t testing.TB, at *url.URL, key, text string) error {
	base := "http://" + at.Query().Get("endpoint")
	post := func(address, kind, body string) (int, error) {
		answer, err := http.Post(address, kind, strings.NewReader(body))
		if err != nil {
			return 0, err
		}
		defer answer.Body.Close()
		_, err = io.Copy(io.Discard, answer.Body)
		return answer.StatusCode, err
	}
	if _, err := post(base+"/storage/v1/b?project=test", "application/json", fmt.Sprintf(`{"name":%q}`, at.Host)); err != nil {
		return err
	}
	status, err := post(base+"/upload/storage/v1/b/"+at.Host+"/o?uploadType=media&name="+url.QueryEscape(key), "application/octet-stream", text)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("status %d", status)
	}
	return err
}

func putAzure(t testing.TB, at *url.URL, key, text string) error {
	account := at.Query().Get("account")
	shared, err := azblob.NewSharedKeyCredential(account, os.Getenv("AZURE_STORAGE_KEY"))
	if err != nil {
		return err
	}
	c, err := azblob.NewClientWithSharedKeyCredential("http://"+at.Query().Get("endpoint")+"/"+account, shared, nil)
	if err != nil {
		return err
	}
	c.CreateContainer(t.Context(), at.Host, nil) // it may be there
	_, err = c.UploadStream(t.Context(), at.Host, key, bytes.NewReader([]byte(text)), nil)
	return err
}
