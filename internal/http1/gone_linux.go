package http1

import (
	"encoding/binary"
	"syscall"
)

// What TCP_INFO says of a connection whose other side has ended (tcp_states.h).
const (
	tcpClose     = 7
	tcpCloseWait = 8
)

// gone reports whether the other side has closed the connection, or its half of it. It looks
// at the socket's state: to read would find the bytes of a next request before the end.
func gone(raw syscall.RawConn) (is bool) {
	raw.Control(func(fd uintptr) {
		// The first byte of TCP_INFO is the state; the three behind it are other things.
		info, err := syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_INFO)
		var state [4]byte
		binary.NativeEndian.PutUint32(state[:], uint32(info))
		is = err == nil && (state[0] == tcpClose || state[0] == tcpCloseWait)
	})
	return is
}
