// Package porttest finds ports for servers that tests and measurements start: programs of
// their own, which are told a port before they listen there.
//
// It owns the memory of which ports it gave, so that a process gets none of them twice.
package porttest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// The ports that it gives lie below those that systems hand to whoever asks for any (from
// 32,768 on Linux): what was handed to nobody yet would be handed to another test before
// the server listens.
const (
	lowest = 12_000
	count  = 20_000
)

var (
	mu    sync.Mutex
	given = map[int]bool{} // guarded by mu
)

// Free returns a port of loopback at which nobody listens now, and which this process was
// not given before.
func Free() (int, error) {
	mu.Lock()
	defer mu.Unlock()
	for range 100 {
		port := lowest + rand.IntN(count)
		if given[port] {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		given[port] = true
		return port, l.Close()
	}
	return 0, fmt.Errorf("of a hundred ports between %d and %d none is free", lowest, lowest+count)
}

// Address is a port of [Free] as an address to listen at. It panics if there is none, which
// ends a test with the reason.
func Address() string {
	port, err := Free()
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", port)
}
