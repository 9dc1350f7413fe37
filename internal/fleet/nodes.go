package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/bundle"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/verbs"
)

// nodeSteps are the migrations of the table of the fleet's machines.
var nodeSteps = []string{
	`CREATE TABLE role_nodes (
		id    TEXT PRIMARY KEY,
		state TEXT NOT NULL -- the newest report, as JSON
	) STRICT`,
	// When a version of a model, and one at a gateway's word, was last taken back, in nanoseconds
	// since 1970.
	`CREATE TABLE fleet_backs (what TEXT PRIMARY KEY, at INTEGER NOT NULL) STRICT`,
}

// ReportEvery is how often a machine says how it stands.
const ReportEvery = 5 * time.Second

// Bounds of what machines say.
const (
	MaxReport = 256 << 10 // bytes of a report, and of its answer
	MaxLogs   = 16        // logs that one machine may have begun

	maxLogKeys = 4                // keys of a machine's log
	leastPause = time.Second      // between two reports of a machine, and two early ones: each may be a record
	awayAfter  = 20 * time.Second // without a word a machine is away; so it is when its last came by a clock that was ahead
)

// A Report is what a machine says of itself.
type Report struct {
	Role    string       `json:"role"`    // gateway or agent
	Version string       `json:"version"` // of its build
	Bundle  bundle.State `json:"bundle"`
	Stale   bool         `json:"stale,omitempty"`   // it refuses everything
	Log     []string     `json:"log,omitempty"`     // verifier keys of its evidence log
	Records uint64       `json:"records,omitempty"` // in it
	Witness []string     `json:"witness,omitempty"` // keys with which it cosigns, if it is an agent
	URL     string       `json:"url,omitempty"`     // where it is asked to
	Runs    []Run        `json:"runs,omitempty"`    // what it asks behind the names of models, if it is a gateway
	Bad     []Bad        `json:"bad,omitempty"`     // the versions that it finds to be bad
}

// A Reply is what the control plane says to it.
type Reply struct {
	Policy string   `json:"policy,omitempty"` // who is asked to cosign its log (C2SP tlog-policy); URLs of machines
	Peers  []Peer   `json:"peers,omitempty"`  // which machine answers at each of those URLs
	Watch  []string `json:"watch,omitempty"`  // verifier keys of the logs that it is to be a witness of
	Roots  [][]byte `json:"roots,omitempty"`  // DER: the roots of the CA to believe
}

// A Peer says which member of the fleet is asked at an address.
type Peer struct {
	URL string `json:"url"`
	ID  string `json:"id"`
}

// Nodes are the fleet's machines as they last said they stood.
type Nodes struct {
	db   *store.DB
	now  func() time.Time
	note func(ctx context.Context, id, kind string, detail any) error

	mu    sync.Mutex // guards what follows
	known map[string]*verbs.NodeState
	came  map[string]time.Time // when each reported last, since the start, but for early reports
	early map[string]time.Time // when each last did that a version is bad which it had not said before
	watch map[string]Report    // the newest report, by id
}

// OpenNodes reads what machines said before the last stop.
func OpenNodes(ctx context.Context, db *store.DB, now func() time.Time, note func(context.Context, string, string, any) error) (*Nodes, error) {
	n := &Nodes{db: db, now: now, note: note, known: map[string]*verbs.NodeState{}, came: map[string]time.Time{}, early: map[string]time.Time{}, watch: map[string]Report{}}
	if err := db.Migrate(ctx, "role", nodeSteps); err != nil {
		return nil, err
	}
	return n, db.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query(`SELECT id, state FROM role_nodes`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var id, text string
			var s struct {
				State  verbs.NodeState
				Report Report
			}
			if err := rows.Scan(&id, &text); err != nil {
				return err
			}
			if err := json.Unmarshal([]byte(text), &s); err != nil {
				return fmt.Errorf("read how machine %s stood: %w", id, err)
			}
			n.known[id], n.watch[id] = &s.State, s.Report
		}
		return rows.Err()
	})
}

// Take keeps a report, and records what changed by it, and says whether anything did. One that finds a version bad is not refused for
// the one before it: nobody is to wait for that. So there may be two in a second.
func (n *Nodes) Take(ctx context.Context, id string, r Report) (news bool, err error) {
	now := n.now().UTC().Truncate(time.Second)
	next := verbs.NodeState{ID: id, Role: r.Role, Version: r.Version, Serial: r.Bundle.Serial, Records: r.Records, Seen: now, Stale: r.Stale, Trouble: r.Bundle.Trouble}
	n.mu.Lock()
	was := n.known[id]
	last := n.came
	if slices.ContainsFunc(r.Bad, func(b Bad) bool { return !slices.Contains(n.watch[id].Bad, b) }) {
		last = n.early
	}
	if at, before := last[id]; before && n.now().Sub(at).Abs() < leastPause {
		n.mu.Unlock()
		return false, &pavise.Error{Kind: pavise.Throttled, Msg: "machine " + id + " reports more than once a second", Hint: "wait a few seconds"}
	}
	last[id] = n.now()
	news = was == nil || was.Role != next.Role || was.Version != next.Version || was.Serial != next.Serial || was.Stale != next.Stale || was.Away || !SameRuns(n.watch[id].Runs, r.Runs)
	n.known[id], n.watch[id] = &next, r
	n.mu.Unlock()
	if !news {
		return false, nil
	}
	text, err := json.Marshal(map[string]any{"State": next, "Report": r})
	if err != nil {
		return false, fmt.Errorf("encode how machine %s stands: %w", id, err)
	}
	err = n.db.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO role_nodes (id, state) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET state = excluded.state`, id, string(text))
		return err
	})
	if err != nil {
		return false, err
	}
	return true, n.note(ctx, id, "node.state", next)
}

// Look records which machines have gone away, every few seconds until ctx is done.
func (n *Nodes) Look(ctx context.Context) {
	tick := time.NewTicker(ReportEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for _, s := range n.gone() {
			_ = n.note(ctx, s.ID, "node.away", s) // the next look says it again in node list
		}
	}
}

// gone returns the machines that have gone away since the last look.
func (n *Nodes) gone() (gone []verbs.NodeState) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range n.known {
		if !s.Away && n.now().Sub(s.Seen).Abs() > awayAfter {
			s.Away = true
			gone = append(gone, *s)
		}
	}
	return gone
}

// States says how all machines stand that ever said so.
func (n *Nodes) States() []verbs.NodeState {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := make([]verbs.NodeState, 0, len(n.known))
	for _, s := range n.known {
		c := *s
		c.Away = c.Away || n.now().Sub(c.Seen).Abs() > awayAfter
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b verbs.NodeState) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// Forget drops a machine whose membership ended.
func (n *Nodes) Forget(ctx context.Context, member func(id string) bool) error {
	n.mu.Lock()
	var gone []string
	for id := range n.known {
		if !member(id) {
			delete(n.known, id)
			delete(n.watch, id)
			delete(n.came, id)
			delete(n.early, id)
			gone = append(gone, id)
		}
	}
	n.mu.Unlock()
	return n.db.Update(ctx, func(tx *store.Tx) error {
		for _, id := range gone {
			if _, err := tx.Exec(`DELETE FROM role_nodes WHERE id = ?`, id); err != nil {
				return err
			}
		}
		return nil
	})
}

// Gateways counts those among which budgets are shared out: all that ever were one and
// still are members. One that is away may be back any moment.
func (n *Nodes) Gateways() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	count := 0
	for _, s := range n.known {
		if s.Role == "gateway" {
			count++
		}
	}
	return max(count, 1)
}

// Witnesses are the agents that cosign, but for one machine: nobody is a witness in
// its own cause.
func (n *Nodes) Witnesses(except string) (all []Report, ids []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for id, r := range n.watch {
		if id != except && r.Role == "agent" && r.URL != "" && len(r.Witness) > 0 {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	for _, id := range ids {
		all = append(all, n.watch[id])
	}
	return all, ids
}

// Logs are the keys of all machines' logs but one's.
func (n *Nodes) Logs(except string) (keys []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for id, r := range n.watch {
		if id != except {
			keys = append(keys, r.Log...)
		}
	}
	slices.Sort(keys)
	return keys
}

// CheckReport refuses what a machine may not say: a log or a witness that is not
// under its own name, or of models what no gateway says.
func CheckReport(r Report, domain, id string) error {
	refuse := func(what string) error {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the report of machine %s %s", id, what), Hint: "use the same version, or the one before, on both sides"}
	}
	if r.Role != "gateway" && r.Role != "agent" {
		return refuse(fmt.Sprintf("has the role %.20q", r.Role))
	}
	if len(r.Version) > 100 || len(r.URL) > 300 || len(r.Bundle.Trouble) > 2000 || len(r.Log) > maxLogKeys || len(r.Witness) > maxLogKeys {
		return refuse("is too long")
	}
	if len(r.Runs) > maxRuns {
		return refuse(fmt.Sprintf("is about %d models, more than %d", len(r.Runs), maxRuns))
	}
	if len(r.Bad) > maxBad || r.Role != "gateway" && len(r.Bad) > 0 {
		return refuse("finds more versions bad than a gateway watches")
	}
	for i := range r.Bad {
		if err := r.Bad[i].check(); err != nil {
			return refuse("says what cannot be: " + err.Error())
		}
	}
	for i := range r.Runs {
		if err := r.Runs[i].check(); err != nil {
			return refuse("says what cannot be: " + err.Error())
		}
	}
	if r.URL != "" && !strings.HasPrefix(r.URL, "https://") || strings.ContainsFunc(r.URL, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return refuse("names an address that is not https")
	}
	for _, text := range slices.Concat(r.Log, r.Witness) {
		key, err := proof.ParseKey(text)
		if err != nil {
			return err
		}
		if !strings.HasPrefix(key.Name(), LogName(domain, id)+"/") {
			return refuse(fmt.Sprintf("has a key named %.80q, which is not its own", key.Name()))
		}
	}
	if r.URL == "" || len(r.Witness) == 0 {
		return nil
	}
	// What one machine says stands in the policy that all are told.
	if _, err := proof.ParsePolicy([]byte(PolicyOf(r.Witness[:1], []string{r.URL}))); err != nil {
		return refuse("names a witness that nobody can ask")
	}
	return nil
}

// LogName begins the names of a machine's own keys.
func LogName(domain, id string) string { return domain + "/node/" + id }
