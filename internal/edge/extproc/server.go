package extproc

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	proc "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

// The bounds of what proxies may have open here.
const (
	maxMessage  = 5 << 20          // bytes of one message: the largest body that a route takes, and room around it
	maxBodies   = 128 << 20        // bytes of messages that wait to be looked at, of all exchanges
	maxLife     = 15 * time.Minute // of one exchange
	firstTime   = 10 * time.Second // until the first message of a stream
	takeTime    = 30 * time.Second // in which the proxy takes one message of ours
	closingTime = 5 * time.Second  // in which the proxy ends the stream of an exchange that is over, and a model an answer that nobody reads any more
	stopTime    = 10 * time.Second // in which exchanges end when the server does
)

// Config is what a server is made of.
type Config struct {
	// Handler is the door that serves each exchange: that of package edge.
	Handler http.Handler
	// Refused counts what a proxy did against the protocol, and what nobody could be
	// named for: the address that it came from, and a short constant text.
	Refused func(source, reason string)
	// TrustCertificates takes the client certificates that the proxy says it has
	// verified, from x-forwarded-client-cert. Without it the header means nothing.
	TrustCertificates bool
	// TLS of the listener, which then asks proxies for certificates; nil: in clear
	// text, for a loopback address or a socket in the file system.
	TLS *tls.Config
	// MaxOpen is how many exchanges there may be at one time; 4096 if 0.
	MaxOpen int
}

// maxOpen is how many exchanges there may be when nobody says.
const maxOpen = 4096

// A Server is what proxies ask. It is safe for concurrent use.
type Server struct {
	proc.UnimplementedExternalProcessorServer
	auth.UnimplementedAuthorizationServer

	cfg    Config
	grpc   *grpc.Server
	open   atomic.Int64 // exchanges under way
	bodies atomic.Int64 // bytes of their messages that wait
}

// New returns a server of both protocols.
func New(cfg Config) *Server {
	cfg.MaxOpen = cmp.Or(cfg.MaxOpen, maxOpen)
	options := []grpc.ServerOption{
		grpc.StreamInterceptor(steadyStream), grpc.UnaryInterceptor(steady),
		grpc.ForceServerCodecV2(newFrugal()), grpc.MaxRecvMsgSize(maxMessage), grpc.MaxConcurrentStreams(2 * maxOpen), grpc.MaxHeaderListSize(16 << 10),
		grpc.ConnectionTimeout(5 * time.Second),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: 10 * time.Minute, Time: time.Minute, Timeout: 20 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
	}
	if cfg.TLS != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(cfg.TLS)))
	}
	s := &Server{cfg: cfg, grpc: grpc.NewServer(options...)}
	proc.RegisterExternalProcessorServer(s.grpc, s)
	auth.RegisterAuthorizationServer(s.grpc, s)
	return s
}

// steady keeps a mistake in one exchange from ending all the others. The proxy gets an
// error, and refuses its caller.
func steady(ctx context.Context, m any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (answer any, err error) {
	defer recovered(&err)
	return next(ctx, m)
}

func steadyStream(s any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
	defer recovered(&err)
	return next(s, stream)
}

// recovered, deferred, makes an error of a panic.
func recovered(err *error) {
	if recover() != nil {
		*err = status.Error(codes.Internal, "internal error")
	}
}

// Run serves on l until ctx is done. Exchanges under way get a while to end; what is
// left then is broken off, and recorded as such.
//
// Unguarded: whoever it serves enters in the handler.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		hard := time.AfterFunc(stopTime, s.grpc.Stop)
		defer hard.Stop()
		s.grpc.GracefulStop()
	})
	err := s.grpc.Serve(l)
	if stop() { // it ended by itself
		s.grpc.Stop()
		return err
	}
	<-ended
	if errors.Is(err, grpc.ErrServerStopped) {
		return nil
	}
	return err
}

// enter takes one of the places for exchanges, and reports whether there was one.
func (s *Server) enter() bool {
	if s.open.Add(1) <= int64(s.cfg.MaxOpen) {
		return true
	}
	s.open.Add(-1)
	return false
}

func (s *Server) leave() { s.open.Add(-1) }

// hold counts n more bytes of a message, unless there are too many already.
func (s *Server) hold(n int) bool {
	if s.bodies.Add(int64(n)) <= maxBodies {
		return true
	}
	s.bodies.Add(int64(-n))
	return false
}

func (s *Server) release(n int) { s.bodies.Add(int64(-n)) }
