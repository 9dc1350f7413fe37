package infer

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/chat"
	"github.com/pavise/pavise/internal/tensor"
	"github.com/pavise/pavise/internal/upstream"
)

// Servers are the model servers that routes name. Models on the same servers, with
// the same weights and options, share one cluster: its connections, its bounds, and
// what it knows of who fails. It is safe for concurrent use.
type Servers struct {
	keys     Keys                    // set before any model is there
	tls      map[string]upstream.TLS // likewise: options by the names that routes have for them
	mu       sync.Mutex
	clusters map[servers]*shared // mu guards it, and all that is in it
	ended    Totals              // of clusters that are there no more; mu guards it
}

// Totals are numbers that only grow, of all the servers that there were.
type Totals struct {
	Retries   uint64 // further tries of calls
	Ejections uint64 // times that a server was taken out for its failures
}

func (t *Totals) add(s upstream.Stats) {
	t.Retries += s.Retried
	t.Ejections += s.Ejected
}

// Totals returns them as they are now.
func (s *Servers) Totals() Totals {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.ended
	for _, c := range s.clusters {
		t.add(c.cluster.Stats())
	}
	return t
}

// servers is what two models must have alike to share a cluster.
type servers struct {
	endpoints string
	options   upstream.Options
}

// A shared cluster is there as long as a model uses it.
type shared struct {
	is      servers
	cluster *upstream.Cluster
	users   int
}

// NewServers returns none yet.
func NewServers() *Servers { return &Servers{clusters: map[servers]*shared{}} }

// Upstream returns the model at a place, on servers that answer alike: the place's
// address is not looked at. The signature is as [NewUpstream] has it. The error is of
// kind Invalid. The model must be closed.
func (s *Servers) Upstream(endpoints []upstream.Endpoint, o upstream.Options, at Place, signature tensor.Signature, limits tensor.Limits) (*Upstream, error) {
	if err := at.Validate(); err != nil {
		return nil, err
	}
	protocol := Spoken(at.Protocol)
	if at.Protocol == tensor.NameMLflow {
		protocol = tensor.MLflowOf(signature)
	}
	dialect, spoken := dialects[at.Protocol]
	if protocol == nil || !spoken {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("no model server is asked by %s yet", at.Protocol), Hint: "put the route with another --protocol"}
	}
	o.HTTP2 = o.HTTP2 || dialect.grpc
	o.CloseDelimited = true // every protocol's answer shows where it was cut off
	lease, err := s.lease(endpoints, o, at)
	if err != nil {
		return nil, err
	}
	return &Upstream{Lease: lease, place: at, question: dialect.infer(at), dialect: dialect, protocol: protocol, signature: signature, limits: limits}, nil
}

// Chat is Upstream for a language model. The servers get the key that is held for all of
// them, and none where they have different ones: see [Servers.Alike].
func (s *Servers) Chat(endpoints []upstream.Endpoint, o upstream.Options, at Place, limits chat.Limits) (*Chat, error) {
	if err := at.Validate(); err != nil {
		return nil, err
	}
	lease, err := s.lease(endpoints, chatOptions(o), at)
	if err != nil {
		return nil, err
	}
	return newChat(lease, at.Model, s.key(endpoints), limits), nil
}

// Alike refuses, with kind Invalid, servers that do not let us in with the same key, or
// without one: calls go to all of them, and a key is sent to no server but its own.
func (s *Servers) Alike(endpoints []upstream.Endpoint) error {
	for _, e := range endpoints {
		if s.keys[originOf(e.URL)] != s.keys[originOf(endpoints[0].URL)] {
			return &pavise.Error{
				Kind: pavise.Invalid, Msg: fmt.Sprintf("%.200s and %.200s do not let us in with the same key, and calls would go to both", endpoints[0].URL, e.URL),
				Hint: "servers of one route have one key: give them the same, or each a route of its own",
			}
		}
	}
	return nil
}

// key is what all of the servers let us in with; empty: nothing, or not the same.
func (s *Servers) key(endpoints []upstream.Endpoint) string {
	if len(endpoints) == 0 || s.Alike(endpoints) != nil {
		return ""
	}
	return s.keys[originOf(endpoints[0].URL)]
}

// A Lease is a model's use of its servers.
type Lease struct {
	external time.Duration // there are none, and a proxy asks the model: how long it may take; 0: there are
	missing  error         // why there are none to be asked; nil: there are
	servers  *Servers
	shared   atomic.Pointer[shared] // the cluster in use; Servers.mu guards writes
	closed   bool                   // Servers.mu guards it
}

func (s *Servers) lease(endpoints []upstream.Endpoint, o upstream.Options, at Place) (*Lease, error) {
	if len(endpoints) == 1 && endpoints[0].URL == External {
		return &Lease{external: cmp.Or(o.Timeouts.Total, externalTime), servers: s}, nil
	}
	missing, err := s.secure(&o, endpoints, at)
	if err != nil {
		return nil, err
	}
	if missing != nil {
		return &Lease{missing: missing, servers: s}, upstream.Validate(endpoints)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.acquire(endpoints, o)
	if err != nil {
		return nil, err
	}
	l := &Lease{servers: s}
	l.shared.Store(c)
	return l, nil
}

// Cluster is what the model's calls go through, for its Stats. It changes with Move, and
// is nil for a model behind a proxy, and for one whose servers cannot be asked.
func (l *Lease) Cluster() *upstream.Cluster {
	if shared := l.shared.Load(); shared != nil {
		return shared.cluster
	}
	return nil
}

// Close ends the model's use of its servers. When it was the last one on them, idle
// connections end now, and the others with the call that is on them; a call that
// comes later is still answered.
func (l *Lease) Close() {
	l.servers.mu.Lock()
	defer l.servers.mu.Unlock()
	if shared := l.shared.Load(); !l.closed && shared != nil {
		l.closed = true
		l.servers.drop(shared)
	}
}

// Move gives a model other servers, other weights, or another balance, without a call
// being lost. A model that is alone on its cluster takes it along: endpoints that stay
// keep their connections. The error is of kind Invalid, and then nothing was changed.
func (l *Lease) Move(endpoints []upstream.Endpoint, b upstream.Balance) error {
	s := l.servers
	s.mu.Lock()
	defer s.mu.Unlock()
	was := l.shared.Load()
	if l.closed || was == nil {
		return &pavise.Error{Kind: pavise.Internal, Msg: "servers were given to a model that is closed, or has none"}
	}
	is := servers{spell(endpoints), was.is.options}
	is.options.Balance = b
	if is == was.is {
		return nil
	}
	if s.clusters[is] != nil || was.users != 1 {
		c, err := s.acquire(endpoints, is.options)
		if err != nil {
			return err
		}
		l.shared.Store(c)
		s.drop(was)
		return nil
	}
	if err := was.cluster.Set(endpoints); err != nil {
		return err
	}
	was.cluster.Rebalance(b)
	delete(s.clusters, was.is)
	was.is = is
	s.clusters[is] = was
	return nil
}

// Stats are what each cluster is doing, in the order of their endpoints.
func (s *Servers) Stats() []upstream.Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*shared, 0, len(s.clusters))
	for _, c := range s.clusters {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b *shared) int { return cmp.Compare(a.is.endpoints, b.is.endpoints) })
	stats := make([]upstream.Stats, len(all))
	for i, c := range all {
		stats[i] = c.cluster.Stats()
	}
	return stats
}

// acquire counts one more user of a cluster, which it makes if there is none. s.mu is
// held.
func (s *Servers) acquire(endpoints []upstream.Endpoint, o upstream.Options) (*shared, error) {
	is := servers{spell(endpoints), o}
	if c := s.clusters[is]; c != nil {
		c.users++
		return c, nil
	}
	cluster, err := upstream.New(endpoints, o)
	if err != nil {
		return nil, err
	}
	c := &shared{is, cluster, 1}
	s.clusters[is] = c
	return c, nil
}

// drop counts one user of a cluster out, and closes what nobody uses. s.mu is held.
func (s *Servers) drop(c *shared) {
	if c.users--; c.users == 0 {
		delete(s.clusters, c.is)
		s.ended.add(c.cluster.Stats())
		c.cluster.Close()
	}
}

// spell writes endpoints so that two sets that are the same are spelled alike.
func spell(endpoints []upstream.Endpoint) string {
	lines := make([]string, len(endpoints))
	for i, e := range endpoints {
		lines[i] = fmt.Sprintf("%s %d\n", e.URL, e.Weight)
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}
