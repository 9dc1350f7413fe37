package identity

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
)

// TestRecordsOfTheDocument takes every record that docs/identity.md shows as it stands
// there, and makes a verifier of it.
func TestRecordsOfTheDocument(t *testing.T) {
	text, err := os.ReadFile("../../docs/identity.md")
	if err != nil {
		t.Fatal(err)
	}
	f := newForest(t)
	bundle := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.root.Raw}))
	issuers, domains := 0, 0
	for _, block := range regexp.MustCompile("(?s)```json (issuer|domain)\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		cfg := Config{Now: time.Now}
		switch block[1] {
		case "issuer":
			issuers++
			i, err := ParseIssuer([]byte(block[2]), "acme")
			if err != nil {
				t.Errorf("%s: %v", block[2], err)
			}
			cfg.Issuers = []Issuer{i}
		case "domain":
			domains++
			d, err := ParseDomain([]byte(strings.Replace(block[2], "PEM", strings.ReplaceAll(bundle, "\n", `\n`), 1)), "acme")
			if err != nil {
				t.Errorf("%s: %v", block[2], err)
			}
			cfg.Domains = []TrustDomain{d}
		}
		if _, err := New(cfg); err != nil {
			t.Errorf("%s: %v", block[2], err)
		}
	}
	if issuers < 4 || domains < 1 {
		t.Errorf("the document shows %d issuers and %d trust domains", issuers, domains)
	}
}

func TestFilesRefused(t *testing.T) {
	const whole = `{"url":"https://x","audience":"a","algorithms":["ES256"],"roles":[],"max_ttl":"1h","discover":true}`
	if _, err := ParseIssuer([]byte(whole), "acme"); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"nothing":            "",
		"an unknown member":  strings.Replace(whole, "{", `{"jwks_uri":"https://x/keys",`, 1),
		"a member twice":     strings.Replace(whole, "{", `{"url":"https://y",`, 1),
		"in another case":    strings.Replace(whole, "{", `{"URL":"https://y",`, 1),
		"two records":        whole + whole,
		"no duration":        strings.Replace(whole, "1h", "1 hour", 1),
		"a leeway in words":  strings.Replace(whole, "{", `{"leeway":"some",`, 1),
		"a staleness of x":   strings.Replace(whole, "{", `{"stale":"x",`, 1),
		"no keys":            strings.Replace(whole, `"discover":true`, `"discover":false`, 1),
		"longer than it may": whole + strings.Repeat(" ", MaxFile),
	} {
		if _, err := ParseIssuer([]byte(text), "acme"); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, text := range map[string]string{
		"a key in the bundle":  `{"name":"x","bundle":"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"}`,
		"no PEM in the bundle": `{"name":"x","bundle":"rubbish"}`,
		"an unknown member":    `{"name":"x","roots":[]}`,
		"a leeway in words":    `{"name":"x","bundle":"","leeway":"some"}`,
	} {
		if _, err := ParseDomain([]byte(text), "acme"); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzDomain reads the record of a trust domain: every root of it is a certificate that stands
// in its bundle, and what is refused is refused as Invalid.
func FuzzDomain(f *testing.F) {
	bundle := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: newForest(f).root.Raw}))
	for _, text := range []string{bundle, bundle + bundle, bundle + "x", bundle + "\n \n", strings.ReplaceAll(bundle, "CERTIFICATE", "PRIVATE KEY"), bundle[:len(bundle)/2], "", "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"} {
		f.Add("example.org", text, "")
	}
	f.Add("", bundle, "-1s")
	f.Add("a/b", bundle, "1000000h")
	f.Fuzz(func(t *testing.T, name, bundle, leeway string) {
		record, err := json.Marshal(DomainFile{Name: name, Bundle: bundle, Leeway: leeway})
		if err != nil {
			t.Fatal(err)
		}
		d, err := ParseDomain(record, "acme")
		if err != nil {
			if pavise.KindOf(err) != pavise.Invalid {
				t.Fatalf("%s: %v", record, err)
			}
			return
		}
		if d.Tenant != "acme" || len(d.Roots) > strings.Count(bundle, "-----BEGIN CERTIFICATE-----") {
			t.Fatalf("%s is %d roots of %q", record, len(d.Roots), d.Tenant)
		}
		for _, root := range d.Roots {
			if again, err := x509.ParseCertificate(root.Raw); err != nil || !again.Equal(root) {
				t.Fatalf("%s has the root %v, %v", record, root.Subject, err)
			}
		}
	})
}
