package progress

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestMeterTellsNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said []string
		m := &Meter{Say: func(text string) { said = append(said, text) }, Total: 4 << 20}
		for range 4 {
			m.Read(1 << 19)
			m.Read(1 << 19)
			time.Sleep(time.Second)
		}
		if len(said) != 4 || !strings.Contains(said[3], "] ") || !strings.HasSuffix(said[3], "3.5 MiB of 4.0 MiB") {
			t.Errorf("%q", said)
		}
		(&Meter{}).Read(1)
	})
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0 bytes", 1023: "1023 bytes", 1536: "1.5 KiB", 5 << 20: "5.0 MiB", 3 << 30: "3.0 GiB"} {
		if got := Size(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}
