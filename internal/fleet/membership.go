package fleet

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/bundle"
	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/identity"
	"github.com/pavise/pavise/internal/issuer"
	"github.com/pavise/pavise/internal/seal"
)

const (
	// ControlID is the control plane's own id, as in spiffe://DOMAIN/node/control: who
	// joins believes nobody else with a certificate of the CA to be it.
	ControlID = "control"
	// memberFile is where a machine keeps what it joined with.
	memberFile = "membership.json"
	// maxMember bounds that file, in bytes.
	maxMember = 1 << 20
	// renewCheck is how often a member looks whether its certificate is due.
	renewCheck = 20 * time.Second
)

// A Membership is what makes a machine part of a fleet: a certificate of the
// built-in CA, whose key never leaves the data directory, and the roots by which the
// others are known.
type Membership struct {
	dir    string
	server string // https://HOST:PORT of the control plane's fleet address
	key    *ecdsa.PrivateKey
	now    func() time.Time

	keeping sync.Mutex             // held while joined is replaced
	joined  atomic.Pointer[Joined] // replaced whole
}

// Joined is what the control plane gave, as it is kept.
type Joined struct {
	issuer.Issued
	Domain string `json:"trust_domain"`
	Server string `json:"server"` // where the control plane is

	cert  tls.Certificate
	leaf  *x509.Certificate
	roots *x509.CertPool
}

// OpenMembership reads what the machine joined with. Without any it is nil inside.
func OpenMembership(dir string, server string, kek *seal.KEK, now func() time.Time) (*Membership, error) {
	m := &Membership{dir: dir, server: strings.TrimSuffix(server, "/"), now: now}
	der, err := kek.LoadOrCreate(filepath.Join(dir, "node.key"), seal.PurposeNode, newNodeKey)
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	var ok bool
	if m.key, ok = key.(*ecdsa.PrivateKey); err != nil || !ok {
		return nil, &pavise.Error{Kind: pavise.Unverified, Msg: filepath.Join(dir, "node.key") + " holds no key of this kind", Hint: "restore it from a backup, or remove it and join again", Err: err}
	}
	return m, m.read()
}

// read takes up what the directory holds, if it holds anything.
func (m *Membership) read() error {
	path := filepath.Join(m.dir, memberFile)
	text, err := disk.ReadPlain(path, maxMember)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	j := &Joined{}
	if err == nil {
		err = json.Unmarshal(text, j)
	}
	if err == nil {
		err = j.complete(m.key)
	}
	if err != nil {
		return &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("%s is not what this machine joined with: %v", path, err), Hint: "restore it from a backup, or remove it and join again", Err: err}
	}
	m.joined.Store(j)
	return nil
}

// newNodeKey makes a P-256 key, which every TLS library knows.
func newNodeKey() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return x509.MarshalPKCS8PrivateKey(key)
}

// complete checks what was given against the machine's own key, and makes it ready.
func (j *Joined) complete(key *ecdsa.PrivateKey) (err error) {
	if len(j.Chain) == 0 || len(j.Roots) == 0 {
		return errors.New("there is no certificate in it")
	}
	j.roots = x509.NewCertPool()
	for _, der := range j.Roots {
		root, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("a root cannot be read: %w", err)
		}
		j.roots.AddCert(root)
	}
	if j.leaf, err = x509.ParseCertificate(j.Chain[0]); err != nil {
		return fmt.Errorf("the certificate cannot be read: %w", err)
	}
	if !key.PublicKey.Equal(j.leaf.PublicKey) {
		return errors.New("the certificate is for another key")
	}
	domain, path, err := identity.ParseSPIFFE(j.ID)
	if err != nil {
		return err
	}
	if path != "/"+j.Name.Kind+"/"+j.Name.ID {
		return fmt.Errorf("the certificate is for %s, and not for %s", j.ID, j.Name)
	}
	j.Domain = domain
	j.cert = tls.Certificate{Certificate: j.Chain, PrivateKey: key, Leaf: j.leaf}
	return nil
}

// Server is the control plane's fleet address, https://HOST:PORT.
func (m *Membership) Server() string { return m.server }

// Certificate returns the machine's own, as a server shows it to callers and peers. It
// fits tls.Config.GetCertificate.
func (m *Membership) Certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return &m.Is().cert, nil
}

// Missing says which names of a configuration the certificate does not carry: nobody who
// checks it will believe the machine under those.
func (m *Membership) Missing(names []string, say func(word string, err error)) {
	for _, name := range names {
		if m.Is().leaf.VerifyHostname(name) != nil {
			say("warning", &pavise.Error{
				Kind: pavise.Invalid, Msg: fmt.Sprintf("the certificate of %s does not carry the name %s", m.Is().Name.ID, name),
				Hint: "leave the name out of pavise.yaml, or have the machine invited anew with --dns or --ip",
			})
		}
	}
}

// Is returns what the machine joined with, or nil.
func (m *Membership) Is() *Joined { return m.joined.Load() }

// Join turns an invitation into a membership.
func (m *Membership) Join(ctx context.Context, invitation string) error {
	got, err := issuer.Enroll(ctx, strings.TrimSpace(invitation), m.key)
	if err != nil {
		return err
	}
	return m.keep(got)
}

// maxRoots bounds the roots of a CA: one signs, and one more is believed.
const maxRoots = 8

// Believe takes the roots that the control plane says, over a connection that proved it,
// in the place of those at hand: the next root is known before it signs.
func (m *Membership) Believe(roots [][]byte) error {
	if len(roots) == 0 || len(roots) > maxRoots || slices.EqualFunc(roots, m.Is().Roots, bytes.Equal) {
		return nil
	}
	m.keeping.Lock()
	defer m.keeping.Unlock()
	got := m.Is().Issued
	got.Roots = roots
	return m.replace(got)
}

// keep puts what was given in the place of what there was.
func (m *Membership) keep(got issuer.Issued) error {
	m.keeping.Lock()
	defer m.keeping.Unlock()
	return m.replace(got)
}

// replace does, on disk first. The caller holds keeping.
func (m *Membership) replace(got issuer.Issued) error {
	j := &Joined{Issued: got, Server: m.server}
	if before := m.Is(); before != nil {
		if j.Issued.Bundle == nil {
			j.Issued.Bundle = before.Bundle
		}
		if before.Name != got.Name {
			return &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("the control plane gave a certificate for %s to %s", got.Name, before.Name), Hint: "is another control plane running at its address?"}
		}
	}
	if err := j.complete(m.key); err != nil {
		return &pavise.Error{Kind: pavise.Unverified, Msg: "the control plane gave a certificate that is not for this machine: " + err.Error(), Hint: "use the same version, or the one before, on both sides", Err: err}
	}
	text, err := json.Marshal(j)
	if err != nil {
		return fmt.Errorf("encode %s: %w", memberFile, err)
	}
	if err := Replace(m.dir, memberFile, text); err != nil {
		return err
	}
	m.joined.Store(j)
	return nil
}

// Renew keeps the certificate fresh, until ctx is done. say is told what goes wrong,
// whenever that changes.
func (m *Membership) Renew(ctx context.Context, say func(error)) {
	last := ""
	for ctx.Err() == nil {
		if m.due() {
			err := m.RenewNow(ctx)
			if words := fmt.Sprint(err); err != nil && words != last && ctx.Err() == nil {
				say(err)
				last = words
			}
		}
		select {
		case <-time.After(renewCheck):
		case <-ctx.Done():
		}
	}
}

// due reports whether half of the certificate's life is over.
func (m *Membership) due() bool {
	leaf := m.Is().leaf
	return m.now().After(leaf.NotBefore.Add(leaf.NotAfter.Sub(leaf.NotBefore) / 2))
}

// RenewNow gets another certificate for the same key.
func (m *Membership) RenewNow(ctx context.Context) error {
	csr, err := issuer.Request(m.key)
	if err != nil {
		return err
	}
	client := &api.Client{Base: m.server, HTTP: m.Client()}
	defer client.HTTP.CloseIdleConnections()
	var got issuer.Issued
	if err := client.Call(ctx, "node.renew", map[string][]byte{"csr": csr}, &got); err != nil {
		return err
	}
	return m.keep(got)
}

// handshakeWithin bounds a TLS handshake.
const handshakeWithin = 10 * time.Second

// Client speaks to the control plane, by mutual TLS.
func (m *Membership) Client() *http.Client { return m.ClientFor(ControlID) }

// ClientFor speaks to one member of the fleet, and to nobody else who only has the CA's
// word for being a member; of no id, to every member that has the name of the address.
func (m *Membership) ClientFor(id string) *http.Client {
	if id != "" {
		id = NodeID(m.Is().Domain, id)
	}
	return Client(m.Certificate, func() *x509.CertPool { return m.Is().roots }, m.now, id)
}

// NodeID is the SPIFFE id of a machine.
func NodeID(domain, id string) string { return "spiffe://" + domain + "/" + pavise.Node + "/" + id }

// Client speaks by mutual TLS to who has a SPIFFE id, or, of no id, to every member that
// has the name of the address, which must not be a bare one. own is its certificate, and roots are those of the CA, as
// of each connection.
func Client(own func(*tls.ClientHelloInfo) (*tls.Certificate, error), roots func() *x509.CertPool, now func() time.Time, id string) *http.Client {
	return &http.Client{CheckRedirect: nowhere, Transport: &http.Transport{
		DialContext:           (&net.Dialer{Timeout: handshakeWithin}).DialContext,
		TLSHandshakeTimeout:   handshakeWithin,
		ResponseHeaderTimeout: time.Minute,
		IdleConnTimeout:       2 * time.Minute,
		MaxIdleConnsPerHost:   2,
		TLSClientConfig: &tls.Config{
			MinVersion:           tls.VersionTLS13,
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own(nil) },
			InsecureSkipVerify:   true, // VerifyConnection does it, with the roots of now
			VerifyConnection: func(cs tls.ConnectionState) error {
				if err := verifyServer(cs, roots(), now()); err != nil {
					return err
				}
				if id == "" {
					return named(cs)
				}
				return isMember(cs.PeerCertificates[0], id)
			},
		},
	}}
}

// nowhere follows no redirect: what is said to a member is for that one.
func nowhere(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// verifyServer checks a server's chain and name.
func verifyServer(cs tls.ConnectionState, roots *x509.CertPool, now time.Time) error {
	between := x509.NewCertPool()
	for _, c := range cs.PeerCertificates[1:] {
		between.AddCert(c)
	}
	_, err := cs.PeerCertificates[0].Verify(x509.VerifyOptions{
		DNSName: cs.ServerName, Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	return err
}

// named refuses a connection to a bare address: TLS does not say which one it was, so the
// certificate of any member would do for it.
func named(cs tls.ConnectionState) error {
	if cs.ServerName == "" {
		return errors.New("a member that is known by no id is reached by its name, and not by a bare address")
	}
	return nil
}

func isMember(leaf *x509.Certificate, id string) error {
	if len(leaf.URIs) == 1 && leaf.URIs[0].String() == id {
		return nil
	}
	return fmt.Errorf("the server's certificate is not that of %s", id)
}

// Admit lets another machine of the fleet in, by its certificate.
func (m *Membership) Admit(cs *tls.ConnectionState) error {
	if cs == nil || len(cs.PeerCertificates) == 0 {
		return errors.New("a certificate of the fleet is needed")
	}
	j, leaf, between := m.Is(), cs.PeerCertificates[0], x509.NewCertPool()
	for _, c := range cs.PeerCertificates[1:] {
		between.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: j.roots, Intermediates: between, CurrentTime: m.now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		return errors.New("the certificate is none of the fleet's")
	}
	if len(leaf.URIs) != 1 || !strings.HasPrefix(leaf.URIs[0].String(), "spiffe://"+j.Domain+"/"+pavise.Node+"/") {
		return errors.New("the certificate is not that of a machine")
	}
	return nil
}

// Trust is where the machine begins to believe bundles.
func (j *Joined) Trust() (bundle.Trust, error) {
	if j.Bundle == nil {
		return bundle.Trust{}, &pavise.Error{Kind: pavise.Invalid, Msg: "the control plane told this machine no bundle keys when it joined", Hint: "have it join again with a new invitation"}
	}
	return *j.Bundle, nil
}

// Post sends JSON to the control plane and reads its JSON answer.
func (m *Membership) Post(ctx context.Context, client *http.Client, path string, req, resp any) error {
	body, err := json.Marshal(req)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, m.server+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := client.Do(r)
	if err != nil {
		return &pavise.Error{Kind: pavise.Unavailable, Msg: "no answer from the control plane at " + m.server, Hint: "is pavise serve running there, and to be reached from here?", Err: err}
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, MaxReport))
	if err != nil || answer.StatusCode != http.StatusOK {
		return &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("the control plane at %s answered %s", m.server, answer.Status), Hint: "pavise node list there says whether this machine may still speak", Err: err}
	}
	return json.Unmarshal(text, resp)
}
