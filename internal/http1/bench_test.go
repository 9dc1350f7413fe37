package http1

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// benchServer names the server that a process of this test binary is to be.
const benchServer = "PAVISE_HTTP1_BENCH"

func TestMain(m *testing.M) {
	if which := os.Getenv(benchServer); which != "" {
		serveForBench(which)
		return
	}
	os.Exit(m.Run())
}

// An anyServer is ours or net/http's.
type anyServer interface {
	Serve(net.Listener) error
	Shutdown(context.Context) error
	Close() error
}

// newAny makes a server of the given name with the limits that a gateway sets.
func newAny(which string, h http.Handler) anyServer {
	if which == "net-http" {
		return &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10}
	}
	return &Server{Handler: h, ReadTimeout: 30 * time.Second, WriteTimeout: time.Minute}
}

// serveForBench serves until its input ends. It answers each line of it with the CPU time
// and the allocations so far.
func serveForBench(which string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v2/models/{model}/infer", smallHandler)
	go newAny(which, mux).Serve(l)
	fmt.Println(l.Addr())
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		fmt.Println(cpu(), m.Mallocs)
	}
}

// cpu is the time that this process has computed.
func cpu() time.Duration {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

var (
	jsonType   = []string{"application/json"}
	answerBody = []byte(`{"model_name":"m","outputs":[{"name":"y","shape":[1],"datatype":"FP32","data":[0.5]}]}`)
	answerSize = []string{strconv.Itoa(len(answerBody))}
	bodySpace  = sync.Pool{New: func() any { return new([1024]byte) }}
)

// smallHandler reads a body and answers, and makes nothing anew itself.
func smallHandler(w http.ResponseWriter, r *http.Request) {
	p := bodySpace.Get().(*[1024]byte)
	defer bodySpace.Put(p)
	for n := 0; ; {
		more, err := r.Body.Read(p[n:])
		if n += more; err != nil {
			break
		}
	}
	h := w.Header()
	h["Content-Type"], h["Content-Length"] = jsonType, answerSize
	w.Write(answerBody)
}

var smallRequest = func() []byte {
	body := `{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[0.1,0.2,0.3,0.4]}]}`
	return []byte(crlf("POST /v2/models/threat/infer HTTP/1.1|Host: 127.0.0.1:8470|User-Agent: bench/1.0|Accept: */*|Authorization: Bearer " +
		strings.Repeat("x", 100) + "|Content-Type: application/json|Content-Length: " + strconv.Itoa(len(body)) + "||" + body))
}()

// BenchmarkServer asks with eight connections a server in a process of its own, so that
// what is counted is the server's alone. The profile's lesson: of about 10 µs of ours 8 are
// the kernel's read and write; net/http adds a goroutine that reads ahead, four deadlines
// and two buffers that are copied through for each request. Kept here: one read and one
// write, no deadline that is still good enough is set again, one allocation for all of a
// request but its head's text and its two maps.
func BenchmarkServer(b *testing.B) {
	spent := map[string]float64{}
	for _, which := range []string{"net-http", "ours"} {
		b.Run(which, func(b *testing.B) {
			p := startBench(b, which)
			p.ask(b, 2000)
			cpu, allocs := p.read(b)
			b.ReportAllocs()
			b.ResetTimer()
			p.ask(b, b.N)
			b.StopTimer()
			cpu2, allocs2 := p.read(b)
			spent[which] = float64(cpu2-cpu) / float64(b.N)
			b.ReportMetric(spent[which], "server-cpu-ns/op")
			b.ReportMetric(float64(allocs2-allocs)/float64(b.N), "server-allocs/op")
			if which == "ours" && spent["net-http"] > 0 {
				b.ReportMetric(spent["net-http"]/spent["ours"], "x-net-http")
			}
		})
	}
}

// A benchProcess is a server in another process.
type benchProcess struct {
	addr string
	in   io.Writer
	out  *bufio.Scanner
}

func startBench(b *testing.B, which string) *benchProcess {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), benchServer+"="+which)
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { in.Close(); cmd.Wait() })
	p := &benchProcess{in: in, out: bufio.NewScanner(out)}
	if !p.out.Scan() {
		b.Fatal("the server did not start")
	}
	p.addr = p.out.Text()
	return p
}

// read returns what the server has spent so far.
func (p *benchProcess) read(b *testing.B) (cpu time.Duration, allocs uint64) {
	fmt.Fprintln(p.in)
	if !p.out.Scan() {
		b.Fatal("the server is gone")
	}
	var text string
	fmt.Sscan(p.out.Text(), &text, &allocs)
	cpu, err := time.ParseDuration(text)
	if err != nil {
		b.Fatal(err)
	}
	return cpu, allocs
}

// ask makes n requests over eight connections.
func (p *benchProcess) ask(b *testing.B, n int) {
	const conns = 8
	var wg sync.WaitGroup
	for i := range conns {
		wg.Go(func() {
			c, err := net.Dial("tcp", p.addr)
			if err != nil {
				b.Error(err)
				return
			}
			defer c.Close()
			buf := make([]byte, 4096)
			for range n/conns + min(1, max(0, n%conns-i)) {
				c.Write(smallRequest)
				for have := 0; !bytes.HasSuffix(buf[:have], answerBody); {
					more, err := c.Read(buf[have:])
					if err != nil {
						b.Error(err)
						return
					}
					have += more
				}
			}
		})
	}
	wg.Wait()
}
