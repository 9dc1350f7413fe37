package bundle

import (
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/seal"
)

// leeway is how far a reader's clock may be behind the control plane's.
const leeway = 10 * time.Minute

// The files of a store.
const (
	fileBundle = "bundle"     // the newest one, as it came
	fileBefore = "bundle.old" // the one before
	fileSeen   = "seen"       // what was seen last, in an envelope
	dirBlobs   = "blobs"
)

// StoreConfig is what a store is made of. Dir, KEK and Trust are required.
type StoreConfig struct {
	Dir     string           // made, 0700, when there is none
	KEK     *seal.KEK        // seals what was seen last, so that who can write the directory alone cannot turn it back
	Trust   Trust            // where the reader begins; once it holds a bundle, only the origin counts
	Formats []Format         // Formats() if nil
	Now     func() time.Time // time.Now if nil
}

// A Store keeps what a reader was last told: the bundle, apart from it the highest
// serial ever seen, and the blobs. It is safe for concurrent use.
type Store struct {
	cfg   StoreConfig
	dir   *directory
	blobs *directory
	key   *seal.Key

	mu       sync.Mutex // guards what follows
	current  *Bundle
	seen     seen
	recorded string          // seen as it stands on disk
	kept     string          // digest of the bundle that stands there
	refused  error           // why a bundle on disk was not used at open
	whole    map[string]bool // blobs whose content was checked, by digest
	unkept   []byte          // the current bundle as it came, while it could not be written down
}

// A seen is what a reader remembers apart from the bundle itself.
type seen struct {
	Origin string `json:"origin"`
	Serial uint64 `json:"serial"` // the highest ever verified; 0: none
	Format int    `json:"format"`
	Digest string `json:"digest"` // of the bundle as it came
	Keys   []Key  `json:"keys"`   // its list
	// Heard is when the control plane last said that there is nothing newer, as of at
	// most heardEvery before it did. Without it a restart would begin a reader's time
	// alone anew.
	Heard time.Time `json:"heard,omitzero"`
}

// heardEvery is how often that is written down.
const heardEvery = 20 * time.Second

// OpenStore opens the store and verifies what lies in it. A bundle that is torn,
// edited or too old is not used, and Refused says why; the one before is used if it is
// not below what was seen. The error is of kind Unverified when what was seen last
// cannot be told any more, Invalid when Trust says nothing, and Unavailable when the
// directory cannot be read.
func OpenStore(cfg StoreConfig) (*Store, error) {
	if err := cfg.Trust.Validate(); err != nil {
		return nil, err
	}
	if cfg.Formats == nil {
		cfg.Formats = Formats()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Store{cfg: cfg, key: cfg.KEK.Bundles(), whole: map[string]bool{}}
	var err error
	if s.dir, err = openDirectory(cfg.Dir); err != nil {
		return nil, err
	}
	if s.blobs, err = openDirectory(s.dir.file(dirBlobs)); err != nil {
		return nil, err
	}
	if err := s.recall(); err != nil {
		return nil, err
	}
	return s, s.load()
}

// seenContext binds the envelope of what was seen.
var seenContext = []byte("pavise bundle seen\n1")

// maxSeen bounds that file, in bytes.
const maxSeen = 16 << 10

// recall reads what was seen last.
func (s *Store) recall() error {
	s.seen = seen{Origin: s.cfg.Trust.Origin, Keys: s.cfg.Trust.Keys}
	envelope, err := s.dir.read(fileSeen, maxSeen)
	if isMissing(err) {
		return s.begin()
	}
	if err != nil {
		return err
	}
	text, err := s.key.Open(seenContext, envelope)
	if err == nil {
		err = json.Unmarshal(text, &s.seen)
	}
	if err != nil {
		return forgotten(s.dir.file(fileSeen), err)
	}
	s.recorded = string(text)
	if s.seen.Origin != s.cfg.Trust.Origin {
		return refuse(pavise.Unverified, ErrOrigin, "give it a directory of its own for each control plane",
			"%s is of %s, and this reader follows %s", s.cfg.Dir, s.seen.Origin, s.cfg.Trust.Origin)
	}
	return nil
}

// begin makes the memory of a store that is new. A bundle without that memory is none
// that may be used: which one was the last could not be told.
func (s *Store) begin() error {
	for _, name := range []string{fileBundle, fileBefore} {
		if _, err := s.dir.read(name, MaxBundle); !isMissing(err) {
			return forgotten(s.dir.file(fileSeen), err)
		}
	}
	return s.record()
}

func forgotten(path string, err error) error {
	return &pavise.Error{
		Kind: pavise.Unverified, Msg: path + " does not say any more which bundle was seen last",
		Hint: "restore it from a backup, or enrol this reader anew with an empty directory", Err: err,
	}
}

// load takes the bundle that lies on disk, if it is one that may be used.
func (s *Store) load() error {
	for _, name := range []string{fileBundle, fileBefore} {
		signed, err := s.dir.read(name, MaxBundle)
		if isMissing(err) {
			continue
		}
		var b *Bundle
		if err == nil {
			b, err = s.judge(signed)
		}
		if err == nil {
			s.current, s.kept = b, digestOf(signed)
			s.remember(b, digestOf(signed))
			return s.record()
		}
		if s.refused == nil {
			s.refused = fmt.Errorf("read the bundle in %s: %w", s.dir.file(name), err)
		}
	}
	return nil
}

// judge verifies a bundle against all that is known but the clock. The caller holds mu,
// or is alone.
func (s *Store) judge(signed []byte) (*Bundle, error) {
	b, err := Open(signed, Trust{Origin: s.seen.Origin, Keys: s.seen.Keys}, s.cfg.Formats)
	if err != nil {
		return nil, err
	}
	switch {
	case b.Serial < s.seen.Serial:
		return nil, refuse(pavise.Conflict, ErrRollback, "was the control plane restored from a backup? Then it must go on above that number; else somebody replays what was true once",
			"the bundle has serial %d, and %d was seen already", b.Serial, s.seen.Serial)
	case b.Serial == s.seen.Serial && digestOf(signed) != s.seen.Digest && s.reads(s.seen.Format):
		return nil, refuse(pavise.Conflict, ErrEquivocation, "the control plane, or somebody with its key, says different things to different readers: compare what others hold",
			"two different bundles have the serial %d", b.Serial)
	}
	return b, nil
}

// reads reports whether this build reads a format. A bundle that it held in one that it
// does not read any more is fetched once more in another.
func (s *Store) reads(format int) bool {
	_, known := formatOf(s.cfg.Formats, format)
	return known
}

// remember takes a bundle for the last one that was seen. The caller holds mu, or is
// alone.
func (s *Store) remember(b *Bundle, digest string) {
	s.seen = seen{Origin: b.Origin, Serial: b.Serial, Format: b.Format, Digest: digest, Keys: b.Keys, Heard: s.seen.Heard}
}

// record writes down what was seen last, unless that stands there.
func (s *Store) record() error {
	text, err := json.Marshal(s.seen)
	if err != nil {
		return fmt.Errorf("encode what was seen: %w", err)
	}
	if string(text) == s.recorded {
		return nil
	}
	if err := s.dir.replace(fileSeen, s.key.Seal(seenContext, text)); err != nil {
		return err
	}
	s.recorded = string(text)
	return nil
}

// Current returns the bundle that counts, or nil if there is none.
func (s *Store) Current() *Bundle {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

// Seen returns the highest serial that was ever verified; 0: none.
func (s *Store) Seen() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen.Serial
}

// Heard returns when the control plane last said that there is nothing newer than what
// is held, over restarts and as of some seconds; zero: never, or by a clock that was
// ahead of this one.
func (s *Store) Heard() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen.Heard.After(s.cfg.Now()) {
		return time.Time{}
	}
	return s.seen.Heard
}

// confirm notes that the control plane said so at that time. Keep writes it down.
func (s *Store) confirm(at time.Time) {
	at = at.UTC().Truncate(time.Second)
	s.mu.Lock()
	defer s.mu.Unlock()
	if since := at.Sub(s.seen.Heard); since < 0 || since >= heardEvery {
		s.seen.Heard = at
	}
}

// Refused returns why a bundle on disk was not used at open; nil if it was, or if there
// was none.
func (s *Store) Refused() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused
}

// Fresh returns nil when there is a bundle that has not ended, and otherwise an error
// of kind Unavailable that says what is wrong with it.
func (s *Store) Fresh() error {
	b := s.Current()
	if b == nil {
		return refuse(pavise.Unavailable, ErrStale, "check that the control plane can be reached", "no bundle of %s is here yet", s.cfg.Trust.Origin)
	}
	return s.timely(b)
}

// timely compares a bundle with the clock.
func (s *Store) timely(b *Bundle) error {
	now := s.cfg.Now()
	switch {
	case !now.Before(b.Expires):
		return refuse(pavise.Unavailable, ErrStale, "check that the control plane can be reached and publishes, and that this clock is right",
			"bundle %d ended at %s", b.Serial, b.Expires.Format(time.RFC3339))
	case now.Before(b.Issued.Add(-leeway)):
		return refuse(pavise.Unavailable, ErrClock, "set the clock of this machine, or that of the control plane, right",
			"bundle %d was issued at %s, and it is %s here", b.Serial, b.Issued.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	return nil
}

// held returns the highest serial that was verified, and the digest of the bundle that
// had it, if that is here. One that is not any more is asked for again.
func (s *Store) held() (after uint64, digest string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.seen.Serial == 0:
		return 0, ""
	case s.current == nil:
		return s.seen.Serial - 1, ""
	}
	return s.seen.Serial, s.seen.Digest
}

// Put verifies a bundle as it came, makes it the current one, and keeps it. When it
// returns a bundle and an error of kind Unavailable, that bundle counts and could not
// be written down: what revokes must not wait for a disk. Keep tries again.
func (s *Store) Put(signed []byte) (*Bundle, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.judge(signed)
	if err != nil {
		return nil, err
	}
	if err := s.timely(b); err != nil {
		return nil, err
	}
	if s.current != nil && digestOf(signed) == s.seen.Digest {
		return s.current, nil
	}
	// From here on it counts, whatever becomes of the disk.
	s.current, s.refused, s.unkept = b, nil, signed
	s.remember(b, digestOf(signed))
	return b, s.keep()
}

// Keep writes down what Put could not, and when the control plane was last heard. It
// does nothing when there is nothing.
func (s *Store) Keep() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keep()
}

// keep writes the current bundle, then what was seen: cut off in between, the next open
// finds a bundle above what was seen, and takes it. The other way round it would find
// one below. The caller holds mu.
func (s *Store) keep() error {
	if s.unkept == nil {
		return s.record()
	}
	err := s.writeDown(s.unkept)
	if err == nil {
		err = s.record()
	}
	if err != nil {
		return fmt.Errorf("keep bundle %d: %w", s.current.Serial, err)
	}
	s.unkept = nil
	return nil
}

// writeDown puts a bundle in the place of the one that is there, which stays as the one
// before if it is good.
func (s *Store) writeDown(signed []byte) error {
	digest := digestOf(signed)
	if digest == s.kept {
		return nil
	}
	if there, err := s.dir.read(fileBundle, MaxBundle); err == nil && digestOf(there) == s.kept {
		if err := s.dir.replace(fileBefore, there); err != nil {
			return err
		}
	}
	if err := s.dir.replace(fileBundle, signed); err != nil {
		return err
	}
	s.kept = digest
	return nil
}
