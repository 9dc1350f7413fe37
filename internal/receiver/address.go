package receiver

import (
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pavise/pavise"
)

// A Server is one of pavise.yaml that records are fetched from.
type Server struct {
	Name        string
	Address     string // https://HOST, tls://HOST:PORT; http and nats on this machine
	Credentials string // a file; "": none
	Authorities string // a file of PEM; "": the system's
	Certificate string // a file of PEM; "": none is shown
	Key         string // a file of PEM
	Pin         string // sha256:HEX of the public key in its certificate; "": any that the authorities vouch for
}

// The carriers.
const (
	carrierFile   = "file"
	carrierBucket = "bucket"
	carrierNATS   = "nats"
	carrierTAXII  = "taxii"
)

// A target is a place that records are fetched from, and may be.
type target struct {
	carrier string
	root    string // of a file: the directory of pavise.yaml; of a bucket: its address, with options
	path    string // of a file: below the root; of a bucket: the prefix; of NATS: STREAM[/SUBJECT]; of TAXII: the path of the collection
	server  Server // of NATS and TAXII
}

// hintFrom shows the forms of an address.
const hintFrom = "name a file (file:///var/log/app/app.log), a directory (file:///var/drop/), a bucket (s3://BUCKET/PREFIX/), nats://SERVER/STREAM/SUBJECT or taxii://SERVER/ROOT/collections/ID, below a root or on a server that receive: in pavise.yaml has"

// maxFrom bounds an address, in bytes.
const maxFrom = 2048

// resolve finds what an address names among what pavise.yaml allows. It looks at nothing
// else: what it allows need not be there.
func (cfg *Config) resolve(from string) (target, error) {
	refuse := func(why string) (target, error) {
		return target{}, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("nothing is received from %.100q: %s", from, why), Hint: hintFrom}
	}
	if len(from) > maxFrom || strings.ContainsFunc(from, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return refuse("it is no address")
	}
	u, err := url.Parse(from)
	switch {
	case err != nil || u.Scheme == "" || u.Opaque != "":
		return refuse("it is no address")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Contains(from, "#"):
		return refuse("it holds a name, a password or options, which stand in pavise.yaml")
	case u.Path != "" && u.Path != "/" && path.Clean(u.Path) != strings.TrimSuffix(u.Path, "/"):
		return refuse("its path is not in its shortest form")
	}
	var t target
	switch u.Scheme {
	case "file":
		t, err = cfg.local(u)
	case carrierNATS, carrierTAXII:
		t, err = cfg.served(u)
	default:
		t, err = cfg.stored(u)
	}
	if err != nil {
		return refuse(err.Error())
	}
	return t, nil
}

// local finds a file, or with a slash at its end a directory, below one of the roots.
func (cfg *Config) local(u *url.URL) (target, error) {
	if u.Host != "" || u.Path == "" || u.Path == "/" {
		return target{}, fmt.Errorf("a file's address has three slashes and then its path")
	}
	for _, root := range cfg.Roots {
		if strings.Contains(root, "://") {
			continue
		}
		root, err := filepath.Abs(root)
		if err != nil {
			return target{}, err
		}
		if u.Path == root+"/" {
			return target{carrier: carrierBucket, root: root}, nil
		}
		below, is := strings.CutPrefix(u.Path, strings.TrimSuffix(root, "/")+"/")
		switch {
		case !is:
		case strings.HasSuffix(below, "/"):
			return target{carrier: carrierBucket, root: root, path: below}, nil
		default:
			return target{carrier: carrierFile, root: root, path: below}, nil
		}
	}
	return target{}, fmt.Errorf("it is below no directory that receive.roots has")
}

// stored finds a prefix of one of the buckets.
func (cfg *Config) stored(u *url.URL) (target, error) {
	for _, root := range cfg.Roots {
		r, err := url.Parse(root)
		if err != nil || r.Scheme == "" || r.Scheme != u.Scheme || r.Host != u.Host {
			continue
		}
		top := strings.TrimSuffix(r.Path, "/") + "/" // what the names of all objects of the root begin with
		if below, is := strings.CutPrefix(strings.TrimSuffix(u.Path, "/")+"/", top); is {
			return target{carrier: carrierBucket, root: root, path: below}, nil
		}
	}
	return target{}, fmt.Errorf("it is in no bucket that receive.roots has")
}

// served finds what lies on one of the servers.
func (cfg *Config) served(u *url.URL) (target, error) {
	at := slices.IndexFunc(cfg.Servers, func(s Server) bool { return s.Name == u.Host })
	if at < 0 {
		return target{}, fmt.Errorf("receive.servers has no %.80q", u.Host)
	}
	t := target{carrier: u.Scheme, path: strings.Trim(u.Path, "/"), server: cfg.Servers[at]}
	web := strings.HasPrefix(t.server.Address, "http")
	parts := strings.Split(t.path, "/")
	switch {
	case web != (u.Scheme == carrierTAXII):
		return target{}, fmt.Errorf("server %s is at %s, and is asked as %s", u.Host, t.server.Address, u.Scheme)
	case u.Scheme == carrierTAXII && (len(parts) < 3 || parts[len(parts)-2] != "collections"):
		return target{}, fmt.Errorf("it names no collection")
	case u.Scheme == carrierNATS && (parts[0] == "" || len(parts) > 2 || strings.ContainsAny(parts[0], ".*>")):
		return target{}, fmt.Errorf("it names no stream")
	}
	return t, nil
}

// forms are those that a carrier can cut into batches.
func (t target) forms() []string {
	switch t.carrier {
	case carrierFile:
		return []string{formNDJSON, formLines, formCSV, formOTLP}
	case carrierTAXII:
		return []string{formSTIX}
	}
	return nil // any
}
