// Package evidence holds the verbs on what was written down: the rows of the table that
// read, follow and prove the log, have it witnessed, archive and prune it, and find and
// forget the people in it. Each row has its request, its answer and its words beside it.
//
// It owns no state: what the verbs act on are rooms.
package evidence

import (
	"slices"

	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/archive"
	"github.com/pavise/pavise/internal/feed"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/seal"
	"github.com/pavise/pavise/internal/subject"
	"github.com/pavise/pavise/internal/witness"
)

// Rooms are what these verbs act on.
type Rooms struct {
	Guard      *guard.Guard
	Log        *ledger.Log
	Feeds      *feed.Feeds
	Subjects   *subject.Keys
	KEK        *seal.KEK // opens what records kept before subjects had keys of their own
	Archive    *archive.Archive
	Witness    *witness.Server // cosigns other logs
	WitnessURL string          // where it is asked to
	Quorum     *witness.Quorum // has ours cosigned; nil: nobody is asked
	Protection string          // what keeps the installation's keys: "software" for files
}

// Table returns the rows over the rooms, which are read when a verb is done.
func (rooms *Rooms) Table() []api.Verb {
	return slices.Concat(rooms.ledgerVerbs(), rooms.feedVerbs(), tileVerbs(), rooms.witnessVerbs(), rooms.archiveVerbs(), rooms.subjectVerbs())
}
