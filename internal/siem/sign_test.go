package siem

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// secretOf reads a secret as its receiver does.
func secretOf(t *testing.T, text string) []byte {
	t.Helper()
	coded, ok := strings.CutPrefix(text, "whsec_")
	secret, err := base64.StdEncoding.DecodeString(coded)
	if !ok || err != nil || len(secret) < 24 || len(secret) > 64 {
		t.Fatalf("secret %q, %v", text, err)
	}
	return secret
}

// checkMessage says what is wrong with a message, as a receiver finds it by the text of
// the standard.
func checkMessage(secret []byte, h http.Header, body []byte) string {
	id, stamp := h.Get("webhook-id"), h.Get("webhook-timestamp")
	var seconds int64
	if _, err := fmt.Sscan(stamp, &seconds); err != nil || time.Since(time.Unix(seconds, 0)).Abs() > time.Minute {
		return "the time " + stamp
	}
	if id == "" || strings.Contains(id, ".") {
		return "the id " + id
	}
	mac := hmac.New(sha256.New, secret)
	fmt.Fprintf(mac, "%s.%s.", id, stamp)
	mac.Write(body)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	for signed := range strings.FieldsSeq(h.Get("webhook-signature")) {
		if hmac.Equal([]byte(signed), []byte(want)) {
			return ""
		}
	}
	return "the signature " + h.Get("webhook-signature")
}

// TestSignatureOfTheStandard signs the message that the standard's own libraries are
// tested with.
func TestSignatureOfTheStandard(t *testing.T) {
	k := signingKey{Scheme: schemeHMAC, Secret: secretOf(t, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")}
	got := k.signature("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if k.told() != "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" {
		t.Errorf("the secret is told as %s", k.told())
	}
}

// TestEd25519 verifies with the public half alone.
func TestEd25519(t *testing.T) {
	k := newKey(schemeEd25519)
	coded, ok := strings.CutPrefix(k.told(), "whpk_")
	public, err := base64.StdEncoding.DecodeString(coded)
	if !ok || err != nil || len(public) != ed25519.PublicKeySize {
		t.Fatalf("told %s, %v", k.told(), err)
	}
	coded, ok = strings.CutPrefix(k.signature("msg_1", 7, []byte("{}")), "v1a,")
	signature, err := base64.StdEncoding.DecodeString(coded)
	if !ok || err != nil || !ed25519.Verify(public, []byte("msg_1.7.{}"), signature) {
		t.Errorf("signature %s, %v", coded, err)
	}
	if ed25519.Verify(public, []byte("msg_1.8.{}"), signature) {
		t.Error("it verifies another time")
	}
}

// TestKeysTellNothing prints keys in every way.
func TestKeysTellNothing(t *testing.T) {
	k := newKey(schemeHMAC)
	secret := base64.StdEncoding.EncodeToString(k.Secret)
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		text := fmt.Sprintf(format, k) + fmt.Sprintf(format, []signingKey{k}) + fmt.Sprintf(format, target{"https://x", []signingKey{k}})
		if strings.Contains(text, secret) || strings.Contains(text, fmt.Sprint(k.Secret)) || strings.Contains(text, string(k.Secret)) {
			t.Errorf("%s shows it: %s", format, text)
		}
	}
}

// TestTwoKeysAtMost rotates: the old one signs beside the new one until its time, and a
// third ends the first.
func TestTwoKeysAtMost(t *testing.T) {
	now := time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)
	first := []signingKey{newKey(schemeHMAC)}
	second := rotated(first, now, now.Add(time.Hour))
	if n := len(active(second, now)); n != 2 || second[0].told() == first[0].told() || second[1].told() != first[0].told() {
		t.Errorf("%d sign", n)
	}
	if _, signed := signatures(second, "m", now, nil); len(strings.Fields(signed)) != 2 {
		t.Errorf("signed %q", signed)
	}
	if all := active(second, now.Add(time.Hour)); len(all) != 1 || all[0].told() != second[0].told() {
		t.Errorf("after the overlap %d sign", len(all))
	}
	third := rotated(second, now, now.Add(time.Hour))
	if len(third) != 2 || third[1].told() != second[0].told() || !third[0].Until.IsZero() {
		t.Errorf("%d keys after a second rotation", len(third))
	}
	if at := rotated(third, now, now); len(at) != 1 {
		t.Errorf("without an overlap %d keys are left", len(at))
	}
}

// TestStandardWebhooks has a verifier that is none of our code check our messages, and
// refuse what was changed in them. PAVISE_STANDARDWEBHOOKS names a Python that has the
// package standardwebhooks.
func TestStandardWebhooks(t *testing.T) {
	python := os.Getenv("PAVISE_STANDARDWEBHOOKS")
	if python == "" {
		t.Skip("PAVISE_STANDARDWEBHOOKS names no Python with the package standardwebhooks")
	}
	const script = `
import sys, json
from standardwebhooks.webhooks import Webhook
asked = json.load(sys.stdin)
try:
    Webhook(asked["secret"]).verify(asked["body"], asked["headers"])
    print("good")
except Exception as e:
    print("bad", type(e).__name__)
`
	keys := rotated([]signingKey{newKey(schemeHMAC)}, time.Now(), time.Now().Add(time.Hour))
	spell := speller{"example.test/log", "1"}
	for _, f := range someFindings(t) {
		told := telling{Finding: f}
		body := spell.body(told)
		stamp, signed := signatures(keys, spell.id(told), time.Now(), body)
		ask := func(secret, body string) string {
			cmd := exec.Command(python, "-c", script)
			cmd.Stdin = strings.NewReader(string(detail(map[string]any{
				"secret": secret, "body": body,
				"headers": map[string]string{"webhook-id": spell.id(told), "webhook-timestamp": stamp, "webhook-signature": signed},
			})))
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			return strings.TrimSpace(string(out))
		}
		for _, k := range keys { // the receiver may have changed over, or not yet
			if got := ask(k.told(), string(body)); got != "good" {
				t.Errorf("%s: %s", f.Kind, got)
			}
		}
		if got := ask(keys[0].told(), strings.Replace(string(body), "2004", "2005", 1)); !strings.HasPrefix(got, "bad") {
			t.Errorf("%s, changed: %s", f.Kind, got)
		}
		if got := ask(newKey(schemeHMAC).told(), string(body)); !strings.HasPrefix(got, "bad") {
			t.Errorf("%s, with another secret: %s", f.Kind, got)
		}
	}
}
