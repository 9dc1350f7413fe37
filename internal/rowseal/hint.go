package rowseal

import (
	"io/fs"
	"time"
)

// A Hint is what a file system says of a file, or a store of an object, without reading it.
// Where nothing of it changed, most likely nobody wrote to it; whoever can set clocks and times
// can fake all but Changed and Inode, and whoever runs the store all of it.
type Hint struct {
	Size     int64  `json:"size"`
	Modified int64  `json:"modified"`          // nanoseconds since 1970
	Changed  int64  `json:"changed,omitempty"` // of the inode; nanoseconds since 1970; 0: nobody says
	Inode    uint64 `json:"inode,omitempty"`   // 0: nobody says
	Device   uint64 `json:"device,omitempty"`

	ETag    string `json:"etag,omitempty"`    // of an object: what its store says of the content
	Version string `json:"version,omitempty"` // of an object: what its store calls it

	// The file was written so shortly before it was read that a later write may have left the
	// same times: it is equal to no hint of a file.
	Young bool `json:"young,omitempty"`
}

// settled is how long times take to change for sure: the coarsest clock of file systems that
// are about ticks every two seconds.
const settled = 2 * time.Second

// ReadAt is the hint of a file that begins to be read at a time. Objects are put whole and
// have another ETag with another content, and so are never young.
func (h Hint) ReadAt(at time.Time) Hint {
	h.Young = h.ETag == "" && h.Version == "" && at.UnixNano()-max(h.Modified, h.Changed) < int64(settled)
	return h
}

// HintOf is what is known of a file.
func HintOf(info fs.FileInfo) Hint {
	h := Hint{Size: info.Size(), Modified: info.ModTime().UnixNano()}
	h.system(info)
	return h
}
