// Package kube speaks with the API servers of Kubernetes clusters: it gets and lists objects,
// and has fields of them set, by server-side apply or JSON merge patch. It quarantines client-go,
// of which nothing else in the house knows: objects are JSON that is asked by path, whatever
// their kind.
//
// Where a cluster is, and by whose right it is asked, the operator's kubeconfig says, as it
// does for kubectl, or the service account of the pod. What answers is not believed to be
// well-meaning: answers are bounded, redirects are not followed, a server is not asked again
// because it says so, and an object of another name than was asked for is refused.
//
// It owns no state.
package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/pavise/pavise"
)

const (
	answersWithin = 20 * time.Second
	maxAnswer     = 8 << 20 // bytes
	maxPages      = 8
)

// A Resource is a kind of object, with the name that it has in paths.
type Resource struct{ Group, Version, Plural, Kind string }

// Config says which cluster is asked.
type Config struct {
	Path    string // of a kubeconfig; empty: KUBECONFIG, ~/.kube/config, or the pod's service account
	Context string // of the kubeconfig; empty: its current one
}

// A Cluster is an API server, and the right to ask it. It is safe for concurrent use.
type Cluster struct {
	base   *url.URL
	http   *http.Client
	client dynamic.Interface
	page   int64 // objects of a list that are asked for at once
}

// Open reads how a cluster is asked, and asks nothing yet. The error is of kind Invalid.
func Open(cfg Config) (*Cluster, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = cfg.Path
	set, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: cfg.Context}).ClientConfig()
	if err != nil {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "how the cluster is asked cannot be read", Hint: "set KUBECONFIG to a kubeconfig that has the context, or run in a pod with a service account", Err: err}
	}
	return connect(set)
}

// connect makes a cluster of what client-go knows of one.
func connect(set *rest.Config) (*Cluster, error) {
	base, _, err := rest.DefaultServerUrlFor(set)
	if err != nil {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.200q is no address of an API server", set.Host), Err: err}
	}
	if base.Scheme != "https" && !loopback(base.Hostname()) || set.Insecure {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the API server at %.200s would be asked without knowing that it is the one", base.Host), Hint: "write https:// and the certificate-authority in the kubeconfig"}
	}
	set.UserAgent = "pavise"
	set.QPS = -1 // who asks has a pace of its own
	set.DisableCompression = true
	set.WarningHandler = rest.NoWarnings{}
	set.Wrap(func(next http.RoundTripper) http.RoundTripper { return bounded{next} })
	client, err := rest.HTTPClientFor(set)
	if err != nil {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "the certificates or credentials for the API server cannot be used", Err: err}
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	objects, err := dynamic.NewForConfigAndClient(set, client)
	if err != nil {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "the API server cannot be asked", Err: err}
	}
	return &Cluster{base: base, http: client, client: objects, page: 250}, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// bounded reads answers whole, within a bound. Of what goes wrong it keeps the words alone,
// and it hides when a server wants to be asked again: client-go would ask again by itself,
// for as long as the server says.
type bounded struct{ next http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := b.next.RoundTrip(r)
	if err != nil {
		return nil, fmt.Errorf("%v", err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("the answer breaks off: %v", err)
	}
	if len(text) > maxAnswer {
		return nil, fmt.Errorf("the answer has more than %d bytes", maxAnswer)
	}
	answer.Header.Del("Retry-After")
	answer.Body = io.NopCloser(bytes.NewReader(text))
	return answer, nil
}

func (c *Cluster) of(res Resource, namespace string) dynamic.ResourceInterface {
	return c.client.Resource(schema.GroupVersionResource{Group: res.Group, Version: res.Version, Resource: res.Plural}).Namespace(namespace)
}

// Get returns an object. Errors are of kind NotFound, Denied, Throttled, Unverified and
// Unavailable.
func (c *Cluster) Get(ctx context.Context, res Resource, namespace, name string) (Object, error) {
	ctx, cancel := context.WithTimeout(ctx, answersWithin)
	defer cancel()
	got, err := c.of(res, namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, c.refused(res, name, err)
	}
	return asked(res, namespace, name, got.Object)
}

// List returns the objects with labels, as a selector has them.
func (c *Cluster) List(ctx context.Context, res Resource, namespace, selector string) (list []Object, err error) {
	ctx, cancel := context.WithTimeout(ctx, answersWithin)
	defer cancel()
	from := ""
	for range maxPages {
		page, err := c.of(res, namespace).List(ctx, metav1.ListOptions{LabelSelector: selector, Limit: c.page, Continue: from})
		if err != nil {
			return nil, c.refused(res, "those with "+selector, err)
		}
		for _, item := range page.Items {
			list = append(list, Object(item.Object))
		}
		if from = page.GetContinue(); from == "" {
			return list, nil
		}
	}
	return nil, &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("the list of %s in %s does not end", res.Plural, namespace)}
}

// Apply has the fields that an object says set, by server-side apply, for a manager of fields
// that takes them from whoever has them, unless force is false. With a resourceVersion in its
// metadata the object must not have changed since. A field that the API does not have is
// refused. Errors are also of kind Conflict and Invalid.
//
// What an API has as one value is replaced whole, however deep it is: see [Cluster.Merge].
func (c *Cluster) Apply(ctx context.Context, res Resource, manager string, force bool, o Object) (Object, error) {
	return c.patch(ctx, res, types.ApplyPatchType, o, metav1.PatchOptions{FieldManager: manager, Force: &force})
}

// Merge has the fields that an object says set in one that is there, by JSON merge patch: as
// Apply with force, but that lists are replaced whole, and objects never. It is for kinds of
// which a cluster may have no schema: to server-side apply the specification of such a kind
// is one value.
func (c *Cluster) Merge(ctx context.Context, res Resource, manager string, o Object) (Object, error) {
	return c.patch(ctx, res, types.MergePatchType, o, metav1.PatchOptions{FieldManager: manager})
}

func (c *Cluster) patch(ctx context.Context, res Resource, how types.PatchType, o Object, options metav1.PatchOptions) (Object, error) {
	ctx, cancel := context.WithTimeout(ctx, answersWithin)
	defer cancel()
	namespace, name := o.Text("metadata", "namespace"), o.Text("metadata", "name")
	o["apiVersion"], o["kind"] = strings.TrimPrefix(res.Group+"/"+res.Version, "/"), res.Kind
	text, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	options.FieldValidation = metav1.FieldValidationStrict
	got, err := c.of(res, namespace).Patch(ctx, name, how, text, options)
	if err != nil {
		return nil, c.refused(res, name, err)
	}
	return asked(res, namespace, name, got.Object)
}

// asked refuses an object that is another than was asked for.
func asked(res Resource, namespace, name string, o Object) (Object, error) {
	if o.Text("kind") != res.Kind || o.Text("metadata", "name") != name || o.Text("metadata", "namespace") != namespace {
		return nil, &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("the API server was asked for the %s %s/%s, and answers with another object", res.Kind, namespace, name), Hint: "is it the API server of a Kubernetes cluster that answers there?"}
	}
	return o, nil
}

// untyped stands in the answer when an object that is applied has a field that its kind has
// not, or one of another type. API servers say 500 to that, and give no reason.
const untyped = " create typed patch object ("

// refused says what an error of the API means.
func (c *Cluster) refused(res Resource, name string, err error) error {
	e := &pavise.Error{Kind: pavise.Unavailable, Hint: "it is tried again"}
	said, ok := err.(apierrors.APIStatus)
	if !ok {
		e.Msg, e.Err = fmt.Sprintf("the API server at %s gives no answer that can be read", c.base.Host), err
		return e
	}
	switch {
	case apierrors.IsNotFound(err):
		e.Kind, e.Hint = pavise.NotFound, ""
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
		e.Kind = pavise.Conflict
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		e.Kind, e.Hint = pavise.Denied, "give Pavise's account in the cluster the rights that docs/deploy.md lists"
	case apierrors.IsTooManyRequests(err):
		e.Kind = pavise.Throttled
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsMethodNotSupported(err), apierrors.IsRequestEntityTooLargeError(err), apierrors.IsUnsupportedMediaType(err):
		e.Kind, e.Hint = pavise.Invalid, ""
	case strings.Contains(said.Status().Message, untyped):
		e.Kind, e.Hint = pavise.Invalid, ""
	}
	e.Msg = fmt.Sprintf("the API server says of the %s %.100s: %s", res.Kind, name, shortened(err.Error()))
	return e
}

// shortened is a message without its middle: where a patch has a field that its kind has not,
// that is all of the object, and the field stands behind it.
func shortened(text string) string {
	if len(text) <= 400 {
		return text
	}
	return strings.ToValidUTF8(text[:150]+" ... "+text[len(text)-250:], "")
}

var (
	release = regexp.MustCompile(`^v1\.[0-9]+\.[0-9]+`)
	commit  = regexp.MustCompile(`^[0-9a-f]{40}$`)
)

// Simulated says why what answers does not say of itself that it is an API server of a
// release; empty: it does. One that sets out to deceive is not told apart.
func (c *Cluster) Simulated(ctx context.Context) (why string, err error) {
	ctx, cancel := context.WithTimeout(ctx, answersWithin)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base.JoinPath("version").String(), nil)
	if err != nil {
		return "", err
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return "", &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("the API server at %s gives no answer that can be read", c.base.Host), Hint: "it is tried again", Err: err}
	}
	defer answer.Body.Close()
	var is struct{ GitVersion, GitCommit, Platform string }
	if answer.StatusCode != http.StatusOK || json.NewDecoder(answer.Body).Decode(&is) != nil {
		return "what answers does not say which release it is", nil
	}
	if !release.MatchString(is.GitVersion) || !commit.MatchString(is.GitCommit) || is.Platform == "" {
		return fmt.Sprintf("what answers says that it is %.40q, of no build of Kubernetes", is.GitVersion), nil
	}
	return "", nil
}
