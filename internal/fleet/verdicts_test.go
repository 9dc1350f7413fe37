package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/store"
)

// A bench is a control plane whose models gateways judge.
type bench struct {
	*Verdicts
	t       *testing.T
	answers map[string]string // by model
	backs   []string
	notes   []string
	fail    error
	stop    func()
}

func modelOf(id string) pavise.Name { return pavise.Name{Tenant: "acme", Kind: "model", ID: id} }

// judged opens one in which so many gateways must agree.
func judged(t *testing.T, db *store.DB, agree int) *bench {
	b := &bench{t: t, answers: map[string]string{"a": "v2", "b": "v2", "c": "v2"}}
	b.Verdicts = OpenVerdicts(VerdictConfig{
		Store: db, Tenant: "acme", Agree: agree, Now: time.Now, Say: func(word string, err error) { t.Error(word, err) },
		Answers: func(model pavise.Name) string { return b.answers[model.ID] },
		Back: func(_ context.Context, model pavise.Name, version, why string) (string, error) {
			b.backs = append(b.backs, model.ID+" "+version)
			if !strings.Contains(why, "gateway gw-") {
				t.Errorf("it does not say who found it: %q", why)
			}
			return "v1", b.fail
		},
		Note: func(_ context.Context, kind string, on pavise.Name, detail any) error {
			if text := fmt.Sprintf("%+v", detail); kind != KindReported || !strings.Contains(text, "acme/node/gw-") || !strings.Contains(text, "gateway gw-") {
				t.Errorf("the finding names no gateway: %s", text)
			} else {
				b.notes = append(b.notes, on.ID+": "+text)
			}
			return nil
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); b.Run(ctx) }()
	b.stop = func() { cancel(); <-done }
	return b
}

// says has a gateway report.
func (b *bench) says(node string, bad ...Bad) {
	b.Hear(node, bad)
	synctest.Wait()
}

// want fails unless so many versions were taken back, and so many findings left, since it was
// last asked; the last of them with these words.
func (b *bench) want(backs, notes int, words string) {
	b.t.Helper()
	if len(b.backs) != backs || len(b.notes) != notes || notes > 0 && !strings.Contains(b.notes[notes-1], words) {
		b.t.Errorf("%d back and %d told, want %d and %d (%s): %q %q", len(b.backs), len(b.notes), backs, notes, words, b.backs, b.notes)
	}
	b.backs, b.notes = nil, nil
}

func judgedStore(t *testing.T) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "x.db"))
	if err == nil {
		_, err = OpenNodes(t.Context(), db, time.Now, func(context.Context, string, string, any) error { return nil })
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// TestStolenGateway: one gateway's word takes back the version that answers, once in half an hour
// for a model and for the gateway, also over a restart; each is one finding, however often it is
// said; and of other versions its word is nothing.
func TestStolenGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := judgedStore(t)
		b := judged(t, db, 1)
		bad := func(model, version string) Bad { return Bad{modelOf(model), version} }
		b.says("gw-1", bad("a", "v1"), bad("a", ""), bad("unknown", ""), bad("unknown", "v2"))
		b.want(0, 0, "")
		b.says("gw-1", bad("a", "v2"))
		b.want(1, 1, "it was rolled back, and is answered by v1")
		for range 100 { // and the rollback did nothing, as it seems
			b.says("gw-1", bad("a", "v2"))
			time.Sleep(ReportEvery)
		}
		b.want(0, 0, "")
		b.says("gw-1", bad("a", "v2"), bad("b", "v2"), bad("c", "v2")) // it wants all of them back
		b.want(0, 2, "nothing was done: in the 30m0s before")
		b.says("gw-2", bad("a", "v2")) // the model rests, whoever asks
		b.want(0, 1, "nothing was done")
		b.says("gw-2", bad("b", "v2"))
		b.want(1, 1, "it was rolled back")
		b.stop()
		b = judged(t, db, 1)
		b.says("gw-1", bad("c", "v2"))
		b.want(0, 1, "nothing was done")
		time.Sleep(onceIn)
		b.fail = errors.New("policies do not let it")
		b.says("gw-1", bad("c", "v2"))
		b.want(1, 1, "it was not rolled back: policies do not let it")
		b.answers["c"] = "v1"
		time.Sleep(onceIn)
		b.says("gw-1", bad("c", "v2"))
		b.want(0, 0, "")
		b.stop()
	})
}

// TestGatewaysAgree: where two must say so, one alone gets nothing but a finding, nor do two that
// were not heard at the same time.
func TestGatewaysAgree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := judged(t, judgedStore(t), 2)
		bad := Bad{modelOf("a"), "v2"}
		b.says("gw-1", bad)
		b.want(0, 1, "2 must say so, and 1 do")
		time.Sleep(awayAfter + time.Second) // gw-1 is away
		b.says("gw-2", bad)
		b.want(0, 1, "2 must say so, and 1 do")
		b.says("gw-1") // back, and well
		b.says("gw-3", Bad{modelOf("a"), "v1"})
		b.want(0, 0, "")
		b.says("gw-3", bad)
		b.want(1, 1, "it was rolled back")
		b.stop()
	})
}

// TestGatewaysAgreeAgain: who was not heard of while others found the same counts once they are back,
// and not only after half an hour; and whoever comes and goes leaves no more findings by that.
func TestGatewaysAgreeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := judged(t, judgedStore(t), 2)
		bad := Bad{modelOf("a"), "v2"}
		b.says("gw-1", bad)
		b.want(0, 1, "2 must say so, and 1 do")
		time.Sleep(awayAfter + time.Second)
		b.says("gw-2", bad)
		b.want(0, 1, "2 must say so, and 1 do")
		b.fail = errors.New("the store is away")
		b.says("gw-1", bad) // as before
		b.want(1, 1, "it was not rolled back")
		for range 3 {
			b.says("gw-1")
			b.says("gw-1", bad)
			b.says("gw-2", bad)
		}
		b.want(0, 0, "")
		b.stop()
	})
}

// TestVerdictsAfterAClock: a version was taken back by a clock that was a year ahead. Once it has been
// set right, gateways are heard again in half an hour, and not in a year.
func TestVerdictsAfterAClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := judged(t, judgedStore(t), 1)
		b.cfg.Now = func() time.Time { return time.Now().AddDate(1, 0, 0) }
		b.says("gw-1", Bad{modelOf("a"), "v2"})
		b.want(1, 1, "it was rolled back")
		b.cfg.Now = time.Now
		b.says("gw-1", Bad{modelOf("b"), "v2"})
		b.want(0, 1, "nothing was done")
		time.Sleep(onceIn)
		b.says("gw-1", Bad{modelOf("b"), "v2"})
		b.want(1, 1, "it was rolled back")
		b.stop()
	})
}

// TestEarlyReports: a report that finds something bad is not refused for the one before it, but there is
// one of those in a second, whatever else is said in between.
func TestEarlyReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "x.db"))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		n, err := OpenNodes(t.Context(), db, time.Now, func(context.Context, string, string, any) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		bad := Bad{modelOf("a"), "v2"}
		took := func(want bool, all ...Bad) {
			t.Helper()
			_, err := n.Take(t.Context(), "gw-1", Report{Role: "gateway", Version: "v1", Bad: all})
			if (err == nil) != want || err != nil && pavise.KindOf(err) != pavise.Throttled {
				t.Errorf("%v, want it taken: %v", err, want)
			}
		}
		took(true)
		took(false)
		took(true, bad)
		took(false, bad)
		took(false, bad, Bad{modelOf("b"), "v2"})
		time.Sleep(leastPause)
		took(true)
		took(true, bad)
		took(false)
		took(false, Bad{modelOf("b"), "v2"})
		lies := 0
		for range 1000 { // one that has everything be news
			time.Sleep(leastPause / 100)
			for _, say := range [][]Bad{nil, {bad}} {
				if _, err := n.Take(t.Context(), "gw-1", Report{Role: "gateway", Version: "v1", Bad: say}); err == nil {
					lies++
				}
			}
		}
		if lies < 18 || lies > 22 {
			t.Errorf("%d reports were heard in ten seconds, want two a second", lies)
		}
	})
}

// FuzzReport reads what machines say: whatever passes can be kept, compared and shown.
func FuzzReport(f *testing.F) {
	f.Add([]byte(`{"role":"gateway","version":"v1","runs":[{"model":"acme/model/fraud","upstream":"http://a/v1","weight":0,"replicas":[{"url":"http://a/v2","weight":3}],"shadow":"x","barred":true}],"bad":[{"model":"acme/model/fraud","version":"v1"}]}`))
	f.Add([]byte(`{"role":"gateway","runs":[{"model":"acme/route/x"},{"model":""},null],"bad":[{}]}`))
	f.Add([]byte(`{"role":"agent","bad":[{"model":"acme/model/x","version":"v"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var r Report
		if json.Unmarshal(text, &r) != nil || CheckReport(r, "acme.example", "gw-1") != nil {
			return
		}
		if !SameRuns(r.Runs, r.Runs) || len(r.Runs) > maxRuns || len(r.Bad) > maxBad {
			t.Errorf("%+v", r)
		}
		for _, one := range r.Runs {
			if one.Model.Kind != "model" || one.Model.Validate() != nil {
				t.Errorf("%+v", one)
			}
		}
		for _, one := range r.Bad {
			if one.Model.Kind != "model" || one.Version == "" || r.Role != "gateway" {
				t.Errorf("%+v", one)
			}
		}
	})
}

// TestReportsNameWhatFits: one version with a name that no report takes, or an address, has not all
// of the gateway's reports refused.
func TestReportsNameWhatFits(t *testing.T) {
	all := []Bad{{modelOf("a"), strings.Repeat("x", maxRunText+1)}, {modelOf("b"), "v2"}}
	routes := []route.Standing{{Route: route.Route{Model: modelOf("a"), Upstream: "http://a/" + strings.Repeat("x", maxRunText)}}, {Route: route.Route{Model: modelOf("b"), ONNX: "sha256:1"}}}
	r := Report{Role: "gateway", Version: "v1", Bad: Bads(all), Runs: Runs(routes, func(pavise.Name) bool { return false })}
	if err := CheckReport(r, "acme.example", "gw-1"); err != nil || len(r.Bad) != 1 || r.Bad[0].Model.ID != "b" || len(r.Runs) != 1 || r.Runs[0].Model.ID != "b" {
		t.Errorf("%+v %+v %v", r.Bad, r.Runs, err)
	}
}
