package prompt

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"github.com/pavise/pavise"
)

// A Canary is a text that must never come out of a model, kept so that whoever reads it
// here does not learn the text: keyed digests of its letters and digits, as they stand,
// backwards, in ROT13, in hexadecimal digits and in base64. A text that can be guessed
// can be tried against the digests; canaries are random.
type Canary struct {
	Salt  []byte       `json:"salt"`
	Forms []CanaryForm `json:"forms"`
}

// A CanaryForm is a canary in one way of writing.
type CanaryForm struct {
	Size int    `json:"size"`        // letters and digits
	Weak uint64 `json:"weak,string"` // a rolling hash of them
	Sum  []byte `json:"sum"`         // HMAC-SHA-256 of them, by the salt
}

const (
	minCanary  = 12 // letters and digits of a canary, at least
	maxCanary  = 128
	maxForms   = 7
	saltSize   = 16
	maxWindow  = 2 * maxCanary // letters and digits of the longest form
	mersenne61 = 1<<61 - 1
)

// saltOf is the salt of a canary: another one for each text and route, and always the same,
// so that a route which is put again is the same route.
func saltOf(route, text string) []byte {
	mac := hmac.New(sha256.New, []byte("pavise canary salt\x00"+route))
	mac.Write([]byte(text))
	return mac.Sum(nil)[:saltSize]
}

// NewCanary makes a canary of a text. salt is 16 bytes. The error is of kind
// Invalid: the text has too few or too many letters and digits, or others.
func NewCanary(text string, salt []byte) (Canary, error) {
	refuse := func(format string, args ...any) (Canary, error) {
		return Canary{}, &pavise.Error{Kind: pavise.Invalid, Msg: "canary: " + fmt.Sprintf(format, args...), Hint: fmt.Sprintf("choose %d to %d random letters and digits of ASCII", minCanary, maxCanary)}
	}
	for _, r := range text {
		if r < ' ' || r > '~' {
			return refuse("a text that holds %U", r)
		}
	}
	letters := squeeze(text)
	if len(letters) < minCanary || len(text) > maxCanary {
		return refuse("a text of %d bytes, with %d letters and digits", len(text), len(letters))
	}
	if entropy([]byte(letters)) < 2 {
		return refuse("a text that says little: answers would meet it by chance")
	}
	c := Canary{Salt: slices.Clone(salt)}
	forms := []string{letters, reversed(letters), rot13(letters), hex.EncodeToString([]byte(text))}
	for k := range 3 { // base64 of the text behind 0, 1 or 2 other bytes, without what those or later ones change
		all := base64.StdEncoding.EncodeToString(append(make([]byte, k), text...))
		forms = append(forms, squeeze(all[(k*4+2)/3:(k+len(text))*8/6]))
	}
	for _, form := range forms {
		if len(form) >= minCanary {
			c.Forms = append(c.Forms, CanaryForm{Size: len(form), Weak: rolled(form, c.base()), Sum: c.sum([]byte(form))})
		}
	}
	return c, nil
}

// Validate refuses what NewCanary does not make.
func (c Canary) Validate() error {
	ok := len(c.Salt) == saltSize && len(c.Forms) > 0 && len(c.Forms) <= maxForms
	for _, f := range c.Forms {
		ok = ok && f.Size >= minCanary && f.Size <= maxWindow && f.Weak < mersenne61 && len(f.Sum) == sha256.Size
	}
	if !ok {
		return &pavise.Error{Kind: pavise.Invalid, Msg: "a canary that is not in the form that it is kept in", Hint: "put the texts; they are digested here"}
	}
	return nil
}

// base is the base of the rolling hash.
func (c Canary) base() uint64 {
	sum := sha256.Sum256(append([]byte("pavise canary base\x00"), c.Salt...))
	b := uint64(0)
	for _, x := range sum[:7] {
		b = b<<8 | uint64(x)
	}
	return b%(mersenne61-1<<20) + 1<<16
}

func (c Canary) sum(letters []byte) []byte {
	mac := hmac.New(sha256.New, c.Salt)
	mac.Write(letters)
	return mac.Sum(nil)
}

// squeeze is a text as canaries are compared: its letters and digits, in lower case.
func squeeze(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x80 && isAlnum(byte(r)) {
			return rune(lowered(byte(r)))
		}
		return -1
	}, s)
}

func lowered(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// rolled is the hash of Karp and Rabin (1987) over the prime 2^61-1.
func rolled(s string, base uint64) (h uint64) {
	for i := range len(s) {
		h = reduce(times(h, base) + uint64(s[i]))
	}
	return h
}

func reduce(x uint64) uint64 {
	x = x&mersenne61 + x>>61
	if x >= mersenne61 {
		x -= mersenne61
	}
	return x
}

func times(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return reduce(lo&mersenne61 + (hi<<3 | lo>>61))
}

// A watch looks for canaries in the letters and digits of a text.
type watch struct {
	ring    []byte  // the last letters and digits, at least as many as the longest form has: a power of two
	offset  []int64 // and where they stand
	n       int     // how many there were
	longest int
	windows []window
}

// A window is the hash of the last letters and digits, of which there are as many as a
// form has.
type window struct {
	canary *Canary
	form   *CanaryForm
	base   uint64
	out    uint64 // base to the power of size
	hash   uint64
}

func newWatch(list []Canary) *watch {
	w := &watch{}
	for i := range list {
		c := &list[i]
		base := c.base()
		for j := range c.Forms {
			f := &c.Forms[j]
			out := uint64(1)
			for range f.Size {
				out = times(out, base)
			}
			w.windows = append(w.windows, window{canary: c, form: f, base: base, out: out})
			w.longest = max(w.longest, f.Size)
		}
	}
	size := 1 << bits.Len(uint(w.longest))
	w.ring, w.offset = make([]byte, size), make([]int64, size)
	return w
}

// at is where in the ring the letter or digit of such a number stands.
func (w *watch) at(n int) int { return n & (len(w.ring) - 1) }

// add reads text, which stands at from, and reports whether a canary ended in it.
func (w *watch) add(text string, from int64) (found bool) {
	for i := range len(text) {
		c := text[i]
		if c >= 0x80 || !isAlnum(c) {
			continue
		}
		c = lowered(c)
		for j := range w.windows {
			win := &w.windows[j]
			win.hash = reduce(times(win.hash, win.base) + uint64(c))
			if w.n >= win.form.Size {
				gone := uint64(w.ring[w.at(w.n-win.form.Size)])
				win.hash = reduce(win.hash + mersenne61 - times(gone, win.out))
			}
		}
		w.ring[w.at(w.n)], w.offset[w.at(w.n)] = c, from+int64(i)
		w.n++
		for j := range w.windows {
			win := &w.windows[j]
			if win.hash == win.form.Weak && w.n >= win.form.Size && hmac.Equal(win.canary.sum(w.last(win.form.Size)), win.form.Sum) {
				found = true
			}
		}
	}
	return found
}

// last are the last n letters and digits.
func (w *watch) last(n int) []byte {
	b := make([]byte, 0, n)
	for i := w.n - n; i < w.n; i++ {
		b = append(b, w.ring[w.at(i)])
	}
	return b
}

// clear is up to where no canary can have begun that has not ended; end is the text's.
func (w *watch) clear(end int64) int64 {
	n := min(w.n, w.longest-1)
	if n <= 0 {
		return end
	}
	return w.offset[w.at(w.n-n)]
}
