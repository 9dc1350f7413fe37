package proof

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"filippo.io/mldsa"
	"golang.org/x/mod/sumdb/note"
)

// The tests in this file hold the package against the words of the C2SP
// specifications: their examples as they stand, and their structures built by hand.

// sofa is the example of tlog-checkpoint and tlog-cosignature.
const sofa = `example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
`

// TestSpecVerifierKey reads the verifier key of signed-note, spells it again, and
// verifies with it the note that the specification gives it.
func TestSpecVerifierKey(t *testing.T) {
	const vkey = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
	const signed = "This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
	k, err := ParseKey(vkey)
	if err != nil {
		t.Fatal(err)
	}
	if k.String() != vkey || k.Name() != "example.com/foo" || k.KeyHash() != 0x530d903a || k.Algorithm() != Ed25519 {
		t.Errorf("read as %s, algorithm %s", k, k.Algorithm())
	}
	sum := sha256.Sum256([]byte(vkey))
	if k.Fingerprint() != hex.EncodeToString(sum[:]) {
		t.Errorf("fingerprint %s is not the SHA-256 of the key's text", k.Fingerprint())
	}
	if _, err := note.Open([]byte(signed), note.VerifierList(k)); err != nil {
		t.Error(err)
	}
	if _, _, err := Open([]byte(signed), k); err == nil {
		t.Error("a note that is signed and no checkpoint was opened as one")
	}
	changed := strings.Replace(signed, "example", "Example", 1)
	if _, err := note.Open([]byte(changed), note.VerifierList(k)); err == nil {
		t.Error("a changed note verifies")
	}
}

// TestSpecCheckpoint reads the checkpoint of tlog-checkpoint and the cosignature on
// it that tlog-cosignature shows. Their keys are not published, so that the
// signatures themselves cannot be checked.
func TestSpecCheckpoint(t *testing.T) {
	cp, err := Parse([]byte(sofa))
	if err != nil {
		t.Fatal(err)
	}
	if cp.Origin != "example.com/behind-the-sofa" || cp.Size != 20852163 || cp.Root.String() != "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=" {
		t.Errorf("read as %+v", cp)
	}
	if text, _, _ := strings.Cut(sofa, "\n\n"); cp.text() != text+"\n" {
		t.Errorf("spelled again as %q", cp.text())
	}
	line := strings.Split(strings.TrimSpace(sofa), "\n")[5]
	raw, err := base64.StdEncoding.DecodeString(strings.Fields(line)[2])
	if err != nil || len(raw) != 4+timestampSize+ed25519.SignatureSize {
		t.Fatalf("the cosignature is %d bytes, %v", len(raw), err)
	}
	if at, ok := timestamp(raw[4:]); !ok || at != 1679315147 {
		t.Errorf("cosigned at %d, not at the 1679315147 of the specification", at)
	}
}

// TestSpecCosignatureEd25519 compares what an Ed25519 cosigner signs with the text
// that tlog-cosignature prints, and checks a signature over it without our code.
func TestSpecCosignatureEd25519(t *testing.T) {
	const message = `cosignature/v1
time 1679315147
example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
`
	s := testCosigner(t, "witness.example.com/w1", 1)
	lines, err := Cosign([]byte(sofa), time.Unix(1679315147, 0), s)
	if err != nil {
		t.Fatal(err)
	}
	raw := signatureBytes(t, lines, "witness.example.com/w1")
	if id := sha256.Sum256(append([]byte("witness.example.com/w1\n\x04"), s.key.public...)); !bytes.Equal(raw[:4], id[:4]) {
		t.Errorf("key id %x, the specification's rule gives %x", raw[:4], id[:4])
	}
	if !bytes.Equal(raw[4:12], []byte{0, 0, 0, 0, 0x64, 0x18, 0x50, 0xcb}) {
		t.Errorf("timestamp %x", raw[4:12])
	}
	if !ed25519.Verify(s.key.public, []byte(message), raw[12:]) {
		t.Error("the signature is not over the message of the specification")
	}
	cp, sigs, err := Open(append([]byte(sofa), lines...), s.Key())
	if err != nil || len(sigs) != 1 || !sigs[0].At.Equal(time.Unix(1679315147, 0)) || cp.Size != 20852163 {
		t.Errorf("opened as %+v with %+v, %v", cp, sigs, err)
	}
}

// TestSpecCosignatureMLDSA builds the struct cosigned_message of tlog-cosignature
// byte by byte and checks an ML-DSA-44 cosignature over it without our code, with a
// time and without.
func TestSpecCosignatureMLDSA(t *testing.T) {
	s := testMLDSA(t, "witness.example.com/w1", 2)
	for _, tt := range []struct {
		at        time.Time
		timestamp string
	}{
		{time.Unix(1679315147, 0), "\x00\x00\x00\x00\x64\x18\x50\xcb"},
		{time.Time{}, "\x00\x00\x00\x00\x00\x00\x00\x00"},
	} {
		root, _ := base64.StdEncoding.DecodeString("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=")
		message := "subtree/v1\n\x00" +
			"\x16witness.example.com/w1" + tt.timestamp +
			"\x1bexample.com/behind-the-sofa" +
			"\x00\x00\x00\x00\x00\x00\x00\x00" + // start
			"\x00\x00\x00\x00\x01\x3e\x2d\xc3" + // end: 20852163
			string(root)
		cp, err := Sign("example.com/behind-the-sofa", 20852163, [32]byte(root), tt.at, s)
		if err != nil {
			t.Fatal(err)
		}
		raw := signatureBytes(t, cp.Note, "witness.example.com/w1")
		if len(raw) != 4+8+2420 || string(raw[4:12]) != tt.timestamp {
			t.Fatalf("%d bytes that begin %x", len(raw), raw[:12])
		}
		if len(s.key.public) != 1312 {
			t.Errorf("the public key is %d bytes", len(s.key.public))
		}
		if id := sha256.Sum256(append([]byte("witness.example.com/w1\n\x06"), s.key.public...)); !bytes.Equal(raw[:4], id[:4]) {
			t.Errorf("key id %x, the specification's rule gives %x", raw[:4], id[:4])
		}
		public, err := mldsa.NewPublicKey(mldsa.MLDSA44(), s.key.public)
		if err != nil {
			t.Fatal(err)
		}
		if err := mldsa.Verify(public, []byte(message), raw[12:], nil); err != nil {
			t.Errorf("at %v the signature is not over the struct of the specification: %v", tt.at, err)
		}
	}
}

// TestSpecMLDSADoesNotCoverExtensions: extension lines are not in the struct, so that
// an ML-DSA-44 cosignature holds with others too, and an Ed25519 one does not.
func TestSpecMLDSADoesNotCoverExtensions(t *testing.T) {
	for _, tt := range []struct {
		signer *Signer
		holds  bool
	}{
		{testMLDSA(t, "example.com/log", 1), true},
		{testCosigner(t, "example.com/log", 1), false},
		{testLog(t, "example.com/log", 1), false},
	} {
		cp, err := Sign("example.com/log", 7, testRoot(7), testTime, tt.signer)
		if err != nil {
			t.Fatal(err)
		}
		longer := strings.Replace(string(cp.Note), "\n\n", "\nextension\n\n", 1)
		got, _, err := Open([]byte(longer), tt.signer.Key())
		if (err == nil) != tt.holds {
			t.Errorf("%s with an extension line: %v", tt.signer.Key().Algorithm(), err)
		}
		if err == nil && (got.Size != 7 || got.Root != testRoot(7)) {
			t.Errorf("an extension line made another tree: %+v", got)
		}
	}
}

// TestSpecProofFile reads the example of tlog-proof and writes it again.
func TestSpecProofFile(t *testing.T) {
	// The last groups of the example's extra line and signatures are elided or cut
	// there; the checkpoint is opaque to the file.
	const example = `c2sp.org/tlog-proof@v1
extra YWdlLXYxLjIuMS1kYXJ3aW4tYXJtNjQudGFyLmd6kYXJ3aW4tYXJ
index 73894
gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=
B95lDa8R83lS8n0eG+o0buTxRKQTYFi//1U8anccXmA=
EKNzoDWG8LGC0Yp9o+sv3qllpMP9uHQ9B20KNL+Q1zs=
RoopEkOdqkYqMB4MJXrbt/hMjOxsVn0IrWjpz1ZMMes=
AHCioX9nLjsrse6YhjRRmk1WUEirVOLLRoOQ6vfO5vk=

example.com/fancylog
109482
sFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=

— example.com/fancylog hI2DJw[...]1roloI=
`
	f, err := ParseFile([]byte(example))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(f.Extra, []byte("age-v1.2.1-darwin-arm64.tar.gz")) || f.Index != 73894 || len(f.Path) != 5 || f.Path[4].String() != "AHCioX9nLjsrse6YhjRRmk1WUEirVOLLRoOQ6vfO5vk=" {
		t.Errorf("read as %+v", f)
	}
	if !IsFile([]byte(example)) || string(f.Marshal()) != example {
		t.Errorf("written again as\n%s", f.Marshal())
	}
}

// TestSpecPolicy takes the example of tlog-policy, with keys for those that it
// elides, through every set of cosigners: two of the X and one of the Y suffice, and
// nothing less.
func TestSpecPolicy(t *testing.T) {
	text := `log <vkey>

witness X1 <vkey>
witness X2 <vkey>
witness X3 <vkey>
group X-witnesses 2 X1 X2 X3

witness Y1 <vkey>
witness Y2 <vkey>
witness Y3 <vkey>
group Y-witnesses any Y1 Y2 Y3

group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
`
	text = strings.Replace(text, "<vkey>", testLog(t, "log.example", 99).Key().String(), 1)
	for i := range byte(6) {
		text = strings.Replace(text, "<vkey>", testCosigner(t, "w.example/"+string('1'+rune(i)), i+1).Key().String(), 1)
	}
	p, err := ParsePolicy([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Logs) != 1 || len(p.Witnesses) != 6 || p.Witnesses[5].Name != "Y3" || !p.Asks() {
		t.Fatalf("read as %+v", p)
	}
	for set := range 1 << 6 {
		var sigs []Signature
		x, y := 0, 0
		for i, w := range p.Witnesses {
			if set>>i&1 == 0 {
				continue
			}
			sigs = append(sigs, Signature{Key: w.Key, At: testTime})
			if i < 3 {
				x++
			} else {
				y++
			}
		}
		if _, ok := p.Satisfied([]*Key{p.Logs[0].Key}, sigs); ok != (x >= 2 && y >= 1) {
			t.Errorf("%d of the X and %d of the Y: %v", x, y, ok)
		}
	}
}

// TestSpecTiles checks the paths and the widths that tlog-tiles prints.
func TestSpecTiles(t *testing.T) {
	if got := (Tile{Level: 0, N: 1234067, Width: 256}).String(); got != "tile/0/x001/x234/067" {
		t.Errorf("index 1234067 is encoded as %s", got)
	}
	for _, tt := range []struct {
		size  uint64
		level int
		n     uint64
		width int
	}{
		{70_000, 0, 273, 112}, {70_000, 1, 1, 17}, {70_000, 2, 0, 1}, {70_000, 3, 0, 0},
		{256, 0, 1, 0}, {256, 1, 0, 1}, {0, 0, 0, 0}, {255, 0, 0, 255}, {1<<63 - 1, 7, 0, 127},
	} {
		if n, width := Partial(tt.level, tt.size); n != tt.n || width != tt.width {
			t.Errorf("size %d, level %d: tile %d of width %d, want %d of %d", tt.size, tt.level, n, width, tt.n, tt.width)
		}
	}
}

// testTime is when tests sign.
var testTime = time.Unix(1_800_000_000, 0).UTC()

// testRoot is a root that differs for each n.
func testRoot(n byte) [32]byte { return sha256.Sum256([]byte{n}) }

// testLog returns the signer of a log with the key of a seed.
func testLog(t testing.TB, name string, seed byte) *Signer {
	t.Helper()
	return must(t)(NewLogSigner(name, testPrivate(seed)))
}

// testCosigner returns an Ed25519 cosigner with the key of a seed.
func testCosigner(t testing.TB, name string, seed byte) *Signer {
	t.Helper()
	return must(t)(NewCosigner(name, testPrivate(seed)))
}

// testMLDSA returns an ML-DSA-44 cosigner with the key of a seed.
func testMLDSA(t testing.TB, name string, seed byte) *Signer {
	t.Helper()
	return must(t)(NewMLDSACosigner(name, bytes.Repeat([]byte{seed}, MLDSASeedSize)))
}

func testPrivate(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

func must(t testing.TB) func(*Signer, error) *Signer {
	return func(s *Signer, err error) *Signer {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

// signatureBytes returns what a name signed in a note or in signature lines.
func signatureBytes(t *testing.T, lines []byte, name string) []byte {
	t.Helper()
	for line := range strings.Lines(string(lines)) {
		if encoded, ok := strings.CutPrefix(line, "— "+name+" "); ok {
			raw, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(encoded, "\n"))
			if err != nil {
				t.Fatal(err)
			}
			return raw
		}
	}
	t.Fatalf("%s signed nothing in\n%s", name, lines)
	return nil
}
