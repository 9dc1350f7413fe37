package function

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise/internal/deploy"
)

// TestLambdaPeer publishes versions of a function, gives one a share, promotes it, and goes back,
// at an emulator of AWS that is none of our code (moto), whose address PAVISE_TEST_LAMBDA is.
func TestLambdaPeer(t *testing.T) {
	at := os.Getenv("PAVISE_TEST_LAMBDA")
	if at == "" {
		t.Skip("PAVISE_TEST_LAMBDA names no emulator of AWS Lambda")
	}
	ask := func(service, path, kind string, body []byte) {
		t.Helper()
		req, err := http.NewRequest("POST", at+path, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", kind)
		req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKID/20260101/eu-west-1/"+service+"/aws4_request, SignedHeaders=host, Signature=00")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if text, _ := io.ReadAll(resp.Body); resp.StatusCode/100 != 2 && !strings.Contains(string(text), "EntityAlreadyExists") {
			t.Fatalf("%s%s: %d %s", at, path, resp.StatusCode, text)
		}
	}
	ask("iam", "/", "application/x-www-form-urlencoded", []byte(url.Values{
		"Action": {"CreateRole"}, "Version": {"2010-05-08"}, "RoleName": {"walk"},
		"AssumeRolePolicyDocument": {`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}`},
	}.Encode()))
	name := fmt.Sprint("fraud-", time.Now().UnixNano())
	made, err := json.Marshal(map[string]any{
		"FunctionName": name, "Runtime": "python3.12", "Role": "arn:aws:iam::123456789012:role/walk", "Handler": "h.h", "Code": map[string]any{"ZipFile": []byte("the first")},
	})
	if err != nil {
		t.Fatal(err)
	}
	ask("lambda", "/2015-03-31/functions", "application/json", made)

	s := shop{}
	d := Driver(Config{Read: s.read, Origin: "here", Poll: time.Millisecond, Sign: func(r *http.Request, region string) (*http.Request, error) {
		return Sign(r, "AKID", "secret", "", region), nil
	}})
	f, err := d.Open(place, map[string]string{"function": name, "alias": "live", "region": "eu-west-1", "endpoint": at})
	if err != nil {
		t.Fatal(err)
	}
	if state, err := f.Observe(t.Context()); err != nil || state.Main != "" {
		t.Errorf("nothing is there yet: %+v %v", state, err)
	}
	one, two := s.version(1, "one"), s.version(2, "two")
	apply(t, f, deploy.Desired{Revision: 1, Main: &one})
	apply(t, f, deploy.Desired{Revision: 2, Main: &one, Beside: &two, Weight: 10})
	apply(t, f, deploy.Desired{Revision: 3, Main: &two})
	apply(t, f, deploy.Desired{Revision: 4, Main: &one, Safe: true})
}
