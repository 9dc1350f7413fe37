package mlflow

import (
	"context"
	"strconv"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/tracked"
)

// pagePoints bounds the values of a metric in an answer.
const pagePoints = 10_000

// keepPoints keeps values of the metrics of a run, and gives them to the logged models that
// they are of.
func (s *Server) keepPoints(tx *store.Tx, who pavise.Principal, run string, points []tracked.Metric) error {
	if err := tracked.KeepPoints(tx, who.Tenant, run, points); err != nil {
		return err
	}
	of := map[string][]tracked.Metric{}
	for _, m := range points {
		if m.Model != "" {
			m.Run = run
			of[m.Model] = append(of[m.Model], m)
		}
	}
	for id, all := range of {
		if err := s.measured(tx, who, id, all); err != nil {
			return err
		}
	}
	return nil
}

// A historyOf asks for all values of a metric of a run.
type historyOf struct {
	ofRun
	Key  string        `json:"metric_key"`
	Most tracked.Whole `json:"max_results"`
	Page string        `json:"page_token"`
}

// metricHistory returns the values of a metric in the order in which they came.
func (s *Server) metricHistory(ctx context.Context, who pavise.Principal, req historyOf) (any, error) {
	r, err := s.see(ctx, who, req.id())
	if err != nil {
		return nil, err
	}
	var behind int64
	if req.Page != "" {
		behind, err = strconv.ParseInt(req.Page, 10, 64)
	}
	if err != nil || req.Key == "" || req.Most < 0 {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "no metric_key, or a page or max_results that is none", Hint: "send the key of a metric, and the token that came with the page before"}
	}
	most := pagePoints
	if req.Most > 0 {
		most = int(min(req.Most, pagePoints))
	}
	var a struct {
		Metrics []tracked.Metric `json:"metrics,omitempty"`
		Next    string           `json:"next_page_token,omitempty"`
	}
	err = s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		var last int64
		a.Metrics, last, err = tracked.Points(tx, who.Tenant, r.Info.ID, req.Key, behind, most)
		if last > 0 {
			a.Next = strconv.FormatInt(last, 10)
		}
		return err
	})
	if newest, is := r.Metrics[req.Key]; is && err == nil && behind == 0 && len(a.Metrics) == 0 {
		a.Metrics = []tracked.Metric{newest} // of a run from before all values were kept
	}
	return a, err
}
