package dataset

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/rowseal"
)

// keys writes an Ed25519 pair as PEM.
func keys(t testing.TB) (private, public string) {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, _ := x509.MarshalPKCS8PrivateKey(key)
	pubDER, _ := x509.MarshalPKIXPublicKey(pub)
	dir := t.TempDir()
	private, public = dir+"/key.pem", dir+"/pub.pem"
	os.WriteFile(private, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
	os.WriteFile(public, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pubDER}), 0o644)
	return private, public
}

// TestSignedSeal holds a signed seal to the right key, another one, and none.
func TestSignedSeal(t *testing.T) {
	private, public := keys(t)
	_, other := keys(t)
	dir := write(t, map[string]string{"a.csv": "x,y\n1,2\n"})
	out := filepath.Join(t.TempDir(), "s")
	if _, err := (&Seal{Path: dir, Out: out, Key: private}).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := verify(t, Verify{Path: dir, Seal: out, Signer: public}); !got.Clean || len(got.Signed) != 64 {
		t.Errorf("%+v", got)
	}
	if _, err := (&Verify{Path: dir, Seal: out, Signer: other}).Run(t.Context()); pavise.KindOf(err) != pavise.Unverified {
		t.Error(err)
	}
	put(t, filepath.Join(dir, "b"), "y")
	second, _ := sealOf(t, dir)
	b, _ := os.ReadFile(out + ".dsse")
	os.WriteFile(second+".dsse", b, 0o644)
	if _, err := (&Verify{Path: dir, Seal: second, Signer: public}).Run(t.Context()); pavise.KindOf(err) != pavise.Unverified || !strings.Contains(message(err), "another seal") {
		t.Error(err)
	}
}

// TestProofs proves rows of all kinds, in and out, and checks the proofs; and then lies.
func TestProofs(t *testing.T) {
	private, public := keys(t)
	rows := lines(3000)
	rows[17] = rows[2000] // twice
	dir := write(t, map[string]string{"a.jsonl": joined(rows), "b.csv": joined(records(300)), "c.bin": "c", "d.parquet": parquetOf(t, items(100))})
	seal, _ := sealOf(t, dir)
	row := func(text string) string {
		name := filepath.Join(t.TempDir(), "row")
		put(t, name, text)
		return name
	}
	prove := func(p Prove) (*Proved, string) {
		t.Helper()
		p.Seal, p.Out = seal, filepath.Join(t.TempDir(), "proof")
		got, err := p.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return got, p.Out
	}
	check := func(p Prove) (*Proved, error) {
		if p.Seal == "" {
			p.Seal = seal
		}
		return p.Run(t.Context())
	}
	in, inProof := prove(Prove{Content: row(rows[2000] + "\n"), Key: private})
	if !in.Member || in.Count != 2 || in.Places[0] != (Place{"a.jsonl", 18}) || in.Places[1] != (Place{"a.jsonl", 2001}) {
		t.Errorf("%+v", in)
	}
	multi, multiProof := prove(Prove{Content: row(records(300)[200] + "\r\n")})
	if !multi.Member || multi.Places[0] != (Place{"b.csv", 201}) {
		t.Errorf("%+v", multi)
	}
	out, outProof := prove(Prove{Content: row("nobody")})
	if out.Member || out.Note == "" {
		t.Errorf("%+v", out)
	}
	packed, packedProof := prove(Prove{Content: row(parquetOf(t, items(100)[41:42], parquet.Compression(&parquet.Zstd)))})
	if !packed.Member || packed.Count != 1 || packed.Places[0] != (Place{"d.parquet", 42}) {
		t.Errorf("%+v", packed)
	}
	noItem := parquetOf(t, []item{{41, "another"}})
	if none, _ := prove(Prove{Content: row(noItem)}); none.Member {
		t.Errorf("%+v", none)
	}
	two := Prove{Seal: seal, Content: row(parquetOf(t, items(2)))}
	if _, err := two.Run(t.Context()); pavise.KindOf(err) != pavise.Invalid || !strings.Contains(err.Error(), "holds 2 rows") {
		t.Errorf("of two rows of Parquet: %v", err)
	}
	_, atProof := prove(Prove{Row: 100, File: "d.parquet"})
	os.Remove(seal + ".rows") // who checks has the seal alone
	for _, tt := range []struct {
		name, proof, content, signer string
		member                       bool
	}{
		{"in", inProof, rows[2000], public, true}, {"several lines", multiProof, records(300)[200], "", true}, {"out", outProof, "nobody", "", false}, {"Parquet", packedProof, parquetOf(t, items(100)[41:42]), "", true},
	} {
		got, err := check(Prove{Check: tt.proof, Content: row(tt.content), Signer: tt.signer})
		if err != nil || got.Member != tt.member || !got.Checked {
			t.Errorf("%s: %+v, %v", tt.name, got, err)
		}
		if _, err := check(Prove{Check: tt.proof, Content: row("something else")}); pavise.KindOf(err) != pavise.Unverified {
			t.Errorf("%s, of another row: %v", tt.name, err)
		}
		if _, err := check(Prove{Check: tt.proof}); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s, without the row: %v", tt.name, err)
		}
	}
	if got, err := check(Prove{Check: atProof}); err != nil || got.Places[0] != (Place{"d.parquet", 100}) || got.Note == "" {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := check(Prove{Check: outProof, Content: row("nobody"), Signer: public}); pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("unsigned: %v", err)
	}
	put(t, filepath.Join(dir, "e"), "e")
	other, _ := sealOf(t, dir)
	if _, err := check(Prove{Seal: other, Check: inProof, Content: row(rows[2000])}); pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("under another seal: %v", err)
	}
	lies(t, seal, outProof, row("nobody"))
	lies(t, seal, multiProof, row(records(300)[200]))
}

// lies changes digits and letters of a proof, one at a time: none holds any more.
func lies(t *testing.T, seal, proof, content string) {
	t.Helper()
	text, err := os.ReadFile(proof)
	if err != nil {
		t.Fatal(err)
	}
	changed := 0
	for i, c := range text {
		if i%7 != 0 {
			continue
		}
		var to byte
		switch {
		case '0' <= c && c <= '8' || 'a' <= c && c <= 'e':
			to = c + 1
		default:
			continue
		}
		lie := bytes.Clone(text)
		lie[i] = to
		name := filepath.Join(t.TempDir(), "lie")
		os.WriteFile(name, lie, 0o644)
		changed++
		if _, err := (&Prove{Seal: seal, Check: name, Content: content}).Run(t.Context()); err == nil && !bytes.Contains(text[max(0, i-20):i], []byte(`"name"`)) {
			t.Errorf("a proof holds that was changed at byte %d: %q", i, lie[max(0, i-30):i+10])
		}
	}
	if changed < 150 {
		t.Errorf("%d changes", changed)
	}
}

// TestMembersHaveAPlace takes the place out of a proof: a mark alone proves no member.
func TestMembersHaveAPlace(t *testing.T) {
	dir := write(t, map[string]string{"a.jsonl": joined(lines(50))})
	seal, _ := sealOf(t, dir)
	row := filepath.Join(t.TempDir(), "row")
	put(t, row, lines(50)[20])
	made, err := (&Prove{Seal: seal, Content: row}).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	said, _, err := openStatement[rowseal.RowProof](made.Statement, predicateRow, nil)
	if err != nil {
		t.Fatal(err)
	}
	digest := rowseal.Hash(proof.Leaf([]byte(lines(50)[20])))
	if err := said.Predicate.Check(made.Root, &digest); err != nil {
		t.Fatal(err)
	}
	said.Predicate.Place = nil
	if err := said.Predicate.Check(made.Root, &digest); pavise.KindOf(err) != pavise.Unverified || !strings.Contains(message(err), "where the row stands") {
		t.Error(err)
	}
}

// TestProofsAreOfWhatIsAsked checks a proof of one place as one of others, and rows in files
// that hold none.
func TestProofsAreOfWhatIsAsked(t *testing.T) {
	dir := write(t, map[string]string{"a.jsonl": joined(lines(50)), "b.jsonl": joined(lines(9)), "c.csv": "\n\n"})
	seal, _ := sealOf(t, dir)
	out := filepath.Join(t.TempDir(), "proof")
	if _, err := (&Prove{Seal: seal, Row: 7, File: "a.jsonl", Out: out}).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		row   uint64
		file  string
		holds bool
	}{{7, "a.jsonl", true}, {0, "a.jsonl", true}, {7, "", true}, {5, "", false}, {7, "b.jsonl", false}} {
		got, err := (&Prove{Seal: seal, Check: out, Row: tt.row, File: tt.file}).Run(t.Context())
		if err == nil != tt.holds || !tt.holds && pavise.KindOf(err) != pavise.Unverified || got == nil || got.Holds != tt.holds {
			t.Errorf("%+v: %+v, %v", tt, got, err)
		}
	}
	row := filepath.Join(t.TempDir(), "row")
	put(t, row, "\ufeff"+lines(50)[20]+"\r\n")
	if got, err := (&Prove{Seal: seal, Content: row}).Run(t.Context()); err != nil || !got.Member || len(got.Statement) == 0 {
		t.Errorf("%+v, %v", got, err)
	}
	for _, text := range []string{"", "\ufeff"} {
		put(t, row, text)
		if _, err := (&Prove{Seal: seal, Content: row}).Run(t.Context()); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestDiffChecksBoth spoils either index: no row is named by it.
func TestDiffChecksBoth(t *testing.T) {
	dir := write(t, map[string]string{"a.jsonl": joined(lines(600))})
	before, _ := sealOf(t, dir)
	put(t, filepath.Join(dir, "a.jsonl"), joined(append(lines(599), "x")))
	now, _ := sealOf(t, dir)
	for _, spoiled := range []string{before, now} {
		flip(t, spoiled+rowseal.IndexSuffix, 20)
		got, err := (&Compare{Old: before, New: now}).Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if d := got.Differences[0]; d.Counts != nil || d.Changed != nil || !strings.Contains(d.Note, "cannot be named") {
			t.Errorf("%s: %+v", spoiled, d)
		}
		flip(t, spoiled+rowseal.IndexSuffix, 20)
	}
	got, err := (&Compare{Old: before, New: now}).Run(t.Context())
	if err != nil || !slices.Equal(got.Differences[0].Changed, []uint64{600}) {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestProofsTellNothing looks for digests of other rows in proofs, as somebody does who
// guesses rows.
func TestProofsTellNothing(t *testing.T) {
	rows := lines(40)
	dir := write(t, map[string]string{"a.jsonl": joined(rows)})
	seal, _ := sealOf(t, dir)
	name := filepath.Join(t.TempDir(), "row")
	put(t, name, rows[20])
	var all bytes.Buffer
	got, err := (&Prove{Seal: seal, Content: name}).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got.Print(&all)
	manifest, _ := os.ReadFile(seal)
	all.Write(manifest)
	index, _ := os.ReadFile(seal + ".rows")
	for _, row := range rows {
		digest := proof.Leaf([]byte(row))
		if bytes.Contains(all.Bytes(), []byte(rowseal.Digest(digest).String())) || bytes.Contains(all.Bytes(), []byte(rowseal.Digest(digest).String()[32:])) {
			t.Errorf("the digest of %s is in what others see", row)
		}
		if !bytes.Contains(index, digest[:]) {
			t.Errorf("the digest of %s is not in the index: the test looks for the wrong thing", row)
		}
	}
}

// TestSpoiledSeals changes seals and indexes: each is refused, or rows go unnamed, but
// nothing is believed.
func TestSpoiledSeals(t *testing.T) {
	dir := write(t, map[string]string{"a.jsonl": joined(lines(600)), "b.bin": strings.Repeat("b", 100_000)})
	first, _ := sealOf(t, dir)
	text, _ := os.ReadFile(first)
	for i, c := range text {
		if c == ' ' || c == '\n' {
			continue
		}
		bad := bytes.Clone(text)
		bad[i] = c ^ 1
		if _, err := rowseal.ParseManifest(bad); err == nil {
			t.Fatalf("a seal is believed that was changed at byte %d", i)
		}
	}
	index, _ := os.ReadFile(first + ".rows")
	put(t, filepath.Join(dir, "a.jsonl"), joined(append(lines(599), "x")))
	spoiled := filepath.Join(t.TempDir(), "s")
	os.WriteFile(spoiled, text, 0o644)
	for _, i := range []int{0, 20, 300, 32 * 600, 32*600 + 100, len(index) - 400, len(index) - 41, len(index) - 20, len(index) - 1} {
		bad := bytes.Clone(index)
		bad[i] ^= 1
		os.WriteFile(spoiled+".rows", bad, 0o600)
		got := verify(t, Verify{Path: dir, Seal: spoiled})
		if got.Clean || slices.Equal(got.Differences[0].Changed, []uint64{600}) && i < 32*600 {
			t.Errorf("byte %d: %+v", i, got)
		}
		if _, err := (&Prove{Seal: spoiled, Row: 1}).Run(t.Context()); err == nil && i < 32*600 {
			t.Errorf("byte %d: a proof was made", i)
		}
	}
	for _, n := range []int{0, 5, 14, 100, len(index) / 2, len(index) - 1} {
		os.WriteFile(spoiled+".rows", index[:n], 0o600)
		if _, err := (&Prove{Seal: spoiled, Row: 1}).Run(t.Context()); err == nil {
			t.Errorf("a proof was made from the first %d bytes of an index", n)
		}
	}
	other, _ := sealOf(t, dir)
	otherIndex, _ := os.ReadFile(other + ".rows")
	os.WriteFile(spoiled+".rows", otherIndex, 0o600)
	if _, err := (&Prove{Seal: spoiled, Row: 1}).Run(t.Context()); pavise.KindOf(err) != pavise.Unverified || !strings.Contains(message(err), "another seal") {
		t.Error(err)
	}
	if _, err := (&Verify{Path: dir, Seal: first + ".rows"}).Run(t.Context()); pavise.KindOf(err) != pavise.Invalid {
		t.Error(err)
	}
	if _, err := (&Verify{Path: filepath.Join(dir, "b.bin"), Seal: first}).Run(t.Context()); pavise.KindOf(err) != pavise.Invalid {
		t.Error(err)
	}
}

// TestAFalseTreeIsFound makes a seal whose tree of contents leaves a row out: who has the data
// finds out.
func TestAFalseTreeIsFound(t *testing.T) {
	dir := write(t, map[string]string{"a.jsonl": joined(lines(50))})
	seal, _ := sealOf(t, dir)
	text, _ := os.ReadFile(seal)
	var m rowseal.Manifest
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	m.Contents.Root[0] ^= 1
	m.SetRoot()
	forged, _ := m.Marshal()
	os.WriteFile(seal, forged, 0o644)
	if _, err := (&Verify{Path: dir, Seal: seal}).Run(t.Context()); pavise.KindOf(err) != pavise.Unverified || !strings.Contains(message(err), "tree of contents") {
		t.Error(err)
	}
}

// FuzzProof reads anything as a proof, signed or not: none that was not made holds.
func FuzzProof(f *testing.F) {
	dir := write(f, map[string]string{"a.jsonl": joined(lines(40))})
	out := filepath.Join(f.TempDir(), "s.seal")
	if _, err := (&Seal{Path: dir, Out: out}).Run(context.Background()); err != nil {
		f.Fatal(err)
	}
	private, public := keys(f)
	for _, key := range []string{"", private} {
		made, err := (&Prove{Seal: out, Row: 7, Key: key}).Run(context.Background())
		if err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(made.Statement))
	}
	absent := filepath.Join(f.TempDir(), "absent")
	put(f, absent, "nobody")
	key, err := readVerifier(public)
	if err != nil {
		f.Fatal(err)
	}
	m, err := ReadManifest(out)
	if err != nil {
		f.Fatal(err)
	}
	digest := rowseal.Hash(proof.Leaf([]byte("nobody")))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, k := range []ed25519.PublicKey{nil, key} {
			said, _, err := openStatement[rowseal.RowProof](text, predicateRow, k)
			if err == nil {
				err = said.Predicate.Check(m.Root, &digest)
				if err == nil && said.Predicate.Member {
					t.Fatal("a row is proved that is not there")
				}
			}
			if err != nil && pavise.KindOf(err) != pavise.Invalid && pavise.KindOf(err) != pavise.Unverified {
				t.Fatal(err)
			}
		}
	})
}
