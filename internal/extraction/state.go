package extraction

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/learn"
)

// stateMagic begins a state, and says how the rest is laid out.
const stateMagic = "pavise extraction 1\n"

// State returns all of the attack as it stands after the last answer, for Resume. It holds
// the rows asked and what was answered, as plain numbers.
func (a *Attack) State() []byte {
	c := &coder{}
	c.buf = append(append(c.buf, stateMagic...), a.digest[:]...)
	a.code(c)
	sum := sha256.Sum256(c.buf)
	return append(c.buf, sum[:]...)
}

// Resume goes on with the attack that had the state: what it asks from then on is what it
// would have asked. A state of other settings or other data is an error of kind Conflict,
// and bytes that are no state, or a damaged one, of kind Invalid.
func Resume(cfg Config, data Data, state []byte) (*Attack, error) {
	a, err := New(cfg, data)
	if err != nil {
		return nil, err
	}
	rest, is := bytes.CutPrefix(state, []byte(stateMagic))
	if !is || len(rest) < 2*sha256.Size {
		return nil, invalid("this is no state of an attack, or one of another version", "name the file that an earlier run with --state wrote, or a new one")
	}
	body := state[:len(state)-sha256.Size]
	if sum := sha256.Sum256(body); !bytes.Equal(sum[:], state[len(body):]) {
		return nil, invalid("the state of the attack is damaged: its checksum is wrong", "begin anew with another file")
	}
	if !bytes.Equal(rest[:sha256.Size], a.digest[:]) {
		return nil, &pavise.Error{
			Kind: pavise.Conflict, Msg: "the state is of another attack: the settings or the data differ",
			Hint: "resume with the flags and files that it was begun with, or name another file for the state",
		}
	}
	c := &coder{buf: body[len(stateMagic)+sha256.Size:], reading: true}
	a.code(c)
	c.check(len(c.buf) == 0)
	if c.err != nil {
		return nil, invalid(fmt.Sprintf("the state of the attack: %v", c.err), "begin anew with another file")
	}
	return a, nil
}

// code writes all that changes, or reads it back.
func (a *Attack) code(c *coder) {
	cols, budget := a.data.Rows.Cols, a.cfg.Budget
	c.generator(a.pcg)
	c.matrix(&a.asked, cols, budget)
	c.matrix(&a.answers, a.cfg.Classes, budget)
	c.counts(&a.when, budget, budget)
	c.count(&a.repeats, a.cfg.Repeat)
	c.matrix(&a.queue, cols, math.MaxInt32)
	c.slots(&a.slots, a.queue.Rows, a.data.Rows.Rows)
	c.count(&a.at, len(a.slots))
	c.flag(&a.over)
	n := len(a.entries)
	c.count(&n, min(budget, c.most(budget, 2*sha256.Size)))
	if c.reading && c.err == nil {
		a.entries = make([]Entry, n)
	}
	for i := range a.entries {
		e := &a.entries[i]
		e.Number, e.Identity = i, i%a.cfg.Sybils
		c.flag(&e.Cover)
		c.raw(e.Input[:])
		c.raw(e.Answer[:])
		c.float(&e.Bits)
	}
	c.check(a.asked.Rows == a.answers.Rows && a.asked.Rows == len(a.when) && slices.IsSorted(a.when) && (a.repeats > 0) == (a.asked.Rows > 0))
	c.check(len(a.when) == 0 || a.when[len(a.when)-1] <= len(a.entries))
	c.check(len(a.entries)+len(a.slots)-a.at <= budget)
	if c.err == nil {
		a.plan.code(c, a)
	}
}

// A coder writes values one behind the other, or reads them in the same order: one
// function says both, so that they cannot differ. What is read is bounded before it is
// believed; err is the first thing that was wrong.
type coder struct {
	buf     []byte // written so far, or still to be read
	reading bool
	err     error
}

// check fails the reading unless something holds.
func (c *coder) check(holds bool) {
	if c.reading && !holds && c.err == nil {
		c.err = fmt.Errorf("it contradicts itself")
	}
}

// raw is bytes of a known number.
func (c *coder) raw(b []byte) {
	switch {
	case !c.reading:
		c.buf = append(c.buf, b...)
	case c.err != nil:
	case len(c.buf) < len(b):
		c.err = fmt.Errorf("it is cut short")
	default:
		copy(b, c.buf)
		c.buf = c.buf[len(b):]
	}
}

// most is how many things of a size can still come, behind the number of them.
func (c *coder) most(bound, size int) int {
	if c.reading {
		return min(bound, max(len(c.buf)-8, 0)/size)
	}
	return bound
}

// count is a number from 0 to most.
func (c *coder) count(v *int, most int) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(*v))
	c.raw(b[:])
	if n := binary.LittleEndian.Uint64(b[:]); c.reading && c.err == nil {
		if c.check(n <= uint64(most)); c.err == nil {
			*v = int(n)
		}
	}
}

func (c *coder) flag(v *bool) {
	n := 0
	if *v {
		n = 1
	}
	c.count(&n, 1)
	*v = n == 1
}

// float is a number that is finite.
func (c *coder) float(v *float64) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], math.Float64bits(*v))
	c.raw(b[:])
	if f := math.Float64frombits(binary.LittleEndian.Uint64(b[:])); c.reading && c.err == nil {
		if c.check(f-f == 0); c.err == nil {
			*v = f
		}
	}
}

func (c *coder) floats(list *[]float64, most int) {
	n := len(*list)
	c.count(&n, c.most(most, 8))
	if c.reading && c.err == nil && n > 0 {
		*list = make([]float64, n)
	}
	for i := range *list {
		c.float(&(*list)[i])
	}
}

// counts are numbers from 0 to highest, most of them at most.
func (c *coder) counts(list *[]int, most, highest int) {
	n := len(*list)
	c.count(&n, c.most(most, 8))
	if c.reading && c.err == nil && n > 0 {
		*list = make([]int, n)
	}
	for i := range *list {
		c.count(&(*list)[i], highest)
	}
}

// slots are places in a queue, or -1-row of cover.
func (c *coder) slots(list *[]int, queue, cover int) {
	shifted := make([]int, len(*list))
	for i, s := range *list {
		shifted[i] = s + cover
	}
	c.counts(&shifted, math.MaxInt32, queue+cover-1)
	if c.reading && c.err == nil {
		for i := range shifted {
			shifted[i] -= cover
		}
		*list = shifted
	}
}

// matrix is rows of a known width, of finite numbers.
func (c *coder) matrix(m *learn.Matrix, cols, most int) {
	c.edges(m, cols, most)
	c.check(!slices.ContainsFunc(m.Data, func(v float32) bool { return v-v != 0 }))
}

// edges is the same, of numbers that may be infinite.
func (c *coder) edges(m *learn.Matrix, cols, most int) {
	n := m.Rows
	c.count(&n, c.most(most, 4*cols))
	if !c.reading {
		for _, v := range m.Data {
			c.buf = binary.LittleEndian.AppendUint32(c.buf, math.Float32bits(v))
		}
		return
	}
	if c.err != nil || n == 0 {
		return
	}
	*m = learn.NewMatrix(n, cols)
	for i := range m.Data {
		m.Data[i] = math.Float32frombits(binary.LittleEndian.Uint32(c.buf[4*i:]))
		c.check(m.Data[i] == m.Data[i])
	}
	c.buf = c.buf[4*len(m.Data):]
}

// generator is where a random generator stands.
func (c *coder) generator(pcg *rand.PCG) {
	state, err := pcg.MarshalBinary()
	if err != nil {
		c.err = err
		return
	}
	c.raw(state)
	if c.reading && c.err == nil {
		if err := pcg.UnmarshalBinary(state); err != nil {
			c.err = fmt.Errorf("its generator is none")
		}
	}
}
