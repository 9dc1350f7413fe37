package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/pavise/pavise"
)

// MaxSize bounds a file, in bytes.
const MaxSize = 1 << 20

// The bounds of what is looked at in a file: no honest one comes near.
const (
	maxDepth  = 16
	maxFaults = 20
	maxShown  = 80 // characters of a foreign word in a fault
)

// Parse reads a pavise.yaml. name is what faults call it. The error is of kind
// Invalid and names every fault: its line, its field and what to do.
func Parse(name string, text []byte) (*File, error) { return Check(name, text, nil) }

// A Look finds what is wrong with one of the first models of a tenant beyond what its
// fields are, without asking a server, and tells of each the field and an error in our
// words; no field is the whole.
type Look func(tenant string, r Route, wrong func(field string, err error))

// Check is Parse that has all first models looked at.
func Check(name string, text []byte, look Look) (*File, error) {
	if len(text) > MaxSize {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s is %d bytes long, more than %d", name, len(text), MaxSize), Hint: "policies and models are put with verbs, not configured"}
	}
	file := &File{}
	f, err := read(name, text, file, "pavise.yaml", "pavise config example serve prints a file to begin with")
	if err == nil && len(*f.all) == 0 { // else the values may be missing
		file.check(f)
		if look != nil {
			file.look(f, look)
		}
		err = f.err(name)
	}
	return file, err
}

// read decodes a file strictly into a struct. what is what such files are called, and
// begin is where a good one is to be seen. The faults that it returns have nothing in
// them yet, and know the lines of all fields.
func read(name string, text []byte, into any, what, begin string) (*faults, error) {
	root, err := document(name, text, begin)
	if err != nil {
		return nil, err
	}
	f := &faults{all: &[]fault{}, lines: map[string]int{}, what: what, begin: begin}
	f.decode(root, reflect.ValueOf(into).Elem(), 0)
	return f, f.err(name)
}

// document reads the one document that a file is, as nodes.
func document(name string, text []byte, begin string) (*yaml.Node, error) {
	broken := func(err error) error {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s cannot be read as YAML: %s", name, clip(strings.TrimPrefix(err.Error(), "yaml: "))), Hint: begin, Err: err}
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var root, more yaml.Node
	if err := decoder.Decode(&root); errors.Is(err, io.EOF) {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: name + " is empty", Hint: begin}
	} else if err != nil {
		return nil, broken(err)
	}
	if err := decoder.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, broken(errors.New("there is more than one document in it"))
	}
	if root.Kind != yaml.DocumentNode || len(root.Content) != 1 {
		return nil, broken(errors.New("it holds nothing"))
	}
	return root.Content[0], nil
}

// look has the first models looked at.
func (file *File) look(f *faults, look Look) {
	each := func(part, tenant string, routes []Route) {
		for i, r := range routes {
			at := f.in(part).in("bootstrap").in("routes").in(strconv.Itoa(i))
			look(tenant, r, func(field string, err error) {
				what, fix := err.Error(), "pavise route put --help says what it takes"
				if e, ok := errors.AsType[*pavise.Error](err); ok {
					what, fix = e.Msg, cmp.Or(e.Hint, fix)
				}
				at.add(field, what, fix)
			})
		}
	}
	if file.Up != nil && file.Up.Bootstrap != nil {
		each("up", UpTenant, file.Up.Bootstrap.Routes)
	}
	if file.Serve != nil && file.Serve.Bootstrap != nil {
		each("serve", file.Serve.Tenant, file.Serve.Bootstrap.Routes)
	}
}

func (file *File) check(f *faults) {
	if file.Up == nil && file.Serve == nil && file.Gateway == nil && file.Agent == nil {
		f.add("", "the file is for no role", "begin it with up:, serve:, gateway: or agent:")
	}
	if file.Up != nil {
		file.Up.check(f.in("up"))
	}
	if file.Serve != nil {
		file.Serve.check(f.in("serve"))
	}
	if file.Gateway != nil {
		file.Gateway.check(f.in("gateway"))
	}
	if file.Agent != nil {
		file.Agent.check(f.in("agent"))
	}
}

// A fault is one thing that is wrong with a file.
type fault struct {
	line      int
	field     string
	what, fix string
}

// faults collects what is wrong. The ones of a nested field are the same list,
// under its name.
type faults struct {
	all   *[]fault
	lines map[string]int // field → the line where it stands
	field string
	what  string // what such files are called
	begin string // where a good one is to be seen
}

// in returns the faults of a nested field.
func (f *faults) in(key string) *faults {
	return &faults{all: f.all, lines: f.lines, field: join(f.field, key), what: f.what, begin: f.begin}
}

func join(field, key string) string {
	if field == "" || key == "" {
		return field + key
	}
	return field + "." + key
}

// add tells that a field is wrong, at its own line or that of the nearest field
// around it.
func (f *faults) add(key, what, fix string) {
	field := join(f.field, key)
	line, at := 0, field
	for line == 0 {
		line = f.lines[at]
		i := strings.LastIndexByte(at, '.')
		if i < 0 {
			break
		}
		at = at[:i]
	}
	f.addAt(max(line, 1), field, what, fix)
}

func (f *faults) addAt(line int, field, what, fix string) {
	if len(*f.all) < maxFaults {
		*f.all = append(*f.all, fault{line: line, field: field, what: what, fix: fix})
	}
}

// err returns the faults as one error, in the order of their lines.
func (f *faults) err(name string) error {
	if len(*f.all) == 0 {
		return nil
	}
	slices.SortStableFunc(*f.all, func(a, b fault) int { return a.line - b.line })
	var msgs, fixes []string
	for _, fault := range *f.all {
		msgs = append(msgs, fmt.Sprintf("%s:%d: %s", name, fault.line, strings.TrimSpace(fault.field+" "+fault.what)))
		fix := fault.fix
		if len(*f.all) > 1 {
			fix = fmt.Sprintf("line %d: %s", fault.line, fix)
		}
		fixes = append(fixes, fix)
	}
	return &pavise.Error{Kind: pavise.Invalid, Msg: strings.Join(msgs, "\n"), Hint: strings.Join(fixes, "\n")}
}

// decode puts a node into a value, strictly.
func (f *faults) decode(node *yaml.Node, into reflect.Value, depth int) {
	if f.lines[f.field] == 0 {
		f.lines[f.field] = node.Line
	}
	switch {
	case depth > maxDepth:
		f.addAt(node.Line, f.field, "is nested too deeply", f.begin)
		return
	case node.Kind == yaml.AliasNode || node.Anchor != "":
		f.addAt(node.Line, f.field, "uses an anchor or an alias", "write the value where it belongs")
		return
	case node.Style&yaml.TaggedStyle != 0:
		f.addAt(node.Line, f.field, fmt.Sprintf("has the tag %s", clip(node.Tag)), "leave the tag out")
		return
	}
	if into.Kind() == reflect.Pointer {
		into.Set(reflect.New(into.Type().Elem()))
		into = into.Elem()
	}
	switch {
	case into.Type() == reflect.TypeFor[time.Duration]():
		f.durationOf(node, into)
	case into.Kind() == reflect.Struct:
		f.structOf(node, into, depth)
	case into.Kind() == reflect.Map:
		f.mapOf(node, into, depth)
	case into.Kind() == reflect.Slice:
		f.listOf(node, into, depth)
	case into.Kind() == reflect.Bool:
		f.boolOf(node, into)
	default:
		f.stringOf(node, into)
	}
}

// wrong tells that a node is of another type.
func (f *faults) wrong(node *yaml.Node, want, fix string) {
	is := map[yaml.Kind]string{yaml.MappingNode: "a block of fields", yaml.SequenceNode: "a list"}[node.Kind]
	switch {
	case node.Kind == yaml.ScalarNode && node.ShortTag() == "!!null":
		is = "empty"
	case node.Kind == yaml.ScalarNode:
		is = strconv.Quote(clip(node.Value))
	}
	f.addAt(node.Line, f.field, fmt.Sprintf("is %s, not %s", is, want), fix)
}

func (f *faults) stringOf(node *yaml.Node, into reflect.Value) {
	if node.Kind != yaml.ScalarNode || node.ShortTag() == "!!null" {
		f.wrong(node, "a text", "write a value, or leave the field out")
		return
	}
	if strings.ContainsFunc(node.Value, func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' || r == 0x7f }) {
		f.wrong(node, "plain text", "leave control characters out")
		return
	}
	into.SetString(node.Value)
}

func (f *faults) boolOf(node *yaml.Node, into reflect.Value) {
	if node.Kind != yaml.ScalarNode || node.Value != "true" && node.Value != "false" {
		f.wrong(node, "true or false", "write true or false")
		return
	}
	into.SetBool(node.Value == "true")
}

func (f *faults) durationOf(node *yaml.Node, into reflect.Value) {
	d, err := time.ParseDuration(node.Value)
	if node.Kind != yaml.ScalarNode || err != nil || d <= 0 {
		f.wrong(node, "a duration", "write a number and a unit, for example 1h or 90s")
		return
	}
	into.SetInt(int64(d))
}

func (f *faults) listOf(node *yaml.Node, into reflect.Value, depth int) {
	if node.Kind != yaml.SequenceNode {
		f.wrong(node, "a list", "write one value a line, each behind a dash")
		return
	}
	into.Set(reflect.MakeSlice(into.Type(), len(node.Content), len(node.Content)))
	for i, child := range node.Content {
		f.in(strconv.Itoa(i)).decode(child, into.Index(i), depth+1)
	}
}

func (f *faults) mapOf(node *yaml.Node, into reflect.Value, depth int) {
	into.Set(reflect.MakeMap(into.Type()))
	f.eachKey(node, func(key, child *yaml.Node) {
		value := reflect.New(into.Type().Elem()).Elem()
		f.in(key.Value).decode(child, value, depth+1)
		into.SetMapIndex(reflect.ValueOf(key.Value), value)
	})
}

// structOf decodes a block of known fields.
func (f *faults) structOf(node *yaml.Node, into reflect.Value, depth int) {
	known := map[string]int{}
	for i := range into.NumField() {
		known[into.Type().Field(i).Tag.Get("yaml")] = i
	}
	found := map[string]bool{}
	f.eachKey(node, func(key, child *yaml.Node) {
		i, ok := known[key.Value]
		if !ok {
			f.addAt(key.Line, join(f.field, clip(key.Value)), "is no field of "+f.what, nearest(key.Value, known))
			return
		}
		found[key.Value] = true
		f.in(key.Value).decode(child, into.Field(i), depth+1)
	})
	for i := range into.NumField() {
		tag := into.Type().Field(i).Tag
		if key := tag.Get("yaml"); tag.Get("need") != "" && node.Kind == yaml.MappingNode && (!found[key] || empty(into.Field(i)) && f.clean(key)) {
			f.addAt(node.Line, join(f.field, key), "is missing", "for example "+key+": "+tag.Get("example"))
		}
	}
}

// empty reports whether a field holds nothing.
func empty(v reflect.Value) bool { return v.IsZero() || v.Kind() == reflect.Slice && v.Len() == 0 }

// clean reports whether nothing was said against a field yet.
func (f *faults) clean(key string) bool {
	field := join(f.field, key)
	return !slices.ContainsFunc(*f.all, func(fault fault) bool { return fault.field == field })
}

// eachKey calls do for every key of a block that stands there once.
func (f *faults) eachKey(node *yaml.Node, do func(key, value *yaml.Node)) {
	if node.Kind != yaml.MappingNode {
		f.wrong(node, "a block of fields", "write its fields below it, each on a line, two spaces further right")
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i]
		if key.Kind != yaml.ScalarNode || key.ShortTag() == "!!merge" || key.Anchor != "" || key.Style&yaml.TaggedStyle != 0 {
			f.addAt(key.Line, f.field, "has a key that is no plain word", "write plain keys; there is no merging here")
			continue
		}
		if before, twice := seen[key.Value]; twice {
			f.addAt(key.Line, join(f.field, clip(key.Value)), fmt.Sprintf("stands in line %d already", before), "keep one of the two")
			continue
		}
		seen[key.Value] = key.Line
		f.lines[join(f.field, key.Value)] = key.Line
		do(key, node.Content[i+1])
	}
}

// nearest is the advice for a key that is none.
func nearest(word string, known map[string]int) string {
	best, least := "", 3
	keys := make([]string, 0, len(known))
	for key := range known {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		if d := distance(word, key); d < least {
			best, least = key, d
		}
	}
	if best != "" {
		return "did you mean " + best + "?"
	}
	return "known are " + strings.Join(keys, ", ")
}

// distance is how many letters to change, to add or to leave out (Levenshtein),
// and more than two for words that are much longer.
func distance(a, b string) int {
	if len(a) > len(b)+2 || len(b) > len(a)+2 {
		return 3
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0]++
		for j := range len(b) {
			cost := before
			if a[i] != b[j] {
				cost++
			}
			before = row[j+1]
			row[j+1] = min(cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}

// clip shortens a foreign word to what a line has room for.
func clip(s string) string {
	if r := []rune(s); len(r) > maxShown {
		return string(r[:maxShown-1]) + "…"
	}
	return s
}
