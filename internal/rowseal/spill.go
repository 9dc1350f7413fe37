package rowseal

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/pavise/pavise"
)

// A Spill opens a file for what is more than is held in memory: digests of rows, so that nobody
// else may read it, and without a name, so that it goes with the process. Who asks closes it.
type Spill func() (*os.File, error)

// errMoved says that digests were written to while they were read: each is read more than once.
var errMoved = Damaged("it was written to while it was read")

// dealt is how much memory is for rows that are being dealt out.
const dealt = 8 << 20

// deal writes the rows to a file, those of each batch of cells together, and returns where.
func (c *contents) deal(ctx context.Context, spill *os.File, batches []batch, width int) ([]stretch, error) {
	size := min(max(dealt/len(batches), 1<<10), 64<<10) / sha256.Size * sha256.Size
	room := make([]byte, size*len(batches))
	type pile struct {
		at, end int64 // in the file: where it goes on, and must not
		held    int   // bytes of its part of room
	}
	piles, apart := make([]pile, len(batches)), make([]stretch, len(batches))
	batchOf := make([]uint32, 1<<width)
	at := int64(0)
	for i, b := range batches {
		end := at + int64(b.rows)*sha256.Size
		piles[i], apart[i] = pile{at: at, end: end}, stretch{io.NewSectionReader(spill, at, end-at), b.rows}
		at = end
		for cell := b.cell; cell < b.cell+b.cells; cell++ {
			batchOf[cell] = uint32(i)
		}
	}
	flush := func(i uint32) error {
		p := &piles[i]
		if p.at+int64(p.held) > p.end {
			return errMoved
		}
		_, err := spill.WriteAt(room[int(i)*size:][:p.held], p.at)
		p.at, p.held = p.at+int64(p.held), 0
		return spillFault(err)
	}
	err := scan(ctx, c.rows, func(digests []byte) error {
		for ; len(digests) > 0; digests = digests[sha256.Size:] {
			i := batchOf[bucketOf(digests, width)]
			p := &piles[i]
			*(*hash)(room[int(i)*size+p.held:]) = hash(digests)
			if p.held += sha256.Size; p.held < size {
				continue
			}
			if err := flush(i); err != nil {
				return err
			}
		}
		return nil
	})
	for i := 0; i < len(piles) && err == nil; i++ {
		if err = flush(uint32(i)); err == nil && piles[i].at < piles[i].end {
			err = errMoved
		}
	}
	return apart, err
}

// spillFault is an error of writing what memory is not to hold.
func spillFault(err error) error {
	if err == nil || pavise.KindOf(err) == pavise.Unverified {
		return err
	}
	e := &pavise.Error{Kind: pavise.Unavailable, Msg: "write digests of rows to be sorted", Hint: "make room: 32 bytes a row are needed, and given back at the end", Err: err}
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		e.Msg += ": " + p.Err.Error()
	}
	return e
}
