package rowseal

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"github.com/pavise/pavise/internal/proof"
)

// blockSize is how much of a file that has no rows is one entry of its tree.
const blockSize = 64 << 10

// chunkBlocks is how many of them are read and hashed at a time.
const chunkBlocks = chunkSize / blockSize

// pump has next fill chunks, one after the other, hash work on them, so many at a time, and
// take have them in the order of next, which ends with io.EOF. next and take are never called
// at the same time as themselves.
func pump(ctx context.Context, workers int, next func(*chunk) error, hash func(*chunk), take func(*chunk) error) error {
	if workers <= 1 {
		return pumpAlone(ctx, next, hash, take)
	}
	ctx, stop := context.WithCancel(ctx)
	chunks := 2 * workers
	free, work, order := make(chan *chunk, chunks), make(chan *chunk, chunks), make(chan *chunk, chunks)
	pool := roomy{free: free}
	for range chunks {
		pool.spare = append(pool.spare, &chunk{})
	}
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	var failed error // of next; read once order is closed
	var panicked any // in next; read then, too
	running.Go(func() {
		defer close(order)
		defer close(work)
		defer func() { panicked = recover() }()
		for {
			var c *chunk
			if c, failed = pool.get(ctx); failed != nil {
				return
			}
			if failed = next(c); failed != nil {
				return
			}
			pool.lend(c)
			c.done = make(chan struct{})
			order <- c // there is room for all chunks there are
			work <- c
		}
	})
	for range workers {
		running.Go(func() {
			for c := range work {
				c.try(hash)
			}
		})
	}
	for c := range order {
		if <-c.done; c.panicked != nil {
			panic(c.panicked)
		}
		if err := take(c); err != nil {
			return err
		}
		free <- c
	}
	if panicked != nil {
		panic(panicked)
	}
	if failed == io.EOF {
		return nil
	}
	return failed
}

// try does the work on a chunk. A panic is its caller's, who may know what to do about it: in this
// goroutine it would end the process.
func (c *chunk) try(hash func(*chunk)) {
	defer close(c.done)
	defer func() { c.panicked = recover() }()
	hash(c)
}

// maxLent is how many bytes of chunks are worked on at a time before another one is filled: long
// rows make long chunks.
const maxLent = 128 << 20

// A roomy has the chunks that may be filled. It is of the goroutine that fills them.
type roomy struct {
	spare []*chunk
	free  <-chan *chunk // those that come back
	out   int           // how many are lent
	lent  int           // and the bytes of these
}

// get returns a chunk to fill, once there is one and those that are lent are not too large.
func (p *roomy) get(ctx context.Context) (*chunk, error) {
	for ctx.Err() == nil && (len(p.spare) == 0 || p.out > 0 && p.lent > maxLent) {
		select {
		case <-ctx.Done():
		case c := <-p.free:
			p.out, p.lent = p.out-1, p.lent-cap(c.room)
			if cap(c.room) > 4*chunkSize {
				c.room = nil // it was made for a long row
			}
			p.spare = append(p.spare, c)
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c := p.spare[len(p.spare)-1]
	p.spare = p.spare[:len(p.spare)-1]
	return c, nil
}

// lend counts a chunk that was filled.
func (p *roomy) lend(c *chunk) { p.out, p.lent = p.out+1, p.lent+cap(c.room) }

// pumpAlone is pump without company.
func pumpAlone(ctx context.Context, next func(*chunk) error, hash func(*chunk), take func(*chunk) error) error {
	c := spare.Get().(*chunk)
	defer func() {
		if cap(c.room) <= 4*chunkSize {
			spare.Put(c)
		}
	}()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := next(c); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		hash(c)
		if err := take(c); err != nil {
			return err
		}
	}
}

// spare has chunks that were used: one costs more than a small file.
var spare = sync.Pool{New: func() any { return new(chunk) }}

// Each calls do for the numbers below n, by so many workers, until one fails. What panics does so in
// the goroutine of the caller.
func Each(ctx context.Context, workers, n int, do func(i int) error) error {
	var at atomic.Int64
	failures := make([]error, max(workers, 1))
	panics := make([]any, len(failures))
	var running sync.WaitGroup
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	work := func(worker int) {
		for i := int(at.Add(1)) - 1; i < n; i = int(at.Add(1)) - 1 {
			err := ctx.Err()
			if err == nil {
				err = do(i)
			}
			if err != nil {
				failures[worker] = err
				stop()
				return
			}
		}
	}
	for worker := 1; worker < min(workers, n); worker++ {
		running.Go(func() {
			defer func() {
				if panics[worker] = recover(); panics[worker] != nil {
					stop()
				}
			}()
			work(worker)
		})
	}
	work(0)
	running.Wait()
	for _, p := range panics {
		if p != nil {
			panic(p)
		}
	}
	return worst(failures)
}

// worst is the error that stopped the others, which only say that they were stopped.
func worst(failures []error) (err error) {
	for _, f := range failures {
		if f != nil && (err == nil || errors.Is(err, context.Canceled)) {
			err = f
		}
	}
	return err
}

// A blocker cuts a file into chunks of blocks of bytes.
type blocker struct {
	in   io.Reader
	size int64
	read func(n int)
}

// next fills the chunk with the blocks that follow. At the end of the file it returns io.EOF.
func (r *blocker) next(c *chunk) error {
	if len(c.room) < chunkBlocks*(1+blockSize) {
		c.room = make([]byte, chunkBlocks*(1+blockSize))
	}
	n := 0
	for range chunkBlocks {
		got, err := io.ReadFull(r.in, c.room[n+1:n+1+blockSize])
		r.size += int64(got)
		r.read(got)
		if got > 0 {
			n += 1 + got
		}
		if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		} else if err != nil {
			return err
		}
	}
	if c.text = c.room[:n]; n == 0 {
		return io.EOF
	}
	return nil
}

// hashBlocks hashes each block as a leaf of RFC 6962. One byte is free before each.
func (c *chunk) hashBlocks() {
	c.digests, c.leaves = c.digests[:0], c.leaves[:0]
	for at := 0; at < len(c.text); at += 1 + blockSize {
		c.wait(c.text[at:min(at+1+blockSize, len(c.text))])
	}
	c.flush()
}

// A Sink is where the digests of a file go, and how they are made.
type Sink struct {
	Out     io.Writer
	Blocks  io.Writer   // where its blocks of rows go, which stand behind all digests; by Text alone
	Workers int         // how many hash beside each other
	Read    func(n int) // is told how many bytes were read; by several goroutines
}

// Bytes seals a file by its bytes: the digests of its blocks of 64 KiB go out, and the root
// over them comes back, with how many they and the bytes are.
func (s Sink) Bytes(ctx context.Context, in io.Reader) (root Digest, n uint64, size int64, err error) {
	var tree proof.Range
	r := &blocker{in: in, read: s.Read}
	err = pump(ctx, s.Workers, r.next, (*chunk).hashBlocks, func(c *chunk) error {
		for d := c.digests; len(d) > 0; d = d[sha256.Size:] {
			tree.Add(0, hash(d[:sha256.Size]), nil)
		}
		_, err := s.Out.Write(c.digests)
		return err
	})
	return Digest(tree.Root()), tree.Size(), r.size, err
}

// A Cut says how text is cut into rows.
type Cut struct {
	CSV       bool // by records (RFC 4180), and not by lines
	Separator byte // between the cells of CSV; 0: what the first record has
	Loose     bool // records may have more or fewer cells than the first, and nobody guesses at UTF-16
}

// Text seals a file by its rows, whose digests go out. The error is a *RowFault for rows that
// are none, and ErrUTF16.
func (s Sink) Text(ctx context.Context, in io.Reader, cut Cut) (rows *Rows, size int64, err error) {
	k := cutter{csv: cut.CSV, separator: cut.Separator}
	if cut.CSV && !cut.Loose {
		k.width = -1
	}
	r := &chunker{in: in, cut: k, loose: cut.Loose, read: s.Read}
	rows = NewRows(s.Blocks)
	err = pump(ctx, s.Workers, r.next, (*chunk).hash, func(c *chunk) error {
		if fault, ok := c.err.(*RowFault); ok {
			fault.Row += rows.rows
			return fault
		}
		if err := rows.add(c.digests, c.ends); err != nil {
			return err
		}
		_, err := s.Out.Write(c.digests)
		return err
	})
	rows.bom = r.bom
	return rows, r.size, err
}
