package ticket

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/hook"
	"github.com/pavise/pavise/internal/outbound"
)

func hubSignature(secret, body string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(body))
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// TestPutRefuses what could never work, or must not be asked.
func TestPutRefuses(t *testing.T) {
	w := newWorld(t)
	good := puts(gitHub, "https://api.github.com")
	for name, change := range map[string]func(*Put){
		"no kind":             func(p *Put) { p.Kind = "svn" },
		"no TLS":              func(p *Put) { p.URL = "http://tools.example.org" },
		"metadata":            func(p *Put) { p.URL = "https://169.254.169.254/" },
		"a password in it":    func(p *Put) { p.URL = "https://a:b@tools.example.org" },
		"a query":             func(p *Put) { p.URL += "?x=y" },
		"no project":          func(p *Put) { p.Project = "" },
		"a project upwards":   func(p *Put) { p.Project = "org/.." },
		"a project's path":    func(p *Put) { p.Project = "org/repo/../../x" },
		"no secret":           func(p *Put) { p.Secret = "" },
		"a secret of lines":   func(p *Put) { p.Secret = "a\r\nX: y" },
		"a user":              func(p *Put) { p.User = "bot" },
		"a long name":         func(p *Put) { p.Name = strings.Repeat("x", maxName+1) },
		"JQL as a project":    func(p *Put) { p.Kind, p.Project = jira, `OPS" OR project = "X` },
		"a pager's project":   func(p *Put) { p.Kind = pagerDuty },
		"a webhook's secret":  func(p *Put) { p.Kind, p.Project = webhooks, "" },
		"GitLab, and upwards": func(p *Put) { p.Kind, p.Project = gitLab, "a/../b" },
	} {
		p := good
		change(&p)
		if _, err := w.Put(t.Context(), ann, p); pavise.KindOf(err) != pavise.Invalid || err == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	caller := ann
	caller.Roles = nil
	if _, err := w.Put(t.Context(), caller, good); pavise.KindOf(err) != pavise.Denied {
		t.Errorf("whoever may not: %v", err)
	}
	for i := range maxTools {
		p := good
		p.Name = fmt.Sprint("t", i)
		w.put(t, p)
	}
	if _, err := w.Put(t.Context(), ann, good); pavise.KindOf(err) != pavise.Conflict {
		t.Errorf("one too many: %v", err)
	}
}

// TestMovedTool: a tool in another place is another: a mapping that was approved for the one
// is none for the other, a secret is not sent there, and tickets are made anew.
func TestMovedTool(t *testing.T) {
	w := newWorld(t)
	e, other := newEmulator(t, gitHub, w.clock), newEmulator(t, gitHub, w.clock)
	w.put(t, puts(gitHub, e.URL))
	w.maps(t, "work", "42", gus, "operator")
	ch := w.propose(t, ben, "lamp.set", `{}`)
	turn(t, w.clerk(t, "work"))
	same := puts(gitHub, e.URL)
	same.Secret = ""
	if given := w.put(t, same); given.Known != 1 || given.Secret != "" {
		t.Errorf("put again: %+v", given)
	}
	moved := puts(gitHub, other.URL)
	moved.Secret = ""
	if _, err := w.Put(t.Context(), ann, moved); pavise.KindOf(err) != pavise.Invalid || err == nil {
		t.Errorf("moved with its secret: %v", err)
	}
	moved.Secret = "another"
	if given := w.put(t, moved); given.Known != 0 || given.Secret == "" {
		t.Errorf("moved: %+v", given)
	}
	c := w.clerk(t, "work")
	turn(t, c)
	other.say(ballot(gitHub, "42", ch.Digest, true))
	turn(t, c)
	if got := w.look(t, ch.Name); other.count() != 1 || got.State != change.Open {
		t.Errorf("%d tickets, %+v", other.count(), got)
	}
	// Whoever writes the old mapping back into the table gains nothing: it says its place.
	if why := c.unfit(ch, ticket{}, word{digest: ch.Digest}, Mapping{Account: "42", Person: gus, Place: e.URL + " org/repo"}, true); !strings.Contains(why, "another place") {
		t.Errorf("the old mapping: %q", why)
	}
}

// TestMapRefuses mappings that could not be, or that depend on what is no more.
func TestMapRefuses(t *testing.T) {
	w := newWorld(t)
	w.put(t, puts(gitHub, "https://api.github.com"))
	w.put(t, Put{Name: "pager", Kind: pagerDuty, URL: "https://events.pagerduty.com", Secret: "x"})
	good := MapSpec{Account: "42", Person: gus, Roles: []string{"operator"}, Days: 30}
	for name, c := range map[string]struct {
		tool string
		bad  func(*MapSpec)
		kind pavise.Kind
	}{
		"no account":      {"work", func(m *MapSpec) { m.Account = "a b" }, pavise.Invalid},
		"a program":       {"work", func(m *MapSpec) { m.Person.Kind = pavise.Workload }, pavise.Invalid},
		"another tenant":  {"work", func(m *MapSpec) { m.Person.Tenant = "acme" }, pavise.Invalid},
		"no role":         {"work", func(m *MapSpec) { m.Roles = nil }, pavise.Invalid},
		"an unknown role": {"work", func(m *MapSpec) { m.Roles = []string{"wizard"} }, pavise.NotFound},
		"roles that bar":  {"work", func(m *MapSpec) { m.Roles = []string{"auditor", "operator"} }, pavise.Invalid},
		"too long":        {"work", func(m *MapSpec) { m.Days = 91 }, pavise.Invalid},
		"no tool":         {"none", func(*MapSpec) {}, pavise.NotFound},
		"a pager":         {"pager", func(*MapSpec) {}, pavise.Invalid},
	} {
		m := good
		c.bad(&m)
		if _, err := w.PlanMap(t.Context(), place{"local", c.tool}.thing(), m); pavise.KindOf(err) != c.kind || err == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	plan, err := w.PlanMap(t.Context(), place{"local", "work"}.thing(), good)
	if err != nil {
		t.Fatal(err)
	}
	moved := puts(gitHub, "https://github.example.org/api/v3")
	w.put(t, moved)
	after, err := w.PlanMap(t.Context(), place{"local", "work"}.thing(), good)
	if err != nil || after.Digests()["place of the tool"] == plan.Digests()["place of the tool"] {
		t.Errorf("an approval for one place is one for another: %v", err)
	}
}

// TestMappedPersonGainsByIt: neither who proposes a mapping nor whom it is for approves it.
func TestMappedPersonGainsByIt(t *testing.T) {
	w := newWorld(t)
	w.put(t, puts(gitHub, "https://api.github.com"))
	request := fmt.Appendf(nil, `{"account":"42","person":%q,"roles":["operator"],"days":7}`, ben.Name())
	ch, err := w.changes.Propose(t.Context(), ann, change.Proposal{Verb: "ticket.map", On: place{"local", "work"}.thing(), Request: request})
	if err != nil {
		t.Fatal(err)
	}
	for _, who := range []pavise.Principal{ann, ben} {
		if _, err := w.changes.Approve(t.Context(), who, ch.Name, ch.Digest, ""); pavise.KindOf(err) != pavise.Denied {
			t.Errorf("%s: %v", who.ID, err)
		}
	}
	if s, err := w.Show(t.Context(), ann, "work"); err != nil || len(s.Accounts) != 0 {
		t.Errorf("%+v, %v", s.Accounts, err)
	}
	if err := w.Unmap(t.Context(), ann, "work", "42"); pavise.KindOf(err) != pavise.NotFound {
		t.Errorf("unmapped: %v", err)
	}
}

// TestMapHoldsNobodyUp: whoever changes a tool waits until its votes are through, and a vote
// for the change that is being run: that change must not wait for them.
func TestMapHoldsNobodyUp(t *testing.T) {
	w := newWorld(t)
	w.put(t, puts(gitHub, "https://api.github.com"))
	w.editing.Lock()
	defer w.editing.Unlock()
	w.maps(t, "work", "42", gus, "operator")
}

// TestUnmap ends what an account says at once.
func TestUnmap(t *testing.T) {
	each(t, []string{gitHub}, func(t *testing.T, w *world, e *emulator, c *clerk) {
		w.maps(t, "work", "42", gus, "operator")
		w.maps(t, "work", "43", ben.Name(), "caller")
		ch := w.propose(t, ben, "lamp.set", `{}`)
		turn(t, c)
		e.say(ballot(c.Kind, "42", ch.Digest, true))
		if err := w.Unmap(t.Context(), ann, "work", "42"); err != nil {
			t.Fatal(err)
		}
		turn(t, c)
		if got := w.look(t, ch.Name); got.State != change.Open {
			t.Errorf("%+v", got)
		}
	})
}

// TestProbe asks tools whether they work, and says why they do not.
func TestProbe(t *testing.T) {
	for kind := range kinds {
		w := newWorld(t)
		e := newEmulator(t, kind, w.clock)
		w.put(t, puts(kind, e.URL))
		if tried, err := w.Test(t.Context(), ann, "work"); err != nil || !tried.Works {
			t.Errorf("%s: %+v, %v", kind, tried, err)
		}
		e.Close()
		if tried, err := w.Test(t.Context(), ann, "work"); err != nil || tried.Works || tried.Why != "nobody listens there" {
			t.Errorf("%s, away: %+v, %v", kind, tried, err)
		}
	}
}

// TestNothingSecret: neither database, log nor what people are shown has a secret in it.
func TestNothingSecret(t *testing.T) {
	w := newWorld(t)
	p := puts(webhooks, "https://hooks.example.org/services/T0PSECRET")
	given := w.put(t, p)
	w.put(t, Put{Name: "pager", Kind: pagerDuty, URL: "https://events.pagerduty.com", Secret: "R0UTINGKEY"})
	list, err := w.List(t.Context(), ann)
	if err != nil {
		t.Fatal(err)
	}
	r := w.row(t, "pager")
	text := fmt.Sprintf("%+v %v %+v %#v %s", list, r.target, r.target, r.target, r.target)
	for _, found := range w.log.Records(0, w.log.Size()) {
		text += string(found.Detail)
	}
	dir := filepath.Dir(w.path)
	files, err := filepath.Glob(filepath.Join(dir, "db*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text += string(body)
	}
	for _, secret := range []string{"T0PSECRET", "R0UTINGKEY", given.Secret, strings.TrimPrefix(given.Secret, "whsec_")} {
		if strings.Contains(text, secret) {
			t.Errorf("%s is there", secret)
		}
	}
}

// TestAllowedNoMore: a tool that was put where this machine was allowed is not asked once
// it is not.
func TestAllowedNoMore(t *testing.T) {
	w := newWorld(t)
	e := newEmulator(t, gitHub, w.clock)
	w.put(t, puts(gitHub, e.URL))
	w.cfg.Reach = outbound.Reach{}
	w.open(t)
	w.propose(t, ben, "lamp.set", `{}`)
	turn(t, w.clerk(t, "work"))
	if s, err := w.Show(t.Context(), ann, "work"); err != nil || s.State != "failing" || len(e.asked()) != 0 {
		t.Errorf("%+v, %v", s.Tool, err)
	}
}

// TestSigned has the receiver of a webhook verify what it gets.
func TestSigned(t *testing.T) {
	for kind, messages := range map[string]int{webhooks: 1, cdEvents: 3} {
		w := newWorld(t)
		e := newEmulator(t, kind, w.clock)
		w.put(t, puts(kind, e.URL))
		keys, checked := w.row(t, "work").Keys, 0
		e.check = func(header func(string) string, body []byte) {
			if checked++; !hook.Verify(keys, header, w.clock(), body) || hook.Verify(keys, header, w.clock(), append(body, ' ')) {
				t.Errorf("%s: not verified: %s", kind, body)
			}
		}
		w.propose(t, ben, "lamp.set", `{}`)
		turn(t, w.clerk(t, "work"))
		if checked != messages {
			t.Errorf("%s: %d messages", kind, checked)
		}
	}
}
