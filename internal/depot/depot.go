package depot

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/seal"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/store/blob"
)

// A Bucket is where contents lie. A directory is one, and so is a bucket of package blob.
type Bucket interface {
	// Put writes an object, whole or not at all; it is durable when Put returns. One of the
	// same name is replaced.
	Put(ctx context.Context, o blob.Object, content io.Reader) error
	// Get opens an object. The error is of kind NotFound if there is none.
	Get(ctx context.Context, name string) (io.ReadCloser, error)
	// Remove takes an object away. That there is none is no error.
	Remove(ctx context.Context, name string) error
}

// Quota is how many bytes of contents an installation keeps that says nothing else.
const Quota = 100 << 30

// Config is what a depot is made of. All but Quota and Say is required.
type Config struct {
	Bucket Bucket
	Stage  disk.Directory // where what comes waits, sealed, until its digest is known; the depot's alone
	Store  *store.DB
	KEK    *seal.KEK
	Quota  int64 // bytes, of all tenants; 0: Quota
	Now    func() time.Time
	Say    func(word string, err error) // tells the operator what goes wrong; nil: nobody
}

// A Depot keeps contents. It is safe for concurrent use.
type Depot struct {
	cfg    Config
	seed   maphash.Seed
	atOnce int // how many contents of the list are read at once
	// locks are held, by digest, by who puts a content, and alone by who takes it away: else a
	// content could go that was just put again.
	locks [64]sync.RWMutex

	mu     sync.Mutex // guards what follows
	used   int64      // bytes of what is kept, and of what comes
	staged int64      // the next name in the stage
}

// Open returns the depot whose list is in the store. What was coming when the process before
// ended is taken away.
func Open(ctx context.Context, cfg Config) (*Depot, error) {
	cfg.Quota = cmp.Or(cfg.Quota, Quota)
	if cfg.Say == nil {
		cfg.Say = func(string, error) {}
	}
	if err := cfg.Store.Migrate(ctx, "depot", steps); err != nil {
		return nil, err
	}
	d := &Depot{cfg: cfg, seed: maphash.MakeSeed(), atOnce: 1000}
	names, err := cfg.Stage.List()
	if err != nil {
		return nil, stageAway("list", err)
	}
	for _, name := range names {
		if strings.HasPrefix(name, coming) {
			if err := cfg.Stage.Remove(name); err != nil {
				return nil, stageAway("clear", err)
			}
		}
	}
	if d.used, err = d.sum(ctx); err != nil {
		return nil, err
	}
	halves, err := d.halves(ctx)
	if err != nil {
		return nil, err
	}
	for _, c := range halves {
		if err := d.drop(ctx, c); err != nil { // the bucket may be away: Run tries again
			cfg.Say("warning", fmt.Errorf("take away half a content: %w", err))
		}
	}
	return d, nil
}

// Put keeps a content, and returns its digest and how many bytes it has. It is durable then,
// or not there at all. Errors of content are returned as they are; others are of kind
// Throttled when the quota is reached, and Unavailable.
func (d *Depot) Put(ctx context.Context, tenant string, content io.Reader) (Digest, int64, error) {
	of, key := newID(), d.cfg.KEK.Depot(tenant)
	toll := &toll{depot: d, from: content}
	defer toll.refund()
	frames := newSealer(toll, key, of, d.cfg.Quota)
	name, f, err := d.stage()
	if err != nil {
		return Digest{}, 0, err
	}
	defer d.cfg.Stage.Remove(name)
	defer f.Close()
	sealed, err := io.Copy(io.NewOffsetWriter(f, 0), &during{ctx, frames})
	if err != nil {
		return Digest{}, 0, frames.blame(stageAway("write", err))
	}
	sum := frames.digest()
	err = d.land(ctx, kept{tenant, sum, frames.size}, toll, func() io.Reader {
		return io.MultiReader(bytes.NewReader(sealHead(key, sum, of, frames.size)), io.NewSectionReader(f, 0, sealed))
	}, tries)
	return sum, frames.size, err
}

// PutAs keeps a content that is said to be of this digest and size. It goes to where it is
// kept at once; if it turns out to be another, nothing is kept, and the error is of kind
// Invalid. Other errors are Put's.
func (d *Depot) PutAs(ctx context.Context, tenant string, want Digest, size int64, content io.Reader) error {
	if size < 0 {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("a content of %d bytes", size)}
	}
	if size > d.cfg.Quota {
		return d.full()
	}
	of, key := newID(), d.cfg.KEK.Depot(tenant)
	toll := &toll{depot: d, from: content}
	defer toll.refund()
	frames := newSealer(toll, key, of, size)
	frames.finish = func(got int64, sum Digest) error {
		if got != size || sum != want {
			return notIt(want, size, fmt.Sprintf("it has %d bytes and is %s", got, sum))
		}
		return nil
	}
	err := d.land(ctx, kept{tenant, want, size}, toll, func() io.Reader {
		return io.MultiReader(bytes.NewReader(sealHead(key, want, of, size)), frames)
	}, 1)
	if err == nil {
		return nil
	}
	if err = frames.blame(err); errors.Is(err, errMore) {
		return notIt(want, size, "it is longer")
	}
	return err
}

func notIt(want Digest, size int64, why string) error {
	return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("what came is not %s of %d bytes: %s", want, size, why), Hint: "send it again, whole"}
}

// blame returns why a content came to nothing: its own error, if it had one.
func (s *sealer) blame(err error) error {
	if s.err != nil && s.err != io.EOF {
		return s.err
	}
	return err
}

// A kept is a content in the list.
type kept struct {
	tenant string
	digest Digest
	size   int64
}

// object is the name of where it lies.
func (c kept) object() string {
	digits := c.digest.String()[len(prefix):]
	return "contents/" + c.tenant + "/" + digits[:2] + "/" + digits
}

// tries is how often a bucket is asked to take a content that can be read again.
const tries = 3

// land has the bucket take a content, and lists it.
func (d *Depot) land(ctx context.Context, c kept, toll *toll, sealed func() io.Reader, tries int) (err error) {
	lock := d.lock(c)
	lock.RLock()
	defer lock.RUnlock()
	if err := d.begin(ctx, c); err != nil {
		return err
	}
	for n := 1; ; n++ {
		err = d.cfg.Bucket.Put(ctx, blob.Object{Name: c.object(), Size: sealedSize(c.size)}, sealed())
		if err == nil || n >= tries || pavise.KindOf(err) != pavise.Unavailable || !wait(ctx, time.Duration(n)*200*time.Millisecond) {
			break
		}
	}
	if err != nil {
		return errors.Join(err, d.forget(context.WithoutCancel(ctx), c))
	}
	added, err := d.listed(ctx, c)
	if added {
		toll.keep()
	}
	return err
}

// wait reports whether ctx was not done meanwhile.
func wait(ctx context.Context, while time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(while):
		return true
	}
}

// Open opens a content of a tenant's. The error is of kind NotFound if it is not kept. The
// caller closes it.
func (d *Depot) Open(ctx context.Context, tenant string, digest Digest) (*Reader, error) {
	size, has, err := d.Has(ctx, tenant, digest)
	if err != nil {
		return nil, err
	}
	if !has {
		return nil, noContent(digest, nil)
	}
	c := kept{tenant, digest, size}
	from, err := d.cfg.Bucket.Get(ctx, c.object())
	if err != nil {
		return nil, err
	}
	r, err := newReader(from, d.cfg.KEK.Depot(tenant), digest)
	if err != nil {
		return nil, errors.Join(err, from.Close())
	}
	return r, nil
}

func noContent(digest Digest, err error) error {
	return &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("no content %s is kept here", digest), Hint: "put it first", Err: err}
}

func (d *Depot) lock(c kept) *sync.RWMutex {
	return &d.locks[maphash.Bytes(d.seed, c.digest[:])%uint64(len(d.locks))]
}

// coming begins the names of what is in the stage.
const coming = "coming-"

// stage makes a file for what comes.
func (d *Depot) stage() (name string, f disk.File, err error) {
	d.mu.Lock()
	d.staged++
	name = fmt.Sprintf("%s%d", coming, d.staged)
	d.mu.Unlock()
	if f, err = d.cfg.Stage.Open(name, true); err != nil {
		return "", nil, stageAway("make a file", err)
	}
	return name, f, nil
}

func stageAway(doing string, err error) error {
	return &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("%s where files of models come in: %v", doing, err), Hint: "check the disk of the data directory: df -h", Err: err}
}

// A during reader ends with its context.
type during struct {
	ctx  context.Context
	from io.Reader
}

func (r *during) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.from.Read(p)
}

// A toll counts what comes in against the quota, as it comes.
type toll struct {
	depot *Depot
	from  io.Reader
	paid  int64
}

// Read implements io.Reader.
func (t *toll) Read(p []byte) (int, error) {
	n, err := t.from.Read(p)
	if !t.depot.take(int64(n)) {
		return 0, t.depot.full()
	}
	t.paid += int64(n)
	return n, err
}

// ErrFull is in the chain of the error of what the quota has no room for.
var ErrFull = errors.New("the quota is reached")

func (d *Depot) full() error {
	return &pavise.Error{Kind: pavise.Throttled, Msg: fmt.Sprintf("there is no room for more files of models: %d bytes are the quota", d.cfg.Quota), Hint: "delete versions and artifacts that nobody needs, or have a larger quota set", Err: ErrFull}
}

// keep leaves counted what was.
func (t *toll) keep() { t.paid = 0 }

// refund is for what is not kept.
func (t *toll) refund() { t.depot.take(-t.paid) }

// take counts bytes, unless they are too many.
func (d *Depot) take(n int64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n > 0 && d.used+n > d.cfg.Quota {
		return false
	}
	d.used += n
	return true
}

// Used returns how many bytes are kept or coming, and how many may be.
func (d *Depot) Used() (used, quota int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.used, d.cfg.Quota
}
