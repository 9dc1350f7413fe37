package console

import (
	"html"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/archive"
	"github.com/pavise/pavise/internal/evidence"
	feeds "github.com/pavise/pavise/internal/feed"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/witness"
)

// wellLog is the state of a log with all that can look after it.
func wellLog(f *fakeAPI) {
	f.status = evidence.LogStatus{
		Origin: "pavise.local/x", Key: "pavise.local/x+1+A", Fingerprint: "8f3a", Protection: "software",
		Keys: []evidence.LogKey{
			{Key: "pavise.local/x+1+A", Algorithm: "Ed25519", Fingerprint: "8f3a"},
			{Key: "pavise.local/x+2+" + strings.Repeat("B", 1800), Algorithm: "ML-DSA-44 cosignature", Fingerprint: "77c0"},
		},
		First: 1024, Records: 1234567, Signed: 1234560, Published: 1234500, Segments: 3, Bytes: 5 << 20,
		Witnessed: &evidence.Witnessed{Records: 1234400, At: began, Witnesses: []witness.Status{
			{Name: "north", Key: "north+3+C", Algorithm: "Ed25519 cosignature", URL: "https://north.example", Counts: true, Size: 1234500, At: began, Skew: 90 * time.Second},
			{Name: "near", Key: "near+7+G", URL: "https://near.example", Counts: true, Size: 1234499, At: began.Add(-10 * time.Second)},
			{Name: "south", Key: "south+4+D", URL: "https://south.example", Counts: true, Size: 1234400, At: began.Add(-time.Hour), Problem: "south.example answered with status 500"},
			{Name: "self", Key: "self+5+E", URL: "http://127.0.0.1/witness", Size: 0},
			{Name: "slow", Key: "slow+6+F", URL: "https://slow.example", Counts: true, Size: 9, At: began.Add(-time.Hour), Skew: -5 * time.Second},
		}},
	}
	f.followers = []feeds.Backlog{
		{Cursor: feeds.Cursor{Tenant: "local", Name: "siem", Filter: ledger.Filter{Kinds: []string{"model.infer", "route"}, Who: "local/human/ana", On: "local/model/m", Subject: "s-1", Ending: "deny"}, Next: 4711, Moved: began}, Behind: 12, Lag: 90 * time.Second},
		{Cursor: feeds.Cursor{Tenant: "local", Name: "audit", Next: 1234567}},
	}
	f.archive = evidence.ArchiveList{
		Place: "s3://evidence/x", Lock: "compliance",
		Classes: []archive.Class{{Name: "inference", Kinds: []string{"model", "route.put"}, Online: 30 * 24 * time.Hour, Keep: 36 * time.Hour}, {Name: "default"}},
		Segments: []archive.Segment{
			{Manifest: archive.Manifest{First: 0, Count: 512, Bytes: 1 << 20}}, {Manifest: archive.Manifest{First: 512, Count: 512, Bytes: 1 << 20}, Here: true},
		},
	}
	f.witness = evidence.WitnessList{
		Keys: []evidence.LogKey{{Key: "pavise.local/x/witness+9+Z", Algorithm: "Ed25519 cosignature", Fingerprint: "c051"}},
		Logs: []witness.Log{
			{Origin: "east.example/log", Keys: []string{"east.example/log+7+G"}, Size: 8000, Root: "cm9vdA==", At: began},
			{Origin: "west.example/log", Keys: []string{"west.example/log+8+H"}, Forked: true, Fork: []string{"one\nhistory", "another\nhistory"}},
			{Origin: "new.example/log", Keys: []string{"a+1+A", "b+2+B"}},
		},
	}
	f.subjects = evidence.SubjectCount{Keys: 14, Shredded: 2}
}

// The page of the log says how the log is, and all that looks after it.
func TestLogPage(t *testing.T) {
	s := newStand(t).signIn()
	wellLog(s.api)
	resp, body := s.get("/evidence")
	checkHeaders(t, "/evidence", resp, body)
	said := strings.ReplaceAll(text(body), "\u202f", " ")
	for _, want := range []string{
		"Records 1 234 567 Signed 1 234 560 Published 1 234 500 Witnessed 1 234 400 On disk 5.0 MiB", "The newest 7 records wait for their signatures", "First record 1 024; those before were pruned",
		"Ed25519 8f3a pavise.local/x+1+A", "ML-DSA-44 cosignature 77c0", "A quorum has seen 1 234 400 records, by 2026-03-04 09:30:00 UTC. 100 published records are newer.",
		"Watches north Has seen 1 234 500 records, 2026-03-04 09:30:00 UTC by its own clock, which is 1m30s ahead of ours Asked at https://north.example Key Ed25519 cosignature north+3+C",
		"Watches near", "In trouble south", "Problem south.example answered with status 500", "Has not answered yet self does not count", "Behind slow", "which is 5s behind ours",
		"siem 12 before it Next record 4 711 Lag 1m30s Moved 2026-03-04 09:30:00 UTC Wants model.infer route by local/human/ana on local/model/m of subject s-1 that ended in deny",
		"audit up to date Next record 1 234 567 Wants every record",
		"Place s3://evidence/x Lock compliance Segments 2 archived, 2.0 MiB, up to record 1 024; 1 of them here too", "inference model , route.put 30 days 36h default all other kinds for ever no lock",
		"Seen east.example/log Cosigned 8 000 records, 2026-03-04 09:30:00 UTC Root cm9vdA== Key east.example/log+7+G",
		"Shows two histories west.example/log", "one history", "another history", "Not yet seen new.example/log", "c051 pavise.local/x/witness+9+Z",
		"14 with a key of their own, 2 forgotten",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("the page does not say %q:\n%s", want, said)
		}
	}
	if strings.Contains(body, `role="alert"`) {
		t.Error("a healthy log is shown as sick")
	}
	if n := strings.Count(body, strings.Repeat("B", 1800)); n != 1 || !strings.Contains(body, `<details class="long">`) {
		t.Errorf("a long key is there %d times, or not folded", n)
	}
}

// One record is not "records".
func TestLogPageOfOneRecordBehind(t *testing.T) {
	s := newStand(t).signIn()
	wellLog(s.api)
	s.api.status.Signed = s.api.status.Records - 1
	if _, body := s.get("/evidence"); !strings.Contains(text(body), "The newest record waits for its signature") {
		t.Error("one record behind is told as several")
	}
}

// What is wrong with the log is said first, and what nobody does for it is said too,
// with what would.
func TestLogPageSick(t *testing.T) {
	s := newStand(t).signIn()
	s.api.status = evidence.LogStatus{Problem: "fdatasync: input/output error", Full: true, Archive: "the bucket is not there", First: 0}
	s.api.archive = evidence.ArchiveList{Lock: "none", Problem: "the bucket is not there"}
	_, body := s.get("/evidence")
	for _, want := range []string{
		"input/output error", "The disk is full.", "Nothing is archived. the bucket is not there", "0, the whole log is on this machine", "pavise up --witnesses FILE", "pavise ledger follow --name",
		"none: pavise up --archive PLACE", "none: who can write there can delete there", "Every record is kept for ever", "pavise witness trust KEY", "0 with a key of their own",
	} {
		if !strings.Contains(text(body), want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if n := strings.Count(body, `role="alert"`); n != 3 {
		t.Errorf("%d alerts", n)
	}
}

// A part of the page that is refused says so where it would be, and no other part does.
func TestLogPageInParts(t *testing.T) {
	parts := map[string]string{
		"ledger.status": "pavise.local/x+1+A", "ledger.followers": "siem", "archive.list": "s3://evidence/x", "witness.list": "east.example/log", "subject.list": "14",
	}
	for verb := range parts {
		s := newStand(t).signIn()
		wellLog(s.api)
		s.api.problems[verb] = api.Problem{Status: 403, Title: "denied", Detail: "local/human/ana may not do " + verb, Hint: "ask an operator about " + verb}
		resp, body := s.get("/evidence")
		said := text(body)
		if resp.StatusCode != http.StatusOK || !strings.Contains(said, "local/human/ana may not do "+verb) || !strings.Contains(said, "ask an operator about "+verb) {
			t.Errorf("%s is refused: status %d, and the page does not say so:\n%s", verb, resp.StatusCode, said)
		}
		for other, mark := range parts {
			if shown := strings.Contains(said, mark+" "); shown != (other != verb) {
				t.Errorf("%s is refused, and what %s answers is shown: %v", verb, other, shown)
			}
		}
	}
}

// A session whose token ends while the parts are asked for ends, and one part that is
// away is not the whole API.
func TestLogPageEnds(t *testing.T) {
	s := newStand(t).signIn()
	wellLog(s.api)
	away := api.Problem{Status: 503, Title: "unavailable", Detail: "the database does not answer"}
	for _, verb := range []string{"ledger.followers", "archive.list", "witness.list", "subject.list"} {
		s.api.problems[verb] = away
	}
	if resp, body := s.get("/evidence"); resp.StatusCode != http.StatusOK || strings.Count(body, "The database does not answer.") != 4 || !strings.Contains(body, "pavise.local/x") {
		t.Errorf("four of five parts are away: status %d", resp.StatusCode)
	}
	s.api.problems["ledger.status"] = away
	if resp, _ := s.get("/evidence"); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("all parts are away: status %d", resp.StatusCode)
	}
	s.api.problems = map[string]api.Problem{"subject.list": {Status: 401, Title: "unverified", Detail: "the token has ended"}}
	if resp, body := s.get("/evidence"); resp.StatusCode != http.StatusUnauthorized || !strings.Contains(body, "pavise console link") {
		t.Errorf("the token ended: status %d", resp.StatusCode)
	}
	if resp, _ := s.get("/"); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("the session outlived its token: status %d", resp.StatusCode)
	}
}

// What other machines call themselves and say of themselves is text.
func TestHostileLogPage(t *testing.T) {
	s := newStand(t).signIn()
	s.api.status = evidence.LogStatus{
		Origin: payload, Key: payload, Fingerprint: payload, Protection: payload, Archive: payload, Problem: payload,
		Keys:      []evidence.LogKey{{Key: payload, Algorithm: payload, Fingerprint: payload}, {Key: strings.Repeat(payload, 9), Algorithm: payload}},
		Witnessed: &evidence.Witnessed{Witnesses: []witness.Status{{Name: payload, Key: payload, Algorithm: payload, URL: payload, Problem: payload}}},
	}
	s.api.followers = []feeds.Backlog{{Cursor: feeds.Cursor{Name: payload, Filter: ledger.Filter{Kinds: []string{payload}, Who: payload, On: payload, Subject: payload, Ending: payload}}}}
	s.api.archive = evidence.ArchiveList{Place: payload, Lock: payload, Problem: payload, Classes: []archive.Class{{Name: payload, Kinds: []string{payload}}}}
	s.api.witness = evidence.WitnessList{
		Keys: []evidence.LogKey{{Key: payload, Algorithm: payload, Fingerprint: payload}},
		Logs: []witness.Log{{Origin: payload, Keys: []string{payload}, Root: payload, Forked: true, Fork: []string{payload, payload}}},
	}
	resp, body := s.get("/evidence")
	if resp.StatusCode != http.StatusOK || raw.MatchString(body) {
		t.Errorf("status %d; %q came through raw", resp.StatusCode, raw.FindString(body))
	}
	if n := strings.Count(html.UnescapeString(body), "XMARK"); n < 38 {
		t.Errorf("%d of the payloads are shown", n)
	}
	for _, verb := range []string{"ledger.status", "ledger.followers", "archive.list", "witness.list", "subject.list"} {
		s.api.problems[verb] = api.Problem{Status: 403, Title: "denied", Detail: payload, Hint: payload}
	}
	if _, body := s.get("/evidence"); raw.MatchString(body) || strings.Count(body, "XMARK") != 10 {
		t.Errorf("refusals: %q came through raw, %d are shown", raw.FindString(body), strings.Count(body, "XMARK"))
	}
}
