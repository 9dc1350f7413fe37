// Package bucketname is addresses of buckets, as people and configurations write them. It owns what
// such an address may say, and asks no store and no environment.
package bucketname

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pavise/pavise"
)

// An Address is where a bucket is, and what of it is meant:
//
//	s3://BUCKET[/KEY][?endpoint=HOST:PORT&region=REGION&insecure=true&anonymous=true]
//	gs://BUCKET[/KEY][?endpoint=HOST:PORT&insecure=true&anonymous=true]
//	az://CONTAINER[/KEY][?account=ACCOUNT&endpoint=HOST:PORT&insecure=true&anonymous=true]
type Address struct {
	Scheme string // s3, gs or az
	Bucket string
	Key    string // an object in it, or what keys begin with; may be empty

	Endpoint, Region, Account string // as the options say; may be empty
	Insecure                  bool   // it is asked without TLS
	Anonymous                 bool   // it is asked without credentials
}

// options are those of each kind of store.
var options = map[string][]string{
	"s3": {"endpoint", "region", "insecure", "anonymous"},
	"gs": {"endpoint", "insecure", "anonymous"},
	"az": {"account", "endpoint", "insecure", "anonymous"},
}

// Is reports whether a text is the address of a bucket and not the name of a file.
func Is(text string) bool {
	scheme, _, said := strings.Cut(text, "://")
	return said && options[scheme] != nil
}

// Parse reads an address. Errors are of kind Invalid, and repeat nothing of it.
func Parse(address string) (a Address, err error) {
	u, err := url.Parse(address)
	if err != nil || !Is(address) {
		return a, Refuse("it cannot be read")
	}
	switch {
	case u.User != nil:
		return a, Refuse("it has credentials in it, which belong into the environment")
	case u.Fragment != "" || strings.HasSuffix(address, "#"):
		return a, Refuse("it has a # in it; write it as %23")
	case u.Host == "" || u.Port() != "" || strings.ContainsAny(u.Host, ":%"):
		return a, Refuse("it names no bucket")
	case u.Scheme == "s3" && !isS3(u.Host):
		return a, Refuse("it names no bucket")
	}
	a = Address{Scheme: u.Scheme, Bucket: u.Host, Key: strings.TrimPrefix(u.Path, "/")}
	return a, a.options(u.RawQuery)
}

var s3Name = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

// isS3 reports whether a bucket of S3 may have this name.
func isS3(name string) bool {
	_, err := netip.ParseAddr(name)
	return err != nil && s3Name.MatchString(name) && !strings.Contains(name, "..") && !strings.Contains(name, ".-") && !strings.Contains(name, "-.")
}

// options reads what stands behind the question mark.
func (a *Address) options(text string) error {
	q, err := url.ParseQuery(text)
	if err != nil {
		return Refuse("its options cannot be read")
	}
	for key, values := range q {
		if !slices.Contains(options[a.Scheme], key) || len(values) != 1 {
			return Refuse(fmt.Sprintf("%.40q is no option of a bucket, or stands there twice", key))
		}
	}
	a.Endpoint, a.Region, a.Account = q.Get("endpoint"), q.Get("region"), q.Get("account")
	for key, to := range map[string]*bool{"insecure": &a.Insecure, "anonymous": &a.Anonymous} {
		if said := q.Get(key); said != "" {
			if *to, err = strconv.ParseBool(said); err != nil {
				return Refuse(key + " is true or false")
			}
		}
	}
	if strings.ContainsAny(a.Endpoint, "/@?#\\ ") {
		return Refuse("its endpoint leads to no store")
	}
	return nil
}

// Base is the URL of the store: of the endpoint, or the usual one.
func (a Address) Base(usual string) string {
	scheme, host := "https://", a.Endpoint
	if a.Insecure {
		scheme = "http://"
	}
	if host == "" {
		host = usual
	}
	return scheme + host
}

// Refuse refuses an address, of which nothing is repeated: it may hold a password.
func Refuse(why string) error {
	return &pavise.Error{Kind: pavise.Invalid, Msg: "this is no address of a bucket: " + why, Hint: "name s3://BUCKET[/KEY], gs://BUCKET[/KEY] or az://CONTAINER[/KEY], with ?endpoint=HOST:PORT for a store of your own"}
}
