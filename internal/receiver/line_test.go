package receiver

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
)

// TestSchedule lets a receiver run over days: what comes is taken within a second, silence
// is told once until something comes, what cannot be reached is told once after five
// minutes, and nothing is asked more often than it is to be.
func TestSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, formLines)
		f := logfile{t, filepath.Join(w.root, "app.log")}
		f.add("a\n")
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- w.Run(ctx) }()
		synctest.Wait()
		w.order(Order{From: "file://" + f.path, Silence: time.Hour})
		time.Sleep(1500 * time.Millisecond)
		w.wantText("a\n")
		time.Sleep(30 * time.Minute)
		f.add("b\n")
		time.Sleep(1100 * time.Millisecond)
		w.wantText("a\nb\n")
		time.Sleep(59 * time.Minute)
		w.wantFound("")
		time.Sleep(2 * time.Minute)
		w.wantFound("silent")
		time.Sleep(2 * time.Hour)
		w.wantFound("silent")
		if s := w.standing("app"); s.State != "silent" || s.Admitted != 2 || s.Records != 2 {
			t.Errorf("%+v", s)
		}
		f.add("c\n")
		time.Sleep(2 * time.Second)
		if s := w.standing("app"); s.State != "receiving" {
			t.Errorf("%+v", s)
		}

		calls := 0
		w.gate.set(func() {
			w.gate.fail = func(Batch) error {
				calls++
				return &pavise.Error{Kind: pavise.Unavailable, Msg: "the gate is shut"}
			}
		})
		f.add("d\n")
		time.Sleep(30 * time.Minute)
		w.wantFound("silent unreachable")
		w.gate.set(func() {
			if w.gate.fail = nil; calls < 8 || calls > 25 {
				t.Errorf("it was asked %d times in half an hour", calls)
			}
		})
		if s := w.standing("app"); s.State != "failing" || !strings.Contains(s.Problem, "the gate is shut") {
			t.Errorf("%+v", s)
		}
		time.Sleep(mostPause + time.Minute)
		w.wantText("a\nb\nc\nd\n")
		if err := w.Stop(t.Context(), operator, app, false); err != nil {
			t.Error(err)
		}
		f.add("e\n")
		time.Sleep(time.Minute)
		w.wantText("a\nb\nc\nd\n")
		w.order(Order{From: "file://" + f.path}) // and it goes on where it was
		time.Sleep(2 * time.Second)
		w.wantText("a\nb\nc\nd\ne\n")
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		w.db.Close() // whose goroutines are of this bubble
		w.log.Close()
	})
}

// TestRevised brings what comes in the form that a source takes now, waits while that is none
// that can be fetched, and passes nothing over for it: also what was on its way meanwhile.
func TestRevised(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, formLines)
		w.gate.fail = func(b Batch) error {
			if b.Form != w.gate.form {
				return &pavise.Error{Kind: pavise.Invalid, Msg: "it is " + b.Form}
			}
			return nil
		}
		f := logfile{t, filepath.Join(w.root, "app.log")}
		f.add("a,b\n")
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- w.Run(ctx) }()
		synctest.Wait()
		w.order(Order{From: "file://" + f.path})
		time.Sleep(1500 * time.Millisecond)
		w.gate.set(func() { w.gate.form = formCSV })
		f.add("1,2\n")
		time.Sleep(2 * time.Second)
		w.wantText("a,b\na,b\n1,2\n")
		w.gate.set(func() { w.gate.form = formSTIX })
		f.add("3,4\n")
		time.Sleep(4 * time.Minute)
		if s := w.standing("app"); s.State != "failing" || !strings.Contains(s.Problem, formSTIX) || s.Refused > 0 {
			t.Errorf("%+v", s)
		}
		w.gate.set(func() { w.gate.form = formLines })
		time.Sleep(2 * mostPause)
		w.wantText("a,b\na,b\n1,2\n3,4\n")
		w.gate.set(func() {
			right := w.gate.fail
			w.gate.fail = func(b Batch) error { w.gate.form, w.gate.fail = formCSV, right; return right(b) } // while it is brought
		})
		f.add("5,6\n")
		time.Sleep(time.Minute)
		w.wantText("a,b\na,b\n1,2\n3,4\na,b\n5,6\n")
		w.wantFound("")
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		w.db.Close() // whose goroutines are of this bubble
		w.log.Close()
	})
}

// standing is how the receiver of a source fares.
func (w *world) standing(name string) Standing {
	w.t.Helper()
	all, err := w.List(w.t.Context(), operator)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, s := range all {
		if s.Source == name {
			return s
		}
	}
	w.t.Fatalf("nothing is fetched for %s", name)
	return Standing{}
}

// TestOrders refuses what cannot be, and keeps what is there.
func TestOrders(t *testing.T) {
	w := newWorld(t, formLines, func(c *Config) { c.Servers = testConfig.Servers })
	good := "file://" + w.root + "/app.log"
	named := func(id string) pavise.Name { return pavise.Name{Tenant: "local", Kind: KindSource, ID: id} }
	for name, c := range map[string]struct {
		order Order
		kind  pavise.Kind
	}{
		"outside the roots":                {Order{Source: app, From: "file:///etc/passwd"}, pavise.Invalid},
		"an unknown source":                {Order{Source: named("unknown"), From: good}, pavise.NotFound},
		"another's source":                 {Order{Source: pavise.Name{Tenant: "acme", Kind: KindSource, ID: "app"}, From: good}, pavise.Denied},
		"too often":                        {Order{Source: app, From: good, Every: time.Millisecond}, pavise.Invalid},
		"a silence too long":               {Order{Source: app, From: good, Silence: 1000 * time.Hour * 24}, pavise.Invalid},
		"a form that a feed does not have": {Order{Source: app, From: "taxii://cti/api1/collections/1/"}, pavise.Invalid},
	} {
		if _, err := w.Receive(t.Context(), operator, c.order); err == nil || pavise.KindOf(err) != c.kind {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := w.Stop(t.Context(), operator, app, false); pavise.KindOf(err) != pavise.NotFound {
		t.Errorf("nothing to stop: %v", err)
	}
	f := logfile{t, filepath.Join(w.root, "app.log")}
	f.add("a\n")
	w.order(Order{From: good, Every: 5 * time.Second})
	w.by("app").must()
	if s := w.order(Order{From: good, Silence: time.Hour}); s.Every != 5*time.Second || s.Silence != time.Hour || s.Admitted != 1 {
		t.Errorf("%+v", s)
	}
	other := logfile{t, filepath.Join(w.root, "other.log")}
	other.add("b\n")
	if s := w.order(Order{From: "file://" + other.path}); s.Every != time.Second || s.Admitted != 0 {
		t.Errorf("%+v", s)
	}
	w.by("app").must()
	w.wantText("a\nb\n")
	if err := w.Stop(t.Context(), operator, app, true); err != nil {
		t.Error(err)
	}
	if all, err := w.List(t.Context(), operator); err != nil || len(all) != 0 {
		t.Errorf("%v, %v", all, err)
	}
	for i := range maxOrders {
		w.order(Order{Source: named("s" + strings.Repeat("x", i+1)), From: good})
	}
	if _, err := w.Receive(t.Context(), operator, Order{Source: app, From: good}); pavise.KindOf(err) != pavise.Conflict {
		t.Errorf("one too many: %v", err)
	}
}

// TestFullStateDatabase goes on once the state database can be written again, and brings
// nothing that it could not write down before.
func TestFullStateDatabase(t *testing.T) {
	w := newWorld(t, formLines)
	f := logfile{t, filepath.Join(w.root, "app.log")}
	f.add("a\n")
	w.order(Order{From: "file://" + f.path})
	h := w.by("app")
	full := `CREATE TRIGGER full BEFORE UPDATE ON receiver_orders BEGIN SELECT RAISE(ABORT, 'full'); END`
	exec := func(sql string) {
		t.Helper()
		if err := w.db.Update(t.Context(), func(tx *store.Tx) error { _, err := tx.Exec(sql); return err }); err != nil {
			t.Fatal(err)
		}
	}
	h.must()
	exec(full)
	f.add("b\n")
	if err := h.passes(); err == nil {
		t.Error("it went well")
	}
	w.wantText("a\n")
	exec(`DROP TRIGGER full`)
	h.must()
	w.wantText("a\nb\n")
}

// TestRefusedAreToldLater tells how many were refused since, a minute later.
func TestRefusedAreToldLater(t *testing.T) {
	w := newWorld(t, formLines)
	now := time.Now()
	w.cfg.Now = func() time.Time { return now }
	f := logfile{t, filepath.Join(w.root, "app.log")}
	f.add("a\n")
	w.order(Order{From: "file://" + f.path})
	h := w.by("app")
	for range 10 {
		if err := h.refused(t.Context(), "bad"); err != nil {
			t.Fatal(err)
		}
	}
	w.wantFound("refused")
	if next := h.due(t.Context()); next != toldEvery {
		t.Errorf("the next is told in %v", next)
	}
	now = now.Add(toldEvery)
	h.due(t.Context())
	w.wantFound("refused refused")
	if all := w.findings(); !strings.HasPrefix(all[1].Summary, "9 of what came") {
		t.Errorf("%+v", all)
	}
}

// TestSecretsAreNotKept writes nothing of a server's credentials, and no address of a
// bucket's options, into an order, its list or the log.
func TestSecretsAreNotKept(t *testing.T) {
	w := newWorld(t, formLines, func(c *Config) { c.Roots = append(c.Roots, "s3://lake/?endpoint=hunter2.example:9000") })
	s := w.order(Order{From: "s3://lake/logs/"})
	text, err := json.Marshal(s)
	if err != nil || strings.Contains(string(text), "hunter2") {
		t.Errorf("%s, %v", text, err)
	}
	all, err := w.rows(t.Context(), "")
	if err != nil || strings.Contains(all[0].from, "hunter2") {
		t.Errorf("%+v, %v", all, err)
	}
	if _, err := w.Receive(t.Context(), operator, Order{Source: app, From: "s3://lake/logs/?secret=hunter2"}); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
