//go:build unix

package http1

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
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

// serveForBench serves until its input ends. It answers each line of it with the CPU time
// and the allocations so far.
func serveForBench(which string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	if which == "loop" {
		go loop(l)
	} else {
		go newAny(which, http.HandlerFunc(smallHandler)).Serve(l)
	}
	fmt.Println(l.Addr())
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		fmt.Println(cpu(), m.Mallocs)
	}
}

// loop is what no server can do without: it reads, and writes the same answer whatever was
// asked.
func loop(l net.Listener) {
	answer := append([]byte(crlf("HTTP/1.1 200 OK|Content-Type: application/json|Content-Length: "+answerSize[0]+"||")), answerBody...)
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			for p := make([]byte, 4096); ; {
				if n, err := c.Read(p); n == 0 || err != nil {
					return
				}
				c.Write(answer)
			}
		}()
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

// BenchmarkServer asks servers in processes of their own, so that what is counted is theirs
// alone, and compares the CPU time of a request.
//
// The profile's lesson: more than half of what we take is the kernel's, as "loop" shows,
// which does nothing but read and write. Of the rest a third was making maps and structures,
// hence Server.Lend, and then strings that are the same again, looking at values byte by
// byte, and the map of an answer's fields. What net/http adds
// is a goroutine that reads ahead, deadlines set four times, buffers copied through twice,
// and twenty allocations more. Kept here, therefore: one write for an answer, a deadline
// only where the one before is no good any more, one allocation for all that belongs to a
// request but its maps and the text of its head. Tried and dropped: to yield before waiting
// for the next request, which saves a read that finds nothing and costs as much elsewhere:
// measured twice, the second time in the whole gateway.
func BenchmarkServer(b *testing.B) {
	names := []string{"net-http", "loop", "ours", "lending"}
	servers := map[string]*benchProcess{}
	for _, which := range names {
		servers[which] = startBench(b, which)
		servers[which].ask(b, 2000)
	}
	const slice = 2000 // the two take turns, for other work on the machine to meet both
	spent, allocs := map[string][]float64{}, map[string]float64{}
	b.ReportAllocs()
	b.ResetTimer()
	for done := 0; done == 0 || done < b.N; done += slice {
		for _, which := range names {
			p := servers[which]
			cpu, mallocs := p.read(b)
			p.ask(b, slice)
			cpu2, mallocs2 := p.read(b)
			spent[which] = append(spent[which], float64(cpu2-cpu)/slice)
			allocs[which] = float64(mallocs2-mallocs) / slice
		}
	}
	for _, which := range names {
		slices.Sort(spent[which])
		b.ReportMetric(median(spent[which]), which+"-cpu-ns/req")
		b.ReportMetric(allocs[which], which+"-allocs/req")
	}
	for _, which := range names[1:] {
		b.ReportMetric(median(spent["net-http"])/median(spent[which]), which+"-x-net-http")
	}
}

// median is the middle of what is sorted.
func median(sorted []float64) float64 { return sorted[len(sorted)/2] }

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
	const conns = 16
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
