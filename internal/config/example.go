package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/pavise/pavise"
)

// Roles are the roles that have a part in the file.
func Roles() []string { return []string{"up", "serve", "gateway", "agent"} }

// Example returns a commented pavise.yaml for a role. Fields that may be left out
// stand behind a # without a space; take it away to use them.
func Example(role string) (string, error) {
	t := reflect.TypeFor[File]()
	for i := range t.NumField() {
		if t.Field(i).Tag.Get("yaml") != role {
			continue
		}
		var w strings.Builder
		fmt.Fprintf(&w, "# pavise.yaml for pavise %s. Check it: pavise config check FILE.\n", role)
		fmt.Fprintf(&w, "# What stands behind a # without a space may be left out: take the # away to use it.\n%s:\n", role)
		writeFields(&w, t.Field(i).Type.Elem(), "  ", "")
		return w.String(), nil
	}
	return "", &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("there is no role %.40q with a configuration", role), Hint: "the roles are " + strings.Join(Roles(), ", ")}
}

// writeFields writes the fields of a struct. mark, which is # or nothing, stands
// before those that are needed; the others have it anyway.
func writeFields(w *strings.Builder, t reflect.Type, indent, mark string) {
	for i := range t.NumField() {
		field := t.Field(i)
		before := mark
		switch {
		case field.Tag.Get("instead") != "": // not both at once: it stays a comment
			before = "# "
		case field.Tag.Get("need") == "" && field.Tag.Get("shown") == "": // shown: one of several that are needed
			before = "#"
		}
		writeComment(w, indent, field.Tag.Get("doc"))
		writeValue(w, field, indent, before)
	}
}

// writeValue writes a field's key and its example.
func writeValue(w *strings.Builder, field reflect.StructField, indent, mark string) {
	t := field.Type
	block := t.Kind() == reflect.Pointer || t.Kind() == reflect.Map || t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct
	fmt.Fprintf(w, "%s%s%s:", indent, mark, field.Tag.Get("yaml"))
	switch {
	case !block:
		fmt.Fprintf(w, " %s\n", field.Tag.Get("example"))
	case t.Kind() == reflect.Pointer:
		fmt.Fprintln(w)
		writeFields(w, t.Elem(), indent+"  ", mark)
	case t.Kind() == reflect.Map:
		fmt.Fprintf(w, "\n%s  %s%s\n", indent, mark, field.Tag.Get("example"))
	default:
		fmt.Fprintln(w)
		writeItem(w, t.Elem(), indent+"  ", mark)
	}
}

// writeItem writes one item of a list of structs, its first field behind a dash.
func writeItem(w *strings.Builder, t reflect.Type, indent, mark string) {
	var fields strings.Builder
	writeFields(&fields, t, indent+"  ", mark)
	first := indent + "  " + mark + t.Field(0).Tag.Get("yaml") + ":"
	w.WriteString(strings.Replace(fields.String(), first, indent+mark+"- "+t.Field(0).Tag.Get("yaml")+":", 1))
}

// writeComment writes a comment in lines of at most 100 characters.
func writeComment(w *strings.Builder, indent, text string) {
	const width = 100
	var lines []string
	for word := range strings.FieldsSeq(text) {
		last := len(lines) - 1
		if last < 0 || len(indent)+len(lines[last])+len(word)+3 > width {
			lines = append(lines, word)
			continue
		}
		lines[last] += " " + word
	}
	for _, line := range slices.Compact(lines) {
		fmt.Fprintf(w, "%s# %s\n", indent, line)
	}
}
