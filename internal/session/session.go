package session

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"sync"
	"time"

	"github.com/pavise/pavise"
)

// maxStreams is how many live feeds one session may have open: a browser opens no more to
// one host.
const maxStreams = 6

// A Session is a signed-in browser. It is safe for concurrent use.
type Session struct {
	Token   string      // what the browser calls the API with
	Expires time.Time   // when the session ends, the token's end at the latest
	Holder  pavise.Name // whom the token is for, without the tenant; zero: not known

	gone chan struct{} // closed when the book forgets the session

	mu      sync.Mutex // guards what follows
	streams int        // live feeds open
	waiting int        // changes that waited for votes
	asked   time.Time  // when they were counted
}

// Gone is closed when the session has ended before its time.
func (s *Session) Gone() <-chan struct{} { return s.gone }

// Is reports whether the session is somebody's. All that it is shown is of its own tenant.
func (s *Session) Is(who pavise.Name) bool {
	return s.Holder.ID != "" && s.Holder.ID == who.ID && s.Holder.Kind == who.Kind
}

// OpenStream counts a live feed, and reports whether the session may have one more. Who may
// calls CloseStream in the end.
func (s *Session) OpenStream() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams >= maxStreams {
		return false
	}
	s.streams++
	return true
}

// CloseStream counts a live feed no more.
func (s *Session) CloseStream() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.streams--
}

// Count remembers how many changes wait for votes, and when that was asked. A zero time has
// it asked again.
func (s *Session) Count(waiting int, asked time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting, s.asked = waiting, asked
}

// Waiting returns what Count was told last.
func (s *Session) Waiting() (waiting int, asked time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waiting, s.asked
}

// holder reads whom a token says it is for. That proves nothing, and nothing is
// allowed by it: it is for offering people what they may do.
func holder(token string) pavise.Name {
	_, rest, _ := strings.Cut(token, ".")
	payload, _, _ := strings.Cut(rest, ".")
	var claims struct {
		Subject string `json:"sub"`
		Kind    string `json:"pavise_kind"`
	}
	text, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil || json.Unmarshal(text, &claims) != nil || claims.Subject == "" {
		return pavise.Name{}
	}
	return pavise.Name{Kind: claims.Kind, ID: claims.Subject}
}
