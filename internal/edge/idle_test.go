package edge_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/pavise/pavise/internal/issuer"
	"github.com/pavise/pavise/internal/route"
)

// TestIdleChats holds streams in the middle of their answers, and finds that to look at what
// they ask and answer adds little to what each takes while it waits. Both sides of the
// streams are in this process, so only the difference is told.
func TestIdleChats(t *testing.T) {
	if raced {
		t.Skip("the race detector has no pools, and memory of its own")
	}
	const n = 500
	idleChats(t, n, `{"off":true}`) // the first one pays for what all share
	unread, read := idleChats(t, n, `{"off":true}`), idleChats(t, n, `{}`)
	live, stack, made := read.live-unread.live, read.stack-unread.stack, read.made-unread.made
	t.Logf("looking at a stream adds %d bytes that live, %d of its stack, and made %d in all", live, stack, made)
	if live > 1<<10 || stack > 4<<10 || made > 4<<10 { // stacks double: one that grows for it adds 8 KiB
		t.Errorf("looking at a stream adds %d bytes that live and %d of its stack, and made %d in all", live, stack, made)
	}
}

// An idle is what each of some streams takes that wait for their second event, in bytes.
type idle struct {
	live  int // on the heap
	stack int // which no collection has shrunk since
	made  int // on the heap since it came, garbage included
}

// idleChats opens n streams.
func idleChats(t *testing.T, n int, prompts string) idle {
	over := make(chan bool)
	w := languages(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		says("text/event-stream", strings.Replace(begin, "hel", "The transfer leaves the account at noon.", 1))(w, r)
		w.(http.Flusher).Flush()
		<-over
	}, func(s *route.Spec) { s.Prompts = []byte(prompts) })
	defer close(over)
	body := `{"model":"m","stream":true,"messages":[{"role":"system","content":"You answer questions about payments, briefly."}`
	for i := range 8 {
		body += fmt.Sprintf(`,{"role":%q,"content":%q}`, []string{"user", "assistant"}[i%2], strings.Repeat("When does the transfer leave the account? ", 5))
	}
	body += `]}`
	memory := func() (m runtime.MemStats) {
		runtime.ReadMemStats(&m)
		return m
	}
	defer openIdle(t, w.Server.Listener.Addr(), w.Token, body).Close()
	runtime.GC()
	runtime.GC() // what pools held for one collection more
	before := memory()
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	for i := range n / 100 { // one caller may have 128 requests under way
		token := w.Mint(t, fmt.Sprint("app", i), issuer.RoleCaller)
		for range 100 {
			defer openIdle(t, w.Server.Listener.Addr(), token, body).Close()
		}
	}
	grown := memory()
	runtime.GC()
	runtime.GC()
	return idle{
		live:  (int(memory().HeapAlloc) - int(before.HeapAlloc)) / n,
		stack: (int(grown.StackInuse) - int(before.StackInuse)) / n,
		made:  (int(grown.TotalAlloc) - int(before.TotalAlloc)) / n,
	}
}

// openIdle asks, and reads the first event of the answer.
func openIdle(t *testing.T, addr net.Addr, token, body string) net.Conn {
	conn, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s", chatPath, token, len(body), body); err != nil {
		t.Fatal(err)
	}
	got, n := make([]byte, 4096), 0
	for !strings.Contains(string(got[:n]), "noon") {
		more, err := conn.Read(got[n:])
		if n += more; err != nil {
			t.Fatalf("%v after %s", err, got[:n])
		}
	}
	return conn
}
