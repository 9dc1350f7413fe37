package extraction

import (
	"bytes"
	"crypto/sha256"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/learn"
)

// FuzzResume reads states whose checksum is right whatever they hold: one is refused, or
// an attack that goes on to its end without a fault and writes a state that is read again.
func FuzzResume(f *testing.F) {
	type subject struct {
		cfg  Config
		data Data
		ask  victim
	}
	var subjects []subject
	everyAttack(func(_ string, cfg Config, data Data, v victim) {
		cfg.Budget, cfg.Repeat, cfg.Share = 60, 2, 70
		data.Rows, data.Labels = head(data.Rows, 20), nil
		at := len(subjects)
		subjects = append(subjects, subject{cfg, data, v})
		a, err := New(cfg, data)
		if err != nil {
			f.Fatal(err)
		}
		for range 4 {
			f.Add(byte(at), a.State()[len(stateMagic)+sha256.Size:])
			rows, err := a.Next(11)
			if err != nil {
				f.Fatal(err)
			}
			if err := a.Answer(v(rows)); err != nil {
				f.Fatal(err)
			}
		}
	})
	f.Fuzz(func(t *testing.T, which byte, body []byte) {
		s := subjects[int(which)%len(subjects)]
		a, err := New(s.cfg, s.data)
		if err != nil {
			t.Fatal(err)
		}
		state := append([]byte(stateMagic), a.digest[:]...)
		state = append(state, body[:max(len(body)-sha256.Size, 0)]...)
		sum := sha256.Sum256(state)
		a, err = Resume(s.cfg, s.data, append(state, sum[:]...))
		if err != nil {
			if pavise.KindOf(err) != pavise.Invalid {
				t.Fatal(err)
			}
			return
		}
		if again, err := Resume(s.cfg, s.data, a.State()); err != nil || !bytes.Equal(again.State(), a.State()) {
			t.Fatalf("a state that was read is not written alike: %v", err)
		}
		for range 100 {
			rows, err := a.Next(16)
			if err != nil && pavise.KindOf(err) == pavise.Internal {
				t.Fatal(err)
			}
			if err != nil || rows.Rows == 0 {
				return
			}
			if err := a.Answer(learn.Matrix{Rows: rows.Rows, Cols: s.cfg.Classes, Data: s.ask(rows).Data}); err != nil {
				t.Fatal(err)
			}
		}
		t.Fatalf("an attack of %d rows has no end", s.cfg.Budget)
	})
}
