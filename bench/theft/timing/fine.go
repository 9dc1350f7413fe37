package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/pavise/pavise/bench/result"
)

// steady is a model that takes the same time for each question of a kind.
const steady = "steady"

// The times that it takes. They lie on one rung, and their difference is what is finer than
// the runtime's timers.
const (
	steadyFirst  = 3000 * time.Microsecond
	steadySecond = 3400 * time.Microsecond
)

// steadily answers the same to both kinds. It works until then, for a sleep would end on some
// millisecond.
func steadily(w http.ResponseWriter, r *http.Request) {
	from, takes := time.Now(), steadyFirst
	body, _ := io.ReadAll(r.Body)
	if strings.Contains(string(body), second) {
		takes = steadySecond
	}
	for time.Since(from) < takes {
	}
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, `{"model_name":"steady","outputs":[{"name":"scores","shape":[1,2],"datatype":"FP32","data":[0.75,0.25]}]}`)
}

// belowRungs measures what of a rung's time shows that is finer than a millisecond.
func (h *house) belowRungs(ctx context.Context, n int) (string, error) {
	if n == 0 {
		return "", nil
	}
	table := result.NewTable("the route has", "median, first kind", "median, second kind", "told apart, one answer", "above the top")
	for _, ladder := range []string{"none", "20ms..2s"} {
		if err := h.put(ctx, steady, ladder, ""); err != nil {
			return "", err
		}
		all, err := h.ask(ctx, n, 1, h.one(steady))
		if err != nil {
			return "", err
		}
		told, err := tell(all)
		if err != nil {
			return "", err
		}
		late, err := h.late(ctx, steady)
		if err != nil {
			return "", err
		}
		table.Row(setting{ladder, ""}.String(), micros(median(all, 0)), micros(median(all, 1)), told, fmt.Sprint(late))
	}
	return fmt.Sprintf("### Below a millisecond\n\nThe model works %v for the first kind, and %v for the second, one request at a time: an idle process has timers that are late by as much as what came before them ended behind a whole millisecond.\n\n%s\n", steadyFirst, steadySecond, table), nil
}
