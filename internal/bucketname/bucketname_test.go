package bucketname

import (
	"strings"
	"testing"

	"github.com/pavise/pavise"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]Address{
		"s3://lake":       {Scheme: "s3", Bucket: "lake"},
		"s3://lake/a//b/": {Scheme: "s3", Bucket: "lake", Key: "a//b/"},
		"s3://lake/a%3Fb?endpoint=minio:9000&insecure=true&region=eu": {Scheme: "s3", Bucket: "lake", Key: "a?b", Endpoint: "minio:9000", Region: "eu", Insecure: true},
		"gs://lake/x?anonymous=true":                                  {Scheme: "gs", Bucket: "lake", Key: "x", Anonymous: true},
		"az://lake/x?account=acme&insecure=false":                     {Scheme: "az", Bucket: "lake", Key: "x", Account: "acme"},
	} {
		if got, err := Parse(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	if got := (Address{Endpoint: "minio:9000", Insecure: true}).Base("s3.amazonaws.com"); got != "http://minio:9000" {
		t.Error(got)
	}
	if got := (Address{}).Base("s3.amazonaws.com"); got != "https://s3.amazonaws.com" {
		t.Error(got)
	}
}

// TestParseRefuses repeats nothing of what it refuses.
func TestParseRefuses(t *testing.T) {
	for _, text := range []string{
		"", "/srv/lake", "http://lake/hunter2", "s3://", "s3:///hunter2", "s3://user:hunter2@lake/", "s3://lake/hunter2#x", "s3://lake/hunter2#", "s3://lake:9000/", "s3://HUNTER2_bucket/", "s3://10.1.2.3/x", "s3://a..b/x", "s3://a-.b/x", "s3://ab/x", "s3://lake/%zz",
		"s3://lake?hunter2=1", "s3://lake?region=a&region=b", "s3://lake?insecure=hunter2", "gs://lake?region=eu", "gs://lake?account=a", "s3://lake?endpoint=a/hunter2", "s3://lake?endpoint=http://hunter2@a", "s3://lake?a=%zz",
	} {
		_, err := Parse(text)
		if err == nil || pavise.KindOf(err) != pavise.Invalid || strings.Contains(err.Error(), "hunter2") && !strings.Contains(text, "?hunter2") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// FuzzParse takes no address that has anything of a URL beside what is known in it.
func FuzzParse(f *testing.F) {
	f.Add("s3://lake/a?endpoint=minio:9000&insecure=true")
	f.Add("az://lake/%41?account=a")
	f.Fuzz(func(t *testing.T, text string) {
		a, err := Parse(text)
		if err == nil && (!Is(text) || a.Bucket == "" || strings.ContainsAny(a.Bucket+a.Endpoint, "/@?#")) {
			t.Errorf("%q: %+v", text, a)
		}
	})
}
