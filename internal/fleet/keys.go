package fleet

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/bundle"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/plainjson"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/verbs"
)

// BundleKeys does the verbs on the keys that sign bundles. It has no state of its own:
// the keys are the publisher's.
type BundleKeys struct {
	Guard     *guard.Guard
	Publisher *bundle.Publisher
	Store     *store.DB // where it is marked that a change was run
	Tenant    string
}

var _ verbs.Bundles = (*BundleKeys)(nil)

// name is that of what gateways are told.
func (b *BundleKeys) name() pavise.Name {
	return pavise.Name{Tenant: b.Tenant, Kind: "bundle", ID: "orders"}
}

// List returns the keys: the verb bundle.list.
func (b *BundleKeys) List(ctx context.Context, who pavise.Principal) (list verbs.SigningKeys, err error) {
	entry, err := b.Guard.Enter(ctx, who, "bundle.list", pavise.Name{Tenant: who.Tenant, Kind: "bundle", ID: "orders"})
	if err != nil {
		return list, err
	}
	defer entry.Exit(&err)
	list.Serial = b.Publisher.Serial()
	for _, k := range b.Publisher.Trust().Keys {
		state := "active"
		if k.Revoked {
			state = "revoked"
		}
		list.Keys = append(list.Keys, verbs.SigningKey{Key: k.String(), State: state})
	}
	return list, nil
}

// Change returns the runner of bundle.rotate or bundle.revoke.
//
// The keys are files and not rows, so the mark of the change cannot be in one transaction
// with them. It comes after: a process that dies between the two finds other keys than
// were approved, and ends the change as void. Nothing is done twice.
func (b *BundleKeys) Change(verb string) change.Runner {
	plan, do := b.planRotate, b.rotate
	if verb == "bundle.revoke" {
		plan, do = b.planRevoke, b.revoke
	}
	return change.Runner{
		Plan: func(_ context.Context, on pavise.Name, request json.RawMessage) (change.Plan, error) {
			if on != b.name() {
				return change.Plan{}, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("gateways are not told anything named %s", on), Hint: "it is " + b.name().String()}
			}
			summary, err := plan(request)
			return change.Plan{Summary: summary, Digests: map[string]string{"keys before": b.digest()}}, err
		},
		Run: func(ctx context.Context, act change.Act) (err error) {
			entry, err := b.Guard.Enter(ctx, act.Who, verb, act.On)
			if err != nil {
				return err
			}
			defer entry.Exit(&err)
			if act.Digests["keys before"] != b.digest() {
				return &pavise.Error{Kind: pavise.Conflict, Msg: "the keys are others than those that the change was approved for", Hint: "propose it anew; pavise bundle list shows them"}
			}
			key, err := do(ctx, act.Request)
			if err != nil {
				return err
			}
			entry.Detail(map[string]any{"key": key.String(), "serial": b.Publisher.Serial()})
			return b.Store.Update(ctx, act.Mark)
		},
	}
}

// digest is that of the list of keys.
func (b *BundleKeys) digest() string {
	text, _ := json.Marshal(b.Publisher.Trust().Keys) // cannot fail: words
	return fmt.Sprintf("sha256:%x", sha256.Sum256(text))
}

func (b *BundleKeys) planRotate(request json.RawMessage) (string, error) {
	if _, err := known[struct{}](request); err != nil {
		return "", err
	}
	return "let another key sign what gateways are told, beside those that do", b.Publisher.CheckRotate()
}

func (b *BundleKeys) rotate(ctx context.Context, _ json.RawMessage) (bundle.Key, error) {
	return b.Publisher.Rotate(ctx)
}

func (b *BundleKeys) planRevoke(request json.RawMessage) (string, error) {
	key, err := revoked(request)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("have every gateway refuse, for good, what the key %s alone has signed", key), b.Publisher.CheckRevoke(key)
}

func (b *BundleKeys) revoke(ctx context.Context, request json.RawMessage) (bundle.Key, error) {
	key, err := revoked(request)
	if err != nil {
		return key, err
	}
	return key, b.Publisher.Revoke(ctx, key)
}

// revoked reads which key a change is about.
func revoked(request json.RawMessage) (bundle.Key, error) {
	req, err := known[verbs.RevokedKey](request)
	if err != nil {
		return bundle.Key{}, err
	}
	return bundle.ParseKey(req.Key)
}

// known reads the request of a change.
func known[T any](request json.RawMessage) (T, error) {
	v, err := plainjson.ReadKnown[T](request)
	if err != nil {
		err = &pavise.Error{Kind: pavise.Invalid, Msg: "the request of the change cannot be read: " + err.Error(), Hint: "GET /v1/openapi.json says what the verb takes", Err: err}
	}
	return v, err
}
