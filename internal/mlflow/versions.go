package mlflow

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/filter"
	"github.com/pavise/pavise/internal/registry"
	"github.com/pavise/pavise/internal/tracked"
)

// numberOf reads the number of a version. The error is of kind Invalid.
func numberOf(version text) (int, error) {
	n, err := strconv.Atoi(string(version))
	if err != nil || n < 1 || strconv.Itoa(n) != string(version) {
		return 0, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.40q is no version of a model", string(version)), Hint: "versions are whole numbers from 1"}
	}
	return n, nil
}

// The statuses of a version.
const (
	pending = "PENDING_REGISTRATION"
	failed  = "FAILED_REGISTRATION"
	ready   = "READY"
)

// status says how far the files of a version are, and why they are not ready.
func (k known) status(v *registry.Version) (status, problem string) {
	e := k.extras[v.Ref.Version]
	switch {
	case e.problem != "":
		return failed, e.problem
	case e.coming:
		return pending, "its files are fetched"
	case v.Intake == registry.Failed:
		problem = v.Problem
		if v.Scan != nil && len(v.Scan.Findings) > 0 {
			problem += ": " + v.Scan.Findings[0]
		}
		return failed, problem
	case v.Intake == registry.Pending && v.Stalled:
		return pending, v.Problem
	case v.Intake == registry.Pending:
		return pending, "its files are hashed, looked at and signed here"
	case k.unsigned != nil && k.unsigned(&k.Model, v) != "":
		return pending, k.unsigned(&k.Model, v)
	}
	return ready, ""
}

// show is a version as MLflow has it.
func (k known) show(v *registry.Version) modelVersion {
	m := modelVersion{
		Name: v.Ref.Model, Version: strconv.Itoa(v.Ref.Version), Created: v.Created.UnixMilli(), Updated: v.Since.UnixMilli(),
		User: v.Creator.ID, Stage: stageOf(v), About: v.Description, Source: v.Source, Run: v.Run, Logged: loggedIn(v.Source), Tags: tracked.TagsOf(v.Tags),
		Link: k.extras[v.Ref.Version].link, Aliases: v.Aliases, number: v.Ref.Version, searched: v.Tags,
	}
	m.Status, m.Problem = k.status(v)
	return m
}

// A versionAnswer holds one version.
type versionAnswer struct {
	Version modelVersion `json:"model_version"`
}

// find returns a model and a version of it.
func (s *Server) find(ctx context.Context, who pavise.Principal, name string, version text) (k known, v *registry.Version, err error) {
	number, err := numberOf(version)
	if err != nil {
		return k, nil, err
	}
	if k, err = s.know(ctx, who, name, number); err != nil {
		return k, nil, err
	}
	v, err = k.version(number)
	return k, v, err
}

func (s *Server) getVersion(ctx context.Context, who pavise.Principal, req ofVersion) (any, error) {
	k, v, err := s.find(ctx, who, req.Name, req.Version)
	if err != nil {
		return nil, err
	}
	return versionAnswer{k.show(v)}, nil
}

func (s *Server) updateVersion(ctx context.Context, who pavise.Principal, req updateVersion) (any, error) {
	_, v, err := s.find(ctx, who, req.Name, req.Version)
	if err != nil {
		return nil, err
	}
	if err := s.cfg.Registry.Tag(ctx, who, who.Tenant, v.Ref, registry.Words{Description: req.About}); err != nil {
		return nil, err
	}
	return s.getVersion(ctx, who, ofVersion{req.Name, req.Version})
}

func (s *Server) setVersionTag(ctx context.Context, who pavise.Principal, req versionTag) (any, error) {
	if req.Value == nil {
		return nil, missing("value")
	}
	return s.tagVersion(ctx, who, req)
}

func (s *Server) deleteVersionTag(ctx context.Context, who pavise.Principal, req versionTag) (any, error) {
	req.Value = nil
	return s.tagVersion(ctx, who, req)
}

func (s *Server) tagVersion(ctx context.Context, who pavise.Principal, req versionTag) (any, error) {
	if req.Version == "" {
		return nil, missing("version")
	}
	return s.tag(ctx, who, req.Name, req.Version, req.Key, req.Value)
}

// deleteVersion has a version that has ended be shown no more, and its files go. One that has
// not is retired first, as a change that others approve.
func (s *Server) deleteVersion(ctx context.Context, who pavise.Principal, req ofVersion) (_ any, err error) {
	k, v, err := s.find(ctx, who, req.Name, req.Version)
	if err != nil {
		return nil, err
	}
	if !v.State.Ends() {
		if err := s.archive(ctx, who, v); err != nil {
			return nil, err
		}
	}
	entry, err := s.cfg.Guard.Enter(ctx, who, "model.tag", v.Name())
	if err != nil {
		return nil, err
	}
	defer entry.Exit(&err)
	entry.Detail(map[string]string{"mlflow": "deleted"})
	if err := s.delete(ctx, k.Name, v.Ref.Version); err != nil {
		return nil, err
	}
	return nothing{}, s.release(ctx, v.Tenant, v.Digest)
}

// release lets the files of a digest go, unless a version has them that was not deleted.
func (s *Server) release(ctx context.Context, tenant string, digest registry.Digest) error {
	s.holding.Lock() // else it could be of a version that is just being added
	defer s.holding.Unlock()
	same, err := s.cfg.Registry.ByDigest(ctx, tenant, digest)
	if err != nil {
		return err
	}
	for _, other := range same {
		extras, err := s.extras(ctx, tenant, other.Ref.Model)
		if err != nil {
			return err
		}
		if !extras[other.Ref.Model][other.Ref.Version].deleted {
			return nil
		}
	}
	return s.cfg.Depot.Release(ctx, tenant, holder(digest))
}

// holder is under whose name the files of all versions of a digest are held.
func holder(d registry.Digest) string { return "registry/" + d.String() }

// A versionsAnswer is a page of versions.
type versionsAnswer struct {
	Versions []modelVersion `json:"model_versions,omitempty"`
	Next     string         `json:"next_page_token,omitempty"`
}

// ofVersions is what versions can be found by.
var ofVersions = filter.Grammar{
	Texts: []string{"name", "run_id", "source_path"}, Numbers: []string{"version_number"}, Lists: []string{"name", "run_id"},
	Ordered: []string{"name", "version_number", "creation_timestamp", "last_updated_timestamp"},
}

// subject is what a search sees of a version.
func (m modelVersion) subject() filter.Subject {
	return filter.Subject{
		Texts: map[string]string{"name": m.Name, "run_id": m.Run, "source_path": m.Source}, Tags: m.searched,
		Numbers: map[string]int64{"version_number": int64(m.number), "creation_timestamp": m.Created, "last_updated_timestamp": m.Updated},
	}
}

func (s *Server) searchVersions(ctx context.Context, who pavise.Principal, req search) (any, error) {
	if len(req.Order) == 0 { // as MLflow has it
		req.Order = []string{"last_updated_timestamp DESC", "name", "version_number DESC"}
	}
	clauses, orders, err := parse(ofVersions, req, maxVersions)
	if err != nil {
		return nil, err
	}
	names, err := s.searched(ctx, who, clauses)
	if err != nil {
		return nil, err
	}
	var found []modelVersion
	for _, name := range names {
		k, err := s.know(ctx, who, name, 0)
		if kind := pavise.KindOf(err); err != nil && (kind == pavise.NotFound || kind == pavise.Denied || kind == pavise.Invalid) {
			continue // it is none of the caller's
		}
		if err != nil {
			return nil, err
		}
		for _, v := range k.shown() {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if filter.Hold(clauses, v.subject()) {
				found = append(found, v)
			}
		}
	}
	slices.SortStableFunc(found, func(a, b modelVersion) int { return filter.Compare(a.subject(), b.subject(), orders) })
	var a versionsAnswer
	req.Most = min(req.Most, pageVersions)
	a.Versions, a.Next, err = page(found, req, pageVersions)
	return a, err
}

// searched are the models in which a search looks: the one that it names, or all.
func (s *Server) searched(ctx context.Context, who pavise.Principal, clauses []filter.Clause) (names []string, err error) {
	for _, c := range clauses {
		switch {
		case c.Of != filter.Attribute || c.Key != "name":
		case c.Op == "=":
			return []string{c.Value}, nil
		case c.Op == "IN":
			names = slices.Clone(c.Values)
			slices.Sort(names)
			return slices.Compact(names), nil
		}
	}
	list, err := s.cfg.Registry.List(ctx, who, "")
	for _, l := range list.Models {
		names = append(names, l.Name.ID)
	}
	return names, err
}

// latest returns the newest of some versions in each of some stages, or in each that there is.
// The versions are the newest first.
func latest(all []modelVersion, stages []string) (newest []modelVersion) {
	seen := map[string]bool{}
	for _, v := range all {
		if !seen[v.Stage] && (len(stages) == 0 || slices.Contains(stages, v.Stage)) {
			seen[v.Stage] = true
			newest = append(newest, v)
		}
	}
	return newest
}

func (s *Server) latestVersions(ctx context.Context, who pavise.Principal, req latestOf) (any, error) {
	var stages []string
	for _, text := range req.Stages {
		stage, err := parseStage(text)
		if err != nil {
			return nil, err
		}
		stages = append(stages, stage)
	}
	k, err := s.know(ctx, who, req.Name, 0)
	if err != nil {
		return nil, err
	}
	return versionsAnswer{Versions: latest(k.shown(), stages)}, nil
}

// A uriAnswer says where the files of a version are got.
type uriAnswer struct {
	URI string `json:"artifact_uri"`
}

func (s *Server) downloadURI(ctx context.Context, who pavise.Principal, req ofVersion) (any, error) {
	_, v, err := s.find(ctx, who, req.Name, req.Version)
	if err != nil {
		return nil, err
	}
	return uriAnswer{scheme + strings.Join([]string{"", modelsDir, v.Ref.Model, strconv.Itoa(v.Ref.Version)}, "/")}, nil
}
