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

	text  []byte // of the request
	said  []byte // the answer as the caller gets it
	own   []byte // the model's own, where the caller gets another
	plain []byte // what the record keeps, before it is sealed
}

const (
	textSize = 4 << 10  // most requests are not longer
	deskRoom = 16 << 10 // a text that took more is left to the garbage collector
)

var desks = sync.Pool{New: func() any { return &desk{text: make([]byte, 0, textSize)} }}

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

// keepRoom keeps the room that a text took for the next exchange if it is more than there
// was, unless it is large.
func keepRoom(room *[]byte, text []byte) {
	if cap(text) > cap(*room) && cap(text) <= deskRoom {
		*room = text[:0]
	}
}
