package oci

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/pavise/pavise/internal/plainjson"
)

// The media types of manifests and of ModelPack (github.com/modelpack/model-spec, docs/spec.md).
const (
	mediaManifest = "application/vnd.oci.image.manifest.v1+json"
	mediaIndex    = "application/vnd.oci.image.index.v1+json"
	mediaEmpty    = "application/vnd.oci.empty.v1+json"
	modelManifest = "application/vnd.cncf.model.manifest.v1+json"
	modelConfig   = "application/vnd.cncf.model.config.v1+json"
	layerPrefix   = "application/vnd.cncf.model."

	annotationPath  = "org.cncf.model.filepath"
	annotationTitle = "org.opencontainers.image.title" // what other tools write instead
)

// The bounds of a manifest, in bytes unless it says so.
const (
	maxManifest = 4 << 20  // as most registries have it
	maxConfig   = 1 << 20  // of the configuration of a model
	maxReferrer = 16 << 20 // of all that a manifest which refers to a model has
	maxLayers   = 4096     // how many
	maxBlob     = 1 << 40
)

// layerTypes are what is in a layer, by its media type between prefix and form.
var layerTypes = []string{"weight", "weight.config", "doc", "code", "dataset"}

// The forms of a layer.
const (
	formRaw  = "raw"
	formTar  = "tar"
	formGzip = "tar+gzip"
	formZstd = "tar+zstd"
)

// What the types begin with of signatures that are held to who is believed.
const (
	bundleType     = "application/vnd.dev.sigstore.bundle"
	modelSignature = "application/vnd.openssf.model.signature"
)

// referrerTypes begin the types of what may refer to a model: signatures, bills of materials,
// attestations and vulnerability reports.
var referrerTypes = []string{
	bundleType, "application/vnd.dev.cosign.", "application/vnd.cncf.notary.signature",
	modelSignature, "application/vnd.in-toto", "application/vnd.dsse",
	"application/vnd.cyclonedx", "application/spdx+json", "text/spdx", "application/sarif+json",
}

// A descriptor says where a content is, and how it can be known.
type descriptor struct {
	MediaType    string            `json:"mediaType"`
	Digest       string            `json:"digest"`
	Size         int64             `json:"size"`
	URLs         []string          `json:"urls,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	Data         []byte            `json:"data,omitempty"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Platform     json.RawMessage   `json:"platform,omitempty"`
}

// A manifest is an OCI image manifest.
type manifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	ArtifactType  string            `json:"artifactType,omitempty"`
	Config        descriptor        `json:"config"`
	Layers        []descriptor      `json:"layers"`
	Subject       *descriptor       `json:"subject,omitempty"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

// isModel reports whether the manifest is that of a model, and not of what refers to one.
func (m *manifest) isModel() bool { return m.ArtifactType == modelManifest }

// kindOf is the type by which referrers are listed: that of the artefact, or else of its
// configuration.
func (m *manifest) kindOf() string {
	if m.ArtifactType != "" {
		return m.ArtifactType
	}
	return m.Config.MediaType
}

// blobs are what the manifest needs, each once.
func (m *manifest) blobs() []descriptor {
	all := []descriptor{m.Config}
	for _, l := range m.Layers {
		if !slices.ContainsFunc(all, func(d descriptor) bool { return d.Digest == l.Digest }) {
			all = append(all, l)
		}
	}
	return all
}

// parseManifest reads a manifest strictly, of the media type with which it came, and refuses
// what is neither a model nor refers to one.
func parseManifest(media string, body []byte) (*manifest, error) {
	no := func(hint, format string, args ...any) (*manifest, error) {
		return nil, refuse(codeManifestInvalid, fmt.Sprintf(format, args...), hint)
	}
	switch media {
	case mediaManifest:
	case mediaIndex, "application/vnd.docker.distribution.manifest.list.v2+json":
		return nil, refuse(codeUnsupported, "an index of several manifests is no model", "push the manifest of one model")
	case "application/vnd.docker.distribution.manifest.v2+json", "application/vnd.docker.distribution.manifest.v1+json", "application/vnd.docker.distribution.manifest.v1+prettyjws":
		return nil, refuse(codeUnsupported, "an image of Docker is no model", hintModelPack)
	default:
		return no("send Content-Type: "+mediaManifest, "the manifest has the media type %.80q", media)
	}
	m, err := plainjson.ReadKnown[manifest](body)
	switch {
	case err != nil:
		return no("write an OCI image manifest of schema version 2", "the manifest cannot be read: %.200v", err)
	case m.SchemaVersion != 2:
		return no("write an OCI image manifest of schema version 2", "the manifest has the schema version %d", m.SchemaVersion)
	case m.MediaType != mediaManifest && (m.MediaType != "" || m.isModel()):
		return no("write mediaType "+mediaManifest+" in it, too", "the manifest says that its media type is %.80q", m.MediaType)
	case len(m.Layers) > maxLayers:
		return no("pack files together in archives", "the manifest has more than %d layers", maxLayers)
	}
	if err := m.checkDescriptors(); err != nil {
		return nil, err
	}
	if m.isModel() {
		return &m, m.checkModel()
	}
	return &m, m.checkReferrer()
}

const hintModelPack = "push models as CNCF ModelPack: artifactType " + modelManifest

// checkDescriptors looks at what every manifest has.
func (m *manifest) checkDescriptors() error {
	all := append([]descriptor{m.Config}, m.Layers...)
	if m.Subject != nil {
		all = append(all, *m.Subject)
	}
	sizes := map[string]int64{}
	for _, d := range all {
		if err := parseDigest(d.Digest); err != nil {
			return err
		}
		before, again := sizes[d.Digest]
		switch {
		case d.Size < 0 || d.Size > maxBlob || again && before != d.Size:
			return refuse(codeSize, fmt.Sprintf("the size of %s is %d", d.Digest, d.Size), "write how many bytes it has")
		case len(d.URLs) > 0:
			return refuse(codeUnsupported, fmt.Sprintf("%s lies elsewhere, at addresses of its own", d.Digest), "push it here, without urls")
		case len(d.Data) > 0 && int64(len(d.Data)) != d.Size:
			return refuse(codeSize, fmt.Sprintf("the data of %s are not as long as it is", d.Digest), "leave data out")
		case len(d.Data) > 0 && digestOf(d.Data) != d.Digest:
			return refuse(codeDigest, fmt.Sprintf("the data of %s are another content", d.Digest), "leave data out")
		}
		sizes[d.Digest] = d.Size
	}
	return nil
}

// checkModel looks at the types of a model's parts.
func (m *manifest) checkModel() error {
	switch {
	case m.Config.MediaType != modelConfig:
		return refuse(codeManifestInvalid, fmt.Sprintf("the configuration has the media type %.80q", m.Config.MediaType), "a model's is "+modelConfig)
	case m.Config.Size > maxConfig:
		return refuse(codeSize, fmt.Sprintf("the configuration has more than %d bytes", maxConfig), "put files into layers")
	case len(m.Layers) == 0:
		return refuse(codeManifestInvalid, "the manifest has no layers", "a model has files")
	case m.Subject != nil:
		return refuse(codeUnsupported, "the manifest of a model refers to another manifest", "leave subject out: what a version was made of is told with pavise model evidence")
	}
	for i, l := range m.Layers {
		if _, _, err := layerOf(l.MediaType); err != nil {
			return refuse(codeManifestInvalid, fmt.Sprintf("layer %d: %v", i+1, err), hintModelPack+", and layers of its types")
		}
	}
	return nil
}

// layerOf reads the media type of a layer.
func layerOf(media string) (what, form string, err error) {
	rest, ok := strings.CutPrefix(media, layerPrefix)
	what, form, cut := strings.Cut(rest, ".v1.")
	if !ok || !cut || !slices.Contains(layerTypes, what) || !slices.Contains([]string{formRaw, formTar, formGzip, formZstd}, form) {
		return "", "", fmt.Errorf("%.80q is no type of a layer of a model", media)
	}
	return what, form, nil
}

// checkReferrer looks at what is no model: it has to refer to one, and to be of a sort that
// vouches for it.
func (m *manifest) checkReferrer() error {
	if m.Subject == nil {
		return refuse(codeUnsupported, fmt.Sprintf("this is no model: artifactType is %.80q", m.ArtifactType), hintModelPack+"; nothing else is kept here but what refers to one")
	}
	if m.Subject.MediaType != mediaManifest {
		return refuse(codeManifestInvalid, fmt.Sprintf("the subject has the media type %.80q", m.Subject.MediaType), "refer to the manifest of a model")
	}
	var total int64
	known := m.knownType(m.kindOf())
	for _, d := range m.blobs() {
		total += d.Size
	}
	for _, l := range m.Layers {
		known = known || m.knownType(l.MediaType)
		if strings.Contains(l.MediaType, ".image.layer.") || strings.Contains(l.MediaType, ".image.rootfs.") {
			return refuse(codeUnsupported, "what refers to the model has the layers of an image", "refer with signatures, bills of materials and attestations")
		}
	}
	switch {
	case !known:
		return refuse(codeUnsupported, fmt.Sprintf("%.80q is no signature, bill of materials or attestation that is known", m.kindOf()), "types that begin so are taken: "+strings.Join(referrerTypes, ", "))
	case total > maxReferrer:
		return refuse(codeSize, fmt.Sprintf("what refers to the model has more than %d bytes", maxReferrer), "keep it elsewhere, and refer with a signed statement")
	}
	return nil
}

func (m *manifest) knownType(media string) bool {
	return slices.ContainsFunc(referrerTypes, func(begins string) bool { return strings.HasPrefix(media, begins) })
}

// A configuration is what is read of a model's: the specification has more, which is for
// people.
type configuration struct {
	Descriptor json.RawMessage `json:"descriptor"`
	Config     json.RawMessage `json:"config"`
	ModelFS    *struct {
		Type    string   `json:"type"`
		DiffIDs []string `json:"diffIds"`
	} `json:"modelfs"`
}

// parseConfiguration reads the configuration of a model with so many layers, and returns the
// digests that its layers have unpacked.
func parseConfiguration(body []byte, layers int) (diffs []string, err error) {
	no := func(format string, args ...any) ([]string, error) {
		return nil, refuse(codeManifestInvalid, "the configuration of the model: "+fmt.Sprintf(format, args...), "write it as CNCF ModelPack has it: descriptor, config and modelfs")
	}
	c, err := plainjson.ReadKnown[configuration](body)
	switch {
	case err != nil:
		return no("%.200v", err)
	case !isObject(c.Descriptor) || !isObject(c.Config) || c.ModelFS == nil:
		return no("descriptor, config or modelfs is missing")
	case c.ModelFS.Type != "layers":
		return no("the type of modelfs is %.40q, and not layers", c.ModelFS.Type)
	case len(c.ModelFS.DiffIDs) != layers:
		return no("modelfs has %d diffIds, and the manifest %d layers", len(c.ModelFS.DiffIDs), layers)
	}
	for _, d := range c.ModelFS.DiffIDs {
		if err := parseDigest(d); err != nil {
			return no("%.80q is no diffId by sha256", d)
		}
	}
	return c.ModelFS.DiffIDs, nil
}

func isObject(text json.RawMessage) bool { return len(text) > 0 && text[0] == '{' }
