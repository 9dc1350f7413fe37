// Package subject is the keys of those whose data the evidence log keeps. A record
// that keeps something of a person keeps it sealed under that person's own key, and
// names the person by a pseudonym; so the person can be forgotten without touching
// the log: the key is shredded, and every proof still holds.
//
// It owns the table of keys. A subject is found by a keyed hash of its name, so the
// table does not tell who is in it; its pseudonym and its key are random, so
// nothing leads from the log to a name once the row is gone. The keys are wrapped
// under the installation's KEK: shredding is only as good as the erasure of the one
// copy in the table and of the backups of it. What a restored backup brings back is
// shredded again, because the receipts of shredding are records of the log
// ([Keys.Reapply], then [Keys.Settle]).
package subject
