package packed_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/packed"
)

var bounds = packed.Bounds{Bytes: 1 << 20, Ratio: 100, Free: 1 << 16}

func pack(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	io.WriteString(w, text)
	w.Close()
	return b.String()
}

func read(text string) (string, error) {
	r, err := packed.NewReader(strings.NewReader(text), "app.log", bounds)
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(r)
	return string(b), err
}

func TestReads(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"", ""}, {"x", "x"}, {"\x1f", "\x1f"}, {"plain\n", "plain\n"}, {pack(""), ""}, {pack("a\nb\n"), "a\nb\n"},
		{pack("first ") + pack("second"), "first second"}, // as logrotate appends
	} {
		if got, err := read(test.text); got != test.want || err != nil {
			t.Errorf("%.20q: %q, %v", test.text, got, err)
		}
	}
}

func TestRefuses(t *testing.T) {
	whole := pack(strings.Repeat("line of a log\n", 100))
	for _, test := range []struct{ name, text, want string }{
		{"cut off", whole[:len(whole)-9], "cut off"},
		{"cut in the head", whole[:5], "cut off"},
		{"damaged", whole[:12] + "\xff\xff" + whole[14:], "damaged"},
		{"checksum", whole[:len(whole)-8] + "\x00\x00\x00\x00" + whole[len(whole)-4:], "damaged"},
		{"more behind", whole + "and a whole lot more", "follows the end"},
		{"bomb", pack(strings.Repeat("\x00", 900<<10)), "as a bomb does"},
		{"large", strings.Repeat("x", 2<<20), "more than 1048576 bytes"},
		{"zstd", "\x28\xb5\x2f\xfd....", "Zstandard"},
		{"zip", "PK\x03\x04....", "ZIP"},
	} {
		_, err := read(test.text)
		if pavise.KindOf(err) != pavise.Invalid || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "app.log: ") {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

func TestDiskFails(t *testing.T) {
	broken := errors.New("the disk is gone")
	r, err := packed.NewReader(io.MultiReader(strings.NewReader("a log\n"), iotest.ErrReader(broken)), "app.log", bounds)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r); !errors.Is(err, broken) || pavise.KindOf(err) == pavise.Invalid {
		t.Errorf("%v", err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(pack("a log")))
	f.Add([]byte("\x1f\x8b"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if got, err := read(string(text)); int64(len(got)) > bounds.Bytes {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
}
