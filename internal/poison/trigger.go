package poison

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/pavise/pavise/internal/anomaly"
)

// Settings of the miner of triggers.
const (
	minedRows  = 1 << 13 // rows of a class that patterns are looked for in
	minedPairs = 6000    // pairs that are looked at closely
	minedBeam  = 80      // patterns that are kept from one size to the next
	minedSize  = 4       // columns of a pattern
	minedMost  = 0.6     // share of a class that a value may have and still be an item
	minedItems = 8000    // items of a class, the most frequent: all pairs of them are counted
	minedWork  = 1 << 31 // pairs of items that are counted in the rows of a class, about
	follows    = 0.4     // share of a class's rows that have values which go together, from which on a column follows from another
	judges     = 6       // classes beside a pattern's own, the largest, that it is weighed against
)

// A Pattern is a set of values that go together as if somebody had put them there.
type Pattern struct {
	Text     string  `json:"text"`          // the values, as a condition
	Class    string  `json:"class"`         // what its rows are called
	Rows     int     `json:"rows"`          // of the file
	Known    int     `json:"baseline_rows"` // of the baseline
	Strength float64 `json:"strength"`      // 1 and above is a trigger
}

// An item is a value of a column, or an interval, that rows of one class have.
type item struct {
	column int
	active bool  // counts only in rows where the value does not fit the other columns
	grid   int   // 0: the value itself; 1 and 2: the bucket on one of two grids
	code   int64 // the code of the value, or the number of the bucket
	rows   int
}

// A miner looks for triggers among the rows of one class.
type miner struct {
	v        *View
	class    int
	rows     []int32 // of the file, that are looked at
	items    []item
	left     int         // items beyond minedItems
	thinned  bool        // fewer rows are looked at than minedRows, for the many columns
	has      [][]int32   // by index in rows: its items
	shared   [][]float64 // by pair of columns: what they have to do with each other anyway, in nats
	referees []referee
	odd      *misfits
	holders  [][]int32 // by item: the indexes of its rows
	book     *ledger
	away     *elsewhere // nil while pairs are counted, of which there are too many to ask about each
}

// A hunt is a set of items under way, and the indexes of the rows that have all of them.
type hunt struct {
	items []int32
	at    []int32
	rows  int // of a pair: how many have both
	lift  float64
	score float64 // of the pattern as it is
	hope  float64 // of what it may be a part of: columns that are still missing drag along
}

// triggers is the screen of values that go together as if somebody had put them there: a
// backdoor's trigger. Values that go together by nature drag other columns along; those of
// a trigger were set in rows that are as different as any.
func (v *View) triggers() Finding {
	const screen = "triggers"
	if len(v.features) < 3 || v.rows < 60 {
		return silent(screen, "it takes three columns and 60 rows")
	}
	f := Finding{Screen: screen, Evidence: make([]float32, v.all), Limit: 0.45}
	odd := newMisfits(v)
	shared := v.sharedInformation()
	referees, largest := v.referees()
	left, thinned := 0, 0
	best := make([]int32, v.all)
	for class := range v.classes {
		m := &miner{v: v, class: class, shared: shared, odd: odd}
		m.referees = m.panel(referees, largest)
		if m.gather(); len(m.rows) < 40 {
			continue
		}
		m.itemize()
		if m.crop(); m.left > 0 {
			left++
		}
		if m.thinned {
			thinned++
		}
		for _, h := range m.mine() {
			m.judge(h, &f, best)
		}
	}
	if left > 0 {
		f.Remarks = append(f.Remarks, fmt.Sprintf("of %d classes the rows have more values and intervals than %d: the rarest were not looked at", left, minedItems))
	}
	if thinned > 0 {
		f.Remarks = append(f.Remarks, fmt.Sprintf("of %d classes a part of the rows was looked at, because there are so many columns", thinned))
	}
	f.Reason = func(i int) string {
		p := f.Pattern[best[i]]
		return fmt.Sprintf("%d rows called %q have %s, as if it had been put there: nothing else of them goes with it", p.Rows, p.Class, p.Text)
	}
	return f
}

// gather chooses the rows that are looked at.
func (m *miner) gather() {
	for _, i := range m.v.members[m.class] {
		if int(i) < m.v.rows {
			m.rows = append(m.rows, i)
		}
	}
	// Each row holds up to four items of a column, two as a rule.
	columns := len(m.v.features)
	most := min(max(minedWork/(2*columns*columns), 256), minedRows)
	if len(m.rows) > most {
		m.thinned = most < minedRows
		rng := m.v.rng("mined")
		for i := range most {
			j := i + rng.IntN(len(m.rows)-i)
			m.rows[i], m.rows[j] = m.rows[j], m.rows[i]
		}
		m.rows = m.rows[:most]
	}
}

// support is the fewest rows of a pattern.
func (m *miner) support() int { return max(12, len(m.rows)/500) }

// itemize finds the items of each row.
func (m *miner) itemize() {
	m.has = make([][]int32, len(m.rows))
	most := int(minedMost * float64(len(m.rows)))
	for j := range m.v.features {
		f := &m.v.features[j]
		m.collect(item{column: j}, most, func(i int32) (int64, bool) { return int64(f.code[i]), true })
		m.collect(item{column: j, active: true}, len(m.rows)/2, func(i int32) (int64, bool) {
			return int64(f.code[i]), m.odd.is(j, i)
		})
		if f.texts != nil || len(f.known) < 20 {
			continue
		}
		for grid := 1; grid <= 2; grid++ {
			m.collect(item{column: j, grid: grid}, most, func(i int32) (int64, bool) { return f.onGrid(i, grid) })
		}
	}
}

// onGrid returns the bucket of a row's value on one of two grids, the second half a bucket
// off, so that values that differ by little share one on either.
func (f *feature) onGrid(i int32, grid int) (int64, bool) {
	x := f.value[i]
	if math.IsNaN(x) || x == 0 {
		return 0, false
	}
	b := int64(math.Floor(math.Log(math.Abs(x))/math.Log(1.08)+float64(grid)/2)) + 1<<20
	if x < 0 {
		b = -b
	}
	return b, true
}

// collect makes items of the values that rows have, often enough and not too often.
func (m *miner) collect(kind item, most int, of func(row int32) (int64, bool)) {
	count, single := map[int64]int{}, map[int64]int{}
	f := &m.v.features[kind.column]
	times := make([]int, len(f.known)+1)
	for _, i := range m.rows {
		times[f.code[i]]++
	}
	for _, i := range m.rows {
		if c, ok := of(i); ok {
			count[c]++
			single[c] = max(single[c], times[f.code[i]])
		}
	}
	index := map[int64]int32{}
	for k, i := range m.rows {
		c, ok := of(i)
		if n := count[c]; !ok || n < m.support() || n > most || kind.grid > 0 && 5*single[c] > 4*n {
			continue
		}
		at, known := index[c]
		if !known {
			at = int32(len(m.items))
			it := kind
			it.code, it.rows = c, count[c]
			index[c], m.items = at, append(m.items, it)
		}
		m.has[k] = append(m.has[k], at)
	}
}

// crop keeps the most frequent items where there are too many to count all pairs of.
func (m *miner) crop() {
	if m.left = len(m.items) - minedItems; m.left <= 0 {
		return
	}
	order := make([]int32, len(m.items))
	for k := range order {
		order[k] = int32(k)
	}
	slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(m.items[b].rows, m.items[a].rows) })
	kept := order[:minedItems]
	slices.Sort(kept)
	now := make([]int32, len(m.items))
	items := make([]item, len(kept))
	for to, from := range kept {
		now[from], items[to] = int32(to)+1, m.items[from]
	}
	m.items = items
	for k, has := range m.has {
		few := has[:0]
		for _, a := range has {
			if now[a] > 0 {
				few = append(few, now[a]-1)
			}
		}
		m.has[k] = few
	}
}

// mine looks for sets of items, size by size.
func (m *miner) mine() []hunt {
	level := m.pairs()
	found := slices.Clone(level)
	for size := 3; size <= minedSize && len(level) > 0; size++ {
		var next []hunt
		seen := map[string]bool{}
		for _, h := range level {
			next = m.extend(h, seen, next)
		}
		level = m.keep(next)
		found = append(found, level...)
	}
	m.book = &ledger{m: m, cells: map[string][]int32{}}
	for i := range found {
		m.explain(&found[i])
	}
	slices.SortStableFunc(found, func(a, b hunt) int { return cmp.Compare(b.score, a.score) })
	return found[:min(len(found), 2*minedBeam)]
}

func sortHunts(list []hunt) {
	slices.SortStableFunc(list, func(a, b hunt) int {
		switch {
		case a.hope > b.hope:
			return -1
		case a.hope < b.hope:
			return 1
		}
		return slices.Compare(a.items, b.items)
	})
}

// keep returns the best of a level.
func (m *miner) keep(list []hunt) []hunt {
	sortHunts(list)
	return list[:min(len(list), minedBeam)]
}

// pairs counts which items go together and looks closely at the most surprising.
func (m *miner) pairs() []hunt {
	n := len(m.items)
	together := make([]uint16, n*n)
	for _, has := range m.has {
		for k, a := range has {
			for _, b := range has[k+1:] {
				together[int(a)*n+int(b)]++
			}
		}
	}
	m.usual(together)
	var list []hunt
	for a := range n {
		for b := a + 1; b < n; b++ {
			both := int(together[a*n+b])
			if m.items[a].column == m.items[b].column || both < m.support() {
				continue
			}
			h := hunt{items: []int32{int32(a), int32(b)}, rows: both}
			if h.lift = m.lift(h.items, both); h.lift > 0 {
				h.hope = surprise(h.lift, both)
				list = append(list, h)
			}
			if len(list) >= 8*minedPairs {
				sortHunts(list)
				list = list[:minedPairs]
			}
		}
	}
	sortHunts(list)
	list = list[:min(len(list), minedPairs)]
	list = m.compared(list)
	m.holders = make([][]int32, n)
	for k, has := range m.has {
		for _, a := range has {
			m.holders[a] = append(m.holders[a], int32(k))
		}
	}
	for i := range list {
		list[i].at = shared(m.holders[list[i].items[0]], m.holders[list[i].items[1]])
		m.weigh(&list[i])
	}
	return m.keep(list)
}

// compared weighs pairs against how they go together elsewhere, and leaves out those that do so
// there as well.
func (m *miner) compared(list []hunt) []hunt {
	m.away = m.elsewhere()
	for i := range list {
		h := &list[i]
		if h.lift = m.lift(h.items, h.rows); h.lift > 0 {
			h.hope = surprise(h.lift, h.rows)
		}
	}
	list = slices.DeleteFunc(list, func(h hunt) bool { return h.lift <= 0 })
	sortHunts(list)
	return list
}

// usual raises what columns have to do with each other to what their values show in this
// class: where many pairs of them go together, one more tells nothing. Where most rows have
// such a pair one column follows from the other, and what pairs of theirs have in common on
// average is natural: a trigger that is to hide there takes as many rows.
func (m *miner) usual(together []uint16) {
	n, all := len(m.items), float64(len(m.rows))
	excess, cover := make([][]float64, len(m.shared)), make([][]float64, len(m.shared))
	for j := range excess {
		excess[j], cover[j] = make([]float64, len(m.shared)), make([]float64, len(m.shared))
	}
	for a := range n {
		for b := a + 1; b < n; b++ {
			x, y, both := &m.items[a], &m.items[b], float64(together[a*n+b])
			if x.grid+y.grid > 0 || x.active || y.active || both < float64(m.support()) {
				continue
			}
			lift := max(math.Log(both*all/(float64(x.rows)*float64(y.rows))), 0)
			for _, at := range [][2]int{{x.column, y.column}, {y.column, x.column}} {
				excess[at[0]][at[1]] += both / all * lift
				if lift > 1 {
					cover[at[0]][at[1]] += both / all
				}
			}
		}
	}
	for j, row := range excess {
		for k := range row {
			if cover[j][k] > follows {
				row[k] /= cover[j][k]
			}
			row[k] = max(row[k], m.shared[j][k])
		}
	}
	m.shared = excess
}

// shared returns the numbers that two ordered lists have in common.
func shared(a, b []int32) (both []int32) {
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch {
		case a[i] < b[j]:
			i++
		case a[i] > b[j]:
			j++
		default:
			both = append(both, a[i])
			i, j = i+1, j+1
		}
	}
	return both
}

// with returns those of some rows that have an item.
func (m *miner) with(at []int32, it int32) []int32 {
	var out []int32
	for _, k := range at {
		if _, ok := slices.BinarySearch(m.has[k], it); ok {
			out = append(out, k)
		}
	}
	return out
}

// lift is how much more often items go together than if they had nothing to do with each
// other, beyond what their columns have to do with each other in all rows, and they themselves
// elsewhere; in nats.
func (m *miner) lift(items []int32, both int) float64 {
	n := float64(len(m.rows))
	lift := math.Log(float64(both) / n)
	for k, a := range items {
		lift -= math.Log(float64(m.items[a].rows) / n)
		natural := 0.0
		for _, b := range items[:k] {
			natural = max(natural, m.tied(a, b, both))
		}
		lift -= natural
	}
	return lift
}

// tied is how much more often two items go together by nature, in nats: as their columns do in all
// rows, or they themselves elsewhere.
func (m *miner) tied(a, b int32, both int) float64 {
	tie := m.shared[m.items[a].column][m.items[b].column]
	if m.away == nil {
		return tie
	}
	n := float64(len(m.rows))
	return max(tie, m.away.tie(a, b).natural(float64(m.items[a].rows)/n, float64(m.items[b].rows)/n, float64(both)/n))
}

// extend adds each item that goes on with a pattern.
func (m *miner) extend(h hunt, seen map[string]bool, into []hunt) []hunt {
	count := map[int32]int{}
	for _, k := range h.at {
		for _, it := range m.has[k] {
			count[it]++
		}
	}
	var list []hunt
	for it, n := range count {
		if n < m.support() || 4*n < len(h.at) || slices.ContainsFunc(h.items, func(a int32) bool { return m.items[a].column == m.items[it].column }) {
			continue
		}
		items := append(slices.Clone(h.items), it)
		slices.Sort(items)
		key := fmt.Sprint(items)
		lift := m.lift(items, n)
		if lift <= 0 || seen[key] {
			continue
		}
		seen[key] = true
		list = append(list, hunt{items: items, lift: lift, hope: surprise(lift, n)})
	}
	sortHunts(list)
	for _, x := range list[:min(len(list), minedBeam)] {
		x.at = h.at
		for _, it := range x.items {
			if !slices.Contains(h.items, it) {
				x.at = m.with(x.at, it)
			}
		}
		m.weigh(&x)
		into = append(into, x)
	}
	return into
}

// weigh scores a pattern by its lift and by how little else it drags along.
func (m *miner) weigh(h *hunt) {
	whole, part := m.drag(h)
	each := surprise(h.lift, len(h.at))
	h.score, h.hope = each*math.Exp(-dragWeight*whole), each*math.Exp(-dragWeight*part)
}

const dragWeight = 60

// explain lowers the score of a pattern to what its columns do not explain.
func (m *miner) explain(h *hunt) {
	for _, a := range h.items {
		if it := m.items[a]; it.active && h.score > 0 && m.circular(h, it) {
			h.score = 0
		}
	}
	n := float64(len(m.rows))
	lift := math.Log(float64(len(h.at))/n) - m.natural(h)
	for _, a := range h.items {
		lift -= math.Log(float64(m.items[a].rows) / n)
	}
	if lift < h.lift {
		h.score *= surprise(max(lift, 0), len(h.at)) / surprise(h.lift, len(h.at))
		h.lift = lift
	}
}

// surprise is how hard it is to believe in chance when so many rows have what e^lift times
// fewer should: the logarithm of the likelihood ratio, which grows slowly, and never more
// than the lift, or the weak ties of a large table would look like a trigger.
func surprise(lift float64, rows int) float64 {
	n := float64(rows)
	return min(math.Log1p(n*(lift-1+math.Exp(-lift))/30)/2, lift)
}

// A referee is how the bins of all columns are filled by some rows: those of a class, or all.
type referee struct {
	share [][]float64 // by column and bin
}

// referees returns the classes and, behind them, all rows; and the largest of the classes.
func (v *View) referees() (list []referee, largest []int) {
	for y := range v.classes {
		largest = append(largest, y)
	}
	slices.SortStableFunc(largest, func(a, b int) int { return cmp.Compare(len(v.members[b]), len(v.members[a])) })
	for _, rows := range v.members {
		list = append(list, v.referee(rows))
	}
	all := make([]int32, v.all)
	for i := range all {
		all[i] = int32(i)
	}
	return append(list, v.referee(all)), largest[:min(len(largest), judges)]
}

// panel returns what the patterns of a class are weighed against: the class itself, the
// largest ones and all rows. With every class the work would grow with their square, and
// rows of a small one are like some of all.
func (m *miner) panel(all []referee, largest []int) []referee {
	list := []referee{all[m.class], all[len(all)-1]}
	for _, y := range largest {
		if y != m.class {
			list = append(list, all[y])
		}
	}
	return list
}

func (v *View) referee(rows []int32) referee {
	var r referee
	for j := range v.features {
		f := &v.features[j]
		share := make([]float64, f.bins)
		for _, i := range rows {
			share[f.bin[i]] += 1 / float64(len(rows))
		}
		r.share = append(r.share, share)
	}
	return r
}

// drag is how much the columns outside of a pattern differ in its rows from those of a
// class, or of all rows, whichever is most like them: the mean Jensen-Shannon divergence,
// without the bias of few rows.
//
// part leaves out the columns that differ most, as many as the pattern may still lack.
func (m *miner) drag(h *hunt) (whole, part float64) {
	at := h.at
	if len(at) > 512 {
		at = at[:512]
	}
	n := float64(len(at))
	whole, part = math.Inf(1), math.Inf(1)
	each := make([]float64, 0, len(m.v.features))
	shares := m.shares(h, at)
	for r := range m.referees {
		each = each[:0]
		sum, free := 0.0, 0.0
		for j, share := range shares {
			if share != nil {
				d, bins := anomaly.Divergence(share, m.referees[r].share[j], n)
				sum, free = sum+d, free+bins
				each = append(each, d)
			}
		}
		slices.Sort(each)
		chance := 2 * math.Sqrt(2*free) / (8 * n)
		columns := float64(max(len(each), 1))
		whole = min(whole, (max(sum, 0)+chance)/columns)
		for _, d := range each[max(len(each)-(minedSize-len(h.items)), 0):] {
			sum -= max(d, 0)
		}
		part = min(part, (max(sum, 0)+chance)/columns)
	}
	return whole, part
}

// shares returns how some rows fill the bins of the columns outside of a pattern.
func (m *miner) shares(h *hunt, at []int32) [][]float64 {
	out := make([][]float64, len(m.v.features))
	for j := range m.v.features {
		if slices.ContainsFunc(h.items, func(a int32) bool { return m.items[a].column == j }) {
			continue
		}
		f := &m.v.features[j]
		out[j] = make([]float64, f.bins)
		for _, k := range at {
			out[j][f.bin[m.rows[k]]] += 1 / float64(len(at))
		}
	}
	return out
}

// judge turns a pattern into evidence against its rows.
func (m *miner) judge(h hunt, f *Finding, best []int32) {
	p := Pattern{Class: m.v.classes[m.class], Strength: h.score}
	var parts []string
	for _, a := range h.items {
		parts = append(parts, m.say(m.items[a]))
	}
	p.Text = strings.Join(parts, " and ")
	matched := make([]int32, 0, len(h.at))
	for _, i := range m.v.members[m.class] {
		switch {
		case !m.matches(h, i):
			continue
		case int(i) < m.v.rows:
			p.Rows++
		default:
			p.Known++
		}
		matched = append(matched, i)
	}
	p.Strength *= m.news(p)
	for _, i := range matched {
		if float32(p.Strength) > f.Evidence[i] {
			f.Evidence[i], best[i] = float32(p.Strength), int32(len(f.Pattern))
		}
	}
	p.Strength /= f.Limit
	f.Pattern = append(f.Pattern, p)
}

// news is 1 for a pattern that the baseline does not have, and less the more it has of it.
func (m *miner) news(p Pattern) float64 {
	if !m.v.based() {
		return 1
	}
	mine, theirs := 0.0, 0.0
	for _, i := range m.v.members[m.class] {
		if int(i) < m.v.rows {
			mine++
		} else {
			theirs++
		}
	}
	if theirs == 0 {
		return 1
	}
	more := math.Log((float64(p.Rows) + 0.5) / mine * theirs / (float64(p.Known) + 0.5))
	return min(max(more/1.5, 0.05), 1)
}

// matches reports whether a row has all items.
func (m *miner) matches(h hunt, i int32) bool {
	for _, a := range h.items {
		it, f := m.items[a], &m.v.features[m.items[a].column]
		if it.active && !m.odd.is(it.column, i) {
			return false
		}
		if it.grid == 0 {
			if int64(f.code[i]) != it.code {
				return false
			}
		} else if b, ok := f.onGrid(i, it.grid); !ok || b != it.code {
			return false
		}
	}
	return true
}

// say writes an item as a condition.
func (m *miner) say(it item) string {
	f := &m.v.features[it.column]
	if it.grid == 0 {
		s := f.name + " = " + f.show(int32(it.code))
		if it.active {
			s += " (which does not fit the rest)"
		}
		return s
	}
	b := it.code
	if b < 0 {
		b = -b
	}
	low := math.Pow(1.08, float64(b-1<<20)-float64(it.grid)/2)
	if it.code < 0 {
		return fmt.Sprintf("%s from %.4g to %.4g", f.name, -low*1.08, -low)
	}
	return fmt.Sprintf("%s from %.4g to %.4g", f.name, low, low*1.08)
}

// sharedInformation returns, for each pair of columns, what they tell of each other in all
// rows, in nats, less what chance would show.
func (v *View) sharedInformation() [][]float64 {
	n := len(v.features)
	out := make([][]float64, n)
	for j := range out {
		out[j] = make([]float64, n)
	}
	step := max(v.all/(1<<13), 1)
	var table []float64
	for a := range n {
		fa := &v.features[a]
		for b := range a {
			fb := &v.features[b]
			table = append(table[:0], make([]float64, fa.bins*fb.bins)...)
			rows := 0.0
			for i := 0; i < v.all; i += step {
				table[int(fa.bin[i])*fb.bins+int(fb.bin[i])]++
				rows++
			}
			out[a][b] = anomaly.Information(table, fb.bins, rows)
			out[b][a] = out[a][b]
		}
	}
	return out
}
