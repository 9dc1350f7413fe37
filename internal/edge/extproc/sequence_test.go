package extproc_test

import (
	"testing"

	proc "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"

	"github.com/pavise/pavise/internal/edge/extproc"
)

// TestSequences plays proxies that are broken, or lie about what they do: each stream ends
// with an error or an answer, never with leave to go on; and each that named a model has
// exactly one record.
func TestSequences(t *testing.T) {
	w := newWorld(t, nil, extproc.Config{})
	w.Put(t, external)
	const asks, says = true, false // of whom a part is
	whole, asWhole, asParts, asBoth := part(spaced, true, asks), head(buffered, buffered, nil), head(streamed, streamed, nil), head(duplex, duplex, nil)
	answer := part(scores, true, says)
	put := func(steps ...step) []step { return append([]step{asWhole, recv, whole, recv}, steps...) }      // the model is asked, whole bodies
	putParts := func(steps ...step) []step { return append([]step{asParts, recv, whole, recv}, steps...) } // in parts
	putBoth := func(steps ...step) []step { return append([]step{asBoth, whole, recv, recv}, steps...) }   // both sides stream
	mixed := func(in, out modeOf) step { return head(in, out, nil) }
	for name, c := range map[string]goes{
		// Good ones, so that the table can tell.
		"whole bodies":        {steps: put(ok(), recv, answer), let: true},
		"parts":               {steps: putParts(ok(), recv, answer), let: true},
		"both sides stream":   {steps: putBoth(ok(), answer), let: true},
		"mixed modes":         {steps: []step{mixed(duplex, streamed), whole, recv, recv, ok(), recv, answer}, let: true},
		"mixed the other way": {steps: []step{mixed(streamed, duplex), recv, whole, recv, ok(), answer}, let: true},

		// Bodies in parts that are none, or thousands.
		"empty parts by the thousand, waited for":  {steps: []step{asParts, recv, times(3000, part("", false, asks), recv), whole, recv, ok(), recv, times(3000, part("", false, says), recv), answer}, let: true},
		"empty parts by the thousand, both sides":  {steps: []step{asBoth, times(3000, part("", false, asks)), whole, recv, recv, ok(), times(3000, part("", false, says)), answer}, let: true},
		"only empty parts":                         {steps: []step{asBoth, times(100, part("", false, asks)), part("", true, asks)}, code: 400},
		"an empty part at the end":                 {steps: []step{asParts, recv, part(spaced, false, asks), recv, part("", true, asks), recv, ok(), recv, part(scores, false, says), recv, part("", true, says)}, let: true},
		"a whole body that is empty":               {steps: []step{asWhole, recv, part("", true, asks)}, code: 400},
		"a whole answer that is empty":             {steps: put(ok(), recv, part("", true, says)), code: 503, let: true},
		"a body cut into bytes":                    {steps: []step{asParts, recv, cut(spaced, 1, true, asks), recv, ok(), recv, cut(scores, 1, true, says)}, let: true},
		"a part of a whole body":                   {steps: []step{asWhole, recv, part(spaced[:20], false, asks)}, code: 400, says: "part"},
		"a part of a whole answer":                 {steps: put(ok(), recv, part(scores[:20], false, says)), code: 503, let: true},
		"parts of a whole body without a pause":    {steps: []step{asWhole, recv, part(spaced[:20], false, asks), part(spaced[20:], true, asks)}, code: 400, says: "part"},
		"a body that lacks its end, then trailers": {steps: []step{asBoth, part(spaced[:20], false, asks), trailers(asks)}, code: 400},

		// Ends, twice and too early.
		"the end twice, whole":                {steps: []step{asWhole, recv, whole, recv, part("", true, asks)}, broken: true, let: true, says: "after the end"},
		"the end twice, in parts":             {steps: []step{asParts, recv, whole, recv, part("", true, asks)}, broken: true, let: true, says: "after the end"},
		"the end twice, both sides":           {steps: putBoth(part("", true, asks)), broken: true, let: true, says: "after the end"},
		"trailers twice":                      {steps: []step{asBoth, part(spaced, false, asks), trailers(asks), recv, recv, recv, trailers(asks)}, broken: true, let: true, says: "after the end"},
		"trailers after a whole body":         {steps: put(trailers(asks)), broken: true, let: true, says: "after the end"},
		"trailers before the header":          {steps: put(trailers(says)), broken: true, let: true, says: "before the header"},
		"no body, then a body":                {steps: []step{ended(buffered, buffered), whole}, code: 400},
		"no body, then trailers":              {steps: []step{ended(duplex, duplex), trailers(asks)}, code: 400},
		"no answer's body, then a body":       {steps: put(emptyOK, answer), code: 503, let: true},
		"no answer's body, then trailers":     {steps: putBoth(emptyOK, trailers(says)), code: 503, let: true},
		"an answer of trailers":               {steps: putBoth(ok(), trailers(says)), code: 503, let: true},
		"trailers that end a whole answer":    {steps: put(ok(), recv, trailers(says)), code: 503, let: true},
		"trailers that end an answer's parts": {steps: putParts(ok(), recv, part(scores, false, says), recv, trailers(says)), code: 503, let: true},

		// Requests that begin again or go on, answers that come early or twice.
		"a second request in the answer":     {steps: put(ok(), recv, asWhole), broken: true, let: true, says: "second header"},
		"a second request at the end":        {steps: put(ok(), recv, answer, recv, asWhole), let: true},
		"a request that goes on":             {steps: []step{asBoth, part(spaced, false, asks), ok()}, broken: true, says: "let through"},
		"an answer to half a request":        {steps: []step{asParts, recv, part(spaced[:9], false, asks), recv, ok([2]string{":status", "204"})}, broken: true, says: "let through"},
		"an error to half a request":         {steps: []step{asParts, recv, part(spaced[:9], false, asks), recv, ok([2]string{":status", "413"}, [2]string{"x", "secret"})}, code: 413},
		"an error of no name":                {steps: []step{asParts, recv, ok([2]string{":status", "499"})}, code: 499, says: `"error":"status 499`},
		"a second answer in the first":       {steps: putBoth(ok(), ok()), broken: true, let: true, says: "second answer"},
		"a body before its answer's header":  {steps: putBoth(answer), broken: true, let: true, says: "before the header"},
		"an answer after an answer":          {steps: putBoth(ok(), answer, recv, recv, ok(), answer), let: true},
		"an end without an answer's end":     {steps: putBoth(ok(), part(scores, false, says), closing), broken: true, let: true, says: "gave the exchange up"},
		"messages after a refusal":           {steps: []step{asWhole, recv, part("{}", true, asks), recv, times(200, whole, ok(), answer, trailers(says), asWhole)}, code: 400},
		"messages before a refusal is heard": {steps: []step{head(buffered, buffered, func(m *message) { m.set("authorization", "") }), times(50, whole, ok(), answer)}, code: 401, free: true},

		// What is said of modes, and changes its mind.
		"another mode in the middle": {steps: []step{asWhole, recv, func(s *script) {
			m := bodyMessage([]byte(spaced[:9]), false, true)
			m.ProtocolConfig = &proc.ProtocolConfiguration{RequestBodyMode: streamed, ResponseBodyMode: streamed}
			send(m)(s)
		}}, code: 400, says: "part"},
		"the mode NONE":                  {steps: []step{mixed(none, none)}, code: 503, free: true, says: "request_body_mode"},
		"the mode NONE of requests":      {steps: []step{mixed(none, duplex)}, code: 503, free: true, says: "request_body_mode"},
		"the mode NONE of answers":       {steps: []step{mixed(duplex, none)}, code: 503, free: true, says: "response_body_mode"},
		"the mode NONE without a body":   {steps: []step{ended(none, buffered)}, code: 400},
		"a mode of less than nothing":    {steps: []step{configured(&proc.ProtocolConfiguration{RequestBodyMode: -1})}, code: 503, free: true},
		"a mode of much more":            {steps: []step{configured(&proc.ProtocolConfiguration{RequestBodyMode: buffered, ResponseBodyMode: 1 << 30})}, code: 503, free: true},
		"a configuration that is empty":  {steps: []step{configured(&proc.ProtocolConfiguration{})}, code: 503, free: true},
		"no configuration":               {steps: []step{configured(nil)}, code: 503, free: true, says: "1.34"},
		"parts where one was to be seen": {steps: []step{mixed(partial, partial)}, code: 503, free: true},
	} {
		t.Run(name, func(t *testing.T) { w.goes(t, c) })
	}
}
