package function

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/signer"

	"github.com/pavise/pavise"
)

// A Signer signs a request to AWS, whose body has the hex digest in the header
// X-Amz-Content-Sha256.
type Signer func(r *http.Request, region string) (*http.Request, error)

// usualSigner signs with the credentials of the environment, of the files that Amazon's
// tools write, or of the machine.
func usualSigner() Signer {
	creds := credentials.NewChainCredentials([]credentials.Provider{&credentials.EnvAWS{}, &credentials.FileAWSCredentials{}, &credentials.IAM{}})
	return func(r *http.Request, region string) (*http.Request, error) {
		v, err := creds.GetWithContext(nil)
		if err != nil {
			return nil, &pavise.Error{Kind: pavise.Unavailable, Msg: "there are no credentials for AWS", Hint: "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine a role", Err: err}
		}
		return Sign(r, v.AccessKeyID, v.SecretAccessKey, v.SessionToken, region), nil
	}
}

// Sign signs a request with AWS Signature Version 4, for Lambda.
func Sign(r *http.Request, id, secret, session, region string) *http.Request {
	return signer.SignV4WithServiceType(*r, id, secret, session, region, "lambda")
}

const (
	answersWithin = 30 * time.Second // but for an upload
	uploadsWithin = 90 * time.Second
	maxAnswer     = 4 << 20 // bytes
	maxPages      = 100     // of a list of versions
)

// An api is AWS Lambda's, of 2015-03-31, as far as it is needed.
type api struct {
	base   string
	region string
	sign   Signer
	client http.Client
}

func newAPI(address, region string, sign Signer) (*api, error) {
	u, err := url.Parse(address)
	if err == nil && (u.Scheme != "https" && !(u.Scheme == "http" && loopback(u.Hostname())) || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "") {
		err = fmt.Errorf("it is not https://HOST")
	}
	if err != nil {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.200q is no address of the API of functions", address), Hint: "write https://HOST; without TLS on this machine alone", Err: err}
	}
	return &api{base: strings.TrimSuffix(u.String(), "/"), region: region, sign: sign, client: http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// An alias is one of a function.
type alias struct {
	Name            string
	FunctionVersion string
	Description     string
	RoutingConfig   struct {
		AdditionalVersionWeights map[string]float64
	}
	RevisionID string `json:"RevisionId,omitempty"` // of what it takes the place of
}

// A configuration is one of a function, or of a version of it.
type configuration struct {
	CodeSha256             string
	Version                string
	State                  string
	StateReason            string
	LastUpdateStatus       string
	LastUpdateStatusReason string
	RevisionID             string `json:"RevisionId"`
}

// call asks the API, and reads the answer into to.
func (a *api) call(ctx context.Context, method, path string, body, to any) error {
	within := answersWithin
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return err
		}
		if len(text) > 1<<20 {
			within = uploadsWithin
		}
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, a.base+"/2015-03-31/functions/"+path, bytes.NewReader(text))
	if err != nil {
		return &pavise.Error{Kind: pavise.Invalid, Msg: "the address of a function cannot be asked", Err: err}
	}
	sum := sha256.Sum256(text)
	r.Header.Set("X-Amz-Content-Sha256", hex.EncodeToString(sum[:]))
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if r, err = a.sign(r, a.region); err != nil {
		return err
	}
	answer, err := a.client.Do(r)
	if err != nil {
		return &pavise.Error{Kind: pavise.Unavailable, Msg: "the API of functions at " + a.base + " does not answer", Hint: "it is tried again", Err: err}
	}
	defer answer.Body.Close()
	said, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	if err != nil || len(said) > maxAnswer {
		return &pavise.Error{Kind: pavise.Unavailable, Msg: "the answer of the API of functions broke off, or never ends", Err: err}
	}
	if answer.StatusCode/100 != 2 {
		return refused(answer, said)
	}
	if err := json.Unmarshal(said, to); err != nil {
		return &pavise.Error{Kind: pavise.Unavailable, Msg: "the API of functions answers what it should not", Hint: "is it AWS Lambda's API that answers there?", Err: err}
	}
	return nil
}

// refused says what an error of the API means.
func refused(answer *http.Response, said []byte) error {
	var why struct{ Message string }
	_ = json.Unmarshal(said, &why)
	kind, hint := pavise.Unavailable, "it is tried again"
	switch answer.StatusCode {
	case http.StatusNotFound:
		kind, hint = pavise.NotFound, "make the function first: Pavise gives it versions, and does not make it"
	case http.StatusConflict, http.StatusPreconditionFailed:
		kind = pavise.Conflict
	case http.StatusForbidden, http.StatusUnauthorized:
		kind, hint = pavise.Denied, "it takes lambda:GetAlias, UpdateAlias, CreateAlias, GetFunctionConfiguration, ListVersionsByFunction, UpdateFunctionCode and PublishVersion"
	case http.StatusTooManyRequests:
		kind = pavise.Throttled
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
		kind, hint = pavise.Invalid, ""
	}
	return &pavise.Error{Kind: kind, Msg: fmt.Sprintf("the API of functions answers %d: %.300s", answer.StatusCode, why.Message), Hint: hint}
}

func (a *api) alias(ctx context.Context, function, name string) (is alias, err error) {
	return is, a.call(ctx, http.MethodGet, function+"/aliases/"+name, nil, &is)
}

// point has an alias lead somewhere, if it is still the one that was read.
func (a *api) point(ctx context.Context, function string, to alias, missing bool) error {
	if missing {
		return a.call(ctx, http.MethodPost, function+"/aliases", to, &alias{})
	}
	name := to.Name
	return a.call(ctx, http.MethodPut, function+"/aliases/"+name, struct {
		FunctionVersion string
		Description     string
		RoutingConfig   any
		RevisionID      string `json:"RevisionId"`
	}{to.FunctionVersion, to.Description, to.RoutingConfig, to.RevisionID}, &alias{})
}

func (a *api) configuration(ctx context.Context, function, version string) (is configuration, err error) {
	return is, a.call(ctx, http.MethodGet, function+"/configuration?Qualifier="+url.QueryEscape(version), nil, &is)
}

// there reports whether there is the function.
func (a *api) there(ctx context.Context, function string) error {
	_, err := a.configuration(ctx, function, "$LATEST")
	return err
}

// find returns the published version with a package; "" if there is none.
func (a *api) find(ctx context.Context, function, code string) (string, error) {
	marker := ""
	for range maxPages {
		var page struct {
			Versions   []configuration
			NextMarker string
		}
		query := url.Values{"MaxItems": {"50"}}
		if marker != "" {
			query.Set("Marker", marker)
		}
		if err := a.call(ctx, http.MethodGet, function+"/versions?"+query.Encode(), nil, &page); err != nil {
			return "", err
		}
		for _, v := range page.Versions {
			if v.CodeSha256 == code && v.Version != "$LATEST" {
				return v.Version, nil
			}
		}
		if marker = page.NextMarker; marker == "" {
			return "", nil
		}
	}
	return "", &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("the list of versions of %s does not end", function), Hint: "delete old versions that no alias leads to"}
}

// upload sends a package, if the function is still the one that was read.
func (a *api) upload(ctx context.Context, function string, text []byte, revision string) error {
	return a.call(ctx, http.MethodPut, function+"/code", struct {
		ZipFile    []byte
		Publish    bool
		RevisionID string `json:"RevisionId,omitempty"`
	}{text, false, revision}, &configuration{})
}

// publish makes a version of the package that was sent, if it is the one with the digest.
func (a *api) publish(ctx context.Context, function, code, description string) (string, error) {
	var made configuration
	err := a.call(ctx, http.MethodPost, function+"/versions", struct {
		CodeSha256  string
		Description string
	}{code, description[:min(len(description), 256)]}, &made)
	if err == nil && (made.CodeSha256 != code || made.Version == "") {
		err = &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("%s published %.60q, and %s was asked for", function, made.CodeSha256, code)}
	}
	return made.Version, err
}
