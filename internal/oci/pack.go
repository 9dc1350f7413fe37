package oci

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/pavise/pavise"
)

// The endings of files that are no weights.
var (
	docs    = []string{".md", ".txt", ".rst", ".pdf", ".html"}
	configs = []string{".json", ".yaml", ".yml", ".toml", ".cfg", ".ini", ".model", ".vocab", ".merges"}
	codes   = []string{".py", ".go", ".rs", ".c", ".cc", ".cpp", ".h", ".java", ".js", ".ts", ".sh", ".ipynb", ".r", ".jl"}
)

// layerFor is the media type of a file that is a layer by itself.
func layerFor(name string) string {
	what, base := "weight", strings.ToLower(path.Base(name))
	switch ending := path.Ext(base); {
	case slices.Contains(docs, ending), strings.HasPrefix(base, "license"), strings.HasPrefix(base, "readme"), base == "notice":
		what = "doc"
	case slices.Contains(configs, ending), base == "mlmodel":
		what = "weight.config"
	case slices.Contains(codes, ending):
		what = "code"
	}
	return layerPrefix + what + ".v1." + formRaw
}

// manifestFor makes the manifest and the configuration of a version from its files: each a raw
// layer by path. The same files of the same version always give the same bytes.
func manifestFor(model pavise.Name, v Version, files []File) (text, config []byte, err error) {
	if len(files) == 0 || len(files) > maxLayers {
		return nil, nil, refuse(codeUnsupported, fmt.Sprintf("version %d has %d files, and each would be a layer", v.Number, len(files)), fmt.Sprintf("a manifest has 1 to %d; push the model as archives", maxLayers))
	}
	files = slices.SortedFunc(slices.Values(files), func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	m := manifest{SchemaVersion: 2, MediaType: mediaManifest, ArtifactType: modelManifest}
	diffs := []string{}
	for _, f := range files {
		name := f.Path
		if name == "." { // the model is one file
			name = model.ID
		}
		m.Layers = append(m.Layers, descriptor{MediaType: layerFor(name), Digest: f.Digest, Size: f.Size, Annotations: map[string]string{annotationPath: name, annotationTitle: name}})
		diffs = append(diffs, f.Digest)
	}
	config, err = json.Marshal(map[string]any{
		"descriptor": map[string]any{"createdAt": v.Created.UTC().Format(time.RFC3339), "name": model.ID, "version": fmt.Sprint(v.Number)},
		"config":     map[string]any{},
		"modelfs":    map[string]any{"type": "layers", "diffIds": diffs},
	})
	if err != nil {
		return nil, nil, err
	}
	m.Config = descriptor{MediaType: modelConfig, Digest: digestOf(config), Size: int64(len(config))}
	text, err = json.Marshal(m)
	return text, config, err
}

// pack makes the manifest of a version that came by another road, and keeps it.
func (d *Door) pack(ctx context.Context, model pavise.Name, v Version) (k kept, err error) {
	unlock, err := d.lock(ctx, "model "+model.String(), true)
	if err != nil {
		return k, err
	}
	defer unlock()
	if k, ok, err := d.manifestOf(ctx, model, v); err != nil || ok {
		return k, err
	}
	files, err := v.Files(ctx)
	if err != nil {
		return k, err
	}
	text, config, err := manifestFor(model, v, files)
	if err != nil {
		return k, err
	}
	if err := d.putSmall(ctx, model, config); err != nil {
		return k, err
	}
	k = kept{digest: digestOf(text), kind: modelManifest, version: v.Number, body: text, files: stampOf(files)}
	needs := []string{digestOf(config)}
	for _, f := range files {
		needs = append(needs, f.Digest)
	}
	slices.Sort(needs)
	needs = slices.Compact(needs)
	if err := d.hold(ctx, model, k.digest, needs); err != nil {
		if pavise.KindOf(err) == pavise.NotFound {
			err = refuseFor(codeManifestUnknown, fmt.Sprintf("the files of version %d are not all kept here", v.Number), "get it from where it was registered", err)
		}
		return k, err
	}
	return k, d.keepManifest(ctx, model, k, needs, files...) // at once: a blob that no manifest needs is there for who pushes
}
