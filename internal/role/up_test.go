package role

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/audit"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/installation"
	"github.com/pavise/pavise/internal/issuer"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/verbs"
)

// A running is an up in this process.
type running struct {
	*Up
	Greeting
	stop func() // as Ctrl-C, and returns when it has stopped
}

// run opens an up and runs it.
func runUp(t *testing.T, cfg UpConfig) *running {
	t.Helper()
	u := openUp(t, cfg)
	g, err := u.Greet(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- u.Run(ctx) }()
	var stopped bool
	r := &running{Up: u, Greeting: g, stop: func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := u.Close(); err != nil {
			t.Error(err)
		}
	}}
	t.Cleanup(r.stop)
	return r
}

// openUp opens an up and lets the test close it.
func openUp(t *testing.T, cfg UpConfig) *Up {
	t.Helper()
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.Listen = "127.0.0.1:0"
	u, err := NewUp(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close() })
	return u
}

// An answer is what the data plane said.
type answer struct {
	status int
	body   string
}

// ask asks the sample model with a token.
func ask(server, token string) (a answer, err error) {
	req, err := http.NewRequest("POST", server+"/v2/models/"+Sample+"/infer", strings.NewReader(string(SampleRow(0))))
	if err != nil {
		return a, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return answer{status: resp.StatusCode, body: string(text)}, err
}

func (r *running) ask(t *testing.T) answer {
	t.Helper()
	a, err := ask(r.Server, r.Token)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// verify proves the log of a data directory, whose up has stopped.
func verify(t *testing.T, dir installation.Data) audit.Report {
	t.Helper()
	report, err := audit.Verify(dir.Ledger(), audit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// TestKilledWhileNew begins installations that were killed on the way, and finds
// them whole after the next start.
func TestKilledWhileNew(t *testing.T) {
	t.Parallel()
	stages := map[string]func(*testing.T, installation.Data){
		"after the keys": func(t *testing.T, dir installation.Data) {
			if _, err := dir.Open(); err != nil {
				t.Fatal(err)
			}
		},
		"after the first notes of policies, before their commit": func(t *testing.T, dir installation.Data) {
			u := newUp(UpConfig{Data: dir, Now: time.Now})
			k, err := dir.Open()
			if err == nil {
				err = u.openLog(k)
			}
			if err == nil {
				_, err = u.Log.Append(t.Context(), &record.Record{Kind: "policy.seeded", Phase: record.Note, Tenant: Tenant, At: time.Now().UTC()}, ledger.Durable)
			}
			if err != nil {
				t.Fatal(err)
			}
			u.Close()
		},
		"before the Sample model": func(t *testing.T, dir installation.Data) {
			openUp(t, UpConfig{Data: dir}).Close()
			forgetRoute(t, dir)
		},
	}
	for name, stage := range stages {
		t.Run(name, func(t *testing.T) {
			dir := installation.Data(t.TempDir())
			stage(t, dir)
			r := runUp(t, UpConfig{Data: dir})
			if a := r.ask(t); a.status != 200 {
				t.Errorf("%+v", a)
			}
			r.stop()
			verify(t, dir)
		})
	}
}

// forgetRoute makes the log end before the sample model's route, as if the
// process had been killed there.
func forgetRoute(t *testing.T, dir installation.Data) {
	t.Helper()
	if err := os.RemoveAll(dir.Ledger()); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(dir.Path("pavise.db")); err != nil {
		t.Fatal(err)
	}
	u := newUp(UpConfig{Data: dir, Now: time.Now})
	k, err := dir.Open()
	if err == nil {
		err = u.openLog(k)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	door, err := guard.New(guard.Config{Actions: verbs.Actions(), Log: u.Log, Tenant: Tenant})
	if err != nil {
		t.Fatal(err)
	}
	who := pavise.Principal{Tenant: Tenant, Kind: pavise.Human, ID: "op", Roles: []string{"operator"}}
	if err := door.Load(Tenant, guard.Defaults()); err != nil {
		t.Fatal(err)
	}
	// Entered, and never ended.
	if _, err := door.Enter(t.Context(), who, "route.put", pavise.Name{Tenant: Tenant, Kind: "route", ID: Sample}); err != nil {
		t.Fatal(err)
	}
}

// TestDeletedModelStaysAway deletes the sample model; a restart does not bring
// it back.
func TestDeletedModelStaysAway(t *testing.T) {
	dir := installation.Data(t.TempDir())
	u := openUp(t, UpConfig{Data: dir})
	name := pavise.Name{Tenant: Tenant, Kind: "model", ID: Sample}
	if err := u.Gateway.Routes.Delete(t.Context(), u.operator, name); err != nil {
		t.Fatal(err)
	}
	u.Close()
	if u := openUp(t, UpConfig{Data: dir}); u.Gateway.Routes.Has(name) {
		t.Error("the deleted route is back")
	}
}

// TestClockSetBackBeforeStart begins an installation an hour ahead.
func TestClockSetBackBeforeStart(t *testing.T) {
	t.Parallel()
	dir := installation.Data(t.TempDir())
	r := runUp(t, UpConfig{Data: dir, Now: func() time.Time { return time.Now().Add(time.Hour) }})
	r.stop()
	size := verify(t, dir).Records

	_, err := NewUp(t.Context(), UpConfig{Data: dir, Listen: "127.0.0.1:0", Now: time.Now})
	if pavise.KindOf(err) != pavise.Unavailable || !strings.Contains(err.Error(), "the clock is") {
		t.Fatalf("without --accept-clock: %v", err)
	}
	if got := verify(t, dir).Records; got != size {
		t.Errorf("a refused start left %d records", got-size)
	}

	r = runUp(t, UpConfig{Data: dir, Now: time.Now, AcceptClock: true})
	if a := r.ask(t); a.status != 200 {
		t.Errorf("with --accept-clock: %+v", a)
	}
	noted := false
	for _, record := range r.Log.Records(size, r.Log.Size()) {
		noted = noted || record.Kind == "guard.clock"
	}
	if !noted {
		t.Error("the step is not recorded")
	}
	r.stop()
	r = runUp(t, UpConfig{Data: dir}) // and it stays accepted
	if a := r.ask(t); a.status != 200 {
		t.Errorf("afterwards: %+v", a)
	}
	r.stop()
	verify(t, dir)
}

// TestClockSetBackWhileRunning sets it back a little, and by so much that no
// token is valid any more.
func TestClockSetBackWhileRunning(t *testing.T) {
	t.Parallel()
	var offset atomic.Int64
	dir := installation.Data(t.TempDir())
	r := runUp(t, UpConfig{Data: dir, Now: func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }})
	if a := r.ask(t); a.status != 200 {
		t.Fatalf("%+v", a)
	}
	offset.Store(int64(-10 * time.Second))
	if a := r.ask(t); a.status != 503 || !strings.Contains(a.body, "clock stepped back by") || !strings.Contains(a.body, "clock.accept") {
		t.Errorf("set back by 10 s: %+v", a)
	}
	offset.Store(0)
	if a := r.ask(t); a.status != 200 {
		t.Errorf("caught up: %+v", a)
	}

	offset.Store(int64(-10 * time.Minute))
	var err error
	for range 100 {
		if err = acceptClock(t, dir); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil {
		t.Fatalf("the operator cannot accept the clock: %v", err)
	}
	fresh, err := r.issuer.Mint(t.Context(), r.operator, issuer.MintRequest{Subject: "fresh", Roles: []string{issuer.RoleCaller}})
	if err != nil {
		t.Fatal(err)
	}
	if a, err := ask(r.Server, fresh.Value); err != nil || a.status != 200 {
		t.Errorf("accepted: %+v, %v", a, err)
	}
	var last time.Time
	for i, record := range r.Log.Records(0, r.Log.Size()) {
		if record.Kind == "guard.clock" {
			last = time.Time{} // from here on the new time counts
		}
		if record.At.Before(last.Add(-time.Second)) {
			t.Errorf("record %d, %s, claims %v, after %v", i, record.Kind, record.At, last)
		}
		last = record.At
	}
	r.stop()
	verify(t, dir)
}

// acceptClock does what pavise clock accept does.
func acceptClock(t *testing.T, dir installation.Data) error {
	t.Helper()
	a, err := dir.ReadAccess("")
	if err != nil {
		return err
	}
	return (&api.Client{Base: a.Server, Token: a.Token}).Call(t.Context(), "clock.accept", api.Empty{}, nil)
}

// TestFollowerAheadOfLog starts on a log that the house's own follower has seen more
// of. Nobody can drop that one, and nobody is told to.
func TestFollowerAheadOfLog(t *testing.T) {
	dir := installation.Data(t.TempDir())
	u := openUp(t, UpConfig{Data: dir})
	err := u.DB.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE feed_cursors SET next = 5000`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	u.Close()
	_, err = NewUp(t.Context(), UpConfig{Data: dir, Listen: "127.0.0.1:0", Now: time.Now})
	e, ok := errors.AsType[*pavise.Error](err)
	if !ok || e.Kind != pavise.Unverified || !strings.Contains(e.Msg, "is older than the state database "+dir.Path("pavise.db")) || !strings.HasPrefix(e.Hint, "restore a newer backup of the log") || strings.Contains(e.Hint, "unfollow") {
		t.Errorf("start: %v", err)
	}
}
