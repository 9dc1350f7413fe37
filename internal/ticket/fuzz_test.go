package ticket

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/outbound"
)

// FuzzHeard reads comments: what is taken for a vote says so in its first line, with digits
// of a digest, and gives a reason that is one line.
func FuzzHeard(f *testing.F) {
	for _, text := range []string{
		"pavise approve 0123456789ab", "pavise deny 0123456789ab no", "pavise deny 0123456789ab", "  \r\npavise approve 0123456789ab\r\nfine", "pavise approve 0123456789a",
		"I would pavise approve 0123456789ab", "> pavise approve 0123456789ab", "Pavise approve 0123456789ab", "pavise approve 0123456789AB", "pavise approve 0123456789ab\u202e",
		"ok\npavise approve 0123456789ab", "pavise approve " + strings.Repeat("0", 65), "",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		w, ok := heard(text)
		first, _, _ := strings.Cut(strings.TrimLeftFunc(text, unicode.IsSpace), "\n")
		switch {
		case ok != (w.digest != ""):
			t.Errorf("%q: %+v", text, w)
		case ok && (!strings.HasPrefix(first, "pavise ") || !strings.Contains(first, w.digest) || len(w.digest) < shownDigest || len(w.digest) > 64):
			t.Errorf("%q is a vote: %+v", text, w)
		case ok && (strings.ContainsAny(w.reason, "\n\r\x00") || len([]rune(w.reason)) > maxReason || w.yes && strings.HasPrefix(first, "pavise deny")):
			t.Errorf("%q: %+v", text, w)
		}
	})
}

// FuzzAnswers has tools of each kind answer anything: an error, or tickets whose ids stand
// in an address as they are, and words that are bounded.
func FuzzAnswers(f *testing.F) {
	for _, text := range []string{
		`{"issues":[{"id":"1","key":"OPS-1","fields":{"labels":[""],"created":"x"}}],"id":"7","key":"OPS-7"}`,
		`{"comments":[{"id":"5","author":{"accountId":"a"},"body":{"type":"doc","content":[{"type":"paragraph","content":[{"type":"text","text":"pavise approve 0123456789ab"}]}]},"created":"2027-01-02T03:04:05.000+0000"}]}`,
		`[{"id":5,"user":{"id":42,"type":"User"},"body":"pavise approve 0123456789ab","created_at":"2027-01-02T03:04:05Z"}]`, `[{"number":7,"iid":7,"labels":[]}]`,
		`{"number":7,"iid":7,"html_url":"javascript:x"}`, `{"result":{"sys_id":{"value":"../../x"},"number":{"value":"CHG1"}}}`,
		`{"result":[{"sys_id":"a","state":"approved","approver":"b","approver.user_name":"c","sys_updated_by":"c","sys_updated_on":"2027-01-02 03:04:05"}]}`,
		`{"result":[{"sys_id":{"value":"ab"},"number":{"value":"CHG2"}}]}`, `[]`, `null`, `{`, `[[[[[[`,
	} {
		f.Add([]byte(text))
	}
	key := testTickets(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, kind := range heardFrom {
			p := puts(kind, "https://tool.example.org")
			base, err := url.Parse(p.URL)
			if err != nil {
				t.Fatal(err)
			}
			w := &wire{Wire: outbound.Wire{Client: &http.Client{Transport: says(text)}, Base: base, User: p.User, Secret: p.Secret}, target: target{Kind: p.Kind, URL: p.URL, Project: p.Project, User: p.User, Secret: p.Secret}, marks: marks{key, place{"local", "work"}}, now: time.Now}
			tool := map[string]tool{jira: &jiraTool{w}, serviceNow: &serviceNowTool{w}, gitHub: &gitHubTool{w}, gitLab: &gitLabTool{w}}[kind]
			s := step{Change: pavise.Name{Tenant: "local", Kind: "change", ID: "c-1"}, Digest: strings.Repeat("0", 64), Sort: stepEnded}
			if got, err := tool.open(t.Context(), s); err == nil && (!foreign.MatchString(got.ID) || strings.Contains(got.ID, "..") || strings.HasPrefix(got.URL, "javascript")) {
				t.Errorf("%s: %s: %+v", kind, text, got)
			}
			words, err := tool.words(t.Context(), ticket{ID: "1"}, step{Digest: strings.Repeat("0", 64)})
			if err == nil && len(words) > maxPages*maxWords {
				t.Errorf("%s: %d words", kind, len(words))
			}
			_ = tool.tell(t.Context(), ticket{ID: "1"}, s, true) // whatever it says, it ends
		}
	})
}

// says is a tool that answers everything with one text.
type says []byte

// RoundTrip answers.
func (s says) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(s)), Request: r}, nil
}
