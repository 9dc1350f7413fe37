package edge_test

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/disk/disktest"
	"github.com/pavise/pavise/internal/edge"
	"github.com/pavise/pavise/internal/edgetest"
	"github.com/pavise/pavise/internal/issuer"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/route"
)

// TestStormHasARecordEach has ten thousand requests at once, of twenty callers, while the
// disk of the evidence log stands still: good ones, bad ones, and more than callers may
// send. Once the disk moves each is answered or refused, and has a record of its own that
// says so.
func TestStormHasARecordEach(t *testing.T) {
	const callers = 20
	d := disktest.New()
	w := edgetest.NewOn(t, d)
	w.Put(t, func(s *route.Spec) { s.Rate = "100/1h" })
	goOn := hold(t, w, d)
	handler := w.Edge.Handler()
	answers := make([]*http.Response, crowd)
	var all sync.WaitGroup
	for i, token := range tokens(t, w, callers) {
		all.Go(func() {
			body := edgetest.Good
			if i/callers%4 == 3 {
				body = `{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[0.5]}]}`
			}
			r := newRequest("POST", "/v2/models/m/infer", strings.NewReader(body))
			r.Header.Set("Authorization", "Bearer "+token)
			answer := newRecorder()
			handler.ServeHTTP(answer, r)
			answers[i] = answer.Result()
		})
	}
	for w.Log.Waiting() < crowd {
		time.Sleep(time.Millisecond)
	}
	goOn()
	all.Wait()
	log := map[uint64]record.Record{}
	for i, r := range w.Log.Records(0, w.Log.Size()) {
		log[i] = r
	}
	statuses := map[int]int{}
	for _, resp := range answers {
		statuses[resp.StatusCode]++
		index, err := strconv.ParseUint(resp.Header.Get(edge.RecordHeader), 10, 64)
		r, left := log[index]
		if err != nil || !left || r.Kind != "model.infer" || statusOf(r) != resp.StatusCode {
			t.Fatalf("status %d with record %q, which nobody else has %t: %+v", resp.StatusCode, resp.Header.Get(edge.RecordHeader), left, r)
		}
		delete(log, index)
	}
	if statuses[200] < 100*callers || statuses[400] == 0 || statuses[429] == 0 || len(statuses) != 3 || w.Log.Unwritten() != 0 {
		t.Errorf("%d at once got %v; %d records are missing", crowd, statuses, w.Log.Unwritten())
	}
}

// hold has the next write of a record stand still, until what it returns is called. A
// record of the test's own is in that write.
func hold(t *testing.T, w *edgetest.World, d *disktest.Disk) (goOn func()) {
	stands, moves := make(chan struct{}), make(chan struct{})
	var once sync.Once
	d.Slow(func(op, name string) {
		if _, segment := disk.ParseSegmentName(name); segment && op == "write" {
			once.Do(func() { close(stands) })
			<-moves
		}
	})
	t.Cleanup(func() { d.Slow(nil) })
	go w.Log.Append(context.Background(), &record.Record{Kind: "test", Phase: record.Note, Tenant: edgetest.Tenant, At: time.Now()}, ledger.Written)
	<-stands
	return func() { close(moves) }
}

// tokens are those of so many callers, by turns, for the whole crowd.
func tokens(t *testing.T, w *edgetest.World, callers int) (all []string) {
	for i := range callers {
		all = append(all, w.Mint(t, fmt.Sprint("app", i), issuer.RoleCaller))
	}
	for len(all) < crowd {
		all = append(all, all[len(all)-callers])
	}
	return all
}

// statusOf is how whoever got the record was answered.
func statusOf(r record.Record) int {
	if r.Error == nil {
		return http.StatusOK
	}
	for _, kind := range []pavise.Kind{pavise.Invalid, pavise.Throttled} {
		if r.Error.Kind == kind.String() {
			return kind.HTTPStatus()
		}
	}
	return 0
}
