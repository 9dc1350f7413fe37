package issuer

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/pavise/pavise"
)

const (
	// PathJoin is where a control plane takes requests to join, without a proven caller.
	PathJoin = "/v1/node.join"

	enrollWithin = 30 * time.Second
	maxIssued    = 256 << 10 // bytes of an answer
)

// A JoinRequest is the body of such a request.
type JoinRequest struct {
	Word string `json:"word" doc:"the first part of the invitation, behind pavise-invite:v1."`
	CSR  []byte `json:"csr" doc:"certificate request, PKCS #10 in DER, as base64"`
}

// Enroll joins with an invitation: it reaches the control plane that the invitation
// names, believes it only by the root that the invitation pins, and asks for a
// certificate for the key. It is the other side of CA.Join. What comes back has been
// checked: the certificate is for the key, and leads to the pinned root.
func Enroll(ctx context.Context, invitation string, key crypto.Signer) (Issued, error) {
	t, err := parseTicket(strings.TrimSpace(invitation))
	if err != nil {
		return Issued{}, err
	}
	csr, err := Request(key)
	if err != nil {
		return Issued{}, err
	}
	body, err := json.Marshal(JoinRequest{Word: t.word, CSR: csr})
	if err != nil {
		return Issued{}, fmt.Errorf("encode a request to join: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, enrollWithin)
	defer cancel()
	out, err := t.send(ctx, body)
	if err != nil {
		return Issued{}, err
	}
	if err := t.check(out, key.Public()); err != nil {
		return Issued{}, &pavise.Error{Kind: pavise.Unverified, Msg: "the control plane gave a certificate that is not what was asked for: " + err.Error(), Hint: "use builds that are at most one version apart, and look at what answers at " + t.url}
	}
	return out, nil
}

// send posts the request over a connection that is pinned.
func (t ticket) send(ctx context.Context, body []byte) (out Issued, err error) {
	transport := &http.Transport{TLSClientConfig: &tls.Config{
		MinVersion:         tls.VersionTLS13,
		InsecureSkipVerify: true, // VerifyConnection does it, by the pinned root
		VerifyConnection:   t.verify,
	}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(t.url, "/")+PathJoin, bytes.NewReader(body))
	if err != nil {
		return out, fmt.Errorf("make a request to join: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	answer, err := client.Do(req)
	if err != nil {
		return out, &pavise.Error{Kind: pavise.Unavailable, Msg: "the control plane at " + t.url + " cannot be joined", Hint: "is it running, to be reached from here, and the one that the invitation is of?", Err: err}
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxIssued))
	if err != nil {
		return out, &pavise.Error{Kind: pavise.Unavailable, Msg: "the answer of the control plane at " + t.url + " broke off", Hint: "ask for another invitation, and try again", Err: err}
	}
	if answer.StatusCode != http.StatusOK {
		return out, refusedJoin(answer.StatusCode, text)
	}
	if err := json.Unmarshal(text, &out); err != nil {
		return out, &pavise.Error{Kind: pavise.Unavailable, Msg: "the control plane at " + t.url + " answered with something else", Hint: "use builds that are at most one version apart", Err: err}
	}
	return out, nil
}

// refusedJoin reads why the server said no (RFC 9457).
func refusedJoin(status int, text []byte) error {
	var p struct{ Title, Detail, Hint string }
	if json.Unmarshal(text, &p) != nil || p.Detail == "" {
		return &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("the control plane answers %d to a request to join", status), Hint: "check that its address in the invitation is right"}
	}
	return &pavise.Error{Kind: pavise.ParseKind(p.Title), Msg: p.Detail, Hint: p.Hint}
}

// verify believes a server that has the control plane's id, the name in the address, and
// a chain to the pinned root, which it sends itself.
func (t ticket) verify(cs tls.ConnectionState) error {
	roots := x509.NewCertPool()
	for _, c := range cs.PeerCertificates[1:] {
		if sum := sha256.Sum256(c.Raw); subtle.ConstantTimeCompare(sum[:], t.root) == 1 {
			roots.AddCert(c)
		}
	}
	leaf := cs.PeerCertificates[0]
	if len(leaf.URIs) != 1 || leaf.URIs[0].String() != t.id {
		return fmt.Errorf("it is not %s", t.id)
	}
	// Not cs.ServerName, which is empty where the address is an IP.
	where, err := url.Parse(t.url)
	if err != nil {
		return err
	}
	_, err = leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: where.Hostname(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	return err
}

// check holds what was given against what was asked for.
func (t ticket) check(out Issued, public crypto.PublicKey) error {
	if len(out.Chain) == 0 || len(out.Roots) == 0 || len(out.Roots) > 8 {
		return fmt.Errorf("it has %d certificates and %d roots", len(out.Chain), len(out.Roots))
	}
	leaf, err := x509.ParseCertificate(out.Chain[0])
	if err != nil {
		return err
	}
	if same, ok := public.(interface{ Equal(crypto.PublicKey) bool }); !ok || !same.Equal(leaf.PublicKey) {
		return fmt.Errorf("it is for another key")
	}
	if len(leaf.URIs) != 1 || leaf.URIs[0].String() != out.ID {
		return fmt.Errorf("it is not that of %.200s", out.ID)
	}
	for _, der := range out.Roots {
		if sum := sha256.Sum256(der); subtle.ConstantTimeCompare(sum[:], t.root) == 1 {
			root, err := x509.ParseCertificate(der)
			if err != nil {
				return err
			}
			roots := x509.NewCertPool()
			roots.AddCert(root)
			_, err = leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
			return err
		}
	}
	return fmt.Errorf("the root that the invitation pins is not among its roots")
}
