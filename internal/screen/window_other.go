//go:build !unix

package screen

import "os"

// windowColumns knows nothing of other systems' terminals.
func windowColumns(*os.File) int { return 0 }
