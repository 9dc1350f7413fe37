package registry

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/CycloneDX/cyclonedx-go"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/oms"
	"github.com/pavise/pavise/internal/store"
)

// TestBinding: what was said of one content does not count for another, and an approval of it
// is dead.
func TestBinding(t *testing.T) {
	w := newWorld(t)
	w.create(t, Medium)
	v := w.review(t, `{"a": 1}`)
	old, err := w.PlanPublish(t.Context(), "local", v.Ref)
	if err != nil {
		t.Fatal(err)
	}
	// a description is words, and tags are: what people judged is as it was
	words := "card payments, and nothing else"
	if err := w.Tag(t.Context(), mia, "local", v.Ref, Words{Description: &words, Tags: map[string]*string{"team": &words}}); err != nil {
		t.Fatal(err)
	}
	if p, err := w.PlanPublish(t.Context(), "local", v.Ref); err != nil || p.depends(old.Digests()) != nil || p.Version.Description != words {
		t.Errorf("an approval of what has another description: %+v, %v", p, err)
	}
	// more evidence is another content of what people approve
	if _, err := w.Evidence(t.Context(), red, "local", v.Ref, EvidenceSpec{Kind: EvidenceAttack, Digest: v.Digest.String(), Result: Pass, Summary: "and again"}); err != nil {
		t.Fatal(err)
	}
	wantKind(t, w.Publish(t.Context(), "local", v.Ref, approved(pat, old, amy, abe)), pavise.Conflict)
	// one that fails ends it
	if _, err := w.Evidence(t.Context(), red, "local", v.Ref, EvidenceSpec{Kind: EvidenceAttack, Digest: v.Digest.String(), Result: Fail, Summary: "it falls"}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.PlanPublish(t.Context(), "local", v.Ref); pavise.KindOf(err) != pavise.Conflict || !strings.Contains(err.Error(), "did not pass: it falls") {
		t.Errorf("a version that fell to an attack: %v", err)
	}
	// other files are a draft, of which nothing is known
	n, err := w.Fill(t.Context(), mia, "local", v.Ref, FileSpec{Files: []File{w.shelf.file("weights.json", `{"a": 2}`)}})
	if err != nil || n.State != Draft || n.Intake != Pending || n.Digest == v.Digest || len(n.Reviewers) != 0 || n.Scan != nil {
		t.Fatalf("%+v, %v", n, err)
	}
	if n = w.now(t, v.Ref); !n.Evaluations[0].Stale || tested(n) == nil {
		t.Errorf("evidence on other files counts: %+v", n.Evaluations)
	}
	wantKind(t, w.Publish(t.Context(), "local", v.Ref, approved(pat, old, amy, abe)), pavise.Denied) // by the guardrail: it is a draft
	if _, err := w.Evidence(t.Context(), red, "local", v.Ref, EvidenceSpec{Kind: EvidenceAttack, Digest: v.Digest.String(), Result: Pass, Summary: "of the old"}); pavise.KindOf(err) != pavise.Conflict {
		t.Errorf("evidence on another digest is taken: %v", err)
	}
	if _, err := w.Propose(t.Context(), mia, "local", v.Ref, ""); pavise.KindOf(err) != pavise.Conflict {
		t.Errorf("what nobody looked at is proposed: %v", err)
	}
	published := w.publish(t, `{"a": 3}`)
	if _, err := w.Fill(t.Context(), mia, "local", published.Ref, FileSpec{Files: []File{w.shelf.file("weights.json", `{"a": 4}`)}}); pavise.KindOf(err) != pavise.Conflict {
		t.Errorf("a published version is given other files: %v", err)
	}
}

// TestMarkFails: what the change cannot mark has not been done, and policies see it so.
func TestMarkFails(t *testing.T) {
	w := newWorld(t)
	w.create(t, Low)
	v := w.review(t, `{"a": 1}`)
	p, err := w.PlanPublish(t.Context(), "local", v.Ref)
	if err != nil {
		t.Fatal(err)
	}
	act := approved(pat, p, amy)
	act.Mark = func(*store.Tx) error { return errors.New("the disk is full") }
	if err := w.Publish(t.Context(), "local", v.Ref, act); err == nil {
		t.Error("no error")
	}
	w.want(t, v.Ref, Reviewed)
	if h, err := w.History(t.Context(), mia, fraud, time.Time{}); err != nil || len(h.Steps) != 3 {
		t.Errorf("%d steps, %v", len(h.Steps), err)
	}
}

// TestIntake takes in what is there, as it was said, and harmless; nothing else.
func TestIntake(t *testing.T) {
	w := newWorld(t)
	w.create(t, Low)
	harmful := "cos\nsystem\n(S'true'\ntR." // a pickle that runs a command
	lies := w.shelf.file("weights.json", `{"a": 1}`)
	w.shelf[lies.Digest] = `{"a": 2}`
	short := w.shelf.file("weights.json", `{"b": 1}`)
	short.Size++
	for name, test := range map[string]struct {
		files []File
		want  Intake
		notes int
	}{
		"whole and harmless": {[]File{w.shelf.file("a/b.json", `{"c": 1}`), w.shelf.file("c.json", `{"d": 1}`)}, Ready, 0},
		"one file":           {[]File{w.shelf.file(".", `{"e": 1}`)}, Ready, 0},
		"harmful":            {[]File{w.shelf.file("m.pkl", harmful)}, Failed, 1},
		"not what was said":  {[]File{lies}, Failed, 1},
		"of another size":    {[]File{short}, Failed, 1},
		"not all there":      {[]File{w.shelf.file("c.json", `{"d": 1}`), {"d.json", 3, Digest{9}}}, Pending, 0},
	} {
		before := len(w.notes(t, KindHarmful))
		v, err := w.Add(t.Context(), mia, AddSpec{Model: fraud, FileSpec: FileSpec{Files: test.files}})
		if err != nil {
			t.Fatal(name, err)
		}
		if v, err = w.Take(t.Context(), "local", v.Ref); err != nil || v.Intake != test.want || (test.want == Ready) != (v.Problem == "") {
			t.Errorf("%s: %s %q, %v", name, v.Intake, v.Problem, err)
		}
		if n := len(w.notes(t, KindHarmful)) - before; n != test.notes {
			t.Errorf("%s: %d findings", name, n)
		}
		_, err = w.Propose(t.Context(), mia, "local", v.Ref, "")
		if (err == nil) != (test.want == Ready) {
			t.Errorf("%s is proposed: %v", name, err)
		}
	}
	for name, files := range map[string][]File{
		"none twice": {{"a", 1, Digest{1}}, {"a", 1, Digest{2}}}, "no way up": {{"../a", 1, Digest{1}}}, "a file and a directory": {{"a", 1, Digest{1}}, {"a-b", 1, Digest{1}}, {"a/b", 1, Digest{2}}},
		"no digest": {{"a", 1, Digest{}}}, "no size": {{"a", -1, Digest{1}}}, "a dot among others": {{".", 1, Digest{1}}, {"b", 1, Digest{1}}}, "an absolute path": {{"/etc/passwd", 1, Digest{1}}},
	} {
		if _, err := w.Add(t.Context(), mia, AddSpec{Model: fraud, FileSpec: FileSpec{Files: files}}); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// signedBy is a bundle over files by a key.
func signedBy(t *testing.T, key *ecdsa.PrivateKey, files ...File) []byte {
	t.Helper()
	signer, err := oms.NewSigner(key, nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	m := &oms.Manifest{Name: "fraud", Hash: "sha256"}
	for _, f := range files {
		m.Files = append(m.Files, oms.File{Path: f.Path, Parts: []oms.Part{{Digest: slices.Clone(f.Digest[:])}}})
	}
	bundle, err := signer.Sign(m)
	if err != nil {
		t.Fatal(err)
	}
	return bundle
}

// TestSignature: files that are not here count by the word of who is believed, and of nobody
// else; of exactly these files; and only what was looked at.
func TestSignature(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(c *Config) {
		c.Files = nil
		c.Signers = []Signer{{"training", oms.Trust{Key: &key.PublicKey}}}
	})
	w.create(t, Low)
	files := []File{{"a.json", 1, Digest{1}}, {"b/c.json", 2, Digest{2}}}
	clean, bad := &Scan{Verdict: "clean"}, &Scan{Verdict: "malicious", Findings: []string{"it runs a command"}}
	add := func(scan *Scan, bundle []byte) (*Version, error) {
		return w.Add(t.Context(), mia, AddSpec{Model: fraud, FileSpec: FileSpec{Files: slices.Clone(files), Scan: scan, Signature: bundle}})
	}
	good := signedBy(t, key, files...)
	v, err := add(clean, good)
	if err != nil || v.Intake != Ready || v.Signature.Signer != "training" || v.Signature.Files != v.Digest || v.Scan.By != mia.Name() {
		t.Errorf("%+v, %v", v, err)
	}
	if kept := w.now(t, v.Ref).Bundle(); !bytes.Equal(kept, good) {
		t.Errorf("the bundle is not kept: %v", err)
	}
	for name, test := range map[string]struct {
		scan   *Scan
		bundle []byte
		want   Intake
	}{"not looked at": {nil, good, Pending}, "not signed": {clean, nil, Pending}, "harmful": {bad, good, Failed}} {
		if v, err := add(test.scan, test.bundle); err != nil || v.Intake != test.want {
			t.Errorf("%s: %+v, %v", name, v, err)
		}
	}
	flipped := slices.Clone(good)
	flipped[bytes.Index(flipped, []byte(`"payload"`))+20] ^= 1
	for name, bundle := range map[string][]byte{
		"by a stranger": signedBy(t, stranger, files...), "of fewer files": signedBy(t, key, files[0]), "of another digest": signedBy(t, key, files[0], File{"b/c.json", 2, Digest{3}}),
		"of another path": signedBy(t, key, files[0], File{"b/d.json", 2, Digest{2}}), "changed": flipped, "no bundle": []byte("{}"),
	} {
		if _, err := add(clean, bundle); pavise.KindOf(err) != pavise.Unverified {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := add(&Scan{Verdict: "fine"}, good); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("a verdict that there is not: %v", err)
	}
}

// TestSealed holds datasets to the catalog.
func TestSealed(t *testing.T) {
	flows := pavise.Name{Tenant: "local", Kind: "dataset", ID: "flows"}
	root, other := strings.Repeat("a", 64), strings.Repeat("b", 64)
	w := newWorld(t, func(c *Config) {
		c.Sealed = func(_ context.Context, name pavise.Name, r string) (bool, bool, error) {
			return name == flows, r == root, nil
		}
	})
	w.create(t, Low)
	elsewhere := pavise.Name{Tenant: "local", Kind: "dataset", ID: "elsewhere"}
	v, err := w.Add(t.Context(), mia, AddSpec{Model: fraud, Datasets: []Seal{{Name: flows, Root: root}, {Name: elsewhere, Root: other, Known: true}}})
	if err != nil || !v.Datasets[0].Known || v.Datasets[1].Known {
		t.Errorf("%+v, %v", v, err)
	}
	_, err = w.Add(t.Context(), mia, AddSpec{Model: fraud, Datasets: []Seal{{Name: flows, Root: other}}})
	wantKind(t, err, pavise.Unverified)
	flows.Tenant = "other"
	_, err = w.Add(t.Context(), mia, AddSpec{Model: fraud, Datasets: []Seal{{Name: flows, Root: root}}})
	wantKind(t, err, pavise.Invalid)
}

// TestAliasAndHistory: an alias means what people approved, only what is published has one,
// and what it meant, and what served, can be looked up for any time.
func TestAliasAndHistory(t *testing.T) {
	w := newWorld(t)
	w.create(t, Low)
	one, draft := w.publish(t, `{"a": 1}`), w.add(t, `{"a": 2}`)
	give := func(n int) error {
		p, err := w.PlanAlias(t.Context(), fraud, AliasSpec{"champion", n})
		if err != nil {
			return err
		}
		return w.Alias(t.Context(), fraud, AliasSpec{"champion", n}, approved(pat, p, amy))
	}
	wantKind(t, give(draft.Ref.Version), pavise.Conflict)
	wantKind(t, give(9), pavise.NotFound)
	if err := give(1); err != nil {
		t.Fatal(err)
	}
	wantKind(t, give(1), pavise.Conflict)
	two := w.publish(t, `{"a": 3}`)
	stale, err := w.PlanAlias(t.Context(), fraud, AliasSpec{"champion", two.Ref.Version})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Moved(t.Context(), "local", one.Ref, Live, "deployed"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Millisecond)
	then := w.cfg.Now()
	time.Sleep(2 * time.Millisecond)
	wantKind(t, w.Alias(t.Context(), fraud, AliasSpec{"champion", two.Ref.Version}, approved(pat, stale)), pavise.Denied)
	if err := give(two.Ref.Version); err != nil {
		t.Fatal(err)
	}
	wantKind(t, w.Alias(t.Context(), fraud, AliasSpec{"champion", two.Ref.Version}, approved(pat, stale, amy)), pavise.Conflict) // replayed
	if err := w.Moved(t.Context(), "local", one.Ref, RolledBack, "worse"); err != nil {
		t.Fatal(err)
	}
	if err := w.Moved(t.Context(), "local", two.Ref, Live, "deployed"); err != nil {
		t.Fatal(err)
	}
	if v, err := w.Aliased(t.Context(), fraud, "champion"); err != nil || v.Ref != two.Ref || !slices.Equal(v.Aliases, []string{"champion"}) {
		t.Errorf("%+v, %v", v, err)
	}
	h, err := w.History(t.Context(), mia, fraud, then)
	if err != nil || len(h.Serving) != 1 || h.Serving[0].Version != 1 || h.Serving[0].Digest != one.Digest || h.Aliases["champion"] != 1 {
		t.Errorf("then: %+v, %v", h, err)
	}
	h, err = w.History(t.Context(), mia, fraud, time.Time{})
	if err != nil || len(h.Serving) != 1 || h.Serving[0].Version != two.Ref.Version || h.Aliases["champion"] != two.Ref.Version {
		t.Errorf("now: %+v, %v", h, err)
	}
	_, err = w.PlanRetire(t.Context(), "local", two.Ref)
	wantKind(t, err, pavise.Conflict)
	p, err := w.PlanAlias(t.Context(), fraud, AliasSpec{"champion", 0})
	if err == nil {
		err = w.Unalias(t.Context(), fraud, "champion", approved(pat, p, amy))
	}
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Aliased(t.Context(), fraud, "champion")
	wantKind(t, err, pavise.NotFound)
	if h, err := w.History(t.Context(), mia, fraud, time.Time{}); err != nil || len(h.Aliases) != 0 {
		t.Errorf("it is remembered as taken: %+v, %v", h.Aliases, err)
	}
	if all, err := w.ByDigest(t.Context(), "local", two.Digest); err != nil || len(all) != 1 || all[0].Ref != two.Ref {
		t.Errorf("%+v, %v", all, err)
	}
	if all, err := w.ByDigest(t.Context(), "other", two.Digest); err != nil || len(all) != 0 {
		t.Errorf("another tenant's: %+v, %v", all, err)
	}
}

// TestQuarantine: from every state, at once; nothing leads on from there but two other people.
func TestQuarantine(t *testing.T) {
	w := newWorld(t)
	w.create(t, Low)
	published := w.publish(t, `{"a": 9}`)
	if err := w.Moved(t.Context(), "local", published.Ref, Live, "deployed"); err != nil {
		t.Fatal(err)
	}
	proposed := w.add(t, `{"a": 1}`)
	if _, err := w.Propose(t.Context(), mia, "local", proposed.Ref, ""); err != nil {
		t.Fatal(err)
	}
	for v, back := range map[*Version]State{w.add(t, `{"a": 2}`): Draft, proposed: Proposed, w.review(t, `{"a": 3}`): Reviewed, published: Published} {
		if _, err := w.Quarantine(t.Context(), ray, "local", v.Ref, "it leaks"); err != nil {
			t.Fatal(err)
		}
		w.want(t, v.Ref, Quarantined)
		_, err := w.Quarantine(t.Context(), ray, "local", v.Ref, "again")
		wantKind(t, err, pavise.Conflict)
		_, err = w.Propose(t.Context(), mia, "local", v.Ref, "the way round")
		wantKind(t, err, pavise.Conflict)
		_, err = w.Fill(t.Context(), mia, "local", v.Ref, FileSpec{Files: []File{w.shelf.file("w.json", "{}")}})
		wantKind(t, err, pavise.Conflict)
		_, err = w.Review(t.Context(), ray, "local", v.Ref, v.Digest.String(), "")
		wantKind(t, err, pavise.Denied)
		p, err := w.PlanRelease(t.Context(), "local", v.Ref)
		if err != nil || p.To != back {
			t.Fatalf("%+v, %v", p, err)
		}
		for _, by := range [][]pavise.Principal{{}, {amy}, {amy, mia}, {amy, amy}} {
			wantKind(t, w.Release(t.Context(), "local", v.Ref, approved(pat, p, by...)), pavise.Denied)
		}
		if err := w.Release(t.Context(), "local", v.Ref, approved(pat, p, amy, abe)); err != nil {
			t.Fatal(err)
		}
		w.want(t, v.Ref, back)
	}
}

// TestOverdue: of every state that waits for somebody, a finding comes when nothing came of it
// in time, and comes again, more loudly; once it goes on, none does.
func TestOverdue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *Config) { // as long as the real ones, Run would wake a hundred thousand times
			c.Timeouts = map[State]time.Duration{Reviewed: 30 * time.Minute, Published: time.Hour}
		})
		w.create(t, Low)
		v := w.review(t, `{"a": 1}`)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx) }()
		check := func(n int, severity string) {
			t.Helper()
			synctest.Wait()
			all := w.notes(t, KindOverdue)
			if len(all) != n {
				t.Fatalf("%d findings, want %d", len(all), n)
			}
			if n == 0 {
				return
			}
			var last Noted
			if err := json.Unmarshal(all[n-1].Detail, &last); err != nil || last.Version != v.Ref || last.Finding.Severity != severity {
				t.Errorf("%+v, %v", last, err)
			}
		}
		time.Sleep(30*time.Minute - time.Second)
		check(0, "")
		time.Sleep(2 * time.Second)
		check(1, pavise.Warning)
		time.Sleep(30 * time.Minute)
		check(2, pavise.Critical)
		p, err := w.PlanPublish(t.Context(), "local", v.Ref)
		if err == nil {
			err = w.Publish(t.Context(), "local", v.Ref, approved(pat, p, amy))
		}
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(59 * time.Minute)
		check(2, pavise.Critical)
		time.Sleep(2 * time.Minute)
		check(3, pavise.Warning)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestRunTakesIn: files that come later are taken in without anybody asking.
func TestRunTakesIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.create(t, Low)
		later := w.shelf.file("w.json", `{"a": 1}`)
		delete(w.shelf, later.Digest)
		v, err := w.Add(t.Context(), mia, AddSpec{Model: fraud, FileSpec: FileSpec{Files: []File{later}}})
		if err != nil {
			t.Fatal(err)
		}
		w.shelf.file("w.json", `{"a": 1}`)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx) }()
		time.Sleep(2 * wake)
		synctest.Wait()
		if v := w.now(t, v.Ref); v.Intake != Ready {
			t.Errorf("%+v", v)
		}
		cancel()
		<-done
	})
}

// TestBill: a bill of materials that the project's own library reads, the same bytes for the
// same knowledge, and the one that was published.
func TestBill(t *testing.T) {
	w := newWorld(t)
	w.create(t, Medium)
	v := w.publish(t, `{"a": 1}`)
	bill, err := w.Bill(t.Context(), mia, "local", v.Ref)
	if err != nil {
		t.Fatal(err)
	}
	again, err := w.Bill(t.Context(), mia, "local", v.Ref)
	if err != nil || !bytes.Equal(bill, again) || v.BOM != sha256.Sum256(bill) {
		t.Errorf("another bill: %v", err)
	}
	var bom cyclonedx.BOM
	if err := cyclonedx.NewBOMDecoder(bytes.NewReader(bill), cyclonedx.BOMFileFormatJSON).Decode(&bom); err != nil {
		t.Fatal(err)
	}
	c := bom.Metadata.Component
	if bom.SpecVersion != cyclonedx.SpecVersion1_6 || c.Type != cyclonedx.ComponentTypeMachineLearningModel || c.Name != "fraud" || c.Version != "1" || len(*bom.Components) != 1 {
		t.Errorf("%s", bill)
	}
	if f := (*bom.Components)[0]; f.Name != "weights.json" || "sha256:"+(*f.Hashes)[0].Value != v.Files[0].Digest.String() {
		t.Errorf("%+v", f)
	}
}
