package siem

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/hook"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/store"
)

// steps are the room's migrations. They are only ever appended to.
var steps = []string{
	`CREATE TABLE siem_endpoints (
		tenant   TEXT NOT NULL,
		name     TEXT NOT NULL,
		envelope BLOB NOT NULL, -- the whole address and the keys, wrapped under the tenant's key
		made     INTEGER NOT NULL, -- Unix seconds
		gone     INTEGER NOT NULL, -- when the receiver said that it wants nothing any more; 0: it did not
		PRIMARY KEY (tenant, name)
	) STRICT, WITHOUT ROWID`,
}

const (
	// maxEndpoints bounds the endpoints of one tenant: each reads the log for itself.
	maxEndpoints = 16
	// maxName bounds an endpoint's name, in bytes: its follower's is longer.
	maxName = 64
	// KindEndpoint is the kind of thing that an endpoint is.
	KindEndpoint = "siem"
	// maxOverlap is how long an old secret may go on signing.
	maxOverlap = 30 * 24 * time.Hour
)

// A target is what an endpoint's envelope holds. All of it is secret: addresses of
// receivers often hold a token.
type target struct {
	URL  string     `json:"url"`
	Keys []hook.Key `json:"keys"` // the newest first, two at most
}

// A row is an endpoint as the store has it.
type row struct {
	place
	target
	made, gone time.Time
}

// An Endpoint is a receiver as people may see it.
type Endpoint struct {
	Name    string    `json:"name"`
	Host    string    `json:"host"`             // where it is: the address without what may be secret in it
	Scheme  string    `json:"scheme"`           // hmac-sha256 or ed25519
	Public  []string  `json:"public,omitempty"` // the public keys that verify, of ed25519
	Keys    int       `json:"keys"`             // how many sign now: two while one is being replaced
	Made    time.Time `json:"made"`
	State   string    `json:"state"`             // told, behind, failing, gone
	Problem string    `json:"problem,omitempty"` // why the last attempt came to nothing
	Since   time.Time `json:"since,omitzero"`    // when it began to, or when it went
	Told    uint64    `json:"told"`              // since the process began
	Next    uint64    `json:"next"`              // the first record that it was not told of
}

// The states of an endpoint.
const (
	stateTold    = "told"    // it has had everything
	stateBehind  = "behind"  // there are records that were not looked at for it
	stateFailing = "failing" // it does not take what it is sent
	stateGone    = "gone"    // it wants nothing any more
)

// A Given is an endpoint with the secret that its receiver verifies with: shown once.
type Given struct {
	Endpoint
	Secret string `json:"secret,omitempty"` // whsec_…, or whpk_… of ed25519; empty: it is as it was
}

// A Put says where findings are to go.
type Put struct {
	Name   string  // 1 to 64 bytes of a name's characters
	URL    string  // https
	Scheme string  // hmac-sha256 or ed25519; empty: as it was, or hmac-sha256
	After  *uint64 // of a new one, the first record told of; nil: the next that comes
}

// thing is an endpoint's name.
func thing(tenant, name string) pavise.Name {
	return pavise.Name{Tenant: tenant, Kind: KindEndpoint, ID: name}
}

// Put makes an endpoint or gives one another address: the verb siem.put. One that is
// there keeps its secret, unless its scheme is another, and goes on where it was. The
// error is of kind Invalid for an address that findings may not go to, and Conflict when
// the tenant has 16 already.
func (w *Wires) Put(ctx context.Context, who pavise.Principal, p Put) (given Given, err error) {
	entry, err := w.cfg.Guard.Enter(ctx, who, "siem.put", thing(who.Tenant, p.Name))
	if err != nil {
		return given, err
	}
	defer entry.Exit(&err)
	u, err := w.admit(p)
	if err != nil {
		return given, err
	}
	entry.Detail(map[string]string{"host": host(u)})
	w.editing.Lock()
	defer w.editing.Unlock()
	at := place{who.Tenant, p.Name}
	known, err := w.begin(ctx, at, p.After)
	if err != nil {
		return given, err
	}
	if known {
		record, _ := entry.Record()
		w.farewell(ctx, who, "siem.put", at, record, p.URL)
	}
	var r row
	err = w.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		r, given.Secret, err = w.put(tx, at, p)
		return err
	})
	if err != nil && !known { // its cursor would keep records from being pruned
		err = errors.Join(err, w.cfg.Feeds.Drop(context.WithoutCancel(ctx), at.tenant, cursorPrefix+at.name))
	}
	if err != nil {
		return given, err
	}
	w.restart(r)
	given.Endpoint, err = w.shown(ctx, r)
	return given, err
}

// admit checks what is put.
func (w *Wires) admit(p Put) (*url.URL, error) {
	if len(p.Name) > maxName {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the endpoint's name is %d bytes long, more than %d", len(p.Name), maxName), Hint: "give it a shorter one"}
	}
	switch p.Scheme {
	case "", hook.HMAC, hook.Ed25519:
	default:
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("there is no scheme %.40q", p.Scheme), Hint: "it is hmac-sha256 or ed25519"}
	}
	return w.reach.Address(p.URL)
}

// begin makes sure that the endpoint has a cursor, and reports whether the endpoint is
// there already.
func (w *Wires) begin(ctx context.Context, at place, after *uint64) (known bool, err error) {
	rows, err := w.rows(ctx, `WHERE tenant = ? AND name = ?`, at.tenant, at.name)
	if err != nil {
		return false, err
	}
	from := w.cfg.Log.Head().Size
	if after != nil {
		from = max(*after, w.cfg.Log.First())
	}
	_, err = w.cfg.Feeds.Begin(ctx, at.tenant, cursorPrefix+at.name, ledger.Filter{Tenant: at.tenant}, from)
	return len(rows) > 0, err
}

// put writes an endpoint, and returns the secret that is new, if one is.
func (w *Wires) put(tx *store.Tx, at place, p Put) (r row, secret string, err error) {
	r = row{place: at, made: w.cfg.Now().UTC()}
	have, err := w.find(tx, at)
	switch {
	case pavise.KindOf(err) == pavise.NotFound:
		var n int
		if err := tx.QueryRow(`SELECT count(*) FROM siem_endpoints WHERE tenant = ?`, at.tenant).Scan(&n); err != nil {
			return r, "", err
		}
		if n >= maxEndpoints {
			return r, "", &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("tenant %s has %d endpoints already", at.tenant, n), Hint: "take one away that nobody needs: pavise siem delete NAME"}
		}
	case err != nil:
		return r, "", err
	default:
		r.Keys, r.made = have.Keys, have.made
	}
	r.URL = p.URL
	if len(r.Keys) == 0 || p.Scheme != "" && r.Keys[0].Scheme != p.Scheme {
		scheme := p.Scheme
		if scheme == "" {
			scheme = hook.HMAC
		}
		r.Keys = []hook.Key{hook.NewKey(scheme)}
		secret = r.Keys[0].Told()
	}
	return r, secret, w.write(tx, r)
}

// write puts a row into the table, with its target sealed.
func (w *Wires) write(tx *store.Tx, r row) error {
	plain, err := json.Marshal(r.target)
	if err != nil {
		return fmt.Errorf("encode an endpoint: %w", err)
	}
	gone := int64(0)
	if !r.gone.IsZero() {
		gone = r.gone.Unix()
	}
	_, err = tx.Exec(`INSERT INTO siem_endpoints (tenant, name, envelope, made, gone) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (tenant, name) DO UPDATE SET envelope = excluded.envelope, gone = excluded.gone`,
		r.tenant, r.name, w.cfg.KEK.Wires(r.tenant).Seal(bound(r.place), plain), r.made.Unix(), gone)
	return err
}

// bound is what an endpoint's envelope is bound to: another's opens in no other place.
func bound(at place) []byte { return []byte(at.tenant + "/" + at.name) }

// restart follows the log for an endpoint anew.
func (w *Wires) restart(r row) {
	w.stop(r.place)
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.states, r.place)
	w.start(w.webhook(r))
}

// Delete takes an endpoint away: the verb siem.delete. What it was not told of it never
// is. The error is of kind NotFound if there is none.
func (w *Wires) Delete(ctx context.Context, who pavise.Principal, name string) (err error) {
	entry, err := w.cfg.Guard.Enter(ctx, who, "siem.delete", thing(who.Tenant, name))
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	w.editing.Lock()
	defer w.editing.Unlock()
	at := place{who.Tenant, name}
	record, _ := entry.Record()
	w.farewell(ctx, who, "siem.delete", at, record, "")
	err = w.cfg.Store.Erase(ctx, func(tx *store.Tx) error {
		if _, err := w.find(tx, at); err != nil {
			return err
		}
		_, err := tx.Exec(`DELETE FROM siem_endpoints WHERE tenant = ? AND name = ?`, at.tenant, at.name)
		return err
	})
	if err != nil {
		return err
	}
	w.stop(at)
	if err := w.cfg.Feeds.Drop(ctx, at.tenant, cursorPrefix+name); pavise.KindOf(err) != pavise.NotFound {
		return err
	}
	return nil
}

// farewellWithin is how long a receiver that is taken away has to take that.
const farewellWithin = 3 * time.Second

// farewell tells a receiver, once, that nothing more comes to where it is, unless that is
// where it stays: whoever wants to act unseen would cut the wire first, and the findings
// behind that do not come here any more. A receiver that does not take it cannot keep
// itself.
func (w *Wires) farewell(ctx context.Context, who pavise.Principal, verb string, at place, record uint64, next string) {
	rows, err := w.rows(ctx, `WHERE tenant = ? AND name = ?`, at.tenant, at.name)
	if err != nil || len(rows) != 1 || rows[0].URL == next || !rows[0].gone.IsZero() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, farewellWithin)
	defer cancel()
	hook := &webhook{wires: w, row: rows[0]}
	defer hook.close()
	hook.attempt(ctx, telling{Finding: Finding{
		Record: record, Kind: verb, Severity: Medium, At: w.cfg.Now().UTC(), Who: who.Name(), On: thing(at.tenant, at.name), Count: 1, tenant: at.tenant,
		Title: "Where findings go was changed", Summary: fmt.Sprintf("%s does %s on %s: no more findings come here", who.Name(), verb, thing(at.tenant, at.name)),
	}})
}

// Rotate gives an endpoint another secret: the verb siem.rotate. The old one goes on
// signing beside it for the overlap, 0 to 30 days, so that the receiver can change over
// in between; an older one still ends now.
func (w *Wires) Rotate(ctx context.Context, who pavise.Principal, name string, overlap time.Duration) (given Given, err error) {
	entry, err := w.cfg.Guard.Enter(ctx, who, "siem.rotate", thing(who.Tenant, name))
	if err != nil {
		return given, err
	}
	defer entry.Exit(&err)
	if overlap < 0 || overlap > maxOverlap {
		return given, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the old secret cannot sign for another %v", overlap), Hint: "let it sign for 0 to 720 hours more"}
	}
	w.editing.Lock()
	defer w.editing.Unlock()
	var r row
	err = w.cfg.Store.Erase(ctx, func(tx *store.Tx) error {
		if r, err = w.find(tx, place{who.Tenant, name}); err != nil {
			return err
		}
		now := w.cfg.Now()
		r.Keys = hook.Rotated(r.Keys, now, now.Add(overlap))
		return w.write(tx, r)
	})
	if err != nil {
		return given, err
	}
	given.Secret = r.Keys[0].Told()
	if r.gone.IsZero() {
		w.restart(r)
	}
	given.Endpoint, err = w.shown(ctx, r)
	return given, err
}

// List returns the tenant's endpoints, by name: the verb siem.list.
func (w *Wires) List(ctx context.Context, who pavise.Principal) (all []Endpoint, err error) {
	entry, err := w.cfg.Guard.Enter(ctx, who, "siem.list", thing(who.Tenant, "all"))
	if err != nil {
		return nil, err
	}
	defer entry.Exit(&err)
	rows, err := w.rows(ctx, `WHERE tenant = ?`, who.Tenant)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		e, err := w.shown(ctx, r)
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}

// A Tried is how a test message fared.
type Tried struct {
	Taken  bool          `json:"taken"`
	Status int           `json:"status,omitempty"` // of the receiver's answer
	Why    string        `json:"why,omitempty"`    // why it was not taken
	Took   time.Duration `json:"took_ns"`
}

// Test sends an endpoint a finding that is none, once: the verb siem.test. It is signed
// as others are, and its event says that it is a test.
func (w *Wires) Test(ctx context.Context, who pavise.Principal, name string) (tried Tried, err error) {
	entry, err := w.cfg.Guard.Enter(ctx, who, "siem.test", thing(who.Tenant, name))
	if err != nil {
		return tried, err
	}
	defer entry.Exit(&err)
	var r row
	err = w.cfg.Store.View(ctx, func(tx *store.Tx) error {
		r, err = w.find(tx, place{who.Tenant, name})
		return err
	})
	if err != nil {
		return tried, err
	}
	record, _ := entry.Record()
	now := w.cfg.Now()
	t := telling{Finding: Finding{
		Record: record, Kind: "siem.test", Severity: Informational, At: now.UTC(), Who: who.Name(), On: thing(who.Tenant, name), Count: 1,
		Title: "A test of this wire", Summary: "this is a test: somebody asked whether findings arrive here", tenant: who.Tenant,
	}}
	hook := &webhook{wires: w, row: r}
	defer hook.close()
	d := hook.attempt(ctx, t)
	return Tried{Taken: d.ok(), Status: d.status, Why: d.why, Took: w.cfg.Now().Sub(now)}, nil
}

// host is an address without what may be secret in it.
func host(u *url.URL) string { return u.Scheme + "://" + u.Host }

// shown is an endpoint as people may see it.
func (w *Wires) shown(ctx context.Context, r row) (Endpoint, error) {
	u, err := url.Parse(r.URL)
	if err != nil {
		return Endpoint{}, fmt.Errorf("read where endpoint %s is: %w", r.name, errors.New("its address is none"))
	}
	e := Endpoint{Name: r.name, Host: host(u), Scheme: r.Keys[0].Scheme, Made: r.made, State: stateTold}
	for _, k := range hook.Active(r.Keys, w.cfg.Now()) {
		if e.Keys++; k.Scheme == hook.Ed25519 {
			e.Public = append(e.Public, k.Told())
		}
	}
	c, err := w.cfg.Feeds.Begin(ctx, r.tenant, cursorPrefix+r.name, ledger.Filter{Tenant: r.tenant}, w.cfg.Log.First())
	if err != nil {
		return e, err
	}
	e.Next = c.Next
	w.mu.Lock()
	s := w.state(r.place)
	w.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	e.Told = s.told
	switch {
	case !r.gone.IsZero():
		e.State, e.Since, e.Problem = stateGone, r.gone, "it answered 410; pavise siem put sends to it again"
	case s.failed > 0:
		e.State, e.Since, e.Problem = stateFailing, s.since.UTC(), s.problem
	case c.Next+idleStep < w.cfg.Log.Head().Size:
		e.State = stateBehind
	}
	return e, nil
}

const columns = `tenant, name, envelope, made, gone`

// find returns one endpoint. The error is of kind NotFound if there is none.
func (w *Wires) find(tx *store.Tx, at place) (row, error) {
	r, err := w.scan(tx.QueryRow(`SELECT `+columns+` FROM siem_endpoints WHERE tenant = ? AND name = ?`, at.tenant, at.name))
	if errors.Is(err, sql.ErrNoRows) {
		return r, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("tenant %s has no endpoint %.80s", at.tenant, at.name), Hint: "pavise siem list shows those it has"}
	}
	return r, err
}

// scan reads a row of columns.
func (w *Wires) scan(from interface{ Scan(...any) error }) (r row, err error) {
	var envelope []byte
	var made, gone int64
	if err := from.Scan(&r.tenant, &r.name, &envelope, &made, &gone); err != nil {
		return r, err
	}
	plain, err := w.cfg.KEK.Wires(r.tenant).Open(bound(r.place), envelope)
	if err == nil {
		err = json.Unmarshal(plain, &r.target)
	}
	if err == nil && len(r.Keys) == 0 {
		err = errors.New("it holds no key")
	}
	if err != nil {
		return r, fmt.Errorf("open endpoint %s: %w", r.name, err)
	}
	if r.made = time.Unix(made, 0).UTC(); gone != 0 {
		r.gone = time.Unix(gone, 0).UTC()
	}
	return r, nil
}

// rows returns the endpoints that meet a condition, by tenant and name.
func (w *Wires) rows(ctx context.Context, condition string, args ...any) (all []row, err error) {
	err = w.cfg.Store.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query(strings.TrimSpace(`SELECT `+columns+` FROM siem_endpoints `+condition)+` ORDER BY tenant, name`, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			r, err := w.scan(rows)
			if err != nil {
				return err
			}
			all = append(all, r)
		}
		return rows.Err()
	})
	return all, err
}
