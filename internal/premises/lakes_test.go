package premises

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/catalog"
	"github.com/pavise/pavise/internal/store/blob/blobtest"
)

// What lies in a bucket is looked at below the roots alone, with their options: who watches names
// neither an endpoint nor a secret, so nobody has the server ask a machine of theirs.
func TestBucketsStayWithin(t *testing.T) {
	var at places
	for _, root := range []string{"s3://lake/rows?endpoint=minio:9000&region=eu-1", "gs://all", "az://box/a%20b/"} {
		r, err := newBucketRoot(root)
		if err != nil {
			t.Fatal(err)
		}
		at.buckets = append(at.buckets, r)
	}
	for text, want := range map[string]string{
		"s3://lake/rows":           "s3://lake/rows/?endpoint=minio:9000&region=eu-1",
		"s3://lake/rows/":          "s3://lake/rows/?endpoint=minio:9000&region=eu-1",
		"s3://lake/rows/a%2Fb.csv": "s3://lake/rows/a/b.csv?endpoint=minio:9000&region=eu-1",
		"gs://all":                 "gs://all/",
		"gs://all/x/y":             "gs://all/x/y",
		"az://box/a%20b/c%3F.csv":  "az://box/a%20b/c%3F.csv",
	} {
		if got, err := at.bucketPlace(text); err != nil || got != want {
			t.Errorf("%s is %s (%v), want %s", text, got, err, want)
		}
	}
	for text, kind := range map[string]pavise.Kind{
		"s3://lake":                           pavise.Denied,
		"s3://lake/":                          pavise.Denied,
		"s3://lake/rows2/a.csv":               pavise.Denied,
		"s3://lake2/rows/a.csv":               pavise.Denied,
		"s3://lake.evil.example/rows/a":       pavise.Denied,
		"gs://lake/rows/a.csv":                pavise.Denied,
		"az://box/a/b":                        pavise.Denied,
		"s3://lake/rows/../secret.csv":        pavise.Invalid,
		"s3://lake/rows/%2e%2e/secret.csv":    pavise.Invalid,
		"s3://lake/rows//a.csv":               pavise.Invalid,
		"s3://lake/rows/a?endpoint=evil:80":   pavise.Invalid,
		"s3://lake/rows/a?":                   pavise.Invalid,
		"s3://lake/rows/a#b":                  pavise.Invalid,
		"s3://key:secret@lake/rows/a":         pavise.Invalid,
		"s3://lake:9000/rows/a":               pavise.Denied,
		"s3:///rows/a":                        pavise.Invalid,
		"s3://lake/rows/%00":                  pavise.Invalid,
		"s3://lake/rows/%zz":                  pavise.Invalid,
		"http://lake/rows/a":                  pavise.Invalid,
		"S3://lake/rows/a":                    pavise.Invalid,
		"gs://all/a%23b?anonymous=true":       pavise.Invalid,
		"s3://lake/rows/a&endpoint=evil#frag": pavise.Invalid,
	} {
		err := at.Allowed(catalog.Place{URL: text})
		if pavise.KindOf(err) != kind {
			t.Errorf("%s: %v, want %v", text, err, kind)
		}
		if err != nil && strings.Contains(err.Error(), "minio") {
			t.Errorf("%s: options of the configuration are told: %v", text, err)
		}
	}
	if err := (places{}).Allowed(catalog.Place{URL: "s3://lake/rows"}); pavise.KindOf(err) != pavise.Denied {
		t.Errorf("without roots: %v", err)
	}
	for _, root := range []string{"s3://", "s3:///x", "s3://key:secret@lake", "s3://lake/#", "s3://lake/a/../b", "ftp://lake/rows", "file:///srv", "s3://%zz"} {
		if _, err := newBucketRoot(root); pavise.KindOf(err) != pavise.Invalid || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", root, err)
		}
	}
}

// In each kind of store a dataset is sealed and held to its seal, in full and fast, and what changed
// is named by its row.
func TestBucketsAreWatched(t *testing.T) {
	for _, scheme := range []string{"s3", "gs", "az"} {
		t.Run(scheme, func(t *testing.T) {
			s := blobtest.New(t)
			s.Put("data/rows.csv", "a,b\n1,2\n3,4\n")
			s.Put("data/more.jsonl", "{}\n")
			s.Put("other/rows.csv", "x\n")
			root, err := newBucketRoot(s.Address(scheme, "data"))
			if err != nil {
				t.Fatal(err)
			}
			at, place := places{buckets: []bucketRoot{root}}, catalog.Place{URL: scheme + "://" + blobtest.Bucket + "/data"}
			seal := filepath.Join(t.TempDir(), "s")
			if resumed, err := at.Seal(t.Context(), place, seal, nil); err != nil || resumed != 0 {
				t.Fatalf("%d, %v", resumed, err)
			}
			for _, fast := range []bool{false, true} {
				if differ, trusted, err := at.Hold(t.Context(), place, seal, fast); err != nil || len(differ.Files) != 0 || trusted > 0 != fast {
					t.Errorf("fast %v: %+v, %d trusted, %v", fast, differ, trusted, err)
				}
			}
			s.Put("data/rows.csv", "a,b\n1,2\n3,5\n")
			for _, fast := range []bool{false, true} {
				differ, _, err := at.Hold(t.Context(), place, seal, fast)
				if err != nil || len(differ.Files) != 1 || differ.Files[0].File != "rows.csv" || len(differ.Files[0].Changed) != 1 || differ.Files[0].Changed[0] != 3 {
					t.Errorf("fast %v: %+v, %v", fast, differ, err)
				}
			}
			s.Delete("data/rows.csv")
			s.Delete("data/more.jsonl")
			if _, err := at.Seal(t.Context(), place, filepath.Join(t.TempDir(), "s"), nil); err == nil {
				t.Error("what is gone is sealed")
			}
			place.URL = scheme + "://" + blobtest.Bucket + "/other"
			if _, err := at.Seal(t.Context(), place, seal, nil); pavise.KindOf(err) != pavise.Denied {
				t.Errorf("beside the root: %v", err)
			}
		})
	}
}
