package route

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
)

// A Course is what a room that steers a route wants behind it: a model that runs in the
// gateway, or servers, some of them of another version than the others, in shares.
type Course struct {
	Model  pavise.Name
	Digest string // of an ONNX model to run in the gateway, sha256:HEX; empty: servers are asked
	// ONNX returns its bytes. It is asked only if they are not here.
	ONNX func(ctx context.Context) ([]byte, error)
	// Beside is the digest of a second ONNX model, and BesideONNX returns its bytes: it
	// answers Weight in a hundred calls, or, at 0, hears them. Empty: there is none.
	Beside     string
	BesideONNX func(ctx context.Context) ([]byte, error)
	Weight     int
	Servers    []Replica // the first of them is the route's own
	Shadow     string    // the address of a server that hears the calls; empty: none does
	Safe       bool      // it is the way back: it goes on where the disk is full
}

// Steer puts behind a route what a course says, and leaves its terms as they are. What is
// behind it already is left alone. What servers take and give is asked of them, unless the
// route led there before: the way back waits for nobody. A quarantine stays. Errors are of
// kind NotFound for a model without a route, Invalid, and those of the servers.
//
// Unguarded: a room of the house asks it, which was let in to say what runs behind the
// route, and leaves the record of it.
func (t *Table) Steer(ctx context.Context, c Course) error {
	was := t.current(c.Model.String())
	if was == nil {
		return &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("no route leads to %s", c.Model), Hint: "put it first, with its terms: pavise route put " + c.Model.ID + "; a server of a registered model is proposed, with pavise route release"}
	}
	if c.sits(was) {
		return nil
	}
	spec, err := t.course(ctx, c)
	if err != nil {
		return err
	}
	found, err := t.remembered(ctx, c, spec, was)
	if err == nil && found == nil {
		found, err = t.describe(ctx, spec, was)
	}
	if err != nil {
		return err
	}
	t.changing.Lock()
	defer t.changing.Unlock()
	if was = t.current(c.Model.String()); was == nil {
		return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("the route to %s was deleted at the same time", c.Model)}
	}
	placed, err := t.compose(ctx, spec, found, was)
	if err != nil {
		return err
	}
	update := t.db.Update
	if c.Safe {
		update = t.db.UpdateSafe
	}
	return t.save(ctx, update, placed, nil)
}

// sits reports whether a route has what the course says already.
func (c Course) sits(r *Route) bool {
	if c.Digest != "" {
		var versions []Version
		heard := c.Beside
		if c.Weight > 0 {
			heard, versions = "", []Version{{c.Digest, 100 - c.Weight}, {c.Beside, c.Weight}}
		}
		return r.ONNX == c.Digest && r.Shadow == "" && r.ShadowONNX == heard && slices.Equal(r.Versions, versions)
	}
	var have []Replica
	for _, e := range r.endpoints() {
		have = append(have, Replica{e.URL, e.Weight})
	}
	return r.ONNX == "" && slices.Equal(have, c.Servers) && r.Shadow == c.Shadow
}

// course is a course in words.
func (t *Table) course(ctx context.Context, c Course) (s Spec, err error) {
	s = Spec{Name: c.Model.String()}
	if c.Digest != "" {
		s.Shadow, s.Keep = nothing, []string{nothing} // or who was put there hears on, and answers
		if s.ONNX, err = t.bytesOf(ctx, c.Digest, c.ONNX); err != nil || c.Beside == "" {
			return s, err
		}
		beside, err := t.bytesOf(ctx, c.Beside, c.BesideONNX)
		if c.Weight > 0 {
			s.Beside, s.Weights = beside, []string{fmt.Sprintf("%s=%d", c.Digest, 100-c.Weight), fmt.Sprintf("%s=%d", c.Beside, c.Weight)}
		} else {
			s.ShadowONNX = beside
		}
		return s, err
	}
	if len(c.Servers) == 0 {
		return s, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s is to be answered by nobody", c.Model), Hint: "pavise route quarantine lets nobody ask it"}
	}
	s.Upstream, s.Shadow, s.Replicas = c.Servers[0].URL, nothing, []string{nothing}
	if c.Shadow != "" {
		s.Shadow = c.Shadow
	}
	for i, e := range c.Servers {
		s.Weights = append(s.Weights, fmt.Sprintf("%s=%d", e.URL, e.Weight))
		if i == 1 {
			s.Replicas = nil
		}
		if i > 0 {
			s.Replicas = append(s.Replicas, e.URL)
		}
	}
	return s, nil
}

// bytesOf are those of an ONNX model, which is fetched only if it is not here. Other bytes
// than its digest says are an error of kind Unverified.
func (t *Table) bytesOf(ctx context.Context, digest string, fetch func(ctx context.Context) ([]byte, error)) ([]byte, error) {
	b, err := t.Model(ctx, digest)
	if pavise.KindOf(err) == pavise.NotFound {
		b, err = fetch(ctx)
	}
	if err != nil {
		return nil, err
	}
	if is := fmt.Sprintf("sha256:%x", sha256.Sum256(b)); is != digest {
		return nil, &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("the model %s is to be brought to the gateway, and its bytes are %s", digest, is), Hint: "the store was changed, or where the files of models are kept: release a version that you trust"}
	}
	return b, nil
}

// remembered is what the servers of a course take and give, if the route led to them
// before. An ONNX model says it itself, at no cost.
func (t *Table) remembered(ctx context.Context, c Course, s Spec, was *Route) (*finding, error) {
	if c.Digest != "" {
		return nil, nil
	}
	route, err := s.route(was)
	if err != nil {
		return nil, err
	}
	var found *finding
	err = t.db.View(ctx, func(tx *store.Tx) error {
		for before := int64(1) << 62; found == nil; {
			old, seq, err := release(tx, c.Model, before)
			if err != nil || old == nil {
				return err
			}
			if before = seq; old.ONNX == "" && old.Place() == route.Place() {
				found = &finding{signature: old.Signature, place: route.Place()}
			}
		}
		return nil
	})
	return found, err
}
