package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/config"
	"github.com/pavise/pavise/internal/role"
)

// configCommand is pavise config: it reads files, needs no server, and records
// nothing.
type configCommand struct {
	Check   configCheck   `cmd:"" help:"Say what is wrong with a pavise.yaml, or that nothing is."`
	Example configExample `cmd:"" help:"Print a commented pavise.yaml for a role."`
}

// configCheck is pavise config check.
type configCheck struct {
	File string `arg:"" help:"The file."`
}

func (k *configCheck) run(_ context.Context, c *cli) error {
	file, err := readConfigAs(k.File, role.LookAt)
	if err != nil {
		return err
	}
	if c.JSON {
		return c.printJSON(map[string]any{"file": k.File, "roles": file.Roles()})
	}
	fmt.Fprintf(c.stdout, "%s is good, for pavise %s\n", k.File, strings.Join(file.Roles(), " and pavise "))
	return nil
}

// configExample is pavise config example.
type configExample struct {
	Role string `arg:"" enum:"up,serve,gateway,agent" help:"up, serve, gateway or agent."`
}

func (e *configExample) run(_ context.Context, c *cli) error {
	text, err := config.Example(e.Role)
	if err != nil {
		return err
	}
	_, err = io.WriteString(c.stdout, text)
	return err
}

// readConfig reads a pavise.yaml.
func readConfig(path string) (*config.File, error) { return readConfigAs(path, nil) }

// readConfigAs reads one, and has its first models looked at, unless look is nil.
func readConfigAs(path string, look config.Look) (*config.File, error) {
	f, err := os.Open(path)
	if err != nil {
		hint := "name a file that is there and that you may read"
		if errors.Is(err, os.ErrNotExist) {
			hint = "pavise config example up prints one to begin with, or example serve, gateway or agent"
		}
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("read the configuration: %v", err), Hint: hint, Err: err}
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, config.MaxSize+1))
	if err != nil {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("read the configuration: %v", err), Hint: "name a plain file", Err: err}
	}
	return config.Check(path, text, look)
}
