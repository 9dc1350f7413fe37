package poison

import (
	"math"
	"slices"
)

// misfits tell in which rows a frequent value does not fit the other columns: values that
// many rows have, but hardly any that are else like this one. A trigger of such values is
// in no list of rare ones.
type misfits struct {
	odd   [][]bool      // by column and row; nil where the column has no frequent value
	share [][][]float64 // by class, column and bin: of its rows
}

const (
	frequentShare = 0.08 // of rows have a value that is asked about
	misfitFactor  = 4    // so many times rarer beside another column's value than usual
	misfitVotes   = 2    // columns beside which it is
)

func (m *misfits) is(column int, row int32) bool {
	return m.odd[column] != nil && m.odd[column][row]
}

func newMisfits(v *View) *misfits {
	m := &misfits{odd: make([][]bool, len(v.features)), share: make([][][]float64, len(v.classes))}
	for y, rows := range v.members {
		m.share[y] = v.referee(rows).share
	}
	for j := range v.features {
		f := &v.features[j]
		holders := make([][][]int32, len(f.known)+1) // by value and class
		count := make([]int, len(f.known)+1)
		for _, c := range f.code {
			count[c]++
		}
		for i, c := range f.code {
			if float64(count[c]) < frequentShare*float64(v.all) {
				continue
			}
			if holders[c] == nil {
				holders[c] = make([][]int32, len(v.classes))
			}
			y := v.label[i]
			holders[c][y] = append(holders[c][y], int32(i))
		}
		for _, byClass := range holders {
			for y, rows := range byClass {
				if m.odd[j] == nil {
					m.odd[j] = make([]bool, v.all)
				}
				for at, n := range m.votes(v, j, y, rows, nil) {
					if n >= misfitVotes {
						m.odd[j][rows[at]] = true
					}
				}
			}
		}
	}
	return m
}

// votes counts, for the rows of a class that have one value of a column, the columns beside which it
// does not fit; some have none.
func (m *misfits) votes(v *View, column, class int, rows []int32, without []int) []uint8 {
	members := float64(len(v.members[class]))
	usual := float64(len(rows)) / members
	votes := make([]uint8, len(rows))
	for k := range v.features {
		if k == column || slices.Contains(without, k) {
			continue
		}
		f := &v.features[k]
		with := make([]float64, f.bins)
		for _, i := range rows {
			with[f.bin[i]]++
		}
		var odd [256]bool
		some := false
		for b := range with {
			odd[b] = (with[b]+10*usual)/(m.share[class][k][b]*members+10) < usual/misfitFactor
			some = some || odd[b] && with[b] > 0
		}
		if !some {
			continue
		}
		for at, i := range rows {
			if odd[f.bin[i]] && votes[at] < math.MaxUint8 {
				votes[at]++
			}
		}
	}
	return votes
}

// circular reports whether a value that does not fit the rest does so by the other columns of a
// pattern alone in most of its rows: then that is what the pattern says already.
func (m *miner) circular(h *hunt, it item) bool {
	var columns []int
	for _, a := range h.items {
		columns = append(columns, m.items[a].column)
	}
	code := m.v.features[it.column].code
	var rows []int32
	for _, i := range m.v.members[m.class] {
		if int64(code[i]) == it.code {
			rows = append(rows, i)
		}
	}
	in := map[int32]bool{}
	for _, k := range h.at {
		in[m.rows[k]] = true
	}
	still := 0
	for at, n := range m.odd.votes(m.v, it.column, m.class, rows, columns) {
		if n >= misfitVotes && in[rows[at]] {
			still++
		}
	}
	return 2*still < len(h.at)
}
