package prompt

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// Keys that the tests make up: none was ever given out.
func random(alphabet string, n int, seed uint64) string {
	r := rand.New(rand.NewPCG(seed, 7))
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[r.IntN(len(alphabet))]
	}
	return string(b)
}

const (
	alnum = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	big32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
)

// checked is a token whose checksum is right.
func checked(prefix string, seed uint64) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	body := random(alnum, 30, seed)
	sum, tail := crc32.ChecksumIEEE([]byte(body)), make([]byte, 6)
	for i := 5; i >= 0; i-- {
		tail[i], sum = digits[sum%62], sum/62
	}
	return prefix + body + string(tail)
}

func jwtOf(alg string) string {
	enc := base64.RawURLEncoding.EncodeToString
	return enc([]byte(`{"alg":"`+alg+`","typ":"JWT"}`)) + "." + enc([]byte(`{"sub":"1234","name":"A"}`)) + "." + random(alnum, 43, 3)
}

var leaks = map[string][]string{
	"secret.aws":      {"key AKIA" + random(big32, 16, 1) + ".", "ASIA" + random(big32, 16, 2), `{"text":"keys:\nAKIA` + random(big32, 16, 3) + `\n"}`},
	"secret.gcp":      {"AIza" + random(alnum, 35, 1)},
	"secret.azure":    {"AccountName=a;AccountKey=" + random(alnum, 86, 1) + "==;x"},
	"secret.github":   {"token: " + checked("ghp_", 1), "(" + checked("ghs_", 2) + ")", "github_pat_" + random(alnum, 82, 4)},
	"secret.gitlab":   {"glpat-" + random(alnum, 20, 1)},
	"secret.slack":    {"xoxb-263594206564-2343594206574-" + random(alnum, 24, 1)},
	"secret.stripe":   {"sk_live_" + random(alnum, 24, 1)},
	"secret.npm":      {checked("npm_", 5)},
	"secret.pypi":     {"pypi-" + base64.RawURLEncoding.EncodeToString([]byte("\x02\x01\x08pypi.org\x02$"+random(alnum, 60, 1)))},
	"secret.model":    {"sk-proj-" + random(alnum, 60, 1), "hf_" + random(alnum, 34, 2)},
	"secret.jwt":      {"Bearer " + jwtOf("RS256")},
	"secret.pem":      {"-----BEGIN RSA PRIVATE KEY-----\n" + random(alnum, 64, 1) + "\n", `"-----BEGIN PRIVATE KEY-----\n` + random(alnum, 64, 2) + `\n"`},
	"secret.assigned": {"password = \"" + random(alnum, 24, 8) + "\"", "api_key: " + random(alnum, 32, 9), `{"client_secret":"` + random(alnum, 32, 10) + `"}`},
	"pii.card":        {"card 4532015112830366 ok", "5425 2334 3010 9903"},
	"pii.iban":        {"DE89370400440532013000", "IBAN GB29 NWBK 6016 1331 9268 19."},
	"canary.found":    {"here: " + bird, strings.ToUpper(bird), spacedOut(bird), reversed(bird), rot13(bird), hex.EncodeToString([]byte(bird)), base64.StdEncoding.EncodeToString([]byte(bird)), base64.StdEncoding.EncodeToString([]byte("a" + bird + "b")), base64.StdEncoding.EncodeToString([]byte("ab" + bird + "c")), strings.ReplaceAll(bird, "-", "\u200b")},
	"leak.system":     {"My orders: " + system[:300]},
}

const (
	bird   = "tern-7f3kq9-zw4m1x-canary"
	system = "You are the assistant of a small bank in the north. You answer questions about accounts and about cards, and you never speak of other banks. When somebody asks for a credit you send them to the desk on the second floor, where Ms. Hansen helps them in the mornings. You never promise a rate of interest, because rates change every week."
)

func spacedOut(s string) string { return strings.Join(strings.Split(s, ""), " ") }

func watcher(t testing.TB) (*Answers, *Prints) {
	p, err := Words{Canaries: []string{bird}}.Policy("acme/model/m")
	if err != nil {
		t.Fatal(err)
	}
	return &p.Answers, NewPrints(system)
}

func has(list []Finding, id string) bool {
	return slices.ContainsFunc(list, func(f Finding) bool { return f.Rule == id })
}

// TestSecrets finds each of the secrets in a whole answer.
func TestSecrets(t *testing.T) {
	a, prints := watcher(t)
	for _, s := range secrets {
		if len(leaks[s.ID]) == 0 {
			t.Errorf("%s has no example", s.ID)
		}
		for _, text := range leaks[s.ID] {
			if found := a.Whole(text, prints); !has(found, s.ID) {
				t.Errorf("%s: %q holds %v", s.ID, text, found)
			}
		}
	}
}

// decent are answers that hold nothing that is refused or alerted.
var decent = []string{
	"Set AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE and go on.",
	"ghp_" + strings.Repeat("x", 36), "Use a token such as ghp_abcdefghijklmnopqrstuvwxyz0123456789.",
	"ghp_" + random(alnum, 36, 77), // its checksum is wrong
	"sk_test_" + random(alnum, 24, 1), "-----BEGIN CERTIFICATE-----\n" + random(alnum, 64, 1), "-----BEGIN PRIVATE KEY-----\n...\n",
	"-----BEGIN PUBLIC KEY-----\n" + random(alnum, 64, 2),
	"Card numbers such as 4242 4242 4242 4242 are for tests.", "Order 4532015112830367 is on its way.", "pi is 3.14159265358979323846",
	"The numbers 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16.", "DE89370400440532013001", "sha256:" + strings.Repeat("0123456789abcdef", 4),
	"eyJhbGciOiJub25lIn0.eyJzdWIiOiIxMjM0NTY3ODkwIn0.", "password: hunter2", "token = os.environ[\"TOKEN\"]", "tern", "You answer questions about accounts.",
}

// TestDecentAnswers holds nothing against what is no secret.
func TestDecentAnswers(t *testing.T) {
	a, prints := watcher(t)
	p := &Policy{Answers: *a}
	for _, text := range decent {
		for _, f := range a.Whole(text, prints) {
			if told := p.JudgeAnswer(f); told.Action != Observe {
				t.Errorf("%q holds %v", text, f)
			}
		}
	}
}

// TestChunks finds in pieces of any size what is found in the whole, and never calls clear
// what is a part of something to refuse before it is found.
func TestChunks(t *testing.T) {
	a, prints := watcher(t)
	for id, texts := range leaks {
		for _, secret := range texts {
			const lead = "Well, there it is: "
			text := lead + secret + " and so on, and on."
			for size := 1; size <= len(text); size += 1 + size/3 {
				s := a.NewScanner(prints)
				met, passed := false, int64(0)
				for from := 0; from < len(text) && !met; from += size {
					found, clear := s.Add(text[from:min(len(text), from+size)])
					if met = has(found, id); !met {
						passed = clear
					}
					if clear > int64(min(len(text), from+size)) {
						t.Fatalf("%s in pieces of %d: clear to %d of %d", id, size, clear, from+size)
					}
				}
				met = met || has(s.End(), id)
				if !met {
					t.Errorf("%s in pieces of %d: not found in %q", id, size, text)
				}
				begins := int64(len(lead) + strings.IndexFunc(secret, func(r rune) bool { return r > ' ' }))
				if id == "canary.found" || id == "secret.aws" && strings.HasPrefix(secret, "ASIA") || id == "secret.npm" || id == "secret.gcp" || id == "secret.stripe" || id == "secret.slack" {
					if passed > begins+6 { // what parts words is no part of it; a canary in base64 may begin within the first letters
						t.Errorf("%s in pieces of %d: %q was clear up to %d, and it begins at %d", id, size, text, passed, begins)
					}
				}
			}
		}
	}
}

// TestWorseWithin holds back what begins within something that is only alerted on.
func TestWorseWithin(t *testing.T) {
	key := "AKIA" + random(big32, 16, 1)
	for _, lead := range []string{"api_key = ", "token: \"", "DE12 3456 ", "4532 ", "eyJhbGciOiJSUzI1NiJ9.", "password=", "secret : '"} {
		for size := 1; size < 30; size++ {
			s, text, met := (&Answers{}).NewScanner(nil), lead+key+"\" and more", false
			for from := 0; from < len(text) && !met; from += size {
				found, clear := s.Add(text[from:min(len(text), from+size)])
				met = has(found, "secret.aws")
				if !met && clear > int64(len(lead)) {
					t.Errorf("%q in pieces of %d was clear up to %d", text, size, clear)
					break
				}
			}
			if !met && !has(s.End(), "secret.aws") {
				t.Errorf("%q in pieces of %d is not found", text, size)
			}
		}
	}
}

// TestCanaryAsJSON keeps a canary over its way through JSON.
func TestCanaryAsJSON(t *testing.T) {
	a, _ := watcher(t)
	text, err := json.Marshal(a)
	var back Answers
	if err == nil {
		err = json.Unmarshal(text, &back)
	}
	if err != nil || !has(back.Whole(bird, nil), "canary.found") {
		t.Error(err, string(text))
	}
}

// TestProseFlows holds nothing back of an answer that is prose.
func TestProseFlows(t *testing.T) {
	a := &Answers{}
	s := a.NewScanner(nil)
	end := int64(0)
	for word := range strings.FieldsSeq(strings.Repeat("Here is what to know about ghosts, sky light and Asian pears: they cost 12 euros. ", 20)) {
		_, clear := s.Add(" " + word)
		end += int64(len(word) + 1)
		if end-clear > 8 {
			t.Fatalf("behind %q %d bytes wait", word, end-clear)
		}
	}
	if found := s.End(); len(found) > 0 {
		t.Fatal(found)
	}
}

// TestRoomIsNotKept has a long piece of an answer not leave its room behind.
func TestRoomIsNotKept(t *testing.T) {
	s := (&Answers{}).NewScanner(nil)
	s.Add(strings.Repeat("word ", 1<<18))
	if cap(s.buf) > maxKept {
		t.Errorf("room for %d bytes is kept", cap(s.buf))
	}
}

// TestCanariesAreKept has no canary's text in what is kept of it, and refuses what is no
// canary.
func TestCanariesAreKept(t *testing.T) {
	a, _ := watcher(t)
	if said := fmt.Sprintf("%+v", a.Canaries); strings.Contains(said, "7f3kq9") {
		t.Error(said)
	}
	for _, text := range []string{"", "short", "aaaaaaaaaaaaaaaaaaaaaaaa", strings.Repeat("ab12", 40), "naïve-canary-0123456789"} {
		if _, err := NewCanary(text, make([]byte, saltSize)); err == nil {
			t.Errorf("%q is a canary", text)
		}
	}
	for _, c := range []Canary{{}, {Salt: make([]byte, saltSize), Forms: make([]CanaryForm, 8)}, {Salt: make([]byte, saltSize), Forms: []CanaryForm{{Size: 1 << 30, Sum: make([]byte, 32)}}}} {
		if c.Validate() == nil {
			t.Errorf("%+v is valid", c)
		}
	}
}

func FuzzScanner(f *testing.F) {
	for _, texts := range leaks {
		for _, text := range texts {
			f.Add(text, uint8(3))
		}
	}
	a, prints := watcher(f)
	f.Fuzz(func(t *testing.T, text string, size uint8) {
		whole := a.Whole(text, prints)
		s := a.NewScanner(prints)
		var pieces []Finding
		before := int64(0)
		for from := 0; from < len(text); from += int(size) + 1 {
			to := min(len(text), from+int(size)+1)
			found, clear := s.Add(text[from:to])
			pieces = append(pieces, found...)
			if clear < before || clear > int64(to) {
				t.Fatalf("clear went from %d to %d of %d", before, clear, to)
			}
			if before = clear; len(s.buf) > 8<<10 {
				t.Fatalf("%d bytes are kept", len(s.buf))
			}
		}
		pieces = append(pieces, s.End()...)
		for _, f := range whole {
			if !has(pieces, f.Rule) {
				t.Fatalf("in pieces of %d %v is not found in %q", size, f, text)
			}
		}
	})
}

func FuzzLook(f *testing.F) {
	for _, texts := range attacks {
		for _, text := range texts {
			f.Add(text)
		}
	}
	for _, text := range harmless {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, found := range Look(text) {
			if ruleAt(found.Rule) < 0 {
				t.Fatalf("%v is no rule", found)
			}
		}
	})
}

// BenchmarkScan is what it costs to read 2 KiB of an answer in pieces of five bytes.
func BenchmarkScan(b *testing.B) {
	a, prints := watcher(b)
	for name, text := range map[string]string{
		"prose": strings.Repeat("The card costs 12 euros a year; see the list of prices. ", 40)[:2048], "dots": strings.Repeat("eyJ.", 512), "hyphens": strings.Repeat("eyJ-", 512),
		"signs": strings.Repeat("=", 2048), "given": strings.Repeat("a=", 1024), "digits": strings.Repeat("4 ", 1024), "dashes": strings.Repeat("-----BEGIN ", 186),
	} {
		for kind, policy := range map[string]*Answers{"plain": {}, "canary": a} {
			b.Run(name+"/"+kind, func(b *testing.B) {
				began := processor()
				for b.Loop() {
					s := policy.NewScanner(prints)
					for from := 0; from < len(text); from += 5 {
						s.Add(text[from:min(len(text), from+5)])
					}
					s.End()
				}
				b.ReportMetric(float64(processor()-began)/float64(b.N), "cpu-ns/op")
			})
		}
	}
}
