package siem

import (
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

	"github.com/pavise/pavise/internal/hook"
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

// TestKeysTellNothing prints keys in every way.
func TestKeysTellNothing(t *testing.T) {
	k := hook.NewKey(hook.HMAC)
	secret := base64.StdEncoding.EncodeToString(k.Secret)
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		text := fmt.Sprintf(format, k) + fmt.Sprintf(format, []hook.Key{k}) + fmt.Sprintf(format, target{"https://x", []hook.Key{k}})
		if strings.Contains(text, secret) || strings.Contains(text, fmt.Sprint(k.Secret)) || strings.Contains(text, string(k.Secret)) {
			t.Errorf("%s shows it: %s", format, text)
		}
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
	keys := hook.Rotated([]hook.Key{hook.NewKey(hook.HMAC)}, time.Now(), time.Now().Add(time.Hour))
	spell := speller{"example.test/log", "1"}
	for _, f := range someFindings(t) {
		told := telling{Finding: f}
		body := spell.body(told)
		stamp, signed := hook.Headers(keys, spell.id(told), time.Now(), body)
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
			if got := ask(k.Told(), string(body)); got != "good" {
				t.Errorf("%s: %s", f.Kind, got)
			}
		}
		if got := ask(keys[0].Told(), strings.Replace(string(body), "2004", "2005", 1)); !strings.HasPrefix(got, "bad") {
			t.Errorf("%s, changed: %s", f.Kind, got)
		}
		if got := ask(hook.NewKey(hook.HMAC).Told(), string(body)); !strings.HasPrefix(got, "bad") {
			t.Errorf("%s, with another secret: %s", f.Kind, got)
		}
	}
}
