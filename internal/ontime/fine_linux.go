package ontime

import (
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A clock is a timer of the kernel's. The runtime's poller, which sleeps for whole
// milliseconds, is woken by it as by a connection.
type clock struct {
	file *os.File
	fd   int // of the file, as long as that is
	room [8]byte
}

// clocks are timers that nobody waits for. What the collector drops is closed with its file.
var clocks sync.Pool

// newClock returns a timer, or nil where the system gives none, as one without files to spare.
func newClock() *clock {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil
	}
	return &clock{file: os.NewFile(uintptr(fd), "timerfd"), fd: fd}
}

// fine waits for a time, and reports whether it could.
func fine(d time.Duration) bool {
	c, _ := clocks.Get().(*clock)
	if c == nil {
		if c = newClock(); c == nil {
			return false
		}
	}
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}
	err := unix.TimerfdSettime(c.fd, 0, &spec, nil)
	if err == nil {
		_, err = c.file.Read(c.room[:]) // how often it has struck
	}
	runtime.KeepAlive(c)
	if err != nil {
		c.file.Close()
		return false
	}
	clocks.Put(c)
	return true
}
