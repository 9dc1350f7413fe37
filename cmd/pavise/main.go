package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"reflect"
	"slices"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/fleet"
	"github.com/pavise/pavise/internal/installation"
	"github.com/pavise/pavise/internal/role"
	"github.com/pavise/pavise/internal/screen"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the program with its edges handed in, so that tests run it whole. It
// returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	c := &cli{stdout: screen.NewTerminal(stdout), stderr: screen.NewTerminal(stderr)}
	exit := -1
	parser, err := c.parser(func(code int) { exit = code })
	if err != nil {
		fmt.Fprintln(c.stderr, "pavise: error:", err) // a wrong struct tag: our own bug
		return 1
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	if args[0] == "help" {
		args = append(args[1:len(args):len(args)], "--help")
	}
	kctx, err := parser.Parse(args)
	if exit >= 0 {
		return exit // --help was printed
	}
	if err != nil {
		c.JSON = c.JSON || slices.Contains(args, "--json") // the parser may not have come to it
		return c.fail(usage(err))
	}
	c.typed = map[string]bool{}
	for _, p := range kctx.Path {
		if p.Flag != nil && !p.Resolved {
			c.typed[p.Flag.Name] = true
		}
	}
	if err := c.do(ctx, kctx); err != nil {
		return c.fail(err)
	}
	return 0
}

// The words of --help's first screen.
const about = `The shield between an organisation's AI models and everything that touches them.

Start with "pavise up": it needs no file and no other program.`

func options(c *cli, exit func(int)) []kong.Option {
	return []kong.Option{
		kong.Name("pavise"),
		kong.Description(about),
		kong.Writers(c.stdout, c.stderr),
		kong.Exit(exit),
		kong.NamedMapper("textfile", kong.MapperFunc(readText)),
		kong.TypeMapper(reflect.TypeFor[pavise.Name](), kong.MapperFunc(c.readName)),
		kong.Vars{"data": installation.DefaultData, "datavariable": installation.DataVariable, "listen": role.DefaultListen,
			"identity": fleet.DefaultIdentity(), "identityvariable": fleet.IdentityVariable},
		kong.ValueFormatter(helpText),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true, WrapUpperBound: 100}),
	}
}

// helpText is what help says of a flag or argument: with its default, unless its
// own words have that, and the environment variable it may come from.
func helpText(value *kong.Value) string {
	told := *value
	if said, sentence := strings.CutSuffix(told.Help, "."); value.HasDefault && value.Default != "" && !strings.Contains(said, "default") {
		told.Help = fmt.Sprintf("%s (default %s)", said, value.Default)
		if sentence {
			told.Help += "."
		}
	}
	return kong.DefaultHelpValueFormatter(&told)
}

// readText fills a string field with the content of the file that is named.
func readText(ctx *kong.DecodeContext, field reflect.Value) error {
	var path string
	if err := ctx.Scan.PopValueInto("file", &path); err != nil {
		return err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return &pavise.Error{Kind: pavise.Invalid, Msg: err.Error(), Hint: "name a file that is there and that you may read", Err: err}
	}
	field.SetString(string(text))
	return nil
}
