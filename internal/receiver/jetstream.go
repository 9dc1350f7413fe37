package receiver

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/pavise/pavise"
)

const (
	// fetchOf is how many messages are fetched at a time, and fetchWithin how long is waited
	// for the first.
	fetchOf     = 64
	fetchWithin = time.Second
	// fetchBytes bounds what is fetched at a time: the longest message that a server can let
	// through (64 MiB), with its headers. A longer one would never be fetched.
	fetchBytes = 72 << 20
	// ackWait is how long the gate may take for the messages that were fetched at a time
	// before the server brings them again.
	ackWait = 30 * time.Second
	// signatureHeader carries the signature of a message, in base64.
	signatureHeader = "Pavise-Signature"
)

// A streamPosition is how far a stream was read. The server knows that too: ours says
// whether it is still the same stream, and what it threw away.
type streamPosition struct {
	Created  time.Time // of the stream
	Sequence uint64    // the newest message that the gate has
}

// A stream fetches the messages of a subject of NATS JetStream.
type stream struct {
	line    *line
	target  target
	conn    *nats.Conn
	js      jetstream.JetStream
	pulling jetstream.Consumer // nil: it is made anew
	pos     streamPosition
	dirty   bool
}

func openStream(l *line, t target) (carrier, error) {
	s := &stream{line: l, target: t}
	if err := l.restore(&s.pos); err != nil {
		return nil, err
	}
	opts := []nats.Option{nats.Name("pavise " + l.row.source().String()), nats.MaxReconnects(-1), nats.IgnoreDiscoveredServers(), nats.Timeout(10 * time.Second)}
	if strings.HasPrefix(t.server.Address, "tls:") {
		cfg, err := t.server.tlsConfig()
		if err != nil {
			return nil, err
		}
		opts = append(opts, nats.Secure(cfg))
	}
	login, err := t.server.credentials()
	if err != nil {
		return nil, err
	}
	user, password, basic := strings.Cut(login, ":")
	switch {
	case strings.HasPrefix(login, "-----BEGIN"):
		opts = append(opts, nats.UserCredentials(t.server.Credentials))
	case strings.HasPrefix(login, "Bearer "):
		opts = append(opts, nats.Token(strings.TrimPrefix(login, "Bearer ")))
	case basic:
		opts = append(opts, nats.UserInfo(user, password))
	}
	if s.conn, err = nats.Connect(t.server.Address, opts...); err != nil {
		return nil, s.away("reach", err)
	}
	if s.js, err = jetstream.New(s.conn); err != nil {
		s.conn.Close()
		return nil, s.away("reach", err)
	}
	return s, nil
}

func (s *stream) where() string { return fmt.Sprintf("message %d", s.pos.Sequence) }

func (s *stream) close() { s.conn.Close() }

func (s *stream) away(doing string, err error) error {
	kind := pavise.Unavailable
	if errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrPermissionViolation) {
		kind = pavise.Denied
	}
	return &pavise.Error{Kind: kind, Msg: fmt.Sprintf("%s %s on server %s: %s", doing, s.target.path, s.target.server.Name, clip(err.Error())), Hint: "look at the server; it is tried again by itself", Err: err}
}

// pass is carrier's: as many messages as are there, and some at most.
func (s *stream) pass(ctx context.Context) (more bool, err error) {
	defer func() {
		if err != nil {
			s.pulling = nil // it may be gone
		}
	}()
	if s.pulling == nil {
		if err := s.consume(ctx); err != nil {
			return false, err
		}
	}
	batch, err := s.pulling.Fetch(fetchOf, jetstream.FetchMaxBytes(fetchBytes), jetstream.FetchMaxWait(fetchWithin))
	if err != nil {
		return false, s.away("fetch from", err)
	}
	for m := range batch.Messages() {
		if err != nil {
			_ = m.Nak() // so that it comes again at once, and not when it was waited for
			continue
		}
		if err = s.message(ctx, m); err != nil {
			_ = m.Nak()
			continue
		}
		more = true
	}
	if err == nil && batch.Error() != nil {
		err = s.away("fetch from", batch.Error())
	}
	if s.dirty {
		err = errors.Join(err, s.line.keep(ctx, s.pos))
		s.dirty = err != nil
	}
	return more && err == nil, err
}

// consume makes the durable consumer, or goes on with the one that there is.
func (s *stream) consume(ctx context.Context) error {
	name, subject, _ := strings.Cut(s.target.path, "/")
	st, err := s.js.Stream(ctx, name)
	if err != nil {
		return s.away("look for", err)
	}
	info := st.CachedInfo()
	if err := s.compare(ctx, info); err != nil {
		return err
	}
	s.pulling, err = s.js.CreateOrUpdateConsumer(ctx, name, jetstream.ConsumerConfig{
		Durable: s.durable(), FilterSubject: subject, AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait, DeliverPolicy: jetstream.DeliverAllPolicy,
	})
	if err != nil {
		return s.away("fetch from", err)
	}
	return nil
}

// durable is the name of the consumer: the same after a restart, and another for another
// order.
func (s *stream) durable() string {
	return "pavise-" + s.line.row.epoch
}

// compare looks whether the stream is the one that was read, and still has what comes next.
func (s *stream) compare(ctx context.Context, info *jetstream.StreamInfo) error {
	created := info.Created.UTC()
	switch next := s.pos.Sequence + 1; {
	case !s.pos.Created.IsZero() && !created.Equal(s.pos.Created):
		summary := fmt.Sprintf("stream %s was made anew at %s: message %d was read of the one before", s.target.path, created.Format(time.RFC3339), s.pos.Sequence)
		if err := s.line.find(ctx, KindReplaced, pavise.Warning, summary, nil); err != nil {
			return err
		}
		s.pos = streamPosition{}
	case s.pos.Sequence > 0 && info.State.FirstSeq > next:
		summary := fmt.Sprintf("the server threw away messages of %s before they were fetched: %d was the last that was, and it has those from %d on", s.target.path, s.pos.Sequence, info.State.FirstSeq)
		if err := s.line.find(ctx, KindLost, pavise.Warning, summary, map[string]any{"read": s.pos.Sequence, "first": info.State.FirstSeq}); err != nil {
			return err
		}
		s.pos.Sequence = info.State.FirstSeq - 1 // it is told once
	case !s.pos.Created.IsZero():
		return nil
	}
	s.pos.Created = created
	return s.line.keep(ctx, s.pos)
}

// message brings one message, and tells the server once the gate has it.
func (s *stream) message(ctx context.Context, m jetstream.Msg) error {
	meta, err := m.Metadata()
	if err != nil {
		return s.away("read a message of", err)
	}
	b := Batch{
		ID: fmt.Sprintf("%s/%d/%d", s.line.row.epoch, s.pos.Created.UnixNano(), meta.Sequence.Stream), Body: m.Data(), Placed: true, At: meta.Timestamp.UTC(),
	}
	if s.target.server.pinned() {
		b.Writer = s.target.server.Pin
	}
	if text := m.Headers().Get(signatureHeader); text != "" {
		if b.Signature, err = base64.StdEncoding.DecodeString(text); err != nil {
			b.Signature = []byte(text) // the gate says what is wrong with it
		}
	}
	if len(b.Body) > 0 { // else there is nothing in it
		if _, err := s.line.bring(ctx, b); err != nil {
			return err
		}
	}
	s.pos.Sequence, s.dirty = max(s.pos.Sequence, meta.Sequence.Stream), true
	if err := m.DoubleAck(ctx); err != nil {
		return s.away("acknowledge a message of", err) // it comes again, and counts once
	}
	return nil
}
