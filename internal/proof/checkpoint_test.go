package proof

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/pavise/pavise"
)

// signText makes a note of any text, as a signer who does not look at it would.
func signText(t testing.TB, text string, signers ...*Signer) []byte {
	t.Helper()
	var timed []note.Signer
	for _, s := range signers {
		timed = append(timed, s.at(testTime))
	}
	signed, err := note.Sign(&note.Note{Text: text}, timed...)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// TestSignedCheckpointOpens: what Sign makes, each signer's key opens, with the time
// of a cosignature and none of a log's plain one.
func TestSignedCheckpointOpens(t *testing.T) {
	signers := allSigners(t)
	for _, size := range []uint64{0, 1, 255, 1 << 62} {
		cp, err := Sign("example.com/log", size, testRoot(9), testTime, signers...)
		if err != nil {
			t.Fatal(err)
		}
		var keys []*Key
		for _, s := range signers {
			keys = append(keys, s.Key())
			got, sigs, err := Open(cp.Note, s.Key())
			if err != nil || got.Origin != "example.com/log" || got.Size != size || got.Root != testRoot(9) || !bytes.Equal(got.Note, cp.Note) {
				t.Fatalf("size %d, %s: %+v, %v", size, s.Key().Algorithm(), got, err)
			}
			want := testTime
			if s.Key().Algorithm() == Ed25519 {
				want = time.Time{}
			}
			if len(sigs) != 1 || sigs[0].Key != s.Key() || !sigs[0].At.Equal(want) {
				t.Errorf("size %d, %s: signatures %+v", size, s.Key().Algorithm(), sigs)
			}
		}
		if _, sigs, err := Open(cp.Note, keys...); err != nil || len(sigs) != len(keys) {
			t.Errorf("all at once: %d signatures, %v", len(sigs), err)
		}
		if again, err := Parse(cp.Note); err != nil || again.Root != cp.Root || again.Size != size {
			t.Errorf("parsed as %+v, %v", again, err)
		}
	}
}

// TestZeroTimeIsNoTime: a signature that claims no time is told from one that was
// made, and none that Cosign makes is of that sort.
func TestZeroTimeIsNoTime(t *testing.T) {
	for _, s := range allSigners(t)[1:] {
		cp, err := Sign("example.com/log", 4, testRoot(4), time.Time{}, s)
		if err != nil {
			t.Fatal(err)
		}
		if _, sigs, err := Open(cp.Note, s.Key()); err != nil || len(sigs) != 1 || !sigs[0].At.IsZero() {
			t.Errorf("%s: %+v, %v", s.Key().Algorithm(), sigs, err)
		}
		for _, at := range []time.Time{{}, time.Unix(0, 0), time.Unix(-5, 0), time.Unix(1, 0)} {
			lines, err := Cosign(cp.Note, at, s)
			if err != nil {
				t.Fatal(err)
			}
			bare := fmt.Appendf(nil, "%s\n%s", cp.text(), lines)
			if _, sigs, err := Open(bare, s.Key()); err != nil || sigs[0].At.Unix() != 1 {
				t.Errorf("%s, cosigned at %v: %+v, %v", s.Key().Algorithm(), at, sigs, err)
			}
		}
	}
}

// TestPlainSignatureHasNoTime: what a log's own signature begins with is no time, even
// if it looks like one.
func TestPlainSignatureHasNoTime(t *testing.T) {
	k := testLog(t, "example.com/log", 1).Key()
	raw := make([]byte, 4+64)
	raw[10] = 1 // behind the id, 256 seconds
	sigs, err := checked([]note.Signature{{Name: k.name, Hash: k.id, Base64: base64.StdEncoding.EncodeToString(raw)}}, []*Key{k})
	if err != nil || len(sigs) != 1 || !sigs[0].At.IsZero() {
		t.Errorf("%+v, %v", sigs, err)
	}
}

// TestMalformedCheckpointIsRefusedThoughSigned: the log's own signature does not
// make a checkpoint of what is none.
func TestMalformedCheckpointIsRefusedThoughSigned(t *testing.T) {
	s := testLog(t, "example.com/log", 1)
	root := base64.StdEncoding.EncodeToString(make([]byte, 32))
	for _, size := range []string{"", "01", "00", "-1", "-0", "+1", " 1", "1 ", "1e3", "0x1", "1_0", "1.0", "4611686018427387905", "9223372036854775807", "9223372036854775808", "18446744073709551616", "١"} {
		refusedThoughSigned(t, s, "example.com/log\n"+size+"\n"+root+"\n")
	}
	for _, bad := range []string{
		"", root[:43], root[:40], root + "A", root + "=", "=" + root, root[:42] + "B=", strings.TrimRight(root, "="), root + " ", " " + root,
		base64.StdEncoding.EncodeToString(make([]byte, 31)), base64.StdEncoding.EncodeToString(make([]byte, 33)), strings.Repeat("_", 43) + "=", root[:20] + "\u2028" + root[20:],
	} {
		refusedThoughSigned(t, s, "example.com/log\n1\n"+bad+"\n")
	}
	for _, text := range []string{
		"example.com/log\n", "example.com/log\n1\n", "\n1\n" + root + "\n", "example.com/log\n\n1\n" + root + "\n",
		"example.com/log\n1\n" + root + "\n\n", "example.com/log\n1\n" + root + "\n\nextension\n", "example.com/log\n1\n" + root + "\na\n\nb\n",
		"1\n" + root + "\n", "example.com/log\n" + root + "\n1\n",
	} {
		refusedThoughSigned(t, s, text)
	}
	for _, text := range []string{"example.com/log\n1\n" + root + "\n", "example.com/log\n1\n" + root + "\nextension\nanother one\n"} {
		if cp, err := OpenSigned(signText(t, text, s), s.Key()); err != nil || cp.Size != 1 {
			t.Errorf("%q is refused: %v", text, err)
		}
	}
}

func refusedThoughSigned(t *testing.T, s *Signer, text string) {
	t.Helper()
	signed := signText(t, text, s)
	if cp, _, err := Open(signed, s.Key()); pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("%q opens as %+v, %v", text, cp, err)
	}
	if cp, err := Parse(signed); pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("%q parses as %+v, %v", text, cp, err)
	}
}

// TestMalformedNoteIsRefused lists notes that are broken outside of their text.
func TestMalformedNoteIsRefused(t *testing.T) {
	s := testLog(t, "example.com/log", 1)
	cp, err := Sign("example.com/log", 5, testRoot(5), testTime, s)
	if err != nil {
		t.Fatal(err)
	}
	whole := string(cp.Note)
	line := whole[strings.Index(whole, "— "):]
	encoded := strings.Fields(line)[2]
	other := encoded[:len(encoded)-2] + string(encoded[len(encoded)-2]+1) + "="
	if a, _ := base64.StdEncoding.DecodeString(encoded); true {
		if b, err := base64.StdEncoding.DecodeString(other); err != nil || !bytes.Equal(a, b) {
			t.Fatalf("%s is not %s in another spelling", other, encoded)
		}
	}
	for name, text := range map[string]string{
		"nothing":                          "",
		"no signature":                     cp.text(),
		"no signature behind the blank":    cp.text() + "\n",
		"no line end":                      strings.TrimSuffix(whole, "\n"),
		"bytes behind":                     whole + "x",
		"a line behind":                    whole + "x\n",
		"a blank line behind":              whole + "\n",
		"returns":                          strings.ReplaceAll(whole, "\n", "\r\n"),
		"a NUL":                            strings.Replace(whole, "example", "exam\x00ple", 1),
		"no UTF-8":                         strings.Replace(whole, "example", "exam\xffple", 1),
		"a plain dash":                     strings.Replace(whole, "— ", "- ", 1),
		"two spaces":                       strings.Replace(whole, "log ", "log  ", 1),
		"another spelling of base64":       strings.Replace(whole, encoded, other, 1),
		"another name":                     strings.Replace(whole, "— example.com/log", "— example.com/lag", 1),
		"too long":                         whole + strings.Repeat("— x AAAAAAAA\n", MaxNote/15),
		"a hundred signatures more":        whole + strings.Repeat("— x AAAAAAAA\n", 100),
		"a broken signature of a stranger": whole + "— x AAAA\n",
	} {
		if got, _, err := Open([]byte(text), s.Key()); pavise.KindOf(err) != pavise.Unverified {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	endless := signText(t, cp.text()+strings.Repeat("x", MaxNote)+"\n", s)
	if _, _, err := Open(endless, s.Key()); pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("a note of %d bytes, signed: %v", len(endless), err)
	}
	if _, _, err := Open(cp.Note); pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("with no key known: %v", err)
	}
	if _, err := Parse(append(bytes.Clone(cp.Note), make([]byte, MaxNote)...)); err == nil {
		t.Error("Parse reads a note of any length")
	}
	if _, err := Cosign([]byte(cp.text()), testTime, testCosigner(t, "w", 1)); pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("cosigned what bears no signature: %v", err)
	}
}

// TestSixteenPostQuantumSignaturesFit: a verifier takes as many signatures as the
// specification asks for, of the largest kind, although it knows none of them.
func TestSixteenPostQuantumSignaturesFit(t *testing.T) {
	log := testLog(t, "example.com/log", 1)
	cp, err := Sign("example.com/log", 5, testRoot(5), testTime, log)
	if err != nil {
		t.Fatal(err)
	}
	long := bytes.Clone(cp.Note)
	for i := range byte(16) {
		mldsa87 := append(make([]byte, 4+8), bytes.Repeat([]byte{i}, 4627)...)
		long = append(long, "— example.com/pq "+base64.StdEncoding.EncodeToString(mldsa87)+"\n"...)
	}
	if got, sigs, err := Open(long, log.Key()); err != nil || got.Size != 5 || len(sigs) != 1 {
		t.Errorf("%+v, %+v, %v", got, sigs, err)
	}
}

// TestWrongKeyOpensNothing: not a key of another name, nor the right name's other
// key, and a log's checkpoint is its own even if its key signed another's.
func TestWrongKeyOpensNothing(t *testing.T) {
	s := testLog(t, "example.com/log", 1)
	cp, err := Sign("example.com/log", 5, testRoot(5), testTime, s)
	if err != nil {
		t.Fatal(err)
	}
	for name, other := range map[string]*Signer{
		"the name with another key":       testLog(t, "example.com/log", 2),
		"the key under another name":      testLog(t, "example.com/lag", 1),
		"the key under another algorithm": testCosigner(t, "example.com/log", 1),
	} {
		if got, err := OpenSigned(cp.Note, other.Key()); pavise.KindOf(err) != pavise.Unverified {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	foreign, err := Sign("example.com/other", 5, testRoot(5), testTime, s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenSigned(foreign.Note, s.Key()); pavise.KindOf(err) != pavise.Unverified || !strings.Contains(err.Error(), "is of log") {
		t.Errorf("the checkpoint of another origin: %v", err)
	}
	if _, sigs, err := Open(foreign.Note, s.Key()); err != nil || len(sigs) != 1 {
		t.Errorf("Open leaves the origin to its caller: %v", err)
	}
}

// TestSignatureUnderAKnownNameMustHold: a false signature in the name and id of a
// known key spoils the note although others hold, and one of a stranger does not.
func TestSignatureUnderAKnownNameMustHold(t *testing.T) {
	log, witness := testLog(t, "example.com/log", 1), testCosigner(t, "example.com/w", 2)
	cp, err := Sign("example.com/log", 5, testRoot(5), testTime, log)
	if err != nil {
		t.Fatal(err)
	}
	forged := append(bytes.Clone(cp.Note), signatureLine(witness.Key(), make([]byte, 72))...)
	if _, _, err := Open(forged, log.Key(), witness.Key()); pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("with the witness known: %v", err)
	}
	if _, sigs, err := Open(forged, log.Key()); err != nil || len(sigs) != 1 {
		t.Errorf("with the witness unknown: %+v, %v", sigs, err)
	}
}

// TestSignatureCountsOnce: the same line twice, two signatures of one key, and one
// key known twice make one signature.
func TestSignatureCountsOnce(t *testing.T) {
	w := testCosigner(t, "example.com/w", 2)
	cp, err := Sign("example.com/log", 5, testRoot(5), testTime, w)
	if err != nil {
		t.Fatal(err)
	}
	later, err := Cosign(cp.Note, testTime.Add(time.Hour), w)
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseKey(w.Key().String())
	if err != nil {
		t.Fatal(err)
	}
	line := cp.Note[bytes.Index(cp.Note, []byte("— ")):]
	for name, text := range map[string][]byte{
		"once": cp.Note, "twice": append(bytes.Clone(cp.Note), line...), "at two times": append(bytes.Clone(cp.Note), later...),
	} {
		for _, known := range [][]*Key{{w.Key()}, {w.Key(), w.Key()}, {w.Key(), again}} {
			_, sigs, err := Open(text, known...)
			if err != nil || len(sigs) != 1 || sigs[0].Key != w.Key() || !sigs[0].At.Equal(testTime) {
				t.Errorf("%s, known %d times: %+v, %v", name, len(known), sigs, err)
			}
		}
	}
}

// TestEveryBitOfACheckpointCounts flips each bit of signed checkpoints. Whatever
// still opens, because the bit was in a stranger's line or in an extension that an
// ML-DSA-44 cosigner does not sign, is the same tree under the same signature.
func TestEveryBitOfACheckpointCounts(t *testing.T) {
	log, pq, stranger := testLog(t, "example.com/log", 1), testMLDSA(t, "example.com/log", 1), testCosigner(t, "example.com/w", 2)
	text := Checkpoint{Origin: "example.com/log", Size: 1234, Root: testRoot(1)}.text()
	for name, tt := range map[string]struct {
		note     []byte
		key      *Key
		harmless []byte // the part that may change
	}{
		"the log alone":             {signText(t, text, log), log.Key(), nil},
		"the log and a stranger":    {signText(t, text, log, stranger), log.Key(), []byte("— example.com/w ")},
		"a cosigner and a stranger": {signText(t, text, stranger, log), stranger.Key(), []byte("— example.com/log ")},
		"ML-DSA-44":                 {signText(t, text, pq), pq.Key(), nil},
		"ML-DSA-44, extension":      {signText(t, text+"more\n", pq), pq.Key(), []byte("more")},
	} {
		from, to := len(tt.note), len(tt.note)
		if tt.harmless != nil {
			from = bytes.Index(tt.note, tt.harmless)
			if to = len(tt.note); tt.harmless[0] == 'm' {
				to = from + len(tt.harmless)
			}
		}
		for i := range tt.note {
			for bit := range 8 {
				if tt.key.Algorithm() == CosignatureMLDSA && i > 200 && (8*i+bit)%37 > 0 {
					continue // of a signature that takes long to check, a sample
				}
				flipped := bytes.Clone(tt.note)
				flipped[i] ^= 1 << bit
				cp, sigs, err := Open(flipped, tt.key)
				if err != nil {
					continue
				}
				if cp.Origin != "example.com/log" || cp.Size != 1234 || cp.Root != testRoot(1) || len(sigs) != 1 {
					t.Fatalf("%s, byte %d, bit %d: another tree is accepted: %+v", name, i, bit, cp)
				}
				if i < from || i >= to {
					t.Errorf("%s, byte %d (%q), bit %d: the flip is not noticed", name, i, tt.note[i], bit)
				}
			}
		}
	}
}

// FuzzOpen: hostile notes never open as a tree that the key did not sign, and what
// parses is spelled in one way.
func FuzzOpen(f *testing.F) {
	s := testLog(f, "example.com/log", 1)
	cp, err := Sign("example.com/log", 1234, testRoot(1), testTime, s)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(cp.Note)
	f.Add([]byte(sofa))
	f.Add(signText(f, cp.text()+"extension\n", s))
	f.Add([]byte("a\n0\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\n"))
	f.Fuzz(func(t *testing.T, signed []byte) {
		parsed, err := Parse(signed)
		if err == nil {
			text, _, _ := split(signed)
			if lines := slices.Collect(strings.Lines(string(text))); strings.Join(lines[:3], "") != parsed.text() {
				t.Errorf("%q parses as what is spelled %q", text, parsed.text())
			}
		}
		opened, sigs, openErr := Open(signed, s.Key())
		if openErr != nil {
			if pavise.KindOf(openErr) != pavise.Unverified || sigs != nil {
				t.Errorf("%v, %v", sigs, openErr)
			}
			return
		}
		if err != nil || opened.text() != parsed.text() {
			t.Errorf("opened as %q, parsed as %q, %v", opened.text(), parsed.text(), err)
		}
		// The fuzzer does not know the key: all it can have is what was signed above.
		if opened.Size != 1234 || opened.Root != testRoot(1) {
			t.Errorf("%q opens as what nobody signed", signed)
		}
	})
}
