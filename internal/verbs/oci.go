package verbs

import (
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/oci"
)

// ociVerbs are what clients of OCI registries do, below /v2/.
func ociVerbs() []api.Verb {
	on := []string{oci.KindModel}
	return []api.Verb{
		{
			Name: oci.VerbPush, On: on, Class: guard.Pooled,
			Help:  "Push the files of a model, as a client of an OCI registry does",
			About: "Below /v2/MODEL/, as CNCF ModelPack. A pushed model becomes a version of it, as a draft, which takes model.add besides.",
		},
		{
			Name: oci.VerbPull, On: on, Class: guard.Pooled,
			Help:  "Pull a version of a model that is published",
			About: "Below /v2/MODEL/, by a tag, an alias, its number as vN, or its digest.",
		},
		{
			Name: oci.VerbInspect, On: on, Class: guard.Pooled,
			Help:  "Pull a version of a model that is not published, to judge it",
			About: "As model.pull does. Nobody gets what is in quarantine.",
		},
	}
}
