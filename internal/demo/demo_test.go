package demo

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pavise/pavise"
	threatdetector "github.com/pavise/pavise/examples/threat-detector"
)

// normal is a row of a file in the layout of NSL-KDD.
const normal = "0,tcp,http,SF,181,5450,0,0,0,0,0,1,0,0,0,0,0,0,0,0,0,0,8,8,0,0,0,0,1,0,0,9,9,1,0,0.11,0,0,0,0,0,normal,20\n"

func zipped(t testing.TB, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestReadRows reads rows with and without a line of names, zipped or not, and names the
// line of what is wrong.
func TestReadRows(t *testing.T) {
	attack := strings.Replace(normal, ",normal,", ",neptune,", 1)
	good := map[string]string{
		"rows": normal + attack, "names first": "duration,protocol_type,service\n" + normal + attack, "names in capitals": "\"Duration\",\"x\"\n" + normal + attack,
		"zipped": zipped(t, normal+attack), "lines that end as on Windows": strings.ReplaceAll(normal+attack, "\n", "\r\n"),
	}
	for name, text := range good {
		rows, err := readRows(strings.NewReader(text), 1<<20)
		if err != nil || rows.count() != 2 || len(rows.data[0]) != 41 || rows.labels[0] != int(threatdetector.Normal) || rows.labels[1] != int(threatdetector.DoS) {
			t.Errorf("%s: %+v, %v", name, rows, err)
		}
	}
	bad := map[string][2]string{ // text, error
		"nothing":            {"", "no rows"},
		"names alone":        {"duration,protocol_type\n", "no rows"},
		"too few columns":    {normal + "0,tcp\n", "line 2: 2 columns, want 43"},
		"names, and too few": {"duration\n" + normal + "0,tcp\n", "line 3: 2 columns, want 43"},
		"no number":          {strings.Replace(normal, "181", "many", 1), "line 1: src_bytes"},
		"not a number":       {strings.Replace(normal, "181", "NaN", 1), "line 1: src_bytes"},
		"out of bounds":      {strings.Replace(normal, "0,tcp", "-1,tcp", 1), "line 1: duration"},
		"an unknown attack":  {strings.Replace(normal, "normal", "weird", 1), "line 1: attack \"weird\""},
		"names twice":        {"duration\nduration\n", "line 2"},
		"binary":             {"\x00\x01\x02", "line 1"},
		"a torn zip":         {zipped(t, normal)[:30], "line 1"},
		"a long line":        {strings.Repeat("x", 1<<17), "token too long"},
		"a bomb":             {zipped(t, strings.Repeat(normal, 1<<20/len(normal)+2)), "longer than"},
	}
	for name, c := range bad {
		if rows, err := readRows(strings.NewReader(c[0]), 1<<20); err == nil || !strings.Contains(err.Error(), c[1]) {
			t.Errorf("%s: %v rows, %v", name, rows, err)
		}
	}
	if _, err := ReadRows(filepath.Join(t.TempDir(), "absent")); pavise.KindOf(err) != pavise.Invalid {
		t.Error(err)
	}
}

// TestRealRows reads the real file, where it is. PAVISE_DATA names its folder.
func TestRealRows(t *testing.T) {
	dir := os.Getenv("PAVISE_DATA")
	if dir == "" {
		t.Skip("PAVISE_DATA names no folder with nsl-kdd/KDDTest+.txt.gz")
	}
	rows, err := ReadRows(filepath.Join(dir, "nsl-kdd", "KDDTest+.txt.gz"))
	if err != nil || rows.count() != 22544 {
		t.Fatal(rows, err)
	}
}

// FuzzReadRows reads anything, and asks about what it takes for rows.
func FuzzReadRows(f *testing.F) {
	f.Add([]byte(normal))
	f.Add([]byte("duration,x\n" + normal))
	f.Add([]byte(zipped(f, normal)))
	f.Fuzz(func(t *testing.T, text []byte) {
		rows, err := readRows(bytes.NewReader(text), 1<<20)
		if err != nil {
			return
		}
		if rows.count() == 0 || len(rows.labels) != rows.count() || !json.Valid(rows.request(rows.count()-1, 3)) {
			t.Errorf("%d rows, %d labels", rows.count(), len(rows.labels))
		}
	})
}

// TestStage has many wait for acts: each gets all, in order, and learns of the end.
func TestStage(t *testing.T) {
	s := NewStage()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			n := 0
			for {
				acts, over := s.Acts(t.Context(), n)
				for _, a := range acts {
					if a.Minute != n {
						t.Errorf("act %d is %d", n, a.Minute)
					}
					n++
				}
				if over {
					break
				}
			}
			if n != 100 {
				t.Errorf("%d acts", n)
			}
		})
	}
	for i := range 100 {
		s.add(Act{Minute: i})
	}
	s.close()
	wg.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if acts, over := NewStage().Acts(ctx, 0); over || len(acts) != 0 {
		t.Errorf("%v, %v", acts, over)
	}
}

// parts takes a token apart.
func parts(t *testing.T, token string, key ed25519.PublicKey) (header, claims map[string]any) {
	t.Helper()
	all := strings.Split(token, ".")
	signature, err := decodeSegment(all[2])
	if err != nil || !ed25519.Verify(key, []byte(all[0]+"."+all[1]), signature) {
		t.Errorf("%s does not verify: %v", token, err)
	}
	for i, to := range []*map[string]any{&header, &claims} {
		text, err := decodeSegment(all[i])
		if err != nil || json.Unmarshal(text, to) != nil {
			t.Fatal(token)
		}
	}
	return header, claims
}

// TestTokens makes tokens and proofs as RFC 7515, 7638 and 9449 say.
func TestTokens(t *testing.T) {
	seed, err := base64.RawURLEncoding.DecodeString("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A") // RFC 8037, A.1
	if err != nil {
		t.Fatal(err)
	}
	key := ed25519.NewKeyFromSeed(seed)
	if got := thumbprint(key); got != "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k" { // RFC 8037, A.3
		t.Errorf("thumbprint %s", got)
	}
	org := newOrganisation()
	now := time.Unix(1700000000, 0)
	token := org.token("maria", pavise.Human, []string{"operator"}, now, now.Add(time.Minute), key)
	header, claims := parts(t, token, org.key.Public().(ed25519.PublicKey))
	if header["alg"] != "EdDSA" || header["kid"] != "demo" || claims["sub"] != "maria" || claims["exp"] != 1700000060.0 || claims["cnf"].(map[string]any)["jkt"] != thumbprint(key) {
		t.Errorf("%v %v", header, claims)
	}
	sum := sha256.Sum256([]byte(token))
	header, claims = parts(t, possession(key, "POST", "http://x/y", token, now), key.Public().(ed25519.PublicKey))
	if header["typ"] != "dpop+jwt" || claims["htu"] != "http://x/y" || claims["htm"] != "POST" || claims["ath"] != base64.RawURLEncoding.EncodeToString(sum[:]) {
		t.Errorf("%v %v", header, claims)
	}
	raised := claimed(token, func(c map[string]any) { c["sub"] = "mallory" })
	if raised == token || strings.Split(raised, ".")[2] != strings.Split(token, ".")[2] {
		t.Errorf("changed: %s", raised)
	}
}

// TestDrawnIsTheSame for the same seed.
func TestDrawnIsTheSame(t *testing.T) {
	a, b, c := drawn(1).request(0, 256), drawn(1).request(0, 256), drawn(2).request(0, 256)
	if !bytes.Equal(a, b) || bytes.Equal(a, c) {
		t.Error("a seed does not decide what is drawn")
	}
	if got := drawn(1).request(511, 2); !json.Valid(got) {
		t.Errorf("around the end: %.100s", got)
	}
}
