package traffic

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pavise/pavise"
)

// TestCoverage reads both forms of records, takes the most of each caller, and says what so
// few clients support.
func TestCoverage(t *testing.T) {
	var b strings.Builder
	line := func(who string, c float64) string {
		return fmt.Sprintf(`{"record":{"kind":"model.infer","who":{"tenant":"local","kind":"workload","id":"%s"},"on":"local/model/embed","detail":{"id":"x","coverage":%v}},"index":1}`, who, c)
	}
	for i := range 19 {
		fmt.Fprintln(&b, line(fmt.Sprint(i), 0.001))
		fmt.Fprintln(&b, line(fmt.Sprint(i), float64(i+1)/100))
		fmt.Fprintln(&b, `{"index":2,"record":{"kind":"model.infer","on":"local/model/m","who":{"id":"a"},"detail":{"rows":1}}}`)
	}
	fmt.Fprintf(&b, `{"events":[%s,%s],"size":9}`, line("19", 0.3), `{"index":3,"record":{"kind":"firewall.drifted","detail":{"coverage":1}}}`)
	all, err := Coverage(strings.NewReader(b.String()), 0.05)
	if err != nil || len(all) != 1 {
		t.Fatalf("%+v, %v", all, err)
	}
	if c := all[0]; c.Model != "local/model/embed" || c.Clients != 20 || c.Median != 0.11 || c.Most != 0.3 || c.Quiet != 0.3 || !strings.HasSuffix(c.Words, `at most 4.8 % cover more than 30.0 % of the space: --embeddings "noise:30%..90%"`) {
		t.Errorf("%+v", c)
	}
	few, _ := Coverage(strings.NewReader(line("a", 0.02)), 0.05)
	if !strings.HasSuffix(few[0].Words, `"noise:2%..50%"; for the 5.0 % that was asked for it takes 19 clients`) {
		t.Errorf("%s", few[0].Words)
	}
	for _, text := range []string{"{", "[]", `{"record":7}`, "records"} {
		if _, err := Coverage(strings.NewReader(text), 0.05); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func FuzzCoverage(f *testing.F) {
	f.Add(`{"record":{"kind":"model.infer","who":{},"on":"x","detail":{"coverage":0.5}}}`)
	f.Add(`{"events":[{"record":{"kind":"model.infer","on":"x","detail":{"coverage":1e-9}}}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		all, err := Coverage(strings.NewReader(text), 0.05)
		for _, c := range all {
			if !(c.Quiet > 0 && c.Quiet <= 1 && c.Bound > 0 && c.Bound < 1) || err != nil {
				t.Errorf("%+v, %v", c, err)
			}
		}
	})
}
