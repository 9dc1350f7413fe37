package openlineage

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/intake"
)

// door is the door of a world, for whoever is named in a header.
func (w *world) door() *Door {
	return w.NewDoor(func(r *http.Request) (pavise.Principal, error) {
		switch who := r.Header.Get("Test-Who"); who {
		case "":
			return pavise.Principal{}, &pavise.Error{Kind: pavise.Unverified, Msg: "who are you?"}
		case "ann":
			return analyst, nil
		default:
			return teller(who), nil
		}
	}, func(w http.ResponseWriter, err error) {
		kind := pavise.Internal
		var msg string
		if e, ok := errors.AsType[*pavise.Error](err); ok {
			kind, msg = e.Kind, e.Msg
		}
		w.WriteHeader(kind.HTTPStatus())
		io.WriteString(w, msg)
	})
}

// post sends a body as a client of OpenLineage does.
func post(d *Door, path, who string, body io.Reader, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", path, body)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Test-Who", who)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	answer := httptest.NewRecorder()
	d.ServeHTTP(answer, r)
	return answer
}

func zipped(t *testing.T, text []byte) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write(text)
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

func list(events ...json.RawMessage) string {
	var all []string
	for _, e := range events {
		all = append(all, string(e))
	}
	return "[" + strings.Join(all, ",") + "]"
}

// TestDoor takes events as clients send them: one, a batch, compressed.
func TestDoor(t *testing.T) {
	w := newWorld(t)
	d := w.door()
	one, two := ran(1, "START", []string{"raw"}, nil), ran(2, "START", []string{"raw"}, nil)
	for name, c := range map[string]struct {
		path    string
		body    io.Reader
		headers []string
	}{
		"one":                {PathEvent, bytes.NewReader(one), nil},
		"of a charset":       {PathEvent, bytes.NewReader(one), []string{"Content-Type", "application/json; charset=utf-8"}},
		"compressed":         {PathEvent, zipped(t, two), []string{"Content-Encoding", "gzip"}},
		"a batch":            {PathBatch, strings.NewReader(" " + list(one, two) + "\n"), nil},
		"a compressed batch": {PathBatch, zipped(t, []byte(list(one, ran(3, "START", []string{"raw"}, nil)))), []string{"Content-Encoding", "gzip"}},
	} {
		if answer := post(d, c.path, "airflow", c.body, c.headers...); answer.Code != http.StatusOK || !strings.Contains(answer.Body.String(), `"status":"success"`) {
			t.Errorf("%s: %d %s", name, answer.Code, answer.Body)
		}
	}
	if got := w.lineage(t, "raw"); got.Events != 3 {
		t.Errorf("%d events", got.Events)
	}
}

// TestBatchTellsWhatFailed keeps what can be read of a batch, and names the rest by its place.
func TestBatchTellsWhatFailed(t *testing.T) {
	w := newWorld(t)
	body := list(ran(1, "START", []string{"raw"}, nil), json.RawMessage(`{}`), json.RawMessage(`7`), ran(2, "BEGUN", nil, nil), ran(3, "START", []string{"raw"}, nil))
	answer := post(w.door(), PathBatch, "airflow", strings.NewReader(body))
	var done Emitted
	if err := json.Unmarshal(answer.Body.Bytes(), &done); err != nil || answer.Code != http.StatusOK {
		t.Fatalf("%d, %v: %s", answer.Code, err, answer.Body)
	}
	if done.Status != "partial_success" || done.Summary != (Summary{Received: 5, Successful: 2, Failed: 3, NonRetriable: 3}) {
		t.Errorf("%+v", done)
	}
	for i, want := range []int{1, 2, 3} {
		if f := done.Failed[i]; f.Index != want || f.Retriable || f.Reason == "" {
			t.Errorf("%+v", f)
		}
	}
	if got := w.lineage(t, "raw"); got.Events != 2 {
		t.Errorf("%d events", got.Events)
	}
}

// TestHostile sends what no client does.
func TestHostile(t *testing.T) {
	w := newWorld(t)
	d := w.door()
	good := string(ran(1, "START", []string{"raw"}, nil))
	gz := []string{"Content-Encoding", "gzip"}
	for name, c := range map[string]struct {
		path    string
		body    io.Reader
		headers []string
		says    string
	}{
		"nothing":                 {PathEvent, strings.NewReader(""), nil, "breaks off"},
		"no JSON":                 {PathEvent, strings.NewReader("no"), nil, "no JSON object"},
		"a list as one":           {PathEvent, strings.NewReader("[" + good + "]"), nil, "does not begin with {"},
		"one as a batch":          {PathBatch, strings.NewReader(good), nil, "no JSON list"},
		"two behind each other":   {PathEvent, strings.NewReader(good + good), nil, "something stands behind"},
		"a batch and more":        {PathBatch, strings.NewReader("[" + good + "]{}"), nil, "something stands behind"},
		"a batch that breaks off": {PathBatch, strings.NewReader("[" + good), nil, "breaks off"},
		"an empty batch":          {PathBatch, strings.NewReader("[]"), nil, "no event"},
		"too many":                {PathBatch, strings.NewReader("[" + strings.Repeat("0,", maxEvents) + "0]"), nil, "500 events"},
		"a million of nothing":    {PathBatch, strings.NewReader("[" + strings.Repeat("0,", 1_000_000) + "0]"), nil, "500 events"},
		"a million inputs":        {PathEvent, strings.NewReader(strings.Replace(good, `"inputs":[`, `"inputs":[`+strings.Repeat(`{},`, 330_000), 1)), nil, "330001 datasets"},
		"too long":                {PathEvent, strings.NewReader(strings.Replace(good, `"producer":"p"`, `"x":"`+strings.Repeat("x", 1<<20)+`","producer":"p"`, 1)), nil, "more than 1048576 bytes"},
		"a batch too long":        {PathBatch, io.MultiReader(strings.NewReader("["), strings.NewReader(strings.Repeat(" ", maxBatch))), nil, "more than 8388608 bytes"},
		"deep":                    {PathEvent, strings.NewReader(strings.Replace(good, `"inputs":[`, `"x":`+strings.Repeat("[", 100_000)+strings.Repeat("]", 100_000)+`,"inputs":[`, 1)), nil, "exceeded max depth"},
		"a deep batch":            {PathBatch, strings.NewReader(strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000)), nil, "exceeded max depth"},
		"a bomb":                  {PathEvent, zipped(t, []byte(strings.Repeat(" ", 32<<20)+good)), gz, "more than 1048576 bytes"},
		"gzip that is none":       {PathEvent, strings.NewReader(good), gz, "Content-Encoding"},
		"gzip that is not said":   {PathEvent, zipped(t, []byte(good)), nil, "Content-Encoding"},
		"gzip cut off":            {PathEvent, io.LimitReader(zipped(t, []byte(good)), 60), gz, "cut off"},
		"another compression":     {PathEvent, strings.NewReader(good), []string{"Content-Encoding", "br"}, "otherwise than by gzip"},
		"no type":                 {PathEvent, strings.NewReader(good), []string{"Content-Type", "text/plain"}, "no JSON"},
		"a form":                  {PathEvent, strings.NewReader(good), []string{"Content-Type", "application/x-www-form-urlencoded"}, "no JSON"},
		"not UTF-8":               {PathEvent, strings.NewReader(strings.Replace(good, "raw", "r\xffw", 1)), nil, "not UTF-8"},
		"a key twice":             {PathEvent, strings.NewReader(strings.Replace(good, `"run":`, `"run":{},"run":`, 1)), nil, "twice"},
	} {
		if answer := post(d, c.path, "airflow", c.body, c.headers...); answer.Code != http.StatusBadRequest || !strings.Contains(answer.Body.String(), c.says) {
			t.Errorf("%s: %d %.300s, and it should say %q", name, answer.Code, answer.Body, c.says)
		}
	}
	if got := w.lineage(t, ""); got.Events != 0 {
		t.Errorf("%d of that is kept", got.Events)
	}
}

// untouched fails the test when somebody reads it.
type untouched struct{ t *testing.T }

func (u untouched) Read([]byte) (int, error) {
	u.t.Error("the body of somebody who may not tell was read")
	return 0, io.EOF
}

// TestDoorTurnsAway refuses strangers, and who may not tell, before their bodies are read.
func TestDoorTurnsAway(t *testing.T) {
	w := newWorld(t)
	d := w.door()
	if answer := post(d, PathEvent, "", untouched{t}); answer.Code != http.StatusUnauthorized || answer.Header().Get("WWW-Authenticate") == "" {
		t.Errorf("a stranger: %d %v", answer.Code, answer.Header())
	}
	answer := post(d, PathBatch, "ann", untouched{t})
	if answer.Code != http.StatusForbidden || w.log.Size() == 0 {
		t.Errorf("who may not: %d %s", answer.Code, answer.Body)
	}
	r := httptest.NewRequest("GET", PathEvent, nil)
	got := httptest.NewRecorder()
	if d.ServeHTTP(got, r); got.Code != http.StatusMethodNotAllowed || got.Header().Get("Allow") != "POST" {
		t.Errorf("a GET: %d", got.Code)
	}
}

// TestDoorIsNotHeld has one caller send long bodies that do not end: they are too much
// together, and others get in all the same, and so does that caller afterwards.
func TestDoorIsNotHeld(t *testing.T) {
	w := newWorld(t)
	d := w.door()
	one := ran(1, "START", nil, nil)
	long := bytes.Repeat([]byte(" "), maxBatch-10)
	const bodies = 4
	var writers []*io.PipeWriter
	done := make(chan int, bodies)
	for range bodies {
		body, in := io.Pipe()
		writers = append(writers, in)
		go func() {
			done <- post(d, PathBatch, "slow", body).Code
			body.CloseWithError(io.ErrClosedPipe)
		}()
		in.Write([]byte("["))
		in.Write(long)
	}
	if answer := post(d, PathEvent, "airflow", bytes.NewReader(one)); answer.Code != http.StatusOK {
		t.Errorf("another: %d %s", answer.Code, answer.Body)
	}
	for _, in := range writers {
		in.Close()
	}
	codes := map[int]int{}
	for range bodies {
		codes[<-done]++
	}
	if codes[http.StatusTooManyRequests] == 0 || codes[http.StatusTooManyRequests]+codes[http.StatusBadRequest] != bodies {
		t.Errorf("answers: %v", codes)
	}
	if answer := post(d, PathEvent, "slow", bytes.NewReader(one)); answer.Code != http.StatusOK {
		t.Errorf("afterwards: %d", answer.Code)
	}
}

// FuzzBatch holds that what is taken apart is what was sent, and bounded.
func FuzzBatch(f *testing.F) {
	f.Add([]byte(list(ran(1, "START", []string{"raw"}, nil), json.RawMessage(`7`))), false)
	f.Add([]byte("\x1f\x8b\x08"), true)
	f.Add([]byte(`[[],{"a":[1e9]} , ""]`), false)
	f.Fuzz(func(t *testing.T, body []byte, zipped bool) {
		r := httptest.NewRequest("POST", PathBatch, nil)
		r.Header.Set("Content-Type", "application/json")
		if zipped {
			r.Header.Set("Content-Encoding", "gzip")
		}
		var bodies intake.Bodies
		hold := bodies.Begin(airflow.Name())
		defer hold.Free()
		text, err := readBody(r, bytes.NewReader(body), hold, 1<<12)
		if err == nil && len(text) > 1<<12 {
			t.Fatalf("%d bytes were read", len(text))
		}
		if err != nil && pavise.KindOf(err) != pavise.Invalid {
			t.Fatal(err)
		}
		texts, err := splitBatch(text)
		if err != nil {
			if pavise.KindOf(err) != pavise.Invalid {
				t.Fatal(err)
			}
			return
		}
		var again []any
		if json.Unmarshal(text, &again) != nil || len(again) != len(texts) {
			t.Errorf("%q is %d events, and was taken apart into %d", text, len(again), len(texts))
		}
	})
}
