package installation

import (
	"os"
	"runtime/debug"
	"strings"

	"github.com/pavise/pavise/internal/fleet"
)

// Quote makes a path one word of a shell.
func Quote(path string) string { return fleet.Quote(path) }

// Command is a command of this program about the data directory, as it can be
// pasted where this process was started.
func (d Data) Command(words string) string {
	if d != DefaultData || os.Getenv(DataVariable) != "" {
		words += " --data " + Quote(string(d))
	}
	return Program() + " " + words
}

// Program is how this program was called, fit to be pasted.
func Program() string {
	if strings.Contains(os.Args[0], "go-build") {
		return "go run ./cmd/pavise"
	}
	return Quote(os.Args[0])
}

// Version is the module's version, or that of the source it was built from.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || strings.TrimPrefix(info.Main.Version, "(devel)") == "" {
		return "unreleased"
	}
	return info.Main.Version
}
