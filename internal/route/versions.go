package route

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/infer"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/tensor"
	"github.com/pavise/pavise/internal/upstream"
)

// A Version is one of several ONNX models that answer on a route, in shares.
type Version struct {
	ONNX   string `json:"onnx"`   // its digest
	Weight int    `json:"weight"` // its share of the calls, 0 to upstream.MaxWeight; at 0 it gets none
}

// What is loaded beside the models that answer alone is bounded: each version lies in
// memory as long as its route has it.
const (
	maxVersions = 4         // of a route; a shadow is one more
	maxAside    = 256 << 20 // bytes, as files, of the further versions and the shadows of all routes
)

// further are the ONNX models that answer beside a route's own.
func (r Route) further() []Version { return r.Versions[min(1, len(r.Versions)):] }

// beside reports whether an ONNX model answers, or hears the calls, beside a route's own.
func (r Route) beside(digest string) bool {
	return digest != "" && r.ONNX != digest && slices.Contains(r.Models(), digest)
}

// without takes an ONNX model away that is beside a route's own.
func (r *Route) without(digest string) {
	if !r.beside(digest) {
		return
	}
	if r.ShadowONNX == digest {
		r.ShadowONNX = ""
	}
	r.Versions = slices.DeleteFunc(slices.Clone(r.Versions), func(v Version) bool { return v.ONNX == digest })
	if len(r.Versions) < 2 {
		r.Versions = nil
	} else if !slices.ContainsFunc(r.Versions, func(v Version) bool { return v.Weight > 0 }) {
		r.Versions[0].Weight = 1 // or nobody would answer
	}
}

// Models are the digests of all ONNX models that a route runs: its own first.
func (r Route) Models() (all []string) {
	if r.ONNX == "" {
		return nil
	}
	all = []string{r.ONNX}
	for _, v := range r.further() {
		all = append(all, v.ONNX)
	}
	if r.ShadowONNX != "" {
		all = append(all, r.ShadowONNX)
	}
	return all
}

// digests are those of the ONNX models that answer, whatever their shares.
func (r Route) digests() (all []string) {
	for _, v := range r.Versions {
		all = append(all, v.ONNX)
	}
	return all
}

// is says what answers on a route, as plans of releases and drift watching tell one version
// from another: whatever the shares.
func (r Route) is() string {
	if len(r.Versions) > 1 {
		return strings.Join(r.digests(), " beside ")
	}
	if r.ONNX != "" {
		return r.ONNX
	}
	return r.At()
}

// Aside says, behind an ONNX model that answers, which further ones do and for which share
// of the calls; "" if none does.
func (r Route) Aside() (words string) {
	all := 0
	for _, v := range r.Versions {
		all += v.Weight
	}
	for _, v := range r.further() {
		words += fmt.Sprintf(", and %s for %.3g in 100 calls", shortDigest(v.ONNX), 100*float64(v.Weight)/float64(max(all, 1)))
	}
	return words
}

// shortDigest is as much of a digest as people compare.
func shortDigest(digest string) string { return digest[:min(len(digest), 19)] }

// checkVersions reports, as an error of kind Invalid, what is wrong with the ONNX models of
// a route.
func (r Route) checkVersions() error {
	refuse := func(hint, format string, args ...any) error {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf(format, args...), Hint: hint}
	}
	all := r.Models()
	switch {
	case r.ONNX == "" && (len(r.Versions) > 0 || r.ShadowONNX != ""):
		return refuse("give --onnx FILE, the first of them", "further versions, and a shadow that runs in the gateway, are beside an ONNX model that does, and %s has none", r.Model)
	case len(r.Versions) == 1 || len(r.Versions) > 0 && r.Versions[0].ONNX != r.ONNX:
		return refuse("", "the versions of %s are not those that answer", r.Model)
	case len(r.Versions) > maxVersions:
		return refuse("take one away: --keep names those that stay", "%d versions of %s, and the gateway runs %d of a model at most", len(r.Versions), r.Model, maxVersions)
	case r.Shadow != "" && r.ShadowONNX != "":
		return refuse("", "a route has one shadow: on a server, or in the gateway")
	case r.Balance == balanceLeast && r.ONNX != "":
		return refuse("write "+balanceTurns+" or "+balanceCaller, "models that run in the gateway are not one busier than another, and %s has no servers", r.Model)
	}
	for i, digest := range all {
		if slices.Contains(all[:i], digest) {
			return refuse("take one of them away: --keep names the versions that stay, and --shadow none ends a shadow", "%s would be there twice", shortDigest(digest))
		}
	}
	sum := 0
	for _, v := range r.Versions {
		if sum += v.Weight; v.Weight < 0 || v.Weight > upstream.MaxWeight {
			return refuse("", "%s has the weight %d, not 0 to %d", shortDigest(v.ONNX), v.Weight, upstream.MaxWeight)
		}
	}
	if len(r.Versions) > 0 && sum == 0 {
		return refuse("give one of them a share: --weight DIGEST=1", "every version of %s has the weight 0, and nobody would answer", r.Model)
	}
	return nil
}

// ofVersion reports whether a weight, in words, is that of an ONNX model.
func ofVersion(text string) bool { return strings.HasPrefix(text, "sha256:") }

// versions says which ONNX models answer on a route beside its own, how often each does,
// and which one hears the calls. was is the route before, or nil. The error is of kind
// Invalid.
func (s Spec) versions(r *Route, was *Route, f *finding) error {
	var before []Version
	if was != nil && r.ONNX != "" {
		if before = was.Versions; len(before) == 0 {
			before = []Version{{was.ONNX, 1}}
		}
	}
	if r.Versions = nil; r.ONNX == "" || s.Shadow != "" {
		r.ShadowONNX = ""
	}
	if f != nil && f.shadow != nil {
		if s.Shadow != "" && s.Shadow != nothing {
			return &pavise.Error{Kind: pavise.Invalid, Msg: "a route has one shadow: on a server, or in the gateway", Hint: "give --shadow URL or --shadow-onnx FILE"}
		}
		r.Shadow, r.ShadowRemote, r.ShadowONNX = "", "", f.shadow.Digest()
	}
	names := []string{r.ONNX}
	further, err := s.kept(r, before)
	if err != nil {
		return err
	}
	if names = append(names, further...); f != nil && f.beside != nil && !slices.Contains(further, f.beside.Digest()) {
		names = append(names, f.beside.Digest())
	}
	for i, name := range names {
		weight := 0 // a version that comes answers when somebody gives it a share
		if i == 0 {
			weight = 1
		}
		if at := slices.IndexFunc(before, func(v Version) bool { return v.ONNX == name }); at >= 0 {
			weight = before[at].Weight
		}
		r.Versions = append(r.Versions, Version{name, weight})
	}
	if err := s.shares(r); err != nil {
		return err
	}
	if len(r.Versions) == 1 {
		r.Versions = nil
	}
	return r.checkVersions()
}

// kept are the further versions of before that stay, as the words name them.
func (s Spec) kept(r *Route, before []Version) (all []string, err error) {
	for _, v := range before[min(1, len(before)):] {
		all = append(all, v.ONNX)
	}
	switch {
	case len(s.Keep) == 1 && s.Keep[0] == nothing:
		return nil, nil
	case len(s.Keep) > 0:
		known := Route{}
		for _, digest := range all {
			known.Versions = append(known.Versions, Version{ONNX: digest})
		}
		all = nil
		for _, text := range s.Keep {
			at, err := known.find(text)
			if err != nil {
				return nil, err
			}
			all = append(all, known.Versions[at].ONNX)
		}
	case len(all) > 0 && r.ONNX != before[0].ONNX:
		return nil, &pavise.Error{
			Kind: pavise.Invalid, Msg: fmt.Sprintf("%s has %d further versions beside %s, and it is not said whether they stay beside %s", r.Model, len(all), shortDigest(before[0].ONNX), shortDigest(r.ONNX)),
			Hint: "say which stay: --keep DIGEST for each, or --keep none",
		}
	}
	return all, nil
}

// shares gives the versions of a route the weights that the words say.
func (s Spec) shares(r *Route) error {
	for _, text := range s.Weights {
		if !ofVersion(text) {
			continue
		}
		digest, share, _ := strings.Cut(text, "=")
		n, err := strconv.Atoi(share)
		if err != nil {
			return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("weight %.200q is not DIGEST=SHARE", text), Hint: "write it as sha256:0123456789ab=10"}
		}
		at, err := r.find(digest)
		if err != nil {
			return err
		}
		r.Versions[at].Weight = n
	}
	return nil
}

// leastDigest is how much of a digest names a version at least, in characters.
const leastDigest = len("sha256:") + 8

// find is which of the versions has a digest that begins so.
func (r Route) find(text string) (at int, err error) {
	at = -1
	for i, v := range r.Versions {
		if len(text) < leastDigest || !strings.HasPrefix(v.ONNX, text) {
			continue
		}
		if at >= 0 {
			return 0, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("several versions of %s begin with %.80s", r.Model, text), Hint: "name more of it, as pavise route list --json does"}
		}
		at = i
	}
	if at < 0 {
		return 0, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.80q is no version that answers on the route", text), Hint: "name one by its digest, or the first 8 digits of that, as pavise route list --json does: sha256:0123abcd"}
	}
	return at, nil
}

// aside reads the ONNX models that are named beside a route's own, and sees that they take
// and give what that does. main is what that is, or nil where it is not known. The error
// is of kind Invalid.
func (f *finding) aside(spec Spec, model string, main *tensor.Signature) (err error) {
	for _, one := range []struct {
		bytes []byte
		what  string
		to    **infer.Native
	}{{spec.Beside, "the version beside it", &f.beside}, {spec.ShadowONNX, "the shadow", &f.shadow}} {
		if one.bytes == nil {
			continue
		}
		n, err := infer.NewNative(model, one.bytes)
		if e, ok := errors.AsType[*pavise.Error](err); ok {
			return &pavise.Error{Kind: e.Kind, Msg: one.what + ": " + e.Msg, Hint: e.Hint, Err: err}
		}
		if err != nil {
			return err
		}
		if main != nil {
			if err := alike(*main, n.Signature(), one.what); err != nil {
				return err
			}
		}
		*one.to = n
		f.keep(n.Digest(), one.bytes)
	}
	return nil
}

// keep has the bytes of a model kept with the route.
func (f *finding) keep(digest string, b []byte) {
	if f.models == nil {
		f.models = map[string][]byte{}
	}
	f.models[digest] = b
}

// alike refuses, with kind Invalid, a model that takes or gives otherwise than another one:
// calls go to either, and callers are promised one thing.
func alike(one, other tensor.Signature, what string) error {
	same := func(a, b tensor.Port) bool {
		return a.Name == b.Name && a.Datatype == b.Datatype && slices.Equal(a.Shape, b.Shape)
	}
	if slices.EqualFunc(one.Inputs, other.Inputs, same) && slices.EqualFunc(one.Outputs, other.Outputs, same) {
		return nil
	}
	words := func(s tensor.Signature) string {
		var list []string
		for _, ports := range [][]tensor.Port{s.Inputs, s.Outputs} {
			for _, p := range ports {
				list = append(list, fmt.Sprintf("%s %v", p.Name, p.Shape))
			}
		}
		return strings.Join(list, ", ")
	}
	return &pavise.Error{
		Kind: pavise.Invalid, Msg: fmt.Sprintf("%s takes and gives (%.300s), and the model that answers (%.300s)", what, words(other), words(one)),
		Hint: "versions that share calls have the same inputs and outputs, in one order; release this one alone",
	}
}

// A running model is an ONNX model that a live route has loaded. It is a Predictor, and
// counts what it answers.
type running struct {
	*infer.Native
	answers, failures atomic.Uint64
}

// Infer answers a checked request.
func (r *running) Infer(ctx context.Context, asked *tensor.Request) (*tensor.Response, error) {
	said, err := r.Native.Infer(ctx, asked)
	if err != nil {
		r.failures.Add(1)
		return nil, err
	}
	r.answers.Add(1)
	return said, nil
}

// startNative loads the ONNX models of a route.
func (t *Table) startNative(tx *store.Tx, l *Live) error {
	for i, digest := range l.Models() {
		n, err := t.native(tx, l.Model, digest)
		if err != nil {
			return err
		}
		if i > 0 {
			if err := alike(l.loaded[0].Signature(), n.Signature(), shortDigest(digest)); err != nil {
				return err
			}
		}
		l.loaded = append(l.loaded, n)
	}
	l.Predictor = l.loaded[0]
	l.turn()
	return nil
}

// native loads an ONNX model of a route: the one that runs there already, or the one that
// the store has, if its bytes are what their name says. The error is then of kind
// Unverified.
func (t *Table) native(tx *store.Tx, model pavise.Name, digest string) (*running, error) {
	if was := (*t.live.Load())[model]; was != nil {
		for _, n := range was.loaded {
			if n.Digest() == digest {
				return n, nil
			}
		}
	}
	var onnx []byte
	if err := tx.QueryRow(`SELECT onnx FROM gateway_models WHERE digest = ?`, digest).Scan(&onnx); err != nil {
		return nil, fmt.Errorf("read model %s: %w", digest, err)
	}
	n, err := infer.NewNative(model.ID, onnx)
	if err != nil {
		return nil, err
	}
	if n.Digest() != digest {
		return nil, &pavise.Error{
			Kind: pavise.Unverified,
			Msg:  fmt.Sprintf("the stored model of %s has digest %s, and its route names %s", model, n.Digest(), digest),
			Hint: "the store was changed: put the route again with the model you trust",
		}
	}
	return &running{Native: n}, nil
}

// turn has the versions that answer take turns, or be picked by the caller, in their shares.
func (l *Live) turn() {
	if l.wheel = nil; len(l.Versions) == 0 {
		return
	}
	var weights []int
	for _, v := range l.Versions {
		weights = append(weights, v.Weight)
	}
	l.wheel = upstream.NewWheel(l.digests(), weights)
}

// Pick returns what is to answer a call of a caller, and what the record says of it: of
// several ONNX models, the digest of the one.
func (l *Live) Pick(who pavise.Name) (Predictor, string) {
	if l.wheel == nil {
		return l.Predictor, l.Said
	}
	key := ""
	if l.PerCaller() {
		key = who.String()
	}
	n := l.loaded[l.wheel.Next(key)]
	return n, n.Digest()
}

// Which is what Pick said, if there are several that it could have been.
func (l *Live) Which(said string) string {
	if l.wheel == nil {
		return ""
	}
	return said
}

// room refuses, with kind Conflict, a route whose further models are more than there is
// memory for beside those of the other routes. Those that run are there already, and
// sizes has those that come.
func (t *Table) room(r Route, sizes map[string][]byte) error {
	held := 0
	for l := range t.All() {
		for i, n := range l.loaded {
			if i > 0 && (l.Model != r.Model || sizes[n.Digest()] == nil && slices.Contains(r.Models(), n.Digest())) {
				held += n.Size()
			}
		}
	}
	more := 0
	for i, digest := range r.Models() {
		if i > 0 {
			more += len(sizes[digest])
		}
	}
	if more == 0 || held+more <= t.aside {
		return nil
	}
	return &pavise.Error{
		Kind: pavise.Conflict, Msg: fmt.Sprintf("further versions and shadows take %d KiB of the gateway's memory already, and these %d KiB: %d KiB is the most", held>>10, more>>10, t.aside>>10),
		Hint: "take some away first (--keep none, --shadow none), or serve the versions on model servers",
	}
}

// A Running is how an ONNX model of a route does that has several, at the gateway that is
// asked, since it was loaded.
type Running struct {
	ONNX     string `json:"onnx"`
	Weight   int    `json:"weight"`
	Answers  uint64 `json:"answers,omitempty"`
	Failures uint64 `json:"failures,omitempty"`
}

// versions is how the ONNX models of a route do, where there are several.
func (l *Live) versions() (all []Running) {
	for i, v := range l.Versions {
		n := l.loaded[i]
		all = append(all, Running{v.ONNX, v.Weight, n.answers.Load(), n.failures.Load()})
	}
	return all
}

// EachVersion calls each for every ONNX model of routes that have several, with the id of
// the route's model, as much of the version's digest as people compare, and how many calls
// it has answered since it was loaded.
func (t *Table) EachVersion(each func(model, version string, answers uint64)) {
	for l := range t.All() {
		for _, v := range l.versions() {
			each(l.Model.ID, shortDigest(v.ONNX), v.Answers)
		}
	}
}
