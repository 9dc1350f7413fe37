package tracked

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/filter"
	"github.com/pavise/pavise/internal/store"
)

// The bounds of a search.
const (
	maxLooked      = 10_000    // of the newest are looked through
	maxLookedBytes = 256 << 20 // of them
	maxPageBytes   = 16 << 20  // of an answer, unless one thing alone has more
	maxWithin      = 500       // experiments
)

// A Shelf is a table of what was said, each with what was said of it as JSON: Runs, or
// LoggedModels.
type Shelf[T any] struct {
	Grammar filter.Grammar
	Usual   int // in a page
	table   string
	subject func(T) filter.Subject
}

// A Query asks for a page of what a shelf has.
type Query struct {
	Experiments []string
	Clauses     []filter.Clause
	Orders      []filter.Order // none: the newest first
	From, Most  int            // the page: the first, and how many
	May         func(id string) bool
}

// Find returns what a query asks for, where its page ends, and how many there are in all. The
// error is of kind Invalid for a search through too much.
func (in Shelf[T]) Find(tx *store.Tx, tenant string, q Query) (all []T, end, found int, err error) {
	hits, err := in.look(tx, tenant, q)
	if err != nil {
		return nil, 0, 0, err
	}
	slices.SortStableFunc(hits, func(a, b hit) int { return filter.Compare(a.by, b.by, q.Orders) })
	said := 0
	for end = min(q.From, len(hits)); end < len(hits) && len(all) < q.Most; end++ {
		var doc string
		if err := tx.QueryRow(`SELECT doc FROM `+in.table+` WHERE tenant = ? AND id = ?`, tenant, hits[end].id).Scan(&doc); err != nil {
			return nil, 0, 0, err
		}
		if said += len(doc); said > maxPageBytes && len(all) > 0 {
			break
		}
		var one T
		if err := json.Unmarshal([]byte(doc), &one); err != nil {
			return nil, 0, 0, err
		}
		all = append(all, one)
	}
	return all, end, len(hits), nil
}

// A hit is what was found, with as much of it as it is ordered by.
type hit struct {
	id string
	by filter.Subject
}

// look looks through a shelf, the newest first.
func (in Shelf[T]) look(tx *store.Tx, tenant string, q Query) (found []hit, err error) {
	if n := len(q.Experiments); n == 0 || n > maxWithin {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the search is in %d experiments", n), Hint: fmt.Sprintf("name 1 to %d by experiment_ids", maxWithin)}
	}
	args := []any{tenant}
	for _, e := range q.Experiments {
		args = append(args, e)
	}
	rows, err := tx.Query(`SELECT id, doc FROM `+in.table+` WHERE tenant = ? AND experiment IN (?`+strings.Repeat(`, ?`, len(q.Experiments)-1)+`)
		ORDER BY created DESC, id LIMIT `+strconv.Itoa(maxLooked), args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for looked := 0; rows.Next(); {
		var h hit
		var doc string
		if err := rows.Scan(&h.id, &doc); err != nil {
			return nil, err
		}
		if looked += len(doc); looked > maxLookedBytes {
			return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the search is through more than %d MiB", maxLookedBytes>>20), Hint: "name fewer experiments"}
		}
		var one T
		if err := json.Unmarshal([]byte(doc), &one); err != nil {
			return nil, err
		}
		if is := in.subject(one); filter.Hold(q.Clauses, is) && q.May(h.id) {
			h.by = filter.Only(is, q.Orders)
			found = append(found, h)
		}
	}
	return found, rows.Err()
}
