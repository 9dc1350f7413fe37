package premises

import (
	"fmt"
	"net/url"
	"path"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store/blob"
)

// A bucketRoot is what keys of a bucket begin with below which datasets lie, and how the bucket is
// reached: by options that whoever configures the house wrote, and with credentials of its environment.
type bucketRoot struct {
	address url.URL // with options
	key     string  // empty, or with a slash at its end
}

// newBucketRoot reads the address of a bucket from the configuration. Nobody is asked whether it is
// there: a look says so.
func newBucketRoot(address string) (bucketRoot, error) {
	no := func(why string) (bucketRoot, error) {
		return bucketRoot{}, &pavise.Error{Kind: pavise.Invalid, Msg: "datasets cannot be watched in a bucket: " + why, Hint: "name s3://BUCKET[/PREFIX], gs://… or az://…, with ?endpoint=HOST:PORT for a store of your own"}
	}
	u, err := url.Parse(address)
	switch {
	case err != nil || !blob.IsAddress(address) || u.Host == "":
		return no("this is no address of one")
	case u.User != nil:
		return no("the address has credentials in it, which belong into the environment")
	case u.Fragment != "" || strings.Contains(address, "#"):
		return no("the address has a # in it; write it as %23")
	}
	key := strings.Trim(u.Path, "/")
	if key != "" && path.Clean(u.Path) != strings.TrimSuffix(u.Path, "/") {
		return no("what keys begin with is not in its shortest form")
	}
	if key != "" {
		key += "/"
	}
	return bucketRoot{*u, key}, nil
}

// named is the root for people, without options.
func (r bucketRoot) named() string { return r.address.Scheme + "://" + r.address.Host + "/" + r.key }

// below returns the address of what a URL names, with the options of the root, if it lies below the
// root. The root itself may be named with a slash at its end or without.
func (r bucketRoot) below(u *url.URL) (address string, is bool) {
	if u.Scheme != r.address.Scheme || u.Host != r.address.Host {
		return "", false
	}
	key := strings.TrimPrefix(u.Path, "/")
	if key+"/" == r.key {
		key = r.key
	}
	if !strings.HasPrefix(key, r.key) {
		return "", false
	}
	at := r.address
	at.Path, at.RawPath = "/"+key, ""
	return at.String(), true
}

// bucketPlace is the address behind a URL of a bucket that is watched, which names no options: those
// are the configuration's, as is what is reached by them.
func (p places) bucketPlace(text string) (address string, err error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.ContainsAny(text, "#\x00") || strings.ContainsRune(u.Path, 0) {
		return "", &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("nobody here can look at %.200q", text), Hint: "write s3://BUCKET/PREFIX, gs://… or az://… alone: options stand in pavise.yaml, and credentials in the server's environment", Err: err}
	}
	if u.Path != "" && u.Path != "/" && path.Clean(u.Path) != strings.TrimSuffix(u.Path, "/") {
		return "", &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.200q is not in its shortest form", text), Hint: "leave out . and .. and slashes that stand twice"}
	}
	var all []string
	for _, r := range p.buckets {
		if address, is := r.below(u); is {
			return address, nil
		}
		all = append(all, r.named())
	}
	hint := "the server looks below " + strings.Join(all, ", ") + ": datasets in pavise.yaml names them"
	if len(all) == 0 {
		hint = "the server looks into no bucket: name it in pavise.yaml, datasets: {roots: [s3://BUCKET/PREFIX]}, or start it with pavise up --datasets s3://BUCKET/PREFIX"
	}
	return "", &pavise.Error{Kind: pavise.Denied, Msg: fmt.Sprintf("%.200q is in no bucket in which datasets are watched", text), Hint: hint}
}
