package poison

import "math"

// misfits tell in which rows a frequent value does not fit the other columns: values that
// many rows have, but hardly any that are else like this one. A trigger of such values is
// in no list of rare ones.
type misfits struct {
	odd [][]bool // by column and row; nil where the column has no frequent value
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
	m := &misfits{odd: make([][]bool, len(v.features))}
	all := make([][][]float64, len(v.classes)) // by class, column and bin: its rows
	for y, rows := range v.members {
		all[y] = v.referee(rows).share
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
				m.value(v, j, rows, float64(len(v.members[y])), all[y])
			}
		}
	}
	return m
}

// value marks, of the rows of a class that have one value of a column, those that it does
// not fit. The shares are how all rows of the class fill the bins.
func (m *misfits) value(v *View, column int, rows []int32, members float64, share [][]float64) {
	usual := float64(len(rows)) / members
	votes := make([]uint8, len(rows))
	for k := range v.features {
		if k == column {
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
			odd[b] = (with[b]+10*usual)/(share[k][b]*members+10) < usual/misfitFactor
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
	for at, n := range votes {
		if n >= misfitVotes {
			m.odd[column][rows[at]] = true
		}
	}
}
