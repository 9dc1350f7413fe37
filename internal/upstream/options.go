package upstream

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/pavise/pavise"
)

// The bounds of a cluster.
const (
	MaxEndpoints = 256
	MaxWeight    = 10_000
)

// An Endpoint is one server of a cluster.
type Endpoint struct {
	URL    string // http://host:port or https://host:port; a path goes before that of each call
	Weight int    // its share of the calls, 0 to MaxWeight; at 0 it gets no new ones
}

// A Balance is how an endpoint is picked for a call.
type Balance int

// The ways to pick. Each keeps to the weights.
const (
	// RoundRobin takes turns, smoothly: nginx's algorithm, in which a weight of
	// five does not come as five calls in a row.
	RoundRobin Balance = iota
	// LeastRequest draws two endpoints by weight and takes the one with fewer calls
	// under way (Mitzenmacher, "The Power of Two Choices in Randomized Load
	// Balancing", 2001).
	LeastRequest
	// Hash keeps calls of one key on one endpoint, so that what the server caches
	// for a tenant stays warm: weighted rendezvous hashing (Thaler and
	// Ravishankar, 1998; Schindelhauer and Schomaker, 2005), with the load of an
	// endpoint bounded at a quarter over its share (Mirrokni, Thorup and
	// Zadimoghaddam, 2016). Calls without a key take turns.
	Hash
)

// Timeouts bound one call. Zero takes the default.
type Timeouts struct {
	Connect   time.Duration // TCP and TLS; 3 s
	Wait      time.Duration // for a connection, when all that may be open are taken; 5 s
	FirstByte time.Duration // from the request to the head of the answer; 30 s
	Gap       time.Duration // between two reads of an answer; 30 s
	Total     time.Duration // the call, with waiting for a connection; 30 s
	Stream    time.Duration // the same for a stream; 10 min
}

// A Pool bounds the connections to one endpoint. Zero takes the default.
type Pool struct {
	MaxOpen int           // dialled or being dialled; 256
	MaxIdle int           // kept for the next call; 64
	Idle    time.Duration // how long one is kept unused; 60 s
	Age     time.Duration // how long one is used at all; 10 min
}

// A Breaker bounds what is asked of a cluster at once; beyond it calls are refused
// as throttled. Zero takes the default, below zero is none at all. A quick server works
// a long line off in a moment, and a slow one a short line in minutes: so that the lines
// may be long, and Timeouts.Wait keeps each call's time in them short.
type Breaker struct {
	MaxRequests int // calls and streams under way; 12,288
	MaxPending  int // calls that wait for a connection, for each endpoint; 12,288
	MaxRetries  int // further tries of one call; 2
	// RetryShare is how many calls in a hundred that are under way may be further
	// tries, or three where that is more; 20.
	RetryShare int
}

// Ejection keeps calls away from endpoints that fail: that cannot be reached, are
// slow, break off, or answer 502, 503 or 504. Other statuses say something of the
// request, and who sends the request must not be able to take a server out. Zero
// takes the default.
type Ejection struct {
	Off         bool
	Consecutive int           // failures in a row; 5
	Rate        int           // failures in a hundred calls of Window; 50
	Volume      int           // how many calls Window must have seen for Rate to count; 20
	Window      time.Duration // 10 s
	Base        time.Duration // how long the first time, twice as long the next; 5 s
	Longest     time.Duration // 5 min
	MaxShare    int           // how many endpoints in a hundred may be out at once; 50
}

// Options are what a cluster is made with.
type Options struct {
	Name  string // for messages
	TLS   TLS
	HTTP2 bool // the servers speak HTTP/2: by ALPN on https, with prior knowledge on http
	// CloseDelimited takes answers that end with their connection and do not say how
	// long they are. Nobody can tell one that was cut off from a whole one.
	CloseDelimited bool
	Balance        Balance
	Timeouts       Timeouts
	Pool           Pool
	Breaker        Breaker
	Ejection       Ejection
}

// withDefaults fills in what was left at zero.
func (o Options) withDefaults() Options {
	o.Timeouts = Timeouts{
		Connect:   cmp.Or(o.Timeouts.Connect, 3*time.Second),
		Wait:      cmp.Or(o.Timeouts.Wait, 5*time.Second),
		FirstByte: cmp.Or(o.Timeouts.FirstByte, 30*time.Second),
		Gap:       cmp.Or(o.Timeouts.Gap, 30*time.Second),
		Total:     cmp.Or(o.Timeouts.Total, 30*time.Second),
		Stream:    cmp.Or(o.Timeouts.Stream, 10*time.Minute),
	}
	o.Pool = Pool{
		MaxOpen: max(1, cmp.Or(o.Pool.MaxOpen, 256)),
		MaxIdle: cmp.Or(o.Pool.MaxIdle, 64),
		Idle:    cmp.Or(o.Pool.Idle, time.Minute),
		Age:     cmp.Or(o.Pool.Age, 10*time.Minute),
	}
	o.Breaker = Breaker{
		MaxRequests: cmp.Or(o.Breaker.MaxRequests, 12_288),
		MaxPending:  cmp.Or(o.Breaker.MaxPending, 12_288),
		MaxRetries:  min(cmp.Or(o.Breaker.MaxRetries, 2), len(tried{})-2),
		RetryShare:  cmp.Or(o.Breaker.RetryShare, 20),
	}
	o.Ejection = Ejection{
		Off:         o.Ejection.Off,
		Consecutive: cmp.Or(o.Ejection.Consecutive, 5),
		Rate:        cmp.Or(o.Ejection.Rate, 50),
		Volume:      cmp.Or(o.Ejection.Volume, 20),
		Window:      cmp.Or(o.Ejection.Window, 10*time.Second),
		Base:        cmp.Or(o.Ejection.Base, 5*time.Second),
		Longest:     cmp.Or(o.Ejection.Longest, 5*time.Minute),
		MaxShare:    cmp.Or(o.Ejection.MaxShare, 50),
	}
	return o
}

// An address is an endpoint's URL, taken apart.
type address struct {
	url    string // as it is compared and shown
	base   string // path before each call's; without a slash at its end
	host   string // of the Host field
	at     string // host:port to dial
	server string // name for TLS
	secure bool
}

// parseAddress reads the URL of an endpoint. The error is of kind Invalid.
func parseAddress(text string) (address, error) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return address{}, &pavise.Error{
			Kind: pavise.Invalid,
			Msg:  fmt.Sprintf("upstream %.200q is not an address of a model server", text),
			Hint: "write it as http://host:port, without user, query or fragment",
		}
	}
	port := cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return address{}, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("upstream %.200q: there is no port %.20q", text, port), Hint: "ports are 1 to 65535"}
	}
	name, zone, _ := strings.Cut(u.Hostname(), "%") // of a link-local address: a matter of this machine alone (RFC 6874, 1)
	if !isHost(name) || zone != "" && !isName(zone) {
		return address{}, &pavise.Error{
			Kind: pavise.Invalid, Msg: fmt.Sprintf("upstream %.200q: %.80q is no name of a host", text, u.Hostname()),
			Hint: "write a name of letters, digits, dots, dashes and underscores (others as DNS has them: xn--…), or an IP address",
		}
	}
	base := strings.TrimRight(u.JoinPath().EscapedPath(), "/")
	host := u.Host
	if zone != "" {
		host = strings.Replace(host, "%"+zone, "", 1)
	}
	return address{
		url: u.Scheme + "://" + strings.Replace(u.Host, "%", "%25", 1) + base, base: base, host: host,
		at: net.JoinHostPort(u.Hostname(), port), server: u.Hostname(), secure: u.Scheme == "https",
	}, nil
}

// isHost reports whether something is an IP address, or could be a host's name: it is written
// behind Host:, where a byte of another kind is read in more than one way.
func isHost(name string) bool {
	if strings.Contains(name, ":") {
		ip, err := netip.ParseAddr(name)
		return err == nil && ip.Is6()
	}
	return isName(name)
}

func isName(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return r != '.' && r != '-' && r != '_' && (r < '0' || r > '9') && (r|0x20 < 'a' || r|0x20 > 'z')
	})
}

// Validate reports, as an error of kind Invalid, why endpoints cannot be a cluster's.
func Validate(endpoints []Endpoint) error {
	_, err := checkEndpoints(endpoints)
	return err
}

// checkEndpoints looks at a whole set. The error is of kind Invalid.
func checkEndpoints(all []Endpoint) ([]address, error) {
	if len(all) == 0 || len(all) > MaxEndpoints {
		return nil, invalid("%d upstream endpoints, not 1 to %d", len(all), MaxEndpoints)
	}
	addresses, seen, sum := make([]address, len(all)), map[string]bool{}, 0
	for i, e := range all {
		a, err := parseAddress(e.URL)
		if err != nil {
			return nil, err
		}
		if seen[a.url] {
			return nil, invalid("the upstream endpoint %s is named twice", a.url)
		}
		if e.Weight < 0 || e.Weight > MaxWeight {
			return nil, invalid("the upstream endpoint %s has the weight %d, not 0 to %d", a.url, e.Weight, MaxWeight)
		}
		addresses[i], seen[a.url], sum = a, true, sum+e.Weight
	}
	if sum == 0 {
		return nil, invalid("every upstream endpoint has the weight 0, so that none would be asked")
	}
	return addresses, nil
}

func invalid(format string, args ...any) error {
	return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf(format, args...), Hint: "look at the targets of the route"}
}
