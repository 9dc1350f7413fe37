package fleet

import (
	"slices"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/route"
)

// A Withdrawn is a version of a model in quarantine, or retired out of it, as gateways are told
// of it: whatever asks it is not asked.
type Withdrawn struct {
	Version pavise.Name `json:"version"`          // tenant/model/NAME@N
	Digest  string      `json:"digest"`           // sha256:HEX, of all its files
	Models  []string    `json:"models,omitempty"` // digests of what runs in a gateway
	At      []Place     `json:"at,omitempty"`     // where it is served
}

// A Place is an address that is asked behind the route to a model.
type Place struct {
	Model pavise.Name `json:"model"`
	URL   string      `json:"url"`
}

// MaxWithdrawn bounds the versions that gateways are told of, with the digests and addresses of
// all together.
const MaxWithdrawn = 8192

// Hold says, of a route as it is to be gone by, what withdrawn versions mean for it. Servers at
// which one is, ONNX models beside the first that are one, and a shadow that is one, are taken out
// of it. Where one would answer all, or nobody else is left, nobody may ask: it is in quarantine,
// and that version is returned.
func Hold(all []Withdrawn, s *route.Standing) *Withdrawn {
	var by *Withdrawn
	is := func(digest string) bool {
		i := slices.IndexFunc(all, func(w Withdrawn) bool { return digest != "" && slices.Contains(w.Models, digest) })
		if i >= 0 {
			by = &all[i]
		}
		return i >= 0
	}
	at := func(url string) bool {
		i := slices.IndexFunc(all, func(w Withdrawn) bool { return url != "" && slices.Contains(w.At, Place{s.Model, url}) })
		if i >= 0 {
			by = &all[i]
		}
		return i >= 0
	}
	if at(s.Shadow) {
		s.Shadow, s.ShadowRemote = "", ""
	}
	if is(s.ShadowONNX) {
		s.ShadowONNX = ""
	}
	servers := slices.DeleteFunc(slices.Clone(s.Replicas), func(r route.Replica) bool { return at(r.URL) })
	models := slices.DeleteFunc(slices.Clone(s.Versions), func(v route.Version) bool { return v.ONNX != s.ONNX && is(v.ONNX) })
	idle := s.Weight != nil && *s.Weight == 0 && !slices.ContainsFunc(servers, func(r route.Replica) bool { return r.Weight > 0 })
	still := len(models) > 0 && !slices.ContainsFunc(models, func(v route.Version) bool { return v.Weight > 0 })
	switch {
	case is(s.ONNX), at(s.Upstream):
	case idle && len(servers) < len(s.Replicas), still && len(models) < len(s.Versions):
	default:
		if len(servers) < len(s.Replicas) {
			s.Replicas = servers
		}
		if len(models) < len(s.Versions) {
			s.Versions = models
		}
		if len(s.Versions) == 1 { // which goes without saying
			s.Versions = nil
		}
		return nil
	}
	s.Quarantined = true
	return by
}
