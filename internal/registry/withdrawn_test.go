package registry

import (
	"slices"
	"testing"
	"time"

	"github.com/pavise/pavise"
)

// TestRetiredOutOfQuarantine: one person's word retires what is in quarantine, and does not let
// it out: nobody gets its files, and where it was what served, nobody asks the model until
// another version serves.
func TestRetiredOutOfQuarantine(t *testing.T) {
	w := newWorld(t)
	w.create(t, Low)
	live := func(text string) *Version {
		t.Helper()
		v := w.publish(t, text)
		if err := w.Moved(t.Context(), "local", v.Ref, Live, "deployed"); err != nil {
			t.Fatal(err)
		}
		return v
	}
	v := live(`{"a": 1}`)
	if _, err := w.Quarantine(t.Context(), ray, "local", v.Ref, "it leaks"); err != nil {
		t.Fatal(err)
	}
	p, err := w.PlanRetire(t.Context(), "local", v.Ref)
	if err == nil {
		err = w.Retire(t.Context(), "local", v.Ref, approved(pat, p, mia))
	}
	if err != nil {
		t.Fatal(err)
	}
	w.want(t, v.Ref, Retired)
	held := func(barred bool) {
		t.Helper()
		if !w.now(t, v.Ref).Barred() || !w.Facts(v.Name()).Quarantined {
			t.Errorf("whoever may get retired versions gets it: %+v", w.Facts(v.Name()))
		}
		if w.Facts(fraud).Quarantined != barred {
			t.Errorf("the model is barred: %v", !barred)
		}
	}
	held(true)
	next := live(`{"a": 2}`)
	held(false)
	shares, err := w.Add(t.Context(), mia, AddSpec{Model: fraud, FileSpec: FileSpec{Files: []File{w.shelf.file("weights.json", `{"a": 1}`), w.shelf.file("more.json", "{}")}}})
	if err != nil {
		t.Fatal(err)
	}
	wantKind(t, w.Unfit(t.Context(), "local", v.Files[0].Digest.String()), pavise.Denied) // whatever else has the file
	if err := w.Unfit(t.Context(), "local", shares.Files[0].Digest.String()); err != nil {
		t.Error(err)
	}
	if w.Registry, err = Open(t.Context(), w.cfg); err != nil {
		t.Fatal(err)
	}
	held(false)
	if _, err := w.Quarantine(t.Context(), ray, "local", next.Ref, "so does it"); err != nil {
		t.Fatal(err)
	}
	held(true)
}

// TestRetiredOtherwise: what was retired without a quarantine is not barred.
func TestRetiredOtherwise(t *testing.T) {
	w := newWorld(t)
	w.create(t, Low)
	v := w.publish(t, `{"a": 1}`)
	for _, step := range []string{"", "in quarantine and out"} {
		if step != "" {
			if _, err := w.Quarantine(t.Context(), ray, "local", v.Ref, "it looks odd"); err != nil {
				t.Fatal(err)
			}
			p, err := w.PlanRelease(t.Context(), "local", v.Ref)
			if err == nil {
				err = w.Release(t.Context(), "local", v.Ref, approved(pat, p, amy, abe))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if v := w.now(t, v.Ref); v.Barred() || !v.Withdrawn.IsZero() || w.Facts(v.Name()).Quarantined {
			t.Errorf("%s: %+v", step, v)
		}
	}
	p, err := w.PlanRetire(t.Context(), "local", v.Ref)
	if err == nil {
		err = w.Retire(t.Context(), "local", v.Ref, approved(pat, p, amy))
	}
	if err != nil || w.now(t, v.Ref).Barred() {
		t.Errorf("%v, barred: %v", err, w.now(t, v.Ref).Barred())
	}
}

// TestFilesInQuarantine: the files of a version in quarantine are no other version, and one that
// there is of them already goes no further.
func TestFilesInQuarantine(t *testing.T) {
	w := newWorld(t)
	w.create(t, Low)
	twin, twinToo, v := w.add(t, `{"a": 1}`), w.review(t, `{"a": 1}`), w.publish(t, `{"a": 1}`)
	other := w.add(t, `{"a": 2}`)
	p, err := w.PlanPublish(t.Context(), "local", twinToo.Ref)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Quarantine(t.Context(), ray, "local", v.Ref, "it leaks"); err != nil {
		t.Fatal(err)
	}
	same := FileSpec{Files: []File{w.shelf.file("weights.json", `{"a": 1}`)}}
	_, err = w.Add(t.Context(), mia, AddSpec{Model: fraud, FileSpec: same})
	wantKind(t, err, pavise.Denied)
	_, err = w.Fill(t.Context(), mia, "local", other.Ref, same)
	wantKind(t, err, pavise.Denied)
	_, err = w.Propose(t.Context(), mia, "local", twin.Ref, "")
	wantKind(t, err, pavise.Denied)
	wantKind(t, w.Publish(t.Context(), "local", twinToo.Ref, approved(pat, p, amy)), pavise.Denied)
	w.want(t, twinToo.Ref, Reviewed)
	if _, err := w.Propose(t.Context(), mia, "local", other.Ref, ""); err != nil {
		t.Error(err)
	}
}

// TestWithdrawn lists what is in quarantine, the newest first, with what may be asked of it, until
// it is let out.
func TestWithdrawn(t *testing.T) {
	w := newWorld(t)
	w.create(t, Low)
	want := func(refs ...Ref) []Withdrawn {
		t.Helper()
		var got []Ref
		all, err := w.Withdrawn(t.Context())
		for _, one := range all {
			got = append(got, one.Ref)
		}
		if err != nil || !slices.Equal(got, refs) {
			t.Fatalf("in quarantine are %v, not %v: %v", got, refs, err)
		}
		return all
	}
	want()
	one, two := w.publish(t, `{"a": 1}`), w.publish(t, `{"a": 2}`)
	many, err := w.Add(t.Context(), mia, AddSpec{Model: fraud, FileSpec: FileSpec{Files: []File{w.shelf.file("a/model.onnx", "not looked at"), w.shelf.file("same.onnx", "not looked at"), w.shelf.file("README.md", "words")}}})
	if err != nil {
		t.Fatal(err)
	}
	want()
	for _, v := range []*Version{one, two, many} {
		w.skew.Add(int64(time.Second))
		if _, err := w.Quarantine(t.Context(), ray, "local", v.Ref, "it leaks"); err != nil {
			t.Fatal(err)
		}
	}
	all := want(many.Ref, two.Ref, one.Ref)
	if len(all[0].Models) != 1 || all[0].Models[0] != w.shelf.file("x", "not looked at").Digest || len(all[1].Models) != 1 || all[1].Digest != two.Digest || all[1].Name != two.Name() {
		t.Errorf("%+v", all)
	}
	if w.Registry, err = Open(t.Context(), w.cfg); err != nil {
		t.Fatal(err)
	}
	want(many.Ref, two.Ref, one.Ref)
	p, err := w.PlanRelease(t.Context(), "local", two.Ref)
	if err == nil {
		err = w.Release(t.Context(), "local", two.Ref, approved(pat, p, amy, abe))
	}
	if err != nil {
		t.Fatal(err)
	}
	want(many.Ref, one.Ref)
}
