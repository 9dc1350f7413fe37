package config

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/bucketname"
)

// A Receive says where records may be fetched from. Verbs choose among these, and name no
// other place and no secret.
type Receive struct {
	Roots   []string     `yaml:"roots" example:"[/var/log/app, s3://lake/logs]" doc:"Directories and buckets. Files and objects below them can be received; a bucket's options stand here, as in s3://lake/logs?endpoint=minio:9000."`
	Servers []FeedServer `yaml:"servers" doc:"Servers of NATS and of TAXII feeds."`
}

// A FeedServer is a server that records are fetched from.
type FeedServer struct {
	Name        string `yaml:"name" need:"true" example:"cti" doc:"What verbs call it: pavise ingest receive indicators --from taxii://cti/api1/collections/ID."`
	Address     string `yaml:"address" need:"true" example:"https://cti.example.org" doc:"https://HOST for TAXII, tls://HOST:4222 for NATS. In clear text, http and nats, only on this machine."`
	Credentials string `yaml:"credentials" example:"/etc/pavise/cti.login" doc:"A file, readable for Pavise alone: USER:PASSWORD or Bearer TOKEN in one line, or what NATS calls .creds."`
	Authorities string `yaml:"authorities" example:"/etc/pavise/cti-ca.pem" doc:"PEM: the only authorities whose certificates are believed; left out: the system's."`
	Certificate string `yaml:"certificate" example:"/etc/pavise/cti.crt" doc:"PEM: the certificate that is shown to a server that asks for one."`
	Key         string `yaml:"key" example:"/etc/pavise/cti.key" doc:"PEM: its private key, readable for Pavise alone."`
	Pin         string `yaml:"pin" example:"sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" doc:"The SHA-256 of the public key (SubjectPublicKeyInfo) in the server's own certificate. Indicators of a server without one are held."`
}

func (r *Receive) check(f *faults) {
	if r == nil {
		return
	}
	for _, root := range r.Roots {
		f.place("roots", root)
	}
	for i, s := range r.Servers {
		at := f.in("servers").in(strconv.Itoa(i))
		s.check(at)
		if slices.ContainsFunc(r.Servers[:i], func(other FeedServer) bool { return other.Name == s.Name }) {
			at.add("name", strconv.Quote(s.Name)+" stands here twice", "give each server a name of its own")
		}
	}
}

// place checks the path of a directory, or the address of a bucket, of which nothing is repeated:
// it may hold a password.
func (f *faults) place(key, at string) {
	if !strings.Contains(at, "://") {
		f.path(key, at)
	} else if _, err := bucketname.Parse(at); err != nil {
		f.add(key, "has one that leads nowhere: "+pavise.MsgOf(err), "write s3://BUCKET/PREFIX, gs:// or az://, with ?endpoint=HOST:PORT for a store of your own")
	}
}

func (s FeedServer) check(f *faults) {
	f.label("name", s.Name)
	f.path("credentials", s.Credentials)
	f.path("authorities", s.Authorities)
	f.path("certificate", s.Certificate)
	f.path("key", s.Key)
	if (s.Certificate == "") != (s.Key == "") {
		f.add("", "has one of certificate and key", "give both, or none")
	}
	digits, is := strings.CutPrefix(s.Pin, "sha256:")
	if s.Pin != "" && (!is || len(digits) != 64 || strings.Trim(digits, "0123456789abcdef") != "") {
		f.add("pin", strconv.Quote(clip(s.Pin))+" is no digest", "write sha256: and 64 hexadecimal digits")
	}
	if s.Address == "" {
		return
	}
	u, err := url.Parse(s.Address)
	if err != nil || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || !slices.Contains([]string{"https", "http", "tls", "nats"}, u.Scheme) {
		f.add("address", strconv.Quote(clip(s.Address))+" is not the address of a server", "write https://HOST or tls://HOST:4222, and credentials into a file")
		return
	}
	if local := u.Hostname() == "localhost" || strings.HasPrefix(u.Hostname(), "127.") || u.Hostname() == "::1"; !local && (u.Scheme == "http" || u.Scheme == "nats") {
		f.add("address", strconv.Quote(clip(s.Address))+" is reached in clear text, and is not this machine", "write https:// or tls://")
	}
}
