package archive

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/store"
)

// A Class says how long records of some kinds are kept.
type Class struct {
	Name   string        `json:"name"`
	Kinds  []string      `json:"kinds"`               // kinds of record, model.infer, or rooms, model
	Online time.Duration `json:"online_ns,omitempty"` // how long on this machine; 0: for ever
	Keep   time.Duration `json:"keep_ns,omitempty"`   // how long in the archive, where that can enforce it; 0: no lock
}

// Default is the class of records that no other claims. It keeps them for ever.
const Default = "default"

// year is the unit that retention is thought of in.
const year = 365 * 24 * time.Hour

// validate refuses a class that means nothing. The error is of kind Invalid.
func (c Class) validate() error {
	bad := func(why string) error {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("retention class %.60q: %s", c.Name, why), Hint: "for example: pavise archive retain inference --kind model --online 720h --keep 17520h"}
	}
	switch {
	case (pavise.Name{Tenant: "t", Kind: "class", ID: c.Name}).Validate() != nil:
		return bad("that is no name")
	case c.Name == Default && len(c.Kinds) > 0:
		return bad("the default class has the kinds that no other claims, and none of its own")
	case c.Name != Default && len(c.Kinds) == 0:
		return bad("it claims no kind of record")
	case c.Online < 0 || c.Keep < 0 || c.Keep > 100*year || c.Online > 100*year:
		return bad("a time is between none and a hundred years")
	case c.Keep > 0 && c.Online > c.Keep:
		return bad("records stay longer on this machine than in the archive")
	}
	for _, kind := range c.Kinds {
		if kind == "" || strings.Trim(kind, "abcdefghijklmnopqrstuvwxyz0123456789._-") != "" {
			return bad(fmt.Sprintf("%.40q is no kind of record", kind))
		}
	}
	return nil
}

// classes are all classes, the default one among them.
type classes []Class

// of returns the class of a kind of record: the one that claims the kind, or else the
// one that claims its room.
func (cs classes) of(kind string) Class {
	for _, claim := range []string{kind, record.Room(kind)} {
		for _, c := range cs {
			if slices.Contains(c.Kinds, claim) {
				return c
			}
		}
	}
	for _, c := range cs {
		if c.Name == Default {
			return c
		}
	}
	return Class{Name: Default}
}

// Classes returns the classes, by name.
func (a *Archive) Classes(ctx context.Context) ([]Class, error) {
	var all classes
	err := a.db.View(ctx, func(tx *store.Tx) (err error) {
		all, err = store.Docs[Class](tx, `SELECT class FROM archive_classes ORDER BY name`)
		return err
	})
	return all, err
}

// A Former is a class as it is before it is changed.
type Former struct {
	Class  *Class // nil: there is none
	Digest string // hex SHA-256 of it, and of nothing
}

// Plan says what a class would take the place of, and refuses one that Retain would.
// The error is of kind Invalid for a class that means nothing, and Conflict when
// another claims one of its kinds.
func (a *Archive) Plan(ctx context.Context, c Class) (former Former, err error) {
	if err := c.validate(); err != nil {
		return former, err
	}
	all, err := a.Classes(ctx)
	if err != nil {
		return former, err
	}
	for _, other := range all {
		if other.Name == c.Name {
			former.Class = &other
			continue
		}
		for _, kind := range c.Kinds {
			if slices.Contains(other.Kinds, kind) {
				return former, &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("records of kind %s belong to the class %s already", kind, other.Name), Hint: "change that class first"}
			}
		}
	}
	text, err := json.Marshal(former.Class)
	if err != nil {
		return former, fmt.Errorf("encode a retention class: %w", err)
	}
	sum := sha256.Sum256(text)
	former.Digest = hex.EncodeToString(sum[:])
	return former, nil
}

// Retain makes a class, or changes one, as Plan says. mark is part of the same
// transaction.
func (a *Archive) Retain(ctx context.Context, c Class, mark func(*store.Tx) error) error {
	if _, err := a.Plan(ctx, c); err != nil {
		return err
	}
	text, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encode a retention class: %w", err)
	}
	return a.db.Update(ctx, func(tx *store.Tx) error {
		if err := mark(tx); err != nil {
			return err
		}
		_, err := tx.Exec(`INSERT INTO archive_classes (name, class) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET class = excluded.class`, c.Name, string(text))
		return err
	})
}

// ParseSpan reads a time as people write it: 30d, or as Go does.
func ParseSpan(text string) (time.Duration, error) {
	if count, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(count, 10, 16)
		return time.Duration(n) * 24 * time.Hour, err
	}
	return time.ParseDuration(text)
}

// Days writes a time as days where it is a whole number of them.
func Days(d time.Duration) string {
	const day = 24 * time.Hour
	if d%day != 0 {
		text := d.String()
		for _, zero := range []string{"0s", "0m"} { // 12h, not 12h0m0s
			if short := strings.TrimSuffix(text, zero); strings.HasSuffix(short, "m") || strings.HasSuffix(short, "h") {
				text = short
			}
		}
		return text
	}
	if d == day {
		return "1 day"
	}
	return fmt.Sprintf("%d days", d/day)
}
