package tracked

import (
	"encoding/json"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
)

// maxPoints bounds the values of the metrics of a run: the newest are kept.
const maxPoints = 100_000

// KeepPoints keeps values of the metrics of a run. One that is there already, of the same step
// and time, is kept once: clients log it again once they know of which model it is. The error is of kind Invalid for too many at
// once, or one of which too much is said.
func KeepPoints(tx *store.Tx, tenant, run string, points []Metric) error {
	if len(points) > MaxSaid {
		return TooMuch(run)
	}
	if len(points) == 0 {
		return nil
	}
	var last int64
	if err := tx.QueryRow(`SELECT coalesce(max(number), 0) FROM mlflow_points WHERE tenant = ? AND run = ?`, tenant, run).Scan(&last); err != nil {
		return err
	}
	for _, m := range points {
		if m.Key == "" || len(m.Key) > MaxKey || len(m.Set) > MaxValue || len(m.Seal) > MaxValue {
			return TooMuch(run)
		}
		value, err := json.Marshal(m.Value)
		if err != nil {
			return err
		}
		last++
		if _, err := tx.Exec(`INSERT INTO mlflow_points (tenant, run, number, key, step, time, value) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
			tenant, run, last, m.Key, int64(m.Step), int64(m.Time), string(value)); err != nil {
			return err
		}
	}
	_, err := tx.Exec(`DELETE FROM mlflow_points WHERE tenant = ? AND run = ? AND number <= ?`, tenant, run, last-maxPoints)
	return err
}

// Points returns at most so many values of a metric of a run, in the order in which they came,
// from behind a number on, and the number of the last where there are more.
func Points(tx *store.Tx, tenant, run, key string, behind int64, most int) (all []Metric, last int64, err error) {
	if behind < 0 || most < 1 {
		return nil, 0, &pavise.Error{Kind: pavise.Invalid, Msg: "the page of values is none", Hint: "send the token that came with the page before"}
	}
	rows, err := tx.Query(`SELECT number, step, time, value FROM mlflow_points WHERE tenant = ? AND run = ? AND key = ? AND number > ? ORDER BY number LIMIT ?`, tenant, run, key, behind, most+1)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	for rows.Next() {
		if len(all) == most {
			return all, last, nil
		}
		m := Metric{Key: key}
		var value string
		if err := rows.Scan(&last, (*int64)(&m.Step), (*int64)(&m.Time), &value); err != nil {
			return nil, 0, err
		}
		if err := json.Unmarshal([]byte(value), &m.Value); err != nil {
			return nil, 0, err
		}
		all = append(all, m)
	}
	return all, 0, rows.Err()
}
