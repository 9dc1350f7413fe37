package gateway

import "sync"

// A desk is what one exchange of tensors lies on, with the answer that it ends in and
// room for the texts on the way. It serves one exchange after another: made anew for each
// they were half of what an exchange allocated, and collecting them a twentieth of its
// time. What an exchange leaves is cleared, but for bytes beyond the length of the
// slices, which nobody reads before writing them.
type desk struct {
	Exchange
	answer  Answer
	outputs [2]Output // of the trail, as most models have no more

	text  [textSize]byte // of the request, unless it is longer
	said  []byte         // the answer as the caller gets it
	own   []byte         // the model's own, where the caller gets another
	plain []byte         // what the record keeps, before it is sealed
}

const (
	textSize = 4 << 10  // most bodies are not longer
	deskRoom = 64 << 10 // a text that took more is left to the garbage collector
)

var desks = sync.Pool{New: func() any { return new(desk) }}

// takeDesk returns an exchange on a clear desk.
func takeDesk() *Exchange {
	d := desks.Get().(*desk)
	d.Exchange.desk = d
	return &d.Exchange
}

// free clears the desk for the next exchange. Nothing on it is used any more.
func (d *desk) free() {
	d.entry.Free()
	d.Exchange, d.answer, d.outputs = Exchange{}, Answer{}, [2]Output{}
	desks.Put(d)
}

// keepRoom keeps the room of a text for the next exchange, unless it is large.
func keepRoom(room *[]byte, text []byte) {
	if cap(text) <= deskRoom {
		*room = text
	}
}
