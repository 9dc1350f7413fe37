package blob

import (
	"strings"
	"testing"
)

// TestPagesOfGoogle reads a page as the store writes it, and refuses those that say too little.
func TestPagesOfGoogle(t *testing.T) {
	found, next, err := parseGCSPage([]byte(`{"kind":"storage#objects","nextPageToken":"n","items":[{"name":"a/b","size":"12","generation":"1700000000000001","etag":"CA==","timeCreated":"2027-01-15T08:00:00.123Z"}]}`))
	if err != nil || next != "n" || len(found) != 1 || found[0].Key != "a/b" || found[0].Size != 12 || found[0].ID != "1700000000000001" || !found[0].Newest || found[0].Modified.Nanosecond() != 123_000_000 {
		t.Errorf("%+v, %q, %v", found, next, err)
	}
	for _, text := range []string{
		"", "[]", "<html>", `{"items":[{}]}`, `{"items":[{"name":"x","size":"-1","generation":"1"}]}`, `{"items":[{"name":"x","size":"1"}]}`, `{"items":[{"name":"","size":"1","generation":"1"}]}`,
		`{"items":[{"name":"x","size":1,"generation":"1"}]}`, `{"items":[{"name":"x","size":"1","generation":"x"}]}`,
	} {
		if found, _, err := parseGCSPage([]byte(text)); err == nil {
			t.Errorf("%s is %+v", text, found)
		}
	}
}

// FuzzGCSPage reads hostile pages: every object that is taken has a key, a size and a version.
func FuzzGCSPage(f *testing.F) {
	f.Add([]byte(`{"nextPageToken":"n","items":[{"name":"a","size":"1","generation":"2","etag":"x","timeCreated":"2027-01-15T08:00:00Z","timeDeleted":"2027-01-15T08:00:00Z"}]}`))
	f.Add([]byte(`{"items":null}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		found, _, err := parseGCSPage(text)
		for _, v := range found {
			if err != nil || v.Key == "" || v.Size < 0 || v.ID == "" || strings.HasPrefix(v.ID, "-") {
				t.Fatalf("%+v, %v", v, err)
			}
		}
	})
}
