package quote

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

// decode reads the text of a string without its quotes, by the two functions alone.
func decode[T string | []byte](text T) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(text); {
		end := Plain(text, i)
		b.WriteString(string(text[i:end]))
		if i = end; i == len(text) {
			break
		}
		if text[i] != '\\' {
			return "", false
		}
		r, n, hint, why := Escape(text, i)
		if (n == 0) != (why != "") || (why == "") != (hint == "") {
			panic("an escape that is neither right nor wrong")
		}
		if why != "" {
			return "", false
		}
		b.WriteRune(r)
		i += n
	}
	return b.String(), true
}

// check holds decode against encoding/json, which takes lone surrogates for U+FFFD.
func check(t *testing.T, text string) {
	t.Helper()
	got, ok := decode(text)
	if again, too := decode([]byte(text)); again != got || too != ok {
		t.Fatalf("%q: %q, %v as text, %q, %v as bytes", text, got, ok, again, too)
	}
	if !utf8.ValidString(text) {
		return
	}
	var want string
	err := json.Unmarshal([]byte(`"`+text+`"`), &want)
	switch {
	case ok && (err != nil || got != want):
		t.Fatalf("%q is read as %q, and by encoding/json as %q, %v", text, got, want, err)
	case !ok && err == nil && !strings.ContainsRune(want, utf8.RuneError):
		t.Fatalf("%q is refused, and read by encoding/json as %q", text, want)
	}
}

func TestStrings(t *testing.T) {
	for _, text := range []string{
		"", "a", "12345678", "123456789", `1234567"`, "1234567\n", `a\nb`, `\"\\\/\b\f\n\r\t`, `\u0041`, `\u00e9\u00E9`, `\ud83d\ude00`, `\uD83D\uDE00x`,
		`\ud83d`, `\ude00\ud83d`, `\ud83d\n`, `\ud83dx`, `\u12`, `\u12g4`, `\U0041`, `\x41`, `\`, `\\\`, "é日本\U0001f600 and so on", "\x7f\u2028",
	} {
		check(t, text)
	}
	for c := range 256 {
		for at := range 10 {
			b := []byte("0123456789")
			b[at] = byte(c)
			want := at
			if c >= ' ' && c != '"' && c != '\\' {
				want = len(b)
			}
			if got := Plain(b, 0); got != want {
				t.Fatalf("%q is plain to %d, want %d", b, got, want)
			}
		}
	}
}

func TestInvalidAndUnprintable(t *testing.T) {
	for text, want := range map[string]int{"\xff": 0, "a\xff": 1, "é日\xe6\x97": 5, "a\xed\xa0\x80": 1, "a\ufffd\xc0\x80": 4} {
		if got := Invalid([]byte(text)); got != want {
			t.Errorf("%q is invalid from %d, want %d", text, got, want)
		}
	}
	for text, want := range map[string]rune{"": 0, "a name": 0, "é日\U0001f600": 0, "a\x00": -1, "b\u202ec": '\u202e', "\x7f": '\x7f', "a\u00a0": '\u00a0'} {
		r, bad := Unprintable([]byte(text))
		if bad != (want != 0) || want > 0 && r != want {
			t.Errorf("%q: %U, %v", text, r, bad)
		}
	}
}

func FuzzStrings(f *testing.F) {
	for _, text := range []string{`a\nb`, `\ud83d\ude00`, `\ud83d`, "1234567\x1f", `\u00e`} {
		f.Add(text)
	}
	f.Fuzz(check)
}
