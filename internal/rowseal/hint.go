package rowseal

import "io/fs"

// A Hint is what a file system says of a file without reading it. Where nothing of it
// changed, most likely nobody wrote to the file; whoever can set clocks and times can fake
// all but Changed and Inode.
type Hint struct {
	Size     int64  `json:"size"`
	Modified int64  `json:"modified"`          // nanoseconds since 1970
	Changed  int64  `json:"changed,omitempty"` // of the inode; nanoseconds since 1970; 0: nobody says
	Inode    uint64 `json:"inode,omitempty"`   // 0: nobody says
	Device   uint64 `json:"device,omitempty"`
}

// HintOf is what is known of a file.
func HintOf(info fs.FileInfo) Hint {
	h := Hint{Size: info.Size(), Modified: info.ModTime().UnixNano()}
	h.system(info)
	return h
}
