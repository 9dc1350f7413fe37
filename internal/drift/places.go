package drift

// Place is the bin of a number, or [Nothing].
func (r *Reference) Place(x float64) uint8 {
	if x-x != 0 {
		return Nothing
	}
	return uint8(r.Bin(x))
}

// Places writes the place of each number to into, which is as long. It is quicker than one by one.
func (r *Reference) Places(into []uint8, values []float64) {
	into = into[:len(values)]
	if r.byKey {
		r.placesByKey(into, values)
		return
	}
	low, scale, edges, start := r.low, r.scale, &r.edges, &r.start
	for at, x := range values {
		t := (x - low) * scale
		if !(t >= 0 && t < cells) {
			into[at] = r.Place(x)
			continue
		}
		i, over := uint(start[int(t)&(cells-1)]), uint(0)
		if x > edges[i] {
			over = 1
		}
		if i += over; x > edges[i] {
			into[at] = r.Place(x)
			continue
		}
		into[at] = uint8(i)
	}
}

// placesByKey is Places where cells are of equal width in bits.
func (r *Reference) placesByKey(into []uint8, values []float64) {
	low, shift, edges, start := r.key, r.shift&63, &r.edges, &r.start
	into = into[:len(values)]
	for at, x := range values {
		k := key(x)
		c := (k - low) >> shift
		if k < low || c >= cells || x-x != 0 {
			into[at] = r.Place(x)
			continue
		}
		i, over := uint(start[c]), uint(0)
		if x > edges[i] {
			over = 1
		}
		if i += over; x > edges[i] {
			into[at] = r.Place(x)
			continue
		}
		into[at] = uint8(i)
	}
}
