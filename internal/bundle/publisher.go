package bundle

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pavise/pavise"
)

// How long a bundle is fresh.
const (
	defaultLifetime = 24 * time.Hour
	minLifetime     = time.Minute
)

// lookEvery is how often Run asks the sections although nobody nudged.
const lookEvery = 5 * time.Second

// A Section says what stands in one section now: its JSON, and the blobs that it
// names, digest to size. The JSON must be the same for as long as it says the same, or
// every look at it makes a new bundle.
type Section func(ctx context.Context) (contents json.RawMessage, blobs map[string]int64, err error)

// PublisherConfig is what a publisher is made of. Origin, Dir, Signer and Sections are
// required.
type PublisherConfig struct {
	Origin   string
	Dir      string // where the newest bundle is kept; made, 0700, when there is none
	Signer   *Signer
	Sections map[string]Section // by name; at most MaxSections
	// Blob opens a blob that a section named. nil: there are none.
	Blob     func(ctx context.Context, digest string) (io.ReadCloser, error)
	Lifetime time.Duration    // how long a bundle is fresh, 1 minute to 30 days; 24 h if 0
	After    uint64           // no serial up to this one is used: for a control plane that was restored
	Formats  []Format         // Formats() if nil; the first one is the newest
	Now      func() time.Time // time.Now if nil
	Trouble  func(error)      // told why Run could not publish; nil: nobody is
}

// A Publisher assembles, numbers, signs, keeps and serves bundles. It is safe for
// concurrent use.
type Publisher struct {
	cfg     PublisherConfig
	dir     *directory
	nudges  chan struct{} // of room for one
	waiters atomic.Int64  // long polls that wait

	publishing sync.Mutex // held while a bundle is made

	mu      sync.Mutex // guards what follows
	served  *edition
	before  *edition      // whose blobs somebody may still be fetching
	changed chan struct{} // closed when served changes, and when Run ends
	stopped bool          // Run has ended: nobody waits any more
}

// An edition is a bundle in all formats that it is offered in. It is immutable.
type edition struct {
	bundle   *Bundle
	frames   map[int][]byte // as it travels, by format
	contents string         // digest of all but the serial and the times
}

// filePublished is where the newest bundle is kept.
const filePublished = "published"

// maxPublished bounds that file: two formats, in base64.
const maxPublished = 4 * MaxBundle

// A published is what that file says.
type published struct {
	Frames map[int][]byte `json:"frames"` // by format; none before the first bundle
}

// OpenPublisher opens the publisher whose newest bundle lies in the directory, and makes
// its first key where there is none. It serves that bundle until Publish has made
// another. The error is of kind Conflict when there are keys and no bundle: numbers that
// were used already might be used again, unless After says where to go on.
func OpenPublisher(cfg PublisherConfig) (*Publisher, error) {
	if cfg.Formats == nil {
		cfg.Formats = Formats()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Lifetime == 0 {
		cfg.Lifetime = defaultLifetime
	}
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	p := &Publisher{cfg: cfg, nudges: make(chan struct{}, 1), changed: make(chan struct{})}
	var err error
	if p.dir, err = openDirectory(cfg.Dir); err != nil {
		return nil, err
	}
	return p, p.resume()
}

func (cfg *PublisherConfig) validate() error {
	bad := func(msg string) error {
		return &pavise.Error{Kind: pavise.Invalid, Msg: "bundles cannot be published: " + msg, Hint: "see the comment of bundle.PublisherConfig"}
	}
	if err := checkOrigin(cfg.Origin); err != nil {
		return bad(err.Error())
	}
	switch {
	case cfg.Lifetime < minLifetime || cfg.Lifetime > MaxLifetime:
		return bad(fmt.Sprintf("they cannot be fresh for %v; 1 minute to 30 days are allowed", cfg.Lifetime))
	case cfg.After >= MaxSerial:
		return bad(fmt.Sprintf("no serial comes after %d", cfg.After))
	case len(cfg.Sections) > MaxSections:
		return bad(fmt.Sprintf("%d sections are more than %d", len(cfg.Sections), MaxSections))
	case len(cfg.Formats) == 0 || cfg.Signer == nil:
		return bad("there is no format to write, or nobody to sign")
	}
	for name := range cfg.Sections {
		if !isSection(name) {
			return bad(fmt.Sprintf("%.80q is no name of a section", name))
		}
	}
	return nil
}

// resume takes up the bundle that was published last.
func (p *Publisher) resume() error {
	text, err := p.dir.read(filePublished, maxPublished)
	if isMissing(err) {
		return p.begin()
	}
	if err != nil {
		return err
	}
	var was published
	if err := json.Unmarshal(text, &was); err != nil {
		return p.lost(err)
	}
	if p.cfg.Signer.size() == 0 {
		if len(was.Frames) > 0 {
			return p.lost(errors.New("the keys that signed it are gone"))
		}
		return p.firstKey()
	}
	if len(was.Frames) == 0 {
		return nil
	}
	p.served, err = p.reopen(was)
	return err
}

// begin makes the directory that of a publisher, before there is a key: a key without
// that file means that it was lost.
func (p *Publisher) begin() error {
	if p.cfg.Signer.size() > 0 && p.cfg.After == 0 {
		return p.lost(nil)
	}
	if err := p.write(published{Frames: map[int][]byte{}}); err != nil {
		return err
	}
	return p.firstKey()
}

func (p *Publisher) firstKey() error {
	if p.cfg.Signer.size() > 0 {
		return nil
	}
	_, err := p.cfg.Signer.create()
	return err
}

func (p *Publisher) lost(err error) error {
	return &pavise.Error{
		Kind: pavise.Conflict, Msg: p.dir.file(filePublished) + " does not say which bundle was published last",
		Hint: "restore it from a backup and say after which serial to go on: the highest that a gateway shows as held", Err: err,
	}
}

// reopen verifies what was published, by its own keys.
func (p *Publisher) reopen(was published) (*edition, error) {
	e := &edition{frames: map[int][]byte{}}
	for _, number := range slices.Sorted(maps.Keys(was.Frames)) {
		format, known := formatOf(p.cfg.Formats, number)
		if !known {
			continue
		}
		f, err := parse(was.Frames[number])
		if err != nil {
			return nil, p.lost(err)
		}
		b, err := format.Decode(f.body)
		if err != nil {
			return nil, p.lost(err)
		}
		if _, err = Open(was.Frames[number], Trust{Origin: p.cfg.Origin, Keys: b.Keys}, p.cfg.Formats); err != nil {
			return nil, p.lost(err)
		}
		if !slices.ContainsFunc(b.Keys, p.signs) || e.bundle != nil && e.bundle.Serial != b.Serial {
			return nil, p.lost(errors.New("it is signed by other keys than those here, or of several numbers"))
		}
		e.bundle, e.frames[number] = b, was.Frames[number]
	}
	if e.bundle == nil {
		return nil, refuse(pavise.Unavailable, ErrFormat, "use a build that is at most one format away", "%s is of formats that this build does not read", p.dir.file(filePublished))
	}
	var err error
	e.contents, err = p.contents(e.bundle)
	return e, err
}

// signs reports whether a key is active and its private half is here.
func (p *Publisher) signs(k Key) bool { return !k.Revoked && p.cfg.Signer.has(k) }

// contents is the digest of all that a bundle says but its serial and its times.
func (p *Publisher) contents(b *Bundle) (string, error) {
	bare := *b
	bare.Serial, bare.Issued, bare.Expires = 0, time.Time{}, time.Time{}
	body, err := p.cfg.Formats[0].Encode(&bare)
	if err != nil {
		return "", fmt.Errorf("encode a bundle: %w", err)
	}
	return digestOf(body), nil
}

// Publish asks every section, and makes a new bundle when anything of it changed, when
// half of the lifetime of the last one is over, when that was made by a clock that was ahead, or
// when it is to be offered in another format. It returns the serial that is served then. When a section fails, or the
// bundle cannot be written down, the last one stays.
func (p *Publisher) Publish(ctx context.Context) (serial uint64, err error) {
	p.publishing.Lock()
	defer p.publishing.Unlock()
	return p.publish(ctx, p.keys())
}

// keys returns the list of keys as it is: that of the last bundle, or the newest key.
func (p *Publisher) keys() []Key {
	if e := p.edition(); e != nil {
		return e.bundle.Keys
	}
	return p.cfg.Signer.newest()
}

// publish does, with a list of keys. The caller holds publishing.
func (p *Publisher) publish(ctx context.Context, keys []Key) (uint64, error) {
	last := p.edition()
	next, err := p.assemble(ctx, keys)
	if err != nil {
		return p.Serial(), err
	}
	if last != nil && last.contents == next.contents && !p.due(last) {
		return last.bundle.Serial, nil
	}
	next.bundle.Serial = p.cfg.After + 1
	if last != nil {
		next.bundle.Serial = max(next.bundle.Serial, last.bundle.Serial+1)
	}
	if err := p.sign(next); err != nil {
		return p.Serial(), err
	}
	// On disk before anybody sees it: a restart must not give its number to another.
	if err := p.write(published{Frames: next.frames}); err != nil {
		return p.Serial(), err
	}
	p.serve(next)
	return next.bundle.Serial, nil
}

// due reports whether an edition must be renewed although it says what is true.
func (p *Publisher) due(e *edition) bool {
	for _, f := range p.cfg.Formats {
		if _, offered := e.frames[f.Number]; !offered {
			return true
		}
	}
	half, now := e.bundle.Expires.Sub(e.bundle.Issued)/2, p.cfg.Now()
	// One of a clock that was ahead is refused by readers, until they have nothing any more to go by.
	ahead := now.Before(e.bundle.Issued.Add(-leeway / 2))
	return ahead || !now.Before(e.bundle.Issued.Add(half)) || e.bundle.Serial <= p.cfg.After
}

// assemble asks the sections.
func (p *Publisher) assemble(ctx context.Context, keys []Key) (*edition, error) {
	now := p.cfg.Now().UTC().Truncate(time.Second)
	b := &Bundle{
		Origin: p.cfg.Origin, Issued: now, Expires: now.Add(p.cfg.Lifetime), Keys: keys,
		Sections: map[string]json.RawMessage{}, Blobs: map[string]int64{},
	}
	for _, name := range slices.Sorted(maps.Keys(p.cfg.Sections)) {
		contents, blobs, err := p.cfg.Sections[name](ctx)
		if err != nil {
			return nil, fmt.Errorf("ask for the section %s of the bundle: %w", name, err)
		}
		var compact bytes.Buffer
		if err := json.Compact(&compact, contents); err != nil {
			return nil, fmt.Errorf("read the section %s of the bundle: %w", name, err)
		}
		b.Sections[name] = compact.Bytes()
		for digest, size := range blobs {
			if was, there := b.Blobs[digest]; there && was != size {
				return nil, fmt.Errorf("the blob %s has %d bytes in the section %s of the bundle, and %d in another", digest, size, name, was)
			}
			b.Blobs[digest] = size
		}
	}
	digest, err := p.contents(b)
	return &edition{bundle: b, contents: digest}, err
}

// sign spells an edition in all formats, and makes sure that readers will take it.
func (p *Publisher) sign(e *edition) error {
	e.frames = map[int][]byte{}
	for _, f := range p.cfg.Formats {
		body, err := f.Encode(e.bundle)
		if err != nil {
			return fmt.Errorf("encode a bundle in format %d: %w", f.Number, err)
		}
		signed := p.cfg.Signer.sign(f.Number, body, e.bundle.Keys)
		if _, err := Open(signed, Trust{Origin: p.cfg.Origin, Keys: e.bundle.Keys}, p.cfg.Formats); err != nil {
			return fmt.Errorf("read the bundle that is about to be published: %w", err)
		}
		e.frames[f.Number] = signed
	}
	e.bundle.Format = p.cfg.Formats[0].Number
	return nil
}

// write keeps what is published.
func (p *Publisher) write(now published) error {
	text, err := json.Marshal(now)
	if err != nil {
		return fmt.Errorf("encode what is published: %w", err)
	}
	return p.dir.replace(filePublished, text)
}

// serve shows an edition, and wakes who waits.
func (p *Publisher) serve(e *edition) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.before, p.served = p.served, e
	if !p.stopped {
		close(p.changed)
		p.changed = make(chan struct{})
	}
}

func (p *Publisher) edition() *edition {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.served
}

// Nudge has Run publish at once. It never blocks; nudges that come together are one.
func (p *Publisher) Nudge() {
	select {
	case p.nudges <- struct{}{}:
	default: // there is one that was not heard yet
	}
}

// Run publishes at every nudge, and every few seconds for what nobody nudged about,
// until ctx is done. Then nobody waits for the next bundle any more.
func (p *Publisher) Run(ctx context.Context) error {
	defer p.stop()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		if _, err := p.Publish(ctx); err != nil && ctx.Err() == nil && p.cfg.Trouble != nil {
			p.cfg.Trouble(err)
		}
		select {
		case <-p.nudges:
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// stop lets all who wait go.
func (p *Publisher) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.stopped {
		p.stopped = true
		close(p.changed)
	}
}

// Trust returns where a reader begins who enrols now.
func (p *Publisher) Trust() Trust { return Trust{Origin: p.cfg.Origin, Keys: p.keys()} }

// Serial returns the serial that is served now; 0: none yet.
func (p *Publisher) Serial() uint64 {
	if e := p.edition(); e != nil {
		return e.bundle.Serial
	}
	return 0
}

// Rotate makes a new key, and publishes a bundle that lists it, signed by both. The keys
// before stay active until Revoke; where the list is full, the one that was revoked
// first leaves it.
func (p *Publisher) Rotate(ctx context.Context) (Key, error) {
	p.publishing.Lock()
	defer p.publishing.Unlock()
	keys, err := p.room()
	if err != nil {
		return Key{}, err
	}
	k, err := p.cfg.Signer.create()
	if err != nil {
		return Key{}, err
	}
	_, err = p.publish(ctx, append(keys, k))
	return k, err
}

// Revoke publishes a bundle by which every reader refuses what that key alone has
// signed. The last active key cannot be revoked: make another first.
func (p *Publisher) Revoke(ctx context.Context, key Key) error {
	p.publishing.Lock()
	defer p.publishing.Unlock()
	keys, err := p.without(key)
	if err != nil {
		return err
	}
	_, err = p.publish(ctx, keys)
	return err
}

// CheckRotate says what would keep Rotate from making another key now. It changes nothing.
func (p *Publisher) CheckRotate() error {
	_, err := p.room()
	return err
}

// CheckRevoke says what would keep Revoke from revoking a key now. It changes nothing.
func (p *Publisher) CheckRevoke(key Key) error {
	_, err := p.without(key)
	return err
}

// room returns the list of keys with room for one more.
func (p *Publisher) room() ([]Key, error) {
	keys := slices.Clone(p.keys())
	if len(keys) < MaxKeys {
		return keys, nil
	}
	i := slices.IndexFunc(keys, func(k Key) bool { return k.Revoked })
	if i < 0 {
		return nil, &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("%d keys sign bundles already", len(keys)), Hint: "revoke one first: pavise bundle revoke"}
	}
	return slices.Delete(keys, i, i+1), nil
}

// without returns the list of keys with one revoked.
func (p *Publisher) without(key Key) ([]Key, error) {
	keys := slices.Clone(p.keys())
	i := slices.IndexFunc(keys, key.Same)
	switch {
	case i < 0:
		return nil, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("no key %s signs bundles", key), Hint: "pavise bundle list shows those that do"}
	case keys[i].Revoked:
		return nil, &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("the key %s was revoked before", key), Hint: "pavise bundle list shows which keys are active"}
	}
	keys[i].Revoked = true
	if !slices.ContainsFunc(keys, p.signs) {
		return nil, &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("nothing could sign bundles without the key %s", key), Hint: "make another first: pavise bundle rotate"}
	}
	return keys, nil
}
