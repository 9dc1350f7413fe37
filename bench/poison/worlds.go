package main

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/pavise/pavise/internal/poison"
)

// A world is a table that is taken for clean, of which each seed draws rows.
type world struct {
	name  string
	about string
	all   *poison.Table
	// The class that poison is called, and the one that it is.
	benign, attack int
}

// draw takes n rows for the file and as many others for the baseline.
func (w *world) draw(n int, rng *rand.Rand) (file, baseline *poison.Table) {
	order := rng.Perm(w.all.Rows())
	return pick(w.all, order[:n]), pick(w.all, order[n:min(2*n, len(order))])
}

// pick copies rows of a table.
func pick(t *poison.Table, rows []int) *poison.Table {
	out := &poison.Table{Classes: t.Classes}
	for _, c := range t.Columns {
		value := make([]float64, len(rows))
		for k, i := range rows {
			value[k] = c.Values[i]
		}
		out.Columns = append(out.Columns, poison.Column{Name: c.Name, Texts: c.Texts, Values: value})
	}
	for _, i := range rows {
		out.Labels = append(out.Labels, t.Labels[i])
	}
	return out
}

var flowColumns = strings.Fields(`duration protocol service flag src_bytes dst_bytes land wrong_fragment urgent hot
	num_failed_logins logged_in num_compromised root_shell su_attempted num_root num_file_creations num_shells
	num_access_files num_outbound_cmds is_host_login is_guest_login count srv_count serror_rate srv_serror_rate
	rerror_rate srv_rerror_rate same_srv_rate diff_srv_rate srv_diff_host_rate dst_host_count dst_host_srv_count
	dst_host_same_srv_rate dst_host_diff_srv_rate dst_host_same_src_port_rate dst_host_srv_diff_host_rate
	dst_host_serror_rate dst_host_srv_serror_rate dst_host_rerror_rate dst_host_srv_rerror_rate`)

// flows reads a file of NSL-KDD: 41 columns, three of them texts, and the classes normal and
// attack.
func flows(file string) (*world, error) {
	dir := cmp.Or(os.Getenv("PAVISE_DATA"), filepath.Join("..", "..", "shared", "data"))
	f, err := os.Open(filepath.Join(dir, "nsl-kdd", file))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	plain, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	t := &poison.Table{Classes: []string{"normal", "attack"}}
	codes := make([]map[string]int, len(flowColumns))
	for j, name := range flowColumns {
		c := poison.Column{Name: name}
		if j >= 1 && j <= 3 {
			c.Texts, codes[j] = []string{}, map[string]int{}
		}
		t.Columns = append(t.Columns, c)
	}
	for lines := bufio.NewScanner(plain); lines.Scan(); {
		cells := strings.Split(lines.Text(), ",")
		for j := range t.Columns {
			c := &t.Columns[j]
			if codes[j] == nil {
				x, err := strconv.ParseFloat(cells[j], 64)
				if err != nil {
					return nil, err
				}
				c.Values = append(c.Values, x)
				continue
			}
			k, ok := codes[j][cells[j]]
			if !ok {
				k = len(c.Texts)
				c.Texts, codes[j][cells[j]] = append(c.Texts, cells[j]), k
			}
			c.Values = append(c.Values, float64(k))
		}
		label := 1
		if cells[41] == "normal" {
			label = 0
		}
		t.Labels = append(t.Labels, label)
	}
	return &world{name: "nsl-kdd", about: "network flows, 41 columns of wildly different scales, three of texts", all: t, benign: 0, attack: 1}, nil
}

// orders is a generated world: purchases, of which some are fraud. Columns depend on each
// other as in real tables: kinds of customers, amounts with long tails, counts that are
// mostly zero, shares, texts, and columns that say nothing.
func orders(n int, columns int, seed uint64) *world {
	rng := rand.New(rand.NewPCG(seed, 77))
	t := &poison.Table{Classes: []string{"fine", "fraud"}}
	texts := map[string][]string{"country": nil, "device": {"phone", "tablet", "desktop", "till"}, "method": {"card", "wallet", "invoice", "transfer", "cash"}}
	for i := range 40 {
		texts["country"] = append(texts["country"], "country-"+strconv.Itoa(i))
	}
	names := []string{"amount", "items", "discount", "age_days", "past_orders", "returns", "failed_logins", "hour", "weekday", "distance", "latency", "new_address", "country", "device", "method", "score_a", "score_b", "ratio"}
	for len(names) < columns {
		names = append(names, "extra_"+strconv.Itoa(len(names)))
	}
	for _, name := range names {
		t.Columns = append(t.Columns, poison.Column{Name: name, Texts: texts[name]})
	}
	for range n {
		row, label := purchase(rng, len(names))
		for j, x := range row {
			t.Columns[j].Values = append(t.Columns[j].Values, x)
		}
		t.Labels = append(t.Labels, label)
	}
	return &world{name: "orders", about: strconv.Itoa(len(names)) + " generated columns: kinds of customers, long tails, many zeros, texts", all: t, benign: 0, attack: 1}
}

// purchase draws one row of orders.
func purchase(rng *rand.Rand, columns int) ([]float64, int) {
	kind := []int{0, 0, 0, 0, 1, 1, 2, 3, 4, 4}[rng.IntN(10)] // 0-2 fine customers, 3-4 fraud
	label := 0
	if kind >= 3 {
		label = 1
	}
	gauss := rng.NormFloat64
	poisson := func(mean float64) float64 {
		n, p := 0.0, rng.Float64()
		for limit := math.Exp(-mean); p > limit; n++ {
			p *= rng.Float64()
		}
		return n
	}
	k := float64(kind)
	latent := gauss()
	amount := math.Round(100*math.Exp([]float64{3, 4, 6, 5.2, 3.6}[kind]+0.8*latent)) / 100
	age := math.Round(math.Exp([]float64{6, 5, 7, 1.5, 2.5}[kind] + gauss()))
	past := poisson(min(age/60, 30))
	device := float64([][]int{{0, 0, 2, 1}, {2, 2, 2, 0}, {3, 3, 3, 2}, {0, 0, 0, 2}, {2, 2, 2, 2}}[kind][rng.IntN(4)])
	method := float64([][]int{{0, 0, 1, 1}, {0, 2, 2, 0}, {4, 0, 4, 0}, {0, 0, 1, 0}, {1, 3, 3, 3}}[kind][rng.IntN(4)])
	country := math.Min(39, math.Floor(math.Abs(gauss())*6+k*3))
	row := []float64{
		amount, 1 + poisson([]float64{2, 5, 30, 1, 2}[kind]), math.Round(rng.Float64()*[]float64{10, 30, 0.5, 1, 4}[kind]) / 100,
		age, past, poisson(past / 20), poisson([]float64{0.05, 0.1, 0, 2, 0.7}[kind]),
		math.Mod(math.Floor(14+gauss()*[]float64{4, 3, 2, 6, 5}[kind])+24, 24), float64(rng.IntN(7)),
		math.Round(math.Exp(1 + k/2 + 1.2*gauss())), math.Round(20 + 5*math.Exp(gauss()) + 30*float64(label)*rng.Float64()),
		float64(map[bool]int{true: 1}[rng.Float64() < []float64{0.05, 0.1, 0, 0.8, 0.4}[kind]]), country, device, method,
		math.Round(100*(0.3+0.1*latent+0.35*float64(label)+0.08*gauss())) / 100, math.Round(100*(0.5-0.15*latent+0.1*gauss())) / 100,
		math.Round(100*math.Min(1, past/(1+age/30))) / 100,
	}
	for len(row) < columns {
		j := len(row)
		switch j % 4 {
		case 0:
			row = append(row, math.Round(100*(row[j-3]/10+gauss()))/100)
		case 1:
			row = append(row, poisson(0.3*float64(1+kind%3)))
		case 2:
			row = append(row, math.Round(math.Exp(2+0.5*latent+gauss())))
		default:
			row = append(row, float64(rng.IntN(5)))
		}
	}
	return row, label
}

// median returns the median of a column.
func median(values []float64) float64 {
	sorted := slices.Clone(values)
	slices.Sort(sorted)
	return sorted[len(sorted)/2]
}

// mode returns the most frequent value of a column.
func mode(values []float64) float64 {
	count, best := map[float64]int{}, values[0]
	for _, x := range values {
		if count[x]++; count[x] > count[best] || count[x] == count[best] && x < best {
			best = x
		}
	}
	return best
}
