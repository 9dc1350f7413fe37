package demo

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/evidence"
)

func decodeSegment(s string) ([]byte, error) { return base64.RawURLEncoding.DecodeString(s) }
func encodeSegment(b []byte) string          { return base64.RawURLEncoding.EncodeToString(b) }

// thief uses tokens that are another's.
func (p *play) thief(ctx context.Context) error {
	p.scene = "Somebody has stolen tokens"
	now := p.cfg.Now()
	copied, err := p.mint(ctx, "edge-berlin-"+p.run, pavise.Workload, "caller")
	if err != nil {
		return err
	}
	old := p.stage.Org.token("edge-lyon", pavise.Workload, []string{"caller"}, now.Add(-50*time.Minute), now.Add(-10*time.Minute), nil)
	raised := claimed(copied, func(c map[string]any) { c["pavise_roles"] = []string{"operator"} })
	for _, try := range []struct {
		at                      float64
		did, token, reason, why string
	}{
		{29, "uses a token that ended ten minutes ago", old, "expired", "A token is good until it ends, give or take half a minute for clocks that disagree. Whom nobody can name is counted, once a second, so that knocking does not fill the log."},
		{31, "writes another role into a copied token: operator", raised, "signature", "What a token says is signed by who gave it out. Changed, it is nobody's."},
	} {
		if err := p.at(ctx, try.at); err != nil {
			return err
		}
		if err := p.refusedStranger(ctx, try.did, try.reason, try.why, http.Header{"Authorization": {"Bearer " + try.token}}); err != nil {
			return err
		}
	}
	if err := p.at(ctx, 33); err != nil {
		return err
	}
	if err := p.beyondRole(ctx, copied); err != nil {
		return err
	}
	return p.bound(ctx)
}

// refusedStranger asks with a proof that is none.
func (p *play) refusedStranger(ctx context.Context, did, reason, why string, header http.Header) error {
	mark, err := p.mark(ctx)
	if err != nil {
		return err
	}
	a, err := p.askWith(ctx, header, drawn(p.cfg.Seed).request(0, 1))
	if err != nil {
		return err
	}
	act := Act{Actor: "thief", Did: did, Decision: a.decision(), Record: a.record}
	if act.Decision == Denied {
		note, err := p.stranger(ctx, mark, reason)
		if err != nil {
			return err
		}
		act.Record = &note.Index
	}
	p.expected(act, Denied, why, a.said)
	return nil
}

// beyondRole uses a good copy of a token for more than its owner may.
func (p *play) beyondRole(ctx context.Context, copied string) error {
	mark, err := p.mark(ctx)
	if err != nil {
		return err
	}
	said, decision := p.person(copied).Call(ctx, "policy.list", api.Empty{}, nil), Allowed
	if pavise.KindOf(said) == pavise.Unavailable {
		return said
	}
	if said != nil {
		decision = Denied
	}
	read, err := p.find(ctx, mark, evidence.Conditions{Kind: []string{"policy.list"}, Who: "workload/edge-berlin-" + p.run}, nil)
	if err != nil {
		return err
	}
	text := ""
	if said != nil {
		text = said.Error()
	}
	p.expected(Act{Actor: "thief", Did: "reads the policies with a good copy of a client's token", Decision: decision, Record: &read.Index}, Denied,
		"A plain token is good for whoever has it, and nobody can tell the copy: it could ask the model. It goes no further than its owner may, and this role reads no policies.", text)
	return nil
}

// bound steals a token that is worth nothing without its owner's key.
func (p *play) bound(ctx context.Context) error {
	if err := p.at(ctx, 35); err != nil {
		return err
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	_, thiefs, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	now := p.cfg.Now()
	token := p.stage.Org.token("edge-vienna-"+p.run, pavise.Workload, []string{"caller"}, now, now.Add(10*time.Minute), key)
	proof := possession(key, http.MethodPost, p.door(), token, p.cfg.Now())
	both := http.Header{"Authorization": {"DPoP " + token}, "Dpop": {proof}}
	a, err := p.askWith(ctx, both, drawn(p.cfg.Seed).request(0, 1))
	if err != nil {
		return err
	}
	p.expected(Act{Actor: "edge-vienna", Did: "asks with a token that is bound to its key, and a proof that it has the key", Decision: a.decision(), Record: a.record}, Allowed,
		"The proof is for this request alone: its address, its method, its minute, and this token.", a.said)
	for _, try := range []struct {
		at               float64
		did, reason, why string
		header           func() http.Header
	}{
		{37, "has copied that token, and uses it alone", "holder", "The token names the key of its owner. Without the key it is worth nothing.",
			func() http.Header { return http.Header{"Authorization": {"Bearer " + token}} }},
		{39, "sends the whole request again, proof and all", "proof_replay", "That proof was used. Used ones are remembered for as long as they could be used again.",
			func() http.Header { return both }},
		{41, "proves a key of its own", "holder", "It is a good proof, of another key than the token's.",
			func() http.Header {
				own := possession(thiefs, http.MethodPost, p.door(), token, p.cfg.Now())
				return http.Header{"Authorization": {"DPoP " + token}, "Dpop": {own}}
			}},
	} {
		if err := p.at(ctx, try.at); err != nil {
			return err
		}
		if err := p.refusedStranger(ctx, try.did, try.reason, try.why, try.header()); err != nil {
			return err
		}
	}
	return nil
}
