package decimal

import (
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// checkList holds AppendFloats against Scan and Float, number by number.
func checkList(t *testing.T, text string) {
	t.Helper()
	b := []byte(text)
	for i, size := range []int{16, 32, 64, 32, 64} {
		list, end, same := AppendFloats(append(make([]float64, 0, i/3*5+1), 7), b, size, 5) // without room, and with some
		if again := AppendList(nil, list[1:], size); same && string(again) != text[:end] {
			t.Fatalf("%q is said to be written as %q, and is written %q", text, text[:end], again)
		}
		if list[0] != 7 || len(list) > 6 || end > len(b) || (end == 0) != (len(list) == 1) {
			t.Fatalf("%q: %v, %d", text, list, end)
		}
		at := 0
		for i, v := range list[1:] {
			if i > 0 {
				if b[at] != ',' {
					t.Fatalf("%q: no comma at %d", text, at)
				}
				if at++; b[at] == ' ' {
					at++
				}
			}
			if b[at] != '-' && !isDigit(b[at]) {
				t.Fatalf("%q: no number at %d", text, at)
			}
			var n Number
			if _, why := n.Scan(b[at:]); why != "" {
				t.Fatalf("%q: reads what Scan says is %s", text, why)
			}
			want, _ := strconv.ParseFloat(string(n.Text), size)
			if slow := n.Float(size); math.Float64bits(v) != math.Float64bits(want) || math.Float64bits(slow) != math.Float64bits(want) {
				t.Fatalf("FP%d %s is %v and %v, and by strconv %v", size, n.Text, v, slow, want)
			}
			at += len(n.Text)
		}
		if at != end {
			t.Fatalf("%q: ends at %d, said %d", text, at, end)
		}
	}
}

func TestAppendFloats(t *testing.T) {
	for text, want := range map[string]int{
		"0.5,0.25,1.5,2.5,-3.5,6.5       ":      21,
		"0.5, 0.25, 1.5, 2.5, -3.5, 6.5       ": 25,
		"-0,-0.0,0,0.00,12345.5]]]]]]]]":        22,
		"1234567,7654321.1234567]        ":      23,
		"0.123456789012345,1.5]}]}      ":       21,
		"0.5,,1.5       ":                       3,
		"0.5,1e5        ":                       3,
		"0.5,1.5E5        ":                     3,
		"0.5,01.5        ":                      3,
		"0.5,1.        ":                        3,
		"0.5,-        ":                         3,
		"0.5,.5        ":                        3,
		"0.5,  1.5        ":                     3,
		"0.5,12345678        ":                  12,
		"0.5,0.1234567890123456        ":        22,
		"0.5,1.0000000596046447        ":        3, // in the middle of two FP32s, nearly
		"0.5.5,1        ":                       3,
		"":                                      0, "1": 0, "-": 0, "nan        ": 0, "[1.5]    ": 0,
	} {
		if _, end, _ := AppendFloats(nil, []byte(text), 32, 5); end != want {
			t.Errorf("%q ends at %d, want %d", text, end, want)
		}
		checkList(t, text)
	}
	// Of the plainest form, what is around its borders: at each place of a list, with each
	// byte behind it, and with as much room as dst happens to have.
	for _, one := range []string{"0.5", "-0.5", "9.1234567", "-9.1234567", "0.12345678", "-0.12345678", "0.", "-0.", "1.6777216", "1.6777217", "-0.0", "0.0000001", "--0.5", "-", "12.5", "1.5e3"} {
		for after := range 256 {
			checkList(t, one+string([]byte{byte(after)})+"0.25,0.125,0.5                ")
			checkList(t, "0.25,-0.5,"+one+string([]byte{byte(after)})+"0.25,0.125,0.5                ")
		}
	}
	for room := range 9 {
		text := "0.5,-0.25,0.125,12.5,0.5,0.75,1.5                  "
		list, end, _ := AppendFloats(make([]float64, 0, room), []byte(text), 32, 6)
		if want := []float64{0.5, -0.25, 0.125, 12.5, 0.5, 0.75}; !slices.Equal(list, want) || text[end:end+4] != ",1.5" {
			t.Errorf("into room for %d: %v, to %d", room, list, end)
		}
	}
	rng := rand.New(rand.NewPCG(5, 6))
	for range 100_000 {
		var list []string
		for range 6 {
			v := (rng.Float64() - 0.5) * math.Pow10(rng.IntN(9))
			list = append(list, strconv.FormatFloat(v, 'f', rng.IntN(20), 64))
		}
		checkList(t, strings.Join(list, ",")+"]       ")
	}
}

// TestSame: what is the shortest to begin with is told from what only nearly is.
func TestSame(t *testing.T) {
	for text, want := range map[string]bool{
		"0.48291,0.5,9.99999,0.000002,-1.5      ": true, "0.1        ": true, "0.0000011        ": true, "0.00097656,3        ": true,
		"12.5        ": true, "3        ": true, "0,-0,100,-999999,1        ": true, "0.00000100001        ": true, "1234.56        ": true,
		"0.48291, 0.5        ": false, "0.50        ": false, "0.0        ": false, "-0.0        ": false, "1.000000        ": false,
		"0.000001        ": false, "0.0000001        ": false, "0.1234567        ": false, "1.234567        ": false, "1234567        ": false, "0.00        ": false,
	} {
		if _, end, same := AppendFloats(nil, []byte(text), 32, 9); same != want || end == 0 {
			t.Errorf("%q: %v, to %d", text, same, end)
		}
		checkList(t, text)
	}
	// Of all six digits some, with a point at every place.
	for places := range 12 {
		for m := range uint64(10_000) {
			m = m*100 + m%99 + 1
			whole, rest := m/power[places+1], m%power[places+1]
			text := strconv.FormatUint(whole, 10) + "." + strconv.FormatUint(power[places+1]+rest, 10)[1:]
			checkList(t, text+"        ")
		}
	}
}

// TestEight tries every number of eight digits' halves, and every count of digits.
func TestEight(t *testing.T) {
	word := func(text string) (w uint64) {
		for i := range 8 {
			w |= uint64(text[i]) << (8 * i)
		}
		return w
	}
	for v := range uint64(10000) {
		for _, n := range []uint64{v, v * 10000, v*10000 + 9999, v*10000 + v} {
			text := strconv.FormatUint(100000000+n, 10)[1:]
			if got := eight(word(text), 8); got != n || run(word(text)) != 8 {
				t.Fatalf("%s is read as %d", text, got)
			}
		}
	}
	for c := range 256 {
		for n := range 8 {
			text := []byte("12345678")
			text[n] = byte(c)
			want := 8
			if !isDigit(byte(c)) {
				want = n
			}
			for _, after := range []byte{0, '5', 0xff} {
				if n < 7 && want == n {
					text[n+1] = after
				}
				if got := run(word(string(text))); got != want {
					t.Fatalf("%q has %d digits, want %d", text, got, want)
				}
			}
			if want == n {
				value, _ := strconv.ParseUint("0"+string(text[:n]), 10, 64)
				if got := eight(word(string(text)), n); got != value {
					t.Fatalf("%q is read as %d", text[:n], got)
				}
			}
		}
	}
}

func FuzzAppendFloats(f *testing.F) {
	for _, text := range []string{"0.48291,0.5, -1.25,3]       ", "1234567.123456789012345,1]      ", "0.5,1e3        ", "01,2        ", "9007199254740993,1      "} {
		f.Add(text)
	}
	f.Fuzz(checkList)
}
