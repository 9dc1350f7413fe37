package store

import (
	"database/sql"
	"encoding/json"
	"errors"
)

// Doc reads the JSON document that a query finds, one column of one row, into v, and reports
// whether there is one.
func Doc(tx *Tx, v any, query string, args ...any) (bool, error) {
	var doc string
	err := tx.QueryRow(query, args...).Scan(&doc)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err == nil {
		err = json.Unmarshal([]byte(doc), v)
	}
	return err == nil, err
}

// Docs reads the JSON documents that a query finds, one column of each row, in its order.
func Docs[T any](tx *Tx, query string, args ...any) (list []T, err error) {
	rows, err := tx.Query(query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var doc string
		if err := rows.Scan(&doc); err != nil {
			return nil, err
		}
		var v T
		if err := json.Unmarshal([]byte(doc), &v); err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, rows.Err()
}
