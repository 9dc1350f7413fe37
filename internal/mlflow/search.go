package mlflow

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/filter"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/tracked"
)

// The sizes of pages.
const (
	pageModels   = 100
	maxModels    = 1000
	pageVersions = 10_000
	maxVersions  = 200_000
	maxFound     = 50_000 // runs or logged models; they come in shorter ones where they are long
)

// parse reads what a search asks for.
func parse(g filter.Grammar, req search, most int) (clauses []filter.Clause, orders []filter.Order, err error) {
	if req.Most < 0 || int64(req.Most) > int64(most) {
		return nil, nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("max_results is %d", req.Most), Hint: fmt.Sprintf("ask for 1 to %d", most)}
	}
	if clauses, err = g.Parse(req.Filter); err == nil {
		orders, err = g.Orders(req.Order)
	}
	return clauses, orders, err
}

// A cut is the page of what was found that a search asks for. A token is of one search only.
type cut struct {
	from, most int
	mark       string
}

// cutOf reads the token of a page. in is where the search looks, beside its filter.
func cutOf(req search, usual int, in ...string) (c cut, err error) {
	h := fnv.New64a()
	fmt.Fprintf(h, "%q %q", req.Filter, req.Order)
	if len(in) > 0 {
		fmt.Fprintf(h, " %q", in)
	}
	c = cut{most: cmp.Or(int(req.Most), usual), mark: fmt.Sprintf(" %x", h.Sum64())}
	if req.Page == "" {
		return c, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(req.Page)
	offset, is := strings.CutSuffix(string(raw), c.mark)
	if err == nil && is {
		c.from, err = strconv.Atoi(offset)
	}
	if err != nil || !is || c.from < 0 {
		return c, &pavise.Error{Kind: pavise.Invalid, Msg: "the page_token is of no such search", Hint: "send the token with the filter and the order that it came with, or none"}
	}
	return c, nil
}

// next is the token of what follows, of so many found.
func (c cut) next(end, found int) string {
	if end >= found {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.Itoa(end) + c.mark))
}

// page is the part of what was found that a search asks for, and the token of the next.
func page[T any](found []T, req search, usual int) ([]T, string, error) {
	c, err := cutOf(req, usual)
	if err != nil {
		return nil, "", err
	}
	from := min(c.from, len(found))
	end := min(from+c.most, len(found))
	return found[from:end], c.next(end, len(found)), nil
}

// searchIn finds what of the newest in some experiments a caller may look at.
func searchIn[T any](ctx context.Context, s *Server, who pavise.Principal, in tracked.Shelf[T], ids []text, req search) (all []T, next string, err error) {
	entry, err := s.cfg.Guard.Enter(ctx, who, VerbShow, experiments(who.Tenant))
	if err != nil {
		return nil, "", err
	}
	defer entry.Exit(&err)
	q := tracked.Query{May: func(id string) bool { return s.cfg.Guard.May(who, VerbShow, runName(who.Tenant, id)) }}
	for _, id := range ids {
		q.Experiments = append(q.Experiments, string(id))
	}
	if q.Clauses, q.Orders, err = parse(in.Grammar, req, maxFound); err != nil {
		return nil, "", err
	}
	c, err := cutOf(req, in.Usual, q.Experiments...)
	if err != nil {
		return nil, "", err
	}
	q.From, q.Most = c.from, c.most
	select {
	case s.finds <- struct{}{}:
		defer func() { <-s.finds }()
	case <-ctx.Done():
		return nil, "", ctx.Err()
	}
	err = s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		var end, found int
		all, end, found, err = in.Find(tx, who.Tenant, q)
		next = c.next(end, found)
		return err
	})
	return all, next, err
}
