package firewall

import "testing"

func TestParseRate(t *testing.T) {
	for text, want := range map[string]string{
		"600/1m": "600 rows per 1m, 600 at once", "600/1m burst 100": "600 rows per 1m, 100 at once",
	} {
		if got, err := ParseRate(text); err != nil || got.String() != want {
			t.Errorf("%q is %s, %v", text, got, err)
		}
	}
	for _, bad := range []string{"", "600", "600/", "/1m", "x/1m", "0/1m", "-1/1m", "1/0s", "600/1m burst", "600/1m burst x", "600/1m burst 0"} {
		if got, err := ParseRate(bad); err == nil {
			t.Errorf("%q is %s", bad, got)
		}
	}
}
