package anomaly

import "math"

// Moments are sums over vectors of one length, of which each describes one of many.
type Moments struct {
	n     float64
	sum   []float64
	outer [][]float64
}

// Add takes one vector in.
func (m *Moments) Add(x []float64) {
	if m.sum == nil {
		m.sum, m.outer = make([]float64, len(x)), square(len(x))
	}
	m.shift(x, 1)
}

func (m *Moments) shift(x []float64, sign float64) {
	m.n += sign
	for i, v := range x {
		m.sum[i] += sign * v
		for j, w := range x[:i+1] {
			m.outer[i][j] += sign * v * w
		}
	}
}

// A Profile is how vectors that describe one of many differ, and which of their numbers go
// together: as far as a mean and a covariance say it.
type Profile struct {
	Mean      []float64   `json:"mean"`
	Inverse   [][]float64 `json:"inverse"`   // of the covariance
	Contrasts [][]float64 `json:"contrasts"` // each a number of the vector, less what others make one expect, in standard deviations
}

// profileFloor is the variance that every number has: so alike as to have less are only few.
const profileFloor = 1e-3

// Fit makes a profile of the vectors, at least 2 of them, and if without is not nil of all
// but that one. The covariance is drawn towards its diagonal, more so the fewer vectors
// there are (a shrinkage as in Ledoit and Wolf, "A well-conditioned estimator for
// large-dimensional covariance matrices", 2004, with a weight that the numbers of vectors
// and of their elements give): few who are like nobody else must not bend what is expected
// of all. There is a contrast for each of told, of which what is expected follows from those
// that are given, and one for each of plain, of which nothing but the mean is expected.
func (m *Moments) Fit(without []float64, given, told, plain []int) *Profile {
	if without != nil {
		m.shift(without, -1)
		defer m.shift(without, 1)
	}
	d := len(m.sum)
	p := &Profile{Mean: make([]float64, d)}
	for i, v := range m.sum {
		p.Mean[i] = v / m.n
	}
	cov, keep := square(d), m.n/(m.n+float64(d))
	for i := range cov {
		for j := range i {
			v := keep * (m.outer[i][j]/m.n - p.Mean[i]*p.Mean[j])
			cov[i][j], cov[j][i] = v, v
		}
		cov[i][i] = max(0, m.outer[i][i]/m.n-p.Mean[i]*p.Mean[i]) + profileFloor
	}
	p.Inverse = inverse(cov)
	body := square(len(given))
	for i, a := range given {
		for j, b := range given {
			body[i][j] = cov[a][b]
		}
	}
	body = inverse(body)
	for _, t := range told {
		p.Contrasts = append(p.Contrasts, contrast(cov, body, given, t))
	}
	for _, t := range plain {
		p.Contrasts = append(p.Contrasts, contrast(cov, nil, nil, t))
	}
	return p
}

// contrast is the vector whose product with one that is centred is its number t, less what
// the given ones make one expect, in standard deviations; body is the inverse covariance of
// those.
func contrast(cov, body [][]float64, given []int, t int) []float64 {
	out, left := make([]float64, len(cov)), cov[t][t]
	out[t] = 1
	for i, a := range given {
		var by float64
		for j, b := range given {
			by += body[i][j] * cov[b][t]
		}
		out[a] -= by
		left -= by * cov[a][t]
	}
	scale := 1 / math.Sqrt(max(left, profileFloor/10))
	for i := range out {
		out[i] *= scale
	}
	return out
}

// Distance is how far a vector is from the mean, where 1 is usual (Mahalanobis 1936, by the
// root of the length).
func (p *Profile) Distance(x []float64) float64 {
	var sum float64
	for i, row := range p.Inverse {
		sum += (x[i] - p.Mean[i]) * p.product(row, x)
	}
	return math.Sqrt(max(sum, 0) / float64(len(x)))
}

// Contrast is how far above what is expected of it a number of the vector is, in standard
// deviations: the k-th of those that Fit was told of.
func (p *Profile) Contrast(k int, x []float64) float64 { return p.product(p.Contrasts[k], x) }

func (p *Profile) product(row, x []float64) (sum float64) {
	for j, v := range x {
		sum += row[j] * (v - p.Mean[j])
	}
	return sum
}

// Misfit says what of the profile does not fit vectors of that length and so many
// contrasts, or "".
func (p *Profile) Misfit(length, contrasts int) string {
	if len(p.Mean) != length || len(p.Inverse) != length || len(p.Contrasts) != contrasts {
		return "a profile does not fit its measures"
	}
	for _, list := range [][][]float64{p.Inverse, p.Contrasts} {
		for _, row := range list {
			if len(row) != length {
				return "a profile does not fit its measures"
			}
		}
	}
	return ""
}

func square(n int) [][]float64 {
	m := make([][]float64, n)
	for i := range m {
		m[i] = make([]float64, n)
	}
	return m
}

// inverse inverts a matrix that is symmetric and positive definite, by the method of Gauss
// and Jordan: on its diagonal it finds no zero. The matrix stays as it is.
func inverse(m [][]float64) [][]float64 {
	n := len(m)
	left, right := square(n), square(n)
	for i := range m {
		copy(left[i], m[i])
		right[i][i] = 1
	}
	for k := range left {
		scale := 1 / left[k][k]
		for j := range n {
			left[k][j] *= scale
			right[k][j] *= scale
		}
		for i := range left {
			by := left[i][k]
			if i == k || by == 0 {
				continue
			}
			for j := range n {
				left[i][j] -= by * left[k][j]
				right[i][j] -= by * right[k][j]
			}
		}
	}
	return right
}
