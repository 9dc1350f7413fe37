package blob

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
)

// TestTheLockThatWasAskedFor puts objects under each lock and looks at what the store was
// told: the mode, and a time that is not before the one asked for.
func TestTheLockThatWasAskedFor(t *testing.T) {
	until := time.Now().Add(24 * time.Hour).Truncate(time.Second).Add(1)
	for _, test := range []struct {
		lock  string
		until time.Time
		mode  string
	}{
		{"compliance", until, "COMPLIANCE"}, {"governance", until, "GOVERNANCE"}, {"", until, ""},
		{"compliance", time.Time{}, ""}, {"compliance", time.Now().Add(-time.Second), ""},
	} {
		s, address := newStore(t, true)
		b := open(t, address("&lock="+test.lock))
		for name, size := range map[string]int64{"small": 10, "in parts": 17 << 20} {
			name = strings.ReplaceAll(name, " ", "-")
			if err := b.Put(t.Context(), Object{Name: name, Size: size, Until: test.until}, io.LimitReader(endless{}, size)); err != nil {
				t.Errorf("%+v: %v", test, err)
				continue
			}
			v := s.newest("some/where/" + name)
			if v.mode != test.mode || test.mode != "" && (v.until.Before(test.until) || v.until.After(test.until.Add(time.Second))) {
				t.Errorf("%+v: the store was told %s until %v", test, v.mode, v.until)
			}
		}
	}
}

// TestALockGetsLongerAndNeverShorter holds an object longer than it was put for. The
// store refuses to hold it shorter, and that is an error.
func TestALockGetsLongerAndNeverShorter(t *testing.T) {
	s, address := newStore(t, true)
	b := open(t, address("&lock=compliance"))
	until := time.Now().Add(time.Hour)
	if err := b.Put(t.Context(), Object{Name: "x", Size: 1, Until: until}, strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	h := b.(Holder)
	if err := h.Hold(t.Context(), "x", until.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if v := s.newest("some/where/x"); v.until.Before(until.Add(time.Hour)) || v.mode != "COMPLIANCE" {
		t.Errorf("held until %v, %s", v.until, v.mode)
	}
	wantKind(t, h.Hold(t.Context(), "x", until), pavise.Denied)
	wantKind(t, h.Hold(t.Context(), "y", until), pavise.NotFound)
}

// TestALockThatTheBucketDoesNotHave is refused when the bucket is opened, not when
// somebody relies on it.
func TestALockThatTheBucketDoesNotHave(t *testing.T) {
	_, address := newStore(t, false)
	_, err := Open(t.Context(), address("&lock=compliance"))
	wantKind(t, err, pavise.Invalid)
	_, err = Open(t.Context(), strings.Replace(address(""), "evidence", "nobodys", 1))
	wantKind(t, err, pavise.NotFound)
}

// TestStoresThatGoWrong has the store refuse, break and go away at each kind of request:
// the error has a kind and a hint, holds no secret, and nothing half is taken for whole.
func TestStoresThatGoWrong(t *testing.T) {
	refusing := func(status int, code string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool { refuse(w, status, code); return true }
	}
	for _, test := range []struct {
		what  string
		spoil func(http.ResponseWriter, *http.Request) bool
		kind  pavise.Kind
	}{
		{"access denied", refusing(http.StatusForbidden, "AccessDenied"), pavise.Denied},
		{"a wrong key", refusing(http.StatusForbidden, "InvalidAccessKeyId"), pavise.Denied},
		{"a wrong secret", refusing(http.StatusForbidden, "SignatureDoesNotMatch"), pavise.Denied},
		{"an error", refusing(http.StatusInternalServerError, "InternalError"), pavise.Unavailable},
		{"too much", refusing(http.StatusServiceUnavailable, "SlowDown"), pavise.Unavailable},
		{"a full disk", refusing(http.StatusInsufficientStorage, "XMinioStorageFull"), pavise.Unavailable},
		{"no answer", func(w http.ResponseWriter, _ *http.Request) bool {
			if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
				conn.Close()
			}
			return true
		}, pavise.Unavailable},
		{"nonsense", func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(http.StatusTeapot)
			io.WriteString(w, "<html>"+strings.Repeat("x", 1<<16))
			return true
		}, pavise.Unavailable},
	} {
		t.Run(test.what, func(t *testing.T) {
			s, address := newStore(t, true)
			b := open(t, address("&lock=compliance"))
			put(t, b, "there", []byte("there"))
			s.mu.Lock()
			s.spoil = test.spoil
			s.mu.Unlock()
			_, err := Open(t.Context(), address(""))
			wantKind(t, err, test.kind)
			_, err = b.Get(t.Context(), "there")
			wantKind(t, err, test.kind)
			for _, size := range []int64{5, 17 << 20} {
				wantKind(t, b.Put(t.Context(), Object{Name: "new", Size: size}, io.LimitReader(endless{}, size)), test.kind)
			}
			wantKind(t, b.(Holder).Hold(t.Context(), "there", time.Now().Add(time.Hour)), test.kind)
			n := 0
			for _, err := range b.List(t.Context(), "") {
				wantKind(t, err, test.kind)
				if e, ok := errors.AsType[*pavise.Error](err); !ok || e.Hint == "" {
					t.Errorf("no hint: %v", err)
				}
				n++
			}
			if n != 1 {
				t.Errorf("%d errors of one list", n)
			}
			s.mu.Lock()
			s.spoil = nil
			s.mu.Unlock()
			_, err = b.Get(t.Context(), "new")
			wantKind(t, err, pavise.NotFound)
		})
	}
}

// TestAnAnswerThatBreaksOff cuts an object short on its way: that is an error, and not a
// shorter object. So is a list whose second page does not come.
func TestAnAnswerThatBreaksOff(t *testing.T) {
	s, address := newStore(t, false)
	b := open(t, address(""))
	content := bytes.Repeat([]byte("evidence"), 1<<10)
	for _, name := range []string{"a", "b", "c", "d"} {
		put(t, b, name, content)
	}
	s.mu.Lock()
	s.spoil = func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case r.Method == "GET" && r.URL.Query().Has("continuation-token"):
			refuse(w, http.StatusInternalServerError, "InternalError")
		case r.Method == "GET" && strings.HasSuffix(r.URL.Path, "/a"):
			w.Header().Set("Content-Length", "8192")
			w.Header().Set("ETag", etag(content))
			w.Header().Set("Last-Modified", time.Unix(1_800_000_000, 0).UTC().Format(http.TimeFormat))
			w.Write(content[:100])
		default:
			return false
		}
		return true
	}
	s.mu.Unlock()
	r, err := b.Get(t.Context(), "a")
	if err == nil {
		var got []byte
		got, err = io.ReadAll(r)
		r.Close()
		if err == nil {
			t.Errorf("%d of %d bytes are taken for all", len(got), len(content))
		}
	}
	wantKind(t, err, pavise.Unavailable)
	var names []string
	for o, err := range b.List(t.Context(), "") {
		if err != nil {
			wantKind(t, err, pavise.Unavailable)
			names = append(names, "error")
			continue
		}
		names = append(names, o.Name)
	}
	if strings.Join(names, " ") != "a b c error" {
		t.Errorf("the list is %q", names)
	}
}

// TestOthersObjectsArePassedOver lists a bucket in which others keep things under names
// that are no object's of ours, and above our prefix.
func TestOthersObjectsArePassedOver(t *testing.T) {
	s, address := newStore(t, false)
	b := open(t, address(""))
	put(t, b, "ours", []byte("x"))
	s.mu.Lock()
	for _, key := range []string{"else", "some/whereelse", "some/where/../up", "some/where/a b", "some/where//x", "some/where/a\\b", "some/where/ä"} {
		s.objects[key] = []version{{content: []byte("x")}}
	}
	s.mu.Unlock()
	if names := list(t, b, ""); len(names) != 1 || names[0] != "ours" {
		t.Errorf("there are %q", names)
	}
}
