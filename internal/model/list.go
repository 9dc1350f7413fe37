package model

import (
	"context"
	"crypto/sha256"
	"slices"
	"strings"

	"github.com/pavise/pavise/internal/oms"
)

// A List hashes the files of a model, as a signature would list them.
type List struct {
	Say       func(text string) // gets a line of progress now and then; nil: nobody watches
	Path      string            // the directory, or the file, of the model
	Ignore    []string          // paths from its top that are no part of it
	Signature string            // a file that is none either, wherever it lies; empty: there is none
}

// A Hashed is one file of a model. That of a model that is one file has the path ".".
type Hashed struct {
	Path   string
	Size   int64
	SHA256 [sha256.Size]byte
}

// Run hashes, and returns the files by path. Errors are of kind Invalid for what can be no
// part of a model, Conflict for what changed meanwhile, NotFound and Denied for files, and
// Unavailable for the disk.
//
// Unguarded: whoever runs it reads their own files, as themselves; no principal of an
// installation acts.
func (l *List) Run(ctx context.Context) (files []Hashed, err error) {
	p, err := openPlace(l.Path)
	if err != nil {
		return nil, err
	}
	defer p.close()
	s := &Sign{Say: l.Say, Path: l.Path, Ignore: l.Ignore}
	if _, err := s.ignored(p, l.Signature); err != nil {
		return nil, err
	}
	found, err := s.found(ctx, p)
	if err != nil {
		return nil, err
	}
	var pieces []piece
	for i := range found.files {
		pieces = append(pieces, cut(&found.files[i], 0)...)
	}
	if err := p.sums(ctx, pieces, oms.Hash("sha256"), l.Say); err != nil {
		return nil, err
	}
	for _, one := range pieces {
		files = append(files, Hashed{one.of.path, one.size, [sha256.Size]byte(one.sum)})
	}
	slices.SortFunc(files, func(a, b Hashed) int { return strings.Compare(a.Path, b.Path) })
	return files, p.settled(ctx, found)
}
