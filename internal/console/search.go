package console

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/evidence"
	"github.com/pavise/pavise/internal/figure"
	"github.com/pavise/pavise/internal/story"
	"github.com/pavise/pavise/internal/verbs"
)

// pageRows is how many records one page of a search holds.
const pageRows = 50

// conditions are the fields of a search, in the order of the form. Their keys are
// those of the API and of the command pavise ledger list.
var conditions = []struct {
	key, word, example, about string
}{
	{"kind", "Kind or room", "model.infer", "a verb, or a room such as model; several with spaces"},
	{"who", "Who", "local/workload/demo", "tenant/kind/id, or kind/id"},
	{"on", "Thing", "local/model/threat-detector", "tenant/kind/id, or kind/id"},
	{"subject", "Data subject", "s-…", "a pseudonym: pavise subject find tells it"},
	{"ending", "Ending", "", ""},
	{"since", "Since", "24h", "a date, a time, or how far back"},
	{"until", "Until", "2026-11-26T10:00:00Z", "the same"},
}

// endings are the choices of the field ending, with what people call them.
var endings = []struct{ Key, Word string }{{"", "Any"}, {"deny", "Denied"}, {"alter", "Altered"}, {"failed", "Failed or denied"}}

// A search is the body of the page that finds records.
type search struct {
	Fields  []field
	Kinds   []string    // that are known
	Given   bool        // there are conditions
	Rows    []story.Row // newest first
	More    string      // what more there is, in words
	Size    uint64      // of the log
	First   uint64      // the first record on this machine
	Newest  string      // the address of the newest that are found; "" on that page
	Newer   string
	Older   string
	Begin   []searchLink // where people often begin, while nothing is asked
	Without []searchLink // what else could be asked
	Refusal *refusal
}

// A field is one condition as the form shows it.
type field struct {
	Key, Word, Example, About, Value string
	Choices                          []choice // of a field that takes no text
}

// A choice is one of those that a field offers.
type choice struct {
	Key, Word string
	Here      bool
}

// A searchLink is another search: one with a condition less, or one to begin with.
type searchLink struct{ Word, Address string }

// beginnings are searches that people often begin with.
var beginnings = []searchLink{
	{"denied in the last day", "/search?ending=deny&since=24h"},
	{"failed in the last day", "/search?ending=failed&since=24h"},
	{"what models were asked", "/search?kind=model.infer"},
	{"what was proposed and decided", "/search?kind=change"},
	{"changes of policies", "/search?kind=policy.put+policy.delete"},
	{"tokens given out", "/search?kind=issuer.mint"},
	{"who read the evidence", "/search?kind=ledger"},
}

// canonical is the address of the same search without the fields that were left
// empty, so that what is passed on is short; or "" when it has none.
func canonical(asked url.Values) string {
	for _, one := range conditions {
		if values, there := asked[one.key]; there && strings.TrimSpace(strings.Join(values, "")) == "" {
			return address(only(asked))
		}
	}
	return ""
}

// search shows the records that meet the conditions in the address.
func (c *Console) search(w http.ResponseWriter, r *http.Request, s *visitor) {
	asked, status := r.URL.Query(), http.StatusOK
	list := newSearch(asked)
	if clean := canonical(asked); clean != "" {
		http.Redirect(w, r, clean, http.StatusSeeOther)
		return
	}
	if !list.Given && asked.Get("before")+asked.Get("after") == "" {
		list.Begin = beginnings
		c.show(w, s, status, "search", page{Title: "Search", Here: "/search", Body: list})
		return
	}
	var answer evidence.ListAnswer
	req, err := listRequest(asked)
	if err == nil {
		err = s.client.Call(r.Context(), "ledger.list", req, &answer)
	}
	if pavise.KindOf(err) == pavise.Unverified {
		c.refuse(w, s, err)
		return
	}
	if err != nil {
		list.Refusal, status = newRefusal(err), pavise.KindOf(err).HTTPStatus()
	} else {
		list.found(asked, req, answer)
	}
	c.show(w, s, status, "search", page{Title: "Search", Here: "/search", Body: list})
}

// newSearch is the form as it was filled in.
func newSearch(asked url.Values) search {
	var list search
	for _, v := range verbs.Table() {
		list.Kinds = append(list.Kinds, v.Name)
	}
	for _, one := range conditions {
		f := field{Key: one.key, Word: one.word, Example: one.example, About: one.about, Value: strings.TrimSpace(asked.Get(one.key))}
		if f.Key == "ending" {
			for _, e := range endings {
				f.Choices = append(f.Choices, choice{e.Key, e.Word, e.Key == f.Value})
			}
		}
		list.Fields = append(list.Fields, f)
		if f.Value == "" {
			continue
		}
		list.Given = true
		less := only(asked)
		less.Del(f.Key)
		list.Without = append(list.Without, searchLink{fmt.Sprintf("without %s: %s", strings.ToLower(f.Word), figure.OneLine(f.Value, story.MaxName/2)), address(less)})
	}
	return list
}

// only returns the conditions of an address, without where its page begins.
func only(asked url.Values) url.Values {
	kept := url.Values{}
	for _, one := range conditions {
		if value := strings.TrimSpace(asked.Get(one.key)); value != "" {
			kept.Set(one.key, value)
		}
	}
	return kept
}

// address is that of a search.
func address(asked url.Values) string {
	if len(asked) == 0 {
		return "/search"
	}
	return "/search?" + asked.Encode()
}

// at is a search's page that ends before a record, or begins at one.
func at(asked url.Values, key string, index uint64) string {
	kept := only(asked)
	kept.Set(key, strconv.FormatUint(index, 10))
	return address(kept)
}

// listRequest reads the conditions and where the page begins.
func listRequest(asked url.Values) (req evidence.ListRequest, err error) {
	kept := only(asked)
	req.Limit = pageRows
	req.Conditions = evidence.Conditions{
		Kind: strings.FieldsFunc(kept.Get("kind"), func(r rune) bool { return r == ' ' || r == ',' }),
		Who:  kept.Get("who"), On: kept.Get("on"), Subject: kept.Get("subject"),
		Ending: kept.Get("ending"), Since: kept.Get("since"), Until: kept.Get("until"),
	}
	for _, edge := range []struct {
		key string
		to  **uint64
	}{{"before", &req.Before}, {"after", &req.After}} {
		text := asked.Get(edge.key)
		if text == "" {
			continue
		}
		index, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return req, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s is %.40q, no record's index", edge.key, text), Hint: "leave it out: the newest records come first"}
		}
		*edge.to = &index
	}
	return req, nil
}

// found takes over what the API found, and says where its neighbours are.
func (s *search) found(asked url.Values, req evidence.ListRequest, answer evidence.ListAnswer) {
	s.Size, s.First = answer.Size, answer.First
	for i := len(answer.Events) - 1; i >= 0; i-- {
		w := story.NewRow(answer.Events[i])
		w.Clock = w.At.Format("2006-01-02 15:04:05")
		s.Rows = append(s.Rows, w)
	}
	paged, onward := req.Before != nil || req.After != nil, req.After != nil
	if paged {
		s.Newest = address(only(asked))
	}
	if len(s.Rows) == 0 {
		return
	}
	newest, oldest := s.Rows[0].Index, s.Rows[len(s.Rows)-1].Index
	if answer.More && onward || paged && !onward {
		s.Newer = at(asked, "after", newest+1)
	}
	if answer.More && !onward || onward {
		s.Older = at(asked, "before", oldest)
	}
	s.More = ends[[2]bool{onward, answer.More}]
}

// ends say what the API says of the end to which it was listed: whether that is the
// newest, and whether there is more.
var ends = map[[2]bool]string{
	{false, false}: "down to the oldest there is", {false, true}: "and there are older ones",
	{true, false}: "up to the newest there is", {true, true}: "and there are newer ones",
}
