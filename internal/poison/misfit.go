package poison

import "math"

// misfits tell in which rows a frequent value does not fit the other columns: values that
// many rows have, but hardly any that are else like this one. A trigger of such values is
// in no list of rare ones.
type misfits struct {
	is_ [][]bool // by column and row; nil where the column has no frequent value
}

const (
	frequentShare = 0.08 // of rows have a value that is asked about
	misfitFactor  = 4    // so many times rarer beside another column's value than usual
	misfitVotes   = 2    // columns beside which it is
)

func (m *misfits) is(column int, row int32) bool {
	return m.is_[column] != nil && m.is_[column][row]
}

func newMisfits(v *View) *misfits {
	m := &misfits{is_: make([][]bool, len(v.features))}
	for j := range v.features {
		f := &v.features[j]
		count := make([]int, len(f.known)+1)
		for _, c := range f.code {
			count[c]++
		}
		for c, n := range count {
			if float64(n) >= frequentShare*float64(v.all) {
				if m.is_[j] == nil {
					m.is_[j] = make([]bool, v.all)
				}
				m.value(v, j, int32(c), float64(n)/float64(v.all))
			}
		}
	}
	return m
}

// value marks the rows in which a value of a column does not fit.
func (m *misfits) value(v *View, column int, code int32, usual float64) {
	mine := v.features[column].code
	votes := make([]uint8, v.all)
	for k := range v.features {
		if k == column {
			continue
		}
		f := &v.features[k]
		for _, rows := range append(v.members, nil) {
			if rows == nil {
				continue
			}
			with, all := make([]float64, f.bins), make([]float64, f.bins)
			mineN := 0.0
			for _, i := range rows {
				b := f.bin[i]
				all[b]++
				if mine[i] == code {
					with[b]++
					mineN++
				}
			}
			usual := mineN / float64(len(rows))
			var odd [256]bool
			some := false
			for b := range with {
				odd[b] = (with[b]+10*usual)/(all[b]+10) < usual/misfitFactor
				some = some || odd[b]
			}
			if !some {
				continue
			}
			for _, i := range rows {
				if odd[f.bin[i]] && mine[i] == code && votes[i] < math.MaxUint8 {
					votes[i]++
				}
			}
		}
	}
	for i, n := range votes {
		if n >= misfitVotes {
			m.is_[column][i] = true
		}
	}
}
