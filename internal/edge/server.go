package edge

import (
	"net/http"
	"time"
)

// HTTP2 is what one connection of HTTP/2 may have open and unread at a server of the
// doors. net/http ends a connection that opens and resets streams faster than they are
// served.
func HTTP2() *http.HTTP2Config {
	return &http.HTTP2Config{
		MaxConcurrentStreams:          128,
		MaxReceiveBufferPerConnection: 1 << 20,
		MaxReceiveBufferPerStream:     256 << 10,
		SendPingTimeout:               time.Minute,
		PingTimeout:                   15 * time.Second,
		WriteByteTimeout:              30 * time.Second,
	}
}

// ClearHTTP are the versions of HTTP that a server of the doors speaks without TLS:
// callers of gRPC bring HTTP/2 with them.
func ClearHTTP() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	return p
}
