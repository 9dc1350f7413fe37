package demo

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"os"

	"github.com/pavise/pavise"
	threatdetector "github.com/pavise/pavise/examples/threat-detector"
)

// maxReplay bounds a file of rows, unzipped, in bytes.
const maxReplay = 64 << 20

// Rows are connections to ask a model about. They never change.
type Rows struct {
	data   [][]float32
	labels []int // the class that the file gives each; nil: nobody says
}

// ReadRows reads a file in the layout of NSL-KDD: 41 features, the attack's name and a
// difficulty, separated by commas, zipped or not, with or without a line of names
// before them. What is wrong is said with its line.
func ReadRows(path string) (*Rows, error) {
	refuse := func(err error) error {
		return &pavise.Error{
			Kind: pavise.Invalid, Msg: fmt.Sprintf("read %s: %v", path, err),
			Hint: "it takes connections in the layout of NSL-KDD: 41 features, the attack's name, and a difficulty, separated by commas", Err: err,
		}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, refuse(err)
	}
	defer f.Close()
	rows, err := readRows(f, maxReplay)
	if err != nil {
		return nil, refuse(err)
	}
	return rows, nil
}

// readRows reads rows, of at most so many bytes unzipped.
func readRows(r io.Reader, most int64) (*Rows, error) {
	text := bufio.NewReaderSize(r, 1<<16)
	if magic, _ := text.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		unzipped, err := gzip.NewReader(text)
		if err != nil {
			return nil, err
		}
		text = bufio.NewReaderSize(unzipped, 1<<16)
	}
	bounded := &io.LimitedReader{R: text, N: most}
	flows, err := threatdetector.ReadFlows(bounded)
	switch {
	case bounded.N <= 0:
		return nil, fmt.Errorf("longer than %d bytes", most)
	case err != nil:
		return nil, err
	case flows.X.Rows == 0:
		return nil, fmt.Errorf("no rows")
	}
	rows := &Rows{labels: flows.Y}
	for i := range flows.X.Rows {
		rows.data = append(rows.data, flows.X.Row(i))
	}
	return rows, nil
}

// drawn are rows of the sample generator: much that is normal, and some of each attack.
func drawn(seed uint64) *Rows {
	rng := rand.New(rand.NewPCG(seed, 7))
	rows := &Rows{}
	for range 512 {
		class := threatdetector.Normal
		if rng.IntN(8) == 0 {
			class = threatdetector.Class(1 + rng.IntN(len(threatdetector.Classes())-1))
		}
		rows.data = append(rows.data, threatdetector.Rows(rng, class, 1).Row(0))
	}
	return rows
}

// count is how many rows there are.
func (r *Rows) count() int { return len(r.data) }

// request is the body of a request about n rows from one on, around the end if need be.
func (r *Rows) request(from, n int) []byte {
	data := make([]float32, 0, n*len(r.data[0]))
	for i := range n {
		data = append(data, r.data[(from+i)%len(r.data)]...)
	}
	return request(n, data)
}

// request is the body of a request about rows.
func request(n int, data []float32) []byte {
	return encode(map[string]any{"inputs": []any{map[string]any{
		"name": threatdetector.Card().Input, "datatype": "FP32", "shape": []int{n, len(data) / max(n, 1)}, "data": data,
	}}})
}
