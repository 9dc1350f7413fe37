package gate

import (
	"slices"
	"strings"
	"testing"

	"github.com/pavise/pavise/internal/contract"

	"github.com/pavise/pavise/internal/store"
)

// word is the ith word, in an order that is against that of the alphabet.
func word(i int) string {
	i = 7999 - i
	return string([]byte{byte('g' + i/400), byte('g' + i/20%20), byte('g' + i%20)})
}

// words are lines of one word each.
func words(from, n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(word(from+i) + "\n")
	}
	return b.String()
}

// stored are the templates that the store has, those seen last first.
func (w *world) stored(t *testing.T) (all []string) {
	t.Helper()
	if err := w.cfg.Store.View(t.Context(), func(tx *store.Tx) error {
		rows, err := tx.Query(`SELECT template FROM gate_templates ORDER BY seen DESC`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var text []byte
			if err := rows.Scan(&text); err != nil {
				return err
			}
			all = append(all, string(text))
		}
		return rows.Err()
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// TestTemplatesGiveWay has templates give way in the store as they do in memory, the oldest
// first, also after a start.
func TestTemplatesGiveWay(t *testing.T) {
	const most = 512 // of lines of one word
	w := newWorld(t)
	w.put(t, Spec{Form: FormLines, Templates: "line", Learn: 100, NewShare: 1})
	next := 0
	for _, n := range []int{300, 300, 2} {
		if n == 2 {
			w.open(t)
		}
		wantVerdict(t, w.push(t, "", words(next, n)), Admitted)
		next += n
		var want []string
		for i := next - 1; i >= max(0, next-most); i-- {
			want = append(want, word(i))
		}
		if got := w.stored(t); !slices.Equal(got, want) {
			t.Fatalf("after %d words the store has %d, %.40q to %.40q", next, len(got), got[0], got[len(got)-1])
		}
		if s, err := w.Show(t.Context(), operator, rows); err != nil || s.Known != len(want) {
			t.Errorf("%d templates are known, want %d: %v", s.Known, len(want), err)
		}
	}
}

// TestLearntStaysLearnt has a source that has learnt go on judging under terms by which it
// would learn for longer, also after a start.
func TestLearntStaysLearnt(t *testing.T) {
	w := newWorld(t)
	w.put(t, Spec{Form: FormLines, Templates: "line", Learn: 100})
	wantVerdict(t, w.push(t, "", words(0, 200)), Admitted)
	wantVerdict(t, w.push(t, "", words(300, 200)), Held, "like no line before")
	longer := Spec{Source: rows, Form: FormLines, Templates: "line", Learn: 1_000_000}
	plan, err := w.PlanRevise(t.Context(), longer)
	if err != nil || !slices.Equal(plan.Looser, []string{"more lines to learn from"}) {
		t.Fatalf("%+v %v", plan, err)
	}
	if err := w.Revise(t.Context(), approved(operator), longer, plan.Before, nil); err != nil {
		t.Fatal(err)
	}
	wantVerdict(t, w.push(t, "", words(600, 200)), Held, "like no line before")
	w.open(t)
	wantVerdict(t, w.push(t, "", words(900, 200)), Held, "like no line before")
	wantVerdict(t, w.push(t, "", words(0, 199)), Admitted)
}

// TestLooser lists what a source would be held to no more.
func TestLooser(t *testing.T) {
	two := promise + strings.Replace(promise[strings.Index(promise, "  - name"):], "name: rows", "name: others", 1)
	was := Spec{Source: rows, Contract: []byte(two), Schema: "rows", Templates: "amount", Distinct: "id", Sequence: "id", QuotaMB: 1}
	for word, change := range map[string]func(*Spec){
		"another form":                   func(s *Spec) { s.Form = FormCSV },
		"another schema":                 func(s *Spec) { s.Schema = "others" },
		"templates of another column":    func(s *Spec) { s.Templates = "id" },
		"more lines to learn from":       func(s *Spec) { s.Learn = 2 * defaultLearn },
		"values of id watched no more":   func(s *Spec) { s.Distinct = "amount" },
		"sequence of id watched no more": func(s *Spec) { s.Sequence = "" },
		"a greater share":                func(s *Spec) { s.NewShare = 0.5 },
		"a greater quota":                func(s *Spec) { s.QuotaMB = 2 },
	} {
		will := was
		change(&will)
		before, err := was.read(contract.Parse)
		if err != nil {
			t.Fatal(err)
		}
		after, err := will.read(contract.Parse)
		if err != nil {
			t.Fatal(err)
		}
		if all := looser(before, after); len(all) != 1 || !strings.Contains(all[0], word) {
			t.Errorf("%q, want %q", all, word)
		}
	}
}
