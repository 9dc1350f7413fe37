package compare

import "github.com/pavise/pavise/internal/table"

// eachRow reads a file's rows. Columns are the names that are known when the row is read: those
// of JSONL grow in number.
func eachRow(path string, each func(columns []string, row table.Row) error) error {
	t, err := table.Open(path, table.Options{RowNumbers: true})
	if err != nil {
		return err
	}
	defer t.Close()
	columns := t.Columns()
	for r, err := range t.Rows() {
		if err != nil {
			return err
		}
		if t.Width() != len(columns) {
			columns = t.Columns()
		}
		if err := each(columns, r); err != nil {
			return err
		}
	}
	return nil
}
