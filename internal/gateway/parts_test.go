package gateway

import (
	"context"
	"encoding/json"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/tier"
)

// TestRecordNumbersTellNoTier: where callers in amber get other answers, the number of the
// record moves from one answer to the next as far in green as in amber, whatever is kept; and
// of a caller in green nothing of the model's answer is.
func TestRecordNumbersTellNoTier(t *testing.T) {
	for name, edit := range map[string]func(*route.Spec){
		"guarded":         nil,
		"the top alone":   func(s *route.Spec) { s.Shape, s.Amber = "topk:3", "topk:1" },
		"as in green":     func(s *route.Spec) { s.Shape, s.Amber = "round:2", "round:4" },
		"marked":          func(s *route.Spec) { s.Amber, s.Mark = "budget", "0.05" },
		"marked, guarded": func(s *route.Spec) { s.Mark = "0.05" },
		"one or no mark":  func(s *route.Spec) { s.Amber, s.Mark = "budget", "0.000001" },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, t.TempDir())
			w.putWide(t, 8, 10, edit)
			w.post(t, drawnRows(1, 8, 1), nil) // which writes what is written once
			moves := func(rows int) (moved uint64, parts int) {
				body, last := drawnRows(rows, 8, 2), uint64(0)
				for range 2 {
					resp, text := w.post(t, body, nil)
					if resp.StatusCode != 200 {
						t.Fatalf("%d %s", resp.StatusCode, text)
					}
					index, err := strconv.ParseUint(resp.Header.Get(recordHeader), 10, 64)
					if err != nil {
						t.Fatal(err)
					}
					var trail Trail
					r := w.record(t, resp)
					if err := json.Unmarshal(r.Detail, &trail); err != nil {
						t.Fatal(err)
					}
					plain, err := w.open(t, r)
					var own kept
					if err != nil || json.Unmarshal(plain, &own) != nil {
						t.Fatalf("%.200s: %v", plain, err)
					}
					if trail.Standing == "" && !trail.Altered && (len(own.Truth) > 0 || len(own.Marks) > 0) {
						t.Errorf("%d bytes of the truth are kept of a caller in green", len(own.Truth))
					}
					moved, last, parts = index-last, index, len(trail.Parts)
				}
				return moved, parts
			}
			sizes, green := []int{1, 64, 256, 900}, map[int]uint64{}
			for _, rows := range sizes {
				moved, parts := moves(rows)
				if green[rows] = moved; (parts > 0) != (rows >= 256) && name != "marked, guarded" && name != "marked" {
					t.Errorf("%d rows have %d parts", rows, parts)
				}
			}
			w.inTier(t, app, tier.Amber)
			for _, rows := range sizes {
				if moved, _ := moves(rows); moved != green[rows] {
					t.Errorf("%d rows: the number moves by %d in amber, and by %d in green", rows, moved, green[rows])
				}
			}
		})
	}
}

// TestPartsWaitWithTheAnswer: what is kept of an answer is numbered when the answer leaves, and
// not when it was there.
func TestPartsWaitWithTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, t.TempDir())
		w.putWide(t, 8, 10, func(s *route.Spec) { s.Ladder = "200ms x2 to 800ms" })
		live, err := w.Routes.Find(theModel)
		if err != nil {
			t.Fatal(err)
		}
		live.Predictor = &slow{model: live.Predictor, takes: 10 * time.Millisecond}
		began := time.Now()
		done := make(chan error)
		go func() {
			_, err := w.asking(context.Background(), t, drawnRows(900, 8, 1))
			done <- err
		}()
		time.Sleep(197 * time.Millisecond) // a lead before the rung they are written
		size := w.log.Size()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		var trail Trail
		if err := json.Unmarshal(w.last(t).Detail, &trail); err != nil || len(trail.Parts) < 2 || trail.Rung != "200ms" {
			t.Fatalf("%+v, %v", trail, err)
		}
		for _, index := range trail.Parts {
			if index < size {
				t.Errorf("part %d was written after less than %v", index, time.Since(began))
			}
		}
	})
}

// TestPaddingIsExact: what is kept has the length that it is filled up to, and is JSON that
// says the same.
func TestPaddingIsExact(t *testing.T) {
	for _, k := range []kept{{Salt: []byte("0123456789abcdef")}, {Salt: []byte("x"), Truth: []byte(`{"a":1}`), Marks: []byte(`[]`)}, {Salt: []byte("xy"), Binary: []byte("abcd"), Header: 123}} {
		plain := k.appendJSON(nil)
		if len(plain) != k.size() {
			t.Errorf("%s has %d bytes, and not %d", plain, len(plain), k.size())
		}
		for size := range 200 {
			padded := pad(k.appendJSON(nil), size)
			var again kept
			if err := json.Unmarshal(padded, &again); err != nil || string(again.appendJSON(nil)) != string(plain) {
				t.Fatalf("%s: %v", padded, err)
			}
			if want := max(size, len(plain)); len(padded) != want && size >= len(plain)+len(`,"pad":""`) {
				t.Errorf("%d bytes, and not %d: %s", len(padded), want, padded)
			}
		}
	}
}
