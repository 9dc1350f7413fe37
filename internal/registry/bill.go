package registry

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/CycloneDX/cyclonedx-go"

	"github.com/pavise/pavise"
)

// Bill returns the bill of materials of a version, CycloneDX 1.6 in JSON: the verb model.bom
// on the version. It is made from what is known, the same bytes for the same knowledge: one
// line. The error is of kind NotFound.
func (r *Registry) Bill(ctx context.Context, who pavise.Principal, tenant string, ref Ref) (bill []byte, err error) {
	entry, err := r.cfg.Guard.Enter(ctx, who, "model.bom", ref.Name(tenant))
	if err != nil {
		return nil, err
	}
	defer entry.Exit(&err)
	v, err := r.Resolve(ctx, tenant, ref)
	if err != nil {
		return nil, err
	}
	return billOf(v)
}

// billOf makes the bill of materials of a version. Nothing is in it that changes in the life
// of the version: its state, its aliases and who approved it are told by the log.
func billOf(v *Version) ([]byte, error) {
	name := v.Name().String()
	bom := cyclonedx.NewBOM()
	bom.SpecVersion = cyclonedx.SpecVersion1_6
	bom.JSONSchema = "http://cyclonedx.org/schema/bom-1.6.schema.json"
	bom.SerialNumber = serialNumber(name + " " + v.Digest.String())
	bom.Metadata = &cyclonedx.Metadata{Timestamp: v.Created.UTC().Format(time.RFC3339), Component: modelComponent(v, name)}
	components := []cyclonedx.Component{}
	uses := cyclonedx.Dependency{Ref: name, Dependencies: &[]string{}}
	for i, f := range v.Files {
		ref := "file:" + strconv.Itoa(i)
		components = append(components, cyclonedx.Component{
			BOMRef: ref, Type: cyclonedx.ComponentTypeFile, Name: f.Path, Hashes: hashesOf(f.Digest),
			Properties: &[]cyclonedx.Property{{Name: "pavise:size", Value: strconv.FormatInt(f.Size, 10)}},
		})
		*uses.Dependencies = append(*uses.Dependencies, ref)
	}
	for _, s := range v.Datasets {
		components = append(components, cyclonedx.Component{
			BOMRef: datasetRef(s), Type: cyclonedx.ComponentTypeData, Name: s.Name.String(), Version: s.Root,
			Data: &[]cyclonedx.ComponentData{{Type: cyclonedx.ComponentDataTypeDataset, Name: s.Name.ID}},
			Properties: &[]cyclonedx.Property{
				{Name: "pavise:seal", Value: s.Root}, {Name: "pavise:known", Value: strconv.FormatBool(s.Known)},
			},
		})
		*uses.Dependencies = append(*uses.Dependencies, datasetRef(s))
	}
	slices.Sort(*uses.Dependencies)
	*uses.Dependencies = slices.Compact(*uses.Dependencies)
	bom.Components, bom.Dependencies = &components, &[]cyclonedx.Dependency{uses}
	var out bytes.Buffer
	if err := cyclonedx.NewBOMEncoder(&out, cyclonedx.BOMFileFormatJSON).SetEscapeHTML(false).Encode(bom); err != nil {
		return nil, fmt.Errorf("write the bill of materials of %s: %w", v.Ref, err)
	}
	return append(bytes.TrimSpace(out.Bytes()), '\n'), nil
}

func datasetRef(s Seal) string { return "dataset:" + s.Name.String() + ":" + s.Root }

// modelComponent is the model itself.
func modelComponent(v *Version, name string) *cyclonedx.Component {
	c := &cyclonedx.Component{
		BOMRef: name, Type: cyclonedx.ComponentTypeMachineLearningModel, Name: v.Ref.Model, Version: strconv.Itoa(v.Ref.Version),
		Description: v.Description, ModelCard: &cyclonedx.MLModelCard{},
	}
	say := []cyclonedx.Property{{Name: "pavise:digest", Value: v.Digest.String()}, {Name: "pavise:risk", Value: string(v.Risk)}}
	add := func(name, value string) {
		if value != "" {
			say = append(say, cyclonedx.Property{Name: "pavise:" + name, Value: value})
		}
	}
	add("run", v.Run)
	add("source", v.Source)
	if s := v.Scan; s != nil {
		add("scan", s.Verdict)
		add("scan:by", s.By.String())
		for _, f := range s.Findings {
			add("scan:finding", f)
		}
	}
	if s := v.Signature; s != nil {
		add("signature", s.Digest.String())
		add("signature:mode", s.Mode)
		add("signature:by", s.By)
		add("signature:issuer", s.Issuer)
		add("signature:over", s.Over.String())
	}
	var metrics []cyclonedx.MLPerformanceMetric
	for _, of := range []struct {
		kind string
		all  []Evidence
	}{{EvidenceEvaluation, v.Evaluations}, {EvidenceAttack, v.Attacks}} {
		for _, e := range of.all {
			if e.Digest != v.Digest {
				continue
			}
			add(of.kind, fmt.Sprintf("%s: %s (record %d)", e.Result, e.Summary, e.Record))
			for _, metric := range slices.Sorted(maps.Keys(e.Metrics)) {
				metrics = append(metrics, cyclonedx.MLPerformanceMetric{Type: metric, Value: strconv.FormatFloat(e.Metrics[metric], 'g', -1, 64), Slice: of.kind})
			}
		}
	}
	if len(metrics) > 0 {
		c.ModelCard.QuantitativeAnalysis = &cyclonedx.MLQuantitativeAnalysis{PerformanceMetrics: &metrics}
	}
	if len(v.Datasets) > 0 {
		var refs []cyclonedx.MLDatasetChoice
		for _, s := range v.Datasets {
			refs = append(refs, cyclonedx.MLDatasetChoice{Ref: datasetRef(s)})
		}
		c.ModelCard.ModelParameters = &cyclonedx.MLModelParameters{Datasets: &refs}
	}
	c.Properties = &say
	return c
}

func hashesOf(d Digest) *[]cyclonedx.Hash {
	return &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: hex.EncodeToString(d[:])}}
}

// serialNumber is a UUID (version 8, RFC 9562) that is the same for the same text.
func serialNumber(text string) string {
	sum := sha256.Sum256([]byte(text))
	sum[6], sum[8] = sum[6]&0x0f|0x80, sum[8]&0x3f|0x80
	h := hex.EncodeToString(sum[:16])
	return "urn:uuid:" + h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
