package deploy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"

	"github.com/pavise/pavise"
)

// Fetch reads a file of a version whole, and holds it to its digest and its size. What has
// another is an error of kind Unverified.
//
// Unguarded: drivers of targets ask it for what an act that was let in wants there.
func Fetch(ctx context.Context, files Files, tenant string, f File) ([]byte, error) {
	r, err := files.Open(ctx, tenant, f.Digest)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	text, err := io.ReadAll(io.LimitReader(r, f.Size+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.Path, err)
	}
	sum := sha256.Sum256(text)
	if int64(len(text)) != f.Size || "sha256:"+hex.EncodeToString(sum[:]) != f.Digest {
		return nil, &pavise.Error{
			Kind: pavise.Unverified, Msg: fmt.Sprintf("%s is no longer the file that was approved: %s, %d bytes", f.Path, f.Digest, f.Size),
			Hint: "somebody changed where the files of models lie: nothing of it is deployed",
		}
	}
	return text, nil
}
