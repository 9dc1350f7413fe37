package tensor

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
)

// body returns a request for one FP32 row of n features written with the given
// number of digits.
func body(n, digits int) []byte {
	rng := rand.New(rand.NewPCG(1, 2))
	b := fmt.Appendf(nil, `{"inputs":[{"name":"x","shape":[1,%d],"datatype":"FP32","data":[`, n)
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendFloat(b, rng.Float64(), 'f', digits, 64)
	}
	return append(b, "]}]}"...)
}

func BenchmarkParseRequest(b *testing.B) {
	for _, digits := range []int{6, 17} {
		text := body(1024, digits)
		b.Run(fmt.Sprintf("1024xFP32/%d-digits", digits), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ParseRequest(text, DefaultLimits()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkEncodingJSON is the yardstick: the standard library into the narrowest
// struct that fits, with none of the strictness.
func BenchmarkEncodingJSON(b *testing.B) {
	for _, digits := range []int{6, 17} {
		text := body(1024, digits)
		b.Run(fmt.Sprintf("1024xFP32/%d-digits", digits), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				var v struct {
					Inputs []struct {
						Name     string
						Shape    []int64
						Datatype string
						Data     []float32
					}
				}
				if err := json.Unmarshal(text, &v); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAppendJSON(b *testing.B) {
	r, err := ParseRequest(body(1024, 6), DefaultLimits())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	var buf []byte
	for b.Loop() {
		if buf, err = r.AppendJSON(buf[:0]); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkParseRows is BenchmarkParseRequest for the protocols that take shapes and
// datatypes from the signature.
func BenchmarkParseRows(b *testing.B) {
	sig := Signature{Inputs: []Port{{Name: "x", Datatype: FP32, Shape: []int64{-1, -1}}}}
	var request struct {
		Inputs []struct{ Data json.RawMessage }
	}
	if err := json.Unmarshal(body(1024, 6), &request); err != nil {
		b.Fatal(err)
	}
	text := fmt.Appendf(nil, `{"instances":[%s]}`, request.Inputs[0].Data)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := V1.ParseRequest(Message{text, NoHeader}, sig, DefaultLimits()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkParseInRoom is what an exchange costs whose memory was used before.
func BenchmarkParseInRoom(b *testing.B) {
	for name, text := range map[string][]byte{"1x4": body(4, 6), "1x32": body(32, 6), "1024xFP32": body(1024, 6)} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			room := new(Room)
			for b.Loop() {
				parseInRoom(b, text, room)
			}
		})
	}
}

// parseInRoom reads a request and writes it anew. The pool is left out of it: under the
// race detector it drops what it is given.
func parseInRoom(t testing.TB, text []byte, room *Room) {
	lim := DefaultLimits()
	lim.Room = room
	defer room.empty()
	r, err := OIP.ParseRequest(Message{text, NoHeader}, Signature{}, lim)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Encode(OIP); err != nil {
		t.Fatal(err)
	}
}

// TestNoAllocations: a request in a room that has held one like it costs none, read and
// written.
func TestNoAllocations(t *testing.T) {
	for name, text := range map[string][]byte{"1x4": body(4, 6), "1x1024": body(1024, 6), "outputs": []byte(`{"id":"a","inputs":[{"name":"x","shape":[2],"datatype":"INT64","data":[1,2]}],"outputs":[{"name":"y","parameters":{"binary_data":true}}]}`)} {
		room := new(Room)
		if n := testing.AllocsPerRun(200, func() { parseInRoom(t, text, room) }); n >= 1 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// TestResponseInRoom has a response lie in the room of its request: it costs no more than
// its names, a second response to one request lies elsewhere, and nothing of it is in the
// next exchange.
func TestResponseInRoom(t *testing.T) {
	room, lim := new(Room), DefaultLimits()
	lim.Room = room
	read := func(request *Request, score string) *Response {
		r, err := OIP.ParseResponse(Message{[]byte(`{"model_name":"m","outputs":[{"name":"y","shape":[1,2],"datatype":"FP64","data":[` + score + `,0]}]}`), NoHeader}, request, Signature{}, lim)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for _, score := range []string{"0.25", "0.5"} {
		request, err := OIP.ParseRequest(Message{body(4, 6), NoHeader}, Signature{}, lim)
		if err != nil {
			t.Fatal(err)
		}
		first, second := read(request, score), read(request, "0.75")
		if first != &room.answer.Response || second == first {
			t.Error("the first response is not in the room, or the second one is there, too")
		}
		if v, other := first.Outputs[0].Data.Floats[0], second.Outputs[0].Data.Floats[0]; fmt.Sprint(v) != score || other != 0.75 {
			t.Errorf("read %v and %v, not %s and 0.75", v, other, score)
		}
		if room.empty(); first.Outputs != nil || room.answer.few != [16]float64{} {
			t.Errorf("left behind: %+v", room.answer)
		}
	}
	if n := testing.AllocsPerRun(200, func() { read(&Request{room: room}, "0.25"); room.empty() }); n > 4 { // two names, and the text
		t.Errorf("%v allocations", n)
	}
}
