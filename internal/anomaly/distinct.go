package anomaly

import (
	"hash/maphash"
	"math"
	"math/bits"
)

// What a Distinct holds: so many values by their hashes, and then 16 KiB of registers.
const (
	distinctExact = 4096
	distinctBits  = 14
)

// A Distinct counts different values in bounded memory: exactly up to 4,096, then within some
// 2 % (HyperLogLog; Flajolet, Fusy, Gandouet, Meunier, AofA 2007, with the linear count for few).
// Its hash has a key of its own: nobody outside can choose values that it miscounts. It is for
// one goroutine.
type Distinct struct {
	seed      maphash.Seed
	exact     map[uint64]struct{} // nil once there are registers
	registers []uint8
}

// NewDistinct returns a counter that has seen nothing.
func NewDistinct() *Distinct {
	return &Distinct{seed: maphash.MakeSeed(), exact: map[uint64]struct{}{}}
}

// Add takes a value.
func (d *Distinct) Add(value []byte) {
	h := maphash.Bytes(d.seed, value)
	if d.exact == nil {
		d.register(h)
		return
	}
	if d.exact[h] = struct{}{}; len(d.exact) > distinctExact {
		d.registers = make([]uint8, 1<<distinctBits)
		for one := range d.exact {
			d.register(one)
		}
		d.exact = nil
	}
}

// register keeps the longest run of zeros of the hashes with the same beginning.
func (d *Distinct) register(h uint64) {
	i := h >> (64 - distinctBits)
	run := uint8(bits.LeadingZeros64(h<<distinctBits|1<<(distinctBits-1))) + 1
	d.registers[i] = max(d.registers[i], run)
}

// Count returns how many different values there were.
func (d *Distinct) Count() float64 {
	if d.exact != nil {
		return float64(len(d.exact))
	}
	m, sum, empty := float64(len(d.registers)), 0.0, 0
	for _, run := range d.registers {
		sum += math.Ldexp(1, -int(run))
		if run == 0 {
			empty++
		}
	}
	estimate := 0.7213 / (1 + 1.079/m) * m * m / sum
	if estimate <= 2.5*m && empty > 0 {
		return m * math.Log(m/float64(empty))
	}
	return estimate
}
