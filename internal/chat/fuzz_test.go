package chat

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/chat/chattest"
	"github.com/pavise/pavise/internal/plainjson"
)

// narrow limits keep the fuzzer among small texts and make it meet limits.
var narrow = Limits{MaxBody: 1 << 14, MaxDepth: 12, MaxValues: 256, MaxText: 512, MaxEvent: 1 << 12, MaxStream: 1 << 14}

// plain is a value as encoding/json has it.
func plain(v *value) any {
	switch v.kind {
	case boolean:
		return v.text == "true"
	case number:
		return json.Number(v.text)
	case text:
		return v.text
	case array:
		list := make([]any, len(v.items))
		for i := range v.items {
			list[i] = plain(&v.items[i].value)
		}
		return list
	case object:
		all := map[string]any{}
		for i := range v.items {
			all[v.items[i].name] = plain(&v.items[i].value)
		}
		return all
	}
	return nil
}

// floats turns every number of a decoded text into a float64.
func floats(v any) any {
	switch v := v.(type) {
	case json.Number:
		f, _ := v.Float64()
		return f
	case []any:
		for i := range v {
			v[i] = floats(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = floats(v[k])
		}
	}
	return v
}

// spare returns a value that takes more memory than its members and so many others need, or nil.
func spare(v *value, more int) *value {
	if cap(v.items) > len(v.items)+more {
		return v
	}
	for i := range v.items {
		if at := spare(&v.items[i].value, 0); at != nil {
			return at
		}
	}
	return nil
}

// unmarked finds that what is marked as plain is, and takes the marks off: two texts that
// mean the same are not written alike.
func unmarked(t *testing.T, v *value) {
	if v.plain && string(appendQuoted(nil, v.text)) != `"`+v.text+`"` {
		t.Fatalf("%q is taken for plain", v.text)
	}
	v.plain = false
	for i := range v.items {
		unmarked(t, &v.items[i].value)
	}
}

// FuzzJSON reads as encoding/json does whatever both read, and refuses what it
// tolerates.
func FuzzJSON(f *testing.F) {
	for _, c := range chattest.Hostile() {
		if len(c.Body) < 1024 {
			f.Add([]byte(c.Body))
		}
	}
	f.Add([]byte(`[0,-0,-0.0,1e5,1E-7,123456789012345678901234567890,18446744073709551615,0.1e1,{"a":{"b":[true,false,null,"\u0000\ud83d\ude00"]}}]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		v, fault := parse(body, narrow)
		var decoded any
		err := plainjson.Read(body, &decoded)
		if fault != nil {
			ours := false
			for _, why := range []string{"surrogate", "UTF-8", "levels", "values", "bytes", "float64", "in two cases"} {
				ours = ours || strings.Contains(fault.msg, why) || strings.Contains(fault.hint, why)
			}
			if err == nil && !ours {
				t.Fatalf("%q is refused: %v, %v", body, fault.path, fault.msg)
			}
			return
		}
		if err != nil {
			t.Fatalf("%q is taken, and encoding/json says %v", body, err)
		}
		if got := floats(plain(&v)); !reflect.DeepEqual(got, decoded) {
			t.Fatalf("%q is read %v, and by encoding/json %v", body, got, decoded)
		}
		written := v.append(nil)
		if n := v.written(); n != len(written) {
			t.Fatalf("%q is written in %d bytes, and %d were foretold", body, len(written), n)
		}
		if at := spare(&v, added); at != nil {
			t.Fatalf("%q: %v has room for %d members", body, at, cap(at.items))
		}
		again, fault := parse(written, Limits{MaxBody: 1 << 20, MaxDepth: 12, MaxValues: 256, MaxText: 512})
		unmarked(t, &v)
		unmarked(t, &again)
		if fault != nil || !reflect.DeepEqual(again, v) || !json.Valid(written) {
			t.Fatalf("%q is written %s, and that is read %v, %v", body, written, again, fault)
		}
	})
}

// FuzzRequest writes what it takes in one way, and names no field that it was not given.
func FuzzRequest(f *testing.F) {
	for i, api := range APIs() {
		f.Add(i, []byte(requests[api]))
	}
	for _, c := range chattest.Hostile() {
		if len(c.Body) < 1024 {
			f.Add(0, []byte(c.Body))
		}
	}
	f.Add(0, []byte(with(`"tools":[{"type":"function","function":{"name":"f","parameters":{"a":[1]}}}],"tool_choice":{"type":"function","function":{"name":"f"}},"stream":true,"stream_options":{"include_usage":null},"x":1`)))
	f.Fuzz(func(t *testing.T, which int, body []byte) {
		api := APIs()[uint(which)%4]
		r, err := ParseRequest(api, body, narrow)
		if err != nil {
			if pavise.KindOf(err) != pavise.Invalid {
				t.Fatalf("kind of %v", err)
			}
			return
		}
		if err := plainjson.Read(body, new(any)); err != nil {
			t.Fatalf("%q is taken, and encoding/json says %v", body, err)
		}
		for said := range r.Said() {
			if said.Role == "" || said.At() == "" {
				t.Fatalf("%q says %+v", body, said)
			}
			break
		}
		if r.Rows() < 1 || r.Rows() > 1<<18 {
			t.Fatalf("%q has %d rows", body, r.Rows())
		}
		written := r.AppendJSON(nil)
		again, err := ParseRequest(api, written, DefaultLimits())
		if err != nil || len(again.Unknown) > 0 || again.Rows() != r.Rows() || again.Model() != r.Model() || !bytes.Equal(again.AppendJSON(nil), written) {
			t.Fatalf("%q is written %s, and that is read %v, %v", body, written, again, err)
		}
		if len(r.Unknown) == 0 && !reflect.DeepEqual(again.root, r.root) {
			t.Fatalf("%q is written %s, and that is read %v", body, written, again.root)
		}
	})
}

// FuzzAnswer writes what it takes in one way, and hides what it hides for good.
func FuzzAnswer(f *testing.F) {
	f.Add(0, []byte(answer))
	f.Add(2, []byte(finished))
	f.Add(3, []byte(embedded))
	f.Add(1, []byte(`{"id":"a","object":"text_completion","created":1,"model":"up","choices":[{"index":1,"text":"x","finish_reason":"length","logprobs":null},{"index":0,"text":"","finish_reason":null}]}`))
	f.Fuzz(func(t *testing.T, which int, body []byte) {
		api := APIs()[uint(which)%4]
		r := ask(t, api, requests[api])
		a, err := ParseAnswer(r, body, narrow)
		if err != nil {
			if pavise.KindOf(err) != pavise.Unavailable {
				t.Fatalf("kind of %v", err)
			}
			return
		}
		a.Tokens()
		written := a.AppendJSON(nil)
		again, err := ParseAnswer(r, written, DefaultLimits())
		if api == Responses && err == nil { // what it echoes is dropped and put in anew
			return
		}
		if err != nil || !bytes.Equal(again.AppendJSON(nil), written) {
			t.Fatalf("%q is written %s, and that is read %v", body, written, err)
		}
		a.HideReasoning()
		if a.HideReasoning() {
			t.Fatalf("%q hides what it has hidden", body)
		}
	})
}

// FuzzStream passes on only what it can read again.
func FuzzStream(f *testing.F) {
	f.Add(false, []byte(wordsOf("a")+stop+done))
	f.Add(false, []byte(": ping\r\n\r\n"+wordsOf("a")+chunk(`{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c","type":"function","function":{"name":"f","arguments":""}}]}}`)+stop+done))
	f.Add(true, []byte(event("response.created", begun)+event("response.output_item.added", `,"output_index":0,"item":{"type":"reasoning","id":"t","summary":[]}`)+event("response.completed", `,"response":`+finished)))
	f.Fuzz(func(t *testing.T, response bool, body []byte) {
		r := ask(t, Chat, offering)
		if response {
			r = ask(t, Responses, `{"model":"m","input":"a","stream":true}`)
		}
		got, err := drain(r, string(body), narrow)
		if err != nil {
			if pavise.KindOf(err) != pavise.Unavailable {
				t.Fatalf("kind of %v", err)
			}
			return
		}
		again, err := drain(r, got, DefaultLimits())
		if err != nil || again != got {
			t.Fatalf("%q goes on as %q, and that as %q, %v", body, got, again, err)
		}
	})
}

// BenchmarkRequest reads and writes a chat of 4 KB.
func BenchmarkRequest(b *testing.B) {
	turn := `{"role":"user","content":"` + strings.Repeat("some words of a question ", 8) + `"},{"role":"assistant","content":"` + strings.Repeat("and some of the answer \\n", 8) + `"},`
	body := []byte(`{"model":"m","messages":[` + strings.Repeat(turn, 8) + `{"role":"user","content":"hi"}],"temperature":0.7,"max_tokens":256,"tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object","properties":{"x":{"type":"number"}}}}}]}`)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	var out []byte
	for b.Loop() {
		r, err := ParseRequest(Chat, body, DefaultLimits())
		if err != nil {
			b.Fatal(err)
		}
		out = r.AppendJSON(out[:0])
	}
}
