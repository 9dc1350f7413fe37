package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// completionCommand is pavise completion.
type completionCommand struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help says how the script is used. It is kong's hook for a command's help.
func (*completionCommand) Help() string {
	return `Load it in the shell, or in the file that the shell reads when it starts:

  bash   source <(pavise completion bash)
  zsh    source <(pavise completion zsh)
  fish   pavise completion fish | source`
}

func (cmd *completionCommand) run(_ context.Context, c *cli) error {
	parser, err := c.parser(func(int) {})
	if err != nil {
		return fmt.Errorf("list the commands: %w", err)
	}
	words := &vocabulary{next: map[string][]string{}}
	words.collect("", parser.Model.Node)
	for path := range words.next {
		if path != "" {
			words.next[path] = append(words.next[path], words.global...)
		}
	}
	switch cmd.Shell {
	case "fish":
		words.writeFish(c.stdout)
	case "zsh":
		fmt.Fprintln(c.stdout, "autoload -U +X bashcompinit && bashcompinit")
		words.writeBash(c.stdout)
	default:
		words.writeBash(c.stdout)
	}
	return nil
}

// A vocabulary is what may be said to the program.
type vocabulary struct {
	next   map[string][]string // path of commands → the words that may come next
	valued []string            // flags whose next word is their value
	global []string            // flags that every command takes
}

// collect adds a command and those below it.
func (v *vocabulary) collect(path string, node *kong.Node) {
	for _, child := range node.Children {
		if child.Hidden {
			continue
		}
		v.next[path] = append(v.next[path], child.Name)
		v.collect(strings.TrimSpace(path+" "+child.Name), child)
	}
	for _, flag := range node.Flags {
		if flag.Hidden {
			continue
		}
		name := "--" + flag.Name
		v.next[path] = append(v.next[path], name)
		if path == "" {
			v.global = append(v.global, name)
		}
		if !flag.IsBool() {
			v.valued = append(v.valued, name)
		}
	}
}

// The parts of the bash function, which finds the commands before the cursor,
// passing over flags and their values, and offers what may follow, or files.
const (
	bashHead = `_pavise() {
  local path='' next='' skip='' word
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case $word in =) skip=1; continue ;; esac
    if [ -n "$skip" ]; then skip=''; continue; fi
    case $word in
      %s) skip=1 ;;
      -*) ;;
      *) path="${path:+$path }$word" ;;
    esac
  done
  case $path in
`
	bashTail = `  esac
  COMPREPLY=($(compgen -W "$next" -- "${COMP_WORDS[COMP_CWORD]}"))
  [ -n "$skip" ] && COMPREPLY=()
  [ ${#COMPREPLY[@]} -eq 0 ] && COMPREPLY=($(compgen -f -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -F _pavise pavise
`
)

func (v *vocabulary) writeBash(w io.Writer) {
	slices.Sort(v.valued)
	fmt.Fprintf(w, bashHead, strings.Join(slices.Compact(v.valued), "|"))
	for _, path := range v.paths() {
		if path == "" {
			fmt.Fprintf(w, "    '') next='%s' ;;\n", strings.Join(v.next[path], " "))
		} else {
			fmt.Fprintf(w, "    '%s'|'%s '*) next='%s' ;;\n", path, path, strings.Join(v.next[path], " "))
		}
	}
	fmt.Fprint(w, bashTail)
}

// writeFish writes one line for each word and where it may stand.
func (v *vocabulary) writeFish(w io.Writer) {
	for _, path := range v.paths() {
		condition := "__fish_use_subcommand"
		if path != "" {
			condition = "__fish_seen_subcommand_from " + strings.ReplaceAll(path, " ", "; and __fish_seen_subcommand_from ")
		}
		for _, word := range v.next[path] {
			if flag, ok := strings.CutPrefix(word, "--"); ok {
				fmt.Fprintf(w, "complete -c pavise -n '%s' -l %s\n", condition, flag)
			} else {
				fmt.Fprintf(w, "complete -c pavise -f -n '%s' -a %s\n", condition, word)
			}
		}
	}
}

// paths are the known paths, deeper ones first, so that a case statement meets
// them in the right order.
func (v *vocabulary) paths() []string {
	return slices.SortedFunc(maps.Keys(v.next), func(a, b string) int {
		return cmp.Or(strings.Count(b, " ")-strings.Count(a, " "), strings.Compare(b, a))
	})
}
