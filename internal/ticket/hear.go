package ticket

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/outbound"
	"github.com/pavise/pavise/internal/store"
)

const (
	// atOnce bounds the tickets whose words are read in one round; the next takes the others.
	atOnce = 50
	// maxHeard bounds the words of strangers on one change that are weighed, and maxReplies those
	// that are answered and recorded where no vote came of them: anybody may comment.
	maxHeard   = 200
	maxReplies = 20
	// counted is what came of a word that is a vote.
	counted = "counted"
)

// hear reads what people say on the tickets of changes that wait for votes from there. The
// error is a fault of the house's.
func (c *clerk) hear(ctx context.Context) error {
	var all []open
	accounts := map[string]Mapping{}
	err := c.desk.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		if all, err = opened(tx, c.place); err != nil {
			return err
		}
		mapped, err := mappings(tx, c.place)
		for _, m := range mapped {
			accounts[m.Account] = m
		}
		return err
	})
	if err != nil || len(all) == 0 || len(accounts) == 0 {
		return err
	}
	for range min(len(all), atOnce) {
		c.offset = (c.offset + 1) % len(all)
		if err := c.hearOne(ctx, all[c.offset], accounts); err != nil {
			return err
		}
		if c.desk.cfg.Now().Before(c.quiet) {
			return nil
		}
	}
	return nil
}

// hearOne reads what people say on one ticket.
func (c *clerk) hearOne(ctx context.Context, o open, accounts map[string]Mapping) error {
	ch, err := c.desk.cfg.Changes.Look(ctx, o.change)
	if err != nil || o.ticket.ID == "" || !ch.State.Waits() || c.desk.cfg.Hears(ch) != "" {
		return err
	}
	words, err := c.tool.(tool).words(ctx, o.ticket, stepsOf(ch, "")[0])
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if a, ok := errors.AsType[*outbound.Answer](err); ok {
		c.troubled(ctx, a)
		return nil
	}
	if err != nil {
		return err
	}
	c.state.worked(0)
	for _, w := range words {
		if !foreign.MatchString(w.account) || w.id == "" || len(w.id) > maxText || clean(w.id, maxText) != w.id {
			continue
		}
		if err := c.weigh(ctx, ch, o.ticket, w, accounts); err != nil {
			return err
		}
	}
	return nil
}

// weigh makes of a word what it comes to, once.
func (c *clerk) weigh(ctx context.Context, ch *change.Change, t ticket, w word, accounts map[string]Mapping) error {
	var before, heard int
	err := c.desk.cfg.Store.View(ctx, func(tx *store.Tx) error {
		return tx.QueryRow(`SELECT count(*), coalesce(sum(word = ?), 0) FROM ticket_words WHERE tenant = ? AND tool = ? AND change = ?`,
			w.id, c.tenant, c.name, ch.Name.ID).Scan(&before, &heard)
	})
	m, mapped := accounts[w.account]
	if err != nil || heard > 0 || before >= maxHeard && !mapped { // strangers do not bury the word of somebody who is known
		return err
	}
	why := c.unfit(ch, t, w, m, mapped)
	if why == "" {
		if why, err = c.vote(ctx, ch, t, w, m); err != nil {
			return err
		}
	}
	answered := why != counted && before < maxReplies
	if answered {
		c.note(ctx, KindRefused, ch.Name, pavise.Info, fmt.Sprintf("the word %s of account %s on %s in %s is no vote: %s", w.id, w.account, t.Name, c.name, why))
	}
	return c.desk.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		if _, err := tx.Exec(`INSERT INTO ticket_words (tenant, tool, change, word, came_to) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`, c.tenant, c.name, ch.Name.ID, w.id, why); err != nil || !answered {
			return err
		}
		s := stepsOf(ch, "")[0]
		s.Sort, s.Key, s.At = stepReplied, stepReplied+":"+w.id, c.desk.cfg.Now().UTC()
		s.Text = clean(fmt.Sprintf("the word %s of account %s does not count: %s", w.id, w.account, why), 600)
		return addStep(tx, c.place, s)
	})
}

// unfit says why a word is no vote, as far as the tool and the mapping go, or "".
func (c *clerk) unfit(ch *change.Change, t ticket, w word, m Mapping, mapped bool) string {
	now := c.desk.cfg.Now()
	switch {
	case w.spoiled != "":
		return w.spoiled
	case !mapped:
		return "nobody here is known by this account"
	case m.Place != c.target.where():
		return "the account was known in another place than this"
	case !now.Before(m.Until):
		return "the account was known until " + stamp(m.Until)
	case c.desk.cfg.Revoked(c.principal(m), m.Made):
		return "what the person was given then was revoked since"
	case len(w.digest) < shownDigest || !strings.HasPrefix(ch.Digest, w.digest):
		return "the digest is not that of the change: what was looked at is not what it is"
	case !t.Opened.IsZero() && w.said.Before(t.Opened.Truncate(time.Second)):
		return "it was said before the ticket was there"
	}
	return ""
}

// principal is whom a mapping lets vote: the person, by the word of the tool. It is an
// identity that the person had made, so that no grant of theirs counts for it, and whoever
// decides who is somebody else takes both for one.
func (c *clerk) principal(m Mapping) pavise.Principal {
	return pavise.Principal{
		Tenant: c.tenant, Kind: pavise.Human, ID: m.Person.ID, Issuer: m.Place, Roles: m.Roles, Proof: change.ProofTicket,
		Expires: m.Until, By: m.Person,
	}
}

// vote votes. why is counted, or what the vote met. The error is a fault that may pass.
func (c *clerk) vote(ctx context.Context, ch *change.Change, t ticket, w word, m Mapping) (why string, err error) {
	_, err = c.desk.cfg.Changes.Outside(ctx, c.principal(m), ch.Name, change.Word{
		Digest: w.digest, Yes: w.yes, Reason: w.reason,
		Origin: change.Origin{Tool: c.name, At: m.Place, Ticket: t.Name, Word: w.id, Account: w.account, Said: w.said},
	})
	if err == nil {
		return counted, nil
	}
	// The vote may be written and what it led to have failed, now or in an earlier process.
	if now, lookErr := c.desk.cfg.Changes.Look(ctx, ch.Name); lookErr == nil {
		for _, v := range now.Votes {
			if v.Origin != nil && v.Origin.Tool == c.name && v.Origin.Word == w.id {
				return counted, nil
			}
		}
	}
	e, ok := errors.AsType[*pavise.Error](err)
	if !ok || e.Kind == pavise.Internal || e.Kind == pavise.Unavailable || e.Kind == pavise.Throttled {
		return "", err
	}
	return clean(e.Msg, 400), nil
}
