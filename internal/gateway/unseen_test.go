package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/tensor"
	"github.com/pavise/pavise/internal/tier"
)

// A seen is what a caller can see of an answer beside its numbers.
type seen struct {
	took    time.Duration
	letters int
	form    string // the text without its numbers
	head    int    // the length of the part that is JSON, where numbers are not
	moved   uint64 // by how much the record's number moves to the next answer's
	kind    pavise.Kind
	refused string
}

// TestNothingTellsATier has two callers ask the same rows of a route with a ladder, guarded
// answers and marks at once, one of whom is in amber: time (to the nanosecond, on a clock on which
// no work takes any but writing records, which takes longer in amber), length, form, refusals, rung and what the numbers of records do are the same for
// both, for all sizes and for models that are quick, slow, late and broken. Scores are not: they are
// all that differs.
func TestNothingTellsATier(t *testing.T) {
	for name, edit := range map[string]func(*route.Spec){
		"guarded":         nil,
		"guarded, marked": func(s *route.Spec) { s.Mark = "0.05" },
		"rounded":         func(s *route.Spec) { s.Mark, s.Shape = "0.05", "round:4" },
		"fewer decimals":  func(s *route.Spec) { s.Shape, s.Amber = "round:4", "round:1" },
		"less of them":    func(s *route.Spec) { s.Mark, s.Shape, s.Amber = "0.05", "topk:3", "topk:1" },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, t.TempDir())
				w.putWide(t, 8, 10, func(s *route.Spec) {
					if s.Ladder = "20ms x2 to 200ms"; edit != nil {
						edit(s)
					}
				})
				live, err := w.Routes.Find(theModel)
				if err != nil {
					t.Fatal(err)
				}
				model := &slow{model: live.Predictor}
				live.Predictor = model
				green, amber := operator, operator
				green.ID, green.Roles, amber.ID, amber.Roles = "green", []string{"caller"}, "amber", []string{"caller"}
				w.inTier(t, amber.Name(), tier.Amber)
				w.takes = func(r *record.Record) time.Duration { // longer ones take longer
					switch {
					case model.takes > 200*time.Millisecond: // above the top all shows
						return 0
					case r.Kind == "model.infer" && r.Who.ID == amber.ID:
						return 900 * time.Microsecond
					}
					return 200 * time.Microsecond
				}
				for _, who := range []pavise.Principal{green, amber} { // writes what is written once
					w.sees(t, who, drawnRows(1, 8, 1))
				}
				altered := 0
				for _, rows := range []int{1, 64, 256, 900} {
					for _, takes := range []time.Duration{0, 19 * time.Millisecond, 70 * time.Millisecond, 300 * time.Millisecond} {
						for _, fails := range []bool{false, true} {
							if fails && rows > 64 { // refusals have one length
								continue
							}
							model.takes, model.fails = takes, fails
							body := drawnRows(rows, 8, uint64(rows))
							one, a, x := w.sees(t, green, body)
							two, b, y := w.sees(t, amber, body)
							if one != two {
								t.Errorf("%d rows of a model that takes %v (fails: %v): green sees %+v, and amber %+v", rows, takes, fails, one, two)
							}
							if x.Rung != y.Rung || x.Late != y.Late || x.Late != (takes > 200*time.Millisecond) {
								t.Errorf("%d rows, %v: the records say %+v and %+v", rows, takes, x, y)
							}
							if y.Altered && a != b {
								altered++
							}
							if x.Standing != "" || y.Standing != "amber" && !fails {
								t.Errorf("they stand %q and %q", x.Standing, y.Standing)
							}
						}
					}
				}
				if altered != 16 {
					t.Errorf("%d of 16 answers were altered", altered)
				}
			})
		})
	}
}

// sees asks twice as somebody, and says what they see of the second answer, its text, and what
// its record says.
func (w *world) sees(t *testing.T, who pavise.Principal, body string) (s seen, text string, trail Trail) {
	t.Helper()
	var last uint64
	for range 2 {
		from := time.Now()
		answer, err := w.Infer(context.Background(), who, Call{Model: theModel, Protocol: tensor.OIP, Header: tensor.NoHeader, Body: strings.NewReader(body)})
		s.took = time.Since(from)
		s.kind, s.refused = pavise.KindOf(err), ""
		var record uint64
		if err != nil {
			refusal, is := err.(*Refusal)
			if !is {
				t.Fatalf("%T: %v", err, err)
			}
			s.refused = err.Error()
			record, _ = refusal.Record()
		} else {
			record, text = answer.Record(), string(answer.Body)
			s.letters, s.head, s.form = len(text), answer.Header, formOf(text)
			answer.Free()
		}
		s.moved, last = record-last, record
	}
	if err := json.Unmarshal(w.last(t).Detail, &trail); err != nil {
		t.Fatal(err)
	}
	return s, text, trail
}

// formOf is the text of an answer without its numbers and the spaces behind it.
func formOf(text string) string {
	from := strings.Index(text, `"data":[`)
	to := strings.LastIndex(text, "]}")
	if from < 0 || to < from {
		return text
	}
	return fmt.Sprintf("%s%d%s", text[:from], strings.Count(text[from:to], ","), strings.TrimRight(text[to:], " "))
}
