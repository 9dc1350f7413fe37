// Package progress says how far long work on bytes is, to whoever watches. It owns no state.
package progress

import (
	"bytes"
	"fmt"
	"sync/atomic"
	"time"
)

// A Meter counts bytes. Its methods may be called by several goroutines.
type Meter struct {
	Say   func(text string) // gets a line now and then; nil: nobody watches
	Total int64             // bytes
	done  atomic.Int64
	said  atomic.Int64 // when, in nanoseconds since 1970
}

// sayEvery is how often somebody who watches is told.
const sayEvery = 200 * time.Millisecond

// Read counts bytes that were worked on.
func (m *Meter) Read(n int) {
	done := m.done.Add(int64(n))
	if m.Say == nil {
		return
	}
	now, said := time.Now().UnixNano(), m.said.Load()
	if now-said < int64(sayEvery) || !m.said.CompareAndSwap(said, now) {
		return
	}
	const width = 24
	share := min(float64(done)/float64(max(m.Total, 1)), 1)
	bar := bytes.Repeat([]byte{'-'}, width)
	copy(bar, bytes.Repeat([]byte{'#'}, int(share*width)))
	m.Say(fmt.Sprintf("[%s] %3.0f %%  %s of %s", bar, 100*share, Size(done), Size(m.Total)))
}

// Size is a number of bytes for people.
func Size(n int64) string {
	for _, u := range []struct {
		shift uint
		name  string
	}{{30, "GiB"}, {20, "MiB"}, {10, "KiB"}} {
		if n >= 1<<u.shift {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(int64(1)<<u.shift), u.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}
