package redteam

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/extraction"
	"github.com/pavise/pavise/internal/learn"
	"github.com/pavise/pavise/internal/table"
)

// rows reads what the thief holds, and what copies are measured on.
func (f *Setting) rows(v *victim) (data extraction.Data, held learn.Set, err error) {
	path := f.Data
	if info, err := os.Stat(path); path == "" || err == nil && info.IsDir() {
		return data, held, &pavise.Error{Kind: pavise.Invalid, Msg: "there are no rows to attack with", Hint: "name a file of them with --data: CSV, JSONL, NPY or IDX"}
	}
	if f.Held < 1 {
		return data, held, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("--held %d", f.Held), Hint: "a copy is measured on at least 1 row; 2000 tell 2 per cent apart"}
	}
	own, err := f.read(path, nil, v)
	if err != nil {
		return data, held, err
	}
	all := learn.Set{X: learn.Matrix(own.X), Y: own.Y}
	rest := all
	if f.Test != "" {
		test, err := f.read(f.Test, own, v)
		if err != nil {
			return data, held, err
		}
		held = some(learn.Set{X: learn.Matrix(test.X), Y: test.Y}, 0, f.Held, f.Seed)
	} else {
		apart := min(f.Held, max(all.X.Rows/5, 1))
		held, rest = some(all, 0, apart, f.Seed), some(all, apart, all.X.Rows, f.Seed)
	}
	data = extraction.Data{Rows: rest.X, Labels: rest.Y}
	if held.X.Rows == 0 || data.Rows.Rows < 2 {
		return data, held, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s has %d rows: too few to attack with and to measure on", path, all.X.Rows), Hint: "give at least 3 rows, or others with --test"}
	}
	if f.Pool != "" {
		pool, err := f.read(f.Pool, own, v)
		if err != nil {
			return data, held, err
		}
		data.Pool = learn.Matrix(pool.X)
	}
	return data, held, nil
}

// some are the rows of a set from one place to another of an order that the seed decides.
func some(s learn.Set, from, to int, seed uint64) learn.Set {
	const heldStream = 9
	order := rand.New(rand.NewPCG(seed, heldStream)).Perm(s.X.Rows)
	order = order[min(from, len(order)):min(to, len(order))]
	if s.Y != nil {
		return s.Pick(order)
	}
	unlabelled := learn.Set{X: s.X, Y: make([]int, s.X.Rows)}.Pick(order)
	unlabelled.Y = nil
	return unlabelled
}

// read reads a file of rows for the model, coded as those of like are, if there are any.
func (f *Setting) read(path string, like *table.Set, v *victim) (*table.Set, error) {
	file, bytes, err := openRows(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	names := file.Columns()
	pick := table.Selection{Omit: slices.DeleteFunc(slices.Clone(f.Omit), func(name string) bool { return !slices.Contains(names, name) }), Label: f.Label}
	if like != nil {
		if pick.Features, pick.Codes, pick.Unknown = like.Features, like.Codes, true; !slices.Contains(names, f.Label) {
			pick.Label = ""
		}
		if len(names) == 1 { // a list of numbers a row, as NPY of one column or JSONL
			pick.Features = nil
		}
		pick.Omit = nil
		if texts(like.Classes) && pick.Label != "" {
			pick.Codes = table.Codes{f.Label: like.Classes}
			for name, list := range like.Codes {
				pick.Codes[name] = list
			}
		}
	}
	set, err := table.Read(file, pick)
	if err != nil {
		return nil, err
	}
	if set.X.Rows == 0 {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s has no rows", path), Hint: "give a file with at least 3"}
	}
	if set.X.Cols != v.cols {
		hint := "leave out what the model does not take with --omit COLUMN, and the class with --label COLUMN"
		if f.Label != "" || set.X.Cols < v.cols {
			hint = "give the columns that the model takes, in its order; --omit COLUMN leaves one out"
		}
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s has %d columns for the model (%s), and it takes %d", path, set.X.Cols, few(set.Features), v.cols), Hint: hint}
	}
	if n := len(set.Classes); n > v.classes && texts(set.Classes) { // numbered as they sort, which is none of the model's classes
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the label %q of %s has %d classes (%s), and the model tells %d apart", f.Label, path, n, few(set.Classes), v.classes), Hint: "give a column of the model's own classes, or leave this one out with --omit"}
	}
	if bytes && !f.Raw {
		for i := range set.X.Data {
			set.X.Data[i] /= 255
		}
	}
	return set, nil
}

// openRows opens a file of rows, and says whether they are the bytes of images.
func openRows(path string) (file *table.File, bytes bool, err error) {
	if file, err = table.Open(path, table.Options{Format: table.IDX}); err == nil {
		return file, true, nil
	}
	file, err = table.Open(path, table.Options{})
	return file, false, err
}

// texts reports whether classes have names, and not numbers.
func texts(classes []string) bool {
	return slices.ContainsFunc(classes, func(name string) bool { _, err := strconv.ParseFloat(name, 64); return err != nil })
}

// few are the first of names.
func few(names []string) string {
	const most = 5
	if len(names) > most {
		return strings.Join(names[:most], ", ") + " …"
	}
	return strings.Join(names, ", ")
}
