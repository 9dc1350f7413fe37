package prompt

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"hash/crc32"
	"math"
	"slices"
	"strings"
)

// A Secret is something that an answer should not hold.
type Secret struct {
	ID     string // family.name
	Why    string // a sentence, for people
	Action Action // what follows by default
}

// secrets are all that an answer is looked at for.
var secrets = []Secret{
	{"secret.aws", "The id of an access key of AWS: its prefix, its alphabet, its length.", Refuse},
	{"secret.gcp", "An API key of Google: its prefix and its length.", Refuse},
	{"secret.azure", "The key of an account or a bus of Azure, as connection strings hold it.", Refuse},
	{"secret.github", "A token of GitHub whose checksum is right, or a fine-grained one by its form.", Refuse},
	{"secret.gitlab", "A personal token of GitLab, by its form.", Alert},
	{"secret.slack", "A token of Slack, by its form.", Refuse},
	{"secret.stripe", "A live key of Stripe, by its form.", Refuse},
	{"secret.npm", "A token of npm whose checksum is right.", Refuse},
	{"secret.pypi", "A token of PyPI: a macaroon that names it.", Refuse},
	{"secret.model", "A key of a provider of models, by its form.", Refuse},
	{"secret.jwt", "A signed JSON Web Token: its header names an algorithm.", Alert},
	{"secret.pem", "A private key in PEM, with its first line.", Refuse},
	{"secret.assigned", "Something that looks random is given to a name such as password.", Observe},
	{"pii.card", "The number of a payment card: its issuer and its check digit are right.", Alert},
	{"pii.iban", "The number of a bank account: its country's length and its check digits are right.", Alert},
	{"canary.found", "One of the route's canaries, in some form.", Refuse},
	{"leak.system", "Much of the request's own system message, word by word.", Observe},
}

// Where in the table those stand that no prefix names.
var (
	aJWT       = at("secret.jwt")
	pemKey     = at("secret.pem")
	givenValue = at("secret.assigned")
	cardNumber = at("pii.card")
	ibanNumber = at("pii.iban")
	aCanary    = at("canary.found")
	aLeak      = at("leak.system")
)

func at(id string) int {
	return slices.IndexFunc(secrets, func(s Secret) bool { return s.ID == id })
}

// Secrets are the rules on answers.
func Secrets() []Secret { return slices.Clone(secrets) }

// A token is a form of a key: a prefix, and so many characters of an alphabet behind it.
type token struct {
	secret   int
	prefix   string
	min, max int
	of       func(c byte) bool
	check    func(whole []byte) bool // nil: it only must not be made up
}

var keyTokens = []token{
	{at("secret.aws"), "AKIA", 16, 16, isBase32, nil},
	{at("secret.aws"), "ASIA", 16, 16, isBase32, nil},
	{at("secret.gcp"), "AIza", 35, 35, isURL64, nil},
	{at("secret.azure"), "AccountKey=", 86, 88, isBase64, nil},
	{at("secret.azure"), "SharedAccessKey=", 43, 44, isBase64, nil},
	{at("secret.github"), "ghp_", 36, 36, isAlnum, checksum},
	{at("secret.github"), "gho_", 36, 36, isAlnum, checksum},
	{at("secret.github"), "ghu_", 36, 36, isAlnum, checksum},
	{at("secret.github"), "ghs_", 36, 36, isAlnum, checksum},
	{at("secret.github"), "ghr_", 36, 36, isAlnum, checksum},
	{at("secret.github"), "github_pat_", 82, 82, isWord, nil},
	{at("secret.gitlab"), "glpat-", 20, 64, isURL64, nil},
	{at("secret.slack"), "xoxb-", 24, 128, isURL64, slack},
	{at("secret.slack"), "xoxp-", 24, 128, isURL64, slack},
	{at("secret.slack"), "xoxa-", 24, 128, isURL64, slack},
	{at("secret.slack"), "xoxs-", 24, 128, isURL64, slack},
	{at("secret.slack"), "xapp-", 24, 160, isURL64, slack},
	{at("secret.stripe"), "sk_live_", 24, 128, isAlnum, nil},
	{at("secret.stripe"), "rk_live_", 24, 128, isAlnum, nil},
	{at("secret.npm"), "npm_", 36, 36, isAlnum, checksum},
	{at("secret.pypi"), "pypi-", 50, 512, isURL64, pypi},
	{at("secret.model"), "sk-ant-", 80, 160, isURL64, nil},
	{at("secret.model"), "sk-proj-", 40, 256, isURL64, nil},
	{at("secret.model"), "hf_", 34, 34, isAlnum, nil},
	{at("secret.jwt"), "eyJ", 40, 4096, func(c byte) bool { return isURL64(c) || c == '.' }, jwt},
}

// tokensBy are those forms by their first bytes.
var tokensBy = func() (by [256][]*token) {
	for i := range keyTokens {
		t := &keyTokens[i]
		by[t.prefix[0]] = append(by[t.prefix[0]], t)
	}
	return by
}()

func isBase32(c byte) bool { return c >= 'A' && c <= 'Z' || c >= '2' && c <= '7' }
func isAlnum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}
func isWord(c byte) bool   { return isAlnum(c) || c == '_' }
func isURL64(c byte) bool  { return isAlnum(c) || c == '_' || c == '-' }
func isBase64(c byte) bool { return isAlnum(c) || c == '+' || c == '/' || c == '=' }

// maxHeader bounds the first part of a token of three, so that what only begins as one is
// not held for long.
const maxHeader = 512

// A match is what a matcher says of text that begins where a secret may.
type match int

const (
	none match = iota
	open       // what follows will tell
	hit
)

// try matches b against the form, and returns how long a hit is. final says that nothing
// follows b.
func (t *token) try(b []byte, final bool) (match, int) {
	if len(b) < len(t.prefix) {
		if !final && strings.HasPrefix(t.prefix, string(b)) {
			return open, 0
		}
		return none, 0
	}
	if string(b[:len(t.prefix)]) != t.prefix {
		return none, 0
	}
	n := len(t.prefix)
	for dots := 0; n < len(b) && t.of(b[n]) && n-len(t.prefix) <= t.max; n++ {
		if b[n] == '.' {
			dots++
		}
		if dots > 2 || dots == 0 && t.secret == aJWT && n > maxHeader {
			break
		}
	}
	switch size := n - len(t.prefix); {
	case size > t.max, t.secret == aJWT && n < len(b) && t.of(b[n]):
		return none, 0
	case n == len(b) && !final:
		return open, 0
	case size < t.min || madeUp(b[len(t.prefix):n]):
		return none, 0
	case t.check != nil && !t.check(b[:n]):
		return none, 0
	}
	return hit, n
}

// madeUp reports whether a key is one that people write who mean none: it says so, or has
// few different characters.
func madeUp(b []byte) bool {
	low := bytes.ToLower(b)
	for _, word := range []string{"example", "xxxx", "placeholder", "your", "0000000", "1234567", "abcdefgh", "redacted", "dummy"} {
		if bytes.Contains(low, []byte(word)) {
			return true
		}
	}
	return entropy(b) < 2.5
}

// entropy is the Shannon entropy of the bytes, in bits for each.
func entropy(b []byte) float64 {
	var counts [256]uint16 // small: this may run where ten thousand streams wait, and their stacks keep what they grew to
	for _, c := range b {
		counts[c]++
	}
	h := 0.0
	for _, n := range counts {
		if n > 0 {
			p := float64(n) / float64(len(b))
			h -= p * math.Log2(p)
		}
	}
	return h
}

// checksum reports whether the last six characters of a token of GitHub or npm are the
// CRC-32 of the thirty before them, in base 62 (GitHub, "Behind GitHub's new
// authentication token formats", 2021).
func checksum(whole []byte) bool {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	body := whole[len(whole)-36 : len(whole)-6]
	sum := crc32.ChecksumIEEE(body)
	for i := len(whole) - 1; i >= len(whole)-6; i-- {
		if whole[i] != digits[sum%62] {
			return false
		}
		sum /= 62
	}
	return true
}

// slack reports whether a token has the parts that Slack's have.
func slack(whole []byte) bool {
	parts := bytes.Split(whole, []byte("-"))
	return len(parts) >= 3 && len(parts[1]) > 0 && (parts[1][0] >= '0' && parts[1][0] <= '9')
}

// pypi reports whether the macaroon names pypi.org, or its place for tests.
func pypi(whole []byte) bool {
	body := whole[len("pypi-"):]
	raw, err := base64.RawURLEncoding.DecodeString(string(body[:len(body)&^3]))
	return err == nil && bytes.Contains(raw[:min(len(raw), 32)], []byte("pypi.org"))
}

// jwt reports whether there are three parts, and the first is a header with an algorithm.
func jwt(whole []byte) bool {
	parts := bytes.Split(whole, []byte("."))
	if len(parts) != 3 || len(parts[1]) < 8 || len(parts[2]) < 16 {
		return false
	}
	raw, err := base64.RawURLEncoding.DecodeString(string(parts[0]))
	var header struct {
		Alg string `json:"alg"`
	}
	return err == nil && json.Unmarshal(raw, &header) == nil && header.Alg != "" && header.Alg != "none"
}

// pem matches the head of a private key and its first line. Where strings are quoted the
// line ends as \n.
func pem(b []byte, final bool) (match, int) {
	const begin, end, room = "-----BEGIN ", "PRIVATE KEY", 300
	if len(b) < len(begin) {
		if !final && strings.HasPrefix(begin, string(b)) {
			return open, 0
		}
		return none, 0
	}
	if string(b[:len(begin)]) != begin {
		return none, 0
	}
	more := none // what to say when too little is there
	if !final && len(b) < room {
		more = open
	}
	at := bytes.Index(b[:min(len(b), 64)], []byte(end))
	if at < 0 {
		if len(b) < 64 {
			return more, 0
		}
		return none, 0
	}
	run := 0
	for i := at + len(end); i < min(len(b), room); i++ {
		if run++; !isBase64(b[i]) {
			run = 0
		}
		if run == 40 {
			if madeUp(b[i-39 : i+1]) {
				return none, 0
			}
			return hit, i + 1
		}
	}
	return more, 0
}

// testCards are numbers that are printed for tests.
var testCards = []string{"4111111111111111", "4242424242424242", "4012888888881881", "5555555555554444", "5105105105105100", "378282246310005", "371449635398431", "6011111111111117", "6011000990139424", "3530111333300000", "4000056655665556", "2223003122003222"}

// card matches the number of a payment card: ISO/IEC 7812, with single spaces or hyphens.
func card(b []byte, final bool) (match, int) {
	var digits []byte
	n, end := 0, 0
	for n < len(b) && len(digits) < 20 {
		switch c := b[n]; {
		case c >= '0' && c <= '9':
			digits = append(digits, c)
			n++
			end = n
			continue
		case (c == ' ' || c == '-') && n == end && n > 0:
			n++
			continue
		}
		break
	}
	if n == len(b) && !final && len(digits) < 20 {
		return open, 0
	}
	if end < len(b) && isWord(b[end]) || len(digits) < 13 || len(digits) > 19 || !issued(string(digits)) || entropy(digits) < 1.5 {
		return none, 0
	}
	for _, test := range testCards {
		if string(digits) == test {
			return none, 0
		}
	}
	sum := 0
	for i := range digits {
		d := int(digits[len(digits)-1-i] - '0')
		if i%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	if sum%10 != 0 {
		return none, 0
	}
	return hit, end
}

// issued reports whether a number begins and is as long as those of an issuer.
func issued(d string) bool {
	n := len(d)
	switch two := d[:2]; {
	case d[0] == '4':
		return n == 16 || n == 13 || n == 19
	case two >= "51" && two <= "55", d[:4] >= "2221" && d[:4] <= "2720":
		return n == 16
	case two == "34", two == "37":
		return n == 15
	case d[:4] == "6011", two == "65", two == "35":
		return n == 16
	case two == "36", two == "38":
		return n == 14
	case two == "62":
		return n >= 16
	}
	return false
}

// ibanSizes are the lengths of account numbers, by country (SWIFT's IBAN registry).
var ibanSizes = map[string]int{"AD": 24, "AE": 23, "AT": 20, "BE": 16, "BG": 22, "BR": 29, "CH": 21, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "EE": 20, "ES": 24, "FI": 18, "FR": 27, "GB": 22, "GR": 27, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IS": 26, "IT": 27, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "MC": 27, "MT": 31, "NL": 18, "NO": 15, "PL": 28, "PT": 25, "RO": 24, "SA": 24, "SE": 24, "SI": 19, "SK": 24, "TR": 26, "UA": 29}

// iban matches the number of a bank account: ISO 13616, with single spaces.
func iban(b []byte, final bool) (match, int) {
	for i := range min(len(b), 4) {
		if c := b[i]; i < 2 && (c < 'A' || c > 'Z') || i >= 2 && (c < '0' || c > '9') {
			return none, 0
		}
	}
	if len(b) < 4 {
		if final {
			return none, 0
		}
		return open, 0
	}
	size := ibanSizes[string(b[:2])]
	if size == 0 {
		return none, 0
	}
	var digits []byte
	n := 0
	for n < len(b) && len(digits) < size {
		c := b[n]
		if c == ' ' && b[n-1] != ' ' {
			n++
			continue
		}
		if c < '0' || c > '9' && c < 'A' || c > 'Z' {
			return none, 0
		}
		digits = append(digits, c)
		n++
	}
	switch {
	case n == len(b) && !final:
		return open, 0
	case len(digits) < size, n < len(b) && isWord(b[n]), !mod97(digits):
		return none, 0
	}
	return hit, n
}

// mod97 checks the digits of ISO 7064.
func mod97(iban []byte) bool {
	rest := 0
	for i := range iban {
		c := iban[(i+4)%len(iban)]
		if c >= 'A' {
			rest = (rest*100 + int(c-'A') + 10) % 97
		} else {
			rest = (rest*10 + int(c-'0')) % 97
		}
	}
	return rest == 1
}

// assigned matches, behind = or :, a value that looks random, if the name before it
// speaks of a secret. before is what stands before the sign.
func assigned(before, b []byte, final bool) (match, int) {
	name := strings.ToLower(string(bytes.TrimRight(before, " \"'`")))
	if cut := strings.LastIndexAny(name, " \n\t{,;(\"'"); cut >= 0 {
		name = name[cut+1:]
	}
	if !containsAny(name, "passw", "secret", "token", "api_key", "apikey", "api-key", "access_key", "accesskey", "private_key", "pwd") {
		return none, 0
	}
	n := 0
	for n < len(b) && n < 4 && strings.IndexByte(" \"'`", b[n]) >= 0 {
		n++
	}
	from := n
	for n < len(b) && n-from < 128 && (isBase64(b[n]) || isURL64(b[n])) {
		n++
	}
	value := b[from:n]
	switch {
	case n == len(b) && !final && n-from < 128:
		return open, 0
	case len(value) < 16, madeUp(value), entropy(value) < 3.5, !bytes.ContainsAny(value, "0123456789"):
		return none, 0
	}
	return hit, n
}
