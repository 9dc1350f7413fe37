package tensor

import (
	"fmt"
	"math"
	"strconv"
	"testing"
)

// exchangeSizes are the columns of a request of 0.3 KB and of 3.9 KB.
var exchangeSizes = []int{32, 512}

// exchangeBody is one row of so many columns with five digits each, as people send
// what they measured.
func exchangeBody(columns int) []byte {
	b := fmt.Appendf(nil, `{"inputs":[{"name":"x","shape":[1,%d],"datatype":"FP32","data":[`, columns)
	for i := range columns {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendFloat(b, math.Mod(float64(i+1)*0.754877666, 1), 'g', 5, 64)
	}
	return append(b, "]}]}"...)
}

// exchangeAnswer is what a model says: ten scores of seven digits.
var exchangeAnswer = []byte(`{"model_name":"model","outputs":[{"name":"scores","shape":[1,10],"datatype":"FP32","data":[0.0312871,0.1523467,0.0074512,0.3120045,0.0498231,0.0912344,0.2004127,0.0231178,0.1100981,0.0222244]}]}`)

var exchangeSignature = Signature{
	Inputs:  []Port{{Name: "x", Datatype: FP32, Shape: []int64{-1, -1}}},
	Outputs: []Port{{Name: "scores", Datatype: FP32, Shape: []int64{-1, 10}}},
}

// The four steps of an exchange that read or write tensors.
func BenchmarkExchange(b *testing.B) {
	for _, columns := range exchangeSizes {
		text := exchangeBody(columns)
		lim := DefaultLimits()
		lim.Room = new(Room)
		parse := func() *Request {
			r, err := OIP.ParseRequest(Message{text, NoHeader}, exchangeSignature, lim)
			if err != nil {
				b.Fatal(err)
			}
			return r
		}
		b.Run(fmt.Sprintf("parse-%d", columns), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				parse()
				lim.Room.empty()
			}
		})
		b.Run(fmt.Sprintf("encode-%d", columns), func(b *testing.B) {
			b.ReportAllocs()
			r := parse()
			for b.Loop() {
				r.sentBy = nil
				if _, err := r.Encode(OIP); err != nil {
					b.Fatal(err)
				}
			}
			lim.Room.empty()
		})
	}
	b.Run("parse-answer", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := OIP.ParseResponse(Message{exchangeAnswer, NoHeader}, nil, exchangeSignature, DefaultLimits()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encode-answer", func(b *testing.B) {
		a, err := ParseResponse(exchangeAnswer, DefaultLimits())
		if err != nil {
			b.Fatal(err)
		}
		for i, v := range a.Outputs[0].Data.Floats {
			a.Outputs[0].Data.Floats[i] = FP32.Round(math.Round(v*1e4) / 1e4)
		}
		b.ReportAllocs()
		buf := make([]byte, 0, 512)
		for b.Loop() {
			if _, err := OIP.AppendResponse(buf, &Request{}, a); err != nil {
				b.Fatal(err)
			}
		}
	})
}
