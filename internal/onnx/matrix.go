package onnx

import "math"

// A Matrix is a table of numbers, row by row: the element in row i and column
// j is Data[i*Cols+j], and len(Data) is Rows*Cols.
type Matrix struct {
	Rows, Cols int
	Data       []float32
}

// NewMatrix returns a matrix of zeros.
func NewMatrix(rows, cols int) Matrix {
	return Matrix{Rows: rows, Cols: cols, Data: make([]float32, rows*cols)}
}

// Row returns row i, which shares memory with m.
func (m Matrix) Row(i int) []float32 {
	return m.Data[i*m.Cols : (i+1)*m.Cols : (i+1)*m.Cols]
}

// ArgMax returns the column of the largest element of each row, the first of
// equals. Of a row of probabilities it is the predicted class.
func (m Matrix) ArgMax() []int {
	best := make([]int, m.Rows)
	for i := range best {
		best[i] = argMax(m.Row(i))
	}
	return best
}

// Valid reports whether m has columns and as many numbers as its shape says.
func (m Matrix) Valid() bool {
	return m.Rows >= 0 && m.Cols > 0 && len(m.Data)%m.Cols == 0 && len(m.Data)/m.Cols == m.Rows
}

// Accumulate adds Σ a[k*stride]·w[k] to y for k in [0, n), where w[k] is the
// kth row of len(y) numbers in w. It is the one inner loop of networks: a
// layer forwards with the rows of a batch for a, its weight gradient takes the
// columns, and the gradient of its input the transposed weights.
//
// Rows with a factor of zero are skipped, since one-hot inputs and rectified
// layers are mostly zeros; w must then be finite. Every product is converted to
// float32, which forbids fused multiply-add, so that all machines agree.
func Accumulate(y, a []float32, stride, n int, w []float32, skipZeros bool) {
	cols := len(y)
	var at [4]int
	held := 0
	for k := range n {
		if skipZeros && a[k*stride] == 0 {
			continue
		}
		at[held] = k
		if held++; held < len(at) {
			continue
		}
		held = 0
		a0, a1, a2, a3 := a[at[0]*stride], a[at[1]*stride], a[at[2]*stride], a[at[3]*stride]
		w0, w1 := w[at[0]*cols:][:len(y)], w[at[1]*cols:][:len(y)]
		w2, w3 := w[at[2]*cols:][:len(y)], w[at[3]*cols:][:len(y)]
		for j := range y {
			y[j] += float32(a0*w0[j]) + float32(a1*w1[j]) + float32(a2*w2[j]) + float32(a3*w3[j])
		}
	}
	for _, k := range at[:held] {
		a0, w0 := a[k*stride], w[k*cols:][:len(y)]
		for j := range y {
			y[j] += float32(a0 * w0[j])
		}
	}
}

// Transpose fills dst with w, of rows by cols, as cols by rows, and returns it.
func Transpose(dst, w []float32, rows, cols int) []float32 {
	for i := range rows {
		for j := range cols {
			dst[j*rows+i] = w[i*cols+j]
		}
	}
	return dst
}

func argMax(row []float32) int {
	best := 0
	for j, v := range row {
		if v > row[best] {
			best = j
		}
	}
	return best
}

// Softmax replaces row by exp(row)/Σexp(row), shifted by the maximum so that
// it cannot overflow.
func Softmax(row []float32) {
	top := row[argMax(row)]
	var sum float32
	for j, v := range row {
		row[j] = Exp(v - top)
		sum += row[j]
	}
	for j := range row {
		row[j] /= sum
	}
}

// Exp returns e**x. math.Exp differs in its last bit between machines; this is
// the same everywhere, and within half a unit in the last place of float32: x
// is reduced to r+k·ln 2 with |r| ≤ ln 2/2, where the Taylor series of degree
// eleven is exact to 1e-14.
func Exp(x float32) float32 {
	switch {
	case x != x:
		return x
	case x > 89:
		return float32(math.Inf(1))
	case x < -104:
		return 0
	}
	k := math.Round(float64(x) / math.Ln2)
	r := float64(x) - float64(k*math.Ln2)
	sum := 1.0
	for i := 11.0; i > 0; i-- {
		sum = 1 + float64(sum*r)/i
	}
	return float32(math.Ldexp(sum, int(k)))
}
