package gateway

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"

	"github.com/pavise/pavise/internal/tensor"
)

// TestTrailIsSpelledAsMarshalDoes holds the trail's own spelling to encoding/json's.
func TestTrailIsSpelledAsMarshalDoes(t *testing.T) {
	trails := []Trail{
		{},
		{ID: "0f", Model: "http://127.0.0.1:1/<&>", Rows: 1, Charged: 1, Input: "aa", Output: "bb", Shape: "rounded to 4 digits"},
		{ID: "\"\\\x00\u2028é\xff", Rows: -1, Charged: 1 << 40, Truth: "cc", Altered: true, Unseen: true, Answer: []Output{{}}},
		{Answer: []Output{{Name: "scores", Datatype: tensor.FP32, Shape: []int64{1, -3, 0}}, {Name: "a\nb", Shape: []int64{}}}},
		{Answer: []Output{}},
		whole(),
		{Unseen: true, Rung: "62.5ms", Late: true, Answer: []Output{{}}},
	}
	for _, trail := range trails {
		want, err := json.Marshal(&trail)
		if err != nil {
			t.Fatal(err)
		}
		if got := trail.AppendJSON([]byte("x")); string(got) != "x"+string(want) {
			t.Errorf("%s, want %s", got[1:], want)
		}
		for _, said := range []ChatTrail{{Trail: &trail}, {&trail, "chat", "untrusted", -1, 2, 3, 1.0 / 4096}} {
			if want, err = json.Marshal(&said); err != nil {
				t.Fatal(err)
			}
			if got := said.AppendJSON([]byte("x")); string(got) != "x"+string(want) {
				t.Errorf("%s, want %s", got[1:], want)
			}
		}
	}
}

// whole is a trail in which every field says something.
func whole() (t Trail) {
	fields := reflect.ValueOf(&t).Elem()
	for i := range fields.NumField() {
		switch f := fields.Field(i); f.Kind() {
		case reflect.String:
			f.SetString(fields.Type().Field(i).Name)
		case reflect.Int:
			f.SetInt(int64(i) + 1)
		case reflect.Bool:
			f.SetBool(true)
		}
	}
	t.Answer = []Output{{}}
	return t
}

// TestKeptIsRead reads what is sealed as those do who open it, and finds the truth as
// it was, byte for byte.
func TestKeptIsRead(t *testing.T) {
	for _, k := range []kept{
		{Salt: bytes.Repeat([]byte{0xfb}, 32)},
		{Salt: []byte{1}, Truth: json.RawMessage(`{"outputs":[{"data":["<a>&\u2028"]}]}`)},
	} {
		var got kept
		if err := json.Unmarshal(k.appendJSON(nil), &got); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Salt, k.Salt) || !bytes.Equal(got.Truth, k.Truth) {
			t.Errorf("%+v, want %+v", got, k)
		}
	}
}

// BenchmarkTrail spells the trail of an ordinary exchange.
func BenchmarkTrail(b *testing.B) {
	sum := string(bytes.Repeat([]byte("a"), 64))
	trail := Trail{ID: sum[:32], Model: "http://127.0.0.1:8000", Rows: 1, Charged: 1, Input: sum, Output: sum, Shape: "rounded to 4 digits", Answer: []Output{{"scores", tensor.FP32, []int64{1, 10}}}}
	b.Run("by-hand", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			trail.AppendJSON(make([]byte, 0, 512))
		}
	})
	b.Run("json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := json.Marshal(&trail); err != nil {
				b.Fatal(err)
			}
		}
	})
}
