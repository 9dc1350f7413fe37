package registry

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/notary"
	"github.com/pavise/pavise/internal/oms"
	"github.com/pavise/pavise/internal/seal"
	"github.com/pavise/pavise/internal/store"
)

// house opens the notary of a directory.
func house(t *testing.T, dir string) *notary.Notary {
	t.Helper()
	kek, err := seal.OpenFileKEK(filepath.Join(dir, "kek"))
	if err != nil {
		t.Fatal(err)
	}
	n, err := notary.Open(kek, dir)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// newHouse is a world whose house signs.
func newHouse(t *testing.T, edit ...func(*Config)) *world {
	t.Helper()
	n := house(t, t.TempDir())
	return newWorld(t, append(edit, func(c *Config) { c.House = n })...)
}

// TestHouseSigns: what was hashed and looked at here is signed by the house before it is ready,
// verified with the public key that it shows, and signed anew once it is published.
func TestHouseSigns(t *testing.T) {
	w := newHouse(t)
	w.create(t, Low)
	v, err := w.Add(t.Context(), mia, AddSpec{Model: fraud, FileSpec: FileSpec{Files: []File{w.shelf.file("b.json", `{"a": 1}`), w.shelf.file("a.json", `{"a": 2}`)}}})
	if err != nil || v.House != nil {
		t.Fatalf("%+v %v", v, err)
	}
	part := func(ref Ref, what string) []byte {
		t.Helper()
		s, err := w.ShowPart(t.Context(), mia, "local", ref, what)
		if err != nil {
			t.Fatal(err)
		}
		return s.Part
	}
	says := func(v *Version, want ...string) {
		t.Helper()
		key, err := oms.ParsePublicKey(part(v.Ref, PartKey))
		if err != nil {
			t.Fatal(err)
		}
		bundle := part(v.Ref, PartSignature)
		m, by, err := oms.Open(bundle, oms.Trust{Key: key})
		if err != nil || holds(m, v.Files) != nil || by.By != v.House.Key || v.House.Digest != sha256.Sum256(bundle) || m.Name != v.House.Says {
			t.Fatalf("%+v %+v %v", m, by, err)
		}
		for _, word := range want {
			if !strings.Contains(m.Name, word) {
				t.Errorf("%q does not say %q", m.Name, word)
			}
		}
	}
	if _, err := w.ShowPart(t.Context(), mia, "local", v.Ref, PartSignature); pavise.KindOf(err) != pavise.NotFound {
		t.Errorf("a signature before a look: %v", err)
	}
	if v, err = w.Take(t.Context(), "local", v.Ref); err != nil || v.Intake != Ready || v.House == nil {
		t.Fatalf("%+v %v", v, err)
	}
	says(v, "local/model/fraud@1 "+v.Digest.String(), "hashed and scanned here: clean", "who trained it is not vouched for")
	if all := w.notes(t, KindTaken); len(all) != 1 || !bytes.Contains(all[0].Detail, []byte(v.House.Key)) {
		t.Errorf("the log does not say by which key: %v", all)
	}
	if why := w.Altered(t.Context(), v); why != "" {
		t.Errorf("a draft is altered: %q", why)
	}
	v = w.publish(t, `{"b": 1}`)
	says(v, "published by local/change/approved")
	if why := w.Altered(t.Context(), v); why != "" {
		t.Errorf("%q", why)
	}
	if _, err := w.ShowPart(t.Context(), mia, "local", Ref{Model: "fraud"}, PartKey); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("a part of a model: %v", err)
	}
	if _, err := w.ShowPart(t.Context(), mia, "local", v.Ref, PartProducer); pavise.KindOf(err) != pavise.NotFound {
		t.Errorf("a producer's: %v", err)
	}
	harm, err := w.Add(t.Context(), mia, AddSpec{Model: fraud, FileSpec: FileSpec{Files: []File{w.shelf.file("m.pkl", "cos\nsystem\n(S'true'\ntR.")}}})
	if err == nil {
		harm, err = w.Take(t.Context(), "local", harm.Ref)
	}
	if err != nil || harm.Intake != Failed || harm.House != nil {
		t.Errorf("what does harm is signed: %+v %v", harm, err)
	}
}

// edit changes a row of a version behind the registry's back: its document, and whatever else.
func (w *world) edit(t *testing.T, ref Ref, doc func(map[string]any), statements ...string) {
	t.Helper()
	err := w.cfg.Store.Update(t.Context(), func(tx *store.Tx) error {
		var text string
		if err := tx.QueryRow(`SELECT doc FROM registry_versions WHERE id = ? AND number = ?`, ref.Model, ref.Version).Scan(&text); err != nil {
			return err
		}
		fields := map[string]any{}
		if err := json.Unmarshal([]byte(text), &fields); err != nil {
			return err
		}
		if doc != nil {
			doc(fields)
		}
		changed, err := json.Marshal(fields)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(`UPDATE registry_versions SET doc = ? WHERE id = ? AND number = ?`, string(changed), ref.Model, ref.Version); err != nil {
			return err
		}
		for _, s := range statements {
			if _, err := tx.Exec(s+` WHERE id = ? AND number = ?`, ref.Model, ref.Version); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// tampered are what somebody may do to the row of a version who can write to the database.
func tampered(other Digest) map[string]func(w *world, t *testing.T, v *Version) {
	set := func(key string, value any) func(*world, *testing.T, *Version) {
		return func(w *world, t *testing.T, v *Version) {
			w.edit(t, v.Ref, func(doc map[string]any) { doc[key] = value })
		}
	}
	sql := func(statements ...string) func(*world, *testing.T, *Version) {
		return func(w *world, t *testing.T, v *Version) { w.edit(t, v.Ref, nil, statements...) }
	}
	files := `[{"path":"weights.json","size":10,"digest":"` + other.String() + `"}]`
	return map[string]func(*world, *testing.T, *Version){
		"other files":    sql(`UPDATE registry_versions SET files = '` + files + `'`),
		"another path":   sql(`UPDATE registry_versions SET files = replace(files, 'weights.json', 'weights.pkl')`),
		"another size":   sql(`UPDATE registry_versions SET files = replace(files, '"size":8', '"size":9')`),
		"no files":       sql(`UPDATE registry_versions SET files = '[]'`),
		"another digest": set("digest", other.String()),
		"a lower risk":   set("risk", "low"),
		"another verdict": func(w *world, t *testing.T, v *Version) {
			w.edit(t, v.Ref, func(d map[string]any) { d["scan"].(map[string]any)["verdict"] = "suspicious" })
		},
		"somebody else's word": func(w *world, t *testing.T, v *Version) {
			w.edit(t, v.Ref, func(d map[string]any) { d["scan"].(map[string]any)["by"] = "local/human/mia" })
		},
		"no look":                set("scan", nil),
		"a producer's signature": set("signature", map[string]any{"digest": other.String(), "files": other.String(), "signer": "training"}),
		"no signature":           sql(`UPDATE registry_versions SET house = x''`),
		"no word of it":          set("house", nil),
		"another key": func(w *world, t *testing.T, v *Version) {
			w.edit(t, v.Ref, func(d map[string]any) { d["house"].(map[string]any)["key"] = strings.Repeat("0", 64) })
		},
		"that of another": sql(`UPDATE registry_versions SET house = (SELECT o.house FROM registry_versions o WHERE o.number = 1)`),
		"all of another": func(w *world, t *testing.T, v *Version) {
			one := w.now(t, Ref{"fraud", 1})
			w.edit(t, v.Ref, func(d map[string]any) { d["digest"], d["house"] = one.Digest.String(), one.House },
				`UPDATE registry_versions SET (files, house, digest) = (SELECT o.files, o.house, o.digest FROM registry_versions o WHERE o.number = 1)`)
		},
	}
}

// TestTampered: whatever is changed of a version in the database, between its review and its
// publication or between its publication and its deployment, is found, told once, and goes nowhere.
func TestTampered(t *testing.T) {
	w := newHouse(t)
	w.create(t, Medium)
	w.publish(t, `{"a": 1}`)
	other := w.shelf.file("weights.json", `{"b": 999}`).Digest
	n := 0
	for name, tamper := range tampered(other) {
		t.Run(name, func(t *testing.T) {
			n += 2
			v := w.review(t, `{"r":`+string(rune('a'+n/26))+string(rune('a'+n%26))+`}`)
			p, err := w.PlanPublish(t.Context(), "local", v.Ref)
			if err != nil {
				t.Fatal(err)
			}
			tamper(w, t, v)
			before, _ := w.told(t, KindAltered)
			for range 2 {
				if _, err := w.PlanPublish(t.Context(), "local", v.Ref); pavise.KindOf(err) != pavise.Unverified && pavise.KindOf(err) != pavise.Conflict {
					t.Errorf("planned: %v", err)
				}
			}
			if after, findings := w.told(t, KindAltered); after != before+1 || findings != after {
				t.Errorf("before its publication: %d notes, %d findings", after-before, findings)
			}
			if err := w.Publish(t.Context(), "local", v.Ref, approved(pat, p, amy, abe)); err == nil {
				t.Error("published")
			}
			v = w.publish(t, `{"p":`+string(rune('a'+n/26))+string(rune('a'+n%26))+`}`)
			tamper(w, t, v)
			before, _ = w.told(t, KindAltered)
			for range 2 {
				if why := w.Altered(t.Context(), w.now(t, v.Ref)); why == "" {
					t.Errorf("%q", why)
				}
			}
			if after, findings := w.told(t, KindAltered); after != before+1 || findings != after {
				t.Errorf("%d notes, %d findings", after-before, findings)
			}
		})
	}
	t.Run("looked at anew", func(t *testing.T) { // to have the house sign other files as reviewed, or as published
		pend := func(v *Version) {
			w.edit(t, v.Ref, func(d map[string]any) {
				d["intake"], d["risk"], d["digest"] = "pending", "low", DigestOf([]File{{"weights.json", 10, other}}).String()
			},
				`UPDATE registry_versions SET intake = 'pending', files = '[{"path":"weights.json","size":10,"digest":"`+other.String()+`"}]'`)
			if again, err := w.Take(t.Context(), "local", v.Ref); err != nil || again.Intake != Pending {
				t.Fatalf("what is no draft is looked at anew: %+v %v", again.Intake, err)
			}
		}
		v := w.review(t, `{"e": 1}`)
		pend(v)
		if _, err := w.PlanPublish(t.Context(), "local", v.Ref); err == nil {
			t.Error("other files pass for what was reviewed")
		}
		v = w.publish(t, `{"d": 1}`)
		pend(v)
		if why := w.Altered(t.Context(), w.now(t, v.Ref)); why == "" {
			t.Error("other files pass for what was published")
		}
	})
	t.Run("published by nobody", func(t *testing.T) {
		v := w.review(t, `{"c": 1}`)
		w.edit(t, v.Ref, func(d map[string]any) { d["state"] = "published" }, `UPDATE registry_versions SET state = 'published'`)
		if why := w.Altered(t.Context(), w.now(t, v.Ref)); !strings.Contains(why, "no change published it") {
			t.Errorf("%q", why)
		}
		w.edit(t, v.Ref, func(d map[string]any) { d["change"] = "local/change/approved" })
		if why := w.Altered(t.Context(), w.now(t, v.Ref)); why == "" {
			t.Errorf("%q", why)
		}
	})
}

// TestKilledBeforeSigning: a process that ends between the look and the signature leaves a version
// that is pending, and the next one looks and signs by itself.
func TestKilledBeforeSigning(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, func(c *Config) { c.House = house(t, dir) })
	w.create(t, Low)
	v, err := w.Add(t.Context(), mia, AddSpec{Model: fraud, FileSpec: FileSpec{Files: []File{w.shelf.file("w.json", `{"a": 1}`)}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.log.Close(); err != nil { // what was signed cannot be written down: it was not
		t.Fatal(err)
	}
	if _, err := w.Take(t.Context(), "local", v.Ref); err == nil {
		t.Fatal("taken without a record")
	}
	if v := w.now(t, v.Ref); v.Intake != Pending || v.House != nil || len(v.house) > 0 {
		t.Fatalf("%+v", v)
	}
	next := newWorld(t, func(c *Config) { c.Store, c.Files, c.House = w.cfg.Store, w.shelf, house(t, dir) })
	if _, err := next.sweep(t.Context(), true); err != nil { // which is what Run does
		t.Fatal(err)
	}
	if v := next.now(t, v.Ref); v.Intake != Ready || v.House == nil || next.held(v) != nil {
		t.Errorf("%+v", v)
	}
}

// TestNoRoom: without room for a look a version stays pending, and says why; with it, it goes on.
func TestNoRoom(t *testing.T) {
	w := newHouse(t)
	w.create(t, Low)
	v, err := w.Add(t.Context(), mia, AddSpec{Model: fraud, FileSpec: FileSpec{Files: []File{w.shelf.file("w.json", `{"a": 1}`)}}})
	if err == nil {
		err = os.Remove(w.cfg.Dir)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Take(t.Context(), "local", v.Ref); pavise.KindOf(err) != pavise.Unavailable {
		t.Errorf("%v", err)
	}
	s, err := w.Show(t.Context(), mia, "local", v.Ref)
	if err != nil || s.Versions[0].Intake != Pending || !s.Versions[0].Stalled || !strings.Contains(s.Versions[0].Problem, "cannot be laid out") {
		t.Errorf("%+v %v", s.Versions[0], err)
	}
	if l, err := w.List(t.Context(), mia, ""); err != nil || !l.Models[0].Versions[0].Stalled {
		t.Errorf("a list does not say why: %v", err)
	}
	if err := os.Mkdir(w.cfg.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if v, err = w.Take(t.Context(), "local", v.Ref); err != nil || v.Intake != Ready || v.House == nil {
		t.Errorf("%+v %v", v, err)
	}
	if s, err = w.Show(t.Context(), mia, "local", v.Ref); err != nil || s.Versions[0].Stalled || s.Versions[0].Problem != "" {
		t.Errorf("%+v %v", s.Versions[0], err)
	}
}

// TestProducers: where a model, or the installation, asks for a producer's signature, nothing is
// published without one that holds as of then; and that it is asked for is not taken back.
func TestProducers(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, always := range map[string]bool{"model": false, "installation": true} {
		t.Run(name, func(t *testing.T) {
			w := newHouse(t, func(c *Config) {
				c.Signers, c.Producers = []Signer{{"training", oms.Trust{Key: &key.PublicKey}}}, always
			})
			spec := ModelSpec{Name: fraud, Risk: Low}
			if !always {
				spec.Tags = map[string]string{TagSigned: "true"}
			}
			if _, err := w.Create(t.Context(), mia, spec); err != nil {
				t.Fatal(err)
			}
			v := w.now(t, w.review(t, `{"a": 1}`).Ref)
			if _, err := w.PlanPublish(t.Context(), "local", v.Ref); pavise.KindOf(err) != pavise.Conflict || !strings.Contains(err.Error(), "not signed") {
				t.Errorf("%v", err)
			}
			if counts, why, err := w.Signed(t.Context(), red, "local", v.Ref, Signing{v.Digest, Digest{7}, signedBy(t, key, v.Files...)}); !counts || err != nil {
				t.Fatalf("%s %v", why, err)
			}
			p, err := w.PlanPublish(t.Context(), "local", v.Ref)
			if err != nil {
				t.Fatal(err)
			}
			w.edit(t, v.Ref, nil, `UPDATE registry_versions SET bundle = x'7b7d'`)
			if _, err := w.PlanPublish(t.Context(), "local", v.Ref); pavise.KindOf(err) != pavise.Unverified {
				t.Errorf("a signature that is none: %v", err)
			}
			w.edit(t, v.Ref, nil, `UPDATE registry_versions SET bundle = CAST('`+string(signedBy(t, key, v.Files...))+`' AS BLOB)`)
			if err := w.Publish(t.Context(), "local", v.Ref, approved(pat, p, amy, abe)); err != nil {
				t.Error(err)
			}
			if always {
				return
			}
			no := "false"
			for what, tags := range map[string]map[string]*string{"away": {TagSigned: nil}, "false": {TagSigned: &no}} {
				if err := w.Tag(t.Context(), mia, "local", Ref{Model: "fraud"}, Words{Tags: tags}); pavise.KindOf(err) != pavise.Denied {
					t.Errorf("%s: %v", what, err)
				}
			}
			lost := w.now(t, w.review(t, `{"b": 1}`).Ref)
			w.edit(t, lost.Ref, func(d map[string]any) { delete(d, "house") }, `UPDATE registry_versions SET house = x''`)
			if _, _, err := w.Signed(t.Context(), red, "local", lost.Ref, Signing{lost.Digest, Digest{7}, signedBy(t, key, lost.Files...)}); pavise.KindOf(err) != pavise.Unverified || w.now(t, lost.Ref).House != nil {
				t.Errorf("a producer's signature has the house sign what it did not: %v", err)
			}
			yes, words := "true", "cards"
			if err := w.Tag(t.Context(), mia, "local", Ref{Model: "fraud"}, Words{&words, map[string]*string{TagSigned: &yes}}); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestBegins: what was ready before the house ever signed is signed at its first start, once, and
// also where that start was killed; what loses its signature later is not signed again.
func TestBegins(t *testing.T) {
	w := newWorld(t)
	w.create(t, Low)
	drafted, published := w.add(t, `{"a": 1}`), w.publish(t, `{"a": 2}`)
	dir := t.TempDir()
	w.cfg.House = house(t, dir) // and is killed before it began
	w.cfg.House = house(t, dir)
	start := func() {
		t.Helper()
		r, err := Open(t.Context(), w.cfg)
		if err != nil {
			t.Fatal(err)
		}
		w.Registry = r
	}
	start()
	for _, ref := range []Ref{drafted.Ref, published.Ref} {
		if v := w.now(t, ref); v.House == nil || w.held(v) != nil {
			t.Errorf("%+v", v)
		}
	}
	if why := w.Altered(t.Context(), w.now(t, published.Ref)); why != "" {
		t.Errorf("%q", why)
	}
	if n, _ := w.told(t, KindVouched); n != 2 {
		t.Errorf("%d notes", n)
	}
	w.edit(t, published.Ref, func(d map[string]any) { delete(d, "house") }, `UPDATE registry_versions SET house = x''`)
	w.cfg.House = house(t, dir)
	start()
	if v := w.now(t, published.Ref); v.House != nil || w.held(v) == nil {
		t.Errorf("it was signed again: %+v", v)
	}
}
