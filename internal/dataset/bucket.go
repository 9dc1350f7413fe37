package dataset

import (
	"context"
	"fmt"
	"path"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/rowseal"
	"github.com/pavise/pavise/internal/store/blob"
)

// A bucket has a dataset in the objects below a prefix, or in one object.
type bucket struct {
	source blob.Source
	key    string // of the one object, or what keys of the dataset begin with
	one    bool
}

// openBucket opens the dataset at the address of a bucket. Without a slash at its end the
// address is of an object, if there is one of this key, and of what lies below it otherwise;
// where both are, nobody knows which of them others read, and it is refused.
func openBucket(ctx context.Context, address string) (*place, error) {
	source, at, err := blob.Look(ctx, address)
	if err != nil {
		return nil, err
	}
	b := &bucket{source: source, key: at.Key}
	p := &place{store: b, url: at.URL + at.Key}
	if at.Key == "" || strings.HasSuffix(at.Key, "/") {
		return p, nil
	}
	object, below, err := b.look(ctx)
	switch {
	case err != nil:
		return nil, err
	case object && below:
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: rowseal.Shown(p.url) + " is an object, and others lie below it", Hint: "name what lies below it with a slash at the end; move the object elsewhere to seal it"}
	case object:
		b.one, p.one = true, path.Base(at.Key)
	default:
		b.key += "/"
	}
	return p, nil
}

// look reports whether there is an object of this key, and whether there are others below.
func (b *bucket) look(ctx context.Context) (object, below bool, err error) {
	for v, err := range b.source.Objects(ctx, b.key) {
		if err != nil {
			return false, false, err
		}
		if v.Key != b.key {
			break
		}
		object = true
	}
	for _, err := range b.source.Objects(ctx, b.key+"/") {
		return object, err == nil, err
	}
	return object, false, nil
}

func (b *bucket) close() error { return nil }

// each is store's. What programs put there so that an empty directory shows, an empty object
// whose key ends with a slash, is passed over.
func (b *bucket) each(ctx context.Context, found func(entry) error, refuse func(name string, why error) error) error {
	for v, err := range b.source.Objects(ctx, b.key) {
		if err != nil {
			return err
		}
		name, within := strings.CutPrefix(v.Key, b.key)
		switch {
		case !within:
			return &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("the store lists %.200q, which was not asked for", v.Key), Hint: "it does not do what is known of it"}
		case b.one && name != "":
			return nil // keys that only begin alike; the one object is the first
		case b.one:
			name = "."
		case v.Size == 0 && (name == "" || strings.HasSuffix(name, "/")):
			continue
		}
		if v.ETag == "" && v.ID == "" {
			err = refuse(name, &pavise.Error{Kind: pavise.Invalid, Msg: rowseal.Shown(v.Key) + " has neither a version nor an ETag: whether it changes while it is read cannot be found", Hint: "copy it, and seal the copy"})
		} else {
			err = found(entry{path: name, name: v.Key, far: true, hint: hintOf(v)})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// hintOf is what the store says of an object without its being read.
func hintOf(v blob.Version) rowseal.Hint {
	h := rowseal.Hint{Size: v.Size, ETag: v.ETag, Version: v.ID}
	if !v.Modified.IsZero() {
		h.Modified = v.Modified.UnixNano()
	}
	return h
}

// open is store's. Each request that reads the object says of which version.
func (b *bucket) open(ctx context.Context, e *entry) (content, error) {
	v := blob.Version{Key: e.name, Size: e.size(), ID: e.hint.Version, ETag: e.hint.ETag, Newest: true}
	return &object{blob.NewContent(ctx, b.source, v), e}, nil
}

// An object is the content of one.
type object struct {
	*blob.Content
	entry *entry
}

// ReadAt implements io.ReaderAt.
func (o *object) ReadAt(p []byte, at int64) (int, error) {
	n, err := o.Content.ReadAt(p, at)
	if kind := pavise.KindOf(err); kind == pavise.Conflict || kind == pavise.NotFound {
		err = o.entry.changed()
	}
	return n, err
}

// still is content's: what was read was all of the version that was found. Whether that is the
// newest still, the list says that is made when all is sealed.
func (o *object) still(size int64) error {
	if size != o.entry.size() {
		return o.entry.changed()
	}
	return nil
}
