package threatdetector

import (
	"math"
	"math/rand/v2"

	"github.com/pavise/pavise/internal/learn"
)

// Rows returns n rows in the likeness of a class. They are drawn from
// distributions written by hand from what the features mean and what the
// attacks do, and copied from nowhere. The same state of rng gives the same
// rows. They are for demonstrations and tests: a model that knows them knows
// nothing of networks.
func Rows(rng *rand.Rand, class Class, n int) learn.Matrix {
	kinds := makers[class]
	m := learn.NewMatrix(n, len(features))
	for i := range n {
		f := flow{rng: rng, row: m.Row(i)}
		f.set("protocol_type", Code(protocolType, "tcp"))
		f.set("flag", Code(flag, "SF"))
		kinds[rng.IntN(len(kinds))](f)
	}
	return m
}

// makers are the kinds of connection in each class.
var makers = [classes][]func(flow){
	Normal: {browsing, browsing, browsing, mail, lookup, transfer},
	DoS:    {synFlood, synFlood, pingFlood, fragments},
	Probe:  {portScan, hostSweep, serviceScan},
	R2L:    {guessing, uploading},
	U2R:    {overflow},
}

// A flow is a row being drawn.
type flow struct {
	rng *rand.Rand
	row []float32
}

func (f flow) set(name string, v float32) {
	for j := range features {
		if features[j].Name == name {
			f.row[j] = v
		}
	}
}

// whole sets a count, drawn evenly from low to high.
func (f flow) whole(name string, low, high int) { f.set(name, float32(low+f.rng.IntN(high-low+1))) }

// rate sets a share around a centre, in hundredths as sensors write them.
func (f flow) rate(name string, centre, spread float64) {
	v := centre + spread*(2*f.rng.Float64()-1)
	f.set(name, float32(math.Round(100*min(max(v, 0), 1))/100))
}

// size sets a number of bytes, log-normal around its median.
func (f flow) size(name string, median, spread float64) {
	f.set(name, float32(math.Round(median*math.Exp(spread*f.rng.NormFloat64()))))
}

func (f flow) codes(protocol, port, state string) {
	f.set("protocol_type", Code(protocolType, protocol))
	f.set("service", Code(service, port))
	f.set("flag", Code(flag, state))
}

// busy sets the windows of a service that many clients use in peace.
func (f flow) busy(hostServices int) {
	f.set("same_srv_rate", 1)
	f.whole("dst_host_count", 5, 255)
	f.whole("dst_host_srv_count", hostServices, 255)
	f.rate("dst_host_same_srv_rate", 1, 0.05)
	f.rate("dst_host_same_src_port_rate", 0.03, 0.03)
	f.rate("dst_host_srv_diff_host_rate", 0.03, 0.03)
}

func browsing(f flow) {
	f.codes("tcp", "http", "SF")
	f.size("src_bytes", 250, 0.25)
	f.size("dst_bytes", 2500, 1)
	f.set("logged_in", 1)
	f.whole("count", 1, 20)
	f.whole("srv_count", 5, 30)
	f.rate("srv_diff_host_rate", 0.1, 0.1)
	f.busy(200)
}

func mail(f flow) {
	f.codes("tcp", "smtp", "SF")
	f.whole("duration", 0, 4)
	f.size("src_bytes", 1000, 0.5)
	f.size("dst_bytes", 340, 0.1)
	f.set("logged_in", 1)
	f.whole("count", 1, 3)
	f.whole("srv_count", 1, 3)
	f.busy(100)
	f.rate("dst_host_same_srv_rate", 0.65, 0.15)
	f.rate("dst_host_diff_srv_rate", 0.03, 0.02)
}

func lookup(f flow) {
	f.codes("udp", "domain_u", "SF")
	f.size("src_bytes", 44, 0.05)
	f.size("dst_bytes", 80, 0.5)
	f.whole("count", 20, 150)
	f.whole("srv_count", 20, 150)
	f.busy(220)
	f.set("dst_host_count", 255)
	f.rate("dst_host_same_src_port_rate", 0, 0.01)
	f.set("dst_host_srv_diff_host_rate", 0)
}

func transfer(f flow) {
	f.codes("tcp", "ftp_data", "SF")
	f.whole("duration", 0, 5)
	f.size("src_bytes", 2000, 1)
	f.set("logged_in", 1)
	f.whole("count", 1, 3)
	f.whole("srv_count", 1, 3)
	f.busy(30)
	f.whole("dst_host_srv_count", 30, 80)
	f.rate("dst_host_same_srv_rate", 0.4, 0.15)
	f.rate("dst_host_same_src_port_rate", 0.4, 0.15)
	f.rate("dst_host_diff_srv_rate", 0.04, 0.02)
}

// synFlood opens connections to many ports and never answers.
func synFlood(f flow) {
	f.codes("tcp", "private", "S0")
	f.whole("count", 100, 300)
	f.whole("srv_count", 1, 20)
	f.rate("serror_rate", 1, 0)
	f.rate("srv_serror_rate", 1, 0)
	f.rate("same_srv_rate", 0.06, 0.05)
	f.rate("diff_srv_rate", 0.06, 0.02)
	f.set("dst_host_count", 255)
	f.whole("dst_host_srv_count", 1, 20)
	f.rate("dst_host_same_srv_rate", 0.05, 0.04)
	f.rate("dst_host_diff_srv_rate", 0.07, 0.02)
	f.rate("dst_host_serror_rate", 1, 0)
	f.rate("dst_host_srv_serror_rate", 1, 0)
}

// pingFlood lets many hosts answer pings that none of them got.
func pingFlood(f flow) {
	f.codes("icmp", "ecr_i", "SF")
	f.size("src_bytes", 1000, 0.1)
	f.whole("count", 400, 511)
	f.whole("srv_count", 400, 511)
	f.set("same_srv_rate", 1)
	f.set("dst_host_count", 255)
	f.whole("dst_host_srv_count", 200, 255)
	f.rate("dst_host_same_srv_rate", 1, 0.05)
	f.rate("dst_host_same_src_port_rate", 1, 0.05)
}

// fragments sends pieces of packets that overlap.
func fragments(f flow) {
	f.codes("udp", "private", "SF")
	f.set("src_bytes", 28)
	f.set("wrong_fragment", 3)
	f.whole("count", 20, 120)
	f.whole("srv_count", 20, 120)
	f.set("same_srv_rate", 1)
	f.set("dst_host_count", 255)
	f.whole("dst_host_srv_count", 10, 100)
	f.rate("dst_host_same_srv_rate", 0.25, 0.15)
	f.rate("dst_host_diff_srv_rate", 0.03, 0.02)
	f.rate("dst_host_same_src_port_rate", 0.25, 0.15)
}

// portScan knocks on one port after the other, and most are shut.
func portScan(f flow) {
	f.codes("tcp", "private", []string{"REJ", "RSTR"}[f.rng.IntN(2)])
	f.whole("count", 1, 4)
	f.whole("srv_count", 1, 2)
	f.rate("rerror_rate", 1, 0.05)
	f.rate("srv_rerror_rate", 1, 0)
	f.rate("same_srv_rate", 0.7, 0.3)
	f.rate("diff_srv_rate", 0.3, 0.3)
	f.set("dst_host_count", 255)
	f.whole("dst_host_srv_count", 1, 4)
	f.rate("dst_host_same_srv_rate", 0.01, 0.01)
	f.rate("dst_host_diff_srv_rate", 0.6, 0.3)
	f.rate("dst_host_same_src_port_rate", 0.8, 0.2)
	f.rate("dst_host_rerror_rate", 0.8, 0.2)
	f.rate("dst_host_srv_rerror_rate", 1, 0)
}

// hostSweep pings one host after the other to see who is there.
func hostSweep(f flow) {
	f.codes("icmp", "eco_i", "SF")
	f.whole("src_bytes", 8, 20)
	f.whole("count", 1, 3)
	f.whole("srv_count", 1, 40)
	f.set("same_srv_rate", 1)
	f.rate("srv_diff_host_rate", 1, 0.1)
	f.whole("dst_host_count", 1, 10)
	f.whole("dst_host_srv_count", 20, 200)
	f.rate("dst_host_same_srv_rate", 1, 0)
	f.rate("dst_host_same_src_port_rate", 1, 0)
	f.rate("dst_host_srv_diff_host_rate", 0.45, 0.15)
}

// serviceScan asks one host for every service it might have.
func serviceScan(f flow) {
	f.codes("tcp", []string{"other", "private", "telnet", "finger"}[f.rng.IntN(4)], "REJ")
	f.whole("count", 100, 400)
	f.whole("srv_count", 1, 5)
	f.rate("rerror_rate", 0.9, 0.1)
	f.rate("srv_rerror_rate", 1, 0)
	f.rate("same_srv_rate", 0.01, 0.01)
	f.rate("diff_srv_rate", 0.9, 0.1)
	f.set("dst_host_count", 255)
	f.whole("dst_host_srv_count", 1, 5)
	f.rate("dst_host_same_srv_rate", 0.01, 0.01)
	f.rate("dst_host_diff_srv_rate", 0.7, 0.3)
	f.rate("dst_host_rerror_rate", 0.9, 0.1)
	f.rate("dst_host_srv_rerror_rate", 1, 0)
}

// guessing tries passwords at a login.
func guessing(f flow) {
	f.codes("tcp", "telnet", "RSTO")
	f.whole("duration", 1, 5)
	f.size("src_bytes", 125, 0.05)
	f.size("dst_bytes", 180, 0.1)
	f.set("hot", 1)
	f.whole("num_failed_logins", 1, 3)
	f.whole("count", 1, 3)
	f.whole("srv_count", 1, 3)
	f.rate("rerror_rate", 1, 0.2)
	f.rate("srv_rerror_rate", 1, 0.2)
	f.busy(1)
	f.whole("dst_host_srv_count", 1, 60)
	f.rate("dst_host_rerror_rate", 0.6, 0.3)
	f.rate("dst_host_srv_rerror_rate", 0.8, 0.2)
}

// uploading leaves hidden files on an anonymous file server.
func uploading(f flow) {
	f.codes("tcp", "ftp", "SF")
	f.whole("duration", 10, 300)
	f.size("src_bytes", 1000, 0.5)
	f.size("dst_bytes", 3000, 0.5)
	f.whole("hot", 18, 30)
	f.set("logged_in", 1)
	f.set("is_guest_login", 1)
	f.set("count", 1)
	f.set("srv_count", 1)
	f.busy(5)
	f.whole("dst_host_srv_count", 5, 60)
	f.rate("dst_host_same_srv_rate", 0.2, 0.15)
	f.rate("dst_host_diff_srv_rate", 0.03, 0.02)
}

// overflow breaks a program that runs as root, and gets its shell.
func overflow(f flow) {
	f.codes("tcp", "telnet", "SF")
	f.whole("duration", 30, 400)
	f.size("src_bytes", 1500, 0.5)
	f.size("dst_bytes", 4000, 0.8)
	f.whole("hot", 1, 4)
	f.set("logged_in", 1)
	f.whole("num_compromised", 1, 3)
	f.set("root_shell", 1)
	f.whole("num_file_creations", 0, 3)
	f.whole("num_shells", 0, 2)
	f.set("count", 1)
	f.set("srv_count", 1)
	f.set("same_srv_rate", 1)
	f.whole("dst_host_count", 1, 100)
	f.whole("dst_host_srv_count", 1, 5)
	f.rate("dst_host_same_srv_rate", 0.3, 0.3)
	f.rate("dst_host_diff_srv_rate", 0.1, 0.1)
}
