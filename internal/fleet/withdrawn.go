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
// which one is, and a shadow that is one, are taken out of it. Where one would answer all, or
// nobody else is left, nobody may ask: it is in quarantine, and that version is returned.
func Hold(all []Withdrawn, s *route.Standing) *Withdrawn {
	var by *Withdrawn
	at := func(url string) bool {
		i := slices.IndexFunc(all, func(w Withdrawn) bool { return url != "" && slices.Contains(w.At, Place{s.Model, url}) })
		if i >= 0 {
			by = &all[i]
		}
		return i >= 0
	}
	if s.Shadow != "" && at(s.Shadow) {
		s.Shadow, s.ShadowRemote = "", ""
	}
	spared := slices.DeleteFunc(slices.Clone(s.Replicas), func(r route.Replica) bool { return at(r.URL) })
	idle := s.Weight != nil && *s.Weight == 0 && !slices.ContainsFunc(spared, func(r route.Replica) bool { return r.Weight > 0 })
	runs := slices.IndexFunc(all, func(w Withdrawn) bool { return s.ONNX != "" && slices.Contains(w.Models, s.ONNX) })
	switch {
	case runs >= 0:
		by = &all[runs]
	case at(s.Upstream), idle && len(spared) < len(s.Replicas):
	default:
		if len(spared) < len(s.Replicas) {
			s.Replicas = spared
		}
		return nil
	}
	s.Quarantined = true
	return by
}
