package seal

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pavise/pavise"
)

func TestReadKey(t *testing.T) {
	dir := t.TempDir()
	digits := strings.Repeat("0f", KeySize)
	for name, c := range map[string]struct {
		text string
		mode os.FileMode
		good bool
	}{
		"whole": {digits, 0o600, true}, "with a line's end": {digits + "\n", 0o400, true}, "capitals": {strings.ToUpper(digits), 0o600, true},
		"short": {digits[2:], 0o600, false}, "long": {digits + "00", 0o600, false}, "no digits": {strings.Repeat("zz", KeySize), 0o600, false},
		"empty": {"", 0o600, false}, "others can read it": {digits, 0o644, false},
	} {
		path := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
		if err := os.WriteFile(path, []byte(c.text), c.mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		key, err := ReadKey(path)
		if (err == nil) != c.good || err == nil && string(key.MAC("x")) == "" || err != nil && pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && c.text != "" && strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: the error shows what the file holds: %v", name, err)
		}
	}
}
