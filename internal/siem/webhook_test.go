package siem

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/hook"
	"github.com/pavise/pavise/internal/outbound"
	"github.com/pavise/pavise/internal/record"
)

// told waits until a receiver was told of so many findings with a prefix, and returns
// them in order.
func (r *receiver) told(t *testing.T, n int, prefix string) (all []string) {
	t.Helper()
	until(t, func() bool {
		all = nil
		for _, s := range r.summaries() {
			if strings.HasPrefix(s, prefix) {
				all = append(all, s)
			}
		}
		return len(all) >= n
	})
	if len(r.bad) > 0 {
		t.Errorf("not as the standard says: %v", r.bad)
	}
	return all
}

// numbered are summaries that end in the numbers of a range.
func numbered(prefix string, from, to int) (all []string) {
	for i := from; i < to; i++ {
		all = append(all, fmt.Sprintf("%s %d", prefix, i))
	}
	return all
}

// TestAReceiverIsTold puts a receiver, which is told in order of what is found from then
// on, in signed messages that verify and say how to prove them.
func TestAReceiverIsTold(t *testing.T) {
	w := newWorld(t)
	w.finding(t, "local", "before")
	w.run(t)
	r := newReceiver(t)
	if given := w.put(t, r, "local", "soc"); given.Host != r.URL || given.Scheme != hook.HMAC || given.Keys != 1 {
		t.Errorf("given %+v", given)
	}
	for i := range 20 {
		w.finding(t, "local", fmt.Sprint("finding ", i))
	}
	if got := r.told(t, 20, "finding"); !slices.Equal(got, numbered("finding", 0, 20)) {
		t.Errorf("told %v", got)
	}
	if slices.Contains(r.summaries(), "before") {
		t.Error("it was told of what was before it")
	}
	for _, m := range r.got() {
		proof := m.Data.Evidences[0].Data
		if m.Type != typeCreated || m.Data.Metadata.UID != m.ID || proof.Log != w.log.Origin() || proof.Prove != fmt.Sprint("pavise ledger prove ", proof.Record) {
			t.Errorf("message %+v", m)
		}
		if kept, err := w.log.Read(proof.Record); err != nil || !strings.HasPrefix(kept.Kind, record.Room(m.Data.Metadata.EventCode)) {
			t.Errorf("record %d is %s, %v", proof.Record, kept.Kind, err)
		}
	}
	until(t, func() bool { e := w.endpoint(t, "local", "soc"); return e.State == stateTold && e.Told >= 20 })
}

// TestAReceiverThatWasAway loses nothing and keeps the order, over refusals, a closed
// port and a restart in the middle.
func TestAReceiverThatWasAway(t *testing.T) {
	w := newWorld(t)
	w.run(t)
	r := newReceiver(t)
	w.put(t, r, "local", "soc")
	w.finding(t, "local", "finding 0")
	r.told(t, 1, "finding")
	r.say(http.StatusServiceUnavailable)
	asked := r.count()
	for i := 1; i < 5; i++ {
		w.finding(t, "local", fmt.Sprint("finding ", i))
	}
	until(t, func() bool { return r.count() > asked+3 })
	if e := w.endpoint(t, "local", "soc"); e.State != stateFailing || e.Problem != "it answered 503" || e.Since.IsZero() {
		t.Errorf("meanwhile it is %+v", e)
	}
	w.stop()
	w.finding(t, "local", "finding 5")
	w.open(t)
	w.run(t)
	asked = r.count()
	until(t, func() bool { return r.count() > asked })
	r.say(http.StatusOK)
	w.finding(t, "local", "finding 6")
	if got := r.told(t, 7, "finding"); !slices.Equal(got, numbered("finding", 0, 7)) {
		t.Errorf("told %v", got)
	}
	ids := map[string]int{}
	for _, m := range r.got() {
		ids[m.ID]++
	}
	for id, n := range ids {
		if n > 1 {
			t.Errorf("%s came %d times, and nothing crashed", id, n)
		}
	}
	if e := w.endpoint(t, "local", "soc"); e.Problem != "" || e.State != stateTold {
		t.Errorf("afterwards it is %+v", e)
	}
}

// TestStopBeforeTheCursorMoves repeats, under the same id, what was told and not
// acknowledged.
func TestStopBeforeTheCursorMoves(t *testing.T) {
	w := newWorld(t)
	r := newReceiver(t)
	w.run(t)
	w.put(t, r, "local", "soc")
	w.finding(t, "local", "finding 0")
	r.told(t, 1, "finding")
	w.stop()
	w.open(t)
	rows, err := w.rows(t.Context(), "")
	if err != nil || len(rows) != 1 {
		t.Fatal(rows, err)
	}
	f, _ := Worth(7, records()["a finding"])
	hook := &webhook{wires: w.Wires, row: rows[0]}
	for range 2 {
		if err := hook.tell(t.Context(), &state{}, []telling{{Finding: f}}); err != nil {
			t.Fatal(err)
		}
	}
	all := r.got()
	if a, b := all[len(all)-2], all[len(all)-1]; a.ID != b.ID || !bytes.Equal(a.body, b.body) {
		t.Errorf("the second time it is another:\n%s\n%s", a.body, b.body)
	}
}

// TestTenantsAreToldOfTheirOwn has receivers of two tenants, one log.
func TestTenantsAreToldOfTheirOwn(t *testing.T) {
	w := newWorld(t)
	w.run(t)
	ours, theirs := newReceiver(t), newReceiver(t)
	w.put(t, ours, "local", "soc")
	w.put(t, theirs, "acme", "soc")
	for i := range 5 {
		w.finding(t, "local", fmt.Sprint("ours ", i))
		w.finding(t, "acme", fmt.Sprint("theirs ", i))
	}
	ours.told(t, 5, "ours")
	theirs.told(t, 5, "theirs")
	for name, r := range map[string]*receiver{"local": ours, "acme": theirs} {
		for _, m := range r.got() {
			if m.Data.Metadata.TenantUID != name {
				t.Errorf("%s was told of %s", name, m.body)
			}
		}
	}
	if all, err := w.List(t.Context(), operatorOf("acme")); err != nil || len(all) != 1 || all[0].Host != theirs.URL {
		t.Errorf("acme sees %+v, %v", all, err)
	}
	if list, err := w.Findings(t.Context(), operatorOf("acme"), Listing{}); err != nil || slices.ContainsFunc(list.Findings, func(f Finding) bool { return strings.HasPrefix(f.Summary, "ours") }) {
		t.Errorf("acme sees %+v, %v", list, err)
	}
	for _, err := range []error{w.Delete(t.Context(), operatorOf("acme"), "other"), func() error { _, err := w.Rotate(t.Context(), operatorOf("acme"), "other", 0); return err }()} {
		if pavise.KindOf(err) != pavise.NotFound {
			t.Errorf("another's: %v", err)
		}
	}
}

// TestGone disables a receiver that answers 410, says so in the log, and goes on where it
// was once it is put again.
func TestGone(t *testing.T) {
	w := newWorld(t)
	w.run(t)
	r, other := newReceiver(t), newReceiver(t)
	w.put(t, r, "local", "soc")
	r.told(t, 1, "local/human/olga did siem.put")
	w.put(t, other, "local", "other")
	r.say(http.StatusGone)
	w.finding(t, "local", "finding 0")
	other.told(t, 1, "the receiver soc answered 410")
	asked := r.count()
	w.finding(t, "local", "finding 1")
	other.told(t, 2, "finding")
	if e := w.endpoint(t, "local", "soc"); e.State != stateGone || r.count() != asked {
		t.Errorf("it is %+v, and was asked %d times more", e, r.count()-asked)
	}
	w.stop()
	w.open(t)
	w.run(t)
	w.finding(t, "local", "finding 2")
	other.told(t, 3, "finding")
	if r.count() != asked {
		t.Error("the next process asks it again")
	}
	r.say(http.StatusOK)
	if given := w.put(t, r, "local", "soc"); given.Secret != "" {
		t.Error("it got another secret")
	}
	if got := r.told(t, 3, "finding"); !slices.Equal(got, numbered("finding", 0, 3)) {
		t.Errorf("told %v", got)
	}
}

// TestRedirectsAreNotFollowed and every answer but 2xx is a failure.
func TestRedirectsAreNotFollowed(t *testing.T) {
	w := newWorld(t)
	r := newReceiver(t)
	w.put(t, r, "local", "soc")
	for _, status := range []int{301, 302, 307, 308, 400, 401, 404, 429, 500, 502, 504} {
		r.say(status)
		asked := r.count()
		tried, err := w.Test(t.Context(), operator, "soc")
		if err != nil || tried.Taken || tried.Status != status || tried.Why == "" || r.count() != asked+1 {
			t.Errorf("%d: %+v, %v, asked %d times", status, tried, err, r.count()-asked)
		}
	}
	r.say(http.StatusOK)
	if tried, err := w.Test(t.Context(), operator, "soc"); err != nil || !tried.Taken || tried.Status != http.StatusNoContent {
		t.Errorf("%+v, %v", tried, err)
	}
	if m := r.got(); len(r.bad) > 0 || len(m) != 1 || m[0].Data.Metadata.EventCode != "siem.test" {
		t.Errorf("%v %+v", r.bad, m)
	}
}

// TestUnreachableIsAFinding, once for each time that a receiver is away for long.
func TestUnreachableIsAFinding(t *testing.T) {
	now := time.Now()
	s := &state{}
	for i := range 40 {
		s.failing("away", now.Add(time.Duration(i)*time.Minute))
		if got := s.silent(now.Add(time.Duration(i) * time.Minute)); got != (i == 15) {
			t.Errorf("minute %d: %v", i, got)
		}
	}
	s.worked(1)
	s.failing("away", now)
	if s.silent(now) || !s.silent(now.Add(silentFor)) {
		t.Error("the next time is none")
	}
}

// TestRetryAfter is read and bounded.
func TestRetryAfter(t *testing.T) {
	var header string
	r := newReceiver(t)
	r.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", header)
		w.WriteHeader(http.StatusTooManyRequests)
	})
	for text, want := range map[string]time.Duration{"": 0, "7": 7 * time.Second, "99999999": time.Hour, "-1": 0, "Wed, 21 Oct 2026 07:28:00 GMT": 0, "99999999999999999999": 0} {
		header = text
		d := send(t.Context(), outbound.Reach{Loopback: true}.Client(mustURL(t, r.URL), nil), &target{URL: r.URL, Keys: []hook.Key{hook.NewKey(hook.HMAC)}}, "m", time.Now(), nil)
		if d.after != want || d.status != http.StatusTooManyRequests {
			t.Errorf("%q: %+v", text, d)
		}
	}
}

// TestRotate lets the receiver verify with either secret meanwhile.
func TestRotate(t *testing.T) {
	w := newWorld(t)
	w.run(t)
	r := newReceiver(t)
	old := w.put(t, r, "local", "soc")
	given, err := w.Rotate(t.Context(), operator, "soc", time.Hour)
	if err != nil || given.Secret == "" || given.Secret == old.Secret || given.Keys != 2 {
		t.Fatalf("%+v, %v", given, err)
	}
	w.finding(t, "local", "finding 0")
	r.told(t, 1, "finding") // by the old one
	r.mu.Lock()
	r.verify = secretOf(t, given.Secret)
	r.mu.Unlock()
	w.finding(t, "local", "finding 1")
	r.told(t, 2, "finding")
	if given, err = w.Rotate(t.Context(), operator, "soc", 0); err != nil || given.Keys != 1 {
		t.Fatalf("%+v, %v", given, err)
	}
	r.mu.Lock()
	r.verify = secretOf(t, given.Secret)
	r.mu.Unlock()
	w.finding(t, "local", "finding 2")
	r.told(t, 3, "finding")
	if _, err := w.Rotate(t.Context(), operator, "soc", -time.Second); pavise.KindOf(err) != pavise.Invalid {
		t.Error(err)
	}
}

// TestNothingSecretIsWritten looks for an address's path and query and the secrets in
// the database, the log and what is shown.
func TestNothingSecretIsWritten(t *testing.T) {
	w := newWorld(t)
	r := newReceiver(t)
	given, err := w.Put(t.Context(), operator, Put{Name: "soc", URL: r.URL + "/T0PSECRETPATH?token=T0PSECRETQUERY"})
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	tried, err := w.Test(t.Context(), operator, "soc")
	if err != nil || tried.Why == "" {
		t.Fatal(tried, err)
	}
	var said []string
	for i := range w.log.Size() {
		entry, err := w.log.Entry(i)
		if err != nil {
			t.Fatal(err)
		}
		said = append(said, string(entry))
	}
	files, _ := filepath.Glob(filepath.Join(w.dir, "db*"))
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		said = append(said, string(text))
	}
	said = append(said, tried.Why, string(detail(w.endpoint(t, "local", "soc"))))
	secret := secretOf(t, given.Secret)
	for _, text := range said {
		if strings.Contains(text, "T0PSECRET") || strings.Contains(text, given.Secret[6:]) || strings.Contains(text, string(secret)) {
			t.Errorf("%.300q", text)
		}
	}
}

// TestPutRefuses what is no endpoint, and keeps nothing of it: a cursor left behind would
// keep records from being pruned.
func TestPutRefuses(t *testing.T) {
	w := newWorld(t)
	for name, p := range map[string]Put{
		"a long name": {Name: strings.Repeat("x", 65), URL: "https://siem.example"},
		"a scheme":    {Name: "x", URL: "https://siem.example", Scheme: "none"},
		"no address":  {Name: "x"},
		"a future":    {Name: "x", URL: "https://siem.example", After: new(uint64(1 << 40))},
	} {
		if _, err := w.Put(t.Context(), operator, p); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := w.Put(t.Context(), operator, Put{Name: "a/b", URL: "https://siem.example"}); pavise.KindOf(err) != pavise.Denied {
		t.Errorf("a name that is none: %v", err)
	}
	analyst := pavise.Principal{Tenant: "local", Kind: pavise.Human, ID: "ana", Roles: []string{"analyst"}, Proof: "test"}
	if _, err := w.Put(t.Context(), analyst, Put{Name: "x", URL: "https://siem.example"}); pavise.KindOf(err) != pavise.Denied {
		t.Errorf("an analyst: %v", err)
	}
	for i := range maxEndpoints {
		if _, err := w.Put(t.Context(), operator, Put{Name: fmt.Sprint("e", i), URL: "https://siem.example"}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Put(t.Context(), operator, Put{Name: "more", URL: "https://siem.example"}); pavise.KindOf(err) != pavise.Conflict {
		t.Errorf("one more: %v", err)
	}
	backlogs, err := w.cfg.Feeds.Backlogs(t.Context(), "local")
	if err != nil || len(backlogs) != maxEndpoints {
		t.Errorf("%d cursors, %v", len(backlogs), err)
	}
	if err := w.Delete(t.Context(), operator, "e3"); err != nil {
		t.Fatal(err)
	}
	if backlogs, err = w.cfg.Feeds.Backlogs(t.Context(), "local"); err != nil || len(backlogs) != maxEndpoints-1 {
		t.Errorf("%d cursors, %v", len(backlogs), err)
	}
}

// TestManyRefusalsAreFew floods the log with refusals: the receiver is told of the first
// and of how many more there were, and of what else happened at once.
func TestManyRefusalsAreFew(t *testing.T) {
	w := newWorld(t)
	w.run(t)
	r := newReceiver(t)
	w.put(t, r, "local", "soc")
	minute := time.Now().Add(-time.Hour).Truncate(time.Minute)
	for i := range 200 {
		w.append(t, refusal("local", "scraper", "budget", fmt.Sprint("refused ", i), minute.Add(time.Duration(i)*time.Millisecond)))
	}
	w.finding(t, "local", "finding 0") // an hour later: the minute is over
	r.told(t, 1, "finding")
	got := r.told(t, 2, "refused")
	if len(got) != 2 || got[0] != "refused 0" {
		t.Errorf("told %v", got)
	}
	for _, m := range r.got() {
		if m.Type == typeUpdated && (m.Data.Count != 199 || m.Data.ActivityID != update || m.Data.FindingInfo.LastSeen != minute.Add(199*time.Millisecond).UnixMilli()) {
			t.Errorf("the update is %s", m.body)
		}
	}
	list, err := w.Findings(t.Context(), operator, Listing{Least: Medium})
	i := slices.IndexFunc(list.Findings, func(f Finding) bool { return f.Check == "budget" })
	if err != nil || i < 0 || list.Findings[i].Count != 200 || list.Findings[i].Summary != "refused 0" {
		t.Errorf("listed %+v, %v", list.Findings, err)
	}
}

// TestFindingsInPages lists all findings, each once, newest first.
func TestFindingsInPages(t *testing.T) {
	w := newWorld(t)
	for i := range 30 {
		w.finding(t, "local", fmt.Sprint("finding ", i))
		w.append(t, &record.Record{Kind: "model.infer", Phase: record.Act, Tenant: "local", At: time.Now().UTC(), Outcome: pavise.Allow})
	}
	var got []string
	var before *uint64
	for {
		list, err := w.Findings(t.Context(), operator, Listing{Limit: 7, Before: before})
		if err != nil || len(list.Findings) > 7 {
			t.Fatal(len(list.Findings), err)
		}
		for _, f := range list.Findings {
			got = append(got, f.Summary)
		}
		if !list.More {
			break
		}
		before = &list.Before
	}
	want := numbered("finding", 0, 30)
	slices.Reverse(want)
	if !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
}

// TestMessageIsSmall: a record as large as can be gives a message below the 20 kB that
// the standard recommends.
func TestMessageIsSmall(t *testing.T) {
	long := strings.Repeat("\u2603", 1<<12)
	name := pavise.Name{Tenant: strings.Repeat("t", 128), Kind: strings.Repeat("k", 128), ID: strings.Repeat("i", 128)}
	r := refusal("local", "x", long, long, testTime)
	r.On, r.Kind = name, long
	r.Policy = &record.Policy{Reasons: []string{long}}
	f, _ := Worth(1, r)
	if body := (speller{"example.test/log", "1"}).body(telling{Finding: f}); len(body) > 20<<10 || !json.Valid(body) {
		t.Errorf("%d bytes", len(body))
	}
}

// TestRunEndsWhileAReceiverHangs: what hangs holds nobody up.
func TestRunEndsWhileAReceiverHangs(t *testing.T) {
	w := newWorld(t)
	w.run(t)
	r := newReceiver(t)
	reached, free := make(chan bool, 1), make(chan bool)
	r.Config.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached <- true; <-free })
	defer close(free)
	w.put(t, r, "local", "soc")
	<-reached
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	ended := make(chan bool)
	go func() { w.stop(); close(ended) }()
	select {
	case <-ended:
	case <-ctx.Done():
		t.Fatal("it waits for the receiver")
	}
}

// TestRunThatIsStoppedAtOnce has nothing to complain of.
func TestRunThatIsStoppedAtOnce(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Run(ctx); err != nil {
		t.Error(err)
	}
}

// TestFarewell tells a receiver that it is taken away, or that another is put in its
// place, at the address where it was; one that hangs cannot keep itself.
func TestFarewell(t *testing.T) {
	w := newWorld(t)
	w.run(t)
	r, thief := newReceiver(t), newReceiver(t)
	w.put(t, r, "local", "soc")
	r.told(t, 1, "local/human/olga did siem.put")
	w.put(t, r, "local", "soc") // the same address
	w.put(t, thief, "local", "soc")
	if got := r.told(t, 1, "local/human/olga does siem.put"); len(got) != 1 {
		t.Errorf("told %v", got)
	}
	w.put(t, r, "local", "soc")
	if err := w.Delete(t.Context(), operator, "soc"); err != nil {
		t.Fatal(err)
	}
	r.told(t, 1, "local/human/olga does siem.delete on local/siem/soc: no more findings come here")
	asked := r.count()
	w.finding(t, "local", "afterwards")
	if err := w.Delete(t.Context(), operator, "soc"); pavise.KindOf(err) != pavise.NotFound {
		t.Error(err)
	}
	if r.count() != asked {
		t.Error("it is told of what came afterwards")
	}
	free := make(chan bool)
	defer close(free)
	r.Config.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-free })
	w.put(t, r, "local", "stuck")
	if err := w.Delete(t.Context(), operator, "stuck"); err != nil {
		t.Error(err)
	}
}
