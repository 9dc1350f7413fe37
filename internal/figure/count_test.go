package figure

import "testing"

// One of a thing is not several.
func TestCount(t *testing.T) {
	for want, got := range map[string]string{"1 row": Count(1, "row"), "0 rows": Count(0, "row"), "2 rows": Count(uint64(2), "row"), "1 day": Count(int64(1), "day")} {
		if got != want {
			t.Errorf("%q, and not %q", got, want)
		}
	}
}
