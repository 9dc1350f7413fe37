package verbs

import (
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/oci"
)

// ociVerbs are what clients of OCI registries do, below /v2/, beside model.pull and
// model.inspect, which clients of MLflow do, too.
func ociVerbs() []api.Verb {
	on := []string{oci.KindModel}
	return []api.Verb{
		{
			Name: oci.VerbPush, On: on, Class: guard.Pooled,
			Help:  "Push the files of a model, as a client of an OCI registry does",
			About: "Below /v2/MODEL/, as CNCF ModelPack. A pushed model becomes a version of it, as a draft, which takes model.add besides.",
		},
	}
}
