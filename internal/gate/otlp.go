package gate

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/plainjson"
)

// What a request of OTLP may hold.
const (
	maxOTLP    = 16 << 20 // bytes, unpacked
	maxObjects = 400_000  // of JSON, and values in its lists: each takes memory of its own
	maxWords   = 1 << 21  // values of JSON of any kind
	maxPairs   = 1 << 20  // of protobuf: attributes, and values in lists, which have two bytes at least
	maxGroups  = 16       // that one request brings records for
	otlpDepth  = 32       // of values in each other
)

// sourceAttribute is the attribute of a resource that says which source its records are of.
const sourceAttribute = "pavise.source"

// A delivery is the log records of one request for one source, as the gate writes them.
type delivery struct {
	source string // its id; "": the resource names none
	lines  []byte
	rows   int
	doubts []string
}

// A logs is a request of OTLP while it is read. It writes each record as a line of JSON, in
// an order of keys that is always the same.
type logs struct {
	all    []*delivery
	size   int // of all lines
	now    *delivery
	source []byte // what the resource that is read names
	res    []byte // its attributes, as JSON
	name   []byte // its service, as JSON
	scope  []byte // as JSON
	record logRecord
	paired int    // attributes and values in lists that were read
	rows   int    // records that were read
	fault  string // the first thing that is wrong with the record that is read
}

// A logRecord is what a line is made of: each part as JSON, nil where there is none.
type logRecord struct {
	time, observed           uint64
	severity                 int64
	text, event, trace, span []byte
	body, attributes         []byte
	hasTime, hasObserved     bool
}

func badOTLP(format string, args ...any) error {
	return &pavise.Error{Kind: pavise.Invalid, Msg: "the request is no OTLP of logs: " + fmt.Sprintf(format, args...), Hint: "POST an ExportLogsServiceRequest as application/x-protobuf or application/json"}
}

// deliverTo finds or makes the delivery for the resource that is read.
func (l *logs) deliverTo() error {
	id := string(l.source)
	for _, d := range l.all {
		if d.source == id {
			l.now = d
			return nil
		}
	}
	if len(l.all) == maxGroups {
		return badOTLP("it has records for more than %d sources", maxGroups)
	}
	l.now = &delivery{source: id}
	l.all = append(l.all, l.now)
	return nil
}

// wrong notes what is wrong with the record that is read, which holds its delivery.
func (l *logs) wrong(words string) {
	if l.fault == "" {
		l.fault = words
	}
}

// end writes the record that was read.
func (l *logs) end() error {
	d, r := l.now, &l.record
	before := len(d.lines)
	b := append(d.lines, '{')
	part := func(key string, value []byte) {
		if value == nil {
			return
		}
		if b[len(b)-1] != '{' {
			b = append(b, ',')
		}
		b = append(append(append(append(b, '"'), key...), '"', ':'), value...)
	}
	instant := func(nanoseconds uint64, is bool) []byte {
		if !is || nanoseconds == 0 {
			return nil
		}
		if nanoseconds > math.MaxInt64 {
			l.wrong("its time is beyond all")
			return nil
		}
		return time.Unix(0, int64(nanoseconds)).UTC().AppendFormat(nil, `"2006-01-02T15:04:05.000000000Z"`)
	}
	part("time", instant(r.time, r.hasTime))
	part("observed", instant(r.observed, r.hasObserved))
	part("severity", r.text)
	if r.severity != 0 {
		part("severity_number", strconv.AppendInt(nil, r.severity, 10))
	}
	part("body", r.body)
	part("event", r.event)
	part("trace", r.trace)
	part("span", r.span)
	part("service", l.name)
	part("scope", l.scope)
	part("attributes", r.attributes)
	part("resource", l.res)
	if l.fault != "" { // or it would have the bytes of a record that is good, which would be taken for it
		part("fault", plainjson.Text([]byte(l.fault)))
		if len(d.doubts) < maxReasons {
			d.doubts = append(d.doubts, fmt.Sprintf("row %d: %s", d.rows+1, l.fault))
		}
	}
	d.lines = append(b, '}', '\n')
	d.rows++
	if l.rows++; l.rows > maxRows {
		return badOTLP("it has more than %d records", maxRows)
	}
	l.fault, l.record = "", logRecord{}
	if l.size += len(d.lines) - before; l.size > MaxBatch {
		return badOTLP("its records come to more than %d bytes", MaxBatch)
	}
	return nil
}

// quoted is a text as JSON. What is no UTF-8 is written as U+FFFD, and the record is held.
func (l *logs) quoted(text []byte) []byte {
	if !utf8.Valid(text) {
		l.wrong("a text is not UTF-8")
	}
	return plainjson.Text(text)
}

// object writes pairs as an object of JSON; a key that stands twice holds the record.
func (l *logs) object(keys, values [][]byte) []byte {
	b := []byte{'{'}
	seen := make(map[string]bool, len(keys))
	for i, key := range keys {
		if seen[strings.ToLower(string(key))] {
			l.wrong(fmt.Sprintf("the attribute %.80s stands there twice", key))
			continue
		}
		seen[strings.ToLower(string(key))] = true
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(append(append(b, key...), ':'), values[i]...)
	}
	return append(b, '}')
}

// fields calls each with the fields of a message of protobuf: a number for varint and fixed
// fields, and bytes for others.
func fields(m []byte, each func(number protowire.Number, kind protowire.Type, n uint64, text []byte) error) error {
	for len(m) > 0 {
		num, kind, n := protowire.ConsumeTag(m)
		if n < 0 {
			return badOTLP("%v", protowire.ParseError(n))
		}
		m = m[n:]
		var value uint64
		var text []byte
		switch kind {
		case protowire.VarintType:
			value, n = protowire.ConsumeVarint(m)
		case protowire.Fixed64Type:
			value, n = protowire.ConsumeFixed64(m)
		case protowire.Fixed32Type:
			var short uint32
			short, n = protowire.ConsumeFixed32(m)
			value = uint64(short)
		case protowire.BytesType:
			text, n = protowire.ConsumeBytes(m)
		default:
			return badOTLP("it has a group")
		}
		if n < 0 {
			return badOTLP("%v", protowire.ParseError(n))
		}
		m = m[n:]
		if err := each(num, kind, value, text); err != nil {
			return err
		}
	}
	return nil
}

// readProtobuf reads a request as protobuf has it (opentelemetry/proto/logs/v1). Fields that
// are not known are passed over, as OTLP says.
func (l *logs) readProtobuf(body []byte) error {
	return fields(body, func(num protowire.Number, kind protowire.Type, _ uint64, text []byte) error {
		if num != 1 || kind != protowire.BytesType {
			return nil
		}
		l.source, l.res, l.name = nil, nil, nil
		if err := fields(text, func(num protowire.Number, kind protowire.Type, _ uint64, text []byte) error {
			if num != 1 || kind != protowire.BytesType {
				return nil
			}
			return l.resource(text)
		}); err != nil {
			return err
		}
		if err := l.deliverTo(); err != nil {
			return err
		}
		return fields(text, func(num protowire.Number, kind protowire.Type, _ uint64, text []byte) error {
			if num != 2 || kind != protowire.BytesType {
				return nil
			}
			return l.scoped(text)
		})
	})
}

// resource reads what the records of a resource have in common.
func (l *logs) resource(m []byte) error {
	keys, values, err := l.attributes(m, 1, otlpDepth)
	if err != nil {
		return err
	}
	l.named(keys, values)
	return nil
}

// named takes a resource's source and service out of its attributes.
func (l *logs) named(keys, values [][]byte) {
	for i, key := range keys {
		switch string(key) {
		case `"` + sourceAttribute + `"`:
			var text string
			if json.Unmarshal(values[i], &text) == nil {
				l.source = []byte(text)
			}
		case `"service.name"`:
			l.name = values[i]
		}
	}
	if len(keys) > 0 {
		l.res = l.object(keys, values)
	}
}

// scoped reads the records of a scope.
func (l *logs) scoped(m []byte) error {
	l.scope = nil
	return fields(m, func(num protowire.Number, kind protowire.Type, _ uint64, text []byte) error {
		if kind != protowire.BytesType {
			return nil
		}
		switch num {
		case 1:
			return fields(text, func(num protowire.Number, kind protowire.Type, _ uint64, text []byte) error {
				if num == 1 && kind == protowire.BytesType && len(text) > 0 {
					l.scope = l.quoted(text)
				}
				return nil
			})
		case 2:
			if err := l.one(text); err != nil {
				return err
			}
			return l.end()
		}
		return nil
	})
}

// one reads a log record.
func (l *logs) one(m []byte) error {
	r := &l.record
	keys, values, err := l.attributes(m, 6, otlpDepth)
	if err != nil {
		return err
	}
	if len(keys) > 0 {
		r.attributes = l.object(keys, values)
	}
	return fields(m, func(num protowire.Number, kind protowire.Type, n uint64, text []byte) (err error) {
		switch {
		case num == 1 && kind == protowire.Fixed64Type:
			r.time, r.hasTime = n, true
		case num == 11 && kind == protowire.Fixed64Type:
			r.observed, r.hasObserved = n, true
		case num == 2 && kind == protowire.VarintType:
			r.severity = int64(n)
		case kind != protowire.BytesType:
		case num == 3 && len(text) > 0:
			r.text = l.quoted(text)
		case num == 5:
			r.body, err = l.value(text, otlpDepth)
		case num == 9 && len(text) > 0:
			r.trace = strconv.AppendQuote(nil, hex.EncodeToString(text))
		case num == 10 && len(text) > 0:
			r.span = strconv.AppendQuote(nil, hex.EncodeToString(text))
		case num == 12 && len(text) > 0:
			r.event = l.quoted(text)
		}
		return err
	})
}

// attributes reads the pairs that a message has in a field.
func (l *logs) attributes(m []byte, field protowire.Number, depth int) (keys, values [][]byte, err error) {
	err = fields(m, func(num protowire.Number, kind protowire.Type, _ uint64, text []byte) error {
		if num != field || kind != protowire.BytesType {
			return nil
		}
		if err := l.pair(); err != nil {
			return err
		}
		key, value := []byte(`""`), []byte("null")
		err := fields(text, func(num protowire.Number, kind protowire.Type, _ uint64, text []byte) (err error) {
			switch {
			case kind != protowire.BytesType:
			case num == 1:
				key = l.quoted(text)
			case num == 2:
				value, err = l.value(text, depth-1)
			}
			return err
		})
		keys, values = append(keys, key), append(values, value)
		return err
	})
	return keys, values, err
}

// pair counts an attribute, or a value in a list.
func (l *logs) pair() error {
	if l.paired++; l.paired > maxPairs {
		return badOTLP("it has more than %d attributes: send it in parts", maxPairs)
	}
	return nil
}

// value reads an AnyValue as JSON.
func (l *logs) value(m []byte, depth int) (b []byte, err error) {
	if depth == 0 {
		return nil, badOTLP("its values lie more than %d deep in each other", otlpDepth)
	}
	b = []byte("null")
	err = fields(m, func(num protowire.Number, kind protowire.Type, n uint64, text []byte) (err error) {
		switch {
		case num == 1 && kind == protowire.BytesType:
			b = l.quoted(text)
		case num == 2 && kind == protowire.VarintType:
			b = strconv.AppendBool(nil, n != 0)
		case num == 3 && kind == protowire.VarintType:
			b = strconv.AppendInt(nil, int64(n), 10)
		case num == 4 && kind == protowire.Fixed64Type:
			b = plainjson.Number(math.Float64frombits(n))
		case num == 5 && kind == protowire.BytesType:
			b, err = l.list(text, depth)
		case num == 6 && kind == protowire.BytesType:
			var keys, values [][]byte
			if keys, values, err = l.attributes(text, 1, depth); err == nil {
				b = l.object(keys, values)
			}
		case num == 7 && kind == protowire.BytesType:
			b = strconv.AppendQuote(nil, base64.StdEncoding.EncodeToString(text))
		}
		return err
	})
	return b, err
}

// list reads an ArrayValue as JSON.
func (l *logs) list(m []byte, depth int) ([]byte, error) {
	b := []byte{'['}
	err := fields(m, func(num protowire.Number, kind protowire.Type, _ uint64, text []byte) error {
		if num != 1 || kind != protowire.BytesType {
			return nil
		}
		if err := l.pair(); err != nil {
			return err
		}
		value, err := l.value(text, depth-1)
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(b, value...)
		return err
	})
	return append(b, ']'), err
}

// whole is a number that OTLP writes as a text or as a number.
type whole string

// UnmarshalJSON takes either.
func (w *whole) UnmarshalJSON(b []byte) error {
	*w = whole(strings.Trim(string(b), `"`))
	return nil
}

// The messages of OTLP as JSON has them.
type (
	jsonPair struct {
		Key   string    `json:"key"`
		Value jsonValue `json:"value"`
	}
	jsonValue struct {
		String *string `json:"stringValue"`
		Bool   *bool   `json:"boolValue"`
		Int    *whole  `json:"intValue"`
		Double *whole  `json:"doubleValue"` // or NaN, Infinity and -Infinity, as texts
		Bytes  *string `json:"bytesValue"`
		Array  *struct {
			Values []jsonValue `json:"values"`
		} `json:"arrayValue"`
		Pairs *struct {
			Values []jsonPair `json:"values"`
		} `json:"kvlistValue"`
	}
	jsonLogs struct {
		Resources []struct {
			Resource struct {
				Attributes []jsonPair `json:"attributes"`
			} `json:"resource"`
			Scopes []struct {
				Scope struct {
					Name string `json:"name"`
				} `json:"scope"`
				Records []struct {
					Time       whole      `json:"timeUnixNano"`
					Observed   whole      `json:"observedTimeUnixNano"`
					Number     int64      `json:"severityNumber"`
					Text       string     `json:"severityText"`
					Body       *jsonValue `json:"body"`
					Attributes []jsonPair `json:"attributes"`
					Trace      string     `json:"traceId"`
					Span       string     `json:"spanId"`
					Event      string     `json:"eventName"`
				} `json:"logRecords"`
			} `json:"scopeLogs"`
		} `json:"resourceLogs"`
	}
)

// readJSON reads a request as JSON has it: keys in lower camel case, ids in hexadecimal.
func (l *logs) readJSON(body []byte) error {
	switch s := plainjson.ShapeOf(body); {
	case s.Depth > 4*otlpDepth:
		return badOTLP("its values lie more than %d deep in each other", otlpDepth)
	case bytes.Count(body, []byte{'{'}) > maxObjects:
		return badOTLP("it has more than %d objects: send it as protobuf, or in parts", maxObjects)
	case s.Listed > maxObjects: // each may take as much memory as an object, and be a 0
		return badOTLP("it has more than %d values in its lists: send it as protobuf, or in parts", maxObjects)
	case s.Values > maxWords:
		return badOTLP("it has more than %d values: send it as protobuf, or in parts", maxWords)
	}
	var in jsonLogs
	if err := plainjson.Read(body, &in); err != nil {
		return badOTLP("%v", err)
	}
	for _, res := range in.Resources {
		l.source, l.res, l.name = nil, nil, nil
		keys, values := l.pairs(res.Resource.Attributes)
		l.named(keys, values)
		if err := l.deliverTo(); err != nil {
			return err
		}
		for _, s := range res.Scopes {
			if l.scope = nil; s.Scope.Name != "" {
				l.scope = l.quoted([]byte(s.Scope.Name))
			}
			for _, r := range s.Records {
				out := &l.record
				out.time, out.hasTime = l.nanoseconds(r.Time)
				out.observed, out.hasObserved = l.nanoseconds(r.Observed)
				out.severity = r.Number
				for _, text := range []struct {
					to   *[]byte
					from string
				}{{&out.text, r.Text}, {&out.event, r.Event}, {&out.trace, l.id(r.Trace)}, {&out.span, l.id(r.Span)}} {
					if text.from != "" {
						*text.to = l.quoted([]byte(text.from))
					}
				}
				if r.Body != nil {
					out.body = l.any(*r.Body)
				}
				if len(r.Attributes) > 0 {
					out.attributes = l.object(l.pairs(r.Attributes))
				}
				if err := l.end(); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// id is a trace's or a span's id.
func (l *logs) id(text string) string {
	if _, err := hex.DecodeString(text); err != nil {
		l.wrong("an id is not hexadecimal")
	}
	return strings.ToLower(text)
}

func (l *logs) nanoseconds(w whole) (n uint64, is bool) {
	if w == "" {
		return 0, false
	}
	n, err := strconv.ParseUint(string(w), 10, 64)
	if err != nil {
		l.wrong("its time is no whole number")
	}
	return n, err == nil
}

func (l *logs) pairs(all []jsonPair) (keys, values [][]byte) {
	for _, p := range all {
		keys, values = append(keys, l.quoted([]byte(p.Key))), append(values, l.any(p.Value))
	}
	return keys, values
}

// any writes a value as JSON.
func (l *logs) any(v jsonValue) []byte {
	switch {
	case v.String != nil:
		return l.quoted([]byte(*v.String))
	case v.Bool != nil:
		return strconv.AppendBool(nil, *v.Bool)
	case v.Int != nil:
		n, err := strconv.ParseInt(string(*v.Int), 10, 64)
		if err != nil {
			l.wrong("a whole number is none")
		}
		return strconv.AppendInt(nil, n, 10)
	case v.Double != nil:
		n, err := strconv.ParseFloat(string(*v.Double), 64)
		if err != nil {
			l.wrong("a number is none")
		}
		return plainjson.Number(n)
	case v.Bytes != nil:
		return l.quoted([]byte(*v.Bytes))
	case v.Array != nil:
		b := []byte{'['}
		for i, one := range v.Array.Values {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, l.any(one)...)
		}
		return append(b, ']')
	case v.Pairs != nil:
		return l.object(l.pairs(v.Pairs.Values))
	}
	return []byte("null")
}
