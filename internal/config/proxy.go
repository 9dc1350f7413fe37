package config

import (
	"net"
	"net/url"
	"strconv"
	"strings"
)

// An ExtProc says where proxies ask about their exchanges: Envoy, Istio, agentgateway.
type ExtProc struct {
	Listen  string   `yaml:"listen" need:"true" example:"127.0.0.1:9002" doc:"Where they reach it by gRPC: a loopback address, a socket as unix:/run/pavise/proxy.sock, or any address with tls and clients. Whoever may ask there may say what a model answered."`
	TLS     *TLS     `yaml:"tls" doc:"The certificate that proxies see."`
	Clients string   `yaml:"clients" example:"/etc/pavise/proxies.pem" doc:"PEM: the authorities of whose certificates a proxy must have one."`
	Trust   bool     `yaml:"trust_client_certificates" example:"false" doc:"Take x-forwarded-client-cert for a sign that the proxy has seen the caller to have the key. The certificate itself is verified here."`
	Origins []string `yaml:"origins" example:"[https://models.acme.example]" doc:"How callers reach the proxies: a proof of possession (DPoP) names it."`
}

// UnixSocket begins the address of a socket in the file system.
const UnixSocket = "unix:"

// Reached are the Origins; of nil there are none.
func (e *ExtProc) Reached() []string {
	if e == nil {
		return nil
	}
	return e.Origins
}

func (e *ExtProc) check(f *faults) {
	if path, ok := strings.CutPrefix(e.Listen, UnixSocket); ok {
		f.path("listen", path)
	} else if host := f.address("listen", e.Listen); e.Listen != "" && !isLoopback(host) && (e.TLS == nil || e.Clients == "") {
		f.add("listen", strconv.Quote(e.Listen)+" can be reached from elsewhere, and who asks there must be known", "give tls and clients, or use a loopback address or a socket: 127.0.0.1:9002, unix:/run/pavise/proxy.sock")
	}
	if e.Clients != "" && e.TLS == nil {
		f.add("clients", "needs tls", "give tls with a certificate and its key")
	}
	f.path("clients", e.Clients)
	for _, o := range e.Origins {
		if u, err := url.Parse(o); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || strings.Trim(u.Path, "/") != "" || u.User != nil {
			f.add("origins", strconv.Quote(o)+" is not how callers reach a server", "write https://HOST, with a port unless it is 443")
		}
	}
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
