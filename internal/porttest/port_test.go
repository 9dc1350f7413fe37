package porttest

import (
	"net"
	"testing"
)

// TestFree asks for many ports: all are below those that systems hand out, no two are the
// same, and a server can listen at each.
func TestFree(t *testing.T) {
	seen := map[string]bool{}
	for range 500 {
		address := Address()
		if seen[address] {
			t.Fatalf("%s was given twice", address)
		}
		seen[address] = true
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if port := l.Addr().(*net.TCPAddr).Port; port < lowest || port >= lowest+count {
			t.Errorf("%d", port)
		}
	}
}
