package model

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/oms"
)

// A bench is a directory with a model and a pair of keys.
type bench struct {
	*testing.T
	dir string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t, t.TempDir()}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	b.write("key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
	b.write("key.pub", string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})))
	for name, text := range map[string]string{"config.json": "{}", "sub/weights.bin": strings.Repeat("w", 2500), "sub/empty": "", ".git/HEAD": "x", ".gitignore": "y"} {
		b.write("model/"+name, text)
	}
	return b
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, filepath.FromSlash(name)) }

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b *bench) write(name, text string) {
	b.Helper()
	b.must(os.MkdirAll(filepath.Dir(b.path(name)), 0o755))
	b.must(os.WriteFile(b.path(name), []byte(text), 0o600))
}

func (b *bench) sign(s Sign) (*Signature, error) {
	b.Helper()
	s.Path, s.Key = b.path("model"), b.path("key.pem")
	if s.Out == "" {
		s.Out = b.path("model.sig")
	}
	if s.Hash == "" {
		s.Hash = "sha256"
	}
	return s.Run(b.Context())
}

func (b *bench) mustSign(s Sign) *Signature {
	b.Helper()
	made, err := b.sign(s)
	b.must(err)
	return made
}

// verify verifies, and returns what differs, one a line.
func (b *bench) verify(v Verify) (*Verified, string) {
	b.Helper()
	v.Path, v.Key = b.path("model"), b.path("key.pub")
	if v.Signature == "" {
		v.Signature = b.path("model.sig")
	}
	got, err := v.Run(b.Context())
	b.must(err)
	var lines []string
	for _, d := range got.Differences {
		lines = append(lines, strings.TrimSpace(d.What+" "+d.File+" "+d.Note))
	}
	if got.Holds != (len(lines) == 0 && got.Wrong == "") {
		b.Errorf("%+v", got)
	}
	return got, strings.Join(lines, "\n")
}

func TestSignedModelsVerify(t *testing.T) {
	for _, s := range []Sign{{}, {Hash: "blake2b"}, {Hash: "blake3"}, {ShardSize: 1000}, {Hash: "blake3", ShardSize: 2500}, {Follow: true}, {Ignore: []string{"sub/./empty"}}} {
		b := newBench(t)
		made := b.mustSign(s)
		if made.Bytes != 2502 || made.Signed.Mode != oms.ByKey || !slices.Contains(made.Ignored, ".git") {
			t.Errorf("%+v", made)
		}
		got, differs := b.verify(Verify{})
		if !got.Holds || differs != "" || got.Bytes != 2502 || got.Files != made.Files || got.Root != made.Root {
			t.Errorf("%+v: %+v", s, got)
		}
		var out bytes.Buffer
		made.Print(&out)
		got.Print(&out)
		if text := out.String(); !strings.Contains(text, "is signed: ") || !strings.Contains(text, "is as it was signed: ") || !strings.Contains(text, "signed by  key ") {
			t.Error(text)
		}
	}
}

func TestWhatDiffersIsNamed(t *testing.T) {
	for name, of := range map[string]struct {
		sign   Sign
		change func(b *bench)
		verify Verify
		want   string
	}{
		"a byte":                {change: func(b *bench) { b.write("model/config.json", "{]") }, want: "changed config.json"},
		"a byte more":           {change: func(b *bench) { b.write("model/sub/empty", "x") }, want: "changed sub/empty"},
		"a file fewer":          {change: func(b *bench) { b.must(os.Remove(b.path("model/config.json"))) }, want: "missing config.json"},
		"a file more":           {change: func(b *bench) { b.write("model/sub/evil.py", "x"); b.write("model/deep/er/x", "") }, want: "extra deep/er/x\nextra sub/evil.py"},
		"a file elsewhere":      {change: func(b *bench) { b.must(os.Rename(b.path("model/config.json"), b.path("model/Config.json"))) }, want: "extra Config.json\nmissing config.json"},
		"what is not minded":    {change: func(b *bench) { b.write("model/logs/x", "x") }, verify: Verify{Ignore: []string{"logs/"}}, want: ""},
		"what is minded":        {change: func(b *bench) { b.write("model/config.json", "{]"); b.write("model/sub/new", "") }, verify: Verify{Ignore: []string{"config.json", "sub"}}, want: "changed config.json"},
		"what Git keeps":        {change: func(b *bench) { b.write("model/.git/HEAD", "z"); b.write("model/.github/x", "z") }, want: ""},
		"what Git keeps deeper": {change: func(b *bench) { b.write("model/sub/.git/x", "z") }, want: "extra sub/.git/x"},
		"left out, signed so":   {sign: Sign{Ignore: []string{"logs"}}, change: func(b *bench) { b.write("model/logs/x", "x"); b.write("model/logs2", "x") }, want: "extra logs2"},
		"a link":                {change: func(b *bench) { b.must(os.Symlink("config.json", b.path("model/link"))) }, want: "extra link it is a link, and links were not followed when the model was signed"},
		"a link in a file's place": {change: func(b *bench) {
			b.must(os.Rename(b.path("model/config.json"), b.path("c")))
			b.must(os.Symlink(b.path("c"), b.path("model/config.json")))
		}, want: "changed config.json it is a link, and links were not followed when the model was signed"},
		"a link in a directory's place": {change: func(b *bench) {
			b.must(os.Rename(b.path("model/sub"), b.path("sub")))
			b.must(os.Symlink(b.path("sub"), b.path("model/sub")))
		}, want: "extra sub it is a link, and links were not followed when the model was signed\nmissing sub/empty\nmissing sub/weights.bin"},
		"a pipe": {change: func(b *bench) { b.must(syscall.Mkfifo(b.path("model/pipe"), 0o600)) }, want: "extra pipe it is a named pipe"},
		"a pipe in a file's place": {change: func(b *bench) {
			b.must(os.Remove(b.path("model/config.json")))
			b.must(syscall.Mkfifo(b.path("model/config.json"), 0o600))
		}, want: "changed config.json it is a named pipe"},
		"a directory in a file's place": {change: func(b *bench) {
			b.must(os.Remove(b.path("model/config.json")))
			b.write("model/config.json/x", "x")
		}, want: "missing config.json\nextra config.json/x"},
		"a name that is no text": {change: func(b *bench) { b.write("model/a\xff", "x") }, want: "extra a\ufffd its name is not UTF-8, or longer than 4096 bytes"},
		"shards": {sign: Sign{ShardSize: 1000}, change: func(b *bench) {
			b.write("model/sub/weights.bin", strings.Repeat("w", 1200)+"x"+strings.Repeat("w", 1299))
		}, want: "changed sub/weights.bin in bytes 1000 to 1999"},
		"shards, a byte fewer": {sign: Sign{ShardSize: 1000}, change: func(b *bench) { b.write("model/sub/weights.bin", strings.Repeat("w", 2499)) }, want: "changed sub/weights.bin it has 2499 bytes, and had 2500"},
		"shards, a file more":  {sign: Sign{ShardSize: 1000}, change: func(b *bench) { b.write("model/new", "x"); b.write("model/void", "") }, want: "extra new"},
		"links followed": {sign: Sign{Follow: true}, change: func(b *bench) {
			b.write("c", "{}")
			b.must(os.Remove(b.path("model/config.json")))
			b.must(os.Symlink(b.path("c"), b.path("model/config.json")))
			b.must(os.Symlink(b.path("model"), b.path("model/round")))
			b.must(os.Symlink("self", b.path("model/self")))
			b.must(os.Symlink("nothing", b.path("model/torn")))
		}, want: "extra round it is a link that leads round in a circle\nextra self it is a link that leads round in a circle\nextra torn it is a link to nothing that can be read"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.mustSign(of.sign)
			of.change(b)
			got, differs := b.verify(of.verify)
			if differs != of.want {
				t.Errorf("%s\nand not\n%s", differs, of.want)
			}
			var out bytes.Buffer
			got.Print(&out)
			if strings.Contains(out.String(), "is not as it was signed") == got.Holds {
				t.Error(out.String())
			}
		})
	}
}

func TestLinksAreFollowedWhenAskedTo(t *testing.T) {
	b := newBench(t)
	b.write("blobs/1", "weights")
	b.write("blobs/d/2", "more")
	b.must(os.Symlink("../blobs/1", b.path("model/linked")))
	b.must(os.Symlink("../blobs/d", b.path("model/dir")))
	if _, err := b.sign(Sign{}); pavise.KindOf(err) != pavise.Invalid || !strings.Contains(err.Error(), "--follow-links") {
		t.Error(err)
	}
	if made := b.mustSign(Sign{Follow: true}); made.Files != 5 {
		t.Errorf("%+v", made)
	}
	if got, differs := b.verify(Verify{}); !got.Holds || !got.Links {
		t.Error(differs)
	}
	b.write("blobs/d/2", "evil")
	if _, differs := b.verify(Verify{}); differs != "changed dir/2" {
		t.Error(differs)
	}
}

// TestWhatASignatureLeavesOut is told, for its signer chose it.
func TestWhatASignatureLeavesOut(t *testing.T) {
	b := newBench(t)
	b.mustSign(Sign{Ignore: []string{"logs"}})
	b.write("model/logs/x", "x")
	got, _ := b.verify(Verify{})
	var text strings.Builder
	got.Print(&text)
	if !slices.Contains(got.Ignored, "logs") || slices.Contains(got.Ignored, ".git") || !strings.Contains(text.String(), "logs, by the signature") {
		t.Errorf("%v\n%s", got.Ignored, text.String())
	}
}

func TestSignatureIsNoPartOfTheModel(t *testing.T) {
	b := newBench(t)
	made := b.mustSign(Sign{Out: b.path("model/sub/model.sig")})
	if !slices.Contains(made.Ignored, "sub/model.sig") {
		t.Error(made.Ignored)
	}
	if got, differs := b.verify(Verify{Signature: b.path("model/sub/model.sig")}); !got.Holds {
		t.Error(differs)
	}
	// Brought into the model later, it is what the command reads, and nothing else.
	b.mustSign(Sign{Out: b.path("other.sig"), Ignore: []string{"sub/model.sig"}})
	b.must(os.Rename(b.path("other.sig"), b.path("model/other.sig")))
	if got, differs := b.verify(Verify{Signature: b.path("model/other.sig")}); !got.Holds {
		t.Error(differs)
	}
	t.Chdir(b.path("model"))
	s := Sign{Path: ".", Key: b.path("key.pem"), Hash: "sha256"}
	if made, err := s.Run(t.Context()); err != nil || filepath.Dir(made.Signature) != filepath.Dir(b.path("model")) {
		t.Errorf("%+v, %v", made, err)
	}
}

func TestOneFile(t *testing.T) {
	b := newBench(t)
	s := Sign{Path: b.path("model/config.json"), Key: b.path("key.pem"), Hash: "sha256"}
	made, err := s.Run(t.Context())
	if err != nil || made.Signature != b.path("model/config.json.sig") {
		t.Fatalf("%+v, %v", made, err)
	}
	v := Verify{Path: s.Path, Signature: made.Signature, Key: b.path("key.pub")}
	if got, err := v.Run(t.Context()); err != nil || !got.Holds {
		t.Errorf("%+v, %v", got, err)
	}
	b.write("model/config.json", "[]")
	if got, err := v.Run(t.Context()); err != nil || got.Holds || got.Differences[0] != (Difference{File: "config.json", What: fileChanged}) {
		t.Errorf("%+v, %v", got, err)
	}
	v.Path = b.path("model")
	if _, err := v.Run(t.Context()); pavise.KindOf(err) != pavise.Invalid || !strings.Contains(err.Error(), "of one file") {
		t.Error(err)
	}
	b.mustSign(Sign{})
	v.Path, v.Signature = b.path("key.pub"), b.path("model.sig")
	if _, err := v.Run(t.Context()); pavise.KindOf(err) != pavise.Invalid || !strings.Contains(err.Error(), "of a directory") {
		t.Error(err)
	}
}

// TestOneFileByItsName: the specification has the file's name where the first tool has a dot.
func TestOneFileByItsName(t *testing.T) {
	b := newBench(t)
	b.must(os.RemoveAll(b.path("model/sub")))
	b.mustSign(Sign{})
	v := Verify{Path: b.path("model/config.json"), Signature: b.path("model.sig"), Key: b.path("key.pub")}
	if got, err := v.Run(t.Context()); err != nil || !got.Holds {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestRefusals(t *testing.T) {
	b := newBench(t)
	for words, s := range map[string]Sign{
		"is no path in the model": {Ignore: []string{"../x"}}, "is there already": {Out: b.path("key.pub")}, "shards of -1 bytes": {ShardSize: -1}, "there is no": {Chain: b.path("none")},
		"can be 1 to": {Ignore: []string{"sub", "config.json"}}, "write ": {Out: b.path("none/x")},
	} {
		if _, err := b.sign(s); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v", words, err)
		}
	}
	b.must(syscall.Mkfifo(b.path("model/pipe"), 0o600))
	if _, err := b.sign(Sign{}); err == nil || !strings.Contains(err.Error(), "a named pipe") {
		t.Error(err)
	}
	b.must(os.Remove(b.path("model/pipe")))
	b.mustSign(Sign{})
	key, sig := b.path("key.pub"), b.path("model.sig")
	for words, v := range map[string]Verify{
		"and 0 are given": {}, "and 2 are given": {Key: key, Chain: key}, "who must have signed is not said": {Root: key}, "an identity is one of Sigstore": {Key: key, Issuer: "x"},
		"no certificate in it": {Chain: key}, "no trusted root": {Root: key, Identity: "a", Issuer: "b"}, "holds no public key": {Key: sig}, "is no path in the model": {Key: key, Ignore: []string{"/etc"}},
		"is no file": {Key: b.dir},
	} {
		v.Path, v.Signature = b.path("model"), sig
		if _, err := v.Run(t.Context()); pavise.KindOf(err) != pavise.Invalid || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v", words, err)
		}
	}
	v := Verify{Path: b.path("none"), Signature: sig, Key: key}
	if _, err := v.Run(t.Context()); pavise.KindOf(err) != pavise.NotFound {
		t.Error(err)
	}
	// What is wrong with a signature is a finding, and no error.
	b.write("bad.sig", "{}")
	if got, _ := b.verify(Verify{Signature: b.path("bad.sig")}); got.Holds || !strings.Contains(got.Wrong, "no Sigstore bundle") {
		t.Errorf("%+v", got)
	}
	text, err := os.ReadFile(sig)
	b.must(err)
	b.write("bad.sig", strings.Replace(string(text), `"sig":"MEU`, `"sig":"MEV`, 1)+" ")
	b.write("bad.sig", strings.Replace(string(text), `"hint":"`, `"hint":"0`, 1))
	got, _ := b.verify(Verify{Signature: b.path("bad.sig")})
	var out bytes.Buffer
	got.Print(&out)
	if got.Holds || !strings.Contains(out.String(), "does not hold: the signature is of the key") || !strings.Contains(out.String(), "Hint: ") {
		t.Error(out.String())
	}
}

// TestWhatChangesWhileItIsRead is refused: a signature is of one moment.
func TestWhatChangesWhileItIsRead(t *testing.T) {
	for name, change := range map[string]func(b *bench){
		"a byte":  func(b *bench) { b.write("model/config.json", "[]") },
		"a file":  func(b *bench) { b.write("model/new", "x") },
		"missing": func(b *bench) { b.must(os.Remove(b.path("model/config.json"))) },
	} {
		for _, what := range []string{"sign", "verify"} {
			b := newBench(t)
			b.mustSign(Sign{Out: b.path("good.sig")})
			var once sync.Once
			changed := false
			say := func(string) { once.Do(func() { change(b); changed = true }) }
			var err error
			if what == "sign" {
				_, err = b.sign(Sign{Say: say})
			} else {
				v := Verify{Say: say, Path: b.path("model"), Signature: b.path("good.sig"), Key: b.path("key.pub")}
				_, err = v.Run(t.Context())
			}
			if kind := pavise.KindOf(err); kind != pavise.Conflict && (name != "missing" || kind != pavise.NotFound) || !changed {
				t.Errorf("%s, %s: %v", what, name, err)
			}
			if _, err := os.Lstat(b.path("model.sig")); err == nil {
				t.Error("a signature was written")
			}
		}
	}
}

func TestStopped(t *testing.T) {
	b := newBench(t)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	s := Sign{Path: b.path("model"), Key: b.path("key.pem"), Hash: "sha256", Out: b.path("x")}
	if _, err := s.Run(ctx); err == nil {
		t.Error("it was not stopped")
	}
	b.write("model/large", strings.Repeat("x", 4*readSize))
	ctx, stop = context.WithCancel(t.Context())
	defer stop()
	s.Say = func(string) { stop() }
	if _, err := s.Run(ctx); pavise.KindOf(err) != pavise.Unavailable {
		t.Error(err)
	}
}

// TestMemoryDoesNotGrowWithFiles hashes a file that is all hole.
func TestMemoryDoesNotGrowWithFiles(t *testing.T) {
	b := newBench(t)
	b.must(os.Truncate(b.path("model/config.json"), 64<<20))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	b.mustSign(Sign{})
	runtime.ReadMemStats(&after)
	if grew := after.TotalAlloc - before.TotalAlloc; grew > 8<<20 {
		t.Errorf("%d bytes were allocated", grew)
	}
}

func TestCertificateMustBeGoodNow(t *testing.T) {
	key, ca := realFile(t, "keys/signing-key-pub.pem"), realFile(t, "keys/ca-cert.pem")
	dir := filepath.Dir(filepath.Dir(key))
	model := filepath.Join(dir, "models", "v1.1.0-certificate")
	v := Verify{Path: model, Signature: filepath.Join(model, "model.sig"), Chain: ca, Now: func() time.Time { return time.Date(2036, 1, 1, 0, 0, 0, 0, time.UTC) }}
	if got, err := v.Run(t.Context()); err != nil || got.Holds || !strings.Contains(got.Wrong, "expired") {
		t.Errorf("%+v, %v", got, err)
	}
}

func realFile(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv("PAVISE_DATA")
	if dir == "" {
		dir = "../../../shared/data"
	}
	name = filepath.Join(dir, "oms", filepath.FromSlash(name))
	if _, err := os.Stat(name); err != nil {
		t.Skipf("no real signatures: %v (PAVISE_DATA names their directory)", err)
	}
	return name
}

// TestRealModels verifies every model of the real data, and no more with any byte of any signed
// file changed.
func TestRealModels(t *testing.T) {
	trust := map[string]Verify{
		"key":         {Key: realFile(t, "keys/signing-key-pub.pem")},
		"certificate": {Chain: realFile(t, "keys/ca-cert.pem"), Now: func() time.Time { return time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC) }},
		"sigstore":    {Root: realFile(t, "keys/trusted-root-public-good.json"), Identity: "stefanb@us.ibm.com", Issuer: "https://sigstore.verify.ibm.com/oauth2"},
	}
	models, err := filepath.Glob(filepath.Join(realFile(t, "models"), "*"))
	if err != nil || len(models) < 6 {
		t.Fatal(models, err)
	}
	for _, source := range models {
		model := filepath.Join(t.TempDir(), filepath.Base(source))
		if err := os.CopyFS(model, os.DirFS(source)); err != nil {
			t.Fatal(err)
		}
		v := trust[source[strings.LastIndex(source, "-")+1:]]
		v.Path, v.Signature = model, filepath.Join(model, "model.sig")
		if strings.HasSuffix(source, "v1.0.0-elliptic-key") {
			v.Path = filepath.Join(model, "signme-1") // a model of one file
		}
		if got, err := v.Run(t.Context()); err != nil || !got.Holds {
			t.Errorf("%s: %+v, %v", source, got, err)
		}
		for _, name := range []string{"signme-1", "signme-2"} {
			file := filepath.Join(model, name)
			text, err := os.ReadFile(file)
			if err != nil {
				continue
			}
			_ = os.Chmod(file, 0o600)
			for i := range text {
				text[i] ^= 1
				if err := os.WriteFile(file, text, 0o600); err != nil {
					t.Fatal(err)
				}
				if got, err := v.Run(t.Context()); err != nil || got.Holds || len(got.Differences) != 1 || got.Differences[0] != (Difference{File: name, What: fileChanged}) {
					t.Errorf("%s, byte %d: %+v, %v", file, i, got, err)
				}
				text[i] ^= 1
			}
			if err := os.WriteFile(file, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestSigstoreVector verifies a model by a bundle that an instance of our own made once.
func TestSigstoreVector(t *testing.T) {
	b := newBench(t)
	b.must(os.RemoveAll(b.path("model")))
	b.write("model/config.json", "{\"layers\": 2}\n")
	b.write("model/weights.bin", "weights\n")
	v := Verify{Path: b.path("model"), Signature: "../sigstore/testdata/model.sig", Root: "../sigstore/testdata/trusted_root.json", Identity: "https://example.com/ci/build@main", Issuer: "https://issuer.example"}
	got, err := v.Run(t.Context())
	if err != nil || !got.Holds || got.Signed.Mode != oms.BySigstore || *got.Signed.Index != 1003 {
		t.Fatalf("%+v, %v", got, err)
	}
	var out bytes.Buffer
	got.Print(&out)
	if !strings.Contains(out.String(), "signed at  2023-11-14T22:13:20Z (entry 1003 of the log)") {
		t.Error(out.String())
	}
	v.Identity = "https://example.com/ci/build@fork"
	if got, err := v.Run(t.Context()); err != nil || got.Holds || !strings.Contains(got.Wrong, "was signed by") {
		t.Errorf("%+v, %v", got, err)
	}
	text, err := json.Marshal(got)
	if err != nil || !strings.Contains(string(text), `"mode":"sigstore"`) {
		t.Errorf("%s, %v", text, err)
	}
}

func TestCutCoversFiles(t *testing.T) {
	b := newBench(t)
	b.write("model/x", "abcdefg")
	p, err := openPlace(b.path("model"))
	b.must(err)
	defer p.close()
	l, err := p.entries(t.Context())
	b.must(err)
	e := &l.files[slices.IndexFunc(l.files, func(e entry) bool { return e.path == "x" })]
	pieces := cut(e, 3)
	b.must(p.sums(t.Context(), pieces, "sha256", nil))
	for i, want := range []string{"abc", "def", "g"} {
		if sum := sha256.Sum256([]byte(want)); fmt.Sprintf("%x", pieces[i].sum) != fmt.Sprintf("%x", sum) {
			t.Errorf("piece %d is %x", i, pieces[i].sum)
		}
	}
}
