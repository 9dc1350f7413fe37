package role

import (
	"fmt"
	"os"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/config"
	"github.com/pavise/pavise/internal/installation"
)

// readModelKeys reads the files with which servers of language models let us in, by
// address. No error shows what they hold.
func readModelKeys(files []config.ModelKey) (map[string]string, error) {
	keys := map[string]string{}
	for _, k := range files {
		refuse := func(why, hint string) error {
			return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the key of %s, %s, %s", k.Address, k.File, why), Hint: hint}
		}
		info, err := os.Stat(k.File)
		if err != nil {
			return nil, refuse("cannot be read: "+err.Error(), "model_keys in pavise.yaml names it")
		}
		if mode := info.Mode().Perm(); mode&0o077 != 0 {
			return nil, refuse(fmt.Sprintf("has mode %#o, and others can reach it", mode), "chmod 600 "+installation.Quote(k.File))
		}
		text, err := os.ReadFile(k.File)
		if err != nil {
			return nil, refuse("cannot be read: "+err.Error(), "model_keys in pavise.yaml names it")
		}
		if _, twice := keys[k.Address]; twice {
			return nil, refuse("is the second one", "one server has one key here")
		}
		keys[k.Address] = strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	}
	return keys, nil
}
