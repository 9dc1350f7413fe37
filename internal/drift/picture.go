package drift

// Picture is the shares of the baseline and of another window in at most 16 steps of the
// feature's bins; of categories the most frequent, all others that the baseline had, and those
// that it never had. labels name the steps of categories, and are empty for numbers.
func (f *Feature) Picture(bins int, of *Histogram) (labels []string, was, now []float64) {
	const steps = 16
	if f.Categories != nil {
		bins = min(len(f.Categories.Names), steps)
		labels = append(append(labels, f.Categories.Names[:bins]...), "others", "never seen")
	}
	share := func(h *Histogram) []float64 {
		all := float64(max(h.Held(), 1))
		list := make([]float64, min(bins, steps))
		for bin := range bins {
			list[bin*len(list)/bins] += float64(h.Bins[bin]) / all
		}
		if f.Categories == nil {
			return list
		}
		others := 0.0
		for _, n := range h.Bins[bins : MaxBins-1] {
			others += float64(n) / all
		}
		return append(list, others, float64(h.Bins[MaxBins-1])/all)
	}
	return labels, share(f.Base), share(of)
}
