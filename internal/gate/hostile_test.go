package gate

import (
	"bytes"
	"compress/gzip"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/record"
)

// serve serves the push doors to whoever says who they are, and sends a request within a
// time.
func (w *world) serve(t *testing.T, within time.Duration) *httptest.Server {
	t.Helper()
	callers := map[string]pavise.Principal{"pusher": pusher, "stranger": stranger}
	door := Door{
		Admit: func(r *http.Request) (pavise.Principal, error) {
			who, known := callers[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
			if !known {
				return who, &pavise.Error{Kind: pavise.Unverified, Msg: "nobody knows who calls"}
			}
			return who, nil
		},
		Refuse: func(w http.ResponseWriter, err error) {
			w.WriteHeader(pavise.KindOf(err).HTTPStatus())
			io.WriteString(w, err.Error())
		},
	}
	mux := http.NewServeMux()
	mux.Handle("POST /v1/ingest/{source}", w.PushDoor(door))
	mux.Handle("POST /v1/logs", w.LogsDoor(door))
	s := httptest.NewUnstartedServer(mux)
	s.Config.ReadTimeout = within
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func zipped(text string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	io.WriteString(z, text)
	z.Close()
	return b.String()
}

// A hostilePush is one request, and what is to come of it: a status, and words of the answer.
type hostilePush struct {
	name   string
	source string // ndjson, csv, lines, stix, signed, writers, keep or logs
	kind   string // its Content-Type; "": that of the source
	body   string
	header map[string]string
	status int
	words  string
}

const zip = "Content-Encoding"

// hostile are pushes of those who mean harm, or whose programs are broken.
func hostile(sign func(string) string) []hostilePush {
	deep := strings.Repeat(`{"a":`, 200) + "1" + strings.Repeat("}", 200)
	long := strings.Repeat("x", 70<<10)
	oneBad := good(1, 99_999) + `{"id":"x","amount":1}` + "\n"
	h := func(pairs ...string) map[string]string {
		m := map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = pairs[i+1]
		}
		return m
	}
	return []hostilePush{
		// Rows that are no rows.
		{"a ragged row", "csv", "", "id,amount\n1,2\n3\n", nil, 202, "line 3"},
		{"a row with more cells", "csv", "", "id,amount\n1,2\n3,4,5\n", nil, 202, "line 3"},
		{"a quote that does not close", "csv", "", "id,amount\n1,\"2\n", nil, 202, "quote"},
		{"a quote inside of a cell", "csv", "", "id,amount\n1,2\"3\n", nil, 202, "quote"},
		{"a carriage return alone", "csv", "", "id,amount\n1,2\r3,4\n", nil, 202, "carriage return"},
		{"an empty line among rows", "csv", "", "id,amount\n1,2\n\n3,4\n", nil, 202, "empty"},
		{"two columns of one name", "csv", "", "id,id\n1,2\n", nil, 202, "id"},
		{"two columns that differ by case", "csv", "", "id,ID\n1,2\n", nil, 202, "differ by case alone"},
		{"no header", "csv", "", "1,2\n3,4\n", nil, 202, "column"},
		{"a byte order mark in CSV", "csv", "", "\xef\xbb\xbfid,amount\n1,2\n", nil, 202, "byte order mark"},
		{"NUL in CSV", "csv", "", "id,amount\n1,\x002\n", nil, 202, "NUL"},
		{"Latin-1 in CSV", "csv", "", "id,amount\n1,\xe9\n", nil, 202, "UTF-8"},
		{"UTF-16 in CSV", "csv", "", "\xff\xfei\x00d\x00\n\x00", nil, 202, "cannot be read"},
		{"a formula of a spreadsheet", "csv", "", "id,amount\n1,=cmd|'/C calc'!A0\n", nil, 202, "row 1"},
		{"a number of another notation", "csv", "", "id,amount\n1,0x10\n", nil, 202, "row 1"},
		{"infinity", "csv", "", "id,amount\n1,1e999\n", nil, 202, "row 1"},
		{"a column that nobody promised", "csv", "", "id,amount,role\n1,2,admin\n", nil, 202, "no such column"},
		{"a byte order mark in JSON", "ndjson", "", "\xef\xbb\xbf{\"id\":1,\"amount\":1}\n", nil, 202, "byte order mark"},
		{"a key twice", "ndjson", "", `{"id":1,"amount":1,"amount":2}` + "\n", nil, 202, "twice"},
		{"a key twice by case", "ndjson", "", `{"id":1,"amount":1,"Amount":2}` + "\n", nil, 202, "differ by case alone"},
		{"a key twice inside", "free", "application/x-ndjson", `{"id":1,"x":{"a":1,"a":2}}` + "\n", nil, 202, "twice"},
		{"a key twice inside by case", "free", "application/x-ndjson", `{"id":1,"x":{"a":1,"A":2}}` + "\n", nil, 202, "row 1"},
		{"a key twice by an escape", "ndjson", "", `{"id":1,"amount":1,"\u0061mount":2}` + "\n", nil, 202, "twice"},
		{"deep JSON", "free", "application/x-ndjson", deep + "\n", nil, 202, "deep"},
		{"a JSON list as a row", "free", "application/x-ndjson", "[1,2]\n", nil, 202, "list"},
		{"a text as a row", "ndjson", "", "\"hello\"\n", nil, 202, "no JSON object"},
		{"half a row", "ndjson", "", `{"id":1,"amount":`, nil, 202, "cannot be read"},
		{"two rows in a line", "ndjson", "", `{"id":1,"amount":1}{"id":2,"amount":1}` + "\n", nil, 202, "follows the end"},
		{"a comment", "ndjson", "", "// hello\n{\"id\":1}\n", nil, 202, "cannot be read"},
		{"NaN", "ndjson", "", `{"id":1,"amount":NaN}` + "\n", nil, 202, "cannot be read"},
		{"NUL in JSON", "ndjson", "", "{\"id\":1,\"amount\":1\x00}\n", nil, 202, "NUL"},
		{"half a surrogate", "ndjson", "", `{"id":1,"amount":1,"x":"\ud800"}` + "\n", nil, 202, "cannot be read"},
		{"not UTF-8 in JSON", "ndjson", "", "{\"id\":1,\"amount\":\"\xff\"}\n", nil, 202, "UTF-8"},
		{"a text for a number", "ndjson", "", `{"id":1,"amount":"1"}` + "\n", nil, 202, "type"},
		{"a number with a fraction for a whole one", "ndjson", "", `{"id":1.5,"amount":1}` + "\n", nil, 202, "row 1"},
		{"null for what is required", "ndjson", "", `{"id":null,"amount":1}` + "\n", nil, 202, "required"},
		{"a row that leaves out what is required", "ndjson", "", `{"id":1}` + "\n", nil, 202, "required"},
		{"an id twice", "ndjson", "", `{"id":1,"amount":1}` + "\n" + `{"id":1.0,"amount":2}` + "\n", nil, 202, "unique"},
		{"below the bounds", "ndjson", "", `{"id":1,"amount":-0.01}` + "\n", nil, 202, "minimum"},
		{"one breach in 100,000 rows", "ndjson", "", oneBad, nil, 202, "row 100000"},
		{"NUL in a line", "lines", "", "good\nb\x00d\n", nil, 202, "line 2"},
		{"mixed encodings in lines", "lines", "", "caf\xc3\xa9\ncaf\xe9\n", nil, 202, "line 2"},
		{"an endless line", "lines", "", long + "\n", nil, 202, "line 1"},
		{"lines without end", "lines", "", strings.Repeat("a\n", 1<<20+1), nil, 202, "more than 1048576 rows"},
		{"lists without end", "free", "application/x-ndjson", `{"x":[` + strings.Repeat("[],", 200_000) + "[]]}\n", nil, 202, "objects and lists"},
		{"objects of STIX without end", "stix", "", `{"type":"bundle","objects":[` + strings.Repeat("{},", 1<<20) + "{}]}", nil, 202, "objects and lists"},
		{"STIX that is none", "stix", "", `{"objects":[]}`, nil, 202, "no type"},
		{"STIX with a key twice", "stix", "", `{"type":"bundle","type":"x"}`, nil, 202, "cannot be read"},
		{"STIX that is not UTF-8", "stix", "", "{\"type\":\"bundle\",\"name\":\"caf\xe9\"}", nil, 202, "UTF-8"},
		{"deep STIX", "stix", "", `{"type":"bundle","x":` + deep + `}`, nil, 202, "deep"},
		{"STIX and something behind it", "stix", "", `{"type":"bundle"} {}`, nil, 202, "cannot be read"},

		// Bodies that are no bodies.
		{"nothing", "ndjson", "", "", nil, 400, "nothing in it"},
		{"nothing in gzip", "ndjson", "", zipped(""), h(zip, "gzip"), 400, "nothing in it"},
		{"a bomb", "ndjson", "", zipped(strings.Repeat("0", 80<<20)), h(zip, "gzip"), 400, "bomb"},
		{"gzip that is cut off", "ndjson", "", zipped(good(1, 500))[:40], h(zip, "gzip"), 400, "cut off"},
		{"gzip that is damaged", "ndjson", "", strings.Replace(zipped(good(1, 50)), "\x00", "\x01", 1)[:30] + "garbage", h(zip, "gzip"), 400, "the body"},
		{"gzip in gzip", "ndjson", "", zipped(zipped(good(1, 1))), h(zip, "gzip"), 202, "compressed"},
		{"gzip that nobody spoke of", "ndjson", "", zipped(good(2, 1)), nil, 202, "compressed"},
		{"plain text as gzip", "ndjson", "", good(1, 1), h(zip, "gzip"), 400, "is not"},
		{"Zstandard", "ndjson", "", "x", h(zip, "zstd"), 400, "packed with"},
		{"two codings", "ndjson", "", "x", h(zip, "gzip, gzip"), 400, "packed with"},

		// Requests that are no requests.
		{"the wrong type", "ndjson", "text/csv", "id\n1\n", nil, 400, "source takes ndjson"},
		{"a type that no source takes", "ndjson", "image/png", "x", nil, 400, "no source takes"},
		{"no type", "ndjson", " ", "x", nil, 400, "no source takes"},
		{"another character set", "ndjson", "application/x-ndjson; charset=utf-16", "x", nil, 400, "utf-16"},
		{"a source that there is not", "nowhere", "text/plain", "x", nil, 404, "no source"},
		{"a source with a name that is none", "%2e%2e%2fetc", "text/plain", "x", nil, 403, "name"},
		{"an id that is too long", "ndjson", "", good(1, 1), h(HeaderID, strings.Repeat("i", 300)), 400, "too long"},
		{"a signature that is no base64", "ndjson", "", good(1, 1), h(HeaderSignature, "!!"), 400, "base64"},
		{"an instant that is none", "ndjson", "", good(1, 1), h(HeaderAt, "yesterday"), 400, "instant"},
		{"nobody", "ndjson", "", good(1, 1), h("Authorization", ""), 401, "nobody knows"},
		{"somebody who may not", "ndjson", "", good(1, 1), h("Authorization", "Bearer stranger"), 403, ""},

		// Batches of others, at other times.
		{"not signed", "signed", "", good(1, 1), nil, 202, "not signed"},
		{"signed over other bytes", "signed", "", good(2, 1), h(HeaderSignature, sign(good(3, 1))), 202, "signature"},
		{"a short signature", "signed", "", good(4, 1), h(HeaderSignature, "AAAA"), 202, "signature"},
		{"somebody who is no writer", "writers", "", good(1, 1), nil, 202, "none of the source's writers"},
		{"from the future", "ndjson", "", good(5, 1), h(HeaderAt, "2026-11-27T13:30:00Z"), 202, "from now"},
		{"replayed", "ndjson", "", good(900, 2), h(HeaderID, "again"), 200, "repeated"},
		{"another batch by the same name", "ndjson", "", good(910, 2), h(HeaderID, "before"), 202, "conflict"},
		{"rows without their numbers", "keep", "", `{"id":1,"amount":1}` + "\n", nil, 202, "row 1"},

		// OTLP.
		{"OTLP that is none", "logs", "application/x-protobuf", "\xff\xff\xff", nil, 400, "no OTLP"},
		{"OTLP of another type", "logs", "text/plain", "x", nil, 400, "no OTLP"},
		{"OTLP with a group", "logs", "application/x-protobuf", "\x0b\x0c", nil, 400, "group"},
		{"OTLP as JSON that is none", "logs", "application/json", "{", nil, 400, "no OTLP"},
		{"OTLP with a key twice", "logs", "application/json", `{"resourceLogs":[],"resourceLogs":[]}`, nil, 400, "no OTLP"},
		{"OTLP that is not UTF-8", "logs", "application/json", "{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":[{\"body\":{\"stringValue\":\"caf\xe9\"}}]}]}]}", nil, 400, "UTF-8"},
		{"OTLP with objects without end", "logs", "application/json", `{"resourceLogs":[` + strings.Repeat("{},", 400_001) + `{}]}`, nil, 400, "objects"},
		{"deep OTLP", "logs", "application/json", `{"resourceLogs":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `}`, nil, 400, "deep"},
		{"deep OTLP in protobuf", "logs", "application/x-protobuf", deepOTLP(), nil, 400, "deep"},
		{"OTLP for no source", "logs", "application/json", `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"x"}}]}]}]}`, nil, 400, "pavise.source"},
		{"OTLP for a source that there is not", "logs", "application/json", `{"resourceLogs":[{"resource":{"attributes":[{"key":"pavise.source","value":{"stringValue":"nowhere"}}]},"scopeLogs":[{"logRecords":[{}]}]}]}`, nil, 404, "no source"},
		{"OTLP for a source that leads elsewhere", "logs", "application/json", `{"resourceLogs":[{"resource":{"attributes":[{"key":"pavise.source","value":{"stringValue":"../etc"}}]},"scopeLogs":[{"logRecords":[{}]}]}]}`, nil, 400, "name"},
		{"records without end", "logs", "application/x-protobuf", bombOTLP(), nil, 400, "come to more than"},
	}
}

// deepOTLP is a record whose body is a list in a list, and so on.
func deepOTLP() string {
	value := "\x10\x01"
	for range 100 {
		value = field(5, field(1, value))
	}
	return otlpRecord(value, 1)
}

// bombOTLP is many records that are empty, of a resource that is not.
func bombOTLP() string {
	name := strings.Repeat("n", 1000)
	attribute := field(1, field(1, "k")+field(2, field(1, name)))
	return field(1, field(1, attribute)+field(2, strings.Repeat("\x12\x00", 100_000)))
}

// field is a field of protobuf that holds bytes.
func field(number byte, text string) string {
	b := []byte{number<<3 | 2}
	for n := len(text); ; n >>= 7 {
		if n < 128 {
			return string(append(b, byte(n))) + text
		}
		b = append(b, byte(n)|128)
	}
}

// otlpRecord is a request with a record of some body, n times.
func otlpRecord(body string, n int) string {
	return field(1, field(2, strings.Repeat(field(2, field(5, body)), n)))
}

// TestHostilePushes plays the table of those who mean harm: each gets the right answer,
// leaves a record, and takes memory within bounds.
func TestHostilePushes(t *testing.T) {
	keys, key, _ := signers(t)
	sign := func(text string) string {
		return base64.StdEncoding.EncodeToString(ed25519.Sign(key, []byte(text)))
	}
	w := newWorld(t)
	source := func(id string) pavise.Name { return pavise.Name{Tenant: "local", Kind: KindSource, ID: id} }
	for _, s := range []Spec{
		{Source: source("ndjson"), Contract: []byte(promise)}, {Source: source("csv"), Form: FormCSV, Contract: []byte(promise)}, {Source: source("free")},
		{Source: source("lines"), Form: FormLines}, {Source: source("stix"), Form: FormSTIX}, {Source: source("signed"), Signers: keys},
		{Source: source("writers"), Writer: []string{"somebody else"}}, {Source: source("keep"), Sequence: "number"},
	} {
		w.put(t, s)
	}
	server := w.serve(t, time.Minute)
	types := map[string]string{"csv": "text/csv", "lines": "text/plain", "stix": "application/stix+json"}
	send := func(c hostilePush) (int, string) {
		path := "/v1/ingest/" + c.source
		if c.source == "logs" {
			path = "/v1/logs"
		}
		req, err := http.NewRequest(http.MethodPost, server.URL+path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer pusher")
		req.Header.Set("Content-Type", "application/x-ndjson")
		if kind := types[c.source]; kind != "" {
			req.Header.Set("Content-Type", kind)
		}
		if c.kind != "" {
			req.Header.Set("Content-Type", strings.TrimSpace(c.kind))
		}
		for name, value := range c.header {
			req.Header.Set(name, value)
		}
		resp, err := server.Client().Do(req)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		if (resp.StatusCode == http.StatusUnauthorized) != (resp.Header.Get("WWW-Authenticate") != "") {
			t.Errorf("%s: status %d, and WWW-Authenticate is %q", c.name, resp.StatusCode, resp.Header.Get("WWW-Authenticate"))
		}
		return resp.StatusCode, string(text)
	}
	for _, id := range []string{"first", "before"} { // what the replay and the conflict come after
		if status, text := send(hostilePush{source: "ndjson", body: good(map[string]int{"first": 900, "before": 920}[id], 2), header: map[string]string{HeaderID: id}}); status != 200 {
			t.Fatalf("%d %s", status, text)
		}
	}
	all := hostile(sign)
	if len(all) < 60 {
		t.Errorf("%d pushes", len(all))
	}
	for _, c := range all {
		before := w.log.Size()
		status, text := send(c)
		if status != c.status || !strings.Contains(text, c.words) {
			t.Errorf("%s: %d %.300s, want %d and %q", c.name, status, text, c.status, c.words)
		}
		pushes := 0
		for _, r := range w.log.Records(before, w.log.Size()) {
			if r.Kind == "ingest.push" && (r.Phase == record.Exit || r.Outcome == pavise.Deny) {
				pushes++
			}
		}
		if pushes == 0 && status != 401 { // those are the guard's to count
			t.Errorf("%s leaves no record", c.name)
		}
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if held, callers := w.bodies.Held(); held != 0 || callers != 0 {
		t.Errorf("%d bytes of %d callers are held still", held, callers)
	}
	if m.HeapAlloc > 256<<20 {
		t.Errorf("%d bytes are in use", m.HeapAlloc)
	}
}

// TestBrokenBodies sends half a body, one without end, and one that takes its time.
func TestBrokenBodies(t *testing.T) {
	w := newWorld(t)
	w.put(t, Spec{})
	patient, hasty := w.serve(t, time.Minute), w.serve(t, 200*time.Millisecond)
	for _, c := range []struct {
		name  string
		to    *httptest.Server
		write func(net.Conn)
		words string
	}{
		{"half a body", patient, func(c net.Conn) {
			io.WriteString(c, "Content-Length: 1000\r\n\r\n{\"id\":1}\n")
			c.(*net.TCPConn).CloseWrite()
		}, "broke off"},
		{"a slow body", hasty, func(c net.Conn) { io.WriteString(c, "Content-Length: 1000\r\n\r\n{\"id\"") }, "broke off"},
		{"100 MB", patient, func(c net.Conn) {
			io.WriteString(c, "Content-Length: 104857600\r\n\r\n")
			chunk := bytes.Repeat([]byte("x"), 1<<20)
			for range 100 {
				if _, err := c.Write(chunk); err != nil {
					return
				}
			}
		}, "longer than"},
		{"100 MB in chunks", patient, func(c net.Conn) {
			io.WriteString(c, "Transfer-Encoding: chunked\r\n\r\n")
			chunk := fmt.Sprintf("100000\r\n%s\r\n", bytes.Repeat([]byte("x"), 1<<20))
			for range 100 {
				if _, err := io.WriteString(c, chunk); err != nil {
					return
				}
			}
		}, "longer than"},
	} {
		conn, err := net.Dial("tcp", c.to.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, "POST /v1/ingest/rows HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer pusher\r\nContent-Type: application/x-ndjson\r\n")
		before := len(w.records(t, "ingest.push", record.Exit))
		c.write(conn)
		conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		io.Copy(io.Discard, conn) // the answer, if the connection is still good for one
		conn.Close()
		var last string
		for range 2000 { // the record may come after the answer
			if all := w.records(t, "ingest.push", record.Exit); len(all) > before && all[len(all)-1].Error != nil {
				last = all[len(all)-1].Error.Msg
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		if !strings.Contains(last, c.words) {
			t.Errorf("%s: the record says %q", c.name, last)
		}
	}
	if got := w.output(t); len(got) != 0 {
		t.Errorf("the output has %d batches", len(got))
	}
}

// TestHeldAgain tells whoever sends anew what is held, was discarded or expired that it was
// not let in.
func TestHeldAgain(t *testing.T) {
	w := newWorld(t)
	w.put(t, Spec{Contract: []byte(promise)})
	server := w.serve(t, time.Minute)
	bad := `{"id":1,"amount":5000}` + "\n"
	push := func(verdict, standing string) {
		t.Helper()
		req, err := http.NewRequest(http.MethodPost, server.URL+"/v1/ingest/rows", strings.NewReader(bad))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = http.Header{"Authorization": {"Bearer pusher"}, "Content-Type": {"application/x-ndjson"}}
		resp, err := server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var r Receipt
		if err := json.NewDecoder(resp.Body).Decode(&r); err != nil || resp.StatusCode != 202 || r.Verdict != verdict || r.Standing != standing || !r.Barred() {
			t.Errorf("%d %+v %v, want 202, %s, %q", resp.StatusCode, r, err, verdict, standing)
		}
	}
	push(Held, "")
	push(Repeated, "held")
	sum := w.digests(t)[0]
	if _, err := w.Discard(t.Context(), operator, rows, sum, ""); err != nil {
		t.Fatal(err)
	}
	push(Repeated, "discarded")
}

// TestReceiptAsJSON holds the answer of the door to what a program reads.
func TestReceiptAsJSON(t *testing.T) {
	w := newWorld(t)
	w.put(t, Spec{})
	server := w.serve(t, time.Minute)
	req, err := http.NewRequest(http.MethodPost, server.URL+"/v1/ingest/rows", strings.NewReader(zipped(good(1, 4))))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"Authorization": {"Bearer pusher"}, "Content-Type": {"application/x-ndjson"}, zip: {"gzip"}, HeaderID: {"a"}}
	resp, err := server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var r Receipt
	if err := json.NewDecoder(resp.Body).Decode(&r); err != nil || resp.StatusCode != 200 || r.Verdict != Admitted || r.Rows != 4 {
		t.Errorf("%d %+v %v", resp.StatusCode, r, err)
	}
	if got := w.output(t); len(got) != 1 || got[0] != good(1, 4) {
		t.Errorf("the output has %q", got)
	}
}
