package hook

import (
	"crypto/ed25519"
	"encoding/base64"
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

// TestSignatureOfTheStandard signs the message that the standard's own libraries are
// tested with.
func TestSignatureOfTheStandard(t *testing.T) {
	k := Key{Scheme: HMAC, Secret: secretOf(t, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")}
	got := k.signature("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if k.Told() != "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" {
		t.Errorf("the secret is told as %s", k.Told())
	}
}

// TestEd25519 verifies with the public half alone.
func TestEd25519(t *testing.T) {
	k := NewKey(Ed25519)
	coded, ok := strings.CutPrefix(k.Told(), "whpk_")
	public, err := base64.StdEncoding.DecodeString(coded)
	if !ok || err != nil || len(public) != ed25519.PublicKeySize {
		t.Fatalf("told %s, %v", k.Told(), err)
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

// TestTwoKeysAtMost rotates: the old one signs beside the new one until its time, and a
// third ends the first.
func TestTwoKeysAtMost(t *testing.T) {
	now := time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)
	first := []Key{NewKey(HMAC)}
	second := Rotated(first, now, now.Add(time.Hour))
	if n := len(Active(second, now)); n != 2 || second[0].Told() == first[0].Told() || second[1].Told() != first[0].Told() {
		t.Errorf("%d sign", n)
	}
	if _, signed := Headers(second, "m", now, nil); len(strings.Fields(signed)) != 2 {
		t.Errorf("signed %q", signed)
	}
	if all := Active(second, now.Add(time.Hour)); len(all) != 1 || all[0].Told() != second[0].Told() {
		t.Errorf("after the overlap %d sign", len(all))
	}
	third := Rotated(second, now, now.Add(time.Hour))
	if len(third) != 2 || third[1].Told() != second[0].Told() || !third[0].Until.IsZero() {
		t.Errorf("%d keys after a second rotation", len(third))
	}
	if at := Rotated(third, now, now); len(at) != 1 {
		t.Errorf("without an overlap %d keys are left", len(at))
	}
}

// TestVerify takes what was signed, and nothing that was changed, is old, or was signed by
// somebody else.
func TestVerify(t *testing.T) {
	now := time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, scheme := range []string{HMAC, Ed25519} {
		keys, body := []Key{NewKey(scheme)}, []byte(`{"a":1}`)
		stamp, signed := Headers(keys, "m1", now, body)
		header := func(change map[string]string) func(string) string {
			return func(name string) string {
				if v, ok := change[name]; ok {
					return v
				}
				return map[string]string{"webhook-id": "m1", "webhook-timestamp": stamp, "webhook-signature": "v1,AAAA " + signed}[name]
			}
		}
		if !Verify(keys, header(nil), now.Add(time.Minute), body) {
			t.Errorf("%s: a good message is refused", scheme)
		}
		for name, bad := range map[string]bool{
			"body":      Verify(keys, header(nil), now, []byte(`{"a":2}`)),
			"id":        Verify(keys, header(map[string]string{"webhook-id": "m2"}), now, body),
			"no id":     Verify(keys, header(map[string]string{"webhook-id": ""}), now, body),
			"time":      Verify(keys, header(map[string]string{"webhook-timestamp": "1"}), now, body),
			"no time":   Verify(keys, header(map[string]string{"webhook-timestamp": "x"}), now, body),
			"old":       Verify(keys, header(nil), now.Add(Tolerance+time.Second), body),
			"early":     Verify(keys, header(nil), now.Add(-Tolerance-time.Second), body),
			"other key": Verify([]Key{NewKey(scheme)}, header(nil), now, body),
			"no key":    Verify(nil, header(nil), now, body),
			"unsigned":  Verify(keys, header(map[string]string{"webhook-signature": ""}), now, body),
		} {
			if bad {
				t.Errorf("%s: %s is believed", scheme, name)
			}
		}
	}
}
