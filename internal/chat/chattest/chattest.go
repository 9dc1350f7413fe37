// Package chattest has requests to language models that must be refused, for tests of
// the codec and of all that stands before it. It owns no state.
package chattest

import (
	"slices"
	"strings"
)

// A Case is one request, and how it is refused.
type Case struct {
	Name  string
	API   string // the operation, as chat.API has it
	Body  string
	Param string // the path of what is wrong in it
	Why   string // a part of the message
}

const (
	chat, completions, responses, embeddings = "chat.completions", "completions", "responses", "embeddings"

	hello = `{"model":"m","messages":[{"role":"user","content":"hi"}]}`
)

// with puts more members into a request of chat.
func with(more string) string { return strings.TrimSuffix(hello, "}") + "," + more + "}" }

// said is a request of chat with these messages.
func said(messages string) string { return `{"model":"m","messages":[` + messages + `]}` }

// parts is a request whose one message has these parts.
func parts(list string) string { return said(`{"role":"user","content":[` + list + `]}`) }

// Hostile returns the requests, by name.
func Hostile() []Case {
	var list []Case
	for name, c := range hostileRequests() {
		list = append(list, Case{Name: name, API: c.api, Body: c.body, Param: c.param, Why: c.why})
	}
	slices.SortFunc(list, func(a, b Case) int { return strings.Compare(a.Name, b.Name) })
	return list
}

type hostile struct{ api, body, param, why string }

func hostileRequests() map[string]hostile {
	deep := strings.Repeat(`{"a":`, 70) + "1" + strings.Repeat("}", 70)
	cases := map[string]hostile{
		"nothing":             {chat, ``, "", "ends where a value"},
		"array":               {chat, `[]`, "", "an array stands here"},
		"cut":                 {chat, hello[:13], "", "a key in quotes"},
		"two texts":           {chat, hello + hello, "", "something follows"},
		"byte order mark":     {chat, "\ufeff" + hello, "", "a value should be"},
		"not UTF-8":           {chat, strings.Replace(hello, "hi", "\xff", 1), "", "not UTF-8"},
		"lone surrogate":      {chat, strings.Replace(hello, "hi", `\ud800`, 1), "messages[0].content", "lone surrogate"},
		"surrogates swapped":  {chat, strings.Replace(hello, "hi", `\ude00\ud83d`, 1), "messages[0].content", "lone surrogate"},
		"control character":   {chat, strings.Replace(hello, "hi", "\n", 1), "messages[0].content", "control character"},
		"escape":              {chat, strings.Replace(hello, "hi", `\x`, 1), "messages[0].content", "escape that JSON"},
		"twice":               {chat, with(`"model":"n"`), "", `"model" appears twice`},
		"twice, escaped":      {chat, with(`"m\u006fdel":"n"`), "", "appears twice"},
		"twice, in cases":     {chat, with(`"Model":"n"`), "", "in two cases"},
		"Kelvin":              {chat, with(`"k":1,"` + "\u212a" + `":2`), "", "in two cases"},
		"twice, deep":         {chat, with(`"metadata":{"a":"1","A":"2"}`), "metadata", "in two cases"},
		"twice in a schema":   {chat, with(`"tools":[{"type":"function","function":{"name":"f","parameters":{"a":1,"a":2}}}]`), "tools[0].function.parameters", "appears twice"},
		"case":                {chat, with(`"Stream":true`), "", "differs from \"stream\" in case only"},
		"case, deep":          {chat, said(`{"role":"user","content":"a","NAME":"b"}`), "messages[0]", "in case only"},
		"deep":                {chat, with(`"x":` + deep), "x" + strings.Repeat(".a", 63), "more than 64 levels"},
		"no model":            {chat, `{"messages":[{"role":"user","content":"hi"}]}`, "", `"model" is missing`},
		"model of null":       {chat, strings.Replace(hello, `"m"`, `null`, 1), "model", "null stands here"},
		"model of numbers":    {chat, strings.Replace(hello, `"m"`, `1`, 1), "model", "a number stands here"},
		"model that hides":    {chat, strings.Replace(hello, `"m"`, `"m\u202e"`, 1), "model", "does not print"},
		"no messages":         {chat, `{"model":"m","messages":[]}`, "messages", "0 members"},
		"role":                {chat, said(`{"role":"root","content":"x"}`), "messages[0].role", "not known here"},
		"no role":             {chat, said(`{"content":"x"}`), "messages[0]", `"role" is missing`},
		"role of list":        {chat, said(`{"role":["user"],"content":"x"}`), "messages[0].role", "not known"},
		"content":             {chat, said(`{"role":"user","content":{"text":"x"}}`), "messages[0].content", "an object stands here"},
		"no content":          {chat, said(`{"role":"user"}`), "messages[0]", `"content" is missing`},
		"says nothing":        {chat, said(`{"role":"assistant","content":null}`), "messages[0]", "says nothing"},
		"orphan":              {chat, said(`{"role":"tool","tool_call_id":"a","content":"x"}`), "messages[0].tool_call_id", "no tool call"},
		"calls of one id":     {chat, said(`{"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":""}},{"id":"a","type":"function","function":{"name":"g","arguments":""}}]},{"role":"tool","tool_call_id":"a","content":"x"}`), "messages[0].tool_calls[1]", "two tool calls"},
		"call out of place":   {chat, said(`{"role":"assistant","tool_calls":[{"id":"a","type":"function","index":1,"function":{"name":"f","arguments":""}}]},{"role":"tool","tool_call_id":"a","content":"x"}`), "messages[0].tool_calls[0].index", "the call 0 of the message"},
		"answer of another":   {chat, said(`{"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":""}}]},{"role":"tool","tool_call_id":"a","name":"g","content":"x"}`), "messages[1].name", "is of another function"},
		"no calls, no words":  {chat, said(`{"role":"assistant","tool_calls":[]}`), "messages[0]", "says nothing"},
		"answered twice":      {chat, said(`{"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":""}}]},{"role":"tool","tool_call_id":"a","content":"x"},{"role":"tool","tool_call_id":"a","content":"y"}`), "messages[2].tool_call_id", "no tool call"},
		"answered late":       {chat, said(`{"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":""}}]},{"role":"user","content":"x"},{"role":"tool","tool_call_id":"a","content":"y"}`), "messages[2].tool_call_id", "no tool call"},
		"functions of old":    {chat, said(`{"role":"function","name":"f","content":"x"}`), "messages[0].role", "not known here"},
		"images by no object": {chat, parts(`{"type":"image_url","image_url":"data:image/png;base64,AAAA"}`), "messages[0].content[0].image_url", "a string stands here"},
		"drawings":            {chat, parts(`{"type":"image_url","image_url":{"url":"data:image/svg+xml;base64,AAAA"}}`), "messages[0].content[0].image_url.url", "another kind"},
		"films":               {chat, parts(`{"type":"video_url","video_url":{"url":"https://x.example/a"}}`), "messages[0].content[0].type", "not known here"},
		"nothing, shown":      {chat, parts(``), "messages[0].content", "0 members"},
		"message of arrays":   {chat, said(`[]`), "messages[0]", "an array stands here"},
		"seed beyond":         {chat, with(`"seed":9223372036854775808`), "seed", "no integer"},
		"stop of nothing":     {chat, with(`"stop":[""]`), "stop[0]", "fewer than 1"},
		"n as a flag":         {chat, with(`"n":true`), "n", "true or false stands here"},
		"logprobs of old":     {chat, with(`"logprobs":1`), "logprobs", "a number stands here"},
		"allowed tools":       {chat, with(`"tool_choice":{"type":"allowed_tools","allowed_tools":{}}`), "tool_choice.type", "not known here"},
		"grammar":             {chat, with(`"response_format":{"type":"grammar"}`), "response_format.type", "not known here"},
		"metadata of numbers": {chat, with(`"metadata":{"a":1}`), "metadata.a", "a number stands here"},
		"metadata of nobody":  {chat, with(`"metadata":{"":1}`), `metadata.""`, "a number stands here"},
		"empty prompts":       {completions, `{"model":"m","prompt":[[]]}`, "prompt[0]", "0 members"},
		"no prompt":           {completions, `{"model":"m","prompt_embeds":"AAAA"}`, "", `"prompt" is missing`},
		"tokens below":        {embeddings, `{"model":"m","input":[[1],[-1]]}`, "input[1][0]", "not between"},
		"tokens in parts":     {embeddings, `{"model":"m","input":[1,2.5]}`, "input[1]", "no integer"},
		"texts in texts":      {embeddings, `{"model":"m","input":["a",["b"]]}`, "input[1][0]", "a string stands here"},
		"encoding":            {embeddings, `{"model":"m","input":"a","encoding_format":"hex"}`, "encoding_format", "not known here"},
		"no dimensions":       {embeddings, `{"model":"m","input":"a","dimensions":0}`, "dimensions", "not between"},
		"interpreter":         {responses, `{"model":"m","input":"a","tools":[{"type":"code_interpreter","container":{"type":"auto"}}]}`, "tools[0].type", "not known here"},
		"image of a file":     {responses, `{"model":"m","input":[{"role":"user","content":[{"type":"input_image","file_id":"x"}]}]}`, "input[0].content[0]", `"image_url" is missing`},
		"screens":             {responses, `{"model":"m","input":[{"type":"computer_call_output"}]}`, "input[0].type", "not known here"},
		"part":                {chat, parts(`{"type":"file","file":{"file_id":"x"}}`), "messages[0].content[0].type", "not known"},
		"image of file":       {chat, parts(`{"type":"image_url","image_url":{"url":"file:///etc/passwd"}}`), "messages[0].content[0].image_url.url", "neither data: nor https:"},
		"audio":               {chat, parts(`{"type":"input_audio","input_audio":{"data":"A","format":"wav"}}`), "messages[0].content[0].input_audio.data", "base64"},
		"temperature":         {chat, with(`"temperature":2.1`), "temperature", "not between 0 and 2"},
		"temperature text":    {chat, with(`"temperature":"1"`), "temperature", "a string stands here"},
		"infinite":            {chat, with(`"temperature":1e999`), "temperature", "beyond what a float64"},
		"NaN":                 {chat, with(`"temperature":NaN`), "temperature", "a value should be"},
		"n of none":           {chat, with(`"n":0`), "n", "not between"},
		"n of parts":          {chat, with(`"n":1.5`), "n", "no integer"},
		"n of many":           {chat, with(`"n":129`), "n", "not between"},
		"max_tokens":          {chat, with(`"max_tokens":-1`), "max_tokens", "not between"},
		"number":              {chat, with(`"n":01`), "n", "a number that JSON"},
		"stop":                {chat, with(`"stop":["a","b","c","d","e"]`), "stop", "5 members"},
		"bias":                {chat, with(`"logit_bias":{"1":101}`), "logit_bias.1", "not between"},
		"tool type":           {chat, with(`"tools":[{"type":"web_search"}]`), "tools[0].type", "not known"},
		"tool name":           {chat, with(`"tools":[{"type":"function","function":{"name":"a b"}}]`), "tools[0].function.name", "other characters"},
		"parameters":          {chat, with(`"tools":[{"type":"function","function":{"name":"f","parameters":[]}}]`), "tools[0].function.parameters", "an array stands here"},
		"choice":              {chat, with(`"tool_choice":"any"`), "tool_choice", "not known"},
		"format":              {chat, with(`"response_format":{"type":"json_schema"}`), "response_format", `"json_schema" is missing`},
		"stream options":      {chat, with(`"stream_options":{"include_usage":true}`), "stream_options", "not streamed"},
		"top_logprobs":        {chat, with(`"top_logprobs":2`), "top_logprobs", "needs logprobs"},
		"audio answers":       {chat, with(`"modalities":["text","audio"]`), "modalities", "2 members"},
		"best_of":             {completions, `{"model":"m","prompt":"a","n":3,"best_of":2}`, "best_of", "2 of 3"},
		"mixed prompts":       {completions, `{"model":"m","prompt":["a",1]}`, "prompt[1]", "beside a string"},
		"product":             {completions, `{"model":"m","n":128,"prompt":["a"` + strings.Repeat(`,"a"`, 16) + `]}`, "n", "more than 2048"},
		"embedded nothing":    {embeddings, `{"model":"m","input":[]}`, "input", "0 members"},
		"empty input":         {embeddings, `{"model":"m","input":""}`, "input", "fewer than 1"},
		"reference":           {responses, `{"model":"m","input":[{"type":"item_reference","id":"x"}]}`, "input[0].type", "not known"},
		"stored file":         {responses, `{"model":"m","input":[{"role":"user","content":[{"type":"input_file","file_id":"x"}]}]}`, "input[0].content[0].type", "not known"},
		"mcp":                 {responses, `{"model":"m","input":"a","tools":[{"type":"mcp","server_url":"http://10.0.0.1"}]}`, "tools[0].type", "not known"},
	}
	many := ""
	for i := range 65 {
		many += `"x` + strings.Repeat("y", i) + `":1,`
	}
	cases["unknown to all"] = hostile{chat, "{" + many + hello[1:], "", "more than 64 fields"}
	cases["unknown, and silent"] = hostile{chat, "{" + strings.ReplaceAll(many, ":1", ":null") + hello[1:], "", "that say nothing"}
	for _, host := range []string{"localhost", "127.0.0.1", "[::1]", "0x7f.0.0.0x1", "2130706433", "a", "x.internal", "user@example.com", "example.com:22", "", "exa mple.com", "example.com.", "-a.com", "a..com"} {
		cases["image at "+host] = hostile{chat, parts(`{"type":"image_url","image_url":{"url":"https://` + host + `/a.png"}}`), "messages[0].content[0].image_url.url", "is an address"}
	}
	for what, url := range map[string]string{"type": "data:text/html;base64,AAAA", "none": "data:image/png,AAAA", "length": "data:image/png;base64,AAA", "end": "data:image/png;base64,AB==", "characters": "data:image/png;base64,A-AA", "padding": "data:image/png;base64,===="} {
		cases["image data "+what] = hostile{chat, parts(`{"type":"image_url","image_url":{"url":"` + url + `"}}`), "messages[0].content[0].image_url.url", "is "}
	}
	return cases
}
