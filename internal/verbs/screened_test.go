package verbs

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"path"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/catalog"
)

// answers has requests answered by the verb.
type answers func(verb string) any

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	text, err := json.Marshal(a(path.Base(r.URL.Path)))
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(text)), Request: r}, err
}

// TestScreenedWaitsQuietly: who waits for a screening has its report written into the log once, and
// asks less and less often.
func TestScreenedWaitsQuietly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, calls, another := time.Now(), map[string]int{}, false
		client := &api.Client{Base: "http://pavise.test", HTTP: &http.Client{Transport: answers(func(verb string) any {
			calls[verb]++
			s := catalog.Screening{Asked: began, State: catalog.ScreenUnderWay}
			if time.Since(began) > 10*time.Minute {
				s.State = catalog.ScreenClean
			}
			if another {
				s.Asked = began.Add(time.Second)
			}
			if verb == "dataset.show" {
				return catalog.Shown{Screening: &s, Said: "half of it is done …"}
			}
			return catalog.Reported{Screening: s, Report: &catalog.Report{}}
		})}}
		ask := DatasetScreen{DatasetRef: DatasetRef{Name: pavise.Name{Tenant: "local", Kind: "dataset", ID: "rows"}}, Label: "class"}
		said := ""
		r, err := Screened(t.Context(), client, ask, func(s string) { said = s })
		if err != nil || r.Screening.State != catalog.ScreenClean || r.Report == nil || said != "half of it is done …" {
			t.Errorf("%+v, said %q: %v", r, said, err)
		}
		if n := calls["dataset.show"]; calls["dataset.report"] != 1 || n < 100 || n > 140 {
			t.Errorf("in ten minutes it called %v", calls)
		}
		began = time.Now()
		_, err = Screened(t.Context(), client, ask, func(string) { another = true })
		if e, ok := errors.AsType[*pavise.Error](err); !ok || e.Kind != pavise.Conflict {
			t.Errorf("another one was asked for meanwhile: %v", err)
		}
	})
}
