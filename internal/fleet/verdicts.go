package fleet

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
)

// KindReported is the kind of the note that says what gateways found of a version, and what was
// done.
const KindReported = "drift.reported"

// A Bad is a version that a gateway found to be bad: its outputs moved with it, and what comes in
// did not, nor do few callers make it.
type Bad struct {
	Model   pavise.Name `json:"model"`
	Version string      `json:"version"` // what answers for the model there, as routes say it
}

// The bounds of what follows from gateways' words.
const (
	// maxBad bounds the versions that a report names.
	maxBad = 64
	// onceIn is how long after a version was taken back for a gateway's word no other is, of the
	// same model or for the same gateway's word; and after how long a word is heard anew.
	onceIn = 30 * time.Minute
)

// VerdictConfig is what Verdicts are made of. All is required.
type VerdictConfig struct {
	Store  *store.DB
	Tenant string
	Agree  int // so many gateways must find the same; 1 or more
	Now    func() time.Time
	// Answers says what answers for a model by the control plane's own routes; "": nothing.
	Answers func(model pavise.Name) string
	// Back has the version answer again that did before the one named, and returns what answers
	// then.
	Back func(ctx context.Context, model pavise.Name, version, why string) (now string, err error)
	Note func(ctx context.Context, kind string, on pavise.Name, detail any) error
	Say  func(word string, err error)
}

// Verdicts are what gateways find of versions. A gateway's word is one vote, on the version that
// answers now and on no other. It has the version before answer again, once in half an hour for a
// model and for a gateway, and whatever comes of it is a finding that names the gateway.
type Verdicts struct {
	cfg  VerdictConfig
	work chan heard

	mu    sync.Mutex
	votes map[Bad]map[string]time.Time // by version and gateway: when it said so last; guarded by mu
	acted map[voice]time.Time          // when a gateway's word on a version was last looked at; guarded by mu
}

// A heard is a word that is to be looked at.
type heard struct {
	node string
	bad  Bad
}

// A voice is a gateway on a version, or, of no name, all that must agree.
type voice heard

// OpenVerdicts returns those of a control plane. Its table is made by OpenNodes.
func OpenVerdicts(cfg VerdictConfig) *Verdicts {
	return &Verdicts{cfg: cfg, work: make(chan heard, maxBad), votes: map[Bad]map[string]time.Time{}, acted: map[voice]time.Time{}}
}

// Hear takes what a gateway says now, and everything that it does not say any more back. It waits
// for nothing: Run looks at it.
func (v *Verdicts) Hear(node string, all []Bad) {
	now := v.cfg.Now()
	v.mu.Lock()
	defer v.mu.Unlock()
	for bad, by := range v.votes {
		if delete(by, node); len(by) == 0 {
			delete(v.votes, bad)
		}
	}
	for who, at := range v.acted {
		if since := now.Sub(at); since.Abs() >= onceIn { // or the clock was set back
			delete(v.acted, who)
		}
	}
	for _, bad := range all {
		if bad.Version == "" || v.cfg.Answers(bad.Model) != bad.Version { // it was taken back, or is none of ours
			continue
		}
		if v.votes[bad] == nil {
			v.votes[bad] = map[string]time.Time{}
		}
		v.votes[bad][node] = now
		// All together are looked at once more: one that was away when the others were heard has
		// said so before.
		_, done := v.acted[voice{node, bad}]
		_, together := v.acted[voice{"", bad}]
		agree := len(v.fresh(bad)) >= v.cfg.Agree
		if done && (together || !agree) {
			continue
		}
		select {
		case v.work <- heard{node, bad}:
			if v.acted[voice{node, bad}] = now; agree {
				v.acted[voice{"", bad}] = now
			}
		default: // it says so again with its next report
		}
	}
}

// Run looks at what was heard, one word at a time, until ctx is done.
func (v *Verdicts) Run(ctx context.Context) {
	for {
		select {
		case h := <-v.work:
			if err := v.look(ctx, h); err != nil && ctx.Err() == nil {
				v.cfg.Say("warning", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// look does what follows from a word, and notes it.
func (v *Verdicts) look(ctx context.Context, h heard) error {
	nodes := v.agree(h.bad)
	if v.cfg.Answers(h.bad.Model) != h.bad.Version || !slices.Contains(nodes, h.node) {
		return nil // it was taken back, or said, before we came to it
	}
	severity, done := pavise.Critical, ""
	switch held, err := v.resting(ctx, h.bad.Model, nodes); {
	case err != nil:
		return err
	case len(nodes) < v.cfg.Agree:
		done = fmt.Sprintf("nothing was done yet: %d must say so, and %d do", v.cfg.Agree, len(nodes))
	case len(nodes)-len(held) < v.cfg.Agree:
		done = fmt.Sprintf("nothing was done: in the %v before, a version was taken back already, of this model or at the word of %s: somebody has to look at it", onceIn, h.node)
	default:
		severity, done = v.goBack(ctx, h, nodes)
	}
	name := pavise.Name{Tenant: v.cfg.Tenant, Kind: pavise.Node, ID: h.node}
	f := pavise.Finding{Kind: KindReported, Severity: severity, On: h.bad.Model, Who: name, At: v.cfg.Now().UTC(), Summary: fmt.Sprintf("gateway %s finds that %s is badly answered by %.100s: %s", h.node, h.bad.Model, h.bad.Version, done)}
	return v.cfg.Note(ctx, KindReported, h.bad.Model, struct {
		Finding pavise.Finding `json:"finding"`
		Bad
		Gateways []string `json:"gateways"`
		Done     string   `json:"done"`
	}{f, h.bad, nodes, done})
}

// goBack has the version before answer again. That it was tried counts, whatever came of it.
func (v *Verdicts) goBack(ctx context.Context, h heard, nodes []string) (severity, done string) {
	if err := v.rest(ctx, h.bad.Model, nodes); err != nil {
		return pavise.Critical, fmt.Sprintf("it was not rolled back: %v: somebody has to look at it", err)
	}
	now, err := v.cfg.Back(ctx, h.bad.Model, h.bad.Version, fmt.Sprintf("drift: gateway %s finds that the version is bad", h.node))
	if err != nil {
		return pavise.Critical, fmt.Sprintf("it was not rolled back: %v: somebody has to look at it", err)
	}
	return pavise.Warning, fmt.Sprintf("it was rolled back, and is answered by %.100s", now)
}

// agree are the gateways that say of a version that it is bad, and were heard of just now.
func (v *Verdicts) agree(bad Bad) (nodes []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.fresh(bad)
}

// fresh is agree. v.mu is held.
func (v *Verdicts) fresh(bad Bad) (nodes []string) {
	for _, node := range slices.Sorted(maps.Keys(v.votes[bad])) {
		if since := v.cfg.Now().Sub(v.votes[bad][node]); since.Abs() <= awayAfter {
			nodes = append(nodes, node)
		}
	}
	return nodes
}

// resting are those gateways whose word counts for nothing now: all of them, where a version of
// the model was taken back just now. What was, by a clock that has been set back since, counts as
// just now, and not until that time comes.
func (v *Verdicts) resting(ctx context.Context, model pavise.Name, nodes []string) (held []string, err error) {
	now := v.cfg.Now().UnixNano()
	err = v.cfg.Store.UpdateSafe(ctx, func(tx *store.Tx) error {
		if _, err := tx.Exec(`UPDATE fleet_backs SET at = ? WHERE at > ?`, now, now); err != nil {
			return err
		}
		late := func(what string) (bool, error) {
			var n int
			err := tx.QueryRow(`SELECT count(*) FROM fleet_backs WHERE what = ? AND at > ?`, what, now-int64(onceIn)).Scan(&n)
			return n > 0, err
		}
		if is, err := late(model.String()); err != nil || is {
			held = nodes
			return err
		}
		for _, node := range nodes {
			is, err := late(pavise.Node + " " + node)
			if err != nil {
				return err
			}
			if is {
				held = append(held, node)
			}
		}
		return nil
	})
	return held, err
}

// rest notes that a version of a model is taken back now at the word of some gateways.
func (v *Verdicts) rest(ctx context.Context, model pavise.Name, nodes []string) error {
	return v.cfg.Store.UpdateSafe(ctx, func(tx *store.Tx) error {
		whats := []string{model.String()}
		for _, node := range nodes {
			whats = append(whats, pavise.Node+" "+node)
		}
		for _, what := range whats {
			if _, err := tx.Exec(`INSERT INTO fleet_backs (what, at) VALUES (?, ?) ON CONFLICT (what) DO UPDATE SET at = excluded.at`, what, v.cfg.Now().UnixNano()); err != nil {
				return err
			}
		}
		return nil
	})
}

// Bads are those versions that a report can name: one that it cannot would have all of it refused.
func Bads(all []Bad) []Bad {
	all = slices.DeleteFunc(all, func(b Bad) bool { return b.check() != nil })
	return all[:min(len(all), maxBad)]
}

// check refuses what no gateway says.
func (b *Bad) check() error {
	if b.Version == "" || len(b.Version) > maxRunText {
		return errors.New("it finds a version bad that has no name, or a long one")
	}
	return checkModel(b.Model)
}
