package store

import (
	"context"
	"os"
)

// reserveSize is how many bytes lie beside the database for what makes things safer:
// enough for some hundred small transactions in the write-ahead log.
const reserveSize = 1 << 20

// reservePath is the file that holds them.
func (db *DB) reservePath() string { return db.path + "-reserve" }

// UpdateSafe is Update for an act that makes things safer: where the disk is full, it
// goes on in the room that was kept for such acts. fn may be called twice; nothing of
// the first time remains then.
func (db *DB) UpdateSafe(ctx context.Context, fn func(*Tx) error) error {
	err := db.Update(ctx, fn)
	if err == nil || !isFull(err) || os.Remove(db.reservePath()) != nil {
		return err
	}
	return db.Update(ctx, fn)
}

// keepReserve keeps room for such acts, if there is any. It is written, not only
// promised: not every file system can promise.
func (db *DB) keepReserve() {
	if info, err := os.Lstat(db.reservePath()); err == nil && info.Size() == reserveSize {
		return
	}
	if os.WriteFile(db.reservePath(), make([]byte, reserveSize), 0o600) != nil {
		os.Remove(db.reservePath()) // half a reserve only takes room
	}
}
