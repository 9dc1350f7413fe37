//go:build !linux

package disk

import "os"

func syncData(f *os.File) error { return f.Sync() }

// reserve does nothing: without fallocate there is no reserve for a full disk.
func reserve(*os.File, int64) error { return nil }
