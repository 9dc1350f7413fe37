package machine

import (
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/bundle"
	"github.com/pavise/pavise/internal/deploy"
	"github.com/pavise/pavise/internal/oms"
	"github.com/pavise/pavise/internal/plainjson"
	"github.com/pavise/pavise/internal/registry"
)

// Section is the section of a bundle in which orders stand (docs/formats/bundle.md).
const Section = "orders"

// PartSize is how long each part of a file is, but for the last, in bytes: what is fetched
// and sealed at once.
const PartSize = 16 << 20

// Orders say what a machine at the edge is to run. They come in a signed bundle.
type Orders struct {
	Target   pavise.Name   `json:"target"`
	Revision uint64        `json:"revision"` // 0: nothing was ever ordered
	Model    pavise.Name   `json:"model,omitzero"`
	Version  int           `json:"version,omitempty"`
	Digest   string        `json:"digest,omitempty"` // of the version; empty with a revision: nothing is to run
	Files    []OrderedFile `json:"files,omitempty"`
	// Signature is by OpenSSF Model Signing, over the files; empty: nobody signed them.
	Signature []byte   `json:"signature,omitempty"`
	Barred    []string `json:"barred,omitempty"` // digests of versions that must not run again
}

// An OrderedFile is one of a version, in parts.
type OrderedFile struct {
	deploy.File
	Parts []string `json:"parts,omitempty"` // their digests; none of an empty file
}

// ParseOrders reads the orders of a target, and holds them to themselves: the digest is that
// of the files, as docs/formats/model.md has it. The error is of kind Unverified.
func ParseOrders(text []byte, target pavise.Name) (*Orders, error) {
	o, err := plainjson.ReadKnown[Orders](text)
	if err == nil {
		err = o.check(target)
	}
	if err != nil {
		return nil, &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("what is signed are no orders for %s: %v", target.ID, err), Hint: "is it the address of this target, and a control plane of this version?", Err: err}
	}
	return &o, nil
}

func (o *Orders) check(target pavise.Name) error {
	switch {
	case o.Target != target:
		return fmt.Errorf("they are for %s", o.Target)
	case len(o.Barred) > deploy.MaxBarred:
		return fmt.Errorf("%d digests are barred", len(o.Barred))
	case o.Digest == "" && len(o.Files) == 0:
		return nil
	case o.Version < 1 || o.Revision == 0 || o.Model.Validate() != nil:
		return fmt.Errorf("they name no version")
	}
	seen, parts, size := map[string]bool{}, 0, int64(0)
	var files []registry.File
	for _, f := range o.Files {
		digest, err := registry.ParseDigest(f.Digest)
		if err != nil || !oms.ValidPath(f.Path) && f.Path != "." || seen[strings.ToLower(f.Path)] || f.Size < 0 || int64(len(f.Parts)) != (f.Size+PartSize-1)/PartSize {
			return fmt.Errorf("%.200q is no file of a version", f.Path)
		}
		for _, p := range f.Parts {
			if raw, err := hex.DecodeString(strings.TrimPrefix(p, "sha256:")); err != nil || len(raw) != 32 || "sha256:"+hex.EncodeToString(raw) != p {
				return fmt.Errorf("%.80q is no digest of a part", p)
			}
		}
		seen[strings.ToLower(f.Path)] = true // file systems that fold case would make one of two
		parts += len(f.Parts)
		size += f.Size
		files = append(files, registry.File{Path: f.Path, Size: f.Size, Digest: digest})
	}
	if parts > bundle.MaxBlobs || size > bundle.MaxAllBlobs {
		return fmt.Errorf("the version has %d parts and %d bytes", parts, size)
	}
	if got := registry.DigestOf(files).String(); got != o.Digest {
		return fmt.Errorf("the files are %s, and %s is ordered", got, o.Digest)
	}
	return nil
}

// blobs are the parts by their digests, with their sizes.
func (o *Orders) blobs() map[string]int64 {
	all := map[string]int64{}
	for _, f := range o.Files {
		for i, p := range f.Parts {
			all[p] = min(PartSize, f.Size-int64(i)*PartSize)
		}
	}
	return all
}

// A Report is what a machine at the edge says of itself.
type Report struct {
	Target   pavise.Name `json:"target"`
	Revision uint64      `json:"revision"`          // of the orders that it has acted on
	Serial   uint64      `json:"serial"`            // of the newest bundle that it has seen
	Running  string      `json:"running,omitempty"` // the digest of the version that runs, whose files it has just hashed; empty: none
	Before   string      `json:"before,omitempty"`  // of the one that it could go back to
	Healthy  bool        `json:"healthy"`
	Problem  string      `json:"problem,omitempty"`
	Alone    bool        `json:"alone,omitempty"` // it went back by itself from what was ordered
}
