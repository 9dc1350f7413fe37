package contract

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"math/big"
	"net/mail"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pavise/pavise/internal/table"
)

// A test holds one value to one promise, and says what is wrong with it; "" is nothing.
type test struct {
	rule string
	of   func(v value) string
}

// A value is a cell that is there.
type value struct {
	kind   table.Kind
	text   string
	number float64 // of what is a number, or a text that reads as one; else NaN
	strict bool    // it has a type of its own, as in JSON
	when   time.Time
}

// options says which fields of Options mean something for a type.
var options = map[string][]string{
	"":          nil,
	"string":    {"minLength", "maxLength", "pattern", "format"},
	"integer":   {"multipleOf", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "format"},
	"number":    {"multipleOf", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "format"},
	"date":      {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "format"},
	"timestamp": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "format", "timezone", "defaultTimezone"},
	"time":      {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "format", "timezone", "defaultTimezone"},
	"boolean":   nil,
	"object":    {"minProperties", "maxProperties", "required"},
	"array":     {"minItems", "maxItems", "uniqueItems"},
	"map":       nil,
	"vector":    {"dimensions", "elementType", "normalized", "distanceMetric", "embeddingModel", "embeddingModelVersion"},
}

// given names the options that are set.
func (o *Options) given() (names []string) {
	if o == nil {
		return nil
	}
	for _, f := range []struct {
		name string
		is   bool
	}{
		{"minLength", o.MinLength != nil}, {"maxLength", o.MaxLength != nil}, {"pattern", o.Pattern != ""}, {"format", o.Format != ""},
		{"multipleOf", o.MultipleOf != nil}, {"minimum", o.Minimum != nil}, {"maximum", o.Maximum != nil},
		{"exclusiveMinimum", o.ExclusiveMinimum != nil}, {"exclusiveMaximum", o.ExclusiveMaximum != nil},
		{"timezone", o.Timezone != nil}, {"defaultTimezone", o.DefaultTimezone != nil}, {"minItems", o.MinItems != nil},
		{"maxItems", o.MaxItems != nil}, {"uniqueItems", o.UniqueItems != nil}, {"minProperties", o.MinProperties != nil},
		{"maxProperties", o.MaxProperties != nil}, {"required", o.Required != nil},
		{"dimensions", o.Dimensions != nil}, {"elementType", o.ElementType != nil}, {"normalized", o.Normalized != nil},
		{"distanceMetric", o.DistanceMetric != nil}, {"embeddingModel", o.EmbeddingModel != nil}, {"embeddingModelVersion", o.EmbeddingModelVersion != nil},
	} {
		if f.is {
			names = append(names, f.name)
		}
	}
	return names
}

// ofType holds a value to a logical type. Dates leave the moment in the value.
func ofType(logical string, layouts []string) func(v *value) string {
	is := func(ok bool, v *value) string {
		if ok {
			return ""
		}
		return fmt.Sprintf("%s is no %s", v.shown(), logical)
	}
	switch logical {
	case "string":
		return func(v *value) string { return is(v.kind == table.Text, v) }
	case "integer":
		return func(v *value) string { return is(v.isNumber() && v.number == math.Trunc(v.number), v) }
	case "number":
		return func(v *value) string { return is(v.isNumber(), v) }
	case "boolean":
		return func(v *value) string {
			return is(v.kind == table.Boolean || !v.strict && (strings.EqualFold(v.text, "true") || strings.EqualFold(v.text, "false")), v)
		}
	case "object", "map":
		return func(v *value) string { return is(v.kind == table.Other, v) }
	case "array", "vector":
		return func(v *value) string { return is(v.kind == table.Other || v.kind == table.List, v) }
	case "date", "timestamp", "time":
		return func(v *value) string {
			for _, layout := range layouts {
				if t, err := time.Parse(layout, v.text); err == nil {
					v.when = t
					return ""
				}
			}
			return is(false, v)
		}
	}
	return func(*value) string { return "" }
}

// isNumber reports whether a value is a number, where cells have types, or reads as one.
func (v *value) isNumber() bool {
	return !math.IsNaN(v.number) && v.kind != table.Boolean && (!v.strict || v.kind == table.Number)
}

// shown is a value as errors show it.
func (v *value) shown() string {
	if v.text == "" && v.kind != table.Text {
		return "the " + string(v.kind)
	}
	if utf8.RuneCountInString(v.text) > 40 {
		return strconv.Quote(string([]rune(v.text)[:40])) + "…"
	}
	return strconv.Quote(v.text)
}

// layoutsOf are the layouts of a type's texts, as package time has them.
func layoutsOf(logical, format string) ([]string, error) {
	if format != "" {
		layout, err := javaLayout(format)
		return []string{layout}, err
	}
	return map[string][]string{
		"date":      {"2006-01-02"},
		"timestamp": {time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00"},
		"time":      {"15:04:05.999999999", "15:04"},
	}[logical], nil
}

// javaLayout translates a pattern of Java's DateTimeFormatter, the standard's own.
func javaLayout(format string) (string, error) {
	tokens := map[string]string{
		"yyyy": "2006", "uuuu": "2006", "yy": "06", "MM": "01", "M": "1", "MMM": "Jan", "dd": "02", "d": "2", "HH": "15", "hh": "03", "h": "3",
		"mm": "04", "ss": "05", "SSS": "000", "SSSSSS": "000000", "SSSSSSSSS": "000000000", "a": "PM", "XXX": "Z07:00", "XX": "Z0700", "Z": "-0700", "z": "MST", "EEE": "Mon",
	}
	var b strings.Builder
	for rest := format; rest != ""; {
		c := rest[0]
		switch n := len(rest) - len(strings.TrimLeft(rest, string(c))); {
		case c == '\'':
			end := strings.IndexByte(rest[1:], '\'')
			if end < 0 {
				return "", fmt.Errorf("format %.60q has a quote that does not end", format)
			}
			b.WriteString(rest[1 : 1+end])
			rest = rest[end+2:]
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
			part, known := tokens[rest[:n]]
			if !known {
				return "", fmt.Errorf("format %.60q has %q, which is not read", format, rest[:n])
			}
			b.WriteString(part)
			rest = rest[n:]
		case c >= '0' && c <= '9':
			return "", fmt.Errorf("format %.60q has digits in it", format)
		default:
			b.WriteByte(c)
			rest = rest[1:]
		}
	}
	return b.String(), nil
}

// textFormats are the formats of texts that can be told.
var textFormats = map[string]func(string) bool{
	"email": func(s string) bool { a, err := mail.ParseAddress(s); return err == nil && a.Address == s },
	"uuid": func(s string) bool {
		return uuidShape.MatchString(s)
	},
	"uri":      func(s string) bool { u, err := url.Parse(s); return err == nil && u.Scheme != "" },
	"hostname": func(s string) bool { return len(s) <= 253 && hostShape.MatchString(s) },
	"ipv4":     func(s string) bool { a, err := netip.ParseAddr(s); return err == nil && a.Is4() },
	"ipv6":     func(s string) bool { a, err := netip.ParseAddr(s); return err == nil && a.Is6() },
	"byte":     func(s string) bool { _, err := base64.StdEncoding.DecodeString(s); return err == nil },
}

var (
	uuidShape = regexp.MustCompile(`^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$`)
	hostShape = regexp.MustCompile(`^([a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?\.)*[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?$`)
)

// textTests are the tests of a string's options, and what of them cannot be tested.
func textTests(o *Options) (tests []test, unchecked []string, err error) {
	if o.MinLength != nil {
		n := *o.MinLength
		tests = append(tests, test{"minLength", func(v value) string {
			return unless(utf8.RuneCountInString(v.text) >= n, "%s is shorter than %d characters", v.shown(), n)
		}})
	}
	if o.MaxLength != nil {
		n := *o.MaxLength
		tests = append(tests, test{"maxLength", func(v value) string {
			return unless(utf8.RuneCountInString(v.text) <= n, "%s is longer than %d characters", v.shown(), n)
		}})
	}
	if o.Pattern != "" {
		pattern, err := regexp.Compile(o.Pattern)
		if err != nil {
			return nil, nil, fmt.Errorf("pattern %.60q is none that RE2 reads: %w", o.Pattern, err)
		}
		tests = append(tests, test{"pattern", func(v value) string {
			return unless(pattern.MatchString(v.text), "%s does not match %.60s", v.shown(), o.Pattern)
		}})
	}
	if is, known := textFormats[o.Format]; known {
		tests = append(tests, test{"format", func(v value) string { return unless(is(v.text), "%s is no %s", v.shown(), o.Format) }})
	} else if o.Format != "" {
		unchecked = append(unchecked, fmt.Sprintf("format %.40q: nothing here knows it", o.Format))
	}
	return tests, unchecked, nil
}

// numberTests are the tests of a number's options.
func numberTests(logical string, o *Options) (tests []test, err error) {
	if tests, err = boundTests(o, numberOf, func(v value, bound float64) int { return compare(v.number, bound) }); err != nil {
		return nil, err
	}
	if o.MultipleOf != nil {
		of := *o.MultipleOf
		if !(of > 0) || math.IsInf(of, 0) {
			return nil, fmt.Errorf("multipleOf is %v, and a number is a multiple of one above 0", of)
		}
		tests = append(tests, test{"multipleOf", func(v value) string {
			return unless(isMultiple(v.number, of), "%s is no multiple of %v", v.shown(), of)
		}})
	}
	if o.Format != "" {
		format, err := widthTest(logical, o.Format)
		if err != nil {
			return nil, err
		}
		tests = append(tests, format)
	}
	return tests, nil
}

func compare(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// isMultiple allows for the last digit of a binary number: 0.3 is a multiple of 0.1.
func isMultiple(x, of float64) bool {
	n := x / of
	return math.Abs(n-math.Round(n)) <= 1e-9*math.Max(1, math.Abs(n))
}

// widthTest holds numbers to a width in bits.
func widthTest(logical, format string) (test, error) {
	if logical == "number" {
		switch format {
		case "f64":
			return test{"format", func(value) string { return "" }}, nil
		case "f32":
			return test{"format", func(v value) string {
				return unless(math.Abs(v.number) <= math.MaxFloat32, "%s is beyond f32", v.shown())
			}}, nil
		}
		return test{}, fmt.Errorf("format is %.20q, and a number's is f32 or f64", format)
	}
	bits, err := strconv.Atoi(strings.TrimLeft(format, "iu"))
	if err != nil || len(format) < 2 || !strings.Contains(" i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 ", " "+format+" ") {
		return test{}, fmt.Errorf("format is %.20q, and an integer's is i8 to i128 or u8 to u128", format)
	}
	low, high := big.NewInt(0), new(big.Int).Lsh(big.NewInt(1), uint(bits))
	if format[0] == 'i' {
		high.Rsh(high, 1)
		low.Neg(high)
	}
	return test{"format", func(v value) string {
		n, exact := new(big.Int).SetString(v.text, 10)
		if !exact { // 1e3, 7.0
			n, _ = big.NewFloat(v.number).Int(nil)
		}
		return unless(n.Cmp(low) >= 0 && n.Cmp(high) < 0, "%s is beyond %s", v.shown(), format)
	}}, nil
}

// whenTests are the tests of a date's options.
func whenTests(o *Options, layouts []string) ([]test, error) {
	return boundTests(o, whenIn(layouts), func(v value, bound time.Time) int { return v.when.Compare(bound) })
}

// whenIn reads a bound as values are written.
func whenIn(layouts []string) func(bound any) (time.Time, error) {
	return func(bound any) (time.Time, error) {
		if t, is := bound.(time.Time); is { // YAML knows dates
			return t, nil
		}
		for _, layout := range layouts {
			if t, err := time.Parse(layout, fmt.Sprint(bound)); err == nil {
				return t, nil
			}
		}
		return time.Time{}, fmt.Errorf("%.40q is not written as the values are", fmt.Sprint(bound))
	}
}

// boundTests are the tests of the four bounds.
func boundTests[B any](o *Options, read func(any) (B, error), cmp func(value, B) int) (tests []test, err error) {
	for _, b := range []struct {
		rule  string
		bound any
		holds func(int) bool
		words string
	}{
		{"minimum", o.Minimum, func(c int) bool { return c >= 0 }, "below"},
		{"maximum", o.Maximum, func(c int) bool { return c <= 0 }, "above"},
		{"exclusiveMinimum", o.ExclusiveMinimum, func(c int) bool { return c > 0 }, "not above"},
		{"exclusiveMaximum", o.ExclusiveMaximum, func(c int) bool { return c < 0 }, "not below"},
	} {
		if b.bound == nil {
			continue
		}
		bound, err := read(b.bound)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", b.rule, err)
		}
		tests = append(tests, test{b.rule, func(v value) string {
			return unless(b.holds(cmp(v, bound)), "%s is %s %v", v.shown(), b.words, b.bound)
		}})
	}
	return tests, nil
}

func numberOf(v any) (float64, error) {
	switch n := v.(type) {
	case int:
		return float64(n), nil
	case uint64:
		return float64(n), nil
	case float64:
		if !math.IsNaN(n) {
			return n, nil
		}
	}
	return 0, errors.New("it is no number")
}

func unless(ok bool, format string, args ...any) string {
	if ok {
		return ""
	}
	return fmt.Sprintf(format, args...)
}
