package main

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"

	"github.com/pavise/pavise/internal/audit"
	"github.com/pavise/pavise/internal/ledger"
)

// proofs is how many records of each log are proved.
const proofs = 200

// checked says what everybody found who can read our logs.
func (b *benchmark) checked() string {
	return fmt.Sprintf("The %d logs written held %d records. Each log was found whole by `audit.Verify` and by tessera's `fsck`; "+
		"of each, %d inclusion proofs made by the log and %d made by tessera's `ProofBuilder` from its files were accepted by `transparency-dev/merkle`.",
		b.logs, b.records, proofs, proofs)
}

// checkLog checks a log and returns how many records it holds.
func checkLog(ctx context.Context, log ledger.Options) (uint64, error) {
	key, err := checkOwnProofs(log)
	if err != nil {
		return 0, err
	}
	verified, err := audit.Verify(log.Dir, audit.Options{Key: key})
	if err != nil {
		return 0, err
	}
	if verified.Conclusion != audit.Verified || verified.Signed != verified.Records {
		return 0, fmt.Errorf("%s, with %d of %d records signed", verified.Conclusion, verified.Signed, verified.Records)
	}
	return verified.Records, checkTiles(ctx, log.Dir, key)
}

// checkOwnProofs lets transparency-dev/merkle check proofs that the log makes,
// and returns the log's verifier key.
func checkOwnProofs(options ledger.Options) (key string, err error) {
	log, err := ledger.Open(options)
	if err != nil {
		return "", err
	}
	defer log.Close()
	for range proofs {
		p, err := log.Prove(rand.Uint64N(log.Size()))
		if err != nil {
			return "", err
		}
		entry, err := log.Entry(p.Index)
		if err != nil {
			return "", err
		}
		var path [][]byte
		for _, h := range p.Path {
			path = append(path, h[:])
		}
		root := p.Checkpoint.Root
		if err := proof.VerifyInclusion(rfc6962.DefaultHasher, p.Index, p.Checkpoint.Size, rfc6962.DefaultHasher.HashLeaf(entry), path, root[:]); err != nil {
			return "", fmt.Errorf("the log's proof of record %d: %w", p.Index, err)
		}
	}
	return log.Keys()[0].String(), nil
}

// checkTiles lets tessera read the directory: fsck recomputes the whole tree
// from the entries and compares every tile, and ProofBuilder makes proofs.
func checkTiles(ctx context.Context, dir, key string) error {
	verifier, err := note.NewVerifier(key)
	if err != nil {
		return err
	}
	t, err := openTiles(dir)
	if err != nil {
		return err
	}
	if err := fsck.New(verifier.Name(), verifier, t, leafHashes, fsck.Opts{N: 2}).Check(ctx); err != nil {
		return fmt.Errorf("tessera's fsck: %w", err)
	}
	head, _, _, err := client.FetchCheckpoint(ctx, t.ReadCheckpoint, verifier, verifier.Name())
	if err != nil {
		return err
	}
	builder, err := client.NewProofBuilder(ctx, head.Size, t.ReadTile)
	if err != nil {
		return err
	}
	for range proofs {
		if err := checkTileProof(ctx, t, builder, rand.Uint64N(head.Size), head.Size, head.Hash); err != nil {
			return err
		}
	}
	return nil
}

// checkTileProof proves one record from tiles alone.
func checkTileProof(ctx context.Context, t *tiles, builder *client.ProofBuilder, index, size uint64, root []byte) error {
	path, err := builder.InclusionProof(ctx, index)
	if err != nil {
		return err
	}
	bundle, err := client.GetEntryBundle(ctx, t.ReadEntryBundle, index/tileWidth, size)
	if err != nil {
		return err
	}
	leaf := rfc6962.DefaultHasher.HashLeaf(bundle.Entries[index%tileWidth])
	if err := proof.VerifyInclusion(rfc6962.DefaultHasher, index, size, leaf, path, root); err != nil {
		return fmt.Errorf("tessera's proof of record %d: %w", index, err)
	}
	return nil
}
