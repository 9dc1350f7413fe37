package http1

import (
	"crypto/tls"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// TestSilentHandshakeAtTheEnd has a connection come to a server that is closing, and begin no
// handshake: it is waited for as long as an idle one is, by the clock of the test.
func TestSilentHandshakeAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{TLSConfig: &tls.Config{}}
		s.once.Do(s.prepare)
		defer s.Close()
		s.stopListening(0)
		_, theirs := net.Pipe()
		began := time.Now()
		s.accept(theirs)
		for s.serving() {
			time.Sleep(time.Millisecond)
		}
		if took := time.Since(began); took > 2*defaultLastCall {
			t.Errorf("it is waited for %v", took)
		}
	})
}
