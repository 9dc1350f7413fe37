// Package function makes targets of functions in the manner of AWS Lambda: a version of a
// model is one deployment package, published as an immutable version of the function, and an
// alias says which of them answers, and in which shares. It quarantines the client that
// signs requests to AWS.
//
// It owns no state. Whose an alias is stands in its description: who finds another
// installation there, or a higher revision of its own, touches nothing.
package function

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/deploy"
)

// maxPackage bounds a deployment package that is sent in one request, as AWS does: 50 MB.
const maxPackage = 50 << 20

// Config is what the driver is made of.
type Config struct {
	// Read reads a file of a version whole, and holds it to its digest.
	Read   func(ctx context.Context, tenant string, f deploy.File) ([]byte, error)
	Origin string        // which installation steers: it stands in the descriptions of aliases
	Sign   Signer        // nil: by the credentials of the environment, of AWS's files, or of the machine
	Poll   time.Duration // how often a package that is being taken in is looked at; a second if 0
}

// Driver makes targets of functions.
func Driver(cfg Config) deploy.Driver {
	if cfg.Sign == nil {
		cfg.Sign = usualSigner()
	}
	cfg.Poll = cmp.Or(cfg.Poll, time.Second)
	return deploy.Driver{
		Parts: true,
		Keys: []deploy.Setting{
			{Key: "function", Required: true, About: "the function's name"},
			{Key: "alias", Required: true, About: "the alias that callers ask for: it is made if there is none"},
			{Key: "region", Required: true, About: "the region of AWS"},
			{Key: "endpoint", About: "where the API is, if it is not AWS's own"},
			{Key: "file", About: "which file of a version is its deployment package, where several end in .zip"},
		},
		Open: func(name pavise.Name, set map[string]string) (deploy.Target, error) {
			for _, key := range []string{"function", "alias", "region"} {
				if !plain(set[key]) {
					return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the %s of a function is not %.80q", key, set[key]), Hint: "letters, digits, - and _"}
				}
			}
			api, err := newAPI(cmp.Or(set["endpoint"], "https://lambda."+set["region"]+".amazonaws.com"), set["region"], cfg.Sign)
			if err != nil {
				return nil, err
			}
			return &function{cfg: cfg, api: api, target: name, name: set["function"], alias: set["alias"], file: set["file"]}, nil
		},
	}
}

// plain reports whether a text is a name that needs no escape in a path.
func plain(s string) bool {
	return s != "" && len(s) <= 128 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == ""
}

// A function is a target.
type function struct {
	cfg    Config
	api    *api
	target pavise.Name
	name   string
	alias  string
	file   string
}

// Thing implements deploy.Sole.
func (f *function) Thing() string {
	return "the alias " + f.alias + " of " + f.name + " at " + f.api.base
}

// Takes implements deploy.Target. AWS knows a package by the SHA-256 of its bytes.
func (f *function) Takes(v deploy.Version) (string, error) {
	file, err := f.packageOf(v)
	return file.Digest, err
}

// packageOf finds the deployment package of a version.
func (f *function) packageOf(v deploy.Version) (found deploy.File, err error) {
	n := 0
	for _, file := range v.Files {
		if file.Path == f.file || f.file == "" && path.Ext(file.Path) == ".zip" {
			found, n = file, n+1
		}
	}
	switch {
	case n != 1:
		return found, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("version %d of %s has %d deployment packages for a function, not one", v.Number, v.Model.ID, n), Hint: "it is a file of the version that ends in .zip; the setting file of the target names another"}
	case found.Size > maxPackage:
		return found, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s has %d bytes, and a package that is sent has %d at most", found.Path, found.Size, maxPackage), Hint: "leave the weights out of the package, and load them where the function runs"}
	}
	return found, nil
}

// Observe implements deploy.Target.
func (f *function) Observe(ctx context.Context) (s deploy.State, err error) {
	a, err := f.api.alias(ctx, f.name, f.alias)
	if pavise.KindOf(err) == pavise.NotFound && f.api.there(ctx, f.name) == nil {
		return deploy.State{Healthy: true}, nil // no alias yet: nothing answers
	}
	if err != nil {
		return s, err
	}
	s.Healthy = true
	if s.Main, err = f.runs(ctx, a.FunctionVersion, &s); err != nil {
		return s, err
	}
	for version, share := range a.RoutingConfig.AdditionalVersionWeights {
		if s.Beside != "" {
			s.Beside += " and others"
			continue
		}
		if s.Beside, err = f.runs(ctx, version, &s); err != nil {
			return s, err
		}
		s.Weight = int(math.Round(share * 100))
	}
	return s, nil
}

// runs is the digest of a published version, and how it does.
func (f *function) runs(ctx context.Context, version string, s *deploy.State) (string, error) {
	if _, err := strconv.Atoi(version); err != nil {
		return "unpublished:" + version, nil // $LATEST is another thing with every upload
	}
	c, err := f.api.configuration(ctx, f.name, version)
	if err != nil {
		return "", err
	}
	if c.State == "Failed" || c.LastUpdateStatus == "Failed" {
		s.Healthy, s.Problem = false, fmt.Sprintf("version %s of the function is not well: %s", version, cmp.Or(c.StateReason, c.LastUpdateStatusReason))
	}
	return digestOf(c.CodeSha256)
}

// digestOf is a digest as AWS spells it, as we do.
func digestOf(code string) (string, error) {
	sum, err := base64.StdEncoding.Strict().DecodeString(code)
	if err != nil || len(sum) != 32 {
		return "", &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("%.60q is no digest of a package", code), Hint: "is it AWS Lambda's API that answers there?"}
	}
	return "sha256:" + hex.EncodeToString(sum), nil
}

// codeOf is a digest of ours, as AWS spells it.
func codeOf(digest string) string {
	sum, _ := hex.DecodeString(strings.TrimPrefix(digest, "sha256:"))
	return base64.StdEncoding.EncodeToString(sum)
}

// Apply implements deploy.Target: the versions are published first, and then the alias moves,
// unless somebody else has moved it since it was read.
func (f *function) Apply(ctx context.Context, d deploy.Desired) error {
	if d.Main == nil || d.Shadow {
		return &pavise.Error{Kind: pavise.Invalid, Msg: "an alias always leads to a version, and none hears what another answers"}
	}
	a, err := f.api.alias(ctx, f.name, f.alias)
	missing := pavise.KindOf(err) == pavise.NotFound
	if err != nil && !missing {
		return err
	}
	if err := f.mine(a.Description, d.Revision); err != nil {
		return err
	}
	next := alias{Name: f.alias, Description: f.mark(d.Revision), RevisionID: a.RevisionID}
	next.RoutingConfig.AdditionalVersionWeights = map[string]float64{}
	if next.FunctionVersion, err = f.published(ctx, *d.Main); err != nil {
		return err
	}
	if d.Beside != nil {
		beside, err := f.published(ctx, *d.Beside)
		if err != nil {
			return err
		}
		next.RoutingConfig.AdditionalVersionWeights[beside] = float64(d.Weight) / 100
	}
	return f.api.point(ctx, f.name, next, missing)
}

// mark is what the description of an alias says.
func (f *function) mark(revision uint64) string {
	return fmt.Sprintf("pavise %s %s r%d", f.cfg.Origin, f.target, revision)
}

// mine refuses an alias that somebody else steers, or that has seen a higher revision.
func (f *function) mine(description string, revision uint64) error {
	if !strings.HasPrefix(description, "pavise ") {
		return nil // nobody's yet
	}
	at := strings.LastIndex(description, " r")
	if at < 0 || description[:at] != strings.TrimSuffix(f.mark(0), " r0") {
		return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("somebody else steers the alias %s of %s: %.200q", f.alias, f.name, description), Hint: "two controllers for one alias undo each other: take one away, and then the description"}
	}
	seen, err := strconv.ParseUint(description[at+2:], 10, 64)
	if err != nil || seen > revision {
		return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("the alias %s of %s is at revision %s already, and this is %d", f.alias, f.name, description[at+2:], revision), Hint: "was this installation put back from a backup? Look what runs there, and then take the description away"}
	}
	return nil
}

// published returns the version of the function that has the package of a version of the
// model. It publishes one if there is none: after a process that was killed, there may be.
func (f *function) published(ctx context.Context, v deploy.Version) (string, error) {
	file, err := f.packageOf(v)
	if err != nil {
		return "", err
	}
	code := codeOf(file.Digest)
	if version, err := f.api.find(ctx, f.name, code); err != nil || version != "" {
		return version, err
	}
	latest, err := f.api.configuration(ctx, f.name, "$LATEST")
	if err != nil {
		return "", err
	}
	if latest.CodeSha256 != code {
		text, err := f.cfg.Read(ctx, v.Model.Tenant, file)
		if err != nil {
			return "", err
		}
		if err := f.api.upload(ctx, f.name, text, latest.RevisionID); err != nil {
			return "", err
		}
	}
	if err := f.settled(ctx, code); err != nil {
		return "", err
	}
	return f.api.publish(ctx, f.name, code, fmt.Sprintf("%s/%d %s", v.Model, v.Number, v.Digest))
}

// settled waits until the package that was sent is taken in.
func (f *function) settled(ctx context.Context, code string) error {
	for {
		c, err := f.api.configuration(ctx, f.name, "$LATEST")
		switch {
		case err != nil:
			return err
		case c.CodeSha256 != code:
			return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("somebody else sent a package to %s at the same time", f.name), Hint: "it is tried again"}
		case c.LastUpdateStatus == "Failed":
			return &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("%s does not take the package: %.300s", f.name, c.LastUpdateStatusReason)}
		case c.LastUpdateStatus != "InProgress":
			return nil
		}
		select {
		case <-time.After(f.cfg.Poll):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
